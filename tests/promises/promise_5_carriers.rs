//! Promise 5, with several copies: carriers are on record and synced before they count, go with their blob, heal it, and
//! are healed by it, whatever crashes or fails on the way.

use std::sync::Arc;
use std::time::Duration;

use crate::kit::{self, Account, Contest, Opened, digest, finished, for_seeds, is_aborted, many, report, world};
use larder::format::layout::Layout;
use larder::format::settings::Durability;
use larder::ledger::Tables;
use larder::machine::Machine;
use larder::machine::simulated::{Enumeration, Log, Simulated, World, errno, task};
use larder::work::copies::{CopiesOptions, CopiesReport, copies};
use larder::work::ingest::AddOptions;
use larder::work::repair::{RepairOptions, RepairScope, repair};
use larder::work::verify::{VerifyOptions, verify};
use larder::{Event, Observer, Prefix, Result, Silent};

const A: &[u8] = b"the bytes of the first file";
const B: &[u8] = b"other bytes, of the second file";
const KNOWN: [(&str, &[u8]); 3] = [("src/a", A), ("src/again/a", A), ("src/b", B)];

/// Notes what is told of copies.
struct Noting<'a>(&'a Arc<Simulated>);

impl Observer for Noting<'_> {
    fn event(&self, event: &Event) {
        if let Event::Copies { digest, copies, .. } = event {
            self.0.note(&format!("{copies} copies of {digest}"));
        }
    }
}

fn keep(opened: &Opened, count: u32) -> Result<CopiesReport> {
    let options = CopiesOptions { copies: count, dry_run: false };
    copies(&opened.ctx(), &[], &[Prefix::Everything], &options, &Noting(&opened.process))
}

/// A store that keeps `count` copies of two blobs; the sources are gone.
fn begun(seed: u64, count: u32) -> World {
    let world = world(seed, Durability::Batch, &[("/src/a", A), ("/src/again/a", A), ("/src/b", B), ("/more/b", B)]);
    let opened = Opened::open(&world.process("before")).unwrap();
    opened.add(&["/src"], &AddOptions::default()).unwrap();
    assert_eq!(keep(&opened, count).unwrap().made, 2 * u64::from(count - 1));
    let vandal = world.process("vandal");
    ["/src/a", "/src/again/a", "/src/b"].iter().for_each(|path| vandal.unlink(path.as_ref()).unwrap());
    world.settle();
    world
}

fn count_of(opened: &Opened, bytes: &[u8]) -> usize {
    opened.ledger.snapshot().unwrap().carriers(&digest(bytes)).unwrap().len() + 1
}

/// What is on record is there; what was told holds; nothing is left over, and the same command goes on.
fn holds(world: &World, log: &Log, count: u32, troubled: bool) {
    let mut opened = Opened::open(&world.process("recovery")).unwrap();
    opened.troubled = troubled;
    opened.ledger.hold(|_| Ok(())).expect("the store can be written after any crash");
    Account::knowing(&KNOWN).holds(opened.ledger.snapshot().unwrap().as_ref());
    kit::never_lies(world);
    kit::agrees(world, &opened);
    for bytes in [A, B] {
        if log.noted(&format!("{count} copies of {}", digest(bytes))) {
            assert_eq!(count_of(&opened, bytes), count as usize, "what was told is not so");
        }
    }
    kit::nothing_is_left_over(world, &opened);
    assert_eq!(keep(&opened, count).expect("it goes on").failed, 0);
    kit::agrees(world, &opened);
    assert_eq!((count_of(&opened, A), count_of(&opened, B)), (count as usize, count as usize));
    let found = verify(&opened.ctx(), &[], &[], &VerifyOptions::default(), &Silent).unwrap();
    assert_eq!((found.ok, found.blobs, found.bad_carriers), (2, 2, 0));
}

