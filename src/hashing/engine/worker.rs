//! One thread of the engine: its lanes, and what waits for the disk.

use std::collections::VecDeque;
use std::io;

use super::reading::{Buffer, Loaded, Reading, buffer};
use super::{Queue, Source, Sources};
use crate::hashing::choice::Choice;
use crate::hashing::sealed::Stopped;
use crate::hashing::stream::{Stream, advance};
use crate::vocabulary::limits::READ_AHEAD_FILES;

pub(super) struct Worker<'a, S: Sources> {
    choice: &'a Choice,
    lanes: usize,
    queue: &'a Queue,
    sources: &'a S,
    readings: Vec<Reading<S::Source>>,
    /// What is opened and not in the cache yet.
    waiting: VecDeque<Reading<S::Source>>,
    buffers: Vec<Buffer>,
}

impl<'a, S: Sources> Worker<'a, S> {
    pub(super) fn new(choice: &'a Choice, lanes: usize, queue: &'a Queue, sources: &'a S) -> Self {
        let (readings, waiting, buffers) = (Vec::with_capacity(lanes), VecDeque::new(), Vec::new());
        Worker { choice, lanes, queue, sources, readings, waiting, buffers }
    }

    /// As [`Worker::run`], with a source that is open already.
    pub(super) fn run_with(mut self, source: S::Source) {
        let mut reading = Reading::new(source);
        reading.lend(buffer());
        match reading.load(true) {
            Ok(_) => self.readings.push(reading),
            Err(stopped) => self.end(reading, Some(stopped)),
        }
        self.run();
    }

    pub(super) fn run(mut self) {
        loop {
            while self.readings.len() < self.lanes
                && let Some(reading) = self.next()
            {
                self.readings.push(reading);
            }
            if self.readings.is_empty() {
                return;
            }
            advance(self.choice, &mut self.readings);
            for at in (0..self.readings.len()).rev() {
                if self.readings[at].blocks().is_empty() {
                    self.go_on_with(at);
                }
            }
        }
    }

    /// Sees to the next piece of a reading whose blocks are all taken, or to its end.
    fn go_on_with(&mut self, at: usize) {
        let stopped = || Stopped { offset: 0, error: io::ErrorKind::Interrupted.into() };
        let loaded = if self.queue.is_stopped() { Err(stopped()) } else { self.readings[at].load(true) };
        match loaded {
            Ok(Loaded::More | Loaded::Later) => {}
            Ok(Loaded::End) => {
                let reading = self.readings.swap_remove(at);
                self.end(reading, None);
            }
            Err(stopped) => {
                let reading = self.readings.swap_remove(at);
                self.end(reading, Some(stopped));
            }
        }
    }

    /// A reading with blocks at hand: one that the disk was waited for, or another from the queue.
    fn next(&mut self) -> Option<Reading<S::Source>> {
        loop {
            let fresh = (self.waiting.len() < READ_AHEAD_FILES).then(|| self.queue.take(self.sources)).flatten();
            let (mut reading, wait) = match fresh {
                Some(index) => {
                    let Some(source) = self.sources.open(index) else { continue };
                    (Reading::new(source), false)
                }
                None => (self.waiting.pop_front()?, true),
            };
            reading.lend(self.buffers.pop().unwrap_or_else(buffer));
            match reading.load(wait) {
                Ok(Loaded::More) => return Some(reading),
                Ok(Loaded::Later) => {
                    self.buffers.extend(reading.give_back());
                    self.waiting.push_back(reading);
                }
                Ok(Loaded::End) => self.end(reading, None),
                Err(stopped) => self.end(reading, Some(stopped)),
            }
        }
    }

    fn end(&mut self, mut reading: Reading<S::Source>, stopped: Option<Stopped>) {
        self.buffers.extend(reading.give_back());
        if stopped.as_ref().is_some_and(|stopped| stopped.error.kind() == io::ErrorKind::Interrupted) {
            self.queue.stop();
        }
        let (source, hashed) = reading.finish();
        debug_assert!(source.meta().size_bytes == hashed.size_bytes || stopped.is_some());
        self.sources.done(source, stopped.map_or(Ok(hashed), Err));
    }
}
