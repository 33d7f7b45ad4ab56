//! Scrubbing: every blob and carrier read, over time, in passes that go on wherever they were broken off.
//!
//! A pass is a record; what it has done are the rows that say when each blob was read and what was found (`seen.rs`), put
//! on record in frames of bounded size while the reading goes on. So a kill at any point costs what the last frame does
//! not have, and nothing is taken for done that was not read to its end. No lock of the store is held while anything is
//! read; one of its own keeps two scrubs apart.

pub mod control;
mod coverage;
mod order;
mod pace;
mod quiet;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use self::control::ScrubLock;
pub use self::control::{ScrubStatus, Wanting, scrub_status, want};
pub use self::coverage::{Coverage, coverage};
use self::order::{Order, Wanted};
use self::pace::{End, Pace};
use self::quiet::Quiet;
use super::Context;
use super::seen::{Seen, record_all, status_of};
use super::verify::batch::Batch;
use super::verify::examine::{Examined, Examiner, Reading};
use crate::format::record::Record;
use crate::format::record::scrub::{PassRecord, PassState, VerifiedRecord, VerifiedRow, Wish};
use crate::ledger::{Snapshot, Tables, Tx};
use crate::vocabulary::events::VerifyStatus;
use crate::vocabulary::limits::{MAP_WINDOW_BYTES, SCRUB_BATCH, SCRUB_BATCH_TIME, SCRUB_SAMPLE_MOST, SCRUB_TOGETHER};
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{ByteRanges, Damage, Digest, Error, ErrorKind, Event, Observer, Result};

pub(in crate::work) use self::order::CTIME_ALONE;

/// How often what was changed meanwhile is taken up again before a pass is over.
const ROUNDS: u32 = 3;
/// A blob at least this large is read by all threads together.
const BY_PARTS_FROM_BYTES: u64 = 2 * MAP_WINDOW_BYTES as u64;
/// A pass by age that is older than the age, and than this, is begun anew: what it has read first may be due again.
const PASS_LASTS: Duration = Duration::from_secs(24 * 3600);

/// A part of the blobs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sample {
    /// This share of them, from 0 to 1.
    Share(f64),
    /// So many of them.
    Blobs(u64),
}

/// How blobs are scrubbed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ScrubOptions {
    /// Compare with SHA-256, whatever else is on record.
    pub sha256: bool,
    /// Leave out what was verified within this time.
    pub max_age: Option<Duration>,
    /// End after this time, though never before one blob is done.
    pub max_duration: Option<Duration>,
    /// Read a part of the blobs alone, chosen by chance anew in each pass.
    pub sample: Option<Sample>,
    /// Read at most so many bytes a second.
    pub rate: Option<u64>,
}

/// How a scrub ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrubEnd {
    /// Everything that it was to read was read.
    Done,
    /// The observer asked to stop.
    Interrupted,
    /// Its time was over.
    TimeOver,
    /// Somebody stopped the pass.
    Stopped,
    /// Passes are paused: nothing was read.
    Paused,
}

impl ScrubEnd {
    /// The word for it in JSON.
    pub fn word(self) -> &'static str {
        match self {
            ScrubEnd::Done => "done",
            ScrubEnd::Interrupted => "interrupted",
            ScrubEnd::TimeOver => "time_over",
            ScrubEnd::Stopped => "stopped",
            ScrubEnd::Paused => "paused",
        }
    }
}

/// What a scrub came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubReport {
    /// How it ended.
    pub end: ScrubEnd,
    /// The number of the pass; `None` on a store that can only be read.
    pub pass: Option<u64>,
    /// Whether the pass was begun by an earlier scrub.
    pub resumed: bool,
    /// Blobs read by this scrub.
    pub blobs: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Blobs whose bytes are right.
    pub ok: u64,
    /// Whose bytes are wrong; here and in the next three, what an earlier scrub of the same pass found and nobody mended is
    /// told and counted again.
    pub corrupt: u64,
    /// Whose file is missing.
    pub missing: u64,
    /// That could not be read.
    pub unreadable: u64,
    /// Carriers that are wrong, missing or unreadable.
    pub bad_carriers: u64,
    /// What is left of the pass, and its bytes.
    pub left_blobs: u64,
    /// As above.
    pub left_bytes: u64,
    /// How much of the store was read lately.
    pub coverage: Coverage,
}

