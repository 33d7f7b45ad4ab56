//! What the benches share: deterministic data, stores of any size, and contests.
//!
//! Seconds mean little: the same code runs at half its speed for minutes at a time when a neighbour is busy, and disks
//! vary more. So every bench is a contest: our side and what a user would use instead are run in turns, and what counts
//! is the median of the ratios of neighbouring turns, which is printed with its spread. Criterion times our side alone.
#![allow(dead_code, unreachable_pub, clippy::print_stdout)]

pub mod data;
pub mod log;
pub mod stores;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use criterion::{Criterion, SamplingMode, Throughput};
use tempfile::TempDir;

/// Whether this run only shows that the bench works: `cargo bench -- --test`, or without `--bench` at all.
pub fn quick() -> bool {
    let has = |wanted: &str| std::env::args().any(|arg| arg == wanted);
    has("--test") || !has("--bench")
}

/// A number of things: `full`, times `LARDER_BENCH_SCALE` where that is set, or few when the run is quick.
pub fn sized(full: usize, few: usize) -> usize {
    if quick() {
        return few;
    }
    let scale = std::env::var("LARDER_BENCH_SCALE").ok().and_then(|s| s.parse::<f64>().ok()).unwrap_or(1.0);
    ((full as f64 * scale) as usize).max(few)
}

/// As many as the machine has cores.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A directory that goes away with its value; below `TMPDIR`.
pub struct Scratch {
    dir: TempDir,
    made: u64,
}

impl Default for Scratch {
    fn default() -> Self {
        let dir = tempfile::Builder::new().prefix("larder-bench-").tempdir().expect("a scratch directory");
        Scratch { dir, made: 0 }
    }
}

impl Scratch {
    /// The path of `name` in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A path in it at which there is nothing yet.
    pub fn fresh(&mut self) -> PathBuf {
        self.made += 1;
        self.path(&format!("fresh-{}", self.made))
    }

    /// Everything written so far to its filesystem is on the disk.
    pub fn settle(&self) {
        nix::unistd::syncfs(File::open(self.dir.path()).expect("the scratch directory")).expect("syncfs");
    }

    /// How long `work` takes from a settled disk on.
    pub fn timed(&self, work: impl FnOnce()) -> Duration {
        self.settle();
        let began = Instant::now();
        work();
        began.elapsed()
    }

    /// As [`Scratch::timed`], until what `work` wrote is on the disk.
    pub fn timed_and_settled(&self, work: impl FnOnce()) -> Duration {
        self.timed(|| {
            work();
            self.settle();
        })
    }
}

/// Removes a tree, whatever it is.
pub fn remove(path: &Path) {
    std::fs::remove_dir_all(path).expect("the owner can remove it");
}

/// Runs a program to its end; what it prints is thrown away.
pub fn run(program: &str, arguments: &[&Path]) {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status();
    assert!(status.expect("the program is there").success(), "{program} {arguments:?}");
}

/// Hashes all files below `directory` with as many processes as there are cores, by the fastest program that is there.
pub fn hash_all(directory: &Path, at_once: usize) {
    let script = format!(
        "find \"$1\" -type f -print0 | xargs -0 -P {} -n {at_once} {} >/dev/null",
        cores(),
        if has_openssl() { "openssl dgst -sha256" } else { "sha256sum" }
    );
    run("sh", &[Path::new("-c"), Path::new(&script), Path::new("sh"), directory]);
}

/// What [`hash_all`] uses.
pub fn hasher() -> &'static str {
    if has_openssl() { "openssl on all cores" } else { "sha256sum on all cores" }
}

fn has_openssl() -> bool {
    static HAS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *HAS.get_or_init(|| {
        let version = Command::new("openssl").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    })
}

/// One side of a contest: does its work once and says how long the part that counts took.
pub type Side<S> = fn(&mut S) -> Duration;

/// One bench.
pub struct Contest<'a, S> {
    /// Its name.
    pub name: &'static str,
    /// What one run of our side gets done.
    pub work: Throughput,
    /// Makes what the sides work on.
    pub set_up: Box<dyn Fn() -> S + 'a>,
    /// Our side.
    pub ours: Side<S>,
    /// What a user would use instead, or the floor: the calls to the system that cannot be avoided. Each with its name.
    pub rivals: Vec<(&'static str, Side<S>)>,
}

impl<S> Contest<'_, S> {
    /// Runs the contest, and lets criterion time our side. Nothing is set up for a bench that a filter leaves out.
    pub fn run(self, criterion: &mut Criterion) {
        let mut group = criterion.benchmark_group("larder");
        group.sample_size(10).sampling_mode(SamplingMode::Flat).throughput(self.work.clone());
        group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(5));
        let mut state = None;
        group.bench_function(self.name, |bencher| {
            let state = state.get_or_insert_with(|| {
                let mut state = (self.set_up)();
                self.versus(&mut state);
                state
            });
            bencher.iter_custom(|times| (0..times).map(|_| (self.ours)(state)).sum());
        });
        group.finish();
    }

    fn versus(&self, state: &mut S) {
        let turns = if quick() { 1 } else { 7 };
        let mut ours = Vec::new();
        let mut theirs = vec![Vec::new(); self.rivals.len()];
        for _ in 0..turns {
            ours.push((self.ours)(state).as_secs_f64());
            for (times, (_, rival)) in theirs.iter_mut().zip(&self.rivals) {
                times.push(rival(state).as_secs_f64());
            }
        }
        println!("\n{}: {} a run, {turns} turns", self.name, spoken(median(&mut ours.clone())));
        for (times, (name, _)) in theirs.iter().zip(&self.rivals) {
            let mut ratios: Vec<f64> = ours.iter().zip(times).map(|(ours, theirs)| ours / theirs).collect();
            let middle = median(&mut ratios);
            let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
            let theirs = spoken(median(&mut times.clone()));
            println!("    {middle:.3} times as long as {name} ({theirs}; {least:.3} to {most:.3})");
        }
    }
}

/// The middle of some numbers, which are sorted by it.
fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    if numbers.len() % 2 == 1 { numbers[middle] } else { (numbers[middle - 1] + numbers[middle]) / 2.0 }
}

fn spoken(seconds: f64) -> String {
    format!("{:.3?}", Duration::from_secs_f64(seconds))
}
