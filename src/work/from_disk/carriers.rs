//! Carriers: further inodes of blobs that are there, and the last file of one that is not.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::FromDisk;
use super::prepare::Prepared;
use crate::hashing::digest_file;
use crate::machine::{FileKind, Open};
use crate::parts::carriers::Carriers;
use crate::vocabulary::{Digest, Error, Event, Observer, Result};

/// The numbers of the carriers of every blob, by digest. Where the blob's own file is gone, the first carrier that is
/// hashed and has its bytes takes its place; one that has not, or cannot be read, goes to quarantine and is told: a file
/// there that no record knows would be collected.
pub(super) fn list(
    prepared: &Prepared,
    observer: &dyn Observer,
    report: &mut FromDisk,
) -> Result<BTreeMap<Digest, Vec<u32>>> {
    let (machine, layout) = (&prepared.machine, &prepared.layout);
    // Their directories are there already: nothing is made here.
    let files = Carriers::new(Arc::clone(machine), layout.clone(), 0o700).list()?;
    let mut numbers: BTreeMap<Digest, Vec<u32>> = BTreeMap::new();
    for file in files {
        let blob = layout.blob(&file.digest);
        let path = layout.carrier(&file.digest, file.number);
        if machine.lstat(&path).map_err(|e| Error::io("look at", &path, e))?.kind != FileKind::File {
            continue;
        }
        if machine.lstat(&blob).is_ok() {
            numbers.entry(file.digest).or_default().push(file.number);
            continue;
        }
        let read = machine.open(&path, Open::Read).and_then(|file| digest_file(file.as_ref()));
        let reason = match read {
            Ok(found) if found.digest == file.digest => {
                machine.rename_new(&path, &blob).map_err(|e| Error::io("put in its blob's place", &path, e))?;
                continue;
            }
            Ok(found) => format!("moved to quarantine: its bytes are {}", found.digest),
            Err(e) => format!("moved to quarantine: {e}"),
        };
        keep(prepared, &path, &file.digest)?;
        report.foreign += 1;
        observer.event(&Event::Failed { path, reason });
    }
    Ok(numbers)
}

/// Moves a carrier of a blob that is not there to quarantine.
fn keep(prepared: &Prepared, path: &Path, digest: &Digest) -> Result<()> {
    for attempt in 0_u32.. {
        let to = prepared.layout.quarantine().join(format!("{}.{}.{attempt}", digest.to_hex(), prepared.through));
        match prepared.machine.rename_new(path, &to) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            done => return done.map_err(|e| Error::io("move to quarantine", path, e)),
        }
    }
    unreachable!("a name is free long before that")
}
