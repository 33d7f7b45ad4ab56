//! What an open store counts and tells: always in itself, and to a recorder if the host gave it one.

use std::fmt::Display;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Store;
use crate::format::totals::Totals;
use crate::parts::totals::Kept;
use crate::vocabulary::recorder::{Counts, Instrument, Level, Occurrence, Recorder};
use crate::vocabulary::url::redacted;
use crate::vocabulary::{Entry, ErrorKind, Result, State};
use crate::work::catalog::evict::EvictReport;
use crate::work::catalog::register::{IfThere, Registered};
use crate::work::catalog::verify::Verified;
use crate::work::collect::CollectReport;
use crate::work::finalise::Finalised;
use crate::work::ingest::AddReport;
use crate::work::verify::VerifyReport;

/// What was counted, and who else is told.
pub(super) struct Metrics {
    counts: Mutex<Counts>,
    /// Of the counts, those that are not in the store's totals yet.
    unkept: Mutex<Counts>,
    kept: Kept,
    /// Whether the store may be written to.
    writable: bool,
    recorder: Option<Arc<dyn Recorder>>,
}

impl Metrics {
    pub(super) fn of(kept: Kept, writable: bool) -> Metrics {
        Metrics { counts: Mutex::default(), unkept: Mutex::default(), kept, writable, recorder: None }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unkept(&self) -> MutexGuard<'_, Counts> {
        self.unkept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self) {
        if !self.writable {
            return;
        }
        let counts = mem::take(&mut *self.unkept());
        if !counts.is_empty() && !self.kept.add(&counts).unwrap_or(false) {
            self.unkept().add_all(&counts);
        }
    }
}

/// A store that is closed leaves what it counted.
impl Drop for Metrics {
    fn drop(&mut self) {
        self.keep();
    }
}

/// A kind of change: as it is counted, and as it is called when it is told.
#[derive(Clone, Copy)]
pub(super) struct Op(pub(super) &'static str, pub(super) &'static str);

impl Store {
    /// Tells `recorder`, too, whatever this store counts from now on.
    #[must_use]
    pub fn recording_to(mut self, recorder: Arc<dyn Recorder>) -> Store {
        self.metrics.recorder = Some(recorder);
        self
    }

    /// What was counted since this store was opened, and the gauges as they were measured last (R154).
    pub fn counts(&self) -> Counts {
        self.metrics.counts().clone()
    }

    /// Adds what was counted to the store's totals. It costs no sync, and waits a fraction of a second at most for another
    /// process that does the same; what cannot be added is tried again the next time. A store does it when it is closed; one
    /// that stays open for long, and may be killed, does well to call it now and then. One that is only read does nothing.
    pub fn keep_counts(&self) {
        self.metrics.keep();
    }

    /// What was counted in this store by all processes that have closed it, and by this one so far (R145 to R151): counts of
    /// what was done, which a process that is killed, or a power cut, may take away.
    pub fn totals(&self) -> Totals {
        let mut totals = self.metrics.kept.read();
        totals.counts.add_all(&self.metrics.unkept());
        totals
    }

    /// Measures what does not count itself: the entries in each state (R146). It looks through the catalog.
    pub fn measure(&self) -> Result<()> {
        let totals = self.catalog_totals()?;
        for state in State::ALL {
            let count = totals.by_state.iter().find(|(of, _)| *of == state).map_or(0, |(_, count)| *count);
            self.metrics.counts().set(Instrument::Models, state.word(), count);
            if let Some(recorder) = &self.metrics.recorder {
                recorder.gauge(Instrument::Models, state.word(), count);
            }
        }
        Ok(())
    }

    fn count(&self, instrument: Instrument, label: &str, by: u64) {
        if by == 0 {
            return;
        }
        self.metrics.counts().add(instrument, label, by);
        self.metrics.unkept().add(instrument, label, by);
        if let Some(recorder) = &self.metrics.recorder {
            recorder.count(instrument, label, by);
        }
    }

    /// Whether anybody is told of single changes.
    pub(super) fn is_heard(&self) -> bool {
        self.metrics.recorder.is_some() || tracing::enabled!(target: "larder", tracing::Level::WARN)
    }

