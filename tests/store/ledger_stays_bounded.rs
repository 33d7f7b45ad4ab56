//! What is held in memory and left on the disk stays bounded: the tail of the journal, a reader's records over its
//! runs, runs that nobody needs, and bases.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::kit::{Opened, blob, digest, world};
use larder::format::record::{PinRecord, Record};
use larder::format::settings::Durability;
use larder::ledger::{Ledger, Tables};
use larder::machine::simulated::{CallKind, Fault, Outcome, Schedule, Simulated, Snapshot, World, errno, task};
use larder::machine::{Lock, Machine, Open};
use larder::vocabulary::limits::{REBUILD_RECORDS, REMOVE_BATCH, TAIL_FOLD_RECORDS, TAIL_MAX_RECORDS};
use larder::work::collect::{CollectOptions, collect};
use larder::work::ingest::{AddOptions, AliasKind};
use larder::{Digest, Event, Observer};

fn digest_of(number: usize) -> Digest {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes[8..16].copy_from_slice(&(number as u64).to_be_bytes());
    Digest::from_bytes(bytes)
}

/// So many records more, in one transaction.
fn pin(opened: &Opened, numbers: std::ops::Range<usize>) -> larder::Result<()> {
    opened.ledger.transact(move |tx| {
        let since = tx.moment();
        for number in numbers {
            tx.push(Record::Pin(PinRecord { digest: digest_of(number), note: String::new(), since }));
        }
        Ok(())
    })
}

fn open(world: &World, name: &str) -> Opened {
    Opened::open(&world.process(name)).unwrap()
}

fn runs(world: &World) -> Vec<PathBuf> {
    let is_run = |path: &PathBuf| path.starts_with("/store/index") && path.extension().is_some_and(|e| e == "run");
    world.tree().into_keys().filter(is_run).collect()
}

/// A store whose tail is at its bound, since nobody could fold it.
fn at_the_bound(seed: u64) -> World {
    let world = world(seed, Durability::Batch, &[("/src/a", b"one"), ("/src/b", b"two")]);
    world.fail(Fault::errno(errno::ENOSPC).kind(CallKind::Create).under("/store/index").always());
    pin(&open(&world, "filling"), 0..TAIL_MAX_RECORDS + 1).unwrap();
    assert!(open(&world, "looking").ledger.known().tail_records > TAIL_MAX_RECORDS);
    world
}

#[derive(Default)]
struct Told(std::sync::Mutex<Vec<String>>);

impl Observer for Told {
    fn event(&self, event: &Event) {
        if let Event::Notice { text } = event {
            self.0.lock().unwrap().push(text.clone());
        }
    }
}

#[test]
fn a_commit_goes_on_when_there_is_no_room_to_fold_and_says_so() {
    let world = at_the_bound(1);
    let opened = open(&world, "adding");
    let told = Told::default();
    let sources = [larder::work::ingest::Source { path: "/src".into() }];
    let report = larder::work::ingest::add(&opened.ctx(), &sources, &AddOptions::default(), &told).unwrap();
    assert_eq!((report.new_files, report.failed), (2, 0));
    let told = told.0.into_inner().unwrap();
    assert!(told.iter().any(|text| text.contains("index")), "{told:?}");
    world.clear_faults();
    pin(&opened, 0..1).unwrap();
    assert!(opened.ledger.known().tail_records < TAIL_FOLD_RECORDS, "it is folded as soon as there is room");
}

#[test]
fn a_commit_goes_on_while_somebody_compacts() {
    let world = at_the_bound(2);
    world.clear_faults();
    let process = world.process("compacting");
    let lock = process.open(Path::new("/store/compaction"), Open::ReadWrite).unwrap();
    assert!(lock.try_lock(Lock::Exclusive).unwrap());
    let opened = open(&world, "adding");
    let before = world.clock_ns();
    pin(&opened, 0..1).unwrap();
    assert!(world.clock_ns() - before < 1_000_000_000, "nobody waits for it");
    drop(lock);
    pin(&opened, 0..1).unwrap();
    assert!(opened.ledger.known().tail_records < TAIL_FOLD_RECORDS);
}

