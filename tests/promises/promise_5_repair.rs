//! Promise 5, the mending: whatever crashes or fails while good bytes are put in the place of bad or missing ones, the
//! blob is as it was or whole, its names lead to it, the bad bytes are kept, and the next repair goes on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::kit::{self, Account, Contest, Opened, digest, finished, for_seeds, is_aborted, many, report, world};
use larder::format::layout::Layout;
use larder::format::settings::Durability;
use larder::ledger::Tables;
use larder::machine::Machine;
use larder::machine::simulated::{Enumeration, Log, Simulated, World, errno, task};
use larder::work::ingest::AddOptions;
use larder::work::repair::{RepairOptions, RepairReport, RepairScope, repair};
use larder::work::verify::{VerifyOptions, verify};
use larder::{Event, Observer, Result, Silent};

const A: &[u8] = b"the bytes of the first file";
const B: &[u8] = b"other bytes, of the second file";
const C: &[u8] = b"what the third file holds";
const KNOWN: [(&str, &[u8]); 4] = [("src/a", A), ("src/again/a", A), ("src/b", B), ("src/c", C)];

/// A store whose blob A, with two names, is corrupt and whose blob C is missing with its name; both sources are there.
fn damaged(seed: u64) -> World {
    let sources = [("/src/a", A), ("/src/again/a", A), ("/src/b", B), ("/src/c", C)];
    let world = world(seed, Durability::Batch, &sources);
    Opened::open(&world.process("before")).unwrap().add(&["/src"], &AddOptions::default()).unwrap();
    let layout = Layout::new(kit::STORE);
    assert!(world.corrupt(layout.blob(&digest(A)), 5));
    let vandal = world.process("vandal");
    vandal.unlink(&layout.blob(&digest(C))).unwrap();
    vandal.unlink(&layout.names().join("src/c")).unwrap();
    world.settle();
    world
}

/// Notes what is told.
struct Noting<'a>(&'a Arc<Simulated>);

impl Observer for Noting<'_> {
    fn event(&self, event: &Event) {
        if let Event::Repaired(told) = event {
            self.0.note(&format!("{} {}", told.status.word(), told.digest));
        }
    }
}

fn mends(opened: &Opened) -> Result<RepairReport> {
    repair(&opened.ctx(), &RepairScope::All, &RepairOptions::default(), &Noting(&opened.process))
}

/// Files of the store whose bytes are those of the spoilt blob.
fn bad_files(world: &World) -> usize {
    let is_bad = |path: &PathBuf| world.read(path).is_some_and(|bytes| bytes.len() == A.len() && bytes != A);
    world.tree().into_keys().filter(|path| path.starts_with("/store") && is_bad(path)).count()
}

/// What was told as repaired is, whatever happened after it; what was not can be; nothing is left over, and the bad
/// bytes are in quarantine. `troubled`: calls have failed, and a name that could not be applied is a finding on record.
fn holds(world: &World, log: &Log, troubled: bool) {
    let mut opened = Opened::open(&world.process("recovery")).unwrap();
    opened.troubled = troubled;
    opened.ledger.hold(|_| Ok(())).expect("the store can be written after any crash");
    let snapshot = opened.ledger.snapshot().unwrap();
    let mut account = Account::knowing(&KNOWN);
    account.go_on(log);
    account.holds(snapshot.as_ref());
    assert!(bad_files(world) > 0, "the evidence is gone");
    let told = |bytes: &[u8]| log.noted(&format!("repaired {}", digest(bytes)));
    for bytes in [A, C] {
        let now = world.read(opened.ledger.blobs.path(&digest(bytes)));
        assert!(!told(bytes) || now.as_deref() == Some(bytes), "what was told as repaired is not");
    }
    if told(A) && told(C) {
        kit::agrees(world, &opened);
        kit::never_lies(world);
    }
    let again = mends(&opened).expect("repairing goes on");
    assert_eq!((again.repaired + again.sound, again.unrepaired), (3, 0), "{again:?}");
    kit::agrees(world, &opened);
    kit::nothing_is_left_over(world, &opened);
    let found = verify(&opened.ctx(), &[], &[], &VerifyOptions::default(), &Silent).unwrap();
    assert_eq!((found.ok, found.blobs), (3, 3), "{found:?}");
    let kept = world.tree().into_keys().filter(|path| path.starts_with("/store/quarantine"));
    assert!(kept.count() > 0 && bad_files(world) > 0, "the evidence is gone");
}

fn workload(process: &Arc<Simulated>) {
    let opened = Opened::open(process).unwrap();
    let done = mends(&opened).unwrap();
    assert_eq!((done.repaired, done.sound, done.unrepaired), (2, 1, 0));
    opened.put("/src/b", "unrelated", B).unwrap();
}

#[test]
fn repairing_survives_a_power_cut_at_every_call() {
    let start = damaged(1);
    let cuts = Enumeration::new(1, &start).samples(many(6) as usize);
    report("repair", cuts.power_cuts(workload, |_, world, log| holds(world, log, false)));
}

