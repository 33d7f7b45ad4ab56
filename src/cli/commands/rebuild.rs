//! `larder rebuild`: the index anew from the journal.

use anyhow::Result;

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::text;
use crate::cli::watch::Watch;

/// The arguments of `larder rebuild`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The index holds nothing that the journal does not: making it anew is always safe, and so is deleting it.

Example:
  larder rebuild")]
pub(crate) struct Args {}

/// Rebuilds.
pub(crate) fn run(context: &Context, _: &Args) -> Result<Exit> {
    let store = context.open(Access::Write)?;
    let watch = Watch::new(context);
    let rebuilt = store.rebuild(&watch);
    let time = watch.finish();
    let report = rebuilt?;
    if context.out.json() {
        let line = Line::event("summary")
            .with("frames", report.frames)
            .with("records", report.records)
            .with("index_bytes", report.index_bytes)
            .with("seconds", time.as_secs_f64());
        context.out.object(line)?;
    } else {
        context.out.summary(&format!(
            "Rebuilt the index from {}, {}: {} in {}",
            text::count(report.frames, "frame"),
            text::count(report.records, "record"),
            context.size(report.index_bytes),
            text::took(time)
        ));
    }
    Ok(Exit::Done)
}
