//! The calls of the catalog on a simulated disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::find::{by_digest, get, list, page, resolve, totals};
use super::register::{IfThere, NewVariant, Registered, Registration, register, register_each, touch};
use super::verify::{VariantStatus, verify};
use super::*;
use crate::ledger::Tables;
use crate::machine::simulated::{Enumeration, Simulated, World};
use crate::machine::{Machine, Open};
use crate::vocabulary::{EntryTarget, Query, Silent, State, Trust};
use crate::work::fixture::{Fixture, n};
use crate::work::names::Target;
use crate::work::{Context, names};

fn simulated(world: &World) -> Fixture {
    Fixture::new(world.process("test"), Path::new("/store"))
}

fn model(reference: &str, version: &str) -> Key {
    Key::model("hf", reference, version).unwrap()
}

fn of(target: Target) -> NewVariant {
    NewVariant { target: Some(target), ..NewVariant::default() }
}

fn one(ctx: &Context<'_>, what: Registration) -> Result<Registered> {
    register(ctx, vec![what], IfThere::Refuse).map(|mut all| all.remove(0))
}

fn with(key: Key, variants: Vec<NewVariant>) -> Registration {
    Registration { variants, ..Registration::new(key) }
}

fn keys(ctx: &Context<'_>, query: &Query) -> Vec<String> {
    let mut found = Vec::new();
    list(ctx, query, &mut |entry| {
        found.push(entry.card.key.to_string());
        Ok(())
    })
    .unwrap();
    found
}

#[test]
fn what_is_registered_is_found_by_key_id_digest_and_term() {
    let store = simulated(&World::new(1));
    let digest = store.add("m/q4.gguf", b"weights", true);
    let mut what = with(model("org/repo", "v1"), vec![of(Target::Name(n("m/q4.gguf")))]);
    what.tags.insert("small".into());
    what.run = "r1".into();
    what.metadata.insert("architecture".into(), "llama".into());
    let made = one(&store.ctx(), what.clone()).unwrap();
    assert!(made.new);
    assert_eq!((made.entry.digest(), made.entry.size_bytes()), (Some(digest), 7));
    assert_eq!(made.entry.variants[0].alias, Some(n("m/q4.gguf")));
    let key = &what.key;
    assert_eq!(get(&store.ctx(), key).unwrap(), Some(made.entry.clone()));
    for target in [format!("entry:{}", key.id()), format!("entry:{}", &key.id().to_string()[..5]), key.to_string()] {
        assert_eq!(resolve(&store.ctx(), &target.parse().unwrap()).unwrap(), made.entry, "{target}");
    }
    assert_eq!(resolve(&store.ctx(), &"model:hf/org/repo".parse().unwrap()).unwrap(), made.entry);
    assert_eq!(by_digest(&store.ctx(), &digest).unwrap(), std::slice::from_ref(&made.entry));
    let queries = [
        Query { tags: vec!["small".into()], ..Query::default() },
        Query { run: Some("r1".into()), ..Query::default() },
        Query { state: Some(State::Pending), ..Query::default() },
        Query { provider: Some("hf".into()), trust: Some(Trust::Unverified), ..Query::default() },
        Query { text: vec!["ORG".into()], ..Query::default() },
        Query { text: vec!["org/*".into(), "small".into()], min_bytes: Some(7), ..Query::default() },
    ];
    for query in queries {
        assert_eq!(keys(&store.ctx(), &query), ["model:hf/org/repo@v1"], "{query:?}");
    }
    let none = Query { tags: vec!["small".into()], run: Some("r2".into()), ..Query::default() };
    assert!(keys(&store.ctx(), &none).is_empty());
    assert_eq!(totals(&store.ctx()).unwrap().bytes, 7);
}

