//! Promise 3: a blob with a root is never removed, whatever happens at the same time; larder never removes the user's
//! own last copy.
//!
//! Collections are crashed at every counted call, and run beside additions, removals and each other in orders by chance,
//! with kills, power cuts and failing calls in between. `LARDER_SEED=n` repeats one order; `LARDER_LONG=1` tries many
//! times as many.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::kit::{self, Account, Contest, Opened, digest, for_seeds, many, recovers_to, report, world};
use larder::format::layout::Layout;
use larder::format::session::SessionKind;
use larder::format::settings::Durability;
use larder::ledger::Tables;
use larder::machine::real::Real;
use larder::machine::simulated::{
    CallKind, Enumeration, Explored, Fault, Log, Outcome, Schedule, Simulated, Snapshot, Task, World, explore, run,
    task,
};
use larder::store::{NewStore, OpenOptions, Store};
use larder::vocabulary::limits::REMOVE_BATCH;
use larder::work::collect::{CollectOptions, collect, plan};
use larder::work::ingest::{AddOptions, AliasKind, Source, TakeIn};
use larder::work::lease::Leased;
use larder::work::names::{Target, link, pin, unpin};
use larder::{ErrorKind, Name, Result, Silent};

const A: &[u8] = b"the bytes of the first file";
const B: &[u8] = b"other bytes, of the second file";
const C: &[u8] = b"what the third file holds";
const NOW: Duration = Duration::ZERO;

/// A store that knows A and B by name, with further sources beside it.
fn begun(seed: u64) -> Snapshot {
    let sources: [(&str, &[u8]); 6] =
        [("/src/a", A), ("/src/b", B), ("/one/a", A), ("/one/c", C), ("/two/a", A), ("/two/c", C)];
    let world = world(seed, Durability::Batch, &sources);
    let opened = Opened::open(&world.process("before")).unwrap();
    opened.add(&["/src"], &AddOptions::default()).unwrap();
    drop(opened);
    world.settle();
    world.snapshot()
}

const KNOWN: [(&str, &[u8]); 2] = [("src/a", A), ("src/b", B)];

fn known(process: &Arc<Simulated>) -> Opened {
    for (name, bytes) in KNOWN {
        process.note(&format!("added {name} {}", digest(bytes)));
    }
    Opened::open(process).unwrap()
}

fn goes_on(world: &World, account: &Account) {
    let opened = recovers_to(world, account);
    kit::nothing_is_left_over(world, &opened);
    assert_eq!(
        opened.add(&["/src", "/one"], &AddOptions { replace: true, ..AddOptions::default() }).unwrap().failed,
        0
    );
    kit::nothing_is_left_over(world, &opened);
}

#[test]
fn collecting_survives_a_crash_at_every_call() {
    let start = begun(1).world(1);
    let workload = |process: &Arc<Simulated>| {
        let opened = known(process);
        opened.remove(&["src/a"]).unwrap();
        let report = opened.collect(NOW).unwrap();
        assert_eq!(report.removed_blobs, 1);
        process.note("collected");
    };
    let check = |world: &World, log: &Log| {
        if log.noted("collected") {
            let opened = Opened::open(&world.process("looking")).unwrap();
            assert!(opened.ledger.snapshot().unwrap().blob(&digest(A)).unwrap().is_none());
        }
        goes_on(world, &Account::of(log));
    };
    let cuts = Enumeration::new(1, &start).samples(many(10) as usize).power_cuts(workload, |_, w, log| check(w, log));
    report("collect", cuts);
    report("collect, killed", Enumeration::new(1, &start).kills(workload, |_, w, log| check(w, log)));
}

