//! What the simulated tests share: a store in a simulated world, and a slow, obvious account of what must be there.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::print_stdout)]

mod plant;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use larder::format::layout::Layout;
use larder::format::settings::{Durability, Settings};
use larder::hashing::{Digests, Workers};
use larder::ledger::{Engine, Ledger, Policy, Tables};
use larder::machine::Machine;
use larder::machine::simulated::{
    Action, CallKind, Coverage, CrashState, Fault, Images, Log, Outcome, Schedule, Simulated, Snapshot, Task, World,
    errno,
};
use larder::parts::blobs;
use larder::work::Context;
use larder::work::collect::{CollectOptions, CollectReport, collect};
use larder::work::ingest::{AddOptions, AddReport, Source, add};
use larder::work::init::{NewStoreSpec, create};
use larder::work::mend::{MendReport, mend};
use larder::work::names::{plan_remove, remove, rename};
use larder::{Digest, Event, Name, Observer, Prefix, Result, Silent, Stamp};

pub use plant::plant;

pub const STORE: &str = "/store";

/// A process's opened store, with one job: deterministic.
pub struct Opened {
    pub ledger: Arc<Ledger>,
    pub workers: Workers,
    pub hardlinked: bool,
    pub process: Arc<Simulated>,
    /// Calls have failed: a name that could not be applied is a finding on record, and nothing is said of its file.
    pub troubled: bool,
}

impl Opened {
    pub fn open(process: &Arc<Simulated>) -> Result<Self> {
        plant();
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
            engine: Engine::Embedded,
        };
        Ok(Opened {
            ledger: Arc::new(Ledger::open(machine, layout, policy)?),
            workers: Workers::new(1)?,
            hardlinked: settings.hardlinked,
            process: Arc::clone(process),
            troubled: false,
        })
    }

    pub fn ctx(&self) -> Context<'_> {
        Context { ledger: &self.ledger, workers: &self.workers, hardlinked: self.hardlinked }
    }

    pub fn add(&self, paths: &[&str], options: &AddOptions) -> Result<AddReport> {
        let sources: Vec<Source> = paths.iter().map(|path| Source { path: PathBuf::from(path) }).collect();
        add(&self.ctx(), &sources, options, &Noting(&self.process))
    }

    /// Gives one file a name, in place of whatever the name means.
    pub fn put(&self, path: &str, name: &str, bytes: &[u8]) -> Result<AddReport> {
        self.may(name, Some(bytes));
        let options = AddOptions { name: Some(Name::new(name)?), replace: true, ..AddOptions::default() };
        self.add(&[path], &options)
    }

    /// Says that `name` may come to mean these bytes, or nothing, from now on.
    pub fn may(&self, name: &str, bytes: Option<&[u8]>) {
        let what = bytes.map_or("-".to_owned(), |bytes| digest(bytes).to_string());
        self.process.note(&format!("may {name} {what}"));
    }

    /// Takes names away.
    pub fn remove(&self, names: &[&str]) -> Result<()> {
        names.iter().for_each(|name| self.may(name, None));
        let prefixes: Vec<Prefix> = names.iter().map(|name| Prefix::Below(Name::new(*name).unwrap())).collect();
        let plan = plan_remove(&self.ctx(), &prefixes)?;
        remove(&self.ctx(), &plan, &Noting(&self.process))?;
        names.iter().for_each(|name| self.process.note(&format!("removed {name}")));
        Ok(())
    }

    /// Gives a name's meaning to another one.
    pub fn rename(&self, from: &str, to: &str, bytes: &[u8]) -> Result<()> {
        self.may(from, None);
        self.may(to, Some(bytes));
        rename(&self.ctx(), &Name::new(from)?, &Name::new(to)?, true)?;
        self.process.note(&format!("removed {from}"));
        self.process.note(&format!("added {to} {}", digest(bytes)));
        Ok(())
    }

    pub fn collect(&self, grace: Duration) -> Result<CollectReport> {
        self.collect_with(grace, Duration::from_secs(7 * 86400))
    }

    pub fn collect_with(&self, grace: Duration, orphan_ttl: Duration) -> Result<CollectReport> {
        let options = CollectOptions { grace, orphan_ttl, yes_most: true };
        collect(&self.ctx(), None, &options, &Noting(&self.process))
    }

    /// Every row of the index, in order.
    pub fn rows(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        rows(self.ledger.snapshot().unwrap().as_ref())
    }
}

