//! Taking files in: whatever happens, the user's own files are neither lost nor left changed, and nothing outside of the
//! store is touched.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::kit::{self, Opened, world};
use larder::format::settings::Durability;
use larder::ledger::Tables;
use larder::machine::simulated::{CallKind, Fault, World, errno};
use larder::machine::{Machine, Open};
use larder::work::ingest::{AddOptions, AddReport, Source, TakeIn};
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

/// An observer that does something once, when the bytes of a source are read.
struct Meanwhile<F>(std::sync::Mutex<Option<F>>, u64);

impl<F> Meanwhile<F> {
    fn reading(bytes: u64, what: F) -> Self {
        Meanwhile(std::sync::Mutex::new(Some(what)), bytes)
    }
}

impl<F: FnOnce() + Send> larder::Observer for Meanwhile<F> {
    fn progress(&self, files: u64, bytes: u64) {
        if files == 0 && bytes == self.1 {
            let what = self.0.lock().unwrap().take();
            what.into_iter().for_each(|what| what());
        }
    }
}

fn add(
    opened: &Opened,
    path: &str,
    options: &AddOptions,
    observer: &dyn larder::Observer,
) -> larder::Result<AddReport> {
    larder::work::ingest::add(&opened.ctx(), &[Source { path: path.into() }], options, observer)
}

#[test]
fn bytes_taken_in_by_link_are_those_that_the_disk_has() {
    for take_in in [TakeIn::Link, TakeIn::Move] {
        let world = world(1, Durability::Batch, &[("/src/a", b"what the disk has")]);
        let writer = world.process("editor");
        let file = writer.open(Path::new("/src/a"), Open::ReadWrite).unwrap();
        file.write_at(b"what nobody keeps", 0).unwrap();
        world.fail_writeback("/src/a");
        assert!(file.sync().is_err(), "whoever wrote it was told, once");
        drop(file);
        let opened = Opened::open(&world.process("first")).unwrap();
        opened.add(&["/src/a"], &taking(take_in)).unwrap();
        kit::each_image(&world.power_cut(), 1, 4, |_, image| {
            kit::never_lies(image);
            assert!(image.read("/store/names/a").is_some());
        });
    }
}

#[test]
fn a_source_whose_own_sync_fails_is_copied() {
    let world = world(1, Durability::Batch, &[("/src/a", b"one")]);
    world.fail(Fault::errno(errno::EIO).kind(CallKind::SyncData).under("/store/staging"));
    let opened = Opened::open(&world.process("first")).unwrap();
    let before = mode(&world, "/src/a");
    assert_eq!(opened.add(&["/src/a"], &taking(TakeIn::Link)).unwrap().new_files, 1);
    assert_eq!(mode(&world, "/src/a"), before);
    kit::agrees(&world, &opened);
    let log = world.log();
    kit::each_image(&world.power_cut(), 1, 4, |_, image| _ = kit::recovered(image, &log));
}

#[test]
fn a_moved_source_is_traded_only_for_a_stored_copy_that_was_hashed() {
    // While two sources of the same bytes are staged, somebody else stores them, and what is stored goes bad.
    for sources in [&["/src/a"][..], &["/src/a", "/src/b"]] {
        let all: Vec<(&str, &[u8])> = sources.iter().map(|path| (*path, &b"one"[..])).collect();
        let world = world(1, Durability::Batch, &all);
        world.put("/other/c", b"one");
        world.settle();
        let opened = Opened::open(&world.process("first")).unwrap();
        let blob = opened.ledger.layout.blob(&kit::digest(b"one"));
        let other = Opened::open(&world.process("other")).unwrap();
        let meanwhile = Meanwhile::reading(3, || {
            other.add(&["/other/c"], &AddOptions::default()).unwrap();
            assert!(world.corrupt(&blob, 1));
        });
        let report = add(&opened, "/src", &taking(TakeIn::Move), &meanwhile).unwrap();
        assert_eq!(report.failed, 0);
        for path in sources {
            let kept = world.read(path).as_deref() == Some(b"one") || world.read(&blob).as_deref() == Some(b"one");
            assert!(kept, "{path} was traded for a bad copy");
        }
        drop(other);
        kit::agrees(&world, &opened);
        kit::never_lies(&world);
    }
}

#[test]
fn a_write_within_the_tick_of_the_clock_is_no_loss() {
    const TICK_NS: u64 = 19_000_000;
    for kind in [errno::EXDEV, errno::EPERM] {
        let world = world(1, Durability::Batch, &[]);
        world.configure(|options| options.time_grain_ns = TICK_NS);
        world.advance(Duration::from_nanos(TICK_NS - world.clock_ns() % TICK_NS));
        let editor = world.process("editor");
        world.put_dir("/src");
        let file = editor.open(Path::new("/src/a"), Open::CreateNew { mode: 0o644 }).unwrap();
        file.write_at(b"one", 0).unwrap();
        drop(file);
        world.put("/src/b", b"three");
        world.fail(Fault::errno(kind).kind(CallKind::Link).under("/src").always());
        let opened = Opened::open(&world.process("first")).unwrap();
        // When the second is about to be read, the first has been.
        let meanwhile = Meanwhile::reading(5, || {
            editor.open(Path::new("/src/a"), Open::ReadWrite).unwrap().write_at(b"new", 0).unwrap();
        });
        add(&opened, "/src", &taking(TakeIn::Move), &meanwhile).unwrap();
        assert_eq!(world.read("/src/a").as_deref(), Some(&b"new"[..]), "the user's own last copy is gone");
        assert!(world.read("/src/b").is_none());
    }
}

