//! Names: given, moved and taken away; pins.
//!
//! Every change is one transaction, or for many names a few bounded ones, and every precondition is checked in it:
//! what was true when the user looked need not be true any more.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::Context;
use super::ingest::AliasKind;
use super::links::StagedLinks;
use super::spill::spill;
use crate::format::record::{BlobRecord, Moment, PinRecord, Record, Replaced, UnaliasRecord};
use crate::format::table::{AliasRow, BlobRow};
use crate::hashing::digest_file;
use crate::ledger::{Ledger, Snapshot, Tables, Tx};
use crate::parts::blobs::stamp;
use crate::vocabulary::limits::{BATCH_FILES, NOTE_BYTES};
use crate::vocabulary::{Digest, Error, ErrorKind, Event, Name, Observer, Prefix, Result};

/// What the user points at: a name or a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An alias.
    Name(Name),
    /// A blob.
    Digest(Digest),
}

/// Names that would go away, and what that means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemovePlan {
    /// Each name with its digest and size in bytes.
    pub names: Vec<(Name, Digest, u64)>,
    /// Blobs that would have no root any more.
    pub unrooted_blobs: u64,
    /// Bytes that collecting those would really free.
    pub reclaimable_bytes: u64,
}

/// What was taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveReport {
    /// Names taken away.
    pub names: u64,
    /// Blobs that have no root any more.
    pub unrooted_blobs: u64,
    /// Whether it was stopped before its end; what is counted is gone.
    pub interrupted: bool,
}

/// What takes names away, as `why-gone` tells it.
const RM: &str = "rm";
const UNLINK: &str = "unlink";
const MV: &str = "mv";

/// What a target means: [`ErrorKind::NotFound`] for a name that is not given and a digest that is not on record.
pub fn resolve(tables: &impl Tables, target: &Target) -> Result<Digest> {
    match target {
        Target::Name(name) => Ok(known(tables, name)?.digest),
        Target::Digest(digest) if tables.blob(digest)?.is_some() => Ok(*digest),
        Target::Digest(digest) => {
            let reason = match tables.gone(digest)? {
                Some(gone) => format!("the store had it, and it was removed ({})", gone.rule),
                None => "no such blob is in the store".to_owned(),
            };
            Err(Error::new(ErrorKind::NotFound, format!("find {digest}"), reason))
        }
    }
}

