//! What the suites of the catalog's engines share: a store on this machine, opened with either engine, and a slow and
//! obvious catalog to compare their answers with.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use larder::format::layout::Layout;
use larder::format::record::entry::{
    EntryRecord, EntryRemovedRecord, TrashedRecord, UsedRecord, VariantRecord, VariantRemovedRecord,
};
use larder::format::record::{Moment, Record};
use larder::format::settings::{Durability, Settings};
use larder::hashing::Workers;
use larder::ledger::{Engine, Ledger, Policy, Tx};
use larder::machine::Machine;
use larder::machine::real::Real;
use larder::parts::catalog::{Catalog, Totals};
use larder::work::Context;
use larder::work::init::{NewStoreSpec, create};
use larder::{Digest, Entry, EntryId, EntryKind, Key, Query, Result, State, Usage};

/// Where SQLite's file is in these tests, below the store directory.
pub const DATABASE: &str = "state/catalog.sqlite";

/// A store in a directory of its own.
pub struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let place = Place { directory: tempfile::tempdir().unwrap() };
        let spec = NewStoreSpec { durability: Durability::None, ..NewStoreSpec::default() };
        create(&machine(), &place.store(), &spec).unwrap();
        place
    }

    pub fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    pub fn database(&self) -> PathBuf {
        self.store().join(DATABASE)
    }

    pub fn open(&self, engine: Engine) -> Opened {
        open(&self.store(), engine)
    }
}

pub fn machine() -> Arc<dyn Machine> {
    Arc::new(Real::new())
}

pub fn sqlite() -> Engine {
    Engine::Sqlite { path: DATABASE.into(), wal: true }
}

pub fn sqlite_without_log() -> Engine {
    Engine::Sqlite { path: DATABASE.into(), wal: false }
}

/// An open store, without the front.
pub struct Opened {
    pub ledger: Ledger,
    pub workers: Workers,
}

pub fn open(store: &Path, engine: Engine) -> Opened {
    crate::kit::plant();
    let layout = Layout::new(store.canonicalize().unwrap());
    let settings = Settings::from_toml(&std::fs::read_to_string(layout.settings()).unwrap()).unwrap();
    let policy = Policy {
        store: settings.id().unwrap(),
        durability: settings.durability,
        blob_mode: 0o444,
        directory_mode: 0o755,
        syncfs: false,
        lock_timeout: Duration::from_secs(20),
        writable: true,
        engine,
    };
    let machine = machine();
    machine.confine(layout.root());
    Opened { ledger: Ledger::open(machine, layout, policy).unwrap(), workers: Workers::new(1).unwrap() }
}

impl Opened {
    pub fn ctx(&self) -> Context<'_> {
        Context { ledger: &self.ledger, workers: &self.workers, hardlinked: true }
    }

    pub fn catalog(&self) -> Arc<dyn Catalog> {
        self.ledger.catalog().unwrap()
    }

    /// Puts these entries in the place of whatever has their keys, in one frame.
    pub fn put(&self, entries: Vec<Entry>) {
        self.ledger.transact(move |tx| entries.iter().try_for_each(|entry| put(tx, entry))).unwrap();
    }

    /// Takes the entry of a key away.
    pub fn remove(&self, key: Key) {
        self.ledger.transact(move |tx| remove(tx, &key)).unwrap();
    }
}

/// The records that make of what a key has what `entry` says.
pub fn put(tx: &mut Tx<'_>, entry: &Entry) -> Result<()> {
    use larder::ledger::Entries;
    let before = Entries::entry(tx, &entry.card.key)?;
    let terms = entry.card.terms();
    let had = before.as_ref().map(|before| before.card.terms()).unwrap_or_default();
    tx.push(Record::Entry(Box::new(EntryRecord {
        card: entry.card.clone(),
        dropped: had.difference(&terms).cloned().collect(),
    })));
    let id = entry.id();
    let variants_before = before.as_ref().map(|before| before.variants.clone()).unwrap_or_default();
    for old in &variants_before {
        if entry.variant(&old.name).is_none() {
            let removed = VariantRemovedRecord { entry: id, name: old.name.clone(), was: old.digest };
            tx.push(Record::VariantRemoved(removed));
        }
    }
    for variant in &entry.variants {
        let was = variants_before.iter().find(|old| old.name == variant.name).and_then(|old| old.digest);
        tx.push(Record::Variant(Box::new(VariantRecord { entry: id, variant: variant.clone(), was })));
    }
    if before.as_ref().map(|before| before.usage).unwrap_or_default() != entry.usage {
        tx.push(Record::Used(UsedRecord { entry: id, usage: entry.usage }));
    }
    match entry.trashed_ns {
        Some(time_ns) => {
            let since = Moment { sequence: tx.moment().sequence, time_ns };
            tx.push(Record::Trashed(TrashedRecord { entry: id, rule: "test".into(), since }));
        }
        None if before.is_some_and(|before| before.trashed_ns.is_some()) => tx.push(Record::Untrashed(id)),
        None => {}
    }
    Ok(())
}

