//! Comparing an engine of the catalog with the journal, and moving a store from one engine to another.

use std::collections::VecDeque;
use std::path::PathBuf;

use crate::format::options::OptionKey;
use crate::ledger::Engine;
use crate::parts::catalog::{Catalog, PAGE_ENTRIES};
use crate::vocabulary::{Entry, EntryId, Error, ErrorKind, Key, Observer, Query, Result};
use crate::work::{Context, configure};

/// Differences that are told one by one.
pub const DIFFERENCES_TOLD: usize = 20;
/// How often it is begun again when others change the store meanwhile.
const TRIES: usize = 8;

/// What one entry is that two engines say different things of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The entry.
    pub key: Key,
    /// What is different.
    pub what: &'static str,
}

/// What comparing an engine with the journal came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Entries that were compared, those in the trash among them.
    pub entries: u64,
    /// Entries that differ, and one more where counts and sums do.
    pub differing: u64,
    /// The first [`DIFFERENCES_TOLD`] of them.
    pub told: Vec<Difference>,
}

/// What moving the catalog came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The engine that the store had.
    pub from: &'static str,
    /// The one that it has now.
    pub to: &'static str,
    /// The database that was made, or removed.
    pub path: Option<PathBuf>,
    /// Entries, those in the trash among them; each was compared with the journal.
    pub entries: u64,
    /// Whether anything was changed.
    pub moved: bool,
}

/// Compares every answer of the store's engine about every entry with what base and frames alone say, both ways.
/// [`ErrorKind::Busy`] where the store is changed all the time, [`ErrorKind::Unsupported`] for an engine that is not built
/// in.
pub fn check(ctx: &Context<'_>, observer: &dyn Observer) -> Result<Compared> {
    compared(ctx, &ctx.ledger.policy.engine, observer)
}

/// Gives a store another engine: brings it up to the journal, compares it with the journal, and only then changes
/// `larder.toml`, which the next who opens the store goes by. With `dry_run` it only says what would be done.
///
/// [`ErrorKind::Damaged`] where the engine does not say what the journal does: then nothing is changed.
pub fn migrate(ctx: &Context<'_>, to: &Engine, dry_run: bool, observer: &dyn Observer) -> Result<Migrated> {
    let ledger = ctx.ledger;
    let from = &ledger.policy.engine;
    let path = [to, from].into_iter().find_map(|engine| match engine {
        Engine::Embedded => None,
        Engine::Sqlite { path, .. } => Some(ledger.layout.root().join(path)),
    });
    let mut migrated = Migrated { from: from.word(), to: to.word(), path, entries: 0, moved: false };
    to.is_built_in()?;
    if from.word() == to.word() || dry_run {
        let totals = ledger.embedded_catalog()?.totals()?;
        migrated.entries = totals.models + totals.documents + totals.trashed;
        return Ok(migrated);
    }
    let compared = compared(ctx, to, observer)?;
    if let Some(first) = compared.told.first() {
        let reason = format!(
            "{} of its entries are not what the journal says: {} ({})",
            compared.differing, first.key, first.what
        );
        return Err(Error::new(ErrorKind::Damaged, format!("move the catalog to {}", to.word()), reason));
    }
    configure::switch(ctx, OptionKey::CatalogBackend, to.word())?;
    if from.is_built_in().is_ok() {
        ledger.remove_engine(from)?;
    }
    Ok(Migrated { entries: compared.entries, moved: true, ..migrated })
}

/// What differs while others write is looked at again.
fn compared(ctx: &Context<'_>, engine: &Engine, observer: &dyn Observer) -> Result<Compared> {
    for _ in 0..TRIES {
        let truth = ctx.ledger.snapshot_from_journal()?;
        let (catalog, sequence) = ctx.ledger.engine_at(engine)?;
        let compared = compare(&truth, catalog.as_ref(), observer)?;
        if compared.differing == 0 || sequence == truth.cursor.sequence {
            return Ok(compared);
        }
    }
    Err(Error::new(ErrorKind::Busy, "compare the catalog with the journal", "it is changed all the time"))
}

