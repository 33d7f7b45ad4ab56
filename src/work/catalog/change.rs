//! Changing what is on record of an entry. Each call gives back the entry as it then is.

use std::collections::{BTreeMap, BTreeSet};

use super::{now_ns, present, put_card};
use crate::vocabulary::entry::By;
use crate::vocabulary::{Card, Entry, Key, Result, State};
use crate::work::Context;

/// Moves an entry to another state by hand (R79). [`crate::vocabulary::ErrorKind::IllegalTransition`] for what only verification, or nothing,
/// does.
pub fn set_state(ctx: &Context<'_>, key: &Key, to: State) -> Result<Entry> {
    change(ctx, key, move |card| {
        card.state = card.state.transition(to, By::Hand)?;
        Ok(())
    })
}

/// Adds words to find an entry by, and takes others away.
pub fn tag(ctx: &Context<'_>, key: &Key, add: BTreeSet<String>, remove: BTreeSet<String>) -> Result<Entry> {
    change(ctx, key, move |card| {
        card.tags.extend(add);
        card.tags.retain(|tag| !remove.contains(tag));
        Ok(())
    })
}

/// Puts other notes in the place of what people wrote about an entry; empty text takes them away.
pub fn note(ctx: &Context<'_>, key: &Key, notes: String) -> Result<Entry> {
    change(ctx, key, move |card| {
        card.notes = notes;
        Ok(())
    })
}

/// Sets metadata of an entry, and (`None`) takes it away.
pub fn describe(ctx: &Context<'_>, key: &Key, metadata: BTreeMap<String, Option<String>>) -> Result<Entry> {
    change(ctx, key, move |card| {
        for (key, value) in metadata {
            match value {
                Some(value) => _ = card.metadata.insert(key, value),
                None => _ = card.metadata.remove(&key),
            }
        }
        Ok(())
    })
}

/// Puts another card in the place of an entry's, in one transaction; one that is the same is not written again.
pub(super) fn change(
    ctx: &Context<'_>,
    key: &Key,
    change: impl FnOnce(&mut Card) -> Result<()> + Send + 'static,
) -> Result<Entry> {
    let key = key.clone();
    ctx.ledger.transact(move |tx| {
        let before = present(tx, &key)?;
        let mut card = before.card.clone();
        change(&mut card)?;
        if card == before.card {
            return Ok(before);
        }
        card.updated_ns = now_ns(tx);
        put_card(tx, card)?;
        present(tx, &key)
    })
}