fn remove(tx: &mut Tx<'_>, key: &Key) -> Result<()> {
    use larder::ledger::Entries;
    let Some(entry) = Entries::entry(tx, key)? else { return Ok(()) };
    for variant in &entry.variants {
        let removed = VariantRemovedRecord { entry: key.id(), name: variant.name.clone(), was: variant.digest };
        tx.push(Record::VariantRemoved(removed));
    }
    let terms = entry.card.terms().into_iter().collect();
    let when = tx.moment();
    tx.push(Record::EntryRemoved(EntryRemovedRecord { key: key.clone(), terms, rule: "test".into(), when }));
    Ok(())
}

/// A catalog that does everything the slow way.
#[derive(Clone, Debug, Default)]
pub struct Obvious(pub BTreeMap<Key, Entry>);

impl Obvious {
    pub fn of(entries: &[Entry]) -> Self {
        Obvious(entries.iter().map(|entry| (entry.card.key.clone(), entry.clone())).collect())
    }

    fn in_order(&self) -> Vec<&Entry> {
        let mut entries: Vec<&Entry> = self.0.values().collect();
        entries.sort_by_key(|entry| entry.card.key.to_bytes());
        entries
    }
}

impl Catalog for Obvious {
    fn entry(&self, key: &Key) -> Result<Option<Entry>> {
        Ok(self.0.get(key).cloned())
    }

    fn keys_of_ids(&self, first: &str, most: usize) -> Result<Vec<Key>> {
        let mut keys: Vec<&Key> = self.0.keys().filter(|key| key.id().to_string().starts_with(first)).collect();
        keys.sort_by_key(|key| key.id());
        Ok(keys.into_iter().take(most).cloned().collect())
    }

    fn entries_of(&self, digest: &Digest) -> Result<Vec<(EntryId, String)>> {
        let mut found: Vec<(EntryId, String)> = Vec::new();
        for entry in self.0.values() {
            let named = entry.variants.iter().filter(|variant| variant.digest == Some(*digest));
            found.extend(named.map(|variant| (entry.id(), variant.name.clone())));
        }
        found.sort();
        Ok(found)
    }

    fn page(&self, query: &Query, after: Option<&Key>, limit: usize) -> Result<Vec<Entry>> {
        let behind = |entry: &&Entry| after.is_none_or(|after| entry.card.key.to_bytes() > after.to_bytes());
        let wanted = self.in_order().into_iter().filter(behind).filter(|entry| query.admits(entry));
        Ok(wanted.take(limit).cloned().collect())
    }

    fn totals(&self) -> Result<Totals> {
        let (trashed, kept): (Vec<&Entry>, Vec<&Entry>) = self.0.values().partition(|entry| entry.trashed_ns.is_some());
        let mut sizes = BTreeMap::new();
        let mut by_id = kept.clone();
        by_id.sort_by_key(|entry| entry.id());
        for variant in by_id.iter().flat_map(|entry| &entry.variants) {
            if let (Some(digest), Some(size)) = (variant.digest, variant.size_bytes) {
                sizes.entry(digest).or_insert(size);
            }
        }
        let of_kind = |kind| kept.iter().filter(|entry| entry.card.key.kind() == kind).count() as u64;
        let of_state = |state| kept.iter().filter(|entry| entry.card.state == state).count() as u64;
        Ok(Totals {
            by_state: State::ALL.into_iter().map(|state| (state, of_state(state))).collect(),
            models: of_kind(EntryKind::Model),
            documents: of_kind(EntryKind::Document),
            variants: kept.iter().map(|entry| entry.variants.len() as u64).sum(),
            bytes: sizes.values().sum(),
            trashed: trashed.len() as u64,
        })
    }
}

/// What two catalogs are asked.
#[derive(Clone, Debug, Default)]
pub struct Questions {
    pub queries: Vec<Query>,
    pub keys: Vec<Key>,
    pub digests: Vec<Digest>,
}

impl Questions {
    /// Those that whatever is in these entries leads to: each thing by which an entry is found, alone.
    pub fn about(entries: &[Entry]) -> Self {
        let mut queries: BTreeSet<Vec<u8>> = BTreeSet::new();
        let mut questions = Questions::default();
        let mut ask = |query: Query, questions: &mut Questions| {
            if queries.insert(format!("{query:?}").into_bytes()) {
                questions.queries.push(query);
            }
        };
        for trashed in [false, true] {
            ask(Query { trashed, ..Query::default() }, &mut questions);
            for kind in [EntryKind::Model, EntryKind::Document] {
                ask(Query { kind: Some(kind), trashed, ..Query::default() }, &mut questions);
            }
            for state in State::ALL {
                ask(Query { state: Some(state), trashed, ..Query::default() }, &mut questions);
            }
        }
        for entry in entries {
            for query in about(entry) {
                ask(query, &mut questions);
            }
            questions.keys.push(entry.card.key.clone());
            questions.digests.extend(entry.variants.iter().filter_map(|variant| variant.digest));
        }
        questions.keys.push(Key::model("nobody", "knows", "it").unwrap());
        questions.keys.push(Key::document("nobody", "knows", "it").unwrap());
        questions.digests.push(Digest::from_bytes([0xee; 32]));
        questions
    }
}

