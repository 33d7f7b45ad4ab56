//! Promise 7, of rights: a private source's blob stays private, and whoever adds the same bytes from a file that more
//! people may read gets a file of their own beside it, whatever crashes.

use std::path::Path;
use std::sync::Arc;

use crate::kit::{self, Account, Opened, digest, many, report, world};
use larder::format::layout::Layout;
use larder::format::settings::Durability;
use larder::ledger::Tables;
use larder::machine::simulated::{Enumeration, Log, Simulated, World};
use larder::machine::{Machine, Open};
use larder::work::copies::{CopiesOptions, copies};
use larder::work::ingest::AddOptions;
use larder::work::repair::{RepairOptions, RepairScope, repair};
use larder::work::verify::{VerifyOptions, verify};
use larder::{Prefix, Silent};

const A: &[u8] = b"the bytes of the first file";
const B: &[u8] = b"other bytes, of the second file";

fn mode_of(world: &World, path: impl AsRef<Path>) -> u32 {
    world.process("looking").lstat(path.as_ref()).unwrap().mode & 0o777
}

/// A private file, kept; and the same bytes in a file that everybody may read.
fn begun(seed: u64) -> World {
    let world = world(seed, Durability::Batch, &[("/mine/secret", A), ("/all/a", A), ("/all/b", B), ("/all/again", A)]);
    let owner = world.process("owner");
    owner.open(Path::new("/mine/secret"), Open::Read).unwrap().set_mode(0o600).unwrap();
    Opened::open(&owner).unwrap().add(&["/mine"], &AddOptions::default()).unwrap();
    world.settle();
    assert_eq!(mode_of(&world, blob()), 0o400);
    world
}

fn blob() -> std::path::PathBuf {
    Layout::new(kit::STORE).blob(&digest(A))
}

fn carriers(opened: &Opened) -> usize {
    opened.ledger.snapshot().unwrap().carriers(&digest(A)).unwrap().len()
}

fn holds(world: &World, log: &Log) {
    let mut account = Account::knowing(&[("mine/secret", A)]);
    account.go_on(log);
    let opened = Opened::open(&world.process("recovery")).unwrap();
    opened.ledger.hold(|_| Ok(())).expect("the store can be written after any crash");
    account.holds(opened.ledger.snapshot().unwrap().as_ref());
    kit::never_lies(world);
    kit::agrees(world, &opened);
    kit::nothing_is_left_over(world, &opened);
    if log.noted(&format!("added all/a {}", digest(A))) {
        assert_eq!(carriers(&opened), 1, "what all may read is not on record");
        assert_eq!(mode_of(world, "/store/names/all/a"), 0o444, "the name is not a link to what all may read");
    }
    opened.add(&["/all"], &AddOptions { replace: true, ..AddOptions::default() }).unwrap();
    assert_eq!(carriers(&opened), 1, "one is enough for all");
    assert_eq!((mode_of(world, blob()), mode_of(world, "/store/names/mine/secret")), (0o400, 0o400));
    kit::agrees(world, &opened);
    let found = verify(&opened.ctx(), &[], &[], &VerifyOptions::default(), &Silent).unwrap();
    assert_eq!((found.ok, found.blobs, found.bad_carriers), (2, 2, 0));
}

#[test]
fn adding_what_more_people_may_read_survives_a_crash_at_every_call() {
    let start = begun(1);
    let workload = |process: &Arc<Simulated>| {
        let opened = Opened::open(process).unwrap();
        ["all/a", "all/b", "all/again"].iter().zip([A, B, A]).for_each(|(name, bytes)| opened.may(name, Some(bytes)));
        assert_eq!(opened.add(&["/all"], &AddOptions::default()).unwrap().failed, 0);
    };
    let cuts = Enumeration::new(1, &start).samples(many(4) as usize);
    report("the same bytes for more people", cuts.power_cuts(workload, |_, world, log| holds(world, log)));
    let mut images = 0;
    let kills = Enumeration::new(1, &start).kills(workload, |number, world, log| {
        images += kit::each_image(&world.balance(), number, 4, |_, image| holds(image, log));
        holds(world, log);
    });
    report(&format!("the same, killed ({images} images)"), kills);
}

/// Whichever of two files with the same bytes comes first in one batch, both classes are kept.
#[test]
fn in_one_batch_the_file_for_more_people_is_kept_beside_the_private_one() {
    for private in ["/src/a", "/src/b"] {
        let world = world(2, Durability::Batch, &[("/src/a", A), ("/src/b", A)]);
        let process = world.process("adding");
        process.open(Path::new(private), Open::Read).unwrap().set_mode(0o600).unwrap();
        let opened = Opened::open(&process).unwrap();
        opened.add(&["/src"], &AddOptions::default()).unwrap();
        kit::agrees(&world, &opened);
        let wide = Layout::new(kit::STORE).carrier(&digest(A), 1);
        let modes = [mode_of(&world, blob()), if carriers(&opened) > 0 { mode_of(&world, wide) } else { 0 }];
        assert!(modes.contains(&0o444), "{private}: {modes:?}");
    }
}

