//! Journal, index, lock and sessions, where one crash or race comes after another: a dead process leaves something half
//! done, the next one goes on, and only then the power is cut.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::kit::{self, Opened, world};
use larder::format::record::{AliasRecord, PinRecord, Record, Replaced, UnaliasRecord};
use larder::format::settings::Durability;
use larder::ledger::Tables;
use larder::machine::simulated::{CallKind, Fault, Images, Schedule, World, errno, explore, run, task};
use larder::machine::{Machine, Open};
use larder::work::ingest::AddOptions;
use larder::{ErrorKind, Name, Prefix};

fn add(opened: &Opened, path: &str) {
    let report = opened.add(&[path], &AddOptions::default()).expect("adding goes on");
    assert_eq!(report.failed, 0);
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn pin(opened: &Opened, bytes: &[u8]) {
    let digest = kit::digest(bytes);
    let pin = move |tx: &mut larder::ledger::Tx<'_>| {
        let since = tx.moment();
        tx.push(Record::Pin(PinRecord { digest, note: String::new(), since }));
        Ok(())
    };
    opened.ledger.transact(pin).unwrap();
}

/// Every name is on record, and in `names/`, in every world that a power cut may leave now.
fn survives_a_power_cut(world: &World, names: &[&str]) {
    let (crash, log) = (world.power_cut(), world.log());
    for image in crash.images(Images::Exhaustive) {
        let after = image.world(9);
        let opened = kit::recovered(&after, &log);
        let snapshot = opened.ledger.snapshot().unwrap();
        for each in names {
            assert!(snapshot.alias(&name(each)).unwrap().is_some(), "{each} is lost: {}", image.label);
        }
    }
}

#[test]
fn segments_that_begin_at_the_same_frame_are_read_in_the_order_in_which_they_were_made() {
    for seed in 0..8 {
        let world = world(seed, Durability::Batch, &[("/src/a", b"one"), ("/src/b", b"two")]);
        let opened = Opened::open(&world.process("first")).unwrap();
        add(&opened, "/src/a");
        for _ in 0..3 {
            opened.ledger.compact().unwrap();
        }
        add(&opened, "/src/b");
        let other = Opened::open(&world.process("other")).unwrap();
        let snapshot = other.ledger.snapshot().unwrap();
        assert!(snapshot.alias(&name("b")).unwrap().is_some(), "seed {seed}: what was acknowledged is not journal");
        assert_eq!(snapshot.damage, []);
    }
}

#[test]
fn a_frame_of_somebody_else_that_cannot_be_synced_again_is_copied_behind_what_it_followed() {
    for seed in 0..8 {
        let world = world(seed, Durability::Batch, &[("/src/a", b"one"), ("/src/b", b"two"), ("/src/c", b"three")]);
        let opened = Opened::open(&world.process("first")).unwrap();
        add(&opened, "/src/a");
        opened.ledger.compact().unwrap();
        let dying = world.process("dying");
        world.fail(Fault::kill().process(dying.number()).kind(CallKind::SyncData).under("/store/journal"));
        let _ = run(&dying, || add(&Opened::open(&dying).unwrap(), "/src/b"));
        assert!(dying.is_killed());
        let next = world.process("next");
        world.fail(Fault::errno(errno::EIO).process(next.number()).kind(CallKind::SyncData).under("/store/journal"));
        pin(&Opened::open(&next).unwrap(), b"one");
        for image in world.power_cut().images(Images::Exhaustive) {
            let opened = kit::recovered(&image.world(9), &world.log());
            let snapshot = opened.ledger.snapshot().unwrap();
            assert!(snapshot.pin(&kit::digest(b"one")).unwrap().is_some(), "seed {seed}: lost: {}", image.label);
            assert!(snapshot.alias(&name("b")).unwrap().is_some(), "seed {seed}: lost: {}", image.label);
        }
    }
}

#[test]
fn the_entry_of_a_segment_that_a_dead_process_began_is_synced_before_it_is_used() {
    let world = world(1, Durability::Batch, &[("/src/a", b"one"), ("/src/b", b"two")]);
    let dying = world.process("dying");
    let _ = run(&dying, || {
        let opened = Opened::open(&dying).unwrap();
        add(&opened, "/src/a");
        world.fail(
            Fault::kill().process(dying.number()).kind(CallKind::Sync).path(|path| path == Path::new("/store/journal")),
        );
        let _ = opened.ledger.compact();
    });
    assert!(dying.is_killed());
    add(&Opened::open(&world.process("next")).unwrap(), "/src/b");
    survives_a_power_cut(&world, &["a", "b"]);
}

