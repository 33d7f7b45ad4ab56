//! Names that are no links: hashed, and matched with the blobs that have their bytes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::{FromDisk, PIN_NOTE};
use crate::format::record::{AliasRecord, BlobRecord, Record, Replaced};
use crate::format::table::BlobRow;
use crate::hashing::{Digests, digest_file};
use crate::ledger::Tables;
use crate::machine::{FileKind, Meta, Open};
use crate::parts::blobs::stamp;
use crate::vocabulary::limits::SMALL_FILE_BYTES;
use crate::vocabulary::{Error, Event, Name, Observer, Result, Stamp};
use crate::work::Context;
use crate::work::check::walk::Walk;

/// Names that are committed together.
const BATCH: usize = 512;

/// A file whose bytes are those of a blob.
#[derive(Clone)]
struct Copy {
    name: Name,
    meta: Meta,
    digests: Digests,
    /// The blob's file, whose bytes were hashed too, as it was then.
    blob: Stamp,
}

/// Gives every file under `names/` that is a copy of a blob its name back, as a link; what was copied goes only where
/// the blob was hashed and is good. Everything else is left alone and told.
pub fn take_copies(ctx: &Context<'_>, observer: &dyn Observer, report: &mut FromDisk) -> Result<()> {
    let top = ctx.ledger.layout.names();
    let mut walk = Walk::new(ctx.ledger.machine.as_ref(), top.clone()).map_err(|e| Error::io("list", &top, e))?;
    let mut done = false;
    while !done && !observer.cancelled() {
        let mut unnamed = Vec::new();
        let snapshot = ctx.ledger.snapshot()?;
        while unnamed.len() < BATCH && !done {
            match walk.next() {
                None => done = true,
                Some(Ok(seen)) => {
                    let path = top.join(OsStr::from_bytes(&seen.path));
                    match Name::new(seen.path) {
                        Ok(name) if snapshot.alias(&name)?.is_some() => {}
                        Ok(name) if seen.kind == FileKind::File => unnamed.push((name, path)),
                        _ => foreign(observer, report, path, "it is nothing of this store's"),
                    }
                }
                Some(Err((path, e))) => foreign(observer, report, path, &e.to_string()),
            }
        }
        let matched = ctx.workers.map(unnamed, |(name, path)| (matching(ctx, &name, &path), path));
        let mut copies = Vec::new();
        for (copy, path) in matched {
            match copy {
                Ok(copy) => copies.push(copy),
                Err(reason) => foreign(observer, report, path, &reason),
            }
        }
        if !copies.is_empty() {
            report.copied_names += record(ctx, copies)?;
        }
    }
    Ok(())
}

fn foreign(observer: &dyn Observer, report: &mut FromDisk, path: PathBuf, reason: &str) {
    report.foreign += 1;
    observer.event(&Event::Failed { path, reason: format!("left alone: {reason}") });
}

/// Hashes a file whose size some blob has, and the blob that its digest names.
fn matching(ctx: &Context<'_>, name: &Name, path: &std::path::Path) -> Result<Copy, String> {
    let ledger = ctx.ledger;
    let text = |e: Error| e.to_string();
    let snapshot = ledger.snapshot().map_err(text)?;
    let file = ledger.machine.open(path, Open::Read).map_err(|e| e.to_string())?;
    let meta = file.meta().map_err(|e| e.to_string())?;
    let nothing = "it is nothing of this store's".to_owned();
    if meta.kind != FileKind::File
        || (meta.size_bytes > SMALL_FILE_BYTES && !snapshot.has_size(meta.size_bytes).map_err(text)?)
    {
        return Err(nothing);
    }
    let digests = digest_file(file.as_ref()).map_err(|e| e.to_string())?;
    if snapshot.blob(&digests.digest).map_err(text)?.is_none() {
        return Err(nothing);
    }
    let blob = ledger.blobs.open(&digests.digest).map_err(text)?;
    let there = blob.meta().map_err(|e| e.to_string())?;
    let good = digest_file(blob.as_ref()).is_ok_and(|found| found == digests);
    good.then(|| Copy { name: name.clone(), meta, digests, blob: stamp(&there) })
        .ok_or_else(|| format!("its bytes are those of {}, and the blob's are not", digests.digest))
}

/// Records names, and with them that their blobs were hashed.
fn record(ctx: &Context<'_>, copies: Vec<Copy>) -> Result<u64> {
    ctx.ledger.transact(move |tx| {
        let mut taken = 0;
        for Copy { name, meta, digests, blob } in copies {
            let ledger = tx.ledger();
            let digest = digests.digest;
            let same =
                |now: Meta| (now.inode, now.ctime_ns, now.size_bytes) == (meta.inode, meta.ctime_ns, meta.size_bytes);
            let file = ledger.machine.lstat(&ledger.layout.name(&name));
            let there = ledger.blobs.meta(&digest)?.map(|now| stamp(&now));
            let Some(row) = tx.blob(&digest)? else { continue };
            let as_hashed = there.is_some_and(|there| there.agrees(&blob)) && file.is_ok_and(same);
            if !as_hashed || tx.alias(&name)?.is_some() || tx.clash(&name)?.is_some() {
                continue;
            }
            let BlobRow { added, .. } = row;
            tx.push(Record::Blob(BlobRecord { digest, blake3: digests.blake3, stamp: blob, added }));
            let replaces = Some(Replaced { digest, hardlinked: true, inode: meta.inode });
            let (size_bytes, mtime_ns) = (meta.size_bytes, meta.mtime_ns);
            let (executable, hardlinked, added) = (meta.mode & 0o111 != 0, true, tx.moment());
            let alias = AliasRecord { name, digest, size_bytes, hardlinked, executable, mtime_ns, replaces, added };
            tx.push(Record::Alias(alias));
            // It was pinned for want of a name.
            if tx.pin(&digest)?.is_some_and(|pin| pin.note == PIN_NOTE) {
                tx.push(Record::Unpin(digest));
            }
            taken += 1;
        }
        Ok(taken)
    })
}
