//! Transactions: checked and recorded under `lock`, one frame and one sync for all threads that wait.
//!
//! A thread queues its transaction. Where nobody leads it does, the others wait: the leader takes `lock`, then all that is
//! queued by then, runs every transaction against the newest records, appends one frame for all and syncs it once.

use std::sync::{Arc, Mutex, PoisonError};

use super::hold::Hold;
use super::{Ledger, Tables};
use crate::format::record::{HealedRecord, Moment, Record, SinceRecord};
use crate::format::table;
use crate::parts::index::{Undo, View};
use crate::vocabulary::limits::{FRAME_PAYLOAD_BYTES, FRAME_RECORDS};
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Digest, Error, ErrorKind, Result};

/// Records beyond which a leader takes no further transaction into its frame.
const FRAME_ENOUGH: usize = FRAME_RECORDS / 4;
/// Bytes, likewise: one more transaction of the largest kind (a batch of the longest names) still fits.
const FRAME_ENOUGH_BYTES: usize = FRAME_PAYLOAD_BYTES / 4;
/// What a record takes besides its name or paths, at most, but for notes, which are bounded and rare.
const RECORD_FIXED_BYTES: usize = 320;

/// A transaction under way: it reads the newest records, its own included, and adds to them.
pub struct Tx<'a> {
    ledger: &'a Ledger,
    view: View,
    records: Vec<Record>,
    /// About how many bytes the records take, never too few.
    bytes: usize,
    moment: Moment,
    /// What takes back the changes of the parts under way, the last one last.
    undo: Vec<Undo>,
    /// How many parts are under way, one in the other.
    parts: usize,
}

/// A queued transaction.
pub trait Job: Send {
    /// Runs it; whether it was in order.
    fn run(&mut self, tx: &mut Tx<'_>) -> bool;
    /// Tells its thread how the commit went.
    fn finish(&mut self, committed: Result<()>);
}

type Slot<R> = Arc<Mutex<Option<Result<R>>>>;

struct Work<R, F> {
    work: Option<F>,
    done: Option<R>,
    slot: Slot<R>,
}

impl<R: Send, F: FnOnce(&mut Tx<'_>) -> Result<R> + Send> Job for Work<R, F> {
    fn run(&mut self, tx: &mut Tx<'_>) -> bool {
        let Some(work) = self.work.take() else { return false };
        match work(tx) {
            Ok(done) => {
                self.done = Some(done);
                true
            }
            Err(e) => {
                set(&self.slot, Err(e));
                false
            }
        }
    }

    fn finish(&mut self, committed: Result<()>) {
        if let Some(done) = self.done.take() {
            set(&self.slot, committed.map(|()| done));
        } else if self.work.take().is_some() {
            let never_ran = committed.err().unwrap_or_else(|| {
                Error::new(ErrorKind::NotKept, "run a transaction", "the one that led it failed before it")
            });
            set(&self.slot, Err(never_ran));
        }
    }
}

impl<R, F> Drop for Work<R, F> {
    /// If a bug unwinds the thread that led it, its own thread must not wait for ever.
    fn drop(&mut self) {
        if self.work.is_some() || self.done.is_some() {
            let unknown = Error::new(ErrorKind::OutcomeUnknown, "run a transaction", "the one that led it broke off");
            set(&self.slot, Err(unknown));
        }
    }
}

fn set<R>(slot: &Slot<R>, result: Result<R>) {
    *slot.lock().unwrap_or_else(|p| p.into_inner()) = Some(result);
}

impl Ledger {
    /// Runs `work` under `lock` against the newest records and commits what it records. What it returns is given back
    /// once that is durable and the names are applied. An error from `work` records nothing.
    ///
    /// Then the tail is folded if it is time. That it cannot be is no harm to what was committed; it is tried again after
    /// the next commit, and [`Ledger::take_fold_trouble`] says why.
    pub fn transact<R, F>(&self, work: F) -> Result<R>
    where
        R: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<R> + Send + 'static,
    {
        let slot: Slot<R> = Arc::default();
        let job = Work { work: Some(work), done: None, slot: Arc::clone(&slot) };
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).jobs.push(Box::new(job));
        loop {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(result) = slot.lock().unwrap_or_else(PoisonError::into_inner).take() {
                drop(queue);
                self.fold_if_due();
                self.follow_if_changed();
                return result;
            }
            if queue.is_led {
                drop(self.led.wait(queue).unwrap_or_else(PoisonError::into_inner));
                continue;
            }
            queue.is_led = true;
            drop(queue);
            let _leading = Leading(self);
            self.lead();
        }
    }

