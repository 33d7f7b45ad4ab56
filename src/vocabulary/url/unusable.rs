//! Why text is no reference.

use super::redact::redacted_whole;
use crate::vocabulary::error::{Error, ErrorKind};

/// Why text is not taken as a reference or URL. It holds nothing of the text, which may have a secret in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum UnusableReference {
    /// Nothing is left of it.
    #[error("it names nothing")]
    Empty,
    /// It is beyond [`REFERENCE_INPUT_BYTES`](crate::vocabulary::limits::REFERENCE_INPUT_BYTES), or its canonical form
    /// beyond [`REFERENCE_BYTES`](crate::vocabulary::limits::REFERENCE_BYTES).
    #[error("it is too long")]
    TooLong,
    /// There is a NUL or another control character in it.
    #[error("there is a control character in it")]
    Control,
    /// It has no scheme, where a URL is wanted.
    #[error("it has no scheme, such as https:")]
    Scheme,
    /// It looks like a path on Windows.
    #[error("it looks like a path with a drive letter; ./ before it says that it is a relative path")]
    Drive,
    /// Its scheme needs a host behind `//`, and there is none.
    #[error("it names no host")]
    NoHost,
    /// What stands where the host should be is none.
    #[error("its host is malformed")]
    Host,
    /// The port is no number up to 65535.
    #[error("its port is malformed")]
    Port,
    /// A `file:` URL of another machine.
    #[error("a file: URL of another host cannot be reached; file:///PATH is one of this machine")]
    OtherHost,
    /// A percent sign without two hexadecimal digits, or escapes that are not UTF-8 where text is wanted.
    #[error("a percent sign is not followed by two hexadecimal digits, or what they say is no text")]
    Escape,
    /// A `?` or `#` where there can be none.
    #[error("a ? or # in a path is written %3F or %23 here")]
    Query,
    /// The repository is not written `ORG/REPO`.
    #[error("a repository is written ORG/REPO, in letters, digits, and . _ - (at most 96 each)")]
    Repository,
    /// A path leads out of what it is in.
    #[error("its path leads out of the repository")]
    Climbs,
    /// The revision behind the `@` is empty, or `refs`.
    #[error("the revision behind the @ is empty or refs")]
    Revision,
    /// The path of a place where something is kept is relative.
    #[error("its path is relative")]
    Relative,
    /// What stands behind `larder:` is no digest.
    #[error("behind larder: stands a digest, sha256: and 64 lower-case hexadecimal digits")]
    Digest,
    /// It has a name or password in it, where none may be.
    #[error("there are credentials in it")]
    Credentials,
}

impl UnusableReference {
    /// The error to hand on: what was to be read, without its secrets, and why it was not.
    pub fn of(self, text: &str) -> Error {
        // Enough to find it again; a text beyond the bounds is not repeated.
        let shown: String = redacted_whole(text).chars().take(300).collect();
        Error::new(ErrorKind::Invalid, format!("read {shown:?} as a reference"), self.to_string())
    }
}
