//! `larder add` from outside: what goes in, under which name, and what is reported.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::outside::{self, Place, Running, allocated, digest, noise, os, run, until};

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn the_first_add_makes_the_store_and_says_so() {
    let place = Place::new();
    place.file("dir/a", "1");
    let ran = place.json(&["add", "dir"]).exits(0);
    assert!(ran.event("notice")["text"].as_str().unwrap().contains("Made a store"));
    assert_eq!(ran.event("summary")["store_created"], true);
    let added = ran.event("added");
    assert_eq!(added["name"], "dir/a");
    assert_eq!(added["digest"], digest(b"1"));
    assert_eq!((&added["size_bytes"], &added["status"]), (&1.into(), &"new".into()));

    // An empty directory is a place for a store, any other is not.
    fs::create_dir(place.path("empty")).unwrap();
    place.larder(&["add", "dir", "--store", "empty"]).exits(0);
    place.larder(&["add", "dir", "--store", "dir"]).exits(1);
    assert_eq!(fs::read_dir(place.path("dir")).unwrap().count(), 1, "nothing was made there");
}

#[test]
fn names_come_from_the_base_name_and_the_path_below() {
    let place = Place::with_store();
    place.file("top/dir/a", "1");
    place.file("top/dir/sub/b", "2");
    let names = |args: &[&str], dir: &str| {
        let mut command = place.command(args);
        command.arg("--json").current_dir(place.path(dir));
        let ran = run(command).exits(0);
        ran.names("added")
    };
    assert_eq!(names(&["add", "top/dir"], ""), ["dir/a", "dir/sub/b"]);
    assert_eq!(names(&["add", "top/dir/"], ""), ["dir/a", "dir/sub/b"]);
    assert_eq!(names(&["add", "."], "top/dir"), ["a", "sub/b"]);
    assert_eq!(names(&["add", "./"], "top/dir"), ["a", "sub/b"]);
    assert_eq!(names(&["add", ".."], "top/dir"), ["top/dir/a", "top/dir/sub/b"]);
    assert_eq!(names(&["add", "sub/b"], "top/dir"), ["b"]);
    assert_eq!(names(&["add", "sub/b", "--name", "x/y"], "top/dir"), ["x/y"]);
    assert_eq!(names(&["add", "sub/b", "a", "--prefix", "p/q"], "top/dir"), ["p/q/b", "p/q/a"]);
    assert_eq!(names(&["add", ".", "--prefix", "r/"], "top/dir"), ["r/a", "r/sub/b"]);
}

#[test]
fn standard_input_is_added_under_its_name() {
    let place = Place::with_store();
    let bytes = noise(1, 300_000);
    place.fed(&["add", "-", "--name", "in/put"], &bytes).exits(0);
    assert_eq!(place.cat("in/put"), bytes);
    place.fed(&["add", "-", "--name", "empty"], b"").exits(0);
    assert_eq!(place.cat("empty"), b"");
    let ran = place.fed(&["add", "-", "--name", "again", "--json"], &bytes).exits(0);
    assert_eq!(ran.event("added")["status"], "dedup");
    // Without a name there is no name for it.
    place.fed(&["add", "-"], b"x").exits(2);
    place.fed(&["add", "-", "--name", "no", "--expect", &digest(b"y")], b"x").exits(1);
    assert!(!place.names().contains_key("no"));
    place.sound();
}

#[test]
fn known_bytes_are_not_stored_again() {
    let place = Place::with_store();
    place.file("d/a", noise(1, 100_000));
    place.file("d/b", noise(1, 100_000));
    place.file("e/c", noise(1, 100_000));
    let ran = place.json(&["add", "d", "--jobs", "1"]).exits(0);
    let statuses: Vec<_> = ran.events("added").iter().map(|line| line["status"].clone()).collect();
    assert_eq!(statuses, ["new", "dedup"]);
    let before = allocated(&place.store().join("sha256"));
    let ran = place.json(&["add", "e"]).exits(0);
    assert_eq!(ran.event("added")["status"], "dedup");
    assert_eq!(ran.event("summary")["dedup_bytes"], 100_000);
    assert_eq!(allocated(&place.store().join("sha256")), before);
    let ran = place.json(&["add", "d", "e"]).exits(0);
    assert_eq!(ran.event("summary")["unchanged_files"], 3);
    let inode = |path: &str| fs::metadata(place.store().join(path)).unwrap().ino();
    assert_eq!(inode("names/d/a"), inode("names/e/c"));
}

