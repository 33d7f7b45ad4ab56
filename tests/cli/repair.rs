//! `larder repair` from outside: good bytes come back from wherever they are, bad ones are kept, and nothing is believed.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::outside::{self, Place, digest, noise};

const SIZE: usize = 10_000;

fn place() -> Place {
    let place = Place::new();
    for i in 0..6 {
        place.file(format!("d/{i:02}"), noise(i, SIZE));
    }
    place.json(&["add", "d"]).exits(0);
    place.json(&["link", "d/03", "also/three"]).exits(0);
    place
}

fn id(i: u64) -> String {
    digest(&noise(i, SIZE))
}

/// Changes a byte of a file; its times stay as they were.
fn spoil(path: &Path) {
    let before = fs::metadata(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut bytes = fs::read(path).unwrap();
    bytes[5000] ^= 1;
    fs::write(path, bytes).unwrap();
    fs::File::open(path).unwrap().set_modified(before.modified().unwrap()).unwrap();
    fs::set_permissions(path, before.permissions()).unwrap();
}

fn inode(path: PathBuf) -> u64 {
    fs::metadata(path).unwrap().ino()
}

/// The files in quarantine that hold bytes, without their reasons.
fn evidence(place: &Place) -> Vec<PathBuf> {
    let files = outside::files(&place.store().join("quarantine"));
    files.into_iter().filter(|path| path.extension() != Some("reason".as_ref())).collect()
}

fn is_whole(place: &Place, i: u64) {
    assert_eq!(place.cat(&format!("d/{i:02}")), noise(i, SIZE));
    assert_eq!(inode(place.store().join(format!("names/d/{i:02}"))), inode(place.blob(&id(i))), "{i} is no link");
    place.json(&["verify", &id(i)]).exits(0);
}

/// The file as what something was added from.
fn from(path: &Path) -> serde_json::Value {
    let path = path.canonicalize().unwrap();
    serde_json::json!([{"path": path, "uri": format!("file://{}", path.display())}])
}

#[test]
fn what_a_blob_was_added_from_is_remembered_and_heals_it() {
    let place = place();
    let shown = place.json(&["show", "d/03"]).exits(0).event("blob");
    assert_eq!(shown["sources"], from(&place.path("d/03")));
    spoil(&place.blob(&id(3)));
    fs::remove_file(place.blob(&id(4))).unwrap();
    fs::remove_file(place.store().join("names/d/04")).unwrap();
    // The one is found by looking at what is named, the other one is missed without reading anything.
    let would = place.json(&["repair", &id(3), "d/04", "--dry-run"]).exits(0);
    assert_eq!(would.events("repair").iter().filter(|line| line["status"] == "would_repair").count(), 2);
    assert!(!place.blob(&id(4)).exists(), "a dry run changes nothing");
    let ran = place.json(&["repair", &id(3)]).exits(0);
    let told = ran.event("repair");
    assert_eq!((&told["status"], &told["origin"]), (&"repaired".into(), &"source".into()));
    assert_eq!(told["names"], serde_json::json!(["also/three", "d/03"]));
    let ran = place.json(&["repair"]).exits(0);
    assert_eq!(ran.event("repair")["digest"], id(4));
    assert_eq!(ran.event("summary")["repaired"], 1);
    is_whole(&place, 3);
    is_whole(&place, 4);
    assert_eq!(inode(place.store().join("names/also/three")), inode(place.blob(&id(3))));
    assert_eq!(evidence(&place).len(), 1, "of the missing one there is none");
    place.json(&["repair"]).exits(0);
    place.sound();
}

#[test]
fn all_reads_everything_and_finds_what_no_stamp_shows() {
    let place = place();
    spoil(&place.blob(&id(2)));
    assert_eq!(place.json(&["repair"]).exits(0).events("repair"), Vec::<serde_json::Value>::new());
    let ran = place.json(&["repair", "--all"]).exits(0);
    assert_eq!(ran.event("repair")["digest"], id(2));
    assert_eq!((&ran.event("summary")["sound"], &ran.event("summary")["repaired"]), (&5.into(), &1.into()));
    is_whole(&place, 2);
    let words = place.larder(&["repair", "--all"]).exits(0);
    assert!(words.text().contains("6 blobs read and good"), "{}", words.text());
}

#[test]
fn a_source_that_has_changed_is_of_no_use_and_what_is_offered_is() {
    let place = place();
    for i in 0..6 {
        // Of the same size, and with the same time: only its bytes tell.
        let source = place.path(format!("d/{i:02}"));
        spoil(&source);
        spoil(&place.blob(&id(i)));
    }
    let ran = place.json(&["repair", &id(0)]).exits(3);
    let told = ran.event("repair");
    assert_eq!(told["status"], "unrepaired");
    assert!(told["tried"][0]["reason"].as_str().unwrap().starts_with("its bytes are sha256:"), "{told}");
    assert!(told["help"].as_str().unwrap().contains("--from"));
    // Nobody gets what is known to be wrong.
    for words in [&["get", "d/00", "out"][..], &["cat", "d/00"], &["checkout", "d/00", "tree"], &["cat", &id(0)]] {
        place.json(words).exits(3);
    }
    assert!(!place.path("out").exists());
    assert!(!place.store().join("names/d/00").exists());
    assert_eq!(place.names()["d/00"], id(0), "the name is kept");

    // A file, a directory among others of that size, another store.
    let file = place.file("good", noise(0, SIZE));
    let ran = place.json(&["repair", "d/00", "--from", file.to_str().unwrap()]).exits(0);
    assert_eq!(
        (&ran.event("repair")["origin"], &ran.event("repair")["status"]),
        (&"offered".into(), &"repaired".into())
    );
    is_whole(&place, 0);
    for i in [1, 2, 40, 41] {
        place.file(format!("backup/deep/{i}"), noise(i, SIZE));
    }
    let ran = place.json(&["repair", &id(1), &id(2), "--from", "backup"]).exits(0);
    assert_eq!(ran.event("summary")["repaired"], 2);
    is_whole(&place, 1);
    is_whole(&place, 2);
    place.file("more/3", noise(3, SIZE));
    place.file("more/4", noise(4, SIZE));
    place.json(&["--store", "other", "add", "more"]).exits(0);
    let ran = place.json(&["repair", "--all", "--from", "other"]).exits(3);
    assert_eq!((&ran.event("summary")["repaired"], &ran.event("summary")["unrepaired"]), (&2.into(), &1.into()));
    is_whole(&place, 3);
    is_whole(&place, 4);
    place.json(&["repair", &id(5), "--from", "other", "--from", "d"]).exits(3);
    place.file("good", noise(5, SIZE));
    place.json(&["repair", "--from", "good"]).exits(0);
    place.json(&["verify"]).exits(0);
    assert_eq!(evidence(&place).len(), 6);
    place.sound();
}

#[test]
fn a_store_that_is_offered_is_not_believed_either() {
    let place = place();
    place.json(&["--store", "other", "add", "d"]).exits(0);
    fs::remove_dir_all(place.path("d")).unwrap();
    let hex = id(1).strip_prefix("sha256:").unwrap().to_owned();
    spoil(&place.path(format!("other/sha256/{}/{}", &hex[..2], &hex[2..])));
    spoil(&place.blob(&id(1)));
    let told = place.json(&["repair", &id(1), "--from", "other"]).exits(3).event("repair");
    assert_eq!(told["status"], "unrepaired");
    assert_eq!(told["tried"].as_array().unwrap().len(), 2);
    let own = place.store();
    let refused = place.json(&["repair", "--from", own.to_str().unwrap()]).exits(2);
    assert!(refused.event("error")["message"].as_str().unwrap().contains("the store that is to be repaired"));
    place.json(&["repair", "--from", "nowhere"]).exits(1);
    place.json(&["repair", "unknown"]).exits(1);
    place.json(&["repair", "--all", "d/01"]).exits(2);
}

#[test]
fn two_damages_leave_two_pieces_of_evidence_each_with_its_reason() {
    let place = place();
    for n in 1..=2 {
        spoil(&place.blob(&id(3)));
        let told = place.json(&["repair", &id(3)]).exits(0).event("repair");
        assert_eq!(told["evidence"].as_array().unwrap().len(), n);
    }
    let kept = evidence(&place);
    assert_eq!(kept.len(), 2);
    for path in kept {
        let bad = fs::read(&path).unwrap();
        assert_eq!(bad.len(), SIZE);
        assert_ne!(bad, noise(3, SIZE));
        let reason = fs::read_to_string(format!("{}.reason", path.display())).unwrap();
        assert!(reason.contains(&digest(&bad)) && reason.contains("seen at"), "{reason}");
    }
    is_whole(&place, 3);
}

#[test]
fn links_outside_the_store_to_the_bad_file_are_told() {
    let place = Place::new();
    let linked = place.file("linked", noise(0, SIZE));
    place.json(&["add", "linked", "--link"]).exits(0);
    place.json(&["checkout", ".", "tree"]).exits(0);
    let good = place.file("good", noise(0, SIZE));
    spoil(&place.blob(&id(0)));
    let told = place.json(&["repair", &id(0), "--from", good.to_str().unwrap()]).exits(0).event("repair");
    assert_eq!(told["outside_links"], 2);
    assert_eq!(told["outside"], serde_json::json!([{"path": linked.canonicalize().unwrap()}]));
    assert!(told["tried"][0]["reason"].as_str().unwrap().contains("damaged file itself"), "{told}");
    assert_ne!(fs::read(&linked).unwrap(), noise(0, SIZE), "a file of the user is not touched");
    assert_eq!(place.cat("linked"), noise(0, SIZE));
}

#[test]
fn a_name_of_the_good_file_brings_a_missing_blob_back() {
    let place = place();
    fs::remove_dir_all(place.path("d")).unwrap();
    fs::remove_file(place.blob(&id(3))).unwrap();
    let told = place.json(&["repair"]).exits(0).event("repair");
    assert_eq!((&told["digest"], &told["origin"]), (&id(3).into(), &"name".into()));
    is_whole(&place, 3);
    assert_eq!(inode(place.store().join("names/also/three")), inode(place.blob(&id(3))));
    place.sound();
}

#[test]
fn bytes_that_are_right_after_all_take_the_mark_off() {
    let place = place();
    fs::remove_dir_all(place.path("d")).unwrap();
    spoil(&place.blob(&id(3)));
    place.json(&["verify", "--quarantine"]).exits(3);
    let told = place.json(&["repair", "d/03"]).exits(3).event("repair");
    assert_eq!(told["evidence"].as_array().unwrap().len(), 1);
    // Somebody brings the right bytes back by hand.
    fs::write(place.blob(&id(3)), noise(3, SIZE)).unwrap();
    let ran = place.json(&["repair"]).exits(0);
    assert_eq!((&ran.event("repair")["status"], &ran.event("summary")["sound"]), (&"sound".into(), &1.into()));
    is_whole(&place, 3);
    assert_eq!(inode(place.store().join("names/also/three")), inode(place.blob(&id(3))));
}

#[test]
fn few_sources_are_remembered_and_none_of_what_was_moved() {
    let place = Place::new();
    for i in 0..7 {
        place.file(format!("same/{i}"), noise(0, SIZE));
    }
    place.json(&["add", "same"]).exits(0);
    let sources = |place: &Place| place.json(&["show", &id(0)]).exits(0).event("blob")["sources"].clone();
    assert_eq!(sources(&place).as_array().unwrap().len(), 4);
    // A hit adds none, and compaction keeps what there is.
    let before = sources(&place);
    place.file("hit", noise(0, SIZE));
    place.json(&["add", "hit"]).exits(0);
    assert_eq!(sources(&place), before);
    place.json(&["compact"]).exits(0);
    place.json(&["rebuild"]).exits(0);
    assert_eq!(sources(&place), before);
    place.file("moved", noise(1, SIZE));
    place.json(&["add", "moved", "--move"]).exits(0);
    assert_eq!(place.json(&["show", "moved"]).exits(0).event("blob")["sources"], serde_json::json!([]));
    // What is removed and comes back has no past.
    place.json(&["rm", "."]).exits(0);
    place.json(&["gc", "--grace", "0s"]).exits(0);
    place.json(&["add", "hit"]).exits(0);
    let now = sources(&place);
    assert_eq!(now, from(&place.path("hit")));
}

/// Every copy of a blob, its own file first.
fn inodes(place: &Place, i: u64) -> Vec<PathBuf> {
    let shown = place.json(&["show", &id(i)]).exits(0).event("blob");
    let carriers = shown["carriers"].as_array().unwrap().iter().map(|c| PathBuf::from(c["path"].as_str().unwrap()));
    std::iter::once(place.blob(&id(i))).chain(carriers).collect()
}

#[test]
fn copies_are_files_of_their_own_that_are_verified_counted_and_collected() {
    let place = place();
    let would = place.json(&["copies", "3", "d/00", "--dry-run"]).exits(0);
    assert_eq!((&would.event("copies")["made"], inodes(&place, 0).len()), (&2.into(), 1));
    let ran = place.json(&["copies", "3", "d/00", "also"]).exits(0);
    assert_eq!((&ran.event("summary")["made"], &ran.event("summary")["blobs"]), (&4.into(), &2.into()));
    let paths = inodes(&place, 0);
    let numbers: std::collections::BTreeSet<u64> = paths.iter().map(|path| inode(path.clone())).collect();
    assert_eq!(numbers.len(), 3);
    for path in &paths[1..] {
        assert_eq!(fs::read(path).unwrap(), noise(0, SIZE));
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o222, 0, "it is writable");
    }
    assert_eq!(place.json(&["copies", "3", "d/00"]).exits(0).event("summary")["made"], 0);
    assert_eq!(place.json(&["stats"]).exits(0).event("stats")["carriers"], 4);
    // One line for each blob; what is wrong with a carrier is a finding.
    assert_eq!(place.json(&["verify"]).exits(0).events("verified").len(), 6);
    spoil(&paths[2]);
    let ran = place.json(&["verify", &id(0)]).exits(3);
    let line = ran.event("verified");
    assert_eq!((&line["status"], &line["carriers"][0]["status"]), (&"ok".into(), &"ok".into()));
    assert_eq!((&line["carriers"][1]["number"], &line["carriers"][1]["status"]), (&2.into(), &"corrupt".into()));
    assert_eq!(ran.event("summary")["bad_carriers"], 1);
    assert!(place.larder(&["verify"]).exits(3).text().contains("carrier 2 is corrupt"));
    // Compaction and a new index know them; fewer are kept when fewer are wanted, and none when the blob goes.
    place.json(&["compact"]).exits(0);
    place.json(&["rebuild"]).exits(0);
    assert_eq!(inodes(&place, 3).len(), 3);
    let ran = place.json(&["copies", "2", "also/three"]).exits(0);
    assert_eq!(ran.event("summary")["removed"], 1);
    assert_eq!(inodes(&place, 3).len(), 2);
    place.json(&["rm", "."]).exits(0);
    place.json(&["gc", "--grace", "0s"]).exits(0);
    assert_eq!(outside::files(&place.store().join("carriers")), Vec::<PathBuf>::new());
    assert_eq!(place.json(&["stats"]).exits(0).event("stats")["carriers"], 0);
}

