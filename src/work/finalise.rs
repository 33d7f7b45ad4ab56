//! Finalising: a finished temporary file, and where it came from, become a blob, a name and an entry of the catalog, in one
//! frame (R19 to R28).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::Context;
use super::catalog::register::{IfThere, KeptHere, NewVariant, Registration, register_with};
use super::catalog::verify::{self, Verified};
use super::ingest::{AddOptions, AddReport, AliasKind, Keeping, TakeIn, add_one};
use crate::format::options::{Options, PathLayout};
use crate::hashing::Digests;
use crate::ledger::{Entries, Tables, Tx};
use crate::machine::FileKind;
use crate::vocabulary::events::AddStatus;
use crate::vocabulary::url::{base_name_of_url, policy_name};
use crate::vocabulary::{
    Digest, Entry, EntryKind, Error, ErrorKind, Event, Key, Name, Observer, Result, State, StoredUri, Variant,
};

/// What a finished file is, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The entry that it belongs to: its key, and whatever is known of it. Variants of it that are named here are
    /// registered beside the file's own.
    pub registration: Registration,
    /// What the file is called within its entry; empty for the one that stands for the whole.
    pub variant: String,
    /// The digest that somebody said it has.
    pub expected: Option<Digest>,
    /// Its media type.
    pub content_type: String,
    /// What it was called where it came from, where the key's URL or reference does not say it: a URL or a path.
    pub called: String,
}

impl Finished {
    /// A file that stands for the whole of what `key` means.
    pub fn new(key: Key) -> Self {
        Finished {
            registration: Registration::new(key),
            variant: String::new(),
            expected: None,
            content_type: String::new(),
            called: String::new(),
        }
    }
}

/// How a finished file is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinaliseOptions {
    /// Whether it gets a path that people can read.
    pub layout: PathLayout,
    /// How its name is kept; `None` is the store's setting.
    pub alias: Option<AliasKind>,
    /// The name that it gets, in place of the one that follows from where it came from.
    pub name: Option<Name>,
    /// Whether it is registered. Without that it is kept, under a name, and the catalog knows nothing of it (R25).
    pub register: bool,
    /// What is done where there is an entry of the key. With [`IfThere::Keep`], one of other bytes is an error.
    pub if_there: IfThere,
    /// Read the bytes back and hash them once they are registered (R26).
    pub verify: bool,
    /// Leave the temporary file where it is, and copy it.
    pub leave: bool,
}

impl FinaliseOptions {
    /// As the options of a store say.
    pub fn of(options: &Options) -> Self {
        FinaliseOptions {
            layout: options.storage.layout,
            alias: None,
            name: None,
            register: options.catalog.enabled,
            if_there: IfThere::Merge,
            verify: options.catalog.verify_on_register,
            leave: false,
        }
    }
}

/// What became of a finished file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finalised {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Where it can be read: by the name that it got, if it has that on the disk, else its blob.
    pub path: PathBuf,
    /// Where it is kept (R16).
    pub uri: StoredUri,
    /// Whether its bytes are new, were known ([`AddStatus::is_dedup`]), or put damaged ones right.
    pub status: AddStatus,
    /// The name that it got.
    pub name: Option<Name>,
    /// Its entry as it is on record now; `None` where it was not registered.
    pub entry: Option<Entry>,
    /// Whether that entry was made now.
    pub entry_new: bool,
    /// What reading it back showed, if that was asked for.
    pub verified: Option<Verified>,
    /// Why the temporary file is still there, though it was to go.
    pub left: Option<String>,
}

impl Finalised {
    /// Whether its bytes are what they should be, as far as anybody said.
    pub fn is_good(&self) -> bool {
        self.entry.as_ref().is_none_or(|entry| entry.card.state != State::Failed)
            && self.verified.as_ref().is_none_or(Verified::is_good)
    }
}

