//! `larder gc`: removes blobs that nothing keeps.

use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use larder::machine::{Machine, Open};
use larder::store::Store;
use larder::vocabulary::limits;
use larder::work::catalog::trash::{EmptyPlan, EmptyReport, InTrash};
use larder::work::collect::{CollectOptions, CollectReport, Doomed};
use larder::{Error, ErrorKind};

use super::plan::{Expired, Written};
use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::input::FromStart;
use crate::cli::json::Line;
use crate::cli::watch::Watch;
use crate::cli::{text, words};

/// Rows of a preview in one table.
const TABLE_ROWS: usize = 1024;

/// The arguments of `larder gc`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A blob without a name, pin or running work is removed once its grace is over. Nothing at all is removed when a root \
cannot be read (exit 5), or when it would be more than half of a store of over 100 blobs, unless --yes-most is given. \
Entries that have been in the trash for long enough are removed after that; the grace of what only they kept begins then.

Example:
  larder gc --dry-run
  larder gc --dry-run --json > plan.json && larder gc --plan plan.json
  larder gc --grace 0s")]
pub(crate) struct Args {
    /// How long a blob stays after it lost its last root: 0s, 12h [default: 1day]
    #[arg(long, value_name = "TIME", value_parser = words::duration)]
    grace: Option<Duration>,
    /// How long a file that no record knows stays after it was first seen [default: catalog.orphan_ttl_days]
    #[arg(long, value_name = "TIME", value_parser = words::duration)]
    orphan_ttl: Option<Duration>,
    /// How long an entry stays in the trash [default: limits.trash_ttl_days]
    #[arg(long, value_name = "TIME", value_parser = words::duration)]
    trash_ttl: Option<Duration>,
    /// Only show what would go; with --json, as a plan
    #[arg(long, conflicts_with = "plan")]
    dry_run: bool,
    /// Remove exactly what this plan says (from --dry-run --json; `-` is standard input)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["grace", "orphan_ttl", "trash_ttl"])]
    plan: Option<PathBuf>,
    /// Remove more than half of a store
    #[arg(long)]
    yes_most: bool,
}

impl Args {
    fn expired(&self, store: &Store) -> larder::Result<EmptyPlan> {
        let days = store.options().limits.trash_ttl_days;
        store.plan_empty_trash(self.trash_ttl.unwrap_or(Duration::from_secs(days * 24 * 3600)))
    }

    fn options(&self, store: &Store) -> CollectOptions {
        let days = store.options().catalog.orphan_ttl_days;
        CollectOptions {
            grace: self.grace.unwrap_or(limits::GRACE),
            orphan_ttl: self.orphan_ttl.unwrap_or(Duration::from_secs(days * 24 * 3600)),
            yes_most: self.yes_most,
        }
    }
}

/// Collects.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    match &args.plan {
        Some(path) => {
            let written = read(&*context.machine, path)?;
            let grace = Duration::from_secs(written.plan.grace_seconds);
            let options = CollectOptions { grace, orphan_ttl: written.orphan_ttl, yes_most: args.yes_most };
            let store = context.open(Access::Write)?;
            collect(context, &store, &options, Some(&written), &planned(&store, &written.expired)?)
        }
        None if args.dry_run => {
            let store = context.open(Access::Read)?;
            let options = args.options(&store);
            let plan = store.plan_collect(&options)?;
            let expired = args.expired(&store)?.entries.iter().map(Expired::of).collect();
            show(context, &Written { plan, orphan_ttl: options.orphan_ttl, expired })
        }
        None => {
            let store = context.open(Access::Write)?;
            collect(context, &store, &args.options(&store), None, &args.expired(&store)?)
        }
    }
}

/// The entries that a plan says, which must be in the trash as they were.
fn planned(store: &Store, expired: &[Expired]) -> larder::Result<EmptyPlan> {
    let mut plan = store.plan_empty_trash(Duration::ZERO)?;
    let is = |one: &InTrash, planned: &Expired| {
        (one.entry.id().to_string(), one.since_sequence()) == (planned.id.clone(), planned.since_sequence)
    };
    if let Some(gone) = expired.iter().find(|planned| !plan.entries.iter().any(|one| is(one, planned))) {
        let reason = format!("the store has outgrown the plan: {} is not in the trash as it was", gone.key);
        return Err(Error::new(ErrorKind::Refused, "collect", reason));
    }
    plan.entries.retain(|one| expired.iter().any(|planned| is(one, planned)));
    Ok(plan)
}

fn read(machine: &dyn Machine, path: &Path) -> larder::Result<Written> {
    if path.as_os_str() == "-" {
        return Written::read(io::stdin().lock(), path);
    }
    let opened = machine.canonical(path).and_then(|real| machine.open(&real, Open::Read));
    let file = opened.map_err(|e| Error::io("read the plan", path, e))?;
    Written::read(BufReader::new(FromStart::new(file)), path)
}

