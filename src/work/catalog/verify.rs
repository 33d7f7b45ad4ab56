//! Verifying entries: their bytes against what was expected of them.

use std::io;
use std::path::{Path, PathBuf};

use super::{now_ns, present, put_card, put_variant};
use crate::hashing::Hasher;
use crate::hashing::file::read_through;
use crate::ledger::{Tables, Tx};
use crate::machine::{FileKind, Machine, Open};
use crate::vocabulary::entry::By;
use crate::vocabulary::{
    Card, Digest, Entry, Error, ErrorKind, Evidence, Key, Observer, Result, State, StoredUri, Trust, Variant,
};
use crate::work::Context;

/// What was found about one variant (R81).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VariantStatus {
    /// Its bytes are what somebody said they should be.
    Ok,
    /// They were hashed, and nobody had said what they should be.
    Unexpected,
    /// They are not what they should be.
    Mismatch,
    /// They are not where they should be.
    Missing,
    /// They could not be read to their end; nothing is known about them.
    Unreadable,
    /// It is not known where they are.
    Unlocated,
}

impl VariantStatus {
    /// Whether it says anything but that the bytes were read and are right, as far as anybody knows.
    pub fn is_bad(self) -> bool {
        !matches!(self, VariantStatus::Ok | VariantStatus::Unexpected)
    }

    /// The word for it in JSON and on the terminal.
    pub fn word(self) -> &'static str {
        match self {
            VariantStatus::Ok => "ok",
            VariantStatus::Unexpected => "hashed",
            VariantStatus::Mismatch => "mismatch",
            VariantStatus::Missing => "missing",
            VariantStatus::Unreadable => "unreadable",
            VariantStatus::Unlocated => "unlocated",
        }
    }
}

/// What was found about one variant, and by which digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariantOutcome {
    /// The variant's name.
    pub name: String,
    /// What was found.
    pub status: VariantStatus,
    /// The digest that it should have.
    pub expected: Option<Digest>,
    /// The digest that its bytes have.
    pub found: Option<Digest>,
    /// Its length in bytes, as it was read.
    pub size_bytes: Option<u64>,
    /// The file that was read, or should have been.
    pub path: Option<PathBuf>,
    /// Why it is missing or unreadable.
    pub reason: String,
}

/// What verifying an entry came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The entry as it is on record now.
    pub entry: Entry,
    /// The state that it was in before.
    pub before: State,
    /// Each of its variants.
    pub variants: Vec<VariantOutcome>,
}

impl Verified {
    /// Whether all of its bytes were read, and none are other than expected.
    pub fn is_good(&self) -> bool {
        !self.variants.is_empty() && !self.variants.iter().any(|one| one.status.is_bad())
    }
}

/// Hashes the bytes of an entry's variants, wherever they are, and puts on record what they show (R82, R98).
///
/// All of them right: the entry becomes active. One of them other than expected: it becomes failed, and keeps its bytes, to
/// be looked at. One that is missing or cannot be read shows nothing about the bytes: the state stays. A retired entry
/// stays retired, with new evidence. `path`: the file of the variant that stands for the whole, for an entry that does not
/// say where its bytes are. `expected`: the digest that that variant, or the only one, should have from now on
/// ([`ErrorKind::Invalid`] where it is not clear which). `by` is said in the evidence.
/// [`ErrorKind::Interrupted`] where `observer` wants to stop: nothing is put on record then.
pub fn verify(
    ctx: &Context<'_>,
    key: &Key,
    path: Option<&Path>,
    expected: Option<Digest>,
    by: &str,
    observer: &dyn Observer,
) -> Result<Verified> {
    let entry =
        super::find::get(ctx, key)?.ok_or_else(|| super::not_found(key, "there is no such entry in the catalog"))?;
    let mut variants = entry.variants.clone();
    if variants.is_empty() && path.is_some() {
        variants.push(Variant::new("", entry.card.registered_ns));
    }
    if let Some(expected) = expected {
        expect(&mut variants, &entry, expected)?;
    }
    observer.expect(variants.len() as u64, variants.iter().filter_map(|variant| variant.size_bytes).sum());
    let mut outcomes = Vec::with_capacity(variants.len());
    for variant in &variants {
        outcomes.push(examine(ctx, variant, path, observer)?);
        observer.progress(1, 0);
    }
    let (key, by, seen) = (key.clone(), by.to_owned(), outcomes.clone());
    let (entry, before) = ctx.ledger.transact(move |tx| record(tx, &key, &entry, seen, by))?;
    Ok(Verified { entry, before, variants: outcomes })
}

