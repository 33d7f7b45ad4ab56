//! `--metrics-file` and `--log` from outside; what is written is judged by Prometheus' own tool.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::outside::{self, Place, Ran, digest, run};

fn metrics(place: &Place, arguments: &[&str]) -> Ran {
    place.json(&[arguments, &["--metrics-file", "larder.prom"]].concat())
}

fn value(text: &str, sample: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {sample} in {text}")).parse().unwrap()
}

/// Whether a program is there.
fn has(program: &str) -> bool {
    let ran = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    ran.is_ok_and(|status| status.success())
}

/// Whether Prometheus' tool is there, installed if it can be.
fn has_promtool() -> bool {
    if !has("promtool") && is_root() && has("apt-get") {
        let mut install = Command::new("apt-get");
        install
            .args(["install", "-y", "--no-install-recommends", "prometheus"])
            .env("DEBIAN_FRONTEND", "noninteractive");
        let _ = install.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
    has("promtool")
}

fn is_root() -> bool {
    // Who owns what this process makes is who it runs as.
    let made = tempfile::NamedTempFile::new().unwrap();
    std::os::unix::fs::MetadataExt::uid(&made.as_file().metadata().unwrap()) == 0
}

fn promtool_accepts(path: &Path) -> bool {
    if !has_promtool() {
        println!("left out: promtool is not there, and cannot be installed (1 check)");
        return true;
    }
    let mut tool = Command::new("promtool");
    tool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tool = tool.spawn().unwrap();
    tool.stdin.take().unwrap().write_all(&fs::read(path).unwrap()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("promtool: {} {said}", output.status);
    output.status.success() && said.trim().is_empty()
}

#[test]
fn what_commands_count_adds_up_in_the_file_and_promtool_takes_it() {
    let place = Place::new();
    for (file, bytes) in [("a", "1"), ("b", "2"), ("c", "1"), ("d", "3")] {
        place.file(file, bytes);
    }
    metrics(&place, &["add", "a", "b"]).exits(0);
    let odd = "re\"sol\\ver";
    metrics(&place, &["finalise", "c", "--artifact", "x", "--url", "https://e.org/c", "--resolver", odd]).exits(0);
    metrics(&place, &["finalise", "d", "--artifact", "y", "--url", "https://e.org/d", "--expect", &digest(b"4")])
        .exits(3);
    metrics(&place, &["verify"]).exits(0);
    metrics(&place, &["rm", "a", "b"]).exits(0);
    metrics(&place, &["gc", "--grace", "0s"]).exits(0);
    metrics(&place, &["show", "nothing"]).exits(1);
    let path = place.path("larder.prom");
    let text = fs::read_to_string(&path).unwrap();
    for (sample, expected) in [
        ("larder_operations_total{operation=\"add\"}", 2),
        ("larder_operations_total{operation=\"register\"}", 2),
        ("larder_operations_total{operation=\"verify\"}", 1),
        ("larder_verifications_total{result=\"ok\"}", 3),
        ("larder_dedup_hits_total{resolver=\"re\\\"sol\\\\ver\"}", 1),
        ("larder_gc_removed_total", 1),
        ("larder_verifications_total{result=\"mismatch\"}", 1),
        ("larder_verifications_total{result=\"hashed\"}", 1),
        ("larder_verify_failures_total", 1),
        ("larder_evictions_total", 0),
        ("larder_models_total{state=\"active\"}", 1),
        ("larder_models_total{state=\"failed\"}", 1),
        ("larder_models_total{state=\"retired\"}", 0),
    ] {
        assert_eq!(value(&text, sample), expected, "{sample}: {text}");
    }
    assert!(promtool_accepts(&path));
    assert!(!place.path("larder.prom.new").exists());
}

#[test]
fn damage_is_counted_and_the_namespace_is_the_hosts() {
    let place = Place::with_store();
    place.file("a", "right");
    place.larder(&["add", "a"]).exits(0);
    let blob = place.json(&["show", "a"]).exits(0).event("blob")["path"].as_str().unwrap().to_owned();
    let mut permissions = fs::metadata(&blob).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    fs::set_permissions(&blob, permissions).unwrap();
    fs::write(&blob, "wrong").unwrap();
    let named = ["verify", "--metrics-file", "m.prom", "--metrics-namespace", "contentdownload"];
    place.json(&named).exits(3);
    place.json(&named).exits(3);
    let text = fs::read_to_string(place.path("m.prom")).unwrap();
    assert_eq!(value(&text, "contentdownload_verify_failures_total"), 2);
    assert_eq!(value(&text, "contentdownload_verifications_total{result=\"corrupt\"}"), 2);
    assert!(promtool_accepts(&place.path("m.prom")));
    // A file that is something else is left alone, and the command that worked says so.
    let other = place.file("other", "keep me\n");
    let refused = place.json(&["ls", "--metrics-file", "other"]).exits(5);
    assert!(refused.event("error")["message"].as_str().unwrap().contains("something else"));
    assert_eq!(fs::read(&other).unwrap(), b"keep me\n");
    place.json(&["ls", "--metrics-file", "m.prom"]).exits(5);
    place.json(&["ls", "--metrics-file", "none/m.prom"]).exits(1);
    place.json(&["ls", "--metrics-namespace", "a-b"]).exits(2);
}

#[test]
fn many_commands_at_once_lose_no_count() {
    let place = Place::with_store();
    let children: Vec<_> = (0..8)
        .map(|number| {
            let file = format!("f{number}");
            place.file(&file, &file);
            place.command(&["add", &file, "--metrics-file", "larder.prom"]).spawn().unwrap()
        })
        .collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    let text = fs::read_to_string(place.path("larder.prom")).unwrap();
    assert_eq!(value(&text, "larder_operations_total{operation=\"add\"}"), 8);
}

#[test]
fn nobody_writes_the_file_while_somebody_else_does() {
    let place = Place::with_store();
    let before = "larder_operations_total{operation=\"add\"} 100\n";
    let file = place.file("larder.prom", before);
    place.file("f", "1");
    let directory = fs::File::open(place.path(".")).unwrap();
    directory.lock().unwrap();
    let busy = metrics(&place, &["add", "f", "--lock-timeout", "50ms"]).exits(4);
    assert_eq!((busy.events("added").len(), busy.event("error")["kind"].as_str()), (1, Some("busy")));
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    directory.unlock().unwrap();
    place.file("g", "2");
    metrics(&place, &["add", "g"]).exits(0);
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(value(&text, "larder_operations_total{operation=\"add\"}"), 101);
}

#[test]
fn a_log_tells_what_was_done_and_no_secrets() {
    let place = Place::with_store();
    place.file("a", "1");
    let logged = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = place.command(arguments);
        command.envs(variables.iter().copied());
        run(command)
    };
    let url = "https://me:hunter2@e.org/a?token=hunter2";
    let said = logged(&[], &["finalise", "a", "--artifact", "x", "--url", url, "--log", "info"]).exits(0).err;
    assert!(said.contains("INFO") && said.contains("finalise") && said.contains("document:x"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    let said = logged(&[("LARDER_LOG", "warn")], &["mv", "no\u{1b}ne", "b", "-q"]);
    assert_eq!(said.code, 2, "{}", said.err);
    let said = logged(&[("LARDER_LOG", "warn")], &["mv", "none", "b", "-q"]).exits(1).err;
    assert!(said.contains("WARN") && said.contains("rename"), "{said}");
    assert!(!logged(&[("LARDER_LOG", "error")], &["pin", "10.1000", "-q"]).exits(1).err.contains("WARN"));
    assert!(logged(&[], &["ls", "-q"]).exits(0).err.is_empty(), "nothing unless it is asked for");
    let bad = logged(&[("LARDER_LOG", "loud")], &["ls"]).exits(2).err;
    assert!(bad.contains("LARDER_LOG") && bad.contains("debug"), "{bad}");
    logged(&[], &["ls", "--log", "loud"]).exits(2);
}

fn totals(place: &Place) -> serde_json::Value {
    place.json(&["stats"]).exits(0).event("stats")
}

#[test]
fn stats_tells_what_all_commands_have_counted_whether_or_not_they_were_asked_to() {
    let place = Place::with_store();
    let fresh = totals(&place);
    assert_eq!((&fresh["counted_since"], &fresh["operations_total"]), (&().into(), &serde_json::json!({})));
    for (file, bytes) in [("a", "1"), ("b", "2"), ("c", "1"), ("d", "3"), ("e", "4"), ("f", "5")] {
        place.file(file, bytes);
    }
    place.larder(&["add", "a", "b"]).exits(0);
    place.larder(&["finalise", "c", "--artifact", "x", "--url", "https://e.org/c", "--resolver", "r"]).exits(0);
    let wrong = digest(b"other");
    place.larder(&["finalise", "d", "--artifact", "y", "--expect", &wrong]).exits(3);
    place.larder(&["register", "model:l/e", "e", "--expect", &wrong]).exits(3);
    place.larder(&["register", "model:l/f", "f", "--expect", &digest(b"5")]).exits(0);
    place.larder(&["register", "model:l/f", "f"]).exits(0);
    place.larder(&["verify"]).exits(0);
    place.larder(&["tag", "model:l/f", "t"]).exits(0);
    place.larder(&["set-state", "model:l/f", "pending"]).exits(5);
    place.larder(&["evict", "model:l/e", "--now"]).exits(0);
    place.larder(&["evict", "model:l/f"]).exits(0);
    place.larder(&["rm", "b"]).exits(0);
    place.larder(&["gc", "--grace", "0s", "--yes-most"]).exits(0);
    let stats = totals(&place);
    assert!(stats["counted_since"].is_string());
    let operations = &stats["operations_total"];
    for (operation, expected) in
        [("add", 4), ("finalise", 2), ("register", 4), ("update", 1), ("remove", 2), ("collect", 2), ("verify", 1)]
    {
        assert_eq!(operations[operation], expected, "{operation}: {stats}");
    }
    assert_eq!(stats["dedup_hits_total"], serde_json::json!({"r": 1}));
    assert_eq!(stats["verifications_total"], serde_json::json!({"hashed": 1, "mismatch": 2, "ok": 6}));
    for (counter, expected) in [("verify_failures_total", 2), ("evictions_total", 2), ("gc_removed_total", 2)] {
        assert_eq!(stats[counter], expected, "{counter}: {stats}");
    }
    assert_eq!(stats["models_total"], serde_json::json!({"pending": 0, "active": 1, "retired": 0, "failed": 1}));
    let words = place.larder(&["stats"]).exits(0).text();
    for told in ["operations", "4 add", "evictions      2", "dedup hits     1 r", "(1 active, 1 failed)"] {
        assert!(words.contains(told), "{told}: {words}");
    }
    // Damage to what is counted costs what was counted, and nothing else.
    fs::write(place.store().join("totals"), "no totals").unwrap();
    assert_eq!(totals(&place)["evictions_total"], 0);
    place.larder(&["verify"]).exits(0);
    assert_eq!(totals(&place)["operations_total"], serde_json::json!({"verify": 1}));
    fs::remove_file(place.store().join("totals")).unwrap();
    fs::create_dir(place.store().join("totals")).unwrap();
    place.larder(&["verify"]).exits(0);
    assert_eq!(totals(&place)["operations_total"], serde_json::json!({}));
}

#[test]
fn commands_at_once_lose_nothing_of_the_totals_and_a_store_that_is_only_read_has_them_too() {
    let place = Place::with_store();
    let children: Vec<_> = (0..8)
        .map(|number| {
            let file = format!("f{number}");
            place.file(&file, &file);
            place.command(&["register", &format!("model:l/{number}"), &file]).spawn().unwrap()
        })
        .collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    let stats = totals(&place);
    assert_eq!(
        (&stats["operations_total"]["register"], &stats["verifications_total"]["hashed"]),
        (&8.into(), &8.into())
    );
    // Whoever holds the file is not waited for, and whoever may not write does without.
    let held = fs::File::open(place.store().join("totals")).unwrap();
    held.lock().unwrap();
    place.larder(&["verify"]).exits(0);
    assert_eq!(totals(&place)["operations_total"], stats["operations_total"]);
    held.unlock().unwrap();
    let before = fs::read(place.store().join("totals")).unwrap();
    run(place.nobody(&["verify"])).exits(0);
    if outside::root() {
        assert_eq!(fs::read(place.store().join("totals")).unwrap(), before);
    }
    let seen = run(place.nobody(&["--json", "stats"])).exits(0).event("stats");
    assert_eq!(seen["operations_total"]["register"], 8);
}

#[test]
fn a_log_names_what_was_registered_added_and_imported() {
    let place = Place::with_store();
    place.file("a", "1");
    place.file("m.jsonl", "{\"artifact_id\":\"x\",\"resolver\":\"r\"}\n{bad\n");
    let logged = |arguments: &[&str]| place.larder(&[arguments, &["--log", "info"]].concat()).err;
    let told = logged(&["register", "model:l/a", "a"]);
    assert!(told.contains("operation=\"add\" subject=\"l/a/a\" outcome=\"new\""), "{told}");
    assert!(told.contains("operation=\"register\" subject=\"model:l/a\" outcome=\"new\""), "{told}");
    let told = logged(&["import-manifest", "m.jsonl"]);
    assert!(told.contains("INFO") && told.contains("subject=\"document:x\""), "{told}");
    assert!(told.contains("WARN") && told.contains("subject=\"line 2\""), "{told}");
    assert!(!logged(&["import-manifest", "m.jsonl"]).contains("document:x"), "what changed nothing is for debugging");
}
