//! Deleting entries: the record, the names that belong to it, and, if nothing else keeps them, the bytes (R83, R131).

use std::collections::BTreeSet;
use std::time::Duration;

use super::present;
use super::remove::drop_entry;
use crate::ledger::{Entries, Ledger, Tables, Tx};
use crate::vocabulary::limits::ORPHAN_TTL;
use crate::vocabulary::{Digest, Entry, EntryId, Error, ErrorKind, Key, Name, Observer, Result};
use crate::work::Context;
use crate::work::collect::{self, CollectOptions};
use crate::work::links::StagedLinks;
use crate::work::names;

/// What deleting some entries would take away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeletePlan {
    /// The entries.
    pub entries: Vec<Key>,
    /// The names that belong to them, and to no other entry.
    pub names: Vec<(Name, Digest)>,
    /// The blobs that nothing keeps then, each with its size and what removing it really frees, in bytes.
    pub blobs: Vec<(Digest, u64, u64)>,
    /// Blobs of these entries that something else keeps.
    pub kept_blobs: u64,
}

impl DeletePlan {
    /// Bytes that it really frees.
    pub fn frees_bytes(&self) -> u64 {
        self.blobs.iter().map(|(_, _, frees)| frees).sum()
    }
}

/// What was deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteReport {
    /// What went on record as gone.
    pub plan: DeletePlan,
    /// Blobs whose files are gone, too.
    pub removed_blobs: u64,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Bytes that this really freed.
    pub freed_bytes: u64,
    /// Why bytes that nothing keeps are there still: `gc` removes them later. `None` if there are none.
    pub left: Option<String>,
}

/// What of the records goes away with some entries.
struct Going {
    entries: Vec<Entry>,
    names: Vec<(Name, Digest)>,
    unrooted: Vec<Digest>,
    kept: u64,
}

/// What deleting these entries would take away now. Changes nothing. Fails as [`delete`] would, but for what running work
/// holds.
pub fn plan(ctx: &Context<'_>, keys: &[Key]) -> Result<DeletePlan> {
    let snapshot = ctx.ledger.snapshot()?;
    let going = going(snapshot.as_ref(), keys)?;
    look(ctx.ledger, snapshot.as_ref(), &going)
}

/// Removes entries with their names in one transaction, and then the bytes that nothing else keeps.
///
/// [`ErrorKind::NotFound`] for an entry that is not there, [`ErrorKind::Pinned`] for one with a blob that is pinned,
/// [`ErrorKind::Busy`] for one with a blob that a lease or a reader holds: then nothing is done. What cannot be removed
/// of the bytes after that stays until the next collection, and the report says why.
pub fn delete(ctx: &Context<'_>, keys: &[Key], observer: &dyn Observer) -> Result<DeleteReport> {
    let keys: Vec<Key> = keys.to_vec();
    let plan = ctx.ledger.transact(move |tx| {
        let going = going(tx, &keys)?;
        refuse_held(tx.ledger(), &going)?;
        let plan = look(tx.ledger(), tx, &going)?;
        take_away(tx, going)?;
        Ok(plan)
    })?;
    let mut report = DeleteReport { plan, ..DeleteReport::default() };
    if !report.plan.blobs.is_empty()
        && let Err(e) = remove_bytes(ctx, &mut report, observer)
    {
        report.left = Some(e.to_string());
    }
    Ok(report)
}

fn going<T: Entries>(tables: &T, keys: &[Key]) -> Result<Going> {
    let entries = keys.iter().map(|key| present(tables, key)).collect::<Result<Vec<Entry>>>()?;
    let ids: BTreeSet<EntryId> = entries.iter().map(Entry::id).collect();
    let digests: BTreeSet<Digest> = entries.iter().flat_map(|e| e.variants.iter().filter_map(|v| v.digest)).collect();
    let mut names = BTreeSet::new();
    for variant in entries.iter().flat_map(|entry| &entry.variants) {
        if let (Some(name), Some(digest)) = (&variant.alias, &variant.digest)
            && tables.alias(name)?.is_some_and(|alias| alias.digest == *digest)
            && !is_named_elsewhere(tables, name, digest, &ids)?
        {
            names.insert((name.clone(), *digest));
        }
    }
    let (mut unrooted, mut kept) = (Vec::new(), 0);
    for digest in &digests {
        if tables.blob(digest)?.is_none() {
            continue;
        }
        if let Some(pin) = tables.pin(digest)? {
            let reason = match pin.note.as_str() {
                "" => format!("{digest} is pinned"),
                note => format!("{digest} is pinned: {note}"),
            };
            return Err(Error::new(ErrorKind::Pinned, attempt(&entries, digest), reason));
        }
        let named = tables.names_of(digest)?.into_iter().any(|name| !names.contains(&(name, *digest)));
        let other = Entries::entries_of(tables, digest)?.iter().any(|(id, _)| !ids.contains(id));
        if named || other { kept += 1 } else { unrooted.push(*digest) }
    }
    Ok(Going { entries, names: names.into_iter().collect(), unrooted, kept })
}