/// Whether a target means something (R86).
pub fn exists(ctx: &Context<'_>, target: &Target) -> Result<bool> {
    match resolve(ctx.ledger.snapshot()?.as_ref(), target) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Gives a blob one more name, of the kind `alias` or else of the store's. `false`: the name already meant these bytes,
/// and nothing is changed.
///
/// The new name has mtime and executable bit of the name that is the target; of a digest, those of the blob's file.
/// [`ErrorKind::Taken`] if the name means other bytes and `replace` is not set, or if it is a directory of other names or
/// below a name; [`ErrorKind::Damaged`] if the blob's file is not what was recorded.
pub fn link(ctx: &Context<'_>, target: &Target, new: &Name, replace: bool, alias: Option<AliasKind>) -> Result<bool> {
    let hardlinked = alias.map_or(ctx.hardlinked, |kind| kind == AliasKind::Hardlinked);
    let (target, new) = (target.clone(), new.clone());
    restamp(ctx.ledger, &target)?;
    let linked = ctx.ledger.transact(move |tx| {
        let digest = resolve(tx, &target)?;
        let blob = in_place(tx, &digest)?;
        let before = tx.alias(&new)?;
        if before.as_ref().is_some_and(|before| before.digest == digest) {
            return Ok((false, None));
        }
        check_free(tx, &new, before.as_ref(), replace)?;
        let added = tx.moment();
        let row = match &target {
            Target::Name(name) => AliasRow { hardlinked, added, ..known(tx, name)? },
            Target::Digest(_) => alias_of(digest, &blob, hardlinked, added),
        };
        let needs_a_link = row.hardlinked.then_some(digest);
        give(tx, new, row, before.as_ref())?;
        Ok((true, needs_a_link))
    });
    let (new, needs_a_link) = linked?;
    needs_a_link.into_iter().for_each(|digest| find_room(ctx.ledger, digest));
    Ok(new)
}

/// A name that found no room for one more link gets one. It is kept without that, and a finding on record where this
/// fails.
pub(super) fn find_room(ledger: &Ledger, digest: Digest) {
    let _ = spill(ledger, &|concerned| *concerned == digest);
}

/// Gives a name's meaning to another name, with everything that the alias records, in one step. Onto itself it does
/// nothing.
///
/// [`ErrorKind::NotFound`] if there is no such name, [`ErrorKind::Taken`] as [`link`] says it. A hardlinked name whose
/// blob has lost its file is not moved ([`ErrorKind::Damaged`]): its own file may be the last copy.
pub fn rename(ctx: &Context<'_>, from: &Name, to: &Name, replace: bool) -> Result<()> {
    let (from, to) = (from.clone(), to.clone());
    restamp(ctx.ledger, &Target::Name(from.clone()))?;
    let renamed = ctx.ledger.transact(move |tx| {
        let row = known(tx, &from)?;
        if from == to {
            return Ok(None);
        }
        if !tx.damaged(&row.digest)?.is_some_and(|damaged| damaged.quarantined) {
            in_place(tx, &row.digest)?;
        }
        let before = tx.alias(&to)?;
        let same = before.as_ref().is_some_and(|before| before.digest == row.digest);
        let digest = row.digest;
        take(tx, from, &row, format!("{MV} to {to}"))?;
        check_free(tx, &to, before.as_ref(), replace || same)?;
        give(tx, to, row, before.as_ref())?;
        Ok(Some(digest))
    });
    renamed?.into_iter().for_each(|digest| find_room(ctx.ledger, digest));
    Ok(())
}

/// Takes one name away. [`ErrorKind::Refused`] if it is the last name of a blob that no pin and no entry keeps either.
pub fn unlink(ctx: &Context<'_>, name: &Name) -> Result<()> {
    let name = name.clone();
    ctx.ledger.transact(move |tx| {
        let row = known(tx, &name)?;
        if !tx.has_other_name(&row.digest, &name)? && !tx.is_kept(&row.digest)? {
            let reason = format!("it is the last name of {}, which nothing else keeps; rm takes it away", row.digest);
            return Err(Error::new(ErrorKind::Refused, format!("unlink {name:?}"), reason));
        }
        take(tx, name, &row, UNLINK.to_owned())
    })
}

/// What taking away all names in `what` would mean. [`ErrorKind::NotFound`], naming it, for a prefix without a name.
pub fn plan_remove(ctx: &Context<'_>, what: &[Prefix]) -> Result<RemovePlan> {
    let snapshot = ctx.ledger.snapshot()?;
    let mut names: Vec<(Name, Digest, u64)> = Vec::new();
    for prefix in what {
        let before = names.len();
        for row in snapshot.aliases(prefix) {
            let (name, row) = row?;
            names.push((name, row.digest, row.size_bytes));
        }
        if names.len() == before {
            let attempt = format!("find names to remove in {:?}", prefix.to_string());
            return Err(Error::new(ErrorKind::NotFound, attempt, "there is no such name, and none below it"));
        }
    }
    // Prefixes may have names in common.
    names.sort_unstable();
    names.dedup_by(|one, other| one.0 == other.0);
    let last = left_without_a_root(&snapshot, names.iter().map(|(_, digest, _)| *digest))?;
    let staged = StagedLinks::read(ctx.ledger);
    let mut reclaimable_bytes = 0;
    for part in last.chunks(BATCH_FILES) {
        let frees = ctx.workers.map(part.to_vec(), |digest| {
            Ok(staged.footprint(ctx.ledger, snapshot.as_ref(), &digest)?.map_or(0, |blob| blob.frees_bytes()))
        });
        reclaimable_bytes += frees.into_iter().sum::<Result<u64>>()?;
    }
    Ok(RemovePlan { names, unrooted_blobs: last.len() as u64, reclaimable_bytes })
}

/// Of the blobs of the names that go, those that have no other name, no pin and no entry.
fn left_without_a_root(snapshot: &Snapshot, going: impl Iterator<Item = Digest>) -> Result<Vec<Digest>> {
    let mut going: Vec<Digest> = going.collect();
    going.sort_unstable();
    let mut last = Vec::new();
    for names in going.chunk_by(|one, other| one == other) {
        let digest = names[0];
        if !snapshot.is_kept(&digest)? && snapshot.names_of(&digest)?.len() == names.len() {
            last.push(digest);
        }
    }
    Ok(last)
}

/// Takes the planned names away, in transactions of at most [`BATCH_FILES`] names.
///
/// A name that means another blob than planned is left alone and told as [`Event::Failed`]; one that is gone already is
/// as wanted. [`ErrorKind::Interrupted`] when the observer stops it: what was done until then stays done.
pub fn remove(ctx: &Context<'_>, plan: &RemovePlan, observer: &dyn Observer) -> Result<RemoveReport> {
    let mut report = RemoveReport::default();
    observer.expect(plan.names.len() as u64, 0);
    for batch in plan.names.chunks(BATCH_FILES) {
        if observer.cancelled() {
            report.interrupted = true;
            break;
        }
        let names: Vec<(Name, Digest)> = batch.iter().map(|(name, digest, _)| (name.clone(), *digest)).collect();
        let removed = ctx.ledger.transact(move |tx| remove_batch(tx, names))?;
        report.names += removed.report.names;
        report.unrooted_blobs += removed.report.unrooted_blobs;
        for name in removed.changed {
            let reason = "it means another blob than planned by now, and was left alone".to_owned();
            observer.event(&Event::Failed { path: PathBuf::from(name.as_path()), reason });
        }
        observer.progress(batch.len() as u64, 0);
    }
    Ok(report)
}

#[derive(Default)]
struct RemovedBatch {
    report: RemoveReport,
    changed: Vec<Name>,
}

fn remove_batch(tx: &mut Tx<'_>, names: Vec<(Name, Digest)>) -> Result<RemovedBatch> {
    let mut removed = RemovedBatch::default();
    let mut digests = BTreeSet::new();
    for (name, planned) in names {
        match tx.alias(&name)? {
            None => {}
            Some(row) if row.digest != planned => removed.changed.push(name),
            Some(row) => {
                let was = replaced(tx, &row)?;
                let when = tx.moment();
                tx.push(Record::Unalias(UnaliasRecord { name, was, rule: RM.to_owned(), when }));
                removed.report.names += 1;
                digests.insert(planned);
            }
        }
    }
    for digest in &digests {
        removed.report.unrooted_blobs += u64::from(tx.note_if_unrooted(digest)?);
    }
    Ok(removed)
}

/// Keeps a blob by hand, whatever becomes of its names; says which. A second pin replaces the note of the first.
///
/// [`ErrorKind::Invalid`] for a note of more than [`NOTE_BYTES`] bytes; [`ErrorKind::Damaged`] if the blob's file is not
/// what was recorded.
pub fn pin(ctx: &Context<'_>, target: &Target, note: &str) -> Result<Digest> {
    if note.len() > NOTE_BYTES {
        let reason = format!("a note has at most {NOTE_BYTES} bytes, and this one has {}", note.len());
        return Err(Error::new(ErrorKind::Invalid, "pin a blob", reason));
    }
    let (target, note) = (target.clone(), note.to_owned());
    ctx.ledger.transact(move |tx| {
        let digest = resolve(tx, &target)?;
        in_place(tx, &digest)?;
        if tx.pin(&digest)?.is_none_or(|pin| pin.note != note) {
            let since = tx.moment();
            tx.push(Record::Pin(PinRecord { digest, note, since }));
        }
        Ok(digest)
    })
}

/// Takes a pin away; says from which blob. [`ErrorKind::NotFound`] if it has none.
pub fn unpin(ctx: &Context<'_>, target: &Target) -> Result<Digest> {
    let target = target.clone();
    ctx.ledger.transact(move |tx| {
        let digest = resolve(tx, &target)?;
        if tx.pin(&digest)?.is_none() {
            return Err(Error::new(ErrorKind::NotFound, format!("unpin {digest}"), "it is not pinned"));
        }
        tx.push(Record::Unpin(digest));
        tx.note_if_unrooted(&digest)?;
        Ok(digest)
    })
}

fn known(tables: &impl Tables, name: &Name) -> Result<AliasRow> {
    tables
        .alias(name)?
        .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("find {name:?}"), "there is no such name in the store"))
}

