//! What the catalog holds: entries, their variants, how often they were used, and what is in the trash.

use serde::{Deserialize, Serialize};

use super::Moment;
use crate::vocabulary::entry::Term;
use crate::vocabulary::{Card, Digest, EntryId, Key, Usage, Variant};

/// An entry is, or now is, what its card says. Its variants have records of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRecord {
    /// What is known of it.
    pub card: Card,
    /// What it was found by before, and no longer is.
    pub dropped: Vec<Term>,
}

/// An entry has a variant, or it now is another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariantRecord {
    /// The entry.
    pub entry: EntryId,
    /// The variant.
    pub variant: Variant,
    /// The digest that the variant of this name had before.
    pub was: Option<Digest>,
}

/// An entry has a variant no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariantRemovedRecord {
    /// The entry.
    pub entry: EntryId,
    /// Its name.
    pub name: String,
    /// The digest that it had.
    pub was: Option<Digest>,
}

/// There is no such entry any more; its variants are removed by records of their own, in the same frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRemovedRecord {
    /// Which.
    pub key: Key,
    /// What it was found by.
    pub terms: Vec<Term>,
    /// What removed it: `remove`, `delete`, `evict`, …
    pub rule: String,
    /// When.
    pub when: Moment,
}

/// How often an entry was used, all in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedRecord {
    /// The entry.
    pub entry: EntryId,
    /// How often, and when last.
    pub usage: Usage,
}

/// An entry was put into the trash: it keeps its blobs, and can be taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrashedRecord {
    /// The entry.
    pub entry: EntryId,
    /// What put it there: `delete`, `evict`, …
    pub rule: String,
    /// When.
    pub since: Moment,
}

/// The row of an entry that is in the trash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrashRow {
    /// What put it there.
    pub rule: String,
    /// When.
    pub since: Moment,
}
