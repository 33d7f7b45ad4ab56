//! `larder completions` and `larder man`: what shells and manual readers need.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;
use larder::Error;
use larder::machine::{Machine, Open};

use crate::cli::Cli;
use crate::cli::context::{Context, absolute};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::text;

/// The arguments of `larder completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  larder completions bash > ~/.local/share/bash-completion/completions/larder
  larder completions fish > ~/.config/fish/completions/larder.fish")]
pub(crate) struct Completions {
    /// For which shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// The arguments of `larder man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  larder man | man -l -
  larder man ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// Write a page for every command into this directory, in the place of what is there; otherwise that of larder goes to \
    /// standard output
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Writes the completions of a shell.
pub(crate) fn completions(context: &Context, args: &Completions) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "larder", &mut script);
    print(context, "completions", &script)
}

/// Writes manual pages.
pub(crate) fn man(context: &Context, args: &Man) -> Result<Exit> {
    let mut root = Cli::command();
    root.build();
    let Some(directory) = &args.directory else {
        return print(context, "man", &page(root)?);
    };
    let directory = absolute(directory)?;
    match context.machine.create_dir(&directory, 0o755) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(Error::io("make", &directory, e).into());
        }
        _ => {}
    }
    let mut pages = Vec::new();
    pages_of(root, "larder", &mut pages);
    let count = pages.len();
    for (name, command) in pages {
        write(context, &directory.join(format!("{name}.1")), &page(command)?)?;
    }
    if context.out.json() {
        context.out.object(Line::event("man").path("path", &directory).with("pages", count))?;
    } else {
        let words = text::count(count as u64, "manual page");
        context.out.summary(&format!("Wrote {words} to {}", text::path(&directory)));
    }
    Ok(Exit::Done)
}

/// Text for another program: as it is, or in one field of JSON.
fn print(context: &Context, event: &str, text: &[u8]) -> Result<Exit> {
    if context.out.json() {
        context.out.object(Line::event(event).bytes("text", text))?;
    } else {
        context.out.bytes().write_all(text)?;
    }
    Ok(Exit::Done)
}

fn page(command: clap::Command) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command).render(&mut text)?;
    Ok(text)
}

/// Every command with the name of its page: `larder-catalog-stats`.
fn pages_of(command: clap::Command, name: &str, pages: &mut Vec<(String, clap::Command)>) {
    let subs: Vec<clap::Command> = command.get_subcommands().filter(|sub| sub.get_name() != "help").cloned().collect();
    for sub in subs {
        let name = format!("{name}-{}", sub.get_name());
        pages_of(sub, &name, pages);
    }
    // The names of commands live as long as the program.
    let shown: &'static str = Box::leak(name.to_owned().into_boxed_str());
    pages.push((name.to_owned(), command.name(shown)));
}

/// Makes a file, or puts other bytes in it.
fn write(context: &Context, path: &std::path::Path, text: &[u8]) -> larder::Result<()> {
    let machine: &dyn Machine = &*context.machine;
    let opened = match machine.open(path, Open::CreateNew { mode: 0o644 }) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => machine.open(path, Open::ReadWrite),
        other => other,
    };
    let file = opened.map_err(|e| Error::io("write", path, e))?;
    let all = file.set_len(0).and_then(|()| file.write_at(text, 0));
    all.map_err(|e| Error::io("write", path, e))
}