    pub(super) fn tell(&self, level: Level, operation: &'static str, subject: &dyn Display, outcome: &dyn Display) {
        let text = |what: &dyn Display| redacted(&what.to_string()).into_owned();
        let occurrence = Occurrence { level, operation, subject: text(subject), outcome: text(outcome) };
        trace(&occurrence);
        if let Some(recorder) = &self.metrics.recorder {
            recorder.event(&occurrence);
        }
    }

    /// Counts and tells one operation. One that did nothing since it could not is told, and not counted.
    pub(super) fn did<T>(&self, op: Op, subject: &dyn Display, done: Result<T>) -> Result<T> {
        self.did_many(op, subject, done, |_| 1)
    }

    /// As [`Store::did`], for so many at once.
    pub(super) fn did_many<T>(
        &self,
        op: Op,
        subject: &dyn Display,
        done: Result<T>,
        many: impl Fn(&T) -> u64,
    ) -> Result<T> {
        let Op(counted, called) = op;
        match &done {
            Ok(report) => {
                let many = many(report);
                self.count(Instrument::Operations, counted, many);
                let level = if many == 0 { Level::Debug } else { Level::Info };
                self.tell(level, called, subject, &"");
            }
            Err(error) => {
                let expected = matches!(
                    error.kind(),
                    ErrorKind::NotFound
                        | ErrorKind::Taken
                        | ErrorKind::Invalid
                        | ErrorKind::Busy
                        | ErrorKind::Refused
                        | ErrorKind::Pinned
                        | ErrorKind::IllegalTransition
                        | ErrorKind::Interrupted
                );
                let level = if expected { Level::Warn } else { Level::Error };
                self.tell(level, called, subject, error);
            }
        }
        done
    }

    /// Counts what verifying blobs found (R145, R151).
    pub(super) fn verified_blobs(&self, done: Result<VerifyReport>) -> Result<VerifyReport> {
        if let Ok(report) = &done {
            let bad = [("corrupt", report.corrupt), ("missing", report.missing), ("unreadable", report.unreadable)];
            self.count(Instrument::Verifications, "ok", report.ok);
            for (result, blobs) in bad {
                self.count(Instrument::Verifications, result, blobs);
                self.count(Instrument::VerifyFailures, "", blobs);
                if blobs > 0 {
                    self.tell(Level::Warn, "verify", &"", &format_args!("{blobs} blobs are {result}"));
                }
            }
        }
        self.did(Op("verify", "verify"), &"", done)
    }

    /// Counts what verifying an entry found.
    pub(super) fn verified_entry(&self, subject: &dyn Display, done: Result<Verified>) -> Result<Verified> {
        if let Ok(verified) = &done {
            self.count_verified(subject, verified);
        }
        self.did(Op("verify", "verify"), subject, done)
    }

    fn count_verified(&self, subject: &dyn Display, verified: &Verified) {
        let bad = verified.variants.iter().find(|one| one.status.is_bad());
        let result = bad.or(verified.variants.first()).map_or("unlocated", |one| one.status.word());
        self.judged(result, 1);
        if !verified.is_good() {
            self.tell(Level::Warn, "verify", subject, &result);
        }
    }

    /// Counts entries, or blobs, whose bytes were held against what they should be, with this result.
    pub(super) fn judged(&self, result: &'static str, entries: u64) {
        self.count(Instrument::Verifications, result, entries);
        if !matches!(result, "ok" | "hashed") {
            self.count(Instrument::VerifyFailures, "", entries);
        }
    }

    /// Counts an entry whose bytes were hashed on the way into the store.
    fn judged_entry(&self, entry: &Entry) {
        let expected = entry.variants.iter().all(|variant| variant.expected.is_some());
        let result = match (entry.card.state == State::Failed, expected) {
            (true, _) => "mismatch",
            (false, true) => "ok",
            (false, false) => "hashed",
        };
        self.judged(result, 1);
        if result == "mismatch" {
            self.tell(Level::Warn, "verify", &entry.card.key, &result);
        }
    }

