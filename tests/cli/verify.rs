//! `larder verify` from outside: what is wrong is found, named and mended.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::outside::{self, Place, digest, noise};

fn place() -> Place {
    let place = Place::new();
    for i in 0..20 {
        place.file(format!("d/{i:02}"), noise(i, 10_000));
    }
    place.json(&["add", "d"]).exits(0);
    place.json(&["link", "d/03", "also/three"]).exits(0);
    place
}

/// Changes bytes of a blob's file; its times stay as they were.
fn spoil(path: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let before = fs::metadata(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut bytes = fs::read(path).unwrap();
    how(&mut bytes);
    fs::write(path, bytes).unwrap();
    fs::File::open(path).unwrap().set_modified(before.modified().unwrap()).unwrap();
    fs::set_permissions(path, before.permissions()).unwrap();
}

#[test]
fn everything_that_is_wrong_is_found_and_the_rest_is_verified() {
    let place = place();
    let id = |i: u64| digest(&noise(i, 10_000));
    spoil(&place.blob(&id(3)), |bytes| bytes[5000] ^= 1);
    spoil(&place.blob(&id(4)), |bytes| bytes.truncate(9999));
    spoil(&place.blob(&id(5)), |bytes| bytes.push(0));
    spoil(&place.blob(&id(6)), Vec::clear);
    fs::remove_file(place.blob(&id(7))).unwrap();
    fs::remove_file(place.blob(&id(8))).unwrap();
    fs::create_dir(place.blob(&id(8))).unwrap();
    fs::remove_file(place.blob(&id(9))).unwrap();
    nix::unistd::mkfifo(&place.blob(&id(9)), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let away = place.file("away", noise(10, 10_000));
    fs::remove_file(place.blob(&id(10))).unwrap();
    std::os::unix::fs::symlink(away, place.blob(&id(10))).unwrap();

    let ran = place.json(&["verify"]).exits(3);
    let verified = ran.events("verified");
    assert_eq!(verified.len(), 20);
    let of = |i: u64| verified.iter().find(|line| line["digest"] == id(i)).unwrap();
    for i in [3, 4, 5, 6] {
        assert_eq!(of(i)["status"], "corrupt", "{i}");
        assert!(of(i)["detail"].as_str().unwrap().len() > 10);
    }
    assert_eq!(of(3)["names"], serde_json::json!(["also/three", "d/03"]));
    assert_eq!(of(7)["status"], "missing");
    for i in [8, 9, 10] {
        assert_ne!(of(i)["status"], "ok", "{i}");
    }
    assert_eq!(verified.iter().filter(|line| line["status"] == "ok").count(), 12);
    let summary = ran.event("summary");
    assert_eq!((&summary["blobs"], &summary["ok"]), (&20.into(), &12.into()));
    let words = place.larder(&["verify"]).exits(3);
    for i in [3, 4, 5, 6, 7] {
        assert!(words.text().contains(&id(i)), "{}", words.text());
        assert!(words.text().contains(&format!("d/{i:02}")), "{}", words.text());
    }
    assert!(words.text().contains("also/three"));
    // Only what is named, or below it.
    place.json(&["verify", "d/00", "d/01"]).exits(0);
    place.json(&["verify", "also"]).exits(3);
    place.json(&["verify", &id(3)]).exits(3);
    assert_eq!(place.json(&["verify", "d/00", "d/00", &id(0)]).exits(0).events("verified").len(), 1);
    // Nothing was moved: nobody asked.
    assert!(place.blob(&id(3)).exists());
}

#[test]
fn quarantine_is_for_corrupt_blobs_and_a_good_copy_heals() {
    let place = place();
    let id = |i: u64| digest(&noise(i, 10_000));
    spoil(&place.blob(&id(3)), |bytes| bytes[0] ^= 1);
    fs::remove_file(place.blob(&id(7))).unwrap();
    let ran = place.json(&["verify", "--quarantine"]).exits(3);
    assert_eq!(ran.event("summary")["quarantined"], 1);
    assert!(!place.blob(&id(3)).exists());
    assert!(
        outside::files(&place.store().join("quarantine"))
            .iter()
            .any(|path| { fs::metadata(path).unwrap().len() == 10_000 })
    );
    for name in ["d/03", "also/three"] {
        assert_ne!(
            fs::read(place.store().join("names").join(name)).ok().map(|bytes| digest(&bytes)),
            Some(id(0)),
            "{name}"
        );
        place.json(&["cat", name]).exits(3);
    }
    // The names are kept, and the good bytes come back with the next good copy.
    assert_eq!(place.names()["also/three"], id(3));
    for i in [3, 7] {
        let ran = place.json(&["add", &format!("d/{i:02}"), "--prefix", "d"]).exits(0);
        assert_eq!(ran.event("added")["status"], "healed", "{i}");
        assert_eq!(place.cat(&format!("d/{i:02}")), noise(i, 10_000));
    }
    place.json(&["verify"]).exits(0);
    let inode = |path: std::path::PathBuf| fs::metadata(path).unwrap().ino();
    for name in ["names/d/03", "names/also/three"] {
        assert_eq!(inode(place.store().join(name)), inode(place.blob(&id(3))), "{name} is a name of the good file");
    }
    place.sound();
}

#[test]
fn a_good_copy_heals_what_was_never_noticed() {
    let place = place();
    let id = digest(&noise(3, 10_000));
    spoil(&place.blob(&id), |bytes| bytes[1] ^= 1);
    // Size and stamp agree, so it is a hit unless the bytes are asked for.
    let ran = place.json(&["add", "d/03", "--name", "again", "--verify-existing"]).exits(0);
    assert_eq!(ran.event("added")["status"], "healed");
    place.json(&["verify"]).exits(0);
    // A stamp that disagrees is settled by hashing.
    fs::set_permissions(place.blob(&id), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(place.blob(&id), noise(99, 10_000)).unwrap();
    assert_eq!(place.json(&["add", "d/03", "--name", "more"]).exits(0).event("added")["status"], "healed");
    place.json(&["verify"]).exits(0);
    // Touched, and good: a hit.
    fs::File::open(place.blob(&id)).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(place.json(&["add", "d/03", "--name", "touched"]).exits(0).event("added")["status"], "dedup");
    place.json(&["verify"]).exits(0);
    place.sound();
}

#[test]
fn unreadable_is_not_corrupt_and_is_never_moved() {
    let place = place();
    if !outside::root() {
        fs::set_permissions(place.blob(&digest(&noise(3, 10_000))), fs::Permissions::from_mode(0o000)).unwrap();
    } else {
        // Somebody who may read the store, and not this blob.
        fs::set_permissions(place.blob(&digest(&noise(3, 10_000))), fs::Permissions::from_mode(0o400)).unwrap();
    }
    for words in [&["--json", "verify"][..], &["--json", "verify", "--quarantine"]] {
        let ran = place.as_nobody(words);
        if ran.code == 1 {
            continue; // what cannot be written to has no quarantine
        }
        let ran = ran.exits(3);
        let bad: Vec<_> = ran.events("verified").into_iter().filter(|line| line["status"] != "ok").collect();
        assert_eq!(bad.len(), 1);
        assert_eq!(bad[0]["status"], "unreadable");
        assert_eq!(bad[0]["names"].as_array().unwrap().len(), 2);
    }
    assert!(place.blob(&digest(&noise(3, 10_000))).exists());
}

#[test]
fn it_stops_when_asked_and_says_so() {
    let place = Place::with_store();
    let file = fs::File::create(place.path("large")).unwrap();
    file.set_len(1 << 40).unwrap();
    // A terabyte of zeros cannot be hashed in a test; a smaller one is made larger behind the store's back.
    file.set_len(1 << 20).unwrap();
    place.json(&["add", "large"]).exits(0);
    let blob = outside::files(&place.store().join("sha256")).pop().unwrap();
    fs::set_permissions(&blob, fs::Permissions::from_mode(0o644)).unwrap();
    fs::OpenOptions::new().write(true).open(&blob).unwrap().set_len(1 << 40).unwrap();
    let running = outside::Running::start(place.command(&["--json", "verify"]));
    running.signal(libc::SIGTERM);
    let (ran, rest) = running.end();
    // The signal may come before there is anybody to listen.
    assert!([1, -1, 3].contains(&ran.code), "{}", ran.code);
    if let Some(summary) = rest.last().filter(|_| ran.code == 1) {
        assert_eq!(summary["interrupted"], true);
    }
}
