//! `larder gc` from outside: what nothing keeps goes, and nothing else.

use std::fs;

use crate::outside::{self, Place, digest, files, noise};

fn place(count: u64) -> Place {
    let place = Place::new();
    for i in 0..count {
        place.file(format!("d/{i:03}"), noise(i, 5000));
    }
    place.json(&["add", "d"]).exits(0);
    place
}

fn blobs(place: &Place) -> usize {
    files(&place.store().join("sha256")).len()
}

#[test]
fn grace_is_waited_for_and_names_bring_a_blob_back() {
    let place = place(10);
    place.json(&["rm", "d/000", "d/001", "d/002"]).exits(0);
    let ran = place.json(&["gc"]).exits(0).event("summary");
    assert_eq!((&ran["removed_blobs"], &ran["in_grace"]), (&0.into(), &3.into()));
    assert_eq!(place.json(&["gc", "--grace", "1h"]).exits(0).event("summary")["removed_blobs"], 0);
    assert_eq!(blobs(&place), 10);
    place.json(&["link", &digest(&noise(0, 5000)), "back"]).exits(0);
    place.json(&["pin", &digest(&noise(1, 5000))]).exits(0);
    place.json(&["get", &digest(&noise(2, 5000)), "outside", "--mode", "hardlink"]).exits(0);
    let plan = place.json(&["gc", "--grace", "0s", "--dry-run"]).exits(0);
    assert_eq!(plan.events("doomed").len(), 1);
    assert_eq!(
        (&plan.events("doomed")[0]["outside_links"], &plan.events("doomed")[0]["frees_bytes"]),
        (&1.into(), &0.into())
    );
    assert_eq!(blobs(&place), 10, "a dry run removes nothing");
    let ran = place.json(&["gc", "--grace", "0s"]).exits(0).event("summary");
    assert_eq!(
        (&ran["removed_blobs"], &ran["removed_bytes"], &ran["freed_bytes"]),
        (&1.into(), &5000.into(), &0.into())
    );
    assert_eq!(blobs(&place), 9);
    assert_eq!(fs::read(place.path("outside")).unwrap(), noise(2, 5000), "what is linked outside stays");
    assert_eq!(place.cat("back"), noise(0, 5000));
    let again = place.json(&["gc", "--grace", "0s"]).exits(0).event("summary");
    assert_eq!(again["removed_blobs"], 0);
    // What was collected is added anew like anything else.
    assert_eq!(place.json(&["add", "d/002", "--prefix", "d"]).exits(0).event("added")["status"], "new");
    place.sound();
}

#[test]
fn a_plan_is_what_runs() {
    let place = place(10);
    place.json(&["rm", "d/000", "d/001"]).exits(0);
    let plan = place.json(&["gc", "--grace", "0s", "--dry-run"]).exits(0);
    fs::write(place.path("plan"), &plan.out).unwrap();
    let ran = place.json(&["gc", "--plan", "plan"]).exits(0).event("summary");
    assert_eq!(ran["removed_blobs"], 2);
    assert_eq!(blobs(&place), 8);
    // It was for that state of the store.
    place.json(&["gc", "--plan", "plan"]).exits(5);

    // What was doomed and is wanted again stays, and with it everything else that the plan says.
    let (third, fourth) = (digest(&noise(3, 5000)), digest(&noise(4, 5000)));
    place.json(&["rm", "d/003", "d/004"]).exits(0);
    for change in [&["add", "d/003", "--name", "x"][..], &["link", &third, "y"], &["pin", &fourth]] {
        let plan = place.json(&["gc", "--grace", "0s", "--dry-run"]).exits(0);
        place.json(change).exits(0);
        let before = blobs(&place);
        let ran = place.fed(&["--json", "gc", "--plan", "-"], &plan.out).exits(5);
        assert_eq!(ran.event("error")["kind"], "refused");
        assert_eq!(blobs(&place), before, "{change:?}");
        place.json(&["rm", "x"]);
        place.json(&["rm", "y"]);
    }
    place.json(&["unpin", &fourth]).exits(0);
    // Another store's plan, a cut one, a changed one, none.
    place.json(&["init", "--store", "other"]).exits(0);
    let before = blobs(&place);
    let other = place.json(&["gc", "--dry-run", "--store", "other"]).exits(0);
    assert!([2, 5].contains(&place.fed(&["gc", "--plan", "-"], &other.out).code));
    let text = place.json(&["gc", "--grace", "0s", "--dry-run"]).exits(0).text();
    let cut: Vec<_> = text.lines().collect();
    place.fed(&["gc", "--plan", "-"], cut[..cut.len() - 1].join("\n").as_bytes()).exits(2);
    place.fed(&["gc", "--plan", "-"], text.replace("\"schema\":1", "\"schema\":2").as_bytes()).exits(2);
    place.fed(&["gc", "--plan", "-"], b"").exits(2);
    assert!([1, 2].contains(&place.fed(&["gc", "--plan", "-"], &noise(1, 5000)).code));
    assert_eq!(blobs(&place), before);
    // A plan that names a blob which is kept is no way to remove it.
    let kept = digest(&noise(8, 5000));
    let line = format!(
        "{{\"schema\":1,\"event\":\"doomed\",\"digest\":\"{kept}\",\"size_bytes\":5000,\"frees_bytes\":8192,\"outside_links\":0,\"rule\":\"unrooted\"}}"
    );
    let head = cut[0];
    let end = "{\"schema\":1,\"event\":\"summary\",\"dry_run\":true,\"doomed_blobs\":1,\"doomed_bytes\":5000,\"frees_bytes\":8192,\"in_grace\":0}";
    let in_grace = serde_json::from_str::<serde_json::Value>(head).unwrap()["in_grace"].clone();
    let forged = format!("{head}\n{line}\n{}\n", end.replace("\"in_grace\":0", &format!("\"in_grace\":{in_grace}")));
    let ran = place.fed(&["--json", "gc", "--plan", "-"], forged.as_bytes());
    assert!([0, 5].contains(&ran.code), "{} {}", ran.code, ran.err);
    assert_eq!(place.cat("d/008"), noise(8, 5000));
    place.sound();
}

