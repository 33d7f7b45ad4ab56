//! Finalising (R19 to R28): a finished temporary file becomes a blob, a name and an entry at once, or nothing does and it
//! is still there.

use std::path::Path;
use std::sync::Arc;

use crate::kit::{self, Opened, digest, report, world};
use larder::format::options::{Options, PathLayout};
use larder::format::settings::Durability;
use larder::ledger::{Entries, Tables};
use larder::machine::Machine;
use larder::machine::simulated::{Enumeration, Images, Log, Simulated, World};
use larder::vocabulary::events::AddStatus;
use larder::work::catalog::find;
use larder::work::catalog::register::IfThere;
use larder::work::finalise::{FinaliseOptions, Finalised, Finished, finalise};
use larder::{ErrorKind, Key, Name, Result, Silent, State, Trust};

const A: &[u8] = b"the bytes of a paper";
const B: &[u8] = b"the bytes of another version of it";
const URL: &str = "https://example.org/files/paper.pdf";

fn begun(durability: Durability) -> World {
    world(7, durability, &[("/tmp/a.part", A), ("/tmp/again.part", A), ("/tmp/b.part", B)])
}

fn key() -> Key {
    Key::download("10.1000/x", URL, "unpaywall").unwrap()
}

fn options() -> FinaliseOptions {
    FinaliseOptions::of(&Options::default())
}

fn take(opened: &Opened, file: &str, what: Finished, options: &FinaliseOptions) -> Result<Finalised> {
    finalise(&opened.ctx(), Path::new(file), what, options, &Silent)
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

#[test]
fn a_finished_file_is_kept_named_and_registered_and_its_temporary_name_goes() {
    let world = begun(Durability::Batch);
    let opened = Opened::open(&world.process("x")).unwrap();
    let mut what =
        Finished { expected: Some(digest(A)), content_type: "application/pdf".into(), ..Finished::new(key()) };
    what.registration.run = "run 1".into();
    let first = take(&opened, "/tmp/a.part", what.clone(), &options()).unwrap();
    assert_eq!((first.digest, first.size_bytes, first.status), (digest(A), A.len() as u64, AddStatus::New));
    assert_eq!(first.path, Path::new("/store/names/10.1000/x/paper.pdf"));
    assert_eq!((first.uri.to_string(), first.left.clone()), (format!("larder:{}", digest(A)), None));
    let entry = first.entry.clone().unwrap();
    assert!(first.entry_new && first.is_good());
    assert_eq!(
        (entry.card.state, entry.card.trust, entry.card.run.as_str()),
        (State::Active, Trust::Verified, "run 1")
    );
    let variant = entry.main().unwrap();
    assert_eq!(
        (variant.digest, variant.size_bytes, &variant.alias),
        (Some(digest(A)), Some(A.len() as u64), &first.name)
    );
    assert_eq!(
        (variant.content_type.as_str(), variant.uri.as_str()),
        ("application/pdf", first.uri.to_string().as_str())
    );
    assert!(world.read("/tmp/a.part").is_none());
    assert_eq!(find::by_digest(&opened.ctx(), &digest(A)).unwrap().len(), 1);

    // The same download once more is the same entry, and keeps no bytes twice.
    let second = take(&opened, "/tmp/again.part", what, &options()).unwrap();
    assert!(second.status.is_dedup() && !second.entry_new && world.read("/tmp/again.part").is_none());
    assert_eq!((second.path, second.entry.unwrap().card.registered_ns), (first.path, entry.card.registered_ns));
    kit::agrees(&world, &opened);
}

#[test]
fn other_bytes_of_the_same_key_take_its_name_or_are_refused() {
    let world = begun(Durability::Batch);
    let opened = Opened::open(&world.process("x")).unwrap();
    take(&opened, "/tmp/a.part", Finished::new(key()), &options()).unwrap();
    for if_there in [IfThere::Keep, IfThere::Refuse] {
        let strict = FinaliseOptions { if_there, ..options() };
        let error = take(&opened, "/tmp/b.part", Finished::new(key()), &strict).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Taken, "{error}");
        assert_eq!(world.read("/tmp/b.part").unwrap(), B, "what is not kept is still there");
    }
    let done = take(&opened, "/tmp/b.part", Finished::new(key()), &options()).unwrap();
    assert_eq!((done.name, done.entry_new), (Some(name("10.1000/x/paper.pdf")), false));
    assert_eq!(world.read("/store/names/10.1000/x/paper.pdf").unwrap(), B);
    assert!(opened.ledger.snapshot().unwrap().unrooted(&digest(A)).unwrap().is_some(), "nothing keeps the old bytes");
    kit::agrees(&world, &opened);
}