/// Says what the bytes of the variant that stands for the whole should be.
fn expect(variants: &mut Vec<Variant>, entry: &Entry, expected: Digest) -> Result<()> {
    if variants.is_empty() {
        variants.push(Variant::new("", entry.card.registered_ns));
    }
    let name = match variants.as_slice() {
        [only] => only.name.clone(),
        _ => String::new(),
    };
    let Some(meant) = variants.iter_mut().find(|variant| variant.name == name) else {
        let reason = "none of its variants stands for the whole";
        return Err(Error::new(ErrorKind::Invalid, format!("hold {} against one digest", entry.card.key), reason));
    };
    meant.expected = Some(expected);
    Ok(())
}

/// Hashes any file and holds it against a digest (R80). [`ErrorKind::Mismatch`], saying both, where it has another one.
pub fn verify_digest(machine: &dyn Machine, path: &Path, expected: &Digest) -> Result<()> {
    let (found, _) = hash(machine, path, &|_| true)?;
    if found == *expected {
        return Ok(());
    }
    let reason = format!("its digest is {found}, and {expected} was expected");
    Err(Error::new(ErrorKind::Mismatch, format!("verify {}", path.display()), reason))
}

/// Digest and length of a regular file: what a fifo or device gives is nobody's bytes, and may have no end. `go_on` is asked
/// between pieces, with their bytes; [`ErrorKind::Interrupted`] where it says no.
pub(in crate::work) fn hash(machine: &dyn Machine, path: &Path, go_on: &dyn Fn(u64) -> bool) -> Result<(Digest, u64)> {
    let file = machine.open(path, Open::Read).map_err(|e| Error::io("open", path, e))?;
    let meta = file.meta().map_err(|e| Error::io("look at", path, e))?;
    if meta.kind != FileKind::File {
        return Err(Error::new(ErrorKind::Unsupported, format!("hash {}", path.display()), "it is no regular file"));
    }
    let mut hasher = Hasher::default();
    let read = read_through(file.as_ref(), &mut hasher, go_on, &mut |_, _| Ok(()));
    let size_bytes = read.map_err(|e| match e.kind() {
        io::ErrorKind::Interrupted => {
            Error::new(ErrorKind::Interrupted, format!("read {}", path.display()), "somebody asked to stop")
        }
        _ => Error::io("read", path, e),
    })?;
    Ok((hasher.finish().digest, size_bytes))
}

/// Where a variant's bytes are: in the store, or in a file that its URI names.
fn place(ctx: &Context<'_>, variant: &Variant, path: Option<&Path>) -> Result<Option<PathBuf>> {
    if let Some(digest) = &variant.digest
        && ctx.ledger.blobs.meta(digest)?.is_some()
    {
        return Ok(Some(ctx.ledger.layout.blob(digest)));
    }
    match path {
        Some(path) if variant.name.is_empty() => Ok(Some(path.to_owned())),
        _ => Ok(file_of(&variant.uri)),
    }
}

/// The path of a `file:` URI.
fn file_of(uri: &str) -> Option<PathBuf> {
    StoredUri::parse(uri).ok()?.path().map(Path::to_owned)
}

