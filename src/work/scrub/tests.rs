//! Scrubs on the simulated machine, and politeness on the real one.

use std::time::Duration;

use super::control::ScrubLock;
use super::*;
use crate::format::record::scrub::Wrong;
use crate::ledger::Ledger;
use crate::machine::simulated::{CallKind, World};
use crate::vocabulary::{ErrorKind, Name, Silent};
use crate::work::materialize::{MaterializeOptions, Mode, get};
use crate::work::names::Target;
use crate::work::repair::{RepairOptions, RepairScope, repair};
use crate::work::status::{StatusOptions, StatusReport, status};
use crate::work::testing::{Fixture, Heard};
use crate::work::verify::{VerifyOptions, verify};

const ALL: ScrubOptions = ScrubOptions { sha256: false, max_age: None, max_duration: None, sample: None, rate: None };

fn bytes(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|i| (i as u8).wrapping_mul(31) ^ seed ^ (i >> 8) as u8).collect()
}

/// A store of so many blobs.
fn filled(world: &World, blobs: u8) -> (Fixture, Vec<Digest>) {
    let store = Fixture::simulated(world);
    let digests = (0..blobs).map(|i| store.add(&format!("d/{i}"), &bytes(i, 5000))).collect();
    (store, digests)
}

fn scrubbed(store: &Fixture, options: &ScrubOptions) -> ScrubReport {
    scrub(&store.context(), options, &Silent).unwrap()
}

fn order_of(heard: &Heard) -> Vec<Digest> {
    let events = heard.events.lock().unwrap();
    let digest = |event: &Event| match event {
        Event::Verified { digest, .. } => Some(*digest),
        _ => None,
    };
    events.iter().filter_map(digest).collect()
}

fn found(ledger: &Ledger, digest: &Digest) -> Option<Wrong> {
    ledger.snapshot().unwrap().finding(digest, 0).unwrap().map(|row| row.wrong)
}

#[test]
fn a_scrub_reads_everything_and_what_is_wrong_stays_on_record_until_it_is_mended() {
    let world = World::new(1);
    let (store, digests) = filled(&world, 6);
    world.corrupt(store.blob(&digests[0]), 17);
    world.bad_sector(store.blob(&digests[1]), 100..101);
    store.machine.unlink(&store.blob(&digests[2])).unwrap();
    let report = scrubbed(&store, &ALL);
    assert_eq!((report.end, report.blobs, report.ok), (ScrubEnd::Done, 6, 3));
    assert_eq!((report.corrupt, report.unreadable, report.missing), (1, 1, 1));
    assert_eq!((report.coverage.blobs, report.coverage.never), (3, 3));
    let wrong = [Some(Wrong::Corrupt), Some(Wrong::Unreadable), Some(Wrong::Missing), None];
    for (digest, wrong) in digests.iter().zip(wrong) {
        assert_eq!(found(&store.ledger, digest), wrong);
    }
    // Nobody gets bytes that are known to be wrong; of what could not be read nothing is known.
    let out =
        |name: &str| get(&store.context(), &named(name), &store.at("got"), &MaterializeOptions::default(), &Silent);
    assert_eq!(out("d/0").unwrap_err().kind(), ErrorKind::Damaged);
    // Nothing was moved, and a repair starts from what is on record.
    assert!(world.look(store.blob(&digests[0])).is_some() && world.look(store.blob(&digests[1])).is_some());
    let (good, other) = (store.at("good"), store.at("other"));
    world.put(&good, &bytes(0, 5000));
    world.put(&other, &bytes(2, 5000));
    let options = RepairOptions { from: vec![good, other], dry_run: false };
    let repaired = repair(&store.context(), &RepairScope::Known, &options, &Silent).unwrap();
    assert_eq!((repaired.repaired, repaired.unrepaired), (2, 1));
    assert_eq!(found(&store.ledger, &digests[0]), None);
    assert_eq!(found(&store.ledger, &digests[2]), None);
    assert_eq!(found(&store.ledger, &digests[1]), Some(Wrong::Unreadable));
    assert_eq!(out("d/0").unwrap().bytes, 5000);
}

