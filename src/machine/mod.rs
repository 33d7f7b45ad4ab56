//! The one gate to the operating system: file calls, locks, links, maps and the clock.
//!
//! Everything above this floor speaks to a [`Machine`]. [`real`] is Linux (macOS by construction); [`simulated`] is a
//! machine whose every call is a crash point and whose disk keeps apart what was written and what was synced. This is
//! the only floor that names `std::fs`, `nix`, `libc` or `memmap2`, and the only one with `unsafe`.

pub mod kept;
pub mod processor;
pub mod real;
pub mod simulated;
pub mod trouble;

use std::any::Any;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use real::Real;

/// What kind of thing a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A fifo, socket or device.
    Special,
}

/// What `lstat` and `fstat` tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// What kind of thing it is.
    pub kind: FileKind,
    /// Length in bytes.
    pub size_bytes: u64,
    /// The low twelve bits of `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Number of names; a hint for reports, never the truth for deletion.
    pub links: u64,
    /// Modification time, nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// Status change time, nanoseconds since the epoch.
    pub ctime_ns: i64,
    /// Bytes that the file occupies on the disk.
    pub allocated_bytes: u64,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name in the directory.
    pub name: OsString,
    /// What it is, as far as the directory tells (it may be read again with [`Machine::lstat`]).
    pub kind: FileKind,
    /// Its inode number.
    pub inode: u64,
}

/// How a file is opened. No way follows a symbolic link in the last component, and none is inherited by a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// An existing file, to read. Never waits for a fifo's writer (`O_NONBLOCK`).
    Read,
    /// An existing file, to read and write.
    ReadWrite,
    /// A file that is not there yet, to read and write, with exactly this mode whatever the umask.
    CreateNew {
        /// Permission bits.
        mode: u32,
    },
    /// An existing directory, to sync it or the filesystem it is on.
    Directory,
}

/// Whether a lock is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Held by many at once.
    Shared,
    /// Held by one alone.
    Exclusive,
}

/// What is known of the filesystem a path is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// Its kind, as `statfs` names it: `ext4`, `xfs`, `btrfs`, `tmpfs`, `nfs`, `fuse`, … or the number in hexadecimal.
    pub kind: String,
    /// Whether `flock` is a lock that all users of it respect and `syncfs` reports errors: a local filesystem.
    pub local: bool,
    /// Whether it is mounted read-only.
    pub read_only: bool,
    /// Bytes that this user may still write.
    pub free_bytes: u64,
    /// Inodes that this user may still make; `u64::MAX` where the filesystem does not count them.
    pub free_inodes: u64,
}

