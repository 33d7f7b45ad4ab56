//! What text may stand on an entry.

use super::super::error::{Error, ErrorKind, Result};

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
pub(super) fn at_most(what: &str, has: usize, most: usize) -> Result<()> {
    if has <= most {
        return Ok(());
    }
    let attempt = format!("take the {what} as it is");
    Err(Error::new(ErrorKind::Invalid, attempt, format!("it has {has}, and at most {most} is allowed")))
}

fn invalid(what: &str, value: &str, reason: String) -> Error {
    let start: String = value.chars().take(80).collect();
    Error::new(ErrorKind::Invalid, format!("use {start:?} as a {what}"), reason)
}
