//! Many messages at once, in every way of computing SHA-256 that this machine has, against the `sha2` crate.
//!
//! An input is a list of messages, each of three bytes: its length (two bytes, of which the highest value is the
//! longest) and what it is made from. The lanes are fed unevenly in two ways: by messages of these lengths, refilled as
//! they end, and by pieces of them whose lengths follow from all of the input.
#![no_main]

use larder::hashing::Digests;
use larder::hashing::choice::Choice;
use larder::hashing::memory::{digest_many, sha256_by};
use larder::machine::processor::{Kernel, START, Way};
use larder_fuzz::choice;
use libfuzzer_sys::fuzz_target;
use sha2::Digest as _;
use sha2::block_api::compress256;

/// Most messages: several for each of the most lanes.
const MESSAGES: usize = 64;
/// The longest message, in bytes.
const LONGEST: usize = 5000;

fuzz_target!(|bytes: &[u8]| {
    let messages: Vec<Vec<u8>> = bytes.as_chunks::<3>().0.iter().take(MESSAGES).map(message).collect();
    let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let expected: Vec<[u8; 32]> = messages.iter().map(|message| sha2::Sha256::digest(message).into()).collect();
    for kernel in Way::ALL.into_iter().filter_map(Kernel::of) {
        let found = sha256_by(&Choice::only(kernel), &messages);
        let found: Vec<[u8; 32]> = found.iter().map(|digest| *digest.as_bytes()).collect();
        assert_eq!(found, expected, "{:?}", kernel.way());
        in_pieces(kernel, &messages, choice(bytes));
    }
    let both = digest_many(&messages);
    assert!(both.iter().zip(&messages).all(|(digests, message)| *digests == Digests::of(message)));
});

fn message([low, high, seed]: &[u8; 3]) -> Vec<u8> {
    let length = usize::from(u16::from_le_bytes([*low, *high])) % (LONGEST + 1);
    (0..length).map(|i| (i.wrapping_mul(0x9e37_79b1) >> 7) as u8 ^ seed).collect()
}

/// The whole blocks of the messages, so many of each at a time as a generator says, and as few as the fewest.
fn in_pieces(kernel: Kernel, messages: &[&[u8]], mut generator: u64) {
    for group in messages.chunks(kernel.way().lanes()) {
        let mut left: Vec<&[[u8; 64]]> = group.iter().map(|message| message.as_chunks().0).collect();
        let mut states = vec![START; group.len()];
        let mut taken = vec![0; group.len()];
        for _ in 0..200 {
            let pieces: Vec<&[[u8; 64]]> = left
                .iter()
                .map(|blocks| {
                    generator =
                        generator.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    &blocks[..blocks.len().min(1 + (generator >> 61) as usize)]
                })
                .collect();
            let count = kernel.compress(&mut states, &pieces);
            if count == 0 {
                break;
            }
            left.iter_mut().for_each(|blocks| *blocks = &blocks[count..]);
            taken.iter_mut().for_each(|taken| *taken += count);
        }
        for ((message, state), taken) in group.iter().zip(&states).zip(&taken) {
            let mut expected = START;
            compress256(&mut expected, &message.as_chunks().0[..*taken]);
            assert_eq!(*state, expected, "{:?}", kernel.way());
        }
    }
}
