//! The journal and the index as people see them.

use std::path::Path;

use super::*;
use crate::machine::simulated::World;
use crate::vocabulary::Silent;
use crate::work::fixture::{Fixture, n};

fn simulated(world: &World) -> Fixture {
    Fixture::new(world.process("test"), Path::new("/store"))
}

fn seen(store: &Fixture) -> Vec<FrameInfo> {
    let mut all = Vec::new();
    let mut each = |frame| {
        all.push(frame);
        Ok(())
    };
    frames(&store.ctx(), &mut each).unwrap();
    all
}

fn states(frames: &[FrameInfo]) -> Vec<&'static str> {
    frames.iter().map(|frame| frame.state).collect()
}

/// The last segment's path and length.
fn last_segment(store: &Fixture) -> (std::path::PathBuf, u64) {
    let directory = store.ledger.layout.journal();
    let name = store.ledger.journal.listing().unwrap().later.pop().unwrap().1;
    let size = store.machine.lstat(&directory.join(&name)).unwrap().size_bytes;
    (directory.join(name), size)
}

#[test]
fn frames_are_told_with_their_records_and_names_are_escaped() {
    let store = simulated(&World::new(1));
    let digest = store.add("a\u{202e}b", b"one", true);
    crate::work::names::pin(&store.ctx(), &crate::work::names::Target::Digest(digest), "line\nbreak").unwrap();
    let all = seen(&store);
    assert_eq!(states(&all), ["good", "good"]);
    assert!(all[0].records[0].starts_with(&format!("blob {digest} of 3 bytes")), "{all:?}");
    assert!(all[0].records[1].starts_with(r#"alias "a\u{202e}b" means"#), "{all:?}");
    assert!(all[1].records[0].ends_with(r#""line\nbreak""#), "{all:?}");
    assert!(all[0].sequence + 1 == all[1].sequence && all[0].time_ns > 0 && all[0].offset < all[1].offset);
}

#[test]
fn a_torn_end_and_damage_are_told_apart() {
    let world = World::new(1);
    let store = simulated(&world);
    for name in ["a", "b", "c"] {
        store.add(name, name.as_bytes(), false);
    }
    let (path, size) = last_segment(&store);
    let file = store.machine.open(&path, Open::ReadWrite).unwrap();
    file.write_at(b"remains of a frame", size).unwrap();
    let torn = seen(&store);
    assert_eq!(states(&torn), ["good", "good", "good", "torn"]);
    assert_eq!((torn[3].offset, torn[3].sequence), (size, 0));
    file.set_len(size).unwrap();
    world.corrupt(&path, torn[1].offset + 50);
    assert_eq!(states(&seen(&store)), ["good", "bad", "good"]);
    world.corrupt(&path, 20);
    let header = seen(&store);
    assert_eq!(states(&header), ["bad"]);
    assert!(header[0].records[0].contains("header"), "{header:?}");
}

#[test]
fn what_a_successor_leaves_behind_is_beyond_the_journal() {
    let store = simulated(&World::new(1));
    store.add("a", b"one", false);
    let before = store.ledger.snapshot().unwrap().cursor;
    store.add("b", b"two", false);
    let after = store.ledger.snapshot().unwrap().cursor;
    store.ledger.journal.begin_segment(&before, after.sequence + 1, &[], true).unwrap();
    assert_eq!(states(&seen(&store)), ["good", "beyond"]);
}

#[test]
fn rebuild_and_compact_tell_what_they_did() {
    let store = simulated(&World::new(1));
    assert_eq!(runs(&store.ctx()).unwrap(), []);
    for i in 0..5u8 {
        store.add(&format!("n{i}"), &[i], false);
    }
    let rebuilt = rebuild(&store.ctx(), &Silent).unwrap();
    assert_eq!((rebuilt.frames, rebuilt.records), (5, 10));
    let told = runs(&store.ctx()).unwrap();
    assert_eq!(told.iter().map(|run| run.bytes).sum::<u64>(), rebuilt.index_bytes);
    assert!(store.machine.lstat(&store.ledger.layout.index().join(&told[0].file)).is_ok());
    let compacted = compact(&store.ctx()).unwrap();
    assert_eq!(compacted.records, 10);
    let all = seen(&store);
    assert!(all.iter().any(|frame| frame.segment.ends_with(".base")), "{all:?}");
    assert!(states(&all).iter().all(|state| *state == "good"), "{all:?}");
    assert_eq!(store.means("n3"), Some(crate::hashing::Digests::of(&[3]).digest));
}

#[test]
fn damage_that_a_rebuild_finds_is_told() {
    let world = World::new(1);
    let store = simulated(&world);
    for name in ["a", "b", "c"] {
        store.add(name, name.as_bytes(), false);
    }
    let (path, _) = last_segment(&store);
    world.corrupt(&path, seen(&store)[1].offset + 50);
    let heard = crate::work::fixture::Heard::default();
    rebuild(&store.ctx(), &heard).unwrap();
    let events = heard.events.lock().unwrap();
    assert!(matches!(&events[..], [Event::Notice { text }] if text.contains("damaged from 2 to 2")), "{events:?}");
    assert_eq!(compact(&store.ctx()).unwrap_err().kind(), ErrorKind::Refused);
    assert!(store.ledger.snapshot().unwrap().alias(&n("c")).unwrap().is_some());
}
