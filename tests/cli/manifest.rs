//! Manifests from outside: in from files, pipes and other catalogs; out again; broken off and gone on with.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;

use crate::outside::{self, Place, Running, digest, finish, noise};
use serde_json::{Value, json};

/// A line of a downloader about the file at `path`.
fn line(artifact: &str, path: &str, bytes: &[u8]) -> String {
    let url = format!("https://example.org/{artifact}.pdf");
    let hex = digest(bytes)["sha256:".len()..].to_uppercase();
    json!({
        "timestamp": "2025-10-21T08:00:00Z", "artifact_id": artifact, "url": url, "resolver": "unpaywall",
        "status": "success", "content_type": "application/pdf", "bytes": bytes.len(), "sha256": hex, "path": path,
        "run_id": "r1", "attempt": 2,
    })
    .to_string()
}

fn entries(place: &Place, store: &str) -> BTreeMap<String, Value> {
    let ran = place.json(&["--store", store, "search"]).exits(0);
    ran.events("entry").into_iter().map(|entry| (entry["key"].to_string(), entry)).collect()
}

#[test]
fn a_manifest_is_imported_and_its_files_taken_in() {
    let place = Place::with_store();
    place.file("run/pdf/a.pdf", "aaa");
    place.file("run/pdf/b.pdf", "bbb");
    let failed = json!({"artifact_id": "x", "status": "error", "url": "https://u:pw@h/x"}).to_string();
    let lines = [line("a", "pdf/a.pdf", b"aaa"), failed, "{\"artifact_id\"".into(), line("b", "pdf/b.pdf", b"xxx")];
    place.file("run/manifest.jsonl", lines.join("\n"));
    let dry = place.json(&["import-manifest", "run/manifest.jsonl", "--adopt", "--dry-run"]).exits(3).event("summary");
    assert_eq!(
        (&dry["registered"], &dry["skipped"], &dry["bad"], &dry["dry_run"]),
        (&json!(2), &json!(1), &json!(1), &json!(true))
    );
    assert!(place.names().is_empty());

    let ran = place.json(&["import-manifest", "run/manifest.jsonl", "--adopt"]).exits(3);
    let summary = ran.event("summary");
    for (field, count) in
        [("lines", 4), ("registered", 2), ("skipped", 1), ("bad", 1), ("mismatched", 1), ("files", 2), ("bytes", 6)]
    {
        assert_eq!(summary[field], count, "{field} in {summary}");
    }
    let told: Vec<Value> = ran.events("bad_line");
    assert!(told.iter().any(|bad| bad["line"] == 3 && bad["kind"] == "line"), "{told:?}");
    assert!(told.iter().any(|bad| bad["line"] == 4 && bad["kind"] == "mismatch"), "{told:?}");
    assert_eq!(ran.events("imported").len(), 2);
    assert_eq!(ran.event("skipped_line")["line"], 2);
    assert_eq!(place.cat("a/a.pdf"), b"aaa");
    let (source, kept) = (place.path("run/pdf/a.pdf"), place.blob(&digest(b"aaa")));
    assert_eq!(fs::metadata(source).unwrap().ino(), fs::metadata(kept).unwrap().ino(), "by link");
    let entry = place.json(&["show", "document:a"]).exits(0).event("entry");
    assert_eq!(
        (&entry["state"], &entry["trust"], &entry["run_id"]),
        (&json!("active"), &json!("verified"), &json!("r1"))
    );
    assert_eq!(entry["metadata"], json!({"attempt": "2"}));
    assert_eq!(entry["registered_at"], "2025-10-21T08:00:00Z");
    assert_eq!(place.json(&["show", "document:b"]).event("entry")["state"], "failed");
    assert_eq!(place.json(&["import-manifest", "run/manifest.jsonl", "--adopt"]).event("summary")["kept"], 2);
    // In words, the trouble is on standard error with its line.
    let words = place.larder(&["import-manifest", "run/manifest.jsonl"]).exits(3);
    assert!(words.err.contains("bad line: 3: line: "), "{}", words.err);
    assert!(words.text().contains("kept       2"), "{}", words.text());
    place.sound();
}

