//! One file alone: nothing goes beside it in lanes, but its two digests can be made by two threads.

use std::io;

use super::worker::Worker;
use super::{Hashed, Queue, Source, Sources};
use crate::hashing::choice::Choice;
use crate::hashing::sealed::Stopped;
use crate::hashing::workers::Workers;
use crate::hashing::{Absorb, Sha256};
use crate::machine::File;
use crate::vocabulary::Blake3;
use crate::vocabulary::limits::IO_CHUNK_BYTES;

/// A file smaller than this is done before a second thread has begun.
const WORTH_TWO_THREADS_BYTES: u64 = 4 << 20;

pub(super) fn hash<S: Sources>(workers: &Workers, queue: &Queue, sources: &S) {
    let Some(source) = queue.take(sources).and_then(|index| sources.open(index)) else { return };
    let meta = source.meta();
    let whole = meta.allocated_bytes >= meta.size_bytes;
    if !(source.wants_blake3() && whole && meta.size_bytes >= WORTH_TWO_THREADS_BYTES) {
        return Worker::new(&Choice::SERIAL, 1, queue, sources).run_with(source);
    }
    let outcome = by_two_threads(workers, &source);
    if matches!(&outcome, Err(stopped) if stopped.error.kind() == io::ErrorKind::Interrupted) {
        queue.stop();
    }
    sources.done(source, outcome);
}

/// SHA-256 on one thread; on the other BLAKE3, which takes a third as long, and reading what comes next.
fn by_two_threads(workers: &Workers, source: &impl Source) -> Result<Hashed, Stopped> {
    let (file, size) = (source.file(), source.meta().size_bytes);
    let (mut sha256, mut blake3) = (Sha256::default(), blake3::Hasher::new());
    let (mut piece, mut next) = (vec![0; IO_CHUNK_BYTES], vec![0; IO_CHUNK_BYTES]);
    let mut at = 0;
    let stopped = |offset| move |error| Stopped { offset, error };
    let mut length = read(file, &mut piece, at, size).map_err(stopped(at))?;
    while at < size {
        let bytes = &piece[..length];
        let (from, next) = (at + length as u64, &mut next);
        let ((), read) = workers.join(
            || sha256.absorb(bytes),
            || {
                blake3.update(bytes);
                read(file, next, from, size)
            },
        );
        if !source.advance(length as u64) {
            return Err(stopped(at)(io::ErrorKind::Interrupted.into()));
        }
        at = from;
        length = read.map_err(stopped(at))?;
        std::mem::swap(&mut piece, next);
    }
    let blake3 = Some(Blake3::from_bytes(*blake3.finalize().as_bytes()));
    Ok(Hashed { digest: sha256.finish(), blake3, size_bytes: size })
}

/// Fills the buffer as far as the file goes; nothing at its end.
fn read(file: &dyn File, buffer: &mut [u8], at: u64, size: u64) -> io::Result<usize> {
    let length = (size - at).min(buffer.len() as u64) as usize;
    let read = file.read_at(&mut buffer[..length], at)?;
    if read < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(length) }
}
