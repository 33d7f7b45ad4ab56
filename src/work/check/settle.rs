//! Looking again while nobody writes: `lock` is held shared for a moment, so that no frame is appended and no name
//! applied meanwhile.
//!
//! The last frame may be of a writer that died before it was done. What that frame touches is left out: the next writer
//! finishes it. Whether it was finished is what the hint in `lock` tells.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Checker;
use crate::format::hint;
use crate::format::record::{self, Record};
use crate::ledger::{Ledger, Snapshot};
use crate::machine::{File, Lock, Open};
use crate::vocabulary::{Digest, Error, ErrorKind, Name, Result};

/// How often a look is repeated where `lock` cannot be held, until the records stay the same meanwhile.
const TRIES: usize = 8;
/// How long a probe waits before the next.
const PAUSE: Duration = Duration::from_millis(1);

/// A moment in which nobody writes.
pub(super) struct Calm {
    /// The records.
    pub(super) snapshot: Arc<Snapshot>,
    /// What the last frame touches, if it may be unfinished.
    names: BTreeSet<Name>,
    digests: BTreeSet<Digest>,
    /// Whether the last frame may be unfinished.
    pub(super) unfinished: bool,
}

impl Calm {
    /// Whether a name is about to be changed by whoever writes next.
    pub(super) fn touches_name(&self, name: &Name, digest: Option<&Digest>) -> bool {
        self.names.contains(name) || digest.is_some_and(|digest| self.digests.contains(digest))
    }

    /// Whether a blob is.
    pub(super) fn touches_blob(&self, digest: &Digest) -> bool {
        self.digests.contains(digest)
    }
}

impl Checker<'_, '_> {
    /// Does `look` in a moment in which nobody writes, as far as that can be had: where `lock` cannot even be opened, in
    /// one between two equal states of the journal.
    pub(super) fn calmly<R>(&self, look: impl Fn(&Calm) -> Result<R>) -> Result<R> {
        let ledger = self.ctx.ledger;
        let lock = hold_shared(ledger, &ledger.layout.lock())?;
        let synced = lock.as_ref().map_or(0, |lock| synced_hint(lock.as_ref()));
        let mut result = None;
        for _ in 0..if lock.is_some() { 1 } else { TRIES } {
            let snapshot = self.fresh()?;
            let cursor = snapshot.cursor;
            let done = look(&self.calm(snapshot, synced)?)?;
            let same = lock.is_some() || self.fresh()?.cursor == cursor;
            result = Some(done);
            if same {
                break;
            }
        }
        if let Some(lock) = lock {
            let _ = lock.unlock();
        }
        Ok(result.expect("it is looked at least once"))
    }

    fn calm(&self, snapshot: Arc<Snapshot>, synced: u64) -> Result<Calm> {
        let unfinished = snapshot.cursor.last.is_some() && synced < snapshot.cursor.sequence;
        let mut calm = Calm { snapshot, names: BTreeSet::new(), digests: BTreeSet::new(), unfinished };
        if !unfinished {
            return Ok(calm);
        }
        let frame = self.ctx.ledger.journal.frame_before(&calm.snapshot.cursor)?;
        let records = frame.and_then(|frame| record::decode(&frame.payload).ok()).unwrap_or_default();
        for record in &records {
            match record {
                Record::Healed(r) => _ = calm.digests.insert(r.digest),
                Record::Damaged(r) => _ = calm.digests.insert(r.digest),
                Record::Removed(r) => _ = calm.digests.insert(r.digest),
                _ => calm.names.extend(record.touches().cloned()),
            }
        }
        Ok(calm)
    }

    /// The inodes that running work has staged: what has one of them is about to be recorded.
    pub(super) fn staged_by_the_living(&self) -> Result<BTreeSet<u64>> {
        let sessions = &self.ctx.ledger.sessions;
        let mut staged = BTreeSet::new();
        for session in sessions.list()?.iter().filter(|session| session.alive) {
            match sessions.staged_inodes(&session.id) {
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                inodes => staged.extend(inodes?),
            }
        }
        Ok(staged)
    }
}

/// Holds a lock file shared, through a descriptor that only reads; `None` where that cannot be done at all.
/// [`ErrorKind::Busy`] when somebody else holds it for longer than the lock timeout.
pub(super) fn hold_shared(ledger: &Ledger, path: &std::path::Path) -> Result<Option<Box<dyn File>>> {
    let Ok(file) = ledger.machine.open(path, Open::Read) else { return Ok(None) };
    let timeout = u64::try_from(ledger.policy.lock_timeout.as_nanos()).unwrap_or(u64::MAX);
    let deadline = ledger.machine.monotonic_ns().saturating_add(timeout);
    loop {
        match file.try_lock(Lock::Shared) {
            Ok(true) => return Ok(Some(file)),
            Ok(false) if ledger.machine.monotonic_ns() >= deadline => {
                let reason = "another process holds it, longer than the lock timeout";
                return Err(Error::new(ErrorKind::Busy, format!("look while nobody holds {}", path.display()), reason));
            }
            Ok(false) => ledger.machine.pause(PAUSE),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Ok(None),
        }
    }
}

/// The highest sequence that the hint says was synced, and so applied.
pub(super) fn synced_hint(lock: &dyn File) -> u64 {
    let mut bytes = [0; hint::HINT_BYTES];
    match lock.read_at(&mut bytes, hint::SYNCED_AT) {
        Ok(read) => hint::decode(&bytes[..read]).unwrap_or(0),
        Err(_) => 0,
    }
}
