//! Where a blob is kept, as a URI.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::digest::Digest;
use super::error::Error;
use super::limits::STORED_URI_BYTES;
use super::name::has_control;
use super::url::{UnusableReference, decoded, encode};

/// Where bytes are kept: every location that is stored is one of these, written as a URI (R16), so that an object store
/// needs no other record.
///
/// | URI | means |
/// |---|---|
/// | `larder:sha256:<64 hex>` | the blob of that digest, in the store whose record says so |
/// | `file:///PATH` | a file of this machine, by its absolute path |
/// | `s3://BUCKET/KEY` | an object of an object store |
///
/// Path and key are percent-encoded bytes. There is one spelling of each, which is what it prints as; they are exact
/// places, so `.`, `..` and slashes stay as they are. Credentials are refused.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum StoredUri {
    /// A blob of the store.
    Blob(Digest),
    /// A file, by its absolute path.
    File(PathBuf),
    /// An object: its bucket and its key.
    Object {
        /// The bucket: letters, digits, and `. _ -`.
        bucket: String,
        /// The key, which is not empty.
        key: Vec<u8>,
    },
}

/// What may stand in a path or key beside letters, digits and `-._~`.
const PLAIN: &str = "/:@!$&'()*+,;=";

impl StoredUri {
    /// Reads a URI. Refuses other schemes, relative paths, queries, fragments and credentials.
    pub fn parse(text: &str) -> Result<Self, UnusableReference> {
        if text.len() > STORED_URI_BYTES {
            return Err(UnusableReference::TooLong);
        }
        let (scheme, rest) = text.split_once(':').ok_or(UnusableReference::Scheme)?;
        if rest.contains(['?', '#']) {
            return Err(UnusableReference::Query);
        }
        match &*scheme.to_ascii_lowercase() {
            "larder" => rest.parse().map(StoredUri::Blob).map_err(|_| UnusableReference::Digest),
            "file" => StoredUri::file(rest),
            "s3" => StoredUri::object(rest),
            _ => Err(UnusableReference::Scheme),
        }
    }

    /// The URI of a file; its path must be absolute.
    pub fn of_file(path: &Path) -> Result<Self, UnusableReference> {
        let bytes = path.as_os_str().as_bytes();
        match () {
            () if has_control(bytes) => Err(UnusableReference::Control),
            () if !path.is_absolute() => Err(UnusableReference::Relative),
            () => StoredUri::File(path.to_owned()).bounded(),
        }
    }

    /// The URI of an object.
    pub fn of_object(bucket: &str, key: &[u8]) -> Result<Self, UnusableReference> {
        let of_bucket = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        match () {
            () if bucket.contains('@') => Err(UnusableReference::Credentials),
            () if bucket.is_empty() => Err(UnusableReference::NoHost),
            () if !bucket.chars().all(of_bucket) => Err(UnusableReference::Host),
            () if key.is_empty() => Err(UnusableReference::Empty),
            () if has_control(key) => Err(UnusableReference::Control),
            () => StoredUri::Object { bucket: bucket.to_owned(), key: key.to_owned() }.bounded(),
        }
    }

    fn file(rest: &str) -> Result<Self, UnusableReference> {
        let path = match rest.strip_prefix("//") {
            Some(rest) if rest.starts_with('/') => rest,
            Some(rest) => match rest.split_once('/') {
                Some((host, _)) if host.eq_ignore_ascii_case("localhost") => &rest[host.len()..],
                _ => return Err(UnusableReference::OtherHost),
            },
            None => rest,
        };
        let path = decoded(path).ok_or(UnusableReference::Escape)?;
        StoredUri::of_file(Path::new(OsStr::from_bytes(&path)))
    }

    fn object(rest: &str) -> Result<Self, UnusableReference> {
        let rest = rest.strip_prefix("//").ok_or(UnusableReference::NoHost)?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        StoredUri::of_object(bucket, &decoded(key).ok_or(UnusableReference::Escape)?)
    }

    fn bounded(self) -> Result<Self, UnusableReference> {
        if self.to_string().len() > STORED_URI_BYTES { Err(UnusableReference::TooLong) } else { Ok(self) }
    }

