//! Reading without a trace in the page cache: what was not there before is dropped behind the reader, and what others keep
//! there stays.

use std::ops::{Deref, Range};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::machine::File;

/// How finely it is told what was in the cache.
const PIECE_BYTES: u64 = 256 << 10;

/// A file, and what of it was in the cache before it was read. Read either in order, by one thread, or by ranges, by any.
pub(in crate::work) struct Cache<F: Deref<Target: File>> {
    file: F,
    /// For each piece whether it was there; `None` where nothing is dropped.
    there: Option<Vec<bool>>,
    at: AtomicU64,
    dropped: AtomicU64,
}

impl<F: Deref<Target: File>> Cache<F> {
    /// Looks before reading begins: read-ahead brings in what nobody else has asked for.
    pub(in crate::work) fn of(file: F, spare: bool) -> Self {
        let there = if spare { file.resident(PIECE_BYTES) } else { None };
        let there = there.filter(|pieces| pieces.contains(&false));
        Cache { file, there, at: AtomicU64::new(0), dropped: AtomicU64::new(0) }
    }

    pub(in crate::work) fn file(&self) -> &F::Target {
        &self.file
    }

    /// So many bytes more were read. The last of them may still be mapped, and what is mapped stays: they are dropped with
    /// those that follow.
    pub(in crate::work) fn passed(&self, bytes: u64) {
        let at = self.at.load(Relaxed);
        self.drop_up_to(at / PIECE_BYTES * PIECE_BYTES);
        self.at.store(at + bytes, Relaxed);
    }

    /// A range was read, and is mapped no more.
    pub(in crate::work) fn passed_range(&self, range: Range<u64>) {
        let Some(pieces) = self.there.as_ref() else { return };
        let of = |at: u64| pieces.get((at / PIECE_BYTES) as usize).copied().unwrap_or(false);
        let mut start = range.start;
        while start < range.end {
            let mut stop = start + PIECE_BYTES - start % PIECE_BYTES;
            while stop < range.end && of(stop) == of(start) {
                stop += PIECE_BYTES;
            }
            if !of(start) {
                self.file.forget(start, stop.min(range.end) - start);
            }
            start = stop;
        }
    }

    fn drop_up_to(&self, end: u64) {
        let start = self.dropped.load(Relaxed);
        if start < end {
            self.passed_range(start..end);
            self.dropped.store(end, Relaxed);
        }
    }
}

impl<F: Deref<Target: File>> Drop for Cache<F> {
    fn drop(&mut self) {
        self.drop_up_to(self.at.load(Relaxed));
        // Read-ahead may have gone on behind what was read to.
        if let Some(pieces) = self.there.as_ref().filter(|pieces| !pieces.contains(&true)) {
            let (from, end) = (self.dropped.load(Relaxed), pieces.len() as u64 * PIECE_BYTES);
            self.file.forget(from, end.saturating_sub(from));
        }
    }
}
