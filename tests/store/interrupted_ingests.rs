//! Large files whose ingest is broken off: adding them again goes on where it stopped, reads less, and never keeps other
//! bytes than those of the source.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::kit::{self, Opened, digest, report, world};
use larder::format::settings::Durability;
use larder::machine::simulated::{CallKind, Enumeration, Fault, Images, Log, Simulated, World, errno, run};
use larder::machine::{Machine, Open};
use larder::vocabulary::limits::PART_BYTES;
use larder::work::check::check;
use larder::work::ingest::{AddOptions, Checkpoints, Source, TakeIn, add};
use larder::work::resumable::{give_up, plan_give_up, waiting};

const PATH: &str = "/src/large";

/// Five parts and a bit, with a hole of one part in it.
fn large() -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..5 * PART_BYTES as u64 + 100).map(|i| (i * 7 + (i >> 9)) as u8).collect();
    bytes[2 * PART_BYTES..3 * PART_BYTES].fill(0);
    bytes
}

fn options() -> AddOptions {
    let checkpoints = Checkpoints { from_bytes: 2 * PART_BYTES as u64, every_bytes: PART_BYTES as u64 };
    AddOptions { checkpoints, ..AddOptions::default() }
}

fn begun(seed: u64, durability: Durability) -> World {
    let bytes = large();
    let world = world(seed, durability, &[(PATH, b"")]);
    let process = world.process("source");
    let file = process.open(Path::new(PATH), Open::ReadWrite).unwrap();
    file.write_at(&bytes[..2 * PART_BYTES], 0).unwrap();
    file.write_at(&bytes[3 * PART_BYTES..], 3 * PART_BYTES as u64).unwrap();
    drop(file);
    world.advance(Duration::from_secs(1));
    world.settle();
    world.configure(|options| options.tears = 3);
    world
}

/// Counts the bytes that are read of the source and hashed anew.
#[derive(Default)]
struct Reading {
    bytes: AtomicU64,
    stop_after: u64,
}

