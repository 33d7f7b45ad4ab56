//! The limits that a system sets to a process, and input that has no limit: each is an answer, never a death.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::outside::{self, Place, Ran, digest, noise};

/// Runs a command that may use so much of one thing and no more.
fn limited(place: &Place, resource: Limit, most: u64, words: &[&str]) -> Ran {
    outside::run(with_limit(place, resource, most, words))
}

/// The type that `setrlimit` takes is another one for each C library.
#[derive(Clone, Copy, Debug)]
enum Limit {
    FileSize,
    Descriptors,
    Memory,
}

fn with_limit(place: &Place, resource: Limit, most: u64, words: &[&str]) -> Command {
    let mut command = place.command(&[&["--json"], words].concat());
    let set = move || {
        let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
        let number = match resource {
            Limit::FileSize => libc::RLIMIT_FSIZE,
            Limit::Descriptors => libc::RLIMIT_NOFILE,
            Limit::Memory => libc::RLIMIT_AS,
        };
        // SAFETY: the call reads a value on this stack.
        if unsafe { libc::setrlimit(number, &raw const limit) } == 0 {
            return Ok(());
        }
        Err(std::io::Error::last_os_error())
    };
    // SAFETY: between fork and exec it makes one system call and nothing else.
    unsafe { command.pre_exec(set) };
    command
}

/// A place with three kept files and two new ones.
fn place() -> Place {
    let place = Place::with_store();
    for i in 0..3 {
        place.file(format!("old/{i}"), noise(i, 1000 * i as usize + 10));
    }
    place.json(&["add", "old"]).exits(0);
    place.file("new/big", noise(20, 300_000));
    place.file("new/small", noise(21, 2_000));
    place
}

/// What was kept before is there, whatever happened, and the command does its work without the limit.
fn goes_on(place: &Place, words: &[&str], after: usize) {
    place.json(&["verify"]).exits(0);
    for i in 0..3 {
        assert_eq!(place.cat(&format!("old/{i}")), noise(i, 1000 * i as usize + 10));
    }
    place.json(words).exits(0);
    assert_eq!(place.names().len(), after);
    place.sound();
}

#[test]
fn a_limit_on_the_size_of_files_is_an_answer() {
    for most in [0, 4096, 100_000, 299_999] {
        let place = place();
        let ran = limited(&place, Limit::FileSize, most, &["add", "new"]).exits(1);
        assert_eq!(ran.event("error")["kind"], "no_space", "{most} bytes: {}", ran.text());
        assert_eq!(place.names().len(), 3, "{most} bytes");
        goes_on(&place, &["add", "new"], 5);
        // What needs no large file is done.
        let ran = limited(&place, Limit::FileSize, 100_000, &["rm", "new"]);
        assert_eq!(ran.code, 0, "{}", ran.text());
        limited(&place, Limit::FileSize, 100_000, &["gc", "--grace", "0s"]).exits(0);
        let ran = limited(&place, Limit::FileSize, 500, &["get", "old/2", "out"]).exits(1);
        assert_eq!(ran.event("error")["kind"], "no_space", "{}", ran.text());
        assert!(!place.path("out").exists());
        place.sound();
    }
    // Not even a store fits.
    let place = Place::new();
    let ran = limited(&place, Limit::FileSize, 1 << 20, &["init"]).exits(1);
    assert_eq!(ran.event("error")["kind"], "no_space", "{}", ran.text());
    place.json(&["init"]).exits(0);
}

