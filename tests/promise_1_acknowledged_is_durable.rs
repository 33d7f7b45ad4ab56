//! Promise 1: when a call says that a blob or name is kept, a power cut the next instant does not lose it.
//!
//! The power is cut, and the process killed, before every counted call of each workload, and every distinct image that
//! the disk may show then is recovered and held against what was acknowledged.
#![allow(missing_docs, clippy::print_stdout)]

mod kit;

use std::time::Duration;

use kit::{Opened, recovered, world};
use larder::format::settings::Durability;
use larder::machine::simulated::{Coverage, Enumeration, Log, World};
use larder::work::ingest::AddOptions;

const A: &[u8] = b"the bytes of the first file";
const B: &[u8] = b"other bytes, of the second file";

fn report(what: &str, coverage: Coverage) {
    println!("{what}: {} calls, {} images, {} distinct", coverage.calls, coverage.images, coverage.distinct);
}

/// After any crash everything acknowledged is there, and the store goes on: the same is added again, then collected.
fn goes_on(world: &World, log: &Log) {
    let opened = recovered(world, log);
    let again = opened.add(&["/src"], &AddOptions::default()).expect("adding goes on after any crash");
    assert_eq!(again.failed, 0);
    kit::agrees(world, &opened);
    opened.collect(Duration::ZERO).expect("collecting goes on after any crash");
    kit::agrees(world, &opened);
    kit::never_lies(world);
    kit::staging_is_empty(world);
}

fn sources() -> [(&'static str, &'static [u8]); 4] {
    [("/src/a", A), ("/src/b", B), ("/src/copy-of-a", A), ("/src/empty", b"")]
}

#[test]
fn add_survives_a_power_cut_at_every_call() {
    for durability in [Durability::Batch, Durability::Each] {
        let start = world(1, durability, &sources());
        let coverage = Enumeration::new(1, &start).samples(20).power_cuts(
            |process| {
                let opened = Opened::open(process).unwrap();
                opened.add(&["/src"], &AddOptions::default()).unwrap();
            },
            |_, world, log| goes_on(world, log),
        );
        report(&format!("add, {}", durability.word()), coverage);
        assert!(coverage.distinct > 20);
    }
}

#[test]
fn add_survives_a_kill_at_every_call() {
    let start = world(2, Durability::Batch, &sources());
    let coverage = Enumeration::new(2, &start).kills(
        |process| {
            let opened = Opened::open(process).unwrap();
            opened.add(&["/src"], &AddOptions::default()).unwrap();
        },
        |_, world, log| goes_on(world, log),
    );
    report("add, killed", coverage);
}
