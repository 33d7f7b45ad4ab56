//! Blob files: found, published, replaced and taken out of `sha256/`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::format::layout::Layout;
use crate::machine::kept::KeptOpen;
use crate::machine::{Entry, File, FileKind, Machine, Meta, Open};
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Digest, Error, ErrorKind, Result, Stamp};

/// The blob files of one store.
#[derive(Clone)]
pub struct Blobs {
    machine: Arc<dyn Machine>,
    layout: Layout,
    /// The 256 directories, which never go away.
    shards: Arc<KeptOpen>,
    syncfs: bool,
}

/// The stamp of a file that looks like this.
pub fn stamp(meta: &Meta) -> Stamp {
    Stamp {
        size_bytes: meta.size_bytes,
        mtime_ns: meta.mtime_ns,
        inode: meta.inode,
        mode: meta.mode,
        ctime_ns: meta.ctime_ns,
    }
}

/// The store's blob mode, less what the source did not allow: no copy is readable to more people than its source.
/// A group may be another one for the copy, so its bit is kept only where everybody may read anyway.
pub fn mode_for(blob_mode: u32, source: &Meta) -> u32 {
    let others = source.mode & 0o004;
    let group = if others != 0 { source.mode & 0o040 } else { 0 };
    blob_mode & (0o400 | group | others)
}

/// Who may read a file: its mode, and the user whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readers {
    /// The mode.
    pub mode: u32,
    /// The user.
    pub uid: u32,
}

impl Readers {
    /// Those of a file that looks like this.
    pub fn of(meta: &Meta) -> Self {
        Readers { mode: meta.mode, uid: meta.uid }
    }

    /// Whether all of `others` are among them. Whoever uses a store is in its group.
    pub fn cover(self, others: Readers) -> bool {
        let more = others.mode & !self.mode & 0o044;
        more == 0 && (others.uid == self.uid || others.uid == 0 || self.mode & 0o044 != 0)
    }
}

/// More directories than this are synced with one `syncfs` where that can be trusted.
const FEW_DIRECTORIES: usize = 8;

/// Handles of the directories that are about to change: a sync through a descriptor vouches only for what happened
/// after it was opened.
#[derive(Default)]
pub struct BlobDirs {
    handles: BTreeMap<u8, Box<dyn File>>,
    /// Opened before the first of them; stands for all, once they are many.
    filesystem: Option<Box<dyn File>>,
    many: bool,
}

impl Blobs {
    /// The blob files of the store at `layout`, whose 256 directories are the `shards`. `syncfs`: whether it reports
    /// errors here.
    pub fn new(machine: Arc<dyn Machine>, layout: Layout, shards: Arc<KeptOpen>, syncfs: bool) -> Self {
        Blobs { machine, layout, shards, syncfs }
    }

    /// The blob at `path`, through its directory.
    fn entry<'a>(&'a self, digest: &Digest, path: &'a Path) -> Entry<'a> {
        let first = digest.as_bytes()[0];
        Entry::of(path, self.shards.get(first.into(), || self.layout.blob_dir(first)))
    }

