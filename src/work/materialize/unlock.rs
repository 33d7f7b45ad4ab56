//! A private, writable file in place of a link to a blob.

use std::path::{Path, PathBuf};

use super::place::Temporary;
use super::{Mode, look, refuse_in_store, store_root};
use crate::hashing::file::read_through;
use crate::machine::{File, FileKind, Machine, Meta, Open};
use crate::vocabulary::{Error, ErrorKind, Observer, Result};
use crate::work::Context;
use crate::work::blob::Meter;
use crate::work::room::refuse_what_cannot_fit;

/// What was done to a file that was to be private.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlocked {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// How it was made private; `None` if it was already.
    pub mode: Option<Mode>,
}

/// Puts a private copy in the place of `path`, which a checkout linked to a blob: the owner may write to it, and what is
/// written reaches no blob and no other name. Times, group and the rest of the mode stay.
///
/// The copy has the bytes that the link shows, shared with them where the filesystem can, and is synced before it takes
/// the link's place in one step: whatever happens, `path` is one of the two. A symbolic link to a blob of this store is
/// replaced in the same way. A file with one name that its owner may write to is private already.
///
/// [`ErrorKind::Refused`] for a file inside the store directory, and for a symbolic link that leads to no blob of it;
/// [`ErrorKind::Invalid`] for what is no file; [`ErrorKind::Interrupted`] when `observer` asks to stop.
pub fn unlock(ctx: &Context<'_>, path: &Path, observer: &dyn Observer) -> Result<Unlocked> {
    let machine = ctx.ledger.machine.as_ref();
    let there =
        look(ctx, path)?.ok_or_else(|| Error::new(ErrorKind::NotFound, attempt(path), "there is no such file"))?;
    let source = match there.kind {
        FileKind::File => path.to_owned(),
        FileKind::Symlink => blob_behind(ctx, path)?,
        _ => return Err(Error::new(ErrorKind::Invalid, attempt(path), "it is no file")),
    };
    refuse_in_store(ctx, path)?;
    let from = machine.open(&source, Open::Read).map_err(|e| Error::io("open", &source, e))?;
    let meta = from.meta().map_err(|e| Error::io("look at", &source, e))?;
    let private = there.kind == FileKind::File && meta.links == 1 && meta.mode & 0o200 != 0;
    let mode = if private { None } else { Some(replace(machine, path, from.as_ref(), &meta, observer)?) };
    Ok(Unlocked { path: path.to_owned(), size_bytes: meta.size_bytes, mode })
}

fn attempt(path: &Path) -> String {
    format!("unlock {}", path.display())
}

/// The blob file that a symbolic link leads to.
fn blob_behind(ctx: &Context<'_>, path: &Path) -> Result<PathBuf> {
    let real = ctx.ledger.machine.canonical(path).map_err(|e| Error::io("follow", path, e))?;
    if real.starts_with(store_root(ctx)?.join("sha256")) {
        return Ok(real);
    }
    Err(Error::new(ErrorKind::Refused, attempt(path), "it is a symbolic link, and leads to no blob of this store"))
}

fn replace(machine: &dyn Machine, path: &Path, from: &dyn File, meta: &Meta, observer: &dyn Observer) -> Result<Mode> {
    observer.expect(1, meta.size_bytes);
    let meter = Meter::new(observer, meta.size_bytes);
    let temporary = Temporary::new(machine, path)?;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let io = |what: &str, e| Error::io(what, path, e);
    let to = machine.open(temporary.path(), Open::CreateNew { mode: 0o600 }).map_err(|e| io("make a copy of", e))?;
    let mode = match machine.reflink(from, to.as_ref()) {
        Ok(()) => Mode::Reflink,
        Err(_) => {
            refuse_what_cannot_fit(machine, parent, meta, || attempt(path))?;
            copy(path, from, to.as_ref(), &meter)?
        }
    };
    to.set_mode(meta.mode & 0o777 | 0o200).map_err(|e| io("set the mode of", e))?;
    to.set_mtime(meta.mtime_ns).map_err(|e| io("set the time of", e))?;
    to.sync().map_err(|e| io("sync a copy of", e))?;
    let directory = machine.open(parent, Open::Directory).map_err(|e| Error::io("open", parent, e))?;
    temporary.replace(path)?;
    directory.sync().map_err(|e| Error::io("sync", parent, e))?;
    meter.finish();
    Ok(mode)
}

/// Copies the bytes, holes left out.
fn copy(path: &Path, from: &dyn File, to: &dyn File, meter: &Meter<'_>) -> Result<Mode> {
    let read = read_through(from, &mut (), &|bytes| meter.advance(bytes), &mut |piece, at| to.write_at(piece, at));
    let size = read.map_err(|e| match e.kind() {
        std::io::ErrorKind::Interrupted => Error::new(ErrorKind::Interrupted, attempt(path), "asked to stop"),
        _ => Error::io("copy", path, e),
    })?;
    // A hole at the end was not written, and is part of the file all the same.
    to.set_len(size).map_err(|e| Error::io("write a copy of", path, e))?;
    Ok(Mode::Copy)
}
