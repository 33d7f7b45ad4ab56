//! What the documents name exists: files, links, commands, options, items and tests; and one thing has one word.
#![allow(missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Words that the documents do not use, and the one that they use instead. Matched without regard to case, as whole
/// words.
const SYNONYMS: [(&str, &str); 20] = [
    ("repository directory", "store directory"),
    ("object store", "blob store"),
    ("content hash", "digest"),
    ("sha256sum of the blob", "digest"),
    ("checksum of the blob", "digest"),
    ("write-ahead log", "journal"),
    ("WAL file", "journal"),
    ("transaction log", "journal"),
    ("SSTable", "run"),
    ("memtable", "tail"),
    ("symlinked alias", "alias"),
    ("garbage collector", "collect, gc"),
    ("tombstoned blob", "condemned"),
    ("soft-deleted", "condemned"),
    ("lost+found", "quarantine"),
    ("temp dir", "staging"),
    ("deduped", "kept once; a dedup hit"),
    ("fsck", "verify"),
    ("grace period", "grace"),
    ("blazing", "a number"),
];

/// Where a foreign tool has one of those words as its name.
const FOREIGN: [(&str, &str); 2] = [("README.md", "fsck"), ("docs/performance.md", "fsck")];

/// What the program and the source have, for documents to name.
#[derive(Default)]
struct Known {
    /// Files and directories of the repository, relative.
    paths: BTreeSet<String>,
    /// Commands, each with its options; the empty one is `larder` itself.
    commands: BTreeMap<String, BTreeSet<String>>,
    /// Options of other programs that documents may name.
    foreign_options: BTreeSet<String>,
    /// Every name that a file declares: functions, types, constants, modules, methods, variants, fields.
    names: BTreeMap<String, BTreeSet<String>>,
    /// Types that a file declares or has methods of.
    types: BTreeMap<String, BTreeSet<String>>,
    /// Paths of modules of the library, as `format::frame`.
    modules: BTreeSet<String>,
    /// Functions of each file.
    functions: BTreeMap<String, BTreeSet<String>>,
}

/// It is measured by hand (R165): whoever measures less has to say so here.
#[test]
fn the_figure_of_line_coverage_is_above_its_goal() {
    let testing = fs::read_to_string("docs/testing.md").unwrap();
    let figure = testing.split("lines covered: ").nth(1).and_then(|rest| rest.split(" %").next()).expect("a figure");
    let percent: f64 = figure.parse().expect("a number");
    assert!(percent > 95.0 && percent <= 100.0, "{percent} %");
}

