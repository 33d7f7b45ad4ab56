//! Whether a kernel gives the right answers, before anything rests on it.

use sha2::block_api::compress256;

use super::{Kernel, MOST_LANES, START};

/// Blocks of each message that is tried: more than one, so that what one leaves goes into the next.
const BLOCKS: usize = 3;

/// FIPS 180-4 example: "abc", padded, and its digest.
const ABC: [u8; 3] = *b"abc";
const ABC_DIGEST: [u32; 8] =
    [0xba78_16bf, 0x8f01_cfea, 0x4141_40de, 0x5dae_2223, 0xb003_61a3, 0x9617_7a9c, 0xb410_ff61, 0xf200_15ad];

/// Every number of messages up to all lanes, each message another one, against the `sha2` crate; and "abc" in each lane
/// against the standard.
pub(super) fn is_right(kernel: Kernel) -> bool {
    (1..=kernel.way().lanes()).all(|count| agrees(kernel, count)) && knows_abc(kernel)
}

fn agrees(kernel: Kernel, count: usize) -> bool {
    let mut messages = [[[0_u8; 64]; BLOCKS]; MOST_LANES];
    let mut next = count as u32;
    for byte in messages.as_flattened_mut().as_flattened_mut() {
        next = next.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
        *byte = (next >> 24) as u8;
    }
    let mut states = [START; MOST_LANES];
    taken(kernel, &mut states[..count], &messages);
    (0..count).all(|i| {
        let mut expected = START;
        compress256(&mut expected, &messages[i]);
        states[i] == expected
    })
}

fn knows_abc(kernel: Kernel) -> bool {
    let mut block = [0; 64];
    block[..3].copy_from_slice(&ABC);
    (block[3], block[63]) = (0x80, 24);
    let mut states = [START; MOST_LANES];
    let count = kernel.way().lanes();
    taken(kernel, &mut states[..count], &[[block]; MOST_LANES]);
    states[..count].iter().all(|state| *state == ABC_DIGEST)
}

fn taken<const N: usize>(kernel: Kernel, states: &mut [[u32; 8]], messages: &[[[u8; 64]; N]; MOST_LANES]) {
    let count = states.len();
    kernel.compress(states, &messages.each_ref().map(|blocks| &blocks[..])[..count]);
}
