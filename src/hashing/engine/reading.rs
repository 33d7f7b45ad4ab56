//! One file on its way through a lane, piece by piece.

use std::io;

use super::{Hashed, Source};
use crate::hashing::sealed::Stopped;
use crate::hashing::stream::{Block, Stream, digest, padded};
use crate::machine::Window;
use crate::machine::processor::START;
use crate::vocabulary::Blake3;
use crate::vocabulary::limits::{IO_CHUNK_BYTES, MAP_WINDOW_BYTES, READ_BYTES};
use crate::vocabulary::planted::{Bug, planted};

/// Blocks of zeros to stand for holes.
static ZEROS: [Block; 1024] = [[0; 64]; 1024];

/// Whole blocks that are read at a time, and room for the end of a message behind them.
pub(super) type Buffer = Vec<Block>;

/// A buffer for one lane. It is no whole number of pages long, so that not all lanes use the same sets of the cache.
pub(super) fn buffer() -> Buffer {
    vec![[0; 64]; READ_BYTES / 64 + 2]
}

/// Where the blocks at hand are.
enum Piece {
    /// In the buffer.
    Read,
    /// In a hole.
    Zeros,
    /// In a map.
    Mapped(Box<dyn Window>),
    /// Behind the last whole block: see [`Reading::end`].
    End,
}

/// What became of the attempt to have more blocks at hand.
pub(super) enum Loaded {
    /// There are some.
    More,
    /// The disk has to be waited for; it was told to fetch them.
    Later,
    /// All of the file was hashed.
    End,
}

pub(super) struct Reading<S> {
    source: S,
    state: [u32; 8],
    blake3: Option<Box<blake3::Hasher>>,
    size: u64,
    /// Up to where the file is at hand, or done with.
    at: u64,
    /// Where the piece at hand begins.
    piece_at: u64,
    piece: Piece,
    /// Its blocks that are still to be taken.
    from: usize,
    to: usize,
    /// The end of the message, and of how many blocks it is; `None` where that was in the piece.
    end: Option<([Block; 2], usize)>,
    /// Whether the piece at hand is the last one.
    last: bool,
    buffer: Buffer,
    /// The data that was found last: outside it, the file may have holes.
    data: (u64, u64),
    /// Up to where the disk was told to fetch.
    fetched: u64,
}

impl<S: Source> Reading<S> {
    pub(super) fn new(source: S) -> Self {
        let meta = source.meta();
        let (size, sparse) = (meta.size_bytes, meta.allocated_bytes < meta.size_bytes);
        let blake3 = source.wants_blake3().then(Box::default);
        let data = if sparse { (0, 0) } else { (0, size) };
        let (piece, end, buffer) = (Piece::Zeros, None, Buffer::new());
        let (at, piece_at, from, to, last, fetched) = (0, 0, 0, 0, false, 0);
        Reading { source, state: START, blake3, size, at, piece_at, piece, from, to, end, last, buffer, data, fetched }
    }

    /// Gives it a buffer, without which it loads nothing.
    pub(super) fn lend(&mut self, buffer: Buffer) {
        self.buffer = buffer;
    }

    /// Takes the buffer back.
    pub(super) fn give_back(&mut self) -> Option<Buffer> {
        let buffer = std::mem::take(&mut self.buffer);
        (!buffer.is_empty()).then_some(buffer)
    }

    /// The source, and its digests as far as it was taken.
    pub(super) fn finish(self) -> (S, Hashed) {
        let blake3 = self.blake3.map(|hasher| Blake3::from_bytes(*hasher.finalize().as_bytes()));
        (self.source, Hashed { digest: digest(&self.state), blake3, size_bytes: self.at })
    }

    /// Has the next blocks at hand, all those before having been taken. Without `wait`, a small file that is not in the
    /// cache is left for later.
    pub(super) fn load(&mut self, wait: bool) -> Result<Loaded, Stopped> {
        self.close().map_err(|error| Stopped { offset: self.piece_at, error })?;
        self.try_load(wait).map_err(|error| Stopped { offset: self.at, error })
    }

    /// Sees whether the piece was what it seemed, and tells how far that is.
    fn close(&mut self) -> io::Result<()> {
        if let Piece::Mapped(window) = std::mem::replace(&mut self.piece, Piece::Zeros)
            && !planted(Bug::WindowBelieved)
        {
            window.close()?;
        }
        let bytes = self.at - self.piece_at;
        if bytes > 0 && !self.source.advance(bytes) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.piece_at = self.at;
        Ok(())
    }

