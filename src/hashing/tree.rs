//! The tree of BLAKE3 down to groups of bytes: what tells a wrong part of a large file from a right one.
//!
//! BLAKE3 is a binary tree over chunks of 1 KiB whose left subtrees are as large as they can be, so each group of
//! `TREE_GROUP_BYTES` bytes is one subtree, whatever the length of the whole (BLAKE3 paper, section 2.1).

use std::ops::Range;

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};

use crate::vocabulary::limits::{TREE_GROUP_BYTES, TREE_MOST_BYTES};
use crate::vocabulary::{Blake3, ByteRanges};

const GROUP: u64 = TREE_GROUP_BYTES as u64;

/// How many groups so many bytes are.
pub fn groups_in(size_bytes: u64) -> u64 {
    size_bytes.div_ceil(GROUP)
}

/// The chaining values of all groups of some bytes, of which there are at least two groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    size_bytes: u64,
    values: Vec<ChainingValue>,
}

impl Tree {
    /// The tree of `size_bytes` bytes with these values; `None` if there are not as many as there are groups, or only one,
    /// which has no value beside the root.
    pub fn new(size_bytes: u64, values: Vec<ChainingValue>) -> Option<Self> {
        let fits = values.len() > 1 && values.len() as u64 == groups_in(size_bytes);
        fits.then_some(Tree { size_bytes, values })
    }

    /// Length in bytes of what it is the tree of.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// One value for each group, in order.
    pub fn values(&self) -> &[ChainingValue] {
        &self.values
    }

    /// How many groups there are.
    pub fn groups(&self) -> u64 {
        self.values.len() as u64
    }

    /// The bytes of the nth group; the last one may be shorter than the others.
    pub fn range(&self, group: u64) -> Range<u64> {
        group * GROUP..((group + 1) * GROUP).min(self.size_bytes)
    }

    /// The BLAKE3 that these values make: a tree is to be believed only where it is the one that is known.
    pub fn root(&self) -> Blake3 {
        let mut subtrees = Subtrees::default();
        let (last, rest) = self.values.split_last().expect("there are two groups at least");
        rest.iter().for_each(|value| subtrees.push(*value));
        Blake3::from_bytes(subtrees.root(last).expect("there are two groups at least"))
    }

    /// Whether `bytes` are those of the nth group.
    pub fn holds(&self, group: u64, bytes: &[u8]) -> bool {
        let range = self.range(group);
        bytes.len() as u64 == range.end - range.start && value_of(group, bytes) == self.values[group as usize]
    }

    /// The groups from `first` on whose values are other ones than `found`, as ranges of bytes.
    pub fn wrong(&self, first: u64, found: &[ChainingValue]) -> ByteRanges {
        let mut wrong = ByteRanges::default();
        for (group, found) in (first..).zip(found) {
            if self.values.get(group as usize).is_some_and(|value| value != found) {
                wrong.push(self.range(group));
            }
        }
        wrong
    }
}

/// The chaining value of the nth group. It must not be empty.
pub fn value_of(group: u64, bytes: &[u8]) -> ChainingValue {
    hasher_at(group).update(bytes).finalize_non_root()
}

fn hasher_at(group: u64) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(group * GROUP);
    hasher
}

/// The subtrees that are whole, the largest first, of values of equal subtrees taken in order.
#[derive(Clone, Debug, Default)]
struct Subtrees {
    stack: Vec<ChainingValue>,
    count: u64,
}

impl Subtrees {
    /// Takes the next one, behind which more follows: so nothing that is merged here is the root.
    fn push(&mut self, mut value: ChainingValue) {
        self.count += 1;
        for _ in 0..self.count.trailing_zeros() {
            let left = self.stack.pop().expect("there is one for every binary one of the count before");
            value = merge_subtrees_non_root(&left, &value, Mode::Hash);
        }
        self.stack.push(value);
    }

    /// The root, with the last one; `None` if it is the only one.
    fn root(mut self, last: &ChainingValue) -> Option<[u8; 32]> {
        let mut left = self.stack.pop()?;
        let mut right = *last;
        while let Some(next) = self.stack.pop() {
            right = merge_subtrees_non_root(&left, &right, Mode::Hash);
            left = next;
        }
        Some(*merge_subtrees_root(&left, &right, Mode::Hash).as_bytes())
    }
}

/// BLAKE3 of bytes taken piece by piece, in order, with the values of the groups.
#[derive(Clone)]
pub struct TreeHasher {
    /// The number of the group that is being filled, or full: whether it is the root is known when more follows.
    group: u64,
    hasher: blake3::Hasher,
    filled: usize,
    values: Vec<ChainingValue>,
    subtrees: Subtrees,
    keep: bool,
}

impl Default for TreeHasher {
    fn default() -> Self {
        TreeHasher::new(true)
    }
}

impl TreeHasher {
    /// Takes bytes from the beginning. Unless `keep`, it makes the root alone, in bounded memory.
    pub fn new(keep: bool) -> Self {
        let (hasher, values, subtrees) = (blake3::Hasher::new(), Vec::new(), Subtrees::default());
        TreeHasher { group: 0, hasher, filled: 0, values, subtrees, keep }
    }

