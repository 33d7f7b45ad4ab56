//! `larder add`: files and whole trees into the store.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use larder::store::{NewStore, Presence, Store};
use larder::vocabulary::url::redacted;
use larder::work::ingest::{AddOptions, AddReport, AliasKind, Source, TakeIn};
use larder::{Digest, ErrorKind, Name, Prefix};

use super::init;
use crate::cli::context::{Access, Context};
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::cli::json::Line;
use crate::cli::stdin::Interruptible;
use crate::cli::watch::Watch;
use crate::cli::{text, words};

/// The arguments of `larder add`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A directory gives each of its files the name BASE/PATH-BELOW-IT, a file is named as it is called. What is there \
already is not stored again. A name that means other bytes is refused, and the rest goes on (exit 3).

Example:
  larder add ~/models
  larder add a.gguf --name llama/7b.gguf --expect sha256:9f86d0…
  curl -L https://example.org/a.bin | larder add - --name downloads/a.bin
  larder add --move ~/Downloads/big.iso     no copy; the old name goes when it is kept")]
pub(crate) struct Args {
    /// Files and directories; `-` alone is standard input, and needs --name
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The name for the one file
    #[arg(long, value_parser = words::name(), conflicts_with = "prefix")]
    name: Option<Name>,
    /// Goes before every name, with a slash
    #[arg(long, value_parser = words::prefix())]
    prefix: Option<Prefix>,
    /// Take the files in by link, and take their old names away once they are kept
    #[arg(long = "move", conflicts_with = "link")]
    take: bool,
    /// Take the files in by link: they become read-only hardlinks to the blobs
    #[arg(long)]
    link: bool,
    /// Hash the stored copy of everything that is there already
    #[arg(long)]
    verify_existing: bool,
    /// Do not read files again whose size, times and inode are those that were recorded when their names were given
    #[arg(long, conflicts_with_all = ["take", "link"])]
    trust_stamps: bool,
    /// Refuse any other bytes than these (exit 1, nothing kept)
    #[arg(long, value_name = "DIGEST")]
    expect: Option<Digest>,
    /// Names that mean other bytes are given these instead
    #[arg(long)]
    replace: bool,
    /// How the names are kept [default: as the store is set]
    #[arg(long, value_enum, value_name = "HOW")]
    alias: Option<words::Alias>,
}

impl Args {
    fn options(&self) -> AddOptions {
        AddOptions {
            name: self.name.clone(),
            prefix: match &self.prefix {
                Some(Prefix::Below(name)) => Some(name.clone()),
                Some(Prefix::Everything) | None => None,
            },
            take_in: match (self.take, self.link) {
                (true, _) => TakeIn::Move,
                (_, true) => TakeIn::Link,
                _ => TakeIn::Copy,
            },
            verify_existing: self.verify_existing,
            trust_stamps: self.trust_stamps,
            expect: self.expect,
            replace: self.replace,
            alias: self.alias.map(Into::into),
            ..AddOptions::default()
        }
    }

    fn takes_stdin(&self) -> bool {
        self.paths.iter().any(|path| path.as_os_str() == "-")
    }

    /// What clap cannot see: arguments that are fine alone and make no sense together.
    fn check(&self) -> Result<(), Fault> {
        let several = self.paths.len() > 1;
        let wrong = |reason| Err(Fault::usage("add this", reason));
        match () {
            () if self.takes_stdin() && several => wrong("standard input is added alone (a file called - is ./-)"),
            () if self.takes_stdin() && self.name.is_none() => wrong("standard input needs --name"),
            () if self.takes_stdin() && (self.take || self.link) => wrong("standard input is no file to link or move"),
            () if several && self.name.is_some() => wrong("--name is for one file; --prefix takes several"),
            () if several && self.expect.is_some() => wrong("--expect is for one file"),
            () => Ok(()),
        }
    }
}

/// Adds.
pub(crate) fn run(context: &Context, args: &Args) -> Result<Exit> {
    args.check()?;
    let (store, made) = store(context)?;
    let watch = Watch::new(context);
    let added = add(context, args, &store, &watch);
    let time = watch.finish();
    let report = added?;
    let done = Done { store: &store, report: &report, made, time };
    if context.out.json() {
        context.out.tell(done.line());
    } else {
        context.out.summary(&done.words(context, &watch));
        context.warn_of_scratch(&store);
    }
    Ok(exit(args, &report))
}

