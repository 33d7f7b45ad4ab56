//! Promise 5: damage is found, named and mended. The journal is cut and flipped at every offset: what cannot be read is
//! told, fences collection, and takes nothing else with it. Corrupt and missing blobs are healed by adding good bytes,
//! whatever crashes on the way.
//!
//! `LARDER_LONG=1` flips every byte instead of some.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::kit::{self, Account, Contest, Opened, digest, for_seeds, many, recovers_to, report, world};
use larder::format::layout::Layout;
use larder::format::settings::Durability;
use larder::ledger::Tables;
use larder::machine::Machine;
use larder::machine::simulated::{Enumeration, Log, Simulated, Snapshot, World, errno, task};
use larder::work::ingest::AddOptions;
use larder::work::verify::{VerifyOptions, verify};
use larder::{Digest, ErrorKind, Name, Prefix, Result, Silent};

const A: &[u8] = b"the bytes of the first file";
const B: &[u8] = b"other bytes, of the second file";
const C: &[u8] = b"what the third file holds";
const D: &[u8] = b"the fourth";
const NAMES: [(&str, &[u8]); 4] = [("src/a", A), ("b", B), ("c", C), ("d", D)];

/// A store with one frame for each name, and nothing else.
fn begun(seed: u64) -> World {
    let sources = [("/src/a", A), ("/more/b", B), ("/more/c", C), ("/more/d", D)];
    let world = world(seed, Durability::Batch, &sources);
    let opened = Opened::open(&world.process("before")).unwrap();
    opened.add(&["/src"], &AddOptions::default()).unwrap();
    opened.put("/more/b", "b", B).unwrap();
    opened.put("/more/c", "c", C).unwrap();
    opened.put("/more/d", "d", D).unwrap();
    drop(opened);
    world.settle();
    world
}

/// What every name means, of those that are known.
fn meanings(opened: &Opened) -> BTreeMap<String, Digest> {
    let snapshot = opened.ledger.snapshot().unwrap();
    let rows = snapshot.aliases(&Prefix::Everything).collect::<Result<Vec<_>>>().unwrap();
    rows.into_iter().map(|(name, row)| (name.to_string(), row.digest)).collect()
}

fn segments(world: &World, kind: &str) -> Vec<PathBuf> {
    let of_kind = |path: &PathBuf| path.starts_with("/store/journal") && path.to_string_lossy().ends_with(kind);
    world.tree().into_keys().filter(of_kind).collect()
}

/// What was found of a damaged journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    /// Nothing: the answers are those of before.
    Same,
    /// A torn tail, which is in quarantine.
    Cut,
    /// Damage, and a fence.
    Fenced,
}

/// Opens a store whose journal was damaged, and sees that nothing is wrong silently: every name is right or unknown, and
/// if one is unknown, it was a torn tail or there is a fence.
fn found(world: &World, what: &str) -> Found {
    kit::never_lies(world);
    let reader = Opened::open(&world.process("reader")).unwrap_or_else(|e| panic!("{what}: it cannot be opened: {e}"));
    right_or_unknown(&reader, what);
    let opened = Opened::open(&world.process("writer")).unwrap();
    opened.ledger.hold(|_| Ok(())).unwrap_or_else(|e| panic!("{what}: it cannot be written to: {e}"));
    let known = right_or_unknown(&opened, what);
    let fenced = opened.ledger.snapshot().unwrap().is_fenced().unwrap();
    let quarantined = world.tree().into_keys().any(|path| path.parent() == Some(Path::new("/store/quarantine")));
    let found = match (fenced, quarantined) {
        (true, _) => Found::Fenced,
        (false, true) => Found::Cut,
        (false, false) => Found::Same,
    };
    assert!(found != Found::Same || known == NAMES.len(), "{what}: {known} names are left, and nothing is said of it");
    let collected = opened.collect_with(Duration::ZERO, Duration::ZERO);
    match found {
        Found::Fenced => assert_eq!(collected.unwrap_err().kind(), ErrorKind::Refused, "{what}"),
        _ => _ = collected.unwrap_or_else(|e| panic!("{what}: {e}")),
    }
    if found == Found::Fenced {
        for (_, bytes) in NAMES {
            assert!(world.read(opened.ledger.blobs.path(&digest(bytes))).is_some(), "{what}: a blob was removed");
        }
    }
    goes_on(world, &opened, found, what);
    found
}

