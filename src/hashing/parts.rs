//! SHA-256 and BLAKE3 in one pass whose state can be saved and taken up again.
//!
//! SHA-256 is a chain of 64-byte blocks, of which the state is what the last one left. BLAKE3 is a tree, of which the
//! state is one chaining value for each whole subtree of parts, as many as the number of parts has binary ones.

use std::io;

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use sha2::block_api::compress256;

use super::file::check;
use super::{Absorb, Digests, Tree};
use crate::machine::File;
use crate::vocabulary::limits::{IO_CHUNK_BYTES, PART_BYTES, TREE_GROUP_BYTES, TREE_MOST_BYTES};
use crate::vocabulary::{Blake3, Digest};

/// The state of both functions after so many whole parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashState {
    /// Bytes hashed so far: a multiple of `PART_BYTES`, and not zero.
    pub size_bytes: u64,
    /// What the last block left of SHA-256 (FIPS 180-4, H0 to H7).
    pub sha256: [u32; 8],
    /// The chaining values of BLAKE3's subtrees, the largest first.
    pub blake3: Vec<[u8; 32]>,
}

/// FIPS 180-4, 5.3.3.
const SHA256_START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Both digests, of bytes taken piece by piece, in order.
#[derive(Clone)]
pub struct PartHasher {
    sha256: [u32; 8],
    tree: Parts,
    /// The last part, not hashed yet: whether it is the root of the tree is known when more follows.
    part: Vec<u8>,
}

impl Default for PartHasher {
    fn default() -> Self {
        PartHasher { sha256: SHA256_START, tree: Parts::default(), part: Vec::with_capacity(PART_BYTES) }
    }
}

impl Absorb for PartHasher {
    fn absorb(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.part.len() == PART_BYTES {
                self.take_part();
            }
            let (now, later) = bytes.split_at(bytes.len().min(PART_BYTES - self.part.len()));
            self.part.extend_from_slice(now);
            bytes = later;
        }
    }
}

impl PartHasher {
    /// Goes on from a saved state, with the chaining values of the whole groups of what was hashed. More bytes have to
    /// follow.
    pub fn resume(state: HashState, groups: Vec<ChainingValue>) -> Self {
        let parts = state.size_bytes / PART_BYTES as u64;
        PartHasher {
            sha256: state.sha256,
            tree: Parts { subtrees: state.blake3, parts, groups },
            part: Vec::with_capacity(PART_BYTES),
        }
    }

    /// Bytes taken so far.
    pub fn size_bytes(&self) -> u64 {
        self.tree.size_bytes() + self.part.len() as u64
    }

    /// The state to go on from; `None` where no whole number of parts has been taken. More bytes have to follow.
    pub fn save(&mut self) -> Option<HashState> {
        if self.part.len() == PART_BYTES {
            self.take_part();
        }
        let whole = self.part.is_empty() && self.tree.parts > 0;
        whole.then(|| HashState {
            size_bytes: self.tree.size_bytes(),
            sha256: self.sha256,
            blake3: self.tree.subtrees.clone(),
        })
    }

    fn take_part(&mut self) {
        let (blocks, rest) = self.part.as_chunks::<64>();
        debug_assert!(rest.is_empty(), "a part is whole blocks");
        compress256(&mut self.sha256, blocks);
        self.tree.push(&self.part);
        self.part.clear();
    }

    /// The digests of everything taken.
    pub fn finish(self) -> Digests {
        self.finish_with_tree().0
    }

    /// As [`PartHasher::finish`], with the tree of what was taken, where it is large enough to have one.
    pub fn finish_with_tree(mut self) -> (Digests, Option<Tree>) {
        let size_bytes = self.size_bytes();
        let (blocks, rest) = self.part.as_chunks::<64>();
        compress256(&mut self.sha256, blocks);
        let mut last = [[0; 64]; 2];
        last.as_flattened_mut()[..rest.len()].copy_from_slice(rest);
        last.as_flattened_mut()[rest.len()] = 0x80;
        let used = if rest.len() < 56 { 1 } else { 2 };
        last[used - 1][56..].copy_from_slice(&(size_bytes * 8).to_be_bytes());
        compress256(&mut self.sha256, &last[..used]);
        let mut digest = [0; 32];
        for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(self.sha256) {
            *bytes = word.to_be_bytes();
        }
        let (blake3, tree) = self.tree.root(&self.part);
        (Digests { digest: Digest::from_bytes(digest), blake3: Blake3::from_bytes(blake3), size_bytes }, tree)
    }
}

