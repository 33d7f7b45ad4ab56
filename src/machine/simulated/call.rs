//! The calls that processes make, and their log.

use std::fmt;
use std::path::{Path, PathBuf};

/// What a call asks of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each is named after the method of Machine or File that it counts")]
pub enum CallKind {
    /// `open` of something that is there.
    Open,
    /// `open` of a file that is not there yet.
    Create,
    CreateDir,
    List,
    Lstat,
    Stat,
    Link,
    Rename,
    RenameNew,
    Exchange,
    Unlink,
    RemoveDir,
    Symlink,
    ReadLink,
    Canonical,
    Reflink,
    Filesystem,
    /// `read_at` and `windows`.
    Read,
    Write,
    Meta,
    Sync,
    SyncData,
    SyncFilesystem,
    StartWriteback,
    SetLen,
    SetMode,
    SetMtime,
    Allocate,
    TryLock,
    Unlock,
    NextData,
    InUse,
    ReadLease,
    EndLease,
    DropCache,
    Pause,
    Random,
    /// Not a call: what a test wrote into the log.
    Note,
}

impl CallKind {
    /// Whether it changes files or directories.
    pub fn mutates(self) -> bool {
        use CallKind::*;
        matches!(
            self,
            Create
                | CreateDir
                | Link
                | Rename
                | RenameNew
                | Exchange
                | Unlink
                | RemoveDir
                | Symlink
                | Reflink
                | Write
                | SetLen
                | SetMode
                | SetMtime
                | Allocate
        )
    }

    /// Whether it makes things durable.
    pub fn syncs(self) -> bool {
        matches!(self, CallKind::Sync | CallKind::SyncData | CallKind::SyncFilesystem)
    }

    /// Whether it takes a lock or gives it back.
    pub fn locks(self) -> bool {
        matches!(self, CallKind::TryLock | CallKind::Unlock)
    }

    /// Whether it has a number: a crash before it may leave something else than a crash before the call that follows.
    pub fn counted(self) -> bool {
        self.mutates() || self.syncs() || self.locks()
    }
}

/// One call as it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its number among the counted calls of the world, from 0.
    pub number: Option<u64>,
    /// The number of the process.
    pub process: u32,
    /// What it asked.
    pub kind: CallKind,
    /// What it was about; for a call on an open file, the path that was opened.
    pub path: PathBuf,
    /// The other path, of calls that have two.
    pub other: Option<PathBuf>,
    /// Where in the file.
    pub offset: u64,
    /// How many bytes, or what size, mode or time.
    pub amount: u64,
    /// Why it failed; `EWOULDBLOCK` for a lock that somebody else holds.
    pub errno: Option<i32>,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(f, "{number:>5}")?,
            None => write!(f, "     ")?,
        }
        write!(f, " p{} {:?} {}", self.process, self.kind, self.path.display())?;
        if let Some(other) = &self.other {
            write!(f, " -> {}", other.display())?;
        }
        if self.offset != 0 || self.amount != 0 {
            write!(f, " @{}+{}", self.offset, self.amount)?;
        }
        match self.errno {
            Some(errno) => write!(f, " = errno {errno}"),
            None => Ok(()),
        }
    }
}

/// What was called so far, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    pub(super) calls: Vec<Call>,
    pub(super) counted: u64,
}

impl Log {
    /// Every call in order; those that only read are there when [`Options::log_reads`](super::Options) says so.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// How many counted calls there were, which is the number of the next one.
    pub fn counted(&self) -> u64 {
        self.counted
    }

    /// What the workload wrote into the log with [`Simulated::note`](super::Simulated::note), in order.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.calls.iter().filter(|call| call.kind == CallKind::Note).filter_map(|call| call.path.to_str())
    }

    /// Whether the workload came as far as this note.
    pub fn noted(&self, note: &str) -> bool {
        self.notes().any(|other| other == note)
    }

    /// How many calls of a kind there were.
    pub fn count(&self, kind: CallKind) -> usize {
        self.calls.iter().filter(|call| call.kind == kind).count()
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.calls.iter().try_for_each(|call| writeln!(f, "{call}"))
    }
}

/// A call that is being made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) kind: CallKind,
    pub(super) path: &'a Path,
    pub(super) other: Option<&'a Path>,
    pub(super) offset: u64,
    pub(super) amount: u64,
}

impl<'a> Request<'a> {
    /// A call about one path.
    pub(super) fn new(kind: CallKind, path: &'a Path) -> Self {
        Request { kind, path, other: None, offset: 0, amount: 0 }
    }

    /// A call about two paths.
    pub(super) fn two(kind: CallKind, path: &'a Path, other: &'a Path) -> Self {
        Request { other: Some(other), ..Request::new(kind, path) }
    }

    /// With a place and an amount.
    pub(super) fn at(self, offset: u64, amount: u64) -> Self {
        Request { offset, amount, ..self }
    }

    /// Both paths.
    pub(super) fn paths(&self) -> impl Iterator<Item = &'a Path> {
        std::iter::once(self.path).chain(self.other)
    }
}
