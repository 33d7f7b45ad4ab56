//! Room that a segment of the journal has ahead of its frames: it reads as nothing, whoever reads it and whatever becomes
//! of the process that made it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::kit::{self, Opened, report, world};
use larder::format::record::{PinRecord, Record};
use larder::format::settings::Durability;
use larder::ledger::Tables;
use larder::machine::simulated::{CallKind, Enumeration, Fault, Log, Simulated, World, errno, run};
use larder::machine::{Machine, Open};
use larder::vocabulary::limits::{PREALLOCATED_AFTER, PREALLOCATED_BYTES};

/// Commits after which there is room, and some more that use it.
const COMMITS: u32 = PREALLOCATED_AFTER + 3;

fn empty() -> World {
    world(1, Durability::Batch, &[])
}

fn pin(opened: &Opened, number: u32) -> larder::Result<()> {
    let digest = kit::digest(&number.to_le_bytes());
    opened.ledger.transact(move |tx| {
        let since = tx.moment();
        tx.push(Record::Pin(PinRecord { digest, note: String::new(), since }));
        Ok(())
    })?;
    opened.process.note(&format!("pinned {number}"));
    Ok(())
}

fn has(opened: &Opened, number: u32) -> bool {
    opened.ledger.snapshot().unwrap().pin(&kit::digest(&number.to_le_bytes())).unwrap().is_some()
}

/// How long the last segment is, and where its frames end.
fn ends(opened: &Opened) -> (u64, u64) {
    let long = opened.process.lstat(&last_segment(opened)).unwrap().size_bytes;
    (long, opened.ledger.snapshot().unwrap().cursor.offset)
}

fn last_segment(opened: &Opened) -> PathBuf {
    let journal = Path::new("/store/journal");
    let names = opened.process.list(journal).unwrap();
    names.into_iter().map(|entry| journal.join(entry.name)).max().unwrap()
}

fn one_by_one(process: &Arc<Simulated>) -> larder::Result<()> {
    let opened = Opened::open(process)?;
    (0..COMMITS).try_for_each(|number| pin(&opened, number))
}

/// A process that made room, and another one.
fn with_room() -> (World, Opened, Opened) {
    let world = empty();
    let one = Opened::open(&world.process("one")).unwrap();
    (0..COMMITS).for_each(|number| pin(&one, number).unwrap());
    let other = Opened::open(&world.process("other")).unwrap();
    (world, one, other)
}

/// Whoever comes next finds what was acknowledged and no damage, and goes on.
fn goes_on(world: &World, acknowledged: impl Iterator<Item = u32>) {
    let opened = Opened::open(&world.process("next")).expect("the store opens after any crash");
    let acknowledged: Vec<u32> = acknowledged.collect();
    assert!(acknowledged.iter().all(|number| has(&opened, *number)), "one of {acknowledged:?} is lost");
    (100..100 + COMMITS).for_each(|number| pin(&opened, number).expect("committing goes on"));
    assert_eq!(opened.ledger.snapshot().unwrap().damage, [], "a crash is no damage");
    let fresh = Opened::open(&world.process("fresh")).unwrap();
    assert!((100..100 + COMMITS).all(|number| has(&fresh, number)));
    assert_eq!(opened.rows(), fresh.rows());
}

fn pinned(log: &Log) -> impl Iterator<Item = u32> {
    let numbers: Vec<u32> = log.notes().filter_map(|note| note.strip_prefix("pinned ")?.parse().ok()).collect();
    numbers.into_iter()
}

#[test]
fn many_commits_make_the_file_longer_once() {
    let world = empty();
    let opened = Opened::open(&world.process("one")).unwrap();
    let mut lengths = Vec::new();
    for number in 0..COMMITS + 20 {
        pin(&opened, number).unwrap();
        lengths.push(ends(&opened));
    }
    let few = &lengths[..PREALLOCATED_AFTER as usize];
    assert!(few.iter().all(|(long, end)| long == end), "who commits little leaves nothing behind: {few:?}");
    let (long, _) = lengths[PREALLOCATED_AFTER as usize];
    let many = &lengths[PREALLOCATED_AFTER as usize..];
    assert!(many.iter().all(|(now, end)| *now == long && end <= now), "{many:?}");
    assert!(long - many[0].1 == PREALLOCATED_BYTES);
}

