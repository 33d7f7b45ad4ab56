//! `check`: every kind of trouble is found under its code, and nothing else; work that goes on meanwhile, or that a
//! crash cut off, is none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::kit::{self, Opened, blob, digest, for_seeds, report, world};
use larder::format::layout::Layout;
use larder::format::settings::Durability;
use larder::ledger::Tables;
use larder::machine::simulated::{Enumeration, Outcome, Schedule, Simulated, World, task};
use larder::machine::{Machine, Open};
use larder::work::check::{CheckReport, check};
use larder::work::copies::{CopiesOptions, copies};
use larder::work::ingest::{AddOptions, AliasKind};
use larder::work::names::{Target, link, pin};
use larder::work::verify::{VerifyOptions, verify};
use larder::{Event, Finding, FindingCode, Name, Observer, Result, Silent};

const A: &[u8] = b"the bytes of the first file";
const B: &[u8] = b"other bytes, of the second file";
const C: &[u8] = b"what the third file holds";
const D: &[u8] = b"the fourth";

#[derive(Default)]
struct Found(Mutex<Vec<Finding>>);

impl Observer for Found {
    fn event(&self, event: &Event) {
        if let Event::Found(finding) = event {
            self.0.lock().unwrap().push(finding.clone());
        }
    }
}

/// What a check finds, and its report, which must agree.
fn findings(opened: &Opened) -> (Vec<Finding>, CheckReport) {
    let found = Found::default();
    let report = check(&opened.ctx(), &found).expect("a check comes to its end");
    let found = found.0.into_inner().unwrap();
    assert_eq!(report.findings, found.len() as u64);
    let mut counts = BTreeMap::new();
    found.iter().for_each(|finding| *counts.entry(finding.code).or_default() += 1);
    assert_eq!(report.by_code, counts);
    (found, report)
}

fn codes(opened: &Opened) -> Vec<&'static str> {
    let mut codes: Vec<_> = findings(opened).0.iter().map(|finding| finding.code.word()).collect();
    codes.sort_unstable();
    codes
}

/// Names in directories and beside them, one counted, one empty, a pin, a blob that nothing keeps.
fn begun(seed: u64) -> World {
    let sources: [(&str, &[u8]); 8] = [
        ("/src/a", A),
        ("/src/a-b", B),
        ("/src/deep/er/c", C),
        ("/src/again", A),
        ("/src/empty", b""),
        ("/more/d", D),
        ("/more/a", A),
        ("/more/fresh", b"bytes that nobody has added yet"),
    ];
    let world = world(seed, Durability::Batch, &sources);
    let opened = Opened::open(&world.process("before")).unwrap();
    opened.add(&["/src"], &AddOptions::default()).unwrap();
    opened.put("/more/d", "going", D).unwrap();
    opened.remove(&["going"]).unwrap();
    let ctx = opened.ctx();
    let counted = Some(AliasKind::Counted);
    link(&ctx, &Target::Digest(digest(B)), &Name::new("src/counted").unwrap(), false, counted).unwrap();
    pin(&ctx, &Target::Digest(digest(C)), "mine").unwrap();
    drop(opened);
    world.settle();
    world
}

fn opened(world: &World) -> Opened {
    Opened::open(&world.process("check")).unwrap()
}

#[test]
fn a_sound_store_has_no_findings() {
    let world = begun(1);
    let fingerprint = world.fingerprint();
    let (found, report) = findings(&opened(&world));
    assert_eq!(found, []);
    assert_eq!((report.blobs, report.names, report.interrupted), (5, 6, false), "{report:?}");
    assert!(report.frames > 3);
    assert_eq!(world.fingerprint(), fingerprint, "a check changes nothing");
    for step in ["fold", "compact", "rebuild"] {
        let opened = opened(&world);
        match step {
            "fold" => opened.ledger.fold(true).unwrap(),
            "compact" => _ = opened.ledger.compact().unwrap(),
            _ => _ = opened.ledger.rebuild().unwrap(),
        }
        assert_eq!(codes(&opened), [""; 0], "after {step}");
    }
}

