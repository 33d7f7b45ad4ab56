//! Promise 2: no reader ever finds partial or other bytes under a digest, whatever crashed.
//!
//! Additions of the same bytes run beside each other in orders by chance, with kills, power cuts and failing calls in
//! between; what stands under a digest without a record is never used as found. `LARDER_SEED=n` repeats one order,
//! `LARDER_LONG=1` tries many times as many.

use std::sync::Arc;

use crate::kit::{self, Account, Contest, Opened, digest, for_seeds, many, recovers_to, report, world};
use larder::format::layout::Layout;
use larder::format::settings::Durability;
use larder::ledger::Tables;
use larder::machine::Machine;
use larder::machine::simulated::{Enumeration, Images, Outcome, Simulated, Snapshot, Task, World, explore, task};
use larder::work::ingest::{AddOptions, TakeIn};
use larder::{Name, Result};

const A: &[u8] = b"the bytes of the first file";
const B: &[u8] = b"other bytes, of the second file";
const C: &[u8] = b"what the third file holds";

fn begun(seed: u64, durability: Durability) -> Snapshot {
    let sources: [(&str, &[u8]); 7] = [
        ("/one/a", A),
        ("/one/b", B),
        ("/two/a", A),
        ("/two/c", C),
        ("/three/b", B),
        ("/three/c", C),
        ("/three/again", A),
    ];
    world(seed, durability, &sources).snapshot()
}

fn goes_on(world: &World, account: &Account) {
    let opened = recovers_to(world, account);
    let options = AddOptions { replace: true, ..AddOptions::default() };
    assert_eq!(opened.add(&["/one", "/two", "/three"], &options).unwrap().failed, 0);
    kit::nothing_is_left_over(world, &opened);
}

type Doing = Task<'static, Result<()>>;

fn adding(tree: &'static str, take_in: TakeIn) -> Doing {
    task(tree, move |process| {
        let options = AddOptions { take_in, ..AddOptions::default() };
        Opened::open(&process)?.add(&[tree], &options).map(drop)
    })
}

/// Reads names and blobs all the time, as anybody may who has no lock: what it sees is right, or not there.
fn looking(world: &World) -> Doing {
    let world = world.clone();
    task("looking", move |process: Arc<Simulated>| {
        for _ in 0..12 {
            kit::never_lies(&world);
            for name in ["one/a", "two/a", "three/again"] {
                let path = Layout::new(kit::STORE).name(&Name::new(name)?);
                assert!(world.read(path).is_none_or(|bytes| bytes == A), "names/{name}");
            }
            process.pause(std::time::Duration::from_micros(10));
        }
        Ok(())
    })
}

fn contest(what: &str, seeds: u64, durability: Durability, tasks: fn() -> Vec<Doing>) {
    let start = begun(1, durability);
    for_seeds(what, seeds, |seed| Contest { start: &start, known: &[], seed, steps: 330, tasks: &tasks }.run(goes_on));
}

#[test]
fn three_additions_of_the_same_bytes() {
    contest("three additions", 250, Durability::Batch, || {
        ["/one", "/two", "/three"].map(|tree| adding(tree, TakeIn::Copy)).into()
    });
    contest("three additions, each synced", 80, Durability::Each, || {
        ["/one", "/two", "/three"].map(|tree| adding(tree, TakeIn::Copy)).into()
    });
}

#[test]
fn additions_by_link_and_by_copy() {
    contest("by link, by move, by copy", 200, Durability::Batch, || {
        vec![adding("/one", TakeIn::Link), adding("/two", TakeIn::Move), adding("/three", TakeIn::Copy)]
    });
}

#[test]
fn readers_see_right_bytes_or_none() {
    let start = begun(2, Durability::Batch);
    for_seeds("looking", 60, |seed| {
        let world = start.world(seed);
        let tasks = vec![adding("/one", TakeIn::Copy), adding("/two", TakeIn::Link), looking(&world)];
        let report = larder::machine::simulated::Schedule::seeded(seed).run(&world, tasks);
        for outcome in report.outcomes {
            assert!(matches!(outcome, Outcome::Finished(Ok(()))), "{outcome:?}");
        }
        goes_on(&world, &Account::of(&world.log()));
    });
}

