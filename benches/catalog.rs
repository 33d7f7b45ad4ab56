//! A catalog of a million entries beside SQLite with the same columns and the same durability: registered in bulk, looked
//! up, a page at a time by prefix, state and tag, found by digest, and opened anew.
#![allow(clippy::print_stdout)]

mod common;

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use common::data::Numbers;
use common::{Contest, Scratch, sized, stores};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use larder::format::record::Record;
use larder::format::record::entry::{EntryRecord, VariantRecord};
use larder::ledger::Ledger;
use larder::parts::catalog::Catalog;
use larder::parts::catalog::sqlite::{Place, Sqlite};
use larder::store::Store;
use larder::work::catalog::register::{IfThere, NewVariant, Registration};
use larder::{Digest, EntryKind, Key, Query, State, Variant};
use rusqlite::{Connection, params};

/// Entries that one call registers, and one transaction of SQLite inserts.
const AT_ONCE: usize = 4000;
/// Entries of which both sides register as many in turns.
const TURN: usize = 20_000;
const PAGE: usize = 100;
const TAGS: u64 = 500;

fn many() -> usize {
    sized(1_000_000, 300)
}

fn questions() -> usize {
    sized(2000, 20)
}

fn pages() -> usize {
    sized(200, 3)
}

fn opens() -> usize {
    sized(20, 2)
}

/// The key of the entry with number `i`: two models, then a document.
fn key(i: usize) -> Key {
    match i % 3 {
        2 => Key::document(&format!("artifact-{i:07}"), &format!("https://example.org/files/{i:07}.pdf"), "web"),
        _ => Key::model("hf", &format!("org{:04}/model-{i:07}", i / 20 % 5000), "v1"),
    }
    .expect("a key")
}

fn tags(i: usize) -> BTreeSet<String> {
    let number = Numbers::from(i as u64).next();
    [format!("tag-{:03}", number % TAGS), format!("kind-{}", number % 10)].into()
}

fn digest(i: usize) -> Digest {
    Digest::from_bytes(*blake3::hash(&i.to_le_bytes()).as_bytes())
}

fn registration(i: usize) -> Registration {
    let variant = NewVariant {
        expected: Some(digest(i)),
        size_bytes: Some(i as u64 * 1000),
        content_type: "application/octet-stream".into(),
        uri: format!("https://example.org/files/{i:07}"),
        ..NewVariant::default()
    };
    Registration {
        title: format!("The entry with number {i}"),
        source: format!("https://example.org/files/{i:07}"),
        content_type: "application/octet-stream".into(),
        run: format!("run-{:03}", i / 1000 % 1000),
        metadata: [("architecture".to_owned(), "llama".to_owned())].into(),
        tags: tags(i),
        variants: vec![variant],
        ..Registration::new(key(i))
    }
}

/// A store and a database with the same entries.
struct Twins {
    scratch: Scratch,
    directory: PathBuf,
    store: Store,
    database: Sqlite,
    numbers: Numbers,
    count: usize,
}

impl Twins {
    fn make(count: usize) -> Self {
        let mut scratch = Scratch::default();
        let directory = scratch.fresh();
        let store = stores::create(&directory);
        let root = scratch.path("database");
        std::fs::create_dir(&root).expect("room for it");
        let path = root.join("catalog.sqlite");
        register_in_turns(&store, &path, count);
        let ledger = stores::ledger(&directory);
        settle_ours(&ledger, count);
        settle_theirs(&path);
        println!("    anonymous memory {} after filling both", anonymous());
        ledger.fold(true).expect("the tail is folded");
        let place = Place {
            root: root.canonicalize().expect("it is there"),
            path: path.canonicalize().expect("it is there"),
            mode: 0o644,
            directory_mode: 0o755,
            wal: true,
            wait: Duration::from_secs(30),
        };
        let database = Sqlite::new(stores::machine(), place);
        let twins = Twins { scratch, directory, store, database, numbers: Numbers::from(1), count };
        twins.agree();
        twins
    }