#[test]
fn others_read_past_no_room_and_write_into_it() {
    let world = empty();
    let (one, other) = (Opened::open(&world.process("one")).unwrap(), Opened::open(&world.process("other")).unwrap());
    for number in 0..3 * COMMITS {
        let (writer, reader) = if number % 7 == 6 { (&other, &one) } else { (&one, &other) };
        pin(writer, number).unwrap();
        // Often enough that a listing is believed, too.
        assert!((0..3).all(|_| has(reader, number)), "{number}");
    }
    let fresh = Opened::open(&world.process("fresh")).unwrap();
    assert!((0..3 * COMMITS).all(|number| has(&fresh, number)));
    assert_eq!(fresh.ledger.snapshot().unwrap().damage, []);
}

#[test]
fn room_goes_with_the_process_that_made_it() {
    let (_, one, other) = with_room();
    let (long, end) = ends(&other);
    assert!(long > end);
    drop(one);
    assert_eq!(ends(&other), (end, end));
}

#[test]
fn what_others_appended_does_not_go_with_it() {
    let (world, one, other) = with_room();
    pin(&other, 50).unwrap();
    drop(one);
    assert!(has(&Opened::open(&world.process("fresh")).unwrap(), 50));
    pin(&other, 51).unwrap();
    assert_eq!(other.ledger.snapshot().unwrap().damage, []);
}

/// Of a frame that was never acknowledged, a crash may leave any part: also one without its beginning.
#[test]
fn a_torn_end_that_begins_with_zeros_is_cut_by_whoever_holds_the_lock() {
    let world = empty();
    let one = Opened::open(&world.process("one")).unwrap();
    pin(&one, 0).unwrap();
    let (_, end) = ends(&one);
    let segment = last_segment(&one);
    drop(one);
    let after = world.process("after");
    after.open(&segment, Open::ReadWrite).unwrap().write_at(b"of a frame", end + 512).unwrap();
    let next = Opened::open(&after).unwrap();
    next.ledger.hold(|_| Ok(())).unwrap();
    assert_eq!(ends(&next), (end, end));
    pin(&next, 1).unwrap();
    assert!(has(&next, 0) && has(&next, 1));
}

#[test]
fn room_that_a_dead_process_made_reads_as_nothing() {
    let world = empty();
    let dying = world.process("dying");
    let _ = run(&dying, || {
        let opened = Opened::open(&dying).unwrap();
        (0..COMMITS).for_each(|number| pin(&opened, number).unwrap());
        world.fail(Fault::kill().process(dying.number()).kind(CallKind::SyncData).under("/store/journal"));
        let _ = pin(&opened, COMMITS);
    });
    assert!(dying.is_killed());
    let next = Opened::open(&world.process("next")).unwrap();
    let (long, end) = ends(&next);
    assert!(long > end, "the room is still there");
    goes_on(&world, 0..COMMITS);
}

#[test]
fn a_power_cut_at_every_call_loses_nothing_that_was_acknowledged() {
    let coverage = Enumeration::new(1, &empty())
        .samples(kit::many(8) as usize)
        .power_cuts(|process| one_by_one(process).unwrap(), |_, world, log| goes_on(world, pinned(log)));
    report("commits with room ahead", coverage);
    assert!(coverage.distinct > 60);
}

#[test]
fn a_kill_at_every_call_leaves_a_store_that_goes_on() {
    let coverage = Enumeration::new(2, &empty())
        .kills(|process| one_by_one(process).unwrap(), |_, world, log| goes_on(world, pinned(log)));
    report("commits with room ahead, killed", coverage);
}

/// The call that fails may be the one that makes room: nobody is to know.
#[test]
fn a_call_that_fails_loses_nothing_that_was_acknowledged() {
    for errno in [errno::EIO, errno::ENOSPC] {
        let start = empty();
        let coverage = Enumeration::new(3, &start).failures(errno, false, one_by_one, |call, world, _| {
            let log = world.log();
            kit::each_image(&world.balance(), call, kit::many(2) as usize, |_, image| goes_on(image, pinned(&log)));
            if !kit::is_aborted(world) {
                goes_on(world, pinned(&log));
            }
        });
        report(&format!("commits with room ahead, errno {errno}"), coverage);
    }
}