impl ScrubReport {
    /// How much is wrong.
    pub fn findings(&self) -> u64 {
        self.corrupt + self.missing + self.unreadable + self.bad_carriers
    }

    fn count(&mut self, status: VerifyStatus) {
        match status {
            VerifyStatus::Ok => self.ok += 1,
            VerifyStatus::Corrupt => self.corrupt += 1,
            VerifyStatus::Missing => self.missing += 1,
            VerifyStatus::Unreadable => self.unreadable += 1,
        }
    }
}

/// Reads blobs and their carriers, the most urgent first, and tells one [`Event::Verified`] for each. A pass that was
/// broken off and is of the same kind goes on. Comparing is done with the BLAKE3 on record where there is one and nothing
/// else is asked for; where that does not match, SHA-256 decides.
///
/// [`ErrorKind::Busy`] where another scrub of the store runs. On a store that can only be read nothing is recorded.
pub fn scrub(ctx: &Context<'_>, options: &ScrubOptions, observer: &dyn Observer) -> Result<ScrubReport> {
    let writable = ctx.ledger.policy.writable;
    let _lock = if writable { Some(ScrubLock::take(ctx.ledger)?) } else { None };
    let begun = if writable { begin(ctx, options)? } else { Begun::reading(ctx, options)? };
    let number = writable.then_some(begun.pass.number);
    let run = Run::new(ctx, observer, &begun, number, options);
    if begun.paused {
        let text = "Scrubs of this store are paused: nothing was read. `larder scrub --resume` lets them go on.";
        observer.event(&Event::Notice { text: text.to_owned() });
        return run.report(options, ScrubEnd::Paused);
    }
    run.tell_earlier()?;
    let rounds = if writable { ROUNDS } else { 1 };
    for round in 0..rounds {
        let snapshot = ctx.ledger.snapshot()?;
        let mut order = Order::new(&snapshot, begun.wanted(ctx, options));
        let left = order.count()?;
        if round == 0 {
            observer.expect(left.0, left.1);
        }
        if left.0 == 0 || !run.read_all(&snapshot, &mut order)? {
            break;
        }
    }
    run.flush()?;
    let end = match run.pace.end() {
        None => ScrubEnd::Done,
        Some(End::Interrupted) => ScrubEnd::Interrupted,
        Some(End::TimeOver) => ScrubEnd::TimeOver,
        Some(End::Stopped) => ScrubEnd::Stopped,
    };
    if let (Some(number), ScrubEnd::Done | ScrubEnd::Stopped) = (number, end) {
        close(ctx, number, if end == ScrubEnd::Done { PassState::Done } else { PassState::Stopped })?;
    }
    let report = run.report(options, end)?;
    if writable {
        ctx.ledger.compact_if_due();
    }
    Ok(report)
}

/// A pass that has begun, now or earlier.
struct Begun {
    pass: PassRecord,
    resumed: bool,
    paused: bool,
}

impl Begun {
    /// On a store that can only be read there is no pass, and nothing of an earlier one counts.
    fn reading(ctx: &Context<'_>, options: &ScrubOptions) -> Result<Begun> {
        let pass = new_pass(ctx, &*ctx.ledger.snapshot()?, options, 0, u64::MAX)?;
        Ok(Begun { pass, resumed: false, paused: false })
    }

