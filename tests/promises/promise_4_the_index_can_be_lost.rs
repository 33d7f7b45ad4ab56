//! Promise 4: the index can be lost, always. Folding, rebuilding and compacting are crashed at every call and run beside
//! writers and readers; index files are deleted, cut and flipped, any of them, and the answers stay the same.
//!
//! `LARDER_SEED=n` repeats one order; `LARDER_LONG=1` tries many times as many.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::kit::{self, Account, Contest, Opened, digest, for_seeds, many, recovers_to, report, world};
use larder::format::settings::Durability;
use larder::ledger::Tables;
use larder::machine::Machine;
use larder::machine::simulated::{Enumeration, Images, Simulated, Snapshot, Task, World, task};
use larder::vocabulary::limits::GONE_KEPT;
use larder::work::check::check;
use larder::work::ingest::AddOptions;
use larder::work::names::{Target, pin, unpin};
use larder::{Name, Prefix, Result};
use std::time::Duration;

const A: &[u8] = b"the bytes of the first file";
const B: &[u8] = b"other bytes, of the second file";
const C: &[u8] = b"what the third file holds";
const KNOWN: [(&str, &[u8]); 4] = [("src/a", A), ("src/b", B), ("src/c/d", C), ("X/Upper", B)];

/// A store with a few frames.
fn begun(seed: u64) -> Snapshot {
    let sources: [(&str, &[u8]); 6] =
        [("/src/a", A), ("/src/b", B), ("/src/c/d", C), ("/other/gone", b"gone"), ("/one/a", A), ("/one/e", b"e")];
    let world = world(seed, Durability::Batch, &sources);
    let opened = Opened::open(&world.process("before")).unwrap();
    opened.add(&["/other"], &AddOptions::default()).unwrap();
    opened.add(&["/src"], &AddOptions::default()).unwrap();
    opened.put("/src/b", "X/Upper", B).unwrap();
    opened.remove(&["other/gone"]).unwrap();
    opened.collect(std::time::Duration::ZERO).unwrap();
    drop(opened);
    world.settle();
    world.snapshot()
}

/// As [`begun`], with an index of two runs, a base, and frames behind them.
fn indexed(seed: u64) -> Snapshot {
    let world = begun(seed).world(seed);
    let opened = Opened::open(&world.process("upkeep")).unwrap();
    opened.ledger.compact().unwrap();
    opened.put("/src/a", "later/a", A).unwrap();
    opened.ledger.fold(true).unwrap();
    opened.put("/src/a", "tail/a", A).unwrap();
    drop(opened);
    world.settle();
    world.snapshot()
}

fn goes_on(world: &World, account: &Account) {
    let opened = recovers_to(world, account);
    let before = opened.rows();
    opened.ledger.rebuild().expect("the index can be made anew");
    assert_eq!(opened.rows(), before, "an index made anew has other rows");
    assert_eq!(
        opened.add(&["/src", "/one"], &AddOptions { replace: true, ..AddOptions::default() }).unwrap().failed,
        0
    );
    opened.ledger.fold(true).unwrap();
    kit::nothing_is_left_over(world, &opened);
    let again = Opened::open(&world.process("another")).unwrap();
    assert_eq!(again.rows(), opened.rows(), "another process sees other rows");
}

fn account(log: &larder::machine::simulated::Log) -> Account {
    let mut account = Account::knowing(&KNOWN);
    account.go_on(log);
    account
}

fn crashes(what: &str, start: &World, workload: impl Fn(&Arc<Simulated>)) {
    let cuts = Enumeration::new(1, start).samples(many(4) as usize);
    let cuts = cuts.power_cuts(&workload, |_, world, log| goes_on(world, &account(log)));
    report(what, cuts);
    let kills = Enumeration::new(1, start).kills(&workload, |number, world, log| {
        kit::each_image(&world.balance(), number, 1, |_, image| goes_on(image, &account(log)));
        goes_on(world, &account(log));
    });
    report(&format!("{what}, killed"), kills);
}

#[test]
fn folding_survives_a_crash_at_every_call() {
    crashes("fold", &begun(1).world(1), |process| Opened::open(process).unwrap().ledger.fold(true).unwrap());
    crashes("fold over runs", &indexed(2).world(2), |process| {
        let opened = Opened::open(process).unwrap();
        opened.put("/one/e", "src/a", b"e").unwrap();
        opened.ledger.fold(true).unwrap();
    });
}

