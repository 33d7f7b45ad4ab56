//! Whatever becomes of the files: the right answer, or `Damaged` with the name of the file.

use super::*;

/// A small run with every kind of page, values long enough to make a few leaves.
fn small() -> Map {
    let entry = |n: u32| {
        let value = (!n.is_multiple_of(7)).then(|| vec![n as u8; 150]);
        (format!("t/{n:04}").into_bytes(), value)
    };
    (0..60).map(entry).collect()
}

fn expect_damaged(error: &Error, file: &str) {
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    assert!(error.to_string().contains(file), "{error} names {file}");
}

/// Opens the index and asks for everything: whatever is answered is right. Says whether anything was wrong.
fn ask(machine: &Memory, map: &Map, file: &str) -> bool {
    let (index, _) = match Index::open(machine, dir()) {
        Ok(opened) => opened.unwrap(),
        Err(error) => {
            expect_damaged(&error, file);
            return true;
        }
    };
    let mut bad = false;
    let absent = (0..60).map(|n| format!("t/{n:04}x").into_bytes());
    for key in map.keys().cloned().chain(absent) {
        match index.get(&key) {
            Ok(found) => assert_eq!(found, map.get(&key).cloned()),
            Err(error) => {
                expect_damaged(&error, file);
                bad = true;
            }
        }
    }
    let mut expected = map.iter();
    for row in index.range(b"") {
        match row {
            Ok((key, value)) => assert_eq!(expected.next(), Some((&key, &value))),
            Err(error) => {
                expect_damaged(&error, file);
                return true;
            }
        }
    }
    assert_eq!(expected.next(), None);
    bad
}

#[test]
fn every_flipped_byte_of_a_run_is_harmless_or_found() {
    let (machine, map) = (Memory::default(), small());
    let index = index(&machine, std::slice::from_ref(&map));
    let meta = index.runs()[0].meta();
    let path = dir().join(meta.id.file_name());
    let good = machine.bytes(&path);
    assert!(good.len() > 2 * RUN_PAGE_BYTES, "more than one leaf");
    let mut unseen = Vec::new();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        machine.set(&path, &bad);
        let found = ask(&machine, &map, &meta.id.file_name());
        let run = Run::open(&machine, dir(), &meta).map(Arc::new).and_then(|run| run.check());
        if run.is_ok() {
            unseen.push(at);
        }
        assert!(found || run.is_err() || good[at] == 0, "byte {at}");
    }
    // Only the zeros between the last page and the filter belong to nothing.
    assert!(unseen.len() < 64 && unseen.windows(2).all(|w| w[1] == w[0] + 1), "{unseen:?}");
}

#[test]
fn every_cut_of_a_run_and_of_current_is_found() {
    let (machine, map) = (Memory::default(), small());
    let name = index(&machine, std::slice::from_ref(&map)).runs()[0].meta().id.file_name();
    for file in [&*name, "CURRENT"] {
        let path = dir().join(file);
        let good = machine.bytes(&path);
        for length in (0..good.len()).step_by(if good.len() > 1000 { 61 } else { 1 }) {
            machine.set(&path, &good[..length]);
            assert!(ask(&machine, &map, file), "{length} bytes of {file}");
        }
        machine.set(&path, &[good.clone(), vec![0]].concat());
        assert!(ask(&machine, &map, file));
        machine.set(&path, &good);
        assert!(!ask(&machine, &map, file));
    }
}

#[test]
fn garbage_zeros_and_the_bytes_of_another_run_are_found() {
    let (machine, map) = (Memory::default(), small());
    let name = index(&machine, std::slice::from_ref(&map)).runs()[0].meta().id.file_name();
    let path = dir().join(&name);
    let good = machine.bytes(&path);
    let other = machine.bytes(&dir().join(write(&machine, &map).id.file_name()));
    assert_eq!(good.len(), other.len());
    for bad in [vec![0; good.len()], vec![0xff; good.len()], other.clone()] {
        machine.set(&path, &bad);
        assert!(ask(&machine, &map, &name));
    }
    // Sectors of another run of the same content: a piece without any checksum is the same in both.
    let mut found = 0;
    for start in (0..good.len()).step_by(512) {
        let mut mixed = good.clone();
        let end = good.len().min(start + 512);
        mixed[start..end].copy_from_slice(&other[start..end]);
        machine.set(&path, &mixed);
        found += usize::from(ask(&machine, &map, &name));
    }
    assert!(found >= 4, "{found}");
}

#[test]
fn damage_under_an_open_run_is_found() {
    let (machine, map) = (Memory::default(), small());
    let index = index(&machine, std::slice::from_ref(&map));
    let path = dir().join(index.runs()[0].meta().id.file_name());
    machine.set(&path, &[]);
    expect_damaged(&index.get(b"t/0001").unwrap_err(), ".run");
    let mut rows = index.range(b"");
    expect_damaged(&rows.next().unwrap().unwrap_err(), ".run");
    assert!(rows.next().is_none());
    expect_damaged(&merge(&machine, dir(), index.runs(), &[]).unwrap_err(), ".run");
    assert_eq!(machine.names().len(), 2, "a merge that failed leaves nothing behind");
    let mut scan = View::new(Arc::new(index)).prefix(b"t/");
    expect_damaged(&scan.next().unwrap().unwrap_err(), ".run");
    assert!(scan.next().is_none());
}

#[test]
fn a_missing_current_is_none_and_a_missing_run_is_damage_only_while_it_is_named() {
    let machine = Memory::default();
    assert!(Index::open(&machine, dir()).unwrap().is_none());
    let gone = index(&machine, &[small()]).runs()[0].meta();
    machine.unlink(&dir().join(gone.id.file_name())).unwrap();
    expect_damaged(&Index::open(&machine, dir()).err().unwrap(), ".run");
    assert_eq!(Run::open(&machine, dir(), &gone).err().unwrap().kind(), ErrorKind::NotFound);
    let before = machine.bytes(&dir().join("CURRENT"));
    replace_current(&machine, dir(), &current(Vec::new())).unwrap();
    let error = Error::new(ErrorKind::NotFound, "open", "");
    assert_eq!(missing_for_good(&machine, dir(), &before, error).kind(), ErrorKind::NotFound);
}

#[test]
fn a_run_with_another_count_than_recorded_is_refused() {
    let machine = Memory::default();
    let meta = write(&machine, &small());
    let wrong = RunMeta { records: meta.records + 1, ..meta };
    expect_damaged(&Run::open(&machine, dir(), &wrong).err().unwrap(), ".run");
}
