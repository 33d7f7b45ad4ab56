//! One batch: synced, published, recorded under `lock`, acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::stage::Staged;
use crate::format::record::copies::{SourceFile, SourcesRecord, remembered};
use crate::format::record::{AliasRecord, BlobRecord, HealedRecord, Record, Replaced};
use crate::format::settings::Durability;
use crate::format::table::BlobRow;
use crate::hashing::{Digests, Workers};
use crate::ledger::{Ledger, Tables, Tx};
use crate::machine::{File, Meta, Open};
use crate::parts::blobs::{self, BlobDirs};
use crate::parts::sessions::Session;
use crate::vocabulary::events::AddStatus;
use crate::vocabulary::{Digest, Error, Name, Result, Stamp};

/// More staged files than this are synced with one `syncfs` where that can be trusted.
const FEW_FILES: usize = 2;

/// What became of one source of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Kept.
    Added(AddStatus),
    /// Not kept, and why.
    Refused(String),
    /// The stored copy that it rested on is no longer what it was: stage it and try again.
    Again,
}

/// What a commit needs to know besides the sources.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub replace: bool,
    pub hardlinked: bool,
    /// Whether the sources stay where they are, and may be asked for their bytes again.
    pub sources_stay: bool,
}

/// What a committed batch came to.
pub(super) struct Committed {
    /// One for each source, in order.
    pub outcomes: Vec<Outcome>,
    /// Things that the user should know.
    pub notices: Vec<String>,
}

/// The descriptor whose `syncfs` vouches for a batch: opened before its first byte is written.
pub(super) fn witness(ledger: &Ledger) -> Result<Option<Box<dyn File>>> {
    if ledger.policy.durability != Durability::Batch || !ledger.policy.syncfs {
        return Ok(None);
    }
    let staging = ledger.layout.staging();
    ledger.machine.open(&staging, Open::Directory).map(Some).map_err(|e| Error::io("open", &staging, e))
}

/// Syncs a staged file where each is synced by itself, whatever staged it.
pub(super) fn sync_if_each(ledger: &Ledger, staged: Staged) -> Result<Staged> {
    if let (Durability::Each, Some((path, _))) = (ledger.policy.durability, &staged.file) {
        sync_file(ledger, path)?;
    }
    Ok(staged)
}

/// Syncs every staged file. An error means that nothing of the batch is kept.
pub(super) fn sync_staged(
    ledger: &Ledger,
    workers: &Workers,
    witness: Option<&dyn File>,
    batch: &[Staged],
) -> Result<()> {
    let paths: Vec<&PathBuf> = batch.iter().filter_map(|staged| staged.file.as_ref().map(|(path, _)| path)).collect();
    match witness {
        Some(witness) if paths.len() > FEW_FILES => {
            witness.sync_filesystem().map_err(|e| Error::io("sync", &ledger.layout.staging(), e))
        }
        _ => workers.map(paths, |path| sync_file(ledger, path)).into_iter().collect(),
    }
}

/// Syncs one staged file.
fn sync_file(ledger: &Ledger, path: &Path) -> Result<()> {
    let file = ledger.machine.open(path, Open::Read).map_err(|e| Error::io("open", path, e))?;
    file.sync().map_err(|e| Error::io("sync", path, e))
}

/// Publishes what is staged and records it. Files that are there without a record are left for [`resolve`].
pub(super) fn commit(ledger: &Ledger, session: &Arc<Session>, batch: &[Staged], rules: Rules) -> Result<Committed> {
    let mut dirs = BlobDirs::default();
    let mut published = BTreeSet::new();
    let known = ledger.known();
    for staged in batch {
        let digest = staged.digests.digest;
        let Some((path, _)) = staged.file.as_ref().filter(|_| published.insert(digest)) else { continue };
        // A blob on record whose file is bad or gone is healed by its record, not by a link: its names follow then.
        if known.blob(&digest)?.is_none() {
            ledger.blobs.publish(path, &digest, &mut dirs)?;
        }
    }
    if ledger.policy.durability != Durability::None {
        ledger.blobs.sync(&dirs)?;
    }
    let (batch, session) = (batch.to_vec(), Arc::clone(session));
    ledger.transact(move |tx| record(tx, &session, &batch, rules))
}

fn record(tx: &mut Tx<'_>, session: &Session, batch: &[Staged], rules: Rules) -> Result<Committed> {
    let mut blobs = resolve(tx, session, batch)?;
    if rules.sources_stay {
        remember_sources(tx, &blobs, batch)?;
    }
    let mut notices = Vec::new();
    let mut outcomes = Vec::with_capacity(batch.len());
    for staged in batch {
        let blob = blobs.get_mut(&staged.digests.digest).expect("every digest of the batch was resolved");
        outcomes.push(match blob {
            Resolved::Again => Outcome::Again,
            Resolved::Kept(status) => name(tx, staged, status, rules, &mut notices)?,
        });
    }
    drop_unnamed(tx, &blobs)?;
    // Nothing is rested on yet that this very frame says.
    session.restamp(tx.moment().sequence - 1)?;
    Ok(Committed { outcomes, notices })
}

