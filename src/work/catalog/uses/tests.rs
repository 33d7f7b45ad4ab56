//! Uses on a simulated disk.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::machine::simulated::{Enumeration, Simulated, World};
use crate::machine::{Machine, Open};
use crate::parts::uses::Noted;
use crate::vocabulary::Usage;
use crate::work::catalog::register::{IfThere, NewVariant, Registration, register, touch};
use crate::work::catalog::{change, find, remove, trash};
use crate::work::fixture::{Fixture, n};

fn key() -> Key {
    Key::model("hf", "m", "").unwrap()
}

/// A store with one model, of the name `a`.
fn begun(world: &World) -> Fixture {
    let store = Fixture::new(world.process("test"), Path::new("/store"));
    store.add("a", b"bytes", false);
    registered(&store);
    store
}

fn registered(store: &Fixture) {
    let variant = NewVariant { target: Some(Target::Name(n("a"))), ..NewVariant::default() };
    let what = Registration { variants: vec![variant], ..Registration::new(key()) };
    register(&store.ctx(), vec![what], IfThere::Refuse).unwrap();
}

fn reopened(machine: Arc<Simulated>) -> Fixture {
    Fixture::open(machine, Path::new("/store"))
}

fn uses(store: &Fixture, times: usize) {
    for _ in 0..times {
        note(&store.ctx(), &of_target(&store.ctx(), &Target::Name(n("a"))));
    }
}

fn shown(store: &Fixture) -> u64 {
    find::get(&store.ctx(), &key()).unwrap().map_or(0, |entry| entry.usage.count)
}

fn on_record(store: &Fixture) -> u64 {
    store.ledger.snapshot().unwrap().usage(&key().id()).unwrap().count
}

fn note_it(store: &Fixture, text: &str) {
    change::note(&store.ctx(), &key(), text.to_owned()).unwrap();
}

#[test]
fn uses_are_shown_at_once_and_come_on_record_with_the_next_change() {
    let world = World::new(1);
    let store = begun(&world);
    let sequence = store.ledger.snapshot().unwrap().cursor.sequence;
    uses(&store, 3);
    assert_eq!(store.ledger.snapshot().unwrap().cursor.sequence, sequence, "reading writes no frame");
    assert_eq!((shown(&store), on_record(&store)), (3, 0));
    note_it(&store, "x");
    assert_eq!((shown(&store), on_record(&store)), (3, 3));
    assert_eq!(store.ledger.pending_uses(), Pending::new());
    uses(&store, 1);
    assert_eq!((shown(&store), on_record(&store)), (4, 3));
    assert_eq!(touch(&store.ctx(), &key()).unwrap().usage.count, 5);
    store.ledger.fold_uses().unwrap();
    assert_eq!(on_record(&store), 5);
}

#[test]
fn a_change_that_fails_and_one_that_changes_nothing_leave_uses_where_they_are() {
    let store = begun(&World::new(1));
    note_it(&store, "x");
    uses(&store, 2);
    let sequence = store.ledger.snapshot().unwrap().cursor.sequence;
    remove::remove(&store.ctx(), &Key::model("hf", "none", "").unwrap()).unwrap_err();
    note_it(&store, "x");
    assert_eq!(store.ledger.snapshot().unwrap().cursor.sequence, sequence);
    assert_eq!((shown(&store), on_record(&store)), (2, 0));
    uses(&store, 1);
    note_it(&store, "y");
    uses(&store, 1);
    note_it(&store, "z");
    assert_eq!((shown(&store), on_record(&store)), (4, 4), "what was set aside is not overtaken");
}

#[test]
fn an_entry_that_was_registered_again_has_no_uses_of_the_former() {
    let world = World::new(1);
    let store = begun(&world);
    uses(&store, 2);
    let before = world.read("/store/uses").unwrap();
    remove::remove(&store.ctx(), &key()).unwrap();
    world.advance(Duration::from_secs(1));
    registered(&store);
    assert_eq!(shown(&store), 0);
    world.put("/store/uses", &before);
    assert_eq!(shown(&store), 0);
    note_it(&store, "x");
    assert_eq!(on_record(&store), 0);
}

