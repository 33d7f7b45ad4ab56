//! Getting out from outside: `get`, `checkout`, `cat`, `path`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::outside::{Place, digest, files, noise};

fn place() -> Place {
    let place = Place::new();
    place.file("d/a", noise(1, 50_000));
    place.file("d/sub/b", "two");
    place.file("d/e", "");
    fs::set_permissions(place.file("d/tool", "#!"), fs::Permissions::from_mode(0o755)).unwrap();
    place.json(&["add", "d"]).exits(0);
    place
}

#[test]
fn get_makes_a_private_file() {
    let place = place();
    let ran = place.json(&["get", "d/a", "out"]).exits(0);
    let made = ran.event("materialized");
    assert!(["copy", "reflink"].contains(&made["mode"].as_str().unwrap()));
    assert_eq!(fs::read(place.path("out")).unwrap(), noise(1, 50_000));
    let stat = fs::metadata(place.path("out")).unwrap();
    assert_eq!((stat.nlink(), stat.permissions().mode() & 0o200), (1, 0o200), "it can be written to");
    fs::write(place.path("out"), "changed").unwrap();
    place.json(&["verify"]).exits(0);

    fs::create_dir(place.path("dir")).unwrap();
    place.json(&["get", "d/sub/b", "dir"]).exits(0);
    assert_eq!(fs::read(place.path("dir/b")).unwrap(), b"two");
    place.json(&["get", &digest(b"two"), "by-digest"]).exits(0);
    assert_eq!(fs::read(place.path("by-digest")).unwrap(), b"two");
    // Where it cannot be made, it says why, and leaves nothing half.
    place.json(&["get", "d/a", "no/such/dir/out"]).exits(1);
    place.json(&["get", "d/a", "out/below"]).exits(1);
    assert!(!place.path("no").exists());
}

#[test]
fn what_was_broken_off_goes_on_with_the_same_command() {
    let place = place();
    for mode in ["copy", "reflink", "hardlink", "symlink"] {
        let words = ["checkout", "d", mode, "--mode", mode];
        // Where the filesystem has no reflinks, there is nothing to go on with.
        if place.json(&words).code == 3 {
            continue;
        }
        fs::remove_file(place.path(mode).join("sub/b")).unwrap();
        let again = place.json(&words).exits(0).event("summary");
        assert_eq!(
            (&again["files"], &again["unchanged"], &again["failed"]),
            (&1.into(), &3.into(), &0.into()),
            "{mode}"
        );
        if mode == "copy" {
            assert_eq!(again["not_restored"], 0);
        }
        // Other bytes of the same size are somebody's own.
        fs::remove_file(place.path(mode).join("sub/b")).unwrap();
        place.file(format!("{mode}/sub/b"), "own");
        place.json(&words).exits(3);
        assert_eq!(fs::read(place.path(mode).join("sub/b")).unwrap(), b"own");
    }
    place.json(&["get", "d/a", "out"]).exits(0);
    assert_eq!(place.json(&["get", "d/a", "out"]).exits(0).event("summary")["unchanged"], 1);
    place.json(&["get", "d/tool", "out"]).exits(1);
    // A link to the blob is no private file, whatever its bytes.
    place.json(&["get", "d/a", "linked", "--mode", "hardlink"]).exits(0);
    place.json(&["get", "d/a", "linked"]).exits(1);
    place.sound();
}

#[test]
fn nothing_is_overwritten_without_replace() {
    let place = place();
    place.file("out", "mine");
    for mode in ["copy", "hardlink", "symlink"] {
        place.json(&["get", "d/a", "out", "--mode", mode]).exits(1);
        assert_eq!(fs::read(place.path("out")).unwrap(), b"mine");
    }
    symlink("nowhere", place.path("link")).unwrap();
    place.json(&["get", "d/a", "link"]).exits(1);
    assert!(!place.path("nowhere").exists());
    symlink("out", place.path("to-mine")).unwrap();
    place.json(&["get", "d/a", "to-mine", "--replace"]).exits(0);
    assert_eq!(fs::read(place.path("out")).unwrap(), b"mine", "the link was replaced, not what it leads to");
    assert_eq!(fs::read(place.path("to-mine")).unwrap(), noise(1, 50_000));
    place.json(&["get", "d/a", "out", "--replace"]).exits(0);
    assert_eq!(fs::read(place.path("out")).unwrap(), noise(1, 50_000));
    // A directory is never replaced.
    place.file("full/x", "mine");
    fs::create_dir(place.path("full/a")).unwrap();
    place.json(&["get", &digest(b"two"), "full", "--replace"]);
    assert_eq!(fs::read(place.path("full/x")).unwrap(), b"mine");
    place.json(&["checkout", "d", "full", "--replace"]).exits(3);
    assert!(place.path("full/a").is_dir());

    place.file("tree/a", "mine");
    place.file("tree/other", "mine, too");
    let ran = place.json(&["checkout", "d", "tree"]).exits(3);
    assert!(ran.event("failed")["path"].as_str().unwrap().ends_with("tree/a"));
    assert_eq!(fs::read(place.path("tree/a")).unwrap(), b"mine");
    assert_eq!(fs::read(place.path("tree/sub/b")).unwrap(), b"two", "the rest went on");
    place.json(&["checkout", "d", "tree", "--replace"]).exits(0);
    assert_eq!(fs::read(place.path("tree/a")).unwrap(), noise(1, 50_000));
    assert_eq!(fs::read(place.path("tree/other")).unwrap(), b"mine, too");
    place.sound();
}

