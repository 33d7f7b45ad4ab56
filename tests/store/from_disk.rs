//! `rebuild --from-disk`: index and journal are gone, and blobs and names come back from what is on the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::kit::{self, Opened, blob, digest, many, name, report, world};
use larder::format::layout::Layout;
use larder::format::settings::Durability;
use larder::ledger::Tables;
use larder::machine::simulated::{Enumeration, Simulated, World};
use larder::machine::{Machine, Open};
use larder::store::{OpenOptions, Store};
use larder::work::copies::{CopiesOptions, copies};
use larder::work::from_disk::{FromDisk, PIN_NOTE};
use larder::work::ingest::{AddOptions, AliasKind};
use larder::work::names::{Target, link};
use larder::work::verify::{VerifyOptions, verify};
use larder::{ErrorKind, Result, Silent};

const A: &[u8] = b"the bytes of the first file";
const B: &[u8] = b"other bytes, of the second file";
const C: &[u8] = b"what the third file holds";

/// Names in two directories, an empty one, and a counted one, which is all that keeps C.
fn begun(seed: u64) -> World {
    let sources: [(&str, &[u8]); 6] =
        [("/src/a", A), ("/src/b", B), ("/src/deep/a", A), ("/src/empty", b""), ("/more/c", C), ("/more/a", A)];
    let world = world(seed, Durability::Batch, &sources);
    let opened = Opened::open(&world.process("before")).unwrap();
    opened.add(&["/src"], &AddOptions::default()).unwrap();
    let counted = AddOptions { alias: Some(AliasKind::Counted), ..AddOptions::default() };
    opened.add(&["/more/c"], &counted).unwrap();
    drop(opened);
    world.settle();
    world
}

/// Everything in these directories of the store goes.
fn lose(world: &World, directories: &[&str]) {
    let process = world.process("vandal");
    for path in world.tree().into_keys() {
        if directories.iter().any(|directory| path.parent() == Some(&Path::new(kit::STORE).join(directory))) {
            process.unlink(&path).unwrap();
        }
    }
    world.settle();
}

fn rebuild(process: &Arc<Simulated>, discard: bool) -> Result<(Store, FromDisk)> {
    let options = OpenOptions { jobs: 1, lock_timeout: Duration::from_secs(3600), ..OpenOptions::default() };
    let machine: Arc<dyn Machine> = Arc::<Simulated>::clone(process);
    Store::rebuild_from_disk(machine, Path::new(kit::STORE), discard, &options, &Silent)
}

/// Every name is back, what is only counted is pinned, and a check finds nothing.
fn is_whole(world: &World) {
    let opened = Opened::open(&world.process("looking")).unwrap();
    opened.ledger.hold(|_| Ok(())).unwrap();
    let snapshot = opened.ledger.snapshot().unwrap();
    assert_eq!(snapshot.damage, []);
    for (known, bytes) in [("src/a", A), ("src/b", B), ("src/deep/a", A), ("src/empty", b"".as_slice())] {
        let alias = snapshot.alias(&name(known)).unwrap().unwrap_or_else(|| panic!("{known} is lost"));
        assert_eq!((alias.digest, alias.hardlinked), (digest(bytes), true), "{known}");
    }
    assert_eq!(snapshot.pin(&digest(C)).unwrap().unwrap().note, PIN_NOTE);
    assert!(!snapshot.is_fenced().unwrap());
    let checked = larder::work::check::check(&opened.ctx(), &Silent).unwrap();
    assert_eq!(checked.findings, 0, "{checked:?}");
    drop(opened);
    // And it goes on as any store.
    let opened = Opened::open(&world.process("next")).unwrap();
    opened.put("/more/c", "new", C).unwrap();
    opened.collect_with(Duration::ZERO, Duration::ZERO).unwrap();
    kit::agrees(world, &opened);
}

#[test]
fn names_and_blobs_come_back_without_reading_a_blob() {
    let world = begun(1);
    lose(&world, &["journal", "index"]);
    world.put("/store/lock", b"");
    // If a byte of them were read, this would be an error.
    world.bad_sector(blob(A), 0..10);
    let (_, report) = rebuild(&world.process("rebuild"), false).unwrap();
    let expected = FromDisk { blobs: 4, names: 4, pinned: 1, ..FromDisk::default() };
    assert_eq!(report, expected);
    is_whole(&world);
}

