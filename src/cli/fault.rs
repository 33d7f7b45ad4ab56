//! Errors on their way to the user: the message with its causes, the remedy, the exit code.

use std::fmt;
use std::io;

use larder::vocabulary::url::redacted;
use larder::{Error, ErrorKind};

use super::exit::Exit;
use super::json::Line;

/// An error of the program itself, whose exit code and remedy are known where it is made.
#[derive(Debug)]
pub(crate) struct Fault {
    /// What was attempted and why it failed: "cannot …: …".
    pub(crate) message: String,
    /// The remedy.
    pub(crate) hint: Option<String>,
    /// How the program ends.
    pub(crate) exit: Exit,
    /// The word for its kind in JSON.
    pub(crate) kind: &'static str,
}

impl Fault {
    /// The arguments are each fine, and make no sense together.
    pub(crate) fn usage(attempt: &str, reason: &str) -> Fault {
        Fault { message: format!("cannot {attempt}: {reason}"), hint: None, exit: Exit::Usage, kind: "usage" }
    }

    /// The output could not be written.
    pub(crate) fn unwritten(error: &io::Error) -> Fault {
        let message = format!("cannot write the output: {error}");
        Fault { message, hint: None, exit: Exit::Failed, kind: "io" }
    }

    /// A failure of the ordinary kind, with its remedy.
    pub(crate) fn failed(kind: ErrorKind, attempt: &str, reason: &str, hint: String) -> Fault {
        let message = format!("cannot {attempt}: {reason}");
        Fault { message, hint: Some(hint), exit: Exit::of_kind(kind, ""), kind: word(kind) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

/// The word for a kind of error in JSON.
pub(crate) fn word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "not_found",
        ErrorKind::Taken => "taken",
        ErrorKind::Invalid => "invalid",
        ErrorKind::Mismatch => "mismatch",
        ErrorKind::SourceChanged => "source_changed",
        ErrorKind::Busy => "busy",
        ErrorKind::Refused => "refused",
        ErrorKind::Pinned => "pinned",
        ErrorKind::IllegalTransition => "illegal_transition",
        ErrorKind::Untrusted => "untrusted",
        ErrorKind::Damaged => "damaged",
        ErrorKind::NoSpace => "no_space",
        ErrorKind::TooLarge => "too_large",
        ErrorKind::ReadOnly => "read_only",
        ErrorKind::Permission => "permission",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::NotKept => "not_kept",
        ErrorKind::OutcomeUnknown => "outcome_unknown",
        ErrorKind::Interrupted => "interrupted",
        ErrorKind::Io => "io",
        _ => "other",
    }
}

/// The failure to write the program's own output, as the library hands errors on.
pub(crate) fn output_error(error: io::Error) -> Error {
    Error::system("write the output", error)
}

/// How the program ends with `error`, in `command`.
pub(crate) fn exit_of(error: &anyhow::Error, command: &str) -> Exit {
    if let Some(fault) = error.downcast_ref::<Fault>() {
        return fault.exit;
    }
    error.downcast_ref::<Error>().map_or(Exit::Failed, |e| Exit::of_kind(e.kind(), command))
}

/// The JSON object of an error, without the secrets of URLs in it.
pub(crate) fn line(kind: &str, message: &str, hint: Option<&str>) -> Line {
    Line::event("error").with("kind", kind).with("message", redacted(message)).with("hint", hint.map(redacted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_in_json_is_one_object_with_its_schema_first() {
        let text = line("busy", "cannot take the lock: it is held", Some("wait")).close();
        let expected =
            r#"{"schema":1,"event":"error","kind":"busy","message":"cannot take the lock: it is held","hint":"wait"}"#;
        assert_eq!(text, expected);
        assert!(line("io", "m", None).close().ends_with(r#""hint":null}"#));
    }

    #[test]
    fn an_error_of_the_library_keeps_its_class_through_anyhow() {
        let error = anyhow::Error::from(Error::new(ErrorKind::Busy, "take the lock", "it is held"));
        assert_eq!(exit_of(&error, "add"), Exit::Busy);
        assert_eq!(exit_of(&anyhow::anyhow!("anything"), "add"), Exit::Failed);
        let fault = Fault::usage("add -", "standard input needs --name");
        assert_eq!(exit_of(&fault.into(), "add"), Exit::Usage);
    }
}
