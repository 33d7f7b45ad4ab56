//! Filling a batch: files of a walk, staged by all threads at once, in the order of the walk.

use super::batch::sync_if_each;
use super::stage::Staged;
use super::turns::Batch;
use super::walk::{Item, Walk};
use super::{Adding, TakeIn};
use crate::vocabulary::limits::{GROUP_BYTES, GROUP_FILES};
use crate::vocabulary::{Error, ErrorKind, Result};

/// What a batch that is being filled was given so far, and why it is given no more.
struct Given {
    files: usize,
    bytes: u64,
    /// Whether the walk has more.
    goes_on: bool,
    interrupted: bool,
}

impl<'a> Adding<'a> {
    /// Stages files until the batch is full or there are no more; whether there may be more. An error means that nothing
    /// of the batch is kept.
    pub(super) fn fill(
        &self,
        walk: &mut Walk<'a>,
        more: &mut (dyn FnMut(&mut Walk<'a>) -> bool + Send),
        batch: &mut Batch<'a>,
    ) -> Result<bool> {
        let mut given = Given { files: 0, bytes: 0, goes_on: true, interrupted: false };
        let (stager, began_ns) = (&batch.stager, batch.began_ns);
        let fatal = std::sync::atomic::AtomicBool::new(false);
        let next = || {
            if fatal.load(std::sync::atomic::Ordering::Relaxed) {
                return None;
            }
            self.group(walk, more, began_ns, &mut given)
        };
        let stage = |item: &Item| stager.stage(item).and_then(|staged| sync_if_each(stager.ledger, staged));
        let groups = self.ctx.workers.drain(next, |group: Vec<Item>| {
            let synced = |(item, staged): (Item, Result<Staged>)| {
                (item, staged.and_then(|staged| sync_if_each(stager.ledger, staged)))
            };
            let done: Vec<_> = stager.stage_group(group).into_iter().map(synced).collect();
            if done.iter().any(|(_, staged)| staged.as_ref().is_err_and(is_fatal)) {
                fatal.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            done
        });
        let mut staged: Vec<_> = groups.into_iter().flatten().collect();
        // Several names of one file that are linked at once change its ctime under each other: one by one they do not.
        for (item, result) in &mut staged {
            if self.options.take_in != TakeIn::Copy && matches!(result, Err(e) if e.kind() == ErrorKind::SourceChanged)
            {
                *result = stage(item);
            }
        }
        let mut trouble = None;
        for (item, staged) in staged {
            match staged {
                Ok(staged) => batch.put(staged),
                Err(e) if e.kind() == ErrorKind::Interrupted => given.interrupted = true,
                Err(e) if is_fatal(&e) => trouble = Some(e),
                Err(e) => self.failed(&item.path, &e),
            }
        }
        self.tally().report.interrupted |= given.interrupted;
        trouble.map_or(Ok(given.goes_on && !given.interrupted), Err)
    }

    /// The next files of the walk, for one thread; `None` where the batch is full, the walk at its end, or it was asked
    /// to stop.
    fn group(
        &self,
        walk: &mut Walk<'a>,
        more: &mut (dyn FnMut(&mut Walk<'a>) -> bool + Send),
        began_ns: u64,
        given: &mut Given,
    ) -> Option<Vec<Item>> {
        if self.observer.cancelled() {
            given.interrupted = true;
            return None;
        }
        let limits = self.options.batches;
        let age = self.ledger().machine.monotonic_ns().saturating_sub(began_ns);
        // Each thread has a file, however large.
        let enough = given.bytes >= limits.bytes && given.files >= self.ctx.workers.count();
        if enough || (given.files > 0 && u128::from(age) >= limits.time.as_nanos()) {
            return None;
        }
        let most = GROUP_FILES.min(limits.files.max(1) - given.files);
        let (mut group, mut bytes) = (Vec::new(), 0);
        while group.len() < most && bytes < GROUP_BYTES {
            match walk.next() {
                Some(item) => {
                    bytes += item.size_bytes;
                    group.push(item);
                }
                None if more(walk) => {}
                None => {
                    given.goes_on = false;
                    break;
                }
            }
        }
        if group.is_empty() {
            return None;
        }
        given.files += group.len();
        given.bytes += bytes;
        self.observer.expect(group.len() as u64, bytes);
        Some(group)
    }
}

/// Whether a source that fails so ends it all.
fn is_fatal(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::Mismatch | ErrorKind::NoSpace)
}
