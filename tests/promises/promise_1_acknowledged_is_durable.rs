//! Promise 1: when a call says that a blob or name is kept, a power cut the next instant does not lose it.
//!
//! The power is cut, and the process killed, before every counted call of each workload, and every distinct image that
//! the disk may show then is recovered and held against what was acknowledged. Then the store has to go on as if nothing
//! had been: the same is added again, names are replaced and taken away, and a collection leaves nothing over.
//!
//! `LARDER_LONG=1` takes many more images by chance and cuts the power a second time in the recovery of every image.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use crate::kit::{self, Account, Opened, digest, many, recovered, recovers_to, report, world};
use larder::format::settings::Durability;
use larder::ledger::Tables;
use larder::machine::simulated::{Coverage, Enumeration, Images, Log, Simulated, World, run};
use larder::machine::{Machine, Open};
use larder::work::ingest::{AddOptions, TakeIn, add_stream};
use larder::work::init::{NewStoreSpec, Presence, create, presence};
use larder::{Name, Silent};

const A: &[u8] = b"the bytes of the first file";
const B: &[u8] = b"other bytes, of the second file";
const C: &[u8] = b"what the third file holds";

fn sources() -> [(&'static str, &'static [u8]); 4] {
    [("/src/a", A), ("/src/b", B), ("/src/copy-of-a", A), ("/src/empty", b"")]
}

fn add_all(process: &Arc<Simulated>) {
    Opened::open(process).unwrap().add(&["/src"], &AddOptions::default()).unwrap();
}

/// After any crash everything acknowledged is there, and the store goes on.
fn goes_on(world: &World, log: &Log) {
    let opened = recovered(world, log);
    carries_on(world, &opened);
}

/// Everything is added, replaced and taken away once more; the names that the workloads use get other bytes in between.
fn carries_on(world: &World, opened: &Opened) {
    world.put("/other/new", b"bytes that were never there before");
    let again = opened.add(&["/src"], &AddOptions { replace: true, ..AddOptions::default() });
    assert_eq!(again.expect("adding goes on after any crash").failed, 0);
    kit::agrees(world, opened);
    for name in ["src/a", "src/empty"] {
        opened.put("/other/new", name, b"").expect("replacing goes on after any crash");
        kit::agrees(world, opened);
    }
    opened.remove(&["src/a"]).expect("removing goes on after any crash");
    kit::nothing_is_left_over(world, opened);
}

fn cuts(what: &str, seed: u64, start: &World, samples: usize, workload: impl Fn(&Arc<Simulated>)) -> Coverage {
    let samples = many(samples as u64) as usize;
    let coverage =
        Enumeration::new(seed, start).samples(samples).power_cuts(workload, |_, world, log| goes_on(world, log));
    report(what, coverage);
    coverage
}

#[test]
fn add_survives_a_power_cut_at_every_call() {
    for durability in [Durability::Batch, Durability::Each] {
        let start = world(1, durability, &sources());
        let coverage = cuts(&format!("add, {}", durability.word()), 1, &start, 20, add_all);
        assert!(coverage.distinct > 20);
    }
}

#[test]
fn add_survives_a_kill_at_every_call() {
    let start = world(2, Durability::Batch, &sources());
    let coverage = Enumeration::new(2, &start).kills(add_all, |_, world, log| goes_on(world, log));
    report("add, killed", coverage);
}

/// A kill is no crash of the machine: what follows must vouch for what the dead left unsynced.
#[test]
fn what_a_dead_process_left_unsynced_is_vouched_for() {
    let start = world(3, Durability::Batch, &sources());
    let mut images = 0;
    let coverage = Enumeration::new(3, &start).kills(add_all, |number, world, _| {
        let process = world.process("next");
        Opened::open(&process).unwrap().add(&["/src"], &AddOptions::default()).unwrap();
        let log = world.log();
        images += kit::each_image(&world.balance(), number, 4, |_, image| goes_on(image, &log));
    });
    report(&format!("add, killed, added again, power cut ({images} images)"), coverage);
}

