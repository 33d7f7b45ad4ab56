//! `larder unlock`: a private, writable file in place of a link.

use std::path::PathBuf;

use anyhow::Result;
use larder::work::materialize::Unlocked;

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::text;
use crate::cli::watch::Watch;

/// The arguments of `larder unlock`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A checkout by hardlink is the blob itself, and read-only. Afterwards FILE can be edited, and no blob and no other name \
changes with it.

Example:
  larder unlock work/config.json")]
pub(crate) struct Args {
    /// Files that a checkout made, outside the store
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// Unlocks one after the other, and stops at the first that cannot be.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(Access::Hold)?;
    let watch = Watch::new(context);
    for file in &args.files {
        let unlocked = store.unlock(file, &watch)?;
        if context.out.json() { context.out.object(line(&unlocked))? } else { context.out.summary(&words(&unlocked)) }
    }
    Ok(Exit::Done)
}

fn line(unlocked: &Unlocked) -> Line {
    Line::event("unlocked")
        .path("path", &unlocked.path)
        .with("size_bytes", unlocked.size_bytes)
        .with("mode", unlocked.mode.map(larder::work::materialize::Mode::word))
}

fn words(unlocked: &Unlocked) -> String {
    let path = text::path(&unlocked.path);
    match unlocked.mode {
        Some(mode) => format!("{path} is private and can be written to ({})", mode.word()),
        None => format!("{path} was private already"),
    }
}
