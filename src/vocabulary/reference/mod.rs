//! Which model is meant: `hf:org/repo`, a path, or a URL.

mod hub;

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::Error;
use super::limits::REFERENCE_INPUT_BYTES;
use super::name::has_control;
use super::url::{LocalPath, SourceUrl, UnusableReference, without_scheme};

pub use hub::HubRef;

/// Which model is meant, in one spelling, and without secrets (R63 to R68).
///
/// | text | means |
/// |---|---|
/// | `hf:ORG/REPO[/PATH][@REVISION]` | a repository at Hugging Face, or a file in it; `hf://…` and the URLs of the site are the same |
/// | `file:PATH`, `file:///PATH`, `local:PATH` | a path of this machine, percent-encoded |
/// | any other scheme | a URL ([`SourceUrl`]) |
/// | anything without a scheme | a path of this machine, as it stands: `ORG/REPO` alone is a relative path |
///
/// Printed, it is normalised and without secrets; read again, that gives an equal reference. Two are equal when their
/// canonical forms are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ModelRef {
    /// At Hugging Face.
    Hub(HubRef),
    /// On this machine.
    Local(LocalPath),
    /// Anywhere else.
    Url(SourceUrl),
}

impl ModelRef {
    /// Reads a reference. What is refused, and why, is in [`UnusableReference`]; nothing panics.
    pub fn parse(text: &str) -> Result<Self, UnusableReference> {
        if text.len() > REFERENCE_INPUT_BYTES {
            return Err(UnusableReference::TooLong);
        }
        if has_control(text.as_bytes()) {
            return Err(UnusableReference::Control);
        }
        let Some((scheme, rest)) = without_scheme(text.trim_matches(' ')) else {
            return LocalPath::new(text.as_bytes()).map(ModelRef::Local);
        };
        match &*scheme.to_ascii_lowercase() {
            "hf" => HubRef::parse(rest).map(ModelRef::Hub),
            "file" | "local" => LocalPath::of_url(rest).map(ModelRef::Local),
            _ => {
                let url = SourceUrl::parse(text)?;
                Ok(HubRef::of_url(&url).map_or(ModelRef::Url(url), ModelRef::Hub))
            }
        }
    }

    /// The reference to a path, which need not be UTF-8.
    pub fn of_path(path: &Path) -> Result<Self, UnusableReference> {
        LocalPath::new(path.as_os_str().as_encoded_bytes()).map(ModelRef::Local)
    }

    /// The same reference, wherever it is read: a relative path is taken from `directory`.
    pub fn from_directory(self, directory: &Path) -> Result<Self, UnusableReference> {
        match self {
            ModelRef::Local(path) => path.from_directory(directory).map(ModelRef::Local),
            other => Ok(other),
        }
    }

    /// Who provides it: `hf`, `local`, or the scheme of the URL.
    pub fn provider(&self) -> &str {
        match self {
            ModelRef::Hub(_) => "hf",
            ModelRef::Local(_) => "local",
            ModelRef::Url(url) => url.scheme(),
        }
    }

    /// What it is called there, without version: the repository (`org/repo`); the path, percent-encoded; what stands behind
    /// the scheme of the URL (`example.org/models/x.gguf`, `bucket/key`).
    pub fn reference(&self) -> Cow<'_, str> {
        match self {
            ModelRef::Hub(hub) => hub.repository().into(),
            ModelRef::Local(path) => path.encoded().into(),
            ModelRef::Url(url) => image(url).map_or(url.without_scheme(), |(name, _)| name).into(),
        }
    }

    /// Which version is meant: the revision at Hugging Face; the digest or tag of an `oci:` or `docker:` image.
    pub fn version(&self) -> Option<&str> {
        match self {
            ModelRef::Hub(hub) => hub.revision(),
            ModelRef::Local(_) => None,
            ModelRef::Url(url) => image(url).map(|(_, version)| version),
        }
    }

    /// The file or directory that is meant in the repository.
    pub fn path(&self) -> Option<&str> {
        match self {
            ModelRef::Hub(hub) => hub.path(),
            _ => None,
        }
    }

    /// The path on this machine, if that is what it is.
    pub fn local_path(&self) -> Option<&Path> {
        match self {
            ModelRef::Local(path) => Some(path.as_path()),
            _ => None,
        }
    }

    /// What may be stored: the reference without any secret, which reads as an equal one.
    pub fn canonical(&self) -> String {
        match self {
            ModelRef::Url(url) => url.canonical().to_owned(),
            other => other.to_string(),
        }
    }
}

/// Name and version of an image: `oci://registry/name:tag`, `…@sha256:…`.
fn image(url: &SourceUrl) -> Option<(&str, &str)> {
    let text = Some(url.without_scheme()).filter(|_| matches!(url.scheme(), "oci" | "docker"))?;
    let last = text.rfind('/').map_or(0, |slash| slash + 1);
    let at = text[last..].find('@').or_else(|| text[last..].find(':').filter(|_| last > 0))? + last;
    let (name, version) = (&text[..at], &text[at + 1..]);
    (!version.is_empty() && at > last).then_some((name, version))
}

impl FromStr for ModelRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        ModelRef::parse(text).map_err(|why| why.of(text))
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ModelRef::Hub(hub) => fmt::Display::fmt(hub, f),
            ModelRef::Local(path) => fmt::Display::fmt(path, f),
            ModelRef::Url(url) => fmt::Display::fmt(url, f),
        }
    }
}

impl Serialize for ModelRef {
    /// The canonical form.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.canonical())
    }
}

impl<'de> Deserialize<'de> for ModelRef {
    /// Refuses what [`ModelRef::parse`] refuses.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        ModelRef::parse(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
