//! The digests of many messages that are in memory.
//!
//! All on the caller's thread, in lanes where that is faster: whoever has more threads gives each of them some.

use super::Digests;
use super::choice::Choice;
use super::stream::{Block, Stream, advance, digest, padded};
use crate::machine::processor::START;
use crate::vocabulary::{Blake3, Digest};

/// The SHA-256 of every message, in their order.
pub fn sha256_many(messages: &[&[u8]]) -> Vec<Digest> {
    sha256_by(Choice::for_bytes(bytes_of(messages)), messages)
}

/// Both digests of every message, in their order.
pub fn digest_many(messages: &[&[u8]]) -> Vec<Digests> {
    let of = |(message, digest): (&&[u8], Digest)| {
        let blake3 = Blake3::from_bytes(*blake3::hash(message).as_bytes());
        Digests { digest, blake3, size_bytes: message.len() as u64 }
    };
    messages.iter().zip(sha256_many(messages)).map(of).collect()
}

fn bytes_of(messages: &[&[u8]]) -> u64 {
    messages.iter().map(|message| message.len() as u64).sum()
}

/// As [`sha256_many`], in the way that `choice` says.
pub fn sha256_by(choice: &Choice, messages: &[&[u8]]) -> Vec<Digest> {
    let mut digests = vec![Digest::EMPTY; messages.len()];
    // The longest first: what is left over when all else is done is short then.
    let mut order: Vec<usize> = (0..messages.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(messages[*index].len()));
    let mut waiting = order.into_iter().map(|index| Message::new(index, messages[index]));
    let mut lanes: Vec<Message<'_>> = waiting.by_ref().take(choice.lanes()).collect();
    while !lanes.is_empty() {
        advance(choice, &mut lanes);
        let mut at = 0;
        while at < lanes.len() {
            let lane = &mut lanes[at];
            if !lane.blocks().is_empty() {
                at += 1;
                continue;
            }
            digests[lane.index] = digest(&lane.state);
            match waiting.next() {
                Some(next) => *lane = next,
                None => _ = lanes.swap_remove(at),
            }
        }
    }
    digests
}

struct Message<'a> {
    index: usize,
    state: [u32; 8],
    body: &'a [Block],
    /// What comes behind the body, and how much of it was taken and there is.
    end: [Block; 2],
    end_from: usize,
    end_to: usize,
}

impl<'a> Message<'a> {
    fn new(index: usize, bytes: &'a [u8]) -> Self {
        let (body, rest) = bytes.as_chunks();
        let (end, end_to) = padded(rest, bytes.len() as u64);
        Message { index, state: START, body, end, end_from: 0, end_to }
    }
}

impl Stream for Message<'_> {
    fn state(&mut self) -> &mut [u32; 8] {
        &mut self.state
    }

    fn blocks(&self) -> &[Block] {
        if self.body.is_empty() { &self.end[self.end_from..self.end_to] } else { self.body }
    }

    fn took(&mut self, blocks: usize) {
        if self.body.is_empty() {
            self.end_from += blocks;
        } else {
            self.body = &self.body[blocks..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::processor::{Kernel, MOST_LANES, Way};
    use proptest::prelude::*;
    use sha2::Digest as _;

    /// Every way that this machine has, and what it would choose by itself.
    fn choices() -> Vec<(String, Choice)> {
        let forced = Way::ALL.into_iter().filter_map(Kernel::of);
        let forced = forced.map(|kernel| (kernel.way().word().to_owned(), Choice::only(kernel)));
        forced.chain([("chosen".to_owned(), Choice::fastest().clone())]).collect()
    }

    fn patterned(length: usize, seed: usize) -> Vec<u8> {
        (0..length).map(|i| ((i * 31 + seed * 7) ^ (i >> 8)) as u8).collect()
    }

    fn assert_right(messages: &[Vec<u8>]) {
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        let expected: Vec<Digest> =
            messages.iter().map(|message| Digest::from_bytes(sha2::Sha256::digest(message).into())).collect();
        for (called, choice) in choices() {
            assert!(sha256_by(&choice, &messages) == expected, "{called}, {} messages", messages.len());
        }
        let both = digest_many(&messages);
        assert!(both.iter().zip(&messages).all(|(digests, message)| *digests == Digests::of(message)));
    }

    /// FIPS 180-4 examples: one block, two blocks, a million times "a"; and NIST's CAVP SHA256ShortMsg, Len = 8 and 512.
    #[test]
    fn the_official_vectors() {
        let million = vec![b'a'; 1_000_000];
        let short = [0xd3];
        let block: Vec<u8> = (0..64)
            .map(|i| {
                let hex = "5a86b737eaea8ee976a0a24da63e7ed7eefad18a101c1211e2b3650c5187c2a8a650547208251f6d4237e661c7bf4c77\
                           f335390394c37fa1a9f9be836ac28509";
                u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()
            })
            .collect();
        let vectors: [(&[u8], &str); 6] = [
            (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
            (&million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
            (&short, "28969cdfa74a12c82f3bad960b0b000aca2ac329deea5c2328ebc6f2ba9802c1"),
            (&block, "42e61e174fbb3897d6dd6cef3dd2802fe67b331953b06114a65c772859dfc1aa"),
        ];
        let messages = vectors.map(|(message, _)| message);
        for (called, choice) in choices() {
            for (found, (message, expected)) in sha256_by(&choice, &messages).iter().zip(vectors) {
                assert_eq!(found.to_hex(), expected, "{called}, {} bytes", message.len());
            }
        }
    }

    #[test]
    fn every_edge_of_a_block_and_every_number_of_lanes() {
        let lengths =
            [0, 1, 3, 54, 55, 56, 57, 62, 63, 64, 65, 118, 119, 120, 127, 128, 129, 191, 192, 4095, 4096, 4097];
        for count in 0..=2 * MOST_LANES + 1 {
            for first in [0, 5, 11, 17] {
                let messages = (0..count).map(|i| patterned(lengths[(first + i) % lengths.len()], i));
                assert_right(&messages.collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn one_long_message_beside_many_short_ones() {
        let mut messages: Vec<Vec<u8>> = (0..100).map(|i| patterned(i, i)).collect();
        messages.insert(50, patterned(300_001, 3));
        assert_right(&messages);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn random_batches(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..40)) {
            assert_right(&messages);
        }
    }
}
