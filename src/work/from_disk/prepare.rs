//! What comes first: the settings, the locks, and the old journal out of the way.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::FromDisk;
use crate::format::frame::Frame;
use crate::format::header::{HEADER_BYTES, Header};
use crate::format::hint;
use crate::format::layout::{DIRECTORIES, Layout};
use crate::format::options::Chosen;
use crate::format::record::{FenceRecord, Moment, Record};
use crate::format::settings::{Durability, FORMAT, Features, Settings};
use crate::ledger::anew::Anew;
use crate::machine::{File, FileKind, Lock, Machine, Open};
use crate::parts::index::{self, Index};
use crate::parts::journal::Journal;
use crate::parts::journal::chain::Place;
use crate::vocabulary::limits::{LOCK_TIMEOUT, SETTINGS_BYTES};
use crate::vocabulary::{Error, ErrorKind, Result};

/// A store that is ready to get a new journal. Holds its locks.
pub(super) struct Prepared {
    pub(super) machine: Arc<dyn Machine>,
    pub(super) layout: Layout,
    pub(super) settings: Settings,
    pub(super) journal: Journal,
    /// A sequence above every one that was ever used, as far as anything tells.
    pub(super) through: u64,
    pub(super) time_ns: u64,
    pub(super) old_journal: Option<PathBuf>,
    pub(super) only_settings: bool,
    settings_are_new: bool,
    /// Opened before anything was changed.
    pub(super) root: Box<dyn File>,
    _locks: [Box<dyn File>; 2],
}

pub(super) fn prepare(machine: &Arc<dyn Machine>, layout: &Layout, discard: bool) -> Result<Prepared> {
    let root = machine.open(layout.root(), Open::Directory).map_err(|e| Error::io("open", layout.root(), e))?;
    let filesystem = machine.filesystem(layout.root()).map_err(|e| Error::io("look at", layout.root(), e))?;
    if !filesystem.local {
        let reason = format!("the locks of a {} filesystem are not seen by all that use it", filesystem.kind);
        let attempt = format!("make the journal anew in {}", layout.root().display());
        return Err(Error::new(ErrorKind::Unsupported, attempt, reason));
    }
    let read = read_settings(machine.as_ref(), layout)?;
    let directory_mode = machine.lstat(layout.root()).map_or(0o755, |meta| meta.mode & 0o2777 | 0o700);
    refuse_what_is_no_store(machine.as_ref(), layout, read.is_some())?;
    make_directories(machine.as_ref(), layout, directory_mode)?;
    let locks = [lock(machine.as_ref(), &layout.compaction())?, lock(machine.as_ref(), &layout.lock())?];
    let settings_are_new = read.is_none();
    let settings = match read {
        Some(settings) => settings,
        None => guess(machine.as_ref(), layout, directory_mode)?,
    };
    let store = settings.id().expect("settings are checked");
    let journal = Journal::new(Arc::clone(machine), layout.journal(), store);
    let says_something = says_something(&journal)?;
    if says_something && !settings_are_new && !discard {
        let reason = "its journal still says something, and only what it says is kept: `larder check --repair` mends \
                      it, `larder rebuild` makes the index anew from it";
        return Err(Error::new(ErrorKind::Refused, "make the journal anew from the disk", reason));
    }
    let only_settings = says_something && !discard;
    let current = Index::open(machine.as_ref(), &layout.index()).ok().flatten().map(|(_, current)| current);
    let reach = current.filter(|current| current.store == store).map(|current| current.reach);
    let through = highest_used(machine.as_ref(), layout, locks[1].as_ref())?;
    let through = through.max(reach.map_or(0, |reach| reach.sequence)) + 1;
    let time_ns = machine.now_ns().max(reach.map_or(0, |reach| reach.time_ns));
    let old_journal = if only_settings { None } else { set_aside(machine.as_ref(), layout, directory_mode)? };
    let machine = Arc::clone(machine);
    Ok(Prepared {
        machine,
        layout: layout.clone(),
        settings,
        journal,
        through,
        time_ns,
        old_journal,
        only_settings,
        settings_are_new,
        root,
        _locks: locks,
    })
}

impl Prepared {
    pub(super) fn moment(&self) -> Moment {
        Moment { sequence: self.through, time_ns: self.time_ns }
    }

    /// Everything from the index, if it is whole and of this store: then only what came after it is lost, which a fence
    /// says.
    pub(super) fn take_index(&self, report: &mut FromDisk) -> Result<bool> {
        let store = self.settings.id().expect("settings are checked");
        let opened = Index::open(self.machine.as_ref(), &self.layout.index()).ok().flatten();
        let Some((index, current)) = opened.filter(|(_, current)| current.store == store) else { return Ok(false) };
        if index.runs().is_empty() || index.runs().iter().any(|run| run.check().is_err()) {
            return Ok(false);
        }
        let mut anew = Anew::begin(&self.journal, self.through, self.time_ns)?;
        anew.push_rows(index.runs())?;
        let from = current.reach.sequence + 1;
        let reason = "the journal is gone; what it said up to here came from the index".to_owned();
        let (to, since) = (self.through.max(from), self.moment());
        anew.push(&Record::Fence(FenceRecord { from, to, reason, since }))?;
        self.finish(anew)?;
        report.from_index = true;
        Ok(true)
    }

