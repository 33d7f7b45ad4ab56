//! Blobs and names joined on (device, inode), and written as a base.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::prepare::Prepared;
use super::{FromDisk, PIN_NOTE, carriers};
use crate::format::layout::Layout;
use crate::format::record::copies::CarrierRecord;
use crate::format::record::{AliasRecord, BlobRecord, PinRecord, Record};
use crate::hashing::{Digests, Workers};
use crate::ledger::anew::Anew;
use crate::machine::{FileKind, Meta, Open};
use crate::parts::blobs::stamp;
use crate::vocabulary::limits::FROM_DISK_BLOBS;
use crate::vocabulary::{Blake3, Digest, Error, ErrorKind, Event, Name, Observer, Result};
use crate::work::check::walk::Walk;

/// A blob that was found.
struct Found {
    digest: Digest,
    meta: Meta,
    named: bool,
}

/// Files of one group of directories, by their inodes.
type Blobs = HashMap<u64, Found>;

/// A carrier's inode, and the inode of the blob's own file.
type Carried = HashMap<u64, u64>;

/// Reads the disk and publishes the new journal.
pub(super) fn join(
    prepared: &Prepared,
    workers: &Workers,
    observer: &dyn Observer,
    report: &mut FromDisk,
) -> Result<()> {
    let mut join = Join { prepared, workers, observer, report, empty: None, carriers: BTreeMap::new() };
    join.carriers = carriers::list(prepared, observer, join.report)?;
    let mut anew = Anew::begin(&prepared.journal, prepared.through, prepared.time_ns)?;
    let groups = join.groups()?;
    for (number, group) in groups.iter().enumerate() {
        join.group(group.clone(), number == 0, &mut anew)?;
    }
    join.empties(&mut anew)?;
    prepared.finish(anew)
}

struct Join<'a> {
    prepared: &'a Prepared,
    workers: &'a Workers,
    observer: &'a dyn Observer,
    report: &'a mut FromDisk,
    /// The empty blob, which comes last: its names are no links.
    empty: Option<Vec<(Name, Meta)>>,
    /// Further inodes of blobs that are there, by digest.
    carriers: BTreeMap<Digest, Vec<u32>>,
}

