//! Eight lanes in registers of 256 bits, with what AVX-512 adds to them: rotations, and logic of three operands.

use std::arch::x86_64::*;

use super::avx2::words as avx2_words;
use super::lanes::{eight_rounds, lane_kernel, next_word, round};

/// Messages at once.
pub(super) const LANES: usize = 8;

lane_kernel!(8, "avx2,avx512f,avx512vl");

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn load(words: &[u32; LANES]) -> __m256i {
    // SAFETY: the reference is to 32 bytes, and the instruction takes any alignment.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn store(vector: __m256i) -> [u32; LANES] {
    let mut words = [0; LANES];
    // SAFETY: the place is 32 bytes, and the instruction takes any alignment.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), vector) };
    words
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn splat(word: u32) -> __m256i {
    _mm256_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn add(a: __m256i, b: __m256i) -> __m256i {
    _mm256_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn xor3(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_ternarylogic_epi32::<0x96>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn choose(e: __m256i, f: __m256i, g: __m256i) -> __m256i {
    _mm256_ternarylogic_epi32::<0xca>(e, f, g)
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn majority(a: __m256i, b: __m256i, c: __m256i) -> __m256i {
    _mm256_ternarylogic_epi32::<0xe8>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn rotate<const RIGHT: i32, const LEFT: i32>(a: __m256i) -> __m256i {
    _mm256_ror_epi32::<RIGHT>(a)
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn shift<const RIGHT: i32>(a: __m256i) -> __m256i {
    _mm256_srli_epi32::<RIGHT>(a)
}

#[inline]
#[target_feature(enable = "avx2,avx512f,avx512vl")]
fn words(blocks: &[&[[u8; 64]]; LANES], at: usize) -> [__m256i; 16] {
    avx2_words(blocks, at)
}
