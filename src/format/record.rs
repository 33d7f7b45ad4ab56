//! The records of a frame: the transaction language of the whole program (format.md, "Records").
//!
//! A payload is a count and that many records; each record is its kind, its version, the length of its body, and a
//! postcard body. A kind or version that this program does not know makes the frame unreadable to it, loudly.

pub mod copies;
pub mod entry;
pub mod scrub;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use self::copies::{CarrierRecord, CarrierRemovedRecord, SourceStampRecord, SourcesRecord};
use self::entry::{EntryRecord, EntryRemovedRecord, TrashedRecord, UsedRecord, VariantRecord, VariantRemovedRecord};
use self::scrub::{FindingMendedRecord, FindingRecord, PassRecord, SuspectRecord, VerifiedRecord, WishRecord};
use super::Malformed;
use crate::vocabulary::entry::Term;
use crate::vocabulary::limits::{FRAME_PAYLOAD_BYTES, FRAME_RECORDS, RECORD_BYTES};
use crate::vocabulary::{Blake3, Digest, EntryId, Name, Stamp};

/// A sequence number and the journal time of its frame: when something began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The sequence of the frame.
    pub sequence: u64,
    /// Its journal time, nanoseconds since the epoch.
    pub time_ns: u64,
}

/// A blob is kept: its file is in place and synced, and looked like this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRecord {
    /// Its digest.
    pub digest: Digest,
    /// Its BLAKE3.
    pub blake3: Blake3,
    /// What its file looked like.
    pub stamp: Stamp,
    /// When it was first kept.
    pub added: Moment,
}

/// A name means a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasRecord {
    /// The name.
    pub name: Name,
    /// The blob.
    pub digest: Digest,
    /// Length of the blob in bytes.
    pub size_bytes: u64,
    /// Whether there is a file of this name under `names/`; else it is counted alone.
    pub hardlinked: bool,
    /// Whether the source was executable.
    pub executable: bool,
    /// Modification time of the source, nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// What the name meant before, if it meant something, and whether it was hardlinked.
    pub replaces: Option<Replaced>,
    /// When it was given.
    pub added: Moment,
}

/// What a name meant before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// The blob that it meant.
    pub digest: Digest,
    /// Whether it had a file under `names/`.
    pub hardlinked: bool,
    /// The inode recorded for that blob.
    pub inode: u64,
}

/// A name means nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnaliasRecord {
    /// The name.
    pub name: Name,
    /// What it meant.
    pub was: Replaced,
    /// What took it away: `rm`, `unlink`, …
    pub rule: String,
    /// When.
    pub when: Moment,
}

/// A name that a blob had until something took it away: what a base keeps of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepartedRecord {
    /// The name.
    pub name: Name,
    /// What it meant.
    pub digest: Digest,
    /// What took it away.
    pub rule: String,
    /// When.
    pub when: Moment,
}

/// A blob is kept by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinRecord {
    /// The blob.
    pub digest: Digest,
    /// What the user said about it.
    pub note: String,
    /// When.
    pub since: Moment,
}

/// Something about one blob began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinceRecord {
    /// The blob.
    pub digest: Digest,
    /// When.
    pub since: Moment,
}

/// A file under `sha256/` that no record knows was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrphanRecord {
    /// The digest that its name claims.
    pub digest: Digest,
    /// Whether a dead session's staging shows that it was that session's own.
    pub own: bool,
    /// When it was first seen.
    pub since: Moment,
}

/// A blob was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedRecord {
    /// The blob.
    pub digest: Digest,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// What removed it: `gc`, `gc orphan`, …
    pub rule: String,
    /// When.
    pub when: Moment,
}

/// A damaged blob got good bytes: two files changed places.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealedRecord {
    /// The blob.
    pub digest: Digest,
    /// Its BLAKE3.
    pub blake3: Blake3,
    /// The file that was recorded before, to which its names are links; `None` if they are links to nothing.
    pub bad: Option<Stamp>,
    /// The one that now is.
    pub good: Stamp,
    /// Where the good file was staged, relative to the store directory; empty if it was in its place already.
    pub staged: String,
    /// When the blob was first kept.
    pub added: Moment,
}

