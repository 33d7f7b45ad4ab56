//! `larder import-manifest`: entries out of what other programs wrote.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use larder::machine::{FileKind, Open};
use larder::work::import::{Files, Format, ImportOptions, ImportReport, Input};
use larder::work::ingest::TakeIn;
use larder::{Error, ErrorKind};

use super::add;
use crate::cli::context::{Access, Context, absolute};
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::cli::input::FromStart;
use crate::cli::json::Line;
use crate::cli::stdin::Interruptible;
use crate::cli::watch::Watch;
use crate::cli::{text, words};

/// The arguments of `larder import-manifest`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A manifest is lines of JSON: those of `larder export-manifest`, or those of a downloader, whose failed downloads are left \
out. docs/manifest.md lists the fields. A catalog.json of models and catalogs in SQLite are read as well.

A line that cannot be used is told with its number and left out, and the rest goes on (exit 3 at its end). What is \
registered already stays as it is, so that an import that was broken off goes on when it is run again.

Example:
  larder import-manifest manifest.jsonl
  larder import-manifest --adopt ~/.cache/models/catalog.json
  zcat old.jsonl.gz | larder import-manifest - --hash --root data/docs
  larder import-manifest catalog.db")]
pub(crate) struct Args {
    /// The manifest; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What it is, where its beginning does not tell
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<ManifestFormat>,
    /// Read the files that it names, and hold them against what it says of them
    #[arg(long, conflicts_with = "adopt")]
    hash: bool,
    /// Take the files that it names into the store by link: they become read-only hardlinks to the blobs
    #[arg(long)]
    adopt: bool,
    /// With --adopt: copy the files instead, and leave them as they are
    #[arg(long, requires = "adopt")]
    copy: bool,
    /// Where the files are: relative paths are taken from there, and nothing outside of it is read [default: where FILE
    /// is, else the working directory]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// How the names of adopted files are kept [default: as the store is set]
    #[arg(long, value_enum, value_name = "HOW")]
    alias: Option<words::Alias>,
    /// What becomes of an entry that is registered already
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    if_registered: words::IfRegistered,
    /// Only show what would be registered
    #[arg(long)]
    dry_run: bool,
}

/// What a manifest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ManifestFormat {
    /// Lines of JSON
    Jsonl,
    /// One document {"models": […]}
    CatalogJson,
    /// An SQLite database with a table of models or documents
    Sqlite,
}

impl From<ManifestFormat> for Format {
    fn from(word: ManifestFormat) -> Format {
        match word {
            ManifestFormat::Jsonl => Format::Lines,
            ManifestFormat::CatalogJson => Format::CatalogJson,
            ManifestFormat::Sqlite => Format::Sqlite,
        }
    }
}

impl Args {
    fn is_stdin(&self) -> bool {
        self.file.as_os_str() == "-"
    }

    fn options(&self) -> Result<ImportOptions> {
        let root = match &self.root {
            Some(root) => absolute(root)?,
            None if self.is_stdin() => absolute(Path::new("."))?,
            None => absolute(&self.file)?.parent().unwrap_or(Path::new("/")).to_owned(),
        };
        let files = match (self.hash, self.adopt, self.copy) {
            (true, _, _) => Files::Hash,
            (_, true, true) => Files::Adopt(TakeIn::Copy),
            (_, true, false) => Files::Adopt(TakeIn::Link),
            _ => Files::Leave,
        };
        let alias = self.alias.map(Into::into);
        Ok(ImportOptions { files, root: Some(root), if_there: self.if_registered.into(), alias, dry_run: self.dry_run })
    }
}