fn named(name: &str) -> Target {
    Target::Name(Name::new(name).unwrap())
}

#[test]
fn a_verify_or_scrub_that_finds_a_blob_good_again_ends_the_finding() {
    let world = World::new(1);
    let (store, digests) = filled(&world, 2);
    for heal in 0..2 {
        world.corrupt(store.blob(&digests[0]), 9);
        let report = verify(&store.context(), &[], &[], &VerifyOptions::default(), &Silent).unwrap();
        assert_eq!((report.corrupt, report.quarantined), (1, 0));
        assert_eq!(found(&store.ledger, &digests[0]), Some(Wrong::Corrupt));
        assert!(store.ledger.snapshot().unwrap().damaged(&digests[0]).unwrap().is_some());
        // The same flip again brings the bytes back.
        world.corrupt(store.blob(&digests[0]), 9);
        if heal == 0 {
            verify(&store.context(), &[], &[], &VerifyOptions::default(), &Silent).unwrap();
        } else {
            scrubbed(&store, &ALL);
        }
        assert_eq!(found(&store.ledger, &digests[0]), None);
        assert!(store.ledger.snapshot().unwrap().damaged(&digests[0]).unwrap().is_none());
    }
}

/// Names that are links to the bad file stay so: that another one stands in the blob's place mends nothing.
#[test]
fn good_bytes_in_another_file_do_not_end_a_finding() {
    let world = World::new(1);
    let (store, digests) = filled(&world, 2);
    world.corrupt(store.blob(&digests[0]), 9);
    verify(&store.context(), &[], &[], &VerifyOptions::default(), &Silent).unwrap();
    let other = store.at("other");
    world.put(&other, &bytes(0, 5000));
    store.machine.rename(&other, &store.blob(&digests[0])).unwrap();
    for sha256 in [true, false] {
        let report = scrubbed(&store, &ScrubOptions { sha256, ..ALL });
        assert_eq!((report.end, report.corrupt), (ScrubEnd::Done, 0), "its bytes are right");
        assert_eq!(found(&store.ledger, &digests[0]), Some(Wrong::Corrupt), "and a repair is due all the same");
    }
}

/// By one thread or several, by BLAKE3 or SHA-256: blobs are read one by one, together, or by parts.
#[test]
fn however_it_is_read_it_finds_the_same() {
    const BIG: usize = (16 << 20) + 77;
    let mut all: Vec<Vec<(Digest, VerifyStatus, Damage)>> = Vec::new();
    for (jobs, sha256) in [(1, false), (3, false), (1, true), (3, true)] {
        let world = World::new(1);
        let (mut store, mut digests) = filled(&world, 5);
        store.workers = crate::hashing::Workers::new(jobs).unwrap();
        digests.extend((5..8).map(|i| store.add(&format!("big/{i}"), &bytes(i, BIG))));
        // Who reads a blob makes its tree, without which nobody knows where it is wrong.
        scrubbed(&store, &ALL);
        world.corrupt(store.blob(&digests[0]), 17);
        world.bad_sector(store.blob(&digests[1]), 100..101);
        store.machine.unlink(&store.blob(&digests[2])).unwrap();
        world.corrupt(store.blob(&digests[5]), 9 << 20);
        let tree = store.ledger.trees.path(&digests[6]);
        store.machine.unlink(&tree).unwrap();
        let heard = Heard::default();
        let report = scrub(&store.context(), &ScrubOptions { sha256, ..ALL }, &heard).unwrap();
        assert_eq!((report.end, report.blobs, report.ok), (ScrubEnd::Done, 8, 4), "{jobs} threads, {sha256}");
        assert_eq!((report.corrupt, report.unreadable, report.missing), (2, 1, 1));
        assert!(world.look(&tree).is_some(), "who reads a blob makes its tree");
        let mut found: Vec<_> = heard.events.lock().unwrap().iter().filter_map(seen).collect();
        found.sort_by_key(|(digest, ..)| *digest);
        let damage = found.iter().find(|(digest, ..)| *digest == digests[5]).map(|(_, _, damage)| damage.wrong.all());
        assert_eq!(damage, Some(&[9 << 20..10 << 20][..]));
        all.push(found);
    }
    assert!(all.iter().all(|found| *found == all[0]), "{all:?}");
}