/// A blob's file is known to be bad or gone; its names stay on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedRecord {
    /// The blob.
    pub digest: Digest,
    /// The inode that was bad; zero if the file was missing.
    pub inode: u64,
    /// What was found.
    pub reason: String,
    /// Whether the file was moved to quarantine and the store's own names of it unlinked.
    pub quarantined: bool,
    /// When.
    pub since: Moment,
}

/// A name could not be applied to `names/`, and is counted meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameFindingRecord {
    /// The name.
    pub name: Name,
    /// Why.
    pub reason: String,
    /// When.
    pub since: Moment,
}

/// A stretch of the journal is damaged: a root may be hidden there, so nothing is collected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceRecord {
    /// The first sequence that may be lost.
    pub from: u64,
    /// The last one.
    pub to: u64,
    /// What was found, and in which file.
    pub reason: String,
    /// When.
    pub since: Moment,
}

/// The end of a base: without it the base is rubbish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndRecord {
    /// The sequence that the base reaches.
    pub through: u64,
    /// The hash of the frame that had that sequence.
    pub through_hash: [u8; 32],
    /// Synced-through at that point.
    pub synced_through: u64,
    /// Journal time at that point, nanoseconds since the epoch.
    pub time_ns: u64,
    /// How many records the base holds before this one.
    pub records: u64,
}

/// One change to what the store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A blob is kept.
    Blob(BlobRecord),
    /// A name means a blob.
    Alias(AliasRecord),
    /// A name means nothing any more.
    Unalias(UnaliasRecord),
    /// A blob is kept by hand.
    Pin(PinRecord),
    /// It no longer is.
    Unpin(Digest),
    /// A blob lost its last root.
    Unrooted(SinceRecord),
    /// A blob waits for the sessions that might use it, and then goes.
    Condemned(SinceRecord),
    /// A blob was removed.
    Removed(RemovedRecord),
    /// An unrecorded file was seen.
    Orphan(OrphanRecord),
    /// A damaged blob got good bytes.
    Healed(HealedRecord),
    /// A blob is known to be damaged.
    Damaged(DamagedRecord),
    /// A name could not be applied.
    NameFinding(NameFindingRecord),
    /// It now is.
    NameMended(Name),
    /// Collection is fenced.
    Fence(FenceRecord),
    /// The fence that began at this sequence is lifted.
    FenceLifted(u64),
    /// The end of a base.
    End(EndRecord),
    /// The files that a blob was added from.
    Sources(SourcesRecord),
    /// The store keeps one more inode of a blob.
    Carrier(CarrierRecord),
    /// It keeps that no more.
    CarrierRemoved(CarrierRemovedRecord),
    /// A name that a blob had.
    Departed(DepartedRecord),
    /// What is known of a model or a document.
    Entry(Box<EntryRecord>),
    /// An entry has a variant.
    Variant(Box<VariantRecord>),
    /// It has that no more.
    VariantRemoved(VariantRemovedRecord),
    /// There is no such entry any more.
    EntryRemoved(EntryRemovedRecord),
    /// How often an entry was used.
    Used(UsedRecord),
    /// An entry was put into the trash.
    Trashed(TrashedRecord),
    /// It was taken out again.
    Untrashed(EntryId),
    /// A blob's bytes were read and are right.
    Verified(VerifiedRecord),
    /// They, or those of a carrier, are not.
    Finding(FindingRecord),
    /// They are again.
    FindingMended(FindingMendedRecord),
    /// A blob's file is not as it was recorded.
    Suspect(SuspectRecord),
    /// A pass over the blobs, and how far it has come.
    Pass(PassRecord),
    /// What somebody wants of it.
    Wish(WishRecord),
    /// The file that a name was given to was this.
    SourceStamp(SourceStampRecord),
}

