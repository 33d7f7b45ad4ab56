//! The same calls for services that are built on tokio (R36, R93): each runs on the runtime's blocking pool, and is awaited.
//!
//! The store itself stays synchronous. A future that is dropped cancels its call: one that has not begun never does, and one
//! that has stops where its work stops for an interrupt, with what it acknowledged kept and what it staged cleared. A call
//! that is one transaction is done whole or not at all.
//!
//! How many calls run at once is for the runtime to say (`max_blocking_threads`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::{AbortHandle, spawn_blocking};

use super::{NewStore, OpenOptions};
use crate::machine::Machine;
use crate::parts::catalog::Totals;
use crate::vocabulary::recorder::Counts;
use crate::vocabulary::{
    Digest, Entry, EntryTarget, Error, ErrorKind, Event, Key, Name, Observer, Prefix, Query, Result, Silent, State,
};
use crate::work::catalog::register::{IfThere, Registered, Registration};
use crate::work::catalog::trash::{Deleted, Undeleted};
use crate::work::catalog::verify::Verified;
use crate::work::collect::{CollectOptions, CollectPlan, CollectReport};
use crate::work::finalise::{FinaliseOptions, Finalised, Finished};
use crate::work::find::{BlobInfo, Stats};
use crate::work::ingest::{AddOptions, AddReport, AliasKind, Source};
use crate::work::materialize::{MaterializeOptions, MaterializeReport};
use crate::work::names::Target;
use crate::work::repair::{RepairOptions, RepairReport, RepairScope};
use crate::work::verify::{VerifyOptions, VerifyReport};

/// An open store whose calls are awaited. Cloned freely: all clones are the same open store.
#[derive(Clone)]
pub struct Store {
    store: Arc<super::Store>,
    observer: Arc<dyn Observer>,
}

/// Whether whoever waited for a call does so no more.
#[derive(Clone, Default)]
struct Dropped(Arc<AtomicBool>);

/// Cancels its call when it is dropped before the call is over.
struct Guard {
    dropped: Dropped,
    task: AbortHandle,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.dropped.0.store(true, Ordering::Relaxed);
        self.task.abort();
    }
}

/// The observer of one call: the store's own, and whoever waits.
struct Heard {
    observer: Arc<dyn Observer>,
    dropped: Dropped,
}

impl Observer for Heard {
    fn event(&self, event: &Event) {
        self.observer.event(event);
    }

    fn expect(&self, files: u64, bytes: u64) {
        self.observer.expect(files, bytes);
    }

    fn progress(&self, files: u64, bytes: u64) {
        self.observer.progress(files, bytes);
    }

    fn hears_of_good(&self) -> bool {
        self.observer.hears_of_good()
    }

    fn cancelled(&self) -> bool {
        self.dropped.0.load(Ordering::Relaxed) || self.observer.cancelled()
    }
}

/// Runs `work` on the blocking pool, with an observer that says when nobody waits for it any more.
async fn blocking<R: Send + 'static>(
    observer: Arc<dyn Observer>,
    work: impl FnOnce(&dyn Observer) -> Result<R> + Send + 'static,
) -> Result<R> {
    let dropped = Dropped::default();
    let heard = Heard { observer, dropped: dropped.clone() };
    let task = spawn_blocking(move || work(&heard));
    let _guard = Guard { dropped, task: task.abort_handle() };
    match task.await {
        Ok(done) => done,
        Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
        Err(_) => Err(Error::new(ErrorKind::Interrupted, "wait for a call", "the runtime is being shut down")),
    }
}

