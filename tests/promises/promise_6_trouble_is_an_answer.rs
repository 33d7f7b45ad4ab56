//! Promise 6: trouble is an answer. Every counted call of each workload fails, once or from then on, with EIO or ENOSPC,
//! and every sync fails as on Linux: nothing acknowledged is lost, what is reported as not kept does not come back, and
//! the store goes on when the trouble is over.
//!
//! `LARDER_LONG=1` looks at many more images of the disk after each failure.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use crate::kit::{self, Account, Opened, digest, finished, is_aborted, many, recovers_to, report, world};
use larder::format::settings::Durability;
use larder::ledger::Tables;
use larder::machine::simulated::{CallKind, Coverage, Enumeration, Fault, Simulated, Snapshot, World, errno, run};
use larder::work::ingest::{AddOptions, TakeIn};
use larder::{ErrorKind, Name, Result};

const A: &[u8] = b"the bytes of the first file";
const B: &[u8] = b"other bytes, of the second file";
const C: &[u8] = b"what the third file holds";
const KNOWN: [(&str, &[u8]); 3] = [("src/a", A), ("src/b", B), ("src/empty", b"")];

/// A store that knows some names, with further sources beside it.
fn begun(seed: u64, durability: Durability) -> Snapshot {
    let sources: [(&str, &[u8]); 6] =
        [("/src/a", A), ("/src/b", B), ("/src/empty", b""), ("/one/a", A), ("/one/c", C), ("/one/d/e", b"e")];
    let world = world(seed, durability, &sources);
    Opened::open(&world.process("before")).unwrap().add(&["/src"], &AddOptions::default()).unwrap();
    world.settle();
    world.snapshot()
}

/// What a workload came to: the first error, and whether the same process was told to go on after it.
type Came = Result<()>;

/// The names that were not there before, and nothing acknowledged since.
fn must_be_absent(world: &World, opened: &Opened, names: &[&str], account: &Account) {
    let snapshot = opened.ledger.snapshot().unwrap();
    for name in names.iter().filter(|name| !account.is_kept(name)) {
        let alias = snapshot.alias(&Name::new(*name).unwrap()).unwrap();
        assert!(alias.is_none(), "{name} was reported as not kept, and is there:\n{}", world.log());
    }
}

/// After the trouble: in every image of a power cut now, and in the world as it is, all that was acknowledged is there,
/// what was reported as not kept is not, and the store goes on.
fn holds(seed: u64, world: &World, came: &Came, fresh: &[&str]) -> u64 {
    let mut account = Account::knowing(&KNOWN);
    account.go_on(&world.log());
    account.troubled = true;
    let check = |world: &World| {
        let opened = recovers_to(world, &account);
        if matches!(came, Err(e) if matches!(e.kind(), ErrorKind::NotKept | ErrorKind::NoSpace)) {
            must_be_absent(world, &opened, fresh, &account);
        }
        for tree in ["/src", "/one"] {
            let again = opened.add(&[tree], &AddOptions { replace: true, ..AddOptions::default() });
            assert_eq!(again.expect("it goes on").failed, 0);
        }
        kit::nothing_is_left_over(world, &opened);
    };
    let images = kit::each_image(&world.balance(), seed, many(2) as usize, |_, image| check(image));
    if !is_aborted(world) {
        check(world);
    }
    images
}

fn fails(what: &str, start: &Snapshot, fresh: &[&str], workload: impl Fn(&Arc<Simulated>) -> Came) {
    let start = start.world(1);
    for number in [errno::EIO, errno::ENOSPC] {
        for always in [false, true] {
            let (images, errors) = (Cell::new(0), Cell::new(0));
            let coverage = Enumeration::new(1, &start).failures(number, always, &workload, |call, world, outcome| {
                let came = finished(outcome);
                errors.set(errors.get() + u64::from(came.is_err()));
                images.set(images.get() + holds(call, world, &came, fresh));
            });
            let Coverage { calls, distinct, .. } = coverage;
            let how = format!("{what}, errno {number}, {}", if always { "from then on" } else { "once" });
            println!("{how}: {calls} calls, {} errors, {distinct} worlds, {} images", errors.get(), images.get());
        }
    }
}

/// As a user would: when it fails, the same process tries once more.
fn twice(mut work: impl FnMut() -> Came) -> Came {
    work().or_else(|first| match work() {
        // What was not kept the first time now is, or never was to be.
        Ok(()) => Ok(()),
        Err(_) => Err(first),
    })
}

fn adding(process: &Arc<Simulated>, options: &AddOptions) -> Came {
    let opened = Opened::open(process)?;
    opened.add(&["/one"], options).map(drop)
}

