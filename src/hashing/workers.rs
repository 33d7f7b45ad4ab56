//! The threads that read and hash: as many as asked for, or none beside the caller's own.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::vocabulary::{Error, Result};

/// Runs work on several items at once, or, with one job, in order on the caller's thread.
pub struct Workers {
    pool: Option<rayon::ThreadPool>,
    in_turns: bool,
}

impl Workers {
    /// `jobs` threads; 0 means as many as the machine has cores. One job means the caller's own thread: deterministic.
    pub fn new(jobs: usize) -> Result<Self> {
        let jobs = if jobs == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { jobs };
        if jobs == 1 {
            return Ok(Workers { pool: None, in_turns: false });
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs).thread_name(|i| format!("larder-{i}")).build();
        let pool = pool.map_err(|e| Error::system("start threads", std::io::Error::other(e.to_string())))?;
        Ok(Workers { pool: Some(pool), in_turns: false })
    }

    /// One job, on the caller's thread, in the order in which several might come to do it: of two things that can be done
    /// at once, the later one first. Deterministic, for tests.
    pub fn in_turns() -> Self {
        Workers { pool: None, in_turns: true }
    }

    /// Whether [`Workers::both`] does the second thing before the first one has ended.
    pub fn overlap(&self) -> bool {
        self.pool.is_some() || self.in_turns
    }

    /// Does both, at once where there are several threads, or else in this order.
    pub fn both<A: Send, B>(&self, first: impl FnOnce() -> A + Send, second: impl FnOnce() -> B) -> (A, B) {
        match &self.pool {
            Some(_) => std::thread::scope(|scope| {
                let first = scope.spawn(first);
                let second = second();
                (first.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), second)
            }),
            None if self.in_turns => {
                let second = second();
                (first(), second)
            }
            None => {
                let first = first();
                (first, second())
            }
        }
    }

    /// Lets each thread take items from `next`, and `work` on them, until there are none. In the order of the items.
    pub fn drain<T, R: Send>(
        &self,
        next: impl FnMut() -> Option<T> + Send,
        work: impl Fn(T) -> R + Sync + Send,
    ) -> Vec<R> {
        let Some(pool) = &self.pool else { return std::iter::from_fn(next).map(work).collect() };
        let numbered = Mutex::new((0_usize, next));
        let take = || {
            let (count, next) = &mut *numbered.lock().unwrap_or_else(PoisonError::into_inner);
            let item = next()?;
            *count += 1;
            Some((*count, item))
        };
        let done = pool.broadcast(|_| std::iter::from_fn(take).map(|(at, item)| (at, work(item))).collect::<Vec<_>>());
        let mut done: Vec<(usize, R)> = done.into_iter().flatten().collect();
        done.sort_unstable_by_key(|(at, _)| *at);
        done.into_iter().map(|(_, made)| made).collect()
    }

    /// How many items are worked on at once.
    pub fn count(&self) -> usize {
        self.pool.as_ref().map_or(1, rayon::ThreadPool::current_num_threads)
    }

    /// What `work` makes of each item, in the order of the items.
    pub fn map<T: Send, R: Send>(&self, items: Vec<T>, work: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
        match &self.pool {
            None => items.into_iter().map(work).collect(),
            // One item at a time for each thread: files differ in size by nine orders of magnitude.
            Some(pool) => pool.install(|| items.into_par_iter().with_max_len(1).map(work).collect()),
        }
    }
}
