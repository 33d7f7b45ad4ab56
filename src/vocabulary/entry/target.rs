//! What the user points at when an entry is wanted.

use std::fmt;
use std::str::FromStr;

use super::super::error::{Error, ErrorKind, Result};
use super::super::reference::ModelRef;
use super::super::url::redacted;
use super::{EntryId, Key};

/// What models of the hub are written with.
const HUB: &str = "hf:";

/// An entry, as it is pointed at: it may yet turn out to be none, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryTarget {
    /// By the beginning of its identity: at least [`EntryTarget::SHORTEST_ID`] hexadecimal digits (`entry:…`).
    Id(String),
    /// A model (`model:<provider>/<reference>[@<version>]`, or `hf:<org>/<repo>[@<revision>]`); without a version, the
    /// only one there is.
    Model {
        /// Who provides it.
        provider: String,
        /// What it is called there.
        reference: String,
        /// Which version.
        version: Option<String>,
    },
    /// A document by the id of its artifact (`document:…`), of which there may be several.
    Document(String),
}

impl EntryTarget {
    /// Digits below which the beginning of an identity is more likely a slip than meant.
    pub const SHORTEST_ID: usize = 4;

    /// Whether text is meant as an entry, and not as a name or digest.
    pub fn is_meant(text: &str) -> bool {
        ["entry:", "model:", "document:", HUB].iter().any(|scheme| text.starts_with(scheme))
    }

    /// Exactly the entry of this key, but for the URL and resolver of a document.
    pub fn of(key: &Key) -> Self {
        EntryTarget::Id(key.id().to_string())
    }
}

impl From<EntryId> for EntryTarget {
    fn from(id: EntryId) -> Self {
        EntryTarget::Id(id.to_string())
    }
}

impl FromStr for EntryTarget {
    type Err = Error;

    /// Parses the spellings above; anything else is [`ErrorKind::Invalid`].
    fn from_str(text: &str) -> Result<Self> {
        let invalid = |reason: &str| {
            let start: String = text.chars().take(80).collect();
            Err(Error::new(ErrorKind::Invalid, format!("find the entry {start:?}"), reason))
        };
        if let Some(id) = text.strip_prefix("entry:") {
            let digits = id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            return match digits && (EntryTarget::SHORTEST_ID..=32).contains(&id.len()) {
                true => Ok(EntryTarget::Id(id.to_owned())),
                false => invalid("an identity is 4 to 32 lower-case hexadecimal digits"),
            };
        }
        if let Some(model) = text.strip_prefix("model:") {
            // What would be cut apart at its `@` is no secret any more before that.
            let model = redacted(model);
            let Some((provider, rest)) = model.split_once('/') else {
                return invalid("a model is written model:PROVIDER/REFERENCE[@VERSION]");
            };
            let (reference, version) = match rest.rsplit_once('@') {
                Some((reference, version)) => (reference, Some(version.to_owned())),
                None => (rest, None),
            };
            let key = Key::model(provider, reference, version.as_deref().unwrap_or_default())?;
            let version = version.and(key.version().map(str::to_owned));
            return Ok(EntryTarget::Model {
                provider: key.provider().into(),
                reference: key.reference().into(),
                version,
            });
        }
        if text.starts_with(HUB) {
            let meant = ModelRef::parse(text).map_err(|why| why.of(text))?;
            let (provider, reference) = (meant.provider().to_owned(), meant.reference().into_owned());
            return Ok(EntryTarget::Model { provider, reference, version: meant.version().map(str::to_owned) });
        }
        match text.strip_prefix("document:") {
            Some(artifact) if !artifact.is_empty() => {
                let key = Key::document(artifact, "", "")?;
                Ok(EntryTarget::Document(key.reference().to_owned()))
            }
            _ => invalid(
                "an entry is written entry:ID, model:PROVIDER/REFERENCE[@VERSION], hf:ORG/REPO[@REVISION] or document:ARTIFACT",
            ),
        }
    }
}

impl fmt::Display for EntryTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EntryTarget::Id(id) => write!(f, "entry:{id}"),
            EntryTarget::Model { provider, reference, version: None } => write!(f, "model:{provider}/{reference}"),
            EntryTarget::Model { provider, reference, version: Some(version) } => {
                write!(f, "model:{provider}/{reference}@{version}")
            }
            EntryTarget::Document(artifact) => write!(f, "document:{artifact}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_reads_back() {
        for text in ["entry:0a1b", "model:hf/org/repo", "model:hf/org/repo@v1", "model:hf/a@b@", "document:10.1/x y"] {
            assert_eq!(text.parse::<EntryTarget>().unwrap().to_string(), text);
            assert!(EntryTarget::is_meant(text));
        }
        for text in ["", "entry:", "entry:abc", "entry:ABCD", "model:", "model:hf", "model:/x", "document:", "hf:", "a"]
        {
            assert_eq!(text.parse::<EntryTarget>().unwrap_err().kind(), ErrorKind::Invalid, "{text}");
        }
    }

    #[test]
    fn the_hub_has_a_short_spelling() {
        for (short, long) in [("hf:org/repo", "model:hf/org/repo"), ("hf:org/repo@v1", "model:hf/org/repo@v1")] {
            assert_eq!(short.parse::<EntryTarget>().unwrap().to_string(), long);
            assert!(EntryTarget::is_meant(short));
        }
    }

    #[test]
    fn what_a_key_prints_points_at_it() {
        for key in [Key::model("hf", "a/b", "").unwrap(), Key::model("hf", "a@b", "").unwrap()] {
            let EntryTarget::Model { provider, reference, version } = key.to_string().parse().unwrap() else {
                panic!("{key} is a model");
            };
            assert_eq!(Key::model(&provider, &reference, version.as_deref().unwrap_or_default()).unwrap(), key);
        }
    }
}
