//! Very many counted names in one directory: everything that is asked of one name, or of all of them, works as with few.
//!
//! `LARDER_NAMES=1000000` takes so many; what each step took is printed.

use std::fs;
use std::io::Write;
use std::time::Instant;

use crate::outside::{self, Place, Ran, noise};

/// Runs a command and tells how long it took.
fn timed(place: &Place, words: &[&str]) -> Ran {
    let started = Instant::now();
    // With as much time as it takes.
    let output = place.command(&[&["--json"], words].concat()).output().expect("the program starts");
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    let ran = Ran { code: output.status.code().unwrap_or(-1), out: output.stdout, err }.exits(0);
    let text = format!("many names: {:7.2} s  {}\n", started.elapsed().as_secs_f64(), words.join(" "));
    // Not by a macro, whose output is only shown of tests that fail.
    std::io::stderr().write_all(text.as_bytes()).unwrap();
    ran
}

#[test]
fn very_many_names_in_one_directory() {
    let count = std::env::var("LARDER_NAMES").map_or(3_000, |text| text.parse::<u64>().expect("a number"));
    let place = Place::new();
    place.larder(&["init", "--alias", "counted"]).exits(0);
    fs::create_dir(place.path("p")).unwrap();
    let contents: Vec<Vec<u8>> = (0..97).map(|i| noise(i, 50)).collect();
    for i in 0..count {
        fs::write(place.path(format!("p/{i:07}")), &contents[i as usize % 97]).unwrap();
    }
    let name = |i: u64| format!("p/{i:07}");
    let last = |ran: Ran| outside::line(ran.text().lines().last().unwrap());
    let added = last(timed(&place, &["add", "p"]));
    assert_eq!((&added["new_files"], &added["dedup_files"]), (&97.into(), &(count - 97).into()));
    fs::remove_dir_all(place.path("p")).unwrap();
    assert_eq!(last(timed(&place, &["ls", "p"]))["names"], count);
    assert_eq!(timed(&place, &["stats"]).event("stats")["names"], count);
    let middle = name(count / 2);
    assert_eq!(timed(&place, &["cat", &middle]).out, contents[(count / 2) as usize % 97]);
    timed(&place, &["mv", &middle, "p/moved"]);
    timed(&place, &["link", "p/moved", "p/again"]);
    assert_eq!(timed(&place, &["ls", "p/again"]).events("name").len(), 1);
    timed(&place, &["unlink", "p/again"]);
    timed(&place, &["compact"]);
    timed(&place, &["rebuild"]);
    assert_eq!(last(timed(&place, &["ls", "p"]))["names"], count);
    timed(&place, &["verify", "-q"]);
    let removed = last(timed(&place, &["rm", "p"]));
    assert_eq!((&removed["names"], &removed["unrooted_blobs"]), (&count.into(), &97.into()));
    let report = timed(&place, &["gc", "--grace", "0s", "--yes-most"]).event("summary");
    assert_eq!(report["removed_blobs"], 97);
    assert!(!place.store().join("names/p").exists(), "counted names have no files");
}

/// Index and journal are gone: every hardlinked name comes back, without a byte of a blob being read.
#[test]
fn very_many_hardlinked_names_come_back_from_the_disk() {
    let count = std::env::var("LARDER_NAMES").map_or(2_000, |text| text.parse::<u64>().expect("a number").min(60_000));
    let place = Place::with_store();
    for i in 0..count {
        // A hundred directories; every second file has a blob of its own.
        let bytes = if i % 2 == 0 { noise(i, 50) } else { noise(i % 97, 60) };
        place.file(format!("p/{:02}/{i:07}", i % 100), bytes);
    }
    timed(&place, &["-q", "add", "p"]);
    for part in ["journal", "index"] {
        for entry in fs::read_dir(place.store().join(part)).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
    let rebuilt = timed(&place, &["rebuild", "--from-disk"]).event("summary");
    assert_eq!((&rebuilt["names"], &rebuilt["copied_names"]), (&count.into(), &0.into()), "{rebuilt}");
    assert_eq!(outside::line(timed(&place, &["ls"]).text().lines().last().unwrap())["names"], count);
    place.sound();
}
