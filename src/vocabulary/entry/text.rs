//! What text may stand on an entry.

use std::borrow::Cow;

use super::super::error::{Error, ErrorKind, Result};
use super::super::url::redacted;

/// Whether text has a secret of a URL in it.
pub(super) fn has_secrets(value: &str) -> bool {
    matches!(redacted(value), Cow::Owned(_))
}

/// Puts `REDACTED` in the place of the secrets of URLs.
pub(super) fn redact(value: &mut String) {
    if let Cow::Owned(clean) = redacted(value) {
        *value = clean;
    }
}

/// Text of one line, which may be empty.
pub(super) fn line(what: &str, value: &str) -> Result<()> {
    match value.chars().find(|c| c.is_control()) {
        None => Ok(()),
        Some(c) => Err(invalid(what, value, format!("it has the control character {:?}", c))),
    }
}

/// Text of one line that may not be empty.
pub(super) fn word(what: &str, value: &str) -> Result<()> {
    if value.is_empty() {
        return Err(invalid(what, value, "it is empty".into()));
    }
    line(what, value)
}

/// Text of several lines.
pub(super) fn prose(what: &str, value: &str) -> Result<()> {
    match value.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t' | '\r')) {
        None => Ok(()),
        Some(c) => Err(invalid(what, value, format!("it has the control character {:?}", c))),
    }
}

/// Refuses more than there is room for.
pub(super) fn at_most(what: &str, has: usize, most: usize, of: &str) -> Result<()> {
    if has <= most {
        return Ok(());
    }
    let attempt = format!("take the {what} as it is");
    Err(Error::new(ErrorKind::Invalid, attempt, format!("it has {has} {of}, and {most} are allowed at most")))
}

fn invalid(what: &str, value: &str, reason: String) -> Error {
    let start: String = value.chars().take(80).collect();
    Error::new(ErrorKind::Invalid, format!("use {start:?} as {} {what}", article(what)), reason)
}

fn article(what: &str) -> &'static str {
    // "a URI", as it is spoken.
    if what.starts_with(['a', 'e', 'i', 'o']) || what.starts_with("SBOM") { "an" } else { "a" }
}
