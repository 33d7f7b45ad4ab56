//! Putting entries on record as somebody else has them.

use super::register::{IfThere, Registered, take_out};
use super::{blob_uri, now_ns, present, put_card, put_variant};
use crate::format::record::Record;
use crate::format::record::entry::UsedRecord;
use crate::ledger::{Entries, Tables, Tx};
use crate::vocabulary::entry::By;
use crate::vocabulary::{Card, Entry, Error, ErrorKind, Name, Result, Usage, Variant};
use crate::work::names;

/// Puts an entry on record with everything that is said of it: times, state, trust and evidence, usage, variants. What
/// the store has of its bytes is kept from then on.
///
/// Where there is an entry of this key, `if_there` says what becomes of it, as with [`super::register::register`]; state
/// and trust of the new one then count only where its evidence is later, and only as verification may move an entry.
/// `whole`: `entry` says all there is to say, and its variants are not changed for what the store has.
pub fn restore_one(tx: &mut Tx<'_>, entry: Entry, whole: bool, if_there: IfThere) -> Result<Registered> {
    let key = entry.card.key.clone();
    let mut before = Entries::entry(tx, &key)?;
    if let Some(trashed) = before.take_if(|entry| entry.trashed_ns.is_some()) {
        take_out(tx, &trashed)?;
    }
    let (new, card, usage) = match before {
        None => (true, entry.card, entry.usage),
        Some(_) if if_there == IfThere::Refuse => {
            let reason = format!("it is registered already (entry:{})", key.id());
            return Err(Error::new(ErrorKind::Taken, format!("register {key}"), reason));
        }
        Some(entry) if if_there == IfThere::Keep => return Ok(Registered { entry, new: false }),
        Some(before) => (false, merged(before.card, entry.card, now_ns(tx)), entry.usage.newer_than(before.usage)),
    };
    put_card(tx, card)?;
    for variant in entry.variants {
        let variant = if whole { variant } else { with_its_blob(tx, variant)? };
        put_variant(tx, key.id(), variant)?;
    }
    if usage != Usage::default() {
        tx.push(Record::Used(UsedRecord { entry: key.id(), usage }));
    }
    let entry = present(tx, &key)?;
    entry.check()?;
    Ok(Registered { entry, new })
}

/// One card on another: text that is not empty, metadata and tags beside those that there are.
fn merged(mut card: Card, new: Card, now_ns: u64) -> Card {
    let texts = [
        (&mut card.title, new.title),
        (&mut card.source, new.source),
        (&mut card.content_type, new.content_type),
        (&mut card.run, new.run),
        (&mut card.notes, new.notes),
        (&mut card.sbom, new.sbom),
        (&mut card.signature, new.signature),
    ];
    for (place, text) in texts {
        if !text.is_empty() {
            *place = text;
        }
    }
    card.metadata.extend(new.metadata);
    card.tags.extend(new.tags);
    card.updated_ns = now_ns;
    let when = |evidence: &Option<crate::vocabulary::Evidence>| evidence.as_ref().map_or(0, |e| e.when_ns);
    if when(&new.evidence) > when(&card.evidence) {
        if card.state.may_become(new.state, By::Verification) {
            card.state = new.state;
        }
        card.trust = new.trust;
        card.evidence = new.evidence;
        card.verified_ns = new.verified_ns.or(card.verified_ns);
    }
    card
}

/// A variant whose bytes the store has is that blob.
fn with_its_blob(tx: &Tx<'_>, mut variant: Variant) -> Result<Variant> {
    let Some(digest) = variant.digest.or(variant.expected) else { return Ok(variant) };
    if tx.blob(&digest)?.is_none() {
        return Ok(variant);
    }
    match names::in_place(tx, &digest) {
        Ok(blob) => variant.size_bytes = Some(blob.stamp.size_bytes),
        Err(e) if e.kind() == ErrorKind::Damaged => return Ok(variant),
        Err(e) => return Err(e),
    }
    variant.digest = Some(digest);
    variant.uri = blob_uri(&digest);
    variant.alias = its_name(tx, variant.alias.take(), &digest)?;
    Ok(variant)
}

/// The name that it is said to have, if that means these bytes; else the blob's first one.
fn its_name(tx: &Tx<'_>, said: Option<Name>, digest: &crate::vocabulary::Digest) -> Result<Option<Name>> {
    if let Some(name) = said
        && tx.alias(&name)?.is_some_and(|alias| alias.digest == *digest)
    {
        return Ok(Some(name));
    }
    Ok(tx.names_of(digest)?.into_iter().next())
}
