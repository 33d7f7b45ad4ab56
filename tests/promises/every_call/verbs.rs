//! Every verb: what is there before, the call itself as a program makes it, and what must be so once it is done.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use larder::format::settings::Durability;
use larder::ledger::Tables;
use larder::machine::simulated::{Simulated, Snapshot, World};
use larder::machine::{Machine, Open};
use larder::store::{NewStore, OpenOptions, Store};
use larder::work::collect::CollectOptions;
use larder::work::copies::CopiesOptions;
use larder::work::ingest::{AddOptions, AddReport, AliasKind, Checkpoints, Source, TakeIn};
use larder::work::lease::Leased;
use larder::work::materialize::{MaterializeOptions, MaterializeReport, Mode};
use larder::work::names::Target;
use larder::work::repair::{RepairOptions, RepairScope};
use larder::work::scrub::{ScrubEnd, ScrubOptions};
use larder::work::status::StatusOptions;
use larder::work::verify::VerifyOptions;
use larder::{DigestPrefix, Error, ErrorKind, Observer, Prefix, Result, Silent};

use super::kit::{self, Noting, Opened, blob, digest, name};

pub(crate) const A: &[u8] = b"the bytes of the first file";
pub(crate) const B: &[u8] = b"other bytes, of the second file";
pub(crate) const C: &[u8] = b"what the third file holds";
const KNOWN: &[(&str, &[u8])] = &[("src/a", A), ("src/again/a", A), ("src/b", B), ("src/empty", b"")];
/// What every error may name, beside paths.
const THINGS: &[&str] = &["src/", "one/", "sha256:", "the store", "a name"];

/// What a verb says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// All of it is done.
    Whole,
    /// Some of it failed, and that was told.
    Partly,
}

impl Came {
    fn whole(is: bool) -> Came {
        if is { Came::Whole } else { Came::Partly }
    }
}

type Work = Box<dyn Fn(&Arc<Simulated>) -> Result<Came> + Send + Sync>;
type Look = Box<dyn Fn(&World, &Opened) + Send + Sync>;

/// One verb in one situation.
pub(crate) struct Verb {
    pub(crate) name: &'static str,
    pub(crate) start: fn() -> Snapshot,
    pub(crate) work: Work,
    /// What is so once it is done.
    pub(crate) done: Look,
    /// What is so at any time.
    pub(crate) always: Box<dyn Fn(&World) + Send + Sync>,
    /// The errors of the same again that say that it is done.
    pub(crate) already: fn(&Error) -> bool,
    pub(crate) known: &'static [(&'static str, &'static [u8])],
    pub(crate) things: &'static [&'static str],
    /// It begins with a store in which something is wrong.
    pub(crate) flawed: bool,
    /// What it makes is synced when it is done: a power cut does not take it back.
    pub(crate) durable: bool,
    /// The store can be opened and written to whatever became of it.
    pub(crate) recovers: bool,
}

impl Verb {
    fn new(name: &'static str, work: impl Fn(&Store, &Arc<Simulated>) -> Result<Came> + Send + Sync + 'static) -> Verb {
        Verb::raw(name, move |process| work(&open(process)?, process))
    }

    fn raw(name: &'static str, work: impl Fn(&Arc<Simulated>) -> Result<Came> + Send + Sync + 'static) -> Verb {
        Verb {
            name,
            start: begun,
            work: Box::new(work),
            done: Box::new(|_, _| ()),
            always: Box::new(|_| ()),
            already: |_| false,
            known: KNOWN,
            things: THINGS,
            flawed: false,
            durable: true,
            recovers: true,
        }
    }

    fn from(mut self, start: fn() -> Snapshot) -> Verb {
        self.start = start;
        self
    }

    fn done(mut self, done: impl Fn(&World, &Opened) + Send + Sync + 'static) -> Verb {
        self.done = Box::new(done);
        self
    }

    fn always(mut self, always: impl Fn(&World) + Send + Sync + 'static) -> Verb {
        self.always = Box::new(always);
        self
    }

    fn already(mut self, already: fn(&Error) -> bool) -> Verb {
        self.already = already;
        self
    }

