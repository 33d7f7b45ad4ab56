//! What people did with three earlier catalogs, as scenarios: a catalog of models in a directory with a `catalog.json`, one
//! of models in SQLite, and the catalog and storage index of a document downloader. Each says what is given, what is done,
//! and what must be so then.

use std::fs;

use crate::outside::{Place, digest, files};
use serde_json::{Value, json};

/// The entry that `show` tells.
fn shown(place: &Place, entry: &str) -> Value {
    place.json(&["show", entry]).exits(0).event("entry")
}

fn keys(place: &Place, words: &[&str]) -> Vec<String> {
    let ran = place.json(&[&["search"], words].concat()).exits(0);
    ran.events("entry").iter().map(|entry| entry["key"].as_str().unwrap().to_owned()).collect()
}

fn state(entry: &Value) -> (&str, &str) {
    (entry["state"].as_str().unwrap(), entry["trust"].as_str().unwrap())
}

/// A catalog of models, with a life of their own (R43 to R45, R73 to R79, R82).
#[test]
fn a_model_is_registered_downloaded_verified_and_retired() {
    // Given a store, and a model that is known before its file is there.
    let place = Place::with_store();
    let expected = digest(b"the weights");
    let made = place.json(&[
        "register",
        "model:huggingface/meta-llama/Llama-3.1-8B-Instruct",
        "--title",
        "Llama 3.1 8B Instruct",
        "--source",
        "https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct",
        "--expect",
        &expected,
    ]);
    let model = made.exits(0).event("registered")["key"].as_str().unwrap().to_owned();
    // Then it is pending, and nothing shows that it can be trusted.
    assert_eq!(state(&shown(&place, &model)), ("pending", "unverified"));
    assert_eq!(keys(&place, &["--state", "pending"]), std::slice::from_ref(&model));

    // When the provisioner has downloaded it, and finalises it,
    place.file("download.part", "the weights");
    place.json(&["finalise", "download.part", "--model", &model, "--expect", &expected]).exits(0);
    // then its digest matches, it is active, and its path can be handed to whoever runs it.
    let entry = shown(&place, &model);
    assert_eq!(state(&entry), ("active", "verified"));
    assert_eq!(entry["evidence"]["found"], json!(expected));
    assert_ne!(entry["verified_at"], Value::Null);
    let path = place.larder(&["path", &model]).exits(0).text();
    assert_eq!(fs::read(path.trim_end()).unwrap(), b"the weights");
    assert_eq!(keys(&place, &["--state", "active"]), std::slice::from_ref(&model));

    // When another download of the same model is cut off,
    place.file("other.part", "the wei");
    let other = "model:huggingface/meta-llama/Llama-3.1-70B-Instruct";
    place.json(&["finalise", "other.part", "--model", other, "--expect", &expected]).exits(3);
    // then that one is failed, its bytes are kept for inspection, and the good one is untouched.
    assert_eq!(state(&shown(&place, other)).0, "failed");
    assert!(place.blob(&digest(b"the wei")).exists());
    assert_eq!(state(&shown(&place, &model)), ("active", "verified"));

    // When it is no longer wanted, it is retired by hand; no hand makes it active again, only verification does.
    place.json(&["set-state", &model, "retired"]).exits(0);
    assert_eq!(keys(&place, &["--state", "retired"]), std::slice::from_ref(&model));
    place.json(&["set-state", &model, "active"]).exits(5);
    place.json(&["set-state", &model, "pending"]).exits(0);
    place.json(&["verify", &model]).exits(0);
    assert_eq!(state(&shown(&place, &model)), ("active", "verified"));
}

/// The flat directory of models with its `catalog.json` (R5, R61).
#[test]
fn a_directory_of_models_with_its_catalog_is_taken_over() {
    // Given a directory as catalog-core kept it.
    let place = Place::new();
    place.file("models/mistral-7b.gguf", "mistral");
    let catalog = json!({"models": [{
        "id": "mistral-7b",
        "name": "Mistral 7B",
        "source": "https://huggingface.co/mistralai/Mistral-7B",
        "digest": digest(b"mistral").trim_start_matches("sha256:"),
        "state": "Active",
        "registered_at": "2025-10-01T00:00:00Z",
        "verified_at": "2025-10-01T00:05:00Z",
    }]});
    place.file("models/catalog.json", catalog.to_string());
    // When it is imported with its files,
    place.json(&["import-manifest", "models/catalog.json", "--adopt"]).exits(0);
    // then its entry is there with its state and times, its bytes are hashed and kept once, and the directory still works.
    let found = keys(&place, &["mistral"]);
    assert_eq!(found.len(), 1, "{found:?}");
    let entry = shown(&place, &found[0]);
    assert_eq!((state(&entry), &entry["registered_at"]), (("active", "verified"), &json!("2025-10-01T00:00:00Z")));
    assert_eq!(fs::read(place.path("models/mistral-7b.gguf")).unwrap(), b"mistral");
    assert!(place.blob(&digest(b"mistral")).exists());
}

