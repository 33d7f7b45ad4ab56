//! What the drivers share: larder's own deterministic data and stores, a clock, and one line of JSON for the result.
//!
//! They are programs for `benches/compare`: whatever goes wrong ends them with a message.

#[path = "../../common/data.rs"]
#[allow(dead_code, clippy::should_implement_trait)]
pub mod data;
#[path = "../../common/log.rs"]
pub mod log;
pub mod rows;
#[path = "../../common/stores.rs"]
#[allow(dead_code)]
pub mod stores;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// As many as the machine has cores.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The words of the command line: positions, and options as `--key value`.
pub struct Words {
    positions: Vec<String>,
    options: Vec<(String, String)>,
}

impl Words {
    /// Those that this program was started with.
    pub fn read() -> Self {
        let (mut positions, mut options) = (Vec::new(), Vec::new());
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.strip_prefix("--") {
                Some(key) => options.push((key.to_owned(), words.next().expect("a value behind the option"))),
                None => positions.push(word),
            }
        }
        Words { positions, options }
    }

    /// The word at a position.
    pub fn at(&self, position: usize) -> &str {
        self.positions.get(position).unwrap_or_else(|| panic!("word {position} is missing"))
    }

    /// The words from a position on.
    pub fn from(&self, position: usize) -> &[String] {
        &self.positions[position.min(self.positions.len())..]
    }

    /// The path at a position.
    pub fn path(&self, position: usize) -> PathBuf {
        PathBuf::from(self.at(position))
    }

    /// The number at a position.
    pub fn number(&self, position: usize) -> usize {
        self.at(position).parse().expect("a number")
    }

    /// The number behind an option, or another one.
    pub fn option(&self, key: &str, otherwise: usize) -> usize {
        let found = self.options.iter().find(|(word, _)| word == key);
        found.map_or(otherwise, |(_, value)| value.parse().expect("a number"))
    }
}

/// How long something takes.
pub fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let began = Instant::now();
    let done = work();
    (began.elapsed(), done)
}

/// The result: what counts of the run, and how many things it was about.
pub fn tell(took: Duration, count: usize) {
    println!("{{\"seconds\": {:.9}, \"count\": {count}}}", took.as_secs_f64());
}

/// Does something with each item, on so many threads.
pub fn each<T: Sync>(items: &[T], threads: usize, one: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    one(item);
                }
            });
        }
    });
}

/// Everything written to the filesystem of `path` is on the disk.
pub fn settle(path: &Path) {
    nix::unistd::syncfs(std::fs::File::open(path).expect("it is there")).expect("syncfs");
}
