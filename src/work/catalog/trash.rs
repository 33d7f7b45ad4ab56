//! The trash: entries that are out of sight, whose blobs stay, and that can be taken back.
//!
//! Putting an entry there takes its names away and marks it; its variants go on keeping their blobs. Emptying removes it
//! for good.

use std::collections::HashSet;
use std::time::Duration;

use super::going::{self, blobs, frees, in_use, is_left, parts, refuse_kept, take_names};
use super::remove::drop_entry;
use super::{not_found, present};
use crate::format::record::entry::{TrashRow, TrashedRecord};
use crate::format::record::{Moment, Record};
use crate::ledger::{Entries, Snapshot, Tables, Tx};
use crate::vocabulary::limits::GONE_KEPT;
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Digest, Entry, EntryId, Error, ErrorKind, Key, Name, Observer, Result, Variant};
use crate::work::Context;
use crate::work::collect::{CollectReport, collect_these, holder};
use crate::work::links::StagedLinks;
use crate::work::names;

/// What was put into the trash, or removed for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// The entry as it was.
    pub entry: Entry,
    /// The names that went with it.
    pub names: Vec<Name>,
    /// What was collected with it: nothing where it went into the trash.
    pub collected: CollectReport,
}

/// What was taken out of the trash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undeleted {
    /// The entry as it is now.
    pub entry: Entry,
    /// The names that it has again.
    pub names: Vec<Name>,
    /// Those that it could not have again, each with the reason.
    pub left: Vec<(Name, String)>,
}

/// One entry in the trash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InTrash {
    /// The entry.
    pub entry: Entry,
    /// What put it there: `trash`, `delete`, `evict`, `retention`.
    pub rule: String,
    /// How long it has been there, in journal time.
    pub age: Duration,
    /// Bytes that are really freed once it alone is gone.
    pub frees_bytes: u64,
    since: Moment,
}

impl InTrash {
    /// The journal's sequence with which it went there: put there again, it has another.
    pub fn since_sequence(&self) -> u64 {
        self.since.sequence
    }
}

/// What emptying the trash would remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EmptyPlan {
    /// The entries.
    pub entries: Vec<InTrash>,
    /// Bytes that are really freed once all of them are gone: more than the sum where they share blobs, and without those
    /// that running work holds now.
    pub frees_bytes: u64,
    /// Blobs that nothing else keeps, and that running work holds now: a later collection removes them.
    pub held_blobs: u64,
}

/// What was removed from the trash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EmptyReport {
    /// Entries removed, in the order in which they were planned.
    pub removed: Vec<Key>,
    /// Entries that were taken out of the trash meanwhile, and left alone.
    pub left: u64,
    /// What was collected with them.
    pub collected: CollectReport,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

/// Puts an entry into the trash, and takes its names away: those of its variants that mean what the variant is, but for
/// those that another entry shares. `rule` says what did it. [`ErrorKind::NotFound`] if there is none.
pub fn trash(ctx: &Context<'_>, key: &Key, rule: &str) -> Result<Deleted> {
    let (key, rule) = (key.clone(), rule.to_owned());
    ctx.ledger.transact(move |tx| trash_one(tx, &key, rule))
}

/// As [`trash`], as a part of a transaction.
pub(super) fn trash_one(tx: &mut Tx<'_>, key: &Key, rule: String) -> Result<Deleted> {
    let mut entry = present(tx, key)?;
    let names = take_names(tx, &entry, &away(&entry.id()))?;
    let since = tx.moment();
    tx.push(Record::Trashed(TrashedRecord { entry: entry.id(), rule, since }));
    if planted(Bug::TrashDropsRoot) {
        for variant in &entry.variants {
            super::drop_variant(tx, entry.id(), variant)?;
        }
    }
    entry.trashed_ns = Some(since.time_ns);
    Ok(Deleted { entry, names, collected: CollectReport::default() })
}

