//! A journal made anew, where there is none left: a base that is given its records, and a segment behind it.

use std::sync::Arc;

use super::compact::Base;
use crate::format::record::Record;
use crate::parts::index::Run;
use crate::parts::journal::{Cursor, Journal, SegmentId};
use crate::vocabulary::Result;

/// A journal that is being made. Only for whoever holds `compaction` and `lock`, with nothing in `journal/` that counts.
pub struct Anew {
    journal: Journal,
    base: Base,
    end: Cursor,
}

impl Anew {
    /// Begins one that reaches `through`, a sequence above every one that was ever used, at this journal time.
    pub fn begin(journal: &Journal, through: u64, time_ns: u64) -> Result<Self> {
        let end = Cursor {
            segment: SegmentId { number: 0, salt: [0; 16] },
            offset: 0,
            last: None,
            sequence: through,
            hash: [0; 32],
            synced_through: through,
            time_ns,
        };
        Ok(Anew { journal: journal.clone(), base: Base::begin(journal, &end)?, end })
    }

    /// One more record, in the order that a base has.
    pub fn push(&mut self, record: &Record) -> Result<()> {
        self.base.push(record)
    }

    /// Every row of an index whose journal is gone.
    pub fn push_rows(&mut self, runs: &[Arc<Run>]) -> Result<()> {
        self.base.all_rows(runs)
    }

    /// Gives both their names, the segment first: a base has one behind it. Says how many records there are.
    pub fn finish(self) -> Result<u64> {
        self.journal.begin_segment(&self.end, self.end.sequence + 1, &[], true)?;
        self.base.finish(&self.end).map(|(records, _)| records)
    }
}