/// As above, but the next process only looks at what it finds: a dedup hit, and a name of its own for it.
#[test]
fn a_hit_on_what_a_dead_process_left_is_durable() {
    let start = world(4, Durability::Batch, &[("/src/a", A), ("/hit/a", A)]);
    let mut images = 0;
    let coverage = Enumeration::new(4, &start).kills(add_all, |number, world, _| {
        let process = world.process("next");
        Opened::open(&process).unwrap().add(&["/hit"], &AddOptions::default()).unwrap();
        let log = world.log();
        images += kit::each_image(&world.balance(), number, 4, |_, image| goes_on(image, &log));
    });
    report(&format!("add, killed, hit, power cut ({images} images)"), coverage);
}

#[test]
fn each_way_of_syncing_survives_a_power_cut() {
    // Two staged files are synced one by one; more with one syncfs; names in many directories likewise.
    let few: Vec<(String, Vec<u8>)> = (0..2).map(|i| (format!("/src/{i}"), vec![b'a' + i; 700])).collect();
    let many: Vec<(String, Vec<u8>)> = (0..10).map(|i| (format!("/src/{i}/deep/f"), vec![b'a' + i; 40])).collect();
    for (what, files, samples) in [("fsync", few, 10), ("syncfs", many, 6)] {
        let files: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
        let start = world(5, Durability::Batch, &files);
        let mut enumeration = Enumeration::new(5, &start).samples(samples);
        if files.len() > 2 {
            enumeration = enumeration.images(Images::Basic);
        }
        let coverage = enumeration.power_cuts(add_all, |_, world, log| {
            let opened = recovered(world, log);
            kit::nothing_is_left_over(world, &opened);
        });
        report(&format!("add, {what}"), coverage);
    }
}

#[test]
fn a_large_file_survives_a_power_cut() {
    let large: Vec<u8> = (0..(1u32 << 20) + 5000).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for durability in [Durability::Batch, Durability::Each] {
        let start = world(6, durability, &[("/src/large", &large), ("/src/small", A)]);
        let coverage =
            Enumeration::new(6, &start).images(Images::Basic).samples(3).power_cuts(add_all, |_, world, log| {
                let opened = recovered(world, log);
                assert_eq!(opened.add(&["/src"], &AddOptions::default()).unwrap().failed, 0);
                kit::agrees(world, &opened);
            });
        report(&format!("add a large file, {}", durability.word()), coverage);
    }
}

#[test]
fn a_stream_is_durable_when_it_is_acknowledged() {
    for durability in [Durability::Batch, Durability::Each] {
        let start = world(7, durability, &sources());
        cuts(&format!("add a stream, {}", durability.word()), 7, &start, 5, |process| {
            let opened = Opened::open(process).unwrap();
            let (name, mut input) = (Name::new("src/stream").unwrap(), C);
            add_stream(&opened.ctx(), &mut input, &name, &AddOptions::default(), &kit::Noting(process)).unwrap();
        });
    }
}

/// What rested on a stored copy that went away is staged again, and synced again.
#[test]
fn what_is_staged_again_is_synced_again() {
    for durability in [Durability::Batch, Durability::Each] {
        let start = world(8, durability, &sources());
        add_all(&start.process("before"));
        start.settle();
        let start = start.snapshot().world(8);
        let coverage = Enumeration::new(8, &start).samples(5).power_cuts(
            |process| {
                let opened = Opened::open(process).unwrap();
                // The blob goes between staging, which finds it, and the commit.
                let vanishing = Vanishing { process: Arc::clone(process), path: opened.ledger.blobs.path(&digest(A)) };
                let sources = [larder::work::ingest::Source { path: "/src/a".into() }];
                let options = AddOptions { name: Some(Name::new("again").unwrap()), ..AddOptions::default() };
                larder::work::ingest::add(&opened.ctx(), &sources, &options, &vanishing).unwrap();
            },
            |_, world, log| {
                kit::never_lies(world);
                let opened = Opened::open(&world.process("recovery")).unwrap();
                opened.ledger.hold(|_| Ok(())).unwrap();
                if log.noted(&format!("added again {}", digest(A))) {
                    Account::of(log).holds(opened.ledger.snapshot().unwrap().as_ref());
                    assert_eq!(world.read(opened.ledger.blobs.path(&digest(A))).as_deref(), Some(A));
                }
            },
        );
        report(&format!("add what goes away meanwhile, {}", durability.word()), coverage);
    }
}

