//! `larder dedup-report` from outside.

use std::fs;

use crate::outside::{Place, digest, noise};

fn place() -> Place {
    let place = Place::new();
    for (name, seed) in [("d/a", 1), ("d/b", 1), ("d/c", 2), ("d/d", 2), ("d/e", 2), ("d/f", 3)] {
        place.file(name, noise(seed, 10_000));
    }
    place.json(&["add", "d"]).exits(0);
    place
}

#[test]
fn groups_say_who_shares_and_what_that_saves() {
    let place = place();
    place.json(&["register", "model:hf/m", "--blob", "d/f", "--blob", "d/c"]).exits(0);
    let ran = place.json(&["dedup-report"]).exits(0);
    let groups = ran.events("group");
    let one = |seed| groups.iter().find(|group| group["digest"] == digest(&noise(seed, 10_000)).as_str()).unwrap();
    assert_eq!(groups.len(), 2);
    assert_eq!((&one(1)["wanted"], &one(1)["saved_bytes"], &one(1)["files"]), (&2.into(), &10_000.into(), &1.into()));
    assert_eq!(one(2)["names"], serde_json::json!(["d/c", "d/d", "d/e"]));
    assert_eq!((&one(2)["saved_bytes"], &one(2)["entries"][0]["key"]), (&20_000.into(), &"model:hf/m".into()));
    let all = ran.event("summary");
    assert_eq!((&all["blobs"], &all["wanted_bytes"], &all["kept_bytes"]), (&3.into(), &60_000.into(), &30_000.into()));
    assert_eq!(all["saved_bytes"], 30_000);
    let words = place.larder(&["dedup-report"]).exits(0).text();
    let lines: Vec<&str> = words.lines().collect();
    assert!(lines[1].contains("d/c and 2 more") && lines[2].contains("d/a and 1 more"), "{words}");
    assert!(lines[3].contains("2 blobs of 3") && lines[3].contains("50.0 %"), "{words}");
    let words = place.larder(&["dedup-report", "--top", "1"]).exits(0).text();
    assert!(words.contains("d/c and") && !words.contains("d/a and"), "{words}");
}

#[test]
fn names_that_are_copies_are_told_and_so_are_carriers() {
    let place = place();
    let named = place.store().join("names/d/b");
    fs::remove_file(&named).unwrap();
    fs::write(&named, noise(1, 10_000)).unwrap();
    place.json(&["copies", "2", "d/f"]).exits(0);
    let ran = place.json(&["dedup-report"]).exits(0);
    assert_eq!(ran.event("summary")["could_save_bytes"], 10_000);
    assert_eq!(ran.events("group").len(), 3, "what is kept twice is told though one name wants it");
    assert!(place.larder(&["dedup-report"]).exits(0).text().contains("could be links"));
}

#[test]
fn directories_are_looked_through_for_copies() {
    let place = place();
    place.json(&["get", "d/a", "d/linked", "--mode", "hardlink"]).exits(0);
    let directory = place.path("d");
    let arguments = ["dedup-report", "--scan", directory.to_str().unwrap()];
    let ran = place.json(&arguments).exits(0);
    let scanned = ran.event("summary")["scanned"].clone();
    assert_eq!((&scanned["files"], &scanned["copies"], &scanned["linked"]), (&7.into(), &6.into(), &1.into()));
    assert_eq!(ran.events("copy").len(), 7);
    let words = place.larder(&arguments).exits(0).text();
    assert!(words.contains("d/f") && words.contains("6 copies of blobs"), "{words}");
    place.larder(&["dedup-report", "--scan", "nowhere"]).exits(1);
    place.sound();
}
