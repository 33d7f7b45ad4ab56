//! Uses of entries that are not on record yet (format.md, "Uses").
//!
//! What cannot be read is passed over: a use that is lost is no harm, and one that nobody made would be.

use crate::vocabulary::EntryId;

/// Bytes of one use.
pub const USE_BYTES: usize = 32;
const MAGIC: [u8; 2] = *b"LU";
const CHECKED: usize = 26;

/// One use: which entry, and when, in wall-clock nanoseconds since the epoch.
pub type Use = (EntryId, u64);

/// The bytes of one use.
pub fn encode((entry, when_ns): &Use) -> [u8; USE_BYTES] {
    let mut bytes = [0; USE_BYTES];
    bytes[..2].copy_from_slice(&MAGIC);
    bytes[2..18].copy_from_slice(entry.as_bytes());
    bytes[18..CHECKED].copy_from_slice(&when_ns.to_le_bytes());
    let checksum = blake3::hash(&bytes[..CHECKED]);
    bytes[CHECKED..].copy_from_slice(&checksum.as_bytes()[..USE_BYTES - CHECKED]);
    bytes
}

/// The uses in the bytes of a file, in their order; those that are torn or were never written are left out.
pub fn decode(bytes: &[u8]) -> Vec<Use> {
    bytes.chunks_exact(USE_BYTES).filter_map(one).collect()
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
