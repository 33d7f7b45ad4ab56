//! `larder evict`: room, at the cost of what is still valid.

use anyhow::Result;
use larder::store::Store;
use larder::vocabulary::EntryTarget;
use larder::work::catalog::evict::{Chosen, EvictPlan, EvictReport, Goal};

use super::trash::{entries_word, line, resolved};
use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::watch::Watch;
use crate::cli::{text, words};

/// The arguments of `larder evict`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Named entries go into the trash, or with --now for good. To reach a goal, first goes what nothing keeps and whose grace is \
over, then the trash, then the entries that were not used for longest, all of it for good. What is pinned, leased or open in \
a process stays, and so does what would free nothing. Names that no entry has are never evicted.

Example:
  larder evict model:hf/org/repo@v1
  larder evict --free 200GiB --dry-run
  larder evict --max-size 1TB")]
pub(crate) struct Args {
    /// Entries: entry:ID, model:PROVIDER/REFERENCE[@VERSION], document:ARTIFACT
    #[arg(value_name = "ENTRY", required_unless_present_any = ["free", "max_size"])]
    entries: Vec<EntryTarget>,
    /// Until so much more is really free: 500MiB, 200GiB
    #[arg(long, value_name = "SIZE", value_parser = words::size, conflicts_with_all = ["entries", "max_size"])]
    free: Option<u64>,
    /// Until the blobs of the store are at most this large together
    #[arg(long, value_name = "SIZE", value_parser = words::size, conflicts_with = "entries")]
    max_size: Option<u64>,
    /// Named entries for good, with the bytes that nothing else keeps, and not into the trash
    #[arg(long, conflicts_with_all = ["free", "max_size"])]
    now: bool,
    /// Only show what would go
    #[arg(long)]
    dry_run: bool,
    /// Remove more than half of a store of over 100 blobs
    #[arg(long, conflicts_with = "entries")]
    yes_most: bool,
}

/// Evicts.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(if args.dry_run { Access::Read } else { Access::Write })?;
    match (args.free, args.max_size) {
        (Some(bytes), _) => to_goal(context, args, &store, Goal::Free(bytes)),
        (None, Some(bytes)) => to_goal(context, args, &store, Goal::MaxBytes(bytes)),
        (None, None) => named(context, args, &store),
    }
}

fn to_goal(context: &Context, args: &Args, store: &Store, goal: Goal) -> Result<Exit> {
    let plan = store.plan_evict(goal)?;
    if args.dry_run {
        plan.entries.iter().for_each(|one| tell(context, one, true));
        let planned = EvictReport { entries: plan.entries.clone(), ..EvictReport::default() };
        summary(context, &plan, &planned, true);
        return Ok(Exit::of_work(u64::from(!plan.is_enough()), false));
    }
    let watch = Watch::new(context);
    let evicted = store.evict(&plan, args.yes_most, &watch);
    watch.finish();
    let report = evicted?;
    report.entries.iter().for_each(|one| tell(context, one, false));
    summary(context, &plan, &report, false);
    context.warn_of_scratch(store);
    Ok(Exit::of_work(u64::from(!plan.is_enough()) + report.left, report.interrupted))
}

fn tell(context: &Context, one: &Chosen, dry_run: bool) {
    if context.out.json() {
        let line = line(if dry_run { "would_evict" } else { "evicted" }, &one.entry);
        let line = line.with("frees_bytes", one.frees_bytes).with("uses", one.entry.usage.count);
        let last = one.entry.usage.last_ns;
        let line = line.maybe("last_used", (last > 0).then(|| text::exact_time(last.into())));
        return context.out.tell(line.with("trashed", one.entry.trashed_ns.is_some()));
    }
    if dry_run || context.out.verbose() {
        let frees = context.size(one.frees_bytes);
        let last = match (one.entry.trashed_ns, one.entry.usage.last_ns) {
            (Some(_), _) => "in the trash".to_owned(),
            (None, 0) => "never used".to_owned(),
            (None, last) => text::time(last),
        };
        context.out.say(&format!("{frees:>10}  {last:<20}  {}", text::message(&one.entry.card.key.to_string())));
    }
}