/// Does one thing to a sound store, and says what is found then.
fn after(seed: u64, what: impl FnOnce(&World, &Arc<Simulated>)) -> (Vec<Finding>, World) {
    let world = begun(seed);
    let vandal = world.process("vandal");
    what(&world, &vandal);
    let found = findings(&opened(&world)).0;
    (found, world)
}

fn only(found: &[Finding], code: FindingCode) -> &Finding {
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].code, code, "{found:?}");
    &found[0]
}

fn set_mode(machine: &Arc<Simulated>, path: &Path, mode: u32) {
    machine.open(path, Open::Read).unwrap().set_mode(mode).unwrap();
}

#[test]
fn trouble_with_blobs_is_found_under_its_code() {
    let (found, _) = after(2, |_, vandal| vandal.unlink(&blob(A)).unwrap());
    let finding = only(&found, FindingCode::BlobMissing);
    assert_eq!(finding.names, ["src/a", "src/again"].map(|name| Name::new(name).unwrap()));
    assert_eq!(finding.digest, Some(digest(A)));
    let (found, _) = after(3, |_, vandal| {
        vandal.unlink(&blob(A)).unwrap();
        vandal.create_dir(&blob(A), 0o755).unwrap();
    });
    // The names are still files of the blob; that they are not links to a directory is told of the blob.
    assert!(found.iter().any(|finding| finding.code == FindingCode::BlobKind), "{found:?}");
    let (found, _) = after(4, |_, vandal| set_mode(vandal, &blob(A), 0o644));
    only(&found, FindingCode::BlobMode);
    let (found, _) = after(5, |_, vandal| {
        set_mode(vandal, &blob(A), 0o644);
        vandal.open(&blob(A), Open::ReadWrite).unwrap().set_len(5).unwrap();
        set_mode(vandal, &blob(A), 0o444);
    });
    only(&found, FindingCode::BlobSize);
    let (found, _) = after(6, |_, vandal| vandal.open(&blob(A), Open::Read).unwrap().set_mtime(1).unwrap());
    only(&found, FindingCode::BlobStamp);
    let (found, _) = after(7, |world, _| world.put(blob(b"never added"), b"never added"));
    only(&found, FindingCode::Orphan);
    let (found, _) = after(8, |world, vandal| {
        assert!(world.corrupt(blob(A), 3));
        let opened = Opened::open(vandal).unwrap();
        verify(&opened.ctx(), &[], &[], &VerifyOptions { quarantine: true }, &Silent).unwrap();
    });
    only(&found, FindingCode::BlobDamaged);
}

#[test]
fn trouble_with_names_is_found_under_its_code() {
    let name = |name: &str| Layout::new(kit::STORE).names().join(name);
    let (found, _) = after(10, |_, vandal| vandal.unlink(&name("src/a")).unwrap());
    assert_eq!(only(&found, FindingCode::NameMissing).path, Path::new("names/src/a"));
    let (found, _) = after(11, |world, vandal| {
        vandal.unlink(&name("src/a")).unwrap();
        world.put(name("src/a"), A);
    });
    only(&found, FindingCode::NameWrongInode);
    let (found, _) = after(12, |world, vandal| {
        vandal.unlink(&name("src/empty")).unwrap();
        world.put(name("src/empty"), b"not empty");
    });
    only(&found, FindingCode::NameWrongInode);
    let (found, _) = after(13, |_, vandal| vandal.link(&blob(B), &name("src/more")).unwrap());
    assert_eq!(only(&found, FindingCode::NameUnrecorded).digest, Some(digest(B)));
    let (found, _) = after(14, |world, _| world.put(name("src/foreign"), b"somebody's"));
    only(&found, FindingCode::NameForeign);
    let (found, _) = after(15, |_, vandal| vandal.symlink(Path::new("/etc"), &name("src/link")).unwrap());
    only(&found, FindingCode::NameForeign);
    let (found, _) = after(16, |world, vandal| {
        world.put(name("taken"), b"somebody's");
        let opened = Opened::open(vandal).unwrap();
        link(&opened.ctx(), &Target::Digest(digest(A)), &Name::new("taken").unwrap(), false, None).unwrap();
    });
    only(&found, FindingCode::NameUnapplied);
    let (found, _) = after(17, |_, vandal| {
        vandal.unlink(&name("src/deep/er/c")).unwrap();
        vandal.remove_dir(&name("src/deep/er")).unwrap();
        vandal.remove_dir(&name("src/deep")).unwrap();
        vandal.create_dir(&name("src/deeper"), 0o755).unwrap();
    });
    only(&found, FindingCode::NameMissing);
}

