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
