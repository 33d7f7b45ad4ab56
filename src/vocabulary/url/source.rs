//! The URL that something came from.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::local::LocalPath;
use super::percent::{decoded_text, encode, normalised};
use super::secret::{REDACTED, is_signed, parameters, segment_without_secrets};
use super::split::{Split, without_scheme};
use super::unusable::UnusableReference;
use crate::vocabulary::error::Error;
use crate::vocabulary::limits::{REFERENCE_BYTES, REFERENCE_INPUT_BYTES};
use crate::vocabulary::name::has_control;

/// A URL in one spelling, of any scheme, that has forgotten its secrets.
///
/// Scheme and host are in lower case, the scheme's own port is left out, escapes have one spelling, `.` and `..` are
/// gone, and so are slashes at the end. Names of object-store buckets keep their case, as does everything of a scheme
/// whose names are none of the Internet's.
///
/// Users, passwords, tokens and signatures are not kept: [`SourceUrl::canonical`], which may be stored, and by which two
/// are equal, has none of them, so that a document whose URL was signed anew is still the same document. Printed, the
/// word `REDACTED` stands where they were. The fragment of a URL that is fetched over HTTP or FTP is left out, since no
/// server ever sees it.
#[derive(Clone)]
pub struct SourceUrl {
    canonical: Box<str>,
    shown: Box<str>,
}

/// Schemes whose host is one of the Internet, and must be there.
const OF_THE_NET: [&str; 11] = ["http", "https", "ftp", "ftps", "sftp", "ssh", "git", "ws", "wss", "oci", "docker"];
/// Schemes that name a bucket where others name a host. There must be one, and its case counts.
const OF_BUCKETS: [&str; 6] = ["s3", "s3a", "s3n", "gs", "gcs", "r2"];
/// Schemes with the port that is meant where there is none.
const PORTS: [(&str, u16); 8] =
    [("http", 80), ("https", 443), ("ws", 80), ("wss", 443), ("ftp", 21), ("ftps", 990), ("ssh", 22), ("sftp", 22)];
/// What may stand in a path beside letters, digits and `-._~`.
const IN_PATH: &str = "/:@!$&'()*+,;=";
/// And in a query or fragment.
const IN_QUERY: &str = "/:@!$&'()*+,;=?";
/// And in a host.
const IN_HOST: &str = "!$&'()*+,;=";

impl SourceUrl {
    /// Reads a URL. It needs a scheme, and, where the scheme is one of the Internet's or of an object store, a host.
    pub fn parse(text: &str) -> Result<Self, UnusableReference> {
        if text.len() > REFERENCE_INPUT_BYTES {
            return Err(UnusableReference::TooLong);
        }
        if has_control(text.as_bytes()) {
            return Err(UnusableReference::Control);
        }
        let text = text.trim_matches(' ');
        let (scheme, rest) = without_scheme(text).ok_or(UnusableReference::Scheme)?;
        match scheme.len() {
            1 => Err(UnusableReference::Drive),
            _ if scheme.eq_ignore_ascii_case("file") => Ok(SourceUrl::of_path(&LocalPath::of_url(rest)?)),
            _ => SourceUrl::of_parts(&Split::of(text).ok_or(UnusableReference::Scheme)?),
        }
    }

    /// The `file:` URL of a path.
    pub fn of_path(path: &LocalPath) -> Self {
        let text: Box<str> = path.to_string().into();
        SourceUrl { canonical: text.clone(), shown: text }
    }

    fn of_parts(split: &Split<'_>) -> Result<Self, UnusableReference> {
        let scheme = split.scheme.to_ascii_lowercase();
        let authority = split.authority.map(|text| Authority::read(&scheme, text)).transpose()?;
        if authority.as_ref().is_none_or(|a| a.host.is_empty()) && needs_host(&scheme) {
            return Err(UnusableReference::NoHost);
        }
        let path = path(split.path, authority.is_some());
        let (mut canonical, mut shown) = (format!("{scheme}:"), format!("{scheme}:"));
        if let Some(authority) = &authority {
            canonical.push_str("//");
            shown.push_str(if authority.user { "//REDACTED@" } else { "//" });
        }
        let host = authority.as_ref().map_or("", |a| &*a.host);
        canonical.extend([host, &*path]);
        shown.extend([host, &*path]);
        let named = !host.is_empty() || !path.is_empty();
        let fragment = split.fragment.filter(|_| !OF_THE_NET.contains(&&*scheme));
        for (mark, text) in [('?', split.query), ('#', fragment)] {
            let (kept, said) = pairs(&normalised(text.unwrap_or_default(), IN_QUERY));
            push_behind(&mut canonical, mark, &kept);
            push_behind(&mut shown, mark, &said);
        }
        let empty = !named && canonical.trim_end_matches('/').len() <= scheme.len() + 1;
        match () {
            () if empty => Err(UnusableReference::Empty),
            () if canonical.len() > REFERENCE_BYTES || shown.len() > REFERENCE_INPUT_BYTES => {
                Err(UnusableReference::TooLong)
            }
            () => Ok(SourceUrl { canonical: canonical.into(), shown: shown.into() }),
        }
    }