impl Join<'_> {
    /// The 256 directories in groups that fit memory.
    fn groups(&self) -> Result<Vec<std::ops::RangeInclusive<u8>>> {
        let mut groups = Vec::new();
        let (mut begin, mut blobs) = (0, 0);
        for first in 0..=u8::MAX {
            let path = self.prepared.layout.blob_dir(first);
            let here = self.prepared.machine.list(&path).map_err(|e| Error::io("list", &path, e))?.len();
            if blobs > 0 && blobs + here > FROM_DISK_BLOBS {
                groups.push(begin..=first - 1);
                (begin, blobs) = (first, 0);
            }
            blobs += here;
        }
        groups.push(begin..=u8::MAX);
        Ok(groups)
    }

    fn group(&mut self, group: std::ops::RangeInclusive<u8>, first: bool, anew: &mut Anew) -> Result<()> {
        let mut blobs = Blobs::new();
        for first in group {
            self.stop_if_asked()?;
            self.blobs(first, &mut blobs)?;
        }
        let mut order: Vec<(Digest, u64)> = blobs.iter().map(|(inode, found)| (found.digest, *inode)).collect();
        order.sort_unstable();
        for (digest, inode) in &order {
            anew.push(&self.blob(digest, &blobs[inode].meta, Blake3::UNKNOWN))?;
        }
        let carried = self.carriers_of(&order, anew)?;
        self.names(&mut blobs, &carried, first, anew)?;
        for (digest, _) in order.iter().filter(|(_, inode)| !blobs[inode].named) {
            self.report.pinned += 1;
            let (note, since) = (PIN_NOTE.to_owned(), self.prepared.moment());
            anew.push(&Record::Pin(PinRecord { digest: *digest, note, since }))?;
        }
        Ok(())
    }

    /// The carriers of these blobs come on record. As the blobs do, they count as nothing that anybody has hashed.
    fn carriers_of(&mut self, blobs: &[(Digest, u64)], anew: &mut Anew) -> Result<Carried> {
        let mut carried = Carried::new();
        for (digest, inode) in blobs.iter().filter(|_| !self.carriers.is_empty()) {
            for number in self.carriers.get(digest).map_or(&[][..], Vec::as_slice) {
                let path = self.prepared.layout.carrier(digest, *number);
                let Some((meta, mended)) = self.prepared.sealed_at(&path)? else { continue };
                // The blob's own file under another name is no further inode.
                if meta.inode == *inode {
                    continue;
                }
                self.report.carriers += 1;
                self.report.modes += u64::from(mended);
                carried.insert(meta.inode, *inode);
                let (digest, number, stamp, since) = (*digest, *number, stamp(&meta), self.prepared.moment());
                anew.push(&Record::Carrier(CarrierRecord { digest, number, stamp, since }))?;
            }
        }
        Ok(carried)
    }

    /// The blobs of one directory, with modes that nobody can write with.
    fn blobs(&mut self, first: u8, blobs: &mut Blobs) -> Result<()> {
        let path = self.prepared.layout.blob_dir(first);
        let entries = self.prepared.machine.list(&path).map_err(|e| Error::io("list", &path, e))?;
        let named = entries.iter().filter_map(|entry| Layout::digest_of(first, entry.name.to_str()?));
        // The empty blob is made anew with its names.
        let digests: Vec<Digest> = named.filter(|digest| *digest != Digest::EMPTY).collect();
        self.observer.expect(digests.len() as u64, 0);
        let count = digests.len() as u64;
        for sealed in self.workers.map(digests, |digest| self.prepared.sealed(&digest)) {
            let Some((digest, meta, mended)) = sealed? else {
                self.report.foreign += 1;
                continue;
            };
            self.report.blobs += 1;
            self.report.modes += u64::from(mended);
            // Two digests of one inode: at most one of them is right, and the other is found by verifying.
            if let Some(twin) = blobs.insert(meta.inode, Found { digest, meta, named: false }) {
                let text = format!("{} and {digest} are one file: at most one of them is right", twin.digest);
                self.observer.event(&Event::Notice { text });
                self.report.blobs -= 1;
            }
        }
        self.observer.progress(count, 0);
        Ok(())
    }

    /// The names of these blobs; empty files and the rest are taken note of while the first group is at work.
    fn names(&mut self, blobs: &mut Blobs, carried: &Carried, first: bool, anew: &mut Anew) -> Result<()> {
        let (machine, top) = (self.prepared.machine.as_ref(), self.prepared.layout.names());
        let mut walk = Walk::new(machine, top.clone()).map_err(|e| Error::io("list", &top, e))?;
        let mut looked = 0_u64;
        while let Some(seen) = walk.next() {
            looked += 1;
            if looked.is_multiple_of(4096) {
                self.stop_if_asked()?;
            }
            let seen = match seen {
                Ok(seen) => seen,
                Err((path, e)) => {
                    self.observer.event(&Event::Failed { path, reason: e.to_string() });
                    continue;
                }
            };
            let path = top.join(OsStr::from_bytes(&seen.path));
            let Ok(name) = Name::new(seen.path) else { continue };
            if seen.kind != FileKind::File {
                continue;
            }
            let own = *carried.get(&seen.inode).unwrap_or(&seen.inode);
            let found = blobs.get_mut(&own);
            if found.is_none() && !first {
                continue;
            }
            let meta = machine.lstat(&path).map_err(|e| Error::io("look at", &path, e))?;
            let as_listed = meta.inode == seen.inode;
            match found.filter(|found| as_listed && found.meta.device == meta.device) {
                Some(found) => {
                    found.named = true;
                    self.report.names += 1;
                    anew.push(&self.prepared.alias(name, found.digest, &found.meta))?;
                }
                None if meta.size_bytes == 0 => self.empty.get_or_insert_default().push((name, meta)),
                None => {}
            }
        }
        Ok(())
    }

    /// Empty files under `names/` are names of the empty blob, which is made if it is not there.
    fn empties(&mut self, anew: &mut Anew) -> Result<()> {
        let path = self.prepared.layout.blob(&Digest::EMPTY);
        let there = self.prepared.machine.lstat(&path).is_ok();
        let Some(names) = self.empty.take().or(there.then(Vec::new)) else { return Ok(()) };
        if !there {
            let mode = self.prepared.blob_mode();
            let made = self.prepared.machine.open(&path, Open::CreateNew { mode }).and_then(|file| file.sync());
            made.map_err(|e| Error::io("create", &path, e))?;
        }
        let Some((digest, meta, mended)) = self.prepared.sealed(&Digest::EMPTY)? else { return Ok(()) };
        let blake3 = if meta.size_bytes == 0 { Digests::of(b"").blake3 } else { Blake3::UNKNOWN };
        self.report.blobs += 1;
        self.report.modes += u64::from(mended);
        anew.push(&self.blob(&digest, &meta, blake3))?;
        if names.is_empty() {
            self.report.pinned += 1;
            let (note, since) = (PIN_NOTE.to_owned(), self.prepared.moment());
            anew.push(&Record::Pin(PinRecord { digest, note, since }))?;
        }
        for (name, file) in names {
            self.report.names += 1;
            anew.push(&self.prepared.alias(name, digest, &Meta { size_bytes: 0, ..file }))?;
        }
        Ok(())
    }

    fn blob(&self, digest: &Digest, meta: &Meta, blake3: Blake3) -> Record {
        Record::Blob(BlobRecord { digest: *digest, blake3, stamp: stamp(meta), added: self.prepared.moment() })
    }

    fn stop_if_asked(&self) -> Result<()> {
        match self.observer.cancelled() {
            true => Err(Error::new(ErrorKind::Interrupted, "make the journal anew from the disk", "asked to stop")),
            false => Ok(()),
        }
    }
}

