//! `larder show`: everything about one blob, or one entry.

use std::path::Path;

use anyhow::Result;
use larder::format::record::scrub::{FindingRow, Wrong};
use larder::work::find::{BlobInfo, CarrierInfo};
use larder::{Blake3, Entry, Key, Stamp, StoredUri};

use super::ls;
use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::words::Thing;
use crate::cli::{entries, text, words};

/// The arguments of `larder show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  larder show models/a.gguf
  larder show sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  larder show model:hf/org/repo@v1")]
pub(crate) struct Args {
    /// An entry (entry:ID, model:…, document:…), a name, or a digest (sha256:…)
    #[arg(value_name = "ENTRY|NAME|DIGEST", value_parser = words::thing())]
    target: Thing,
}

/// Shows.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(Access::Read)?;
    let target = match &args.target {
        Thing::Entry(target) => return entry_in_full(context, &store.find_entry(target)?),
        Thing::Blob(target) => target,
    };
    let blob = store.show(target)?;
    if context.out.json() {
        context.out.object(line(&blob))?;
    } else {
        context.out.line(&words(context, &blob))?;
    }
    Ok(Exit::Done)
}

fn entry_in_full(context: &Context, entry: &Entry) -> Result<Exit> {
    if context.out.json() {
        context.out.object(entries::line("entry", entry))?;
    } else {
        context.out.line(&entries::words(context, entry))?;
    }
    Ok(Exit::Done)
}

/// A blob in JSON.
pub(super) fn line(blob: &BlobInfo) -> Line {
    let line = Line::event("blob")
        .with("digest", blob.digest.to_string())
        .with("blake3", blake3(blob))
        .with("size_bytes", blob.size_bytes)
        .path("path", &blob.path)
        .with("uri", StoredUri::Blob(blob.digest).to_string())
        .with("present", blob.now.is_some())
        .with("damaged", blob.damaged)
        .with("links", blob.links)
        .with("allocated_bytes", blob.allocated_bytes)
        .time("added", blob.added_ns)
        .with("pin", blob.pin.as_ref())
        .list("entries", blob.entries.iter().map(entry))
        .list("carriers", blob.carriers.iter().map(carrier))
        .list("findings", blob.findings.iter().map(finding))
        .list("sources", blob.sources.iter().map(|path| source(path)))
        .object("stamp", stamp(&blob.stamp));
    let line = match blob.verified_ns {
        Some(ns) => line.time("verified", ns),
        None => line.with("verified", ()),
    };
    let line = match &blob.now {
        Some(now) => line.object("now", stamp(now)),
        None => line.with("now", ()),
    };
    line.names(blob.aliases.iter().map(|alias| &alias.name))
        .list("aliases", blob.aliases.iter().map(|alias| ls::fields(Line::part(), alias)))
}

/// A file that a blob was added from, in JSON.
fn source(path: &Path) -> Line {
    let uri = StoredUri::of_file(path).ok();
    Line::part().path("path", path).with("uri", uri.map(|uri| uri.to_string()))
}

/// An entry that keeps a blob, in JSON.
pub(super) fn entry((key, variant): &(Key, String)) -> Line {
    Line::part().with("id", key.id().to_string()).with("key", key.to_string()).with("variant", variant)
}

/// An entry that keeps a blob, in words.
pub(super) fn entry_words((key, variant): &(Key, String)) -> String {
    let variant = if variant.is_empty() { String::new() } else { format!(", variant {variant}") };
    text::message(&format!("{key}{variant} (entry:{})", key.id()))
}

/// What reading has found wrong, in JSON.
pub(super) fn finding((carrier, found): &(u32, FindingRow)) -> Line {
    let ranges: Vec<[u64; 2]> = found.ranges.iter().map(|(start, end)| [*start, *end]).collect();
    Line::part()
        .with("carrier", (*carrier > 0).then_some(carrier))
        .with("status", wrong(found))
        .with("detail", &found.reason)
        .with("ranges", ranges)
        .time("first_found", found.first_ns)
        .time("last_seen", found.seen_ns)
}

/// The same in words.
pub(super) fn finding_words((carrier, found): &(u32, FindingRow)) -> String {
    let of = if *carrier > 0 { format!("carrier {carrier}: ") } else { String::new() };
    let (first, seen) = (text::time(found.first_ns), text::time(found.seen_ns));
    format!("{of}{}: {} (found at {first}, last seen at {seen})", wrong(found), text::message(&found.reason))
}

fn wrong(found: &FindingRow) -> &'static str {
    match found.wrong {
        Wrong::Corrupt => "corrupt",
        Wrong::Missing => "missing",
        Wrong::Unreadable => "unreadable",
    }
}

fn carrier(info: &CarrierInfo) -> Line {
    Line::part().with("number", info.number).path("path", &info.path).with("as_recorded", is_as_recorded(info))
}