    fn flawed(mut self) -> Verb {
        self.flawed = true;
        self
    }

    /// A power cut may take back what it did; what it began with is whole then.
    fn volatile(mut self) -> Verb {
        self.durable = false;
        self
    }
}

fn options() -> OpenOptions {
    OpenOptions { jobs: 1, lock_timeout: Duration::from_secs(3600), ..OpenOptions::default() }
}

fn machine(process: &Arc<Simulated>) -> Arc<dyn Machine> {
    Arc::<Simulated>::clone(process)
}

fn open(process: &Arc<Simulated>) -> Result<Store> {
    Store::open(machine(process), Path::new(kit::STORE), &options())
}

fn named(text: &str) -> Target {
    Target::Name(name(text))
}

fn below(text: &str) -> Prefix {
    Prefix::Below(name(text))
}

fn may(process: &Simulated, name: &str, bytes: Option<&[u8]>) {
    let what = bytes.map_or("-".to_owned(), |bytes| digest(bytes).to_string());
    process.note(&format!("may {name} {what}"));
}

fn means(opened: &Opened, known: &str, bytes: Option<&[u8]>) {
    let alias = opened.ledger.snapshot().unwrap().alias(&name(known)).unwrap();
    assert_eq!(alias.map(|alias| alias.digest), bytes.map(digest), "{known}");
}

fn source(path: &str) -> Vec<Source> {
    vec![Source { path: path.into() }]
}

/// A store that knows some names, with further sources beside it, and a directory to take things out to.
fn begun() -> Snapshot {
    prepared(|_, _| ())
}

fn prepared(prepare: impl FnOnce(&World, &Opened)) -> Snapshot {
    let sources: [(&str, &[u8]); 9] = [
        ("/src/a", A),
        ("/src/again/a", A),
        ("/src/b", B),
        ("/src/empty", b""),
        ("/one/a", A),
        ("/one/c", C),
        ("/one/d/e", b"e"),
        ("/out/mine", b"somebody's"),
        ("/out/old", b"in the way"),
    ];
    let world = kit::world(1, Durability::Batch, &sources);
    let opened = Opened::open(&world.process("before")).unwrap();
    opened.add(&["/src"], &AddOptions::default()).unwrap();
    prepare(&world, &opened);
    drop(opened);
    world.advance(Duration::from_secs(1));
    world.settle();
    world.snapshot()
}

const ONE: [(&str, &str, &[u8]); 3] = [("/one/a", "one/a", A), ("/one/c", "one/c", C), ("/one/d/e", "one/d/e", b"e")];

fn added(report: &AddReport) -> Came {
    Came::whole(report.failed == 0 && !report.interrupted)
}

fn add_one(store: &Store, process: &Arc<Simulated>, options: &AddOptions) -> Result<Came> {
    ONE.iter().for_each(|(_, name, bytes)| may(process, name, Some(bytes)));
    store.add(&source("/one"), options, &Noting(process)).map(|report| added(&report))
}

fn one_is_there(opened: &Opened) {
    ONE.iter().for_each(|(_, name, bytes)| means(opened, name, Some(bytes)));
}

/// No source is lost: it is where it was, or in the store.
fn no_source_is_lost(world: &World) {
    for (path, _, bytes) in ONE {
        let kept = world.read(path).as_deref() == Some(bytes) || world.read(blob(bytes)).as_deref() == Some(bytes);
        assert!(kept, "{path} is gone");
    }
}

