//! The schema: made, migrated, refused.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::*;
use crate::format::record::Record;
use crate::format::record::entry::{EntryRecord, UsedRecord, VariantRecord};
use crate::machine::real::Real;
use crate::parts::catalog::Catalog;
use crate::vocabulary::{Card, Key, Query, Usage, Variant};

fn database(directory: &Path) -> Sqlite {
    let place = Place {
        root: directory.to_owned(),
        path: directory.join("catalog.sqlite"),
        mode: 0o600,
        directory_mode: 0o700,
        wal: true,
        wait: Duration::from_secs(5),
    };
    Sqlite::new(Arc::new(Real::new()), place)
}

/// A file that somebody made by this SQL.
fn made(directory: &Path, sql: &str) -> Sqlite {
    let database = database(directory);
    Connection::open(&database.place().path).unwrap().execute_batch(sql).unwrap();
    database
}

fn reached() -> Reached {
    let reach = Reach {
        sequence: 7,
        hash: [1; 32],
        segment_first: 1,
        segment_salt: [2; 16],
        offset: 100,
        synced_through: 6,
        last_offset: 50,
        time_ns: u64::MAX,
    };
    Reached { store: [3; 16], reach }
}

fn schema(connection: &Connection) -> Vec<(String, String)> {
    let sql = "SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_schema ORDER BY 1";
    let mut statement = connection.prepare(sql).unwrap();
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap()
}

const FIRST: &str = include_str!("schema-1.sql");
/// What a program of that time wrote.
const FIRST_ROWS: &str = "
    INSERT INTO reach VALUES (1, zeroblob(16), 5, zeroblob(32), 1, zeroblob(16), 9, 8, 5, 4);
    INSERT INTO entries (id, identity, key, kind, provider, reference, version, title, source, content_type, run,
        registered_ns, updated_ns, state, trust, notes, sbom, signature)
    VALUES (1, x'0102030405060708090a0b0c0d0e0f10', x'6d686600612f6200763100', 'model', 'hf', 'a/b', 'v1', 't', '',
        '', 'r', 2000000000, -1, 'active', 'warned', 'n', '', '');
    INSERT INTO tags VALUES ('small', x'6d686600612f6200763100', 1);
    INSERT INTO variants VALUES (1, '', NULL, zeroblob(32), 12, '', 'larder:x', NULL, 3);";

#[test]
fn an_older_schema_is_brought_up_to_date_with_what_is_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let database = made(directory.path(), &format!("{FIRST}\n{FIRST_ROWS}"));
    let view = database.view().unwrap();
    let key = Key::model("hf", "a/b", "v1").unwrap();
    let entry = view.entry(&key).unwrap().unwrap();
    assert_eq!((entry.card.updated_ns, entry.card.tags.len(), entry.size_bytes()), (u64::MAX, 1, 12));
    assert_eq!(database.reached().unwrap().unwrap().reach.sequence, 5);
    drop(view);
    let fresh = Connection::open_in_memory().unwrap();
    fresh.execute_batch(include_str!("schema.sql")).unwrap();
    let connection = Connection::open(&database.place().path).unwrap();
    assert_eq!(schema(&connection), schema(&fresh));
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, schema::VERSION);
    // What other programs know as their own table is there now.
    let row = connection.query_row(
        "SELECT reference, provider, local_path, size_bytes, downloaded_at FROM models",
        [],
        |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?)),
    );
    let expected = ("a/b".to_owned(), "hf".to_owned(), "larder:x".to_owned(), 12_i64, 2_i64);
    assert_eq!(row.unwrap(), expected);
}

