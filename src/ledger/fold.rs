//! Folding the tail of the journal into runs, merging runs, and making the index anew.
//!
//! All under the `compaction` lock, never under `lock`, which is taken only to note a sequence up to which everything
//! is synced, and to put the new `CURRENT` in place.

use std::sync::Arc;

use super::hold::nanos;
use super::runs::NewRuns;
use super::{Ledger, Snapshot, load, replay};
use crate::format::current::Current;
use crate::format::frame::Frame;
use crate::format::record::Record;
use crate::format::settings::Durability;
use crate::machine::{File, Lock, Open};
use crate::parts::index::{self, Index, Run, RunMeta, Source, View, remove_unnamed};
use crate::parts::journal::Cursor;
use crate::parts::journal::chain::{Damage, Place};
use crate::vocabulary::limits::{REBUILD_RECORDS, TAIL_FOLD_RECORDS, TAIL_MAX_RECORDS};
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Error, ErrorKind, Result};

/// How often runs that were made take in what was appended meanwhile: each time it is less.
const CATCH_UPS: usize = 16;

/// What making the index anew came to.
#[derive(Clone, Debug)]
pub struct Rebuilt {
    /// Frames read, up to where it began.
    pub frames: u64,
    /// Records applied.
    pub records: u64,
    /// The runs.
    pub runs: Vec<RunMeta>,
    /// How far they reach.
    pub cursor: Cursor,
}

impl Ledger {
    /// Folds if the tail has grown enough, or makes the index anew if it was found to be damaged. Failing is no harm to
    /// what was committed: the tail stays a little longer, and a damaged index is tried once by each process.
    pub fn fold_if_due(&self) {
        let known = self.known();
        let done = if known.view.take_bad_runs() {
            self.rebuild_unless_busy()
        } else if known.tail_records >= TAIL_FOLD_RECORDS {
            self.fold(false)
        } else {
            return;
        };
        *self.fold_trouble.lock().unwrap_or_else(|p| p.into_inner()) = done.err();
    }

    fn rebuild_unless_busy(&self) -> Result<()> {
        let Some(_compaction) = self.compaction(false)? else { return Ok(()) };
        self.rebuild_locked().map(drop)
    }

    /// Why the tail could not be folded into the index when it was last due, if it could not be; told once. What was
    /// committed is kept all the same.
    pub fn take_fold_trouble(&self) -> Option<Error> {
        self.fold_trouble.lock().unwrap_or_else(|p| p.into_inner()).take()
    }

    /// Writes the tail into a run and merges runs; `wait`: for whoever holds the `compaction` lock, else leave it be.
    pub fn fold(&self, wait: bool) -> Result<()> {
        let Some(_compaction) = self.compaction(wait)? else { return Ok(()) };
        self.fold_locked()
    }

    /// As [`Ledger::fold`], for whoever holds the `compaction` lock.
    pub(super) fn fold_locked(&self) -> Result<()> {
        let (start, noted) = self.tail_since_current()?;
        if start.is_none() && noted.tail_records > TAIL_MAX_RECORDS {
            return self.rebuild_locked().map(drop);
        }
        if noted.view.overlay().is_empty() {
            return Ok(());
        }
        let mut made = self.new_runs(noted.view.index());
        match made.push(noted.view.overlay()) {
            // Runs that cannot be merged are made anew.
            Err(e) if e.kind() == ErrorKind::Damaged => {
                drop(made);
                self.rebuild_locked().map(drop)
            }
            pushed => pushed.and_then(|()| self.install(start.as_ref(), made, &noted.cursor)),
        }
    }

