//! Several messages, taken block by block together.

use super::choice::Choice;
use crate::machine::processor::{MOST_LANES, START};
use crate::vocabulary::Digest;
use crate::vocabulary::planted::{Bug, planted};

/// The bytes of a block of SHA-256.
pub(super) type Block = [u8; 64];

/// A message of which some blocks are at hand.
pub(super) trait Stream {
    /// What the blocks before have made of the state.
    fn state(&mut self) -> &mut [u32; 8];
    /// The blocks at hand.
    fn blocks(&self) -> &[Block];
    /// So many of them went into the state.
    fn took(&mut self, blocks: usize);
}

/// Takes blocks of every message, each of which has some at hand, until at least one of those that go together has no
/// more.
pub(super) fn advance<S: Stream>(choice: &Choice, streams: &mut [S]) {
    let kernel = choice.kernel(streams.len());
    for group in streams.chunks_mut(kernel.way().lanes()) {
        let mut states = [START; MOST_LANES];
        let states = &mut states[..group.len()];
        states.iter_mut().zip(&mut *group).for_each(|(state, stream)| *state = *stream.state());
        let mut blocks: [&[Block]; MOST_LANES] = [&[]; MOST_LANES];
        blocks.iter_mut().zip(&*group).for_each(|(blocks, stream)| *blocks = stream.blocks());
        let count = kernel.compress(states, &blocks[..group.len()]);
        if planted(Bug::LanesMixed) {
            states.rotate_left(1);
        }
        for (state, stream) in states.iter().zip(group) {
            *stream.state() = *state;
            stream.took(count);
        }
    }
}

/// The end of a message (FIPS 180-4, 5.1.1): what is left behind its last whole block, with the padding and its length.
/// Says how many blocks that takes.
pub(super) fn padded(rest: &[u8], size_bytes: u64) -> ([Block; 2], usize) {
    let mut end = [[0; 64]; 2];
    let bytes = end.as_flattened_mut();
    bytes[..rest.len()].copy_from_slice(rest);
    bytes[rest.len()] = 0x80;
    let count = if rest.len() < 56 { 1 } else { 2 };
    end[count - 1][56..].copy_from_slice(&(size_bytes.wrapping_mul(8)).to_be_bytes());
    (end, count)
}

/// The digest that a state is after the last block.
pub(super) fn digest(state: &[u32; 8]) -> Digest {
    let mut bytes = [0; 32];
    bytes.as_chunks_mut::<4>().0.iter_mut().zip(state).for_each(|(bytes, word)| *bytes = word.to_be_bytes());
    Digest::from_bytes(bytes)
}
