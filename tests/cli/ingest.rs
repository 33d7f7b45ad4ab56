//! `larder ingest` from outside, and a large file whose ingest is killed and gone on with.

use std::fs;

use crate::outside::{Place, Running, until};

/// A large file that costs nothing on the disk.
fn large(place: &Place) {
    fs::File::create(place.path("large")).unwrap().set_len(1 << 30).unwrap();
}

/// Adds it and kills that as soon as it could be gone on with. `false` where it is reflinked, and done at once.
fn broken_off(place: &Place) -> bool {
    let mut command = place.command(&["--json", "add", "large"]);
    command.stderr(std::process::Stdio::null());
    let running = Running::start(command);
    let saved = || place.staged().iter().any(|path| path.to_string_lossy().ends_with(".resume"));
    let is_kept = || place.store().join("names/large").exists();
    until("it can be gone on with, or is done", || saved() || is_kept());
    running.signal(libc::SIGKILL);
    running.end();
    let can_go_on = saved();
    if !can_go_on {
        println!("skipped: the file was kept before it could be killed, as where it is reflinked");
    }
    can_go_on
}

#[test]
fn a_large_file_that_was_killed_half_way_goes_on_and_is_listed_until_then() {
    let place = Place::with_store();
    large(&place);
    if !broken_off(&place) {
        return;
    }
    place.json(&["gc"]).exits(0);
    let ran = place.json(&["ingest", "ls"]).exits(0);
    let line = ran.event("ingest");
    assert!(line["path"].as_str().unwrap().ends_with("/large"));
    assert_eq!(line["size_bytes"], 1_u64 << 30);
    assert!(line["done_bytes"].as_u64().unwrap() >= 256 << 20);
    assert!(line["expires"].as_str().unwrap() > line["saved"].as_str().unwrap());
    assert_eq!(ran.event("summary")["ingests"], 1);
    assert!(place.larder(&["ingest", "ls"]).exits(0).text().contains(line["id"].as_str().unwrap()));
    assert_eq!(place.json(&["add", "large"]).exits(0).event("added")["status"], "new");
    assert!(place.json(&["ingest", "ls"]).exits(0).events("ingest").is_empty());
    assert_eq!(place.json(&["verify"]).exits(0).event("summary")["ok"], 1);
    place.json(&["gc"]).exits(0);
    place.sound();
}

#[test]
fn an_ingest_is_given_up_when_told_and_not_before() {
    let place = Place::with_store();
    place.json(&["ingest", "rm", "--all"]).exits(0);
    place.json(&["ingest", "rm"]).exits(2);
    place.json(&["ingest", "rm", ""]).exits(2);
    place.json(&["ingest", "rm", "0123"]).exits(1);
    large(&place);
    if !broken_off(&place) {
        return;
    }
    let id = place.json(&["ingest", "ls"]).exits(0).event("ingest")["id"].as_str().unwrap().to_owned();
    let would = place.json(&["ingest", "rm", &id[..8], "--dry-run"]).exits(0);
    assert_eq!(
        (&would.event("would_remove")["id"], &would.event("summary")["dry_run"]),
        (&id.as_str().into(), &true.into())
    );
    assert_eq!(place.json(&["ingest", "ls"]).exits(0).events("ingest").len(), 1);
    let ran = place.json(&["ingest", "rm", &id]).exits(0);
    assert_eq!((&ran.event("removed")["id"], &ran.event("summary")["ingests"]), (&id.as_str().into(), &1.into()));
    assert!(place.json(&["ingest", "ls"]).exits(0).events("ingest").is_empty());
    place.json(&["gc"]).exits(0);
    place.sound();
}
