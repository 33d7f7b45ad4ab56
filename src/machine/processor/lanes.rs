//! SHA-256 of as many messages at once as a vector has elements: the body that all kinds of vectors share.
//!
//! Whoever uses the macro has these functions in scope, for its own vector: `load`, `store` (of one word of every
//! message), `splat`, `add`, `xor3`, `choose`, `majority`, `rotate::<RIGHT, LEFT>` (the two add up to 32), `shift`, and
//! `words`, which reads one block of every message and gives its 16 words.

/// One round (FIPS 180-4, 6.2.2, step 3). The names of the working variables move on by one from round to round, and
/// so nothing else does.
macro_rules! round {
    ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $word:expr, $constant:expr) => {
        let sum1 = xor3(rotate::<6, 26>($e), rotate::<11, 21>($e), rotate::<25, 7>($e));
        let first = add(add($h, add($word, splat($constant))), add(sum1, choose($e, $f, $g)));
        let sum0 = xor3(rotate::<2, 30>($a), rotate::<13, 19>($a), rotate::<22, 10>($a));
        $d = add($d, first);
        $h = add(first, add(sum0, majority($a, $b, $c)));
    };
}

/// Eight rounds, after which every variable has its name again.
macro_rules! eight_rounds {
    ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $words:ident, $constants:ident, $at:literal) => {
        round!($a $b $c $d $e $f $g $h, $words[$at], $constants[$at]);
        round!($h $a $b $c $d $e $f $g, $words[$at + 1], $constants[$at + 1]);
        round!($g $h $a $b $c $d $e $f, $words[$at + 2], $constants[$at + 2]);
        round!($f $g $h $a $b $c $d $e, $words[$at + 3], $constants[$at + 3]);
        round!($e $f $g $h $a $b $c $d, $words[$at + 4], $constants[$at + 4]);
        round!($d $e $f $g $h $a $b $c, $words[$at + 5], $constants[$at + 5]);
        round!($c $d $e $f $g $h $a $b, $words[$at + 6], $constants[$at + 6]);
        round!($b $c $d $e $f $g $h $a, $words[$at + 7], $constants[$at + 7]);
    };
}

/// The next word of the schedule, in the place of the one 16 before it (FIPS 180-4, 6.2.2, step 1).
macro_rules! next_word {
    ($words:ident, $($at:literal)*) => {
        $(
            let (near, far) = ($words[($at + 1) % 16], $words[($at + 14) % 16]);
            let small0 = xor3(rotate::<7, 25>(near), rotate::<18, 14>(near), shift::<3>(near));
            let small1 = xor3(rotate::<17, 15>(far), rotate::<19, 13>(far), shift::<10>(far));
            $words[$at] = add(add($words[$at], small0), add($words[($at + 9) % 16], small1));
        )*
    };
}

/// Defines `compress`: all blocks of every message, of which each has as many, into the state of each. A state is kept
/// by words: the first words of all messages stand together.
macro_rules! lane_kernel {
    ($lanes:literal $(, $features:literal)?) => {
        $(#[target_feature(enable = $features)])?
        pub(super) fn compress(states: &mut [[u32; $lanes]; 8], blocks: &[&[[u8; 64]]; $lanes]) {
            let mut state = [
                load(&states[0]), load(&states[1]), load(&states[2]), load(&states[3]),
                load(&states[4]), load(&states[5]), load(&states[6]), load(&states[7]),
            ];
            let (first, rest) = $crate::machine::processor::constants::ROUNDS.as_chunks::<16>().0.split_first().expect("64 rounds");
            for at in 0..blocks[0].len() {
                let mut words = words(blocks, at);
                let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
                eight_rounds!(a b c d e f g h, words, first, 0);
                eight_rounds!(a b c d e f g h, words, first, 8);
                for constants in rest {
                    next_word!(words, 0 1 2 3 4 5 6 7);
                    eight_rounds!(a b c d e f g h, words, constants, 0);
                    next_word!(words, 8 9 10 11 12 13 14 15);
                    eight_rounds!(a b c d e f g h, words, constants, 8);
                }
                state = [
                    add(state[0], a), add(state[1], b), add(state[2], c), add(state[3], d),
                    add(state[4], e), add(state[5], f), add(state[6], g), add(state[7], h),
                ];
            }
            let [a, b, c, d, e, f, g, h] = state;
            *states = [store(a), store(b), store(c), store(d), store(e), store(f), store(g), store(h)];
        }
    };
}

pub(super) use {eight_rounds, lane_kernel, next_word, round};