#[test]
fn burying_dead_sessions_survives_a_crash_at_every_call() {
    // Every kind of remains that a dead addition leaves.
    let start = begun(2).world(2);
    let mut kinds = std::collections::BTreeSet::new();
    let mut images = 0;
    Enumeration::new(2, &start).kills(
        |process| _ = known(process).add(&["/one"], &AddOptions::default()).unwrap(),
        |_, world, _| {
            world.settle();
            if !kinds.insert(world.fingerprint()) || (kinds.len() % 3 != 0 && !kit::long()) {
                return;
            }
            let coverage = Enumeration::new(3, world).images(larder::machine::simulated::Images::Basic).power_cuts(
                |process| drop(known(process).collect_with(NOW, NOW).unwrap()),
                |_, world, log| goes_on(world, &Account::of(log)),
            );
            images += coverage.distinct;
        },
    );
    println!("bury: {} kinds of remains, {images} distinct images", kinds.len());
}

/// An addition under way that has looked something up keeps it, however it goes.
#[test]
fn what_running_work_might_rest_on_stays() {
    let world = begun(4).world(4);
    let (worker, collector) = (world.process("worker"), world.process("collector"));
    let (working, collecting) = (Opened::open(&worker).unwrap(), known(&collector));
    let begin = || {
        let ledger = &working.ledger;
        ledger
            .hold(|hold| ledger.sessions.open(SessionKind::Ingest, hold.snapshot.cursor.sequence, Vec::new()))
            .unwrap()
    };
    let session = begin();
    collecting.remove(&["src/a"]).unwrap();
    let report = collecting.collect(NOW).unwrap();
    assert_eq!((report.removed_blobs, report.held.len()), (0, 1));
    assert_eq!(report.held[0].0, digest(A));
    assert!(world.read(working.ledger.blobs.path(&digest(A))).is_some());
    // One that began after the condemnation knows of it.
    let later = begin();
    drop(session);
    assert_eq!(collecting.collect(NOW).unwrap().removed_blobs, 1);
    drop(later);
    kit::nothing_is_left_over(&world, &collecting);
}

/// A session of a dead process holds nothing; one that lists a blob holds it while it lives.
#[test]
fn a_list_holds_while_its_process_lives() {
    let world = begun(5).world(5);
    let (worker, collector) = (world.process("worker"), world.process("collector"));
    let (working, collecting) = (Opened::open(&worker).unwrap(), known(&collector));
    collecting.remove(&["src/a"]).unwrap();
    let held = run(&worker, || {
        let ledger = &working.ledger;
        let session = ledger
            .hold(|hold| ledger.sessions.open(SessionKind::Reader, hold.snapshot.cursor.sequence, vec![digest(A)]))
            .unwrap();
        std::mem::forget(session);
    });
    assert!(!held.is_killed());
    assert_eq!(collecting.collect(NOW).unwrap().removed_blobs, 0);
    assert_eq!(collecting.collect(NOW).unwrap().held.len(), 1);
    worker.kill();
    assert_eq!(collecting.collect(NOW).unwrap().removed_blobs, 1);
    kit::nothing_is_left_over(&world, &collecting);
}

#[test]
fn every_kind_of_root_keeps_a_blob() {
    let world = begun(6).world(6);
    let opened = known(&world.process("user"));
    let ctx = opened.ctx();
    pin(&ctx, &Target::Digest(digest(A)), "mine").unwrap();
    link(&ctx, &Target::Digest(digest(B)), &Name::new("counted").unwrap(), false, Some(AliasKind::Counted)).unwrap();
    opened.remove(&["src/a", "src/b"]).unwrap();
    let there = |bytes: &[u8]| world.read(opened.ledger.blobs.path(&digest(bytes))).is_some();
    assert_eq!(opened.collect(NOW).unwrap().removed_blobs, 0);
    assert!(there(A) && there(B));
    unpin(&ctx, &Target::Digest(digest(A))).unwrap();
    assert_eq!(opened.collect(Duration::from_secs(3600)).unwrap().in_grace, 1);
    assert!(there(A));
    assert_eq!(opened.collect(NOW).unwrap().removed_blobs, 1);
    assert!(!there(A) && there(B));
    opened.remove(&["counted"]).unwrap();
    assert_eq!(opened.collect(NOW).unwrap().removed_blobs, 1);
    assert!(!there(B));
    kit::nothing_is_left_over(&world, &opened);
}

