//! The observer: events become lines, JSON or a progress bar; signals become a request to stop.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use larder::vocabulary::events::{CarrierSeen, VerifyStatus};
use larder::vocabulary::url::redacted;
use larder::{Event, Finding, Name, Observer};

use super::context::Context;
use super::json::Line;
use super::mended;
use super::text;

/// Most different notes that are counted apart.
const NOTES_MAX: usize = 20;

/// Hears what a command's work does, for as long as it runs.
pub(crate) struct Watch<'a> {
    context: &'a Context,
    bar: Option<ProgressBar>,
    files_expected: Arc<AtomicU64>,
    files_done: Arc<AtomicU64>,
    started: Instant,
    heard: Mutex<Heard>,
    stop_when_closed: bool,
}

/// What a summary needs and no report holds.
#[derive(Default)]
struct Heard {
    first_name: Option<Name>,
    notes: BTreeMap<String, u64>,
    /// Things that were skipped so far.
    skipped: u64,
}

/// So many skipped things are told one by one, where nobody asked for all of them: a tree may have a million links.
const SKIPPED_TOLD: u64 = 20;

impl<'a> Watch<'a> {
    /// Watches work from now on, and listens to signals.
    pub(crate) fn new(context: &'a Context) -> Self {
        context.interrupt.listen();
        let (files_expected, files_done) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let draw = context.out.may_draw() && !context.global.no_progress;
        let bar = draw.then(|| progress_bar(files_expected.clone(), files_done.clone()));
        context.out.attach(bar.clone());
        let heard = Mutex::default();
        Watch { context, bar, files_expected, files_done, started: Instant::now(), heard, stop_when_closed: false }
    }

    /// Nobody needs the work when nobody reads what it says.
    #[must_use]
    pub(crate) fn stopping_when_closed(mut self) -> Self {
        self.stop_when_closed = true;
        self
    }

