//! `larder ingest`: ingests that were broken off and can go on.

use anyhow::Result;
use clap::Subcommand;
use larder::work::resumable::{Ingests, Unreadable, Waiting};
use larder::{Event, Observer};

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::cli::json::Line;
use crate::cli::text;
use crate::cli::watch::Watch;

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
    let Ingests { waiting, unreadable } = context.open(Access::Read)?.ingests()?;
    if context.out.json() {
        waiting.iter().try_for_each(|waiting| context.out.object(line("ingest", waiting)))?;
    } else if waiting.is_empty() && unreadable.is_empty() {
        context.out.summary("No ingest was broken off");
    } else if !waiting.is_empty() {
        context.out.line(&table(context, &waiting))?;
    }
    tell(context, &unreadable);
    if context.out.json() {
        context.out.object(summary(&waiting, &unreadable))?;
    }
    Ok(Exit::of_work(unreadable.len() as u64, false))
}

fn rm(context: &Context, args: &RmArgs) -> Result<Exit> {
    if args.ids.iter().any(String::is_empty) {
        return Err(Fault::usage("remove an ingest", "an empty ID means none").into());
    }
    let store = context.open(if args.dry_run { Access::Read } else { Access::Write })?;
    let mut plan = store.plan_remove_ingests(&args.ids)?;
    if !args.dry_run {
        let done = store.remove_ingests(&plan.waiting)?;
        plan.unreadable.extend(done.unreadable);
        plan.waiting = done.waiting;
    }
    let Ingests { waiting: gone, unreadable } = plan;
    if context.out.json() {
        let event = if args.dry_run { "would_remove" } else { "removed" };
        gone.iter().try_for_each(|waiting| context.out.object(line(event, waiting)))?;
    } else if args.dry_run && !gone.is_empty() {
        context.out.line(&table(context, &gone))?;
    }
    tell(context, &unreadable);
    if context.out.json() {
        context.out.object(summary(&gone, &unreadable).with("dry_run", args.dry_run))?;
    } else {
        let (verb, count) = (if args.dry_run { "Would remove" } else { "Removed" }, gone.len() as u64);
        let freed = context.size(gone.iter().map(|waiting| waiting.allocated_bytes).sum());
        let left = match unreadable.len() as u64 {
            0 => String::new(),
            left => format!("; {} left alone, which could not be read", text::count(left, "ingest")),
        };
        context.out.summary(&format!("{verb} {}, {freed} on the disk{left}", text::count(count, "ingest")));
    }
    Ok(Exit::of_work(unreadable.len() as u64, false))
}

/// What cannot be read is no reason to be silent about it, nor to leave the others.
fn tell(context: &Context, unreadable: &[Unreadable]) {
    let watch = Watch::new(context);
    for Unreadable { path, reason, .. } in unreadable {
        watch.event(&Event::Failed { path: path.clone(), reason: reason.clone() });
    }
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

fn summary(all: &[Waiting], unreadable: &[Unreadable]) -> Line {
    Line::event("summary")
        .with("ingests", all.len())
        .with("unreadable", unreadable.len())
        .with("allocated_bytes", all.iter().map(|waiting| waiting.allocated_bytes).sum::<u64>())
}

fn table(context: &Context, all: &[Waiting]) -> String {
    let row = |waiting: &Waiting| {
        let (done, size) = (context.size(waiting.done_bytes), context.size(waiting.size_bytes));
        vec![done, size, text::time(waiting.expires_ns), waiting.id.clone(), text::path(&waiting.path)]
    };
    text::table(&["done", "size", "expires", "id", "path"], &[0, 1], all.iter().map(row))
}
