//! `larder why-gone`: what removed a blob, or took a name away.

use anyhow::Result;
use larder::work::find::{Departure, Removal, WhyGone};
use larder::work::names::Target;

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::{text, words};

/// The arguments of `larder why-gone`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The journal remembers what went for 90 days.

Example:
  larder why-gone models/a.gguf
  larder why-gone sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
pub(crate) struct Args {
    /// A digest (sha256:…), or a name
    #[arg(value_name = "DIGEST|NAME", value_parser = words::target())]
    target: Target,
}

/// Tells.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let found = context.open(Access::Read)?.why_gone(&args.target)?;
    if context.out.json() {
        for departure in &found.departures {
            context.out.object(departed(departure))?;
        }
        for removal in &found.removals {
            context.out.object(removed(removal))?;
        }
        let now = found.now.map(|digest| digest.to_string());
        context.out.object(Line::event("summary").with("gone", found.now.is_none()).with("digest", now))?;
    } else {
        context.out.line(&words(context, &args.target, &found))?;
    }
    Ok(Exit::Done)
}

fn departed(departure: &Departure) -> Line {
    Line::event("departed")
        .name(&departure.name)
        .with("digest", departure.digest.to_string())
        .with("rule", &departure.rule)
        .time("when", departure.when_ns)
}

fn removed(removal: &Removal) -> Line {
    Line::event("removed")
        .with("digest", removal.digest.to_string())
        .with("size_bytes", removal.size_bytes)
        .with("rule", &removal.rule)
        .time("when", removal.when_ns)
}

fn words(context: &Context, target: &Target, found: &WhyGone) -> String {
    let mut lines = vec![verdict(target, found)];
    for Departure { name, digest, rule, when_ns } in &found.departures {
        let (when, name, rule) = (text::time(*when_ns), text::name(name), text::message(rule));
        lines.push(format!("  {when}  the name {name} of {digest} was taken away: {rule}"));
    }
    for Removal { digest, size_bytes, rule, when_ns } in &found.removals {
        let (when, size, rule) = (text::time(*when_ns), context.size(*size_bytes), text::message(rule));
        lines.push(format!("  {when}  {digest} ({size}) was removed: {rule}"));
    }
    lines.join("\n")
}

fn verdict(target: &Target, found: &WhyGone) -> String {
    let what = words::spoken(target);
    match (target, found.now) {
        (Target::Name(_), Some(digest)) => format!("{what} is there, and means {digest}"),
        (Target::Digest(_), Some(_)) => format!("{what} is in the store"),
        (_, None) => format!("{what} is gone"),
    }
}
