//! What the fuzz targets share.
//!
//! Nearly every format of larder carries a checksum, which a fuzzer does not guess. So every target looks at its bytes
//! twice: as they are, and sealed, with the right checksum put on by code of its own that follows `docs/format.md`. The
//! seeds are therefore ordinary files of the format, and both what happens to damaged bytes and what happens to
//! well-sealed nonsense is tried.

/// Runs `look` on the bytes as they are, and on the bytes that `seal` has put a checksum on.
pub fn raw_and_sealed(bytes: &[u8], seal: impl FnOnce(&mut [u8]), look: impl Fn(&[u8])) {
    look(bytes);
    let mut sealed = bytes.to_vec();
    seal(&mut sealed);
    look(&sealed);
}

/// A bit of `bytes` chosen by `choice`, turned over; `None` if there are no bytes.
pub fn flipped(bytes: &[u8], choice: u64) -> Option<Vec<u8>> {
    let bits = bytes.len() as u64 * 8;
    let bit = choice.checked_rem(bits)?;
    let mut flipped = bytes.to_vec();
    flipped[(bit / 8) as usize] ^= 1 << (bit % 8);
    Some(flipped)
}

/// A number that depends on all of `bytes`: where a target needs a choice that the bytes do not hold.
pub fn choice(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(blake3::hash(bytes).as_bytes()[..8].try_into().expect("eight of 32 bytes"))
}

/// The first 16 bytes of the BLAKE3 of `covered`, put at `at` of `bytes` if they fit.
pub fn put_sum(bytes: &mut [u8], at: usize, sum: &blake3::Hash) {
    if let Some(place) = bytes.get_mut(at..at + 16) {
        place.copy_from_slice(&sum.as_bytes()[..16]);
    }
}

/// Seals a segment header at the beginning of `bytes`.
pub fn seal_header(bytes: &mut [u8]) {
    if let Some(covered) = bytes.get(..144) {
        let sum = blake3::hash(covered);
        put_sum(bytes, 144, &sum);
    }
}
