//! What tells one entry from another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::super::error::{Error, ErrorKind, Result};
use super::super::limits::ENTRY_KEY_BYTES;
use super::super::reference::ModelRef;
use super::super::url::{SourceUrl, redacted};
use super::text;

/// The short identity of an entry: 16 bytes of the BLAKE3 of its key, the same in every store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryId([u8; 16]);

impl EntryId {
    /// Takes 16 bytes as an identity.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        EntryId(bytes)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EntryId {
    type Err = Error;

    /// Parses 32 lower-case hexadecimal digits; refuses every other spelling with [`ErrorKind::Invalid`].
    fn from_str(text: &str) -> Result<Self> {
        let digit = |b: u8| char::from(b).to_digit(16).filter(|_| !b.is_ascii_uppercase());
        let mut bytes = [0; 16];
        let pairs = text.as_bytes().chunks_exact(2);
        let whole = text.len() == 32
            && pairs.zip(&mut bytes).all(|(pair, byte)| match (digit(pair[0]), digit(pair[1])) {
                (Some(high), Some(low)) => {
                    *byte = (high * 16 + low) as u8;
                    true
                }
                _ => false,
            });
        if whole {
            return Ok(EntryId(bytes));
        }
        let start: String = text.chars().take(80).collect();
        Err(Error::new(ErrorKind::Invalid, format!("read {start:?} as the id of an entry"), "it is no 32 hex digits"))
    }
}

/// Models and documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EntryKind {
    /// A document.
    Document,
    /// A model.
    Model,
}

impl EntryKind {
    /// The word for it in JSON and on the terminal.
    pub fn word(self) -> &'static str {
        match self {
            EntryKind::Document => "document",
            EntryKind::Model => "model",
        }
    }

    /// The kind of this word.
    pub fn of_word(word: &str) -> Option<Self> {
        [EntryKind::Document, EntryKind::Model].into_iter().find(|kind| kind.word() == word)
    }
}

/// The natural key of an entry: registering the same key again gives the same entry (R47, R50, R53).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Key(Parts);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Parts {
    kind: EntryKind,
    parts: [String; 3],
}

impl Key {
    /// The key of a model: who provides it (`hf`, `file`, …), what it is called there, and which version.
    ///
    /// [`ErrorKind::Invalid`] for an empty provider or reference, for `/` or `@` in the provider, `@` in the version, control
    /// characters, and more than [`ENTRY_KEY_BYTES`] bytes.
    pub fn model(provider: &str, reference: &str, version: &str) -> Result<Self> {
        Key::clean(EntryKind::Model, [provider, reference, version])
    }

    /// The key of a document: the id of the artifact, where it was downloaded from, and what found it there.
    ///
    /// [`ErrorKind::Invalid`] for an empty artifact id, control characters, and more than [`ENTRY_KEY_BYTES`] bytes.
    pub fn document(artifact_id: &str, source_url: &str, resolver: &str) -> Result<Self> {
        Key::clean(EntryKind::Document, [artifact_id, source_url, resolver])
    }

    /// A key has no secrets of URLs in it, however it is made: it is shown wherever its entry is.
    fn clean(kind: EntryKind, parts: [&str; 3]) -> Result<Self> {
        let clean = parts.map(redacted);
        Key::checked(kind, [&*clean[0], &*clean[1], &*clean[2]])
    }

    /// The key of a document that was downloaded from `url`, as somebody typed it or a server sent it: in its one spelling,
    /// without secrets. What cannot be read as a URL stays as it is but for them.
    pub fn download(artifact_id: &str, url: &str, resolver: &str) -> Result<Self> {
        match SourceUrl::parse(url) {
            Ok(url) => Key::document(artifact_id, url.canonical(), resolver),
            Err(_) => Key::document(artifact_id, &redacted(url), resolver),
        }
    }

    /// The key of the model that a reference means (R68, R92).
    pub fn of_model(model: &ModelRef) -> Result<Self> {
        Key::model(model.provider(), &model.reference(), model.version().unwrap_or_default())
    }

    fn checked(kind: EntryKind, parts: [&str; 3]) -> Result<Self> {
        let words = match kind {
            EntryKind::Model => ["provider", "reference", "version"],
            EntryKind::Document => ["artifact id", "source URL", "resolver"],
        };
        for (what, part) in words.into_iter().zip(parts) {
            text::line(what, part)?;
        }
        text::word(words[0], parts[0])?;
        text::at_most("key", parts.iter().map(|part| part.len() + 1).sum(), ENTRY_KEY_BYTES, "bytes")?;
        if kind == EntryKind::Model {
            text::word(words[1], parts[1])?;
            let no = |what: &str, part: &str, c: char| {
                let attempt = format!("use {part:?} as a {what}");
                Err(Error::new(ErrorKind::Invalid, attempt, format!("it has a {c:?}, which ends it in a key")))
            };
            match (parts[0].find(['/', '@']).map(|at| parts[0].as_bytes()[at]), parts[2].contains('@')) {
                (Some(c), _) => return no(words[0], parts[0], char::from(c)),
                (None, true) => return no(words[2], parts[2], '@'),
                (None, false) => {}
            }
        }
        Ok(Key(Parts { kind, parts: parts.map(str::to_owned) }))
    }

    /// Whether it is a model or a document.
    pub fn kind(&self) -> EntryKind {
        self.0.kind
    }

    /// Who provides a model; what found a document.
    pub fn provider(&self) -> &str {
        match self.0.kind {
            EntryKind::Model => &self.0.parts[0],
            EntryKind::Document => &self.0.parts[2],
        }
    }

