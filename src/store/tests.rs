//! Opening a store, writable or not.

use super::*;
use crate::machine::simulated::World;
use crate::vocabulary::Silent;
use crate::vocabulary::{Counts, Instrument, Level, Occurrence, Recorder};
use crate::work::catalog::register::NewVariant;
use crate::work::fixture::{Fixture, lay_out, n, settings};

const AT: &str = "/store";

fn options() -> OpenOptions {
    OpenOptions { jobs: 1, ..OpenOptions::default() }
}

fn open(world: &World) -> Result<Store> {
    Store::open(world.process("front"), Path::new(AT), &options())
}

/// A world with a store that keeps one blob.
fn filled() -> (World, Digest) {
    let world = World::new(1);
    let digest = Fixture::new(world.process("fill"), Path::new(AT)).add("a", b"bytes", true);
    (world, digest)
}

fn kind<T>(result: Result<T>) -> ErrorKind {
    result.map(drop).unwrap_err().kind()
}

/// Reads work, writes are refused with this kind, and nothing on the disk is changed.
fn reads_only(world: &World, options: &OpenOptions, expected: ErrorKind) {
    let before = world.fingerprint();
    let store = Store::open(world.process("front"), Path::new(AT), options).unwrap();
    let digest = store.show(&Target::Name(n("a"))).unwrap().digest;
    assert!(store.contains(&Target::Digest(digest)).unwrap());
    assert_eq!(store.stats().unwrap().blobs, 1);
    assert_eq!(store.why(&digest, Duration::ZERO).unwrap().names, [n("a")]);
    let mut listed = 0;
    store
        .list(&Prefix::Everything, &mut |_| {
            listed += 1;
            Ok(())
        })
        .unwrap();
    store.frames(&mut |_| Ok(())).unwrap();
    assert_eq!((listed, store.runs().unwrap().len()), (1, 0));
    assert!(store.read_only_reason().is_some());
    assert_eq!(kind(store.link(&Target::Digest(digest), &n("b"), false, None)), expected);
    assert_eq!(kind(store.rename(&n("a"), &n("b"), false)), expected);
    assert_eq!(kind(store.pin(&Target::Digest(digest), "")), expected);
    assert_eq!(kind(store.rebuild(&Silent)), expected);
    assert_eq!(kind(store.compact(&Silent)), expected);
    let plan = store.plan_remove(&[Prefix::Everything]).unwrap();
    assert_eq!(kind(store.remove(&plan, &Silent)), expected);
    assert_eq!(world.fingerprint(), before);
}

#[test]
fn an_open_store_does_its_verbs() {
    let (world, digest) = filled();
    let store = open(&world).unwrap();
    assert_eq!((store.directory(), store.read_only_reason()), (Path::new(AT), None));
    let StoreSettings { store_id, format, durability, alias, blob_mode } = store.settings().clone();
    assert_eq!((store_id, format, durability), (settings().store_id, FORMAT, Durability::Batch));
    assert_eq!((alias, blob_mode), (AliasKind::Hardlinked, 0o444));
    assert!(store.link(&Target::Name(n("a")), &n("A"), false, None).unwrap());
    assert_eq!(store.same_but_for_case(&n("a")).unwrap(), [n("A")]);
    let (blob, name) = (store.blob_path(&digest), Path::new(AT).join("names/a"));
    assert_eq!(store.final_path(&digest, &n("a")).unwrap(), name);
    assert_eq!(store.final_path(&digest, &n("b")).unwrap(), blob);
    assert!(blob.starts_with("/store/sha256") && store.find_orphans().unwrap().is_empty());
    let plan = store.plan_remove(&[Prefix::Everything]).unwrap();
    assert_eq!(store.remove(&plan, &Silent).unwrap().names, 2);
    assert!(!store.contains(&Target::Name(n("a"))).unwrap());
}