    /// Everything that was changed is on the disk before the base has its name; the index of the old journal is gone.
    pub(super) fn finish(&self, anew: Anew) -> Result<()> {
        let sync = |e| Error::io("sync", self.layout.root(), e);
        self.root.sync_filesystem().map_err(sync)?;
        anew.finish()?;
        index::remove_current(self.machine.as_ref(), &self.layout.index())
    }

    /// `larder.toml`, if it is gone: last, as `init` does it.
    pub(super) fn publish_settings(&self) -> Result<()> {
        if !self.settings_are_new {
            return Ok(());
        }
        let path = self.layout.settings();
        let new = PathBuf::from(format!("{}.new", path.display()));
        let _ = self.machine.unlink(&new);
        let file =
            self.machine.open(&new, Open::CreateNew { mode: 0o644 }).map_err(|e| Error::io("create", &new, e))?;
        let text = self.settings.to_toml();
        let written = file.write_at(text.as_bytes(), 0).and_then(|()| file.sync());
        written.map_err(|e| Error::io("write", &new, e))?;
        self.keep_old_settings(&path)?;
        self.machine.rename_new(&new, &path).map_err(|e| Error::io("create", &path, e))?;
        self.root.sync().map_err(|e| Error::io("sync", self.layout.root(), e))
    }

    /// A settings file that could not be read is evidence.
    fn keep_old_settings(&self, path: &Path) -> Result<()> {
        if self.machine.lstat(path).is_err() {
            return Ok(());
        }
        let kept = self.layout.quarantine().join(format!("larder.toml-{}", random_name(self.machine.as_ref())?));
        self.machine.rename_new(path, &kept).map_err(|e| Error::io("move to quarantine", path, e))
    }
}

/// The settings; `None` if they are gone, or no settings any more.
fn read_settings(machine: &dyn Machine, layout: &Layout) -> Result<Option<Settings>> {
    let path = layout.settings();
    let file = match machine.open(&path, Open::Read) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|e| Error::io("open", &path, e))?,
    };
    let mut bytes = vec![0; SETTINGS_BYTES as usize];
    let read = file.read_at(&mut bytes, 0).map_err(|e| Error::io("read", &path, e))?;
    let Ok(text) = std::str::from_utf8(&bytes[..read]) else { return Ok(None) };
    let settings = Settings::from_toml(text).ok();
    let other_format = Settings::format_of(text).is_some_and(|format| format != FORMAT);
    let features = settings.as_ref().map(|settings| &settings.features);
    let foreign = features.is_some_and(|f| !f.incompatible.is_empty() || !f.read_only_compatible.is_empty());
    if other_format || foreign {
        let reason = "it was made by a later program";
        return Err(Error::new(ErrorKind::Unsupported, format!("read {}", path.display()), reason));
    }
    Ok(settings)
}

/// Without settings, a directory is taken for a store if it has blobs, or a journal.
fn refuse_what_is_no_store(machine: &dyn Machine, layout: &Layout, has_settings: bool) -> Result<()> {
    let is_directory = |path: &Path| machine.lstat(path).is_ok_and(|meta| meta.kind == FileKind::Directory);
    let blobs = layout.root().join("sha256");
    if is_directory(&blobs) && (has_settings || is_directory(&layout.journal()) || is_directory(&layout.names())) {
        return Ok(());
    }
    let attempt = format!("make the journal anew in {}", layout.root().display());
    Err(Error::new(ErrorKind::NotFound, attempt, "it has no blobs: it is no store, or nothing of one is left"))
}

fn make_directories(machine: &dyn Machine, layout: &Layout, mode: u32) -> Result<()> {
    let named = DIRECTORIES.iter().map(|name| layout.root().join(name));
    for path in named.chain((0..=255).map(|first| layout.blob_dir(first))) {
        match machine.create_dir(&path, mode) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(Error::io("create", &path, e)),
            _ => {}
        }
    }
    for path in [layout.lock(), layout.compaction(), layout.reserve()] {
        match machine.open(&path, Open::CreateNew { mode: mode & 0o666 }) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(Error::io("create", &path, e)),
            _ => {}
        }
    }
    Ok(())
}

fn lock(machine: &dyn Machine, path: &Path) -> Result<Box<dyn File>> {
    let file = machine.open(path, Open::ReadWrite).map_err(|e| Error::io("open", path, e))?;
    let began = machine.monotonic_ns();
    while !file.try_lock(Lock::Exclusive).map_err(|e| Error::io("lock", path, e))? {
        if u128::from(machine.monotonic_ns() - began) > LOCK_TIMEOUT.as_nanos() {
            let reason = "another process holds it, longer than the lock timeout";
            return Err(Error::new(ErrorKind::Busy, format!("lock {}", path.display()), reason));
        }
        machine.pause(Duration::from_millis(1));
    }
    Ok(file)
}

