//! The index: sorted runs on the disk, derived from the journal and never needed to be right.
//!
//! Keys and values are opaque bytes here. Whatever is wrong with a file is [`ErrorKind::Damaged`] and names it; the
//! caller throws the index away and builds it again from the journal.

mod cache;
mod check;
mod cursor;
mod merge;
mod overlay;
mod run;
mod source;
#[cfg(test)]
mod tests;
mod view;
mod write;

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use crate::format::current::{CURRENT_BYTES, Current};
use crate::format::filter::KeyHash;
use crate::format::run::RunId;
use crate::format::table::group_bytes;
use crate::machine::{FileKind, Machine, Open};
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Error, ErrorKind, Result};
use cache::PageCache;
use run::{damaged, unreadable};

pub use crate::format::current::{Reach, RunMeta};
pub use cursor::RunCursor;
pub use merge::{about, fold, merge, plan_merge, write_run};
pub use overlay::{Overlay, OverlayCursor, Undo};
pub use run::{Found, Run};
pub use source::{Merged, Row, Rows, Source};
pub use view::{Asked, Scan, Spare, Unsorted, View};
pub use write::RunWriter;

const CURRENT: &str = "CURRENT";
const CURRENT_NEW: &str = "CURRENT.new";

/// The opened runs that one CURRENT names. `Index::default()` has none.
#[derive(Default)]
pub struct Index {
    /// Oldest first.
    runs: Vec<Arc<Run>>,
    cache: Arc<PageCache>,
}

impl Index {
    /// Opens what `CURRENT` in the index directory `dir` names; `None` where there is no CURRENT.
    ///
    /// [`ErrorKind::NotFound`] if CURRENT was replaced meanwhile and a run of it is gone: try again.
    /// [`ErrorKind::Damaged`] if anything of it cannot be used: build the index again.
    pub fn open(machine: &dyn Machine, dir: &Path) -> Result<Option<(Index, Current)>> {
        Index::default().reopen(machine, dir)
    }

    /// As [`Index::open`], keeping the open files of runs that are still named, and the pages in memory.
    pub fn reopen(&self, machine: &dyn Machine, dir: &Path) -> Result<Option<(Index, Current)>> {
        let Some(bytes) = read_current(machine, dir)? else { return Ok(None) };
        let Some(current) = decode_current(dir, &bytes)? else { return Ok(None) };
        match current.runs.iter().map(|meta| self.run(machine, dir, meta)).collect() {
            Ok(runs) => Ok(Some((Index { runs, cache: Arc::clone(&self.cache) }, current))),
            Err(error) => Err(missing_for_good(machine, dir, &bytes, error)),
        }
    }

    /// These runs instead, oldest first; what is opened from now on shares the pages in memory with what this opened.
    pub fn with(&self, runs: Vec<Arc<Run>>) -> Index {
        Index { runs, cache: Arc::clone(&self.cache) }
    }

    /// Opens one more run of the index directory `dir`, to share the pages in memory.
    pub fn open_run(&self, machine: &dyn Machine, dir: &Path, meta: &RunMeta) -> Result<Arc<Run>> {
        Run::open_with(machine, dir, meta, Arc::clone(&self.cache)).map(Arc::new)
    }

    /// The runs, oldest first.
    pub fn runs(&self) -> &[Arc<Run>] {
        &self.runs
    }

