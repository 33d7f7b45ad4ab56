//! Out of the store: files for names, by link, reflink, copy or symlink.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::Context;
use super::names::Target;
use crate::vocabulary::{Error, ErrorKind, Observer, Prefix, Result};

/// How a file outside the store is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A second name of the blob's inode: read-only, shared.
    Hardlink,
    /// A private file that shares the blob's extents until it is written to.
    Reflink,
    /// A private copy, holes kept.
    Copy,
    /// A symbolic link to the blob.
    Symlink,
}

impl Mode {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Hardlink => "hardlink",
            Mode::Reflink => "reflink",
            Mode::Copy => "copy",
            Mode::Symlink => "symlink",
        }
    }
}

/// How files are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaterializeOptions {
    /// The way asked for; `None` is the default of the call, with its fall-backs.
    pub mode: Option<Mode>,
    /// Replace what is at the destination.
    pub replace: bool,
}

/// What was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaterializeReport {
    /// Files made.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of those, how many by each mode.
    pub hardlinked: u64,
    /// As above.
    pub reflinked: u64,
    /// As above.
    pub copied: u64,
    /// As above.
    pub symlinked: u64,
    /// Files that were already what they should be.
    pub unchanged: u64,
    /// Why another way than the one asked for was taken: reason and how often.
    pub fallbacks: Vec<(String, u64)>,
    /// Files that could not be made.
    pub failed: u64,
    /// Attributes that a link cannot restore: how many files have another mtime or executable bit than their name.
    pub not_restored: u64,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
    /// Where.
    pub destination: PathBuf,
}

/// Makes one file.
pub fn get(
    _: &Context<'_>,
    _: &Target,
    _: &Path,
    _: &MaterializeOptions,
    _: &dyn Observer,
) -> Result<MaterializeReport> {
    stand_in("get")
}

/// Makes a tree.
pub fn checkout(
    _: &Context<'_>,
    _: &Prefix,
    _: &Path,
    _: &MaterializeOptions,
    _: &dyn Observer,
) -> Result<MaterializeReport> {
    stand_in("check out")
}

/// Writes a blob to a stream.
pub fn cat(_: &Context<'_>, _: &Target, _: &mut dyn Write) -> Result<u64> {
    stand_in("read out")
}

/// Where a blob's file is.
pub fn path(_: &Context<'_>, _: &Target) -> Result<PathBuf> {
    stand_in("find the path")
}

fn stand_in<T>(what: &str) -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, what, "stand-in"))
}
