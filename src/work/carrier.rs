//! A carrier: staged as a copy of the blob's file, put in its place, recorded.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::duplicate::copy_hashed;
use super::room::refuse_what_cannot_fit;
use crate::format::record::Record;
use crate::format::record::copies::CarrierRecord;
use crate::format::session::SessionKind;
use crate::format::settings::Durability;
use crate::hashing::digest_file;
use crate::ledger::{Ledger, Tx};
use crate::machine::{File, Open};
use crate::parts::blobs::stamp;
use crate::parts::carriers::CarrierDirs;
use crate::parts::sessions::Session;
use crate::vocabulary::{Digest, Error, ErrorKind, Result, Stamp};

/// A synced copy in staging, and what it looks like.
pub(super) type StagedCopy = (PathBuf, Stamp);

/// A session for staging.
pub(super) fn open_session(ledger: &Ledger) -> Result<Arc<Session>> {
    let opened = ledger.hold(|hold| {
        let sequence = hold.snapshot.cursor.sequence;
        ledger.sessions.open(SessionKind::Ingest, sequence, Vec::new())
    });
    opened.map(Arc::new)
}

/// Puts one staged copy in its place and on record. Only in a transaction, that is under `lock`; [`sync`] must follow.
pub(super) fn record(
    tx: &mut Tx<'_>,
    session: &Session,
    digest: &Digest,
    number: u32,
    (path, stamp): &StagedCopy,
    dirs: &mut CarrierDirs,
) -> Result<()> {
    tx.ledger().carriers.publish(path, &session.next_path(), digest, number, dirs)?;
    let since = tx.moment();
    tx.push(Record::Carrier(CarrierRecord { digest: *digest, number, stamp: *stamp, since }));
    Ok(())
}

/// Syncs the directories of copies that are about to be on record.
pub(super) fn sync(tx: &Tx<'_>, dirs: &CarrierDirs) -> Result<()> {
    match tx.ledger().policy.durability {
        Durability::None => Ok(()),
        _ => tx.ledger().carriers.sync(dirs),
    }
}

/// Copies a blob's file into staging, hashed on the way, and syncs it, with the mode and the time of `like`. `share`:
/// whether the copy may share its blocks with the blob; one that is to outlive a bad sector may not.
/// [`ErrorKind::Damaged`] where the bytes are not right.
pub(super) fn stage_copy(
    ledger: &Ledger,
    session: &Session,
    digest: &Digest,
    like: &Stamp,
    share: bool,
    goes_on: &dyn Fn() -> bool,
) -> Result<StagedCopy> {
    let from = ledger.blobs.open(digest)?;
    let path = session.next_path();
    let staged = fill(ledger, from.as_ref(), &path, digest, like, share, goes_on);
    if staged.is_err() {
        let _ = ledger.machine.unlink(&path);
    }
    Ok((path, staged?))
}

fn fill(
    ledger: &Ledger,
    from: &dyn File,
    path: &Path,
    digest: &Digest,
    like: &Stamp,
    share: bool,
    goes_on: &dyn Fn() -> bool,
) -> Result<Stamp> {
    let mode = ledger.policy.blob_mode & (like.mode | 0o400);
    let to = ledger.machine.open(path, Open::CreateNew { mode }).map_err(|e| Error::io("create", path, e))?;
    let shared = share && ledger.machine.reflink(from, to.as_ref()).is_ok();
    if !shared {
        let blob = from.meta().map_err(|e| Error::io("look at", &ledger.blobs.path(digest), e))?;
        let staging = ledger.layout.staging();
        refuse_what_cannot_fit(ledger.machine.as_ref(), &staging, &blob, || format!("copy blob {digest}"))?;
    }
    let found = match shared {
        true => digest_file(to.as_ref()),
        false => copy_hashed(from, to.as_ref(), path, goes_on)?.map(|(digests, _)| digests),
    };
    match found {
        Ok(found) if found.digest == *digest => {}
        Err(e) if e.kind() == io::ErrorKind::Interrupted => {
            return Err(Error::new(ErrorKind::Interrupted, format!("read blob {digest}"), "asked to stop"));
        }
        Ok(_) | Err(_) => return Err(bad(digest)),
    }
    to.set_mtime(like.mtime_ns).map_err(|e| Error::io("set the time of", path, e))?;
    if ledger.policy.durability != Durability::None {
        to.sync().map_err(|e| Error::io("sync", path, e))?;
    }
    let meta = to.meta().map_err(|e| Error::io("look at", path, e))?;
    Ok(stamp(&meta))
}

/// The error of a blob that cannot be copied since it is bad itself.
pub(super) fn bad(digest: &Digest) -> Error {
    Error::new(ErrorKind::Damaged, format!("copy blob {digest}"), "its own file does not have the right bytes")
}
