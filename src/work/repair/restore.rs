//! Good bytes are put on record, under `lock` and only where nothing has changed since they were looked at; whoever
//! holds `lock` then makes the files change places.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::select::Broken;
use super::stage::Good;
use crate::format::record::{BlobRecord, DamagedRecord, HealedRecord, Record};
use crate::format::settings::Durability;
use crate::ledger::{Ledger, Tables, Tx};
use crate::machine::{Meta, Open};
use crate::parts::blobs::{BlobDirs, stamp};
use crate::parts::sessions::Session;
use crate::vocabulary::events::Repair;
use crate::vocabulary::{Blake3, Error, ErrorKind, Result, Stamp};

/// Longest reason that is recorded, in characters: a line of a report.
const REASON_MOST: usize = 1000;

/// A blob, the good bytes for it, and what will be told.
pub(super) struct Mending {
    pub(super) broken: Broken,
    pub(super) good: Good,
    pub(super) told: Repair,
}

/// How a mending ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is on record, and the good file is in place.
    Done,
    /// The blob is not what was looked at any more.
    Changed,
}

/// What the transaction needs of one mending.
struct Step {
    broken: Broken,
    blake3: Blake3,
    staged: PathBuf,
    good: Stamp,
    reason: String,
}

/// Puts staged good bytes in the place of bad or missing ones, all with one frame. One ending for each, in order.
pub(super) fn put_in_place(ledger: &Ledger, session: &Arc<Session>, mendings: &[Mending]) -> Result<Vec<Ending>> {
    if ledger.policy.durability != Durability::None {
        // A frame is about to name the staged files: whoever finishes it after a crash looks for them there.
        session.sync_folders()?;
    }
    let steps: Vec<Step> = mendings.iter().map(step).collect();
    let held = Arc::clone(session);
    let done = ledger.transact(move |tx| {
        let endings = steps.iter().map(|step| step.record(tx)).collect::<Result<Vec<_>>>()?;
        // Nothing that this session rests on is older than this.
        held.restamp(tx.moment().sequence - 1)?;
        Ok(endings)
    });
    if matches!(&done, Err(e) if e.kind() == ErrorKind::OutcomeUnknown) {
        // Whoever finishes the frame needs what is staged.
        session.keep();
    }
    done
}

fn step(mending: &Mending) -> Step {
    let (staged, good) = mending.good.staged.clone().expect("what is put in place was staged");
    let reason = mending.broken.words().chars().take(REASON_MOST).collect();
    Step { broken: mending.broken.clone(), blake3: mending.good.blake3, staged, good, reason }
}

impl Step {
    fn record(&self, tx: &mut Tx<'_>) -> Result<Ending> {
        let Broken { digest, row, look, .. } = &self.broken;
        if !is_still(tx, &self.broken)? {
            return Ok(Ending::Changed);
        }
        let since = tx.moment();
        let inode = look.file.map_or(0, |file| file.inode);
        let reason = self.reason.clone();
        // What was found stands in the same frame: it goes to quarantine with the bad bytes, and stays in the journal.
        tx.push(Record::Damaged(DamagedRecord { digest: *digest, inode, reason, quarantined: false, since }));
        let root = tx.ledger().layout.root();
        let staged = self.staged.strip_prefix(root).expect("staging is below the store");
        tx.heal(HealedRecord {
            digest: *digest,
            blake3: self.blake3,
            bad: row.as_ref().map(|row| row.stamp),
            good: self.good,
            staged: staged.to_string_lossy().into_owned(),
            added: row.as_ref().map_or(since, |row| row.added),
        })?;
        tx.note_if_unrooted(digest)?;
        Ok(Ending::Done)
    }
}

/// Whether record and file of a blob are those that were looked at.
fn is_still(tx: &Tx<'_>, broken: &Broken) -> Result<bool> {
    let path = tx.ledger().blobs.path(&broken.digest);
    let there = match tx.ledger().machine.lstat(&path) {
        Ok(there) => Some(there),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(Error::io("look at", &path, e)),
    };
    let same_row = tx.blob(&broken.digest)? == broken.row;
    let gone = broken.row.is_none() && !tx.is_rooted(&broken.digest)?;
    // What could not be read has no description; whatever stands there now goes to quarantine whole.
    let unread = broken.look.by_disk;
    Ok(same_row && !gone && (unread || there.as_ref().map(what) == broken.look.file.as_ref().map(what)))
}

/// What tells one file from another, with its bytes as far as times tell.
fn what(meta: &Meta) -> (u64, u64, u64, i64) {
    (meta.device, meta.inode, meta.size_bytes, meta.mtime_ns)
}

/// Puts on record that the file in place is good: its bytes were hashed, and only its record says otherwise.
pub(super) fn confirm(ledger: &Ledger, found: &Broken) -> Result<()> {
    let (Some(row), Some(file)) = (found.row.clone(), found.look.file) else { return Ok(()) };
    let now = stamp(&file);
    let another = now.inode != row.stamp.inode;
    if another && ledger.policy.durability != Durability::None {
        sync_in_place(ledger, found)?;
    }
    let found = found.clone();
    ledger.transact(move |tx| {
        if !is_still(tx, &found)? {
            return Ok(());
        }
        let BlobRecord { digest, blake3, stamp: good, added } =
            BlobRecord { digest: found.digest, blake3: row.blake3, stamp: now, added: row.added };
        if another || found.marked.is_some() {
            // Its names may have been taken away, or lead to another file: this brings them to the one in place.
            let (bad, staged) = (Some(row.stamp), String::new());
            tx.heal(HealedRecord { digest, blake3, bad, good, staged, added })?;
        } else {
            tx.push(Record::Blob(BlobRecord { digest, blake3, stamp: good, added }));
        }
        tx.note_if_unrooted(&digest)?;
        Ok(())
    })
}

/// Somebody else put this file here and may never have synced it.
fn sync_in_place(ledger: &Ledger, found: &Broken) -> Result<()> {
    let mut dirs = BlobDirs::default();
    ledger.blobs.watch(&found.digest, &mut dirs)?;
    let path = ledger.blobs.path(&found.digest);
    let file = ledger.machine.open(&path, Open::Read).map_err(|e| Error::io("open", &path, e))?;
    file.sync().map_err(|e| Error::io("sync", &path, e))?;
    ledger.blobs.sync(&dirs)
}
