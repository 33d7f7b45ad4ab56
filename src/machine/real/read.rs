//! Reading a file piece by piece.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;

use super::uninterrupted;
use crate::vocabulary::limits::IO_CHUNK_BYTES;

/// What is shown to.
pub(super) type Look<'a> = &'a mut dyn FnMut(&[u8]) -> io::Result<()>;

/// Fills `buffer` from `offset` on; fewer bytes only at the end of the file.
pub(super) fn read_at(file: &fs::File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match uninterrupted(|| file.read_at(&mut buffer[filled..], offset + filled as u64))? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// As [`read_at`], if all of it is in the cache; `None` where it is not. A kernel or filesystem that cannot tell reads.
#[cfg(target_os = "linux")]
pub(super) fn read_cached(file: &fs::File, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
    use nix::errno::Errno;
    use std::os::fd::AsRawFd;

    let Ok(at) = libc::off_t::try_from(offset) else { return read_at(file, buffer, offset).map(Some) };
    let part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: the descriptor is open while it is borrowed, and the call writes only into the buffer that the one part
    // describes, which is borrowed for as long.
    let read = unsafe { libc::preadv2(file.as_raw_fd(), &raw const part, 1, at, libc::RWF_NOWAIT) };
    match Errno::result(read) {
        Err(Errno::EAGAIN) => Ok(None),
        Err(Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EINVAL | Errno::EINTR) => {
            read_at(file, buffer, offset).map(Some)
        }
        Err(error) => Err(error.into()),
        // A short count may be the end of the file or of what is in the cache.
        Ok(read) if (read as usize) < buffer.len() => {
            let ends = file.metadata()?.len() <= offset + read as u64;
            Ok(ends.then_some(read as usize))
        }
        Ok(read) => Ok(Some(read as usize)),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn read_cached(file: &fs::File, buffer: &mut [u8], offset: u64) -> io::Result<Option<usize>> {
    read_at(file, buffer, offset).map(Some)
}

/// Reads the window in chunks that stay in the processor's cache until they have been looked at.
pub(super) fn read(
    file: &fs::File,
    offset: u64,
    length: usize,
    buffer: &mut Vec<u8>,
    look: Look<'_>,
) -> io::Result<()> {
    buffer.resize(length.min(IO_CHUNK_BYTES), 0);
    let mut done = 0;
    while done < length {
        let chunk = &mut buffer[..IO_CHUNK_BYTES.min(length - done)];
        if read_at(file, chunk, offset + done as u64)? < chunk.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        look(chunk)?;
        done += chunk.len();
    }
    Ok(())
}

/// Why bytes that were mapped were not there: reading them again tells. If they are back by now, what was looked at was
/// still not the file.
#[cfg(target_os = "linux")]
pub(super) fn why_lost(file: &fs::File, offset: u64, length: usize) -> io::Error {
    match read(file, offset, length, &mut Vec::new(), &mut |_| Ok(())) {
        Err(error) => error,
        Ok(()) => io::Error::new(io::ErrorKind::UnexpectedEof, "the file was changed while it was looked at"),
    }
}
