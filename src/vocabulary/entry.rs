//! Entries: what the catalog knows of a model or a document.
//!
//! An entry is a value: nothing changes it, and an update is another value under the same key. It keeps the blobs of its
//! variants alive, as names and pins do.

mod key;
mod query;
mod retention;
mod state;
mod target;
mod text;
mod variant;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::error::{Error, ErrorKind, Result};
use super::limits::{ENTRY_BYTES, ENTRY_TAGS_BYTES, ENTRY_VARIANTS, NOTE_BYTES};
use super::url::redacted;

pub use key::{EntryId, EntryKind, Key};
pub use query::{Query, Term, TermKind, glob};
pub use retention::{Retention, RetentionPolicy, retention_filter};
pub use state::{By, State, Trust};
pub use target::EntryTarget;
pub use variant::{MAIN, Variant};

/// What shows that an entry's bytes are, or are not, what they should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The digest that somebody said it has; `None` where nobody did.
    pub expected: Option<Digest>,
    /// The digest that its bytes were found to have; `None` where they could not be read.
    pub found: Option<Digest>,
    /// When, in wall-clock nanoseconds since the epoch.
    pub when_ns: u64,
    /// What looked: `verify`, `register`, `import`, …
    pub by: String,
}

/// How often an entry was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Times.
    pub count: u64,
    /// The last time, in wall-clock nanoseconds since the epoch; zero for never.
    pub last_ns: u64,
}

impl Usage {
    /// This and what was noted beside it.
    #[must_use]
    pub fn and(self, more: Usage) -> Usage {
        Usage { count: self.count.saturating_add(more.count), last_ns: self.last_ns.max(more.last_ns) }
    }

    /// The one of two accounts of the same usage that says more.
    #[must_use]
    pub fn newer_than(self, other: Usage) -> Usage {
        Usage { count: self.count.max(other.count), last_ns: self.last_ns.max(other.last_ns) }
    }
}

/// What the catalog knows of a model or a document, without its variants and its usage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Which model or document it is.
    pub key: Key,
    /// What people call it; empty where it has no name beside its key.
    pub title: String,
    /// Where it came from, without credentials.
    pub source: String,
    /// Its media type; empty where nobody said.
    pub content_type: String,
    /// The run that brought it in; empty where nobody said.
    pub run: String,
    /// When it was registered, in wall-clock nanoseconds since the epoch.
    pub registered_ns: u64,
    /// When it last changed.
    pub updated_ns: u64,
    /// When its bytes were last found to be right.
    pub verified_ns: Option<u64>,
    /// Where it is in its life.
    pub state: State,
    /// How far its bytes are to be trusted.
    pub trust: Trust,
    /// What shows that.
    pub evidence: Option<Evidence>,
    /// Anything else: architecture, quantisation, context length, …
    pub metadata: BTreeMap<String, String>,
    /// Words to find it by.
    pub tags: BTreeSet<String>,
    /// What people wrote about it.
    pub notes: String,
    /// Where its bill of materials is; empty where it has none.
    pub sbom: String,
    /// Where its signature is; empty where it has none.
    pub signature: String,
}

impl Card {
    /// A card of `key` with nothing on it yet.
    pub fn new(key: Key, now_ns: u64) -> Self {
        Card {
            key,
            title: String::new(),
            source: String::new(),
            content_type: String::new(),
            run: String::new(),
            registered_ns: now_ns,
            updated_ns: now_ns,
            verified_ns: None,
            state: State::Pending,
            trust: Trust::Unverified,
            evidence: None,
            metadata: BTreeMap::new(),
            tags: BTreeSet::new(),
            notes: String::new(),
            sbom: String::new(),
            signature: String::new(),
        }
    }

    /// Its identity.
    pub fn id(&self) -> EntryId {
        self.key.id()
    }

    /// The same with `REDACTED` in the place of the secrets of all URLs in its text: what is stored has none (R174).
    #[must_use]
    pub fn without_secrets(mut self) -> Self {
        let texts = [
            &mut self.title,
            &mut self.source,
            &mut self.content_type,
            &mut self.run,
            &mut self.notes,
            &mut self.sbom,
            &mut self.signature,
        ];
        texts.into_iter().chain(self.evidence.as_mut().map(|evidence| &mut evidence.by)).for_each(text::redact);
        if self.metadata.iter().any(|(key, value)| text::has_secrets(key) || text::has_secrets(value)) {
            let clean = |text: String| redacted(&text).into_owned();
            self.metadata = self.metadata.into_iter().map(|(key, value)| (clean(key), clean(value))).collect();
        }
        if self.tags.iter().any(|tag| text::has_secrets(tag)) {
            self.tags = self.tags.iter().map(|tag| redacted(tag).into_owned()).collect();
        }
        self
    }

