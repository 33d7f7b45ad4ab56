//! The two hints in the file `lock` (format.md, "Lock file"): numbers that survive the loss of the journal's end.

use super::Malformed;
use super::header::array;
use crate::vocabulary::planted::{Bug, planted};

/// Bytes of one slot; each is written with one call and never crosses a sector.
pub const HINT_BYTES: usize = 32;
/// Offset of the highest sequence number ever used.
pub const USED_AT: u64 = 0;
/// Offset of the highest sequence known to be synced; it alone feeds *synced-through*.
pub const SYNCED_AT: u64 = 512;

/// The bytes of a slot that holds `sequence`.
pub fn encode(sequence: u64) -> [u8; HINT_BYTES] {
    let mut bytes = [0; HINT_BYTES];
    bytes[..8].copy_from_slice(&sequence.to_le_bytes());
    let sum = blake3::hash(&bytes[..8]);
    bytes[8..24].copy_from_slice(&sum.as_bytes()[..16]);
    bytes
}

/// Reads a slot. A slot that was never written, or is torn, is no hint: zero.
pub fn decode(bytes: &[u8]) -> Result<u64, Malformed> {
    let bytes = bytes.get(..HINT_BYTES).ok_or(Malformed::Short)?;
    if blake3::hash(&bytes[..8]).as_bytes()[..16] != bytes[8..24] && !planted(Bug::HintChecksum) {
        return Err(Malformed::Checksum);
    }
    Ok(u64::from_le_bytes(array(bytes, 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_hint_is_no_hint() {
        assert_eq!(decode(&encode(77)), Ok(77));
        assert_eq!(decode(&[0; HINT_BYTES]), Err(Malformed::Checksum));
        let mut torn = encode(77);
        torn[..8].copy_from_slice(&78u64.to_le_bytes());
        assert_eq!(decode(&torn), Err(Malformed::Checksum));
        let mut later = encode(77);
        later[24..].fill(1);
        assert_eq!(decode(&later), Ok(77), "the last eight bytes have no meaning");
    }
}