/// What takes the names of an entry away that goes into the trash, as `why-gone` tells it.
fn away(entry: &EntryId) -> String {
    format!("trash of entry:{entry}")
}

/// Takes an entry out of the trash, with the names that went there with it.
///
/// A name that means something else by now, or cannot be given, is left as it is and reported; the entry comes back all the
/// same. Names have the kind that the store gives, and time and executable bit of the blob's file.
/// [`ErrorKind::NotFound`] for what is not in the trash.
pub fn undelete(ctx: &Context<'_>, key: &Key) -> Result<Undeleted> {
    let (hardlinked, key) = (ctx.hardlinked, key.clone());
    let done = ctx.ledger.transact(move |tx| {
        let entry = Entries::entry(tx, &key)?.ok_or_else(|| not_found(&key, "there is no such entry in the trash"))?;
        let row = tx.trashed(&entry.id())?.ok_or_else(|| not_found(&key, "it is not in the trash"))?;
        tx.push(Record::Untrashed(entry.id()));
        let mut done = Undeleted { entry, names: Vec::new(), left: Vec::new() };
        for variant in done.entry.variants.clone() {
            match give_back(tx, &done.entry.id(), &variant, &row, hardlinked) {
                Ok(Some(name)) => done.names.push(name),
                Ok(None) => {}
                Err(e) if matches!(e.kind(), ErrorKind::Taken | ErrorKind::Damaged) => {
                    done.left.extend(variant.alias.map(|name| (name, e.to_string())));
                }
                Err(e) => return Err(e),
            }
        }
        done.entry = present(tx, &key)?;
        Ok(done)
    })?;
    blobs(&done.entry).into_iter().for_each(|digest| names::find_room(ctx.ledger, digest));
    Ok(done)
}

/// Gives a variant's name back, if it was the trash that took it.
fn give_back(
    tx: &mut Tx<'_>,
    entry: &EntryId,
    variant: &Variant,
    row: &TrashRow,
    hardlinked: bool,
) -> Result<Option<Name>> {
    let (Some(name), Some(digest)) = (&variant.alias, variant.digest) else { return Ok(None) };
    let before = tx.alias(name)?;
    let there = before.as_ref().is_some_and(|before| before.digest == digest);
    let by_trash = match tx.departure(&digest, name)? {
        Some(departed) => departed.when == row.since && departed.rule == away(entry),
        // Nobody remembers any more what took it.
        None => tx.moment().time_ns.saturating_sub(row.since.time_ns) > nanos(GONE_KEPT),
    };
    if there || !by_trash {
        return Ok(None);
    }
    let blob = names::in_place(tx, &digest)?;
    names::check_free(tx, name, before.as_ref(), false)?;
    let alias = names::alias_of(digest, &blob, hardlinked, tx.moment());
    names::give(tx, name.clone(), alias, None)?;
    Ok(Some(name.clone()))
}

/// Gives every entry in the trash to `each`, in order of identities.
pub fn trashed(ctx: &Context<'_>, each: &mut dyn FnMut(InTrash) -> Result<()>) -> Result<()> {
    let snapshot = ctx.ledger.snapshot()?;
    let staged = StagedLinks::read(ctx.ledger);
    for row in snapshot.all_trashed() {
        let (id, row) = row?;
        each(in_trash(ctx, &snapshot, &staged, &id, row)?)?;
    }
    Ok(())
}

fn in_trash(
    ctx: &Context<'_>,
    snapshot: &Snapshot,
    staged: &StagedLinks,
    id: &EntryId,
    row: TrashRow,
) -> Result<InTrash> {
    let gone = || Error::new(ErrorKind::Damaged, format!("find entry:{id}"), "it is in the trash and on no record");
    let key = snapshot.key_of(id)?.ok_or_else(gone)?;
    let entry = Entries::entry(snapshot, &key)?.ok_or_else(gone)?;
    let mut frees_bytes = 0;
    for digest in blobs(&entry) {
        if is_left(snapshot, &digest, &|other| Ok(other == id))? {
            frees_bytes += frees(ctx.ledger, snapshot, staged, &digest)?;
        }
    }
    Ok(InTrash { entry, rule: row.rule, age: age(ctx, snapshot, &row.since), frees_bytes, since: row.since })
}

