//! Out of the store: files for names, by link, reflink, copy or symlink.
//!
//! Nothing here is synced: what is made is the user's, and can be made again. A copy gets its final name only when it
//! is whole and its bytes have been compared with the digest, so a crash leaves at most a file whose name begins with
//! `.larder-`, never a partial one under a final name.

mod checkout;
mod copy;
mod place;
mod reader;
#[cfg(test)]
mod tests;
mod unlock;

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Context;
use super::blob::{damaged, resolve, sound, stopped_reading, usable};
use super::names::Target;
use crate::hashing::{Absorb, Sha256};
use crate::ledger::Snapshot;
use crate::machine::{File, FileKind};
use crate::vocabulary::limits::IO_CHUNK_BYTES;
use crate::vocabulary::{Digest, Error, ErrorKind, Observer, Result, Silent};
use crate::work::blob::{Meter, missing, open_readable};
use place::{Item, Made, Maker};

pub use checkout::checkout;
pub(in crate::work) use place::Temporary;
pub use unlock::{Unlocked, unlock};

/// How a file outside the store is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A second name of the blob's inode: read-only, shared.
    Hardlink,
    /// A private file that shares the blob's extents until it is written to.
    Reflink,
    /// A private copy, holes kept.
    Copy,
    /// A symbolic link to the blob.
    Symlink,
}

impl Mode {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Hardlink => "hardlink",
            Mode::Reflink => "reflink",
            Mode::Copy => "copy",
            Mode::Symlink => "symlink",
        }
    }
}

/// How files are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaterializeOptions {
    /// The way asked for; `None` is the default of the call, with its fall-backs.
    pub mode: Option<Mode>,
    /// Replace what is at the destination.
    pub replace: bool,
}

/// What was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaterializeReport {
    /// Files made.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of those, how many by each mode.
    pub hardlinked: u64,
    /// As above.
    pub reflinked: u64,
    /// As above.
    pub copied: u64,
    /// As above.
    pub symlinked: u64,
    /// Files that were already what they should be.
    pub unchanged: u64,
    /// Why another way than the one asked for was taken: reason and how often.
    pub fallbacks: Vec<(String, u64)>,
    /// Files that could not be made.
    pub failed: u64,
    /// Attributes that a link cannot restore: how many files have another mtime or executable bit than their name.
    pub not_restored: u64,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
    /// Where.
    pub destination: PathBuf,
}

/// A private file where the filesystem can share extents, else a copy.
const PRIVATE: &[Mode] = &[Mode::Reflink, Mode::Copy];
/// A link, and where there can be none, a private file.
const LINKED: &[Mode] = &[Mode::Hardlink, Mode::Reflink, Mode::Copy];

