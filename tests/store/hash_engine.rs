//! The hash engine from outside: every way of computing SHA-256 that this machine has is held to the `sha2` and `blake3`
//! crates, on files and on bytes.

use crate::kit;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use larder::hashing::choice::Choice;
use larder::hashing::engine::hash_all_by;
use larder::hashing::memory::sha256_by;
use larder::hashing::sealed::Stopped;
use larder::hashing::{Digests, Hashed, Source, Sources, Workers};
use larder::machine::processor::{Kernel, Way};
use larder::machine::{File, Machine, Meta, Open, Real};
use larder::vocabulary::limits::MAP_WINDOW_BYTES;

struct Files {
    machine: Real,
    paths: Vec<PathBuf>,
    blake3: bool,
    /// Cut short once all of the second file was told.
    cut: Option<PathBuf>,
    told: AtomicU64,
    done: Mutex<BTreeMap<usize, Result<Hashed, Stopped>>>,
}

impl Files {
    fn of(paths: Vec<PathBuf>) -> Self {
        let (machine, done, told) = (Real::new(), Mutex::default(), AtomicU64::new(0));
        Files { machine, paths, blake3: false, cut: None, told, done }
    }
}

struct Opened<'f>(&'f Files, usize, Box<dyn File>, Meta);

impl<'f> Sources for &'f Files {
    type Source = Opened<'f>;

    fn open(&self, index: usize) -> Option<Opened<'f>> {
        let file = self.machine.open(&self.paths[index], Open::Read).unwrap();
        let meta = file.meta().unwrap();
        Some(Opened(self, index, file, meta))
    }

    fn done(&self, source: Opened<'f>, outcome: Result<Hashed, Stopped>) {
        self.done.lock().unwrap().insert(source.1, outcome);
    }

    fn goes_on(&self) -> bool {
        true
    }
}

impl Source for Opened<'_> {
    fn file(&self) -> &dyn File {
        self.2.as_ref()
    }

    fn meta(&self) -> &Meta {
        &self.3
    }

    fn is_sealed(&self) -> bool {
        true
    }

    fn wants_blake3(&self) -> bool {
        self.0.blake3
    }

    fn advance(&self, bytes: u64) -> bool {
        if let Some(path) = &self.0.cut
            && self.1 == 1
            && self.0.told.fetch_add(bytes, Ordering::Relaxed) + bytes == self.3.size_bytes
        {
            std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(1000).unwrap();
        }
        true
    }
}

fn kernels() -> impl Iterator<Item = Kernel> {
    Way::ALL.into_iter().filter_map(Kernel::of)
}

fn patterned(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|i| (i.wrapping_mul(0x9e37_79b1) >> 9) as u8 ^ seed as u8).collect()
}

#[test]
fn every_way_gives_the_digests_of_the_plain_functions() {
    kit::plant();
    let messages: Vec<Vec<u8>> = (0..50).map(|i| patterned(i * i * 7, i)).collect();
    let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let directory = tempfile::tempdir().unwrap();
    let write = |(i, message): (usize, &&[u8])| {
        let path = directory.path().join(i.to_string());
        std::fs::write(&path, message).unwrap();
        path
    };
    let paths: Vec<PathBuf> = messages.iter().enumerate().map(write).collect();
    let sizes: Vec<u64> = messages.iter().map(|message| message.len() as u64).collect();
    for kernel in kernels() {
        let choice = Choice::only(kernel);
        let in_memory = sha256_by(&choice, &messages);
        for (jobs, blake3) in [(1, false), (2, true)] {
            let files = Files { blake3, ..Files::of(paths.clone()) };
            assert!(hash_all_by(&choice, &Workers::new(jobs).unwrap(), &sizes, &&files));
            let done = files.done.into_inner().unwrap();
            for (i, message) in messages.iter().enumerate() {
                let (expected, found) = (Digests::of(message), done[&i].as_ref().unwrap());
                let what = format!("{} bytes, {}", message.len(), kernel.way().word());
                assert_eq!((found.digest, in_memory[i]), (expected.digest, expected.digest), "{what}");
                assert_eq!(found.blake3, blake3.then_some(expected.blake3), "{what}");
            }
        }
    }
}

#[test]
fn zeros_in_the_place_of_lost_bytes_are_never_taken_for_them() {
    kit::plant();
    larder::machine::real::install_guard();
    let directory = tempfile::tempdir().unwrap();
    let (long, other) = (directory.path().join("long"), directory.path().join("other"));
    std::fs::write(&other, vec![0; 2 * MAP_WINDOW_BYTES]).unwrap();
    for kernel in kernels().filter(|kernel| kernel.way().lanes() > 1) {
        // Zeros: what the guard puts in their place would have the right digest.
        std::fs::write(&long, vec![0; 2 * MAP_WINDOW_BYTES]).unwrap();
        let files = Files { cut: Some(long.clone()), ..Files::of(vec![long.clone(), other.clone()]) };
        let sizes = [2 * MAP_WINDOW_BYTES as u64; 2];
        hash_all_by(&Choice::only(kernel), &Workers::new(1).unwrap(), &sizes, &&files);
        let done = files.done.into_inner().unwrap();
        let stopped = done[&0].as_ref().unwrap_err();
        assert_eq!(stopped.error.kind(), std::io::ErrorKind::UnexpectedEof, "{}", kernel.way().word());
        assert!(done[&1].is_ok(), "the other one was whole");
    }
}
