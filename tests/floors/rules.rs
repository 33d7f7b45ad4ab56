//! The rules of the floors, and where source breaks them.

use std::collections::{BTreeMap, BTreeSet};

use super::paths::{Named, paths};
use super::tokens::{Token, tokens, without_tests};

/// The parts: each of them is one durable thing and knows none of the others.
const STRANGERS: &str = "parts";

/// A floor: its name, its modules at the top of the crate, and what of the world outside only some floors may name.
#[derive(Clone, Debug)]
pub(super) struct Floor {
    pub(super) name: String,
    pub(super) modules: Vec<String>,
    pub(super) may_name: Vec<String>,
}

/// The modules that the document names as one state in several files.
pub(super) fn whole_of(document: &str) -> Vec<String> {
    document.lines().filter(|line| line.starts_with("* One state shared by")).flat_map(in_backticks).collect()
}

/// A source file: its path below `src/` and its text.
pub(super) type Source = (String, String);

/// The floors in the table of `docs/architecture.md`, lowest first.
pub(super) fn floors_of(document: &str) -> Vec<Floor> {
    let rows = document.lines().skip_while(|line| !line.starts_with("| floor |")).skip(2);
    rows.take_while(|line| line.starts_with('|')).map(floor_of).collect()
}

fn floor_of(row: &str) -> Floor {
    let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
    let quoted = |cell: usize| cells.get(cell).map_or(Vec::new(), |cell| in_backticks(cell));
    Floor { name: cells[0].to_owned(), modules: quoted(1), may_name: quoted(3) }
}