/// The ways to try, in order: links and reflinks fall back, copies have nothing to fall back to, and a symlink is asked
/// for by those who want no bytes there.
fn ways(asked: Option<Mode>, default: &'static [Mode]) -> &'static [Mode] {
    match asked {
        None => default,
        Some(Mode::Hardlink) => LINKED,
        Some(Mode::Reflink) => PRIVATE,
        Some(Mode::Copy) => &[Mode::Copy],
        Some(Mode::Symlink) => &[Mode::Symlink],
    }
}

impl MaterializeReport {
    fn count(&mut self, made: &Made) {
        let mode = match made.mode {
            None => return self.unchanged += 1,
            Some(Mode::Hardlink) => &mut self.hardlinked,
            Some(Mode::Reflink) => &mut self.reflinked,
            Some(Mode::Copy) => &mut self.copied,
            Some(Mode::Symlink) => &mut self.symlinked,
        };
        *mode += 1;
        self.files += 1;
        self.bytes += made.size_bytes;
        self.not_restored += u64::from(made.not_restored);
        for reason in &made.reasons {
            match self.fallbacks.iter_mut().find(|(known, _)| known == reason) {
                Some((_, times)) => *times += 1,
                None => self.fallbacks.push((reason.clone(), 1)),
            }
        }
    }
}

/// Makes one file for `target`; below `destination`, under the last part of its name (or the digest's digits), where
/// that is a directory. By default it is private: a reflink, else a copy.
///
/// Nothing is replaced unless asked for ([`ErrorKind::Taken`]), and a directory never is. A symbolic link at the
/// destination counts as what it is and is not followed. A blob that is damaged, on record or as its bytes turn out, is
/// [`ErrorKind::Damaged`], and leaves nothing at the destination; a destination inside the store is
/// [`ErrorKind::Refused`]. When `observer` asks to stop, the report says `interrupted`.
pub fn get(
    ctx: &Context<'_>,
    target: &Target,
    destination: &Path,
    options: &MaterializeOptions,
    observer: &dyn Observer,
) -> Result<MaterializeReport> {
    let snapshot = ctx.ledger.snapshot()?;
    let (digest, alias) = resolve(&*snapshot, target)?;
    let row = usable(&*snapshot, &digest)?;
    let destination = final_path(ctx, target, &digest, destination);
    refuse_in_store(ctx, &destination)?;
    let maker = Maker::new(*ctx, snapshot, ways(options.mode, PRIVATE), options.replace)?;
    observer.expect(1, row.stamp.size_bytes);
    let from = match target {
        Target::Name(name) => name.to_string(),
        Target::Digest(digest) => digest.to_string(),
    };
    let item = Item { from, digest, size_bytes: row.stamp.size_bytes, alias, destination: destination.clone() };
    let mut report = MaterializeReport { destination, ..MaterializeReport::default() };
    match maker.make(&item, observer) {
        Ok(made) => report.count(&made),
        Err(e) if e.kind() == ErrorKind::Interrupted => report.interrupted = true,
        Err(e) => return Err(e),
    }
    Ok(report)
}

/// Writes the bytes of `target` to `out` and says how many there were. They are hashed on the way: where they are not
/// those of the digest, the error at the end is [`ErrorKind::Damaged`], and what was written is not to be used.
pub fn cat(ctx: &Context<'_>, target: &Target, out: &mut dyn Write) -> Result<u64> {
    let snapshot = ctx.ledger.snapshot()?;
    let (digest, _) = resolve(&*snapshot, target)?;
    let row = usable(&*snapshot, &digest)?;
    sound(ctx.ledger, &*snapshot, &digest, &row, &Meter::new(&Silent, 0))?;
    let (path, file) = open(ctx, &snapshot, &digest)?;
    let mut hasher = Sha256::default();
    let (mut buffer, mut held) = (vec![0; IO_CHUNK_BYTES], Vec::new());
    let mut written = 0;
    let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(|e| Error::system("write what was read", e));
    loop {
        let read = file.read_at(&mut buffer, written).map_err(|e| stopped_reading(&*snapshot, &digest, e))?;
        if read == 0 {
            break;
        }
        hasher.absorb(&buffer[..read]);
        // The last piece is held back until all of them are known to be right: other bytes never come out whole.
        write(&held)?;
        held.clear();
        held.extend_from_slice(&buffer[..read]);
        written += read as u64;
    }
    compare(&snapshot, &digest, hasher.finish(), written)?;
    if path == ctx.ledger.blobs.path(&digest) {
        ctx.ledger.note_readings(&[digest]);
    }
    write(&held)?;
    out.flush().map_err(|e| Error::system("write what was read", e))?;
    Ok(written)
}

/// The absolute path of the blob file of `target`, for programs that read it in place. It is read-only and shared: who
/// wants to change it makes a private one. [`ErrorKind::Damaged`] where the blob is not what it was recorded as.
pub fn path(ctx: &Context<'_>, target: &Target) -> Result<PathBuf> {
    let snapshot = ctx.ledger.snapshot()?;
    let (digest, _) = resolve(&*snapshot, target)?;
    let row = usable(&*snapshot, &digest)?;
    sound(ctx.ledger, &*snapshot, &digest, &row, &Meter::new(&Silent, 0))?;
    let path = match open_readable(ctx.ledger, &*snapshot, &digest) {
        Ok((path, _)) => path,
        // Whoever asks may be about to give the path to somebody who may read it.
        Err(e) if e.kind() == ErrorKind::Permission => ctx.ledger.blobs.path(&digest),
        Err(e) => return Err(e),
    };
    ctx.ledger.machine.canonical(&path).map_err(|e| Error::io("find the path of", &path, e))
}

/// A file with the bytes of a blob that this user may read, and where it is.
fn open(ctx: &Context<'_>, snapshot: &Snapshot, digest: &Digest) -> Result<(PathBuf, Box<dyn File>)> {
    open_readable(ctx.ledger, snapshot, digest).map_err(|e| match e.kind() {
        ErrorKind::NotFound => missing(ctx.ledger, digest),
        _ => e,
    })
}

/// Whether bytes that were read are those of the digest.
fn compare(snapshot: &Snapshot, digest: &Digest, found: Digest, size_bytes: u64) -> Result<()> {
    if found == *digest {
        return Ok(());
    }
    Err(damaged(snapshot, digest, &format!("its {size_bytes} bytes have the digest {found}")))
}

/// Where a file goes that is asked for at `destination`: below it, if that is a directory.
fn final_path(ctx: &Context<'_>, target: &Target, digest: &Digest, destination: &Path) -> PathBuf {
    match ctx.ledger.machine.stat(destination) {
        Ok(meta) if meta.kind == FileKind::Directory => match target {
            Target::Name(name) => destination.join(OsStr::from_bytes(name.base())),
            Target::Digest(_) => destination.join(digest.to_hex()),
        },
        _ => destination.to_owned(),
    }
}

/// The store is written to by its own rules alone.
fn refuse_in_store(ctx: &Context<'_>, destination: &Path) -> Result<()> {
    let parent = destination.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let machine = ctx.ledger.machine.as_ref();
    let real = machine.canonical(parent).map_err(|e| Error::io("find", parent, e))?;
    if real.starts_with(store_root(ctx)?) {
        return Err(inside_the_store(destination));
    }
    Ok(())
}

fn store_root(ctx: &Context<'_>) -> Result<PathBuf> {
    let root = ctx.ledger.layout.root();
    ctx.ledger.machine.canonical(root).map_err(|e| Error::io("find", root, e))
}

fn inside_the_store(path: &Path) -> Error {
    let attempt = format!("make {}", path.display());
    Error::new(ErrorKind::Refused, attempt, "it is inside the store directory, where only the store's own files belong")
}

fn taken(path: &Path, reason: &str) -> Error {
    Error::new(ErrorKind::Taken, format!("make {}", path.display()), reason)
}

/// What is at `path` itself; `None` if nothing is.
fn look(ctx: &Context<'_>, path: &Path) -> Result<Option<crate::machine::Meta>> {
    match ctx.ledger.machine.lstat(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("look at", path, e)),
    }
}