#[test]
fn a_name_that_other_bytes_have_is_left_to_them() {
    let world = begun(Durability::Batch);
    let opened = Opened::open(&world.process("x")).unwrap();
    take(&opened, "/tmp/a.part", Finished::new(key()), &options()).unwrap();
    // Another resolver found other bytes under the same base name.
    let other = Key::download("10.1000/x", URL, "arxiv").unwrap();
    let done = take(&opened, "/tmp/b.part", Finished::new(other), &options()).unwrap();
    let marked = format!("10.1000/x/paper-{}.pdf", &digest(B).to_hex()[..12]);
    assert_eq!(done.name, Some(name(&marked)));
    assert_eq!(world.read("/store/names/10.1000/x/paper.pdf").unwrap(), A);
    // One that is asked for by name is not given another one.
    let named = FinaliseOptions { name: Some(name(&marked)), ..options() };
    let third = Key::download("y", URL, "").unwrap();
    assert_eq!(take(&opened, "/tmp/again.part", Finished::new(third), &named).unwrap_err().kind(), ErrorKind::Taken);
    assert!(world.read("/tmp/again.part").is_some());
    kit::agrees(&world, &opened);
}

#[test]
fn other_bytes_than_expected_fail_their_entry_and_are_kept_without_a_path() {
    let world = begun(Durability::Batch);
    let opened = Opened::open(&world.process("x")).unwrap();
    let what = || Finished { expected: Some(digest(B)), ..Finished::new(key()) };
    let done = take(&opened, "/tmp/a.part", what(), &options()).unwrap();
    let entry = done.entry.as_ref().unwrap();
    assert_eq!((entry.card.state, done.name.clone(), done.is_good()), (State::Failed, None, false));
    assert_eq!(entry.card.evidence.as_ref().unwrap().expected, Some(digest(B)));
    assert_eq!(world.read(&done.path).unwrap(), A, "they can be looked at");
    assert!(world.read("/store/names/10.1000/x/paper.pdf").is_none());
    // Where nothing is registered, nothing is kept.
    let alone = FinaliseOptions { register: false, ..options() };
    assert_eq!(take(&opened, "/tmp/again.part", what(), &alone).unwrap_err().kind(), ErrorKind::Mismatch);
    assert!(world.read("/tmp/again.part").is_some());
    // The right ones heal the entry.
    let good = take(&opened, "/tmp/b.part", what(), &options()).unwrap();
    assert_eq!((good.entry.unwrap().card.state, good.name.is_some()), (State::Active, true));
    kit::agrees(&world, &opened);
}

#[test]
fn layout_and_catalog_can_each_be_left_out() {
    let world = begun(Durability::Batch);
    let opened = Opened::open(&world.process("x")).unwrap();
    let cas = FinaliseOptions { layout: PathLayout::Cas, verify: true, leave: true, ..options() };
    let done = take(&opened, "/tmp/a.part", Finished::new(key()), &cas).unwrap();
    assert_eq!((done.name.clone(), &done.path), (None, &opened.ledger.layout.blob(&digest(A))));
    assert!(done.verified.unwrap().is_good() && done.left.is_none());
    assert_eq!(world.read("/tmp/a.part").unwrap(), A, "it was to be left");
    // Without the catalog it is kept by a name; without a path for people, by a counted one.
    let alone = FinaliseOptions { register: false, layout: PathLayout::Cas, ..options() };
    let done = take(&opened, "/tmp/b.part", Finished::new(key()), &alone).unwrap();
    assert_eq!((done.entry, &done.path), (None, &opened.ledger.layout.blob(&digest(B))));
    let alias = opened.ledger.snapshot().unwrap().alias(&done.name.unwrap()).unwrap().unwrap();
    assert!(!alias.hardlinked && world.files("/store/names").is_empty());
    kit::agrees(&world, &opened);
    kit::nothing_is_left_over(&world, &opened);
}

