//! `larder pin`: keeps a blob whatever its names.

use anyhow::Result;
use larder::work::names::Target;

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::words;

/// The arguments of `larder pin`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A pinned blob is never collected, even when its last name is gone.

Example:
  larder pin models/a.gguf --note 'the paper depends on it'")]
pub(crate) struct Args {
    /// A name, or a digest (sha256:…)
    #[arg(value_name = "NAME|DIGEST", value_parser = words::target())]
    target: Target,
    /// Why, for those who ask later
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    note: String,
}

/// Pins.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(Access::Write)?;
    let digest = store.pin(&args.target, &args.note)?;
    if context.out.json() {
        context.out.object(Line::event("pinned").with("digest", digest.to_string()).with("note", &args.note))?;
    } else {
        context.out.summary(&format!("{} is pinned: {digest}", words::spoken(&args.target)));
        context.warn_of_scratch(&store);
    }
    Ok(Exit::Done)
}
