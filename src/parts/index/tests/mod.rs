//! The index against a map, against damage, and against its bounds.

mod damage;
mod memory;
mod policy;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;
use crate::vocabulary::limits::{RUN_KEY_BYTES, RUN_PAGE_BYTES, RUN_READ_AHEAD_BYTES, RUN_VALUE_BYTES, RUNS_MAX};
use memory::Memory;

type Map = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

fn dir() -> &'static Path {
    Path::new("/index")
}

fn write(machine: &Memory, map: &Map) -> RunMeta {
    let mut writer = RunWriter::create(machine, dir(), map.len() as u64).unwrap();
    for (key, value) in map {
        writer.add(key, value.as_deref()).unwrap();
    }
    writer.finish().unwrap()
}

fn current(runs: Vec<RunMeta>) -> Current {
    let reach = Reach {
        sequence: 9,
        hash: [4; 32],
        segment_first: 1,
        segment_salt: [5; 16],
        offset: 77,
        synced_through: 9,
        last_offset: 70,
        time_ns: 1,
    };
    Current { store: [6; 16], runs, reach }
}

/// An index whose runs are `maps`, oldest first.
fn index(machine: &Memory, maps: &[Map]) -> Index {
    let current = current(maps.iter().map(|map| write(machine, map)).collect());
    replace_current(machine, dir(), &current).unwrap();
    let (index, read) = Index::open(machine, dir()).unwrap().unwrap();
    assert_eq!(read, current);
    index
}

/// `count` records as the store has them: a name and some fields.
fn records(count: u32) -> Map {
    let key = |n: u32| format!("nmodels/{:03}/weights-{n:08}.bin", n / 1000).into_bytes();
    (0..count).map(|n| (key(n), Some(blake3::hash(&n.to_le_bytes()).as_bytes().to_vec()))).collect()
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(b'a'), Just(0xff)], 0..6)
}

fn value() -> impl Strategy<Value = Option<Vec<u8>>> {
    let short = proptest::collection::vec(any::<u8>(), 0..30);
    let long = (1usize..6000).prop_map(|length| vec![7; length]);
    proptest::option::weighted(0.7, prop_oneof![9 => short, 1 => long])
}

fn map() -> impl Strategy<Value = Map> {
    proptest::collection::btree_map(key(), value(), 0..120)
}

