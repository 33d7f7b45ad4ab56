//! What becomes of sources that were linked or moved, once it is known what became of their bytes.
//!
//! A file that is no blob goes back to its owner with the mode it had, and as long as it may be one it is read-only: no
//! blob can be written to. A moved file loses its name only for a stored copy that is good by its bytes.

use std::collections::BTreeMap;

use super::stage::{Staged, unchanged};
use super::{Adding, TakeIn};
use crate::format::settings::Durability;
use crate::hashing::digest_sealed;
use crate::ledger::Tables;
use crate::machine::Open;
use crate::parts::blobs::{self, BlobDirs};
use crate::vocabulary::{Digest, ErrorKind, Result, Stamp};
use crate::work::blob::open_readable;

/// The files under each digest that this ingest has made itself or hashed, and found good.
pub(super) struct Vouched(BTreeMap<Digest, Vec<Stamp>>);

impl Vouched {
    /// What the sources of a batch tell.
    pub(super) fn by(batch: &[Staged]) -> Self {
        let mut stamps: BTreeMap<Digest, Vec<Stamp>> = BTreeMap::new();
        for staged in batch {
            let own = staged.file.as_ref().map(|(_, stamp)| *stamp);
            let hashed = staged.hashed.filter(|(_, good)| *good).map(|(stamp, _)| stamp);
            stamps.entry(staged.digests.digest).or_default().extend(own.into_iter().chain(hashed));
        }
        Vouched(stamps)
    }

    fn vouches(&self, digest: &Digest, stamp: &Stamp) -> bool {
        self.0.get(digest).is_some_and(|good| good.iter().any(|good| good.agrees(stamp)))
    }
}

impl Adding<'_> {
    /// Whether a source may be acknowledged. A moved one is traded for the stored copy, so that is never believed for its
    /// stamp alone; if it is bad, the source is staged again and heals it.
    pub(super) fn may_be_traded(&self, staged: &Staged, vouched: &mut Vouched) -> bool {
        let moved = self.options.take_in == TakeIn::Move && !staged.item.through_symlink;
        !moved || self.is_stored(&staged.digests.digest, vouched).unwrap_or(false)
    }

    fn is_stored(&self, digest: &Digest, vouched: &mut Vouched) -> Result<bool> {
        let Some(there) = self.ledger().blobs.meta(digest)?.as_ref().map(blobs::stamp) else { return Ok(false) };
        if vouched.vouches(digest, &there) {
            return Ok(true);
        }
        let (_, file) = open_readable(self.ledger(), &*self.ledger().known(), digest)?;
        let good = digest_sealed(file.as_ref(), &|_| true).is_ok_and(|(found, _)| found == *digest);
        if good {
            vouched.0.entry(*digest).or_default().push(there);
        }
        Ok(good)
    }

    /// A moved source loses its old name: only now, and only if it is still what was read.
    pub(super) fn take_name(&self, staged: &Staged) -> Option<String> {
        let (TakeIn::Move, false, Some(source)) = (self.options.take_in, staged.item.through_symlink, staged.source)
        else {
            return staged.note.clone();
        };
        if staged.racy {
            return Some("the source was left where it is: by the clock it was changed while it was read".to_owned());
        }
        let machine = self.ledger().machine.as_ref();
        let path = &staged.item.path;
        // Whoever still writes to a copied source would write into nothing: bytes that nobody else has. Until the lease
        // is given back, nobody begins to.
        let lease = machine.open(path, Open::Read).ok();
        let alone = lease.as_ref().is_some_and(|file| file.read_lease().unwrap_or(false));
        let same = machine.lstat(path).is_ok_and(|now| {
            let is_it = (now.device, now.inode, now.size_bytes, now.mtime_ns);
            is_it == (source.device, source.inode, source.size_bytes, source.mtime_ns)
                && (staged.linked || staged.was_linked || unchanged(&source, &now))
        });
        let gone = same && (alone || staged.linked) && machine.unlink(path).is_ok();
        if let (Some(file), true) = (&lease, alone) {
            file.end_lease();
        }
        match (&staged.note, gone) {
            (note, true) => note.clone(),
            _ if same && !alone => Some(
                "copied, and the source left where it is: it is open for writing, or that cannot be ruled out"
                    .to_owned(),
            ),
            (_, false) => Some("the source was left where it is: it is not what was read any more".to_owned()),
        }
    }

    /// A source that was linked and did not become the blob gets its mode back. If that cannot be ruled out, it stays
    /// read-only.
    pub(super) fn give_back(&self, staged: &Staged) {
        if let (true, Some((path, stamp)), Some(meta)) = (staged.linked, &staged.file, staged.source)
            && self.is_no_blob(&staged.digests.digest, stamp.inode).unwrap_or(false)
            && let Ok(file) = self.ledger().machine.open(path, Open::Read)
        {
            let _ = file.set_mode(meta.mode);
        }
    }

    /// Whether a linked source is not under `sha256/`. Where it was published and is on no record, it is taken back:
    /// nobody uses what is not on record, and under `lock` nobody begins to. A crash must not bring it back.
    fn is_no_blob(&self, digest: &Digest, inode: u64) -> Result<bool> {
        let ledger = self.ledger();
        let in_place = || match ledger.blobs.meta(digest) {
            Err(e) if e.kind() == ErrorKind::Damaged => Ok(false),
            there => Ok(there?.is_some_and(|there| there.inode == inode)),
        };
        if !in_place()? {
            return Ok(true);
        }
        if ledger.known().blob(digest)?.is_some() {
            return Ok(false);
        }
        ledger.hold(|hold| {
            if hold.snapshot.blob(digest)?.is_some() {
                return Ok(false);
            }
            let mut dirs = BlobDirs::default();
            ledger.blobs.watch(digest, &mut dirs)?;
            if in_place()? {
                ledger.blobs.take_out(digest, &self.session.next_path())?;
            }
            if ledger.policy.durability != Durability::None {
                ledger.blobs.sync(&dirs)?;
            }
            Ok(true)
        })
    }
}
