//! `larder unlink`: one name less, but never the last one.

use anyhow::Result;
use larder::Name;

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::{text, words};

/// The arguments of `larder unlink`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The last name of a blob that nothing else keeps is not taken away (exit 5): `larder rm` does that.

Example:
  larder unlink favourites/best.gguf")]
pub(crate) struct Args {
    /// The name
    #[arg(value_name = "NAME", value_parser = words::name())]
    name: Name,
}

/// Unlinks.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(Access::Write)?;
    store.unlink(&args.name)?;
    if context.out.json() {
        context.out.object(Line::event("unlinked").name(&args.name))?;
    } else {
        context.out.summary(&format!("{} is no name any more; its blob is still kept", text::name(&args.name)));
        context.warn_of_scratch(&store);
    }
    Ok(Exit::Done)
}
