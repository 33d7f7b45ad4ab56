//! A plan of collection as lines of JSON: `gc --dry-run --json` prints it, `gc --plan FILE` reads it.

use std::io::{BufRead, Read};
use std::path::Path;
use std::time::Duration;

use larder::vocabulary::limits::{PLAN_BLOBS, PLAN_LINE_BYTES};
use larder::work::catalog::trash::InTrash;
use larder::work::collect::{CollectPlan, Doomed, Rule};
use larder::{Digest, Error, ErrorKind, Result};
use serde::Deserialize;

use crate::cli::json::Line;

/// A plan, and the age of orphans that it was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// What would be removed.
    pub(super) plan: CollectPlan,
    /// The age at which orphans may go.
    pub(super) orphan_ttl: Duration,
    /// What would be removed from the trash.
    pub(super) expired: Vec<Expired>,
}

/// An entry that has been in the trash for long enough.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expired {
    schema: u32,
    /// Its identity.
    pub(super) id: String,
    /// Its key, for people.
    pub(super) key: String,
    size_bytes: u64,
    /// The sequence with which it went there.
    pub(super) since_sequence: u64,
}

/// How much of a key is told.
const KEY_CHARS: usize = 200;

impl Expired {
    /// What a plan says of an entry in the trash.
    pub(super) fn of(one: &InTrash) -> Self {
        // A line of a plan is bounded, and the key is for people.
        let key = one.entry.card.key.to_string().chars().take(KEY_CHARS).collect();
        let id = one.entry.id().to_string();
        let (size_bytes, since_sequence) = (one.entry.size_bytes(), one.since_sequence());
        Expired { schema: 1, id, key, size_bytes, since_sequence }
    }

    fn line(&self) -> Line {
        Line::event("expired")
            .with("id", &self.id)
            .with("key", &self.key)
            .with("size_bytes", self.size_bytes)
            .with("since_sequence", self.since_sequence)
    }
}

/// One line of a plan. A field that is not known is refused: it may mean that less is to be removed.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
enum Row {
    Plan {
        schema: u32,
        store: String,
        sequence: u64,
        grace_seconds: u64,
        orphan_ttl_seconds: u64,
        in_grace: u64,
        blobs: u64,
    },
    Doomed {
        schema: u32,
        digest: String,
        size_bytes: u64,
        frees_bytes: u64,
        outside_links: u64,
        rule: Rule,
    },
    Expired(Expired),
    Summary {
        schema: u32,
        dry_run: bool,
        doomed_blobs: u64,
        doomed_bytes: u64,
        frees_bytes: u64,
        in_grace: u64,
        #[serde(default)]
        expired_entries: u64,
    },
}

impl Written {
    /// The lines: the plan's circumstances, each blob, and how many there were.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line> + '_ {
        std::iter::once(self.head())
            .chain(self.plan.doomed.iter().map(doomed))
            .chain(self.expired.iter().map(Expired::line))
            .chain(std::iter::once_with(|| self.end()))
    }

    /// Bytes of the blobs, and bytes that removing them really frees.
    pub(super) fn bytes(&self) -> (u64, u64) {
        let doomed = &self.plan.doomed;
        (doomed.iter().map(|d| d.size_bytes).sum(), doomed.iter().map(|d| d.frees_bytes).sum())
    }

    fn head(&self) -> Line {
        Line::event("plan")
            .with("store", &self.plan.store)
            .with("sequence", self.plan.sequence)
            .with("grace_seconds", self.plan.grace_seconds)
            .with("orphan_ttl_seconds", self.orphan_ttl.as_secs())
            .with("in_grace", self.plan.in_grace)
            .with("blobs", self.plan.blobs)
    }

    fn end(&self) -> Line {
        let (bytes, frees) = self.bytes();
        Line::event("summary")
            .with("dry_run", true)
            .with("doomed_blobs", self.plan.doomed.len())
            .with("doomed_bytes", bytes)
            .with("frees_bytes", frees)
            .with("in_grace", self.plan.in_grace)
            .with("expired_entries", self.expired.len())
    }

    /// Reads the lines that [`Written::lines`] makes, whole; `path` is for the error.
    pub(super) fn read(mut input: impl BufRead, path: &Path) -> Result<Written> {
        let mut reader = Reader { path, written: None, ended: false };
        let mut number = 0;
        while let Some(line) = next_line(&mut input, path)? {
            number += 1;
            reader.line(number, &line)?;
        }
        match reader.written {
            Some(written) if reader.ended => Ok(written),
            _ => Err(unreadable(path, "it is cut off: a plan ends with its summary".to_owned())),
        }
    }
}

/// The next line, which is never longer in memory than a line of a plan can be.
fn next_line(input: &mut impl BufRead, path: &Path) -> Result<Option<String>> {
    let mut line = Vec::new();
    let mut bounded = input.by_ref().take(PLAN_LINE_BYTES + 1);
    let read = bounded.read_until(b'\n', &mut line).map_err(|e| Error::io("read the plan", path, e))?;
    if read as u64 > PLAN_LINE_BYTES {
        return Err(unreadable(
            path,
            format!("a line has more than {PLAN_LINE_BYTES} bytes, as no line of a plan has"),
        ));
    }
    let line = String::from_utf8(line).map_err(|_| unreadable(path, "it is not text".to_owned()))?;
    Ok((read > 0).then_some(line))
}