fn show(context: &Context, written: &Written) -> Result<Exit> {
    if context.out.json() {
        written.lines().try_for_each(|line| context.out.object(line))?;
        return Ok(Exit::Done);
    }
    let plan = &written.plan;
    let row = |doomed: &Doomed| {
        let remark = match doomed.outside_links {
            0 => String::new(),
            links => format!("{} outside the store", text::count(links, "link")),
        };
        let (size, frees) = (context.size(doomed.size_bytes), context.size(doomed.frees_bytes));
        vec![size, frees, doomed.rule.word().to_owned(), doomed.digest.to_string(), remark]
    };
    // A table takes a kilobyte for each of its rows.
    for part in plan.doomed.chunks(TABLE_ROWS) {
        context.out.line(&text::table(&["size", "frees", "rule", "digest", ""], &[0, 1], part.iter().map(row)))?;
    }
    let (bytes, frees) = written.bytes();
    let blobs = text::count(plan.doomed.len() as u64, "blob");
    let amount = format!("{blobs} of {}, {}, really freeing {}", plan.blobs, context.size(bytes), context.size(frees));
    context.out.summary(&format!("Would remove {amount}; {} still in grace", text::count(plan.in_grace, "blob")));
    for expired in &written.expired {
        context.out.summary(&format!("  trash      {} would go for good", text::message(&expired.key)));
    }
    Ok(Exit::Done)
}

/// Collects, then removes what has been in the trash for long enough: a preview that was made before is what is done.
fn collect(
    context: &Context,
    store: &Store,
    options: &CollectOptions,
    plan: Option<&Written>,
    expired: &EmptyPlan,
) -> Result<Exit> {
    let watch = Watch::new(context);
    let collected = store.collect(plan.map(|written| &written.plan), options, &watch);
    let emptied = match &collected {
        Ok(report) if !report.interrupted => store.empty_trash(expired, false, &watch),
        _ => Ok(EmptyReport::default()),
    };
    let time = watch.finish();
    let (mut report, emptied) = (collected?, emptied?);
    report.interrupted |= emptied.interrupted;
    super::trash::removed(context, expired, &emptied);
    if context.out.json() {
        for (digest, by) in &report.held {
            context.out.tell(Line::event("held").with("digest", digest.to_string()).with("by", by));
        }
        context.out.tell(line(&report, time).with("expired_entries", emptied.removed.len()));
    } else {
        context.out.summary(&words(context, &report));
        let count = emptied.removed.len();
        if count > 0 {
            let entries = if count == 1 { "entry" } else { "entries" };
            context.out.summary(&format!("  trash      {count} {entries} removed for good"));
        }
        context.warn_of_scratch(store);
    }
    Ok(Exit::of_work(0, report.interrupted))
}

fn line(report: &CollectReport, time: Duration) -> Line {
    Line::event("summary")
        .with("dry_run", false)
        .with("removed_blobs", report.removed_blobs)
        .with("removed_bytes", report.removed_bytes)
        .with("freed_bytes", report.freed_bytes)
        .with("held_blobs", report.held.len())
        .with("in_grace", report.in_grace)
        .with("dead_sessions", report.dead_sessions)
        .with("interrupted", report.interrupted)
        .with("seconds", time.as_secs_f64())
}

fn words(context: &Context, report: &CollectReport) -> String {
    let removed = text::count(report.removed_blobs, "blob");
    let (bytes, freed) = (context.size(report.removed_bytes), context.size(report.freed_bytes));
    let mut lines = vec![format!("Removed {removed}, {bytes}, and really freed {freed}")];
    if report.freed_bytes < report.removed_bytes {
        lines.push("  the rest is held by links outside the store".to_owned());
    }
    if report.in_grace > 0 {
        let blobs = text::count(report.in_grace, "blob");
        lines.push(format!("  in grace   {blobs}, removed later (at once with --grace 0s)"));
    }
    if report.dead_sessions > 0 {
        lines.push(format!("  cleaned up {}, of processes that died", text::count(report.dead_sessions, "session")));
    }
    if !report.held.is_empty() {
        lines.push(format!("  held       {}, by running work:", text::count(report.held.len() as u64, "blob")));
        lines.extend(
            report.held.iter().map(|(digest, by)| format!("    {} by {}", text::short(digest), text::message(by))),
        );
    }
    if report.interrupted {
        lines.push("  stopped    before its end; what is counted here is done".to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Verbosity;
    use crate::cli::tests::context;

    #[test]
    fn what_running_work_holds_is_named() {
        let (context, ..) = context("gc", false, Verbosity::Normal);
        let held = vec![(larder::Digest::EMPTY, "session 1 (process 7)".to_owned())];
        let report = CollectReport { removed_blobs: 2, removed_bytes: 10, held, ..CollectReport::default() };
        let text = words(&context, &report);
        assert!(text.starts_with("Removed 2 blobs, 10 B, and really freed 0 B\n"), "{text}");
        assert!(text.contains("held by links outside") && text.contains("e3b0c44298fc by session 1 (process 7)"));
    }
}
