//! Trees of large blobs on the simulated machine: derived, never believed where they lie, and enough to mend a blob from
//! what is right of several damaged files.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::kit::{self, Opened, digest, never_lies, nothing_is_left_over, recovered, report, world};
use larder::format::layout::Layout;
use larder::format::settings::Durability;
use larder::format::tree;
use larder::hashing::{Hasher, Tree};
use larder::ledger::Tables;
use larder::machine::simulated::{CallKind, Enumeration, Log, Simulated, World};
use larder::machine::{Machine, Open};
use larder::parts::trees::Seen;
use larder::vocabulary::events::{Origin, Repair, RepairStatus, VerifyStatus};
use larder::work::check::check;
use larder::work::ingest::{AddOptions, Checkpoints, TakeIn, add_stream};
use larder::work::names::Target;
use larder::work::ranged;
use larder::work::repair::{RepairOptions, RepairScope, repair};
use larder::work::verify::{VerifyOptions, verify};
use larder::{Damage, Digest, ErrorKind, Event, FindingCode, Name, Observer, Silent};

const MIB: u64 = 1 << 20;
/// Length of the blobs: one group more than the smallest that has a tree, and a bit of another.
const SIZE: u64 = 5 * MIB + 77;

/// A large file that is mostly holes: what matters is that every group is another one.
fn big(seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; SIZE as usize];
    for group in 0..SIZE.div_ceil(MIB) {
        bytes[(group * MIB) as usize..][..16].fill(seed + group as u8);
    }
    bytes
}

/// Puts such a file into a world, sparse.
fn put_sparse(world: &World, path: &str, bytes: &[u8]) {
    world.put_dir(Path::new(path).parent().unwrap());
    let _ = world.process("clear").unlink(path.as_ref());
    let file = world.process("maker").open(path.as_ref(), Open::CreateNew { mode: 0o644 }).unwrap();
    for (number, block) in (0..).zip(bytes.chunks(4096)).filter(|(_, block)| block.iter().any(|byte| *byte != 0)) {
        file.write_at(block, number * 4096).unwrap();
    }
    file.set_len(bytes.len() as u64).unwrap();
    world.settle();
}

fn tree_of(bytes: &[u8]) -> Tree {
    let mut hasher = Hasher::default();
    hasher.update(bytes);
    hasher.finish_with_tree().1.unwrap()
}

fn store_with(seed: u64, durability: Durability, files: &[(&str, &[u8])]) -> World {
    let world = world(seed, durability, &[]);
    files.iter().for_each(|(path, bytes)| put_sparse(&world, path, bytes));
    world
}

fn opened(world: &World) -> Opened {
    Opened::open(&world.process("user")).unwrap()
}

fn blob(digest: &Digest) -> PathBuf {
    Layout::new(kit::STORE).blob(digest)
}

fn tree_path(digest: &Digest) -> PathBuf {
    Layout::new(kit::STORE).tree(digest)
}

/// What is in the place of a tree, by the row of its blob.
fn seen(opened: &Opened, digest: &Digest) -> Seen {
    let row = opened.ledger.snapshot().unwrap().blob(digest).unwrap().expect("it is on record");
    opened.ledger.trees.look(digest, row.stamp.size_bytes, &row.blake3)
}

fn has_its_tree(opened: &Opened, bytes: &[u8]) {
    assert_eq!(seen(opened, &digest(bytes)), Seen::Good(tree_of(bytes)));
}

/// Keeps what is told.
#[derive(Default)]
struct Told(Mutex<Vec<Event>>);