fn seen(event: &Event) -> Option<(Digest, VerifyStatus, Damage)> {
    match event {
        Event::Verified { digest, status, damage, .. } => Some((*digest, *status, damage.clone())),
        _ => None,
    }
}

#[test]
fn a_stopped_pass_goes_on_where_it_was_and_reads_nothing_twice() {
    let world = World::new(1);
    let (store, digests) = filled(&world, 20);
    world.corrupt(store.blob(&digests[3]), 17);
    let heard = Heard::stopping_after(7, u64::MAX);
    let first = scrub(&store.context(), &ALL, &heard).unwrap();
    assert_eq!((first.end, first.blobs, first.left_blobs), (ScrubEnd::Interrupted, 7, 13));
    let heard = Heard::default();
    let second = scrub(&store.context(), &ALL, &heard).unwrap();
    assert_eq!((second.end, second.blobs, second.resumed, second.left_blobs), (ScrubEnd::Done, 13, true, 0));
    // Whichever of the two came to it, the second one tells it.
    assert_eq!(second.corrupt, 1);
    let third = scrubbed(&store, &ALL);
    assert_eq!((third.resumed, third.blobs, third.pass), (false, 20, Some(2)));
}

#[test]
fn what_was_read_longest_ago_and_is_worth_most_comes_first() {
    let world = World::new(1);
    let (store, digests) = filled(&world, 6);
    let day = Duration::from_secs(24 * 3600);
    // 0 and 1 are read on one day, 2 and 3 days later, 4 and 5 never; 1 is pinned, and 5.
    let verify_some = |which: &[usize]| {
        let targets: Vec<_> = which.iter().map(|i| Target::Digest(digests[*i])).collect();
        verify(&store.context(), &targets, &[], &VerifyOptions::default(), &Silent).unwrap();
    };
    verify_some(&[0, 1]);
    world.advance(3 * day);
    verify_some(&[2, 3]);
    world.advance(3 * day);
    for i in [1, 5] {
        crate::work::names::pin(&store.context(), &Target::Digest(digests[i]), "").unwrap();
    }
    let heard = Heard::default();
    let all = scrub(&store.context(), &ALL, &heard).unwrap();
    assert_eq!(all.blobs, 6);
    let order = order_of(&heard);
    assert_eq!(order[..4], [digests[5], digests[4], digests[1], digests[0]]);
    world.advance(day);
    // Those that were read within the time are left out; what was seen changed is not, and comes first.
    verify_some(&[2]);
    world.advance(day);
    let old = ScrubOptions { max_age: Some(day + day / 2), ..ALL };
    let heard = Heard::default();
    let report = scrub(&store.context(), &old, &heard).unwrap();
    assert_eq!((report.blobs, report.coverage.blobs, report.coverage.never), (5, 6, 0));
    let again = scrubbed(&store, &old);
    assert_eq!((again.blobs, again.left_blobs), (0, 0));
    store.tamper(&digests[4], |file| file.set_mtime(5).unwrap());
    assert_eq!(status(&store.context(), &StatusOptions::default(), &Silent).unwrap().queued, 1);
    let heard = Heard::default();
    scrub(&store.context(), &old, &heard).unwrap();
    assert_eq!(order_of(&heard), [digests[4]]);
    // Its bytes are right: what it looks like now is on record, and the alarm is over.
    assert_eq!(status(&store.context(), &StatusOptions::default(), &Silent).unwrap().findings(), 0);
}

