//! `larder unpin`: takes a pin away.

use anyhow::Result;
use larder::work::names::Target;

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::words;

/// The arguments of `larder unpin`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A blob that neither a name nor anything else keeps is collected by `larder gc`, after its grace.

Example:
  larder unpin models/a.gguf")]
pub(crate) struct Args {
    /// A name, or a digest (sha256:…)
    #[arg(value_name = "NAME|DIGEST", value_parser = words::target())]
    target: Target,
}

/// Unpins.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(Access::Write)?;
    let digest = store.unpin(&args.target)?;
    if context.out.json() {
        context.out.object(Line::event("unpinned").with("digest", digest.to_string()))?;
    } else {
        context.out.summary(&format!("{} is not pinned any more: {digest}", words::spoken(&args.target)));
        context.warn_of_scratch(&store);
    }
    Ok(Exit::Done)
}
