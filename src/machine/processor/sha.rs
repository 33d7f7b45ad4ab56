//! SHA-256 with the SHA instructions of x86, two messages in turns.
//!
//! A round of one message waits for the round before it, four cycles on every processor that has these instructions;
//! they could begin one every two cycles. So the rounds of two messages are done in turns.

use std::arch::x86_64::*;

use super::constants::ROUNDS;

/// All blocks of two messages, of which each has as many, into the state of each.
#[target_feature(enable = "sha,avx")]
pub(super) fn compress(a: &mut [u32; 8], b: &mut [u32; 8], blocks_a: &[[u8; 64]], blocks_b: &[[u8; 64]]) {
    let (mut first, mut second) = (loaded(a), loaded(b));
    let (begin, rest) = ROUNDS.as_chunks::<16>().0.split_first().expect("64 rounds");
    for (one, other) in blocks_a.iter().zip(blocks_b) {
        let before = (first, second);
        let (mut one, mut other) = (words(one), words(other));
        four_rounds::<0>(&mut first, &mut second, &one, &other, begin);
        four_rounds::<1>(&mut first, &mut second, &one, &other, begin);
        four_rounds::<2>(&mut first, &mut second, &one, &other, begin);
        four_rounds::<3>(&mut first, &mut second, &one, &other, begin);
        for constants in rest {
            next_words::<0>(&mut one, &mut other);
            four_rounds::<0>(&mut first, &mut second, &one, &other, constants);
            next_words::<1>(&mut one, &mut other);
            four_rounds::<1>(&mut first, &mut second, &one, &other, constants);
            next_words::<2>(&mut one, &mut other);
            four_rounds::<2>(&mut first, &mut second, &one, &other, constants);
            next_words::<3>(&mut one, &mut other);
            four_rounds::<3>(&mut first, &mut second, &one, &other, constants);
        }
        first = added(first, before.0);
        second = added(second, before.1);
    }
    *a = stored(first);
    *b = stored(second);
}

/// A state as the instructions want it: the variables a, b, e, f in one register, and c, d, g, h in the other.
type State = (__m128i, __m128i);

/// Rounds `4 * I` to `4 * I + 3` of sixteen.
#[inline]
#[target_feature(enable = "sha,avx")]
fn four_rounds<const I: usize>(
    first: &mut State,
    second: &mut State,
    one: &[__m128i; 4],
    other: &[__m128i; 4],
    constants: &[u32; 16],
) {
    let constants = load(&constants.as_chunks::<4>().0[I]);
    let (one, other) = (_mm_add_epi32(one[I], constants), _mm_add_epi32(other[I], constants));
    first.1 = _mm_sha256rnds2_epu32(first.1, first.0, one);
    second.1 = _mm_sha256rnds2_epu32(second.1, second.0, other);
    first.0 = _mm_sha256rnds2_epu32(first.0, first.1, _mm_shuffle_epi32::<0x0e>(one));
    second.0 = _mm_sha256rnds2_epu32(second.0, second.1, _mm_shuffle_epi32::<0x0e>(other));
}

/// The next four words of both schedules, which take the place of the `I`th four.
#[inline]
#[target_feature(enable = "sha,avx")]
fn next_words<const I: usize>(one: &mut [__m128i; 4], other: &mut [__m128i; 4]) {
    for words in [one, other] {
        let (near, far) = (words[(I + 1) % 4], words[(I + 3) % 4]);
        let sum = _mm_add_epi32(_mm_sha256msg1_epu32(words[I], near), _mm_alignr_epi8::<4>(far, words[(I + 2) % 4]));
        words[I] = _mm_sha256msg2_epu32(sum, far);
    }
}

#[inline]
#[target_feature(enable = "sha,avx")]
fn words(block: &[u8; 64]) -> [__m128i; 4] {
    let order = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
    let quarters = block.as_chunks::<16>().0;
    let mut words = [_mm_setzero_si128(); 4];
    for (words, bytes) in words.iter_mut().zip(quarters) {
        // SAFETY: the reference is to 16 bytes, and the instruction takes any alignment.
        *words = _mm_shuffle_epi8(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }, order);
    }
    words
}

#[inline]
#[target_feature(enable = "sha,avx")]
fn load(words: &[u32; 4]) -> __m128i {
    // SAFETY: the reference is to 16 bytes, and the instruction takes any alignment.
    unsafe { _mm_loadu_si128(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "sha,avx")]
fn loaded(state: &[u32; 8]) -> State {
    let [a, b, c, d, e, f, g, h] = *state;
    (load(&[f, e, b, a]), load(&[h, g, d, c]))
}

#[inline]
#[target_feature(enable = "sha,avx")]
fn stored(state: State) -> [u32; 8] {
    let mut words = [[0; 4]; 2];
    // SAFETY: each place is 16 bytes, and the instruction takes any alignment.
    unsafe {
        _mm_storeu_si128(words[0].as_mut_ptr().cast(), state.0);
        _mm_storeu_si128(words[1].as_mut_ptr().cast(), state.1);
    }
    let [[f, e, b, a], [h, g, d, c]] = words;
    [a, b, c, d, e, f, g, h]
}

#[inline]
#[target_feature(enable = "sha,avx")]
fn added(state: State, before: State) -> State {
    (_mm_add_epi32(state.0, before.0), _mm_add_epi32(state.1, before.1))
}
