//! Importing: entries out of manifests and catalogs of other programs (R141 to R144, R5).
//!
//! Whatever the source is, it gives one JSON object for each entry (`crate::format::manifest`), which are taken a batch at a
//! time: read, looked for on the disk where that is asked for (`files`), and put on record in one transaction. What is
//! interrupted goes on when the same import is run again, since what is registered stays as it is.

mod catalog_json;
mod files;
mod lines;

use std::collections::{BTreeSet, VecDeque};
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use self::files::Root;
use self::lines::{Lines, Read as Text};
use super::Context;
use super::catalog::register::IfThere;
use super::catalog::restore::restore_one;
use super::ingest::{AliasKind, TakeIn};
use crate::format::manifest::{self, Line, Listed};
use crate::ledger::{Entries, Tx};
use crate::vocabulary::limits::{MANIFEST_BATCH, MANIFEST_BATCH_BYTES, MANIFEST_LINE_BYTES};
use crate::vocabulary::{Error, ErrorKind, Event, Key, Observer, Result};

/// Where entries are read from.
pub enum Input<'a> {
    /// Lines of JSON.
    Lines(&'a mut dyn BufRead),
    /// One document `{"models": […]}`.
    CatalogJson(&'a mut dyn Read),
    /// A database with a table `models` or `documents`.
    Sqlite(&'a Path),
}

/// What kind of manifest a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines of JSON.
    Lines,
    /// One document `{"models": […]}`.
    CatalogJson,
    /// An SQLite database.
    Sqlite,
}

impl Format {
    /// What the beginning of a file shows it to be.
    pub fn of(beginning: &[u8]) -> Self {
        if beginning.starts_with(b"SQLite format 3\0") {
            return Format::Sqlite;
        }
        let mut plain = beginning.iter().copied().filter(|b| !b.is_ascii_whitespace());
        let begins = b"{\"models\":[".iter().all(|wanted| plain.next() == Some(*wanted));
        if begins { Format::CatalogJson } else { Format::Lines }
    }
}

/// What becomes of the files that a manifest names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Files {
    /// They are not looked at: where they are goes on record.
    #[default]
    Leave,
    /// They are hashed where they are, and held against what the manifest says.
    Hash,
    /// They are taken into the store, and hashed on the way.
    Adopt(TakeIn),
}

/// How a manifest is imported.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// What becomes of the files.
    pub files: Files,
    /// Where the files are: relative paths are taken from there, and nothing outside of it is read. `None` reads nothing.
    pub root: Option<PathBuf>,
    /// What becomes of an entry that is registered already. [`IfThere::Keep`] goes on where an import was broken off.
    pub if_there: IfThere,
    /// How the names of adopted files are kept; `None` is the store's setting.
    pub alias: Option<AliasKind>,
    /// Change nothing.
    pub dry_run: bool,
}

impl Default for ImportOptions {
    fn default() -> Self {
        ImportOptions { files: Files::Leave, root: None, if_there: IfThere::Keep, alias: None, dry_run: false }
    }
}

/// What an import came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Lines, or records of another source, that were read.
    pub lines: u64,
    /// Entries that were made.
    pub registered: u64,
    /// Entries that were there and stayed as they are.
    pub kept: u64,
    /// Entries that were there and were added to.
    pub merged: u64,
    /// Lines about something else, such as a download that failed.
    pub skipped: u64,
    /// Lines that cannot be used.
    pub bad: u64,
    /// Lines whose files could not be read or taken in; their entries are not registered.
    pub failed: u64,
    /// Entries whose bytes are other than expected; they are registered, as failed.
    pub mismatched: u64,
    /// Entries whose bytes were read and are as the manifest says.
    pub verified: u64,
    /// Entries whose bytes were read, and of which the manifest does not say all that they should be.
    pub hashed: u64,
    /// Files that were hashed or taken in.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether it was stopped before its end; what is counted is done.
    pub interrupted: bool,
}

impl ImportReport {
    /// How many things are wrong.
    pub fn findings(&self) -> u64 {
        self.bad + self.failed + self.mismatched
    }
}

/// What became of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Became {
    New,
    Kept,
    Merged,
    Refused(String),
}

