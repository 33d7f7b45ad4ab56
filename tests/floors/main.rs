//! The floors of `docs/architecture.md`, held against the source.

mod paths;
mod rules;
mod tokens;

use std::fs;
use std::path::Path;

use rules::{Floor, Source, floors_of, objections, whole_of};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn document() -> String {
    fs::read_to_string(root().join("docs/architecture.md")).unwrap()
}

fn floors() -> Vec<Floor> {
    floors_of(&document())
}

fn sources(directory: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let below = path.strip_prefix(root().join("src")).unwrap().to_str().unwrap().to_owned();
            found.push((below, fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn the_source_keeps_to_its_floors() {
    let mut all = Vec::new();
    sources(&root().join("src"), &mut all);
    assert!(all.len() > 50, "only {} files were found", all.len());
    let broken = objections(&floors(), &whole_of(&document()), &all);
    assert!(broken.is_empty(), "{} objections:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn the_table_is_read() {
    let names: Vec<String> = floors().into_iter().map(|floor| floor.name).collect();
    let expected = ["vocabulary", "machine", "hashing", "format", "parts", "ledger", "work", "front", "program"];
    assert_eq!(names, expected);
    let machine = &floors()[1];
    assert_eq!(machine.modules, ["machine"]);
    assert!(machine.may_name.contains(&"unsafe".to_owned()) && machine.may_name.contains(&"std::fs".to_owned()));
}

/// A crate in which every module of the floors exists and names nothing, with these files in it.
fn planted(files: &[(&str, &str)]) -> Vec<String> {
    let floors = floors();
    let mut all: Vec<Source> = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    all.push(("lib.rs".into(), "pub use vocabulary::Name; pub use store::{Store, Shared as Sharing};".into()));
    for module in floors.iter().flat_map(|floor| &floor.modules) {
        let path = format!("{module}/mod.rs");
        if !all.iter().any(|(there, _)| *there == path || *there == format!("{module}.rs")) {
            all.push((path, String::new()));
        }
    }
    objections(&floors, &whole_of(&document()), &all)
}

/// Fails if anything is objected to.
fn accepted(files: &[(&str, &str)]) {
    let found = planted(files);
    assert!(found.is_empty(), "{found:#?}");
}

/// Fails unless exactly one thing is objected to, in these words.
fn objected(files: &[(&str, &str)], words: &str) {
    let found = planted(files);
    assert!(found.len() == 1 && found[0].contains(words), "{words:?} is not all of {found:#?}");
}

#[test]
fn imports_downward_are_fine() {
    let work =
        "use crate::{ledger::Ledger, parts::{blobs, journal::Cursor}};\nfn f(x: crate::Name, y: super::Context) {}";
    let quiet = "//! use crate::work;\n/* crate::work::find */ const S: &str = \"crate::work::find\";\n\
                 const R: &str = r#\"crate::store \" \"#; fn f<'a>(c: char) -> bool { c == '\"' || c == '\\'' }";
    let files = [("work/find.rs", work), ("format/frame.rs", quiet), ("parts/blobs.rs", ""), ("parts/journal.rs", "")];
    accepted(&files);
}

#[test]
fn imports_upward_are_objected_to_however_they_are_written() {
    let above = "of the floor work above it";
    for text in [
        "use crate::work::find;",
        "use crate::{\n    vocabulary::Name,\n    work::{find::{self, list}},\n};",
        "pub use crate::work::find::*;",
        "fn f() { crate::work::find::list::<u8>() }",
        "fn f() { let '{' = c else { larder::work::find::list() }; }",
        "use super::super::work::find as harmless;",
        "fn f(x: Vec<crate::work::find::Info>) {}",
    ] {
        let found = planted(&[("format/frame.rs", text), ("work/find.rs", "")]);
        assert!(!found.is_empty() && found.iter().all(|words| words.contains(above)), "{text}: {found:#?}");
    }
    objected(&[("work/names.rs", "\n\nuse crate::Store;")], "src/work/names.rs:3: work names store");
    objected(&[("hashing/file.rs", "use crate::format::frame;")], "of the floor format above it");
}

#[test]
fn what_only_tests_see_may_name_anything() {
    let text = "#[cfg(test)]\nmod tests { use crate::work::find; fn f() { unsafe {} } }\n#[cfg(test)]\nmod fixture;";
    let fixture = "use crate::store::Store; use std::fs;";
    accepted(&[("format/mod.rs", text), ("format/fixture.rs", fixture)]);
    let both = "#[cfg(not(test))]\nuse crate::work::find;";
    objected(&[("format/frame.rs", both)], "of the floor work above it");
}

#[test]
fn parts_do_not_know_each_other() {
    let files = [("parts/blobs.rs", "use super::journal::Journal;"), ("parts/journal/mod.rs", "")];
    objected(&files, "blobs names journal");
    let own = [("parts/journal/chain.rs", "use super::Journal;"), ("parts/journal/mod.rs", "pub use chain::Chain;")];
    accepted(&own);
}

#[test]
fn circles_are_found() {
    let two = [("work/find.rs", "use super::names;"), ("work/names.rs", "use super::find::list;")];
    objected(&two, "work::find -> work::names -> work::find");
    let one_state = [("machine/simulated/a.rs", "use super::b;"), ("machine/simulated/b.rs", "use super::a;")];
    accepted(&one_state);
    let three = [
        ("ledger/a.rs", "use super::b;"),
        ("ledger/b.rs", "use crate::ledger::c::deep;"),
        ("ledger/c/mod.rs", "pub mod deep;"),
        ("ledger/c/deep.rs", "fn f() { super::super::a::f() }"),
    ];
    objected(&three, "a circle of imports: ledger::a -> ledger::b -> ledger::c::deep -> ledger::a");
}

#[test]
fn the_world_outside_is_named_only_where_it_may_be() {
    for (thing, text) in [
        ("std::fs", "use std::{io, fs::File};"),
        ("std::fs", "fn f() { std::fs::read(p) }"),
        ("nix", "use nix::unistd;"),
        ("libc", "fn f() { libc::getpid() }"),
        ("memmap2", "use memmap2::Mmap;"),
        ("Instant::now", "use std::time::Instant; fn f() { Instant::now() }"),
        ("SystemTime::now", "fn f() { std::time::SystemTime::now() }"),
        ("std::thread", "use std::thread;"),
        ("std::env", "fn f() { std::env::var(x) }"),
        ("unsafe", "fn f() { unsafe { g() } }"),
    ] {
        objected(&[("work/find.rs", text)], &format!("work may not name {thing}"));
        let in_program = planted(&[("cli/find.rs", text)]);
        let mays = ["Instant::now", "SystemTime::now", "std::thread", "std::env"];
        assert_eq!(in_program.is_empty(), mays.contains(&thing), "{in_program:#?}");
    }
    accepted(&[("machine/real.rs", "use std::fs; fn f() { unsafe { libc::f() } }")]);
}

#[test]
fn every_file_is_on_a_floor_and_every_floor_has_files() {
    objected(&[("attic.rs", "")], "src/attic.rs: is on no floor");
    let mut floors = floors();
    floors[0].modules.push("cellar".into());
    let found = objections(&floors, &[], &[]);
    assert!(found.iter().any(|words| words.contains("cellar, which does not exist")), "{found:#?}");
}
