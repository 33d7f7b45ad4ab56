//! Manifests into a simulated store.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::hashing::Digests;
use crate::ledger::Tables;
use crate::machine::simulated::{CallKind, Enumeration, Fault, Images, Simulated, World, errno};
use crate::vocabulary::{Digest, Prefix, Query, Silent, State, Trust};
use crate::work::catalog::find;
use crate::work::collect::{CollectOptions, collect};
use crate::work::export::export;
use crate::work::fixture::{Fixture, Heard, n};

fn simulated(world: &World) -> Fixture {
    Fixture::new(world.process("test"), Path::new("/store"))
}

fn again(machine: Arc<Simulated>) -> Fixture {
    Fixture::open(machine, Path::new("/store"))
}

fn of(bytes: &[u8]) -> Digest {
    Digests::of(bytes).digest
}

fn options(files: Files) -> ImportOptions {
    ImportOptions { files, root: Some("/data".into()), ..ImportOptions::default() }
}

/// Imports lines, and gives back what was told as well.
fn told(store: &Fixture, text: &str, options: &ImportOptions) -> (ImportReport, Vec<Event>) {
    let heard = Heard::default();
    let mut input = BufReader::with_capacity(64, text.as_bytes());
    let report = import(&store.ctx(), Input::Lines(&mut input), options, &heard).unwrap();
    (report, heard.events.into_inner().unwrap())
}

fn run(store: &Fixture, text: &str, options: &ImportOptions) -> ImportReport {
    told(store, text, options).0
}

fn entries(store: &Fixture) -> BTreeMap<String, crate::vocabulary::Entry> {
    let mut found = BTreeMap::new();
    find::list(&store.ctx(), &Query::default(), &mut |entry| {
        found.insert(entry.card.key.reference().to_owned(), entry);
        Ok(())
    })
    .unwrap();
    found
}

fn names(store: &Fixture) -> Vec<String> {
    let now = store.ledger.snapshot().unwrap();
    now.aliases(&Prefix::Everything).map(|row| row.unwrap().0.to_string()).collect()
}

fn bad_lines(events: &[Event]) -> Vec<(u64, &'static str)> {
    let bad = |event: &Event| match event {
        Event::BadLine { line, kind, .. } => Some((*line, *kind)),
        _ => None,
    };
    events.iter().filter_map(bad).collect()
}

/// A line of a document whose file is at `path`, and should have these bytes.
fn line(artifact: &str, path: &str, bytes: &[u8]) -> String {
    let digest = of(bytes).to_hex();
    format!(
        r#"{{"artifact_id":"{artifact}","url":"https://h/{artifact}.pdf","resolver":"r","status":"success","sha256":"{digest}","path":"{path}"}}"#
    )
}

fn world() -> World {
    let world = World::new(1);
    world.put_dir("/data");
    world.put_dir("/data/pdf");
    world.put("/data/pdf/a", b"aaa");
    world.put("/data/pdf/b", b"bbb");
    world
}

