//! Promise 4, of an index that is large enough to have pages below pages: whatever byte of a run, of its filter or of
//! CURRENT is flipped, every way of reading gives the right answers, from the journal where it must, and the next writer
//! makes the index anew. Where the journal is damaged as well, there is an error, never a wrong answer.
//!
//! Some of the bytes by default; `LARDER_LONG=1` takes every one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::kit::{self, Opened, digest, world};
use larder::format::record::{AliasRecord, Record};
use larder::format::settings::Durability;
use larder::ledger::{Ledger, Policy, Tables};
use larder::machine::Machine;
use larder::machine::simulated::{Simulated, Snapshot, World};
use larder::parts::index::Index;
use larder::work::ingest::AddOptions;
use larder::{Error, ErrorKind, Name, Prefix, Result};

const A: &[u8] = b"the bytes of the first file";
const B: &[u8] = b"other bytes, of the second file";
const NAMES: usize = 400;
const INDEX: &str = "/store/index";

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// Names by transaction: nothing is written under `names/`, which is not the question here.
fn name_them(opened: &Opened, prefix: &'static str, count: usize) {
    let names = move |tx: &mut larder::ledger::Tx<'_>| {
        let blob = tx.blob(&digest(A))?.expect("it was added");
        for n in 0..count {
            let name = Name::new(format!("{prefix}/{:02}/some file, number {n}", n % 20))?;
            let (size_bytes, added) = (blob.stamp.size_bytes, tx.moment());
            tx.push(Record::Alias(AliasRecord {
                name,
                digest: digest(A),
                size_bytes,
                hardlinked: false,
                executable: n % 2 == 0,
                mtime_ns: n as i64,
                replaces: None,
                added,
            }));
        }
        Ok(())
    };
    opened.ledger.transact(names).unwrap();
}

/// A large run, a small one over it that takes some of it back, and frames behind them that take back more.
fn begun(compacted: bool) -> Snapshot {
    let world = world(1, Durability::Batch, &[("/src/a", A), ("/src/b", B)]);
    let opened = Opened::open(&world.process("before")).unwrap();
    opened.add(&["/src"], &AddOptions::default()).unwrap();
    name_them(&opened, "many", NAMES);
    if compacted {
        opened.ledger.compact().unwrap();
    } else {
        opened.ledger.fold(true).unwrap();
    }
    name_them(&opened, "more", 3);
    opened.remove(&["many/07"]).unwrap();
    opened.ledger.fold(true).unwrap();
    opened.remove(&["many/11", "more/01"]).unwrap();
    opened.put("/src/b", "many/00/some file, number 0", B).unwrap();
    drop(opened);
    world.settle();
    world.snapshot()
}

fn index_files(world: &World) -> Vec<PathBuf> {
    let tree = world.tree();
    tree.into_keys().filter(|path| path.starts_with(INDEX) && world.read(path).is_some()).collect()
}

fn open(world: &World, writable: bool) -> Result<Ledger> {
    let process = world.process("reader");
    let policy = Opened::open(&world.process("policy"))?.ledger.policy.clone();
    let machine: Arc<dyn Machine> = Arc::<Simulated>::clone(&process);
    Ledger::open(machine, larder::format::layout::Layout::new(kit::STORE), Policy { writable, ..policy })
}

