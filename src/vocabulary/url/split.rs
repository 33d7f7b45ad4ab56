//! The parts of a URL (RFC 3986, section 3), cut apart and nothing more.

/// The parts of a URL, as they stand in it.
#[derive(Clone, Copy, Debug)]
pub(in crate::vocabulary) struct Split<'a> {
    /// Before the first colon.
    pub(in crate::vocabulary) scheme: &'a str,
    /// Behind `//`: user, host and port.
    pub(in crate::vocabulary) authority: Option<&'a str>,
    /// Up to the query.
    pub(in crate::vocabulary) path: &'a str,
    /// Behind the first `?`.
    pub(in crate::vocabulary) query: Option<&'a str>,
    /// Behind the first `#`.
    pub(in crate::vocabulary) fragment: Option<&'a str>,
}

impl<'a> Split<'a> {
    /// Cuts `text` apart; `None` where it has no scheme.
    pub(in crate::vocabulary) fn of(text: &'a str) -> Option<Self> {
        let (scheme, rest) = without_scheme(text)?;
        let (rest, fragment) = cut(rest, '#');
        let (rest, query) = cut(rest, '?');
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => {
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                (Some(authority), path)
            }
            None => (None, rest),
        };
        Some(Split { scheme, authority, path, query, fragment })
    }
}

fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, behind)| (before, Some(behind)))
}

/// The scheme and what stands behind its colon; `None` where `text` does not begin with a scheme.
pub(in crate::vocabulary) fn without_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let first = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    (first && scheme.chars().all(is_of_scheme)).then_some((scheme, rest))
}

/// Whether a scheme may have `c` in it.
pub(super) fn is_of_scheme(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')
}
