//! Names: given, moved and taken away; pins.

use crate::vocabulary::{Digest, Name};

/// What the user points at: a name or a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An alias.
    Name(Name),
    /// A blob.
    Digest(Digest),
}

/// Names that would go away, and what that means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemovePlan {
    /// Each name with its digest and size in bytes.
    pub names: Vec<(Name, Digest, u64)>,
    /// Blobs that would have no root any more.
    pub unrooted_blobs: u64,
    /// Bytes that collecting those would really free.
    pub reclaimable_bytes: u64,
}

/// What was taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveReport {
    /// Names taken away.
    pub names: u64,
    /// Blobs that have no root any more.
    pub unrooted_blobs: u64,
}
