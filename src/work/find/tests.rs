//! What is told about names, blobs and the store.

use std::path::Path;

use super::*;
use crate::machine::Real;
use crate::machine::simulated::World;
use crate::vocabulary::Silent;
use crate::vocabulary::limits::GRACE;
use crate::work::fixture::{Fixture, n};
use crate::work::names::{pin, plan_remove, remove, unpin};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn simulated(world: &World) -> Fixture {
    Fixture::new(world.process("test"), Path::new("/store"))
}

fn rm(store: &Fixture, name: &str) {
    let plan = plan_remove(&store.ctx(), &[Prefix::Below(n(name))]).unwrap();
    remove(&store.ctx(), &plan, &Silent).unwrap();
}

#[test]
fn a_list_is_in_order_and_ends_at_components() {
    let store = simulated(&World::new(1));
    for name in ["m/b", "m-x", "m/a/c", "m", "z"] {
        let kept = if name == "m" { "top" } else { name };
        store.add(kept, name.as_bytes(), name == "z");
    }
    let listed = |prefix: &[u8]| {
        let mut names = Vec::new();
        let mut each = |alias: AliasInfo| {
            names.push(alias.name.to_string());
            Ok(())
        };
        list(&store.ctx(), &Prefix::new(prefix).unwrap(), &mut each).unwrap();
        names
    };
    assert_eq!(listed(b"."), ["m-x", "m/a/c", "m/b", "top", "z"]);
    assert_eq!(listed(b"m"), ["m/a/c", "m/b"]);
    assert_eq!(listed(b"top"), ["top"]);
    assert!(listed(b"none").is_empty());
    let stop = || Err(Error::new(ErrorKind::Interrupted, "go on", "enough"));
    assert!(list(&store.ctx(), &Prefix::Everything, &mut |_| stop()).is_err());
}

