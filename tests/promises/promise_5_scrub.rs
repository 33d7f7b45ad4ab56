//! Promise 5, over time: a scrub is killed at every call, the power is cut at every write, calls fail, and others work
//! beside it. It goes on, misses nothing, and nothing false is on record.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::kit::{self, Contest, Opened, digest, for_seeds, many, report, world};
use larder::format::record::scrub::{PassState, Wrong};
use larder::format::settings::Durability;
use larder::ledger::{Ledger, Tables};
use larder::machine::simulated::{Enumeration, Fault, Log, Simulated, World, errno, run, task};
use larder::work::ingest::AddOptions;
use larder::work::repair::{RepairOptions, RepairScope, repair};
use larder::work::scrub::{ScrubEnd, ScrubOptions, Wanting, scrub, scrub_status, want};
use larder::work::status::{StatusOptions, status};
use larder::{Digest, Event, Observer, Result, Silent};

const A: &[u8] = b"the bytes of the first file";
const B: &[u8] = b"other bytes, of the second file";
const C: &[u8] = b"what the third file holds";
const D: &[u8] = b"the fourth, which nobody spoils";
const E: &[u8] = b"the fifth";
const ALL: [&[u8]; 5] = [A, B, C, D, E];

/// A store in which one blob is corrupt, one missing, and one has a bad sector.
fn begun(seed: u64) -> World {
    let sources = [
        ("/src/a", A),
        ("/src/b", B),
        ("/src/c", C),
        ("/src/d", D),
        ("/src/e", E),
        ("/more/x", &b"more"[..]),
        ("/good/a", A),
    ];
    let world = world(seed, Durability::Batch, &sources);
    let opened = Opened::open(&world.process("before")).unwrap();
    opened.add(&["/src"], &AddOptions::default()).unwrap();
    let path = |bytes| opened.ledger.blobs.path(&digest(bytes));
    assert!(world.corrupt(path(A), 5));
    assert!(world.bad_sector(path(C), 0..1));
    let machine: &dyn larder::machine::Machine = &*opened.process;
    machine.unlink(&path(B)).unwrap();
    drop(opened);
    world.settle();
    world
}

fn bad() -> [(Digest, Wrong); 3] {
    [(digest(A), Wrong::Corrupt), (digest(B), Wrong::Missing), (digest(C), Wrong::Unreadable)]
}

/// Writes into the log what was told as read.
struct Telling<'a>(&'a Arc<Simulated>);

impl Observer for Telling<'_> {
    fn event(&self, event: &Event) {
        if let Event::Verified { digest, .. } = event {
            self.0.note(&format!("read {digest}"));
        }
    }
}

/// Nothing is on record that is not so: what is said to be right was read to its end, and so was what is said to be wrong.
fn nothing_false(ledger: &Ledger, log: &Log) {
    let snapshot = ledger.snapshot().unwrap();
    for bytes in ALL {
        let digest = digest(bytes);
        let (verified, found) = (snapshot.verified(&digest).unwrap(), snapshot.finding(&digest, 0).unwrap());
        let wrong = bad().iter().find(|(bad, _)| *bad == digest).map(|(_, wrong)| *wrong);
        if verified.is_some() || found.is_some() {
            assert!(log.noted(&format!("read {digest}")), "{digest} is on record and was not read");
        }
        assert!(verified.is_none() || wrong.is_none(), "{digest} is bad and on record as right");
        assert!(found.is_none() || found.map(|found| found.wrong) == wrong, "{digest}");
    }
}

/// The next scrub goes on, and then everything is on record as it is. What was on record is not read again.
fn goes_on(world: &World, log: &Log) {
    let opened = Opened::open(&world.process("recovery")).unwrap();
    nothing_false(&opened.ledger, log);
    let before = opened.ledger.snapshot().unwrap();
    let known = ALL.iter().filter(|bytes| {
        let digest = digest(bytes);
        before.verified(&digest).unwrap().is_some() || before.finding(&digest, 0).unwrap().is_some()
    });
    let known = known.count() as u64;
    let over = before.scrub_pass().unwrap().is_some_and(|pass| pass.state != PassState::Open);
    let report = scrub(&opened.ctx(), &ScrubOptions::default(), &Silent).unwrap();
    assert_eq!(report.end, ScrubEnd::Done);
    if !over {
        assert_eq!(report.blobs + known, ALL.len() as u64, "nothing is missed and nothing is read twice: {report:?}");
        assert_eq!((report.corrupt, report.missing, report.unreadable), (1, 1, 1), "all of it is told");
    }
    let snapshot = opened.ledger.snapshot().unwrap();
    for (digest, wrong) in bad() {
        assert_eq!(snapshot.finding(&digest, 0).unwrap().map(|row| row.wrong), Some(wrong));
        assert!(snapshot.verified(&digest).unwrap().is_none());
    }
    for bytes in [D, E] {
        assert!(snapshot.verified(&digest(bytes)).unwrap().is_some());
    }
}

