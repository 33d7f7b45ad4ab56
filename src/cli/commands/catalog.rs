//! `larder catalog`: the catalog as a whole.

use std::time::Duration;

use anyhow::Result;
use clap::Subcommand;
use larder::format::options::CatalogBackend;
use larder::parts::catalog::Totals;
use larder::work::catalog::engine::{Compared, Difference, Migrated};

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::text;
use crate::cli::watch::Watch;

/// What there is to do with the catalog.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell how many entries there are of each kind and state, and what they hold
    #[command(after_help = "\
Example:
  larder catalog stats
  larder catalog stats --json | jq .active")]
    Stats,
    /// Compare what the catalog answers with the journal
    #[command(after_help = "\
Every entry is asked for by its key, identity, digests and terms. `larder rebuild` makes a catalog that differs anew.

Example:
  larder catalog check")]
    Check,
    /// Give the store another engine of the catalog
    #[command(after_help = "\
The new engine is made from the journal and compared with it, entry by entry; only then does larder.toml say so. With \
sqlite, other programs can read the database at catalog.path.

Example:
  larder catalog migrate --to sqlite --dry-run
  larder catalog migrate --to sqlite
  larder catalog migrate --to embedded")]
    Migrate(MigrateArgs),
}

/// The arguments of `larder catalog migrate`.
#[derive(Debug, clap::Args)]
pub(crate) struct MigrateArgs {
    /// The engine: embedded or sqlite
    #[arg(long, value_name = "ENGINE")]
    to: To,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

/// An engine.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum To {
    /// The store's own journal and index
    Embedded,
    /// A SQLite database
    Sqlite,
}

/// Tells, compares or moves.
pub(crate) fn run(context: &Context, command: &Command) -> Result<Exit> {
    match command {
        Command::Stats => stats(context),
        Command::Check => check(context),
        Command::Migrate(args) => migrate(context, args),
    }
}

fn check(context: &Context) -> Result<Exit> {
    let store = context.open(Access::Read)?;
    let watch = Watch::new(context).stopping_when_closed();
    let compared = store.check_catalog(&watch);
    let time = watch.finish();
    let Compared { entries, differing, told } = compared?;
    for Difference { key, what } in &told {
        let id = format!("entry:{}", key.id());
        if context.out.json() {
            let line = Line::event("difference").with("id", &id).with("key", key.to_string()).with("reason", what);
            context.out.object(line)?;
        } else {
            context.out.line(&format!("{id}  {}: {what}", text::message(&key.to_string())))?;
        }
    }
    if context.out.json() {
        let summary = Line::event("summary").with("entries", entries).with("differing", differing);
        context.out.object(summary.with("seconds", time.as_secs_f64()))?;
    } else {
        let end = match differing {
            0 => "everything agrees".to_owned(),
            count => format!("{} the journal says otherwise of", plural(count)),
        };
        let all = plural(entries);
        context.out.summary(&format!("Compared {all} with the journal in {}: {end}", text::took(time)));
    }
    Ok(Exit::of_work(differing, false))
}

fn migrate(context: &Context, args: &MigrateArgs) -> Result<Exit> {
    let to = match args.to {
        To::Embedded => CatalogBackend::Embedded,
        To::Sqlite => CatalogBackend::Sqlite,
    };
    let store = context.open(if args.dry_run { Access::Read } else { Access::Write })?;
    let watch = Watch::new(context);
    let migrated = store.migrate_catalog(to, args.dry_run, &watch);
    let time = watch.finish();
    let migrated = migrated?;
    if context.out.json() {
        let line = Line::event("migrated")
            .with("from", migrated.from)
            .with("to", migrated.to)
            .with("entries", migrated.entries)
            .with("moved", migrated.moved)
            .with("dry_run", args.dry_run)
            .with("seconds", time.as_secs_f64());
        context.out.object(match &migrated.path {
            Some(path) => line.path("path", path),
            None => line,
        })?;
    } else {
        context.out.summary(&migrated_in_words(&migrated, args.dry_run, time));
    }
    Ok(Exit::Done)
}

fn migrated_in_words(migrated: &Migrated, dry_run: bool, time: Duration) -> String {
    let Migrated { from, to, path, entries, .. } = migrated;
    if from == to {
        return format!("The catalog is kept by {to} already");
    }
    let entries = plural(*entries);
    let mut words = match dry_run {
        true => format!("Would move the catalog, {entries}, from {from} to {to}"),
        false => format!("Moved the catalog from {from} to {to} in {}: {entries}, each compared", text::took(time)),
    };
    if let Some(path) = path {
        let what = if *to == "embedded" { "gone with it" } else { "the database" };
        words.push_str(&format!("\n  {what}  {}", text::path(path)));
    }
    words
}

fn stats(context: &Context) -> Result<Exit> {
    let totals = context.open(Access::Read)?.catalog_totals()?;
    if context.out.json() {
        context.out.object(line(&totals))?;
    } else {
        context.out.line(&words(context, &totals))?;
    }
    Ok(Exit::Done)
}

fn line(totals: &Totals) -> Line {
    let line = Line::event("catalog")
        .with("models", totals.models)
        .with("documents", totals.documents)
        .with("variants", totals.variants)
        .with("bytes", totals.bytes);
    let line = totals.by_state.iter().fold(line, |line, (state, count)| line.with(state.word(), count));
    line.with("trashed", totals.trashed)
}

fn words(context: &Context, totals: &Totals) -> String {
    let field = |word: &str, value: String| vec![word.to_owned(), value];
    let mut rows = vec![
        field("models", totals.models.to_string()),
        field("documents", totals.documents.to_string()),
        field("variants", format!("{}, of {}", totals.variants, context.size(totals.bytes))),
    ];
    rows.extend(totals.by_state.iter().map(|(state, count)| field(state.word(), count.to_string())));
    rows.push(field("in the trash", totals.trashed.to_string()));
    text::table(&[], &[], rows)
}

fn plural(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}
