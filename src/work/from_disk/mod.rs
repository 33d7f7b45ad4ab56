//! Making the journal anew from the disk, where index and journal are both gone.
//!
//! Blobs and hardlinked names are joined on (device, inode): every such name comes back without hashing a byte. Names
//! that are copies are hashed and matched. What was only in the journal cannot come back; [`LOST`] lists it. Blobs count
//! as unverified until somebody has hashed them.

mod carriers;
mod copies;
mod join;
mod prepare;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::format::layout::Layout;
use crate::hashing::Workers;
use crate::machine::Machine;
use crate::vocabulary::{Observer, Result};

pub use copies::take_copies;

/// What only the journal knew, and is lost with it.
pub const LOST: [&str; 9] = [
    "counted names",
    "pins and their notes",
    "entries of the catalog, with their variants, usage and trash",
    "executable bits of names",
    "modification times of names, where they differ from that of the blob's file",
    "when blobs and names were added",
    "grace: what nothing kept, and since when",
    "what removed a blob that is gone",
    "known damage, and the fences of the old journal",
];

/// The note of the pin that a blob gets whose names are lost.
pub const PIN_NOTE: &str = "found on the disk without a name, when the journal was made anew";

/// What was made from the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FromDisk {
    /// Blobs found under `sha256/`.
    pub blobs: u64,
    /// Names that came back as links of a blob, or as empty files.
    pub names: u64,
    /// Names that came back because their bytes are those of a blob.
    pub copied_names: u64,
    /// Further inodes of these blobs, found under `carriers/`.
    pub carriers: u64,
    /// Files under `names/` that are nothing of this store's, or whose blob is not what it should be, left alone. And
    /// carriers of blobs whose own file is gone and whose bytes they do not have; moved to quarantine.
    pub foreign: u64,
    /// Blobs without a name, which are pinned.
    pub pinned: u64,
    /// Blobs whose mode was put right.
    pub modes: u64,
    /// Whether everything came from the index, which was still whole: nothing is lost but what came after it, and
    /// collection is fenced until `check --repair`.
    pub from_index: bool,
    /// Whether the journal is good, and only `larder.toml` had to be made again.
    pub only_settings: bool,
    /// Where the old journal is kept, if there was one.
    pub old_journal: Option<PathBuf>,
}

/// Makes a new journal for the store in `directory` from what is on its disk, and `larder.toml` if it is gone. Takes the
/// store's locks; whoever has it open meanwhile waits.
///
/// [`ErrorKind::Refused`](crate::ErrorKind::Refused) where the journal still says something, unless `discard`: then the
/// old one goes to `quarantine/`. Stopped half-way, it can be run again. Copies are not matched yet: that is
/// [`take_copies`]'s, in the opened store.
pub fn rebuild(
    machine: &Arc<dyn Machine>,
    directory: &Path,
    discard: bool,
    workers: &Workers,
    observer: &dyn Observer,
) -> Result<FromDisk> {
    let layout = Layout::new(directory);
    let prepared = prepare::prepare(machine, &layout, discard)?;
    let mut report = FromDisk { old_journal: prepared.old_journal.clone(), ..FromDisk::default() };
    if prepared.only_settings {
        prepared.publish_settings()?;
        report.only_settings = true;
        return Ok(report);
    }
    if !prepared.take_index(&mut report)? {
        join::join(&prepared, workers, observer, &mut report)?;
    }
    prepared.publish_settings()?;
    Ok(report)
}