fn right_or_unknown(opened: &Opened, what: &str) -> usize {
    let known = meanings(opened);
    for (name, meaning) in &known {
        let right = NAMES.iter().find(|(right, _)| right == name).map(|(_, bytes)| digest(bytes));
        assert_eq!(Some(*meaning), right, "{what}: {name}");
    }
    known.len()
}

/// New names are kept, by this process and the next; what is known stays known; the fence is there for whoever comes.
fn goes_on(world: &World, opened: &Opened, found: Found, what: &str) {
    let before = meanings(opened);
    opened.put("/more/b", "new", B).unwrap_or_else(|e| panic!("{what}: {e}"));
    for _ in 0..2 {
        let next = Opened::open(&world.process("next")).unwrap();
        next.ledger.hold(|_| Ok(())).unwrap_or_else(|e| panic!("{what}, later: {e}"));
        let mut after = meanings(&next);
        assert_eq!(after.remove("new"), Some(digest(B)), "{what}: what was added after it is gone");
        assert_eq!(after, before, "{what}: what was known is known no longer");
        assert_eq!(next.ledger.snapshot().unwrap().is_fenced().unwrap(), found == Found::Fenced, "{what}");
    }
    let next = Opened::open(&world.process("next")).unwrap();
    next.ledger.rebuild().unwrap_or_else(|e| panic!("{what}: {e}"));
    let mut after = meanings(&next);
    assert_eq!(after.remove("new"), Some(digest(B)), "{what}, rebuilt");
    assert_eq!(after, before, "{what}, rebuilt");
    // What is damaged is told once: fences do not grow by themselves.
    let fences = |opened: &Opened| opened.ledger.snapshot().unwrap().all_fences().count();
    let count = fences(&next);
    for _ in 0..2 {
        let again = Opened::open(&world.process("again")).unwrap();
        again.ledger.hold(|_| Ok(())).unwrap();
        assert_eq!(fences(&again), count, "{what}: more fences each time");
    }
}

/// How the hint of what was synced is: as it was left, or lost.
fn with_hint(start: &Snapshot, seed: u64, lost: bool) -> World {
    let world = start.world(seed);
    if lost {
        world.put("/store/lock", &[0; 1024]);
    }
    world
}

#[test]
fn a_flipped_byte_of_the_journal_is_found() {
    let start = begun(1).snapshot();
    let path = segments(&start.world(1), ".log").pop().unwrap();
    let bytes = start.world(1).read(&path).unwrap();
    let step = if kit::long() { 1 } else { 7 };
    let mut counts = BTreeMap::new();
    for at in (0..bytes.len()).step_by(step) {
        for lost in [false, true] {
            let world = with_hint(&start, at as u64, lost);
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            world.put(&path, &flipped);
            let found = found(&world, &format!("flipped at {at} of {}, hint lost: {lost}", bytes.len()));
            assert_ne!(found, Found::Same, "flipped at {at}: nothing was noticed");
            assert!(found == Found::Fenced || lost, "flipped at {at}: what was synced was cut");
            *counts.entry(found).or_insert(0) += 1;
        }
    }
    println!("flipped: {} bytes, {counts:?}", bytes.len());
}

#[test]
fn a_cut_of_the_journal_is_found() {
    let start = begun(2).snapshot();
    let path = segments(&start.world(2), ".log").pop().unwrap();
    let bytes = start.world(2).read(&path).unwrap();
    let step = if kit::long() { 1 } else { 11 };
    let mut counts = BTreeMap::new();
    let ends: Vec<usize> = frame_ends(&bytes);
    let offsets: std::collections::BTreeSet<usize> = (0..bytes.len()).step_by(step).chain(ends).collect();
    for at in offsets {
        for lost in [false, true] {
            for zeros in [false, true] {
                let world = with_hint(&start, at as u64, lost);
                let mut cut = bytes[..at].to_vec();
                if zeros {
                    cut.resize(bytes.len(), 0);
                }
                world.put(&path, &cut);
                let what = format!("cut at {at} of {}, zeros: {zeros}, hint lost: {lost}", bytes.len());
                if lost && is_whole_frames(&bytes, &cut) {
                    // Whole frames, and the one thing that knew of them: nobody can tell.
                    continue;
                }
                let found = found(&world, &what);
                assert!(found == Found::Fenced || lost || cut == bytes, "{what}: {found:?}");
                *counts.entry(found).or_insert(0) += 1;
            }
        }
    }
    println!("cut: {} bytes, {counts:?}", bytes.len());
}