#[test]
fn rebuilding_survives_a_crash_at_every_call() {
    for (what, start) in [("rebuild", begun(3)), ("rebuild over runs", indexed(3))] {
        crashes(what, &start.world(3), |process| _ = Opened::open(process).unwrap().ledger.rebuild().unwrap());
    }
}

#[test]
fn compacting_survives_a_crash_at_every_call() {
    crashes("compact, then add", &begun(4).world(4), |process| {
        let opened = Opened::open(process).unwrap();
        opened.ledger.compact().unwrap();
        opened.put("/one/e", "src/a", b"e").unwrap();
    });
    crashes("compact again, and again", &indexed(5).world(5), |process| {
        let opened = Opened::open(process).unwrap();
        opened.ledger.compact().unwrap();
        opened.put("/one/e", "src/a", b"e").unwrap();
        opened.ledger.compact().unwrap();
    });
}

/// A dead process has left a frame; somebody compacts or folds; the power goes.
#[test]
fn upkeep_vouches_for_what_a_dead_process_left() {
    let start = begun(6).world(6);
    let (mut images, mut worlds) = (0, 0);
    Enumeration::new(6, &start).kills(
        |process| _ = Opened::open(process).unwrap().put("/one/e", "src/a", b"e").unwrap(),
        |number, world, _| {
            for compact in [false, true] {
                // The worlds of a kill are not copied: one of the two goes first, by turns.
                if compact == (number % 2 == 0) {
                    continue;
                }
                let ledger = Opened::open(&world.process("upkeep")).unwrap().ledger;
                if compact {
                    ledger.compact().map(drop).unwrap()
                } else {
                    ledger.fold(true).unwrap()
                }
                worlds += 1;
                let account = account(&world.log());
                images += kit::each_image(&world.balance(), number, 6, |_, image| goes_on(image, &account));
            }
        },
    );
    println!("killed, upkeep, power cut: {worlds} worlds, {images} images");
}

fn index_files(world: &World) -> Vec<PathBuf> {
    let tree = world.tree();
    tree.into_keys().filter(|path| path.starts_with("/store/index") && world.read(path).is_some()).collect()
}

/// Every answer, by every way in: name, digest, prefix, iteration.
fn answers(opened: &Opened) -> Result<Vec<String>> {
    let snapshot = opened.ledger.snapshot()?;
    let mut all = Vec::new();
    for row in snapshot.aliases(&Prefix::Everything) {
        let (name, row) = row?;
        all.push(format!("{name} {row:?}"));
        let names = snapshot.names_of(&row.digest)?;
        all.push(format!("{} {names:?} {:?}", row.digest, snapshot.blob(&row.digest)?));
    }
    for name in ["src/a", "src/c/d", "nothing", "later/a", "tail/a", "x/upper"] {
        let name = Name::new(name)?;
        all.push(format!("{name}: {:?} {:?}", snapshot.alias(&name)?, snapshot.same_but_for_case(&name)?));
        all.push(format!("{:?}", snapshot.clash(&name)?));
    }
    for bytes in [A, B, C, b"gone", b"never"] {
        let digest = digest(bytes);
        all.push(format!("{digest}: {:?} {:?}", snapshot.blob(&digest)?, snapshot.gone(&digest)?));
    }
    Ok(all)
}

/// Whatever happened to the files of the index, the answers are the same, also after it was made anew.
fn same_answers(world: &World, expected: &[String], what: &str) {
    let opened = Opened::open(&world.process("reader")).unwrap_or_else(|e| panic!("{what}: it cannot be opened: {e}"));
    assert_eq!(answers(&opened).unwrap_or_else(|e| panic!("{what}: {e}")), expected, "{what}");
    opened.ledger.rebuild().unwrap_or_else(|e| panic!("{what}: the index cannot be made anew: {e}"));
    assert_eq!(answers(&opened).unwrap(), expected, "{what}: after it was made anew");
    let other = Opened::open(&world.process("another")).unwrap();
    assert_eq!(answers(&other).unwrap(), expected, "{what}: by another process");
}

