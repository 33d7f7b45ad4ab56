//! Promises 1 and 3 for the trash: what an entry keeps stays while it is there, in the trash or not, whatever crashes; what
//! was acknowledged is so after any power cut; and what is evicted is never what somebody has pinned.

use std::sync::Arc;
use std::time::Duration;

use crate::kit::{self, Contest, Opened, digest, for_seeds, recovered, recovers_to, report, world};
use larder::format::settings::Durability;
use larder::ledger::Tables;
use larder::machine::simulated::{Enumeration, Images, Log, Simulated, Snapshot, Task, World, task};
use larder::vocabulary::entry::RetentionPolicy;
use larder::vocabulary::{Entry, Key, Silent, State};
use larder::work::catalog::evict::{self, Goal};
use larder::work::catalog::register::{IfThere, NewVariant, Registration, register};
use larder::work::catalog::retention::{self, LetGo};
use larder::work::catalog::trash;
use larder::work::ingest::{AddOptions, AliasKind};
use larder::work::names::{Target, pin};
use larder::{Digest, ErrorKind, Name, Result};

const A: &[u8] = b"the weights of the first shard";
const B: &[u8] = b"those of the second one";
const NOW: Duration = Duration::ZERO;

fn key() -> Key {
    Key::model("hf", "org/repo", "v1").unwrap()
}

/// A store with a model of two shards, one with a hardlinked name and one with a counted one.
fn begun(seed: u64) -> Snapshot {
    let world = world(seed, Durability::Batch, &[("/src/a", A), ("/src/b", B)]);
    let opened = Opened::open(&world.process("before")).unwrap();
    opened.add(&["/src/a"], &AddOptions::default()).unwrap();
    opened.add(&["/src/b"], &AddOptions { alias: Some(AliasKind::Counted), ..AddOptions::default() }).unwrap();
    let of = |name: &str| NewVariant {
        name: name.to_owned(),
        target: Some(Target::Name(Name::new(name).unwrap())),
        ..NewVariant::default()
    };
    let what = Registration { variants: vec![of("a"), of("b")], ..Registration::new(key()) };
    register(&opened.ctx(), vec![what], IfThere::Refuse).unwrap();
    drop(opened);
    world.settle();
    world.snapshot()
}

fn entry(opened: &Opened) -> Option<Entry> {
    larder::ledger::Entries::entry(opened.ledger.snapshot().unwrap().as_ref(), &key()).unwrap()
}

/// After the crash: the entry whole or gone, in the trash or not, and both blobs while it is there.
fn looked_at(world: &World, log: &Log) -> (Opened, Option<Entry>) {
    let opened = recovered(world, log);
    let there = entry(&opened);
    opened.collect(NOW).expect("collecting goes on");
    kit::agrees(world, &opened);
    if let Some(entry) = &there {
        assert_eq!(entry.variants.len(), 2, "half an entry");
        for bytes in [A, B] {
            let kept = world.read(opened.ledger.layout.blob(&digest(bytes)));
            assert_eq!(kept.as_deref(), Some(bytes), "what the entry keeps was collected");
        }
    }
    (opened, there)
}

fn named(opened: &Opened) -> Vec<bool> {
    let snapshot = opened.ledger.snapshot().unwrap();
    ["a", "b"].map(|name| snapshot.alias(&Name::new(name).unwrap()).unwrap().is_some()).to_vec()
}

#[test]
fn putting_into_the_trash_survives_a_power_cut_at_every_call() {
    let start = begun(1).world(1);
    let coverage = Enumeration::new(1, &start).power_cuts(
        |process: &Arc<Simulated>| {
            let opened = Opened::open(process).unwrap();
            trash::trash(&opened.ctx(), &key(), "trash").unwrap();
            process.note("trashed");
            assert_eq!(opened.collect(NOW).unwrap().removed_blobs, 0, "the trash keeps it");
        },
        |_, world, log| {
            let (opened, there) = looked_at(world, log);
            let trashed = there.expect("it is only put away").trashed_ns.is_some();
            assert!(trashed || !log.noted("trashed"), "what was acknowledged is undone");
            assert_eq!(named(&opened), [!trashed; 2], "all of it or nothing");
            if trashed {
                assert_eq!(trash::undelete(&opened.ctx(), &key()).unwrap().left, []);
                kit::agrees(world, &opened);
                assert_eq!(named(&opened), [true; 2]);
            }
        },
    );
    report("trash", coverage);
    assert!(coverage.distinct > 10, "{coverage:?}");
}

