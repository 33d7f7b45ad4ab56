//! Planted damage, and what is said of it.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::format::record::{Record, RemovedRecord};
use crate::hashing::Digests;
use crate::hashing::choice::Choice;
use crate::ledger::Tables;
use crate::machine::FileKind;
use crate::machine::simulated::{CallKind, Fault, World, errno};
use crate::vocabulary::{Digest, ErrorKind, Name};
use crate::work::testing::{Fixture, Heard, Kept};

const QUARANTINE: VerifyOptions = VerifyOptions { quarantine: true };
const LOOK: VerifyOptions = VerifyOptions { quarantine: false };

/// What was told of one blob.
#[derive(Debug, PartialEq)]
struct Told {
    status: VerifyStatus,
    names: Vec<String>,
    detail: String,
}

fn everything(store: &Fixture, options: &VerifyOptions) -> (VerifyReport, Heard) {
    let heard = Heard::default();
    let report = verify(&store.context(), &[], &[], options, &heard).unwrap();
    (report, heard)
}

fn told(heard: &Heard, of: &Digest) -> Told {
    let events = heard.events.lock().unwrap();
    let mut found = events.iter().filter_map(|event| match event {
        Event::Verified { digest, names, status, detail, .. } if digest == of => {
            let names = names.iter().map(Name::to_string).collect();
            Some(Told { status: *status, names, detail: detail.clone() })
        }
        _ => None,
    });
    let first = found.next().expect("it was told");
    assert!(found.next().is_none(), "each blob is told once");
    first
}

fn name(text: &str) -> Target {
    Target::Name(Name::new(text).unwrap())
}

#[test]
fn every_kind_of_damage_is_found_and_nothing_stops_the_rest() {
    let store = Fixture::real();
    let good = store.add("good", b"good bytes");
    let corrupt = store.add("corrupt/a", b"these will be changed");
    store.add("corrupt/b", b"these will be changed");
    let short = store.add("short", &[5; 100_000]);
    let long = store.add("long", b"grows");
    let missing = store.add("missing", b"will be taken away");
    let strange = store.add("strange", b"becomes a directory");
    let empty = store.add("empty", b"");
    store.tamper(&corrupt, |file| file.write_at(b"X", 3).unwrap());
    store.tamper(&short, |file| file.set_len(70_000).unwrap());
    store.tamper(&long, |file| file.write_at(b" and grows", 5).unwrap());
    std::fs::remove_file(store.blob(&missing)).unwrap();
    std::fs::remove_file(store.blob(&strange)).unwrap();
    std::fs::create_dir(store.blob(&strange)).unwrap();
    let before = std::fs::read_dir(store.ledger.layout.journal()).unwrap().count();
    let (report, heard) = everything(&store, &LOOK);
    assert_eq!((report.blobs, report.ok, report.corrupt, report.missing), (7, 2, 4, 1));
    assert_eq!((report.unreadable, report.quarantined, report.interrupted), (0, 0, false));
    assert_eq!(told(&heard, &good).detail, "");
    assert_eq!(told(&heard, &empty).status, VerifyStatus::Ok);
    let bad = told(&heard, &corrupt);
    assert_eq!((bad.status, bad.names), (VerifyStatus::Corrupt, vec!["corrupt/a".to_owned(), "corrupt/b".to_owned()]));
    assert!(bad.detail.contains("sha256:"), "{}", bad.detail);
    assert!(told(&heard, &short).detail.starts_with("truncated at 70000 of 100000 bytes"));
    assert!(told(&heard, &long).detail.starts_with("15 bytes instead of 5"));
    assert_eq!(told(&heard, &missing).status, VerifyStatus::Missing);
    assert_eq!(told(&heard, &strange).status, VerifyStatus::Corrupt);
    assert_eq!(*heard.expected.lock().unwrap(), *heard.done.lock().unwrap());
    // Nothing was written.
    assert_eq!(std::fs::read_dir(store.ledger.layout.journal()).unwrap().count(), before);
    assert_eq!(std::fs::read_dir(store.ledger.layout.quarantine()).unwrap().count(), 0);
    assert_eq!(store.ledger.snapshot().unwrap().all_damaged().count(), 0);
}

