//! Names from outside: `link`, `mv`, `unlink`, `rm`, `pin`, `unpin`.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::outside::{Place, digest, files};

fn place() -> Place {
    let place = Place::new();
    for (name, bytes) in [("d/a", "1"), ("d/b", "2"), ("d/c", "1"), ("d/sub/x", "3")] {
        place.file(name, bytes);
    }
    place.json(&["add", "d"]).exits(0);
    place
}

/// The files under `names/`, as names.
fn under_names(place: &Place) -> Vec<String> {
    let names = place.store().join("names");
    let name = |path: &std::path::PathBuf| path.strip_prefix(&names).unwrap().to_str().unwrap().to_owned();
    files(&names).iter().map(name).collect()
}

#[test]
fn a_blob_gets_one_more_name() {
    let place = place();
    assert_eq!(place.json(&["link", "d/a", "x/one"]).exits(0).event("linked")["status"], "new");
    assert_eq!(place.json(&["link", &digest(b"2"), "x/two"]).exits(0).event("linked")["name"], "x/two");
    assert_eq!(place.json(&["link", "d/c", "x/one"]).exits(0).event("linked")["status"], "unchanged");
    assert_eq!((place.cat("x/one"), place.cat("x/two")), (b"1".to_vec(), b"2".to_vec()));
    let inode = |name: &str| fs::metadata(place.store().join("names").join(name)).unwrap().ino();
    assert_eq!(inode("x/one"), inode("d/a"));
    // Other bytes are refused unless they are to be replaced.
    place.json(&["link", "d/b", "x/one"]).exits(3);
    assert_eq!(place.cat("x/one"), b"1");
    place.json(&["link", "d/b", "x/one", "--replace"]).exits(0);
    assert_eq!(place.cat("x/one"), b"2");
    assert_eq!(inode("x/one"), inode("d/b"));
    // A file is no directory, and a directory no file.
    for clash in ["d", "x/one/below"] {
        place.json(&["link", "d/a", clash]).exits(3);
        place.json(&["link", "d/a", clash, "--replace"]).exits(3);
    }
    place.json(&["link", "d/a", "counted", "--alias", "counted"]).exits(0);
    assert!(!place.store().join("names/counted").exists());
    assert_eq!(place.cat("counted"), b"1");
    place.sound();
}

#[test]
fn a_name_is_moved() {
    let place = place();
    let ran = place.json(&["mv", "d/a", "e/f/a"]).exits(0);
    assert_eq!((&ran.event("renamed")["name"], &ran.event("renamed")["from"]), (&"e/f/a".into(), &"d/a".into()));
    assert!(!place.names().contains_key("d/a"));
    assert_eq!(place.cat("e/f/a"), b"1");
    place.json(&["mv", "d/b", "d/c"]).exits(3);
    assert_eq!((place.cat("d/b"), place.cat("d/c")), (b"2".to_vec(), b"1".to_vec()));
    place.json(&["mv", "d/b", "d/c", "--replace"]).exits(0);
    assert_eq!(place.cat("d/c"), b"2");
    // To itself, and to a name that means the same bytes already.
    let ran = place.json(&["mv", "d/c", "d/c"]);
    assert!([0, 3].contains(&ran.code), "{}", ran.err);
    assert_eq!(place.cat("d/c"), b"2");
    place.json(&["link", "d/c", "same"]).exits(0);
    let ran = place.json(&["mv", "d/c", "same"]);
    assert!([0, 3].contains(&ran.code), "{}", ran.err);
    assert_eq!(place.cat("same"), b"2");
    // Below itself: the name becomes a directory, as no other name stands in the way.
    let ran = place.json(&["mv", "same", "same/below"]);
    assert!([0, 3].contains(&ran.code), "{}", ran.err);
    let now = if ran.code == 0 { "same/below" } else { "same" };
    assert_eq!(place.cat(now), b"2");
    let hardlinked: Vec<_> = place.names().into_keys().collect();
    assert_eq!(under_names(&place), hardlinked);
    place.sound();
}

#[test]
fn empty_directories_of_names_go_with_their_last_name() {
    let place = place();
    place.json(&["mv", "d/sub/x", "x"]).exits(0);
    assert!(!place.store().join("names/d/sub").exists());
    place.json(&["rm", "d"]).exits(0);
    assert!(!place.store().join("names/d").exists());
    assert!(place.store().join("names").exists());
}

#[test]
fn unlink_refuses_the_last_name() {
    let place = place();
    let ran = place.json(&["unlink", "d/b"]).exits(5);
    assert_eq!(ran.event("error")["kind"], "refused");
    assert!(ran.err.contains("hint:"), "{}", ran.err);
    place.json(&["unlink", "d/a"]).exits(0);
    place.json(&["unlink", "d/c"]).exits(5);
    // A pin keeps it, so its last name may go, and then the pin may not be all that is asked about.
    place.json(&["pin", "d/c", "--note", "needed"]).exits(0);
    place.json(&["unlink", "d/c"]).exits(0);
    assert_eq!(place.larder(&["cat", &digest(b"1")]).exits(0).out, b"1");
    place.json(&["gc", "--grace", "0s"]).exits(0);
    assert_eq!(place.larder(&["cat", &digest(b"1")]).exits(0).out, b"1");
    assert_eq!(place.json(&["why", &digest(b"1")]).exits(0).event("why")["pin"], "needed");
    place.json(&["unpin", &digest(b"1")]).exits(0);
    place.json(&["gc", "--grace", "0s"]).exits(0);
    place.json(&["cat", &digest(b"1")]).exits(1);
    // Not a prefix.
    place.json(&["unlink", "d/sub"]).exits(1);
    place.sound();
}

