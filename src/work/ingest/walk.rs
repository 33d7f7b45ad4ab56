//! From the paths that a user names to the files below them and their names.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{AddOptions, TakeIn};
use crate::machine::{FileKind, Machine, Meta};
use crate::vocabulary::{Error, ErrorKind, Event, Name, Observer, Result};

/// One file to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// Where its bytes are.
    pub path: PathBuf,
    /// The name it gets.
    pub name: Name,
    /// Its length in bytes when it was seen.
    pub size_bytes: u64,
    /// What it was then; `None` for a stream.
    pub seen: Option<Meta>,
    /// Whether it was reached through a symbolic link of the tree: then it is never taken in by link.
    pub through_symlink: bool,
}

/// Walks trees one directory at a time, in the order of their names, and never leaves them.
pub(super) struct Walk<'a> {
    machine: &'a dyn Machine,
    observer: &'a dyn Observer,
    /// Device and inode of the store directory, which is left out.
    store: (u64, u64),
    /// The canonical root of the tree that is walked.
    root: PathBuf,
    pending: VecDeque<Pending>,
    pub skipped: u64,
    pub failed: u64,
}

struct Pending {
    path: PathBuf,
    name: Vec<u8>,
    kind: FileKind,
}

impl<'a> Walk<'a> {
    pub(super) fn new(machine: &'a dyn Machine, store: &Path, observer: &'a dyn Observer) -> Result<Self> {
        let meta = machine.stat(store).map_err(|e| Error::io("look at", store, e))?;
        Ok(Walk {
            machine,
            observer,
            store: (meta.device, meta.inode),
            root: PathBuf::new(),
            pending: VecDeque::new(),
            skipped: 0,
            failed: 0,
        })
    }

    /// Begins with `path`; everything of the path before must have been taken. A path that is not there is an error.
    pub(super) fn begin(&mut self, path: &Path, options: &AddOptions) -> Result<()> {
        let root = self.machine.canonical(path).map_err(|e| Error::io("find", path, e))?;
        let meta = self.machine.stat(&root).map_err(|e| Error::io("look at", path, e))?;
        let inside = root.parent().filter(|above| self.inside_store(above));
        if options.take_in != TakeIn::Copy && inside.is_some() {
            let attempt = format!("link or move {} into the store", path.display());
            return Err(Error::new(ErrorKind::Refused, attempt, "it is in the store directory already"));
        }
        let mut name = options.prefix.as_ref().map_or(Vec::new(), |prefix| prefix.as_bytes().to_vec());
        let own = match &options.name {
            Some(name) => name.as_bytes().to_vec(),
            None => base_name(path, &root, meta.kind),
        };
        join(&mut name, &own);
        if let Some(above) = inside {
            // Its files are blobs, names and records: nothing to take in, and by no means to move away.
            self.skip(path, &format!("it belongs to the store itself ({})", above.display()));
            return Ok(());
        }
        self.root = if meta.kind == FileKind::Directory { root.clone() } else { PathBuf::new() };
        let linked = self.machine.lstat(path).is_ok_and(|link| link.kind == FileKind::Symlink);
        let (path, kind) = match meta.kind {
            // Not what the link leads to is taken in, but its bytes.
            FileKind::File if linked => (path.to_owned(), FileKind::Symlink),
            kind => (root, kind),
        };
        self.pending.push_back(Pending { path, name, kind });
        Ok(())
    }

    /// Whether a canonical directory is the store or somewhere below it.
    fn inside_store(&self, directory: &Path) -> bool {
        let is_store = |path: &Path| self.machine.stat(path).is_ok_and(|meta| (meta.device, meta.inode) == self.store);
        directory.ancestors().any(is_store)
    }