    /// The digest, if it is a blob of the store.
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            StoredUri::Blob(digest) => Some(digest),
            _ => None,
        }
    }

    /// The path, if it is a file outside the store.
    pub fn path(&self) -> Option<&Path> {
        match self {
            StoredUri::File(path) => Some(path),
            _ => None,
        }
    }
}

impl FromStr for StoredUri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        StoredUri::parse(text).map_err(|why| why.of(text))
    }
}

impl fmt::Display for StoredUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        match self {
            StoredUri::Blob(digest) => write!(f, "larder:{digest}"),
            StoredUri::File(path) => {
                encode(&mut text, path.as_os_str().as_bytes(), PLAIN);
                write!(f, "file://{text}")
            }
            StoredUri::Object { bucket, key } => {
                encode(&mut text, key, PLAIN);
                write!(f, "s3://{bucket}/{text}")
            }
        }
    }
}

impl fmt::Debug for StoredUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for StoredUri {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.to_string())
    }
}

impl<'de> Deserialize<'de> for StoredUri {
    /// Refuses what [`StoredUri::parse`] refuses.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        StoredUri::parse(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        StoredUri::parse(text).map_or_else(|why| format!("{why:?}"), |uri| uri.to_string())
    }

    #[test]
    fn every_place_has_one_uri() {
        let blob = format!("larder:{}", Digest::EMPTY);
        for (text, one) in [
            (blob.as_str(), blob.as_str()),
            ("file:///srv/a b%25", "file:///srv/a%20b%25"),
            ("FILE:/srv/x", "file:///srv/x"),
            ("file://localhost/srv/../x/", "file:///srv/../x/"),
            ("file:///a%ff", "file:///a%FF"),
            ("s3://Bucket/a//b%3fc", "s3://Bucket/a//b%3Fc"),
        ] {
            assert_eq!(shown(text), one, "{text}");
            assert_eq!(shown(one), one);
        }
        assert_eq!(StoredUri::parse(&blob).unwrap().digest(), Some(&Digest::EMPTY));
        assert_eq!(StoredUri::parse("file:///a%20b").unwrap().path(), Some(Path::new("/a b")));
        assert_eq!(StoredUri::of_object("b", b"k").unwrap().to_string(), "s3://b/k");
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for (text, why) in [
            ("", "Scheme"),
            ("/srv/x", "Scheme"),
            ("https://h/x", "Scheme"),
            ("larder:sha256:abc", "Digest"),
            ("larder:../../etc", "Digest"),
            ("file:x", "Relative"),
            ("file:", "Relative"),
            ("file://h/x", "OtherHost"),
            ("file:///a%0a", "Control"),
            ("file:///a%4", "Escape"),
            ("file:///a?b", "Query"),
            ("s3:/b/k", "NoHost"),
            ("s3:///k", "NoHost"),
            ("s3://b", "Empty"),
            ("s3://b/", "Empty"),
            ("s3://me:pw@b/k", "Credentials"),
            ("s3://b:1/k", "Host"),
            ("s3://b/k?X-Amz-Signature=1", "Query"),
        ] {
            assert_eq!(shown(text), why, "{text}");
        }
        let error = "s3://me:hunter2@b/k".parse::<StoredUri>().unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        assert_eq!(shown(&format!("file:///{}", "x".repeat(STORED_URI_BYTES))), "TooLong");
    }

    proptest! {
        #[test]
        fn every_path_and_key_comes_back(bytes in prop::collection::vec(any::<u8>(), 1..40)) {
            let path = PathBuf::from(OsStr::from_bytes(&[b"/", &bytes[..]].concat()));
            for uri in [StoredUri::of_file(&path), StoredUri::of_object("b", &bytes)] {
                prop_assert_eq!(uri.is_err(), has_control(&bytes));
                let Ok(uri) = uri else { continue };
                prop_assert_eq!(StoredUri::parse(&uri.to_string()), Ok(uri));
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "(larder|file|s3|x)?:?/{0,3}(localhost)?.*") {
            if let Ok(uri) = StoredUri::parse(&text) {
                prop_assert_eq!(StoredUri::parse(&uri.to_string()), Ok(uri));
            }
        }
    }
}
