//! Which engine keeps the catalog, from outside: `larder catalog migrate`, `larder catalog check`, and stores made with
//! another engine than the index.
#![cfg(feature = "sqlite")]

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::outside::{Place, noise};
use serde_json::Value;

/// A store with a document of two variants, a model, and another model in the trash.
fn place() -> Place {
    let place = Place::with_store();
    for (name, seed) in [("a.pdf", 1), ("a.txt", 2), ("m.gguf", 3)] {
        place.file(format!("files/{name}"), noise(seed, 4000));
    }
    let manifest = r#"{"artifact_id":"a","source_url":"https://example.org/a","resolver":"web","run_id":"r1","path":"files/a.pdf","tags":["paper"]}
{"provider":"hf","reference":"org/m","version":"v1","path":"files/m.gguf","tags":["small"]}
{"provider":"hf","reference":"org/gone","version":"v1"}
"#;
    place.file("manifest.jsonl", manifest);
    place.json(&["import-manifest", "manifest.jsonl", "--adopt"]).exits(0);
    place.json(&["trash", "model:hf/org/gone@v1"]).exits(0);
    place
}

fn database(place: &Place) -> PathBuf {
    place.store().join("state/catalog.sqlite")
}

/// What the commands of the catalog say.
fn answers(place: &Place) -> Vec<String> {
    let commands: [&[&str]; 5] = [
        &["catalog", "stats"],
        &["search", "org"],
        &["search", "--tag", "paper"],
        &["search", "--state", "pending"],
        &["show", "model:hf/org/m@v1"],
    ];
    let mut all = Vec::new();
    for command in commands {
        all.push(place.json(command).exits(0).text());
    }
    all
}

