//! `check --repair` of names that were taken away and whose files stayed: the journal's last word holds.

use std::path::PathBuf;
use std::time::Duration;

use crate::kit::{self, Opened, asides, at, blob, digest, name, not_moved, not_unlinked, repaired, report, world};
use larder::format::settings::Durability;
use larder::ledger::Tables;
use larder::machine::simulated::{Enumeration, Fault, World};
use larder::machine::{Machine, Open};
use larder::work::check::check;
use larder::work::ingest::AddOptions;
use larder::work::mend::mend;
use larder::work::names::{Target, link, rename};
use larder::{FindingCode, Silent};

const A: &[u8] = b"the bytes of the first file";
const B: &[u8] = b"the bytes of another one..!";

/// Two names of A, of which the second goes while one call fails, and `keeps`: whether the first stays.
fn departed(seed: u64, keeps: bool, fault: Fault) -> World {
    let world = world(seed, Durability::Batch, &[("/src/a", A), ("/src/b", B)]);
    let process = world.process("before");
    let opened = Opened::open(&process).unwrap();
    opened.add(&["/src/a", "/src/b"], &AddOptions::default()).unwrap();
    link(&opened.ctx(), &Target::Digest(digest(A)), &name("deep/gone"), false, None).unwrap();
    world.fail(fault.process(process.number()).always());
    opened.remove(&["deep/gone"]).unwrap();
    drop(opened);
    if !keeps {
        Opened::open(&world.process("rm")).unwrap().remove(&["a"]).unwrap();
    }
    assert!(
        Opened::open(&world.process("looking"))
            .unwrap()
            .ledger
            .snapshot()
            .unwrap()
            .alias(&name("deep/gone"))
            .unwrap()
            .is_none()
    );
    world.settle();
    world
}

/// The name is gone and so is its file, whoever looks.
fn is_gone(world: &World) {
    let opened = Opened::open(&world.process("looking")).unwrap();
    opened.ledger.hold(|_| Ok(())).unwrap();
    let snapshot = opened.ledger.snapshot().unwrap();
    assert!(snapshot.alias(&name("deep/gone")).unwrap().is_none(), "the name came back");
    assert!(snapshot.name_finding(&name("deep/gone")).unwrap().is_none(), "the trouble is over");
    assert!(world.look(at("deep/gone")).is_none() && asides(world) == 0, "its file stayed");
    let report = check(&opened.ctx(), &Silent).unwrap();
    assert_eq!(report.findings, 0, "{report:?}");
    kit::agrees(world, &opened);
}

#[test]
fn a_name_whose_file_could_not_be_moved_goes() {
    let world = departed(1, true, not_moved());
    assert!(world.look(at("deep/gone")).is_some(), "nothing to repair");
    let (_, report) = repaired(&world);
    assert_eq!((report.failed, report.by_code.get(&FindingCode::NameDeparted)), (0, Some(&1)), "{report:?}");
    is_gone(&world);
    assert_eq!(world.read(at("a")).as_deref(), Some(A));
}

#[test]
fn a_name_whose_file_stayed_aside_goes() {
    for keeps in [true, false] {
        let world = departed(2, keeps, not_unlinked());
        assert_eq!(asides(&world), 1, "nothing to repair");
        let (_, report) = repaired(&world);
        assert_eq!(report.failed, 0, "{report:?}");
        is_gone(&world);
    }
}

/// The blob was collected meanwhile: what is left of it is a blob again, with its whole grace before it, and no name.
#[test]
fn what_stays_of_a_blob_that_was_collected_is_a_blob_again() {
    for fault in [not_moved(), not_unlinked()] {
        let world = departed(3, false, fault);
        let opened = Opened::open(&world.process("gc")).unwrap();
        opened.collect_with(Duration::ZERO, Duration::ZERO).unwrap();
        drop(opened);
        assert!(world.look(blob(A)).is_none(), "nothing was collected");
        let (opened, report) = repaired(&world);
        assert_eq!((report.failed, report.after.findings), (0, 0), "{report:?}");
        assert_eq!(world.read(blob(A)).as_deref(), Some(A));
        let snapshot = opened.ledger.snapshot().unwrap();
        assert!(snapshot.blob(&digest(A)).unwrap().is_some() && snapshot.unrooted(&digest(A)).unwrap().is_some());
        drop(opened);
        is_gone(&world);
        let opened = Opened::open(&world.process("gc")).unwrap();
        opened.collect_with(Duration::ZERO, Duration::ZERO).unwrap();
        assert!(world.look(blob(A)).is_none());
    }
}