/// The model catalog of a provisioner (R46, R47, R89 to R92, R103, R166).
#[test]
fn a_model_is_looked_for_downloaded_once_and_found_from_then_on() {
    // Given a store in which a provisioner looks for a model,
    let place = Place::with_store();
    let model = "hf:TheBloke/TinyLlama";
    // then there is none.
    assert_eq!(place.json(&["path", model]).exits(1).event("error")["kind"], "not_found");
    // When it downloads and registers it,
    place.file("tiny.gguf", "tiny weights");
    place.json(&["register", model, "tiny.gguf", "--move"]).exits(0);
    // then the next who looks finds its file, and the download is not in the way any more.
    let path = place.larder(&["path", model]).exits(0).text();
    assert_eq!(fs::read(path.trim_end()).unwrap(), b"tiny weights");
    assert!(!place.path("tiny.gguf").exists());
    let entry = shown(&place, model);
    assert_eq!((&entry["provider"], &entry["reference"]), (&json!("hf"), &json!("TheBloke/TinyLlama")));
    assert_eq!(
        (&entry["size_bytes"], &entry["usage"]["count"]),
        (&json!(12), &json!(1)),
        "a worker was given its path"
    );
    // And a second revision of it lives beside the first.
    place.file("tiny2.gguf", "better weights");
    place.json(&["register", "hf:TheBloke/TinyLlama@v2", "tiny2.gguf"]).exits(0);
    assert_eq!(keys(&place, &["--provider", "hf"]).len(), 2);
    let totals = place.json(&["catalog", "stats"]).exits(0);
    assert_eq!(totals.event("catalog")["bytes"], json!(12 + 14));

    // When the record of the first is removed, its file stays;
    place.json(&["forget", "model:hf/TheBloke/TinyLlama@"]).exits(0);
    assert_eq!(keys(&place, &["--provider", "hf"]), ["model:hf/TheBloke/TinyLlama@v2"]);
    assert_eq!(fs::read(path.trim_end()).unwrap(), b"tiny weights");
    // and when both record and file of the second are deleted, which is another act, both are gone.
    place.json(&["delete", "hf:TheBloke/TinyLlama@v2", "--now"]).exits(0);
    assert!(!place.blob(&digest(b"better weights")).exists());
    assert_eq!(place.json(&["delete", "hf:TheBloke/TinyLlama@v2"]).exits(1).event("error")["kind"], "not_found");
    place.sound();
}

/// A file that is deleted behind the catalog's back is found (R62).
#[test]
fn a_file_that_somebody_deleted_is_missed() {
    // Given a registered model,
    let place = Place::with_store();
    place.file("m.gguf", "weights");
    place.json(&["register", "hf:org/m", "m.gguf", "--move"]).exits(0);
    // when somebody deletes its file from the store by hand,
    fs::remove_file(place.blob(&digest(b"weights"))).unwrap();
    fs::remove_file(place.store().join("names/hf/org/m/m.gguf")).unwrap();
    // then the next check says so.
    let checked = place.json(&["check"]).exits(3);
    assert!(checked.events("finding").iter().any(|finding| finding["code"] == "blob-missing"), "{}", checked.text());
    assert_eq!(place.json(&["verify", "hf:org/m"]).exits(3).code, 3);
}

/// The pipeline of a document downloader: resolver, finalise, catalog, storage (R15, R19 to R28, R48 to R52, R60).
#[test]
fn documents_are_finalised_deduplicated_and_found_by_artifact_digest_and_run() {
    // Given a manifest run that downloads the same paper from two places.
    let place = Place::with_store();
    let finalise = |file: &str, artifact: &str, url: &str, resolver: &str| {
        let words = ["finalise", file, "--artifact", artifact, "--url", url, "--resolver", resolver, "--run", "run-7"];
        place.json(&[&words[..], &["--content-type", "application/pdf"]].concat()).exits(0).event("finalised")
    };
    place.file("1.part", "%PDF the paper");
    place.file("2.part", "%PDF the paper");
    // When both are finalised,
    let first = finalise("1.part", "W1", "https://a.org/p/paper.pdf?token=secret", "unpaywall");
    let second = finalise("2.part", "W2", "https://b.org/other.pdf", "crossref");
    // then the bytes are kept once, under one digest, and both are documents of their own.
    assert_eq!((&first["status"], &second["status"]), (&json!("new"), &json!("dedup")));
    assert_eq!(first["digest"], second["digest"]);
    assert_eq!(files(&place.store().join("sha256")).len(), 1);
    assert!(!place.path("1.part").exists() && !place.path("2.part").exists());
    // Each is found by its artifact, by the digest and by the run.
    let entry = shown(&place, "document:W1");
    assert_eq!((&entry["artifact_id"], &entry["resolver"]), (&json!("W1"), &json!("unpaywall")));
    assert_eq!((&entry["source_url"], &entry["run_id"]), (&json!("https://a.org/p/paper.pdf"), &json!("run-7")));
    assert_eq!(entry["variants"][0]["uri"], format!("larder:{}", digest(b"%PDF the paper")));
    let found = place.json(&["where", &digest(b"%PDF the paper")]).exits(0).event("where");
    assert_eq!(found["entries"].as_array().unwrap().len(), 2);
    assert_eq!(keys(&place, &["--run", "run-7"]).len(), 2);

    // When the run is repeated, nothing changes and nothing is kept twice.
    place.file("1.part", "%PDF the paper");
    finalise("1.part", "W1", "https://a.org/p/paper.pdf?token=another", "unpaywall");
    assert_eq!(keys(&place, &["--kind", "document"]).len(), 2);
    assert_eq!(files(&place.store().join("sha256")).len(), 1);

    // When the text of the paper is added, it is a variant of the same document.
    place.file("1.txt", "the text");
    let words =
        ["finalise", "1.txt", "--artifact", "W1", "--url", "https://a.org/p/paper.pdf", "--resolver", "unpaywall"];
    place.json(&[&words[..], &["--variant", "text", "--content-type", "text/plain"]].concat()).exits(0);
    let variants = shown(&place, "document:W1")["variants"].clone();
    assert_eq!(variants.as_array().unwrap().iter().map(|v| &v["name"]).collect::<Vec<_>>(), ["", "text"]);
    place.sound();
}