const FRESH: [&str; 3] = ["one/a", "one/c", "one/d/e"];

#[test]
fn failing_calls_while_adding() {
    for durability in [Durability::Batch, Durability::Each] {
        let start = begun(1, durability);
        fails(&format!("add, {}", durability.word()), &start, &FRESH, |process| {
            adding(process, &AddOptions::default())
        });
    }
}

#[test]
fn failing_calls_while_adding_and_trying_again() {
    let start = begun(2, Durability::Batch);
    fails("add twice", &start, &FRESH, |process| {
        let opened = Opened::open(process)?;
        twice(|| opened.add(&["/one"], &AddOptions::default()).map(drop))
    });
}

#[test]
fn failing_calls_while_taking_in_by_link() {
    for take_in in [TakeIn::Link, TakeIn::Move] {
        let start = begun(3, Durability::Batch);
        let options = AddOptions { take_in, ..AddOptions::default() };
        let sources = [("/one/a", "one/a", A), ("/one/c", "one/c", C), ("/one/d/e", "one/d/e", b"e")];
        let start = start.world(3);
        for (number, always) in [(errno::EIO, false), (errno::EIO, true), (errno::ENOSPC, false), (errno::ENOSPC, true)]
        {
            let coverage = Enumeration::new(3, &start).failures(
                number,
                always,
                |process| adding(process, &options),
                |call, world, outcome| {
                    let came = finished(outcome);
                    let mut account = Account::knowing(&KNOWN);
                    account.go_on(&world.log());
                    let never_lost = |world: &World| {
                        for (path, name, bytes) in sources {
                            let there = world.read(path).as_deref() == Some(bytes);
                            assert!(there || account.is_kept(name), "{path} is gone, and {name} was not acknowledged");
                        }
                    };
                    never_lost(world);
                    kit::each_image(&world.balance(), call, 2, |_, image| never_lost(image));
                    let mut account = account.clone();
                    account.troubled = true;
                    let check = |world: &World| {
                        let opened = recovers_to(world, &account);
                        if matches!(&came, Err(e) if matches!(e.kind(), ErrorKind::NotKept | ErrorKind::NoSpace)) {
                            must_be_absent(world, &opened, &FRESH, &account);
                        }
                        kit::nothing_is_left_over(world, &opened);
                    };
                    kit::each_image(&world.balance(), call, 1, |_, image| check(image));
                    if !is_aborted(world) {
                        check(world);
                    }
                },
            );
            report(&format!("{take_in:?}, errno {number}, always {always}"), coverage);
        }
    }
}

#[test]
fn failing_calls_while_replacing_and_removing() {
    let start = begun(4, Durability::Batch);
    fails("replace", &start, &["one/c"], |process| {
        let opened = Opened::open(process)?;
        opened.put("/one/c", "src/a", C)?;
        opened.put("/one/c", "src/empty", C).map(drop)
    });
    fails("remove", &start, &[], |process| {
        let opened = Opened::open(process)?;
        opened.remove(&["src/a", "src/empty"])?;
        opened.rename("src/b", "x/y", B)
    });
}

#[test]
fn failing_calls_while_collecting() {
    let start = begun(5, Durability::Batch);
    fails("collect", &start, &[], |process| {
        let opened = Opened::open(process)?;
        opened.remove(&["src/a"])?;
        opened.collect(Duration::ZERO).map(drop)
    });
}

#[test]
fn failing_calls_in_the_upkeep_of_the_index_and_the_journal() {
    let start = begun(6, Durability::Batch);
    fails("fold, rebuild, compact", &start, &FRESH, |process| {
        let opened = Opened::open(process)?;
        opened.ledger.fold(true)?;
        opened.add(&["/one"], &AddOptions::default())?;
        opened.ledger.rebuild()?;
        opened.ledger.compact()?;
        opened.put("/one/c", "src/a", C).map(drop)
    });
}

