//! `larder stats`: what the store holds and costs.

use anyhow::Result;
use larder::format::totals::Totals as Counted;
use larder::parts::catalog::Totals;
use larder::store::Store;
use larder::work::find::Stats;
use larder::{ErrorKind, Instrument, State};

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
    let counted = store.totals();
    if context.out.json() {
        context.out.object(counters(line(&store, &stats, totals.as_ref()), &counted))?;
    } else {
        context.out.line(&words(context, &store, &stats, totals.as_ref(), &counted))?;
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
            .with("trashed", totals.trashed)
            .object("models_total", states(totals)),
        None => line,
    }
}

/// How many entries there are in each state.
fn states(totals: &Totals) -> Line {
    State::ALL.into_iter().fold(Line::part(), |line, state| line.with(state.word(), in_state(totals, state)))
}

fn in_state(totals: &Totals, state: State) -> u64 {
    totals.by_state.iter().filter(|(of, _)| *of == state).map(|(_, count)| *count).sum()
}

/// What was counted, as the metrics call it.
fn counters(line: Line, counted: &Counted) -> Line {
    let since = (counted.since_ns > 0).then(|| text::exact_time(counted.since_ns.into()));
    let counters = Instrument::ALL.into_iter().filter(|instrument| !instrument.is_gauge());
    counters.fold(line.with("counted_since", since), |line, instrument| match instrument.label() {
        None => line.with(instrument.name(), counted.counts.get(instrument, "")),
        Some(_) => {
            let part = counted.counts.of(instrument).fold(Line::part(), |part, (label, value)| part.with(label, value));
            line.object(instrument.name(), part)
        }
    })
}

/// The same for people: none, or `12 add, 3 verify`.
fn counts(counted: &Counted, instrument: Instrument) -> String {
    let labels: Vec<_> = counted.counts.of(instrument).collect();
    let each = labels.iter().map(|(label, value)| format!("{value} {}", text::message(label)));
    match instrument.label() {
        None => counted.counts.get(instrument, "").to_string(),
        Some(_) if labels.is_empty() => "none".to_owned(),
        Some(_) => each.collect::<Vec<_>>().join(", "),
    }
}

fn words(context: &Context, store: &Store, stats: &Stats, totals: Option<&Totals>, counted: &Counted) -> String {
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
        field("counted since", if counted.since_ns == 0 { "never".to_owned() } else { text::time(counted.since_ns) }),
        field("operations", counts(counted, Instrument::Operations)),
        field("verifications", counts(counted, Instrument::Verifications)),
        field("  failed", counts(counted, Instrument::VerifyFailures)),
        field("dedup hits", counts(counted, Instrument::DedupHits)),
        field("evictions", counts(counted, Instrument::Evictions)),
        field("collected", text::count(counted.counts.get(Instrument::GcRemoved, ""), "blob")),
    ];
    text::table(&[], &[], rows)
}

fn entries(totals: &Totals) -> String {
    let kinds = [text::count(totals.models, "model"), text::count(totals.documents, "document")];
    let trashed = if totals.trashed > 0 { format!(", {} in the trash", totals.trashed) } else { String::new() };
    let states = State::ALL.into_iter().map(|state| (state, in_state(totals, state))).filter(|(_, count)| *count > 0);
    let states: Vec<_> = states.map(|(state, count)| format!("{count} {}", state.word())).collect();
    let states = if states.is_empty() { String::new() } else { format!(" ({})", states.join(", ")) };
    format!("{}{states}{trashed}", kinds.join(", "))
}
