//! `larder verify`: blobs, entries and files against their digests.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use larder::store::Store;
use larder::work::verify::{VerifyOptions, VerifyReport};
use larder::{Digest, EntryTarget};

use super::verified;
use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::cli::json::Line;
use crate::cli::text;
use crate::cli::watch::Watch;
use crate::cli::words::{self, Scope, Verifiable};

/// The arguments of `larder verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every blob is read and compared, and the work goes on after every finding (exit 3 at its end). Nothing is moved or \
removed unless --quarantine is given, and unreadable blobs never are.

Example:
  larder verify
  larder verify models/llama sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  larder verify model:hf/org/repo@v1
  larder verify model:hf/org/repo@v1 --expect sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  larder verify --file ~/Downloads/a.bin --expect sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  larder verify --quarantine")]
pub(crate) struct Args {
    /// Entries (entry:ID, model:…, document:…), names with everything below them, or digests (sha256:…); nothing is \
    /// every blob
    #[arg(value_name = "ENTRY|NAME|DIGEST", value_parser = words::verifiable())]
    what: Vec<Verifiable>,
    /// Any file: with --expect, to be held against that; with one ENTRY, the file that it should be
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// The digest that --file, or one ENTRY, should have
    #[arg(long, value_name = "DIGEST")]
    expect: Option<Digest>,
    /// Move corrupt blobs to quarantine, and mark their names damaged
    #[arg(long)]
    quarantine: bool,
}

impl Args {
    /// What it is pointed at: entries, and blobs.
    fn apart(&self) -> Result<(Vec<EntryTarget>, Vec<Scope>), Fault> {
        let (mut entries, mut blobs) = (Vec::new(), Vec::new());
        for what in &self.what {
            match what {
                Verifiable::Entry(target) => entries.push(target.clone()),
                Verifiable::Blobs(scope) => blobs.push(scope.clone()),
            }
        }
        if (self.file.is_some() || self.expect.is_some()) && (entries.len() != 1 || !blobs.is_empty()) {
            return Err(Fault::usage("verify this", "--file and --expect go with one another, or with one ENTRY"));
        }
        Ok((entries, blobs))
    }
}

/// Verifies.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    if let (Some(file), Some(expected), true) = (&args.file, &args.expect, args.what.is_empty()) {
        return verified::file(context, file, expected);
    }
    let (entries, blobs) = args.apart()?;
    let writes = args.quarantine || !entries.is_empty();
    let store = context.open(if writes { Access::Write } else { Access::Hold })?;
    if blobs.is_empty() && !entries.is_empty() {
        return only_entries(context, args, &store, &entries);
    }
    let (digests, prefixes) = words::split(&blobs);
    let watch = Watch::new(context).stopping_when_closed();
    let of_entries = verified::entries(context, &store, &entries, (None, None), &watch)?;
    let verified = store.verify(&digests, &prefixes, &VerifyOptions { quarantine: args.quarantine }, &watch);
    let time = watch.finish();
    let report = verified?;
    if context.out.json() {
        context.out.tell(line(&report, time));
    } else {
        context.out.summary(&words(context, args, &report, time));
    }
    let stopped_by_the_user = report.interrupted && !context.out.closed();
    Ok(Exit::of_work(findings(&report) + of_entries.bad, stopped_by_the_user))
}

fn only_entries(context: &Context, args: &Args, store: &Store, entries: &[EntryTarget]) -> Result<Exit> {
    let watch = Watch::new(context).stopping_when_closed();
    let done = verified::entries(context, store, entries, (args.file.as_deref(), args.expect), &watch);
    let time = watch.finish();
    let done = done?;
    if context.out.json() {
        let line = Line::event("summary").with("entries", done.good + done.bad).with("good", done.good);
        let line = line.with("bad", done.bad).with("interrupted", done.interrupted);
        context.out.tell(line.with("seconds", time.as_secs_f64()));
    } else {
        let took = text::took(time);
        context.out.summary(&match done.bad {
            _ if done.interrupted => {
                format!("Verified {} in {took}, and stopped before the end", plural(done.good + done.bad))
            }
            0 => format!("Verified {} in {took}: good", plural(done.good)),
            bad => format!("Verified {} in {took}: {bad} not good, named above", plural(done.good + bad)),
        });
    }
    Ok(Exit::of_work(done.bad, done.interrupted && !context.out.closed()))
}

fn plural(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

fn findings(report: &VerifyReport) -> u64 {
    report.corrupt + report.missing + report.unreadable + report.bad_carriers
}

fn line(report: &VerifyReport, time: Duration) -> Line {
    Line::event("summary")
        .with("blobs", report.blobs)
        .with("bytes", report.bytes)
        .with("ok", report.ok)
        .with("corrupt", report.corrupt)
        .with("missing", report.missing)
        .with("unreadable", report.unreadable)
        .with("quarantined", report.quarantined)
        .with("bad_carriers", report.bad_carriers)
        .with("interrupted", report.interrupted)
        .with("seconds", time.as_secs_f64())
}

fn words(context: &Context, args: &Args, report: &VerifyReport, time: Duration) -> String {
    let mut lines = vec![format!(
        "Verified {}, {}, in {}: {}/s",
        text::count(report.blobs, "blob"),
        context.size(report.bytes),
        text::took(time),
        text::size((report.bytes as f64 / time.as_secs_f64().max(1e-3)) as u64, false)
    )];
    let rows = [(report.corrupt, "corrupt"), (report.missing, "missing"), (report.unreadable, "unreadable")];
    match findings(report) {
        0 => lines.push(format!("  all {} are good", report.ok)),
        _ => {
            lines.extend(rows.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("  {word:10}  {n}, named above")))
        }
    }
    if report.bad_carriers > 0 {
        lines.push(format!(
            "  carriers    {} are not good, named above; `larder repair` makes them anew",
            report.bad_carriers
        ));
    }
    if report.quarantined > 0 {
        lines.push(format!("  quarantined {}", report.quarantined));
    }
    if report.corrupt > 0 && !args.quarantine {
        lines.push(
            "  --quarantine moves corrupt blobs away; `larder repair` puts good copies in their place".to_owned(),
        );
    }
    if report.interrupted {
        lines.push("  stopped before its end".to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrupt_missing_and_unreadable_are_findings() {
        let report = VerifyReport { blobs: 9, ok: 3, corrupt: 1, missing: 2, unreadable: 3, ..VerifyReport::default() };
        assert_eq!(findings(&report), 6);
        let value: serde_json::Value = serde_json::from_str(&line(&report, Duration::ZERO).close()).unwrap();
        assert_eq!((&value["event"], &value["corrupt"], &value["ok"]), (&"summary".into(), &1.into(), &3.into()));
    }
}