/// Every row of a snapshot, in order.
pub fn rows(snapshot: &impl Tables) -> Vec<(Vec<u8>, Vec<u8>)> {
    snapshot.view().prefix(&[]).map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
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
    plant();
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

/// What each name that was ever spoken of may mean, as far as the log tells: a slow, obvious account.
///
/// `added` and `removed` are acknowledgements: from then on the name means just that. `may` is an intention: until the
/// next acknowledgement the name may mean what it did or what is intended.
#[derive(Clone, Debug, Default)]
pub struct Account {
    names: BTreeMap<String, BTreeSet<Option<String>>>,
    /// Whether calls have failed.
    pub troubled: bool,
}

impl Account {
    pub fn of(log: &Log) -> Self {
        let mut account = Account::default();
        account.go_on(log);
        account
    }

    /// So much was acknowledged before.
    pub fn knowing(known: &[(&str, &[u8])]) -> Self {
        let meaning = |bytes: &[u8]| BTreeSet::from([Some(digest(bytes).to_string())]);
        let names = known.iter().map(|(name, bytes)| ((*name).to_owned(), meaning(bytes))).collect();
        Account { names, troubled: false }
    }

    /// Takes in what happened in a world made from the one before.
    pub fn go_on(&mut self, log: &Log) {
        for note in log.notes() {
            let words: Vec<&str> = note.split(' ').collect();
            let meaning = |word: &str| (word != "-").then(|| word.to_owned());
            match words[..] {
                ["added", name, digest] => _ = self.names.insert(name.into(), BTreeSet::from([meaning(digest)])),
                ["removed", name] => _ = self.names.insert(name.into(), BTreeSet::from([None])),
                ["may", name, digest] => {
                    let known = self.names.entry(name.into()).or_insert_with(|| BTreeSet::from([None]));
                    known.insert(meaning(digest));
                }
                _ => {}
            }
        }
    }

    pub fn holds(&self, snapshot: &impl Tables) {
        for (name, meanings) in &self.names {
            let alias = snapshot.alias(&Name::new(name.as_str()).unwrap()).unwrap();
            let now = alias.map(|alias| alias.digest.to_string());
            assert!(meanings.contains(&now), "{name} means {now:?}, and may mean only {meanings:?}");
        }
    }

    /// Whether a name was acknowledged and nothing else was asked of it since.
    pub fn is_kept(&self, name: &str) -> bool {
        self.names.get(name).is_some_and(|meanings| !meanings.contains(&None))
    }
}

/// Opens the store as the next process would, lets it finish what is unfinished, and sees that every file under a
/// digest has its bytes, that every alias has its blob and its file, and that what was acknowledged is there.
pub fn recovered(world: &World, log: &Log) -> Opened {
    recovers_to(world, &Account::of(log))
}

pub fn recovers_to(world: &World, account: &Account) -> Opened {
    never_lies(world);
    let process = world.process("recovery");
    let mut opened = Opened::open(&process).expect("the store opens after any crash");
    opened.troubled = account.troubled;
    account.holds(opened.ledger.snapshot().expect("the records can be read").as_ref());
    opened.ledger.hold(|_| Ok(())).expect("the store can be written after any crash");
    let snapshot = opened.ledger.snapshot().expect("the records can be read");
    assert_eq!(snapshot.damage, [], "a crash is no damage");
    assert!(!snapshot.is_fenced().unwrap());
    account.holds(snapshot.as_ref());
    agrees(world, &opened);
    never_lies(world);
    opened
}

/// Promise 2, looked at from outside.
pub fn never_lies(world: &World) {
    for (path, seen) in world.files("/store/sha256") {
        let path = path.to_str().unwrap();
        if let Some(rest) = path.strip_prefix("/store/sha256/").filter(|rest| rest.len() == 65) {
            let bytes = seen.content.to_vec();
            assert_eq!(Digests::of(&bytes).digest.to_hex(), rest.replace('/', ""), "{path} holds other bytes");
        }
    }
}

/// Records, blobs and names agree.
pub fn agrees(world: &World, opened: &Opened) {
    agrees_with(world, opened, opened.troubled);
}

/// Records, blobs and names agree; after calls have failed, names may be on record that could not be applied.
pub fn agrees_with(world: &World, opened: &Opened, troubled: bool) {
    let snapshot = opened.ledger.snapshot().unwrap();
    let layout = &opened.ledger.layout;
    let findings: BTreeMap<Name, _> = snapshot.all_name_findings().map(Result::unwrap).collect();
    assert!(findings.is_empty() || troubled, "names could not be applied: {findings:?}");
    let findings: BTreeSet<Name> = findings.into_keys().collect();
    let mut names = BTreeMap::new();
    for row in snapshot.aliases(&Prefix::Everything) {
        let (name, alias) = row.unwrap();
        let blob = snapshot.blob(&alias.digest).unwrap().unwrap_or_else(|| panic!("{name} has no blob"));
        let bytes = world.read(layout.blob(&alias.digest)).unwrap_or_else(|| panic!("{name}: no file"));
        assert_eq!(digest(&bytes), alias.digest, "{name}");
        assert_eq!((blob.stamp.size_bytes, alias.size_bytes), (bytes.len() as u64, bytes.len() as u64));
        assert!(snapshot.names_of(&alias.digest).unwrap().contains(&name), "{name} is not among its blob's names");
        if alias.hardlinked && !findings.contains(&name) {
            let file = world.read(layout.name(&name)).unwrap_or_else(|| panic!("names/{name} is missing"));
            assert_eq!(file, bytes, "names/{name} holds other bytes");
            if !bytes.is_empty() {
                let inode = |path: PathBuf| world.look(path).unwrap().inode;
                let carriers = snapshot.carriers(&alias.digest).unwrap();
                let carriers = carriers.iter().map(|(number, _)| inode(layout.carrier(&alias.digest, *number)));
                let mut inodes = carriers.chain([inode(layout.blob(&alias.digest))]);
                assert!(inodes.any(|other| other == inode(layout.name(&name))), "names/{name} is no hardlink");
            }
            names.insert(name, alias.digest);
        }
    }
    for row in snapshot.blobs(&Digest::from_bytes([0; 32])) {
        let (digest, blob) = row.unwrap();
        let now = stamp(world, &layout.blob(&digest)).unwrap_or_else(|| panic!("{digest} is recorded and has no file"));
        assert!(blob.stamp.agrees(&now), "{digest}: recorded as {:?}, and is {now:?}", blob.stamp);
        let (rooted, unrooted) = (snapshot.is_rooted(&digest).unwrap(), snapshot.unrooted(&digest).unwrap().is_some());
        assert_ne!(rooted, unrooted, "{digest}: rooted {rooted}, on the list of the unrooted {unrooted}");
        for name in snapshot.names_of(&digest).unwrap() {
            let alias = snapshot.alias(&name).unwrap().unwrap_or_else(|| panic!("{name} is among names, and unknown"));
            assert_eq!(alias.digest, digest, "{name} is among the names of another blob");
        }
    }
    for row in snapshot.all_carriers() {
        let ((digest, number), row) = row.unwrap();
        let path = layout.carrier(&digest, number);
        let now = stamp(world, &path).unwrap_or_else(|| panic!("carrier {number} of {digest} has no file"));
        assert!(row.stamp.agrees(&now), "carrier {number} of {digest}: recorded as {:?}, and is {now:?}", row.stamp);
        assert_eq!(self::digest(&world.read(&path).unwrap()), digest, "carrier {number} holds other bytes");
        assert!(snapshot.blob(&digest).unwrap().is_some(), "carrier {number} of {digest} has no blob");
    }
    for (path, _) in world.files("/store/names") {
        if let Some(name) = path.to_str().and_then(|path| path.strip_prefix("/store/names/")) {
            let name = Name::new(name).unwrap();
            assert!(names.contains_key(&name) || findings.contains(&name), "names/{name} is there without an alias");
        }
    }
}

fn stamp(world: &World, path: &Path) -> Option<Stamp> {
    let process = world.process("looking");
    process.lstat(path).ok().map(|meta| blobs::stamp(&meta))
}

/// After a collection that waits for nothing: no file that no record knows, no record that nothing roots, and nothing
/// of dead work.
pub fn nothing_is_left_over(world: &World, opened: &Opened) {
    let ttl = Duration::ZERO;
    opened.collect_with(Duration::ZERO, ttl).expect("collecting goes on");
    agrees(world, opened);
    never_lies(world);
    if !opened.troubled {
        staging_is_empty(world);
    }
    unfinished_is_gone(world);
    let snapshot = opened.ledger.snapshot().unwrap();
    for (seen, _) in world.tree() {
        let path = seen.to_str().unwrap();
        if let Some(rest) = path.strip_prefix("/store/sha256/").filter(|rest| rest.len() == 65) {
            let digest = Digest::from_bytes(hex(&rest.replace('/', "")));
            assert!(snapshot.is_rooted(&digest).unwrap(), "{path} has no root and was not collected");
        }
        if path.starts_with("/store/carriers/") && world.read(path).is_some() {
            let recorded = snapshot.all_carriers().map(|row| row.unwrap().0);
            let known =
                recorded.map(|(digest, number)| opened.ledger.layout.carrier(&digest, number)).any(|p| p == seen);
            assert!(known, "{path} is on no record and was not collected");
        }
    }
}

/// No run that `CURRENT` does not name, and no segment or base that never got its name.
pub fn unfinished_is_gone(world: &World) {
    let process = world.process("looking");
    let runs = larder::parts::index::unnamed(process.as_ref(), &Layout::new(STORE).index()).unwrap();
    assert!(runs.is_empty(), "runs that CURRENT does not name are left: {runs:?}");
    let mut left = world.tree().into_keys().filter(|path| path.starts_with("/store/journal"));
    let new = left.find(|path| path.to_string_lossy().ends_with(".new"));
    assert!(new.is_none(), "{new:?} is left");
}

fn hex(text: &str) -> [u8; 32] {
    std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("a digest"))
}

