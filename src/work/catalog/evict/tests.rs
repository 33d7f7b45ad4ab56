//! Evicting on a simulated disk.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::format::session::SessionKind;
use crate::machine::simulated::World;
use crate::machine::{Machine, Open};
use crate::vocabulary::{EntryTarget, Event, Prefix, Query, Silent};
use crate::work::catalog::register::{IfThere, NewVariant, Registration, register};
use crate::work::catalog::{find, trash, uses};
use crate::work::fixture::{Fixture, Heard, n};
use crate::work::lease::Leased;
use crate::work::names::{self, Target};

const HOUR: Duration = Duration::from_secs(3600);
/// Bytes of a small file on the simulated disk.
const BLOCK: u64 = 4096;

fn key(reference: &str) -> Key {
    Key::model("hf", reference, "").unwrap()
}

/// A store with a model for each of these names, an hour between two, with 4096 bytes each.
fn begun(world: &World, names: &[&str]) -> Fixture {
    let store = Fixture::new(world.process("test"), Path::new("/store"));
    for name in names {
        store.add(name, &bytes(name), true);
        registered(&store, name, &[name]);
        world.advance(HOUR);
    }
    store
}

fn bytes(name: &str) -> Vec<u8> {
    name.bytes().cycle().take(BLOCK as usize).collect()
}

fn registered(store: &Fixture, reference: &str, names: &[&str]) {
    let variant = |name: &&str| NewVariant {
        name: (*name).to_owned(),
        target: Some(Target::Name(n(name))),
        ..NewVariant::default()
    };
    let variants = names.iter().map(variant).collect();
    register(&store.ctx(), vec![Registration { variants, ..Registration::new(key(reference)) }], IfThere::Refuse)
        .unwrap();
}

fn chosen(plan: &EvictPlan) -> Vec<String> {
    plan.entries.iter().map(|one| one.entry.card.key.reference().to_owned()).collect()
}

fn left(store: &Fixture) -> Vec<String> {
    let page = find::page(&store.ctx(), &Query::default(), None, 100).unwrap();
    page.into_iter().map(|entry| entry.card.key.reference().to_owned()).collect()
}

fn used(store: &Fixture, name: &str) {
    uses::note(&store.ctx(), &[Leased::Blob(store.means(name).unwrap())]);
}

fn free(store: &Fixture, bytes: u64) -> EvictPlan {
    plan(&store.ctx(), Goal::Free(bytes)).unwrap()
}

#[test]
fn what_was_not_used_for_longest_goes_first_and_no_more_than_needed() {
    let world = World::new(1);
    let store = begun(&world, &["a", "b", "c", "d"]);
    used(&store, "a");
    world.advance(HOUR);
    assert_eq!(chosen(&free(&store, 1)), ["b"]);
    let plan = free(&store, BLOCK + 1);
    assert_eq!((chosen(&plan), plan.frees_bytes, plan.is_enough()), (vec!["b".into(), "c".into()], 2 * BLOCK, true));
    assert_eq!(left(&store).len(), 4, "a plan changes nothing");
    let report = evict(&store.ctx(), &plan, false, &Silent).unwrap();
    assert_eq!(report.entries, plan.entries);
    assert_eq!((report.collected.removed_blobs, report.collected.freed_bytes), (2, 2 * BLOCK));
    assert_eq!(left(&store), ["a", "d"]);
    assert_eq!((store.means("b"), store.inode(&store.file("b"))), (None, None));
    let all = free(&store, 100 * BLOCK);
    assert_eq!((chosen(&all), all.is_enough()), (vec!["d".into(), "a".into()], false));
    assert_eq!(free(&store, 0), EvictPlan { blobs: 2, ..EvictPlan::default() });
}