/// Unlinks a blob when its source has been read.
struct Vanishing {
    process: Arc<Simulated>,
    path: std::path::PathBuf,
}

impl larder::Observer for Vanishing {
    fn event(&self, event: &larder::Event) {
        kit::Noting(&self.process).event(event);
    }

    fn progress(&self, _files: u64, bytes: u64) {
        if bytes > 0 {
            self.process.note("the blob vanishes");
            let _ = self.process.unlink(&self.path);
        }
    }
}

#[test]
fn an_earlier_frame_is_finished_before_the_next() {
    let start = world(9, Durability::Batch, &[("/one/a", A), ("/one/b", B), ("/two/c", C), ("/two/a", A)]);
    let coverage = Enumeration::new(9, &start).samples(many(6) as usize).power_cuts(
        |process| {
            let opened = Opened::open(process).unwrap();
            opened.add(&["/one"], &AddOptions::default()).unwrap();
            opened.add(&["/two"], &AddOptions::default()).unwrap();
        },
        |_, world, log| {
            let opened = recovered(world, log);
            opened.add(&["/two", "/one"], &AddOptions::default()).unwrap();
            kit::nothing_is_left_over(world, &opened);
        },
    );
    report("two adds", coverage);
}

#[test]
fn replacing_survives_a_power_cut() {
    let start = world(10, Durability::Batch, &[("/src/a", A), ("/new/b", B), ("/new/c", C)]);
    add_all(&start.process("before"));
    start.settle();
    let start = start.snapshot().world(10);
    cuts("replace", 10, &start, 10, |process| {
        let opened = Opened::open(process).unwrap();
        process.note(&format!("added src/a {}", digest(A)));
        opened.put("/new/b", "src/a", B).unwrap();
    });
    cuts("replace, then something else", 11, &start, 4, |process| {
        let opened = Opened::open(process).unwrap();
        process.note(&format!("added src/a {}", digest(A)));
        opened.put("/new/b", "src/a", B).unwrap();
        opened.put("/new/c", "src/c", C).unwrap();
    });
}

#[test]
fn replacing_by_nothing_and_nothing_by_something_survives_a_power_cut() {
    let start = world(12, Durability::Batch, &[("/src/a", A), ("/src/empty", b""), ("/new/b", B), ("/new/empty", b"")]);
    add_all(&start.process("before"));
    start.settle();
    let start = start.snapshot().world(12);
    cuts("replace an empty file and by one", 12, &start, 2, |process| {
        let opened = Opened::open(process).unwrap();
        opened.may("src/a", Some(A));
        opened.may("src/empty", Some(b""));
        opened.put("/new/empty", "src/a", b"").unwrap();
        opened.put("/new/b", "src/empty", B).unwrap();
    });
}

#[test]
fn removing_and_renaming_survive_a_power_cut() {
    let start = world(13, Durability::Batch, &[("/src/a", A), ("/src/d/b", B), ("/src/d/c", C)]);
    add_all(&start.process("before"));
    start.settle();
    let start = start.snapshot().world(13);
    let begin = |process: &Arc<Simulated>| {
        for (name, bytes) in [("src/a", A), ("src/d/b", B), ("src/d/c", C)] {
            process.note(&format!("added {name} {}", digest(bytes)));
        }
        Opened::open(process).unwrap()
    };
    cuts("remove", 13, &start, 10, |process| {
        let opened = begin(process);
        opened.remove(&["src/a", "src/d/b"]).unwrap();
        opened.remove(&["src/d/c"]).unwrap();
    });
    cuts("rename", 14, &start, 4, |process| {
        let opened = begin(process);
        opened.rename("src/a", "src/e/f", A).unwrap();
        opened.rename("src/e/f", "src/e/g", A).unwrap();
        opened.rename("src/d/b", "src/d/c", B).unwrap();
    });
}