fn adding() -> Vec<Verb> {
    let adds = |name, options: AddOptions| {
        Verb::new(name, move |store, process| add_one(store, process, &options))
            .done(|_, opened| one_is_there(opened))
            .always(no_source_is_lost)
    };
    let taking = |take_in| AddOptions { take_in, ..AddOptions::default() };
    vec![
        adds("add", AddOptions::default()),
        adds("add --link", taking(TakeIn::Link)),
        adds("add --move", taking(TakeIn::Move)).already(|error| error.kind() == ErrorKind::NotFound),
        adds("add counted", AddOptions { alias: Some(AliasKind::Counted), ..AddOptions::default() }),
        adds("add --verify-existing", AddOptions { verify_existing: true, ..AddOptions::default() }),
        Verb::new("add -", |store, process| {
            may(process, "in", Some(C));
            let report = store.add_stream(&mut &C[..], &name("in"), &AddOptions::default(), &Noting(process));
            report.map(|report| added(&report))
        })
        .done(|_, opened| means(opened, "in", Some(C))),
        Verb::new("add --replace", |store, process| {
            may(process, "src/b", Some(C));
            let options = AddOptions { name: Some(name("src/b")), replace: true, ..AddOptions::default() };
            store.add(&source("/one/c"), &options, &Noting(process)).map(|report| added(&report))
        })
        .done(|_, opened| means(opened, "src/b", Some(C))),
        Verb::new("add of a damaged blob", |store, process| {
            may(process, "one/a", Some(A));
            let options = AddOptions { verify_existing: true, ..AddOptions::default() };
            store.add(&source("/one/a"), &options, &Noting(process)).map(|report| added(&report))
        })
        .from(|| prepared(|world, _| assert!(world.corrupt(blob(A), 5))))
        .flawed()
        .done(|world, _| assert_eq!(world.read(blob(A)).as_deref(), Some(A))),
    ]
}

/// Some parts and a bit.
fn large() -> Vec<u8> {
    (0..2 * larder::vocabulary::limits::PART_BYTES as u64 + 100).map(|i| (i * 7 + (i >> 9)) as u8).collect()
}

fn resumable() -> AddOptions {
    let part = larder::vocabulary::limits::PART_BYTES as u64;
    let checkpoints = Checkpoints { from_bytes: part, every_bytes: part };
    AddOptions { checkpoints, name: Some(name("large")), ..AddOptions::default() }
}

fn add_large(store: &Store, process: &Arc<Simulated>) -> Result<Came> {
    may(process, "large", Some(&large()));
    store.add(&source("/large/file"), &resumable(), &Noting(process)).map(|report| added(&report))
}

fn with_large() -> Snapshot {
    prepared(|world, _| put_large(world))
}

fn put_large(world: &World) {
    world.put_dir("/large");
    world.put("/large/file", &large());
    world.advance(Duration::from_secs(1));
}

/// Stops as soon as a checkpoint can be there.
#[derive(Default)]
struct Stopping(std::sync::atomic::AtomicU64);

impl Observer for Stopping {
    fn progress(&self, files: u64, bytes: u64) {
        if files == 0 {
            self.0.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
        }
    }

    fn cancelled(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed) > larder::vocabulary::limits::PART_BYTES as u64
    }
}

fn interrupted() -> Snapshot {
    prepared(|world, opened| {
        put_large(world);
        let report =
            larder::work::ingest::add(&opened.ctx(), &source("/large/file"), &resumable(), &Stopping::default());
        assert!(report.unwrap().interrupted);
        assert_eq!(larder::work::resumable::waiting(&opened.ctx()).unwrap().waiting.len(), 1);
    })
}

fn large_files() -> Vec<Verb> {
    vec![
        Verb::new("add, large", add_large).from(with_large).done(|_, opened| means(opened, "large", Some(&large()))),
        Verb::new("add, gone on with", add_large)
            .from(interrupted)
            .done(|_, opened| means(opened, "large", Some(&large()))),
        Verb::new("ingest ls", |store, _| Ok(Came::whole(store.ingests()?.unreadable.is_empty()))).from(with_large),
        Verb::new("ingest rm", |store, _| {
            let planned = store.plan_remove_ingests(&[])?;
            let done = store.remove_ingests(&planned.waiting)?;
            Ok(Came::whole(planned.unreadable.is_empty() && done == planned))
        })
        .volatile()
        .from(interrupted)
        .done(|_, opened| assert_eq!(larder::work::resumable::waiting(&opened.ctx()).unwrap(), Default::default())),
    ]
}

