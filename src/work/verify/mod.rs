//! Verifying: named things against their digests, now.

use super::Context;
use super::names::Target;
use crate::vocabulary::{Error, ErrorKind, Observer, Prefix, Result};

/// How blobs are verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Move corrupt blobs to quarantine, unlink the store's own names of them and mark them damaged.
    pub quarantine: bool,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Blobs looked at.
    pub blobs: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Blobs whose bytes are right.
    pub ok: u64,
    /// Whose bytes are wrong.
    pub corrupt: u64,
    /// Whose file is missing.
    pub missing: u64,
    /// That could not be read.
    pub unreadable: u64,
    /// Moved to quarantine.
    pub quarantined: u64,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

/// Verifies.
pub fn verify(
    _: &Context<'_>,
    _: &[Target],
    _: &[Prefix],
    _: &VerifyOptions,
    _: &dyn Observer,
) -> Result<VerifyReport> {
    Err(Error::new(ErrorKind::Unsupported, "verify", "stand-in"))
}