#[test]
fn a_sample_is_another_part_each_time_and_goes_on_as_the_same() {
    let world = World::new(1);
    let (store, _) = filled(&world, 60);
    let ten = ScrubOptions { sample: Some(Sample::Blobs(10)), ..ALL };
    let heard = Heard::stopping_after(4, u64::MAX);
    assert_eq!(scrub(&store.context(), &ten, &heard).unwrap().blobs, 4);
    let rest = scrubbed(&store, &ten);
    assert_eq!((rest.blobs, rest.resumed, rest.end), (6, true, ScrubEnd::Done));
    let heard = Heard::default();
    let other = scrub(&store.context(), &ten, &heard).unwrap();
    assert_eq!(other.blobs, 10);
    let share = ScrubOptions { sample: Some(Sample::Share(0.25)), ..ALL };
    let some = scrubbed(&store, &share).blobs;
    assert!((5..=30).contains(&some), "{some}");
    assert_eq!(scrubbed(&store, &ScrubOptions { sample: Some(Sample::Share(0.0)), ..ALL }).blobs, 0);
    assert_eq!(scrubbed(&store, &ScrubOptions { sample: Some(Sample::Share(1.0)), ..ALL }).blobs, 60);
}

#[test]
fn the_rate_and_the_time_are_kept() {
    let world = World::new(1);
    let (store, _) = filled(&world, 20);
    let begun = store.machine.monotonic_ns();
    let slow = ScrubOptions { rate: Some(10_000), ..ALL };
    let report = scrubbed(&store, &slow);
    let took = Duration::from_nanos(store.machine.monotonic_ns() - begun);
    assert_eq!((report.end, report.bytes), (ScrubEnd::Done, 100_000));
    assert!(took >= Duration::from_millis(9_400) && took < Duration::from_secs(15), "{took:?}");
    // The time is over in the middle; what is left is told, and the next one goes on.
    let brief = ScrubOptions { max_duration: Some(Duration::from_secs(4)), ..slow };
    let report = scrubbed(&store, &brief);
    assert_eq!(report.end, ScrubEnd::TimeOver);
    assert!((7..=10).contains(&report.blobs), "{report:?}");
    assert_eq!(report.blobs + report.left_blobs, 20);
    // However short the time is, something is done.
    let report = scrubbed(&store, &ScrubOptions { max_duration: Some(Duration::ZERO), ..slow });
    assert_eq!((report.end, report.blobs), (ScrubEnd::TimeOver, 1));
}

#[test]
fn a_scrub_waits_while_others_wait_for_the_disk() {
    let run = |stalled: Option<u64>| {
        let world = World::new(1);
        let (store, _) = filled(&world, 30);
        world.configure(|options| options.stalled_per_mille = stalled);
        let begun = store.machine.monotonic_ns();
        // Slow, so that there is time to look.
        let report =
            scrubbed(&store, &ScrubOptions { rate: Some(10_000), max_duration: Some(Duration::from_secs(60)), ..ALL });
        (report.end, report.blobs, Duration::from_nanos(store.machine.monotonic_ns() - begun))
    };
    let calm = run(None);
    assert_eq!((calm.0, calm.1), (ScrubEnd::Done, 30));
    let little = run(Some(20));
    assert_eq!((little.0, little.1), (calm.0, calm.1), "a little waiting is no pressure");
    // Half of the time somebody waits, even while the scrub rests: it does not go on until its time is over.
    let (end, blobs, took) = run(Some(500));
    assert_eq!(end, ScrubEnd::TimeOver);
    assert!(blobs < 20 && took >= Duration::from_secs(60), "{blobs} {took:?}");
}

#[test]
fn pausing_resuming_and_stopping_are_on_record() {
    let world = World::new(1);
    let (store, _) = filled(&world, 8);
    let ctx = store.context();
    want(&ctx, Wanting::Pause).unwrap();
    let report = scrubbed(&store, &ALL);
    assert_eq!((report.end, report.blobs), (ScrubEnd::Paused, 0));
    let now = scrub_status(&ctx, None).unwrap();
    assert_eq!((now.paused, now.running, now.pass), (true, false, None));
    want(&ctx, Wanting::Resume).unwrap();
    assert_eq!(scrub(&ctx, &ALL, &Heard::stopping_after(3, u64::MAX)).unwrap().blobs, 3);
    let now = scrub_status(&ctx, None).unwrap();
    assert_eq!((now.left_blobs, now.pass.map(|pass| (pass.number, pass.blobs))), (5, Some((1, 3))));
    // Stopped, it begins anew.
    want(&ctx, Wanting::Stop).unwrap();
    assert_eq!(scrub_status(&ctx, None).unwrap().pass.map(|pass| pass.state), Some(PassState::Stopped));
    let report = scrubbed(&store, &ALL);
    assert_eq!((report.blobs, report.resumed, report.pass), (8, false, Some(2)));
}

