//! Appending to the journal, beginning segments, and cutting torn tails. Only for whoever holds `lock`.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::chain::TornTail;
use super::end::ends_at;
use super::segment::Segment;
use super::{Cursor, Journal, SegmentId};
use crate::format::frame::Frame;
use crate::format::header::{HEADER_BYTES, Header, SegmentKind};
use crate::machine::{File, Machine, Open};
use crate::vocabulary::limits::{PREALLOCATED_AFTER, PREALLOCATED_BYTES, PREALLOCATED_FRAME_BYTES};
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Error, ErrorKind, Result};

/// The last segment, open for appending.
pub struct Appender {
    segment: Segment,
    ahead: Cell<Ahead>,
}

/// Room that a segment was given ahead of its frames. One that a frame fits into grows by nothing, so a sync has the
/// frame to write and not also that the file is longer: two thirds of the time on ext4. It reads as zeros, which are the end of
/// a segment as its end is.
#[derive(Clone, Copy, Default)]
struct Ahead {
    /// Small frames appended so far.
    appended: u32,
    /// Where the room ends, or would, if it could be had; zero where none was asked for.
    through: u64,
}

impl Appender {
    fn of(segment: Segment) -> Self {
        Appender { segment, ahead: Cell::default() }
    }

    /// Which segment it is.
    pub fn id(&self) -> SegmentId {
        self.segment.id()
    }

    /// Writes `frame` behind `cursor` and gives the cursor behind it. Nothing is synced yet. `ahead`: whether room is
    /// to be made for many more.
    pub fn append(&self, cursor: &Cursor, frame: &Frame, ahead: bool) -> Result<Cursor> {
        let (bytes, hash) = frame.encode(&self.segment.key, cursor.offset);
        if ahead && bytes.len() as u64 <= PREALLOCATED_FRAME_BYTES {
            self.make_room(cursor.offset, bytes.len() as u64);
        }
        let done = self.segment.file.write_at(&bytes, cursor.offset);
        done.map_err(|e| Error::io("append to", &self.segment.path, e))?;
        Ok(Cursor {
            segment: cursor.segment,
            offset: cursor.offset + bytes.len() as u64,
            last: Some(cursor.offset),
            sequence: frame.sequence,
            hash,
            synced_through: cursor.synced_through.max(frame.synced_through),
            time_ns: frame.time_ns,
        })
    }

    /// Syncs what was appended.
    pub fn sync(&self) -> Result<()> {
        self.segment.file.sync_data().map_err(|e| Error::io("sync", &self.segment.path, e))
    }

    /// Failing is no harm: then the file grows with each frame, and it is tried again where this room would have ended.
    fn make_room(&self, offset: u64, frame_bytes: u64) {
        let Ahead { mut appended, mut through } = self.ahead.get();
        appended = appended.saturating_add(1);
        if appended > PREALLOCATED_AFTER && offset + frame_bytes > through {
            let _ = self.segment.file.extend(offset, frame_bytes + PREALLOCATED_BYTES);
            through = offset + frame_bytes + PREALLOCATED_BYTES;
        }
        self.ahead.set(Ahead { appended, through });
    }

    /// Whether there may be room behind `cursor` that this made.
    pub fn has_room(&self, cursor: &Cursor) -> bool {
        self.id() == cursor.segment && self.ahead.get().through > cursor.offset
    }

    /// Gives the room behind `cursor` back. Failing is no harm: zeros stay.
    pub fn give_room_back(&self, cursor: &Cursor) {
        if self.has_room(cursor) {
            let _ = self.segment.file.set_len(cursor.offset);
            self.ahead.set(Ahead::default());
        }
    }

    /// Whether nothing stands behind `cursor`.
    pub fn ends_at(&self, cursor: &Cursor) -> Result<bool> {
        ends_at(self.segment.file.as_ref(), cursor.offset).map_err(|e| Error::io("read", &self.segment.path, e))
    }

