//! Names and what they mean, in an embedded database: what every such driver can be asked for.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use crate::data::{Numbers, Row, row};
use crate::{Words, each, tell, timed};

/// A database of rows by name. Whatever fails panics.
pub trait Rows: Sync + Sized {
    /// Opens it, and makes it where there is none.
    fn open(directory: &Path) -> Self;

    /// Takes all rows in, which come in the order of their names; they are durable when it is over.
    fn load(&self, rows: &mut dyn Iterator<Item = Row>);

    /// What is needed once before rows are put.
    fn ready(&self) {}

    /// Takes one row in, durably.
    fn put(&self, row: &Row);

    /// The digest that is on record for a name.
    fn get(&self, name: &str) -> Option<[u8; 32]>;

    /// Makes it as small as it gets.
    fn settle(self) {}
}

/// The rows of a manifest: name, digest, size and source between tabs, a line for each.
pub fn manifest(path: &Path) -> impl Iterator<Item = Row> {
    BufReader::with_capacity(1 << 20, File::open(path).expect("a manifest")).lines().map(|line| {
        let line = line.expect("it can be read");
        let mut cells = line.split('\t');
        let mut cell = || cells.next().expect("four cells");
        let name = cell().to_owned();
        let digest = unhex(cell());
        let size = cell().parse().expect("a size");
        Row { name, digest, size, source: cell().to_owned() }
    })
}

/// The bytes of a digest in hexadecimal digits.
pub fn unhex(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    assert_eq!(text.len(), 64);
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |c: u8| (c as char).to_digit(16).expect("hexadecimal digits") as u8;
        *byte = digit(pair[0]) << 4 | digit(pair[1]);
    }
    bytes
}

/// The command line of a driver:
///
/// * `load DIR MANIFEST` takes a manifest in;
/// * `commit DIR COUNT --threads N --first I` puts single rows, on several threads;
/// * `lookup DIR COUNT TIMES` asks for random rows of the first COUNT, and for names that are not there;
/// * `one DIR I` asks for one row and says its digest;
/// * `settle DIR` makes the database small.
pub fn main<R: Rows>() {
    let words = Words::read();
    let directory = words.path(1);
    match words.at(0) {
        "load" => {
            let mut count = 0;
            let (took, ()) = timed(|| {
                let rows = R::open(&directory);
                rows.load(&mut manifest(&words.path(2)).inspect(|_| count += 1));
            });
            tell(took, count);
        }
        "commit" => commit(&R::open(&directory), &words),
        "lookup" => lookup(&R::open(&directory), words.number(2), words.number(3)),
        "one" => {
            let wanted = row(words.number(2) as u64);
            assert_eq!(R::open(&directory).get(&wanted.name), Some(wanted.digest));
        }
        "settle" => R::open(&directory).settle(),
        other => panic!("{other}: not one of load, commit, lookup, one, settle"),
    }
}

fn commit(rows: &impl Rows, words: &Words) {
    let (count, first) = (words.number(2), words.option("first", 1_000_000_000));
    let new: Vec<Row> = (first..first + count).map(|i| row(i as u64)).collect();
    rows.ready();
    let (took, ()) = timed(|| each(&new, words.option("threads", 1), |row| rows.put(row)));
    assert!(new.iter().all(|row| rows.get(&row.name).is_some()), "what was put is there");
    tell(took, count);
}

fn lookup(rows: &impl Rows, count: usize, times: usize) {
    let mut numbers = Numbers::from(1);
    let wanted: Vec<Row> = (0..times).map(|_| row(numbers.below(count as u64))).collect();
    let (took, found) = timed(|| wanted.iter().map(|row| rows.get(&row.name)).collect::<Vec<_>>());
    assert!(found.iter().zip(&wanted).all(|(found, row)| *found == Some(row.digest)));
    assert_eq!(rows.get("a name that is not there"), None);
    tell(took, times);
}
