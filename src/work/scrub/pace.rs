//! How fast a scrub goes: no faster than it was told, not while others wait for the disk, and no longer than it was told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::format::record::scrub::Wish;
use crate::ledger::Ledger;
use crate::ledger::Tables;
use crate::machine::Machine;
use crate::vocabulary::limits::SCRUB_BATCH_TIME;

/// The longest wait between two questions whether to stop.
const SLICE: Duration = Duration::from_millis(100);
/// How much may be caught up with after something was slow.
const CATCH_UP_NS: u64 = 500_000_000;
/// How often it is looked whether anybody waits for a disk, and from which share of the time on it is looked closer: the
/// scrub's own waiting is part of that.
const PRESSURE_EVERY_NS: u64 = 5_000_000_000;
const PRESSURE_PER_MILLE: u64 = 50;
/// A closer look: how long everybody who reads for the scrub has to come to rest, how long then is measured, and from which
/// share of the time on others wait.
const REST: Duration = Duration::from_millis(100);
const MEASURE: Duration = Duration::from_millis(200);
const OTHERS_PER_MILLE: u64 = 100;
/// How long is waited for others, at first and at most.
const BACK_OFF: Duration = Duration::from_secs(1);
const BACK_OFF_MOST: Duration = Duration::from_secs(30);

/// Why reading ends before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The observer asked to stop.
    Interrupted,
    /// Its time is over.
    TimeOver,
    /// Somebody stopped the pass.
    Stopped,
}

/// The pace of one scrub.
pub(super) struct Pace<'a> {
    ledger: &'a Ledger,
    /// The number of the pass; `None` on a store that can only be read.
    pass: Option<u64>,
    rate: Option<u64>,
    deadline_ns: Option<u64>,
    /// Whether a blob has been read to its end: the time is never over before.
    any_done: AtomicBool,
    /// Whether somebody looks whether others wait for the disk: then nobody reads.
    resting: AtomicBool,
    state: Mutex<State>,
}

struct State {
    end: Option<End>,
    /// When the bytes read so far may have been read, if they are none.
    origin_ns: u64,
    bytes: u64,
    next_wish_ns: u64,
    looked_ns: u64,
    stalled_ns: Option<u64>,
}

