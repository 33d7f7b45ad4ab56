//! `larder scrub` and `larder status` from outside: kills, pauses, several processes, and files that somebody changed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::outside::{self, Place, Running, digest, noise};

const FILES: u64 = 24;
const BYTES: usize = 40_000;

fn place() -> Place {
    let place = Place::new();
    for i in 0..FILES {
        place.file(format!("d/{i:02}"), noise(i, BYTES));
    }
    place.json(&["add", "d"]).exits(0);
    place
}

fn id(i: u64) -> String {
    digest(&noise(i, BYTES))
}

/// Changes bytes of a blob's file; its mode stays, and where `quietly` its times.
fn spoil(path: &Path, quietly: bool, how: impl FnOnce(&mut Vec<u8>)) {
    let before = fs::metadata(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut bytes = fs::read(path).unwrap();
    how(&mut bytes);
    fs::write(path, bytes).unwrap();
    if quietly {
        fs::File::open(path).unwrap().set_modified(before.modified().unwrap()).unwrap();
    }
    fs::set_permissions(path, before.permissions()).unwrap();
}

fn flip(place: &Place, i: u64) {
    spoil(&place.blob(&id(i)), true, |bytes| bytes[20_000] ^= 1);
}

/// A scrub that takes long: about a second for each 64 KiB.
fn slow(place: &Place) -> Running {
    Running::start(place.command(&["--json", "--jobs", "1", "scrub", "--rate", "64KiB"]))
}

fn status(place: &Place) -> serde_json::Value {
    place.json(&["scrub", "--status"]).event("scrub_status")
}

#[test]
fn a_scrub_killed_in_the_middle_goes_on_and_its_findings_are_complete() {
    let place = place();
    let bad: BTreeSet<u64> = [1, 7, 13, 19, 23].into();
    bad.iter().for_each(|i| flip(&place, *i));
    fs::remove_file(place.blob(&id(5))).unwrap();
    let mut read = 0;
    for _ in 0..2 {
        let mut running = Running::start(place.command(&["--json", "--jobs", "1", "scrub", "--rate", "128KiB"]));
        // Killed when some of it is on record.
        outside::until("something is on record", || {
            running.next();
            status(&place)["pass"]["blobs"].as_u64().unwrap_or(0) > read
        });
        running.signal(libc::SIGKILL);
        running.end();
        read = status(&place)["pass"]["blobs"].as_u64().unwrap();
        assert!(read > 0 && read < FILES);
        assert_eq!(status(&place)["running"], false);
    }
    let ran = place.json(&["scrub"]).exits(3);
    let summary = ran.event("summary");
    assert_eq!((&summary["end"], &summary["resumed"]), (&"done".into(), &true.into()));
    assert_eq!(summary["blobs"].as_u64().unwrap() + read, FILES, "nothing is missed, and nothing is read twice");
    assert_eq!((&summary["corrupt"], &summary["missing"]), (&5.into(), &1.into()));
    let told: BTreeSet<String> = ran
        .events("verified")
        .iter()
        .filter(|line| line["status"] == "corrupt")
        .map(|line| line["digest"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(told, bad.iter().map(|i| id(*i)).collect());
    // They stay on record, and everybody tells.
    assert_eq!(place.json(&["scrub", "--status"]).exits(3).event("scrub_status")["findings"], 6);
    let stats = place.json(&["stats"]).event("stats");
    assert_eq!((&stats["damaged_blobs"], &stats["findings"]), (&5.into(), &1.into()));
    let blob = place.json(&["show", "d/07"]).event("blob");
    assert_eq!((&blob["damaged"], &blob["findings"][0]["status"]), (&true.into(), &"corrupt".into()));
    assert!(!blob["findings"][0]["detail"].as_str().unwrap().is_empty());
    assert_eq!(place.json(&["why", "d/05"]).event("why")["findings"][0]["status"], "missing");
    assert_eq!(place.larder(&["get", "d/07", "out"]).code, 3);
    place.json(&["check"]).exits(3);
    // A repair starts from them, and ends them.
    for i in bad.iter().chain([&5]) {
        place.file(format!("good/{i}"), noise(*i, BYTES));
    }
    let repaired = place.json(&["repair", "--from", "good"]).exits(0).event("summary");
    assert_eq!((&repaired["repaired"], &repaired["sound"]), (&6.into(), &0.into()));
    assert_eq!(place.json(&["scrub", "--status"]).exits(0).event("scrub_status")["findings"], 0);
    assert_eq!(place.json(&["scrub", "--sha256"]).exits(0).event("summary")["ok"], FILES);
    place.sound();
}

#[test]
fn a_running_scrub_is_paused_resumed_and_stopped_from_outside_and_is_alone() {
    let place = place();
    let mut running = slow(&place);
    running.next().expect("it has begun");
    assert_eq!(status(&place)["running"], true);
    let busy = place.larder(&["scrub"]);
    assert_eq!(busy.code, 4, "{}", busy.err);
    // The rest of the program works beside it.
    place.file("more", "more");
    place.json(&["add", "more"]).exits(0);
    place.json(&["rm", "more"]).exits(0);
    place.json(&["gc", "--grace", "0s"]).exits(0);
    place.json(&["scrub", "--pause"]).exits(0);
    let mut before = u64::MAX;
    outside::until("it waits", || {
        let now = status(&place)["pass"]["blobs"].as_u64().unwrap();
        std::mem::replace(&mut before, now) == now && now > 0
    });
    let paused = status(&place);
    assert_eq!((&paused["paused"], &paused["running"]), (&true.into(), &true.into()));
    place.json(&["scrub", "resume"]).exits(0);
    outside::until("it goes on", || status(&place)["pass"]["blobs"].as_u64().unwrap() > before);
    place.json(&["scrub", "--stop"]).exits(0);
    let (ran, lines) = running.end();
    assert_eq!(ran.code, 0);
    let summary = lines.last().unwrap();
    assert_eq!((&summary["end"], &summary["interrupted"]), (&"stopped".into(), &false.into()));
    assert!(summary["left_blobs"].as_u64().unwrap() > 0);
    // A later one is paused as well, and says so; stopped, it begins anew.
    place.json(&["scrub", "pause"]).exits(0);
    let waits = place.json(&["scrub"]).exits(0).event("summary");
    assert_eq!((&waits["end"], &waits["blobs"]), (&"paused".into(), &0.into()));
    place.json(&["scrub", "--resume"]).exits(0);
    let all = place.json(&["scrub"]).exits(0).event("summary");
    assert_eq!((&all["blobs"], &all["resumed"]), (&FILES.into(), &false.into()));
}

#[test]
fn a_signal_keeps_what_is_done_and_the_time_is_kept() {
    let place = place();
    let mut running = slow(&place);
    running.next().expect("one is read");
    running.next().expect("and another");
    running.signal(libc::SIGTERM);
    let (ran, lines) = running.end();
    assert_eq!(ran.code, 1);
    let summary = lines.last().unwrap();
    assert_eq!((&summary["event"], &summary["interrupted"]), (&"summary".into(), &true.into()));
    let done = summary["blobs"].as_u64().unwrap();
    assert!((2..FILES).contains(&done));
    assert_eq!(status(&place)["pass"]["blobs"], done);
    let brief = ["scrub", "--rate", "64KiB", "--max-duration", "1s"];
    let summary = place.json(&brief).exits(0).event("summary");
    assert_eq!((&summary["end"], &summary["resumed"]), (&"time_over".into(), &true.into()));
    let more = summary["blobs"].as_u64().unwrap();
    assert_eq!(summary["left_blobs"].as_u64().unwrap(), FILES - done - more);
    // Within a time, what was just read is left out.
    let age = place.json(&["scrub", "--max-age", "1day"]).exits(0).event("summary");
    assert_eq!(age["blobs"].as_u64().unwrap(), FILES - done - more);
    assert_eq!((&age["coverage"]["blobs"], &age["coverage"]["never"]), (&FILES.into(), &0.into()));
    assert_eq!(place.json(&["scrub", "--max-age", "1day"]).exits(0).event("summary")["blobs"], 0);
    assert_eq!(place.json(&["scrub", "--sample", "3"]).exits(0).event("summary")["blobs"], 3);
    for bad in [&["scrub", "--sample", "x"][..], &["scrub", "--status", "--pause"], &["scrub", "pause", "--stop"]] {
        assert_eq!(place.larder(bad).code, 2, "{bad:?}");
    }
}

#[test]
fn a_status_tells_each_kind_of_tampering_and_the_scrub_reads_it_first() {
    let place = place();
    place.json(&["scrub"]).exits(0);
    let clean = place.json(&["status"]).exits(0).event("summary");
    assert_eq!((&clean["blobs"], &clean["changed"], &clean["ctime_hints"]), (&FILES.into(), &0.into(), &0.into()));
    let path = |i: u64| place.blob(&id(i));
    spoil(&path(0), false, |bytes| bytes.truncate(100));
    spoil(&path(1), false, |bytes| bytes[5] ^= 1);
    flip(&place, 2);
    fs::set_permissions(path(3), fs::Permissions::from_mode(0o664)).unwrap();
    fs::remove_file(path(4)).unwrap();
    fs::write(path(5).with_extension("new"), noise(5, BYTES)).unwrap();
    fs::rename(path(5).with_extension("new"), path(5)).unwrap();
    let ran = place.json(&["status", "--hints"]).exits(3);
    let summary = ran.event("summary");
    assert_eq!((&summary["changed"], &summary["missing"], &summary["size"]), (&5.into(), &1.into(), &1.into()));
    assert_eq!((&summary["inode"], &summary["copied"], &summary["queued"]), (&1.into(), &false.into(), &6.into()));
    let found: Vec<(String, String)> = ran
        .events("finding")
        .iter()
        .map(|line| (line["digest"].as_str().unwrap().to_owned(), line["code"].as_str().unwrap().to_owned()))
        .collect();
    let codes = [(0, "blob-size"), (1, "blob-stamp"), (3, "blob-mode"), (4, "blob-missing"), (5, "blob-stamp")];
    for (i, code) in codes {
        assert!(found.contains(&(id(i), code.to_owned())), "{i}: {code} is not in {found:?}");
    }
    // The one with its times put back shows by its ctime alone, and that is a hint.
    let hints = ran.events("hint");
    assert_eq!(hints.iter().map(|line| line["digest"].as_str().unwrap()).collect::<Vec<_>>(), [id(2)]);
    let ran = place.json(&["--jobs", "1", "scrub", "--max-age", "1day"]).exits(3);
    let read: Vec<String> = ran.events("verified").iter().map(|l| l["digest"].as_str().unwrap().to_owned()).collect();
    assert_eq!(read.iter().cloned().collect::<BTreeSet<_>>(), [0, 1, 2, 3, 4, 5].map(id).into());
    assert_eq!(read.last(), Some(&id(2)));
    let summary = ran.event("summary");
    assert_eq!((&summary["corrupt"], &summary["missing"], &summary["ok"]), (&3.into(), &1.into(), &2.into()));
}

#[test]
fn a_store_that_was_copied_is_told_in_one_line() {
    let place = place();
    let copy = place.path("copy");
    let copied = std::process::Command::new("cp").arg("-a").arg(place.store()).arg(&copy).status().unwrap();
    assert!(copied.success());
    let store = copy.to_str().unwrap();
    let ran = place.json(&["--store", store, "status"]).exits(3);
    assert_eq!(ran.events("finding").len(), 0);
    let summary = ran.event("summary");
    assert_eq!((&summary["copied"], &summary["inode"], &summary["queued"]), (&true.into(), &FILES.into(), &0.into()));
    let words = place.larder(&["--store", store, "status"]);
    assert!(words.err.contains("was copied") || String::from_utf8_lossy(&words.out).contains("was copied"));
    // Reading it finds every byte right, and the remedy that it names works.
    place.json(&["--store", store, "scrub"]).exits(0);
    place.json(&["--store", store, "check", "--repair"]).exits(0);
    place.json(&["--store", store, "status"]).exits(0);
}
