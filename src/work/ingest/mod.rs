//! Adding: bytes and names into the store.
//!
//! Sources are staged and hashed in parallel (`stage`), batch by batch (`fill`); a batch is synced, published and recorded
//! as one (`batch`) while the next one is filled (`turns`), and only then told to the observer; what was taken in by link
//! or moved is then settled (`settle`).

mod batch;
mod claims;
mod fill;
mod free;
mod group;
mod named;
mod racy;
mod resume;
mod settle;
mod stage;
mod take;
mod turns;
mod walk;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(in crate::work) use self::batch::Keeping;
pub use self::named::add_named;
pub use self::resume::Checkpoints;
use self::walk::{Item, Walk};
use super::Context;
use super::trees::Grove;
use crate::format::session::SessionKind;
use crate::ledger::Ledger;
use crate::parts::sessions::Session;
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
    /// Do not read a source again that has the device, inode, size, mtime and ctime that were put on record when its name
    /// was given. Only for copies, and not where bytes are expected.
    pub trust_stamps: bool,
    /// Refuse any other bytes than these.
    pub expect: Option<Digest>,
    /// A name that means other bytes is given these instead.
    pub replace: bool,
    /// How aliases are kept; `None` is the store's setting.
    pub alias: Option<AliasKind>,
    /// How large sources are copied, so that one that was broken off can be gone on with.
    pub checkpoints: Checkpoints,
    /// How much is synced and recorded at once.
    pub batches: Batches,
}

/// Where a batch ends: at whichever of these comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batches {
    /// Files.
    pub files: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// Time since it was begun.
    pub time: Duration,
}

impl Default for Batches {
    fn default() -> Self {
        Batches { files: BATCH_FILES, bytes: BATCH_BYTES, time: BATCH_TIME }
    }
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
    /// Files of all these whose bytes were not read, since their stamps were trusted.
    pub trusted_files: u64,
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
    take_all(&Adding::begin(ctx, options, observer, None)?, sources).map(|(report, _)| report)
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
    take_all(&Adding::begin(ctx, options, observer, Some(keeping))?, &[source])
}

fn take_all(adding: &Adding<'_>, sources: &[Source]) -> Result<(AddReport, Option<Error>)> {
    for source in sources {
        adding.check_expectable(&source.path)?;
    }
    let walk = Walk::new(adding.ledger().machine.as_ref(), adding.ledger().layout.root(), adding.observer)?;
    let mut sources = sources.iter();
    adding.take(walk, &mut |walk| {
        let Some(source) = sources.next() else { return false };
        if let Err(e) = walk.begin(&source.path, adding.options) {
            adding.failed(&source.path, &e);
        }
        true
    })?;
    let trouble = adding.tally().trouble.take();
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
    let adding = Adding::begin(ctx, options, observer, None)?;
    let name = walk::stream_name(name, options)?;
    let item = Item { path: PathBuf::from("-"), name, size_bytes: 0, seen: None, through_symlink: true };
    let mut batch = adding.batch(None, false)?;
    let staged = match batch.stager.stage_stream(&item, input) {
        Err(e) if e.kind() == ErrorKind::Interrupted => {
            adding.tally().report.interrupted = true;
            return Ok(adding.finish());
        }
        other => other.map_err(|e| with_room(ctx.ledger, e))?,
    };
    batch.put(batch::sync_if_each(ctx.ledger, staged)?);
    adding.flush(batch, None)?;
    Ok(adding.finish())
}

/// An addition under way: its session, and what it came to so far.
struct Adding<'a> {
    ctx: &'a Context<'a>,
    options: &'a AddOptions,
    observer: &'a dyn Observer,
    session: Arc<Session>,
    keeping: Option<Arc<dyn Keeping>>,
    /// The trees of what is hashed, until its batch is acknowledged.
    grove: Arc<Grove>,
    tally: Mutex<Tally>,
}

/// What an addition came to so far.
#[derive(Default)]
struct Tally {
    report: AddReport,
    /// What the last source that failed by an error failed for.
    trouble: Option<Error>,
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
            keeping,
            grove: Arc::default(),
            tally: Mutex::default(),
        })
    }

    fn ledger(&self) -> &'a Ledger {
        self.ctx.ledger
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn failed(&self, path: &Path, error: &Error) {
        let mut tally = self.tally();
        tally.report.failed += 1;
        tally.trouble = Some(error.duplicate());
        drop(tally);
        self.observer.event(&Event::Failed { path: path.to_owned(), reason: error.in_one_line() });
    }

    fn finish(&self) -> AddReport {
        self.ctx.tell_fold_trouble(self.observer);
        self.ctx.ledger.compact_if_due();
        self.tally().report.clone()
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
