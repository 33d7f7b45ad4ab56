//! Files out of the store, by every way, with what stands in the way of each.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use super::*;
use crate::format::session::SessionKind;
use crate::hashing::Digests;
use crate::ledger::Tables;
use crate::machine::simulated::{CallKind, Fault, Mount, World, errno};
use crate::machine::{Machine, Meta};
use crate::vocabulary::{Name, Prefix};
use crate::work::testing::{Fixture, Heard, Kept};

const MTIME: i64 = 1_600_000_000_123_456_789;

fn name(text: &str) -> Target {
    Target::Name(Name::new(text).unwrap())
}

fn by(mode: Mode) -> MaterializeOptions {
    MaterializeOptions { mode: Some(mode), replace: false }
}

fn replacing(mode: Option<Mode>) -> MaterializeOptions {
    MaterializeOptions { mode, replace: true }
}

const PLAIN: MaterializeOptions = MaterializeOptions { mode: None, replace: false };

fn get_as(store: &Fixture, from: &str, to: &str, options: &MaterializeOptions) -> Result<MaterializeReport> {
    get(&store.context(), &name(from), &store.at(to), options, &Silent)
}

fn check_out(store: &Fixture, prefix: &str, options: &MaterializeOptions) -> (MaterializeReport, Heard) {
    let heard = Heard::default();
    let prefix = Prefix::new(prefix.as_bytes()).unwrap();
    let report = checkout(&store.context(), &prefix, &store.at("tree"), options, &heard).unwrap();
    assert_eq!(*heard.expected.lock().unwrap(), *heard.done.lock().unwrap());
    (report, heard)
}

fn meta(store: &Fixture, path: &str) -> Meta {
    store.machine.lstat(&store.at(path)).unwrap()
}

fn inode(store: &Fixture, digest: &Digest) -> u64 {
    store.machine.lstat(&store.blob(digest)).unwrap().inode
}

#[test]
fn get_makes_a_private_file_with_the_time_and_executable_bit_of_its_name() {
    let world = World::new(1);
    let store = Fixture::simulated(&world);
    let kept = Kept { executable: true, mtime_ns: MTIME, ..Kept::default() };
    let digest = store.keep("bin/tool", b"bytes", kept);
    store.add("plain", b"bytes");
    let report = get_as(&store, "bin/tool", "mine", &PLAIN).unwrap();
    assert_eq!((report.files, report.bytes, report.copied, report.not_restored), (1, 5, 1, 0));
    assert_eq!(report.fallbacks, [("the filesystem has no reflinks".to_owned(), 1)]);
    let made = meta(&store, "mine");
    assert_eq!((made.mode, made.mtime_ns, made.links), (0o755, MTIME, 1));
    assert_ne!(made.inode, inode(&store, &digest));
    assert_eq!(world.read("/out/mine").unwrap(), b"bytes");
    get_as(&store, "plain", "plain", &by(Mode::Copy)).unwrap();
    assert_eq!(meta(&store, "plain").mode, 0o644);
    assert_eq!(store.listed(), ["mine", "plain"]);
}

