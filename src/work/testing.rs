//! A store for the tests of the verbs: laid out by hand, and filled with blobs that are staged, published and recorded.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use super::Context;
use crate::format::layout::{DIRECTORIES, Layout};
use crate::format::options::Chosen;
use crate::format::record::{AliasRecord, BlobRecord, Record};
use crate::format::session::SessionKind;
use crate::format::settings::{Durability, Features, Settings};
use crate::hashing::{Digests, Workers};
use crate::ledger::{Engine, Ledger, Policy, Tables};
use crate::machine::simulated::World;
use crate::machine::{Machine, Open, Real};
use crate::parts::blobs::{BlobDirs, stamp};
use crate::parts::journal::Journal;
use crate::vocabulary::{Digest, Event, Name, Observer};

/// A store, and the machine that it is on.
pub(crate) struct Fixture {
    pub(crate) machine: Arc<dyn Machine>,
    pub(crate) ledger: Ledger,
    pub(crate) workers: Workers,
    /// A directory beside the store.
    pub(crate) out: PathBuf,
    policy: Policy,
    _directory: Option<tempfile::TempDir>,
}

/// What the test says about an alias.
#[derive(Clone, Copy, Default)]
pub(crate) struct Kept {
    pub(crate) hardlinked: bool,
    pub(crate) executable: bool,
    pub(crate) mtime_ns: i64,
}

impl Fixture {
    /// A store in a temporary directory of this machine, worked on by two threads.
    pub(crate) fn real() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        Self::on(Arc::new(Real::new()), &root, 2, Some(directory))
    }

    /// A store at `/store` of a simulated machine.
    pub(crate) fn simulated(world: &World) -> Self {
        Self::on(world.process("test"), Path::new("/"), 1, None)
    }

    fn on(machine: Arc<dyn Machine>, root: &Path, jobs: usize, directory: Option<tempfile::TempDir>) -> Self {
        let (store, out) = (root.join("store"), root.join("out"));
        machine.create_dir(&out, 0o755).unwrap();
        let layout = Layout::new(&store);
        lay_out(&machine, &layout);
        let policy = Policy {
            store: [7; 16],
            durability: Durability::Batch,
            blob_mode: 0o444,
            directory_mode: 0o755,
            syncfs: true,
            lock_timeout: Duration::from_secs(5),
            writable: true,
            engine: Engine::Embedded,
        };
        let ledger = Ledger::open(Arc::clone(&machine), layout, policy.clone()).unwrap();
        ledger.hold(|_| Ok(())).unwrap();
        Fixture { machine, ledger, workers: Workers::new(jobs).unwrap(), out, policy, _directory: directory }
    }

    /// The same store, opened for reading only.
    pub(crate) fn read_only(&self) -> Ledger {
        let policy = Policy { writable: false, ..self.policy.clone() };
        Ledger::open(Arc::clone(&self.machine), self.ledger.layout.clone(), policy).unwrap()
    }

    pub(crate) fn context(&self) -> Context<'_> {
        Context { ledger: &self.ledger, workers: &self.workers, hardlinked: false }
    }

    /// Keeps these bytes under a counted name.
    pub(crate) fn add(&self, name: &str, bytes: &[u8]) -> Digest {
        self.keep(name, bytes, Kept::default())
    }

    /// Keeps these bytes under a name.
    pub(crate) fn keep(&self, name: &str, bytes: &[u8], kept: Kept) -> Digest {
        self.keep_with_mode(name, bytes, kept, 0o444)
    }

    /// Keeps these bytes under a name, in a file with this mode.
    pub(crate) fn keep_with_mode(&self, name: &str, bytes: &[u8], kept: Kept, mode: u32) -> Digest {
        self.keep_file(name, Digests::of(bytes), kept, mode, |file| file.write_at(bytes, 0).unwrap())
    }

    /// Keeps what `write` writes under a name.
    pub(crate) fn keep_file(
        &self,
        name: &str,
        digests: Digests,
        kept: Kept,
        mode: u32,
        write: impl FnOnce(&dyn crate::machine::File),
    ) -> Digest {
        let ledger = &self.ledger;
        let open = |hold: &mut crate::ledger::hold::Hold<'_>| {
            ledger.sessions.open(SessionKind::Ingest, hold.snapshot.cursor.sequence, Vec::new())
        };
        let session = ledger.hold(open).unwrap();
        let staged = session.next_path();
        let file = self.machine.open(&staged, Open::CreateNew { mode: 0o600 }).unwrap();
        write(file.as_ref());
        file.set_mode(mode).unwrap();
        file.sync().unwrap();
        let mut dirs = BlobDirs::default();
        ledger.blobs.publish(&staged, &digests.digest, &mut dirs).unwrap();
        ledger.blobs.sync(&dirs).unwrap();
        let name = Name::new(name).unwrap();
        ledger
            .transact(move |tx| {
                let digest = digests.digest;
                let meta = tx.ledger().blobs.meta(&digest)?.unwrap();
                let added = tx.moment();
                if tx.blob(&digest)?.is_none() {
                    let blake3 = digests.blake3;
                    tx.push(Record::Blob(BlobRecord { digest, blake3, stamp: stamp(&meta), added }));
                }
                let Kept { hardlinked, executable, mtime_ns } = kept;
                let size_bytes = digests.size_bytes;
                let replaces = None;
                let alias = AliasRecord { name, digest, size_bytes, hardlinked, executable, mtime_ns, replaces, added };
                tx.push(Record::Alias(alias));
                Ok(())
            })
            .unwrap();
        digests.digest
    }

    /// Where a blob is.
    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.ledger.layout.blob(digest)
    }

    /// A path in the directory beside the store.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.out.join(path)
    }

    /// Every byte of a file.
    pub(crate) fn read(&self, path: &Path) -> Vec<u8> {
        let file = self.machine.open(path, Open::Read).unwrap();
        let mut bytes = vec![0; file.meta().unwrap().size_bytes as usize];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
        bytes
    }

    /// The names in the directory beside the store, in order.
    pub(crate) fn listed(&self) -> Vec<String> {
        let mut names: Vec<String> = self.machine.list(&self.out).unwrap().into_iter().map(|l| text(&l.name)).collect();
        names.sort();
        names
    }

    /// Changes a file's bytes behind the store's back.
    pub(crate) fn tamper(&self, digest: &Digest, change: impl FnOnce(&dyn crate::machine::File)) {
        let path = self.blob(digest);
        let mode = self.machine.lstat(&path).unwrap().mode;
        self.machine.open(&path, Open::Read).unwrap().set_mode(0o644).unwrap();
        let file = self.machine.open(&path, Open::ReadWrite).unwrap();
        change(file.as_ref());
        file.set_mode(mode).unwrap();
    }
}

