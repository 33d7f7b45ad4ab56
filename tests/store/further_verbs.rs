//! Verbs that the promises' own files do not crash: links, pins, leases, private copies, giving up an ingest. Killed and
//! cut off at every counted call, each has happened whole or not at all, and the same call goes on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::kit::{self, Account, Opened, digest, report, world};
use larder::format::options::{OptionKey, OptionValue};
use larder::format::settings::{Durability, Settings};
use larder::ledger::Tables;
use larder::machine::simulated::{Enumeration, Log, Simulated, World};
use larder::machine::{Machine, Open};
use larder::work::configure::configure;
use larder::work::ingest::AddOptions;
use larder::work::lease::{Leased, lease};
use larder::work::materialize::unlock;
use larder::work::names::{Target, link, pin, unpin};
use larder::{Name, Prefix, Silent};

const A: &[u8] = b"the bytes of the first file";
const B: &[u8] = b"other bytes, of the second file";
const KNOWN: [(&str, &[u8]); 2] = [("src/a", A), ("src/b", B)];

/// A store that knows two names; `/out/a` is a link to the first blob.
fn begun(seed: u64) -> World {
    let world = world(seed, Durability::Batch, &[("/src/a", A), ("/src/b", B), ("/out/other", b"somebody's")]);
    let opened = Opened::open(&world.process("before")).unwrap();
    opened.add(&["/src"], &AddOptions::default()).unwrap();
    let user = world.process("user");
    user.link(&opened.ledger.layout.blob(&digest(A)), Path::new("/out/a")).unwrap();
    world.settle();
    world
}

/// Cut off and killed at every call of the workload, everything acknowledged before is there, and `check` holds.
fn crashes(what: &str, start: &World, workload: impl Fn(&Arc<Simulated>), check: impl Fn(&World, &Log, &Opened)) {
    let look = |_: u64, world: &World, log: &Log| {
        let mut account = Account::knowing(&KNOWN);
        account.go_on(log);
        let opened = kit::recovers_to(world, &account);
        check(world, log, &opened);
    };
    let cuts = Enumeration::new(1, start).samples(kit::many(4) as usize).power_cuts(&workload, look);
    assert!(cuts.distinct > 5, "{cuts:?}");
    report(what, cuts);
    report(&format!("{what}, killed"), Enumeration::new(2, start).kills(&workload, look));
}

fn noted(log: &Log, what: &str) -> bool {
    log.notes().any(|note| note == what)
}

/// Further names of what is there, by name and by digest, where nothing is replaced.
#[test]
fn linking_survives_a_crash_at_every_call() {
    let links = || {
        [
            (Target::Name(Name::new("src/a").unwrap()), "deep/er/a", A),
            (Target::Digest(digest(B)), "b", B),
            (Target::Name(Name::new("deep/er/a").unwrap()), "src/again", A),
        ]
    };
    let give = |opened: &Opened| {
        for (target, name, bytes) in links() {
            opened.may(name, Some(bytes));
            link(&opened.ctx(), &target, &Name::new(name).unwrap(), false, None).unwrap();
            opened.process.note(&format!("added {name} {}", digest(bytes)));
        }
    };
    crashes(
        "link",
        &begun(6),
        |process| give(&Opened::open(process).unwrap()),
        |world, _, opened| {
            give(opened);
            kit::agrees(world, opened);
            opened.collect(Duration::ZERO).unwrap();
            for (_, name, bytes) in links() {
                let file = opened.ledger.layout.name(&Name::new(name).unwrap());
                assert_eq!(world.read(file).as_deref(), Some(bytes), "{name}");
            }
        },
    );
}

#[test]
fn pinning_survives_a_crash_at_every_call() {
    let target = || Target::Digest(digest(A));
    let workload = |process: &Arc<Simulated>| {
        let opened = Opened::open(process).unwrap();
        pin(&opened.ctx(), &target(), "keep it").unwrap();
        process.note("pinned");
        opened.remove(&["src/a"]).unwrap();
        opened.collect(Duration::ZERO).unwrap();
    };
    crashes("pin, then collect", &begun(1), workload, |_, log, opened| {
        opened.collect(Duration::ZERO).unwrap();
        let snapshot = opened.ledger.snapshot().unwrap();
        let there = snapshot.blob(&digest(A)).unwrap().is_some();
        assert!(there, "nothing that was asked for takes it away");
        assert!(!noted(log, "pinned") || snapshot.pin(&digest(A)).unwrap().is_some(), "the pin is gone");
    });
}