#[test]
fn checkout_makes_the_tree_below_a_prefix() {
    let place = place();
    let ran = place.json(&["checkout", "d", "out"]).exits(0);
    let names: Vec<_> = files(&place.path("out"));
    assert_eq!(names, ["out/a", "out/e", "out/sub/b", "out/tool"].map(|name| place.path(name)));
    let summary = ran.event("summary");
    assert_eq!((&summary["files"], &summary["hardlinked"], &summary["copied"]), (&4.into(), &3.into(), &1.into()));
    assert_eq!(
        fs::metadata(place.path("out/a")).unwrap().ino(),
        fs::metadata(place.blob(&digest(&noise(1, 50_000)))).unwrap().ino()
    );
    // Again: nothing to do.
    assert_eq!(place.json(&["checkout", "d", "out"]).exits(0).event("summary")["unchanged"], 4);
    place.json(&["checkout", ".", "all"]).exits(0);
    assert_eq!(files(&place.path("all")).len(), 4);
    assert_eq!(fs::read(place.path("all/d/sub/b")).unwrap(), b"two");
    place.json(&["checkout", "d/sub", "sub"]).exits(0);
    assert_eq!(fs::read(place.path("sub/b")).unwrap(), b"two");
    // One file by its name.
    place.json(&["checkout", "d/sub/b", "one"]).exits(0);
    assert_eq!(files(&place.path("one")).len(), 1);
    // One directory is made, not those above it.
    place.json(&["checkout", "d", "deep/er/out"]).exits(1);
    assert!(!place.path("deep").exists());
    place.sound();
}

#[test]
fn every_mode_does_what_it_is_called() {
    let place = place();
    for mode in ["hardlink", "reflink", "copy", "symlink"] {
        let ran = place.json(&["checkout", "d", mode, "--mode", mode]);
        assert!([0, 3].contains(&ran.code), "{}", ran.err);
        let summary = ran.event("summary");
        assert_eq!(summary["failed"], 0, "{mode}: {}", ran.text());
        let root = place.path(mode);
        assert_eq!(fs::read(root.join("a")).unwrap(), noise(1, 50_000), "{mode}");
        let stat = fs::symlink_metadata(root.join("a")).unwrap();
        match mode {
            "hardlink" => assert!(stat.nlink() > 1),
            "symlink" => {
                assert!(stat.is_symlink());
                assert!(fs::read_link(root.join("a")).unwrap().is_absolute());
            }
            _ => {
                assert_eq!(stat.nlink(), 1);
                assert_eq!(fs::metadata(root.join("tool")).unwrap().permissions().mode() & 0o111, 0o111);
                let when = |path| fs::metadata(path).unwrap().modified().unwrap();
                assert_eq!(when(root.join("a")), when(place.path("d/a")));
            }
        }
        if summary["fallbacks"].as_array().is_some_and(|list| !list.is_empty()) {
            assert!(summary["fallbacks"][0]["reason"].as_str().unwrap().len() > 5);
        }
    }
    let ran = place.larder(&["checkout", "d", "words"]).exits(0);
    assert!(ran.text().contains("fell back") && ran.text().contains("empty"), "{}", ran.text());
    place.sound();
}

#[test]
fn secret_bytes_stay_secret_on_their_way_out() {
    let place = Place::with_store();
    fs::set_permissions(place.file("secret", "s"), fs::Permissions::from_mode(0o600)).unwrap();
    place.json(&["add", "secret"]).exits(0);
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o077;
    assert_eq!(mode(place.blob(&digest(b"s"))), 0);
    assert_eq!(mode(place.store().join("names/secret")), 0);
    for how in ["copy", "hardlink"] {
        place.json(&["get", "secret", how, "--mode", how]).exits(0);
        assert_eq!(mode(place.path(how)), 0, "{how}");
    }
}

