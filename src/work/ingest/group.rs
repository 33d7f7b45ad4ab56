//! Small files, several at once: all are read, then hashed together, then staged.

use super::TakeIn;
use super::stage::{Staged, Stager, unchanged};
use super::walk::Item;
use crate::hashing::sha256_many;
use crate::machine::Meta;
use crate::vocabulary::Result;
use crate::vocabulary::limits::SMALL_FILE_BYTES;

/// What is to be done with a source of a group.
enum Read {
    /// A small file in memory. `racy`: see [`Staged::racy`].
    Small { meta: Meta, bytes: Vec<u8>, racy: bool },
    /// It need not be read.
    Trusted(Box<Staged>),
    /// It is staged alone.
    Alone,
}

impl Stager<'_> {
    /// Stages some files of the tree. What is not as simple as that is staged one by one.
    pub(super) fn stage_group(&self, group: Vec<Item>) -> Vec<(Item, Result<Staged>)> {
        let read: Vec<Read> = group.iter().map(|item| self.read(item)).collect();
        let bytes: Vec<&[u8]> = read
            .iter()
            .filter_map(|read| match read {
                Read::Small { bytes, .. } => Some(&bytes[..]),
                _ => None,
            })
            .collect();
        let mut digests = sha256_many(&bytes).into_iter();
        let stage = |(item, read): (Item, Read)| {
            let staged = match read {
                Read::Small { meta, bytes, racy } => {
                    let digest = digests.next().expect("one for each that was read");
                    self.staged(&item, &meta, digest, &bytes).map(|staged| Staged { racy, ..staged })
                }
                Read::Trusted(staged) => Ok(*staged),
                Read::Alone => self.stage(&item),
            };
            (item, staged)
        };
        group.into_iter().zip(read).map(stage).collect()
    }

    fn read(&self, item: &Item) -> Read {
        match self.trusted(item) {
            Ok(Some(staged)) => {
                self.observer.progress(0, staged.digests.size_bytes);
                Read::Trusted(Box::new(staged))
            }
            // What went wrong goes wrong again, and is told then.
            Ok(None) | Err(_) => self.read_small(item).unwrap_or(Read::Alone),
        }
    }

    /// Reads a file that is to be copied; `None` where that is more than reading it once.
    fn read_small(&self, item: &Item) -> Option<Read> {
        let copied = self.options.take_in == TakeIn::Copy && item.size_bytes <= SMALL_FILE_BYTES;
        if !copied || self.is_large(item.size_bytes) || self.observer.cancelled() {
            return None;
        }
        let (file, meta) = self.open_source(&item.path).ok()?;
        if meta.size_bytes > SMALL_FILE_BYTES || self.is_large(meta.size_bytes) {
            return None;
        }
        let racy = self.is_racy(&meta);
        let mut bytes = vec![0; usize::try_from(meta.size_bytes).ok()?];
        let whole = file.read_at(&mut bytes, 0).is_ok_and(|read| read == bytes.len());
        let good = whole && file.meta().is_ok_and(|after| unchanged(&meta, &after));
        if good {
            self.observer.progress(0, meta.size_bytes);
        }
        good.then_some(Read::Small { meta, bytes, racy })
    }
}
