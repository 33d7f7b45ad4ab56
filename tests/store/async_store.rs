//! The store awaited from tokio (R36, R93): the same answers, and a future that is dropped leaves nothing behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use larder::aio::Store;
use larder::machine::{Machine, Real};
use larder::work::catalog::register::{IfThere, Registration};
use larder::work::finalise::Finished;
use larder::work::ingest::{AddOptions, Source};
use larder::work::names::Target;
use larder::work::verify::VerifyOptions;
use larder::{ErrorKind, Event, Key, Name, NewStore, Observer, OpenOptions, Query};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).build().unwrap()
}

async fn create(directory: &Path) -> Store {
    let machine: Arc<dyn Machine> = Arc::new(Real::new());
    let options = OpenOptions { jobs: 1, ..OpenOptions::default() };
    Store::create(machine, directory.join("store"), NewStore::default(), options).await.unwrap().0
}

fn key(id: usize) -> Key {
    Key::download(&format!("doc {id}"), "https://e.org/x", "").unwrap()
}

fn sources(directory: &Path, count: usize) -> Vec<Source> {
    fs::create_dir(directory.join("src")).unwrap();
    for number in 0..count {
        fs::write(directory.join(format!("src/{number:04}")), format!("file {number}")).unwrap();
    }
    vec![Source { path: directory.join("src") }]
}

fn staged(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory.join("store/staging")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn find_or_download_as_a_service_does_it() {
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = create(directory.path()).await;
        assert_eq!(store.entry(key(1)).await.unwrap(), None);
        let file = directory.path().join("x.part");
        fs::write(&file, "downloaded").unwrap();
        let done = store.finalise(file.clone(), Finished::new(key(1)), None).await.unwrap();
        assert!(done.entry_new && !file.exists());
        let found = store.entry(key(1)).await.unwrap().unwrap();
        assert_eq!(found.digest(), Some(done.digest));
        assert_eq!(store.entries_by_digest(done.digest).await.unwrap().len(), 1);
        assert_eq!(fs::read(store.path(Target::Digest(done.digest)).await.unwrap()).unwrap(), b"downloaded");
        assert!(
            store.tag(key(1), BTreeSet::from(["t".into()]), BTreeSet::new()).await.unwrap().card.tags.contains("t")
        );
        let verified = store.verify(vec![], vec![], VerifyOptions::default()).await.unwrap();
        assert_eq!((verified.blobs, verified.ok), (1, 1));
        assert_eq!(store.entry(key(2)).await.unwrap(), None);
        assert_eq!(store.remove_entry(key(2)).await.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn of_many_tasks_that_register_one_key_one_makes_it() {
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = create(directory.path()).await;
        let tasks: Vec<_> = (0..32)
            .map(|number| {
                let store = store.clone();
                tokio::spawn(async move {
                    let one = Registration::new(key(number % 4));
                    store.register(vec![one], IfThere::Keep).await.unwrap().remove(0).new
                })
            })
            .collect();
        let mut made = 0;
        for task in tasks {
            made += usize::from(task.await.unwrap());
        }
        assert_eq!(made, 4);
        assert_eq!(store.entries(Query::default(), None, 100).await.unwrap().len(), 4);
    });
}

/// Stops the work where a test wants it to, and goes on when the future is gone.
struct Gate {
    after: usize,
    chunks: AtomicUsize,
    reached: Mutex<Option<oneshot::Sender<()>>>,
    go_on: Mutex<mpsc::Receiver<()>>,
    added: Mutex<Vec<Name>>,
}

impl Observer for Gate {
    fn event(&self, event: &Event) {
        if let Event::Added { name, .. } = event {
            self.added.lock().unwrap().push(name.clone());
        }
    }

    fn expect(&self, _: u64, _: u64) {
        if self.chunks.fetch_add(1, Ordering::SeqCst) == self.after {
            let reached = self.reached.lock().unwrap().take();
            reached.unwrap().send(()).unwrap();
            self.go_on.lock().unwrap().recv().unwrap();
        }
    }
}

#[test]
fn a_dropped_addition_stops_keeps_what_it_told_and_clears_what_it_staged() {
    for after in [0, 1, 3] {
        let directory = tempfile::tempdir().unwrap();
        let sources = sources(directory.path(), 600);
        let runtime = runtime();
        let (reached, is_reached) = oneshot::channel();
        let (go, go_on) = mpsc::channel();
        let gate = Arc::new(Gate {
            after,
            chunks: AtomicUsize::default(),
            reached: Mutex::new(Some(reached)),
            go_on: Mutex::new(go_on),
            added: Mutex::default(),
        });
        let store = runtime.block_on(create(directory.path()));
        runtime.block_on(async {
            let observed = store.observed_by(Arc::clone(&gate) as Arc<dyn Observer>);
            tokio::select! {
                _ = observed.add(sources, AddOptions::default()) => panic!("it waits for the gate"),
                _ = is_reached => {}
            }
        });
        go.send(()).unwrap();
        // A runtime waits for what its pool has begun.
        drop(runtime);
        let kept = store.store().stats().unwrap().names;
        let told = gate.added.lock().unwrap().len() as u64;
        assert_eq!(kept, told, "what is kept was told, and the other way round");
        assert!(kept < 600, "it stopped before its end: {kept}");
        assert_eq!(staged(directory.path()), Vec::<PathBuf>::new());
        assert_eq!(store.store().find_orphans().unwrap(), Vec::<PathBuf>::new());
    }
}

#[test]
fn a_call_that_is_dropped_before_it_begins_never_does() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    let store = runtime.block_on(create(directory.path()));
    let (go, go_on) = mpsc::channel::<()>();
    runtime.block_on(async {
        // The only thread of the pool is taken.
        let busy = store.clone();
        let busy = tokio::spawn(async move {
            busy.run(move |_, _| {
                go_on.recv().unwrap();
                Ok(())
            })
            .await
        });
        tokio::task::yield_now().await;
        let waiting = store.clone();
        let waiting =
            tokio::spawn(async move { waiting.register(vec![Registration::new(key(9))], IfThere::Keep).await });
        tokio::task::yield_now().await;
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        go.send(()).unwrap();
        busy.await.unwrap().unwrap();
        assert_eq!(store.entry(key(9)).await.unwrap(), None);
    });
}

#[test]
fn a_panic_in_the_pool_is_a_panic_of_who_waits() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let store = runtime.block_on(create(directory.path()));
    let task = runtime.spawn(async move { store.run(|_, _| -> larder::Result<()> { panic!("on purpose") }).await });
    assert!(runtime.block_on(task).unwrap_err().is_panic());
}
