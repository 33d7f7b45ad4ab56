//! `larder path`: where the file of a blob is, or the files of an entry.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use anyhow::Result;
use larder::store::Store;
use larder::work::names::Target;
use larder::{EntryTarget, Error, ErrorKind, StoredUri, Variant};

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::fault::output_error;
use crate::cli::json::Line;
use crate::cli::words::{self, Thing};

/// The arguments of `larder path`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The path is printed byte for byte. The file is read-only and shared: read it, and never write to it. An entry has a line \
for each of its variants, in order of their names.

Example:
  larder path models/a.gguf
  llama-cli -m \"$(larder path hf:org/repo --variant q4)\"")]
pub(crate) struct Args {
    /// An entry (entry:ID, model:…, document:…), a name, or a digest (sha256:…)
    #[arg(value_name = "ENTRY|NAME|DIGEST", value_parser = words::thing())]
    target: Thing,
    /// Only this variant of the entry
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
}

/// Prints.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(Access::Hold)?;
    match &args.target {
        Thing::Blob(target) => tell(context, &store.path(target)?, None)?,
        Thing::Entry(target) => {
            for (variant, path) in of_entry(&store, target, args.variant.as_deref())? {
                tell(context, &path, Some(&variant))?;
            }
        }
    }
    Ok(Exit::Done)
}

/// Where the variants of an entry are, all of which are on this machine.
fn of_entry(store: &Store, target: &EntryTarget, only: Option<&str>) -> Result<Vec<(String, PathBuf)>> {
    let entry = store.find_entry(target)?;
    let wanted = |variant: &&Variant| only.is_none_or(|only| variant.name == only);
    let found =
        entry.variants.iter().filter(wanted).map(|variant| Ok((variant.name.clone(), of_variant(store, variant)?)));
    let found: Vec<_> = found.collect::<larder::Result<_>>()?;
    if found.is_empty() {
        let reason = match only {
            Some(only) => format!("{target} has no variant {only:?}"),
            None => format!("nothing is known of where the bytes of {target} are"),
        };
        return Err(Error::new(ErrorKind::NotFound, "tell the path", reason).into());
    }
    Ok(found)
}

fn of_variant(store: &Store, variant: &Variant) -> larder::Result<PathBuf> {
    if let Some(digest) = variant.digest {
        return store.path(&Target::Digest(digest));
    }
    match variant.uri.parse::<StoredUri>() {
        Ok(StoredUri::File(path)) => Ok(path),
        _ => Err(Error::new(
            ErrorKind::NotFound,
            format!("tell the path of variant {:?}", variant.name),
            "its bytes are not on this machine",
        )),
    }
}

fn tell(context: &Context, path: &std::path::Path, variant: Option<&str>) -> Result<()> {
    if context.out.json() {
        let line = Line::event("path").path("path", path);
        context.out.object(variant.iter().fold(line, |line, variant| line.with("variant", *variant)))?;
        return Ok(());
    }
    let line = [path.as_os_str().as_bytes(), b"\n"].concat();
    let mut out = context.out.bytes();
    out.write_all(&line).and_then(|()| out.flush()).map_err(output_error)?;
    Ok(())
}