#[test]
fn making_and_removing_copies_survives_a_crash_at_every_call() {
    for (from, to) in [(1, 3), (3, 1), (2, 3)] {
        let start = begun(1, from);
        let workload = |process: &Arc<Simulated>| {
            let opened = Opened::open(process).unwrap();
            assert_eq!(keep(&opened, to).unwrap().blobs, 2);
            opened.put("/more/b", "src/b", B).unwrap();
        };
        let cuts = Enumeration::new(1, &start).samples(many(4) as usize);
        report(
            &format!("copies from {from} to {to}"),
            cuts.power_cuts(workload, |_, world, log| holds(world, log, to, false)),
        );
        let mut images = 0;
        let kills = Enumeration::new(1, &start).kills(workload, |number, world, log| {
            Opened::open(&world.process("next")).unwrap().put("/more/b", "src/b", B).unwrap();
            images += kit::each_image(&world.balance(), number, 4, |_, image| holds(image, log, to, false));
            holds(world, log, to, false);
        });
        report(&format!("copies from {from} to {to}, killed ({images} images)"), kills);
    }
}

#[test]
fn failing_calls_while_copies_are_made() {
    let start = begun(2, 1);
    for number in [errno::EIO, errno::ENOSPC] {
        for always in [false, true] {
            let made = |process: &Arc<Simulated>| Opened::open(process).and_then(|opened| keep(&opened, 2));
            let mut images = 0;
            let coverage = Enumeration::new(2, &start).failures(number, always, made, |call, world, outcome| {
                let _told_in_the_log = finished(outcome);
                let log = world.log();
                images += kit::each_image(&world.balance(), call, 2, |_, image| holds(image, &log, 2, true));
                if !is_aborted(world) {
                    holds(world, &log, 2, true);
                }
            });
            report(&format!("copies, errno {number}, always: {always} ({images} images)"), coverage);
        }
    }
}

fn spoil(world: &World, own: bool, carrier: bool) {
    let layout = Layout::new(kit::STORE);
    if own {
        assert!(world.corrupt(layout.blob(&digest(A)), 5));
    }
    if carrier {
        assert!(world.corrupt(layout.carrier(&digest(A), 1), 7));
    }
}

/// The blob's own file is bad, or one of its carriers, or both: a good one is left.
#[test]
fn a_carrier_heals_its_blob_and_the_blob_its_carriers_whatever_crashes() {
    for (own, carrier) in [(true, false), (false, true), (true, true)] {
        let start = begun(3, 3);
        spoil(&start, own, carrier);
        start.settle();
        let workload = |process: &Arc<Simulated>| {
            let opened = Opened::open(process).unwrap();
            let done = repair(&opened.ctx(), &RepairScope::All, &RepairOptions::default(), &Silent).unwrap();
            assert_eq!((done.repaired, done.carriers, done.unrepaired), (u64::from(own), u64::from(carrier), 0));
            process.note("repaired");
        };
        let check = |world: &World, log: &Log| {
            let opened = Opened::open(&world.process("recovery")).unwrap();
            opened.ledger.hold(|_| Ok(())).unwrap();
            let bad = |path: &std::path::PathBuf| {
                path.starts_with("/store") && world.read(path).is_some_and(|b| b.len() == A.len() && b != A)
            };
            let evidence = || world.tree().into_keys().filter(bad).count();
            assert!(evidence() > 0, "the evidence is gone");
            if !log.noted("repaired") {
                let again = repair(&opened.ctx(), &RepairScope::All, &RepairOptions::default(), &Silent).unwrap();
                assert_eq!(again.unrepaired, 0);
            }
            drop(opened);
            holds(world, log, 3, false);
            assert!(evidence() >= usize::from(own) + usize::from(carrier), "the evidence is gone");
        };
        let cuts = Enumeration::new(3, &start).samples(many(4) as usize);
        report(
            &format!("repair of own: {own}, carrier: {carrier}"),
            cuts.power_cuts(workload, |_, world, log| check(world, log)),
        );
        let kills = Enumeration::new(3, &start).kills(workload, |number, world, log| {
            Opened::open(&world.process("next")).unwrap().put("/more/b", "src/b", B).unwrap();
            kit::each_image(&world.balance(), number, 4, |_, image| check(image, log));
            check(world, log);
        });
        report(&format!("repair of own: {own}, carrier: {carrier}, killed"), kills);
    }
}