#[test]
fn a_source_from_the_future_is_kept_and_stays() {
    let world = world(1, Durability::Batch, &[("/src/a", b"one")]);
    world.set_clock_ns(world.clock_ns() - 3_600_000_000_000);
    world.fail(Fault::errno(errno::EXDEV).kind(CallKind::Link).under("/src").always());
    let opened = Opened::open(&world.process("first")).unwrap();
    assert_eq!(opened.add(&["/src/a"], &taking(TakeIn::Move)).unwrap().new_files, 1);
    assert_eq!(world.read("/src/a").as_deref(), Some(&b"one"[..]));
}

#[test]
fn a_source_that_is_refused_for_its_name_gets_its_mode_back() {
    let sources: [(&str, &[u8]); 5] =
        [("/src/x", b"one"), ("/one/f", b"two"), ("/two/f", b"three"), ("/src2/x/y", b"four"), ("/twin/f", b"two")];
    let world = world(1, Durability::Batch, &sources);
    let opened = Opened::open(&world.process("first")).unwrap();
    opened.put("/src2/x/y", "x/y", b"four").unwrap();
    let before = mode(&world, "/src/x");
    // A name against a directory of names; then two of one batch; then one that is a link to what the other one staged.
    for (paths, refused, bytes) in
        [(&["/src/x"][..], "/src/x", &b"one"[..]), (&["/one/f", "/two/f"], "/two/f", b"three")]
    {
        let report = opened.add(paths, &taking(TakeIn::Link)).unwrap();
        assert_eq!(report.failed, 1, "{paths:?}");
        assert_eq!(mode(&world, refused), before, "{paths:?}");
        assert_eq!(world.read(refused).as_deref(), Some(bytes));
        // So its owner may write to it: no blob may be that file.
        world.put(refused, b"edited");
        kit::never_lies(&world);
        kit::agrees(&world, &opened);
    }
    assert_eq!(mode(&world, "/one/f"), 0o444);
    let twin = opened.add(&["/twin/f"], &taking(TakeIn::Link)).unwrap();
    assert_eq!((twin.unchanged_files, mode(&world, "/twin/f")), (1, before));
    kit::nothing_is_left_over(&world, &opened);
}

#[test]
fn a_source_of_a_batch_that_is_not_kept_is_the_users_own_again() {
    for fault in [
        Fault::errno(errno::EIO).kind(CallKind::Write).under("/store/journal").always(),
        Fault::errno(errno::EIO).syncs().under("/store/journal").always(),
        Fault::errno(errno::EIO).syncs().under("/store/sha256").always(),
    ] {
        let world = world(1, Durability::Batch, &[("/src/a", b"one"), ("/src/b", b"two")]);
        world.configure(|options| {
            options.failed_directory_sync = larder::machine::simulated::FailedDirectorySync::Forget
        });
        let opened = Opened::open(&world.process("first")).unwrap();
        opened.ledger.hold(|_| Ok(())).unwrap();
        world.fail(fault);
        let error = opened.add(&["/src"], &taking(TakeIn::Move)).unwrap_err();
        drop(opened);
        world.clear_faults();
        for (path, bytes) in [("/src/a", b"one"), ("/src/b", b"two")] {
            assert_eq!(world.read(path).as_deref(), Some(&bytes[..]), "{error}");
            // If it can be written to, no blob is that file.
            if mode(&world, path) & 0o200 != 0 {
                world.put(path, b"edited");
            }
        }
        kit::never_lies(&world);
        kit::each_image(&world.balance(), 1, 4, |_, image| kit::never_lies(image));
        let next = Opened::open(&world.process("next")).unwrap();
        kit::nothing_is_left_over(&world, &next);
    }
}

#[test]
fn what_stands_in_the_place_of_a_blob_and_is_no_file_fails_that_one_alone() {
    for (known, symlink) in [(false, false), (false, true), (true, false), (true, true)] {
        let world = world(1, Durability::Batch, &[("/src/a", b"one"), ("/src/b", b"two"), ("/old/a", b"one")]);
        let opened = Opened::open(&world.process("first")).unwrap();
        let place = opened.ledger.layout.blob(&kit::digest(b"one"));
        if known {
            opened.put("/old/a", "old", b"one").unwrap();
            world.process("vandal").unlink(&place).unwrap();
        }
        if symlink {
            world.put_symlink("/old/a", &place)
        } else {
            world.put_dir(place.join("below"))
        }
        for take_in in [TakeIn::Copy, TakeIn::Link] {
            let failed = Failed::default();
            let report = add(&opened, "/src", &taking(take_in), &failed).unwrap();
            let reasons = failed.0.lock().unwrap().clone();
            assert_eq!((report.failed, reasons.len()), (1, 1), "known {known}, symlink {symlink}: {reasons:?}");
            assert!(reasons[0].contains(place.to_str().unwrap()) && reasons[0].contains("move it"), "{reasons:?}");
            assert_eq!(report.new_files + report.unchanged_files, 1, "the other file is kept");
        }
        assert_eq!(world.read("/store/names/src/b").as_deref(), Some(&b"two"[..]));
        assert_eq!(mode(&world, "/src/a"), 0o644);
        // Nor does it keep anything else from being collected.
        opened.put("/src/b", "src/b", b"two").unwrap();
        opened.remove(&["src/b"]).unwrap();
        assert_eq!(opened.collect(Duration::ZERO).unwrap().removed_blobs, 1);
        assert!(world.look(&place).is_some(), "it is not larder's to remove");
    }
}

/// The reasons of what failed.
#[derive(Default)]
struct Failed(std::sync::Mutex<Vec<String>>);

impl larder::Observer for Failed {
    fn event(&self, event: &larder::Event) {
        if let larder::Event::Failed { reason, .. } = event {
            self.0.lock().unwrap().push(reason.clone());
        }
    }
}