    /// The next file; `None` when there is none left.
    pub(super) fn next(&mut self) -> Option<Item> {
        while let Some(pending) = self.pending.pop_front() {
            let found = match pending.kind {
                FileKind::Directory => self.enter(&pending),
                FileKind::File => self.file(&pending.path, &pending.name, false),
                FileKind::Symlink => self.follow(&pending),
                FileKind::Special => self.skip(&pending.path, "it is a fifo, socket or device"),
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Puts what is in a directory before everything else that is pending: memory stays that of one path of the tree.
    fn enter(&mut self, pending: &Pending) -> Option<Item> {
        match self.machine.lstat(&pending.path) {
            Ok(meta) if (meta.device, meta.inode) == self.store => {
                return self.skip(&pending.path, "it is the store itself");
            }
            Ok(_) => {}
            Err(e) => return self.fail(&pending.path, &Error::io("look at", &pending.path, e)),
        }
        let mut entries = match self.machine.list(&pending.path) {
            Ok(entries) => entries,
            Err(e) => return self.fail(&pending.path, &Error::io("list", &pending.path, e)),
        };
        entries.sort_by(|a, b| b.name.cmp(&a.name));
        for entry in entries {
            let mut name = pending.name.clone();
            join(&mut name, entry.name.as_bytes());
            self.pending.push_front(Pending { path: pending.path.join(&entry.name), name, kind: entry.kind });
        }
        None
    }

    fn file(&mut self, path: &Path, name: &[u8], through_symlink: bool) -> Option<Item> {
        let name = match Name::new(name) {
            Ok(name) => name,
            Err(e) => return self.fail(path, &e),
        };
        match self.machine.lstat(path) {
            Ok(meta) if meta.kind == FileKind::File => {
                let (size_bytes, seen) = (meta.size_bytes, Some(meta));
                Some(Item { path: path.to_owned(), name, size_bytes, seen, through_symlink })
            }
            Ok(_) => self.skip(path, "it is no regular file any more"),
            Err(e) => self.fail(path, &Error::io("look at", path, e)),
        }
    }

    /// A symbolic link to a regular file of the same tree is one more name of that file.
    fn follow(&mut self, pending: &Pending) -> Option<Item> {
        let Ok(target) = self.machine.canonical(&pending.path) else {
            return self.skip(&pending.path, "it is a symbolic link that leads nowhere");
        };
        if !target.starts_with(&self.root) {
            return self.skip(&pending.path, "it is a symbolic link out of the tree");
        }
        if target.parent().is_some_and(|above| self.inside_store(above)) {
            return self.skip(&pending.path, "it is a symbolic link into the store itself");
        }
        match self.machine.lstat(&target) {
            Ok(meta) if meta.kind == FileKind::File => self.file(&target, &pending.name, true),
            _ => self.skip(&pending.path, "it is a symbolic link to something that is no regular file"),
        }
    }

    fn skip(&mut self, path: &Path, reason: &str) -> Option<Item> {
        self.skipped += 1;
        self.observer.event(&Event::Skipped { path: path.to_owned(), reason: reason.to_owned() });
        None
    }

    fn fail(&mut self, path: &Path, error: &Error) -> Option<Item> {
        self.failed += 1;
        self.observer.event(&Event::Failed { path: path.to_owned(), reason: error.in_one_line() });
        None
    }
}

/// What a path is called: `.` and `/` are called nothing, `..` what it leads to.
fn base_name(path: &Path, root: &Path, kind: FileKind) -> Vec<u8> {
    let named = |path: &Path| path.file_name().map(OsStr::as_bytes).unwrap_or_default().to_vec();
    let is_dot = path.components().all(|c| c == std::path::Component::CurDir);
    match path.file_name() {
        _ if is_dot && kind == FileKind::Directory => Vec::new(),
        Some(name) => name.as_bytes().to_vec(),
        None => named(root),
    }
}

fn join(name: &mut Vec<u8>, more: &[u8]) {
    if !name.is_empty() && !more.is_empty() {
        name.push(b'/');
    }
    name.extend_from_slice(more);
}

/// The name for a source that has none of its own.
pub(super) fn stream_name(name: &Name, options: &AddOptions) -> Result<Name> {
    let mut full = options.prefix.as_ref().map_or(Vec::new(), |prefix| prefix.as_bytes().to_vec());
    join(&mut full, name.as_bytes());
    Name::new(full).map_err(|e| e.as_kind(ErrorKind::Invalid))
}