#[test]
fn one_scrub_runs_at_a_time_and_others_are_told() {
    let world = World::new(1);
    let (store, _) = filled(&world, 2);
    let lock = ScrubLock::take(&store.ledger).unwrap();
    assert!(scrub_status(&store.context(), None).unwrap().running);
    assert_eq!(scrub(&store.context(), &ALL, &Silent).unwrap_err().kind(), ErrorKind::Busy);
    drop(lock);
    assert_eq!(scrubbed(&store, &ALL).blobs, 2);
}

#[test]
fn a_store_that_can_only_be_read_is_scrubbed_and_nothing_is_recorded() {
    let world = World::new(1);
    let (store, digests) = filled(&world, 3);
    world.corrupt(store.blob(&digests[1]), 3);
    let only = store.read_only();
    let ctx = Context { ledger: &only, ..store.context() };
    let before = world.fingerprint();
    let report = scrub(&ctx, &ALL, &Silent).unwrap();
    assert_eq!((report.end, report.blobs, report.corrupt, report.pass), (ScrubEnd::Done, 3, 1, None));
    assert_eq!(verify(&ctx, &[], &[], &VerifyOptions::default(), &Silent).unwrap().corrupt, 1);
    assert_eq!(status(&ctx, &StatusOptions::default(), &Silent).unwrap().blobs, 3);
    assert_eq!(world.fingerprint(), before);
}

#[test]
fn a_wrong_blake3_on_record_is_no_damage_since_the_name_decides() {
    let world = World::new(1);
    let (store, digests) = filled(&world, 1);
    let digest = digests[0];
    store
        .ledger
        .transact(move |tx| {
            let row = tx.blob(&digest)?.unwrap();
            let blake3 = crate::vocabulary::Blake3::from_bytes([9; 32]);
            tx.push(Record::Blob(crate::format::record::BlobRecord {
                digest,
                blake3,
                stamp: row.stamp,
                added: row.added,
            }));
            Ok(())
        })
        .unwrap();
    let report = scrubbed(&store, &ALL);
    assert_eq!((report.ok, report.findings()), (1, 0));
}

#[test]
fn by_sha256_what_another_digest_has_shown_does_not_count() {
    let world = World::new(1);
    let (store, digests) = filled(&world, 3);
    let age = Some(Duration::from_secs(3600));
    assert_eq!(scrubbed(&store, &ALL).ok, 3);
    assert_eq!(scrubbed(&store, &ScrubOptions { max_age: age, ..ALL }).blobs, 0);
    let by_name = ScrubOptions { sha256: true, max_age: age, ..ALL };
    assert_eq!(scrubbed(&store, &by_name).blobs, 3);
    assert_eq!(scrubbed(&store, &by_name).blobs, 0);
    let row = store.ledger.snapshot().unwrap().verified(&digests[0]).unwrap().unwrap();
    assert_eq!(row.sha256_ns, row.time_ns);
}

#[test]
fn a_copying_get_counts_as_a_verification_without_a_sync() {
    let world = World::new(1);
    let (store, digests) = filled(&world, 2);
    let syncs = || world.log().calls().iter().filter(|call| call.kind.syncs()).count();
    let before = syncs();
    let options = MaterializeOptions { mode: Some(Mode::Copy), ..MaterializeOptions::default() };
    get(&store.context(), &named("d/0"), &store.at("out"), &options, &Silent).unwrap();
    assert_eq!(syncs(), before);
    // It counts at once, and is on record with the next frame.
    let coverage = coverage(&store.context(), &store.ledger.snapshot().unwrap(), None).unwrap();
    assert_eq!((coverage.blobs, coverage.never), (1, 1));
    assert!(store.ledger.snapshot().unwrap().verified(&digests[0]).unwrap().is_none());
    store.add("more", b"more");
    let row = store.ledger.snapshot().unwrap().verified(&digests[0]).unwrap().unwrap();
    assert_eq!(row.sha256_ns, row.time_ns);
    assert!(store.ledger.snapshot().unwrap().verified(&digests[1]).unwrap().is_none());
    assert!(store.ledger.pending_readings().is_empty());
}

