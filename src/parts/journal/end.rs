//! Whether the journal still ends where it is known to end.
//!
//! To know it takes a listing, since a later segment may be there. Whoever asks again and again lists once: a directory whose
//! time is as it was has the same entries, unless they were changed within one tick of the clock that it was listed in, which is
//! why a time that is not long past counts for nothing (as git takes a file for changed that is as young as its index).

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};

use super::{Cursor, Journal, SegmentId, file_name_has_salt};
use crate::machine::{File, Open};
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Error, Result};

/// Of so many questions one keeps what was listed: most processes ask a few times, and it takes two open files.
const QUESTIONS: u32 = 8;

/// How long past a directory's time must be. Filesystems tell times to two seconds, at worst.
const SETTLED_NS: u64 = 4_000_000_000;

/// What the last listing showed.
#[derive(Default)]
pub(super) struct End {
    asked: AtomicU32,
    listed: RwLock<Option<Listed>>,
}

/// A listing that holds as long as the directory has this time.
struct Listed {
    directory: Box<dyn File>,
    mtime_ns: i64,
    /// The last segment, and its file.
    last: SegmentId,
    segment: Box<dyn File>,
}

impl Listed {
    /// Whether `cursor` is at the end; `None` where it takes a listing to know.
    fn is_at_end(&self, cursor: &Cursor) -> Option<bool> {
        let unchanged = || self.directory.meta().is_ok_and(|meta| meta.mtime_ns == self.mtime_ns);
        if self.last != cursor.segment || !(unchanged() || planted(Bug::ListedForever)) {
            return None;
        }
        Some(self.segment.meta().ok()?.size_bytes == cursor.offset)
    }
}

impl Journal {
    /// Whether nothing can have been appended behind `cursor`: it is at the end of the last segment. On a filesystem that
    /// tells the time of a directory as it is, as local ones do, this seldom takes a listing.
    pub fn is_at_end(&self, cursor: &Cursor) -> Result<bool> {
        let listed = self.end.listed.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(at_end) = listed.as_ref().and_then(|listed| listed.is_at_end(cursor)) {
            return Ok(at_end);
        }
        drop(listed);
        if self.end.asked.fetch_add(1, Ordering::Relaxed) % QUESTIONS != QUESTIONS - 1 {
            return self.ends_at(cursor);
        }
        let before = self.settled_directory();
        let at_end = self.ends_at(cursor)?;
        let listed = before.filter(|_| at_end).and_then(|(directory, mtime_ns)| {
            let (_, name) = self.listing().ok()?.later.pop()?;
            let segment = self.machine.open(&self.directory.join(&name), Open::Read).ok()?;
            let last = cursor.segment;
            file_name_has_salt(&name, &last.salt).then_some(Listed { directory, mtime_ns, last, segment })
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

    /// The directory and its time, if that is long past; it is looked at before it is listed.
    fn settled_directory(&self) -> Option<(Box<dyn File>, i64)> {
        let directory = self.machine.open(&self.directory, Open::Directory).ok()?;
        let mtime_ns = directory.meta().ok()?.mtime_ns;
        let settled = u64::try_from(mtime_ns).ok()?.checked_add(SETTLED_NS)? < self.machine.now_ns();
        (settled || planted(Bug::JustListed)).then_some((directory, mtime_ns))
    }
}
