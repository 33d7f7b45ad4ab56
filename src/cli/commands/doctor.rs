//! `larder doctor`: measures this machine and this store.

use std::path::PathBuf;

use anyhow::Result;
use larder::work::doctor::{Health, Measured};

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::text;

/// The arguments of `larder doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Everything is tried on small files of its own; nothing that the store keeps is read or changed.

Example:
  larder doctor
  larder doctor ~/.cache/huggingface /srv/models")]
pub(crate) struct Args {
    /// Directories to check out to: whether links lead there is tried in each
    #[arg(value_name = "DIR")]
    destinations: Vec<PathBuf>,
}

/// Measures.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(Access::Hold)?;
    let found = store.examine(&args.destinations)?;
    for measured in &found {
        if context.out.json() { context.out.object(line(measured))? } else { context.out.line(&words(measured))? }
    }
    let count = |health| found.iter().filter(|measured| measured.health == health).count();
    let (notes, bad) = (count(Health::Note), count(Health::Bad));
    if context.out.json() {
        context.out.object(Line::event("summary").with("notes", notes).with("bad", bad))?;
    }
    Ok(if bad == 0 { Exit::Done } else { Exit::Findings })
}

fn line(measured: &Measured) -> Line {
    Line::event("measured")
        .with("what", measured.what)
        .with("health", measured.health.word())
        .with("value", &measured.value)
        .with("words", &measured.words)
}

fn words(measured: &Measured) -> String {
    let Measured { what, health, value, words } = measured;
    format!("{:4}  {what:21} {value:>14}  {}", health.word(), text::message(words))
}