#[test]
fn good_lines_are_registered_and_bad_ones_told_with_their_numbers() {
    let store = simulated(&world());
    let failed = r#"{"artifact_id":"x","status":"failed"}"#;
    let text = [&line("a", "pdf/a", b"aaa"), "", "{bad", failed, &line("b", "pdf/b", b"bbb"), "[]"].join("\n");
    let (report, events) = told(&store, &text, &options(Files::Leave));
    let wanted = ImportReport { lines: 5, registered: 2, skipped: 1, bad: 2, ..ImportReport::default() };
    assert_eq!(report, wanted);
    assert_eq!(bad_lines(&events), [(3, "line"), (6, "line")]);
    let found = entries(&store);
    let entry = &found["a"];
    assert_eq!((entry.card.state, entry.card.trust), (State::Pending, Trust::Unverified));
    assert_eq!((entry.variants[0].expected, entry.variants[0].digest), (Some(of(b"aaa")), None));
    assert_eq!(entry.variants[0].uri, "file:///data/pdf/a");
    // Again: nothing happens. Added to, or refused: as asked.
    assert_eq!(run(&store, &text, &options(Files::Leave)).kept, 2);
    assert_eq!(entries(&store), found);
    let merge = ImportOptions { if_there: IfThere::Merge, ..options(Files::Hash) };
    let report = run(&store, &text, &merge);
    assert_eq!((report.merged, report.files), (2, 2));
    assert_eq!(entries(&store)["a"].card.state, State::Active);
    let refuse = ImportOptions { if_there: IfThere::Refuse, ..options(Files::Leave) };
    assert_eq!(run(&store, &text, &refuse).bad, 4);
    // A dry run says the same, and does nothing.
    let fresh = simulated(&world());
    let dry = ImportOptions { dry_run: true, ..options(Files::Adopt(TakeIn::Link)) };
    let twice = format!("{}\n{}", line("a", "pdf/a", b"aaa"), line("a", "pdf/a", b"aaa"));
    let report = run(&fresh, &twice, &dry);
    assert_eq!((report.registered, report.kept, report.files), (1, 1, 0));
    assert!(entries(&fresh).is_empty());
}

#[test]
fn files_are_hashed_where_they_are_and_held_against_the_manifest() {
    let store = simulated(&world());
    let text = [line("a", "pdf/a", b"aaa"), line("b", "pdf/b", b"other"), line("c", "pdf/c", b"ccc")].join("\n");
    let (report, events) = told(&store, &text, &options(Files::Hash));
    assert_eq!((report.registered, report.mismatched, report.failed, report.files), (2, 1, 1, 2));
    assert_eq!(bad_lines(&events).iter().filter(|(_, kind)| *kind == "mismatch").count(), 1);
    let found = entries(&store);
    assert!(!found.contains_key("c"), "what cannot be read is not registered: {found:?}");
    assert_eq!((found["a"].card.state, found["a"].card.trust), (State::Active, Trust::Verified));
    assert_eq!((found["b"].card.state, found["b"].digest()), (State::Failed, Some(of(b"bbb"))));
    assert_eq!(found["b"].variants[0].uri, "file:///data/pdf/b");
    let evidence = found["b"].card.evidence.as_ref().unwrap();
    assert_eq!((evidence.by.as_str(), evidence.expected), ("import", Some(of(b"other"))));
}

/// Another name is for files whose own name means other bytes, and not for those that cannot be taken in.
#[test]
fn a_file_that_cannot_be_taken_in_is_told_and_gets_no_other_name() {
    for kind in [CallKind::SetMtime, CallKind::Write, CallKind::Create] {
        let world = world();
        let store = simulated(&world);
        let text = [line("a", "pdf/a", b"aaa"), line("b", "pdf/b", b"bbb")].join("\n");
        world.fail(Fault::errno(errno::EPERM).kind(kind).path(|path| path.starts_with("/store/staging/")).nth(2));
        let report = run(&store, &text, &options(Files::Adopt(TakeIn::Copy)));
        world.clear_faults();
        assert_eq!((report.registered + report.failed, report.bad), (2, 0), "{kind:?}: {report:?}");
        assert!(names(&store).iter().all(|name| !name.contains('-')), "{kind:?}: {:?}", names(&store));
        // Once it can be, it gets its own.
        run(&store, &text, &options(Files::Adopt(TakeIn::Copy)));
        assert_eq!(names(&store), ["a/a.pdf", "b/b.pdf"], "{kind:?}");
    }
}

