//! `larder status`: files that are not as they were recorded, found without reading them.

use std::time::Duration;

use anyhow::Result;
use larder::work::status::{StatusOptions, StatusReport};

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::text;
use crate::cli::watch::Watch;

/// The arguments of `larder status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Size, modification time, inode and mode of every file are compared with what was recorded; no file is read. What is not \
the same is told (exit 3) and read first by the next `larder scrub`. A status change time (ctime) alone is no alarm: every \
new link sets it.

Example:
  larder status
  larder status --hints --json")]
pub(crate) struct Args {
    /// Name each blob of which the status change time alone is later than it was last read
    #[arg(long)]
    hints: bool,
}

/// Looks.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(Access::Hold)?;
    let watch = Watch::new(context).stopping_when_closed();
    let looked = store.status(&StatusOptions { hints: args.hints }, &watch);
    let time = watch.finish();
    let report = looked?;
    if context.out.json() {
        context.out.tell(line(&report, time));
    } else {
        context.out.summary(&summary(&report, time));
    }
    Ok(Exit::of_work(report.findings(), report.interrupted && !context.out.closed()))
}

fn line(report: &StatusReport, time: Duration) -> Line {
    Line::event("summary")
        .with("blobs", report.blobs)
        .with("carriers", report.carriers)
        .with("changed", report.changed)
        .with("missing", report.missing)
        .with("size", report.size)
        .with("mtime", report.mtime)
        .with("inode", report.inode)
        .with("mode", report.mode)
        .with("unreadable", report.unreadable)
        .with("copied", report.copied)
        .with("ctime_hints", report.hints)
        .with("queued", report.queued)
        .with("on_record", report.on_record)
        .with("interrupted", report.interrupted)
        .with("seconds", time.as_secs_f64())
}

fn summary(report: &StatusReport, time: Duration) -> String {
    let mut lines =
        vec![format!("Looked at {} in {}", text::count(report.blobs + report.carriers, "file"), text::took(time))];
    if report.copied {
        lines.push(
            "  all of them have other inodes than recorded: this store was copied, or restored; \
             `larder check --repair` reads them and records what they are now"
                .to_owned(),
        );
    }
    let rows = [
        (report.missing, "missing"),
        (report.size, "of another size"),
        (report.mtime, "with another mtime"),
        (if report.copied { 0 } else { report.inode }, "with another inode"),
        (report.mode, "with another mode, or writable"),
        (report.unreadable, "not to be looked at"),
    ];
    lines.extend(rows.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("  {n} {what}, named above")));
    if report.changed == 0 && !report.copied {
        lines.push("  all are as they were recorded".to_owned());
    }
    if report.queued > 0 {
        lines.push(format!("  {} first in the next `larder scrub`", text::count(report.queued, "blob")));
    }
    if report.hints > 0 {
        lines.push(format!(
            "  hint: {} with a later ctime alone, which every new link sets (--hints names them)",
            text::count(report.hints, "blob")
        ));
    }
    if report.on_record > 0 {
        lines.push(format!(
            "  {} of earlier reading on record: `larder repair` mends",
            text::count(report.on_record, "finding")
        ));
    }
    if report.interrupted {
        lines.push("  stopped before its end".to_owned());
    }
    lines.join("\n")
}
