//! Which way SHA-256 is computed, for how many messages at once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::machine::processor::race::{Rate, rates};
use crate::machine::processor::{Kernel, MOST_LANES, Way};

/// Bytes that a process hashes one message at a time before the ways are measured: less is done sooner than they are.
const WORTH_A_RACE_BYTES: u64 = 1 << 20;

/// The kernel for every number of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// By the number of messages; that for none is not used.
    kernels: [Kernel; MOST_LANES + 1],
    lanes: usize,
}

static FASTEST: OnceLock<Choice> = OnceLock::new();

impl Choice {
    /// One message at a time.
    pub const SERIAL: Choice = Choice { kernels: [Kernel::SERIAL; MOST_LANES + 1], lanes: 1 };

    /// What is fastest on this machine, measured once in a process, or what it was told to [`prefer`].
    pub fn fastest() -> &'static Choice {
        FASTEST.get_or_init(|| Choice::among(rates()))
    }

    /// What to hash so many bytes more with: for the first few of a process it is not worth while to measure.
    pub fn for_bytes(bytes: u64) -> &'static Choice {
        static HASHED: AtomicU64 = AtomicU64::new(0);
        match FASTEST.get() {
            Some(choice) => choice,
            None if HASHED.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) < WORTH_A_RACE_BYTES => {
                &Choice::SERIAL
            }
            None => Choice::fastest(),
        }
    }

    /// This kernel, for any number of messages.
    pub fn only(kernel: Kernel) -> Choice {
        Choice { kernels: [kernel; MOST_LANES + 1], lanes: kernel.way().lanes() }
    }

    /// The fastest of these for each number of messages. A way takes as long for one message as for all its lanes, so
    /// for few messages the fastest is another one than for many.
    fn among(rates: &[Rate]) -> Choice {
        let usable = || rates.iter().filter_map(|rate| Some((rate.kernel?, rate.bytes_per_second)));
        let fastest_for = |count: usize| {
            let together = |(kernel, rate): (Kernel, f64)| {
                let lanes = kernel.way().lanes();
                rate * count as f64 / count.next_multiple_of(lanes) as f64
            };
            usable().max_by(|a, b| together(*a).total_cmp(&together(*b))).map_or(Kernel::SERIAL, |(kernel, _)| kernel)
        };
        let kernels = std::array::from_fn(|count| fastest_for(count.max(1)));
        // As many messages at once as the fastest of all takes: with more, each is done later and nothing sooner.
        let best = usable().max_by(|a, b| a.1.total_cmp(&b.1));
        Choice { kernels, lanes: best.map_or(1, |(kernel, _)| kernel.way().lanes()) }
    }

    /// How many messages are worked on at once.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// The kernel for so many messages.
    pub fn kernel(&self, messages: usize) -> Kernel {
        self.kernels[messages.min(MOST_LANES)]
    }
}

/// Makes this process use `way` for several messages at once, whatever is fastest, and serial code for what is faster
/// so. `false` where this processor does not have it, or once a choice was made.
pub fn prefer(way: Way) -> bool {
    let chosen = rates().iter().filter(|rate| rate.way == way || rate.way == Way::Serial).copied();
    let choice = Choice::among(&chosen.collect::<Vec<_>>());
    Kernel::of(way).is_some() && FASTEST.set(choice).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(way: Way, bytes_per_second: f64) -> Option<Rate> {
        Kernel::of(way).map(|kernel| Rate { way, kernel: Some(kernel), bytes_per_second })
    }

    #[test]
    fn few_messages_are_taken_otherwise_than_many() {
        let (Some(serial), Some(portable)) = (rate(Way::Serial, 1.0), rate(Way::Portable, 1.5)) else {
            panic!("these two are everywhere")
        };
        let choice = Choice::among(&[serial, portable]);
        let ways = [1, 2, 3, 4, 5, 6, 7, 8].map(|messages| choice.kernel(messages).way());
        let (s, p) = (Way::Serial, Way::Portable);
        // Three of four lanes are 1.1 times as fast as one; five messages take two rounds of four lanes, as eight do.
        assert_eq!(ways, [s, s, p, p, s, p, p, p]);
        assert_eq!(choice.lanes(), 4);
        assert_eq!(Choice::among(&[serial]), Choice::SERIAL);
        assert_eq!(Choice::among(&[]), Choice::SERIAL);
    }

    #[test]
    fn what_the_processor_does_not_have_is_not_chosen() {
        let none = Rate { way: Way::Avx512, kernel: None, bytes_per_second: 9.0 };
        let choice = Choice::among(&[none, rate(Way::Serial, 1.0).unwrap()]);
        assert_eq!(choice, Choice::SERIAL);
        let fastest = Choice::fastest();
        assert!((1..=MOST_LANES).all(|messages| fastest.kernel(messages).way().is_there()));
    }
}
