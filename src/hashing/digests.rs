//! SHA-256 and BLAKE3 of the same bytes in one pass.

use sha2::Digest as _;

use super::tree::{Tree, TreeHasher};
use crate::vocabulary::{Blake3, Digest};

/// Both digests of some bytes, and how many there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// SHA-256 (FIPS 180-4).
    pub digest: Digest,
    /// BLAKE3.
    pub blake3: Blake3,
    /// Length in bytes.
    pub size_bytes: u64,
}

impl Digests {
    /// The digests of bytes that are in memory.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }
}

/// Whatever takes the bytes of a file piece by piece, in order.
pub trait Absorb {
    /// Takes more bytes.
    fn absorb(&mut self, bytes: &[u8]);
}

/// Takes no notice of them: for whoever wants the pieces alone.
impl Absorb for () {
    fn absorb(&mut self, _: &[u8]) {}
}

/// SHA-256 alone: what it takes to tell whether bytes are those that a digest names.
#[derive(Clone, Default)]
pub struct Sha256(sha2::Sha256);

impl Sha256 {
    /// The digest of everything taken.
    pub fn finish(self) -> Digest {
        Digest::from_bytes(self.0.finalize().into())
    }
}

impl Absorb for Sha256 {
    fn absorb(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

impl Absorb for Hasher {
    fn absorb(&mut self, bytes: &[u8]) {
        self.update(bytes);
    }
}

/// Both digests, of bytes taken piece by piece, in order.
#[derive(Clone, Default)]
pub struct Hasher {
    sha256: sha2::Sha256,
    blake3: TreeHasher,
    size_bytes: u64,
}

/// How much of a piece goes through both functions before the next: it stays in the cache between them.
const PIECE_BYTES: usize = 64 << 10;

impl Hasher {
    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE_BYTES) {
            self.sha256.update(piece);
            self.blake3.update(piece);
        }
        self.size_bytes += bytes.len() as u64;
    }

    /// The digests of everything taken.
    pub fn finish(self) -> Digests {
        self.finish_with_tree().0
    }

    /// As [`Hasher::finish`], with the tree of what was taken, where it is large enough to have one.
    pub fn finish_with_tree(self) -> (Digests, Option<Tree>) {
        let (blake3, tree) = self.blake3.finish();
        let digest = Digest::from_bytes(self.sha256.finalize().into());
        (Digests { digest, blake3, size_bytes: self.size_bytes }, tree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4 examples (SHA-256 of "abc" and of the empty message) and the BLAKE3 paper's empty input.
    #[test]
    fn the_official_vectors() {
        let empty = Digests::of(b"");
        assert_eq!(empty.digest, Digest::EMPTY);
        assert_eq!(empty.blake3.to_string(), "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
        assert_eq!(
            Digests::of(b"abc").digest.to_hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn pieces_make_no_difference() {
        let bytes: Vec<u8> = (0..200_000u32).map(|i| ((i * 7) >> 3) as u8).collect();
        for cut in [0, 1, 63, 64, 65_535, 65_536, 65_537, 200_000] {
            let mut hasher = Hasher::default();
            hasher.update(&bytes[..cut]);
            hasher.update(&bytes[cut..]);
            assert_eq!(hasher.finish(), Digests::of(&bytes));
            let mut alone = Sha256::default();
            alone.absorb(&bytes[..cut]);
            alone.absorb(&bytes[cut..]);
            assert_eq!(alone.finish(), Digests::of(&bytes).digest);
        }
    }
}
