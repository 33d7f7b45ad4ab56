//! Removing entries.

use super::{drop_variant, present};
use crate::format::record::Record;
use crate::format::record::entry::EntryRemovedRecord;
use crate::ledger::Tx;
use crate::vocabulary::{Entry, Key, Result};
use crate::work::Context;

/// Removes the record of an entry and nothing else (R90): its names stay, and what nothing else keeps begins its grace.
/// Gives back what it was. [`crate::vocabulary::ErrorKind::NotFound`] if there is none.
pub fn remove(ctx: &Context<'_>, key: &Key) -> Result<Entry> {
    let key = key.clone();
    ctx.ledger.transact(move |tx| {
        let entry = present(tx, &key)?;
        drop_entry(tx, &entry, "remove")?;
        Ok(entry)
    })
}

/// Takes an entry and its variants off the records.
pub(super) fn drop_entry(tx: &mut Tx<'_>, entry: &Entry, rule: &str) -> Result<()> {
    for variant in &entry.variants {
        drop_variant(tx, entry.id(), variant)?;
    }
    let (key, terms) = (entry.card.key.clone(), entry.card.terms().into_iter().collect());
    let when = tx.moment();
    tx.push(Record::EntryRemoved(EntryRemovedRecord { key, terms, rule: rule.to_owned(), when }));
    Ok(())
}
