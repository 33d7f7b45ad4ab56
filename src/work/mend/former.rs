//! What larder itself left in the place of a name, or aside for it: a file of a blob that the name means or meant.
//!
//! Everything else is somebody else's, and stays.

use std::path::{Path, PathBuf};

use super::Mender;
use super::blobs::{CHANGES, Hashed, take_in};
use crate::format::record::Replaced;
use crate::hashing::digest_file;
use crate::ledger::{Tables, Tx};
use crate::machine::{FileKind, Meta, Open};
use crate::parts::blobs::{BlobDirs, stamp};
use crate::vocabulary::{Digest, Error, Name, Result};

/// A file of larder's own.
#[derive(Clone)]
pub(super) struct Former {
    path: PathBuf,
    /// The blob that it is of.
    digest: Digest,
    seen: Meta,
    /// If it is no link of anything that is kept: its bytes, which may be the last of them.
    alone: Option<Hashed>,
}

/// Why a file is left where it is.
pub(super) const NOT_OURS: &str = "it is not what larder left there: move it where you want it";

impl Mender<'_> {
    /// The file aside for a name, or in its place, if larder left it there: a link of a blob that the name means or
    /// meant, of a carrier or of bad bytes of it in quarantine; or a read-only file that was one and is alone now; or a
    /// read-only copy of the blob, where that was read and is good. `None`: nothing is there, what should be is, or it is not
    /// known whose it is.
    pub(super) fn former(&self, name: &Name) -> Result<Option<Former>> {
        let ledger = self.ctx.ledger;
        let snapshot = ledger.snapshot()?;
        let Some(alias) = snapshot.alias(name)? else { return Ok(None) };
        let meant: Vec<Digest> = snapshot.meant(name)?.into_iter().filter(|digest| *digest != alias.digest).collect();
        for path in [ledger.names.aside(name), ledger.layout.name(name)] {
            let there = ledger.machine.lstat(&path).ok().filter(|meta| meta.kind == FileKind::File);
            let Some(seen) = there else { continue };
            let former = |digest, alone| Ok(Some(Former { path: path.clone(), digest, seen, alone }));
            for digest in std::iter::once(&alias.digest).chain(&meant) {
                if self.is_link(digest, &seen)? {
                    return former(*digest, None);
                }
            }
            if self.is_copy(&alias.digest, alias.size_bytes, &path, &seen) {
                return former(alias.digest, None);
            }
            for digest in &meant {
                if let Ok(hashed) = self.hashed_as(digest, &path, &seen)? {
                    return former(*digest, Some(hashed));
                }
            }
        }
        Ok(None)
    }

    /// Whether a file is the blob's, or a carrier's, or one with bad bytes of it that is in quarantine.
    pub(super) fn is_link(&self, digest: &Digest, meta: &Meta) -> Result<bool> {
        let ledger = self.ctx.ledger;
        if *digest == Digest::EMPTY {
            return Ok(meta.size_bytes == 0 && is_sealed(meta));
        }
        let same = |other: Meta| (other.device, other.inode) == (meta.device, meta.inode);
        if ledger.blobs.meta(digest)?.is_some_and(same) || self.evidence()?.has(ledger, digest, meta) {
            return Ok(true);
        }
        for (number, row) in ledger.snapshot()?.carriers(digest)? {
            if row.stamp.inode == meta.inode && ledger.carriers.meta(digest, number)?.is_some_and(same) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a file that nobody writes to has the bytes of a blob that was read and is good: nothing is lost with it. One
    /// that may be written to is somebody's: a record tells it by its inode alone, and a crash may leave the time to
    /// write to it before it is removed.
    fn is_copy(&self, digest: &Digest, size_bytes: u64, path: &Path, meta: &Meta) -> bool {
        let ledger = self.ctx.ledger;
        let is_it = |path: &Path| -> bool {
            let read = ledger.machine.open(path, Open::Read).and_then(|file| digest_file(file.as_ref()));
            read.is_ok_and(|found| found.digest == *digest)
        };
        let may_be = is_sealed(meta) && meta.size_bytes == size_bytes && size_bytes != 0;
        may_be && is_it(path) && is_it(&ledger.blobs.path(digest))
    }

    /// A file that is no link of the blob has its bytes, and so has the blob, where there is one.
    pub(super) fn hashed_as(&self, digest: &Digest, path: &Path, meta: &Meta) -> Result<Result<Hashed, String>> {
        let ledger = self.ctx.ledger;
        if meta.kind != FileKind::File || meta.mode & !ledger.policy.blob_mode & 0o7777 != 0 {
            return Ok(Err(NOT_OURS.to_owned()));
        }
        let Some(hashed) = self.hash(path)? else { return Ok(Err(CHANGES.to_owned())) };
        if hashed.digests.digest != *digest {
            return Ok(Err(NOT_OURS.to_owned()));
        }
        let blob = ledger.blobs.meta(digest)?.map(|_| self.hash(&ledger.blobs.path(digest))).transpose()?.flatten();
        Ok(match blob {
            Some(blob) if blob.digests.digest != *digest => Err("the blob's own bytes are not as good".to_owned()),
            _ => Ok(hashed),
        })
    }
}

/// Whether nobody writes to a file, as to all that larder makes.
fn is_sealed(meta: &Meta) -> bool {
    meta.mode & 0o222 == 0
}

impl Former {
    /// The file as what a name is to replace, if it is still what was seen. What it alone holds becomes a blob first.
    fn replaced_now(&self, tx: &mut Tx<'_>) -> Result<bool> {
        let Ok(now) = tx.ledger().machine.lstat(&self.path) else { return Ok(false) };
        let key = |meta: &Meta| (meta.device, meta.inode, meta.size_bytes, meta.mtime_ns);
        if key(&now) != key(&self.seen) {
            return Ok(false);
        }
        match &self.alone {
            Some(alone) => Ok(keep(tx, &self.digest, &self.path, alone)?.is_ok()),
            None => Ok(true),
        }
    }

    /// What the record of the name says that it replaces.
    pub(super) fn replaced(&self, tx: &mut Tx<'_>) -> Result<Option<Replaced>> {
        let replaced = Replaced { digest: self.digest, hardlinked: true, inode: self.seen.inode };
        Ok(self.replaced_now(tx)?.then_some(replaced))
    }
}

/// Gives the bytes that a file alone may hold the place of their blob, unless they have it; its grace begins.
pub(super) fn keep(tx: &mut Tx<'_>, digest: &Digest, path: &Path, alone: &Hashed) -> Result<Result<(), String>> {
    let ledger = tx.ledger();
    let now = ledger.machine.lstat(path).map_err(|e| Error::io("look at", path, e))?;
    if !stamp(&now).agrees(&alone.stamp) {
        return Ok(Err(CHANGES.to_owned()));
    }
    if tx.blob(digest)?.is_some() {
        return Ok(Ok(()));
    }
    if ledger.blobs.meta(digest)?.is_some() {
        return Ok(Err("the file in the place of its blob is not on record".to_owned()));
    }
    let mut dirs = BlobDirs::default();
    ledger.blobs.publish(path, digest, &mut dirs)?;
    ledger.blobs.sync(&dirs)?;
    take_in(tx, digest, &alone.digests, alone.stamp, false)?;
    Ok(Ok(()))
}
