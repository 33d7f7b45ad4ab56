//! `larder finalise` from outside.

use std::fs;

use crate::outside::{self, Place, digest};
use serde_json::{Value, json};

const URL: &str = "https://example.org/files/paper.pdf";

fn finalise(place: &Place, file: &str, more: &[&str]) -> outside::Ran {
    place
        .json(&[&["finalise", file, "--artifact", "10.1000/x", "--url", URL, "--resolver", "unpaywall"], more].concat())
}

#[test]
fn a_download_is_kept_named_and_registered() {
    let place = Place::new();
    let file = place.file("x.part", "a paper");
    let more = ["--content-type", "application/pdf", "--run", "r1", "--tag", "t", "--meta", "pages=3"];
    let done = finalise(&place, "x.part", &more).exits(0).event("finalised");
    assert_eq!((&done["digest"], &done["status"]), (&digest(b"a paper").into(), &"new".into()));
    assert_eq!(done["uri"], format!("larder:{}", digest(b"a paper")));
    assert_eq!(done["name"], "10.1000/x/paper.pdf");
    assert_eq!(fs::read(done["path"].as_str().unwrap()).unwrap(), b"a paper");
    assert_eq!((&done["entry_new"], &done["state"], &done["left"]), (&true.into(), &"active".into(), &Value::Null));
    assert!(!file.exists(), "the temporary file is gone");
    let shown = place.json(&["show", &digest(b"a paper")]).exits(0).event("blob");
    assert_eq!(shown["entries"][0]["key"], "document:10.1000/x");
    // The same bytes from somewhere else are the same blob, and another entry.
    place.file("y.part", "a paper");
    let twice = place.json(&["finalise", "y.part", "--artifact", "y", "--url", "https://example.org/y?token=s3cr3t"]);
    let twice = twice.exits(0).event("finalised");
    assert_eq!((&twice["status"], &twice["entry_new"]), (&"dedup".into(), &true.into()));
    let journal = place.json(&["debug", "frames"]).exits(0).text();
    assert!(!journal.contains("s3cr3t"));
}

#[test]
fn what_it_does_is_said_by_the_options_of_the_store() {
    let place = Place::with_store();
    place.file("x.part", "a paper");
    let done = finalise(&place, "x.part", &["--set", "storage.layout=cas", "--leave"]).exits(0).event("finalised");
    assert_eq!((&done["name"], &done["verified"]), (&Value::Null, &Value::Null));
    assert!(done["path"].as_str().unwrap().contains("/sha256/") && place.path("x.part").exists());
    let read_back =
        finalise(&place, "x.part", &["--set", "catalog.verify_on_register=true"]).exits(0).event("finalised");
    assert_eq!(read_back["verified"], true);
    place.file("z.part", "without a catalog");
    let alone = finalise(&place, "z.part", &["--set", "catalog.enabled=false"]).exits(0).event("finalised");
    assert_eq!((&alone["entry"], &alone["name"].is_string()), (&Value::Null, &true));
    assert_eq!(place.json(&["ls"]).exits(0).names("name").len(), 2);
}

#[test]
fn what_goes_wrong_leaves_the_file_where_it_was() {
    let place = Place::with_store();
    place.file("a.part", "one");
    finalise(&place, "a.part", &[]).exits(0);
    let file = place.file("b.part", "two");
    for what in ["keep", "refuse"] {
        assert_eq!(finalise(&place, "b.part", &["--if-registered", what]).exits(1).event("error")["kind"], "taken");
    }
    finalise(&place, "b.part", &["--name", "../climbs"]).exits(2);
    finalise(&place, "none.part", &[]).exits(1);
    place.json(&["finalise", "b.part"]).exits(2);
    assert_eq!(fs::read(&file).unwrap(), b"two");
    // Other bytes than expected are a finding, and kept to be looked at.
    let wrong = finalise(&place, "b.part", &["--expect", &digest(b"three")]).exits(3).event("finalised");
    assert_eq!((&wrong["state"], &wrong["name"]), (&"failed".into(), &Value::Null));
    assert_eq!(fs::read(wrong["path"].as_str().unwrap()).unwrap(), b"two");
    // What was expected once is expected the next time, too.
    place.file("c.part", "four");
    let wrong = finalise(&place, "c.part", &[]).exits(3).event("finalised");
    assert_eq!((&wrong["state"], &wrong["name"]), (&"failed".into(), &Value::Null));
    place.file("d.part", "three");
    let right = finalise(&place, "d.part", &[]).exits(0).event("finalised");
    assert_eq!((&right["state"], &right["trust"]), (&"active".into(), &"verified".into()));
    assert!(right["name"].is_string());
}

#[test]
fn a_model_is_finalised_file_by_file() {
    let place = Place::new();
    let shards = [("1.part", "m-1.gguf"), ("2.part", "m-2.gguf")];
    for (file, called) in shards {
        place.file(file, called);
        let url = format!("https://example.org/{called}");
        let done = place.json(&["finalise", file, "--model", "hf:org/repo@v1", "--variant", called, "--url", &url]);
        let done = done.exits(0).event("finalised");
        assert_eq!(
            (&done["key"], &done["name"]),
            (&json!("model:hf/org/repo@v1"), &json!(format!("hf/org/repo/v1/{called}")))
        );
    }
    assert_eq!(place.json(&["stats"]).exits(0).event("stats")["blobs"], 2);
    place.file("3.part", "3");
    place.json(&["finalise", "3.part", "--model", "model:ollama/llama3", "--url", "x"]).exits(0);
    place.json(&["finalise", "4.part", "--model", "model:nothing"]).exits(2);
}