#[test]
fn other_bytes_than_expected_are_refused_and_nothing_is_kept() {
    let place = Place::new();
    place.file("f", "bytes");
    let wrong = digest(b"others");
    for take in [&["add", "f"][..], &["add", "--move", "f"], &["add", "--link", "f"]] {
        let ran = place.json(&[take, &["--expect", &wrong]].concat()).exits(1);
        assert!(ran.events("added").is_empty());
        assert!(ran.err.contains(&wrong), "the message names what was expected: {}", ran.err);
        assert_eq!(fs::read(place.path("f")).unwrap(), b"bytes");
        assert_eq!(fs::metadata(place.path("f")).unwrap().permissions().mode() & 0o222, 0o200, "{take:?}");
    }
    assert!(place.names().is_empty());
    assert_eq!(outside::files(&place.store().join("sha256")), Vec::<std::path::PathBuf>::new());
    place.json(&["add", "f", "--expect", &digest(b"bytes")]).exits(0);
    // A wrong digest where the name and other bytes are there already.
    place.json(&["add", "f", "--expect", &wrong]).exits(1);
    place.json(&["add", "f", "--expect", "sha256:12"]).exits(2);
    place.json(&["add", "f", "--expect", &digest(b"bytes").to_uppercase()]).exits(2);
    place.sound();
}

#[test]
fn empty_files_are_kept_and_never_hardlinked_outside() {
    let place = Place::with_store();
    place.file("d/e1", "");
    place.file("d/e2", "");
    place.json(&["add", "d"]).exits(0);
    assert_eq!(place.names().len(), 2);
    let ran = place.json(&["checkout", "d", "out", "--mode", "hardlink"]).exits(0);
    assert_eq!(ran.event("summary")["copied"], 2);
    let stat = fs::metadata(place.path("out/e1")).unwrap();
    assert_eq!((stat.nlink(), stat.len()), (1, 0));
    for take in ["--move", "--link"] {
        place.file("e3", "");
        place.json(&["add", take, "e3"]).exits(0);
        assert_eq!(place.path("e3").exists(), take == "--link");
    }
    place.sound();
}

