//! The catalog from outside: registered, found, changed, verified and deleted.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Child;

use crate::outside::{self, Place, Ran, digest, files, finish};
use serde_json::{Value, json};

const MODEL: &str = "model:hf/org/repo@v1";

fn place() -> Place {
    let place = Place::with_store();
    place.file("q4.gguf", "weights");
    place.file("x.pdf", "%PDF");
    place.file("shards/1.safetensors", "one");
    place.file("shards/sub/2.safetensors", "two");
    place
}

fn keys(ran: &Ran) -> Vec<String> {
    ran.events("entry").iter().map(|entry| entry["key"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_model_is_registered_with_its_file_and_the_same_key_is_the_same_entry() {
    let place = place();
    let expected = digest(b"weights");
    let words = [
        "register",
        MODEL,
        "q4.gguf",
        "--expect",
        &expected,
        "--tag",
        "chat",
        "--meta",
        "architecture=llama",
        "--note",
        "the first",
        "--title",
        "Repo",
        "--run",
        "r1",
        "--content-type",
        "application/gguf",
        "--source",
        "https://me:secret@example.org/x?token=abc",
        "--sbom",
        "https://example.org/sbom.json",
    ];
    let made = place.json(&words).exits(0).event("registered");
    assert_eq!(
        (&made["status"], &made["state"], &made["trust"]),
        (&json!("new"), &json!("active"), &json!("verified"))
    );
    assert_eq!(made["source"], "https://example.org/x");
    assert_eq!((&made["digest"], &made["metadata"]), (&json!(expected), &json!({"architecture": "llama"})));
    assert_eq!(made["evidence"]["by"], "register");
    assert_eq!(made["variants"][0]["alias"], "hf/org/repo@v1/q4.gguf");
    assert_eq!(place.cat("hf/org/repo@v1/q4.gguf"), b"weights");

    let shown = place.json(&["show", MODEL]).exits(0).event("entry");
    assert_eq!(
        (&shown["notes"], &shown["tags"], &shown["run_id"]),
        (&json!("the first"), &json!(["chat"]), &json!("r1"))
    );
    for target in [format!("entry:{}", made["id"].as_str().unwrap()), "model:hf/org/repo".into()] {
        assert_eq!(place.json(&["show", &target]).exits(0).event("entry"), shown, "{target}");
    }
    // Again, with another file: it stays as it is, and the file is not read.
    place.file("other", "other");
    let kept = place.json(&["register", MODEL, "other", "--tag", "new"]).exits(0).event("registered");
    assert_eq!((&kept["status"], &kept["tags"]), (&json!("kept"), &json!(["chat"])));
    assert_eq!(place.names().len(), 1);
    let refused = place.json(&["register", MODEL, "--if-registered", "refuse"]).exits(3);
    assert_eq!(refused.event("error")["kind"], "taken");
    let merged = place.json(&["register", MODEL, "--tag", "new", "--if-registered", "merge"]).exits(0);
    assert_eq!(merged.event("registered")["tags"], json!(["chat", "new"]));
    place.sound();
}

#[test]
fn a_directory_gives_a_variant_for_each_file_and_all_are_kept() {
    let place = place();
    let dry = place.json(&["register", MODEL, "shards", "--dry-run"]).exits(0).event("would_register");
    assert_eq!((&dry["status"], place.names().len()), (&json!("new"), 0));
    let made = place.json(&["register", MODEL, "shards"]).exits(0).event("registered");
    let names: Vec<&str> = made["variants"].as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["1.safetensors", "sub/2.safetensors"]);
    assert_eq!(
        (&made["state"], &made["trust"]),
        (&json!("active"), &json!("warned")),
        "nobody said what they should be"
    );
    place.json(&["rm", "hf"]).exits(0);
    place.json(&["gc", "--grace", "0s", "--yes-most"]).exits(0);
    assert!(place.blob(&digest(b"one")).exists() && place.blob(&digest(b"two")).exists(), "the entry keeps them");
    let found = place.json(&["where", &digest(b"one")]).exits(0).event("where");
    assert_eq!(found["entries"][0]["key"], MODEL);
}

#[test]
fn what_the_store_has_is_registered_by_name_or_digest() {
    let place = place();
    place.json(&["add", "q4.gguf", "shards"]).exits(0);
    let made = place.json(&["register", "model:local/a", "--blob", "q4.gguf"]).exits(0).event("registered");
    assert_eq!((&made["state"], &made["digest"]), (&json!("pending"), &json!(digest(b"weights"))));
    let by_digest = digest(b"weights");
    let words =
        ["register", "model:local/b", "--blob", &by_digest, "--variant", "q4", "--verify", "--expect", &by_digest];
    let made = place.json(&words).exits(0).event("registered");
    assert_eq!((&made["state"], &made["variants"][0]["name"]), (&json!("active"), &json!("q4")));
    let made = place.json(&["register", "model:local/c", "--blob", "shards"]).exits(0).event("registered");
    assert_eq!(made["variants"].as_array().unwrap().len(), 2);
    place.json(&["register", "model:local/d", "--blob", "nothing"]).exits(1);
    place.json(&["register", "model:local/d", "--blob", &digest(b"nothing")]).exits(1);
    assert_eq!(keys(&place.json(&["search", "--digest", &by_digest])), ["model:local/a", "model:local/b"]);
    // Without bytes, and with bytes elsewhere.
    let uri = format!("file://{}", place.path("x.pdf").display());
    place.json(&["register", "model:local/e", "--uri", &uri, "--expect", &digest(b"%PDF"), "--verify"]).exits(0);
    assert_eq!(place.json(&["show", "model:local/e"]).event("entry")["trust"], "verified");
    place.json(&["register", "model:local/f", "--uri", "https://h/x"]).exits(2);
    assert_eq!(place.json(&["show", "model:local/f"]).exits(1).event("error")["kind"], "not_found");
}

#[test]
fn bytes_other_than_expected_are_kept_and_the_entry_is_failed() {
    let place = place();
    let wrong = digest(b"something else");
    let ran = place.json(&["register", MODEL, "q4.gguf", "--expect", &wrong]).exits(3);
    assert_eq!(ran.event("registered")["state"], "failed");
    assert_eq!(place.cat("hf/org/repo@v1/q4.gguf"), b"weights");
    let verified = place.json(&["verify", MODEL]).exits(3);
    let entry = verified.event("verified_entry");
    assert_eq!((&entry["state"], &entry["variants"][0]["status"]), (&json!("failed"), &json!("mismatch")));
    assert_eq!(
        (&entry["variants"][0]["expected"], &entry["variants"][0]["found"]),
        (&json!(wrong), &json!(digest(b"weights")))
    );
    assert_eq!(verified.event("summary")["bad"], 1);
    // Whoever knows better says so, and it is verified anew.
    let right = digest(b"weights");
    let words = ["register", MODEL, "--blob", &right, "--expect", &right, "--if-registered", "merge", "--verify"];
    assert_eq!(place.json(&words).exits(0).event("registered")["state"], "active");
    place.json(&["verify", MODEL, "hf"]).exits(0);
    // A blob that went bad makes its entry fail.
    let blob = place.blob(&right);
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, "wEights").unwrap();
    assert_eq!(place.json(&["verify", MODEL]).exits(3).event("verified_entry")["state"], "failed");
    fs::remove_file(&blob).unwrap();
    let missing = place.json(&["verify", MODEL]).exits(3).event("verified_entry");
    assert_eq!(missing["variants"][0]["status"], "missing");
}

#[test]
fn a_document_is_told_by_artifact_url_and_resolver() {
    let place = place();
    let url = "https://user:pw@Example.org:443/a/b%20c.pdf?X-Amz-Signature=1";
    let words = ["register", "document:10.1/x", "x.pdf", "--url", url, "--resolver", "unpaywall"];
    let made = place.json(&words).exits(0).event("registered");
    assert_eq!(
        (&made["source_url"], &made["resolver"]),
        (&json!("https://example.org/a/b%20c.pdf"), &json!("unpaywall"))
    );
    assert_eq!(made["variants"][0]["alias"], "10.1/x/b c.pdf");
    let other = ["register", "document:10.1/x", "--url", url, "--resolver", "crossref"];
    assert_eq!(place.json(&other).exits(0).event("registered")["status"], "new");
    let signed_anew = [
        "register",
        "document:10.1/x",
        "--url",
        "https://example.org/a/b%20c.pdf?X-Amz-Signature=2",
        "--resolver",
        "crossref",
    ];
    assert_eq!(place.json(&signed_anew).exits(0).event("registered")["status"], "kept");
    // Two are called so: one has to be said.
    let ran = place.json(&["show", "document:10.1/x"]).exits(2);
    assert!(ran.err.contains("entry:"), "{}", ran.err);
    assert_eq!(keys(&place.json(&["search", "--resolver", "crossref"])).len(), 1);
    assert_eq!(keys(&place.json(&["search", "b%20C.PDF"])).len(), 2);
}

#[test]
fn search_filters_pages_and_prints_what_other_commands_take() {
    let place = place();
    for i in 0..25 {
        place
            .json(&["register", &format!("model:hf/org/m{i:02}"), "--tag", if i % 2 == 0 { "even" } else { "odd" }])
            .exits(0);
    }
    place.json(&["register", "model:file/other", "q4.gguf", "--note", "a needle here"]).exits(0);
    let count = |words: &[&str]| place.json(&[&["search"], words].concat()).exits(0).events("entry").len();
    assert_eq!((count(&[]), count(&["--tag", "even"]), count(&["--tag", "even", "--tag", "odd"])), (26, 13, 0));
    assert_eq!(
        (count(&["--state", "active"]), count(&["--state", "PENDING"]), count(&["--trust", "warned"])),
        (1, 25, 1)
    );
    assert_eq!((count(&["--provider", "hf"]), count(&["--kind", "document"]), count(&["NEEDLE"])), (25, 0, 1));
    assert_eq!(
        (count(&["--prefix", "model:hf/org/m1"]), count(&["model:hf/org/m?5"]), count(&["m0", "odd"])),
        (10, 2, 5)
    );
    assert_eq!((count(&["--min-size", "7"]), count(&["--max-size", "6"]), count(&["--older", "1h"])), (1, 25, 0));
    assert_eq!((count(&["--unused", "0s"]), count(&["--newer", "1h"]), count(&["--trashed"])), (26, 26, 0));
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let mut words = vec!["search".to_owned(), "--limit".into(), "7".into()];
        words.extend(after.iter().flat_map(|id| ["--after".to_owned(), format!("entry:{id}")]));
        let page = place.json(&words).exits(0);
        all.extend(keys(&page));
        let summary = page.event("summary");
        after = summary["last"].as_str().map(str::to_owned);
        if summary["more"] == false {
            break;
        }
    }
    assert_eq!(all, keys(&place.json(&["search"])));
    let ids = place.larder(&["search", "--ids", "--tag", "odd"]).exits(0).text();
    for id in ids.lines().take(2) {
        place.larder(&["show", id]).exits(0);
    }
    assert_eq!(ids.lines().count(), 12);
    let stats = place.json(&["catalog", "stats"]).exits(0).event("catalog");
    assert_eq!(
        (&stats["models"], &stats["pending"], &stats["active"], &stats["bytes"]),
        (&json!(26), &json!(25), &json!(1), &json!(7))
    );
    for wrong in [["--state", "gone"], ["--prefix", "hf/org"], ["--trust", "x"], ["--after", "x"]] {
        place.larder(&[&["search"], &wrong[..]].concat()).exits(2);
    }
}

