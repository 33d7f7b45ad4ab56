//! `index/CURRENT`: which runs are the index, and how much of the journal they hold.
//!
//! The byte layout is in `docs/format.md`. Every function here is total.

use std::collections::HashSet;

use super::fields::Fields;
use super::run::RunId;
use crate::vocabulary::limits::RUNS_NAMED;
use crate::vocabulary::planted::{Bug, planted};

const MAGIC: [u8; 8] = *b"larder C";
const VERSION: u32 = 2;
/// Its runs have other checksums; but for its number it is the same.
const BEFORE: u32 = 1;
const CONTEXT: &str = "larder 2026 index CURRENT v1";
const FIXED_BYTES: usize = 128;
const RUN_BYTES: usize = 24;
const CHECKSUM_BYTES: usize = 16;

/// Longest CURRENT, in bytes.
pub const CURRENT_BYTES: usize = FIXED_BYTES + RUNS_NAMED * RUN_BYTES + CHECKSUM_BYTES;

/// What is known of a run without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunMeta {
    /// Its identity, which is also its name.
    pub id: RunId,
    /// Length of its file in bytes.
    pub size_bytes: u64,
    /// Number of its entries, tombstones included.
    pub records: u64,
}

/// The last frame that is in the runs, and where the journal goes on behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Sequence number of the last frame that is in the runs.
    pub sequence: u64,
    /// Hash of that frame.
    pub hash: [u8; 32],
    /// First sequence number of the segment that holds it.
    pub segment_first: u64,
    /// Salt of that segment.
    pub segment_salt: [u8; 16],
    /// Offset in that segment of the byte just behind the frame.
    pub offset: u64,
    /// The highest sequence number known to be on the disk when this was written.
    pub synced_through: u64,
    /// Offset in that segment at which that frame begins; zero if the segment has no frame up to there.
    pub last_offset: u64,
    /// Journal time of that frame, nanoseconds since the epoch.
    pub time_ns: u64,
}

/// All that `index/CURRENT` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// The store that the index belongs to.
    pub store: [u8; 16],
    /// The runs, oldest first.
    pub runs: Vec<RunMeta>,
    /// What they reach.
    pub reach: Reach,
}

impl Current {
    /// The bytes of the file; refused with the reason when there are too many runs, or one is named twice.
    pub fn encode(&self) -> Result<Vec<u8>, &'static str> {
        if let Some(objection) = objection(&self.runs) {
            return Err(objection);
        }
        let mut bytes = Vec::with_capacity(CURRENT_BYTES);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((self.runs.len() as u32).to_le_bytes());
        bytes.extend(self.store);
        bytes.extend(self.reach.sequence.to_le_bytes());
        bytes.extend(self.reach.hash);
        bytes.extend(self.reach.segment_first.to_le_bytes());
        bytes.extend(self.reach.segment_salt);
        bytes.extend(self.reach.offset.to_le_bytes());
        bytes.extend(self.reach.synced_through.to_le_bytes());
        bytes.extend(self.reach.last_offset.to_le_bytes());
        bytes.extend(self.reach.time_ns.to_le_bytes());
        for run in &self.runs {
            bytes.extend(run.id.as_bytes());
            bytes.extend(run.size_bytes.to_le_bytes());
            bytes.extend(run.records.to_le_bytes());
        }
        bytes.extend(checksum(&bytes));
        Ok(bytes)
    }

    /// Reads the bytes of the file; `None` where an earlier version of this program wrote them, whose runs are of no use.
    /// Otherwise the reason why they are not one.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, &'static str> {
        match Self::decode_any(bytes)? {
            (VERSION, current) => Ok(Some(current)),
            _ => Ok(None),
        }
    }

    /// As [`Current::decode`], whatever runs it names; with its version.
    pub fn decode_any(bytes: &[u8]) -> Result<(u32, Self), &'static str> {
        let (body, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or("it is cut short")?;
        if bytes.len() > CURRENT_BYTES {
            return Err("it is too long");
        }
        let mut fields = Fields::of(body);
        if fields.array() != Some(MAGIC) {
            return Err("it does not begin as this file does");
        }
        if checksum(body) != *sum && !planted(Bug::CurrentChecksum) {
            return Err("its checksum does not match");
        }
        let version = fields.u32().filter(|version| [BEFORE, VERSION].contains(version));
        let version = version.ok_or("its format version is unknown")?;
        let current = Self::fields(&mut fields).ok_or("its length is not what it says")?;
        objection(&current.runs).map_or(Ok((version, current)), Err)
    }

    fn fields(fields: &mut Fields<'_>) -> Option<Self> {
        let count = fields.u32()?;
        let store = fields.array()?;
        let reach = Reach {
            sequence: fields.u64()?,
            hash: fields.array()?,
            segment_first: fields.u64()?,
            segment_salt: fields.array()?,
            offset: fields.u64()?,
            synced_through: fields.u64()?,
            last_offset: fields.u64()?,
            time_ns: fields.u64()?,
        };
        let mut run = || {
            Some(RunMeta { id: RunId::from_bytes(fields.array()?), size_bytes: fields.u64()?, records: fields.u64()? })
        };
        // Ends at the first run that is not there, so a wild count allocates nothing.
        let runs = (0..count).map(|_| run()).collect::<Option<Vec<_>>>()?;
        fields.is_empty().then_some(Current { store, runs, reach })
    }
}

