//! Promise 7: no name makes larder touch a path outside the store directory, and no file becomes readable to more people.
//!
//! Every counted call of the work on hostile stores and sources is looked at: what it changes is below the store, or is
//! a source that the user named.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::kit::{self, Opened, digest, world};
use larder::format::settings::Durability;
use larder::ledger::Tables;
use larder::machine::real::Real;
use larder::machine::simulated::{Call, Simulated, World};
use larder::machine::{Machine, Open};
use larder::store::{NewStore, OpenOptions, Store};
use larder::work::ingest::{AddOptions, Source, TakeIn};
use larder::work::names::Target;
use larder::{ErrorKind, Name, Prefix, Silent};

const A: &[u8] = b"the bytes of the first file";
const B: &[u8] = b"other bytes, of the second file";

/// Every change from a call on was below the store or below `allowed`, links resolved.
fn stayed_since(begin: usize, world: &World, allowed: &[&str]) {
    let process = world.process("looking");
    let log = world.log();
    let inside = |path: &Path| {
        let parent = path.parent().unwrap_or(path);
        let real = process.canonical(parent).unwrap_or_else(|_| parent.to_owned());
        real.starts_with("/store")
            || path == Path::new("/store")
            || allowed.iter().any(|allowed| path.starts_with(allowed))
    };
    let changes = |call: &&Call| call.kind.mutates() && call.errno.is_none();
    for call in log.calls()[begin..].iter().filter(changes) {
        let paths = [Some(&call.path), call.other.as_ref()];
        for path in paths.into_iter().flatten() {
            assert!(inside(path), "{call}");
        }
    }
}

fn stayed(world: &World, allowed: &[&str]) {
    stayed_since(0, world, allowed);
}

fn begun() -> World {
    world(1, Durability::Batch, &[("/src/d/x", A), ("/src/e", B), ("/outside/x", b"somebody else's"), ("/other/x", B)])
}

/// A directory under `names/` was replaced by a symbolic link that leads out of the store.
#[test]
fn a_symbolic_link_among_the_names_leads_nowhere() {
    for existing in [false, true] {
        let world = begun();
        let opened = Opened::open(&world.process("user")).unwrap();
        if existing {
            opened.add(&["/src"], &AddOptions::default()).unwrap();
            let process = world.process("vandal");
            process.unlink(Path::new("/store/names/src/d/x")).unwrap();
            process.remove_dir(Path::new("/store/names/src/d")).unwrap();
        } else {
            world.put_dir("/store/names/src");
        }
        world.put_symlink("/outside", "/store/names/src/d");
        let before = world.look("/outside/x");
        let begin = world.log().calls().len();
        opened.add(&["/src"], &AddOptions::default()).unwrap();
        opened.put("/other/x", "src/d/x", B).unwrap();
        opened.put("/other/x", "src/d/new/deep", B).unwrap();
        opened.remove(&["src/d/x"]).unwrap();
        opened.rename("src/e", "src/d/moved", B).unwrap();
        opened.collect(Duration::ZERO).unwrap();
        assert_eq!(world.look("/outside/x"), before, "existing: {existing}");
        let outside = world.tree().into_keys().filter(|path| path.starts_with("/outside")).count();
        assert_eq!(outside, 2, "something was made outside: {:?}", world.tree().keys());
        stayed_since(begin, &world, &[]);
        // Names that cannot be applied are findings, and their bytes are kept.
        let snapshot = opened.ledger.snapshot().unwrap();
        assert!(snapshot.all_name_findings().count() > 0);
        assert!(snapshot.alias(&Name::new("src/d/new/deep").unwrap()).unwrap().is_some());
    }
}

/// What stands where a name belongs and is not larder's stays.
#[test]
fn foreign_files_are_left_alone() {
    let world = begun();
    let opened = Opened::open(&world.process("user")).unwrap();
    world.put("/store/names/src/e", b"put here by hand");
    opened.add(&["/src"], &AddOptions::default()).unwrap();
    assert_eq!(world.read("/store/names/src/e").as_deref(), Some(&b"put here by hand"[..]));
    opened.put("/src/d/x", "src/e", A).unwrap();
    assert_eq!(world.read("/store/names/src/e").as_deref(), Some(&b"put here by hand"[..]));
    opened.remove(&["src/e"]).unwrap();
    opened.collect(Duration::ZERO).unwrap();
    assert_eq!(world.read("/store/names/src/e").as_deref(), Some(&b"put here by hand"[..]));
    stayed(&world, &[]);
    kit::never_lies(&world);
}

#[test]
fn work_of_every_kind_stays_below_the_store() {
    let world = begun();
    let opened = Opened::open(&world.process("user")).unwrap();
    opened.add(&["/src"], &AddOptions::default()).unwrap();
    opened.put("/other/x", "src/d/x", B).unwrap();
    opened.ledger.fold(true).unwrap();
    opened.ledger.compact().unwrap();
    opened.remove(&["src/e"]).unwrap();
    opened.collect(Duration::ZERO).unwrap();
    opened.ledger.rebuild().unwrap();
    stayed(&world, &[]);
    opened.add(&["/other"], &AddOptions { take_in: TakeIn::Move, ..AddOptions::default() }).unwrap();
    stayed(&world, &["/other"]);
}

