//! Whose links a blob's inode has: larder's own names, and those that somebody else made.

use std::collections::BTreeMap;

use crate::ledger::{Ledger, Tables};
use crate::machine::{FileKind, Meta};
use crate::vocabulary::{Digest, Error, Result};

/// What a blob's file is now, and what is left of it when larder lets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// The file.
    pub meta: Meta,
    /// Names of its inode that larder does not know.
    pub outside_links: u64,
}

impl Footprint {
    /// Bytes that removing the blob really frees: none while a link outside the store is left. Extents that a file
    /// outside shares by reflink are not seen; they would stay, too.
    pub fn frees_bytes(&self) -> u64 {
        if self.outside_links == 0 { self.meta.allocated_bytes } else { 0 }
    }
}

/// The links that running work, or work that died, has under `staging/`, by inode.
#[derive(Clone, Debug, Default)]
pub struct StagedLinks(BTreeMap<u64, u64>);

impl StagedLinks {
    /// Reads `staging/`. What cannot be read counts as nothing: then a link of larder's own passes for one outside, and
    /// the bytes that removing frees are told too low, never too high.
    pub fn read(ledger: &Ledger) -> Self {
        let mut inodes = BTreeMap::new();
        let staging = ledger.layout.staging();
        for entry in ledger.machine.list(&staging).unwrap_or_default() {
            match entry.kind {
                FileKind::Directory => {
                    for file in ledger.machine.list(&staging.join(&entry.name)).unwrap_or_default() {
                        *inodes.entry(file.inode).or_insert(0) += 1;
                    }
                }
                _ => *inodes.entry(entry.inode).or_insert(0) += 1,
            }
        }
        StagedLinks(inodes)
    }

    /// Looks at the file of `digest` and counts whose links it has; `None` if there is no file. Links that come and go
    /// meanwhile make it inexact: it is for reports, and never the reason to delete.
    pub fn footprint(&self, ledger: &Ledger, tables: &impl Tables, digest: &Digest) -> Result<Option<Footprint>> {
        let Some(meta) = ledger.blobs.meta(digest)? else { return Ok(None) };
        let own = 1 + self.0.get(&meta.inode).copied().unwrap_or(0);
        let others = meta.links.saturating_sub(own);
        let named = if others == 0 { 0 } else { names_on(ledger, tables, digest, &meta)? };
        Ok(Some(Footprint { meta, outside_links: others.saturating_sub(named) }))
    }
}

/// The files in quarantine, by their inodes: names whose relinking failed are still links to them.
#[derive(Clone, Debug, Default)]
pub struct Evidence(BTreeMap<u64, String>);

impl Evidence {
    /// Lists `quarantine/`. [`crate::ErrorKind::Io`] and the like where that cannot be done.
    pub fn read(ledger: &Ledger) -> Result<Self> {
        let quarantine = ledger.layout.quarantine();
        let entries = ledger.machine.list(&quarantine).map_err(|e| Error::io("list", &quarantine, e))?;
        let files = entries.into_iter().filter(|entry| entry.kind == FileKind::File);
        Ok(Evidence(files.filter_map(|file| Some((file.inode, file.name.into_string().ok()?))).collect()))
    }

    /// Whether a file is one that was taken out of the place of `digest`.
    pub fn has(&self, ledger: &Ledger, digest: &Digest, meta: &Meta) -> bool {
        let kept = self.0.get(&meta.inode).filter(|kept| kept.starts_with(&digest.to_hex()));
        let kept = kept.and_then(|kept| ledger.machine.lstat(&ledger.layout.quarantine().join(kept)).ok());
        kept.is_some_and(|kept| (kept.device, kept.inode) == (meta.device, meta.inode))
    }
}

/// How many hardlinked aliases of `digest` are, in fact, the file that `meta` describes.
fn names_on(ledger: &Ledger, tables: &impl Tables, digest: &Digest, meta: &Meta) -> Result<u64> {
    let mut count = 0;
    for name in tables.names_of(digest)? {
        let hardlinked = tables.alias(&name)?.is_some_and(|alias| alias.hardlinked);
        let same = |there: Meta| (there.device, there.inode) == (meta.device, meta.inode);
        if hardlinked && ledger.machine.lstat(&ledger.layout.name(&name)).is_ok_and(same) {
            count += 1;
        }
    }
    Ok(count)
}