    /// What a model is called by its provider; the id of a document's artifact.
    pub fn reference(&self) -> &str {
        match self.0.kind {
            EntryKind::Model => &self.0.parts[1],
            EntryKind::Document => &self.0.parts[0],
        }
    }

    /// The version of a model; `None` for a document.
    pub fn version(&self) -> Option<&str> {
        (self.0.kind == EntryKind::Model).then_some(&self.0.parts[2])
    }

    /// The URL of a document; `None` for a model.
    pub fn source_url(&self) -> Option<&str> {
        (self.0.kind == EntryKind::Document).then_some(&self.0.parts[1])
    }

    /// Its identity.
    pub fn id(&self) -> EntryId {
        let hash = blake3::hash(&self.to_bytes());
        EntryId(hash.as_bytes()[..16].try_into().expect("a hash has 32 bytes"))
    }

    /// Bytes that are in the order of keys: kind and parts, a zero byte after each, which no part has.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Key::prefix(self.0.kind, &[]);
        for part in &self.0.parts {
            bytes.extend_from_slice(part.as_bytes());
            bytes.push(0);
        }
        bytes
    }

    /// The bytes with which the keys of this kind begin whose first parts are `whole`.
    pub fn prefix(kind: EntryKind, whole: &[&str]) -> Vec<u8> {
        let mut bytes = vec![kind.word().as_bytes()[0]];
        for part in whole {
            bytes.extend_from_slice(part.as_bytes());
            bytes.push(0);
        }
        bytes
    }

    /// The key of these bytes; `None` for what [`Key::to_bytes`] does not write.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (first, rest) = bytes.split_first()?;
        let kind = [EntryKind::Model, EntryKind::Document].into_iter().find(|k| k.word().as_bytes()[0] == *first)?;
        let parts: Vec<&str> = std::str::from_utf8(rest).ok()?.split('\0').collect();
        match parts.as_slice() {
            [a, b, c, ""] => Key::checked(kind, [a, b, c]).ok(),
            _ => None,
        }
    }
}

impl TryFrom<Parts> for Key {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let [a, b, c] = &parts.parts;
        Key::checked(parts.kind, [a, b, c])
    }
}

impl From<Key> for Parts {
    fn from(key: Key) -> Parts {
        key.0
    }
}

/// `model:<provider>/<reference>[@<version>]`, `document:<artifact id>`: the latter need not be unique.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version() {
            None => write!(f, "document:{}", self.reference()),
            Some("") if !self.reference().contains('@') => write!(f, "model:{}/{}", self.provider(), self.reference()),
            Some(version) => write!(f, "model:{}/{}@{version}", self.provider(), self.reference()),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(self.0.kind.word()).field(&self.0.parts).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_what_is_typed_have_one_spelling_and_no_secrets() {
        let key = |url: &str| Key::download("a", url, "r").unwrap();
        assert_eq!(key("HTTPS://u:p@Example.org/x?token=1"), key("https://example.org/x?token=2"));
        assert_eq!(key("no url").source_url(), Some("no url"));
        assert!(!key("https:/me:hunter2@example.org/a").source_url().unwrap().contains("hunter2"));
        let model = Key::of_model(&ModelRef::parse("hf:Org/repo/file.gguf@v1").unwrap()).unwrap();
        assert_eq!((model.provider(), model.version()), ("hf", Some("v1")));
    }

    #[test]
    fn keys_read_back_and_are_in_order() {
        let keys = [
            Key::document("a", "http://x/1", "").unwrap(),
            Key::document("a", "http://x/1", "r").unwrap(),
            Key::document("a b", "", "").unwrap(),
            Key::model("hf", "a/b", "").unwrap(),
            Key::model("hf", "a/b", "v1").unwrap(),
            Key::model("hf", "ü/b@c", "").unwrap(),
        ];
        for key in &keys {
            assert_eq!(Key::from_bytes(&key.to_bytes()).as_ref(), Some(key));
            assert_eq!(key.id().to_string().parse::<EntryId>().unwrap(), key.id());
        }
        assert!(keys.is_sorted_by(|a, b| a.to_bytes() < b.to_bytes() && a < b));
        assert!(keys[1].to_bytes().starts_with(&Key::prefix(EntryKind::Document, &["a"])));
        let words: Vec<String> = keys[3..].iter().map(Key::to_string).collect();
        assert_eq!(words, ["model:hf/a/b", "model:hf/a/b@v1", "model:hf/ü/b@c@"]);
    }

    #[test]
    fn parts_that_would_be_ambiguous_are_refused() {
        for (provider, reference, version) in
            [("", "a", ""), ("h/f", "a", ""), ("h@", "a", ""), ("hf", "", ""), ("hf", "a", "v@1"), ("hf", "a\0b", "")]
        {
            let error = Key::model(provider, reference, version).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{provider:?} {reference:?} {version:?}");
        }
        assert!(Key::document("", "u", "r").is_err());
        assert!(Key::document(&"a".repeat(ENTRY_KEY_BYTES), "u", "r").is_err());
        for bad in [&b""[..], b"m", b"mhf\0a\0", b"mhf\0a\0v\0x", b"xhf\0a\0v\0", b"m\xff\0a\0v\0"] {
            assert_eq!(Key::from_bytes(bad), None, "{bad:?}");
        }
        for bad in ["", "0", &"0".repeat(33), &"G".repeat(32), &"A".repeat(32)] {
            assert!(bad.parse::<EntryId>().is_err(), "{bad}");
        }
    }
}