fn objection(runs: &[RunMeta]) -> Option<&'static str> {
    if runs.len() > RUNS_NAMED {
        return Some("it names too many runs");
    }
    let mut seen = HashSet::new();
    (!runs.iter().all(|run| seen.insert(run.id))).then_some("it names a run twice")
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut sum = [0; CHECKSUM_BYTES];
    blake3::Hasher::new_derive_key(CONTEXT).update(body).finalize_xof().fill(&mut sum);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn current(runs: u8) -> Current {
        let run = |n| RunMeta { id: RunId::from_bytes([n; 8]), size_bytes: 1000 + u64::from(n), records: n.into() };
        Current {
            store: [1; 16],
            runs: (0..runs).map(run).collect(),
            reach: Reach {
                sequence: 77,
                hash: [2; 32],
                segment_first: 70,
                segment_salt: [3; 16],
                offset: 4096,
                synced_through: 78,
                last_offset: 4000,
                time_ns: 5,
            },
        }
    }

    #[test]
    fn it_comes_back_and_every_flipped_bit_and_cut_is_seen() {
        for runs in [0, 1, 3, RUNS_NAMED as u8] {
            let bytes = current(runs).encode().unwrap();
            assert_eq!(bytes.len(), FIXED_BYTES + RUN_BYTES * usize::from(runs) + CHECKSUM_BYTES);
            assert_eq!(Current::decode(&bytes), Ok(Some(current(runs))));
            for bit in 0..bytes.len() * 8 {
                let mut bad = bytes.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(Current::decode(&bad).is_err(), "bit {bit}");
            }
            for length in 0..bytes.len() {
                assert!(Current::decode(&bytes[..length]).is_err());
            }
        }
    }

    #[test]
    fn one_of_an_earlier_version_is_none_and_tells_its_runs() {
        let mut bytes = current(2).encode().unwrap();
        for (version, told) in [(BEFORE, Ok(None)), (VERSION + 1, Err("its format version is unknown"))] {
            bytes[8..12].copy_from_slice(&version.to_le_bytes());
            let end = bytes.len() - CHECKSUM_BYTES;
            let sum = checksum(&bytes[..end]);
            bytes[end..].copy_from_slice(&sum);
            assert_eq!(Current::decode(&bytes), told);
        }
        bytes[8..12].copy_from_slice(&BEFORE.to_le_bytes());
        let end = bytes.len() - CHECKSUM_BYTES;
        let sum = checksum(&bytes[..end]);
        bytes[end..].copy_from_slice(&sum);
        assert_eq!(Current::decode_any(&bytes), Ok((BEFORE, current(2))));
    }

    #[test]
    fn too_many_runs_and_one_run_twice_are_refused() {
        assert!(current(RUNS_NAMED as u8 + 1).encode().is_err());
        let mut twice = current(2);
        twice.runs[1] = twice.runs[0];
        assert!(twice.encode().is_err());
    }

    #[test]
    fn a_count_that_the_length_belies_is_refused() {
        let mut bytes = current(1).encode().unwrap();
        bytes[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        let end = bytes.len() - CHECKSUM_BYTES;
        let sum = checksum(&bytes[..end]);
        bytes[end..].copy_from_slice(&sum);
        assert_eq!(Current::decode(&bytes), Err("its length is not what it says"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(Current::decode(&bytes).is_err());
        }
    }
}