#[test]
fn names_of_models_and_variants_follow_from_their_keys() {
    let world = begun(Durability::Batch);
    let opened = Opened::open(&world.process("x")).unwrap();
    let model = || Key::model("hf", "org/repo", "v1").unwrap();
    let what = Finished { called: "https://hf.example/org/repo/model.gguf?token=x".into(), ..Finished::new(model()) };
    let done = take(&opened, "/tmp/a.part", what, &options()).unwrap();
    assert_eq!(done.name, Some(name("hf/org/repo/v1/model.gguf")));
    let shard = Finished { variant: "shard-2.gguf".into(), ..Finished::new(model()) };
    let done = take(&opened, "/tmp/b.part", shard, &options()).unwrap();
    assert_eq!(done.name, Some(name("hf/org/repo/v1/shard-2.gguf")));
    assert_eq!(done.entry.unwrap().variants.len(), 2);
    let climbing =
        Finished { called: "../../../etc/passwd".into(), ..Finished::new(Key::model("hf", "..", "").unwrap()) };
    let done = take(&opened, "/tmp/again.part", climbing, &options()).unwrap();
    assert!(world.read(&done.path).is_some() && done.path.starts_with("/store/"), "{:?}", done.path);
}

#[test]
fn what_is_no_finished_file_is_refused() {
    let world = begun(Durability::Batch);
    let opened = Opened::open(&world.process("x")).unwrap();
    world.process("x").symlink(Path::new("/tmp/a.part"), Path::new("/tmp/link")).unwrap();
    let kind = |file: &str| take(&opened, file, Finished::new(key()), &options()).unwrap_err().kind();
    assert_eq!(
        (kind("/tmp"), kind("/tmp/link"), kind("/tmp/none")),
        (ErrorKind::Invalid, ErrorKind::Invalid, ErrorKind::NotFound)
    );
    let mut bad = Finished::new(key());
    bad.registration.run = "a\nb".into();
    assert_eq!(take(&opened, "/tmp/a.part", bad, &options()).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(world.read("/tmp/a.part").unwrap(), A);
    kit::agrees(&world, &opened);
    kit::nothing_is_left_over(&world, &opened);
}

/// At every crash the temporary file is there, or everything of it is: blob, name and entry.
#[test]
fn finalising_survives_a_crash_at_every_call() {
    for durability in [Durability::Batch, Durability::Each] {
        let start = begun(durability);
        let workload = |process: &Arc<Simulated>| {
            let opened = Opened::open(process).unwrap();
            take(&opened, "/tmp/a.part", Finished::new(key()), &options()).unwrap();
            process.note("first");
            take(&opened, "/tmp/b.part", Finished::new(key()), &options()).unwrap();
            process.note("second");
        };
        let check = |_: u64, world: &World, log: &Log| {
            let opened = kit::recovers_to(world, &kit::Account::of(log));
            let snapshot = opened.ledger.snapshot().unwrap();
            let entry = Entries::entry(snapshot.as_ref(), &key()).unwrap();
            let has = entry.as_ref().and_then(|entry| entry.digest());
            let alias = snapshot.alias(&name("10.1000/x/paper.pdf")).unwrap().map(|alias| alias.digest);
            assert_eq!(has, alias, "the entry without its name, or the name without its entry");
            for (file, bytes) in [("/tmp/a.part", A), ("/tmp/b.part", B)] {
                let there = world.read(file);
                assert!(there.as_deref().is_none_or(|there| there == bytes), "{file} is damaged");
                let follows = bytes == A && has == Some(digest(B));
                assert!(there.is_some() || has == Some(digest(bytes)) || follows, "{file} is gone, and not kept");
            }
            let noted = |what: &str| log.notes().any(|note| note == what);
            assert!(!noted("first") || has.is_some());
            assert!(!noted("second") || has == Some(digest(B)));
            // The same call goes on from whatever there is.
            for file in ["/tmp/a.part", "/tmp/b.part"] {
                if world.read(file).is_some() {
                    take(&opened, file, Finished::new(key()), &options()).unwrap();
                }
            }
            kit::nothing_is_left_over(world, &opened);
        };
        let images = if kit::long() { Images::Exhaustive } else { Images::Basic };
        report("finalise", Enumeration::new(3, &start).images(images).samples(1).power_cuts(workload, check));
        report("finalise, killed", Enumeration::new(3, &start).kills(workload, check));
    }
}
