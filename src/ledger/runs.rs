//! Runs in the making: written piece by piece, merged on the way, and gone again unless `CURRENT` comes to name them.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::format::current::Current;
use crate::machine::Machine;
use crate::parts::index::{self, Index, Overlay, Run, RunMeta, View, merge, plan_merge};
use crate::vocabulary::Result;

/// Runs over those that are there already, in the order of age. What was written for them is unlinked once
/// it was merged into another one, and when they are dropped and were not kept; whoever has them open may go on reading.
pub(super) struct NewRuns<'a> {
    machine: &'a dyn Machine,
    directory: PathBuf,
    index: Index,
    written: Vec<RunMeta>,
    kept: bool,
}

impl<'a> NewRuns<'a> {
    /// None yet, over those of `index`.
    pub(super) fn over(machine: &'a dyn Machine, directory: &Path, index: &Index) -> Self {
        let index = index.with(index.runs().to_vec());
        NewRuns { machine, directory: directory.to_owned(), index, written: Vec::new(), kept: false }
    }

    /// Writes one more run, the newest, and merges as the plan says; what it is to be merged with at once is never written
    /// without.
    pub(super) fn push(&mut self, overlay: &Overlay) -> Result<()> {
        if overlay.is_empty() {
            return Ok(());
        }
        let end = self.runs().len();
        let planned: Vec<RunMeta> = self.metas().into_iter().chain([index::about(overlay)]).collect();
        let start = plan_merge(&planned).filter(|range| range.end == planned.len()).map_or(end, |range| range.start);
        let (under, merged) = self.runs().split_at(start);
        let meta = index::fold(self.machine, &self.directory, merged, overlay, under)?;
        self.put(meta, start..end)?;
        while let Some(range) = plan_merge(&self.metas()) {
            let (under, merged) = (&self.runs()[..range.start], &self.runs()[range.clone()]);
            let meta = merge(self.machine, &self.directory, merged, under)?;
            self.put(meta, range)?;
        }
        Ok(())
    }

    /// Puts a run that was written in the place of others. Those of them that were written here are of no more use to
    /// anybody, and would take several times the room of what is made: they go at once.
    fn put(&mut self, meta: RunMeta, range: Range<usize>) -> Result<()> {
        self.written.push(meta);
        let run = self.index.open_run(self.machine, &self.directory, &meta)?;
        let mut runs = self.runs().to_vec();
        let merged: Vec<RunMeta> = runs.splice(range, [run]).map(|run| run.meta()).collect();
        self.index = self.index.with(runs);
        let (gone, stay) = self.written.iter().partition(|written| merged.contains(written));
        self.written = stay;
        self.unlink(&gone);
        Ok(())
    }

    fn unlink(&self, runs: &[RunMeta]) {
        for meta in runs {
            let _ = self.machine.unlink(&self.directory.join(meta.id.file_name()));
        }
    }

    /// All of them, oldest first.
    pub(super) fn runs(&self) -> &[Arc<Run>] {
        self.index.runs()
    }

    /// They, opened.
    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    /// What describes them in `CURRENT`.
    pub(super) fn metas(&self) -> Vec<RunMeta> {
        self.runs().iter().map(|run| run.meta()).collect()
    }

    /// A view of them, with nothing over it.
    pub(super) fn view(&self) -> View {
        View::new(Arc::new(self.index.with(self.runs().to_vec())))
    }

    /// Makes `current`, which names them, what `CURRENT` says. Only under `lock`. They stay from the moment at which it
    /// may say so, whatever fails then.
    pub(super) fn install(&mut self, current: &Current) -> Result<()> {
        let replaced = index::replace_current(self.machine, &self.directory, current);
        let seen = index::current(self.machine, &self.directory);
        self.kept = replaced.is_ok() || !matches!(seen, Ok(seen) if seen.as_ref() != Some(current));
        replaced
    }
}

impl Drop for NewRuns<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.unlink(&self.written);
        }
    }
}
