//! The files of an entry.

use serde::{Deserialize, Serialize};

use super::super::digest::Digest;
use super::super::error::Result;
use super::super::limits::{NAME_BYTES, VARIANT_NAME_BYTES};
use super::super::name::Name;
use super::text;

/// The name of the variant that stands for the whole entry.
pub const MAIN: &str = "";

/// One file of an entry: a shard, a quantisation, the PDF or the text of a document (R52).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// What it is called within its entry; [`MAIN`] for the one that stands for the whole.
    pub name: String,
    /// The digest that somebody said it has.
    pub expected: Option<Digest>,
    /// The digest that its bytes have. While it is on record, its blob is kept.
    pub digest: Option<Digest>,
    /// Its length in bytes, where that is known.
    pub size_bytes: Option<u64>,
    /// Its media type; empty where nobody said.
    pub content_type: String,
    /// Where its bytes are, as a URI; empty where that is not known.
    pub uri: String,
    /// Its name in the store.
    pub alias: Option<Name>,
    /// When it was registered, in wall-clock nanoseconds since the epoch.
    pub created_ns: u64,
}

impl Variant {
    /// A variant of which nothing is known but its name.
    pub fn new(name: impl Into<String>, created_ns: u64) -> Self {
        Variant {
            name: name.into(),
            expected: None,
            digest: None,
            size_bytes: None,
            content_type: String::new(),
            uri: String::new(),
            alias: None,
            created_ns,
        }
    }

    /// The same without the secrets of its URI, unless that is a path, which leads nowhere if it is changed.
    #[must_use]
    pub fn without_secrets(mut self) -> Self {
        if !self.uri.starts_with("file:") {
            text::redact(&mut self.uri);
        }
        text::redact(&mut self.content_type);
        self
    }

    /// Refuses control characters, and more than one record holds.
    pub fn check(&self) -> Result<()> {
        text::line("variant's name", &self.name)?;
        text::line("content type", &self.content_type)?;
        text::line("URI", &self.uri)?;
        text::at_most("variant's name", self.name.len(), VARIANT_NAME_BYTES, "bytes")?;
        text::at_most("content type", self.content_type.len(), VARIANT_NAME_BYTES, "bytes")?;
        text::at_most("URI", self.uri.len(), 2 * NAME_BYTES, "bytes")
    }
}