fn in_backticks(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Everything in `sources` that breaks a rule.
pub(super) fn objections(floors: &[Floor], whole: &[String], sources: &[Source]) -> Vec<String> {
    let crate_ = Crate::read(sources);
    let mut found = Vec::new();
    found.extend(homeless(floors, &crate_));
    found.extend(empty_floors(floors, &crate_));
    for file in &crate_.files {
        found.extend(upward(floors, &crate_, file));
        found.extend(outside(floors, file));
        found.extend(between_strangers(&crate_, file));
    }
    found.extend(cycles(&crate_, whole));
    found
}

/// The module of a source file, with what it names.
struct File {
    path: String,
    module: Vec<String>,
    tokens: Vec<Token>,
    named: Vec<Named>,
}

struct Crate {
    files: Vec<File>,
    /// What the root of the library hands on, by its name there.
    handed_on: BTreeMap<String, Vec<String>>,
}

impl Crate {
    fn read(sources: &[Source]) -> Self {
        let mut files = Vec::new();
        let mut only_tests = BTreeSet::new();
        for (path, text) in sources {
            let (kept, modules) = without_tests(&tokens(text));
            let module = module_of(path);
            only_tests.extend(modules.into_iter().map(|name| [module.clone(), vec![name]].concat()));
            files.push(File { path: path.clone(), module, named: paths(&kept), tokens: kept });
        }
        files.retain(|file| !(1..=file.module.len()).any(|end| only_tests.contains(&file.module[..end])));
        let root = files.iter().find(|file| file.path == "lib.rs");
        let hand_on = |(_, path): &Named| path.last().map(|name| (name.clone(), path.clone()));
        let handed_on = root.map_or(BTreeMap::new(), |root| root.named.iter().filter_map(hand_on).collect());
        files.retain(|file| file.path != "lib.rs");
        Crate { files, handed_on }
    }

    /// The module of this crate that a path, named in `file`, leads to.
    fn target(&self, file: &File, path: &[String]) -> Option<Vec<String>> {
        let absolute = match path.first()?.as_str() {
            "crate" | "larder" => path[1..].to_vec(),
            "self" => [&file.module, &path[1..]].concat(),
            "super" => {
                let up = path.iter().take_while(|part| *part == "super").count();
                let above = file.module.len().checked_sub(up)?;
                [&file.module[..above], &path[up..]].concat()
            }
            _ => return None,
        };
        let known = |path: &[String]| {
            let ends = (1..=path.len()).rev();
            ends.map(|end| &path[..end]).find(|part| self.files.iter().any(|f| f.module == *part)).map(<[_]>::to_vec)
        };
        known(&absolute).or_else(|| known(self.handed_on.get(absolute.first()?)?))
    }
}

fn module_of(path: &str) -> Vec<String> {
    let stem = path.trim_end_matches(".rs");
    let mut module: Vec<String> = stem.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    if module == ["lib"] { Vec::new() } else { module }
}

fn floor_number(floors: &[Floor], module: &[String]) -> Option<usize> {
    floors.iter().position(|floor| floor.modules.contains(module.first().unwrap_or(&String::new())))
}

fn homeless(floors: &[Floor], crate_: &Crate) -> Vec<String> {
    let lost = crate_.files.iter().filter(|file| floor_number(floors, &file.module).is_none());
    lost.map(|file| format!("src/{}: is on no floor", file.path)).collect()
}

fn empty_floors(floors: &[Floor], crate_: &Crate) -> Vec<String> {
    let modules = floors.iter().flat_map(|floor| &floor.modules);
    let missing = modules.filter(|module| !crate_.files.iter().any(|file| file.module.first() == Some(module)));
    missing.map(|module| format!("the floors name the module {module}, which does not exist")).collect()
}

fn upward(floors: &[Floor], crate_: &Crate, file: &File) -> Vec<String> {
    let Some(here) = floor_number(floors, &file.module) else { return Vec::new() };
    let above = |(line, path): &Named| {
        let target = crate_.target(file, path)?;
        let there = floor_number(floors, &target).filter(|there| *there > here)?;
        let (low, high) = (&floors[here].name, &floors[there].name);
        Some(format!("src/{}:{line}: {low} names {}, which is of the floor {high} above it", file.path, words(&target)))
    };
    file.named.iter().filter_map(above).collect()
}

/// Things of the world outside that stand in the row of some floor, named on another one.
fn outside(floors: &[Floor], file: &File) -> Vec<String> {
    let Some(here) = floor_number(floors, &file.module) else { return Vec::new() };
    let kept: BTreeSet<&String> = floors.iter().flat_map(|floor| &floor.may_name).collect();
    let mut found = Vec::new();
    for thing in kept.into_iter().filter(|thing| !floors[here].may_name.contains(thing)) {
        let parts: Vec<&str> = thing.split("::").collect();
        let in_path = file.named.iter().filter(|(_, path)| path.windows(parts.len()).any(|part| part == parts));
        let as_word = file.tokens.iter().filter(|(_, word)| thing == "unsafe" && word == thing);
        for line in in_path.map(|(line, _)| line).chain(as_word.map(|(line, _)| line)) {
            found.push(format!("src/{}:{line}: {} may not name {thing}", file.path, floors[here].name));
        }
    }
    found
}

fn between_strangers(crate_: &Crate, file: &File) -> Vec<String> {
    let stranger = |module: &[String]| match module {
        [floor, part, ..] if floor == STRANGERS => Some(part.clone()),
        _ => None,
    };
    let Some(here) = stranger(&file.module) else { return Vec::new() };
    let other = |(line, path): &Named| {
        let there = stranger(&crate_.target(file, path)?).filter(|there| *there != here)?;
        Some(format!("src/{}:{line}: {here} names {there}: parts do not know each other", file.path))
    };
    file.named.iter().filter_map(other).collect()
}

/// Modules that name each other in a circle. A module and those inside it are one thing in two places: they may.
fn cycles(crate_: &Crate, whole: &[String]) -> Vec<String> {
    let mut edges: BTreeMap<&[String], BTreeSet<Vec<String>>> = BTreeMap::new();
    for file in &crate_.files {
        let targets = file.named.iter().filter_map(|(_, path)| crate_.target(file, path));
        let one = |to: &[String]| whole.iter().any(|top| inside(to, top) && inside(&file.module, top));
        let apart = targets.filter(|to| !to.starts_with(&file.module) && !file.module.starts_with(to) && !one(to));
        edges.entry(&file.module).or_default().extend(apart);
    }
    let mut done = BTreeSet::new();
    let mut found = Vec::new();
    for start in edges.keys() {
        walk(start, &edges, &mut Vec::new(), &mut done, &mut found);
    }
    found
}

fn walk(
    at: &[String],
    edges: &BTreeMap<&[String], BTreeSet<Vec<String>>>,
    way: &mut Vec<Vec<String>>,
    done: &mut BTreeSet<Vec<String>>,
    found: &mut Vec<String>,
) {
    if let Some(start) = way.iter().position(|before| before == at) {
        let circle: Vec<String> = way[start..].iter().chain([&at.to_vec()]).map(|module| words(module)).collect();
        found.push(format!("a circle of imports: {}", circle.join(" -> ")));
        return;
    }
    if !done.insert(at.to_vec()) {
        return;
    }
    way.push(at.to_vec());
    for to in edges.get(at).into_iter().flatten() {
        walk(to, edges, way, done, found);
    }
    way.pop();
}

fn inside(module: &[String], top: &str) -> bool {
    top.split("::").zip(module).filter(|(top, part)| top == part).count() == top.split("::").count()
}

fn words(module: &[String]) -> String {
    module.join("::")
}