/// Goes along both in order of keys.
fn compare(truth: &dyn Catalog, asked: &dyn Catalog, observer: &dyn Observer) -> Result<Compared> {
    let mut compared = Compared::default();
    for trashed in [false, true] {
        let (mut right, mut found) = (Stream::of(truth, trashed), Stream::of(asked, trashed));
        loop {
            if observer.cancelled() {
                return Err(Error::new(ErrorKind::Interrupted, "compare the catalog", "it was stopped"));
            }
            match (right.first()?, found.first()?) {
                (None, None) => break,
                (Some(_), None) => compared.differs(right.take(), "it is missing"),
                (None, Some(_)) => compared.differs(found.take(), "there is no such entry"),
                (Some(one), Some(other)) => match one.to_bytes().cmp(&other.to_bytes()) {
                    std::cmp::Ordering::Less => compared.differs(right.take(), "it is missing"),
                    std::cmp::Ordering::Greater => compared.differs(found.take(), "there is no such entry"),
                    std::cmp::Ordering::Equal => {
                        let (one, other) = (right.take(), found.take());
                        match differs(truth, asked, &one, &other)? {
                            Some(what) => compared.differs(one, what),
                            None => compared.entries += 1,
                        }
                    }
                },
            }
        }
    }
    if compared.differing == 0 && truth.totals()? != asked.totals()? {
        // No entry shows it: there is none to name.
        let reason = "its counts and sums are not what the entries come to";
        return Err(Error::new(ErrorKind::Damaged, "compare the catalog with the journal", reason));
    }
    Ok(compared)
}

/// What two catalogs say differently of one entry.
fn differs(truth: &dyn Catalog, asked: &dyn Catalog, one: &Entry, other: &Entry) -> Result<Option<&'static str>> {
    if one != other {
        return Ok(Some("it says something else"));
    }
    let key = &one.card.key;
    if asked.entry(key)?.as_ref() != Some(one) {
        return Ok(Some("it is not found by its key"));
    }
    if asked.keys_of_ids(&key.id().to_string(), 2)? != std::slice::from_ref(key) {
        return Ok(Some("it is not found by its identity"));
    }
    for digest in one.variants.iter().filter_map(|variant| variant.digest) {
        let keeps: Vec<(EntryId, String)> = truth.entries_of(&digest)?;
        if keeps != asked.entries_of(&digest)? {
            return Ok(Some("it is not found by its digests"));
        }
    }
    for query in terms_of(one) {
        let exactly = Query { prefix: key.to_bytes(), ..query };
        if asked.page(&exactly, None, 2)?.first() != Some(one) {
            return Ok(Some("it is not found by its terms"));
        }
    }
    Ok(None)
}

/// A query for each thing that an entry is found by.
fn terms_of(entry: &Entry) -> Vec<Query> {
    let card = &entry.card;
    let base = Query { trashed: entry.trashed_ns.is_some(), ..Query::default() };
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let mut queries = vec![
        Query { state: Some(card.state), ..base.clone() },
        Query { run: text(&card.run), ..base.clone() },
        Query { provider: text(card.key.provider()), ..base.clone() },
        Query { content_type: text(&card.content_type), ..base.clone() },
    ];
    queries.extend(card.tags.iter().map(|tag| Query { tags: vec![tag.clone()], ..base.clone() }));
    queries
}

impl Compared {
    fn differs(&mut self, entry: Entry, what: &'static str) {
        self.entries += 1;
        self.differing += 1;
        if self.told.len() < DIFFERENCES_TOLD {
            self.told.push(Difference { key: entry.card.key, what });
        }
    }
}

/// All entries of a catalog, a page at a time.
struct Stream<'a> {
    catalog: &'a dyn Catalog,
    query: Query,
    page: VecDeque<Entry>,
    after: Option<Key>,
    ended: bool,
}

impl<'a> Stream<'a> {
    fn of(catalog: &'a dyn Catalog, trashed: bool) -> Self {
        let query = Query { trashed, ..Query::default() };
        Stream { catalog, query, page: VecDeque::new(), after: None, ended: false }
    }

    /// The key of the next one.
    fn first(&mut self) -> Result<Option<&Key>> {
        if self.page.is_empty() && !self.ended {
            self.page = self.catalog.page(&self.query, self.after.as_ref(), PAGE_ENTRIES)?.into();
            self.ended = self.page.len() < PAGE_ENTRIES;
            self.after = self.page.back().map(|last| last.card.key.clone());
        }
        Ok(self.page.front().map(|entry| &entry.card.key))
    }

    fn take(&mut self) -> Entry {
        self.page.pop_front().expect("it was seen")
    }
}
