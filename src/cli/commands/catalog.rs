//! `larder catalog`: the catalog as a whole.

use anyhow::Result;
use clap::Subcommand;
use larder::parts::catalog::Totals;

use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::text;

/// What there is to do with the catalog.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell how many entries there are of each kind and state, and what they hold
    #[command(after_help = "\
Example:
  larder catalog stats
  larder catalog stats --json | jq .active")]
    Stats,
}

/// Tells.
pub(crate) fn run(context: &Context, command: &Command) -> Result<Exit> {
    match command {
        Command::Stats => stats(context),
    }
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
