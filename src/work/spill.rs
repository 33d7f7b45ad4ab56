//! A blob's file with as many links as its filesystem allows: names that could not be linked to it are linked to a
//! carrier, which is made if there is none with room.
//!
//! Such a name is a finding on record and counted until then, so nothing is lost where this fails or is cut short: the
//! next one to give the blob a hardlinked name, and `repair`, do it again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::carrier::{open_session, record, stage_copy, sync};
use crate::format::record::{Record, Replaced};
use crate::format::table::BlobRow;
use crate::ledger::{Ledger, Snapshot, Tables, Tx};
use crate::parts::carriers::CarrierDirs;
use crate::parts::names::wants_another_inode;
use crate::parts::sessions::Session;
use crate::vocabulary::{Digest, Name, Result};

/// Names that are applied again with one frame: as many as a batch has.
pub(super) const NAMES_AT_ONCE: usize = 2048;
/// Findings that are looked through: a store has few, and the next call goes on.
const FINDINGS_MOST: usize = 65_536;

/// Applies the names of blobs that `concerns` means and whose file has no links left. Says how many names that were.
pub(super) fn spill(ledger: &Ledger, concerns: &dyn Fn(&Digest) -> bool) -> Result<u64> {
    let snapshot = ledger.snapshot()?;
    let waiting = waiting(&snapshot, concerns)?;
    if waiting.is_empty() || !ledger.policy.writable {
        return Ok(0);
    }
    let session = open_session(ledger)?;
    let mut applied = 0;
    for (digest, names) in waiting {
        if digest != Digest::EMPTY && snapshot.damaged(&digest)?.is_none() {
            applied += settle(ledger, &session, &digest, names)?;
        }
    }
    Ok(applied)
}

/// Applies the names of one blob, with as many carriers as that takes, until none is left or nothing helps. Whether a
/// file takes one more link only trying tells: some filesystems count in each directory.
fn settle(ledger: &Ledger, session: &Arc<Session>, digest: &Digest, mut names: Vec<Name>) -> Result<u64> {
    let all = names.len();
    let mut made_room = false;
    loop {
        let Some(row) = ledger.snapshot()?.blob(digest)? else { return Ok(0) };
        let before = names.len();
        apply_again(ledger, digest, names.clone(), row.stamp.inode)?;
        let now = ledger.snapshot()?;
        names.retain(|name| waits(now.as_ref(), name).unwrap_or(false));
        let stuck = names.len() == before;
        if names.is_empty() || (stuck && made_room) {
            return Ok((all - names.len()) as u64);
        }
        if stuck {
            make_room(ledger, session, digest, &row)?;
        }
        made_room = stuck;
    }
}

/// Whether a name waits for one more inode of its blob.
fn waits(snapshot: &Snapshot, name: &Name) -> Result<bool> {
    Ok(snapshot.name_finding(name)?.is_some_and(|finding| wants_another_inode(&finding.reason)))
}

/// Names on record that could not be applied, by their blobs.
fn waiting(snapshot: &Snapshot, concerns: &dyn Fn(&Digest) -> bool) -> Result<BTreeMap<Digest, Vec<Name>>> {
    let mut waiting: BTreeMap<Digest, Vec<Name>> = BTreeMap::new();
    for row in snapshot.all_name_findings().take(FINDINGS_MOST) {
        let (name, finding) = row?;
        let alias = snapshot.alias(&name)?.filter(|alias| alias.hardlinked && concerns(&alias.digest));
        if let Some(alias) = alias.filter(|_| wants_another_inode(&finding.reason)) {
            waiting.entry(alias.digest).or_default().push(name);
        }
    }
    Ok(waiting)
}

fn make_room(ledger: &Ledger, session: &Arc<Session>, digest: &Digest, row: &BlobRow) -> Result<()> {
    let staged = stage_copy(ledger, session, digest, &row.stamp, true, &|| true)?;
    let (digest, row, held, path) = (*digest, row.clone(), Arc::clone(session), staged.0.clone());
    let made = ledger.transact(move |tx| {
        if tx.blob(&digest)?.as_ref() == Some(&row) {
            let last = tx.carriers(&digest)?.last().map_or(0, |(number, _)| *number);
            let mut dirs = CarrierDirs::default();
            record(tx, &held, &digest, last + 1, &staged, &mut dirs)?;
            sync(tx, &dirs)?;
        }
        Ok(())
    });
    // A second name of the carrier, which counts as a link until it is gone.
    let _ = ledger.machine.unlink(&path);
    made
}

/// Applies names of a blob again: those that still mean it, and of which a file with this inode may be what is there.
/// Says how many.
pub(super) fn apply_again(ledger: &Ledger, digest: &Digest, names: Vec<Name>, inode: u64) -> Result<u64> {
    let count = names.len() as u64;
    for some in names.chunks(NAMES_AT_ONCE) {
        let (digest, some) = (*digest, some.to_vec());
        ledger.transact(move |tx| some.into_iter().try_for_each(|name| say_again(tx, &digest, name, inode)))?;
    }
    Ok(count)
}

/// Records once more what a name means, which makes whoever commits it apply it.
pub(super) fn say_again(tx: &mut Tx<'_>, digest: &Digest, name: Name, inode: u64) -> Result<()> {
    let Some(row) = tx.alias(&name)?.filter(|row| row.digest == *digest && row.hardlinked) else { return Ok(()) };
    let replaces = Some(Replaced { digest: row.digest, hardlinked: true, inode });
    tx.push(Record::Alias(row.record(name, replaces)));
    Ok(())
}