/// Takes a finished temporary file in: it is hashed, kept once, named and registered, and all of that is one frame. The
/// temporary file goes only after that is durable; whatever fails or crashes before leaves it where it is.
///
/// Other bytes than `what.expected` are kept, to be looked at, without a name, and their entry is failed; where nothing is
/// registered they are [`ErrorKind::Mismatch`], and nothing is kept. [`ErrorKind::Taken`] where the name is another's, or
/// as `if_there` says.
pub fn finalise(
    ctx: &Context<'_>,
    file: &Path,
    what: Finished,
    options: &FinaliseOptions,
    observer: &dyn Observer,
) -> Result<Finalised> {
    let attempt = || format!("finalise {}", file.display());
    let meta = ctx.ledger.machine.lstat(file).map_err(|e| Error::io("look at", file, e))?;
    if meta.kind != FileKind::File {
        return Err(Error::new(ErrorKind::Invalid, attempt(), "it is no regular file"));
    }
    let key = what.registration.key.clone();
    let hardlinked = options.alias.map_or(ctx.hardlinked, |kind| kind == AliasKind::Hardlinked);
    let adding = AddOptions {
        // The name is settled in the transaction; this one is never used.
        name: Some(Name::new("finalised")?),
        take_in: if options.leave { TakeIn::Copy } else { TakeIn::Move },
        expect: what.expected.filter(|_| !options.register),
        // A path of its own for people to read is what the other layout is for.
        alias: Some(match options.layout {
            PathLayout::PolicyPath if hardlinked => AliasKind::Hardlinked,
            _ => AliasKind::Counted,
        }),
        ..AddOptions::default()
    };
    let keeping = Arc::new(Finishing { what, options: options.clone(), kept: Mutex::default() });
    let heard = Heard { observer, failed: Mutex::default(), note: Mutex::default() };
    let (report, trouble) = add_one(ctx, file, &adding, &heard, Arc::clone(&keeping) as Arc<dyn Keeping>)?;
    let Some(kept) = unpoisoned(&keeping.kept).take().filter(|_| report.failed + report.skipped == 0) else {
        if let Some(trouble) = trouble {
            return Err(trouble);
        }
        let stopped = || "it was stopped; the file is where it was".to_owned();
        let reason = unpoisoned(&heard.failed).take().unwrap_or_else(stopped);
        let kind = if report.interrupted { ErrorKind::Interrupted } else { ErrorKind::Taken };
        return Err(Error::new(kind, attempt(), reason));
    };
    let verified = match (&kept.entry, options.verify) {
        (Some(_), true) => Some(verify::verify(ctx, &key, None, None, BY, observer)?),
        _ => None,
    };
    let entry = verified.as_ref().map(|verified| verified.entry.clone()).or(kept.entry);
    Ok(Finalised {
        digest: kept.digest,
        size_bytes: kept.size_bytes,
        path: path_of(ctx, &kept.digest, kept.name.as_ref())?,
        uri: StoredUri::Blob(kept.digest),
        status: status_of(&report),
        name: kept.name,
        entry,
        entry_new: kept.entry_new,
        verified,
        left: unpoisoned(&heard.note).take().filter(|_| !options.leave && ctx.ledger.machine.lstat(file).is_ok()),
    })
}

/// Who hashed it, in the evidence of an entry.
const BY: &str = "finalise";

fn status_of(report: &AddReport) -> AddStatus {
    match report {
        AddReport { new_files: 1.., .. } => AddStatus::New,
        AddReport { healed_files: 1.., .. } => AddStatus::Healed,
        AddReport { unchanged_files: 1.., .. } => AddStatus::Unchanged,
        _ => AddStatus::Dedup,
    }
}

/// Where it can be read: by its name, if that is there, else at its digest.
fn path_of(ctx: &Context<'_>, digest: &Digest, name: Option<&Name>) -> Result<PathBuf> {
    let snapshot = ctx.ledger.known();
    if let Some(name) = name
        && snapshot.alias(name)?.is_some_and(|alias| alias.hardlinked && alias.digest == *digest)
        && ctx.ledger.machine.lstat(&ctx.ledger.layout.name(name)).is_ok()
    {
        return Ok(ctx.ledger.layout.name(name));
    }
    Ok(ctx.ledger.layout.blob(digest))
}

/// What the transaction came to.
struct Kept {
    digest: Digest,
    size_bytes: u64,
    name: Option<Name>,
    entry: Option<Entry>,
    entry_new: bool,
}

/// What is asked in the transaction that keeps the bytes.
struct Finishing {
    what: Finished,
    options: FinaliseOptions,
    kept: Mutex<Option<Kept>>,
}

impl Finishing {
    fn key(&self) -> &Key {
        &self.what.registration.key
    }

    /// Whether these are the bytes that somebody said they should be: now, or when the entry was registered.
    fn is_expected(&self, tx: &Tx<'_>, digest: &Digest) -> Result<bool> {
        let remembered = self.variant(tx)?.and_then(|variant| variant.expected);
        Ok(self.what.expected.or(remembered).is_none_or(|expected| expected == *digest))
    }

    /// The name that follows from where it came from (R7, R9).
    fn policy(&self) -> Name {
        let key = self.key();
        let called = match (self.what.called.as_str(), key.source_url()) {
            ("", Some(url)) => url,
            ("", None) if !self.what.variant.is_empty() => &self.what.variant,
            ("", None) => key.reference().rsplit('/').next().unwrap_or_default(),
            (called, _) => called,
        };
        if key.kind() == EntryKind::Document {
            return policy_name(key.reference(), called);
        }
        let version = key.version().filter(|version| !version.is_empty()).map_or(String::new(), |v| format!("/{v}"));
        let directory = format!("{}/{}{version}", key.provider(), key.reference());
        let plain = called.rsplit('/').next().filter(|_| !called.contains("://"));
        let base = plain.and_then(|base| Name::new(base).ok()).unwrap_or_else(|| base_name_of_url(called));
        let joined = Name::new([directory.as_bytes(), b"/", base.as_bytes()].concat());
        joined.unwrap_or_else(|_| policy_name(&directory, called))
    }

