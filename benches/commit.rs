//! Durable single commits: one counted name each, from one thread and from eight that share syncs.

mod common;

use std::fs::File;
use std::io::Write;
use std::sync::Mutex;
use std::time::Duration;

use common::log::SharedLog;
use common::{Contest, Scratch, sized, stores};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use larder::store::Store;
use larder::work::ingest::AddOptions;
use larder::work::names::Target;

/// About what a frame with one name takes.
const RECORD: [u8; 256] = [0x5a; 256];
/// Threads that commit at the same time.
const THREADS: usize = 8;

/// Commits in one run; divisible by the number of threads.
fn commits() -> usize {
    sized(1600, 64).next_multiple_of(THREADS)
}

struct Committing {
    scratch: Scratch,
    store: Store,
    target: Target,
    run: usize,
}

impl Committing {
    fn make() -> Self {
        let mut scratch = Scratch::default();
        let source = scratch.path("file");
        std::fs::write(&source, b"the bytes that every name means").expect("room for it");
        let store = stores::create(&scratch.fresh());
        stores::add(&store, &source, &AddOptions::default());
        let digest = store.show(&Target::Name(stores::name("file"))).expect("it was just added").digest;
        Committing { scratch, store, target: Target::Digest(digest), run: 0 }
    }

    fn ours(&mut self, threads: usize) -> Duration {
        self.run += 1;
        let run = self.run;
        self.on(threads, |me, thread, i| {
            let name = stores::name(&format!("run-{run:05}/{thread}/{i:06}"));
            assert!(me.store.link(&me.target, &name, false, stores::COUNTED).expect("a new name"));
        })
    }

    /// Does `one` as often as there are commits, shared out among `threads`.
    fn on(&self, threads: usize, one: impl Fn(&Self, usize, usize) + Sync) -> Duration {
        let each = commits() / threads;
        self.scratch.timed(|| {
            std::thread::scope(|scope| {
                for thread in 0..threads {
                    let one = &one;
                    scope.spawn(move || (0..each).for_each(|i| one(self, thread, i)));
                }
            });
        })
    }

    fn append_each(&mut self, threads: usize) -> Duration {
        let file = Mutex::new(File::create(self.scratch.fresh()).expect("room for it"));
        self.on(threads, |_, _, _| {
            let mut file = file.lock().expect("no thread panics");
            file.write_all(&RECORD).expect("room for it");
            file.sync_data().expect("it can be synced");
        })
    }

    fn append_together(&mut self, threads: usize) -> Duration {
        let log = SharedLog::new(File::create(self.scratch.fresh()).expect("room for it"));
        self.on(threads, |_, _, _| log.append(&RECORD))
    }
}

fn one_thread(criterion: &mut Criterion) {
    Contest {
        name: "commit/1-thread",
        work: Throughput::Elements(commits() as u64),
        set_up: Box::new(Committing::make),
        ours: |c| c.ours(1),
        rivals: vec![("append and fdatasync", |c| c.append_each(1))],
    }
    .run(criterion);
}

fn eight_threads(criterion: &mut Criterion) {
    Contest {
        name: "commit/8-threads",
        work: Throughput::Elements(commits() as u64),
        set_up: Box::new(Committing::make),
        ours: |c| c.ours(THREADS),
        rivals: vec![
            ("append and fdatasync, one sync for all that wait", |c| c.append_together(THREADS)),
            ("append and fdatasync, each by itself", |c| c.append_each(THREADS)),
        ],
    }
    .run(criterion);
}

criterion_group!(benches, one_thread, eight_threads);
criterion_main!(benches);
