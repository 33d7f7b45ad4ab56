//! How many calls the verbs make: for each file, and for each batch. A change that makes more of them fails here; what
//! makes fewer may lower the numbers.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::kit::{Opened, world};
use larder::format::settings::Durability;
use larder::machine::simulated::{Call, CallKind, World};
use larder::work::ingest::AddOptions;
use larder::work::materialize::{MaterializeOptions, checkout};
use larder::{Name, Prefix, Silent};

use CallKind::{
    Create, Link, List, Lstat, Meta, Open, Read, Rename, SetMtime, Sync, SyncData, SyncFilesystem, Unlink, Write,
};

/// Files of a tree, each with bytes of its own.
fn tree(world: &World, at: &str, count: usize) {
    for i in 0..count {
        world.put(format!("{at}/{i:03}"), format!("the bytes of file {i} at {at}").as_bytes());
    }
}

fn start() -> (World, Opened) {
    let world = world(1, Durability::Batch, &[]);
    world.configure(|options| options.log_reads = true);
    // What a process does once is done.
    world.put("/once/file", b"once");
    let opened = Opened::open(&world.process("first")).unwrap();
    opened.add(&["/once"], &AddOptions::default()).unwrap();
    world.advance(Duration::from_secs(60));
    (world, opened)
}

fn during(world: &World, work: impl FnOnce()) -> Vec<Call> {
    let before = world.log().calls().len();
    work();
    let calls = world.log().calls()[before..].to_vec();
    calls.into_iter().filter(|call| call.kind != CallKind::Note).collect()
}

fn by_kind(calls: &[Call]) -> BTreeMap<CallKind, usize> {
    let mut counts = BTreeMap::new();
    calls.iter().for_each(|call| *counts.entry(call.kind).or_insert(0) += 1);
    counts
}

/// How many calls of each kind each further file costs: what twice as many make more than once as many. At most `most`.
fn each_costs(what: &str, once: &[Call], twice: &[Call], files: usize, most: &[(CallKind, usize)]) {
    let (once, twice) = (by_kind(once), by_kind(twice));
    let mut costs = BTreeMap::new();
    for (kind, count) in &twice {
        let more = count.saturating_sub(*once.get(kind).unwrap_or(&0));
        if more > 0 {
            costs.insert(*kind, more.div_ceil(files));
        }
    }
    println!("{what}: {costs:?}");
    for (kind, count) in costs {
        let allowed = most.iter().find(|(allowed, _)| *allowed == kind).map_or(0, |(_, most)| *most);
        assert!(count <= allowed, "{what}: {count} calls of {kind:?} for each file, and {allowed} are allowed");
    }
}

/// Twice as many have fewer records than are folded into the index, where looking them up takes calls of its own.
const FILES: usize = 15;

fn added(options: &AddOptions, count: usize, prepare: impl Fn(&World, &Opened)) -> Vec<Call> {
    let (world, opened) = start();
    tree(&world, "/src", count);
    world.advance(Duration::from_secs(60));
    prepare(&world, &opened);
    during(&world, || assert_eq!(opened.add(&["/src"], options).unwrap().failed, 0))
}

fn per_file(what: &str, options: &AddOptions, prepare: impl Fn(&World, &Opened), most: &[(CallKind, usize)]) {
    let (once, twice) = (added(options, FILES, &prepare), added(options, 2 * FILES, &prepare));
    each_costs(what, &once, &twice, FILES, most);
}

#[test]
fn a_small_file_that_is_new() {
    // Looked at, opened, looked at, read, looked at; made, written, its time set, looked at; published, looked for, named,
    // unlinked where it was staged.
    let most =
        [(Lstat, 2), (Open, 1), (Meta, 3), (Read, 1), (Create, 1), (Write, 1), (SetMtime, 1), (Link, 2), (Unlink, 1)];
    per_file("new", &AddOptions::default(), |_, _| (), &most);
}

#[test]
fn a_small_file_whose_bytes_and_name_are_known() {
    let first = |_: &World, opened: &Opened| _ = opened.add(&["/src"], &AddOptions::default()).unwrap();
    per_file("known", &AddOptions::default(), first, &[(Lstat, 2), (Open, 1), (Meta, 2), (Read, 1)]);
}

#[test]
fn a_small_file_that_is_trusted() {
    let first = |_: &World, opened: &Opened| _ = opened.add(&["/src"], &AddOptions::default()).unwrap();
    let trusting = AddOptions { trust_stamps: true, ..AddOptions::default() };
    per_file("trusted", &trusting, first, &[(Lstat, 2)]);
}

/// A dedup hit of a known file: no write.
#[test]
fn known_files_write_nothing_but_their_session() {
    let first = |_: &World, opened: &Opened| _ = opened.add(&["/src"], &AddOptions::default()).unwrap();
    for trust_stamps in [false, true] {
        let calls = added(&AddOptions { trust_stamps, ..AddOptions::default() }, FILES, first);
        let session = |call: &&Call| call.path.starts_with("/store/staging");
        let hint = |call: &&Call| call.path == Path::new("/store/lock");
        let other: Vec<_> = calls.iter().filter(|c| c.kind.mutates() && !session(c) && !hint(c)).collect();
        assert!(other.is_empty(), "{other:?}");
        let syncs: Vec<_> = calls.iter().filter(|call| call.kind.syncs()).collect();
        assert!(syncs.is_empty(), "{syncs:?}");
    }
}

#[test]
fn a_batch_and_its_frame_are_synced_as_often_as_it_takes() {
    let calls = by_kind(&added(&AddOptions::default(), FILES, |_, _| ()));
    let count = |kind| calls.get(&kind).copied().unwrap_or(0);
    println!("batch: {calls:?}");
    // Staged files, blobs; the frame; the two directories of names that have changed.
    assert_eq!((count(SyncFilesystem), count(SyncData), count(Sync)), (2, 1, 2));
}

#[test]
fn a_file_that_is_checked_out_by_link() {
    let checked_out = |count: usize| {
        let (world, opened) = start();
        tree(&world, "/src", count);
        opened.add(&["/src"], &AddOptions::default()).unwrap();
        during(&world, || {
            let prefix = Prefix::Below(Name::new("src").unwrap());
            let options = MaterializeOptions::default();
            let made = checkout(&opened.ctx(), &prefix, Path::new("/out"), &options, &Silent).unwrap();
            assert_eq!(made.failed, 0);
        })
    };
    each_costs("checkout", &checked_out(FILES), &checked_out(2 * FILES), FILES, &[(Lstat, 1), (Link, 1)]);
}

#[test]
fn a_blob_that_is_collected() {
    let collected = |count: usize| {
        let (world, opened) = start();
        tree(&world, "/src", count);
        opened.add(&["/src"], &AddOptions::default()).unwrap();
        opened.remove(&["src"]).unwrap();
        during(&world, || {
            let report = opened.collect(Duration::ZERO).unwrap();
            assert_eq!(report.removed_blobs, count as u64);
        })
    };
    let most = [(Lstat, 2), (Rename, 1), (Unlink, 1), (List, 0)];
    each_costs("collect", &collected(FILES), &collected(2 * FILES), FILES, &most);
}
