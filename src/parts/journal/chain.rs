//! Base and later segments read as one sequence, and what is wrong with it.
//!
//! Reading never judges and never changes anything: it tells what it saw. Whoever holds `lock` cuts a torn tail or
//! puts up a fence because of it.

use std::cmp::Ordering;
use std::path::PathBuf;

use super::end::ends_at;
use super::segment::{Found, Segment};
use super::{Cursor, Journal, Listing, SegmentId};
use crate::format::Malformed;
use crate::format::frame::Frame;
use crate::format::header::HEADER_BYTES;
use crate::format::record::{self, EndRecord, Record};
use crate::machine::Open;
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Error, ErrorKind, Result};

/// A stretch of the journal that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The first sequence that may be lost.
    pub from: u64,
    /// The last one.
    pub to: u64,
    /// What was found, and in which file.
    pub reason: String,
}

/// Bytes after the last frame that are no frame: the remains of a write that was cut short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The segment's file name.
    pub segment: String,
    /// Where the frames end.
    pub offset: u64,
}

/// What reading the chain came to.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The end, from where reading can go on.
    pub cursor: Cursor,
    /// What is damaged.
    pub damage: Vec<Damage>,
    /// What the last write left unfinished.
    pub torn: Option<TornTail>,
    /// The frames that were read.
    pub frames: u64,
}

/// Where a frame was read.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The segment's file name.
    pub segment: &'a str,
    /// Where it begins.
    pub offset: u64,
    /// Where it ends.
    pub end: u64,
    /// Its hash.
    pub hash: [u8; 32],
    /// Whether it is of a base: then its number is the base's own.
    pub base: bool,
}

/// Takes the frames as they are read, with their records.
pub type Sink<'a> = dyn FnMut(&Frame, &[Record], Place<'_>) -> Result<()> + 'a;

/// Reading went past what the journal says now, or its segments are gone: start again from the base.
pub fn is_outgrown(error: &Error) -> bool {
    error.kind() == ErrorKind::OutcomeUnknown
}

fn outgrown() -> Error {
    Error::new(ErrorKind::OutcomeUnknown, "follow the journal", "it was compacted, or a branch of it was dropped")
}

impl Journal {
    /// Reads from the base to the end. `synced` is the highest sequence otherwise known to be on disk.
    pub fn read_all(&self, synced: u64, sink: &mut Sink<'_>) -> Result<Reading> {
        let mut tries = 0;
        loop {
            let listing = self.listing()?;
            let mut damage = Vec::new();
            match self.read_base(&listing, &mut damage, sink) {
                Ok(start) => return self.read_later(&listing, start, synced, damage, sink),
                // The generation was replaced between listing and opening.
                Err(e) if e.kind() == ErrorKind::NotFound && tries < 8 => tries += 1,
                Err(e) => return Err(e),
            }
        }
    }

    /// Reads on from `cursor`. An error for which [`is_outgrown`] holds means: start again.
    pub fn read_on(&self, cursor: &Cursor, synced: u64, sink: &mut Sink<'_>) -> Result<Reading> {
        let listing = self.listing()?;
        let at = listing.later.iter().position(|(number, name)| {
            *number == cursor.segment.number && super::file_name_has_salt(name, &cursor.segment.salt)
        });
        let mut rest = Listing { bases: Vec::new(), later: listing.later[at.ok_or_else(outgrown)?..].to_vec() };
        if planted(Bug::SegmentsNotListed) {
            rest.later.truncate(1);
        }
        self.read_later(&rest, *cursor, synced, Vec::new(), sink)
    }

    /// Whether nothing can have been appended behind `cursor`: it is at the end of the last segment.
    pub fn is_at_end(&self, cursor: &Cursor) -> Result<bool> {
        let Some(path) = self.last_if_of(cursor)? else { return Ok(false) };
        let looked = self.machine.lstat(&path).and_then(|meta| match meta.size_bytes.cmp(&cursor.offset) {
            Ordering::Less => Ok(false),
            Ordering::Equal => Ok(true),
            Ordering::Greater => ends_at(self.machine.open(&path, Open::Read)?.as_ref(), cursor.offset),
        });
        match looked {
            // Its generation was replaced since the listing.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            looked => looked.map_err(|e| Error::io("read", &path, e)),
        }
    }