/// Every way of reading, each from records that nobody has read yet: one key, a stretch, what begins with a prefix, what
/// a digest has.
fn reads_right(world: &World, writable: bool, expected: &Rows, turn: usize) -> Result<()> {
    let fresh = || open(world, writable)?.snapshot();
    let differ = |what: &str| Err(Error::new(ErrorKind::Invalid, what, "the answers are wrong"));
    let whole = fresh()?;
    let all = whole.view.range(&[], None).collect::<Result<Rows>>()?;
    if all != *expected {
        return differ("read everything");
    }
    let one = fresh()?;
    for (key, value) in expected.iter().skip(turn % 7).step_by(7) {
        if one.view.get(key)?.as_ref() != Some(value) {
            return differ("read one key");
        }
    }
    for name in ["many/07/some file, number 7", "many/11/some file, number 11", "nothing"] {
        if one.alias(&Name::new(name)?)?.is_some() {
            return differ("read a name that is gone");
        }
    }
    let part = fresh()?;
    let (from, to) = (expected.len() / 5 + turn % 50, expected.len() * 4 / 5);
    let stretch = part.view.range(&expected[from].0, Some(&expected[to].0)).collect::<Result<Rows>>()?;
    if stretch != expected[from..to] {
        return differ("read a stretch");
    }
    let below = Prefix::Below(Name::new(format!("many/{:02}", turn % 20))?);
    let listed = fresh()?.aliases(&below).collect::<Result<Vec<_>>>()?;
    let gone = matches!(turn % 20, 7 | 11);
    if listed.len() != if gone { 0 } else { NAMES / 20 } {
        return differ("list a prefix");
    }
    let named = fresh()?.names_of(&digest(A))?;
    // All but those of two prefixes, and the one that means something else, and the two that `more` and the source have.
    if named.len() != NAMES - 2 * (NAMES / 20) - 1 + 2 + 1 {
        return differ("list the names of a digest");
    }
    Ok(())
}

/// Some of the bytes of a file, others in each turn, always the last ones, where most of what is special is.
fn some(length: usize, every: usize) -> impl Iterator<Item = usize> {
    let every = if kit::long() { 1 } else { every };
    (0..length).filter(move |at| at % every == length % every || (every > 1 && at + 8 > length))
}

fn expected(start: &Snapshot) -> Rows {
    Opened::open(&start.world(0).process("before")).unwrap().rows()
}

fn is_whole(world: &World) -> bool {
    let opened = Index::open(world.process("looking").as_ref(), Path::new(INDEX));
    opened.is_ok_and(|found| found.is_none_or(|(index, _)| index.runs().iter().all(|run| run.check().is_ok())))
}

/// Whether whoever reads every row comes upon this byte: not where it is in the header of a run, which a check alone
/// looks at, and not in the filter and the zeros before it, which only a look-up of one key may meet.
fn is_read_by_all(path: &Path, bytes: &[u8], at: usize) -> bool {
    if path.ends_with("CURRENT") {
        return true;
    }
    let footer = &bytes[bytes.len() - 112..];
    let number = |at: usize| u64::from_le_bytes(footer[at..at + 8].try_into().unwrap()) as usize;
    let (filter, blocks) = (number(48), number(56));
    at >= 40 && (at < filter - 64 || at >= filter + blocks * 64)
}

#[test]
fn whatever_byte_is_flipped_the_answers_are_right_and_the_next_writer_makes_the_index_anew() {
    for compacted in [false, true] {
        let start = begun(compacted);
        let expected = expected(&start);
        let (mut tried, mut mended) = (0, 0);
        for path in index_files(&start.world(1)) {
            let bytes = start.world(1).read(&path).unwrap();
            for (turn, at) in some(bytes.len(), 197).enumerate() {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << (at % 8);
                let what = format!("{} flipped at {at} of {}", path.display(), bytes.len());
                let world = start.world(at as u64);
                world.put(&path, &flipped);
                reads_right(&world, turn % 2 == 0, &expected, turn).unwrap_or_else(|e| panic!("{what}: {e}"));
                let writer = Opened::open(&world.process("writer")).unwrap_or_else(|e| panic!("{what}: {e}"));
                assert!(writer.rows() == expected, "{what}");
                writer.put("/src/b", "one more", B).unwrap_or_else(|e| panic!("{what}: {e}"));
                let whole = is_whole(&world);
                assert!(whole || !is_read_by_all(&path, &bytes, at), "{what}: not made anew");
                (tried, mended) = (tried + 1, mended + usize::from(whole));
            }
        }
        println!("flipped bytes of an index: {tried}, made anew: {mended}");
    }
}

/// Damages every page of a file that is open.
fn spoil(world: &World, path: &Path) {
    let bytes = world.read(path).unwrap().len() as u64;
    (40..bytes).step_by(64).for_each(|at| assert!(world.corrupt(path, at)));
}