fn is_as_recorded(info: &CarrierInfo) -> bool {
    info.now.is_some_and(|now| info.stamp.agrees(&now))
}

fn stamp(stamp: &Stamp) -> Line {
    Line::part()
        .with("size_bytes", stamp.size_bytes)
        .time("mtime", stamp.mtime_ns)
        .with("inode", stamp.inode)
        .with("mode", format!("{:04o}", stamp.mode))
        .time("ctime", stamp.ctime_ns)
}

fn words(context: &Context, blob: &BlobInfo) -> String {
    let field = |word: &str, value: String| vec![word.to_owned(), value];
    let mut rows = vec![
        field("digest", blob.digest.to_string()),
        field("blake3", blake3(blob).unwrap_or_else(|| "not known: larder verify tells it".to_owned())),
        field("size", context.size(blob.size_bytes)),
        field("on the disk", context.size(blob.allocated_bytes)),
        field("file", text::path(&blob.path)),
        field("state", state(blob).to_owned()),
        field("links", blob.links.to_string()),
        field("added", text::time(blob.added_ns)),
        field("verified", blob.verified_ns.map_or("not since it was added".to_owned(), text::time)),
    ];
    rows.extend(blob.findings.iter().map(|found| field("finding", finding_words(found))));
    rows.extend(blob.carriers.iter().map(|info| {
        let state = if is_as_recorded(info) { "" } else { " (not as it was recorded)" };
        field("carrier", format!("{}{state}", text::path(&info.path)))
    }));
    rows.extend(blob.sources.iter().map(|path| field("added from", text::path(path))));
    rows.extend(blob.entries.iter().map(|entry| field("entry", entry_words(entry))));
    rows.extend(blob.pin.as_ref().map(|note| field("pinned", pinned(note))));
    let mut words = text::table(&[], &[], rows);
    words.push_str(&format!("\n{}", text::count(blob.aliases.len() as u64, "name")));
    if !blob.aliases.is_empty() {
        words.push_str(":\n");
        words.push_str(&aliases(blob));
    }
    words
}

/// The note of a pin in words.
pub(super) fn pinned(note: &str) -> String {
    if note.is_empty() { "yes".to_owned() } else { text::message(note) }
}

fn state(blob: &BlobInfo) -> &'static str {
    match (&blob.now, blob.damaged) {
        (_, true) => "damaged",
        (None, _) => "missing",
        (Some(now), _) if blob.stamp.agrees(now) => "as it was recorded",
        (Some(_), _) => "changed since it was recorded: `larder verify` tells whether its bytes are",
    }
}

fn aliases(blob: &BlobInfo) -> String {
    let rows = blob.aliases.iter().map(|alias| {
        let executable = if alias.executable { "executable" } else { "" };
        let kind = words::alias(alias.kind).to_owned();
        vec![text::name(&alias.name), kind, text::time(alias.mtime_ns), executable.to_owned()]
    });
    text::table(
        &["  name", "kept", "mtime", ""],
        &[],
        rows.map(|mut row| {
            row[0].insert_str(0, "  ");
            row
        }),
    )
}

/// Not known of a blob that was taken from the disk and not hashed since.
fn blake3(blob: &BlobInfo) -> Option<String> {
    (blob.blake3 != Blake3::UNKNOWN).then(|| blob.blake3.to_string())
}

#[cfg(test)]
mod tests {
    use larder::Digest;

    use super::*;

    #[test]
    fn a_blob_in_json_says_when_its_file_is_not_there() {
        let recorded = Stamp { size_bytes: 3, mtime_ns: 0, inode: 7, mode: 0o444, ctime_ns: 0 };
        let blob = BlobInfo {
            digest: Digest::EMPTY,
            blake3: Blake3::from_bytes([0; 32]),
            size_bytes: 3,
            path: "/s/sha256/e3/b0".into(),
            stamp: recorded,
            now: None,
            links: 0,
            allocated_bytes: 0,
            added_ns: 0,
            aliases: Vec::new(),
            pin: None,
            entries: Vec::new(),
            damaged: false,
            findings: Vec::new(),
            verified_ns: None,
            carriers: Vec::new(),
            sources: vec!["/src/a".into()],
        };
        let value: serde_json::Value = serde_json::from_str(&line(&blob).close()).unwrap();
        assert_eq!(value["present"], false);
        assert!(value["now"].is_null() && value["pin"].is_null());
        assert_eq!(value["stamp"]["mode"], "0444");
        assert_eq!(value["sources"], serde_json::json!([{"path": "/src/a", "uri": "file:///src/a"}]));
        assert_eq!(state(&blob), "missing");
        assert_eq!(state(&BlobInfo { now: Some(recorded), ..blob }), "as it was recorded");
    }
}
