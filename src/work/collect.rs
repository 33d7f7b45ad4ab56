//! Collecting: condemn, wait, remove.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Context;
use crate::vocabulary::{Digest, Error, ErrorKind, Observer, Result};

/// How garbage is collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CollectOptions {
    /// How long a blob stays after it lost its last root, in journal time.
    pub grace: Duration,
    /// How long a file under `sha256/` that no record knows stays after it was first seen, in journal time.
    pub orphan_ttl: Duration,
    /// Remove more than half of a store of over 100 blobs.
    pub yes_most: bool,
}

/// One blob that collection would remove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doomed {
    /// The blob.
    pub digest: Digest,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Bytes that removing it really frees: none while a link outside the store is left.
    pub frees_bytes: u64,
    /// Links outside the store.
    pub outside_links: u64,
    /// Why it may go: `unrooted` or `orphan`.
    pub rule: String,
}

/// What one collection would do, and at which state of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectPlan {
    /// The store it was made for (its id in hexadecimal).
    pub store: String,
    /// The journal's sequence when it was made.
    pub sequence: u64,
    /// The grace it was made with, in seconds.
    pub grace_seconds: u64,
    /// What would be removed.
    pub doomed: Vec<Doomed>,
    /// Blobs without a root whose grace is not over.
    pub in_grace: u64,
    /// Blobs in the store.
    pub blobs: u64,
}

/// What was collected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CollectReport {
    /// Blobs removed.
    pub removed_blobs: u64,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Bytes really freed.
    pub freed_bytes: u64,
    /// Blobs that running work holds, and which work.
    pub held: Vec<(Digest, String)>,
    /// Blobs without a root whose grace is not over.
    pub in_grace: u64,
    /// Sessions of dead processes that were emptied.
    pub dead_sessions: u64,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

/// Plans a collection.
pub fn plan(_: &Context<'_>, _: &CollectOptions) -> Result<CollectPlan> {
    stand_in("plan a collection")
}

/// Collects.
pub fn collect(
    _: &Context<'_>,
    _: Option<&CollectPlan>,
    _: &CollectOptions,
    _: &dyn Observer,
) -> Result<CollectReport> {
    stand_in("collect")
}

fn stand_in<T>(what: &str) -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, what, "stand-in"))
}