#[test]
fn what_is_on_record_is_changed_by_hand() {
    let place = place();
    place.json(&["register", MODEL, "q4.gguf"]).exits(0);
    let changed = |words: &[&str]| place.json(words).exits(0).event("changed");
    assert_eq!(changed(&["tag", MODEL, "a", "b"])["tags"], json!(["a", "b"]));
    assert_eq!(changed(&["tag", MODEL, "c", "--remove", "a"])["tags"], json!(["b", "c"]));
    assert_eq!(changed(&["note", MODEL, "one\ntwo"])["notes"], "one\ntwo");
    assert_eq!(changed(&["note", MODEL, "--clear"])["notes"], "");
    assert_eq!(changed(&["meta", MODEL, "a=1", "b=x=y"])["metadata"], json!({"a": "1", "b": "x=y"}));
    assert_eq!(changed(&["meta", MODEL, "--unset", "a"])["metadata"], json!({"b": "x=y"}));
    assert_eq!(changed(&["touch", MODEL])["usage"]["count"], 1);
    assert_eq!(changed(&["set-state", MODEL, "retired"])["state"], "retired");
    assert_eq!(place.json(&["verify", MODEL]).exits(0).event("verified_entry")["state"], "retired");
    let illegal = place.json(&["set-state", MODEL, "active"]).exits(5);
    assert_eq!(illegal.event("error")["kind"], "illegal_transition");
    assert_eq!(changed(&["set-state", MODEL, "pending"])["state"], "pending");
    for wrong in [
        &["tag", MODEL][..],
        &["tag", MODEL, "a", "--remove", "a"],
        &["meta", MODEL, "a"],
        &["set-state", MODEL, "x"],
        &["note", MODEL],
    ] {
        place.larder(wrong).exits(2);
    }
    for unknown in [&["touch", "model:hf/no"][..], &["tag", "entry:00000000", "x"], &["forget", "document:no"]] {
        place.json(unknown).exits(1);
    }
}