fn about(entry: &Entry) -> Vec<Query> {
    let card = &entry.card;
    let base = Query { trashed: entry.trashed_ns.is_some(), ..Query::default() };
    let bytes = card.key.to_bytes();
    let mut queries = vec![
        Query { trust: Some(card.trust), ..base.clone() },
        Query { provider: Some(card.key.provider().to_owned()), ..base.clone() },
        Query { run: Some(card.run.clone()), ..base.clone() },
        Query { content_type: Some(card.content_type.clone()), ..base.clone() },
        Query { prefix: bytes.clone(), ..base.clone() },
        Query { prefix: bytes[..bytes.len() / 2].to_vec(), ..base.clone() },
        Query { prefix: bytes[..bytes.len() / 2].to_vec(), kind: Some(EntryKind::Model), ..base.clone() },
        Query { before_ns: Some(card.registered_ns), ..base.clone() },
        Query { since_ns: Some(card.registered_ns), ..base.clone() },
        Query { unused_since_ns: Some(entry.usage.last_ns), ..base.clone() },
        Query { min_bytes: Some(entry.size_bytes()), ..base.clone() },
        Query { max_bytes: Some(entry.size_bytes()), ..base.clone() },
        Query { text: vec![card.key.reference().to_uppercase()], ..base.clone() },
        Query { text: vec![format!("*{}*", card.title)], ..base.clone() },
        Query { text: vec![card.notes.chars().take(3).collect(), "?*".into()], ..base.clone() },
        Query { tags: card.tags.iter().cloned().collect(), ..base.clone() },
        Query {
            state: Some(card.state),
            run: Some(card.run.clone()),
            provider: Some(card.key.provider().to_owned()),
            tags: card.tags.iter().take(1).cloned().collect(),
            prefix: bytes[..2].to_vec(),
            ..base.clone()
        },
    ];
    queries.extend(card.tags.iter().map(|tag| Query { tags: vec![tag.clone()], ..base.clone() }));
    let digests = entry.variants.iter().filter_map(|variant| variant.digest);
    queries.extend(digests.map(|digest| Query { digest: Some(digest), ..base.clone() }));
    queries
}

/// Asks both the same; fails where they do not say the same, and says about what.
pub fn same(what: &str, right: &dyn Catalog, asked: &dyn Catalog, questions: &Questions) {
    assert_eq!(asked.totals().unwrap(), right.totals().unwrap(), "{what}: totals");
    for key in &questions.keys {
        assert_eq!(asked.entry(key).unwrap(), right.entry(key).unwrap(), "{what}: {key:?}");
        let id = key.id().to_string();
        for (first, most) in
            [(&id[..], 5), (&id[..1], 2), (&id[..3], 5), ("", 1), ("", 0), ("", 1000), ("G", 3), ("+", 3)]
        {
            let found = asked.keys_of_ids(first, most).unwrap();
            assert_eq!(found, right.keys_of_ids(first, most).unwrap(), "{what}: ids that begin with {first:?}");
        }
    }
    for digest in &questions.digests {
        assert_eq!(asked.entries_of(digest).unwrap(), right.entries_of(digest).unwrap(), "{what}: {digest}");
    }
    for query in &questions.queries {
        for limit in [2, 1000] {
            same_pages(what, right, asked, query, limit);
        }
        assert!(asked.page(query, None, 0).unwrap().is_empty());
        for after in questions.keys.iter().rev().take(2) {
            let page = asked.page(query, Some(after), 2).unwrap();
            assert_eq!(page, right.page(query, Some(after), 2).unwrap(), "{what}: {query:?} behind {after:?}");
        }
    }
}

fn same_pages(what: &str, right: &dyn Catalog, asked: &dyn Catalog, query: &Query, limit: usize) {
    let mut after: Option<Key> = None;
    loop {
        let page = asked.page(query, after.as_ref(), limit).unwrap();
        let expected = right.page(query, after.as_ref(), limit).unwrap();
        assert_eq!(page, expected, "{what}: {query:?}, pages of {limit}, behind {after:?}");
        match page.last() {
            Some(last) if page.len() == limit => after = Some(last.card.key.clone()),
            _ => return,
        }
    }
}

/// An entry of which nothing but its key is known.
pub fn bare(key: Key) -> Entry {
    Entry {
        card: larder::Card::new(key, 1_700_000_000_000_000_000),
        variants: Vec::new(),
        usage: Usage::default(),
        trashed_ns: None,
    }
}
