//! Whether what is to be written fits on the disk, where that is known before.

use std::path::Path;

use crate::machine::{Machine, Meta};
use crate::vocabulary::limits::SMALL_FILE_BYTES;
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Error, ErrorKind, Result};

/// Filesystems that store every byte as it is.
const NEVER_PACKED: [&str; 3] = ["ext4", "xfs", "tmpfs"];

/// Refuses ([`ErrorKind::TooLarge`]) to begin a copy of `source` in `directory` which does not fit there: the disk is not
/// filled with it. `attempt` says what was attempted. A filesystem that packs what it stores may hold more than it has
/// room for, and is asked by writing; so is one that does not say how much is free, and any for a small file.
pub(super) fn refuse_what_cannot_fit(
    machine: &dyn Machine,
    directory: &Path,
    source: &Meta,
    attempt: impl FnOnce() -> String,
) -> Result<()> {
    if source.size_bytes <= SMALL_FILE_BYTES || planted(Bug::NoPreflight) {
        return Ok(());
    }
    let Ok(there) = machine.filesystem(directory) else { return Ok(()) };
    let missing = source.allocated_bytes.min(source.size_bytes).saturating_sub(there.free_bytes);
    if missing == 0 || !NEVER_PACKED.contains(&there.kind.as_str()) {
        return Ok(());
    }
    let reason = format!(
        "it takes {} bytes, of which {missing} are missing: {} are free on the filesystem of {}",
        source.size_bytes,
        there.free_bytes,
        directory.display()
    );
    Err(Error::new(ErrorKind::TooLarge, attempt(), reason))
}