#[test]
fn forgetting_takes_the_record_and_deleting_the_bytes() {
    let place = place();
    place.json(&["register", MODEL, "q4.gguf"]).exits(0);
    place.json(&["forget", MODEL, "--dry-run"]).exits(0);
    assert_eq!(keys(&place.json(&["search"])), [MODEL]);
    place.json(&["forget", MODEL]).exits(0);
    assert_eq!((keys(&place.json(&["search"])).len(), place.names().len()), (0, 1));

    place.json(&["register", MODEL, "q4.gguf"]).exits(0);
    let blob = place.blob(&digest(b"weights"));
    let would = place.json(&["delete", MODEL, "--now", "--dry-run"]).exits(0);
    let allocated = fs::metadata(&blob).unwrap().blocks() * 512;
    assert_eq!(would.event("would_delete")["frees_bytes"], allocated);
    // What is linked outside frees nothing.
    place.json(&["get", &digest(b"weights"), "linked", "--mode", "hardlink"]).exits(0);
    assert_eq!(place.json(&["delete", MODEL, "--now", "--dry-run"]).event("summary")["frees_bytes"], 0);
    fs::remove_file(place.path("linked")).unwrap();
    // Pinned, or leased: a typed reason, and nothing is done.
    place.json(&["pin", &digest(b"weights")]).exits(0);
    assert_eq!(place.json(&["delete", MODEL, "--now"]).exits(5).event("error")["kind"], "pinned");
    place.json(&["unpin", &digest(b"weights")]).exits(0);
    let larder = env!("CARGO_BIN_EXE_larder");
    let words = ["lease", &digest(b"weights"), "--", larder, "delete", MODEL, "--now", "--json"];
    assert_eq!(place.larder(&words).exits(4).event("error")["kind"], "busy");
    assert!(blob.exists());
    // Into the trash, and back.
    place.json(&["delete", MODEL]).exits(0);
    assert_eq!((keys(&place.json(&["search"])).len(), place.names().len(), blob.exists()), (0, 0, true));
    assert_eq!(place.json(&["touch", MODEL]).exits(1).event("error")["kind"], "not_found");
    place.json(&["undelete", MODEL]).exits(0);
    assert_eq!(place.names().len(), 1);
    // For good.
    let deleted = place.json(&["delete", MODEL, "--now"]).exits(0);
    assert_eq!(deleted.event("deleted")["names"], json!(["hf/org/repo@v1/q4.gguf"]));
    assert_eq!((&deleted.event("summary")["freed_bytes"], blob.exists()), (&json!(allocated), false));
    assert_eq!(place.json(&["delete", MODEL, "--now"]).exits(1).event("error")["kind"], "not_found");
    place.sound();
}