#[test]
fn any_of_the_index_may_be_deleted() {
    let start = indexed(7);
    let world = start.world(7);
    let expected = answers(&Opened::open(&world.process("before")).unwrap()).unwrap();
    let files = index_files(&world);
    assert!(files.len() >= 3, "{files:?}");
    for which in 1u32..1 << files.len() {
        let world = start.world(u64::from(which));
        let process = world.process("vandal");
        for (i, path) in files.iter().enumerate().filter(|(i, _)| which & (1 << i) != 0) {
            process.unlink(path).unwrap_or_else(|e| panic!("{i}: {e}"));
        }
        same_answers(&world, &expected, &format!("deleted: {which:b} of {files:?}"));
    }
    // While it is open, too.
    let world = start.world(0);
    let opened = Opened::open(&world.process("open")).unwrap();
    let process = world.process("vandal");
    files.iter().for_each(|path| process.unlink(path).unwrap());
    process.remove_dir(Path::new("/store/index")).unwrap();
    assert_eq!(answers(&opened).unwrap(), expected);
    opened.put("/one/e", "more", b"e").unwrap();
    opened.ledger.fold(true).unwrap();
    goes_on(&world, &Account::knowing(&[("src/b", B), ("more", b"e")]));
}

#[test]
fn any_of_the_index_may_be_damaged() {
    let start = indexed(8);
    let world = start.world(8);
    let expected = answers(&Opened::open(&world.process("before")).unwrap()).unwrap();
    let step = if kit::long() { 1 } else { 13 };
    let mut tried = 0;
    for path in index_files(&world) {
        let bytes = world.read(&path).unwrap();
        for at in (0..bytes.len()).step_by(step) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            for (how, bytes) in [("flipped", flipped.as_slice()), ("cut", &bytes[..at])] {
                let world = start.world(at as u64);
                world.put(&path, bytes);
                let what = format!("{} {how} at {at}", path.display());
                same_answers(&world, &expected, &what);
                tried += 1;
            }
        }
    }
    println!("damaged index files: {tried} tried");
}

/// Somebody else's index, an old one, and one that is ahead of the journal are of no use, and are not used.
#[test]
fn an_index_of_another_time_is_thrown_away() {
    let start = indexed(9);
    let old = start.world(9);
    let old_files: Vec<_> = index_files(&old).into_iter().map(|path| (old.read(&path).unwrap(), path)).collect();
    let world = start.world(99);
    let opened = Opened::open(&world.process("ahead")).unwrap();
    opened.remove(&["src/a", "tail/a"]).unwrap();
    opened.ledger.compact().unwrap();
    opened.put("/one/e", "newer", b"e").unwrap();
    opened.ledger.compact().unwrap();
    opened.ledger.compact().unwrap();
    let expected = answers(&opened).unwrap();
    drop(opened);
    for path in index_files(&world) {
        world.process("vandal").unlink(&path).unwrap();
    }
    old_files.iter().for_each(|(bytes, path)| world.put(path, bytes));
    same_answers(&world, &expected, "an old index");
}

#[test]
fn rebuilt_rows_are_the_same_rows() {
    for start in [begun(10), indexed(10)] {
        let world = start.world(10);
        let opened = Opened::open(&world.process("one")).unwrap();
        let before = opened.rows();
        opened.ledger.rebuild().unwrap();
        assert_eq!(opened.rows(), before);
        opened.ledger.fold(true).unwrap();
        assert_eq!(opened.rows(), before);
        opened.ledger.compact().unwrap();
        assert_eq!(opened.rows(), before);
        opened.ledger.rebuild().unwrap();
        assert_eq!(opened.rows(), before, "from the base");
        goes_on(&world, &Account::knowing(&KNOWN));
    }
}

type Doing = Task<'static, Result<()>>;

fn adding(path: &'static str, name: &'static str, bytes: &'static [u8]) -> Doing {
    task("adding", move |process| Opened::open(&process)?.put(path, name, bytes).map(drop))
}

fn compacting() -> Doing {
    task("compacting", |process| Opened::open(&process)?.ledger.compact().map(drop))
}

fn folding() -> Doing {
    task("folding", |process| Opened::open(&process)?.ledger.fold(true))
}

fn rebuilding() -> Doing {
    task("rebuilding", |process| Opened::open(&process)?.ledger.rebuild().map(drop))
}