#[test]
fn a_good_journal_is_never_thrown_away_unasked() {
    let world = begun(2);
    let before = world.fingerprint();
    assert_eq!(rebuild(&world.process("rebuild"), false).map(drop).unwrap_err().kind(), ErrorKind::Refused);
    assert_eq!(world.fingerprint(), before, "what is refused changes nothing");
    lose(&world, &["index"]);
    let (_, report) = rebuild(&world.process("rebuild"), true).unwrap();
    let kept = report.old_journal.expect("the old journal is kept");
    let in_it = |path: &PathBuf| path.parent() == Some(&kept);
    assert_eq!(world.tree().into_keys().filter(in_it).count(), 1);
    is_whole(&world);
}

#[test]
fn the_settings_come_back_too() {
    let world = begun(3);
    lose(&world, &["journal", "index"]);
    world.process("vandal").unlink(Path::new("/store/larder.toml")).unwrap();
    // Such a directory is nothing that another store may be made in.
    let machine: Arc<dyn Machine> = world.process("init");
    let made = larder::work::init::create(&machine, Path::new(kit::STORE), &Default::default());
    assert_eq!(made.unwrap_err().kind(), ErrorKind::Refused);
    let (store, _) = rebuild(&world.process("rebuild"), false).unwrap();
    assert_eq!(store.settings().blob_mode, 0o444);
    is_whole(&world);
    // Where only they are gone, nothing else is done.
    let settings = world.read("/store/larder.toml").unwrap();
    world.process("vandal").unlink(Path::new("/store/larder.toml")).unwrap();
    let (_, report) = rebuild(&world.process("again"), false).unwrap();
    assert!(report.only_settings);
    assert_eq!(world.read("/store/larder.toml").unwrap(), settings);
    is_whole(&world);
}

#[test]
fn copies_are_matched_and_become_links_once_the_blob_is_known_to_be_good() {
    let world = begun(4);
    lose(&world, &["journal", "index"]);
    let process = world.process("vandal");
    for (copy, bytes) in [("src/b", B), ("src/deep/a", A), ("counted/c", C), ("foreign", b"nobody knows these")] {
        let path = Layout::new(kit::STORE).name(&name(copy));
        let _ = process.unlink(&path);
        world.put_dir(path.parent().unwrap());
        world.put(&path, bytes);
    }
    process.open(&blob(B), Open::Read).unwrap().set_mode(0o666).unwrap();
    let (_, report) = rebuild(&world.process("rebuild"), false).unwrap();
    assert_eq!((report.names, report.copied_names, report.foreign, report.modes), (2, 3, 1, 1), "{report:?}");
    let opened = Opened::open(&world.process("looking")).unwrap();
    let snapshot = opened.ledger.snapshot().unwrap();
    let inode = |path: &Path| world.look(path).unwrap().inode;
    for (copy, bytes) in [("src/b", B), ("src/deep/a", A), ("counted/c", C)] {
        assert_eq!(inode(&opened.ledger.layout.name(&name(copy))), inode(&blob(bytes)), "{copy}");
        assert!(snapshot.blob(&digest(bytes)).unwrap().unwrap().is_verified());
    }
    assert_eq!(snapshot.pin(&digest(C)).unwrap(), None, "it has its name");
    assert_eq!(world.read("/store/names/foreign").unwrap(), b"nobody knows these");
}

#[test]
fn a_good_copy_is_not_traded_for_a_bad_blob() {
    let world = begun(5);
    lose(&world, &["journal", "index"]);
    let process = world.process("vandal");
    process.unlink(Path::new("/store/names/src/b")).unwrap();
    world.put("/store/names/src/b", B);
    assert!(world.corrupt(blob(B), 3));
    let (_, report) = rebuild(&world.process("rebuild"), false).unwrap();
    assert_eq!((report.copied_names, report.foreign), (0, 1));
    assert_eq!(world.read("/store/names/src/b").unwrap(), B);
}