    /// Commits what is queued when `lock` is held: whoever waits for that leader shares its sync.
    fn lead(&self) {
        let queued = || std::mem::take(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner).jobs);
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut jobs = Vec::new();
        let outcome = self.hold_with(&mut writer, |hold| {
            jobs = queued();
            hold.run(&mut jobs)
        });
        if outcome.is_err() && jobs.is_empty() {
            jobs = queued();
        }
        for job in &mut jobs {
            job.finish(outcome.as_ref().map(|_| ()).map_err(Error::duplicate));
        }
    }
}

/// Transactions that wait for a leader.
#[derive(Default)]
pub(super) struct Queue {
    jobs: Vec<Box<dyn Job>>,
    is_led: bool,
}

/// A thread leads until this is dropped, whatever becomes of it.
struct Leading<'a>(&'a Ledger);

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner).is_led = false;
        self.0.led.notify_all();
    }
}

impl Ledger {
    /// As [`Ledger::transact`], but without waiting: `None` where somebody else holds `lock`, in this process or another.
    pub fn transact_if_free<R>(&self, work: impl FnOnce(&mut Tx<'_>) -> Result<R>) -> Result<Option<R>> {
        let done = self.try_hold(|hold| {
            let mut tx = hold.transaction()?;
            let done = work(&mut tx)?;
            let records = tx.into_records();
            hold.commit(&records)?;
            Ok(done)
        })?;
        if done.is_some() {
            self.fold_if_due();
            self.follow_if_changed();
        }
        Ok(done)
    }
}

impl Hold<'_> {
    /// Runs queued transactions and commits them; as many frames as it takes.
    fn run(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<()> {
        let mut start = 0;
        while start < jobs.len() {
            let mut tx = self.transaction()?;
            // A frame that is written anyway takes along what readers noted; none is written for that alone.
            let all_uses = tx.take_uses();
            let uses = tx.records.len();
            let mut end = start;
            while end < jobs.len() && tx.has_room() {
                tx.attempt(&mut jobs[end]);
                end += 1;
            }
            let (records, view) = if tx.records.len() == uses { Default::default() } else { (tx.records, tx.view) };
            if planted(Bug::EarlyAck) {
                jobs[start..end].iter_mut().for_each(|job| job.finish(Ok(())));
            }
            self.commit_seen(&records, view)?;
            if all_uses && !records.is_empty() {
                self.forget_uses();
            }
            for job in &mut jobs[start..end] {
                job.finish(Ok(()));
            }
            start = end;
        }
        Ok(())
    }

    /// A transaction on what is on record now.
    pub(super) fn transaction(&self) -> Result<Tx<'_>> {
        let (view, moment) = (self.snapshot.view.clone(), self.moment()?);
        Ok(Tx { ledger: self.ledger, view, records: Vec::new(), bytes: 0, moment, undo: Vec::new(), parts: 0 })
    }
}

impl<'a> Tx<'a> {
    /// Whether one more change of the largest kind fits the frame that is being made.
    pub fn has_room(&self) -> bool {
        self.records.len() < FRAME_ENOUGH && self.bytes < FRAME_ENOUGH_BYTES
    }

    /// Whether what is recorded so far no longer fits one frame.
    pub fn is_too_large(&self) -> bool {
        self.records.len() > FRAME_RECORDS || self.bytes + RECORD_FIXED_BYTES > FRAME_PAYLOAD_BYTES
    }

    /// Runs one transaction; if it fails, nothing that it recorded stays.
    fn attempt(&mut self, job: &mut Box<dyn Job>) {
        self.undo_unless(|tx| job.run(tx));
    }

    /// Does a part of a transaction that stands or falls for itself: after an error nothing that it recorded stays.
    pub fn part<R>(&mut self, work: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
        let mut done = None;
        self.undo_unless(|tx| done.insert(work(tx)).is_ok());
        done.expect("it was just done")
    }

    fn undo_unless(&mut self, work: impl FnOnce(&mut Self) -> bool) {
        let (changes, count, bytes) = (self.undo.len(), self.records.len(), self.bytes);
        self.parts += 1;
        let stays = work(self);
        self.parts -= 1;
        if !stays {
            while self.undo.len() > changes
                && let Some(last) = self.undo.pop()
            {
                self.view.undo(last);
            }
            self.records.truncate(count);
            self.bytes = bytes;
        }
        if self.parts == 0 {
            self.undo.clear();
        }
    }

