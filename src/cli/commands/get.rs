//! `larder get`: one file out of the store.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use larder::machine::{FileKind, Machine};
use larder::work::materialize::MaterializeOptions;
use larder::work::names::Target;

use super::made;
use crate::cli::context::{Access, Context};
use crate::cli::entries;
use crate::cli::exit::Exit;
use crate::cli::watch::Watch;
use crate::cli::words::{self, Thing};

/// The arguments of `larder get`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --mode the file is private: a reflink where the filesystem can, else a copy. With --mode the same order is \
followed from there on, and the reason is printed when it falls back.

Example:
  larder get models/a.gguf .
  larder get models/a.gguf /srv/a.gguf --mode hardlink")]
pub(crate) struct Args {
    /// An entry (entry:ID, model:…, document:…), a name, or a digest (sha256:…)
    #[arg(value_name = "ENTRY|NAME|DIGEST", value_parser = words::thing())]
    target: Thing,
    /// The file to make; a name goes into a directory under its last part
    #[arg(value_name = "DEST")]
    destination: PathBuf,
    /// Of an entry: this variant, and not the one that stands for the whole
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// How the file is made [default: reflink, then copy]
    #[arg(long, value_enum)]
    mode: Option<words::Mode>,
    /// Replace what is at DEST
    #[arg(long)]
    replace: bool,
}

/// Gets.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(Access::Hold)?;
    let target = entries::blob(&store, &args.target, args.variant.as_deref())?;
    let destination = destination(&*context.machine, &target, &args.destination);
    let options = MaterializeOptions { mode: args.mode.map(Into::into), replace: args.replace };
    let watch = Watch::new(context);
    let made = store.get(&target, &destination, &options, &watch);
    let time = watch.finish();
    Ok(made::report(context, &made?, time))
}

/// The file itself, or, as with `cp`, the last part of the name in the directory that is there.
fn destination(machine: &dyn Machine, target: &Target, wanted: &Path) -> PathBuf {
    let is_directory = || machine.stat(wanted).is_ok_and(|meta| meta.kind == FileKind::Directory);
    match target {
        Target::Name(name) if is_directory() => wanted.join(OsStr::from_bytes(name.base())),
        _ => wanted.to_owned(),
    }
}