/// Two entries may be about one file: what becomes of it under one name is nothing to the other.
#[test]
fn a_file_of_two_entries_is_taken_in_under_the_name_of_each() {
    let world = world();
    let store = simulated(&world);
    store.add("b/b.pdf", b"other bytes", true);
    let both = [line("a", "pdf/a", b"aaa"), line("b", "pdf/a", b"aaa")];
    for text in [both.join("\n"), both.iter().rev().cloned().collect::<Vec<_>>().join("\n")] {
        let merge = ImportOptions { if_there: IfThere::Merge, ..options(Files::Adopt(TakeIn::Copy)) };
        let report = run(&store, &text, &merge);
        assert_eq!((report.failed, report.bad), (0, 0), "{report:?}");
        let (names, same) = (names(&store), |name: &&String| store.means(name) == Some(of(b"aaa")));
        assert_eq!(names.len(), 3, "{names:?}");
        assert_eq!(names.iter().filter(same).count(), 2, "{names:?}");
    }
}

/// Nor does it get another name where its own means its bytes already.
#[test]
fn a_file_that_cannot_be_read_again_keeps_the_name_that_it_has() {
    let world = world();
    let store = simulated(&world);
    let text = line("a", "pdf/a", b"aaa");
    let merge = ImportOptions { if_there: IfThere::Merge, ..options(Files::Adopt(TakeIn::Copy)) };
    run(&store, &text, &merge);
    // What is read with others is read once more alone.
    for nth in [1, 2] {
        world
            .fail(Fault::errno(errno::EIO).kind(CallKind::Read).path(|path| path == Path::new("/data/pdf/a")).nth(nth));
    }
    let report = run(&store, &text, &merge);
    world.clear_faults();
    assert_eq!((report.failed, names(&store)), (1, vec!["a/a.pdf".to_owned()]), "{report:?}");
    assert_eq!(run(&store, &text, &merge).failed, 0);
    assert_eq!(names(&store), ["a/a.pdf"]);
}

#[test]
fn files_are_taken_in_and_kept() {
    let world = world();
    world.put("/data/c", b"ccc");
    world.put_dir("/data/model");
    world.put_dir("/data/model/sub");
    world.put("/data/model/sub/1.gguf", b"one");
    world.put("/data/model/2.gguf", b"two");
    let store = simulated(&world);
    // Two documents of one name with other bytes, one with the same bytes again, and a directory.
    let other = line("a", "c", b"ccc").replace("\"resolver\":\"r\"", "\"resolver\":\"s\"");
    let same = line("a", "pdf/a", b"aaa").replace("\"resolver\":\"r\"", "\"resolver\":\"t\"");
    let model = r#"{"provider":"hf","reference":"org/repo","local_path":"/data/model"}"#;
    let text = [&line("a", "pdf/a", b"aaa"), &other, &same, model].map(str::to_owned).join("\n");
    let (report, events) = told(&store, &text, &options(Files::Adopt(TakeIn::Link)));
    assert_eq!((report.registered, report.findings(), report.files), (4, 0, 5), "{events:?}");
    assert_eq!(store.means("a/a.pdf"), Some(of(b"aaa")));
    let inode = |path: &str| world.look(path).unwrap().inode;
    assert_eq!(inode("/data/pdf/a"), inode("/store/names/a/a.pdf"), "by link");
    let by_resolver = |resolver: &str| {
        let key = Key::document("a", "https://h/a.pdf", resolver).unwrap();
        find::get(&store.ctx(), &key).unwrap().unwrap()
    };
    let renamed = by_resolver("s").variants[0].alias.clone().unwrap();
    assert_eq!(store.means(&renamed.to_string()), Some(of(b"ccc")));
    assert!(renamed.to_string().starts_with("a/") && renamed.to_string().ends_with("-a.pdf"), "{renamed}");
    assert_eq!(by_resolver("t").digest(), Some(of(b"aaa")));
    let model = &entries(&store)["org/repo"];
    let names: Vec<&str> = model.variants.iter().map(|variant| variant.name.as_str()).collect();
    assert_eq!((names, model.card.trust), (vec!["2.gguf", "sub/1.gguf"], Trust::Warned));
    assert_eq!(store.means("hf/org/repo/sub/1.gguf"), Some(of(b"one")));
    assert_eq!(run(&store, &text, &options(Files::Adopt(TakeIn::Link))).kept, 4);
}

