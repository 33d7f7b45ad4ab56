//! Which errors a call may plausibly give, from the manual pages of Linux.

use super::{CallKind, errno};
use CallKind::*;

/// One error, and the calls that give it.
pub(crate) struct Plausible {
    pub(crate) name: &'static str,
    pub(crate) number: i32,
    pub(crate) kinds: &'static [CallKind],
    /// Whether it may go on from then on. (An interruption that never ends is none.)
    pub(crate) lasts: bool,
    /// So many bytes of a write reach the file before it fails.
    pub(crate) short: Option<u64>,
}

const fn plausible(name: &'static str, number: i32, kinds: &'static [CallKind]) -> Plausible {
    Plausible { name, number, kinds, lasts: true, short: None }
}

/// What takes room on the disk.
const ROOM: &[CallKind] = &[
    Create,
    CreateDir,
    Link,
    Rename,
    RenameNew,
    Exchange,
    Symlink,
    Reflink,
    Write,
    Sync,
    SyncData,
    SyncFilesystem,
    Allocate,
];
/// What changes the filesystem, and so cannot be done where it has become read-only.
const CHANGES: &[CallKind] =
    &[Create, CreateDir, Link, Rename, RenameNew, Exchange, Symlink, Unlink, RemoveDir, SetMode, SetMtime];
/// What looks a path up.
const PATHS: &[CallKind] = &[
    Open, Create, CreateDir, List, Lstat, Stat, Link, Rename, RenameNew, Exchange, Unlink, RemoveDir, Symlink,
    ReadLink, Canonical, Filesystem,
];
const DISK: &[CallKind] = &[
    Open,
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
    Read,
    Write,
    Meta,
    Sync,
    SyncData,
    SyncFilesystem,
    SetLen,
    SetMode,
    SetMtime,
    Allocate,
    TryLock,
    NextData,
];

pub(crate) const ERRORS: &[Plausible] = &[
    plausible("EIO", errno::EIO, DISK),
    plausible("ENOSPC", errno::ENOSPC, ROOM),
    plausible("EDQUOT", errno::EDQUOT, ROOM),
    plausible("EROFS", errno::EROFS, CHANGES),
    plausible("EACCES", errno::EACCES, PATHS),
    // Forbidden whatever the permission bits say: an immutable file, a sticky directory, another owner; no links here.
    plausible(
        "EPERM",
        errno::EPERM,
        &[Create, CreateDir, Link, Rename, RenameNew, Exchange, Unlink, RemoveDir, Symlink, SetMode, SetMtime, SetLen],
    ),
    plausible("EMFILE", errno::EMFILE, &[Open, Create, List]),
    plausible("ENFILE", errno::ENFILE, &[Open, Create, List]),
    plausible("EMLINK", errno::EMLINK, &[Link, CreateDir]),
    plausible("EXDEV", errno::EXDEV, &[Link, Rename, RenameNew, Exchange, Reflink]),
    plausible("ENOLCK", errno::ENOLCK, &[TryLock]),
    // The real machine goes on after it by itself; should another one not, it is an error like any other.
    Plausible {
        lasts: false,
        ..plausible("EINTR", errno::EINTR, &[Open, Create, Read, Write, SetLen, Allocate, TryLock, Filesystem])
    },
    // Some bytes of a write come to the disk, and then there is no room, or the disk fails.
    Plausible { short: Some(1), ..plausible("ENOSPC after a byte", errno::ENOSPC, &[Write]) },
    Plausible { short: Some(100), ..plausible("EDQUOT after a hundred bytes", errno::EDQUOT, &[Write]) },
    Plausible { short: Some(512), ..plausible("EIO after a sector", errno::EIO, &[Write]) },
];