    /// Refuses, with [`ErrorKind::Invalid`], control characters where a line of text belongs, an empty tag or metadata
    /// key, and more than one record holds: [`ENTRY_TAGS_BYTES`] of tags, [`NOTE_BYTES`] of notes, [`ENTRY_BYTES`] of
    /// everything.
    pub fn check(&self) -> Result<()> {
        let lines = [
            ("title", &self.title),
            ("source", &self.source),
            ("content type", &self.content_type),
            ("run", &self.run),
            ("SBOM reference", &self.sbom),
            ("signature reference", &self.signature),
        ];
        for (what, value) in lines {
            text::line(what, value)?;
        }
        for tag in &self.tags {
            text::word("tag", tag)?;
        }
        for (key, value) in &self.metadata {
            text::word("metadata key", key)?;
            text::prose("metadata value", value)?;
        }
        text::prose("notes", &self.notes)?;
        text::at_most("notes", self.notes.len(), NOTE_BYTES, "bytes")?;
        text::at_most("content type", self.content_type.len(), TERM_BYTES, "bytes")?;
        text::at_most("run", self.run.len(), TERM_BYTES, "bytes")?;
        let tags = self.tags.iter().map(|tag| tag.len() + 2).sum();
        text::at_most("tags", tags, ENTRY_TAGS_BYTES, "bytes")?;
        text::at_most("entry (without its variants)", self.about_bytes(), ENTRY_BYTES, "bytes")
    }

    /// About how many bytes it takes on record, never too few.
    pub fn about_bytes(&self) -> usize {
        let texts =
            [&self.title, &self.source, &self.content_type, &self.run, &self.notes, &self.sbom, &self.signature];
        let by = self.evidence.as_ref().map_or(0, |evidence| evidence.by.len());
        let metadata = self.metadata.iter().map(|(key, value)| key.len() + value.len() + 6);
        CARD_FIXED_BYTES
            + self.key.to_bytes().len()
            + texts.into_iter().map(String::len).sum::<usize>()
            + self.tags.iter().map(|tag| tag.len() + 3).sum::<usize>()
            + metadata.sum::<usize>()
            + by
    }

    /// What it is found by.
    pub fn terms(&self) -> BTreeSet<Term> {
        let mut terms = BTreeSet::new();
        self.each_term(|kind, value| _ = terms.insert(Term::new(kind, value)));
        terms
    }

    /// Tells what it is found by, in no order, each once.
    pub fn each_term(&self, mut tell: impl FnMut(TermKind, &str)) {
        tell(TermKind::State, self.state.word());
        let texts = [
            (TermKind::ContentType, self.content_type.as_str()),
            (TermKind::Run, &self.run),
            (TermKind::Provider, self.key.provider()),
        ];
        texts.into_iter().filter(|(_, value)| !value.is_empty()).for_each(|(kind, value)| tell(kind, value));
        self.tags.iter().for_each(|tag| tell(TermKind::Tag, tag));
    }
}

/// What a card takes besides its text: times, digests, lengths.
const CARD_FIXED_BYTES: usize = 192;
/// Longest content type and run, in bytes: they are keys of the index beside the key of the entry.
const TERM_BYTES: usize = 512;

/// What the catalog knows of a model or a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Everything but its variants and usage.
    pub card: Card,
    /// Its files, in order of their names.
    pub variants: Vec<Variant>,
    /// How often it was used.
    pub usage: Usage,
    /// When it was put into the trash, in journal nanoseconds since the epoch; `None` for one that is not there.
    pub trashed_ns: Option<u64>,
}

impl Entry {
    /// Its identity.
    pub fn id(&self) -> EntryId {
        self.card.id()
    }