#[test]
fn taking_out_of_the_trash_survives_a_power_cut_at_every_call() {
    let start = begun(2).world(2);
    trash::trash(&Opened::open(&start.process("before")).unwrap().ctx(), &key(), "trash").unwrap();
    start.settle();
    let coverage = Enumeration::new(2, &start).power_cuts(
        |process: &Arc<Simulated>| {
            let opened = Opened::open(process).unwrap();
            assert_eq!(trash::undelete(&opened.ctx(), &key()).unwrap().names.len(), 2);
            process.note("undeleted");
        },
        |_, world, log| {
            let (opened, there) = looked_at(world, log);
            let trashed = there.expect("it is there either way").trashed_ns.is_some();
            assert!(!trashed || !log.noted("undeleted"), "what was acknowledged is undone");
            assert_eq!(named(&opened), [!trashed; 2], "all of it or nothing");
        },
    );
    report("undelete", coverage);
    assert!(coverage.distinct > 10, "{coverage:?}");
}

#[test]
fn emptying_the_trash_survives_a_crash_at_every_call() {
    let start = begun(3).world(3);
    trash::trash(&Opened::open(&start.process("before")).unwrap().ctx(), &key(), "trash").unwrap();
    start.settle();
    let workload = |process: &Arc<Simulated>| {
        let opened = Opened::open(process).unwrap();
        let plan = trash::plan_empty(&opened.ctx(), NOW).unwrap();
        let report = trash::empty(&opened.ctx(), &plan, true, &Silent).unwrap();
        assert_eq!((report.removed.len(), report.collected.removed_blobs), (1, 2));
        process.note("emptied");
    };
    let check = |world: &World, log: &Log| {
        let (opened, there) = looked_at(world, log);
        assert!(there.is_none() || !log.noted("emptied"), "what was acknowledged is undone");
        kit::nothing_is_left_over(world, &opened);
    };
    let cuts = Enumeration::new(3, &start).power_cuts(workload, |_, world, log| check(world, log));
    report("empty", cuts);
    assert!(cuts.distinct > 30, "{cuts:?}");
    report("empty, killed", Enumeration::new(3, &start).kills(workload, |_, world, log| check(world, log)));
}

#[test]
fn deleting_for_good_survives_a_crash_at_every_call() {
    let start = begun(4).world(4);
    let workload = |process: &Arc<Simulated>| {
        let opened = Opened::open(process).unwrap();
        let deleted = trash::delete(&opened.ctx(), &key(), "delete", &Silent).unwrap();
        assert_eq!((deleted.names.len(), deleted.collected.removed_blobs), (2, 2));
        process.note("deleted");
    };
    let check = |world: &World, log: &Log| {
        let (opened, there) = looked_at(world, log);
        assert!(there.is_none() || !log.noted("deleted"), "what was acknowledged is undone");
        assert_eq!(named(&opened), [there.is_some(); 2], "the entry without its names, or they without it");
        kit::nothing_is_left_over(world, &opened);
    };
    let cuts =
        Enumeration::new(4, &start).images(Images::Basic).power_cuts(workload, |_, world, log| check(world, log));
    report("delete", cuts);
    assert!(cuts.distinct > 30, "{cuts:?}");
    report("delete, killed", Enumeration::new(4, &start).kills(workload, |_, world, log| check(world, log)));
}

#[test]
fn letting_go_by_a_policy_survives_a_power_cut_at_every_call() {
    for how in [LetGo::Trash, LetGo::Retire] {
        let start = begun(8).world(8);
        let workload = |process: &Arc<Simulated>| {
            let opened = Opened::open(process).unwrap();
            let policy = RetentionPolicy { keep_last: Some(0), ..RetentionPolicy::default() };
            let plan = retention::plan(&opened.ctx(), &policy, how).unwrap();
            assert_eq!(retention::apply(&opened.ctx(), &plan, how, &Silent).unwrap().entries.len(), 1);
            process.note("let go");
        };
        let check = |world: &World, log: &Log| {
            let (opened, there) = looked_at(world, log);
            let entry = there.expect("it is only put away, or retired");
            let (trashed, retired) = (entry.trashed_ns.is_some(), entry.card.state == State::Retired);
            assert_eq!(named(&opened), [!trashed; 2], "all of it or nothing");
            let done = if how == LetGo::Trash { trashed } else { retired };
            assert!(done || !log.noted("let go"), "what was acknowledged is undone");
        };
        let cuts = Enumeration::new(8, &start).images(Images::Basic).power_cuts(workload, |_, w, log| check(w, log));
        report("retention", cuts);
        assert!(cuts.distinct >= 5, "{cuts:?}");
    }
}

