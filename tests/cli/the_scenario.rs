//! The scenario that the store is for: a few thousand real files go in, are verified, checked out and compared byte for
//! byte; half of the names are removed and collected; the rest is verified again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::outside::{self, Place, files};

/// Files that are looked at, at most: enough to be a scenario, few enough for every run of the tests.
const MOST: usize = 3200;

/// The sources of the crates that this was built with, or this repository where they are not kept.
fn real_tree() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let registry = home.map(|home| home.join("registry/src"));
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    registry.filter(|path| path.is_dir()).unwrap_or_else(|| here.join("src"))
}

/// Links or copies files of the real tree into the place, until there are enough.
fn gather(place: &Place) -> BTreeMap<String, PathBuf> {
    let root = real_tree();
    let mut found = BTreeMap::new();
    let mut round = 0;
    while found.len() < 3000 && round < 20 {
        for path in files(&root) {
            let stat = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(&root).unwrap();
            let Some(text) = name.to_str().filter(|name| !name.contains(char::is_control)) else { continue };
            if !stat.is_file() || found.len() >= MOST {
                continue;
            }
            let copy = place.path("tree").join(format!("{round}")).join(name);
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::copy(&path, &copy).unwrap();
            found.insert(format!("tree/{round}/{text}"), copy);
        }
        round += 1;
    }
    found
}

#[test]
fn thousands_of_real_files_go_in_and_out() {
    let place = Place::new();
    let sources = gather(&place);
    assert!(sources.len() >= 3000, "there are {} files", sources.len());
    let added = place.json(&["add", "tree"]).exits(0);
    assert_eq!(added.events("added").len(), sources.len());
    let listed = place.names();
    assert_eq!(listed.keys().collect::<Vec<_>>(), sources.keys().collect::<Vec<_>>());

    let verified = place.json(&["verify"]).exits(0).event("summary");
    let blobs = verified["blobs"].as_u64().unwrap();
    let distinct: std::collections::BTreeSet<_> = listed.values().collect();
    assert_eq!(blobs, distinct.len() as u64);

    let compare = |root: &Path, names: &mut dyn Iterator<Item = &String>| {
        let mut compared = 0;
        for name in names {
            let out = root.join(name.strip_prefix("tree/").unwrap());
            assert!(outside::same_bytes(&sources[name], &out), "{name} came out as it went in");
            compared += 1;
        }
        assert_eq!(files(root).len(), compared, "nothing else came out");
    };
    place.json(&["checkout", "tree", "linked"]).exits(0);
    compare(&place.path("linked"), &mut sources.keys());
    place.json(&["checkout", "tree", "copied", "--mode", "copy"]).exits(0);
    compare(&place.path("copied"), &mut sources.keys());

    // Half of the names, and then what only they kept.
    let (gone, kept): (Vec<_>, Vec<_>) = sources.keys().enumerate().partition(|(i, _)| i % 2 == 0);
    for chunk in gone.chunks(500) {
        let words: Vec<&str> = ["rm", "-q"].into_iter().chain(chunk.iter().map(|(_, name)| name.as_str())).collect();
        place.larder(&words).exits(0);
    }
    assert_eq!(place.names().len(), kept.len());
    place.json(&["gc", "--grace", "0s", "--yes-most"]).exits(0);
    let stay: std::collections::BTreeSet<_> = kept.iter().map(|(_, name)| &listed[*name]).collect();
    assert_eq!(files(&place.store().join("sha256")).len(), stay.len());
    let verified = place.json(&["verify"]).exits(0).event("summary");
    assert_eq!(verified["ok"].as_u64().unwrap(), stay.len() as u64);
    place.json(&["checkout", "tree", "rest"]).exits(0);
    compare(&place.path("rest"), &mut kept.iter().map(|(_, name)| *name));
    // What was linked out before is not the store's to take away.
    compare(&place.path("linked"), &mut sources.keys());

    // And all of it comes back.
    place.json(&["add", "tree"]).exits(0);
    assert_eq!(place.names(), listed);
    fs::remove_dir_all(place.store().join("index")).unwrap();
    assert_eq!(place.names(), listed);
    place.sound();
}
