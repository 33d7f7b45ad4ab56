//! Ingests that can go on: a staged file, and beside it a checkpoint that says how far it has come.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use super::{FILE, Session, Sessions, empty, is_id};
use crate::format::checkpoint::{CHECKPOINT_BYTES, Checkpoint};
use crate::machine::{File, FileKind, Listed, Machine, Open};
use crate::vocabulary::{Error, Result};

const SUFFIX: &str = ".resume";

/// An ingest that was broken off and can go on.
#[derive(Clone, Debug)]
pub struct Resumable {
    /// The session that it was of.
    pub session: String,
    /// The staged file in its folder.
    pub file: OsString,
    /// How far it has come.
    pub says: Checkpoint,
    /// Bytes that the staged file occupies.
    pub allocated_bytes: u64,
    /// Whose staged file it is: nobody else can write to it.
    pub owner: u32,
}

impl Resumable {
    /// What it is called.
    pub fn id(&self) -> String {
        format!("{}/{}", self.session, self.file.to_string_lossy())
    }
}

/// What dead work has left to go on with.
#[derive(Debug, Default)]
pub struct Resumables {
    /// What can go on, in the order of their sources' paths.
    pub found: Vec<Resumable>,
    /// What could not be looked at: an ingest that can go on, or nothing. By what it is called, and the file.
    pub unreadable: Vec<(String, PathBuf, Error)>,
}

/// Staged files that have a checkpoint.
#[derive(Default)]
pub(super) struct Saved {
    pub(super) files: Vec<(OsString, Checkpoint)>,
    /// Staged files whose checkpoint could not be opened.
    closed: Vec<(OsString, Error)>,
    /// Staged files whose checkpoint could be opened and not read.
    unreadable: Vec<(OsString, Error)>,
}

impl Saved {
    fn is_empty(&self) -> bool {
        self.files.is_empty() && self.closed.is_empty() && self.unreadable.is_empty()
    }

    /// The staged files that can be gone on with, where a checkpoint that was opened and cannot be read says nothing.
    pub(super) fn understood(self) -> Result<Vec<(OsString, Checkpoint)>> {
        self.closed.into_iter().next().map_or(Ok(self.files), |(_, error)| Err(error))
    }
}

/// The name of the checkpoint of a staged file.
pub(super) fn of(file: &OsStr) -> OsString {
    let mut name = file.to_owned();
    name.push(SUFFIX);
    name
}

pub(super) fn is_checkpoint(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.ends_with(SUFFIX))
}

