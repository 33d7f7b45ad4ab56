//! `larder config`: the options of the store, what they are, and where that comes from.

use anyhow::Result;
use clap::Subcommand;
use larder::format::options::{Chosen, OptionKey, OptionValue};
use larder::store::{Presence, Store};

use crate::cli::choices::{self, Choices, Origin, unknown};
use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::cli::json::Line;
use crate::cli::text;

/// What there is to do with options.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print every option, and what it is
    #[command(after_help = "\
--set goes before the environment, that before the store's larder.toml, and that before the default.

Example:
  larder config show
  LARDER_STORAGE_LAYOUT=cas larder config show --origin")]
    Show(ShowArgs),
    /// Print what one option is
    #[command(after_help = "\
Example:
  larder config get limits.max_bytes")]
    Get(GetArgs),
    /// Set an option in the store's larder.toml
    #[command(after_help = "\
What a store is made with (backends, paths, durability) is settled by `larder init`.

Example:
  larder config set limits.max_bytes 200GiB
  larder config set catalog.retention_days 30")]
    Set(SetArgs),
    /// Take an option out of the store's larder.toml
    #[command(after_help = "\
Example:
  larder config unset limits.max_bytes")]
    Unset(UnsetArgs),
}

/// The arguments of `larder config show`.
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// Say where each value comes from
    #[arg(long)]
    origin: bool,
}

/// The arguments of `larder config get`.
#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    /// The option, such as catalog.backend
    #[arg(value_name = "KEY")]
    key: String,
}

/// The arguments of `larder config set`.
#[derive(Debug, clap::Args)]
pub(crate) struct SetArgs {
    /// The option, such as limits.max_bytes
    #[arg(value_name = "KEY", value_parser = choices::key())]
    key: OptionKey,
    /// What it is to be
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    value: String,
}

/// The arguments of `larder config unset`.
#[derive(Debug, clap::Args)]
pub(crate) struct UnsetArgs {
    /// The option, such as limits.max_bytes
    #[arg(value_name = "KEY", value_parser = choices::key())]
    key: OptionKey,
}

/// Shows or changes options.
pub(crate) fn run(context: &Context, command: &Command) -> Result<Exit> {
    match command {
        Command::Show(args) => show(context, args),
        Command::Get(args) => get(context, args),
        Command::Set(args) => change(context, args.key, Some(&args.value)),
        Command::Unset(args) => change(context, args.key, None),
    }
}

/// One option as it is shown.
struct Row {
    name: String,
    value: OptionValue,
    origin: Origin,
    /// The flag, variable or file that says so.
    said_by: Option<String>,
    /// Whether it was settled when the store was made.
    fixed: bool,
}

/// Every option of the store there, or of one that would be made there.
fn rows(context: &Context) -> Result<Vec<Row>> {
    let choices = Choices::of_process(&context.global.set)?;
    let directory = context.directory()?;
    let settings = match Store::exists(&*context.machine, &directory)? {
        Presence::Store => Some(Store::file_settings(&*context.machine, &directory)?),
        _ => None,
    };
    let mut rows = Vec::new();
    if let Some(settings) = &settings {
        let text = |text: &str| OptionValue::Text(text.to_owned());
        let made = [
            ("format", OptionValue::Number(settings.format.into())),
            ("store_id", text(&settings.store_id)),
            ("durability", text(settings.durability.word())),
            ("hardlinked", OptionValue::Switch(settings.hardlinked)),
            ("blob_mode", text(&settings.blob_mode)),
            ("directory_mode", text(&settings.directory_mode)),
        ];
        rows.extend(made.into_iter().map(|(name, value)| row(name.to_owned(), value, Origin::File, None, true)));
    }
    let file = settings.map(|settings| settings.options).unwrap_or_default();
    for key in OptionKey::all() {
        rows.push(if key.is_in_file() { resolved(&choices, key, &file) } else { root(context, &directory) });
    }
    Ok(rows)
}

fn row(name: String, value: OptionValue, origin: Origin, said_by: Option<String>, fixed: bool) -> Row {
    let file = || (origin == Origin::File).then(|| "larder.toml".to_owned());
    Row { name, value, origin, said_by: said_by.or_else(file), fixed }
}

fn resolved(choices: &Choices, key: OptionKey, file: &Chosen) -> Row {
    let (value, origin) = choices.resolve(key, file);
    let said_by = match origin {
        Origin::Flag => Some("--set".to_owned()),
        Origin::Environment => Some(key.environment()),
        Origin::File | Origin::Default => None,
    };
    row(key.name(), value, origin, said_by, key.is_fixed())
}

/// The store directory is an option as well, which no file in it can hold.
fn root(context: &Context, directory: &std::path::Path) -> Row {
    let (origin, said_by) = match context.choice_of_directory() {
        Some((_, origin, said_by)) => (origin, Some(said_by)),
        None => (Origin::Default, None),
    };
    let value = OptionValue::Text(directory.to_string_lossy().into_owned());
    row(OptionKey::StorageRootDir.name(), value, origin, said_by, false)
}

fn show(context: &Context, args: &ShowArgs) -> Result<Exit> {
    let rows = rows(context)?;
    let widest = |of: &dyn Fn(&Row) -> usize| rows.iter().map(of).max().unwrap_or(0);
    let (name, value) = (widest(&|row| row.name.len()), widest(&|row| words(row).chars().count()));
    for row in &rows {
        if context.out.json() {
            context.out.object(line(row))?;
        } else if args.origin {
            let from = row.said_by.as_deref().unwrap_or("default");
            context.out.line(&format!("{:name$}  {:value$}  {}", row.name, words(row), text::message(from)))?;
        } else {
            context.out.line(format!("{:name$}  {}", row.name, words(row)).trim_end())?;
        }
    }
    Ok(Exit::Done)
}

fn words(row: &Row) -> String {
    text::message(&row.value.to_string())
}

fn line(row: &Row) -> Line {
    Line::event("option")
        .with("key", &row.name)
        .with("value", &row.value)
        .with("origin", row.origin.word())
        .with("said_by", &row.said_by)
        .with("fixed", row.fixed)
}

fn get(context: &Context, args: &GetArgs) -> Result<Exit> {
    let rows = rows(context)?;
    let row = rows.iter().find(|row| row.name == args.key);
    let row = row.ok_or_else(|| Fault::usage("print an option", &unknown(&args.key)))?;
    if context.out.json() {
        context.out.object(line(row))?
    } else {
        context.out.line(&words(row))?
    };
    Ok(Exit::Done)
}

fn change(context: &Context, key: OptionKey, value: Option<&str>) -> Result<Exit> {
    if let Some(text) = value {
        Chosen::default().set(key, text).map_err(|why| Fault::usage("set an option", &why.to_string()))?;
    }
    let store = context.open(Access::Write)?;
    let changed = store.configure(key, value)?;
    let file = Store::file_settings(&*context.machine, store.directory())?.options;
    let now = resolved(&Choices::of_process(&context.global.set)?, key, &file);
    if context.out.json() {
        context.out.object(line(&now).with("changed", changed))?;
    } else {
        let is = if changed { "is now" } else { "was already" };
        context.out.summary(&format!(
            "{} {is} {} in larder.toml",
            now.name,
            text::message(&file.value(key).to_string())
        ));
        if let Some(said_by) = now.said_by.filter(|_| now.origin > Origin::File) {
            context.out.note(&format!("note: {said_by} goes before it here"));
        }
    }
    Ok(Exit::Done)
}