/// What more people may read is not taken away with copies that are wanted no more, and when it is bad it is made anew
/// for as many people as before.
#[test]
fn copies_and_repair_keep_who_may_read() {
    let world = begun(3);
    let opened = Opened::open(&world.process("adding")).unwrap();
    opened.put("/all/a", "shared", A).unwrap();
    let keep = |count| {
        copies(&opened.ctx(), &[], &[Prefix::Everything], &CopiesOptions { copies: count, dry_run: false }, &Silent)
    };
    assert_eq!(keep(3).unwrap().made, 1);
    opened.remove(&["shared"]).unwrap();
    assert_eq!(keep(1).unwrap().removed, 1);
    let carrier = Layout::new(kit::STORE).carrier(&digest(A), 1);
    assert_eq!(mode_of(&world, &carrier), 0o444);
    assert!(world.corrupt(&carrier, 3));
    let options = RepairOptions::default();
    let repaired = repair(&opened.ctx(), &RepairScope::All, &options, &Silent).unwrap();
    assert_eq!((repaired.carriers, repaired.unrepaired), (1, 0));
    assert_eq!((mode_of(&world, &carrier), world.read(&carrier).unwrap()), (0o444, A.to_vec()));
    assert_eq!(mode_of(&world, blob()), 0o400);
    // It goes with its blob.
    opened.remove(&["mine/secret"]).unwrap();
    kit::nothing_is_left_over(&world, &opened);
    assert!(world.read(&carrier).is_none() && world.read(blob()).is_none());
}

/// A link of the source would have to be of one mode with the blob: it is copied.
#[test]
fn what_was_to_be_linked_is_copied_for_more_people() {
    for take_in in [larder::work::ingest::TakeIn::Link, larder::work::ingest::TakeIn::Move] {
        let world = begun(4);
        let opened = Opened::open(&world.process("adding")).unwrap();
        let options = AddOptions { take_in, ..AddOptions::default() };
        let done = opened.add(&["/all/a"], &options).unwrap();
        assert_eq!((done.failed, carriers(&opened)), (0, 1), "{take_in:?}");
        assert_eq!(world.read("/all/a").is_none(), take_in == larder::work::ingest::TakeIn::Move);
        assert_eq!(mode_of(&world, "/store/names/a"), 0o444);
        assert_eq!(mode_of(&world, "/store/names/mine/secret"), 0o400);
        kit::agrees(&world, &opened);
    }
}

/// The same within one batch, whichever comes first: no source is linked where a private copy becomes the blob.
#[test]
fn in_one_batch_no_source_is_linked_beside_a_private_copy() {
    for (private, public) in [("/src/a", "/src/b"), ("/src/b", "/src/a")] {
        for take_in in [larder::work::ingest::TakeIn::Link, larder::work::ingest::TakeIn::Move] {
            let world = world(5, Durability::Batch, &[("/src/a", A), ("/src/b", A)]);
            let process = world.process("adding");
            process.open(Path::new(private), Open::Read).unwrap().set_mode(0o600).unwrap();
            let opened = Opened::open(&process).unwrap();
            let options = AddOptions { take_in, ..AddOptions::default() };
            assert_eq!(opened.add(&["/src"], &options).unwrap().failed, 0);
            assert_eq!(mode_of(&world, Path::new("/store/names").join(&public[1..])), 0o444, "{public} {take_in:?}");
            kit::agrees(&world, &opened);
            kit::nothing_is_left_over(&world, &opened);
            let stays = take_in == larder::work::ingest::TakeIn::Link;
            assert_eq!(world.read(private).is_some(), stays);
            if stays {
                assert_eq!(mode_of(&world, private), 0o600);
                assert_eq!(world.read(public).unwrap(), A);
            }
        }
    }
}

/// Whoever is refused the name has nothing kept for it.
#[test]
fn a_refused_name_keeps_nothing_once_more() {
    let world = begun(6);
    let opened = Opened::open(&world.process("adding")).unwrap();
    opened.put("/all/b", "all/a", B).unwrap();
    let options = AddOptions { prefix: Some(larder::Name::new("all").unwrap()), ..AddOptions::default() };
    assert_eq!(opened.add(&["/all/a"], &options).unwrap().failed, 1);
    assert_eq!(carriers(&opened), 0);
    kit::agrees(&world, &opened);
}
