//! `larder init`: makes a store.

use std::path::{Path, PathBuf};

use anyhow::Result;
use etcetera::BaseStrategy as _;
use larder::ErrorKind;
use larder::format::options::OptionKey;
use larder::store::{NewStore, Presence, Shared, Store};

use crate::cli::choices::Choices;
use crate::cli::context::{self, Context, absolute};
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::cli::json::Line;
use crate::cli::{text, words};

/// The arguments of `larder init`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An existing store is left as it is; a directory that holds anything else is refused.

Example:
  larder init                        where larder looks without being told
  larder init /data/larder --shared group
  larder init --cache                under the cache home, marked as a cache
  larder init --set storage.layout=cas --set limits.max_bytes=200GiB")]
pub(crate) struct Args {
    /// Where; otherwise --store, $LARDER_STORE, or the default place
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Under the cache home ($XDG_CACHE_HOME/larder) if no place is named, and marked as a cache (CACHEDIR.TAG)
    #[arg(long)]
    cache: bool,
    /// Who may read the blobs [default: as the umask says]
    #[arg(long, value_enum, value_name = "WHO")]
    shared: Option<words::Shared>,
    /// When what is acknowledged is synced
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    durability: words::Durability,
    /// How names are kept unless a command says otherwise
    #[arg(long, value_enum, value_name = "HOW", default_value = "hardlinked")]
    alias: words::Alias,
}

/// Makes the store.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let directory = match &args.directory {
        Some(_) if context.global.store.is_some() => {
            return Err(Fault::usage("make the store", "DIR and --store both say where").into());
        }
        Some(directory) => absolute(directory)?,
        None if args.cache && context.chosen_directory().is_none() => context::homes()?.cache_dir().join("larder"),
        None => context.directory()?,
    };
    let new = NewStore {
        durability: args.durability.into(),
        shared: args.shared.map_or(Shared::Umask, Shared::from),
        alias: args.alias.into(),
        cache: args.cache,
        // What is said for making the store is said of the store.
        options: Choices::of_process(&context.global.set)?.flags.filtered(OptionKey::is_in_file),
    };
    if Store::exists(&*context.machine, &directory)? == Presence::Other {
        return Err(not_empty(&directory).into());
    }
    let (store, made) = Store::create(context.machine.clone(), &directory, &new, &context.options(false)?)?;
    report(context, &store, made)?;
    Ok(Exit::Done)
}

/// A directory holds something, and it is no store.
pub(super) fn not_empty(directory: &Path) -> Fault {
    let attempt = format!("make a store at {}", directory.display());
    let hint = "name a directory that is empty or not there yet".to_owned();
    Fault::failed(ErrorKind::Taken, &attempt, "the directory is not empty, and it is no store", hint)
}

fn report(context: &Context, store: &Store, made: bool) -> Result<()> {
    let settings = store.settings();
    if context.out.json() {
        let line = Line::event("init")
            .with("created", made)
            .path("store", store.directory())
            .with("store_id", &settings.store_id)
            .with("format", settings.format)
            .with("durability", words::durability(settings.durability))
            .with("alias", words::alias(settings.alias))
            .with("blob_mode", format!("{:04o}", settings.blob_mode));
        return Ok(context.out.object(line)?);
    }
    let place = text::path(store.directory());
    let what = if made { "Made a store" } else { "There is a store already, left as it is" };
    context.out.summary(&format!(
        "{what}: {place}\n  durability {}, names {}, blobs have mode {:04o}",
        words::durability(settings.durability),
        words::alias(settings.alias),
        settings.blob_mode
    ));
    context.warn_of_scratch(store);
    Ok(())
}
