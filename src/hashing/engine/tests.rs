//! Files of every shape, in every way that this machine has.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use proptest::prelude::*;

use super::*;
use crate::hashing::Digests;
use crate::machine::processor::{Kernel, Way};
use crate::machine::simulated::{CallKind, Fault, World, errno};
use crate::machine::{Machine, Open, Real};
use crate::vocabulary::limits::{MAP_WINDOW_BYTES, READ_BYTES};

/// Files by their paths, what is wanted of them, and what came of them.
struct Files<'a> {
    machine: &'a dyn Machine,
    paths: Vec<PathBuf>,
    sealed: bool,
    blake3: bool,
    told: AtomicU64,
    /// Told bytes after which to stop.
    stop_after: u64,
    done: Mutex<BTreeMap<usize, Result<Hashed, Stopped>>>,
    order: Mutex<Vec<usize>>,
}

struct Batch<'f>(&'f Files<'f>);

struct Opened<'f> {
    files: &'f Files<'f>,
    index: usize,
    file: Box<dyn File>,
    meta: Meta,
}

impl<'a> Files<'a> {
    fn new(machine: &'a dyn Machine, paths: Vec<PathBuf>) -> Self {
        let (done, order) = (Mutex::default(), Mutex::default());
        let (told, stop_after) = (AtomicU64::new(0), u64::MAX);
        Files { machine, paths, sealed: true, blake3: false, told, stop_after, done, order }
    }

    fn hash(&self, choice: &Choice, jobs: usize) -> bool {
        let size = |path: &PathBuf| self.machine.lstat(path).map_or(0, |meta| meta.size_bytes);
        let sizes: Vec<u64> = self.paths.iter().map(size).collect();
        hash_all_by(choice, &Workers::new(jobs).unwrap(), &sizes, &Batch(self))
    }

    fn outcome(&self, index: usize) -> Result<Hashed, (u64, io::ErrorKind)> {
        match &self.done.lock().unwrap()[&index] {
            Ok(hashed) => Ok(*hashed),
            Err(stopped) => Err((stopped.offset, stopped.error.kind())),
        }
    }

    /// Every file was hashed to what `expected` says, and each byte was told once.
    fn assert_all(&self, expected: &[Digests], what: &str) {
        let done = self.done.lock().unwrap();
        assert_eq!(done.len(), expected.len(), "{what}");
        for (index, expected) in expected.iter().enumerate() {
            let hashed = done[&index].as_ref().unwrap_or_else(|stopped| panic!("{what}: file {index}: {stopped:?}"));
            assert_eq!((hashed.digest, hashed.size_bytes), (expected.digest, expected.size_bytes), "{what}: {index}");
            assert_eq!(hashed.blake3, self.blake3.then_some(expected.blake3), "{what}: {index}");
        }
        let bytes: u64 = expected.iter().map(|digests| digests.size_bytes).sum();
        assert_eq!(self.told.load(Ordering::Relaxed), bytes, "{what}");
    }
}

impl<'f> Sources for Batch<'f> {
    type Source = Opened<'f>;

    fn open(&self, index: usize) -> Option<Opened<'f>> {
        let file = self.0.machine.open(&self.0.paths[index], Open::Read).ok()?;
        let meta = file.meta().unwrap();
        Some(Opened { files: self.0, index, file, meta })
    }

    fn done(&self, source: Opened<'f>, outcome: Result<Hashed, Stopped>) {
        self.0.order.lock().unwrap().push(source.index);
        assert!(self.0.done.lock().unwrap().insert(source.index, outcome).is_none(), "each is told once");
    }

    fn goes_on(&self) -> bool {
        self.0.told.load(Ordering::Relaxed) < self.0.stop_after
    }
}