    /// The URL without any secret: what may be stored, and what two are compared by.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// Its scheme, in lower case.
    pub fn scheme(&self) -> &str {
        self.canonical.split(':').next().unwrap_or_default()
    }

    /// What stands behind the scheme and the slashes of the canonical form: host, path and query.
    pub fn without_scheme(&self) -> &str {
        let rest = &self.canonical[self.scheme().len() + 1..];
        rest.strip_prefix("//").unwrap_or(rest)
    }
}

impl FromStr for SourceUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        SourceUrl::parse(text).map_err(|why| why.of(text))
    }
}

impl fmt::Display for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl PartialEq for SourceUrl {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl Eq for SourceUrl {}

impl PartialOrd for SourceUrl {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SourceUrl {
    fn cmp(&self, other: &Self) -> Ordering {
        self.canonical.cmp(&other.canonical)
    }
}

impl Hash for SourceUrl {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical.hash(state);
    }
}

impl Serialize for SourceUrl {
    /// The canonical form.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.canonical)
    }
}

impl<'de> Deserialize<'de> for SourceUrl {
    /// Refuses what [`SourceUrl::parse`] refuses.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        SourceUrl::parse(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

fn push_behind(text: &mut String, mark: char, rest: &str) {
    if !rest.is_empty() {
        text.push(mark);
        text.push_str(rest);
    }
}

fn needs_host(scheme: &str) -> bool {
    OF_THE_NET.contains(&scheme) || OF_BUCKETS.contains(&scheme)
}

/// Whether the case of a host says nothing: also where the scheme says how to speak to it, as `git+https` does.
fn folds_host(scheme: &str) -> bool {
    scheme.rsplit('+').next().is_some_and(|last| OF_THE_NET.contains(&last))
}

/// User, host and port of a URL: the host with its port as it is written, and whether there was a user.
struct Authority {
    host: String,
    user: bool,
}

impl Authority {
    fn read(scheme: &str, text: &str) -> Result<Self, UnusableReference> {
        let (user, rest) = text.rsplit_once('@').unwrap_or(("", text));
        let (host, port) = match rest.find(']') {
            Some(end) => rest.split_at(end + 1),
            None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
        };
        let mut written = if host.starts_with('[') { address(host)? } else { Authority::name(scheme, host)? };
        let port = port_number(port)?.filter(|port| !PORTS.contains(&(scheme, *port)));
        if let Some(port) = port {
            if written.is_empty() {
                return Err(UnusableReference::Host);
            }
            written.push_str(&format!(":{port}"));
        }
        Ok(Authority { host: written, user: !user.is_empty() })
    }

    fn name(scheme: &str, host: &str) -> Result<String, UnusableReference> {
        let read = decoded_text(host).ok_or(UnusableReference::Host)?;
        if read.chars().any(|c| c.is_control() || matches!(c, ' ' | '/' | '\\' | '@' | ':' | '[' | ']' | '?' | '#')) {
            return Err(UnusableReference::Host);
        }
        let (folded, mut name) = (if folds_host(scheme) { read.to_lowercase() } else { read }, String::new());
        encode(&mut name, folded.as_bytes(), IN_HOST);
        Ok(name)
    }
}

/// An IPv6 address in its brackets.
fn address(host: &str) -> Result<String, UnusableReference> {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).ok_or(UnusableReference::Host)?;
    let of_address = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.');
    let fine = inner.contains(':') && inner.chars().all(of_address);
    if fine { Ok(host.to_ascii_lowercase()) } else { Err(UnusableReference::Host) }
}

