//! Planted bugs: every defect that the library can be told to have is caught by the test that `docs/testing.md` names.
//!
//! `cargo test --features planted --test planted every_planted_bug_is_caught -- --exact --nocapture`
//!
//! The tests of other files are in this one, too: it starts itself once for each defect, with the one test that must
//! fail then, and once for each of those tests with no defect, so that no test is caught failing by itself.
#![allow(missing_docs, clippy::print_stdout)]

#[path = "engines/mod.rs"]
mod engines;
#[path = "kit/mod.rs"]
mod kit;

#[path = "format/chain.rs"]
mod chain;
#[path = "catalog/conformance.rs"]
mod conformance;
#[path = "catalog/differential.rs"]
mod differential;
#[path = "store/further_verbs.rs"]
mod further_verbs;
#[path = "store/hash_engine.rs"]
mod hash_engine;
#[path = "store/ledger_between_processes.rs"]
mod ledger_between_processes;
#[path = "store/ledger_stays_bounded.rs"]
mod ledger_stays_bounded;
#[path = "store/no_room.rs"]
mod no_room;
#[path = "promises/promise_1_acknowledged_is_durable.rs"]
mod promise_1_acknowledged_is_durable;
#[path = "promises/promise_2_a_digest_never_lies.rs"]
mod promise_2_a_digest_never_lies;
#[path = "promises/promise_3_collection_is_safe.rs"]
mod promise_3_collection_is_safe;
#[path = "promises/promise_3_trash.rs"]
mod promise_3_trash;
#[path = "promises/promise_4_the_index_can_be_lost.rs"]
mod promise_4_the_index_can_be_lost;
#[path = "promises/promise_5_damage_is_found_and_mended.rs"]
mod promise_5_damage_is_found_and_mended;
#[path = "promises/promise_5_scrub.rs"]
mod promise_5_scrub;
#[path = "promises/promise_6_trouble_is_an_answer.rs"]
mod promise_6_trouble_is_an_answer;
#[path = "promises/promise_7_it_stays_in_its_place.rs"]
mod promise_7_it_stays_in_its_place;
#[path = "store/sources_are_safe.rs"]
mod sources_are_safe;
#[path = "store/trees.rs"]
mod trees;
#[path = "store/trusted_sources.rs"]
mod trusted_sources;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use larder::vocabulary::planted::Bug;

/// Processor time that a test may take, in seconds: one that a defect keeps from ending has not caught it.
const SECONDS: u32 = 60;
/// At once.
const WORKERS: usize = 2;

/// A row of the table in `docs/testing.md`.
#[derive(Clone, Debug)]
struct Row {
    bug: String,
    place: String,
    test: String,
}

/// `| `Bug` | what | `src/place.rs` | `test` in `tests/file.rs` |`
fn rows() -> Vec<Row> {
    let text = read("docs/testing.md");
    let (_, table) = text.split_once("## Planted bugs").expect("it has the chapter");
    let lines = table.lines().take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with("| `"));
    lines.map(row).collect()
}

fn row(line: &str) -> Row {
    let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let [bug, _, place, test] = cells[..] else { panic!("a row has four cells: {line}") };
    let [test, file] = &quoted(test)[..] else { panic!("a test and its file: {line}") };
    let module = Path::new(file).file_stem().and_then(|stem| stem.to_str()).expect("a file");
    Row { bug: quoted(bug).concat(), place: quoted(place).concat(), test: format!("{module}::{test}") }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("it can be read")
}

#[test]
fn the_table_has_every_bug_and_the_place_of_each() {
    let listed: Vec<String> = rows().into_iter().map(|row| row.bug).collect();
    let all: Vec<String> = Bug::ALL.iter().map(|bug| format!("{bug:?}")).collect();
    assert_eq!(listed, all, "docs/testing.md has not each bug once, in their order");
    for row in rows() {
        assert!(read(&row.place).contains(&format!("Bug::{}", row.bug)), "{} is not in {}", row.bug, row.place);
    }
}

/// How one test went.
#[derive(Debug, PartialEq, Eq)]
enum Went {
    Passed,
    Failed(String),
    Otherwise(String),
}

fn run(test: &str, bug: Option<&str>) -> Went {
    let this = std::env::current_exe().expect("it has a path");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -t \"$0\" && exec \"$@\"", &SECONDS.to_string()]).arg(this);
    command.args([test, "--exact", "--test-threads=1"]).env_remove("LARDER_LONG").env_remove("LARDER_SEED");
    command.env_remove("LARDER_PLANT").env("RUST_BACKTRACE", "0").envs(bug.map(|bug| ("LARDER_PLANT", bug)));
    let output = command.output().expect("it can be started");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let why = text.lines().skip_while(|line| !line.contains("panicked at")).nth(1).unwrap_or("").to_owned();
    match output.status.code() {
        Some(0) if text.contains("1 passed") => Went::Passed,
        Some(101) if text.contains("1 failed") => Went::Failed(why),
        _ => Went::Otherwise(format!("{}: {why}", output.status)),
    }
}

/// Runs each, some at once, and gives them back in their order with what came of them.
fn run_all(what: &[(String, Option<String>)]) -> Vec<Went> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Went)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some((test, bug)) = what.get(at) else { return };
                    let began = Instant::now();
                    let went = run(test, bug.as_deref());
                    let bug = bug.as_deref().unwrap_or("nothing planted");
                    println!("{:5.1} s  {bug:20} {test}: {went:?}", began.elapsed().as_secs_f64());
                    done.lock().unwrap().push((at, went));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, went)| went).collect()
}

#[test]
fn every_planted_bug_is_caught() {
    let began = Instant::now();
    let only = std::env::var("LARDER_PLANTED_ONLY").ok();
    let rows: Vec<Row> = rows().into_iter().filter(|row| only.as_ref().is_none_or(|only| only == &row.bug)).collect();
    let tests: BTreeSet<&String> = rows.iter().map(|row| &row.test).collect();
    let mut what: Vec<(String, Option<String>)> = tests.into_iter().map(|test| (test.clone(), None)).collect();
    let sound = what.len();
    what.extend(rows.iter().map(|row| (row.test.clone(), Some(row.bug.clone()))));
    let went = run_all(&what);
    let wrong = |at: usize| if at < sound { went[at] != Went::Passed } else { !matches!(went[at], Went::Failed(_)) };
    let wrong: Vec<_> = (0..what.len()).filter(|at| wrong(*at)).map(|at| (&what[at], &went[at])).collect();
    println!("{} bugs, {} tests, {:.0} s", rows.len(), sound, began.elapsed().as_secs_f64());
    assert!(wrong.is_empty(), "survived, or failed by themselves: {wrong:#?}");
}