/// The source's bytes are at its old name, or acknowledged in the store: at every moment, in every image.
fn never_lost(world: &World, log: &Log, sources: &[(&str, &str, &[u8])]) {
    let account = Account::of(log);
    for (path, name, bytes) in sources {
        let there = world.read(path).as_deref() == Some(*bytes);
        assert!(there || account.is_kept(name), "{path} is gone, and {name} was not acknowledged");
    }
}

#[test]
fn taking_in_by_link_never_loses_a_source() {
    let sources: [(&str, &str, &[u8]); 3] = [("/src/a", "src/a", A), ("/src/b", "src/b", B), ("/src/c", "src/c", A)];
    let files: Vec<(&str, &[u8])> = sources.iter().map(|(path, _, bytes)| (*path, *bytes)).collect();
    for take_in in [TakeIn::Link, TakeIn::Move] {
        for durability in [Durability::Batch, Durability::Each] {
            let start = world(15, durability, &files);
            let options = AddOptions { take_in, ..AddOptions::default() };
            let coverage = Enumeration::new(15, &start).samples(many(8) as usize).power_cuts(
                |process| _ = Opened::open(process).unwrap().add(&["/src"], &options).unwrap(),
                |_, world, log| {
                    never_lost(world, log, &sources);
                    let opened = recovered(world, log);
                    never_lost(world, log, &sources);
                    let again = opened.add(&["/src"], &options).unwrap();
                    assert_eq!(again.failed, 0);
                    kit::nothing_is_left_over(world, &opened);
                    for (_, name, bytes) in &sources {
                        let seen = opened.ledger.snapshot().unwrap().alias(&Name::new(*name).unwrap()).unwrap();
                        assert!(seen.is_some_and(|alias| alias.digest == digest(bytes)), "{name}");
                    }
                },
            );
            report(&format!("add by {take_in:?}, {}", durability.word()), coverage);
            Enumeration::new(15, &start).kills(
                |process| _ = Opened::open(process).unwrap().add(&["/src"], &options).unwrap(),
                |_, world, log| {
                    never_lost(world, log, &sources);
                    goes_on(world, log);
                },
            );
        }
    }
}

/// A moved source that is a hit is traded for the stored copy only once that has been seen to be good.
#[test]
fn moving_what_is_stored_already_never_loses_it() {
    let start = world(16, Durability::Batch, &[("/src/a", A), ("/more/a", A), ("/more/b", A)]);
    add_all(&start.process("before"));
    start.settle();
    for corrupt in [false, true] {
        let start = start.snapshot().world(16);
        if corrupt {
            assert!(start.corrupt(larder::format::layout::Layout::new(kit::STORE).blob(&digest(A)), 3));
        }
        let options = AddOptions { take_in: TakeIn::Move, ..AddOptions::default() };
        let sources = [("/more/a", "more/a", A), ("/more/b", "more/b", A)];
        let coverage = Enumeration::new(16, &start).samples(many(8) as usize).power_cuts(
            |process| _ = Opened::open(process).unwrap().add(&["/more"], &options).unwrap(),
            |_, world, log| {
                never_lost(world, log, &sources);
                let opened = Opened::open(&world.process("recovery")).unwrap();
                opened.ledger.hold(|_| Ok(())).unwrap();
                Account::of(log).holds(opened.ledger.snapshot().unwrap().as_ref());
                if log.notes().any(|note| note.starts_with("added")) {
                    kit::never_lies(world);
                    kit::agrees(world, &opened);
                }
            },
        );
        report(&format!("move what is stored already, corrupt: {corrupt}"), coverage);
    }
}