    fn wanted(&self, ctx: &Context<'_>, options: &ScrubOptions) -> Wanted {
        let PassRecord { number, begun, sha256, sample_below, .. } = self.pass;
        let now_ns = ctx.ledger.machine.now_ns();
        let since_ns = options.max_age.map(|age| now_ns.saturating_sub(nanos(age)));
        Wanted { begun, sha256, since_ns, now_ns, pass: number, sample_below }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A pass to be begun with the frame of this sequence.
fn new_pass(
    ctx: &Context<'_>,
    snapshot: &Snapshot,
    options: &ScrubOptions,
    number: u64,
    begun: u64,
) -> Result<PassRecord> {
    let now_ns = ctx.ledger.machine.now_ns();
    let pass = PassRecord {
        number,
        state: PassState::Open,
        begun,
        begun_ns: now_ns,
        seen_ns: now_ns,
        sha256: options.sha256,
        max_age_ns: options.max_age.map(nanos),
        sample_below: u64::MAX,
        blobs: 0,
        bytes: 0,
        findings: 0,
    };
    let sample_below = match options.sample {
        None => u64::MAX,
        Some(Sample::Share(share)) => share_below(share),
        Some(Sample::Blobs(blobs)) => {
            let everything = Begun { pass, resumed: false, paused: false }.wanted(ctx, options);
            Order::new(snapshot, everything).sample_of(blobs.min(SCRUB_SAMPLE_MOST))?
        }
    };
    Ok(PassRecord { sample_below, ..pass })
}

/// The hash below which this share of all hashes is.
fn share_below(share: f64) -> u64 {
    // Casts of floats saturate; every share below one is a bound below the greatest, which would be everything.
    if share >= 1.0 { u64::MAX } else { (share.max(0.0) * u64::MAX as f64) as u64 }
}

/// Begins a pass, or takes up the one that is open.
fn begin(ctx: &Context<'_>, options: &ScrubOptions) -> Result<Begun> {
    let known = ctx.ledger.snapshot()?;
    // A sample by number is chosen before `lock` is taken; whoever scrubs is alone, so nobody begins a pass in between.
    let number = known.scrub_pass()?.map_or(1, |pass| pass.number + 1);
    let fresh = new_pass(ctx, &known, options, number, u64::MAX)?;
    let (now_ns, options) = (ctx.ledger.machine.now_ns(), *options);
    ctx.ledger.transact(move |tx| {
        let (last, wish) = (tx.scrub_pass()?, tx.scrub_wish()?.wish);
        let open = last.filter(|pass| pass.state == PassState::Open && wish != Wish::Stop(pass.number));
        let open = open.filter(|pass| goes_on(pass, &options, &fresh, now_ns));
        let resumed = open.is_some();
        let pass = open.unwrap_or(PassRecord { begun: tx.moment().sequence, ..fresh });
        let paused = wish == Wish::Pause;
        if !resumed && !paused {
            tx.push(Record::Pass(pass));
        }
        Ok(Begun { pass, resumed, paused })
    })
}

/// Whether an open pass is what is asked for now.
fn goes_on(pass: &PassRecord, options: &ScrubOptions, fresh: &PassRecord, now_ns: u64) -> bool {
    let sample = match options.sample {
        // Which blobs it takes was settled when it began.
        Some(Sample::Blobs(_)) => pass.sample_below != u64::MAX,
        _ => pass.sample_below == fresh.sample_below,
    };
    let lasts = options.max_age.map_or(u64::MAX, |age| nanos(age.max(PASS_LASTS)));
    let fits = now_ns.saturating_sub(pass.begun_ns) <= lasts;
    sample && fits && pass.sha256 == options.sha256 && pass.max_age_ns == options.max_age.map(nanos)
}

fn close(ctx: &Context<'_>, number: u64, state: PassState) -> Result<()> {
    let seen_ns = ctx.ledger.machine.now_ns();
    ctx.ledger.transact(move |tx| {
        if let Some(pass) = tx.scrub_pass()?.filter(|pass| pass.number == number) {
            tx.push(Record::Pass(PassRecord { state, seen_ns, ..pass }));
        }
        Ok(())
    })
}

/// A scrub under way. It is the observer of its own reading, and so is asked between two pieces of a file whether to go on:
/// there it keeps its pace.
struct Run<'a> {
    ctx: &'a Context<'a>,
    observer: &'a dyn Observer,
    pace: Pace<'a>,
    quiet: Quiet<'a>,
    number: Option<u64>,
    begun: u64,
    resumed: bool,
    reading: Reading,
    unrecorded: Mutex<Unrecorded>,
    report: Mutex<ScrubReport>,
}

/// What was seen and is not on record.
struct Unrecorded {
    seen: Vec<Seen>,
    bytes: u64,
    due_ns: u64,
}

impl<'a> Run<'a> {
    fn new(
        ctx: &'a Context<'a>,
        observer: &'a dyn Observer,
        begun: &Begun,
        number: Option<u64>,
        options: &ScrubOptions,
    ) -> Self {
        let pace = Pace::new(ctx.ledger, number, options.rate, options.max_duration);
        let report = ScrubReport {
            end: ScrubEnd::Done,
            pass: number,
            resumed: begun.resumed,
            blobs: 0,
            bytes: 0,
            ok: 0,
            corrupt: 0,
            missing: 0,
            unreadable: 0,
            bad_carriers: 0,
            left_blobs: 0,
            left_bytes: 0,
            coverage: Coverage::default(),
        };
        let reading = Reading { by_blake3: !options.sha256, spare_cache: true, all_cores: false };
        let due_ns = ctx.ledger.machine.monotonic_ns().saturating_add(nanos(SCRUB_BATCH_TIME));
        let unrecorded = Mutex::new(Unrecorded { seen: Vec::new(), bytes: 0, due_ns });
        let (begun, resumed, report) = (begun.pass.begun, begun.resumed, Mutex::new(report));
        let quiet = Quiet::new(ctx);
        Run { ctx, observer, pace, quiet, number, begun, resumed, reading, unrecorded, report }
    }

