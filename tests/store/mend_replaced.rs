//! `check --repair` of names that were given another meaning, or whose blob was healed, and whose former file stayed.

use std::path::Path;
use std::time::Duration;

use crate::kit::{self, Opened, asides, at, blob, digest, name, not_moved, not_unlinked, repaired, report, world};
use larder::Silent;
use larder::format::layout::Layout;
use larder::format::settings::Durability;
use larder::ledger::Tables;
use larder::machine::simulated::{Enumeration, Fault, Schedule, World, task};
use larder::machine::{Machine, Open};
use larder::work::check::check;
use larder::work::copies::{CopiesOptions, copies};
use larder::work::ingest::{AddOptions, AliasKind};
use larder::work::mend::mend;
use larder::work::names::Target;

const A: &[u8] = b"the bytes of the first file";
const B: &[u8] = b"the bytes of another one..!";
const BAD: &[u8] = b"the bytes of the first fily";

fn quarantined(world: &World, bytes: &[u8]) -> usize {
    let kept = world.tree().into_keys().filter(|path| path.parent() == Some(Path::new("/store/quarantine")));
    kept.filter(|path| world.read(path).as_deref() == Some(bytes)).count()
}

fn sources(seed: u64) -> World {
    world(seed, Durability::Batch, &[("/src/a", A), ("/src/b", B)])
}

/// The name `deep/x` means A and then B, while one call fails. `keeps`: whether A has another name.
fn replaced(seed: u64, keeps: bool, fault: Fault) -> World {
    let world = sources(seed);
    let process = world.process("before");
    let opened = Opened::open(&process).unwrap();
    opened.put("/src/a", "deep/x", A).unwrap();
    if keeps {
        opened.put("/src/a", "a", A).unwrap();
    }
    world.fail(fault.process(process.number()).always());
    opened.put("/src/b", "deep/x", B).unwrap();
    drop(opened);
    is_unapplied(&world);
    world.settle();
    world
}

fn is_unapplied(world: &World) {
    let opened = Opened::open(&world.process("looking")).unwrap();
    assert!(opened.ledger.snapshot().unwrap().name_finding(&name("deep/x")).unwrap().is_some(), "nothing to repair");
}

fn collect(world: &World) {
    let opened = Opened::open(&world.process("gc")).unwrap();
    opened.collect_with(Duration::ZERO, Duration::ZERO).unwrap();
}

/// The name means these bytes, and nothing is wrong any more.
fn is_mended(world: &World, bytes: &[u8]) {
    let (opened, report) = repaired(world);
    assert_eq!((report.failed, report.after.findings), (0, 0), "{report:?}");
    drop(opened);
    is_clean(world, bytes);
}

fn is_clean(world: &World, bytes: &[u8]) {
    let opened = Opened::open(&world.process("looking")).unwrap();
    opened.ledger.hold(|_| Ok(())).unwrap();
    let report = check(&opened.ctx(), &Silent).unwrap();
    assert_eq!(report.findings, 0, "{report:?}");
    kit::agrees(world, &opened);
    kit::never_lies(world);
    assert_eq!(world.read(at("deep/x")).as_deref(), Some(bytes));
    assert_eq!(asides(world), 0);
}

#[test]
fn a_name_whose_former_file_stayed_gets_its_new_one() {
    for fault in [not_moved(), not_unlinked()] {
        for keeps in [true, false] {
            is_mended(&replaced(1, keeps, fault.clone()), B);
        }
    }
}

/// The former blob was collected meanwhile: the file that stayed is the last one with its bytes, and becomes a blob again.
#[test]
fn what_the_former_file_alone_holds_becomes_a_blob_again() {
    for fault in [not_moved(), not_unlinked()] {
        let world = replaced(2, false, fault);
        collect(&world);
        assert!(world.look(blob(A)).is_none(), "nothing was collected");
        is_mended(&world, B);
        assert_eq!(world.read(blob(A)).as_deref(), Some(A), "the last copy of the former bytes is gone");
        collect(&world);
        assert!(world.look(blob(A)).is_none());
        is_clean(&world, B);
    }
}

/// One call more fails in the same way: one former file stands aside, another one in the place of the name.
#[test]
fn two_former_files_of_one_name_go() {
    let world = replaced(3, true, not_unlinked());
    let process = world.process("again");
    process.link(&blob(A), &at("deep/x")).unwrap();
    assert_eq!(asides(&world), 1);
    is_mended(&world, B);
}

#[test]
fn a_name_that_is_counted_now_loses_its_former_file() {
    let world = sources(4);
    let process = world.process("before");
    let opened = Opened::open(&process).unwrap();
    opened.put("/src/a", "deep/x", A).unwrap();
    world.fail(not_moved().process(process.number()).always());
    let (counted, named) = (Some(AliasKind::Counted), Some(name("deep/x")));
    let options = AddOptions { alias: counted, name: named, replace: true, ..AddOptions::default() };
    opened.add(&["/src/b"], &options).unwrap();
    drop(opened);
    is_unapplied(&world);
    let (opened, report) = repaired(&world);
    assert_eq!((report.failed, report.after.findings), (0, 0), "{report:?}");
    kit::agrees(&world, &opened);
    assert!(world.look(at("deep/x")).is_none());
}

