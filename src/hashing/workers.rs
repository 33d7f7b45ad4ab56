//! The threads that read and hash: as many as asked for, or none beside the caller's own.

use rayon::prelude::*;

use crate::vocabulary::{Error, Result};

/// Runs work on several items at once, or, with one job, in order on the caller's thread.
pub struct Workers {
    pool: Option<rayon::ThreadPool>,
}

impl Workers {
    /// `jobs` threads; 0 means as many as the machine has cores. One job means the caller's own thread: deterministic.
    pub fn new(jobs: usize) -> Result<Self> {
        let jobs = if jobs == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { jobs };
        if jobs == 1 {
            return Ok(Workers { pool: None });
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs).thread_name(|i| format!("larder-{i}")).build();
        let pool = pool.map_err(|e| Error::system("start threads", std::io::Error::other(e.to_string())))?;
        Ok(Workers { pool: Some(pool) })
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

    /// Does `work` once on every thread, all at the same time; once on the caller's own where there is one job.
    pub fn each(&self, work: impl Fn() + Sync) {
        match &self.pool {
            None => work(),
            Some(pool) => _ = pool.broadcast(|_| work()),
        }
    }

    /// Does both, at the same time where there are two threads.
    pub fn join<A: Send, B: Send>(&self, one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B + Send) -> (A, B) {
        match &self.pool {
            None => (one(), other()),
            Some(pool) => pool.join(one, other),
        }
    }
}
