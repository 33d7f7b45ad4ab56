//! Sessions: running work, its folder under `staging/`, and whether its process lives.
//!
//! A session's file is created and locked under `lock`, once; nobody else ever locks it for more than a probe. So
//! whoever holds `lock` can tell the living from the dead, in any process and after any crash.

pub mod resumable;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::format::checkpoint::Checkpoint;
use crate::format::layout::Layout;
use crate::format::session::{SessionFile, SessionKind};
use crate::machine::{Entry, File, FileKind, Lock, Machine, Open};
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Digest, Error, Result};

const FILE: &str = "session";
/// How long a probe may hold a session's file, and how often its maker waits for that.
const PROBE_TIME: Duration = Duration::from_millis(1);
const LOCK_TRIES: u32 = 1000;

/// Running work of this process.
pub struct Session {
    machine: Arc<dyn Machine>,
    directory: PathBuf,
    /// The folder itself and the one that it is in, opened before anything was put there.
    folders: [Box<dyn File>; 2],
    /// The folder, to reach its files through.
    near: Option<Box<dyn File>>,
    file: Box<dyn File>,
    says: std::sync::Mutex<SessionFile>,
    counter: AtomicU64,
    kept: AtomicBool,
    /// Staged files that have a checkpoint.
    saved: std::sync::Mutex<BTreeSet<PathBuf>>,
}

/// A session that was found under `staging/`.
#[derive(Clone, Debug)]
pub struct Found {
    /// The name of its folder.
    pub id: String,
    /// Whether its process lives.
    pub alive: bool,
    /// What its file says; `None` if it cannot be read: then it may hold anything.
    pub says: Option<SessionFile>,
}

/// The sessions of one store.
#[derive(Clone)]
pub struct Sessions {
    machine: Arc<dyn Machine>,
    layout: Layout,
    directory_mode: u32,
}

impl Sessions {
    /// The sessions of the store at `layout`.
    pub fn new(machine: Arc<dyn Machine>, layout: Layout, directory_mode: u32) -> Self {
        Sessions { machine, layout, directory_mode }
    }

    /// Opens a session that has seen the journal up to `stamp` and holds `held`. Only under `lock`.
    pub fn open(&self, kind: SessionKind, stamp: u64, held: Vec<Digest>) -> Result<Session> {
        let mut id = [0; 16];
        self.machine.random(&mut id).map_err(|e| Error::system("get random bytes", e))?;
        let name: String = id.iter().map(|b| format!("{b:02x}")).collect();
        let staging = self.layout.staging();
        let directory = staging.join(name);
        let open = |path: &Path| self.machine.open(path, Open::Directory).map_err(|e| Error::io("open", path, e));
        let above = open(&staging)?;
        self.machine.create_dir(&directory, self.directory_mode).map_err(|e| Error::io("create", &directory, e))?;
        let opened = open(&directory).and_then(|folder| Ok(([folder, above], self.create_file(&directory)?)));
        let (folders, file) = opened.inspect_err(|_| {
            // On a full disk each failed attempt would take a bit more.
            let _ = empty(self.machine.as_ref(), &directory, &|_| false);
        })?;
        let says = SessionFile { kind, stamp, held };
        let session = Session {
            machine: Arc::clone(&self.machine),
            near: self.machine.keep_open(&directory),
            directory,
            folders,
            file,
            says: std::sync::Mutex::new(says),
            counter: AtomicU64::new(0),
            kept: AtomicBool::new(false),
            saved: std::sync::Mutex::default(),
        };
        session.write()?;
        Ok(session)
    }

    fn create_file(&self, directory: &Path) -> Result<Box<dyn File>> {
        let path = directory.join(FILE);
        let file = self.machine.open(&path, Open::CreateNew { mode: 0o644 });
        let file = file.map_err(|e| Error::io("create", &path, e))?;
        self.lock(file.as_ref(), &path)?;
        Ok(file)
    }

    /// Locks a session's new file. A report that probes it without `lock` holds it for a moment, shared.
    fn lock(&self, file: &dyn File, path: &Path) -> Result<()> {
        for _ in 0..LOCK_TRIES {
            if file.try_lock(Lock::Exclusive).map_err(|e| Error::io("lock", path, e))? {
                return Ok(());
            }
            self.machine.pause(PROBE_TIME);
        }
        Err(Error::io("lock", path, io::Error::from(io::ErrorKind::WouldBlock)))
    }

    /// Every session there is. Under `lock` the answer stays true; without it, it is a hint for a report.
    pub fn list(&self) -> Result<Vec<Found>> {
        let staging = self.layout.staging();
        let entries = self.machine.list(&staging).map_err(|e| Error::io("list", &staging, e))?;
        let mut found = Vec::new();
        for entry in entries.iter().filter(|e| e.kind == FileKind::Directory) {
            let Some(id) = entry.name.to_str().filter(|name| is_id(name)) else { continue };
            found.push(self.probe(id)?);
        }
        found.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(found)
    }

