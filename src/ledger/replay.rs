//! Rows made again from base and frames: where there is no index, and in place of runs that cannot be read, when they
//! are first wanted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::runs::NewRuns;
use super::{Policy, Snapshot};
use crate::format::frame::Frame;
use crate::format::layout::Layout;
use crate::format::record::Record;
use crate::format::table;
use crate::machine::Machine;
use crate::parts::index::{Index, Spare, View};
use crate::parts::journal::Journal;
use crate::parts::journal::chain::{self, Place};
use crate::vocabulary::limits::REBUILD_RECORDS;
use crate::vocabulary::{Error, ErrorKind, Result};

/// Records of a frame that take effect at once where rows are written out between them.
const PART_RECORDS: usize = 4_096;

/// How often it is begun again when a generation of the journal is replaced meanwhile.
const TRIES: usize = 16;

/// The rows of an index that reaches `reach`, from base and frames. Made once for all that read that index, in bounded
/// memory where the store can be written to, as [`from_journal`] does it.
pub(super) struct Replay {
    layout: Layout,
    journal: Journal,
    policy: Policy,
    reach: u64,
    made: Mutex<Made>,
    /// Whether the index should be made anew.
    wanted: AtomicBool,
}

#[derive(Default)]
enum Made {
    #[default]
    NotYet,
    /// The rows, and the sequence that they reach.
    Rows(Arc<View>, u64),
    /// The journal cannot say either what they were.
    Lost,
}

impl Replay {
    /// For an index that reaches the sequence `reach`.
    pub(super) fn of(layout: &Layout, journal: &Journal, policy: &Policy, reach: u64) -> Arc<Self> {
        Arc::new(Replay {
            layout: layout.clone(),
            journal: journal.clone(),
            policy: policy.clone(),
            reach,
            made: Mutex::default(),
            wanted: AtomicBool::new(false),
        })
    }

    /// Notes that the index should be made anew.
    pub(super) fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    fn make(&self) -> Result<Made> {
        let machine = self.journal.machine();
        let mut last = Err(Error::new(ErrorKind::Busy, "read the journal", "it is replaced all the time"));
        for _ in 0..TRIES {
            last = from_journal_through(machine.as_ref(), &self.layout, &self.journal, &self.policy, 0, self.reach);
            match &last {
                Err(e) if chain::is_outgrown(e) || e.kind() == ErrorKind::NotFound => {}
                _ => break,
            }
        }
        let (snapshot, base) = last?;
        let reached = self.reach.max(base);
        let whole = snapshot.cursor.sequence >= self.reach && snapshot.damage.iter().all(|d| d.from > reached);
        Ok(if whole { Made::Rows(Arc::new(snapshot.view), reached) } else { Made::Lost })
    }
}

impl Spare for Replay {
    fn rows(&self, through: u64, why: Error) -> Result<Arc<View>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*made, Made::NotYet) {
            *made = self.make()?;
            self.want();
        }
        match &*made {
            Made::Rows(rows, reached) if *reached <= through => Ok(Arc::clone(rows)),
            Made::Rows(..) => {
                Err(why.because("the index is damaged, and the journal was compacted meanwhile: try again"))
            }
            Made::Lost | Made::NotYet => Err(why),
        }
    }

    fn take_wanted(&self) -> bool {
        self.wanted.swap(false, Ordering::Relaxed)
    }
}

/// Everything from base and frames, with nothing of the index. Where the store can be written to, memory is bounded:
/// rows beyond that are in runs that only this snapshot knows, and that have lost their names already.
pub(super) fn from_journal(
    machine: &dyn Machine,
    layout: &Layout,
    journal: &Journal,
    policy: &Policy,
    synced: u64,
) -> Result<Snapshot> {
    from_journal_through(machine, layout, journal, policy, synced, u64::MAX).map(|(snapshot, _)| snapshot)
}

/// As [`from_journal`], leaving out what later frames than `end` say; and the sequence that the base stands for, zero
/// where there is none: it may be beyond `end`.
fn from_journal_through(
    machine: &dyn Machine,
    layout: &Layout,
    journal: &Journal,
    policy: &Policy,
    synced: u64,
    end: u64,
) -> Result<(Snapshot, u64)> {
    let mut runs = NewRuns::over(machine, &layout.index(), &Index::default());
    let mut spilling = policy.writable;
    let mut view = View::default();
    let mut tail_records = 0;
    let mut base = 0;
    let reading = journal.read_all(synced, &mut |frame: &Frame, records: &[Record], place: Place<'_>| {
        if !place.base && frame.sequence > end {
            return Ok(());
        }
        if let (true, Some(Record::End(last))) = (place.base, records.last()) {
            base = last.through;
        }
        tail_records += records.len();
        apply_in_parts(&mut view, records, &mut |view| {
            if spilling && view.overlay().len() >= REBUILD_RECORDS {
                // Where there is no room for them they are held in memory all the same.
                spilling = runs.push(view.overlay()).is_ok();
                if spilling {
                    *view = runs.view();
                }
            }
            Ok(())
        })
    })?;
    view.reaches(reading.cursor.sequence);
    Ok((Snapshot { view, cursor: reading.cursor, tail_records, folded: 0, damage: reading.damage }, base))
}

/// Lets records take effect on a view a part at a time, with a look at it after each: one frame may have more records than
/// should be held in memory as rows, and whoever makes an index may write them out in the middle of it.
pub(super) fn apply_in_parts(
    view: &mut View,
    records: &[Record],
    look: &mut dyn FnMut(&mut View) -> Result<()>,
) -> Result<()> {
    records.chunks(PART_RECORDS).try_for_each(|part| {
        apply(view, part);
        look(view)
    })
}

/// Lets records take effect on a view.
pub(super) fn apply(view: &mut View, records: &[Record]) {
    view.put_all(records.iter().flat_map(|record| {
        let mut effects = Vec::new();
        table::effects(record, |effect| effects.push(effect));
        effects
    }));
}