#[test]
fn garbage_and_the_trash_go_before_anything_that_is_valid() {
    let world = World::new(1);
    let store = begun(&world, &["old", "thrown", "later"]);
    let garbage = store.add("garbage", &bytes("g"), true);
    names::remove(&store.ctx(), &names::plan_remove(&store.ctx(), &[Prefix::Below(n("garbage"))]).unwrap(), &Silent)
        .unwrap();
    world.advance(HOUR * 25);
    trash::trash(&store.ctx(), &key("thrown"), "trash").unwrap();
    let plan = free(&store, 1);
    assert_eq!((plan.unrooted.as_slice(), chosen(&plan).len()), ([garbage].as_slice(), 0));
    let plan = free(&store, 2 * BLOCK);
    assert_eq!((plan.unrooted.len(), chosen(&plan)), (1, vec!["thrown".into()]));
    let plan = free(&store, 3 * BLOCK);
    assert_eq!(chosen(&plan), ["thrown", "old"]);
    let report = evict(&store.ctx(), &plan, false, &Silent).unwrap();
    assert_eq!((report.entries.len(), report.collected.removed_blobs, left(&store)), (2, 3, vec!["later".into()]));
}

#[test]
fn what_somebody_needs_stays_and_is_counted() {
    let world = World::new(1);
    let store = begun(&world, &["pinned", "leased", "open", "free"]);
    let digest = |name| store.means(name).unwrap();
    names::pin(&store.ctx(), &Target::Digest(digest("pinned")), "").unwrap();
    let lease = store.session(SessionKind::Lease, &[digest("leased")]);
    let reader = world.process("reader");
    let open = reader.open(&store.ledger.layout.blob(&digest("open")), Open::Read).unwrap();
    let plan = free(&store, 4 * BLOCK);
    assert_eq!((chosen(&plan), plan.pinned, plan.held, plan.in_use), (vec!["free".into()], 1, 1, 1));
    for (name, kind) in [("pinned", ErrorKind::Pinned), ("leased", ErrorKind::Busy), ("open", ErrorKind::Busy)] {
        assert_eq!(evict_one(&store.ctx(), &key(name)).unwrap_err().kind(), kind, "{name}");
    }
    drop((lease, open));
    assert_eq!(chosen(&free(&store, 3 * BLOCK)).len(), 3);
    assert_eq!(evict_one(&store.ctx(), &key("leased")).unwrap().names, [n("leased")]);
    assert!(find::resolve(&store.ctx(), &EntryTarget::of(&key("leased"))).unwrap().trashed_ns.is_some());
}

#[test]
fn what_was_used_or_pinned_since_it_was_chosen_stays() {
    let world = World::new(1);
    let store = begun(&world, &["a", "b", "c", "d", "e"]);
    let plan = free(&store, 5 * BLOCK);
    used(&store, "a");
    names::pin(&store.ctx(), &Target::Name(n("b")), "").unwrap();
    trash::trash(&store.ctx(), &key("c"), "trash").unwrap();
    let open = store.machine.open(&store.ledger.layout.blob(&store.means("d").unwrap()), Open::Read).unwrap();
    let report = evict(&store.ctx(), &plan, false, &Silent).unwrap();
    assert_eq!((report.entries.len(), report.left, left(&store)), (1, 4, vec!["a".into(), "b".into(), "d".into()]));
    drop(open);
    assert!(trash::undelete(&store.ctx(), &key("c")).is_ok());
}

#[test]
fn entries_that_share_a_blob_go_together_or_not_at_all() {
    let world = World::new(1);
    let store = begun(&world, &["one", "two"]);
    registered(&store, "both", &["one", "two"]);
    world.advance(HOUR);
    store.add("last", &bytes("last"), true);
    registered(&store, "last", &["last"]);
    let plan = free(&store, 1);
    assert_eq!((chosen(&plan).len(), plan.frees_bytes), (3, 2 * BLOCK), "{:?}", chosen(&plan));
    assert!(!chosen(&plan).contains(&"last".to_owned()));
    used(&store, "two");
    world.advance(HOUR);
    assert_eq!(chosen(&free(&store, 1)), ["last"], "what shares with something that was used frees nothing yet");
    let plan = free(&store, 2 * BLOCK);
    assert_eq!((chosen(&plan), plan.frees_bytes), (vec!["last".into(), "one".into(), "both".into()], 2 * BLOCK));
    let report = evict(&store.ctx(), &plan, false, &Silent).unwrap();
    assert_eq!((report.collected.removed_blobs, report.collected.freed_bytes), (2, 2 * BLOCK));
    assert_eq!(
        (left(&store), store.means("two").is_some()),
        (vec!["two".into()], true),
        "it is another's name as well"
    );
}