    fn unrecorded(&self) -> std::sync::MutexGuard<'_, Unrecorded> {
        self.unrecorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, ScrubReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the same pass has found before this scrub and nobody has mended: it is not read again, and told all the same.
    fn tell_earlier(&self) -> Result<()> {
        if !self.resumed {
            return Ok(());
        }
        let snapshot = self.ctx.ledger.snapshot()?;
        for row in snapshot.all_findings() {
            let ((digest, carrier), row) = row?;
            if row.sequence <= self.begun {
                continue;
            }
            let Some(blob) = snapshot.blob(&digest)? else { continue };
            let names = snapshot.names_of(&digest)?;
            let (size_bytes, status) = (blob.stamp.size_bytes, status_of(row.wrong));
            let detail = format!("{}; found earlier in this pass", row.reason);
            let ranges = ByteRanges::of(row.ranges.iter().map(|(start, end)| *start..*end).collect());
            let damage = match status {
                VerifyStatus::Unreadable => Damage { unreadable: ranges, ..Damage::default() },
                _ => Damage { wrong: ranges, ..Damage::default() },
            };
            let (told, of) = (detail.clone(), damage.clone());
            let seen = crate::vocabulary::events::CarrierSeen { number: carrier, status, detail: told, damage: of };
            if carrier == 0 {
                self.counts().count(status);
                self.observer.event(&Event::Verified {
                    digest,
                    names,
                    size_bytes,
                    status,
                    detail,
                    damage,
                    carriers: Vec::new(),
                });
            } else {
                self.counts().bad_carriers += 1;
                let (status, detail) = (VerifyStatus::Ok, String::new());
                self.observer.event(&Event::Verified {
                    digest,
                    names,
                    size_bytes,
                    status,
                    detail,
                    damage: Damage::default(),
                    carriers: vec![seen],
                });
            }
        }
        Ok(())
    }