/// A destination is as it was or as it is to be, and somebody's own files stay.
fn outside_is_whole(world: &World) {
    assert_eq!(world.read("/out/mine").as_deref(), Some(&b"somebody's"[..]));
    for (path, bytes) in [("/out/a", A), ("/out/src/a", A), ("/out/src/again/a", A), ("/out/src/b", B)] {
        let now = world.read(path);
        assert!(now.is_none() || now.as_deref() == Some(bytes), "{path} is neither there nor not");
    }
    let old = world.read("/out/old");
    assert!([Some(&b"in the way"[..]), Some(B)].contains(&old.as_deref()), "/out/old is neither old nor new: {old:?}");
}

fn made(report: &MaterializeReport) -> Came {
    Came::whole(report.failed == 0 && !report.interrupted)
}

fn taking_out() -> Vec<Verb> {
    let gets = |name, mode| {
        Verb::new(name, move |store: &Store, _: &Arc<Simulated>| {
            let options = MaterializeOptions { mode: Some(mode), replace: false };
            store.get(&named("src/a"), Path::new("/out/a"), &options, &Silent).map(|report| made(&report))
        })
        .volatile()
        .always(outside_is_whole)
        .already(|error| error.kind() == ErrorKind::Taken)
        .done(|world, _| assert_eq!(world.read("/out/a").as_deref(), Some(A)))
    };
    let checks_out = |name, mode| {
        Verb::new(name, move |store: &Store, _: &Arc<Simulated>| {
            let options = MaterializeOptions { mode: Some(mode), replace: false };
            store.checkout(&below("src"), Path::new("/out/src"), &options, &Silent).map(|report| made(&report))
        })
        .volatile()
        .always(outside_is_whole)
        .done(|world, _| {
            let there = world.tree().into_keys().filter(|path| path.starts_with("/out/src")).count();
            assert!(there >= 5, "{there} files and directories were made");
        })
    };
    vec![
        gets("get --mode copy", Mode::Copy),
        gets("get --mode hardlink", Mode::Hardlink),
        Verb::new("get --mode symlink", |store, _| {
            let options = MaterializeOptions { mode: Some(Mode::Symlink), replace: false };
            store.get(&named("src/a"), Path::new("/out/link"), &options, &Silent).map(|report| made(&report))
        })
        .already(|error| error.kind() == ErrorKind::Taken),
        Verb::new("get --replace", |store, _| {
            let options = MaterializeOptions { mode: None, replace: true };
            store.get(&named("src/b"), Path::new("/out/old"), &options, &Silent).map(|report| made(&report))
        })
        .volatile()
        .always(outside_is_whole)
        .done(|world, _| assert_eq!(world.read("/out/old").as_deref(), Some(B))),
        checks_out("checkout --mode copy", Mode::Copy),
        checks_out("checkout --mode hardlink", Mode::Hardlink),
        Verb::new("cat, path, show", |store, _| {
            let mut bytes = Vec::new();
            store.cat(&named("src/b"), &mut bytes)?;
            assert_eq!(bytes, B, "it gives other bytes");
            store.path(&named("src/b"))?;
            store.show(&named("src/b"))?;
            store.locate(&digest(A).to_hex()[..8].parse::<DigestPrefix>()?)?;
            Ok(Came::Whole)
        }),
        Verb::new("unlock", |store, _| store.unlock(Path::new("/out/a"), &Silent).map(|_| Came::Whole))
            .from(|| {
                prepared(|world, opened| {
                    world.process("user").link(&opened.ledger.layout.blob(&digest(A)), Path::new("/out/a")).unwrap();
                })
            })
            .always(|world| assert_eq!(world.read("/out/a").as_deref(), Some(A), "the file is not whole"))
            .already(|error| error.kind() == ErrorKind::NotFound)
            .done(|world, _| {
                let inode = |path: &Path| world.look(path).unwrap().inode;
                assert_ne!(inode(Path::new("/out/a")), inode(&blob(A)), "it is a link still");
                let user = world.process("user");
                user.open(Path::new("/out/a"), Open::ReadWrite).unwrap();
            }),
    ]
}

