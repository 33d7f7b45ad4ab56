//! What reading the blobs has shown: when each was read last, what was found wrong and is not mended, what a look from
//! outside found changed, and how far a pass over all of them has come.

use serde::{Deserialize, Serialize};

use crate::vocabulary::Digest;
use crate::vocabulary::limits::{FINDING_RANGES, FINDING_REASON_BYTES};

/// A blob was read whole, and its bytes were right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedRecord {
    /// The blob.
    pub digest: Digest,
    /// When.
    pub row: VerifiedRow,
}

/// When a blob's bytes were last found right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedRow {
    /// The sequence of the frame that says so.
    pub sequence: u64,
    /// Wall clock at the end of the reading, nanoseconds since the epoch.
    pub time_ns: u64,
    /// The same of the last reading that compared with SHA-256, the name itself; zero if none is on record.
    pub sha256_ns: u64,
}

/// In what way bytes were not right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wrong {
    /// They are others than the digest names.
    Corrupt,
    /// The file is not there.
    Missing,
    /// It could not be read: nothing is known of the bytes.
    Unreadable,
}

/// Something wrong with a blob or a carrier, found by reading it and not mended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingRecord {
    /// The blob.
    pub digest: Digest,
    /// The number of the carrier; zero for the blob's own file.
    pub carrier: u32,
    /// What was found.
    pub row: FindingRow,
}

/// The row of a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingRow {
    /// In what way it is wrong.
    pub wrong: Wrong,
    /// What exactly was wrong, for people.
    pub reason: String,
    /// The byte ranges that are wrong (first byte, and the byte behind the last), in order; none where they are not known.
    pub ranges: Vec<(u64, u64)>,
    /// Wall clock when it was first found, nanoseconds since the epoch.
    pub first_ns: u64,
    /// The same when it was last seen.
    pub seen_ns: u64,
    /// The sequence of the frame that says that it was seen.
    pub sequence: u64,
}

impl FindingRow {
    /// The same with a reason and ranges of bounded length.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        if self.reason.len() > FINDING_REASON_BYTES {
            let end = (0..=FINDING_REASON_BYTES).rev().find(|end| self.reason.is_char_boundary(*end)).unwrap_or(0);
            self.reason.truncate(end);
        }
        if self.ranges.len() > FINDING_RANGES {
            // What is left out is put into the last one: it may say too much, and never too little.
            let end = self.ranges.last().map_or(0, |(_, end)| *end);
            self.ranges.truncate(FINDING_RANGES);
            self.ranges.iter_mut().last().into_iter().for_each(|last| last.1 = end);
        }
        self
    }
}

/// A finding is over: good bytes are in place, or were all along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingMendedRecord {
    /// The blob.
    pub digest: Digest,
    /// The number of the carrier; zero for the blob's own file.
    pub carrier: u32,
}

/// A look at a blob's file showed that it is not as it was recorded: it is read before others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspectRecord {
    /// The blob.
    pub digest: Digest,
    /// What was seen.
    pub row: SuspectRow,
}

/// The row of a suspect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspectRow {
    /// What is not as recorded: 1 the file is missing, 2 size, 4 modification time, 8 inode, 16 mode, 32 status change time,
    /// 64 it could not be looked at; added up.
    pub changed: u8,
    /// Wall clock when it was seen, nanoseconds since the epoch.
    pub seen_ns: u64,
}

/// How a pass over the blobs stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PassState {
    /// It has begun and is not over.
    Open,
    /// Everything that it was to read was read.
    Done,
    /// It was stopped by hand.
    Stopped,
}

/// A pass over the blobs, and how far it has come. The blobs that it has done are those with a [`VerifiedRow`] or a
/// [`FindingRow`] of a later sequence than the one at which it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassRecord {
    /// Its number, from 1.
    pub number: u64,
    /// How it stands.
    pub state: PassState,
    /// The sequence of the frame that began it.
    pub begun: u64,
    /// Wall clock when it began, nanoseconds since the epoch.
    pub begun_ns: u64,
    /// The same of the last frame that says how far it has come.
    pub seen_ns: u64,
    /// Whether blobs are compared with SHA-256, whatever else is recorded of them.
    pub sha256: bool,
    /// Blobs that were verified within so many nanoseconds before it began are left out; `None`: no blob is.
    pub max_age_ns: Option<u64>,
    /// Only blobs whose keyed hash is below this, or is this, belong to it: a sample; `u64::MAX` is every blob.
    pub sample_below: u64,
    /// Blobs read.
    pub blobs: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Findings, of blobs and carriers.
    pub findings: u64,
}

/// What somebody wants of the pass that is under way, and of those to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wish {
    /// To go on.
    #[default]
    Go,
    /// To wait until somebody says that it may go on.
    Pause,
    /// To end the pass of this number.
    Stop(u64),
}

/// A wish, and when it was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WishRecord {
    /// The wish.
    pub wish: Wish,
    /// Wall clock, nanoseconds since the epoch.
    pub since_ns: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_has_a_bounded_length_and_its_ranges_never_say_too_little() {
        let ranges: Vec<(u64, u64)> = (0..1000).map(|i| (i * 10, i * 10 + 5)).collect();
        let long = "é".repeat(FINDING_REASON_BYTES);
        let row = FindingRow { wrong: Wrong::Corrupt, reason: long, ranges, first_ns: 1, seen_ns: 2, sequence: 3 };
        let row = row.bounded();
        assert!(row.reason.len() <= FINDING_REASON_BYTES);
        assert_eq!(row.ranges.len(), FINDING_RANGES);
        assert_eq!(row.ranges.last(), Some(&((FINDING_RANGES as u64 - 1) * 10, 9995)));
    }
}
