//! Many real processes on one store: they add, collect, read and die at the same time, and nothing is lost.

use std::collections::BTreeMap;
use std::process::Child;

use crate::outside::{self, Place, Running, finish, noise};

fn start(place: &Place, words: &[&str]) -> Child {
    place.command(words).spawn().expect("the program starts")
}

#[test]
fn two_adds_of_the_same_tree_and_a_collection() {
    let place = Place::with_store();
    for i in 0..300u64 {
        place.file(format!("d/{}/{i}", i % 9), noise(i % 200, 2000));
    }
    for round in 0..4 {
        let words = ["--json", "add", "d"];
        let collect = ["--json", "gc", "--grace", "0s", "--yes-most"];
        for child in [start(&place, &words), start(&place, &words), start(&place, &collect)] {
            finish(child, "one of several").exits(0);
        }
        let names = place.names();
        assert_eq!(names.len(), 300, "round {round}");
        assert_eq!(place.json(&["stats"]).event("stats")["blobs"], 200);
        place.json(&["verify"]).exits(0);
        place.json(&["rm", "d"]).exits(0);
    }
    place.json(&["gc", "--grace", "0s", "--yes-most"]).exits(0);
    assert_eq!(outside::files(&place.store().join("sha256")).len(), 0);
    place.sound();
}

#[test]
fn adding_what_is_being_collected() {
    let place = Place::with_store();
    for i in 0..60u64 {
        place.file(format!("d/{i}"), noise(i, 1500));
    }
    for round in 0..6 {
        place.json(&["add", "d"]).exits(0);
        place.json(&["rm", "d"]).exits(0);
        let collect = ["--json", "gc", "--grace", "0s", "--yes-most"];
        let children = [start(&place, &collect), start(&place, &["--json", "add", "d"]), start(&place, &collect)];
        for child in children {
            finish(child, "one of several").exits(0);
        }
        assert_eq!(place.names().len(), 60, "round {round}");
        place.json(&["verify"]).exits(0);
        for i in [0, 17, 59u64] {
            assert_eq!(place.cat(&format!("d/{i}")), noise(i, 1500));
        }
    }
    place.sound();
}

#[test]
fn writers_of_every_kind_at_once() {
    let place = Place::with_store();
    for i in 0..40u64 {
        place.file(format!("base/{i}"), noise(i, 900));
        place.file(format!("more/{i}"), noise(1000 + i, 900));
    }
    place.json(&["add", "base"]).exits(0);
    let mut children = Vec::new();
    let mut expected: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for i in 0..40u64 {
        expected.insert(format!("base/{i}"), noise(i, 900));
        expected.insert(format!("more/{i}"), noise(1000 + i, 900));
    }
    children.push(start(&place, &["--json", "add", "more"]));
    for i in 0..6u64 {
        children.push(start(&place, &["--json", "link", &format!("base/{i}"), &format!("linked/{i}")]));
        expected.insert(format!("linked/{i}"), noise(i, 900));
        children.push(start(&place, &["--json", "mv", &format!("base/{}", 10 + i), &format!("moved/{i}")]));
        expected.remove(&format!("base/{}", 10 + i));
        expected.insert(format!("moved/{i}"), noise(10 + i, 900));
        children.push(start(&place, &["--json", "rm", &format!("base/{}", 20 + i)]));
        expected.remove(&format!("base/{}", 20 + i));
    }
    for words in
        [&["--json", "compact"][..], &["--json", "gc", "--grace", "0s"], &["--json", "rebuild"], &["--json", "compact"]]
    {
        children.push(start(&place, words));
    }
    for _ in 0..3 {
        children.push(start(&place, &["--json", "verify"]));
        children.push(start(&place, &["--json", "ls"]));
        children.push(start(&place, &["--json", "stats"]));
    }
    for child in children {
        finish(child, "one of many").exits(0);
    }
    let names = place.names();
    assert_eq!(names.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, bytes) in &expected {
        assert_eq!(names[name], outside::digest(bytes), "{name}");
    }
    place.sound();
    assert_eq!(place.names().len(), expected.len());
}

#[test]
fn one_name_and_many_who_want_it() {
    let place = Place::with_store();
    for i in 0..8u64 {
        place.file(format!("s/{i}"), noise(i, 3000));
    }
    let children: Vec<_> =
        (0..8).map(|i| start(&place, &["--json", "add", &format!("s/{i}"), "--name", "the/one"])).collect();
    let codes: Vec<_> = children.into_iter().map(|child| finish(child, "one of eight").code).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 3).count(), 7, "{codes:?}");
    assert_eq!(place.names().len(), 1);
    place.sound();
}

#[test]
fn first_adds_of_several_processes_make_one_store() {
    for _ in 0..3 {
        let place = Place::new();
        for i in 0..4u64 {
            place.file(format!("s/{i}"), noise(i, 300));
        }
        let children: Vec<_> = (0..4).map(|i| start(&place, &["--json", "add", &format!("s/{i}")])).collect();
        for child in children {
            finish(child, "one of four").exits(0);
        }
        assert_eq!(place.names().len(), 4);
        place.sound();
    }
}

#[test]
fn killed_processes_leave_no_trace_that_matters() {
    let place = Place::with_store();
    for i in 0..400u64 {
        place.file(format!("d/{i}"), noise(i, 1200));
    }
    let mut told = BTreeMap::new();
    for round in 0..6 {
        let prefix = format!("r{round}");
        let mut running = Running::start(place.command(&["--json", "add", "d", "--prefix", &prefix]));
        // In every other round it dies before it says anything.
        if round % 2 == 0 {
            let line = running.next().expect("a line");
            told.insert(line["name"].as_str().unwrap().to_owned(), line["digest"].as_str().unwrap().to_owned());
        }
        running.signal(libc::SIGKILL);
        for line in running.end().1 {
            if line["event"] == "added" {
                told.insert(line["name"].as_str().unwrap().to_owned(), line["digest"].as_str().unwrap().to_owned());
            }
        }
        let names = place.names();
        for (name, digest) in &told {
            assert_eq!(names.get(name), Some(digest), "{name} was told");
        }
        place.json(&["verify"]).exits(0);
    }
    place.json(&["gc", "--grace", "0s", "--yes-most"]).exits(0);
    assert_eq!(place.staged().len(), 0);
    place.json(&["add", "d"]).exits(0);
    place.sound();
}

#[test]
fn a_reader_goes_on_while_what_it_reads_is_collected() {
    let place = Place::with_store();
    for i in 0..200u64 {
        place.file(format!("d/{i}"), noise(i, 20_000));
    }
    place.json(&["add", "d"]).exits(0);
    let checkout = start(&place, &["--json", "checkout", "d", "out", "--mode", "copy"]);
    let remove = start(&place, &["--json", "rm", "d"]);
    finish(remove, "rm").exits(0);
    let collect = finish(start(&place, &["--json", "gc", "--grace", "0s", "--yes-most"]), "gc").exits(0);
    let ran = finish(checkout, "checkout");
    // Whatever came first: each file was made whole, or is told as not made.
    assert!([0, 1, 3].contains(&ran.code), "{}", ran.err);
    for path in outside::files(&place.path("out")) {
        let i: u64 = path.file_name().unwrap().to_str().unwrap().parse().expect("no half-made file is left");
        assert_eq!(std::fs::read(&path).unwrap(), noise(i, 20_000));
    }
    assert!(collect.event("summary")["removed_blobs"].as_u64().unwrap() <= 200);
    place.sound();
}