/// Settings as they may have been: the identity is that of the journal, if there is one, and blobs have the modes that
/// they have.
fn guess(machine: &dyn Machine, layout: &Layout, directory_mode: u32) -> Result<Settings> {
    let mut id = [0; 16];
    machine.random(&mut id).map_err(|e| Error::system("get random bytes", e))?;
    let id = store_of(machine, layout)?.unwrap_or(id);
    let mut blob_mode = 0o400;
    for first in 0..=u8::MAX {
        let path = layout.blob_dir(first);
        for entry in machine.list(&path).map_err(|e| Error::io("list", &path, e))? {
            blob_mode |= machine.lstat(&path.join(&entry.name)).map_or(0, |meta| meta.mode & 0o444);
        }
    }
    Ok(Settings {
        format: FORMAT,
        store_id: format!("{:032x}", u128::from_be_bytes(id)),
        durability: Durability::Batch,
        hardlinked: true,
        blob_mode: format!("{blob_mode:04o}"),
        directory_mode: format!("{directory_mode:04o}"),
        features: Features::default(),
        options: Chosen::default(),
    })
}

/// The identity that the headers in `journal/` give.
fn store_of(machine: &dyn Machine, layout: &Layout) -> Result<Option<[u8; 16]>> {
    for (path, _) in files(machine, &layout.journal())? {
        let mut bytes = [0; HEADER_BYTES];
        let read = machine.open(&path, Open::Read).and_then(|file| file.read_at(&mut bytes, 0)).unwrap_or(0);
        if let Ok(header) = Header::decode(&bytes[..read]) {
            return Ok(Some(header.store));
        }
    }
    Ok(None)
}

/// Whether any good frame says anything but that the journal is damaged.
fn says_something(journal: &Journal) -> Result<bool> {
    let mut something = false;
    journal.read_all(0, &mut |_: &Frame, records: &[Record], _: Place<'_>| {
        something |= records.iter().any(|record| !matches!(record, Record::Fence(_) | Record::FenceLifted(_)));
        Ok(())
    })?;
    Ok(something)
}

/// Regular files in a directory, with their lengths.
fn files(machine: &dyn Machine, directory: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    for entry in machine.list(directory).map_err(|e| Error::io("list", directory, e))? {
        let path = directory.join(&entry.name);
        let meta = machine.lstat(&path).map_err(|e| Error::io("look at", &path, e))?;
        files.push((path, meta.size_bytes));
    }
    files.sort();
    Ok(files)
}

/// The highest sequence that the hints and the names of segments tell of.
fn highest_used(machine: &dyn Machine, layout: &Layout, lock: &dyn File) -> Result<u64> {
    let mut highest = 0;
    for at in [hint::USED_AT, hint::SYNCED_AT] {
        let mut bytes = [0; hint::HINT_BYTES];
        let read = lock.read_at(&mut bytes, at).unwrap_or(0);
        highest = highest.max(hint::decode(&bytes[..read]).unwrap_or(0));
    }
    for (path, _) in files(machine, &layout.journal())? {
        let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.get(..16));
        // A name that is no segment's may say anything; one beyond all reason is not believed.
        let number = number.and_then(|digits| u64::from_str_radix(digits, 16).ok()).filter(|n| *n < 1 << 62);
        highest = highest.max(number.unwrap_or(0));
    }
    Ok(highest.min(1 << 62))
}

/// Takes the old journal out of the way, to `quarantine/`; what was never more than a header goes.
fn set_aside(machine: &dyn Machine, layout: &Layout, directory_mode: u32) -> Result<Option<PathBuf>> {
    let old = files(machine, &layout.journal())?;
    let mut kept = None;
    for (path, size_bytes) in &old {
        if *size_bytes <= HEADER_BYTES as u64 {
            machine.unlink(path).map_err(|e| Error::io("remove", path, e))?;
            continue;
        }
        if kept.is_none() {
            let directory = layout.quarantine().join(format!("journal-{}", random_name(machine)?));
            machine.create_dir(&directory, directory_mode).map_err(|e| Error::io("create", &directory, e))?;
            kept = Some(directory);
        }
        let to = kept.as_deref().expect("it was just made").join(path.file_name().unwrap_or_default());
        machine.rename_new(path, &to).map_err(|e| Error::io("move to quarantine", path, e))?;
    }
    Ok(kept)
}

fn random_name(machine: &dyn Machine) -> Result<String> {
    let mut random = [0; 8];
    machine.random(&mut random).map_err(|e| Error::system("get random bytes", e))?;
    Ok(format!("{:016x}", u64::from_le_bytes(random)))
}