/// Other bytes, or a file that somebody may write to, are not what larder left.
#[test]
fn what_somebody_else_put_there_stays() {
    for (bytes, mode) in [(B, 0o444), (A, 0o644), (b"short".as_slice(), 0o444)] {
        let world = departed(4, false, not_moved());
        let vandal = world.process("vandal");
        Opened::open(&vandal).unwrap().collect_with(Duration::ZERO, Duration::ZERO).unwrap();
        vandal.unlink(&at("deep/gone")).unwrap();
        world.put(at("deep/gone"), bytes);
        vandal.open(&at("deep/gone"), Open::Read).unwrap().set_mode(mode).unwrap();
        let (opened, report) = repaired(&world);
        assert_eq!(report.after.findings, 1, "{report:?}");
        assert_eq!(world.read(at("deep/gone")).as_deref(), Some(bytes));
        assert_eq!(world.look(at("deep/gone")).unwrap().mode, mode);
        assert!(opened.ledger.snapshot().unwrap().alias(&name("deep/gone")).unwrap().is_none());
        assert!(world.look(blob(A)).is_none());
    }
}

/// A damaged stretch of the journal may hide that the name was given again.
#[test]
fn with_a_damaged_journal_every_name_on_the_disk_is_kept() {
    let world = departed(5, true, not_moved());
    let is = |path: &PathBuf| path.starts_with("/store/journal") && path.to_string_lossy().ends_with(".log");
    let segment = world.tree().into_keys().find(is).unwrap();
    let bytes = world.read(&segment).unwrap();
    let begins: Vec<usize> =
        (0..bytes.len().saturating_sub(4)).step_by(8).filter(|at| &bytes[*at..*at + 4] == b"LFr1").collect();
    assert!(world.corrupt(&segment, begins[0] as u64 + 110));
    let (opened, report) = repaired(&world);
    assert_eq!((report.failed, report.after.findings), (0, 0), "{report:?}");
    assert!(opened.ledger.snapshot().unwrap().alias(&name("deep/gone")).unwrap().is_some());
}

/// A name that was taken away and means other bytes again, and a rename that failed half-way.
#[test]
fn what_a_rename_left_goes_and_what_it_made_stays() {
    let world = world(6, Durability::Batch, &[("/src/a", A)]);
    let process = world.process("before");
    let opened = Opened::open(&process).unwrap();
    opened.put("/src/a", "deep/gone", A).unwrap();
    world.fail(not_moved().process(process.number()).always());
    rename(&opened.ctx(), &name("deep/gone"), &name("new"), false).unwrap();
    drop(opened);
    assert!(world.look(at("deep/gone")).is_some(), "nothing to repair");
    let (_, report) = repaired(&world);
    assert_eq!((report.failed, report.after.findings), (0, 0), "{report:?}");
    is_gone(&world);
    assert_eq!(world.read(at("new")).as_deref(), Some(A));
}

#[test]
fn taking_a_name_away_after_all_survives_a_crash_at_every_call() {
    for (seed, fault, keeps) in [(7, not_moved(), true), (8, not_moved(), false), (9, not_unlinked(), false)] {
        let start = departed(seed, keeps, fault);
        if !keeps {
            let opened = Opened::open(&start.process("gc")).unwrap();
            opened.collect_with(Duration::ZERO, Duration::ZERO).unwrap();
            drop(opened);
            start.settle();
        }
        let workload = |process: &_| {
            let opened = Opened::open(process).unwrap();
            assert_eq!(mend(&opened.ctx(), &Silent).unwrap().failed, 0);
        };
        let coverage = Enumeration::new(seed, &start).power_cuts(workload, |_, world, _| {
            kit::never_lies(world);
            let (_, report) = repaired(world);
            assert_eq!((report.failed, report.after.findings), (0, 0), "{report:?}");
            is_gone(world);
            assert_eq!(world.read(blob(A)).as_deref(), Some(A), "the only copy of the bytes is gone");
        });
        report("taking a name away", coverage);
    }
}
