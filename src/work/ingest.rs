//! Adding: bytes and names into the store.

use std::io::Read;
use std::path::PathBuf;

use super::Context;
use crate::vocabulary::{Digest, Error, ErrorKind, Name, Observer, Result};

/// How an alias is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasKind {
    /// As a file under `names/`, a hardlink to the blob.
    Hardlinked,
    /// In the index alone.
    Counted,
}

/// How the bytes of a source are taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TakeIn {
    /// They are copied (reflinked where the filesystem can); the source is not touched.
    #[default]
    Copy,
    /// The source becomes a hardlink to the blob, read-only like it.
    Link,
    /// As `Link`, and the source's old name goes away after the commit.
    Move,
}

/// How a tree or file is added.
#[derive(Clone, Debug, Default)]
pub struct AddOptions {
    /// The name for the one file that is added; `None` derives it from the path.
    pub name: Option<Name>,
    /// Put before every derived name, with a slash.
    pub prefix: Option<Name>,
    /// How the bytes are taken in.
    pub take_in: TakeIn,
    /// Hash the stored copy of every dedup hit.
    pub verify_existing: bool,
    /// Refuse any other bytes than these.
    pub expect: Option<Digest>,
    /// A name that means other bytes is given these instead.
    pub replace: bool,
    /// How aliases are kept; `None` is the store's setting.
    pub alias: Option<AliasKind>,
}

/// What was added, when it is over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddReport {
    /// Files whose bytes are new.
    pub new_files: u64,
    /// Bytes of those.
    pub new_bytes: u64,
    /// Files whose bytes were known.
    pub dedup_files: u64,
    /// Bytes of those, which were not stored again.
    pub dedup_bytes: u64,
    /// Names that already meant these bytes.
    pub unchanged_files: u64,
    /// Bytes of those.
    pub unchanged_bytes: u64,
    /// Damaged blobs put right.
    pub healed_files: u64,
    /// Sources left out on purpose.
    pub skipped: u64,
    /// Sources that failed.
    pub failed: u64,
    /// Whether it was stopped before its end; what is counted is kept.
    pub interrupted: bool,
}

/// One path that the user named, and what of it became which name.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file or directory.
    pub path: PathBuf,
}

/// Adds files and trees.
pub fn add(_: &Context<'_>, _: &[Source], _: &AddOptions, _: &dyn Observer) -> Result<AddReport> {
    stand_in("add")
}

/// Adds a stream.
pub fn add_stream(
    _: &Context<'_>,
    _: &mut (dyn Read + Send),
    _: &Name,
    _: &AddOptions,
    _: &dyn Observer,
) -> Result<AddReport> {
    stand_in("add a stream")
}

fn stand_in<T>(what: &str) -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, what, "stand-in"))
}
