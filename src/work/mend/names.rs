//! Names: linked again, and put on record where the disk knows them and the journal does not.

use super::{BATCH, Mender};
use crate::format::record::{AliasRecord, BlobRecord, Record, Replaced};
use crate::format::table::AliasRow;
use crate::hashing::{Digests, digest_file};
use crate::ledger::{Tables, Tx};
use crate::machine::{FileKind, Meta, Open};
use crate::parts::blobs::{BlobDirs, stamp};
use crate::vocabulary::{Digest, Error, Finding, FindingCode, Name, Result};

/// A name that is to be linked again.
#[derive(Clone)]
struct Relink {
    name: Name,
    /// The file in its place, if that is a copy of the blob's bytes, and nothing else is lost with it.
    copy: Option<Meta>,
}

/// How it went with one finding.
type Told = Result<(), String>;

impl Mender<'_> {
    pub(super) fn names(&mut self) -> Result<()> {
        let codes = [FindingCode::NameMissing, FindingCode::NameWrongInode, FindingCode::NameUnapplied];
        for batch in self.of(&codes).chunks(BATCH) {
            if !self.goes_on() {
                return Ok(());
            }
            self.relink(batch)?;
        }
        for batch in self.of(&[FindingCode::NameUnrecorded]).chunks(BATCH) {
            if !self.goes_on() {
                return Ok(());
            }
            self.put_on_record(batch)?;
        }
        self.departed()
    }

    fn relink(&mut self, batch: &[&Finding]) -> Result<()> {
        let named: Vec<&Finding> = batch.iter().filter(|finding| !finding.names.is_empty()).copied().collect();
        let this = &*self;
        let wanted: Vec<Relink> = named.iter().map(|finding| this.wanted(&finding.names[0])).collect::<Result<_>>()?;
        let ledger = self.ctx.ledger;
        let again = wanted.clone();
        ledger.transact(move |tx| again.iter().try_for_each(|relink| again_on_record(tx, relink)))?;
        let snapshot = ledger.snapshot()?;
        for (finding, relink) in named.iter().zip(wanted) {
            let told: Told = match snapshot.name_finding(&relink.name)? {
                Some(refused) => Err(refused.reason),
                None => Ok(()),
            };
            self.told(finding, Ok(told))?;
        }
        Ok(())
    }

    /// What stands in the place of a name. A copy goes only where the blob itself was read and is good.
    fn wanted(&self, name: &Name) -> Result<Relink> {
        let ledger = self.ctx.ledger;
        let (name, path) = (name.clone(), ledger.layout.name(name));
        let nothing = |name| Ok(Relink { name, copy: None });
        let alias = ledger.snapshot()?.alias(&name)?;
        let there = ledger.machine.lstat(&path).ok().filter(|meta| meta.kind == FileKind::File);
        let (Some(alias), Some(meta)) = (alias, there) else { return nothing(name) };
        if meta.size_bytes != alias.size_bytes || meta.size_bytes == 0 {
            return nothing(name);
        }
        let is_it = |path: &std::path::Path| -> bool {
            let read = ledger.machine.open(path, Open::Read).and_then(|file| digest_file(file.as_ref()));
            read.is_ok_and(|found| found.digest == alias.digest)
        };
        let copy = is_it(&path) && is_it(&ledger.blobs.path(&alias.digest));
        Ok(Relink { name, copy: copy.then_some(meta) })
    }

    fn put_on_record(&mut self, batch: &[&Finding]) -> Result<()> {
        let wanted: Vec<(Name, Digest)> =
            batch.iter().filter_map(|finding| Some((finding.names.first()?.clone(), finding.digest?))).collect();
        let told: Vec<Told> = self.ctx.ledger.transact(move |tx| {
            wanted.iter().map(|(name, digest)| new_on_record(tx, name, digest)).collect::<Result<Vec<Told>>>()
        })?;
        for (finding, told) in batch.iter().zip(told) {
            self.told(finding, Ok(told))?;
        }
        Ok(())
    }
}

