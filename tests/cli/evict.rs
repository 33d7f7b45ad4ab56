//! `larder evict`, `larder retention` and the limits of a store from outside.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::outside::{self, Place, digest, files, noise, until};

/// A store with the files `d/0`, `d/1`, … of 8192 bytes, and of each a model, registered in this order.
fn place(count: u64) -> Place {
    let place = Place::new();
    for i in 0..count {
        place.file(format!("d/{i}"), noise(i, 8192));
    }
    place.json(&["add", "d"]).exits(0);
    for i in 0..count {
        register(&place, i);
    }
    place
}

fn register(place: &Place, i: u64) {
    place.json(&["register", &format!("model:hf/m{i}"), "--blob", &format!("d/{i}")]).exits(0);
}

fn keys(ran: &outside::Ran, event: &str) -> Vec<String> {
    ran.events(event).iter().map(|line| line["key"].as_str().unwrap().to_owned()).collect()
}

fn blobs(place: &Place) -> usize {
    files(&place.store().join("sha256")).len()
}

#[test]
fn what_was_not_used_for_longest_goes_and_the_plan_says_so() {
    let place = place(4);
    place.larder(&["cat", "d/0"]).exits(0);
    place.json(&["get", "d/1", "got"]).exits(0);
    let plan = place.json(&["evict", "--free", "9000", "--dry-run"]).exits(0);
    assert_eq!(keys(&plan, "would_evict"), ["model:hf/m2", "model:hf/m3"]);
    assert_eq!(blobs(&place), 4);
    let ran = place.json(&["evict", "--free", "9000"]).exits(0);
    assert_eq!(keys(&ran, "evicted"), ["model:hf/m2", "model:hf/m3"]);
    let (told, done) = (plan.event("summary"), ran.event("summary"));
    assert_eq!((&done["freed_bytes"], &done["removed_blobs"]), (&told["frees_bytes"], &2.into()));
    assert_eq!(place.names().len(), 2);
    assert!(place.larder(&["why-gone", "d/2"]).exits(0).text().contains("evict"));
    let short = place.json(&["evict", "--free", "1TB", "--dry-run"]).exits(3);
    assert_eq!(keys(&short, "would_evict"), ["model:hf/m0", "model:hf/m1"], "in the order of their uses");
    assert_eq!(short.event("summary")["enough"], false);
    let words = place.larder(&["evict", "--free", "1TB", "--dry-run"]).exits(3).text();
    assert!(words.contains("short") && words.contains("model:hf/m0"), "{words}");
    place.sound();
}

#[test]
fn a_store_is_made_no_larger_than_this_and_the_trash_goes_first() {
    let place = place(3);
    place.json(&["trash", "model:hf/m2"]).exits(0);
    let ran = place.json(&["evict", "--max-size", "16KiB"]).exits(0);
    assert_eq!(
        (keys(&ran, "evicted"), &ran.events("evicted")[0]["trashed"]),
        (vec!["model:hf/m2".into()], &true.into())
    );
    assert_eq!(place.json(&["evict", "--max-size", "16KiB"]).exits(0).event("summary")["entries"], 0);
    let ran = place.json(&["evict", "--max-size", "10KiB"]).exits(0);
    assert_eq!(keys(&ran, "evicted"), ["model:hf/m0"]);
    place.sound();
}

