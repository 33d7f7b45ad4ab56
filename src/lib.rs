//! larder keeps one verified copy of every file that the model and document caches of a machine hold, however many
//! names they give it: a content-addressable blob store with hardlink deduplication.
//!
//! The crate's map is in `docs/architecture.md`: each module is a floor and names only the floors below it.

pub mod format;
pub mod hashing;
pub mod ledger;
pub mod machine;
pub mod parts;
pub mod store;
pub mod vocabulary;
pub mod work;

#[cfg(feature = "async")]
pub use store::aio;
#[cfg(feature = "otel")]
pub use store::otel;
pub use store::{Durability, NewStore, OpenOptions, Presence, Shared, Store, StoreSettings};
pub use vocabulary::{
    Blake3, ByteRanges, Card, Counts, Damage, Digest, DigestPrefix, Entry, EntryId, EntryKind, EntryTarget, Error,
    ErrorKind, Event, Evidence, Finding, FindingCode, HubRef, Instrument, Key, Level, LocalPath, ModelRef, Name,
    Observer, Occurrence, Prefix, Query, Recorder, Result, Silent, SourceUrl, Stamp, State, StoredUri, Trust,
    UnusableReference, Usage, Variant,
};
