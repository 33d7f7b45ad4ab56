//! `larder rebuild`: the index anew from the journal, or both from the disk.

use std::time::Duration;

use anyhow::Result;
use larder::store::Store;
use larder::work::from_disk::{FromDisk, LOST};

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::text;
use crate::cli::watch::Watch;

/// The arguments of `larder rebuild`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The index holds nothing that the journal does not: making it anew is always safe, and so is deleting it.

With --from-disk the journal is gone as well. Blobs and hardlinked names come back as they are on the disk; what only \
the journal knew is listed as lost. `larder verify` then tells whether the blobs are what they claim to be.

Example:
  larder rebuild
  larder rebuild --from-disk")]
pub(crate) struct Args {
    /// Make the journal itself anew, from blobs and names on the disk
    #[arg(long)]
    from_disk: bool,
    /// Do so although the journal still says something: the old one is kept in quarantine/
    #[arg(long, requires = "from_disk")]
    discard_journal: bool,
}

/// Rebuilds.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    if args.from_disk { from_disk(context, args) } else { from_journal(context) }
}

fn from_journal(context: &Context) -> Result<Exit> {
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

fn from_disk(context: &Context, args: &Args) -> Result<Exit> {
    let directory = context.directory()?;
    let watch = Watch::new(context);
    let options = context.options(false)?;
    let machine = context.machine.clone();
    let rebuilt = Store::rebuild_from_disk(machine, &directory, args.discard_journal, &options, &watch);
    let time = watch.finish();
    let (_, report) = rebuilt?;
    if context.out.json() {
        context.out.object(line(&report, time))?;
    } else {
        context.out.summary(&words(context, &report, time));
    }
    Ok(Exit::of_work(report.foreign + u64::from(report.from_index), context.interrupt.asked()))
}

/// What is lost: nothing where the journal or the index had it.
fn lost(report: &FromDisk) -> &'static [&'static str] {
    if report.only_settings || report.from_index { &[] } else { &LOST }
}

fn line(report: &FromDisk, time: Duration) -> Line {
    Line::event("summary")
        .with("blobs", report.blobs)
        .with("names", report.names)
        .with("copied_names", report.copied_names)
        .with("carriers", report.carriers)
        .with("foreign", report.foreign)
        .with("pinned", report.pinned)
        .with("modes", report.modes)
        .with("from_index", report.from_index)
        .with("only_settings", report.only_settings)
        .with("lost", lost(report))
        .with("old_journal", report.old_journal.as_ref().map(|path| text::path(path)))
        .with("seconds", time.as_secs_f64())
}

fn words(context: &Context, report: &FromDisk, time: Duration) -> String {
    let again = context.again();
    if report.only_settings {
        return format!("The journal is good: made larder.toml again in {}", text::took(time));
    }
    let mut lines = vec![format!("Made the journal anew in {}", text::took(time))];
    if report.from_index {
        lines[0] += ", from the index";
        lines.push(format!("  nothing is collected until `{again} check --repair` has looked for what came after it"));
    } else {
        let (blobs, names) = (text::count(report.blobs, "blob"), text::count(report.names, "name"));
        lines.push(format!("  came back   {blobs}, {names}"));
        if report.carriers > 0 {
            lines.push(format!("              and {} of these blobs", text::count(report.carriers, "more file")));
        }
        lines.push(format!("  unverified  every blob: `{again} verify` hashes them"));
    }
    if report.copied_names > 0 {
        lines.push(format!("  matched     {} that were copies", text::count(report.copied_names, "name")));
    }
    if report.pinned > 0 {
        lines.push(format!("  pinned      {} without a name", text::count(report.pinned, "blob")));
    }
    if report.foreign > 0 {
        lines.push(format!("  not taken   {}, named above", text::count(report.foreign, "file")));
    }
    lines.extend(report.old_journal.as_ref().map(|path| format!("  the old journal is in {}", text::path(path))));
    if !lost(report).is_empty() {
        lines.push("  lost:".to_owned());
        lines.extend(lost(report).iter().map(|what| format!("    {what}")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Verbosity;
    use crate::cli::tests::context;

    #[test]
    fn what_is_lost_is_listed_unless_the_index_had_it() {
        let (context, ..) = context("rebuild", false, Verbosity::Normal);
        let report = FromDisk { blobs: 3, names: 2, pinned: 1, ..FromDisk::default() };
        let told = words(&context, &report, Duration::ZERO);
        assert!(LOST.iter().all(|what| told.contains(what)), "{told}");
        let report = FromDisk { from_index: true, ..report };
        let told = words(&context, &report, Duration::ZERO);
        assert!(!LOST.iter().any(|what| told.contains(what)) && told.contains("check --repair"), "{told}");
        let value: serde_json::Value = serde_json::from_str(&line(&report, Duration::ZERO).close()).unwrap();
        assert_eq!((&value["from_index"], &value["lost"]), (&true.into(), &serde_json::json!([])));
    }
}
