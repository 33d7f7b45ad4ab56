//! One segment, read from front to back, and past what is bad in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Journal, SegmentId};
use crate::format::Malformed;
use crate::format::frame::{FRAME_ALIGN, FRAME_HEADER_BYTES, Frame};
use crate::format::header::{HEADER_BYTES, Header, SegmentKind};
use crate::machine::{File, Open};
use crate::vocabulary::{Error, ErrorKind, Result};

/// How much is read at a time.
const READ_BYTES: usize = 256 << 10;

/// An open segment.
pub struct Segment {
    /// Its header.
    pub header: Header,
    /// The key of its frames.
    pub key: [u8; 32],
    /// Its file name.
    pub name: String,
    pub(crate) file: Arc<dyn File>,
    pub(crate) path: PathBuf,
}

/// What stands at an offset of a segment.
#[derive(Debug)]
pub enum Found {
    /// A good frame, and where the next one begins.
    Frame {
        /// The frame.
        frame: Frame,
        /// Its hash.
        hash: [u8; 32],
        /// Where it begins.
        offset: u64,
        /// Where it ends.
        end: u64,
    },
    /// Nothing but zeros, or nothing at all.
    End {
        /// Where.
        offset: u64,
    },
    /// Something that is no good frame.
    Bad {
        /// Where.
        offset: u64,
        /// What is wrong.
        why: Malformed,
    },
}

impl Segment {
    /// Which segment it is.
    pub fn id(&self) -> SegmentId {
        let number = match self.header.kind {
            SegmentKind::Base => self.header.follows,
            SegmentKind::Later => self.header.first,
        };
        SegmentId { number, salt: self.header.salt }
    }

    /// Its length in bytes.
    pub fn size_bytes(&self) -> Result<u64> {
        Ok(self.file.meta().map_err(|e| Error::io("read", &self.path, e))?.size_bytes)
    }

    /// Starts reading frames at `offset`.
    pub fn frames(&self, offset: u64) -> Frames<'_> {
        Frames { segment: self, offset, buffer: Vec::new(), buffer_at: offset, to_the_end: false }
    }
}

impl Journal {
    /// Opens the segment `name`. A header that is not right is [`ErrorKind::Damaged`].
    pub(crate) fn open_segment(&self, name: &str, how: Open) -> Result<Segment> {
        let path = self.directory.join(name);
        let file = self.machine.open(&path, how).map_err(|e| Error::io("open", &path, e))?;
        let mut bytes = [0; HEADER_BYTES];
        let length = file.read_at(&mut bytes, 0).map_err(|e| Error::io("read", &path, e))?;
        let header = Header::decode(&bytes[..length]).map_err(|why| match why {
            Malformed::Reserved => later_program(format!("read the header of {}", path.display()), &why),
            why => damaged_header(&path, &why.to_string()),
        })?;
        if header.store != self.store || super::file_name(&header) != name {
            return Err(damaged_header(&path, "it belongs to another store or file"));
        }
        let key = header.key();
        Ok(Segment { header, key, name: name.to_owned(), file: file.into(), path })
    }
}

fn damaged_header(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Damaged, format!("read the header of the journal segment {}", path.display()), why)
}

/// What a later program wrote is neither damage nor the remains of a write: this one reads no further.
fn later_program(attempt: String, why: &Malformed) -> Error {
    Error::new(ErrorKind::Unsupported, attempt, format!("{why}; a later version of larder wrote it"))
}

/// Reads the frames of one segment in order.
pub struct Frames<'a> {
    segment: &'a Segment,
    offset: u64,
    buffer: Vec<u8>,
    buffer_at: u64,
    /// Whether the file ended where the buffer does, when it was read. What was appended since is read by whoever looks
    /// whether this still is the end.
    to_the_end: bool,
}

