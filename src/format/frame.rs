//! A frame: one transaction of the journal (format.md, "Frame").
//!
//! A frame verifies alone: its checksum is keyed with the store and the segment's salt and covers the offset, so that
//! neither stale bytes, nor user data, nor a frame of a dead branch can pass for one. It can therefore be found behind
//! a damaged stretch, too.

use super::Malformed;
use super::header::array;
use crate::vocabulary::limits::FRAME_PAYLOAD_BYTES;
use crate::vocabulary::planted::{Bug, planted};

/// Bytes before the payload.
pub const FRAME_HEADER_BYTES: usize = 96;
/// Frames begin at multiples of this.
pub const FRAME_ALIGN: u64 = 8;
const MAGIC: &[u8; 4] = b"LFr1";
const RESERVED_AT: usize = 64;
const CHECKSUM_AT: usize = 80;

/// One frame, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its sequence number.
    pub sequence: u64,
    /// The last sequence known to be on disk when it was written.
    pub synced_through: u64,
    /// Journal time, nanoseconds since the epoch.
    pub time_ns: u64,
    /// The hash of the frame before it.
    pub previous: [u8; 32],
    /// The encoded records.
    pub payload: Vec<u8>,
}

/// A frame's header that fits where it stands, its payload not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Length of the whole frame with its padding, in bytes.
    pub frame_bytes: usize,
}

impl Frame {
    /// The bytes of the frame at `offset` of a segment whose key is `key`, and its hash.
    pub fn encode(&self, key: &[u8; 32], offset: u64) -> (Vec<u8>, [u8; 32]) {
        assert!(self.payload.len() <= FRAME_PAYLOAD_BYTES, "a frame's payload is bounded by whoever builds it");
        let mut bytes = vec![0; padded(self.payload.len())];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4..8].copy_from_slice(&u32::try_from(self.payload.len()).expect("bounded above").to_le_bytes());
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.synced_through.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.time_ns.to_le_bytes());
        bytes[32..64].copy_from_slice(&self.previous);
        bytes[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + self.payload.len()].copy_from_slice(&self.payload);
        let hash = hash(&bytes, key, offset);
        bytes[CHECKSUM_AT..FRAME_HEADER_BYTES].copy_from_slice(&hash[..16]);
        (bytes, hash)
    }

    /// Reads what a frame's first [`FRAME_HEADER_BYTES`] claim, to know how much to read.
    pub fn claim(bytes: &[u8]) -> Result<Claim, Malformed> {
        let header = bytes.get(..FRAME_HEADER_BYTES).ok_or(Malformed::Short)?;
        if &header[..4] != MAGIC {
            return Err(Malformed::Magic);
        }
        let length = u32::from_le_bytes(array(header, 4)) as usize;
        if length > FRAME_PAYLOAD_BYTES {
            return Err(Malformed::Length);
        }
        Ok(Claim { frame_bytes: padded(length) })
    }

    /// Reads the frame that begins at `offset` of a segment, from the beginning of `bytes`; with its hash.
    pub fn decode(bytes: &[u8], key: &[u8; 32], offset: u64) -> Result<(Self, [u8; 32]), Malformed> {
        let claim = Frame::claim(bytes)?;
        let bytes = bytes.get(..claim.frame_bytes).ok_or(Malformed::Short)?;
        let hash = hash(bytes, key, offset);
        if hash[..16] != bytes[CHECKSUM_AT..FRAME_HEADER_BYTES] && !planted(Bug::FrameChecksum) {
            return Err(Malformed::Checksum);
        }
        let length = u32::from_le_bytes(array(bytes, 4)) as usize;
        let reserved = bytes[RESERVED_AT..CHECKSUM_AT].iter().chain(&bytes[FRAME_HEADER_BYTES + length..]);
        if reserved.into_iter().any(|b| *b != 0) {
            return Err(Malformed::Reserved);
        }
        let frame = Frame {
            sequence: u64::from_le_bytes(array(bytes, 8)),
            synced_through: u64::from_le_bytes(array(bytes, 16)),
            time_ns: u64::from_le_bytes(array(bytes, 24)),
            previous: array(bytes, 32),
            payload: bytes[FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + length].to_vec(),
        };
        Ok((frame, hash))
    }
}

/// The keyed BLAKE3 of everything but the checksum itself, and of the offset.
fn hash(bytes: &[u8], key: &[u8; 32], offset: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(&offset.to_le_bytes());
    hasher.update(&bytes[..CHECKSUM_AT]);
    hasher.update(&bytes[FRAME_HEADER_BYTES..]);
    *hasher.finalize().as_bytes()
}

fn padded(payload: usize) -> usize {
    (FRAME_HEADER_BYTES + payload).next_multiple_of(FRAME_ALIGN as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Frame {
        Frame { sequence: 5, synced_through: 4, time_ns: 99, previous: [8; 32], payload: b"some records".to_vec() }
    }

    #[test]
    fn a_frame_reads_back_only_where_and_how_it_was_written() {
        let key = [1; 32];
        let (bytes, hash) = sample().encode(&key, 160);
        assert_eq!(bytes.len() % FRAME_ALIGN as usize, 0);
        assert_eq!(Frame::decode(&bytes, &key, 160), Ok((sample(), hash)));
        assert_eq!(Frame::decode(&bytes, &key, 168), Err(Malformed::Checksum), "at another offset");
        assert_eq!(Frame::decode(&bytes, &[2; 32], 160), Err(Malformed::Checksum), "in another segment");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_a_frame_is_noticed() {
        let key = [1; 32];
        let (good, _) = sample().encode(&key, 0);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Frame::decode(&bad, &key, 0).is_err(), "bit {bit}");
        }
        for reserved in (64..CHECKSUM_AT).chain(FRAME_HEADER_BYTES + sample().payload.len()..good.len()) {
            let mut later = good.clone();
            later[reserved] = 1;
            let sum = hash(&later, &key, 0);
            later[CHECKSUM_AT..FRAME_HEADER_BYTES].copy_from_slice(&sum[..16]);
            assert_eq!(Frame::decode(&later, &key, 0), Err(Malformed::Reserved), "byte {reserved}");
        }
        for cut in 0..good.len() {
            assert!(Frame::decode(&good[..cut], &key, 0).is_err(), "cut at {cut}");
        }
    }
}