impl Record {
    fn kind(&self) -> u8 {
        match self {
            Record::Blob(_) => 1,
            Record::Alias(_) => 2,
            Record::Unalias(_) => 3,
            Record::Pin(_) => 4,
            Record::Unpin(_) => 5,
            Record::Unrooted(_) => 6,
            Record::Condemned(_) => 7,
            Record::Removed(_) => 8,
            Record::Orphan(_) => 9,
            Record::Healed(_) => 10,
            Record::Damaged(_) => 11,
            Record::NameFinding(_) => 12,
            Record::NameMended(_) => 13,
            Record::Fence(_) => 14,
            Record::FenceLifted(_) => 15,
            Record::End(_) => 16,
            Record::Sources(_) => 17,
            Record::Carrier(_) => 18,
            Record::CarrierRemoved(_) => 19,
            Record::Departed(_) => 22,
            Record::Entry(_) => 23,
            Record::Variant(_) => 24,
            Record::VariantRemoved(_) => 25,
            Record::EntryRemoved(_) => 26,
            Record::Used(_) => 27,
            Record::Trashed(_) => 28,
            Record::Untrashed(_) => 29,
            Record::Verified(_) => 30,
            Record::Finding(_) => 31,
            Record::FindingMended(_) => 32,
            Record::Suspect(_) => 33,
            Record::Pass(_) => 34,
            Record::Wish(_) => 35,
            Record::SourceStamp(_) => 36,
        }
    }

    fn body(&self) -> Vec<u8> {
        let encoded = match self {
            Record::Blob(r) => postcard::to_allocvec(r),
            Record::Alias(r) => postcard::to_allocvec(r),
            Record::Unalias(r) => postcard::to_allocvec(r),
            Record::Pin(r) => postcard::to_allocvec(r),
            Record::Unpin(r) => postcard::to_allocvec(r),
            Record::Unrooted(r) | Record::Condemned(r) => postcard::to_allocvec(r),
            Record::Removed(r) => postcard::to_allocvec(r),
            Record::Orphan(r) => postcard::to_allocvec(r),
            Record::Healed(r) => postcard::to_allocvec(r),
            Record::Damaged(r) => postcard::to_allocvec(r),
            Record::NameFinding(r) => postcard::to_allocvec(r),
            Record::NameMended(r) => postcard::to_allocvec(r),
            Record::Fence(r) => postcard::to_allocvec(r),
            Record::FenceLifted(r) => postcard::to_allocvec(r),
            Record::End(r) => postcard::to_allocvec(r),
            Record::Sources(r) => postcard::to_allocvec(r),
            Record::Carrier(r) => postcard::to_allocvec(r),
            Record::CarrierRemoved(r) => postcard::to_allocvec(r),
            Record::Departed(r) => postcard::to_allocvec(r),
            Record::Entry(r) => postcard::to_allocvec(r),
            Record::Variant(r) => postcard::to_allocvec(r),
            Record::VariantRemoved(r) => postcard::to_allocvec(r),
            Record::EntryRemoved(r) => postcard::to_allocvec(r),
            Record::Used(r) => postcard::to_allocvec(r),
            Record::Trashed(r) => postcard::to_allocvec(r),
            Record::Untrashed(r) => postcard::to_allocvec(r),
            Record::Verified(r) => postcard::to_allocvec(r),
            Record::Finding(r) => postcard::to_allocvec(r),
            Record::FindingMended(r) => postcard::to_allocvec(r),
            Record::Suspect(r) => postcard::to_allocvec(r),
            Record::Pass(r) => postcard::to_allocvec(r),
            Record::Wish(r) => postcard::to_allocvec(r),
            Record::SourceStamp(r) => postcard::to_allocvec(r),
        };
        encoded.expect("records hold nothing that postcard cannot write to memory")
    }

