//! The file that says how far an ingest has come (format.md, "Checkpoint").

use serde::{Deserialize, Serialize};

use super::Malformed;
use super::header::array;
use crate::hashing::HashState;
use crate::machine::Meta;
use crate::vocabulary::limits::PART_BYTES;

const MAGIC: &[u8; 8] = b"LARDERI\x01";
const FIXED: usize = 8 + 40 + 8 + 8 + 8 + 32 + 1;
/// Longest path that is kept: what Linux takes (PATH_MAX).
const PATH_BYTES: usize = 4096;
/// Longest checkpoint, in bytes.
pub const CHECKPOINT_BYTES: usize = FIXED + 64 * 32 + 2 + PATH_BYTES + 16;

/// What a source was: a file that is changed, replaced or restored is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStamp {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Modification time, nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// Status change time, nanoseconds since the epoch.
    pub ctime_ns: i64,
}

impl SourceStamp {
    /// The stamp of a source that looks like this.
    pub fn of(meta: &Meta) -> Self {
        let Meta { device, inode, size_bytes, mtime_ns, ctime_ns, .. } = *meta;
        SourceStamp { device, inode, size_bytes, mtime_ns, ctime_ns }
    }
}

/// How far an ingest has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The source.
    pub source: SourceStamp,
    /// The inode of the staged file.
    pub staged_inode: u64,
    /// When it was written, journal time.
    pub time_ns: u64,
    /// The state of the digests; as many bytes of the staged file are those of the source, and synced.
    pub state: HashState,
    /// The path of the source, for people; empty where it is too long.
    pub path: Vec<u8>,
}

impl Checkpoint {
    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let path = if self.path.len() > PATH_BYTES { &[] } else { &self.path[..] };
        let mut bytes = Vec::with_capacity(FIXED + 32 * self.state.blake3.len() + path.len() + 18);
        bytes.extend_from_slice(MAGIC);
        for number in [self.source.device, self.source.inode, self.source.size_bytes] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for time in [self.source.mtime_ns, self.source.ctime_ns] {
            bytes.extend_from_slice(&time.to_le_bytes());
        }
        for number in [self.staged_inode, self.time_ns, self.state.size_bytes] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        self.state.sha256.iter().for_each(|word| bytes.extend_from_slice(&word.to_be_bytes()));
        bytes.push(u8::try_from(self.state.blake3.len()).expect("one for each bit of a length at most"));
        self.state.blake3.iter().for_each(|value| bytes.extend_from_slice(value));
        bytes.extend_from_slice(&u16::try_from(path.len()).expect("it is bounded").to_le_bytes());
        bytes.extend_from_slice(path);
        let sum = blake3::hash(&bytes);
        bytes.extend_from_slice(&sum.as_bytes()[..16]);
        bytes
    }

    /// Reads the file, whole.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let covered = bytes.len().checked_sub(16).filter(|covered| *covered >= FIXED + 2).ok_or(Malformed::Short)?;
        let (bytes, sum) = bytes.split_at(covered);
        if &bytes[..8] != MAGIC {
            return Err(Malformed::Magic);
        }
        if blake3::hash(bytes).as_bytes()[..16] != *sum {
            return Err(Malformed::Checksum);
        }
        let number = |at: usize| u64::from_le_bytes(array(bytes, at));
        let time = |at: usize| i64::from_le_bytes(array(bytes, at));
        let source = SourceStamp {
            device: number(8),
            inode: number(16),
            size_bytes: number(24),
            mtime_ns: time(32),
            ctime_ns: time(40),
        };
        let (staged_inode, time_ns, size_bytes) = (number(48), number(56), number(64));
        let count = usize::from(bytes[FIXED - 1]);
        let parts = size_bytes / PART_BYTES as u64;
        let whole = size_bytes % PART_BYTES as u64 == 0 && (1..source.size_bytes).contains(&size_bytes);
        if !whole || parts.count_ones() as usize != count {
            return Err(Malformed::Fields);
        }
        let end = FIXED + 32 * count;
        let path = bytes.get(end + 2..).ok_or(Malformed::Length)?;
        if path.len() != usize::from(u16::from_le_bytes(array(bytes, end))) || path.len() > PATH_BYTES {
            return Err(Malformed::Length);
        }
        let sha256 = std::array::from_fn(|i| u32::from_be_bytes(array(bytes, 72 + 4 * i)));
        let blake3 = bytes[FIXED..end].chunks_exact(32).map(|value| array(value, 0)).collect();
        let state = HashState { size_bytes, sha256, blake3 };
        Ok(Checkpoint { source, staged_inode, time_ns, state, path: path.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let source = SourceStamp { device: 1, inode: 2, size_bytes: 1 << 20, mtime_ns: -3, ctime_ns: 4 };
        let state = HashState {
            size_bytes: 3 * PART_BYTES as u64,
            sha256: std::array::from_fn(|i| i as u32),
            blake3: vec![[7; 32], [8; 32]],
        };
        Checkpoint { source, staged_inode: 5, time_ns: 6, state, path: b"dir/a".to_vec() }
    }

    #[test]
    fn a_checkpoint_reads_back_and_its_damage_is_noticed() {
        let good = checkpoint().encode();
        assert_eq!(Checkpoint::decode(&good), Ok(checkpoint()));
        for byte in 0..good.len() {
            let mut bad = good.clone();
            bad[byte] ^= 0x10;
            assert!(Checkpoint::decode(&bad).is_err(), "byte {byte}");
            assert!(Checkpoint::decode(&good[..byte]).is_err(), "cut at {byte}");
        }
        assert!(Checkpoint::decode(&[&good[..], &[0]].concat()).is_err());
        assert!(good.len() <= CHECKPOINT_BYTES);
    }

    #[test]
    fn a_checkpoint_is_these_bytes() {
        let bytes = checkpoint().encode();
        let number = |number: u64| number.to_le_bytes().to_vec();
        let mut expected = b"LARDERI\x01".to_vec();
        expected.extend([number(1), number(2), number(1 << 20), (-3_i64).to_le_bytes().to_vec(), number(4)].concat());
        expected.extend([number(5), number(6), number(196_608)].concat());
        expected.extend((0..8).flat_map(|word| [0, 0, 0, word]));
        expected.extend([&[2][..], &[7; 32], &[8; 32], &[5, 0], b"dir/a"].concat());
        assert_eq!(bytes[..bytes.len() - 16], expected);
        assert_eq!(bytes[bytes.len() - 16..], blake3::hash(&expected).as_bytes()[..16]);
    }

    #[test]
    fn a_state_that_cannot_be_is_refused() {
        for (size_bytes, values) in [(0, 0), (PART_BYTES as u64 + 1, 1), (1 << 20, 1), (PART_BYTES as u64, 2)] {
            let mut checkpoint = checkpoint();
            checkpoint.state = HashState { size_bytes, sha256: [0; 8], blake3: vec![[0; 32]; values] };
            assert_eq!(Checkpoint::decode(&checkpoint.encode()), Err(Malformed::Fields), "{size_bytes} {values}");
        }
        let long = Checkpoint { path: vec![b'a'; PATH_BYTES + 1], ..checkpoint() };
        assert_eq!(Checkpoint::decode(&long.encode()).unwrap().path, b"");
    }
}
