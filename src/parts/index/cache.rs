//! Verified pages kept in memory, bounded by their bytes and shared by all threads and runs.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::format::page::Page;
use crate::format::run::RunId;
use crate::vocabulary::limits::RUN_CACHE_BYTES;

const SHARDS: usize = 16;
/// What a page takes in memory beside its bytes, about.
const OVERHEAD_BYTES: usize = 160;

type At = (RunId, u64);

/// Pages by run and offset; a page that was not asked for since the hand last passed gives way to a new one.
pub(super) struct PageCache {
    shards: [Mutex<Shard>; SHARDS],
    shard_bytes: usize,
}

#[derive(Default)]
struct Shard {
    index: HashMap<At, usize, BuildHasherDefault<Places>>,
    slots: Vec<Slot>,
    hand: usize,
    bytes: usize,
}

struct Slot {
    at: At,
    what: Kept,
    used: bool,
}

#[derive(Clone)]
enum Kept {
    Page(Arc<Page>),
    Filter(Arc<[u8]>),
}

impl Kept {
    fn size_bytes(&self) -> usize {
        match self {
            Kept::Page(page) => page.size_bytes() + OVERHEAD_BYTES,
            Kept::Filter(blocks) => blocks.len() + OVERHEAD_BYTES,
        }
    }
}

/// Hashes places: the identity of a run is random already, and an offset is told apart by a multiplication.
#[derive(Default)]
struct Places(u64);

impl Hasher for Places {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = mixed(self.0.rotate_left(23) ^ word);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

/// A multiplication by the golden ratio, of which the upper bits are good.
fn mixed(word: u64) -> u64 {
    word.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Default for PageCache {
    fn default() -> Self {
        PageCache::with_bytes(RUN_CACHE_BYTES)
    }
}

impl PageCache {
    /// A cache that holds pages of at most `bytes`.
    pub(super) fn with_bytes(bytes: usize) -> Self {
        PageCache { shards: Default::default(), shard_bytes: bytes / SHARDS }
    }

    /// The page at `offset` of `run`, if it is here.
    pub(super) fn get(&self, run: RunId, offset: u64) -> Option<Arc<Page>> {
        match self.kept((run, offset))? {
            Kept::Page(page) => Some(page),
            Kept::Filter(_) => None,
        }
    }

    /// The piece of the filter at `offset` of `run`, if it is here.
    pub(super) fn filter(&self, run: RunId, offset: u64) -> Option<Arc<[u8]>> {
        match self.kept((run, offset))? {
            Kept::Filter(blocks) => Some(blocks),
            Kept::Page(_) => None,
        }
    }

    /// Keeps a page, in place of others where it must.
    pub(super) fn put(&self, run: RunId, offset: u64, page: &Arc<Page>) {
        self.keep((run, offset), Kept::Page(Arc::clone(page)));
    }

    /// Keeps a piece of the filter, in place of others where it must.
    pub(super) fn put_filter(&self, run: RunId, offset: u64, blocks: &Arc<[u8]>) {
        self.keep((run, offset), Kept::Filter(Arc::clone(blocks)));
    }

    fn kept(&self, at: At) -> Option<Kept> {
        let mut shard = self.shard(at);
        let slot = *shard.index.get(&at)?;
        let slot = &mut shard.slots[slot];
        slot.used = true;
        Some(slot.what.clone())
    }

    fn keep(&self, at: At, what: Kept) {
        let mut shard = self.shard(at);
        let bytes = what.size_bytes();
        if bytes > self.shard_bytes || shard.index.contains_key(&at) {
            return;
        }
        while shard.bytes + bytes > self.shard_bytes {
            shard.turn();
        }
        let slot = shard.slots.len();
        shard.index.insert(at, slot);
        shard.slots.push(Slot { at, what, used: false });
        shard.bytes += bytes;
    }

    fn shard(&self, (run, offset): At) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[(mixed(u64::from_le_bytes(*run.as_bytes()) ^ offset) >> 60) as usize];
        // A shard is whole after every step, so what a thread left that panicked elsewhere can be used.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    /// Moves the hand by one page: spares it if it was asked for, drops it otherwise.
    fn turn(&mut self) {
        if self.hand >= self.slots.len() {
            self.hand = 0;
        }
        let slot = &mut self.slots[self.hand];
        if slot.used {
            slot.used = false;
            self.hand += 1;
            return;
        }
        let gone = self.slots.swap_remove(self.hand);
        self.index.remove(&gone.at);
        self.bytes -= gone.what.size_bytes();
        if let Some(moved) = self.slots.get(self.hand) {
            self.index.insert(moved.at, self.hand);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::page::PageBuilder;
    use crate::format::run::RunKey;

    #[test]
    fn the_cache_stays_within_its_bytes_and_gives_what_was_put() {
        let run = RunId::from_bytes([9; 8]);
        let key = RunKey::of(run);
        let cache = PageCache::with_bytes(64 << 10);
        for offset in 0..2_000u64 {
            let mut builder = PageBuilder::new(0);
            builder.push(&offset.to_le_bytes(), Some(&[0; 900])).unwrap();
            let page = Page::decode(builder.finish(&key, offset).into(), &key, offset).unwrap();
            cache.put(run, offset, &Arc::new(page));
            assert!(cache.get(run, offset).unwrap().search(&offset.to_le_bytes()).is_ok());
        }
        let shards = cache.shards.iter().map(|s| s.lock().unwrap());
        let (bytes, slots) = shards.fold((0, 0), |(b, n), s| (b + s.bytes, n + s.slots.len()));
        assert!(bytes <= 64 << 10 && slots > 30, "{bytes} bytes in {slots}");
        for offset in 0..2_000u64 {
            if let Some(page) = cache.get(run, offset) {
                assert!(page.search(&offset.to_le_bytes()).is_ok());
            }
        }
    }
}