    /// Both say the same, or nothing that is measured means anything.
    fn agree(&self) {
        let ours = stores::ledger(&self.directory).catalog().expect("a catalog").totals().expect("totals");
        let theirs = self.database.view().expect("a database").totals().expect("totals");
        assert_eq!((ours.models, ours.variants, ours.bytes), (theirs.models, theirs.variants, theirs.bytes));
        assert_eq!(ours.by_state, theirs.by_state);
    }

    fn some(&mut self, count: usize) -> Vec<usize> {
        (0..count).map(|_| self.numbers.next() as usize % self.count).collect()
    }

    fn ours<Q>(&mut self, asked: Vec<Q>, one: impl Fn(&Store, &Q)) -> Duration {
        let store = &self.store;
        self.scratch.timed(|| asked.iter().for_each(|question| one(store, question)))
    }

    fn theirs<Q>(&mut self, asked: Vec<Q>, one: impl Fn(&dyn Catalog, &Q)) -> Duration {
        let database = &self.database;
        self.scratch.timed(|| {
            for question in &asked {
                one(&database.view().expect("a database"), question);
            }
        })
    }

    fn keys(&mut self) -> Vec<Key> {
        self.some(questions()).into_iter().map(key).collect()
    }

    fn digests(&mut self) -> Vec<Digest> {
        self.some(questions()).into_iter().map(digest).collect()
    }

    /// Queries, each with a place to go on from.
    fn queries(&mut self, query: fn(usize) -> Query) -> Vec<(Query, Key)> {
        self.some(pages()).into_iter().map(|i| (query(i), key(i))).collect()
    }

    fn page_ours(&mut self, query: fn(usize) -> Query) -> Duration {
        let asked = self.queries(query);
        self.ours(asked, |store, (query, after)| {
            store.entries(query, Some(after), PAGE).expect("a page");
        })
    }

    fn page_theirs(&mut self, query: fn(usize) -> Query) -> Duration {
        let asked = self.queries(query);
        self.theirs(asked, |database, (query, after)| {
            database.page(query, Some(after), PAGE).expect("a page");
        })
    }
}

fn by_prefix(_: usize) -> Query {
    Query { prefix: Key::prefix(EntryKind::Model, &["hf"]), ..Query::default() }
}

fn by_state(_: usize) -> Query {
    Query { state: Some(State::Active), ..Query::default() }
}

fn by_tag(i: usize) -> Query {
    Query { tags: tags(i).into_iter().next().into_iter().collect(), ..Query::default() }
}

fn register_in_turns(store: &Store, path: &Path, count: usize) {
    let connection = create_database(path);
    let mut ratios = Vec::new();
    let (mut ours, mut theirs) = (Duration::ZERO, Duration::ZERO);
    let all: Vec<usize> = (0..count).collect();
    for turn in all.chunks(TURN) {
        let began = Instant::now();
        for part in turn.chunks(AT_ONCE) {
            let what = part.iter().map(|i| registration(*i)).collect();
            let outcomes = store.register_each(what, IfThere::Keep).expect("they can be registered");
            assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_ok_and(|registered| registered.new)));
        }
        let middle = Instant::now();
        turn.chunks(AT_ONCE).for_each(|part| insert(&connection, part));
        ours += middle - began;
        theirs += middle.elapsed();
        ratios.push((middle - began).as_secs_f64() / middle.elapsed().as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    let per_second = |time: Duration| count as f64 / time.as_secs_f64();
    println!("\ncatalog/register: {count} entries, {AT_ONCE} at a time, in {ours:.1?}: {:.0}/s", per_second(ours));
    let (least, middle, most) = (ratios[0], ratios[ratios.len() / 2], ratios[ratios.len() - 1]);
    println!(
        "    {middle:.3} times as long as SQLite ({:.0}/s; {least:.3} to {most:.3} in turns of {TURN}, {:.3} in all)",
        per_second(theirs),
        ours.as_secs_f64() / theirs.as_secs_f64()
    );
    println!("    anonymous memory {} with both", anonymous());
}

