//! Uses of entries, and readings of blobs, that are not on record yet (format.md, "Uses").
//!
//! What cannot be read is passed over: a use that is lost is no harm, and one that nobody made would be.

use crate::vocabulary::{Digest, EntryId};

/// Bytes of one use.
pub const USE_BYTES: usize = 32;
const MAGIC: [u8; 2] = *b"LU";
const MAGIC_OF_A_READING: [u8; 2] = *b"LV";
const CHECKED: usize = 26;

/// One use: which entry, and when, in wall-clock nanoseconds since the epoch.
pub type Use = (EntryId, u64);

/// One reading of a blob that was found right: the beginning of its digest, and when, in wall-clock nanoseconds since the
/// epoch.
pub type Reading = ([u8; 16], u64);

/// The beginning of a digest, by which a reading names it.
pub fn beginning(digest: &Digest) -> [u8; 16] {
    let mut beginning = [0; 16];
    beginning.copy_from_slice(&digest.as_bytes()[..16]);
    beginning
}

/// The bytes of one use.
pub fn encode((entry, when_ns): &Use) -> [u8; USE_BYTES] {
    note(MAGIC, entry.as_bytes(), *when_ns)
}

/// The bytes of one reading.
pub fn encode_reading((beginning, when_ns): &Reading) -> [u8; USE_BYTES] {
    note(MAGIC_OF_A_READING, beginning, *when_ns)
}

fn note(magic: [u8; 2], what: &[u8; 16], when_ns: u64) -> [u8; USE_BYTES] {
    let mut bytes = [0; USE_BYTES];
    bytes[..2].copy_from_slice(&magic);
    bytes[2..18].copy_from_slice(what);
    bytes[18..CHECKED].copy_from_slice(&when_ns.to_le_bytes());
    let checksum = blake3::hash(&bytes[..CHECKED]);
    bytes[CHECKED..].copy_from_slice(&checksum.as_bytes()[..USE_BYTES - CHECKED]);
    bytes
}

/// The uses in the bytes of a file, in their order; those that are torn or were never written are left out.
pub fn decode(bytes: &[u8]) -> Vec<Use> {
    bytes.chunks_exact(USE_BYTES).filter_map(one).collect()
}

/// The readings in the bytes of a file, likewise.
pub fn decode_readings(bytes: &[u8]) -> Vec<Reading> {
    bytes.chunks_exact(USE_BYTES).filter_map(one_reading).collect()
}

fn one_reading(bytes: &[u8]) -> Option<Reading> {
    let beginning = bytes.get(2..18)?.try_into().ok()?;
    let told = (beginning, u64::from_le_bytes(bytes.get(18..CHECKED)?.try_into().ok()?));
    (encode_reading(&told) == bytes).then_some(told)
}

fn one(bytes: &[u8]) -> Option<Use> {
    let entry = EntryId::from_bytes(bytes.get(2..18)?.try_into().ok()?);
    let told = (entry, u64::from_le_bytes(bytes.get(18..CHECKED)?.try_into().ok()?));
    (encode(&told) == bytes).then_some(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(byte: u8) -> EntryId {
        EntryId::from_bytes([byte; 16])
    }

    #[test]
    fn a_use_is_these_bytes() {
        let bytes = encode(&(entry(0xab), 0x0102_0304));
        assert_eq!(&bytes[..2], b"LU");
        assert_eq!(bytes[2..18], [0xab; 16]);
        assert_eq!(bytes[18..26], [4, 3, 2, 1, 0, 0, 0, 0]);
        assert_eq!(bytes[26..], blake3::hash(&bytes[..26]).as_bytes()[..6]);
    }

    #[test]
    fn a_reading_is_these_bytes_and_no_use() {
        let reading = (beginning(&Digest::EMPTY), 7);
        let bytes = encode_reading(&reading);
        assert_eq!((&bytes[..2], &bytes[2..6]), (&b"LV"[..], &[0xe3, 0xb0, 0xc4, 0x42][..]));
        assert_eq!((decode(&bytes), decode_readings(&bytes)), (vec![], vec![reading]));
        let both = [encode(&(entry(1), 1)), bytes].concat();
        assert_eq!((decode(&both), decode_readings(&both)), (vec![(entry(1), 1)], vec![reading]));
        let mut bad = bytes;
        bad[20] ^= 1;
        assert_eq!(decode_readings(&bad), []);
    }

    #[test]
    fn what_is_torn_or_changed_is_no_use_and_the_others_are() {
        let all = [(entry(1), 1), (entry(2), u64::MAX), (entry(3), 0)];
        let bytes: Vec<u8> = all.iter().flat_map(encode).collect();
        assert_eq!(decode(&bytes), all);
        assert_eq!(decode(&bytes[..USE_BYTES * 2 + 31]), all[..2]);
        assert_eq!(decode(&[0; 4 * USE_BYTES]), []);
        for at in USE_BYTES..2 * USE_BYTES {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert_eq!(decode(&bad), [all[0], all[2]], "byte {at}");
        }
    }
}
