//! Uses that readers noted, put on record by whoever writes next.

use super::hold::Hold;
use super::{Entries, Ledger, Tx};
use crate::format::record::Record;
use crate::format::record::entry::UsedRecord;
use crate::format::uses::Use;
use crate::parts::uses::{self, Noted, Pending};
use crate::vocabulary::Result;
use crate::vocabulary::limits::FRAME_RECORDS;

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
        let Ok(pending) = uses.take_aside() else { return false };
        self.part(|tx| tx.take_pending(pending)).unwrap_or(false)
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
