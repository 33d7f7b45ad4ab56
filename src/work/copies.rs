//! Further copies of blobs that matter: inodes of their own, so that one bad sector does not take the last one.
//!
//! A copy is staged, hashed on the way and synced; under `lock` it is linked into `carriers/`, the directories are
//! synced, and a frame records it. Copies that are wanted no more are taken off the record first and unlinked then,
//! both under `lock`; what a crash leaves is a file that no record knows, which `gc` removes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::Context;
use super::blob::{in_full, usable};
use super::carrier::{bad, open_session, record, stage_copy, sync};
use super::names::Target;
use super::verify::select::Selection;
use crate::format::record::Record;
use crate::format::record::copies::{CarrierRemovedRecord, CarrierRow};
use crate::format::table::BlobRow;
use crate::hashing::digest_sealed;
use crate::ledger::{Ledger, Tables};
use crate::machine::Meta;
use crate::parts::blobs::{Readers, stamp};
use crate::parts::carriers::CarrierDirs;
use crate::parts::sessions::Session;
use crate::vocabulary::limits::COPIES_MOST;
use crate::vocabulary::{Digest, Error, ErrorKind, Event, Observer, Prefix, Result};

/// How many copies are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopiesOptions {
    /// Inodes of each blob, the first included: from 1 to `COPIES_MOST`.
    pub copies: u32,
    /// Tell what would be done, and change nothing.
    pub dry_run: bool,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopiesReport {
    /// Blobs that have as many copies as was asked for.
    pub blobs: u64,
    /// Copies made.
    pub made: u64,
    /// Bytes of those.
    pub made_bytes: u64,
    /// Copies removed.
    pub removed: u64,
    /// Bytes of those.
    pub removed_bytes: u64,
    /// Blobs that have not: damaged ones above all.
    pub failed: u64,
    /// Whether it was stopped before its end; what was told is done.
    pub interrupted: bool,
}

/// Keeps so many copies of every blob that `targets` and `prefixes` mean, each an inode of its own with its own blocks.
/// Tells one [`Event::Copies`] for each blob that now has them, and [`Event::Failed`] for each that has not.
///
/// Copies are removed only while the blob's first file has the right bytes. The empty blob needs none.
/// [`ErrorKind::NotFound`] for what is not in the store, [`ErrorKind::Invalid`] for a number out of bounds.
pub fn copies(
    ctx: &Context<'_>,
    targets: &[Target],
    prefixes: &[Prefix],
    options: &CopiesOptions,
    observer: &dyn Observer,
) -> Result<CopiesReport> {
    if !(1..=COPIES_MOST).contains(&options.copies) {
        let attempt = format!("keep {} copies", options.copies);
        return Err(Error::new(ErrorKind::Invalid, attempt, format!("there can be 1 to {COPIES_MOST} of them")));
    }
    let snapshot = ctx.ledger.snapshot()?;
    let selection = Selection::new(&snapshot, targets, prefixes)?;
    let session = if options.dry_run { None } else { Some(open_session(ctx.ledger)?) };
    let copying = Copying { ledger: ctx.ledger, session, options, observer };
    let mut report = CopiesReport::default();
    let mut last = None;
    loop {
        let batch = selection.after(last.as_ref())?;
        let Some((digest, _)) = batch.last().filter(|_| !report.interrupted) else { return Ok(report) };
        last = Some(*digest);
        observer.expect(batch.len() as u64, 0);
        for done in ctx.workers.map(batch, |(digest, _)| copying.settle(&digest)) {
            report.count(&done?);
        }
    }
}

impl CopiesReport {
    fn count(&mut self, done: &Settled) {
        match done {
            Settled::Done { size_bytes, made, removed } => {
                self.blobs += 1;
                self.made += u64::from(*made);
                self.made_bytes += u64::from(*made) * size_bytes;
                self.removed += u64::from(*removed);
                self.removed_bytes += u64::from(*removed) * size_bytes;
            }
            Settled::Failed => self.failed += 1,
            Settled::Stopped => self.interrupted = true,
        }
    }
}

/// What became of one blob.
enum Settled {
    Done { size_bytes: u64, made: u32, removed: u32 },
    Failed,
    Stopped,
}

struct Copying<'a> {
    ledger: &'a Ledger,
    session: Option<Arc<Session>>,
    options: &'a CopiesOptions,
    observer: &'a dyn Observer,
}

