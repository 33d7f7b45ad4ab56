//! Reading without a trace in the page cache: what was not there before is dropped behind the reader, and what others keep
//! there stays.

use std::cell::{Cell, RefCell};

use crate::machine::File;

/// How finely it is told what was in the cache.
const PIECE_BYTES: u64 = 256 << 10;

/// What of a file was in the cache before it was read.
pub(in crate::work) struct Cache<'a> {
    file: &'a dyn File,
    /// For each piece whether it was there; `None` where nothing is dropped.
    there: RefCell<Option<Vec<bool>>>,
    at: Cell<u64>,
    dropped: Cell<u64>,
}

impl<'a> Cache<'a> {
    /// Looks before reading begins: read-ahead brings in what nobody else has asked for.
    pub(in crate::work) fn of(file: &'a dyn File, spare: bool) -> Self {
        let there = if spare { file.resident(PIECE_BYTES) } else { None };
        let there = there.filter(|pieces| pieces.contains(&false));
        Cache { file, there: RefCell::new(there), at: Cell::new(0), dropped: Cell::new(0) }
    }

    /// So many bytes more were read. The last of them may still be mapped, and what is mapped stays: they are dropped with
    /// those that follow.
    pub(in crate::work) fn passed(&self, bytes: u64) {
        self.drop_up_to(self.at.get() / PIECE_BYTES * PIECE_BYTES);
        self.at.set(self.at.get() + bytes);
    }

    fn drop_up_to(&self, end: u64) {
        let there = self.there.borrow();
        let Some(pieces) = there.as_ref() else { return };
        let mut start = self.dropped.get();
        while start < end {
            let of = |at: u64| pieces.get((at / PIECE_BYTES) as usize).copied().unwrap_or(false);
            let mut stop = start + PIECE_BYTES - start % PIECE_BYTES;
            while stop < end && of(stop) == of(start) {
                stop += PIECE_BYTES;
            }
            if !of(start) {
                self.file.forget(start, stop.min(end) - start);
            }
            start = stop.min(end);
        }
        self.dropped.set(start);
    }
}

impl Drop for Cache<'_> {
    fn drop(&mut self) {
        self.drop_up_to(self.at.get());
        // Read-ahead may have gone on behind what was read to.
        if let Some(pieces) = self.there.borrow().as_ref().filter(|pieces| !pieces.contains(&true)) {
            let end = pieces.len() as u64 * PIECE_BYTES;
            self.file.forget(self.dropped.get(), end.saturating_sub(self.dropped.get()));
        }
    }
}
