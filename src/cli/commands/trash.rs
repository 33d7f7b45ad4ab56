//! `larder trash`: entries out of sight, to be taken back or removed for good.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Result;
use clap::Subcommand;
use larder::store::Store;
use larder::vocabulary::{Entry, EntryId, EntryTarget, Key};
use larder::work::catalog::trash::{EmptyPlan, EmptyReport, InTrash};
use larder::{ErrorKind, Name};

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::cli::json::Line;
use crate::cli::watch::Watch;
use crate::cli::{text, words};

/// The arguments of `larder trash`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
An entry in the trash is found by no query, and its names are gone; its bytes stay. `larder undelete` takes it back, names \
and all. `larder gc` removes what has been there for seven days.

Example:
  larder trash model:hf/org/repo@v1
  larder trash ls
  larder trash empty --older-than 1d")]
pub(crate) struct Args {
    /// Entries: entry:ID, model:PROVIDER/REFERENCE[@VERSION], document:ARTIFACT
    #[arg(value_name = "ENTRY", required = true)]
    entries: Vec<EntryTarget>,
    /// Only show what would go there
    #[arg(long)]
    dry_run: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What else there is to do with it.
#[derive(Debug, Subcommand)]
enum Command {
    /// List what is in the trash
    #[command(after_help = "\
Example:
  larder trash ls")]
    Ls,
    /// Remove what is in the trash for good, and free its bytes
    #[command(after_help = "\
Bytes that a name, a pin, another entry or running work keeps stay.

Example:
  larder trash empty --dry-run
  larder trash empty --older-than 1d")]
    Empty(EmptyArgs),
}

/// The arguments of `larder trash empty`.
#[derive(Debug, clap::Args)]
struct EmptyArgs {
    /// Only what has been there for so long: 0s, 12h, 7d [default: everything]
    #[arg(long, value_name = "TIME", value_parser = words::duration)]
    older_than: Option<Duration>,
    /// Only show what would go
    #[arg(long)]
    dry_run: bool,
}

/// Puts there, lists or empties.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    match &args.command {
        None => put(context, args),
        Some(Command::Ls) => ls(context),
        Some(Command::Empty(args)) => empty(context, args),
    }
}

