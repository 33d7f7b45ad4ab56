//! `larder link`: one more name for a blob.

use anyhow::Result;
use larder::Name;
use larder::work::names::Target;

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::{text, words};

/// The arguments of `larder link`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  larder link models/a.gguf favourites/best.gguf
  larder link sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 found/again")]
pub(crate) struct Args {
    /// A name, or a digest (sha256:…)
    #[arg(value_name = "NAME|DIGEST", value_parser = words::target())]
    target: Target,
    /// The new name
    #[arg(value_name = "NEW", value_parser = words::name())]
    new: Name,
    /// If the new name means other bytes, let it mean these instead
    #[arg(long)]
    replace: bool,
    /// How the name is kept [default: as the store is set]
    #[arg(long, value_enum, value_name = "HOW")]
    alias: Option<words::Alias>,
}

/// Links.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(Access::Write)?;
    let new = store.link(&args.target, &args.new, args.replace, args.alias.map(Into::into))?;
    if context.out.json() {
        let line = Line::event("linked").name(&args.new);
        let line = match &args.target {
            Target::Name(name) => line.bytes("target", name.as_bytes()),
            Target::Digest(digest) => line.with("target", digest.to_string()),
        };
        context.out.object(line.with("status", if new { "new" } else { "unchanged" }))?;
    } else {
        let what = if new { "now means" } else { "means already" };
        let words = format!("{} {what} the bytes of {}", text::name(&args.new), words::spoken(&args.target));
        context.out.summary(&words);
        context.warn_of_scratch(&store);
    }
    Ok(Exit::Done)
}