    /// Reads all of them; whether to go on.
    fn read_all(&self, snapshot: &Snapshot, order: &mut Order<'_>) -> Result<bool> {
        loop {
            let ordered = order.next()?;
            if ordered.is_empty() {
                // The next round looks at what is on record.
                self.flush()?;
                return Ok(self.pace.end().is_none());
            }
            self.quiet.read(|| self.read_ordered(snapshot, &ordered))?;
            if self.pace.end().is_some() {
                return Ok(false);
            }
        }
    }

    /// Reads these in order, as many at once as there are threads: of a large one, the parts; of others, one by each.
    fn read_ordered(&self, snapshot: &Snapshot, mut left: &[(Digest, u64)]) -> Result<()> {
        let by_parts = |size: u64| self.reading.by_blake3 && size >= BY_PARTS_FROM_BYTES;
        while let Some((digest, size_bytes)) = left.first().copied()
            && self.goes_on()
        {
            if by_parts(size_bytes) {
                self.read_one(snapshot, &digest, size_bytes, Reading { all_cores: true, ..self.reading })?;
                left = &left[1..];
                continue;
            }
            let small = left.iter().position(|(_, size)| by_parts(*size)).unwrap_or(left.len());
            let (now, later) = left.split_at(if self.reading.by_blake3 { small } else { small.min(SCRUB_TOGETHER) });
            match self.reading.by_blake3 {
                true => self.read_each(snapshot, now)?,
                false => self.read_together(snapshot, now)?,
            }
            left = later;
        }
        Ok(())
    }

    /// Each thread takes the next in order when it has done one.
    fn read_each(&self, snapshot: &Snapshot, ordered: &[(Digest, u64)]) -> Result<()> {
        let next = AtomicUsize::new(0);
        let lanes: Vec<usize> = (0..self.ctx.workers.count()).collect();
        let done = self.ctx.workers.map(lanes, |_| {
            while let Some((digest, size_bytes)) = ordered.get(next.fetch_add(1, Ordering::Relaxed)) {
                if !self.goes_on() {
                    break;
                }
                self.read_one(snapshot, digest, *size_bytes, self.reading)?;
            }
            Ok::<(), Error>(())
        });
        done.into_iter().collect()
    }

    /// Several go through the lanes of each thread.
    fn read_together(&self, snapshot: &Snapshot, ordered: &[(Digest, u64)]) -> Result<()> {
        let examiner = self.examiner(snapshot, self.reading);
        let sink = |examined| self.examined(examined);
        if !Batch::new(&examiner, ordered, snapshot.has_carriers()?, &sink)?.run()? {
            self.pace.end_for(End::Interrupted);
        }
        Ok(())
    }

    fn examiner<'b>(&'b self, snapshot: &'b Snapshot, reading: Reading) -> Examiner<'b> {
        Examiner { ctx: *self.ctx, snapshot, quarantine: false, reading, observer: self }
    }

    fn read_one(&self, snapshot: &Snapshot, digest: &Digest, size_bytes: u64, reading: Reading) -> Result<()> {
        if planted(Bug::VerifiedEarly) {
            self.believe(*digest)?;
        }
        self.examined(self.examiner(snapshot, reading).examine(digest, size_bytes)?)
    }

    fn examined(&self, examined: Examined) -> Result<()> {
        match examined {
            Examined::Found { seen, read_bytes, .. } => self.saw(*seen, read_bytes),
            Examined::Gone => Ok(()),
            Examined::Stopped => {
                // Something else than this scrub asked for it, or it did and knows why.
                self.pace.end_for(End::Interrupted);
                Ok(())
            }
        }
    }

    /// What must not be done, for a test to catch.
    fn believe(&self, digest: Digest) -> Result<()> {
        let time_ns = self.ctx.ledger.machine.now_ns();
        self.ctx.ledger.transact(move |tx| {
            let row = VerifiedRow { sequence: tx.moment().sequence, time_ns, sha256_ns: time_ns };
            tx.push(Record::Verified(VerifiedRecord { digest, row }));
            Ok(())
        })
    }

