//! A command line that is off, and a call for help.

use std::ffi::OsString;

use super::exit::Exit;
use super::fault;
use super::output::{Output, Verbosity};
use super::text;

/// Prints what clap has to say: help and version as a result, all else as wrong usage.
pub(crate) fn report(error: &clap::Error, arguments: &[OsString]) -> Exit {
    let out = Output::of_process(wants_json(arguments), Verbosity::Normal, false);
    let words = text::lines(error.to_string().trim_end());
    if !error.use_stderr() {
        let told = out.line(&words).and_then(|()| out.finish());
        return if told.is_ok() || out.closed() { Exit::Done } else { Exit::Failed };
    }
    out.warn(&words);
    if out.json() {
        let first = words.lines().next().unwrap_or_default();
        out.tell(fault::line("usage", first.trim_start_matches("error: "), Some("larder help shows what it takes")));
    }
    let _usage_is_worse = out.finish();
    Exit::Usage
}

/// Whether JSON is asked for in arguments that could not be parsed.
fn wants_json(arguments: &[OsString]) -> bool {
    arguments.iter().skip(1).take_while(|a| *a != "--").any(|a| a == "--json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_asked_for_before_the_operands_end() {
        let wants = |words: &[&str]| wants_json(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(wants(&["larder", "add", "--json"]));
        assert!(!wants(&["larder", "add", "--", "--json"]));
        assert!(!wants(&["larder", "add"]));
    }
}