/// Registers what a manifest lists, batch by batch; each entry is told to `observer` ([`Event::Imported`]) after it is
/// durable. A line that cannot be used is told ([`Event::BadLine`]) and left out, and the rest goes on.
///
/// Of the whole, memory holds no more than a batch, and one line of at most [`MANIFEST_LINE_BYTES`].
/// [`ErrorKind::Unsupported`] for SQLite in a program that was built without it.
pub fn import(
    ctx: &Context<'_>,
    input: Input<'_>,
    options: &ImportOptions,
    observer: &dyn Observer,
) -> Result<ImportReport> {
    let root = options.root.as_deref().map(|root| Root::new(ctx.ledger.machine.as_ref(), root)).transpose()?;
    let mut importing =
        Importing { ctx, options, observer, root, batch: Vec::new(), batch_bytes: 0, report: ImportReport::default() };
    let read = match input {
        Input::Lines(input) => importing.lines(input),
        Input::CatalogJson(input) => catalog_json::read(input, &mut importing),
        Input::Sqlite(path) => from_sqlite(path, &mut importing),
    };
    match read {
        Ok(()) if !importing.report.interrupted => importing.flush()?,
        // What was read of it is as good as if it had ended there.
        Err(e) if e.kind() == ErrorKind::Interrupted => {
            importing.report.interrupted = true;
            importing.flush()?;
        }
        Err(e) => {
            importing.flush()?;
            return Err(e);
        }
        Ok(()) => {}
    }
    ctx.ledger.compact_if_due();
    Ok(importing.report)
}

#[cfg(feature = "sqlite")]
fn from_sqlite(path: &Path, importing: &mut Importing<'_>) -> Result<()> {
    crate::parts::catalog::foreign::read(path, &mut |number, json| match json {
        Ok(json) => importing.take(number, json),
        Err(why) => importing.unusable(number, why),
    })
}

#[cfg(not(feature = "sqlite"))]
fn from_sqlite(path: &Path, _: &mut Importing<'_>) -> Result<()> {
    let reason = "it is an SQLite database, and this program was built without the feature `sqlite`";
    Err(Error::new(ErrorKind::Unsupported, format!("import {}", path.display()), reason))
}

/// One entry of a batch, with the line that it comes from.
struct Item {
    line: u64,
    listed: Listed,
}

/// An import under way.
struct Importing<'a> {
    ctx: &'a Context<'a>,
    options: &'a ImportOptions,
    observer: &'a dyn Observer,
    root: Option<Root>,
    batch: Vec<Item>,
    batch_bytes: usize,
    report: ImportReport,
}

