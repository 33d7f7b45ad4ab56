//! `larder rm`: names away, the last ones of their blobs too.

use anyhow::Result;
use larder::work::names::{RemovePlan, RemoveReport};
use larder::{Digest, Name, Prefix};

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::watch::Watch;
use crate::cli::{text, words};

/// The arguments of `larder rm`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Only names go. A blob without a name stays until `larder gc` collects it, a day later unless told otherwise: until \
then `larder link DIGEST NAME` brings it back.

Example:
  larder rm models/old --dry-run
  larder rm models/old models/a.gguf")]
pub(crate) struct Args {
    /// Names, each with everything below it; `.` is everything
    #[arg(required = true, value_name = "NAME|PREFIX", value_parser = words::prefix())]
    what: Vec<Prefix>,
    /// Only show what would go
    #[arg(long)]
    dry_run: bool,
}

/// Removes.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(if args.dry_run { Access::Read } else { Access::Write })?;
    let plan = store.plan_remove(&args.what)?;
    if args.dry_run {
        let would =
            RemoveReport { names: plan.names.len() as u64, unrooted_blobs: plan.unrooted_blobs, interrupted: false };
        report(context, &plan, would, true);
        return Ok(Exit::Done);
    }
    let watch = Watch::new(context);
    let removed = store.remove(&plan, &watch);
    watch.finish();
    let removed = removed?;
    report(context, &plan, removed, false);
    if !context.out.json() {
        context.warn_of_scratch(&store);
    }
    Ok(Exit::of_work(0, removed.interrupted))
}

fn report(context: &Context, plan: &RemovePlan, report: RemoveReport, dry_run: bool) {
    // Which names are gone is known only when all of them are.
    if report.names == plan.names.len() as u64 {
        plan.names.iter().for_each(|name| show(context, name, dry_run));
    }
    if context.out.json() {
        let line = Line::event("summary")
            .with("dry_run", dry_run)
            .with("names", report.names)
            .with("names_planned", plan.names.len())
            .with("unrooted_blobs", report.unrooted_blobs)
            .with("reclaimable_bytes", plan.reclaimable_bytes)
            .with("interrupted", report.interrupted);
        return context.out.tell(line);
    }
    let names = text::count(report.names, "name");
    let what = if dry_run { format!("Would remove {names}") } else { format!("Removed {names}") };
    let blobs = text::count(report.unrooted_blobs, "blob");
    let frees = context.size(plan.reclaimable_bytes);
    context.out.summary(&format!("{what}; nothing keeps {blobs} then, and `larder gc` frees {frees} after its grace"));
}

fn show(context: &Context, (name, digest, size_bytes): &(Name, Digest, u64), dry_run: bool) {
    if context.out.json() {
        let line = Line::event(if dry_run { "would_remove" } else { "removed" }).name(name);
        context.out.tell(line.with("digest", digest.to_string()).with("size_bytes", size_bytes));
    } else if dry_run || context.out.verbose() {
        let size = context.size(*size_bytes);
        context.out.say(&format!("{size:>10}  {}  {}", text::short(digest), text::name(name)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Verbosity;
    use crate::cli::tests::context;

    #[test]
    fn names_are_told_one_by_one_and_then_together() {
        let names = vec![(Name::new("a").unwrap(), Digest::EMPTY, 3)];
        let plan = RemovePlan { names, unrooted_blobs: 1, reclaimable_bytes: 3 };
        let (context, out, _) = context("rm", true, Verbosity::Normal);
        report(&context, &plan, RemoveReport { names: 1, unrooted_blobs: 1, interrupted: false }, true);
        let lines: Vec<serde_json::Value> = out.text().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!((&lines[0]["event"], &lines[0]["name"]), (&"would_remove".into(), &"a".into()));
        assert_eq!((&lines[1]["event"], &lines[1]["dry_run"]), (&"summary".into(), &true.into()));
    }
}