fn port_number(text: &str) -> Result<Option<u16>, UnusableReference> {
    match text.strip_prefix(':') {
        None if text.is_empty() => Ok(None),
        None => Err(UnusableReference::Host),
        Some("") => Ok(None),
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().map(Some).map_err(|_| UnusableReference::Port)
        }
        Some(_) => Err(UnusableReference::Port),
    }
}

/// The one spelling of a path, without secrets. What takes one thing away may bring the next one to light, so it goes on
/// until nothing changes; every round makes it shorter.
fn path(text: &str, behind_host: bool) -> String {
    let mut path = normalised(text, IN_PATH);
    loop {
        let next = path_once(&path, behind_host);
        if next == path {
            return path;
        }
        path = next;
    }
}

fn path_once(text: &str, behind_host: bool) -> String {
    let rooted = text.starts_with('/');
    let mut kept: Vec<String> = Vec::new();
    for segment in text.split('/').skip(usize::from(rooted)) {
        // Behind `https:` and an empty segment stands the host of a URL in this one.
        let hosted = kept.len() > 1 && kept[kept.len() - 1].is_empty() && kept[kept.len() - 2].ends_with(':');
        let segment = if hosted { segment.rsplit('@').next().unwrap_or_default() } else { segment };
        match segment_without_secrets(segment).as_str() {
            "." if rooted => {}
            ".." if rooted => {
                kept.pop();
            }
            segment => kept.push(without_user(segment)),
        }
    }
    let joined = kept.join("/");
    let trimmed = joined.trim_end_matches('/');
    // Without a host before it, a path that begins with two slashes would be read as one.
    let trimmed = if behind_host { trimmed } else { trimmed.trim_start_matches('/') };
    if rooted && !trimmed.is_empty() { format!("/{trimmed}") } else { trimmed.to_owned() }
}

/// A segment that is a whole URL, percent-encoded, without the user in it.
fn without_user(segment: &str) -> String {
    let Some(read) = decoded_text(segment).filter(|text| text.contains("://")) else { return segment.to_owned() };
    let (scheme, rest) = read.split_once("://").unwrap_or_default();
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let Some((_, host)) = rest[..end].rsplit_once('@') else { return segment.to_owned() };
    let mut kept = String::new();
    encode(&mut kept, format!("{scheme}://{host}{}", &rest[end..]).as_bytes(), ":@!$&'()*+,;=");
    kept
}

/// A query without its secrets, and with `REDACTED` in their place.
fn pairs(query: &str) -> (String, String) {
    let (signed, mut kept, mut said) = (is_signed(query), String::new(), String::new());
    for parameter in parameters(query) {
        let secret = parameter.is_secret(signed);
        let value = parameter.value.map_or(String::new(), |value| format!("={value}"));
        push_pair(
            &mut said,
            &parameter.separator,
            &match (secret, parameter.has_secret_name()) {
                (_, true) => REDACTED.to_owned(),
                (true, _) => format!("{}={REDACTED}", parameter.name),
                (false, _) => format!("{}{value}", parameter.name),
            },
        );
        if !secret && !parameter.has_secret_name() {
            push_pair(&mut kept, &parameter.separator, &format!("{}{value}", parameter.name));
        }
    }
    (kept, said)
}