impl Copying<'_> {
    fn settle(&self, digest: &Digest) -> Result<Settled> {
        if self.observer.cancelled() {
            return Ok(Settled::Stopped);
        }
        let settled = match self.try_to_settle(digest) {
            Err(e) if e.kind() == ErrorKind::Interrupted => return Ok(Settled::Stopped),
            Err(e) if matches!(e.kind(), ErrorKind::Damaged | ErrorKind::TooLarge) => {
                self.observer.event(&Event::Failed { path: self.ledger.blobs.path(digest), reason: in_full(&e) });
                Settled::Failed
            }
            other => other?,
        };
        self.observer.progress(1, 0);
        Ok(settled)
    }

    fn try_to_settle(&self, digest: &Digest) -> Result<Settled> {
        let snapshot = self.ledger.snapshot()?;
        let row = usable(snapshot.as_ref(), digest)?;
        let have = u32::try_from(snapshot.carriers(digest)?.len()).unwrap_or(u32::MAX);
        let want = if *digest == Digest::EMPTY { 0 } else { self.options.copies - 1 };
        let (made, removed) = match &self.session {
            None => (want.saturating_sub(have), self.spare(digest, &snapshot.carriers(digest)?, want)?.len() as u32),
            Some(session) if have < want => (self.make(session, digest, &row, want - have)?, 0),
            Some(_) if have > want => (0, self.remove(digest, &row, want)?),
            Some(_) => (0, 0),
        };
        let (size_bytes, copies) = (row.stamp.size_bytes, 1 + have + made - removed);
        let names = snapshot.names_of(digest)?;
        self.observer.event(&Event::Copies { digest: *digest, names, size_bytes, copies, made, removed });
        Ok(Settled::Done { size_bytes, made, removed })
    }

    fn make(&self, session: &Arc<Session>, digest: &Digest, row: &BlobRow, count: u32) -> Result<u32> {
        let goes_on = || !self.observer.cancelled();
        let stage = || stage_copy(self.ledger, session, digest, &row.stamp, false, &goes_on);
        let staged = (0..count).map(|_| stage()).collect::<Result<Vec<_>>>()?;
        let (digest, row, held) = (*digest, row.clone(), Arc::clone(session));
        let paths: Vec<PathBuf> = staged.iter().map(|(path, _)| path.clone()).collect();
        let made = self.ledger.transact(move |tx| {
            if tx.blob(&digest)?.as_ref() != Some(&row) {
                return Err(changed(&digest));
            }
            let last = tx.carriers(&digest)?.last().map_or(0, |(number, _)| *number);
            let mut dirs = CarrierDirs::default();
            for (copy, number) in staged.iter().zip(last + 1..) {
                record(tx, &held, &digest, number, copy, &mut dirs)?;
            }
            sync(tx, &dirs)
        });
        paths.iter().for_each(|path| _ = self.ledger.machine.unlink(path));
        made.map(|()| count)
    }

    /// Takes those with the highest numbers away, while the blob's own file is good.
    fn remove(&self, digest: &Digest, row: &BlobRow, keep: u32) -> Result<u32> {
        let file = self.ledger.blobs.open(digest)?;
        let seen = file.meta().map_err(|e| Error::io("look at", &self.ledger.blobs.path(digest), e))?;
        let read = digest_sealed(file.as_ref(), &|_| !self.observer.cancelled());
        if !matches!(&read, Ok((found, _)) if found == digest) {
            return Err(self.not_good(digest, read.err().map(|stopped| stopped.error)));
        }
        self.ledger.hold(|hold| {
            let there = self.ledger.blobs.meta(digest)?;
            let same = there.is_some_and(|there| stamp(&there).agrees(&stamp(&seen)));
            if !same || hold.snapshot.blob(digest)?.as_ref() != Some(row) {
                return Err(changed(digest));
            }
            let carriers = hold.snapshot.carriers(digest)?;
            let going = self.spare(digest, &carriers, keep)?;
            let records: Vec<Record> = going
                .iter()
                .map(|number| Record::CarrierRemoved(CarrierRemovedRecord { digest: *digest, number: *number }))
                .collect();
            hold.commit(&records)?;
            // Still under `lock`: nobody else gives one of these numbers to another copy meanwhile.
            going.iter().try_for_each(|number| self.ledger.carriers.remove(digest, *number))?;
            Ok(going.len() as u32)
        })
    }

    /// The carriers that are not needed where `keep` are wanted: those with the highest numbers, but none that names are
    /// links to, and none that somebody may read who may not read the blob's own file.
    fn spare(&self, digest: &Digest, carriers: &[(u32, CarrierRow)], keep: u32) -> Result<Vec<u32>> {
        let mut spare = Vec::new();
        let blob = self.ledger.blobs.meta(digest)?;
        for (number, _) in carriers.iter().rev() {
            let carrier = self.ledger.carriers.meta(digest, *number)?;
            let needed = |meta: Meta| {
                meta.links > 1 || blob.as_ref().is_some_and(|blob| !Readers::of(blob).cover(Readers::of(&meta)))
            };
            if carriers.len() - spare.len() > keep as usize && !carrier.is_some_and(needed) {
                spare.push(*number);
            }
        }
        Ok(spare)
    }

    fn not_good(&self, digest: &Digest, error: Option<io::Error>) -> Error {
        match error {
            Some(e) if e.kind() == io::ErrorKind::Interrupted => {
                Error::new(ErrorKind::Interrupted, format!("read blob {digest}"), "asked to stop")
            }
            _ => bad(digest),
        }
    }
}

fn changed(digest: &Digest) -> Error {
    Error::new(ErrorKind::Damaged, format!("copy blob {digest}"), "it was changed or collected meanwhile")
}