    /// Takes the progress bar away and says how long the work took.
    pub(crate) fn finish(&self) -> Duration {
        self.context.out.attach(None);
        let skipped = self.heard(|heard| std::mem::take(&mut heard.skipped));
        if skipped > SKIPPED_TOLD && !self.tells_every_skipped() {
            let more = skipped - SKIPPED_TOLD;
            self.context.out.note(&format!("skipped: {more} more (-v or --json names them all)"));
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.started.elapsed()
    }

    /// The first name that was added.
    pub(crate) fn first_name(&self) -> Option<Name> {
        self.heard(|heard| heard.first_name.clone())
    }

    /// What was done otherwise than asked, and how often.
    pub(crate) fn notes(&self) -> Vec<(String, u64)> {
        self.heard(|heard| std::mem::take(&mut heard.notes).into_iter().collect())
    }

    fn heard<R>(&self, look: impl FnOnce(&mut Heard) -> R) -> R {
        look(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn remember(&self, event: &Event) {
        let Event::Added { name, note, .. } = event else { return };
        self.heard(|heard| {
            heard.first_name.get_or_insert_with(|| name.clone());
            let Some(note) = note else { return };
            let room = heard.notes.len() < NOTES_MAX || heard.notes.contains_key(note);
            *heard.notes.entry(if room { note.clone() } else { "for other reasons".to_owned() }).or_default() += 1;
        });
    }

    fn tells_every_skipped(&self) -> bool {
        self.context.out.verbose() || self.context.out.json()
    }

    /// An event in words, on the stream where it belongs.
    fn say(&self, event: &Event) {
        let out = &self.context.out;
        match event {
            Event::Failed { path, reason } => out.warn(&trouble("failed", &text::path(path), reason)),
            Event::Skipped { path, reason } => {
                let so_far = self.heard(|heard| {
                    heard.skipped += 1;
                    heard.skipped
                });
                if so_far <= SKIPPED_TOLD || self.tells_every_skipped() {
                    out.note(&trouble("skipped", &text::path(path), reason));
                }
            }
            Event::Notice { text } => out.note(&format!("note: {}", text::message(text))),
            Event::Verified { status, carriers, .. }
                if *status != VerifyStatus::Ok || carriers.iter().any(|c| c.status != VerifyStatus::Ok) =>
            {
                out.say(&words(self.context, event));
            }
            Event::Repaired(told) => out.say(&mended::words(told)),
            Event::BadLine { line, kind, reason } => {
                out.warn(&trouble("bad line", &line.to_string(), &format!("{kind}: {reason}")));
            }
            Event::Found(_) | Event::Hint { .. } | Event::Mended { .. } => out.say(&words(self.context, event)),
            _ if out.verbose() => out.say(&words(self.context, event)),
            _ => {}
        }
    }
}

impl Observer for Watch<'_> {
    fn event(&self, event: &Event) {
        self.remember(event);
        if self.context.out.json() {
            if let Some(line) = line(event) {
                self.context.out.tell(line);
            }
        } else {
            self.say(event);
        }
    }

    fn expect(&self, files: u64, bytes: u64) {
        if let Some(bar) = &self.bar {
            self.files_expected.fetch_add(files, Ordering::Relaxed);
            bar.inc_length(bytes);
        }
    }

    fn progress(&self, files: u64, bytes: u64) {
        if let Some(bar) = &self.bar {
            self.files_done.fetch_add(files, Ordering::Relaxed);
            bar.inc(bytes);
        }
    }

    fn hears_of_good(&self) -> bool {
        self.context.out.json() || self.context.out.verbose()
    }

    fn cancelled(&self) -> bool {
        self.context.interrupt.asked() || (self.stop_when_closed && self.context.out.closed())
    }
}

fn progress_bar(expected: Arc<AtomicU64>, done: Arc<AtomicU64>) -> ProgressBar {
    let files = move |_: &indicatif::ProgressState, to: &mut dyn std::fmt::Write| {
        let (done, expected) = (done.load(Ordering::Relaxed), expected.load(Ordering::Relaxed));
        let _nowhere_else_to_say_it = write!(to, "{done}/{expected} files");
    };
    let template = "{spinner} {files}  {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {elapsed}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new(0).with_style(style.with_key("files", files));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn trouble(word: &str, path: &str, reason: &str) -> String {
    format!("{word}: {path}: {}", text::message(reason))
}

/// An event in words, as `-v` shows it.
fn words(context: &Context, event: &Event) -> String {
    let remark = |note: &Option<String>| note.as_ref().map(|n| format!(" ({})", text::message(n))).unwrap_or_default();
    match event {
        Event::Added { name, digest, size_bytes, status, note } => {
            let size = context.size(*size_bytes);
            format!("{:9} {} {size:>10}  {}{}", status.word(), text::short(digest), text::name(name), remark(note))
        }
        Event::Verified { digest, names, status, detail, carriers, .. } => {
            let names = names.iter().map(text::name).collect::<Vec<_>>().join(", ");
            let names = if names.is_empty() { "no name".to_owned() } else { names };
            let detail = if detail.is_empty() { String::new() } else { format!(": {}", text::message(detail)) };
            format!("{}: {digest}{detail}; named {names}{}", status.word(), carriers_in_words(carriers))
        }
        Event::Copies { digest, names, copies, made, removed, .. } => {
            let names = names.iter().map(text::name).collect::<Vec<_>>().join(", ");
            format!("{copies} copies ({made} made, {removed} removed) of {}  {names}", text::short(digest))
        }
        Event::Materialized { from, path, mode, note, .. } => {
            format!("{mode:9} {} from {}{}", text::path(path), text::message(from), remark(note))
        }
        Event::Removed { digest, size_bytes, .. } => format!("removed   {digest} {}", context.size(*size_bytes)),
        Event::Found(Finding { code, digest, names, path, detail }) => {
            let digest = digest.map(|digest| format!("{digest}: ")).unwrap_or_default();
            let path = if path.as_os_str().is_empty() { String::new() } else { format!("{}: ", text::path(path)) };
            let names = names.iter().map(text::name).collect::<Vec<_>>().join(", ");
            let names = if names.is_empty() { names } else { format!("; named {names}") };
            format!("{}: {digest}{path}{}{names}", code.word(), text::message(detail))
        }
        Event::Hint { digest, names, detail } => {
            let names = names.iter().map(text::name).collect::<Vec<_>>().join(", ");
            let names = if names.is_empty() { names } else { format!("; named {names}") };
            format!("hint: {digest}: {}{names}", text::message(detail))
        }
        Event::Mended { finding, how, planned } => {
            let word = if *planned { "would mend" } else { "mended" };
            format!("{word} {} ({how})", words(context, &Event::Found(finding.clone())))
        }
        Event::Imported { line, key, status } => {
            format!("{status:9} line {line}: {} (entry:{})", text::message(&key.to_string()), key.id())
        }
        Event::LineSkipped { line, reason } => format!("skipped   line {line}: {}", text::message(reason)),
        other => text::message(&format!("{other:?}")),
    }
}

fn carriers_in_words(carriers: &[CarrierSeen]) -> String {
    let bad = carriers.iter().filter(|carrier| carrier.status != VerifyStatus::Ok);
    let words = bad.map(|c| format!("\n  carrier {} is {}: {}", c.number, c.status.word(), text::message(&c.detail)));
    words.collect()
}

fn carrier(seen: &CarrierSeen) -> Line {
    let line = Line::part().with("number", seen.number).with("status", seen.status.word());
    line.maybe("detail", (!seen.detail.is_empty()).then_some(&seen.detail)).damage(&seen.damage)
}

/// An event in JSON.
fn line(event: &Event) -> Option<Line> {
    Some(match event {
        Event::Added { name, digest, size_bytes, status, note } => Line::event("added")
            .name(name)
            .with("digest", digest.to_string())
            .with("size_bytes", size_bytes)
            .with("status", status.word())
            .maybe("note", note.as_ref()),
        Event::Skipped { path, reason } => refused("skipped", path, reason),
        Event::Failed { path, reason } => refused("failed", path, reason),
        Event::Removed { digest, size_bytes, freed_bytes } => Line::event("removed")
            .with("digest", digest.to_string())
            .with("size_bytes", size_bytes)
            .with("freed_bytes", freed_bytes),
        Event::Verified { digest, names, size_bytes, status, detail, damage, carriers } => {
            let line = Line::event("verified")
                .with("status", status.word())
                .with("digest", digest.to_string())
                .names(names.iter())
                .with("size_bytes", size_bytes)
                .maybe("detail", (!detail.is_empty()).then_some(detail));
            line.damage(damage).list_unless_empty("carriers", carriers.iter().map(carrier))
        }
        Event::Materialized { from, path, size_bytes, mode, note } => Line::event("materialized")
            .with("from", from)
            .path("path", path)
            .with("size_bytes", size_bytes)
            .with("mode", mode)
            .maybe("note", note.as_ref()),
        Event::Copies { digest, names, size_bytes, copies, made, removed } => Line::event("copies")
            .with("digest", digest.to_string())
            .names(names.iter())
            .with("size_bytes", size_bytes)
            .with("copies", copies)
            .with("made", made)
            .with("removed", removed),
        Event::Repaired(told) => mended::line(told),
        Event::Found(found) => finding(Line::event("finding"), found).with("mended_by", found.code.mend().word()),
        Event::Hint { digest, names, detail } => {
            Line::event("hint").with("digest", digest.to_string()).names(names.iter()).with("detail", detail)
        }
        Event::Mended { finding: found, how, planned } => {
            finding(Line::event(if *planned { "would_mend" } else { "mended" }), found).with("how", how)
        }
        Event::Imported { line, key, status } => Line::event("imported")
            .with("line", line)
            .with("id", key.id().to_string())
            .with("key", key.to_string())
            .with("status", status),
        Event::LineSkipped { line, reason } => {
            Line::event("skipped_line").with("line", line).with("reason", redacted(reason))
        }
        Event::BadLine { line, kind, reason } => {
            Line::event("bad_line").with("line", line).with("kind", kind).with("reason", redacted(reason))
        }
        Event::Notice { text } => Line::event("notice").with("text", redacted(text)),
        _ => return None,
    })
}

/// A path that was not taken, exact unless it is really a URL with a secret in it.
fn refused(event: &str, path: &Path, reason: &str) -> Line {
    let text = path.to_string_lossy();
    let line = match redacted(&text) {
        Cow::Borrowed(_) => Line::event(event).path("path", path),
        Cow::Owned(shown) => Line::event(event).with("path", shown),
    };
    line.with("reason", redacted(reason))
}

/// What a finding says of itself.
fn finding(line: Line, finding: &Finding) -> Line {
    line.with("code", finding.code.word())
        .maybe("digest", finding.digest.map(|digest| digest.to_string()))
        .names(finding.names.iter())
        .path("path", &finding.path)
        .with("detail", &finding.detail)
}

#[cfg(test)]
mod tests {
    use larder::vocabulary::events::AddStatus;
    use larder::{ByteRanges, Damage, Digest};

    use super::*;
    use crate::cli::output::Verbosity;
    use crate::cli::tests::context;

    fn added(note: Option<&str>) -> Event {
        Event::Added {
            name: Name::new("src/a").unwrap(),
            digest: Digest::EMPTY,
            size_bytes: 0,
            status: AddStatus::New,
            note: note.map(str::to_owned),
        }
    }

    #[test]
    fn an_added_file_is_exactly_the_promised_line() {
        let expected = format!(
            r#"{{"schema":1,"event":"added","name":"src/a","digest":"{}","size_bytes":0,"status":"new"}}"#,
            Digest::EMPTY
        );
        assert_eq!(line(&added(None)).unwrap().close(), expected);
        assert!(line(&added(Some("copied"))).unwrap().close().ends_with(r#","note":"copied"}"#));
    }

    #[test]
    fn a_verified_blob_is_exactly_the_promised_line() {
        let mut event = Event::Verified {
            digest: Digest::EMPTY,
            names: vec![Name::new("a").unwrap()],
            size_bytes: 7,
            status: VerifyStatus::Corrupt,
            detail: String::new(),
            damage: Damage::default(),
            carriers: Vec::new(),
        };
        let expected = format!(
            r#"{{"schema":1,"event":"verified","status":"corrupt","digest":"{}","names":["a"],"size_bytes":7}}"#,
            Digest::EMPTY
        );
        assert_eq!(line(&event).unwrap().close(), expected);
        if let Event::Verified { detail, damage, .. } = &mut event {
            "byte 3".clone_into(detail);
            damage.wrong = ByteRanges::of(vec![2..4, 8..9]);
        }
        let told = r#","detail":"byte 3","ranges":[{"start":2,"end":4},{"start":8,"end":9}],"wrong_bytes":3}"#;
        assert!(line(&event).unwrap().close().ends_with(told));
    }

    #[test]
    fn trouble_goes_to_standard_error_and_is_harmless_there() {
        let (context, out, err) = context("add", false, Verbosity::Normal);
        let watch = Watch::new(&context);
        watch.event(&added(None));
        watch.event(&Event::Failed { path: "a\x1b[2J".into(), reason: "no\nway".to_owned() });
        assert_eq!(out.text(), "");
        assert_eq!(err.text(), "failed: a\\u{1b}[2J: no\\nway\n");
        assert_eq!(watch.first_name(), Name::new("src/a").ok());
    }

    #[test]
    fn of_many_skipped_things_the_first_are_told_and_the_others_counted() {
        let skip = |verbosity, count: u64| {
            let (context, _, err) = context("add", false, verbosity);
            let watch = Watch::new(&context);
            for _ in 0..count {
                watch.event(&Event::Skipped { path: "a".into(), reason: "a link".to_owned() });
            }
            watch.finish();
            err.text()
        };
        assert_eq!(skip(Verbosity::Normal, SKIPPED_TOLD).lines().count(), SKIPPED_TOLD as usize);
        let told = skip(Verbosity::Normal, SKIPPED_TOLD + 1_000);
        assert_eq!(told.lines().count(), SKIPPED_TOLD as usize + 1);
        assert!(told.ends_with("skipped: 1000 more (-v or --json names them all)\n"), "{told}");
        assert_eq!(skip(Verbosity::Verbose, 100).lines().count(), 100);
        assert_eq!(skip(Verbosity::Quiet, 100), "");
    }

    #[test]
    fn notes_are_counted_and_bounded() {
        let (context, ..) = context("add", false, Verbosity::Quiet);
        let watch = Watch::new(&context);
        for i in 0..100 {
            watch.event(&added(Some(&format!("reason {}", i % 50))));
        }
        let notes = watch.notes();
        assert_eq!(notes.len(), NOTES_MAX + 1);
        assert_eq!(notes.iter().map(|(_, count)| count).sum::<u64>(), 100);
    }
}
