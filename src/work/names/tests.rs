//! Names on a simulated disk, where every crash is tried, and on a real one.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::machine::Real;
use crate::machine::simulated::{Enumeration, Simulated, World};
use crate::vocabulary::Silent;
use crate::work::fixture::{Fixture, Heard, n};

fn simulated(world: &World) -> Fixture {
    Fixture::new(world.process("test"), Path::new("/store"))
}

fn kind<T>(result: Result<T>) -> ErrorKind {
    result.map(drop).unwrap_err().kind()
}

fn name(text: &str) -> Target {
    Target::Name(n(text))
}

fn unrooted(store: &Fixture, digest: &Digest) -> bool {
    store.ledger.snapshot().unwrap().unrooted(digest).unwrap().is_some()
}

#[test]
fn a_link_is_one_more_name_of_the_same_file() {
    let store = simulated(&World::new(1));
    let digest = store.add("a", b"bytes", true);
    assert!(link(&store.ctx(), &name("a"), &n("dir/b"), false, None).unwrap());
    assert_eq!(store.inode(&store.file("dir/b")), store.inode(&store.ledger.layout.blob(&digest)));
    assert!(link(&store.ctx(), &Target::Digest(digest), &n("c"), false, Some(AliasKind::Counted)).unwrap());
    assert_eq!(store.inode(&store.file("c")), None);
    let snapshot = store.ledger.snapshot().unwrap();
    let row = snapshot.alias(&n("dir/b")).unwrap().unwrap();
    assert!(row.executable && row.mtime_ns == 77, "what the source was is kept");
    assert_eq!(snapshot.names_of(&digest).unwrap(), [n("a"), n("c"), n("dir/b")]);
}

#[test]
fn a_name_is_given_again_only_to_the_same_bytes_or_when_asked() {
    let store = simulated(&World::new(1));
    let (a, b) = (store.add("a", b"one", true), store.add("b", b"two", true));
    assert!(!link(&store.ctx(), &name("a"), &n("a"), false, None).unwrap(), "it means these bytes");
    assert_eq!(kind(link(&store.ctx(), &name("a"), &n("b"), false, None)), ErrorKind::Taken);
    assert_eq!(store.means("b"), Some(b));
    assert!(link(&store.ctx(), &name("a"), &n("b"), true, None).unwrap());
    assert_eq!(store.means("b"), Some(a));
    assert_eq!(store.inode(&store.file("b")), store.inode(&store.ledger.layout.blob(&a)));
    assert!(unrooted(&store, &b) && !unrooted(&store, &a));
}

#[test]
fn a_name_is_not_a_file_and_a_directory() {
    let store = simulated(&World::new(1));
    store.add("a/b", b"one", true);
    for bad in ["a", "a/b/c"] {
        assert_eq!(kind(link(&store.ctx(), &name("a/b"), &n(bad), true, None)), ErrorKind::Taken, "{bad}");
    }
}

#[test]
fn what_is_unknown_or_damaged_gets_no_name() {
    let store = simulated(&World::new(1));
    let digest = store.add("a", b"one", false);
    assert_eq!(kind(link(&store.ctx(), &name("x"), &n("y"), false, None)), ErrorKind::NotFound);
    assert_eq!(kind(link(&store.ctx(), &Target::Digest(Digest::EMPTY), &n("y"), false, None)), ErrorKind::NotFound);
    store.machine.unlink(&store.ledger.layout.blob(&digest)).unwrap();
    assert_eq!(kind(link(&store.ctx(), &name("a"), &n("y"), false, None)), ErrorKind::Damaged);
    assert_eq!(kind(pin(&store.ctx(), &name("a"), "")), ErrorKind::Damaged);
    assert_eq!(
        kind(rename(&store.ctx(), &n("a"), &n("y"), false)),
        ErrorKind::Damaged,
        "its file may be the last copy"
    );
    assert_eq!((store.means("a"), store.means("y")), (Some(digest), None));
}

