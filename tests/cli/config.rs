//! `larder config` from outside, and options that come from everywhere.

use std::fs;
use std::path::Path;

use crate::outside::{self, Place, run};
use serde_json::Value;

fn with(place: &Place, variables: &[(&str, &str)], arguments: &[&str]) -> outside::Ran {
    let mut command = place.command(arguments);
    command.arg("--json").envs(variables.iter().copied());
    run(command)
}

fn option(place: &Place, variables: &[(&str, &str)], arguments: &[&str], key: &str) -> Value {
    let ran = with(place, variables, &[&["config", "get", key], arguments].concat()).exits(0);
    ran.event("option")
}

#[test]
fn every_value_is_shown_with_where_it_comes_from() {
    let place = Place::with_store();
    let key = "limits.max_bytes";
    let is = |variables: &[(&str, &str)], arguments: &[&str]| {
        let option = option(&place, variables, arguments, key);
        (option["value"].as_u64().unwrap(), option["origin"].as_str().unwrap().to_owned(), option["said_by"].clone())
    };
    let (variable, flag) = ([("LARDER_LIMITS_MAX_BYTES", "2KiB")], ["--set", "limits.max_bytes=3kB"]);
    assert_eq!(is(&[], &[]), (0, "default".into(), Value::Null));
    let set = place.json(&["config", "set", key, "1KiB"]).exits(0).event("option");
    assert_eq!((&set["value"], &set["changed"]), (&1024.into(), &true.into()));
    assert_eq!(place.json(&["config", "set", key, "1024"]).exits(0).event("option")["changed"], false);
    assert_eq!(is(&[], &[]), (1024, "file".into(), "larder.toml".into()));
    assert_eq!(is(&variable, &[]), (2048, "environment".into(), "LARDER_LIMITS_MAX_BYTES".into()));
    assert_eq!(is(&variable, &flag), (3000, "flag".into(), "--set".into()));
    let shadowed = run({
        let mut command = place.command(&["config", "set", key, "5"]);
        command.envs(variable);
        command
    });
    assert!(shadowed.exits(0).err.contains("LARDER_LIMITS_MAX_BYTES goes before it"));
    place.json(&["config", "unset", key]).exits(0);
    assert_eq!(is(&[], &[]), (0, "default".into(), Value::Null));
    assert!(!fs::read_to_string(place.store().join("larder.toml")).unwrap().contains("limits"));

    let shown = place.larder(&["config", "show", "--origin", "--set", "storage.layout=cas"]).exits(0).text();
    let line =
        |name: &str| shown.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(line("storage.layout"), ["storage.layout", "cas", "--set"]);
    assert_eq!(line("durability"), ["durability", "batch", "larder.toml"]);
    assert_eq!(line("catalog.orphan_ttl_days"), ["catalog.orphan_ttl_days", "7", "default"]);
    assert_eq!(line("storage.root_dir"), ["storage.root_dir", place.store().to_str().unwrap(), "LARDER_STORE"]);
    let lines = place.json(&["config", "show"]).exits(0).events("option");
    assert_eq!(lines.len(), 25);
    assert!(
        lines
            .iter()
            .all(|line| line["origin"] == "default" || line["origin"] == "file" || line["key"] == "storage.root_dir")
    );
}

#[test]
fn a_wrong_value_is_refused_with_its_name_wherever_it_stands() {
    let place = Place::with_store();
    let says = |ran: outside::Ran, words: &[&str]| {
        let error = ran.event("error");
        for word in words {
            assert!(error["message"].as_str().unwrap().contains(word), "{word}: {error}");
        }
    };
    let bad = [("LARDER_CATALOG_WAL_MODE", "maybe")];
    says(with(&place, &bad, &["stats"]).exits(2), &["LARDER_CATALOG_WAL_MODE", "catalog.wal_mode", "true or false"]);
    says(place.json(&["stats", "--set", "storage.layout=flat"]).exits(2), &["storage.layout", "policy_path or cas"]);
    says(place.json(&["stats", "--set", "storage.colour=red"]).exits(2), &["storage.colour", "storage.layout"]);
    says(place.json(&["config", "set", "limits.min_free", "lots"]).exits(2), &["limits.min_free", "10MiB"]);
    says(place.json(&["config", "get", "limits.most"]).exits(2), &["limits.most", "limits.max_bytes"]);
    for fixed in ["catalog.backend", "storage.cas_prefix"] {
        let value = if fixed == "catalog.backend" { "sqlite" } else { "sha256" };
        says(place.json(&["config", "set", fixed, value]).exits(5), &[fixed]);
    }
    says(place.json(&["config", "set", "storage.root_dir", "/x"]).exits(5), &["storage.root_dir"]);
    // The file of the store, written by hand.
    let path = place.store().join("larder.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}\n[catalog]\nretention_days = \"soon\"\n")).unwrap();
    says(place.json(&["stats"]).exits(3), &["larder.toml", "catalog.retention_days"]);
}

