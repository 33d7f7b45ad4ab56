//! Status: whether the files of blobs and carriers look as they were recorded. Nothing is read.
//!
//! Each of the 256 directories is one piece of work: its records are read in the order of its names, and each file is looked
//! at through the opened directory. What looks changed is looked at again beside fresh records before it is told, and is
//! queued for the next scrub.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Context;
use super::scrub::CTIME_ALONE;
use crate::format::record::Record;
use crate::format::record::copies::CarrierRow;
use crate::format::record::scrub::{SuspectRecord, SuspectRow, VerifiedRow};
use crate::format::table::{self, BlobRow, Table};
use crate::ledger::{Snapshot, Tables};
use crate::machine::{Entry, File, FileKind, Meta, Open};
use crate::parts::blobs::stamp;
use crate::vocabulary::limits::{SCRUB_BATCH, SUSPECTS_MOST};
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Digest, Error, ErrorKind, Event, Finding, FindingCode, Observer, Result, Stamp};

/// What of a file is not as recorded: the numbers of format.md.
const MISSING: u8 = 1;
const SIZE: u8 = 2;
const MTIME: u8 = 4;
const INODE: u8 = 8;
const MODE: u8 = 16;
const UNSEEN: u8 = 64;
/// So many files with other inodes, and none with its own, are a store that was copied; fewer may have been replaced.
const COPIED_FROM: u64 = 16;
/// Blobs with another inode that are kept in mind until it is known whether the store was copied.
const HELD_MOST: usize = 1 << 16;
/// How often, and how long each time, a file is waited for that is about to be exchanged.
const TRIES: u32 = 5;
const WAIT: Duration = Duration::from_millis(10);

/// How a store is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusOptions {
    /// Tell each blob of which the status change time alone is another one.
    pub hints: bool,
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusReport {
    /// Blobs looked at.
    pub blobs: u64,
    /// Carriers looked at.
    pub carriers: u64,
    /// Files that are not there; this and the next six may count a file more than once.
    pub missing: u64,
    /// Of another length.
    pub size: u64,
    /// With another modification time.
    pub mtime: u64,
    /// With another inode.
    pub inode: u64,
    /// With another mode, or one that lets somebody write.
    pub mode: u64,
    /// That could not be looked at, or are no files.
    pub unreadable: u64,
    /// Blobs and carriers that are not as recorded, each counted once.
    pub changed: u64,
    /// Blobs of which the status change time alone is later than they were last read: every new link does that.
    pub hints: u64,
    /// Blobs that were queued for the next scrub.
    pub queued: u64,
    /// Whether all files have other inodes than recorded: the store was copied, or restored.
    pub copied: bool,
    /// Findings of earlier reading that are on record and not mended.
    pub on_record: u64,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

impl StatusReport {
    /// How much is wrong.
    pub fn findings(&self) -> u64 {
        self.changed + u64::from(self.copied) + self.on_record
    }
}

/// Compares what is on record of every blob and carrier with what its file looks like, and tells one [`Event::Found`] for
/// each that is not the same. Reads no file. Where the store can be written to, those are queued for the next scrub.
pub fn status(ctx: &Context<'_>, options: &StatusOptions, observer: &dyn Observer) -> Result<StatusReport> {
    let snapshot = ctx.ledger.snapshot()?;
    let sweep = Sweep {
        ctx,
        snapshot: &snapshot,
        options: *options,
        observer,
        report: Mutex::default(),
        any_own: AtomicBool::new(false),
        others: AtomicU64::new(0),
        held: Mutex::default(),
        suspects: Mutex::default(),
    };
    let directories = (0..=u8::MAX).collect();
    ctx.workers.map(directories, |first| sweep.directory(first)).into_iter().collect::<Result<()>>()?;
    sweep.settle_held()?;
    sweep.carriers()?;
    sweep.queue()?;
    let mut report = *sweep.report();
    report.on_record = count(snapshot.all_findings())? + count(snapshot.all_damaged())?;
    report.interrupted = observer.cancelled();
    Ok(report)
}

struct Sweep<'a> {
    ctx: &'a Context<'a>,
    snapshot: &'a Snapshot,
    options: StatusOptions,
    observer: &'a dyn Observer,
    report: Mutex<StatusReport>,
    /// Whether any file has the inode that was recorded.
    any_own: AtomicBool,
    /// How many have another one, and nothing worse.
    others: AtomicU64,
    held: Mutex<Vec<Digest>>,
    suspects: Mutex<Vec<SuspectRecord>>,
}

