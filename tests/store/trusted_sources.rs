//! `--trust-stamps`: a source that is what it was is not read again, and whatever is not certain to be is.

use std::path::Path;
use std::time::Duration;

use crate::kit::{Opened, digest, world};
use larder::format::settings::Durability;
use larder::ledger::Tables;
use larder::machine::Machine;
use larder::machine::simulated::{Call, CallKind, World};
use larder::work::ingest::{AddOptions, AddReport};
use larder::work::upkeep::rebuild;
use larder::{Name, Silent};

const SECONDS: Duration = Duration::from_secs(5);

fn trusting() -> AddOptions {
    AddOptions { trust_stamps: true, replace: true, ..AddOptions::default() }
}

/// A store that has `/src/a` and `/src/b`, whose last change is some seconds ago.
fn settled() -> (World, Opened) {
    let world = world(1, Durability::Batch, &[("/src/a", b"one"), ("/src/b", b"two")]);
    world.configure(|options| options.log_reads = true);
    world.advance(SECONDS);
    let opened = Opened::open(&world.process("first")).unwrap();
    assert_eq!(opened.add(&["/src"], &AddOptions::default()).unwrap().new_files, 2);
    (world, opened)
}

/// What was called while the tree was added once more.
fn again(world: &World, opened: &Opened, options: &AddOptions) -> (AddReport, Vec<Call>) {
    let before = world.log().calls().len();
    let report = opened.add(&["/src"], options).unwrap();
    (report, world.log().calls()[before..].to_vec())
}

fn reads(calls: &[Call]) -> usize {
    calls.iter().filter(|call| call.path.starts_with("/src") && call.kind == CallKind::Read).count()
}

fn meaning(opened: &Opened, name: &str) -> larder::Digest {
    opened.ledger.snapshot().unwrap().alias(&Name::new(name).unwrap()).unwrap().unwrap().digest
}

#[test]
fn a_file_that_is_what_it_was_is_not_read() {
    let (world, opened) = settled();
    let (report, calls) = again(&world, &opened, &trusting());
    assert_eq!((report.trusted_files, report.unchanged_files, reads(&calls)), (2, 2, 0));
    let (report, calls) = again(&world, &opened, &AddOptions::default());
    assert_eq!((report.trusted_files, report.unchanged_files, reads(&calls)), (0, 2, 2), "without the option it is");
    // Of the same length, and with the time it had.
    let process = world.process("editor");
    let file = process.open(Path::new("/src/a"), larder::machine::Open::ReadWrite).unwrap();
    let mtime_ns = file.meta().unwrap().mtime_ns;
    world.advance(SECONDS);
    file.write_at(b"ONE", 0).unwrap();
    file.set_mtime(mtime_ns).unwrap();
    world.advance(SECONDS);
    let (report, calls) = again(&world, &opened, &trusting());
    assert_eq!((report.trusted_files, report.new_files, reads(&calls)), (1, 1, 1));
    assert_eq!(meaning(&opened, "src/a"), digest(b"ONE"));
    let (report, _) = again(&world, &opened, &trusting());
    assert_eq!((report.trusted_files, report.unchanged_files), (2, 2), "it is on record from then on");
}

#[test]
fn a_file_that_was_put_in_its_place_is_read() {
    let (world, opened) = settled();
    let process = world.process("editor");
    let before = process.lstat(Path::new("/src/a")).unwrap();
    process.unlink(Path::new("/src/a")).unwrap();
    world.put("/src/a", b"new");
    let file = process.open(Path::new("/src/a"), larder::machine::Open::ReadWrite).unwrap();
    file.set_mtime(before.mtime_ns).unwrap();
    assert_eq!(file.meta().unwrap().size_bytes, before.size_bytes);
    let (report, _) = again(&world, &opened, &trusting());
    assert_eq!((report.trusted_files, report.new_files), (1, 1));
    assert_eq!(meaning(&opened, "src/a"), digest(b"new"));
}

/// The clock of files ticks: a change may leave the stamp as the change before it has made it.
#[test]
fn what_was_changed_within_a_tick_is_read_again() {
    let world = world(1, Durability::Batch, &[("/src/a", b"one")]);
    world.configure(|options| (options.time_grain_ns, options.call_time_ns) = (4_000_000, 0));
    world.advance(SECONDS);
    world.put("/src/a", b"two");
    let opened = Opened::open(&world.process("first")).unwrap();
    opened.add(&["/src"], &AddOptions::default()).unwrap();
    let before = world.process("look").lstat(Path::new("/src/a")).unwrap();
    world.put("/src/a", b"six");
    let after = world.process("look").lstat(Path::new("/src/a")).unwrap();
    assert_eq!((before.inode, before.mtime_ns, before.ctime_ns), (after.inode, after.mtime_ns, after.ctime_ns));
    let report = opened.add(&["/src"], &trusting()).unwrap();
    assert_eq!((report.trusted_files, report.new_files), (0, 1));
    assert_eq!(meaning(&opened, "src/a"), digest(b"six"));
}

#[test]
fn what_is_not_stored_as_recorded_is_read() {
    let (world, opened) = settled();
    let blob = opened.ledger.layout.blob(&digest(b"one"));
    world.process("clumsy").unlink(&blob).unwrap();
    let (report, calls) = again(&world, &opened, &trusting());
    assert_eq!((report.trusted_files, report.healed_files, reads(&calls)), (1, 1, 1));
    // Bytes that rot leave no trace; whoever asks for it has the stored copies hashed.
    assert!(world.corrupt(&blob, 1));
    let (report, _) = again(&world, &opened, &trusting());
    assert_eq!(report.trusted_files, 2);
    let (report, _) = again(&world, &opened, &AddOptions { verify_existing: true, ..trusting() });
    assert_eq!((report.trusted_files, report.healed_files), (1, 1));
    assert_eq!(world.read(&blob).unwrap(), b"one");
}

#[test]
fn a_name_that_was_taken_away_is_no_longer_known() {
    let (world, opened) = settled();
    opened.remove(&["src/a"]).unwrap();
    let (report, calls) = again(&world, &opened, &trusting());
    assert_eq!((report.trusted_files, report.dedup_files, reads(&calls)), (1, 1, 1));
}

/// A name may have come to mean something else meanwhile: it is the file that is known, not the name.
#[test]
fn a_name_that_means_other_bytes_is_given_these_only_where_asked() {
    let (world, opened) = settled();
    opened.put("/src/b", "src/a", b"two").unwrap();
    let (report, _) = again(&world, &opened, &AddOptions { replace: false, ..trusting() });
    assert_eq!((report.failed, report.unchanged_files), (1, 1));
    assert_eq!(meaning(&opened, "src/a"), digest(b"two"));
    let (report, _) = again(&world, &opened, &trusting());
    assert_eq!((report.failed, report.unchanged_files, report.dedup_files), (0, 1, 1));
    assert_eq!(meaning(&opened, "src/a"), digest(b"one"));
}

#[test]
fn what_is_known_comes_back_from_the_journal() {
    let (world, opened) = settled();
    let rows = opened.rows();
    rebuild(&opened.ctx(), &Silent).unwrap();
    assert_eq!(opened.rows(), rows);
    opened.ledger.compact().unwrap();
    rebuild(&opened.ctx(), &Silent).unwrap();
    let (report, _) = again(&world, &Opened::open(&world.process("next")).unwrap(), &trusting());
    assert_eq!(report.trusted_files, 2);
}
