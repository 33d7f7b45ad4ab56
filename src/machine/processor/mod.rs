//! What the processor can do for SHA-256: one message at a time, or several at once.
//!
//! A SHA-256 of one message is serial: every round waits for the one before. Several messages are independent, so a
//! register holds a word of each (*lanes*), or the rounds of two go in turns. Which way is fastest depends on the
//! processor, so each is tried once, when it is first asked for, and measured ([`race`]).
//!
//! A [`Kernel`] can be had only where the processor has its instructions, and after its answers were those of the
//! standard's examples and of the `sha2` crate in this very process. So having one is the proof that it may be used.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512vl;
mod constants;
mod lanes;
mod portable;
pub mod race;
#[cfg(target_arch = "x86_64")]
mod sha;
mod trial;

use std::sync::OnceLock;

use sha2::block_api::compress256;

pub use constants::START;

/// Most messages that any way takes at once.
pub const MOST_LANES: usize = 16;

/// A way to compute SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// One message at a time, by the `sha2` crate, with the SHA instructions of the processor where it has them.
    Serial,
    /// Four messages at once, in plain code.
    Portable,
    /// Two messages in turns, with the SHA instructions of x86.
    Sha,
    /// Eight messages at once, with AVX2.
    Avx2,
    /// Eight messages at once in registers of 256 bits, with AVX-512VL.
    Avx512Vl,
    /// Sixteen messages at once, with AVX-512.
    Avx512,
}

impl Way {
    /// Every way, on whatever processor.
    pub const ALL: [Way; 6] = [Way::Serial, Way::Portable, Way::Sha, Way::Avx2, Way::Avx512Vl, Way::Avx512];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Way::Serial => "serial",
            Way::Portable => "portable",
            Way::Sha => "sha",
            Way::Avx2 => "avx2",
            Way::Avx512Vl => "avx512vl",
            Way::Avx512 => "avx512",
        }
    }

    /// How many messages it takes at once.
    pub fn lanes(self) -> usize {
        match self {
            Way::Serial => 1,
            Way::Portable => portable::LANES,
            Way::Sha => 2,
            Way::Avx2 | Way::Avx512Vl => 8,
            Way::Avx512 => MOST_LANES,
        }
    }

    /// Whether the processor has the instructions for it.
    pub fn is_there(self) -> bool {
        match self {
            Way::Serial | Way::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Way::Sha => is_x86_feature_detected!("sha") && is_x86_feature_detected!("avx"),
            #[cfg(target_arch = "x86_64")]
            Way::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Way::Avx512Vl => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Way::Avx512 => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw"),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }
}

/// A way that this processor has, and that was tried: see the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(Way);

impl Kernel {
    /// One message at a time, which is always to be had.
    pub const SERIAL: Kernel = Kernel(Way::Serial);

    /// `None` where the processor does not have it, or where it did not give the right answers. It is tried once in a
    /// process.
    pub fn of(way: Way) -> Option<Kernel> {
        static TRIED: [OnceLock<bool>; Way::ALL.len()] = [const { OnceLock::new() }; Way::ALL.len()];
        let kernel = Kernel(way);
        let is_right = || way.is_there() && trial::is_right(kernel);
        TRIED[way as usize].get_or_init(is_right).then_some(kernel)
    }

    /// Which way it is.
    pub fn way(self) -> Way {
        self.0
    }

    /// Takes as many blocks of each message as the one with the fewest has into its state (H0 to H7 of FIPS 180-4), and
    /// says how many those were. Fewer messages than the way has lanes cost as much as all.
    ///
    /// Panics with more messages than lanes, or where there are not as many states.
    pub fn compress(self, states: &mut [[u32; 8]], blocks: &[&[[u8; 64]]]) -> usize {
        assert!(states.len() == blocks.len() && blocks.len() <= self.0.lanes(), "{} in {:?}", blocks.len(), self.0);
        let count = blocks.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
        if count == 0 {
            return 0;
        }
        match (self.0, states) {
            (Way::Serial, states) => one_by_one(states, blocks, count),
            (Way::Portable, states) => together(states, blocks, count, portable::compress),
            #[cfg(target_arch = "x86_64")]
            (Way::Sha, [first, second]) => {
                // SAFETY: a kernel is made only where the processor has the instructions that it needs.
                unsafe { sha::compress(first, second, &blocks[0][..count], &blocks[1][..count]) };
            }
            #[cfg(target_arch = "x86_64")]
            (Way::Sha, states) => one_by_one(states, blocks, count),
            #[cfg(target_arch = "x86_64")]
            (Way::Avx2, states) => {
                // SAFETY: as above.
                together(states, blocks, count, |states, blocks| unsafe { avx2::compress(states, blocks) });
            }
            #[cfg(target_arch = "x86_64")]
            (Way::Avx512Vl, states) => {
                // SAFETY: as above.
                together(states, blocks, count, |states, blocks| unsafe { avx512vl::compress(states, blocks) });
            }
            #[cfg(target_arch = "x86_64")]
            (Way::Avx512, states) => {
                // SAFETY: as above.
                together(states, blocks, count, |states, blocks| unsafe { avx512::compress(states, blocks) });
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("such a kernel is not made here"),
        }
        count
    }
}

fn one_by_one(states: &mut [[u32; 8]], blocks: &[&[[u8; 64]]], count: usize) {
    for (state, blocks) in states.iter_mut().zip(blocks) {
        compress256(state, &blocks[..count]);
    }
}

/// Gathers the states by words, which is how lanes want them. A lane without a message follows the first.
fn together<const LANES: usize>(
    states: &mut [[u32; 8]],
    blocks: &[&[[u8; 64]]],
    count: usize,
    compress: impl FnOnce(&mut [[u32; LANES]; 8], &[&[[u8; 64]]; LANES]),
) {
    let mut by_words = [[0; LANES]; 8];
    let mut all = [&blocks[0][..count]; LANES];
    for (lane, (state, blocks)) in states.iter().zip(blocks).enumerate() {
        all[lane] = &blocks[..count];
        by_words.iter_mut().zip(state).for_each(|(words, word)| words[lane] = *word);
    }
    compress(&mut by_words, &all);
    for (lane, state) in states.iter_mut().enumerate() {
        by_words.iter().zip(state).for_each(|(words, word)| *word = words[lane]);
    }
}