/// Each sync of a workload fails, in the data or in the metadata, once or from then on.
#[test]
fn failing_syncs() {
    let start = begun(7, Durability::Batch);
    let workload = |process: &Arc<Simulated>| -> Came {
        let opened = Opened::open(process)?;
        opened.add(&["/one"], &AddOptions::default())?;
        opened.put("/one/c", "src/a", C).map(drop)
    };
    let syncs = {
        let world = start.world(7);
        workload(&world.process("counting")).unwrap();
        let log = world.log();
        [CallKind::Sync, CallKind::SyncData, CallKind::SyncFilesystem].map(|kind| log.count(kind)).iter().sum::<usize>()
    };
    let (mut images, mut kinds) = (0, std::collections::BTreeMap::new());
    for nth in 1..=syncs as u64 {
        for metadata in [false, true] {
            for always in [false, true] {
                let world = start.world(7);
                let fault = if metadata { Fault::metadata_sync(errno::EIO) } else { Fault::errno(errno::EIO).syncs() };
                let fault = fault.nth(nth);
                world.fail(if always { fault.always() } else { fault });
                let process = world.process("workload");
                let came = finished(run(&process, || workload(&process)));
                world.clear_faults();
                *kinds.entry(format!("{:?}", came.as_ref().err().map(larder::Error::kind))).or_insert(0) += 1;
                images += holds(nth, &world, &came, &FRESH);
            }
        }
    }
    println!("failing syncs: {syncs} syncs, {images} images, {kinds:?}");
}

/// The sync at the commit point fails: the frame is not kept, and does not come back, whatever happens then.
#[test]
fn a_frame_whose_sync_failed_never_comes_back() {
    let start = begun(8, Durability::Batch);
    let world = start.world(8);
    world.fail(Fault::errno(errno::EIO).kind(CallKind::SyncData).nth(2));
    let process = world.process("workload");
    let opened = Opened::open(&process).unwrap();
    let error = opened.add(&["/one"], &AddOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotKept, "{error}");
    world.clear_faults();
    // Nothing is retried through a handle whose sync failed.
    assert_eq!(opened.add(&["/one"], &AddOptions::default()).unwrap_err().kind(), ErrorKind::NotKept);
    holds(8, &world, &Err(error), &FRESH);
}