/// A source that its writer never synced is durable all the same once it is acknowledged.
#[test]
fn a_source_that_was_never_synced_is_synced() {
    for take_in in [TakeIn::Copy, TakeIn::Link, TakeIn::Move] {
        let start = world(17, Durability::Batch, &[("/src/a", A)]);
        let coverage = Enumeration::new(17, &start).samples(10).power_cuts(
            |process| {
                let file = process.open(Path::new("/src/late"), Open::CreateNew { mode: 0o644 }).unwrap();
                file.write_at(B, 0).unwrap();
                drop(file);
                let options = AddOptions { take_in, ..AddOptions::default() };
                Opened::open(process).unwrap().add(&["/src"], &options).unwrap();
            },
            |_, world, log| {
                let opened = recovered(world, log);
                kit::nothing_is_left_over(world, &opened);
            },
        );
        report(&format!("add an unsynced source by {take_in:?}"), coverage);
    }
}

/// Whatever an attempt that was cut short has left of the mark of a cache.
#[test]
fn a_store_is_marked_as_a_cache_only_if_asked_and_then_whole() {
    let tag = "/store/CACHEDIR.TAG";
    let make = |left: Option<&[u8]>, cache: bool| {
        let world = World::new(21);
        left.iter().for_each(|left| world.put(tag, left));
        let machine: Arc<dyn Machine> = world.process("making");
        let new = NewStoreSpec { cache, ..NewStoreSpec::default() };
        assert!(create(&machine, Path::new(kit::STORE), &new).unwrap());
        world.read(tag)
    };
    let whole = make(None, true).unwrap();
    assert!(whole.starts_with(b"Signature: 8a477f597d28d172789f06886806bc55"));
    for length in [0, 1, 20, 43, 44, whole.len()] {
        assert_eq!(make(Some(&whole[..length]), true).as_ref(), Some(&whole), "{length} bytes were left");
        assert_eq!(make(Some(&whole[..length]), false), None, "{length} bytes were left");
    }
    // What somebody else has put there stays.
    let other = b"Signature: 8a477f597d28d172789f06886806bc55\n# by another program\n";
    assert_eq!(make(Some(other), true).unwrap(), other);
    assert_eq!(make(Some(other), false).unwrap(), other);
}

#[test]
fn making_a_store_survives_a_power_cut() {
    kit::plant();
    let start = World::new(18);
    let new = NewStoreSpec::default();
    let make = |process: &Arc<Simulated>| {
        let machine: Arc<dyn Machine> = Arc::<Simulated>::clone(process);
        create(&machine, Path::new(kit::STORE), &new).expect("a store can be made")
    };
    let usable = |world: &World| {
        world.put("/src/a", A);
        add_all(&world.process("user"));
        let log = world.log();
        drop(recovered(world, &log));
    };
    let step = std::cell::Cell::new(0);
    let check = |world: &World, log: &Log| {
        let process = world.process("again");
        let there = presence(process.as_ref(), Path::new(kit::STORE)).unwrap();
        assert_ne!(there, Presence::Other, "it cannot be told from somebody else's directory");
        if log.noted("made") {
            assert_eq!(there, Presence::Store);
        }
        make(&process);
        assert_eq!(presence(process.as_ref(), Path::new(kit::STORE)).unwrap(), Presence::Store);
        // Whoever says that it is made now vouches for what the one before left unsynced.
        step.set(step.get() + 1);
        if kit::long() || u64::is_multiple_of(step.get(), 7) {
            kit::each_image(&world.balance(), step.get(), 1, |_, image| {
                let there = presence(image.process("third").as_ref(), Path::new(kit::STORE)).unwrap();
                assert_eq!(there, Presence::Store, "a store that was there is gone");
            });
        }
        usable(world);
    };
    let workload = |process: &Arc<Simulated>| {
        make(process);
        process.note("made");
    };
    let enumeration = Enumeration::new(18, &start).images(Images::Basic).samples(2);
    report("init", enumeration.power_cuts(workload, |_, world, log| check(world, log)));
    report("init, killed", Enumeration::new(18, &start).kills(workload, |_, world, log| check(world, log)));
    // A store that its maker did not live to sync is used as it is found.
    let used = Enumeration::new(18, &start).kills(workload, |number, world, _| {
        if presence(world.process("user").as_ref(), Path::new(kit::STORE)).unwrap() == Presence::Store {
            world.put("/src/a", A);
            add_all(&world.process("user"));
            let log = world.log();
            kit::each_image(&world.balance(), number, 10, |_, image| goes_on(image, &log));
        }
    });
    report("init, killed, used as it is", used);
}