#[test]
fn registering_again_refuses_keeps_or_merges() {
    let store = simulated(&World::new(1));
    let first = Registration { notes: "first".into(), ..Registration::new(model("a", "")) };
    one(&store.ctx(), first.clone()).unwrap();
    assert_eq!(one(&store.ctx(), first.clone()).unwrap_err().kind(), ErrorKind::Taken);
    let second = Registration { notes: "second".into(), tags: BTreeSet::from(["t".into()]), ..first };
    let kept = register(&store.ctx(), vec![second.clone()], IfThere::Keep).unwrap().remove(0);
    assert_eq!((kept.new, kept.entry.card.notes.as_str()), (false, "first"));
    let merged = register(&store.ctx(), vec![second], IfThere::Merge).unwrap().remove(0);
    assert_eq!((merged.new, merged.entry.card.notes.as_str(), merged.entry.card.tags.len()), (false, "second", 1));
}

#[test]
fn many_are_registered_each_for_itself_a_frame_full_at_a_time() {
    let store = simulated(&World::new(1));
    one(&store.ctx(), Registration::new(model("m-7", ""))).unwrap();
    let frames_before = store.ledger.known().cursor.sequence;
    let notes = "n".repeat(4000);
    let mut many: Vec<Registration> = (0..3000)
        .map(|i| Registration { notes: notes.clone(), ..Registration::new(model(&format!("m-{i}"), "")) })
        .collect();
    many[9].tags.insert("a\nb".into());
    let outcomes = register_each(&store.ctx(), many.clone(), IfThere::Refuse).unwrap();
    let refused: Vec<(usize, ErrorKind)> = outcomes
        .iter()
        .enumerate()
        .filter_map(|(at, outcome)| outcome.as_ref().err().map(|e| (at, e.kind())))
        .collect();
    assert_eq!(refused, [(7, ErrorKind::Taken), (9, ErrorKind::Invalid)]);
    assert_eq!(totals(&store.ctx()).unwrap().models, 2999);
    let frames = store.ledger.known().cursor.sequence - frames_before;
    assert!((2..=8).contains(&frames), "{frames}");
    // All in one transaction is what does not fit: refused, and nothing of it is on record.
    let many = many.into_iter().chain(
        (3000..6000).map(|i| Registration { notes: notes.clone(), ..Registration::new(model(&format!("m-{i}"), "")) }),
    );
    let refused = register(&store.ctx(), many.filter(|one| one.tags.is_empty()).collect(), IfThere::Merge).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    assert_eq!(totals(&store.ctx()).unwrap().models, 2999);
}

#[test]
fn several_versions_live_side_by_side_and_one_may_have_to_be_said() {
    let store = simulated(&World::new(1));
    for version in ["v1", "v2"] {
        one(&store.ctx(), Registration::new(model("org/repo", version))).unwrap();
    }
    let error = resolve(&store.ctx(), &"model:hf/org/repo".parse().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains(&model("org/repo", "v2").id().to_string()), "{error}");
    let found = resolve(&store.ctx(), &"model:hf/org/repo@v2".parse::<EntryTarget>().unwrap()).unwrap();
    assert_eq!(found.card.key.version(), Some("v2"));
}

#[test]
fn an_entry_keeps_its_blobs_until_it_is_removed() {
    let store = simulated(&World::new(1));
    let digest = store.add("a", b"bytes", true);
    let key = model("org/repo", "");
    one(&store.ctx(), with(key.clone(), vec![of(Target::Digest(digest))])).unwrap();
    let plan = names::plan_remove(&store.ctx(), &[crate::vocabulary::Prefix::Everything]).unwrap();
    assert_eq!(plan.unrooted_blobs, 0);
    names::remove(&store.ctx(), &plan, &Silent).unwrap();
    assert!(store.collect(Duration::ZERO).is_empty(), "the entry keeps it");
    store.ledger.compact().unwrap();
    assert!(store.collect(Duration::ZERO).is_empty(), "and so does what a base says of it");
    remove::remove(&store.ctx(), &key).unwrap();
    assert_eq!(get(&store.ctx(), &key).unwrap(), None);
    assert!(keys(&store.ctx(), &Query::default()).is_empty());
    assert_eq!(store.collect(Duration::ZERO), [digest]);
}