#[test]
fn nothing_outside_of_the_root_is_touched() {
    let world = world();
    world.put("/secret", b"secret");
    world.put_dir("/data/deep");
    world.put_symlink("/secret", "/data/link");
    world.put_symlink("/", "/data/deep/all");
    let store = simulated(&world);
    for path in
        ["../secret", "pdf/../../secret", "/secret", "link", "deep/all/secret", "/data/../secret", "file:///secret"]
    {
        for files in [Files::Hash, Files::Adopt(TakeIn::Move), Files::Adopt(TakeIn::Copy)] {
            let (report, events) = told(&store, &line("a", path, b"secret"), &options(files));
            assert_eq!((report.failed, report.registered), (1, 0), "{path} {files:?}: {events:?}");
        }
    }
    // Nor does it say what is there.
    for path in ["/nothing", "/secret", "/secret/x"] {
        let (_, events) = told(&store, &line("a", path, b"secret"), &options(Files::Hash));
        let Event::BadLine { reason, .. } = &events[0] else { panic!("{events:?}") };
        assert!(reason.contains("is outside of"), "{path}: {reason}");
    }
    assert_eq!(world.read("/secret").unwrap(), b"secret");
    assert!(entries(&store).is_empty());
    // On record is only what the line says, and never a path that climbs.
    let report = run(&store, &line("a", "../secret", b"secret"), &options(Files::Leave));
    assert_eq!((report.failed, report.registered), (1, 0));
    assert_eq!(run(&store, &line("a", "/elsewhere", b"x"), &options(Files::Leave)).registered, 1);
}

#[test]
fn what_the_store_has_is_kept_by_what_is_imported() {
    let store = simulated(&world());
    let digest = store.add("x", b"aaa", true);
    run(&store, &line("a", "pdf/nowhere", b"aaa"), &options(Files::Leave));
    let entry = &entries(&store)["a"];
    assert_eq!((entry.digest(), entry.variants[0].alias.clone()), (Some(digest), Some(n("x"))));
    assert_eq!(entry.variants[0].uri, format!("larder:{digest}"));
    assert_eq!(entry.card.state, State::Pending, "nobody has hashed it now");
}

#[test]
fn a_catalog_of_models_is_read_with_the_files_beside_it() {
    let world = world();
    world.put("/data/llama.gguf", b"weights");
    let store = simulated(&world);
    let digest = of(b"weights").to_hex();
    let text = format!(
        r#"{{"version":1,"models":[{{"id":"llama","name":"Llama","source":"https://h/x","digest":"{digest}","state":"Retired"}},
        17,{{"id":"other","source":"https://h/y","state":"Pending"}}],"more":[[1]]}}"#
    );
    let mut input = text.as_bytes();
    let heard = Heard::default();
    let read = import(&store.ctx(), Input::CatalogJson(&mut input), &options(Files::Adopt(TakeIn::Link)), &heard);
    let report = read.unwrap();
    assert_eq!((report.lines, report.registered, report.bad, report.files), (3, 2, 1, 1));
    assert_eq!(bad_lines(&heard.events.into_inner().unwrap()), [(2, "line")]);
    let found = entries(&store);
    assert_eq!((found["llama"].card.state, found["llama"].card.trust), (State::Retired, Trust::Verified));
    assert_eq!(store.means("catalog/llama/llama.gguf"), Some(of(b"weights")));
    for (text, kind) in
        [("{}", ErrorKind::Invalid), ("[1]", ErrorKind::Invalid), ("{\"models\":[{\"id\":", ErrorKind::Invalid)]
    {
        let mut input = text.as_bytes();
        let read = import(&store.ctx(), Input::CatalogJson(&mut input), &options(Files::Leave), &Silent);
        assert_eq!(read.unwrap_err().kind(), kind, "{text}");
    }
    assert_eq!(Format::of(b" {\n \"models\" : [ "), Format::CatalogJson);
    assert_eq!(Format::of(b"{\"artifact_id\":1}"), Format::Lines);
    assert_eq!(Format::of(b"SQLite format 3\0"), Format::Sqlite);
}

