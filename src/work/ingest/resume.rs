//! Large sources: copied with checkpoints, and taken up again where an ingest of them was broken off.
//!
//! What is staged counts up to the last checkpoint: these bytes were synced before it was written. A source is gone on
//! with only if it is the file that it was, by device, inode, size, mtime and ctime, and what is staged only if it reads
//! back from the disk as the bytes that were hashed.

use std::io;
use std::path::Path;

use super::stage::{GoneOn, Stager, interrupted};
use super::walk::Item;
use crate::format::checkpoint::{Checkpoint, SourceStamp};
use crate::format::settings::Durability;
use crate::hashing::file::read_range;
use crate::hashing::parts::begins_with;
use crate::hashing::{Digests, PartHasher};
use crate::machine::{File, Meta, Open};
use crate::parts::sessions::resumable::Resumable;
use crate::vocabulary::limits::{PART_BYTES, RESUME_EVERY_BYTES, RESUME_FROM_BYTES};
use crate::vocabulary::{Error, Result};

/// How large sources are copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoints {
    /// Sources at least this large, in bytes, have checkpoints.
    pub from_bytes: u64,
    /// Bytes between two of them, rounded up to whole parts (`PART_BYTES`).
    pub every_bytes: u64,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Checkpoints { from_bytes: RESUME_FROM_BYTES, every_bytes: RESUME_EVERY_BYTES }
    }
}

impl Stager<'_> {
    /// Whether a source of this size has checkpoints. Where nothing is synced there are none.
    pub(super) fn is_large(&self, size_bytes: u64) -> bool {
        size_bytes >= self.options.checkpoints.from_bytes && self.ledger.policy.durability != Durability::None
    }

    /// The ingest of this very source that was broken off, moved into this session; `None` where there is none that can
    /// be relied on.
    pub(super) fn go_on_with(&self, meta: &Meta) -> Result<Option<GoneOn>> {
        if !self.is_large(meta.size_bytes) {
            return Ok(None);
        }
        let source = SourceStamp::of(meta);
        let sessions = &self.ledger.sessions;
        // Only its owner can go on with it: a blob belongs to whoever added it, and its mode is set by him alone.
        let user = self.ledger.machine.user();
        let is_ours = |found: &Resumable| found.says.source == source && found.owner == user;
        let find = || Ok(sessions.resumable()?.found.into_iter().find(is_ours));
        if !find().is_ok_and(|found: Option<Resumable>| found.is_some()) {
            return Ok(None);
        }
        let taken = self.ledger.hold(|_| match find()? {
            Some(found) => Ok(Some((sessions.take_over(&found, &self.session)?, found.says))),
            None => Ok(None),
        })?;
        let Some((path, says)) = taken else { return Ok(None) };
        let opened = self.reopen(&path, &says);
        if !matches!(&opened, Ok(Some(_))) {
            self.discard(&path)?;
        }
        Ok(opened?.map(|(file, hasher)| GoneOn { path, file, hasher }))
    }

    /// Opens a staged file to go on with it; `None` where it is not what its checkpoint says.
    fn reopen(&self, path: &Path, says: &Checkpoint) -> Result<Option<(Box<dyn File>, PartHasher)>> {
        let look = |e| Error::io("look at", path, e);
        let sealed = self.ledger.machine.open(path, Open::Read).map_err(|e| Error::io("open", path, e))?;
        let meta = sealed.meta().map_err(look)?;
        // With another name it is a blob already, and is never written to again.
        if meta.inode != says.staged_inode || meta.links != 1 || meta.size_bytes < says.state.size_bytes {
            return Ok(None);
        }
        sealed.drop_cache();
        let groups = match begins_with(sealed.as_ref(), &says.state, &|_| !self.observer.cancelled()) {
            Ok(Some(groups)) => groups,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Err(interrupted()),
            // What cannot be read is no beginning.
            Ok(None) | Err(_) => return Ok(None),
        };
        let write = |e| Error::io("write", path, e);
        sealed.set_mode(meta.mode | 0o600).map_err(write)?;
        let file = self.ledger.machine.open(path, Open::ReadWrite).map_err(|e| Error::io("open", path, e))?;
        // Not what it had: where this failed the last time, it can be written to still, and it is to be a blob.
        file.set_mode(meta.mode & !0o222).map_err(write)?;
        file.set_len(says.state.size_bytes).map_err(write)?;
        Ok(Some((file, PartHasher::resume(says.state.clone(), groups))))
    }

    /// Copies a large source from where `hasher` is, and saves its state on the way. `None`: it changed.
    pub(super) fn copy_with_checkpoints(
        &self,
        item: &Item,
        source: &dyn File,
        meta: &Meta,
        path: &Path,
        target: &dyn File,
        mut hasher: PartHasher,
    ) -> Result<Option<Digests>> {
        let racy = self.is_racy(meta);
        let every = self.options.checkpoints.every_bytes.max(1).next_multiple_of(PART_BYTES as u64);
        let mut at = hasher.size_bytes();
        self.ticks(at);
        while at < meta.size_bytes {
            let next = meta.size_bytes.min(at + every);
            let mut write_error = None;
            let read;
            (hasher, read) = self.hashed_by(hasher, |hasher| {
                read_range(source, at..next, hasher, &|bytes| self.ticks(bytes), &mut |piece, at| {
                    self.write_piece(target, piece, at, &mut write_error)
                })
            });
            if let Some(e) = write_error {
                return Err(Error::io("write", path, e));
            }
            if self.judge(item, read.map(|()| next))?.is_none() {
                return Ok(None);
            }
            at = next;
            if at < meta.size_bytes && !racy {
                self.save(item, meta, path, target, &mut hasher)?;
            }
        }
        target.set_len(meta.size_bytes).map_err(|e| Error::io("write", path, e))?;
        Ok(Some(self.grown(hasher.finish_with_tree())))
    }

    /// Syncs what is staged and then says so. A failed sync ends this ingest: no later one proves anything. Failing to say
    /// so does not, it only costs a beginning anew.
    fn save(&self, item: &Item, meta: &Meta, path: &Path, target: &dyn File, hasher: &mut PartHasher) -> Result<()> {
        let Some(state) = hasher.save() else { return Ok(()) };
        // The length is that of the prefix even where it ends in a hole.
        let staged = target.meta().map_err(|e| Error::io("look at", path, e))?;
        if staged.size_bytes < state.size_bytes {
            target.set_len(state.size_bytes).map_err(|e| Error::io("write", path, e))?;
        }
        target.sync_data().map_err(|e| Error::io("sync", path, e))?;
        let says = Checkpoint {
            source: SourceStamp::of(meta),
            staged_inode: staged.inode,
            time_ns: self.ledger.known().next_time_ns(self.ledger.machine.now_ns()),
            state,
            path: item.path.as_os_str().as_encoded_bytes().to_vec(),
        };
        let _ = self.session.save(path, &says);
        Ok(())
    }

    /// Removes a staged file that is not wanted, and its checkpoint before it.
    pub(super) fn discard(&self, path: &Path) -> Result<()> {
        self.session.unsave(path)?;
        let _ = self.ledger.machine.unlink(path);
        Ok(())
    }
}
