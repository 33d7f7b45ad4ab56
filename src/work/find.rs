//! Looking: names, blobs, what keeps them, and what it all costs.

use std::path::PathBuf;

use super::ingest::AliasKind;
use crate::vocabulary::{Blake3, Digest, Name, Stamp};

/// One alias, as `ls` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasInfo {
    /// The name.
    pub name: Name,
    /// What it means.
    pub digest: Digest,
    /// Length of the blob in bytes.
    pub size_bytes: u64,
    /// How it is kept.
    pub kind: AliasKind,
    /// Modification time of the source it came from, nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// Whether the source was executable.
    pub executable: bool,
    /// Journal time at which it was added, nanoseconds since the epoch.
    pub added_ns: u64,
}

/// One blob, as `show` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its digest.
    pub digest: Digest,
    /// Its BLAKE3.
    pub blake3: Blake3,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Where it is.
    pub path: PathBuf,
    /// What its file looked like when it was recorded.
    pub stamp: Stamp,
    /// What it looks like now; `None` if it is not there.
    pub now: Option<Stamp>,
    /// Names of the inode now.
    pub links: u64,
    /// Bytes on the disk now.
    pub allocated_bytes: u64,
    /// Journal time at which it was added, nanoseconds since the epoch.
    pub added_ns: u64,
    /// Every alias of it.
    pub aliases: Vec<AliasInfo>,
    /// The note of its pin, if it is pinned.
    pub pin: Option<String>,
    /// Whether its file is known to be damaged.
    pub damaged: bool,
}

/// Everything that keeps a blob alive, or that it is waiting for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// The blob.
    pub digest: Digest,
    /// Every alias.
    pub names: Vec<Name>,
    /// The note of its pin, if it is pinned.
    pub pin: Option<String>,
    /// Running work that holds it or might: its session.
    pub sessions: Vec<String>,
    /// Names of its inode that larder does not know: links outside the store.
    pub outside_links: u64,
    /// Journal time at which it lost its last root.
    pub unrooted_ns: Option<u64>,
    /// Whether it is condemned.
    pub condemned: bool,
    /// Whether collection may remove it now, with the given grace.
    pub collectable: bool,
    /// Whether a fence keeps everything.
    pub fenced: bool,
}

/// What the store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Distinct blobs.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Bytes that they occupy on the disk.
    pub allocated_bytes: u64,
    /// Aliases.
    pub names: u64,
    /// Bytes that the names stand for, each counted.
    pub logical_bytes: u64,
    /// Blobs without a root.
    pub unrooted_blobs: u64,
    /// Bytes that collecting those would really free.
    pub reclaimable_bytes: u64,
    /// Pins.
    pub pins: u64,
    /// Blobs known to be damaged.
    pub damaged_blobs: u64,
    /// Other findings on record: names not applied, fences.
    pub findings: u64,
    /// Whether collection is fenced.
    pub fenced: bool,
    /// Bytes of the journal and of the index.
    pub journal_bytes: u64,
    /// As above.
    pub index_bytes: u64,
    /// Sessions of running work.
    pub sessions: u64,
    /// Free bytes on the filesystem.
    pub free_bytes: u64,
    /// The filesystem's kind.
    pub filesystem: String,
}