fn text(name: &std::ffi::OsStr) -> String {
    name.to_str().unwrap().to_owned()
}

fn lay_out(machine: &Arc<dyn Machine>, layout: &Layout) {
    machine.create_dir(layout.root(), 0o755).unwrap();
    for directory in DIRECTORIES {
        machine.create_dir(&layout.root().join(directory), 0o755).unwrap();
    }
    for first in 0..=255 {
        machine.create_dir(&layout.blob_dir(first), 0o755).unwrap();
    }
    for path in [layout.lock(), layout.compaction(), layout.reserve()] {
        machine.open(&path, Open::CreateNew { mode: 0o644 }).unwrap();
    }
    let settings = Settings {
        format: crate::format::settings::FORMAT,
        store_id: "07".repeat(16),
        durability: Durability::Batch,
        hardlinked: false,
        blob_mode: "0444".into(),
        directory_mode: "0755".into(),
        features: Features::default(),
        options: Chosen::default(),
    };
    let file = machine.open(&layout.settings(), Open::CreateNew { mode: 0o644 }).unwrap();
    file.write_at(settings.to_toml().as_bytes(), 0).unwrap();
    Journal::new(Arc::clone(machine), layout.journal(), settings.id().unwrap()).begin_first(true).unwrap();
    machine.open(layout.root(), Open::Directory).unwrap().sync_filesystem().unwrap();
}

/// An observer that remembers, and that may stop the work after so many bytes or files.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) events: Mutex<Vec<Event>>,
    pub(crate) expected: Mutex<(u64, u64)>,
    pub(crate) done: Mutex<(u64, u64)>,
    pub(crate) stop_after: Option<(u64, u64)>,
}

impl Heard {
    /// Asks to stop once so many files, or so many bytes, are done.
    pub(crate) fn stopping_after(files: u64, bytes: u64) -> Self {
        Heard { stop_after: Some((files, bytes)), ..Heard::default() }
    }

    /// The reasons of everything that failed, in order of paths.
    pub(crate) fn failures(&self) -> Vec<(PathBuf, String)> {
        let failed = |event: &Event| match event {
            Event::Failed { path, reason } => Some((path.clone(), reason.clone())),
            _ => None,
        };
        let mut failures: Vec<_> = self.events.lock().unwrap().iter().filter_map(failed).collect();
        failures.sort();
        failures
    }
}

impl Observer for Heard {
    fn event(&self, event: &Event) {
        self.events.lock().unwrap().push(event.clone());
    }

    fn expect(&self, files: u64, bytes: u64) {
        let mut expected = self.expected.lock().unwrap();
        *expected = (expected.0 + files, expected.1 + bytes);
    }

    fn progress(&self, files: u64, bytes: u64) {
        let mut done = self.done.lock().unwrap();
        *done = (done.0 + files, done.1 + bytes);
    }

    fn cancelled(&self) -> bool {
        let done = self.done.lock().unwrap();
        self.stop_after.is_some_and(|(files, bytes)| done.0 >= files || done.1 >= bytes)
    }
}

/// The record that gives a counted name to the empty blob.
pub(crate) fn counted(name: &Name, added: crate::format::record::Moment) -> Record {
    Record::Alias(AliasRecord {
        name: name.clone(),
        digest: Digest::EMPTY,
        size_bytes: 0,
        hardlinked: false,
        executable: false,
        mtime_ns: 0,
        replaces: None,
        added,
    })
}