#[test]
fn what_frees_nothing_is_not_evicted_to_free_something() {
    let world = World::new(1);
    let store = begun(&world, &["linked", "named", "own"]);
    let digest = store.means("linked").unwrap();
    store.machine.link(&store.ledger.layout.blob(&digest), Path::new("/outside")).unwrap();
    store.add("another name", &bytes("named"), true);
    let plan = free(&store, 100 * BLOCK);
    assert_eq!((chosen(&plan), plan.frees_bytes, plan.is_enough()), (vec!["own".into()], BLOCK, false));
    let plan = super::plan(&store.ctx(), Goal::MaxBytes(2 * BLOCK)).unwrap();
    assert_eq!((chosen(&plan), plan.frees_bytes, plan.is_enough()), (vec!["linked".into()], 0, true));
    evict(&store.ctx(), &plan, false, &Silent).unwrap();
    assert_eq!(world.read("/outside").unwrap(), bytes("linked"), "the user's own copy stays");
    assert_eq!(super::plan(&store.ctx(), Goal::MaxBytes(2 * BLOCK)).unwrap().wanted_bytes, 0);
}

#[test]
fn more_than_half_of_a_store_is_asked_for_twice() {
    let world = World::new(1);
    let names: Vec<String> = (0..101).map(|i| format!("m{i:03}")).collect();
    let store = begun(&world, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let plan = free(&store, 60 * BLOCK);
    assert_eq!(evict(&store.ctx(), &plan, false, &Silent).unwrap_err().kind(), ErrorKind::Refused);
    assert_eq!(left(&store).len(), 100);
    assert_eq!(evict(&store.ctx(), &free(&store, 10 * BLOCK), false, &Silent).unwrap().entries.len(), 10);
    assert_eq!(evict(&store.ctx(), &free(&store, 60 * BLOCK), true, &Silent).unwrap().entries.len(), 60);
}

#[test]
fn limits_are_kept_and_told() {
    let world = World::new(1);
    let store = begun(&world, &["a", "b", "c"]);
    let told = |limits: Limits| {
        let heard = Heard::default();
        let spared = Spared::from_now(&store.ctx(), None).unwrap();
        let _ = apply(&store.ctx(), limits, &spared, &heard);
        let events = Mutex::into_inner(heard.events).unwrap();
        let text = |event: Event| match event {
            Event::Notice { text } => Some(text),
            _ => None,
        };
        events.into_iter().filter_map(text).collect::<Vec<_>>()
    };
    assert_eq!(told(Limits::default()), Vec::<String>::new());
    assert_eq!(told(Limits { max_bytes: 3 * BLOCK, min_free: 1 }), Vec::<String>::new());
    let text = told(Limits { max_bytes: 3 * BLOCK - 1, min_free: 0 });
    assert_eq!(text, ["Evicted 1 entry and freed 4096 bytes, to keep limits.max_bytes."]);
    assert_eq!(left(&store), ["b", "c"]);
    world.set_free_bytes(BLOCK);
    let text = told(Limits { max_bytes: 0, min_free: 2 * BLOCK });
    assert!(text[0].contains("limits.min_free"), "{text:?}");
    assert_eq!(left(&store), ["c"]);
    names::pin(&store.ctx(), &Target::Name(n("c")), "").unwrap();
    let text = told(Limits { max_bytes: 1, min_free: 0 });
    assert!(text[0].contains("still passed by 4095 bytes") && text[0].contains("1 pinned"), "{text:?}");
}

#[test]
fn limits_spare_what_came_with_the_work() {
    let world = World::new(1);
    let store = begun(&world, &["a", "b"]);
    let spared = Spared::from_now(&store.ctx(), Some(&key("b"))).unwrap();
    store.add("new", &bytes("new"), true);
    registered(&store, "new", &["new"]);
    let heard = Heard::default();
    let _ = apply(&store.ctx(), Limits { max_bytes: 1, min_free: 0 }, &spared, &heard);
    assert_eq!(left(&store), ["b", "new"]);
    let events = Mutex::into_inner(heard.events).unwrap();
    let told = |event: &Event| matches!(event, Event::Notice { text } if text.contains("2 new"));
    assert!(events.iter().any(told), "{events:?}");
}