#[test]
fn everything_that_the_documents_name_is_there() {
    let known = Known::read();
    let mut wrong = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(root().join(&document)).unwrap();
        wrong.extend(known.check(&document, &text));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Of every kind of mistake one is planted, and found; and the right thing beside it is not.
#[test]
fn each_kind_of_mistake_is_found() {
    let known = Known::read();
    for (right, wrong) in [
        ("see `src/format/frame.rs`", "see `src/format/frames.rs`"),
        ("see src/format/frame.rs.", "see src/format/frames.rs."),
        ("all of `src/format/*.rs`", "all of `src/formats/*.rs`"),
        ("`docs/format.md`", "`docs/formats.md`"),
        ("[x](format.md)", "[x](formats.md)"),
        ("[x](../README.md)", "[x](../READYOU.md)"),
        ("[x](format.md#the-chain)", "[x](format.md#the-chains)"),
        ("[x](#kinds)\n\n## Kinds\n", "[x](#kind)\n\n## Kinds\n"),
        ("`larder verify --quarantine`", "`larder verify --quarantined`"),
        ("`larder verify --json`", "`larder verify --replace`"),
        ("`larder debug frames`", "`larder debug fames`"),
        ("`larder gc`", "`larder collect`"),
        ("```\nlarder --store x add y\n```", "```\nlarder --store x ad y\n```"),
        ("`--verify-existing`", "`--verify-existence`"),
        ("cargo test `--no-run`", "cargo test `--no-runs`"),
        ("`format::frame`", "`format::frames`"),
        ("`Ledger::hold`", "`Ledger::held`"),
        ("`Tx::note_if_unrooted`", "`Tx::note_if_rooted`"),
        ("`format::frame::FRAME_ALIGN`", "`format::frame::FRAME_ALIGNED`"),
        ("`format::hint::tests::a_torn_hint_is_no_hint`", "`format::frame::tests::a_torn_hint_is_no_hint`"),
        ("tests/format/bytes.rs: `the_settings_are_this_text`", "tests/format/chain.rs: `the_settings_are_this_text`"),
        (
            "tests/format/bytes.rs:\n  `the_settings_are_this_text`, `current_is_these_bytes`",
            "tests/format/bytes.rs: `the_settings_are_this_text`,\n  `current_is_those_bytes`",
        ),
        ("`add_survives_a_kill_at_every_call`", "`add_survives_a_kill_at_some_calls`"),
        ("`FRAME_RECORDS`", "`FRAME_RECORD`"),
        ("the journal", "the write-ahead log"),
        ("`larder gc` waits for its grace", "`larder gc` waits for its Grace\nPeriod"),
    ] {
        assert_eq!(known.check("docs/x.md", right), Vec::<String>::new(), "{right}");
        assert_ne!(known.check("docs/x.md", wrong), Vec::<String>::new(), "nothing is found in: {wrong}");
    }
}

/// Commands that change neither a store nor files outside it: no crash in them leaves anything. Nor does one that leaves a
/// page of a manual half written.
const READING: [&str; 19] = [
    "ls",
    "show",
    "where",
    "why",
    "why-gone",
    "stats",
    "ingest ls",
    "debug",
    "debug frames",
    "debug runs",
    "catalog check",
    "config get",
    "config show",
    "trash ls",
    "dedup-report",
    "search",
    "catalog stats",
    "completions",
    "man",
];

#[test]
fn each_promise_has_its_chapter_and_each_row_its_test() {
    let known = Known::read();
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let text = fs::read_to_string(root().join("docs/durability.md")).unwrap();
    assert_eq!(known.crashes(&readme, &text), Vec::<String>::new());
    for (right, wrong) in [
        ("### Promise 3: collection is safe", "### Promise 3: collection is careful"),
        ("### Promise 7:", "### Promise 8:"),
        ("`taking_in_by_link_never_loses_a_source`", "`taking_in_by_link_always_loses_a_source`"),
        ("`killed_half_way_and_run_again_it_works` in `tests/store/from_disk.rs`", "`tests/store/from_disk.rs`"),
        ("`killed_half_way_and_run_again_it_works` in `tests/store/from_disk.rs`", "the same"),
        ("| `finalise`", "| `finalised`"),
        ("| `pin`, `unpin`", "| `pin`"),
    ] {
        assert!(text.contains(right), "{right}");
        assert_ne!(known.crashes(&readme, &text.replace(right, wrong)), Vec::<String>::new(), "unnoticed: {wrong}");
    }
}

#[test]
fn each_requirement_of_the_format_has_one_number_and_a_test() {
    let text = fs::read_to_string(root().join("docs/format.md")).unwrap();
    assert_eq!(requirements(&text), Vec::<String>::new());
    assert!(text.matches("- **F-").count() > 50);
    assert_ne!(requirements("- **F-X-1** It holds.\n"), Vec::<String>::new());
    assert_ne!(requirements("- **F-X-1** It. Test: `t`.\n- **F-X-1** Too. Test: `t`.\n"), Vec::<String>::new());
    assert_ne!(requirements("- **F-X-1** It. Test: `t`.\n- **F-X-3** Too. Test: `t`.\n"), Vec::<String>::new());
    assert_eq!(requirements("- **F-X-1** It. Test: `t`.\n- **F-X-2** Too. Test: `t`.\n"), Vec::<String>::new());
}

/// What is wrong with the numbers of a document's requirements.
fn requirements(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut last: BTreeMap<&str, u32> = BTreeMap::new();
    for item in text.split("\n- **F-").enumerate().filter_map(|(i, item)| match i {
        0 => item.strip_prefix("- **F-"),
        _ => Some(item),
    }) {
        let item = item.split("\n\n").next().unwrap_or(item);
        let Some((label, rest)) = item.split_once("**") else { continue };
        let Some((chapter, number)) = label.rsplit_once('-') else { continue };
        let before = last.insert(chapter, number.parse().unwrap_or(0)).unwrap_or(0);
        if last[chapter] != before + 1 {
            wrong.push(format!("F-{label} does not follow F-{chapter}-{before}"));
        }
        if !rest.contains("Test:") || !rest.contains('`') {
            wrong.push(format!("F-{label} names no test"));
        }
    }
    wrong
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<String> {
    let mut found = vec!["README.md".to_owned()];
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            found.push(format!("docs/{name}"));
        }
    }
    found.retain(|path| root().join(path).exists());
    found.sort();
    assert!(found.len() > 5);
    found
}