impl Frames<'_> {
    /// What stands at the current offset; a good frame moves it on.
    pub fn take(&mut self) -> Result<Found> {
        let offset = self.offset;
        let header = self.bytes(offset, FRAME_HEADER_BYTES)?;
        if header.is_empty() {
            return Ok(Found::End { offset });
        }
        let claim = match Frame::claim(header) {
            Ok(claim) => claim,
            Err(_) if self.only_zeros(offset)? => return Ok(Found::End { offset }),
            Err(why) => return Ok(Found::Bad { offset, why }),
        };
        let key = self.segment.key;
        match Frame::decode(self.bytes(offset, claim.frame_bytes)?, &key, offset) {
            Ok((frame, hash)) => {
                self.offset = offset + claim.frame_bytes as u64;
                Ok(Found::Frame { frame, hash, offset, end: self.offset })
            }
            Err(Malformed::Reserved) => {
                let attempt = format!("read the frame at offset {offset} of {}", self.segment.path.display());
                Err(later_program(attempt, &Malformed::Reserved))
            }
            Err(why) => Ok(Found::Bad { offset, why }),
        }
    }

    /// Moves to the next good frame behind a bad place; `false` if there is none.
    pub fn skip_to_good(&mut self) -> Result<bool> {
        let size = self.segment.size_bytes()?;
        self.to_the_end = false;
        let mut at = self.offset + FRAME_ALIGN;
        while at + FRAME_HEADER_BYTES as u64 <= size {
            let claim = Frame::claim(self.bytes(at, FRAME_HEADER_BYTES)?);
            if let Ok(claim) = claim {
                let key = self.segment.key;
                let decoded = Frame::decode(self.bytes(at, claim.frame_bytes)?, &key, at);
                if matches!(decoded, Ok(_) | Err(Malformed::Reserved)) {
                    self.offset = at;
                    return Ok(true);
                }
            }
            at += FRAME_ALIGN;
        }
        Ok(false)
    }

    /// The bytes from `offset` on, fewer than `length` only at the end of the file.
    fn bytes(&mut self, offset: u64, length: usize) -> Result<&[u8]> {
        let have_to = self.buffer_at + self.buffer.len() as u64;
        let there = self.buffer_at..=have_to;
        if !there.contains(&offset) || (offset + length as u64 > have_to && !self.to_the_end) {
            self.fill(offset, length.max(READ_BYTES))?;
        }
        let start = (offset - self.buffer_at) as usize;
        Ok(&self.buffer[start.min(self.buffer.len())..self.buffer.len().min(start + length)])
    }

    /// Whether there is a good frame at `offset` after all, read again from the file.
    pub fn is_good_now(&mut self, offset: u64) -> Result<bool> {
        (self.to_the_end, self.buffer) = (false, Vec::new());
        let Ok(claim) = Frame::claim(self.bytes(offset, FRAME_HEADER_BYTES)?) else { return Ok(false) };
        let key = self.segment.key;
        Ok(Frame::decode(self.bytes(offset, claim.frame_bytes)?, &key, offset).is_ok())
    }

    /// Goes back to `offset`.
    pub fn go_to(&mut self, offset: u64) {
        self.offset = offset;
    }

    fn fill(&mut self, offset: u64, length: usize) -> Result<()> {
        if self.buffer.capacity() < length {
            // Memory that comes zeroed from the system is not touched beyond what is read.
            self.buffer = vec![0; length];
        }
        self.buffer.resize(length, 0);
        self.buffer_at = offset;
        let read = self.segment.file.read_at(&mut self.buffer, offset);
        let read = read.map_err(|e| Error::io("read", &self.segment.path, e))?;
        self.buffer.truncate(read);
        self.to_the_end = read < length;
        Ok(())
    }

    fn only_zeros(&mut self, from: u64) -> Result<bool> {
        let mut at = from;
        loop {
            let bytes = self.bytes(at, READ_BYTES)?;
            if bytes.is_empty() {
                return Ok(true);
            }
            if bytes.iter().any(|b| *b != 0) {
                return Ok(false);
            }
            at += bytes.len() as u64;
        }
    }
}
