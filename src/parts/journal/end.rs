//! Whether the journal still ends where it is known to end.
//!
//! To know it takes a listing, since a later segment may be there. Whoever asks again and again lists once: a directory whose
//! time is as it was has the same entries, unless they were changed within one tick of the clock that it was listed in, which is
//! why a time that is not long past counts for nothing (as git takes a file for changed that is as young as its index).

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};

use super::{Cursor, Journal, SegmentId, file_name_has_salt};
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

impl Journal {
    /// Whether nothing can have been appended behind `cursor`: it is at the end of the last segment. On a filesystem that
    /// tells the time of a directory as it is, as local ones do, this seldom takes a listing.
    pub fn is_at_end(&self, cursor: &Cursor) -> Result<bool> {
        if let Some(at_end) = self.ends_as_listed(cursor) {
            return Ok(at_end);
        }
        if self.end.asked.fetch_add(1, Ordering::Relaxed) % QUESTIONS != QUESTIONS - 1 {
            return self.ends_at(cursor);
        }
        let before = self.look().filter(|directory| self.is_settled(directory) || planted(Bug::JustListed));
        let at_end = self.ends_at(cursor)?;
        let listed = before.filter(|_| at_end).and_then(|directory| {
            let (_, name) = self.listing().ok()?.later.pop()?;
            let segment = self.machine.open(&self.directory.join(&name), Open::Read).ok()?;
            let last = cursor.segment;
            file_name_has_salt(&name, &last.salt).then_some(Listed { directory, last, segment })
        });
        *self.end.listed.write().unwrap_or_else(PoisonError::into_inner) = listed;
        Ok(at_end)
    }

    /// The same, found by listing.
    pub fn ends_at(&self, cursor: &Cursor) -> Result<bool> {
        let listing = self.listing()?;
        let known = |(number, _): &&(u64, String)| !planted(Bug::SegmentsNotListed) || *number == cursor.segment.number;
        let Some((number, name)) = listing.later.iter().rfind(known) else { return Ok(false) };
        if *number != cursor.segment.number || !file_name_has_salt(name, &cursor.segment.salt) {
            return Ok(false);
        }
        let path = self.directory.join(name);
        match self.machine.lstat(&path) {
            Ok(meta) => Ok(meta.size_bytes == cursor.offset),
            // Its generation was replaced since the listing.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::io("read", &path, e)),
        }
    }

    /// Whether `cursor` is at the end, if what was listed still holds.
    fn ends_as_listed(&self, cursor: &Cursor) -> Option<bool> {
        let listed = self.end.listed.read().unwrap_or_else(PoisonError::into_inner);
        let listed = listed.as_ref().filter(|listed| listed.last == cursor.segment)?;
        if self.look() != Some(listed.directory) && !planted(Bug::ListedForever) {
            return None;
        }
        Some(listed.segment.meta().ok()?.size_bytes == cursor.offset)
    }

    fn look(&self) -> Option<Directory> {
        let Meta { device, inode, mtime_ns, .. } = self.machine.lstat(&self.directory).ok()?;
        Some(Directory { device, inode, mtime_ns })
    }

    /// Whether the time of the directory, which is looked at before it is listed, is long past.
    fn is_settled(&self, directory: &Directory) -> bool {
        let since = u64::try_from(directory.mtime_ns).unwrap_or(u64::MAX);
        since.saturating_add(SETTLED_NS) < self.machine.now_ns()
    }
}
