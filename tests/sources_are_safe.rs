//! Taking files in: whatever happens, the user's own files are neither lost nor left changed, and nothing outside of the
//! store is touched.
#![allow(missing_docs)]

mod kit;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kit::{Opened, world};
use larder::format::settings::Durability;
use larder::ledger::Tables;
use larder::machine::simulated::{CallKind, Fault, World, errno};
use larder::machine::{Machine, Open};
use larder::work::ingest::{AddOptions, TakeIn};
use larder::work::init::{NewStoreSpec, create};
use larder::{ErrorKind, Prefix};

fn taking(take_in: TakeIn) -> AddOptions {
    AddOptions { take_in, ..AddOptions::default() }
}

fn mode(world: &World, path: &str) -> u32 {
    world.process("look").lstat(Path::new(path)).unwrap().mode
}

#[test]
fn moving_a_file_of_the_store_into_the_store_removes_nothing() {
    let world = world(1, Durability::Batch, &[("/src/a", b"one")]);
    let opened = Opened::open(&world.process("first")).unwrap();
    opened.add(&["/src/a"], &AddOptions::default()).unwrap();
    let blob = opened.ledger.layout.blob(&kit::digest(b"one"));
    for inside in [blob.to_str().unwrap(), "/store/names/a", "/store/names", "/store/sha256"] {
        for take_in in [TakeIn::Move, TakeIn::Link] {
            let _ = opened.add(&[inside], &taking(take_in));
            assert!(world.read(&blob).is_some() && world.read("/store/names/a").is_some(), "{inside} {take_in:?}");
        }
    }
}

#[test]
fn making_a_store_over_one_that_lost_its_settings_is_refused() {
    let world = world(1, Durability::Batch, &[("/src/a", b"one")]);
    let opened = Opened::open(&world.process("first")).unwrap();
    opened.add(&["/src/a"], &AddOptions::default()).unwrap();
    let settings = world.read("/store/larder.toml").unwrap();
    let process = world.process("clumsy");
    process.unlink(Path::new("/store/larder.toml")).unwrap();
    let machine: Arc<dyn Machine> = process;
    let made = create(&machine, Path::new("/store"), &NewStoreSpec::default());
    assert_eq!(made.unwrap_err().kind(), ErrorKind::Refused);
    world.put("/store/larder.toml", &settings);
    let again = Opened::open(&world.process("again")).unwrap();
    assert_eq!(again.ledger.snapshot().unwrap().aliases(&Prefix::Everything).count(), 1);
}

#[test]
fn a_symbolic_link_below_names_leads_nowhere() {
    let world = world(1, Durability::Batch, &[("/src/d/a", b"one"), ("/src/b", b"two")]);
    world.put_dir("/elsewhere");
    world.put_symlink("/elsewhere", "/store/names/d");
    let opened = Opened::open(&world.process("first")).unwrap();
    opened.add(&["/src/d", "/src/b"], &AddOptions::default()).unwrap();
    assert!(world.look("/elsewhere/a").is_none(), "a file was made outside of the store");
    assert!(world.read("/store/names/b").is_some());
    let snapshot = opened.ledger.snapshot().unwrap();
    assert_eq!(snapshot.all_name_findings().count(), 1);
}

#[test]
fn two_names_of_one_file_are_taken_in_without_opening_the_blob_to_writers() {
    for seed in 0..20 {
        let world = world(seed, Durability::Batch, &[("/src/a", b"one")]);
        let shell = world.process("shell");
        for i in 0..6 {
            shell.link(Path::new("/src/a"), Path::new(&format!("/src/b{i}"))).unwrap();
        }
        let mut opened = Opened::open(&world.process("first")).unwrap();
        opened.workers = larder::hashing::Workers::new(4).unwrap();
        let report = opened.add(&["/src"], &taking(TakeIn::Link)).unwrap();
        assert_eq!(report.failed, 0, "{}", world.log());
        assert_eq!(mode(&world, "/src/a"), 0o444, "seed {seed}: the blob can be written to");
        kit::agrees(&world, &opened);
    }
}