/// What is previewed is what goes, or nothing does.
#[test]
fn the_preview_is_what_runs() {
    let world = begun(7).world(7);
    let opened = known(&world.process("user"));
    opened.remove(&["src/a", "src/b"]).unwrap();
    let options = CollectOptions { grace: NOW, orphan_ttl: NOW, yes_most: true };
    let plan = plan(&opened.ctx(), &options).unwrap();
    let doomed: Vec<_> = plan.doomed.iter().map(|doomed| doomed.digest).collect();
    assert_eq!(doomed.len(), 2);
    let listener = kit::Noting(&opened.process);
    link(&opened.ctx(), &Target::Digest(digest(B)), &Name::new("again").unwrap(), false, None).unwrap();
    let refused = collect(&opened.ctx(), Some(&plan), &options, &listener).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(world.read(opened.ledger.blobs.path(&digest(A))).is_some(), "a refused plan removed something");
    opened.remove(&["again"]).unwrap();
    assert_eq!(collect(&opened.ctx(), Some(&plan), &options, &listener).unwrap().removed_blobs, 2);
    kit::nothing_is_left_over(&world, &opened);
}

/// A source that was linked in is the user's, too: it stays when the blob goes.
#[test]
fn the_users_own_link_is_left_alone() {
    let world = begun(8).world(8);
    let opened = known(&world.process("user"));
    opened.add(&["/one/c"], &AddOptions { take_in: TakeIn::Link, ..AddOptions::default() }).unwrap();
    opened.remove(&["c"]).unwrap();
    assert_eq!(opened.collect(NOW).unwrap().removed_blobs, 1);
    assert_eq!(world.read("/one/c").as_deref(), Some(C));
    kit::nothing_is_left_over(&world, &opened);
}

type Doing = Task<'static, Result<()>>;

fn adding(tree: &'static str) -> Doing {
    task("adding", move |process| Opened::open(&process)?.add(&[tree], &AddOptions::default()).map(drop))
}

fn collecting() -> Doing {
    task("collecting", |process| Opened::open(&process)?.collect_with(NOW, NOW).map(drop))
}

fn removing(names: &'static [&'static str]) -> Doing {
    task("removing", move |process| {
        let opened = Opened::open(&process)?;
        opened.remove(names)?;
        opened.collect_with(NOW, NOW).map(drop)
    })
}