/// Opens the store, or makes it where there is nothing yet.
pub(super) fn store(context: &Context) -> Result<(Store, bool)> {
    let directory = context.directory()?;
    match Store::exists(&*context.machine, &directory)? {
        Presence::Store => Ok((context.open_at(&directory, Access::Write)?, false)),
        Presence::Other => Err(init::not_empty(&directory).into()),
        Presence::Empty => {
            let options = context.options(false)?;
            let (store, made) = Store::create(context.machine.clone(), &directory, &NewStore::default(), &options)?;
            if made {
                say_made(context, &directory);
            }
            Ok((context.recorded(store), made))
        }
    }
}

fn say_made(context: &Context, directory: &Path) {
    let words = format!("Made a store: {}", redacted(&text::path(directory)));
    if context.out.json() {
        context.out.tell(Line::event("notice").with("text", words));
    } else {
        context.out.note(&words);
    }
}

fn add(context: &Context, args: &Args, store: &Store, watch: &Watch<'_>) -> larder::Result<AddReport> {
    let options = args.options();
    match &args.name {
        Some(name) if args.takes_stdin() => {
            let mut input = Interruptible::new(io::stdin(), context.interrupt.clone());
            let added = store.add_stream(&mut input, name, &options, watch);
            added.map_err(|e| if context.interrupt.asked() { e.as_kind(ErrorKind::Interrupted) } else { e })
        }
        _ => {
            let sources: Vec<_> = args.paths.iter().map(|path| Source { path: path.clone() }).collect();
            store.add(&sources, &options, watch)
        }
    }
}

fn exit(args: &Args, report: &AddReport) -> Exit {
    let refused = args.expect.is_some() && report.failed > 0;
    if refused { Exit::Failed } else { Exit::of_work(report.failed, report.interrupted) }
}

/// What there is to tell when it is over.
struct Done<'a> {
    store: &'a Store,
    report: &'a AddReport,
    made: bool,
    time: Duration,
}

impl Done<'_> {
    fn line(&self) -> Line {
        let report = self.report;
        Line::event("summary")
            .with("new_files", report.new_files)
            .with("new_bytes", report.new_bytes)
            .with("dedup_files", report.dedup_files)
            .with("dedup_bytes", report.dedup_bytes)
            .with("unchanged_files", report.unchanged_files)
            .with("unchanged_bytes", report.unchanged_bytes)
            .with("healed_files", report.healed_files)
            .with("healed_bytes", report.healed_bytes)
            .with("trusted_files", report.trusted_files)
            .with("skipped", report.skipped)
            .with("failed", report.failed)
            .with("interrupted", report.interrupted)
            .with("seconds", self.time.as_secs_f64())
            .path("store", self.store.directory())
            .with("store_created", self.made)
            .with("durability", words::durability(self.store.settings().durability))
    }

    fn words(&self, context: &Context, watch: &Watch<'_>) -> String {
        let mut text = vec![headline(self.report, self.time)];
        text.extend(counts(context, self.report));
        text.extend(
            watch
                .notes()
                .iter()
                .map(|(note, count)| format!("  note       {}: {}", text::count(*count, "file"), text::message(note))),
        );
        if self.report.trusted_files > 0 {
            let files = text::count(self.report.trusted_files, "file");
            text.push(format!("  trusted    {files}, by size, times and inode: not read again"));
        }
        text.extend(self.trouble());
        text.push(format!("  store      {}", redacted(&text::path(self.store.directory()))));
        text.push(format!("  names      {}", self.names()));
        if !context.out.quiet() && kept(self.report).0 > 0 {
            text.push(next(context, watch.first_name().as_ref()));
        }
        text.join("\n")
    }

    fn names(&self) -> String {
        match self.store.settings().alias {
            AliasKind::Hardlinked => {
                format!("{} (hardlinks)", redacted(&text::path(&self.store.directory().join("names"))))
            }
            AliasKind::Counted => "in the index alone (counted)".to_owned(),
        }
    }

    fn trouble(&self) -> Vec<String> {
        let rows = [(self.report.skipped, "skipped"), (self.report.failed, "failed")];
        let named = |(count, word): &(u64, &str)| format!("  {word:9}  {}, named above", text::count(*count, "file"));
        let mut text: Vec<_> = rows.iter().filter(|(count, _)| *count > 0).map(named).collect();
        if self.report.interrupted {
            text.push("  stopped    before its end; what is counted here is kept".to_owned());
        }
        text
    }
}