#[test]
fn a_rename_keeps_everything_but_the_name() {
    let store = simulated(&World::new(1));
    let digest = store.add("a", b"one", true);
    let before = store.ledger.snapshot().unwrap().alias(&n("a")).unwrap();
    rename(&store.ctx(), &n("a"), &n("a"), false).unwrap();
    rename(&store.ctx(), &n("a"), &n("b/c"), false).unwrap();
    assert_eq!(store.ledger.snapshot().unwrap().alias(&n("b/c")).unwrap(), before);
    assert_eq!((store.means("a"), store.inode(&store.file("a"))), (None, None));
    assert!(store.inode(&store.file("b/c")).is_some() && !unrooted(&store, &digest));
    assert_eq!(kind(rename(&store.ctx(), &n("a"), &n("d"), false)), ErrorKind::NotFound);
}

#[test]
fn a_rename_turns_a_file_into_a_directory_and_back() {
    let store = simulated(&World::new(1));
    store.add("a", b"one", true);
    for (from, to) in [("a", "a/b"), ("a/b", "a"), ("a", "a/b/c")] {
        rename(&store.ctx(), &n(from), &n(to), false).unwrap();
        assert!(store.inode(&store.file(to)).is_some(), "{from} to {to}");
        assert_eq!(store.ledger.snapshot().unwrap().all_name_findings().count(), 0);
    }
    store.add("x/y", b"two", true);
    assert_eq!(kind(rename(&store.ctx(), &n("a/b/c"), &n("x"), false)), ErrorKind::Taken);
    assert!(store.means("a/b/c").is_some(), "what was begun is undone");
}

#[test]
fn a_rename_replaces_only_when_asked() {
    let store = simulated(&World::new(1));
    let (a, b) = (store.add("a", b"one", true), store.add("b", b"two", true));
    assert_eq!(kind(rename(&store.ctx(), &n("a"), &n("b"), false)), ErrorKind::Taken);
    rename(&store.ctx(), &n("a"), &n("b"), true).unwrap();
    assert_eq!((store.means("a"), store.means("b")), (None, Some(a)));
    assert!(unrooted(&store, &b));
    link(&store.ctx(), &name("b"), &n("c"), false, None).unwrap();
    rename(&store.ctx(), &n("b"), &n("c"), false).unwrap();
    assert_eq!((store.means("b"), store.means("c")), (None, Some(a)), "the same bytes are in nobody's way");
}

#[test]
fn the_last_root_is_not_unlinked() {
    let store = simulated(&World::new(1));
    let digest = store.add("a", b"one", true);
    store.add("b", b"one", false);
    unlink(&store.ctx(), &n("a")).unwrap();
    assert_eq!(store.inode(&store.file("a")), None);
    assert_eq!(kind(unlink(&store.ctx(), &n("b"))), ErrorKind::Refused);
    assert_eq!(kind(unlink(&store.ctx(), &n("a"))), ErrorKind::NotFound);
    pin(&store.ctx(), &name("b"), "keep").unwrap();
    unlink(&store.ctx(), &n("b")).unwrap();
    assert!(!unrooted(&store, &digest));
    assert_eq!(unpin(&store.ctx(), &Target::Digest(digest)).unwrap(), digest);
    assert!(unrooted(&store, &digest));
    assert_eq!(kind(unpin(&store.ctx(), &Target::Digest(digest))), ErrorKind::NotFound);
}

#[test]
fn a_new_root_takes_a_blob_off_the_list_of_those_that_go() {
    let store = simulated(&World::new(1));
    let digest = store.add("a", b"one", true);
    let plan = plan_remove(&store.ctx(), &[Prefix::Below(n("a"))]).unwrap();
    remove(&store.ctx(), &plan, &Silent).unwrap();
    assert!(unrooted(&store, &digest));
    assert!(exists(&store.ctx(), &Target::Digest(digest)).unwrap() && !exists(&store.ctx(), &name("a")).unwrap());
    pin(&store.ctx(), &Target::Digest(digest), "note").unwrap();
    assert!(!unrooted(&store, &digest));
    assert_eq!(kind(pin(&store.ctx(), &Target::Digest(digest), &"x".repeat(NOTE_BYTES + 1))), ErrorKind::Invalid);
    link(&store.ctx(), &Target::Digest(digest), &n("b"), false, None).unwrap();
    assert_eq!(store.means("b"), Some(digest));
}