    pub(super) fn new_runs(&self, over: &Index) -> NewRuns<'_> {
        NewRuns::over(self.machine.as_ref(), &self.layout.index(), over)
    }

    /// `CURRENT` as it is, and the records over it up to a sequence noted under `lock`: everything there is synced. Whoever
    /// held `lock` has those records in memory, unless somebody else replaced `CURRENT`; then they are read again.
    fn tail_since_current(&self) -> Result<(Option<Current>, Snapshot)> {
        let held = self.hold(|hold| {
            hold.sync_at_any_durability()?;
            Ok(hold.snapshot.clone())
        })?;
        let current = index::current(self.machine.as_ref(), &self.layout.index()).unwrap_or_default();
        if let Some(current) = current.filter(|current| current.store == self.policy.store && held.lies_over(current)) {
            return Ok((Some(current), held));
        }
        let synced = held.cursor;
        let opened = Index::open(self.machine.as_ref(), &self.layout.index()).unwrap_or_default();
        let current = opened.as_ref().map(|(_, current)| current.clone()).filter(|c| c.store == self.policy.store);
        let start = match (opened, &current) {
            (Some((index, _)), Some(current)) => Some(Snapshot {
                view: View::new(Arc::new(index)),
                cursor: load::cursor_of(&current.reach),
                tail_records: 0,
                folded: current.reach.sequence,
                damage: Vec::new(),
            }),
            _ => None,
        };
        match start.map(|start| self.read_through(&start, &synced)).transpose() {
            Ok(Some(noted)) => Ok((current, noted)),
            Ok(None) => Ok((None, self.whole(&synced)?)),
            Err(e) if crate::parts::journal::chain::is_outgrown(&e) => Ok((None, self.whole(&synced)?)),
            Err(e) => Err(e),
        }
    }

    /// The records behind `start` up to and including `end`.
    pub(super) fn read_through(&self, start: &Snapshot, end: &Cursor) -> Result<Snapshot> {
        let mut view = start.view.clone();
        let mut tail_records = 0;
        let reading =
            self.journal.read_on(&start.cursor, 0, &mut |frame: &Frame, records: &[Record], _: Place<'_>| {
                if frame.sequence <= end.sequence {
                    tail_records += records.len();
                    replay::apply(&mut view, records);
                }
                Ok(())
            })?;
        self.note_damage(reading.damage)?;
        Ok(Snapshot { view, cursor: *end, tail_records, folded: start.folded, damage: Vec::new() })
    }

    /// Everything from the base on; only counted where it is too much to be held in memory.
    fn whole(&self, end: &Cursor) -> Result<Snapshot> {
        let mut view = View::default();
        let mut tail_records = 0;
        let reading = self.journal.read_all(0, &mut |frame: &Frame, records: &[Record], place: Place<'_>| {
            if place.base || frame.sequence <= end.sequence {
                tail_records += records.len();
                if tail_records <= TAIL_MAX_RECORDS {
                    replay::apply(&mut view, records);
                }
            }
            Ok(())
        })?;
        self.note_damage(reading.damage)?;
        Ok(Snapshot { view, cursor: *end, tail_records, folded: 0, damage: Vec::new() })
    }

    /// Puts a new `CURRENT` in place, unless somebody changed it meanwhile, or the frame that it would reach is not
    /// journal any more: then what was made is thrown away.
    pub(super) fn install(&self, start: Option<&Current>, mut made: NewRuns<'_>, cursor: &Cursor) -> Result<()> {
        let directory = self.layout.index();
        let current = Current { store: self.policy.store, runs: made.metas(), reach: load::reach_of(cursor) };
        self.hold(|hold| {
            let now = match start {
                Some(_) => index::current(self.machine.as_ref(), &directory).unwrap_or_default(),
                // A `CURRENT` whose runs cannot be used is none.
                None => Index::open(self.machine.as_ref(), &directory).unwrap_or_default().map(|(_, current)| current),
            };
            let unchanged = now.as_ref().filter(|c| c.store == self.policy.store) == start;
            if unchanged && (planted(Bug::CurrentUnchecked) || self.journal.holds(cursor)?) {
                made.install(&current)?;
                remove_unnamed(self.machine.as_ref(), &directory, Some(&current))?;
            } else if let Some(now) = now {
                remove_unnamed(self.machine.as_ref(), &directory, Some(&now))?;
            }
            hold.reload(made.index())
        })
    }

    /// Makes the index anew from base and frames, in bounded memory.
    pub fn rebuild(&self) -> Result<Rebuilt> {
        let compaction = self.compaction(true)?;
        let rebuilt = match self.rebuild_locked() {
            // The runs may be what is damaged, and even holding `lock` looks things up in them.
            Err(e) if e.kind() == ErrorKind::Damaged => {
                self.forget_index()?;
                self.rebuild_locked()?
            }
            rebuilt => rebuilt?,
        };
        drop(compaction);
        self.remake_catalog()?;
        Ok(rebuilt)
    }

    /// Does without the index from now on, as everybody does who opens the store. Only under `compaction`.
    fn forget_index(&self) -> Result<()> {
        index::remove_current(self.machine.as_ref(), &self.layout.index())?;
        let fresh = load::load(self.machine.as_ref(), &self.layout, &self.journal, &self.policy, &Index::default())?;
        self.publish(&Arc::new(fresh));
        Ok(())
    }

    pub(super) fn rebuild_locked(&self) -> Result<Rebuilt> {
        let end = self.hold(|hold| {
            hold.sync_at_any_durability()?;
            Ok(hold.snapshot.cursor)
        })?;
        let (mut rebuilt, mut made) = self.runs_from_journal(&end)?;
        let end = self.catch_up(&mut made, end)?;
        (rebuilt.runs, rebuilt.cursor) = (made.metas(), end);
        let now = Index::open(self.machine.as_ref(), &self.layout.index()).unwrap_or_default().map(|(_, c)| c);
        self.install(now.filter(|c| c.store == self.policy.store).as_ref(), made, &end)?;
        Ok(rebuilt)
    }

    /// Runs that hold everything up to `end`, read from base and frames. What is damaged there is put on record.
    pub(super) fn runs_from_journal(&self, end: &Cursor) -> Result<(Rebuilt, NewRuns<'_>)> {
        let mut made = self.new_runs(&Index::default());
        let mut view = View::default();
        let (mut frames, mut records_read) = (0, 0);
        let reading = self.journal.read_all(0, &mut |frame: &Frame, records: &[Record], place: Place<'_>| {
            if place.base || frame.sequence <= end.sequence {
                frames += 1;
                records_read += records.len() as u64;
                push_in_parts(&mut made, &mut view, records)?;
            }
            Ok(())
        })?;
        made.push(view.overlay())?;
        self.note_damage(reading.damage)?;
        Ok((Rebuilt { frames, records: records_read, runs: made.metas(), cursor: *end }, made))
    }

    /// Takes what was appended behind `reach` into the runs as well, until little is left; how far they reach then. Making
    /// runs of everything takes long, and whoever commits meanwhile would read all of it again while `lock` is held.
    pub(super) fn catch_up(&self, made: &mut NewRuns<'_>, mut reach: Cursor) -> Result<Cursor> {
        let mut left = self.follow_closely()?.tail_records;
        for _ in 0..CATCH_UPS {
            if left <= TAIL_MAX_RECORDS {
                break;
            }
            let end = self.hold(|hold| {
                hold.sync_at_any_durability()?;
                Ok(hold.snapshot.cursor)
            })?;
            left = 0;
            let mut rows = View::default();
            let reading = self.journal.read_on(&reach, 0, &mut |frame: &Frame, records: &[Record], _: Place<'_>| {
                if frame.sequence <= end.sequence {
                    left += records.len();
                    push_in_parts(made, &mut rows, records)?;
                }
                Ok(())
            })?;
            made.push(rows.overlay())?;
            self.note_damage(reading.damage)?;
            reach = end;
            self.follow_closely()?;
        }
        Ok(reach)
    }

    /// Follows the journal without `lock`, and twice more what was appended while that took: whoever holds `lock` next has
    /// little to read.
    pub(super) fn follow_closely(&self) -> Result<Arc<Snapshot>> {
        self.snapshot()?;
        self.snapshot()?;
        self.snapshot()
    }

    /// Nobody who starts from the runs would come upon what was damaged before them: it goes on record first.
    fn note_damage(&self, damage: Vec<Damage>) -> Result<()> {
        if damage.is_empty() { Ok(()) } else { self.fence(damage) }
    }

    /// The index may be deleted at any time, with its directory.
    fn make_index_directory(&self) -> Result<()> {
        let (root, path) = (self.layout.root(), self.layout.index());
        if self.machine.lstat(&path).is_ok() {
            return Ok(());
        }
        let handle = self.machine.open(root, Open::Directory).map_err(|e| Error::io("open", root, e))?;
        match self.machine.create_dir(&path, self.policy.directory_mode) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(Error::io("create", &path, e)),
            _ => {}
        }
        handle.sync().map_err(|e| Error::io("sync", root, e))
    }

    /// Takes the `compaction` lock; `None` if it is held elsewhere and nobody wants to wait.
    pub(super) fn compaction(&self, wait: bool) -> Result<Option<Box<dyn File>>> {
        let path = self.layout.compaction();
        let file = self.machine.open(&path, Open::ReadWrite).map_err(|e| Error::io("open", &path, e))?;
        if file.try_lock(Lock::Exclusive).map_err(|e| Error::io("lock", &path, e))? {
            self.make_index_directory()?;
            return Ok(Some(file));
        }
        if !wait {
            return Ok(None);
        }
        let deadline = self.machine.monotonic_ns().saturating_add(nanos(self.policy.lock_timeout));
        self.wait_for(file.as_ref(), &path, deadline)?;
        self.make_index_directory()?;
        Ok(Some(file))
    }
}

