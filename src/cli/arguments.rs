//! What the words of a command line say.
//!
//! Options that hold everywhere are copied by clap into each of fifty commands before one word is read: two thirds of
//! what a short command would take in all (`perf record`). So a command line is first read by a description of the
//! commands that are named in it, and by the whole one only when that did not do: for help, and for whatever is wrong.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Args as _, CommandFactory, FromArgMatches, Subcommand as _};

use super::Cli;
use super::commands::Command;
use super::context::Global;

/// What the arguments say, the program's own name included, or clap's words about them.
pub(crate) fn parsed(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    match by(named_in(arguments), arguments) {
        Err(error) if error.kind() != ErrorKind::DisplayVersion => by(Cli::command(), arguments),
        parsed => parsed,
    }
}

/// What they say by a description. It stays in memory: giving it back takes a tenth of the time of a short command, and
/// the process is over soon.
fn by(command: clap::Command, arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let command = Box::leak(Box::new(command));
    let mut matches = command.try_get_matches_from_mut(arguments)?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(command))
}

/// The description without the commands that no argument names. Whatever it takes, the whole one takes and
/// understands as the same: a word that names none of its commands is none to it either.
fn named_in(arguments: &[OsString]) -> clap::Command {
    let program = clap::Command::new("larder").version(env!("CARGO_PKG_VERSION")).disable_help_subcommand(true);
    let all = Command::augment_subcommands(clap::Command::new("larder"));
    let named = all.get_subcommands().filter(|command| arguments.iter().any(|word| word == command.get_name()));
    Global::augment_args(program).subcommands(named.cloned())
}

#[cfg(test)]
mod tests {
    use super::super::tests::every_command;
    use super::*;

    fn told(parsed: Result<Cli, clap::Error>) -> String {
        match parsed {
            Ok(cli) => format!("{cli:?}"),
            Err(error) => format!("{:?}, exit {}: {error}", error.kind(), error.exit_code()),
        }
    }

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    /// Every command by itself, its help, and its examples with options that hold everywhere around them.
    fn lines() -> Vec<Vec<String>> {
        let mut lines = Vec::new();
        for (path, mut command) in every_command() {
            lines.extend([words(&path), words(&format!("{path} --help")), words(&format!("{path} --version"))]);
            lines.push(words(&path.replacen("larder ", "larder help ", 1)));
            let help = command.render_long_help().to_string();
            for example in help.lines().filter(|line| line.trim_start().starts_with("larder ")) {
                let shown = example.split("  ").find(|part| part.starts_with("larder ")).unwrap_or(example);
                let shown = words(shown.split(['|', '>']).next().unwrap_or(shown));
                let mut global = shown.clone();
                global.splice(1..1, ["--json", "--store", "add", "--jobs=3"].map(String::from));
                global.extend(["-q", "--lock-timeout", "3s"].map(String::from));
                lines.extend([shown, global]);
            }
        }
        lines
    }

    #[test]
    fn fewer_descriptions_read_the_same_as_all() {
        let odd = [
            "larder",
            "larder --version",
            "larder -V add",
            "larder -V nothing",
            "larder nothing -V",
            "larder -h",
            "larder help",
            "larder help nothing",
            "larder ad d",
            "larder ad add",
            "larder add",
            "larder add add",
            "larder add -- rm",
            "larder rm add x",
            "larder stats add",
            "larder --store stats",
            "larder --store stats stats",
            "larder --sotre stats",
            "larder stats --jobs x",
            "larder stats -qv",
            "larder catalog",
            "larder catalog nothing",
            "larder trash empty add",
            "larder trash add empty",
            "larder --set x stats",
            "larder -- stats",
            "larder stats -- stats",
            "larder debug journal x --jsn",
        ];
        let (lines, mut understood) = (lines(), 0);
        for line in odd.iter().map(|line| words(line)).chain(lines) {
            let arguments: Vec<OsString> = line.iter().map(Into::into).collect();
            let (few, all) = (parsed(&arguments), by(Cli::command(), &arguments));
            understood += usize::from(by(named_in(&arguments), &arguments).is_ok());
            assert_eq!(told(few), told(all), "{line:?}");
        }
        assert!(understood > 100, "{understood} lines were read by fewer descriptions");
    }
}