/// What nobody has hashed is no dedup hit, and verifying it makes it one.
#[test]
fn what_came_back_is_unverified_until_it_is_hashed() {
    for verified in [false, true] {
        let world = begun(6);
        lose(&world, &["journal", "index"]);
        assert!(world.corrupt(blob(A), 3));
        rebuild(&world.process("rebuild"), false).unwrap();
        let opened = Opened::open(&world.process("next")).unwrap();
        let row = |opened: &Opened, bytes: &[u8]| {
            opened.ledger.snapshot().unwrap().blob(&digest(bytes)).unwrap().expect("it is on record")
        };
        assert!(!row(&opened, A).is_verified() && !row(&opened, B).is_verified());
        if verified {
            let found = verify(&opened.ctx(), &[], &[], &VerifyOptions::default(), &Silent).unwrap();
            assert_eq!((found.corrupt, found.ok), (1, 3), "{found:?}");
            assert!(row(&opened, B).is_verified() && !row(&opened, A).is_verified());
            let both = larder::hashing::Digests::of(B);
            assert_eq!(row(&opened, B).blake3, both.blake3);
        }
        // The stamp is as recorded, and the bytes are not right: a hit would lose the good ones.
        let added = opened.add(&["/more/a"], &AddOptions::default()).unwrap();
        assert_eq!((added.healed_files, added.dedup_files), (1, 0), "{added:?}");
        assert_eq!(world.read(blob(A)).unwrap(), A);
        assert!(row(&opened, A).is_verified());
        let added = opened.add(&["/src/b"], &AddOptions { prefix: Some(name("n")), ..AddOptions::default() }).unwrap();
        assert_eq!(added.dedup_files, 1);
        assert!(row(&opened, B).is_verified());
    }
}

/// With the index still whole nothing is lost: neither counted names nor pins.
#[test]
fn an_index_that_is_whole_says_everything() {
    let world = begun(7);
    let opened = Opened::open(&world.process("before")).unwrap();
    opened.ledger.fold(true).unwrap();
    let rows = opened.rows();
    opened.put("/more/c", "later", C).unwrap();
    drop(opened);
    lose(&world, &["journal"]);
    let (_, report) = rebuild(&world.process("rebuild"), false).unwrap();
    assert!(report.from_index);
    let opened = Opened::open(&world.process("looking")).unwrap();
    let fence = larder::format::table::Table::Fence as u8;
    let now: Vec<_> = opened.rows().into_iter().filter(|(key, _)| key[0] != fence).collect();
    assert_eq!(now, rows);
    assert!(opened.ledger.snapshot().unwrap().is_fenced().unwrap(), "what came after the index may be a root");
}

#[test]
fn killed_half_way_and_run_again_it_works() {
    let start = begun(8);
    lose(&start, &["journal", "index"]);
    // One name is a copy.
    start.process("vandal").unlink(Path::new("/store/names/src/b")).unwrap();
    start.put("/store/names/src/b", B);
    start.process("vandal").unlink(Path::new("/store/larder.toml")).unwrap();
    start.settle();
    let workload = |process: &Arc<Simulated>| {
        rebuild(process, false).unwrap();
        process.note("done");
    };
    let check = |world: &World, done: bool| {
        kit::never_lies(world);
        match rebuild(&world.process("again"), false) {
            Ok(_) => {}
            // It was through already, but for the copies, which a check would tell of.
            Err(e) if e.kind() == ErrorKind::Refused => {}
            Err(e) => panic!("{e}"),
        }
        if done {
            is_whole(world);
        }
        let opened = Opened::open(&world.process("looking")).unwrap();
        opened.ledger.hold(|_| Ok(())).unwrap();
        let snapshot = opened.ledger.snapshot().unwrap();
        assert!(!snapshot.is_fenced().unwrap(), "what was made anew is whole");
        for known in ["src/a", "src/deep/a", "src/empty"] {
            assert!(snapshot.alias(&name(known)).unwrap().is_some(), "{known} is lost");
        }
        assert_eq!(world.read("/store/names/src/b").unwrap(), B);
    };
    let cuts = Enumeration::new(8, &start).samples(many(4) as usize);
    report("from disk", cuts.power_cuts(workload, |_, world, log| check(world, log.noted("done"))));
    let kills = Enumeration::new(9, &start).kills(workload, |_, world, log| check(world, log.noted("done")));
    report("from disk, killed", kills);
}

/// An alias that a link was given stays what it is: nothing here depends on the order in which names were made.
#[test]
fn linked_names_are_names_like_others() {
    let world = begun(10);
    let opened = Opened::open(&world.process("before")).unwrap();
    link(&opened.ctx(), &Target::Digest(digest(C)), &name("third"), false, None).unwrap();
    drop(opened);
    lose(&world, &["journal", "index"]);
    let (_, report) = rebuild(&world.process("rebuild"), false).unwrap();
    assert_eq!((report.names, report.pinned), (5, 0));
}

