//! Deterministic files: the same in every run and on every machine.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// An endless supply of numbers from a seed (SplitMix64).
pub struct Numbers(u64);

impl Numbers {
    pub fn from(seed: u64) -> Self {
        Numbers(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly between 0 and 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Normally distributed around 0 (Box and Muller).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.fraction().max(1e-300).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.fraction()).cos()
    }
}

/// Bytes that no program compresses.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A directory with `count` files of `length` bytes each, like the shards of a model.
pub fn shards(directory: &Path, count: usize, length: usize) {
    fs::create_dir_all(directory).expect("a directory for data");
    for i in 0..count {
        let path = directory.join(format!("shard-{i:05}-of-{count:05}.bin"));
        fs::write(path, noise(1000 + i as u64, length)).expect("room for data");
    }
}

/// A tree with `count` documents of 1 to 64 KiB (log-normal), 30 of 100 of them a duplicate of an earlier one.
pub fn documents(directory: &Path, count: usize) {
    let mut numbers = Numbers::from(3000);
    let mut distinct: Vec<u64> = Vec::new();
    for i in 0..count as u64 {
        let is_copy = numbers.fraction() < 0.3 && !distinct.is_empty();
        let which = if is_copy { distinct[numbers.next() as usize % distinct.len()] } else { i };
        if !is_copy {
            distinct.push(i);
        }
        let length = (7600.0 * (0.85 * Numbers::from(which).normal()).exp()).clamp(1024.0, 65536.0) as usize;
        // Few documents for many directories would measure the making of directories.
        let place = numbers.next() as usize % (count / 64).clamp(1, 1024);
        let below = directory.join(format!("{:02x}/{:02x}", place / 32, place % 32));
        fs::create_dir_all(&below).expect("a directory for data");
        fs::write(below.join(format!("doc-{i:06}.txt")), noise(which, length)).expect("room for data");
    }
}

/// Every file below `directory`, in a fixed order.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("it can be listed") {
            let entry = entry.expect("it can be listed");
            let list = if entry.file_type().expect("its kind is known").is_dir() { &mut open } else { &mut found };
            list.push(entry.path());
        }
    }
    found.sort();
    found
}

/// Walks and reads everything once, on as many threads as there are cores.
pub fn read_all(directory: &Path) {
    let files = files(directory);
    let share = files.len().div_ceil(super::cores()).max(1);
    std::thread::scope(|scope| {
        for files in files.chunks(share) {
            scope.spawn(move || {
                let mut buffer = vec![0; 1 << 18];
                for path in files {
                    let mut file = fs::File::open(path).expect("it can be read");
                    while file.read(&mut buffer).expect("it can be read") > 0 {}
                }
            });
        }
    });
}
