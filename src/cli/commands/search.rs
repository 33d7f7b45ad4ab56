//! `larder search`: entries, by what is known of them.

use anyhow::Result;
use larder::store::Store;
use larder::vocabulary::entry::Query;
use larder::{Entry, EntryTarget};

use crate::cli::context::{Access, Context};
use crate::cli::entries::{self, Filter};
use crate::cli::exit::Exit;
use crate::cli::fault::output_error;
use crate::cli::json::Line;
use crate::cli::text;

/// The arguments of `larder search`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
TEXT is looked for in keys, URLs, titles, sources, tags and notes, in any case; with *, ? or [ it is a pattern for all of \
one of them. Entries come in the order of their keys.

Example:
  larder search llama --state active
  larder search 'model:hf/*' --tag chat --min-size 1GiB
  larder search --unused 90d --ids
  larder search --limit 100 --after entry:9f86d081")]
pub(crate) struct Args {
    /// What to look for; an entry must say all of it
    #[arg(value_name = "TEXT")]
    text: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Only those behind this entry, in the order of keys: the next page
    #[arg(long, value_name = "ENTRY")]
    after: Option<EntryTarget>,
    /// Print entry:ID alone, for other commands to take
    #[arg(long)]
    ids: bool,
}

/// What was found so far.
#[derive(Default)]
struct Found {
    entries: u64,
    bytes: u64,
    last: Option<String>,
}

/// Searches.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let store = context.open(Access::Read)?;
    let query = args.filter.query(&args.text, context.machine.now_ns());
    let mut found = Found::default();
    let more = match (args.limit, &args.after) {
        (None, None) => {
            store.list_entries(&query, &mut |entry| show(context, args, &entry, &mut found))?;
            false
        }
        _ => paged(context, args, &store, &query, &mut found)?,
    };
    summary(context, &found, more)?;
    Ok(Exit::Done)
}

/// One page after the other, up to the limit; whether there are more behind it.
fn paged(context: &Context, args: &Args, store: &Store, query: &Query, found: &mut Found) -> Result<bool> {
    let mut after = args.after.as_ref().map(|after| store.find_entry(after)).transpose()?.map(|entry| entry.card.key);
    let mut left = args.limit.unwrap_or(usize::MAX);
    while left > 0 {
        let page = store.entries(query, after.as_ref(), left)?;
        let Some(last) = page.last() else { return Ok(false) };
        after = Some(last.card.key.clone());
        left -= page.len();
        page.iter().try_for_each(|entry| show(context, args, entry, found))?;
    }
    Ok(!store.entries(query, after.as_ref(), 1)?.is_empty())
}

fn show(context: &Context, args: &Args, entry: &Entry, found: &mut Found) -> larder::Result<()> {
    found.entries += 1;
    found.bytes = found.bytes.saturating_add(entry.size_bytes());
    found.last = Some(entry.id().to_string());
    let shown = match () {
        () if context.out.json() => context.out.object(entries::line("entry", entry)),
        () if args.ids => context.out.line(&format!("entry:{}", entry.id())),
        () => context.out.line(&entries::row(context, entry)),
    };
    shown.map_err(output_error)
}

fn summary(context: &Context, found: &Found, more: bool) -> Result<()> {
    if context.out.json() {
        let line = Line::event("summary").with("entries", found.entries).with("bytes", found.bytes);
        context.out.object(line.with("more", more).with("last", &found.last))?;
        return Ok(());
    }
    let entries = if found.entries == 1 { "1 entry".to_owned() } else { format!("{} entries", found.entries) };
    let last = found.last.as_deref().filter(|_| more);
    let next = last.map(|last| format!("; there are more: --after entry:{last}")).unwrap_or_default();
    context.out.note(&format!("{entries}, {}{next}", text::size(found.bytes, context.out.verbose())));
    Ok(())
}