#[test]
fn copies_mend_each_other() {
    let place = place();
    place.json(&["copies", "3", "d/03"]).exits(0);
    fs::remove_dir_all(place.path("d")).unwrap();
    let paths = inodes(&place, 3);
    spoil(&paths[0]);
    spoil(&paths[1]);
    let ran = place.json(&["repair", "d/03"]).exits(0);
    let told = ran.events("repair");
    assert_eq!((&told[0]["origin"], &told[0]["from"]), (&"carrier".into(), &paths[2].to_str().unwrap().into()));
    assert_eq!((&told[1]["carrier"], &told[1]["origin"]), (&1.into(), &"blob".into()));
    assert_eq!((&ran.event("summary")["repaired"], &ran.event("summary")["carriers"]), (&1.into(), &1.into()));
    assert_eq!(evidence(&place).len(), 2);
    is_whole(&place, 3);
    // One that is gone is missed without being named.
    fs::remove_file(&paths[2]).unwrap();
    assert_eq!(place.json(&["repair"]).exits(0).event("repair")["carrier"], 2);
    place.json(&["verify"]).exits(0);
    // The last good one is never removed in favour of a bad one.
    spoil(&paths[0]);
    place.json(&["copies", "1", "d/03"]).exits(3);
    assert_eq!(inodes(&place, 3).len(), 3);
    place.json(&["repair", "--all"]).exits(0);
    place.json(&["copies", "1", "d/03"]).exits(0);
    assert_eq!(inodes(&place, 3).len(), 1);
    is_whole(&place, 3);
    place.sound();
    for bad in [&["copies", "0", "d"][..], &["copies", "17", "d"], &["copies", "2"], &["copies", "2", "--all", "d"]] {
        place.json(bad).exits(2);
    }
    place.json(&["copies", "2", "unknown"]).exits(1);
}
