//! `check --repair`: what is found is mended, whatever crashes on the way, and nothing that was known is lost by it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::kit::{self, Opened, at, blob, digest, many, name, repaired, report, world};
use larder::format::layout::Layout;
use larder::format::settings::Durability;
use larder::ledger::Tables;
use larder::machine::simulated::{Enumeration, Simulated, World};
use larder::machine::{Machine, Open};
use larder::work::check::check;
use larder::work::copies::{CopiesOptions, copies};
use larder::work::ingest::{AddOptions, AliasKind};
use larder::work::mend::{MendReport, PIN_NOTE, mend, plan};
use larder::work::names::{Target, link, pin};
use larder::{Digest, ErrorKind, FindingCode, Prefix, Result, Silent};

const A: &[u8] = b"the bytes of the first file";
const B: &[u8] = b"other bytes, of the second file";
const C: &[u8] = b"what the third file holds";
const D: &[u8] = b"the fourth";
const E: &[u8] = b"the fifth, of which there is no file under names/";

/// One frame for nearly every name; E has a counted name alone, D a pin alone.
fn begun(seed: u64) -> World {
    let sources: [(&str, &[u8]); 7] = [
        ("/src/a", A),
        ("/src/again", A),
        ("/src/empty", b""),
        ("/more/b", B),
        ("/more/c", C),
        ("/more/d", D),
        ("/more/e", E),
    ];
    let world = world(seed, Durability::Batch, &sources);
    let opened = Opened::open(&world.process("before")).unwrap();
    opened.add(&["/src"], &AddOptions::default()).unwrap();
    opened.put("/more/b", "b", B).unwrap();
    opened.put("/more/c", "deep/er/c", C).unwrap();
    let counted = AddOptions { alias: Some(AliasKind::Counted), name: Some(name("e")), ..AddOptions::default() };
    opened.add(&["/more/e"], &counted).unwrap();
    opened.put("/more/d", "d", D).unwrap();
    pin(&opened.ctx(), &Target::Digest(digest(D)), "mine").unwrap();
    opened.remove(&["d"]).unwrap();
    drop(opened);
    world.settle();
    world
}

const HARDLINKED: [(&str, &[u8]); 5] = [("src/a", A), ("src/again", A), ("src/empty", b""), ("b", B), ("deep/er/c", C)];

fn meanings(opened: &Opened) -> BTreeMap<String, Digest> {
    let snapshot = opened.ledger.snapshot().unwrap();
    let rows = snapshot.aliases(&Prefix::Everything).collect::<Result<Vec<_>>>().unwrap();
    rows.into_iter().map(|(name, row)| (name.to_string(), row.digest)).collect()
}

fn is_clean(world: &World) -> Opened {
    let opened = Opened::open(&world.process("looking")).unwrap();
    let report = check(&opened.ctx(), &Silent).unwrap();
    assert_eq!(report.findings, 0, "{report:?}");
    opened
}

fn set_mode(machine: &Arc<Simulated>, path: &Path, mode: u32) {
    machine.open(path, Open::Read).unwrap().set_mode(mode).unwrap();
}

/// Does one thing to a store, repairs it, and sees that nothing is wrong any more.
fn mends(seed: u64, code: FindingCode, what: impl FnOnce(&World, &Arc<Simulated>)) -> (World, MendReport) {
    let world = begun(seed);
    let vandal = world.process("vandal");
    what(&world, &vandal);
    let opened = Opened::open(&world.process("plan")).unwrap();
    let before = world.fingerprint();
    let planned = plan(&opened.ctx(), &Silent).unwrap();
    assert!(planned.mendable.iter().any(|finding| finding.code == code), "{planned:?}");
    assert_eq!(world.fingerprint(), before, "a plan changes nothing");
    drop(opened);
    let (opened, report) = repaired(&world);
    assert_eq!((report.failed, report.after.findings), (0, 0), "{report:?}");
    assert!(report.by_code[&code] > 0);
    drop(opened);
    let opened = is_clean(&world);
    let known = meanings(&opened);
    for (name, bytes) in HARDLINKED {
        assert_eq!(known.get(name), Some(&digest(bytes)), "{name}");
    }
    kit::agrees(&world, &opened);
    opened.collect_with(Duration::ZERO, Duration::ZERO).unwrap();
    kit::never_lies(&world);
    (world, report)
}