/// Files and bytes that are kept now.
fn kept(report: &AddReport) -> (u64, u64) {
    let files = report.new_files + report.dedup_files + report.unchanged_files + report.healed_files;
    (files, report.new_bytes + report.dedup_bytes + report.unchanged_bytes + report.healed_bytes)
}

fn headline(report: &AddReport, time: Duration) -> String {
    let (files, bytes) = kept(report);
    let amount = format!("{}, {}", text::count(files, "file"), text::size(bytes, false));
    format!("Kept {amount} in {}: {}", text::took(time), text::speed(files, bytes, time))
}

fn counts(context: &Context, report: &AddReport) -> Vec<String> {
    let all = kept(report).1;
    let row = |word: &str, files: u64, bytes: u64, remark: &str| {
        (files > 0).then(|| format!("  {word:9}  {}, {}{remark}", text::count(files, "file"), context.size(bytes)))
    };
    let saved = format!(": known bytes, not stored again, {} of all saved", text::percent(report.dedup_bytes, all));
    let rows = [
        row("new", report.new_files, report.new_bytes, ""),
        row("dedup", report.dedup_files, report.dedup_bytes, &saved),
        row("unchanged", report.unchanged_files, report.unchanged_bytes, ": the names meant these bytes already"),
        row("healed", report.healed_files, report.healed_bytes, ": the stored copy was damaged and is good again"),
    ];
    rows.into_iter().flatten().collect()
}

/// What a newcomer can try now.
fn next(context: &Context, first: Option<&Name>) -> String {
    let larder = context.again();
    let name = first.and_then(|name| text::shell_word(name.as_bytes())).unwrap_or_else(|| "NAME".to_owned());
    let rows = [
        ("Next:", format!("{larder} ls"), "the names, and what they cost"),
        ("", format!("{larder} show {name}"), "everything about one of them"),
        ("", format!("{larder} get {name} ."), "a file back out"),
        ("", format!("{larder} verify"), "every blob against its digest"),
    ];
    text::table(&[], &[], rows.map(|(lead, command, what)| vec![lead.to_owned(), command, what.to_owned()]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Verbosity;
    use crate::cli::tests::context;

    #[derive(clap::Parser)]
    struct Only {
        #[command(flatten)]
        args: Args,
    }

    fn parsed(words: &[&str]) -> Args {
        <Only as clap::Parser>::try_parse_from(std::iter::once("add").chain(words.iter().copied())).unwrap().args
    }

    #[test]
    fn standard_input_stands_alone_and_has_a_name() {
        assert!(parsed(&["-", "--name", "a"]).check().is_ok());
        assert!(parsed(&["./-"]).check().is_ok());
        for bad in [&["-"][..], &["-", "f", "--name", "a"], &["-", "--name", "a", "--move"], &["f", "g", "--name", "a"]]
        {
            assert_eq!(parsed(bad).check().unwrap_err().exit, Exit::Usage, "{bad:?}");
        }
    }

    #[test]
    fn options_are_what_was_written() {
        let options = parsed(&["f", "--prefix", "a/b/", "--move", "--alias", "counted", "--replace"]).options();
        assert_eq!(options.prefix, Name::new("a/b").ok());
        assert_eq!((options.take_in, options.alias, options.replace), (TakeIn::Move, Some(AliasKind::Counted), true));
        assert_eq!(parsed(&["f", "--prefix", "."]).options().prefix, None);
    }

    #[test]
    fn partly_added_is_a_finding_and_unexpected_bytes_are_a_failure() {
        let failed = AddReport { failed: 1, new_files: 3, ..AddReport::default() };
        assert_eq!(exit(&parsed(&["f"]), &failed), Exit::Findings);
        let expect = Digest::EMPTY.to_string();
        assert_eq!(exit(&parsed(&["f", "--expect", &expect]), &failed), Exit::Failed);
    }

    #[test]
    fn the_summary_says_what_was_saved() {
        let (context, ..) = context("add", false, Verbosity::Normal);
        let report = AddReport {
            new_files: 3,
            new_bytes: 3 << 20,
            dedup_files: 1,
            dedup_bytes: 1 << 20,
            ..AddReport::default()
        };
        assert_eq!(headline(&report, Duration::from_secs(2)), "Kept 4 files, 4.0 MiB in 2.0 s: 2 files/s, 2.0 MiB/s");
        let rows = counts(&context, &report);
        assert_eq!(rows[0], "  new        3 files, 3.0 MiB");
        assert_eq!(rows[1], "  dedup      1 file, 1.0 MiB: known bytes, not stored again, 25.0 % of all saved");
    }
}
