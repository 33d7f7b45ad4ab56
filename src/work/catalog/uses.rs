//! Uses: that somebody read what an entry keeps is noted, at the price of a few bytes that nobody syncs (R56).

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::ledger::{Entries, Snapshot, Tables};
use crate::parts::catalog::{Catalog, Totals};
use crate::parts::uses::{self, Pending};
use crate::vocabulary::limits::USES_BYTES;
use crate::vocabulary::{Digest, Entry, EntryId, Key, Prefix, Query, Result};
use crate::work::Context;
use crate::work::lease::Leased;
use crate::work::names::{self, Target};

/// Entries whose use one call notes: the largest checkout counts each once, in bounded memory.
const MOST: usize = USES_BYTES as usize / 64;

/// Notes that what `used` means was read: each entry outside the trash that has it is used once. It costs no sync, waits for
/// nobody, and what goes wrong with it is nobody's trouble; a store that is only read does without.
pub fn note(ctx: &Context<'_>, used: &[Leased]) {
    if ctx.ledger.policy.writable
        && let Ok(snapshot) = ctx.ledger.snapshot()
        && let Ok(entries) = entries(&snapshot, used)
    {
        note_entries(ctx, entries);
    }
}

/// Notes that one entry was used.
pub fn note_entry(ctx: &Context<'_>, key: &Key) {
    note_entries(ctx, BTreeSet::from([key.id()]));
}

fn note_entries(ctx: &Context<'_>, entries: BTreeSet<EntryId>) {
    let now_ns = ctx.ledger.machine.now_ns();
    let uses: Vec<_> = entries.into_iter().map(|entry| (entry, now_ns)).collect();
    ctx.ledger.note_uses(&uses);
}

fn entries(snapshot: &Snapshot, used: &[Leased]) -> Result<BTreeSet<EntryId>> {
    let mut found = BTreeSet::new();
    // Most stores without a catalog are spared a look-up for every name.
    if snapshot.cards(&[], None).next().transpose()?.is_none() {
        return Ok(found);
    }
    for what in used {
        match what {
            Leased::Blob(digest) => having(snapshot, digest, &mut found)?,
            Leased::Names(prefix) => {
                for row in snapshot.aliases(prefix) {
                    having(snapshot, &row?.1.digest, &mut found)?;
                }
            }
        }
    }
    Ok(found)
}

fn having(snapshot: &Snapshot, digest: &Digest, found: &mut BTreeSet<EntryId>) -> Result<()> {
    for (entry, _) in Entries::entries_of(snapshot, digest)? {
        if found.len() < MOST && !found.contains(&entry) && snapshot.trashed(&entry)?.is_none() {
            found.insert(entry);
        }
    }
    Ok(())
}

/// What a target means, as something that is used; nothing where it means nothing.
pub fn of_target(ctx: &Context<'_>, target: &Target) -> Vec<Leased> {
    let digest = ctx.ledger.snapshot().and_then(|snapshot| names::resolve(snapshot.as_ref(), target));
    digest.map(|digest| vec![Leased::Blob(digest)]).unwrap_or_default()
}

/// All names of a prefix, as something that is used.
pub fn of_prefix(prefix: &Prefix) -> [Leased; 1] {
    [Leased::Names(prefix.clone())]
}

/// A catalog as it will be once the uses that are not on record yet are.
pub(super) struct WithUses {
    catalog: Arc<dyn Catalog>,
    pending: Pending,
    now_ns: u64,
}

impl WithUses {
    /// `catalog`, which was asked for after `pending` was read: a use that came on record meanwhile counts once.
    pub(super) fn over(catalog: Arc<dyn Catalog>, pending: Pending, now_ns: u64) -> Arc<dyn Catalog> {
        if pending.is_empty() { catalog } else { Arc::new(WithUses { catalog, pending, now_ns }) }
    }

    fn with(&self, mut entry: Entry) -> Entry {
        if let Some(times) = self.pending.get(&entry.id()) {
            entry.usage = uses::with(entry.usage, entry.card.registered_ns, times, self.now_ns);
        }
        entry
    }
}

impl Catalog for WithUses {
    fn entry(&self, key: &Key) -> Result<Option<Entry>> {
        Ok(self.catalog.entry(key)?.map(|entry| self.with(entry)))
    }

    fn keys_of_ids(&self, first: &str, most: usize) -> Result<Vec<Key>> {
        self.catalog.keys_of_ids(first, most)
    }

    fn entries_of(&self, digest: &Digest) -> Result<Vec<(EntryId, String)>> {
        self.catalog.entries_of(digest)
    }

    /// A use may only take an entry away from what was not used since some time, never add one.
    fn page(&self, query: &Query, after: Option<&Key>, limit: usize) -> Result<Vec<Entry>> {
        let (mut found, mut after) = (Vec::new(), after.cloned());
        loop {
            let wanted = limit - found.len();
            let page = self.catalog.page(query, after.as_ref(), wanted)?;
            let is_last = page.len() < wanted;
            after = page.last().map(|entry| entry.card.key.clone());
            found.extend(page.into_iter().map(|entry| self.with(entry)).filter(|entry| query.admits(entry)));
            if is_last || found.len() == limit {
                return Ok(found);
            }
        }
    }

    fn totals(&self) -> Result<Totals> {
        self.catalog.totals()
    }
}

#[cfg(test)]
mod tests;