fn doomed(doomed: &Doomed) -> Line {
    Line::event("doomed")
        .with("digest", doomed.digest.to_string())
        .with("size_bytes", doomed.size_bytes)
        .with("frees_bytes", doomed.frees_bytes)
        .with("outside_links", doomed.outside_links)
        .with("rule", doomed.rule.word())
}

/// A plan that is being read.
struct Reader<'a> {
    path: &'a Path,
    written: Option<Written>,
    ended: bool,
}

impl Reader<'_> {
    fn line(&mut self, number: usize, line: &str) -> Result<()> {
        let bad = |reason: &str| unreadable(self.path, format!("line {number}: {reason}"));
        let row: Row = serde_json::from_str(line).map_err(|e| bad(&e.to_string()))?;
        let (Row::Plan { schema, .. } | Row::Doomed { schema, .. } | Row::Summary { schema, .. }) = row else {
            let Row::Expired(expired) = row else { return Err(bad("another line than a plan has")) };
            return self.expired(expired).map_err(bad);
        };
        if schema != 1 || self.ended {
            return Err(bad(if self.ended { "it goes on after its summary" } else { "another schema than 1" }));
        }
        match (row, &mut self.written) {
            (Row::Plan { store, sequence, grace_seconds, orphan_ttl_seconds, in_grace, blobs, .. }, None) => {
                let plan = CollectPlan { store, sequence, grace_seconds, doomed: Vec::new(), in_grace, blobs };
                let orphan_ttl = Duration::from_secs(orphan_ttl_seconds);
                self.written = Some(Written { plan, orphan_ttl, expired: Vec::new() });
            }
            (Row::Doomed { .. }, Some(written)) if written.plan.doomed.len() == PLAN_BLOBS => {
                return Err(bad("it names more blobs than a plan may"));
            }
            (Row::Doomed { digest, size_bytes, frees_bytes, outside_links, rule, .. }, Some(written)) => {
                let digest: Digest = digest.parse()?;
                written.plan.doomed.push(Doomed { digest, size_bytes, frees_bytes, outside_links, rule });
            }
            (
                Row::Summary { dry_run, doomed_blobs, doomed_bytes, frees_bytes, in_grace, expired_entries, .. },
                Some(written),
            ) => {
                let told = (doomed_blobs, (doomed_bytes, frees_bytes), in_grace, expired_entries, dry_run);
                let (doomed, expired) = (written.plan.doomed.len() as u64, written.expired.len() as u64);
                let counted = (doomed, written.bytes(), written.plan.in_grace, expired, true);
                if told != counted {
                    return Err(bad("the summary does not fit the lines before it"));
                }
                self.ended = true;
            }
            _ => return Err(bad("a plan begins with one \"plan\" line")),
        }
        Ok(())
    }

    fn expired(&mut self, expired: Expired) -> Result<(), &'static str> {
        match &mut self.written {
            _ if self.ended => Err("it goes on after its summary"),
            _ if expired.schema != 1 => Err("another schema than 1"),
            Some(written) if written.expired.len() == PLAN_BLOBS => Err("it names more entries than a plan may"),
            Some(written) => {
                written.expired.push(expired);
                Ok(())
            }
            None => Err("a plan begins with one \"plan\" line"),
        }
    }
}

fn unreadable(path: &Path, reason: String) -> Error {
    Error::new(ErrorKind::Invalid, format!("read the plan {}", path.display()), reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Written {
        let doomed = |rule| Doomed { digest: Digest::EMPTY, size_bytes: 7, frees_bytes: 4096, outside_links: 0, rule };
        let doomed = vec![doomed(Rule::Unrooted), doomed(Rule::Orphan)];
        let plan =
            CollectPlan { store: "ab".repeat(16), sequence: 9, grace_seconds: 60, doomed, in_grace: 2, blobs: 5 };
        let expired =
            Expired { schema: 1, id: "ab".repeat(16), key: "model:hf/a".to_owned(), size_bytes: 3, since_sequence: 8 };
        Written { plan, orphan_ttl: Duration::from_secs(3), expired: vec![expired] }
    }

    fn text() -> String {
        written().lines().map(|line| line.close() + "\n").collect()
    }

    fn read(text: &str) -> Result<Written> {
        Written::read(text.as_bytes(), Path::new("plan.json"))
    }

    #[test]
    fn a_printed_plan_is_read_back_as_it_was() {
        assert_eq!(read(&text()).unwrap(), written());
    }

    #[test]
    fn a_plan_that_is_cut_or_changed_is_refused() {
        let text = text();
        let lines: Vec<&str> = text.lines().collect();
        for keep in 0..lines.len() {
            assert_eq!(read(&lines[..keep].join("\n")).unwrap_err().kind(), ErrorKind::Invalid, "{keep} lines");
        }
        let bad = [
            [lines[0], lines[1], lines[3], lines[4]].join("\n"),
            [lines[0], lines[1], lines[2], lines[4]].join("\n"),
            [lines[1], lines[2], lines[3], lines[4]].join("\n"),
            format!("{text}{}", lines[3]),
            format!("{text}{}", lines[1]),
            text.replace("\"schema\":1", "\"schema\":2"),
            text.replace("\"rule\"", "\"except\":1,\"rule\""),
            text.replace("sha256:", "sha1:"),
            text.replace("unrooted", &"x".repeat(1 << 20)),
            "not json".to_owned(),
        ];
        for text in bad {
            assert_eq!(read(&text).unwrap_err().kind(), ErrorKind::Invalid, "{text}");
        }
    }
}
