//! The SHA-256 of sealed files that the store owns: mapped where that is safe, holes never read.

use std::io;

use super::file::{check, hash_zeros};
use super::{Absorb, Digests, Hasher, Sha256};
use crate::machine::File;
use crate::vocabulary::{Blake3, Digest};

/// Why a file could not be read to its end.
#[derive(Debug)]
pub struct Stopped {
    /// Offset in bytes up to which it was read: the trouble is there or not far behind it.
    pub offset: u64,
    /// What it was: `UnexpectedEof` where the file ends before the size it had when it was opened, `Interrupted` where
    /// the caller asked to stop.
    pub error: io::Error,
}

/// The digest of a file, and its length in bytes. Trusts nothing but the bytes. Asks `go_on` between pieces, with the
/// bytes done since it was last asked. Memory is bounded whatever the size.
pub fn digest_sealed(file: &dyn File, go_on: &dyn Fn(u64) -> bool) -> Result<(Digest, u64), Stopped> {
    let mut hasher = Sha256::default();
    let mut at = 0;
    match read_sealed(file, &mut hasher, &mut at, go_on) {
        Ok(()) => Ok((hasher.finish(), at)),
        Err(error) => Err(Stopped { offset: at, error }),
    }
}

/// Both digests of a file, as [`digest_sealed`] makes the one.
pub fn digests_sealed(file: &dyn File, go_on: &dyn Fn(u64) -> bool) -> Result<Digests, Stopped> {
    let mut hasher = Hasher::default();
    let mut at = 0;
    match read_sealed(file, &mut hasher, &mut at, go_on) {
        Ok(()) => Ok(hasher.finish()),
        Err(error) => Err(Stopped { offset: at, error }),
    }
}

/// The BLAKE3 of a file, and its length in bytes, as [`digest_sealed`] makes the SHA-256.
pub fn blake3_sealed(file: &dyn File, go_on: &dyn Fn(u64) -> bool) -> Result<(Blake3, u64), Stopped> {
    let mut hasher = blake3::Hasher::new();
    let mut at = 0;
    match read_sealed(file, &mut hasher, &mut at, go_on) {
        Ok(()) => Ok((Blake3::from_bytes(*hasher.finalize().as_bytes()), at)),
        Err(error) => Err(Stopped { offset: at, error }),
    }
}

impl Absorb for blake3::Hasher {
    fn absorb(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }
}

fn read_sealed(file: &dyn File, hasher: &mut dyn Absorb, at: &mut u64, go_on: &dyn Fn(u64) -> bool) -> io::Result<()> {
    let size = file.meta()?.size_bytes;
    while *at < size {
        let (start, end) = file.next_data(*at)?.unwrap_or((size, size));
        let (start, end) = (start.min(size), end.min(size));
        hash_zeros(hasher, start - *at, go_on)?;
        *at = start;
        file.windows(start, end - start, &mut |window| {
            hasher.absorb(window);
            *at += window.len() as u64;
            check(go_on, window.len() as u64)
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::simulated::World;
    use crate::machine::{Machine, Open};
    use std::cell::Cell;
    use std::path::Path;

    #[test]
    fn holes_count_as_zeros_and_are_not_read() {
        let world = World::new(1);
        let machine = world.process("test");
        let file = machine.open(Path::new("/sparse"), Open::CreateNew { mode: 0o600 }).unwrap();
        file.write_at(b"begin", 0).unwrap();
        file.write_at(b"middle", 100_000).unwrap();
        file.set_len(300_000).unwrap();
        let told = Cell::new(0);
        let done = digest_sealed(file.as_ref(), &|bytes| {
            told.set(told.get() + bytes);
            true
        });
        let bytes = world.read("/sparse").unwrap();
        assert_eq!(done.unwrap(), (Digests::of(&bytes).digest, 300_000));
        assert_eq!(told.get(), 300_000);
    }

    #[test]
    fn it_stops_when_asked_to_and_where_it_cannot_read() {
        let world = World::new(1);
        let machine = world.process("test");
        world.put("/file", &[7; 50_000]);
        let open = || machine.open(Path::new("/file"), Open::Read).unwrap();
        let stopped = digest_sealed(open().as_ref(), &|_| false).unwrap_err();
        assert_eq!(stopped.error.kind(), io::ErrorKind::Interrupted);
        world.bad_sector("/file", 4096..4097);
        let stopped = digest_sealed(open().as_ref(), &|_| true).unwrap_err();
        assert_eq!((stopped.offset, stopped.error.raw_os_error()), (0, Some(5)));
    }
}