#[test]
fn bad_sectors_are_unreadable_and_never_moved() {
    let world = World::new(1);
    let store = Fixture::simulated(&world);
    let bad = store.add("bad", &[1; 100_000]);
    let denied = store.add("denied", b"nobody may read this");
    let good = store.add("good", b"fine");
    world.bad_sector(store.blob(&bad), 41_000..41_001);
    world.configure(|options| options.denied.push(store.blob(&denied)));
    let (report, heard) = everything(&store, &QUARANTINE);
    assert_eq!((report.ok, report.unreadable, report.corrupt, report.quarantined), (1, 2, 0, 0));
    let told_bad = told(&heard, &bad);
    assert_eq!(told_bad.status, VerifyStatus::Unreadable);
    assert!(told_bad.detail.starts_with("cannot read /"), "{}", told_bad.detail);
    assert!(told_bad.detail.contains("at byte 40960 of 100000"), "{}", told_bad.detail);
    assert_eq!(told(&heard, &denied).status, VerifyStatus::Unreadable);
    assert_eq!(told(&heard, &good).status, VerifyStatus::Ok);
    assert!(world.look(store.blob(&bad)).is_some());
}

#[test]
fn what_comes_back_by_itself_is_tried_again() {
    let world = World::new(1);
    let store = Fixture::simulated(&world);
    let digest = store.add("file", b"bytes");
    let path = store.blob(&digest);
    world.fail(Fault::errno(errno::EMFILE).kind(CallKind::Open).under(&path));
    let (report, _) = everything(&store, &QUARANTINE);
    assert_eq!((report.ok, report.unreadable), (1, 0));
    world.fail(Fault::errno(errno::EMFILE).kind(CallKind::Open).under(&path).always());
    let (report, _) = everything(&store, &QUARANTINE);
    assert_eq!((report.ok, report.unreadable, report.corrupt), (0, 1, 0));
}

#[test]
fn holes_are_zeros() {
    const SIZE: u64 = 64 << 20;
    let store = Fixture::real();
    let mut bytes = vec![0; SIZE as usize];
    bytes[..4].copy_from_slice(b"head");
    bytes[1_000_000..1_000_004].copy_from_slice(b"data");
    let digest = store.keep_file("sparse", Digests::of(&bytes), Kept::default(), 0o444, |file| {
        file.write_at(b"head", 0).unwrap();
        file.write_at(b"data", 1_000_000).unwrap();
        file.set_len(SIZE).unwrap();
    });
    let (report, heard) = everything(&store, &LOOK);
    assert_eq!((report.ok, report.bytes), (1, SIZE), "{:?}", told(&heard, &digest));
    store.tamper(&digest, |file| file.write_at(b"!", SIZE - 1).unwrap());
    assert_eq!(everything(&store, &LOOK).0.corrupt, 1);
}

#[test]
fn a_mapped_file_that_is_cut_short_is_a_finding() {
    crate::machine::real::install_guard();
    let store = Fixture::real();
    let digest = store.add("big", &vec![3; 20 << 20]);
    store.tamper(&digest, |file| file.set_len(9 << 20).unwrap());
    let (report, heard) = everything(&store, &LOOK);
    assert_eq!(report.corrupt, 1);
    assert!(told(&heard, &digest).detail.starts_with("truncated at 9437184 of 20971520"));
}

#[test]
fn corrupt_blobs_go_to_quarantine_when_asked_with_their_names_and_others_stay() {
    let store = Fixture::real();
    let linked = Kept { hardlinked: true, ..Kept::default() };
    let corrupt = store.keep("a/one", b"bytes", linked);
    store.keep("a/two", b"bytes", linked);
    let missing = store.keep("gone", b"no file", linked);
    let good = store.keep("good", b"good", linked);
    store.tamper(&corrupt, |file| file.write_at(b"B", 0).unwrap());
    std::fs::remove_file(store.blob(&missing)).unwrap();
    let (report, heard) = everything(&store, &QUARANTINE);
    assert_eq!((report.ok, report.corrupt, report.missing, report.quarantined), (1, 1, 1, 1));
    assert_eq!(told(&heard, &corrupt).names, ["a/one", "a/two"]);
    let names = store.ledger.layout.names();
    assert!(!store.blob(&corrupt).exists() && !names.join("a").exists());
    // The last good copy of a blob whose file is missing may be the store's own name of it.
    assert_eq!(std::fs::read(names.join("gone")).unwrap(), b"no file");
    assert_eq!(std::fs::read(names.join("good")).unwrap(), b"good");
    let kept: Vec<_> =
        std::fs::read_dir(store.ledger.layout.quarantine()).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(kept.iter().any(|path| std::fs::read(path).unwrap() == b"Bytes"));
    let records = store.ledger.snapshot().unwrap();
    let damaged = records.damaged(&corrupt).unwrap().unwrap();
    assert!(damaged.quarantined && damaged.reason.contains("sha256:"));
    assert!(records.damaged(&missing).unwrap().is_none() && records.damaged(&good).unwrap().is_none());
    // A second time there is nothing left to move.
    let (report, heard) = everything(&store, &QUARANTINE);
    assert_eq!((report.ok, report.missing, report.quarantined), (1, 2, 0));
    assert!(told(&heard, &corrupt).detail.contains("in quarantine"));
}

