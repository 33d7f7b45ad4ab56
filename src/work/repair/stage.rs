//! A candidate is copied into staging and hashed on the way. Only what has the right digest there is used; nothing is
//! believed for a stamp, a name or a record.

use std::io;
use std::path::{Path, PathBuf};

use super::candidates::bad_files;
use super::select::Broken;
use super::{Candidate, is_mendable};
use crate::format::settings::Durability;
use crate::hashing::file::read_through;
use crate::hashing::{Digests, Hasher, Tree};
use crate::ledger::Ledger;
use crate::machine::{File, FileKind, Meta, Open};
use crate::parts::blobs;
use crate::parts::sessions::Session;
use crate::vocabulary::events::{Origin, Taken};
use crate::vocabulary::{Blake3, Error, Observer, Result, Stamp};
use crate::work::blob::in_full;
use crate::work::duplicate::copy_hashed;
use crate::work::room::refuse_what_cannot_fit;
use crate::work::trees;

/// What candidates are tried with. Without a session nothing is staged: they are hashed where they are.
pub(super) struct Bench<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) session: Option<&'a Session>,
    pub(super) observer: &'a dyn Observer,
}

/// Good bytes.
pub(super) struct Good {
    pub(super) origin: Origin,
    pub(super) from: PathBuf,
    pub(super) blake3: Blake3,
    /// Of what is large enough to have one.
    pub(super) tree: Option<Tree>,
    /// How many bytes are from where, if they are not all of one file.
    pub(super) taken: Vec<Taken>,
    /// The synced copy under its final mode, and what it looks like; `None` if nothing is staged.
    pub(super) staged: Option<(PathBuf, Stamp)>,
}

/// What became of all candidates for one blob.
#[derive(Default)]
pub(super) struct Attempt {
    pub(super) good: Option<Good>,
    /// What would not do, and why.
    pub(super) tried: Vec<(PathBuf, String)>,
    /// Whether the observer asked to stop.
    pub(super) stopped: bool,
    /// Whether there was no room for one that might have done: nothing is said of the others then.
    pub(super) no_room: bool,
}

/// What became of putting a blob together.
pub(super) enum Assembled {
    /// It ended the search: good bytes, no room, or asked to stop.
    Ended,
    /// Some groups are nowhere.
    Incomplete,
    /// All groups fit the tree, and the whole is not the blob: the tree is of no use.
    Misled,
}

/// What became of one candidate.
enum Tried {
    Good(Good),
    Refused(String),
    NoRoom(String),
    Stopped,
}