/// Slow enough for frames to be due within it.
const SLOW: ScrubOptions =
    ScrubOptions { sha256: false, max_age: None, max_duration: None, sample: None, rate: Some(10) };

fn scrubbing(process: &Arc<Simulated>) {
    let opened = Opened::open(process).unwrap();
    scrub(&opened.ctx(), &SLOW, &Telling(process)).unwrap();
    process.note("done");
}

#[test]
fn a_scrub_killed_at_any_call_goes_on_and_misses_nothing() {
    let start = begun(1);
    let kills = Enumeration::new(1, &start).kills(scrubbing, |number, world, log| {
        kit::each_image(&world.balance(), number, 2, |_, image| goes_on(image, log));
        goes_on(world, log);
    });
    report("scrub, killed", kills);
}

#[test]
fn a_scrub_survives_a_power_cut_at_every_call() {
    let start = begun(2);
    let cuts = Enumeration::new(2, &start).samples(many(4) as usize);
    let check = |world: &World, log: &Log| {
        if log.noted("done") {
            // What was acknowledged is on the disk.
            let opened = Opened::open(&world.process("after")).unwrap();
            let snapshot = opened.ledger.snapshot().unwrap();
            assert_eq!(snapshot.all_findings().count(), 3);
            assert_eq!(snapshot.scrub_pass().unwrap().map(|pass| pass.state), Some(PassState::Done));
        }
        goes_on(world, log);
    };
    report("scrub", cuts.power_cuts(scrubbing, |_, world, log| check(world, log)));
}

#[test]
fn saying_what_is_wanted_survives_a_power_cut_at_every_call() {
    let start = begun(5);
    let workload = |process: &Arc<Simulated>| {
        let opened = Opened::open(process).unwrap();
        want(&opened.ctx(), Wanting::Pause).unwrap();
        process.note("paused");
        want(&opened.ctx(), Wanting::Resume).unwrap();
        process.note("resumed");
    };
    let check = |world: &World, log: &Log| {
        let opened = Opened::open(&world.process("after")).unwrap();
        let paused = scrub_status(&opened.ctx(), None).unwrap().paused;
        assert!(!log.noted("resumed") || !paused);
        assert!(!log.noted("paused") || log.noted("resumed") || paused || log_went_on(log));
        want(&opened.ctx(), Wanting::Resume).unwrap();
        assert_eq!(scrub(&opened.ctx(), &ScrubOptions::default(), &Silent).unwrap().blobs, 5);
    };
    let cuts = Enumeration::new(5, &start).samples(many(4) as usize);
    report("wishes", cuts.power_cuts(workload, |_, world, log| check(world, log)));
}

/// Whether the second of two wishes had begun: then either may hold.
fn log_went_on(log: &Log) -> bool {
    log.calls().iter().skip_while(|call| call.path.as_os_str() != "paused").any(|call| call.kind.counted())
}

#[test]
fn queueing_survives_a_power_cut_at_every_call() {
    let start = begun(6);
    let workload = |process: &Arc<Simulated>| {
        let opened = Opened::open(process).unwrap();
        let report = status(&opened.ctx(), &StatusOptions::default(), &Silent).unwrap();
        assert_eq!((report.missing, report.queued), (1, 1));
        process.note("queued");
    };
    let check = |world: &World, log: &Log| {
        let opened = Opened::open(&world.process("after")).unwrap();
        let queued = opened.ledger.snapshot().unwrap().all_suspects().map(|row| row.unwrap().0).collect::<Vec<_>>();
        assert!(queued.is_empty() || queued == [digest(B)]);
        assert!(!log.noted("queued") || queued == [digest(B)]);
        let again = status(&opened.ctx(), &StatusOptions::default(), &Silent).unwrap();
        assert_eq!((again.missing, again.queued), (1, u64::from(queued.is_empty())));
    };
    let cuts = Enumeration::new(6, &start).samples(many(4) as usize);
    report("status", cuts.power_cuts(workload, |_, world, log| check(world, log)));
}

#[test]
fn a_status_sees_another_modification_time() {
    let world = begun(7);
    let opened = Opened::open(&world.process("looking")).unwrap();
    let machine: &dyn larder::machine::Machine = &*opened.process;
    let file = machine.open(&opened.ledger.blobs.path(&digest(D)), larder::machine::Open::Read).unwrap();
    file.set_mtime(5).unwrap();
    let report = status(&opened.ctx(), &StatusOptions::default(), &Silent).unwrap();
    assert_eq!((report.mtime, report.missing, report.changed), (1, 1, 2));
}