pub fn digest(bytes: &[u8]) -> Digest {
    Digests::of(bytes).digest
}

pub fn name(name: &str) -> Name {
    Name::new(name).unwrap()
}

/// Where the file of a name is.
pub fn at(under: &str) -> PathBuf {
    Layout::new(STORE).names().join(under)
}

/// Where the file of a blob is.
pub fn blob(bytes: &[u8]) -> PathBuf {
    Layout::new(STORE).blob(&digest(bytes))
}

/// The file of a name cannot be brought out of the way, or into its place.
pub fn not_moved() -> Fault {
    Fault::errno(errno::EIO).kind(CallKind::Rename).under("/store/names")
}

/// What was brought out of the way cannot be unlinked.
pub fn not_unlinked() -> Fault {
    Fault::errno(errno::EIO).kind(CallKind::Unlink).under("/store/staging")
}

/// How many files were brought out of the way and stayed.
pub fn asides(world: &World) -> usize {
    world.tree().into_keys().filter(|path| path.to_string_lossy().contains("/aside-")).count()
}

/// What a repair made of a world.
pub fn repaired(world: &World) -> (Opened, MendReport) {
    let opened = Opened::open(&world.process("repair")).unwrap();
    let report = mend(&opened.ctx(), &Silent).unwrap();
    (opened, report)
}