#[test]
fn a_backend_that_is_not_built_in_is_shown_and_refused_by_name() {
    let place = Place::with_store();
    let s3 = [("LARDER_STORAGE_BACKEND", "s3"), ("LARDER_STORAGE_S3_BUCKET", "models")];
    let shown = option(&place, &s3, &[], "storage.backend");
    assert_eq!((&shown["value"], &shown["origin"]), (&"s3".into(), &"environment".into()));
    assert_eq!(option(&place, &s3, &[], "storage.s3_bucket")["value"], "models");
    for command in [&["stats"][..], &["ls"], &["gc", "--dry-run"], &["add", "x"], &["init", "elsewhere"]] {
        let error = with(&place, &s3, command).exits(1).event("error");
        assert!(error["message"].as_str().unwrap().contains("storage.backend = s3"), "{error}");
    }
    assert!(!place.path("elsewhere").exists(), "nothing is made for a backend that is not there");
}

#[test]
fn old_stores_and_places_without_a_store_have_the_defaults() {
    let place = Place::with_store();
    let text = fs::read_to_string(place.store().join("larder.toml")).unwrap();
    assert!(!text.contains("[storage]") && !text.contains("[catalog]"), "nothing is written that nobody chose: {text}");
    let none = Place::new();
    assert_eq!(option(&none, &[], &[], "catalog.backend")["origin"], "default");
    assert!(!none.store().exists(), "looking makes nothing");
    none.json(&["config", "set", "limits.max_bytes", "1"]).exits(1);
}

#[test]
fn init_settles_what_it_is_told() {
    let place = Place::new();
    place.json(&["init", "--set", "storage.layout=cas", "--set", "catalog.path=db/catalog"]).exits(0);
    assert_eq!(option(&place, &[], &[], "storage.layout")["origin"], "file");
    assert_eq!(option(&place, &[], &[], "catalog.path")["value"], "db/catalog");
    let other = with(&place, &[("LARDER_CATALOG_PATH", "elsewhere")], &["stats"]).exits(5);
    let message = other.event("error")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("catalog.path") && message.contains("db/catalog"), "{message}");
    with(&place, &[("LARDER_CATALOG_PATH", "db/catalog")], &["stats"]).exits(0);
}

#[test]
fn the_store_directory_is_an_option_as_well() {
    let place = Place::new();
    place.file("f", "bytes");
    let at = |name: &str| place.path(name).to_str().unwrap().to_owned();
    let add = |arguments: &[&str], variables: &[(&str, &str)], unset: bool| {
        let mut command = place.command(&[&["add", "f"], arguments].concat());
        if unset {
            command.env_remove("LARDER_STORE");
        }
        command.envs(variables.iter().copied());
        run(command).exits(0);
    };
    let is_store = |name: &str| Path::new(&at(name)).join("larder.toml").is_file();
    add(&[], &[("LARDER_STORAGE_ROOT_DIR", &at("variable"))], true);
    assert!(is_store("variable"));
    add(&["--set", &format!("storage.root_dir={}", at("set"))], &[], false);
    assert!(is_store("set") && !is_store("store"));
    add(&["--store", &at("flag"), "--set", &format!("storage.root_dir={}", at("other"))], &[], false);
    assert!(is_store("flag") && !is_store("other"));
}

#[test]
fn options_hold_for_the_verbs_they_are_about() {
    let place = Place::with_store();
    place.file("f", "bytes");
    place.json(&["add", "f", "--set", "storage.hardlink_dedup=false"]).exits(0);
    assert_eq!(place.json(&["ls"]).event("name")["alias"], "counted");
    fs::write(place.store().join("sha256/00").join("0".repeat(62)), "stray").unwrap();
    let ttl = |arguments: &[&str]| {
        let plan = place.json(&[&["gc", "--dry-run"], arguments].concat()).exits(0).event("plan");
        plan["orphan_ttl_seconds"].as_u64().unwrap()
    };
    assert_eq!(ttl(&[]), 7 * 86400);
    place.json(&["config", "set", "catalog.orphan_ttl_days", "2"]).exits(0);
    assert_eq!(ttl(&[]), 2 * 86400);
    assert_eq!(ttl(&["--set", "catalog.orphan_ttl_days=1"]), 86400);
    assert_eq!(ttl(&["--orphan-ttl", "5s"]), 5);
}

#[test]
fn what_is_registered_is_read_back_where_the_options_say_so() {
    let place = Place::with_store();
    let file = place.file("f", "bytes");
    let uri = format!("file://{}", file.display());
    let state = |name: &str, set: &[&str]| {
        let key = format!("model:local/{name}");
        let mut arguments = vec!["register", &key, "--uri", &uri];
        set.iter().for_each(|one| arguments.extend(["--set", one]));
        place.json(&arguments).exits(0);
        place.json(&["show", &key]).exits(0).event("entry")["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state("a", &[]), "pending");
    assert_eq!(state("b", &["catalog.verify_on_register=true"]), "active");
    assert_eq!(state("c", &["catalog.verify_on_register=true", "catalog.compute_sha256=false"]), "pending");
}
