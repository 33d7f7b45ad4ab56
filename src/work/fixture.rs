//! A small store for tests: laid out on a simulated or real machine, with blobs that were staged, published and recorded.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Context;
use super::collect::{CollectOptions, collect};
use crate::format::layout::{DIRECTORIES, Layout};
use crate::format::options::Chosen;
use crate::format::record::{AliasRecord, BlobRecord, Record};
use crate::format::session::SessionKind;
use crate::format::settings::{Durability, FORMAT, Features, Settings};
use crate::hashing::{Digests, Workers};
use crate::ledger::{Engine, Ledger, Policy, Tables};
use crate::machine::{Machine, Open};
use crate::parts::blobs::{BlobDirs, stamp};
use crate::parts::journal::Journal;
use crate::parts::sessions::Session;
use crate::vocabulary::{Digest, Event, Name, Observer};

/// An open store, without the front.
pub(crate) struct Fixture {
    pub(crate) machine: Arc<dyn Machine>,
    pub(crate) ledger: Ledger,
    pub(crate) workers: Workers,
}

/// Settings as `init` would write them.
pub(crate) fn settings() -> Settings {
    Settings {
        format: FORMAT,
        store_id: "5a".repeat(16),
        durability: Durability::Batch,
        hardlinked: true,
        blob_mode: "0444".into(),
        directory_mode: "0755".into(),
        features: Features::default(),
        options: Chosen::default(),
    }
}

/// Makes everything that a store has from its beginning, in a directory that is not there yet.
pub(crate) fn lay_out(machine: &Arc<dyn Machine>, root: &Path, settings: &Settings) {
    let layout = Layout::new(root);
    machine.create_dir(root, 0o755).unwrap();
    for directory in DIRECTORIES {
        machine.create_dir(&root.join(directory), 0o755).unwrap();
    }
    for first in 0..=u8::MAX {
        machine.create_dir(&layout.blob_dir(first), 0o755).unwrap();
    }
    for path in [layout.lock(), layout.compaction(), layout.reserve(), layout.settings()] {
        machine.open(&path, Open::CreateNew { mode: 0o644 }).unwrap();
    }
    let file = machine.open(&layout.settings(), Open::ReadWrite).unwrap();
    file.write_at(settings.to_toml().as_bytes(), 0).unwrap();
    Journal::new(Arc::clone(machine), layout.journal(), settings.id().unwrap()).begin_first(true).unwrap();
    machine.open(root, Open::Directory).unwrap().sync_filesystem().unwrap();
}

impl Fixture {
    /// A new store.
    pub(crate) fn new(machine: Arc<dyn Machine>, root: &Path) -> Self {
        lay_out(&machine, root, &settings());
        Fixture::open(machine, root)
    }

    /// A store that is there.
    pub(crate) fn open(machine: Arc<dyn Machine>, root: &Path) -> Self {
        let policy = Policy {
            store: [0x5a; 16],
            durability: Durability::Batch,
            blob_mode: 0o444,
            directory_mode: 0o755,
            syncfs: true,
            lock_timeout: Duration::from_secs(5),
            writable: true,
            engine: Engine::Embedded,
        };
        let ledger = Ledger::open(Arc::clone(&machine), Layout::new(root), policy).unwrap();
        Fixture { machine, ledger, workers: Workers::new(1).unwrap() }
    }

    pub(crate) fn ctx(&self) -> Context<'_> {
        Context { ledger: &self.ledger, workers: &self.workers, hardlinked: true }
    }

    /// Begins a session.
    pub(crate) fn session(&self, kind: SessionKind, held: &[Digest]) -> Session {
        self.ledger.hold(|hold| self.ledger.sessions.open(kind, hold.snapshot.cursor.sequence, held.to_vec())).unwrap()
    }

    /// Keeps `bytes` as `name`.
    pub(crate) fn add(&self, name: &str, bytes: &[u8], hardlinked: bool) -> Digest {
        let Digests { digest, blake3, size_bytes } = Digests::of(bytes);
        let session = self.session(SessionKind::Ingest, &[]);
        self.publish(&session, &digest, bytes);
        let stamp = stamp(&self.ledger.blobs.meta(&digest).unwrap().unwrap());
        let name = n(name);
        let record = move |tx: &mut crate::ledger::Tx<'_>| {
            let added = tx.moment();
            if tx.blob(&digest)?.is_none() {
                tx.push(Record::Blob(BlobRecord { digest, blake3, stamp, added }));
            }
            let (executable, mtime_ns, replaces) = (true, 77, None);
            let alias = AliasRecord { name, digest, size_bytes, hardlinked, executable, mtime_ns, replaces, added };
            tx.push(Record::Alias(alias));
            Ok(())
        };
        self.ledger.transact(record).unwrap();
        digest
    }

    /// Puts `bytes` into `sha256/`, and records nothing.
    pub(crate) fn publish(&self, session: &Session, digest: &Digest, bytes: &[u8]) {
        let staged = session.next_path();
        let file = self.machine.open(&staged, Open::CreateNew { mode: 0o444 }).unwrap();
        file.write_at(bytes, 0).unwrap();
        file.sync().unwrap();
        let mut dirs = BlobDirs::default();
        self.ledger.blobs.publish(&staged, digest, &mut dirs).unwrap();
        self.ledger.blobs.sync(&dirs).unwrap();
    }

    /// The path of a name's file.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.ledger.layout.name(&n(name))
    }

    /// The inode at a path; `None` if nothing is there.
    pub(crate) fn inode(&self, path: &Path) -> Option<u64> {
        self.machine.lstat(path).ok().map(|meta| meta.inode)
    }

    /// Collects what lost its last root longer than `grace` ago; what was removed, in the order of digests.
    pub(crate) fn collect(&self, grace: Duration) -> Vec<Digest> {
        let options = CollectOptions { grace, orphan_ttl: Duration::ZERO, yes_most: true };
        let heard = Heard::default();
        let report = collect(&self.ctx(), None, &options, &heard).unwrap();
        assert_eq!(report.removed_blobs, heard.removed().len() as u64);
        heard.removed()
    }

    /// The digest that a name means.
    pub(crate) fn means(&self, name: &str) -> Option<Digest> {
        self.ledger.snapshot().unwrap().alias(&n(name)).unwrap().map(|alias| alias.digest)
    }
}

pub(crate) fn n(name: &str) -> Name {
    Name::new(name).unwrap()
}

/// An observer that keeps what failed and what was told, and stops when it is asked a number of times.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) events: Mutex<Vec<Event>>,
    pub(crate) stop_after: Option<usize>,
    pub(crate) asked: Mutex<usize>,
}

impl Heard {
    /// The blobs that were removed, in the order of their digests.
    pub(crate) fn removed(&self) -> Vec<Digest> {
        let removed = |event: &Event| match event {
            Event::Removed { digest, .. } => Some(*digest),
            _ => None,
        };
        let mut removed: Vec<Digest> = self.events.lock().unwrap().iter().filter_map(removed).collect();
        removed.sort();
        removed
    }
}

impl Observer for Heard {
    fn event(&self, event: &Event) {
        self.events.lock().unwrap().push(event.clone());
    }

    fn cancelled(&self) -> bool {
        let mut asked = self.asked.lock().unwrap();
        *asked += 1;
        self.stop_after.is_some_and(|most| *asked > most)
    }
}
