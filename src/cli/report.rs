//! Telling the user about an error.

use larder::Error;

use super::context::Context;
use super::exit::Exit;
use super::fault::{Fault, exit_of, line, word};
use super::{hint, text};

/// Tells the user about `error` and what to do, and says how the program ends.
pub(crate) fn report(context: &Context, error: &anyhow::Error) -> Exit {
    let exit = exit_of(error, context.command);
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

fn about(context: &Context, error: &anyhow::Error, exit: Exit) -> (&'static str, Option<String>) {
    if let Some(fault) = error.downcast_ref::<Fault>() {
        let usage = || format!("larder {} --help shows what it takes", context.command);
        return (fault.kind, fault.hint.clone().or_else(|| (exit == Exit::Usage).then(usage)));
    }
    match error.downcast_ref::<Error>() {
        Some(error) => (word(error.kind()), hint::of_error(error, context.command)),
        None => ("other", None),
    }
}
