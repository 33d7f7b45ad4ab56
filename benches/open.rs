//! Opening a store and looking one name up, in this process and in one of its own, with as many records as there may be
//! in no run; and looking names up in a store that is open.
#![allow(clippy::print_stdout)]

mod common;

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use common::stores::{Recorded, nth_name};
use common::{Contest, Scratch, run, sized, stores};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use larder::Name;
use larder::store::Store;
use larder::work::names::Target;

const PROGRAM: Option<&str> = option_env!("CARGO_BIN_EXE_larder");

struct Looking {
    scratch: Scratch,
    recorded: Recorded,
    list: File,
    store: Store,
    map: HashMap<Name, u64>,
    number: u64,
}

/// A line of the list has so many bytes, so that it can be searched without an index.
const LINE: usize = 160;

fn many() -> usize {
    sized(1_000_000, 2000)
}

fn opens() -> usize {
    sized(20, 2)
}

fn lookups() -> usize {
    sized(2000, 50)
}

impl Looking {
    fn make(count: usize) -> Self {
        let mut scratch = Scratch::default();
        let recorded = Recorded::fill(&scratch.fresh(), count, true);
        let list = scratch.fresh();
        write_list(&list, count);
        let store = stores::open(&recorded.directory);
        let map = (0..count).map(|i| (nth_name(i), i as u64)).collect();
        Looking { list: File::open(list).expect("the list"), scratch, recorded, store, map, number: 1 }
    }

    fn times(&mut self, times: usize, one: impl Fn(&Self, Name)) -> Duration {
        let mut number = self.number;
        let probes: Vec<Name> = (0..times).map(|_| self.recorded.probe(&mut number)).collect();
        self.number = number;
        self.scratch.timed(|| probes.into_iter().for_each(|probe| one(self, probe)))
    }

    fn open_and_look(&mut self) -> Duration {
        self.times(opens(), |me, name| {
            stores::open(&me.recorded.directory).path(&Target::Name(name)).expect("it is there");
        })
    }

    /// A sorted list of lines of one length, and eleven to twenty reads: no file format does with fewer calls and no
    /// index.
    fn search_list(&mut self) -> Duration {
        self.times(opens(), |me, name| assert!(in_list(&me.list, &name).is_some()))
    }

    /// Everything in memory first, as programs do that keep their state in one file.
    fn load_list(&mut self) -> Duration {
        self.times(opens(), |me, name| {
            let length = me.list.metadata().expect("the list").len();
            let mut bytes = vec![0; length as usize];
            me.list.read_exact_at(&mut bytes, 0).expect("the list");
            let map: HashMap<&[u8], usize> =
                bytes.chunks_exact(LINE).map(trimmed).enumerate().map(|(i, line)| (line, i)).collect();
            assert!(map.contains_key(name.as_bytes()));
        })
    }

    fn process(&mut self, arguments: fn(&Path, &Name) -> Vec<std::path::PathBuf>) -> Duration {
        self.times(opens(), |me, name| {
            let arguments = arguments(&me.recorded.directory, &name);
            let arguments: Vec<&Path> = arguments.iter().map(AsRef::as_ref).collect();
            run(PROGRAM.expect("it is only run with the program"), &arguments);
        })
    }

    fn look(&mut self) -> Duration {
        self.times(lookups(), |me, name| assert!(me.store.contains(&Target::Name(name)).expect("it can be read")))
    }

    fn look_in_map(&mut self) -> Duration {
        self.times(lookups(), |me, name| assert!(me.map.contains_key(&name)))
    }
}

fn write_list(path: &Path, count: usize) {
    let mut names: Vec<Name> = (0..count).map(nth_name).collect();
    names.sort();
    let mut file = std::io::BufWriter::new(File::create(path).expect("room for it"));
    for name in names {
        let mut line = [b' '; LINE];
        line[..name.as_bytes().len()].copy_from_slice(name.as_bytes());
        line[LINE - 1] = b'\n';
        file.write_all(&line).expect("room for it");
    }
    file.flush().expect("room for it");
}

fn trimmed(line: &[u8]) -> &[u8] {
    line.trim_ascii_end()
}

fn in_list(list: &File, name: &Name) -> Option<u64> {
    let (mut low, mut high) = (0, list.metadata().expect("the list").len() / LINE as u64);
    let mut line = [0; LINE];
    while low < high {
        let middle = low.midpoint(high);
        list.read_exact_at(&mut line, middle * LINE as u64).expect("the list");
        match trimmed(&line).cmp(name.as_bytes()) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => return Some(middle),
        }
    }
    None
}

/// Filled once, however many contests are about it.
type Shared = Rc<RefCell<Looking>>;

/// Fills a store of `count` names, unless `cell` has one.
fn shared(cell: &OnceCell<Shared>, count: usize) -> Shared {
    Rc::clone(cell.get_or_init(|| Rc::new(RefCell::new(Looking::make(count)))))
}

fn all(criterion: &mut Criterion) {
    let (thousand, million) = (OnceCell::new(), OnceCell::new());
    in_process(criterion, "open/thousand", || shared(&thousand, 1000));
    of_its_own(criterion, "process/thousand", || shared(&thousand, 1000));
    in_process(criterion, "open/million", || shared(&million, many()));
    of_its_own(criterion, "process/million", || shared(&million, many()));
    running(criterion, "lookup/million", || shared(&million, many()));
}

fn in_process(criterion: &mut Criterion, name: &'static str, set_up: impl Fn() -> Shared) {
    Contest {
        name,
        work: Throughput::Elements(opens() as u64),
        set_up: Box::new(set_up),
        ours: |looking| looking.borrow_mut().open_and_look(),
        rivals: vec![
            ("a binary search in a sorted file", |looking: &mut Shared| looking.borrow_mut().search_list()),
            ("reading a list into a HashMap", |looking| looking.borrow_mut().load_list()),
        ],
    }
    .run(criterion);
}

fn of_its_own(criterion: &mut Criterion, name: &'static str, set_up: impl Fn() -> Shared) {
    if PROGRAM.is_none() {
        println!("{name}: left out, there is no program without the feature `cli`");
        return;
    }
    Contest {
        name,
        work: Throughput::Elements(opens() as u64),
        set_up: Box::new(set_up),
        ours: |looking| {
            looking
                .borrow_mut()
                .process(|store, name| vec!["--store".into(), store.into(), "path".into(), name.as_path().into()])
        },
        rivals: vec![("the same program printing its version", |looking: &mut Shared| {
            looking.borrow_mut().process(|_, _| vec!["--version".into()])
        })],
    }
    .run(criterion);
}

fn running(criterion: &mut Criterion, name: &'static str, set_up: impl Fn() -> Shared) {
    Contest {
        name,
        work: Throughput::Elements(lookups() as u64),
        set_up: Box::new(set_up),
        ours: |looking| looking.borrow_mut().look(),
        rivals: vec![("a HashMap in memory", |looking: &mut Shared| looking.borrow_mut().look_in_map())],
    }
    .run(criterion);
}

criterion_group!(benches, all);
criterion_main!(benches);
