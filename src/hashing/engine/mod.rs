//! The engine: many files in, their digests out.
//!
//! [`hash_all`] is the one entry. Whoever has files to hash makes them [`Sources`]: a number of them, with the size of
//! each as far as it is known, how to open one, and what to do with its digest. Then, on every thread of the
//! [`Workers`]:
//!
//! * As many files are open at a time as the [`Choice`] has lanes, and their blocks go through the kernel together. The
//!   moment one ends, the next takes its lane, so that a few big files and a hundred thousand small ones both keep every
//!   lane busy. The longest go first, so that no long one is left alone in the end; with one thread they go in the order
//!   that they are given in.
//! * A file that was opened and is not in the cache is set aside while the disk fetches it, and others go before it; of a
//!   large one, what comes next is fetched while it is hashed. So the disk has several requests at any time.
//! * Files that the store owns are mapped where they are large and that is safe; all others are read. Holes are not read.
//! * Where BLAKE3 is wanted too, it is made of the same pieces while they are in the cache: each byte is read once. One
//!   large file alone has its SHA-256 on one thread and its BLAKE3 on another.
//! * What could not be read is an outcome of that file, and the rest goes on. [`Source::advance`] stops everything when
//!   it says no; files that are open then end with `Interrupted`, and the others are not opened.
//!
//! Memory is bounded by the number of lanes, whatever the files. Nothing is kept of a file once its outcome was told.

mod alone;
mod reading;
mod worker;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::choice::Choice;
use super::sealed::Stopped;
use super::workers::Workers;
use crate::machine::{File, Meta};
use crate::vocabulary::{Blake3, Digest};
use worker::Worker;

/// An open file that is to be hashed.
pub trait Source {
    /// The file.
    fn file(&self) -> &dyn File;
    /// What it was when it was opened: it is read up to the size that it had then.
    fn meta(&self) -> &Meta;
    /// Whether it is a sealed file that the store owns, which may be mapped.
    fn is_sealed(&self) -> bool;
    /// Whether its BLAKE3 is wanted as well.
    fn wants_blake3(&self) -> bool;
    /// So many bytes more of it are done. Whether to go on, with everything.
    fn advance(&self, bytes: u64) -> bool;
}

/// What became of a source that was read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashed {
    /// SHA-256.
    pub digest: Digest,
    /// Where it was wanted.
    pub blake3: Option<Blake3>,
    /// Length in bytes.
    pub size_bytes: u64,
}

/// The files that are hashed, each known by its number. Every call may come from any of the threads.
pub trait Sources: Sync {
    /// One of them, while it is open.
    type Source: Source;
    /// Opens one; `None` where there is nothing to hash after all. Each is opened once.
    fn open(&self, index: usize) -> Option<Self::Source>;
    /// How one ended.
    fn done(&self, source: Self::Source, outcome: Result<Hashed, Stopped>);
    /// Whether to go on: asked before one is opened.
    fn goes_on(&self) -> bool;
}

/// Hashes every source, of which each has about so many bytes. Whether all were opened: otherwise it was asked to stop.
pub fn hash_all<S: Sources>(workers: &Workers, sizes: &[u64], sources: &S) -> bool {
    let bytes = sizes.iter().fold(0u64, |sum, size| sum.saturating_add(*size));
    hash_all_by(Choice::for_bytes(bytes), workers, sizes, sources)
}

/// As [`hash_all`], in the way that `choice` says.
pub fn hash_all_by<S: Sources>(choice: &Choice, workers: &Workers, sizes: &[u64], sources: &S) -> bool {
    let queue = Queue::new(sizes, workers.count() > 1);
    let lanes = choice.lanes().min(sizes.len().div_ceil(workers.count())).max(1);
    let hash = || Worker::new(choice, lanes, &queue, sources).run();
    match (workers.count(), sizes) {
        (1, _) | (_, []) => hash(),
        (_, [_]) => alone::hash(workers, &queue, sources),
        _ => workers.each(hash),
    }
    !queue.is_stopped()
}

/// What is to be opened next.
struct Queue {
    order: Vec<usize>,
    next: AtomicUsize,
    stopped: AtomicBool,
}

impl Queue {
    fn new(sizes: &[u64], longest_first: bool) -> Self {
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        if longest_first {
            order.sort_by_key(|index| std::cmp::Reverse(sizes[*index]));
        }
        Queue { order, next: AtomicUsize::new(0), stopped: AtomicBool::new(false) }
    }

    /// The next, unless everything is to stop.
    fn take(&self, sources: &impl Sources) -> Option<usize> {
        if self.next.load(Ordering::Relaxed) >= self.order.len() {
            return None;
        }
        if self.is_stopped() || !sources.goes_on() {
            self.stop();
            return None;
        }
        self.order.get(self.next.fetch_add(1, Ordering::Relaxed)).copied()
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