/// What a status says.
fn looked(store: &Fixture) -> (StatusReport, Heard) {
    let heard = Heard::default();
    let report = status(&store.context(), &StatusOptions { hints: true }, &heard).unwrap();
    (report, heard)
}

#[test]
fn a_status_finds_each_kind_of_tampering_and_reads_nothing() {
    let world = World::new(1);
    let (store, digests) = filled(&world, 30);
    scrubbed(&store, &ALL);
    world.advance(Duration::from_secs(1));
    let (clean, _) = looked(&store);
    assert_eq!((clean.findings(), clean.hints, clean.blobs), (0, 0, 30));
    let path = |i: usize| store.blob(&digests[i]);
    store.tamper(&digests[0], |file| file.set_len(100).unwrap());
    store.tamper(&digests[1], |file| file.write_at(b"X", 3).unwrap());
    let mtime = store.machine.lstat(&path(2)).unwrap().mtime_ns;
    store.tamper(&digests[2], |file| {
        file.write_at(b"X", 3).unwrap();
        file.set_mtime(mtime).unwrap();
    });
    store.machine.open(&path(3), crate::machine::Open::Read).unwrap().set_mode(0o644).unwrap();
    store.machine.unlink(&path(4)).unwrap();
    let (copy, stamp) = (bytes(5, 5000), store.machine.lstat(&path(5)).unwrap());
    world.configure(|options| options.reuse_inodes = false);
    store.machine.unlink(&path(5)).unwrap();
    world.put(path(5), &copy);
    let file = store.machine.open(&path(5), crate::machine::Open::Read).unwrap();
    file.set_mode(0o444).unwrap();
    file.set_mtime(stamp.mtime_ns).unwrap();
    world.configure(|options| options.log_reads = true);
    let reads = |world: &World| {
        let log = world.log();
        let of_blobs = |call: &&crate::machine::simulated::Call| call.path.starts_with("/store/sha256");
        log.calls().iter().filter(of_blobs).filter(|call| call.kind == CallKind::Read).count()
    };
    let before = reads(&world);
    let (report, heard) = looked(&store);
    assert_eq!(reads(&world), before, "nothing is read");
    assert_eq!((report.blobs, report.changed), (30, 5), "{report:?}");
    assert_eq!((report.size, report.mode, report.missing, report.inode), (1, 1, 1, 1), "{report:?}");
    assert_eq!((report.mtime, report.unreadable, report.copied), (2, 0, false), "{report:?}");
    // The one whose times were put back shows by its ctime alone: a hint.
    assert_eq!((report.hints, report.queued), (1, 6));
    let hinted =
        heard.events.lock().unwrap().iter().any(|e| matches!(e, Event::Hint { digest, .. } if *digest == digests[2]));
    assert!(hinted);
    // Seen again, they are not queued again; the scrub takes them first, the hint behind what was never read.
    assert_eq!(looked(&store).0.queued, 0);
    let heard = Heard::default();
    let age = ScrubOptions { max_age: Some(Duration::from_secs(3600)), ..ALL };
    let report = scrub(&store.context(), &age, &heard).unwrap();
    assert_eq!((report.blobs, report.corrupt, report.missing), (6, 3, 1));
    assert_eq!(order_of(&heard).last(), Some(&digests[2]));
}