fn create_database(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("a database");
    connection.pragma_update(None, "journal_mode", "wal").expect("it is set");
    // What is acknowledged is on the disk, as larder has it.
    connection.pragma_update(None, "synchronous", "full").expect("it is set");
    connection.pragma_update(None, "foreign_keys", true).expect("it is set");
    connection.execute_batch(include_str!("../src/parts/catalog/sqlite/schema.sql")).expect("a schema");
    connection.set_prepared_statement_cache_capacity(16);
    connection
}

const INSERT: &str =
    "INSERT OR IGNORE INTO entries (identity, key, kind, provider, reference, version, source_url, title,
    source, content_type, run, registered_ns, updated_ns, state, trust, notes, sbom, signature)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12, 'pending', 'unverified', '', '', '')";

fn insert(connection: &Connection, part: &[usize]) {
    connection.execute_batch("BEGIN IMMEDIATE").expect("a transaction");
    for i in part {
        insert_one(connection, *i, &registration(*i)).expect("it can be inserted");
    }
    connection.execute_batch("COMMIT").expect("it is kept");
}

fn insert_one(connection: &Connection, i: usize, what: &Registration) -> rusqlite::Result<()> {
    let (key, now) = (&what.key, 1_700_000_000_000_000_000 + i as i64);
    let bytes = key.to_bytes();
    connection.prepare_cached(INSERT)?.execute(params![
        key.id().as_bytes(),
        bytes,
        key.kind().word(),
        key.provider(),
        key.reference(),
        key.version(),
        key.source_url(),
        what.title,
        what.source,
        what.content_type,
        what.run,
        now
    ])?;
    let id = connection.last_insert_rowid();
    for tag in &what.tags {
        let sql = "INSERT INTO tags (tag, key, entry) VALUES (?1, ?2, ?3)";
        connection.prepare_cached(sql)?.execute(params![tag, bytes, id])?;
    }
    for (name, value) in &what.metadata {
        let sql = "INSERT INTO metadata (entry, name, value) VALUES (?1, ?2, ?3)";
        connection.prepare_cached(sql)?.execute(params![id, name, value])?;
    }
    for variant in &what.variants {
        let sql = "INSERT INTO variants (entry, name, expected, size_bytes, content_type, uri, created_ns)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        connection.prepare_cached(sql)?.execute(params![
            id,
            variant.name,
            variant.expected.map(|digest| *digest.as_bytes()),
            variant.size_bytes.map(u64::cast_signed),
            variant.content_type,
            variant.uri,
            now
        ])?;
    }
    Ok(())
}

/// Every digest is found, and one entry in ten is active: what hashing the files would have done.
fn settle_ours(ledger: &Ledger, count: usize) {
    let all: Vec<usize> = (0..count).collect();
    for part in all.chunks(AT_ONCE) {
        let part = part.to_vec();
        let settled = ledger.transact(move |tx| {
            use larder::ledger::Entries;
            for i in part {
                let entry = Entries::entry(tx, &key(i))?.expect("it was registered");
                let variant = Variant { digest: Some(digest(i)), ..entry.variants[0].clone() };
                tx.push(Record::Variant(Box::new(VariantRecord { entry: entry.id(), variant, was: None })));
                if i.is_multiple_of(10) {
                    let mut card = entry.card;
                    let before = card.terms();
                    card.state = State::Active;
                    let dropped = before.difference(&card.terms()).cloned().collect();
                    tx.push(Record::Entry(Box::new(EntryRecord { card, dropped })));
                }
            }
            Ok(())
        });
        settled.expect("it is kept");
    }
}

fn settle_theirs(path: &Path) {
    let connection = Connection::open(path).expect("a database");
    let reach = "INSERT INTO reach VALUES (1, zeroblob(16), 1, zeroblob(32), 1, zeroblob(16), 1, 0, 1, 1)";
    let settle = "UPDATE variants SET digest = expected; UPDATE entries SET state = 'active' WHERE (id - 1) % 10 = 0;";
    connection.execute_batch(&format!("BEGIN; {settle} {reach}; COMMIT; PRAGMA optimize;")).expect("it is kept");
}

