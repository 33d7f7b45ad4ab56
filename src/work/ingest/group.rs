//! Small files, several at once: all are read, then hashed together, then staged.

use super::TakeIn;
use super::stage::{Staged, Stager, unchanged};
use super::walk::Item;
use crate::hashing::{Absorb, Sha256};
use crate::machine::Meta;
use crate::vocabulary::limits::SMALL_FILE_BYTES;
use crate::vocabulary::{Digest, Result};

/// A small file in memory.
struct Small {
    meta: Meta,
    bytes: Vec<u8>,
}

impl Stager<'_> {
    /// Stages some files of the tree. What is not as simple as that is staged one by one.
    pub(super) fn stage_group(&self, group: Vec<Item>) -> Vec<(Item, Result<Staged>)> {
        let read: Vec<Option<Small>> = group.iter().map(|item| self.read_small(item)).collect();
        let mut digests = read.iter().flatten().map(|small| sha256(&small.bytes)).collect::<Vec<_>>().into_iter();
        let stage = |(item, small): (Item, Option<Small>)| {
            let staged = match small {
                Some(Small { meta, bytes }) => {
                    let digest = digests.next().expect("one for each that was read");
                    self.staged(&item, &meta, digest, &bytes)
                }
                None => self.stage(&item),
            };
            (item, staged)
        };
        group.into_iter().zip(read).map(stage).collect()
    }

    /// Reads a file that is to be copied; `None` where that is more than reading it once.
    fn read_small(&self, item: &Item) -> Option<Small> {
        let copied = self.options.take_in == TakeIn::Copy && item.size_bytes <= SMALL_FILE_BYTES;
        if !copied || self.is_large(item.size_bytes) || self.observer.cancelled() {
            return None;
        }
        let (file, meta) = self.open_source(&item.path).ok()?;
        if meta.size_bytes > SMALL_FILE_BYTES || self.is_large(meta.size_bytes) {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(meta.size_bytes).ok()?];
        let whole = file.read_at(&mut bytes, 0).is_ok_and(|read| read == bytes.len());
        let good = whole && file.meta().is_ok_and(|after| unchanged(&meta, &after));
        if good {
            self.observer.progress(0, meta.size_bytes);
        }
        good.then_some(Small { meta, bytes })
    }
}

fn sha256(bytes: &[u8]) -> Digest {
    let mut hasher = Sha256::default();
    hasher.absorb(bytes);
    hasher.finish()
}
