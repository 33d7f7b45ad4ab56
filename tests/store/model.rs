//! Random histories of all verbs, held against a plain map (R159, R162).
//!
//! The store runs on the simulated machine with one job, so a failing history is replayed by the seed that proptest
//! prints and keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use larder::hashing::Digests;
use larder::machine::Machine;
use larder::machine::simulated::{Simulated, World};
use larder::store::{NewStore, OpenOptions, Store};
use larder::work::collect::CollectOptions;
use larder::work::ingest::{AddOptions, AliasKind, Source};
use larder::work::materialize::{MaterializeOptions, Mode};
use larder::work::names::Target;
use larder::work::verify::VerifyOptions;
use larder::{Digest, ErrorKind, Name, Prefix, Silent};
use proptest::prelude::*;

const NAMES: [&str; 6] = ["a", "b", "dir/c", "dir/d", "dir/deep/e", "F"];
const CONTENTS: [&[u8]; 4] = [b"", b"one", b"two and more", &[7; 3000]];

/// One step of a history; indices are into [`NAMES`] and [`CONTENTS`].
#[derive(Clone, Debug)]
enum Step {
    Add { name: usize, content: usize, replace: bool, counted: bool },
    Link { from: usize, to: usize, replace: bool },
    LinkDigest { content: usize, to: usize },
    Rename { from: usize, to: usize, replace: bool },
    Unlink(usize),
    Remove(&'static str),
    Pin(usize),
    Unpin(usize),
    Collect,
    Compact,
    Rebuild,
    DropIndex,
    Reopen,
    Corrupt(usize),
}

fn steps() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    let content = 0..CONTENTS.len();
    prop_oneof![
        6 => (name.clone(), content.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(name, content, replace, counted)| Step::Add { name, content, replace, counted }),
        2 => (name.clone(), name.clone(), any::<bool>()).prop_map(|(from, to, replace)| Step::Link { from, to, replace }),
        1 => (content.clone(), name.clone()).prop_map(|(content, to)| Step::LinkDigest { content, to }),
        2 => (name.clone(), name.clone(), any::<bool>())
            .prop_map(|(from, to, replace)| Step::Rename { from, to, replace }),
        1 => name.clone().prop_map(Step::Unlink),
        2 => prop_oneof![Just("a"), Just("dir"), Just("dir/deep"), Just(".")].prop_map(Step::Remove),
        1 => content.clone().prop_map(Step::Pin),
        1 => content.clone().prop_map(Step::Unpin),
        2 => Just(Step::Collect),
        1 => Just(Step::Compact),
        1 => Just(Step::Rebuild),
        1 => Just(Step::DropIndex),
        1 => Just(Step::Reopen),
        1 => content.prop_map(Step::Corrupt),
    ]
}

/// What must be there: the obvious way.
#[derive(Default)]
struct Model {
    names: BTreeMap<&'static str, usize>,
    pins: BTreeSet<usize>,
    blobs: BTreeSet<usize>,
    corrupt: BTreeSet<usize>,
}

impl Model {
    fn is_rooted(&self, content: usize) -> bool {
        self.pins.contains(&content) || self.names.values().any(|other| *other == content)
    }

    /// Whether a name may be given these bytes: `None` if it has them already.
    fn may_name(&self, name: usize, content: usize, replace: bool) -> Option<bool> {
        match self.names.get(NAMES[name]) {
            Some(old) if *old == content => None,
            Some(_) => Some(replace),
            None => Some(true),
        }
    }
}

struct Bench {
    world: World,
    process: Arc<Simulated>,
    store: Store,
    model: Model,
}