#[test]
fn a_long_reader_takes_the_runs_that_somebody_else_has_made() {
    let world = world(3, Durability::Batch, &[]);
    let (reader, writer) = (open(&world, "reader"), open(&world, "writer"));
    for round in 0..6 {
        pin(&writer, round * TAIL_FOLD_RECORDS..(round + 1) * TAIL_FOLD_RECORDS).unwrap();
        let snapshot = reader.ledger.snapshot().unwrap();
        assert!(snapshot.tail_records < TAIL_FOLD_RECORDS, "round {round}: {} records", snapshot.tail_records);
        assert!(snapshot.pin(&digest_of(round * TAIL_FOLD_RECORDS)).unwrap().is_some());
    }
    assert_eq!(reader.rows(), open(&world, "another").rows());
}

#[test]
fn a_long_writer_takes_the_runs_that_somebody_else_has_made() {
    let world = world(4, Durability::Batch, &[]);
    let (one, other) = (open(&world, "one"), open(&world, "other"));
    for round in 0..4 {
        pin(&other, round * TAIL_FOLD_RECORDS..(round + 1) * TAIL_FOLD_RECORDS).unwrap();
        one.ledger
            .hold(|hold| {
                assert!(hold.snapshot.tail_records < TAIL_FOLD_RECORDS, "round {round}");
                Ok(())
            })
            .unwrap();
    }
}

/// A store with more rows than are held in memory, and no index.
fn without_index(seed: u64) -> Snapshot {
    let world = world(seed, Durability::Batch, &[]);
    let opened = open(&world, "filling");
    world.fail(Fault::errno(errno::ENOSPC).kind(CallKind::Create).under("/store/index").always());
    let step = 16_000;
    for from in (0..REBUILD_RECORDS + step / 2).step_by(step) {
        pin(&opened, from..from + step).unwrap();
    }
    drop(opened);
    world.clear_faults();
    assert_eq!(runs(&world), Vec::<PathBuf>::new());
    world.snapshot()
}

#[test]
fn a_store_without_index_is_opened_in_bounded_memory() {
    let start = without_index(5);
    is_opened_where_nothing_can_be_written(&start.world(6));
    is_opened_while_somebody_else_holds_the_lock(&start.world(7));
    gets_its_index(&start.world(8));
}

fn knows(ledger: &Ledger) {
    let snapshot = ledger.snapshot().unwrap();
    for number in [0, 1, REBUILD_RECORDS, REBUILD_RECORDS + 1] {
        assert!(snapshot.pin(&digest_of(number)).unwrap().is_some(), "{number}");
    }
}

fn gets_its_index(world: &World) {
    let opened = open(world, "opening");
    let rows = opened.ledger.known().view.overlay().len();
    assert!(rows < TAIL_MAX_RECORDS, "{rows} rows in memory");
    assert!(!runs(world).is_empty(), "there is no index");
    assert!(world.read("/store/index/CURRENT").is_some());
    knows(&opened.ledger);
    // The next one has it from the beginning.
    assert!(open(world, "next").ledger.known().tail_records < TAIL_FOLD_RECORDS);
}

