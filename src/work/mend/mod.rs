//! Mending what a check has found: planned from its findings, then done in the order in which one rests on the other.
//!
//! What changes the records goes through transactions, so whatever crashes on the way, the next run goes on. Nothing is
//! removed that holds bytes which nobody else has: bad bytes go to quarantine, and somebody else's files are left alone.
//! While anything could not be mended, the fence stays.

mod blobs;
mod carriers;
mod departed;
mod former;
mod journal;
mod names;
mod staging;
mod trees;

use std::cell::OnceCell;
use std::collections::BTreeMap;

use super::Context;
use super::check::{self, CheckReport};
use super::links::Evidence;
use crate::vocabulary::finding::Mend;
use crate::vocabulary::{Event, Finding, FindingCode, Observer, Result};

/// Findings dealt with in one transaction.
const BATCH: usize = 256;
/// How often what is left is looked at and mended again: mending one thing may show another.
const ROUNDS: usize = 3;

/// The note of the pin that a blob gets whose names may have been lost with a damaged stretch of the journal.
pub const PIN_NOTE: &str = "kept by repair: its names may have been lost in a damaged stretch of the journal";

/// What would be mended, and what would not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MendPlan {
    /// Findings that a repair deals with.
    pub mendable: Vec<Finding>,
    /// Findings that it leaves alone.
    pub left: Vec<Finding>,
    /// The check that the plan is made from.
    pub check: CheckReport,
}

/// What was mended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MendReport {
    /// Findings dealt with.
    pub mended: u64,
    /// How many of each kind.
    pub by_code: BTreeMap<FindingCode, u64>,
    /// Findings that could not be mended; each was told.
    pub failed: u64,
    /// Blobs that were pinned since their names may be lost.
    pub pinned: u64,
    /// Names that were matched with their blobs by their bytes, since the journal may have lost them.
    pub matched: u64,
    /// Fences that were lifted.
    pub lifted: u64,
    /// What the check after it found.
    pub after: CheckReport,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

/// What a repair would do now. Changes nothing.
pub fn plan(ctx: &Context<'_>, observer: &dyn Observer) -> Result<MendPlan> {
    let mut plan = MendPlan::default();
    let (mendable, left) = (&mut plan.mendable, &mut plan.left);
    plan.check = check::findings(ctx, observer, &mut |finding| {
        let of = if finding.code.mend() == Mend::Repair { &mut *mendable } else { &mut *left };
        of.push(finding);
        Ok(())
    })?;
    Ok(plan)
}

/// What is done about a finding, in words.
pub fn how(code: FindingCode) -> &'static str {
    match code {
        FindingCode::JournalDamage | FindingCode::JournalFenced | FindingCode::BaseBad => {
            "write a base of everything that is known, keep the damaged files in quarantine, and lift the fence"
        }
        FindingCode::JournalTorn => "cut it, and keep it in quarantine",
        FindingCode::JournalUnfinished | FindingCode::RunUnnamed | FindingCode::TreeOrphan => "remove it",
        FindingCode::IndexBad | FindingCode::IndexDisagrees => "make the index anew from the journal",
        FindingCode::BlobMissing => {
            "link it back from one of its names, or else mark it damaged; forget it if nothing keeps it"
        }
        FindingCode::BlobSize | FindingCode::BlobStamp => "hash it: record its stamp, or mark it damaged",
        FindingCode::BlobMode => "set its mode",
        FindingCode::BlobUnlisted => "begin its grace",
        FindingCode::Orphan => "hash it: take it in, or move it to quarantine",
        FindingCode::CarrierMissing => "forget it",
        FindingCode::CarrierStamp | FindingCode::CarrierOrphan => "hash it, and record it if it is a copy of the blob",
        FindingCode::AliasDangling => "take the blob in, or mark it damaged",
        FindingCode::NameMissing | FindingCode::NameUnapplied => "link it again",
        FindingCode::NameWrongInode => "link it again if the file is read-only and has the blob's bytes",
        FindingCode::NameUnrecorded => "put the name on record",
        FindingCode::NameDeparted => "take its file away; what only it holds becomes a blob again, in its grace",
        FindingCode::StagingStale => "empty it",
        FindingCode::StagingAside => "remove it if it is a link of something that is kept",
        FindingCode::DirectoryMissing => "make it",
        FindingCode::BlobDamaged => "add its bytes again",
        FindingCode::BlobKind | FindingCode::NameForeign | FindingCode::FileMissing | FindingCode::Unreadable => {
            "look at it"
        }
    }
}

