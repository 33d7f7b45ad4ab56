//! Runs in the making: written piece by piece, merged on the way, and gone again unless `CURRENT` comes to name them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::format::current::Current;
use crate::machine::Machine;
use crate::parts::index::{self, Index, Overlay, Run, RunMeta, View, merge, plan_merge, write_run};
use crate::vocabulary::Result;

/// Runs over those that are there already, in the order of age. What was written for them and is not kept is unlinked
/// when they are dropped; whoever has them open may go on reading.
pub(super) struct NewRuns<'a> {
    machine: &'a dyn Machine,
    directory: PathBuf,
    runs: Vec<Arc<Run>>,
    written: Vec<RunMeta>,
    kept: bool,
}

impl<'a> NewRuns<'a> {
    /// None yet, over `runs`.
    pub(super) fn over(machine: &'a dyn Machine, directory: &Path, runs: Vec<Arc<Run>>) -> Self {
        NewRuns { machine, directory: directory.to_owned(), runs, written: Vec::new(), kept: false }
    }

    /// Writes one more run, the newest, and merges as the plan says.
    pub(super) fn push(&mut self, overlay: &Overlay) -> Result<()> {
        if overlay.is_empty() {
            return Ok(());
        }
        let rows = overlay.seek(&[]);
        let meta = write_run(self.machine, &self.directory, rows, overlay.len() as u64, self.runs.is_empty())?;
        let run = self.open(meta)?;
        self.runs.push(run);
        while let Some(range) = plan_merge(&self.metas()) {
            let meta = merge(self.machine, &self.directory, &self.runs[range.clone()], range.start == 0)?;
            let run = self.open(meta)?;
            self.runs.splice(range, [run]);
        }
        Ok(())
    }

    fn open(&mut self, meta: RunMeta) -> Result<Arc<Run>> {
        self.written.push(meta);
        Run::open(self.machine, &self.directory, &meta).map(Arc::new)
    }

    /// All of them, oldest first.
    pub(super) fn runs(&self) -> &[Arc<Run>] {
        &self.runs
    }

    /// What describes them in `CURRENT`.
    pub(super) fn metas(&self) -> Vec<RunMeta> {
        self.runs.iter().map(|run| run.meta()).collect()
    }

    /// A view of them, with nothing over it.
    pub(super) fn view(&self) -> View {
        View::new(Arc::new(Index::of(self.runs.clone())))
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
            for meta in &self.written {
                let _ = self.machine.unlink(&self.directory.join(meta.id.file_name()));
            }
        }
    }
}