/// Puts on record where bytes came from that are new here, or good again: `repair` looks there for them. What was known
/// before stays, behind what was read just now.
fn remember_sources(tx: &mut Tx<'_>, blobs: &BTreeMap<Digest, Resolved>, batch: &[Staged]) -> Result<()> {
    let mut fresh: BTreeMap<Digest, Vec<SourceFile>> = BTreeMap::new();
    for staged in batch {
        let digest = staged.digests.digest;
        let is_fresh = matches!(blobs.get(&digest), Some(Resolved::Kept(AddStatus::New | AddStatus::Healed)));
        if is_fresh && digest != Digest::EMPTY {
            fresh.entry(digest).or_default().extend(source_file(staged));
        }
    }
    for (digest, now) in fresh {
        let healed = matches!(blobs.get(&digest), Some(Resolved::Kept(AddStatus::Healed)));
        let before = if healed { tx.sources(&digest)?.map_or(Vec::new(), |row| row.files) } else { Vec::new() };
        let files = remembered(now.into_iter().chain(before.iter().cloned()));
        if files != before {
            let since = tx.moment();
            tx.push(Record::Sources(SourcesRecord { digest, files, since }));
        }
    }
    Ok(())
}

fn source_file(staged: &Staged) -> Option<SourceFile> {
    let path = staged.item.path.as_os_str().as_bytes().to_vec();
    staged.source.map(|meta| SourceFile {
        path,
        size_bytes: meta.size_bytes,
        mtime_ns: meta.mtime_ns,
        ctime_ns: meta.ctime_ns,
        inode: meta.inode,
        device: meta.device,
    })
}

/// What became of one digest of a batch.
enum Resolved {
    /// It is on record; the status is that of the first name that it gets.
    Kept(AddStatus),
    Again,
}

/// Sees for each digest that its blob is on record and in place, under `lock`.
fn resolve(tx: &mut Tx<'_>, session: &Session, batch: &[Staged]) -> Result<BTreeMap<Digest, Resolved>> {
    let mut by_digest: BTreeMap<Digest, Vec<&Staged>> = BTreeMap::new();
    for staged in batch {
        by_digest.entry(staged.digests.digest).or_default().push(staged);
    }
    let mut dirs = BlobDirs::default();
    let mut resolved = BTreeMap::new();
    for (digest, sources) in by_digest {
        resolved.insert(digest, resolve_one(tx, session, &sources, &mut dirs)?);
    }
    if tx.ledger().policy.durability != Durability::None {
        tx.ledger().blobs.sync(&dirs)?;
        // A heal is finished from the staged file, if need be by somebody else after a crash.
        if resolved.values().any(|resolved| matches!(resolved, Resolved::Kept(AddStatus::Healed))) {
            session.sync_folders()?;
        }
    }
    Ok(resolved)
}

fn resolve_one(tx: &mut Tx<'_>, session: &Session, sources: &[&Staged], dirs: &mut BlobDirs) -> Result<Resolved> {
    let digest = sources[0].digests.digest;
    let row = tx.blob(&digest)?;
    let there = tx.ledger().blobs.meta(&digest)?.as_ref().map(blobs::stamp);
    let damaged = tx.damaged(&digest)?.is_some();
    let hashed = |good: bool| {
        let seen =
            |s: &&Staged| s.hashed.is_some_and(|(stamp, was)| was == good && there.is_some_and(|t| stamp.agrees(&t)));
        sources.iter().any(seen)
    };
    if let Some(row) = &row {
        let as_recorded = there.is_some_and(|there| row.stamp.agrees(&there));
        if as_recorded && row.is_verified() && !damaged && !hashed(false) {
            return Ok(Resolved::Kept(AddStatus::Dedup));
        }
        if let Some(there) = there.filter(|_| hashed(true)) {
            match restamped(sources[0], there, row) {
                Record::Healed(heal) => tx.heal(heal)?,
                other => tx.push(other),
            }
            return Ok(Resolved::Kept(AddStatus::Dedup));
        }
    }
    let Some((source, path, stamp)) = sources.iter().find_map(|s| s.file.as_ref().map(|(p, stamp)| (*s, p, *stamp)))
    else {
        return Ok(Resolved::Again);
    };
    match (row, there) {
        // On record, and in its place something that nobody here has hashed: that happens outside the lock.
        (Some(_), Some(_)) if !damaged && !hashed(false) => Ok(Resolved::Again),
        (Some(row), _) => {
            tx.heal(healed(tx, source, path, stamp, &row))?;
            Ok(Resolved::Kept(AddStatus::Healed))
        }
        (None, there) => {
            publish_here(tx, session, path, &digest, stamp, there, dirs)?;
            let record = BlobRecord { digest, blake3: source.digests.blake3, stamp, added: tx.moment() };
            tx.push(Record::Blob(record));
            Ok(Resolved::Kept(AddStatus::New))
        }
    }
}