fn naming(name: &'static str) -> Doing {
    task("naming", move |process| {
        let opened = Opened::open(&process)?;
        let name = Name::new(name)?;
        match link(&opened.ctx(), &Target::Digest(digest(A)), &name, false, None) {
            Ok(_) => process.note(&format!("added {name} {}", digest(A))),
            // It was collected before.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        Ok(())
    })
}

fn contest(what: &str, seeds: u64, steps: u64, tasks: fn() -> Vec<Doing>) {
    let start = begun(9);
    for_seeds(what, seeds, |seed| {
        Contest { start: &start, known: &KNOWN, seed, steps, tasks: &tasks }.run(goes_on);
    });
}

#[test]
fn a_hit_beside_removing_and_collecting() {
    contest("hit beside removal and collection", 300, 220, || vec![adding("/one"), removing(&["src/a"])]);
}

#[test]
fn adding_beside_collecting() {
    contest("adding beside collecting", 250, 220, || vec![adding("/one"), collecting()]);
}

#[test]
fn two_additions_beside_removing_and_collecting() {
    contest("two additions beside removal and collection", 300, 320, || {
        vec![adding("/one"), adding("/two"), removing(&["src/a", "src/b"])]
    });
}

#[test]
fn naming_beside_removing_and_collecting() {
    contest("naming beside removal and collection", 250, 200, || {
        vec![naming("new/a"), removing(&["src/a"]), naming("x")]
    });
}

#[test]
fn collecting_beside_collecting() {
    contest("collecting beside collecting", 200, 300, || {
        vec![removing(&["src/a"]), removing(&["src/b"]), collecting()]
    });
}

#[test]
fn a_hit_beside_collecting_in_every_order_of_few_turns() {
    let start = begun(10);
    let most = many(1200);
    let explored = explore(2, most, |schedule| {
        let world = start.world(10);
        let report = schedule.run(&world, vec![adding("/one"), removing(&["src/a"])]);
        assert!(!report.stuck);
        for outcome in &report.outcomes {
            assert!(matches!(outcome, Outcome::Finished(Ok(()))), "{outcome:?}; before it:\n{}", world.log());
        }
        let mut account = Account::knowing(&KNOWN);
        account.go_on(&world.log());
        let opened = recovers_to(&world, &account);
        kit::nothing_is_left_over(&world, &opened);
        report
    });
    let Explored { schedules, complete } = explored;
    println!("a hit beside a collection, two preemptions: {schedules} orders, all of them: {complete}");
}

/// Lets somebody else do something at one moment of a collection.
struct Meanwhile<'a> {
    does: &'a (dyn Fn() + Sync + Send),
    /// How often it is asked whether to stop until then; 0 is before anything is condemned.
    asked: u64,
    seen: std::sync::atomic::AtomicU64,
}

impl larder::Observer for Meanwhile<'_> {
    fn expect(&self, _: u64, _: u64) {
        if self.asked == 0 {
            (self.does)();
        }
    }

    fn cancelled(&self) -> bool {
        if self.seen.fetch_add(1, Ordering::Relaxed) + 1 == self.asked {
            (self.does)();
        }
        false
    }
}

/// Whoever fences the journal while a collection is under way is heard before anything more is condemned or removed.
#[test]
fn a_fence_stops_a_collection_that_has_begun() {
    let count = REMOVE_BATCH + 44;
    let last = (0..count as u32).map(|i| digest(&i.to_le_bytes())).max().unwrap();
    for asked in 0..3 {
        let files: Vec<(String, Vec<u8>)> =
            (0..count as u32).map(|i| (format!("/src/{i:04}"), i.to_le_bytes().to_vec())).collect();
        let sources: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
        let world = world(asked, Durability::Batch, &sources);
        let opened = Opened::open(&world.process("collecting")).unwrap();
        opened.add(&["/src"], &AddOptions { alias: Some(AliasKind::Counted), ..AddOptions::default() }).unwrap();
        opened.remove(&["src"]).unwrap();
        let blobs = || world.tree().into_keys().filter(|path| path.starts_with("/store/sha256")).count() - 257;
        let options = CollectOptions { grace: NOW, orphan_ttl: NOW, yes_most: true };
        // Damages the journal, and has somebody else find and fence it.
        let fence = || {
            let is_log = |path: &std::path::PathBuf| path.extension().is_some_and(|e| e == "log");
            let segment = world.tree().into_keys().find(is_log).unwrap();
            assert!(world.corrupt(&segment, 260));
            Opened::open(&world.process("finder")).unwrap().ledger.rebuild().unwrap();
        };
        let fencing = Meanwhile { does: &fence, asked, seen: Default::default() };
        let error = collect(&opened.ctx(), None, &options, &fencing).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error}");
        let left = [count, count, count - REMOVE_BATCH][asked as usize];
        assert_eq!(blobs(), left, "asked {asked} times");
        let condemned = opened.ledger.snapshot().unwrap().condemned(&last).unwrap();
        assert_eq!(condemned.is_some(), asked > 0);
    }
}

