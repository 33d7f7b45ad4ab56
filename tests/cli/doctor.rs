//! `doctor` from outside: what it measures is so.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::outside::{self, Place, Ran, files};
use serde_json::Value;

/// What was measured, by its word.
fn measures(ran: &Ran) -> BTreeMap<String, Value> {
    let lines = ran.events("measured");
    lines.into_iter().map(|line| (line["what"].as_str().unwrap().to_owned(), line)).collect()
}

#[test]
fn what_it_measures_is_so_and_nothing_is_left() {
    let place = Place::with_store();
    place.file("d/a", "bytes");
    place.json(&["add", "d"]).exits(0);
    fs::create_dir(place.path("out")).unwrap();
    let before = files(&place.store());
    let ran = place.json(&["doctor", "out"]).exits(0);
    let found = measures(&ran);
    for (what, value) in [("hardlinks", "yes"), ("locks", "yes"), ("windows", "yes"), ("journal-sound", "yes")] {
        assert_eq!((&found[what]["value"], &found[what]["health"]), (&value.into(), &"good".into()), "{what}");
    }
    assert_eq!(found["destination"]["value"], "hardlink");
    assert_eq!(found["hashing"]["health"], "good");
    assert!(found["hashing"]["words"].as_str().unwrap().contains("serial"));
    let sensitive = !place.path("OUT").exists();
    assert_eq!(found["case-sensitive"]["value"], if sensitive { "yes" } else { "no" });
    assert_eq!(found["directory-mode"]["health"], "good");
    for number in ["free-bytes", "sync-microseconds", "clock-behind-seconds"] {
        assert!(found[number]["value"].as_str().unwrap().parse::<u64>().is_ok(), "{number}");
    }
    assert_eq!(ran.event("summary")["bad"], 0);
    assert_eq!(files(&place.store()), before);
    assert_eq!(files(&place.path("out")), Vec::<PathBuf>::new());
    let words = place.larder(&["doctor"]).exits(0).text();
    assert_eq!(words.lines().count(), found.len() - 1, "{words}");
}

#[test]
fn a_directory_that_everybody_may_write_to_is_bad() {
    let place = Place::with_store();
    fs::set_permissions(place.store(), fs::Permissions::from_mode(0o757)).unwrap();
    let ran = place.json(&["doctor"]).exits(3);
    assert_eq!(measures(&ran)["directory-mode"]["health"], "bad");
    assert_eq!(ran.event("summary")["bad"], 1);
}

#[test]
fn damage_of_the_journal_is_bad() {
    let place = Place::with_store();
    for i in 0..3 {
        place.file("a", i.to_string());
        place.json(&["add", "a", "--name", &format!("n{i}")]).exits(0);
    }
    let segment = files(&place.store().join("journal")).pop().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[200] ^= 1;
    fs::write(&segment, bytes).unwrap();
    fs::remove_dir_all(place.store().join("index")).unwrap();
    fs::create_dir(place.store().join("index")).unwrap();
    assert_eq!(measures(&place.json(&["doctor"]).exits(3))["journal-sound"]["health"], "bad");
}

#[test]
fn a_store_that_cannot_be_written_to_is_measured_without_writing() {
    let place = Place::with_store();
    let ran = place.as_nobody(&["--json", "doctor"]);
    if outside::root() {
        let found = measures(&ran);
        assert_eq!(found["writing"]["value"], "no");
        assert!(!found.contains_key("sync-microseconds"));
    }
    ran.exits(0);
    place.json(&["doctor", "no-such"]).exits(1);
    place.file("file", "x");
    place.json(&["doctor", "file"]).exits(2);
}