#[test]
fn where_there_is_no_store_there_is_none() {
    let world = World::new(1);
    assert_eq!(kind(open(&world)), ErrorKind::NotFound);
    world.put_dir(AT);
    assert_eq!(kind(open(&world)), ErrorKind::NotFound);
}

#[test]
fn a_store_that_cannot_be_written_to_can_be_read() {
    let read_only = OpenOptions { read_only: true, ..options() };
    reads_only(&filled().0, &read_only, ErrorKind::ReadOnly);
    let world = filled().0;
    world.configure(|options| options.read_only = true);
    reads_only(&world, &options(), ErrorKind::ReadOnly);
    let world = filled().0;
    world.configure(|options| options.denied = vec!["/store/lock".into()]);
    reads_only(&world, &options(), ErrorKind::Permission);
    let world = filled().0;
    world.configure(|options| {
        options.denied = ["lock", "staging", "compaction"].map(|p| Path::new(AT).join(p)).to_vec()
    });
    reads_only(&world, &options(), ErrorKind::Permission);
    let world = filled().0;
    world.configure(|options| (options.local, options.kind) = (false, "nfs".into()));
    reads_only(&world, &options(), ErrorKind::Unsupported);
    let world = filled().0;
    world.process("x").unlink(Path::new("/store/lock")).unwrap();
    reads_only(&world, &options(), ErrorKind::Damaged);
}

#[test]
fn features_and_formats_of_later_programs_are_respected() {
    let with = |change: &dyn Fn(&mut Settings)| {
        let (world, mut settings) = (filled().0, settings());
        change(&mut settings);
        world.put("/store/larder.toml", settings.to_toml().as_bytes());
        world
    };
    reads_only(&with(&|s| s.features.read_only_compatible.push("later".into())), &options(), ErrorKind::Unsupported);
    let ignored = with(&|s| s.features.compatible.push("later".into()));
    assert_eq!(open(&ignored).unwrap().read_only_reason(), None);
    let error = open(&with(&|s| s.features.incompatible.push("later".into()))).map(drop).unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("later"), "{error}");
    assert_eq!(kind(open(&with(&|s| s.format = 2))), ErrorKind::Unsupported);
}

#[test]
fn strange_settings_are_an_error() {
    let with = |bytes: &[u8]| {
        let world = World::new(1);
        let machine: Arc<dyn Machine> = world.process("x");
        lay_out(&machine, Path::new(AT), &settings());
        world.put("/store/larder.toml", bytes);
        kind(open(&world))
    };
    assert_eq!(with(b"format = 2\nbrand_new = true"), ErrorKind::Unsupported, "its format is what matters");
    assert_eq!(with(b""), ErrorKind::Damaged);
    assert_eq!(with(b"\xff"), ErrorKind::Damaged);
    assert_eq!(with(&vec![b'#'; SETTINGS_BYTES as usize + 1]), ErrorKind::Damaged);
    assert_eq!(with("[".repeat(SETTINGS_BYTES as usize).as_bytes()), ErrorKind::Damaged, "however deep");
}

#[test]
fn a_store_opens_on_a_real_disk() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    let machine: Arc<dyn Machine> = Arc::new(crate::machine::Real::new());
    Fixture::new(Arc::clone(&machine), &root).add("a", b"bytes", true);
    let store = Store::open(machine, &root, &options()).unwrap();
    store.rename(&n("a"), &n("b"), false).unwrap();
    assert_eq!(store.stats().unwrap().names, 1);
    assert!(root.join("names/b").is_file() && !root.join("names/a").exists());
}

