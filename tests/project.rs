//! What the project promises of itself: few dependencies, and a test command that is the one that is run.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// All that the library may stand on.
const LIBRARY: [&str; 16] = [
    "base64",
    "blake3",
    "libc",
    "memchr",
    "memmap2",
    "nix",
    "postcard",
    "rayon",
    "serde",
    "serde_json",
    "sha2",
    "tempfile",
    "thiserror",
    "toml",
    "tracing",
    "xxhash-rust",
];

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn manifest() -> toml::Table {
    file("Cargo.toml").parse().unwrap()
}

#[test]
fn the_library_stands_on_few_crates() {
    let manifest = manifest();
    let dependencies = manifest["dependencies"].as_table().unwrap();
    let is_optional = |name: &str| {
        let table = dependencies[name].as_table();
        table.and_then(|table| table.get("optional")).and_then(toml::Value::as_bool).unwrap_or(false)
    };
    let library: BTreeSet<&str> = dependencies.keys().map(String::as_str).filter(|name| !is_optional(name)).collect();
    assert_eq!(library, LIBRARY.into());
    assert!(!manifest.contains_key("target"), "no dependency hides in a table for one platform");
    assert!(!manifest.contains_key("build-dependencies"));

    // What is optional comes with a feature that says so, and the library alone has none.
    let mut enabled = BTreeSet::new();
    for (feature, enables) in manifest["features"].as_table().unwrap() {
        let enables = enables.as_array().unwrap().iter().map(|e| e.as_str().unwrap());
        enabled.extend(enables.filter(|_| feature != "default").filter_map(|e| e.strip_prefix("dep:")));
    }
    let optional: BTreeSet<&str> = dependencies.keys().map(String::as_str).filter(|name| is_optional(name)).collect();
    assert_eq!(enabled, optional);
}

#[test]
fn the_readme_names_the_test_command_that_is_run() {
    let readme = file("README.md");
    let mut commands = readme.lines().filter(|line| line.split(' ').take(2).eq(["cargo", "test"]));
    let command = commands.next().expect("README.md has a line that is the test command").trim();
    assert_eq!(commands.next(), None, "there is one test command");
    let ci = file(".ci/run");
    let run: Vec<&str> = ci.lines().skip_while(|line| *line != "tests() {").skip(1).take(1).map(str::trim).collect();
    assert_eq!(run, [command]);
}

#[test]
fn every_part_of_ci_is_run_by_default() {
    let ci = file(".ci/run");
    let (_, parts) = ci.split_once("parts=(format").expect("the parts that are run by default");
    let (parts, _) = parts.split_once(')').unwrap();
    for part in parts.split_whitespace() {
        assert!(ci.contains(&format!("\n{part}() {{")), "{part}");
    }
    for part in ["lints", "docs", "tests", "fuzz", "benches", "static"] {
        assert!(parts.split_whitespace().any(|p| p == part), "{part}");
    }
}

#[test]
fn every_bench_is_declared() {
    let manifest = manifest();
    let declared: BTreeSet<String> =
        manifest["bench"].as_array().unwrap().iter().map(|b| b["name"].as_str().unwrap().to_owned()).collect();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
    let there: BTreeSet<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(declared, there);
}
