//! Making a store, and seeing whether there is one.
//!
//! `larder.toml` comes last and by rename: a directory without it is no store, and making one there goes on where a
//! crash left it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::format::header::HEADER_BYTES;
use crate::format::layout::{DIRECTORIES, Layout};
use crate::format::options::Chosen;
use crate::format::settings::{Durability, FORMAT, Features, Settings};
use crate::machine::{File, FileKind, Lock, Machine, Open};
use crate::parts::journal::Journal;
use crate::vocabulary::limits::{LOCK_TIMEOUT, RESERVE_BYTES};
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Error, ErrorKind, Result};

/// What is at the place of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// A store.
    Store,
    /// Nothing, an empty directory, or a store that was not finished.
    Empty,
    /// Something else, which is left alone.
    Other,
}

/// Who may read the blobs of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shared {
    /// What the umask at `init` leaves of everybody.
    #[default]
    Umask,
    /// The owner alone.
    None,
    /// The owner and the group.
    Group,
    /// Everybody.
    World,
}

/// How a new store is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewStoreSpec {
    /// When what is acknowledged is synced.
    pub durability: Durability,
    /// Who may read it.
    pub shared_mode: Shared,
    /// Whether aliases are hardlinked unless a call says otherwise.
    pub hardlinked: bool,
    /// Whether it is a cache that may be deleted at any time: it gets a `CACHEDIR.TAG`.
    pub cache: bool,
    /// What its file says of options.
    pub options: Chosen,
}

impl Default for NewStoreSpec {
    fn default() -> Self {
        NewStoreSpec {
            durability: Durability::Batch,
            shared_mode: Shared::Umask,
            hardlinked: true,
            cache: false,
            options: Chosen::default(),
        }
    }
}

/// What a cache directory says of itself (Cache Directory Tagging Specification 0.6).
const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# This directory is a cache made by larder.\n";
/// What may stand in a store that was not finished.
const OWN: [&str; 7] = ["lock", "compaction", "reserve", "larder.toml.new", "CACHEDIR.TAG", "uses", "uses.aside"];

/// What is in `directory`.
pub fn presence(machine: &dyn Machine, directory: &Path) -> Result<Presence> {
    match machine.lstat(&Layout::new(directory).settings()) {
        Ok(meta) if meta.kind == FileKind::File => return Ok(Presence::Store),
        Ok(_) => return Ok(Presence::Other),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
        Err(e) => return Err(Error::io("look at", directory, e)),
    }
    let directory = match machine.canonical(directory) {
        Ok(directory) => directory,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Presence::Empty),
        Err(e) => return Err(Error::io("find", directory, e)),
    };
    match machine.list(&directory) {
        Ok(entries) if entries.iter().all(|e| is_own(&e.name)) => match has_records(machine, &directory)? {
            true => Ok(Presence::Other),
            false => Ok(Presence::Empty),
        },
        Ok(_) => Ok(Presence::Other),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Presence::Empty),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => Ok(Presence::Other),
        Err(e) => Err(Error::io("list", &directory, e)),
    }
}

/// Whether there is a journal with a frame in it: then this was a store, and has only lost its settings.
fn has_records(machine: &dyn Machine, directory: &Path) -> Result<bool> {
    let journal = Layout::new(directory).journal();
    let entries = match machine.list(&journal) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other.map_err(|e| Error::io("list", &journal, e))?,
    };
    for entry in entries {
        let path = journal.join(&entry.name);
        let meta = machine.lstat(&path).map_err(|e| Error::io("look at", &path, e))?;
        if meta.size_bytes > HEADER_BYTES as u64 {
            return Ok(true);
        }
    }
    has_blobs(machine, &Layout::new(directory))
}

/// Whether anything is kept there: then even the records are gone, and a new store would collect it.
fn has_blobs(machine: &dyn Machine, layout: &Layout) -> Result<bool> {
    for path in std::iter::once(layout.names()).chain((0..=u8::MAX).map(|first| layout.blob_dir(first))) {
        match machine.list(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io("list", &path, e)),
            Ok(entries) if entries.is_empty() => {}
            Ok(_) => return Ok(true),
        }
    }
    Ok(false)
}

fn is_own(name: &std::ffi::OsStr) -> bool {
    OWN.iter().chain(&DIRECTORIES).any(|own| name == *own)
}

/// Makes a store in `directory`, with the directories above it, unless there is one: `false`. Refuses a directory with
/// anything else in it, and filesystems on which the store's promises cannot be kept.
pub fn create(machine: &Arc<dyn Machine>, directory: &Path, new: &NewStoreSpec) -> Result<bool> {
    match presence(machine.as_ref(), directory)? {
        Presence::Store => {
            vouch_for_store(machine.as_ref(), directory);
            return Ok(false);
        }
        Presence::Other => {
            let reason = "it holds something that is no store, or what is left of one that lost its larder.toml (`larder \
                          rebuild --from-disk` brings it back); choose an empty directory";
            return Err(Error::new(ErrorKind::Refused, format!("make a store in {}", directory.display()), reason));
        }
        Presence::Empty => {}
    }
    let modes = Modes::of(new.shared_mode, machine.umask());
    let maker = Maker { machine, modes, sync: new.durability != Durability::None };
    maker.directories_above(directory)?;
    let root = machine.canonical(directory).map_err(|e| Error::io("find", directory, e))?;
    machine.confine(&root);
    maker.fill(&Layout::new(root), new)
}

