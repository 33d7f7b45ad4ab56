//! Further inodes of blobs: `carriers/ab/cdef….N`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::format::layout::Layout;
use crate::machine::{File, FileKind, Machine, Meta, Open};
use crate::vocabulary::{Digest, Error, Result};

/// The carriers of one store.
#[derive(Clone)]
pub struct Carriers {
    machine: Arc<dyn Machine>,
    layout: Layout,
    directory_mode: u32,
}

/// Handles of the directories that are about to change: a sync vouches only for what happens after its descriptor was
/// opened.
#[derive(Default)]
pub struct CarrierDirs(BTreeMap<PathBuf, Box<dyn File>>);

/// A carrier's file, as it was found in its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundCarrier {
    /// The digest that its name claims.
    pub digest: Digest,
    /// Its number.
    pub number: u32,
    /// Its inode.
    pub inode: u64,
}

impl Carriers {
    /// The carriers of the store at `layout`.
    pub fn new(machine: Arc<dyn Machine>, layout: Layout, directory_mode: u32) -> Self {
        Carriers { machine, layout, directory_mode }
    }

    /// The path of a carrier.
    pub fn path(&self, digest: &Digest, number: u32) -> PathBuf {
        self.layout.carrier(digest, number)
    }

    /// What is at the place of a carrier, whatever it is; `None` if nothing is.
    pub fn meta(&self, digest: &Digest, number: u32) -> Result<Option<Meta>> {
        let path = self.path(digest, number);
        match self.machine.lstat(&path) {
            Ok(meta) => Ok(Some(meta)),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(Error::io("look at", &path, e)),
        }
    }

    /// Opens a carrier for reading.
    pub fn open(&self, digest: &Digest, number: u32) -> Result<Box<dyn File>> {
        let path = self.path(digest, number);
        self.machine.open(&path, Open::Read).map_err(|e| Error::io("open", &path, e))
    }

    /// Opens the directory of `digest` before it is changed, and makes it if it is not there.
    pub fn watch(&self, digest: &Digest, dirs: &mut CarrierDirs) -> Result<()> {
        let above = self.layout.carriers();
        let directory = self.layout.carrier_dir(digest.as_bytes()[0]);
        if dirs.0.contains_key(&directory) {
            return Ok(());
        }
        let open = |path: &Path| self.machine.open(path, Open::Directory);
        if !dirs.0.contains_key(&above) {
            // Who made a directory in it may have died before it was synced: it always is, with what is put there.
            dirs.0.insert(above.clone(), open(&above).map_err(|e| Error::io("open", &above, e))?);
        }
        let opened = match open(&directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                match self.machine.create_dir(&directory, self.directory_mode) {
                    Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(Error::io("create", &directory, e));
                    }
                    _ => open(&directory),
                }
            }
            opened => opened,
        };
        dirs.0.insert(directory.clone(), opened.map_err(|e| Error::io("open", &directory, e))?);
        Ok(())
    }

    /// Puts a staged file in its place by a link, or, where something is there, by renaming a second link to it at
    /// `through` over that. Only under `lock`, and only where no record knows what is there.
    pub fn publish(
        &self,
        staged: &Path,
        through: &Path,
        digest: &Digest,
        number: u32,
        dirs: &mut CarrierDirs,
    ) -> Result<()> {
        self.watch(digest, dirs)?;
        let path = self.path(digest, number);
        match self.machine.link(staged, &path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                self.machine.link(staged, through).map_err(|e| Error::io("link", through, e))?;
                self.machine.rename(through, &path).map_err(|e| Error::io("publish", &path, e))
            }
            done => done.map_err(|e| Error::io("publish", &path, e)),
        }
    }

    /// Syncs every directory that was changed.
    pub fn sync(&self, dirs: &CarrierDirs) -> Result<()> {
        dirs.0.iter().try_for_each(|(path, handle)| handle.sync().map_err(|e| Error::io("sync", path, e)))
    }

    /// Removes a carrier's file; one that is not there is none.
    pub fn remove(&self, digest: &Digest, number: u32) -> Result<()> {
        let path = self.path(digest, number);
        match self.machine.unlink(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", &path, e)),
            _ => Ok(()),
        }
    }

    /// Renames a carrier's file out of the way; `false` if it is not there.
    pub fn take_out(&self, digest: &Digest, number: u32, to: &Path) -> Result<bool> {
        let path = self.path(digest, number);
        match self.machine.rename(&path, to) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::io("move", &path, e)),
        }
    }

    /// Every carrier's file there is, in order. Other things below `carriers/` are left out.
    pub fn list(&self) -> Result<Vec<FoundCarrier>> {
        let top = self.layout.carriers();
        let entries = self.machine.list(&top).map_err(|e| Error::io("list", &top, e))?;
        let mut found = Vec::new();
        for first in (0..=u8::MAX).filter(|first| entries.iter().any(|e| is_dir_of(e, *first))) {
            let directory = self.layout.carrier_dir(first);
            let files = match self.machine.list(&directory) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                files => files.map_err(|e| Error::io("list", &directory, e))?,
            };
            found.extend(files.iter().filter_map(|entry| {
                let (digest, number) = Layout::carrier_of(first, entry.name.to_str()?)?;
                Some(FoundCarrier { digest, number, inode: entry.inode })
            }));
        }
        found.sort_by_key(|carrier| (carrier.digest, carrier.number));
        Ok(found)
    }
}

fn is_dir_of(entry: &crate::machine::Listed, first: u8) -> bool {
    entry.kind == FileKind::Directory && entry.name.to_str() == Some(&format!("{first:02x}"))
}