/// A page that turns bad under a scan, and under a writer that has the index open: the scan goes on where it was.
#[test]
fn a_run_that_turns_bad_while_it_is_read_is_gone_on_with_from_the_journal() {
    let start = begun(false);
    let expected = expected(&start);
    let world = start.world(5);
    let reader = open(&world, false).unwrap();
    let writer = Opened::open(&world.process("writer")).unwrap();
    let (snapshot, there) = (reader.snapshot().unwrap(), writer.ledger.snapshot().unwrap());
    let mut scan = snapshot.view.range(&[], None);
    let mut rows: Rows = scan.by_ref().take(20).collect::<Result<_>>().unwrap();
    for path in index_files(&world) {
        spoil(&world, &path);
    }
    rows.extend(scan.map(Result::unwrap));
    assert!(rows == expected, "a scan that met damage gives other rows");
    assert!(there.view.range(&[], None).collect::<Result<Rows>>().unwrap() == expected);
    writer.put("/src/b", "one more", B).unwrap();
    assert!(is_whole(&world), "a writer that met damage has made the index anew");
    let again = Opened::open(&world.process("again")).unwrap();
    assert_eq!(again.rows(), writer.rows());
}

/// An older snapshot than the newest base: what its runs said cannot be had any more, and nothing else is given for it.
#[test]
fn rows_that_the_journal_has_outgrown_are_an_error_and_never_newer_ones() {
    let start = begun(false);
    let expected = expected(&start);
    let world = start.world(6);
    let reader = open(&world, true).unwrap();
    let old = reader.snapshot().unwrap();
    let paths = index_files(&world);
    let writer = Opened::open(&world.process("writer")).unwrap();
    writer.remove(&["many/03"]).unwrap();
    for path in paths {
        spoil(&world, &path);
    }
    writer.ledger.compact().unwrap();
    match old.view.range(&[], None).collect::<Result<Rows>>() {
        Ok(rows) => assert!(rows == expected, "rows of another moment"),
        Err(e) => assert_eq!(e.kind(), ErrorKind::Damaged, "{e}"),
    }
    assert_eq!(rows_of(&reader), writer.rows(), "records as they are now can be read");
}

fn rows_of(ledger: &Ledger) -> Rows {
    kit::rows(ledger.snapshot().unwrap().as_ref())
}

/// Index and journal both: an answer is right, or there is an error.
#[test]
fn with_a_damaged_journal_an_answer_is_right_or_an_error() {
    let start = begun(false);
    let expected = expected(&start);
    let world = start.world(1);
    let journal = world.tree().into_keys().find(|path| path.extension().is_some_and(|e| e == "log")).unwrap();
    let frames = world.read(&journal).unwrap();
    let (mut errors, mut right) = (0, 0);
    for path in index_files(&world).into_iter().filter(|path| path.extension().is_some_and(|e| e == "run")) {
        let bytes = world.read(&path).unwrap();
        for (turn, at) in some(bytes.len(), 1499).enumerate() {
            for cut in [false, true] {
                let world = start.world(at as u64);
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << (at % 8);
                world.put(&path, &flipped);
                let mut bad = frames.clone();
                let place = bad.len() * (turn % 9 + 1) / 12;
                if cut {
                    bad.truncate(place)
                } else {
                    bad[place] ^= 4
                }
                world.put(&journal, &bad);
                let what = format!("{} flipped at {at}, journal at {place}, cut {cut}", path.display());
                let opened = open(&world, false).unwrap_or_else(|e| panic!("{what}: {e}"));
                let snapshot = opened.snapshot().unwrap_or_else(|e| panic!("{what}: {e}"));
                match snapshot.view.range(&[], None).collect::<Result<Rows>>() {
                    // The frames behind the runs may be what is damaged: then some are missing, and that is known.
                    Ok(rows) if rows == expected => right += 1,
                    Ok(_) => assert!(!snapshot.damage.is_empty() || cut, "{what}: a wrong answer"),
                    Err(e) => {
                        assert_eq!(e.kind(), ErrorKind::Damaged, "{what}: {e}");
                        errors += 1;
                    }
                }
            }
        }
    }
    println!("both damaged: {errors} errors, {right} right answers");
    assert!(errors > 0);
}