#[test]
fn special_files_are_skipped_and_nothing_hangs() {
    let place = Place::with_store();
    place.file("d/a", "1");
    nix::unistd::mkfifo(&place.path("d/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(place.path("d/socket")).unwrap();
    let ran = place.json(&["add", "d"]).exits(0);
    let skipped: Vec<_> = ran.events("skipped").iter().map(|line| line["path"].clone()).collect();
    assert_eq!(skipped.len(), 2);
    assert!(skipped[0].as_str().unwrap().ends_with("d/fifo"));
    assert_eq!(ran.event("summary")["skipped"], 2);
    assert_eq!(ran.names("added"), ["d/a"]);
    // Named by itself, and behind a symbolic link, it hangs no more.
    place.json(&["add", "d/fifo"]);
    symlink("fifo", place.path("d/link")).unwrap();
    place.json(&["add", "d"]).exits(0);
    place.json(&["add", "/dev/null"]);
    place.json(&["add", "--move", "d/fifo"]);
    assert!(place.path("d/fifo").exists());
    assert_eq!(place.names().len(), 1);
}

#[test]
fn unreadable_files_are_reported_and_the_rest_goes_on() {
    let place = Place::new();
    place.file("d/a", "1");
    mode(&place.file("d/locked", "2"), 0o000);
    place.file("d/dark/x", "3");
    mode(&place.path("d/dark"), 0o000);
    place.file("d/z", "4");
    fs::create_dir(place.path("theirs")).unwrap();
    mode(&place.path("theirs"), 0o777);
    let ran = place.as_nobody(&["add", "d", "--json", "--store", "theirs/store"]).exits(3);
    assert_eq!(ran.names("added"), ["d/a", "d/z"]);
    let failed: Vec<_> = ran.events("failed").iter().map(|line| line["path"].as_str().unwrap().to_owned()).collect();
    assert!(failed.iter().any(|path| path.ends_with("d/locked")), "{failed:?}");
    assert!(failed.iter().any(|path| path.ends_with("d/dark")), "{failed:?}");
    assert_eq!(ran.event("summary")["failed"], 2);
    mode(&place.path("d/dark"), 0o755);

    let ran = place.json(&["add", "d/a", "missing", "d/z"]).exits(3);
    assert_eq!(ran.names("added"), ["a", "z"]);
    assert!(ran.event("failed")["reason"].as_str().unwrap().contains("No such file"));
}

#[test]
fn names_that_are_not_utf8_go_in_and_out() {
    let place = Place::with_store();
    let odd = os(b"n\xff\xfe");
    place.file("d/plain", "1");
    fs::write(place.path("d").join(&odd), "odd").unwrap();
    let ran = place.json(&["add", "d"]).exits(0);
    let line = &ran.events("added")[0];
    assert_eq!(line["name"], "d/n\u{fffd}\u{fffd}");
    assert_eq!(line["name_bytes"], "ZC9u//4=");
    assert!(ran.events("added")[1].get("name_bytes").is_none());

    let name = os(b"d/n\xff\xfe");
    let with = |words: &[&str]| -> Vec<std::ffi::OsString> {
        words.iter().map(|word| if *word == "@" { name.clone() } else { (*word).into() }).collect()
    };
    assert_eq!(place.larder(&with(&["cat", "@"])).exits(0).out, b"odd");
    for command in [&["ls", "@"][..], &["show", "@"], &["why", "@"], &["get", "@", "got"], &["checkout", "d", "tree"]] {
        let ran = place.json(&with(command)).exits(0);
        assert!(ran.text().contains("_bytes\":"), "{command:?}: {}", ran.text());
    }
    assert_eq!(fs::read(place.path("tree").join(&odd)).unwrap(), b"odd");
    let whole = place.json(&["where", digest(b"odd").trim_start_matches("sha256:")]).exits(0).event("where");
    assert_eq!(whole["names_bytes"][0], "ZC9u//4=");
    assert!(place.json(&["verify"]).exits(0).text().contains("names_bytes"));
    let ran = place.json(&with(&["link", "@", "other"])).exits(0);
    assert!(ran.text().contains("target_bytes"), "{}", ran.text());
    let ran = place.json(&with(&["mv", "@", "d/mended"])).exits(0);
    assert!(ran.text().contains("from_bytes"), "{}", ran.text());
    let ran = place.json(&with(&["mv", "d/mended", "@"])).exits(0);
    assert!(ran.text().contains("name_bytes"), "{}", ran.text());
    let ran = place.json(&with(&["unlink", "@"])).exits(0);
    assert!(ran.text().contains("name_bytes"), "{}", ran.text());
    place.json(&with(&["add", "d"])).exits(0);
    let ran = place.json(&with(&["rm", "@", "--dry-run"])).exits(0);
    assert!(ran.text().contains("name_bytes"), "{}", ran.text());
    place.larder(&with(&["rm", "@"])).exits(0);
    place.sound();
}

#[test]
fn control_characters_and_overlong_names_are_refused_and_the_rest_goes_on() {
    let place = Place::with_store();
    place.file("d/ok", "1");
    for bad in [&b"a\nb"[..], b"esc\x1b[31m", b"bell\x07", b"del\x7f"] {
        fs::write(place.path("d").join(os(bad)), "2").unwrap();
    }
    let ran = place.json(&["add", "d"]).exits(3);
    assert_eq!(ran.events("failed").len(), 4);
    assert_eq!(ran.names("added"), ["d/ok"]);
    let ran = place.larder(&["add", "d"]).exits(3);
    assert!(!ran.err.as_bytes().iter().any(|byte| matches!(byte, 0x1b | 0x07 | 0x7f)), "escaped: {}", ran.err);
    let long = "x".repeat(256);
    for bad in ["..", ".", "a/../b", "/a", "a//b", "a/", "", "a/./b", &long, &"y/".repeat(300)] {
        place.json(&["add", "d/ok", "--name", bad]).exits(2);
    }
    assert_eq!(place.names().len(), 1);
}

#[test]
fn symbolic_links_inside_become_names_and_others_are_skipped() {
    let place = Place::with_store();
    place.file("d/sub/real", "real");
    place.file("elsewhere", "outside");
    symlink("sub/real", place.path("d/alias")).unwrap();
    symlink(place.path("d/sub/real"), place.path("d/absolute")).unwrap();
    symlink("alias", place.path("d/twice")).unwrap();
    symlink("../elsewhere", place.path("d/out")).unwrap();
    symlink("nowhere", place.path("d/dangling")).unwrap();
    symlink("sub", place.path("d/directory")).unwrap();
    symlink("loop", place.path("d/loop")).unwrap();
    symlink(".", place.path("d/dot")).unwrap();
    let ran = place.json(&["add", "d"]).exits(0);
    let mut names = ran.names("added");
    names.sort();
    assert_eq!(names, ["d/absolute", "d/alias", "d/sub/real", "d/twice"]);
    assert_eq!(ran.events("skipped").len(), 5);
    assert!(ran.events("added").iter().all(|line| line["digest"] == digest(b"real")));

    // A link that is named itself is followed, and what it leads to is never moved.
    let ran = place.json(&["add", "--move", "d/out"]).exits(0);
    assert_eq!(ran.names("added"), ["out"]);
    assert_eq!(fs::read(place.path("elsewhere")).unwrap(), b"outside");
    assert!(place.path("d/out").exists());
}

#[test]
fn a_tree_that_contains_the_store_does_not_take_the_store_in() {
    let place = Place::new();
    place.file("tree/a", "1");
    let store = place.path("tree/inner/store");
    let store = store.to_str().unwrap();
    for _ in 0..2 {
        let ran = place.json(&["--store", store, "add", "tree"]).exits(0);
        assert_eq!(ran.names("added"), ["tree/a"]);
    }
    let ran = place.json(&["--store", store, "add", "tree"]).exits(0);
    assert!(ran.event("skipped")["reason"].as_str().unwrap().contains("store itself"));
    assert_eq!(ran.event("added")["status"], "unchanged");
}

#[test]
fn the_stores_own_files_are_never_taken_in() {
    let place = Place::new();
    place.file("tree/a", "bytes");
    place.json(&["add", "tree"]).exits(0);
    let blob = place.blob(&digest(b"bytes"));
    symlink(&blob, place.path("tree/into")).unwrap();
    let inside = ["store", "store/sha256", "store/names", "store/names/tree", "store/names/tree/a", "store/journal"];
    let blob = blob.to_str().unwrap().to_owned();
    for path in inside.iter().copied().chain([blob.as_str(), "store/larder.toml", "store/.", "tree/into"]) {
        for how in [&["add"][..], &["add", "--move"], &["add", "--link"]] {
            let ran = place.json(&[how, &[path, "--prefix", "again"]].concat());
            if path != "tree/into" {
                assert!(ran.events("added").is_empty(), "{path}: {}", ran.text());
            }
            assert!([0, 3].contains(&ran.code), "{path}: {}", ran.err);
        }
    }
    place.json(&["verify"]).exits(0);
    assert_eq!(place.cat("tree/a"), b"bytes");
    assert!(place.store().join("names/tree/a").exists());
}

#[test]
fn a_source_that_changes_is_refused_or_kept_as_it_was_at_one_moment() {
    let place = Place::with_store();
    let path = place.file("growing", noise(3, 4 << 20));
    let stop = AtomicBool::new(false);
    let refused = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = OpenOptions::new().append(true).open(&path).unwrap();
            while !stop.load(Ordering::Relaxed) {
                file.write_all(b"x").unwrap();
            }
        });
        let mut refused = None;
        for round in 0..20 {
            let ran = place.json(&["add", "growing", "--name", &format!("round/{round}")]);
            if ran.code == 3 {
                refused = Some(ran);
                break;
            }
            assert_eq!(ran.code, 0, "{}", ran.err);
        }
        stop.store(true, Ordering::Relaxed);
        refused
    });
    let refused = refused.expect("a file that grows all the time is refused at last");
    assert!(refused.event("failed")["reason"].as_str().unwrap().contains("changed"), "{}", refused.text());
    let whole = fs::read(&path).unwrap();
    for (name, _) in place.names() {
        assert!(whole.starts_with(&place.cat(&name)), "{name} is what the file was at one moment");
    }
    place.sound();
}

