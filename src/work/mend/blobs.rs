//! Blobs: hashed where their record does not fit, and then recorded as they are.

use std::path::{Path, PathBuf};

use super::{Mender, PIN_NOTE};
use crate::format::record::{BlobRecord, DamagedRecord, HealedRecord, PinRecord, Record, RemovedRecord, SinceRecord};
use crate::format::table::BlobRow;
use crate::hashing::{Digests, digest_file};
use crate::ledger::{Tables, Tx};
use crate::machine::{FileKind, Meta, Open};
use crate::parts::blobs::{BlobDirs, stamp};
use crate::vocabulary::{Digest, Error, Finding, FindingCode, Result, Stamp};
use crate::work::seen::mended;

/// Whether it was done, or why not.
pub(super) type Done = Result<Result<(), String>>;

/// A file that was read from the disk.
#[derive(Clone)]
pub(super) struct Hashed {
    pub(super) digests: Digests,
    pub(super) stamp: Stamp,
}

impl Mender<'_> {
    pub(super) fn blobs(&mut self) -> Result<()> {
        let codes = [
            FindingCode::BlobMode,
            FindingCode::BlobSize,
            FindingCode::BlobStamp,
            FindingCode::BlobMissing,
            FindingCode::Orphan,
            FindingCode::AliasDangling,
            FindingCode::BlobUnlisted,
        ];
        let findings = self.of(&codes);
        self.observer.expect(findings.len() as u64, 0);
        for finding in findings {
            if !self.goes_on() {
                return Ok(());
            }
            let Some(digest) = finding.digest else { continue };
            let done = match finding.code {
                FindingCode::BlobMode => self.mode(&digest),
                FindingCode::BlobMissing => self.missing(&digest),
                FindingCode::Orphan => self.orphan(&digest, finding),
                FindingCode::AliasDangling => self.dangling(&digest),
                FindingCode::BlobUnlisted => self.unlisted(&digest),
                _ => self.other_stamp(&digest),
            };
            self.told(finding, done)?;
            self.observer.progress(1, 0);
        }
        Ok(())
    }

    /// Reads a file from the disk, not from a cache that may hold what a failed sync lost; its mode is right then.
    pub(super) fn hash(&self, path: &Path) -> Result<Option<Hashed>> {
        let ledger = self.ctx.ledger;
        let meta = ledger.machine.lstat(path).map_err(|e| Error::io("look at", path, e))?;
        if meta.kind != FileKind::File {
            return Ok(None);
        }
        let file = ledger.machine.open(path, Open::Read).map_err(|e| Error::io("open", path, e))?;
        self.sealed(path, file.as_ref(), &meta)?;
        file.sync().map_err(|e| Error::io("sync", path, e))?;
        file.drop_cache();
        let before = file.meta().map_err(|e| Error::io("look at", path, e))?;
        let digests = digest_file(file.as_ref()).map_err(|e| Error::io("read", path, e))?;
        let after = file.meta().map_err(|e| Error::io("look at", path, e))?;
        let same = stamp(&before).agrees(&stamp(&after));
        Ok(same.then(|| Hashed { digests, stamp: stamp(&after) }))
    }

    /// Takes every permission away that the store does not give.
    fn sealed(&self, path: &Path, file: &dyn crate::machine::File, meta: &Meta) -> Result<()> {
        let mode = meta.mode & self.ctx.ledger.policy.blob_mode | 0o400;
        if mode == meta.mode {
            return Ok(());
        }
        file.set_mode(mode).map_err(|e| Error::io("set the mode of", path, e))
    }

    fn mode(&mut self, digest: &Digest) -> Done {
        let ledger = self.ctx.ledger;
        let path = ledger.blobs.path(digest);
        let Some(row) = ledger.snapshot()?.blob(digest)? else { return Ok(Ok(())) };
        let mode = row.stamp.mode & ledger.policy.blob_mode | 0o400;
        let file = ledger.blobs.open(digest)?;
        file.set_mode(mode).and_then(|()| file.sync()).map_err(|e| Error::io("set the mode of", &path, e))?;
        if mode == row.stamp.mode {
            return Ok(Ok(()));
        }
        let now = stamp(&file.meta().map_err(|e| Error::io("look at", &path, e))?);
        let digest = *digest;
        ledger.transact(move |tx| {
            if let Some(row) = tx.blob(&digest)?.filter(|row| row.stamp.inode == now.inode) {
                restamp(tx, &digest, &row, row.blake3, now)?;
            }
            Ok(Ok(()))
        })
    }

    /// Another stamp than recorded: the bytes tell.
    fn other_stamp(&mut self, digest: &Digest) -> Done {
        let ledger = self.ctx.ledger;
        let hashed = self.hash(&ledger.blobs.path(digest))?;
        let Some(Hashed { digests, stamp: seen }) = hashed else { return Ok(Err(CHANGES.to_owned())) };
        let digest = *digest;
        ledger.transact(move |tx| {
            let Some(row) = tx.blob(&digest)? else { return Ok(Ok(())) };
            if !is_still(tx, &digest, &seen)? {
                return Ok(Err(CHANGES.to_owned()));
            }
            if digests.digest == digest {
                restamp(tx, &digest, &row, digests.blake3, seen)?;
            } else {
                let reason = format!("its {} bytes are {}", digests.size_bytes, digests.digest);
                let (inode, since) = (seen.inode, tx.moment());
                tx.push(Record::Damaged(DamagedRecord { digest, inode, reason, quarantined: false, since }));
            }
            Ok(Ok(()))
        })
    }

    /// No file in its place: one of its names may still be the blob.
    fn missing(&mut self, digest: &Digest) -> Done {
        match self.name_with_its_bytes(digest)? {
            Some((path, hashed)) => self.link_back(digest, path, hashed),
            None => self.mark_missing(digest),
        }
    }

    fn mark_missing(&self, digest: &Digest) -> Done {
        let digest = *digest;
        self.ctx.ledger.transact(move |tx| {
            if tx.ledger().blobs.meta(&digest)?.is_some() || tx.damaged(&digest)?.is_some() {
                return Ok(Ok(()));
            }
            let row = tx.blob(&digest)?;
            // With a carrier, `larder repair` brings it back.
            let nothing_keeps_it = !tx.is_rooted(&digest)? && tx.carriers(&digest)?.is_empty();
            if let Some(row) = row.filter(|_| nothing_keeps_it) {
                // Nothing kept it; what removed it may have been in a stretch that is lost.
                let (rule, when) = ("check --repair: missing, and kept by nothing".to_owned(), tx.moment());
                tx.push(Record::Removed(RemovedRecord { digest, size_bytes: row.stamp.size_bytes, rule, when }));
            } else {
                let (reason, since) = ("its file was missing".to_owned(), tx.moment());
                tx.push(Record::Damaged(DamagedRecord { digest, inode: 0, reason, quarantined: true, since }));
            }
            Ok(Ok(()))
        })
    }

    fn name_with_its_bytes(&self, digest: &Digest) -> Result<Option<(PathBuf, Hashed)>> {
        let ledger = self.ctx.ledger;
        let snapshot = ledger.snapshot()?;
        for name in snapshot.names_of(digest)? {
            let alias = snapshot.alias(&name)?.filter(|alias| alias.hardlinked);
            let path = ledger.layout.name(&name);
            let there = ledger.machine.lstat(&path).ok().filter(|meta| meta.kind == FileKind::File);
            let size = |meta: &Meta| alias.as_ref().is_some_and(|alias| alias.size_bytes == meta.size_bytes);
            if there.filter(size).is_none() || *digest == Digest::EMPTY {
                continue;
            }
            if let Some(hashed) = self.hash(&path)?.filter(|hashed| hashed.digests.digest == *digest) {
                return Ok(Some((path, hashed)));
            }
        }
        Ok(None)
    }

    /// Gives the blob's place to a file that was hashed under one of its names.
    fn link_back(&self, digest: &Digest, path: PathBuf, hashed: Hashed) -> Done {
        let (digest, Hashed { digests, stamp: seen }) = (*digest, hashed);
        let lossy = self.lossy;
        self.ctx.ledger.transact(move |tx| {
            let ledger = tx.ledger();
            let now = ledger.machine.lstat(&path).map_err(|e| Error::io("look at", &path, e))?;
            if !stamp(&now).agrees(&seen) || ledger.blobs.meta(&digest)?.is_some() {
                return Ok(Err(CHANGES.to_owned()));
            }
            let mut dirs = BlobDirs::default();
            ledger.blobs.publish(&path, &digest, &mut dirs)?;
            ledger.blobs.sync(&dirs)?;
            match tx.blob(&digest)? {
                Some(row) => restamp(tx, &digest, &row, digests.blake3, seen)?,
                None => take_in(tx, &digest, &digests, seen, lossy)?,
            }
            Ok(Ok(()))
        })
    }

    /// A file that no record knows: taken in if it is what its name says, and else moved to quarantine.
    fn orphan(&mut self, digest: &Digest, finding: &Finding) -> Done {
        let ledger = self.ctx.ledger;
        let path = ledger.blobs.path(digest);
        let Some(Hashed { digests, stamp: seen }) = self.hash(&path)? else { return Ok(Err(CHANGES.to_owned())) };
        if digests.digest != *digest && finding.code == FindingCode::Orphan {
            return self.throw_out(digest, &digests, seen);
        }
        if digests.digest != *digest {
            return self.mark_bad(digest, &digests, seen, false);
        }
        let (digest, lossy) = (*digest, self.lossy);
        ledger.transact(move |tx| {
            if tx.blob(&digest)?.is_some() {
                return Ok(Ok(()));
            }
            if !is_still(tx, &digest, &seen)? {
                return Ok(Err(CHANGES.to_owned()));
            }
            // Whoever put it there may have died before its directory was synced.
            let mut dirs = BlobDirs::default();
            tx.ledger().blobs.watch(&digest, &mut dirs)?;
            tx.ledger().blobs.sync(&dirs)?;
            take_in(tx, &digest, &digests, seen, lossy)?;
            Ok(Ok(()))
        })
    }

    fn mark_bad(&self, digest: &Digest, digests: &Digests, seen: Stamp, quarantined: bool) -> Done {
        let (digest, found) = (*digest, *digests);
        self.ctx.ledger.transact(move |tx| {
            if tx.blob(&digest)?.is_some() || !is_still(tx, &digest, &seen)? {
                return Ok(Err(CHANGES.to_owned()));
            }
            let reason = format!("no record knew it, and its {} bytes are {}", found.size_bytes, found.digest);
            let since = tx.moment();
            tx.push(Record::Damaged(DamagedRecord { digest, inode: seen.inode, reason, quarantined, since }));
            Ok(Ok(()))
        })
    }

    /// Other bytes under the name of a digest that nothing names: to quarantine, and nothing is left on record.
    fn throw_out(&self, digest: &Digest, digests: &Digests, seen: Stamp) -> Done {
        if let Err(reason) = self.mark_bad(digest, digests, seen, true)? {
            return Ok(Err(reason));
        }
        let digest = *digest;
        self.ctx.ledger.transact(move |tx| {
            if tx.blob(&digest)?.is_none() && !tx.is_rooted(&digest)? {
                let (rule, when) = ("check --repair: not its bytes".to_owned(), tx.moment());
                tx.push(Record::Removed(RemovedRecord { digest, size_bytes: seen.size_bytes, rule, when }));
            }
            Ok(Ok(()))
        })
    }

    /// Names of a blob of which there is no record.
    fn dangling(&mut self, digest: &Digest) -> Done {
        if self.ctx.ledger.blobs.meta(digest)?.is_some() {
            let finding = Finding::at(FindingCode::AliasDangling, PathBuf::new(), "");
            return self.orphan(digest, &finding);
        }
        self.missing(digest)
    }

    fn unlisted(&self, digest: &Digest) -> Done {
        let (digest, lossy) = (*digest, self.lossy);
        self.ctx.ledger.transact(move |tx| {
            if lossy && tx.blob(&digest)?.is_some() && !tx.is_rooted(&digest)? {
                pin(tx, &digest);
            }
            tx.note_if_unrooted(&digest)?;
            Ok(Ok(()))
        })
    }
}

