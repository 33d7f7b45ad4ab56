//! The part of the journal that is in no run yet, in memory: a sorted map whose copies share all that they can.

use std::sync::Arc;

use super::source::Source;
use crate::vocabulary::Result;

/// Entries in a chunk, at most: what a change copies when a snapshot still holds the chunk.
const CHUNK_ENTRIES: usize = 64;

#[derive(Clone)]
struct Entry {
    key: Arc<[u8]>,
    value: Option<Arc<[u8]>>,
}

/// Keys with values or tombstones, newer than every run.
///
/// A clone is a snapshot and costs a counter; a change behind a snapshot copies one chunk and the list of chunks.
#[derive(Clone, Default)]
pub struct Overlay {
    /// Sorted, none empty.
    chunks: Arc<Vec<Arc<Vec<Entry>>>>,
    entries: usize,
}

impl Overlay {
    /// Number of entries, tombstones included.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Sets `key` to a value or (`None`) a tombstone, in place of what it had.
    pub fn put(&mut self, key: impl Into<Arc<[u8]>>, value: Option<impl Into<Arc<[u8]>>>) {
        let entry = Entry { key: key.into(), value: value.map(Into::into) };
        let at = self.chunk_of(&entry.key);
        let chunks = Arc::make_mut(&mut self.chunks);
        if chunks.is_empty() {
            chunks.push(Arc::default());
        }
        let chunk = Arc::make_mut(&mut chunks[at]);
        match position(chunk, &entry.key) {
            Ok(index) => chunk[index] = entry,
            Err(index) => {
                chunk.insert(index, entry);
                self.entries += 1;
            }
        }
        if chunk.len() > CHUNK_ENTRIES {
            let upper = chunk.split_off(CHUNK_ENTRIES / 2);
            chunks.insert(at + 1, Arc::new(upper));
        }
    }

    /// What the overlay has for `key`: nothing, a tombstone (`Some(None)`) or a value.
    pub fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        position(chunk, key).ok().map(|index| chunk[index].value.as_deref())
    }

    /// A place at the first entry whose key is not less than `from`, in this state of the overlay.
    pub fn seek(&self, from: &[u8]) -> OverlayCursor {
        let chunk = self.chunk_of(from);
        let index = self.chunks.get(chunk).map_or(0, |c| position(c, from).unwrap_or_else(|index| index));
        let mut cursor = OverlayCursor { overlay: self.clone(), chunk, index };
        cursor.settle();
        cursor
    }

    /// The last chunk that does not begin behind `key`, or else the first.
    fn chunk_of(&self, key: &[u8]) -> usize {
        self.chunks.partition_point(|chunk| *chunk[0].key <= *key).saturating_sub(1)
    }
}

fn position(chunk: &[Entry], key: &[u8]) -> Result<usize, usize> {
    chunk.binary_search_by(|entry| (*entry.key).cmp(key))
}

/// A place in a snapshot of an overlay.
pub struct OverlayCursor {
    overlay: Overlay,
    chunk: usize,
    index: usize,
}

impl OverlayCursor {
    fn entry(&self) -> Option<&Entry> {
        self.overlay.chunks.get(self.chunk).and_then(|chunk| chunk.get(self.index))
    }

    fn settle(&mut self) {
        if self.overlay.chunks.get(self.chunk).is_some_and(|chunk| self.index >= chunk.len()) {
            self.chunk += 1;
            self.index = 0;
        }
    }
}

impl Source for OverlayCursor {
    fn key(&self) -> Option<&[u8]> {
        self.entry().map(|entry| &*entry.key)
    }

    fn value(&self) -> Option<&[u8]> {
        self.entry().and_then(|entry| entry.value.as_deref())
    }

    fn advance(&mut self) -> Result<()> {
        self.index += 1;
        self.settle();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn all(overlay: &Overlay, from: &[u8]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let mut cursor = overlay.seek(from);
        let mut rows = Vec::new();
        while let Some(key) = cursor.key() {
            rows.push((key.to_vec(), cursor.value().map(<[u8]>::to_vec)));
            cursor.advance().unwrap();
        }
        rows
    }

    proptest! {
        #[test]
        fn an_overlay_is_a_map_and_its_clones_do_not_change(
            puts in proptest::collection::vec((0u16..600, proptest::option::of(any::<u8>())), 0..500),
            from in 0u16..600,
        ) {
            let (mut map, mut overlay, mut kept) = (BTreeMap::new(), Overlay::default(), Vec::new());
            for (n, (key, value)) in puts.into_iter().enumerate() {
                if n % 100 == 0 {
                    kept.push((map.clone(), overlay.clone()));
                }
                let (key, value) = (key.to_be_bytes().to_vec(), value.map(|v| vec![v]));
                overlay.put(key.clone(), value.clone());
                map.insert(key, value);
            }
            kept.push((map, overlay));
            for (map, overlay) in kept {
                prop_assert_eq!(overlay.len(), map.len());
                let from = from.to_be_bytes().to_vec();
                prop_assert_eq!(overlay.get(&from).map(|v| v.map(<[u8]>::to_vec)), map.get(&from).cloned());
                let rest = map.range(from.clone()..).map(|(k, v)| (k.clone(), v.clone())).collect::<Vec<_>>();
                prop_assert_eq!(all(&overlay, &from), rest);
            }
        }
    }
}