/// What one directory came to.
#[derive(Default)]
struct Local {
    blobs: u64,
    hints: u64,
    suspicious: Vec<Digest>,
}

impl Sweep<'_> {
    fn report(&self) -> std::sync::MutexGuard<'_, StatusReport> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn directory(&self, first: u8) -> Result<()> {
        let ledger = self.ctx.ledger;
        let directory = ledger.machine.open(&ledger.layout.blob_dir(first), Open::Directory).ok();
        let mut local = Local::default();
        let mut verified = self.snapshot.view.prefix(&Table::Verified.key(&[first]));
        let mut next: Option<(Digest, VerifiedRow)> = None;
        let mut begun = false;
        let root = format!("{}/", ledger.layout.blob_dir(first).display());
        let mut path = Path::begin(&root);
        for row in self.snapshot.view.prefix(&Table::Blob.key(&[first])) {
            let (key, value) = row?;
            let (digest, row) = (digest_of(&key)?, decode::<BlobRow>(&value)?);
            local.blobs += 1;
            if local.blobs % 1024 == 0 {
                if self.observer.cancelled() {
                    return Ok(());
                }
                self.settle(&std::mem::take(&mut local.suspicious))?;
            }
            let looked = match &directory {
                Some(directory) => self.look_in(directory.as_ref(), path.of(&digest)),
                None => ledger.machine.lstat(&ledger.layout.blob(&digest)),
            };
            let Ok(meta) = looked else {
                local.suspicious.push(digest);
                continue;
            };
            let now = stamp(&meta);
            let same = meta.kind == FileKind::File && row.stamp.agrees(&now) && now.mode & 0o222 == 0;
            if now.inode == row.stamp.inode {
                self.any_own.store(true, Ordering::Relaxed);
            }
            if !same {
                local.suspicious.push(digest);
            } else if now.ctime_ns != row.stamp.ctime_ns {
                while !begun || next.as_ref().is_some_and(|(next, _)| *next < digest) {
                    begun = true;
                    next = match verified.next().transpose()? {
                        Some((key, value)) => Some((digest_of(&key)?, decode(&value)?)),
                        None => None,
                    };
                }
                let read_ns = next.as_ref().filter(|(next, _)| *next == digest).map(|(_, row)| row.time_ns);
                if read_ns.is_none_or(|read_ns| i128::from(now.ctime_ns) > i128::from(read_ns)) {
                    local.hints += 1;
                    self.hint(digest, read_ns.is_some())?;
                }
            }
        }
        self.settle(&local.suspicious)?;
        let mut report = self.report();
        report.blobs += local.blobs;
        report.hints += local.hints;
        drop(report);
        self.observer.progress(local.blobs, 0);
        Ok(())
    }

    fn look_in(&self, directory: &dyn File, path: &str) -> io::Result<Meta> {
        self.ctx.ledger.machine.lstat_in(Entry::of(std::path::Path::new(path), Some(directory)))
    }

    /// A blob whose status change time alone is another one.
    fn hint(&self, digest: Digest, was_read: bool) -> Result<()> {
        if self.options.hints {
            let names = self.snapshot.names_of(&digest)?;
            let detail = "its status change time is later than it was last read".to_owned();
            self.observer.event(&Event::Hint { digest, names, detail });
        }
        // What was never read is read before those anyway.
        if was_read {
            self.suspect(digest, CTIME_ALONE);
        }
        Ok(())
    }

    fn suspect(&self, digest: Digest, changed: u8) {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        if (suspects.len() as u64) < SUSPECTS_MOST {
            let row = SuspectRow { changed, seen_ns: self.ctx.ledger.machine.now_ns() };
            suspects.push(SuspectRecord { digest, row });
        }
    }

    /// Looks again at blobs that look changed, beside records that are as fresh as what is seen.
    fn settle(&self, suspicious: &[Digest]) -> Result<()> {
        suspicious.iter().try_for_each(|digest| self.settle_one(digest, false))
    }

    fn settle_one(&self, digest: &Digest, held: bool) -> Result<()> {
        let mut row = self.snapshot.blob(digest)?;
        for _ in 0..TRIES {
            let Some(known) = &row else { return Ok(()) };
            let path = self.ctx.ledger.blobs.path(digest);
            let looked = self.ctx.ledger.machine.lstat(&path);
            let changed = changed(&known.stamp, &looked);
            if changed == 0 {
                return Ok(());
            }
            let fresh = self.ctx.ledger.snapshot()?;
            let now = fresh.blob(digest)?;
            if now == row {
                let damaged = fresh.damaged(digest)?.filter(|damaged| damaged.quarantined);
                if looked.is_err() && damaged.is_some() {
                    // On record already: it is in quarantine.
                    return Ok(());
                }
                return self.changed(&fresh, digest, known, &looked, changed, held);
            }
            row = now;
            self.ctx.ledger.machine.pause(WAIT);
        }
        Ok(())
    }

    /// A blob that is not as recorded, or, where only its inode and what may go with that is another one, may be copied.
    fn changed(
        &self,
        fresh: &Snapshot,
        digest: &Digest,
        known: &BlobRow,
        looked: &io::Result<Meta>,
        changed: u8,
        held: bool,
    ) -> Result<()> {
        let copied = changed & INODE != 0 && changed & (MISSING | SIZE | UNSEEN) == 0;
        if copied && !held && !self.any_own.load(Ordering::Relaxed) {
            self.others.fetch_add(1, Ordering::Relaxed);
            let mut kept = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < HELD_MOST {
                kept.push(*digest);
            }
            return Ok(());
        }
        self.count(changed);
        self.suspect(*digest, changed);
        let path = self.ctx.ledger.layout.blob(digest);
        let path = path.strip_prefix(self.ctx.ledger.layout.root()).unwrap_or(&path).to_owned();
        let finding = Finding::at(code(changed, looked), path, words(&known.stamp, looked, changed)).of(digest);
        self.observer.event(&Event::Found(finding.named(fresh.names_of(digest)?)));
        Ok(())
    }

    fn count(&self, changed: u8) {
        let mut report = self.report();
        report.changed += 1;
        let of = |bit: u8| u64::from(changed & bit != 0);
        report.missing += of(MISSING);
        report.size += of(SIZE);
        report.mtime += of(MTIME);
        report.inode += of(INODE);
        report.mode += of(MODE);
        report.unreadable += of(UNSEEN);
    }

    /// Blobs with other inodes: one line where all have other ones, and else one for each.
    fn settle_held(&self) -> Result<()> {
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        let others = self.others.load(Ordering::Relaxed);
        if !self.any_own.load(Ordering::Relaxed) && others > COPIED_FROM {
            let mut report = self.report();
            (report.copied, report.inode) = (true, others);
            return Ok(());
        }
        held.iter().try_for_each(|digest| self.settle_one(digest, true))?;
        if others > held.len() as u64 {
            let text = format!("{} more have another inode than recorded.", others - held.len() as u64);
            self.observer.event(&Event::Notice { text });
        }
        Ok(())
    }

    fn carriers(&self) -> Result<()> {
        let copied = self.report().copied;
        for row in self.snapshot.all_carriers() {
            let ((digest, number), row) = row?;
            if self.observer.cancelled() {
                return Ok(());
            }
            self.report().carriers += 1;
            let path = self.ctx.ledger.carriers.path(&digest, number);
            let looked = self.ctx.ledger.machine.lstat(&path);
            let mut changed = changed(&row.stamp, &looked);
            if copied && changed & INODE != 0 {
                changed &= !(INODE | MTIME | MODE);
            }
            if changed == 0 || self.is_other(&digest, number, &row)? {
                continue;
            }
            self.count(changed);
            self.suspect(digest, changed & !CTIME_ALONE);
            let missing = changed & MISSING != 0;
            let code = if missing { FindingCode::CarrierMissing } else { FindingCode::CarrierStamp };
            let path = path.strip_prefix(self.ctx.ledger.layout.root()).unwrap_or(&path).to_owned();
            let finding = Finding::at(code, path, words(&row.stamp, &looked, changed)).of(&digest);
            self.observer.event(&Event::Found(finding.named(self.snapshot.names_of(&digest)?)));
        }
        Ok(())
    }

    /// Whether a carrier is on record otherwise by now.
    fn is_other(&self, digest: &Digest, number: u32, row: &CarrierRow) -> Result<bool> {
        Ok(!self.ctx.ledger.snapshot()?.carriers(digest)?.contains(&(number, *row)))
    }

    /// Queues what was seen changed, in frames of bounded size.
    fn queue(&self) -> Result<()> {
        let suspects = std::mem::take(&mut *self.suspects.lock().unwrap_or_else(PoisonError::into_inner));
        if !self.ctx.ledger.policy.writable || self.report().copied {
            return Ok(());
        }
        for batch in suspects.chunks(SCRUB_BATCH) {
            let batch = batch.to_vec();
            let queued = self.ctx.ledger.transact(move |tx| {
                let mut queued = 0;
                for suspect in batch {
                    let known = tx.suspect(&suspect.digest)?.map(|row| row.changed);
                    if tx.blob(&suspect.digest)?.is_some() && known != Some(suspect.row.changed) {
                        tx.push(Record::Suspect(suspect));
                        queued += 1;
                    }
                }
                Ok(queued)
            })?;
            self.report().queued += queued;
        }
        Ok(())
    }
}

