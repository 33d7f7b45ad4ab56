//! What the simulated tests share: a store in a simulated world, and a slow, obvious account of what must be there.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::format::layout::Layout;
use larder::format::settings::{Durability, Settings};
use larder::hashing::{Digests, Workers};
use larder::ledger::{Ledger, Policy, Tables};
use larder::machine::Machine;
use larder::machine::simulated::{Log, Simulated, World};
use larder::work::Context;
use larder::work::collect::{CollectOptions, CollectReport, collect};
use larder::work::ingest::{AddOptions, AddReport, Source, add};
use larder::work::init::{NewStoreSpec, create};
use larder::{Digest, Event, Name, Observer, Prefix, Result};

pub const STORE: &str = "/store";

/// A process's opened store, with one job: deterministic.
pub struct Opened {
    pub ledger: Arc<Ledger>,
    pub workers: Workers,
    pub hardlinked: bool,
    pub process: Arc<Simulated>,
}

impl Opened {
    pub fn open(process: &Arc<Simulated>) -> Result<Self> {
        let layout = Layout::new(STORE);
        let machine: Arc<dyn Machine> = Arc::<Simulated>::clone(process);
        let file = machine.open(&layout.settings(), larder::machine::Open::Read).expect("there is a store");
        let mut bytes = vec![0; 4096];
        let read = file.read_at(&mut bytes, 0).expect("settings can be read");
        let settings = Settings::from_toml(std::str::from_utf8(&bytes[..read]).unwrap()).expect("settings are right");
        let policy = Policy {
            store: settings.id().unwrap(),
            durability: settings.durability,
            blob_mode: settings.mode(&settings.blob_mode).unwrap(),
            directory_mode: settings.mode(&settings.directory_mode).unwrap(),
            syncfs: true,
            lock_timeout: Duration::from_secs(3600),
            writable: true,
        };
        Ok(Opened {
            ledger: Arc::new(Ledger::open(machine, layout, policy)?),
            workers: Workers::new(1)?,
            hardlinked: settings.hardlinked,
            process: Arc::clone(process),
        })
    }

    pub fn ctx(&self) -> Context<'_> {
        Context { ledger: &self.ledger, workers: &self.workers, hardlinked: self.hardlinked }
    }

    pub fn add(&self, paths: &[&str], options: &AddOptions) -> Result<AddReport> {
        let sources: Vec<Source> = paths.iter().map(|path| Source { path: PathBuf::from(path) }).collect();
        add(&self.ctx(), &sources, options, &Noting(&self.process))
    }

    pub fn collect(&self, grace: Duration) -> Result<CollectReport> {
        let options = CollectOptions { grace, orphan_ttl: Duration::from_secs(7 * 86400), yes_most: true };
        collect(&self.ctx(), None, &options, &Noting(&self.process))
    }
}

/// Writes what is acknowledged into the world's log, where a check finds it after the crash.
pub struct Noting<'a>(pub &'a Arc<Simulated>);

impl Observer for Noting<'_> {
    fn event(&self, event: &Event) {
        match event {
            Event::Added { name, digest, .. } => self.0.note(&format!("added {name} {digest}")),
            Event::Failed { path, reason } => self.0.note(&format!("failed {} {reason}", path.display())),
            _ => {}
        }
    }
}

/// A world with a store and some sources in it, all durable.
pub fn world(seed: u64, durability: Durability, sources: &[(&str, &[u8])]) -> World {
    let world = World::new(seed);
    let process = world.process("init");
    let machine: Arc<dyn Machine> = Arc::<Simulated>::clone(&process);
    let spec = NewStoreSpec { durability, ..NewStoreSpec::default() };
    assert!(create(&machine, Path::new(STORE), &spec).expect("a store can be made"));
    for (path, bytes) in sources {
        let parent = Path::new(path).parent().unwrap();
        world.put_dir(parent.to_str().unwrap());
        world.put(path, bytes);
    }
    world.settle();
    world
}

