//! `larder scrub`: everything read, over time and out of the way.

use std::time::Duration;

use anyhow::Result;
use larder::format::record::scrub::PassState;
use larder::store::Store;
use larder::work::scrub::{Coverage, Sample, ScrubEnd, ScrubOptions, ScrubReport, ScrubStatus, Wanting};

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::watch::Watch;
use crate::cli::{text, words};

/// The arguments of `larder scrub`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What was seen changed by `larder status` is read first, then what was never read back, then what was read longest ago; of \
one day, what is pinned before what an entry keeps, then what has a name. How far a scrub has come is on record: one that \
was broken off, by a kill or a power cut too, goes on. What is found stays on record until it is mended (exit 3).

Example:
  larder scrub
  larder scrub --max-age 30d --max-duration 6h --rate 50MiB
  larder scrub --status
  larder scrub --pause")]
pub(crate) struct Args {
    /// `status`, `pause`, `resume` or `stop`: the same as the option of that name
    #[arg(value_enum, value_name = "WHAT", conflicts_with_all = ["status", "pause", "resume", "stop"])]
    what: Option<Word>,
    /// Tell how scrubs stand, and read nothing
    #[arg(long, group = "control")]
    status: bool,
    /// A running scrub waits, and none begins, until --resume
    #[arg(long, group = "control")]
    pause: bool,
    /// Scrubs go on
    #[arg(long, group = "control")]
    resume: bool,
    /// A running scrub ends, and the next one begins anew
    #[arg(long, group = "control")]
    stop: bool,
    /// Compare with SHA-256, not with the BLAKE3 on record
    #[arg(long, conflicts_with = "control")]
    sha256: bool,
    /// Leave out what was verified within this time: 30d
    #[arg(long, value_name = "TIME", value_parser = words::duration)]
    max_age: Option<Duration>,
    /// End after this time: 6h
    #[arg(long, value_name = "TIME", value_parser = words::duration, conflicts_with = "control")]
    max_duration: Option<Duration>,
    /// Read a part alone, by chance: 5% of the blobs, or so many
    #[arg(long, value_name = "PERCENT|N", value_parser = sample, conflicts_with = "control")]
    sample: Option<Sample>,
    /// Read at most so much a second: 50MiB
    #[arg(long, value_name = "SIZE", value_parser = words::size, conflicts_with = "control")]
    rate: Option<u64>,
}

/// What is said in place of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Word {
    Status,
    Pause,
    Resume,
    Stop,
}

impl Args {
    fn word(&self) -> Option<Word> {
        let said = [
            (self.status, Word::Status),
            (self.pause, Word::Pause),
            (self.resume, Word::Resume),
            (self.stop, Word::Stop),
        ];
        self.what.or_else(|| said.iter().find(|(is, _)| *is).map(|(_, word)| *word))
    }

    fn options(&self) -> ScrubOptions {
        let Args { sha256, max_age, max_duration, sample, rate, .. } = *self;
        ScrubOptions { sha256, max_age, max_duration, sample, rate }
    }
}

/// A share or a number of blobs.
fn sample(text: &str) -> Result<Sample, String> {
    let bad = || format!("{text:?} is neither a share, as 5%, nor a number of blobs");
    match text.strip_suffix('%') {
        Some(percent) => {
            let percent: f64 = percent.trim().parse().map_err(|_| bad())?;
            if (0.0..=100.0).contains(&percent) { Ok(Sample::Share(percent / 100.0)) } else { Err(bad()) }
        }
        None => text.parse().map(Sample::Blobs).map_err(|_| bad()),
    }
}

/// Scrubs, or tells of scrubs.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    match args.word() {
        None => scrub(context, args),
        Some(Word::Status) => {
            let status = context.open(Access::Read)?.scrub_status(args.max_age)?;
            tell(context, &status)?;
            Ok(Exit::of_work(status.findings, false))
        }
        Some(word) => {
            let store = context.open(Access::Write)?;
            store.want_of_scrubs(match word {
                Word::Pause => Wanting::Pause,
                Word::Stop => Wanting::Stop,
                Word::Resume | Word::Status => Wanting::Resume,
            })?;
            tell(context, &store.scrub_status(args.max_age)?)?;
            Ok(Exit::Done)
        }
    }
}

fn scrub(context: &Context, args: &Args) -> Result<Exit> {
    let store: Store = context.open(Access::Hold)?;
    let watch = Watch::new(context).stopping_when_closed();
    let scrubbed = store.scrub(&args.options(), &watch);
    let time = watch.finish();
    let report = scrubbed?;
    if context.out.json() {
        context.out.tell(line(&report, time));
    } else {
        context.out.summary(&summary(context, &report, time));
    }
    let stopped_by_the_user = report.end == ScrubEnd::Interrupted && !context.out.closed();
    Ok(Exit::of_work(report.findings(), stopped_by_the_user))
}

fn line(report: &ScrubReport, time: Duration) -> Line {
    Line::event("summary")
        .with("end", report.end.word())
        .with("pass", report.pass)
        .with("resumed", report.resumed)
        .with("blobs", report.blobs)
        .with("bytes", report.bytes)
        .with("ok", report.ok)
        .with("corrupt", report.corrupt)
        .with("missing", report.missing)
        .with("unreadable", report.unreadable)
        .with("bad_carriers", report.bad_carriers)
        .with("left_blobs", report.left_blobs)
        .with("left_bytes", report.left_bytes)
        .object("coverage", coverage(&report.coverage))
        .with("interrupted", report.end == ScrubEnd::Interrupted)
        .with("seconds", time.as_secs_f64())
}