#[test]
fn a_store_is_moved_to_sqlite_and_back_with_the_same_answers() {
    let place = place();
    let before = answers(&place);
    let planned = place.json(&["catalog", "migrate", "--to", "sqlite", "--dry-run"]).exits(0).event("migrated");
    assert_eq!((&planned["from"], &planned["to"]), (&"embedded".into(), &"sqlite".into()));
    assert_eq!((&planned["moved"], &planned["entries"], &planned["dry_run"]), (&false.into(), &3.into(), &true.into()));
    assert!(!database(&place).exists());
    assert_eq!(answers(&place), before);

    let moved = place.json(&["catalog", "migrate", "--to", "sqlite"]).exits(0).event("migrated");
    assert_eq!((&moved["moved"], &moved["entries"]), (&true.into(), &3.into()));
    assert_eq!(moved["path"].as_str().map(PathBuf::from), Some(database(&place)));
    let settings = || fs::read_to_string(place.store().join("larder.toml")).unwrap();
    assert!(settings().contains("backend = \"sqlite\""), "{}", settings());
    assert_eq!(answers(&place), before);
    assert_eq!(place.json(&["catalog", "check"]).exits(0).event("summary")["differing"], 0);
    place.sound();
    // What is changed from now on is in the database as soon as the command is done.
    place.json(&["tag", "model:hf/org/m@v1", "seen"]).exits(0);
    let connection = rusqlite::Connection::open(database(&place)).unwrap();
    let found: String = connection
        .query_row("SELECT reference FROM models JOIN tags ON tags.entry = models.id WHERE tag = 'seen'", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(found, "org/m");
    let document: (String, i64) = connection
        .query_row("SELECT storage_uri, bytes FROM documents WHERE artifact_id = 'a'", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert!(document.0.starts_with("larder:sha256:") && document.1 == 4000, "{document:?}");
    drop(connection);
    place.json(&["tag", "model:hf/org/m@v1", "--remove", "seen"]).exits(0);

    let again = place.json(&["catalog", "migrate", "--to", "sqlite"]).exits(0).event("migrated");
    assert_eq!(again["moved"], false);
    place.json(&["catalog", "migrate", "--to", "embedded"]).exits(0);
    assert!(!database(&place).exists());
    assert!(!settings().contains("backend = \"sqlite\""), "{}", settings());
    assert_eq!(place.json(&["catalog", "stats"]).exits(0).text(), before[0]);
    assert_eq!(place.json(&["catalog", "check"]).exits(0).event("summary")["entries"], 3);
}

#[test]
fn what_somebody_else_changed_in_the_database_is_found_and_made_anew() {
    let place = place();
    place.json(&["catalog", "migrate", "--to", "sqlite"]).exits(0);
    let tamper = |sql: &str| rusqlite::Connection::open(database(&place)).unwrap().execute_batch(sql).unwrap();
    for (sql, differing) in [
        ("UPDATE entries SET title = 'other' WHERE reference = 'org/m'", 1),
        ("DELETE FROM entries WHERE reference = 'org/gone'", 1),
        ("DELETE FROM tags", 2),
        ("UPDATE entries SET run = 'r2' WHERE run = 'r1'", 1),
        ("UPDATE variants SET digest = zeroblob(32)", 2),
        ("UPDATE entries SET identity = zeroblob(16) WHERE reference = 'org/m'", 1),
    ] {
        tamper(&format!("PRAGMA foreign_keys = ON; {sql}"));
        let ran = place.json(&["catalog", "check"]).exits(3);
        let summary = ran.event("summary");
        assert_eq!(summary["differing"], differing, "{sql}: {}", ran.text());
        assert_eq!(ran.events("difference").len(), differing, "{sql}");
        place.json(&["rebuild"]).exits(0);
        assert_eq!(place.json(&["catalog", "check"]).exits(0).event("summary")["differing"], 0, "{sql}");
    }
}

#[test]
fn a_store_is_made_with_sqlite_at_another_path_and_without_a_log() {
    let place = Place::new();
    let options = ["catalog.backend=sqlite", "catalog.path=my/own.db", "catalog.wal_mode=false"];
    let mut arguments = vec!["init"];
    options.iter().for_each(|option| arguments.extend(["--set", option]));
    place.json(&arguments).exits(0);
    place.json(&["register", "model:hf/a/b@v1"]).exits(0);
    assert_eq!(place.json(&["catalog", "stats"]).exits(0).event("catalog")["models"], 1);
    let path = place.store().join("my/own.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "delete");
    drop(connection);
    place.sound();
    assert!(!database(&place).exists());
    // A database of another program is left alone, and told.
    fs::remove_file(&path).unwrap();
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    let refused = place.json(&["search", "a"]).exits(5).event("error");
    assert!(refused["message"].as_str().unwrap().contains("another program"), "{refused}");
    // The store works all the same: only the catalog's questions need it.
    place.file("f", b"bytes");
    place.json(&["add", "f"]).exits(0);
}

#[test]
fn a_store_that_can_only_be_read_answers_all_the_same() {
    let place = place();
    place.json(&["catalog", "migrate", "--to", "sqlite"]).exits(0);
    let before = answers(&place);
    fs::remove_dir_all(database(&place).parent().unwrap()).unwrap();
    let lock = place.store().join("lock");
    let kept = fs::read(&lock).unwrap();
    fs::remove_file(&lock).unwrap();
    assert_eq!(answers(&place), before);
    assert!(!database(&place).exists());
    fs::write(&lock, kept).unwrap();
    assert_eq!(answers(&place), before);
    assert!(database(&place).exists());
}

/// As on a full disk, where SQLite cannot make what it needs beside its file: what is removed to make room is chosen all
/// the same.
#[test]
fn a_database_that_cannot_be_brought_up_to_date_stands_in_nobodys_way() {
    let place = place();
    place.json(&["catalog", "migrate", "--to", "sqlite"]).exits(0);
    let before = answers(&place);
    let log = place.store().join("state/catalog.sqlite-wal");
    fs::create_dir(&log).unwrap();
    assert_eq!(answers(&place), before);
    place.json(&["delete", "model:hf/org/m@v1"]).exits(0);
    assert_eq!(place.json(&["search", "org/m"]).exits(0).event("summary")["entries"], 0);
    fs::remove_dir(&log).unwrap();
    assert_eq!(place.json(&["catalog", "check"]).exits(0).event("summary")["differing"], 0);
    place.sound();
}

/// Whatever moving the catalog had done when it was killed, the store has one engine, which answers.
#[test]
fn moving_survives_a_kill() {
    let place = place();
    let before = answers(&place);
    let engine = |place: &Place| -> Value {
        place.json(&["config", "get", "catalog.backend"]).exits(0).event("option")["value"].clone()
    };
    let move_to_other = |most: Duration| {
        let to = if engine(&place) == "sqlite" { "embedded" } else { "sqlite" };
        let mut command = place.command(&["catalog", "migrate", "--to", to]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        while began.elapsed() < most && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let took = began.elapsed();
        let _gone_already = child.kill();
        child.wait().unwrap();
        (engine(&place) == to, took)
    };
    // How long it takes here and now, and then killed at every part of that.
    let (moved, whole) = move_to_other(Duration::from_secs(60));
    assert!(moved);
    for part in 0..14 {
        move_to_other(whole * part / 12);
        assert_eq!(answers(&place), before, "killed after {part} parts of {whole:?}");
    }
    for _ in 0..2 {
        assert!(move_to_other(Duration::from_secs(60)).0);
        assert_eq!(answers(&place), before);
    }
}
