//! The command line: arguments, one file per command, rendering, progress, exit codes.
//!
//! `docs/cli.md` is the promise that this keeps. The library below it prints nothing and reads no environment.

mod arguments;
mod choices;
mod commands;
mod context;
mod entries;
mod exit;
mod fault;
mod hashing;
mod hint;
mod input;
mod json;
mod logs;
mod mended;
mod metrics;
mod otlp;
mod output;
mod panic;
mod report;
mod signal;
mod stdin;
mod system;
mod text;
mod usage;
mod watch;
mod words;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use commands::Command;
use context::{Context, Global};
use exit::Exit;
use fault::Fault;
use output::Output;
use signal::Interrupt;

/// One verified copy of every file, however many names it has.
///
/// larder keeps the bytes of files once, by their SHA-256, and gives them names that are hardlinks. It verifies what
/// it keeps, and removes only what nothing keeps.
#[derive(Debug, Parser)]
#[command(name = "larder", version, max_term_width = 110, after_help = EXAMPLE)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLE: &str = "\
Example:
  larder add ~/models          keep a directory tree; makes the store the first time
  larder ls models             its names
  larder get models/a.gguf .   a file back out
  larder verify                every blob against its digest

Exit codes: 0 done; 1 failed or interrupted; 2 usage; 3 finished with findings; 4 busy; 5 refused for safety.";

/// The program, from its arguments to its exit code.
pub(crate) fn main() -> ExitCode {
    panic::install();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let exit = panic::caught(|| match arguments::parsed(&arguments) {
        Ok(cli) => execute(cli),
        Err(error) => usage::report(&error, &arguments),
    });
    exit.unwrap_or(Exit::Failed).into()
}

fn execute(cli: Cli) -> Exit {
    let context = context_of(&cli);
    if let Err(error) = logs::start(context.global.log).and_then(|()| hashing::start()) {
        return report::report(&context, &error);
    }
    let exit = match panic::caught(|| cli.command.run(&context)) {
        Some(Ok(exit)) => exit,
        // Why is told below, unless it is only that nobody reads any more.
        Some(Err(error)) if output::is_unwritten(&error) => Exit::Done,
        Some(Err(error)) => report::report(&context, &error),
        None => {
            report::tell(&context, "bug", "this is a bug in larder", None);
            Exit::Failed
        }
    };
    let exit = match context.write_metrics() {
        Err(error) if exit == Exit::Done => report::report(&context, &error),
        Err(error) => {
            report::report(&context, &error);
            exit
        }
        Ok(()) => exit,
    };
    match context.out.finish() {
        Ok(()) => exit,
        Err(error) => report::report(&context, &Fault::unwritten(&error).into()),
    }
}

fn context_of(cli: &Cli) -> Context {
    let raw = matches!(cli.command, Command::Cat(_));
    Context {
        command: cli.command.name(),
        out: Output::of_process(cli.global.json, cli.global.verbosity(), raw),
        global: cli.global.clone(),
        interrupt: Interrupt::default(),
        machine: system::machine(),
        tally: metrics::Tally::default(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::output::Verbosity;
    use super::output::tests::{Captured, captured};
    use super::*;

    const DOCUMENT: &str = include_str!("../../docs/cli.md");

    /// A context whose words stay in memory: itself, standard output, standard error.
    pub(crate) fn context(command: &'static str, json: bool, verbosity: Verbosity) -> (Context, Captured, Captured) {
        let (output, out, err) = captured(json, verbosity);
        let (global, interrupt) = (Global { json, ..Global::default() }, Interrupt::default());
        (
            Context {
                command,
                out: output,
                global,
                interrupt,
                machine: system::machine(),
                tally: metrics::Tally::default(),
            },
            out,
            err,
        )
    }

    fn parsed(words: &[&str]) -> Result<Cli, clap::Error> {
        arguments::parsed(&std::iter::once("larder").chain(words.iter().copied()).map(Into::into).collect::<Vec<_>>())
    }

    /// Every command with the words that call it.
    fn all(command: &clap::Command, path: &str, found: &mut Vec<(String, clap::Command)>) {
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let path = format!("{path} {}", sub.get_name());
            all(sub, &path, found);
            found.push((path, sub.clone()));
        }
    }

    pub(crate) fn every_command() -> Vec<(String, clap::Command)> {
        let (mut root, mut found) = (Cli::command(), Vec::new());
        root.build();
        all(&root, "larder", &mut found);
        found
    }

    #[test]
    fn the_arguments_are_well_defined() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_document_names_every_command_and_every_option() {
        for (path, command) in every_command() {
            assert!(DOCUMENT.contains(&format!("`{path}")), "docs/cli.md does not name `{path}`");
            for option in command.get_opts().chain(command.get_arguments()).filter_map(|a| a.get_long()) {
                assert!(DOCUMENT.contains(&format!("`--{option}")), "docs/cli.md does not name --{option} of {path}");
            }
        }
        for option in Cli::command().get_arguments().filter_map(|a| a.get_long()) {
            assert!(DOCUMENT.contains(&format!("`--{option}")), "docs/cli.md does not name --{option}");
        }
    }

    #[test]
    fn every_command_has_an_example_in_its_help() {
        for (path, mut command) in every_command() {
            if command.has_subcommands() {
                continue;
            }
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "{path} --help has no example");
            assert!(help.contains(&format!("  {path}")), "the example of {path} does not call it");
        }
    }

    #[test]
    fn global_options_stand_before_and_after_the_command() {
        for arguments in [["--json", "--store", "/s", "stats"], ["stats", "--json", "--store", "/s"]] {
            let cli = parsed(&arguments).unwrap();
            assert!(cli.global.json);
            assert_eq!(cli.global.store.as_deref(), Some("/s".as_ref()));
        }
    }

    #[test]
    fn malformed_names_and_digests_are_wrong_usage() {
        let bad: [&[&str]; 10] = [
            &["show", "../etc/passwd"],
            &["show", "sha256:abcd"],
            &["where", "xyz"],
            &["add", "f", "--expect", "sha256:1"],
            &["add", "f", "--move", "--link"],
            &["add"],
            &["ls", "--min-size", "big"],
            &["gc", "--grace", "soon"],
            &["mv", "a", "b/"],
            &["rm", "sha256:abcd"],
        ];
        for arguments in bad {
            assert_eq!(parsed(arguments).unwrap_err().exit_code(), 2, "{arguments:?}");
        }
    }
}
