//! The journal: every frame from the base on, and the files that it is in.

use super::Checker;
use super::settle::{hold_shared, synced_hint};
use crate::format::frame::Frame;
use crate::format::record::Record;
use crate::ledger::Tables;
use crate::machine::Open;
use crate::parts::journal::chain::{Place, Reading, is_outgrown};
use crate::vocabulary::{Finding, FindingCode, Result};

/// How often reading starts again when a generation is replaced under it.
const TRIES: usize = 8;

impl Checker<'_, '_> {
    pub(super) fn journal(&mut self) -> Result<()> {
        if !self.goes_on() {
            return Ok(());
        }
        let snapshot = self.ctx.ledger.snapshot()?;
        let fences = snapshot.all_fences().collect::<Result<Vec<_>>>();
        // Of a bad index nothing is believed; what it says is told with the index.
        let fences = fences.unwrap_or_default();
        for (from, fence) in &fences {
            let detail = format!("from {from} to {}: {}", fence.to, fence.reason);
            self.found(Finding::at(FindingCode::JournalFenced, "journal", detail))?;
        }
        self.damage(&fences.iter().map(|(from, fence)| (*from, fence.to)).collect::<Vec<_>>())?;
        self.journal_is_damaged |= !fences.is_empty();
        for (name, why) in self.ctx.ledger.journal.bad_bases()? {
            let path = std::path::Path::new("journal").join(name);
            self.found(Finding::at(FindingCode::BaseBad, path, why))?;
        }
        self.torn()?;
        self.unfinished()
    }

    fn damage(&mut self, fences: &[(u64, u64)]) -> Result<()> {
        let ledger = self.ctx.ledger;
        // Read before the journal: what it names is there by then.
        let lock = ledger.machine.open(&ledger.layout.lock(), Open::Read).ok();
        let synced = lock.map_or(0, |lock| synced_hint(lock.as_ref())).max(ledger.known().cursor.synced_through);
        let mut reading = self.read_journal(synced)?;
        if !reading.damage.is_empty() {
            reading = self.read_journal(synced)?;
        }
        self.report.frames = reading.frames;
        self.observer.expect(reading.frames, 0);
        self.observer.progress(reading.frames, 0);
        if !ledger.journal.has_segments()? && reading.damage.is_empty() {
            let detail = "there is no segment behind the base";
            self.journal_is_damaged = true;
            return self.found(Finding::at(FindingCode::JournalDamage, "journal", detail));
        }
        self.journal_is_damaged |= !reading.damage.is_empty();
        let covered = |from: u64, to: u64| fences.iter().any(|fence| fence.0 <= from && to <= fence.1);
        for damage in reading.damage.iter().filter(|damage| !covered(damage.from, damage.to)) {
            let detail = format!("from {} to {}: {}", damage.from, damage.to, damage.reason);
            self.found(Finding::at(FindingCode::JournalDamage, "journal", detail))?;
        }
        Ok(())
    }

    fn read_journal(&self, synced: u64) -> Result<Reading> {
        let mut tries = 0;
        loop {
            let read = self
                .ctx
                .ledger
                .journal
                .read_all(synced, &mut |_: &Frame, _: &[Record], _: Place<'_>| self.unless_stopped());
            match read {
                Err(e) if is_outgrown(&e) && tries < TRIES => tries += 1,
                other => return other,
            }
        }
    }

    /// A torn end that is still there while nobody writes. Whoever writes next cuts it.
    fn torn(&mut self) -> Result<()> {
        let journal = &self.ctx.ledger.journal;
        let torn = self.calmly(|calm| {
            let read = journal.read_on(&calm.snapshot.cursor, 0, &mut |_: &Frame, _: &[Record], _: Place<'_>| Ok(()));
            match read {
                Err(e) if is_outgrown(&e) => Ok(None),
                other => Ok(other?.torn),
            }
        })?;
        match torn {
            Some(torn) => {
                let path = std::path::Path::new("journal").join(&torn.segment);
                let detail = format!("bytes that are no frame, at offset {}", torn.offset);
                self.found(Finding::at(FindingCode::JournalTorn, path, detail))
            }
            None => Ok(()),
        }
    }

    /// Unfinished files, if nobody can be writing them: segments are made under `lock`, bases under `compaction`.
    fn unfinished(&mut self) -> Result<()> {
        let ledger = self.ctx.ledger;
        if ledger.journal.unfinished()?.is_empty() {
            return Ok(());
        }
        let compaction = hold_shared(ledger, &ledger.layout.compaction())?;
        let left = self.calmly(|_| ledger.journal.unfinished())?;
        drop(compaction);
        for name in left {
            let path = std::path::Path::new("journal").join(name);
            let detail = "its writer died before it was whole";
            self.found(Finding::at(FindingCode::JournalUnfinished, path, detail))?;
        }
        Ok(())
    }
}