#[test]
fn names_that_a_dead_process_applied_are_synced_by_whoever_finishes_its_frame() {
    let world = world(1, Durability::Batch, &[("/src/d/a", b"one"), ("/src/e/b", b"two")]);
    let dying = world.process("dying");
    let is_names = |path: &Path| path.starts_with("/store/names");
    world.fail(Fault::kill().process(dying.number()).kind(CallKind::Sync).path(is_names));
    let _ = run(&dying, || add(&Opened::open(&dying).unwrap(), "/src/d"));
    assert!(dying.is_killed());
    add(&Opened::open(&world.process("next")).unwrap(), "/src/e");
    survives_a_power_cut(&world, &["d/a", "e/b"]);
}

#[test]
fn a_long_name_with_a_capital_letter_can_be_folded_into_a_run() {
    let world = world(1, Durability::Batch, &[("/src/a", b"one")]);
    let opened = Opened::open(&world.process("first")).unwrap();
    let long = vec!["Abcdefghijklm"; 200].join("/");
    let options = AddOptions {
        name: Some(name(&long)),
        alias: Some(larder::work::ingest::AliasKind::Counted),
        ..AddOptions::default()
    };
    assert_eq!(opened.add(&["/src/a"], &options).unwrap().failed, 0);
    opened.ledger.fold(true).expect("any name fits a run");
    opened.ledger.compact().expect("any name fits a base");
    let lower = name(&long.to_lowercase());
    assert_eq!(opened.ledger.snapshot().unwrap().same_but_for_case(&lower).unwrap(), [name(&long)]);
}

#[test]
fn a_reader_beside_a_writer_sees_no_damage_and_misses_nothing() {
    let explored = explore(1, 3_000, |schedule| {
        let world = world(1, Durability::None, &[]);
        pin(&Opened::open(&world.process("before")).unwrap(), b"before");
        let reader = task("reader", |process: Arc<_>| {
            let reading = Opened::open(&process).unwrap();
            let snapshot = reading.ledger.snapshot().unwrap();
            assert_eq!(snapshot.damage, [], "a frame that was being written is taken for damage");
        });
        let writer = task("writer", |process: Arc<_>| {
            let writing = Opened::open(&process).unwrap();
            (0..4u8).for_each(|i| pin(&writing, &[i]));
        });
        schedule.run(&world, vec![reader, writer])
    });
    assert!(explored.schedules > 50, "{} schedules", explored.schedules);
}

#[test]
fn one_frame_may_take_the_last_name_of_a_directory_away_and_give_it_another() {
    let world = world(1, Durability::Batch, &[("/src/d/x", b"one")]);
    let opened = Opened::open(&world.process("first")).unwrap();
    add(&opened, "/src/d");
    for (from, to) in [("d/x", "d/y"), ("d/y", "d"), ("d", "d/e/f")] {
        let (from, to) = (name(from), name(to));
        opened
            .ledger
            .transact(move |tx| {
                let alias = tx.alias(&from)?.unwrap();
                let inode = tx.blob(&alias.digest)?.unwrap().stamp.inode;
                let was = Replaced { digest: alias.digest, hardlinked: true, inode };
                let (digest, size_bytes, added) = (alias.digest, alias.size_bytes, tx.moment());
                tx.push(Record::Unalias(UnaliasRecord { name: from, was, rule: "mv".into(), when: added }));
                tx.push(Record::Alias(AliasRecord {
                    name: to,
                    digest,
                    size_bytes,
                    hardlinked: true,
                    executable: false,
                    mtime_ns: 0,
                    replaces: None,
                    added,
                }));
                Ok(())
            })
            .unwrap();
        assert_eq!(opened.ledger.snapshot().unwrap().all_name_findings().count(), 0);
        kit::agrees(&world, &opened);
    }
    assert!(world.look("/store/names/d/e/f").is_some());
}

#[test]
fn folding_puts_damage_that_it_meets_on_record() {
    let world = world(1, Durability::Batch, &[("/src/a", b"one"), ("/src/b", b"two")]);
    let opened = Opened::open(&world.process("first")).unwrap();
    add(&opened, "/src/a");
    let (segment, at) = world
        .tree()
        .into_keys()
        .find(|path| path.starts_with("/store/journal") && path.extension().is_some_and(|e| e == "log"))
        .map(|path| (path, opened.ledger.snapshot().unwrap().cursor.last.unwrap()))
        .unwrap();
    add(&opened, "/src/b");
    world.corrupt(&segment, at + 100);
    opened.ledger.fold(true).unwrap();
    let other = Opened::open(&world.process("other")).unwrap();
    assert!(other.ledger.snapshot().unwrap().is_fenced().unwrap(), "a name went missing and nobody says so");
}

