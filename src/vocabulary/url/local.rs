//! A path of this machine as a reference.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::percent::{decoded, encode};
use super::unusable::UnusableReference;
use crate::vocabulary::limits::REFERENCE_BYTES;
use crate::vocabulary::name::has_control;

/// A path of this machine, absolute or relative, in one spelling: no empty component, no `.`, no `..` but at the
/// beginning of a relative path, no slash at the end. It is bytes, and need not be UTF-8.
///
/// It prints as a `file:` URL: `file:///srv/models/x.gguf`, `file:models/x.gguf`. A `..` is taken away together with the
/// component before it, as in every URL, whatever symbolic links there may be on the disk.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalPath(Box<[u8]>);

impl LocalPath {
    /// Takes the bytes of a path; nothing in them is an escape.
    pub fn new(path: &[u8]) -> Result<Self, UnusableReference> {
        if has_control(path) {
            return Err(UnusableReference::Control);
        }
        let normal = normalised(path);
        if normal.is_empty() || &*normal == b"/" {
            return Err(UnusableReference::Empty);
        }
        let path = LocalPath(normal.into_boxed_slice());
        if path.to_string().len() > REFERENCE_BYTES { Err(UnusableReference::TooLong) } else { Ok(path) }
    }

    /// Reads what stands behind `file:`: `///PATH`, `//localhost/PATH` or `PATH`, percent-encoded.
    pub(in crate::vocabulary) fn of_url(rest: &str) -> Result<Self, UnusableReference> {
        if rest.contains(['?', '#']) {
            return Err(UnusableReference::Query);
        }
        let path = match rest.strip_prefix("//") {
            Some(rest) => {
                let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                let here = host.is_empty() || host.eq_ignore_ascii_case("localhost");
                if here { path } else { return Err(UnusableReference::OtherHost) }
            }
            None => rest,
        };
        LocalPath::new(&decoded(path).ok_or(UnusableReference::Escape)?)
    }

    /// The path.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Whether it is the same wherever it is read.
    pub fn is_absolute(&self) -> bool {
        self.0.starts_with(b"/")
    }

    /// The same path, seen from `directory` where it is relative.
    pub fn from_directory(&self, directory: &Path) -> Result<Self, UnusableReference> {
        LocalPath::new(directory.join(self.as_path()).as_os_str().as_bytes())
    }

    /// The path, percent-encoded.
    pub(in crate::vocabulary) fn encoded(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.0, "/:@!$&'()*+,;=");
        text
    }
}

impl fmt::Display for LocalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_absolute() { "file://" } else { "file:" }, self.encoded())
    }
}

impl fmt::Debug for LocalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn normalised(path: &[u8]) -> Vec<u8> {
    let absolute = path.starts_with(b"/");
    let mut kept: Vec<&[u8]> = Vec::new();
    for component in path.split(|b| *b == b'/') {
        match component {
            b"" | b"." => {}
            b".." if kept.last().is_some_and(|last| *last != b"..") => {
                kept.pop();
            }
            b".." if absolute => {}
            component => kept.push(component),
        }
    }
    let relative = kept.join(&b'/');
    if absolute { [b"/", &relative[..]].concat() } else { relative }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(rest: &str) -> String {
        LocalPath::of_url(rest).map_or_else(|e| format!("{e:?}"), |path| path.to_string())
    }

    #[test]
    fn a_path_has_one_spelling() {
        for (rest, one) in [
            ("///srv/models/x.gguf", "file:///srv/models/x.gguf"),
            ("//localhost/a", "file:///a"),
            ("//LocalHost/a/", "file:///a"),
            ("/a/./b/../c//", "file:///a/c"),
            ("/../a", "file:///a"),
            ("a/b/../c", "file:a/c"),
            ("../../a/../b", "file:../../b"),
            ("./a%20b", "file:a%20b"),
            ("a%2F..%2Fb", "file:b"),
            ("hf:x", "file:hf:x"),
            ("a%FFb", "file:a%FFb"),
            ("ü", "file:%C3%BC"),
        ] {
            assert_eq!(local(rest), one, "{rest}");
            assert_eq!(local(one.strip_prefix("file:").unwrap()), one);
        }
        assert_eq!(LocalPath::of_url("a%FF").unwrap().as_path().as_os_str().as_bytes(), b"a\xff");
        assert_eq!(LocalPath::new(b"100%").unwrap().to_string(), "file:100%25");
    }

    #[test]
    fn what_is_no_path_of_this_machine_is_refused() {
        for (rest, why) in [
            ("", "Empty"),
            (".", "Empty"),
            ("a/..", "Empty"),
            ("///", "Empty"),
            ("//h/a", "OtherHost"),
            ("a%00", "Control"),
            ("a%0a", "Control"),
            ("a%C2%9Bm", "Control"),
            ("a%4", "Escape"),
            ("a?b", "Query"),
            ("a#b", "Query"),
        ] {
            assert_eq!(local(rest), why, "{rest}");
        }
        assert_eq!(local(&"x".repeat(REFERENCE_BYTES)), "TooLong");
    }

    #[test]
    fn a_relative_path_can_be_made_absolute() {
        let path = LocalPath::of_url("../b").unwrap();
        assert!(!path.is_absolute());
        assert_eq!(path.from_directory(Path::new("/a/c")).unwrap().to_string(), "file:///a/b");
        assert_eq!(LocalPath::of_url("/x").unwrap().from_directory(Path::new("/a")).unwrap().to_string(), "file:///x");
    }
}