impl larder::Observer for Reading {
    fn progress(&self, files: u64, bytes: u64) {
        if files == 0 {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    fn cancelled(&self) -> bool {
        self.stop_after > 0 && self.bytes.load(Ordering::Relaxed) >= self.stop_after
    }
}

/// Bytes that the calls of a process have read of the source.
fn read_of_source(world: &World) -> u64 {
    world
        .log()
        .calls()
        .iter()
        .filter(|call| call.kind == CallKind::Read && call.path == Path::new(PATH))
        .map(|c| c.amount)
        .sum()
}

fn added(world: &World, opened: &Opened) {
    assert_eq!(opened.add(&[PATH], &options()).expect("it can be added").failed, 0);
    let stored = world.read(opened.ledger.layout.blob(&digest(&large())));
    assert!(stored.as_deref() == Some(&large()[..]), "what is stored is not the source");
    kit::agrees(world, opened);
    kit::never_lies(world);
}

/// The next process goes on, or begins anew, and in either case keeps the right bytes and leaves nothing behind.
fn goes_on(world: &World) -> bool {
    kit::never_lies(world);
    let opened = Opened::open(&world.process("next")).unwrap();
    let before = waiting(&opened.ctx()).unwrap().waiting;
    assert!(before.len() <= 1);
    // A collection in between takes nothing away that can go on.
    opened.collect(Duration::ZERO).unwrap();
    assert_eq!(waiting(&opened.ctx()).unwrap().waiting, before);
    added(world, &opened);
    assert_eq!(waiting(&opened.ctx()).unwrap().waiting, []);
    drop(opened);
    let opened = Opened::open(&world.process("after")).unwrap();
    kit::nothing_is_left_over(world, &opened);
    assert!(world.read(opened.ledger.layout.blob(&digest(&large()))).is_some());
    !before.is_empty()
}

#[test]
fn a_killed_ingest_goes_on_whatever_call_it_stopped_at() {
    let start = begun(1, Durability::Batch);
    let workload = |process: &Arc<Simulated>| {
        let opened = Opened::open(process).unwrap();
        opened.add(&[PATH], &options()).unwrap();
    };
    let mut resumed = 0;
    let coverage = Enumeration::new(1, &start).kills(workload, |_, world, _| resumed += u64::from(goes_on(world)));
    report("ingest killed, then gone on with", coverage);
    assert!(resumed > 10, "{resumed} went on");
}

#[test]
fn an_ingest_goes_on_after_a_power_cut_at_every_call() {
    let start = begun(2, Durability::Batch);
    let workload = |process: &Arc<Simulated>| {
        let opened = Opened::open(process).unwrap();
        opened.add(&[PATH], &options()).unwrap();
    };
    let mut resumed = 0;
    let cuts = Enumeration::new(2, &start).images(Images::Basic).samples(kit::many(2) as usize);
    let coverage = cuts.power_cuts(workload, |_, world, _| resumed += u64::from(goes_on(world)));
    report("ingest cut off, then gone on with", coverage);
    assert!(resumed > 10, "{resumed} went on");
}

#[test]
fn a_second_ingest_is_cut_off_too() {
    let start = begun(3, Durability::Batch);
    let opened = Opened::open(&start.process("first")).unwrap();
    let reading = Reading { stop_after: 3 * PART_BYTES as u64 + 1, ..Reading::default() };
    let first = add(&opened.ctx(), &[Source { path: PATH.into() }], &options(), &reading).unwrap();
    assert!(first.interrupted);
    drop(opened);
    start.settle();
    let workload = |process: &Arc<Simulated>| {
        let opened = Opened::open(process).unwrap();
        opened.add(&[PATH], &options()).unwrap();
    };
    let mut resumed = 0;
    let cuts = Enumeration::new(3, &start).images(Images::Basic).samples(kit::many(2) as usize);
    let coverage = cuts.power_cuts(workload, |_, world, _| resumed += u64::from(goes_on(world)));
    report("ingest gone on with and cut off", coverage);
    let kills = Enumeration::new(3, &start).kills(workload, |_, world, _| resumed += u64::from(goes_on(world)));
    report("ingest gone on with and killed", kills);
    assert!(resumed > 10, "{resumed} went on");
}

/// Whatever the first one left is never written to if a reader may have it.
#[test]
fn no_blob_is_ever_unfinished_when_both_ingests_are_killed() {
    let start = begun(11, Durability::Batch);
    let workload = |process: &Arc<Simulated>| {
        let opened = Opened::open(process).unwrap();
        opened.add(&[PATH], &options()).unwrap();
    };
    let step = if kit::long() { 1 } else { 5 };
    let mut worlds = 0;
    let kills = Enumeration::new(11, &start).kills(workload, |number, world, _| {
        let left = world.snapshot();
        for second in ((number % step)..).step_by(step as usize) {
            let world = left.world(1000 + second);
            world.fail(Fault::kill().at_call(second));
            let process = world.process("second");
            let ended = run(&process, || workload(&process)).finished().is_some();
            worlds += 1;
            kit::never_lies(&world);
            if ended {
                break;
            }
        }
    });
    report(&format!("ingest killed twice ({worlds} worlds)"), kills);
}

#[test]
fn what_is_done_is_not_read_again() {
    let world = begun(4, Durability::Batch);
    let opened = Opened::open(&world.process("first")).unwrap();
    let reading = Reading { stop_after: 4 * PART_BYTES as u64 + 1, ..Reading::default() };
    let first = add(&opened.ctx(), &[Source { path: PATH.into() }], &options(), &reading).unwrap();
    assert_eq!((first.interrupted, first.new_files), (true, 0));
    drop(opened);
    let next = Opened::open(&world.process("next")).unwrap();
    let there = waiting(&next.ctx()).unwrap().waiting;
    assert_eq!((there.len(), &there[0].path), (1, &PathBuf::from(PATH)));
    assert_eq!((there[0].done_bytes, there[0].size_bytes), (4 * PART_BYTES as u64, large().len() as u64));
    world.configure(|options| options.log_reads = true);
    let before = read_of_source(&world);
    added(&world, &next);
    let read = read_of_source(&world) - before;
    assert!(read <= 2 * PART_BYTES as u64, "{read} bytes were read of the source");
    kit::nothing_is_left_over(&world, &next);
}

/// An ingest that was broken off after four parts, and its staged file.
fn broken_off(seed: u64) -> (World, PathBuf) {
    let world = begun(seed, Durability::Batch);
    let opened = Opened::open(&world.process("first")).unwrap();
    let reading = Reading { stop_after: 4 * PART_BYTES as u64 + 1, ..Reading::default() };
    add(&opened.ctx(), &[Source { path: PATH.into() }], &options(), &reading).unwrap();
    drop(opened);
    let id = waiting(&Opened::open(&world.process("look")).unwrap().ctx()).unwrap().waiting[0].id.clone();
    let staged = Path::new("/store/staging").join(id);
    (world, staged)
}

#[test]
fn a_source_that_changed_begins_anew() {
    type Change = fn(&World);
    let changes: [Change; 3] = [
        |world| {
            let mtime = world.process("look").lstat(Path::new(PATH)).unwrap().mtime_ns;
            let file = world.process("editor").open(Path::new(PATH), Open::ReadWrite).unwrap();
            file.write_at(b"other", 10).unwrap();
            file.set_mtime(mtime).unwrap();
        },
        |world| {
            let shell = world.process("shell");
            shell.rename(Path::new(PATH), Path::new("/old")).unwrap();
            world.put(PATH, &large().iter().map(|byte| byte ^ 1).collect::<Vec<u8>>());
        },
        |world| {
            let file = world.process("editor").open(Path::new(PATH), Open::ReadWrite).unwrap();
            file.set_len(3 * PART_BYTES as u64).unwrap();
        },
    ];
    for change in changes {
        let (world, _) = broken_off(5);
        change(&world);
        world.advance(Duration::from_secs(1));
        let next = Opened::open(&world.process("next")).unwrap();
        assert_eq!(next.add(&[PATH], &options()).unwrap().new_files, 1);
        let now = world.read(PATH).unwrap();
        assert!(world.read(next.ledger.layout.blob(&digest(&now))).as_deref() == Some(&now[..]), "not the source");
        kit::never_lies(&world);
        assert_eq!(waiting(&next.ctx()).unwrap().waiting.len(), 1, "what belongs to another source is left alone");
    }
}

#[test]
fn what_is_staged_and_rotten_never_becomes_a_blob() {
    for at in [0, PART_BYTES as u64, 4 * PART_BYTES as u64 - 1] {
        let (world, staged) = broken_off(6);
        assert!(world.corrupt(&staged, at));
        let next = Opened::open(&world.process("next")).unwrap();
        added(&world, &next);
        kit::nothing_is_left_over(&world, &next);
    }
    // Behind the checkpoint it does not count.
    let (world, staged) = broken_off(6);
    let process = world.process("vandal");
    process.open(&staged, Open::Read).unwrap().set_mode(0o600).unwrap();
    let file = process.open(&staged, Open::ReadWrite).unwrap();
    file.write_at(&[9; 3 * PART_BYTES], 4 * PART_BYTES as u64).unwrap();
    drop(file);
    added(&world, &Opened::open(&world.process("next")).unwrap());
}

#[test]
fn a_checkpoint_that_is_damaged_or_of_another_file_begins_anew() {
    let (start, staged) = broken_off(7);
    let checkpoint = PathBuf::from(format!("{}.resume", staged.display()));
    let length = start.read(&checkpoint).unwrap().len() as u64;
    let start = start.snapshot();
    for at in (0..length).step_by(29) {
        let world = start.world(at);
        world.corrupt(&checkpoint, at);
        let next = Opened::open(&world.process("next")).unwrap();
        assert_eq!(waiting(&next.ctx()).unwrap().waiting, []);
        added(&world, &next);
        kit::nothing_is_left_over(&world, &next);
    }
    // A staged file that has another name may be a blob: nothing writes to it.
    let world = start.world(1);
    world.process("shell").link(&staged, Path::new("/other")).unwrap();
    let before = world.read("/other").unwrap();
    added(&world, &Opened::open(&world.process("next")).unwrap());
    assert!(world.read("/other").unwrap() == before, "it was written to");
    // A bad sector in it is no beginning either.
    let world = start.world(1);
    world.bad_sector(&staged, 0..1);
    added(&world, &Opened::open(&world.process("next")).unwrap());
}

#[test]
fn it_is_listed_until_it_is_removed_or_its_time_is_over() {
    let (start, _) = broken_off(8);
    let start = start.snapshot();
    let world = start.world(1);
    let opened = Opened::open(&world.process("next")).unwrap();
    let id = waiting(&opened.ctx()).unwrap().waiting[0].id.clone();
    assert!(plan_give_up(&opened.ctx(), &["zz".to_owned()]).is_err());
    let chosen = plan_give_up(&opened.ctx(), &[id[..8].to_owned()]).unwrap();
    assert_eq!(give_up(&opened.ctx(), &chosen.waiting).unwrap(), chosen);
    assert_eq!(waiting(&opened.ctx()).unwrap().waiting, []);
    kit::nothing_is_left_over(&world, &opened);

    let world = start.world(2);
    let opened = Opened::open(&world.process("next")).unwrap();
    opened.collect(Duration::ZERO).unwrap();
    assert_eq!(check(&opened.ctx(), &larder::Silent).unwrap().by_code, [].into(), "what can go on is nothing wrong");
    for day in 1..=8 {
        world.advance(Duration::from_secs(86_400));
        // Journal time moves with frames.
        world.put("/src/small", format!("{day}").as_bytes());
        opened.put("/src/small", "small", format!("{day}").as_bytes()).unwrap();
        opened.collect(Duration::ZERO).unwrap();
        assert_eq!(waiting(&opened.ctx()).unwrap().waiting.is_empty(), day >= 7, "day {day}");
    }
    kit::staging_is_empty(&world);
}

/// Where a checkpoint or a staged file cannot be looked at, nobody says that there is nothing, or that all is gone.
#[test]
fn what_cannot_be_read_is_told_and_left_alone() {
    let (start, _) = broken_off(13);
    let start = start.snapshot();
    let in_staging = |fault: Fault, suffix: &'static str| {
        fault.always().path(move |path| path.starts_with("/store/staging") && path.to_string_lossy().ends_with(suffix))
    };
    let faults = [
        in_staging(Fault::errno(errno::EIO).kind(CallKind::Read), ".resume"),
        in_staging(Fault::errno(errno::EACCES).kind(CallKind::Open), ".resume"),
        in_staging(Fault::errno(errno::EIO).kind(CallKind::Lstat), "/0"),
    ];
    for fault in faults {
        let world = start.world(13);
        let opened = Opened::open(&world.process("next")).unwrap();
        let known = waiting(&opened.ctx()).unwrap().waiting;
        let id = known[0].id.clone();
        world.fail(fault);
        let all = waiting(&opened.ctx()).unwrap();
        assert_eq!((all.waiting.len(), all.unreadable.len()), (0, 1));
        assert_eq!(all.unreadable[0].id, id);
        assert!(all.unreadable[0].reason.contains("/store/staging/"), "{all:?}");
        assert_eq!(plan_give_up(&opened.ctx(), &[]).unwrap(), all);
        assert_eq!(plan_give_up(&opened.ctx(), &[id[..8].to_owned()]).unwrap(), all);
        assert_eq!(give_up(&opened.ctx(), &known).unwrap(), all, "it was planned before it could not be read");
        world.clear_faults();
        assert_eq!(waiting(&opened.ctx()).unwrap().waiting, known, "it is gone");
        assert_eq!(give_up(&opened.ctx(), &known).unwrap().waiting, known);
        kit::nothing_is_left_over(&world, &opened);
    }
}

#[test]
fn giving_up_survives_a_crash_at_every_call() {
    let (start, _) = broken_off(12);
    start.settle();
    let give_all_up = |opened: &Opened| {
        let chosen = plan_give_up(&opened.ctx(), &[]).unwrap();
        give_up(&opened.ctx(), &chosen.waiting).unwrap();
    };
    let workload = |process: &Arc<Simulated>| give_all_up(&Opened::open(process).unwrap());
    let check = |_: u64, world: &World, log: &Log| {
        let opened = kit::recovered(world, log);
        give_all_up(&opened);
        assert_eq!(waiting(&opened.ctx()).unwrap().waiting, []);
        kit::nothing_is_left_over(world, &opened);
        added(world, &opened);
    };
    let cuts = Enumeration::new(12, &start).samples(kit::many(4) as usize).power_cuts(workload, check);
    assert!(cuts.distinct > 2, "{cuts:?}");
    report("ingest given up", cuts);
    report("ingest given up, killed", Enumeration::new(12, &start).kills(workload, check));
}

#[test]
fn a_full_disk_and_failing_syncs_leave_nothing_to_go_on_with_and_nothing_wrong() {
    for fault in [
        Fault::errno(errno::ENOSPC).kind(CallKind::Write).under("/store/staging").nth(4).always(),
        Fault::errno(errno::EIO).kind(CallKind::SyncData).under("/store/staging").nth(2),
        Fault::errno(errno::EIO)
            .kind(CallKind::Sync)
            .path(|path| path.to_string_lossy().ends_with(".resume.new"))
            .always(),
        Fault::errno(errno::ENOSPC)
            .kind(CallKind::Create)
            .path(|path| path.to_string_lossy().contains(".resume"))
            .always(),
    ] {
        let world = begun(9, Durability::Batch);
        world.fail(fault);
        let opened = Opened::open(&world.process("first")).unwrap();
        let _ = opened.add(&[PATH], &options());
        drop(opened);
        world.clear_faults();
        assert!(!goes_on(&world));
        let log = world.log();
        kit::each_image(&world.power_cut(), 9, 4, |_, image| _ = kit::recovered(image, &log));
    }
}

#[test]
fn bytes_that_were_not_expected_leave_nothing_to_go_on_with() {
    let world = begun(12, Durability::Batch);
    let opened = Opened::open(&world.process("first")).unwrap();
    let other = AddOptions { expect: Some(digest(b"other")), ..options() };
    assert_eq!(opened.add(&[PATH], &other).unwrap_err().kind(), larder::ErrorKind::Mismatch);
    drop(opened);
    kit::staging_is_empty(&world);
}

#[test]
fn small_files_links_and_scratch_stores_have_no_checkpoints() {
    for (durability, take_in) in [(Durability::None, TakeIn::Copy), (Durability::Batch, TakeIn::Link)] {
        let world = begun(10, durability);
        // With holes it would be copied.
        world.put(PATH, &large());
        let opened = Opened::open(&world.process("first")).unwrap();
        let reading = Reading { stop_after: 4 * PART_BYTES as u64 + 1, ..Reading::default() };
        let options = AddOptions { take_in, ..options() };
        assert!(add(&opened.ctx(), &[Source { path: PATH.into() }], &options, &reading).unwrap().interrupted);
        drop(opened);
        kit::staging_is_empty(&world);
    }
}
