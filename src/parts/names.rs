//! The directory view: hardlinked aliases as files under `names/`.
//!
//! A file is removed or replaced only by renaming it aside, seeing that it is the one that the alias put there, and
//! otherwise putting it back: larder never removes a file that somebody else put there. The place aside follows from
//! the name alone, so whoever finishes after a crash finds what was set aside.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::format::layout::Layout;
use crate::machine::{File, FileKind, Machine, Meta, Open};
use crate::vocabulary::{Digest, Error, Name, Result};

/// More directories than this are synced with one `syncfs` where that can be trusted.
const FEW_DIRECTORIES: usize = 8;

/// What a name should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The blob it means.
    pub digest: Digest,
    /// The inode recorded for it.
    pub inode: u64,
}

/// One name to be made to agree with the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The name.
    pub name: Name,
    /// What it should be; `None`: no file.
    pub wanted: Option<Wanted>,
    /// Inodes that the alias may have put there before.
    pub ours: Vec<u64>,
    /// The blob that it meant before.
    pub was: Option<Digest>,
}

/// Why a name does not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The name.
    pub name: Name,
    /// Why.
    pub reason: String,
}

/// The files under `names/` of one store.
#[derive(Clone)]
pub struct Names {
    machine: Arc<dyn Machine>,
    layout: Layout,
    directory_mode: u32,
    blob_mode: u32,
    syncfs: bool,
}

/// Which directories are synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncing {
    /// None.
    Nothing,
    /// Those that are changed.
    Changed,
    /// Besides, all that lead to a name, even where nothing is to be done: who did it may have died before its sync.
    Everything,
}

/// Directories that are about to change.
enum Watched {
    Each(BTreeMap<PathBuf, Box<dyn File>>),
    Filesystem(Box<dyn File>),
}

impl Names {
    /// The directory view of the store at `layout`. `syncfs`: whether it reports errors here.
    pub fn new(machine: Arc<dyn Machine>, layout: Layout, directory_mode: u32, blob_mode: u32, syncfs: bool) -> Self {
        Names { machine, layout, directory_mode, blob_mode, syncfs }
    }

    /// Makes each name agree, and syncs directories as told. What cannot be applied is returned and does not stop the
    /// rest; an error is a failed sync.
    pub fn apply(&self, changes: &[Change], syncing: Syncing) -> Result<Vec<Refusal>> {
        let due = changes.iter().filter(|change| syncing == Syncing::Everything || !self.agrees(change));
        let (made, gone): (Vec<&Change>, Vec<&Change>) = due.partition(|change| change.wanted.is_some());
        // What goes makes room first: one frame may turn a file into a directory, or the other way round.
        let mut refusals = self.apply_some(&gone, syncing)?;
        refusals.extend(self.apply_some(&made, syncing)?);
        Ok(refusals)
    }

    fn apply_some(&self, due: &[&Change], syncing: Syncing) -> Result<Vec<Refusal>> {
        let mut refusals = Vec::new();
        if due.is_empty() {
            return Ok(refusals);
        }
        let watched = self.watch(due, syncing == Syncing::Everything)?;
        let mut sound = BTreeSet::new();
        for change in due {
            if let Err(reason) = self.agree(change, &mut sound) {
                refusals.push(Refusal { name: change.name.clone(), reason });
            }
        }
        if syncing != Syncing::Nothing {
            self.sync(&watched)?;
        }
        Ok(refusals)
    }

    /// Whoever may write to `names/` may put a symbolic link there that leads elsewhere: nothing is done through it.
    /// `sound` are directories that were looked at before.
    fn check_parents(&self, path: &Path, sound: &mut BTreeSet<PathBuf>) -> Result<(), String> {
        let names = self.layout.names();
        let above = path.ancestors().skip(1).take_while(|directory| directory.starts_with(&names));
        for directory in above {
            if sound.contains(directory) {
                break;
            }
            if self.look(directory)?.is_some_and(|meta| meta.kind != FileKind::Directory) {
                return Err(format!("{} is no directory", directory.display()));
            }
        }
        let above = path.ancestors().skip(1).take_while(|directory| directory.starts_with(&names));
        sound.extend(above.map(Path::to_owned));
        Ok(())
    }

    /// Whether nothing is to be done, as far as a look tells. What stands aside is always something to do.
    fn agrees(&self, change: &Change) -> bool {
        if change.is_fresh() {
            return false;
        }
        let Ok(now) = self.look(&self.layout.name(&change.name)) else { return false };
        let right = match (&now, &change.wanted) {
            (None, None) => true,
            // The directory of other names, below one that means nothing.
            (Some(meta), None) => meta.kind == FileKind::Directory,
            (Some(meta), Some(wanted)) => self.is_wanted(meta, wanted),
            (None, Some(_)) => false,
        };
        right && matches!(self.look(&self.aside(&change.name)), Ok(None))
    }

