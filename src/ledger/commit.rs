//! Transactions: checked and recorded under `lock`, one frame and one sync for all threads that wait.
//!
//! A thread queues its transaction and then waits for the writer. Whoever gets it first is the leader: it takes what is
//! queued, runs every transaction against the newest records, appends one frame for all and syncs it once.

use std::sync::{Arc, Mutex};

use super::hold::Hold;
use super::{Ledger, Tables};
use crate::format::record::{HealedRecord, Moment, Record, SinceRecord};
use crate::ledger::replay;
use crate::parts::index::View;
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
        self.queue.lock().unwrap_or_else(|p| p.into_inner()).push(Box::new(job));
        loop {
            let mut writer = self.writer.lock().unwrap_or_else(|p| p.into_inner());
            if let Some(result) = slot.lock().unwrap_or_else(|p| p.into_inner()).take() {
                drop(writer);
                self.fold_if_due();
                self.follow_if_changed();
                return result;
            }
            let mut jobs = std::mem::take(&mut *self.queue.lock().unwrap_or_else(|p| p.into_inner()));
            let outcome = self.hold_with(&mut writer, |hold| hold.run(&mut jobs));
            for job in &mut jobs {
                job.finish(outcome.as_ref().map(|_| ()).map_err(Error::duplicate));
            }
        }
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
            let records = if tx.records.len() == uses { Vec::new() } else { tx.records };
            if planted(Bug::EarlyAck) {
                jobs[start..end].iter_mut().for_each(|job| job.finish(Ok(())));
            }
            self.commit(&records)?;
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
        Ok(Tx { ledger: self.ledger, view, records: Vec::new(), bytes: 0, moment })
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
        let (view, count, bytes) = (self.view.clone(), self.records.len(), self.bytes);
        if !work(self) {
            self.view = view;
            self.records.truncate(count);
            self.bytes = bytes;
        }
    }

    pub(super) fn into_records(self) -> Vec<Record> {
        self.records
    }

    /// The ledger.
    pub fn ledger(&self) -> &'a Ledger {
        self.ledger
    }

    /// Whether everything is on record as it was after the frame with this sequence, but for uses.
    pub fn is_as_of(&self, sequence: u64) -> bool {
        self.moment.sequence == sequence + 1 && self.records.iter().all(|record| matches!(record, Record::Used(_)))
    }

    /// Number and journal time of the frame that is being made.
    pub fn moment(&self) -> Moment {
        self.moment
    }

    /// Records one more change.
    pub fn push(&mut self, record: Record) {
        replay::apply(&mut self.view, std::slice::from_ref(&record));
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