/// Makes sure that the file in place is our own synced one: one that is there without a record may be of a maker whose
/// sync failed.
fn publish_here(
    tx: &Tx<'_>,
    session: &Session,
    path: &Path,
    digest: &Digest,
    stamp: Stamp,
    there: Option<Stamp>,
    dirs: &mut BlobDirs,
) -> Result<()> {
    let blobs = &tx.ledger().blobs;
    match there {
        Some(there) if there.inode == stamp.inode => Ok(()),
        Some(_) => blobs.replace(path, &session.next_path(), digest, dirs),
        // Somebody else, not under `lock`, may publish theirs this moment.
        None if blobs.publish(path, digest, dirs)? => Ok(()),
        None => blobs.replace(path, &session.next_path(), digest, dirs),
    }
}

/// Good bytes under another stamp than the recorded one. Where it is another file, the names have to follow: it is a heal
/// for which nothing is staged.
fn restamped(staged: &Staged, stamp: Stamp, row: &BlobRow) -> Record {
    let (Digests { digest, blake3, .. }, added) = (staged.digests, row.added);
    if stamp.inode == row.stamp.inode {
        return Record::Blob(BlobRecord { digest, blake3, stamp, added });
    }
    let staged = String::new();
    Record::Healed(HealedRecord { digest, blake3, bad: Some(row.stamp), good: stamp, staged, added })
}

fn healed(tx: &Tx<'_>, source: &Staged, path: &Path, good: Stamp, row: &BlobRow) -> HealedRecord {
    let root = tx.ledger().layout.root();
    let staged = path.strip_prefix(root).expect("staging is below the store").to_string_lossy().into_owned();
    let (Digests { digest, blake3, .. }, bad) = (source.digests, Some(row.stamp));
    HealedRecord { digest, blake3, bad, good, staged, added: row.added }
}

/// Gives a source its name.
fn name(
    tx: &mut Tx<'_>,
    staged: &Staged,
    status: &mut AddStatus,
    rules: Rules,
    notices: &mut Vec<String>,
) -> Result<Outcome> {
    let (name, digest) = (&staged.item.name, staged.digests.digest);
    let before = tx.alias(name)?;
    if before.as_ref().is_some_and(|alias| alias.digest == digest) {
        let healed = *status == AddStatus::Healed;
        *status = AddStatus::Dedup;
        return Ok(Outcome::Added(if healed { AddStatus::Healed } else { AddStatus::Unchanged }));
    }
    if let Some(alias) = before.as_ref().filter(|_| !rules.replace) {
        return Ok(Outcome::Refused(format!("the name {name:?} already means other bytes ({})", alias.digest)));
    }
    if before.is_none() {
        if let Some(other) = tx.clash(name)? {
            return Ok(Outcome::Refused(format!(
                "the name {name:?} cannot be beside {other:?}: one would be a directory"
            )));
        }
        for other in tx.same_but_for_case(name)? {
            notices.push(format!("the names {name:?} and {other:?} differ by case only"));
        }
    }
    let replaces = before.map(|alias| replaced(tx, &alias)).transpose()?;
    tx.push(Record::Alias(alias_record(tx, staged, name, rules, replaces)));
    if let Some(replaced) = replaces {
        tx.note_if_unrooted(&replaced.digest)?;
    }
    Ok(Outcome::Added(std::mem::replace(status, AddStatus::Dedup)))
}

fn replaced(tx: &Tx<'_>, alias: &crate::format::table::AliasRow) -> Result<Replaced> {
    let inode = tx.blob(&alias.digest)?.map_or(0, |blob| blob.stamp.inode);
    Ok(Replaced { digest: alias.digest, hardlinked: alias.hardlinked, inode })
}

fn alias_record(tx: &Tx<'_>, staged: &Staged, name: &Name, rules: Rules, replaces: Option<Replaced>) -> AliasRecord {
    let mtime = |meta: Meta| meta.mtime_ns;
    let now = || i64::try_from(tx.ledger().machine.now_ns()).unwrap_or(i64::MAX);
    AliasRecord {
        name: name.clone(),
        digest: staged.digests.digest,
        size_bytes: staged.digests.size_bytes,
        hardlinked: rules.hardlinked,
        executable: staged.source.is_some_and(|meta| meta.mode & 0o111 != 0),
        mtime_ns: staged.source.map_or_else(now, mtime),
        replaces,
        added: tx.moment(),
    }
}

/// A blob whose only names were refused has no root: its grace begins now.
fn drop_unnamed(tx: &mut Tx<'_>, blobs: &BTreeMap<Digest, Resolved>) -> Result<()> {
    for (digest, resolved) in blobs {
        if matches!(resolved, Resolved::Kept(_)) {
            tx.note_if_unrooted(digest)?;
        }
    }
    Ok(())
}