/// What the log says was acknowledged: names and digests, in order.
pub fn acknowledged(log: &Log) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for note in log.notes() {
        let mut words = note.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some("added"), Some(name), Some(digest)) => all.push((name.to_owned(), digest.to_owned())),
            (Some("removed"), Some(name), _) => all.retain(|(known, _)| known != name),
            _ => {}
        }
    }
    all
}

/// Opens the store as the next process would, lets it finish what is unfinished, and sees that every file under a
/// digest has its bytes, that every alias has its blob and its file, and that what was acknowledged is there.
pub fn recovered(world: &World, log: &Log) -> Opened {
    never_lies(world);
    let process = world.process("recovery");
    let opened = Opened::open(&process).expect("the store opens after any crash");
    opened.ledger.hold(|_| Ok(())).expect("the store can be written after any crash");
    let snapshot = opened.ledger.snapshot().expect("the records can be read");
    assert_eq!(snapshot.damage, [], "a crash is no damage");
    assert!(!snapshot.is_fenced().unwrap());
    for (name, digest) in acknowledged(log) {
        let alias = snapshot.alias(&Name::new(name.as_str()).unwrap()).unwrap();
        let alias = alias.unwrap_or_else(|| panic!("{name} was acknowledged and is gone"));
        assert_eq!(alias.digest.to_string(), digest, "{name} means other bytes than were acknowledged");
    }
    agrees(world, &opened);
    never_lies(world);
    opened
}

/// Promise 2, looked at from outside.
pub fn never_lies(world: &World) {
    for (seen, _) in world.tree() {
        let path = seen.to_str().unwrap();
        if let Some(rest) = path.strip_prefix("/store/sha256/").filter(|rest| rest.len() == 65) {
            let bytes = world.read(path).expect("a blob is a file");
            assert_eq!(Digests::of(&bytes).digest.to_hex(), rest.replace('/', ""), "{path} holds other bytes");
        }
    }
}

/// Records, blobs and names agree.
pub fn agrees(world: &World, opened: &Opened) {
    let snapshot = opened.ledger.snapshot().unwrap();
    let mut names = BTreeMap::new();
    for row in snapshot.aliases(&Prefix::Everything) {
        let (name, alias) = row.unwrap();
        let blob = snapshot.blob(&alias.digest).unwrap().unwrap_or_else(|| panic!("{name} has no blob"));
        let bytes = world.read(opened.ledger.layout.blob(&alias.digest)).unwrap_or_else(|| panic!("{name}: no file"));
        assert_eq!(Digests::of(&bytes).digest, alias.digest);
        assert_eq!(blob.stamp.size_bytes, bytes.len() as u64);
        assert!(snapshot.names_of(&alias.digest).unwrap().contains(&name), "{name} is not among its blob's names");
        if alias.hardlinked {
            let file =
                world.read(opened.ledger.layout.name(&name)).unwrap_or_else(|| panic!("names/{name} is missing"));
            assert_eq!(file, bytes, "names/{name} holds other bytes");
            names.insert(name, alias.digest);
        }
    }
    for (seen, _) in world.tree() {
        let path = seen.to_str().unwrap();
        if let Some(name) = path.strip_prefix("/store/names/").filter(|_| world.read(path).is_some()) {
            assert!(names.contains_key(&Name::new(name).unwrap()), "names/{name} is there without an alias");
        }
    }
}

pub fn digest(bytes: &[u8]) -> Digest {
    Digests::of(bytes).digest
}

/// Nothing is left in staging.
pub fn staging_is_empty(world: &World) {
    let left: Vec<_> =
        world.tree().into_keys().filter(|path| path.parent() == Some(Path::new("/store/staging"))).collect();
    assert!(left.is_empty(), "left in staging: {left:?}");
}

/// Serialises what threads say.
pub type Shared<T> = Arc<Mutex<T>>;