#[test]
fn blobs_are_mended() {
    mends(1, FindingCode::BlobMissing, |_, vandal| vandal.unlink(&blob(A)).unwrap());
    let (world, _) = mends(2, FindingCode::BlobMode, |_, vandal| set_mode(vandal, &blob(A), 0o666));
    assert_eq!(world.look(blob(A)).unwrap().mode, 0o444);
    mends(3, FindingCode::BlobStamp, |_, vandal| vandal.open(&blob(A), Open::Read).unwrap().set_mtime(1).unwrap());
    // Another inode with the same bytes, as a copied store has.
    mends(4, FindingCode::BlobStamp, |world, vandal| {
        vandal.unlink(&blob(A)).unwrap();
        world.put(blob(A), A);
        set_mode(vandal, &blob(A), 0o444);
        vandal.unlink(&at("src/a")).unwrap();
    });
    let (world, _) = mends(5, FindingCode::Orphan, |world, _| world.put(blob(b"never added"), b"never added"));
    assert_eq!(world.read(blob(b"never added")), None, "it was taken in without a root, and collected");
    let (world, _) = mends(6, FindingCode::Orphan, |world, _| world.put(blob(b"never added"), b"something else"));
    let kept = world.tree().into_keys().filter(|path| path.parent() == Some(Path::new("/store/quarantine")));
    assert_eq!(kept.filter(|path| world.read(path).as_deref() == Some(b"something else")).count(), 1);
}

/// Two files of A, made by the process that does the damage.
fn two_of_a(process: &Arc<Simulated>) -> PathBuf {
    let opened = Opened::open(process).unwrap();
    let options = CopiesOptions { copies: 2, dry_run: false };
    copies(&opened.ctx(), &[Target::Digest(digest(A))], &[], &options, &Silent).unwrap();
    let (number, _) = opened.ledger.snapshot().unwrap().carriers(&digest(A)).unwrap()[0];
    Layout::new(kit::STORE).carrier(&digest(A), number)
}

#[test]
fn carriers_are_mended() {
    mends(7, FindingCode::CarrierMissing, |_, vandal| vandal.unlink(&two_of_a(vandal)).unwrap());
    mends(8, FindingCode::CarrierStamp, |_, vandal| {
        vandal.open(&two_of_a(vandal), Open::Read).unwrap().set_mtime(1).unwrap();
    });
    let another = Layout::new(kit::STORE).carrier(&digest(A), 9);
    let (world, _) = mends(9, FindingCode::CarrierOrphan, |world, vandal| {
        two_of_a(vandal);
        world.put(&another, A);
        set_mode(vandal, &another, 0o444);
    });
    let opened = Opened::open(&world.process("looking")).unwrap();
    assert_eq!(opened.ledger.snapshot().unwrap().carriers(&digest(A)).unwrap().len(), 2);
}

#[test]
fn names_are_mended() {
    mends(10, FindingCode::NameMissing, |_, vandal| vandal.unlink(&at("src/a")).unwrap());
    mends(11, FindingCode::NameWrongInode, |world, vandal| {
        vandal.unlink(&at("src/a")).unwrap();
        world.put(at("src/a"), A);
        set_mode(vandal, &at("src/a"), 0o444);
    });
    mends(12, FindingCode::NameUnapplied, |world, vandal| {
        world.put(at("taken"), b"somebody's");
        let opened = Opened::open(vandal).unwrap();
        link(&opened.ctx(), &Target::Digest(digest(A)), &name("taken"), false, None).unwrap();
        vandal.unlink(&at("taken")).unwrap();
    });
    let (world, _) = mends(13, FindingCode::NameUnrecorded, |_, vandal| vandal.link(&blob(A), &at("mine")).unwrap());
    let opened = Opened::open(&world.process("looking")).unwrap();
    assert_eq!(meanings(&opened).get("mine"), Some(&digest(A)));
}

/// A name's record tells what it replaces by its inode alone: had the repair crashed behind that, whatever somebody wrote to
/// his file before the next command would have gone with it.
#[test]
fn a_copy_that_may_be_written_to_is_left_where_it_is() {
    let world = begun(14);
    world.process("somebody").unlink(&at("src/a")).unwrap();
    world.put(at("src/a"), A);
    let inode = world.look(at("src/a")).unwrap().inode;
    let (opened, report) = repaired(&world);
    assert_eq!((report.failed, report.after.findings), (1, 1), "{report:?}");
    assert_eq!(world.look(at("src/a")).unwrap().inode, inode);
    drop(opened);
    set_mode(&world.process("somebody"), &at("src/a"), 0o444);
    assert_eq!(repaired(&world).1.after.findings, 0);
    assert_ne!(world.look(at("src/a")).unwrap().inode, inode);
}

