//! Collecting, and making the index anew.

mod common;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::stores::{Recorded, nth_name};
use common::{Contest, Scratch, data, remove, run, sized, stores};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use larder::store::Store;
use larder::vocabulary::limits::ORPHAN_TTL;
use larder::work::collect::CollectOptions;
use larder::work::ingest::AddOptions;
use larder::{Prefix, Silent};

/// Documents that go, and as many that stay.
fn half() -> usize {
    sized(2000, 150)
}

struct Garbage {
    scratch: Scratch,
    tree: PathBuf,
}

impl Garbage {
    fn make() -> Self {
        let scratch = Scratch::default();
        let tree = scratch.path("tree");
        for (part, seed) in [("stays", 1), ("goes", 2)] {
            fs::create_dir_all(tree.join(part)).expect("a directory");
            for i in 0..half() as u64 {
                let bytes = data::noise(seed << 32 | i, 1024 + (i as usize * 37) % 16384);
                fs::write(tree.join(part).join(format!("{i:06}")), bytes).expect("room for it");
            }
        }
        Garbage { scratch, tree }
    }

    fn collect(&mut self) -> Duration {
        let directory = self.scratch.fresh();
        let store = stores::create(&directory);
        stores::add(&store, &self.tree, &AddOptions::default());
        let plan = store.plan_remove(&[Prefix::new(b"tree/goes").expect("a prefix")]).expect("there are such names");
        store.remove(&plan, &Silent).expect("names can be removed");
        let options = CollectOptions { grace: Duration::ZERO, orphan_ttl: ORPHAN_TTL, yes_most: true };
        let took = self.scratch.timed_and_settled(|| {
            let report = store.collect(None, &options, &Silent).expect("it can be collected");
            assert_eq!(report.removed_blobs, half() as u64);
        });
        drop(store);
        remove(&directory);
        took
    }

    fn copy(&mut self) -> PathBuf {
        let copy = self.scratch.fresh();
        run("cp", &[Path::new("-r"), &self.tree.join("goes"), &copy]);
        copy
    }

    fn rm(&mut self) -> Duration {
        let copy = self.copy();
        self.scratch.timed_and_settled(|| run("rm", &[Path::new("-rf"), &copy]))
    }

    /// The same renames and unlinks, and the syncs of one batch.
    fn floor(&mut self) -> Duration {
        let (copy, trash) = (self.copy(), self.scratch.fresh());
        fs::create_dir(&trash).expect("a directory");
        let took = self.scratch.timed_and_settled(|| {
            let gone: Vec<PathBuf> =
                fs::read_dir(&copy).expect("it can be listed").map(|e| e.expect("it").path()).collect();
            for path in &gone {
                fs::rename(path, trash.join(path.file_name().expect("a name"))).expect("a rename");
            }
            File::open(&copy).expect("it").sync_all().expect("a sync");
            for path in &gone {
                fs::remove_file(trash.join(path.file_name().expect("a name"))).expect("it is there");
            }
        });
        remove(&copy);
        remove(&trash);
        took
    }
}

fn collect(criterion: &mut Criterion) {
    Contest {
        name: "gc/half",
        work: Throughput::Elements(half() as u64),
        set_up: Box::new(Garbage::make),
        ours: Garbage::collect,
        rivals: vec![
            ("the floor: the same renames and unlinks", Garbage::floor),
            ("rm -rf of as many files", Garbage::rm),
        ],
    }
    .run(criterion);
}

fn names() -> usize {
    sized(200_000, 2000)
}

struct Journalled {
    scratch: Scratch,
    recorded: Recorded,
    store: Store,
    list: PathBuf,
}

impl Journalled {
    fn make() -> Self {
        let mut scratch = Scratch::default();
        let recorded = Recorded::fill(&scratch.fresh(), names(), false);
        let list = scratch.fresh();
        let line = |i| format!("{}\t{:064x}\t{}\n", nth_name(i), i * 7919, 1 << 20);
        let lines: Vec<String> = (0..names()).rev().map(line).collect();
        fs::write(&list, lines.concat()).expect("room for it");
        let store = stores::open(&recorded.directory);
        Journalled { scratch, recorded, store, list }
    }

    fn rebuild(&mut self) -> Duration {
        self.scratch.timed(|| {
            let report = self.store.rebuild(&Silent).expect("the index can be made anew");
            assert!(report.records >= names() as u64);
        })
    }

    /// A user who keeps a list sorts it.
    fn sort(&mut self) -> Duration {
        let sorted = self.scratch.fresh();
        self.scratch.timed_and_settled(|| run("sort", &[Path::new("-o"), &sorted, &self.list]))
    }

    /// Reading the journal once and writing as many bytes as the index has.
    fn floor(&mut self) -> Duration {
        let index: u64 = data::files(&self.recorded.directory.join("index")).iter().map(|f| length(f)).sum();
        let (journal, copy) = (self.recorded.directory.join("journal"), self.scratch.fresh());
        let took = self.scratch.timed_and_settled(|| {
            data::read_all(&journal);
            fs::write(&copy, vec![1; index as usize]).expect("room for it");
        });
        fs::remove_file(copy).expect("it was just made");
        took
    }
}

fn length(file: &Path) -> u64 {
    fs::metadata(file).expect("it is there").len()
}

fn rebuild(criterion: &mut Criterion) {
    Contest {
        name: "rebuild",
        work: Throughput::Elements(names() as u64),
        set_up: Box::new(Journalled::make),
        ours: Journalled::rebuild,
        rivals: vec![
            ("sort over a list of the same names", Journalled::sort),
            ("reading the journal and writing as many bytes as the index has", Journalled::floor),
        ],
    }
    .run(criterion);
}

criterion_group!(benches, collect, rebuild);
criterion_main!(benches);