/// The subtrees of BLAKE3 that are whole.
#[derive(Clone, Debug, Default)]
struct Parts {
    subtrees: Vec<ChainingValue>,
    parts: u64,
    /// The chaining values of the groups of `TREE_GROUP_BYTES` that are whole.
    groups: Vec<ChainingValue>,
}

/// Parts in a group: a power of two, so a group is one subtree.
const GROUP_PARTS: u64 = (TREE_GROUP_BYTES / PART_BYTES) as u64;

impl Parts {
    fn size_bytes(&self) -> u64 {
        self.parts * PART_BYTES as u64
    }

    fn hasher(&self, part: &[u8]) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(self.size_bytes());
        hasher.update(part);
        hasher
    }

    /// Takes a whole part behind which more follows: so nothing that is merged here is the root.
    fn push(&mut self, part: &[u8]) {
        let mut subtree = self.hasher(part).finalize_non_root();
        self.parts += 1;
        for level in 1..=self.parts.trailing_zeros() {
            let left = self.subtrees.pop().expect("there is one for every binary one of the parts before");
            subtree = merge_subtrees_non_root(&left, &subtree, Mode::Hash);
            if level == GROUP_PARTS.trailing_zeros() && self.size_bytes() <= TREE_MOST_BYTES {
                self.groups.push(subtree);
            }
        }
        self.subtrees.push(subtree);
    }

    /// The hash of it all, with the last part, whole or not; and the tree.
    fn root(mut self, last: &[u8]) -> ([u8; 32], Option<Tree>) {
        let (hasher, size_bytes) = (self.hasher(last), self.size_bytes() + last.len() as u64);
        let Some(mut left) = self.subtrees.pop() else { return (*hasher.finalize().as_bytes(), None) };
        assert!(!last.is_empty(), "more bytes follow what was saved");
        let mut right = hasher.finalize_non_root();
        // So many of the subtrees are in the group of the last part.
        let mut in_group = (self.parts % GROUP_PARTS).count_ones();
        let mut group = (in_group == 0).then_some(right);
        while let Some(next) = self.subtrees.pop() {
            right = merge_subtrees_non_root(&left, &right, Mode::Hash);
            left = next;
            in_group = in_group.saturating_sub(1);
            if in_group == 0 {
                group = group.or(Some(right));
            }
        }
        self.groups.extend(group);
        (*merge_subtrees_root(&left, &right, Mode::Hash).as_bytes(), Tree::new(size_bytes, self.groups))
    }
}