fn live(map: &Map, from: &[u8], to: Option<&[u8]>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let within = map.iter().filter(|(k, _)| ***k >= *from && to.is_none_or(|to| ***k < *to));
    within.filter_map(|(k, v)| Some((k.clone(), v.clone()?))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_view_answers_as_a_map(
        maps in proptest::collection::vec(map(), 0..5),
        over in map(),
        probes in proptest::collection::vec(key(), 30),
        merged in 0usize..5,
    ) {
        let machine = Memory::default();
        let mut expected = Map::new();
        for (k, v) in maps.iter().chain([&over]).flatten() {
            expected.insert(k.clone(), v.clone());
        }
        let mut index = index(&machine, &maps);
        let from = merged.min(maps.len());
        if from < maps.len() {
            let mut runs = index.runs().iter().map(|run| run.meta()).collect::<Vec<_>>();
            let one = merge(&machine, dir(), &index.runs()[from..], &index.runs()[..from]).unwrap();
            runs.splice(from.., [one]);
            replace_current(&machine, dir(), &current(runs)).unwrap();
            index = index.reopen(&machine, dir()).unwrap().unwrap().0;
        }
        for run in index.runs() {
            run.check().unwrap();
            prop_assert!(from > 0 || run.tombstones() == 0);
        }
        let mut view = View::new(Arc::new(index));
        for (k, v) in &over {
            view.put(k.clone(), v.clone());
        }
        for probe in probes.iter().chain(expected.keys()) {
            prop_assert_eq!(view.get(probe).unwrap(), expected.get(probe).cloned().flatten());
        }
        for pair in probes.chunks(2) {
            let (from, to) = (&pair[0], pair.get(1).map(|to| &**to));
            prop_assert_eq!(view.range(from, to).collect::<Result<Vec<_>>>().unwrap(), live(&expected, from, to));
            let begins = live(&expected, &[], None).into_iter().filter(|(k, _)| k.starts_with(from));
            prop_assert_eq!(view.prefix(from).collect::<Result<Vec<_>>>().unwrap(), begins.collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_index_keeps_tombstones_apart_from_nothing(maps in proptest::collection::vec(map(), 1..4), from in key()) {
        let machine = Memory::default();
        let index = index(&machine, &maps);
        let all = maps.iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect::<Map>();
        let rest = all.range(from.clone()..).map(|(k, v)| (k.clone(), v.clone())).collect::<Vec<_>>();
        prop_assert_eq!(index.range(&from).collect::<Result<Vec<_>>>().unwrap(), rest);
        prop_assert_eq!(index.get(&from).unwrap(), all.get(&from).cloned());
    }
}

/// Rows of one digest are asked for together: the filter tells where there are any, and where there are none.
#[test]
fn a_group_is_found_in_the_runs_that_have_it_and_others_are_passed_over() {
    let machine = Memory::default();
    let row = |table: u8, group: u8, rest: &[u8]| [&[table], &[group; 32][..], rest].concat();
    let map = |range: std::ops::Range<u8>, table: u8| -> Map {
        range.flat_map(|n| [&b"a"[..], b"b"].map(|rest| (row(table, n, rest), Some(vec![n])))).collect()
    };
    let index = index(&machine, &[map(0..100, 22), map(50..150, 22), map(0..200, 3)]);
    let mut passed_over = 0;
    for n in 0..200 {
        let prefix = row(22, n, &[]);
        let having = index.having(&prefix).unwrap();
        let expected = usize::from(n < 100) + usize::from((50..150).contains(&n));
        assert!(having.len() >= expected && having.len() <= 2, "the run of another table is never asked");
        passed_over += 2 - having.len();
        let view = View::new(Arc::new(index.with(index.runs().to_vec())));
        let found = view.prefix(&prefix).count();
        assert_eq!(found, if expected > 0 { 2 } else { 0 });
        assert_eq!(view.prefix(&row(22, n, b"b")).count(), found / 2);
        assert_eq!(view.prefix(&prefix[..20]).count(), found, "what is shorter than a group is sought everywhere");
        assert_eq!(view.prefix_from(&prefix, &row(22, n, b"aa")).count(), found / 2);
    }
    assert!(passed_over > 150, "{passed_over} of 200");
}

#[test]
fn a_view_works_without_runs_and_its_snapshots_stand_still() {
    let mut view = View::default();
    view.put(*b"b", Some(*b"1"));
    let before = view.clone();
    view.put(*b"a", Some(*b"2"));
    view.put(*b"b", None::<Vec<u8>>);
    assert_eq!(before.get(b"b").unwrap(), Some(b"1".to_vec()));
    assert_eq!(before.get(b"a").unwrap(), None);
    assert_eq!(view.get(b"b").unwrap(), None);
    let rows = view.range(b"", None).collect::<Result<Vec<_>>>().unwrap();
    assert_eq!(rows, [(b"a".to_vec(), b"2".to_vec())]);
}

#[test]
fn an_overlay_is_folded_into_a_run_that_says_the_same() {
    let machine = Memory::default();
    let mut view = View::new(Arc::new(index(&machine, &[records(500)])));
    for n in 0..5_000u32 {
        view.put((n * 7919 % 5_000).to_be_bytes(), Some(n.to_le_bytes()));
    }
    for key in records(400).into_keys() {
        view.put(key, None::<Vec<u8>>);
    }
    // Tombstones that hide nothing, of the table that the run has and of another one.
    for n in 0..1_000u32 {
        view.put(format!("nothing/{n}"), None::<Vec<u8>>);
        view.put(format!("other/{n}"), None::<Vec<u8>>);
    }
    let overlay = view.overlay();
    let under = view.index().runs();
    let folded = write_run(&machine, dir(), overlay.seek(b""), overlay.len() as u64, under).unwrap();
    assert!((5_400..5_450).contains(&folded.records), "{} rows: what hides nothing goes", folded.records);
    let alone = write_run(&machine, dir(), overlay.seek(b""), overlay.len() as u64, &[]).unwrap();
    assert_eq!(alone.records, 5_000);
    let runs = view.index().runs().iter().map(|run| run.meta()).chain([folded]).collect();
    replace_current(&machine, dir(), &current(runs)).unwrap();
    let after = View::new(Arc::new(view.index().reopen(&machine, dir()).unwrap().unwrap().0));
    assert!(after.range(b"", None).map(Result::unwrap).eq(view.range(b"", None).map(Result::unwrap)));
    assert_eq!(after.range(b"", None).count(), 5_100);
}

#[test]
fn an_empty_run_has_nothing_in_it() {
    let machine = Memory::default();
    let index = index(&machine, &[Map::new()]);
    index.runs()[0].check().unwrap();
    assert_eq!(index.get(b"").unwrap(), None);
    assert_eq!(index.range(b"").count(), 0);
    assert_eq!(merge(&machine, dir(), index.runs(), &[]).unwrap().records, 0);
}

#[test]
fn keys_and_values_at_the_limits_are_kept_and_longer_ones_refused() {
    let machine = Memory::default();
    let long = |n: u32| {
        let mut key = vec![b'k'; RUN_KEY_BYTES];
        key[RUN_KEY_BYTES - 4..].copy_from_slice(&n.to_be_bytes());
        key
    };
    let map = (0..300).map(|n| (long(n), Some(vec![n as u8; RUN_VALUE_BYTES]))).collect::<Map>();
    let index = index(&machine, std::slice::from_ref(&map));
    index.runs()[0].check().unwrap();
    for (key, value) in &map {
        assert_eq!(index.get(key).unwrap(), Some(value.clone()));
    }
    assert_eq!(index.get(&long(300)).unwrap(), None);
    let mut writer = RunWriter::create(&machine, dir(), 9).unwrap();
    assert_eq!(writer.add(&[0; RUN_KEY_BYTES + 1], None).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(writer.add(b"k", Some(&[0; RUN_VALUE_BYTES + 1])).unwrap_err().kind(), ErrorKind::Invalid);
    writer.add(b"k", None).unwrap();
    assert_eq!(writer.add(b"k", None).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(writer.finish().unwrap().records, 1);
}

#[test]
fn long_separators_make_a_deep_tree_that_still_finds_everything() {
    let machine = Memory::default();
    // Keys that share all but their last bytes: pages with a common prefix, separators as long as the keys.
    let key = |n: u32| [vec![b'x'; 3000], format!("{n:06}").into_bytes()].concat();
    let spread = |n: u32| [format!("{:02}", n % 97).into_bytes(), vec![b'y'; 2000], n.to_be_bytes().to_vec()].concat();
    let map = (0..3000).flat_map(|n| [key(n), spread(n)]).map(|k| (k.clone(), Some(k[..20].to_vec()))).collect::<Map>();
    let index = index(&machine, std::slice::from_ref(&map));
    index.runs()[0].check().unwrap();
    assert!(map.iter().all(|(k, v)| index.get(k).unwrap().as_ref() == Some(v)));
    let rows = index.range(b"").collect::<Result<Vec<_>>>().unwrap();
    assert!(rows.into_iter().eq(map));
}

#[test]
fn opening_and_one_lookup_read_the_same_whatever_the_size() {
    let mut costs = Vec::new();
    for count in [3_000, 300_000] {
        let machine = Memory::default();
        let map = records(count);
        index(&machine, std::slice::from_ref(&map));
        machine.take_reads();
        let (index, _) = Index::open(&machine, dir()).unwrap().unwrap();
        let opened = machine.take_reads();
        let (key, value) = map.iter().nth(count as usize / 2).unwrap();
        assert_eq!(index.get(key).unwrap().as_ref(), Some(value));
        let first = machine.take_reads();
        assert_eq!(index.get(key).unwrap().as_ref(), Some(value));
        assert_eq!(machine.take_reads(), (0, 0), "all of it comes from memory");
        costs.push((opened.0, first.0));
        assert!(opened.1 < 4 * RUN_PAGE_BYTES as u64, "{opened:?}");
    }
    // CURRENT and the tail; then a piece of the filter and a page of every level below the root.
    assert_eq!(costs, [(2, 2), (2, 3)]);
}

#[test]
fn a_key_that_is_not_there_costs_one_piece_of_each_filter_once() {
    let machine = Memory::default();
    let map = records(50_000);
    let halves = [0, 1].map(|half| map.iter().enumerate().filter(move |(n, _)| n % 2 == half).map(|(_, r)| r));
    let maps = halves.map(|half| half.map(|(k, v)| (k.clone(), v.clone())).collect::<Map>());
    let index = index(&machine, &maps);
    machine.take_reads();
    for n in 0..10_000 {
        let absent = format!("nmodels/{:03}/weights-{n:08}.txt", n % 50);
        assert_eq!(index.get(absent.as_bytes()).unwrap(), None);
    }
    let (reads, _) = machine.take_reads();
    // 11 pieces of each filter, and pages where the filter errs.
    assert!((22..300).contains(&reads), "{reads}");
}

#[test]
fn a_merge_reads_ahead_and_gives_the_same_as_its_runs() {
    let machine = Memory::default();
    let map = records(30_000);
    let index = index(&machine, &[map.clone(), Map::from([(b"nmodels".to_vec(), None)])]);
    machine.take_reads();
    let merged = merge(&machine, dir(), index.runs(), &[]).unwrap();
    let (reads, bytes) = machine.take_reads();
    let size = index.runs().iter().map(|run| run.meta().size_bytes).sum::<u64>();
    assert!(reads < 3 * size.div_ceil(RUN_READ_AHEAD_BYTES as u64) + 40, "{reads} reads of {size} bytes");
    assert!(bytes < size * 5 / 4, "{bytes} bytes read of {size}");
    assert_eq!(merged.records, 30_000, "the tombstone hid nothing");
    let run = Arc::new(Run::open(&machine, dir(), &merged).unwrap());
    assert!(run.range(b"nmodels/").map(Result::unwrap).eq(map));
}

#[test]
fn threads_read_one_view_at_once() {
    let machine = Memory::default();
    let map = records(20_000);
    let view = View::new(Arc::new(index(&machine, std::slice::from_ref(&map))));
    std::thread::scope(|scope| {
        for skip in 0..4 {
            let (view, map) = (view.clone(), &map);
            scope.spawn(move || {
                for (key, value) in map.iter().skip(skip).step_by(4) {
                    assert_eq!(&view.get(key).unwrap(), value);
                }
            });
        }
    });
}

#[test]
fn what_is_named_is_durable_before_it_is_named() {
    let machine = Memory::default();
    let run = write(&machine, &records(3));
    replace_current(&machine, dir(), &current(vec![run])).unwrap();
    let name = format!("sync {}", run.id.file_name());
    let log = machine.log.lock().unwrap().clone();
    assert_eq!(log, [&*name, "sync index", "sync CURRENT.new", "rename to CURRENT", "sync index"]);
}

#[test]
fn runs_that_are_not_named_go_and_nothing_else_does() {
    let machine = Memory::default();
    let old = index(&machine, &[records(10)]);
    let kept = current(vec![write(&machine, &records(20))]);
    replace_current(&machine, dir(), &kept).unwrap();
    machine.set(Path::new("/index/notes.run"), b"mine");
    machine.set(Path::new("/index/CURRENT.new"), b"left over");
    assert_eq!(remove_unnamed(&machine, dir(), Some(&kept)).unwrap(), 1);
    assert_eq!(machine.names().len(), 4);
    // A run that was open stays readable, and a reopened index shares what is still there.
    assert_eq!(old.range(b"").count(), 10);
    let (new, _) = old.reopen(&machine, dir()).unwrap().unwrap();
    let (again, _) = new.reopen(&machine, dir()).unwrap().unwrap();
    assert!(Arc::ptr_eq(&new.runs()[0], &again.runs()[0]));
    replace_current(&machine, dir(), &current(Vec::new())).unwrap();
    assert!(Index::open(&machine, dir()).unwrap().unwrap().0.runs().is_empty());
}

#[test]
fn a_writer_that_fails_or_is_dropped_leaves_no_file() {
    let machine = Memory::default();
    let mut writer = RunWriter::create(&machine, dir(), 10).unwrap();
    writer.add(b"a", None).unwrap();
    machine.full.store(true, Ordering::Relaxed);
    assert_eq!(writer.finish().unwrap_err().kind(), ErrorKind::NoSpace);
    assert!(machine.names().is_empty());
    drop(RunWriter::create(&machine, dir(), 10).unwrap());
    assert!(machine.names().is_empty());
}