/// Whether what is left ends with a frame, and zeros.
fn is_whole_frames(bytes: &[u8], cut: &[u8]) -> bool {
    let byte = |at: usize| cut.get(at).copied().unwrap_or(0);
    let ends_at = |end: &usize| (0..*end).all(|at| byte(at) == bytes[at]) && (*end..cut.len()).all(|at| cut[at] == 0);
    (cut.len() == bytes.len() && frame_ends(bytes).iter().any(ends_at)) || frame_ends(bytes).contains(&cut.len())
}

/// Where frames end, by their magic.
fn frame_ends(bytes: &[u8]) -> Vec<usize> {
    let begins = (0..bytes.len().saturating_sub(4)).step_by(8).filter(|at| &bytes[*at..*at + 4] == b"LFr1");
    begins.chain([bytes.len()]).collect()
}

#[test]
fn a_segment_that_is_gone_is_found() {
    let start = begun(3).snapshot();
    for lost in [false, true] {
        let world = with_hint(&start, 3, lost);
        let process = world.process("vandal");
        segments(&world, ".log").iter().for_each(|path| process.unlink(path).unwrap());
        let what = format!("no segment, hint lost: {lost}");
        if lost {
            // Nothing that could tell is left. Then it must not pass for an empty store in which all may go.
            let opened = Opened::open(&world.process("writer"));
            let collected = opened.and_then(|opened| opened.collect_with(Duration::ZERO, Duration::ZERO));
            let left =
                NAMES.iter().filter(|(_, bytes)| world.read(Layout::new(kit::STORE).blob(&digest(bytes))).is_some());
            assert_eq!(left.count(), NAMES.len(), "{what}: {collected:?}");
        } else {
            assert_eq!(found(&world, &what), Found::Fenced);
        }
    }
}

/// With a base, later segments and an index: damage in any of them.
#[test]
fn damage_behind_and_in_a_base_is_found() {
    let world = begun(4);
    let opened = Opened::open(&world.process("before")).unwrap();
    opened.ledger.compact().unwrap();
    drop(opened);
    let start = world.snapshot();
    let step = if kit::long() { 1 } else { 29 };
    let mut counts = BTreeMap::new();
    for kind in [".log", ".base"] {
        for path in segments(&world, kind) {
            let bytes = world.read(&path).unwrap();
            for at in (0..bytes.len()).step_by(step) {
                for index_lost in [false, true] {
                    let world = start.world(at as u64);
                    let mut flipped = bytes.clone();
                    flipped[at] ^= 1 << (at % 8);
                    world.put(&path, &flipped);
                    if index_lost {
                        let process = world.process("vandal");
                        let files =
                            world.tree().into_keys().filter(|path| path.parent() == Some(Path::new("/store/index")));
                        files.for_each(|path| process.unlink(&path).unwrap());
                    }
                    let what = format!("{} flipped at {at}, index lost: {index_lost}", path.display());
                    let opened = Opened::open(&world.process("reader")).unwrap_or_else(|e| panic!("{what}: {e}"));
                    opened.ledger.hold(|_| Ok(())).unwrap_or_else(|e| panic!("{what}: {e}"));
                    let known = right_or_unknown(&opened, &what);
                    let fenced = opened.ledger.snapshot().unwrap().is_fenced().unwrap();
                    assert_eq!(known, NAMES.len(), "{what}: the generation before has them all");
                    let collected = opened.collect_with(Duration::ZERO, Duration::ZERO);
                    assert!(!fenced || collected.is_err_and(|e| e.kind() == ErrorKind::Refused), "{what}");
                    for (_, bytes) in NAMES {
                        let blob = world.read(opened.ledger.blobs.path(&digest(bytes)));
                        assert!(blob.is_some(), "{what}: a blob was removed");
                    }
                    opened.ledger.rebuild().unwrap_or_else(|e| panic!("{what}: {e}"));
                    let known = right_or_unknown(&opened, &what);
                    let fenced = opened.ledger.snapshot().unwrap().is_fenced().unwrap();
                    assert!(
                        known == NAMES.len() || fenced,
                        "{what}, rebuilt: {known} names, and nothing is said of it"
                    );
                    *counts.entry((kind, fenced, known)).or_insert(0) += 1;
                }
            }
        }
    }
    println!("base and later segments, (kind, fenced, names known): {counts:?}");
}