#[test]
fn a_name_that_means_other_bytes_is_refused_and_the_rest_goes_on() {
    let place = Place::with_store();
    place.file("d/a", "old");
    place.file("d/b", "same");
    place.json(&["add", "d"]).exits(0);
    place.file("d/a", "new");
    place.file("d/c", "more");
    let ran = place.json(&["add", "d"]).exits(3);
    assert_eq!(ran.names("added"), ["d/b", "d/c"]);
    assert!(ran.event("failed")["path"].as_str().unwrap().ends_with("d/a"));
    assert_eq!(place.cat("d/a"), b"old");
    let ran = place.json(&["add", "d", "--replace"]).exits(0);
    assert_eq!(ran.events("added").len(), 3);
    assert_eq!(place.cat("d/a"), b"new");
    assert_eq!(fs::read(place.store().join("names/d/a")).unwrap(), b"new");
    // The old bytes are kept for their grace.
    assert_eq!(place.larder(&["cat", &digest(b"old")]).exits(0).out, b"old");

    // The same name twice in one command.
    place.file("x/same", "1");
    place.file("y/same", "2");
    let ran = place.json(&["add", "x/same", "y/same"]).exits(3);
    assert_eq!(ran.events("added").len(), 1);
    place.sound();
}

#[test]
fn names_that_differ_by_case_and_files_against_directories_are_reported() {
    let place = Place::with_store();
    place.file("d/Readme", "1");
    place.file("d/README", "2");
    let ran = place.json(&["add", "d"]).exits(0);
    assert!(ran.event("notice")["text"].as_str().unwrap().contains("case"));
    place.file("readme", "3");
    let ran = place.json(&["add", "readme", "--prefix", "D"]).exits(0);
    assert_eq!(ran.events("notice").len(), 2);
    let ran = place.larder(&["add", "d", "--prefix", "again"]).exits(0);
    assert!(ran.err.contains("case"), "{}", ran.err);

    for clash in ["d", "d/README/below"] {
        let ran = place.json(&["add", "readme", "--name", clash]).exits(3);
        assert!(ran.event("failed")["reason"].as_str().unwrap().contains("directory"), "{}", ran.text());
        let ran = place.json(&["add", "readme", "--name", clash, "--replace"]).exits(3);
        assert_eq!(ran.events("added").len(), 0);
    }
    place.sound();
}

