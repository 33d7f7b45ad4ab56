//! Journal and index: fenced first, so that nothing is collected meanwhile; a new base and the fence lifted last.

use std::io;

use super::{BATCH, Mender, PIN_NOTE};
use crate::format::frame::Frame;
use crate::format::record::{PinRecord, Record};
use crate::ledger::Tables;
use crate::machine::Open;
use crate::parts::journal::chain::Place;
use crate::vocabulary::{Digest, Error, FindingCode, Observer, Result};
use crate::work::from_disk::{self, FromDisk};

/// Hears nothing, and may be stopped: what is left alone is told by the check that follows.
struct Stopping<'a>(&'a dyn Observer);

impl Observer for Stopping<'_> {
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

/// The findings that a new base mends.
const BEHIND_A_BASE: [FindingCode; 3] = [FindingCode::JournalDamage, FindingCode::JournalFenced, FindingCode::BaseBad];

impl Mender<'_> {
    /// Damage is fenced and a torn end cut, as by any writer; the index is made anew where it is of no use.
    pub(super) fn fence(&mut self) -> Result<()> {
        let ledger = self.ctx.ledger;
        let damaged = !self.of(&BEHIND_A_BASE[..2]).is_empty();
        let bad_index = self.of(&[FindingCode::IndexBad, FindingCode::IndexDisagrees]);
        if damaged {
            let read = ledger.journal.read_all(0, &mut |_: &Frame, _: &[Record], _: Place<'_>| Ok(()))?;
            let newest = read.damage.iter().map(|damage| damage.to).max().unwrap_or(0);
            // An index that was made before the damage knows what stood there.
            let known = bad_index.is_empty() && ledger.index_reaches(newest)?;
            self.lossy = !known || !self.of(&[FindingCode::JournalFenced]).is_empty();
            ledger.raise_fences(read.damage)?;
        }
        if !bad_index.is_empty() {
            ledger.rebuild()?;
            bad_index.into_iter().for_each(|finding| self.mended(finding));
        }
        ledger.hold(|_| Ok(()))?;
        for finding in self.of(&[FindingCode::JournalTorn]) {
            self.mended(finding);
        }
        let unfinished = self.of(&[FindingCode::JournalUnfinished, FindingCode::RunUnnamed]);
        if !unfinished.is_empty() {
            ledger.clear_unfinished()?;
            unfinished.into_iter().for_each(|finding| self.mended(finding));
        }
        Ok(())
    }

    /// Once everything that the disk knows is on record: what may have lost its names is pinned, a base is written, and
    /// the fence is lifted. Where anything could not be mended, a root may still be hidden, and the fence stays.
    pub(super) fn unfence(&mut self) -> Result<()> {
        let findings = self.of(&BEHIND_A_BASE);
        if findings.is_empty() || !self.goes_on() {
            return Ok(());
        }
        if self.failed {
            for finding in findings {
                self.failed(finding, "the fence stays while something else could not be mended".to_owned());
            }
            return Ok(());
        }
        if self.lossy {
            // A name that was lost may be no link any more: its bytes were added again meanwhile.
            let mut found = FromDisk::default();
            from_disk::take_copies(&self.ctx, &Stopping(self.observer), &mut found)?;
            self.report.matched += found.copied_names;
            self.pin_what_nothing_keeps()?;
        }
        let ledger = self.ctx.ledger;
        let damaged = ledger.journal.damaged_files()?;
        self.keep(&damaged)?;
        let through = ledger.rebase()?;
        for name in damaged.iter().filter(|name| name.ends_with(".base")) {
            ledger.journal.remove_bad_base(name)?;
        }
        self.report.lifted += ledger.lift_fences(through)?;
        findings.into_iter().for_each(|finding| self.mended(finding));
        Ok(())
    }

    /// A second name in `quarantine/` for each damaged file.
    fn keep(&self, damaged: &[String]) -> Result<()> {
        let ledger = self.ctx.ledger;
        let directory = ledger.layout.quarantine();
        let handle = ledger.machine.open(&directory, Open::Directory);
        let handle = handle.map_err(|e| Error::io("open", &directory, e))?;
        for name in damaged {
            let kept = directory.join(format!("damaged-{name}"));
            match ledger.machine.link(&ledger.layout.journal().join(name), &kept) {
                Err(e) if !matches!(e.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {
                    return Err(Error::io("keep", &kept, e));
                }
                _ => {}
            }
        }
        handle.sync().map_err(|e| Error::io("sync", &directory, e))
    }

    fn pin_what_nothing_keeps(&mut self) -> Result<()> {
        let snapshot = self.ctx.ledger.snapshot()?;
        let mut rows = snapshot.all_unrooted();
        loop {
            let batch: Vec<Digest> =
                rows.by_ref().take(BATCH).map(|row| row.map(|(digest, _)| digest)).collect::<Result<_>>()?;
            if batch.is_empty() {
                return Ok(());
            }
            self.report.pinned += self.ctx.ledger.transact(move |tx| {
                let mut pinned = 0;
                for digest in batch {
                    if tx.blob(&digest)?.is_some() && !tx.is_rooted(&digest)? {
                        let (note, since) = (PIN_NOTE.to_owned(), tx.moment());
                        tx.push(Record::Pin(PinRecord { digest, note, since }));
                        pinned += 1;
                    }
                }
                Ok(pinned)
            })?;
        }
    }
}