#[test]
fn what_is_pinned_leased_open_or_linked_outside_stays() {
    let place = place(5);
    place.json(&["pin", "d/0"]).exits(0);
    let mut lease = place.command(&["lease", "d/1", "--", "sh", "-c", "echo; read x"]);
    let mut lease = lease.stdin(Stdio::piped()).spawn().unwrap();
    until("the lease begins", || {
        place.json(&["why", "d/1"]).exits(0).lines()[0]["sessions"].as_array().is_some_and(|all| !all.is_empty())
    });
    let open = fs::File::open(place.blob(&digest(&noise(2, 8192)))).unwrap();
    place.json(&["get", "d/3", "outside", "--mode", "hardlink"]).exits(0);
    let plan = place.json(&["evict", "--free", "1GB", "--dry-run"]).exits(3);
    assert_eq!(keys(&plan, "would_evict"), ["model:hf/m4"]);
    let summary = plan.event("summary");
    assert_eq!((&summary["pinned"], &summary["held"], &summary["in_use"]), (&1.into(), &1.into(), &1.into()));
    for (entry, code) in [("model:hf/m0", 5), ("model:hf/m1", 4), ("model:hf/m2", 4)] {
        place.json(&["evict", entry]).exits(code);
        place.json(&["evict", entry, "--now"]).exits(code);
    }
    place.json(&["evict", "--free", "1GB"]).exits(3);
    assert_eq!(place.names().len(), 4);
    lease.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert!(lease.wait().unwrap().success());
    drop(open);
    let ran = place.json(&["evict", "--free", "1GB"]).exits(3);
    assert_eq!(keys(&ran, "evicted"), ["model:hf/m2", "model:hf/m1"], "a lease is a use");
    assert_eq!(fs::read(place.path("outside")).unwrap(), noise(3, 8192));
    place.sound();
}

#[test]
fn named_entries_go_into_the_trash_or_for_good() {
    let place = place(2);
    let plan = place.json(&["evict", "model:hf/m0", "--now", "--dry-run"]).exits(0);
    assert_eq!(keys(&plan, "would_evict"), ["model:hf/m0"]);
    place.json(&["evict", "model:hf/m0"]).exits(0);
    assert_eq!((place.names().len(), blobs(&place)), (1, 2));
    assert_eq!(place.json(&["trash", "ls"]).exits(0).event("entry")["rule"], "evict");
    place.json(&["undelete", "model:hf/m0"]).exits(0);
    let ran = place.json(&["evict", "model:hf/m0", "--now"]).exits(0).event("summary");
    assert_eq!((&ran["removed_blobs"], &ran["freed_bytes"]), (&1.into(), &plan.event("summary")["frees_bytes"]));
    assert_eq!(blobs(&place), 1);
    for arguments in [&["evict"][..], &["evict", "model:hf/m1", "--free", "1"], &["evict", "--now", "--free", "1"]] {
        place.larder(arguments).exits(2);
    }
    place.larder(&["evict", "model:hf/none"]).exits(1);
}

#[test]
fn limits_are_kept_when_something_is_added() {
    let place = place(3);
    place.json(&["config", "set", "limits.max_bytes", "25000"]).exits(0);
    let quiet = place.json(&["add", "d/0", "--name", "same"]).exits(0);
    assert_eq!(quiet.events("notice").len(), 0, "the limit is not passed");
    place.json(&["unlink", "same"]).exits(0);
    place.file("new", noise(9, 8192));
    let ran = place.json(&["add", "new"]).exits(0);
    assert!(ran.event("notice")["text"].as_str().unwrap().contains("limits.max_bytes"), "{}", ran.text());
    let names = place.names();
    assert!(names.contains_key("new") && !names.contains_key("d/0") && names.len() == 3, "{names:?}");
    place.file("large", noise(10, 40_000));
    let ran = place.json(&["add", "large"]).exits(0);
    assert!(ran.event("notice")["text"].as_str().unwrap().contains("still passed"), "{}", ran.text());
    assert_eq!(place.cat("large"), noise(10, 40_000), "what is added is kept");
    place.sound();
}

#[test]
fn limits_never_take_what_was_just_added() {
    let place = place(1);
    place.json(&["config", "set", "limits.max_bytes", "1"]).exits(0);
    let part = place.file("part", noise(20, 5_000));
    let done = place.json(&["finalise", "part", "--artifact", "x", "--url", "https://example.org/x"]).exits(0);
    assert!(done.event("notice")["text"].as_str().unwrap().contains("1 new"), "{}", done.text());
    assert!(!part.exists());
    assert_eq!(place.cat("x/x"), noise(20, 5_000));
    // The same bytes once more: the entry is not new, and its file goes away all the same.
    place.file("part", noise(20, 5_000));
    place.json(&["finalise", "part", "--artifact", "x", "--url", "https://example.org/x"]).exits(0);
    assert_eq!(place.cat("x/x"), noise(20, 5_000));
    // What a manifest says of the time does not make it older.
    place.file("adopted", noise(21, 5_000));
    let line = r#"{"artifact_id":"y","path":"adopted","registered_at":"2001-01-01T00:00:00Z"}"#;
    place.file("manifest", line);
    place.json(&["import-manifest", "--adopt", "manifest"]).exits(0);
    assert_eq!(keys(&place.json(&["search"]).exits(0), "entry"), ["document:y"]);
    place.sound();
}

