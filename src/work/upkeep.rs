//! Upkeep of journal and index: rebuild, compaction, and a look at both for people.

use super::Context;
use crate::format::frame::Frame;
use crate::format::header::HEADER_BYTES;
use crate::format::record::{self, Record, Replaced};
use crate::ledger::{Ledger, Tables};
use crate::machine::Open;
use crate::parts::index::Index;
use crate::parts::journal::segment::Found;
use crate::vocabulary::{ErrorKind, Event, Observer, Result};

/// What a rebuild of the index did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RebuildReport {
    /// Frames read.
    pub frames: u64,
    /// Records applied.
    pub records: u64,
    /// Bytes of the new runs.
    pub index_bytes: u64,
}

/// What a compaction of the journal did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactReport {
    /// Bytes of the journal before.
    pub bytes_before: u64,
    /// And after, the previous generation not counted.
    pub bytes_after: u64,
    /// Live records in the new base.
    pub records: u64,
}

/// One frame of the journal, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameInfo {
    /// The segment's file name.
    pub segment: String,
    /// Byte offset in it.
    pub offset: u64,
    /// Sequence number; zero for what is no frame.
    pub sequence: u64,
    /// Synced-through.
    pub synced_through: u64,
    /// Journal time, nanoseconds since the epoch.
    pub time_ns: u64,
    /// Its records, one line each; or what is wrong there.
    pub records: Vec<String>,
    /// `good`, `torn`, `bad` or `beyond` (not journal).
    pub state: &'static str,
}

/// One run of the index, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunInfo {
    /// Its file name.
    pub file: String,
    /// Its bytes.
    pub bytes: u64,
    /// Its records, deletions included.
    pub records: u64,
}

/// Makes the index anew from the journal. Damage that is found there fences collection, and is told as a notice.
pub fn rebuild(ctx: &Context<'_>, observer: &dyn Observer) -> Result<RebuildReport> {
    let rebuilt = ctx.ledger.rebuild()?;
    for fence in ctx.ledger.snapshot()?.all_fences() {
        let (from, fence) = fence?;
        let text =
            format!("The journal is damaged from {from} to {}: {}. Nothing is collected.", fence.to, fence.reason);
        observer.event(&Event::Notice { text });
    }
    let index_bytes = rebuilt.runs.iter().map(|run| run.size_bytes).sum();
    Ok(RebuildReport { frames: rebuilt.frames, records: rebuilt.records, index_bytes })
}

/// Writes a new base for the journal, and an index to go with it. [`ErrorKind::Refused`] while the journal is fenced.
pub fn compact(ctx: &Context<'_>) -> Result<CompactReport> {
    let done = ctx.ledger.compact()?;
    Ok(CompactReport { bytes_before: done.bytes_before, bytes_after: done.bytes_after, records: done.records })
}

/// The runs that `CURRENT` names, oldest first; none where there is no index.
pub fn runs(ctx: &Context<'_>) -> Result<Vec<RunInfo>> {
    let opened = Index::open(ctx.ledger.machine.as_ref(), &ctx.ledger.layout.index())?;
    let runs = opened.into_iter().flat_map(|(_, current)| current.runs);
    Ok(runs.map(|run| RunInfo { file: run.id.file_name(), bytes: run.size_bytes, records: run.records }).collect())
}

/// Gives everything that stands in the journal to `each`: bases, then later segments, each from front to back, with
/// the generation before. A segment that is dropped meanwhile is left out.
///
/// `beyond` is what stands behind the point that the next segment follows; `torn` is a bad end of the last segment that
/// was never known to be synced; `bad` is damage.
pub fn frames(ctx: &Context<'_>, each: &mut dyn FnMut(FrameInfo) -> Result<()>) -> Result<()> {
    let synced = ctx.ledger.snapshot()?.cursor.synced_through;
    let listing = ctx.ledger.journal.listing()?;
    for (_, name) in &listing.bases {
        segment_frames(ctx.ledger, name, Limits { follows: u64::MAX, synced: u64::MAX }, each)?;
    }
    for (i, (_, name)) in listing.later.iter().enumerate() {
        let limits = match listing.later.get(i + 1) {
            Some((_, next)) => Limits { follows: follows(ctx.ledger, next)?, synced: u64::MAX },
            None => Limits { follows: u64::MAX, synced },
        };
        segment_frames(ctx.ledger, name, limits, each)?;
    }
    Ok(())
}

/// What is known about the end of a segment.
#[derive(Clone, Copy)]
struct Limits {
    /// The sequence that its successor follows; what stands behind it is not journal.
    follows: u64,
    /// The sequence up to which frames were synced; every one, if it is not the last segment.
    synced: u64,
}

/// The sequence that a segment follows; no limit if its header cannot be read.
fn follows(ledger: &Ledger, name: &str) -> Result<u64> {
    match ledger.journal.open_segment(name, Open::Read) {
        Ok(segment) => Ok(segment.header.follows),
        Err(e) if matches!(e.kind(), ErrorKind::Damaged | ErrorKind::NotFound) => Ok(u64::MAX),
        Err(e) => Err(e),
    }
}