fn naming() -> Vec<Verb> {
    vec![
        Verb::new("link", |store, process| {
            may(process, "x/y/b", Some(B));
            store.link(&named("src/b"), &name("x/y/b"), false, None).map(|_| Came::Whole)
        })
        .done(|_, opened| means(opened, "x/y/b", Some(B))),
        Verb::new("link --replace", |store, process| {
            may(process, "src/a", Some(B));
            store.link(&named("src/b"), &name("src/a"), true, None).map(|_| Came::Whole)
        })
        .done(|_, opened| means(opened, "src/a", Some(B))),
        Verb::new("mv", |store, process| {
            may(process, "src/b", None);
            may(process, "x/b", Some(B));
            store.rename(&name("src/b"), &name("x/b"), false).map(|()| Came::Whole)
        })
        .already(|error| error.kind() == ErrorKind::NotFound)
        .done(|_, opened| {
            means(opened, "src/b", None);
            means(opened, "x/b", Some(B));
        }),
        Verb::new("mv --replace", |store, process| {
            may(process, "src/a", None);
            may(process, "src/b", Some(A));
            store.rename(&name("src/a"), &name("src/b"), true).map(|()| Came::Whole)
        })
        .already(|error| error.kind() == ErrorKind::NotFound)
        .done(|_, opened| {
            means(opened, "src/a", None);
            means(opened, "src/b", Some(A));
        }),
        Verb::new("unlink", |store, process| {
            may(process, "src/again/a", None);
            store.unlink(&name("src/again/a")).map(|()| Came::Whole)
        })
        .already(|error| error.kind() == ErrorKind::NotFound)
        .done(|_, opened| means(opened, "src/again/a", None)),
        Verb::new("rm", |store, process| {
            KNOWN.iter().for_each(|(name, _)| may(process, name, None));
            let plan = store.plan_remove(&[below("src")])?;
            store.remove(&plan, &Silent).map(|_| Came::Whole)
        })
        .already(|error| error.kind() == ErrorKind::NotFound)
        .done(|_, opened| KNOWN.iter().for_each(|(name, _)| means(opened, name, None))),
        Verb::new("pin", |store, _| store.pin(&named("src/a"), "keep it").map(|_| Came::Whole))
            .done(|_, opened| assert!(opened.ledger.snapshot().unwrap().pin(&digest(A)).unwrap().is_some())),
        Verb::new("unpin", |store, _| store.unpin(&named("src/a")).map(|_| Came::Whole))
            .from(|| {
                prepared(|_, opened| {
                    larder::work::names::pin(&opened.ctx(), &named("src/a"), "").unwrap();
                })
            })
            .already(|error| error.kind() == ErrorKind::NotFound)
            .done(|_, opened| assert!(opened.ledger.snapshot().unwrap().pin(&digest(A)).unwrap().is_none())),
        Verb::new("lease", |store, _| {
            let held = store.lease(&[Leased::Names(below("src")), Leased::Blob(digest(B))])?;
            held.let_children_inherit()?;
            Ok(Came::Whole)
        }),
        Verb::new("ls, stats, why", |store, _| {
            let mut names = 0;
            store.list(&Prefix::Everything, &mut |_| {
                names += 1;
                Ok(())
            })?;
            assert_eq!(names, KNOWN.len(), "it lists other names");
            store.stats()?;
            store.why(&digest(A), Duration::ZERO)?;
            store.find_orphans()?;
            store.reclaimable(&digest(A))?;
            store.frames(&mut |_| Ok(()))?;
            store.runs()?;
            Ok(Came::Whole)
        }),
    ]
}

/// Blobs without a root, an orphan, and what a dead process left in staging.
fn rubbish() -> Snapshot {
    let snapshot = prepared(|world, opened| {
        opened.put("/one/c", "c", C).unwrap();
        opened.remove(&["c"]).unwrap();
        world.put(blob(b"never recorded"), b"never recorded");
        let killed = world.process("killed");
        world.fail(
            larder::machine::simulated::Fault::kill()
                .kind(larder::machine::simulated::CallKind::SyncData)
                .process(killed.number()),
        );
        let workload = || Opened::open(&killed).and_then(|opened| opened.add(&["/one/d"], &AddOptions::default()));
        assert!(larder::machine::simulated::run(&killed, workload).is_killed());
        world.clear_faults();
    });
    // Modes of files that are put are not those of blobs.
    let world = snapshot.world(1);
    let file = world.process("vandal").open(&blob(b"never recorded"), Open::Read).unwrap();
    file.set_mode(0o444).unwrap();
    drop(file);
    world.settle();
    world.snapshot()
}

