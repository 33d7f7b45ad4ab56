//! Deterministic files: the same in every run and on every machine.

use std::fs;
use std::io::{Read, Write};
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

    /// Evenly below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
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

/// A file of such bytes, however long, without holding it in memory.
pub fn noise_file(path: &Path, seed: u64, length: u64) {
    let mut bytes = vec![0; 1 << 20];
    let mut noise = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    let mut file = fs::File::create(path).expect("room for data");
    let mut left = length;
    while left > 0 {
        let part = &mut bytes[..left.min(1 << 20) as usize];
        noise.fill(part);
        file.write_all(part).expect("room for data");
        left -= part.len() as u64;
    }
}

/// A directory with `count` files of `length` bytes each, like the shards of a model: D1 with 16 of 256 MiB.
pub fn shards(directory: &Path, count: usize, length: usize) {
    fs::create_dir_all(directory).expect("a directory for data");
    for i in 0..count {
        noise_file(&directory.join(format!("shard-{i:05}-of-{count:05}.bin")), 1000 + i as u64, length as u64);
    }
}

/// Words that a document is made of.
struct Words(Vec<String>);

impl Words {
    fn make() -> Self {
        let (consonants, vowels) = (b"bcdfghjklmnprstvwz", b"aeiou");
        let mut numbers = Numbers::from(77);
        let mut word = || {
            let syllables = 2 + numbers.below(3);
            let mut word = String::new();
            for _ in 0..syllables {
                word.push(consonants[numbers.below(consonants.len() as u64) as usize] as char);
                word.push(vowels[numbers.below(vowels.len() as u64) as usize] as char);
            }
            word
        };
        Words((0..4096).map(|_| word()).collect())
    }

    /// The document with number `which`: text of 1 to 64 KiB (log-normal), few words often and many seldom.
    fn document(&self, which: u64) -> Vec<u8> {
        let mut numbers = Numbers::from(0xd0c0_0000_0000 + which);
        let length = (7600.0 * (0.85 * numbers.normal()).exp()).clamp(1024.0, 65536.0) as usize;
        let mut text = format!("# Document {which}\n\n").into_bytes();
        let mut column = 0;
        while text.len() < length {
            let chosen = numbers.fraction();
            let word = &self.0[(chosen * chosen * chosen * 4096.0) as usize];
            text.extend_from_slice(word.as_bytes());
            column += word.len() + 1;
            text.push(if column > 90 { b'\n' } else { b' ' });
            if column > 90 {
                column = 0;
            }
        }
        text.truncate(length);
        text
    }
}

/// A tree with `count` documents of 1 to 64 KiB (log-normal), 30 of 100 of them a duplicate of an earlier one: D3 with
/// 100,000.
pub fn documents(directory: &Path, count: usize) {
    let words = Words::make();
    let mut numbers = Numbers::from(3000);
    let mut distinct: Vec<u64> = Vec::new();
    for i in 0..count as u64 {
        let is_copy = numbers.fraction() < 0.3 && !distinct.is_empty();
        let which = if is_copy { distinct[numbers.next() as usize % distinct.len()] } else { i };
        if !is_copy {
            distinct.push(i);
        }
        // Few documents for many directories would measure the making of directories.
        let place = numbers.next() as usize % (count / 64).clamp(1, 1024);
        let below = directory.join(format!("{:02x}/{:02x}", place / 32, place % 32));
        fs::create_dir_all(&below).expect("a directory for data");
        fs::write(below.join(format!("doc-{i:06}.txt")), words.document(which)).expect("room for data");
    }
}

/// One record of D4: what a catalog knows of a file.
pub struct Row {
    pub name: String,
    pub digest: [u8; 32],
    pub size: u64,
    pub source: String,
}

/// The record with number `i`.
pub fn row(i: u64) -> Row {
    let mut numbers = Numbers::from(4000 + i);
    let (organisation, model) = (numbers.below(5000), numbers.below(20_000));
    let file = format!("part-{:05}-{i:07}.safetensors", i % 100);
    let bits = 10 + numbers.below(24);
    Row {
        name: format!("hf/org{organisation:04}/model-{model:05}/{file}"),
        digest: *blake3::hash(&i.to_le_bytes()).as_bytes(),
        size: 1024 + numbers.below(1 << bits),
        source: format!("https://models.example.org/org{organisation:04}/model-{model:05}/resolve/main/{file}"),
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