#[test]
fn a_variant_that_gets_other_bytes_lets_the_former_go() {
    let store = simulated(&World::new(1));
    let (old, new) = (store.add("a", b"old", false), store.add("b", b"new", false));
    let key = model("m", "");
    for digest in [old, new] {
        let what = with(key.clone(), vec![of(Target::Digest(digest))]);
        register(&store.ctx(), vec![what], IfThere::Merge).unwrap();
    }
    let plan = names::plan_remove(&store.ctx(), &[crate::vocabulary::Prefix::Everything]).unwrap();
    names::remove(&store.ctx(), &plan, &Silent).unwrap();
    assert_eq!(store.collect(Duration::ZERO), [old]);
    assert_eq!(by_digest(&store.ctx(), &old).unwrap(), []);
}

#[test]
fn changes_follow_the_table_of_transitions() {
    let store = simulated(&World::new(1));
    let key = model("m", "");
    one(&store.ctx(), Registration::new(key.clone())).unwrap();
    let illegal = change::set_state(&store.ctx(), &key, State::Active).unwrap_err();
    assert_eq!(illegal.kind(), ErrorKind::IllegalTransition);
    assert_eq!(change::set_state(&store.ctx(), &key, State::Retired).unwrap().card.state, State::Retired);
    let retired = Query { state: Some(State::Retired), ..Query::default() };
    assert_eq!(keys(&store.ctx(), &retired).len(), 1);
    assert!(keys(&store.ctx(), &Query { state: Some(State::Pending), ..Query::default() }).is_empty());
    let tags = |add: &str, remove: &str| {
        let set = |word: &str| BTreeSet::from([word.to_owned()]);
        change::tag(&store.ctx(), &key, set(add), set(remove)).unwrap().card.tags
    };
    assert_eq!(tags("a", "z"), BTreeSet::from(["a".to_owned()]));
    assert_eq!(tags("b", "a"), BTreeSet::from(["b".to_owned()]));
    assert!(keys(&store.ctx(), &Query { tags: vec!["a".into()], ..Query::default() }).is_empty());
    let set = BTreeMap::from([("quantisation".to_owned(), Some("q4".to_owned()))]);
    assert_eq!(change::describe(&store.ctx(), &key, set).unwrap().card.metadata["quantisation"], "q4");
    assert_eq!(change::note(&store.ctx(), &key, "x".into()).unwrap().card.notes, "x");
    assert_eq!(touch(&store.ctx(), &key).unwrap().usage.count, 1);
    assert_eq!(touch(&store.ctx(), &key).unwrap().usage.count, 2);
}

#[test]
fn verification_moves_an_entry_and_says_what_it_saw() {
    let store = simulated(&World::new(1));
    let digest = store.add("a", b"bytes", true);
    let expecting = |expected| NewVariant { expected, ..of(Target::Digest(digest)) };
    for (reference, expected, state, trust, status) in [
        ("right", Some(digest), State::Active, Trust::Verified, VariantStatus::Ok),
        ("unknown", None, State::Active, Trust::Warned, VariantStatus::Unexpected),
        ("wrong", Some(Digest::EMPTY), State::Failed, Trust::Unverified, VariantStatus::Mismatch),
    ] {
        let key = model(reference, "");
        one(&store.ctx(), with(key.clone(), vec![expecting(expected)])).unwrap();
        let verified = verify(&store.ctx(), &key, None, None, "test", &Silent).unwrap();
        let card = &verified.entry.card;
        assert_eq!((card.state, card.trust, verified.variants[0].status), (state, trust, status), "{reference}");
        let evidence = card.evidence.as_ref().unwrap();
        assert_eq!((evidence.expected, evidence.found, evidence.by.as_str()), (expected, Some(digest), "test"));
        assert_eq!(card.verified_ns.is_some(), status != VariantStatus::Mismatch);
        assert_eq!(verified.entry.digest(), Some(digest), "the bytes are kept, right or wrong");
    }
}

