//! Leases and private files from outside: `lease`, `unlock`.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Child, Stdio};

use crate::outside::{self, Place, digest, noise, signal};

const COLLECT: [&str; 4] = ["gc", "--grace", "0s", "--yes-most"];

fn place() -> Place {
    let place = Place::with_store();
    place.file("d/a", noise(1, 50_000));
    place.file("d/b", "second");
    place.file("other", "third");
    place.json(&["add", "d", "other"]).exits(0);
    place
}

/// A shell that says its number and runs until its input ends, under a lease of `what`.
fn leased(place: &Place, what: &str) -> (Child, BufReader<std::process::ChildStdout>, u32) {
    let mut command = place.command(&["lease", what, "--", "sh", "-c", "echo $$; read line; echo over"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    (child, out, line.trim().parse().unwrap())
}

fn held(place: &Place) -> u64 {
    place.json(&COLLECT).exits(0).event("summary")["held_blobs"].as_u64().unwrap()
}

#[test]
fn what_is_leased_stays_while_the_command_runs() {
    let place = place();
    let (mut child, _out, _) = leased(&place, "d");
    place.json(&["rm", "."]).exits(0);
    assert_eq!(held(&place), 2, "the blob of `other` is not leased, and goes");
    let why = place.json(&["why", &digest(b"second"), "--grace", "0s"]).exits(0).event("why");
    assert!(why["sessions"][0].as_str().unwrap().starts_with("lease session"), "{why}");
    assert_eq!(fs::read(place.blob(&digest(b"second"))).unwrap(), b"second");
    assert!(!place.blob(&digest(b"third")).exists());
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(held(&place), 0);
    assert!(!place.blob(&digest(b"second")).exists());
    place.sound();
}

#[test]
fn a_lease_outlives_larder_and_ends_with_its_command() {
    let place = place();
    let (mut child, mut out, _) = leased(&place, "d/b");
    signal(child.id(), libc::SIGKILL);
    let stdin = child.stdin.take();
    child.wait().unwrap();
    place.json(&["rm", "."]).exits(0);
    assert_eq!(held(&place), 1);
    drop(stdin);
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "over\n", "the command went on without larder");
    // The shell has said its last word, and its descriptors go when it ends.
    outside::until("the lease ends", || held(&place) == 0);
    place.sound();
}

#[test]
fn a_lease_ends_as_its_command_ends() {
    let place = place();
    place.larder(&["lease", "d/b", "--", "sh", "-c", "exit 5"]).exits(5);
    let ran = place.larder(&["lease", "d/b", "--", "cat", "{}"]).exits(0);
    assert_eq!(ran.out, b"second");
    let ran = place.larder(&["lease", &digest(b"third"), "--", "echo", "{}"]).exits(0);
    assert_eq!(ran.text().trim(), place.blob(&digest(b"third")).canonicalize().unwrap().to_str().unwrap());
    place.larder(&["lease", "d", "--", "cat", "{}"]).exits(2);
    place.larder(&["lease", "no/such", "--", "true"]).exits(1);
    place.larder(&["lease", "d/b", "--", "/no/such/command"]).exits(1);
    place.larder(&["lease", "d/b"]).exits(2);
    assert_eq!(place.staged(), Vec::<std::path::PathBuf>::new());

    let (mut child, _out, shell) = leased(&place, "d");
    // Waiting for a child closes what is still its input, and the shell would end of that before the signal came.
    let input = child.stdin.take();
    signal(child.id(), libc::SIGINT);
    signal(child.id(), libc::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(128 + libc::SIGTERM), "SIGTERM went to the shell {shell} alone");
    drop(input);
    fs::remove_file(place.blob(&digest(b"second"))).unwrap();
    place.larder(&["lease", "d/b", "--", "true"]).exits(3);
    place.json(&["verify"]).exits(3);
}

#[test]
fn an_unlocked_file_is_private_and_its_blob_stays_as_it_is() {
    let place = place();
    place.json(&["checkout", "d", "tree", "--mode", "hardlink"]).exits(0);
    let file = place.path("tree/a");
    let before = fs::metadata(&file).unwrap();
    assert!(before.nlink() > 1);
    let unlocked = place.json(&["unlock", "tree/a"]).exits(0).event("unlocked");
    assert_eq!((&unlocked["path"], &unlocked["size_bytes"]), (&"tree/a".into(), &50_000.into()));
    let after = fs::metadata(&file).unwrap();
    assert_eq!((after.nlink(), after.mtime_nsec()), (1, before.mtime_nsec()));
    assert_eq!(after.permissions().mode() & 0o777, before.permissions().mode() & 0o777 | 0o200);
    assert_eq!(fs::read(&file).unwrap(), noise(1, 50_000));
    fs::write(&file, "changed").unwrap();
    place.json(&["verify"]).exits(0);
    assert_eq!(place.cat("d/a"), noise(1, 50_000));
    let again = place.json(&["unlock", "tree/a"]).exits(0).event("unlocked");
    assert!(again["mode"].is_null());
    assert_eq!(fs::read(&file).unwrap(), b"changed");
    assert_eq!(fs::read_dir(place.path("tree")).unwrap().count(), 2, "nothing is left beside it");

    place.json(&["get", "d/b", "linked", "--mode", "symlink"]).exits(0);
    place.json(&["unlock", "linked"]).exits(0);
    assert!(fs::symlink_metadata(place.path("linked")).unwrap().is_file());
    fs::write(place.path("linked"), "x").unwrap();
    assert_eq!(place.cat("d/b"), b"second");
}

#[test]
fn what_is_no_link_to_a_blob_outside_the_store_is_not_unlocked() {
    let place = place();
    let named = place.store().join("names/d/a");
    place.json(&["unlock", named.to_str().unwrap()]).exits(5);
    assert!(fs::metadata(&named).unwrap().nlink() > 1);
    place.json(&["unlock", "no-such"]).exits(1);
    place.json(&["unlock", "d"]).exits(2);
    symlink(place.path("other"), place.path("elsewhere")).unwrap();
    place.json(&["unlock", "elsewhere"]).exits(5);
    assert!(fs::symlink_metadata(place.path("elsewhere")).unwrap().is_symlink());
    place.sound();
}
