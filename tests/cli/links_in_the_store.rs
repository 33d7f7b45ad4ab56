//! A directory of the store that somebody replaced by a symbolic link: nothing is made, changed or removed behind it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::outside::{self, Place, files, noise};

/// Everything below a directory: mode, links, mtime and bytes.
fn look(dir: &Path) -> BTreeMap<PathBuf, (u32, u64, i64, Vec<u8>)> {
    let mut seen = BTreeMap::new();
    for path in files(dir) {
        let meta = fs::symlink_metadata(&path).unwrap();
        let bytes = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        seen.insert(path, (meta.mode(), meta.nlink(), meta.mtime_nsec(), bytes));
    }
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            seen.extend(look(&path));
            seen.insert(path, (meta.mode(), meta.nlink(), meta.mtime_nsec(), Vec::new()));
        }
    }
    seen
}

/// Every kind of work, one command after another. Each answers, whatever it is that it answers.
fn all_work(place: &Place) {
    let commands: [&[&str]; 17] = [
        &["verify", "--quarantine"],
        &["check", "--repair"],
        &["repair", "--all"],
        &["add", "src/d/new", "--name", "d/new"],
        &["add", "src/d/one", "--name", "d/one", "--replace"],
        &["link", "d/two", "d/three"],
        &["mv", "d/three", "d/four"],
        &["copies", "2", "d/two"],
        &["copies", "1", "d/two"],
        &["rm", "d/two"],
        &["gc", "--grace", "0s", "--yes-most"],
        &["compact"],
        &["rebuild"],
        &["ingest", "ls"],
        &["check", "--repair"],
        &["rebuild", "--from-disk", "--discard-journal"],
        &["init"],
    ];
    for command in commands {
        let ran = place.larder(command);
        assert!((0..=5).contains(&ran.code), "{command:?}: {} {}", ran.code, ran.err);
    }
}

/// A store with two blobs of two carriers each, one of them damaged, and with work that died.
fn damaged() -> (Place, String, String) {
    let place = Place::with_store();
    for (seed, name) in [(1, "one"), (2, "two"), (3, "new")] {
        place.file(format!("src/d/{name}"), noise(seed, 3000));
    }
    place.larder(&["add", "src/d/one", "src/d/two", "--prefix", "d"]).exits(0);
    let (one, two) = (outside::digest(&noise(1, 3000)), outside::digest(&noise(2, 3000)));
    place.larder(&["copies", "2", &one, &two]).exits(0);
    let blob = place.blob(&one);
    fs::set_permissions(&blob, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&blob, noise(9, 3000)).unwrap();
    fs::set_permissions(&blob, fs::Permissions::from_mode(0o444)).unwrap();
    fs::create_dir(place.store().join("staging/00112233445566778899aabbccddeeff")).unwrap();
    (place, one, two)
}

/// Moves a directory of the store outside, and puts a link to it in its place.
fn plant(place: &Place, directory: &str) {
    let (inside, outside) = (place.store().join(directory), place.path("outside"));
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("mine"), b"mine").unwrap();
    // Copies: what is still linked into the store may change there.
    for path in files(&inside) {
        let to = outside.join(path.strip_prefix(&inside).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&path, &to).unwrap();
    }
    fs::rename(&inside, place.path("moved")).unwrap();
    symlink(&outside, &inside).unwrap();
}

#[test]
fn a_link_in_place_of_a_directory_of_the_store_leads_nowhere() {
    for directory in ["names", "sha256", "carriers", "journal", "index", "staging", "quarantine", "trash", "trees"] {
        let (place, ..) = damaged();
        plant(&place, directory);
        let before = look(&place.path("outside"));
        all_work(&place);
        assert_eq!(look(&place.path("outside")), before, "{directory}");
    }
}

#[test]
fn a_link_deeper_in_the_store_leads_nowhere() {
    let deeper: [fn(&str, &str) -> String; 6] = [
        |_, _| "names/d".to_owned(),
        |_, _| "staging/00112233445566778899aabbccddeeff".to_owned(),
        |one, _| format!("sha256/{}", &one[7..9]),
        |_, two| format!("sha256/{}", &two[7..9]),
        |one, _| format!("carriers/{}", &one[7..9]),
        |_, two| format!("carriers/{}", &two[7..9]),
    ];
    for directory in deeper {
        let (place, one, two) = damaged();
        let directory = directory(&one, &two);
        plant(&place, &directory);
        let before = look(&place.path("outside"));
        all_work(&place);
        assert_eq!(look(&place.path("outside")), before, "{directory}");
    }
}