/// A link to a carrier of the blob that the name meant.
#[test]
fn a_former_file_that_is_a_carrier_goes() {
    let world = sources(5);
    let process = world.process("before");
    let opened = Opened::open(&process).unwrap();
    opened.put("/src/a", "a", A).unwrap();
    let options = CopiesOptions { copies: 2, dry_run: false };
    copies(&opened.ctx(), &[Target::Digest(digest(A))], &[], &options, &Silent).unwrap();
    opened.put("/src/a", "deep/x", A).unwrap();
    let (number, _) = opened.ledger.snapshot().unwrap().carriers(&digest(A)).unwrap()[0];
    let carrier = Layout::new(kit::STORE).carrier(&digest(A), number);
    process.unlink(&at("deep/x")).unwrap();
    process.link(&carrier, &at("deep/x")).unwrap();
    world.fail(not_moved().process(process.number()).always());
    opened.put("/src/b", "deep/x", B).unwrap();
    drop(opened);
    is_unapplied(&world);
    is_mended(&world, B);
    assert_eq!(world.read(&carrier).as_deref(), Some(A));
}

/// The bytes of A turn bad, and whoever heals them cannot take the name's link to them away.
fn healed(seed: u64, fault: Fault) -> World {
    let world = sources(seed);
    let opened = Opened::open(&world.process("before")).unwrap();
    opened.put("/src/a", "deep/x", A).unwrap();
    drop(opened);
    assert!(world.corrupt(blob(A), A.len() as u64 - 1));
    assert_ne!(world.read(blob(A)).as_deref(), Some(A));
    world.settle();
    let process = world.process("healing");
    let opened = Opened::open(&process).unwrap();
    world.fail(fault.process(process.number()).always());
    let options = AddOptions { verify_existing: true, name: Some(name("again")), ..AddOptions::default() };
    opened.add(&["/src/a"], &options).unwrap();
    drop(opened);
    is_unapplied(&world);
    assert_eq!(world.read(blob(A)).as_deref(), Some(A), "it was not healed");
    world.settle();
    world
}

#[test]
fn a_name_of_a_healed_blob_that_is_still_its_bad_file_gets_the_good_one() {
    for fault in [not_moved(), not_unlinked()] {
        let world = healed(6, fault);
        is_mended(&world, A);
        let kept = world.tree().into_keys().filter(|path| path.parent() == Some(Path::new("/store/quarantine")));
        assert!(kept.count() > 0, "the evidence is gone");
    }
}

/// The name was taken away since, and its file still is the bad one.
#[test]
fn the_bad_file_of_a_name_that_was_taken_away_goes() {
    let world = healed(7, not_moved());
    Opened::open(&world.process("rm")).unwrap().remove(&["deep/x"]).unwrap();
    assert!(world.look(at("deep/x")).is_some(), "nothing to repair");
    let (opened, report) = repaired(&world);
    assert_eq!((report.failed, report.after.findings), (0, 0), "{report:?}");
    assert!(world.look(at("deep/x")).is_none());
    kit::agrees(&world, &opened);
}

/// Other bytes, or a file that somebody may write to, or one that has bytes of the former length: nobody's business.
#[test]
fn what_somebody_else_put_there_stays() {
    for (bytes, mode) in [(BAD, 0o444), (A, 0o644), (b"short".as_slice(), 0o444)] {
        let world = replaced(8, false, not_moved());
        collect(&world);
        let vandal = world.process("vandal");
        vandal.unlink(&at("deep/x")).unwrap();
        world.put(at("deep/x"), bytes);
        vandal.open(&at("deep/x"), Open::Read).unwrap().set_mode(mode).unwrap();
        let (_, report) = repaired(&world);
        assert_eq!(report.after.findings, 1, "{report:?}");
        assert_eq!(world.read(at("deep/x")).as_deref(), Some(bytes));
        assert_eq!(world.look(at("deep/x")).unwrap().mode, mode);
        assert!(world.look(blob(A)).is_none());
        assert_eq!(asides(&world), 0);
    }
}

/// It is replaced by somebody else's file at any moment of the repair.
#[test]
fn what_comes_there_meanwhile_stays() {
    for (seed, fault) in (0..120).map(|seed| (seed, if seed % 2 == 0 { not_moved() } else { not_unlinked() })) {
        let world = replaced(seed, true, fault);
        world.put("/src/mine", b"mine");
        let tasks = vec![
            task("repair", |process| _ = mend(&Opened::open(&process).unwrap().ctx(), &Silent)),
            task("vandal", move |process| {
                let busy = Path::new("/src/busy");
                for _ in 0..seed / 2 {
                    process.link(Path::new("/src/b"), busy).and_then(|()| process.unlink(busy)).unwrap();
                }
                process.rename(Path::new("/src/mine"), &at("deep/x")).unwrap();
            }),
        ];
        Schedule::seeded(seed).run(&world, tasks);
        let mut files = world.tree().into_keys();
        assert!(files.any(|path| world.read(path).as_deref() == Some(b"mine")), "somebody else's file is gone, {seed}");
    }
}

#[test]
fn mending_a_name_whose_former_file_stayed_survives_a_crash_at_every_call() {
    let gone = |seed, fault| {
        let world = replaced(seed, false, fault);
        collect(&world);
        world.settle();
        world
    };
    let cases = [
        (10, replaced(10, true, not_moved()), B),
        (11, gone(11, not_moved()), B),
        (12, gone(12, not_unlinked()), B),
        (13, healed(13, not_moved()), A),
        (14, healed(14, not_unlinked()), A),
    ];
    for (seed, start, bytes) in cases {
        let workload = |process: &_| {
            let opened = Opened::open(process).unwrap();
            assert_eq!(mend(&opened.ctx(), &Silent).unwrap().failed, 0);
        };
        let coverage = Enumeration::new(seed, &start).power_cuts(workload, |_, world, _| {
            kit::never_lies(world);
            is_mended(world, bytes);
            assert!(quarantined(world, A) == 0);
            assert_eq!(world.read(blob(A)).as_deref(), Some(A), "the only copy of the former bytes is gone");
        });
        report("mending what was replaced", coverage);
    }
}