impl Known {
    fn read() -> Self {
        let mut known = Known::default();
        known.walk(&root(), "");
        known.commands = commands();
        known.foreign_options = [
            "--release",
            "--test",
            "--lib",
            "--path",
            "--check",
            "--no-run",
            "--nocapture",
            "--all-targets",
            "--no-deps",
            "--no-default-features",
            "--target",
            "--reflink",
            "--read-data",
            "--bin",
            "--workspace",
            "--ignored",
            "--test-threads",
        ]
        .map(str::to_owned)
        .into();
        known
    }

    fn walk(&mut self, directory: &Path, relative: &str) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if name == "target" || name == ".git" {
                continue;
            }
            let path = if relative.is_empty() { name } else { format!("{relative}/{name}") };
            if entry.file_type().unwrap().is_dir() {
                self.walk(&entry.path(), &path);
            } else if path.ends_with(".rs") {
                self.source(&path, &fs::read_to_string(entry.path()).unwrap());
            }
            self.paths.insert(path);
        }
    }

    /// Takes note of what a source file declares.
    fn source(&mut self, path: &str, text: &str) {
        let module = path.strip_prefix("src/").map(|path| {
            let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
            path.replace('/', "::")
        });
        let (mut functions, mut names) = (BTreeSet::new(), BTreeSet::new());
        let words: Vec<&str> =
            text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect();
        for pair in words.windows(2) {
            match pair[0] {
                "fn" => _ = functions.insert(pair[1].to_owned()),
                "struct" | "enum" | "trait" | "const" | "type" | "mod" | "static" => {}
                _ => continue,
            }
            names.insert(pair[1].to_owned());
        }
        // Variants and fields: whatever stands at the beginning of a line, before a brace, comma, colon or parenthesis.
        for line in text.lines() {
            let line = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            let word: String = line.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if !word.is_empty() && line[word.len()..].starts_with([',', ' ', '(', ':', '{']) || line == word {
                names.insert(word);
            }
        }
        if let Some(module) = module {
            self.modules.insert(module);
        }
        self.functions.insert(path.to_owned(), functions);
        self.names.insert(path.to_owned(), names);
        let declaring = |line: &&str| {
            let line = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            ["impl", "struct ", "enum ", "trait "].iter().any(|word| line.starts_with(word))
        };
        let words = text.lines().filter(declaring).flat_map(|line| line.split(|c: char| !c.is_alphanumeric()));
        self.types.insert(path.to_owned(), words.map(str::to_owned).collect());
    }

    /// What is wrong with the tables of what a crash leaves: a chapter for each promise, in each row a test that is
    /// there, and a row for each command that writes.
    fn crashes(&self, readme: &str, text: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        let (mut promises, mut operations) = (0, Vec::new());
        for (number, promise) in promises_of(readme) {
            promises += 1;
            let heading = format!("### Promise {number}: {promise}\n").to_lowercase();
            let Some(at) = text.to_lowercase().find(&heading) else {
                wrong.push(format!("promise {number}, {promise}, has no chapter"));
                continue;
            };
            let chapter = text[at + heading.len()..].split("\n#").next().unwrap_or("");
            let rows: Vec<&str> = chapter.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
            if rows.is_empty() {
                wrong.push(format!("promise {number} has no table"));
            }
            for row in rows {
                let cells: Vec<&str> = row.trim_matches(['|', ' ']).split(" | ").collect();
                let [operation, _, _, shown] = cells[..] else {
                    wrong.push(format!("not four cells: {row}"));
                    continue;
                };
                operations.push(operation);
                if !self.names_a_test(shown) {
                    wrong.push(format!("promise {number}, {operation}: no test in {shown}"));
                }
            }
        }
        assert_eq!(promises, 7, "README has other promises");
        let writing = self.commands.keys().filter(|name| !name.is_empty() && !self.is_group(name));
        for command in writing.filter(|name| !READING.contains(&name.as_str())) {
            if !operations.iter().any(|operation| is_operation(operation, command)) {
                wrong.push(format!("larder {command} has no row"));
            }
        }
        wrong
    }

    /// Whether a command only has others below it.
    fn is_group(&self, command: &str) -> bool {
        let below = format!("{command} ");
        self.commands.keys().any(|name| name.starts_with(&below))
    }

    /// Whether one of the names in backticks is a test, in a file that is named too or in a module of the library.
    fn names_a_test(&self, shown: &str) -> bool {
        let spans: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        spans.iter().any(|name| {
            let parts: Vec<&str> = name.split("::").collect();
            let in_files = spans.iter().filter_map(|file| self.functions.get(*file)).any(|all| all.contains(*name));
            in_files || parts.len() > 1 && parts.contains(&"tests") && self.has_item(&parts)
        })
    }

    fn check(&self, document: &str, text: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        self.check_paths(text, &mut wrong);
        self.check_links(document, text, &mut wrong);
        self.check_code(text, &mut wrong);
        self.check_tests_of_files(text, &mut wrong);
        check_words(document, text, &mut wrong);
        wrong.into_iter().map(|what| format!("{document}: {what}")).collect()
    }

    /// Every path below `src`, `docs`, `tests`, `fuzz`, `benches`, in backticks or not.
    fn check_paths(&self, text: &str, wrong: &mut Vec<String>) {
        let is_path = |c: char| c.is_alphanumeric() || "_-./*".contains(c);
        for word in text.split(|c| !is_path(c)) {
            let word = word.trim_end_matches(['.', '/', '-']);
            let tops = ["src/", "docs/", "tests/", "fuzz/", "benches/"];
            if tops.iter().any(|top| word.starts_with(top)) && !self.has_path(word) {
                wrong.push(format!("there is no {word}"));
            }
        }
    }

    fn has_path(&self, path: &str) -> bool {
        let matches = |known: &String| match path.split_once('*') {
            Some((before, after)) => known.starts_with(before) && known[before.len()..].ends_with(after),
            None => known == path,
        };
        self.paths.iter().any(matches)
    }

    /// Relative links, and the headings within pages that they lead to.
    fn check_links(&self, document: &str, text: &str, wrong: &mut Vec<String>) {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let page = match file {
                "" => Some(text.to_owned()),
                _ => {
                    let path = Path::new(document).parent().unwrap().join(file);
                    let path = path.to_str().unwrap().replace("docs/../", "");
                    if !self.paths.contains(&path) {
                        wrong.push(format!("a link leads to {target}, which is not there"));
                        continue;
                    }
                    fs::read_to_string(root().join(path)).ok()
                }
            };
            if !heading.is_empty() && !page.is_some_and(|page| headings(&page).contains(heading)) {
                wrong.push(format!("a link leads to {target}, and there is no such heading"));
            }
        }
    }

    /// What stands in backticks and in blocks of code.
    fn check_code(&self, text: &str, wrong: &mut Vec<String>) {
        for (block, code) in code(text) {
            for line in code.lines().filter(|_| block) {
                self.check_command_line(line, wrong);
            }
            if !block {
                self.check_command_line(&code, wrong);
                self.check_option(&code, wrong);
                self.check_item(code.trim_end_matches("()"), wrong);
            }
        }
    }

    /// A line that calls `larder`.
    fn check_command_line(&self, line: &str, wrong: &mut Vec<String>) {
        let line = line.trim_start_matches("$ ").split(['|', '#', ';']).next().unwrap_or("");
        // The contexts of derived keys begin with the program's name, too.
        let Some(words) = line.strip_prefix("larder ").filter(|words| !words.ends_with(" v1")) else { return };
        let words: Vec<&str> = words.split_whitespace().collect();
        let mut command = String::new();
        let mut options = Vec::new();
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next() {
            if word.starts_with("--") {
                options.push(word.split('=').next().unwrap_or(word));
                if ["--store", "--jobs", "--lock-timeout"].contains(&word) {
                    words.next();
                }
            } else if command.is_empty() || self.is_group(&command) {
                if word.starts_with(['-', '[', '…']) || word.trim_end_matches('.').chars().all(char::is_uppercase) {
                    continue;
                }
                command = if command.is_empty() { word.to_owned() } else { format!("{command} {word}") };
                if !self.commands.contains_key(&command) {
                    return wrong.push(format!("there is no command larder {command}"));
                }
            }
        }
        let of = &self.commands[&command];
        wrong.extend(
            options.iter().filter(|o| !of.contains(**o)).map(|o| format!("larder {command} has no option {o}")),
        );
    }

    /// An option by itself, perhaps with its value.
    fn check_option(&self, code: &str, wrong: &mut Vec<String>) {
        let option = code.split([' ', '=']).next().unwrap_or("");
        let is_one = option.starts_with("--") && option.len() > 3;
        let known = self.foreign_options.contains(option) || self.commands.values().any(|of| of.contains(option));
        if is_one && !known {
            wrong.push(format!("no command has an option {option}"));
        }
    }

    /// `a::b`, a bound in capitals, or the name of a test.
    fn check_item(&self, code: &str, wrong: &mut Vec<String>) {
        let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c == '_');
        let parts: Vec<&str> = code.split("::").collect();
        if parts.len() > 1 && parts.iter().all(|part| is_word(part)) {
            if ["std", "libc", "rayon"].contains(&parts[0]) || ["Instant", "SystemTime"].contains(&parts[0]) {
                return;
            }
            if !self.has_item(&parts) {
                wrong.push(format!("there is no {code}"));
            }
        } else if is_word(code) && code.contains('_') {
            let capitals = code.chars().all(|c| c.is_uppercase() || c.is_numeric() || c == '_');
            // A test is a sentence; a field of JSON is shorter.
            let sentence = code.matches('_').count() >= 3 && !capitals && code.chars().all(|c| !c.is_uppercase());
            let system = ["RENAME_", "XDG_", "LARDER_", "NO_COLOR", "SEEK_", "O_", "F_", "MADV_", "RUSTDOC", "FICLONE"];
            let foreign = system.iter().any(|start| code.starts_with(start));
            if (sentence || capitals && !foreign) && !self.declares("", code) {
                wrong.push(format!("nothing is called {code}"));
            }
        }
    }

    fn has_item(&self, parts: &[&str]) -> bool {
        let parts = parts.strip_prefix(&["larder"]).unwrap_or(parts);
        if self.modules.contains(&parts.join("::")) {
            return true;
        }
        let (last, above) = parts.split_last().unwrap();
        match above.iter().position(|part| *part == "tests") {
            // A test: its function stands in the file of the module, or in the files of its tests.
            Some(at) => {
                let file = format!("src/{}", above[..at].join("/"));
                let below = above[at..].join("/");
                let files = [
                    format!("{file}.rs"),
                    format!("{file}/mod.rs"),
                    format!("{file}/{below}.rs"),
                    format!("{file}/{below}/mod.rs"),
                ];
                files.iter().any(|file| self.functions.get(file).is_some_and(|all| all.contains(*last)))
            }
            // A path to a module must be right; what is in a type is looked up by its name.
            None => {
                let module = above.iter().take_while(|part| part.chars().next().is_some_and(char::is_lowercase));
                let module: Vec<&str> = module.copied().collect();
                let there = module.is_empty() || self.modules.contains(&module.join("::"));
                let below = format!("src/{}", module.join("/"));
                let of_type = |pair: &[&str]| {
                    let files =
                        self.types.iter().filter(|(file, types)| file.starts_with("src/") && types.contains(pair[0]));
                    files.into_iter().any(|(file, _)| self.names[file].contains(pair[1]))
                };
                let rest = &parts[module.len()..];
                there && self.declares(&below, rest[0]) && rest.windows(2).all(of_type)
            }
        }
    }

    /// Whether a file whose path begins so declares this name.
    fn declares(&self, below: &str, name: &str) -> bool {
        self.names.iter().any(|(file, names)| file.starts_with(below) && names.contains(name))
    }

    /// `tests/x.rs:` and the tests that are named right behind it.
    fn check_tests_of_files(&self, text: &str, wrong: &mut Vec<String>) {
        for (at, _) in text.match_indices("tests/") {
            let Some((file, rest)) = text[at..].split_once(':') else { continue };
            let Some(functions) = self.functions.get(file) else { continue };
            let mut rest = rest.trim_start();
            while let Some((name, behind)) = rest.strip_prefix('`').and_then(|rest| rest.split_once('`')) {
                if !name.contains("::") && !functions.contains(name) {
                    wrong.push(format!("{file} has no test {name}"));
                }
                rest = behind.trim_start_matches(',').trim_start();
            }
        }
    }
}

