//! Finishing what a frame says about damaged blobs: good bytes in, bad bytes to quarantine, names relinked.
//!
//! Every step looks which file is where before it moves one, so it can be done again after any crash. What is exchanged
//! in is a second link: the staged file stays until its session ends.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::hold::Hold;
use super::{Ledger, Tables};
use crate::format::record::{DamagedRecord, HealedRecord, Record};
use crate::format::settings::Durability;
use crate::machine::{File, Open};
use crate::parts::blobs::BlobDirs;
use crate::parts::names::{Change, Wanted};
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Digest, Error, Result, Stamp};

impl Hold<'_> {
    /// Does, or finishes, what the heals and quarantines among `records` say.
    pub(super) fn finish_heals(&mut self, records: &[Record]) -> Result<()> {
        let found = reasons(records);
        for record in records {
            match record {
                Record::Healed(heal) => {
                    let reason = found.get(&heal.digest).unwrap_or(&"these bytes were not those of the digest");
                    self.heal(heal, &format!("healed: {reason}"))?;
                }
                Record::Damaged(damaged) if damaged.quarantined => self.quarantine(damaged)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn heal(&mut self, heal: &HealedRecord, reason: &str) -> Result<()> {
        let mut dirs = BlobDirs::default();
        self.ledger.blobs.watch(&heal.digest, &mut dirs)?;
        if self.finishing {
            self.sync_quarantine()?;
        }
        let staged = self.ledger.layout.root().join(&heal.staged);
        let second = with_suffix(&staged, "heal");
        // Names are links to what was on record, or, in a copied store, to what really stood in the blob's place.
        let mut was: Vec<u64> = heal.bad.map(|bad: Stamp| bad.inode).into_iter().collect();
        let there = self.inode(&self.ledger.layout.blob(&heal.digest))?;
        if there != Some(heal.good.inode) {
            was.extend(there);
            if heal.staged.is_empty() {
                // The good file stood in place already, and is not there any more; a look at its bytes will tell.
                return Ok(());
            }
            if self.inode(&staged)?.is_none() && self.inode(&second)? != Some(heal.good.inode) {
                self.give_up(heal)?;
                return Ok(());
            }
            self.exchange_in(heal, &staged, &second, reason)?;
        }
        if !heal.staged.is_empty() && self.inode(&second)?.is_some_and(|inode| inode != heal.good.inode) {
            self.to_quarantine(&second, &heal.digest, reason)?;
        }
        if !heal.staged.is_empty() {
            was.extend(self.quarantined(&heal.digest)?);
        }
        if self.syncs() {
            self.ledger.blobs.sync(&dirs)?;
        }
        let carriers = self.carriers_of(&heal.digest)?;
        let wanted = Wanted { digest: heal.digest, inode: heal.good.inode, carriers };
        self.relink(&heal.digest, Some(&wanted), was)
    }

    /// The good copy went away before it was in place: the blob stays damaged, which is for somebody to mend, and no
    /// reason to keep everybody from the store.
    fn give_up(&mut self, heal: &HealedRecord) -> Result<()> {
        let there = self.ledger.blobs.meta(&heal.digest)?;
        // In a copied store everything has another inode; a look at the bytes will tell.
        if there.is_some_and(|there| (there.size_bytes, there.mtime_ns) == (heal.good.size_bytes, heal.good.mtime_ns)) {
            return Ok(());
        }
        let inode = there.map_or(0, |there| there.inode);
        if self.snapshot.damaged(&heal.digest)?.is_none() {
            let reason = "its healing was cut short, and the good copy is gone".to_owned();
            let since = self.moment()?;
            self.lost.push(DamagedRecord { digest: heal.digest, inode, reason, quarantined: false, since });
        }
        Ok(())
    }

    /// Brings a second link of the staged file into the blob's place, and what was there to `second`.
    fn exchange_in(&self, heal: &HealedRecord, staged: &Path, second: &Path, reason: &str) -> Result<()> {
        let machine = self.ledger.machine.as_ref();
        let place = self.ledger.layout.blob(&heal.digest);
        self.with_room(|| match machine.link(staged, second) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists && self.inode(second)?.is_none() => {
                Err(Error::io("link", second, e))
            }
            _ => Ok(()),
        })?;
        if self.inode(&place)?.is_none() {
            return machine.rename(second, &place).map_err(|e| Error::io("publish", &place, e));
        }
        match machine.exchange(second, &place) {
            Err(e) if e.kind() == io::ErrorKind::Unsupported => {
                // Not in one step, then: between the two the blob is missing, which finishing puts right.
                self.to_quarantine(&place, &heal.digest, reason)?;
                machine.rename(second, &place).map_err(|e| Error::io("publish", &place, e))
            }
            other => other.map_err(|e| Error::io("exchange", &place, e)),
        }
    }

    fn quarantine(&mut self, damaged: &DamagedRecord) -> Result<()> {
        let mut dirs = BlobDirs::default();
        self.ledger.blobs.watch(&damaged.digest, &mut dirs)?;
        if self.finishing {
            self.sync_quarantine()?;
        }
        let place = self.ledger.layout.blob(&damaged.digest);
        if damaged.inode != 0 && self.inode(&place)? == Some(damaged.inode) {
            self.to_quarantine(&place, &damaged.digest, &damaged.reason)?;
        }
        if self.syncs() {
            self.ledger.blobs.sync(&dirs)?;
        }
        self.relink(&damaged.digest, None, vec![damaged.inode])
    }

    /// Vouches for what a dead process moved there, before its other names go.
    fn sync_quarantine(&self) -> Result<()> {
        let directory = self.ledger.layout.quarantine();
        let handle = self.ledger.machine.open(&directory, Open::Directory);
        let handle = handle.map_err(|e| Error::io("open", &directory, e))?;
        let syncs = self.syncs() && !planted(Bug::QuarantineDirSync);
        if syncs { handle.sync().map_err(|e| Error::io("sync", &directory, e)) } else { Ok(()) }
    }

    /// Moves a file to quarantine, under a name that nothing else has, with the reason beside it.
    fn to_quarantine(&self, from: &Path, digest: &Digest, reason: &str) -> Result<()> {
        let sequence = self.snapshot.cursor.sequence;
        let handle = self.ledger.open_quarantine()?;
        self.with_room(|| self.ledger.move_to_quarantine(from, digest, sequence, reason))?;
        self.ledger.sync_quarantine(handle.as_ref())
    }

    /// The inodes that this frame has taken out of the place of `digest`, by whoever began to carry it out.
    fn quarantined(&self, digest: &Digest) -> Result<Vec<u64>> {
        let sequence = self.snapshot.cursor.sequence;
        let mut inodes = Vec::new();
        while let Some(inode) = self.inode(&self.ledger.kept_at(digest, sequence, inodes.len() as u32))? {
            inodes.push(inode);
        }
        Ok(inodes)
    }

    /// Makes every hardlinked name of a blob agree with what its file is now.
    fn relink(&mut self, digest: &Digest, wanted: Option<&Wanted>, was: Vec<u64>) -> Result<()> {
        let mut changes = Vec::new();
        if planted(Bug::HealWithoutRelink) {
            return Ok(());
        }
        let carriers = self.carriers_of(digest)?;
        let ours: Vec<u64> = was.into_iter().chain(carriers.into_iter().map(|(_, inode)| inode)).collect();
        for name in self.snapshot.names_of(digest)? {
            if self.snapshot.alias(&name)?.is_some_and(|alias| alias.hardlinked) {
                changes.push(Change { name, wanted: wanted.cloned(), ours: ours.clone(), was: Some(*digest) });
            }
        }
        let refusals = self.ledger.names.apply(&changes, self.names_synced())?;
        self.refusals.extend(refusals);
        Ok(())
    }

    fn inode(&self, path: &Path) -> Result<Option<u64>> {
        match self.ledger.machine.lstat(path) {
            Ok(meta) => Ok(Some(meta.inode)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("look at", path, e)),
        }
    }
}

impl Ledger {
    /// Moves a file with bad bytes to quarantine, under a name that nothing else has, with the reason beside it, and syncs
    /// that. Only under `lock`; `sequence` is where the journal is then.
    pub fn keep_evidence(&self, from: &Path, digest: &Digest, sequence: u64, reason: &str) -> Result<()> {
        let handle = self.open_quarantine()?;
        self.move_to_quarantine(from, digest, sequence, reason)?;
        self.sync_quarantine(handle.as_ref())
    }

    /// Where the nth file goes that frame `sequence` takes out of the place of `digest`.
    fn kept_at(&self, digest: &Digest, sequence: u64, nth: u32) -> PathBuf {
        self.layout.quarantine().join(format!("{}.{sequence}.{nth}", digest.to_hex()))
    }

    fn open_quarantine(&self) -> Result<Box<dyn File>> {
        let directory = self.layout.quarantine();
        self.machine.open(&directory, Open::Directory).map_err(|e| Error::io("open", &directory, e))
    }

    fn move_to_quarantine(&self, from: &Path, digest: &Digest, sequence: u64, reason: &str) -> Result<()> {
        for nth in 0..u32::MAX {
            let kept = self.kept_at(digest, sequence, nth);
            match self.machine.rename_new(from, &kept) {
                Ok(()) => {
                    self.write_reason(&with_suffix(&kept, "reason"), reason);
                    break;
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io("move to quarantine", from, e)),
            }
        }
        Ok(())
    }

    fn sync_quarantine(&self, handle: &dyn File) -> Result<()> {
        match self.policy.durability {
            Durability::None => Ok(()),
            _ if planted(Bug::QuarantineDirSync) => Ok(()),
            _ => handle.sync().map_err(|e| Error::io("sync", &self.layout.quarantine(), e)),
        }
    }

    /// The reason is for people; failing to write it loses nothing, since the journal has it too.
    fn write_reason(&self, path: &Path, reason: &str) {
        let text = format!("{reason}\nseen at {} ns since the epoch\n", self.machine.now_ns());
        if let Ok(file) = self.machine.open(path, Open::CreateNew { mode: self.policy.blob_mode }) {
            let _ = file.write_at(text.as_bytes(), 0).and_then(|()| file.sync());
        }
    }
}

/// What was found of blobs that the same frame heals: the reason that goes to quarantine with the bad bytes.
fn reasons(records: &[Record]) -> BTreeMap<Digest, &str> {
    let found = records.iter().filter_map(|record| match record {
        Record::Damaged(damaged) if !damaged.quarantined => Some((damaged.digest, damaged.reason.as_str())),
        _ => None,
    });
    found.collect()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}
