//! Adding: bytes and names into the store.
//!
//! Sources are staged and hashed in parallel (`stage`), batch by batch; a batch is synced, published and recorded as
//! one (`batch`), and only then told to the observer; what was taken in by link or moved is then settled (`settle`).

mod batch;
mod claims;
mod named;
mod racy;
mod resume;
mod settle;
mod stage;
mod take;
mod walk;

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(in crate::work) use self::batch::Keeping;
use self::batch::{Committed, Outcome, Rules};
pub use self::named::add_named;
pub use self::resume::Checkpoints;
use self::settle::Vouched;
use self::stage::{Staged, Stager};
use self::walk::{Item, Walk, chain};
use super::Context;
use super::spill::spill;
use super::trees::Grove;
use crate::format::session::SessionKind;
use crate::format::settings::Durability;
use crate::ledger::Ledger;
use crate::machine::File;
use crate::parts::sessions::Session;
use crate::vocabulary::events::AddStatus;
use crate::vocabulary::limits::{BATCH_BYTES, BATCH_FILES, BATCH_TIME};
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Digest, Error, ErrorKind, Event, Name, Observer, Result};

/// How an alias is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasKind {
    /// As a file under `names/`, a hardlink to the blob.
    Hardlinked,
    /// In the index alone.
    Counted,
}

/// How the bytes of a source are taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TakeIn {
    /// They are copied (reflinked where the filesystem can); the source is not touched.
    #[default]
    Copy,
    /// The source becomes a hardlink to the blob, read-only like it.
    Link,
    /// As `Link`, and the source's old name goes away after the commit.
    Move,
}

/// How a tree or file is added.
#[derive(Clone, Debug, Default)]
pub struct AddOptions {
    /// The name for the one file that is added; `None` derives it from the path.
    pub name: Option<Name>,
    /// Put before every derived name, with a slash.
    pub prefix: Option<Name>,
    /// How the bytes are taken in.
    pub take_in: TakeIn,
    /// Hash the stored copy of every dedup hit.
    pub verify_existing: bool,
    /// Refuse any other bytes than these.
    pub expect: Option<Digest>,
    /// A name that means other bytes is given these instead.
    pub replace: bool,
    /// How aliases are kept; `None` is the store's setting.
    pub alias: Option<AliasKind>,
    /// How large sources are copied, so that one that was broken off can be gone on with.
    pub checkpoints: Checkpoints,
}

/// What was added, when it is over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddReport {
    /// Files whose bytes are new.
    pub new_files: u64,
    /// Bytes of those.
    pub new_bytes: u64,
    /// Files whose bytes were known.
    pub dedup_files: u64,
    /// Bytes of those, which were not stored again.
    pub dedup_bytes: u64,
    /// Names that already meant these bytes.
    pub unchanged_files: u64,
    /// Bytes of those.
    pub unchanged_bytes: u64,
    /// Damaged blobs put right.
    pub healed_files: u64,
    /// Bytes of those.
    pub healed_bytes: u64,
    /// Sources left out on purpose.
    pub skipped: u64,
    /// Sources that failed.
    pub failed: u64,
    /// Whether it was stopped before its end; what is counted is kept.
    pub interrupted: bool,
}

/// One path that the user named.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file or directory.
    pub path: PathBuf,
}

/// How often a batch is staged again because stored copies that it rested on went away.
const BATCH_TRIES: usize = 8;
/// Files staged between two looks at whether the batch is full.
const CHUNK_FILES: usize = 64;

/// Adds files and trees (R22, R37). Each file is told to `observer` after it and its name are durable as the store promises; what
/// fails is told and counted, and the rest goes on. An error ends it; what was told is kept all the same.
///
/// [`ErrorKind::Mismatch`] when `options.expect` names other bytes: then nothing is kept.
pub fn add(ctx: &Context<'_>, sources: &[Source], options: &AddOptions, observer: &dyn Observer) -> Result<AddReport> {
    if sources.len() != 1 && (options.name.is_some() || options.expect.is_some()) {
        return Err(Error::new(
            ErrorKind::Invalid,
            "add several paths",
            "a name or an expected digest is for one alone",
        ));
    }
    take_all(Adding::begin(ctx, options, observer, None)?, sources).map(|(report, _)| report)
}

/// Adds one file, with `keeping` asked about it in the transaction that keeps it; and what it failed for.
pub(in crate::work) fn add_one(
    ctx: &Context<'_>,
    source: &Path,
    options: &AddOptions,
    observer: &dyn Observer,
    keeping: Arc<dyn Keeping>,
) -> Result<(AddReport, Option<Error>)> {
    let source = Source { path: source.to_owned() };
    take_all(Adding::begin(ctx, options, observer, Some(keeping))?, &[source])
}

