//! `larder why`: what keeps a blob alive.

use std::time::Duration;

use anyhow::Result;
use larder::Digest;
use larder::store::Store;
use larder::vocabulary::limits;
use larder::work::find::Why;
use larder::work::names::Target;

use super::show;
use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::{text, words};

/// The arguments of `larder why`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Names, pins and running work keep a blob. Links outside the store do not: they keep its bytes on the disk, so that \
removing it frees nothing.

Example:
  larder why models/a.gguf
  larder why sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --grace 0s")]
pub(crate) struct Args {
    /// A digest (sha256:…), or a name of the blob
    #[arg(value_name = "DIGEST|NAME", value_parser = words::target())]
    target: Target,
    /// The grace that `larder gc` would be given [default: 1day]
    #[arg(long, value_name = "TIME", value_parser = words::duration)]
    grace: Option<Duration>,
}

/// Tells.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(Access::Read)?;
    let digest = digest(&store, &args.target)?;
    let why = store.why(&digest, args.grace.unwrap_or(limits::GRACE))?;
    if context.out.json() {
        context.out.object(line(&why))?;
    } else {
        context.out.line(&words(&why))?;
    }
    Ok(Exit::Done)
}

fn digest(store: &Store, target: &Target) -> larder::Result<Digest> {
    match target {
        Target::Digest(digest) => Ok(*digest),
        Target::Name(_) => store.show(target).map(|blob| blob.digest),
    }
}

fn line(why: &Why) -> Line {
    let line = Line::event("why")
        .with("digest", why.digest.to_string())
        .names(why.names.iter())
        .with("pin", why.pin.as_ref())
        .list("entries", why.entries.iter().map(show::entry))
        .with("sessions", &why.sessions)
        .list("findings", why.findings.iter().map(show::finding))
        .with("outside_links", why.outside_links)
        .with("kept", kept(why));
    let line = match why.unrooted_ns {
        Some(ns) => line.time("unrooted", ns),
        None => line.with("unrooted", ()),
    };
    line.with("condemned", why.condemned).with("collectable", why.collectable).with("fenced", why.fenced)
}

/// Whether anything but the grace keeps it.
fn kept(why: &Why) -> bool {
    !why.names.is_empty() || why.pin.is_some() || !why.entries.is_empty() || !why.sessions.is_empty() || why.fenced
}

fn words(why: &Why) -> String {
    let mut lines = vec![why.digest.to_string()];
    lines.extend(why.names.iter().map(|name| format!("  name     {}", text::name(name))));
    lines.extend(why.pin.iter().map(|note| format!("  pin      {}", show::pinned(note))));
    lines.extend(why.entries.iter().map(|entry| format!("  entry    {}", show::entry_words(entry))));
    lines.extend(why.sessions.iter().map(|session| format!("  session  {}", text::message(session))));
    lines.extend(why.findings.iter().map(|found| format!("  finding  {}", show::finding_words(found))));
    if why.fenced {
        lines
            .push("  fence    the journal is damaged, and a root may be hidden there: nothing is collected".to_owned());
    }
    if why.outside_links > 0 {
        let links = text::count(why.outside_links, "link");
        lines.push(format!("  outside  {links} outside the store: removing it would free nothing"));
    }
    lines.push(verdict(why));
    lines.join("\n")
}

fn verdict(why: &Why) -> String {
    let since = why.unrooted_ns.map(|ns| format!(" since {}", text::time(ns))).unwrap_or_default();
    match (kept(why), why.collectable) {
        (true, _) => "It is kept.".to_owned(),
        (false, true) => format!("Nothing keeps it{since}: `larder gc` removes it."),
        (false, false) => format!("Nothing keeps it{since}, but its grace is not over."),
    }
}

#[cfg(test)]
mod tests {
    use larder::Name;

    use super::*;

    fn nothing() -> Why {
        Why {
            digest: Digest::EMPTY,
            names: Vec::new(),
            pin: None,
            entries: Vec::new(),
            sessions: Vec::new(),
            outside_links: 0,
            unrooted_ns: Some(0),
            condemned: false,
            collectable: false,
            fenced: false,
            findings: Vec::new(),
        }
    }

    #[test]
    fn the_verdict_follows_from_the_roots() {
        assert!(verdict(&nothing()).contains("grace is not over"));
        assert!(verdict(&Why { collectable: true, ..nothing() }).contains("larder gc"));
        assert_eq!(verdict(&Why { names: vec![Name::new("a").unwrap()], ..nothing() }), "It is kept.");
        assert!(words(&Why { outside_links: 2, ..nothing() }).contains("2 links outside the store"));
    }
}
