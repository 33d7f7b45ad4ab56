//! `larder dedup-report`: what keeping bytes once saves.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::PathBuf;

use anyhow::Result;
use larder::work::dedup::{Copy, DedupTotals, Group, Scanned};
use larder::{Digest, ErrorKind};

use crate::cli::context::{Access, Context, absolute};
use crate::cli::exit::Exit;
use crate::cli::fault::output_error;
use crate::cli::json::Line;
use crate::cli::text;
use crate::cli::watch::Watch;

/// The arguments of `larder dedup-report`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With --scan, files outside the store are read whose size a blob has; `larder add --link` makes links of those that are copies.

Example:
  larder dedup-report
  larder dedup-report --top 100
  larder dedup-report --scan ~/.cache/huggingface --scan /srv/models")]
pub(crate) struct Args {
    /// So many groups in words, those that save most first
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// Look for copies of blobs below this directory, too; several times for several
    #[arg(long, value_name = "DIR")]
    scan: Vec<PathBuf>,
}

/// A group in words, in the order of what it saves.
type Row = Reverse<(u64, Reverse<Digest>, Vec<String>)>;

/// Reports.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(Access::Read)?;
    let scan = args.scan.iter().map(|path| absolute(path)).collect::<Result<Vec<_>>>()?;
    let watch = Watch::new(context);
    let mut top: BinaryHeap<Row> = BinaryHeap::new();
    let totals = store.duplicates(&mut |group| {
        if larder::Observer::cancelled(&watch) {
            return Err(larder::Error::new(ErrorKind::Interrupted, "report duplicates", "it was stopped"));
        }
        match context.out.json() {
            true => context.out.object(line(&group)).map_err(output_error),
            false => {
                top.push(row(context, &group));
                if top.len() > args.top {
                    top.pop();
                }
                Ok(())
            }
        }
    });
    let totals = totals.inspect_err(|_| _ = watch.finish());
    let totals = totals?;
    if !top.is_empty() {
        let rows = top.into_sorted_vec().into_iter().map(|Reverse((_, _, row))| row);
        context.out.line(&text::table(
            &["saved", "could save", "size", "wanted", "files", "digest", "as"],
            &[0, 1, 2, 3, 4],
            rows,
        ))?;
    }
    let mut scanned = Scanned::default();
    if !scan.is_empty() {
        let found = store.find_copies(&scan, &watch, &mut |copy| tell(context, &copy).map_err(output_error));
        scanned = found.inspect_err(|_| _ = watch.finish())?;
    }
    watch.finish();
    summary(context, &totals, &scanned, !scan.is_empty())?;
    Ok(Exit::of_work(scanned.failed, scanned.interrupted))
}

fn line(group: &Group) -> Line {
    let entries = group.entries.iter().map(|(key, variant)| {
        Line::part().with("id", key.id().to_string()).with("key", key.to_string()).with("variant", variant)
    });
    Line::event("group")
        .with("digest", group.digest.to_string())
        .with("size_bytes", group.size_bytes)
        .with("wanted", group.wanted)
        .with("files", group.files)
        .with("saved_bytes", group.saved_bytes)
        .with("could_save_bytes", group.could_save_bytes)
        .names(group.names.iter())
        .list("entries", entries)
}

fn row(context: &Context, group: &Group) -> Row {
    let name = group.names.first().map(text::name);
    let entry = group.entries.first().map(|(key, _)| text::message(&key.to_string()));
    let others = group.wanted.saturating_sub(1);
    let of = format!(
        "{}{}",
        name.or(entry).unwrap_or_default(),
        if others > 0 { format!(" and {others} more") } else { String::new() }
    );
    let cells = vec![
        context.size(group.saved_bytes),
        context.size(group.could_save_bytes),
        context.size(group.size_bytes),
        group.wanted.to_string(),
        group.files.to_string(),
        text::short(&group.digest),
        of,
    ];
    Reverse((group.saved_bytes + group.could_save_bytes, Reverse(group.digest), cells))
}

fn tell(context: &Context, copy: &Copy) -> std::io::Result<()> {
    if context.out.json() {
        let line = Line::event("copy").path("path", &copy.path).with("digest", copy.digest.to_string());
        return context.out.object(line.with("size_bytes", copy.size_bytes).with("linked", copy.linked));
    }
    match copy.linked {
        true if !context.out.verbose() => Ok(()),
        linked => {
            let (word, size) = (if linked { "link" } else { "copy" }, context.size(copy.size_bytes));
            context.out.line(&format!("{word}  {size:>10}  {}  {}", text::short(&copy.digest), text::path(&copy.path)))
        }
    }
}

fn summary(context: &Context, totals: &DedupTotals, scanned: &Scanned, was_scanned: bool) -> Result<()> {
    if context.out.json() {
        let line = Line::event("summary")
            .with("blobs", totals.blobs)
            .with("groups", totals.groups)
            .with("wanted", totals.wanted)
            .with("wanted_bytes", totals.wanted_bytes)
            .with("kept_bytes", totals.kept_bytes)
            .with("saved_bytes", totals.saved_bytes)
            .with("could_save_bytes", totals.could_save_bytes);
        let scanned = was_scanned.then(|| {
            Line::part()
                .with("files", scanned.files)
                .with("bytes", scanned.bytes)
                .with("copies", scanned.copies)
                .with("could_save_bytes", scanned.could_save_bytes)
                .with("linked", scanned.linked)
                .with("failed", scanned.failed)
        });
        let line = match scanned {
            Some(part) => line.object("scanned", part),
            None => line,
        };
        context.out.object(line)?;
        return Ok(());
    }
    let (blobs, saved) = (text::count(totals.groups, "blob"), context.size(totals.saved_bytes));
    let percent = text::percent(totals.saved_bytes, totals.wanted_bytes);
    let mut lines = vec![format!("Wanted more than once: {blobs} of {}, which saves {saved}, {percent}", totals.blobs)];
    if totals.could_save_bytes > 0 {
        let more = context.size(totals.could_save_bytes);
        lines
            .push(format!("  copies     under names/ that could be links: {more}; `larder check --repair` links them"));
    }
    if was_scanned {
        let (files, size) = (text::count(scanned.files, "file"), context.size(scanned.could_save_bytes));
        let copies = if scanned.copies == 1 { "1 copy".to_owned() } else { format!("{} copies", scanned.copies) };
        lines.push(format!("  scanned    {files}: {copies} of blobs, {size} that links would save"));
        lines.push(format!("  linked     {} that are links already", scanned.linked));
    }
    context.out.summary(&lines.join("\n"));
    Ok(())
}