    /// The path of a blob.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.layout.blob(digest)
    }

    /// What is at the place of a blob; `None` if nothing is. Anything but a regular file is an error.
    pub fn meta(&self, digest: &Digest) -> Result<Option<Meta>> {
        let path = self.path(digest);
        match self.machine.lstat_in(self.entry(digest, &path)) {
            Ok(meta) if meta.kind == FileKind::File => Ok(Some(meta)),
            Ok(meta) => {
                let what = match meta.kind {
                    FileKind::Directory => "a directory",
                    FileKind::Symlink => "a symbolic link",
                    _ => "a special file",
                };
                let reason = format!("{what} stands in the place of a blob: move it out of the store, then try again");
                Err(Error::new(ErrorKind::Damaged, format!("use {}", path.display()), reason))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("look at", &path, e)),
        }
    }

    /// Gives a blob one more name.
    pub fn link(&self, digest: &Digest, to: Entry<'_>) -> io::Result<()> {
        let path = self.path(digest);
        self.machine.link_in(self.entry(digest, &path), to)
    }

    /// Opens a blob for reading.
    pub fn open(&self, digest: &Digest) -> Result<Box<dyn File>> {
        let path = self.path(digest);
        self.machine.open(&path, Open::Read).map_err(|e| Error::io("open", &path, e))
    }

    /// Links a staged file into its place; `false` if something is there already.
    pub fn publish<'a>(&self, staged: impl Into<Entry<'a>>, digest: &Digest, dirs: &mut BlobDirs) -> Result<bool> {
        self.watch(digest, dirs)?;
        let path = self.path(digest);
        match self.machine.link_in(staged.into(), self.entry(digest, &path)) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(Error::io("publish", &path, e)),
        }
    }

    /// Puts a staged file in the place of whatever is there, by rename of a second link to it at `through`.
    pub fn replace(&self, staged: &Path, through: &Path, digest: &Digest, dirs: &mut BlobDirs) -> Result<()> {
        self.watch(digest, dirs)?;
        let path = self.path(digest);
        self.machine.link(staged, through).map_err(|e| Error::io("link", through, e))?;
        self.machine.rename(through, &path).map_err(|e| Error::io("publish", &path, e))
    }

    /// Opens the directory of `digest`, before it is changed.
    pub fn watch(&self, digest: &Digest, dirs: &mut BlobDirs) -> Result<()> {
        let first = digest.as_bytes()[0];
        let open = |path: PathBuf| self.machine.open(&path, Open::Directory).map_err(|e| Error::io("open", &path, e));
        if self.syncfs && dirs.filesystem.is_none() {
            dirs.filesystem = Some(open(self.layout.root().join("sha256"))?);
        }
        if dirs.many || dirs.handles.contains_key(&first) {
            return Ok(());
        }
        if dirs.filesystem.is_some() && dirs.handles.len() == FEW_DIRECTORIES {
            dirs.many = true;
            return Ok(());
        }
        dirs.handles.insert(first, open(self.layout.blob_dir(first))?);
        Ok(())
    }

    /// Syncs every directory that was changed.
    pub fn sync(&self, dirs: &BlobDirs) -> Result<()> {
        if planted(Bug::BlobDirSync) {
            return Ok(());
        }
        if let Some(filesystem) = dirs.filesystem.as_ref().filter(|_| dirs.many) {
            let synced = filesystem.sync_filesystem();
            return synced.map_err(|e| Error::io("sync", &self.layout.root().join("sha256"), e));
        }
        for (first, handle) in &dirs.handles {
            handle.sync().map_err(|e| Error::io("sync", &self.layout.blob_dir(*first), e))?;
        }
        Ok(())
    }

    /// Renames a blob out of the way; `false` if it is not there.
    pub fn take_out<'a>(&self, digest: &Digest, to: impl Into<Entry<'a>>) -> Result<bool> {
        let path = self.path(digest);
        match self.machine.rename_in(self.entry(digest, &path), to.into()) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::io("move", &path, e)),
        }
    }

    /// Unlinks a blob where it is; `false` if it is not there.
    pub fn remove(&self, digest: &Digest) -> Result<bool> {
        let path = self.path(digest);
        match self.machine.unlink_in(self.entry(digest, &path)) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::io("remove", &path, e)),
        }
    }

    /// The blob files in one of the 256 directories, with their inodes. Other things in it are left alone.
    pub fn list(&self, first: u8) -> Result<Vec<(Digest, u64)>> {
        let path = self.layout.blob_dir(first);
        let entries = self.machine.list(&path).map_err(|e| Error::io("list", &path, e))?;
        let blob = |e: &crate::machine::Listed| {
            e.name.to_str().and_then(|name| Layout::digest_of(first, name)).map(|digest| (digest, e.inode))
        };
        Ok(entries.iter().filter(|e| e.kind == FileKind::File).filter_map(blob).collect())
    }
}