/// Somebody compacts, again and again, between any two calls of a look for what may go: it reads the frames again.
#[test]
fn a_collection_goes_on_while_the_journal_is_compacted() {
    let start = begun(5).world(5);
    let opened = Opened::open(&start.process("before")).unwrap();
    opened.remove(&["src/a"]).unwrap();
    opened.ledger.compact().unwrap();
    let start = start.snapshot();
    let looked = AtomicBool::new(false);
    let looking = |process: Arc<Simulated>| {
        let opened = Opened::open(&process)?;
        let options = CollectOptions { grace: NOW, orphan_ttl: NOW, yes_most: true };
        let planned = plan(&opened.ctx(), &options).map(|plan| assert_eq!(plan.doomed.len(), 1));
        looked.store(true, Ordering::Relaxed);
        planned
    };
    let late = AtomicBool::new(false);
    let compacting = |process: Arc<Simulated>| {
        late.store(looked.load(Ordering::Relaxed), Ordering::Relaxed);
        let opened = Opened::open(&process)?;
        for name in ["x", "y", "z"] {
            opened.put("/one/c", name, C)?;
            opened.ledger.compact()?;
        }
        Ok(())
    };
    let mut interrupted = 0;
    while !late.load(Ordering::Relaxed) {
        looked.store(false, Ordering::Relaxed);
        let tasks: Vec<Task<'_, Result<()>>> = vec![task("looking", looking), task("compacting", compacting)];
        let choices = std::iter::repeat_n(0, interrupted).chain([1]).collect();
        let report = larder::machine::simulated::Schedule::replay(choices).run(&start.world(5), tasks);
        for outcome in &report.outcomes {
            assert!(matches!(outcome, Outcome::Finished(Ok(()))), "interrupted at call {interrupted}: {outcome:?}");
        }
        interrupted += 1;
    }
    println!("looking beside compaction: interrupted at {interrupted} calls");
    assert!(interrupted > 20);
}

/// What a session holds cannot be told from a damaged file: then it holds everything.
#[test]
fn a_session_whose_file_is_damaged_holds_everything() {
    let world = begun(6).world(6);
    let opened = Opened::open(&world.process("before")).unwrap();
    let reader = Opened::open(&world.process("reader")).unwrap();
    let held = vec![digest(A)];
    let session = reader.ledger.hold(|hold| {
        let sequence = hold.snapshot.cursor.sequence;
        reader.ledger.sessions.open(SessionKind::Reader, sequence, held)
    });
    let session = session.unwrap();
    assert!(world.corrupt(session.directory().join("session"), 30));
    opened.remove(&["src/a", "src/b"]).unwrap();
    assert_eq!(opened.collect(NOW).unwrap().held.len(), 2);
    drop(session);
    assert_eq!(opened.collect(NOW).unwrap().removed_blobs, 2);
}

#[test]
fn a_root_that_comes_while_a_collection_is_under_way_is_seen() {
    for asked in 0..2 {
        let world = begun(7).world(asked);
        let opened = Opened::open(&world.process("collecting")).unwrap();
        opened.remove(&["src/a"]).unwrap();
        let name = || _ = Opened::open(&world.process("naming")).unwrap().put("/one/a", "again", A).unwrap();
        let options = CollectOptions { grace: NOW, orphan_ttl: NOW, yes_most: true };
        let naming = Meanwhile { does: &name, asked, seen: Default::default() };
        let report = collect(&opened.ctx(), None, &options, &naming).unwrap();
        assert_eq!(report.removed_blobs, 0, "asked {asked} times");
        kit::agrees(&world, &opened);
    }
}