/// A blob file whose stamp is not the recorded one (the store was copied, or its file replaced) is hashed, outside of
/// `lock`; if its bytes are right, the stamp that it has now is put on record. Anything else is left to be refused.
fn restamp(ledger: &Ledger, target: &Target) -> Result<()> {
    // Where the file agrees with what this process last saw, no later frame needs to be looked for.
    if agrees(ledger, &ledger.known(), target).unwrap_or(false) {
        return Ok(());
    }
    let snapshot = ledger.snapshot()?;
    let digest = resolve(snapshot.as_ref(), target)?;
    let (Some(row), Some(meta)) = (snapshot.blob(&digest)?, ledger.blobs.meta(&digest)?) else { return Ok(()) };
    let now = stamp(&meta);
    if row.stamp.agrees(&now) || snapshot.damaged(&digest)?.is_some() {
        return Ok(());
    }
    let bytes = digest_file(ledger.blobs.open(&digest)?.as_ref())
        .map_err(|e| Error::io("read", &ledger.blobs.path(&digest), e))?;
    if bytes.digest != digest {
        return Ok(());
    }
    ledger.transact(move |tx| {
        let same = tx.ledger().blobs.meta(&digest)?.is_some_and(|meta| stamp(&meta).agrees(&now));
        if let Some(row) = tx.blob(&digest)?.filter(|_| same) {
            let BlobRow { blake3, added, .. } = row;
            tx.push(Record::Blob(BlobRecord { digest, blake3, stamp: now, added }));
            tx.note_if_unrooted(&digest)?;
        }
        Ok(())
    })
}