    /// One of its variants.
    pub fn variant(&self, name: &str) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.name == name)
    }

    /// The variant that stands for the whole: the main one, or the only one.
    pub fn main(&self) -> Option<&Variant> {
        self.variant(MAIN).or(match self.variants.as_slice() {
            [only] => Some(only),
            _ => None,
        })
    }

    /// The variant of this name, or without one that stands for the whole. [`ErrorKind::NotFound`] where there is none, and
    /// where there are several and none of them stands for the whole.
    pub fn meant(&self, name: Option<&str>) -> Result<&Variant> {
        let found = match name {
            Some(name) => self.variant(name),
            None => self.main(),
        };
        found.ok_or_else(|| {
            let names: Vec<String> =
                self.variants.iter().take(8).map(|variant| format!("{:?}", variant.name)).collect();
            let reason = match (names.is_empty(), name) {
                (true, _) => "it has no variants".to_owned(),
                (false, Some(name)) => format!("it has no variant {name:?}, but {}", names.join(", ")),
                (false, None) => format!("it has several variants: {}", names.join(", ")),
            };
            Error::new(ErrorKind::NotFound, format!("find the file of {}", self.card.key), reason)
        })
    }

    /// The digest of the variant that stands for the whole, as it was found (R43, R48).
    pub fn digest(&self) -> Option<Digest> {
        self.main()?.digest
    }

    /// The bytes of all its variants whose size is known, the same blob once.
    pub fn size_bytes(&self) -> u64 {
        let mut seen = BTreeSet::new();
        let once = self.variants.iter().filter(|v| v.digest.is_none_or(|digest| seen.insert(digest)));
        // What somebody says of sizes need not make sense.
        once.filter_map(|variant| variant.size_bytes).fold(0, u64::saturating_add)
    }

    /// Refuses what [`Card::check`] and [`Variant::check`] refuse, two variants of one name, and more than
    /// [`ENTRY_VARIANTS`] of them.
    pub fn check(&self) -> Result<()> {
        self.card.check()?;
        text::at_most("entry's variants", self.variants.len(), ENTRY_VARIANTS, "variants")?;
        for variant in &self.variants {
            variant.check()?;
        }
        let names: BTreeSet<&str> = self.variants.iter().map(|variant| variant.name.as_str()).collect();
        if names.len() < self.variants.len() {
            let reason = "two of its variants have the same name";
            return Err(Error::new(ErrorKind::Invalid, format!("describe {}", self.card.key), reason));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> Card {
        Card::new(Key::model("hf", "org/repo", "v1").unwrap(), 7)
    }

    #[test]
    fn an_entry_is_found_by_what_is_on_its_card() {
        let mut card = card();
        card.tags.extend(["b".to_owned(), "a".to_owned()]);
        card.run = "r1".into();
        let words: Vec<String> = card.terms().into_iter().map(|t| format!("{:?}={}", t.kind, t.value)).collect();
        assert_eq!(words, ["State=pending", "Run=r1", "Tag=a", "Tag=b", "Provider=hf"]);
    }

    #[test]
    fn what_does_not_fit_a_record_is_refused() {
        let mut big = card();
        big.metadata.insert("k".into(), "x".repeat(ENTRY_BYTES));
        assert_eq!(big.check().unwrap_err().kind(), ErrorKind::Invalid);
        let mut tagged = card();
        tagged.tags.insert("t".repeat(ENTRY_TAGS_BYTES));
        assert_eq!(tagged.check().unwrap_err().kind(), ErrorKind::Invalid);
        let mut lined = card();
        lined.title = "a\nb".into();
        assert_eq!(lined.check().unwrap_err().kind(), ErrorKind::Invalid);
        lined.title = String::new();
        lined.notes = "a\nb".into();
        lined.check().unwrap();
    }

    #[test]
    fn the_main_variant_or_the_only_one_stands_for_the_whole() {
        let variant = |name: &str, byte: u8| Variant {
            digest: Some(Digest::from_bytes([byte; 32])),
            size_bytes: Some(5),
            ..Variant::new(name, 1)
        };
        let entry = |variants| Entry { card: card(), variants, usage: Usage::default(), trashed_ns: None };
        assert_eq!(entry(vec![]).digest(), None);
        assert_eq!(entry(vec![variant("q4", 1)]).digest(), Some(Digest::from_bytes([1; 32])));
        assert_eq!(entry(vec![variant("q4", 1), variant("q8", 2)]).digest(), None);
        assert_eq!(entry(vec![variant("", 3), variant("q8", 2)]).digest(), Some(Digest::from_bytes([3; 32])));
        assert_eq!(entry(vec![variant("a", 1), variant("b", 1), variant("c", 2)]).size_bytes(), 10);
        let twice = entry(vec![variant("a", 1), variant("a", 2)]);
        assert_eq!(twice.check().unwrap_err().kind(), ErrorKind::Invalid);
    }
}