/// What gains a root and loses it again while a collection is under way waits as long as anything that lost its last root.
#[test]
fn a_grace_begins_anew_with_the_last_root() {
    const HOUR: Duration = Duration::from_secs(3600);
    for asked in 0..2 {
        let world = begun(7).world(asked);
        let opened = Opened::open(&world.process("collecting")).unwrap();
        opened.remove(&["src/a"]).unwrap();
        world.advance(2 * HOUR);
        let name_and_remove = || {
            let other = Opened::open(&world.process("naming")).unwrap();
            other.put("/one/a", "again", A).unwrap();
            other.remove(&["again"]).unwrap();
        };
        let options = CollectOptions { grace: HOUR, orphan_ttl: NOW, yes_most: true };
        let naming = Meanwhile { does: &name_and_remove, asked, seen: Default::default() };
        let report = collect(&opened.ctx(), None, &options, &naming).unwrap();
        assert_eq!(report.removed_blobs, 0, "asked {asked} times");
        assert_eq!(opened.collect(HOUR).unwrap().removed_blobs, 0, "asked {asked} times");
        world.advance(2 * HOUR);
        assert_eq!(opened.collect(HOUR).unwrap().removed_blobs, 1, "asked {asked} times");
        kit::agrees(&world, &opened);
    }
}

/// A process publishes its blob and dies between a collection's look at `sha256/` and its look at who is dead: what is
/// staged shows whose the file is, and the next collection takes it at once. Every ninth moment for that is tried.
#[test]
fn who_dies_after_a_collection_has_looked_is_not_buried_by_it() {
    let start = begun(40);
    let (mut left, mut moments) = (0, 0);
    // It lists 256 directories on the way, and which of them is the last before the other's turn makes little difference.
    for moment in (0..).step_by(if kit::long() { 1 } else { 9 }) {
        let world = start.world(41);
        let (there, week) = (&world, Duration::from_secs(7 * 86_400));
        // So many calls of the collection, then the other one until it is killed, then the rest.
        let choices: Vec<usize> = std::iter::repeat_n(0, moment).chain([1]).collect();
        let report = Schedule::replay(choices).run(
            there,
            vec![
                task("gc", move |process| Opened::open(&process)?.collect_with(NOW, week).map(drop)),
                task("adding", move |process| {
                    let synced = Fault::kill().kind(CallKind::Sync).under("/store/sha256");
                    there.fail(synced.process(process.number()));
                    Opened::open(&process)?.add(&["/one/c"], &AddOptions::default()).map(drop)
                }),
            ],
        );
        assert!(matches!(report.outcomes[0], Outcome::Finished(Ok(()))), "{:?}", report.outcomes);
        assert!(report.outcomes[1].is_killed(), "it was not killed");
        there.clear_faults();
        let file = Layout::new(kit::STORE).blob(&digest(C));
        left += u64::from(there.look(&file).is_some());
        Opened::open(&there.process("next")).unwrap().collect_with(NOW, week).unwrap();
        assert!(
            there.look(&file).is_none(),
            "what it published waits for its time, though it was a dead session's own"
        );
        moments += 1;
        if report.decisions.get(moment).is_none_or(|decision| decision.options < 2) {
            break;
        }
    }
    println!("dying beside a collection: {moments} moments, {left} left for the next");
    assert!(moments > 40 && left > 0);
}

/// Whoever starts a command under a lease hands the lock on the lease to it: it holds as long as the command runs.
#[test]
#[cfg(target_os = "linux")]
fn a_command_inherits_the_lease_that_it_runs_under() {
    kit::plant();
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("source"), A).unwrap();
    let options = OpenOptions { jobs: 1, ..OpenOptions::default() };
    let directory = place.path().join("store");
    let (store, _) = Store::create(Arc::new(Real::new()), &directory, &NewStore::default(), &options).unwrap();
    store.add(&[Source { path: place.path().join("source") }], &AddOptions::default(), &Silent).unwrap();
    let held = || {
        let listing = std::process::Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
        String::from_utf8_lossy(&listing.stdout).lines().filter(|line| line.contains("/store/staging/")).count()
    };
    let lease = store.lease(&[Leased::Blob(digest(A))]).unwrap();
    assert_eq!(held(), 0, "a command inherits what nobody gave it");
    lease.let_children_inherit().unwrap();
    assert_eq!(held(), 1, "the lease ends with larder, though its command may still run");
    drop(lease);
    assert_eq!(held(), 0);
}
