//! An open file.

use std::any::Any;
use std::fs::{self, Metadata, TryLockError};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;
use nix::unistd::{Whence, lseek};

use super::read::{read_at, read_cached};
use super::{lease, uninterrupted, windows};
use crate::machine::{File, FileKind, Lock, Meta, Window};
use crate::vocabulary::planted::{Bug, planted};

const NS_PER_S: i64 = 1_000_000_000;

/// A descriptor, and whether its bytes may be shown through maps.
pub(super) struct OpenFile {
    file: fs::File,
    maps: bool,
}

impl OpenFile {
    pub(super) fn new(file: fs::File, maps: bool) -> Self {
        OpenFile { file, maps }
    }

    /// The real file behind the trait; `InvalidInput` for another machine's.
    pub(super) fn behind(file: &dyn File) -> io::Result<&OpenFile> {
        file.as_any()
            .downcast_ref()
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a file of another machine"))
    }

    pub(super) fn file(&self) -> &fs::File {
        &self.file
    }
}

impl AsFd for OpenFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl File for OpenFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        read_at(&self.file, buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        // Goes on after short counts and interruptions, and takes a count of zero for an error.
        self.file.write_all_at(bytes, offset)
    }

    fn meta(&self) -> io::Result<Meta> {
        self.file.metadata().map(|m| meta_of(&m))
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_filesystem(&self) -> io::Result<()> {
        hints::sync_filesystem(&self.file)
    }

    fn start_writeback(&self, offset: u64, length: u64) {
        hints::start_writeback(&self.file, offset, length);
    }

    fn set_len(&self, size_bytes: u64) -> io::Result<()> {
        self.file.set_len(size_bytes)
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.file.set_permissions(fs::Permissions::from_mode(mode))
    }

    fn set_mtime(&self, mtime_ns: i64) -> io::Result<()> {
        let time = TimeSpec::new(mtime_ns.div_euclid(NS_PER_S) as _, mtime_ns.rem_euclid(NS_PER_S) as _);
        Ok(futimens(&self.file, &TimeSpec::UTIME_OMIT, &time)?)
    }

    fn extend(&self, offset: u64, length: u64) -> io::Result<()> {
        hints::extend(&self.file, offset, length)
    }

    fn allocate(&self, size_bytes: u64) -> io::Result<()> {
        // The call refuses a length of zero, for which there is nothing to have.
        if size_bytes == 0 { Ok(()) } else { hints::allocate(&self.file, size_bytes) }
    }

    fn let_children_inherit(&self) -> io::Result<()> {
        if !planted(Bug::LeaseNotInherited) {
            fcntl(&self.file, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        Ok(())
    }

    fn try_lock(&self, how: Lock) -> io::Result<bool> {
        uninterrupted(|| {
            let tried = match how {
                Lock::Shared => self.file.try_lock_shared(),
                Lock::Exclusive => self.file.try_lock(),
            };
            match tried {
                Ok(()) => Ok(true),
                Err(TryLockError::WouldBlock) => Ok(false),
                Err(TryLockError::Error(error)) => Err(error),
            }
        })
    }

    fn unlock(&self) -> io::Result<()> {
        uninterrupted(|| self.file.unlock())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<(u64, u64)>> {
        let size_bytes = self.file.metadata()?.len();
        let Ok(from) = libc::off_t::try_from(offset) else { return Ok(None) };
        match lseek(&self.file, from, Whence::SeekData) {
            Ok(start) => hole_after(&self.file, start),
            Err(Errno::ENXIO) => Ok(None),
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) => Ok((offset < size_bytes).then_some((offset, size_bytes))),
            Err(error) => Err(error.into()),
        }
    }

    fn in_use(&self) -> bool {
        lease::in_use(&self.file)
    }

    fn read_lease(&self) -> io::Result<bool> {
        lease::read_lease(&self.file)
    }

    fn end_lease(&self) -> bool {
        lease::end_lease(&self.file)
    }

    fn windows(&self, offset: u64, length: u64, look: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        windows::windows(&self.file, self.maps, offset, length, look)
    }

    fn window(&self, offset: u64, length: usize) -> io::Result<Option<Box<dyn Window>>> {
        windows::window(&self.file, self.maps, offset, length)
    }

    fn read_cached(&self, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
        read_cached(&self.file, buffer, offset)
    }

    fn will_need(&self, offset: u64, length: u64) {
        hints::will_need(&self.file, offset, length);
    }

    fn drop_cache(&self) -> bool {
        hints::drop_cache(&self.file)
    }

    fn resident(&self, piece_bytes: u64) -> Option<Vec<bool>> {
        hints::resident(&self.file, piece_bytes)
    }

    fn forget(&self, offset: u64, length: u64) {
        hints::forget(&self.file, offset, length);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The data from `start` to the next hole; `None` if the file was cut short before `start` in the meantime.
///
/// This moves the descriptor's own position, which nothing here reads: all reading and writing names its offset. So it
/// does not matter who else moves it at the same time.
fn hole_after(file: &fs::File, start: libc::off_t) -> io::Result<Option<(u64, u64)>> {
    match lseek(file, start, Whence::SeekHole) {
        Ok(end) => Ok(Some((start as u64, end as u64))),
        Err(Errno::ENXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn meta_of(meta: &Metadata) -> Meta {
    Meta {
        kind: kind_of(meta.mode()),
        size_bytes: meta.size(),
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
        device: meta.dev(),
        inode: meta.ino(),
        links: meta.nlink(),
        mtime_ns: nanoseconds(meta.mtime(), meta.mtime_nsec()),
        ctime_ns: nanoseconds(meta.ctime(), meta.ctime_nsec()),
        allocated_bytes: meta.blocks().saturating_mul(512),
    }
}

#[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "the fields have other widths elsewhere")]
pub(super) fn meta_of_stat(stat: &nix::sys::stat::FileStat) -> Meta {
    Meta {
        kind: kind_of(stat.st_mode),
        size_bytes: stat.st_size as u64,
        mode: u32::from(stat.st_mode) & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        device: stat.st_dev as u64,
        inode: stat.st_ino as u64,
        links: stat.st_nlink as u64,
        mtime_ns: nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        ctime_ns: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        allocated_bytes: (stat.st_blocks as u64).saturating_mul(512),
    }
}

/// The kind in the high bits of `st_mode`.
#[allow(clippy::unnecessary_cast, reason = "a mode has 16 bits on macOS")]
pub(super) fn kind_of(st_mode: impl Into<u32>) -> FileKind {
    match st_mode.into() & libc::S_IFMT as u32 {
        bits if bits == libc::S_IFREG as u32 => FileKind::File,
        bits if bits == libc::S_IFDIR as u32 => FileKind::Directory,
        bits if bits == libc::S_IFLNK as u32 => FileKind::Symlink,
        _ => FileKind::Special,
    }
}

/// Times past the year 2262, which a file may claim, stay at the end of the range instead of wrapping around.
pub(super) fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(NS_PER_S).saturating_add(rest)
}

#[cfg(target_os = "linux")]
mod hints {
    use super::{Errno, fs, io};
    use nix::fcntl::{FallocateFlags, PosixFadviseAdvice, fallocate, posix_fadvise, posix_fallocate};
    use std::os::fd::AsRawFd;

    pub(super) fn sync_filesystem(file: &fs::File) -> io::Result<()> {
        Ok(nix::unistd::syncfs(file)?)
    }

    pub(super) fn start_writeback(file: &fs::File, offset: u64, length: u64) {
        let (Ok(offset), Ok(length)) = (offset.try_into(), length.try_into()) else { return };
        // To the call, a length of zero is everything up to the end.
        if length != 0 {
            // SAFETY: the descriptor is open while it is borrowed, and the call touches no memory of ours.
            unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE) };
        }
    }

    pub(super) fn allocate(file: &fs::File, size_bytes: u64) -> io::Result<()> {
        let length = size_bytes.try_into().map_err(|_| io::Error::from(Errno::EFBIG))?;
        super::uninterrupted(|| Ok(posix_fallocate(file, 0, length)?))
    }

    pub(super) fn extend(file: &fs::File, offset: u64, length: u64) -> io::Result<()> {
        let too_large = |_| io::Error::from(Errno::EFBIG);
        let (offset, length) = (offset.try_into().map_err(too_large)?, length.try_into().map_err(too_large)?);
        super::uninterrupted(|| Ok(fallocate(file, FallocateFlags::empty(), offset, length)?))
    }

    pub(super) fn will_need(file: &fs::File, offset: u64, length: u64) {
        if let (Ok(offset), Ok(length)) = (offset.try_into(), length.try_into()) {
            let _ = posix_fadvise(file, offset, length, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
        }
    }

    pub(super) fn drop_cache(file: &fs::File) -> bool {
        let advised = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        advised.is_ok() && super::super::map::is_uncached(file).unwrap_or(false)
    }

    pub(super) fn resident(file: &fs::File, piece_bytes: u64) -> Option<Vec<bool>> {
        super::super::map::resident(file, piece_bytes).ok()
    }

    pub(super) fn forget(file: &fs::File, offset: u64, length: u64) {
        let (Ok(offset), Ok(length)) = (offset.try_into(), length.try_into()) else { return };
        // To the call, a length of zero is everything up to the end.
        if length != 0 {
            let _a_hint = posix_fadvise(file, offset, length, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod hints {
    use super::super::unsupported;
    use super::{Errno, FileExt, fs, io};
    use std::os::fd::AsRawFd;

    pub(super) fn sync_filesystem(_: &fs::File) -> io::Result<()> {
        Err(unsupported("syncing a whole filesystem"))
    }

    pub(super) fn start_writeback(_: &fs::File, _: u64, _: u64) {}

    /// Reserves what lies past the end, then writes it: there is no call for both.
    pub(super) fn allocate(file: &fs::File, size_bytes: u64) -> io::Result<()> {
        let have = file.metadata()?.len();
        if size_bytes <= have {
            return Ok(());
        }
        reserve(file, size_bytes - have)?;
        let zeros = [0; 64 << 10];
        let mut at = have;
        while at < size_bytes {
            let count = zeros.len().min((size_bytes - at) as usize);
            file.write_all_at(&zeros[..count], at)?;
            at += count as u64;
        }
        Ok(())
    }

    fn reserve(file: &fs::File, length: u64) -> io::Result<()> {
        let mut wanted = libc::fstore_t {
            fst_flags: libc::F_ALLOCATEALL,
            fst_posmode: libc::F_PEOFPOSMODE,
            fst_offset: 0,
            fst_length: length.try_into().map_err(|_| io::Error::from(Errno::EFBIG))?,
            fst_bytesalloc: 0,
        };
        // SAFETY: the descriptor is open while it is borrowed, and the structure outlives the call that fills it in.
        Errno::result(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_PREALLOCATE, &raw mut wanted) })?;
        Ok(())
    }

    pub(super) fn extend(_: &fs::File, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn will_need(_: &fs::File, _: u64, _: u64) {}

    pub(super) fn drop_cache(_: &fs::File) -> bool {
        false
    }

    pub(super) fn resident(_: &fs::File, _: u64) -> Option<Vec<bool>> {
        None
    }

    pub(super) fn forget(_: &fs::File, _: u64, _: u64) {}
}