#[test]
fn what_is_exported_is_imported_elsewhere_and_is_equal() {
    let place = Place::with_store();
    place.file("q4.gguf", "weights");
    place.file("caf\u{e9}", "x");
    place.file("run/a", "aaa");
    place.file("m.jsonl", line("a", "run/a", b"other"));
    place.json(&["import-manifest", "m.jsonl", "--hash"]).exits(3);
    let words = [
        "register",
        "model:hf/org/repo@v1",
        "q4.gguf",
        "--expect",
        &digest(b"weights"),
        "--tag",
        "a b",
        "--tag",
        "ü",
        "--meta",
        "k=\"v\"\\",
        "--note",
        "one\ntwo\t\u{202e}",
        "--source",
        "https://h/x",
        "--sbom",
        "https://h/s",
    ];
    place.json(&words).exits(0);
    place.json(&["touch", "model:hf/org/repo"]).exits(0);
    place.json(&["register", "model:local/none"]).exits(0);
    place.json(&["set-state", "model:local/none", "retired"]).exits(0);
    place.json(&["export-manifest", "-o", "out.jsonl"]).exits(0);
    let piped = place.larder(&["export-manifest"]).exits(0);
    assert_eq!(fs::read(place.path("out.jsonl")).unwrap(), piped.out);

    place.json(&["--store", "other", "init"]).exits(0);
    let imported = place.fed(&["--json", "--store", "other", "import-manifest", "-"], &piped.out).exits(0);
    assert_eq!(imported.event("summary")["registered"], 3);
    assert_eq!(entries(&place, "other"), entries(&place, "store"));
    assert_eq!(place.larder(&["--store", "other", "export-manifest"]).exits(0).out, piped.out);
    // What search prints is as good, and a part can be exported.
    place.json(&["--store", "third", "init"]).exits(0);
    let found = place.json(&["search", "--kind", "model"]).exits(0);
    let imported = place.fed(&["--json", "--store", "third", "import-manifest", "-"], &found.out).exits(0);
    assert_eq!(
        (&imported.event("summary")["registered"], &imported.event("summary")["skipped"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(place.larder(&["export-manifest", "--state", "failed"]).exits(0).text().lines().count(), 1);
    // A file that is there is replaced once the new one is whole; where it cannot be, it stays.
    place.json(&["export-manifest", "-o", "no/such/place"]).exits(1);
    place.json(&["export-manifest", "-o", "out.jsonl"]).exits(0);
    let left = fs::read_dir(place.path("."))
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().ends_with(".tmp"));
    assert_eq!(left.count(), 0);
    place.sound();
}

#[test]
fn a_catalog_json_and_the_models_beside_it_are_taken_in() {
    let place = Place::with_store();
    place.file("models/llama.gguf", "weights");
    let models = json!({"models": [
        {"id": "llama", "name": "Llama", "source": "https://huggingface.co/x", "digest": &digest(b"weights")["sha256:".len()..],
         "state": "Active", "registered_at": "2025-10-01T00:00:00Z", "verified_at": "2025-10-01T00:05:00Z"},
        {"id": "gone", "name": "Gone", "source": "https://h/y", "digest": null, "state": "Pending",
         "registered_at": "2025-10-01T00:00:00Z", "verified_at": null},
    ]});
    for pretty in [serde_json::to_string(&models).unwrap(), serde_json::to_string_pretty(&models).unwrap()] {
        place.file("models/catalog.json", pretty);
        place.json(&["import-manifest", "models/catalog.json", "--adopt", "--if-registered", "merge"]).exits(0);
        let entry = place.json(&["show", "model:catalog/llama"]).exits(0).event("entry");
        assert_eq!(
            (&entry["title"], &entry["state"], &entry["trust"]),
            (&json!("Llama"), &json!("active"), &json!("verified"))
        );
        assert_eq!(entry["registered_at"], "2025-10-01T00:00:00Z");
    }
    assert_eq!(place.cat("catalog/llama/llama.gguf"), b"weights");
    assert_eq!(place.json(&["show", "model:catalog/gone"]).exits(0).event("entry")["state"], "pending");
    place.file("broken.json", "{\"models\":[{\"id\":\"a\",\"source\":\"https://h\"},");
    let ran = place.json(&["import-manifest", "broken.json"]).exits(2);
    assert!(ran.err.contains("cannot read the catalog: EOF"), "{}", ran.err);
    place.json(&["show", "model:catalog/a"]).exits(0);
    place.file("deep.json", format!("{{\"models\":[{}", "[".repeat(1 << 20)));
    place.json(&["import-manifest", "deep.json"]).exits(2);
    place.sound();
}

#[test]
fn a_database_is_read_where_the_program_can() {
    let place = Place::with_store();
    place.file("m/x.gguf", "weights");
    let path = place.path("m/catalog.db");
    if !cfg!(feature = "sqlite") {
        fs::write(&path, b"SQLite format 3\0 and so on").unwrap();
        let ran = place.json(&["import-manifest", "m/catalog.db"]).exits(1);
        assert_eq!(ran.event("error")["kind"], "unsupported");
        assert!(ran.err.contains("without the feature `sqlite`"), "{}", ran.err);
        return;
    }
    #[cfg(feature = "sqlite")]
    {
        let database = rusqlite::Connection::open(&path).unwrap();
        let models = format!(
            "CREATE TABLE models (reference TEXT NOT NULL, provider TEXT NOT NULL, local_path TEXT NOT NULL,
                 size_bytes INTEGER, downloaded_at INTEGER, PRIMARY KEY (reference, provider));
             INSERT INTO models VALUES ('TinyLlama-1.1B', 'hf', '{}', 7, 1700000000), ('gone', 'local', '/nowhere', NULL, NULL);
             CREATE TABLE documents (id INTEGER PRIMARY KEY, artifact_id TEXT, source_url TEXT, resolver TEXT,
                 content_type TEXT, bytes INTEGER, sha256 TEXT, storage_uri TEXT, created_at TEXT, updated_at TEXT, run_id TEXT);
             INSERT INTO documents VALUES (1, 'W1', 'https://h/a', 'r', 'application/pdf', 3, NULL, 's3://b/k',
                 '2025-01-01T00:00:00Z', '2025-01-02T00:00:00Z', 'r9');
             CREATE TABLE variants (id INTEGER PRIMARY KEY, document_id INTEGER, variant TEXT, storage_uri TEXT, bytes INTEGER,
                 content_type TEXT, sha256 TEXT, created_at TEXT);
             INSERT INTO variants VALUES (1, 1, 'text', 's3://b/t', 2, 'text/plain', NULL, '2025-01-03T00:00:00Z');",
            place.path("m/x.gguf").display()
        );
        database.execute_batch(&models).unwrap();
        drop(database);
        let ran = place.json(&["import-manifest", "m/catalog.db", "--adopt"]).exits(3);
        let summary = ran.event("summary");
        assert_eq!((&summary["registered"], &summary["failed"], &summary["files"]), (&json!(2), &json!(1), &json!(1)));
        let model = place.json(&["show", "model:hf/TinyLlama-1.1B"]).exits(0).event("entry");
        assert_eq!((&model["registered_at"], &model["size_bytes"]), (&json!("2023-11-14T22:13:20Z"), &json!(7)));
        assert_eq!(place.cat("hf/TinyLlama-1.1B/x.gguf"), b"weights");
        let document = place.json(&["show", "document:W1"]).exits(0).event("entry");
        assert_eq!((&document["run_id"], &document["variants"][1]["name"]), (&json!("r9"), &json!("text")));
        assert_eq!(document["variants"][0]["uri"], "s3://b/k");
        place.file("m/other.db", &fs::read(&path).unwrap()[..4096]);
        place.json(&["import-manifest", "m/other.db"]).exits(1);
    }
}

/// A command that may use so much memory and no more.
fn with_memory(place: &Place, most: u64, words: &[&str]) -> Command {
    let mut command = place.command(&[&["--json"], words].concat());
    let set = move || {
        let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
        // SAFETY: the call reads a value on this stack.
        if unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) } == 0 {
            return Ok(());
        }
        Err(std::io::Error::last_os_error())
    };
    // SAFETY: between fork and exec it makes one system call and nothing else.
    unsafe { command.pre_exec(set) };
    command
}