fn take_all(mut adding: Adding<'_>, sources: &[Source]) -> Result<(AddReport, Option<Error>)> {
    let (options, observer) = (adding.options, adding.observer);
    let mut walk = Walk::new(adding.ledger().machine.as_ref(), adding.ledger().layout.root(), observer)?;
    for source in sources {
        adding.check_expectable(&source.path)?;
        if let Err(e) = walk.begin(&source.path, options) {
            adding.failed(&source.path, &e);
            continue;
        }
        adding.take(&mut walk)?;
    }
    adding.flush()?;
    adding.report.skipped += walk.skipped;
    adding.report.failed += walk.failed;
    let trouble = adding.trouble.take();
    Ok((adding.finish(), trouble))
}

/// Adds what `input` gives, to its end, under `name`.
pub fn add_stream(
    ctx: &Context<'_>,
    input: &mut (dyn Read + Send),
    name: &Name,
    options: &AddOptions,
    observer: &dyn Observer,
) -> Result<AddReport> {
    let mut adding = Adding::begin(ctx, options, observer, None)?;
    let name = walk::stream_name(name, options)?;
    let item = Item { path: PathBuf::from("-"), name, size_bytes: 0, through_symlink: true };
    let staged = match adding.stager(false)?.stage_stream(&item, input) {
        Err(e) if e.kind() == ErrorKind::Interrupted => {
            adding.report.interrupted = true;
            return Ok(adding.finish());
        }
        other => other.map_err(|e| with_room(ctx.ledger, e))?,
    };
    adding.put(batch::sync_if_each(ctx.ledger, staged)?)?;
    adding.flush()?;
    Ok(adding.finish())
}

/// An addition under way: its session, and the batch that is being filled.
struct Adding<'a> {
    ctx: &'a Context<'a>,
    options: &'a AddOptions,
    observer: &'a dyn Observer,
    session: Arc<Session>,
    stager: Option<Stager<'a>>,
    batch: Vec<Staged>,
    batch_bytes: u64,
    batch_began_ns: u64,
    witness: Option<Box<dyn File>>,
    keeping: Option<Arc<dyn Keeping>>,
    /// The trees of what is hashed, until its batch is acknowledged.
    grove: Arc<Grove>,
    /// What the last source that failed by an error failed for.
    trouble: Option<Error>,
    report: AddReport,
}

impl<'a> Adding<'a> {
    fn begin(
        ctx: &'a Context<'a>,
        options: &'a AddOptions,
        observer: &'a dyn Observer,
        keeping: Option<Arc<dyn Keeping>>,
    ) -> Result<Self> {
        let session = ctx
            .ledger
            .hold(|hold| ctx.ledger.sessions.open(SessionKind::Ingest, hold.snapshot.cursor.sequence, Vec::new()))?;
        Ok(Adding {
            ctx,
            options,
            observer,
            session: Arc::new(session),
            stager: None,
            batch: Vec::new(),
            batch_bytes: 0,
            batch_began_ns: 0,
            witness: None,
            keeping,
            grove: Arc::default(),
            trouble: None,
            report: AddReport::default(),
        })
    }