/// Good frames on both sides of a bad one are kept.
#[test]
fn good_frames_on_both_sides_are_kept() {
    let start = begun(5).snapshot();
    let path = segments(&start.world(5), ".log").pop().unwrap();
    let bytes = start.world(5).read(&path).unwrap();
    let begins = frame_ends(&bytes);
    for (i, (lost, _)) in NAMES.iter().enumerate() {
        let world = start.world(5);
        world.corrupt(&path, begins[i] as u64 + 120);
        let opened = Opened::open(&world.process("writer")).unwrap();
        opened.ledger.hold(|_| Ok(())).unwrap();
        let known = meanings(&opened);
        assert_eq!(known.len(), NAMES.len() - 1, "{lost}: {known:?}");
        assert!(!known.contains_key(*lost), "{lost}");
    }
}

/// A power cut while damage is being fenced.
#[test]
fn fencing_survives_a_crash_at_every_call() {
    let start = begun(6);
    let path = segments(&start, ".log").pop().unwrap();
    let begins = frame_ends(&start.read(&path).unwrap());
    assert!(start.corrupt(&path, begins[1] as u64 + 100));
    let coverage = Enumeration::new(6, &start).samples(6).power_cuts(
        |process| {
            let opened = Opened::open(process).unwrap();
            opened.ledger.hold(|_| Ok(())).unwrap();
            opened.put("/more/b", "b", B).unwrap();
        },
        |number, world, log| {
            if !log.noted(&format!("added b {}", digest(B))) {
                let _ = found(world, &format!("fencing, cut at {number}"));
            } else {
                let opened = Opened::open(&world.process("reader")).unwrap();
                assert_eq!(meanings(&opened).get("b"), Some(&digest(B)));
                assert!(opened.ledger.snapshot().unwrap().is_fenced().unwrap());
            }
        },
    );
    report("fence", coverage);
}

/// The last frame is of a dead process, unsynced and unapplied, and another one is damaged: the fence is put up behind
/// both.
#[test]
fn a_frame_before_a_fence_is_finished_too() {
    let start = begun(7);
    let path = segments(&start, ".log").pop().unwrap();
    let mut images = 0;
    let coverage = Enumeration::new(7, &start).kills(
        |process| _ = Opened::open(process).unwrap().put("/more/d", "late", D).unwrap(),
        |number, world, _| {
            let begins = frame_ends(&world.read(&path).unwrap());
            assert!(world.corrupt(&path, begins[1] as u64 + 100));
            let opened = Opened::open(&world.process("next")).unwrap();
            opened.ledger.hold(|_| Ok(())).unwrap();
            let known = meanings(&opened);
            let fences = |opened: &Opened| opened.ledger.snapshot().unwrap().all_fences().count();
            let count = fences(&opened);
            for name in known.keys() {
                let path = opened.ledger.layout.name(&Name::new(name.as_str()).unwrap());
                assert!(world.read(path).is_some(), "names/{name} is missing");
            }
            images += kit::each_image(&world.balance(), number, 4, |label, image| {
                let opened = Opened::open(&image.process("after")).unwrap();
                opened.ledger.hold(|_| Ok(())).unwrap();
                assert_eq!(meanings(&opened), known, "{label}");
                assert_eq!(fences(&opened), count, "{label}: the crash made new damage");
            });
        },
    );
    report(&format!("kill, damage, fence, power cut ({images} images)"), coverage);
}

const KNOWN: [(&str, &[u8]); 2] = [("src/a", A), ("src/again/a", A)];

/// A store whose blob A, with two names, is corrupt or missing; sources beside it.
fn damaged(seed: u64, missing: bool) -> World {
    let sources = [("/src/a", A), ("/src/again/a", A), ("/src/b", B), ("/good/a", A)];
    let world = world(seed, Durability::Batch, &sources);
    Opened::open(&world.process("before")).unwrap().add(&["/src"], &AddOptions::default()).unwrap();
    let blob = Layout::new(kit::STORE).blob(&digest(A));
    if missing {
        world.process("vandal").unlink(&blob).unwrap();
    } else {
        assert!(world.corrupt(&blob, 5));
    }
    world.settle();
    world
}

