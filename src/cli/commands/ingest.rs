//! `larder ingest`: ingests that were broken off and can go on.

use anyhow::Result;
use clap::Subcommand;
use larder::work::resumable::Waiting;

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::cli::json::Line;
use crate::cli::text;

/// What there is to do with them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List ingests that were broken off and can go on
    #[command(after_help = "\
Adding the same file again goes on where it stopped, if nobody has changed it. After seven days `larder gc` removes what \
is left of it.

Example:
  larder ingest ls")]
    Ls,
    /// Give them up, and free what they take
    #[command(after_help = "\
Example:
  larder ingest rm --all --dry-run
  larder ingest rm 5d41402a")]
    Rm(RmArgs),
}

/// The arguments of `larder ingest rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct RmArgs {
    /// What `ingest ls` calls them, or the beginning of it
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// All of them
    #[arg(long)]
    all: bool,
    /// Only show which they are
    #[arg(long)]
    dry_run: bool,
}

/// Lists or removes.
pub(crate) fn run(context: &Context, command: &Command) -> Result<Exit> {
    match command {
        Command::Ls => ls(context),
        Command::Rm(args) => rm(context, args),
    }
}

fn ls(context: &Context) -> Result<Exit> {
    let waiting = context.open(Access::Read)?.ingests()?;
    if context.out.json() {
        waiting.iter().try_for_each(|waiting| context.out.object(line("ingest", waiting)))?;
        context.out.object(summary(&waiting))?;
    } else if waiting.is_empty() {
        context.out.summary("No ingest was broken off");
    } else {
        context.out.line(&table(context, &waiting))?;
    }
    Ok(Exit::Done)
}

fn rm(context: &Context, args: &RmArgs) -> Result<Exit> {
    if args.ids.iter().any(String::is_empty) {
        return Err(Fault::usage("remove an ingest", "an empty ID means none").into());
    }
    let store = context.open(if args.dry_run { Access::Read } else { Access::Write })?;
    let chosen = store.plan_remove_ingests(&args.ids)?;
    let gone = if args.dry_run { chosen } else { store.remove_ingests(&chosen)? };
    if context.out.json() {
        let event = if args.dry_run { "would_remove" } else { "removed" };
        gone.iter().try_for_each(|waiting| context.out.object(line(event, waiting)))?;
        context.out.object(summary(&gone).with("dry_run", args.dry_run))?;
    } else {
        if args.dry_run && !gone.is_empty() {
            context.out.line(&table(context, &gone))?;
        }
        let (verb, count) = (if args.dry_run { "Would remove" } else { "Removed" }, gone.len() as u64);
        let freed = context.size(gone.iter().map(|waiting| waiting.allocated_bytes).sum());
        context.out.summary(&format!("{verb} {}, {freed} on the disk", text::count(count, "ingest")));
    }
    Ok(Exit::Done)
}

fn line(event: &str, waiting: &Waiting) -> Line {
    Line::event(event)
        .with("id", &waiting.id)
        .path("path", &waiting.path)
        .with("size_bytes", waiting.size_bytes)
        .with("done_bytes", waiting.done_bytes)
        .with("allocated_bytes", waiting.allocated_bytes)
        .time("saved", waiting.saved_ns)
        .time("expires", waiting.expires_ns)
}

fn summary(all: &[Waiting]) -> Line {
    Line::event("summary")
        .with("ingests", all.len())
        .with("allocated_bytes", all.iter().map(|waiting| waiting.allocated_bytes).sum::<u64>())
}

fn table(context: &Context, all: &[Waiting]) -> String {
    let row = |waiting: &Waiting| {
        let (done, size) = (context.size(waiting.done_bytes), context.size(waiting.size_bytes));
        vec![done, size, text::time(waiting.expires_ns), waiting.id.clone(), text::path(&waiting.path)]
    };
    text::table(&["done", "size", "expires", "id", "path"], &[0, 1], all.iter().map(row))
}