/// Three versions of a model, and another model with a tag.
fn versions() -> Place {
    let place = Place::with_store();
    for (key, more) in [("model:hf/a@v1", ""), ("model:hf/a@v2", ""), ("model:hf/a@v3", ""), ("model:hf/b", "nightly")]
    {
        let file = place.file("file", key);
        let tag = ["--tag", more];
        let tag = if more.is_empty() { &[][..] } else { &tag[..] };
        place.json(&[&["register", key, file.to_str().unwrap()][..], tag].concat()).exits(0);
    }
    place
}

#[test]
fn retention_keeps_the_last_ones_and_what_is_pinned() {
    let place = versions();
    let plan = place.json(&["retention", "--keep-last", "1", "--dry-run"]).exits(0);
    assert_eq!(keys(&plan, "would_trash"), ["model:hf/a@v1", "model:hf/a@v2"]);
    let name = place.names().keys().find(|name| name.contains("@v1")).unwrap().clone();
    place.json(&["pin", &name]).exits(0);
    let ran = place.json(&["retention", "--keep-last", "1"]).exits(0);
    assert_eq!((keys(&ran, "trashed"), &ran.event("summary")["pinned"]), (vec!["model:hf/a@v2".into()], &1.into()));
    assert_eq!(place.json(&["trash", "ls"]).exits(0).event("entry")["rule"], "retention");
    place.json(&["undelete", "model:hf/a@v2"]).exits(0);
    let ran = place.json(&["retention", "--keep-last", "0", "--pattern", "night*", "--retire"]).exits(0);
    assert_eq!(keys(&ran, "retired"), ["model:hf/b"]);
    let ran = place.json(&["retention", "--older", "0s", "--state", "retired"]).exits(0);
    assert_eq!(keys(&ran, "trashed"), ["model:hf/b"]);
    let words = place.larder(&["retention", "--keep-last", "2", "--dry-run"]).exits(0).text();
    assert!(words.contains("stays      1 entry, pinned"), "{words}");
    place.sound();
}

#[test]
fn a_policy_that_keeps_nothing_is_wrong_usage_but_for_what_the_store_says() {
    let place = versions();
    place.larder(&["retention"]).exits(2);
    place.larder(&["retention", "--tag", "nightly"]).exits(2);
    place.larder(&["retention", "--keep-last", "1", "--trashed"]).exits(2);
    place.json(&["config", "set", "catalog.retention_days", "30"]).exits(0);
    assert_eq!(place.json(&["retention", "--dry-run"]).exits(0).event("summary")["entries"], 0);
    place.larder(&["retention", "--tag", "nightly"]).exits(2);
}

#[test]
fn where_one_of_several_is_refused_none_goes_and_the_preview_says_so() {
    let place = place(2);
    place.larder(&["pin", "d/1"]).exits(0);
    let all: Vec<String> = keys(&place.json(&["search"]).exits(0), "entry");
    for verb in ["delete", "evict"] {
        for flags in [&["--now", "--dry-run"][..], &["--now"], &["--dry-run"], &[]] {
            if verb == "delete" && !flags.contains(&"--now") {
                continue;
            }
            let call = [&[verb, all[0].as_str(), all[1].as_str()], flags].concat();
            let refused = place.json(&call).exits(5);
            assert_eq!(refused.event("error")["kind"], "pinned", "{call:?}");
            assert_eq!(keys(&place.json(&["search"]).exits(0), "entry"), all, "{call:?}");
        }
    }
}
