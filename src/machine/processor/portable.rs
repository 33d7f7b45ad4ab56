//! Lanes in plain code: for any processor, and to try the shared body everywhere.

use super::lanes::{eight_rounds, lane_kernel, next_word, round};

/// Messages at once.
pub(super) const LANES: usize = 4;

type Vector = [u32; LANES];

lane_kernel!(4);

#[inline(always)]
fn load(words: &Vector) -> Vector {
    *words
}

#[inline(always)]
fn store(vector: Vector) -> Vector {
    vector
}

#[inline(always)]
fn splat(word: u32) -> Vector {
    [word; LANES]
}

#[inline(always)]
fn add(a: Vector, b: Vector) -> Vector {
    std::array::from_fn(|i| a[i].wrapping_add(b[i]))
}

#[inline(always)]
fn xor3(a: Vector, b: Vector, c: Vector) -> Vector {
    std::array::from_fn(|i| a[i] ^ b[i] ^ c[i])
}

#[inline(always)]
fn choose(e: Vector, f: Vector, g: Vector) -> Vector {
    std::array::from_fn(|i| g[i] ^ (e[i] & (f[i] ^ g[i])))
}

#[inline(always)]
fn majority(a: Vector, b: Vector, c: Vector) -> Vector {
    std::array::from_fn(|i| b[i] ^ ((a[i] ^ b[i]) & (b[i] ^ c[i])))
}

#[inline(always)]
fn rotate<const RIGHT: u32, const LEFT: u32>(a: Vector) -> Vector {
    std::array::from_fn(|i| (a[i] >> RIGHT) | (a[i] << LEFT))
}

#[inline(always)]
fn shift<const RIGHT: u32>(a: Vector) -> Vector {
    std::array::from_fn(|i| a[i] >> RIGHT)
}

#[inline(always)]
fn words(blocks: &[&[[u8; 64]]; LANES], at: usize) -> [Vector; 16] {
    let word = |lane: usize, i: usize| u32::from_be_bytes(blocks[lane][at].as_chunks::<4>().0[i]);
    std::array::from_fn(|i| std::array::from_fn(|lane| word(lane, i)))
}
