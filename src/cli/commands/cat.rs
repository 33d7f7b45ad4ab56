//! `larder cat`: the bytes of a blob on standard output.

use std::io::Write;

use anyhow::Result;

use crate::cli::context::{Access, Context};
use crate::cli::entries;
use crate::cli::exit::Exit;
use crate::cli::fault::output_error;
use crate::cli::watch::Watch;
use crate::cli::words::{self, Thing};

/// The arguments of `larder cat`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Standard output carries the bytes and nothing else, so that --json goes to standard error here. With --offset or \
--length each MiB is proved before any of it is written, and no more is read than that.

Example:
  larder cat notes/readme.txt
  larder cat models/llama.gguf --offset 0 --length 24 | xxd
  larder cat sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 | tar -t")]
pub(crate) struct Args {
    /// An entry (entry:ID, model:…, document:…), a name, or a digest (sha256:…)
    #[arg(value_name = "ENTRY|NAME|DIGEST", value_parser = words::thing())]
    target: Thing,
    /// Of an entry: this variant, and not the one that stands for the whole
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Begin at this byte
    #[arg(long, value_name = "BYTES")]
    offset: Option<u64>,
    /// Write so many bytes, or as many as there are
    #[arg(long, value_name = "BYTES")]
    length: Option<u64>,
}

/// Writes.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(Access::Hold)?;
    let target = entries::blob(&store, &args.target, args.variant.as_deref())?;
    let mut out = context.out.bytes();
    if args.offset.is_some() || args.length.is_some() {
        let watch = Watch::new(context);
        let read = store.cat_range(&target, args.offset.unwrap_or(0), args.length, &mut out, &watch);
        watch.finish();
        read?;
    } else {
        store.cat(&target, &mut out)?;
    }
    out.flush().map_err(output_error)?;
    Ok(Exit::Done)
}