#[test]
fn a_later_schema_and_another_programs_database_are_refused_and_left_alone() {
    let later = format!("{FIRST}\nPRAGMA user_version = 99;");
    let other = "CREATE TABLE mine (x); INSERT INTO mine VALUES (1)";
    let named = "PRAGMA application_id = 7; PRAGMA user_version = 2";
    for (sql, kind, word) in [
        (later.as_str(), ErrorKind::Unsupported, "99"),
        (other, ErrorKind::Refused, "another program"),
        (named, ErrorKind::Refused, "another program"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let database = made(directory.path(), sql);
        let before = std::fs::read(&database.place().path).unwrap();
        let refused = database.view().err().unwrap();
        assert_eq!(refused.kind(), kind, "{refused}");
        assert!(refused.to_string().contains(word), "{refused}");
        assert_eq!(std::fs::read(&database.place().path).unwrap(), before);
    }
}

#[test]
fn triggers_and_what_is_no_database_are_damage() {
    let trigger = "CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM entries; END";
    let directory = tempfile::tempdir().unwrap();
    let database = made(directory.path(), &format!("{}\n{trigger}", include_str!("schema.sql")));
    assert_eq!(database.view().err().unwrap().kind(), ErrorKind::Damaged);
    let directory = tempfile::tempdir().unwrap();
    let database = self::database(directory.path());
    std::fs::write(&database.place().path, [7; 4096]).unwrap();
    assert_eq!(database.view().err().unwrap().kind(), ErrorKind::Damaged);
}

#[test]
fn foreign_keys_hold_and_a_row_that_larder_does_not_write_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let database = self::database(directory.path());
    let mut write = database.write().unwrap();
    let card = Card::new(Key::document("a", "u", "r").unwrap(), 1);
    write.apply(&Record::Entry(Box::new(EntryRecord { card, dropped: Vec::new() }))).unwrap();
    write.commit(&reached()).unwrap();
    assert_eq!(database.reached().unwrap(), Some(reached()));
    let mut lent = database.connect().unwrap();
    let orphan = "INSERT INTO variants VALUES (99, '', NULL, NULL, NULL, '', '', NULL, 0)";
    assert!(lent.get().execute_batch(orphan).unwrap_err().to_string().contains("FOREIGN KEY"));
    lent.get().execute_batch("UPDATE entries SET title = NULL").unwrap();
    drop(lent);
    let damaged = database.view().unwrap().page(&Query::default(), None, 1).unwrap_err();
    assert_eq!(damaged.kind(), ErrorKind::Damaged);
}

/// Only behind a damaged stretch of the journal: what belongs to an entry is there, and what describes it is not.
#[test]
fn what_belongs_to_an_entry_waits_for_what_describes_it() {
    let directory = tempfile::tempdir().unwrap();
    let database = self::database(directory.path());
    let card = Card::new(Key::document("a", "u", "r").unwrap(), 1);
    let (key, entry) = (card.key.clone(), card.id());
    let digest = crate::vocabulary::Digest::EMPTY;
    let variant = Variant { digest: Some(digest), size_bytes: Some(5), ..Variant::new("v", 2) };
    let mut write = database.write().unwrap();
    let usage = Usage { count: 3, last_ns: 4 };
    write.apply(&Record::Used(UsedRecord { entry, usage })).unwrap();
    write.apply(&Record::Variant(Box::new(VariantRecord { entry, variant, was: None }))).unwrap();
    write.commit(&reached()).unwrap();
    let view = database.view().unwrap();
    assert_eq!(view.entry(&key).unwrap(), None);
    assert_eq!(view.page(&Query::default(), None, 5).unwrap(), []);
    assert_eq!(view.keys_of_ids("", 5).unwrap(), []);
    assert_eq!(view.entries_of(&digest).unwrap(), [(entry, "v".to_owned())]);
    let totals = view.totals().unwrap();
    assert_eq!((totals.documents, totals.variants, totals.bytes), (0, 1, 5));
    drop(view);
    let mut write = database.write().unwrap();
    write.apply(&Record::Entry(Box::new(EntryRecord { card, dropped: Vec::new() }))).unwrap();
    write.commit(&reached()).unwrap();
    let found = database.view().unwrap().entry(&key).unwrap().unwrap();
    assert_eq!((found.usage, found.variants.len()), (usage, 1));
    // And it stays when what describes it goes without it.
    let mut write = database.write().unwrap();
    let removed = crate::format::record::entry::EntryRemovedRecord {
        key: key.clone(),
        terms: Vec::new(),
        rule: "remove".into(),
        when: crate::format::record::Moment::default(),
    };
    write.apply(&Record::EntryRemoved(removed)).unwrap();
    write.commit(&reached()).unwrap();
    let view = database.view().unwrap();
    assert_eq!((view.entry(&key).unwrap(), view.entries_of(&digest).unwrap().len()), (None, 1));
}