fn agrees(ledger: &Ledger, known: &Snapshot, target: &Target) -> Result<bool> {
    let digest = resolve(known, target)?;
    let (row, meta) = (known.blob(&digest)?, ledger.blobs.meta(&digest)?);
    Ok(row.zip(meta).is_some_and(|(row, meta)| row.stamp.agrees(&stamp(&meta))))
}

/// The record of a blob whose file stands where it belongs and is, by inode and size, the recorded one.
pub(super) fn in_place(tx: &Tx<'_>, digest: &Digest) -> Result<BlobRow> {
    let row = tx.blob(digest)?;
    let damaged = |reason: String| Err(Error::new(ErrorKind::Damaged, format!("rely on {digest}"), reason));
    let Some(row) = row else { return damaged("a name means it, but it is not on record".into()) };
    if let Some(found) = tx.damaged(digest)? {
        return damaged(found.reason);
    }
    match tx.ledger().blobs.meta(digest)? {
        Some(meta) if (meta.inode, meta.size_bytes) == (row.stamp.inode, row.stamp.size_bytes) => Ok(row),
        Some(_) => damaged("another file than the recorded one stands in its place".into()),
        None => damaged("its file is missing".into()),
    }
}

/// Refuses a name that means something, unless `replace`, and one that would have to be file and directory at once.
pub(super) fn check_free(tx: &Tx<'_>, name: &Name, before: Option<&AliasRow>, replace: bool) -> Result<()> {
    let taken = |reason: String| Err(Error::new(ErrorKind::Taken, format!("give the name {name:?}"), reason));
    if let Some(before) = before
        && !replace
    {
        return taken(format!("it already means {}", before.digest));
    }
    match tx.clash(name)? {
        Some(other) => taken(format!("there is a name {other:?}, and a name cannot be a file and a directory")),
        None => Ok(()),
    }
}

/// Lets `name` be what `row` says, in place of what it was.
pub(super) fn give(tx: &mut Tx<'_>, name: Name, row: AliasRow, before: Option<&AliasRow>) -> Result<()> {
    let replaces = before.map(|before| replaced(tx, before)).transpose()?;
    tx.push(Record::Alias(row.record(name, replaces)));
    if let Some(before) = before {
        tx.note_if_unrooted(&before.digest)?;
    }
    Ok(())
}

/// Takes `name` away from what it means, `row`; whoever calls sees to the root that the blob may have lost.
pub(super) fn take(tx: &mut Tx<'_>, name: Name, row: &AliasRow, rule: String) -> Result<()> {
    let (was, when) = (replaced(tx, row)?, tx.moment());
    tx.push(Record::Unalias(UnaliasRecord { name, was, rule, when }));
    Ok(())
}

fn replaced(tx: &Tx<'_>, row: &AliasRow) -> Result<Replaced> {
    let inode = tx.blob(&row.digest)?.map_or(0, |blob| blob.stamp.inode);
    Ok(Replaced { digest: row.digest, hardlinked: row.hardlinked, inode })
}

/// An alias that knows no more of its source than the blob's file tells.
pub(super) fn alias_of(digest: Digest, blob: &BlobRow, hardlinked: bool, added: Moment) -> AliasRow {
    AliasRow {
        digest,
        size_bytes: blob.stamp.size_bytes,
        hardlinked,
        executable: blob.stamp.mode & 0o111 != 0,
        mtime_ns: blob.stamp.mtime_ns,
        added,
    }
}

#[cfg(test)]
mod tests;