/// Applies records to rows that go into runs whenever they are many.
fn push_in_parts(made: &mut NewRuns<'_>, rows: &mut View, records: &[Record]) -> Result<()> {
    replay::apply_in_parts(rows, records, &mut |rows| {
        if rows.overlay().len() >= REBUILD_RECORDS {
            made.push(rows.overlay())?;
            *rows = View::default();
        }
        Ok(())
    })
}

impl Snapshot {
    /// Whether what is in memory lies over the very runs that `current` names, and has every frame behind them.
    fn lies_over(&self, current: &Current) -> bool {
        let runs = self.view.index().runs();
        let same_runs = runs.len() == current.runs.len() && runs.iter().zip(&current.runs).all(|(a, b)| a.meta() == *b);
        same_runs && self.folded == current.reach.sequence
    }
}

impl super::hold::Hold<'_> {
    /// Syncs the last segment even in a store that never syncs: `CURRENT` never names what is not on the disk.
    pub(super) fn sync_at_any_durability(&mut self) -> Result<()> {
        if self.ledger.policy.durability == Durability::None && !planted(Bug::CurrentBeforeSync) {
            self.open_appender()?;
            let directory = self.ledger.journal.directory_handle()?;
            self.appender().sync()?;
            directory.sync().map_err(|e| Error::io("sync", &self.ledger.layout.journal(), e))?;
        }
        Ok(())
    }

    /// Reads the records again from `CURRENT` on: the tail is short now. `open` has runs that it may name.
    pub(super) fn reload(&mut self, open: &Index) -> Result<()> {
        let (synced, damage) = (self.snapshot.cursor.synced_through, std::mem::take(&mut self.snapshot.damage));
        let ledger = self.ledger;
        self.snapshot = load::load(ledger.machine.as_ref(), &ledger.layout, &ledger.journal, &ledger.policy, open)?;
        self.snapshot.cursor.synced_through = self.snapshot.cursor.synced_through.max(synced);
        self.snapshot.damage.extend(damage);
        self.snapshot.damage.dedup();
        Ok(())
    }
}

