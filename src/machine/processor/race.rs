//! Which way is fastest on this machine, measured once in a process.

use std::sync::OnceLock;
use std::time::Instant;

use super::{Kernel, MOST_LANES, START, Way};

/// Blocks of each message in one heat: some microseconds of work, and small enough for the first level of the cache.
const BLOCKS: usize = 32;
/// Heats, of which the best counts: whatever disturbs one makes it slower.
const HEATS: usize = 7;

/// How fast a way was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// The way.
    pub way: Way,
    /// The kernel; `None` where the processor has no such instructions, or where it gave wrong answers.
    pub kernel: Option<Kernel>,
    /// Bytes a second on one core with a message in each lane; 0 without a kernel.
    pub bytes_per_second: f64,
}

/// Every way with its rate, in the order of [`Way::ALL`]. The first call takes about half a millisecond.
pub fn rates() -> &'static [Rate; Way::ALL.len()] {
    static RATES: OnceLock<[Rate; Way::ALL.len()]> = OnceLock::new();
    RATES.get_or_init(|| {
        let messages = vec![[0x5a; 64]; MOST_LANES * (BLOCKS + 1)];
        let mut rates = Way::ALL.map(|way| Rate { way, kernel: Kernel::of(way), bytes_per_second: 0.0 });
        // In turns, so that what disturbs some heats does not make one way look slow.
        for _ in 0..HEATS {
            for rate in &mut rates {
                let now = rate.kernel.map_or(0.0, |kernel| heat(kernel, &messages));
                rate.bytes_per_second = rate.bytes_per_second.max(now);
            }
        }
        rates
    })
}

/// Bytes a second.
fn heat(kernel: Kernel, messages: &[[u8; 64]]) -> f64 {
    let lanes = kernel.way().lanes();
    // A block apart, so that not all lanes use the same sets of the cache.
    let blocks: [_; MOST_LANES] = std::array::from_fn(|lane| &messages[lane * (BLOCKS + 1)..][..BLOCKS]);
    let mut states = [START; MOST_LANES];
    let began = Instant::now();
    kernel.compress(&mut states[..lanes], &blocks[..lanes]);
    let took = began.elapsed().as_secs_f64();
    std::hint::black_box(&states);
    (lanes * BLOCKS * 64) as f64 / took.max(1e-9)
}
