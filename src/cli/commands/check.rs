//! `larder check`: the structure of the store, without reading blobs.

use std::time::Duration;

use anyhow::Result;
use larder::work::check::CheckReport;

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

Example:
  larder check
  larder check --json")]
pub(crate) struct Args {}

/// Checks.
pub(crate) fn run(context: &Context, _: &Args) -> Result<Exit> {
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
    let codes = report.by_code.iter().fold(Line::part(), |part, (code, count)| part.with(code.word(), count));
    Line::event("summary")
        .with("blobs", report.blobs)
        .with("names", report.names)
        .with("frames", report.frames)
        .with("findings", report.findings)
        .object("codes", codes)
        .with("interrupted", report.interrupted)
        .with("seconds", time.as_secs_f64())
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
