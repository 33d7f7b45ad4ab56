//! A batch is filled while the one before it is committed: that changes when things are done, and nothing else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::kit::{self, Opened, recovered, report, world};
use larder::format::settings::Durability;
use larder::hashing::Workers;
use larder::ledger::Tables;
use larder::machine::simulated::{Enumeration, Log, Simulated, World, errno};
use larder::work::ingest::{AddOptions, AddReport, Batches, Source, add};
use larder::{Digest, Event, Name, Observer, Prefix};

/// Names and bytes, among them the same bytes in one batch, in the next one, and in one much later.
const FILES: [(&str, &[u8]); 9] = [
    ("/src/a", b"one"),
    ("/src/b", b"two"),
    ("/src/c", b"one"),
    ("/src/d", b"three"),
    ("/src/e", b"three"),
    ("/src/f", b""),
    ("/src/g", b"four"),
    ("/src/h/a", b"two"),
    ("/src/h/b", b"five"),
];

fn small_batches() -> AddOptions {
    let batches = Batches { files: 2, ..Batches::default() };
    AddOptions { batches, replace: true, ..AddOptions::default() }
}

fn overlapping(process: &Arc<Simulated>) -> Opened {
    let mut opened = Opened::open(process).unwrap();
    opened.workers = Workers::in_turns();
    opened
}

fn goes_on(world: &World, log: &Log) {
    let mut opened = recovered(world, log);
    opened.workers = Workers::in_turns();
    let again = opened.add(&["/src"], &small_batches()).expect("adding goes on after any crash");
    assert_eq!(again.failed, 0);
    kit::agrees(world, &opened);
    opened.remove(&["src"]).expect("removing goes on after any crash");
    kit::nothing_is_left_over(world, &opened);
}

#[test]
fn a_power_cut_at_every_call_loses_nothing_that_was_acknowledged() {
    for durability in [Durability::Batch, Durability::Each] {
        let start = world(1, durability, &FILES);
        let coverage = Enumeration::new(1, &start).samples(kit::many(8) as usize).power_cuts(
            |process| _ = overlapping(process).add(&["/src"], &small_batches()).unwrap(),
            |_, world, log| goes_on(world, log),
        );
        report(&format!("overlapping batches, {}", durability.word()), coverage);
        assert!(coverage.distinct > 60);
    }
}

#[test]
fn a_kill_at_every_call_leaves_a_store_that_goes_on() {
    let start = world(2, Durability::Batch, &FILES);
    let coverage = Enumeration::new(2, &start).kills(
        |process| _ = overlapping(process).add(&["/src"], &small_batches()).unwrap(),
        |_, world, log| goes_on(world, log),
    );
    report("overlapping batches, killed", coverage);
}

/// Every call fails once: what was acknowledged is there in every image of a power cut after it, and in the world as it
/// is, and adding goes on.
#[test]
fn a_call_that_fails_loses_nothing_that_was_acknowledged() {
    let start = world(3, Durability::Batch, &FILES);
    for errno in [errno::EIO, errno::ENOSPC] {
        let mut images = 0;
        let coverage = Enumeration::new(3, &start).failures(
            errno,
            false,
            |process| {
                Opened::open(process).and_then(|mut opened| {
                    opened.workers = Workers::in_turns();
                    opened.add(&["/src"], &small_batches())
                })
            },
            |call, world, _| {
                let mut account = kit::Account::of(&world.log());
                account.troubled = true;
                let goes_on = |world: &World| {
                    let mut opened = kit::recovers_to(world, &account);
                    opened.workers = Workers::in_turns();
                    let again = opened.add(&["/src"], &small_batches()).expect("adding goes on after trouble");
                    assert_eq!(again.failed, 0);
                    kit::nothing_is_left_over(world, &opened);
                };
                images += kit::each_image(&world.balance(), call, kit::many(2) as usize, |_, image| goes_on(image));
                // A filesystem whose metadata could not be synced takes no more writes until it is mounted again.
                if !kit::is_aborted(world) {
                    goes_on(world);
                }
            },
        );
        report(&format!("overlapping batches, errno {errno}, {images} images of power cuts"), coverage);
        assert!(images > 200);
    }
}