/// Nothing is left in staging.
pub fn staging_is_empty(world: &World) {
    let left: Vec<_> =
        world.tree().into_keys().filter(|path| path.parent() == Some(Path::new("/store/staging"))).collect();
    assert!(left.is_empty(), "left in staging: {left:?}");
}

/// Whether the long campaigns are wanted: `LARDER_LONG=1`.
pub fn long() -> bool {
    std::env::var_os("LARDER_LONG").is_some_and(|value| value != "0")
}

/// So many in continuous integration, many times that in a long campaign.
pub fn many(count: u64) -> u64 {
    if long() { count * 40 } else { count }
}

pub fn report(what: &str, coverage: Coverage) {
    println!("{what}: {} calls, {} images, {} distinct", coverage.calls, coverage.images, coverage.distinct);
}

/// Does `attempt` for so many seeds, or for the one in `LARDER_SEED`; a failure says which it was.
pub fn for_seeds(what: &str, count: u64, attempt: impl Fn(u64)) {
    let one = std::env::var("LARDER_SEED").ok().map(|seed| seed.parse().expect("LARDER_SEED is a number"));
    let seeds = one.map_or(0..many(count), |seed| seed..seed + 1);
    for seed in seeds {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| attempt(seed))) {
            let text = payload.downcast_ref::<String>().cloned();
            let text = text.or(payload.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
            panic!("{what}: {text}\nto see it again: LARDER_SEED={seed}");
        }
    }
    println!("{what}: {} seeds", if one.is_some() { 1 } else { many(count) });
}

