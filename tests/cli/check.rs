//! `larder check`, `check --repair` and `rebuild --from-disk` from outside, on a real disk.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::outside::{Place, digest, noise};

fn place() -> Place {
    let place = Place::new();
    for i in 0..20 {
        place.file(format!("d/{i:02}"), noise(i, 10_000));
    }
    place.file("d/empty", b"");
    place.json(&["add", "d"]).exits(0);
    place.json(&["link", "d/03", "also/three"]).exits(0);
    place
}

fn id(i: u64) -> String {
    digest(&noise(i, 10_000))
}

fn journal(place: &Place) -> PathBuf {
    place.store().join("journal")
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn a_sound_store_is_exit_zero_and_trouble_is_named_by_code() {
    let place = place();
    let ran = place.json(&["check"]).exits(0);
    let summary = ran.event("summary");
    assert_eq!((&summary["findings"], &summary["blobs"], &summary["names"]), (&0.into(), &21.into(), &22.into()));
    assert!(place.larder(&["check"]).exits(0).text().contains("everything agrees"));

    fs::remove_file(place.store().join("names/d/05")).unwrap();
    fs::set_permissions(place.blob(&id(6)), fs::Permissions::from_mode(0o666)).unwrap();
    fs::remove_file(place.blob(&id(3))).unwrap();
    fs::write(place.store().join("names/mine"), "somebody's").unwrap();
    let ran = place.json(&["check"]).exits(3);
    let mut codes: Vec<_> =
        ran.events("finding").iter().map(|line| line["code"].as_str().unwrap().to_owned()).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["blob-missing", "blob-mode", "name-foreign", "name-missing"]);
    let missing = ran.events("finding").into_iter().find(|line| line["code"] == "blob-missing").unwrap();
    assert_eq!((&missing["digest"], &missing["names"]), (&id(3).into(), &serde_json::json!(["also/three", "d/03"])));

    let before = fs::metadata(journal(&place)).unwrap().mtime_nsec();
    let planned = place.json(&["check", "--repair", "--dry-run"]).exits(3);
    assert_eq!(planned.events("would_mend").len(), 3);
    assert_eq!(fs::metadata(journal(&place)).unwrap().mtime_nsec(), before);
    assert!(!place.store().join("names/d/05").exists());

    // What is somebody else's stays, and is told.
    let ran = place.json(&["check", "--repair"]).exits(3);
    assert_eq!((&ran.event("summary")["mended"], &ran.event("summary")["findings"]), (&3.into(), &1.into()));
    assert_eq!(fs::read(place.store().join("names/mine")).unwrap(), b"somebody's");
    fs::remove_file(place.store().join("names/mine")).unwrap();
    place.json(&["check"]).exits(0);
    assert_eq!(fs::metadata(place.blob(&id(6))).unwrap().mode() & 0o222, 0);
    assert_eq!(fs::read(place.store().join("names/d/03")).unwrap(), noise(3, 10_000));
    place.json(&["verify"]).exits(0);
}

#[test]
fn wrong_usage_is_refused() {
    let place = place();
    place.json(&["check", "--dry-run"]).exits(2);
    place.json(&["rebuild", "--discard-journal"]).exits(2);
    place.json(&["rebuild", "--from-disk"]).exits(5);
    assert_eq!(place.json(&["check"]).exits(0).event("summary")["findings"], 0);
}

/// A flipped byte in the journal, and the index gone: the next collection refuses, a repair brings everything back.
#[test]
fn a_damaged_journal_is_mended() {
    let place = place();
    let segment = files(&journal(&place)).pop().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.len() / 3;
    bytes[at] ^= 4;
    fs::write(&segment, bytes).unwrap();
    fs::remove_dir_all(place.store().join("index")).unwrap();
    place.json(&["gc"]).exits(5);
    place.json(&["check"]).exits(3);
    let ran = place.json(&["check", "--repair"]).exits(0);
    assert_eq!(ran.event("summary")["lifted"], 1, "{}", ran.text());
    place.json(&["check"]).exits(0);
    place.json(&["gc", "--grace", "0s"]).exits(0);
    assert_eq!(place.json(&["ls"]).exits(0).names("name").len(), 22);
    let kept = files(&place.store().join("quarantine"));
    assert!(kept.iter().any(|path| path.file_name().unwrap().to_string_lossy().starts_with("damaged-")), "{kept:?}");
}

#[test]
fn a_store_without_journal_and_index_comes_back_quickly() {
    let place = Place::new();
    for i in 0..2_000_u64 {
        place.file(format!("many/{}/{i}", i % 100), i.to_string().into_bytes());
    }
    place.json(&["add", "many", "--move"]).exits(0);
    place.json(&["link", "many/1/1", "counted", "--alias", "counted"]).exits(0);
    for gone in ["journal", "index"] {
        fs::remove_dir_all(place.store().join(gone)).unwrap();
    }
    fs::remove_file(place.store().join("larder.toml")).unwrap();
    place.json(&["init"]).exits(1);
    let began = Instant::now();
    let ran = place.json(&["rebuild", "--from-disk"]).exits(0);
    let took = began.elapsed();
    let summary = ran.event("summary");
    assert_eq!((&summary["blobs"], &summary["names"], &summary["pinned"]), (&2_000.into(), &2_000.into(), &0.into()));
    assert!(summary["lost"].as_array().unwrap().iter().any(|what| what == "counted names"));
    // Ten thousand take about a second; a busy machine with an unoptimised program may take longer.
    assert!(took < Duration::from_secs(10), "{took:?}");
    place.json(&["check"]).exits(0);
    let shown = place.json(&["show", "many/7/7"]).exits(0).event("blob");
    assert!(shown["blake3"].is_null());
    assert_eq!(place.json(&["verify"]).exits(0).event("summary")["ok"], 2_000);
    assert!(place.json(&["show", "many/7/7"]).exits(0).event("blob")["blake3"].is_string());
    place.json(&["gc", "--grace", "0s"]).exits(0);
    assert_eq!(place.json(&["ls"]).exits(0).names("name").len(), 2_000);
}

/// A store that was copied without keeping its hardlinks: every inode is another one.
#[test]
fn a_copied_store_is_mended() {
    let place = place();
    let copy = place.store().with_extension("copy");
    fn copy_all(from: &Path, to: &Path) {
        fs::create_dir(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let to = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy_all(&entry.path(), &to);
            } else {
                fs::copy(entry.path(), &to).unwrap();
                let modified = entry.metadata().unwrap().modified().unwrap();
                let mode = entry.metadata().unwrap().permissions();
                fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
                fs::File::options().write(true).open(&to).unwrap().set_modified(modified).unwrap();
                fs::set_permissions(&to, mode).unwrap();
            }
        }
    }
    copy_all(&place.store(), &copy);
    let store = copy.to_str().unwrap();
    assert_eq!(place.json(&["--store", store, "check"]).exits(3).event("summary")["codes"]["blob-stamp"], 20 + 1);
    place.json(&["--store", store, "check", "--repair"]).exits(0);
    place.json(&["--store", store, "check"]).exits(0);
    place.json(&["--store", store, "verify"]).exits(0);
    let inode = |path: PathBuf| fs::metadata(path).unwrap().ino();
    let blob = |i| copy.join("sha256").join(&id(i)[7..9]).join(&id(i)[9..]);
    assert_eq!(inode(copy.join("names/d/07")), inode(blob(7)));
    assert_eq!(inode(copy.join("names/also/three")), inode(blob(3)));
}