    fn agree(&self, change: &Change, sound: &mut BTreeSet<PathBuf>) -> Result<(), String> {
        let path = self.layout.name(&change.name);
        if let Err(reason) = self.check_parents(&path, sound) {
            // No name of ours is below what is no directory, and what was set aside has no place to go back to.
            let gone = change.wanted.is_none() && self.look(&self.aside(&change.name))?.is_none();
            return if gone { Ok(()) } else { Err(reason) };
        }
        if change.is_fresh() && self.machine.link(&self.layout.blob(&change.wanted_digest()), &path).is_ok() {
            return Ok(());
        }
        self.settle_aside(change, &path)?;
        match (self.look(&path)?, &change.wanted) {
            (None, None) => return Ok(()),
            (Some(meta), None) if meta.kind == FileKind::Directory => return Ok(()),
            (Some(meta), Some(wanted)) if self.is_wanted(&meta, wanted) => return Ok(()),
            (Some(meta), Some(_)) if meta.kind == FileKind::Directory => self.clear(&path)?,
            (Some(_), _) => self.set_aside(change, &path)?,
            (None, Some(_)) => {}
        }
        match &change.wanted {
            Some(wanted) => self.put(wanted, &path),
            None => {
                self.prune(&path);
                Ok(())
            }
        }
    }

    /// Gives `path` to the blob. Parents were made when the directories were watched.
    fn put(&self, wanted: &Wanted, path: &Path) -> Result<(), String> {
        let made = if wanted.digest == Digest::EMPTY {
            self.machine.open(path, Open::CreateNew { mode: self.blob_mode }).map(drop)
        } else {
            self.machine.link(&self.layout.blob(&wanted.digest), path)
        };
        made.map_err(|e| format!("cannot make {}: {e}", path.display()))
    }

    /// Renames what is at `path` aside, and removes it if it is ours; otherwise puts it back.
    fn set_aside(&self, change: &Change, path: &Path) -> Result<(), String> {
        let aside = self.aside(&change.name);
        self.machine.rename(path, &aside).map_err(|e| format!("cannot move {} aside: {e}", path.display()))?;
        self.settle_aside(change, path)
    }

    /// Removes a directory that holds nothing but empty directories: whoever took the names below away died before it
    /// did so.
    fn clear(&self, path: &Path) -> Result<(), String> {
        let trouble = |e: io::Error| format!("{} is a directory: {e}", path.display());
        let entries = self.machine.list(path).map_err(trouble)?;
        if entries.iter().any(|entry| entry.kind != FileKind::Directory) {
            return Err(format!("{} is a directory with files in it", path.display()));
        }
        for entry in entries {
            self.clear(&path.join(entry.name))?;
        }
        self.machine.remove_dir(path).map_err(trouble)
    }

    /// Deals with what stands aside: ours goes; what is not ours goes back.
    fn settle_aside(&self, change: &Change, path: &Path) -> Result<(), String> {
        let aside = self.aside(&change.name);
        let Some(meta) = self.look(&aside)? else { return Ok(()) };
        if self.is_ours(change, &meta) {
            return self.machine.unlink(&aside).map_err(|e| format!("cannot remove {}: {e}", aside.display()));
        }
        match self.machine.rename_new(&aside, path) {
            Ok(()) => Err(format!("{} was put there by somebody else", path.display())),
            Err(e) => {
                Err(format!("{} keeps a file that somebody else put at {}: {e}", aside.display(), path.display()))
            }
        }
    }

    /// Removes the directories above `path` that are empty now, up to `names/`. Failing is no harm.
    fn prune(&self, path: &Path) {
        let top = self.layout.names();
        let mut directory = path.parent();
        while let Some(here) = directory.filter(|d| *d != top && d.starts_with(&top)) {
            if self.machine.remove_dir(here).is_err() {
                return;
            }
            directory = here.parent();
        }
    }

    fn look(&self, path: &Path) -> Result<Option<Meta>, String> {
        match self.machine.lstat(path) {
            Ok(meta) => Ok(Some(meta)),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(format!("cannot look at {}: {e}", path.display())),
        }
    }

    fn aside(&self, name: &Name) -> PathBuf {
        self.layout.staging().join(format!("aside-{}", &blake3::hash(name.as_bytes()).to_hex()[..32]))
    }

