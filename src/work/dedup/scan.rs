//! Files outside the store that have the bytes of a blob.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::inodes;
use crate::hashing::digest_file;
use crate::ledger::{Snapshot, Tables};
use crate::machine::{FileKind, Meta, Open};
use crate::vocabulary::limits::SMALL_FILE_BYTES;
use crate::vocabulary::{Digest, Error, Event, Observer, Result};
use crate::work::Context;

/// Files that are hashed in one round of the workers.
const ROUND: usize = 256;

/// One file that has the bytes of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The file.
    pub path: PathBuf,
    /// The blob.
    pub digest: Digest,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Whether it is a link to what the store keeps: then it takes nothing besides.
    pub linked: bool,
}

/// What a look at directories came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Files that were looked at.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of those, copies of blobs.
    pub copies: u64,
    /// Bytes that they take, and would not as links: one file with several names counts with each.
    pub could_save_bytes: u64,
    /// Files that are links to what the store keeps.
    pub linked: u64,
    /// Files and directories that could not be read.
    pub failed: u64,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

/// Looks through directories for files that have the bytes of a blob, and gives each to `each`. No symbolic link is followed, the
/// store is left out, and only files whose size a blob has are read. What cannot be read is told as [`Event::Failed`].
pub fn scan(
    ctx: &Context<'_>,
    directories: &[PathBuf],
    observer: &dyn Observer,
    each: &mut dyn FnMut(Copy) -> Result<()>,
) -> Result<Scanned> {
    let snapshot = ctx.ledger.snapshot()?;
    let root = ctx.ledger.layout.root();
    let store = ctx.ledger.machine.stat(root).map_err(|e| Error::io("look at", root, e))?;
    let mut scan = Scan { ctx, snapshot: &snapshot, store, observer, scanned: Scanned::default(), found: Vec::new() };
    for directory in directories {
        let real = ctx.ledger.machine.canonical(directory).map_err(|e| Error::io("find", directory, e))?;
        scan.below(real, each)?;
    }
    scan.look(each)?;
    Ok(scan.scanned)
}

struct Scan<'a> {
    ctx: &'a Context<'a>,
    snapshot: &'a Snapshot,
    store: Meta,
    observer: &'a dyn Observer,
    scanned: Scanned,
    /// Files that are to be hashed.
    found: Vec<(PathBuf, Meta)>,
}

impl Scan<'_> {
    fn below(&mut self, path: PathBuf, each: &mut dyn FnMut(Copy) -> Result<()>) -> Result<()> {
        let mut pending = VecDeque::from([path]);
        while let Some(path) = pending.pop_front() {
            if self.observer.cancelled() {
                self.scanned.interrupted = true;
                return Ok(());
            }
            let meta = match self.ctx.ledger.machine.lstat(&path) {
                Ok(meta) => meta,
                Err(e) => {
                    self.failed(&path, &Error::io("look at", &path, e));
                    continue;
                }
            };
            match meta.kind {
                FileKind::Directory if (meta.device, meta.inode) == (self.store.device, self.store.inode) => {}
                FileKind::Directory => match self.ctx.ledger.machine.list(&path) {
                    Ok(mut listed) => {
                        listed.sort_by(|a, b| a.name.cmp(&b.name));
                        pending.extend(listed.into_iter().map(|one| path.join(one.name)));
                    }
                    Err(e) => self.failed(&path, &Error::io("list", &path, e)),
                },
                FileKind::File => self.file(path, meta, each)?,
                FileKind::Symlink | FileKind::Special => {}
            }
        }
        Ok(())
    }

    fn file(&mut self, path: PathBuf, meta: Meta, each: &mut dyn FnMut(Copy) -> Result<()>) -> Result<()> {
        self.scanned.files += 1;
        self.scanned.bytes += meta.size_bytes;
        let may_be = match meta.size_bytes {
            0 => false,
            size if size <= SMALL_FILE_BYTES => true,
            size => self.snapshot.has_size(size)?,
        };
        if may_be {
            self.observer.expect(1, meta.size_bytes);
            self.found.push((path, meta));
        }
        if self.found.len() == ROUND { self.look(each) } else { Ok(()) }
    }

    fn look(&mut self, each: &mut dyn FnMut(Copy) -> Result<()>) -> Result<()> {
        let (machine, observer) = (&self.ctx.ledger.machine, self.observer);
        let hash = |(path, meta): (PathBuf, Meta)| {
            if observer.cancelled() {
                return None;
            }
            let digests = machine.open(&path, Open::Read).and_then(|file| digest_file(file.as_ref()));
            observer.progress(1, meta.size_bytes);
            Some((path, meta, digests))
        };
        for one in self.ctx.workers.map(std::mem::take(&mut self.found), hash) {
            match one {
                None => self.scanned.interrupted = true,
                Some((path, _, Err(e))) => self.failed(&path, &Error::io("read", &path, e)),
                Some((path, meta, Ok(digests))) => {
                    if self.snapshot.blob(&digests.digest)?.is_some() {
                        self.copy(path, &meta, digests.digest, each)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn copy(
        &mut self,
        path: PathBuf,
        meta: &Meta,
        digest: Digest,
        each: &mut dyn FnMut(Copy) -> Result<()>,
    ) -> Result<()> {
        let linked =
            meta.device == self.store.device && inodes(self.ctx, self.snapshot, &digest)?.contains(&meta.inode);
        match linked {
            true => self.scanned.linked += 1,
            false => {
                self.scanned.copies += 1;
                self.scanned.could_save_bytes += meta.allocated_bytes;
            }
        }
        each(Copy { path, digest, size_bytes: meta.size_bytes, linked })
    }

    fn failed(&mut self, path: &Path, error: &Error) {
        self.scanned.failed += 1;
        let reason = match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        self.observer.event(&Event::Failed { path: path.to_owned(), reason });
    }
}
