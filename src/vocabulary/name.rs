//! The names of blobs: relative, bounded, and unable to leave the directory that they are put under.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::{Error, ErrorKind};
use super::limits::{NAME_BYTES, NAME_COMPONENT_BYTES, NAME_DEPTH};

/// A logical name: components separated by `/`, none of them empty, `.` or `..`, without control characters.
///
/// A name is bytes, as paths are on Unix; it need not be UTF-8. It is relative and bounded by
/// [`limits`](super::limits), so joined to a directory it always stays below it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

impl Name {
    /// Takes bytes as a name; what is refused, and why, is in the error ([`ErrorKind::Invalid`]).
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, Error> {
        let bytes = bytes.into();
        match objection(&bytes) {
            None => Ok(Name(bytes.into_boxed_slice())),
            Some(reason) => Err(Error::new(
                ErrorKind::Invalid,
                format!("use {:?} as a name", String::from_utf8_lossy(&bytes)),
                reason,
            )),
        }
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name as a relative path.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The name as text, or `None` when it is not UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The part after the last `/`.
    pub fn base(&self) -> &[u8] {
        self.0.rsplit(|b| *b == b'/').next().unwrap_or(&self.0)
    }

    /// Every name that would have to be a directory for this one to be a file, outermost first.
    pub fn ancestors(&self) -> impl Iterator<Item = Name> + '_ {
        let ends = self.0.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(i, _)| i);
        ends.map(|end| Name(self.0[..end].into()))
    }

    /// The name in lower case, by which names that differ only by case are found; `None` if it is not UTF-8.
    pub fn folded(&self) -> Option<String> {
        self.as_str().map(str::to_lowercase)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    /// Refuses what [`Name::new`] refuses, so that no name on disk is trusted.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_byte_buf(Bytes)
    }
}

/// Takes the bytes of a name in one piece.
struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of a name")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Name, E> {
        Name::new(bytes).map_err(E::custom)
    }
}

fn objection(bytes: &[u8]) -> Option<&'static str> {
    if bytes.is_empty() {
        return Some("a name is not empty");
    }
    if bytes.len() > NAME_BYTES {
        return Some("a name has at most 3072 bytes");
    }
    if bytes[0] == b'/' {
        return Some("a name is relative");
    }
    if has_control(bytes) {
        return Some("a name has no control characters");
    }
    let mut depth = 0;
    for component in bytes.split(|b| *b == b'/') {
        depth += 1;
        match component {
            b"" => return Some("a name has no empty component and does not end with a slash"),
            b"." | b".." => return Some("a name has no . or .. component"),
            long if long.len() > NAME_COMPONENT_BYTES => return Some("a component of a name has at most 255 bytes"),
            _ => {}
        }
    }
    (depth > NAME_DEPTH).then_some("a name has at most 256 components")
}

/// C0, DEL, and C1 as UTF-8 writes it (C2 80 to C2 9F): what a terminal may take as a command.
pub(in crate::vocabulary) fn has_control(bytes: &[u8]) -> bool {
    let c1 = |pair: &[u8]| pair[0] == 0xc2 && (0x80..=0x9f).contains(&pair[1]);
    // Looking at all bytes is quicker than looking for the first one, since it is done to many at a time.
    let c0 = bytes.iter().fold(false, |any, byte| any | byte.is_ascii_control());
    c0 || (bytes.contains(&0xc2) && bytes.windows(2).any(c1))
}

impl fmt::Display for Name {
    /// The lossy text of the name; callers that print to a terminal escape it further.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// A set of names: one name and everything below it, or every name (`.`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// Every name of the store; written `.`.
    Everything,
    /// The name itself, and every name that begins with it and a slash.
    Below(Name),
}

impl Prefix {
    /// Reads a prefix: `.` (or nothing) is everything; one slash at the end is left out. `/` is malformed, as every
    /// absolute name is: nobody who writes it means a prefix.
    pub fn new(bytes: &[u8]) -> Result<Self, Error> {
        match bytes {
            b"" | b"." | b"./" => Ok(Prefix::Everything),
            b"/" => Name::new(bytes).map(Prefix::Below),
            other => Name::new(other.strip_suffix(b"/").unwrap_or(other)).map(Prefix::Below),
        }
    }

    /// Whether `name` is in the set.
    pub fn contains(&self, name: &Name) -> bool {
        match self {
            Prefix::Everything => true,
            Prefix::Below(top) => {
                name.0.strip_prefix(top.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
            }
        }
    }

    /// The part of `name` below the prefix; of the prefix itself, its last component.
    pub fn relative<'a>(&self, name: &'a Name) -> &'a Path {
        let bytes = match self {
            Prefix::Below(top) if name == top => name.base(),
            Prefix::Below(top) => &name.0[top.0.len() + 1..],
            Prefix::Everything => &name.0,
        };
        Path::new(OsStr::from_bytes(bytes))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Prefix::Everything => f.write_str("."),
            Prefix::Below(name) => fmt::Display::fmt(name, f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_directory_or_confuse_a_terminal_are_refused() {
        let long_component = "x".repeat(256);
        let long = vec!["xxxxxxx"; 400].join("/");
        let deep = vec!["d"; 257].join("/");
        let bad = ["", "/etc/passwd", "..", "a/../b", "a//b", "a/", "./a", "a\nb", "a\u{7f}", "a\u{9b}31m", "a\0b"];
        for name in bad.into_iter().chain([&*long_component, &*long, &*deep]) {
            assert_eq!(Name::new(name).unwrap_err().kind(), ErrorKind::Invalid, "{name:?}");
        }
        for good in ["a", "a/b", "...", "a b/ü", ".hidden", "-x"] {
            assert!(Name::new(good).is_ok(), "{good:?}");
        }
        assert!(Name::new(vec![b'a', 0xff]).is_ok());
    }

    #[test]
    fn a_prefix_ends_at_a_component() {
        let prefix = Prefix::new(b"models/llama/").unwrap();
        let name = |s: &str| Name::new(s).unwrap();
        assert!(prefix.contains(&name("models/llama")));
        assert!(prefix.contains(&name("models/llama/7b.gguf")));
        assert!(!prefix.contains(&name("models/llama2/7b.gguf")));
        assert_eq!(prefix.relative(&name("models/llama/7b.gguf")), Path::new("7b.gguf"));
        assert_eq!(prefix.relative(&name("models/llama")), Path::new("llama"));
        assert_eq!(Prefix::new(b".").unwrap().relative(&name("a/b")), Path::new("a/b"));
    }
}
