//! Checking the structure: journal, index, blobs, names and staging compared, without reading a blob's bytes.
//!
//! Everything is walked in order beside the records of one snapshot, in bounded memory and without any lock. Whatever
//! looks wrong there is only a suspicion: it is looked at again against fresh records while nobody writes (`settle.rs`),
//! and told if it is still so. So work that goes on meanwhile never makes a finding.

mod agree;
mod blobs;
mod carriers;
mod index;
mod journal;
mod names;
mod said;
mod settle;
mod staging;
mod trees;
pub(crate) mod walk;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Context;
use crate::format::layout::DIRECTORIES;
use crate::ledger::Snapshot;
use crate::machine::{FileKind, Meta};
use crate::vocabulary::{Error, ErrorKind, Event, Finding, FindingCode, Observer, Result};

/// Things looked at between two questions whether to stop, and suspicions looked at again under one hold.
const CHUNK: usize = 512;

/// Rows between two looks whether to stop.
const ROWS_BETWEEN: usize = 4096;

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Blobs on record.
    pub blobs: u64,
    /// Names on record.
    pub names: u64,
    /// Frames of the journal, from the base on.
    pub frames: u64,
    /// Things that are wrong.
    pub findings: u64,
    /// How many of each kind.
    pub by_code: BTreeMap<FindingCode, u64>,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

/// Takes findings as they are made.
pub(super) type Sink<'a> = dyn FnMut(Finding) -> Result<()> + 'a;

/// Checks the whole store and tells one [`Event::Found`] for each thing that is wrong. Changes nothing, works on a store
/// that can only be read, and beside others who write: what they are about to do is no finding.
///
/// An error is what kept it from coming to its end; damage is no error.
pub fn check(ctx: &Context<'_>, observer: &dyn Observer) -> Result<CheckReport> {
    findings(ctx, observer, &mut |finding| {
        observer.event(&Event::Found(finding));
        Ok(())
    })
}

/// Checks, and gives what is found to `sink`.
pub(super) fn findings(ctx: &Context<'_>, observer: &dyn Observer, sink: &mut Sink<'_>) -> Result<CheckReport> {
    let mut checker = Checker {
        ctx: *ctx,
        looker: Looker { ctx: *ctx },
        observer,
        index_is_bad: false,
        journal_is_damaged: false,
        report: CheckReport::default(),
        sink,
    };
    match checker.all() {
        // Long reading ends by this error.
        Err(e) if e.kind() == ErrorKind::Interrupted && observer.cancelled() => checker.report.interrupted = true,
        done => done?,
    }
    Ok(checker.report)
}

/// Whoever looks at one thing.
#[derive(Clone, Copy)]
struct Looker<'a> {
    ctx: Context<'a>,
}

struct Checker<'a, 's> {
    ctx: Context<'a>,
    looker: Looker<'a>,
    observer: &'a dyn Observer,
    /// Then everything is read from the journal.
    index_is_bad: bool,
    journal_is_damaged: bool,
    report: CheckReport,
    sink: &'a mut Sink<'s>,
}

impl Checker<'_, '_> {
    fn all(&mut self) -> Result<()> {
        self.layout()?;
        self.journal()?;
        self.index()?;
        self.blobs()?;
        self.carriers()?;
        self.trees()?;
        self.names()?;
        self.staging()
    }

    fn found(&mut self, finding: Finding) -> Result<()> {
        self.report.findings += 1;
        *self.report.by_code.entry(finding.code).or_default() += 1;
        (self.sink)(finding)
    }

    /// Whether to go on.
    fn goes_on(&mut self) -> bool {
        self.report.interrupted |= self.observer.cancelled();
        !self.report.interrupted
    }

    /// The same, for what reads on and on: [`ErrorKind::Interrupted`] once it is to stop.
    fn unless_stopped(&self) -> Result<()> {
        if !self.observer.cancelled() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Interrupted, "check the store", "asked to stop"))
    }

    /// The records as they are now.
    fn fresh(&self) -> Result<Arc<Snapshot>> {
        let ledger = self.ctx.ledger;
        if self.index_is_bad { ledger.snapshot_from_journal().map(Arc::new) } else { ledger.snapshot() }
    }

    /// What `init` makes.
    fn layout(&mut self) -> Result<()> {
        let layout = &self.ctx.ledger.layout;
        let named = DIRECTORIES.iter().filter(|name| **name != "index").map(|name| layout.root().join(name));
        for path in named.chain((0..=255).map(|first| layout.blob_dir(first))) {
            self.is_there(&path, FileKind::Directory, FindingCode::DirectoryMissing)?;
        }
        for path in [layout.lock(), layout.compaction(), layout.reserve()] {
            self.is_there(&path, FileKind::File, FindingCode::FileMissing)?;
        }
        Ok(())
    }

    fn is_there(&mut self, path: &Path, kind: FileKind, code: FindingCode) -> Result<()> {
        match self.looker.look(path) {
            Ok(Some(meta)) if meta.kind == kind => Ok(()),
            Ok(there) => {
                let detail = if there.is_some() { "something else stands in its place" } else { "it is not there" };
                self.found(Finding::at(code, self.looker.short(path), detail))
            }
            Err(unreadable) => self.found(unreadable),
        }
    }
}

impl Looker<'_> {
    /// What stands at a path: nothing is `None`, and what cannot be looked at a finding.
    fn look(&self, path: &Path) -> Result<Option<Meta>, Finding> {
        match self.ctx.ledger.machine.lstat(path) {
            Ok(meta) => Ok(Some(meta)),
            Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(Finding::at(FindingCode::Unreadable, self.short(path), e.to_string())),
        }
    }

    /// A path as it is told: below the store directory.
    fn short(&self, path: &Path) -> PathBuf {
        path.strip_prefix(self.ctx.ledger.layout.root()).unwrap_or(path).to_owned()
    }
}