#[test]
fn two_additions_in_every_order_of_few_turns() {
    let start = world(3, Durability::Batch, &[("/one/a", A), ("/two/a", A), ("/three/a", A)]).snapshot();
    for (preemptions, most) in [(1, u64::MAX), (2, many(800))] {
        let explored = explore(preemptions, most, |schedule| {
            let world = start.world(3);
            let report = schedule.run(&world, vec![adding("/one", TakeIn::Copy), adding("/two", TakeIn::Copy)]);
            assert!(!report.stuck);
            for outcome in &report.outcomes {
                assert!(matches!(outcome, Outcome::Finished(Ok(()))), "{outcome:?}; before it:\n{}", world.log());
            }
            goes_on(&world, &Account::of(&world.log()));
            report
        });
        println!("two additions, {preemptions} preemptions: {explored:?}");
        assert!(explored.complete || preemptions > 1);
    }
}

/// A file that stands under a digest and that no record knows may hold anything once the power has gone: its maker's sync
/// may have failed. Whoever adds these bytes puts their own in its place.
#[test]
fn what_no_record_knows_is_never_used_as_found() {
    let start = begun(4, Durability::Batch).world(4);
    let process = start.process("somebody");
    let path = Layout::new(kit::STORE).blob(&digest(A));
    start.put(&path, b"");
    let file = process.open(&path, larder::machine::Open::ReadWrite).unwrap();
    let coverage = Enumeration::new(4, &start).samples(10).power_cuts(
        |process| {
            // Right to look at, and not on the disk; nobody will ever sync it.
            let file = process.open(&path, larder::machine::Open::ReadWrite).unwrap();
            file.write_at(A, 0).unwrap();
            Opened::open(process).unwrap().add(&["/one"], &AddOptions::default()).unwrap();
        },
        |_, world, log| {
            if log.notes().any(|note| note.starts_with("added one/a")) {
                goes_on(world, &Account::of(log));
            }
        },
    );
    drop(file);
    report("an unrecorded file in the way", coverage);
    // Nor by its look alone: bytes that were never right.
    let world = begun(5, Durability::Batch).world(5);
    world.put(&path, b"something else entirely");
    let opened = Opened::open(&world.process("user")).unwrap();
    opened.add(&["/one"], &AddOptions::default()).unwrap();
    kit::never_lies(&world);
    kit::agrees(&world, &opened);
}

/// A hit rests on a stamp; where that disagrees, on the bytes.
#[test]
fn a_stored_copy_that_looks_different_is_hashed() {
    for good in [false, true] {
        let world = begun(6, Durability::Batch).world(6);
        let opened = Opened::open(&world.process("user")).unwrap();
        opened.add(&["/one"], &AddOptions::default()).unwrap();
        let path = opened.ledger.blobs.path(&digest(A));
        // Another file in its place, of the same size or with the same bytes.
        let process = world.process("somebody");
        process.unlink(&path).unwrap();
        world.settle();
        world.put(&path, if good { A } else { b"THE BYTES OF THE FIRST FILE" });
        let done = opened.add(&["/two"], &AddOptions::default()).unwrap();
        assert_eq!((done.failed, done.healed_files), (0, u64::from(!good)));
        kit::never_lies(&world);
        kit::agrees(&world, &opened);
        opened.remove(&["one/a"]).unwrap();
        let account = Account::of(&world.log());
        kit::each_image(&world.balance(), 6, 10, |_, image| goes_on(image, &account));
        kit::nothing_is_left_over(&world, &opened);
    }
}

