//! `larder check`: the structure of the store, without reading blobs.

use std::time::Duration;

use anyhow::Result;
use larder::work::check::CheckReport;
use larder::work::mend::{self, MendReport};
use larder::{Event, Observer as _};

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::text;
use crate::cli::watch::Watch;

/// The arguments of `larder check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Journal, index, blobs, names and staging are compared with each other, in little time: no blob is read. Nothing is \
changed, and others may write meanwhile. What is wrong has a code, which docs/format.md explains (exit 3).

With --repair it is mended where larder can know what is right; blobs are read where their record does not fit. What is \
left after that is told (exit 3).

Example:
  larder check
  larder check --repair --dry-run
  larder check --repair")]
pub(crate) struct Args {
    /// Mend what is found
    #[arg(long)]
    repair: bool,
    /// Only show what would be mended, and how
    #[arg(long, requires = "repair")]
    dry_run: bool,
}

/// Checks.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    match (args.repair, args.dry_run) {
        (false, _) => check(context),
        (true, true) => plan(context),
        (true, false) => repair(context),
    }
}

fn plan(context: &Context) -> Result<Exit> {
    let store = context.open(Access::Read)?;
    let watch = Watch::new(context);
    let planned = store.plan_mend(&watch);
    let time = watch.finish();
    let plan = planned?;
    for finding in &plan.mendable {
        let (finding, how) = (finding.clone(), mend::how(finding.code));
        watch.event(&Event::Mended { finding, how, planned: true });
    }
    plan.left.iter().for_each(|finding| watch.event(&Event::Found(finding.clone())));
    let (mendable, left) = (plan.mendable.len() as u64, plan.left.len() as u64);
    if context.out.json() {
        let summary = Line::event("summary").with("dry_run", true).with("would_mend", mendable).with("left", left);
        context.out.tell(summary.with("interrupted", plan.check.interrupted).with("seconds", time.as_secs_f64()));
    } else {
        let left = if left > 0 { format!("; {} stay", text::count(left, "finding")) } else { String::new() };
        context.out.summary(&format!("Would mend {}{left}", text::count(mendable, "finding")));
    }
    Ok(Exit::of_work(plan.check.findings, plan.check.interrupted))
}

fn repair(context: &Context) -> Result<Exit> {
    let store = context.open(Access::Write)?;
    let watch = Watch::new(context);
    let mended = store.mend(&watch);
    let time = watch.finish();
    let report = mended?;
    if context.out.json() {
        context.out.tell(mended_line(&report, time));
    } else {
        context.out.summary(&mended_words(&report, time));
        context.warn_of_scratch(&store);
    }
    Ok(Exit::of_work(report.after.findings + report.failed, report.interrupted))
}

fn mended_line(report: &MendReport, time: Duration) -> Line {
    Line::event("summary")
        .with("dry_run", false)
        .with("mended", report.mended)
        .with("failed", report.failed)
        .with("pinned", report.pinned)
        .with("matched", report.matched)
        .with("lifted", report.lifted)
        .with("findings", report.after.findings)
        .object("codes", codes(&report.after))
        .with("interrupted", report.interrupted)
        .with("seconds", time.as_secs_f64())
}

fn mended_words(report: &MendReport, time: Duration) -> String {
    let mut lines = vec![format!("Mended {} in {}", text::count(report.mended, "finding"), text::took(time))];
    if report.lifted > 0 {
        lines.push("  the journal is whole again, and collection goes on".to_owned());
    }
    if report.pinned > 0 {
        let blobs = text::count(report.pinned, "blob");
        lines.push(format!("  pinned      {blobs} whose names may be lost: `larder unpin` lets go of one"));
    }
    match report.after.findings {
        0 => lines.push("  everything agrees".to_owned()),
        left => lines.push(format!("  left        {}, named above", text::count(left, "finding"))),
    }
    if report.interrupted {
        lines.push("  stopped before its end; the same command goes on from there".to_owned());
    }
    lines.join("\n")
}

fn check(context: &Context) -> Result<Exit> {
    let store = context.open(Access::Read)?;
    let watch = Watch::new(context).stopping_when_closed();
    let checked = store.check(&watch);
    let time = watch.finish();
    let report = checked?;
    if context.out.json() {
        context.out.tell(line(&report, time));
    } else {
        context.out.summary(&words(&report, time));
    }
    let stopped_by_the_user = report.interrupted && !context.out.closed();
    Ok(Exit::of_work(report.findings, stopped_by_the_user))
}

fn line(report: &CheckReport, time: Duration) -> Line {
    Line::event("summary")
        .with("blobs", report.blobs)
        .with("names", report.names)
        .with("frames", report.frames)
        .with("findings", report.findings)
        .object("codes", codes(report))
        .with("interrupted", report.interrupted)
        .with("seconds", time.as_secs_f64())
}

/// How many findings there are of each code.
fn codes(report: &CheckReport) -> Line {
    report.by_code.iter().fold(Line::part(), |part, (code, count)| part.with(code.word(), count))
}

fn words(report: &CheckReport, time: Duration) -> String {
    let (blobs, names) = (text::count(report.blobs, "blob"), text::count(report.names, "name"));
    let frames = text::count(report.frames, "frame");
    let mut lines = vec![format!("Checked {blobs}, {names} and {frames} in {}", text::took(time))];
    match report.findings {
        0 if report.interrupted => {}
        0 => lines.push("  everything agrees".to_owned()),
        _ => lines.extend(report.by_code.iter().map(|(code, count)| format!("  {:18}  {count}", code.word()))),
    }
    if report.interrupted {
        lines.push("  stopped before its end".to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use larder::FindingCode;

    use super::*;

    #[test]
    fn findings_are_counted_by_code() {
        let by_code = [(FindingCode::Orphan, 2)].into();
        let report = CheckReport { blobs: 9, findings: 2, by_code, ..CheckReport::default() };
        let value: serde_json::Value = serde_json::from_str(&line(&report, Duration::ZERO).close()).unwrap();
        assert_eq!((&value["findings"], &value["codes"]["orphan"]), (&2.into(), &2.into()));
        assert!(words(&report, Duration::ZERO).contains("orphan"));
        assert!(words(&CheckReport::default(), Duration::ZERO).ends_with("everything agrees"));
    }
}