/// As whoever starts a worker does: from a reference to a file.
#[test]
fn an_entry_leads_to_its_files() {
    let place = place();
    place.json(&["register", MODEL, "q4.gguf"]).exits(0);
    let path = place.larder(&["path", MODEL]).exits(0).text();
    assert_eq!(fs::read(path.trim_end()).unwrap(), b"weights");
    assert_eq!(place.larder(&["path", "hf:org/repo"]).exits(0).text(), path);
    assert_eq!(place.larder(&["cat", MODEL]).exits(0).out, b"weights");
    fs::create_dir(place.path("out")).unwrap();
    place.json(&["get", MODEL, "out"]).exits(0);
    assert_eq!(fs::read(place.path("out/q4.gguf")).unwrap(), b"weights");
    assert!(place.json(&["show", MODEL]).event("entry")["usage"]["count"].as_u64().unwrap() >= 3);
    // Of several, one must be said.
    place.json(&["register", "model:hf/shards", "shards"]).exits(0);
    let several = place.json(&["path", "model:hf/shards"]).exits(1);
    assert!(several.err.contains("\"sub/2.safetensors\""), "{}", several.err);
    assert_eq!(place.larder(&["cat", "model:hf/shards", "--variant", "sub/2.safetensors"]).exits(0).out, b"two");
    place.json(&["cat", "model:hf/shards", "--variant", "3"]).exits(1);
    place.larder(&["path", &digest(b"weights"), "--variant", "x"]).exits(2);
    // Its name may be gone: the entry keeps the blob.
    place.json(&["rm", "hf/org"]).exits(0);
    assert_eq!(place.larder(&["cat", MODEL]).exits(0).out, b"weights");
    // What is elsewhere is told where it is, as long as it is there.
    let uri = format!("file://{}", place.path("x.pdf").display());
    place.json(&["register", "model:local/e", "--uri", &uri]).exits(0);
    assert_eq!(
        place.larder(&["path", "model:local/e"]).exits(0).text().trim_end(),
        place.path("x.pdf").to_str().unwrap()
    );
    place.json(&["cat", "model:local/e"]).exits(1);
    fs::remove_file(place.path("x.pdf")).unwrap();
    assert_eq!(place.json(&["path", "model:local/e"]).exits(1).event("error")["kind"], "not_found");
}

