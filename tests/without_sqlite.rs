//! What a program without SQLite does with a store whose catalog is in SQLite. What one with it does is in
//! `tests/cli/catalog_engine.rs`.
//!
//! `cargo test --no-default-features --test without_sqlite`
#![cfg(not(feature = "sqlite"))]
#![allow(missing_docs)]

mod kit;

use std::path::Path;
use std::sync::Arc;

use larder::format::options::{CatalogBackend, Chosen, OptionKey};
use larder::format::settings::{Durability, Settings};
use larder::machine::Machine;
use larder::machine::simulated::World;
use larder::store::{NewStore, OpenOptions, Store};
use larder::work::catalog::register::{IfThere, Registration};
use larder::work::ingest::AddOptions;
use larder::work::names::Target;
use larder::{EntryKind, ErrorKind, Key, Name, Query, Result, Silent};

const SETTINGS: &str = "/store/larder.toml";

fn in_sqlite() -> Chosen {
    let mut chosen = Chosen::default();
    chosen.set(OptionKey::CatalogBackend, "sqlite").unwrap();
    chosen
}

/// A store that keeps one blob, and says that its catalog is in SQLite.
fn store_in_sqlite() -> World {
    let world = kit::world(1, Durability::Batch, &[("/src/a", b"bytes")]);
    kit::Opened::open(&world.process("fill")).unwrap().add(&["/src/a"], &AddOptions::default()).unwrap();
    let text = String::from_utf8(world.read(SETTINGS).unwrap()).unwrap();
    let settings = Settings { options: in_sqlite(), ..Settings::from_toml(&text).unwrap() };
    world.put(SETTINGS, settings.to_toml().as_bytes());
    world
}

fn machine(world: &World, process: &str) -> Arc<dyn Machine> {
    world.process(process)
}

fn open(world: &World) -> Result<Store> {
    let options = OpenOptions { jobs: 1, ..OpenOptions::default() };
    Store::open(machine(world, "front"), Path::new(kit::STORE), &options)
}

#[test]
fn it_keeps_blobs_and_entries_and_answers_nothing_of_the_catalog() {
    let world = store_in_sqlite();
    let store = open(&world).unwrap();
    let name = |name: &str| Name::new(name).unwrap();
    store.link(&Target::Name(name("a")), &name("b"), false, None).unwrap();
    let key = Key::model("hf", "a", "").unwrap();
    store.register(vec![Registration::new(key.clone())], IfThere::Refuse).unwrap();
    let models = Query { kind: Some(EntryKind::Model), ..Query::default() };
    for refused in
        [store.catalog_totals().map(drop), store.entry(&key).map(drop), store.entries(&models, None, 1).map(drop)]
    {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().contains("`sqlite`"), "{error}");
    }
    // It can be had back with what this program has; and no new one is made.
    let moved = store.migrate_catalog(CatalogBackend::Embedded, false, &Silent).unwrap();
    assert!(moved.moved && moved.entries == 1);
    assert_eq!(open(&world).unwrap().catalog_totals().unwrap().models, 1);
    let with = OpenOptions { jobs: 1, options: in_sqlite(), ..OpenOptions::default() };
    let refused = Store::create(machine(&world, "new"), Path::new("/new"), &NewStore::default(), &with).map(drop);
    assert!(refused.unwrap_err().to_string().contains("catalog.backend = sqlite"));
}