/// The catalog starts disabled, is filled later, and enforces retention (R25, R118, R123, R126, R141 to R144).
#[test]
fn a_downloader_without_a_catalog_gets_one_later() {
    // Given a store whose catalog is left out, and a downloader that keeps its manifest.
    let place = Place::with_store();
    place.json(&["config", "set", "catalog.enabled", "false"]).exits(0);
    place.file("a.part", "a paper");
    let words = ["finalise", "a.part", "--artifact", "A", "--url", "https://h/a.pdf", "--resolver", "r"];
    let finalised = place.json(&words).exits(0).event("finalised");
    // Then its file is kept all the same, and no entry is made.
    assert_eq!(fs::read(finalised["path"].as_str().unwrap()).unwrap(), b"a paper");
    assert!(keys(&place, &[]).is_empty());

    // When the catalog is enabled and filled from the manifest,
    place.json(&["config", "unset", "catalog.enabled"]).exits(0);
    let line = |artifact: &str, when: &str| {
        json!({"status": "success", "artifact_id": artifact, "url": format!("https://h/{artifact}.pdf"), "resolver": "r",
               "sha256": digest(b"a paper"), "created_at": when})
        .to_string()
    };
    let failed = json!({"status": "http_error", "artifact_id": "C", "url": "https://h/c.pdf", "resolver": "r"});
    let lines = [line("A", "2020-01-01T00:00:00Z"), failed.to_string(), line("B", "2500-01-01T00:00:00Z")];
    place.file("manifest.jsonl", lines.join("\n"));
    // then every success is registered, a second time changes nothing,
    for registered in [2, 0] {
        let summary = place.json(&["import-manifest", "manifest.jsonl"]).exits(0).event("summary");
        assert_eq!((&summary["registered"], &summary["skipped"]), (&json!(registered), &json!(1)));
    }
    // and when documents are kept for a year alone, a preview says which one is too old, and it goes into the trash.
    let dry = place.json(&["retention", "--keep-within", "365d", "--dry-run"]).exits(0);
    assert_eq!(keys(&place, &[]).len(), 2, "{}", dry.text());
    place.json(&["retention", "--keep-within", "365d"]).exits(0);
    assert_eq!(keys(&place, &[]), ["document:B"]);
    place.json(&["undelete", "document:A"]).exits(0);
    assert_eq!(keys(&place, &[]).len(), 2);
}

/// Orphans: found, previewed, collected after their time (R119, R122 to R129).
#[test]
fn what_nothing_refers_to_is_collected_after_a_preview() {
    // Given a document that is forgotten and whose name is taken away.
    let place = Place::with_store();
    place.file("a.part", "a paper");
    place.json(&["finalise", "a.part", "--artifact", "A", "--url", "https://h/a.pdf", "--resolver", "r"]).exits(0);
    place.json(&["forget", "document:A"]).exits(0);
    place.json(&["rm", "A"]).exits(0);
    // When a collection is previewed, nothing goes; within its grace nothing does, either;
    let blob = place.blob(&digest(b"a paper"));
    place.json(&["gc", "--grace", "0s", "--dry-run"]).exits(0);
    place.json(&["gc"]).exits(0);
    assert!(blob.exists());
    // and after that, it is removed and told.
    let collected = place.json(&["gc", "--grace", "0s"]).exits(0).event("summary");
    assert_eq!(collected["removed_blobs"], json!(1));
    assert!(!blob.exists());
}