/// Before it is acknowledged the bad bytes may still be there; the good ones, once added again, heal it for good.
fn heals(world: &World, account: &Account, healed: bool) {
    let mut opened = Opened::open(&world.process("recovery")).unwrap();
    opened.troubled = account.troubled;
    opened.ledger.hold(|_| Ok(())).expect("the store can be written after any crash");
    account.holds(opened.ledger.snapshot().unwrap().as_ref());
    if healed {
        kit::agrees(world, &opened);
    }
    let options = AddOptions { verify_existing: true, ..AddOptions::default() };
    assert_eq!(opened.add(&["/good"], &options).expect("it can be healed").failed, 0);
    kit::agrees(world, &opened);
    kit::nothing_is_left_over(world, &opened);
    assert!(opened.ledger.snapshot().unwrap().damage.is_empty());
    let report = verify(&opened.ctx(), &[], &[], &VerifyOptions::default(), &Silent).unwrap();
    assert_eq!((report.ok, report.blobs), (report.blobs, 2), "{report:?}");
}

fn account(log: &Log) -> Account {
    let mut account = Account::knowing(&KNOWN);
    account.go_on(log);
    account
}

#[test]
fn healing_survives_a_crash_at_every_call() {
    for missing in [false, true] {
        let start = damaged(8, missing);
        let workload = |process: &Arc<Simulated>| {
            let opened = Opened::open(process).unwrap();
            let options = AddOptions { verify_existing: true, ..AddOptions::default() };
            opened.add(&["/good"], &options).unwrap();
            opened.put("/src/b", "unrelated", B).unwrap();
        };
        let healed = |log: &Log| log.noted(&format!("added good/a {}", digest(A)));
        let check = |world: &World, log: &Log| heals(world, &account(log), healed(log));
        let cuts = Enumeration::new(8, &start).samples(many(6) as usize);
        report(&format!("heal, missing: {missing}"), cuts.power_cuts(workload, |_, world, log| check(world, log)));
        let mut images = 0;
        let kills = Enumeration::new(8, &start).kills(workload, |number, world, log| {
            // The next process finishes it, and goes on to something else before the power goes.
            let next = Opened::open(&world.process("next")).unwrap();
            next.put("/src/b", "next", B).unwrap();
            drop(next);
            let (account, healed) = (account(&world.log()), healed(log));
            images += kit::each_image(&world.balance(), number, 4, |_, image| heals(image, &account, healed));
            check(world, log);
        });
        report(&format!("heal, killed, missing: {missing} ({images} images)"), kills);
    }
}

/// What healed a blob is gone again: the last frame of the journal names a file that is nowhere.
/// Bytes that rot leave the stamp as it was. Once reading has found them, the stamp says nothing any more: adding good bytes
/// heals, however little of the source is looked at.
#[test]
fn what_reading_has_found_is_healed_by_adding_good_bytes() {
    let ways = [
        AddOptions::default(),
        AddOptions { replace: true, ..AddOptions::default() },
        AddOptions { replace: true, trust_stamps: true, ..AddOptions::default() },
    ];
    for (nth, options) in ways.into_iter().enumerate() {
        let world = damaged(40 + nth as u64, false);
        let opened = Opened::open(&world.process("finds")).unwrap();
        let found = verify(&opened.ctx(), &[], &[], &VerifyOptions::default(), &Silent).unwrap();
        assert_eq!((found.corrupt, found.quarantined), (1, 0));
        let from = if options.replace { "/src" } else { "/good" };
        let report = opened.add(&[from], &options).unwrap();
        assert!(report.healed_files > 0 && report.failed == 0, "way {nth}: {report:?}");
        let after = verify(&opened.ctx(), &[], &[], &VerifyOptions::default(), &Silent).unwrap();
        assert_eq!(after.ok, after.blobs, "way {nth}: {after:?}");
        assert_eq!(opened.ledger.snapshot().unwrap().all_findings().count(), 0);
        kit::agrees(&world, &opened);
    }
}

#[test]
fn a_healed_blob_that_is_lost_again_stops_nobody() {
    let world = damaged(9, false);
    let options = AddOptions { verify_existing: true, ..AddOptions::default() };
    Opened::open(&world.process("healer")).unwrap().add(&["/good/a"], &options).unwrap();
    world.process("vandal").unlink(&Layout::new(kit::STORE).blob(&digest(A))).unwrap();
    heals(&world, &Account::knowing(&KNOWN), false);
}