fn names(opened: &Opened) -> BTreeMap<Name, (Digest, u64)> {
    let snapshot = opened.ledger.snapshot().unwrap();
    let meaning = |row: larder::Result<(Name, larder::format::table::AliasRow)>| {
        let (name, alias) = row.unwrap();
        (name, (alias.digest, alias.size_bytes))
    };
    snapshot.aliases(&Prefix::Everything).map(meaning).collect()
}

/// How a store is filled: in words, by which threads, with which options.
type Way = (&'static str, fn() -> Workers, AddOptions);
/// What was reported, what every name means then, and how many blobs there are.
type Filled = (AddReport, BTreeMap<Name, (Digest, u64)>, usize);

/// The slow, obvious way: one batch after the other on one thread, and one batch for all.
#[test]
fn the_store_is_the_same_however_it_was_filled() {
    let one = AddOptions { replace: true, ..AddOptions::default() };
    let ways: [Way; 5] = [
        ("one batch", || Workers::new(1).unwrap(), one.clone()),
        ("one after the other", || Workers::new(1).unwrap(), small_batches()),
        ("in turns", Workers::in_turns, small_batches()),
        ("two threads", || Workers::new(2).unwrap(), small_batches()),
        ("four threads", || Workers::new(4).unwrap(), one),
    ];
    let mut found: Option<Filled> = None;
    for (what, workers, options) in ways {
        let world = world(4, Durability::Batch, &FILES);
        let mut opened = Opened::open(&world.process("first")).unwrap();
        opened.workers = workers();
        let report = opened.add(&["/src"], &options).unwrap();
        kit::agrees(&world, &opened);
        kit::staging_is_empty(&world);
        let blobs = opened.ledger.snapshot().unwrap().blobs(&Digest::from_bytes([0; 32])).count();
        let now = (report, names(&opened), blobs);
        match &found {
            Some(before) => assert_eq!(&now, before, "{what}"),
            None => found = Some(now),
        }
        let again = opened.add(&["/src"], &options).unwrap();
        assert_eq!(again.unchanged_files, FILES.len() as u64, "{what}");
    }
}

/// Somebody else writes while a batch is filled.
struct Meddling<'a> {
    world: &'a World,
    opened: &'a Opened,
    expected: std::sync::atomic::AtomicU64,
    meddled: AtomicBool,
    asked: AtomicBool,
}

impl Observer for Meddling<'_> {
    fn expect(&self, files: u64, _: u64) {
        // The second batch is being filled, and rests on the records as they were before.
        if self.expected.fetch_add(files, Ordering::Relaxed) == 2 && !self.meddled.swap(true, Ordering::Relaxed) {
            let other = Opened::open(&self.world.process("other")).unwrap();
            other.put("/other/x", "other", b"other").unwrap();
        }
    }

    fn event(&self, event: &Event) {
        if matches!(event, Event::Added { .. }) && !self.asked.swap(true, Ordering::Relaxed) {
            let sessions = self.opened.ledger.sessions.list().unwrap();
            let alive: Vec<u64> = sessions.iter().filter(|s| s.alive).map(|s| s.says.as_ref().unwrap().stamp).collect();
            let reached = self.opened.ledger.snapshot().unwrap().cursor.sequence;
            assert!(self.meddled.load(Ordering::Relaxed));
            // The other's frame, and the first batch's: the second batch has seen neither.
            assert_eq!(alive, [reached - 2], "a session is stamped with what its youngest batch rests on");
        }
    }
}

#[test]
fn a_session_is_stamped_with_what_the_youngest_batch_rests_on() {
    let world = world(5, Durability::Batch, &FILES);
    world.put("/other/x", b"other");
    let opened = overlapping(&world.process("first"));
    let observer =
        Meddling { world: &world, opened: &opened, expected: 0.into(), meddled: false.into(), asked: false.into() };
    let sources = [Source { path: PathBuf::from("/src") }];
    let report = add(&opened.ctx(), &sources, &small_batches(), &observer).unwrap();
    assert_eq!(report.failed, 0);
    assert!(observer.asked.into_inner());
}
