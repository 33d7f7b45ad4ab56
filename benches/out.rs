//! Getting out and verifying.

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{Contest, Scratch, data, hash_all, hasher, remove, run, sized, stores};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use larder::store::Store;
use larder::work::ingest::AddOptions;
use larder::work::materialize::{MaterializeOptions, Mode};
use larder::work::verify::VerifyOptions;
use larder::{Prefix, Silent};

struct Kept {
    scratch: Scratch,
    tree: PathBuf,
    store: Store,
}

impl Kept {
    fn make(fill: impl FnOnce(&Path)) -> Self {
        let mut scratch = Scratch::default();
        let tree = scratch.path("tree");
        fill(&tree);
        let store = stores::create(&scratch.fresh());
        stores::add(&store, &tree, &AddOptions::default());
        Kept { scratch, tree, store }
    }

    fn documents() -> Self {
        Kept::make(|tree| data::documents(tree, sized(10_000, 300)))
    }

    fn shards() -> Self {
        Kept::make(|tree| data::shards(tree, sized(8, 2), sized(LENGTH, 2 << 20).min(LENGTH)))
    }

    fn checkout(&mut self, mode: Mode) -> Duration {
        let to = self.scratch.fresh();
        let options = MaterializeOptions { mode: Some(mode), replace: false };
        let took = self.scratch.timed_and_settled(|| {
            let report = self.store.checkout(&Prefix::Everything, &to, &options, &Silent).expect("it can be got out");
            assert_eq!(report.failed, 0);
        });
        remove(&to);
        took
    }

    fn copied(&mut self, how: &str) -> Duration {
        let to = self.scratch.fresh();
        let took = self.scratch.timed_and_settled(|| run("cp", &[Path::new(how), &self.tree, &to]));
        remove(&to);
        took
    }

    fn verify(&mut self) -> Duration {
        self.scratch.timed(|| {
            let report = self.store.verify(&[], &[], &VerifyOptions::default(), &Silent).expect("it can be verified");
            assert_eq!(report.ok, report.blobs);
        })
    }

    fn hashed(&mut self, at_once: usize) -> Duration {
        let blobs = self.store.directory().join("sha256");
        self.scratch.timed(|| hash_all(&blobs, at_once))
    }

    fn read(&mut self) -> Duration {
        let blobs = self.store.directory().join("sha256");
        self.scratch.timed(|| data::read_all(&blobs))
    }
}

const LENGTH: usize = 64 << 20;

fn checkout(criterion: &mut Criterion) {
    let work = Throughput::Elements(sized(10_000, 300) as u64);
    Contest {
        name: "checkout/hardlink",
        work: work.clone(),
        set_up: Box::new(Kept::documents),
        ours: |kept| kept.checkout(Mode::Hardlink),
        rivals: vec![("cp -al and a sync", |kept| kept.copied("-al"))],
    }
    .run(criterion);
    Contest {
        name: "checkout/copy",
        work,
        set_up: Box::new(Kept::documents),
        ours: |kept| kept.checkout(Mode::Copy),
        rivals: vec![("cp -a and a sync", |kept| kept.copied("-a"))],
    }
    .run(criterion);
}

fn verify(criterion: &mut Criterion) {
    let bytes = (sized(8, 2) * sized(LENGTH, 2 << 20).min(LENGTH)) as u64;
    Contest {
        name: "verify/big",
        work: Throughput::Bytes(bytes),
        set_up: Box::new(Kept::shards),
        ours: Kept::verify,
        rivals: vec![(hasher(), |kept| kept.hashed(2)), ("walking and reading it once", Kept::read)],
    }
    .run(criterion);
    Contest {
        name: "verify/small",
        work: Throughput::Elements(sized(10_000, 300) as u64),
        set_up: Box::new(Kept::documents),
        ours: Kept::verify,
        rivals: vec![(hasher(), |kept| kept.hashed(500)), ("walking and reading it once", Kept::read)],
    }
    .run(criterion);
}

criterion_group!(benches, checkout, verify);
criterion_main!(benches);
