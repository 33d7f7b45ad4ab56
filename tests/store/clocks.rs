//! The clock is set back and forward: grace may end early or late by what is documented, and nothing with a root is ever
//! at risk from it.

use std::time::Duration;

use crate::kit::{self, Account, Chance, Opened, recovers_to, world};
use larder::format::settings::Durability;
use larder::machine::simulated::World;
use larder::work::ingest::AddOptions;

const DAY: Duration = Duration::from_secs(86_400);
const A: &[u8] = b"the bytes of one file";
const B: &[u8] = b"and those of another";

fn ns(time: Duration) -> u64 {
    time.as_nanos().try_into().unwrap()
}

/// A store with two names, and what opened it, half a century after the epoch.
fn begun() -> (World, Opened) {
    let world = world(1, Durability::Batch, &[("/src/a", A), ("/src/b", B), ("/src/c", b"c")]);
    world.set_clock_ns(ns(DAY) * 365 * 50);
    let opened = Opened::open(&world.process("a")).unwrap();
    opened.put("/src/a", "a", A).unwrap();
    opened.put("/src/b", "b", B).unwrap();
    (world, opened)
}

fn time(opened: &Opened) -> u64 {
    opened.ledger.snapshot().unwrap().cursor.time_ns
}

/// What is collected with this grace: blobs removed, and those still in their grace.
fn collected(opened: &Opened, grace: Duration) -> (u64, u64) {
    let report = opened.collect(grace).expect("it collects");
    (report.removed_blobs, report.in_grace)
}

#[test]
fn a_clock_that_is_set_back_makes_grace_longer_never_shorter() {
    let (world, opened) = begun();
    let removed_at = world.clock_ns();
    opened.remove(&["a"]).unwrap();
    for back in [removed_at - 1, removed_at - ns(DAY), ns(DAY), 1, 0] {
        world.set_clock_ns(back);
        let before = time(&opened);
        assert_eq!(collected(&opened, DAY), (0, 1), "clock at {back}");
        opened.put("/src/c", &format!("c{back}"), b"c").unwrap();
        assert!(time(&opened) >= before, "journal time went back to {back}");
        // A process that begins now sees it as well.
        let other = Opened::open(&world.process("b")).unwrap();
        assert_eq!(collected(&other, DAY), (0, 1), "clock at {back}");
    }
    world.set_clock_ns(removed_at + ns(DAY) - 1_000_000_000);
    assert_eq!(collected(&opened, DAY), (0, 1), "its grace is not over");
    world.set_clock_ns(removed_at + ns(DAY) + 1_000_000_000);
    assert_eq!(collected(&opened, DAY), (1, 0));
    kit::agrees(&world, &opened);
}

#[test]
fn a_clock_that_jumps_ahead_ends_at_most_a_day_of_grace_at_once() {
    for years in [1, 100, 400] {
        let (world, opened) = begun();
        opened.remove(&["a"]).unwrap();
        world.set_clock_ns(world.clock_ns() + ns(DAY) * 365 * years);
        assert_eq!(collected(&opened, 3 * DAY), (0, 1), "{years} years ahead");
        // Back in time again, what has passed stays passed, and no more does.
        world.set_clock_ns(ns(DAY));
        assert_eq!(collected(&opened, 3 * DAY), (0, 1), "{years} years ahead and back");
        assert_eq!(collected(&opened, Duration::ZERO), (1, 0));
        kit::agrees(&world, &opened);
    }
}

#[test]
fn a_clock_at_its_end_is_a_clock() {
    let (world, opened) = begun();
    for at in [u64::MAX, u64::MAX - 1, i64::MAX as u64, i64::MAX as u64 + 1, 0] {
        world.set_clock_ns(at);
        opened.put("/src/c", &format!("c{at}"), b"c").unwrap();
        opened.remove(&[&format!("c{at}")]).unwrap();
        opened.collect(DAY).unwrap();
        opened.ledger.compact().unwrap();
    }
    let opened = Opened::open(&world.process("b")).unwrap();
    opened.add(&["/src"], &AddOptions::default()).unwrap();
    kit::agrees(&world, &opened);
}

/// Adding, removing and collecting with any grace while the clock goes where it likes, with power cuts: what has a name
/// is there.
#[test]
fn no_clock_takes_away_what_has_a_root() {
    for seed in 1..=12 {
        let (mut world, mut opened) = begun();
        let mut rng = Chance::new(seed);
        let mut account = Account::knowing(&[("a", A), ("b", B)]);
        for step in 0..40 {
            match rng.below(5) {
                0 => world.set_clock_ns(rng.below(u64::MAX) << 33),
                1 => world.set_clock_ns(world.clock_ns().saturating_sub(ns(DAY) / 8 * rng.below(30))),
                _ => world.set_clock_ns(world.clock_ns().saturating_add(ns(DAY) / 8 * rng.below(30))),
            }
            let name = format!("n{}", rng.below(4));
            match rng.below(5) {
                0 => opened.put("/src/a", &name, A).map(drop).unwrap(),
                1 => opened.put("/src/c", &name, b"c").map(drop).unwrap(),
                2 => _ = opened.remove(&[&name]),
                3 => _ = opened.collect_with(DAY * rng.below(3) as u32, DAY * rng.below(3) as u32).unwrap(),
                _ => opened.ledger.compact().map(drop).unwrap(),
            }
            if step % 8 == 7 {
                account.go_on(&world.log());
                let clock = world.clock_ns();
                drop(opened);
                let image = world.power_cut().sample(seed, 1).next().expect("the disk is in some state");
                world = image.world(seed * 1000 + step);
                world.set_clock_ns(clock);
                opened = recovers_to(&world, &account);
            }
        }
        kit::agrees(&world, &opened);
    }
}
