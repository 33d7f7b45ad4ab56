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

/// Files of one length that are remembered to be asked for parts.
const GUESSED_MOST: usize = 4096;
/// Files of the right sizes that are hashed in one go.
const HASHED_AT_ONCE: usize = 1024;

/// Places where good bytes may be.
pub(super) struct Offered<'a> {
    ledger: &'a Ledger,
    stores: Vec<Layout>,
    /// Files, and directories that are no stores.
    trees: Vec<PathBuf>,
    /// The files among them.
    files: Vec<PathBuf>,
    /// What the last look has found for each digest.
    found: BTreeMap<Digest, PathBuf>,
    /// Files of each length that the last look was to find for digests whose parts can be told apart.
    by_size: BTreeMap<u64, Vec<PathBuf>>,
}

/// A digest that is looked for.
pub(super) struct Wanted {
    pub(super) digest: Digest,
    pub(super) size_bytes: u64,
    /// Whether a file that is right in parts is of use.
    pub(super) by_parts: bool,
}

impl<'a> Offered<'a> {
    /// Sees what kind of place each path is. One that is not there is [`ErrorKind::NotFound`].
    pub(super) fn new(ledger: &'a Ledger, from: &[PathBuf]) -> Result<Self> {
        let mut offered = Offered {
            ledger,
            stores: Vec::new(),
            trees: Vec::new(),
            files: Vec::new(),
            found: BTreeMap::new(),
            by_size: BTreeMap::new(),
        };
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
                FileKind::File => {
                    offered.files.push(root.clone());
                    offered.trees.push(root);
                }
                FileKind::Directory => offered.trees.push(root),
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

    /// What is offered for a digest of this length, after it was looked for: other stores, then files.
    pub(super) fn candidates(&self, digest: &Digest, size_bytes: u64) -> impl Iterator<Item = Candidate> {
        let stores: Vec<PathBuf> = self.stores.iter().map(|store| store.blob(digest)).collect();
        let paths = stores.into_iter().chain(self.found.get(digest).cloned());
        let guessed = self.by_size.get(&size_bytes).cloned().unwrap_or_default();
        let candidate = |guessed| move |path| Candidate { origin: Origin::Offered, path, guessed };
        paths.map(candidate(false)).chain(guessed.into_iter().map(candidate(true)))
    }

    /// Walks the directories for files that have the size of one of these digests, and remembers those whose bytes are
    /// right, or, where there is only one pair to compare, the file as it is: it is hashed anyway before it is used. For what
    /// can be put together from parts, all of them are remembered.
    pub(super) fn look_for(&mut self, wanted: &[Wanted], workers: &Workers, observer: &dyn Observer) -> Result<()> {
        self.found.clear();
        let mut open: BTreeMap<u64, BTreeSet<Digest>> = BTreeMap::new();
        self.by_size.clear();
        for Wanted { digest, size_bytes, by_parts } in wanted {
            match by_parts {
                // A file that the user points at may be the one although it was cut short.
                true => _ = self.by_size.entry(*size_bytes).or_insert_with(|| self.files.clone()),
                false => _ = open.entry(*size_bytes).or_default().insert(*digest),
            }
        }
        let mut pending: Vec<PathBuf> = self.trees.iter().rev().cloned().collect();
        while !pending.is_empty() && !observer.cancelled() {
            if open.is_empty() && self.by_size.is_empty() {
                break;
            }
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
    fn next_files(
        &mut self,
        pending: &mut Vec<PathBuf>,
        open: &BTreeMap<u64, BTreeSet<Digest>>,
    ) -> Vec<(PathBuf, u64)> {
        let ledger = self.ledger;
        let machine = ledger.machine.as_ref();
        let mut files = Vec::new();
        while files.len() < HASHED_AT_ONCE {
            let Some(path) = pending.pop() else { break };
            let Ok(meta) = machine.lstat(&path) else { continue };
            if let Some(guessed) = self.by_size.get_mut(&meta.size_bytes)
                && meta.kind == FileKind::File
                && guessed.len() < GUESSED_MOST
                && !guessed.contains(&path)
            {
                guessed.push(path.clone());
            }
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