fn summary(context: &Context, plan: &EvictPlan, report: &EvictReport, dry_run: bool) {
    if context.out.json() {
        let line = Line::event("summary")
            .with("dry_run", dry_run)
            .with("wanted_bytes", plan.wanted_bytes)
            .with("entries", report.entries.len())
            .with("unrooted_blobs", plan.unrooted.len())
            .with("frees_bytes", plan.frees_bytes)
            .with("enough", plan.is_enough())
            .with("pinned", plan.pinned)
            .with("held", plan.held)
            .with("in_use", plan.in_use)
            .with("left", report.left)
            .with("removed_blobs", report.collected.removed_blobs)
            .with("removed_bytes", report.collected.removed_bytes)
            .with("freed_bytes", report.collected.freed_bytes)
            .with("interrupted", report.interrupted);
        return context.out.tell(line);
    }
    let entries = entries_word(report.entries.len() as u64);
    let mut lines = vec![match dry_run {
        _ if plan.wanted_bytes == 0 => "Nothing to do: the goal is reached".to_owned(),
        true => format!("Would evict {entries}, really freeing {}", context.size(plan.frees_bytes)),
        false => format!("Evicted {entries}, and really freed {}", context.size(report.collected.freed_bytes)),
    }];
    if !plan.is_enough() {
        lines.push(format!("  short      of the goal by {}", context.size(plan.wanted_bytes - plan.gained_bytes)));
    }
    let passed = [(plan.pinned, "pinned"), (plan.held, "held by running work"), (plan.in_use, "open in a process")];
    for (count, why) in passed.into_iter().filter(|(count, _)| *count > 0) {
        lines.push(format!("  stays      {}, {why}", entries_word(count)));
    }
    if report.left > 0 {
        lines.push(format!("  stays      {}, used or changed meanwhile", entries_word(report.left)));
    }
    context.out.summary(&lines.join("\n"));
}

fn named(context: &Context, args: &Args, store: &Store) -> Result<Exit> {
    let watch = Watch::new(context);
    let done = each(context, args, store, &watch);
    watch.finish();
    let (entries, freed, removed) = done?;
    if context.out.json() {
        let line = Line::event("summary").with("dry_run", args.dry_run).with("now", args.now);
        let line = line.with("entries", entries).with("removed_blobs", removed);
        context.out.object(line.with(if args.dry_run { "frees_bytes" } else { "freed_bytes" }, freed))?;
        return Ok(Exit::Done);
    }
    let (entries, freed, again) = (entries_word(entries), context.size(freed), context.again());
    context.out.summary(&match (args.dry_run, args.now) {
        (true, true) => format!("Would evict {entries} for good, really freeing {freed}"),
        (true, false) => format!("Would put {entries} into the trash; emptying it frees {freed}"),
        (false, true) => format!("Evicted {entries} for good, and really freed {freed}"),
        (false, false) => format!("Put {entries} into the trash; `{again} trash empty` frees what they take up"),
    });
    context.warn_of_scratch(store);
    Ok(Exit::Done)
}

/// Entries, bytes freed (or, of a dry run, to be freed), blobs removed.
fn each(context: &Context, args: &Args, store: &Store, watch: &Watch<'_>) -> Result<(u64, u64, u64)> {
    let (mut entries, mut freed, mut removed) = (0, 0, 0);
    let all = resolved(store, &args.entries)?;
    // Where one is refused, none goes.
    all.iter().try_for_each(|entry| store.may_delete_entry(&entry.card.key, "evict"))?;
    for entry in all {
        let key = &entry.card.key;
        let (entry, mut names, frees_bytes) = store.plan_delete_entry(key)?;
        if args.dry_run {
            freed += frees_bytes;
        } else {
            let done = store.evict_entry(key, args.now, watch)?;
            names = done.names;
            freed += done.collected.freed_bytes;
            removed += done.collected.removed_blobs;
        }
        entries += 1;
        if context.out.json() {
            let line = line(if args.dry_run { "would_evict" } else { "evicted" }, &entry);
            context.out.tell(line.names(names.iter()).with("frees_bytes", frees_bytes));
        } else if args.dry_run || context.out.verbose() {
            context.out.say(&text::message(&key.to_string()));
        }
    }
    Ok((entries, freed, removed))
}