    /// Counts and tells what was registered, each entry for itself, and whether its bytes were hashed just now.
    pub(super) fn registered<'a>(&self, all: impl Iterator<Item = (&'a Result<Registered>, bool)>, if_there: IfThere) {
        let mut many = 0;
        for (one, hashed) in all {
            match one {
                Ok(Registered { entry, new }) => {
                    if hashed && (*new || if_there == IfThere::Merge) {
                        self.judged_entry(entry);
                    }
                    let level = if *new { Level::Info } else { Level::Debug };
                    self.tell(level, "register", &entry.card.key, &if *new { "new" } else { "known" });
                    many += 1;
                }
                Err(error) => self.tell(Level::Warn, "register", &"", error),
            }
        }
        self.count(Instrument::Operations, "register", many);
    }

    /// Counts files that were added.
    pub(super) fn added(&self, done: Result<AddReport>) -> Result<AddReport> {
        if let Ok(report) = &done
            && report.failed > 0
        {
            self.tell(Level::Warn, "add", &"", &format_args!("{} files were not kept", report.failed));
        }
        let kept = |report: &AddReport| report.new_files + report.dedup_files + report.healed_files;
        self.did_many(Op("add", "add"), &"", done, kept)
    }

    /// Counts a finished file (R149).
    pub(super) fn finalised(
        &self,
        subject: &dyn Display,
        resolver: &str,
        expected: bool,
        done: Result<Finalised>,
    ) -> Result<Finalised> {
        if expected && matches!(&done, Err(error) if error.kind() == ErrorKind::Mismatch) {
            self.judged("mismatch", 1);
        }
        if let Ok(finalised) = &done {
            if finalised.status.is_dedup() {
                self.count(Instrument::DedupHits, resolver, 1);
            }
            self.count(Instrument::Operations, "register", u64::from(finalised.entry.is_some()));
            match (&finalised.verified, &finalised.entry) {
                (Some(verified), _) => self.count_verified(subject, verified),
                (None, Some(entry)) => self.judged_entry(entry),
                (None, None) if expected => self.judged("ok", 1),
                (None, None) => {}
            }
        }
        self.did(Op("finalise", "finalise"), subject, done)
    }

    /// Counts what was collected (R150).
    pub(super) fn collected<T>(
        &self,
        op: Op,
        subject: &dyn Display,
        done: Result<T>,
        of: impl Fn(&T) -> &CollectReport,
    ) -> Result<T> {
        if let Ok(report) = &done {
            let collected = of(report);
            self.count(Instrument::GcRemoved, "", collected.removed_blobs);
            if collected.removed_blobs > 0 {
                let freed = collected.freed_bytes;
                let outcome = format!("{} blobs removed, {freed} bytes freed", collected.removed_blobs);
                self.tell(Level::Info, op.1, subject, &outcome);
            }
        }
        self.did(op, subject, done)
    }

    /// Counts what was evicted to keep the limits.
    pub(super) fn count_evicted(&self, report: &EvictReport) {
        self.evicted(report.entries.len() as u64);
        self.count(Instrument::GcRemoved, "", report.collected.removed_blobs);
        let outcome = format!("{} entries, {} bytes freed", report.entries.len(), report.collected.freed_bytes);
        self.tell(Level::Info, "evict", &"", &outcome);
    }

    /// Counts entries that were evicted (R148).
    pub(super) fn evicted(&self, entries: u64) {
        self.count(Instrument::Evictions, "", entries);
    }
}

/// Tells whoever collects the traces of this process.
fn trace(occurrence: &Occurrence) {
    let Occurrence { level, operation, subject, outcome } = occurrence;
    let (operation, subject, outcome) = (*operation, subject.as_str(), outcome.as_str());
    match level {
        Level::Debug => tracing::debug!(target: "larder", operation, subject, outcome),
        Level::Info => tracing::info!(target: "larder", operation, subject, outcome),
        Level::Warn => tracing::warn!(target: "larder", operation, subject, outcome),
        Level::Error => tracing::error!(target: "larder", operation, subject, outcome),
    }
}
