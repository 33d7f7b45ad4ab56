//! How many calls to the system fixed pieces of work make: opening, looking up, committing. A change that makes more of
//! them fails here; what the clock says decides nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::kit::{Opened, digest, world};
use larder::format::record::{PinRecord, Record};
use larder::format::settings::Durability;
use larder::ledger::{Ledger, Policy, Tables};
use larder::machine::simulated::{Call, CallKind, World};
use larder::vocabulary::limits::PREALLOCATED_AFTER;
use larder::work::catalog::find;
use larder::work::catalog::register::{IfThere, Registration, register_each};
use larder::work::ingest::{AddOptions, AliasKind};
use larder::work::names::{Target, link};
use larder::{Digest, Key, Name};

/// How often each kind of call was made.
type Counts = BTreeMap<CallKind, usize>;

/// What `work` calls.
fn calls<R>(world: &World, work: impl FnOnce() -> R) -> (R, Vec<Call>) {
    world.configure(|options| options.log_reads = true);
    let before = world.log().calls().len();
    let done = work();
    let calls = world.log().calls()[before..].to_vec();
    world.configure(|options| options.log_reads = false);
    (done, calls)
}

fn counts(calls: &[Call]) -> Counts {
    let mut counts = Counts::new();
    for call in calls.iter().filter(|call| call.kind != CallKind::Note) {
        *counts.entry(call.kind).or_default() += 1;
    }
    counts
}

/// No kind of call more often than `most` says, and none that it does not name.
fn at_most(calls: &[Call], most: &[(CallKind, usize)]) {
    let most: Counts = most.iter().copied().collect();
    let text: String = calls.iter().map(|call| format!("{call}\n")).collect();
    for (kind, count) in counts(calls) {
        let most = most.get(&kind).copied().unwrap_or(0);
        assert!(count <= most, "{kind:?} {count} times, not {most}:\n{text}");
    }
}

/// So many pins more, folded into runs.
fn fill(opened: &Opened, numbers: std::ops::Range<u64>) {
    for part in numbers.collect::<Vec<_>>().chunks(1000) {
        let part = part.to_vec();
        let pin = move |tx: &mut larder::ledger::Tx<'_>| {
            let since = tx.moment();
            for number in part {
                let digest = Digest::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes());
                tx.push(Record::Pin(PinRecord { digest, note: String::new(), since }));
            }
            Ok(())
        };
        opened.ledger.transact(pin).unwrap();
    }
    opened.ledger.fold(true).unwrap();
}

fn filled(seed: u64, count: u64) -> World {
    let world = world(seed, Durability::Batch, &[("/src/a", b"one")]);
    let opened = Opened::open(&world.process("filling")).unwrap();
    opened.put("/src/a", "a", b"one").unwrap();
    fill(&opened, 0..count);
    world
}

#[test]
fn opening_makes_the_same_few_calls_however_many_names_there_are() {
    let open = |count| {
        let world = filled(1, count);
        let process = world.process("opening");
        let (opened, calls) = calls(&world, || Opened::open(&process).unwrap());
        (calls, opened.ledger.known().view.index().runs().len())
    };
    let (few, one_run) = open(10);
    // The settings, which the caller reads; CURRENT; the end of a run; the header of a segment, and what is behind it.
    let most = [(CallKind::Open, 4), (CallKind::Meta, 3), (CallKind::Read, 5), (CallKind::List, 1)];
    at_most(&few, &most);
    for list in few.iter().filter(|call| call.kind == CallKind::List) {
        assert_eq!(list.path, Path::new("/store/journal"), "nothing is listed but the segments");
    }
    let (many, runs) = open(6000);
    assert_eq!(one_run, 1);
    // Each further run is opened, looked at, and its end read.
    let most = most.map(|(kind, count)| (kind, count + if kind == CallKind::List { 0 } else { runs - 1 }));
    at_most(&many, &most);
}