/// Whoever is told that there is a store may rely on it, whether or not its maker lived to sync it. Where it cannot be
/// synced, it can only be read.
fn vouch_for_store(machine: &dyn Machine, directory: &Path) {
    for path in [directory.to_owned(), directory.join("..")] {
        let _ = machine.open(&path, Open::Directory).and_then(|handle| handle.sync());
    }
}

#[derive(Clone, Copy)]
struct Modes {
    blob: u32,
    directory: u32,
    file: u32,
}

impl Modes {
    fn of(shared: Shared, umask: u32) -> Self {
        let (blob, directory, file) = match shared {
            // Nobody but the owner writes, whatever the umask says.
            Shared::Umask => (0o444 & !umask, 0o755 & !umask, 0o644 & !umask),
            Shared::None => (0o400, 0o700, 0o600),
            Shared::Group => (0o440, 0o2770, 0o660),
            Shared::World => (0o444, 0o755, 0o644),
        };
        Modes { blob: blob | 0o400, directory: directory | 0o700, file: file | 0o600 }
    }
}

struct Maker<'a> {
    machine: &'a Arc<dyn Machine>,
    modes: Modes,
    sync: bool,
}

impl Maker<'_> {
    /// Makes `directory` and what is missing above it, each synced into its parent.
    fn directories_above(&self, directory: &Path) -> Result<()> {
        if self.machine.stat(directory).is_ok() {
            return self.vouch_for(directory);
        }
        let parent = match directory.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => return Ok(()),
        };
        self.directories_above(parent)?;
        let parent = self.machine.canonical(parent).map_err(|e| Error::io("find", parent, e))?;
        let handle = self.watch(&parent)?;
        self.directory(directory)?;
        self.settle(handle.as_ref(), &parent)
    }

    /// Syncs a directory that is there into the one above it: who made it may have died before that. Where that one cannot
    /// be opened there is nothing to be done.
    fn vouch_for(&self, directory: &Path) -> Result<()> {
        let above = self.machine.canonical(&directory.join("..")).map_err(|e| Error::io("find", directory, e))?;
        match self.machine.open(&above, Open::Directory) {
            Ok(handle) => self.settle(handle.as_ref(), &above),
            Err(_) => Ok(()),
        }
    }

    /// Fills the directory; `false` if somebody else finished it meanwhile.
    fn fill(&self, layout: &Layout, new: &NewStoreSpec) -> Result<bool> {
        self.refuse_what_cannot_hold_a_store(layout.root())?;
        let root = self.watch(layout.root())?;
        for name in DIRECTORIES {
            self.directory(&layout.root().join(name))?;
        }
        let blobs = self.watch(&layout.root().join("sha256"))?;
        for first in 0..=255 {
            self.directory(&layout.blob_dir(first))?;
        }
        self.settle(blobs.as_ref(), &layout.root().join("sha256"))?;
        for path in [layout.lock(), layout.compaction(), layout.reserve()] {
            self.file(&path, &[])?;
        }
        let lock = self.only_maker(layout)?;
        if self.machine.lstat(&layout.settings()).is_ok() {
            return Ok(false);
        }
        self.reserve(layout)?;
        self.probe_links(layout)?;
        self.tag(&layout.root().join("CACHEDIR.TAG"), new.cache)?;
        let settings = self.settings(new)?;
        self.first_segment(layout, &settings)?;
        self.settle(root.as_ref(), layout.root())?;
        self.publish_settings(layout, &settings)?;
        self.settle(root.as_ref(), layout.root())?;
        lock.unlock().map_err(|e| Error::io("unlock", &layout.lock(), e))?;
        Ok(true)
    }

    /// Waits until no other process is making the same store.
    fn only_maker(&self, layout: &Layout) -> Result<Box<dyn File>> {
        let path = layout.lock();
        let lock = self.machine.open(&path, Open::ReadWrite).map_err(|e| Error::io("open", &path, e))?;
        let began = self.machine.monotonic_ns();
        while !lock.try_lock(Lock::Exclusive).map_err(|e| Error::io("lock", &path, e))? {
            if u128::from(self.machine.monotonic_ns() - began) > LOCK_TIMEOUT.as_nanos() {
                let reason = "another process is making the store, longer than the lock timeout";
                return Err(Error::new(ErrorKind::Busy, format!("lock {}", path.display()), reason));
            }
            self.machine.pause(Duration::from_millis(1));
        }
        Ok(lock)
    }

    fn refuse_what_cannot_hold_a_store(&self, root: &Path) -> Result<()> {
        let refuse = |reason: String| {
            Err(Error::new(ErrorKind::Unsupported, format!("make a store in {}", root.display()), reason))
        };
        let filesystem = self.machine.filesystem(root).map_err(|e| Error::io("look at", root, e))?;
        if !filesystem.local {
            return refuse(format!("the locks of a {} filesystem are not seen by all that use it", filesystem.kind));
        }
        Ok(())
    }

    /// A store is made of links: try one, and leave nothing of it.
    fn probe_links(&self, layout: &Layout) -> Result<()> {
        let (from, to) = (layout.compaction(), layout.staging().join("link-probe"));
        let staging = self.watch(&layout.staging())?;
        let _ = self.machine.unlink(&to);
        match self.machine.link(&from, &to) {
            Ok(()) => self.machine.unlink(&to).map_err(|e| Error::io("remove", &to, e))?,
            Err(e) => {
                let attempt = "make a hardlink (a store needs them) at";
                return Err(Error::io(attempt, &to, e).as_kind(ErrorKind::Unsupported));
            }
        }
        self.settle(staging.as_ref(), &layout.staging())
    }

    fn directory(&self, path: &Path) -> Result<()> {
        match self.machine.create_dir(path, self.modes.directory) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(Error::io("create", path, e)),
            _ => Ok(()),
        }
    }

    /// Makes a file, unless a store that was not finished has it.
    fn file(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let file = match self.machine.open(path, Open::CreateNew { mode: self.modes.file }) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            Err(e) => return Err(Error::io("create", path, e)),
        };
        file.write_at(bytes, 0).map_err(|e| Error::io("write", path, e))?;
        if self.sync { file.sync().map_err(|e| Error::io("sync", path, e)) } else { Ok(()) }
    }

    /// Marks the store as a cache, if it is to be one. What an attempt that was cut short has left of the mark goes first:
    /// half a mark is none, and one that is not asked for keeps the store out of backups. Another program's stays.
    fn tag(&self, path: &Path, cache: bool) -> Result<()> {
        let mut left = [0; CACHEDIR_TAG.len() + 1];
        let read = self.machine.open(path, Open::Read).and_then(|file| file.read_at(&mut left, 0));
        if read.is_ok_and(|length| CACHEDIR_TAG.as_bytes().starts_with(&left[..length])) {
            self.machine.unlink(path).map_err(|e| Error::io("remove", path, e))?;
        }
        if cache { self.file(path, CACHEDIR_TAG.as_bytes()) } else { Ok(()) }
    }

    /// Room that can be given up later. Without it the store works, until the disk is full.
    fn reserve(&self, layout: &Layout) -> Result<()> {
        let path = layout.reserve();
        let file = self.machine.open(&path, Open::ReadWrite).map_err(|e| Error::io("open", &path, e))?;
        file.allocate(RESERVE_BYTES).map_err(|e| Error::io("set aside room in", &path, e))
    }

    fn settings(&self, new: &NewStoreSpec) -> Result<Settings> {
        let mut id = [0; 16];
        self.machine.random(&mut id).map_err(|e| Error::system("get random bytes", e))?;
        Ok(Settings {
            format: FORMAT,
            store_id: format!("{:032x}", u128::from_be_bytes(id)),
            durability: new.durability,
            hardlinked: new.hardlinked,
            blob_mode: format!("{:04o}", self.modes.blob),
            directory_mode: format!("{:04o}", self.modes.directory),
            features: Features::default(),
            options: new.options.clone(),
        })
    }

    /// The first segment, of the id that the store gets now: what an unfinished attempt left is of another store.
    fn first_segment(&self, layout: &Layout, settings: &Settings) -> Result<()> {
        let journal = layout.journal();
        for entry in self.machine.list(&journal).map_err(|e| Error::io("list", &journal, e))? {
            let path = journal.join(&entry.name);
            self.machine.unlink(&path).map_err(|e| Error::io("remove", &path, e))?;
        }
        let store = settings.id().expect("it was just made");
        Journal::new(Arc::clone(self.machine), journal, store).begin_first(self.sync)
    }

    fn publish_settings(&self, layout: &Layout, settings: &Settings) -> Result<()> {
        let path = layout.settings();
        let temporary = PathBuf::from(format!("{}.new", path.display()));
        let _ = self.machine.unlink(&temporary);
        self.file(&temporary, settings.to_toml().as_bytes())?;
        self.machine.rename_new(&temporary, &path).map_err(|e| Error::io("create", &path, e))
    }

    fn watch(&self, path: &Path) -> Result<Box<dyn File>> {
        self.machine.open(path, Open::Directory).map_err(|e| Error::io("open", path, e))
    }

    fn settle(&self, handle: &dyn File, path: &Path) -> Result<()> {
        let sync = self.sync && !planted(Bug::StoreDirSync);
        if sync { handle.sync().map_err(|e| Error::io("sync", path, e)) } else { Ok(()) }
    }
}