/// The paths of one directory's blobs, each made where the one before it was.
struct Path {
    text: String,
    directory: usize,
}

impl Path {
    fn begin(directory: &str) -> Self {
        Path { text: directory.to_owned(), directory: directory.len() }
    }

    fn of(&mut self, digest: &Digest) -> &str {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.text.truncate(self.directory);
        for byte in &digest.as_bytes()[1..] {
            self.text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            self.text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        &self.text
    }
}

/// What of a file is not as recorded.
fn changed(was: &Stamp, looked: &io::Result<Meta>) -> u8 {
    let meta = match looked {
        Ok(meta) => meta,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return MISSING,
        Err(_) => return UNSEEN,
    };
    if meta.kind != FileKind::File {
        return UNSEEN;
    }
    let (now, bit) = (stamp(meta), |is: bool, bit: u8| if is { bit } else { 0 });
    bit(now.size_bytes != was.size_bytes, SIZE)
        | bit(now.mtime_ns != was.mtime_ns && !planted(Bug::StatusBlind), MTIME)
        | bit(now.inode != was.inode, INODE)
        | bit(now.mode != was.mode || now.mode & 0o222 != 0, MODE)
}

fn code(changed: u8, looked: &io::Result<Meta>) -> FindingCode {
    match changed {
        changed if changed & MISSING != 0 => FindingCode::BlobMissing,
        changed if changed & UNSEEN != 0 && looked.is_ok() => FindingCode::BlobKind,
        changed if changed & UNSEEN != 0 => FindingCode::Unreadable,
        changed if changed & SIZE != 0 => FindingCode::BlobSize,
        changed if changed & (MTIME | INODE) != 0 => FindingCode::BlobStamp,
        _ => FindingCode::BlobMode,
    }
}

/// The same for people.
fn words(was: &Stamp, looked: &io::Result<Meta>, changed: u8) -> String {
    let meta = match looked {
        Ok(meta) if meta.kind != FileKind::File => return "it is no regular file".to_owned(),
        Ok(meta) => meta,
        Err(_) if changed & MISSING != 0 => return "its file is not there".to_owned(),
        Err(e) => return format!("it cannot be looked at: {e}"),
    };
    let mut words = Vec::new();
    if changed & SIZE != 0 {
        words.push(format!("{} bytes instead of {}", meta.size_bytes, was.size_bytes));
    }
    if changed & INODE != 0 {
        words.push("its inode is another one than recorded".to_owned());
    }
    if changed & MTIME != 0 {
        words.push("its modification time (mtime) is another one than recorded".to_owned());
    }
    if changed & MODE != 0 {
        let may = if meta.mode & 0o222 != 0 { ", and lets somebody write to it" } else { "" };
        words.push(format!("its mode is {:04o}, and {:04o} was recorded{may}", meta.mode, was.mode));
    }
    words.join("; ")
}

fn digest_of(key: &[u8]) -> Result<Digest> {
    let digest = key.get(1..33).and_then(|bytes| bytes.try_into().ok());
    digest.map(Digest::from_bytes).ok_or_else(undecodable)
}

fn decode<T: serde::de::DeserializeOwned>(value: &[u8]) -> Result<T> {
    table::decode(value).map_err(|_| undecodable())
}

fn undecodable() -> Error {
    Error::new(ErrorKind::Damaged, "read a row of the index", "it cannot be decoded")
}

fn count<T>(rows: impl Iterator<Item = Result<T>>) -> Result<u64> {
    let mut count = 0;
    for row in rows {
        row?;
        count += 1;
    }
    Ok(count)
}
