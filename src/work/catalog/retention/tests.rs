//! Retention on a simulated disk.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::machine::simulated::World;
use crate::vocabulary::{Key, Query, Silent};
use crate::work::catalog::register::{IfThere, NewVariant, Registration, register};
use crate::work::catalog::{change, trash, uses};
use crate::work::fixture::{Fixture, n};
use crate::work::lease::Leased;
use crate::work::names::{self, Target};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Three versions of one model and one of another, a day between two.
fn begun(world: &World) -> Fixture {
    let store = Fixture::new(world.process("test"), Path::new("/store"));
    for (reference, version) in [("a", "v1"), ("a", "v2"), ("b", "v1"), ("a", "v3")] {
        let name = format!("{reference}{version}");
        store.add(&name, name.as_bytes(), true);
        let variant = NewVariant { target: Some(Target::Name(n(&name))), ..NewVariant::default() };
        let what = Registration { variants: vec![variant], ..Registration::new(key(reference, version)) };
        register(&store.ctx(), vec![what], IfThere::Refuse).unwrap();
        world.advance(DAY);
    }
    store
}

fn key(reference: &str, version: &str) -> Key {
    Key::model("hf", reference, version).unwrap()
}

fn keys(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| entry.card.key.to_string()).collect()
}

fn last(keep: usize) -> RetentionPolicy {
    RetentionPolicy { keep_last: Some(keep), ..RetentionPolicy::default() }
}

#[test]
fn what_a_policy_lets_go_is_in_the_trash_and_can_be_taken_back() {
    let store = begun(&World::new(1));
    let planned = plan(&store.ctx(), &last(1), LetGo::Trash).unwrap();
    assert_eq!(keys(&planned.entries), ["model:hf/a@v1", "model:hf/a@v2"]);
    assert_eq!(planned.frees_bytes, 2 * 4096);
    let report = apply(&store.ctx(), &planned, LetGo::Trash, &Silent).unwrap();
    assert_eq!((report.entries, report.left), (planned.entries, 0));
    assert_eq!((store.means("av1"), store.means("av3").is_some()), (None, true));
    assert_eq!(trash::undelete(&store.ctx(), &key("a", "v1")).unwrap().names, [n("av1")]);
}

#[test]
fn what_is_retired_stays_as_it_is_and_is_retired_once() {
    let store = begun(&World::new(1));
    let planned = plan(&store.ctx(), &last(1), LetGo::Retire).unwrap();
    apply(&store.ctx(), &planned, LetGo::Retire, &Silent).unwrap();
    assert!(store.means("av1").is_some());
    let retired = Query { state: Some(State::Retired), ..Query::default() };
    let retired = find::page(&store.ctx(), &retired, None, 9).unwrap();
    assert_eq!(keys(&retired), keys(&planned.entries));
    assert_eq!(plan(&store.ctx(), &last(1), LetGo::Retire).unwrap().entries, []);
}

#[test]
fn what_is_pinned_stays_and_so_does_what_was_touched_since() {
    let world = World::new(1);
    let store = begun(&world);
    names::pin(&store.ctx(), &Target::Name(n("av1")), "").unwrap();
    let planned = plan(&store.ctx(), &last(0), LetGo::Trash).unwrap();
    assert_eq!((planned.entries.len(), planned.pinned), (3, 1));
    uses::note(&store.ctx(), &[Leased::Blob(store.means("av2").unwrap())]);
    change::note(&store.ctx(), &key("a", "v3"), "wanted".to_owned()).unwrap();
    let report = apply(&store.ctx(), &planned, LetGo::Trash, &Silent).unwrap();
    assert_eq!((keys(&report.entries), report.left), (vec!["model:hf/b@v1".to_owned()], 2));
}

#[test]
fn a_use_that_is_not_on_record_yet_counts() {
    let world = World::new(1);
    let store = begun(&world);
    uses::note(&store.ctx(), &[Leased::Blob(store.means("av1").unwrap())]);
    let unused_since_ns = Some(store.machine.now_ns() - DAY.as_nanos() as u64 / 2);
    let policy =
        RetentionPolicy { select: Query { unused_since_ns, ..Query::default() }, ..RetentionPolicy::default() };
    let planned = plan(&store.ctx(), &policy, LetGo::Trash).unwrap();
    assert_eq!(keys(&planned.entries), ["model:hf/a@v2", "model:hf/a@v3", "model:hf/b@v1"]);
    assert!(plan(&store.ctx(), &RetentionPolicy::default(), LetGo::Trash).is_err());
}
