//! The words everything else is written in: digests, names, limits, errors and events.
//!
//! This floor does no I/O, reads no clock and starts no thread.

pub mod digest;
pub mod entry;
pub mod error;
pub mod events;
pub mod finding;
pub mod limits;
pub mod moment;
pub mod name;
#[cfg(feature = "planted")]
pub mod planted;
#[cfg(not(feature = "planted"))]
pub(crate) mod planted;
pub mod ranges;
pub mod recorder;
pub mod reference;
pub mod stamp;
pub mod uri;
pub mod url;

pub use digest::{Blake3, Digest, DigestPrefix};
pub use entry::{Card, Entry, EntryId, EntryKind, EntryTarget, Evidence, Key, Query, State, Trust, Usage, Variant};
pub use error::{Error, ErrorKind, Result};
pub use events::{Event, Observer, Silent};
pub use finding::{Finding, FindingCode};
pub use name::{Name, Prefix};
pub use ranges::{ByteRanges, Damage};
pub use recorder::{Counts, Instrument, Level, Occurrence, Recorder};
pub use reference::{HubRef, ModelRef};
pub use stamp::Stamp;
pub use uri::StoredUri;
pub use url::{LocalPath, SourceUrl, UnusableReference};