#[test]
fn move_takes_files_in_by_link_and_their_old_names_away() {
    let place = Place::with_store();
    let path = place.file("d/plain", noise(1, 9000));
    let inode = fs::metadata(&path).unwrap().ino();
    let ran = place.json(&["add", "--move", "d"]).exits(0);
    assert!(ran.event("added").get("note").is_none(), "{}", ran.text());
    assert!(!path.exists());
    assert_eq!(place.cat("d/plain"), noise(1, 9000));
    let blob = fs::metadata(place.blob(&digest(&noise(1, 9000)))).unwrap();
    assert_eq!(blob.ino(), inode, "no byte was copied");
    assert_eq!(blob.permissions().mode() & 0o7777, 0o444);
    place.sound();
}

#[test]
fn move_never_takes_the_name_of_what_it_did_not_keep() {
    let place = Place::with_store();
    place.file("taken", "first");
    place.json(&["add", "taken", "--name", "name"]).exits(0);
    let path = place.file("other", "second");
    place.json(&["add", "--move", "other", "--name", "name"]).exits(3);
    assert_eq!(fs::read(&path).unwrap(), b"second");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644, "it is as it was");
    assert_eq!(fs::metadata(&path).unwrap().nlink(), 1);

    // A dedup hit whose stored copy is bad is no reason to give up the only good copy: it heals.
    let good = place.file("good", noise(5, 9000));
    place.json(&["add", "good"]).exits(0);
    let blob = place.blob(&digest(&noise(5, 9000)));
    flip(&blob, 4000);
    place.json(&["add", "--move", "good", "--name", "healed"]).exits(0);
    assert!(!good.exists());
    assert_eq!(place.cat("healed"), noise(5, 9000));
    assert_eq!(place.cat("good"), noise(5, 9000));
    place.sound();
}

/// Changes a byte and leaves the times as they were.
fn flip(path: &Path, at: usize) {
    let before = fs::metadata(path).unwrap();
    mode(path, 0o644);
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
    fs::set_permissions(path, before.permissions()).unwrap();
}