#[test]
fn carriers_are_collected_with_their_blob_whatever_crashes() {
    let start = begun(4, 3);
    let workload = |process: &Arc<Simulated>| {
        let opened = Opened::open(process).unwrap();
        opened.remove(&["src/b"]).unwrap();
        assert_eq!(opened.collect(Duration::ZERO).unwrap().removed_blobs, 1);
        process.note("collected");
    };
    let check = |world: &World, log: &Log| {
        let opened = Opened::open(&world.process("recovery")).unwrap();
        opened.ledger.hold(|_| Ok(())).unwrap();
        kit::agrees(world, &opened);
        kit::nothing_is_left_over(world, &opened);
        assert_eq!(count_of(&opened, A), 3, "another blob lost its carriers");
        let layout = Layout::new(kit::STORE);
        let left = (1..=2).filter(|n| world.read(layout.carrier(&digest(B), *n)).is_some()).count();
        let rooted = opened.ledger.snapshot().unwrap().blob(&digest(B)).unwrap().is_some();
        assert_eq!(left, if rooted { 2 } else { 0 });
        assert!(!log.noted("collected") || !rooted);
    };
    let cuts = Enumeration::new(4, &start).samples(many(4) as usize);
    report("gc of a blob with carriers", cuts.power_cuts(workload, |_, world, log| check(world, log)));
}

#[test]
fn copies_beside_others() {
    let start = begun(5, 2).snapshot();
    let tasks = || {
        let keeps = |name: &'static str, count: u32| {
            task(name, move |process: Arc<Simulated>| -> Result<()> { keep(&Opened::open(&process)?, count).map(drop) })
        };
        let mends = task("repair", |process: Arc<Simulated>| -> Result<()> {
            let opened = Opened::open(&process)?;
            repair(&opened.ctx(), &RepairScope::All, &RepairOptions::default(), &Silent).map(drop)
        });
        let collect = task("collect", |process: Arc<Simulated>| -> Result<()> {
            Opened::open(&process)?.collect_with(Duration::ZERO, Duration::ZERO).map(drop)
        });
        vec![keeps("three", 3), keeps("one", 1), mends, collect]
    };
    for_seeds("copies beside copies, repair and collection", 150, |seed| {
        Contest { start: &start, known: &KNOWN, seed, steps: 400, tasks: &tasks }.run(|world, account| {
            let mut opened = Opened::open(&world.process("after")).unwrap();
            opened.troubled = account.troubled;
            opened.ledger.hold(|_| Ok(())).unwrap();
            account.holds(opened.ledger.snapshot().unwrap().as_ref());
            drop(opened);
            holds(world, &Log::default(), 2, account.troubled);
        });
    });
}

/// The last good bytes are not removed because a record says that there are others.
#[test]
fn no_copy_is_removed_while_the_blob_itself_is_bad() {
    let world = begun(6, 3);
    spoil(&world, true, false);
    let opened = Opened::open(&world.process("keeper")).unwrap();
    let done = keep(&opened, 1).unwrap();
    assert_eq!((done.failed, done.blobs), (1, 1));
    assert_eq!((count_of(&opened, A), count_of(&opened, B)), (3, 1));
}

const MANY: [&str; 9] = ["0", "1", "2", "3", "4", "5", "6", "7", "8"];

/// A machine on which a file has few names, and nine files that are the same.
fn crowded(seed: u64) -> World {
    let paths: Vec<String> = MANY.iter().map(|n| format!("/many/{n}")).collect();
    let sources: Vec<(&str, &[u8])> = paths.iter().map(|path| (path.as_str(), A)).chain([("/src/b", B)]).collect();
    let world = world(seed, Durability::Batch, &sources);
    world.configure(|options| options.link_limit = 4);
    world
}

