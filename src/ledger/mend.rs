//! Mending the journal: a base that stands for what was damaged, and the fence lifted.
//!
//! The base comes from the index where that is whole, since it was made from frames that are bad now, and else from the
//! frames that are good. Only a repair may do that; collection and compaction never believe the index.

use std::sync::Arc;

use super::runs::NewRuns;
use super::{Ledger, Snapshot, Tables, load};
use crate::format::current::Current;
use crate::format::record::Record;
use crate::parts::index::{self, Index, RunMeta, View, remove_unnamed};
use crate::parts::journal::Cursor;
use crate::parts::journal::chain::{Damage, is_outgrown};
use crate::vocabulary::Result;

impl Ledger {
    /// Puts up a fence for damage that was found by reading everything, unless one covers it.
    pub fn raise_fences(&self, damage: Vec<Damage>) -> Result<()> {
        if damage.is_empty() { Ok(()) } else { self.fence(damage) }
    }

    /// Whether the records come from an index that was made from frames up to `sequence` and further. It is of no use
    /// where the segment that it reaches is gone, and no help with what is damaged behind it.
    pub fn index_reaches(&self, sequence: u64) -> Result<bool> {
        let snapshot = self.snapshot()?;
        let used: Vec<RunMeta> = snapshot.view.index().runs().iter().map(|run| run.meta()).collect();
        let whole = |current: Current| current.reach.sequence >= sequence && current.runs == used;
        Ok(snapshot.damage.is_empty() && self.current().is_some_and(whole))
    }

    /// Writes a base of everything that is known, whether there is a fence or not: what is damaged is behind it then,
    /// and read no more. Fences stay on record. Says which sequence the base reaches.
    pub fn rebase(&self) -> Result<u64> {
        let compaction = self.compaction(true)?;
        let (end, begun) = self.hold(|hold| {
            hold.sync_at_any_durability()?;
            let end = hold.snapshot.cursor;
            if end.last.is_some() {
                hold.begin_segment(end, &[])?;
            }
            hold.sync_at_any_durability()?;
            Ok((end, hold.snapshot.cursor))
        })?;
        let (start, made) = match self.runs_from_index(&end)? {
            Some((current, made)) => (Some(current), made),
            None => (self.current(), self.runs_from_journal(&end)?.1),
        };
        let (_, written) = self.write_base(&end, made.runs())?;
        let reach = Cursor { synced_through: end.sequence.max(end.synced_through), ..begun };
        self.install(start.as_ref(), made, &reach)?;
        self.hold(|_| {
            self.journal.remove_unfinished()?;
            self.journal.drop_old_generations(Some(&written))
        })?;
        drop(compaction);
        Ok(end.sequence)
    }

    fn current(&self) -> Option<Current> {
        let opened = Index::open(self.machine.as_ref(), &self.layout.index()).unwrap_or_default();
        opened.map(|(_, current)| current).filter(|current| current.store == self.policy.store)
    }

    /// The runs that `CURRENT` names, and one more of the frames behind them; `None` where that cannot be had.
    fn runs_from_index(&self, end: &Cursor) -> Result<Option<(Current, NewRuns<'_>)>> {
        let directory = self.layout.index();
        let opened = Index::open(self.machine.as_ref(), &directory).ok().flatten();
        let mine = opened.filter(|(_, current)| current.store == self.policy.store);
        let Some((index, current)) = mine.filter(|(_, current)| current.reach.sequence <= end.sequence) else {
            return Ok(None);
        };
        if index.runs().iter().any(|run| run.check().is_err()) {
            return Ok(None);
        }
        let start = Snapshot {
            view: View::new(Arc::new(index)),
            cursor: load::cursor_of(&current.reach),
            tail_records: 0,
            folded: current.reach.sequence,
            damage: Vec::new(),
        };
        let noted = match self.read_through(&start, end) {
            Err(e) if is_outgrown(&e) => return Ok(None),
            other => other?,
        };
        let mut made = self.new_runs(noted.view.index());
        made.push(noted.view.overlay())?;
        Ok(Some((current, made)))
    }

    /// Lifts every fence whose stretch a base that reaches `through` has left behind. Says how many.
    pub fn lift_fences(&self, through: u64) -> Result<u64> {
        self.hold(|hold| {
            hold.snapshot.damage.retain(|damage| damage.to >= through);
            let fences = hold.snapshot.all_fences().collect::<Result<Vec<_>>>()?;
            let behind = fences.into_iter().filter(|(_, fence)| fence.to < through);
            let records: Vec<Record> = behind.map(|(from, _)| Record::FenceLifted(from)).collect();
            hold.commit(&records)?;
            Ok(records.len() as u64)
        })
    }

    /// Removes the unfinished files of dead writers, in the journal and in the index.
    pub fn clear_unfinished(&self) -> Result<()> {
        let compaction = self.compaction(true)?;
        self.clear_unfinished_locked()?;
        drop(compaction);
        Ok(())
    }

    /// The same, if there are any and nobody is compacting. Failing is no harm: they are there the next time.
    pub fn clear_unfinished_if_any(&self) {
        let index = self.layout.index();
        let none = |names: Result<Vec<String>>| names.map_or(true, |names| names.is_empty());
        if none(self.journal.unfinished()) && none(index::unnamed(self.machine.as_ref(), &index)) {
            return;
        }
        if let Ok(Some(_compaction)) = self.compaction(false) {
            let _ = self.clear_unfinished_locked();
        }
    }

    fn clear_unfinished_locked(&self) -> Result<()> {
        self.hold(|_| {
            let index = self.layout.index();
            match Index::open(self.machine.as_ref(), &index) {
                Ok(None) => _ = remove_unnamed(self.machine.as_ref(), &index, None)?,
                // What cannot be read names nothing that one may go by.
                _ => {
                    if let Some(current) = self.current() {
                        remove_unnamed(self.machine.as_ref(), &index, Some(&current))?;
                    }
                }
            }
            self.journal.remove_unfinished()
        })
    }
}