fn in_journal(world: &World, end: &str) -> PathBuf {
    let journal = Path::new("/store/journal");
    let is = |path: &PathBuf| path.parent() == Some(journal) && path.to_string_lossy().ends_with(end);
    world.tree().into_keys().find(is).unwrap()
}

#[test]
fn trouble_with_journal_and_index_is_found_under_its_code() {
    // The index has what is in the damaged frame: nothing is missing yet.
    let (found, world) = after(20, |world, vandal| {
        Opened::open(vandal).unwrap().ledger.fold(true).unwrap();
        assert!(world.corrupt(in_journal(world, ".log"), 300));
    });
    only(&found, FindingCode::JournalDamage);
    Opened::open(&world.process("writer")).unwrap().ledger.rebuild().unwrap();
    let found = findings(&opened(&world)).0;
    assert_eq!(found[0].code, FindingCode::JournalFenced, "{found:?}");
    // Without that frame, what it said is found missing on the disk.
    let count = |code| found.iter().filter(|finding| finding.code == code).count();
    assert_eq!((count(FindingCode::NameUnrecorded), count(FindingCode::JournalDamage)), (5, 0), "{found:?}");
    let (found, _) = after(21, |world, vandal| {
        let file = vandal.open(&in_journal(world, ".log"), Open::ReadWrite).unwrap();
        let end = file.meta().unwrap().size_bytes;
        file.write_at(&[7; 200], end).unwrap();
    });
    only(&found, FindingCode::JournalTorn);
    let (found, _) = after(22, |_, vandal| {
        let all: Vec<_> = vandal.list(Path::new("/store/journal")).unwrap();
        all.iter().for_each(|entry| vandal.unlink(&Path::new("/store/journal").join(&entry.name)).unwrap());
        vandal.unlink(Path::new("/store/names/src/a")).unwrap();
    });
    assert!(found.iter().any(|finding| finding.code == FindingCode::JournalDamage), "{found:?}");
    let (found, _) = after(23, |world, _| world.put("/store/journal/0000000000000009-0000000000000000.base.new", b"x"));
    only(&found, FindingCode::JournalUnfinished);
    let (found, _) = after(24, |world, vandal| {
        let opened = Opened::open(vandal).unwrap();
        opened.ledger.compact().unwrap();
        assert!(world.corrupt(in_journal(world, ".base"), 300));
    });
    assert!(found.iter().any(|finding| finding.code == FindingCode::BaseBad), "{found:?}");
    let (found, _) = after(25, |world, vandal| {
        Opened::open(vandal).unwrap().ledger.fold(true).unwrap();
        let run = world.tree().into_keys().find(|path| path.to_string_lossy().ends_with(".run")).unwrap();
        assert!(world.corrupt(run, 200));
    });
    only(&found, FindingCode::IndexBad);
    let (found, _) = after(26, |world, _| world.put("/store/index/0123456789abcdef.run", b"nothing"));
    only(&found, FindingCode::RunUnnamed);
}

/// The index of another moment, put in the place of this one's, with every checksum right.
#[test]
fn an_index_that_disagrees_with_the_journal_is_found() {
    let (found, _) = after(27, |_, vandal| {
        let opened = Opened::open(vandal).unwrap();
        let ledger = &opened.ledger;
        ledger.fold(true).unwrap();
        let (index, current) =
            larder::parts::index::Index::open(vandal.as_ref(), &ledger.layout.index()).unwrap().unwrap();
        drop(index);
        // A run of nothing takes the place of all.
        let view = larder::parts::index::View::default();
        let none = view.overlay();
        let run =
            larder::parts::index::write_run(vandal.as_ref(), &ledger.layout.index(), none.seek(&[]), 0, &[]).unwrap();
        let mut lying = current;
        lying.runs = vec![run];
        larder::parts::index::replace_current(vandal.as_ref(), &ledger.layout.index(), &lying).unwrap();
        larder::parts::index::remove_unnamed(vandal.as_ref(), &ledger.layout.index(), Some(&lying)).unwrap();
    });
    assert!(found.iter().any(|finding| finding.code == FindingCode::IndexDisagrees), "{found:?}");
}

