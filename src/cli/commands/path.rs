//! `larder path`: where the file of a blob is.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use anyhow::Result;

use crate::cli::context::{Access, Context};
use crate::cli::entries;
use crate::cli::exit::Exit;
use crate::cli::fault::output_error;
use crate::cli::json::Line;
use crate::cli::words::{self, Thing};

/// The arguments of `larder path`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The path is printed byte for byte. The file is read-only and shared: read it, and never write to it.

Example:
  larder path models/a.gguf
  llama-cli -m \"$(larder path model:hf/org/repo --variant q4)\"")]
pub(crate) struct Args {
    /// An entry (entry:ID, model:…, document:…), a name, or a digest (sha256:…)
    #[arg(value_name = "ENTRY|NAME|DIGEST", value_parser = words::thing())]
    target: Thing,
    /// Of an entry: this variant, and not the one that stands for the whole
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
}

/// Prints.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(Access::Hold)?;
    let path = entries::path(&store, &args.target, args.variant.as_deref())?;
    if context.out.json() {
        context.out.object(Line::event("path").path("path", &path))?;
    } else {
        let line = [path.as_os_str().as_bytes(), b"\n"].concat();
        let mut out = context.out.bytes();
        out.write_all(&line).and_then(|()| out.flush()).map_err(output_error)?;
    }
    Ok(Exit::Done)
}