    /// Makes the directories that are missing, and opens all that will change before anything does; `all`: those above
    /// them, too.
    fn watch(&self, changes: &[&Change], all: bool) -> Result<Watched> {
        let mut each = BTreeMap::new();
        let names = self.layout.names();
        let filesystem = self.open_directory(&names)?;
        for change in changes {
            let path = self.layout.name(&change.name);
            if all {
                let above = path.ancestors().skip(1).take_while(|directory| directory.starts_with(&names));
                above.for_each(|directory| self.watch_one(directory, &mut each));
            }
            if all || !change.is_fresh() {
                // What is set aside must not come back after a crash, when nobody looks for it any more.
                self.watch_one(&self.layout.staging(), &mut each);
            }
            if change.wanted.is_some() {
                // A parent that cannot be made is the name's trouble, told when it is applied.
                let _ = self.make_parents(&path, &mut each);
            }
            let parent = path.parent().expect("a name is below names/");
            self.watch_one(parent, &mut each);
        }
        if each.len() > FEW_DIRECTORIES && self.syncfs {
            Ok(Watched::Filesystem(filesystem))
        } else {
            Ok(Watched::Each(each))
        }
    }

    fn watch_one(&self, directory: &Path, each: &mut BTreeMap<PathBuf, Box<dyn File>>) {
        if !each.contains_key(directory)
            && let Ok(handle) = self.machine.open(directory, Open::Directory)
        {
            each.insert(directory.to_owned(), handle);
        }
    }

    fn make_parents(&self, path: &Path, each: &mut BTreeMap<PathBuf, Box<dyn File>>) -> io::Result<()> {
        let names = self.layout.names();
        let below = path.strip_prefix(&names).expect("a name is below names/");
        let mut directory = names;
        for component in below.parent().into_iter().flat_map(Path::components) {
            let above = directory.clone();
            directory.push(component);
            if each.contains_key(&directory) {
                continue;
            }
            match self.machine.lstat(&directory) {
                Ok(meta) if meta.kind == FileKind::Directory => {}
                Ok(_) => return Err(io::Error::from(io::ErrorKind::NotADirectory)),
                Err(_) => {
                    self.watch_one(&above, each);
                    self.machine.create_dir(&directory, self.directory_mode)?;
                    self.watch_one(&directory, each);
                }
            }
        }
        Ok(())
    }

    fn open_directory(&self, path: &Path) -> Result<Box<dyn File>> {
        self.machine.open(path, Open::Directory).map_err(|e| Error::io("open", path, e))
    }

    fn sync(&self, watched: &Watched) -> Result<()> {
        match watched {
            Watched::Filesystem(handle) => {
                handle.sync_filesystem().map_err(|e| Error::io("sync", &self.layout.names(), e))
            }
            Watched::Each(handles) => {
                for (path, handle) in handles {
                    handle.sync().map_err(|e| Error::io("sync", path, e))?;
                }
                Ok(())
            }
        }
    }
}

impl Change {
    /// Whether the name meant nothing before and is to be a link: the usual case, in which it is simply made.
    fn is_fresh(&self) -> bool {
        self.ours.is_empty() && self.was.is_none() && self.wanted.is_some_and(|wanted| wanted.digest != Digest::EMPTY)
    }

    fn wanted_digest(&self) -> Digest {
        self.wanted.map_or(Digest::EMPTY, |wanted| wanted.digest)
    }
}

impl Names {
    /// Whether a file is one that the alias put there: its inode is the recorded one, or that of the blob's file now (a
    /// copied store has other inodes). Empty files are never hardlinked, and hold nothing to lose.
    fn is_ours(&self, change: &Change, meta: &Meta) -> bool {
        let wanted = change.wanted.map(|wanted| wanted.digest);
        let mut digests = change.was.iter().chain(&wanted);
        let recorded = change.ours.contains(&meta.inode) || change.wanted.is_some_and(|w| w.inode == meta.inode);
        meta.kind == FileKind::File && (recorded || digests.any(|digest| self.is_file_of(meta, digest)))
    }

    fn is_wanted(&self, meta: &Meta, wanted: &Wanted) -> bool {
        let recorded = wanted.digest != Digest::EMPTY && meta.inode == wanted.inode;
        meta.kind == FileKind::File && (recorded || self.is_file_of(meta, &wanted.digest))
    }

    fn is_file_of(&self, meta: &Meta, digest: &Digest) -> bool {
        if *digest == Digest::EMPTY {
            return meta.size_bytes == 0;
        }
        let blob = self.machine.lstat(&self.layout.blob(digest));
        blob.is_ok_and(|blob| (blob.device, blob.inode) == (meta.device, meta.inode))
    }
}