#[test]
fn a_file_that_is_open_for_writing_is_copied_and_stays() {
    let place = Place::with_store();
    for take in ["--move", "--link"] {
        let path = place.file("d/log", "begun");
        let mut writer = OpenOptions::new().append(true).open(&path).unwrap();
        let ran = place.json(&["add", take, "d/log", "--name", take.trim_start_matches('-')]).exits(0);
        let note = ran.event("added")["note"].as_str().unwrap().to_owned();
        assert!(note.contains("open for writing"), "{note}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        writer.write_all(b" and ended").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"begun and ended", "{take}: what is written later is not lost");
        assert_eq!(place.cat(take.trim_start_matches('-')), b"begun");
    }
    place.sound();
}

#[test]
fn nothing_becomes_more_widely_readable_or_loses_its_bits_by_link() {
    let place = Place::with_store();
    for (name, bits, link_note) in [
        ("secret", 0o600, "readable"),
        ("suid", 0o4755, "setuid"),
        ("group", 0o640, "readable"),
        ("exe", 0o755, "executable"),
    ] {
        let path = place.file(format!("d/{name}"), name);
        mode(&path, bits);
        let ran = place.json(&["add", "--link", &format!("d/{name}")]).exits(0);
        let note = ran.event("added")["note"].as_str().unwrap().to_owned();
        assert!(note.contains(link_note), "{note}");
        let stat = fs::metadata(&path).unwrap();
        assert_eq!((stat.permissions().mode() & 0o7777, stat.nlink()), (bits, 1), "{name} is as it was");
    }
    for secret in ["secret", "group"] {
        let blob = fs::metadata(place.blob(&digest(secret.as_bytes()))).unwrap();
        assert_eq!(blob.permissions().mode() & 0o004, 0, "the copy of {secret} is not readable to all");
    }
    assert_eq!(fs::metadata(place.blob(&digest(b"suid"))).unwrap().permissions().mode() & 0o7222, 0);
    assert_eq!(place.json(&["ls", "exe"]).exits(0).event("name")["executable"], true);
    place.json(&["get", "exe", "out"]).exits(0);
    assert_eq!(fs::metadata(place.path("out")).unwrap().permissions().mode() & 0o111, 0o111);
    place.sound();
}

#[test]
fn link_makes_the_source_a_name_of_the_blob() {
    let place = Place::with_store();
    let path = place.file("plain", "linked");
    place.json(&["add", "--link", "plain"]).exits(0);
    let (source, blob) = (fs::metadata(&path).unwrap(), fs::metadata(place.blob(&digest(b"linked"))).unwrap());
    assert_eq!((source.ino(), source.permissions().mode() & 0o777), (blob.ino(), 0o444));
    // What is a name of the blob already may be moved away: the blob stays.
    place.json(&["add", "--move", "plain", "--name", "moved"]).exits(0);
    assert!(!path.exists());
    assert_eq!(place.cat("moved"), b"linked");
    place.sound();
}

#[test]
fn another_filesystem_makes_it_a_copy_with_the_reason() {
    let place = Place::with_store();
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else { return };
    if fs::metadata(other.path()).unwrap().dev() == fs::metadata(place.store()).unwrap().dev() {
        return;
    }
    let path = other.path().join("f");
    for (take, stays) in [("--link", true), ("--move", false)] {
        fs::write(&path, take).unwrap();
        let ran = place.json(&["add".as_ref(), take.as_ref(), path.as_os_str(), "--replace".as_ref()]).exits(0);
        assert!(ran.event("added")["note"].as_str().unwrap().contains("copied"), "{}", ran.text());
        assert_eq!(path.exists(), stays);
        assert_eq!(place.cat("f"), take.as_bytes());
    }
    let out = other.path().join("out");
    let ran = place.json(&["checkout".as_ref(), ".".as_ref(), out.as_os_str()]).exits(0);
    assert_eq!(ran.event("summary")["copied"], 1);
    assert!(ran.text().contains("\"fallbacks\":[{"), "{}", ran.text());
    place.sound();
}

#[test]
fn holes_are_kept_and_cost_nothing() {
    let place = Place::with_store();
    let path = place.path("sparse");
    let file = fs::File::create(&path).unwrap();
    file.set_len(256 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"middle", 128 << 20).unwrap();
    drop(file);
    place.json(&["add", "sparse"]).exits(0);
    let blob = fs::metadata(place.store().join("names/sparse")).unwrap();
    assert_eq!(blob.len(), 256 << 20);
    assert!(blob.blocks() * 512 < 1 << 20, "{} bytes allocated", blob.blocks() * 512);
    place.json(&["get", "sparse", "out", "--mode", "copy"]).exits(0);
    let out = fs::metadata(place.path("out")).unwrap();
    assert_eq!(out.len(), 256 << 20);
    assert!(out.blocks() * 512 < 1 << 20, "{} bytes allocated", out.blocks() * 512);
    assert!(outside::same_bytes(&path, &place.path("out")));
    assert!(place.json(&["ls"]).event("summary")["physical_bytes"].as_u64().unwrap() < 1 << 20);
}

#[test]
fn a_terabyte_of_nothing_allocates_nothing_and_can_be_interrupted_at_once() {
    let place = Place::with_store();
    fs::File::create(place.path("huge")).unwrap().set_len(1 << 40).unwrap();
    let before = allocated(&place.store());
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let mut command = place.command(&["--json", "add", "huge"]);
        command.stderr(std::process::Stdio::null());
        let running = Running::start(command);
        // It is under way as soon as its staged file is there, which has a number.
        let is_number =
            |path: &std::path::PathBuf| path.to_string_lossy().rsplit('/').next().unwrap().parse::<u64>().is_ok();
        until("the file is being staged", || place.staged().iter().any(is_number));
        running.signal(signal);
        let asked = std::time::Instant::now();
        let (ran, rest) = running.end();
        assert!(asked.elapsed().as_secs() < 20, "it stops at once, not after {:?}", asked.elapsed());
        assert_eq!(ran.code, 1);
        assert_eq!(rest.last().unwrap()["interrupted"], true);
        assert!(rest.iter().all(|line| line["event"] != "added"));
        // Had it come far enough, it could be gone on with.
        place.json(&["ingest", "rm", "--all"]).exits(0);
        assert!(place.staged().is_empty() || place.json(&["gc"]).code == 0);
    }
    assert!(allocated(&place.store()) < before + (1 << 20));
    assert!(place.names().is_empty());
    place.sound();
}

