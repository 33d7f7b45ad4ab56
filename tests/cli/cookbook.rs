//! Every transcript of the cookbook, run as it is written.
//!
//! Each chapter has a directory of its own, which is also its home. A line that begins with `$ ` is given to `sh`; what
//! follows it is what must be printed, both outputs together. `[..]` stands for anything within a line, a line of `...`
//! for any number of lines, and `[exit 3]` for an exit code that is not zero.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PAGE: &str = "docs/cookbook.md";
/// What a page of a handful of recipes has at least: fewer would mean that they are not found.
const LEAST_COMMANDS: usize = 40;

struct Step {
    line: usize,
    command: String,
    expected: Vec<String>,
}

#[test]
fn every_transcript_is_what_is_printed() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)).unwrap();
    let mut wrong = Vec::new();
    let mut commands = 0;
    for chapter in chapters(&page) {
        let home = tempfile::tempdir().unwrap();
        for step in chapter {
            commands += 1;
            let printed = run(&step.command, home.path());
            if !matches(&step.expected, &printed) {
                wrong.push(format!("{PAGE}:{}: {}\n{}", step.line, step.command, printed.join("\n")));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {commands} differ:\n\n{}", wrong.len(), wrong.join("\n\n"));
    assert!(commands >= LEAST_COMMANDS, "{commands} commands");
}

#[test]
fn wildcards_stand_for_what_they_should() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    for (expected, printed) in
        [("a\nb", "a\nb"), ("a [..] c", "a b c"), ("...\nc", "a\nb\nc"), ("a\n...", "a"), ("", "")]
    {
        assert!(matches(&lines(expected), &lines(printed)), "{expected:?} {printed:?}");
    }
    for (expected, printed) in [("a", "a\nb"), ("a\nb", "a"), ("a [..] c", "a b d"), ("...\nc", "a\nb"), ("", "a")] {
        assert!(!matches(&lines(expected), &lines(printed)), "{expected:?} {printed:?}");
    }
}

/// The steps of each chapter that has any.
fn chapters(page: &str) -> Vec<Vec<Step>> {
    let mut chapters: Vec<Vec<Step>> = vec![Vec::new()];
    let mut within = false;
    for (at, line) in page.lines().enumerate() {
        match line {
            _ if line.starts_with("```") => within = line == "```console",
            _ if !within && line.starts_with("## ") => chapters.push(Vec::new()),
            _ if !within => {}
            _ => match (line.strip_prefix("$ "), line.strip_prefix("> "), chapters.last_mut().unwrap()) {
                (Some(command), _, chapter) => {
                    chapter.push(Step { line: at + 1, command: command.to_owned(), expected: Vec::new() });
                }
                (_, Some(more), chapter) if chapter.last().is_some_and(|step| step.command.ends_with('\\')) => {
                    let step = chapter.last_mut().unwrap();
                    step.command = format!("{}{more}", step.command.trim_end_matches('\\'));
                }
                (_, _, chapter) => chapter.last_mut().unwrap().expected.push(line.to_owned()),
            },
        }
    }
    chapters.retain(|chapter| !chapter.is_empty());
    // A blank line between a transcript's steps is for the reader.
    for step in chapters.iter_mut().flatten() {
        while step.expected.last().is_some_and(String::is_empty) {
            step.expected.pop();
        }
    }
    chapters
}

fn run(command: &str, home: &Path) -> Vec<String> {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_larder"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-c", &format!("{{ {command}\n}} 2>&1")])
        .current_dir(home)
        .env_clear()
        .envs([("PATH", path.as_str()), ("TZ", "UTC"), ("LC_ALL", "C.UTF-8")])
        .env("HOME", home)
        // Where coverage is measured, what the program covers counts.
        .envs(std::env::vars_os().filter(|(key, _)| key == "LLVM_PROFILE_FILE"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
    if !output.status.success() {
        lines.push(format!("[exit {}]", output.status.code().unwrap_or(-1)));
    }
    lines
}

fn matches(expected: &[String], printed: &[String]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((any, rest)) if any == "..." => (0..=printed.len()).any(|skip| matches(rest, &printed[skip..])),
        Some((line, rest)) => {
            printed.split_first().is_some_and(|(got, others)| is_like(line, got) && matches(rest, others))
        }
    }
}

fn is_like(expected: &str, line: &str) -> bool {
    let mut pieces = expected.split("[..]");
    let Some(mut rest) = line.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut pieces = pieces.peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.is_empty()
}
