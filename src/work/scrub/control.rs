//! What is said to a scrub from outside, and what it says of itself: all of it is on record, and nothing is sent.

use std::io;
use std::time::Duration;

use super::busy;
use super::coverage::{Coverage, coverage};
use super::order::{Order, Wanted};
use crate::format::record::Record;
use crate::format::record::scrub::{PassRecord, PassState, Wish, WishRecord};
use crate::ledger::{Ledger, Tables};
use crate::machine::{File, Lock, Open};
use crate::vocabulary::{Error, Result};
use crate::work::Context;

/// How often the lock is tried, and how long in between: whoever looks whether a scrub runs has it for a moment.
const TRIES: u32 = 20;
const WAIT: Duration = Duration::from_millis(5);

/// The lock that one scrub of a store holds as long as it runs. A process that dies lets go of it.
pub(super) struct ScrubLock {
    _file: Box<dyn File>,
}

impl ScrubLock {
    pub(super) fn take(ledger: &Ledger) -> Result<Self> {
        for _ in 0..TRIES {
            let file = open_or_make(ledger)?;
            let path = ledger.layout.scrub();
            if file.try_lock(Lock::Exclusive).map_err(|e| Error::io("lock", &path, e))? {
                // A lock on an unlinked inode protects nothing.
                let held = file.meta().map_err(|e| Error::io("look at", &path, e))?;
                if ledger
                    .machine
                    .lstat(&path)
                    .is_ok_and(|there| (there.device, there.inode) == (held.device, held.inode))
                {
                    return Ok(ScrubLock { _file: file });
                }
                continue;
            }
            ledger.machine.pause(WAIT);
        }
        Err(busy())
    }

    /// Whether somebody has it.
    fn is_taken(ledger: &Ledger) -> bool {
        let Ok(file) = ledger.machine.open(&ledger.layout.scrub(), Open::Read) else { return false };
        matches!(file.try_lock(Lock::Shared), Ok(false))
    }
}

fn open_or_make(ledger: &Ledger) -> Result<Box<dyn File>> {
    let path = ledger.layout.scrub();
    for _ in 0..TRIES {
        match ledger.machine.open(&path, Open::ReadWrite) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            opened => return opened.map_err(|e| Error::io("open", &path, e)),
        }
        // Who may write to `lock` may write here.
        let lock = ledger.layout.lock();
        let mode = ledger.machine.lstat(&lock).map_err(|e| Error::io("look at", &lock, e))?.mode & 0o666;
        match ledger.machine.open(&path, Open::CreateNew { mode }) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map_err(|e| Error::io("make", &path, e)),
        }
    }
    Err(busy())
}

/// What somebody wants of scrubs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanting {
    /// A running one waits, and none begins, until somebody wants them to go on.
    Pause,
    /// They go on.
    Resume,
    /// The pass that is open ends where it is.
    Stop,
}

/// How scrubs of a store stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubStatus {
    /// Whether one runs now.
    pub running: bool,
    /// Whether they are paused.
    pub paused: bool,
    /// The last pass, if there was any.
    pub pass: Option<PassRecord>,
    /// Blobs that are left of it, and their bytes; none where it is over.
    pub left_blobs: u64,
    /// As above.
    pub left_bytes: u64,
    /// Findings on record that are not mended, of blobs and carriers.
    pub findings: u64,
    /// Blobs whose file was seen changed and that no scrub has read since.
    pub suspects: u64,
    /// How much of the store was read lately.
    pub coverage: Coverage,
}

/// Says what somebody wants; a running scrub hears of it within some seconds, a later one when it begins.
pub fn want(ctx: &Context<'_>, wanting: Wanting) -> Result<()> {
    let since_ns = ctx.ledger.machine.now_ns();
    let running = ScrubLock::is_taken(ctx.ledger);
    ctx.ledger.transact(move |tx| {
        let (pass, said) = (tx.scrub_pass()?, tx.scrub_wish()?.wish);
        let open = pass.filter(|pass| pass.state == PassState::Open);
        let wish = match (wanting, open) {
            (Wanting::Pause, _) => Wish::Pause,
            (Wanting::Stop, Some(pass)) => Wish::Stop(pass.number),
            // Nothing is open: then it goes on as it was.
            (Wanting::Resume | Wanting::Stop, _) => Wish::Go,
        };
        if wish != said {
            tx.push(Record::Wish(WishRecord { wish, since_ns }));
        }
        if let (Wish::Stop(_), Some(pass), false) = (wish, open, running) {
            tx.push(Record::Pass(PassRecord { state: PassState::Stopped, ..pass }));
        }
        Ok(())
    })
}

/// How scrubs stand, with the coverage within `max_age`, or else within the age that the last pass went by.
pub fn scrub_status(ctx: &Context<'_>, max_age: Option<Duration>) -> Result<ScrubStatus> {
    let snapshot = ctx.ledger.snapshot()?;
    let (pass, wish) = (snapshot.scrub_pass()?, snapshot.scrub_wish()?.wish);
    let now_ns = ctx.ledger.machine.now_ns();
    let age = max_age.or_else(|| pass.and_then(|pass| pass.max_age_ns).map(Duration::from_nanos));
    let open = pass.filter(|pass| pass.state == PassState::Open);
    let (left_blobs, left_bytes) = match open {
        None => (0, 0),
        Some(PassRecord { number, begun, sha256, sample_below, max_age_ns, .. }) => {
            let since_ns = max_age_ns.map(|age| now_ns.saturating_sub(age));
            Order::new(&snapshot, Wanted { begun, sha256, since_ns, now_ns, pass: number, sample_below }).count()?
        }
    };
    Ok(ScrubStatus {
        running: ScrubLock::is_taken(ctx.ledger),
        paused: wish == Wish::Pause,
        pass,
        left_blobs,
        left_bytes,
        findings: count(snapshot.all_findings())? + count(snapshot.all_damaged())?,
        suspects: count(snapshot.all_suspects())?,
        coverage: coverage(ctx, &snapshot, age)?,
    })
}

fn count<T>(rows: impl Iterator<Item = Result<T>>) -> Result<u64> {
    let mut count = 0;
    for row in rows {
        row?;
        count += 1;
    }
    Ok(count)
}