fn push_pair(query: &mut String, separator: &Option<char>, pair: &str) {
    if !query.is_empty() {
        query.push(separator.unwrap_or('&'));
    }
    query.push_str(pair);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        SourceUrl::parse(text).map_or_else(|why| format!("{why:?}"), |url| url.to_string())
    }

    #[test]
    fn a_url_has_one_spelling() {
        for (text, one) in [
            ("HTTPS://Example.ORG:443/A/./b/../c/", "https://example.org/A/c"),
            ("https://h/", "https://h"),
            ("https://h:8080", "https://h:8080"),
            ("https://h:0443/a", "https://h/a"),
            ("http://h:/a", "http://h/a"),
            ("https://h/%7ea%2fb%C3%bc", "https://h/~a%2Fb%C3%BC"),
            ("https://h/ü b", "https://h/%C3%BC%20b"),
            ("https://Bücher.example/a", "https://b%C3%BCcher.example/a"),
            ("https://B%C3%9Ccher.example/a", "https://b%C3%BCcher.example/a"),
            ("https://[2001:DB8::1]:443/a", "https://[2001:db8::1]/a"),
            ("https://h/a?b=1&&c=%7e", "https://h/a?b=1&c=~"),
            ("https://h/a?", "https://h/a"),
            ("https://h/a#top", "https://h/a"),
            ("git+https://H/a#egg=b", "git+https://h/a#egg=b"),
            ("https://h//a//b", "https://h//a//b"),
            ("s3://My-Bucket/Key", "s3://My-Bucket/Key"),
            ("hdfs://Host:9000/a", "hdfs://Host:9000/a"),
            ("doi:10.1000/182", "doi:10.1000/182"),
            ("magnet:?xt=urn:btih:00", "magnet:?xt=urn:btih:00"),
            ("file:///a/../b", "file:///b"),
            (" https://h/a ", "https://h/a"),
            ("xy:/..//h/a", "xy:/h/a"),
        ] {
            assert_eq!(shown(text), one, "{text}");
            assert_eq!(shown(one), one);
        }
    }

    #[test]
    fn secrets_are_shown_as_such_and_not_kept() {
        for (text, printed, kept) in [
            ("https://me:pw@h/a", "https://REDACTED@h/a", "https://h/a"),
            ("https://me@h/a", "https://REDACTED@h/a", "https://h/a"),
            ("https://@h/a", "https://h/a", "https://h/a"),
            ("https://h/a?id=1&token=2", "https://h/a?id=1&token=REDACTED", "https://h/a?id=1"),
            ("https://h/a?sig=1&se=2", "https://h/a?sig=REDACTED&se=REDACTED", "https://h/a"),
            ("https://h/a?hf_0123456789abcdef", "https://h/a?REDACTED", "https://h/a"),
            ("xy://h/a#id=1&token=2", "xy://h/a#id=1&token=REDACTED", "xy://h/a#id=1"),
            ("https://h/a;sid;jsessionid=1/b", "https://h/a;sid/b", "https://h/a;sid/b"),
            ("https://h/w/https://me:pw@g/x", "https://h/w/https://g/x", "https://h/w/https://g/x"),
            ("https://h/https%3A%2F%2Fme%3Apw%40g%2Fx", "https://h/https:%2F%2Fg%2Fx", "https://h/https:%2F%2Fg%2Fx"),
            ("jdbc:pg://me:pw@g/x", "jdbc:pg://g/x", "jdbc:pg://g/x"),
        ] {
            let url = SourceUrl::parse(text).unwrap();
            assert_eq!((url.to_string().as_str(), url.canonical()), (printed, kept), "{text}");
        }
        let signed = |date, signature| {
            let url =
                format!("https://b.s3.amazonaws.com/a.pdf?X-Amz-Date={date}&versionId=3&X-Amz-Signature={signature}");
            SourceUrl::parse(&url).unwrap()
        };
        assert_eq!(signed("20250101T000000Z", "aa"), signed("20260101T000000Z", "bb"));
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for (text, why) in [
            ("", "Scheme"),
            ("a/b", "Scheme"),
            ("9p://h", "Scheme"),
            ("://h", "Scheme"),
            ("C:/a", "Drive"),
            ("https:", "NoHost"),
            ("https:h/a", "NoHost"),
            ("https:///a", "NoHost"),
            ("s3:///a", "NoHost"),
            ("https://h:99999/", "Port"),
            ("https://h:8o/", "Port"),
            ("https://me:pa/ss@h/", "Port"),
            ("https://h h/", "Host"),
            ("https://h\\a/", "Host"),
            ("https://%ff/", "Host"),
            ("https://%zz/", "Host"),
            ("https://[h]/", "Host"),
            ("https://[::1", "Host"),
            ("https://[::1]x/", "Host"),
            ("xy://:1", "Host"),
            ("xy:", "Empty"),
            ("xy://", "Empty"),
            ("xy:/", "Empty"),
            ("https://h/\u{7f}", "Control"),
            ("https://h/\0", "Control"),
        ] {
            assert_eq!(shown(text), why, "{text:?}");
        }
        assert_eq!(shown(&format!("https://h/{}", "x".repeat(REFERENCE_BYTES))), "TooLong");
        assert_eq!(shown(&"x".repeat(REFERENCE_INPUT_BYTES + 1)), "TooLong");
        let long_signature = format!("https://h/a?sig={}", "x".repeat(REFERENCE_BYTES));
        assert_eq!(shown(&long_signature), "https://h/a?sig=REDACTED");
    }
}