#[test]
fn what_was_told_is_kept_after_an_interrupt_and_after_a_kill() {
    for signal in [libc::SIGINT, libc::SIGKILL] {
        let place = Place::with_store();
        for i in 0..1200 {
            place.file(format!("d/{:02}/{i}", i % 50), noise(i, 600));
        }
        let mut running = Running::start(place.command(&["--json", "add", "d"]));
        let first = running.next().expect("a line");
        running.signal(signal);
        let (ran, mut told) = running.end();
        told.insert(0, first);
        assert!(ran.code != 101);
        let names = place.names();
        let added: Vec<_> = told.iter().filter(|line| line["event"] == "added").collect();
        for line in &added {
            assert_eq!(names.get(line["name"].as_str().unwrap()), Some(&line["digest"].as_str().unwrap().to_owned()));
        }
        if signal == libc::SIGINT {
            let summary = told.last().unwrap();
            assert_eq!(summary["event"], "summary");
            assert_eq!(summary["new_files"].as_u64().unwrap(), added.len() as u64);
            assert_eq!(ran.code, i32::from(summary["interrupted"] == true));
            assert_eq!(names.len(), added.len());
        }
        place.sound();
        // It goes on where it was.
        place.json(&["add", "d"]).exits(0);
        assert_eq!(place.names().len(), 1200);
        place.sound();
    }
}

#[test]
fn one_job_is_deterministic() {
    let place = Place::new();
    for i in 0..300u64 {
        place.file(format!("d/{}/{i}", i % 7), noise(i % 90, 3000));
    }
    let record = |store: &str| {
        let added = place.json(&["--store", store, "--jobs", "1", "add", "d"]).exits(0);
        let listed = place.json(&["--store", store, "ls"]).exits(0);
        let without_times = |ran: &outside::Ran| -> Vec<String> {
            ran.lines()
                .into_iter()
                .filter(|line| line["event"] != "notice")
                .map(|mut line| {
                    for key in ["added", "seconds", "store"] {
                        line.as_object_mut().unwrap().remove(key);
                    }
                    line.to_string()
                })
                .collect()
        };
        (without_times(&added), without_times(&listed))
    };
    assert_eq!(record("one"), record("two"));
}