#[test]
fn a_lookup_reads_a_piece_of_each_filter_and_one_page_of_one_run() {
    let world = filled(2, 6000);
    let opened = Opened::open(&world.process("reading")).unwrap();
    let runs = opened.ledger.known().view.index().runs().len();
    let snapshot = opened.ledger.snapshot().unwrap();
    let wanted = |number: u64| Digest::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes());
    let (found, first) = calls(&world, || snapshot.pin(&wanted(77)).unwrap());
    assert!(found.is_some());
    at_most(&first, &[(CallKind::Read, runs + 1)]);
    let (found, again) = calls(&world, || snapshot.pin(&wanted(77)).unwrap());
    assert!(found.is_some());
    at_most(&again, &[]);
    // Whether the journal has grown is seen by listing it and looking at its last segment.
    let (_, following) = calls(&world, || opened.ledger.snapshot().unwrap());
    at_most(&following, &[(CallKind::List, 1), (CallKind::Lstat, 1)]);
    // Once the directory has been as it is for a while, by looking at it and behind the last frame.
    world.advance(Duration::from_secs(60));
    (0..20).for_each(|_| _ = opened.ledger.snapshot().unwrap());
    let (_, following) = calls(&world, || opened.ledger.snapshot().unwrap());
    at_most(&following, &[(CallKind::Lstat, 1), (CallKind::Read, 1)]);
    // But not on a network, where that may be old.
    let policy = Policy { syncfs: false, ..opened.ledger.policy.clone() };
    let network = Ledger::open(opened.ledger.machine.clone(), opened.ledger.layout.clone(), policy).unwrap();
    (0..20).for_each(|_| _ = network.snapshot().unwrap());
    let (_, following) = calls(&world, || network.snapshot().unwrap());
    assert_eq!(counts(&following).get(&CallKind::List), Some(&1));
    // A table that no run has rows of is not looked for in any.
    let (none, nowhere) = calls(&world, || snapshot.orphan(&wanted(77)).unwrap());
    assert!(none.is_none());
    at_most(&nowhere, &[]);
}

/// Lock, look that it is the lock, read the hint of what is synced, see that nobody wrote meanwhile (list, look behind the
/// last frame); the hint of the number used, the frame, its sync, the hint that it is synced, unlock.
const COMMIT: [(CallKind, usize); 8] = [
    (CallKind::TryLock, 1),
    (CallKind::Meta, 1),
    (CallKind::Lstat, 1),
    (CallKind::Read, 2),
    (CallKind::List, 1),
    (CallKind::Write, 3),
    (CallKind::SyncData, 1),
    (CallKind::Unlock, 1),
];

#[test]
fn a_commit_is_one_sync_and_the_same_few_calls_each_time() {
    let world = world(3, Durability::Batch, &[]);
    let opened = Opened::open(&world.process("committing")).unwrap();
    let pin = |number: u64| {
        opened.ledger.transact(move |tx| {
            let (since, digest) = (tx.moment(), Digest::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes()));
            tx.push(Record::Pin(PinRecord { digest, note: String::new(), since }));
            Ok(())
        })
    };
    pin(0).unwrap();
    for number in 1..20 {
        let (done, calls) = calls(&world, || pin(number));
        done.unwrap();
        // What readers noted may be waiting to be put on record.
        let mut most: Vec<_> = COMMIT.iter().map(|(k, n)| (*k, n + usize::from(*k == CallKind::Lstat) * 2)).collect();
        // Room for the next two hundred.
        most.extend((number == u64::from(PREALLOCATED_AFTER)).then_some((CallKind::Allocate, 1)));
        at_most(&calls, &most);
        assert_eq!(calls.iter().filter(|call| call.kind.syncs()).count(), 1, "a commit is one sync");
    }
}