#[test]
fn repairing_survives_a_kill_at_every_call_and_a_power_cut_after_it() {
    let start = damaged(2);
    let mut images = 0;
    let kills = Enumeration::new(2, &start).kills(workload, |number, world, log| {
        let next = Opened::open(&world.process("next")).unwrap();
        next.put("/src/b", "next", B).unwrap();
        drop(next);
        images += kit::each_image(&world.balance(), number, 4, |_, image| holds(image, log, false));
        holds(world, log, false);
    });
    report(&format!("repair, killed ({images} images)"), kills);
}

#[test]
fn a_failing_call_is_an_error_and_the_next_repair_goes_on() {
    let start = damaged(3);
    for number in [errno::EIO, errno::ENOSPC, errno::EMLINK] {
        for always in [false, true] {
            let mut images = 0;
            let done = |process: &Arc<Simulated>| Opened::open(process).and_then(|opened| mends(&opened));
            let coverage = Enumeration::new(3, &start).failures(number, always, done, |call, world, outcome| {
                let came = finished(outcome);
                let whole = matches!(came, Ok(report) if report.repaired == 2);
                let log = world.log();
                assert_eq!(
                    whole,
                    log.noted(&format!("repaired {}", digest(C))) && log.noted(&format!("repaired {}", digest(A)))
                );
                images += kit::each_image(&world.balance(), call, 2, |_, image| holds(image, &log, true));
                if !is_aborted(world) {
                    holds(world, &log, true);
                }
            });
            report(&format!("repair, errno {number}, always: {always} ({images} images)"), coverage);
        }
    }
}

/// Several repairs, additions of good bytes, a quarantine and a collection at once.
#[test]
fn repairing_beside_others() {
    let start = damaged(4).snapshot();
    let tasks = || {
        let mend = |name: &'static str| {
            task(name, move |process: Arc<Simulated>| -> Result<()> { mends(&Opened::open(&process)?).map(drop) })
        };
        let heal = task("heal", |process: Arc<Simulated>| -> Result<()> {
            let options = AddOptions { verify_existing: true, ..AddOptions::default() };
            Opened::open(&process)?.add(&["/src"], &options).map(drop)
        });
        let collect = task("collect", |process: Arc<Simulated>| -> Result<()> {
            Opened::open(&process)?.collect_with(Duration::ZERO, Duration::ZERO).map(drop)
        });
        vec![mend("one"), mend("other"), heal, collect]
    };
    for_seeds("repairing beside repairing, adding and collecting", 150, |seed| {
        Contest { start: &start, known: &KNOWN, seed, steps: 500, tasks: &tasks }.run(|world, account| {
            let opened = Opened::open(&world.process("after")).unwrap();
            opened.ledger.hold(|_| Ok(())).unwrap();
            account.holds(opened.ledger.snapshot().unwrap().as_ref());
            if !account.troubled {
                drop(opened);
                holds(world, &Log::default(), false);
            }
        });
    });
}

/// Without any good bytes: what is wrong is moved away, so that nobody gets it, and comes back as soon as there is a copy.
#[test]
fn what_cannot_be_repaired_is_moved_away_and_waits() {
    let start = damaged(5);
    for path in ["/src/a", "/src/again/a", "/src/c"] {
        start.process("vandal").unlink(path.as_ref()).unwrap();
    }
    start.settle();
    let workload = |process: &Arc<Simulated>| {
        let opened = Opened::open(process).unwrap();
        let done = mends(&opened).unwrap();
        assert_eq!((done.repaired, done.sound, done.unrepaired), (0, 1, 2));
        process.note("moved away");
    };
    let coverage = Enumeration::new(5, &start).samples(4).power_cuts(workload, |_, world, log| {
        let opened = Opened::open(&world.process("recovery")).unwrap();
        opened.ledger.hold(|_| Ok(())).unwrap();
        assert!(bad_files(world) > 0, "the evidence is gone");
        if log.noted("moved away") {
            assert!(opened.ledger.snapshot().unwrap().damaged(&digest(A)).unwrap().is_some());
            kit::never_lies(world);
        }
        world.put_dir("/found");
        world.put("/found/a", A);
        world.put("/found/c", C);
        let options = RepairOptions { from: vec!["/found".into()], ..RepairOptions::default() };
        let told = repair(&opened.ctx(), &RepairScope::All, &options, &Silent).unwrap();
        assert_eq!(told.unrepaired, 0);
        kit::agrees(world, &opened);
        kit::nothing_is_left_over(world, &opened);
    });
    report("no good bytes", coverage);
}

/// A source that has other bytes by now, of the same length and with the same times, and as good as everything that is
/// offered: a stamp proves nothing.
#[test]
fn a_candidate_with_other_bytes_is_never_used() {
    let world = damaged(6);
    assert!(world.corrupt("/src/a", 3));
    assert!(world.corrupt("/src/again/a", 4));
    world.put_dir("/found");
    world.put("/found/one", C);
    world.put("/found/other", &A.iter().rev().copied().collect::<Vec<_>>());
    let opened = Opened::open(&world.process("mender")).unwrap();
    let options = RepairOptions { from: vec!["/found".into()], ..RepairOptions::default() };
    let told = repair(&opened.ctx(), &RepairScope::All, &options, &Silent).unwrap();
    assert_eq!((told.repaired, told.unrepaired), (1, 1));
    kit::never_lies(&world);
    assert!(opened.ledger.snapshot().unwrap().damaged(&digest(A)).unwrap().is_some());
    assert!(bad_files(&world) > 0, "the evidence is gone");
}
