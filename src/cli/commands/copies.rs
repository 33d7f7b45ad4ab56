//! `larder copies`: several copies of what matters.

use std::time::Duration;

use anyhow::Result;
use larder::vocabulary::limits::COPIES_MOST;
use larder::work::copies::{CopiesOptions, CopiesReport};

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::text;
use crate::cli::watch::Watch;
use crate::cli::words::{self, Scope};

/// The arguments of `larder copies`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each further copy is a file of its own with its own blocks, so that a bad sector does not take the last one. `larder \
verify` reads them, `larder repair` takes good bytes from them, and they go with their blob. 1 keeps the blob alone.

Example:
  larder copies 2 models/important
  larder copies 1 models/important --dry-run")]
pub(crate) struct Args {
    /// How many there are to be, the blob's own file included
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(COPIES_MOST)))]
    copies: u32,
    /// Names with everything below them, or digests (sha256:…); `.` is everything
    #[arg(required = true, value_name = "NAME|DIGEST", value_parser = words::scope())]
    what: Vec<Scope>,
    /// Only show what would be made and removed
    #[arg(long)]
    dry_run: bool,
}

/// Makes copies, or removes them.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(if args.dry_run { Access::Read } else { Access::Write })?;
    let (digests, prefixes) = words::split(&args.what);
    let options = CopiesOptions { copies: args.copies, dry_run: args.dry_run };
    let watch = Watch::new(context);
    let done = store.copies(&digests, &prefixes, &options, &watch);
    let time = watch.finish();
    let report = done?;
    if context.out.json() {
        context.out.tell(line(&report, args.dry_run, time));
    } else {
        context.out.summary(&summary(context, &report, args.dry_run));
        context.warn_of_scratch(&store);
    }
    Ok(Exit::of_work(report.failed, report.interrupted))
}

fn line(report: &CopiesReport, dry_run: bool, time: Duration) -> Line {
    Line::event("summary")
        .with("dry_run", dry_run)
        .with("blobs", report.blobs)
        .with("made", report.made)
        .with("made_bytes", report.made_bytes)
        .with("removed", report.removed)
        .with("removed_bytes", report.removed_bytes)
        .with("failed", report.failed)
        .with("interrupted", report.interrupted)
        .with("seconds", time.as_secs_f64())
}

fn summary(context: &Context, report: &CopiesReport, dry_run: bool) -> String {
    let count = |n: u64, bytes: u64| format!("{} of {}", text::count(n, "carrier"), context.size(bytes));
    let (made, removed) = (count(report.made, report.made_bytes), count(report.removed, report.removed_bytes));
    let (make, remove) = if dry_run { ("Would make", "would remove") } else { ("Made", "removed") };
    let mut lines = vec![format!("{make} {made}, {remove} {removed}, of {}", text::count(report.blobs, "blob"))];
    if report.failed > 0 {
        lines.push(format!("  {} left as they were, told above", text::count(report.failed, "blob")));
    }
    if report.interrupted {
        lines.push("  stopped before its end".to_owned());
    }
    lines.join("\n")
}