#[test]
fn trouble_with_the_layout_and_staging_is_found_under_its_code() {
    let (found, _) = after(30, |_, vandal| vandal.remove_dir(Path::new("/store/trash")).unwrap());
    only(&found, FindingCode::DirectoryMissing);
    let (found, _) = after(31, |_, vandal| vandal.unlink(Path::new("/store/reserve")).unwrap());
    only(&found, FindingCode::FileMissing);
    let (found, _) = after(32, |world, _| {
        world.put_dir("/store/staging/00112233445566778899aabbccddeeff");
        world.put("/store/staging/00112233445566778899aabbccddeeff/0", b"staged");
    });
    only(&found, FindingCode::StagingStale);
    let aside = "/store/staging/aside-00112233445566778899aabbccddeeff";
    let (found, _) = after(33, |world, _| world.put(aside, b"somebody's"));
    only(&found, FindingCode::StagingAside);
}

/// An index without what it should have is no reason to say nothing: everything is read from the journal.
#[test]
fn a_store_without_an_index_is_checked_all_the_same() {
    let (found, _) = after(34, |world, vandal| {
        let files = world.tree().into_keys().filter(|path| path.parent() == Some(Path::new("/store/index")));
        files.for_each(|path| vandal.unlink(&path).unwrap());
        vandal.unlink(&blob(C)).unwrap();
    });
    only(&found, FindingCode::BlobMissing);
}

/// What others do meanwhile is never a finding, in any order of their calls.
#[test]
fn work_that_goes_on_is_no_finding() {
    let start = begun(40).snapshot();
    for_seeds("check beside others", 150, |seed| {
        let world = start.world(seed);
        let add = task("add", |process: Arc<Simulated>| -> Result<Vec<Finding>> {
            let opened = Opened::open(&process)?;
            opened.add(&["/more"], &AddOptions { replace: true, ..AddOptions::default() })?;
            opened.put("/more/d", "src/a", D)?;
            let two = CopiesOptions { copies: 2, dry_run: false };
            copies(&opened.ctx(), &[Target::Digest(digest(B))], &[], &two, &Silent)?;
            Ok(Vec::new())
        });
        let change = task("change", |process: Arc<Simulated>| -> Result<Vec<Finding>> {
            let opened = Opened::open(&process)?;
            opened.remove(&["src/deep"])?;
            opened.rename("src/again", "renamed/again", A)?;
            opened.collect_with(Duration::ZERO, Duration::ZERO)?;
            Ok(Vec::new())
        });
        let upkeep = task("upkeep", |process: Arc<Simulated>| -> Result<Vec<Finding>> {
            let opened = Opened::open(&process)?;
            opened.ledger.fold(true)?;
            opened.ledger.compact()?;
            Ok(Vec::new())
        });
        let look = task("check", |process: Arc<Simulated>| -> Result<Vec<Finding>> {
            let opened = Opened::open(&process)?;
            let mut found = findings(&opened).0;
            found.extend(findings(&opened).0);
            Ok(found)
        });
        let done = Schedule::seeded(seed).run(&world, vec![look, add, change, upkeep]);
        assert!(!done.stuck);
        for outcome in done.outcomes {
            match outcome {
                Outcome::Finished(Ok(found)) => assert_eq!(found, [], "before it:\n{}", world.log()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(codes(&opened(&world)), [""; 0]);
    });
}

/// What a crash leaves is at most rubbish: nothing that was acknowledged is among it, and after the next collection
/// nothing at all.
#[test]
fn a_crash_leaves_rubbish_at_most() {
    let start = begun(41);
    let rubbish = ["journal-torn", "journal-unfinished", "orphan", "run-unnamed", "staging-aside", "staging-stale"];
    let workload = |process: &Arc<Simulated>| {
        let opened = Opened::open(process).unwrap();
        opened.add(&["/more"], &AddOptions { replace: true, ..AddOptions::default() }).unwrap();
        opened.remove(&["src/a"]).unwrap();
        opened.rename("src/again", "renamed/again", A).unwrap();
        opened.collect_with(Duration::ZERO, Duration::ZERO).unwrap();
        opened.ledger.compact().unwrap();
    };
    let looks = |world: &World| {
        let found = codes(&opened(world));
        assert!(found.iter().all(|code| rubbish.contains(code)), "{found:?}");
    };
    report("check after a kill", Enumeration::new(41, &start).kills(workload, |_, world, _| looks(world)));
    let basic = Enumeration::new(42, &start).images(larder::machine::simulated::Images::Basic);
    report("check after a power cut", basic.power_cuts(workload, |_, world, _| looks(world)));
    let after = start.snapshot().world(43);
    let next = opened(&after);
    workload(&next.process);
    next.collect_with(Duration::ZERO, Duration::ZERO).unwrap();
    assert_eq!(codes(&next), [""; 0]);
    assert!(next.ledger.snapshot().unwrap().blob(&digest(A)).unwrap().is_some());
}

#[test]
fn the_table_of_findings_has_every_code() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/format.md")).unwrap();
    let chapter = page.split("## Findings").nth(1).expect("a chapter on findings");
    let rows = chapter.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")).map(|row| {
        let (code, rest) = row.split_once("` | ").unwrap();
        (code.to_owned(), rest.rsplit(" | ").next().unwrap().to_owned())
    });
    let told: BTreeMap<String, String> = rows.collect();
    let known = FindingCode::ALL.iter().map(|code| (code.word().to_owned(), code.mend().word().to_owned()));
    assert_eq!(told, known.collect());
}