impl Bench {
    fn new() -> Self {
        let world = World::new(1);
        let process = world.process("model");
        let (store, made) =
            Store::create(machine(&process), Path::new("/store"), &NewStore::default(), &options()).unwrap();
        assert!(made);
        world.put_dir("/src");
        for (i, content) in CONTENTS.iter().enumerate() {
            world.put(format!("/src/{i}"), content);
        }
        Bench { world, process, store, model: Model::default() }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Add { name, content, replace, counted } => self.add(name, content, replace, counted),
            Step::Link { from, to, replace } => {
                let content = self.model.names.get(NAMES[from]).copied();
                self.link(Target::Name(self::name(from)), content, to, replace);
            }
            Step::LinkDigest { content, to } => {
                let known = self.model.blobs.contains(&content).then_some(content);
                self.link(Target::Digest(digest(content)), known, to, false);
            }
            Step::Rename { from, to, replace } => self.rename(from, to, replace),
            Step::Unlink(name) => self.unlink(name),
            Step::Remove(prefix) => self.remove(prefix),
            Step::Pin(content) => self.pin(content),
            Step::Unpin(content) => self.unpin(content),
            Step::Collect => self.collect(),
            Step::Compact => drop(self.store.compact(&Silent).expect("compaction works at any time")),
            Step::Rebuild => drop(self.store.rebuild(&Silent).expect("a rebuild works at any time")),
            Step::DropIndex => self.drop_index(),
            Step::Reopen => self.store = Store::open(machine(&self.process), Path::new("/store"), &options()).unwrap(),
            Step::Corrupt(content) => self.corrupt(content),
        }
    }

    fn add(&mut self, name: usize, content: usize, replace: bool, counted: bool) {
        let alias = Some(if counted { AliasKind::Counted } else { AliasKind::Hardlinked });
        let options = AddOptions { name: Some(self::name(name)), replace, alias, ..AddOptions::default() };
        let source = Source { path: format!("/src/{content}").into() };
        let report = self.store.add(&[source], &options, &Silent).expect("adding works");
        match self.model.may_name(name, content, replace) {
            Some(false) => assert_eq!(report.failed, 1, "a taken name is refused"),
            may => {
                assert_eq!(report.failed, 0);
                assert_eq!(may.is_none() && report.healed_files == 0, report.unchanged_files == 1);
                self.model.names.insert(NAMES[name], content);
            }
        }
        self.model.blobs.insert(content);
    }

    fn link(&mut self, target: Target, content: Option<usize>, to: usize, replace: bool) {
        let linked = self.store.link(&target, &name(to), replace, None);
        let Some(content) = content else {
            assert_eq!(linked.unwrap_err().kind(), ErrorKind::NotFound);
            return;
        };
        if self.model.corrupt.contains(&content) {
            // Whether a stamp gives it away or not, names of a bad blob stay as they are.
            if linked.is_ok() {
                self.model.names.insert(NAMES[to], content);
            }
            return;
        }
        match self.model.may_name(to, content, replace) {
            None => assert!(!linked.unwrap()),
            Some(true) => {
                assert!(linked.unwrap());
                self.model.names.insert(NAMES[to], content);
            }
            Some(false) => assert_eq!(linked.unwrap_err().kind(), ErrorKind::Taken),
        }
    }

    fn rename(&mut self, from: usize, to: usize, replace: bool) {
        let moved = self.store.rename(&name(from), &name(to), replace);
        let Some(content) = self.model.names.get(NAMES[from]).copied() else {
            assert_eq!(moved.unwrap_err().kind(), ErrorKind::NotFound);
            return;
        };
        if from == to {
            moved.unwrap();
        } else if self.model.may_name(to, content, replace) == Some(false) {
            assert!(moved.is_err());
        } else if moved.is_ok() || !self.model.corrupt.contains(&content) {
            moved.unwrap();
            self.model.names.remove(NAMES[from]);
            self.model.names.insert(NAMES[to], content);
        }
    }

    fn unlink(&mut self, name: usize) {
        let gone = self.store.unlink(&self::name(name));
        let Some(content) = self.model.names.get(NAMES[name]).copied() else {
            assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
            return;
        };
        let others = self.model.names.values().filter(|other| **other == content).count() > 1;
        if others || self.model.pins.contains(&content) {
            gone.unwrap();
            self.model.names.remove(NAMES[name]);
        } else {
            assert_eq!(gone.unwrap_err().kind(), ErrorKind::Refused, "the last name stays");
        }
    }

    fn remove(&mut self, prefix: &str) {
        let set = Prefix::new(prefix.as_bytes()).unwrap();
        let doomed: Vec<&str> =
            self.model.names.keys().copied().filter(|name| set.contains(&Name::new(*name).unwrap())).collect();
        match self.store.plan_remove(&[set]) {
            Err(e) => assert!(doomed.is_empty() && e.kind() == ErrorKind::NotFound, "{e}"),
            Ok(plan) => {
                assert_eq!(plan.names.len(), doomed.len());
                assert_eq!(self.store.remove(&plan, &Silent).unwrap().names, doomed.len() as u64);
                doomed.iter().for_each(|name| _ = self.model.names.remove(name));
            }
        }
    }

    fn pin(&mut self, content: usize) {
        let pinned = self.store.pin(&Target::Digest(digest(content)), "by the model");
        if self.model.blobs.contains(&content) {
            if pinned.is_ok() || !self.model.corrupt.contains(&content) {
                pinned.unwrap();
                self.model.pins.insert(content);
            }
        } else {
            assert_eq!(pinned.unwrap_err().kind(), ErrorKind::NotFound);
        }
    }

    fn unpin(&mut self, content: usize) {
        let unpinned = self.store.unpin(&Target::Digest(digest(content)));
        assert_eq!(unpinned.is_ok(), self.model.pins.remove(&content));
    }

    fn collect(&mut self) {
        let options = CollectOptions { grace: Duration::ZERO, orphan_ttl: Duration::ZERO, yes_most: true };
        let going: Vec<usize> = self.model.blobs.iter().copied().filter(|c| !self.model.is_rooted(*c)).collect();
        let planned = self.store.plan_collect(&options).unwrap();
        assert_eq!(planned.doomed.len(), going.len(), "the preview is what runs");
        let report = self.store.collect(None, &options, &Silent).unwrap();
        assert_eq!(report.removed_blobs, going.len() as u64);
        for content in going {
            self.model.blobs.remove(&content);
            self.model.corrupt.remove(&content);
        }
    }

    fn drop_index(&mut self) {
        for path in self.world.tree().into_keys().filter(|path| path.starts_with("/store/index/")) {
            if path != Path::new("/store/index") {
                self.process.unlink(&path).unwrap();
            }
        }
    }

    /// Flips a byte behind the store's back, which leaves size, inode and times as they were.
    fn corrupt(&mut self, content: usize) {
        if self.model.blobs.contains(&content)
            && !CONTENTS[content].is_empty()
            && !self.model.corrupt.contains(&content)
        {
            self.world.corrupt(self.store.blob_path(&digest(content)), 0);
            let found = self.store.verify(&[], &[], &VerifyOptions { quarantine: true }, &Silent).unwrap();
            assert_eq!(found.corrupt, 1, "one flipped byte is found");
            self.model.corrupt.insert(content);
            self.heal(content);
        }
    }

    /// Adding the good bytes again puts every name right.
    fn heal(&mut self, content: usize) {
        let free = NAMES.iter().position(|name| self.model.names.get(name).is_none_or(|c| *c == content));
        let Some(name) = free else { return };
        let options = AddOptions { name: Some(self::name(name)), ..AddOptions::default() };
        let source = Source { path: format!("/src/{content}").into() };
        let report = self.store.add(&[source], &options, &Silent).unwrap();
        assert_eq!(report.healed_files, 1);
        self.model.corrupt.remove(&content);
        self.model.names.insert(NAMES[name], content);
    }

    /// Everything that can be asked is answered as the map says.
    fn agrees(&self) {
        let mut listed = BTreeMap::new();
        let mut each = |alias: larder::work::find::AliasInfo| {
            let content = CONTENTS.iter().position(|content| Digests::of(content).digest == alias.digest).unwrap();
            if !self.model.corrupt.contains(&content) {
                let file = self.world.read(format!("/store/names/{}", alias.name));
                let wanted = (alias.kind == AliasKind::Hardlinked).then(|| CONTENTS[content].to_vec());
                assert_eq!(file, wanted, "names/{} agrees with the records", alias.name);
            }
            listed.insert(alias.name.to_string(), alias.digest);
            Ok(())
        };
        self.store.list(&Prefix::Everything, &mut each).unwrap();
        let expected: BTreeMap<String, Digest> =
            self.model.names.iter().map(|(name, content)| ((*name).to_owned(), digest(*content))).collect();
        assert_eq!(listed, expected);
        for (name, content) in &self.model.names {
            if !self.model.corrupt.contains(content) {
                let mut bytes = Vec::new();
                self.store.cat(&Target::Name(Name::new(*name).unwrap()), &mut bytes).unwrap();
                assert_eq!(bytes, CONTENTS[*content]);
            }
        }
        let stats = self.store.stats().unwrap();
        assert_eq!(stats.blobs, self.model.blobs.len() as u64);
        assert_eq!(stats.names, self.model.names.len() as u64);
        assert_eq!(stats.pins, self.model.pins.len() as u64);
        assert_eq!(stats.findings, 0);
        let unrooted = self.model.blobs.iter().filter(|content| !self.model.is_rooted(**content)).count();
        assert_eq!(stats.unrooted_blobs, unrooted as u64);
        let verified = self.store.verify(&[], &[], &VerifyOptions::default(), &Silent).unwrap();
        assert_eq!(verified.ok, (self.model.blobs.len() - self.model.corrupt.len()) as u64);
    }
}

