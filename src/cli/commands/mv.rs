//! `larder mv`: another name instead.

use anyhow::Result;
use larder::Name;

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::{text, words};

/// The arguments of `larder mv`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  larder mv models/a.gguf models/llama-7b.gguf")]
pub(crate) struct Args {
    /// The name that goes
    #[arg(value_name = "NAME", value_parser = words::name())]
    from: Name,
    /// The name that comes
    #[arg(value_name = "NEW", value_parser = words::name())]
    to: Name,
    /// If the new name means other bytes, let it mean these instead
    #[arg(long)]
    replace: bool,
}

/// Renames.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(Access::Write)?;
    store.rename(&args.from, &args.to, args.replace)?;
    if context.out.json() {
        context.out.object(Line::event("renamed").name(&args.to).bytes("from", args.from.as_bytes()))?;
    } else {
        context.out.summary(&format!("{} is now {}", text::name(&args.from), text::name(&args.to)));
        context.warn_of_scratch(&store);
    }
    Ok(Exit::Done)
}