#[test]
fn a_plan_tells_what_goes_and_what_that_frees() {
    let world = World::new(1);
    let store = simulated(&world);
    let one = store.add("t/a", &[1; 5000], true);
    store.add("t/b", &[1; 5000], true);
    store.add("t/c", &[2; 5000], true);
    store.add("u", &[2; 5000], true);
    let outside = store.add("t/d", &[3; 5000], true);
    world.put_dir("/home");
    store.machine.link(&store.ledger.layout.blob(&outside), Path::new("/home/mine")).unwrap();
    let below = [Prefix::Below(n("t")), Prefix::Below(n("t/a"))];
    let plan = plan_remove(&store.ctx(), &below).unwrap();
    let names: Vec<String> = plan.names.iter().map(|(name, ..)| name.to_string()).collect();
    assert_eq!(names, ["t/a", "t/b", "t/c", "t/d"], "each once, in order");
    assert_eq!(plan.unrooted_blobs, 2);
    let allocated = store.machine.lstat(&store.ledger.layout.blob(&one)).unwrap().allocated_bytes;
    assert!(allocated > 0);
    assert_eq!(plan.reclaimable_bytes, allocated, "a link outside keeps the bytes of the other");
    let missing = plan_remove(&store.ctx(), &[Prefix::Below(n("t")), Prefix::Below(n("t/x"))]).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(missing.to_string().contains("t/x"), "{missing}");
}

#[test]
fn names_that_changed_since_the_plan_are_left_alone() {
    let store = simulated(&World::new(1));
    let digest = store.add("a", b"one", true);
    store.add("b", b"one", true);
    store.add("c", b"one", true);
    let plan = plan_remove(&store.ctx(), &[Prefix::Everything]).unwrap();
    let other = store.add("z", b"two", true);
    link(&store.ctx(), &name("z"), &n("b"), true, None).unwrap();
    unlink(&store.ctx(), &n("c")).unwrap();
    let heard = Heard::default();
    let report = remove(&store.ctx(), &plan, &heard).unwrap();
    assert_eq!(report, RemoveReport { names: 1, unrooted_blobs: 1, interrupted: false });
    assert!(unrooted(&store, &digest));
    assert_eq!(store.means("b"), Some(other));
    let events = heard.events.lock().unwrap();
    assert!(matches!(&events[..], [Event::Failed { path, .. }] if path == Path::new("b")), "{events:?}");
}

#[test]
fn many_names_go_in_batches_and_what_is_done_stays_done() {
    let store = simulated(&World::new(1));
    let digest = store.add("0", b"one", false);
    let names: Vec<Name> = (0..BATCH_FILES + 5).map(|i| n(&format!("d/{i:05}"))).collect();
    let alias = move |tx: &mut Tx<'_>| {
        let row = known(tx, &n("0"))?;
        names.into_iter().try_for_each(|name| give(tx, name, row.clone(), None))
    };
    store.ledger.transact(alias).unwrap();
    let plan = plan_remove(&store.ctx(), &[Prefix::Below(n("d"))]).unwrap();
    assert_eq!((plan.names.len(), plan.unrooted_blobs), (BATCH_FILES + 5, 0));
    let stopped = remove(&store.ctx(), &plan, &Heard { stop_after: Some(1), ..Heard::default() });
    let stopped = stopped.unwrap();
    assert_eq!((stopped.names, stopped.interrupted), (BATCH_FILES as u64, true));
    let left = |store: &Fixture| store.ledger.snapshot().unwrap().names_of(&digest).unwrap().len();
    assert_eq!(left(&store), 6);
    assert_eq!(remove(&store.ctx(), &plan, &Silent).unwrap().names, 5, "what is gone is as wanted");
    assert_eq!(left(&store), 1);
}

