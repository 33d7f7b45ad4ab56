//! `larder stats`: what the store holds and costs.

use anyhow::Result;
use larder::ErrorKind;
use larder::parts::catalog::Totals;
use larder::store::Store;
use larder::work::find::Stats;

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::{text, words};

/// The arguments of `larder stats`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  larder stats
  larder stats --json | jq .reclaimable_bytes")]
pub(crate) struct Args {}

/// Tells.
pub(crate) fn run(context: &Context, _: &Args) -> Result<Exit> {
    let store = context.open(Access::Read)?;
    let stats = store.stats()?;
    // A catalog that this program cannot ask takes nothing from the rest.
    let totals = match store.catalog_totals() {
        Err(e) if e.kind() == ErrorKind::Unsupported => None,
        totals => Some(totals?),
    };
    if context.out.json() {
        context.out.object(line(&store, &stats, totals.as_ref()))?;
    } else {
        context.out.line(&words(context, &store, &stats, totals.as_ref()))?;
    }
    Ok(Exit::Done)
}

fn line(store: &Store, stats: &Stats, totals: Option<&Totals>) -> Line {
    let line = Line::event("stats")
        .path("store", store.directory())
        .with("store_id", &store.settings().store_id)
        .with("format", store.settings().format)
        .with("durability", words::durability(store.settings().durability))
        .with("alias", words::alias(store.settings().alias))
        .with("blobs", stats.blobs)
        .with("blob_bytes", stats.blob_bytes)
        .with("allocated_bytes", stats.allocated_bytes)
        .with("carriers", stats.carriers)
        .with("carrier_bytes", stats.carrier_bytes)
        .with("names", stats.names)
        .with("logical_bytes", stats.logical_bytes)
        .with("unrooted_blobs", stats.unrooted_blobs)
        .with("reclaimable_bytes", stats.reclaimable_bytes)
        .with("pins", stats.pins)
        .with("damaged_blobs", stats.damaged_blobs)
        .with("findings", stats.findings)
        .with("fenced", stats.fenced)
        .with("journal_bytes", stats.journal_bytes)
        .with("index_bytes", stats.index_bytes)
        .with("sessions", stats.sessions)
        .with("free_bytes", stats.free_bytes)
        .with("filesystem", &stats.filesystem);
    match totals {
        Some(totals) => line
            .with("models", totals.models)
            .with("documents", totals.documents)
            .with("variants", totals.variants)
            .with("trashed", totals.trashed),
        None => line,
    }
}

fn words(context: &Context, store: &Store, stats: &Stats, totals: Option<&Totals>) -> String {
    let size = |bytes| context.size(bytes);
    let saved = stats.logical_bytes.saturating_sub(stats.blob_bytes);
    let percent = text::percent(saved, stats.logical_bytes);
    let field = |word: &str, value: String| vec![word.to_owned(), value];
    let rows = [
        field("store", text::path(store.directory())),
        field("durability", words::durability(store.settings().durability).to_owned()),
        field("names", format!("{}, standing for {}", stats.names, size(stats.logical_bytes))),
        field("blobs", format!("{}, of {}", stats.blobs, size(stats.blob_bytes))),
        field("on the disk", size(stats.allocated_bytes)),
        field("carriers", format!("{}, of {}", stats.carriers, size(stats.carrier_bytes))),
        field("saved", format!("{} ({percent}) by keeping the same bytes once", size(saved))),
        field(
            "unrooted",
            format!("{} of {}", text::count(stats.unrooted_blobs, "blob"), size(stats.reclaimable_bytes)),
        ),
        field("entries", totals.map_or("unknown: this program cannot ask the catalog".to_owned(), entries)),
        field("pins", stats.pins.to_string()),
        field("damaged", text::count(stats.damaged_blobs, "blob")),
        field("findings", format!("{}{}", stats.findings, if stats.fenced { "; collection is fenced" } else { "" })),
        field("journal", size(stats.journal_bytes)),
        field("index", size(stats.index_bytes)),
        field("sessions", stats.sessions.to_string()),
        field("free", format!("{} on {}", size(stats.free_bytes), text::message(&stats.filesystem))),
    ];
    text::table(&[], &[], rows)
}

fn entries(totals: &Totals) -> String {
    let kinds = [text::count(totals.models, "model"), text::count(totals.documents, "document")];
    let trashed = if totals.trashed > 0 { format!(", {} in the trash", totals.trashed) } else { String::new() };
    format!("{}{trashed}", kinds.join(", "))
}
