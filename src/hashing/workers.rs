//! The threads that read and hash: as many as asked for, or none beside the caller's own.

use std::panic::resume_unwind;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::Builder;

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::vocabulary::Result;

/// Runs work on several items at once, or, with one job, in order on the caller's thread. The threads are started when
/// there is something for them to do: most commands have nothing.
pub struct Workers {
    /// As many as asked for; 0: as many as there are cores.
    jobs: usize,
    in_turns: bool,
    cores: OnceLock<usize>,
    pool: OnceLock<Option<ThreadPool>>,
}

impl Workers {
    /// `jobs` threads; 0 means as many as the machine has cores. One job means the caller's own thread: deterministic.
    /// Where threads cannot be started, the caller's own does all.
    pub fn new(jobs: usize) -> Result<Self> {
        Ok(Workers { jobs, in_turns: false, cores: OnceLock::new(), pool: OnceLock::new() })
    }

    /// One job, on the caller's thread, in the order in which several might come to do it: of two things that can be done
    /// at once, the later one first. Deterministic, for tests.
    pub fn in_turns() -> Self {
        Workers { jobs: 1, in_turns: true, cores: OnceLock::new(), pool: OnceLock::new() }
    }

    /// How many threads are meant.
    fn jobs(&self) -> usize {
        match self.jobs {
            0 => *self.cores.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from)),
            jobs => jobs,
        }
    }

    fn pool(&self) -> Option<&ThreadPool> {
        let start = |jobs| {
            rayon::ThreadPoolBuilder::new().num_threads(jobs).thread_name(|i| format!("larder-{i}")).build().ok()
        };
        match self.jobs() {
            1 => None,
            jobs => self.pool.get_or_init(|| start(jobs)).as_ref(),
        }
    }

    /// Whether [`Workers::both`] does the second thing before the first one has ended.
    pub fn overlap(&self) -> bool {
        self.pool().is_some() || self.in_turns
    }

    /// Does both, at once where there are several threads, or else in this order.
    pub fn both<A: Send, B>(&self, first: impl FnOnce() -> A + Send, second: impl FnOnce() -> B) -> (A, B) {
        match self.pool() {
            Some(_) => {
                let first = Mutex::new(Some(first));
                let run = || {
                    let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
                    first.expect("it is run once")()
                };
                std::thread::scope(|scope| match Builder::new().spawn_scoped(scope, run) {
                    Ok(thread) => {
                        let second = second();
                        (thread.join().unwrap_or_else(|panic| resume_unwind(panic)), second)
                    }
                    // Where no thread can be started, this one does both.
                    Err(_) => (run(), second()),
                })
            }
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
        let Some(pool) = self.pool() else { return std::iter::from_fn(next).map(work).collect() };
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

    /// As [`Workers::map`], on as many threads of its own: for what is done while these are at work.
    pub fn map_apart<T: Send, R: Send>(&self, items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
        if self.count() == 1 || items.len() < 2 {
            return items.into_iter().map(work).collect();
        }
        let numbered = Mutex::new(items.into_iter().enumerate());
        let take = || numbered.lock().unwrap_or_else(PoisonError::into_inner).next();
        let some = || std::iter::from_fn(take).map(|(at, item)| (at, work(item))).collect::<Vec<_>>();
        let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
            // With fewer threads than that it takes longer.
            let threads: Vec<_> =
                (1..self.count()).filter_map(|_| Builder::new().spawn_scoped(scope, some).ok()).collect();
            let mut done = some();
            for thread in threads {
                done.extend(thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            done
        });
        done.sort_unstable_by_key(|(at, _)| *at);
        done.into_iter().map(|(_, made)| made).collect()
    }

    /// How many items are worked on at once.
    pub fn count(&self) -> usize {
        self.jobs()
    }

    /// What `work` makes of each item, in the order of the items.
    pub fn map<T: Send, R: Send>(&self, items: Vec<T>, work: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
        let pool = if items.len() < 2 { None } else { self.pool() };
        match pool {
            None => items.into_iter().map(work).collect(),
            // One item at a time for each thread: files differ in size by nine orders of magnitude.
            Some(pool) => pool.install(|| items.into_par_iter().with_max_len(1).map(work).collect()),
        }
    }

    /// Does `work` once on every thread, all at the same time; once on the caller's own where there is one job.
    pub fn each(&self, work: impl Fn() + Sync) {
        match self.pool() {
            None => work(),
            Some(pool) => _ = pool.broadcast(|_| work()),
        }
    }

    /// Does both, at the same time where there are two threads.
    pub fn join<A: Send, B: Send>(&self, one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B + Send) -> (A, B) {
        match self.pool() {
            None => (one(), other()),
            Some(pool) => pool.join(one, other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_threads_there_are_the_order_is_that_of_the_items() {
        let expected: Vec<u32> = (0..1000).map(|i| i * i).collect();
        for workers in
            [Workers::new(1).unwrap(), Workers::in_turns(), Workers::new(2).unwrap(), Workers::new(5).unwrap()]
        {
            let mut items = 0..1000;
            assert_eq!(workers.drain(|| items.next(), |i: u32| i * i), expected);
            assert_eq!(workers.map((0..1000).collect(), |i: u32| i * i), expected);
            assert_eq!(workers.map_apart((0..1000).collect(), |i: u32| i * i), expected);
            assert_eq!(workers.both(|| 1, || 2), (1, 2));
        }
    }

    /// The threads of a pool may all be at work: what is done meanwhile must not wait for them.
    #[test]
    fn what_is_done_beside_does_not_wait_for_the_threads() {
        let workers = Workers::new(2).unwrap();
        let (to_fill, from_commit) = std::sync::mpsc::channel();
        let from_commit = Mutex::new(from_commit);
        let mut items = 0..2;
        let (done, filled) = workers.both(
            || {
                let done = workers.map_apart(vec![1, 2, 3], |i| i + 1);
                (0..2).for_each(|_| to_fill.send(()).unwrap());
                done
            },
            || workers.drain(|| items.next(), |_| from_commit.lock().unwrap().recv().unwrap()),
        );
        assert_eq!((done, filled.len()), (vec![2, 3, 4], 2));
    }
}