impl Source for Opened<'_> {
    fn file(&self) -> &dyn File {
        self.file.as_ref()
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn is_sealed(&self) -> bool {
        self.files.sealed
    }

    fn wants_blake3(&self) -> bool {
        self.files.blake3
    }

    fn advance(&self, bytes: u64) -> bool {
        self.files.told.fetch_add(bytes, Ordering::Relaxed) + bytes < self.files.stop_after
    }
}

/// Every way that this machine has, and what it would choose by itself.
fn choices() -> Vec<Choice> {
    let forced = Way::ALL.into_iter().filter_map(Kernel::of).map(Choice::only);
    forced.chain([Choice::fastest().clone()]).collect()
}

fn patterned(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|i| (i.wrapping_mul(0x9e37_79b1) >> 11) as u8 ^ seed as u8).collect()
}

/// Files of these lengths in a directory.
fn written(directory: &Path, lengths: &[usize]) -> (Vec<PathBuf>, Vec<Digests>) {
    let write = |(index, length): (usize, &usize)| {
        let (path, bytes) = (directory.join(index.to_string()), patterned(*length, index));
        std::fs::write(&path, &bytes).unwrap();
        (path, Digests::of(&bytes))
    };
    lengths.iter().enumerate().map(write).unzip()
}

#[test]
fn every_edge_of_buffers_and_windows() {
    crate::machine::real::install_guard();
    let directory = tempfile::tempdir().unwrap();
    let near = |length: usize| [length - 1, length, length + 1, length + 63, length + 64, length + 65];
    let mut lengths = vec![0, 1, 55, 56, 63, 64, 65, 100_000];
    lengths.extend(near(READ_BYTES));
    lengths.extend(near(1 << 20));
    lengths.extend([MAP_WINDOW_BYTES - 1, MAP_WINDOW_BYTES + 1, MAP_WINDOW_BYTES + (1 << 20) + 1]);
    let (paths, expected) = written(directory.path(), &lengths);
    let machines: [&dyn Machine; 2] = [&Real::new(), &Real::without_maps()];
    for (machine, (sealed, blake3)) in machines.into_iter().zip([(true, false), (false, true)]) {
        for choice in choices() {
            for jobs in [1, 2] {
                let files = Files { sealed, blake3, ..Files::new(machine, paths.clone()) };
                assert!(files.hash(&choice, jobs));
                files.assert_all(&expected, &format!("{:?}, {jobs} jobs", choice.kernel(16).way()));
            }
        }
    }
}

#[test]
fn one_thread_takes_them_in_their_order_and_several_the_longest_first() {
    let directory = tempfile::tempdir().unwrap();
    let (paths, expected) = written(directory.path(), &[10, 20_000, 30, 50_000]);
    let machine = Real::new();
    for (jobs, order) in [(1, [0, 1, 2, 3]), (2, [3, 1, 2, 0])] {
        let queue = Queue::new(&[10, 20_000, 30, 50_000], jobs > 1);
        assert_eq!(queue.order, order);
        let files = Files::new(&machine, paths.clone());
        assert!(files.hash(&Choice::SERIAL, jobs));
        files.assert_all(&expected, "serial");
        if jobs == 1 {
            assert_eq!(*files.order.lock().unwrap(), order);
        }
    }
}

#[test]
fn holes_are_zeros_and_are_not_read() {
    let world = World::new(1);
    let machine = world.process("test");
    let sparse = |path: &str, pieces: &[(u64, &[u8])], size: u64| {
        let file = machine.open(Path::new(path), Open::CreateNew { mode: 0o600 }).unwrap();
        pieces.iter().for_each(|(at, bytes)| file.write_at(bytes, *at).unwrap());
        file.set_len(size).unwrap();
    };
    sparse("/a", &[(0, b"begin"), (100_000, b"middle")], 300_001);
    sparse("/b", &[], 70_000);
    sparse("/c", &[(99_999, b"end")], 100_002);
    sparse("/d", &[], 64 * 1024);
    let paths = ["/a", "/b", "/c", "/d"].map(PathBuf::from);
    let expected = ["/a", "/b", "/c", "/d"].map(|path| Digests::of(&world.read(path).unwrap()));
    for choice in choices() {
        for blake3 in [false, true] {
            let files = Files { blake3, ..Files::new(machine.as_ref(), paths.to_vec()) };
            assert!(files.hash(&choice, 1));
            files.assert_all(&expected, "sparse");
        }
    }
}