#[test]
fn quarantine_survives_a_crash_at_every_call() {
    let start = damaged(10, false);
    let workload = |process: &Arc<Simulated>| {
        let opened = Opened::open(process).unwrap();
        let found = verify(&opened.ctx(), &[], &[], &VerifyOptions { quarantine: true }, &Silent).unwrap();
        assert_eq!((found.corrupt, found.quarantined), (1, 1));
        process.note("quarantined");
        opened.put("/src/b", "unrelated", B).unwrap();
    };
    let check = |world: &World, log: &Log| {
        let opened = Opened::open(&world.process("recovery")).unwrap();
        opened.ledger.hold(|_| Ok(())).unwrap();
        let there = |path: &Path| world.read(path).is_some();
        let bad = world.tree().into_keys().filter(|path| {
            path.starts_with("/store")
                && world.read(path).is_some_and(|bytes| bytes.len() == A.len() && bytes[5] != A[5])
                && world.read(path).is_some_and(|bytes| bytes[..5] == A[..5])
        });
        assert!(bad.count() > 0, "the bad bytes are gone");
        if log.noted("quarantined") {
            assert!(!there(&opened.ledger.blobs.path(&digest(A))), "it is back in its place");
            for (name, _) in KNOWN {
                assert!(!there(&opened.ledger.layout.name(&Name::new(name).unwrap())), "names/{name} is back");
            }
        }
        heals(world, &account(log), false);
    };
    let cuts = Enumeration::new(10, &start).samples(many(6) as usize);
    report("quarantine", cuts.power_cuts(workload, |_, world, log| check(world, log)));
    let kills = Enumeration::new(10, &start).kills(workload, |number, world, log| {
        Opened::open(&world.process("next")).unwrap().put("/src/b", "next", B).unwrap();
        kit::each_image(&world.balance(), number, 4, |_, image| check(image, log));
        check(world, log);
    });
    report("quarantine, killed", kills);
}

#[test]
fn healing_beside_others() {
    let start = damaged(11, false).snapshot();
    let options = || AddOptions { verify_existing: true, ..AddOptions::default() };
    let tasks = || {
        let heal = |name: &'static str| {
            task(name, move |process: Arc<Simulated>| -> Result<()> {
                Opened::open(&process)?.add(&["/good"], &options()).map(drop)
            })
        };
        let quarantine = task("quarantine", |process: Arc<Simulated>| -> Result<()> {
            let opened = Opened::open(&process)?;
            verify(&opened.ctx(), &[], &[], &VerifyOptions { quarantine: true }, &Silent).map(drop)
        });
        let collect = task("collect", |process: Arc<Simulated>| -> Result<()> {
            Opened::open(&process)?.collect_with(Duration::ZERO, Duration::ZERO).map(drop)
        });
        vec![heal("one"), heal("other"), quarantine, collect]
    };
    for_seeds("healing beside healing, quarantine and collection", 200, |seed| {
        Contest { start: &start, known: &KNOWN, seed, steps: 400, tasks: &tasks }.run(|world, account| {
            let opened = Opened::open(&world.process("after")).unwrap();
            opened.ledger.hold(|_| Ok(())).unwrap();
            account.holds(opened.ledger.snapshot().unwrap().as_ref());
            if account.troubled {
                return;
            }
            drop(opened);
            heals(world, account, false);
        });
    });
}

/// Without any damage nothing is fenced: the tests above look at something.
#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let world = begun(12);
    assert_eq!(found(&world, "as it is"), Found::Same);
    recovers_to(&world, &Account::knowing(&NAMES));
}

/// Only the last frame is finished again. What is behind it must be on the disk: bad bytes are in quarantine, and go
/// with no session.
#[test]
fn bad_bytes_are_in_quarantine_before_the_next_frame() {
    let world = damaged(15, false);
    let opened = Opened::open(&world.process("healing")).unwrap();
    let options = AddOptions { verify_existing: true, ..AddOptions::default() };
    opened.add(&["/good"], &options).unwrap();
    opened.put("/src/b", "unrelated", B).unwrap();
    let log = world.log();
    kit::each_image(&world.power_cut(), 15, 40, |label, world| {
        let opened = Opened::open(&world.process("recovery")).unwrap();
        opened.collect(std::time::Duration::ZERO).unwrap();
        account(&log).holds(opened.ledger.snapshot().unwrap().as_ref());
        let bytes = |path: &std::path::PathBuf| world.read(path).unwrap_or_default();
        let kept = world.tree().into_keys().filter(|path| path.starts_with("/store/quarantine"));
        assert_eq!(kept.filter(|path| bytes(path).len() == A.len()).count(), 1, "{label}: the bad bytes are gone");
    });
}