#[test]
fn whatever_crashes_a_rename_has_happened_whole_or_not_at_all() {
    let world = World::new(7);
    let before = simulated(&world);
    let (one, two) = (before.add("dir/a", b"one", true), before.add("b", b"two", true));
    drop(before);
    let reopen = |machine: Arc<Simulated>| Fixture::open(machine, Path::new("/store"));
    let coverage = Enumeration::new(7, &world).power_cuts(
        |machine| {
            rename(&reopen(Arc::clone(machine)).ctx(), &n("dir/a"), &n("b"), true).unwrap();
            machine.note("renamed");
        },
        |_, world, log| {
            let store = reopen(world.process("after"));
            store.ledger.hold(|_| Ok(())).unwrap();
            let now = (store.means("dir/a"), store.means("b"));
            let done = now == (None, Some(one));
            assert!(done || (now == (Some(one), Some(two)) && !log.noted("renamed")), "{now:?}");
            let file = |name: &str| store.inode(&store.file(name));
            let blob = |digest| store.inode(&store.ledger.layout.blob(digest));
            assert_eq!(file("dir/a"), if done { None } else { blob(&one) });
            assert_eq!(file("b"), if done { blob(&one) } else { blob(&two) });
            assert_eq!(unrooted(&store, &two), done);
            assert!(blob(&one).is_some() && blob(&two).is_some());
        },
    );
    assert!(coverage.distinct > 10, "{coverage:?}");
}

#[test]
fn whatever_crashes_while_a_file_becomes_a_directory_or_back_its_name_is_found_again() {
    for (from, to) in [("a", "a/b/c"), ("a/b/c", "a")] {
        let world = World::new(8);
        let before = simulated(&world);
        let digest = before.add(from, b"one", true);
        drop(before);
        let reopen = |machine: Arc<Simulated>| Fixture::open(machine, Path::new("/store"));
        let coverage = Enumeration::new(8, &world).power_cuts(
            |machine| rename(&reopen(Arc::clone(machine)).ctx(), &n(from), &n(to), false).unwrap(),
            |_, world, _| {
                let store = reopen(world.process("after"));
                store.ledger.hold(|_| Ok(())).unwrap();
                let name = if store.means(from).is_some() { from } else { to };
                assert_eq!(store.means(name), Some(digest));
                assert_eq!(store.inode(&store.file(name)), store.inode(&store.ledger.layout.blob(&digest)));
                assert_eq!(store.ledger.snapshot().unwrap().all_name_findings().count(), 0);
            },
        );
        assert!(coverage.distinct > 10, "{coverage:?}");
    }
}

#[test]
fn names_work_on_a_real_disk() {
    let directory = tempfile::tempdir().unwrap();
    let store = Fixture::new(Arc::new(Real::new()), &directory.path().join("store"));
    let digest = store.add("a", b"bytes", true);
    assert!(link(&store.ctx(), &name("a"), &n("x/y"), false, None).unwrap());
    rename(&store.ctx(), &n("a"), &n("a/b"), false).unwrap();
    let links = store.machine.lstat(&store.ledger.layout.blob(&digest)).unwrap().links;
    assert_eq!(links, 3, "the blob and two names");
    let plan = plan_remove(&store.ctx(), &[Prefix::Everything]).unwrap();
    assert!(plan.unrooted_blobs == 1 && plan.reclaimable_bytes > 0, "{plan:?}");
    assert_eq!(
        remove(&store.ctx(), &plan, &Silent).unwrap(),
        RemoveReport { names: 2, unrooted_blobs: 1, interrupted: false }
    );
    assert_eq!(store.machine.list(&store.ledger.layout.names()).unwrap(), []);
}
