//! The names: what is on record of them, beside the files under `names/`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::walk::{Seen, Walk};
use super::{CHUNK, Checker, Looker};
use crate::format::table::AliasRow;
use crate::ledger::{Ledger, Tables};
use crate::machine::{FileKind, Meta};
use crate::vocabulary::{Digest, Error, Finding, FindingCode, Name, Prefix, Result};
use crate::work::links::Evidence;

/// Files without a name on record that are held until they are looked up among the blobs, all in one sweep.
const STRAYS: usize = 1 << 16;

/// A name on record, or a file, or both.
struct Both {
    path: Vec<u8>,
    alias: Option<AliasRow>,
    seen: Option<Seen>,
    /// Whether it is on record as not applied.
    unapplied: bool,
}

/// What became of looking again.
enum Judged {
    Fine,
    Wrong(Finding),
    /// A file that no name on record stands for.
    Stray(Meta),
}

impl Checker<'_, '_> {
    pub(super) fn names(&mut self) -> Result<()> {
        let snapshot = self.fresh()?;
        let ledger = self.ctx.ledger;
        let top = ledger.layout.names();
        let mut walk = match Walk::new(ledger.machine.as_ref(), top.clone()) {
            Ok(walk) => walk,
            Err(e) => return Err(Error::io("list", &top, e)),
        };
        let mut aliases = snapshot.aliases(&Prefix::Everything);
        let (mut alias, mut seen) = (aliases.next().transpose()?, self.next_seen(&mut walk)?);
        let mut unapplied = snapshot.all_name_findings().map(|row| row.map(|(name, _)| name)).peekable();
        let mut strays = BTreeMap::new();
        loop {
            let mut chunk = Vec::new();
            while chunk.len() < CHUNK && (alias.is_some() || seen.is_some()) {
                let order = match (&alias, &seen) {
                    (Some((name, _)), Some(seen)) => name.as_bytes().cmp(&seen.path),
                    (Some(_), None) => std::cmp::Ordering::Less,
                    _ => std::cmp::Ordering::Greater,
                };
                let left = if order.is_le() { alias.take() } else { None };
                let right = if order.is_ge() { seen.take() } else { None };
                if left.is_some() {
                    alias = aliases.next().transpose()?;
                    self.report.names += 1;
                }
                if right.is_some() {
                    seen = self.next_seen(&mut walk)?;
                }
                let path = left.as_ref().map(|(name, _)| name.as_bytes().to_vec());
                let path = path.or(right.as_ref().map(|seen| seen.path.clone())).expect("one of the two is there");
                while unapplied.next_if(|name| name.as_ref().is_ok_and(|name| name.as_bytes() < &path[..])).is_some() {}
                let is_it = |name: &Result<Name>| name.as_ref().map_or(true, |name| name.as_bytes() == path);
                let unapplied = unapplied.next_if(is_it).transpose()?.is_some();
                chunk.push(Both { path, alias: left.map(|(_, row)| row), seen: right, unapplied });
            }
            if chunk.is_empty() || !self.goes_on() {
                break;
            }
            self.observer.expect(chunk.len() as u64, 0);
            let looker = self.looker;
            let wrong =
                self.ctx.workers.map(chunk.iter().collect(), |both| (!looker.agrees(both)).then_some(&both.path));
            let wrong: Vec<&Vec<u8>> = wrong.into_iter().flatten().collect();
            self.settle_names(&wrong, &mut strays)?;
            if strays.len() >= STRAYS {
                self.tell_strays(std::mem::take(&mut strays))?;
            }
            self.observer.progress(chunk.len() as u64, 0);
        }
        self.tell_strays(strays)
    }

    /// The next file; a directory that cannot be read is a finding.
    fn next_seen(&mut self, walk: &mut Walk<'_>) -> Result<Option<Seen>> {
        loop {
            match walk.next() {
                None => return Ok(None),
                Some(Ok(seen)) => return Ok(Some(seen)),
                Some(Err((path, e))) => {
                    let path = self.looker.short(&path);
                    self.found(Finding::at(FindingCode::Unreadable, path, e.to_string()))?;
                }
            }
        }
    }