    /// Takes back bytes that were appended and not synced. An error leaves the outcome open.
    pub fn take_back(&self, cursor: &Cursor) -> Result<()> {
        self.ahead.set(Ahead::default());
        let file = &self.segment.file;
        file.set_len(cursor.offset).and_then(|()| file.sync_data()).map_err(|e| Error::io("cut", &self.segment.path, e))
    }

    /// Writes the last frame again, byte for byte, and syncs it: nobody vouches for bytes that a dead process wrote.
    pub fn write_again(&self, cursor: &Cursor) -> Result<()> {
        let Some(start) = cursor.last else { return Ok(()) };
        let mut bytes = vec![0; usize::try_from(cursor.offset - start).expect("a frame fits memory")];
        let file = &self.segment.file;
        let read = file.read_at(&mut bytes, start).map_err(|e| Error::io("read", &self.segment.path, e))?;
        if read != bytes.len() {
            return Err(Error::new(
                ErrorKind::Damaged,
                format!("read the last frame of {}", self.segment.path.display()),
                "it ends too early",
            ));
        }
        if !planted(Bug::LastFrameNotWritten) {
            file.write_at(&bytes, start).map_err(|e| Error::io("write", &self.segment.path, e))?;
        }
        self.sync()
    }

    /// What the last frame before `cursor` follows: where it is the first of its segment, that may be further back
    /// than the number before its own.
    pub fn before_last(&self, cursor: &Cursor, frame: &Frame) -> Cursor {
        let header = &self.segment.header;
        let (sequence, hash) = match cursor.last {
            Some(start) if start == HEADER_BYTES as u64 => (header.follows, header.follows_hash),
            _ => (frame.sequence - 1, frame.previous),
        };
        Cursor { sequence, hash, ..*cursor }
    }

    /// The last frame before `cursor`, to be copied elsewhere.
    pub fn last_frame(&self, cursor: &Cursor) -> Result<Option<Frame>> {
        let Some(start) = cursor.last else { return Ok(None) };
        match self.segment.frames(start).take()? {
            super::segment::Found::Frame { frame, .. } => Ok(Some(frame)),
            _ => Ok(None),
        }
    }
}

impl Journal {
    /// Opens the segment at `cursor` for appending.
    pub fn appender(&self, cursor: &Cursor) -> Result<Appender> {
        let listing = self.listing()?;
        let found = listing.later.iter().find(|(number, name)| {
            *number == cursor.segment.number && super::file_name_has_salt(name, &cursor.segment.salt)
        });
        let (_, name) = found.ok_or_else(|| {
            Error::new(ErrorKind::Io, "open the last segment of the journal", "it went away under the lock")
        })?;
        Ok(Appender::of(self.open_segment(name, Open::ReadWrite)?))
    }

    /// Opens the directory of the journal, to sync what is changed in it from now on.
    pub fn directory_handle(&self) -> Result<Box<dyn File>> {
        self.machine.open(&self.directory, Open::Directory).map_err(|e| Error::io("open", &self.directory, e))
    }

    /// Begins the first segment of a new store. A store without any segment is damaged.
    pub fn begin_first(&self, sync: bool) -> Result<()> {
        let nothing = Cursor {
            segment: SegmentId { number: 0, salt: [0; 16] },
            offset: 0,
            last: None,
            sequence: 0,
            hash: [0; 32],
            synced_through: 0,
            time_ns: 0,
        };
        self.begin_segment(&nothing, 1, &[], sync).map(drop)
    }

