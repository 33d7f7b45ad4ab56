//! The file of a blob's tree (format.md, "Tree").

use super::Malformed;
use super::header::array;
use crate::hashing::Tree;
use crate::vocabulary::Digest;
use crate::vocabulary::limits::TREE_GROUP_BYTES;
use crate::vocabulary::planted::{Bug, planted};

const MAGIC: &[u8; 8] = b"LARDERT\x01";
const CONTEXT: &str = "larder tree v1";
const FIXED: usize = 8 + 32 + 8 + 4;
const CHECKSUM_BYTES: usize = 16;

/// The length in bytes of the file of a tree of so many groups.
pub fn file_bytes(groups: u64) -> u64 {
    (FIXED + CHECKSUM_BYTES) as u64 + 32 * groups
}

/// The bytes of the file.
pub fn encode(digest: &Digest, tree: &Tree) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FIXED + 32 * tree.values().len() + CHECKSUM_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(digest.as_bytes());
    bytes.extend_from_slice(&tree.size_bytes().to_le_bytes());
    bytes.extend_from_slice(&(TREE_GROUP_BYTES as u32).to_le_bytes());
    tree.values().iter().for_each(|value| bytes.extend_from_slice(value));
    let sum = checksum(&bytes);
    bytes.extend_from_slice(&sum);
    bytes
}

/// Reads the file, whole: of which digest it claims to be the tree, and the tree. What it says is not to be believed before
/// the root of it is the BLAKE3 that is on record of the digest.
pub fn decode(bytes: &[u8]) -> Result<(Digest, Tree), Malformed> {
    let covered = bytes.len().checked_sub(CHECKSUM_BYTES).filter(|covered| *covered >= FIXED);
    let (body, sum) = bytes.split_at(covered.ok_or(Malformed::Short)?);
    if &body[..8] != MAGIC {
        return Err(if body[..7] == MAGIC[..7] { Malformed::Version } else { Malformed::Magic });
    }
    if checksum(body) != *sum && !planted(Bug::TreeUnchecked) {
        return Err(Malformed::Checksum);
    }
    let size_bytes = u64::from_le_bytes(array(body, 40));
    if u32::from_le_bytes(array(body, 48)) != TREE_GROUP_BYTES as u32 {
        return Err(Malformed::Fields);
    }
    let (values, rest) = body[FIXED..].as_chunks::<32>();
    let tree = if rest.is_empty() { Tree::new(size_bytes, values.to_vec()) } else { None };
    Ok((Digest::from_bytes(array(body, 8)), tree.ok_or(Malformed::Length)?))
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut sum = [0; CHECKSUM_BYTES];
    blake3::Hasher::new_derive_key(CONTEXT).update(body).finalize_xof().fill(&mut sum);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tree() -> Tree {
        Tree::new(3 * TREE_GROUP_BYTES as u64 + 5, (0..4).map(|n| [n; 32]).collect()).unwrap()
    }

    #[test]
    fn it_comes_back_and_every_flipped_bit_and_cut_is_seen() {
        let digest = Digest::from_bytes([9; 32]);
        let bytes = encode(&digest, &tree());
        assert_eq!(bytes.len() as u64, file_bytes(4));
        assert_eq!(decode(&bytes), Ok((digest, tree())));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bad).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err());
        }
        assert!(decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn a_tree_is_these_bytes() {
        let bytes = encode(&Digest::EMPTY, &tree());
        let mut expected = b"LARDERT\x01".to_vec();
        expected.extend_from_slice(Digest::EMPTY.as_bytes());
        expected.extend_from_slice(&3_145_733_u64.to_le_bytes());
        expected.extend_from_slice(&1_048_576_u32.to_le_bytes());
        (0..4).for_each(|n| expected.extend_from_slice(&[n; 32]));
        assert_eq!(bytes[..bytes.len() - 16], expected);
        let key = blake3::derive_key("larder tree v1", &expected);
        assert_eq!(bytes[bytes.len() - 16..], key[..16]);
    }

    #[test]
    fn what_cannot_be_is_refused_whatever_its_checksum_says() {
        let bytes = encode(&Digest::EMPTY, &tree());
        let with = |at: usize, field: &[u8]| {
            let mut body = bytes[..bytes.len() - CHECKSUM_BYTES].to_vec();
            body[at..at + field.len()].copy_from_slice(field);
            let sum = checksum(&body);
            decode(&[&body[..], &sum].concat()).unwrap_err()
        };
        assert_eq!(with(0, b"LARDERI"), Malformed::Magic);
        assert_eq!(with(7, &[2]), Malformed::Version);
        assert_eq!(with(40, &u64::MAX.to_le_bytes()), Malformed::Length);
        assert_eq!(with(40, &0_u64.to_le_bytes()), Malformed::Length);
        assert_eq!(with(48, &65_536_u32.to_le_bytes()), Malformed::Fields);
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(decode(&bytes).is_err());
        }
    }
}