#[test]
fn what_lies_about_is_mended() {
    mends(20, FindingCode::DirectoryMissing, |_, vandal| vandal.remove_dir(Path::new("/store/trash")).unwrap());
    mends(21, FindingCode::StagingStale, |world, _| {
        world.put_dir("/store/staging/00112233445566778899aabbccddeeff");
        world.put("/store/staging/00112233445566778899aabbccddeeff/0", b"staged");
    });
    let aside = Path::new("/store/staging/aside-00112233445566778899aabbccddeeff");
    mends(22, FindingCode::StagingAside, |_, vandal| vandal.link(&blob(A), aside).unwrap());
    mends(23, FindingCode::JournalUnfinished, |world, _| {
        world.put("/store/journal/0000000000000009-0000000000000000.base.new", b"x");
    });
    mends(24, FindingCode::JournalTorn, |world, vandal| {
        let file = vandal.open(&segment(world), Open::ReadWrite).unwrap();
        file.write_at(&[7; 200], file.meta().unwrap().size_bytes).unwrap();
    });
    mends(25, FindingCode::IndexBad, |world, vandal| {
        Opened::open(vandal).unwrap().ledger.fold(true).unwrap();
        let run = world.tree().into_keys().find(|path| path.to_string_lossy().ends_with(".run")).unwrap();
        assert!(world.corrupt(run, 200));
    });
    mends(26, FindingCode::RunUnnamed, |world, vandal| {
        Opened::open(vandal).unwrap().ledger.fold(true).unwrap();
        world.put("/store/index/0123456789abcdef.run", b"nothing");
    });
    mends(27, FindingCode::BaseBad, |world, vandal| {
        Opened::open(vandal).unwrap().ledger.compact().unwrap();
        let base = world.tree().into_keys().find(|path| path.to_string_lossy().ends_with(".base")).unwrap();
        assert!(world.corrupt(base, 300));
    });
}

/// What has no good copy anywhere stays on record, and is told: nothing is made up.
#[test]
fn a_blob_that_is_nowhere_is_marked_and_its_names_are_kept() {
    let world = begun(30);
    let vandal = world.process("vandal");
    for path in [blob(A), at("src/a"), at("src/again")] {
        vandal.unlink(&path).unwrap();
    }
    world.put(at("src/a"), b"somebody's own");
    let (opened, report) = repaired(&world);
    let left: Vec<_> = report.after.by_code.keys().copied().collect();
    assert!(left.contains(&FindingCode::BlobDamaged), "{report:?}");
    let snapshot = opened.ledger.snapshot().unwrap();
    assert!(snapshot.alias(&name("src/a")).unwrap().is_some() && snapshot.alias(&name("src/again")).unwrap().is_some());
    assert!(snapshot.damaged(&digest(A)).unwrap().unwrap().quarantined);
    assert_eq!(world.read(at("src/a")).unwrap(), b"somebody's own");
    // Good bytes heal it.
    vandal.unlink(&at("src/a")).unwrap();
    assert_eq!(
        opened.add(&["/src/a"], &AddOptions { prefix: Some(name("x")), ..AddOptions::default() }).unwrap().failed,
        0
    );
    let (_, report) = repaired(&world);
    assert_eq!(report.after.findings, 0, "{report:?}");
    kit::agrees(&world, &is_clean(&world));
}

/// A blob whose bytes are wrong is not restamped.
#[test]
fn wrong_bytes_are_put_on_record_and_not_believed() {
    let world = begun(31);
    let vandal = world.process("vandal");
    assert!(world.corrupt(blob(A), 3));
    vandal.open(&blob(A), Open::Read).unwrap().set_mtime(1).unwrap();
    let (opened, report) = repaired(&world);
    assert_eq!(report.after.by_code.get(&FindingCode::BlobDamaged), Some(&1), "{report:?}");
    assert!(opened.ledger.snapshot().unwrap().damaged(&digest(A)).unwrap().is_some());
}

fn segment(world: &World) -> PathBuf {
    let is = |path: &PathBuf| path.starts_with("/store/journal") && path.to_string_lossy().ends_with(".log");
    world.tree().into_keys().find(is).unwrap()
}

/// Where frames begin, by their magic.
fn frames(bytes: &[u8]) -> Vec<usize> {
    (0..bytes.len().saturating_sub(4)).step_by(8).filter(|at| &bytes[*at..*at + 4] == b"LFr1").collect()
}