#[test]
fn a_counted_name_costs_one_sync_and_one_that_is_there_already_writes_nothing() {
    let world = world(4, Durability::Batch, &[("/src/a", b"one")]);
    let opened = Opened::open(&world.process("naming")).unwrap();
    opened.put("/src/a", "a", b"one").unwrap();
    let ctx = opened.ctx();
    let target = Target::Digest(digest(b"one"));
    let counted = |name: &str| link(&ctx, &target, &Name::new(name).unwrap(), false, Some(AliasKind::Counted)).unwrap();
    assert!(counted("first"));
    let mut rooms = 0;
    for n in 0..20 {
        let (new, calls) = calls(&world, || counted(&format!("name-{n}")));
        assert!(new);
        let syncs: Vec<_> = calls.iter().filter(|call| call.kind.syncs()).map(|call| call.kind).collect();
        assert_eq!(syncs, [CallKind::SyncData]);
        let written: Vec<_> = calls.iter().map(|call| call.kind).filter(|kind| kind.mutates()).collect();
        let made_room = written.contains(&CallKind::Allocate);
        rooms += usize::from(made_room);
        assert!(written.len() <= 3 + usize::from(made_room), "the frame and two hints, not {written:?}");
    }
    assert_eq!(rooms, 1, "room for all that come");
    let (new, again) = calls(&world, || counted("name-7"));
    assert!(!new);
    assert!(!again.iter().any(|call| call.kind.mutates() || call.kind.syncs()), "it was there already");
}

#[test]
fn registering_many_costs_one_frame_and_a_lookup_of_an_entry_reads_few_pages() {
    let world = world(5, Durability::Batch, &[]);
    let opened = Opened::open(&world.process("registering")).unwrap();
    let key = |n: usize| Key::model("hf", &format!("org/model-{n:05}"), "v1").unwrap();
    let register = |range: std::ops::Range<usize>| {
        let all = range.map(|n| Registration::new(key(n))).collect();
        register_each(&opened.ctx(), all, IfThere::Keep).unwrap()
    };
    register(0..1);
    // So few that they are not folded yet.
    let (done, calls_made) = calls(&world, || register(1..200));
    assert!(done.iter().all(Result::is_ok));
    let syncs = calls_made.iter().filter(|call| call.kind.syncs()).count();
    assert_eq!(syncs, 1, "they are one frame");
    register(200..500);
    for part in 1..12 {
        register(part * 500..(part + 1) * 500);
    }
    opened.ledger.fold(true).unwrap();
    let fresh = Opened::open(&world.process("asking")).unwrap();
    let runs = fresh.ledger.known().view.index().runs().len();
    let (found, asked) = calls(&world, || find::get(&fresh.ctx(), &key(4321)).unwrap());
    assert!(found.is_some());
    let reads = asked.iter().filter(|call| call.kind == CallKind::Read).count();
    // For the card and for its variants a piece of each filter; and the page of the card with those above it.
    assert!(reads <= 2 * runs + 3, "{reads} reads with {runs} runs");
    assert!(!asked.iter().any(|call| call.kind.mutates() || call.kind.syncs() || call.kind.locks()));
    let _ = Arc::strong_count(&fresh.ledger);
}

#[test]
fn adding_what_is_there_under_its_name_writes_no_frame() {
    let world = world(6, Durability::Batch, &[("/src/a", b"one")]);
    let opened = Opened::open(&world.process("adding")).unwrap();
    opened.add(&["/src"], &AddOptions::default()).unwrap();
    let (report, calls) = calls(&world, || opened.add(&["/src"], &AddOptions::default()).unwrap());
    assert_eq!(report.failed, 0);
    let of_journal = calls.iter().filter(|call| call.path.starts_with("/store/journal"));
    assert!(!of_journal.clone().any(|call| call.kind.mutates() || call.kind.syncs()), "nothing is new");
    let blobs = calls.iter().filter(|call| call.path.starts_with("/store/sha256"));
    assert!(!blobs.clone().any(|call| call.kind.mutates() || call.kind.syncs()), "no blob is touched");
}