    fn probe(&self, id: &str) -> Result<Found> {
        let path = self.layout.staging().join(id).join(FILE);
        let file = match self.machine.open(&path, Open::Read) {
            Ok(file) => file,
            // Made under `lock`, which we hold: without its file, its maker died before it had one.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Ok(Found { id: id.to_owned(), alive: false, says: None });
            }
            Err(e) => return Err(Error::io("open", &path, e)),
        };
        let alive = !file.try_lock(Lock::Shared).map_err(|e| Error::io("probe", &path, e))?;
        let says = read_all(file.as_ref()).ok().and_then(|bytes| SessionFile::decode(&bytes).ok());
        Ok(Found { id: id.to_owned(), alive, says })
    }

    /// The inodes of the files that a session has staged.
    pub fn staged_inodes(&self, id: &str) -> Result<Vec<u64>> {
        let directory = self.layout.staging().join(id);
        let entries = self.machine.list(&directory).map_err(|e| Error::io("list", &directory, e))?;
        Ok(entries.iter().filter(|e| e.name != FILE).map(|e| e.inode).collect())
    }
}

impl Session {
    /// A path in its folder that was not given out before.
    pub fn next_path(&self) -> PathBuf {
        self.directory.join(self.counter.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// A file in its folder, reached through that.
    pub fn entry<'a>(&'a self, path: &'a Path) -> Entry<'a> {
        Entry::of(path, self.near.as_deref())
    }

    /// The folder.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its name.
    pub fn id(&self) -> &str {
        self.directory.file_name().and_then(|name| name.to_str()).unwrap_or("")
    }

    /// Leaves its folder as it is when the session ends: whoever finishes its last frame may need what is staged.
    pub fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    /// Stamps it again: everything that it will rest on from now on was seen at `stamp`. Only under `lock`.
    pub fn restamp(&self, stamp: u64) -> Result<()> {
        self.says.lock().expect("no panic holds it").stamp = stamp;
        self.write()
    }

    /// Makes what was staged findable after a crash: a frame is about to name it.
    pub fn sync_folders(&self) -> Result<()> {
        if planted(Bug::StagingDirSync) {
            return Ok(());
        }
        let sync = |folder: &dyn File| folder.sync().map_err(|e| Error::io("sync", &self.directory, e));
        self.folders.iter().try_for_each(|folder| sync(folder.as_ref()))
    }

    /// Lists what it holds from now on. Only under `lock`, and only blobs that are there.
    pub fn hold(&self, digests: impl IntoIterator<Item = Digest>) -> Result<()> {
        self.says.lock().expect("no panic holds it").held.extend(digests);
        self.write()
    }

    /// Lets what this process starts from now on keep the session alive: its lock goes with its descriptor.
    pub fn let_children_inherit(&self) -> Result<()> {
        self.file.let_children_inherit().map_err(|e| Error::io("hand on", &self.directory.join(FILE), e))
    }

    fn write(&self) -> Result<()> {
        let bytes = self.says.lock().expect("no panic holds it").encode();
        self.file.write_at(&bytes, 0).map_err(|e| Error::io("write", &self.directory.join(FILE), e))
    }
}

impl Drop for Session {
    /// Empties its folder, but for ingests that can go on. What cannot be removed is left to the next collection.
    fn drop(&mut self) {
        if !self.kept.load(Ordering::Relaxed) {
            let _ = empty(self.machine.as_ref(), &self.directory, &|_| true);
        }
    }
}

/// Whether a directory has a name that sessions have. Anything else in `staging/` is not ours.
fn is_id(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Removes a session's folder: its staged files first and the session file last, so that a crash leaves a session that
/// can still be judged; all but the ingests that can go on and that `keep` wants, and the session file with them. Its
/// owner, who ends, and a collection may do it at the same time. Whether nothing was kept.
fn empty(machine: &dyn Machine, directory: &Path, keep: &dyn Fn(&Checkpoint) -> bool) -> Result<bool> {
    let gone = |done: io::Result<()>, path: &Path| match done {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
        _ => Ok(()),
    };
    let remove = |name: &std::ffi::OsStr| {
        let path = directory.join(name);
        gone(machine.unlink(&path), &path)
    };
    let entries = match machine.list(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
        entries => entries.map_err(|e| Error::io("list", directory, e))?,
    };
    // A checkpoint that cannot be read says nothing: its ingest begins anew.
    let saved = resumable::among(machine, directory, &entries).understood()?;
    let kept: BTreeSet<OsString> =
        saved.iter().filter(|(_, says)| keep(says)).flat_map(|(file, _)| [file.clone(), resumable::of(file)]).collect();
    // A checkpoint goes before the file that it speaks of.
    for checkpoints in [true, false] {
        for entry in entries.iter().filter(|e| e.name != FILE && !kept.contains(&e.name)) {
            if resumable::is_checkpoint(&entry.name) == checkpoints {
                remove(&entry.name)?;
            }
        }
    }
    if !kept.is_empty() {
        return Ok(false);
    }
    remove(FILE.as_ref())?;
    gone(machine.remove_dir(directory), directory)?;
    Ok(true)
}

/// Most bytes of a session file that are read: the most digests it can list, and room.
const MOST_BYTES: u64 = (16 << 20) * 32 + 4096;

fn read_all(file: &dyn File) -> io::Result<Vec<u8>> {
    let size = file.meta()?.size_bytes.min(MOST_BYTES);
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}