#[test]
fn an_index_whose_pages_are_damaged_can_be_made_anew() {
    let world = world(1, Durability::Batch, &[]);
    for i in 0..1500 {
        world.put(format!("/src/{i}"), format!("bytes {i}").as_bytes());
    }
    let opened = Opened::open(&world.process("first")).unwrap();
    add(&opened, "/src");
    opened.ledger.fold(true).unwrap();
    let runs: Vec<_> = world
        .tree()
        .into_iter()
        .filter(|(path, seen)| path.starts_with("/store/index/") && seen.content.len() > 40_000)
        .collect();
    for (path, seen) in &runs {
        for at in (4096..seen.content.len() - 20_000).step_by(512) {
            world.corrupt(path, at);
        }
    }
    assert!(!runs.is_empty());
    let other = Opened::open(&world.process("other")).unwrap();
    other.ledger.rebuild().expect("the index can be lost, always");
    assert_eq!(other.ledger.snapshot().unwrap().aliases(&Prefix::Everything).filter(|row| row.is_ok()).count(), 1500);
}

#[test]
fn sessions_that_end_while_others_collect_disturb_nobody() {
    for seed in 0..150 {
        let world = world(seed, Durability::None, &[("/src/a", b"one"), ("/src/b", b"two")]);
        let adder = |path: &'static str| {
            task(path, move |process: Arc<_>| {
                let opened = Opened::open(&process).unwrap();
                opened.add(&[path], &AddOptions::default()).map(drop)
            })
        };
        let collector = task("collect", |process: Arc<_>| {
            let opened = Opened::open(&process).unwrap();
            for _ in 0..3 {
                opened.collect(Duration::ZERO)?;
            }
            Ok(())
        });
        let report = Schedule::seeded(seed).run(&world, vec![adder("/src/a"), collector, adder("/src/b")]);
        for outcome in report.outcomes {
            outcome.finished().unwrap().unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        }
    }
}

#[test]
fn what_is_no_session_in_staging_is_left_alone() {
    let world = world(1, Durability::Batch, &[("/src/a", b"one"), ("/store/staging/mine/deep/file", b"the user's")]);
    let opened = Opened::open(&world.process("first")).unwrap();
    add(&opened, "/src/a");
    opened.collect(Duration::ZERO).expect("a foreign directory blocks nothing");
    assert!(world.read("/store/staging/mine/deep/file").is_some());
}

#[test]
fn grace_ends_in_a_store_that_nobody_else_writes_to() {
    let world = world(1, Durability::Batch, &[("/src/a", b"one"), ("/src/b", b"two")]);
    let opened = Opened::open(&world.process("first")).unwrap();
    add(&opened, "/src/a");
    let options = AddOptions { name: Some(name("a")), replace: true, ..AddOptions::default() };
    opened.add(&["/src/b"], &options).unwrap();
    let mut removed = 0;
    for _ in 0..9 {
        world.advance(Duration::from_secs(86_401));
        removed += opened.collect(Duration::from_secs(7 * 86_400)).unwrap().removed_blobs;
    }
    assert_eq!(removed, 1, "a week has passed, and a collection every day");
}

#[test]
fn a_compaction_that_runs_out_of_room_leaves_nothing_behind() {
    let world = world(1, Durability::Batch, &[]);
    for i in 0..300 {
        world.put(format!("/src/{i}"), format!("bytes {i}").as_bytes());
    }
    let opened = Opened::open(&world.process("first")).unwrap();
    add(&opened, "/src");
    let is_base = |path: &Path| path.to_str().unwrap().ends_with(".base.new");
    world.fail(Fault::errno(errno::ENOSPC).kind(CallKind::Write).path(is_base).nth(2));
    assert_eq!(opened.ledger.compact().unwrap_err().kind(), ErrorKind::NoSpace);
    assert!(
        !world.tree().into_keys().any(|path| path.to_str().unwrap().ends_with(".new")),
        "an unfinished base is left"
    );
}

#[test]
fn the_reserve_is_set_aside_again_once_there_is_room() {
    let world = world(1, Durability::Batch, &[("/src/a", b"one")]);
    let opened = Opened::open(&world.process("first")).unwrap();
    let full = world.process("shell").open(Path::new("/store/reserve"), Open::ReadWrite).unwrap();
    let size = full.meta().unwrap().size_bytes;
    full.set_len(0).unwrap();
    add(&opened, "/src/a");
    opened.collect(Duration::ZERO).unwrap();
    assert_eq!(full.meta().unwrap().size_bytes, size);
}

#[test]
fn what_was_set_aside_for_a_new_name_does_not_come_back() {
    let world = world(1, Durability::Each, &[("/src/a", b"one"), ("/src/b", b"two"), ("/src/c", b"three")]);
    let opened = Opened::open(&world.process("first")).unwrap();
    add(&opened, "/src/a");
    world.settle();
    let options = AddOptions { name: Some(name("a")), replace: true, ..AddOptions::default() };
    opened.add(&["/src/b"], &options).unwrap();
    add(&opened, "/src/c");
    for image in world.power_cut().images(Images::Exhaustive) {
        let after = image.world(9);
        let opened = kit::recovered(&after, &Default::default());
        opened.collect(Duration::ZERO).unwrap();
        kit::staging_is_empty(&after);
    }
}

