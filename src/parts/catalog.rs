//! The catalog as whoever asks it sees it, whichever engine answers.

#[cfg(feature = "sqlite")]
pub mod foreign;
#[cfg(feature = "sqlite")]
pub mod sqlite;

use crate::vocabulary::{Digest, Entry, EntryId, Key, Query, Result, State};

/// Entries per page, at most: bounds what a page holds in memory.
pub const PAGE_ENTRIES: usize = 1000;

/// What all entries that are not in the trash come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Models and documents in each state.
    pub by_state: Vec<(State, u64)>,
    /// Models.
    pub models: u64,
    /// Documents.
    pub documents: u64,
    /// Variants of all of them.
    pub variants: u64,
    /// Bytes of the distinct blobs among those whose digest and size are known, each once (R103).
    pub bytes: u64,
    /// Entries in the trash.
    pub trashed: u64,
}

/// What an engine answers. Every engine gives the same answers, in the same order: that of keys, byte by byte.
pub trait Catalog: Send + Sync {
    /// The entry of a key, in the trash or not.
    fn entry(&self, key: &Key) -> Result<Option<Entry>>;

    /// The keys of the identities whose hexadecimal digits begin so, `most` of them at most, in order of identities.
    fn keys_of_ids(&self, first: &str, most: usize) -> Result<Vec<Key>>;

    /// The entries that have a variant of this digest, with the names of those variants, in order of identities.
    fn entries_of(&self, digest: &Digest) -> Result<Vec<(EntryId, String)>>;

    /// The first `limit` entries behind `after` that meet `query`, in order of keys; fewer only at the end.
    fn page(&self, query: &Query, after: Option<&Key>, limit: usize) -> Result<Vec<Entry>>;

    /// Counts and sums, in one pass.
    fn totals(&self) -> Result<Totals>;
}

/// Gives every entry that meets `query` to `each`, a page at a time; an error from `each` ends it (R100).
pub fn every(catalog: &dyn Catalog, query: &Query, each: &mut dyn FnMut(Entry) -> Result<()>) -> Result<()> {
    let mut after: Option<Key> = None;
    loop {
        let page = catalog.page(query, after.as_ref(), PAGE_ENTRIES)?;
        let is_last = page.len() < PAGE_ENTRIES;
        after = page.last().map(|entry| entry.card.key.clone());
        for entry in page {
            each(entry)?;
        }
        if is_last {
            return Ok(());
        }
    }
}
