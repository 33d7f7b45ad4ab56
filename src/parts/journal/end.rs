//! Whether the journal still ends where it is known to end, for readers that ask again and again.
//!
//! To know it takes a listing, since a later segment may be there. But a directory whose time is as it was has the same
//! entries, unless they were changed within one tick of the clock that it was listed in, which is why a time that is not long
//! past counts for nothing (as git takes a file for changed that is as young as its index). A clock that is set back to the
//! very time can hide a segment from a reader until the next change; whoever writes lists each time.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};

use super::{Cursor, Journal, SegmentId};
use crate::format::frame::{FRAME_ALIGN, FRAME_HEADER_BYTES};
use crate::machine::{File, Meta, Open};
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Error, Result};

/// Of so many questions one keeps what was listed: most processes ask a few times, and it takes an open file.
const QUESTIONS: u32 = 8;

/// How long past a directory's time must be. Filesystems tell times to two seconds, at worst.
const SETTLED_NS: u64 = 4_000_000_000;

/// What the last listing showed.
#[derive(Default)]
pub(super) struct End {
    asked: AtomicU32,
    listed: RwLock<Option<Listed>>,
}

/// A listing that holds as long as the directory is this one and has this time.
struct Listed {
    directory: Directory,
    /// The last segment, and its file.
    last: SegmentId,
    segment: Box<dyn File>,
}

/// What is where the journal should be: another one that was put in its place has another number.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Directory {
    device: u64,
    inode: u64,
    mtime_ns: i64,
}

/// Whether a segment that was followed to `offset` still ends there: it goes so far, and what is behind it is nothing, or
/// zeros where the next frame would begin. Frames are appended from their first byte on. Only a crash of the machine leaves
/// one without that, and no process that followed the segment before it is there after it.
pub(super) fn ends_at(segment: &dyn File, offset: u64) -> io::Result<bool> {
    const BEFORE: usize = FRAME_ALIGN as usize;
    let mut bytes = [0; BEFORE + FRAME_HEADER_BYTES];
    let read = segment.read_at(&mut bytes, offset.saturating_sub(BEFORE as u64))?;
    Ok(read >= BEFORE && bytes[BEFORE..].iter().all(|byte| *byte == 0))
}

impl Journal {
    /// As [`Journal::is_at_end`], seldom with a listing. Only on a filesystem that tells the time of a directory as it is, as
    /// local ones do.
    pub fn still_ends_at(&self, cursor: &Cursor) -> Result<bool> {
        if let Some(at_end) = self.ends_as_listed(cursor) {
            return Ok(at_end);
        }
        if self.end.asked.fetch_add(1, Ordering::Relaxed) % QUESTIONS < QUESTIONS - 1 {
            return self.is_at_end(cursor);
        }
        // It is looked at before it is listed.
        let directory = self.look().filter(|directory| self.is_settled(directory) || planted(Bug::JustListed));
        let Some(path) = self.last_if_of(cursor)? else { return Ok(false) };
        let Ok(segment) = self.machine.open(&path, Open::Read) else { return self.is_at_end(cursor) };
        let at_end = ends_at(segment.as_ref(), cursor.offset).map_err(|e| Error::io("read", &path, e))?;
        let listed = directory.map(|directory| Listed { directory, last: cursor.segment, segment });
        *self.end.listed.write().unwrap_or_else(PoisonError::into_inner) = listed;
        Ok(at_end)
    }

    /// Whether `cursor` is at the end, if what was listed still holds.
    fn ends_as_listed(&self, cursor: &Cursor) -> Option<bool> {
        let listed = self.end.listed.read().unwrap_or_else(PoisonError::into_inner);
        let listed = listed.as_ref().filter(|listed| listed.last == cursor.segment)?;
        if self.look() != Some(listed.directory) && !planted(Bug::ListedForever) {
            return None;
        }
        ends_at(listed.segment.as_ref(), cursor.offset).ok()
    }

    fn look(&self) -> Option<Directory> {
        let Meta { device, inode, mtime_ns, .. } = self.machine.lstat(&self.directory).ok()?;
        Some(Directory { device, inode, mtime_ns })
    }

    fn is_settled(&self, directory: &Directory) -> bool {
        let since = u64::try_from(directory.mtime_ns).unwrap_or(u64::MAX);
        since.saturating_add(SETTLED_NS) < self.machine.now_ns()
    }
}