/// Else a rebuild would take several times the room of what it makes.
#[test]
fn what_a_rebuild_merges_away_goes_before_it_ends() {
    let world = without_index(9).world(10);
    let opened = open(&world, "working");
    let (before, named) = (world.log().calls().len(), runs(&world));
    opened.ledger.rebuild().unwrap();
    let calls = world.log().calls()[before..].to_vec();
    let is_run = |path: &Path| path.extension().is_some_and(|extension| extension == "run");
    let of = |kind: CallKind| calls.iter().filter(move |call| call.kind == kind && is_run(&call.path));
    let renamed = calls.iter().position(|call| call.kind == CallKind::Rename).expect("CURRENT is replaced");
    let merged: Vec<&PathBuf> =
        of(CallKind::Create).map(|call| &call.path).filter(|path| !runs(&world).contains(path)).collect();
    assert!(!merged.is_empty(), "nothing was merged");
    for path in merged {
        let unlinked = calls.iter().position(|call| call.kind == CallKind::Unlink && call.path == *path);
        assert!(unlinked.is_some_and(|at| at < renamed), "{} stays until the end", path.display());
    }
    let gone = of(CallKind::Unlink).filter(|call| named.contains(&call.path));
    assert!(gone.count() == named.len(), "what CURRENT named stays until it names something else");
    knows(&opened.ledger);
}

fn is_opened_where_nothing_can_be_written(world: &World) {
    world.configure(|options| options.read_only = true);
    knows(&open(world, "opening").ledger);
    assert_eq!(runs(world), Vec::<PathBuf>::new());
}

fn is_opened_while_somebody_else_holds_the_lock(world: &World) {
    let lock = world.process("busy").open(Path::new("/store/lock"), Open::ReadWrite).unwrap();
    assert!(lock.try_lock(Lock::Exclusive).unwrap());
    let opened = open(world, "opening");
    assert!(opened.ledger.known().view.overlay().len() < REBUILD_RECORDS);
    assert_eq!(runs(world), Vec::<PathBuf>::new(), "they are gone when it ends, however it ends");
    knows(&opened.ledger);
}

#[test]
fn runs_of_a_fold_that_failed_do_not_stay() {
    for (kind, path) in
        [(CallKind::Write, "CURRENT.new"), (CallKind::Sync, "CURRENT.new"), (CallKind::Rename, "CURRENT")]
    {
        for upkeep in ["fold", "rebuild", "compact"] {
            let world = world(7, Durability::Batch, &[("/src/a", b"one")]);
            let opened = open(&world, "working");
            opened.add(&["/src/a"], &AddOptions::default()).unwrap();
            opened.ledger.fold(true).unwrap();
            pin(&opened, 0..5).unwrap();
            let before = (runs(&world), world.read("/store/index/CURRENT"));
            let ends = format!("/store/index/{path}");
            world.fail(Fault::errno(errno::ENOSPC).kind(kind).path(move |p| p == Path::new(&ends)).always());
            let failed = match upkeep {
                "fold" => opened.ledger.fold(true),
                "rebuild" => opened.ledger.rebuild().map(drop),
                _ => opened.ledger.compact().map(drop),
            };
            assert!(failed.is_err(), "{upkeep}: {kind:?}");
            assert_eq!((runs(&world), world.read("/store/index/CURRENT")), before, "{upkeep}: {kind:?}");
            world.clear_faults();
            opened.ledger.fold(true).unwrap();
            assert!(opened.ledger.snapshot().unwrap().pin(&digest_of(0)).unwrap().is_some());
        }
    }
}

/// The rename of CURRENT has happened and only its sync failed: what it names stays.
#[test]
fn runs_that_may_be_named_stay_whatever_failed() {
    let world = world(8, Durability::Batch, &[]);
    world.configure(|options| options.failed_directory_sync = larder::machine::simulated::FailedDirectorySync::Forget);
    let opened = open(&world, "working");
    pin(&opened, 0..5).unwrap();
    world.fail(Fault::errno(errno::EIO).kind(CallKind::Sync).path(|p| p == Path::new("/store/index")).nth(2));
    assert!(opened.ledger.fold(true).is_err());
    let other = open(&world, "other");
    assert_eq!(other.ledger.known().tail_records, 0, "CURRENT is there, and its run is, too");
    assert!(other.ledger.snapshot().unwrap().pin(&digest_of(0)).unwrap().is_some());
}