#[test]
fn reflinks_are_taken_where_they_can_be_had() {
    let world = World::new(1);
    let store = Fixture::simulated(&world);
    world.configure(|options| options.reflinks = true);
    store.keep("a", b"bytes", Kept { mtime_ns: MTIME, ..Kept::default() });
    let report = get_as(&store, "a", "a", &PLAIN).unwrap();
    assert_eq!((report.reflinked, report.copied, report.fallbacks.len()), (1, 0, 0));
    assert_eq!((world.read("/out/a").unwrap(), meta(&store, "a").mtime_ns), (b"bytes".to_vec(), MTIME));
    world.fail(Fault::errno(errno::EXDEV).kind(CallKind::Reflink).always());
    let report = get_as(&store, "a", "b", &by(Mode::Reflink)).unwrap();
    assert_eq!((report.reflinked, report.copied), (0, 1));
    assert!(report.fallbacks[0].0.contains("EXDEV"));
    world.clear_faults();
    world.fail(Fault::errno(errno::ENOSPC).kind(CallKind::Reflink));
    assert_eq!(get_as(&store, "a", "c", &PLAIN).unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(store.listed(), ["a", "b"]);
}

#[test]
fn a_directory_takes_the_file_under_its_base_name() {
    let store = Fixture::real();
    let digest = store.add("models/a.gguf", b"bytes");
    let report = get_as(&store, "models/a.gguf", "", &PLAIN).unwrap();
    assert_eq!(report.destination, store.at("a.gguf"));
    get(&store.context(), &Target::Digest(digest), &store.out, &PLAIN, &Silent).unwrap();
    let mut expected = vec!["a.gguf".to_owned(), digest.to_hex()];
    expected.sort();
    assert_eq!(store.listed(), expected);
    let missing = get_as(&store, "models/a.gguf", "no/such/file", &PLAIN).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[test]
fn nothing_is_replaced_unless_asked_for_and_a_directory_never() {
    let store = Fixture::real();
    let digest = store.add("new", b"new bytes");
    std::fs::create_dir(store.at("d")).unwrap();
    std::fs::create_dir(store.at("d/new")).unwrap();
    for mode in [None, Some(Mode::Hardlink), Some(Mode::Reflink), Some(Mode::Copy), Some(Mode::Symlink)] {
        std::fs::write(store.at("old"), b"old bytes").unwrap();
        let keep = MaterializeOptions { mode, replace: false };
        let refused = get_as(&store, "new", "old", &keep).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Taken);
        assert!(refused.to_string().contains("old"), "{refused}");
        assert_eq!(std::fs::read(store.at("old")).unwrap(), b"old bytes");
        get_as(&store, "new", "old", &replacing(mode)).unwrap();
        assert_eq!(std::fs::read(store.at("old")).unwrap(), b"new bytes", "{mode:?}");
        let refused = get_as(&store, "new", "d", &replacing(mode)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Taken);
        std::fs::remove_file(store.at("old")).unwrap();
        assert_eq!(store.listed(), ["d"], "{mode:?}");
    }
    // What a symbolic link points at is not touched.
    std::fs::write(store.at("theirs"), b"theirs").unwrap();
    std::os::unix::fs::symlink("theirs", store.at("link")).unwrap();
    assert_eq!(get_as(&store, "new", "link", &PLAIN).unwrap_err().kind(), ErrorKind::Taken);
    get_as(&store, "new", "link", &replacing(Some(Mode::Hardlink))).unwrap();
    assert_eq!(std::fs::read(store.at("theirs")).unwrap(), b"theirs");
    assert_eq!(meta(&store, "link").inode, inode(&store, &digest));
    // A second name of the blob over another second name leaves no third.
    let again = get_as(&store, "new", "link", &replacing(Some(Mode::Hardlink))).unwrap();
    assert_eq!((again.files, again.unchanged), (0, 1));
    assert_eq!(meta(&store, "link").links, 2);
}

#[test]
fn hardlinks_fall_back_with_the_reason() {
    for (number, words) in [
        (errno::EMLINK, "as many names"),
        (errno::EXDEV, "another filesystem"),
        (errno::EPERM, "fs.protected_hardlinks"),
        (errno::EACCES, "no permission"),
        (errno::EOPNOTSUPP, "no hardlinks"),
    ] {
        let world = World::new(1);
        let store = Fixture::simulated(&world);
        store.keep("a/b", b"bytes", Kept { mtime_ns: MTIME, ..Kept::default() });
        world.fail(Fault::errno(number).kind(CallKind::Link).under("/out").always());
        let (report, heard) = check_out(&store, ".", &PLAIN);
        assert_eq!((report.hardlinked, report.copied, report.failed), (0, 1, 0), "{number}: {:?}", heard.failures());
        assert_eq!(report.fallbacks.len(), 2);
        assert!(report.fallbacks[0].0.contains(words), "{:?}", report.fallbacks);
        assert_eq!(meta(&store, "tree/a/b").mtime_ns, MTIME);
        assert_eq!(world.read("/out/tree/a/b").unwrap(), b"bytes");
    }
}

#[test]
fn other_mounts_and_link_limits_are_noticed_by_the_real_calls() {
    let world = World::new(1);
    let store = Fixture::simulated(&world);
    store.add("a", b"bytes");
    world.configure(|options| options.mounts.push(Mount { at: "/out".into(), device: 1 }));
    let (report, _) = check_out(&store, ".", &PLAIN);
    assert_eq!((report.copied, report.failed), (1, 0));
    world.configure(|options| {
        options.mounts.clear();
        options.link_limit = 1;
    });
    let report = get_as(&store, "a", "b", &by(Mode::Hardlink)).unwrap();
    assert!(report.fallbacks[0].0.contains("EMLINK"));
}

#[test]
fn without_renames_that_replace_nothing_a_copy_gets_its_name_by_link() {
    let world = World::new(1);
    let store = Fixture::simulated(&world);
    store.add("a", b"bytes");
    world.put("/out/taken", b"theirs");
    world.fail(Fault::errno(errno::EOPNOTSUPP).kind(CallKind::RenameNew).always());
    get_as(&store, "a", "a", &by(Mode::Copy)).unwrap();
    assert_eq!(get_as(&store, "a", "taken", &by(Mode::Copy)).unwrap_err().kind(), ErrorKind::Taken);
    assert_eq!(store.listed(), ["a", "taken"]);
    assert_eq!((world.read("/out/a").unwrap(), meta(&store, "a").links), (b"bytes".to_vec(), 1));
}

#[test]
fn a_checkout_is_the_tree_of_names_and_doing_it_again_changes_nothing() {
    let store = Fixture::real();
    let one = store.keep("m/a/one", b"one", Kept { mtime_ns: MTIME, ..Kept::default() });
    store.keep("m/a/two", b"two", Kept { executable: true, hardlinked: true, ..Kept::default() });
    store.add("m/empty", b"");
    store.add("m2/not", b"not this");
    for i in 0..40 {
        store.add(&format!("m/many/{i}"), format!("file {i}").as_bytes());
    }
    let (report, heard) = check_out(&store, "m", &PLAIN);
    assert_eq!((report.files, report.hardlinked, report.copied, report.failed), (43, 42, 1, 0), "{report:?}");
    assert_eq!(report.not_restored, 42);
    assert_eq!(report.fallbacks, [("empty files are never hardlinked".to_owned(), 1)]);
    assert_eq!(meta(&store, "tree/a/one").inode, inode(&store, &one));
    assert_eq!(store.read(&store.at("tree/many/7")), b"file 7");
    assert_eq!(std::fs::read_dir(store.at("tree")).unwrap().count(), 3);
    let materialized = |event: &crate::Event| matches!(event, crate::Event::Materialized { .. });
    assert_eq!(heard.events.lock().unwrap().iter().filter(|event| materialized(event)).count(), 43);
    let (again, _) = check_out(&store, "m", &PLAIN);
    assert_eq!((again.files, again.unchanged, again.failed), (0, 43, 0));
    // The session that held the blobs is gone.
    assert_eq!(store.ledger.hold(|_| store.ledger.sessions.list()).unwrap().len(), 0);
    let none = Prefix::new(b"none").unwrap();
    let error = checkout(&store.context(), &none, &store.at("x"), &PLAIN, &Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(!store.at("x").exists());
}

#[test]
fn one_name_that_cannot_be_made_does_not_stop_the_rest() {
    let store = Fixture::real();
    for name in ["a/good", "clash", "clash/below", "dir", "link/through", "taken", "z"] {
        store.add(name, name.as_bytes());
    }
    let damaged = store.add("damaged", b"damaged");
    store.tamper(&damaged, |file| file.write_at(b"D", 0).unwrap());
    std::fs::create_dir_all(store.at("tree/dir")).unwrap();
    std::fs::create_dir(store.at("elsewhere")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", store.at("tree/link")).unwrap();
    std::fs::write(store.at("tree/taken"), b"theirs").unwrap();
    let (report, heard) = check_out(&store, ".", &PLAIN);
    assert_eq!((report.files, report.failed), (3, 5), "{:?}", heard.failures());
    let failed: Vec<_> = heard.failures().into_iter().map(|(path, _)| path).collect();
    let expected = ["tree/clash/below", "tree/damaged", "tree/dir", "tree/link/through", "tree/taken"];
    assert_eq!(failed, expected.map(|path| store.at(path)));
    assert_eq!(std::fs::read_dir(store.at("elsewhere")).unwrap().count(), 0);
    assert_eq!(std::fs::read(store.at("tree/taken")).unwrap(), b"theirs");
    assert_eq!(std::fs::read(store.at("tree/z")).unwrap(), b"z");
    let (report, _) = check_out(&store, ".", &replacing(None));
    assert_eq!((report.files, report.unchanged, report.failed), (1, 3, 4));
}

#[test]
fn the_store_itself_is_no_destination() {
    let store = Fixture::real();
    store.add("store/larder.toml", b"evil");
    store.add("a", b"a");
    let root = store.ledger.layout.root().to_owned();
    let refused = |result: Result<MaterializeReport>| assert_eq!(result.unwrap_err().kind(), ErrorKind::Refused);
    refused(checkout(&store.context(), &Prefix::Everything, &root.join("names"), &PLAIN, &Silent));
    refused(checkout(&store.context(), &Prefix::Everything, &root.join("names/new"), &PLAIN, &Silent));
    refused(get(&store.context(), &name("a"), &root.join("larder.toml"), &replacing(None), &Silent));
    std::os::unix::fs::symlink(&root, store.at("way")).unwrap();
    refused(checkout(&store.context(), &Prefix::Everything, &store.at("way"), &PLAIN, &Silent));
    refused(get(&store.context(), &name("a"), &store.at("way/x"), &PLAIN, &Silent));
    // Nor is it reached by a name below a directory that it is in.
    let settings = std::fs::read(root.join("larder.toml")).unwrap();
    let above = root.parent().unwrap();
    let report = checkout(&store.context(), &Prefix::Everything, above, &replacing(None), &Silent).unwrap();
    assert_eq!((report.files, report.failed), (1, 1));
    assert_eq!(std::fs::read(root.join("larder.toml")).unwrap(), settings);
}

#[test]
fn bytes_that_are_not_those_of_the_digest_never_get_out() {
    for mode in [None, Some(Mode::Hardlink), Some(Mode::Reflink), Some(Mode::Copy), Some(Mode::Symlink)] {
        let store = Fixture::real();
        let digest = store.add("a/first", b"right bytes");
        store.add("second", b"right bytes");
        store.tamper(&digest, |file| file.write_at(b"W", 0).unwrap());
        let error = get_as(&store, "second", "out", &MaterializeOptions { mode, replace: false }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{mode:?}");
        let words = error.to_string();
        assert!(["a/first", "second", &digest.to_string()].iter().all(|word| words.contains(word)), "{words}");
        assert!(store.listed().is_empty(), "{mode:?}");
        assert_eq!(path(&store.context(), &name("second")).unwrap_err().kind(), ErrorKind::Damaged);
        assert_eq!(cat(&store.context(), &name("second"), &mut Vec::new()).unwrap_err().kind(), ErrorKind::Damaged);
    }
}

#[test]
fn damage_that_no_stamp_shows_is_found_by_copying() {
    let world = World::new(1);
    let store = Fixture::simulated(&world);
    let digest = store.add("a", &[7; 50_000]);
    world.corrupt(store.blob(&digest), 40_000);
    assert_eq!(get_as(&store, "a", "a", &PLAIN).unwrap_err().kind(), ErrorKind::Damaged);
    assert_eq!(cat(&store.context(), &name("a"), &mut Vec::new()).unwrap_err().kind(), ErrorKind::Damaged);
    assert!(store.listed().is_empty());
    world.corrupt(store.blob(&digest), 40_000);
    world.bad_sector(store.blob(&digest), 40_000..40_001);
    let error = get_as(&store, "a", "a", &PLAIN).unwrap_err();
    assert_eq!((error.kind(), error.os_error()), (ErrorKind::Io, Some(errno::EIO)));
    assert!(error.to_string().contains("names: a"), "{error}");
    assert!(store.listed().is_empty());
}

#[test]
fn missing_and_recorded_damage_is_told() {
    let store = Fixture::real();
    let missing = store.add("missing", b"missing");
    let quarantined = store.keep("bad", b"bad", Kept { hardlinked: true, ..Kept::default() });
    std::fs::remove_file(store.blob(&missing)).unwrap();
    store.tamper(&quarantined, |file| file.write_at(b"B", 0).unwrap());
    let options = crate::work::verify::VerifyOptions { quarantine: true };
    crate::work::verify::verify(&store.context(), &[], &[], &options, &Silent).unwrap();
    for from in ["missing", "bad"] {
        for mode in [Mode::Hardlink, Mode::Copy, Mode::Symlink] {
            let error = get_as(&store, from, "out", &by(mode)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged, "{from} {mode:?} {error}");
            assert!(error.to_string().contains(from), "{error}");
        }
        assert_eq!(cat(&store.context(), &name(from), &mut Vec::new()).unwrap_err().kind(), ErrorKind::Damaged);
    }
    assert!(store.listed().is_empty());
    assert_eq!(get_as(&store, "no such name", "out", &PLAIN).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_touched_blob_is_hashed_and_then_linked() {
    let store = Fixture::real();
    let digest = store.add("a", b"bytes");
    store.tamper(&digest, |file| file.set_mtime(MTIME).unwrap());
    let report = get_as(&store, "a", "a", &by(Mode::Hardlink)).unwrap();
    assert_eq!((report.hardlinked, meta(&store, "a").inode), (1, inode(&store, &digest)));
}

#[test]
fn holes_are_kept() {
    const SIZE: u64 = 256 << 20;
    let store = Fixture::real();
    let mut bytes = vec![0; SIZE as usize];
    bytes[100 << 20..(100 << 20) + 4].copy_from_slice(b"data");
    let digest = store.keep_file("sparse", Digests::of(&bytes), Kept::default(), 0o444, |file| {
        file.write_at(b"data", 100 << 20).unwrap();
        file.set_len(SIZE).unwrap();
    });
    get_as(&store, "sparse", "sparse", &by(Mode::Copy)).unwrap();
    let made = std::fs::metadata(store.at("sparse")).unwrap();
    assert_eq!(made.len(), SIZE);
    assert!(made.blocks() * 512 < 1 << 20, "{} blocks", made.blocks());
    assert_eq!(crate::hashing::digest_path(store.machine.as_ref(), &store.at("sparse")).unwrap().digest, digest);
}

#[test]
fn a_copy_is_readable_to_nobody_else_than_the_blob() {
    let store = Fixture::real();
    store.keep_with_mode("secret", b"secret", Kept { executable: true, ..Kept::default() }, 0o400);
    get_as(&store, "secret", "secret", &by(Mode::Copy)).unwrap();
    assert_eq!(std::fs::metadata(store.at("secret")).unwrap().permissions().mode() & 0o7777, 0o700);
}

#[test]
fn cat_gives_the_bytes_and_path_the_place() {
    let store = Fixture::real();
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i >> 5) as u8).collect();
    let digest = store.add("big", &bytes);
    let mut out = Vec::new();
    assert_eq!(cat(&store.context(), &Target::Digest(digest), &mut out).unwrap(), 3_000_000);
    assert!(out == bytes);
    assert_eq!(path(&store.context(), &name("big")).unwrap(), store.blob(&digest));
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(errno::EMFILE))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    assert_eq!(cat(&store.context(), &name("big"), &mut Closed).unwrap_err().os_error(), Some(errno::EMFILE));
}

#[test]
fn a_symlink_leads_to_the_blob() {
    let store = Fixture::real();
    let digest = store.add("a", b"bytes");
    let report = get_as(&store, "a", "a", &by(Mode::Symlink)).unwrap();
    assert_eq!(report.symlinked, 1);
    assert_eq!(std::fs::read_link(store.at("a")).unwrap(), store.blob(&digest));
    assert_eq!(get_as(&store, "a", "a", &by(Mode::Symlink)).unwrap().unchanged, 1);
}

#[test]
fn stopping_leaves_whole_files_only() {
    let world = World::new(1);
    let store = Fixture::simulated(&world);
    store.add("big", &vec![1; 3 << 20]);
    let heard = Heard::stopping_after(u64::MAX, 1 << 20);
    let report = get(&store.context(), &name("big"), &store.at("big"), &PLAIN, &heard).unwrap();
    assert!(report.interrupted && report.files == 0);
    assert!(store.listed().is_empty());
    for i in 0..10u8 {
        store.add(&format!("t/{i}"), &[i; 10]);
    }
    let heard = Heard::stopping_after(4, u64::MAX);
    let prefix = Prefix::new(b"t").unwrap();
    let report = checkout(&store.context(), &prefix, &store.at("tree"), &PLAIN, &heard).unwrap();
    assert!(report.interrupted && report.files == 4, "{report:?}");
    assert_eq!(store.machine.list(&store.at("tree")).unwrap().len(), 4);
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let world = World::new(1);
    let store = Fixture::simulated(&world);
    store.add("big", &vec![1; 100_000]);
    world.set_free_bytes(50_000);
    assert_eq!(get_as(&store, "big", "big", &by(Mode::Copy)).unwrap_err().kind(), ErrorKind::NoSpace);
    assert!(store.listed().is_empty());
}

#[test]
fn a_checkout_holds_its_blobs_while_it_runs_and_goes_without_where_it_cannot() {
    let world = World::new(1);
    let store = Fixture::simulated(&world);
    let digest = store.add("a", b"bytes");
    let digests = vec![digest, Digest::EMPTY];
    let session = reader::try_open(&store.context(), digests.clone()).unwrap();
    let found = store.ledger.hold(|_| store.ledger.sessions.list()).unwrap();
    let says = found[0].says.clone().unwrap();
    assert_eq!((found[0].alive, says.kind, says.held), (true, SessionKind::Reader, vec![digest]));
    drop(session);
    let lock = world.process("writer").open(&store.ledger.layout.lock(), crate::machine::Open::ReadWrite).unwrap();
    assert!(lock.try_lock(crate::machine::Lock::Exclusive).unwrap());
    let before = world.log().calls().len();
    assert!(reader::try_open(&store.context(), digests.clone()).is_none());
    assert!(world.log().calls().iter().skip(before).all(|call| call.kind != CallKind::Pause));
    let (report, _) = check_out(&store, ".", &PLAIN);
    assert_eq!(report.files, 1);
    drop(lock);
    let read_only = store.read_only();
    let ctx = Context { ledger: &read_only, ..store.context() };
    assert!(reader::try_open(&ctx, digests).is_none());
    assert_eq!(checkout(&ctx, &Prefix::Everything, &store.at("other"), &PLAIN, &Silent).unwrap().files, 1);
}

#[test]
fn a_crash_leaves_no_partial_file_under_a_final_name() {
    let bytes: Vec<u8> = (0..200_000u32).map(|i| (i >> 3) as u8).collect();
    for mode in [Mode::Copy, Mode::Hardlink, Mode::Symlink] {
        for call in 0.. {
            let world = World::new(1);
            let store = Fixture::simulated(&world);
            store.add("a", &bytes);
            world.put("/out/a", b"old");
            let process = world.process("getter");
            let machine: std::sync::Arc<dyn Machine> = process.clone();
            let policy = crate::ledger::Policy { lock_timeout: Duration::ZERO, ..store.ledger.policy.clone() };
            let ledger = crate::ledger::Ledger::open(machine, store.ledger.layout.clone(), policy).unwrap();
            let ctx = Context { ledger: &ledger, ..store.context() };
            world.fail(Fault::kill().process(process.number()).nth(call + 1));
            let done = crate::machine::simulated::run(&process, || {
                get(&ctx, &name("a"), &store.at("a"), &replacing(Some(mode)), &Silent).unwrap()
            });
            let now = match mode {
                Mode::Symlink if world.look("/out/a").unwrap().kind == FileKind::Symlink => bytes.clone(),
                _ => world.read("/out/a").unwrap(),
            };
            assert!(now == b"old" || now == bytes, "{mode:?} call {call}");
            if !done.is_killed() {
                assert!(now == bytes && call > 1);
                break;
            }
        }
    }
}

#[test]
fn what_is_collected_meanwhile_is_told_as_gone() {
    let store = Fixture::real();
    let digest = store.add("a", b"bytes");
    let snapshot = store.ledger.snapshot().unwrap();
    let maker = Maker::new(store.context(), snapshot.clone(), LINKED, false).unwrap();
    store
        .ledger
        .transact(move |tx| {
            let rule = "gc".to_owned();
            let removed = crate::format::record::RemovedRecord { digest, size_bytes: 5, rule, when: tx.moment() };
            tx.push(crate::format::record::Record::Removed(removed));
            Ok(())
        })
        .unwrap();
    std::fs::remove_file(store.blob(&digest)).unwrap();
    let alias = snapshot.alias(&Name::new("a").unwrap()).unwrap();
    let item = Item { from: "a".into(), digest, size_bytes: 5, alias, destination: store.at("a") };
    let error = maker.make(&item, &Silent).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("collected"), "{error}");
}
