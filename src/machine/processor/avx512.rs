//! Sixteen lanes, in the registers of AVX-512.

use std::arch::x86_64::*;

use super::lanes::{eight_rounds, lane_kernel, next_word, round};

/// Messages at once.
pub(super) const LANES: usize = 16;

lane_kernel!(16, "avx512f,avx512bw");

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load(words: &[u32; LANES]) -> __m512i {
    // SAFETY: the reference is to 64 bytes, and the instruction takes any alignment.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store(vector: __m512i) -> [u32; LANES] {
    let mut words = [0; LANES];
    // SAFETY: the place is 64 bytes, and the instruction takes any alignment.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), vector) };
    words
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn splat(word: u32) -> __m512i {
    _mm512_set1_epi32(word.cast_signed())
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn choose(e: __m512i, f: __m512i, g: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xca>(e, f, g)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn majority(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xe8>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn rotate<const RIGHT: i32, const LEFT: i32>(a: __m512i) -> __m512i {
    _mm512_ror_epi32::<RIGHT>(a)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn shift<const RIGHT: u32>(a: __m512i) -> __m512i {
    _mm512_srli_epi32::<RIGHT>(a)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn words(blocks: &[&[[u8; 64]]; LANES], at: usize) -> [__m512i; 16] {
    let mut fours = [[_mm512_setzero_si512(); 4]; 4];
    for (four, blocks) in fours.iter_mut().zip(blocks.as_chunks::<4>().0) {
        let [b0, b1, b2, b3] = blocks;
        *four = four_rows(block(&b0[at]), block(&b1[at]), block(&b2[at]), block(&b3[at]));
    }
    let [a, b, c, d] = fours;
    let mut words = [_mm512_setzero_si512(); 16];
    for i in 0..4 {
        let (low01, high01) = (_mm512_shuffle_i32x4::<0x44>(a[i], b[i]), _mm512_shuffle_i32x4::<0xee>(a[i], b[i]));
        let (low23, high23) = (_mm512_shuffle_i32x4::<0x44>(c[i], d[i]), _mm512_shuffle_i32x4::<0xee>(c[i], d[i]));
        words[i] = _mm512_shuffle_i32x4::<0x88>(low01, low23);
        words[i + 4] = _mm512_shuffle_i32x4::<0xdd>(low01, low23);
        words[i + 8] = _mm512_shuffle_i32x4::<0x88>(high01, high23);
        words[i + 12] = _mm512_shuffle_i32x4::<0xdd>(high01, high23);
    }
    words
}

/// The words of a block, which has the highest byte of each first.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn block(bytes: &[u8; 64]) -> __m512i {
    let order = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203));
    // SAFETY: the reference is to 64 bytes, and the instruction takes any alignment.
    let words = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
    _mm512_shuffle_epi8(words, order)
}

/// Four rows, transposed within each quarter of the register.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn four_rows(r0: __m512i, r1: __m512i, r2: __m512i, r3: __m512i) -> [__m512i; 4] {
    let (low01, high01) = (_mm512_unpacklo_epi32(r0, r1), _mm512_unpackhi_epi32(r0, r1));
    let (low23, high23) = (_mm512_unpacklo_epi32(r2, r3), _mm512_unpackhi_epi32(r2, r3));
    [
        _mm512_unpacklo_epi64(low01, low23),
        _mm512_unpackhi_epi64(low01, low23),
        _mm512_unpacklo_epi64(high01, high23),
        _mm512_unpackhi_epi64(high01, high23),
    ]
}