/// Reads all the time: what was acknowledged before is there in every snapshot.
fn reading() -> Doing {
    task("reading", |process| {
        let opened = Opened::open(&process)?;
        for _ in 0..4 {
            let snapshot = opened.ledger.snapshot()?;
            for (name, bytes) in &KNOWN[1..] {
                let alias = snapshot.alias(&Name::new(*name)?)?;
                assert_eq!(alias.map(|alias| alias.digest), Some(digest(bytes)), "{name}");
            }
            let all = snapshot.aliases(&Prefix::Everything).collect::<Result<Vec<_>>>()?;
            assert!(all.len() >= KNOWN.len(), "{all:?}");
            process.note("read");
        }
        Ok(())
    })
}

fn contest(what: &str, seeds: u64, steps: u64, start: &Snapshot, tasks: fn() -> Vec<Doing>) {
    for_seeds(what, seeds, |seed| Contest { start, known: &KNOWN, seed, steps, tasks: &tasks }.run(goes_on));
}

#[test]
fn adding_beside_compacting() {
    let tasks = || vec![adding("/one/e", "src/a", b"e"), compacting(), adding("/one/a", "one/a", A)];
    contest("adding beside compacting", 150, 400, &indexed(11), tasks);
}

#[test]
fn reading_beside_all_upkeep() {
    let tasks = || vec![reading(), compacting(), folding(), adding("/one/e", "src/a", b"e")];
    contest("reading beside upkeep", 150, 500, &indexed(12), tasks);
}

#[test]
fn upkeep_beside_upkeep() {
    let tasks = || vec![compacting(), folding(), rebuilding(), compacting()];
    contest("upkeep beside upkeep", 100, 600, &indexed(13), tasks);
}

#[test]
fn collecting_beside_compacting() {
    let tasks = || {
        let collecting = task("collecting", |process| {
            let opened = Opened::open(&process)?;
            opened.collect_with(std::time::Duration::ZERO, std::time::Duration::ZERO).map(drop)
        });
        vec![collecting, compacting(), adding("/one/e", "src/a", b"e")]
    };
    contest("collecting beside compacting", 120, 500, &indexed(14), tasks);
}

/// A store that never syncs has an index that never names what is not on the disk.
#[test]
fn a_scratch_store_has_a_sound_index() {
    let world = world(15, Durability::None, &[("/src/a", A), ("/src/b", B)]);
    let coverage = Enumeration::new(15, &world).images(Images::Basic).samples(6).power_cuts(
        |process| {
            let opened = Opened::open(process).unwrap();
            opened.put("/src/a", "a", A).unwrap();
            opened.ledger.fold(true).unwrap();
            opened.put("/src/b", "b", B).unwrap();
        },
        |_, world, _| {
            // Nothing is promised of the names, but whoever reads from the journal alone sees the same.
            let Ok(opened) = Opened::open(&world.process("reader")) else { panic!("it cannot be opened") };
            let before = answers(&opened).unwrap();
            if opened.ledger.hold(|_| Ok(())).is_ok() {
                opened.ledger.rebuild().unwrap();
                assert_eq!(answers(&opened).unwrap(), before);
            }
        },
    );
    report("scratch store, fold", coverage);
}

/// Not for safety, since the index can be lost, but so that it need not be made anew after each power cut.
/// With an index and without one; the next process only collects.
#[test]
fn what_killed_upkeep_left_goes_with_the_next_collection() {
    for (seed, start) in [(20, begun(20)), (21, indexed(21))] {
        let mut left = 0;
        let workload = |process: &Arc<Simulated>| {
            let opened = Opened::open(process).unwrap();
            opened.put("/one/e", "src/a", b"e").unwrap();
            opened.ledger.fold(true).unwrap();
            opened.ledger.compact().unwrap();
        };
        let kills = Enumeration::new(seed + 100, &start.world(!seed)).kills(workload, |_, world, _| {
            let unfinished =
                |path: &PathBuf| ["run", "new"].iter().any(|end| path.extension().is_some_and(|e| e == *end));
            left += u64::from(world.tree().into_keys().filter(unfinished).count() > 0);
            kit::nothing_is_left_over(world, &Opened::open(&world.process("next")).unwrap());
        });
        assert!(left > 10, "nothing was left: {left}");
        report("upkeep, killed and collected", kills);
    }
}