#[test]
fn a_blob_is_shown_as_recorded_and_as_it_is() {
    let store = simulated(&World::new(1));
    let digest = store.add("a", &[7; 5000], true);
    store.add("b", &[7; 5000], false);
    pin(&store.ctx(), &Target::Digest(digest), "mine").unwrap();
    let info = show(&store.ctx(), &Target::Name(n("b"))).unwrap();
    assert_eq!((info.digest, info.size_bytes, info.links), (digest, 5000, 2));
    assert_eq!(info.now.map(|now| now.agrees(&info.stamp)), Some(true));
    let aliases: Vec<_> = info.aliases.iter().map(|alias| (alias.name.clone(), alias.kind)).collect();
    assert_eq!(aliases, [(n("a"), AliasKind::Hardlinked), (n("b"), AliasKind::Counted)]);
    assert_eq!((info.pin.as_deref(), info.damaged), (Some("mine"), false));
    store.machine.unlink(&store.ledger.layout.blob(&digest)).unwrap();
    assert_eq!(show(&store.ctx(), &Target::Digest(digest)).unwrap().now, None);
    store.machine.create_dir(&store.ledger.layout.blob(&digest), 0o755).unwrap();
    assert_eq!(show(&store.ctx(), &Target::Digest(digest)).unwrap().now, None, "a directory is no blob");
    assert_eq!(show(&store.ctx(), &Target::Name(n("x"))).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn the_beginning_of_a_digest_finds_its_blobs() {
    let store = simulated(&World::new(1));
    let digests: Vec<Digest> = (0..40u8).map(|i| store.add(&format!("n{i}"), &[i], false)).collect();
    for digest in &digests {
        let found = locate(&store.ctx(), &digest.to_hex()[..8].parse().unwrap()).unwrap();
        assert_eq!(found.iter().map(|blob| blob.digest).collect::<Vec<_>>(), [*digest]);
    }
    let missing = Digest::EMPTY.to_hex();
    assert!(locate(&store.ctx(), &missing.parse().unwrap()).unwrap().is_empty());
}

#[test]
fn why_tells_roots_then_grace_then_nothing() {
    let world = World::new(1);
    let store = simulated(&world);
    let digest = store.add("a", b"one", true);
    let ask = |grace| why(&store.ctx(), &digest, grace).unwrap();
    let named = ask(Duration::ZERO);
    assert_eq!((named.names, named.collectable, named.unrooted_ns), (vec![n("a")], false, None));
    pin(&store.ctx(), &Target::Digest(digest), "mine").unwrap();
    rm(&store, "a");
    assert_eq!((ask(GRACE).pin.as_deref(), ask(Duration::ZERO).collectable), (Some("mine"), false));
    unpin(&store.ctx(), &Target::Digest(digest)).unwrap();
    assert!(ask(Duration::ZERO).collectable && !ask(DAY).collectable && ask(DAY).unrooted_ns.is_some());
    world.advance(DAY + Duration::from_secs(1));
    assert!(ask(DAY).collectable);
    world.advance(100 * DAY);
    assert!(!ask(2 * DAY).collectable, "journal time goes a day at a time, whatever the clock says");
    let unknown = why(&store.ctx(), &Digest::EMPTY, DAY).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
}

#[test]
fn why_names_running_work_that_holds_a_blob_or_might() {
    let store = simulated(&World::new(1));
    let (one, two) = (store.add("a", b"one", true), store.add("b", b"two", true));
    rm(&store, "a");
    let reader = store.session(SessionKind::Reader, &[one, two]);
    let holding = |digest| why(&store.ctx(), digest, Duration::ZERO).unwrap();
    assert_eq!(holding(&two).sessions, [format!("reader session {}", reader.id())]);
    assert!(!holding(&one).collectable);
    drop(reader);
    assert!(holding(&one).collectable);
    let ingest = store.session(SessionKind::Ingest, &[]);
    assert_eq!(holding(&one).sessions, [format!("ingest session {}", ingest.id())], "it may rest on it");
    assert!(holding(&two).sessions.is_empty(), "its name keeps it, whatever the ingest does");
    let collect = store.session(SessionKind::Collect, &[]);
    drop(ingest);
    assert!(holding(&one).sessions.is_empty(), "collection protects nothing");
    drop(collect);
}

#[test]
fn links_outside_are_counted_by_looking() {
    let world = World::new(1);
    let store = simulated(&world);
    let digest = store.add("a", &[1; 9000], true);
    store.add("b", &[1; 9000], true);
    store.add("c", &[1; 9000], false);
    let blob = store.ledger.layout.blob(&digest);
    let outside = || why(&store.ctx(), &digest, DAY).unwrap().outside_links;
    assert_eq!(outside(), 0);
    let freed = reclaimable(&store.ctx(), &digest).unwrap();
    assert!(freed >= 9000);
    let session = store.session(SessionKind::Ingest, &[]);
    store.machine.link(&blob, &session.next_path()).unwrap();
    assert_eq!(outside(), 0, "a staged link is larder's own");
    world.put_dir("/home");
    store.machine.link(&blob, Path::new("/home/x")).unwrap();
    assert_eq!((outside(), reclaimable(&store.ctx(), &digest).unwrap()), (1, 0));
    let file = store.file("b");
    store.machine.unlink(&file).unwrap();
    store.machine.open(&file, crate::machine::Open::CreateNew { mode: 0o644 }).unwrap();
    assert_eq!(outside(), 1, "somebody's file under a name of the store is no link");
    store.machine.unlink(Path::new("/home/x")).unwrap();
    assert_eq!(reclaimable(&store.ctx(), &digest).unwrap(), freed);
    pin(&store.ctx(), &Target::Digest(digest), "").unwrap();
    assert_eq!(reclaimable(&store.ctx(), &digest).unwrap(), 0, "a pin keeps it");
}

fn check_stats(store: &Fixture, outside: &Path) {
    let one = store.add("a", &[1; 10_000], true);
    store.add("b", &[1; 10_000], true);
    let two = store.add("c", &[2; 20_000], true);
    let three = store.add("d", &[3; 30_000], true);
    pin(&store.ctx(), &Target::Digest(one), "").unwrap();
    store.machine.link(&store.ledger.layout.blob(&two), outside).unwrap();
    rm(store, "c");
    rm(store, "d");
    let allocated = |digest| store.machine.lstat(&store.ledger.layout.blob(digest)).unwrap().allocated_bytes;
    let stats = stats(&store.ctx()).unwrap();
    assert_eq!((stats.blobs, stats.blob_bytes), (3, 60_000));
    assert_eq!(stats.allocated_bytes, allocated(&one) + allocated(&two) + allocated(&three));
    assert_eq!((stats.names, stats.logical_bytes, stats.pins), (2, 20_000, 1));
    assert_eq!((stats.unrooted_blobs, stats.reclaimable_bytes), (2, allocated(&three)));
    assert_eq!((stats.damaged_blobs, stats.findings, stats.fenced, stats.sessions), (0, 0, false, 0));
    assert!(stats.journal_bytes > 0 && stats.free_bytes > 0 && !stats.filesystem.is_empty());
}

#[test]
fn stats_add_up_on_a_simulated_and_a_real_disk() {
    check_stats(&simulated(&World::new(1)), Path::new("/outside"));
    let directory = tempfile::tempdir().unwrap();
    let store = Fixture::new(std::sync::Arc::new(Real::new()), &directory.path().join("store"));
    check_stats(&store, &directory.path().join("outside"));
}

#[test]
fn orphans_and_referenced_paths_are_the_two_sides_of_the_records() {
    let store = simulated(&World::new(1));
    let (one, two) = (store.add("a", b"one", true), store.add("b", b"two", true));
    rm(&store, "b");
    let orphan = crate::hashing::Digests::of(b"three").digest;
    store.publish(&store.session(SessionKind::Ingest, &[]), &orphan, b"three");
    assert_eq!(find_orphans(&store.ctx()).unwrap(), [store.ledger.layout.blob(&orphan)]);
    let mut paths = Vec::new();
    let mut each = |path| {
        paths.push(path);
        Ok(())
    };
    referenced_paths(&store.ctx(), &mut each).unwrap();
    assert_eq!(paths, [store.ledger.layout.blob(&one)]);
    assert!(!paths.contains(&store.ledger.layout.blob(&two)), "nothing keeps it");
}