#[test]
fn what_cannot_be_read_shows_nothing() {
    let world = World::new(1);
    let store = simulated(&world);
    let key = model("m", "");
    let expected = Some(crate::hashing::Digests::of(b"bytes").digest);
    one(&store.ctx(), with(key.clone(), vec![NewVariant { expected, ..NewVariant::default() }])).unwrap();
    let status = |path: Option<&str>| {
        let verified = verify(&store.ctx(), &key, path.map(Path::new), None, "test", &Silent).unwrap();
        (verified.variants[0].status, verified.entry.card.state)
    };
    assert_eq!(status(None), (VariantStatus::Unlocated, State::Pending));
    assert_eq!(status(Some("/nowhere")), (VariantStatus::Missing, State::Pending));
    let machine: Arc<dyn Machine> = world.process("user");
    machine.open(Path::new("/file"), Open::CreateNew { mode: 0o644 }).unwrap().write_at(b"bytes", 0).unwrap();
    assert_eq!(status(Some("/file")), (VariantStatus::Ok, State::Active));
    let entry = get(&store.ctx(), &key).unwrap().unwrap();
    assert_eq!((entry.digest(), entry.variants[0].uri.as_str()), (expected, "file:///file"));
    machine.unlink(Path::new("/file")).unwrap();
    assert_eq!(status(None), (VariantStatus::Missing, State::Active));
}

#[test]
fn pages_go_on_where_the_last_one_ended() {
    let store = simulated(&World::new(1));
    let all: Vec<Key> = (0..25).map(|i| model(&format!("m{i:02}"), "")).collect();
    let what = |key: &Key| Registration { tags: BTreeSet::from(["t".into()]), ..Registration::new(key.clone()) };
    register(&store.ctx(), all.iter().map(what).collect(), IfThere::Refuse).unwrap();
    for query in [Query::default(), Query { tags: vec!["t".into()], ..Query::default() }] {
        let mut found: Vec<Key> = Vec::new();
        loop {
            let next = page(&store.ctx(), &query, found.last(), 7).unwrap();
            if next.is_empty() {
                break;
            }
            found.extend(next.into_iter().map(|entry| entry.card.key));
        }
        assert_eq!(found, all, "{query:?}");
    }
    let prefix = Key::prefix(crate::vocabulary::EntryKind::Model, &["hf", "m07"]);
    assert_eq!(keys(&store.ctx(), &Query { prefix, ..Query::default() }), ["model:hf/m07"]);
}

#[test]
fn the_same_entries_come_back_from_a_base_and_without_an_index() {
    let store = simulated(&World::new(1));
    let digest = store.add("a", b"bytes", true);
    let mut what = with(model("m", "v1"), vec![of(Target::Digest(digest))]);
    what.tags.insert("t".into());
    one(&store.ctx(), what).unwrap();
    let key = model("m", "v1");
    touch(&store.ctx(), &key).unwrap();
    let before = get(&store.ctx(), &key).unwrap();
    store.ledger.compact().unwrap();
    let again = Fixture::open(Arc::clone(&store.machine), Path::new("/store"));
    assert_eq!(get(&again.ctx(), &key).unwrap(), before);
    let snapshot = again.ledger.snapshot_from_journal().unwrap();
    assert_eq!(Entries::entry(&snapshot, &key).unwrap(), before);
    assert_eq!(Entries::entries_of(&snapshot, &digest).unwrap(), [(key.id(), String::new())]);
}

