//! The doctor: measures this machine and this store, and says what follows.
//!
//! Everything is tried rather than asked for, on small files in a folder of its own below `staging/`, which is gone
//! afterwards. Nothing of what the store keeps is read or changed.

mod hashing;

use std::path::{Path, PathBuf};

use super::Context;
use super::materialize::Temporary;
use crate::format::session::SessionKind;
use crate::ledger::{Ledger, Tables};
use crate::machine::{File, FileKind, Filesystem, Lock, Machine, Open};
use crate::parts::sessions::Session;
use crate::vocabulary::{Error, ErrorKind, Result};

/// How good or bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// As it should be.
    Good,
    /// Worth knowing: something is slower, or done in another way.
    Note,
    /// Something does not work, or is at risk.
    Bad,
}

impl Health {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Health::Good => "good",
            Health::Note => "note",
            Health::Bad => "bad",
        }
    }
}

/// One thing that was measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// What: `hardlinks`, `reflinks`, `sync`, …; the same word in every version.
    pub what: &'static str,
    /// How good it is.
    pub health: Health,
    /// The measure itself, in the unit that `what` has.
    pub value: String,
    /// What it means, in words.
    pub words: String,
}

/// Syncs that are timed.
const SYNCS: usize = 9;
/// A sync that takes longer makes every commit slow, nanoseconds.
const SLOW_SYNC_NS: u64 = 20_000_000;
/// Free space below which it is told.
const LITTLE_BYTES: u64 = 1 << 30;
/// Free inodes below which it is told.
const FEW_INODES: u64 = 10_000;
/// How far the wall clock may be behind the journal before it is told.
const BEHIND_NS: u64 = 60_000_000_000;
/// Bytes of the file that is linked, mapped and shared.
const SAMPLE_BYTES: usize = 8192;

/// Measures. `destinations` are directories that the user means to check
/// out to: whether links lead there is tried in each.
///
/// On a store that cannot be written to, what needs a file is left out. [`ErrorKind::Invalid`] for a destination that is
/// no directory.
pub fn examine(ctx: &Context<'_>, destinations: &[PathBuf]) -> Result<Vec<Measured>> {
    let machine = ctx.ledger.machine.as_ref();
    for directory in destinations {
        let meta = machine.stat(directory).map_err(|e| Error::io("look at", directory, e))?;
        if meta.kind != FileKind::Directory {
            let attempt = format!("try links to {}", directory.display());
            return Err(Error::new(ErrorKind::Invalid, attempt, "it is no directory"));
        }
    }
    let root = ctx.ledger.layout.root();
    let filesystem = machine.filesystem(root).map_err(|e| Error::io("look at the filesystem of", root, e))?;
    let mut found = of_filesystem(&filesystem);
    found.push(owner_of_directory(ctx.ledger)?);
    found.push(clock(ctx.ledger)?);
    found.push(journal(ctx.ledger)?);
    found.push(protected_hardlinks(machine));
    found.push(link_limit(machine, root));
    found.push(hashing::hashing());
    if !ctx.ledger.policy.writable {
        let words = "the store cannot be written to from here, so that links, locks and syncs were not tried";
        found.push(measured("writing", Health::Note, "no", words));
        return Ok(found);
    }
    let bench = Bench::set_up(ctx.ledger)?;
    for measure in [hardlinks, reflinks, locks, maps, case, syncs] {
        found.push(measure(&bench)?);
    }
    for directory in destinations {
        found.push(destination(&bench, directory)?);
    }
    Ok(found)
}

fn measured(what: &'static str, health: Health, value: impl ToString, words: impl Into<String>) -> Measured {
    Measured { what, health, value: value.to_string(), words: words.into() }
}

/// Picks the words for what is so, or is not.
fn whether(what: &'static str, is: bool, otherwise: Health, yes: &str, no: &str) -> Measured {
    let (health, value, words) = if is { (Health::Good, "yes", yes) } else { (otherwise, "no", no) };
    measured(what, health, value, words)
}

fn of_filesystem(filesystem: &Filesystem) -> Vec<Measured> {
    let Filesystem { kind, local, read_only, free_bytes, free_inodes } = filesystem;
    let kinds = match (local, read_only) {
        (false, _) => measured(
            "filesystem",
            Health::Bad,
            kind,
            "not known to be local: its locks may not be seen by all that use it, so the store can be read alone",
        ),
        (true, true) => measured("filesystem", Health::Note, kind, "mounted read-only: the store can be read alone"),
        (true, false) => measured("filesystem", Health::Good, kind, "a local filesystem, on which locks hold"),
    };
    let space = match *free_bytes {
        free if free < LITTLE_BYTES => {
            (Health::Note, "little room is left: `larder gc` and `larder stats` tell what can go")
        }
        _ => (Health::Good, "bytes that this user may still write"),
    };
    let inodes = match *free_inodes {
        u64::MAX => (Health::Good, "this filesystem makes inodes as they are needed"),
        free if free < FEW_INODES => (Health::Note, "few files can still be made, whatever room is left"),
        _ => (Health::Good, "files that can still be made"),
    };
    let count = if *free_inodes == u64::MAX { "unbounded".to_owned() } else { free_inodes.to_string() };
    vec![
        kinds,
        measured("free-bytes", space.0, free_bytes, space.1),
        measured("free-inodes", inodes.0, count, inodes.1),
    ]
}