/// The same alias once more: its file follows from it.
fn again_on_record(tx: &mut Tx<'_>, relink: &Relink) -> Result<()> {
    let Some(alias) = tx.alias(&relink.name)?.filter(|alias| alias.hardlinked) else { return Ok(()) };
    let AliasRow { digest, size_bytes, hardlinked, executable, mtime_ns, added } = alias;
    let path = tx.ledger().layout.name(&relink.name);
    let now = tx.ledger().machine.lstat(&path).ok();
    let as_seen = |copy: &Meta| {
        let key = |meta: &Meta| (meta.inode, meta.size_bytes, meta.mtime_ns, meta.ctime_ns);
        now.as_ref().is_some_and(|now| key(now) == key(copy))
    };
    let copy = relink.copy.filter(as_seen);
    let replaces = copy.map(|copy| Replaced { digest, hardlinked: true, inode: copy.inode });
    let name = relink.name.clone();
    let alias = AliasRecord { name, digest, size_bytes, hardlinked, executable, mtime_ns, replaces, added };
    tx.push(Record::Alias(alias));
    Ok(())
}

/// A file that is a link of a blob on record becomes a name of it.
fn new_on_record(tx: &mut Tx<'_>, name: &Name, digest: &Digest) -> Result<Told> {
    let ledger = tx.ledger();
    if tx.alias(name)?.is_some() {
        return Ok(Ok(()));
    }
    let path = ledger.layout.name(name);
    let meta = match ledger.machine.lstat(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Ok(())),
        other => other.map_err(|e| Error::io("look at", &path, e))?,
    };
    if *digest == Digest::EMPTY {
        the_empty_blob(tx)?;
    }
    let blob = ledger.blobs.meta(digest)?;
    let is_link = blob.is_some_and(|blob| (blob.device, blob.inode) == (meta.device, meta.inode));
    if !(is_link || *digest == Digest::EMPTY && meta.size_bytes == 0) {
        return Ok(Err("it is not the blob's file any more".to_owned()));
    }
    if tx.blob(digest)?.is_none() {
        return Ok(Err("its blob is not on record".to_owned()));
    }
    if let Some(other) = tx.clash(name)? {
        return Ok(Err(format!("it cannot be beside {other:?}")));
    }
    let (size_bytes, mtime_ns, added) = (meta.size_bytes, meta.mtime_ns, tx.moment());
    let (name, digest, hardlinked, executable) = (name.clone(), *digest, true, false);
    let replaces = None;
    let alias = AliasRecord { name, digest, size_bytes, hardlinked, executable, mtime_ns, replaces, added };
    tx.push(Record::Alias(alias));
    Ok(Ok(()))
}

/// Sees that the empty blob is there and on record.
fn the_empty_blob(tx: &mut Tx<'_>) -> Result<()> {
    let ledger = tx.ledger();
    if tx.blob(&Digest::EMPTY)?.is_some() {
        return Ok(());
    }
    let mut dirs = BlobDirs::default();
    ledger.blobs.watch(&Digest::EMPTY, &mut dirs)?;
    let path = ledger.blobs.path(&Digest::EMPTY);
    if ledger.blobs.meta(&Digest::EMPTY)?.is_none() {
        let mode = ledger.policy.blob_mode;
        let made = ledger.machine.open(&path, Open::CreateNew { mode }).and_then(|file| file.sync());
        made.map_err(|e| Error::io("create", &path, e))?;
    }
    ledger.blobs.sync(&dirs)?;
    if let Some(meta) = ledger.blobs.meta(&Digest::EMPTY)?.filter(|meta| meta.size_bytes == 0) {
        let (digest, blake3, added) = (Digest::EMPTY, Digests::of(b"").blake3, tx.moment());
        tx.push(Record::Blob(BlobRecord { digest, blake3, stamp: stamp(&meta), added }));
    }
    Ok(())
}