/// Promises 1 and 3 for entries: what is acknowledged is there with all its variants, or nothing of it is, and either way
/// what it keeps is not collected.
#[test]
fn registering_survives_a_power_cut_at_every_call_and_keeps_its_blobs() {
    let world = World::new(11);
    let before = simulated(&world);
    let (one, two) = (before.add("a", b"one", true), before.add("b", b"two", true));
    drop(before);
    let reopen = |machine: Arc<Simulated>| Fixture::open(machine, Path::new("/store"));
    let key = model("org/repo", "v1");
    let coverage = Enumeration::new(11, &world).power_cuts(
        |machine| {
            let store = reopen(Arc::clone(machine));
            let named = |name: &str, digest| NewVariant { name: name.into(), ..of(Target::Digest(digest)) };
            register(&store.ctx(), vec![with(key.clone(), vec![named("q4", one), named("q8", two)])], IfThere::Refuse)
                .unwrap();
            machine.note("registered");
            let all = [crate::vocabulary::Prefix::Everything];
            names::remove(&store.ctx(), &names::plan_remove(&store.ctx(), &all).unwrap(), &Silent).unwrap();
            machine.note("unnamed");
            assert!(store.collect(Duration::ZERO).is_empty(), "the entry keeps both");
        },
        |_, world, log| {
            let store = reopen(world.process("after"));
            let entry = get(&store.ctx(), &key).unwrap();
            assert!(entry.is_some() || !log.noted("registered"), "what was acknowledged is gone");
            let kept: Vec<Digest> = entry.iter().flat_map(|e| &e.variants).filter_map(|v| v.digest).collect();
            assert!(kept.is_empty() || kept == [one, two], "half an entry: {kept:?}");
            store.collect(Duration::ZERO);
            for digest in kept {
                assert!(store.inode(&store.ledger.layout.blob(&digest)).is_some(), "{digest} was collected");
            }
        },
    );
    assert!(coverage.distinct > 30, "{coverage:?}");
}

/// Whoever replaces a variant and dies leaves the old one or the new one, and the blob of the one that is.
#[test]
fn replacing_a_variant_and_removing_an_entry_survive_a_power_cut_at_every_call() {
    let world = World::new(12);
    let before = simulated(&world);
    let (one, two) = (before.add("a", b"one", false), before.add("b", b"two", false));
    let key = model("m", "");
    register(&before.ctx(), vec![with(key.clone(), vec![of(Target::Digest(one))])], IfThere::Refuse).unwrap();
    drop(before);
    let reopen = |machine: Arc<Simulated>| Fixture::open(machine, Path::new("/store"));
    let coverage = Enumeration::new(12, &world).power_cuts(
        |machine| {
            let store = reopen(Arc::clone(machine));
            register(&store.ctx(), vec![with(key.clone(), vec![of(Target::Digest(two))])], IfThere::Merge).unwrap();
            machine.note("replaced");
            remove::remove(&store.ctx(), &key).unwrap();
            machine.note("removed");
        },
        |_, world, log| {
            let store = reopen(world.process("after"));
            let snapshot = store.ledger.snapshot().unwrap();
            let keeps = |digest: &Digest| snapshot.has_entry(digest).unwrap();
            match get(&store.ctx(), &key).unwrap().map(|entry| entry.digest()) {
                None => assert!(log.noted("replaced") && !keeps(&one) && !keeps(&two)),
                Some(digest) => {
                    assert!(!log.noted("removed"));
                    assert!(digest == Some(two) || (digest == Some(one) && !log.noted("replaced")), "{digest:?}");
                    assert_eq!((keeps(&one), keeps(&two)), (digest == Some(one), digest == Some(two)));
                }
            }
        },
    );
    assert!(coverage.distinct > 15, "{coverage:?}");
}

/// Of several that register the same key at once, one makes it and the others get what it made.
#[test]
fn one_of_eight_threads_makes_the_entry() {
    let store = simulated(&World::new(13));
    let made: usize = std::thread::scope(|scope| {
        let one = |i: u32| {
            let what = Registration { notes: i.to_string(), ..Registration::new(model("m", "")) };
            let store = &store;
            scope.spawn(move || register(&store.ctx(), vec![what], IfThere::Keep).unwrap().remove(0))
        };
        let threads: Vec<_> = (0..8).map(one).collect();
        let done: Vec<Registered> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(done.iter().all(|registered| registered.entry == done[0].entry), "all see the same entry");
        done.iter().filter(|registered| registered.new).count()
    });
    assert_eq!(made, 1);
}