/// Who else may write to the store directory: whoever may can put other files in the place of blobs.
fn owner_of_directory(ledger: &Ledger) -> Result<Measured> {
    let root = ledger.layout.root();
    let meta = ledger.machine.stat(root).map_err(|e| Error::io("look at", root, e))?;
    let mode = format!("{:04o}", meta.mode);
    Ok(match (meta.mode & 0o002 != 0, meta.mode & 0o020 != 0) {
        (true, _) => measured(
            "directory-mode",
            Health::Bad,
            mode,
            "everybody may write to the store directory, and put other files in the place of blobs: take that right away",
        ),
        (false, true) => measured("directory-mode", Health::Note, mode, "its group may write to the store directory"),
        (false, false) => {
            measured("directory-mode", Health::Good, mode, "its owner alone may write to the store directory")
        }
    })
}

/// Journal time never goes back; a clock that did makes grace longer.
fn clock(ledger: &Ledger) -> Result<Measured> {
    let last = ledger.snapshot()?.cursor.time_ns;
    let behind = last.saturating_sub(ledger.machine.now_ns());
    let value = behind / 1_000_000_000;
    Ok(if behind > BEHIND_NS {
        let words = "seconds that the clock is behind the last frame of the journal: grace ends later by that much";
        measured("clock-behind-seconds", Health::Note, value, words)
    } else {
        measured("clock-behind-seconds", Health::Good, value, "the clock has not gone back since the last change")
    })
}

fn journal(ledger: &Ledger) -> Result<Measured> {
    let snapshot = ledger.snapshot()?;
    let sound = snapshot.damage.is_empty() && !snapshot.is_fenced()?;
    let yes = "the end of the journal is read without damage";
    let no = "the journal is damaged, and nothing is collected until it is repaired";
    Ok(whether("journal-sound", sound, Health::Bad, yes, no))
}

/// What the kernel says of users who link to files of others.
fn protected_hardlinks(machine: &dyn Machine) -> Measured {
    let read = || -> std::io::Result<bool> {
        let file = machine.open(Path::new("/proc/sys/fs/protected_hardlinks"), Open::Read)?;
        let mut byte = [0];
        file.read_at(&mut byte, 0)?;
        Ok(byte[0] == b'1')
    };
    match read() {
        Ok(true) => measured(
            "protected-hardlinks",
            Health::Note,
            "yes",
            "users cannot link to blobs that they may not write to: checkouts by others are reflinks or copies",
        ),
        Ok(false) => measured("protected-hardlinks", Health::Good, "no", "whoever may read a blob may link to it"),
        Err(_) => measured("protected-hardlinks", Health::Good, "unknown", "this system does not say"),
    }
}

fn link_limit(machine: &dyn Machine, root: &Path) -> Measured {
    match machine.link_limit(root) {
        Ok(Some(limit)) => {
            measured("link-limit", Health::Good, limit, "names that one blob may have, checkouts by hardlink included")
        }
        _ => measured(
            "link-limit",
            Health::Good,
            "unknown",
            "this filesystem does not say how many names a file may have",
        ),
    }
}

/// A folder for trying things, with one file in it.
struct Bench<'a> {
    machine: &'a dyn Machine,
    session: Session,
    sample: PathBuf,
    file: Box<dyn File>,
}

impl<'a> Bench<'a> {
    fn set_up(ledger: &'a Ledger) -> Result<Self> {
        let session = ledger.hold(|hold| {
            let sequence = hold.snapshot.cursor.sequence;
            hold.with_room(|| ledger.sessions.open(SessionKind::Collect, sequence, Vec::new()))
        })?;
        let machine = ledger.machine.as_ref();
        let sample = session.next_path();
        let file = machine.open(&sample, Open::CreateNew { mode: 0o600 });
        let file = file.map_err(|e| Error::io("create", &sample, e))?;
        file.write_at(&[b'x'; SAMPLE_BYTES], 0).map_err(|e| Error::io("write", &sample, e))?;
        Ok(Bench { machine, session, sample, file })
    }

