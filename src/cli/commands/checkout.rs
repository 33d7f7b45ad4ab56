//! `larder checkout`: a tree out of the store.

use std::path::PathBuf;

use anyhow::Result;
use larder::Prefix;
use larder::work::materialize::MaterializeOptions;

use super::made;
use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::watch::Watch;
use crate::cli::words;

/// The arguments of `larder checkout`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Below DIR comes what is below PREFIX. Without --mode the files are hardlinks to the blobs, read-only and without a cost \
on the disk; where a link is not possible, a reflink, then a copy, and the summary says why.

Example:
  larder checkout models/llama /srv/llama
  larder checkout . /tmp/everything --mode copy")]
pub(crate) struct Args {
    /// The names; `.` is everything
    #[arg(value_parser = words::prefix())]
    prefix: Prefix,
    /// The directory, made if it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// How the files are made [default: hardlink, then reflink, then copy]
    #[arg(long, value_enum)]
    mode: Option<words::Mode>,
    /// Replace files that are there
    #[arg(long)]
    replace: bool,
}

/// Checks out.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(Access::Hold)?;
    let options = MaterializeOptions { mode: args.mode.map(Into::into), replace: args.replace };
    let watch = Watch::new(context);
    let made = store.checkout(&args.prefix, &args.directory, &options, &watch);
    let time = watch.finish();
    Ok(made::report(context, &made?, time))
}