/// The staged files among the entries of a session's folder that have a checkpoint which speaks of them.
pub(super) fn among(machine: &dyn Machine, directory: &Path, entries: &[Listed]) -> Saved {
    let mut saved = Saved::default();
    for entry in entries.iter().filter(|e| is_checkpoint(&e.name) && e.kind == FileKind::File) {
        let path = directory.join(&entry.name);
        let Some(staged) = entries.iter().find(|e| of(&e.name) == entry.name) else { continue };
        let name = staged.name.clone();
        match machine.open(&path, Open::Read).map(|checkpoint| read(checkpoint.as_ref())) {
            Ok(Ok(Some(says))) if staged.inode == says.staged_inode => saved.files.push((name, says)),
            Ok(Ok(_)) => {}
            Ok(Err(e)) => saved.unreadable.push((name, Error::io("read", &path, e))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => saved.closed.push((name, Error::io("open", &path, e))),
        }
    }
    saved
}

/// `None` where it says nothing that can be understood.
fn read(checkpoint: &dyn File) -> io::Result<Option<Checkpoint>> {
    let mut bytes = vec![0; CHECKPOINT_BYTES + 1];
    let read = checkpoint.read_at(&mut bytes, 0)?;
    Ok(Checkpoint::decode(&bytes[..read]).ok())
}

impl Sessions {
    /// Every ingest of dead work that can go on. Under `lock` the answer stays true; without it, it is a hint.
    pub fn resumable(&self) -> Result<Resumables> {
        let Resumables { mut found, mut unreadable } = Resumables::default();
        for (session, saved) in self.saved()? {
            // To ask whether it lives costs a probe, and few folders have anything to go on with.
            if self.probe(&session)?.alive {
                continue;
            }
            let directory = self.layout.staging().join(&session);
            let mut not_seen = |file: &OsStr, error| {
                unreadable.push((format!("{session}/{}", file.to_string_lossy()), directory.join(file), error));
            };
            saved.closed.into_iter().chain(saved.unreadable).for_each(|(file, error)| not_seen(&file, error));
            for (file, says) in saved.files {
                let path = directory.join(&file);
                match self.machine.lstat(&path) {
                    Ok(meta) => {
                        let (session, allocated_bytes, owner) = (session.clone(), meta.allocated_bytes, meta.uid);
                        found.push(Resumable { session, file, says, allocated_bytes, owner });
                    }
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => not_seen(&file, Error::io("look at", &path, e)),
                }
            }
        }
        found.sort_by(|a, b| a.says.path.cmp(&b.says.path).then_with(|| a.id().cmp(&b.id())));
        Ok(Resumables { found, unreadable })
    }

    fn saved(&self) -> Result<Vec<(String, Saved)>> {
        let staging = self.layout.staging();
        let sessions = self.machine.list(&staging).map_err(|e| Error::io("list", &staging, e))?;
        let mut all = Vec::new();
        for session in sessions.iter().filter(|e| e.kind == FileKind::Directory) {
            let Some(id) = session.name.to_str().filter(|name| is_id(name)) else { continue };
            let directory = staging.join(id);
            let entries = match self.machine.list(&directory) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(|e| Error::io("list", &directory, e))?,
            };
            let saved = among(self.machine.as_ref(), &directory, &entries);
            if !saved.is_empty() {
                all.push((id.to_owned(), saved));
            }
        }
        Ok(all)
    }

    /// Whether the folder of a dead session holds ingests that can go on, and nothing else.
    pub fn only_waits(&self, id: &str) -> Result<bool> {
        let directory = self.layout.staging().join(id);
        let entries = self.machine.list(&directory).map_err(|e| Error::io("list", &directory, e))?;
        let saved = among(self.machine.as_ref(), &directory, &entries).understood()?;
        let mut others = entries.iter().filter(|e| e.name != FILE);
        let waits = |e: &Listed| saved.iter().any(|(file, _)| *file == e.name || of(file) == e.name);
        Ok(!saved.is_empty() && others.all(waits))
    }

    /// Moves an ingest that can go on into the folder of `session`; the path of its staged file there. Only under `lock`.
    pub fn take_over(&self, found: &Resumable, session: &Session) -> Result<PathBuf> {
        let from = self.layout.staging().join(&found.session);
        let to = session.next_path();
        let rename = |from: &Path, to: &Path| self.machine.rename(from, to).map_err(|e| Error::io("move", from, e));
        rename(&from.join(&found.file), &to)?;
        session.saved.lock().expect("no panic holds it").insert(to.clone());
        rename(&from.join(of(&found.file)), &beside(&to))?;
        Ok(to)
    }

    /// Removes an ingest that could go on: the checkpoint first. Only under `lock`.
    pub fn give_up(&self, found: &Resumable) -> Result<()> {
        let directory = self.layout.staging().join(&found.session);
        for name in [of(&found.file), found.file.clone()] {
            let path = directory.join(name);
            self.machine.unlink(&path).map_err(|e| Error::io("remove", &path, e))?;
        }
        Ok(())
    }

    /// Empties the folder of a dead session, but for the ingests that can go on and that `keep` wants. Whether all of it
    /// is gone. Only under `lock`.
    pub fn bury(&self, id: &str, keep: &dyn Fn(&Checkpoint) -> bool) -> Result<bool> {
        empty(self.machine.as_ref(), &self.layout.staging().join(id), keep)
    }
}

impl Session {
    /// Says how far the staged file at `path` has come, whose bytes so far are synced: written under another name, synced,
    /// renamed, and the folders synced.
    pub fn save(&self, path: &Path, says: &Checkpoint) -> Result<()> {
        let target = beside(path);
        let mut new = target.clone().into_os_string();
        new.push(".new");
        let new = PathBuf::from(new);
        self.saved.lock().expect("no panic holds it").insert(path.to_owned());
        let written = (|| {
            // Whoever may use the store must be able to judge it, and to give it up.
            let mode = self.folders[0].meta()?.mode & 0o666 | 0o600;
            let file = self.machine.open(&new, Open::CreateNew { mode })?;
            file.write_at(&says.encode(), 0)?;
            file.sync()?;
            self.machine.rename(&new, &target)
        })();
        if let Err(e) = written {
            let _ = self.machine.unlink(&new);
            return Err(Error::io("write", &new, e));
        }
        self.sync_folders()
    }

    /// Whether the staged file at `path` may have a checkpoint.
    pub fn is_saved(&self, path: &Path) -> bool {
        self.saved.lock().expect("no panic holds it").contains(path)
    }

    /// Takes the checkpoint of a staged file away, if it has one, and says whether it may have had. Before anybody may
    /// take it for an unfinished file, such as one that is a blob, [`Session::sync_folders`] has to follow.
    pub fn unsave(&self, path: &Path) -> Result<bool> {
        if !self.saved.lock().expect("no panic holds it").remove(path) {
            return Ok(false);
        }
        let checkpoint = beside(path);
        match self.machine.unlink(&checkpoint) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", &checkpoint, e)),
            _ => Ok(true),
        }
    }
}

fn beside(staged: &Path) -> PathBuf {
    staged.with_file_name(of(staged.file_name().unwrap_or_default()))
}