/// The numbers of the promises, and what each says in short.
fn promises_of(readme: &str) -> Vec<(String, String)> {
    let promises = readme.split("## What it promises").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap_or("");
    let lines = promises.lines().filter_map(|line| line.split_once(". **"));
    lines.filter_map(|(number, rest)| Some((number.to_owned(), rest.split_once(".**")?.0.to_owned()))).collect()
}

/// Whether the operation of a row is this command, perhaps with options.
fn is_operation(operation: &str, command: &str) -> bool {
    let begins = |text: &str| {
        text.strip_prefix(command).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-'))
    };
    begins(operation) || operation.split('`').skip(1).step_by(2).any(begins)
}

fn check_words(document: &str, text: &str, wrong: &mut Vec<String>) {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    for (word, instead) in SYNONYMS {
        let lower = word.to_lowercase();
        let is_whole = |at: usize| {
            let letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
            !letter(flat[..at].chars().next_back()) && !letter(flat[at + lower.len()..].chars().next())
        };
        let found = flat.match_indices(&lower).any(|(at, _)| is_whole(at));
        if found && !FOREIGN.contains(&(document, word)) {
            wrong.push(format!("it says {word:?}; the word is {instead:?}"));
        }
    }
}

/// The anchors of a page's headings, as they are shown on the web.
fn headings(page: &str) -> BTreeSet<String> {
    let titles = page.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    titles
        .map(|title| {
            let kept = title.to_lowercase().replace(' ', "-");
            kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
        })
        .collect()
}

