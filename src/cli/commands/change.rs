//! `larder set-state`, `tag`, `note`, `meta`, `touch`: what is on record of an entry, changed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use larder::store::Store;
use larder::{Entry, EntryTarget, Key, State};

use crate::cli::context::{Access, Context};
use crate::cli::entries::{self, pair};
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;

/// The arguments of `larder set-state`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Only verifying makes an entry active or failed (`larder verify ENTRY`). By hand, anything can be retired, and what is \
retired or failed can be made pending, to be verified again. Any other move is refused (exit 5).

Example:
  larder set-state model:hf/org/repo@v1 retired")]
pub(crate) struct SetState {
    /// The entry
    #[arg(value_name = "ENTRY")]
    entry: EntryTarget,
    /// pending or retired
    #[arg(value_name = "STATE", value_parser = entries::state)]
    state: State,
}

/// The arguments of `larder tag`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  larder tag model:hf/org/repo chat 7b
  larder tag model:hf/org/repo --remove draft")]
pub(crate) struct Tag {
    /// The entry
    #[arg(value_name = "ENTRY")]
    entry: EntryTarget,
    /// Words to find it by
    #[arg(value_name = "TAG", required_unless_present = "remove")]
    add: Vec<String>,
    /// Take this tag away; several times for several
    #[arg(long, value_name = "TAG")]
    remove: Vec<String>,
}

/// The arguments of `larder note`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  larder note model:hf/org/repo 'the paper used this one'
  larder note model:hf/org/repo --clear")]
pub(crate) struct Note {
    /// The entry
    #[arg(value_name = "ENTRY")]
    entry: EntryTarget,
    /// What to say of it, in the place of what was said before
    #[arg(value_name = "TEXT", required_unless_present = "clear")]
    text: Option<String>,
    /// Say nothing any more
    #[arg(long, conflicts_with = "text")]
    clear: bool,
}

/// The arguments of `larder meta`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Title, source, type, SBOM and signature are set by `larder register KEY --if-registered merge`.

Example:
  larder meta model:hf/org/repo architecture=llama context_length=8192
  larder meta model:hf/org/repo --unset quantization")]
pub(crate) struct Meta {
    /// The entry
    #[arg(value_name = "ENTRY")]
    entry: EntryTarget,
    /// What is known of it: architecture, quantization, context_length, anything
    #[arg(value_name = "KEY=VALUE", value_parser = pair, required_unless_present = "unset")]
    pairs: Vec<(String, String)>,
    /// Take this key away; several times for several
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,
}

/// The arguments of `larder touch`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What was used least recently is evicted first.

Example:
  larder touch model:hf/org/repo")]
pub(crate) struct Touch {
    /// The entry
    #[arg(value_name = "ENTRY")]
    entry: EntryTarget,
}

/// Sets the state.
pub(crate) fn set_state(context: &Context, args: &SetState) -> Result<Exit> {
    change(context, &args.entry, |store, key| store.set_state(key, args.state))
}

/// Tags.
pub(crate) fn tag(context: &Context, args: &Tag) -> Result<Exit> {
    let (add, remove): (BTreeSet<String>, BTreeSet<String>) =
        (args.add.iter().cloned().collect(), args.remove.iter().cloned().collect());
    if let Some(both) = add.intersection(&remove).next() {
        return Err(Fault::usage("tag it", &format!("{both:?} is to be added and removed")).into());
    }
    change(context, &args.entry, |store, key| store.tag(key, add, remove))
}

/// Notes.
pub(crate) fn note(context: &Context, args: &Note) -> Result<Exit> {
    change(context, &args.entry, |store, key| store.note(key, args.text.as_deref().unwrap_or_default()))
}

/// Sets metadata.
pub(crate) fn meta(context: &Context, args: &Meta) -> Result<Exit> {
    let set = args.pairs.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
    let metadata: BTreeMap<String, Option<String>> =
        args.unset.iter().map(|key| (key.clone(), None)).chain(set).collect();
    change(context, &args.entry, |store, key| store.describe(key, metadata))
}

/// Touches.
pub(crate) fn touch(context: &Context, args: &Touch) -> Result<Exit> {
    change(context, &args.entry, |store, key| store.touch(key))
}

/// Changes the entry that is pointed at, and shows it as it then is.
fn change(
    context: &Context,
    target: &EntryTarget,
    change: impl FnOnce(&Store, &Key) -> larder::Result<Entry>,
) -> Result<Exit> {
    let store = context.open(Access::Write)?;
    let found = store.find_entry(target)?;
    let entry = change(&store, &found.card.key)?;
    if context.out.json() {
        context.out.object(entries::line("changed", &entry))?;
    } else {
        context.out.summary(&entries::row(context, &entry));
        context.warn_of_scratch(&store);
    }
    Ok(Exit::Done)
}