#[test]
fn unpinning_survives_a_crash_at_every_call() {
    let start = begun(2);
    let opened = Opened::open(&start.process("before")).unwrap();
    pin(&opened.ctx(), &Target::Digest(digest(A)), "").unwrap();
    drop(opened);
    start.settle();
    let workload = |process: &Arc<Simulated>| {
        let opened = Opened::open(process).unwrap();
        unpin(&opened.ctx(), &Target::Digest(digest(A))).unwrap();
        process.note("unpinned");
    };
    crashes("unpin", &start, workload, |_, log, opened| {
        let pinned = opened.ledger.snapshot().unwrap().pin(&digest(A)).unwrap().is_some();
        assert!(!(noted(log, "unpinned") && pinned), "the pin came back");
    });
}

/// A lease ends with its process, and leaves nothing behind once something is collected.
#[test]
fn leasing_survives_a_crash_at_every_call() {
    let workload = |process: &Arc<Simulated>| {
        let opened = Opened::open(process).unwrap();
        let name = Prefix::Below(Name::new("src/a").unwrap());
        let held = lease(&opened.ctx(), &[Leased::Names(name)]).unwrap();
        opened.remove(&["src/a"]).unwrap();
        opened.collect(Duration::ZERO).unwrap();
        let there = process.lstat(&opened.ledger.layout.blob(&digest(A))).is_ok();
        assert!(there, "what is leased is not collected");
        drop(held);
    };
    crashes("lease, then collect", &begun(3), workload, |world, _, opened| {
        kit::nothing_is_left_over(world, opened);
    });
}

/// The path is the link or the private copy, whole; the blob is what it was, and a copy that was told of is durable.
#[test]
fn unlocking_survives_a_crash_at_every_call() {
    let path = Path::new("/out/a");
    let workload = |process: &Arc<Simulated>| {
        let opened = Opened::open(process).unwrap();
        unlock(&opened.ctx(), path, &Silent).unwrap();
        process.note("unlocked");
    };
    crashes("unlock", &begun(4), workload, |world, log, opened| {
        assert_eq!(world.read(path).as_deref(), Some(A), "the file is whole");
        let blob = world.look(opened.ledger.layout.blob(&digest(A))).unwrap().inode;
        let private = world.look(path).unwrap().inode != blob;
        assert!(private || !noted(log, "unlocked"), "it is linked again");
        if !private {
            unlock(&opened.ctx(), path, &Silent).expect("the same call goes on");
        }
        let user = world.process("user");
        user.open(path, Open::ReadWrite).unwrap().write_at(b"X", 0).unwrap();
        kit::never_lies(world);
    });
}

/// The settings are the old ones or the new ones, whole; those that were acknowledged, from then on.
#[test]
fn changing_an_option_survives_a_crash_at_every_call() {
    let start = begun(40);
    let steps =
        [("7", OptionKey::LimitsMinFree), ("4096", OptionKey::LimitsMinFree), ("30", OptionKey::CatalogRetentionDays)];
    let workload = |process: &Arc<Simulated>| {
        let opened = Opened::open(process).unwrap();
        for (at, (value, key)) in steps.iter().enumerate() {
            assert!(configure(&opened.ctx(), *key, Some(value)).unwrap());
            process.note(&format!("set {at}"));
        }
        assert!(!configure(&opened.ctx(), OptionKey::CatalogRetentionDays, Some("30")).unwrap());
        assert!(configure(&opened.ctx(), OptionKey::LimitsMinFree, None).unwrap());
        process.note("unset");
    };
    crashes("configure", &start, workload, |world, log, opened| {
        let of = |world: &World| {
            let text = String::from_utf8(world.read("/store/larder.toml").expect("there are settings")).unwrap();
            Settings::from_toml(&text).expect("settings are whole").options
        };
        let number = |key| match of(world).value(key) {
            OptionValue::Number(number) => number,
            other => panic!("{other}"),
        };
        let now = (number(OptionKey::LimitsMinFree), number(OptionKey::CatalogRetentionDays));
        let all = [(0, 0), (7, 0), (4096, 0), (4096, 30), (0, 30)];
        let done = (0..3).filter(|at| noted(log, &format!("set {at}"))).count() + usize::from(noted(log, "unset"));
        assert!(
            now == all[done] || all.get(done + 1) == Some(&now),
            "{done} changes were acknowledged, and it is {now:?}"
        );
        // What is left of one that was cut short is in nobody's way.
        configure(&opened.ctx(), OptionKey::LimitsMaxBytes, Some("1GiB")).unwrap();
        assert_eq!(of(world).value(OptionKey::LimitsMaxBytes), OptionValue::Number(1 << 30));
        assert!(world.read("/store/larder.toml.new").is_none());
    });
}