/// Notes how long the tail becomes.
struct Longest<'a>(&'a Opened, AtomicUsize);

impl Observer for Longest<'_> {
    fn progress(&self, _: u64, _: u64) {
        self.1.fetch_max(self.0.ledger.known().tail_records, Ordering::Relaxed);
    }
}

/// A collection folds on the way, and at its end; and says so where it cannot.
#[test]
fn a_collection_leaves_a_short_tail() {
    let files: Vec<(String, [u8; 4])> =
        (0..4 * REMOVE_BATCH as u32 + 300).map(|i| (format!("/src/{i:04}"), i.to_le_bytes())).collect();
    let sources: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
    let world = world(11, Durability::Batch, &sources);
    let opened = open(&world, "collecting");
    opened.add(&["/src"], &AddOptions { alias: Some(AliasKind::Counted), ..AddOptions::default() }).unwrap();
    opened.remove(&["src"]).unwrap();
    let start = world.snapshot();
    let options = CollectOptions { grace: Duration::ZERO, orphan_ttl: Duration::ZERO, yes_most: true };
    let longest = Longest(&opened, AtomicUsize::new(0));
    let report = collect(&opened.ctx(), None, &options, &longest).unwrap();
    assert_eq!(report.removed_blobs, files.len() as u64);
    let most = longest.1.load(Ordering::Relaxed);
    assert!(most <= 4 * REMOVE_BATCH + TAIL_FOLD_RECORDS, "{most} records");
    assert!(open(&world, "next").ledger.known().tail_records < TAIL_FOLD_RECORDS);

    let world = start.world(12);
    let opened = open(&world, "collecting");
    world.fail(Fault::errno(errno::ENOSPC).kind(CallKind::Create).under("/store/index").always());
    let told = Told::default();
    assert_eq!(collect(&opened.ctx(), None, &options, &told).unwrap().removed_blobs, files.len() as u64);
    let told = told.0.into_inner().unwrap();
    assert!(told.iter().any(|text| text.contains("index")), "{told:?}");
}

/// Files that no record knows are put on record and stay for their time: they are not left to whoever comes next.
#[test]
fn a_collection_that_finds_many_orphans_leaves_a_short_tail() {
    let world = world(14, Durability::Batch, &[]);
    for number in 0..2 * TAIL_FOLD_RECORDS {
        let bytes = number.to_be_bytes();
        world.put(blob(&bytes), &bytes);
    }
    let opened = open(&world, "collecting");
    assert_eq!(opened.collect(Duration::ZERO).unwrap().removed_blobs, 0);
    let next = open(&world, "next");
    assert_eq!(next.ledger.snapshot().unwrap().all_orphans().count(), 2 * TAIL_FOLD_RECORDS);
    assert!(next.ledger.known().tail_records < TAIL_FOLD_RECORDS);
}

/// A frame may have more records than rows are held in memory: they take effect in parts, with a run between them.
#[test]
fn a_frame_that_is_larger_than_memory_takes_effect_whole() {
    let world = world(13, Durability::Batch, &[]);
    let opened = open(&world, "working");
    let kept = REBUILD_RECORDS / 10;
    opened
        .ledger
        .transact(move |tx| {
            let since = tx.moment();
            let pin = |number| Record::Pin(PinRecord { digest: digest_of(number), note: String::new(), since });
            (0..REBUILD_RECORDS + kept).for_each(|number| tx.push(pin(number)));
            // By then the first of them are in a run.
            (0..kept).for_each(|number| tx.push(Record::Unpin(digest_of(number))));
            Ok(())
        })
        .unwrap();
    let rows = opened.rows();
    assert_eq!(rows.len(), REBUILD_RECORDS);
    opened.ledger.rebuild().unwrap();
    assert_eq!(open(&world, "rebuilt").rows(), rows);
    for run in runs(&world).into_iter().chain([PathBuf::from("/store/index/CURRENT")]) {
        world.process("losing").unlink(&run).unwrap();
    }
    assert_eq!(open(&world, "without an index").rows(), rows);
}