impl<'a> Pace<'a> {
    pub(super) fn new(ledger: &'a Ledger, pass: Option<u64>, rate: Option<u64>, duration: Option<Duration>) -> Self {
        let now = ledger.machine.monotonic_ns();
        let stalled_ns = ledger.machine.io_stalled_ns();
        let state = State { end: None, origin_ns: now, bytes: 0, next_wish_ns: now, looked_ns: now, stalled_ns };
        let deadline_ns = duration.map(|time| now.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)));
        let (any_done, resting) = (AtomicBool::new(false), AtomicBool::new(false));
        Pace {
            ledger,
            pass,
            rate: rate.filter(|rate| *rate > 0),
            deadline_ns,
            any_done,
            resting,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn machine(&self) -> &dyn Machine {
        self.ledger.machine.as_ref()
    }

    /// Why it is to end, if it is.
    pub(super) fn end(&self) -> Option<End> {
        self.state().end
    }

    /// It is to end; the first reason counts.
    pub(super) fn end_for(&self, end: End) {
        self.state().end.get_or_insert(end);
    }

    /// So many bytes more were read.
    pub(super) fn passed(&self, bytes: u64) {
        self.state().bytes += bytes;
    }

    /// A blob was read to its end.
    pub(super) fn one_done(&self) {
        self.any_done.store(true, Ordering::Relaxed);
    }

    /// Waits as long as it must; whether to go on. `stop` asks the observer, `before_waiting` is called before a pause.
    pub(super) fn goes_on(&self, stop: &dyn Fn() -> bool, before_waiting: &dyn Fn()) -> bool {
        if !self.may_go_on(stop) {
            return false;
        }
        match self.wish() {
            Wish::Go => {}
            Wish::Stop(_) => self.end_for(End::Stopped),
            Wish::Pause => {
                before_waiting();
                self.wait_for_resume(stop);
            }
        }
        self.keep_rate(stop);
        self.spare_others(stop);
        self.may_go_on(stop)
    }

    fn may_go_on(&self, stop: &dyn Fn() -> bool) -> bool {
        if stop() {
            self.end_for(End::Interrupted);
        }
        if self.time_is_over() && self.any_done.load(Ordering::Relaxed) {
            self.end_for(End::TimeOver);
        }
        self.end().is_none()
    }

    fn time_is_over(&self) -> bool {
        self.deadline_ns.is_some_and(|deadline| self.machine().monotonic_ns() >= deadline)
    }

    /// What somebody wants of this pass, asked now and then.
    fn wish(&self) -> Wish {
        let Some(pass) = self.pass else { return Wish::Go };
        let now = self.machine().monotonic_ns();
        {
            let mut state = self.state();
            if now < state.next_wish_ns {
                return Wish::Go;
            }
            state.next_wish_ns = now.saturating_add(SCRUB_BATCH_TIME.as_nanos() as u64 / 4);
        }
        self.wish_now(pass)
    }

    fn wish_now(&self, pass: u64) -> Wish {
        // What cannot be read now is read the next time.
        let wish = self.ledger.snapshot().and_then(|now| now.scrub_wish()).map_or(Wish::Go, |said| said.wish);
        if let Wish::Stop(number) = wish
            && number != pass
        {
            Wish::Go
        } else {
            wish
        }
    }

    fn wait_for_resume(&self, stop: &dyn Fn() -> bool) {
        let (Some(pass), begun) = (self.pass, self.machine().monotonic_ns()) else { return };
        loop {
            if stop() {
                self.end_for(End::Interrupted);
            }
            if self.time_is_over() {
                self.end_for(End::TimeOver);
            }
            if self.end().is_some() {
                return;
            }
            match self.wish_now(pass) {
                Wish::Pause => self.machine().pause(SLICE),
                Wish::Stop(_) => self.end_for(End::Stopped),
                Wish::Go => break,
            }
        }
        self.shift(self.machine().monotonic_ns().saturating_sub(begun));
    }

    /// Time that does not count.
    fn shift(&self, time_ns: u64) {
        let mut state = self.state();
        state.origin_ns = state.origin_ns.saturating_add(time_ns);
    }

    fn keep_rate(&self, stop: &dyn Fn() -> bool) {
        let Some(rate) = self.rate else { return };
        loop {
            let now = self.machine().monotonic_ns();
            let due = {
                let mut state = self.state();
                let takes = u128::from(state.bytes) * 1_000_000_000 / u128::from(rate);
                let due = state.origin_ns.saturating_add(u64::try_from(takes).unwrap_or(u64::MAX));
                if due.saturating_add(CATCH_UP_NS) < now {
                    state.origin_ns += now - CATCH_UP_NS - due;
                }
                due
            };
            if now >= due || !self.may_go_on(stop) {
                return;
            }
            self.machine().pause(SLICE.min(Duration::from_nanos(due - now)));
        }
    }

    /// Waits while others wait for a disk. The scrub's own waiting cannot be told from theirs, so where there is any, it
    /// rests for a moment and looks whether there still is.
    fn spare_others(&self, stop: &dyn Fn() -> bool) {
        while self.resting.load(Ordering::Acquire) {
            if !self.may_go_on(stop) {
                return;
            }
            self.machine().pause(REST);
        }
        if !self.somebody_waits() || self.resting.swap(true, Ordering::AcqRel) {
            return;
        }
        let begun = self.machine().monotonic_ns();
        let mut wait = BACK_OFF;
        self.machine().pause(REST);
        while self.others_wait() && self.may_go_on(stop) {
            let mut left = wait;
            while !left.is_zero() && self.may_go_on(stop) {
                let slice = left.min(SLICE);
                self.machine().pause(slice);
                left -= slice;
            }
            wait = (wait * 2).min(BACK_OFF_MOST);
        }
        let now = self.machine().monotonic_ns();
        self.shift(now.saturating_sub(begun));
        let stalled_ns = self.machine().io_stalled_ns();
        let mut state = self.state();
        (state.looked_ns, state.stalled_ns) = (now, stalled_ns);
        drop(state);
        self.resting.store(false, Ordering::Release);
    }

    /// Whether anybody has waited for a disk for some of the time since this was last asked: the scrub itself, or others.
    fn somebody_waits(&self) -> bool {
        let now = self.machine().monotonic_ns();
        let mut state = self.state();
        let Some(before) = state.stalled_ns else { return false };
        let time = now.saturating_sub(state.looked_ns);
        if time < PRESSURE_EVERY_NS {
            return false;
        }
        let Some(stalled) = self.machine().io_stalled_ns() else { return false };
        (state.looked_ns, state.stalled_ns) = (now, Some(stalled));
        stalled.saturating_sub(before) / (time / 1000).max(1) >= PRESSURE_PER_MILLE
    }

    fn others_wait(&self) -> bool {
        let Some(before) = self.machine().io_stalled_ns() else { return false };
        self.machine().pause(MEASURE);
        let Some(after) = self.machine().io_stalled_ns() else { return false };
        after.saturating_sub(before) / (MEASURE.as_nanos() as u64 / 1000) >= OTHERS_PER_MILLE
    }
}
