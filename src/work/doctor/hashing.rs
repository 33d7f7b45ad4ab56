//! How SHA-256 is computed on this machine.

use super::{Health, Measured, measured};
use crate::hashing::choice::Choice;
use crate::machine::processor::race::{Rate, rates};
use crate::machine::processor::{MOST_LANES, Way};

/// Which way is used for several files at once, what it was measured against, and what was found not to work.
pub(super) fn hashing() -> Measured {
    let choice = Choice::fastest();
    let way = choice.kernel(choice.lanes()).way();
    let lies = rates().iter().filter(|rate| rate.kernel.is_none() && rate.way.is_there());
    let lies: Vec<&str> = lies.map(|rate| rate.way.word()).collect();
    if !lies.is_empty() {
        let words =
            format!("wrong digests came from this way of computing them, which is not used: {}", lies.join(", "));
        return measured("hashing", Health::Bad, way.word(), words);
    }
    measured("hashing", Health::Good, way.word(), format!("{}{}; {}", done(way), few(choice, way), others(rates())))
}

fn done(way: Way) -> String {
    let with = match way {
        Way::Serial => return "SHA-256 of one file after the other on each core".to_owned(),
        Way::Portable => "in plain code",
        Way::Sha => "in turns with the SHA instructions",
        Way::Avx2 => "in the lanes of AVX2",
        Way::Avx512Vl => "in the lanes of AVX-512VL",
        Way::Avx512 => "in the lanes of AVX-512",
    };
    format!("SHA-256 of {} files at once on each core, {with}", way.lanes())
}

/// For how many files alone something else is faster.
fn few(choice: &Choice, way: Way) -> String {
    let most = (1..=MOST_LANES.min(choice.lanes())).take_while(|count| choice.kernel(*count).way() != way).last();
    most.map_or_else(String::new, |most| format!(" (up to {most} otherwise)"))
}

fn others(rates: &[Rate]) -> String {
    let of = |rate: &Rate| match rate.kernel {
        Some(_) => format!("{} {:.2}", rate.way.word(), rate.bytes_per_second / 1e9),
        None => format!("{} not here", rate.way.word()),
    };
    format!("GB/s on one core: {}", rates.iter().map(of).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_told_with_its_rate() {
        let told = hashing();
        assert_eq!((told.what, told.health), ("hashing", Health::Good), "{}", told.words);
        for way in Way::ALL {
            assert!(told.words.contains(way.word()), "{}", told.words);
        }
    }
}