#[test]
fn a_store_is_opened_with_the_options_of_its_file_and_those_over_them() {
    let choose = |all: &[(OptionKey, &str)]| {
        let mut chosen = Chosen::default();
        all.iter().for_each(|(key, text)| chosen.set(*key, text).unwrap());
        chosen
    };
    let world = filled().0;
    let file = Settings { options: choose(&[(OptionKey::LimitsMaxBytes, "5")]), ..settings() };
    world.put("/store/larder.toml", file.to_toml().as_bytes());
    let with = |all: &[(OptionKey, &str)]| {
        let over = OpenOptions { options: choose(all), ..options() };
        Store::open(world.process("x"), Path::new(AT), &over)
    };
    assert_eq!(with(&[]).unwrap().options().limits.max_bytes, 5);
    let over = with(&[(OptionKey::LimitsMaxBytes, "6"), (OptionKey::StorageHardlinkDedup, "false")]).unwrap();
    assert_eq!((over.options().limits.max_bytes, over.reading().hardlinked), (6, false));
    // What is fixed may be said again, and not be otherwise; what is not built in has its name told.
    assert!(with(&[(OptionKey::CatalogBackend, "embedded")]).is_ok());
    assert_eq!(kind(with(&[(OptionKey::CatalogPath, "other.db")])), ErrorKind::Refused);
    let error = with(&[(OptionKey::StorageBackend, "s3")]).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("storage.backend = s3"), "{error}");

    let store = with(&[]).unwrap();
    assert!(store.configure(OptionKey::LimitsMaxBytes, Some("7")).unwrap());
    assert_eq!(store.options().limits.max_bytes, 5, "it holds from the next opening on");
    assert_eq!(with(&[]).unwrap().options().limits.max_bytes, 7);
    let refused = |key, value| store.configure(key, value).unwrap_err().kind();
    assert_eq!(refused(OptionKey::CatalogBackend, Some("sqlite")), ErrorKind::Refused);
    assert_eq!(refused(OptionKey::StorageRootDir, Some("/x")), ErrorKind::Refused);
    assert_eq!(refused(OptionKey::LimitsMaxBytes, Some("many")), ErrorKind::Invalid);
}

#[test]
fn a_store_is_made_with_the_fixed_options_it_is_opened_with() {
    let world = World::new(1);
    let mut over = Chosen::default();
    over.set(OptionKey::CatalogPath, "db/catalog").unwrap();
    over.set(OptionKey::LimitsMaxBytes, "1").unwrap();
    let with = OpenOptions { options: over, ..options() };
    let (store, made) = Store::create(world.process("x"), Path::new("/new"), &NewStore::default(), &with).unwrap();
    assert!(made && store.options().limits.max_bytes == 1);
    drop(store);
    let again = Store::open(world.process("x"), Path::new("/new"), &options()).unwrap();
    assert_eq!((again.options().catalog.path.as_str(), again.options().limits.max_bytes), ("db/catalog", 0));
}

/// R86, R87, R91, R92: whoever starts work with a model asks for its file, and fetches it where there is none.
#[test]
fn a_reference_leads_to_the_file_of_a_model() {
    use crate::work::catalog::register::NewVariant;
    let (world, digest) = filled();
    let store = open(&world).unwrap();
    let meant = |text: &str| crate::vocabulary::ModelRef::parse(text).unwrap();
    assert_eq!(store.find_local_model(&meant("hf:org/repo")).unwrap(), None);
    let variant =
        |name: &str, target: Option<Target>| NewVariant { name: name.into(), target, ..NewVariant::default() };
    let with = |version: &str, variants| Registration {
        variants,
        ..Registration::new(Key::model("hf", "org/repo", version).unwrap())
    };
    let several = vec![variant("q4.gguf", Some(Target::Digest(digest))), variant("q8.gguf", None)];
    let one = vec![NewVariant { uri: "file:///elsewhere".into(), ..variant("", None) }];
    store.register(vec![with("v1", several), with("v2", one)], IfThere::Refuse).unwrap();
    let found = |text: &str| store.find_local_model(&meant(text)).unwrap();
    assert_eq!(found("hf:org/repo/q4.gguf@v1"), Some(store.path(&Target::Digest(digest)).unwrap()));
    // Not there: one of which nothing is known, one that the repository does not have, and a file that is gone.
    for text in
        ["hf:org/repo/q8.gguf@v1", "hf:org/repo/q2.gguf@v1", "hf:org/repo@v1", "hf:org/repo@v2", "hf:org/repo@v3"]
    {
        assert_eq!(found(text), None, "{text}");
    }
    world.put("/elsewhere", b"bytes");
    assert_eq!(found("hf:org/repo@v2"), Some("/elsewhere".into()));
    // Without a version there are two.
    assert_eq!(kind(store.find_local_model(&meant("hf:org/repo"))), ErrorKind::Invalid);
    assert!(store.entry_of_model(&meant("hf:org/repo@v1")).unwrap().is_some());
    store.trash_entry(&Key::model("hf", "org/repo", "v2").unwrap(), "test").unwrap();
    assert_eq!(found("hf:org/repo@v2"), None);
}

