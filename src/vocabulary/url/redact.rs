//! Text with URLs in it, without their secrets.

use std::borrow::Cow;
use std::ops::Range;

use super::secret::{Parameter, REDACTED};
use super::split::is_of_scheme;

/// `text` with `REDACTED` in the place of every secret of every URL in it: user and password before a host, and
/// parameters that are secrets or part of a signature. What is no URL stays as it is.
///
/// This is for text that a person reads (errors, logs): it changes nothing else, and hides rather too much where a URL is
/// malformed. What is stored goes through [`SourceUrl`](super::SourceUrl) instead.
pub fn redacted(text: &str) -> Cow<'_, str> {
    until_it_stays(text, Extent::Word)
}

/// As [`redacted`], where all of `text` is meant to be one URL: blanks and quotes do not end it.
pub(super) fn redacted_whole(text: &str) -> Cow<'_, str> {
    until_it_stays(text, Extent::All)
}

/// What is left of malformed URLs that run into each other may look like another secret: it is looked at again, and each
/// time less of the text is left.
fn until_it_stays(text: &str, extent: Extent) -> Cow<'_, str> {
    let mut shown = without(text, secrets(text, extent));
    while let Cow::Owned(before) = &shown {
        let again = without(before, secrets(before, extent)).into_owned();
        if again == *before {
            break;
        }
        shown = Cow::Owned(again);
    }
    shown
}

/// How far a URL goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// To a blank, a quote or an angle bracket.
    Word,
    /// To the end of the text.
    All,
}

impl Extent {
    fn ends_at(self, c: char) -> bool {
        self == Extent::Word && (c.is_whitespace() || c.is_control() || matches!(c, '"' | '<' | '>' | '`'))
    }

    fn end(self, text: &str, from: usize) -> usize {
        text[from..].find(|c| self.ends_at(c)).map_or(text.len(), |length| from + length)
    }
}

fn secrets(text: &str, extent: Extent) -> Vec<Range<usize>> {
    if !text.contains(['@', '=', ':', '%']) {
        return Vec::new();
    }
    let mut found: Vec<_> = users(text, extent).chain(encoded_users(text)).chain(values(text, extent)).collect();
    found.sort_by_key(|range| range.start);
    found
}

fn without(text: &str, secrets: Vec<Range<usize>>) -> Cow<'_, str> {
    if secrets.is_empty() {
        return Cow::Borrowed(text);
    }
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for secret in secrets {
        if secret.start >= at {
            out.push_str(&text[at..secret.start]);
            out.push_str(REDACTED);
        }
        at = at.max(secret.end);
    }
    out.push_str(&text[at..]);
    Cow::Owned(out)
}

/// What stands before the `@` of a host.
fn users(text: &str, extent: Extent) -> impl Iterator<Item = Range<usize>> + '_ {
    text.match_indices(':').filter_map(move |(colon, _)| {
        let before = text[..colon].rfind(|c| !is_of_scheme(c)).map_or(0, |at| at + char_bytes(text, at));
        let scheme = &text[before..colon];
        let slashes = text[colon + 1..].bytes().take_while(|b| matches!(b, b'/' | b'\\')).count();
        // A URL that has lost its slashes, as in a path, is still meant as one where its scheme is well known, whatever has
        // grown together with it, or where a password stands behind the one that is left.
        let lower = scheme.to_ascii_lowercase();
        let known = ["http", "https", "ftp"].iter().any(|one| lower.ends_with(one));
        let begins = slashes >= 2 || known || (slashes == 1 && has_password(&text[colon + 2..], extent));
        (begins && !scheme.is_empty()).then(|| user(text, colon + 1 + slashes, extent)).flatten()
    })
}

fn user(text: &str, start: usize, extent: Extent) -> Option<Range<usize>> {
    let word = &text[start..extent.end(text, start)];
    let authority = &word[..word.find(['/', '\\', '?', '#']).unwrap_or(word.len())];
    if let Some(at) = authority.rfind('@') {
        return (at > 0).then_some(start..start + at);
    }
    if !has_bad_port(authority) {
        return None;
    }
    // A password with a slash or a blank in it: it goes on to the last @ of the line, or with a line break to the next.
    let line = &text[start..text[start..].find('\n').map_or(text.len(), |length| start + length)];
    let at = line.rfind('@').or_else(|| text[start..].find('@'));
    Some(start..start + at.unwrap_or(authority.len()))
}

