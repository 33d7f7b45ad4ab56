//! Taking a source in: by link, where it becomes the blob itself, or else by copy.

use std::path::Path;

use super::TakeIn;
use super::claims::LinkClaim;
use super::stage::{Known, Staged, Stager, unchanged};
use super::walk::Item;
use crate::format::settings::Durability;
use crate::ledger::Tables;
use crate::machine::{File, Meta};
use crate::parts::blobs;
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Digest, Error, Result};

/// Filesystems that have no disk behind their cache.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// What became of an attempt to take a source in by link.
enum Linked {
    Done(Box<Staged>),
    Copy(String),
}

impl Stager<'_> {
    /// Stages one file of the tree.
    pub(super) fn stage(&self, item: &Item) -> Result<Staged> {
        let take_in = self.options.take_in;
        if item.through_symlink && take_in != TakeIn::Copy {
            return self.copy(item, Some("copied instead of linked: it is reached through a symbolic link".to_owned()));
        }
        // A name that is taken already makes it a hit or a refusal: no reason to touch the source.
        let taken = || Ok::<_, Error>(!self.options.replace && self.snapshot.alias(&item.name)?.is_some());
        if take_in == TakeIn::Copy || taken()? {
            return self.copy(item, None);
        }
        match self.link(item, take_in)? {
            Linked::Done(staged) => Ok(*staged),
            Linked::Copy(reason) => self.copy(item, Some(format!("copied instead of linked: {reason}"))),
        }
    }

    /// Links a source into staging: mode first, then proof that no writer is left, then the hash, then size, mtime and
    /// ctime compared. Whatever does not hold makes it a copy, and the source is as it was.
    fn link(&self, item: &Item, take_in: TakeIn) -> Result<Linked> {
        let (_, mut before) = self.open_source(&item.path)?;
        let alone = (before.links > 1).then(|| self.several_names.lock().unwrap_or_else(|p| p.into_inner()));
        if alone.is_some() {
            before = self.open_source(&item.path)?.1;
        }
        if let Some(reason) = self.objection(&before, take_in) {
            return Ok(Linked::Copy(reason.to_owned()));
        }
        let path = self.session.next_path();
        if let Err(e) = self.ledger.machine.link(&item.path, &path) {
            return Ok(Linked::Copy(format!("the filesystem refused the link ({e})")));
        }
        let taken = self.take(item, &path, &before);
        match &taken {
            Ok(Linked::Done(staged)) if staged.file.is_some() => {}
            _ => {
                let _ = self.ledger.machine.unlink(&path);
            }
        }
        taken
    }

    /// Why a source cannot become the blob itself.
    fn objection(&self, source: &Meta, take_in: TakeIn) -> Option<&'static str> {
        let blob_mode = self.ledger.policy.blob_mode;
        if source.size_bytes == 0 {
            Some("empty files are never hardlinked")
        } else if source.uid != self.ledger.machine.user() {
            Some("it belongs to another user")
        } else if blob_mode & 0o444 & !source.mode != 0 {
            Some("as a blob it would be readable to more people than it is")
        } else if source.mode & 0o7000 != 0 {
            Some("it has a setuid, setgid or sticky bit")
        } else if source.mode & 0o111 != 0 && take_in == TakeIn::Link {
            Some("as a blob it would no longer be executable")
        } else {
            None
        }
    }

    fn take(&self, item: &Item, path: &Path, before: &Meta) -> Result<Linked> {
        let (file, meta) = self.open_source(path)?;
        if (meta.device, meta.inode) != (before.device, before.inode) {
            return Ok(Linked::Copy("it was replaced meanwhile".to_owned()));
        }
        let mode = self.ledger.policy.blob_mode;
        file.set_mode(mode).map_err(|e| Error::io("set the mode of", &item.path, e))?;
        let taken = self.take_sealed(item, path, file.as_ref());
        if !matches!(&taken, Ok(Linked::Done(staged)) if staged.file.is_some()) {
            self.give_back(file.as_ref(), before).map_err(|e| Error::io("restore the mode of", &item.path, e))?;
        }
        taken.map(|linked| match linked {
            Linked::Done(mut staged) => {
                staged.source = Some(Meta { mode: before.mode, ..staged.source.unwrap_or(*before) });
                Linked::Done(staged)
            }
            copy => copy,
        })
    }

    fn take_sealed(&self, item: &Item, path: &Path, file: &dyn File) -> Result<Linked> {
        if !file.read_lease().map_err(|e| Error::io("take a lease on", &item.path, e))? {
            return Ok(Linked::Copy("it is open for writing, or that cannot be ruled out".to_owned()));
        }
        if let Some(reason) = self.read_back(path, file) {
            return Ok(Linked::Copy(reason));
        }
        let sealed = file.meta().map_err(|e| Error::io("look at", path, e))?;
        let digests = self.hash(item, file, &sealed);
        let undisturbed = file.end_lease();
        let now = file.meta().map_err(|e| Error::io("look at", path, e))?;
        let Some(digests) = digests?.filter(|_| undisturbed && unchanged(&sealed, &now)) else {
            return Ok(Linked::Copy("it was written to meanwhile".to_owned()));
        };
        self.check_expected(item, &digests)?;
        if let Some(blob) = self.fewer_may_read(&digests.digest, &sealed)? {
            return Ok(Linked::Copy(blob.to_owned()));
        }
        let hashed = match self.known(&digests.digest, None)? {
            Known::Yes(hashed) => {
                let mut hit = self.hit(item, &sealed, digests, hashed);
                hit.was_linked = true;
                hit.note = Some("its bytes were stored already".to_owned());
                return Ok(Linked::Done(Box::new(hit)));
            }
            Known::No(hashed) => hashed,
        };
        let claimed = self.claim_linked(&digests.digest, file, &now);
        match claimed.map_err(|e| Error::io("set the mode of", &item.path, e))? {
            LinkClaim::Granted => {}
            LinkClaim::ByAnother => {
                let mut hit = self.hit(item, &sealed, digests, None);
                hit.was_linked = true;
                hit.note = Some("its bytes are added from another file".to_owned());
                return Ok(Linked::Done(Box::new(hit)));
            }
            LinkClaim::ForFewer => {
                return Ok(Linked::Copy("its bytes are added from a file that fewer people may read".to_owned()));
            }
        }
        let stamp = blobs::stamp(&now);
        let hit = self.hit(item, &sealed, digests, hashed);
        Ok(Linked::Done(Box::new(Staged { file: Some((path.to_owned(), stamp)), linked: true, ..hit })))
    }

    /// Why a source does not become a blob that is there already for fewer people: its copy is kept beside that.
    fn fewer_may_read(&self, digest: &Digest, source: &Meta) -> Result<Option<&'static str>> {
        let on_record = self.snapshot.blob(digest)?.is_some();
        let Some(blob) = self.ledger.blobs.meta(digest)?.filter(|_| on_record) else { return Ok(None) };
        let more = self.is_for_more(digest, &blob, Some(source))?;
        Ok(more.then_some("its bytes are stored already, in a file that fewer people may read"))
    }

    /// Sees to it that a source is read from the disk: a sync of its bytes by whoever wrote them may have failed, which
    /// is told once and forgotten. The cache then shows bytes that the disk does not have, and no later sync tells. Why
    /// not, if that cannot be had: a copy is written and synced by itself.
    fn read_back(&self, path: &Path, file: &dyn File) -> Option<String> {
        if self.ledger.policy.durability == Durability::None || planted(Bug::LinkedNotReadBack) {
            return None;
        }
        if let Err(e) = file.sync_data() {
            return Some(format!("its bytes cannot be written to the disk ({e})"));
        }
        let in_memory = || self.ledger.machine.filesystem(path).is_ok_and(|on| IN_MEMORY.contains(&on.kind.as_str()));
        if !file.drop_cache() && !in_memory() {
            return Some("its bytes cannot be read back from the disk: somebody has it mapped".to_owned());
        }
        match is_written(file) {
            Ok(true) => None,
            Ok(false) => Some("a part of it is a hole, as where its bytes could not be written to the disk".to_owned()),
            Err(e) => Some(format!("what of it is on the disk cannot be found out ({e})")),
        }
    }
}

/// Whether the disk has every byte up to the end of a file. Where a write-back failed, the kernel leaves extents that are not
/// written, which are a hole once the cache is dropped (lseek(2)); and the length of a file on the disk grows only behind
/// bytes that were written, so that what ends with such a hole is shorter after a power cut.
fn is_written(file: &dyn File) -> std::io::Result<bool> {
    let size_bytes = file.meta()?.size_bytes;
    if size_bytes == 0 || planted(Bug::HolesBelieved) {
        return Ok(true);
    }
    Ok(file.next_data(0)?.is_some_and(|(start, end)| start == 0 && end >= size_bytes))
}
