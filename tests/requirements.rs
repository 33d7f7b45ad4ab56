//! The table of requirements against the tests that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The rows that the sources ask for.
const ROWS: usize = 174;
/// How a row says that a later version brings it.
const LATER: &str = "later";

struct Row {
    number: usize,
    place: String,
    tests: Vec<String>,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn rows() -> Vec<Row> {
    let page = read("docs/requirements.md");
    let cells = page.lines().filter(|line| line.starts_with("| R")).map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 4, "{line}");
        cells
    });
    cells
        .map(|cells| Row {
            number: cells[0].trim_start_matches('R').parse().unwrap(),
            place: cells[2].to_owned(),
            tests: cells[3].split(", ").map(|test| test.trim_matches('`').to_owned()).collect(),
        })
        .collect()
}

#[test]
fn each_requirement_has_one_row_with_its_place_and_its_tests() {
    let rows = rows();
    assert_eq!(rows.iter().map(|row| row.number).collect::<Vec<_>>(), (1..=ROWS).collect::<Vec<_>>());
    let mut sources = BTreeMap::new();
    let mut wrong = Vec::new();
    for row in rows.iter().filter(|row| row.tests != [LATER]) {
        wrong.extend(
            row.tests.iter().filter(|test| !is_test(test, &mut sources)).map(|t| format!("R{}: {t}", row.number)),
        );
        for place in row.place.split('`').skip(1).step_by(2) {
            let there = root().join(place).exists() || root().join("src").join(place).exists();
            wrong.extend((!there).then(|| format!("R{}: {place}", row.number)));
        }
    }
    assert!(wrong.is_empty(), "no such test or place:\n{}", wrong.join("\n"));
}

/// Whether `FILE::NAME` is a function that is run as a test, in `tests/FILE.rs` or in the file of the source that is named.
fn is_test(test: &str, sources: &mut BTreeMap<String, String>) -> bool {
    let Some((file, name)) = test.split_once("::") else { return false };
    let path = if file.starts_with("src/") { file.to_owned() } else { format!("tests/{file}.rs") };
    if !root().join(&path).is_file() {
        return false;
    }
    let text = sources.entry(path.clone()).or_insert_with(|| read(&path));
    let declared = format!("fn {name}(");
    let Some(at) = text.find(&declared) else { return false };
    // Behind its attribute, or in a block of properties, each of which is marked as a test.
    let before: Vec<&str> = text[..at].lines().rev().take(4).collect();
    before.iter().any(|line| line.trim_start().starts_with("#[test]"))
}

/// Nothing is fetched from a network (R170), no engine is prepared (R171), nothing is served (R172), no GPU is used
/// (R173): no crate that could is built into the library or the program.
#[test]
fn nothing_fetches_serves_or_computes() {
    const NEVER: &str = "reqwest hyper ureq curl isahc attohttpc axum warp actix-web tiny_http rouille tonic rocket wgpu \
                         cudarc opencl3 ash vulkano candle-core tch ort llama-cpp-2 hf-hub oci-distribution";
    let never: BTreeSet<&str> = NEVER.split_whitespace().collect();
    let built = built_by_default();
    assert!(built.contains("larder") && built.contains("sha2"), "{built:?}");
    let found: Vec<&String> = built.iter().filter(|name| never.contains(name.as_str())).collect();
    assert!(found.is_empty(), "{found:?}");
}

/// The packages that the library and the program are built of, without those of tests and of features that are off.
fn built_by_default() -> BTreeSet<String> {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// None of its commands is for what it does not do (R170 to R173).
#[test]
fn no_command_fetches_or_serves() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_larder")).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let commands: BTreeSet<&str> =
        help.lines().filter(|line| line.starts_with("  ")).filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.contains("add") && commands.contains("gc"), "{help}");
    for never in ["pull", "download", "fetch", "serve", "server", "daemon", "run", "convert", "quantize"] {
        assert!(!commands.contains(never), "{never}");
    }
}

/// No credential is kept (R174): not one byte of any file of a store has the secret of a URL that was registered.
#[test]
fn no_file_of_a_store_has_a_credential() {
    const SECRET: &str = "zq9secret9qz";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("paper.pdf");
    fs::write(&file, "a paper").unwrap();
    let store = directory.path().join("store");
    let url = format!("https://me:{SECRET}@example.org/paper.pdf?token={SECRET}&id=7");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_larder"))
        .args(["--json", "--store"])
        .arg(&store)
        .args(["finalise", "--artifact", "a-1", "--url", &url, "--resolver", "test"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let _: Value = serde_json::from_str(line).unwrap();
        assert!(!line.contains(SECRET), "{line}");
    }
    let mut files = 0;
    no_secret_below(&store, SECRET.as_bytes(), &mut files);
    assert!(files > 3, "{files} files");
}

fn no_secret_below(directory: &Path, secret: &[u8], files: &mut usize) {
    for item in fs::read_dir(directory).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            no_secret_below(&path, secret, files);
        } else {
            *files += 1;
            let bytes = fs::read(&path).unwrap();
            assert!(!bytes.windows(secret.len()).any(|w| w == secret), "{}", path.display());
        }
    }
}
