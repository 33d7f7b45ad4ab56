//! The filter of a run: 64-byte blocks that tell, with one read, that a key is certainly not in the run.
//!
//! A blocked Bloom filter. Every block carries its own checksum: a bit lost in it would hide a key, which is a wrong
//! answer and not only a slow one. The byte layout is in `docs/format.md`.

use xxhash_rust::xxh3::xxh3_128;

use super::run::RunKey;
use crate::vocabulary::limits::{RUN_FILTER_BITS_PER_KEY, RUN_FILTER_BYTES};

/// Length of a block, in bytes, its checksum included.
pub const BLOCK_BYTES: usize = 64;
const SUM_BYTES: usize = 8;
const BLOCK_BITS: u64 = 8 * (BLOCK_BYTES - SUM_BYTES) as u64;

/// What the filter sees of a key: its XXH3 with 128 bits (the xxHash specification) and the seed 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash {
    block: u64,
    start: u32,
    step: u32,
}

impl KeyHash {
    /// The hash of `key`, the same for every run.
    pub fn of(key: &[u8]) -> Self {
        let hash = xxh3_128(key);
        KeyHash { block: hash as u64, start: (hash >> 64) as u32, step: (hash >> 96) as u32 | 1 }
    }

    /// The block of `blocks` that knows of the key.
    pub fn block(&self, blocks: u64) -> u64 {
        ((u128::from(self.block) * u128::from(blocks)) >> 64) as u64
    }

    /// The bits of that block that are set for the key.
    fn bits(&self, probes: u32) -> impl Iterator<Item = usize> + use<> {
        let (start, step) = (self.start, self.step);
        let bit = move |i: u32| (u64::from(start.wrapping_add(step.wrapping_mul(i))) * BLOCK_BITS) >> 32;
        (0..probes).map(move |i| bit(i) as usize)
    }
}

/// Whether the block at `offset` may know of the key: `false` is certain. Otherwise the reason why it is no block.
pub fn may_hold(block: &[u8], key: &RunKey, offset: u64, hash: &KeyHash, probes: u32) -> Result<bool, &'static str> {
    check_block(block, key, offset)?;
    Ok(block.first_chunk().is_some_and(|block| knows(block, hash, probes)))
}

/// As [`may_hold`], of a block that was checked.
pub fn knows(block: &[u8; BLOCK_BYTES], hash: &KeyHash, probes: u32) -> bool {
    let bits = &block[SUM_BYTES..];
    hash.bits(probes).all(|bit| bits[bit / 8] & 1 << (bit % 8) != 0)
}

/// Whether `block` is what was written at `offset`, or why not.
pub fn check_block(block: &[u8], key: &RunKey, offset: u64) -> Result<(), &'static str> {
    let (sum, bits) = block.split_first_chunk::<SUM_BYTES>().ok_or("a block of the filter is cut short")?;
    if bits.len() != BLOCK_BYTES - SUM_BYTES {
        return Err("a block of the filter has the wrong length");
    }
    let fits = key.checksum(offset, bits) == *sum;
    if fits { Ok(()) } else { Err("the checksum of a block of the filter does not match") }
}

/// A filter in the making, of a size fixed beforehand.
pub struct FilterBuilder {
    bytes: Vec<u8>,
    probes: u32,
}

impl FilterBuilder {
    /// A filter for at most `keys` keys. With more of them than it was made for it stays right and gets less sharp.
    pub fn new(keys: u64) -> Self {
        let most = RUN_FILTER_BYTES / BLOCK_BYTES as u64;
        let blocks = keys.saturating_mul(RUN_FILTER_BITS_PER_KEY).div_ceil(BLOCK_BITS).clamp(1, most);
        // A Bloom filter errs least with ln 2 bits set for every bit that it has for a key.
        let probes = (blocks * BLOCK_BITS * 69 / 100 / keys.max(1)).clamp(1, 6) as u32;
        FilterBuilder { bytes: vec![0; blocks as usize * BLOCK_BYTES], probes }
    }

    /// Number of blocks.
    pub fn blocks(&self) -> u64 {
        (self.bytes.len() / BLOCK_BYTES) as u64
    }

    /// Bits set for each key.
    pub fn probes(&self) -> u32 {
        self.probes
    }

    /// Makes the filter know of a key.
    pub fn insert(&mut self, hash: &KeyHash) {
        let start = hash.block(self.blocks()) as usize * BLOCK_BYTES + SUM_BYTES;
        for bit in hash.bits(self.probes) {
            self.bytes[start + bit / 8] |= 1 << (bit % 8);
        }
    }

    /// The bytes of all blocks, the first of which is at `offset` of the run that `key` belongs to.
    pub fn finish(mut self, key: &RunKey, offset: u64) -> Vec<u8> {
        for (number, block) in self.bytes.chunks_exact_mut(BLOCK_BYTES).enumerate() {
            let (sum, bits) = block.split_at_mut(SUM_BYTES);
            sum.copy_from_slice(&key.checksum::<SUM_BYTES>(offset + (number * BLOCK_BYTES) as u64, bits));
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::run::RunId;
    use super::*;

    #[test]
    fn what_was_inserted_is_found_and_little_else() {
        let key = RunKey::of(RunId::from_bytes([3; 8]));
        let mut builder = FilterBuilder::new(10_000);
        let (blocks, probes) = (builder.blocks(), builder.probes());
        for n in 0..10_000u32 {
            builder.insert(&KeyHash::of(&n.to_le_bytes()));
        }
        let bytes = builder.finish(&key, 640);
        let holds = |n: u32| {
            let hash = KeyHash::of(&n.to_le_bytes());
            let at = hash.block(blocks) as usize * BLOCK_BYTES;
            may_hold(&bytes[at..at + BLOCK_BYTES], &key, 640 + at as u64, &hash, probes).unwrap()
        };
        assert!((0..10_000).all(holds));
        let wrong = (10_000..110_000).filter(|n| holds(*n)).count();
        assert!(wrong < 2_000, "{wrong} of 100000");
    }

    #[test]
    fn a_flipped_bit_in_a_block_is_seen() {
        let key = RunKey::of(RunId::from_bytes([3; 8]));
        let bytes = FilterBuilder::new(1).finish(&key, 0);
        assert!(check_block(&bytes, &key, 0).is_ok());
        assert!(check_block(&bytes, &key, 64).is_err());
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(check_block(&bad, &key, 0).is_err());
        }
        for length in 0..BLOCK_BYTES {
            assert!(check_block(&bytes[..length], &key, 0).is_err());
        }
    }

    #[test]
    fn a_filter_is_bounded_whatever_the_number_of_keys() {
        let huge = FilterBuilder::new(u64::MAX);
        assert_eq!((huge.bytes.len() as u64, huge.probes()), (RUN_FILTER_BYTES, 1));
        assert_eq!(FilterBuilder::new(0).blocks(), 1);
    }
}