/// Numbers by chance, the same for the same seed.
#[derive(Clone)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bd1_e995)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end.max(1)
    }
}

/// What several processes do to one store at the same time, and what may happen to them.
pub struct Contest<'a, T> {
    pub start: &'a Snapshot,
    /// What was acknowledged before.
    pub known: &'a [(&'a str, &'a [u8])],
    pub seed: u64,
    /// About how many calls they make in all.
    pub steps: u64,
    pub tasks: &'a dyn Fn() -> Vec<Task<'a, T>>,
}

impl<T: Send + std::fmt::Debug> Contest<'_, Result<T>> {
    /// Runs it in an order by chance. By the seed, too: nothing else happens (`calm`), or a process is killed, or the
    /// power is cut, or a call fails, at some step. Gives each world that this may leave to `check`, with the log.
    pub fn run(&self, check: impl Fn(&World, &Account)) {
        let mut chance = Chance::new(self.seed);
        let world = self.start.world(self.seed);
        let tasks = (self.tasks)();
        let mut schedule = Schedule::seeded(self.seed);
        let step = chance.below(self.steps);
        let (mut calm, mut troubled) = (false, false);
        match chance.below(5) {
            0 => schedule = schedule.with(step, Action::Kill(chance.below(tasks.len() as u64) as usize)),
            1 => schedule = schedule.with(step, Action::PowerCut),
            2 => {
                troubled = true;
                let errno = [errno::EIO, errno::ENOSPC][chance.below(2) as usize];
                let fault = Fault::errno(errno).nth(1 + chance.below(4));
                let fault = if chance.below(2) == 0 { fault.syncs() } else { fault };
                schedule = schedule.with(step, Action::Fault(fault));
            }
            _ => calm = true,
        }
        let report = schedule.run(&world, tasks);
        world.clear_faults();
        if calm {
            for outcome in &report.outcomes {
                assert!(matches!(outcome, Outcome::Finished(Ok(_))), "{outcome:?}; before it:\n{}", world.log());
            }
        }
        assert!(!report.stuck, "they wait for each other for ever:\n{}", world.log());
        let log = world.log();
        let mut account = Account::knowing(self.known);
        account.go_on(&log);
        account.troubled = troubled;
        let context = |what: &str, check: &dyn Fn()| {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(check)) {
                let text = payload.downcast_ref::<String>().cloned();
                let text = text.or(payload.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
                panic!("{text}\n{what}; before it:\n{log}");
            }
        };
        let crash = report.crash.clone();
        let balance = crash.clone().unwrap_or_else(|| world.balance());
        each_image(&balance, self.seed, 4, |label, image| {
            context(&format!("after a power cut, {label}"), &|| check(image, &account));
        });
        if crash.is_none() && !is_aborted(&world) {
            context("without a power cut", &|| check(&world, &account));
        }
    }
}

/// The basic images of a crash and some by chance, each once.
pub fn each_image(crash: &CrashState, seed: u64, samples: usize, mut check: impl FnMut(&str, &World)) -> u64 {
    let mut seen = BTreeSet::new();
    for image in crash.images(Images::Basic).chain(crash.sample(seed, samples)) {
        if seen.insert(image.fingerprint()) {
            check(&image.label, &image.world(!seed));
        }
    }
    seen.len() as u64
}

/// Whether the filesystem takes no more writes, since a sync of its metadata failed.
pub fn is_aborted(world: &World) -> bool {
    world.process("looking").filesystem(Path::new("/")).expect("it can be asked").read_only
}

/// How a workload ended that must not panic.
pub fn finished<T>(outcome: Outcome<T>) -> T {
    outcome.finished().expect("nobody killed it")
}
