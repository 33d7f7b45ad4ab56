//! The trash on a simulated disk.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::format::session::SessionKind;
use crate::machine::simulated::World;
use crate::machine::{Machine, Open};
use crate::vocabulary::{EntryTarget, Query, Silent};
use crate::work::catalog::find;
use crate::work::catalog::register::{IfThere, NewVariant, Registration, register};
use crate::work::fixture::{Fixture, Heard, n};
use crate::work::names::Target;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn simulated(world: &World) -> Fixture {
    Fixture::new(world.process("test"), Path::new("/store"))
}

fn model(reference: &str) -> Key {
    Key::model("hf", reference, "").unwrap()
}

/// Registers a model of these names, one variant each.
fn registered(store: &Fixture, reference: &str, names: &[&str]) -> Key {
    let variant = |name: &&str| NewVariant {
        name: (*name).to_owned(),
        target: Some(Target::Name(n(name))),
        ..NewVariant::default()
    };
    let what = Registration { variants: names.iter().map(variant).collect(), ..Registration::new(model(reference)) };
    register(&store.ctx(), vec![what], IfThere::Refuse).unwrap().remove(0).entry.card.key
}

fn ids(plan: &EmptyPlan) -> Vec<EntryId> {
    plan.entries.iter().map(|one| one.entry.id()).collect()
}