fn examine(
    ctx: &Context<'_>,
    variant: &Variant,
    path: Option<&Path>,
    observer: &dyn Observer,
) -> Result<VariantOutcome> {
    // The address of a blob in the store says what its bytes should be, and what somebody else said goes before that.
    let wanted = variant.expected.or(variant.digest);
    let outcome = |status, reason: String| VariantOutcome {
        name: variant.name.clone(),
        status,
        expected: variant.expected,
        found: None,
        size_bytes: None,
        path: None,
        reason,
    };
    let path = match place(ctx, variant, path) {
        Ok(Some(path)) => path,
        Ok(None) if variant.digest.is_some() => {
            return Ok(outcome(VariantStatus::Missing, "the store does not have it".into()));
        }
        Ok(None) => return Ok(outcome(VariantStatus::Unlocated, "it is not known where its bytes are".into())),
        Err(e) => return Ok(outcome(VariantStatus::Unreadable, e.to_string())),
    };
    let go_on = |bytes| {
        observer.progress(0, bytes);
        !observer.cancelled()
    };
    Ok(match hash(ctx.ledger.machine.as_ref(), &path, &go_on) {
        Err(e) if e.kind() == ErrorKind::Interrupted => return Err(e),
        Ok((found, size)) => {
            let status = match wanted {
                Some(wanted) if wanted != found => VariantStatus::Mismatch,
                _ if variant.expected.is_some() => VariantStatus::Ok,
                _ => VariantStatus::Unexpected,
            };
            let seen = outcome(status, String::new());
            VariantOutcome { found: Some(found), size_bytes: Some(size), path: Some(path), ..seen }
        }
        Err(e) => {
            let status = match e.kind() {
                ErrorKind::NotFound => VariantStatus::Missing,
                _ => VariantStatus::Unreadable,
            };
            VariantOutcome { path: Some(path), ..outcome(status, e.to_string()) }
        }
    })
}

/// What was found goes on record, unless the variants were changed meanwhile: then nothing was found about those.
fn record(
    tx: &mut Tx<'_>,
    key: &Key,
    seen: &Entry,
    outcomes: Vec<VariantOutcome>,
    by: String,
) -> Result<(Entry, State)> {
    let now = present(tx, key)?;
    let before = now.card.state;
    if now.variants != seen.variants {
        let attempt = format!("verify {key}");
        return Err(Error::new(ErrorKind::Busy, attempt, "somebody changed its variants meanwhile: verify it again"));
    }
    let now_ns = now_ns(tx);
    for outcome in &outcomes {
        learn(tx, &now, outcome, now_ns)?;
    }
    let mut card = now.card;
    judge(&mut card, &outcomes, by, now_ns)?;
    put_card(tx, card)?;
    Ok((present(tx, key)?, before))
}

/// What was not known of a variant before it was hashed is known now.
fn learn(tx: &mut Tx<'_>, entry: &Entry, outcome: &VariantOutcome, now_ns: u64) -> Result<()> {
    let Some(found) = outcome.found else { return Ok(()) };
    let there = entry.variant(&outcome.name).cloned();
    let mut variant = there.unwrap_or_else(|| Variant::new(outcome.name.clone(), now_ns));
    variant.expected = outcome.expected;
    // A file that was wrong and is right now has another digest; a blob keeps its address whatever its bytes are.
    let learns = match &variant.digest {
        None => true,
        Some(digest) => outcome.status == VariantStatus::Ok && tx.blob(digest)?.is_none(),
    };
    if learns {
        variant.digest = Some(found);
        variant.size_bytes = outcome.size_bytes;
        if variant.uri.is_empty()
            && let Some(uri) = outcome.path.as_ref().and_then(|path| StoredUri::of_file(path).ok())
        {
            variant.uri = uri.to_string();
        }
    }
    put_variant(tx, entry.id(), variant)
}

fn judge(card: &mut Card, outcomes: &[VariantOutcome], by: String, now_ns: u64) -> Result<()> {
    let wrong = outcomes.iter().find(|one| one.status == VariantStatus::Mismatch);
    let unread = outcomes.iter().any(|one| one.found.is_none());
    let Some(shows) = wrong.or(outcomes.first()) else { return Ok(()) };
    if wrong.is_none() && unread {
        return Ok(());
    }
    card.evidence = Some(Evidence { expected: shows.expected, found: shows.found, when_ns: now_ns, by });
    card.updated_ns = now_ns;
    let to = if wrong.is_some() { State::Failed } else { State::Active };
    if card.state.may_become(to, By::Verification) {
        card.state = to;
    }
    card.trust = match wrong {
        Some(_) => Trust::Unverified,
        None if outcomes.iter().all(|one| one.status == VariantStatus::Ok) => Trust::Verified,
        None => Trust::Warned,
    };
    if wrong.is_none() {
        card.verified_ns = Some(now_ns);
    }
    Ok(())
}