#[test]
fn what_current_names_is_there_after_any_power_cut() {
    let work = |process: &Arc<Simulated>| {
        let opened = Opened::open(process).unwrap();
        opened.ledger.fold(true).unwrap();
        process.note("folded");
    };
    let whole = |_: u64, world: &World, log: &larder::machine::simulated::Log| {
        let process = world.process("looking");
        let opened = larder::parts::index::Index::open(process.as_ref(), Path::new("/store/index"));
        let current = opened.expect("what CURRENT names is there");
        assert!(current.is_some() || !log.noted("folded"), "CURRENT is gone after the fold");
    };
    report("runs that are named", Enumeration::new(1, &begun(10).world(10)).power_cuts(work, whole));
}

/// Whatever CURRENT says wrongly must not look like damage of the journal.
#[test]
fn a_flipped_byte_of_current_is_noticed() {
    let start = indexed(11);
    let expected = answers(&Opened::open(&start.world(11).process("before")).unwrap()).unwrap();
    let current = start.world(11).read("/store/index/CURRENT").unwrap();
    for at in 0..current.len() {
        for bit in [0, 6] {
            let world = start.world(at as u64);
            let mut flipped = current.clone();
            flipped[at] ^= 1 << bit;
            world.put("/store/index/CURRENT", &flipped);
            let opened = Opened::open(&world.process("reader")).unwrap();
            assert_eq!(answers(&opened).unwrap(), expected, "byte {at}");
            opened.ledger.hold(|_| Ok(())).unwrap();
            let snapshot = opened.ledger.snapshot().unwrap();
            assert_eq!((snapshot.damage.len(), snapshot.all_fences().count()), (0, 0), "byte {at}");
            assert_eq!(snapshot.folded, 0, "byte {at}: it was believed");
        }
    }
}

#[test]
fn a_base_is_on_the_disk_before_anything_goes_for_its_sake() {
    let world = begun(12).world(12);
    let opened = Opened::open(&world.process("compacting")).unwrap();
    for name in ["first", "second", "third"] {
        opened.put("/one/e", name, b"e").unwrap();
        opened.ledger.compact().unwrap();
    }
    opened.put("/one/e", "fourth", b"e").unwrap();
    let account = account(&world.log());
    kit::each_image(&world.power_cut(), 12, 8, |_, world| goes_on(world, &account));
}

/// What removed a blob, and what a name meant that went, is known for [`GONE_KEPT`] of journal time, through compactions,
/// and left out by the first base after it; an index may have it until it is made anew.
#[test]
fn what_went_is_remembered_for_its_time_and_then_forgotten() {
    let world = begun(50).world(50);
    let (day, other) = (Duration::from_secs(86_400), digest(b"gone"));
    let opened = Opened::open(&world.process("later")).unwrap();
    let days = u32::try_from(GONE_KEPT.as_secs() / day.as_secs()).unwrap();
    let known = |opened: &Opened| {
        let snapshot = opened.ledger.snapshot().unwrap();
        let meant = snapshot.meant(&Name::new("other/gone").unwrap()).unwrap();
        (snapshot.gone(&other).unwrap().is_some(), snapshot.departed(&other).unwrap().len(), meant.len())
    };
    assert_eq!(known(&opened), (true, 1, 1));
    for passed in 1..=days + 1 {
        world.advance(day);
        // Journal time moves with frames, by a day at most.
        pin(&opened.ctx(), &Target::Digest(digest(A)), "").unwrap();
        unpin(&opened.ctx(), &Target::Digest(digest(A))).unwrap();
        if passed == days - 1 || passed == days + 1 {
            opened.ledger.compact().unwrap();
            opened.ledger.rebuild().unwrap();
        }
        let expected = if passed <= days { (true, 1, 1) } else { (false, 0, 0) };
        assert_eq!(known(&opened), expected, "after {passed} days");
    }
    let again = Opened::open(&world.process("again")).unwrap();
    assert_eq!(known(&again), (false, 0, 0));
    assert_eq!(check(&again.ctx(), &larder::Silent).unwrap().findings, 0);
    kit::nothing_is_left_over(&world, &again);
}
