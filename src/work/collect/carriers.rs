//! The carriers of a blob go with it, and what no record knows of them goes alone.

use std::path::PathBuf;

use super::{frees, refuse_fences};
use crate::format::record::Record;
use crate::format::record::copies::CarrierRemovedRecord;
use crate::ledger::{Ledger, Snapshot, Tables};
use crate::parts::carriers::FoundCarrier;
use crate::parts::sessions::Session;
use crate::vocabulary::{Digest, Result};

/// Bytes that removing the carriers of a blob frees.
pub(super) fn frees_bytes(ledger: &Ledger, snapshot: &Snapshot, digest: &Digest) -> Result<u64> {
    let mut sum = 0;
    for (number, _) in snapshot.carriers(digest)? {
        sum += ledger.carriers.meta(digest, number)?.map_or(0, |meta| frees(&meta));
    }
    Ok(sum)
}

/// Takes the carriers of a blob off the record; says which they were.
pub(super) fn unrecord(snapshot: &Snapshot, digest: &Digest, records: &mut Vec<Record>) -> Result<Vec<u32>> {
    let numbers: Vec<u32> = snapshot.carriers(digest)?.into_iter().map(|(number, _)| number).collect();
    let removed = |number: &u32| Record::CarrierRemoved(CarrierRemovedRecord { digest: *digest, number: *number });
    records.extend(numbers.iter().map(removed));
    Ok(numbers)
}

/// Brings carriers that are on record no more out of the way, to be unlinked outside the lock, or unlinks them where they
/// are where there is no session. Says how many bytes that frees.
pub(super) fn take_out(
    ledger: &Ledger,
    session: Option<&Session>,
    digest: &Digest,
    numbers: &[u32],
    out: &mut Vec<PathBuf>,
) -> Result<u64> {
    let mut freed = 0;
    for number in numbers {
        freed += ledger.carriers.meta(digest, *number)?.map_or(0, |meta| frees(&meta));
        match session.map(Session::next_path) {
            Some(aside) if ledger.carriers.take_out(digest, *number, &aside)? => out.push(aside),
            Some(_) => {}
            None => ledger.carriers.remove(digest, *number)?,
        }
    }
    Ok(freed)
}

/// Removes the files of carriers that no record knows. They are made and recorded in one hold of `lock`, and taken off
/// the record and unlinked in one: whoever sees one without a record while holding `lock` sees what a crash has left.
pub(super) fn remove_unrecorded(ledger: &Ledger) -> Result<()> {
    let before = ledger.snapshot()?;
    let unknown = |found: &FoundCarrier, snapshot: &Snapshot| -> Result<bool> {
        Ok(!snapshot.carriers(&found.digest)?.iter().any(|(number, _)| *number == found.number))
    };
    let mut left = Vec::new();
    for found in ledger.carriers.list()? {
        if unknown(&found, &before)? {
            left.push(found);
        }
    }
    if left.is_empty() {
        return Ok(());
    }
    ledger.hold(|hold| {
        refuse_fences(&hold.snapshot)?;
        for found in &left {
            if unknown(found, &hold.snapshot)? {
                ledger.carriers.remove(&found.digest, found.number)?;
            }
        }
        Ok(())
    })
}