/// Whether a file begins with the bytes of `state`, by BLAKE3 alone: the chaining values of the whole groups of it, or
/// `None`. Asks `go_on` between pieces; when it says no, the error is `Interrupted`.
pub fn begins_with(
    file: &dyn File,
    state: &HashState,
    go_on: &dyn Fn(u64) -> bool,
) -> io::Result<Option<Vec<ChainingValue>>> {
    let mut tree = Parts::default();
    let mut buffer = vec![0; IO_CHUNK_BYTES];
    while tree.size_bytes() < state.size_bytes {
        let left = usize::try_from(state.size_bytes - tree.size_bytes()).unwrap_or(usize::MAX);
        let want = left.min(buffer.len());
        if file.read_at(&mut buffer[..want], tree.size_bytes())? < want {
            return Ok(None);
        }
        buffer[..want].chunks(PART_BYTES).for_each(|part| tree.push(part));
        check(go_on, want as u64)?;
    }
    Ok((tree.subtrees == state.blake3).then_some(tree.groups))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::simulated::World;
    use crate::machine::{Machine, Open};
    use std::path::Path;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 31) as u8).collect()
    }

    const LENGTHS: [usize; 20] = [
        0,
        1,
        55,
        56,
        63,
        64,
        119,
        PART_BYTES - 1,
        PART_BYTES,
        PART_BYTES + 1,
        2 * PART_BYTES,
        4 * PART_BYTES + 57,
        7 * PART_BYTES,
        8 * PART_BYTES,
        TREE_GROUP_BYTES,
        TREE_GROUP_BYTES + 1,
        TREE_GROUP_BYTES + 3 * PART_BYTES + 1,
        2 * TREE_GROUP_BYTES - 1,
        2 * TREE_GROUP_BYTES,
        3 * TREE_GROUP_BYTES + 15 * PART_BYTES,
    ];

    fn with_tree(bytes: &[u8]) -> (Digests, Option<Tree>) {
        let mut hasher = crate::hashing::Hasher::default();
        hasher.update(bytes);
        hasher.finish_with_tree()
    }

    #[test]
    fn the_digests_are_those_of_the_plain_functions() {
        for length in LENGTHS {
            let bytes = bytes(length);
            for piece in [1 << 20, 1000, 64, 63] {
                let mut hasher = PartHasher::default();
                bytes.chunks(piece).for_each(|piece| hasher.absorb(piece));
                assert_eq!(hasher.size_bytes(), length as u64);
                assert_eq!(hasher.finish_with_tree(), with_tree(&bytes), "{length} bytes by {piece}");
            }
        }
    }

    #[test]
    fn what_was_saved_goes_on_to_the_same_digests() {
        let world = World::new(1);
        let machine = world.process("test");
        for length in LENGTHS {
            let bytes = bytes(length);
            for parts in 1..length.div_ceil(PART_BYTES) {
                let mut first = PartHasher::default();
                first.absorb(&bytes[..parts * PART_BYTES]);
                let state = first.save().unwrap();
                assert_eq!(state.size_bytes, (parts * PART_BYTES) as u64);
                assert_eq!(state.blake3.len(), parts.count_ones() as usize);
                world.put("/file", &bytes[..parts * PART_BYTES]);
                let file = machine.open(Path::new("/file"), Open::Read).unwrap();
                let groups = begins_with(file.as_ref(), &state, &|_| true).unwrap().unwrap();
                let mut second = PartHasher::resume(state, groups);
                second.absorb(&bytes[parts * PART_BYTES..]);
                first.absorb(&bytes[parts * PART_BYTES..]);
                assert_eq!(first.finish_with_tree(), with_tree(&bytes));
                assert_eq!(second.finish_with_tree(), with_tree(&bytes), "{length} bytes, saved after {parts} parts");
            }
        }
        let mut part_of_a_part = PartHasher::default();
        part_of_a_part.absorb(b"one");
        assert_eq!(part_of_a_part.save(), None);
        assert_eq!(PartHasher::default().save(), None);
    }

    #[test]
    fn a_file_that_begins_otherwise_is_noticed() {
        let world = World::new(1);
        let machine = world.process("test");
        let bytes = bytes(3 * PART_BYTES + 7);
        world.put("/file", &bytes);
        let mut hasher = PartHasher::default();
        hasher.absorb(&bytes[..3 * PART_BYTES]);
        let state = hasher.save().unwrap();
        let holds = |go_on: &dyn Fn(u64) -> bool| {
            begins_with(machine.open(Path::new("/file"), Open::Read).unwrap().as_ref(), &state, go_on)
                .map(|groups| groups.is_some())
        };
        assert!(holds(&|_| true).unwrap());
        assert_eq!(holds(&|_| false).unwrap_err().kind(), io::ErrorKind::Interrupted);
        world.corrupt("/file", 3 * PART_BYTES as u64);
        assert!(holds(&|_| true).unwrap(), "what is behind it does not count");
        for at in [0, PART_BYTES as u64, 3 * PART_BYTES as u64 - 1] {
            world.corrupt("/file", at);
            assert!(!holds(&|_| true).unwrap());
            world.corrupt("/file", at);
        }
        world.put("/file", &bytes[..3 * PART_BYTES - 1]);
        assert!(!holds(&|_| true).unwrap());
    }
}