/// A source that changes under the reader is no blob of mixed bytes.
#[test]
fn a_source_that_changes_while_it_is_read() {
    let start = begun(7, Durability::Batch);
    for_seeds("a source that changes", 60, |seed| {
        let world = start.world(seed);
        // Open since before: once a source is taken in by link, its mode lets nobody else open it for writing.
        let file = world.process("writer").open("/one/a".as_ref(), larder::machine::Open::ReadWrite).unwrap();
        let writer: Doing = task("writer", move |process: Arc<Simulated>| {
            for round in 0..3u8 {
                process.lstat("/one/a".as_ref()).ok();
                file.write_at(&[b'0' + round; 27], 0).unwrap();
                process.lstat("/one/a".as_ref()).ok();
            }
            Ok(())
        });
        let take_in = [TakeIn::Copy, TakeIn::Link, TakeIn::Move][seed as usize % 3];
        let report =
            larder::machine::simulated::Schedule::seeded(seed).run(&world, vec![adding("/one", take_in), writer]);
        assert!(!report.stuck);
        kit::never_lies(&world);
        let opened = Opened::open(&world.process("after")).unwrap();
        kit::agrees(&world, &opened);
    });
}

/// The images of a plain addition, once more with the whole tree looked at before anything recovers.
#[test]
fn partial_bytes_never_stand_under_a_digest() {
    let start = begun(8, Durability::Batch).world(8);
    for take_in in [TakeIn::Copy, TakeIn::Link] {
        let options = AddOptions { take_in, ..AddOptions::default() };
        let coverage = Enumeration::new(8, &start).images(Images::Exhaustive).samples(many(30) as usize).power_cuts(
            |process| _ = Opened::open(process).unwrap().add(&["/one", "/two"], &options).unwrap(),
            |_, world, _| kit::never_lies(world),
        );
        report(&format!("digests after a power cut, {take_in:?}"), coverage);
    }
}

/// `--expect`: any other bytes are refused, and nothing of them is kept.
#[test]
fn other_bytes_than_expected_are_not_taken() {
    let sources: [(&str, &[u8]); 2] = [("/src/good", b"what was asked for"), ("/src/bad", b"something else")];
    let world = kit::world(1, Durability::Batch, &sources);
    let opened = Opened::open(&world.process("adding")).unwrap();
    let expecting = AddOptions { expect: Some(digest(sources[0].1)), ..AddOptions::default() };
    let refused = opened.add(&["/src/bad"], &expecting);
    assert!(refused.map_or(true, |report| report.failed == 1), "other bytes were taken");
    assert!(opened.ledger.snapshot().unwrap().blob(&digest(sources[1].1)).unwrap().is_none());
    assert_eq!(opened.add(&["/src/good"], &expecting).unwrap().new_files, 1);
}

/// A source is written over between any two calls of its reader: what is kept is the one or the other, never some of
/// each.
#[test]
fn a_source_that_changes_half_way_is_kept_as_it_was_or_as_it_is() {
    let (before, after) = (vec![b'1'; 2 << 20], vec![b'2'; 2 << 20]);
    let start = kit::world(9, Durability::Batch, &[("/src/large", &before)]).snapshot();
    let kept = [digest(&before), digest(&after)];
    let mut changed = 0;
    for at in 0..400 {
        let world = start.world(9);
        let after = after.clone();
        let writer: Doing = task("writer", move |process: Arc<Simulated>| {
            let file = process.open("/src/large".as_ref(), larder::machine::Open::ReadWrite).unwrap();
            file.write_at(&after, 0).unwrap();
            Ok(())
        });
        let choices = std::iter::repeat_n(0, at).chain([1]).collect();
        let report = larder::machine::simulated::Schedule::replay(choices)
            .run(&world, vec![adding("/src", TakeIn::Copy), writer]);
        assert!(!report.stuck);
        let opened = Opened::open(&world.process("after")).unwrap();
        let alias = opened.ledger.snapshot().unwrap().alias(&Name::new("src/large").unwrap()).unwrap();
        let alias = alias.expect("it is kept");
        assert!(kept.contains(&alias.digest), "interrupted at call {at}: neither what it was nor what it is");
        changed += usize::from(alias.digest == kept[1]);
        if changed > 0 && alias.digest == kept[0] {
            return;
        }
    }
    panic!("the change never came after the reading");
}