#[test]
fn any_file_is_held_against_a_digest_without_a_store() {
    let place = Place::new();
    let path = place.file("a", "bytes");
    let ran = place.json(&["verify", "--file", path.to_str().unwrap(), "--expect", &digest(b"bytes")]).exits(0);
    assert_eq!(ran.event("verified_file")["status"], "ok");
    let ran = place.json(&["verify", "--file", "a", "--expect", &digest(b"other")]).exits(3);
    let line = ran.event("verified_file");
    assert_eq!(line["status"], "mismatch");
    assert!(line["detail"].as_str().unwrap().contains(&digest(b"bytes")));
    place.json(&["verify", "--file", "nothing", "--expect", &digest(b"other")]).exits(1);
    place.larder(&["verify", "--file", "a"]).exits(2);
    place.larder(&["verify", "--expect", &digest(b"a")]).exits(2);
    assert!(!place.store().exists());
    // An entry that does not say where its bytes are.
    place.larder(&["init"]).exits(0);
    place.json(&["register", "model:x/m", "--expect", &digest(b"bytes")]).exits(0);
    assert_eq!(
        place.json(&["verify", "model:x/m"]).exits(3).event("verified_entry")["variants"][0]["status"],
        "unlocated"
    );
    place.json(&["verify", "model:x/m", "--file", "a"]).exits(0);
    assert_eq!(place.json(&["show", "model:x/m"]).event("entry")["trust"], "verified");
}

