//! Names: linked again, and put on record where the disk knows them and the journal does not.

use super::former::Former;
use super::{BATCH, Mender};
use crate::format::record::{AliasRecord, BlobRecord, Record};
use crate::hashing::Digests;
use crate::ledger::{Tables, Tx};
use crate::machine::{Meta, Open};
use crate::parts::blobs::{BlobDirs, stamp};
use crate::vocabulary::{Digest, Error, Finding, FindingCode, Name, Result};

/// A name that is to be made to agree again.
#[derive(Clone)]
struct Relink {
    name: Name,
    /// The file in its place, or aside for it, if that is larder's own.
    former: Option<Former>,
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
        let names: Vec<Name> = named.iter().map(|finding| finding.names[0].clone()).collect();
        self.once_more(&names)?;
        // One former file may stand aside and another one in the place: each takes a frame.
        let snapshot = self.ctx.ledger.snapshot()?;
        let mut still = Vec::new();
        for name in names {
            if snapshot.name_finding(&name)?.is_some() && self.former(&name)?.is_some() {
                still.push(name);
            }
        }
        self.once_more(&still)?;
        let snapshot = self.ctx.ledger.snapshot()?;
        for finding in named {
            let told: Told = match snapshot.name_finding(&finding.names[0])? {
                Some(refused) => Err(refused.reason),
                None => Ok(()),
            };
            self.told(finding, Ok(told))?;
        }
        Ok(())
    }

    /// What the names mean once more: their files follow from it.
    fn once_more(&self, names: &[Name]) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let relink = |name: &Name| Ok(Relink { name: name.clone(), former: self.former(name)? });
        let wanted: Vec<Relink> = names.iter().map(relink).collect::<Result<_>>()?;
        self.ctx.ledger.transact(move |tx| wanted.iter().try_for_each(|relink| again_on_record(tx, relink)))
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

/// The same alias once more, in place of what larder left there: its file follows from it.
fn again_on_record(tx: &mut Tx<'_>, relink: &Relink) -> Result<()> {
    let Some(alias) = tx.alias(&relink.name)? else { return Ok(()) };
    let replaces = relink.former.as_ref().map(|former| former.replaced(tx)).transpose()?.flatten();
    tx.push(Record::Alias(alias.record(relink.name.clone(), replaces)));
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
    let is_it = |other: Meta| (other.device, other.inode) == (meta.device, meta.inode);
    let mut is_link = blob.is_some_and(is_it);
    for (number, row) in tx.carriers(digest)? {
        is_link |= row.stamp.inode == meta.inode && ledger.carriers.meta(digest, number)?.is_some_and(is_it);
    }
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
