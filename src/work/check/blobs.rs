//! The blobs: what is on record of them, beside the files under `sha256/`.

use std::collections::{BTreeMap, BTreeSet};

use super::{CHUNK, Checker, Looker};
use crate::format::record::Moment;
use crate::format::record::scrub::{FindingRow, Wrong};
use crate::format::table::{BlobRow, DamagedRow, Table};
use crate::ledger::{Snapshot, Tables};
use crate::machine::{FileKind, Meta};
use crate::parts::blobs::stamp;
use crate::vocabulary::{Digest, ErrorKind, Finding, FindingCode, Result};

/// What is known of one digest.
#[derive(Clone, Debug, Default)]
struct Known {
    blob: Option<BlobRow>,
    damaged: Option<DamagedRow>,
    /// By a name or a pin, which promise that the store has it.
    rooted: bool,
    /// By an entry, which may know of bytes that are elsewhere.
    entered: bool,
    unrooted: bool,
}

impl Checker<'_, '_> {
    /// One of the 256 directories after the other: its records and its files are held in memory, in order.
    pub(super) fn blobs(&mut self) -> Result<()> {
        let snapshot = self.fresh()?;
        for first in 0..=u8::MAX {
            let known = known_from(&snapshot, first)?;
            self.report.blobs += known.values().filter(|known| known.blob.is_some()).count() as u64;
            self.observer.expect(known.len() as u64, 0);
            let rest: Vec<(Digest, Known)> = known.into_iter().collect();
            let mut listed = self.listed(first)?;
            for chunk in rest.chunks(CHUNK) {
                if !self.goes_on() {
                    return Ok(());
                }
                chunk.iter().for_each(|(digest, _)| _ = listed.remove(digest));
                let looker = self.looker;
                let wrong = self.ctx.workers.map(chunk.iter().collect(), |(digest, known)| {
                    looker.judge(digest, known).is_some().then_some(*digest)
                });
                self.settle_blobs(&wrong.into_iter().flatten().collect::<Vec<_>>())?;
                self.observer.progress(chunk.len() as u64, 0);
            }
            let unknown: Vec<Digest> = listed.into_iter().collect();
            for chunk in unknown.chunks(CHUNK) {
                if !self.goes_on() {
                    return Ok(());
                }
                self.settle_blobs(chunk)?;
            }
        }
        Ok(())
    }

    fn listed(&mut self, first: u8) -> Result<BTreeSet<Digest>> {
        match self.ctx.ledger.blobs.list(first) {
            Ok(entries) => Ok(entries.into_iter().map(|(digest, _)| digest).collect()),
            // That it is missing has been told.
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(e) => {
                let path = self.looker.short(&self.ctx.ledger.layout.blob_dir(first));
                self.found(Finding::at(FindingCode::Unreadable, path, e.to_string()))?;
                Ok(BTreeSet::new())
            }
        }
    }

    /// Looks again at blobs that look wrong, and tells what still is.
    fn settle_blobs(&mut self, suspects: &[Digest]) -> Result<()> {
        if suspects.is_empty() {
            return Ok(());
        }
        let found = self.calmly(|calm| {
            let staged = self.staged_by_the_living()?;
            let mut found = Vec::new();
            for digest in suspects.iter().filter(|digest| !calm.touches_blob(digest)) {
                let known = known_of(&*calm.snapshot, digest)?;
                let Some(finding) = self.looker.judge(digest, &known) else { continue };
                let inode =
                    || self.looker.look(&self.ctx.ledger.layout.blob(digest)).ok().flatten().map(|meta| meta.inode);
                if finding.code == FindingCode::Orphan && inode().is_none_or(|inode| staged.contains(&inode)) {
                    continue;
                }
                found.push(finding.named(calm.snapshot.names_of(digest)?));
            }
            Ok(found)
        })?;
        found.into_iter().try_for_each(|finding| self.found(finding))
    }
}