#[test]
fn a_store_that_can_only_be_read_is_verified_and_left_alone() {
    let world = World::new(1);
    let store = Fixture::simulated(&world);
    let corrupt = store.add("file", b"bytes");
    store.add("good", b"good");
    world.corrupt(store.blob(&corrupt), 1);
    let ledger = store.read_only();
    world.configure(|options| options.read_only = true);
    let before = world.fingerprint();
    let heard = Heard::default();
    let ctx = Context { ledger: &ledger, ..store.context() };
    let report = verify(&ctx, &[], &[], &QUARANTINE, &heard).unwrap();
    assert_eq!((report.ok, report.corrupt, report.quarantined), (1, 1, 0));
    assert!(matches!(&heard.events.lock().unwrap()[0], Event::Notice { .. }));
    assert_eq!(world.fingerprint(), before);
}

#[test]
fn only_what_is_named_is_verified_and_each_blob_once() {
    let store = Fixture::real();
    let a = store.add("models/a", b"a");
    store.add("models/again/a", b"a");
    let b = store.add("models/b", b"b");
    let other = store.add("other", b"other");
    let prefix = |text: &str| Prefix::new(text.as_bytes()).unwrap();
    let run = |targets: &[Target], prefixes: &[Prefix]| {
        let heard = Heard::default();
        let report = verify(&store.context(), targets, prefixes, &LOOK, &heard).unwrap();
        assert_eq!(*heard.expected.lock().unwrap(), *heard.done.lock().unwrap());
        (report.blobs, report.bytes)
    };
    assert_eq!(run(&[], &[prefix("models"), prefix("models/again")]), (2, 2));
    assert_eq!(run(&[name("models/a"), Target::Digest(a), Target::Digest(other)], &[]), (2, 6));
    assert_eq!(run(&[Target::Digest(b)], &[prefix("models/again")]), (2, 2));
    assert_eq!(run(&[name("other")], &[Prefix::Everything]), (3, 7));
    for (targets, prefixes) in [
        (vec![name("none")], vec![]),
        (vec![Target::Digest(Digest::EMPTY)], vec![]),
        (vec![name("other")], vec![prefix("model")]),
    ] {
        let error = verify(&store.context(), &targets, &prefixes, &LOOK, &Heard::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
}

#[test]
fn it_stops_when_asked_to() {
    let world = World::new(1);
    let store = Fixture::simulated(&world);
    for i in 0..20u8 {
        store.add(&format!("{i}"), &[i; 1000]);
    }
    // Which way is fastest is measured, and differs from machine to machine; it is chosen now and stays.
    let together = Choice::fastest().lanes().min(20);
    let heard = Heard::stopping_after(5, u64::MAX);
    let report = verify(&store.context(), &[], &[], &LOOK, &heard).unwrap();
    // Files of one length that go through the lanes together end together.
    assert!(report.interrupted && report.blobs as usize == 5_usize.next_multiple_of(together).min(20), "{report:?}");
}

/// Does something to the store at the first byte that is read.
struct Meanwhile<F: Fn() + Send + Sync> {
    heard: Heard,
    done: AtomicBool,
    what: F,
}

impl<F: Fn() + Send + Sync> Observer for Meanwhile<F> {
    fn event(&self, event: &Event) {
        self.heard.event(event);
    }

    fn progress(&self, _: u64, _: u64) {
        if !self.done.swap(true, Ordering::Relaxed) {
            (self.what)();
        }
    }
}

fn meanwhile(store: &Fixture, what: impl Fn() + Send + Sync) -> (VerifyReport, Heard) {
    let observer = Meanwhile { heard: Heard::default(), done: AtomicBool::new(false), what };
    let report = verify(&store.context(), &[], &[], &QUARANTINE, &observer).unwrap();
    (report, observer.heard)
}

#[test]
fn a_file_that_is_cut_short_under_the_reader_is_a_finding() {
    crate::machine::real::install_guard();
    let store = Fixture::real();
    let digest = store.add("big", &vec![3; 30 << 20]);
    let (report, heard) = meanwhile(&store, || store.tamper(&digest, |file| file.set_len(9 << 20).unwrap()));
    assert_eq!((report.corrupt, report.unreadable), (1, 0));
    assert!(told(&heard, &digest).detail.starts_with("truncated at 9437184 of 31457280 bytes while it was read"));
}

#[test]
fn what_is_collected_meanwhile_is_no_finding() {
    let store = Fixture::real();
    let digest = store.add("file", b"bytes");
    store.tamper(&digest, |file| file.write_at(b"B", 0).unwrap());
    let (report, heard) = meanwhile(&store, || {
        store
            .ledger
            .transact(move |tx| {
                let name = Name::new("file").unwrap();
                let was = crate::format::record::Replaced { digest, hardlinked: false, inode: 0 };
                tx.push(Record::Unalias(crate::format::record::UnaliasRecord {
                    name,
                    was,
                    rule: "rm".into(),
                    when: tx.moment(),
                }));
                let removed = RemovedRecord { digest, size_bytes: 5, rule: "gc".into(), when: tx.moment() };
                tx.push(Record::Removed(removed));
                Ok(())
            })
            .unwrap();
        std::fs::remove_file(store.blob(&digest)).unwrap();
    });
    assert_eq!(report, VerifyReport::default());
    assert!(heard.events.lock().unwrap().is_empty());
}

#[test]
fn what_is_healed_meanwhile_is_read_again() {
    let store = Fixture::real();
    let digest = store.add("file", b"bytes");
    store.tamper(&digest, |file| file.write_at(b"B", 0).unwrap());
    let healed = store.at("healed");
    std::fs::write(&healed, b"bytes").unwrap();
    let (report, _) = meanwhile(&store, || {
        let good = std::fs::metadata(&healed).unwrap();
        std::fs::rename(&healed, store.blob(&digest)).unwrap();
        store
            .ledger
            .transact(move |tx| {
                let row = tx.blob(&digest)?.unwrap();
                let mut stamp = row.stamp;
                stamp.inode = std::os::unix::fs::MetadataExt::ino(&good);
                let (blake3, added) = (row.blake3, row.added);
                tx.push(Record::Blob(crate::format::record::BlobRecord { digest, blake3, stamp, added }));
                Ok(())
            })
            .unwrap();
    });
    assert_eq!((report.ok, report.corrupt, report.quarantined), (1, 0, 0));
}

#[test]
fn a_file_that_is_replaced_between_reading_and_moving_stays() {
    let store = Fixture::real();
    let digest = store.add("file", b"bytes");
    store.tamper(&digest, |file| file.write_at(b"B", 0).unwrap());
    let newer = store.at("newer");
    std::fs::write(&newer, b"bytes").unwrap();
    let (report, heard) = meanwhile(&store, || std::fs::rename(&newer, store.blob(&digest)).unwrap());
    assert_eq!((report.corrupt, report.quarantined), (1, 0));
    assert!(told(&heard, &digest).detail.contains("changed meanwhile"));
    assert_eq!(store.machine.lstat(&store.blob(&digest)).unwrap().kind, FileKind::File);
    assert_eq!(everything(&store, &QUARANTINE).0.ok, 1);
}

#[test]
fn many_blobs_are_verified_in_chunks() {
    let store = Fixture::real();
    let digests: std::collections::BTreeSet<Digest> =
        (0..30u32).map(|i| store.add(&format!("n/{i}"), &i.to_le_bytes())).collect();
    let snapshot = store.ledger.snapshot().unwrap();
    let prefixes = [Prefix::new(b"n").unwrap()];
    for prefixes in [&prefixes[..], &[]] {
        let selection = Selection::new(&snapshot, &[], prefixes).unwrap();
        let all = selection.after(None).unwrap();
        assert_eq!(all.iter().map(|(digest, _)| *digest).collect::<std::collections::BTreeSet<_>>(), digests);
        assert!(all.is_sorted());
        assert_eq!(selection.after(Some(&all[9].0)).unwrap(), all[10..]);
        assert!(selection.after(Some(&all[29].0)).unwrap().is_empty());
    }
}