/// How many inodes the names of A are links to; each of them has its bytes.
fn spread(world: &World, opened: &Opened) -> usize {
    let names = opened.ledger.snapshot().unwrap().names_of(&digest(A)).unwrap();
    let inodes = names.iter().map(|name| {
        let path = opened.ledger.layout.name(name);
        assert_eq!(world.read(&path).as_deref(), Some(A), "names/{name}");
        world.look(&path).unwrap().inode
    });
    inodes.collect::<std::collections::BTreeSet<_>>().len()
}

#[test]
fn names_beyond_the_link_limit_are_links_to_carriers() {
    let world = crowded(7);
    let opened = Opened::open(&world.process("adder")).unwrap();
    assert_eq!(opened.add(&["/many"], &AddOptions::default()).unwrap().failed, 0);
    assert_eq!(opened.ledger.snapshot().unwrap().all_name_findings().count(), 0);
    assert!(spread(&world, &opened) >= 3, "{} inodes", spread(&world, &opened));
    kit::agrees(&world, &opened);
    // One more name, another meaning, none: each finds its place, and leaves it.
    opened.rename("many/8", "many/other", A).unwrap();
    opened.put("/src/b", "many/7", B).unwrap();
    opened.remove(&["many/0", "many/6"]).unwrap();
    kit::agrees(&world, &opened);
    assert_eq!(opened.ledger.snapshot().unwrap().all_name_findings().count(), 0);
    // Carriers with names are kept, whatever is asked for.
    keep(&opened, 1).unwrap();
    kit::agrees(&world, &opened);
    // Bad bytes go, and all names of them lead to good ones again.
    let carriers = opened.ledger.snapshot().unwrap().carriers(&digest(A)).unwrap();
    let path = opened.ledger.layout.carrier(&digest(A), carriers[0].0);
    assert!(world.corrupt(path, 3));
    assert!(world.corrupt(opened.ledger.blobs.path(&digest(A)), 3));
    let done = repair(&opened.ctx(), &RepairScope::All, &RepairOptions::default(), &Silent).unwrap();
    assert_eq!((done.repaired, done.carriers, done.unrepaired), (1, 1, 0));
    kit::agrees(&world, &opened);
    spread(&world, &opened);
    kit::nothing_is_left_over(&world, &opened);
    opened.remove(&["many"]).unwrap();
    kit::nothing_is_left_over(&world, &opened);
    assert_eq!(opened.ledger.carriers.list().unwrap(), []);
}

#[test]
fn names_beyond_the_link_limit_survive_a_crash_at_every_call() {
    let start = crowded(8);
    let workload = |process: &Arc<Simulated>| {
        let opened = Opened::open(process).unwrap();
        opened.add(&["/many"], &AddOptions::default()).unwrap();
        opened.rename("many/8", "many/other", A).unwrap();
    };
    let check = |world: &World, log: &Log| {
        world.configure(|options| options.link_limit = 4);
        let mut opened = Opened::open(&world.process("recovery")).unwrap();
        opened.troubled = true;
        opened.ledger.hold(|_| Ok(())).unwrap();
        Account::of(log).holds(opened.ledger.snapshot().unwrap().as_ref());
        kit::never_lies(world);
        kit::agrees(world, &opened);
        // The next repair finds room for what had none.
        repair(&opened.ctx(), &RepairScope::Known, &RepairOptions::default(), &Silent).unwrap();
        opened.troubled = false;
        kit::agrees(world, &opened);
        spread(world, &opened);
        kit::nothing_is_left_over(world, &opened);
    };
    let cuts = Enumeration::new(8, &start).images(larder::machine::simulated::Images::Basic).samples(many(2) as usize);
    report("names beyond the link limit", cuts.power_cuts(workload, |_, world, log| check(world, log)));
    report("the same, killed", Enumeration::new(8, &start).kills(workload, |_, world, log| check(world, log)));
}