    fn decode(kind: u8, version: u8, body: &[u8]) -> Result<Self, Malformed> {
        if version != VERSION {
            return Err(Malformed::Version);
        }
        Ok(match kind {
            1 => Record::Blob(read(body)?),
            2 => Record::Alias(read(body)?),
            3 => Record::Unalias(read(body)?),
            4 => Record::Pin(read(body)?),
            5 => Record::Unpin(read(body)?),
            6 => Record::Unrooted(read(body)?),
            7 => Record::Condemned(read(body)?),
            8 => Record::Removed(read(body)?),
            9 => Record::Orphan(read(body)?),
            10 => Record::Healed(read(body)?),
            11 => Record::Damaged(read(body)?),
            12 => Record::NameFinding(read(body)?),
            13 => Record::NameMended(read(body)?),
            14 => Record::Fence(read(body)?),
            15 => Record::FenceLifted(read(body)?),
            16 => Record::End(read(body)?),
            17 => Record::Sources(read(body)?),
            18 => Record::Carrier(read(body)?),
            19 => Record::CarrierRemoved(read(body)?),
            22 => Record::Departed(read(body)?),
            23 => Record::Entry(Box::new(read(body)?)),
            24 => Record::Variant(Box::new(read(body)?)),
            25 => Record::VariantRemoved(read(body)?),
            26 => Record::EntryRemoved(read(body)?),
            27 => Record::Used(read(body)?),
            28 => Record::Trashed(read(body)?),
            29 => Record::Untrashed(read(body)?),
            30 => Record::Verified(read(body)?),
            31 => Record::Finding(read(body)?),
            32 => Record::FindingMended(read(body)?),
            33 => Record::Suspect(read(body)?),
            34 => Record::Pass(read(body)?),
            35 => Record::Wish(read(body)?),
            36 => Record::SourceStamp(read(body)?),
            _ => return Err(Malformed::Version),
        })
    }

    /// About how many bytes it takes beyond those of a small record, never too few by much.
    pub fn extra_bytes(&self) -> usize {
        let terms = |terms: &[Term]| terms.iter().map(|term| term.value.len() + 4).sum::<usize>();
        match self {
            Record::Sources(r) => r.files.iter().map(|file| file.path.len()).sum(),
            Record::Entry(r) => r.card.about_bytes() + terms(&r.dropped),
            Record::Variant(r) => {
                let variant = &r.variant;
                let alias = variant.alias.as_ref().map_or(0, |name| name.as_bytes().len());
                variant.name.len() + variant.content_type.len() + variant.uri.len() + alias
            }
            Record::VariantRemoved(r) => r.name.len(),
            Record::SourceStamp(r) => r.name.as_bytes().len(),
            Record::EntryRemoved(r) => r.key.to_bytes().len() + terms(&r.terms),
            Record::Finding(r) => r.row.reason.len() + r.row.ranges.len() * 20,
            other => other.touches().map_or(0, |name| name.as_bytes().len()),
        }
    }

    /// Whether it changes what the catalog holds.
    pub fn is_of_catalog(&self) -> bool {
        matches!(self.kind(), 23..=29)
    }

    /// The name whose file under `names/` this record may change.
    pub fn touches(&self) -> Option<&Name> {
        match self {
            Record::Alias(r) => Some(&r.name),
            Record::Unalias(r) => Some(&r.name),
            _ => None,
        }
    }
}

/// Every kind is in its first version so far.
const VERSION: u8 = 1;

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Malformed> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        _ => Err(Malformed::Fields),
    }
}

/// Collects records into a payload, and says when it is full.
#[derive(Clone, Debug, Default)]
pub struct PayloadWriter {
    count: usize,
    bytes: Vec<u8>,
}