#[test]
fn eight_processes_register_the_same_keys_and_one_makes_each() {
    let place = place();
    for i in 0..8 {
        place.file(format!("model{i}"), format!("bytes {i}"));
    }
    for round in 0..4 {
        let key = format!("model:hf/contested@{round}");
        let start = |i: usize| -> Child {
            let (file, tag) = (format!("model{i}"), format!("by-{i}"));
            let name = format!("r{round}/{file}");
            place.command(&["--json", "register", &key, &file, "--tag", &tag, "--name", &name]).spawn().unwrap()
        };
        let children: Vec<Child> = (0..8).map(start).collect();
        let ran: Vec<Ran> = children.into_iter().map(|child| finish(child, "register").exits(0)).collect();
        let status: Vec<Value> = ran.iter().map(|ran| ran.event("registered")["status"].clone()).collect();
        assert_eq!(status.iter().filter(|status| **status == "new").count(), 1, "round {round}: {status:?}");
        let entry = place.json(&["show", &key]).exits(0).event("entry");
        // All of it is of one winner, and everybody was shown the same.
        let winner = status.iter().position(|status| status == "new").unwrap();
        assert_eq!(entry["tags"], json!([format!("by-{winner}")]));
        assert_eq!(entry["digest"], digest(format!("bytes {winner}").as_bytes()));
        for one in &ran {
            assert_eq!(one.event("registered")["digest"], entry["digest"]);
        }
    }
    // No update is lost: each adds a tag of its own to one entry.
    let start =
        |i: usize| place.command(&["--json", "tag", "model:hf/contested@0", &format!("more-{i}")]).spawn().unwrap();
    let children: Vec<Child> = (0..8).map(start).collect();
    children.into_iter().for_each(|child| _ = finish(child, "tag").exits(0));
    let start = |_: usize| place.command(&["--json", "touch", "model:hf/contested@0"]).spawn().unwrap();
    let children: Vec<Child> = (0..8).map(start).collect();
    children.into_iter().for_each(|child| _ = finish(child, "touch").exits(0));
    let entry = place.json(&["show", "model:hf/contested@0"]).event("entry");
    assert_eq!((entry["tags"].as_array().unwrap().len(), &entry["usage"]["count"]), (9, &json!(8)));
    assert_eq!(place.json(&["catalog", "stats"]).event("catalog")["models"], 4);
    place.sound();
}

#[test]
fn nothing_that_a_terminal_obeys_is_printed_and_nothing_hostile_is_half_registered() {
    let place = place();
    for (key, more) in [
        ("model:hf/a\u{1b}[2J", &[][..]),
        ("model:hf/a", &["--tag", "t\u{7}"]),
        ("model:hf/a", &["--title", "a\nb"]),
        ("model:hf/a", &["--meta", "k\u{1b}=v"]),
        ("model:hf/a", &["--note", "\u{1b}]0;x\u{7}"]),
        ("model:hf/a@b@c", &["--version", "x"]),
        ("model:h@f/a", &[]),
        ("model:hf/", &[]),
        ("document:", &[]),
        ("document:x", &["--url", "not a url"]),
        ("models/x", &[]),
        ("model:hf/a", &["--tag", ""]),
    ] {
        let ran = place.larder(&[&["register", key, "q4.gguf"], more].concat()).exits(2);
        assert!(!ran.err.contains(['\u{1b}', '\u{7}']), "{:?}", ran.err);
        assert_eq!((place.names().len(), keys(&place.json(&["search"])).len()), (0, 0), "{key:?} {more:?}");
    }
    let long = "x".repeat(20_000);
    place.larder(&["register", "model:hf/a", "q4.gguf", "--note", &long]).exits(2);
    assert_eq!(place.names().len(), 0, "what cannot be registered is not taken in");
    // What turns the direction of writing is text, and harmless where it is shown.
    for odd in ["e\u{301}", "模型", "🦙", "שלום", "a\u{202e}b", "\u{feff}x", "a b", "-x", "../../etc/passwd"] {
        let key = format!("model:hf/{odd}");
        place.json(&["register", &key, "q4.gguf", "--tag", &format!("t{odd}")]).exits(0);
        let shown = place.json(&["show", &key]).exits(0).event("entry");
        assert_eq!(shown["reference"], odd);
        for words in [&["show", &key][..], &["search"], &["verify", &key, "-v"], &["ls"]] {
            let ran = place.larder(words).exits(0);
            assert!(!ran.text().contains(['\u{202e}', '\u{feff}', '\u{1b}']), "{words:?}: {}", ran.text());
        }
    }
    assert!(!Path::new(&place.path("etc")).exists());
    place.sound();
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.larder(&["completions", shell]).exits(0).text();
        assert!(script.contains("import-manifest") && script.contains("if-registered"), "{shell}");
    }
    place.larder(&["completions", "tcsh"]).exits(2);
    assert!(place.larder(&["man"]).exits(0).text().starts_with(".ie"));
    let written = place.json(&["man", "pages"]).exits(0).event("man");
    let pages = files(&place.path("pages"));
    assert_eq!(written["pages"], pages.len());
    assert!(place.path("pages/larder-catalog-stats.1").exists() && place.path("pages/larder.1").exists());
    let page = fs::read_to_string(place.path("pages/larder-register.1")).unwrap();
    assert!(page.contains("larder\\-register") || page.contains("larder register"), "{page}");
    place.json(&["man", "pages"]).exits(0);
    place.json(&["man", "no/such/place"]).exits(1);
    assert!(!place.store().exists());
}

