//! Adding: big files, many small ones, and files whose bytes are known.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Contest, Scratch, cores, data, hash_all, hasher, remove, run, sized, stores};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use larder::Name;
use larder::store::Store;
use larder::vocabulary::limits::BATCH_FILES;
use larder::work::ingest::AddOptions;

struct Sources {
    scratch: Scratch,
    tree: PathBuf,
}

impl Sources {
    fn make(fill: impl FnOnce(&Path)) -> Self {
        let scratch = Scratch::default();
        let tree = scratch.path("tree");
        fill(&tree);
        Sources { scratch, tree }
    }

    /// Into a store of its own.
    fn add(&mut self) -> Duration {
        let directory = self.scratch.fresh();
        let store = stores::create(&directory);
        let took = self.scratch.timed(|| {
            stores::add(&store, &self.tree, &AddOptions::default());
        });
        drop(store);
        remove(&directory);
        took
    }

    fn copy(&mut self, also: impl FnOnce(&Path)) -> Duration {
        let directory = self.scratch.fresh();
        let took = self.scratch.timed(|| {
            run("cp", &[Path::new("-r"), &self.tree, &directory]);
            self.scratch.settle();
            also(&directory);
        });
        remove(&directory);
        took
    }

    /// The calls that adding cannot do without: every distinct file read, written, linked and its staging name unlinked,
    /// a link for every name, a sync for every batch.
    fn floor(&mut self) -> Duration {
        let to = self.scratch.fresh();
        let (staging, blobs, names) = (to.join("staging"), to.join("blobs"), to.join("names"));
        for directory in [&staging, &blobs, &names] {
            fs::create_dir_all(directory).expect("a directory");
        }
        for first in 0..=255 {
            fs::create_dir(blobs.join(format!("{first:02x}"))).expect("a directory");
        }
        let files = data::files(&self.tree);
        let known: Vec<u64> = files.iter().map(|file| fs::metadata(file).expect("a file").len()).collect();
        let took = self.scratch.timed(|| {
            for (b, batch) in files.chunks(BATCH_FILES).enumerate() {
                let next = AtomicUsize::new(0);
                std::thread::scope(|scope| {
                    for _ in 0..cores() {
                        scope.spawn(|| {
                            while let Some(file) = batch.get(next.fetch_add(1, Ordering::Relaxed)) {
                                let bytes = fs::read(file).expect("it can be read");
                                // Sizes tell duplicates apart well enough for a floor.
                                let id = blake3::hash(&bytes[..64.min(bytes.len())]).to_hex();
                                let blob = blobs.join(&id[..2]).join(&id[2..]);
                                if !blob.exists() {
                                    let staged = staging.join(file.file_name().expect("a name"));
                                    fs::write(&staged, &bytes).expect("room for it");
                                    // Another thread may have the same bytes.
                                    let _ = fs::hard_link(&staged, &blob);
                                    fs::remove_file(&staged).expect("it was just made");
                                }
                                let name = format!("{b}-{}", file.file_name().expect("a name").display());
                                fs::hard_link(&blob, names.join(name)).expect("a new name");
                            }
                        });
                    }
                });
                self.scratch.settle();
            }
        });
        assert_eq!(known.len(), files.len());
        remove(&to);
        took
    }
}

fn big(criterion: &mut Criterion) {
    const LENGTH: usize = 64 << 20;
    let count = sized(8, 2);
    // Beyond the size up to which a file is held in memory whole.
    let length = sized(LENGTH, 2 << 20).min(LENGTH);
    Contest {
        name: "add/big",
        work: Throughput::Bytes((count * length) as u64),
        set_up: Box::new(|| Sources::make(|tree| data::shards(tree, sized(8, 2), sized(LENGTH, 2 << 20).min(LENGTH)))),
        ours: Sources::add,
        rivals: vec![
            ("cp -r and a sync", |s| s.copy(|_| {})),
            ("cp -r, a sync, and SHA-256 of the copy by hand", |s| s.copy(|copy| hash_all(copy, 2))),
        ],
    }
    .run(criterion);
}

fn small(criterion: &mut Criterion) {
    Contest {
        name: "add/small",
        work: Throughput::Elements(sized(20_000, 300) as u64),
        set_up: Box::new(|| Sources::make(|tree| data::documents(tree, sized(20_000, 300)))),
        ours: Sources::add,
        rivals: vec![
            ("cp -r and a sync", |s| s.copy(|_| {})),
            ("the floor: write, link and unlink distinct files, link names, sync per batch", Sources::floor),
        ],
    }
    .run(criterion);
}

/// A tree that is in the store already.
struct Known {
    sources: Sources,
    store: Store,
    again: usize,
}

impl Known {
    fn make() -> Self {
        let mut sources = Sources::make(|tree| data::documents(tree, sized(5000, 300)));
        let store = stores::create(&sources.scratch.fresh());
        stores::add(&store, &sources.tree, &AddOptions::default());
        Known { sources, store, again: 0 }
    }

    fn add(&mut self, prefix: Option<Name>) -> Duration {
        let options = AddOptions { prefix, ..AddOptions::default() };
        self.sources.scratch.timed(|| {
            let report = stores::add(&self.store, &self.sources.tree, &options);
            assert_eq!(report.new_files, 0);
        })
    }

    fn hashed(&mut self) -> Duration {
        self.sources.scratch.timed(|| hash_all(&self.sources.tree, 500))
    }

    fn read(&mut self) -> Duration {
        self.sources.scratch.timed(|| data::read_all(&self.sources.tree))
    }

    /// What a user without a store does to have the tree twice and its bytes once.
    fn linked(&mut self) -> Duration {
        let copy = self.sources.scratch.fresh();
        let took = self.sources.scratch.timed_and_settled(|| run("cp", &[Path::new("-al"), &self.sources.tree, &copy]));
        remove(&copy);
        took
    }
}

fn dedup(criterion: &mut Criterion) {
    let work = Throughput::Elements(sized(5000, 300) as u64);
    let read: (&str, common::Side<Known>) = ("walking and reading it once", Known::read);
    let hashed: (&str, common::Side<Known>) = (hasher(), Known::hashed);
    Contest {
        name: "add/same",
        work: work.clone(),
        set_up: Box::new(Known::make),
        ours: |known| known.add(None),
        rivals: vec![read, hashed],
    }
    .run(criterion);
    Contest {
        name: "add/dedup",
        work,
        set_up: Box::new(Known::make),
        ours: |known| {
            known.again += 1;
            known.add(Some(stores::name(&format!("again-{}", known.again))))
        },
        rivals: vec![read, hashed, ("cp -al and a sync", Known::linked)],
    }
    .run(criterion);
}

criterion_group!(benches, big, small, dedup);
criterion_main!(benches);