/// Mends what a check finds, looks again, and goes on while that shows more. Tells [`Event::Mended`] for each thing that
/// was dealt with, [`Event::Failed`] for what could not be, and at last [`Event::Found`] for what is still wrong.
pub fn mend(ctx: &Context<'_>, observer: &dyn Observer) -> Result<MendReport> {
    let mut report = MendReport::default();
    for _ in 0..ROUNDS {
        let plan = plan(ctx, observer)?;
        if plan.check.interrupted || plan.mendable.is_empty() {
            break;
        }
        let before = report.failed;
        execute(ctx, &plan, observer, &mut report)?;
        if report.interrupted || report.failed > before {
            break;
        }
    }
    report.after = check::check(ctx, observer)?;
    report.interrupted |= report.after.interrupted;
    Ok(report)
}

/// Does what a plan says.
fn execute(ctx: &Context<'_>, plan: &MendPlan, observer: &dyn Observer, report: &mut MendReport) -> Result<()> {
    let evidence = OnceCell::new();
    let mut mender = Mender { ctx: *ctx, plan, observer, report, evidence, lossy: false, failed: false };
    mender.layout()?;
    mender.fence()?;
    mender.blobs()?;
    mender.carriers()?;
    mender.trees()?;
    mender.names()?;
    mender.staging()?;
    mender.unfence()
}

struct Mender<'a> {
    ctx: Context<'a>,
    plan: &'a MendPlan,
    observer: &'a dyn Observer,
    report: &'a mut MendReport,
    /// What is in quarantine, read when it is first asked for: after blobs and carriers have been dealt with.
    evidence: OnceCell<Evidence>,
    /// Whether names may be lost that nothing on the disk tells of.
    lossy: bool,
    /// Whether anything could not be mended, in this round.
    failed: bool,
}

impl<'a> Mender<'a> {
    /// The findings of these kinds.
    fn of(&self, codes: &[FindingCode]) -> Vec<&'a Finding> {
        self.plan.mendable.iter().filter(|finding| codes.contains(&finding.code)).collect()
    }

    fn evidence(&self) -> Result<&Evidence> {
        if self.evidence.get().is_none() {
            let _ = self.evidence.set(Evidence::read(self.ctx.ledger)?);
        }
        Ok(self.evidence.get().expect("it was just read"))
    }

    fn goes_on(&mut self) -> bool {
        self.report.interrupted |= self.observer.cancelled();
        !self.report.interrupted
    }

    fn mended(&mut self, finding: &Finding) {
        self.report.mended += 1;
        *self.report.by_code.entry(finding.code).or_default() += 1;
        let how = how(finding.code);
        self.observer.event(&Event::Mended { finding: finding.clone(), how, planned: false });
    }

    fn failed(&mut self, finding: &Finding, reason: String) {
        self.failed = true;
        self.report.failed += 1;
        let path = if finding.path.as_os_str().is_empty() { "the store".into() } else { finding.path.clone() };
        self.observer.event(&Event::Failed { path, reason: format!("{}: {reason}", finding.code.word()) });
    }

    /// Tells how it went with one finding. What went wrong with it is no reason to leave the others, unless it is the
    /// store that takes no more.
    fn told(&mut self, finding: &Finding, done: Result<Result<(), String>>) -> Result<()> {
        match done {
            Ok(Ok(())) => self.mended(finding),
            Ok(Err(reason)) => self.failed(finding, reason),
            Err(e) if is_the_store(&e) => return Err(e),
            Err(e) => self.failed(finding, super::blob::in_full(&e)),
        }
        Ok(())
    }

    fn layout(&mut self) -> Result<()> {
        let ledger = self.ctx.ledger;
        for finding in self.of(&[FindingCode::DirectoryMissing]) {
            let path = ledger.layout.root().join(&finding.path);
            let made = ledger.machine.create_dir(&path, ledger.policy.directory_mode).map_err(|e| e.to_string());
            let synced = made.and_then(|()| self.sync_above(&path).map_err(|e| e.to_string()));
            self.told(finding, Ok(synced))?;
        }
        Ok(())
    }

    fn sync_above(&self, path: &std::path::Path) -> std::io::Result<()> {
        let machine = self.ctx.ledger.machine.as_ref();
        machine.open(path.parent().unwrap_or(path), crate::machine::Open::Directory)?.sync()
    }
}

/// Whether nothing more can be written, whatever else there is to mend.
fn is_the_store(error: &crate::vocabulary::Error) -> bool {
    use crate::vocabulary::ErrorKind::{Busy, Interrupted, NoSpace, NotKept, OutcomeUnknown, ReadOnly, Unsupported};
    matches!(error.kind(), Busy | Interrupted | NoSpace | NotKept | OutcomeUnknown | ReadOnly | Unsupported)
}
