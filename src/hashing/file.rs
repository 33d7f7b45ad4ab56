//! The digests of files.

use std::io;
use std::ops::Range;
use std::path::Path;

use super::{Absorb, Digests, Hasher};
use crate::machine::{File, FileKind, Machine, Open};
use crate::vocabulary::limits::IO_CHUNK_BYTES;
use crate::vocabulary::{Digest, Error, ErrorKind, Result};

/// A piece of zeros to stand for holes.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Reads `file` from front to back into `hasher`, holes as the zeros that they are, and gives each piece that holds
/// data to `piece` with its offset. Asks `go_on` between pieces; when it says no, the error is `Interrupted`.
pub fn read_through(
    file: &dyn File,
    hasher: &mut dyn Absorb,
    go_on: &dyn Fn(u64) -> bool,
    piece: &mut dyn FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<u64> {
    let size = file.meta()?.size_bytes;
    read_range(file, 0..size, hasher, go_on, piece)?;
    Ok(size)
}

/// As [`read_through`], for a range of the file; one that ends before it does is `UnexpectedEof`, unless it ends in a
/// hole.
pub fn read_range(
    file: &dyn File,
    range: Range<u64>,
    hasher: &mut dyn Absorb,
    go_on: &dyn Fn(u64) -> bool,
    piece: &mut dyn FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<()> {
    let Range { start: mut at, end: size } = range;
    let mut buffer = vec![0; IO_CHUNK_BYTES.min(usize::try_from(size - at).unwrap_or(usize::MAX).max(1))];
    while at < size {
        let (start, end) = file.next_data(at)?.unwrap_or((size, size));
        let (start, end) = (start.min(size), end.min(size));
        hash_zeros(hasher, start - at, go_on)?;
        at = start;
        while at < end {
            let want = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            let read = file.read_at(&mut buffer[..want], at)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            hasher.absorb(&buffer[..read]);
            piece(&buffer[..read], at)?;
            at += read as u64;
            check(go_on, read as u64)?;
        }
    }
    Ok(())
}

pub(super) fn hash_zeros(hasher: &mut dyn Absorb, mut length: u64, go_on: &dyn Fn(u64) -> bool) -> io::Result<()> {
    while length > 0 {
        let piece = length.min(ZEROS.len() as u64);
        hasher.absorb(&ZEROS[..piece as usize]);
        length -= piece;
        check(go_on, piece)?;
    }
    Ok(())
}

pub(super) fn check(go_on: &dyn Fn(u64) -> bool, bytes: u64) -> io::Result<()> {
    if go_on(bytes) { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
}

/// Both digests of an open file. Memory is bounded whatever its size (R23).
pub fn digest_file(file: &dyn File) -> io::Result<Digests> {
    let mut hasher = Hasher::default();
    read_through(file, &mut hasher, &|_| true, &mut |_, _| Ok(()))?;
    Ok(hasher.finish())
}

/// Both digests of the regular file at `path` (R24). Refuses anything else with [`ErrorKind::Invalid`].
pub fn digest_path(machine: &dyn Machine, path: &Path) -> Result<Digests> {
    let file = machine.open(path, Open::Read).map_err(|e| Error::io("open", path, e))?;
    let meta = file.meta().map_err(|e| Error::io("look at", path, e))?;
    if meta.kind != FileKind::File {
        return Err(Error::new(ErrorKind::Invalid, format!("hash {}", path.display()), "it is no regular file"));
    }
    digest_file(file.as_ref()).map_err(|e| Error::io("read", path, e))
}

/// Whether the file at `path` has the digest `expected` (R80): [`ErrorKind::Mismatch`], naming both, if not.
pub fn verify_digest(machine: &dyn Machine, path: &Path, expected: &Digest) -> Result<()> {
    let found = digest_path(machine, path)?.digest;
    if found == *expected {
        return Ok(());
    }
    let reason = format!("its digest is {found}, and {expected} was expected");
    Err(Error::new(ErrorKind::Mismatch, format!("verify {}", path.display()), reason))
}