#[test]
fn what_is_in_the_trash_is_out_of_sight_and_keeps_its_bytes() {
    let store = simulated(&World::new(1));
    let digest = store.add("m/a", b"bytes", true);
    let key = registered(&store, "a", &["m/a"]);
    let deleted = trash(&store.ctx(), &key, "trash").unwrap();
    assert_eq!(deleted.names, [n("m/a")]);
    assert_eq!((store.means("m/a"), store.inode(&store.file("m/a"))), (None, None));
    assert_eq!(find::get(&store.ctx(), &key).unwrap(), None);
    assert_eq!(find::page(&store.ctx(), &Query::default(), None, 9).unwrap(), []);
    assert_eq!(trash(&store.ctx(), &key, "trash").unwrap_err().kind(), ErrorKind::NotFound);
    assert!(store.collect(Duration::ZERO).is_empty());
    store.ledger.compact().unwrap();
    let back = undelete(&store.ctx(), &key).unwrap();
    assert_eq!((back.names.as_slice(), back.left.len()), ([n("m/a")].as_slice(), 0));
    assert_eq!((store.means("m/a"), store.inode(&store.file("m/a")).is_some()), (Some(digest), true));
    assert_eq!(find::get(&store.ctx(), &key).unwrap().unwrap().trashed_ns, None);
    assert_eq!(undelete(&store.ctx(), &key).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_name_that_somebody_took_meanwhile_stays_theirs() {
    let store = simulated(&World::new(1));
    store.add("a", b"a", true);
    store.add("b", b"b", true);
    let key = registered(&store, "ab", &["a", "b"]);
    trash(&store.ctx(), &key, "trash").unwrap();
    let other = store.add("a", b"other", true);
    let back = undelete(&store.ctx(), &key).unwrap();
    assert_eq!(back.names, [n("b")]);
    assert_eq!(back.left.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), [n("a")]);
    assert!(back.left[0].1.contains("already means"), "{back:?}");
    assert_eq!(store.means("a"), Some(other));
}

#[test]
fn only_names_that_the_trash_took_come_back_and_shared_ones_stay() {
    let store = simulated(&World::new(1));
    let digest = store.add("gone", b"bytes", true);
    store.add("shared", b"bytes", true);
    store.add("own", b"bytes", true);
    let key = registered(&store, "one", &["gone", "shared", "own"]);
    registered(&store, "two", &["shared"]);
    names::unlink(&store.ctx(), &n("gone")).unwrap();
    assert_eq!(trash(&store.ctx(), &key, "trash").unwrap().names, [n("own")]);
    assert_eq!(store.means("shared"), Some(digest));
    assert_eq!(undelete(&store.ctx(), &key).unwrap().names, [n("own")]);
    assert_eq!(store.means("gone"), None, "its owner took it away");
}

#[test]
fn names_come_back_when_nobody_remembers_what_took_them() {
    let world = World::new(1);
    let store = simulated(&world);
    let digest = store.add("a", b"bytes", false);
    let key = registered(&store, "a", &["a"]);
    trash(&store.ctx(), &key, "trash").unwrap();
    for _ in 0..=GONE_KEPT.as_secs() / DAY.as_secs() + 1 {
        world.advance(DAY);
        store.collect(DAY);
    }
    store.ledger.compact().unwrap();
    store.ledger.rebuild().unwrap();
    assert_eq!(store.ledger.snapshot().unwrap().departure(&digest, &n("a")).unwrap(), None);
    assert_eq!(undelete(&store.ctx(), &key).unwrap().names, [n("a")]);
}

#[test]
fn registering_what_is_in_the_trash_begins_anew() {
    let store = simulated(&World::new(1));
    let old = store.add("a", b"old", false);
    let key = registered(&store, "a", &["a"]);
    trash(&store.ctx(), &key, "trash").unwrap();
    store.add("b", b"new", false);
    registered(&store, "a", &["b"]);
    let entry = find::get(&store.ctx(), &key).unwrap().unwrap();
    assert_eq!(entry.variants.iter().map(|v| v.name.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(store.collect(Duration::ZERO), [old]);
}

#[test]
fn emptying_goes_by_age_and_frees_what_nothing_else_keeps() {
    let world = World::new(1);
    let store = simulated(&world);
    let (a, b) = (store.add("a", b"a", true), store.add("b", b"bb", true));
    let (old, young) = (registered(&store, "old", &["a"]), registered(&store, "young", &["a", "b"]));
    trash(&store.ctx(), &old, "trash").unwrap();
    world.advance(DAY * 3 / 4);
    trash(&store.ctx(), &young, "trash").unwrap();
    world.advance(DAY / 2);
    let plan = plan_empty(&store.ctx(), DAY).unwrap();
    assert_eq!((ids(&plan), plan.frees_bytes), (vec![old.id()], 0), "the other one keeps its bytes");
    assert_eq!(empty(&store.ctx(), &plan, true, &Silent).unwrap().collected.removed_blobs, 0);
    let plan = plan_empty(&store.ctx(), Duration::ZERO).unwrap();
    assert_eq!(ids(&plan), [young.id()]);
    let heard = Heard::default();
    let report = empty(&store.ctx(), &plan, true, &heard).unwrap();
    let mut both = vec![a, b];
    both.sort();
    assert_eq!((report.removed.len(), heard.removed()), (1, both));
    assert_eq!(report.collected.freed_bytes, plan.frees_bytes);
    assert_eq!(plan_empty(&store.ctx(), Duration::ZERO).unwrap(), EmptyPlan::default());
    assert_eq!(find::resolve(&store.ctx(), &EntryTarget::of(&old)).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn emptying_without_freeing_lets_the_grace_begin() {
    let world = World::new(1);
    let store = simulated(&world);
    let digest = store.add("a", b"a", true);
    let key = registered(&store, "a", &["a"]);
    trash(&store.ctx(), &key, "trash").unwrap();
    world.advance(DAY);
    let plan = plan_empty(&store.ctx(), DAY).unwrap();
    assert_eq!(empty(&store.ctx(), &plan, false, &Silent).unwrap().removed.len(), 1);
    assert!(store.collect(DAY / 2).is_empty());
    world.advance(DAY);
    assert_eq!(store.collect(DAY / 2), [digest]);
}

#[test]
fn a_plan_leaves_alone_what_was_taken_out_meanwhile() {
    let world = World::new(1);
    let store = simulated(&world);
    store.add("a", b"a", true);
    let key = registered(&store, "a", &["a"]);
    trash(&store.ctx(), &key, "trash").unwrap();
    let plan = plan_empty(&store.ctx(), Duration::ZERO).unwrap();
    undelete(&store.ctx(), &key).unwrap();
    let report = empty(&store.ctx(), &plan, true, &Silent).unwrap();
    assert_eq!((report.removed.len(), report.left), (0, 1));
    trash(&store.ctx(), &key, "trash").unwrap();
    let report = empty(&store.ctx(), &plan, true, &Silent).unwrap();
    assert_eq!((report.removed.len(), report.left), (0, 1), "it was put there again since");
    assert!(undelete(&store.ctx(), &key).is_ok());
}

#[test]
fn the_trash_grows_old_in_a_store_that_nobody_writes_to() {
    let world = World::new(1);
    let store = simulated(&world);
    store.add("a", b"a", true);
    let key = registered(&store, "a", &["a"]);
    trash(&store.ctx(), &key, "trash").unwrap();
    for _ in 0..4 {
        world.advance(DAY);
        store.collect(DAY);
    }
    assert_eq!(ids(&plan_empty(&store.ctx(), DAY * 4).unwrap()), [key.id()]);
    assert_eq!(undelete(&store.ctx(), &key).unwrap().names, [n("a")], "and the names know it is that trash");
}

#[test]
fn what_is_pinned_leased_or_open_is_not_deleted_at_once() {
    let world = World::new(1);
    let store = simulated(&world);
    let digest = store.add("a", b"a", true);
    let key = registered(&store, "a", &["a"]);
    let refused = || delete(&store.ctx(), &key, "delete", &Silent).unwrap_err().kind();
    names::pin(&store.ctx(), &Target::Digest(digest), "").unwrap();
    assert_eq!(refused(), ErrorKind::Pinned);
    names::unpin(&store.ctx(), &Target::Digest(digest)).unwrap();
    let lease = store.session(SessionKind::Lease, &[digest]);
    assert_eq!(refused(), ErrorKind::Busy);
    drop(lease);
    let reader = world.process("reader");
    let open = reader.open(&store.ledger.layout.blob(&digest), Open::Read).unwrap();
    assert_eq!(refused(), ErrorKind::Busy);
    drop(open);
    assert_eq!(store.means("a"), Some(digest), "nothing was touched");
    let (_, names, frees_bytes) = plan_delete(&store.ctx(), &key).unwrap();
    let deleted = delete(&store.ctx(), &key, "delete", &Silent).unwrap();
    assert_eq!(deleted.names, names);
    assert_eq!((deleted.collected.removed_blobs, deleted.collected.freed_bytes), (1, frees_bytes));
    assert_eq!(refused(), ErrorKind::NotFound);
    assert_eq!(store.means("a"), None);
}

#[test]
fn deleting_takes_no_bytes_that_something_else_keeps() {
    let store = simulated(&World::new(1));
    let digest = store.add("a", b"a", true);
    store.add("elsewhere", b"a", true);
    let key = registered(&store, "a", &["a"]);
    let deleted = delete(&store.ctx(), &key, "delete", &Silent).unwrap();
    assert_eq!((deleted.names.as_slice(), deleted.collected.removed_blobs), ([n("a")].as_slice(), 0));
    assert_eq!(store.means("elsewhere"), Some(digest));
    assert!(store.collect(Duration::ZERO).is_empty());
}