/// The entries that are pointed at, each once, in the order in which they were named.
pub(super) fn resolved(store: &Store, targets: &[EntryTarget]) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    for target in targets {
        let entry = store.find_entry(target)?;
        if entries.iter().all(|known| known.id() != entry.id()) {
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// What tells which entry a line is about.
pub(super) fn line(event: &str, entry: &Entry) -> Line {
    Line::event(event)
        .with("id", entry.id().to_string())
        .with("key", entry.card.key.to_string())
        .with("size_bytes", entry.size_bytes())
}

/// A number of entries in words.
pub(super) fn entries_word(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

fn put(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(if args.dry_run { Access::Read } else { Access::Write })?;
    let entries = resolved(&store, &args.entries)?;
    if let Some(there) = entries.iter().find(|entry| entry.trashed_ns.is_some()) {
        let (attempt, again) = (format!("put {} into the trash", there.card.key), context.again());
        let hint = format!("`{again} undelete` takes it out, `{again} trash empty` removes it");
        return Err(Fault::failed(ErrorKind::NotFound, &attempt, "it is there already", hint).into());
    }
    let (mut bytes, mut names) = (0, 0);
    for entry in &entries {
        let (entry, its, frees_bytes) = store.plan_delete_entry(&entry.card.key)?;
        let its = if args.dry_run { its } else { store.trash_entry(&entry.card.key, "trash")?.names };
        (bytes, names) = (bytes + frees_bytes, names + its.len());
        tell(context, args.dry_run, &entry, &its, frees_bytes);
    }
    if context.out.json() {
        let line = Line::event("summary").with("dry_run", args.dry_run).with("entries", entries.len());
        context.out.object(line.with("names", names))?;
    } else {
        let verb = if args.dry_run { "Would put" } else { "Put" };
        let what = entries_word(entries.len() as u64);
        let text = format!("{verb} {what} into the trash, with {}", text::count(names as u64, "name"));
        let again = context.again();
        context.out.summary(&format!(
            "{text}; `{again} trash empty` frees {}, `{again} undelete` takes them back",
            context.size(bytes)
        ));
        context.warn_of_scratch(&store);
    }
    Ok(Exit::Done)
}

fn tell(context: &Context, dry_run: bool, entry: &Entry, names: &[Name], frees_bytes: u64) {
    if context.out.json() {
        let line = line(if dry_run { "would_trash" } else { "trashed" }, entry);
        return context.out.tell(line.names(names.iter()).with("frees_bytes", frees_bytes));
    }
    if dry_run || context.out.verbose() {
        context.out.say(&text::message(&entry.card.key.to_string()));
        names.iter().for_each(|name| context.out.say(&format!("  {}", text::name(name))));
    }
}

fn ls(context: &Context) -> Result<Exit> {
    let store = context.open(Access::Read)?;
    let (mut entries, mut frees, mut rows) = (0_u64, 0, Vec::new());
    store.trashed(&mut |one| {
        entries += 1;
        frees += one.frees_bytes;
        match context.out.json() {
            true => context.out.object(in_trash("entry", &one)).map_err(crate::cli::fault::output_error)?,
            false => rows.push(row(context, &one)),
        }
        Ok(())
    })?;
    if context.out.json() {
        context.out.object(Line::event("summary").with("entries", entries).with("frees_bytes", frees))?;
    } else if rows.is_empty() {
        context.out.summary("The trash is empty");
    } else {
        context.out.line(&text::table(&["size", "frees", "for", "by", "entry"], &[0, 1], rows))?;
    }
    Ok(Exit::Done)
}

fn in_trash(event: &str, one: &InTrash) -> Line {
    line(event, &one.entry)
        .with("frees_bytes", one.frees_bytes)
        .maybe("trashed", one.entry.trashed_ns.map(|ns| text::exact_time(ns.into())))
        .with("age_seconds", one.age.as_secs())
        .with("rule", &one.rule)
}

fn row(context: &Context, one: &InTrash) -> Vec<String> {
    vec![
        context.size(one.entry.size_bytes()),
        context.size(one.frees_bytes),
        text::took(Duration::from_secs(one.age.as_secs())),
        text::message(&one.rule),
        text::message(&one.entry.card.key.to_string()),
    ]
}

fn empty(context: &Context, args: &EmptyArgs) -> Result<Exit> {
    let store = context.open(if args.dry_run { Access::Read } else { Access::Write })?;
    let plan = store.plan_empty_trash(args.older_than.unwrap_or_default())?;
    if args.dry_run {
        show(context, &plan.entries)?;
        let removed = plan.entries.iter().map(|one| one.entry.card.key.clone()).collect();
        let report = EmptyReport { removed, ..EmptyReport::default() };
        emptied(context, &report, true, plan.frees_bytes, plan.held_blobs);
        return Ok(Exit::Done);
    }
    let watch = Watch::new(context);
    let report = store.empty_trash(&plan, true, &watch);
    watch.finish();
    let report = report?;
    removed(context, &plan, &report);
    emptied(context, &report, false, report.collected.freed_bytes, report.collected.held.len() as u64);
    context.warn_of_scratch(&store);
    Ok(Exit::of_work(0, report.interrupted))
}

fn show(context: &Context, entries: &[InTrash]) -> Result<()> {
    if context.out.json() {
        entries.iter().try_for_each(|one| context.out.object(in_trash("would_remove", one)))?;
    } else if !entries.is_empty() {
        let rows = entries.iter().map(|one| row(context, one));
        context.out.line(&text::table(&["size", "frees", "for", "by", "entry"], &[0, 1], rows))?;
    }
    Ok(())
}

/// Names what was removed for good, one by one.
pub(super) fn removed(context: &Context, plan: &EmptyPlan, report: &EmptyReport) {
    let went: HashSet<EntryId> = report.removed.iter().map(Key::id).collect();
    for one in plan.entries.iter().filter(|one| went.contains(&one.entry.id())) {
        match context.out.json() {
            true => context.out.tell(in_trash("removed_entry", one)),
            false if context.out.verbose() => context.out.say(&text::message(&one.entry.card.key.to_string())),
            false => {}
        }
    }
}

fn emptied(context: &Context, report: &EmptyReport, dry_run: bool, frees_bytes: u64, held_blobs: u64) {
    if context.out.json() {
        let line = Line::event("summary")
            .with("dry_run", dry_run)
            .with("entries", report.removed.len())
            .with("left", report.left)
            .with("removed_blobs", report.collected.removed_blobs)
            .with("removed_bytes", report.collected.removed_bytes)
            .with(if dry_run { "frees_bytes" } else { "freed_bytes" }, frees_bytes)
            .with("held_blobs", held_blobs)
            .with("interrupted", report.interrupted);
        return context.out.tell(line);
    }
    let entries = entries_word(report.removed.len() as u64);
    let freed = context.size(frees_bytes);
    context.out.summary(&match dry_run {
        true => format!("Would remove {entries} for good, really freeing {freed}"),
        false => format!("Removed {entries} for good, and really freed {freed}"),
    });
    if held_blobs > 0 {
        let held = text::count(held_blobs, "blob");
        context.out.summary(&format!("  held       {held}, by running work; the next gc removes them"));
    }
}
