//! Stores to work on: made as a user makes them, or filled with records alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder::format::layout::Layout;
use larder::format::record::{AliasRecord, BlobRecord, Moment, Record};
use larder::format::settings::Settings;
use larder::ledger::{Engine, Ledger, Policy};
use larder::machine::{Machine, Real};
use larder::store::{NewStore, OpenOptions, Store};
use larder::vocabulary::limits::{LOCK_TIMEOUT, TAIL_MAX_RECORDS};
use larder::work::ingest::{AddOptions, AddReport, AliasKind, Source};
use larder::{Blake3, Digest, Name, Silent, Stamp};

pub fn options() -> OpenOptions {
    OpenOptions { jobs: 0, lock_timeout: LOCK_TIMEOUT, ..OpenOptions::default() }
}

/// The machine as the program has it: with maps.
pub fn machine() -> Arc<dyn Machine> {
    larder::machine::real::install_guard();
    Arc::new(Real::new())
}

/// A new store in `directory`.
pub fn create(directory: &Path) -> Store {
    let (store, made) = Store::create(machine(), directory, &NewStore::default(), &options()).expect("a new store");
    assert!(made);
    store
}

pub fn open(directory: &Path) -> Store {
    Store::open(machine(), directory, &options()).expect("there is a store")
}

/// Adds a file or tree; every file of it must get in.
pub fn add(store: &Store, path: &Path, options: &AddOptions) -> AddReport {
    let report = store.add(&[Source { path: path.to_owned() }], options, &Silent).expect("it can be added");
    assert_eq!((report.failed, report.skipped), (0, 0));
    report
}

pub fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

/// The name of the record with number `i`.
pub fn nth_name(i: usize) -> Name {
    let (organisation, model) = (i / 200 % 5000, i / 20);
    name(&format!("hf/org{organisation:04}/model-{model:05}/part-{:05}-{i:07}.safetensors", i % 20))
}

/// A store with one real blob and `count` names; one name in 101 means that blob, and every other one a blob of its own
/// of which there is a record but no file.
pub struct Recorded {
    pub directory: PathBuf,
    pub count: usize,
}

/// Records in one transaction while a store is filled: few syncs, and still bounded memory.
const AT_ONCE: usize = 20_000;

impl Recorded {
    /// Fills a store in `directory`; with `tail`, as many records as there may be are left in no run, each in a frame of
    /// its own.
    pub fn fill(directory: &Path, count: usize, tail: bool) -> Self {
        let real = real_blob(directory);
        let ledger = ledger(directory);
        let in_tail = if tail { (TAIL_MAX_RECORDS - 1).min(count / 2) } else { 0 };
        let bulk: Vec<usize> = (0..count - in_tail).collect();
        for part in bulk.chunks(AT_ONCE) {
            commit(&ledger, part.iter().flat_map(|i| records(*i, &real)).collect());
            ledger.fold(true).expect("the tail is folded");
        }
        // Through a hold nothing is folded, as when another process is busy folding for a long time.
        for i in count - in_tail..count {
            commit(&ledger, vec![alias(i, Self::digest(0, &real))]);
        }
        Recorded { directory: directory.to_owned(), count }
    }

    fn digest(i: usize, real: &Digest) -> Digest {
        if i.is_multiple_of(101) { *real } else { Digest::from_bytes(*blake3::hash(&i.to_le_bytes()).as_bytes()) }
    }

    /// A name of the real blob, another one every time.
    pub fn probe(&self, number: &mut u64) -> Name {
        *number = number.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        nth_name((*number >> 33) as usize % self.count / 101 * 101)
    }
}

fn real_blob(directory: &Path) -> Digest {
    let source = tempfile::NamedTempFile::new().expect("a scratch file");
    std::fs::write(source.path(), b"the bytes that every name looked up means").expect("room for it");
    let options = AddOptions { name: Some(name("real")), ..AddOptions::default() };
    let store = create(directory);
    add(&store, source.path(), &options);
    store.show(&larder::work::names::Target::Name(name("real"))).expect("it was just added").digest
}

pub fn ledger(directory: &Path) -> Ledger {
    let directory = directory.canonicalize().expect("a store");
    let layout = Layout::new(&directory);
    let settings = std::fs::read_to_string(layout.settings()).expect("settings");
    let settings = Settings::from_toml(&settings).expect("settings");
    let policy = Policy {
        store: settings.id().expect("an id"),
        durability: settings.durability,
        blob_mode: settings.mode(&settings.blob_mode).expect("a mode"),
        directory_mode: settings.mode(&settings.directory_mode).expect("a mode"),
        syncfs: true,
        lock_timeout: LOCK_TIMEOUT,
        writable: true,
        engine: Engine::Embedded,
    };
    Ledger::open(machine(), layout, policy).expect("a ledger")
}

fn commit(ledger: &Ledger, records: Vec<Record>) {
    ledger.hold(|hold| hold.commit(&records)).expect("records can be committed");
}

fn records(i: usize, real: &Digest) -> Vec<Record> {
    let digest = Recorded::digest(i, real);
    let mut records = Vec::with_capacity(2);
    if digest != *real {
        let stamp = Stamp { size_bytes: 1 << 20, mtime_ns: i as i64, inode: i as u64, mode: 0o444, ctime_ns: 0 };
        let blake3 = Blake3::from_bytes(*digest.as_bytes());
        records.push(Record::Blob(BlobRecord { digest, blake3, stamp, added: Moment::default() }));
    }
    records.push(alias(i, digest));
    records
}

fn alias(i: usize, digest: Digest) -> Record {
    Record::Alias(AliasRecord {
        name: nth_name(i),
        digest,
        size_bytes: 1 << 20,
        hardlinked: false,
        executable: false,
        mtime_ns: i as i64,
        replaces: None,
        added: Moment::default(),
    })
}

/// Aliases that are not files: a commit of one is nothing but a transaction.
pub const COUNTED: Option<AliasKind> = Some(AliasKind::Counted);