/// Whether `rest` begins with a user and a password.
fn has_password(rest: &str, extent: Extent) -> bool {
    let word = &rest[..extent.end(rest, 0)];
    let authority = &word[..word.find(['/', '\\', '?', '#']).unwrap_or(word.len())];
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

fn has_bad_port(authority: &str) -> bool {
    let behind_address = authority.rfind(']').map_or(authority, |end| &authority[end..]);
    let mut ports = behind_address.split(':').skip(1);
    let port = |text: &str| text.trim_end_matches(is_punctuation).bytes().all(|b| b.is_ascii_digit());
    ports.next().is_some_and(|text| !port(text)) || ports.next().is_some_and(|text| !text.is_empty())
}

/// As [`users`], in URLs that are percent-encoded.
fn encoded_users(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    const MARK: &str = "%3a%2f%2f";
    let is_mark = |at: usize| text.get(at..at + MARK.len()).is_some_and(|t| t.eq_ignore_ascii_case(MARK));
    let marks = text.match_indices('%').map(|(at, _)| at).filter(move |at| is_mark(*at));
    marks.filter_map(|at| {
        let start = at + MARK.len();
        let of_url = |c: char| c.is_ascii_alphanumeric() || "%-._~+!*'()".contains(c);
        let end = text[start..].find(|c| !of_url(c)).map_or(text.len(), |length| start + length);
        text[start..end].rfind("%40").map(|at| start..start + at)
    })
}

/// Values of parameters that are secrets.
fn values(text: &str, extent: Extent) -> impl Iterator<Item = Range<usize>> + '_ {
    words(text, extent).flat_map(move |word| {
        let signed = parameters(text, word.clone()).any(|(p, _)| p.is_signature());
        let secret = move |(p, range): (Parameter<'_>, Range<usize>)| p.is_secret(signed).then_some(range);
        parameters(text, word).filter_map(secret).filter(|range| !range.is_empty())
    })
}

fn words(text: &str, extent: Extent) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at;
        let end = (start < text.len()).then(|| extent.end(text, start))?;
        at = end + text[end..].chars().next().map_or(0, char::len_utf8);
        Some(start..end)
    })
}

/// Everything in a word that looks like a parameter, and where its value is; of one without a value, where it is.
fn parameters(text: &str, word: Range<usize>) -> impl Iterator<Item = (Parameter<'_>, Range<usize>)> {
    const SEPARATORS: [char; 4] = ['?', '&', ';', '#'];
    let first = text[word.clone()].find(SEPARATORS).map_or(word.end, |length| word.start + length + 1);
    let mut at = first;
    std::iter::from_fn(move || {
        let start = at;
        let piece = text.get(start..word.end).filter(|rest| !rest.is_empty())?;
        let piece = &piece[..piece.find(SEPARATORS).unwrap_or(piece.len())];
        at = start + piece.len() + 1;
        let (name, value) = piece.split_once('=').map_or((piece, None), |(name, value)| (name, Some(value)));
        let shown = value.unwrap_or(piece).trim_end_matches(is_punctuation);
        let from = start + value.map_or(0, |_| name.len() + 1);
        Some((Parameter { separator: None, name, value: value.map(|_| shown) }, from..from + shown.len()))
    })
}

/// What may end a sentence, or a quotation, right behind a URL.
fn is_punctuation(c: char) -> bool {
    matches!(c, '\'' | ')' | ']' | '}' | ',' | '.' | ':' | '!' | '\\')
}

fn char_bytes(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(0, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_urls_in_text_are_replaced_and_nothing_else() {
        for (text, shown) in [
            ("cannot read https://me:pw@h/x: gone", "cannot read https://REDACTED@h/x: gone"),
            ("\"https://h/a?token=abc\": no", "\"https://h/a?token=REDACTED\": no"),
            ("'https://h/a?id=1&sig=abc', twice", "'https://h/a?id=1&sig=REDACTED', twice"),
            ("(see s3://k:s@b/x?X-Amz-Signature=0a.)", "(see s3://REDACTED@b/x?X-Amz-Signature=REDACTED.)"),
            ("https:/me:pw@h and https:me:pw@h", "https:/REDACTED@h and https:REDACTED@h"),
            ("--https:/me:pw@h git+https:/me@h", "--https:/REDACTED@h git+https:/REDACTED@h"),
            ("s3:/me:pw@h/x", "s3:/REDACTED@h/x"),
            ("https:\\\\me:pw@h\\x", "https:\\\\REDACTED@h\\x"),
            ("https://me:p/w@h/x", "https://REDACTED@h/x"),
            ("https://me:p w@h/x", "https://REDACTED@h/x"),
            ("https://me:p\nw@h/x", "https://REDACTED@h/x"),
            ("https://me:p\"w@h/x", "https://REDACTED@h/x"),
            ("u=https%3A%2F%2Fme%3Apw%40h%2Fx.", "u=https%3A%2F%2FREDACTED%40h%2Fx."),
            ("a?u=/b?token=c", "a?u=/b?token=REDACTED"),
            ("http://a:b", "http://REDACTED"),
            ("x/y;jsessionid=1/z", "x/y;jsessionid=REDACTED"),
            ("https/w@h/a?sig://me:p/w@h/a?sig=0", "https/w@h/a?REDACTED?sig=REDACTED"),
        ] {
            assert_eq!(redacted(text), shown);
            assert_eq!(redacted(shown), shown, "what is redacted stays");
        }
        for text in [
            "https://h/a?id=1#b",
            "https://h:8080/a",
            "https://[::1]:80/a: no",
            "me@h",
            "a: b",
            "https://h/@me/x",
            "std::fs: key=value",
            "a::b://c",
            "http://h: no such host",
            "",
            "ünï?cödé=ñ&",
            "https://h/, and http://h.",
            "larder:/srv/a:b@c s3:/me@h/x",
        ] {
            assert_eq!(redacted(text), text);
        }
        assert_eq!(redacted_whole("https://h/?token=a b\"c"), "https://h/?token=REDACTED");
    }
}