/// After a repair: no fence, everything on the disk has its name or a pin, and collecting takes nothing of it.
fn is_whole(world: &World, what: &str) -> BTreeMap<String, Digest> {
    let opened = Opened::open(&world.process("looking")).unwrap();
    let report = check(&opened.ctx(), &Silent).unwrap();
    assert_eq!(report.findings, 0, "{what}: {report:?}");
    let snapshot = opened.ledger.snapshot().unwrap();
    assert!(!snapshot.is_fenced().unwrap() && snapshot.damage.is_empty(), "{what}");
    let known = meanings(&opened);
    for (name, bytes) in HARDLINKED {
        assert_eq!(known.get(name), Some(&digest(bytes)), "{what}: {name}");
    }
    opened.collect_with(Duration::ZERO, Duration::ZERO).unwrap_or_else(|e| panic!("{what}: {e}"));
    for bytes in [A, B, C, D, E] {
        assert_eq!(world.read(blob(bytes)).as_deref(), Some(bytes), "{what}: a blob is gone");
    }
    kit::agrees(world, &opened);
    opened.ledger.compact().unwrap_or_else(|e| panic!("{what}: {e}"));
    known
}

/// Every frame of the journal is damaged, one at a time: without the index, what is on the disk comes back, and what may
/// have had a name is kept; with it, everything does.
#[test]
fn a_damaged_stretch_of_the_journal_is_mended_and_the_fence_lifted() {
    for indexed in [false, true] {
        let start = begun(40);
        let opened = Opened::open(&start.process("before")).unwrap();
        let rows = opened.rows();
        if indexed {
            opened.ledger.fold(true).unwrap();
            opened.put("/more/b", "later", B).unwrap();
        }
        drop(opened);
        let path = segment(&start);
        let begins = frames(&start.read(&path).unwrap());
        for (number, begin) in begins.iter().enumerate().take(begins.len() - usize::from(indexed)) {
            let what = format!("frame {number} of {}, indexed: {indexed}", begins.len());
            let world = start.snapshot().world(40);
            assert!(world.corrupt(&path, *begin as u64 + 110));
            // Some writer may have come upon it before, or not.
            if number % 2 == 0 {
                let writer = Opened::open(&world.process("writer")).unwrap();
                writer.put("/more/b", "between", B).unwrap();
            }
            let (opened, report) = repaired(&world);
            assert_eq!((report.failed, report.after.findings), (0, 0), "{what}: {report:?}");
            drop(opened);
            let opened = Opened::open(&world.process("looking")).unwrap();
            let now: BTreeMap<_, _> = opened.rows().into_iter().collect();
            drop(opened);
            let known = is_whole(&world, &what);
            if indexed {
                for (key, value) in &rows {
                    assert_eq!(now.get(key), Some(value), "{what}: a row is lost, though the index had it");
                }
                assert_eq!(known.get("later"), Some(&digest(B)), "{what}");
            }
            let kept = world.tree().into_keys().filter(|path| path.starts_with("/store/quarantine"));
            assert!(kept.count() > 0, "{what}: the damaged segment is kept");
        }
    }
}

/// While a fence stands, whatever may have lost its name is kept; the note says why.
#[test]
fn what_may_have_lost_its_name_is_pinned() {
    let world = begun(41);
    let path = segment(&world);
    let begins = frames(&world.read(&path).unwrap());
    // The frame that gave E its counted name.
    let found = begins.iter().copied().find(|begin| {
        let world = world.snapshot().world(1);
        assert!(world.corrupt(&path, *begin as u64 + 110));
        !meanings(&Opened::open(&world.process("looking")).unwrap()).contains_key("e")
    });
    assert!(world.corrupt(&path, found.unwrap() as u64 + 110));
    let (opened, report) = repaired(&world);
    assert_eq!((report.lifted, report.after.findings), (1, 0), "{report:?}");
    assert_eq!(opened.ledger.snapshot().unwrap().pin(&digest(E)).unwrap().unwrap().note, PIN_NOTE);
    is_whole(&world, "pinned");
}

/// A blob that had lost its last name got a counted one in the frame that is damaged now: it may not go.
#[test]
fn what_was_about_to_go_may_have_got_a_name() {
    let world = begun(44);
    let opened = Opened::open(&world.process("before")).unwrap();
    opened.put("/more/b", "other", B).unwrap();
    opened.remove(&["b", "other"]).unwrap();
    let end = world.read(segment(&world)).unwrap().len();
    link(&opened.ctx(), &Target::Digest(digest(B)), &name("counted"), false, Some(AliasKind::Counted)).unwrap();
    opened.put("/more/c", "later", C).unwrap();
    drop(opened);
    assert!(world.corrupt(segment(&world), end as u64 + 110));
    let (opened, report) = repaired(&world);
    assert_eq!((report.pinned, report.after.findings), (1, 0), "{report:?}");
    opened.collect_with(Duration::ZERO, Duration::ZERO).unwrap();
    assert_eq!(world.read(blob(B)).as_deref(), Some(B));
}