#[test]
fn most_of_a_store_is_not_removed_by_accident() {
    let place = place(120);
    place.json(&["rm", "d"]).exits(0);
    let ran = place.json(&["gc", "--grace", "0s"]).exits(5);
    assert!(ran.err.contains("--yes-most"), "{}", ran.err);
    assert_eq!(blobs(&place), 120);
    assert_eq!(place.json(&["gc", "--grace", "0s", "--dry-run"]).exits(0).events("doomed").len(), 120);
    let plan = place.json(&["gc", "--grace", "0s", "--dry-run"]).exits(0);
    let ran = place.fed(&["--json", "gc", "--plan", "-"], &plan.out);
    assert!([0, 5].contains(&ran.code), "{}", ran.err);
    if ran.code == 5 {
        place.json(&["gc", "--grace", "0s", "--yes-most"]).exits(0);
    }
    assert_eq!(blobs(&place), 0);
    place.sound();
    // A small store is nobody's whole life.
    let place = self::place(20);
    place.json(&["rm", "d"]).exits(0);
    place.json(&["gc", "--grace", "0s"]).exits(0);
    assert_eq!(blobs(&place), 0);
}

#[test]
fn files_that_no_record_knows_are_found_and_wait_for_their_time() {
    let place = place(3);
    let bytes = noise(77, 100);
    let orphan = place.blob(&digest(&bytes));
    fs::write(&orphan, &bytes).unwrap();
    fs::write(place.store().join("sha256/ab/notadigest"), "foreign").unwrap();
    place.json(&["verify"]).exits(0);
    place.json(&["gc", "--grace", "0s"]).exits(0);
    assert!(orphan.exists(), "seven days are not over");
    place.json(&["gc", "--grace", "0s", "--orphan-ttl", "0s"]).exits(0);
    place.json(&["gc", "--grace", "0s", "--orphan-ttl", "0s"]).exits(0);
    assert!(!orphan.exists());
    assert!(place.store().join("sha256/ab/notadigest").exists(), "it is nobody's blob");
    // One that turns out to be wanted is replaced by a good file, whatever is in it.
    fs::write(&orphan, "wrong").unwrap();
    place.file("wanted", &bytes);
    place.json(&["add", "wanted"]).exits(0);
    assert_eq!(place.cat("wanted"), bytes);
    place.sound();
}

#[test]
fn compaction_keeps_everything_and_shrinks_the_journal() {
    let place = place(30);
    for round in 0..15 {
        place.json(&["link", "d/000", &format!("x/{round}")]).exits(0);
    }
    place.json(&["rm", "x"]).exits(0);
    let before = place.names();
    let ran = place.json(&["compact"]).exits(0).event("summary");
    assert!(ran["bytes_after"].as_u64() < ran["bytes_before"].as_u64(), "{ran}");
    assert_eq!(place.names(), before);
    place.json(&["compact"]).exits(0);
    place.json(&["compact"]).exits(0);
    fs::remove_dir_all(place.store().join("index")).unwrap();
    assert_eq!(place.names(), before);
    place.json(&["rebuild"]).exits(0);
    assert_eq!(place.names(), before);
    place.sound();
}

#[test]
fn what_is_removed_is_told_blob_by_blob() {
    let place = place(5);
    place.json(&["rm", "d/000", "d/003"]).exits(0);
    let pair = |line: &serde_json::Value| (line["digest"].as_str().unwrap().to_owned(), line["size_bytes"].as_u64());
    let sorted = |ran: &outside::Ran, event: &str| {
        let mut told: Vec<_> = ran.events(event).iter().map(pair).collect();
        told.sort();
        told
    };
    let mut expected = vec![(digest(&noise(0, 5000)), Some(5000)), (digest(&noise(3, 5000)), Some(5000))];
    expected.sort();
    let plan = place.json(&["gc", "--grace", "0s", "--dry-run"]).exits(0);
    assert_eq!(sorted(&plan, "doomed"), expected);
    let ran = place.json(&["gc", "--grace", "0s"]).exits(0);
    assert_eq!(sorted(&ran, "removed"), expected);
    let freed: u64 = ran.events("removed").iter().map(|line| line["freed_bytes"].as_u64().unwrap()).sum();
    assert_eq!(ran.event("summary")["freed_bytes"], freed);
}