#[test]
fn what_is_in_the_trash_is_not_used() {
    let store = begun(&World::new(1));
    let digest = store.means("a").unwrap();
    trash::trash(&store.ctx(), &key(), "trash").unwrap();
    note(&store.ctx(), &[Leased::Blob(digest)]);
    assert_eq!(store.ledger.pending_uses(), Pending::new());
}

#[test]
fn a_full_file_is_put_on_record_and_begun_anew() {
    let world = World::new(1);
    let store = begun(&world);
    let most = USES_BYTES as usize / crate::format::uses::USE_BYTES;
    let full: Vec<_> = (0..most as u64).map(|i| (key().id(), store.machine.now_ns() + i)).collect();
    let all = crate::parts::uses::Uses::new(Arc::clone(&store.machine), store.ledger.layout.clone());
    assert_eq!(all.append(&full).unwrap(), Noted::Yes);
    assert_eq!(all.append(&full[..1]).unwrap(), Noted::Full);
    world.advance(Duration::from_secs(1));
    uses(&store, 1);
    assert_eq!((on_record(&store), shown(&store)), (most as u64, most as u64 + 1));
    assert_eq!(world.read("/store/uses").unwrap().len(), crate::format::uses::USE_BYTES);
}

#[test]
fn strange_bytes_and_somebody_who_holds_the_file_are_no_trouble() {
    let world = World::new(1);
    let store = begun(&world);
    uses(&store, 1);
    let mut bytes = world.read("/store/uses").unwrap();
    bytes.extend_from_slice(&[0xff; 45]);
    world.put("/store/uses", &bytes);
    uses(&store, 1);
    assert_eq!(shown(&store), 2);
    let other = world.process("other");
    let held = other.open(Path::new("/store/uses"), Open::ReadWrite).unwrap();
    assert!(held.try_lock(crate::machine::Lock::Exclusive).unwrap());
    uses(&store, 1);
    assert_eq!(shown(&store), 2, "nobody waits for it");
    note_it(&store, "x");
    assert_eq!(on_record(&store), 2);
    drop(held);
    world.put_dir("/store/uses");
    uses(&store, 1);
    note_it(&store, "y");
    assert_eq!(shown(&store), 2);
}

#[test]
fn times_tell_which_uses_were_counted() {
    let usage = |count, last_ns| Usage { count, last_ns };
    let with = |before, times: &[u64]| crate::parts::uses::with(before, 10, times, 100);
    assert_eq!(with(usage(0, 0), &[]), usage(0, 0));
    assert_eq!(with(usage(0, 0), &[5, 10, 20]), usage(2, 20));
    assert_eq!(with(usage(4, 20), &[20, 10, 30, 30]), usage(6, 30));
    assert_eq!(with(usage(4, 500), &[50]), usage(5, 50), "a clock that was wrong is not for ever");
}

/// Nothing is invented by a crash, and what is on record is never counted again.
#[test]
fn uses_survive_a_power_cut_at_every_call_or_are_lost() {
    let world = World::new(2);
    drop(begun(&world));
    world.settle();
    let coverage = Enumeration::new(2, &world).power_cuts(
        |machine| {
            let store = reopened(Arc::clone(machine));
            for round in 1..=2 {
                uses(&store, 1);
                machine.note(&format!("used {round}"));
                note_it(&store, &round.to_string());
                machine.note(&format!("folded {round}"));
            }
        },
        |_, world, log| {
            let store = reopened(world.process("after"));
            let made = if log.noted("folded 1") { 2 } else { 1 };
            let kept = u64::from(log.noted("folded 1")) + u64::from(log.noted("folded 2"));
            for round in 0..3 {
                let now = shown(&store);
                assert!(now <= made, "{now} uses, and there were {made} at most");
                assert!(now >= kept, "{now} uses, and {kept} were on record");
                note_it(&store, &format!("after {round}"));
            }
            assert_eq!(shown(&store), on_record(&store));
        },
    );
    assert!(coverage.distinct > 20, "{coverage:?}");
}