/// An open file or directory. Dropping it closes it and lets go of its lock.
pub trait File: Send + Sync {
    /// Reads at `offset`; fewer bytes than asked for only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// `fstat`.
    fn meta(&self) -> io::Result<Meta>;
    /// `fsync`: data and all metadata of this file; of a directory, its entries.
    fn sync(&self) -> io::Result<()>;
    /// `fdatasync`: data, and the metadata that is needed to read it.
    fn sync_data(&self) -> io::Result<()>;
    /// `syncfs`: everything written to the filesystem that this is on before the call; reports errors since this
    /// descriptor was opened (Linux 5.8).
    fn sync_filesystem(&self) -> io::Result<()>;
    /// Starts write-back of a range without waiting for it; a hint.
    fn start_writeback(&self, offset: u64, length: u64);
    /// `ftruncate`.
    fn set_len(&self, size_bytes: u64) -> io::Result<()>;
    /// `fchmod`.
    fn set_mode(&self, mode: u32) -> io::Result<()>;
    /// Sets the modification time (nanoseconds since the epoch) and leaves the access time.
    fn set_mtime(&self, mtime_ns: i64) -> io::Result<()>;
    /// `posix_fallocate`: really has the blocks, or fails.
    fn allocate(&self, size_bytes: u64) -> io::Result<()>;
    /// `fallocate` of a range up to which the file goes, or further: it is longer then, and reads as zeros there. Fails
    /// where the filesystem cannot by itself; it is never done by writing.
    fn extend(&self, offset: u64, length: u64) -> io::Result<()>;
    /// `flock` without waiting; `false` when somebody else holds it.
    fn try_lock(&self, how: Lock) -> io::Result<bool>;
    /// Lets every program that this process starts from now on have the descriptor too, and with it its lock (`fcntl`,
    /// `FD_CLOEXEC`).
    fn let_children_inherit(&self) -> io::Result<()>;
    /// Lets go of the lock.
    fn unlock(&self) -> io::Result<()>;
    /// The next range at or after `offset` that holds data (`SEEK_DATA`, `SEEK_HOLE`); `None` when only a hole is
    /// left. A filesystem that knows no holes answers with everything up to the end.
    fn next_data(&self, offset: u64) -> io::Result<Option<(u64, u64)>>;
    /// Whether it is certain that nobody has the file open for writing, and whoever tries will be noticed: takes a read
    /// lease (`F_SETLEASE`, `F_RDLCK`). `false` where there is a writer, or where leases do not work.
    fn read_lease(&self) -> io::Result<bool>;
    /// Whether somebody else has the file open or mapped, to read or to write (`F_SETLEASE`, `F_WRLCK`, given back at once).
    /// `false` where nobody has, and where it cannot be told.
    fn in_use(&self) -> bool;
    /// Gives the lease back; `true` if nobody had asked to break it in the meantime.
    fn end_lease(&self) -> bool;
    /// Shows `range` of the file to `look` in windows of at most `MAP_WINDOW_BYTES`, in order, mapped where that
    /// is safe and read otherwise. Only for sealed files that the store owns. A file that ends before the range does,
    /// or a bad sector, is an error (`UnexpectedEof`, `EIO`), never a signal. `look` may stop it with an error.
    fn windows(&self, offset: u64, length: u64, look: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()>;
    /// A window of the file, of at most `MAP_WINDOW_BYTES`, mapped, for whoever looks at several files at once; see
    /// [`File::windows`] for which files. `None` where it cannot be had: then reading tells what is wrong, if anything
    /// is.
    fn window(&self, offset: u64, length: usize) -> io::Result<Option<Box<dyn Window>>> {
        let _ = (offset, length);
        Ok(None)
    }
    /// As [`File::read_at`], if it need not wait for the disk (`preadv2`, `RWF_NOWAIT`); `None` where it would. Reads all
    /// that was asked for or up to the end of the file, or nothing.
    fn read_cached(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        self.read_at(buffer, offset).map(Some)
    }
    /// Tells that a range is read soon (`POSIX_FADV_WILLNEED`): it is fetched meanwhile. A hint.
    fn will_need(&self, offset: u64, length: u64) {
        let _ = (offset, length);
    }
    /// Drops the file's clean pages from the cache; whether none is left, so that what is read next comes from the disk.
    /// `false` where somebody has them mapped, on filesystems in memory, and where it cannot be told.
    fn drop_cache(&self) -> bool;
    /// For each piece of so many bytes (a multiple of 64 KiB), whether its first page is in the cache; `None` where it cannot
    /// be told. Nothing is read.
    fn resident(&self, piece_bytes: u64) -> Option<Vec<bool>> {
        let _ = piece_bytes;
        None
    }
    /// Drops the clean pages of a range from the cache (`POSIX_FADV_DONTNEED`); a hint.
    fn forget(&self, offset: u64, length: u64) {
        let _ = (offset, length);
    }
    /// For the machine to find its own kind of file behind the trait.
    fn as_any(&self) -> &dyn Any;
}

/// An entry of a directory, for calls on many entries of one.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    /// Its whole path.
    pub path: &'a Path,
    /// The directory that it is in, where that is open already ([`Machine::keep_open`]).
    pub within: Option<&'a dyn File>,
}

impl<'a> Entry<'a> {
    /// The entry at `path`, whose directory may be open.
    pub fn of(path: &'a Path, within: Option<&'a dyn File>) -> Self {
        Entry { path, within }
    }
}

impl<'a> From<&'a Path> for Entry<'a> {
    fn from(path: &'a Path) -> Self {
        Entry::of(path, None)
    }
}

impl<'a> From<&'a PathBuf> for Entry<'a> {
    fn from(path: &'a PathBuf) -> Self {
        Entry::of(path, None)
    }
}

/// Part of a file, mapped.
pub trait Window {
    /// Its bytes. They count only once [`Window::close`] has said so.
    fn bytes(&self) -> &[u8];
    /// Whether all bytes were there to the end; why not, as an error (`UnexpectedEof`, `EIO`), where they were not: what
    /// was seen in their place are zeros.
    fn close(self: Box<Self>) -> io::Result<()>;
}

