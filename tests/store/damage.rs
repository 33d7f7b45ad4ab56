//! Every bit of the files that larder reads: flipped, and each file cut at every length. Then opening, checking,
//! verifying and collecting must find it or not mind it: never a wrong answer, never a panic, never a removed blob that
//! has a name; and a repair leaves a store that a check finds nothing wrong with.
//!
//! Some of the bits by default; `LARDER_LONG=1` takes every one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::kit::{self, digest, world};
use larder::format::settings::Durability;
use larder::machine::Machine;
use larder::machine::simulated::{Simulated, Snapshot, World};
use larder::store::{OpenOptions, Store};
use larder::work::collect::CollectOptions;
use larder::work::ingest::{AddOptions, AliasKind, Source};
use larder::work::names::Target;
use larder::work::verify::VerifyOptions;
use larder::{Digest, ErrorKind, Name, Prefix, Result, Silent};

const A: &[u8] = b"the bytes of the first file";
const B: &[u8] = b"other bytes, of the second file";
const C: &[u8] = b"what the third file holds";
const NAMES: [(&str, &[u8]); 4] = [("src/a", A), ("src/b", B), ("later", A), ("counted", C)];

fn open(world: &World, name: &str) -> Result<Store> {
    let machine: Arc<dyn Machine> = Arc::<Simulated>::clone(&world.process(name));
    let options = OpenOptions { jobs: 1, lock_timeout: Duration::from_secs(3600), ..OpenOptions::default() };
    Store::open(machine, Path::new(kit::STORE), &options)
}

/// A base, segments behind it, an index with a run, and a tail that is in none.
fn begun() -> Snapshot {
    let world = world(1, Durability::Batch, &[("/src/a", A), ("/src/b", B), ("/more/c", C)]);
    let store = open(&world, "before").unwrap();
    let add = |path: &str, options: &AddOptions| {
        let source = Source { path: PathBuf::from(path) };
        assert_eq!(store.add(&[source], options, &Silent).unwrap().failed, 0);
    };
    add("/src", &AddOptions::default());
    store.compact(&Silent).unwrap();
    let counted = Some(AliasKind::Counted);
    add("/more/c", &AddOptions { alias: counted, name: Some(Name::new("counted").unwrap()), ..AddOptions::default() });
    let a = Target::Digest(digest(A));
    assert!(store.link(&a, &Name::new("later").unwrap(), false, None).unwrap());
    store.pin(&a, "mine").unwrap();
    drop(store);
    world.settle();
    world.snapshot()
}

/// The files that are damaged: everything that larder reads but blobs, whose damage is `verify`'s.
fn files(world: &World) -> BTreeMap<PathBuf, Vec<u8>> {
    let of_interest = |path: &PathBuf| {
        let within = |directory: &str| path.parent() == Some(Path::new(directory));
        within("/store/journal") || within("/store/index") || path.ends_with("larder.toml") || path.ends_with("lock")
    };
    let paths = world.tree().into_keys().filter(of_interest);
    paths.filter_map(|path| world.read(&path).map(|bytes| (path, bytes))).collect()
}

/// What every name means is right, or unknown; how many are known. Reading never fails for an index that is damaged.
fn right(store: &Store, what: &str) -> usize {
    let mut known = 0;
    let listed = store.list(&Prefix::Everything, &mut |alias| {
        let right = NAMES.iter().find(|(name, _)| alias.name.to_string() == *name).map(|(_, bytes)| digest(bytes));
        assert_eq!(Some(alias.digest), right, "{what}: {}", alias.name);
        known += 1;
        Ok(())
    });
    listed.unwrap_or_else(|e| panic!("{what}: {e}"));
    known
}

fn blobs_are_there(world: &World, what: &str) {
    for bytes in [A, B, C] {
        let path = larder::format::layout::Layout::new(kit::STORE).blob(&digest(bytes));
        assert_eq!(world.read(&path).as_deref(), Some(bytes), "{what}: a blob was removed");
    }
}

/// How a damaged store was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    /// It makes no difference.
    Nothing,
    /// A check tells of it.
    Finding,
    /// It cannot be opened, and that is said.
    Refused,
}

