//! The calls of the catalog: models and documents, registered, found, changed, verified and removed.
//!
//! Every change is one transaction, and what it rests on is read in it: of several processes that register the same key,
//! one makes the entry and the others find it.

pub mod change;
pub mod engine;
pub mod evict;
pub mod find;
mod going;
pub mod names;
pub mod register;
pub mod remove;
pub mod restore;
pub mod retention;
pub mod trash;
pub mod uses;
pub mod verify;

#[cfg(test)]
mod tests;

use crate::format::record::Record;
use crate::format::record::entry::{EntryRecord, VariantRecord, VariantRemovedRecord};
use crate::ledger::{Entries, Tx};
use crate::vocabulary::{Card, Digest, Entry, EntryId, Error, ErrorKind, Key, Result, StoredUri, Variant};

/// The URI of a blob that the store has.
pub fn blob_uri(digest: &Digest) -> String {
    StoredUri::Blob(*digest).to_string()
}

/// The entry of a key, as a transaction sees it: [`ErrorKind::NotFound`] for none and for one in the trash.
fn present<T: Entries>(tables: &T, key: &Key) -> Result<Entry> {
    match Entries::entry(tables, key)? {
        Some(entry) if entry.trashed_ns.is_none() => Ok(entry),
        Some(_) => Err(in_the_trash(key)),
        None => Err(not_found(key, "there is no such entry in the catalog")),
    }
}

fn in_the_trash(key: &Key) -> Error {
    not_found(key, "it is in the trash: `larder undelete` takes it out")
}

fn not_found(key: &Key, reason: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("find {key}"), reason)
}

/// Puts a card in the place of the one that there was.
fn put_card(tx: &mut Tx<'_>, card: Card) -> Result<()> {
    let before = tx.card(&card.key)?;
    put_card_over(tx, card, before.as_ref())
}

/// As [`put_card`], where it was seen what is on record now.
fn put_card_over(tx: &mut Tx<'_>, card: Card, before: Option<&Card>) -> Result<()> {
    let card = card.without_secrets();
    card.check()?;
    let dropped = match before {
        Some(before) => before.terms().difference(&card.terms()).cloned().collect(),
        None => Vec::new(),
    };
    tx.push(Record::Entry(Box::new(EntryRecord { card, dropped })));
    Ok(())
}

/// Puts a variant in the place of the one of this name, if there was one. The blob that only that one kept begins its
/// grace.
fn put_variant(tx: &mut Tx<'_>, entry: EntryId, variant: Variant) -> Result<()> {
    let before = tx.variant(&entry, &variant.name)?;
    put_variant_over(tx, entry, variant, before.as_ref())
}

/// As [`put_variant`], where it was seen what is on record now.
fn put_variant_over(tx: &mut Tx<'_>, entry: EntryId, variant: Variant, before: Option<&Variant>) -> Result<()> {
    let variant = variant.without_secrets();
    variant.check()?;
    if before == Some(&variant) {
        return Ok(());
    }
    let was = before.and_then(|before| before.digest);
    let now = variant.digest;
    tx.push(Record::Variant(Box::new(VariantRecord { entry, variant, was })));
    match was.filter(|was| Some(*was) != now) {
        Some(was) => tx.note_if_unrooted(&was).map(drop),
        None => Ok(()),
    }
}

/// Takes a variant away. The blob that only it kept begins its grace.
fn drop_variant(tx: &mut Tx<'_>, entry: EntryId, variant: &Variant) -> Result<()> {
    let was = variant.digest;
    tx.push(Record::VariantRemoved(VariantRemovedRecord { entry, name: variant.name.clone(), was }));
    match was {
        Some(was) => tx.note_if_unrooted(&was).map(drop),
        None => Ok(()),
    }
}

/// The wall clock, in nanoseconds since the epoch.
fn now_ns(tx: &Tx<'_>) -> u64 {
    tx.ledger().machine.now_ns()
}
