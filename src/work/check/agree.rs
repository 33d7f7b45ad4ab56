//! Whether the index has all rows that the journal says, and no others: found by reading the journal twice and the index
//! once, in memory that does not grow with either.
//!
//! A row that is set once, and not removed after that, needs no memory: such rows are summed up by their hashes on both
//! sides, in whatever order they come, and the sums must be the same. Which rows are changed again is found by a first
//! reading, with one bit for each hash of a key that was set; those are followed one by one, with some more whose bit
//! another key had set. That the sums are not the same tells that something differs, and not what: that is left to whoever
//! compares row by row.

use std::collections::HashMap;

use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

use super::said::{is_old, rows_said};
use super::{Checker, ROWS_BETWEEN};
use crate::format::table::Table;
use crate::ledger::Snapshot;
use crate::vocabulary::{Error, Result};

/// What bounds the memory of one pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bits for keys that were set, a power of two.
    pub bits: u64,
    /// Rows that are followed one by one.
    pub followed: usize,
    /// Rows for which so many bits are enough: about one key in forty is then followed in vain.
    pub rows: u64,
}

impl Bounds {
    /// 16 MiB of bits, and about as much for what is followed.
    pub(super) const USUAL: Bounds = Bounds { bits: 1 << 27, followed: 400_000, rows: 6_000_000 };
}

/// Whether index and journal agree. Reads both as often as memory asks for: once more for every [`Bounds::rows`].
pub(super) fn agrees(checker: &Checker<'_, '_>, snapshot: &Snapshot, bounds: Bounds) -> Result<bool> {
    let mut seed = [0; 8];
    checker.ctx.ledger.machine.random(&mut seed).map_err(|e| Error::system("get random bytes", e))?;
    let rows: u64 = snapshot.view.index().runs().iter().map(|run| run.meta().records).sum();
    let mut part = Part { seed: u64::from_le_bytes(seed), number: 0, of: rows.div_ceil(bounds.rows).max(1) };
    while part.number < part.of {
        match part_agrees(checker, snapshot, bounds, part)? {
            Some(true) => part.number += 1,
            Some(false) => return Ok(false),
            None => part = Part { number: 0, of: part.of * 2, ..part },
        }
    }
    Ok(true)
}

/// One of so many parts of all keys, by their hashes.
#[derive(Clone, Copy)]
struct Part {
    seed: u64,
    number: u64,
    of: u64,
}

impl Part {
    /// The hash of a key that is in this part.
    fn hash(&self, key: &[u8]) -> Option<u64> {
        let hash = xxh3_64_with_seed(key, self.seed);
        ((u128::from(hash) * u128::from(self.of)) >> 64 == u128::from(self.number)).then_some(hash)
    }
}

/// The hash of a row whose key has this one.
fn row(key: u64, value: &[u8]) -> u128 {
    xxh3_128_with_seed(value, key)
}

/// Rows that are followed one by one, by the hashes of their keys; what each has by now.
type Followed = HashMap<u64, Option<u128>>;

/// Bits by hashes.
struct Bits(Vec<u64>);

impl Bits {
    fn new(bits: u64) -> Self {
        Bits(vec![0; (bits / 64) as usize])
    }

    /// Where a bit is, by those of a hash that say the least of its part.
    fn place(&self, hash: u64) -> (usize, u64) {
        let bit = hash & (self.0.len() as u64 * 64 - 1);
        ((bit / 64) as usize, 1 << (bit % 64))
    }

    fn has(&self, hash: u64) -> bool {
        let (word, bit) = self.place(hash);
        self.0[word] & bit != 0
    }

    /// Sets a bit; whether it was set before.
    fn set(&mut self, hash: u64) -> bool {
        let had = self.has(hash);
        let (word, bit) = self.place(hash);
        self.0[word] |= bit;
        had
    }
}

/// `None`: more would have to be followed than there may be.
fn part_agrees(checker: &Checker<'_, '_>, snapshot: &Snapshot, bounds: Bounds, part: Part) -> Result<Option<bool>> {
    let Some(mut followed) = changed_again(checker, snapshot, bounds, part)? else { return Ok(None) };
    let mut sum = 0_u128;
    let now_ns = snapshot.cursor.time_ns;
    rows_said(checker, snapshot, &mut |key, value| {
        let Some(hash) = part.hash(&key) else { return true };
        // What went long ago counts on neither side: a base leaves it out, and the runs may still have it.
        let value = value.filter(|value| !is_old(&key, value, now_ns)).map(|value| row(hash, &value));
        match (followed.get_mut(&hash), value) {
            (Some(known), value) => *known = value,
            (None, Some(value)) => sum = sum.wrapping_add(value),
            (None, None) => {}
        }
        true
    })?;
    for (at, found) in snapshot.view.range(&[], None).enumerate() {
        if at % ROWS_BETWEEN == 0 {
            checker.unless_stopped()?;
        }
        let (key, value) = found?;
        let Some(hash) = part.hash(&key) else { continue };
        if is_old(&key, &value, now_ns) {
            continue;
        }
        match followed.get_mut(&hash) {
            Some(known) if *known == Some(row(hash, &value)) => *known = None,
            Some(_) => return Ok(Some(false)),
            // It leads to what went, and does not say how long ago.
            None if is_of(&key, Table::Meant) => {}
            None => sum = sum.wrapping_sub(row(hash, &value)),
        }
    }
    Ok(Some(sum == 0 && followed.values().all(Option::is_none)))
}

/// The rows that are set again, or removed, after they were set; and those that may be on one side alone.
fn changed_again(
    checker: &Checker<'_, '_>,
    snapshot: &Snapshot,
    bounds: Bounds,
    part: Part,
) -> Result<Option<Followed>> {
    let mut followed = Followed::new();
    let mut were_set = Bits::new(bounds.bits);
    rows_said(checker, snapshot, &mut |key, value| {
        let Some(hash) = part.hash(&key) else { return true };
        let again = if value.is_some() { were_set.set(hash) } else { were_set.has(hash) };
        if again || is_of(&key, Table::Meant) {
            followed.insert(hash, None);
        }
        followed.len() <= bounds.followed
    })?;
    Ok((followed.len() <= bounds.followed).then_some(followed))
}

fn is_of(key: &[u8], table: Table) -> bool {
    key.first() == Some(&(table as u8))
}