/// One method for each call: its arguments are owned, since the pool may outlive whoever waits.
macro_rules! calls {
    ($($(#[$about:meta])* $name:ident($($argument:ident: $of:ty),*) -> $result:ty = |$store:ident, $observer:ident| $work:expr;)*) => {
        impl Store {
            $($(#[$about])* pub async fn $name(&self, $($argument: $of),*) -> Result<$result> {
                self.run(move |$store, $observer| $work).await
            })*
        }
    };
}

impl Store {
    /// As [`super::Store::open`].
    pub async fn open(machine: Arc<dyn Machine>, directory: PathBuf, options: OpenOptions) -> Result<Store> {
        let open = move |_: &dyn Observer| super::Store::open(machine, &directory, &options);
        Ok(Store::of(blocking(Arc::new(Silent), open).await?))
    }

    /// As [`super::Store::create`].
    pub async fn create(
        machine: Arc<dyn Machine>,
        directory: PathBuf,
        new: NewStore,
        options: OpenOptions,
    ) -> Result<(Store, bool)> {
        let create = move |_: &dyn Observer| super::Store::create(machine, &directory, &new, &options);
        let (store, made) = blocking(Arc::new(Silent), create).await?;
        Ok((Store::of(store), made))
    }

    /// An open store, to be awaited from now on.
    pub fn of(store: super::Store) -> Store {
        Store { store: Arc::new(store), observer: Arc::new(Silent) }
    }

    /// The same store, whose calls tell `observer` what happens. It is called from the pool's threads.
    #[must_use]
    pub fn observed_by(&self, observer: Arc<dyn Observer>) -> Store {
        Store { store: Arc::clone(&self.store), observer }
    }

    /// The store itself, for calls that do not block: its settings, options and counts.
    pub fn store(&self) -> &super::Store {
        &self.store
    }

    /// The store directory.
    pub fn directory(&self) -> &Path {
        self.store.directory()
    }

    /// What was counted since it was opened.
    pub fn counts(&self) -> Counts {
        self.store.counts()
    }

    /// Runs any work with the store on the blocking pool. The observer that it is given says `cancelled` once nobody waits
    /// for it any more.
    pub async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce(&super::Store, &dyn Observer) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let store = Arc::clone(&self.store);
        blocking(Arc::clone(&self.observer), move |observer| work(&store, observer)).await
    }
}

calls! {
    /// As [`super::Store::add`].
    add(sources: Vec<Source>, options: AddOptions) -> AddReport = |store, observer| store.add(&sources, &options, observer);
    /// As [`super::Store::finalise`].
    finalise(file: PathBuf, what: Finished, options: Option<FinaliseOptions>) -> Finalised =
        |store, observer| store.finalise(&file, what, options.as_ref(), observer);
    /// As [`super::Store::register`].
    register(all: Vec<Registration>, if_there: IfThere) -> Vec<Registered> = |store, _observer| store.register(all, if_there);
    /// As [`super::Store::entry`].
    entry(key: Key) -> Option<Entry> = |store, _observer| store.entry(&key);
    /// As [`super::Store::find_entry`].
    find_entry(target: EntryTarget) -> Entry = |store, _observer| store.find_entry(&target);
    /// As [`super::Store::entries`].
    entries(query: Query, after: Option<Key>, limit: usize) -> Vec<Entry> =
        |store, _observer| store.entries(&query, after.as_ref(), limit);
    /// As [`super::Store::entries_by_digest`].
    entries_by_digest(digest: Digest) -> Vec<Entry> = |store, _observer| store.entries_by_digest(&digest);
    /// As [`super::Store::catalog_totals`].
    catalog_totals() -> Totals = |store, _observer| store.catalog_totals();
    /// As [`super::Store::set_state`].
    set_state(key: Key, to: State) -> Entry = |store, _observer| store.set_state(&key, to);
    /// As [`super::Store::tag`].
    tag(key: Key, add: BTreeSet<String>, remove: BTreeSet<String>) -> Entry =
        |store, _observer| store.tag(&key, add, remove);
    /// As [`super::Store::note`].
    note(key: Key, notes: String) -> Entry = |store, _observer| store.note(&key, &notes);
    /// As [`super::Store::describe`].
    describe(key: Key, metadata: BTreeMap<String, Option<String>>) -> Entry =
        |store, _observer| store.describe(&key, metadata);
    /// As [`super::Store::touch`].
    touch(key: Key) -> Entry = |store, _observer| store.touch(&key);
    /// As [`super::Store::verify_entry`].
    verify_entry(key: Key, path: Option<PathBuf>, expected: Option<Digest>, by: String) -> Verified =
        |store, observer| store.verify_entry(&key, path.as_deref(), expected, &by, observer);
    /// As [`super::Store::remove_entry`].
    remove_entry(key: Key) -> Entry = |store, _observer| store.remove_entry(&key);
    /// As [`super::Store::delete_entry`].
    delete_entry(key: Key, now: bool) -> Deleted = |store, observer| store.delete_entry(&key, now, observer);
    /// As [`super::Store::undelete_entry`].
    undelete_entry(key: Key) -> Undeleted = |store, _observer| store.undelete_entry(&key);
    /// As [`super::Store::evict_entry`].
    evict_entry(key: Key, now: bool) -> Deleted = |store, observer| store.evict_entry(&key, now, observer);
    /// As [`super::Store::get`].
    get(target: Target, destination: PathBuf, options: MaterializeOptions) -> MaterializeReport =
        |store, observer| store.get(&target, &destination, &options, observer);
    /// As [`super::Store::checkout`].
    checkout(prefix: Prefix, directory: PathBuf, options: MaterializeOptions) -> MaterializeReport =
        |store, observer| store.checkout(&prefix, &directory, &options, observer);
    /// As [`super::Store::path`].
    path(target: Target) -> PathBuf = |store, _observer| store.path(&target);
    /// As [`super::Store::contains`].
    contains(target: Target) -> bool = |store, _observer| store.contains(&target);
    /// As [`super::Store::show`].
    show(target: Target) -> BlobInfo = |store, _observer| store.show(&target);
    /// As [`super::Store::link`].
    link(target: Target, new: Name, replace: bool, alias: Option<AliasKind>) -> bool =
        |store, _observer| store.link(&target, &new, replace, alias);
    /// As [`super::Store::rename`].
    rename(from: Name, to: Name, replace: bool) -> () = |store, _observer| store.rename(&from, &to, replace);
    /// As [`super::Store::unlink`].
    unlink(name: Name) -> () = |store, _observer| store.unlink(&name);
    /// As [`super::Store::pin`].
    pin(target: Target, note: String) -> Digest = |store, _observer| store.pin(&target, &note);
    /// As [`super::Store::unpin`].
    unpin(target: Target) -> Digest = |store, _observer| store.unpin(&target);
    /// As [`super::Store::stats`].
    stats() -> Stats = |store, _observer| store.stats();
    /// As [`super::Store::verify`].
    verify(what: Vec<Target>, prefixes: Vec<Prefix>, options: VerifyOptions) -> VerifyReport =
        |store, observer| store.verify(&what, &prefixes, &options, observer);
    /// As [`super::Store::repair`].
    repair(scope: RepairScope, options: RepairOptions) -> RepairReport =
        |store, observer| store.repair(&scope, &options, observer);
    /// As [`super::Store::collect`].
    collect(plan: Option<CollectPlan>, options: CollectOptions) -> CollectReport =
        |store, observer| store.collect(plan.as_ref(), &options, observer);
}