    /// The variant as it is on record now.
    fn variant(&self, tx: &Tx<'_>) -> Result<Option<Variant>> {
        let entry = Entries::entry(tx, self.key())?.filter(|entry| entry.trashed_ns.is_none());
        Ok(entry.and_then(|entry| entry.variant(&self.what.variant).cloned()))
    }

    /// The digest and name that the entry has now for this variant.
    fn before(&self, tx: &Tx<'_>) -> Result<(Option<Digest>, Option<Name>)> {
        Ok(self.variant(tx)?.map_or((None, None), |variant| (variant.digest, variant.alias)))
    }

    /// What is done where there is an entry, and whether that forbids it.
    fn if_there(&self, tx: &Tx<'_>, digest: &Digest) -> Result<IfThere> {
        match (self.options.if_there, self.before(tx)?.0) {
            (IfThere::Keep, Some(before)) if before != *digest => {
                let reason = format!("it is registered with other bytes: {before}, and these are {digest}");
                Err(Error::new(ErrorKind::Taken, format!("register {}", self.key()), reason))
            }
            // An entry without bytes gets them.
            (IfThere::Keep, None) => Ok(IfThere::Merge),
            (if_there, _) => Ok(if_there),
        }
    }
}

impl Keeping for Finishing {
    fn name(&self, tx: &Tx<'_>, digest: &Digest) -> Result<Option<(Name, bool)>> {
        if self.options.register {
            self.if_there(tx, digest)?;
        }
        // What nobody is to take for good has no path.
        if self.options.register && !self.is_expected(tx, digest)? {
            return Ok(None);
        }
        if let Some(name) = &self.options.name {
            return Ok(Some((name.clone(), false)));
        }
        // What an entry keeps needs no name.
        if self.options.register && self.options.layout == PathLayout::Cas {
            return Ok(None);
        }
        let policy = self.policy();
        let (before, own) = if self.options.register { self.before(tx)? } else { (None, None) };
        Ok(Some(match tx.alias(&policy)? {
            Some(alias) if alias.digest == *digest => (policy, false),
            // Its own name goes from its old bytes to its new ones.
            Some(alias) if own.as_ref() == Some(&policy) && before == Some(alias.digest) => (policy, true),
            None if tx.clash(&policy)?.is_none() => (policy, false),
            _ => (beside(&policy, digest)?, false),
        }))
    }

    fn kept(&self, tx: &mut Tx<'_>, digest: &Digest, size_bytes: u64, name: Option<Name>) -> Result<()> {
        let mut kept = Kept { digest: *digest, size_bytes, name: name.clone(), entry: None, entry_new: false };
        if self.options.register {
            let if_there = self.if_there(tx, digest)?;
            let mut registration = self.what.registration.clone();
            let own = self.what.variant.clone();
            registration.variants.retain(|variant| variant.name != own);
            registration.variants.insert(
                0,
                NewVariant {
                    name: own.clone(),
                    expected: self.what.expected,
                    content_type: self.what.content_type.clone(),
                    ..NewVariant::default()
                },
            );
            registration.hashed_by.get_or_insert_with(|| BY.to_owned());
            let here = KeptHere { variant: own, digest: *digest, size_bytes, name };
            let done = register_with(tx, registration, if_there, Some(&here))?;
            (kept.entry, kept.entry_new) = (Some(done.entry), done.new);
        }
        *unpoisoned(&self.kept) = Some(kept);
        Ok(())
    }
}

/// A name beside `name`, which other bytes have: with the beginning of the digest before what it ends in.
fn beside(name: &Name, digest: &Digest) -> Result<Name> {
    let bytes = name.as_bytes();
    let base_at = bytes.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
    let dot = bytes[base_at..].iter().rposition(|b| *b == b'.').filter(|at| *at > 0).map(|at| base_at + at);
    let (stem, ending) = bytes.split_at(dot.unwrap_or(bytes.len()));
    let mark = format!("-{}", &digest.to_hex()[..12]);
    Name::new([stem, mark.as_bytes(), ending].concat()).or_else(|_| {
        let base = Digests::of(bytes).digest.to_hex();
        Name::new([&bytes[..base_at], &base.as_bytes()[..12], mark.as_bytes()].concat())
    })
}

/// Hands progress on, and remembers what became of the one file.
struct Heard<'a> {
    observer: &'a dyn Observer,
    failed: Mutex<Option<String>>,
    note: Mutex<Option<String>>,
}

impl Observer for Heard<'_> {
    fn event(&self, event: &Event) {
        match event {
            Event::Added { note, .. } => unpoisoned(&self.note).clone_from(note),
            Event::Failed { reason, .. } | Event::Skipped { reason, .. } => {
                *unpoisoned(&self.failed) = Some(reason.clone());
            }
            other => self.observer.event(other),
        }
    }

    fn expect(&self, files: u64, bytes: u64) {
        self.observer.expect(files, bytes);
    }

    fn progress(&self, files: u64, bytes: u64) {
        self.observer.progress(files, bytes);
    }

    fn cancelled(&self) -> bool {
        self.observer.cancelled()
    }
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
