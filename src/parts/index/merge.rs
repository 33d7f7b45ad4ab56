//! Merging: several runs written as one, and when that is to be done.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::cursor::RunCursor;
use super::overlay::Overlay;
use super::run::Run;
use super::source::{Merged, Source};
use super::view::Cursor;
use super::write::RunWriter;
use crate::format::current::RunMeta;
use crate::format::filter::KeyHash;
use crate::format::run::RunId;
use crate::machine::Machine;
use crate::vocabulary::Result;
use crate::vocabulary::limits::RUNS_MAX;

/// Writes everything in `source` as a new durable run of the index directory `dir`. `records` is an upper bound of its
/// entries. `under` are all runs older than it: a tombstone that hides nothing in any of them goes.
pub fn write_run(
    machine: &dyn Machine,
    dir: &Path,
    mut source: impl Source,
    records: u64,
    under: &[Arc<Run>],
) -> Result<RunMeta> {
    let mut writer = RunWriter::create(machine, dir, records)?;
    while let Some(key) = source.key() {
        let value = source.value();
        if value.is_some() || may_be_in(under, key)? {
            writer.add(key, value)?;
        }
        source.advance()?;
    }
    writer.finish()
}

/// Whether any of `runs` may have a key, as far as can be told without reading its pages.
fn may_be_in(runs: &[Arc<Run>], key: &[u8]) -> Result<bool> {
    let mut having = runs.iter().filter(|run| run.may_have_table(key)).peekable();
    if having.peek().is_none() {
        return Ok(false);
    }
    let hash = KeyHash::of(key);
    for run in having {
        if run.may_hold(&hash)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes one durable run of the index directory `dir` that stands for `runs`, the newest that there are, oldest first,
/// and what lies over them. `under` as in [`write_run`].
pub fn fold(
    machine: &dyn Machine,
    dir: &Path,
    runs: &[Arc<Run>],
    overlay: &Overlay,
    under: &[Arc<Run>],
) -> Result<RunMeta> {
    let over = overlay.seek(&[]);
    let records = overlay.len() as u64 + runs.iter().map(|run| run.meta().records).sum::<u64>();
    if runs.is_empty() {
        return write_run(machine, dir, over, records, under);
    }
    let mut sources = runs.iter().map(|run| RunCursor::all(run).map(Cursor::Run)).collect::<Result<Vec<_>>>()?;
    sources.push(Cursor::Overlay(over));
    write_run(machine, dir, Merged::new(sources), records, under)
}

/// The run that `overlay` would make, about, for [`plan_merge`].
pub fn about(overlay: &Overlay) -> RunMeta {
    RunMeta { id: RunId::from_bytes([0; 8]), size_bytes: overlay.about_bytes(), records: overlay.len() as u64 }
}

/// Writes one durable run that stands for neighbouring `runs`, given oldest first. `under` as in [`write_run`].
pub fn merge(machine: &dyn Machine, dir: &Path, runs: &[Arc<Run>], under: &[Arc<Run>]) -> Result<RunMeta> {
    let sources = runs.iter().map(RunCursor::all).collect::<Result<Vec<_>>>()?;
    let records = runs.iter().map(|run| run.meta().records).sum();
    write_run(machine, dir, Merged::new(sources), records, under)
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