impl Importing<'_> {
    fn lines(&mut self, input: &mut dyn BufRead) -> Result<()> {
        let mut lines = Lines::new(input);
        loop {
            match lines.next().map_err(|e| Error::system("read the manifest", e))? {
                None => return Ok(()),
                Some(Text::Line(text)) => {
                    let text = text.to_vec();
                    if !self.take(lines.number(), &text)? {
                        return Ok(());
                    }
                }
                Some(Text::TooLong(bytes)) => {
                    self.report.lines += 1;
                    let most = MANIFEST_LINE_BYTES;
                    self.bad(lines.number(), format!("it has {bytes} bytes, and at most {most} are read"));
                }
            }
        }
    }

    /// Takes one object; `false`: somebody wants to stop.
    fn take(&mut self, number: u64, json: &[u8]) -> Result<bool> {
        self.report.lines += 1;
        match manifest::parse_line(json, self.ctx.ledger.machine.now_ns()) {
            Err(why) => self.bad(number, why),
            Ok(Line::Skipped(reason)) => {
                self.report.skipped += 1;
                self.observer.event(&Event::LineSkipped { line: number, reason });
            }
            Ok(Line::Entry(listed)) => {
                // What becomes of the first of two decides about the second.
                let same = |item: &Item| item.listed.entry.card.key == listed.entry.card.key;
                let looks = self.options.files != Files::Leave && !self.options.dry_run;
                if looks && self.batch.iter().any(same) {
                    self.flush()?;
                }
                self.batch.push(Item { line: number, listed: *listed });
                self.batch_bytes += json.len();
            }
        }
        if self.batch.len() >= MANIFEST_BATCH || self.batch_bytes >= MANIFEST_BATCH_BYTES {
            self.flush()?;
        }
        if self.observer.cancelled() {
            self.report.interrupted = true;
            self.flush()?;
        }
        Ok(!self.report.interrupted)
    }

    /// Takes note of a record that cannot be read; `false`: somebody wants to stop.
    #[cfg(feature = "sqlite")]
    fn unusable(&mut self, number: u64, why: String) -> Result<bool> {
        self.report.lines += 1;
        self.bad(number, why);
        Ok(!self.observer.cancelled())
    }

    fn bad(&mut self, line: u64, reason: String) {
        self.report.bad += 1;
        self.observer.event(&Event::BadLine { line, kind: "line", reason });
    }

    /// Puts the batch on record.
    fn flush(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        if batch.is_empty() {
            return Ok(());
        }
        self.observer.expect(batch.len() as u64, 0);
        let (known, fresh) = self.known(batch)?;
        let ready = match self.options.dry_run {
            true => fresh,
            false => self.with_files(fresh)?,
        };
        self.commit(known.into_iter().chain(ready).collect())
    }

    /// Those whose entries stay as they are, whose files need not be looked at, and the others.
    fn known(&self, batch: Vec<Item>) -> Result<(Vec<Item>, Vec<Item>)> {
        if self.options.if_there == IfThere::Merge {
            return Ok((Vec::new(), batch));
        }
        let (mut known, mut fresh) = (Vec::new(), Vec::new());
        let snapshot = self.ctx.ledger.snapshot()?;
        for item in batch {
            let key = &item.listed.entry.card.key;
            let there = Entries::entry(snapshot.as_ref(), key)?.is_some_and(|entry| entry.trashed_ns.is_none());
            if there { known.push(item) } else { fresh.push(item) }
        }
        Ok((known, fresh))
    }

    fn commit(&mut self, mut batch: Vec<Item>) -> Result<()> {
        batch.sort_by_key(|item| item.line);
        let lines: Vec<(u64, Key)> = batch.iter().map(|item| (item.line, item.listed.entry.card.key.clone())).collect();
        let became = match self.options.dry_run {
            true => self.would(&lines)?,
            false => self.put_all(batch)?,
        };
        for ((line, key), became) in lines.into_iter().zip(became) {
            self.tell(line, key, became);
        }
        Ok(())
    }

    /// As many entries in one frame as it takes.
    fn put_all(&self, batch: Vec<Item>) -> Result<Vec<Became>> {
        let if_there = self.options.if_there;
        let mut became = Vec::with_capacity(batch.len());
        let mut waiting: VecDeque<Item> = batch.into();
        while !waiting.is_empty() {
            let mut taken = std::mem::take(&mut waiting);
            let (done, rest) = self.ctx.ledger.transact(move |tx| {
                let mut done = Vec::new();
                while tx.has_room()
                    && let Some(item) = taken.pop_front()
                {
                    done.push(put(tx, item.listed, if_there)?);
                }
                Ok((done, taken))
            })?;
            became.extend(done);
            waiting = rest;
        }
        Ok(became)
    }

    /// What would become of these, one after the other.
    fn would(&self, lines: &[(u64, Key)]) -> Result<Vec<Became>> {
        let snapshot = self.ctx.ledger.snapshot()?;
        let mut keys: BTreeSet<&Key> = BTreeSet::new();
        let mut became = Vec::new();
        for (_, key) in lines {
            let there = Entries::entry(snapshot.as_ref(), key)?.is_some_and(|entry| entry.trashed_ns.is_none());
            became.push(match (there || !keys.insert(key), self.options.if_there) {
                (false, _) => Became::New,
                (true, IfThere::Keep) => Became::Kept,
                (true, IfThere::Merge) => Became::Merged,
                (true, IfThere::Refuse) => Became::Refused(format!("{key} is registered already")),
            });
        }
        Ok(became)
    }

    fn tell(&mut self, line: u64, key: Key, became: Became) {
        let status = match became {
            Became::New => (&mut self.report.registered, "new"),
            Became::Kept => (&mut self.report.kept, "kept"),
            Became::Merged => (&mut self.report.merged, "merged"),
            Became::Refused(why) => return self.bad(line, why),
        };
        *status.0 += 1;
        self.observer.progress(1, 0);
        self.observer.event(&Event::Imported { line, key, status: status.1 });
    }
}

/// One entry on record, or none of it.
fn put(tx: &mut Tx<'_>, listed: Listed, if_there: IfThere) -> Result<Became> {
    let Listed { entry, whole, .. } = listed;
    match tx.part(|tx| restore_one(tx, entry, whole, if_there)) {
        Ok(registered) if registered.new => Ok(Became::New),
        Ok(_) if if_there == IfThere::Keep => Ok(Became::Kept),
        Ok(_) => Ok(Became::Merged),
        Err(e) if matches!(e.kind(), ErrorKind::Taken | ErrorKind::Invalid) => Ok(Became::Refused(e.to_string())),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests;