/// A carrier of A, to which one name of A is a link.
fn carried(seed: u64) -> (World, PathBuf) {
    let world = begun(seed);
    let process = world.process("copies");
    let opened = Opened::open(&process).unwrap();
    let options = CopiesOptions { copies: 2, dry_run: false };
    copies(&opened.ctx(), &[Target::Digest(digest(A))], &[], &options, &Silent).unwrap();
    let (number, _) = opened.ledger.snapshot().unwrap().carriers(&digest(A)).unwrap()[0];
    let layout = Layout::new(kit::STORE);
    let carrier = layout.carrier(&digest(A), number);
    process.unlink(&layout.names().join("src/deep/a")).unwrap();
    process.link(&carrier, &layout.names().join("src/deep/a")).unwrap();
    drop(opened);
    lose(&world, &["journal", "index"]);
    (world, carrier)
}

#[test]
fn carriers_come_back_and_so_do_the_names_that_are_links_to_them() {
    let (world, carrier) = carried(40);
    // Neither of the two is read.
    world.bad_sector(blob(A), 0..10);
    world.bad_sector(&carrier, 0..10);
    let (_, report) = rebuild(&world.process("rebuild"), false).unwrap();
    let expected = FromDisk { blobs: 4, names: 4, carriers: 1, pinned: 1, ..FromDisk::default() };
    assert_eq!(report, expected);
    let opened = Opened::open(&world.process("looking")).unwrap();
    assert_eq!(opened.ledger.snapshot().unwrap().carriers(&digest(A)).unwrap().len(), 1);
    drop(opened);
    is_whole(&world);
    assert!(world.look(&carrier).is_some(), "it was collected");
}

#[test]
fn a_carrier_takes_the_place_of_its_blob_if_it_has_its_bytes() {
    for good in [true, false] {
        let (world, carrier) = carried(41);
        let vandal = world.process("vandal");
        vandal.unlink(&blob(A)).unwrap();
        if !good {
            assert!(world.corrupt(&carrier, 3));
        }
        world.settle();
        let (_, report) = rebuild(&world.process("rebuild"), false).unwrap();
        let opened = Opened::open(&world.process("looking")).unwrap();
        let alias = opened.ledger.snapshot().unwrap().alias(&name("src/deep/a")).unwrap();
        if good {
            assert_eq!((report.foreign, alias.unwrap().digest), (0, digest(A)));
            assert_eq!(world.read(blob(A)).as_deref(), Some(A));
            is_whole(&world);
        } else {
            assert!(report.foreign > 0 && alias.is_none(), "{report:?}");
            let kept = |path: PathBuf| path.starts_with("/store/quarantine") && path.to_string_lossy().ends_with(".0");
            assert!(world.look(blob(A)).is_none() && world.look(&carrier).is_none());
            assert_eq!(world.tree().into_keys().filter(|path| kept(path.clone())).count(), 1, "it is kept");
        }
    }
}

#[test]
fn a_carrier_that_is_all_that_is_left_survives_a_crash_at_every_call() {
    let (start, _) = carried(42);
    start.process("vandal").unlink(&blob(A)).unwrap();
    start.settle();
    let finishes = |world: &World| {
        kit::never_lies(world);
        if let Err(e) = rebuild(&world.process("again"), false) {
            assert_eq!(e.kind(), ErrorKind::Refused, "{e}");
        }
        let opened = Opened::open(&world.process("looking")).unwrap();
        opened.ledger.hold(|_| Ok(())).unwrap();
        let alias = opened.ledger.snapshot().unwrap().alias(&name("src/deep/a")).unwrap();
        assert_eq!(alias.map(|alias| alias.digest), Some(digest(A)));
        opened.collect_with(Duration::ZERO, Duration::ZERO).unwrap();
        assert_eq!(world.read(blob(A)).as_deref(), Some(A));
    };
    let workload = |process: &Arc<Simulated>| drop(rebuild(process, false).unwrap());
    let cuts = Enumeration::new(42, &start).images(larder::machine::simulated::Images::Basic);
    report("the last carrier", cuts.power_cuts(workload, |_, world, _| finishes(world)));
    report("the last carrier, killed", Enumeration::new(43, &start).kills(workload, |_, world, _| finishes(world)));
}