fn segment_frames(
    ledger: &Ledger,
    name: &str,
    limits: Limits,
    each: &mut dyn FnMut(FrameInfo) -> Result<()>,
) -> Result<()> {
    let segment = match ledger.journal.open_segment(name, Open::Read) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) if e.kind() == ErrorKind::Damaged => return each(no_frame(name, 0, "bad", e.to_string())),
        other => other?,
    };
    let mut frames = segment.frames(HEADER_BYTES as u64);
    let mut last = segment.header.follows;
    loop {
        match frames.take()? {
            Found::End { .. } => return Ok(()),
            Found::Frame { frame, offset, .. } => {
                last = frame.sequence;
                each(good_frame(name, offset, &frame, limits))?;
            }
            Found::Bad { offset, why } => {
                let more = frames.skip_to_good()?;
                let state = match () {
                    () if last >= limits.follows => "beyond",
                    () if !more && last >= limits.synced => "torn",
                    () => "bad",
                };
                each(no_frame(name, offset, state, why.to_string()))?;
                if !more {
                    return Ok(());
                }
            }
        }
    }
}

fn no_frame(segment: &str, offset: u64, state: &'static str, what: String) -> FrameInfo {
    let records = vec![what];
    FrameInfo { segment: segment.to_owned(), offset, sequence: 0, synced_through: 0, time_ns: 0, records, state }
}

fn good_frame(segment: &str, offset: u64, frame: &Frame, limits: Limits) -> FrameInfo {
    let records = match record::decode(&frame.payload) {
        Ok(records) => records.iter().map(line).collect(),
        Err(why) => vec![format!("records that cannot be read: {why}")],
    };
    FrameInfo {
        segment: segment.to_owned(),
        offset,
        sequence: frame.sequence,
        synced_through: frame.synced_through,
        time_ns: frame.time_ns,
        records,
        state: if frame.sequence > limits.follows { "beyond" } else { "good" },
    }
}

/// A record in one line. Text that somebody else chose is escaped.
fn line(record: &Record) -> String {
    match record {
        Record::Blob(r) => format!("blob {} of {} bytes, inode {}", r.digest, r.stamp.size_bytes, r.stamp.inode),
        Record::Alias(r) => {
            let kind = if r.hardlinked { "hardlinked" } else { "counted" };
            format!("alias {:?} means {}, {kind}{}", r.name, r.digest, replacing(r.replaces.as_ref()))
        }
        Record::Unalias(r) => format!("unalias {:?}, which meant {}", r.name, r.was.digest),
        Record::Pin(r) => format!("pin {}: {:?}", r.digest, r.note),
        Record::Unpin(digest) => format!("unpin {digest}"),
        Record::Unrooted(r) => format!("unrooted {} since {}", r.digest, r.since.sequence),
        Record::Condemned(r) => format!("condemned {} since {}", r.digest, r.since.sequence),
        Record::Removed(r) => format!("removed {} of {} bytes by {:?}", r.digest, r.size_bytes, r.rule),
        Record::Orphan(r) => format!("orphan {}{}", r.digest, if r.own { ", of a dead session" } else { "" }),
        Record::Healed(r) => format!("healed {} with inode {}", r.digest, r.good.inode),
        Record::Damaged(r) => {
            format!("damaged {}{}: {:?}", r.digest, if r.quarantined { ", quarantined" } else { "" }, r.reason)
        }
        Record::NameFinding(r) => format!("not applied {:?}: {:?}", r.name, r.reason),
        Record::NameMended(name) => format!("applied {name:?} after all"),
        Record::Fence(r) => format!("fence from {} to {}: {:?}", r.from, r.to, r.reason),
        Record::FenceLifted(from) => format!("fence from {from} lifted"),
        Record::Sources(r) => {
            let paths: Vec<_> = r.files.iter().map(|file| String::from_utf8_lossy(&file.path)).collect();
            format!("sources of {}: {paths:?}", r.digest)
        }
        Record::Carrier(r) => format!("carrier {} of {}, inode {}", r.number, r.digest, r.stamp.inode),
        Record::CarrierRemoved(r) => format!("carrier {} of {} removed", r.number, r.digest),
        Record::End(r) => format!("end of the base: {} records through {}", r.records, r.through),
        Record::Departed(r) => format!("departed {:?} of {} ({})", r.name, r.digest, r.rule),
        Record::Entry(r) => format!("entry {} {:?}, {}", r.card.id(), r.card.key, r.card.state.word()),
        Record::Variant(r) => {
            let digest = r.variant.digest.map_or("no known digest".to_owned(), |digest| digest.to_string());
            format!("variant {:?} of {}: {digest}", r.variant.name, r.entry)
        }
        Record::VariantRemoved(r) => format!("variant {:?} of {} removed", r.name, r.entry),
        Record::EntryRemoved(r) => format!("entry {} {:?} removed by {:?}", r.key.id(), r.key, r.rule),
        Record::Used(r) => format!("entry {} used {} times", r.entry, r.usage.count),
        Record::Trashed(r) => format!("entry {} put into the trash by {:?}", r.entry, r.rule),
        Record::SourceStamp(r) => format!("source of {:?}: inode {}, {}", r.name, r.source.inode, r.digest),
        Record::Untrashed(entry) => format!("entry {entry} taken out of the trash"),
        Record::Verified(r) => format!("verified {}", r.digest),
        Record::Finding(r) => {
            format!("finding {} carrier {}: {:?} {:?}", r.digest, r.carrier, r.row.wrong, r.row.reason)
        }
        Record::FindingMended(r) => format!("finding {} carrier {} mended", r.digest, r.carrier),
        Record::Suspect(r) => format!("suspect {}: changed {}", r.digest, r.row.changed),
        Record::Pass(r) => {
            format!("pass {} over the blobs, {:?}: {} blobs, {} findings", r.number, r.state, r.blobs, r.findings)
        }
        Record::Wish(r) => format!("passes over the blobs are to {:?}", r.wish),
    }
}

fn replacing(was: Option<&Replaced>) -> String {
    was.map_or(String::new(), |was| format!(", instead of {}", was.digest))
}

#[cfg(test)]
mod tests;
