//! Uses and readings that readers noted, put on record by whoever writes next.

use super::hold::Hold;
use super::{Entries, Ledger, Tables, Tx};
use crate::format::record::Record;
use crate::format::record::entry::UsedRecord;
use crate::format::record::scrub::{VerifiedRecord, VerifiedRow};
use crate::format::table::Table;
use crate::format::uses::{Use, beginning};
use crate::parts::uses::{self, Noted, Notes, Pending, Readings};
use crate::vocabulary::limits::FRAME_RECORDS;
use crate::vocabulary::{Digest, Result};

/// Entries whose uses one frame takes in, with room for what it is written for.
const MOST: usize = FRAME_RECORDS / 8;

impl Ledger {
    /// Notes uses, as well as that can be done at once: nothing waits for it or fails with it, and a crash may lose them.
    pub fn note_uses(&self, all: &[Use]) {
        if !self.policy.writable || all.is_empty() {
            return;
        }
        if matches!(self.uses.append(all), Ok(Noted::Full))
            && matches!(self.try_hold(|hold| hold.fold_uses()), Ok(Some(())))
        {
            let _lost = self.uses.append(all);
        }
    }

    /// Notes that blobs were read whole, compared with their digests and found right, as [`Ledger::note_uses`] notes uses.
    /// What is damaged on record is not said to be right: whoever clears that looks again.
    pub fn note_readings(&self, digests: &[Digest]) {
        if !self.policy.writable || digests.is_empty() {
            return;
        }
        let now_ns = self.machine.now_ns();
        let all: Vec<_> = digests.iter().map(|digest| (beginning(digest), now_ns)).collect();
        if matches!(self.uses.append_readings(&all), Ok(Noted::Full))
            && matches!(self.try_hold(|hold| hold.fold_uses()), Ok(Some(())))
        {
            let _lost = self.uses.append_readings(&all);
        }
    }

    /// Readings that are not on record yet.
    pub fn pending_readings(&self) -> Readings {
        if self.uses.any() { self.uses.pending_readings() } else { Readings::new() }
    }

    /// Puts uses on record that readers noted, without waiting for the next change.
    pub fn fold_uses(&self) -> Result<()> {
        if self.uses.any() { self.hold(|hold| hold.fold_uses()) } else { Ok(()) }
    }

    /// Uses that are not on record yet.
    pub fn pending_uses(&self) -> Pending {
        if self.uses.any() { self.uses.pending() } else { Pending::new() }
    }
}

impl Hold<'_> {
    fn fold_uses(&mut self) -> Result<()> {
        let mut tx = self.transaction()?;
        let all = tx.take_uses();
        let records = tx.into_records();
        self.commit(&records)?;
        if all {
            self.forget_uses();
        }
        Ok(())
    }

    /// What was set aside is on record.
    pub(super) fn forget_uses(&self) {
        // If it stays, the times of its uses tell the next one that they were counted.
        let _stays = self.ledger.uses.forget_aside();
    }
}

impl Tx<'_> {
    /// Takes uses that were noted into the frame; whether all of them are on record after it. What stands in the way of that
    /// is no reason to fail.
    pub(super) fn take_uses(&mut self) -> bool {
        let uses = &self.ledger().uses;
        if !uses.any() {
            return false;
        }
        let Ok(Notes { uses, readings }) = uses.take_aside() else { return false };
        self.part(|tx| Ok(tx.take_pending(uses)? && tx.take_readings(readings)?)).unwrap_or(false)
    }

    /// A reading is that of the one blob whose digest begins as it says.
    fn take_readings(&mut self, readings: Readings) -> Result<bool> {
        let now_ns = self.ledger().machine.now_ns();
        let mut taken = 0;
        for (beginning, when_ns) in readings {
            let rows: Vec<_> = self.view().prefix(&Table::Blob.key(&beginning)).take(2).collect::<Result<_>>()?;
            let [(key, _)] = rows.as_slice() else { continue };
            let Ok(digest) = key[1..].try_into().map(Digest::from_bytes) else { continue };
            let before = self.verified(&digest)?.unwrap_or_default();
            let is_news = when_ns > before.time_ns || before.time_ns > now_ns;
            if when_ns <= now_ns && is_news && self.damaged(&digest)?.is_none() && self.finding(&digest, 0)?.is_none() {
                if taken == MOST {
                    return Ok(false);
                }
                let row = VerifiedRow { sequence: self.moment().sequence, time_ns: when_ns, sha256_ns: when_ns };
                self.push(Record::Verified(VerifiedRecord { digest, row }));
                taken += 1;
            }
        }
        Ok(true)
    }

    fn take_pending(&mut self, pending: Pending) -> Result<bool> {
        let now_ns = self.ledger().machine.now_ns();
        let mut taken = 0;
        for (entry, times) in pending {
            let Some(key) = self.key_of(&entry)? else { continue };
            let Some(card) = self.card(&key)? else { continue };
            let before = self.usage(&entry)?;
            let usage = uses::with(before, card.registered_ns, &times, now_ns);
            if usage != before {
                if taken == MOST {
                    return Ok(false);
                }
                self.push(Record::Used(UsedRecord { entry, usage }));
                taken += 1;
            }
        }
        Ok(true)
    }
}
