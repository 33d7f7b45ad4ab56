//! `larder forget` and `larder delete`: entries away, without and with their bytes.

use anyhow::Result;
use larder::store::Store;
use larder::{Entry, EntryTarget, ErrorKind, Name};

use super::trash::{line, resolved};
use crate::cli::context::{Access, Context};
use crate::cli::entries;
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::cli::json::Line;
use crate::cli::text;
use crate::cli::watch::Watch;

/// The arguments of `larder forget`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Names and files stay. What nothing else keeps is collected by `larder gc` after its grace.

Example:
  larder forget model:hf/org/repo@v1 --dry-run
  larder forget model:hf/org/repo@v1")]
pub(crate) struct Forget {
    /// The entries
    #[arg(required = true, value_name = "ENTRY")]
    entries: Vec<EntryTarget>,
    /// Only show what would go
    #[arg(long)]
    dry_run: bool,
}

/// The arguments of `larder delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An entry goes into the trash with its names, and `larder undelete` takes it back. With --now it goes for good, and so do \
the bytes that no name, pin, other entry or running work keeps. What is pinned (exit 5) or in use (exit 4) is not deleted \
for good. `larder forget` takes the record away and nothing else.

Example:
  larder delete model:hf/org/repo@v1 --now --dry-run
  larder delete model:hf/org/repo@v1 --now")]
pub(crate) struct Delete {
    /// The entries
    #[arg(required = true, value_name = "ENTRY")]
    entries: Vec<EntryTarget>,
    /// For good, with the bytes that nothing else keeps, and not into the trash
    #[arg(long)]
    now: bool,
    /// Only show what would go, and what that really frees
    #[arg(long)]
    dry_run: bool,
}

/// Forgets.
pub(crate) fn forget(context: &Context, args: &Forget) -> Result<Exit> {
    let store = context.open(if args.dry_run { Access::Read } else { Access::Write })?;
    let mut count = 0;
    for entry in resolved(&store, &args.entries)? {
        if entry.trashed_ns.is_some() {
            return Err(entries::in_the_trash(&EntryTarget::of(&entry.card.key)).into());
        }
        let entry = if args.dry_run { entry } else { store.remove_entry(&entry.card.key)? };
        let event = if args.dry_run { "would_forget" } else { "forgotten" };
        match context.out.json() {
            true => context.out.object(line(event, &entry))?,
            false if args.dry_run || context.out.verbose() => context.out.line(&entries::row(context, &entry))?,
            false => {}
        }
        count += 1;
    }
    if context.out.json() {
        context.out.object(Line::event("summary").with("dry_run", args.dry_run).with("entries", count))?;
    } else {
        let verb = if args.dry_run { "Would forget" } else { "Forgot" };
        context.out.summary(&format!("{verb} {}; names and files stay", plural(count)));
        context.warn_of_scratch(&store);
    }
    Ok(Exit::Done)
}

/// Deletes.
pub(crate) fn delete(context: &Context, args: &Delete) -> Result<Exit> {
    let store = context.open(if args.dry_run { Access::Read } else { Access::Write })?;
    let found = resolved(&store, &args.entries)?;
    if let Some(there) = found.iter().find(|entry| entry.trashed_ns.is_some() && !args.now) {
        let (attempt, again) = (format!("delete {}", there.card.key), context.again());
        let hint = format!("`{again} undelete` takes it out, `{again} delete --now` removes it for good");
        return Err(Fault::failed(ErrorKind::NotFound, &attempt, "it is in the trash already", hint).into());
    }
    // Where one is refused, none goes.
    if args.now {
        found.iter().try_for_each(|entry| store.may_delete_entry(&entry.card.key, "delete"))?;
    }
    let watch = Watch::new(context);
    let mut sum = Sum::default();
    for entry in found {
        let deleted = one(context, args, &store, &entry, &watch, &mut sum);
        if let Err(e) = deleted {
            watch.finish();
            // What went before it is gone.
            if sum.entries > 0 {
                sum.tell(context, args)?;
            }
            return Err(e);
        }
        if sum.interrupted {
            break;
        }
    }
    watch.finish();
    sum.tell(context, args)?;
    Ok(Exit::of_work(0, sum.interrupted))
}

fn one(context: &Context, args: &Delete, store: &Store, entry: &Entry, watch: &Watch<'_>, sum: &mut Sum) -> Result<()> {
    let key = &entry.card.key;
    let (entry, names, frees) = store.plan_delete_entry(key)?;
    let (names, freed) = match args.dry_run {
        true => (names, 0),
        false => {
            let deleted = store.delete_entry(key, args.now, watch)?;
            sum.removed_blobs += deleted.collected.removed_blobs;
            sum.held += deleted.collected.held.len() as u64;
            sum.interrupted |= deleted.collected.interrupted;
            (deleted.names, deleted.collected.freed_bytes)
        }
    };
    sum.entries += 1;
    sum.names += names.len() as u64;
    sum.frees_bytes += frees;
    sum.freed_bytes += freed;
    tell(context, args, &entry, &names, frees);
    Ok(())
}

fn tell(context: &Context, args: &Delete, entry: &Entry, names: &[Name], frees: u64) {
    if context.out.json() {
        let event = if args.dry_run { "would_delete" } else { "deleted" };
        return context.out.tell(line(event, entry).names(names.iter()).with("frees_bytes", frees));
    }
    if args.dry_run || context.out.verbose() {
        context.out.say(&entries::row(context, entry));
        names.iter().for_each(|name| context.out.say(&format!("  {}", text::name(name))));
    }
}

/// What was deleted, all in all.
#[derive(Default)]
struct Sum {
    entries: u64,
    names: u64,
    frees_bytes: u64,
    freed_bytes: u64,
    removed_blobs: u64,
    held: u64,
    interrupted: bool,
}

impl Sum {
    fn tell(&self, context: &Context, args: &Delete) -> Result<()> {
        if context.out.json() {
            let sum = Line::event("summary")
                .with("dry_run", args.dry_run)
                .with("now", args.now)
                .with("entries", self.entries)
                .with("names", self.names)
                .with("frees_bytes", self.frees_bytes)
                .with("removed_blobs", self.removed_blobs)
                .with("freed_bytes", self.freed_bytes)
                .with("held_blobs", self.held)
                .with("interrupted", self.interrupted);
            context.out.object(sum)?;
            return Ok(());
        }
        let what = format!("{}, with {}", plural(self.entries), text::count(self.names, "name"));
        let (frees, freed) = (context.size(self.frees_bytes), context.size(self.freed_bytes));
        let again = context.again();
        context.out.summary(&match (args.dry_run, args.now) {
            (true, true) => format!("Would delete {what}, really freeing {frees}"),
            (true, false) => format!("Would put {what} into the trash; emptying it frees {frees}"),
            (false, true) => format!("Deleted {what}, and really freed {freed}"),
            (false, false) => {
                format!(
                    "Put {what} into the trash; `{again} trash empty` frees {frees}, `{again} undelete` takes it back"
                )
            }
        });
        Ok(())
    }
}

fn plural(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}