    /// Takes more bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.filled == TREE_GROUP_BYTES {
                let value = self.hasher.finalize_non_root();
                self.push(value);
            }
            let (now, later) = bytes.split_at(bytes.len().min(TREE_GROUP_BYTES - self.filled));
            self.hasher.update(now);
            self.filled += now.len();
            bytes = later;
        }
    }

    /// Takes the value of the group that is being filled, whole, in the place of its bytes. More has to follow.
    pub(super) fn push(&mut self, value: ChainingValue) {
        self.group += 1;
        self.hasher = hasher_at(self.group);
        self.filled = 0;
        self.subtrees.push(value);
        if self.keep && self.group * GROUP > TREE_MOST_BYTES {
            (self.keep, self.values) = (false, Vec::new());
        }
        if self.keep {
            self.values.push(value);
        }
    }

    /// Bytes taken so far.
    pub fn size_bytes(&self) -> u64 {
        self.group * GROUP + self.filled as u64
    }

    /// BLAKE3 of everything taken, and the tree where there is one: of more than one group, of at most `TREE_MOST_BYTES`,
    /// and if it was to be kept.
    pub fn finish(self) -> (Blake3, Option<Tree>) {
        if self.group == 0 {
            return (Blake3::from_bytes(*self.hasher.finalize().as_bytes()), None);
        }
        assert!(self.filled > 0, "more follows each value that was taken");
        let (last, size_bytes) = (self.hasher.finalize_non_root(), self.size_bytes());
        self.finish_with(last, size_bytes)
    }

    /// As [`TreeHasher::finish`], with the value of the last group, whole or not, in the place of its bytes; there must be
    /// another before it.
    pub(super) fn finish_with(mut self, last: ChainingValue, size_bytes: u64) -> (Blake3, Option<Tree>) {
        let root = self.subtrees.root(&last).expect("there is a group before the last");
        self.values.push(last);
        let tree = if self.keep { Tree::new(size_bytes, self.values) } else { None };
        (Blake3::from_bytes(root), tree)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::hashing) fn bytes(length: usize) -> Vec<u8> {
        (0..length as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 31) as u8).collect()
    }

    /// Lengths around every edge of chunks and groups.
    pub(in crate::hashing) fn lengths() -> Vec<usize> {
        let edges = [0, 1024, TREE_GROUP_BYTES, 2 * TREE_GROUP_BYTES, 3 * TREE_GROUP_BYTES, 8 * TREE_GROUP_BYTES];
        edges.iter().flat_map(|edge| [edge.saturating_sub(1), *edge, edge + 1, edge + 1025]).collect()
    }

    #[test]
    fn the_root_is_the_hash_whatever_the_length_and_the_pieces() {
        for length in lengths() {
            let bytes = bytes(length);
            for piece in [1 << 20, 65_536, 999_983] {
                for keep in [true, false] {
                    let mut hasher = TreeHasher::new(keep);
                    bytes.chunks(piece).for_each(|piece| hasher.update(piece));
                    assert_eq!(hasher.size_bytes(), length as u64);
                    let (blake3, tree) = hasher.finish();
                    assert_eq!(blake3.as_bytes(), blake3::hash(&bytes).as_bytes(), "{length} bytes by {piece}");
                    assert_eq!(tree.is_some(), keep && length > TREE_GROUP_BYTES);
                    let Some(tree) = tree else { continue };
                    assert_eq!((tree.root(), tree.size_bytes()), (blake3, length as u64));
                    for (group, bytes) in (0..).zip(bytes.chunks(TREE_GROUP_BYTES)) {
                        assert!(tree.holds(group, bytes));
                        assert!(!tree.holds(group, &bytes[1..]));
                    }
                }
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_in_its_group_and_in_no_other() {
        let mut bytes = bytes(5 * TREE_GROUP_BYTES + 7);
        let mut hasher = TreeHasher::default();
        hasher.update(&bytes);
        let tree = hasher.finish().1.unwrap();
        for at in [0, TREE_GROUP_BYTES - 1, TREE_GROUP_BYTES, 3 * TREE_GROUP_BYTES + 5, 5 * TREE_GROUP_BYTES + 6] {
            bytes[at] ^= 4;
            let found: Vec<_> =
                (0..).zip(bytes.chunks(TREE_GROUP_BYTES)).map(|(group, bytes)| value_of(group, bytes)).collect();
            let group = (at / TREE_GROUP_BYTES) as u64;
            assert_eq!(tree.wrong(0, &found).all(), [tree.range(group)]);
            assert!(tree.wrong(0, &found[..group as usize]).is_empty());
            assert_eq!(tree.wrong(group, &found[group as usize..]).all(), [tree.range(group)]);
            bytes[at] ^= 4;
        }
    }

    #[test]
    fn values_that_are_not_one_for_each_group_are_no_tree() {
        let values = |count| vec![[0; 32]; count];
        for (size_bytes, count) in [(0, 0), (1, 1), (GROUP, 1), (GROUP + 1, 1), (GROUP + 1, 3), (u64::MAX, 2)] {
            assert_eq!(Tree::new(size_bytes, values(count)), None);
        }
        assert_eq!(Tree::new(GROUP + 1, values(2)).unwrap().range(1), GROUP..GROUP + 1);
    }
}