/// Why a blob is left for the next time.
pub(super) const CHANGES: &str = "it changes while it is looked at";

fn is_still(tx: &Tx<'_>, digest: &Digest, seen: &Stamp) -> Result<bool> {
    Ok(tx.ledger().blobs.meta(digest)?.is_some_and(|meta| stamp(&meta).agrees(seen)))
}

fn pin(tx: &mut Tx<'_>, digest: &Digest) {
    let (note, since) = (PIN_NOTE.to_owned(), tx.moment());
    tx.push(Record::Pin(PinRecord { digest: *digest, note, since }));
}

/// A blob that was hashed comes on record. Where its names may be lost it is pinned, and else its grace begins.
pub(super) fn take_in(tx: &mut Tx<'_>, digest: &Digest, digests: &Digests, stamp: Stamp, lossy: bool) -> Result<()> {
    let added = tx.moment();
    tx.push(Record::Blob(BlobRecord { digest: *digest, blake3: digests.blake3, stamp, added }));
    if lossy && !tx.is_rooted(digest)? {
        pin(tx, digest);
    }
    tx.note_if_unrooted(digest).map(drop)
}

/// A good file with another stamp than recorded. Where it is another file, the names follow. It is kept no longer for
/// that than it was.
fn restamp(
    tx: &mut Tx<'_>,
    digest: &Digest,
    row: &BlobRow,
    blake3: crate::vocabulary::Blake3,
    now: Stamp,
) -> Result<()> {
    let (unrooted, condemned) = (tx.unrooted(digest)?, tx.condemned(digest)?);
    let (digest, added) = (*digest, row.added);
    if now.inode == row.stamp.inode {
        tx.push(Record::Blob(BlobRecord { digest, blake3, stamp: now, added }));
        mended(tx, &digest, 0)?;
    } else {
        let (bad, staged) = (Some(row.stamp), String::new());
        tx.heal(HealedRecord { digest, blake3, bad, good: now, staged, added })?;
    }
    let since = |since| SinceRecord { digest, since };
    unrooted.map(|moment| Record::Unrooted(since(moment))).into_iter().for_each(|record| tx.push(record));
    condemned.map(|moment| Record::Condemned(since(moment))).into_iter().for_each(|record| tx.push(record));
    tx.note_if_unrooted(&digest).map(drop)
}