/// Whether another entry has a variant under this name.
fn is_named_elsewhere<T: Entries>(tables: &T, name: &Name, digest: &Digest, ids: &BTreeSet<EntryId>) -> Result<bool> {
    for (id, variant) in Entries::entries_of(tables, digest)?.into_iter().filter(|(id, _)| !ids.contains(id)) {
        let variants = tables.variants(&id)?;
        if variants.iter().any(|other| other.name == variant && other.alias.as_ref() == Some(name)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn attempt(entries: &[Entry], digest: &Digest) -> String {
    let concerned = entries.iter().find(|entry| entry.variants.iter().any(|v| v.digest == Some(*digest)));
    match concerned {
        Some(entry) => format!("delete {}", entry.card.key),
        None => "delete entries".to_owned(),
    }
}

/// Refuses what a lease or a reader holds. Whether a session lives is asked under `lock`.
fn refuse_held(ledger: &Ledger, going: &Going) -> Result<()> {
    for session in ledger.sessions.list()?.into_iter().filter(|session| session.alive) {
        let Some(says) = session.says else { continue };
        if let Some(digest) = going.unrooted.iter().find(|digest| says.held.contains(digest)) {
            let reason = format!("{} session {} holds {digest}", says.kind.word(), session.id);
            return Err(Error::new(ErrorKind::Busy, attempt(&going.entries, digest), reason));
        }
    }
    Ok(())
}

fn look<T: Tables>(ledger: &Ledger, tables: &T, going: &Going) -> Result<DeletePlan> {
    let staged = StagedLinks::read(ledger);
    let mut blobs = Vec::new();
    for digest in &going.unrooted {
        let seen = staged.footprint(ledger, tables, digest)?;
        let size_bytes = seen.map_or(0, |seen| seen.meta.size_bytes);
        blobs.push((*digest, size_bytes, seen.map_or(0, |seen| seen.frees_bytes())));
    }
    let entries = going.entries.iter().map(|entry| entry.card.key.clone()).collect();
    Ok(DeletePlan { entries, names: going.names.clone(), blobs, kept_blobs: going.kept })
}

/// What takes an entry and its names away, as `why-gone` tells it.
const DELETE: &str = "delete";

fn take_away(tx: &mut Tx<'_>, going: Going) -> Result<()> {
    let mut digests = BTreeSet::new();
    for (name, digest) in going.names {
        if let Some(row) = tx.alias(&name)? {
            names::take(tx, name, &row, DELETE.to_owned())?;
            digests.insert(digest);
        }
    }
    for entry in &going.entries {
        drop_entry(tx, entry, DELETE)?;
    }
    for digest in digests {
        tx.note_if_unrooted(&digest)?;
    }
    Ok(())
}

fn remove_bytes(ctx: &Context<'_>, report: &mut DeleteReport, observer: &dyn Observer) -> Result<()> {
    let options = CollectOptions { grace: Duration::ZERO, orphan_ttl: ORPHAN_TTL, yes_most: true };
    let mine: BTreeSet<Digest> = report.plan.blobs.iter().map(|(digest, _, _)| *digest).collect();
    let mut plan = collect::plan(ctx, &options)?;
    plan.doomed.retain(|doomed| mine.contains(&doomed.digest));
    let collected = collect::collect(ctx, Some(&plan), &options, observer)?;
    report.removed_blobs = collected.removed_blobs;
    report.removed_bytes = collected.removed_bytes;
    report.freed_bytes = collected.freed_bytes;
    if let Some((digest, by)) = collected.held.first() {
        report.left = Some(format!("{by} holds {digest}"));
    } else if collected.interrupted {
        report.left = Some("it was stopped before its end".to_owned());
    }
    Ok(())
}