    /// Looks again at names that look wrong, tells what still is, and puts files without a name by.
    fn settle_names(&mut self, suspects: &[&Vec<u8>], strays: &mut BTreeMap<Vec<u8>, Meta>) -> Result<()> {
        if suspects.is_empty() {
            return Ok(());
        }
        let judged = self.calmly(|calm| {
            let mut judged = Vec::new();
            for path in suspects {
                let Ok(name) = Name::new((*path).clone()) else {
                    judged.push((*path, Judged::Wrong(self.looker.foreign(path, "it is no name that larder gives"))));
                    continue;
                };
                let alias = calm.snapshot.alias(&name)?;
                if !calm.touches_name(&name, alias.as_ref().map(|alias| &alias.digest)) {
                    judged.push((*path, self.looker.judge_name(&*calm.snapshot, &name, alias.as_ref())?));
                }
            }
            Ok(judged)
        })?;
        for (path, judged) in judged {
            match judged {
                Judged::Fine => {}
                Judged::Wrong(finding) => self.found(finding)?,
                Judged::Stray(meta) => _ = strays.insert(path.clone(), meta),
            }
        }
        Ok(())
    }

    /// Tells of files without a name on record, whether each is a blob of this store.
    fn tell_strays(&mut self, strays: BTreeMap<Vec<u8>, Meta>) -> Result<()> {
        let digests = self.digests_of(strays.values())?;
        let snapshot = self.fresh()?;
        // What was lost with a damaged stretch may have given a name again.
        let whole = !self.journal_is_damaged && snapshot.damage.is_empty() && !snapshot.is_fenced()?;
        for (path, meta) in strays {
            let known = digests.get(&meta.inode);
            let departed = match Name::new(path.clone()) {
                Ok(name) if whole => departed(self.ctx.ledger, &*snapshot, &name, known, &meta)?,
                _ => None,
            };
            let finding = match known {
                _ if let Some(digest) = departed => {
                    let detail = "the journal took this name away, and its file is still there";
                    let path = Path::new("names").join(OsStr::from_bytes(&path));
                    Finding::at(FindingCode::NameDeparted, path, detail).of(&digest)
                }
                Some(digest) => {
                    let detail = "it is a blob of this store, under a name that is not on record";
                    let path = Path::new("names").join(OsStr::from_bytes(&path));
                    Finding::at(FindingCode::NameUnrecorded, path, detail).of(digest)
                }
                None => self.looker.foreign(&path, "it is nothing of this store's"),
            };
            let name = Name::new(path).into_iter().collect();
            self.found(finding.named(name))?;
        }
        Ok(())
    }

    /// The blobs that files are, they or a carrier of them, by their inodes. Empty files are all the empty blob.
    fn digests_of<'m>(&self, files: impl Iterator<Item = &'m Meta>) -> Result<BTreeMap<u64, Digest>> {
        let ledger = self.ctx.ledger;
        let (mut digests, mut wanted) = (BTreeMap::new(), BTreeMap::new());
        for meta in files {
            match meta.size_bytes {
                0 => _ = digests.insert(meta.inode, Digest::EMPTY),
                _ => _ = wanted.insert(meta.inode, meta.device),
            }
        }
        let is_it = |path: &Path, device: u64, inode: u64| {
            ledger.machine.lstat(path).is_ok_and(|there| (there.device, there.inode) == (device, inode))
        };
        let snapshot = self.fresh()?;
        for row in snapshot.all_carriers().take_while(|_| !wanted.is_empty()) {
            let ((digest, number), row) = row?;
            let Some(device) = wanted.get(&row.stamp.inode) else { continue };
            if is_it(&ledger.layout.carrier(&digest, number), *device, row.stamp.inode) {
                digests.insert(row.stamp.inode, digest);
            }
        }
        for first in (0..=u8::MAX).filter(|_| !wanted.is_empty()) {
            for (digest, inode) in ledger.blobs.list(first).unwrap_or_default() {
                let Some(device) = wanted.get(&inode) else { continue };
                if is_it(&ledger.layout.blob(&digest), *device, inode) {
                    digests.insert(inode, digest);
                }
            }
        }
        Ok(digests)
    }
}

