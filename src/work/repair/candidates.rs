//! Where larder itself knows that the bytes of a blob may be, and where its bad bytes are.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Candidate;
use super::select::Broken;
use crate::ledger::{Ledger, Snapshot, Tables};
use crate::machine::{FileKind, Meta};
use crate::vocabulary::events::Origin;
use crate::vocabulary::limits::SOURCES_MOST;
use crate::vocabulary::{Digest, Result};

/// Files in quarantine that are asked for their right parts, the newest first.
const EVIDENCE_MOST: usize = 4;

/// What larder knows, the best first: carriers, the store's own names where one of them is another file than the blob's,
/// the files that it was added from.
pub(super) fn candidates(ledger: &Ledger, snapshot: &Snapshot, broken: &Broken) -> Result<Vec<Candidate>> {
    let digest = &broken.digest;
    let mut found = Vec::new();
    if broken.is_unrecorded() {
        found.push(Candidate { origin: Origin::Name, path: ledger.layout.blob(digest), guessed: false });
    }
    for (number, _) in snapshot.carriers(digest)? {
        let path = ledger.layout.carrier(digest, number);
        found.push(Candidate { origin: Origin::Carrier, path, guessed: false });
    }
    let named = own_name(ledger, snapshot, broken)?;
    found.extend(named.map(|path| Candidate { origin: Origin::Name, path, guessed: false }));
    let sources = sources(snapshot, digest)?;
    found.extend(sources.into_iter().map(|path| Candidate { origin: Origin::Source, path, guessed: false }));
    Ok(found)
}

/// The files with wrong bytes of a blob that may be right in other places: what stands in its place, and what is in
/// quarantine.
pub(super) fn bad_files(ledger: &Ledger, broken: &Broken) -> Vec<Candidate> {
    let own = Candidate { origin: Origin::Blob, path: ledger.layout.blob(&broken.digest), guessed: false };
    let kept = evidence(ledger, &broken.digest).into_iter().rev().take(EVIDENCE_MOST);
    let kept = kept.map(|path| Candidate { origin: Origin::Quarantine, path, guessed: false });
    std::iter::once(own).chain(kept).collect()
}

/// The file of one hardlinked alias that is not the bad file: of a blob whose own file is gone, usually the last name
/// of the good one.
fn own_name(ledger: &Ledger, snapshot: &Snapshot, broken: &Broken) -> Result<Option<PathBuf>> {
    for name in snapshot.names_of(&broken.digest)? {
        let path = ledger.layout.name(&name);
        let hardlinked = snapshot.alias(&name)?.is_some_and(|alias| alias.hardlinked);
        if hardlinked && ledger.machine.lstat(&path).is_ok_and(|meta| is_another(&meta, broken)) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn is_another(meta: &Meta, broken: &Broken) -> bool {
    let right_size = meta.kind == FileKind::File && meta.size_bytes == broken.size_bytes;
    right_size && broken.look.file.is_none_or(|bad| (bad.device, bad.inode) != (meta.device, meta.inode))
}

/// The remembered paths. Whoever may write to the store may have written them, so only what can be a path of a file is
/// looked at.
fn sources(snapshot: &Snapshot, digest: &Digest) -> Result<Vec<PathBuf>> {
    let files = snapshot.sources(digest)?.map_or(Vec::new(), |row| row.files);
    let paths = files.into_iter().take(SOURCES_MOST).map(|file| PathBuf::from(OsStr::from_bytes(&file.path)));
    Ok(paths.filter(|path| path.is_absolute()).collect())
}

/// The remembered sources that are one of these files: they were taken in by link.
pub(super) fn sources_on(ledger: &Ledger, snapshot: &Snapshot, digest: &Digest, bad: &[Meta]) -> Vec<PathBuf> {
    let is_bad = |path: &PathBuf| {
        let there = ledger.machine.lstat(path);
        there.is_ok_and(|there| bad.iter().any(|bad| (bad.device, bad.inode) == (there.device, there.inode)))
    };
    sources(snapshot, digest).unwrap_or_default().into_iter().filter(is_bad).collect()
}

/// What is kept in quarantine of the files that stood in the place of a blob, in order. What cannot be listed is not
/// told.
pub(super) fn evidence(ledger: &Ledger, digest: &Digest) -> Vec<PathBuf> {
    let directory = ledger.layout.quarantine();
    let prefix = format!("{}.", digest.to_hex());
    let is_evidence = |name: &OsStr| {
        let name = name.as_bytes();
        name.starts_with(prefix.as_bytes()) && Path::new(OsStr::from_bytes(name)).extension() != Some("reason".as_ref())
    };
    let entries = ledger.machine.list(&directory).unwrap_or_default();
    let mut found: Vec<PathBuf> =
        entries.iter().filter(|entry| is_evidence(&entry.name)).map(|entry| directory.join(&entry.name)).collect();
    found.sort();
    found
}