#[test]
fn few_descriptors_are_enough() {
    let place = Place::new();
    let few = |words: &[&str]| limited(&place, Limit::Descriptors, 64, words);
    for i in 0..400u64 {
        place.file(format!("tree/{}/{}/{i}", i % 20, i % 3), noise(i, 3_000));
    }
    few(&["init"]).exits(0);
    few(&["add", "tree", "--jobs", "8"]).exits(0);
    few(&["add", "tree", "--verify-existing"]).exits(0);
    few(&["verify", "--jobs", "8"]).exits(0);
    few(&["checkout", ".", "links", "--jobs", "8"]).exits(0);
    few(&["checkout", ".", "copies", "--mode", "copy", "--jobs", "8"]).exits(0);
    few(&["mv", "tree/1/1/1", "moved"]).exits(0);
    few(&["rm", "tree/2", "tree/3"]).exits(0);
    few(&["gc", "--grace", "0s"]).exits(0);
    few(&["compact"]).exits(0);
    few(&["rebuild"]).exits(0);
    few(&["add", "--move", "copies"]).exits(0);
    place.sound();
    assert_eq!(place.names().len(), 360 + 400);
}

#[test]
fn too_few_descriptors_are_an_answer() {
    let words: [&[&str]; 9] = [
        &["add", "new"],
        &["add", "--move", "new"],
        &["rm", "old/1"],
        &["mv", "old/1", "m"],
        &["get", "old/1", "out"],
        &["checkout", "old", "dir"],
        &["gc", "--grace", "0s"],
        &["compact"],
        &["verify"],
    ];
    let mut refused = 0;
    for words in words {
        // Below that not even the runtime of the language starts.
        for most in [4, 5, 6, 7, 8, 10, 13, 17] {
            let place = place();
            place.json(&["rm", "old/0"]).exits(0);
            let ran = limited(&place, Limit::Descriptors, most, words);
            assert!([0, 1, 3].contains(&ran.code), "{words:?} with {most} descriptors: {} {}", ran.code, ran.err);
            refused += usize::from(ran.code != 0);
            if ran.code == 1 {
                let error = ran.event("error");
                assert!(error["message"].as_str().unwrap().starts_with("cannot "), "{error}");
            }
            place.json(&["verify"]).exits(0);
            assert_eq!(place.cat("old/2"), noise(2, 2010), "{words:?} with {most} descriptors");
            assert!(place.path("new/big").exists() || place.names().contains_key("new/big"), "a source is gone");
            let done = ran.code == 0 && ["rm", "mv", "get"].contains(&words[0]);
            if !done {
                place.json(words).exits(0);
            }
            place.sound();
        }
    }
    // Which command needs how many is its own business; that the limit bites at all is not.
    assert!(refused > 0, "no limit is too low");
}

/// Whatever is said to be a plan is read with little memory.
#[test]
fn a_plan_without_an_end_is_refused() {
    let place = place();
    place.json(&["rm", "old/1"]).exits(0);
    let plan = place.json(&["gc", "--dry-run", "--grace", "0s"]).exits(0).text();
    let head = plan.lines().next().unwrap();
    let doomed = plan.lines().nth(1).unwrap();
    // One line of a GiB; the same inside of a good plan; and in the midst of a good line.
    let beginnings = [String::new(), format!("{head}\n"), format!("{head}\n{}", doomed.trim_end_matches('}'))];
    for beginning in beginnings {
        let mut command = with_limit(&place, Limit::Memory, 768 << 20, &["gc", "--plan", "-", "--jobs", "1"]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let piece = vec![b' '; 1 << 20];
        let written =
            input.write_all(beginning.as_bytes()).and_then(|()| (0..1024).try_for_each(|_| input.write_all(&piece)));
        drop(input);
        let ran = outside::finish(child, "gc --plan -").exits(2);
        assert!(written.is_err(), "it reads on, although nothing good can come");
        assert_eq!(ran.event("error")["kind"], "invalid", "{}", ran.text());
    }
    let path = place.path("plan.json");
    fs::write(&path, "x".repeat(64 << 20)).unwrap();
    let words = ["gc", "--plan", path.to_str().unwrap(), "--jobs", "1"];
    limited(&place, Limit::Memory, 768 << 20, &words).exits(2);
    assert_eq!(place.names().len(), 2);
    assert!(place.blob(&digest(&noise(1, 1010))).exists(), "nothing was removed");
    fs::write(&path, plan).unwrap();
    place.json(&["gc", "--plan", path.to_str().unwrap()]).exits(0);
    place.sound();
}
