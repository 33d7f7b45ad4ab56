//! `larder undelete`: entries back out of the trash.

use anyhow::Result;
use larder::ErrorKind;
use larder::vocabulary::EntryTarget;
use larder::work::catalog::trash::Undeleted;

use super::trash::{line, resolved};
use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::cli::json::Line;
use crate::cli::text;

/// The arguments of `larder undelete`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An entry gets the names back that went into the trash with it. One that means something else by now stays as it is, and \
is told (exit 3).

Example:
  larder undelete model:hf/org/repo@v1")]
pub(crate) struct Args {
    /// Entries in the trash: entry:ID, model:PROVIDER/REFERENCE[@VERSION], document:ARTIFACT
    #[arg(value_name = "ENTRY", required = true)]
    entries: Vec<EntryTarget>,
}

/// Takes them out.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(Access::Write)?;
    let entries = resolved(&store, &args.entries)?;
    if let Some(other) = entries.iter().find(|entry| entry.trashed_ns.is_none()) {
        let attempt = format!("take {} out of the trash", other.card.key);
        let hint = format!("`{} trash ls` shows what is there", context.again());
        return Err(Fault::failed(ErrorKind::NotFound, &attempt, "it is not there", hint).into());
    }
    let mut left = 0;
    for entry in &entries {
        let done = store.undelete_entry(&entry.card.key)?;
        left += done.left.len() as u64;
        tell(context, &done);
    }
    if context.out.json() {
        context.out.object(Line::event("summary").with("entries", entries.len()).with("names_left", left))?;
    }
    context.warn_of_scratch(&store);
    Ok(Exit::of_work(left, false))
}

fn tell(context: &Context, done: &Undeleted) {
    if context.out.json() {
        let left = done.left.iter().map(|(name, reason)| Line::part().name(name).with("reason", reason));
        return context.out.tell(line("undeleted", &done.entry).names(done.names.iter()).list("left", left));
    }
    let (key, names) = (done.entry.card.key.to_string(), text::count(done.names.len() as u64, "name"));
    context.out.summary(&format!("Took {} out of the trash, with {names}", text::message(&key)));
    for (name, reason) in &done.left {
        context.out.warn(&format!("left: {}: {}", text::name(name), text::message(reason)));
    }
}