impl Bench<'_> {
    /// Tries candidates in order, up to the first that has the right bytes. Where a tree tells right parts from wrong ones,
    /// what is right of several files is put together. An error is one of the store's own disk.
    pub(super) fn attempt(&self, broken: &Broken, candidates: Vec<Candidate>) -> Result<Attempt> {
        let mut attempt = Attempt::default();
        if !is_mendable(broken) {
            return Ok(attempt);
        }
        let mut misled = true;
        if let Some(tree) = broken.row.as_ref().and_then(|row| trees::believed(self.ledger, &broken.digest, row)) {
            let bad = bad_files(self.ledger, broken);
            match self.assemble(broken, &tree, &bad, &candidates, &mut attempt)? {
                Assembled::Ended => return Ok(attempt),
                Assembled::Incomplete => misled = false,
                Assembled::Misled => {}
            }
        }
        // Of files that are there for their size alone the tree has told that they do not help.
        for candidate in candidates.into_iter().filter(|candidate| misled || !candidate.guessed) {
            match self.one(broken, &candidate)? {
                Tried::Good(good) => {
                    attempt.good = Some(good);
                    return Ok(attempt);
                }
                Tried::Refused(reason) => attempt.tried.push((candidate.path, reason)),
                Tried::NoRoom(reason) => {
                    attempt.tried.push((candidate.path, reason));
                    attempt.no_room = true;
                }
                Tried::Stopped => {
                    attempt.stopped = true;
                    return Ok(attempt);
                }
            }
        }
        Ok(attempt)
    }

    fn one(&self, broken: &Broken, candidate: &Candidate) -> Result<Tried> {
        let (file, meta) = match self.open(broken, &candidate.path) {
            Ok(opened) => opened,
            Err(reason) => return Ok(Tried::Refused(reason)),
        };
        let Some(session) = self.session else {
            return Ok(self.judge(broken, candidate, self.hash(file.as_ref()), None));
        };
        let path = session.next_path();
        let tried = self.stage(broken, candidate, file.as_ref(), &meta, &path);
        if !matches!(tried, Ok(Tried::Good(_))) {
            let _ = self.ledger.machine.unlink(&path);
        }
        tried
    }

    /// Opens a candidate; the error says why it cannot be one.
    fn open(&self, broken: &Broken, path: &Path) -> Result<(Box<dyn File>, Meta), String> {
        let trouble = |e: io::Error| match e.kind() {
            io::ErrorKind::NotFound => "it is not there".to_owned(),
            _ => format!("it cannot be read: {e}"),
        };
        let file = self.ledger.machine.open(path, Open::Read).map_err(trouble)?;
        let meta = file.meta().map_err(trouble)?;
        if meta.kind != FileKind::File {
            return Err("it is no regular file".to_owned());
        }
        let is_bad = |bad: Meta| (bad.device, bad.inode) == (meta.device, meta.inode);
        if !broken.is_unrecorded() && broken.look.file.is_some_and(is_bad) {
            return Err("it is a link to the damaged file itself".to_owned());
        }
        if meta.size_bytes != broken.size_bytes {
            return Err(format!("it has {} bytes instead of {}", meta.size_bytes, broken.size_bytes));
        }
        Ok((file, meta))
    }

    fn stage(
        &self,
        broken: &Broken,
        candidate: &Candidate,
        from: &dyn File,
        source: &Meta,
        path: &Path,
    ) -> Result<Tried> {
        let machine = self.ledger.machine.as_ref();
        let mode = self.mode_for(broken, source);
        let to = machine.open(path, Open::CreateNew { mode }).map_err(|e| Error::io("create", path, e))?;
        let digests = match machine.reflink(from, to.as_ref()) {
            Ok(()) => self.hash(to.as_ref()),
            Err(_) => {
                let (staging, attempt) = (self.ledger.layout.staging(), || format!("copy it for {}", broken.digest));
                if let Err(e) = refuse_what_cannot_fit(machine, &staging, source, attempt) {
                    return Ok(Tried::NoRoom(in_full(&e)));
                }
                copy_hashed(from, to.as_ref(), path, &|| !self.observer.cancelled())?
            }
        };
        if digests.as_ref().is_ok_and(|(digests, _)| digests.digest == broken.digest) {
            let staged = self.seal(broken, source, to.as_ref(), path)?;
            return Ok(self.judge(broken, candidate, digests, Some((path.to_owned(), staged))));
        }
        Ok(self.judge(broken, candidate, digests, None))
    }

    pub(super) fn hash(&self, file: &dyn File) -> io::Result<(Digests, Option<Tree>)> {
        let mut hasher = Hasher::default();
        read_through(file, &mut hasher, &|_| !self.observer.cancelled(), &mut |_, _| Ok(()))?;
        Ok(hasher.finish_with_tree())
    }

    /// Gives the copy the time that the blob's file had, which checkouts by link show, and syncs it.
    pub(super) fn seal(&self, broken: &Broken, source: &Meta, file: &dyn File, path: &Path) -> Result<Stamp> {
        let mtime_ns = broken.row.as_ref().map_or(source.mtime_ns, |row| row.stamp.mtime_ns);
        file.set_mtime(mtime_ns).map_err(|e| Error::io("set the time of", path, e))?;
        if self.ledger.policy.durability != Durability::None {
            file.sync().map_err(|e| Error::io("sync", path, e))?;
        }
        let meta = file.meta().map_err(|e| Error::io("look at", path, e))?;
        Ok(blobs::stamp(&meta))
    }

    /// Who could read these bytes as the blob's may read them again, and nobody else.
    pub(super) fn mode_for(&self, broken: &Broken, source: &Meta) -> u32 {
        let policy = self.ledger.policy.blob_mode;
        match &broken.row {
            Some(row) => policy & (row.stamp.mode | 0o400),
            None => blobs::mode_for(policy, source),
        }
    }

    fn judge(
        &self,
        broken: &Broken,
        candidate: &Candidate,
        digests: io::Result<(Digests, Option<Tree>)>,
        staged: Option<(PathBuf, Stamp)>,
    ) -> Tried {
        match digests {
            Ok((found, tree)) if found.digest == broken.digest => {
                let (origin, from) = (candidate.origin, candidate.path.clone());
                Tried::Good(Good { origin, from, blake3: found.blake3, tree, taken: Vec::new(), staged })
            }
            Ok((found, _)) => Tried::Refused(format!("its bytes are {}", found.digest)),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Tried::Stopped,
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                Tried::Refused("it became shorter while it was read".to_owned())
            }
            Err(e) => Tried::Refused(format!("it cannot be read: {e}")),
        }
    }
}

impl Good {
    /// Lets go of the staged copy: by now the blob's file is a link to it, or it is of no use.
    pub(super) fn unstage(&self, ledger: &Ledger) {
        if let Some((path, _)) = &self.staged {
            let _ = ledger.machine.unlink(path);
        }
    }
}
