//! Rows in larder, through its library. Besides, `ours fill DIR COUNT` makes a store with so many names, of which as many as
//! there may be are in no run, and `ours pauses DIR PROGRAM…` commits one name after the other while a program runs, and tells
//! how long the commits took.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use larder::Digest;
use larder::format::record::copies::{SourceFile, SourcesRecord};
use larder::format::record::{AliasRecord, BlobRecord, Moment, Record};
use larder::ledger::{Ledger, Tables};
use larder::store::Store;
use larder::work::names::Target;
use larder::{Blake3, Stamp};
use larder_peers::data::{Row, row};
use larder_peers::rows::{self, Rows};
use larder_peers::{Words, stores, timed};

/// Rows in one transaction of a bulk load: few syncs, and still bounded memory.
const AT_ONCE: usize = 10_000;

struct Larder {
    ledger: Ledger,
    /// The same store as programs have it, once something is put.
    front: OnceLock<Front>,
}

struct Front {
    store: Store,
    /// A blob that is there, for names of which only the name counts.
    any: Target,
}

impl Front {
    fn open(directory: &Path) -> Self {
        let source = tempfile::NamedTempFile::new().expect("a scratch file");
        std::fs::write(source.path(), b"the bytes that every name put alone means").expect("room for it");
        let name = stores::name("any");
        let options = larder::work::ingest::AddOptions { name: Some(name.clone()), ..Default::default() };
        let store = stores::open(directory);
        stores::add(&store, source.path(), &options);
        let any = Target::Digest(store.show(&Target::Name(name)).expect("it was just added").digest);
        Front { store, any }
    }
}

/// What a store knows of a file and its name: the blob, the name, and where it came from.
fn records(row: &Row) -> [Record; 3] {
    let digest = Digest::from_bytes(row.digest);
    let stamp = Stamp { size_bytes: row.size, mtime_ns: 0, inode: row.size, mode: 0o444, ctime_ns: 0 };
    let blake3 = Blake3::from_bytes(row.digest);
    let source = SourceFile {
        path: row.source.as_bytes().to_vec(),
        size_bytes: row.size,
        mtime_ns: 0,
        ctime_ns: 0,
        inode: 0,
        device: 0,
    };
    let alias = AliasRecord {
        name: stores::name(&row.name),
        digest,
        size_bytes: row.size,
        hardlinked: false,
        executable: false,
        mtime_ns: 0,
        replaces: None,
        added: Moment::default(),
    };
    [
        Record::Blob(BlobRecord { digest, blake3, stamp, added: Moment::default() }),
        Record::Alias(alias),
        Record::Sources(SourcesRecord { digest, files: vec![source], since: Moment::default() }),
    ]
}

impl Rows for Larder {
    fn open(directory: &Path) -> Self {
        if !directory.join("larder.toml").exists() {
            stores::create(directory);
        }
        Larder { ledger: stores::ledger(directory), front: OnceLock::new() }
    }

    fn load(&self, rows: &mut dyn Iterator<Item = Row>) {
        loop {
            let part: Vec<Record> = (&mut *rows).take(AT_ONCE).flat_map(|row| records(&row)).collect();
            if part.is_empty() {
                break;
            }
            self.ledger.hold(|hold| hold.commit(&part)).expect("they can be committed");
            self.ledger.fold(true).expect("the tail is folded");
        }
    }

    fn ready(&self) {
        self.front.get_or_init(|| Front::open(self.ledger.layout.root()));
    }

    fn put(&self, row: &Row) {
        let front = self.front.get().expect("it was made ready");
        let new = front.store.link(&front.any, &stores::name(&row.name), false, stores::COUNTED);
        assert!(new.expect("a new name"));
    }

    /// What is on record; whether a file is there is not asked.
    fn get(&self, name: &str) -> Option<[u8; 32]> {
        let now = self.ledger.snapshot().expect("it can be read");
        let alias = now.alias(&stores::name(name)).expect("it can be read")?;
        Some(*alias.digest.as_bytes())
    }

    fn settle(self) {
        let store = stores::open(self.ledger.layout.root());
        store.compact(&larder::Silent).expect("it can be made smaller");
    }
}

/// Commits until a program has ended, which runs beside it: how often, and how long it took in the middle and at most.
fn pauses(directory: &Path, command: &[String]) {
    let rows = Larder::open(directory);
    rows.ready();
    let [program, arguments @ ..] = command else { panic!("a program is missing") };
    let mut beside = Command::new(program).args(arguments).stdout(Stdio::null()).spawn().expect("it is started");
    let (mut took, mut number) = (Vec::new(), 2_000_000_000);
    let status = loop {
        let row = row(number);
        took.push(timed(|| rows.put(&row)).0);
        number += 1;
        if let Some(status) = beside.try_wait().expect("it can be waited for") {
            break status;
        }
    };
    assert!(status.success(), "the program has failed");
    took.sort();
    let seconds = |time: &Duration| time.as_secs_f64();
    let (middle, longest) = (seconds(&took[took.len() / 2]), seconds(took.last().expect("one at least")));
    println!("{{\"longest\": {longest:.9}, \"median\": {middle:.9}, \"count\": {}}}", took.len());
}

fn main() {
    let words = Words::read();
    match words.at(0) {
        "fill" => _ = stores::Recorded::fill(&words.path(1), words.number(2), true),
        "pauses" => pauses(&words.path(1), &std::env::args().skip(3).collect::<Vec<_>>()),
        _ => rows::main::<Larder>(),
    }
}
