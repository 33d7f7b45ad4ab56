//! `larder repair`: good bytes in the place of damaged ones.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use larder::work::repair::{RepairOptions, RepairReport, RepairScope};

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::mended::HELP;
use crate::cli::text;
use crate::cli::watch::Watch;
use crate::cli::words::{self, Scope};

/// The arguments of `larder repair`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Good bytes are looked for in further copies that the store keeps, in the files that a blob was added from, and in what \
--from offers; they are copied and hashed before they are used. The bad file goes to quarantine. What cannot be \
repaired is told (exit 3).

Example:
  larder repair
  larder repair sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --from /mnt/backup
  larder repair --all --from /other/store --dry-run")]
pub(crate) struct Args {
    /// Names with everything below them, or digests (sha256:…); nothing is what is known to be wrong
    #[arg(value_name = "NAME|DIGEST", value_parser = words::scope())]
    what: Vec<Scope>,
    /// Read every blob, and repair what is wrong
    #[arg(long, conflicts_with = "what")]
    all: bool,
    /// A file, a directory or another store that may have good bytes; may be given several times
    #[arg(long, value_name = "PATH")]
    from: Vec<PathBuf>,
    /// Only show what would be repaired, and from where
    #[arg(long)]
    dry_run: bool,
}

/// Repairs.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(if args.dry_run { Access::Read } else { Access::Write })?;
    let options = RepairOptions { from: args.from.clone(), dry_run: args.dry_run };
    let watch = Watch::new(context);
    let repaired = store.repair(&scope(args), &options, &watch);
    let time = watch.finish();
    let report = repaired?;
    if context.out.json() {
        context.out.tell(summary_line(&report, args.dry_run, time));
    } else {
        context.out.summary(&summary(context, &report, args.dry_run));
        context.warn_of_scratch(&store);
    }
    Ok(Exit::of_work(report.unrepaired, report.interrupted))
}

fn scope(args: &Args) -> RepairScope {
    if args.what.is_empty() {
        return if args.all { RepairScope::All } else { RepairScope::Known };
    }
    let (targets, prefixes) = words::split(&args.what);
    RepairScope::Named { targets, prefixes }
}

fn summary_line(report: &RepairReport, dry_run: bool, time: Duration) -> Line {
    Line::event("summary")
        .with("dry_run", dry_run)
        .with("sound", report.sound)
        .with("repaired", report.repaired)
        .with("carriers", report.carriers)
        .with("repaired_bytes", report.repaired_bytes)
        .with("unrepaired", report.unrepaired)
        .with("outside_links", report.outside_links)
        .with("interrupted", report.interrupted)
        .with("seconds", time.as_secs_f64())
}

fn summary(context: &Context, report: &RepairReport, dry_run: bool) -> String {
    let did = if dry_run { "Would repair" } else { "Repaired" };
    let (blobs, size) = (text::count(report.repaired, "blob"), context.size(report.repaired_bytes));
    let mut lines = vec![format!("{did} {blobs}, {size}")];
    if report.sound > 0 {
        lines.push(format!("  {} read and good", text::count(report.sound, "blob")));
    }
    if report.carriers > 0 {
        lines.push(format!("  {} made anew", text::count(report.carriers, "carrier")));
    }
    if report.unrepaired > 0 {
        lines.push(format!("  {} could not be: {HELP}", text::count(report.unrepaired, "blob")));
    }
    if report.outside_links > 0 {
        let links = text::count(report.outside_links, "link");
        lines.push(format!("  {links} outside the store keep bad bytes: `larder get --replace` makes such files anew"));
    }
    if report.interrupted {
        lines.push("  stopped before its end".to_owned());
    }
    lines.join("\n")
}
