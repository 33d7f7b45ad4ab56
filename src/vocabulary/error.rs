//! The one error of the library.

use std::fmt;
use std::io;
use std::path::Path;

/// What kind of trouble it was: what a caller can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such name, blob, file or store.
    NotFound,
    /// The name already means other bytes, or the destination is there already.
    Taken,
    /// The caller's words are off: a malformed name, digest, setting or option.
    Invalid,
    /// The bytes are not those that were expected.
    Mismatch,
    /// A source went on changing while it was read.
    SourceChanged,
    /// Somebody else holds what is needed.
    Busy,
    /// It would endanger what is kept, so it was not done.
    Refused,
    /// A pin keeps it.
    Pinned,
    /// An entry cannot go from the state that it is in to that one.
    IllegalTransition,
    /// Strangers may write to the store directory.
    Untrusted,
    /// Something kept is damaged; it was found and named.
    Damaged,
    /// Bytes or inodes have run out.
    NoSpace,
    /// It would not fit, and was not begun.
    TooLarge,
    /// The filesystem or the store can only be read.
    ReadOnly,
    /// The user may not do this.
    Permission,
    /// This filesystem or kernel cannot do this.
    Unsupported,
    /// It failed before the commit point: nothing of it is kept.
    NotKept,
    /// It failed at the commit point, and cannot be known to be kept or not.
    OutcomeUnknown,
    /// The caller asked to stop.
    Interrupted,
    /// Any other failure of a call to the system.
    Io,
}

/// What was attempted, on what, and why it failed.
///
/// The source is not repeated in the message: print the chain.
#[derive(Debug, thiserror::Error)]
pub struct Error {
    kind: ErrorKind,
    attempt: String,
    reason: String,
    source: Option<io::Error>,
}

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`: `attempt` completes "cannot …", `reason` says why.
    pub fn new(kind: ErrorKind, attempt: impl Into<String>, reason: impl Into<String>) -> Self {
        Error { kind, attempt: attempt.into(), reason: reason.into(), source: None }
    }

    /// The failure of a call to the system while `verb`ing `path`.
    pub fn io(verb: &str, path: &Path, source: io::Error) -> Self {
        Error::system(format!("{verb} {}", path.display()), source)
    }

    /// The failure of a call to the system, classed by its error number.
    pub fn system(attempt: impl Into<String>, source: io::Error) -> Self {
        Error { kind: kind_of(&source), attempt: attempt.into(), reason: String::new(), source: Some(source) }
    }

    /// The same error, as another kind: what a failure means depends on when it strikes.
    #[must_use]
    pub fn as_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// The same error, as one of something that was not kept; running out of space stays what it is, since its remedy
    /// does.
    #[must_use]
    pub fn as_kind_not_kept(self) -> Self {
        if self.kind == ErrorKind::NoSpace { self } else { self.as_kind(ErrorKind::NotKept) }
    }

    /// The same error, with a reason that the failed call itself could not tell, in front of what it told.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        let before = std::mem::replace(&mut self.reason, reason.into());
        if !before.is_empty() {
            self.reason = format!("{}: {before}", self.reason);
        }
        self
    }

    /// It with what is behind it, in one line.
    pub fn in_one_line(&self) -> String {
        match &self.source {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }

    /// What kind of trouble it was.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The error number of the system call behind it, if there was one.
    pub fn os_error(&self) -> Option<i32> {
        self.source.as_ref().and_then(io::Error::raw_os_error)
    }

    /// The same error again, for each of several callers that waited for one piece of work.
    pub fn duplicate(&self) -> Self {
        let source = self.source.as_ref().map(|e| match e.raw_os_error() {
            Some(number) => io::Error::from_raw_os_error(number),
            None => io::Error::new(e.kind(), e.to_string()),
        });
        Error { kind: self.kind, attempt: self.attempt.clone(), reason: self.reason.clone(), source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.attempt)?;
        if self.reason.is_empty() { Ok(()) } else { write!(f, ": {}", self.reason) }
    }
}

fn kind_of(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::AlreadyExists => ErrorKind::Taken,
        io::ErrorKind::PermissionDenied => ErrorKind::Permission,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => ErrorKind::NoSpace,
        io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
        io::ErrorKind::Unsupported => ErrorKind::Unsupported,
        io::ErrorKind::WouldBlock | io::ErrorKind::ResourceBusy => ErrorKind::Busy,
        _ => ErrorKind::Io,
    }
}
