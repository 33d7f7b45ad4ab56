//! What `larder verify` does beside blobs: entries of the catalog, and any file.

use std::path::{Path, PathBuf};

use anyhow::Result;
use larder::store::Store;
use larder::work::catalog::verify::{VariantOutcome, VariantStatus, Verified, verify_digest};
use larder::{Digest, EntryTarget, ErrorKind};

use crate::cli::context::{Context, absolute};
use crate::cli::exit::Exit;
use crate::cli::json::Line;
use crate::cli::text;
use crate::cli::watch::Watch;

/// What verifying entries came to.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) good: u64,
    pub(super) bad: u64,
    pub(super) interrupted: bool,
}

/// Verifies entries, one after the other. `file` is where the bytes of one are that does not say so, and
/// `expected` the digest that they should have.
pub(super) fn entries(
    context: &Context,
    store: &Store,
    targets: &[EntryTarget],
    (file, expected): (Option<&Path>, Option<Digest>),
    watch: &Watch<'_>,
) -> Result<Entries> {
    use larder::Observer as _;
    let file = file.map(|file| real(context, file)).transpose()?;
    let mut done = Entries::default();
    for target in targets {
        if watch.cancelled() {
            done.interrupted = true;
            break;
        }
        let key = store.find_entry(target)?.card.key;
        let verified = match store.verify_entry(&key, file.as_deref(), expected, "verify", watch) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {
                done.interrupted = true;
                break;
            }
            verified => verified?,
        };
        *(if verified.is_good() { &mut done.good } else { &mut done.bad }) += 1;
        if context.out.json() {
            context.out.tell(line(&verified));
        } else if context.out.verbose() || !verified.is_good() {
            context.out.say(&words(&verified));
        }
    }
    Ok(done)
}

/// The path of a file from the root on, without `..` and links on the way to it: what goes on record means the same tomorrow.
fn real(context: &Context, file: &Path) -> Result<PathBuf> {
    let absolute = absolute(file)?;
    Ok(match (absolute.parent().map(|parent| context.machine.canonical(parent)), absolute.file_name()) {
        (Some(Ok(parent)), Some(name)) => parent.join(name),
        _ => absolute,
    })
}

/// Holds any file against a digest.
pub(super) fn file(context: &Context, path: &Path, expected: &Digest) -> Result<Exit> {
    let found = verify_digest(&*context.machine, &absolute(path)?, expected);
    let status = match &found {
        Ok(()) => "ok",
        Err(e) if e.kind() == ErrorKind::Mismatch => "mismatch",
        Err(_) => return Err(found.expect_err("it is no success").into()),
    };
    if context.out.json() {
        let line = Line::event("verified_file").path("path", path).with("status", status);
        let line = line.with("expected", expected.to_string());
        context.out.object(line.maybe("detail", found.as_ref().err().map(ToString::to_string)))?;
    } else {
        match found {
            Ok(()) => context.out.summary(&format!("ok: {} is {expected}", text::path(path))),
            Err(e) => context.out.line(&format!("mismatch: {}", text::message(&e.to_string())))?,
        }
    }
    Ok(if status == "ok" { Exit::Done } else { Exit::Findings })
}

fn line(verified: &Verified) -> Line {
    let card = &verified.entry.card;
    Line::event("verified_entry")
        .with("id", verified.entry.id().to_string())
        .with("key", card.key.to_string())
        .with("good", verified.is_good())
        .with("before", verified.before.word())
        .with("state", card.state.word())
        .with("trust", card.trust.word())
        .list("variants", verified.variants.iter().map(variant))
}

fn variant(outcome: &VariantOutcome) -> Line {
    let line = Line::part()
        .with("name", &outcome.name)
        .with("status", outcome.status.word())
        .with("expected", outcome.expected.map(|digest| digest.to_string()))
        .with("found", outcome.found.map(|digest| digest.to_string()))
        .with("size_bytes", outcome.size_bytes);
    let line = match &outcome.path {
        Some(path) => line.path("path", path),
        None => line.with("path", ()),
    };
    line.maybe("reason", (!outcome.reason.is_empty()).then_some(&outcome.reason))
}

fn words(verified: &Verified) -> String {
    let card = &verified.entry.card;
    let word = if verified.is_good() { "ok" } else { "not verified" };
    let mut words = format!(
        "{word}: {} (entry:{}) was {} and is {}, {}",
        text::message(&card.key.to_string()),
        verified.entry.id(),
        verified.before.word(),
        card.state.word(),
        card.trust.word()
    );
    for one in &verified.variants {
        let name = if one.name.is_empty() { "(the whole)".to_owned() } else { text::message(&one.name) };
        words.push_str(&format!("\n  {} {name}{}", one.status.word(), detail(one)));
    }
    words
}

fn detail(outcome: &VariantOutcome) -> String {
    match (outcome.status, &outcome.expected, &outcome.found) {
        (VariantStatus::Mismatch, Some(expected), Some(found)) => format!(": found {found}, expected {expected}"),
        (VariantStatus::Mismatch, None, Some(found)) => format!(": found {found}, which is not its digest on record"),
        _ if !outcome.reason.is_empty() => format!(": {}", text::message(&outcome.reason)),
        (_, _, Some(found)) => format!(": {found}"),
        _ => String::new(),
    }
}