#[test]
fn what_is_no_file_is_not_verified_and_a_long_verification_stops_when_it_is_asked_to() {
    let place = Place::with_store();
    let fifo = place.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for (name, path) in [("fifo", fifo.to_str().unwrap()), ("zero", "/dev/zero"), ("directory", "/tmp")] {
        let key = format!("model:l/{name}");
        place.larder(&["register", &key, "--uri", &format!("file://{path}")]).exits(0);
        let seen = place.json(&["verify", &key]).exits(3).event("verified_entry");
        assert_eq!(
            (&seen["state"], &seen["variants"][0]["status"]),
            (&"pending".into(), &"unreadable".into()),
            "{seen}"
        );
        place.json(&["verify", "--file", path, "--expect", &digest(b"")]).exits(1);
    }
    let large = place.file("large", "");
    std::fs::OpenOptions::new().write(true).open(&large).unwrap().set_len(1 << 43).unwrap();
    place.larder(&["register", "model:l/large", "--uri", &format!("file://{}", large.display())]).exits(0);
    let child = place.command(&["--json", "verify", "model:l/large"]).spawn().unwrap();
    // Until it listens, a signal ends it as any program.
    let listens = format!("/proc/{}/status", child.id());
    loop {
        let status = std::fs::read_to_string(&listens).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        if u64::from_str_radix(caught, 16).unwrap() & 0b10 != 0 {
            break;
        }
        std::thread::yield_now();
    }
    outside::signal(child.id(), libc::SIGINT);
    let stopped = outside::finish(child, "verify").exits(1);
    assert_eq!(stopped.event("summary")["interrupted"], true);
    let entry = place.json(&["show", "model:l/large"]).exits(0).event("entry");
    assert_eq!((&entry["state"], &entry["evidence"]), (&"pending".into(), &().into()));
}

#[test]
fn other_bytes_are_not_what_was_verified_and_what_is_retired_stays_that() {
    let place = Place::with_store();
    for (file, bytes) in [("a", "1"), ("b", "2"), ("c", "3")] {
        place.file(file, bytes);
    }
    place.larder(&["add", "b"]).exits(0);
    place.larder(&["register", "model:l/x", "a", "--expect", &digest(b"1")]).exits(0);
    place.larder(&["register", "model:l/x", "--tag", "t", "--if-registered", "merge"]).exits(0);
    let entry = || place.json(&["show", "model:l/x"]).exits(0).event("entry");
    assert_eq!((&entry()["state"], &entry()["trust"]), (&"active".into(), &"verified".into()), "the same bytes");
    place.larder(&["register", "model:l/x", "--blob", "b", "--if-registered", "merge"]).exits(0);
    let changed = entry();
    assert_eq!((&changed["state"], &changed["trust"]), (&"pending".into(), &"unverified".into()));
    assert_eq!((&changed["evidence"], &changed["verified_at"]), (&().into(), &().into()));
    place.larder(&["verify", "model:l/x"]).exits(3);
    assert_eq!(entry()["state"], "failed", "what was expected of the first is expected still");
    // Another variant that is right does not make this one right.
    place.larder(&["register", "model:l/x", "c", "--variant", "other", "--if-registered", "merge"]).exits(3);
    assert_eq!(entry()["state"], "failed");
    place.larder(&["set-state", "model:l/x", "retired"]).exits(0);
    place.larder(&["register", "model:l/x", "a", "--name", "again", "--if-registered", "merge"]).exits(0);
    let retired = entry();
    assert_eq!((&retired["state"], &retired["digest"]), (&"retired".into(), &digest(b"1").into()));
}