/// Imports.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    let options = args.options()?;
    let mut input = BufReader::with_capacity(BUFFER_BYTES, opened(context, args)?);
    let store = if args.dry_run { context.open(Access::Read)? } else { add::store(context)?.0 };
    let watch = Watch::new(context);
    let format = match args.format {
        Some(format) => format.into(),
        None => Format::of(input.fill_buf().map_err(|e| Error::io("read the manifest", &args.file, e))?),
    };
    let is_stream =
        args.is_stdin() || context.machine.stat(&args.file).is_ok_and(|meta| meta.kind == FileKind::Special);
    if format == Format::Sqlite && is_stream {
        watch.finish();
        return Err(Fault::usage("import this", "an SQLite database is a file, and no stream").into());
    }
    let path = absolute(&args.file)?;
    let input = match format {
        Format::Lines => Input::Lines(&mut input),
        Format::CatalogJson => Input::CatalogJson(&mut input),
        Format::Sqlite => Input::Sqlite(&path),
    };
    let imported = store.import(input, &options, &watch);
    let time = watch.finish();
    let report = match imported {
        Err(e) if context.interrupt.asked() => return Err(e.as_kind(ErrorKind::Interrupted).into()),
        other => other?,
    };
    if context.out.json() {
        context.out.tell(line(args, &report, time));
    } else {
        context.out.summary(&words(context, args, &report, time));
        context.warn_of_scratch(&store);
    }
    Ok(Exit::of_work(report.findings(), report.interrupted))
}

/// How much of a manifest is read at a time.
const BUFFER_BYTES: usize = 1 << 20;

fn opened(context: &Context, args: &Args) -> Result<Box<dyn Read>> {
    if args.is_stdin() {
        return Ok(Box::new(Interruptible::new(io::stdin(), context.interrupt.clone()).ending_when_stopped()));
    }
    let attempt = |e| Error::io("read the manifest", &args.file, e);
    // A pipe, such as the shell makes of `<(zcat …)`, is read as standard input is.
    if context.machine.stat(&args.file).map_err(attempt)?.kind == FileKind::Special {
        let stream = context.machine.stream(&args.file).map_err(attempt)?;
        return Ok(Box::new(Interruptible::new(stream, context.interrupt.clone()).ending_when_stopped()));
    }
    let real = context.machine.canonical(&args.file).map_err(attempt)?;
    let meta = context.machine.stat(&real).map_err(attempt)?;
    if meta.kind == FileKind::Directory {
        let hint = "name the file itself".to_owned();
        let attempt = format!("read the manifest {}", args.file.display());
        return Err(Fault::failed(ErrorKind::Unsupported, &attempt, "it is a directory", hint).into());
    }
    Ok(Box::new(FromStart::new(context.machine.open(&real, Open::Read).map_err(attempt)?)))
}

fn line(args: &Args, report: &ImportReport, time: Duration) -> Line {
    Line::event("summary")
        .with("dry_run", args.dry_run)
        .with("lines", report.lines)
        .with("registered", report.registered)
        .with("kept", report.kept)
        .with("merged", report.merged)
        .with("skipped", report.skipped)
        .with("bad", report.bad)
        .with("failed", report.failed)
        .with("mismatched", report.mismatched)
        .with("files", report.files)
        .with("bytes", report.bytes)
        .with("interrupted", report.interrupted)
        .with("seconds", time.as_secs_f64())
}

fn words(context: &Context, args: &Args, report: &ImportReport, time: Duration) -> String {
    let verb = if args.dry_run { "Would register" } else { "Registered" };
    let mut lines =
        vec![format!("{verb} {} of {} in {}", report.registered, text::count(report.lines, "line"), text::took(time))];
    let counts = [
        (report.kept, "kept       ", "registered already, and as they were"),
        (report.merged, "merged     ", "registered already, and added to"),
        (report.skipped, "skipped    ", "about something else, such as a download that failed"),
        (report.bad, "bad        ", "named above: they cannot be used"),
        (report.failed, "failed     ", "named above: their files cannot be had; run it again once they can"),
        (report.mismatched, "mismatched ", "named above: their bytes are other than expected; they are failed"),
    ];
    let told = counts.iter().filter(|(count, ..)| *count > 0);
    lines.extend(told.map(|(count, word, what)| format!("  {word}{count}, {what}")));
    if report.files > 0 {
        let verb = if args.adopt { "taken in" } else { "hashed" };
        let files = text::count(report.files, "file");
        lines.push(format!("  {verb:<11}{files}, {}", context.size(report.bytes)));
    }
    if report.interrupted {
        lines.push("  stopped    before its end; the same command goes on from there".to_owned());
    }
    lines.join("\n")
}