#[test]
fn a_copied_store_is_one_line() {
    let world = World::new(1);
    let (store, digests) = filled(&world, 40);
    world.configure(|options| options.reuse_inodes = false);
    for (i, digest) in digests.iter().enumerate() {
        let path = store.blob(digest);
        let before = store.machine.lstat(&path).unwrap();
        let aside = store.at("aside");
        world.put(&aside, &bytes(i as u8, 5000));
        let file = store.machine.open(&aside, crate::machine::Open::Read).unwrap();
        file.set_mode(0o444).unwrap();
        file.set_mtime(before.mtime_ns).unwrap();
        store.machine.rename(&aside, &path).unwrap();
        if i + 2 == digests.len() {
            // All but one are others: each is told.
            let (report, heard) = looked(&store);
            assert_eq!((report.copied, report.inode, report.findings()), (false, 39, 39));
            assert_eq!(heard.events.lock().unwrap().iter().filter(|e| matches!(e, Event::Found(_))).count(), 39);
        }
    }
    let (report, heard) = looked(&store);
    assert_eq!((report.copied, report.inode, report.findings(), report.queued), (true, 40, 1, 0));
    assert!(!heard.events.lock().unwrap().iter().any(|event| matches!(event, Event::Found(_))));
}

#[test]
fn what_was_not_in_the_page_cache_is_not_there_afterwards_and_what_was_stays() {
    let store = Fixture::real();
    let big = bytes(7, 9 << 20);
    let (cold, hot) = (store.add("cold", &big), store.add("hot", &bytes(8, 9 << 20)));
    let open = |digest: &Digest| store.machine.open(&store.blob(digest), crate::machine::Open::Read).unwrap();
    open(&cold).sync().unwrap();
    let share = |digest: &Digest| {
        let pieces = open(digest).resident(256 << 10).unwrap_or_default();
        (pieces.iter().filter(|there| **there).count(), pieces.len())
    };
    // Filesystems in memory keep everything; there is nothing to spare then.
    if !open(&cold).drop_cache() || share(&cold).1 == 0 {
        return;
    }
    store.read(&store.blob(&hot));
    let (before, pieces) = share(&hot);
    assert_eq!(scrubbed(&store, &ALL).ok, 2);
    assert!(share(&cold).0 <= 2, "{:?} are left", share(&cold));
    // Somebody else may take pages away at any time, but not nearly all of them.
    assert!(before < pieces / 2 || share(&hot).0 > pieces / 2, "{:?} of {before} are left", share(&hot));
}

/// Hears in what class of the disk's scheduler each thread reads.
struct Classes<'a> {
    machine: &'a dyn crate::machine::Machine,
    heard: Mutex<Vec<Option<u32>>>,
}

impl Observer for Classes<'_> {
    fn progress(&self, _: u64, _: u64) {
        // What it is put into is what it should be in, so this changes nothing.
        self.heard.lock().unwrap().push(self.machine.idle_io());
    }
}

#[test]
fn who_reads_is_in_the_idle_class_and_everybody_is_back_in_its_own_afterwards() {
    let mut store = Fixture::real();
    store.add("big", &bytes(1, 17 << 20));
    (2..9).for_each(|i| _ = store.add(&format!("small/{i}"), &bytes(i, 70_000)));
    let machine = std::sync::Arc::clone(&store.machine);
    let own = || {
        let own = machine.idle_io();
        own.into_iter().for_each(|own| machine.restore_io(own));
        own
    };
    let Some(before) = own() else { return };
    for (jobs, sha256) in [(1, false), (3, false), (3, true)] {
        store.workers = crate::hashing::Workers::new(jobs).unwrap();
        let classes = Classes { machine: machine.as_ref(), heard: Mutex::default() };
        scrub(&store.context(), &ScrubOptions { sha256, ..ALL }, &classes).unwrap();
        let heard = classes.heard.into_inner().unwrap();
        // The class is in the bits from 13 on (`linux/ioprio.h`); 3 is the idle one.
        assert!(heard.len() >= 8 && heard.iter().all(|class| class.is_some_and(|class| class >> 13 == 3)), "{heard:?}");
        store.workers.each(|| assert_eq!(own(), Some(before)));
        assert_eq!(own(), Some(before));
    }
}