    fn another(&self) -> Result<(Box<dyn File>, PathBuf)> {
        let path = self.session.next_path();
        let file = self.machine.open(&path, Open::CreateNew { mode: 0o600 });
        Ok((file.map_err(|e| Error::io("create", &path, e))?, path))
    }
}

fn hardlinks(bench: &Bench<'_>) -> Result<Measured> {
    let done = bench.machine.link(&bench.sample, &bench.session.next_path()).is_ok();
    let yes = "names and checkouts cost no room";
    Ok(whether("hardlinks", done, Health::Bad, yes, "no file can have a second name here: a store needs them"))
}

fn reflinks(bench: &Bench<'_>) -> Result<Measured> {
    let (to, _) = bench.another()?;
    let done = bench.machine.reflink(bench.file.as_ref(), to.as_ref()).is_ok();
    let (yes, no) = ("private files share their bytes with blobs", "private files are whole copies");
    Ok(whether("reflinks", done, Health::Note, yes, no))
}

/// Two descriptors must not have the lock at once.
fn locks(bench: &Bench<'_>) -> Result<Measured> {
    let io = |e| Error::io("lock", &bench.sample, e);
    let again = bench.machine.open(&bench.sample, Open::ReadWrite).map_err(io)?;
    let first = bench.file.try_lock(Lock::Exclusive).map_err(io)?;
    let second = again.try_lock(Lock::Exclusive).map_err(io)?;
    bench.file.unlock().map_err(io)?;
    let (yes, no) =
        ("several processes may use the store", "a lock keeps nobody out: use the store with one process alone");
    Ok(whether("locks", first && !second, Health::Bad, yes, no))
}

fn maps(bench: &Bench<'_>) -> Result<Measured> {
    let mut seen = 0;
    let looked = bench.file.windows(0, SAMPLE_BYTES as u64, &mut |bytes| {
        seen += bytes.iter().filter(|byte| **byte == b'x').count();
        Ok(())
    });
    let done = looked.is_ok() && seen == SAMPLE_BYTES;
    let (yes, no) = ("files are read by windows", "files cannot be read by windows");
    Ok(whether("windows", done, Health::Bad, yes, no))
}

fn case(bench: &Bench<'_>) -> Result<Measured> {
    let path = |name: &str| bench.session.directory().join(name);
    let upper = path("CaSe");
    bench.machine.link(&bench.sample, &upper).map_err(|e| Error::io("link", &upper, e))?;
    let sensitive = bench.machine.lstat(&path("case")).is_err();
    let (yes, no) =
        ("names that differ by case only are two names", "names that differ by case only cannot be hardlinked both");
    Ok(whether("case-sensitive", sensitive, Health::Note, yes, no))
}

/// The median time of an append and `fdatasync`, as every commit does it.
fn syncs(bench: &Bench<'_>) -> Result<Measured> {
    let (file, path) = bench.another()?;
    let mut times = Vec::with_capacity(SYNCS);
    for i in 0..SYNCS {
        file.write_at(&[b'y'; 4096], 4096 * i as u64).map_err(|e| Error::io("write", &path, e))?;
        let began = bench.machine.monotonic_ns();
        file.sync_data().map_err(|e| Error::io("sync", &path, e))?;
        times.push(bench.machine.monotonic_ns().saturating_sub(began));
    }
    times.sort_unstable();
    let median = times[SYNCS / 2];
    let value = median / 1000;
    Ok(if median > SLOW_SYNC_NS {
        measured("sync-microseconds", Health::Note, value, "every commit waits that long: add many files at once")
    } else {
        measured("sync-microseconds", Health::Good, value, "what one commit waits for the disk")
    })
}

/// What a checkout to a directory would be made of.
fn destination(bench: &Bench<'_>, directory: &Path) -> Result<Measured> {
    let there = Temporary::new(bench.machine, &directory.join("destination"))?;
    let (health, value, words) = match bench.machine.link(&bench.sample, there.path()) {
        Ok(()) => (Health::Good, "hardlink", "links lead there".to_owned()),
        Err(e) => private_destination(bench, there.path(), &e),
    };
    Ok(measured("destination", health, value, format!("{}: {words}", directory.display())))
}

fn private_destination(bench: &Bench<'_>, there: &Path, why: &std::io::Error) -> (Health, &'static str, String) {
    let Ok(file) = bench.machine.open(there, Open::CreateNew { mode: 0o600 }) else {
        return (Health::Bad, "nothing", format!("no file can be made there ({why})"));
    };
    match bench.machine.reflink(bench.file.as_ref(), file.as_ref()) {
        Ok(()) => (Health::Note, "reflink", format!("no links ({why}), but shared bytes")),
        Err(_) => (Health::Note, "copy", format!("no links ({why}): checkouts are whole copies")),
    }
}
