//! `larder trash` and `larder undelete` from outside.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;

use crate::outside::{Place, digest, files, noise};
use larder::Name;
use larder::machine::Real;
use larder::store::{OpenOptions, Store};
use larder::vocabulary::Key;
use larder::work::catalog::register::{IfThere, NewVariant, Registration};
use larder::work::names::Target;

/// A store with the files `d/0`, `d/1`, … and, of each, a model of that name.
fn place(count: u64) -> Place {
    let place = Place::new();
    for i in 0..count {
        place.file(format!("d/{i}"), noise(i, 5000));
    }
    place.json(&["add", "d"]).exits(0);
    for i in 0..count {
        register(&place, &format!("m{i}"), &[&format!("d/{i}")]);
    }
    place
}

fn register(place: &Place, reference: &str, names: &[&str]) {
    let store = Store::open(Arc::new(Real::new()), &place.store(), &OpenOptions::default()).unwrap();
    let variant = |name: &&str| NewVariant {
        name: (*name).to_owned(),
        target: Some(Target::Name(Name::new(*name).unwrap())),
        ..NewVariant::default()
    };
    let key = Key::model("hf", reference, "").unwrap();
    let what = Registration { variants: names.iter().map(variant).collect(), ..Registration::new(key) };
    store.register(vec![what], IfThere::Refuse).unwrap();
}

fn blobs(place: &Place) -> usize {
    files(&place.store().join("sha256")).len()
}

#[test]
fn what_goes_into_the_trash_comes_back_as_it_was() {
    let place = place(2);
    let before = place.names();
    let plan = place.json(&["trash", "model:hf/m0", "--dry-run"]).exits(0);
    assert_eq!(plan.event("would_trash")["names"], serde_json::json!(["d/0"]));
    assert_eq!(place.names(), before, "a dry run changes nothing");
    let ran = place.json(&["trash", "model:hf/m0"]).exits(0);
    assert_eq!(ran.event("trashed")["frees_bytes"], plan.event("would_trash")["frees_bytes"]);
    assert_eq!(ran.event("summary")["entries"], 1);
    assert!(!place.store().join("names/d/0").exists());
    place.larder(&["cat", "d/0"]).exits(1);
    assert!(place.larder(&["why-gone", "d/0"]).exits(0).text().contains("trash of entry:"));
    place.json(&["trash", "model:hf/m0"]).exits(1);
    place.json(&["gc", "--grace", "0s", "--yes-most"]).exits(0);
    assert_eq!(blobs(&place), 2, "the trash keeps its bytes");
    let ls = place.json(&["trash", "ls"]).exits(0);
    let entry = ls.event("entry");
    assert_eq!(
        (&entry["key"], &entry["rule"], &entry["size_bytes"]),
        (&"model:hf/m0".into(), &"trash".into(), &5000.into())
    );
    assert!(place.larder(&["trash", "ls"]).exits(0).text().contains("model:hf/m0"));
    let back = place.json(&["undelete", "model:hf/m0"]).exits(0);
    assert_eq!(back.event("undeleted")["names"], serde_json::json!(["d/0"]));
    assert_eq!(place.names(), before);
    assert_eq!(place.cat("d/0"), noise(0, 5000));
    place.json(&["undelete", "model:hf/m0"]).exits(1);
    assert_eq!(place.json(&["trash", "ls"]).exits(0).event("summary")["entries"], 0);
    place.sound();
}

#[test]
fn a_name_that_is_taken_is_told_and_left() {
    let place = place(1);
    place.json(&["trash", "model:hf/m0"]).exits(0);
    place.file("other", "other");
    place.json(&["add", "other", "--name", "d/0"]).exits(0);
    let back = place.json(&["undelete", "model:hf/m0"]).exits(3);
    assert_eq!(back.event("undeleted")["left"][0]["name"], "d/0");
    assert_eq!(back.event("summary")["names_left"], 1);
    assert_eq!(place.cat("d/0"), b"other");
    assert_eq!(place.larder(&["cat", &digest(&noise(0, 5000))]).exits(0).out, noise(0, 5000));
    place.json(&["trash", "model:hf/m0"]).exits(0);
    assert_eq!(place.cat("d/0"), b"other", "it is not this entry's");
    let words = place.larder(&["undelete", "model:hf/m0"]).exits(0);
    assert!(words.err.is_empty(), "the trash took no name this time: {}", words.err);
}