/// Whoever has the last segment open does not take it for the last one for ever.
#[test]
fn a_segment_that_somebody_else_has_begun_is_found() {
    let world = world(1, Durability::Batch, &[("/src/a", b"one"), ("/src/b", b"two"), ("/src/c", b"three")]);
    let (one, other) = (Opened::open(&world.process("one")).unwrap(), Opened::open(&world.process("other")).unwrap());
    add(&one, "/src/a");
    other.ledger.compact().unwrap();
    add(&other, "/src/b");
    assert!(one.ledger.snapshot().unwrap().alias(&name("b")).unwrap().is_some());
    add(&one, "/src/c");
    survives_a_power_cut(&world, &["a", "b", "c"]);
}

/// A directory whose time is as it was is not listed again; unless it changes again within the same tick of the clock.
#[test]
fn whoever_asks_often_finds_a_segment_that_somebody_else_has_begun() {
    const LETTERS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let world = world(1, Durability::Batch, &[]);
    world.configure(|options| options.time_grain_ns = 1_000_000_000);
    let (one, other) = (Opened::open(&world.process("one")).unwrap(), Opened::open(&world.process("other")).unwrap());
    for (i, letter) in LETTERS.into_iter().enumerate() {
        if i % 2 == 0 {
            world.advance(Duration::from_secs(60));
        }
        let newest = one.ledger.snapshot().unwrap().cursor;
        for _ in 0..20 {
            assert_eq!(one.ledger.snapshot().unwrap().cursor, newest);
        }
        other.ledger.compact().unwrap();
        pin(&other, letter.as_bytes());
        let snapshot = one.ledger.snapshot().unwrap();
        assert!(snapshot.pin(&kit::digest(letter.as_bytes())).unwrap().is_some(), "{letter} is not seen");
    }
    pin(&one, b"its own");
    let fresh = Opened::open(&world.process("fresh")).unwrap().ledger.snapshot().unwrap();
    for kept in LETTERS.iter().map(|letter| letter.as_bytes()).chain([&b"its own"[..]]) {
        assert!(fresh.pin(&kit::digest(kept)).unwrap().is_some(), "{:?} is lost", String::from_utf8_lossy(kept));
    }
}

/// The directory then has the time that it had before: no reader could tell, and a writer has to.
#[test]
fn a_clock_that_is_set_back_hides_no_segment_from_a_writer() {
    let world = world(1, Durability::Batch, &[]);
    world.configure(|options| options.time_grain_ns = 1_000_000_000);
    let (one, other) = (Opened::open(&world.process("one")).unwrap(), Opened::open(&world.process("other")).unwrap());
    let changed = || one.process.lstat(Path::new("/store/journal")).unwrap().mtime_ns;
    other.ledger.compact().unwrap();
    let before = changed();
    world.advance(Duration::from_secs(60));
    pin(&other, b"older");
    (0..20).for_each(|_| _ = one.ledger.snapshot().unwrap());
    world.set_clock_ns(before as u64);
    other.ledger.compact().unwrap();
    assert_eq!(changed(), before, "this is about another time");
    pin(&one, b"one");
    pin(&other, b"other");
    let fresh = Opened::open(&world.process("fresh")).unwrap().ledger.snapshot().unwrap();
    for kept in [&b"older"[..], b"one", b"other"] {
        assert!(fresh.pin(&kit::digest(kept)).unwrap().is_some(), "{:?} is lost", String::from_utf8_lossy(kept));
    }
}

/// Its sync has failed and the disk will never have those bytes, whatever the cache shows and whoever syncs again; and it
/// died before it could say so.
#[test]
fn a_frame_that_a_dead_process_could_not_sync_is_written_again() {
    let world = world(1, Durability::Batch, &[("/src/a", b"one"), ("/src/b", b"two")]);
    let dying = world.process("dying");
    let _ = run(&dying, || {
        let opened = Opened::open(&dying).unwrap();
        opened.ledger.hold(|_| Ok(())).unwrap();
        let journal = |fault: Fault| fault.process(dying.number()).under("/store/journal");
        world.fail(journal(Fault::errno(errno::EIO).kind(CallKind::SyncData)));
        world.fail(journal(Fault::kill().kind(CallKind::Create)));
        let _ = opened.add(&["/src/a"], &AddOptions::default());
    });
    assert!(dying.is_killed());
    let next = Opened::open(&world.process("next")).unwrap();
    add(&next, "/src/b");
    assert!(next.ledger.snapshot().unwrap().alias(&name("a")).unwrap().is_some(), "a good frame was found");
    survives_a_power_cut(&world, &["a", "b"]);
}