#[test]
fn failing_calls_record_nothing_false_and_the_next_scrub_finds_everything() {
    let start = begun(3).snapshot();
    let calls = {
        let world = start.world(3);
        let opened = Opened::open(&world.process("counted")).unwrap();
        world.configure(|options| options.log_reads = true);
        let before = world.log().calls().len();
        scrub(&opened.ctx(), &SLOW, &Silent).unwrap();
        world.log().calls().len() - before
    };
    println!("{calls} calls");
    for number in [errno::EIO, errno::ENOSPC] {
        for nth in 1..=calls as u64 {
            let world = start.world(nth);
            let process = world.process("workload");
            let opened = Opened::open(&process).unwrap();
            world.fail(Fault::errno(number).nth(nth).process(process.number()));
            let came = run(&process, || scrub(&opened.ctx(), &SLOW, &Silent));
            drop((opened, process));
            world.clear_faults();
            if let Some(Err(error)) = came.finished() {
                assert!(error.to_string().starts_with("cannot "), "{error}");
            }
            if kit::is_aborted(&world) {
                continue;
            }
            // A call that failed may have been the reading of a good blob: that is a finding then, until it is read again.
            let opened = Opened::open(&world.process("next")).unwrap();
            let pass = ScrubOptions { sha256: true, ..ScrubOptions::default() };
            let found = scrub(&opened.ctx(), &pass, &Silent).unwrap();
            assert_eq!((found.corrupt, found.missing, found.unreadable), (1, 1, 1), "errno {number}, call {nth}");
            let snapshot = opened.ledger.snapshot().unwrap();
            let findings: BTreeSet<Digest> = snapshot.all_findings().map(|row| row.unwrap().0.0).collect();
            assert_eq!(findings, bad().iter().map(|(digest, _)| *digest).collect(), "errno {number}, call {nth}");
        }
    }
}

#[test]
fn scrubbing_beside_others_finds_nothing_that_is_not_so() {
    let start = {
        let sources = [("/src/a", A), ("/src/d", D), ("/src/e", E), ("/more/x", &b"more"[..]), ("/good/a", A)];
        let world = world(4, Durability::Batch, &sources);
        let opened = Opened::open(&world.process("before")).unwrap();
        opened.add(&["/src"], &AddOptions::default()).unwrap();
        assert!(world.corrupt(opened.ledger.blobs.path(&digest(A)), 5));
        drop(opened);
        world.settle();
        world.snapshot()
    };
    const THERE: &[(&str, &[u8])] = &[("src/a", A), ("src/d", D), ("src/e", E)];
    let tasks = || {
        let scrubs = task("scrub", |process: Arc<Simulated>| -> Result<()> {
            let opened = Opened::open(&process)?;
            scrub(&opened.ctx(), &ScrubOptions::default(), &Silent).map(drop)
        });
        let adds = task("add", |process: Arc<Simulated>| -> Result<()> {
            Opened::open(&process)?.put("/more/x", "x", b"more").map(drop)
        });
        let removes = task("rm and gc", |process: Arc<Simulated>| -> Result<()> {
            let opened = Opened::open(&process)?;
            opened.remove(&["src/d"])?;
            opened.collect(Duration::ZERO).map(drop)
        });
        let repairs = task("repair", |process: Arc<Simulated>| -> Result<()> {
            let opened = Opened::open(&process)?;
            let options = RepairOptions { from: vec!["/good".into()], dry_run: false };
            repair(&opened.ctx(), &RepairScope::All, &options, &Silent).map(drop)
        });
        vec![scrubs, adds, removes, repairs]
    };
    for_seeds("scrubbing beside others", many(60), |seed| {
        let contest = Contest { start: &start, known: THERE, seed, steps: 900, tasks: &tasks };
        contest.run(|world, account| {
            if account.troubled {
                // A read that failed is a finding, whatever was to be read.
                return;
            }
            let opened = Opened::open(&world.process("check")).unwrap();
            let snapshot = opened.ledger.snapshot().unwrap();
            for row in snapshot.all_findings() {
                let ((digest, carrier), found) = row.unwrap();
                assert_eq!((digest, carrier, found.wrong), (self::digest(A), 0, Wrong::Corrupt), "{found:?}");
                // It is not on record any more once good bytes are in place.
                let there = world.read(opened.ledger.blobs.path(&digest));
                assert!(there.as_deref() != Some(A), "it was mended");
            }
        });
    });
}