impl Observer for Told {
    fn event(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Told {
    fn repairs(self) -> Vec<Repair> {
        let repair = |event| match event {
            Event::Repaired(told) => Some(*told),
            _ => None,
        };
        self.0.into_inner().unwrap().into_iter().filter_map(repair).collect()
    }
}

fn verified(opened: &Opened) -> Vec<(VerifyStatus, Damage, String)> {
    let told = Told::default();
    verify(&opened.ctx(), &[], &[], &VerifyOptions::default(), &told).unwrap();
    let verified = |event| match event {
        Event::Verified { status, damage, detail, .. } => Some((status, damage, detail)),
        _ => None,
    };
    told.0.into_inner().unwrap().into_iter().filter_map(verified).collect()
}

fn repaired(opened: &Opened, from: &[&str]) -> Vec<Repair> {
    let told = Told::default();
    let options = RepairOptions { from: from.iter().map(PathBuf::from).collect(), dry_run: false };
    repair(&opened.ctx(), &RepairScope::All, &options, &told).unwrap();
    told.repairs()
}

#[test]
fn a_tree_that_was_frozen_is_read_and_written_as_it_was() {
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frozen/tree-1");
    let bytes = big(1);
    let encoded = tree::encode(&digest(&bytes), &tree_of(&bytes));
    if std::env::var_os("LARDER_FREEZE_TREE").is_some() && !frozen.exists() {
        std::fs::write(&frozen, &encoded).unwrap();
    }
    let frozen = std::fs::read(frozen).unwrap();
    assert_eq!(frozen, encoded);
    assert_eq!(tree::decode(&frozen), Ok((digest(&bytes), tree_of(&bytes))));
}

#[test]
fn a_tree_that_is_torn_is_none() {
    kit::plant();
    let bytes = big(1);
    let encoded = tree::encode(&digest(&bytes), &tree_of(&bytes));
    for torn in [0, 51, 52, 100, encoded.len() - 32, encoded.len() - 1] {
        let mut zeros = encoded.clone();
        zeros[torn..].fill(0);
        assert!(tree::decode(&zeros).is_err(), "zeros from {torn} on");
        assert!(tree::decode(&encoded[..torn]).is_err(), "cut at {torn}");
    }
}

#[test]
fn every_way_in_makes_the_tree_in_the_same_pass() {
    let files = [("/src/copied", big(1)), ("/src/linked", big(11)), ("/src/moved", big(21)), ("/src/saved", big(31))];
    let borrowed: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (*path, &bytes[..])).collect();
    let world = store_with(1, Durability::Batch, &borrowed);
    world.configure(|options| options.log_reads = true);
    let opened = opened(&world);
    let [copied, linked, moved, saved] = files.map(|(_, bytes)| bytes);
    let by = |take_in, checkpoints| AddOptions { take_in, checkpoints, ..AddOptions::default() };
    opened.add(&["/src/copied"], &by(TakeIn::Copy, Checkpoints::default())).unwrap();
    opened.add(&["/src/linked"], &by(TakeIn::Link, Checkpoints::default())).unwrap();
    opened.add(&["/src/moved"], &by(TakeIn::Move, Checkpoints::default())).unwrap();
    opened.add(&["/src/saved"], &by(TakeIn::Copy, Checkpoints { from_bytes: MIB, every_bytes: MIB })).unwrap();
    let streamed = big(41);
    let name = Name::new("streamed").unwrap();
    add_stream(&opened.ctx(), &mut &streamed[..], &name, &AddOptions::default(), &Silent).unwrap();
    for bytes in [&copied, &linked, &moved, &saved, &streamed] {
        has_its_tree(&opened, bytes);
    }
    let log = world.log();
    let synced = |path: &Path| path.starts_with("/store/trees");
    assert!(!log.calls().iter().any(|call| call.kind.syncs() && synced(&call.path)), "no sync is made for a tree");
    let is_source = |path: &Path| path == Path::new("/src/copied");
    let read = log.calls().iter().filter(|call| call.kind == CallKind::Read && is_source(&call.path));
    let bytes: u64 = read.map(|call| call.amount).sum();
    assert!(bytes <= SIZE, "{bytes} bytes of the source were read");
    // Adding the same again gives a blob its tree back.
    world.process("vandal").unlink(&tree_path(&digest(&copied))).unwrap();
    opened.add(&["/src/copied"], &AddOptions { replace: true, ..AddOptions::default() }).unwrap();
    has_its_tree(&opened, &copied);
}

#[test]
fn a_tree_has_the_mode_of_its_blob_and_goes_with_it() {
    let (private, public) = (big(1), big(11));
    let world = store_with(2, Durability::Batch, &[("/src/private", &private), ("/src/public", &public)]);
    let owner = world.process("owner");
    owner.open("/src/private".as_ref(), Open::Read).unwrap().set_mode(0o600).unwrap();
    let opened = opened(&world);
    opened.add(&["/src"], &AddOptions::default()).unwrap();
    let mode = |path: PathBuf| world.process("look").lstat(&path).unwrap().mode;
    for (bytes, expected) in [(&private, 0o400), (&public, 0o444)] {
        assert_eq!((mode(blob(&digest(bytes))), mode(tree_path(&digest(bytes)))), (expected, expected));
    }
    opened.remove(&["src/private"]).unwrap();
    // One of a blob that nobody knows is told, and goes too, as does what was never finished.
    world.put_dir("/store/trees/e3");
    let stray = tree_path(&Digest::EMPTY);
    world.put(&stray, b"no tree");
    let unfinished = PathBuf::from(format!("{}.0123456789abcdef", tree_path(&digest(&public)).display()));
    world.put(&unfinished, b"part of a tree");
    world.put("/store/trees/note", b"of somebody else");
    let told = Told::default();
    check(&opened.ctx(), &told).unwrap();
    let found = |event: Event| match event {
        Event::Found(finding) => Some((finding.code, finding.path)),
        _ => None,
    };
    let found: Vec<_> = told.0.into_inner().unwrap().into_iter().filter_map(found).collect();
    assert_eq!(found, [(FindingCode::TreeOrphan, stray.strip_prefix("/store").unwrap().to_owned())]);
    opened.collect(Duration::ZERO).unwrap();
    let left: Vec<PathBuf> = world.files("/store/trees").into_iter().map(|(path, _)| path).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    has_its_tree(&opened, &public);
    assert!(world.read("/store/trees/note").is_some(), "what is nobody's is left alone");
}

#[test]
fn a_missing_or_malformed_tree_is_made_again_by_who_reads_the_blob() {
    let bytes = big(1);
    let world = store_with(3, Durability::Batch, &[("/src/a", &bytes)]);
    let opened = opened(&world);
    opened.add(&["/src/a"], &AddOptions::default()).unwrap();
    let path = tree_path(&digest(&bytes));
    let vandal = world.process("vandal");
    let spoil: [&dyn Fn(); 4] = [
        &|| vandal.unlink(&path).unwrap(),
        &|| world.put(&path, b"torn"),
        &|| assert!(world.corrupt(&path, 60)),
        &|| {
            // A store of a version that made no such directory.
            for path in world.tree().into_keys().rev().filter(|path| path.starts_with("/store/trees")) {
                vandal.unlink(&path).or_else(|_| vandal.remove_dir(&path)).unwrap();
            }
        },
    ];
    for spoil in spoil {
        spoil();
        assert!(!matches!(seen(&opened, &digest(&bytes)), Seen::Good(_)));
        assert_eq!(verified(&opened), [(VerifyStatus::Ok, Damage::default(), String::new())]);
        has_its_tree(&opened, &bytes);
        spoil();
        let target = Target::Digest(digest(&bytes));
        ranged::open(&opened.ctx(), &target, &Silent).unwrap();
        has_its_tree(&opened, &bytes);
    }
}

#[test]
fn a_tree_that_lies_misleads_nobody() {
    let bytes = big(1);
    let world = store_with(4, Durability::Batch, &[("/src/a", &bytes)]);
    let opened = opened(&world);
    opened.add(&["/src/a"], &AddOptions::default()).unwrap();
    let path = tree_path(&digest(&bytes));
    let lie = || world.put(&path, &tree::encode(&digest(&bytes), &tree_of(&big(9))));
    lie();
    assert_eq!(verified(&opened)[0].0, VerifyStatus::Ok);
    has_its_tree(&opened, &bytes);
    lie();
    let read = ranged::open(&opened.ctx(), &Target::Digest(digest(&bytes)), &Silent).unwrap();
    let mut all = vec![1; SIZE as usize];
    assert_eq!(read.read_at(&mut all, 0).unwrap(), all.len());
    assert!(all == bytes);
    lie();
    assert!(world.corrupt(blob(&digest(&bytes)), 2 * MIB));
    let told = repaired(&opened, &[]);
    assert_eq!((told[0].status, &told[0].damage), (RepairStatus::Repaired, &Damage::default()));
    assert_eq!(world.read(blob(&digest(&bytes))), Some(bytes.clone()));
    has_its_tree(&opened, &bytes);
}

#[test]
fn what_is_wrong_or_unreadable_is_told_by_its_bytes() {
    let bytes = big(1);
    let world = store_with(5, Durability::Batch, &[("/src/a", &bytes)]);
    let opened = opened(&world);
    opened.add(&["/src/a"], &AddOptions::default()).unwrap();
    let path = blob(&digest(&bytes));
    for at in [MIB + 3, 2 * MIB, SIZE - 1] {
        assert!(world.corrupt(&path, at));
    }
    let found = verified(&opened);
    let (status, damage, detail) = &found[0];
    assert_eq!((*status, damage.wrong.all()), (VerifyStatus::Corrupt, &[MIB..3 * MIB, 5 * MIB..SIZE][..]));
    let words = format!("; wrong: bytes 1048576 to 3145728, 5242880 to {SIZE}");
    assert!(detail.ends_with(&words), "{detail}");
    assert!(world.bad_sector(&path, 4 * MIB + 100..4 * MIB + 101));
    let (status, damage, detail) = &verified(&opened)[0];
    assert_eq!((*status, damage.unreadable.all()), (VerifyStatus::Unreadable, &[4 * MIB..4 * MIB + 4096][..]));
    assert_eq!(damage.wrong.all(), [MIB..3 * MIB, 5 * MIB..SIZE]);
    assert!(detail.contains("; unreadable: bytes 4194304 to 4198400"), "{detail}");
}

/// A blob with one wrong group is mended by reading that group alone of its source.
#[test]
fn only_what_is_wrong_is_read_of_a_candidate() {
    let bytes = big(1);
    let world = store_with(6, Durability::Batch, &[("/src/a", &bytes)]);
    let opened = opened(&world);
    opened.add(&["/src/a"], &AddOptions::default()).unwrap();
    let path = blob(&digest(&bytes));
    assert!(world.corrupt(&path, 3 * MIB + 5));
    world.configure(|options| options.log_reads = true);
    let before = world.log().calls().len();
    let told = repaired(&opened, &[]);
    assert_eq!((told[0].status, told[0].damage.wrong.all()), (RepairStatus::Repaired, &[3 * MIB..4 * MIB][..]));
    let taken: Vec<_> = told[0].taken.iter().map(|taken| (taken.origin, taken.bytes)).collect();
    assert_eq!(taken, [(Origin::Blob, SIZE - MIB), (Origin::Source, MIB)]);
    assert_eq!(told[0].from, Some((Origin::Source, "/src/a".into())));
    let log = world.log();
    let read =
        log.calls()[before..].iter().filter(|call| call.kind == CallKind::Read && call.path == Path::new("/src/a"));
    let read: Vec<_> = read.map(|call| (call.offset, call.amount)).collect();
    assert_eq!(read, [(3 * MIB, MIB)], "of the source");
    assert!(world.read(&path) == Some(bytes.clone()));
    has_its_tree(&opened, &bytes);
    never_lies(&world);
}

#[test]
fn two_damaged_files_are_put_together_to_a_good_one() {
    let bytes = big(1);
    for (seed, reflink) in [(7, false), (8, true)] {
        let world = store_with(seed, Durability::Batch, &[("/src/a", &bytes)]);
        world.configure(|options| options.reflinks = reflink);
        let opened = opened(&world);
        opened.add(&["/src/a"], &AddOptions::default()).unwrap();
        let path = blob(&digest(&bytes));
        for at in [0, 3 * MIB + 9, 5 * MIB] {
            assert!(world.corrupt(&path, at));
        }
        // The source is wrong in one of those groups, what is offered was cut short and is wrong in another.
        assert!(world.corrupt("/src/a", 3 * MIB + 4000) && world.corrupt("/src/a", MIB));
        let mut other = bytes[..(4 * MIB + 5) as usize].to_vec();
        other[0] ^= 1;
        put_sparse(&world, "/other", &other);
        put_sparse(&world, "/unlike/it", &big(99));
        let told = repaired(&opened, &["/unlike", "/other"]);
        assert_eq!(told[0].status, RepairStatus::Repaired, "{told:?}");
        let taken: Vec<_> = told[0].taken.iter().map(|taken| (taken.origin, taken.bytes)).collect();
        let own = (Origin::Blob, SIZE - 2 * MIB - 77);
        assert_eq!(taken, [own, (Origin::Source, MIB + 77), (Origin::Offered, MIB)]);
        assert!(world.read(&path) == Some(bytes.clone()));
        never_lies(&world);
        kit::agrees(&world, &opened);
        assert_eq!(verified(&opened)[0].0, VerifyStatus::Ok);
    }
}

/// What was moved to quarantine, for want of good bytes, is right in most places, and is put together with what comes later.
#[test]
fn a_file_in_quarantine_is_of_use_where_it_is_right() {
    let bytes = big(1);
    let world = store_with(9, Durability::Batch, &[("/src/a", &bytes)]);
    let opened = opened(&world);
    opened.add(&["/src/a"], &AddOptions::default()).unwrap();
    world.process("user").unlink("/src/a".as_ref()).unwrap();
    assert!(world.corrupt(blob(&digest(&bytes)), 2 * MIB + 1));
    let told = repaired(&opened, &[]);
    assert_eq!((told[0].status, told[0].evidence.len()), (RepairStatus::Unrepaired, 1));
    assert_eq!(told[0].damage.wrong.all(), [2 * MIB..3 * MIB]);
    let mut part = vec![7; SIZE as usize];
    part[(2 * MIB) as usize..(3 * MIB) as usize].copy_from_slice(&bytes[(2 * MIB) as usize..(3 * MIB) as usize]);
    world.put("/part", &part);
    let told = repaired(&opened, &["/part"]);
    let taken: Vec<_> = told[0].taken.iter().map(|taken| (taken.origin, taken.bytes)).collect();
    assert_eq!(taken, [(Origin::Quarantine, SIZE - MIB), (Origin::Offered, MIB)], "{told:?}");
    assert!(world.read(blob(&digest(&bytes))) == Some(bytes));
}

#[test]
fn parts_that_are_read_are_right_or_an_error_that_names_them() {
    let (bytes, small) = (big(1), vec![3; 100_000]);
    let world = store_with(10, Durability::Batch, &[("/src/a", &bytes), ("/src/b", &small), ("/src/none", b"")]);
    world.configure(|options| options.log_reads = true);
    let opened = opened(&world);
    opened.add(&["/src"], &AddOptions::default()).unwrap();
    let open = |bytes: &[u8]| ranged::open(&opened.ctx(), &Target::Digest(digest(bytes)), &Silent);
    let path = blob(&digest(&bytes));
    let before = world.log().calls().len();
    let large = open(&bytes).unwrap();
    let read = |at: u64, length: usize| {
        let mut buffer = vec![9; length];
        large.read_at(&mut buffer, at).map(|read| buffer[..read].to_vec())
    };
    assert!(read(MIB - 5, 10).unwrap() == bytes[(MIB - 5) as usize..(MIB + 5) as usize]);
    assert!(read(MIB, 100).unwrap() == bytes[MIB as usize..(MIB + 100) as usize]);
    assert!(read(SIZE - 3, 100).unwrap() == bytes[(SIZE - 3) as usize..]);
    assert_eq!((read(SIZE, 5).unwrap(), read(u64::MAX, 5).unwrap()), (vec![], vec![]));
    let log = world.log();
    let reads = log.calls()[before..].iter().filter(|call| call.kind == CallKind::Read && call.path == path);
    let reads: Vec<_> = reads.map(|call| (call.offset, call.amount)).collect();
    assert_eq!(reads, [(0, MIB), (MIB, MIB), (MIB, 100), (5 * MIB, 77)], "each group is looked at once");
    assert!(world.corrupt(&path, 3 * MIB + 100));
    let wrong = read(2 * MIB, 2 * MIB as usize).unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Damaged);
    assert!(wrong.to_string().contains("bytes 3145728 to 4194304"), "{wrong}");
    assert_eq!(read(2 * MIB, MIB as usize).unwrap().len(), MIB as usize, "what is right is there");
    let mut out = Vec::new();
    let target = Target::Digest(digest(&bytes));
    let cat =
        |out: &mut Vec<u8>, offset, length| ranged::cat_range(&opened.ctx(), &target, offset, length, out, &Silent);
    assert_eq!(cat(&mut out, 3 * MIB - 2, Some(10)).unwrap_err().kind(), ErrorKind::Damaged);
    assert_eq!(out.len(), 2, "nothing comes out that is wrong");
    assert_eq!(cat(&mut out, SIZE + 1, None).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(cat(&mut out, SIZE - 4, None).unwrap(), 4);

    let (b, none) = (open(&small).unwrap(), open(b"").unwrap());
    let mut buffer = vec![0; 200_000];
    assert_eq!((b.read_at(&mut buffer, 99_990).unwrap(), none.read_at(&mut buffer, 0).unwrap()), (10, 0));
    assert!(world.corrupt(blob(&digest(&small)), 5));
    assert_eq!(open(&small).unwrap_err().kind(), ErrorKind::Damaged);
    assert_eq!(b.read_at(&mut buffer, 0).unwrap(), 100_000, "what was proved stays so while it is open");
}

/// Looks at every so many of the worlds; at all of them in a long campaign. Each is megabytes to be hashed several times.
fn thinned(every: u64, check: impl Fn(&World, &Log)) -> impl FnMut(u64, &World, &Log) {
    let mut seen = 0;
    move |_, world, log| {
        seen += 1;
        if kit::long() || seen % every == 0 {
            check(world, log);
        }
    }
}

fn changes(process: &Arc<Simulated>) {
    let opened = Opened::open(process).unwrap();
    let (one, other) = (big(1), big(11));
    opened.put("/src/a", "a", &one).unwrap();
    opened.put("/src/b", "b", &other).unwrap();
    opened.remove(&["a"]).unwrap();
    opened.collect(Duration::ZERO).unwrap();
}

/// Whatever is in the place of a tree: it is that of its blob, or not believed.
fn trees_are_right(opened: &Opened) {
    for row in opened.ledger.snapshot().unwrap().blobs(&Digest::from_bytes([0; 32])) {
        let (digest, row) = row.unwrap();
        if let Some(believed) = opened.ledger.trees.believed(&digest, row.stamp.size_bytes, &row.blake3) {
            let is = [big(1), big(11)].into_iter().find(|bytes| kit::digest(bytes) == digest).map(|b| tree_of(&b));
            assert_eq!(Some(believed), is);
        }
    }
}

/// Trees that are there are of blobs that are.
fn no_tree_is_left_alone(world: &World, opened: &Opened) {
    let snapshot = opened.ledger.snapshot().unwrap();
    for found in opened.ledger.trees.list().unwrap() {
        let known = snapshot.blob(&found.digest).unwrap().is_some();
        assert!(known && !found.unfinished, "{} is left", found.path.display());
    }
    assert!(world.files("/store/trees").len() <= 2);
}

#[test]
fn whatever_crashes_no_tree_is_believed_that_is_not_the_blobs() {
    let (one, other) = (big(1), big(11));
    let start = store_with(11, Durability::Batch, &[("/src/a", &one), ("/src/b", &other)]);
    let holds = |world: &World, log: &Log| {
        let opened = recovered(world, log);
        trees_are_right(&opened);
        nothing_is_left_over(world, &opened);
        no_tree_is_left_alone(world, &opened);
        verify(&opened.ctx(), &[], &[], &VerifyOptions::default(), &Silent).unwrap();
        for row in opened.ledger.snapshot().unwrap().blobs(&Digest::from_bytes([0; 32])) {
            assert!(matches!(seen(&opened, &row.unwrap().0), Seen::Good(_)), "who reads a blob makes its tree");
        }
    };
    report("trees, power cuts", Enumeration::new(11, &start).samples(2).power_cuts(changes, thinned(11, &holds)));
    report(
        "trees, kills",
        Enumeration::new(12, &start).kills(
            changes,
            thinned(3, |world, log| {
                let opened = Opened::open(&world.process("check")).unwrap();
                opened.ledger.hold(|_| Ok(())).unwrap();
                let strays = check(&opened.ctx(), &Silent).unwrap().by_code.get(&FindingCode::TreeOrphan).copied();
                assert_eq!(strays, None, "who is killed leaves no tree without its blob");
                drop(opened);
                holds(world, log);
            }),
        ),
    );
}

#[test]
fn mending_from_parts_survives_a_crash_at_every_call() {
    let bytes = big(1);
    let start = store_with(13, Durability::Batch, &[("/src/a", &bytes)]);
    opened(&start).add(&["/src/a"], &AddOptions::default()).unwrap();
    assert!(start.corrupt(blob(&digest(&bytes)), 0) && start.corrupt(blob(&digest(&bytes)), 4 * MIB));
    assert!(start.corrupt("/src/a", 4 * MIB + 1));
    let mut part = bytes.clone();
    part[0] ^= 1;
    put_sparse(&start, "/part", &part);
    start.settle();
    let mend = |process: &Arc<Simulated>| {
        let told = repaired(&Opened::open(process).unwrap(), &["/part"]);
        assert_eq!(told[0].status, RepairStatus::Repaired);
        process.note("repaired");
    };
    let holds = |world: &World, log: &Log| {
        let opened = Opened::open(&world.process("next")).unwrap();
        opened.ledger.hold(|_| Ok(())).unwrap();
        let whole = || world.read(blob(&digest(&bytes))).as_deref() == Some(&bytes);
        assert!(!log.noted("repaired") || whole());
        repaired(&opened, &["/part"]);
        assert!(whole(), "the next repair goes on");
        never_lies(world);
        kit::agrees(world, &opened);
        verify(&opened.ctx(), &[], &[], &VerifyOptions::default(), &Silent).unwrap();
        has_its_tree(&opened, &bytes);
    };
    report("mending, power cuts", Enumeration::new(13, &start).samples(2).power_cuts(mend, thinned(7, &holds)));
    report("mending, kills", Enumeration::new(14, &start).kills(mend, thinned(2, &holds)));
}