/// The calls to the operating system. All paths are absolute, or relative to the working directory.
pub trait Machine: Send + Sync {
    /// From now on nothing is opened, listed or changed through a symbolic link below `root`, a canonical directory: a path
    /// that leads through one is answered with an error (`ENOTDIR`, `ELOOP`). The simulated machine does nothing.
    fn confine(&self, root: &Path) {
        let _ = root;
    }
    /// Whether a library that makes its own calls to the system finds the files that this machine has.
    fn is_real(&self) -> bool {
        true
    }
    /// Opens or creates a file or directory.
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn File>>;
    /// Opens what can only be read once from front to back, a pipe or a device, through symbolic links, and waits for whoever
    /// writes to it. The simulated machine has none.
    fn stream(&self, path: &Path) -> io::Result<Box<dyn io::Read + Send>> {
        let _ = path;
        Err(io::ErrorKind::Unsupported.into())
    }
    /// `mkdir` with exactly this mode, whatever the umask.
    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()>;
    /// Everything in a directory but `.` and `..`, in no order.
    fn list(&self, path: &Path) -> io::Result<Vec<Listed>>;
    /// `lstat`: does not follow a symbolic link.
    fn lstat(&self, path: &Path) -> io::Result<Meta>;
    /// `stat`: follows symbolic links.
    fn stat(&self, path: &Path) -> io::Result<Meta>;
    /// A directory to reach many of its entries through ([`Machine::link_in`]); `None` where that is no faster, where the
    /// directory cannot be opened, and where half of the descriptors that this process may have are in use. It stays the same directory, whatever its path leads to later.
    fn keep_open(&self, path: &Path) -> Option<Box<dyn File>> {
        let _ = path;
        None
    }
    /// `link`: a second name for a file; `AlreadyExists` if `to` is there.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// As [`Machine::link`], between directories that are open.
    fn link_in(&self, from: Entry<'_>, to: Entry<'_>) -> io::Result<()> {
        self.link(from.path, to.path)
    }
    /// As [`Machine::rename`], between directories that are open.
    fn rename_in(&self, from: Entry<'_>, to: Entry<'_>) -> io::Result<()> {
        self.rename(from.path, to.path)
    }
    /// As [`Machine::unlink`], in a directory that is open.
    fn unlink_in(&self, entry: Entry<'_>) -> io::Result<()> {
        self.unlink(entry.path)
    }
    /// As [`Machine::lstat`], in a directory that is open.
    fn lstat_in(&self, entry: Entry<'_>) -> io::Result<Meta> {
        self.lstat(entry.path)
    }
    /// `rename`, replacing what is there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// `renameat2(RENAME_NOREPLACE)`: `AlreadyExists` if `to` is there.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// `renameat2(RENAME_EXCHANGE)`: both must be there.
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()>;
    /// `unlink`.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// `rmdir`.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// `symlink`.
    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()>;
    /// `readlink`.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf>;
    /// `realpath`.
    fn canonical(&self, path: &Path) -> io::Result<PathBuf>;
    /// `FICLONE`: makes `to` share all of `from`'s extents.
    fn reflink(&self, from: &dyn File, to: &dyn File) -> io::Result<()>;
    /// The most names that a file on the filesystem of `path` may have (`pathconf`, `_PC_LINK_MAX`); `None` where it does
    /// not say.
    fn link_limit(&self, path: &Path) -> io::Result<Option<u64>>;
    /// `statfs`.
    fn filesystem(&self, path: &Path) -> io::Result<Filesystem>;
    /// The wall clock, nanoseconds since the epoch.
    fn now_ns(&self) -> u64;
    /// A clock that never goes back, nanoseconds since some moment.
    fn monotonic_ns(&self) -> u64;
    /// Waits.
    fn pause(&self, time: Duration);
    /// Fills `buffer` with unpredictable bytes.
    fn random(&self, buffer: &mut [u8]) -> io::Result<()>;
    /// The umask of the process.
    fn umask(&self) -> u32;
    /// The effective user.
    fn user(&self) -> u32;
    /// Lets the calling thread read and write only when nobody else wants to (`ioprio_set`, `IOPRIO_CLASS_IDLE`); what it had
    /// before, to be given back to [`Machine::restore_io`], or `None` where that cannot be had.
    fn idle_io(&self) -> Option<u32> {
        None
    }
    /// Gives the calling thread back what [`Machine::idle_io`] took.
    fn restore_io(&self, before: u32) {
        let _ = before;
    }
    /// For how long, altogether, some task of this machine has waited for a disk (`/proc/pressure/io`, the total of `some`),
    /// in nanoseconds; `None` where the kernel does not tell.
    fn io_stalled_ns(&self) -> Option<u64> {
        None
    }
    /// Whether the kernel's `syncfs` reports write-back errors (Linux 5.8 and later).
    fn syncfs_reports_errors(&self) -> bool;
}