fn machine(process: &Arc<Simulated>) -> Arc<dyn Machine> {
    Arc::<Simulated>::clone(process)
}

fn options() -> OpenOptions {
    OpenOptions { jobs: 1, lock_timeout: Duration::from_secs(30), ..OpenOptions::default() }
}

fn name(index: usize) -> Name {
    Name::new(NAMES[index]).unwrap()
}

fn digest(content: usize) -> Digest {
    Digests::of(CONTENTS[content]).digest
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_a_map_from_names_to_bytes(history in proptest::collection::vec(steps(), 1..40)) {
        let mut bench = Bench::new();
        for step in &history {
            bench.step(step);
            bench.agrees();
        }
        // A checkout is the map as files.
        bench.world.put_dir("/out");
        let made = bench.store.checkout(
            &Prefix::Everything,
            Path::new("/out/tree"),
            &MaterializeOptions { mode: Some(Mode::Copy), replace: false },
            &Silent,
        );
        if bench.model.corrupt.is_empty() && !bench.model.names.is_empty() {
            prop_assert_eq!(made.unwrap().failed, 0);
            for (name, content) in &bench.model.names {
                prop_assert_eq!(bench.world.read(format!("/out/tree/{name}")).unwrap(), CONTENTS[*content]);
            }
        }
    }
}