    /// Begins a segment that follows `cursor` and whose first frame has the number `first`, with `frames` at its head
    /// (a fence, or frames copied with their numbers). It is whole and synced when it gets its name. The cursor
    /// returned is behind the last of `frames`.
    pub fn begin_segment(
        &self,
        cursor: &Cursor,
        first: u64,
        frames: &[Frame],
        sync: bool,
    ) -> Result<(Appender, Cursor)> {
        let directory = self.directory_handle()?;
        let header = self.header(SegmentKind::Later, first, cursor.sequence, cursor.hash)?;
        let new = self.new_file(&header)?;
        let key = header.key();
        let write = |bytes: &[u8], at: u64| new.file.write_at(bytes, at).map_err(|e| Error::io("write", &new.path, e));
        write(&header.encode(), 0)?;
        let mut now = Cursor {
            segment: SegmentId { number: first, salt: header.salt },
            offset: HEADER_BYTES as u64,
            last: None,
            ..*cursor
        };
        for frame in frames {
            let (bytes, hash) = frame.encode(&key, now.offset);
            write(&bytes, now.offset)?;
            now.last = Some(now.offset);
            now.offset += bytes.len() as u64;
            (now.sequence, now.hash, now.time_ns) = (frame.sequence, hash, frame.time_ns);
        }
        let file = self.publish(new, &header, directory.as_ref(), sync)?;
        let name = super::file_name(&header);
        let path = self.directory.join(&name);
        Ok((Appender::of(Segment { header, key, name, file, path }), now))
    }

    /// Starts a base that reaches `cursor`; it gets its name when it is whole.
    pub fn begin_base(&self, cursor: &Cursor) -> Result<BaseWriter> {
        let directory = self.directory_handle()?;
        let header = self.header(SegmentKind::Base, 1, cursor.sequence, cursor.hash)?;
        let new = self.new_file(&header)?;
        new.file.write_at(&header.encode(), 0).map_err(|e| Error::io("write", &new.path, e))?;
        let key = header.key();
        Ok(BaseWriter {
            journal: self.clone(),
            header,
            key,
            new,
            directory,
            offset: HEADER_BYTES as u64,
            sequence: 0,
            hash: [0; 32],
        })
    }

    /// Cuts a torn tail. What is cut is kept at `keep`, if it can be kept, and cut all the same if not.
    pub fn cut(&self, torn: &TornTail, keep: &Path, mode: u32) -> Result<bool> {
        let path = self.directory.join(&torn.segment);
        let file = self.machine.open(&path, Open::ReadWrite).map_err(|e| Error::io("open", &path, e))?;
        let kept = self.keep_tail(file.as_ref(), torn.offset, keep, mode).is_ok();
        file.set_len(torn.offset).and_then(|()| file.sync()).map_err(|e| Error::io("cut the torn end of", &path, e))?;
        Ok(kept)
    }

    fn keep_tail(&self, from: &dyn File, offset: u64, keep: &Path, mode: u32) -> std::io::Result<()> {
        let size = from.meta()?.size_bytes;
        let mut bytes = vec![0; usize::try_from(size - offset).unwrap_or(usize::MAX).min(64 << 20)];
        let read = from.read_at(&mut bytes, offset)?;
        let copy = self.machine.open(keep, Open::CreateNew { mode })?;
        copy.write_at(&bytes[..read], 0)?;
        copy.sync()
    }

    /// Removes what neither this generation nor the one before it needs. Files that are gone already are no error.
    /// `written` is the file name of a base that was just written: it stands for every other one of its number.
    pub fn drop_old_generations(&self, written: Option<&str>) -> Result<()> {
        let listing = self.listing()?;
        let stood_for =
            listing.bases.iter().find(|(_, name)| Some(name.as_str()) == written).map(|(number, _)| *number);
        let mut numbers: Vec<u64> = listing.bases.iter().map(|(number, _)| *number).collect();
        numbers.dedup();
        let previous = numbers.len().checked_sub(2).map(|i| numbers[i]);
        for (number, name) in &listing.bases {
            let replaced = Some(*number) == stood_for && Some(name.as_str()) != written;
            if replaced || previous.is_some_and(|previous| *number < previous) {
                self.remove(name)?;
            }
        }
        let Some(previous) = previous else { return Ok(()) };
        for (i, (_, name)) in listing.later.iter().enumerate() {
            // A segment is needed as long as it may hold a frame behind the previous base.
            if listing.later.get(i + 1).is_some_and(|(next, _)| *next <= previous + 1) {
                self.remove(name)?;
            }
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<()> {
        let path = self.directory.join(name);
        match self.machine.unlink(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &path, e)),
            _ => Ok(()),
        }
    }