#[derive(Default)]
struct Told {
    counts: std::sync::Mutex<Counts>,
    events: std::sync::Mutex<Vec<Occurrence>>,
}

impl Recorder for Told {
    fn count(&self, instrument: Instrument, label: &str, by: u64) {
        self.counts.lock().unwrap().add(instrument, label, by);
    }

    fn gauge(&self, instrument: Instrument, label: &str, value: u64) {
        self.counts.lock().unwrap().set(instrument, label, value);
    }

    fn event(&self, occurrence: &Occurrence) {
        self.events.lock().unwrap().push(occurrence.clone());
    }
}

#[test]
fn what_a_store_does_is_counted_and_its_recorder_is_told() {
    let (world, digest) = filled();
    let told = Arc::new(Told::default());
    let store = open(&world).unwrap().recording_to(Arc::clone(&told) as Arc<dyn Recorder>);
    let key = |id: &str| Key::download(id, "https://u:hunter2@e.org/x?token=hunter2", "r").unwrap();
    let registration = |id: &str| {
        let mut what = Registration::new(key(id));
        what.variants.push(NewVariant { target: Some(Target::Digest(digest)), ..NewVariant::default() });
        what
    };
    store.register(vec![registration("a"), registration("b")], IfThere::Refuse).unwrap();
    store.verify_entry(&key("a"), None, None, "test", &Silent).unwrap();
    store.tag(&key("b"), ["t".to_owned()].into(), BTreeSet::new()).unwrap();
    store.evict_entry(&key("b"), false, &Silent).unwrap();
    store.verify(&[], &[], &VerifyOptions::default(), &Silent).unwrap();
    assert_eq!(store.set_state(&key("none"), State::Retired).unwrap_err().kind(), ErrorKind::NotFound);
    store.measure().unwrap();

    let counts = store.counts();
    assert_eq!(*told.counts.lock().unwrap(), counts, "the recorder knows what the store knows");
    let operations = |label: &str| counts.get(Instrument::Operations, label);
    assert_eq!(
        (operations("register"), operations("verify"), operations("update"), operations("remove")),
        (2, 2, 1, 1)
    );
    assert_eq!(counts.get(Instrument::Evictions, ""), 1);
    assert_eq!(
        counts.of(Instrument::Models).collect::<Vec<_>>(),
        [("active", 1), ("failed", 0), ("pending", 0), ("retired", 0)]
    );
    assert_eq!((counts.get(Instrument::Verifications, "hashed"), counts.get(Instrument::VerifyFailures, "")), (1, 0));
    assert!(counts.get(Instrument::Verifications, "ok") > 0);
    let events = told.events.lock().unwrap();
    let levels: Vec<_> = events.iter().map(|event| (event.operation, event.level)).collect();
    assert!(levels.contains(&("tag", Level::Info)) && levels.contains(&("set-state", Level::Warn)), "{levels:?}");
    assert!(events.iter().all(|event| !format!("{event:?}").contains("hunter2")));
}