/// As above, and the segment that would leave it behind cannot be made: nobody knows, and it is said so.
#[test]
fn an_outcome_that_nobody_knows_is_called_that() {
    let start = begun(9, Durability::Batch);
    let world = start.world(9);
    world.fail(Fault::errno(errno::EIO).kind(CallKind::SyncData).nth(2));
    world.fail(
        Fault::errno(errno::EIO)
            .kind(CallKind::Create)
            .path(|path| path.ends_with("journal") || path.to_string_lossy().contains("/journal/"))
            .always(),
    );
    let process = world.process("workload");
    let error = Opened::open(&process).unwrap().add(&["/one"], &AddOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    world.clear_faults();
    holds(9, &world, &Err(error), &FRESH);
}

/// The frame is on the disk, and the directories of its names cannot be synced: it is said that it is on record, nothing
/// is retried through this handle, and the next holder finishes it.
#[test]
fn a_failed_sync_of_names_says_that_they_are_on_record() {
    let start = begun(12, Durability::Batch);
    let world = start.world(12);
    let process = world.process("workload");
    let opened = Opened::open(&process).unwrap();
    opened.ledger.hold(|_| Ok(())).unwrap();
    world.fail(Fault::errno(errno::EIO).kind(CallKind::Sync).under("/store/names"));
    world.configure(|options| options.failed_directory_sync = larder::machine::simulated::FailedDirectorySync::Forget);
    let error = opened.add(&["/one"], &AddOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    assert!(error.to_string().contains("on record"), "{error}");
    let again = opened.remove(&["src/a"]).unwrap_err();
    assert_eq!((again.kind(), again.to_string()), (error.kind(), error.to_string()));
    let next = Opened::open(&world.process("next")).unwrap();
    next.ledger.hold(|_| Ok(())).unwrap();
    kit::agrees(&world, &next);
    for name in FRESH {
        assert!(next.ledger.snapshot().unwrap().alias(&Name::new(name).unwrap()).unwrap().is_some(), "{name}");
    }
}

/// The disk is full, of bytes or of inodes, at any point: a clear answer, and removing and collecting make room again.
#[test]
fn a_full_disk_is_an_answer() {
    let start = begun(10, Durability::Batch);
    for free in (0..60_000).step_by(1500) {
        let world = start.world(free);
        world.set_free_bytes(free);
        let process = world.process("workload");
        let came = finished(run(&process, || adding(&process, &AddOptions::default())));
        if let Err(e) = &came {
            assert_eq!(e.kind(), ErrorKind::NoSpace, "{free} bytes free: {e}");
        }
        // The reserve lets names be removed all the same: whoever adds does not take it.
        let reserve = world.look("/store/reserve").unwrap().content.len();
        assert!(reserve > 0, "{free} bytes free: adding took the reserve");
        let process = world.process("remover");
        let opened = Opened::open(&process).unwrap();
        process.note(&format!("added src/a {}", digest(A)));
        opened.remove(&["src/a"]).unwrap_or_else(|e| panic!("{free} bytes free: {e}"));
        opened.collect(Duration::ZERO).unwrap_or_else(|e| panic!("{free} bytes free: {e}"));
        drop(opened);
        world.configure(|options| options.capacity_bytes = None);
        holds(free, &world, &came, &[]);
    }
    for free in 0..14 {
        let world = start.world(free);
        world.set_free_inodes(free);
        let process = world.process("workload");
        let came = finished(run(&process, || adding(&process, &AddOptions::default())));
        if let Err(e) = &came {
            assert_eq!(e.kind(), ErrorKind::NoSpace, "{free} inodes free: {e}");
        }
        world.configure(|options| options.capacity_inodes = None);
        holds(free, &world, &came, &[]);
    }
}

/// A file that is larger than what is free is not begun: the disk is not filled with it, and the rest goes on.
#[test]
fn what_cannot_fit_is_not_begun_and_the_rest_goes_on() {
    let world = begun(13, Durability::Batch).world(13);
    world.put("/tree/large", &vec![7; 3 << 20]);
    world.put("/tree/small", b"it fits");
    world.set_free_bytes(2 << 20);
    let opened = Opened::open(&world.process("adding")).unwrap();
    let added = opened.add(&["/tree"], &AddOptions::default()).unwrap();
    assert_eq!((added.new_files, added.failed), (1, 1));
    world.configure(|options| options.capacity_bytes = None);
    let added = opened.add(&["/tree"], &AddOptions::default()).unwrap();
    assert_eq!((added.new_files, added.unchanged_files, added.failed), (1, 1, 0), "and fits once there is room");
}

/// On a filesystem that never overwrites in place, even writing the last frame again takes room.
#[test]
fn a_full_disk_on_which_overwriting_takes_room() {
    let start = begun(12, Durability::Batch);
    let world = start.world(12);
    world.fail(Fault::errno(errno::ENOSPC).kind(CallKind::Write).under("/store/journal"));
    let process = world.process("remover");
    let opened = Opened::open(&process).unwrap();
    process.note(&format!("added src/a {}", digest(A)));
    opened.remove(&["src/a"]).expect("removing works on a full disk");
    let reserve = world.look("/store/reserve").unwrap().content.len();
    assert!(reserve < larder::vocabulary::limits::RESERVE_BYTES, "some of the reserve was given up for it");
    world.clear_faults();
    holds(12, &world, &Ok(()), &[]);
}

/// Links run out, or there are none of that kind: names are findings on record and the bytes are kept.
#[test]
fn deleting_works_where_no_inode_is_free() {
    let start = begun(6, Durability::Batch);
    for free in 0..6 {
        let world = start.world(free);
        world.set_free_inodes(free);
        let opened = Opened::open(&world.process("a")).unwrap();
        opened.remove(&["src/a"]).unwrap_or_else(|e| panic!("{free} inodes free: {e}"));
        let before = world.tree().len();
        let report = opened.collect(Duration::ZERO).unwrap_or_else(|e| panic!("{free} inodes free: {e}"));
        assert_eq!(report.removed_blobs, 1, "{free} inodes free");
        assert_eq!(world.tree().len(), before - 1, "{free} inodes free: one file less, and nothing left over");
        if let Err(e) = opened.add(&["/one"], &AddOptions::default()) {
            assert_eq!(e.kind(), ErrorKind::NoSpace, "{free} inodes free: {e}");
        }
        kit::staging_is_empty(&world);
        world.set_free_inodes(1000);
        holds(free, &world, &Ok(()), &[]);
    }
}

#[test]
fn names_that_cannot_be_linked_are_findings() {
    let start = begun(11, Durability::Batch);
    let world = start.world(11);
    let in_names = |path: &std::path::Path| path.starts_with("/store/names");
    world.fail(Fault::errno(errno::EPERM).kind(CallKind::Link).path(in_names).always());
    let opened = Opened::open(&world.process("workload")).unwrap();
    let done = opened.add(&["/one"], &AddOptions::default()).unwrap();
    assert_eq!(done.failed, 0);
    assert!(opened.ledger.snapshot().unwrap().all_name_findings().count() > 0);
    world.clear_faults();
    let holds_now = |world: &World| {
        let mut account = Account::knowing(&KNOWN);
        account.troubled = true;
        account.go_on(&world.log());
        recovers_to(world, &account);
    };
    holds_now(&world);
}

/// A store that can only be read answers every question and changes nothing.
#[test]
fn a_read_only_store_can_be_read() {
    let world = begun(12, Durability::Batch).world(12);
    world.configure(|options| options.read_only = true);
    let opened = Opened::open(&world.process("reader")).unwrap();
    let before = world.fingerprint();
    Account::knowing(&KNOWN).holds(opened.ledger.snapshot().unwrap().as_ref());
    let error = opened.add(&["/one"], &AddOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
    assert_eq!(world.fingerprint(), before);
}

/// A process that dies while it holds the lock is nobody's trouble; one that lives and does not let go is said to.
#[test]
fn a_lock_that_is_held_too_long_is_told() {
    let world = begun(13, Durability::Batch).world(13);
    let (holder, waiter) = (world.process("holder"), world.process("waiter"));
    let (holding, waiting) = (Opened::open(&holder).unwrap(), Opened::open(&waiter).unwrap());
    let refused = holding.ledger.hold(|_| Ok(waiting.add(&["/one"], &AddOptions::default()).unwrap_err())).unwrap();
    assert_eq!(refused.kind(), ErrorKind::Busy);
    waiting.add(&["/one"], &AddOptions::default()).unwrap();
    holder.kill();
    waiting.add(&["/src"], &AddOptions::default()).unwrap();
}

/// A write to the journal stops in the middle: what it left is taken back, or is a torn tail for the next.
#[test]
fn short_writes_to_the_journal() {
    let start = begun(14, Durability::Batch);
    for written in (0..600).step_by(24) {
        for cut_fails in [false, true] {
            let world = start.world(14);
            let in_journal = |path: &std::path::Path| path.to_string_lossy().contains("/journal/");
            world.fail(Fault::short_write(errno::EIO, written).path(in_journal).nth(2));
            if cut_fails {
                world.fail(Fault::errno(errno::EIO).kind(CallKind::SetLen).path(in_journal));
            }
            let process = world.process("workload");
            let came = finished(run(&process, || adding(&process, &AddOptions::default())));
            world.clear_faults();
            assert_eq!(came.as_ref().unwrap_err().kind(), ErrorKind::NotKept);
            holds(written, &world, &came, &FRESH);
        }
    }
}

/// Bytes whose sync failed are in the cache alone, everybody sees them, and no later sync says so. Taken in by link, they
/// must not be acknowledged for what the cache shows: neither where whoever wrote them was told, nor where an earlier
/// try was.
#[test]
fn bytes_whose_sync_failed_are_not_believed() {
    use larder::machine::{Machine, Open};
    let options = AddOptions { take_in: TakeIn::Link, ..AddOptions::default() };
    let mut linked = 0;
    for (path, kind) in
        [("/late", CallKind::Sync), ("/late", CallKind::SyncData), ("0", CallKind::Sync), ("0", CallKind::SyncData)]
    {
        let world = begun(15, Durability::Batch).world(15);
        let process = world.process("user");
        let file = process.open(std::path::Path::new("/late"), Open::CreateNew { mode: 0o644 }).unwrap();
        file.write_at(C, 0).unwrap();
        process.open(std::path::Path::new("/"), Open::Directory).unwrap().sync().unwrap();
        world.fail(Fault::errno(errno::EIO).kind(kind).path(move |at| at.ends_with(path)));
        if path == "/late" {
            if kind == CallKind::Sync { file.sync() } else { file.sync_data() }.unwrap_err();
        }
        drop(file);
        let first = Opened::open(&process).unwrap().add(&["/late"], &options);
        world.clear_faults();
        let again = Opened::open(&world.process("again")).unwrap().add(&["/late"], &options);
        linked += usize::from(first.is_ok() || again.is_ok());
        let log = world.log();
        kit::never_lies(&world);
        kit::each_image(&world.balance(), 15, 10, |_, image| drop(kit::recovered(image, &log)));
    }
    assert!(linked > 0, "nothing was ever taken in");
}

/// Not a byte is free, and the frames outgrow the block that the journal has: the reserve is given up for them.
#[test]
fn names_can_be_taken_away_on_a_full_disk_for_long() {
    let files: Vec<(String, [u8; 4])> = (0..60u32).map(|i| (format!("/src/{i:02}"), i.to_le_bytes())).collect();
    let sources: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
    let world = world(16, Durability::Batch, &sources);
    let opened = Opened::open(&world.process("removing")).unwrap();
    opened.add(&["/src"], &AddOptions::default()).unwrap();
    world.set_free_bytes(0);
    for (path, _) in &files {
        let name = &path[1..];
        opened.remove(&[name]).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    assert!(opened.ledger.snapshot().unwrap().aliases(&larder::Prefix::Everything).next().is_none());
}