/// Rows of several runs, merged, from the first on.
pub(super) fn all_rows(runs: &[Arc<Run>]) -> Result<impl Source + use<>> {
    let cursors = runs.iter().map(index::RunCursor::all).collect::<Result<Vec<_>>>()?;
    Ok(index::Merged::new(cursors))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::format::record::{PinRecord, Record};
    use crate::ledger::Tx;
    use crate::machine::simulated::{CallKind, Fault, Images, World, errno};
    use crate::parts::index::{Index, View};
    use crate::vocabulary::limits::TAIL_MAX_RECORDS;
    use crate::vocabulary::{Digest, Result};
    use crate::work::fixture::Fixture;

    fn pin_number(store: &Fixture, number: usize) {
        let pin = move |tx: &mut Tx<'_>| {
            let (since, digest) = (tx.moment(), Digest::from_bytes([(number % 251) as u8; 32]));
            let pin = PinRecord { digest, note: number.to_string(), since };
            tx.push(if number % 3 == 2 { Record::Unpin(digest) } else { Record::Pin(pin) });
            Ok(())
        };
        store.ledger.transact(pin).unwrap();
    }

    /// It must be everything, whoever appended it, and the slow way is to read the journal.
    #[test]
    fn runs_that_were_made_catch_up_with_what_others_appended_meanwhile() {
        for appended in [0, TAIL_MAX_RECORDS / 2, 3 * TAIL_MAX_RECORDS] {
            let world = World::new(3);
            let store = Fixture::new(world.process("compacting"), Path::new("/store"));
            (0..40).for_each(|number| pin_number(&store, number));
            let compaction = store.ledger.compaction(true).unwrap();
            let end = store.ledger.hold(|hold| Ok(hold.snapshot.cursor)).unwrap();
            let (_, mut made) = store.ledger.runs_from_journal(&end).unwrap();
            let other = Fixture::open(world.process("other"), Path::new("/store"));
            (40..40 + appended).for_each(|number| pin_number(&other, number));
            let reach = store.ledger.catch_up(&mut made, end).unwrap();
            let now = Index::open(world.process("looking").as_ref(), Path::new("/store/index")).unwrap();
            store.ledger.install(now.map(|(_, current)| current).as_ref(), made, &reach).unwrap();
            drop(compaction);
            assert_eq!(reach.sequence == end.sequence, appended <= TAIL_MAX_RECORDS);
            has_everything(&world, appended);
            world.power_cut().images(Images::Basic).for_each(|image| has_everything(&image.world(9), appended));
        }
    }

    fn has_everything(world: &World, appended: usize) {
        let next = Fixture::open(world.process("next"), Path::new("/store"));
        let (known, journal) = (next.ledger.known(), next.ledger.snapshot_from_journal().unwrap());
        assert!(known.folded > 0 && known.tail_records <= TAIL_MAX_RECORDS, "{appended}");
        assert_eq!(known.cursor.sequence, journal.cursor.sequence);
        let rows = |view: &View| view.range(&[], None).collect::<Result<Vec<_>>>().unwrap();
        assert_eq!(rows(&known.view), rows(&journal.view), "{appended}");
    }

    fn pin(tx: &mut Tx<'_>) -> Result<()> {
        let since = tx.moment();
        tx.push(Record::Pin(PinRecord { digest: Digest::EMPTY, note: String::new(), since }));
        Ok(())
    }

    #[test]
    fn current_is_not_replaced_when_its_last_frame_is_journal_no_more() {
        let world = World::new(1);
        let store = Fixture::new(world.process("folding"), Path::new("/store"));
        store.ledger.transact(pin).unwrap();
        store.ledger.transact(pin).unwrap();
        let (start, noted) = store.ledger.tail_since_current().unwrap();
        let mut made = store.ledger.new_runs(&Index::default());
        made.push(noted.view.overlay()).unwrap();
        // Somebody else cannot sync that frame again, and copies it, with its number, to a new segment.
        let other = world.process("other");
        world.fail(Fault::errno(errno::EIO).process(other.number()).kind(CallKind::SyncData).under("/store/journal"));
        let other = Fixture::open(other, Path::new("/store"));
        other.ledger.hold(|_| Ok(())).unwrap();
        assert_eq!(other.ledger.known().cursor.sequence, noted.cursor.sequence);
        assert_ne!(other.ledger.known().cursor.segment, noted.cursor.segment);
        store.ledger.install(start.as_ref(), made, &noted.cursor).unwrap();
        assert!(world.read("/store/index/CURRENT").is_none(), "CURRENT names a frame that is journal no more");
        assert!(!world.tree().into_keys().any(|path| path.extension().is_some_and(|e| e == "run")));
        store.ledger.fold(true).unwrap();
        let next = Fixture::open(world.process("next"), Path::new("/store"));
        assert_eq!(next.ledger.known().tail_records, 0);
    }
}