/// What cannot be mended keeps the fence up.
#[test]
fn the_fence_stays_while_anything_is_left() {
    let world = begun(42);
    let path = segment(&world);
    let begins = frames(&world.read(&path).unwrap());
    assert!(world.corrupt(&path, begins[1] as u64 + 110));
    world.bad_sector(blob(B), 0..5);
    let (opened, report) = repaired(&world);
    assert!(report.failed > 0 && report.lifted == 0, "{report:?}");
    assert!(opened.ledger.snapshot().unwrap().is_fenced().unwrap());
    let collected = opened.collect_with(Duration::ZERO, Duration::ZERO);
    assert_eq!(collected.unwrap_err().kind(), ErrorKind::Refused);
}

/// Another process that saw the damage before does not fence it again.
#[test]
fn whoever_knew_of_the_damage_learns_that_it_is_mended() {
    let world = begun(43);
    let path = segment(&world);
    let begins = frames(&world.read(&path).unwrap());
    assert!(world.corrupt(&path, begins[1] as u64 + 110));
    let other = Opened::open(&world.process("other")).unwrap();
    other.put("/more/b", "before", B).unwrap();
    let (opened, report) = repaired(&world);
    assert_eq!(report.after.findings, 0, "{report:?}");
    for opened in [&other, &opened] {
        opened.put("/more/b", "after", B).unwrap();
        assert!(!opened.ledger.snapshot().unwrap().is_fenced().unwrap());
        opened.collect_with(Duration::ZERO, Duration::ZERO).unwrap();
    }
    is_whole(&world, "other");
}

/// A store with much trouble at once.
fn troubled(seed: u64) -> World {
    let world = begun(seed);
    let vandal = world.process("vandal");
    let path = segment(&world);
    let begins = frames(&world.read(&path).unwrap());
    assert!(world.corrupt(&path, begins[1] as u64 + 110));
    vandal.unlink(&at("src/a")).unwrap();
    vandal.unlink(&blob(C)).unwrap();
    set_mode(&vandal, &blob(D), 0o644);
    world.put(blob(b"never added"), b"never added");
    world.put_dir("/store/staging/00112233445566778899aabbccddeeff");
    world.put("/store/staging/00112233445566778899aabbccddeeff/0", b"staged");
    vandal.remove_dir(Path::new("/store/trash")).unwrap();
    world.settle();
    world
}

#[test]
fn repairing_survives_a_crash_at_every_call() {
    let start = troubled(50);
    let workload = |process: &Arc<Simulated>| {
        let opened = Opened::open(process).unwrap();
        let report = mend(&opened.ctx(), &Silent).unwrap();
        assert_eq!((report.failed, report.after.findings), (0, 0), "{report:?}");
        process.note("mended");
    };
    let finishes = |world: &World, done: bool| {
        kit::never_lies(world);
        // What was removed may come back with a power cut: rubbish, and nothing else.
        let (_, report) = repaired(world);
        assert_eq!((report.failed, report.after.findings), (0, 0), "{report:?}");
        assert!(!done || report.by_code.keys().all(|code| *code == FindingCode::StagingStale), "{report:?}");
        let known = is_whole(world, "after a crash");
        assert_eq!(known.get("b"), Some(&digest(B)));
    };
    let cuts = Enumeration::new(50, &start).samples(many(2) as usize).images(larder::machine::simulated::Images::Basic);
    report("repair", cuts.power_cuts(workload, |_, world, log| finishes(world, log.noted("mended"))));
    let kills = Enumeration::new(51, &start).kills(workload, |_, world, log| finishes(world, log.noted("mended")));
    report("repair, killed", kills);
}

/// Failing calls: an error or a failure that is told, and a later repair goes on.
#[test]
fn repairing_survives_failing_calls() {
    let start = troubled(52);
    for errno in [larder::machine::simulated::errno::EIO, larder::machine::simulated::errno::ENOSPC] {
        let coverage = Enumeration::new(52, &start).failures(
            errno,
            false,
            |process| {
                let opened = Opened::open(process)?;
                mend(&opened.ctx(), &Silent).map(drop)
            },
            |_, world, outcome| {
                let _ = kit::finished(outcome);
                kit::never_lies(world);
                if kit::is_aborted(world) {
                    return;
                }
                let (_, report) = repaired(world);
                assert_eq!((report.failed, report.after.findings), (0, 0), "{report:?}");
                is_whole(world, "after a failure");
            },
        );
        report(&format!("repair, errno {errno}"), coverage);
    }
}