/// A link to a carrier is the store's own, like one to the blob's file.
#[test]
fn a_stray_link_to_a_carrier_is_a_name_that_is_not_on_record() {
    let world = begun(60);
    let process = world.process("before");
    let opened = Opened::open(&process).unwrap();
    let options = CopiesOptions { copies: 2, dry_run: false };
    copies(&opened.ctx(), &[Target::Digest(digest(A))], &[], &options, &Silent).unwrap();
    let (number, _) = opened.ledger.snapshot().unwrap().carriers(&digest(A)).unwrap()[0];
    let layout = Layout::new(kit::STORE);
    assert_eq!(codes(&opened), [""; 0]);
    process.link(&layout.carrier(&digest(A), number), &layout.names().join("stray")).unwrap();
    let (found, _) = findings(&opened);
    let [finding] = &found[..] else { panic!("{found:?}") };
    assert_eq!((finding.code, finding.digest), (FindingCode::NameUnrecorded, Some(digest(A))));
    let report = larder::work::mend::mend(&opened.ctx(), &Silent).unwrap();
    assert_eq!((report.failed, report.after.findings), (0, 0), "{report:?}");
    let alias = opened.ledger.snapshot().unwrap().alias(&Name::new("stray").unwrap()).unwrap();
    assert_eq!(alias.map(|alias| alias.digest), Some(digest(A)));
    kit::agrees(&world, &opened);
}

/// Stops at one of the moments at which it is asked.
struct Stop {
    at: u64,
    asked: std::sync::atomic::AtomicU64,
}

impl Observer for Stop {
    fn cancelled(&self) -> bool {
        self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= self.at
    }
}

#[test]
fn a_check_that_is_asked_to_stop_ends_at_once_and_says_so() {
    let world = begun(61);
    let opened = Opened::open(&world.process("before")).unwrap();
    opened.ledger.fold(true).unwrap();
    opened.put("/src/a", "tail", A).unwrap();
    let mut moments = 0;
    for at in 0.. {
        let stop = Stop { at, asked: std::sync::atomic::AtomicU64::new(0) };
        let report = check(&opened.ctx(), &stop).unwrap();
        let asked = stop.asked.into_inner();
        if asked <= at {
            assert!(!report.interrupted);
            break;
        }
        assert!(report.interrupted, "stopped at {at}");
        assert_eq!(report.findings, 0, "what was not looked at is no finding");
        assert!(asked - at <= 8, "asked {} times more after it was to stop at {at}", asked - at);
        moments += 1;
    }
    assert!(moments > opened.ledger.snapshot().unwrap().cursor.sequence, "it was asked {moments} times alone");
}