fn upkeep() -> Vec<Verb> {
    vec![
        Verb::new("gc", |store, _| {
            let options = CollectOptions { grace: Duration::ZERO, orphan_ttl: Duration::ZERO, yes_most: true };
            let plan = store.plan_collect(&options)?;
            let report = store.collect(Some(&plan), &options, &Silent)?;
            // A session that cannot be read may rest on anything: that is told, and waited for.
            Ok(Came::whole(!report.interrupted && report.held.is_empty()))
        })
        .volatile()
        .from(rubbish)
        // What a collection took off the record and could not move away, or a power cut brought back, is an orphan: first
        // seen by the next one, which is the same again, and gone with the one after that.
        .done(|world, opened| {
            let snapshot = opened.ledger.snapshot().unwrap();
            assert!(snapshot.blob(&digest(C)).unwrap().is_none(), "what has no root was not collected");
            let seen = world.look(blob(C)).is_none() || snapshot.orphan(&digest(C)).unwrap().is_some();
            assert!(seen, "what was left behind is on no record, so that its time never comes");
        }),
        Verb::new("compact", |store, _| store.compact(&Silent).map(|_| Came::Whole)),
        Verb::new("rebuild", |store, _| store.rebuild(&Silent).map(|_| Came::Whole)),
        from_disk(),
        Verb::raw("open", |process| open(process).map(|store| Came::whole(store.read_only_reason().is_none()))),
        init(),
        Verb::new("doctor", |store, _| {
            store.examine(&["/out".into()])?;
            Ok(Came::Whole)
        }),
        Verb::new("check", |store, _| store.check(&Silent).map(|report| Came::whole(report.findings == 0))),
    ]
}

fn from_disk() -> Verb {
    let mut verb = Verb::raw("rebuild --from-disk", |process| {
        let done = Store::rebuild_from_disk(machine(process), Path::new(kit::STORE), false, &options(), &Silent)?;
        Ok(Came::whole(done.1.foreign == 0))
    })
    .from(|| {
        prepared(|world, _| {
            let vandal = world.process("vandal");
            for path in world.tree().into_keys() {
                if ["/store/journal", "/store/index"].iter().any(|at| path.parent() == Some(Path::new(at))) {
                    vandal.unlink(&path).unwrap();
                }
            }
        })
    })
    // The journal says something again: it is done.
    .already(|error| error.kind() == ErrorKind::Refused);
    verb.recovers = false;
    verb.done(|_, opened| KNOWN.iter().for_each(|(name, bytes)| means(opened, name, Some(bytes))))
}

fn init() -> Verb {
    let mut verb = Verb::raw("init", |process| {
        Store::create(machine(process), Path::new(kit::STORE), &NewStore::default(), &options())?;
        Ok(Came::Whole)
    })
    .from(|| {
        kit::plant();
        World::new(1).snapshot()
    });
    verb.known = &[];
    verb.recovers = false;
    verb
}

/// Two blobs have three files, one of them is bad, and so is the first file of another blob; a third is missing.
fn damaged() -> Snapshot {
    prepared(|world, opened| {
        let options = CopiesOptions { copies: 3, dry_run: false };
        larder::work::copies::copies(&opened.ctx(), &[named("src/b")], &[], &options, &Silent).unwrap();
        opened.put("/one/c", "c", C).unwrap();
        let (number, _) = opened.ledger.snapshot().unwrap().carriers(&digest(B)).unwrap()[0];
        assert!(world.corrupt(opened.ledger.layout.carrier(&digest(B), number), 4));
        assert!(world.corrupt(blob(A), 5));
        let vandal = world.process("vandal");
        vandal.unlink(&blob(C)).unwrap();
        vandal.unlink(&opened.ledger.layout.name(&name("c"))).unwrap();
    })
}

