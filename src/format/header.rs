//! The header of a journal segment (format.md, "Segment header").

use super::Malformed;
use crate::vocabulary::planted::{Bug, planted};

/// Bytes of a header; the first frame follows at this offset.
pub const HEADER_BYTES: usize = 160;
const MAGIC: &[u8; 8] = b"LARDERJ\x01";
const CHECKED: usize = HEADER_BYTES - 16;

/// What a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SegmentKind {
    /// All live records up to a sequence; whole, and never appended to.
    Base,
    /// The frames that follow.
    Later,
}

/// The fixed beginning of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub kind: SegmentKind,
    /// The store it belongs to.
    pub store: [u8; 16],
    /// The random salt that, with the store, keys its frames.
    pub salt: [u8; 16],
    /// The number of its first frame; of a base, of the only run of frames that it stands for: always 1.
    pub first: u64,
    /// The sequence that it follows; of a base, the one that it reaches.
    pub follows: u64,
    /// The hash of the frame that has this sequence; zeros when it is not known (a damaged end), or there is none.
    pub follows_hash: [u8; 32],
}

impl Header {
    /// The key of this segment's frames.
    pub fn key(&self) -> [u8; 32] {
        let mut material = [0; 32];
        material[..16].copy_from_slice(&self.store);
        if !planted(Bug::FrameKey) {
            material[16..].copy_from_slice(&self.salt);
        }
        blake3::derive_key("larder journal segment v1", &material)
    }

    /// The bytes of the header.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8] = match self.kind {
            SegmentKind::Base => 1,
            SegmentKind::Later => 2,
        };
        bytes[16..32].copy_from_slice(&self.store);
        bytes[32..48].copy_from_slice(&self.salt);
        bytes[48..56].copy_from_slice(&self.first.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.follows.to_le_bytes());
        bytes[64..96].copy_from_slice(&self.follows_hash);
        let sum = checksum(&bytes[..CHECKED]);
        bytes[CHECKED..].copy_from_slice(&sum);
        bytes
    }

    /// Reads a header from the beginning of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let bytes = bytes.get(..HEADER_BYTES).ok_or(Malformed::Short)?;
        if bytes[..7] != MAGIC[..7] {
            return Err(Malformed::Magic);
        }
        if bytes[7] != MAGIC[7] {
            return Err(Malformed::Version);
        }
        if checksum(&bytes[..CHECKED]) != bytes[CHECKED..] && !planted(Bug::HeaderChecksum) {
            return Err(Malformed::Checksum);
        }
        if bytes[9..16].iter().chain(&bytes[96..CHECKED]).any(|b| *b != 0) {
            return Err(Malformed::Reserved);
        }
        let kind = match bytes[8] {
            1 => SegmentKind::Base,
            2 => SegmentKind::Later,
            _ => return Err(Malformed::Fields),
        };
        Ok(Header {
            kind,
            store: array(bytes, 16),
            salt: array(bytes, 32),
            first: u64::from_le_bytes(array(bytes, 48)),
            follows: u64::from_le_bytes(array(bytes, 56)),
            follows_hash: array(bytes, 64),
        })
    }
}

fn checksum(bytes: &[u8]) -> [u8; 16] {
    array(blake3::hash(bytes).as_bytes(), 0)
}

/// `N` bytes of `bytes` at `at`, which the caller has made sure are there.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the range has N bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let header = Header {
            kind: SegmentKind::Later,
            store: [7; 16],
            salt: [9; 16],
            first: 12,
            follows: 11,
            follows_hash: [3; 32],
        };
        let good = header.encode();
        assert_eq!(Header::decode(&good), Ok(header));
        for bit in 0..HEADER_BYTES * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&bad).is_err(), "bit {bit}");
        }
        assert_eq!(Header::decode(&good[..HEADER_BYTES - 1]), Err(Malformed::Short));
        for reserved in (9..16).chain(96..CHECKED) {
            let mut later = good;
            later[reserved] = 1;
            let sum = checksum(&later[..CHECKED]);
            later[CHECKED..].copy_from_slice(&sum);
            assert_eq!(Header::decode(&later), Err(Malformed::Reserved), "byte {reserved}");
        }
    }
}