fn coverage(coverage: &Coverage) -> Line {
    let line = Line::part()
        .with("within_seconds", coverage.within.map(|age| age.as_secs()))
        .with("blobs", coverage.blobs)
        .with("bytes", coverage.bytes)
        .with("all_blobs", coverage.all_blobs)
        .with("all_bytes", coverage.all_bytes)
        .with("never", coverage.never);
    match coverage.oldest_ns {
        Some(oldest) => line.time("oldest", oldest),
        None => line.with("oldest", ()),
    }
}

fn summary(context: &Context, report: &ScrubReport, time: Duration) -> String {
    let speed = text::size((report.bytes as f64 / time.as_secs_f64().max(1e-3)) as u64, false);
    let (blobs, took) = (text::count(report.blobs, "blob"), text::took(time));
    let mut lines = vec![format!("Scrubbed {blobs}, {}, in {took}: {speed}/s", context.size(report.bytes))];
    let rows = [(report.corrupt, "corrupt"), (report.missing, "missing"), (report.unreadable, "unreadable")];
    lines.extend(rows.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("  {word:10}  {n}, named above")));
    if report.bad_carriers > 0 {
        lines.push(format!("  carriers    {} are not good, named above", report.bad_carriers));
    }
    match report.findings() {
        0 => lines.push(format!("  all {} are good", report.ok)),
        _ => lines.push("  `larder repair` puts good copies in their place; until then they stay on record".to_owned()),
    }
    let left = format!("{} ({}) left", text::count(report.left_blobs, "blob"), context.size(report.left_bytes));
    match report.end {
        ScrubEnd::Done => {}
        ScrubEnd::Interrupted => lines.push(format!("  stopped before its end: {left}; the next scrub goes on")),
        ScrubEnd::TimeOver => lines.push(format!("  its time is over: {left}; the next scrub goes on")),
        ScrubEnd::Stopped => lines.push(format!("  stopped by hand: {left}; the next scrub begins anew")),
        ScrubEnd::Paused => lines.push(format!("  paused: {left}; `{} scrub --resume` lets it go on", context.again())),
    }
    lines.push(covered(context, &report.coverage));
    lines.join("\n")
}

fn covered(context: &Context, coverage: &Coverage) -> String {
    let Coverage { within, blobs, bytes, all_blobs, all_bytes, never, oldest_ns } = coverage;
    let lately = match within {
        Some(age) => format!("within {}", text::took(*age)),
        None => "at any time".to_owned(),
    };
    let (bytes, all_bytes) = (context.size(*bytes), context.size(*all_bytes));
    let oldest = oldest_ns.map_or(String::new(), |ns| format!("; longest ago at {}", text::time(ns)));
    let never = if *never > 0 { format!("; {never} never") } else { String::new() };
    format!("  verified {lately}: {blobs} of {all_blobs} blobs, {bytes} of {all_bytes}{oldest}{never}")
}

fn tell(context: &Context, status: &ScrubStatus) -> Result<()> {
    if !context.out.json() {
        return Ok(context.out.line(&status_words(context, status))?);
    }
    let line = Line::event("scrub_status")
        .with("running", status.running)
        .with("paused", status.paused)
        .with("findings", status.findings)
        .with("suspects", status.suspects)
        .with("left_blobs", status.left_blobs)
        .with("left_bytes", status.left_bytes)
        .object("coverage", coverage(&status.coverage));
    let line = match &status.pass {
        None => line.with("pass", ()),
        Some(pass) => line.object(
            "pass",
            Line::part()
                .with("number", pass.number)
                .with("state", state(pass.state))
                .time("begun", pass.begun_ns)
                .time("seen", pass.seen_ns)
                .with("sha256", pass.sha256)
                .with("max_age_seconds", pass.max_age_ns.map(|ns| ns / 1_000_000_000))
                .with("sampled", pass.sample_below != u64::MAX)
                .with("blobs", pass.blobs)
                .with("bytes", pass.bytes)
                .with("findings", pass.findings),
        ),
    };
    Ok(context.out.object(line)?)
}

fn state(state: PassState) -> &'static str {
    match state {
        PassState::Open => "open",
        PassState::Done => "done",
        PassState::Stopped => "stopped",
    }
}

fn status_words(context: &Context, status: &ScrubStatus) -> String {
    let running = match (status.running, status.paused) {
        (true, true) => "running, and waiting: paused",
        (true, false) => "running",
        (false, true) => "not running; paused",
        (false, false) => "not running",
    };
    let mut lines = vec![format!("Scrub: {running}")];
    if let Some(pass) = &status.pass {
        let (blobs, size) = (text::count(pass.blobs, "blob"), context.size(pass.bytes));
        let by = if pass.sha256 { ", by SHA-256" } else { "" };
        lines.push(format!(
            "  pass {} ({}{by}), begun at {}: {blobs} ({size}) read, {}",
            pass.number,
            state(pass.state),
            text::time(pass.begun_ns),
            text::count(pass.findings, "finding")
        ));
    }
    if status.left_blobs > 0 {
        lines.push(format!("  {} ({}) left", text::count(status.left_blobs, "blob"), context.size(status.left_bytes)));
    }
    if status.findings > 0 {
        lines.push(format!("  {} on record: `larder repair` mends", text::count(status.findings, "finding")));
    }
    if status.suspects > 0 {
        lines.push(format!("  {} seen changed, and first in the next scrub", text::count(status.suspects, "blob")));
    }
    lines.push(covered(context, &status.coverage));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_a_share_or_a_number() {
        assert_eq!(sample("5%"), Ok(Sample::Share(0.05)));
        assert_eq!(sample("100 %"), Ok(Sample::Share(1.0)));
        assert_eq!(sample("12"), Ok(Sample::Blobs(12)));
        for bad in ["", "%", "101%", "-1%", "NaN%", "x", "1.5", "-3"] {
            assert!(sample(bad).is_err(), "{bad}");
        }
    }
}
