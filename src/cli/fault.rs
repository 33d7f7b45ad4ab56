//! Errors on their way to the user: the message with its causes, the remedy, the exit code.

use std::fmt;
use std::io;

use larder::{Error, ErrorKind};

use super::context::Context;
use super::exit::Exit;
use super::hint;
use super::json::Line;
use super::text;

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
        ErrorKind::Damaged => "damaged",
        ErrorKind::NoSpace => "no_space",
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

/// Tells the user about `error` and what to do, and says how the program ends.
pub(crate) fn report(context: &Context, error: &anyhow::Error) -> Exit {
    let exit = Exit::of_error(error, context.command);
    let (kind, hint) = about(context, error, exit);
    let message = text::message(&format!("{error:#}"));
    context.out.warn(&format!("larder: {message}"));
    if let Some(hint) = &hint {
        context.out.warn(&format!("hint: {}", text::message(hint)));
    }
    tell(context, kind, &message, hint.as_deref());
    exit
}

/// The error as one JSON object, where JSON is wanted.
pub(crate) fn tell(context: &Context, kind: &str, message: &str, hint: Option<&str>) {
    if context.out.json() {
        context.out.tell(line(kind, message, hint));
    }
}

/// The JSON object of an error.
pub(crate) fn line(kind: &str, message: &str, hint: Option<&str>) -> Line {
    Line::event("error").with("kind", kind).with("message", message).with("hint", hint)
}

fn about(context: &Context, error: &anyhow::Error, exit: Exit) -> (&'static str, Option<String>) {
    if let Some(fault) = error.downcast_ref::<Fault>() {
        let usage = || format!("larder {} --help shows what it takes", context.command);
        return (fault.kind, fault.hint.clone().or_else(|| (exit == Exit::Usage).then(usage)));
    }
    match error.downcast_ref::<Error>() {
        Some(error) => (word(error.kind()), hint::of(error.kind(), context.command)),
        None => ("other", None),
    }
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
}
