//! What the user offers: files, directories, other stores.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Candidate;
use crate::format::layout::Layout;
use crate::hashing::file::read_through;
use crate::hashing::{Sha256, Workers};
use crate::ledger::Ledger;
use crate::machine::{FileKind, Machine, Meta, Open};
use crate::vocabulary::events::Origin;
use crate::vocabulary::{Digest, Error, ErrorKind, Observer, Result};

/// Files of the right sizes that are hashed in one go.
const HASHED_AT_ONCE: usize = 1024;

/// Places where good bytes may be.
pub(super) struct Offered<'a> {
    ledger: &'a Ledger,
    stores: Vec<Layout>,
    /// Files, and directories that are no stores.
    trees: Vec<PathBuf>,
    /// What the last look has found for each digest.
    found: BTreeMap<Digest, PathBuf>,
}

impl<'a> Offered<'a> {
    /// Sees what kind of place each path is. One that is not there is [`ErrorKind::NotFound`].
    pub(super) fn new(ledger: &'a Ledger, from: &[PathBuf]) -> Result<Self> {
        let mut offered = Offered { ledger, stores: Vec::new(), trees: Vec::new(), found: BTreeMap::new() };
        for path in from {
            let machine = ledger.machine.as_ref();
            let root = machine.canonical(path).map_err(|e| Error::io("find", path, e))?;
            let meta = machine.stat(&root).map_err(|e| Error::io("look at", path, e))?;
            match meta.kind {
                FileKind::Directory if offered.is_this_store(&meta) => {
                    let attempt = format!("repair from {}", path.display());
                    return Err(Error::new(ErrorKind::Invalid, attempt, "it is the store that is to be repaired"));
                }
                FileKind::Directory if is_store(machine, &root) => offered.stores.push(Layout::new(root)),
                FileKind::Directory | FileKind::File => offered.trees.push(root),
                _ => {
                    let attempt = format!("repair from {}", path.display());
                    return Err(Error::new(ErrorKind::Invalid, attempt, "it is no regular file and no directory"));
                }
            }
        }
        Ok(offered)
    }

    fn is_this_store(&self, meta: &Meta) -> bool {
        let own = self.ledger.machine.stat(self.ledger.layout.root());
        own.is_ok_and(|own| (own.device, own.inode) == (meta.device, meta.inode))
    }

    /// What is offered for a digest, after it was looked for: other stores, then files.
    pub(super) fn candidates(&self, digest: &Digest) -> impl Iterator<Item = Candidate> {
        let stores: Vec<PathBuf> = self.stores.iter().map(|store| store.blob(digest)).collect();
        let paths = stores.into_iter().chain(self.found.get(digest).cloned());
        paths.map(|path| Candidate { origin: Origin::Offered, path })
    }

    /// Walks the directories for files that have the size of one of these digests, and remembers those whose bytes are
    /// right, or, where there is only one pair to compare, the file as it is: it is hashed anyway before it is used.
    pub(super) fn look_for(
        &mut self,
        wanted: &[(Digest, u64)],
        workers: &Workers,
        observer: &dyn Observer,
    ) -> Result<()> {
        self.found.clear();
        let mut open: BTreeMap<u64, BTreeSet<Digest>> = BTreeMap::new();
        for (digest, size) in wanted {
            open.entry(*size).or_default().insert(*digest);
        }
        let mut pending: Vec<PathBuf> = self.trees.iter().rev().cloned().collect();
        while !open.is_empty() && !pending.is_empty() && !observer.cancelled() {
            let files = self.next_files(&mut pending, &open);
            for (digest, size, path) in self.hashed(files, &open, workers, observer) {
                let left = open.get_mut(&size).is_some_and(|digests| digests.remove(&digest));
                if left {
                    self.found.insert(digest, path);
                }
                open.retain(|_, digests| !digests.is_empty());
            }
        }
        Ok(())
    }

    /// Some more files of the sizes that are looked for. What cannot be looked at is left out, as are symbolic links and
    /// the store itself.
    fn next_files(&self, pending: &mut Vec<PathBuf>, open: &BTreeMap<u64, BTreeSet<Digest>>) -> Vec<(PathBuf, u64)> {
        let machine = self.ledger.machine.as_ref();
        let mut files = Vec::new();
        while files.len() < HASHED_AT_ONCE {
            let Some(path) = pending.pop() else { break };
            let Ok(meta) = machine.lstat(&path) else { continue };
            match meta.kind {
                FileKind::File if open.contains_key(&meta.size_bytes) => files.push((path, meta.size_bytes)),
                FileKind::Directory if !self.is_this_store(&meta) => {
                    let mut entries = machine.list(&path).unwrap_or_default();
                    entries.sort_by(|a, b| b.name.cmp(&a.name));
                    pending.extend(entries.into_iter().map(|entry| path.join(entry.name)));
                }
                _ => {}
            }
        }
        files
    }

    fn hashed(
        &self,
        files: Vec<(PathBuf, u64)>,
        open: &BTreeMap<u64, BTreeSet<Digest>>,
        workers: &Workers,
        observer: &dyn Observer,
    ) -> Vec<(Digest, u64, PathBuf)> {
        if let [(path, size)] = &files[..]
            && let Some(only) = open.get(size).filter(|digests| digests.len() == 1).and_then(BTreeSet::first)
        {
            return vec![(*only, *size, path.clone())];
        }
        let hashed = workers.map(files, |(path, size)| {
            let file = self.ledger.machine.open(&path, Open::Read).ok()?;
            let mut hasher = Sha256::default();
            read_through(file.as_ref(), &mut hasher, &|_| !observer.cancelled(), &mut |_, _| Ok(())).ok()?;
            Some((hasher.finish(), size, path))
        });
        hashed.into_iter().flatten().collect()
    }
}

/// Whether a directory is a store: then it is asked by digest, and nothing else of it is read.
fn is_store(machine: &dyn Machine, directory: &Path) -> bool {
    machine.lstat(&Layout::new(directory).settings()).is_ok_and(|meta| meta.kind == FileKind::File)
}
