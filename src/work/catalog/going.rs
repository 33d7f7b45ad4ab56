//! What goes when entries go: their names, and the blobs that nothing else keeps.

use std::collections::{BTreeMap, BTreeSet};

use crate::ledger::{Entries, Ledger, Snapshot, Tables, Tx};
use crate::machine::Open;
use crate::vocabulary::limits::FRAME_RECORDS;
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Digest, Entry, EntryId, Error, ErrorKind, Name, Result};
use crate::work::collect::holder;
use crate::work::links::StagedLinks;
use crate::work::names;

/// The names of an entry's variants that mean, now, what the variant is; but those that an entry outside the trash shares.
pub(super) fn own_names(tables: &impl Entries, entry: &Entry) -> Result<BTreeMap<Name, Digest>> {
    let mut own = BTreeMap::new();
    for variant in &entry.variants {
        if let (Some(name), Some(digest)) = (&variant.alias, variant.digest)
            && tables.alias(name)?.is_some_and(|alias| alias.digest == digest)
            && !is_shared(tables, &entry.id(), name, &digest)?
        {
            own.insert(name.clone(), digest);
        }
    }
    Ok(own)
}

/// Whether another entry, which is not in the trash, calls the blob by this name too.
fn is_shared(tables: &impl Entries, entry: &EntryId, name: &Name, digest: &Digest) -> Result<bool> {
    for (other, variant) in tables.entries_of(digest)? {
        if other != *entry
            && tables.trashed(&other)?.is_none()
            && tables.variant(&other, &variant)?.is_some_and(|variant| variant.alias.as_ref() == Some(name))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Takes an entry's own names away; says which.
pub(super) fn take_names(tx: &mut Tx<'_>, entry: &Entry, rule: &str) -> Result<Vec<Name>> {
    let mut taken = Vec::new();
    for name in own_names(tx, entry)?.into_keys() {
        if let Some(row) = tx.alias(&name)? {
            names::take(tx, name.clone(), &row, rule.to_owned())?;
            taken.push(name);
        }
    }
    Ok(taken)
}

/// The distinct blobs of an entry.
pub(super) fn blobs(entry: &Entry) -> BTreeSet<Digest> {
    entry.variants.iter().filter_map(|variant| variant.digest).collect()
}

/// Whether nothing would keep a blob if all entries that `goes` went with their names.
pub(super) fn is_left(tables: &impl Entries, digest: &Digest, goes: &dyn Fn(&EntryId) -> Result<bool>) -> Result<bool> {
    if tables.pin(digest)?.is_some() {
        return Ok(false);
    }
    let mut named = BTreeSet::new();
    for (entry, variant) in tables.entries_of(digest)? {
        if !goes(&entry)? {
            return Ok(false);
        }
        // What is in the trash has no names: one that looks like it was given by somebody since.
        if tables.trashed(&entry)?.is_none() {
            named.extend(tables.variant(&entry, &variant)?.and_then(|variant| variant.alias));
        }
    }
    Ok(tables.names_of(digest)?.iter().all(|name| named.contains(name)))
}

/// Bytes on the disk that are free once a blob and its carriers are removed.
pub(super) fn frees(ledger: &Ledger, snapshot: &Snapshot, staged: &StagedLinks, digest: &Digest) -> Result<u64> {
    let blob = staged.footprint(ledger, snapshot, digest)?.map_or(0, |blob| blob.frees_bytes());
    let mut carriers = 0;
    for (number, _) in snapshot.carriers(digest)? {
        carriers += ledger.carriers.meta(digest, number)?.map_or(0, |meta| meta.allocated_bytes);
    }
    Ok(blob + carriers)
}

/// Refuses an entry whose bytes somebody wants kept: [`ErrorKind::Pinned`], or [`ErrorKind::Busy`] where running work lists
/// them. Sessions are looked at under `lock`, where their lists change.
pub(super) fn refuse_kept(tx: &Tx<'_>, entry: &Entry, attempt: &str) -> Result<()> {
    refuse_kept_by(tx.ledger(), tx, entry, attempt)
}

/// The same, as a hint: outside a transaction it may be otherwise a moment later.
pub(super) fn refuse_kept_by(ledger: &Ledger, tables: &impl Tables, entry: &Entry, attempt: &str) -> Result<()> {
    let sessions = ledger.sessions.list()?;
    for digest in blobs(entry) {
        if tables.pin(&digest)?.is_some() && !planted(Bug::EvictsPinned) {
            let reason = format!("{digest} is pinned; `larder unpin` lets go of it");
            return Err(Error::new(ErrorKind::Pinned, format!("{attempt} {}", entry.card.key), reason));
        }
        if let Some(holder) = holder(&sessions, &digest, 0) {
            let reason = format!("running work holds {digest}: {holder}");
            return Err(Error::new(ErrorKind::Busy, format!("{attempt} {}", entry.card.key), reason));
        }
    }
    Ok(())
}

/// Whether a process has one of an entry's blobs open or mapped, as far as the system tells.
pub(super) fn in_use(ledger: &Ledger, entry: &Entry) -> Option<Digest> {
    let open = |digest: &Digest| {
        let file = ledger.machine.open(&ledger.blobs.path(digest), Open::Read);
        file.is_ok_and(|file| file.in_use())
    };
    blobs(entry).into_iter().find(open)
}

/// Splits entries into parts whose records fit one frame with much to spare.
pub(super) fn parts<T>(all: Vec<T>, variants: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut parts: Vec<Vec<T>> = Vec::new();
    let mut room = 0;
    for one in all {
        // For each variant: itself, a name, and what is left without a root.
        let takes = 1 + 3 * variants(&one);
        match parts.last_mut() {
            Some(part) if takes <= room => part.push(one),
            _ => {
                parts.push(vec![one]);
                room = PART_RECORDS;
            }
        }
        room = room.saturating_sub(takes);
    }
    parts
}

/// Records of one part.
const PART_RECORDS: usize = FRAME_RECORDS / 16;