    /// Whether the last segment is the one of `cursor`; with `whole`, also that its file ends there.
    pub fn is_last(&self, cursor: &Cursor, whole: bool) -> Result<bool> {
        let Some(path) = self.last_if_of(cursor)? else { return Ok(false) };
        Ok(!whole || self.machine.lstat(&path).is_ok_and(|meta| meta.size_bytes == cursor.offset))
    }

    /// Where the last segment is, if it is the one of `cursor`.
    pub(super) fn last_if_of(&self, cursor: &Cursor) -> Result<Option<PathBuf>> {
        let listing = self.listing()?;
        let known = |(number, _): &&(u64, String)| !planted(Bug::SegmentsNotListed) || *number == cursor.segment.number;
        let last = listing.later.iter().rfind(known).filter(|(number, name)| {
            *number == cursor.segment.number && super::file_name_has_salt(name, &cursor.segment.salt)
        });
        Ok(last.map(|(_, name)| self.directory.join(name)))
    }

    /// What the closing record of the newest base says, if that base reaches `sequence` and is whole.
    pub fn base_through(&self, sequence: u64) -> Result<Option<EndRecord>> {
        let listing = self.listing()?;
        let Some((_, name)) = listing.bases.last().filter(|(number, _)| *number == sequence) else { return Ok(None) };
        match self.open_segment(name, Open::Read) {
            Ok(base) => Ok(base_end(&base)?.filter(|(_, whole)| *whole).map(|(end, _)| end)),
            Err(e) if matches!(e.kind(), ErrorKind::Damaged | ErrorKind::NotFound) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Whether the frame before `cursor`, by number and hash, still stands there, and nothing says that the journal goes
    /// on from before it.
    pub fn holds(&self, cursor: &Cursor) -> Result<bool> {
        let listing = self.listing()?;
        let found = listing.later.iter().position(|(number, name)| {
            *number == cursor.segment.number && super::file_name_has_salt(name, &cursor.segment.salt)
        });
        let Some(at) = found else { return Ok(false) };
        let Ok(segment) = self.open_if_whole(&listing.later[at].1)? else { return Ok(false) };
        let last = match cursor.last {
            // Its hash is not told where it was not known.
            None if segment.header.follows_hash == [0; 32] => {
                (segment.header.follows, cursor.hash, HEADER_BYTES as u64)
            }
            None => (segment.header.follows, segment.header.follows_hash, HEADER_BYTES as u64),
            Some(offset) => match segment.frames(offset).take()? {
                Found::Frame { frame, hash, end, .. } => (frame.sequence, hash, end),
                _ => return Ok(false),
            },
        };
        let successor = listing.later.get(at + 1).map(|(_, name)| self.open_if_whole(name)).transpose()?;
        let goes_on = successor.is_none_or(|next| next.is_ok_and(|next| next.header.follows >= cursor.sequence));
        Ok(last == (cursor.sequence, cursor.hash, cursor.offset) && goes_on)
    }

    /// Reads the newest base that is whole, and gives the place from where to go on. One that has its end and is damaged
    /// inside is the last resort: as long as the generation before is there, nothing is lost.
    fn read_base(&self, listing: &Listing, damage: &mut Vec<Damage>, sink: &mut Sink<'_>) -> Result<Cursor> {
        let mut damaged = None;
        for (number, name) in listing.bases.iter().rev() {
            let segment = match self.open_segment(name, Open::Read) {
                Ok(segment) => segment,
                Err(e) if e.kind() == ErrorKind::Damaged => continue,
                Err(e) => return Err(e),
            };
            match base_end(&segment)? {
                Some((end, true)) => {
                    self.take_base(&segment, *number, damage, sink)?;
                    return Ok(after_base(&segment, &end));
                }
                Some((end, false)) if damaged.is_none() => damaged = Some((segment, *number, end)),
                _ => {}
            }
        }
        if let Some((segment, number, end)) = damaged.filter(|_| !self.has_first_segment(listing)) {
            self.take_base(&segment, number, damage, sink)?;
            return Ok(after_base(&segment, &end));
        }
        Ok(Cursor {
            segment: SegmentId { number: 0, salt: [0; 16] },
            offset: 0,
            last: None,
            sequence: 0,
            hash: [0; 32],
            synced_through: 0,
            time_ns: 0,
        })
    }

    fn take_base(&self, base: &Segment, number: u64, damage: &mut Vec<Damage>, sink: &mut Sink<'_>) -> Result<()> {
        let reason = read_base_frames(base, sink)?;
        damage.extend(reason.map(|reason| Damage { from: 1, to: number, reason }));
        Ok(())
    }

    /// Whether the later segments go back to the beginning, so that they say everything without a base.
    fn has_first_segment(&self, listing: &Listing) -> bool {
        let first = listing.later.first().and_then(|(_, name)| self.open_segment(name, Open::Read).ok());
        first.is_some_and(|segment| segment.header.follows == 0)
    }

    fn read_later(
        &self,
        listing: &Listing,
        start: Cursor,
        synced: u64,
        damage: Vec<Damage>,
        sink: &mut Sink<'_>,
    ) -> Result<Reading> {
        let mut walk = Walk { cursor: start, damage, torn: None, frames: 0 };
        walk.cursor.synced_through = walk.cursor.synced_through.max(synced);
        let from_base = start.offset == 0 || listing.later.first().is_none_or(|l| l.0 != start.segment.number);
        let names: Vec<&(u64, String)> =
            listing.later.iter().filter(|(number, _)| !from_base || *number > start.sequence).collect();
        let mut next = names.first().map(|(_, name)| self.open_if_whole(name)).transpose()?;
        for (i, (_, name)) in names.iter().enumerate() {
            let segment = next.take();
            if let Some((_, following)) = names.get(i + 1) {
                next = Some(self.open_if_whole(following)?);
            }
            let segment = match segment {
                Some(Ok(segment)) => segment,
                Some(Err(damage)) => {
                    walk.lost_segment(&damage);
                    continue;
                }
                None => continue,
            };
            let last = i + 1 == names.len();
            let following = next.as_ref().and_then(|n| n.as_ref().ok());
            let limit = if last { u64::MAX } else { following.map_or(u64::MAX, |n| n.header.follows) };
            let resumed = i == 0 && !from_base;
            walk.segment(&segment, limit, last, resumed, name, sink)?;
        }
        walk.finish()
    }

    /// Opens a segment; the inner error is of one whose header is bad.
    fn open_if_whole(&self, name: &str) -> Result<Result<Segment>> {
        match self.open_segment(name, Open::Read) {
            Ok(segment) => Ok(Ok(segment)),
            Err(e) if e.kind() == ErrorKind::Damaged => Ok(Err(e)),
            Err(e) if e.kind() == ErrorKind::NotFound => Err(outgrown()),
            Err(e) => Err(e),
        }
    }
}

/// The closing record of a base, and whether every frame before it is there with as many records as it says; `None` if it
/// does not end with one.
pub(super) fn base_end(segment: &Segment) -> Result<Option<(EndRecord, bool)>> {
    let mut frames = segment.frames(HEADER_BYTES as u64);
    let (mut end, mut whole) = (None, true);
    let (mut sequence, mut previous, mut records) = (0, [0; 32], 0);
    loop {
        let goes_on = match frames.take()? {
            Found::Frame { frame, hash, .. } => {
                whole &= frame.sequence == sequence + 1 && frame.previous == previous;
                (sequence, previous) = (frame.sequence, hash);
                let payload = record::decode(&frame.payload);
                end = match payload.as_deref() {
                    Ok([Record::End(end)]) => Some(*end),
                    _ => None,
                };
                whole &= end.is_none_or(|end| end.records == records) || planted(Bug::BaseCount);
                records += payload.map_or(0, |records| records.len() as u64);
                true
            }
            Found::End { .. } => false,
            Found::Bad { .. } => {
                whole = false;
                frames.skip_to_good()?
            }
        };
        if !goes_on {
            return Ok(end.filter(|e| e.through == segment.header.follows).map(|end| (end, whole)));
        }
    }
}

/// Gives the frames of a base to `sink`; what is wrong with it, if something is.
fn read_base_frames(segment: &Segment, sink: &mut Sink<'_>) -> Result<Option<String>> {
    let mut frames = segment.frames(HEADER_BYTES as u64);
    let mut wrong = None;
    let (mut expected, mut previous, mut count) = (1, [0; 32], 0);
    loop {
        match frames.take()? {
            Found::Frame { frame, hash, offset, end } => {
                if frame.sequence != expected || frame.previous != previous {
                    wrong = Some(format!("{}: frames are missing before offset {offset}", segment.name));
                }
                (expected, previous) = (frame.sequence + 1, hash);
                let records = decode_records(segment, &frame, offset)?;
                if let [Record::End(end)] = records[..]
                    && end.records != count
                    && !planted(Bug::BaseCount)
                {
                    let name = &segment.name;
                    wrong = Some(format!("{name}: it has {count} records, and should have {}", end.records));
                }
                count += records.len() as u64;
                sink(&frame, &records, Place { segment: &segment.name, offset, end, hash, base: true })?;
            }
            Found::End { .. } => return Ok(wrong),
            Found::Bad { offset, why } => {
                wrong = Some(format!("{}: at offset {offset}: {why}", segment.name));
                if !frames.skip_to_good()? {
                    return Ok(wrong);
                }
            }
        }
    }
}

fn after_base(segment: &Segment, end: &EndRecord) -> Cursor {
    Cursor {
        segment: segment.id(),
        offset: 0,
        last: None,
        sequence: end.through,
        hash: end.through_hash,
        synced_through: end.synced_through.max(end.through),
        time_ns: end.time_ns,
    }
}

/// A frame whose checksum is right but whose records cannot be read is of a later program, not damage.
fn decode_records(segment: &Segment, frame: &Frame, offset: u64) -> Result<Vec<Record>> {
    record::decode(&frame.payload).map_err(|why| {
        Error::new(
            ErrorKind::Unsupported,
            format!("read the records of frame {} ({} at offset {offset})", frame.sequence, segment.name),
            format!("{why}; a later version of larder wrote it"),
        )
    })
}

/// The state of reading one segment after the other.
struct Walk {
    cursor: Cursor,
    damage: Vec<Damage>,
    torn: Option<TornTail>,
    frames: u64,
}

impl Walk {
    fn segment(
        &mut self,
        segment: &Segment,
        limit: u64,
        last: bool,
        resumed: bool,
        name: &str,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        if self.cursor.sequence > limit {
            return Err(outgrown());
        }
        if !resumed {
            self.enter(segment);
        } else if segment.size_bytes()? < self.cursor.offset {
            return Err(outgrown());
        }
        let mut frames = segment.frames(self.cursor.offset);
        let mut bad: Option<(u64, Malformed)> = None;
        loop {
            match frames.take()? {
                Found::Frame { frame, .. } if frame.sequence > limit => {
                    self.leave(limit, last, name, None);
                    return Ok(());
                }
                Found::Frame { frame, hash, offset, end } => {
                    self.check_follows(&frame, segment, offset, bad.take());
                    let records = decode_records(segment, &frame, offset)?;
                    sink(&frame, &records, Place { segment: &segment.name, offset, end, hash, base: false })?;
                    self.advance(&frame, hash, offset, end);
                }
                Found::End { .. } => {
                    self.leave(limit, last, name, bad);
                    return Ok(());
                }
                Found::Bad { offset, why } => {
                    if !frames.skip_to_good()? {
                        self.leave(limit, last, name, Some((offset, why)));
                        return Ok(());
                    }
                    // Frames are appended in order. A reader may have come upon one that was being written, and then
                    // upon those behind it: now that they are there, it is good, or never will be.
                    if frames.is_good_now(offset)? {
                        frames.go_to(offset);
                    } else {
                        bad = Some((offset, why));
                    }
                }
            }
        }
    }

    /// Goes from the end of one segment to the beginning of the next.
    fn enter(&mut self, segment: &Segment) {
        let (header, at) = (&segment.header, self.cursor.sequence);
        if header.follows > at {
            let reason = format!("{} follows sequence {}, but the frames end at {at}", segment.name, header.follows);
            self.damage.push(Damage { from: at + 1, to: header.follows, reason });
            (self.cursor.sequence, self.cursor.hash) = (header.follows, header.follows_hash);
        } else if header.follows_hash != [0; 32] && header.follows_hash != self.cursor.hash {
            let reason = format!("{} follows another frame {at} than the one that is there", segment.name);
            self.damage.push(Damage { from: at, to: at, reason });
        }
        self.cursor.segment = segment.id();
        self.cursor.offset = HEADER_BYTES as u64;
        self.cursor.last = None;
    }

    fn check_follows(&mut self, frame: &Frame, segment: &Segment, offset: u64, bad: Option<(u64, Malformed)>) {
        let first_here = self.cursor.last.is_none();
        let expected = if first_here && bad.is_none() {
            segment.header.first.max(self.cursor.sequence + 1)
        } else {
            self.cursor.sequence + 1
        };
        let at = &segment.name;
        if let Some((where_, why)) = bad {
            let to = frame.sequence.saturating_sub(1).max(expected);
            self.damage.push(Damage { from: expected, to, reason: format!("{at}: at offset {where_}: {why}") });
        } else if frame.sequence != expected {
            let (from, to) = (expected.min(frame.sequence), expected.max(frame.sequence));
            let reason = format!("{at}: at offset {offset}: frame {} where {expected} belongs", frame.sequence);
            self.damage.push(Damage { from, to, reason });
        } else if self.cursor.hash != [0; 32] && frame.previous != self.cursor.hash && !planted(Bug::Chain) {
            let reason = format!("{at}: at offset {offset}: frame {expected} does not follow the one before it");
            self.damage.push(Damage { from: expected, to: expected, reason });
        }
    }

    fn advance(&mut self, frame: &Frame, hash: [u8; 32], offset: u64, end: u64) {
        self.frames += 1;
        self.cursor.sequence = self.cursor.sequence.max(frame.sequence);
        self.cursor.hash = hash;
        self.cursor.last = Some(offset);
        self.cursor.offset = end;
        self.cursor.synced_through = self.cursor.synced_through.max(frame.synced_through);
        self.cursor.time_ns = self.cursor.time_ns.max(frame.time_ns);
    }

    /// A segment whose header is bad is damage from here to wherever its successor begins.
    fn lost_segment(&mut self, why: &Error) {
        let from = self.cursor.sequence + 1;
        self.damage.push(Damage { from, to: from, reason: why.to_string() });
    }

    /// The frames of a segment are over.
    fn leave(&mut self, limit: u64, last: bool, name: &str, bad: Option<(u64, Malformed)>) {
        if last {
            if bad.is_some() {
                self.torn = Some(TornTail { segment: name.to_owned(), offset: self.cursor.offset });
            }
            return;
        }
        let at = self.cursor.sequence;
        if limit != u64::MAX && at < limit {
            let what = bad.map_or("the frames end".to_owned(), |(offset, why)| format!("at offset {offset}: {why}"));
            self.damage.push(Damage { from: at + 1, to: limit, reason: format!("{name}: {what}") });
            (self.cursor.sequence, self.cursor.hash) = (limit, [0; 32]);
        }
    }

    /// Whether the end is an end, a torn tail or damage depends on what is known to have been synced.
    fn finish(mut self) -> Result<Reading> {
        let (at, synced) = (self.cursor.sequence, self.cursor.synced_through);
        if at < synced {
            let reason = match self.torn.take() {
                Some(torn) => format!("{}: a bad frame at offset {}, which was synced", torn.segment, torn.offset),
                None => format!("the journal ends at {at}, but frames up to {synced} were synced"),
            };
            self.damage.push(Damage { from: at + 1, to: synced, reason });
        }
        Ok(Reading { cursor: self.cursor, damage: self.damage, torn: self.torn, frames: self.frames })
    }
}