#[test]
fn evicting_survives_a_crash_at_every_call() {
    let start = begun(6).world(6);
    let workload = |process: &Arc<Simulated>| {
        let opened = Opened::open(process).unwrap();
        let plan = evict::plan(&opened.ctx(), Goal::MaxBytes(0)).unwrap();
        let report = evict::evict(&opened.ctx(), &plan, true, &Silent).unwrap();
        assert_eq!((report.entries.len(), report.collected.removed_blobs), (1, 2));
        process.note("evicted");
    };
    let check = |world: &World, log: &Log| {
        let (opened, there) = looked_at(world, log);
        assert!(there.is_none() || !log.noted("evicted"), "what was acknowledged is undone");
        assert_eq!(named(&opened), [there.is_some(); 2], "the entry without its names, or they without it");
        kit::nothing_is_left_over(world, &opened);
    };
    let cuts = Enumeration::new(6, &start).images(Images::Basic).power_cuts(workload, |_, w, log| check(w, log));
    report("evict", cuts);
    assert!(cuts.distinct > 30, "{cuts:?}");
    report("evict, killed", Enumeration::new(6, &start).kills(workload, |_, world, log| check(world, log)));
}

/// One process empties the trash, one takes the entry back, one evicts and one collects, in orders by chance, with kills, power cuts
/// and failing calls: the entry is there with all its bytes, or it is gone.
#[test]
fn taking_back_emptying_evicting_and_collecting_at_the_same_time() {
    let start = begun(7).world(7);
    trash::trash(&Opened::open(&start.process("before")).unwrap().ctx(), &key(), "trash").unwrap();
    start.settle();
    let start = start.snapshot();
    let gone = |e: larder::Error| if e.kind() == ErrorKind::NotFound { Ok(()) } else { Err(e) };
    let tasks = || -> Vec<Task<'_, Result<()>>> {
        vec![
            task("emptying", |process| {
                let opened = Opened::open(&process)?;
                let plan = trash::plan_empty(&opened.ctx(), NOW)?;
                trash::empty(&opened.ctx(), &plan, true, &Silent).map(drop)
            }),
            task("taking back", move |process| {
                let opened = Opened::open(&process)?;
                trash::undelete(&opened.ctx(), &key()).map(drop).or_else(gone)
            }),
            task("evicting", |process| {
                let opened = Opened::open(&process)?;
                let plan = evict::plan(&opened.ctx(), Goal::MaxBytes(0))?;
                evict::evict(&opened.ctx(), &plan, true, &Silent).map(drop)
            }),
            task("collecting", |process| Opened::open(&process)?.collect(NOW).map(drop)),
        ]
    };
    for_seeds("trash, all at once", 60, |seed| {
        Contest { start: &start, known: &[], seed, steps: 400, tasks: &tasks }.run(|world, account| {
            let opened = recovers_to(world, account);
            let there = entry(&opened);
            kit::nothing_is_left_over(world, &opened);
            for bytes in there.iter().flat_map(|_| [A, B]) {
                let kept = world.read(opened.ledger.layout.blob(&digest(bytes)));
                assert_eq!(kept.as_deref(), Some(bytes), "what the entry keeps was collected");
            }
        });
    });
}

#[test]
fn what_is_pinned_is_neither_evicted_nor_deleted() {
    let world = begun(5).world(5);
    let opened = Opened::open(&world.process("pinning")).unwrap();
    let pinned: Digest = digest(B);
    pin(&opened.ctx(), &Target::Digest(pinned), "").unwrap();
    let refused = trash::delete(&opened.ctx(), &key(), "delete", &Silent).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Pinned, "{refused}");
    let plan = evict::plan(&opened.ctx(), Goal::MaxBytes(0)).unwrap();
    assert_eq!((plan.entries.len(), plan.pinned), (0, 1), "{plan:?}");
    assert_eq!(named(&opened), [true; 2]);
    assert!(entry(&opened).is_some());
}