impl Looker<'_> {
    /// What is wrong with a blob, if something is.
    fn judge(&self, digest: &Digest, known: &Known) -> Option<Finding> {
        let path = self.ctx.ledger.layout.blob(digest);
        let finding = |code, detail: String| Some(Finding::at(code, self.short(&path), detail).of(digest));
        if let Some(damaged) = &known.damaged {
            return finding(FindingCode::BlobDamaged, damaged.reason.clone());
        }
        let there = match self.look(&path) {
            Ok(there) => there,
            Err(unreadable) => return Some(unreadable.of(digest)),
        };
        match (&known.blob, there) {
            (None, None) if !known.rooted => None,
            (None, _) if known.rooted => {
                let file = if there.is_some() { "its file is there" } else { "nor is there a file" };
                finding(FindingCode::AliasDangling, format!("there is no record of the blob; {file}"))
            }
            (None, Some(meta)) if meta.kind != FileKind::File => None,
            (None, _) => finding(FindingCode::Orphan, "no record knows it".to_owned()),
            (Some(_), None) => finding(FindingCode::BlobMissing, "its file is not there".to_owned()),
            (Some(row), Some(meta)) => match self.differs(row, &meta) {
                Some((code, detail)) => finding(code, detail),
                None if !known.rooted && !known.entered && !known.unrooted => {
                    finding(FindingCode::BlobUnlisted, "nothing keeps it, and it is not listed to go".to_owned())
                }
                None => None,
            },
        }
    }

    /// In what a blob's file is not what was recorded.
    fn differs(&self, row: &BlobRow, meta: &Meta) -> Option<(FindingCode, String)> {
        let (was, now) = (&row.stamp, stamp(meta));
        let allowed = self.ctx.ledger.policy.blob_mode;
        if meta.kind != FileKind::File {
            return Some((FindingCode::BlobKind, "it is no regular file".to_owned()));
        }
        if now.size_bytes != was.size_bytes {
            let detail = format!("{} bytes instead of {}", now.size_bytes, was.size_bytes);
            return Some((FindingCode::BlobSize, detail));
        }
        if (now.inode, now.mtime_ns) != (was.inode, was.mtime_ns) {
            let what = if now.inode == was.inode { "its modification time" } else { "its inode" };
            return Some((FindingCode::BlobStamp, format!("{what} is another one than recorded")));
        }
        let detail = || format!("its mode is {:04o}, and {:04o} was recorded", now.mode, was.mode);
        (now.mode != was.mode || now.mode & !allowed != 0).then(|| (FindingCode::BlobMode, detail()))
    }
}

/// What is on record of one digest.
fn known_of(tables: &impl Tables, digest: &Digest) -> Result<Known> {
    Ok(Known {
        blob: tables.blob(digest)?,
        damaged: tables.damaged(digest)?,
        rooted: tables.pin(digest)?.is_some() || tables.has_name(digest)?,
        entered: tables.has_entry(digest)?,
        unrooted: tables.unrooted(digest)?.is_some(),
    })
}

/// What is on record of every digest that begins with `first`.
fn known_from(snapshot: &Snapshot, first: u8) -> Result<BTreeMap<Digest, Known>> {
    let mut known: BTreeMap<Digest, Known> = BTreeMap::new();
    let mut rows = |table: Table, take: &mut dyn FnMut(&mut Known, &[u8]) -> Result<()>| -> Result<()> {
        for row in snapshot.view.prefix(&table.key(&[first])) {
            let (key, value) = row?;
            if let Some(digest) = key.get(1..33).and_then(|bytes| bytes.try_into().ok()) {
                take(known.entry(Digest::from_bytes(digest)).or_default(), &value)?;
            }
        }
        Ok(())
    };
    rows(Table::Blob, &mut |known, value| {
        known.blob = Some(read(value)?);
        Ok(())
    })?;
    rows(Table::Damaged, &mut |known, value| {
        known.damaged = Some(read(value)?);
        Ok(())
    })?;
    rows(Table::Finding, &mut |known, value| {
        // Of carriers, too: whatever looks wrong here is looked at again.
        let found: FindingRow = read(value)?;
        if found.wrong == Wrong::Corrupt && known.damaged.is_none() {
            let since = Moment { sequence: 0, time_ns: found.first_ns };
            known.damaged = Some(DamagedRow { inode: 0, reason: found.reason, quarantined: false, since });
        }
        Ok(())
    })?;
    let mut rooted = |known: &mut Known, _: &[u8]| {
        known.rooted = true;
        Ok(())
    };
    rows(Table::Reference, &mut rooted)?;
    rows(Table::Pin, &mut rooted)?;
    rows(Table::Keeps, &mut |known, _| {
        known.entered = true;
        Ok(())
    })?;
    rows(Table::Unrooted, &mut |known, _| {
        known.unrooted = true;
        Ok(())
    })?;
    Ok(known)
}

fn read<T: serde::de::DeserializeOwned>(value: &[u8]) -> Result<T> {
    crate::format::table::decode(value).map_err(|_| {
        crate::vocabulary::Error::new(ErrorKind::Damaged, "read a row of the index", "it cannot be decoded")
    })
}