impl PayloadWriter {
    /// Takes one more record; `false`, and nothing is taken, when the payload is at its bound.
    pub fn push(&mut self, record: &Record) -> bool {
        let body = record.body();
        assert!(body.len() <= RECORD_BYTES, "names and reasons are bounded, and so is every record");
        if self.count == FRAME_RECORDS || self.bytes.len() + body.len() + 16 > FRAME_PAYLOAD_BYTES {
            return false;
        }
        self.count += 1;
        self.bytes.push(record.kind());
        self.bytes.push(VERSION);
        put_varint(&mut self.bytes, body.len());
        self.bytes.extend_from_slice(&body);
        true
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The payload.
    pub fn finish(self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(self.bytes.len() + 4);
        put_varint(&mut payload, self.count);
        payload.extend_from_slice(&self.bytes);
        payload
    }
}

/// The payload of a few records.
///
/// # Panics
/// When they do not fit one frame; callers bound what they build.
pub fn encode(records: &[Record]) -> Vec<u8> {
    let mut writer = PayloadWriter::default();
    for record in records {
        assert!(writer.push(record), "a transaction fits one frame");
    }
    writer.finish()
}

/// Reads a payload, which must hold its records and nothing else.
pub fn decode(payload: &[u8]) -> Result<Vec<Record>, Malformed> {
    let (count, mut rest) = take_varint(payload)?;
    if count > FRAME_RECORDS {
        return Err(Malformed::Length);
    }
    // A record takes at least three bytes: a wrong count cannot make this allocate more than the payload warrants.
    let mut records = Vec::with_capacity(count.min(rest.len() / 3));
    for _ in 0..count {
        let [kind, version, tail @ ..] = rest else { return Err(Malformed::Short) };
        let (length, tail) = take_varint(tail)?;
        if length > RECORD_BYTES {
            return Err(Malformed::Length);
        }
        let (body, tail) = tail.split_at_checked(length).ok_or(Malformed::Short)?;
        records.push(Record::decode(*kind, *version, body)?);
        rest = tail;
    }
    if rest.is_empty() { Ok(records) } else { Err(Malformed::Length) }
}

fn put_varint(bytes: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// An unsigned LEB128 of at most four bytes: every length here is below 2^28.
fn take_varint(bytes: &[u8]) -> Result<(usize, &[u8]), Malformed> {
    let mut value = 0;
    for (i, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Ok((value, &bytes[i + 1..]));
        }
    }
    Err(if bytes.len() < 4 { Malformed::Short } else { Malformed::Length })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use super::copies::{CarrierRemovedRecord, SourceFile};
    use super::scrub::{FindingRow, PassState, SuspectRow, VerifiedRow, Wish, Wrong};
    use super::*;
    use crate::format::checkpoint::SourceStamp;
    use crate::vocabulary::{Card, Key, Usage, Variant};

    fn card() -> Card {
        let mut card = Card::new(Key::model("hf", "org/repo", "v1").unwrap(), 7);
        card.tags.insert("small".into());
        card.metadata.insert("architecture".into(), "llama".into());
        card
    }

    /// At least one of each kind.
    pub(crate) fn samples() -> Vec<Record> {
        let name = |s: &str| Name::new(s).unwrap();
        let digest = Digest::EMPTY;
        let since = Moment { sequence: 3, time_ns: 4 };
        let stamp = Stamp { size_bytes: 1, mtime_ns: -2, inode: 3, mode: 0o444, ctime_ns: 5 };
        let was = Replaced { digest, hardlinked: true, inode: 9 };
        let reason = "reason".to_owned();
        let source = SourceFile { path: b"/a".into(), size_bytes: 1, mtime_ns: 2, ctime_ns: 3, inode: 4, device: 5 };
        let stamped = SourceStamp { size_bytes: 1, mtime_ns: 2, ctime_ns: 3, inode: 4, device: 5 };
        vec![
            Record::Sources(SourcesRecord { digest, files: vec![source], since }),
            Record::SourceStamp(SourceStampRecord { name: name("a/b"), digest, source: stamped }),
            Record::Carrier(CarrierRecord { digest, number: 2, stamp, since }),
            Record::CarrierRemoved(CarrierRemovedRecord { digest, number: 2 }),
            Record::Blob(BlobRecord { digest, blake3: Blake3::from_bytes([1; 32]), stamp, added: since }),
            Record::Alias(AliasRecord {
                name: name("a/b"),
                digest,
                size_bytes: 7,
                hardlinked: true,
                executable: false,
                mtime_ns: -1,
                replaces: Some(was),
                added: since,
            }),
            Record::Unalias(UnaliasRecord { name: name("a"), was, rule: "rm".into(), when: since }),
            Record::Departed(DepartedRecord { name: name("a"), digest, rule: "rm".into(), when: since }),
            Record::Pin(PinRecord { digest, note: "mine".into(), since }),
            Record::Unpin(digest),
            Record::Unrooted(SinceRecord { digest, since }),
            Record::Condemned(SinceRecord { digest, since }),
            Record::Removed(RemovedRecord { digest, size_bytes: 3, rule: "gc".into(), when: since }),
            Record::Orphan(OrphanRecord { digest, own: true, since }),
            Record::Healed(HealedRecord {
                digest,
                blake3: Blake3::from_bytes([1; 32]),
                bad: None,
                good: stamp,
                staged: "staging/x/1".into(),
                added: since,
            }),
            Record::Damaged(DamagedRecord { digest, inode: 4, reason: reason.clone(), quarantined: true, since }),
            Record::NameFinding(NameFindingRecord { name: name("n"), reason: reason.clone(), since }),
            Record::NameMended(name("n")),
            Record::Fence(FenceRecord { from: 1, to: 2, reason, since }),
            Record::FenceLifted(1),
            Record::Entry(Box::new(EntryRecord { card: card(), dropped: card().terms().into_iter().collect() })),
            Record::Variant(Box::new(VariantRecord {
                entry: card().id(),
                variant: Variant::new("q4", 1),
                was: Some(digest),
            })),
            Record::VariantRemoved(VariantRemovedRecord { entry: card().id(), name: "q4".into(), was: None }),
            Record::EntryRemoved(EntryRemovedRecord {
                key: card().key,
                terms: card().terms().into_iter().collect(),
                rule: "remove".into(),
                when: since,
            }),
            Record::Used(UsedRecord { entry: card().id(), usage: Usage { count: 3, last_ns: 4 } }),
            Record::Trashed(TrashedRecord { entry: card().id(), rule: "delete".into(), since }),
            Record::Untrashed(card().id()),
            Record::Verified(VerifiedRecord { digest, row: VerifiedRow { sequence: 3, time_ns: 4, sha256_ns: 0 } }),
            Record::Finding(FindingRecord {
                digest,
                carrier: 2,
                row: FindingRow {
                    wrong: Wrong::Unreadable,
                    reason: "EIO".into(),
                    ranges: vec![(4096, 8192)],
                    first_ns: 1,
                    seen_ns: 2,
                    sequence: 3,
                },
            }),
            Record::FindingMended(FindingMendedRecord { digest, carrier: 0 }),
            Record::Suspect(SuspectRecord { digest, row: SuspectRow { changed: 6, seen_ns: 9 } }),
            Record::Pass(PassRecord {
                number: 1,
                state: PassState::Stopped,
                begun: 3,
                begun_ns: 4,
                seen_ns: 5,
                sha256: true,
                max_age_ns: Some(6),
                sample_below: u64::MAX,
                blobs: 7,
                bytes: 8,
                findings: 9,
            }),
            Record::Wish(WishRecord { wish: Wish::Stop(1), since_ns: 4 }),
            Record::End(EndRecord { through: 1, through_hash: [2; 32], synced_through: 1, time_ns: 5, records: 6 }),
        ]
    }

    #[test]
    fn every_kind_reads_back() {
        let payload = encode(&samples());
        assert_eq!(decode(&payload), Ok(samples()));
        let kinds: BTreeSet<u8> = samples().iter().map(Record::kind).collect();
        assert_eq!(kinds, (1..=36).filter(|kind| ![20, 21].contains(kind)).collect());
        for cut in 0..payload.len() {
            assert!(decode(&payload[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_name_on_disk_is_not_trusted() {
        let good = encode(&[Record::NameMended(Name::new("aa").unwrap())]);
        let at = good.windows(2).position(|w| w == b"aa").unwrap();
        let mut bad = good;
        bad[at..at + 2].copy_from_slice(b"..");
        assert_eq!(decode(&bad), Err(Malformed::Fields));
    }

    #[test]
    fn unknown_kinds_and_later_versions_are_refused() {
        let mut payload = encode(&[Record::FenceLifted(1)]);
        payload[2] = 2;
        assert_eq!(decode(&payload), Err(Malformed::Version));
        payload[2] = 1;
        payload[1] = 200;
        assert_eq!(decode(&payload), Err(Malformed::Version));
    }
}