#[test]
fn emptying_frees_what_it_says() {
    let place = place(3);
    place.json(&["trash", "model:hf/m0", "model:hf/m1"]).exits(0);
    place.json(&["link", &digest(&noise(1, 5000)), "kept"]).exits(0);
    let plan = place.json(&["trash", "empty", "--dry-run"]).exits(0);
    assert_eq!(plan.events("would_remove").len(), 2);
    assert_eq!(blobs(&place), 3);
    assert_eq!(place.json(&["trash", "empty", "--older-than", "1h"]).exits(0).event("summary")["entries"], 0);
    let ran = place.json(&["trash", "empty"]).exits(0).event("summary");
    assert_eq!((&ran["entries"], &ran["removed_blobs"], &ran["removed_bytes"]), (&2.into(), &1.into(), &5000.into()));
    assert_eq!(ran["freed_bytes"], plan.event("summary")["frees_bytes"]);
    assert_eq!((blobs(&place), place.cat("kept")), (2, noise(1, 5000)));
    place.json(&["undelete", "model:hf/m0"]).exits(1);
    assert!(place.larder(&["trash", "ls"]).exits(0).text().contains("empty"));
    place.sound();
}

#[test]
fn what_running_work_holds_is_not_told_as_freed() {
    let place = place(2);
    let mut lease = place.command(&["lease", "d/0", "--", "sh", "-c", "echo; read line; true"]);
    let mut lease = lease.stdin(Stdio::piped()).spawn().unwrap();
    let input = lease.stdin.take();
    BufReader::new(lease.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    // Moving names does not ask who reads.
    place.json(&["trash", "model:hf/m0", "model:hf/m1"]).exits(0);
    let plan = place.json(&["trash", "empty", "--dry-run"]).exits(0).event("summary");
    let ran = place.json(&["trash", "empty"]).exits(0);
    let summary = ran.event("summary");
    assert_eq!((&plan["held_blobs"], &summary["held_blobs"]), (&1.into(), &1.into()));
    assert_eq!(plan["frees_bytes"], summary["freed_bytes"]);
    assert_eq!(summary["removed_blobs"], 1);
    let keys: Vec<_> =
        ran.events("removed_entry").iter().map(|event| event["key"].as_str().unwrap().to_owned()).collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
    drop(input);
    assert!(lease.wait().unwrap().success());
    place.sound();
}

#[test]
fn what_a_link_outside_keeps_is_not_told_as_freed() {
    let place = place(1);
    place.json(&["get", "d/0", "outside", "--mode", "hardlink"]).exits(0);
    place.json(&["trash", "model:hf/m0"]).exits(0);
    assert_eq!(place.json(&["trash", "empty", "--dry-run"]).exits(0).event("summary")["frees_bytes"], 0);
    let ran = place.json(&["trash", "empty"]).exits(0).event("summary");
    assert_eq!((&ran["removed_blobs"], &ran["freed_bytes"]), (&1.into(), &0.into()));
    assert_eq!(fs::read(place.path("outside")).unwrap(), noise(0, 5000), "larder never takes the user's own copy");
}

#[test]
fn gc_removes_what_has_been_there_for_long_enough_as_its_plan_says() {
    let place = place(2);
    place.json(&["trash", "model:hf/m0"]).exits(0);
    let ran = place.json(&["gc", "--grace", "0s"]).exits(0);
    assert_eq!(ran.event("summary")["expired_entries"], 0);
    let arguments = ["gc", "--grace", "0s", "--trash-ttl", "0s"];
    let plan = place.json(&[&arguments[..], &["--dry-run"]].concat()).exits(0);
    assert_eq!((plan.events("doomed").len(), &plan.event("expired")["key"]), (0, &"model:hf/m0".into()));
    let written = place.file("plan.json", &plan.out);
    place.json(&["undelete", "model:hf/m0"]).exits(0);
    place.json(&["gc", "--plan", written.to_str().unwrap()]).exits(5);
    place.json(&["trash", "model:hf/m0"]).exits(0);
    place.json(&["gc", "--plan", written.to_str().unwrap()]).exits(5);
    let plan = place.json(&[&arguments[..], &["--dry-run"]].concat()).exits(0);
    let written = place.file("plan.json", &plan.out);
    let ran = place.json(&["gc", "--plan", written.to_str().unwrap()]).exits(0).event("summary");
    assert_eq!((&ran["expired_entries"], &ran["removed_blobs"]), (&1.into(), &0.into()));
    assert_eq!(blobs(&place), 2, "the grace of what it kept begins then");
    assert_eq!(place.json(&["gc", "--grace", "0s"]).exits(0).event("summary")["removed_blobs"], 1);
    place.json(&["undelete", "model:hf/m0"]).exits(1);
    place.sound();
}

#[test]
fn what_is_no_entry_is_wrong_usage_or_unknown() {
    let place = place(1);
    for arguments in [&["trash"][..], &["trash", "d/0"], &["undelete"], &["undelete", "x"], &["trash", "empty", "x"]] {
        place.larder(arguments).exits(2);
    }
    place.larder(&["trash", "model:hf/none"]).exits(1);
    let half = place.json(&["trash", "model:hf/m0", "model:hf/none"]).exits(1);
    assert_eq!(half.events("trashed").len(), 0, "all of them are found before one goes");
    assert_eq!(place.json(&["trash", "model:hf/m0", "model:hf/m0"]).exits(0).events("trashed").len(), 1);
}