    /// What the newest run that knows `key` has for it: nothing, a tombstone (`Some(None)`) or a value.
    pub fn get(&self, key: &[u8]) -> Result<Found> {
        let hash = KeyHash::of(key);
        for run in self.runs.iter().rev().filter(|run| run.may_have_table(key)) {
            if let Some(found) = run.get_hashed(key, &hash)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The newest entry of every key from `from` on, in ascending order, tombstones included.
    pub fn range(&self, from: &[u8]) -> Rows<Merged<RunCursor>> {
        let cursors = self.runs.iter().map(|run| RunCursor::seek(run, from)).collect::<Result<Vec<_>>>();
        Rows::new(cursors.map(Merged::new))
    }

    /// The runs that may have keys that begin with `prefix`, oldest first.
    fn having(&self, prefix: &[u8]) -> Result<Vec<&Arc<Run>>> {
        let group = group_bytes(prefix).map(|bytes| KeyHash::of(&prefix[..bytes]));
        let mut having = Vec::new();
        for run in &self.runs {
            let may = prefix.is_empty() || run.may_have_table(prefix);
            if may && group.map_or(Ok(true), |group| run.may_hold(&group))? {
                having.push(run);
            }
        }
        Ok(having)
    }

    fn run(&self, machine: &dyn Machine, dir: &Path, meta: &RunMeta) -> Result<Arc<Run>> {
        match self.runs.iter().find(|run| run.meta() == *meta) {
            Some(run) => Ok(Arc::clone(run)),
            None => self.open_run(machine, dir, meta),
        }
    }
}

/// Tells a run that is gone because CURRENT was replaced from one that CURRENT still names.
fn missing_for_good(machine: &dyn Machine, dir: &Path, before: &[u8], error: Error) -> Error {
    if error.kind() != ErrorKind::NotFound {
        return error;
    }
    match read_current(machine, dir) {
        Ok(Some(now)) if now == before => error.as_kind(ErrorKind::Damaged),
        Ok(_) => error,
        Err(trouble) => trouble,
    }
}

/// What `CURRENT` in the index directory `dir` says, without a look at any run; `None` where there is no CURRENT.
pub fn current(machine: &dyn Machine, dir: &Path) -> Result<Option<Current>> {
    read_current(machine, dir)?.map_or(Ok(None), |bytes| decode_current(dir, &bytes))
}

/// `None` for what an earlier version of this program wrote.
fn decode_current(dir: &Path, bytes: &[u8]) -> Result<Option<Current>> {
    Current::decode(bytes).map_err(|reason| damaged(&dir.join(CURRENT), reason))
}

/// The bytes of CURRENT, at most one more than it may have.
fn read_current(machine: &dyn Machine, dir: &Path) -> Result<Option<Vec<u8>>> {
    let path = dir.join(CURRENT);
    let file = match machine.open(&path, Open::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", &path, error)),
    };
    if file.meta().map_err(|e| Error::io("look at", &path, e))?.kind != FileKind::File {
        return Err(damaged(&path, "it is not a file"));
    }
    let mut bytes = vec![0; CURRENT_BYTES + 1];
    let read = file.read_at(&mut bytes, 0).map_err(|e| unreadable(&path, e))?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Makes `current` what `CURRENT` in the index directory `dir` says, durably and at once: written under another name,
/// synced, renamed, the directory synced. The runs that it names are durable before. Only under `lock`.
///
/// After an error, CURRENT says the old or the new, and the new may not be durable.
pub fn replace_current(machine: &dyn Machine, dir: &Path, current: &Current) -> Result<()> {
    let (path, new) = (dir.join(CURRENT), dir.join(CURRENT_NEW));
    let bytes = current
        .encode()
        .map_err(|reason| Error::new(ErrorKind::Invalid, format!("write {}", path.display()), reason))?;
    // Opened before the first change, so that its sync vouches for it.
    let directory = machine.open(dir, Open::Directory).map_err(|e| Error::io("open", dir, e))?;
    let mode = write::file_mode(&*directory).map_err(|e| Error::io("look at", dir, e))?;
    unlink_if_there(machine, &new)?;
    let file = machine.open(&new, Open::CreateNew { mode }).map_err(|e| Error::io("create", &new, e))?;
    let put = || {
        file.write_at(&bytes, 0).map_err(|e| Error::io("write", &new, e))?;
        file.sync().map_err(|e| Error::io("sync", &new, e))?;
        machine.rename(&new, &path).map_err(|e| Error::io("replace", &path, e))
    };
    put().inspect_err(|_| _ = machine.unlink(&new))?;
    if planted(Bug::IndexDirSync) { Ok(()) } else { directory.sync().map_err(|e| Error::io("sync", dir, e)) }
}

/// Takes `CURRENT` away: there is no index then, and the runs that it named are of no use.
pub fn remove_current(machine: &dyn Machine, dir: &Path) -> Result<()> {
    unlink_if_there(machine, &dir.join(CURRENT))
}

/// Unlinks every run in the index directory `dir` that `current` does not name, `None` being no CURRENT at all, and says
/// how many there were.
///
/// A run that somebody is still writing is not named either: call it only while holding what every writer of runs
/// holds, with the CURRENT that is in force. Other files are left alone.
pub fn remove_unnamed(machine: &dyn Machine, dir: &Path, current: Option<&Current>) -> Result<u64> {
    let mut removed = 0;
    for entry in machine.list(dir).map_err(|e| Error::io("list", dir, e))? {
        let id = RunId::from_file_name(entry.name.as_bytes());
        if id.is_some_and(|id| current.iter().flat_map(|current| &current.runs).all(|run| run.id != id)) {
            unlink_if_there(machine, &dir.join(OsStr::new(&entry.name)))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// The file names of runs in the index directory `dir` that CURRENT does not name; none where there is no directory.
pub fn unnamed(machine: &dyn Machine, dir: &Path) -> Result<Vec<String>> {
    let entries = match machine.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|e| Error::io("list", dir, e))?,
    };
    let current = read_current(machine, dir)?.and_then(|bytes| Current::decode_any(&bytes).ok());
    let named = |id: RunId| current.iter().flat_map(|(_, current)| &current.runs).any(|run| run.id == id);
    let ids = entries.iter().filter_map(|entry| RunId::from_file_name(entry.name.as_bytes()));
    Ok(ids.filter(|id| !named(*id)).map(|id| id.file_name()).collect())
}

fn unlink_if_there(machine: &dyn Machine, path: &Path) -> Result<()> {
    match machine.unlink(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, error)),
        _ => Ok(()),
    }
}