impl Looker<'_> {
    /// Whether record and file agree, as far as one look tells.
    fn agrees(&self, both: &Both) -> bool {
        let ledger = self.ctx.ledger;
        if both.unapplied {
            return false;
        }
        match (&both.alias, &both.seen) {
            (Some(alias), None) => !alias.hardlinked,
            (Some(alias), Some(seen)) if alias.hardlinked && seen.kind == FileKind::File => {
                if alias.digest == Digest::EMPTY {
                    let path = ledger.layout.names().join(OsStr::from_bytes(&both.path));
                    return ledger.machine.lstat(&path).is_ok_and(|meta| meta.size_bytes == 0);
                }
                let blob = ledger.machine.lstat(&ledger.layout.blob(&alias.digest));
                blob.is_ok_and(|blob| blob.inode == seen.inode)
            }
            _ => false,
        }
    }

    fn judge_name(&self, tables: &impl Tables, name: &Name, alias: Option<&AliasRow>) -> Result<Judged> {
        let ledger = self.ctx.ledger;
        let path = ledger.layout.name(name);
        let there = match self.look(&path) {
            Ok(there) => there.filter(|meta| meta.kind != FileKind::Directory || alias.is_some_and(|a| a.hardlinked)),
            Err(unreadable) => return Ok(Judged::Wrong(unreadable.named(vec![name.clone()]))),
        };
        let Some(alias) = alias else {
            return Ok(match there {
                None => Judged::Fine,
                Some(meta) if meta.kind == FileKind::File => Judged::Stray(meta),
                Some(_) => Judged::Wrong(self.foreign(name.as_bytes(), "it is nothing of this store's")),
            });
        };
        let wrong = |code, detail: &str| {
            let finding = Finding::at(code, self.short(&path), detail);
            Ok(Judged::Wrong(finding.of(&alias.digest).named(vec![name.clone()])))
        };
        if let Some(known) = tables.name_finding(name)? {
            return wrong(FindingCode::NameUnapplied, &known.reason);
        }
        if !alias.hardlinked {
            let foreign = |_| Judged::Wrong(self.foreign(name.as_bytes(), "it is nothing of this store's"));
            return Ok(there.map_or(Judged::Fine, foreign));
        }
        // What is wrong with the blob is told of the blob.
        let blob = ledger.machine.lstat(&ledger.layout.blob(&alias.digest)).ok();
        let Some(blob) = blob.filter(|_| tables.damaged(&alias.digest).is_ok_and(|damaged| damaged.is_none())) else {
            return Ok(Judged::Fine);
        };
        match there {
            None => wrong(FindingCode::NameMissing, "its file is not there"),
            Some(meta) if meta.kind != FileKind::File => {
                wrong(FindingCode::NameForeign, "something that is no file stands in its place")
            }
            Some(meta) if alias.digest == Digest::EMPTY && meta.size_bytes == 0 => Ok(Judged::Fine),
            Some(meta) if (meta.device, meta.inode) == (blob.device, blob.inode) => Ok(Judged::Fine),
            Some(meta) if is_carrier(tables, &alias.digest, &meta)? => Ok(Judged::Fine),
            Some(_) => wrong(FindingCode::NameWrongInode, "the file there is not the blob's"),
        }
    }

    fn foreign(&self, path: &[u8], detail: &str) -> Finding {
        let path = Path::new("names").join(OsStr::from_bytes(path));
        Finding::at(FindingCode::NameForeign, path, detail)
    }
}

/// Whether a file is a carrier of a blob: its names are links to one where its own file has no links left.
fn is_carrier(tables: &impl Tables, digest: &Digest, meta: &Meta) -> Result<bool> {
    Ok(tables.carriers(digest)?.iter().any(|(_, row)| row.stamp.inode == meta.inode))
}

/// The blob of a name that was taken away and whose file stayed: the one that the file is (`known`); or, if it was put on
/// record that the file stayed, the one whose bad bytes it is, which are in quarantine, or what it may be by its length,
/// if nobody may write to it.
fn departed(
    ledger: &Ledger,
    tables: &impl Tables,
    name: &Name,
    known: Option<&Digest>,
    meta: &Meta,
) -> Result<Option<Digest>> {
    let meant = tables.meant(name)?;
    if let Some(known) = known {
        return Ok(meant.contains(known).then_some(*known));
    }
    if meant.is_empty() || tables.name_finding(name)?.is_none() {
        return Ok(None);
    }
    let evidence = Evidence::read(ledger)?;
    if let Some(bad) = meant.iter().find(|digest| evidence.has(ledger, digest, meta)) {
        return Ok(Some(*bad));
    }
    if meta.mode & !ledger.policy.blob_mode & 0o7777 != 0 {
        return Ok(None);
    }
    for digest in meant {
        let on_record = tables.blob(&digest)?.map(|row| row.stamp.size_bytes);
        if on_record.or(tables.gone(&digest)?.map(|gone| gone.size_bytes)) == Some(meta.size_bytes) {
            return Ok(Some(digest));
        }
    }
    Ok(None)
}