#[test]
fn links_in_the_destination_lead_nobody_out_of_it() {
    let place = place();
    fs::create_dir(place.path("outside")).unwrap();
    fs::create_dir(place.path("out")).unwrap();
    symlink(place.path("outside"), place.path("out/sub")).unwrap();
    for replace in [false, true] {
        let mut words = vec!["checkout", "d", "out"];
        words.extend(replace.then_some("--replace"));
        let ran = place.json(&words);
        assert!([0, 3].contains(&ran.code), "{}", ran.err);
        assert_eq!(files(&place.path("outside")).len(), 0, "nothing was made outside: {}", ran.text());
    }
}

#[test]
fn never_into_the_store() {
    let place = place();
    let before = files(&place.store().join("sha256")).len();
    for target in ["store", "store/names", "store/sha256", "store/journal", "store/names/d/a"] {
        for words in
            [&["checkout", "d", target][..], &["get", "d/sub/b", target], &["get", "d/sub/b", target, "--replace"]]
        {
            let ran = place.json(words);
            assert!([0, 1, 3, 5].contains(&ran.code), "{words:?}: {}", ran.err);
        }
    }
    assert_eq!(files(&place.store().join("sha256")).len(), before, "nothing foreign among the blobs");
    place.json(&["verify"]).exits(0);
    assert_eq!(place.cat("d/a"), noise(1, 50_000));
}

#[test]
fn a_damaged_blob_is_said_to_be_one() {
    let place = place();
    let blob = place.blob(&digest(b"two"));
    fs::set_permissions(&blob, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&blob, "TWO").unwrap();
    place.json(&["verify"]).exits(3);
    for words in [&["get", "d/sub/b", "out"][..], &["cat", "d/sub/b"], &["get", &digest(b"two"), "out"]] {
        let ran = place.larder(words).exits(3);
        assert!(ran.out.is_empty(), "{words:?} gives no other bytes");
        assert!(ran.err.contains(&digest(b"two")), "{words:?}: {}", ran.err);
        assert!(!place.path("out").exists());
    }
    let ran = place.json(&["checkout", "d", "tree"]).exits(3);
    assert_eq!(ran.event("summary")["files"], 3);
    // Gone altogether.
    fs::remove_file(&blob).unwrap();
    fs::remove_file(place.store().join("names/d/sub/b")).unwrap();
    for words in [&["get", "d/sub/b", "out"][..], &["cat", "d/sub/b"], &["checkout", "d/sub", "other"]] {
        assert_eq!(place.json(words).code, 3, "{words:?}");
    }
}

#[test]
fn rot_that_no_stamp_tells_never_comes_out_whole() {
    let place = Place::with_store();
    for (name, size) in [("small", 3), ("large", 5_000_000)] {
        place.file(name, noise(9, size));
        place.json(&["add", name]).exits(0);
        let blob = place.blob(&digest(&noise(9, size)));
        let before = fs::metadata(&blob).unwrap();
        fs::set_permissions(&blob, fs::Permissions::from_mode(0o644)).unwrap();
        let mut bytes = noise(9, size);
        bytes[1] ^= 1;
        fs::write(&blob, &bytes).unwrap();
        fs::File::open(&blob).unwrap().set_modified(before.modified().unwrap()).unwrap();
        fs::set_permissions(&blob, before.permissions()).unwrap();
        let ran = place.larder(&["cat", name]).exits(3);
        assert!(ran.out.len() < size, "{name}");
        place.json(&["get", name, "out"]).exits(3);
        assert!(!place.path("out").exists());
        let ran = place.json(&["checkout", name, "tree", "--mode", "copy"]).exits(3);
        assert_eq!(ran.event("summary")["failed"], 1);
        assert_eq!(files(&place.path("tree")).len(), 0);
    }
}

#[test]
fn cat_and_path_give_what_they_say() {
    let place = place();
    assert_eq!(place.cat("d/a"), noise(1, 50_000));
    assert_eq!(place.cat("d/e"), b"");
    let path = place.larder(&["path", "d/a"]).exits(0).text();
    assert_eq!(fs::read(path.trim_end_matches('\n')).unwrap(), noise(1, 50_000));
    let json = place.json(&["path", "d/a"]).exits(0).event("path");
    assert_eq!(json["path"], path.trim_end());
    place.json(&["cat", "d"]).exits(1);
}
