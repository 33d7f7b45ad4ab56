//! What is saved, on a simulated disk.

use std::path::{Path, PathBuf};

use super::*;
use crate::machine::simulated::World;
use crate::vocabulary::{Event, Silent};
use crate::work::catalog::register::{IfThere, NewVariant, Registration, register};
use crate::work::fixture::{Fixture, Heard, n};
use crate::work::names::Target;

fn all(store: &Fixture) -> (Vec<Group>, DedupTotals) {
    let mut found = Vec::new();
    let totals = groups(&store.ctx(), &mut |group| {
        found.push(group);
        Ok(())
    });
    (found, totals.unwrap())
}

#[test]
fn who_wants_a_blob_is_counted_and_what_that_saves() {
    let store = Fixture::new(World::new(1).process("test"), Path::new("/store"));
    store.add("alone", b"once", true);
    let digest = store.add("a", b"shared bytes", true);
    store.add("b", b"shared bytes", false);
    store.add("empty", b"", true);
    store.add("empty too", b"", true);
    let of = |name: &str, target| NewVariant { name: name.into(), target: Some(target), ..NewVariant::default() };
    let key = Key::model("hf", "m", "").unwrap();
    let variants = vec![of("named", Target::Name(n("a"))), of("also", Target::Name(n("b")))];
    register(&store.ctx(), vec![Registration { variants, ..Registration::new(key.clone()) }], IfThere::Refuse).unwrap();
    let (found, totals) = all(&store);
    assert_eq!(found.len(), 1, "{found:?}");
    let group = &found[0];
    assert_eq!((group.digest, group.names.as_slice()), (digest, [n("a"), n("b")].as_slice()));
    assert_eq!(group.entries, [(key.clone(), "also".to_owned()), (key, "named".to_owned())]);
    assert_eq!((group.wanted, group.files, group.saved_bytes, group.could_save_bytes), (2, 1, 12, 0));
    assert_eq!((totals.blobs, totals.groups, totals.wanted), (2, 1, 3));
    assert_eq!((totals.wanted_bytes, totals.kept_bytes, totals.saved_bytes), (28, 16, 12));
    crate::work::names::unlink(&store.ctx(), &n("b")).unwrap();
    let (found, _) = all(&store);
    assert_eq!((found[0].wanted, found[0].saved_bytes), (2, 12), "a variant without a name wants it too");
}

#[test]
fn a_name_that_is_a_copy_could_be_a_link() {
    let world = World::new(1);
    let store = Fixture::new(world.process("test"), Path::new("/store"));
    store.add("a", b"bytes", true);
    store.add("b", b"bytes", true);
    store.machine.unlink(&store.file("b")).unwrap();
    world.put("/store/names/b", b"bytes");
    let (found, totals) = all(&store);
    assert_eq!((found[0].files, found[0].saved_bytes, found[0].could_save_bytes), (2, 0, 5));
    assert_eq!(totals.could_save_bytes, 5);
}

#[test]
fn copies_outside_are_found_and_links_are_known() {
    let world = World::new(1);
    let store = Fixture::new(world.process("test"), Path::new("/store"));
    let digest = store.add("a", b"bytes", true);
    world.put_dir("/out/deep");
    world.put("/out/copy", b"bytes");
    world.put("/out/other", b"other");
    world.put("/out/empty", b"");
    store.machine.link(&store.ledger.layout.blob(&digest), Path::new("/out/deep/link")).unwrap();
    store.machine.symlink(Path::new("/out/copy"), Path::new("/out/symlink")).unwrap();
    let mut found = Vec::new();
    let heard = Heard::default();
    let scanned = scan(&store.ctx(), &[PathBuf::from("/out"), PathBuf::from("/store")], &heard, &mut |copy| {
        found.push((copy.path, copy.linked));
        Ok(())
    });
    let scanned = scanned.unwrap();
    assert_eq!(found, [("/out/copy".into(), false), ("/out/deep/link".into(), true)]);
    assert_eq!((scanned.files, scanned.copies, scanned.linked, scanned.failed), (4, 1, 1, 0));
    assert_eq!(scanned.could_save_bytes, 4096);
    assert!(!heard.events.lock().unwrap().iter().any(|event| matches!(event, Event::Failed { .. })));
    assert!(scan(&store.ctx(), &[PathBuf::from("/none")], &Silent, &mut |_| Ok(())).is_err());
}