/// 256 MiB from a pipe, most of it in one line, in little memory: what comes before and behind is registered.
#[test]
fn a_line_without_an_end_is_not_held_in_memory() {
    let place = Place::with_store();
    let mut command = with_memory(&place, 512 << 20, &["--jobs", "1", "import-manifest", "-"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let writer = thread::spawn(move || {
        writeln!(input, "{{\"artifact_id\":\"before\"}}").unwrap();
        input.write_all(b"{\"artifact_id\":\"").unwrap();
        let piece = vec![b'x'; 1 << 20];
        (0..256).for_each(|_| input.write_all(&piece).unwrap());
        writeln!(input, "\"}}").unwrap();
        // And lines that are allowed, each as long as it may be: numbers, fields, strings.
        let most = (16 << 20) - 100;
        writeln!(input, "{{\"artifact_id\":\"numbers\",\"variants\":[{}0]}}", "0,".repeat(most / 2)).unwrap();
        writeln!(input, "{{{}\"artifact_id\":\"fields\"}}", "\"a\":0,".repeat(most / 6)).unwrap();
        writeln!(input, "{{\"artifact_id\":\"text\",\"notes\":\"{}\"}}", "\\u0041".repeat(most / 6)).unwrap();
        writeln!(input, "{{\"artifact_id\":\"behind\"}}").unwrap();
    });
    let ran = finish(child, "import-manifest").exits(3);
    writer.join().unwrap();
    let summary = ran.event("summary");
    assert_eq!((&summary["lines"], &summary["registered"], &summary["bad"]), (&json!(6), &json!(2), &json!(4)));
    let bad: Vec<u64> = ran.events("bad_line").iter().map(|bad| bad["line"].as_u64().unwrap()).collect();
    assert_eq!(bad, [2, 3, 4, 5]);
    assert!(ran.events("bad_line")[0]["reason"].as_str().unwrap().contains("at most 16777216 are read"));
    place.json(&["show", "document:before"]).exits(0);
    place.json(&["show", "document:behind"]).exits(0);
}

#[test]
fn hostile_lines_are_told_and_touch_nothing() {
    let place = Place::with_store();
    place.file("secret", "secret");
    place.file("run/ok", "ok");
    std::os::unix::fs::symlink(place.path("secret"), place.path("run/link")).unwrap();
    let secret = place.path("secret").display().to_string();
    let bad = [
        line("a", "../secret", b"secret"),
        line("b", &secret, b"secret"),
        line("c", "link", b"secret"),
        line("d", &format!("file://{secret}"), b"secret"),
        "{\"artifact_id\":\"e\",\"notes\":\"\\u001b[2J\"}".into(),
        "{\"artifact_id\":\"f\u{1b}[2J\"}".into(),
        "{\"artifact_id\":\"g\",\"artifact_id\":\"h\"}".into(),
        "{\"artifact_id\":\"i\\u0000\"}".into(),
        "\u{1b}]0;x\u{7}".into(),
        format!("{{\"artifact_id\":\"j\",\"variants\":[{}", "[".repeat(100_000)),
        "{\"artifact_id\":\"k\",\"sha256\":\"AB\"}".into(),
        "{\"artifact_id\":\"l\",\"bytes\":\"many\"}".into(),
        "null".into(),
    ];
    place.file("run/m.jsonl", format!("{}\n{}\n", bad.join("\n"), line("fine", "ok", b"ok")));
    for how in ["--adopt", "--hash"] {
        let words = ["import-manifest", "run/m.jsonl", how];
        let ran = place.larder(&words).exits(3);
        assert!(!ran.err.contains(['\u{1b}', '\u{7}', '\0']), "{:?}", ran.err);
        assert!(!ran.text().contains('\u{1b}'));
        let told = place.json(&words).exits(3);
        let lines: Vec<u64> = told.events("bad_line").iter().map(|bad| bad["line"].as_u64().unwrap()).collect();
        let mut lines = lines;
        lines.sort_unstable();
        assert_eq!(lines, (1..=13).collect::<Vec<u64>>(), "{how}");
        assert_eq!(entries(&place, "store").keys().collect::<Vec<_>>(), ["\"document:fine\""]);
    }
    assert_eq!(fs::metadata(place.path("secret")).unwrap().nlink(), 1);
    assert!(!place.blob(&digest(b"secret")).exists());
    place.sound();
}

#[test]
fn an_import_that_is_stopped_or_killed_goes_on() {
    let place = Place::with_store();
    let text: String = (0..3000).map(|i| format!("{{\"artifact_id\":\"d{i:05}\",\"tags\":[\"t\"]}}\n")).collect();
    place.file("m.jsonl", &text);
    // Stopped while it waits for more.
    let mut command = place.command(&["--json", "import-manifest", "-"]);
    let mut running = {
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(text.lines().take(600).collect::<Vec<_>>().join("\n").as_bytes()).unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut told = String::new();
        out.read_line(&mut told).unwrap();
        assert!(told.contains("\"imported\""), "{told}");
        outside::signal(child.id(), libc::SIGINT);
        let lines: Vec<Value> = out.lines().map(|text| outside::line(&text.unwrap())).collect();
        let summary = lines.last().unwrap().clone();
        assert_eq!(summary["interrupted"], true, "{summary}");
        let registered = summary["registered"].as_u64().unwrap();
        assert!((512..=600).contains(&registered), "{summary}");
        assert_eq!(child.wait().unwrap().code(), Some(1));
        drop(input);
        assert_eq!(entries(&place, "store").len() as u64, registered);
        // And killed: what was told is there.
        Running::start(place.command(&["--json", "import-manifest", "m.jsonl"]))
    };
    let mut told = Vec::new();
    for _ in 0..1300 {
        told.push(running.next().unwrap()["key"].clone());
    }
    running.signal(libc::SIGKILL);
    drop(running);
    let there = entries(&place, "store");
    for key in &told {
        assert!(there.contains_key(&key.to_string()), "{key} was told");
    }
    let summary = place.json(&["import-manifest", "m.jsonl"]).exits(0).event("summary");
    assert_eq!(summary["registered"].as_u64().unwrap() + summary["kept"].as_u64().unwrap(), 3000);
    assert_eq!(entries(&place, "store").len(), 3000);
    place.sound();
}

#[test]
fn eight_processes_import_the_same_manifest_and_each_entry_is_made_once() {
    let place = Place::with_store();
    let mut lines = Vec::new();
    for i in 0..60_u64 {
        let bytes = noise(i, 700);
        place.file(format!("run/{i}"), &bytes);
        lines.push(line(&format!("d{i}"), &i.to_string(), &bytes));
    }
    place.file("run/m.jsonl", lines.join("\n"));
    let start = |_| place.command(&["--json", "import-manifest", "run/m.jsonl", "--adopt", "--copy"]).spawn().unwrap();
    let children: Vec<_> = (0..8).map(start).collect();
    let mut made: BTreeMap<String, u64> = BTreeMap::new();
    for child in children {
        let ran = finish(child, "import-manifest").exits(0);
        for imported in ran.events("imported") {
            *made.entry(imported["key"].to_string()).or_default() += u64::from(imported["status"] == "new");
        }
    }
    assert_eq!(made.len(), 60);
    assert!(made.values().all(|count| *count == 1), "{made:?}");
    assert_eq!(place.names().len(), 60);
    place.json(&["verify"]).exits(0);
    place.sound();
}

#[test]
fn a_reader_that_goes_away_ends_an_export_quietly() {
    let place = Place::with_store();
    let text: String =
        (0..3000).map(|i| format!("{{\"artifact_id\":\"d{i:05}\",\"notes\":\"{}\"}}\n", "x".repeat(500))).collect();
    place.fed(&["import-manifest", "-"], text.as_bytes()).exits(0);
    let mut child = place.command(&["export-manifest"]).spawn().unwrap();
    let mut first = String::new();
    BufReader::with_capacity(64, child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(outside::line(&first)["event"], "entry");
    let ran = finish(child, "export-manifest");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}

#[test]
fn an_export_replaces_nothing_but_a_file_of_the_users() {
    let place = Place::with_store();
    place.file("a", "bytes");
    place.json(&["register", "model:local/a", "a"]).exits(0);
    place.file("there", "old");
    std::os::unix::fs::symlink(place.path("there"), place.path("link")).unwrap();
    fs::create_dir(place.path("directory")).unwrap();
    let own = place.store().join("larder.toml");
    let settings = fs::read(&own).unwrap();
    let inside = place.store().join("journal/new");
    for refused in [place.path("link"), place.path("directory"), own.clone(), inside.clone()] {
        let ran = place.json(&["export-manifest", "-o", refused.to_str().unwrap()]).exits(5);
        assert_eq!(ran.event("error")["kind"], "refused", "{}", refused.display());
    }
    assert_eq!((fs::read(&own).unwrap(), fs::read(place.path("there")).unwrap()), (settings, b"old".to_vec()));
    assert!(!inside.exists());
    place.json(&["export-manifest", "-o", "there"]).exits(0);
    assert!(fs::read_to_string(place.path("there")).unwrap().contains("model:local/a"));
}

#[test]
fn what_is_no_manifest_is_refused() {
    let place = Place::with_store();
    fs::create_dir(place.path("directory")).unwrap();
    place.json(&["import-manifest", "directory"]).exits(1);
    place.json(&["import-manifest", "nothing"]).exits(1);
    place.larder(&["import-manifest", "m", "--hash", "--adopt"]).exits(2);
    place.larder(&["import-manifest", "m", "--copy"]).exits(2);
    assert_eq!(place.fed(&["--json", "import-manifest", "-"], b"").exits(0).event("summary")["lines"], 0);
    place.file("m", "{\"artifact_id\":\"a\"}");
    place.json(&["import-manifest", "m", "--root", "nothing"]).exits(1);
    assert!(entries(&place, "store").is_empty());
    place.json(&["import-manifest", "m", "--format", "catalog-json"]).exits(2);
    place.json(&["import-manifest", "m"]).exits(0);
    place.json(&["import-manifest", "m", "--if-registered", "refuse"]).exits(3);
}

#[test]
fn a_manifest_is_read_from_a_pipe_that_has_a_name() {
    let place = Place::with_store();
    let fifo = place.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let text = format!("{}\n{}\n", line("a", "a", b"1"), line("b", "b", b"2"));
    let writer = thread::spawn({
        let fifo = fifo.clone();
        move || fs::write(fifo, text).unwrap()
    });
    place.larder(&["import-manifest", "fifo"]).exits(0);
    writer.join().unwrap();
    assert_eq!(entries(&place, "store").len(), 2);
}

#[cfg(feature = "sqlite")]
#[test]
fn a_row_that_is_too_long_is_told_and_held_in_no_memory() {
    let place = Place::with_store();
    let sql = "CREATE TABLE documents (id INTEGER PRIMARY KEY, artifact_id TEXT, notes TEXT);
        CREATE TABLE variants (id INTEGER PRIMARY KEY, document_id INTEGER, variant TEXT, storage_uri TEXT);
        INSERT INTO documents (artifact_id, notes) VALUES ('a', 'n'), ('huge', hex(zeroblob(100000000))), ('many', 'n'), ('z', 'n');
        WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 500000)
            INSERT INTO variants (document_id, variant) SELECT 3, 'v' || x FROM c;";
    let database = rusqlite::Connection::open(place.path("c.db")).unwrap();
    database.execute_batch(sql).unwrap();
    drop(database);
    let ran = outside::run(with_memory(&place, 512 << 20, &["import-manifest", "c.db"])).exits(3);
    let bad: Vec<_> = ran.events("bad_line").iter().map(|line| line["line"].as_u64().unwrap()).collect();
    assert_eq!(bad, [2, 3], "{}", ran.text());
    assert_eq!(ran.event("summary")["registered"], 2);
}