#[test]
fn recovery_survives_a_power_cut() {
    let start = world(19, Durability::Batch, &[("/src/a", A), ("/src/d/b", B), ("/new/c", C)]);
    add_all(&start.process("before"));
    start.settle();
    let start = start.snapshot().world(19);
    let workload = |process: &Arc<Simulated>| {
        let opened = Opened::open(process).unwrap();
        process.note(&format!("added src/a {}", digest(A)));
        process.note(&format!("added src/d/b {}", digest(B)));
        opened.put("/new/c", "src/a", C).unwrap();
        opened.remove(&["src/d/b"]).unwrap();
    };
    let (seen, inner) = (RefCell::new(0), RefCell::new(Coverage { calls: 0, images: 0, distinct: 0 }));
    let outer = Enumeration::new(19, &start).samples(4).power_cuts(workload, |_, world, log| {
        *seen.borrow_mut() += 1;
        if *seen.borrow() % if kit::long() { 1 } else { 6 } != 0 {
            return;
        }
        let account = Account::of(log);
        let again = Enumeration::new(20, world).images(Images::Basic).samples(2).power_cuts(
            |process| {
                let opened = Opened::open(process).expect("it opens");
                opened.ledger.hold(|_| Ok(())).expect("it recovers");
            },
            |_, world, _| {
                let opened = recovers_to(world, &account);
                kit::nothing_is_left_over(world, &opened);
            },
        );
        let mut inner = inner.borrow_mut();
        *inner = Coverage {
            calls: inner.calls + again.calls,
            images: inner.images + again.images,
            distinct: inner.distinct + again.distinct,
        };
    });
    report("replace and remove, to be recovered", outer);
    report("recovery", inner.into_inner());
}

/// A store that is not synced at all still never lies once a process, and not the machine, has died.
#[test]
fn a_scratch_store_survives_kills() {
    let start = world(21, Durability::None, &sources());
    let coverage = Enumeration::new(21, &start).kills(add_all, |_, world, log| goes_on(world, log));
    report("add, none, killed", coverage);
}

/// The next process in turn is killed, too, and the one after it, and so on.
#[test]
fn one_dead_process_after_the_other() {
    let start = world(22, Durability::Batch, &sources());
    kit::for_seeds("kill after kill", 40, |seed| {
        let mut chance = kit::Chance::new(seed);
        let world = start.snapshot().world(seed);
        let mut account = Account::default();
        for _ in 0..6 {
            let process = world.process("doomed");
            let at = world.calls() + chance.below(40);
            world.fail(larder::machine::simulated::Fault::kill().at_call(at).process(process.number()));
            let _ = run(&process, || {
                let opened = Opened::open(&process).unwrap();
                opened.may("src/a", Some(A));
                match chance.below(4) {
                    0 | 1 => drop(opened.add(&["/src"], &AddOptions::default()).unwrap()),
                    2 => _ = opened.put("/src/b", "src/a", B).unwrap(),
                    _ => _ = opened.collect_with(std::time::Duration::ZERO, std::time::Duration::ZERO).unwrap(),
                }
            });
            world.clear_faults();
        }
        let log = world.log();
        account.go_on(&log);
        kit::each_image(&world.balance(), seed, 3, |_, image| carries_on(image, &recovers_to(image, &account)));
        carries_on(&world, &recovers_to(&world, &account));
    });
}

/// Reports are made by whoever acknowledges, and `Silent` is one who hears nothing: it changes nothing.
#[test]
fn who_listens_makes_no_difference() {
    let start = world(23, Durability::Batch, &sources());
    let opened = Opened::open(&start.process("one")).unwrap();
    let sources = [larder::work::ingest::Source { path: "/src".into() }];
    larder::work::ingest::add(&opened.ctx(), &sources, &AddOptions::default(), &Silent).unwrap();
    kit::nothing_is_left_over(&start, &opened);
}