#[test]
fn times_and_the_executable_bit_are_kept_with_the_name() {
    let place = Place::with_store();
    let path = place.file("d/tool", "#!");
    mode(&path, 0o755);
    let then = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789);
    fs::File::open(&path).unwrap().set_modified(then).unwrap();
    place.file("d/text", "#!");
    place.json(&["add", "d"]).exits(0);
    let line = place.json(&["ls", "d/tool"]).exits(0).event("name");
    assert_eq!(line["mtime"], "2001-09-09T01:46:40.123456789Z");
    assert_eq!(line["executable"], true);
    assert_eq!(place.json(&["ls", "d/text"]).exits(0).event("name")["executable"], false);
    place.json(&["checkout", "d", "out", "--mode", "copy"]).exits(0);
    let stat = fs::metadata(place.path("out/tool")).unwrap();
    assert_eq!(stat.modified().unwrap(), then);
    assert_eq!(stat.permissions().mode() & 0o111, 0o111);
    assert_eq!(fs::metadata(place.path("out/text")).unwrap().permissions().mode() & 0o111, 0);
    let before_1970 = std::time::UNIX_EPOCH - std::time::Duration::from_millis(1500);
    let path = place.file("old", "x");
    fs::File::open(&path).unwrap().set_modified(before_1970).unwrap();
    place.json(&["add", "old"]).exits(0);
    assert_eq!(place.json(&["ls", "old"]).exits(0).event("name")["mtime"], "1969-12-31T23:59:58.5Z");
    place.json(&["get", "old", "old-out"]).exits(0);
    assert_eq!(fs::metadata(place.path("old-out")).unwrap().modified().unwrap(), before_1970);
}

#[test]
fn counted_names_are_in_the_index_alone() {
    let place = Place::with_store();
    place.file("a", "1");
    place.json(&["add", "a", "--alias", "counted"]).exits(0);
    assert!(!place.store().join("names/a").exists());
    assert_eq!(place.json(&["ls"]).event("name")["alias"], "counted");
    assert_eq!(place.cat("a"), b"1");
    place.json(&["init", "--store", "counted", "--alias", "counted"]).exits(0);
    place.json(&["add", "a", "--store", "counted"]).exits(0);
    assert!(!place.path("counted/names/a").exists());
    place.json(&["add", "a", "--store", "counted", "--name", "b", "--alias", "hardlinked"]).exits(0);
    assert!(place.path("counted/names/b").exists());
    place.sound();
}

#[test]
fn a_foreign_file_in_the_way_of_a_name_is_left_alone() {
    let place = Place::with_store();
    let foreign = place.store().join("names/a");
    fs::write(&foreign, "mine").unwrap();
    place.file("a", "1");
    let ran = place.json(&["add", "a"]);
    assert!([0, 3].contains(&ran.code), "{}", ran.err);
    assert_eq!(fs::read(&foreign).unwrap(), b"mine");
    assert_eq!(place.cat("a"), b"1");
    place.json(&["rm", "a"]).exits(0);
    assert_eq!(fs::read(&foreign).unwrap(), b"mine");
    assert_eq!(place.staged().len(), 0);
}

#[test]
fn names_with_everything_that_a_shell_or_a_parser_may_trip_over() {
    let place = Place::with_store();
    place.file("d/x y/'quoted'/\"a\"", "1");
    place.file("d/-rf", "2");
    place.file("d/ümlaut/日本語", "3");
    place.file("d/sha256:abc", "4");
    place.json(&["add", "d"]).exits(0);
    let expected = ["d/\u{fc}mlaut/日本語", "d/-rf", "d/sha256:abc", "d/x y/'quoted'/\"a\""];
    for (name, byte) in expected.iter().zip([&b"3"[..], b"2", b"4", b"1"]) {
        assert_eq!(place.cat(name), byte);
    }
    place.json(&["add", "d/-rf", "--name", "./sha256:x"]).exits(0);
    assert_eq!(place.cat("./sha256:x"), b"2");
}
