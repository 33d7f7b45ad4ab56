//! What was acknowledged, by number: a slow, obvious account of names and pins that costs nothing to copy and compare.

use std::sync::LazyLock;

use larder::Digest;
use larder::Name;
use larder::ledger::Tables;

use super::super::kit;

/// The names that are spoken of: four for each of three processes, and two that all of them use.
pub const NAMES: [&str; 14] = [
    "p0/a", "p0/b", "p0/d/c", "p0/d/e", "p1/a", "p1/b", "p1/d/c", "p1/d/e", "p2/a", "p2/b", "p2/d/c", "p2/d/e",
    "all/x", "all/y",
];
/// Names of one process alone: what it was told of them holds.
pub const OWN: usize = 12;

/// What files hold: nothing, little, more than a sector, and several parts of what can be gone on with.
pub static CONTENTS: LazyLock<[Vec<u8>; 6]> = LazyLock::new(|| {
    let bytes = |count: u32, by: u32| (0..count).map(|i| (i.wrapping_mul(by) >> 7) as u8 | 1).collect();
    [Vec::new(), b"one".to_vec(), bytes(40, 977), bytes(700, 7919), bytes(1300, 104_729), bytes(150_000, 1_299_709)]
});
/// The content that is large.
pub const LARGE: usize = 5;

pub static DIGESTS: LazyLock<Vec<Digest>> = LazyLock::new(|| CONTENTS.iter().map(|bytes| kit::digest(bytes)).collect());
pub static PARSED: LazyLock<Vec<Name>> =
    LazyLock::new(|| NAMES.iter().map(|name| Name::new(*name).expect("a name")).collect());

/// What a name means that means nothing.
const NOTHING: u32 = 1 << 31;

/// Which meanings each name and pin may have now. `is` is an acknowledgement, `may` an intention: until the next
/// acknowledgement a name may mean what it did, or what is intended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Known {
    names: [u32; NAMES.len()],
    /// Bit 0: there may be none; bit 1: there may be one.
    pins: [u8; 6],
    /// `check --repair` has run, which pins what it takes back in.
    mended: bool,
    /// Calls have failed.
    pub troubled: bool,
}

impl Default for Known {
    fn default() -> Self {
        Known { names: [NOTHING; NAMES.len()], pins: [1; 6], mended: false, troubled: false }
    }
}

fn bit(meaning: &str) -> u32 {
    meaning.parse::<u32>().map_or(NOTHING, |content| 1 << content)
}

impl Known {
    /// Takes in one note of a log.
    pub fn hear(&mut self, note: &str) {
        let words: Vec<&str> = note.split(' ').collect();
        let number = |word: &str| word.parse::<usize>().expect("a number");
        match words[..] {
            ["may", name, meaning] => self.names[number(name)] |= bit(meaning),
            ["is", name, meaning] => self.names[number(name)] = bit(meaning),
            ["may-pin", content, there] => self.pins[number(content)] |= 1 << number(there),
            ["is-pin", content, there] => self.pins[number(content)] = 1 << number(there),
            ["mends"] => self.mended = true,
            _ => {}
        }
    }

    /// Whether a content is pinned, if that is certain.
    pub fn pin(&self, content: usize) -> Option<bool> {
        [None, Some(false), Some(true), None][usize::from(self.pins[content])]
    }

    /// What a name means, if that is certain: a content, or nothing.
    pub fn meaning(&self, name: usize) -> Option<Option<usize>> {
        let bits = self.names[name];
        let content = (bits != NOTHING).then(|| bits.trailing_zeros() as usize);
        (bits.count_ones() == 1).then_some(content)
    }

    /// Whether the records say nothing else.
    pub fn holds(&self, snapshot: &impl Tables) {
        for (number, name) in PARSED.iter().enumerate() {
            let alias = snapshot.alias(name).expect("the records can be read");
            let content = alias.map(|alias| DIGESTS.iter().position(|digest| *digest == alias.digest));
            let now = content.map_or(NOTHING, |content| 1 << content.expect("no other bytes were ever added"));
            assert!(
                self.names[number] & now != 0,
                "{name} means {now:#x}, and may mean only {:#x}",
                self.names[number]
            );
        }
        for (content, digest) in DIGESTS.iter().enumerate() {
            let there = snapshot.pin(digest).expect("the records can be read").is_some();
            let (may, now) = (self.pins[content] | u8::from(self.mended) << 1, 1 << u8::from(there));
            assert!(may & now != 0, "the pin of content {content} is {now:#b}, and may be only {may:#b}");
        }
    }
}