fn look(world: &World, path: &Path, what: &str) -> Found {
    kit::never_lies(world);
    let store = match open(world, "reader") {
        Ok(store) => store,
        // Only of the settings nothing else can tell what they were; and a journal of a later program is left alone.
        Err(e) => {
            let settings = path.ends_with("larder.toml");
            let kinds = [ErrorKind::Damaged, ErrorKind::Unsupported, ErrorKind::NotFound, ErrorKind::Invalid];
            assert!(settings && kinds.contains(&e.kind()), "{what}: {e}");
            return Found::Refused;
        }
    };
    right(&store, what);
    let checked = store.check(&Silent).unwrap_or_else(|e| panic!("{what}: {e}"));
    let verified = store.verify(&[], &[], &VerifyOptions::default(), &Silent).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(verified.corrupt, 0, "{what}");
    let known = right(&store, what);
    // Whatever happens to the index, the journal has the answers.
    let excused = checked.findings > 0 && !path.starts_with("/store/index");
    assert!(known == NAMES.len() || excused, "{what}: {known} are known");
    drop(store);
    let store = open(world, "collector").unwrap_or_else(|e| panic!("{what}: {e}"));
    let options = CollectOptions { grace: Duration::ZERO, orphan_ttl: Duration::ZERO, yes_most: true };
    match store.collect(None, &options, &Silent) {
        Err(e) if e.kind() == ErrorKind::Refused => assert!(excused, "{what}: {e}"),
        other => _ = other.unwrap_or_else(|e| panic!("{what}: {e}")),
    }
    blobs_are_there(world, what);
    let mended = store.mend(&Silent).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!((mended.failed, mended.after.findings), (0, 0), "{what}: {mended:?}");
    store.collect(None, &options, &Silent).unwrap_or_else(|e| panic!("{what}, mended: {e}"));
    blobs_are_there(world, what);
    let known = right(&store, what);
    assert!(known >= NAMES.len() - 1, "{what}: what is on the disk came back, and the counted name may not have");
    kit::never_lies(world);
    if checked.findings == 0 { Found::Nothing } else { Found::Finding }
}

/// Takes damaged bytes, and where they were damaged.
type Take<'a> = dyn FnMut(usize, Vec<u8>) + 'a;

/// Damages each file in turn and counts how that was found.
fn through(start: &Snapshot, verb: &str, damage: &dyn Fn(&[u8], &mut Take<'_>)) {
    for (path, bytes) in files(&start.world(1)) {
        let mut counts: BTreeMap<Found, u64> = BTreeMap::new();
        damage(&bytes, &mut |at, damaged| {
            let world = start.world(at as u64);
            // Whether nothing is left open by a process that is dead is not the question here.
            world.put(&path, &damaged);
            let what = format!("{} {verb} {at} of {}", path.display(), bytes.len());
            *counts.entry(look(&world, &path, &what)).or_default() += 1;
        });
        println!("{} ({} bytes), {verb}: {counts:?}", path.display(), bytes.len());
    }
}

/// Of so many things, some, and a different one in each file; or all.
fn stride(count: usize) -> impl Iterator<Item = usize> {
    let step = if kit::long() { 1 } else { (count / 40).max(1) | 1 };
    (count % step..count).step_by(step)
}

#[test]
fn a_flipped_bit_anywhere_is_found_or_harmless() {
    through(&begun(), "with a flip at bit", &|bytes, damaged| {
        for bit in stride(bytes.len() * 8) {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            damaged(bit, flipped);
        }
    });
}

#[test]
fn a_cut_anywhere_is_found_or_harmless() {
    through(&begun(), "cut at", &|bytes, damaged| {
        for at in stride(bytes.len()) {
            damaged(at, bytes[..at].to_vec());
        }
    });
}

/// A length that lies must not make a reader allocate what it says. The largest lengths are put in every field of four
/// or eight bytes.
#[test]
fn hostile_lengths_are_found_or_harmless() {
    through(&begun(), "with a hostile number at", &|bytes, damaged| {
        for at in stride(bytes.len() / 4).map(|at| at * 4) {
            let mut hostile = bytes.to_vec();
            let end = (at + 8).min(hostile.len());
            hostile[at..end].fill(0xff);
            damaged(at, hostile);
        }
    });
}

/// Everything in one directory is garbage at once.
#[test]
fn whole_files_of_garbage_are_found() {
    let start = begun();
    for directory in ["/store/journal", "/store/index"] {
        let world = start.world(3);
        for (path, bytes) in files(&world) {
            if path.starts_with(directory) {
                world.put(
                    &path,
                    &Digest::EMPTY.as_bytes().iter().copied().cycle().take(bytes.len()).collect::<Vec<_>>(),
                );
            }
        }
        assert_ne!(look(&world, Path::new(directory), directory), Found::Nothing);
    }
}
