//! What keeping bytes once saves, from the front.

use std::path::PathBuf;

use super::Store;
use crate::vocabulary::{Observer, Result};
use crate::work::dedup::{self, Copy, DedupTotals, Group, Scanned};

impl Store {
    /// Gives every blob that is wanted, or kept, more than once to `each`, in order of digests (R97); see [`dedup::groups`].
    pub fn duplicates(&self, each: &mut dyn FnMut(Group) -> Result<()>) -> Result<DedupTotals> {
        dedup::groups(&self.reading(), each)
    }

    /// Gives every file below `directories` that has the bytes of a blob to `each`; see [`dedup::scan`].
    pub fn find_copies(
        &self,
        directories: &[PathBuf],
        observer: &dyn Observer,
        each: &mut dyn FnMut(Copy) -> Result<()>,
    ) -> Result<Scanned> {
        dedup::scan(&self.reading(), directories, observer, each)
    }
}