    pub(super) fn into_records(self) -> Vec<Record> {
        self.records
    }

    /// The ledger.
    pub fn ledger(&self) -> &'a Ledger {
        self.ledger
    }

    /// Number and journal time of the frame that is being made.
    pub fn moment(&self) -> Moment {
        self.moment
    }

    /// Records one more change.
    pub fn push(&mut self, record: Record) {
        table::effects(&record, |(key, value)| {
            let undo = self.view.put(key, value);
            if self.parts > 0 {
                self.undo.push(undo);
            }
        });
        self.bytes += RECORD_FIXED_BYTES + record.extra_bytes();
        self.records.push(record);
    }

    /// Records a heal. Its names are made anew, so findings about them are over; what cannot be applied even then is
    /// found again.
    pub fn heal(&mut self, healed: HealedRecord) -> Result<()> {
        let names = self.names_of(&healed.digest)?;
        self.push(Record::Healed(healed));
        for name in names {
            if self.name_finding(&name)?.is_some() {
                self.push(Record::NameMended(name));
            }
        }
        Ok(())
    }

    /// Records that `digest` has lost its last root, if it has.
    pub fn note_if_unrooted(&mut self, digest: &Digest) -> Result<bool> {
        if self.blob(digest)?.is_none() || self.is_rooted(digest)? || self.unrooted(digest)?.is_some() {
            return Ok(false);
        }
        self.push(Record::Unrooted(SinceRecord { digest: *digest, since: self.moment }));
        Ok(true)
    }
}

impl Tables for Tx<'_> {
    fn view(&self) -> &View {
        &self.view
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::format::record::PinRecord;
    use crate::machine::simulated::World;
    use crate::work::fixture::Fixture;

    /// A part of a transaction: pins that are set and taken away, and whether it fails in the end.
    type Part = (Vec<(u8, bool)>, bool);

    fn part() -> impl Strategy<Value = Part> {
        (proptest::collection::vec((0u8..40, any::<bool>()), 0..12), any::<bool>())
    }

    fn refused() -> Error {
        Error::new(ErrorKind::Refused, "go on", "the test says so")
    }

    fn change(tx: &mut Tx<'_>, (pins, fails): &Part) -> Result<()> {
        for (number, set) in pins {
            let (digest, since) = (Digest::from_bytes([*number; 32]), tx.moment());
            let before = tx.pin(&digest)?;
            match set {
                true => tx.push(Record::Pin(PinRecord { digest, note: number.to_string(), since })),
                false => tx.push(Record::Unpin(digest)),
            }
            assert_eq!(tx.pin(&digest)?.is_some(), *set, "a transaction reads what it wrote, over {before:?}");
        }
        if *fails { Err(refused()) } else { Ok(()) }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

        /// What the transaction saw is taken over; the slow and obvious way is to read the journal again.
        #[test]
        fn what_a_commit_leaves_in_memory_is_what_the_journal_says(
            transactions in proptest::collection::vec((proptest::collection::vec(part(), 1..6), any::<bool>()), 1..8),
        ) {
            let world = World::new(1);
            let store = Fixture::new(world.process("committing"), Path::new("/store"));
            let rows = |view: &View| view.range(&[], None).collect::<Result<Vec<_>>>().unwrap();
            for (n, (parts, fails)) in transactions.into_iter().enumerate() {
                let before = rows(&store.ledger.known().view);
                let done = store.ledger.transact(move |tx| {
                    for part in &parts {
                        // What one part did is undone alone, also within another.
                        let outcome = tx.part(|tx| {
                            let inner = tx.part(|tx| change(tx, &(part.0.clone(), !part.1)));
                            assert_eq!(inner.is_err(), !part.1);
                            change(tx, part)
                        });
                        assert_eq!(outcome.is_err(), part.1);
                    }
                    if fails { Err(refused()) } else { Ok(()) }
                });
                prop_assert_eq!(done.is_err(), fails);
                let (known, journal) = (store.ledger.known(), store.ledger.snapshot_from_journal().unwrap());
                prop_assert_eq!(rows(&known.view), rows(&journal.view));
                prop_assert_eq!(known.tail_records, journal.tail_records);
                prop_assert!(!fails || rows(&known.view) == before);
                if n == 3 {
                    store.ledger.fold(true).unwrap();
                    prop_assert_eq!(rows(&store.ledger.known().view), rows(&journal.view));
                    break;
                }
            }
        }
    }
}