/// Anonymous memory of this process.
fn anonymous() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.map_or("unknown".to_owned(), |line| line.trim().to_owned())
}

type Shared = Rc<RefCell<Twins>>;

fn all(criterion: &mut Criterion) {
    let cell: OnceCell<Shared> = OnceCell::new();
    let shared = || Rc::clone(cell.get_or_init(|| Rc::new(RefCell::new(Twins::make(many())))));
    let contest = |criterion: &mut Criterion, name, count: usize, ours, theirs| {
        Contest {
            name,
            work: Throughput::Elements(count as u64),
            set_up: Box::new(shared),
            ours,
            rivals: vec![("SQLite", theirs)],
        }
        .run(criterion);
    };
    contest(criterion, "catalog/lookup", questions(), lookup_ours, lookup_theirs);
    contest(
        criterion,
        "catalog/prefix",
        pages(),
        |t| t.borrow_mut().page_ours(by_prefix),
        |t| t.borrow_mut().page_theirs(by_prefix),
    );
    contest(
        criterion,
        "catalog/state",
        pages(),
        |t| t.borrow_mut().page_ours(by_state),
        |t| t.borrow_mut().page_theirs(by_state),
    );
    contest(
        criterion,
        "catalog/tag",
        pages(),
        |t| t.borrow_mut().page_ours(by_tag),
        |t| t.borrow_mut().page_theirs(by_tag),
    );
    contest(criterion, "catalog/digest", questions(), digest_ours, digest_theirs);
    contest(criterion, "catalog/open", opens(), open_ours, open_theirs);
    println!("\n    anonymous memory {} with both, at the end", anonymous());
}

fn lookup_ours(twins: &mut Shared) -> Duration {
    let mut twins = twins.borrow_mut();
    let keys = twins.keys();
    twins.ours(keys, |store, key| assert!(store.entry(key).expect("it can be read").is_some()))
}

fn lookup_theirs(twins: &mut Shared) -> Duration {
    let mut twins = twins.borrow_mut();
    let keys = twins.keys();
    twins.theirs(keys, |database, key| assert!(database.entry(key).expect("it can be read").is_some()))
}

fn digest_ours(twins: &mut Shared) -> Duration {
    let mut twins = twins.borrow_mut();
    let digests = twins.digests();
    twins.ours(digests, |store, digest| assert_eq!(store.entries_by_digest(digest).expect("it can be read").len(), 1))
}

fn digest_theirs(twins: &mut Shared) -> Duration {
    let mut twins = twins.borrow_mut();
    let digests = twins.digests();
    twins.theirs(digests, |database, digest| {
        let query = Query { digest: Some(*digest), ..Query::default() };
        assert_eq!(database.page(&query, None, PAGE).expect("it can be read").len(), 1);
    })
}

/// A store, or a database, that nobody has open yet, and one question.
fn open_ours(twins: &mut Shared) -> Duration {
    let mut twins = twins.borrow_mut();
    let keys: Vec<Key> = twins.some(opens()).into_iter().map(key).collect();
    let directory = twins.directory.clone();
    twins.ours(keys, |_, key| assert!(stores::open(&directory).entry(key).expect("it can be read").is_some()))
}

fn open_theirs(twins: &mut Shared) -> Duration {
    let mut twins = twins.borrow_mut();
    let keys: Vec<Key> = twins.some(opens()).into_iter().map(key).collect();
    let place = twins.database.place().clone();
    twins.scratch.timed(|| {
        for key in &keys {
            let database = Sqlite::new(stores::machine(), place.clone());
            assert!(database.view().expect("a database").entry(key).expect("it can be read").is_some());
        }
    })
}

criterion_group!(benches, all);
criterion_main!(benches);