    /// A header with a salt of its own. Its first four bytes count the segments: when a frame is copied with its number,
    /// two segments may begin with the same one, and their names tell which is the later.
    fn header(&self, kind: SegmentKind, first: u64, follows: u64, follows_hash: [u8; 32]) -> Result<Header> {
        let mut salt = [0; 16];
        self.machine.random(&mut salt).map_err(|e| Error::system("get random bytes", e))?;
        let latest = self.listing()?.later.iter().map(|(_, name)| super::ordinal(name)).max().unwrap_or(0);
        salt[..4].copy_from_slice(&latest.saturating_add(1).to_be_bytes());
        Ok(Header { kind, store: self.store, salt, first, follows, follows_hash })
    }

    /// A file under a name that no reader takes for a segment. It goes with its handle, unless it got its name.
    fn new_file(&self, header: &Header) -> Result<NewFile> {
        let path = self.directory.join(format!("{}.new", super::file_name(header)));
        let file = self.machine.open(&path, Open::CreateNew { mode: 0o600 | self.mode() });
        let file = file.map_err(|e| Error::io("create", &path, e))?;
        Ok(NewFile { machine: Arc::clone(&self.machine), path, file: file.into() })
    }

    /// Segments are as readable as the directory that they are in.
    fn mode(&self) -> u32 {
        self.machine.lstat(&self.directory).map_or(0, |meta| meta.mode & 0o664)
    }

    fn publish(&self, new: NewFile, header: &Header, directory: &dyn File, sync: bool) -> Result<Arc<dyn File>> {
        let base_too_early = header.kind == SegmentKind::Base && planted(Bug::BaseBeforeSync);
        if sync && !base_too_early {
            new.file.sync().map_err(|e| Error::io("sync", &new.path, e))?;
        }
        let path = self.directory.join(super::file_name(header));
        self.machine.rename(&new.path, &path).map_err(|e| Error::io("name", &path, e))?;
        if sync && !planted(Bug::JournalDirSync) {
            directory.sync().map_err(|e| Error::io("sync", &self.directory, e))?;
        }
        Ok(Arc::clone(&new.file))
    }

    /// Removes the unfinished files of writers that are dead. Only under `compaction` and `lock` together.
    pub fn remove_unfinished(&self) -> Result<()> {
        let entries = self.machine.list(&self.directory).map_err(|e| Error::io("list", &self.directory, e))?;
        for entry in entries {
            if let Some(name) = entry.name.to_str().filter(|name| name.ends_with(".new")) {
                self.remove(name)?;
            }
        }
        Ok(())
    }
}

/// A segment that has no name of its own yet.
struct NewFile {
    machine: Arc<dyn Machine>,
    path: PathBuf,
    file: Arc<dyn File>,
}

impl Drop for NewFile {
    /// Names are random: what a failure left would stay, and most failures are of a full disk. Once it was renamed
    /// there is nothing here any more.
    fn drop(&mut self) {
        let _ = self.machine.unlink(&self.path);
    }
}

/// Writes a base, frame by frame.
pub struct BaseWriter {
    journal: Journal,
    header: Header,
    key: [u8; 32],
    new: NewFile,
    directory: Box<dyn File>,
    offset: u64,
    sequence: u64,
    hash: [u8; 32],
}

impl BaseWriter {
    /// Writes one more frame with this payload; its number is the base's own.
    pub fn frame(&mut self, payload: Vec<u8>, time_ns: u64) -> Result<()> {
        self.sequence += 1;
        let frame = Frame { sequence: self.sequence, synced_through: 0, time_ns, previous: self.hash, payload };
        let (bytes, hash) = frame.encode(&self.key, self.offset);
        self.new.file.write_at(&bytes, self.offset).map_err(|e| Error::io("write", &self.new.path, e))?;
        self.offset += bytes.len() as u64;
        self.hash = hash;
        Ok(())
    }

    /// Syncs it and gives it its name, which is returned; the last frame must have been the closing one.
    pub fn finish(self) -> Result<String> {
        self.journal.publish(self.new, &self.header, self.directory.as_ref(), true)?;
        Ok(super::file_name(&self.header))
    }
}
