//! What the sources of one batch have staged, and for whom bytes are kept once more.

use std::collections::{HashMap, HashSet};

use crate::ledger::{Ledger, Tables};
use crate::parts::blobs::Readers;
use crate::vocabulary::{Digest, Result};

/// What the sources of one batch have staged.
#[derive(Default)]
pub(super) struct Claims {
    /// The digests, with the modes of what was staged.
    pub digests: HashMap<Digest, u32>,
    /// Device and inode of the files that became blobs themselves: a file may have several names in one tree.
    pub files: HashSet<(u64, u64)>,
}

impl Claims {
    /// Notes that a source with this mode stages these bytes; `false` if one that all its readers may read has.
    pub(super) fn claim(&mut self, digest: &Digest, mode: u32) -> bool {
        let claimed = self.digests.entry(*digest).or_insert(0);
        let fresh = mode & !*claimed != 0;
        *claimed |= mode;
        fresh
    }
}

/// Whether a source becomes the blob itself.
pub(super) enum LinkClaim {
    Granted,
    /// Another source of its batch has staged these bytes.
    ByAnother,
    /// One that fewer people may read has.
    ForFewer,
}

/// Whether somebody among `readers` may read neither the blob's own file, which those of `blob` may, nor a carrier.
pub(super) fn reaches_more(
    ledger: &Ledger,
    tables: &impl Tables,
    digest: &Digest,
    blob: Readers,
    readers: Readers,
) -> Result<bool> {
    if *digest == Digest::EMPTY || blob.cover(readers) {
        return Ok(false);
    }
    for (number, _) in tables.carriers(digest)? {
        if ledger.carriers.meta(digest, number)?.is_some_and(|carrier| Readers::of(&carrier).cover(readers)) {
            return Ok(false);
        }
    }
    Ok(true)
}
