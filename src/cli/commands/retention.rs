//! `larder retention`: entries go by number and age.

use std::time::Duration;

use anyhow::Result;
use larder::store::Store;
use larder::vocabulary::entry::RetentionPolicy;
use larder::work::catalog::retention::{LetGo, RetentionPlan, RetentionReport};

use super::trash::{entries_word, line};
use crate::cli::context::{Access, Context};
use crate::cli::entries::Filter;
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::cli::json::Line;
use crate::cli::watch::Watch;
use crate::cli::{text, words};

/// The arguments of `larder retention`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What the other options choose is let go, unless --keep-last or --keep-within keeps it; at least one of these two, --older or \
--unused must be given. Without any option, what is older than catalog.retention_days goes. It goes into the trash, where \
`larder undelete` takes it back from; with --retire it stays as it is and is retired. What is pinned stays.

Example:
  larder retention --keep-last 3 --provider hf --dry-run
  larder retention --unused 90d --tag cache --keep-within 30d
  larder retention --keep-last 1 --pattern '*-nightly*' --retire")]
pub(crate) struct Args {
    #[command(flatten)]
    filter: Filter,
    /// Only with this text in key, title, tags, notes or source; a glob with `*`, `?` or `[`. Several times for several
    #[arg(long, value_name = "TEXT")]
    pattern: Vec<String>,
    /// Of each model or artifact, so many stay: those registered last
    #[arg(long, value_name = "N")]
    keep_last: Option<usize>,
    /// What was registered since this long ago stays: 12h, 30d
    #[arg(long, value_name = "AGE", value_parser = words::duration)]
    keep_within: Option<Duration>,
    /// Retire it, and leave its names and bytes alone
    #[arg(long)]
    retire: bool,
    /// Only show what would go
    #[arg(long)]
    dry_run: bool,
}

/// Lets go.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(if args.dry_run { Access::Read } else { Access::Write })?;
    let how = if args.retire { LetGo::Retire } else { LetGo::Trash };
    let plan = store.plan_retention(&policy(context, args, &store)?, how)?;
    if args.dry_run {
        let report = RetentionReport { entries: plan.entries.clone(), ..RetentionReport::default() };
        tell(context, args, &plan, &report);
        return Ok(Exit::Done);
    }
    let watch = Watch::new(context);
    let done = store.retain(&plan, how, &watch);
    watch.finish();
    let report = done?;
    tell(context, args, &plan, &report);
    context.warn_of_scratch(&store);
    Ok(Exit::of_work(0, report.interrupted))
}

/// What the options say, or, where none do, the store.
fn policy(context: &Context, args: &Args, store: &Store) -> Result<RetentionPolicy> {
    let mut policy = RetentionPolicy {
        select: args.filter.query(&args.pattern, context.machine.now_ns()),
        keep_last: args.keep_last,
        keep_within: args.keep_within,
    };
    if policy.check().is_ok() {
        return Ok(policy);
    }
    let days = store.options().catalog.retention_days;
    if policy == RetentionPolicy::default() && days > 0 {
        policy.keep_within = Some(Duration::from_secs(days * 24 * 3600));
        return Ok(policy);
    }
    let reason = match policy.select.trashed {
        true => "what is in the trash has been let go already",
        false => "it needs --keep-last, --keep-within, --older or --unused, or catalog.retention_days in the store",
    };
    Err(Fault::usage("let entries go", reason).into())
}

fn tell(context: &Context, args: &Args, plan: &RetentionPlan, report: &RetentionReport) {
    let event = match (args.dry_run, args.retire) {
        (true, true) => "would_retire",
        (true, false) => "would_trash",
        (false, true) => "retired",
        (false, false) => "trashed",
    };
    for entry in &report.entries {
        if context.out.json() {
            context.out.tell(line(event, entry).time("registered", entry.card.registered_ns));
        } else if args.dry_run || context.out.verbose() {
            let (size, when) = (context.size(entry.size_bytes()), text::time(entry.card.registered_ns));
            context.out.say(&format!("{size:>10}  {when}  {}", text::message(&entry.card.key.to_string())));
        }
    }
    if context.out.json() {
        let line = Line::event("summary")
            .with("dry_run", args.dry_run)
            .with("entries", report.entries.len())
            .with("pinned", plan.pinned)
            .with("left", report.left)
            .with("frees_bytes", plan.frees_bytes)
            .with("interrupted", report.interrupted);
        return context.out.tell(line);
    }
    let entries = entries_word(report.entries.len() as u64);
    let frees = context.size(plan.frees_bytes);
    let mut lines = vec![match (args.dry_run, args.retire) {
        (true, true) => format!("Would retire {entries}"),
        (false, true) => format!("Retired {entries}"),
        (true, false) => format!("Would put {entries} into the trash; emptying it frees {frees}"),
        (false, false) => {
            format!("Put {entries} into the trash; `{} trash empty` frees {frees}", context.again())
        }
    }];
    for (count, why) in [(plan.pinned, "pinned"), (report.left, "used or changed meanwhile")] {
        if count > 0 {
            lines.push(format!("  stays      {}, {why}", entries_word(count)));
        }
    }
    context.out.summary(&lines.join("\n"));
}