fn age(ctx: &Context<'_>, snapshot: &Snapshot, since: &Moment) -> Duration {
    let now_ns = snapshot.next_time_ns(ctx.ledger.machine.now_ns());
    Duration::from_nanos(now_ns.saturating_sub(since.time_ns))
}

/// What emptying the trash of all that has been there for `at_least`, in journal time, would remove. Changes nothing.
pub fn plan_empty(ctx: &Context<'_>, at_least: Duration) -> Result<EmptyPlan> {
    let mut entries = Vec::new();
    trashed(ctx, &mut |one| {
        if one.age >= at_least {
            entries.push(one);
        }
        Ok(())
    })?;
    let going: HashSet<EntryId> = entries.iter().map(|one| one.entry.id()).collect();
    let (snapshot, staged) = (ctx.ledger.snapshot()?, StagedLinks::read(ctx.ledger));
    let sessions = ctx.ledger.sessions.list()?;
    let mut seen = HashSet::new();
    let (mut frees_bytes, mut held_blobs) = (0, 0);
    for digest in entries.iter().flat_map(|one| blobs(&one.entry)) {
        if seen.insert(digest) && is_left(snapshot.as_ref(), &digest, &|other| Ok(going.contains(other)))? {
            match holder(&sessions, &digest, 0) {
                None => frees_bytes += frees(ctx.ledger, &snapshot, &staged, &digest)?,
                Some(_) => held_blobs += 1,
            }
        }
    }
    Ok(EmptyPlan { entries, frees_bytes, held_blobs })
}

/// Removes the planned entries for good, and (`free`) at once the blobs that nothing else keeps; else their grace begins.
///
/// An entry that was taken out of the trash meanwhile, or put there again, is left alone. [`ErrorKind::Refused`], before
/// anything is removed, while the journal is damaged.
pub fn empty(ctx: &Context<'_>, plan: &EmptyPlan, free: bool, observer: &dyn Observer) -> Result<EmptyReport> {
    let mut report = EmptyReport::default();
    if free {
        collect_these(ctx, &[], observer)?;
    }
    let all: Vec<(Key, Moment, usize)> =
        plan.entries.iter().map(|one| (one.entry.card.key.clone(), one.since, one.entry.variants.len())).collect();
    let mut unrooted = Vec::new();
    for part in parts(all, |one| one.2) {
        if observer.cancelled() {
            report.interrupted = true;
            break;
        }
        let planned = part.len() as u64;
        let (removed, digests) = ctx.ledger.transact(move |tx| empty_part(tx, part))?;
        report.left += planned - removed.len() as u64;
        report.removed.extend(removed);
        unrooted.extend(digests);
    }
    if free {
        report.collected = collect_these(ctx, &unrooted, observer)?;
        report.interrupted |= report.collected.interrupted;
    }
    Ok(report)
}

fn empty_part(tx: &mut Tx<'_>, part: Vec<(Key, Moment, usize)>) -> Result<(Vec<Key>, Vec<Digest>)> {
    let (mut removed, mut unrooted) = (Vec::new(), Vec::new());
    for (key, since, _) in part {
        let still = tx.trashed(&key.id())?.is_some_and(|row| row.since == since);
        if let Some(entry) = Entries::entry(tx, &key)?.filter(|_| still) {
            unrooted.extend(drop_for_good(tx, &entry, "trash empty")?);
            removed.push(key);
        }
    }
    Ok((removed, unrooted))
}