    fn saw(&self, seen: Seen, read_bytes: u64) -> Result<()> {
        self.pace.one_done();
        {
            let mut counts = self.counts();
            counts.count(seen.status);
            counts.blobs += 1;
            counts.bytes += read_bytes;
            counts.bad_carriers += seen.findings() - u64::from(seen.status != VerifyStatus::Ok);
        }
        if self.number.is_none() {
            return Ok(());
        }
        let due = {
            let mut unrecorded = self.unrecorded();
            unrecorded.seen.push(seen);
            unrecorded.bytes += read_bytes;
            unrecorded.seen.len() >= SCRUB_BATCH || self.ctx.ledger.machine.monotonic_ns() >= unrecorded.due_ns
        };
        if due { self.quiet.aloud(|| self.flush()) } else { Ok(()) }
    }

    /// Puts on record what was seen, and how far the pass has come.
    fn flush(&self) -> Result<()> {
        let Some(number) = self.number else { return Ok(()) };
        let (seen, bytes) = {
            let mut unrecorded = self.unrecorded();
            let now = self.ctx.ledger.machine.monotonic_ns();
            unrecorded.due_ns = now.saturating_add(nanos(SCRUB_BATCH_TIME));
            (std::mem::take(&mut unrecorded.seen), std::mem::take(&mut unrecorded.bytes))
        };
        if seen.is_empty() {
            return Ok(());
        }
        let seen_ns = self.ctx.ledger.machine.now_ns();
        let recorded = self.ctx.ledger.transact(move |tx| record_batch(tx, number, &seen, bytes, seen_ns));
        recorded.inspect_err(|_| self.pace.end_for(End::Interrupted))
    }

    fn goes_on(&self) -> bool {
        !self.cancelled()
    }

    fn report(&self, options: &ScrubOptions, end: ScrubEnd) -> Result<ScrubReport> {
        let snapshot = self.ctx.ledger.snapshot()?;
        let mut report = self.counts().clone();
        report.end = end;
        if self.number.is_some() && end != ScrubEnd::Done {
            let pass = snapshot.scrub_pass()?;
            if let Some(pass) = pass {
                let begun = Begun { pass, resumed: false, paused: false };
                (report.left_blobs, report.left_bytes) =
                    Order::new(&snapshot, begun.wanted(self.ctx, options)).count()?;
            }
        }
        report.coverage = coverage(self.ctx, &snapshot, options.max_age)?;
        Ok(report)
    }
}

fn record_batch(tx: &mut Tx<'_>, number: u64, seen: &[Seen], bytes: u64, seen_ns: u64) -> Result<()> {
    record_all(tx, seen)?;
    if let Some(pass) = tx.scrub_pass()?.filter(|pass| pass.number == number) {
        let findings = pass.findings + seen.iter().map(Seen::findings).sum::<u64>();
        let (blobs, bytes) = (pass.blobs + seen.len() as u64, pass.bytes + bytes);
        tx.push(Record::Pass(PassRecord { seen_ns, blobs, bytes, findings, ..pass }));
    }
    Ok(())
}

impl Observer for Run<'_> {
    fn event(&self, event: &Event) {
        self.observer.event(event);
    }

    fn progress(&self, files: u64, bytes: u64) {
        // What is left of a blob that was not read to its end is told with the blob.
        if files == 0 {
            self.pace.passed(bytes);
        }
        self.observer.progress(files, bytes);
    }

    fn hears_of_good(&self) -> bool {
        self.observer.hears_of_good()
    }

    fn cancelled(&self) -> bool {
        let before_waiting = || {
            // What keeps it from being recorded now is met again at the end.
            let _again_at_the_end = self.quiet.aloud(|| self.flush());
        };
        !self.pace.goes_on(&|| self.observer.cancelled(), &before_waiting)
    }
}

/// [`ErrorKind::Busy`]: somebody else scrubs.
fn busy() -> Error {
    Error::new(ErrorKind::Busy, "scrub the store", "another scrub of it is running")
}