impl Prepared {
    pub(super) fn blob_mode(&self) -> u32 {
        self.settings.mode(&self.settings.blob_mode).expect("settings are checked")
    }

    /// A blob's file, with no mode but what the store gives, and whether it had another; `None` if it is no file.
    fn sealed(&self, digest: &Digest) -> Result<Option<(Digest, Meta, bool)>> {
        let sealed = self.sealed_at(&self.layout.blob(digest))?;
        Ok(sealed.map(|(meta, mended)| (*digest, meta, mended)))
    }

    /// The same of the file at a path.
    fn sealed_at(&self, path: &Path) -> Result<Option<(Meta, bool)>> {
        let meta = self.machine.lstat(path).map_err(|e| Error::io("look at", path, e))?;
        if meta.kind != FileKind::File {
            return Ok(None);
        }
        let mode = meta.mode & self.blob_mode() | 0o400;
        if mode == meta.mode {
            return Ok(Some((meta, false)));
        }
        let file = self.machine.open(path, Open::Read).map_err(|e| Error::io("open", path, e))?;
        file.set_mode(mode).map_err(|e| Error::io("set the mode of", path, e))?;
        let meta = file.meta().map_err(|e| Error::io("look at", path, e))?;
        Ok(Some((meta, true)))
    }

    fn alias(&self, name: Name, digest: Digest, meta: &Meta) -> Record {
        Record::Alias(AliasRecord {
            name,
            digest,
            size_bytes: meta.size_bytes,
            hardlinked: true,
            executable: false,
            mtime_ns: meta.mtime_ns,
            replaces: None,
            added: self.moment(),
        })
    }
}