fn with_mode(process: &Arc<Simulated>, path: &str, mode: u32) {
    process.open(path.as_ref(), Open::Read).unwrap().set_mode(mode).unwrap();
}

/// A blob is readable to nobody who could not read its source, and never writable.
#[test]
fn nothing_becomes_readable_to_more_people() {
    for take_in in [TakeIn::Copy, TakeIn::Link, TakeIn::Move] {
        for mode in [0o600, 0o640, 0o644, 0o444, 0o400, 0o666, 0o4755, 0o755] {
            let world = begun();
            let process = world.process("user");
            with_mode(&process, "/src/e", mode);
            let opened = Opened::open(&process).unwrap();
            let done = opened.add(&["/src/e"], &AddOptions { take_in, ..AddOptions::default() }).unwrap();
            assert_eq!(done.failed, 0);
            let blob = world.look(opened.ledger.blobs.path(&digest(B))).unwrap();
            assert_eq!(blob.mode & !mode & 0o044, 0, "{take_in:?} {mode:o}: the blob has mode {:o}", blob.mode);
            assert_eq!(blob.mode & 0o7333, 0, "{take_in:?} {mode:o}: the blob has mode {:o}", blob.mode);
            if let Some(source) = world.look("/src/e") {
                assert_eq!(source.mode & !mode & 0o077, 0, "{take_in:?} {mode:o}: the source has {:o}", source.mode);
            }
        }
    }
}

/// Whatever a name is, the path made of it is below `names/`, or there is no such name.
#[test]
fn names_stay_below_names() {
    let world = begun();
    let opened = Opened::open(&world.process("user")).unwrap();
    for name in ["../x", "a/../../x", "/etc/passwd", "a//b", ".", "..", "a/.", "", "a\0b", "a\nb"] {
        assert!(Name::new(name).is_err(), "{name:?}");
        assert!(opened.put("/src/e", "fine", B).is_ok());
    }
    for name in ["..a", "a..", "...", "-rf", "a b", "~", "CON", "staging", "session", "lock"] {
        opened.put("/src/e", name, B).unwrap();
    }
    stayed(&world, &[]);
    kit::agrees(&world, &opened);
    assert!(opened.ledger.snapshot().unwrap().aliases(&Prefix::Everything).count() > 10);
}

/// Everybody may write to it, and may have put anything there.
#[test]
fn a_store_that_strangers_may_write_to_is_refused_unless_it_is_trusted() {
    let world = begun();
    let machine: Arc<dyn Machine> = world.process("user");
    machine.open(Path::new(kit::STORE), Open::Directory).unwrap().set_mode(0o777).unwrap();
    let open = |trust_directory| {
        let options = OpenOptions { jobs: 1, trust_directory, ..OpenOptions::default() };
        Store::open(Arc::clone(&machine), Path::new(kit::STORE), &options)
    };
    assert_eq!(open(false).map(drop).unwrap_err().kind(), ErrorKind::Untrusted);
    open(true).unwrap();
    machine.open(Path::new(kit::STORE), Open::Directory).unwrap().set_mode(0o755).unwrap();
    open(false).unwrap();
}

/// The real machine, whose calls follow links unless they are told not to.
#[test]
fn on_a_real_disk_no_link_in_the_store_is_followed() {
    kit::plant();
    let place = tempfile::tempdir().unwrap();
    let (directory, outside) = (place.path().join("store"), place.path().join("outside"));
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(place.path().join("source"), A).unwrap();
    let options = OpenOptions { jobs: 1, ..OpenOptions::default() };
    let machine: Arc<dyn Machine> = Arc::new(Real::new());
    let (store, _) = Store::create(machine, &directory, &NewStore::default(), &options).unwrap();
    let adding = AddOptions { name: Some(Name::new("a").unwrap()), ..AddOptions::default() };
    let source = || Source { path: place.path().join("source") };
    store.add(&[source()], &adding, &Silent).unwrap();
    let cat = || store.cat(&Target::Name(Name::new("a").unwrap()), &mut Vec::new());
    cat().unwrap();
    let blobs = directory.join("sha256");
    std::fs::rename(&blobs, outside.join("theirs")).unwrap();
    std::os::unix::fs::symlink(outside.join("theirs"), &blobs).unwrap();
    assert!(cat().is_err(), "larder followed a link out of the store to read");
    std::fs::write(place.path().join("source"), B).unwrap();
    let adding = AddOptions { name: Some(Name::new("b").unwrap()), ..AddOptions::default() };
    assert!(store.add(&[source()], &adding, &Silent).is_err(), "larder followed a link out of the store to write");
}