/// What a blob's file and names are after the store was copied by something that keeps hardlinks, and the copy went bad.
fn copied_and_damaged(seed: u64) -> World {
    let world = damaged(seed, false);
    let layout = Layout::new(kit::STORE);
    let blob = layout.blob(&digest(A));
    let shell = world.process("shell");
    let mut bad = A.to_vec();
    bad[5] ^= 1;
    shell.rename(&blob, Path::new("/recorded")).unwrap();
    world.put(&blob, &bad);
    shell.open(&blob, larder::machine::Open::Read).unwrap().set_mode(0o444).unwrap();
    // One name is a link to what is in place, the other still one to what is on record.
    let name = layout.name(&Name::new("src/a").unwrap());
    shell.unlink(&name).unwrap();
    shell.link(&blob, &name).unwrap();
    world.settle();
    world
}

#[test]
fn names_of_what_is_recorded_and_of_what_is_in_place_follow_a_heal() {
    let start = copied_and_damaged(14);
    let workload = |process: &Arc<Simulated>| {
        let opened = Opened::open(process).unwrap();
        let options = AddOptions { verify_existing: true, ..AddOptions::default() };
        opened.add(&["/good"], &options).unwrap();
    };
    let healed = |log: &Log| log.noted(&format!("added good/a {}", digest(A)));
    let check = |world: &World, log: &Log| heals(world, &account(log), healed(log));
    let cuts = Enumeration::new(14, &start).samples(many(4) as usize);
    report("heal a copied store", cuts.power_cuts(workload, |_, world, log| check(world, log)));
    report(
        "heal a copied store, killed",
        Enumeration::new(14, &start).kills(workload, |_, world, log| check(world, log)),
    );
}

/// Whichever call of a heal fails, and how: the next process has the blob healed or as bad as before, never half, and the
/// bad bytes are kept for whoever looks into it.
#[test]
fn a_heal_that_fails_is_finished_by_the_next_and_keeps_the_evidence() {
    for (errno, always) in [(errno::ENOSPC, false), (errno::EIO, false), (errno::ENOSPC, true), (errno::EIO, true)] {
        let start = damaged(15, false);
        let place = Layout::new(kit::STORE).blob(&digest(A));
        let (bad, old) = (start.read(&place).unwrap(), start.look(&place).unwrap().inode);
        let workload = |process: &Arc<Simulated>| {
            let opened = Opened::open(process)?;
            let options = AddOptions { verify_existing: true, ..AddOptions::default() };
            let added = opened.add(&["/good"], &options);
            // As a program that goes on would.
            let _ = opened.put("/src/b", "unrelated", B);
            added
        };
        let coverage = Enumeration::new(15, &start).failures(errno, always, workload, |_, world, outcome| {
            let added = matches!(outcome.finished(), Some(Ok(report)) if report.failed == 0);
            if kit::is_aborted(world) {
                return;
            }
            let next = Opened::open(&world.process("next")).unwrap();
            next.ledger.hold(|_| Ok(())).expect("the next process goes on");
            let stored = world.read(next.ledger.blobs.path(&digest(A))).unwrap();
            let row = next.ledger.snapshot().unwrap().blob(&digest(A)).unwrap().unwrap();
            let inode = world.look(next.ledger.blobs.path(&digest(A))).unwrap().inode;
            assert!(!added || stored == A, "it was acknowledged as healed");
            assert_eq!(row.stamp.inode, inode, "what is on record is not what is in place");
            assert_eq!(stored == A, inode != old, "half healed");
            let evidence = world.tree().into_keys().filter(|path| {
                (path.starts_with("/store/quarantine") || path.starts_with("/store/sha256"))
                    && world.read(path).is_some_and(|bytes| bytes == bad)
            });
            assert_eq!(evidence.count(), 1, "the bad bytes are gone");
            let mut account = account(&world.log());
            account.troubled = true;
            heals(world, &account, added);
        });
        report(&format!("heal, errno {errno}, always: {always}"), coverage);
    }
}