fn bases(world: &World) -> Vec<PathBuf> {
    world.tree().into_keys().filter(|path| path.extension().is_some_and(|e| e == "base")).collect()
}

#[test]
fn compacting_again_with_nothing_new_leaves_the_base_as_it_is() {
    let world = world(9, Durability::Batch, &[("/src/a", b"one"), ("/src/b", b"two")]);
    let opened = open(&world, "working");
    opened.add(&["/src/a"], &AddOptions::default()).unwrap();
    let first = opened.ledger.compact().unwrap();
    let one = bases(&world);
    assert_eq!(one.len(), 1);
    for _ in 0..3 {
        let again = opened.ledger.compact().unwrap();
        assert_eq!(bases(&world), one);
        assert_eq!(again.records, first.records);
    }
    opened.add(&["/src/b"], &AddOptions::default()).unwrap();
    opened.ledger.compact().unwrap();
    assert_eq!(bases(&world).len(), 2, "the generation before stays");
    opened.put("/src/a", "c", b"one").unwrap();
    opened.ledger.compact().unwrap();
    assert_eq!(bases(&world).len(), 2);
    assert!(!bases(&world).contains(&one[0]));
}

/// A base that is damaged is no reason to do without a new one, and goes then.
#[test]
fn a_damaged_base_is_written_anew_though_nothing_is_new() {
    let world = world(10, Durability::Batch, &[("/src/a", b"one")]);
    let opened = open(&world, "working");
    opened.add(&["/src/a"], &AddOptions::default()).unwrap();
    opened.ledger.compact().unwrap();
    let damaged = bases(&world).remove(0);
    world.corrupt(&damaged, 200);
    opened.ledger.compact().unwrap();
    let now = bases(&world);
    assert_eq!(now.len(), 1, "{now:?}");
    assert!(!now.contains(&damaged));
    let other = open(&world, "other");
    assert!(other.ledger.snapshot().unwrap().blob(&digest(b"one")).unwrap().is_some());
}

/// Somebody else cannot sync the last frame again and copies it elsewhere, between any two calls of a fold: the index
/// never reaches a frame that is journal no more.
#[test]
fn an_index_reaches_only_what_is_journal() {
    let start = world(12, Durability::Batch, &[("/src/a", b"one")]);
    open(&start, "before").add(&["/src/a"], &AddOptions::default()).unwrap();
    start.settle();
    let start = start.snapshot();
    let mut told = 0;
    for interrupted in 0..90 {
        let world = start.world(12);
        let before = AtomicBool::new(false);
        let folding = task("folding", |process| Opened::open(&process)?.ledger.fold(true));
        let copying = task("copying", |process: Arc<Simulated>| {
            let sync = Fault::errno(errno::EIO).kind(CallKind::SyncData).under("/store/journal");
            world.fail(sync.process(process.number()));
            let copied = Opened::open(&process)?.ledger.hold(|_| Ok(()));
            before.store(world.read("/store/index/CURRENT").is_none(), Ordering::Relaxed);
            copied
        });
        let choices = std::iter::repeat_n(0, interrupted).chain([1]).collect();
        let report = Schedule::replay(choices).run(&world, vec![folding, copying]);
        for outcome in &report.outcomes {
            assert!(matches!(outcome, Outcome::Finished(Ok(()))), "interrupted at call {interrupted}: {outcome:?}");
        }
        let current = larder::parts::index::current(world.process("looking").as_ref(), Path::new("/store/index"));
        if let (Some(current), true) = (current.unwrap(), before.load(Ordering::Relaxed)) {
            told += 1;
            let next = open(&world, "next");
            assert_eq!(next.ledger.known().folded, current.reach.sequence, "interrupted at call {interrupted}");
        }
    }
    assert!(told > 0);
}
