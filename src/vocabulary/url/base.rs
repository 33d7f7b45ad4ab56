//! Names from URLs: what a download is called when nobody says otherwise.
//!
//! Nothing here fails: a URL that gives no usable name gives a stable one instead, made from its own bytes.

use super::percent::decoded;
use super::secret::segment_without_secrets;
use super::source::SourceUrl;
use super::split::is_of_scheme;
use crate::vocabulary::limits::NAME_COMPONENT_BYTES;
use crate::vocabulary::name::Name;

/// The last part of a URL's path, percent-decoded, as a name of one component (R9).
///
/// Query and fragment are left out, and so is whatever stands before a slash or backslash that was percent-encoded:
/// the name never leads out of the directory that it is put in. A URL without a scheme and host, with a broken escape,
/// or whose last part is no valid name (empty, `..`, too long, with control characters) gives `unnamed-<16 hex>`, the
/// beginning of the BLAKE3 of the URL: the same for the same URL, in every store (R10). Of a URL that can be read as one,
/// it is the BLAKE3 of its canonical form, so that a new signature does not make a new name.
pub fn base_name_of_url(url: &str) -> Name {
    usable_base(url).unwrap_or_else(|| unnamed_url(url))
}

/// The human-friendly name of an artifact that comes from a URL: `<artifact>/<base name of the URL>` (R7).
///
/// The artifact's id may have several components (`meta-llama/Llama-2-7b`). One that is no valid name, or leaves no room
/// for the base name, is replaced by `unnamed-<16 hex>`, the beginning of its BLAKE3.
pub fn policy_name(artifact_id: &str, url: &str) -> Name {
    let base = base_name_of_url(url);
    below(artifact_id.as_bytes(), &base)
        .or_else(|| below(unnamed(artifact_id).as_bytes(), &base))
        .unwrap_or_else(|| unnamed_url(url))
}

fn below(directory: &[u8], base: &Name) -> Option<Name> {
    Name::new([directory, b"/", base.as_bytes()].concat()).ok()
}

fn usable_base(url: &str) -> Option<Name> {
    let decoded = decoded(&segment_without_secrets(last_part(path_of(url)?)?))?;
    let base = decoded.rsplit(|b| matches!(b, b'/' | b'\\')).next()?;
    if base.len() > NAME_COMPONENT_BYTES {
        return None;
    }
    Name::new(base).ok()
}

/// The path of a URL that has a scheme and either a host or the scheme `file`.
fn path_of(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(is_of_scheme) {
        return None;
    }
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (host, path) = rest[..end].split_once('/')?;
    (!host.is_empty() || scheme.eq_ignore_ascii_case("file")).then_some(path)
}

fn last_part(path: &str) -> Option<&str> {
    path.rsplit('/').find(|part| !part.is_empty())
}

fn unnamed_url(url: &str) -> Name {
    SourceUrl::parse(url).map_or_else(|_| unnamed(url), |url| unnamed(url.canonical()))
}

fn unnamed(text: &str) -> Name {
    let hash = blake3::hash(text.as_bytes()).to_hex();
    Name::new(format!("unnamed-{}", &hash[..16])).expect("letters, a dash and hexadecimal digits are a name")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(url: &str) -> String {
        base_name_of_url(url).to_string()
    }

    #[test]
    fn the_last_part_of_the_path_is_the_name() {
        assert_eq!(base("https://example.org/docs/paper.pdf"), "paper.pdf");
        assert_eq!(base("https://example.org/docs/paper.pdf?download=1#page=2"), "paper.pdf");
        assert_eq!(base("https://example.org/a%20b/two%20words.bin"), "two words.bin");
        assert_eq!(base("https://example.org/docs/"), "docs");
        assert_eq!(base("file:///srv/models/x.gguf"), "x.gguf");
        assert_eq!(base_name_of_url("https://example.org/%ff").as_bytes(), b"\xff");
    }

    #[test]
    fn no_url_leads_out_of_its_directory() {
        assert_eq!(base("https://h/..%2f..%2fetc%2fpasswd"), "passwd");
        assert_eq!(base("https://h/..%5C..%5Cboot.ini"), "boot.ini");
        for url in ["https://h/%2e%2e", "https://h/a/..", "https://h/a%2F", "https://h/a%00b", "https://h/a%0ab"] {
            assert!(base(url).starts_with("unnamed-"), "{url}");
        }
    }

    #[test]
    fn a_malformed_url_has_a_name_of_its_own_that_stays_the_same() {
        let long = format!("https://h/{}", "x".repeat(256));
        let bad = ["", "https://h", "no url", "://h/a", "9p://h/a", "https:///a", "https://h/a%4", &long];
        let names: std::collections::BTreeSet<String> = bad.iter().map(|url| base(url)).collect();
        assert_eq!(names.len(), bad.len());
        assert!(names.iter().all(|name| name.len() == "unnamed-".len() + 16));
        assert_eq!(base("no url"), base("no url"));
        assert_eq!(base("https://h/"), base("https://h"));
        assert_eq!(base("https://h/?id=1&token=a"), base("https://h/?id=1&token=b"), "a token is no part of the name");
        assert_ne!(base("https://h/?id=1"), base("https://h/?id=2"));
        assert_eq!(base("https://h/a.pdf;jsessionid=1"), "a.pdf");
        assert_eq!(base(""), "unnamed-af1349b9f5f9a1a6", "the beginning of the BLAKE3 of nothing");
    }

    #[test]
    fn an_artifact_gives_the_directory() {
        let url = "https://example.org/w/model.safetensors";
        assert_eq!(policy_name("meta/llama", url).to_string(), "meta/llama/model.safetensors");
        for id in ["", "../up", "/etc", "a//b", &"d/".repeat(300)] {
            let name = policy_name(id, url).to_string();
            assert!(name.starts_with("unnamed-") && name.ends_with("/model.safetensors"), "{id}: {name}");
        }
    }
}
