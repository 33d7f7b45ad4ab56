//! `larder compact`: the journal without what is over.

use anyhow::Result;

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::text;
use crate::cli::watch::Watch;

/// The arguments of `larder compact`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The previous generation of the journal stays until the next compaction.

Example:
  larder compact")]
pub(crate) struct Args {}

/// Compacts.
pub(crate) fn run(context: &Context, _: &Args) -> Result<Exit> {
    let store = context.open(Access::Write)?;
    let watch = Watch::new(context);
    let compacted = store.compact(&watch);
    let time = watch.finish();
    let report = compacted?;
    if context.out.json() {
        let line = Line::event("summary")
            .with("bytes_before", report.bytes_before)
            .with("bytes_after", report.bytes_after)
            .with("records", report.records)
            .with("seconds", time.as_secs_f64());
        context.out.object(line)?;
    } else {
        context.out.summary(&format!(
            "Compacted the journal from {} to {}, {}, in {}",
            context.size(report.bytes_before),
            context.size(report.bytes_after),
            text::count(report.records, "record"),
            text::took(time)
        ));
    }
    Ok(Exit::Done)
}