#[test]
fn the_catalog_keeps_no_secret_wherever_it_stands() {
    let place = Place::with_store();
    let url = "https://bob:hunter2@e.org/x?token=hunter2";
    let told = format!("see {url} there");
    let key = format!("model:l/{url}");
    place.file("a", "1");
    let many = ["--title", url, "--note", &told, "--tag", url, "--run", url, "--meta"];
    let meta = format!("origin={url}");
    let more = ["--source", url, "--sbom", url, "--signature", url, "--content-type", url];
    let said = place.json(&[&["register", &key, "a"][..], &many, &[&meta], &more].concat()).exits(0);
    assert!(!said.text().contains("hunter2") && !said.err.contains("hunter2"), "{}", said.text());
    place.json(&["show", &key]).exits(0);
    place.json(&["register", &format!("document:{url}"), "--url", url, "--resolver", url]).exits(0);
    place.json(&["note", &key, &told]).exits(0);
    place.json(&["tag", &key, url]).exits(0);
    place.json(&["meta", &key, &meta]).exits(0);
    // Lines as larder writes them, and as anybody else does.
    let fields = format!(
        "\"artifact_id\":\"w\",\"source_url\":\"{url}\",\"resolver\":\"{url}\",\"source\":\"{url}\",\"sbom\":\"{url}\",\
         \"signature\":\"{url}\",\"notes\":\"{told}\",\"run_id\":\"{url}\",\"metadata\":{{\"u\":\"{url}\"}},\
         \"tags\":[\"{url}\"],\"title\":\"{url}\",\"else\":\"{url}\""
    );
    let lines = format!(
        "{{\"schema\":1,\"event\":\"entry\",\"kind\":\"document\",{fields}}}\n{{{fields},\"version\":\"2\"}}\n"
    );
    place.fed(&["import-manifest", "-"], lines.as_bytes()).exits(0);
    for call in [&["search"][..], &["search", "-v"], &["export-manifest"], &["search", "--json"], &["ls", "-l"]] {
        let ran = place.larder(call).exits(0);
        assert!(!ran.text().contains("hunter2") && !ran.err.contains("hunter2"), "{call:?}: {}", ran.text());
    }
    assert_eq!(place.larder(&["export-manifest"]).exits(0).text().lines().count(), 4);
    for path in outside::files(&place.store()) {
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"), "{}", path.display());
    }
    // What is exported is read back as it is.
    let exported = place.larder(&["export-manifest"]).exits(0).out;
    let other = place.path("other");
    let into = |args: &[&str]| place.fed(&[&["--store", other.to_str().unwrap()], args].concat(), &exported).exits(0);
    into(&["import-manifest", "-"]);
    assert_eq!(into(&["export-manifest"]).out, exported);
}

#[test]
fn an_entry_is_held_against_a_digest_that_is_given_and_a_file_that_was_mended_is_right_again() {
    let place = Place::with_store();
    let file = place.file("f", "wrong");
    place.larder(&["register", "model:l/x", "--uri", &format!("file://{}", file.display())]).exits(0);
    let right = digest(b"right");
    let seen = place.json(&["verify", "model:l/x", "--expect", &right]).exits(3).event("verified_entry");
    assert_eq!((&seen["state"], &seen["variants"][0]["status"]), (&json!("failed"), &json!("mismatch")));
    assert_eq!(
        (&seen["variants"][0]["expected"], &seen["variants"][0]["found"]),
        (&json!(right), &json!(digest(b"wrong")))
    );
    fs::write(&file, "right").unwrap();
    place.larder(&["verify", "model:l/x"]).exits(0);
    let entry = place.json(&["show", "model:l/x"]).exits(0).event("entry");
    assert_eq!((&entry["state"], &entry["trust"]), (&json!("active"), &json!("verified")));
    assert_eq!((&entry["digest"], &entry["variants"][0]["expected"]), (&json!(right), &json!(right)));
    assert_eq!(keys(&place.json(&["search", "--digest", &right]).exits(0)), ["model:l/x"]);
    for wrong in [&["verify", "--expect", &right][..], &["verify", "--file", "f"], &["verify", "x", "--expect", &right]]
    {
        place.json(wrong).exits(2);
    }
    place.file("d/1", "1");
    place.file("d/2", "2");
    place.larder(&["register", "model:l/two", "d"]).exits(0);
    place.json(&["verify", "model:l/two", "--expect", &right]).exits(2);
}