/// What `check --repair` mends: a missing link, a wrong mode, a stamp that disagrees, an orphan.
fn disordered() -> Snapshot {
    prepared(|world, opened| {
        let layout = &opened.ledger.layout;
        let vandal = world.process("vandal");
        vandal.unlink(&layout.name(&name("src/b"))).unwrap();
        vandal.open(&blob(A), Open::Read).unwrap().set_mode(0o666).unwrap();
        vandal.open(&blob(B), Open::Read).unwrap().set_mtime(1).unwrap();
        world.put(blob(b"never recorded"), b"never recorded");
    })
}

fn three_copies() -> Snapshot {
    prepared(|_, opened| {
        let options = CopiesOptions { copies: 3, dry_run: false };
        larder::work::copies::copies(&opened.ctx(), &[], &[Prefix::Everything], &options, &Silent).unwrap();
    })
}

fn keeps(name: &'static str, copies: u32, start: fn() -> Snapshot) -> Verb {
    Verb::new(name, move |store, _| {
        let options = CopiesOptions { copies, dry_run: false };
        store
            .copies(&[named("src/a"), named("src/b")], &[], &options, &Silent)
            .map(|r| Came::whole(r.failed == 0 && !r.interrupted))
    })
    .from(start)
    .done(move |_, opened| {
        let snapshot = opened.ledger.snapshot().unwrap();
        for bytes in [A, B] {
            assert_eq!(snapshot.carriers(&digest(bytes)).unwrap().len() as u32 + 1, copies, "so many copies");
        }
    })
}

fn mending() -> Vec<Verb> {
    let sound = |world: &World, opened: &Opened| {
        let found = larder::work::verify::verify(&opened.ctx(), &[], &[], &VerifyOptions::default(), &Silent).unwrap();
        assert_eq!((found.corrupt, found.missing, found.unreadable, found.bad_carriers), (0, 0, 0, 0), "{found:?}");
        assert_eq!(world.read(blob(A)).as_deref(), Some(A));
    };
    vec![
        keeps("copies, more", 3, begun),
        keeps("copies, fewer", 1, three_copies),
        Verb::new("verify", |store, _| {
            let options = VerifyOptions { quarantine: false };
            let found = store.verify(&[], &[], &options, &Silent)?;
            assert_eq!((found.corrupt, found.missing), (0, 0), "an error of a call is no damage: {found:?}");
            Ok(Came::whole(found.unreadable == 0 && !found.interrupted))
        }),
        Verb::new("scrub", |store, _| {
            let found = store.scrub(&ScrubOptions::default(), &Silent)?;
            assert_eq!((found.corrupt, found.missing), (0, 0), "an error of a call is no damage: {found:?}");
            Ok(Came::whole(found.unreadable == 0 && found.end == ScrubEnd::Done))
        }),
        Verb::new("status", |store, _| {
            let found = store.status(&StatusOptions::default(), &Silent)?;
            assert_eq!(
                (found.size, found.mtime, found.inode, found.mode),
                (0, 0, 0, 0),
                "nobody changed it: {found:?}"
            );
            Ok(Came::whole(found.changed == 0 && !found.interrupted))
        }),
        Verb::new("repair", |store, _| {
            let report = store.repair(&RepairScope::All, &RepairOptions::default(), &Silent)?;
            Ok(Came::whole(report.unrepaired == 0 && !report.interrupted))
        })
        .from(damaged)
        .flawed()
        .done(sound),
        Verb::new("check --repair", |store, _| {
            let report = store.mend(&Silent)?;
            Ok(Came::whole(report.failed == 0 && report.after.findings == 0 && !report.interrupted))
        })
        .from(disordered)
        .flawed()
        .done(sound),
    ]
}

pub(crate) fn verbs() -> Vec<Verb> {
    let all = [large_files(), mending(), adding(), upkeep(), naming(), taking_out()];
    all.into_iter().flatten().collect()
}