/// Takes an entry off the records; says which of its blobs nothing keeps any more.
pub(super) fn drop_for_good(tx: &mut Tx<'_>, entry: &Entry, rule: &str) -> Result<Vec<Digest>> {
    drop_entry(tx, entry, rule)?;
    let mut unrooted = Vec::new();
    for digest in blobs(entry) {
        if tx.unrooted(&digest)?.is_some() && !tx.is_rooted(&digest)? {
            unrooted.push(digest);
        }
    }
    Ok(unrooted)
}

/// Removes an entry for good, in the trash or not: its record, its names, and at once the bytes that nothing else keeps.
///
/// [`ErrorKind::NotFound`] if there is none; [`ErrorKind::Pinned`] where one of its blobs is pinned; [`ErrorKind::Busy`] where
/// running work holds one, or a process has one open or mapped; [`ErrorKind::Refused`] while the journal is damaged.
pub fn delete(ctx: &Context<'_>, key: &Key, rule: &str, observer: &dyn Observer) -> Result<Deleted> {
    let entry = Entries::entry(ctx.ledger.snapshot()?.as_ref(), key)?;
    let entry = entry.ok_or_else(|| not_found(key, "there is no such entry in the catalog"))?;
    refuse_in_use(ctx, &entry, rule)?;
    collect_these(ctx, &[], observer)?;
    let (key, rule) = (key.clone(), rule.to_owned());
    let (entry, names, unrooted) = ctx.ledger.transact(move |tx| {
        let there = Entries::entry(tx, &key)?;
        let entry = there.ok_or_else(|| not_found(&key, "there is no such entry in the catalog"))?;
        refuse_kept(tx, &entry, &rule)?;
        let names = if entry.trashed_ns.is_none() { take_names(tx, &entry, &rule)? } else { Vec::new() };
        let unrooted = drop_for_good(tx, &entry, &rule)?;
        Ok((entry, names, unrooted))
    })?;
    let collected = collect_these(ctx, &unrooted, observer)?;
    Ok(Deleted { entry, names, collected })
}

pub(super) fn refuse_in_use(ctx: &Context<'_>, entry: &Entry, rule: &str) -> Result<()> {
    match in_use(ctx.ledger, entry) {
        None => Ok(()),
        Some(digest) => {
            let reason = format!("a process has {digest} open; it keeps the bytes on the disk until it closes them");
            Err(Error::new(ErrorKind::Busy, format!("{rule} {}", entry.card.key), reason))
        }
    }
}

/// Refuses, as [`delete`] and evicting would, an entry that is pinned, leased or open now: for whoever asks before.
pub fn may_go(ctx: &Context<'_>, key: &Key, attempt: &str) -> Result<()> {
    let snapshot = ctx.ledger.snapshot()?;
    let entry = Entries::entry(snapshot.as_ref(), key)?;
    let entry = entry.ok_or_else(|| not_found(key, "there is no such entry in the catalog"))?;
    refuse_in_use(ctx, &entry, attempt)?;
    going::refuse_kept_by(ctx.ledger, snapshot.as_ref(), &entry, attempt)
}

/// The names that would go into the trash with an entry, and the bytes that are freed once it is gone for good.
pub fn plan_delete(ctx: &Context<'_>, key: &Key) -> Result<(Entry, Vec<Name>, u64)> {
    let snapshot = ctx.ledger.snapshot()?;
    let entry = Entries::entry(snapshot.as_ref(), key)?;
    let entry = entry.ok_or_else(|| not_found(key, "there is no such entry in the catalog"))?;
    let staged = StagedLinks::read(ctx.ledger);
    let names = match entry.trashed_ns {
        None => going::own_names(snapshot.as_ref(), &entry)?.into_keys().collect(),
        Some(_) => Vec::new(),
    };
    let mut frees_bytes = 0;
    for digest in blobs(&entry) {
        if is_left(snapshot.as_ref(), &digest, &|other| Ok(*other == entry.id()))? {
            frees_bytes += frees(ctx.ledger, &snapshot, &staged, &digest)?;
        }
    }
    Ok((entry, names, frees_bytes))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