#[test]
fn trouble_with_one_file_is_its_own() {
    let world = World::new(1);
    let machine = world.process("test");
    for (path, size) in [("/bad", 200_000), ("/good", 150_000), ("/other", 3), ("/failing", 90_000)] {
        world.put(path, &patterned(size, 1));
    }
    world.bad_sector("/bad", 131_072..131_073);
    world.fail(Fault::errno(errno::EIO).kind(CallKind::Read).under("/failing").always());
    let paths = ["/bad", "/good", "/none", "/other", "/failing"].map(PathBuf::from);
    for choice in choices() {
        let files = Files::new(machine.as_ref(), paths.to_vec());
        assert!(files.hash(&choice, 1));
        let stopped = files.done.lock().unwrap()[&0].as_ref().unwrap_err().offset;
        assert_eq!(stopped, 131_072, "the piece that has it");
        assert_eq!(files.outcome(1).unwrap().digest, Digests::of(&patterned(150_000, 1)).digest);
        assert_eq!(files.outcome(3).unwrap().digest, Digests::of(&patterned(3, 1)).digest);
        assert_eq!(files.outcome(4).unwrap_err().0, 0);
        assert!(!files.done.lock().unwrap().contains_key(&2), "what is not there is not opened");
    }
}

/// Does something to a file once so many bytes were told.
struct Meanwhile<'f, F: Fn()> {
    files: &'f Files<'f>,
    what: F,
}

struct Watched<'f, F: Fn()> {
    opened: Opened<'f>,
    what: &'f F,
}

impl<'f, F: Fn() + Sync> Sources for &'f Meanwhile<'f, F> {
    type Source = Watched<'f, F>;

    fn open(&self, index: usize) -> Option<Watched<'f, F>> {
        Some(Watched { opened: Batch(self.files).open(index)?, what: &self.what })
    }

    fn done(&self, source: Watched<'f, F>, outcome: Result<Hashed, Stopped>) {
        Batch(self.files).done(source.opened, outcome);
    }

    fn goes_on(&self) -> bool {
        true
    }
}

impl<F: Fn()> Source for Watched<'_, F> {
    fn file(&self) -> &dyn File {
        self.opened.file()
    }

    fn meta(&self) -> &Meta {
        self.opened.meta()
    }

    fn is_sealed(&self) -> bool {
        true
    }

    fn wants_blake3(&self) -> bool {
        false
    }

    fn advance(&self, bytes: u64) -> bool {
        (self.what)();
        self.opened.advance(bytes)
    }
}

#[test]
fn a_file_that_is_cut_short_under_the_engine_is_an_error_of_that_file_alone() {
    crate::machine::real::install_guard();
    let directory = tempfile::tempdir().unwrap();
    let lengths = [3 * MAP_WINDOW_BYTES, 2 * MAP_WINDOW_BYTES + 5, 200_000];
    for machine in [Real::new(), Real::without_maps()] {
        for choice in choices() {
            let (paths, expected) = written(directory.path(), &lengths);
            let files = Files::new(&machine, paths.clone());
            let cut = || {
                let file = std::fs::OpenOptions::new().write(true).open(&paths[0]).unwrap();
                file.set_len((MAP_WINDOW_BYTES / 2) as u64).unwrap();
            };
            let meanwhile = Meanwhile { files: &files, what: cut };
            let sizes = lengths.map(|length| length as u64);
            assert!(hash_all_by(&choice, &Workers::new(1).unwrap(), &sizes, &&meanwhile));
            assert_eq!(files.outcome(0).unwrap_err().1, io::ErrorKind::UnexpectedEof);
            assert_eq!(files.outcome(1).unwrap().digest, expected[1].digest);
            assert_eq!(files.outcome(2).unwrap().digest, expected[2].digest);
        }
    }
}