#[test]
fn sources_get_their_modes_back_when_the_disk_is_full() {
    let world = world(1, Durability::Batch, &[("/src/a", b"one"), ("/src/b", b""), ("/src/c", b"three")]);
    let opened = Opened::open(&world.process("first")).unwrap();
    world.fail(Fault::errno(errno::ENOSPC).kind(CallKind::Create).under("/store/staging").nth(2).always());
    let before = mode(&world, "/src/a");
    assert_eq!(opened.add(&["/src"], &taking(TakeIn::Link)).unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!((mode(&world, "/src/a"), mode(&world, "/src/c")), (before, before));
}

#[test]
fn a_blob_stays_read_only_when_only_its_name_failed() {
    let world = world(1, Durability::Batch, &[("/src/a", b"one")]);
    let opened = Opened::open(&world.process("first")).unwrap();
    world.fail(Fault::errno(errno::EIO).kind(CallKind::Sync).path(|path| path.starts_with("/store/names")));
    world.configure(|options| options.failed_directory_sync = larder::machine::simulated::FailedDirectorySync::Forget);
    let e = opened.add(&["/src/a"], &taking(TakeIn::Link)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::OutcomeUnknown);
    let blob = opened.ledger.layout.blob(&kit::digest(b"one"));
    assert_eq!(mode(&world, blob.to_str().unwrap()), 0o444, "what is on record can be written to");
    assert!(opened.add(&["/src/a"], &AddOptions::default()).is_err(), "after a failed sync nothing is retried");
}

#[test]
fn a_heal_that_was_cut_short_is_finished_or_given_up_and_never_blocks_the_store() {
    for kind in [CallKind::Link, CallKind::Exchange] {
        let world = world(1, Durability::Batch, &[("/src/a", b"one"), ("/src/b", b"two")]);
        let opened = Opened::open(&world.process("first")).unwrap();
        opened.add(&["/src/a"], &AddOptions::default()).unwrap();
        let blob = opened.ledger.layout.blob(&kit::digest(b"one"));
        world.corrupt(&blob, 1);
        let heal = AddOptions { verify_existing: true, ..AddOptions::default() };
        world.fail(Fault::errno(errno::EIO).kind(kind).path(|path| path.to_str().unwrap().ends_with(".heal")));
        assert!(opened.add(&["/src/a"], &heal).is_err());
        drop(opened);
        let next = Opened::open(&world.process("next")).unwrap();
        next.add(&["/src/b"], &AddOptions::default()).expect("the store goes on");
        assert_eq!(world.read(&blob).unwrap(), b"one", "the heal was finished");
        next.collect(Duration::ZERO).unwrap();
        kit::agrees(&world, &next);
    }
}

#[test]
fn a_moved_source_that_was_copied_and_then_changed_is_left_where_it_is() {
    struct Changing(Arc<larder::machine::simulated::Simulated>, std::sync::atomic::AtomicU32);
    impl larder::Observer for Changing {
        fn progress(&self, files: u64, bytes: u64) {
            if files == 0 && bytes == 5 && self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
                let file = self.0.open(Path::new("/src/a"), Open::ReadWrite).unwrap();
                let mtime = file.meta().unwrap().mtime_ns;
                file.write_at(b"new", 0).unwrap();
                file.set_mtime(mtime).unwrap();
            }
        }
    }
    let world = world(1, Durability::Batch, &[("/src/a", b"one"), ("/src/b", b"three")]);
    world.fail(Fault::errno(errno::EXDEV).kind(CallKind::Link).under("/src").always());
    let opened = Opened::open(&world.process("first")).unwrap();
    let sources = [larder::work::ingest::Source { path: "/src".into() }];
    let changing = Changing(world.process("editor"), Default::default());
    larder::work::ingest::add(&opened.ctx(), &sources, &taking(TakeIn::Move), &changing).unwrap();
    assert_eq!(world.read("/src/a").as_deref(), Some(&b"new"[..]), "the user's own last copy is gone");
    assert!(world.read("/src/b").is_none());
}
