//! Merging: several sorted sources seen as one, the newest entry of every key; and when runs are to be merged.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::cursor::RunCursor;
use super::run::Run;
use super::write::RunWriter;
use crate::format::current::RunMeta;
use crate::machine::Machine;
use crate::vocabulary::limits::RUNS_MAX;
use crate::vocabulary::{Error, Result};

/// A place in sorted entries that moves forward.
pub trait Source {
    /// The key at this place; `None` behind the last entry.
    fn key(&self) -> Option<&[u8]>;
    /// The value at this place; `None` for a tombstone, and behind the last entry.
    fn value(&self) -> Option<&[u8]>;
    /// Moves on by one entry. After an error the source is of no more use.
    fn advance(&mut self) -> Result<()>;
}

/// Several sources as one: of equal keys the entry of the newest source. Holds one place of each.
pub struct Merged<S> {
    /// Oldest first.
    sources: Vec<S>,
    /// The sources at the smallest key, oldest first: the last one has the word.
    least: Vec<usize>,
}

impl<S: Source> Merged<S> {
    /// Merges sources given oldest first.
    pub fn new(sources: Vec<S>) -> Self {
        let mut merged = Merged { sources, least: Vec::new() };
        merged.find_least();
        merged
    }

    fn find_least(&mut self) {
        self.least.clear();
        let mut least: Option<&[u8]> = None;
        for (index, source) in self.sources.iter().enumerate() {
            let Some(key) = source.key() else { continue };
            if least.is_none_or(|least| key < least) {
                least = Some(key);
                self.least.clear();
            }
            if least == Some(key) {
                self.least.push(index);
            }
        }
    }

    fn newest(&self) -> Option<&S> {
        self.least.last().map(|index| &self.sources[*index])
    }
}

impl<S: Source> Source for Merged<S> {
    fn key(&self) -> Option<&[u8]> {
        self.newest().and_then(S::key)
    }

    fn value(&self) -> Option<&[u8]> {
        self.newest().and_then(S::value)
    }

    fn advance(&mut self) -> Result<()> {
        for index in &self.least {
            self.sources[*index].advance()?;
        }
        self.find_least();
        Ok(())
    }
}

/// An entry of a run or of several: a key with a value or (`None`) a tombstone.
pub type Row = (Vec<u8>, Option<Vec<u8>>);

/// The entries of a source as an iterator, tombstones included. Ends behind the first error.
pub struct Rows<S> {
    source: Option<S>,
    error: Option<Error>,
}

impl<S: Source> Rows<S> {
    /// Iterates over `source`, or yields the error why there is none.
    pub fn new(source: Result<S>) -> Self {
        match source {
            Ok(source) => Rows { source: Some(source), error: None },
            Err(error) => Rows { source: None, error: Some(error) },
        }
    }
}

impl<S: Source> Iterator for Rows<S> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.error.take() {
            self.source = None;
            return Some(Err(error));
        }
        let source = self.source.as_mut()?;
        let row = (source.key()?.to_vec(), source.value().map(<[u8]>::to_vec));
        self.error = source.advance().err();
        Some(Ok(row))
    }
}

/// Writes everything in `source` as a new durable run of the index directory `dir`. `records` is an upper bound of its
/// entries. `oldest` says that no older run will be under it, so that tombstones have nothing left to hide and go.
pub fn write_run(
    machine: &dyn Machine,
    dir: &Path,
    mut source: impl Source,
    records: u64,
    oldest: bool,
) -> Result<RunMeta> {
    let mut writer = RunWriter::create(machine, dir, records)?;
    while let Some(key) = source.key() {
        let value = source.value();
        if value.is_some() || !oldest {
            writer.add(key, value)?;
        }
        source.advance()?;
    }
    writer.finish()
}

/// Writes one durable run that stands for neighbouring `runs`, given oldest first. `oldest` as in [`write_run`].
pub fn merge(machine: &dyn Machine, dir: &Path, runs: &[Arc<Run>], oldest: bool) -> Result<RunMeta> {
    let sources = runs.iter().map(RunCursor::all).collect::<Result<Vec<_>>>()?;
    let records = runs.iter().map(|run| run.meta().records).sum();
    write_run(machine, dir, Merged::new(sources), records, oldest)
}

/// Which neighbouring runs (of all, oldest first) to merge into one now, if any; at most [`RUNS_MAX`] are left then.
///
/// Keeps every run at least twice as large as all newer ones together, so that the number of runs and how often a
/// record is written again grow with the logarithm of the size. Where that leaves too many runs, those are merged that
/// are most alike in size: it is the large run among small ones that is written again in vain.
pub fn plan_merge(runs: &[RunMeta]) -> Option<Range<usize>> {
    let start = start_of_merge(runs);
    if start >= RUNS_MAX {
        return most_alike(runs);
    }
    (start + 1 < runs.len()).then_some(start..runs.len())
}

/// The oldest run such that it and every newer one but the newest is smaller than twice all newer than it.
fn start_of_merge(runs: &[RunMeta]) -> usize {
    let Some((newest, older)) = runs.split_last() else { return 0 };
    let mut newer = u128::from(newest.size_bytes).max(1);
    let mut start = older.len();
    for run in older.iter().rev() {
        if u128::from(run.size_bytes) >= 2 * newer {
            break;
        }
        newer += u128::from(run.size_bytes);
        start -= 1;
    }
    start
}

/// Of the ranges that leave few enough runs, the one in which most is written for each byte of its largest run.
fn most_alike(runs: &[RunMeta]) -> Option<Range<usize>> {
    let least = runs.len() + 1 - RUNS_MAX;
    let starts = 0..runs.len();
    let ranges = starts.flat_map(|start| (start + least..=runs.len()).map(move |end| start..end));
    ranges.max_by(|a, b| likeness(&runs[a.clone()]).total_cmp(&likeness(&runs[b.clone()])))
}

fn likeness(runs: &[RunMeta]) -> f64 {
    let sizes = || runs.iter().map(|run| run.size_bytes as f64);
    sizes().sum::<f64>() / sizes().fold(1.0, f64::max)
}