    fn ledger(&self) -> &'a Ledger {
        self.ctx.ledger
    }

    /// What the sources of the batch are staged with. Made at its beginning: it looks things up in the records as they
    /// are then, and its `syncfs` vouches for what is written from then on.
    fn stager(&mut self, always: bool) -> Result<&Stager<'a>> {
        if self.stager.is_none() {
            self.witness = batch::witness(self.ledger())?;
            self.batch_began_ns = self.ledger().machine.monotonic_ns();
            self.stager = Some(Stager {
                ledger: self.ledger(),
                session: Arc::clone(&self.session),
                snapshot: self.ledger().snapshot()?,
                options: self.options,
                observer: self.observer,
                claims: Default::default(),
                always,
                several_names: Default::default(),
                grove: Arc::clone(&self.grove),
            });
        }
        Ok(self.stager.as_ref().expect("it was just made"))
    }

    /// An expected digest is for one file.
    fn check_expectable(&self, path: &Path) -> Result<()> {
        let is_directory =
            || self.ledger().machine.stat(path).is_ok_and(|m| m.kind == crate::machine::FileKind::Directory);
        if self.options.expect.is_some() && is_directory() {
            return Err(Error::new(ErrorKind::Invalid, "add a directory", "an expected digest is for one file"));
        }
        Ok(())
    }

    /// Takes everything that a walk finds.
    fn take(&mut self, walk: &mut Walk<'_>) -> Result<()> {
        loop {
            if self.observer.cancelled() {
                self.report.interrupted = true;
                return Ok(());
            }
            let mut chunk = Vec::new();
            let mut bytes = 0;
            while chunk.len() < CHUNK_FILES && bytes < BATCH_BYTES {
                let Some(item) = walk.next() else { break };
                bytes += item.size_bytes;
                chunk.push(item);
            }
            if chunk.is_empty() {
                return Ok(());
            }
            self.observer.expect(chunk.len() as u64, bytes);
            self.stage_chunk(chunk)?;
        }
    }

    fn stage_chunk(&mut self, chunk: Vec<Item>) -> Result<()> {
        let workers = self.ctx.workers;
        let stager = self.stager(false)?;
        let stage = |item: &Item| stager.stage(item).and_then(|staged| batch::sync_if_each(stager.ledger, staged));
        let mut staged = workers.map(chunk, |item| {
            let staged = stage(&item);
            (item, staged)
        });
        // Several names of one file that are linked at once change its ctime under each other: one by one they do not.
        for (item, result) in &mut staged {
            if stager.options.take_in != TakeIn::Copy
                && matches!(result, Err(e) if e.kind() == ErrorKind::SourceChanged)
            {
                *result = stage(item);
            }
        }
        let mut fatal = None;
        for (item, staged) in staged {
            match staged {
                Ok(staged) => self.put(staged)?,
                Err(e) if e.kind() == ErrorKind::Interrupted => self.report.interrupted = true,
                Err(e) if e.kind() == ErrorKind::Mismatch || e.kind() == ErrorKind::NoSpace => fatal = Some(e),
                Err(e) => self.failed(&item.path, &e),
            }
        }
        match fatal {
            Some(e) => {
                let batch = std::mem::take(&mut self.batch);
                Err(self.lose(batch, e))
            }
            None => self.flush_if_full(),
        }
    }

    fn put(&mut self, staged: Staged) -> Result<()> {
        self.batch_bytes += staged.digests.size_bytes;
        self.batch.push(staged);
        Ok(())
    }

    fn flush_if_full(&mut self) -> Result<()> {
        let age = self.ledger().machine.monotonic_ns().saturating_sub(self.batch_began_ns);
        let old = u128::from(age) >= BATCH_TIME.as_nanos();
        if self.batch.len() >= BATCH_FILES || self.batch_bytes >= BATCH_BYTES || old { self.flush() } else { Ok(()) }
    }

    /// Commits the batch; what rested on a stored copy that went away is staged and committed again.
    fn flush(&mut self) -> Result<()> {
        let mut batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        for _ in 0..BATCH_TRIES {
            if batch.is_empty() {
                break;
            }
            let committed = self.commit(&batch);
            let committed = match committed {
                Ok(committed) => committed,
                Err(e) => return Err(self.lose(batch, e)),
            };
            let digests: BTreeSet<Digest> = batch.iter().map(|staged| staged.digests.digest).collect();
            batch = self.acknowledge(batch, committed)?;
            self.spill(&digests);
        }
        let busy = Error::new(ErrorKind::Busy, "add it", "its stored copy went away each time it was looked at");
        for staged in batch {
            self.failed(&staged.item.path, &busy);
        }
        self.stager = None;
        Ok(())
    }

    /// Names that found no room for one more link get one. What is kept is kept without it: trouble is only told.
    fn spill(&self, digests: &BTreeSet<Digest>) {
        if let Err(e) = spill(self.ledger(), &|digest| digests.contains(digest)) {
            let text = format!("Some names could not be applied, and are counted meanwhile: {}", chain(&e));
            self.observer.event(&Event::Notice { text });
        }
    }

    fn commit(&mut self, batch: &[Staged]) -> Result<Committed> {
        if planted(Bug::MoveTooEarly) {
            batch.iter().for_each(|staged| _ = self.take_name(staged));
        }
        if self.ledger().policy.durability == Durability::Batch {
            batch::sync_staged(self.ledger(), self.ctx.workers, self.witness.as_deref(), batch)?;
        }
        let hardlinked = self.options.alias.map_or(self.ctx.hardlinked, |kind| kind == AliasKind::Hardlinked);
        let (replace, sources_stay) = (self.options.replace, self.options.take_in != TakeIn::Move);
        let rules = Rules { replace, hardlinked, sources_stay };
        batch::commit(self.ledger(), &self.session, batch, rules, self.keeping.clone())
    }

    /// Nothing of the batch is kept: every source of it failed, and what went wrong is the error of it all.
    fn lose(&mut self, batch: Vec<Staged>, error: Error) -> Error {
        let error = with_room(self.ledger(), error);
        if error.kind() == ErrorKind::OutcomeUnknown {
            self.session.keep();
        }
        for staged in batch {
            if error.kind() != ErrorKind::OutcomeUnknown {
                self.give_back(&staged);
                self.unstage(&staged);
            }
            self.failed(&staged.item.path, &error);
        }
        error
    }

    /// Tells what is kept, lets go of what was staged for it, and gives back what is to be tried again, staged.
    fn acknowledge(&mut self, batch: Vec<Staged>, committed: Committed) -> Result<Vec<Staged>> {
        for text in committed.notices {
            self.observer.event(&Event::Notice { text });
        }
        let mut again = Vec::new();
        let mut vouched = Vouched::by(&batch);
        let mut kept = BTreeSet::new();
        for (staged, outcome) in batch.into_iter().zip(committed.outcomes) {
            match outcome {
                Outcome::Added(status) if self.may_be_traded(&staged, &mut vouched) => {
                    kept.insert(staged.digests.digest);
                    self.added(&staged, status);
                }
                Outcome::Refused(reason) => {
                    self.report.failed += 1;
                    self.observer.event(&Event::Failed { path: staged.item.path.clone(), reason });
                }
                Outcome::Added(_) | Outcome::Again => again.push(staged.item.clone()),
            }
            self.give_back(&staged);
            self.unstage(&staged);
        }
        self.grove.settle(self.ledger(), kept.iter());
        self.restage(again)
    }

    fn restage(&mut self, items: Vec<Item>) -> Result<Vec<Staged>> {
        let mut staged = Vec::new();
        if items.is_empty() {
            return Ok(staged);
        }
        self.stager = None;
        for item in items {
            let ledger = self.ledger();
            match self.stager(true)?.stage(&item).and_then(|staged| batch::sync_if_each(ledger, staged)) {
                Ok(again) => staged.push(again),
                Err(e) => self.failed(&item.path, &e),
            }
        }
        Ok(staged)
    }

    fn added(&mut self, staged: &Staged, status: AddStatus) {
        let size_bytes = staged.digests.size_bytes;
        let (files, bytes) = match status {
            AddStatus::New => (&mut self.report.new_files, &mut self.report.new_bytes),
            AddStatus::Dedup => (&mut self.report.dedup_files, &mut self.report.dedup_bytes),
            AddStatus::Unchanged => (&mut self.report.unchanged_files, &mut self.report.unchanged_bytes),
            AddStatus::Healed => (&mut self.report.healed_files, &mut self.report.healed_bytes),
        };
        *files += 1;
        *bytes += size_bytes;
        let note = self.take_name(staged);
        self.observer.progress(1, 0);
        self.observer.event(&Event::Added {
            name: staged.item.name.clone(),
            digest: staged.digests.digest,
            size_bytes,
            status,
            note,
        });
    }

    fn unstage(&self, staged: &Staged) {
        if let Some((path, _)) = &staged.file
            && self.session.unsave(path).is_ok()
        {
            let _ = self.ledger().machine.unlink(path);
        }
    }

    fn failed(&mut self, path: &Path, error: &Error) {
        self.report.failed += 1;
        self.trouble = Some(error.duplicate());
        self.observer.event(&Event::Failed { path: path.to_owned(), reason: chain(error) });
    }

    fn finish(self) -> AddReport {
        if let Some(trouble) = self.ctx.ledger.take_fold_trouble() {
            let text = format!(
                "The index could not take up what is new, and is tried again with the next change: {}. Nothing is lost.",
                chain(&trouble)
            );
            self.observer.event(&Event::Notice { text });
        }
        self.ctx.ledger.compact_if_due();
        self.report
    }
}

/// Says beside an error for want of room how much there is.
fn with_room(ledger: &Ledger, error: Error) -> Error {
    match ledger.machine.filesystem(&ledger.layout.staging()) {
        Ok(there) if error.kind() == ErrorKind::NoSpace => {
            let inodes = match there.free_inodes {
                u64::MAX => String::new(),
                free => format!(" and {free} inodes"),
            };
            error.because(format!("{} bytes{inodes} are free, with this batch staged", there.free_bytes))
        }
        _ => error,
    }
}