#[test]
fn what_is_exported_is_imported_as_equal_entries() {
    let store = simulated(&world());
    let text =
        [line("a", "pdf/a", b"aaa"), line("b", "pdf/b", b"other"), r#"{"provider":"hf","reference":"m"}"#.into()];
    run(&store, &text.join("\n"), &options(Files::Adopt(TakeIn::Copy)));
    let key = entries(&store)["a"].card.key.clone();
    crate::work::catalog::register::touch(&store.ctx(), &key).unwrap();
    let mut lines = Vec::new();
    let report = export(&store.ctx(), &Query::default(), &mut lines, &Silent).unwrap();
    assert_eq!((report.entries, report.bytes), (3, lines.len() as u64));
    let elsewhere = simulated(&World::new(2));
    let lines = String::from_utf8(lines).unwrap();
    let keep = ImportOptions { files: Files::Leave, ..ImportOptions::default() };
    assert_eq!(run(&elsewhere, &lines, &keep).registered, 3);
    assert_eq!(entries(&elsewhere), entries(&store));
    assert_eq!(entries(&elsewhere)["a"].usage.count, 1);
    let mut again = Vec::new();
    export(&elsewhere.ctx(), &Query::default(), &mut again, &Silent).unwrap();
    assert_eq!(String::from_utf8(again).unwrap(), lines);
    // What names bytes that a store does not have does no harm there.
    let all = CollectOptions { grace: Duration::ZERO, orphan_ttl: Duration::ZERO, yes_most: true };
    collect(&elsewhere.ctx(), None, &all, &Silent).unwrap();
    crate::work::catalog::remove::remove(&elsewhere.ctx(), &key).unwrap();
}

#[test]
fn what_is_stopped_goes_on_with_the_same_import() {
    let store = simulated(&world());
    let text: Vec<String> = (0..2000).map(|i| format!(r#"{{"artifact_id":"d{i:04}"}}"#)).collect();
    let heard = Heard { stop_after: Some(700), ..Heard::default() };
    let mut input = text.join("\n");
    let first = import(&store.ctx(), Input::Lines(&mut input.as_bytes()), &options(Files::Leave), &heard).unwrap();
    assert!(first.interrupted && first.registered == 701, "{first:?}");
    assert_eq!(entries(&store).len(), 701);
    input.push('\n');
    let second = run(&store, &input, &options(Files::Leave));
    assert_eq!((second.kept, second.registered, second.interrupted), (701, 1299, false));
}

#[test]
fn an_import_that_takes_files_in_and_is_stopped_registers_what_is_whole() {
    let world = world();
    let store = simulated(&world);
    let text = [line("a", "pdf/a", b"aaa"), line("b", "pdf/b", b"bbb")].join("\n");
    for stop in 0..12 {
        let heard = Heard { stop_after: Some(stop), ..Heard::default() };
        let how = options(Files::Adopt(TakeIn::Link));
        let report = import(&store.ctx(), Input::Lines(&mut text.as_bytes()), &how, &heard).unwrap();
        assert_eq!(report.failed, 0, "{stop}: {report:?}");
        for entry in entries(&store).values() {
            assert_eq!(entry.card.state, State::Active, "{stop}");
        }
    }
    assert_eq!(run(&store, &text, &options(Files::Adopt(TakeIn::Link))).findings(), 0);
    assert_eq!(entries(&store).len(), 2);
}

/// Promises 1 and 3 for an import: what was told is there with its bytes; of each entry there is all or nothing; and the
/// same import goes on to the same end.
#[test]
fn importing_survives_a_crash_at_every_call_and_goes_on() {
    let world = world();
    drop(simulated(&world));
    let text = [line("a", "pdf/a", b"aaa"), "{bad".into(), line("b", "pdf/b", b"bbb")].join("\n");
    let how = options(Files::Adopt(TakeIn::Link));
    let workload = |machine: &Arc<Simulated>| {
        struct Notes<'a>(&'a Arc<Simulated>);
        impl Observer for Notes<'_> {
            fn event(&self, event: &Event) {
                if let Event::Imported { key, .. } = event {
                    self.0.note(&format!("imported {}", key.reference()));
                }
            }
        }
        let store = again(Arc::clone(machine));
        import(&store.ctx(), Input::Lines(&mut text.as_bytes()), &how, &Notes(machine)).unwrap();
    };
    let check = |world: &World, log: &crate::machine::simulated::Log| {
        let store = again(world.process("after"));
        let found = entries(&store);
        for (artifact, bytes) in [("a", b"aaa"), ("b", b"bbb")] {
            let entry = found.get(artifact);
            assert!(entry.is_some() || !log.noted(&format!("imported {artifact}")), "{artifact} was told and is gone");
            if let Some(entry) = entry {
                assert_eq!((entry.digest(), entry.card.state), (Some(of(bytes)), State::Active), "half an entry");
            }
        }
        // The files are the user's until they are blobs.
        for (path, bytes) in [("/data/pdf/a", b"aaa"), ("/data/pdf/b", b"bbb")] {
            assert_eq!(world.read(path).as_deref(), Some(&bytes[..]), "{path}");
        }
        let report = run(&store, &text, &how);
        assert_eq!((report.registered + report.kept, report.bad, report.failed), (2, 1, 0));
        let all = CollectOptions { grace: Duration::ZERO, orphan_ttl: Duration::ZERO, yes_most: true };
        collect(&store.ctx(), None, &all, &Silent).unwrap();
        for entry in entries(&store).values() {
            let digest = entry.digest().unwrap();
            assert!(store.inode(&store.ledger.layout.blob(&digest)).is_some(), "{digest} was collected");
        }
    };
    let cuts = Enumeration::new(13, &world).power_cuts(workload, |_, world, log| check(world, log));
    assert!(cuts.distinct > 30, "{cuts:?}");
    let kills = Enumeration::new(13, &world).kills(workload, |_, world, log| check(world, log));
    assert!(kills.calls > 30, "{kills:?}");
}

/// Whatever call fails, nothing is half registered, and the same import works once it does not fail any more.
#[test]
fn a_call_that_fails_leaves_no_half_entry() {
    let text = [line("a", "pdf/a", b"aaa"), line("b", "pdf/b", b"bbb")].join("\n");
    let world = world();
    drop(simulated(&world));
    let how = options(Files::Adopt(TakeIn::Copy));
    let workload = |machine: &Arc<Simulated>| {
        let store = again(Arc::clone(machine));
        import(&store.ctx(), Input::Lines(&mut text.as_bytes()), &how, &Silent).map(drop)
    };
    for always in [false, true] {
        let coverage = Enumeration::new(14, &world).failures(5, always, workload, |call, world, _| {
            // A sync that failed may have made the filesystem read-only: the machine is started again.
            let image = world.balance().images(Images::Basic).next().expect("there is one");
            // Another seed: the same numbers by chance would name the same session again.
            let world = image.world(!call);
            let store = again(world.process("after"));
            for entry in entries(&store).values() {
                assert_eq!(entry.card.state, State::Active);
            }
            let report = run(&store, &text, &how);
            assert_eq!((report.registered + report.kept, report.findings()), (2, 0));
        });
        assert!(coverage.calls > 40, "{coverage:?}");
    }
}