/// The pieces of code of a page: whether each is a block, and its text.
fn code(text: &str) -> Vec<(bool, String)> {
    let mut found = Vec::new();
    for (i, part) in text.split("```").enumerate() {
        if i % 2 == 1 {
            found.push((true, part.split_once('\n').map_or("", |(_, code)| code).to_owned()));
        } else {
            let spans = part.split('`').skip(1).step_by(2);
            found.extend(spans.map(|span| (false, span.split_whitespace().collect::<Vec<_>>().join(" "))));
        }
    }
    found
}

/// What the built program says of itself.
fn commands() -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::new();
    let all = help(&[]);
    found.insert(String::new(), options(&all));
    for command in listed(&all) {
        let text = help(&[&command]);
        found.insert(command.clone(), options(&text));
        if text.contains("Commands:") {
            for inner in listed(&text) {
                found.insert(format!("{command} {inner}"), options(&help(&[&command, &inner])));
            }
        }
    }
    assert!(found.len() > 15, "{found:?}");
    found
}

fn help(command: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_larder")).args(command).arg("--help").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that a help text lists.
fn listed(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let lines = lines.take_while(|line| line.starts_with(' ') || line.is_empty());
    let words = lines
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next());
    words.filter(|word| *word != "help").map(str::to_owned).collect()
}

fn options(help: &str) -> BTreeSet<String> {
    let lines = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let words = lines.flat_map(|line| line.split([' ', ',', '=']).take(4).collect::<Vec<_>>());
    words.filter(|word| word.starts_with("--")).map(|word| word.trim_end_matches("...").to_owned()).collect()
}