    fn try_load(&mut self, wait: bool) -> io::Result<Loaded> {
        if self.last {
            return Ok(Loaded::End);
        }
        if self.at == self.size {
            let end = self.end.take().unwrap_or_else(|| padded(&[], self.size));
            (self.piece, self.from, self.to, self.last) = (Piece::End, 0, end.1, true);
            self.end = Some(end);
            return Ok(Loaded::More);
        }
        self.find_data()?;
        if self.at < self.data.0 {
            self.load_zeros();
            return Ok(Loaded::More);
        }
        self.fetch_ahead();
        let length = self.data.1 - self.at;
        if length > IO_CHUNK_BYTES as u64 && self.source.is_sealed() && self.blake3.is_none() && self.map(length)? {
            return Ok(Loaded::More);
        }
        let length = length.min(READ_BYTES as u64) as usize;
        if !wait && self.size <= READ_BYTES as u64 && !self.read_cached(length)? {
            self.source.file().will_need(0, self.size);
            return Ok(Loaded::Later);
        }
        if wait || self.size > READ_BYTES as u64 {
            self.read(length)?;
        }
        self.take_in(length);
        Ok(Loaded::More)
    }

    /// Finds the next data at or behind where it is, in whole blocks.
    fn find_data(&mut self) -> io::Result<()> {
        if self.at < self.data.1 {
            return Ok(());
        }
        let (start, end) = self.source.file().next_data(self.at)?.unwrap_or((self.size, self.size));
        let start = if start >= self.size { self.size } else { (start / 64 * 64).max(self.at) };
        let end = end.checked_next_multiple_of(64).unwrap_or(u64::MAX).min(self.size);
        // A filesystem that answers with nothing has changed its mind: what is there is read.
        self.data = if start == self.size || end > start { (start, end) } else { (self.at, self.size) };
        Ok(())
    }

    fn load_zeros(&mut self) {
        let length = (self.data.0 - self.at).min(size_of_val(&ZEROS) as u64) as usize;
        if let Some(hasher) = &mut self.blake3 {
            hasher.update(&ZEROS.as_flattened()[..length]);
        }
        (self.piece, self.from, self.to) = (Piece::Zeros, 0, length / 64);
        self.at += length as u64;
        if self.at == self.size {
            self.end = Some(padded(&ZEROS[0][..length % 64], self.size));
        }
        if self.to == 0 {
            self.begin_the_end();
        }
    }

    /// The last piece had no whole block.
    fn begin_the_end(&mut self) {
        let count = self.end.as_ref().map_or(0, |end| end.1);
        (self.piece, self.from, self.to, self.last) = (Piece::End, 0, count, true);
    }

    /// `false` where it cannot be mapped: nothing was done then.
    fn map(&mut self, length: u64) -> io::Result<bool> {
        let length = length.min(MAP_WINDOW_BYTES as u64) as usize;
        let Some(window) = self.source.file().window(self.at, length)? else { return Ok(false) };
        self.at += length as u64;
        if self.at == self.size {
            self.end = Some(padded(window.bytes().as_chunks::<64>().1, self.size));
        }
        (self.piece, self.from, self.to) = (Piece::Mapped(window), 0, length / 64);
        Ok(true)
    }

    fn read(&mut self, length: usize) -> io::Result<()> {
        let read = self.source.file().read_at(&mut self.buffer.as_flattened_mut()[..length], self.at)?;
        if read < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// `false`: it is not in the cache.
    fn read_cached(&mut self, length: usize) -> io::Result<bool> {
        let buffer = &mut self.buffer.as_flattened_mut()[..length];
        match self.source.file().read_cached(buffer, self.at)? {
            Some(read) if read < length => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(read.is_some()),
        }
    }

    /// Bytes that are in the buffer now are the next piece; the last of them bring the end of the message with them.
    fn take_in(&mut self, length: usize) {
        if let Some(hasher) = &mut self.blake3 {
            hasher.update(&self.buffer.as_flattened()[..length]);
        }
        self.at += length as u64;
        (self.piece, self.from, self.to) = (Piece::Read, 0, length / 64);
        if self.at == self.size {
            let (end, count) = padded(&self.buffer[length / 64][..length % 64], self.size);
            self.buffer[self.to..self.to + count].copy_from_slice(&end[..count]);
            self.to += count;
            self.last = true;
        }
    }

    /// Has the disk fetch what comes after the next piece, so that it has something to do meanwhile.
    fn fetch_ahead(&mut self) {
        let window = MAP_WINDOW_BYTES as u64;
        let wanted = self.size.min(self.at + 2 * window);
        if self.size > READ_BYTES as u64 && (self.fetched + window <= wanted || self.fetched <= self.at) {
            let from = self.fetched.max(self.at);
            self.source.file().will_need(from, wanted - from);
            self.fetched = wanted;
        }
    }
}

impl<S> Stream for Reading<S> {
    fn state(&mut self) -> &mut [u32; 8] {
        &mut self.state
    }

    fn blocks(&self) -> &[Block] {
        let (from, to) = (self.from, self.to);
        match &self.piece {
            Piece::Read => &self.buffer[from..to],
            Piece::Zeros => &ZEROS[from..to],
            Piece::Mapped(window) => &window.bytes().as_chunks().0[from..to],
            Piece::End => self.end.as_ref().map_or(&[][..], |end| &end.0[from..to]),
        }
    }

    fn took(&mut self, blocks: usize) {
        self.from += blocks;
    }
}