#[test]
fn it_stops_when_asked_to() {
    let directory = tempfile::tempdir().unwrap();
    let (paths, _) = written(directory.path(), &[100_000; 40]);
    let machine = Real::new();
    for choice in choices() {
        for jobs in [1, 2] {
            let files = Files { stop_after: 500_000, ..Files::new(&machine, paths.clone()) };
            assert!(!files.hash(&choice, jobs), "not all of them were opened");
            let done = files.done.lock().unwrap();
            let interrupted = |outcome: &&Result<Hashed, Stopped>| matches!(outcome, Err(stopped) if stopped.error.kind() == io::ErrorKind::Interrupted);
            assert!(done.values().any(|outcome| interrupted(&outcome)));
            assert!(done.values().all(|outcome| outcome.is_ok() || interrupted(&outcome)));
            assert!(done.len() <= 5 + 2 * 16 * jobs, "{}", done.len());
        }
    }
}

#[test]
fn one_large_file_has_its_digests_made_by_two_threads() {
    let directory = tempfile::tempdir().unwrap();
    let machine = Real::new();
    for length in [4 << 20, (4 << 20) + 1, (5 << 20) - 1] {
        let (paths, expected) = written(directory.path(), &[length]);
        let files = Files { blake3: true, ..Files::new(&machine, paths.clone()) };
        assert!(files.hash(Choice::fastest(), 2));
        files.assert_all(&expected, "alone");
        let cut = Files { blake3: true, ..Files::new(&machine, paths.clone()) };
        struct Longer<'f>(Batch<'f>);
        impl<'f> Sources for Longer<'f> {
            type Source = Opened<'f>;
            fn open(&self, index: usize) -> Option<Opened<'f>> {
                let mut opened = self.0.open(index)?;
                // As if it had been longer when it was opened.
                opened.meta.size_bytes += 7;
                opened.meta.allocated_bytes += 4096;
                Some(opened)
            }
            fn done(&self, source: Opened<'f>, outcome: Result<Hashed, Stopped>) {
                self.0.done(source, outcome);
            }
            fn goes_on(&self) -> bool {
                true
            }
        }
        hash_all_by(Choice::fastest(), &Workers::new(2).unwrap(), &[1], &Longer(Batch(&cut)));
        assert_eq!(cut.outcome(0).unwrap_err().1, io::ErrorKind::UnexpectedEof);
        let stopping = Files { blake3: true, stop_after: 1 << 20, ..Files::new(&machine, paths) };
        assert!(!stopping.hash(Choice::fastest(), 2));
        assert_eq!(stopping.outcome(0).unwrap_err().1, io::ErrorKind::Interrupted);
    }
}

#[test]
fn what_is_not_in_the_cache_is_left_for_later_and_hashed_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (paths, expected) = written(directory.path(), &[20_000; 60]);
    let machine = Real::new();
    for path in &paths {
        let file = machine.open(path, Open::Read).unwrap();
        file.sync_data().unwrap();
        file.drop_cache();
    }
    let files = Files::new(&machine, paths);
    assert!(files.hash(Choice::fastest(), 2));
    files.assert_all(&expected, "cold");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn random_batches_of_files(lengths in prop::collection::vec(0..3 * READ_BYTES, 0..50), jobs in 1..4usize, blake3: bool) {
        let directory = tempfile::tempdir().unwrap();
        let (paths, expected) = written(directory.path(), &lengths);
        let machine = Real::new();
        for choice in choices() {
            let files = Files { blake3, ..Files::new(&machine, paths.clone()) };
            assert!(files.hash(&choice, jobs));
            files.assert_all(&expected, &format!("{lengths:?}, {jobs} jobs"));
        }
    }
}
