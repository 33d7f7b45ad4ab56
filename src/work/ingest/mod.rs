//! Adding: bytes and names into the store.
//!
//! Sources are staged and hashed in parallel (`stage`), batch by batch; a batch is synced, published and recorded as
//! one (`batch`), and only then told to the observer.

mod batch;
mod stage;
mod walk;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::batch::{Committed, Outcome, Rules};
use self::stage::{Staged, Stager, unchanged};
use self::walk::{Item, Walk, chain};
use super::Context;
use crate::format::session::SessionKind;
use crate::format::settings::Durability;
use crate::ledger::Ledger;
use crate::machine::File;
use crate::parts::sessions::Session;
use crate::vocabulary::events::AddStatus;
use crate::vocabulary::limits::{BATCH_BYTES, BATCH_FILES, BATCH_TIME};
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
    let mut adding = Adding::begin(ctx, options, observer)?;
    let mut walk = Walk::new(ctx.ledger.machine.as_ref(), ctx.ledger.layout.root(), observer)?;
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
    Ok(adding.finish())
}

/// Adds what `input` gives, to its end, under `name`.
pub fn add_stream(
    ctx: &Context<'_>,
    input: &mut (dyn Read + Send),
    name: &Name,
    options: &AddOptions,
    observer: &dyn Observer,
) -> Result<AddReport> {
    let mut adding = Adding::begin(ctx, options, observer)?;
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
    report: AddReport,
}

impl<'a> Adding<'a> {
    fn begin(ctx: &'a Context<'a>, options: &'a AddOptions, observer: &'a dyn Observer) -> Result<Self> {
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
            batch = self.acknowledge(batch, committed)?;
        }
        let busy = Error::new(ErrorKind::Busy, "add it", "its stored copy went away each time it was looked at");
        for staged in batch {
            self.failed(&staged.item.path, &busy);
        }
        self.stager = None;
        Ok(())
    }

    fn commit(&mut self, batch: &[Staged]) -> Result<Committed> {
        if self.ledger().policy.durability == Durability::Batch {
            batch::sync_staged(self.ledger(), self.ctx.workers, self.witness.as_deref(), batch)?;
        }
        let hardlinked = self.options.alias.map_or(self.ctx.hardlinked, |kind| kind == AliasKind::Hardlinked);
        let (replace, sources_stay) = (self.options.replace, self.options.take_in != TakeIn::Move);
        batch::commit(self.ledger(), &self.session, batch, Rules { replace, hardlinked, sources_stay })
    }

    /// Nothing of the batch is kept: every source of it failed, and what went wrong is the error of it all.
    fn lose(&mut self, batch: Vec<Staged>, error: Error) -> Error {
        let error = with_room(self.ledger(), error);
        if error.kind() == ErrorKind::OutcomeUnknown {
            self.session.keep();
        }
        for staged in batch {
            if error.kind() != ErrorKind::OutcomeUnknown {
                self.restore(&staged);
            }
            self.failed(&staged.item.path, &error);
        }
        error
    }

    /// A source that was linked and is not kept gets its mode back.
    fn restore(&self, staged: &Staged) {
        if let (true, Some((path, _)), Some(meta)) = (staged.linked, &staged.file, staged.source)
            && let Ok(file) = self.ledger().machine.open(path, crate::machine::Open::Read)
        {
            let _ = file.set_mode(meta.mode);
        }
    }

    /// Tells what is kept, lets go of what was staged for it, and gives back what is to be tried again, staged.
    fn acknowledge(&mut self, batch: Vec<Staged>, committed: Committed) -> Result<Vec<Staged>> {
        for text in committed.notices {
            self.observer.event(&Event::Notice { text });
        }
        let mut again = Vec::new();
        for (staged, outcome) in batch.into_iter().zip(committed.outcomes) {
            match outcome {
                Outcome::Added(status) => self.added(&staged, status),
                Outcome::Refused(reason) => {
                    self.report.failed += 1;
                    self.observer.event(&Event::Failed { path: staged.item.path.clone(), reason });
                }
                Outcome::Again => {
                    again.push(staged.item);
                    continue;
                }
            }
            self.unstage(&staged);
        }
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
            AddStatus::New => (&mut self.report.new_files, Some(&mut self.report.new_bytes)),
            AddStatus::Dedup => (&mut self.report.dedup_files, Some(&mut self.report.dedup_bytes)),
            AddStatus::Unchanged => (&mut self.report.unchanged_files, Some(&mut self.report.unchanged_bytes)),
            AddStatus::Healed => (&mut self.report.healed_files, None),
        };
        *files += 1;
        if let Some(bytes) = bytes {
            *bytes += size_bytes;
        }
        let note = self.after_commit(staged);
        self.observer.progress(1, 0);
        self.observer.event(&Event::Added {
            name: staged.item.name.clone(),
            digest: staged.digests.digest,
            size_bytes,
            status,
            note,
        });
    }

    /// A moved source loses its old name: only now, and only if it is still what was read.
    fn after_commit(&self, staged: &Staged) -> Option<String> {
        let (TakeIn::Move, false, Some(source)) = (self.options.take_in, staged.item.through_symlink, staged.source)
        else {
            return staged.note.clone();
        };
        let machine = self.ledger().machine.as_ref();
        let path = &staged.item.path;
        // Whoever still writes to a copied source would write into nothing: bytes that nobody else has. Until the lease
        // is given back, nobody begins to.
        let lease = machine.open(path, crate::machine::Open::Read).ok();
        let alone = lease.as_ref().is_some_and(|file| file.read_lease().unwrap_or(false));
        let same = machine.lstat(path).is_ok_and(|now| {
            let is_it = (now.device, now.inode, now.size_bytes, now.mtime_ns);
            is_it == (source.device, source.inode, source.size_bytes, source.mtime_ns)
                && (staged.linked || staged.was_linked || unchanged(&source, &now))
        });
        let gone = same && (alone || staged.linked) && machine.unlink(path).is_ok();
        if let (Some(file), true) = (&lease, alone) {
            file.end_lease();
        }
        match (&staged.note, gone) {
            (note, true) => note.clone(),
            _ if same && !alone => Some(
                "copied, and the source left where it is: it is open for writing, or that cannot be ruled out"
                    .to_owned(),
            ),
            (_, false) => Some("the source was left where it is: it is not what was read any more".to_owned()),
        }
    }

    fn unstage(&self, staged: &Staged) {
        if let Some((path, _)) = &staged.file {
            let _ = self.ledger().machine.unlink(path);
        }
    }

    fn failed(&mut self, path: &Path, error: &Error) {
        self.report.failed += 1;
        self.observer.event(&Event::Failed { path: path.to_owned(), reason: chain(error) });
    }

    fn finish(self) -> AddReport {
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