#[test]
fn rm_takes_names_and_what_is_below_them() {
    let place = place();
    let ran = place.json(&["rm", "d/sub", "d/a", "--dry-run"]).exits(0);
    assert_eq!(ran.names("would_remove"), ["d/a", "d/sub/x"]);
    assert_eq!((&ran.event("summary")["names"], &ran.event("summary")["unrooted_blobs"]), (&2.into(), &1.into()));
    assert_eq!(place.names().len(), 4);
    let ran = place.json(&["rm", "d/sub", "d/a", "d/sub/x"]).exits(0);
    assert_eq!(ran.names("removed"), ["d/a", "d/sub/x"]);
    assert_eq!(place.names().into_keys().collect::<Vec<_>>(), ["d/b", "d/c"]);
    assert_eq!(under_names(&place), ["d/b", "d/c"]);
    // A prefix is whole components.
    place.file("dd", "4");
    place.json(&["add", "dd"]).exits(0);
    place.json(&["rm", "d"]).exits(0);
    assert_eq!(place.names().into_keys().collect::<Vec<_>>(), ["dd"]);
    // The blobs stay for their grace, and come back by their digest.
    place.json(&["link", &digest(b"2"), "back"]).exits(0);
    place.json(&["gc", "--grace", "0s"]).exits(0);
    assert_eq!(place.cat("back"), b"2");
    for nothing in ["", "/", "..", "/d", "d//b"] {
        place.json(&["rm", nothing]).exits(2);
    }
    assert_eq!(place.names().len(), 2);
    place.json(&["rm", "."]).exits(0);
    assert_eq!(place.names().len(), 0);
    place.sound();
}

#[test]
fn a_file_that_somebody_put_over_a_name_is_not_taken_away() {
    let place = place();
    for (command, name) in [(&["rm", "d/a"][..], "d/a"), (&["mv", "d/b", "moved"], "d/b"), (&["unlink", "d/c"], "d/c")]
    {
        if name == "d/c" {
            place.json(&["link", "d/c", "spare"]).exits(0);
        }
        let path = place.store().join("names").join(name);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        let ran = place.json(command);
        assert!([0, 3].contains(&ran.code), "{command:?}: {}", ran.err);
        assert_eq!(fs::read(&path).unwrap(), b"mine", "{command:?}");
        assert!(!place.names().contains_key(name));
    }
    // And one that somebody took away is no trouble.
    fs::remove_file(place.store().join("names/d/sub/x")).unwrap();
    assert_eq!(place.cat("d/sub/x"), b"3");
    place.json(&["rm", "d/sub/x"]).exits(0);
    place.json(&["verify"]).exits(0);
}

#[test]
fn a_directory_made_into_a_link_leads_nobody_out_of_names() {
    let place = place();
    let away = place.path("away");
    fs::create_dir(&away).unwrap();
    fs::rename(place.store().join("names/d"), place.path("kept")).unwrap();
    std::os::unix::fs::symlink(&away, place.store().join("names/d")).unwrap();
    fs::write(away.join("a"), "foreign").unwrap();
    fs::write(away.join("z"), "foreign").unwrap();
    place.file("new", "new");
    for command in [
        &["add", "new", "--name", "d/new"][..],
        &["link", "d/b", "d/z"],
        &["link", "d/b", "d/zz"],
        &["mv", "d/a", "d/moved"],
        &["rm", "d"],
        &["gc", "--grace", "0s"],
    ] {
        let ran = place.json(command);
        assert!([0, 1, 3].contains(&ran.code), "{command:?}: {}", ran.err);
    }
    let names: Vec<_> = files(&away).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["a", "z"], "nothing was made or taken away outside");
    assert_eq!(fs::read(away.join("a")).unwrap(), b"foreign");
}

#[test]
fn pins_keep_and_are_told() {
    let place = place();
    let ran = place.json(&["pin", "d/b", "--note", "a \"note\"\nof two lines"]).exits(0);
    assert_eq!(ran.event("pinned")["note"], "a \"note\"\nof two lines");
    assert_eq!(place.json(&["show", "d/b"]).exits(0).event("blob")["pin"], "a \"note\"\nof two lines");
    place.json(&["rm", "."]).exits(0);
    place.json(&["gc", "--grace", "0s"]).exits(0);
    assert_eq!(place.larder(&["cat", &digest(b"2")]).exits(0).out, b"2");
    place.json(&["cat", &digest(b"1")]).exits(1);
    assert_eq!(place.json(&["stats"]).event("stats")["pins"], 1);
    place.json(&["unpin", &digest(b"2")]).exits(0);
    let ran = place.json(&["unpin", &digest(b"2")]);
    assert!([0, 1].contains(&ran.code), "{}", ran.err);
    place.json(&["pin", "d/b", "--note", &"x".repeat(1 << 16)]);
    place.sound();
}
