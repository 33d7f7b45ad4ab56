//! Finding entries.

use std::sync::Arc;

use super::not_found;
use super::uses::WithUses;
use crate::parts::catalog::{self, Catalog, Totals};
use crate::vocabulary::{Digest, Entry, EntryTarget, Error, ErrorKind, Key, Query, Result};
use crate::work::Context;

/// The engine that answers, as the journal is now, with the uses that are not on record yet.
pub fn catalog(ctx: &Context<'_>) -> Result<Arc<dyn Catalog>> {
    let pending = ctx.ledger.pending_uses();
    Ok(WithUses::over(ctx.ledger.catalog()?, pending, ctx.ledger.machine.now_ns()))
}

/// The entry of a key (R74): `None` for none, and for one in the trash.
pub fn get(ctx: &Context<'_>, key: &Key) -> Result<Option<Entry>> {
    Ok(catalog(ctx)?.entry(key)?.filter(|entry| entry.trashed_ns.is_none()))
}

/// The one entry that is pointed at, in the trash or not. [`ErrorKind::NotFound`] for none, [`ErrorKind::Invalid`], naming
/// some of them, where there are several.
pub fn resolve(ctx: &Context<'_>, target: &EntryTarget) -> Result<Entry> {
    let catalog = catalog(ctx)?;
    let found = candidates(catalog.as_ref(), target)?;
    match found.as_slice() {
        [] => Err(Error::new(ErrorKind::NotFound, format!("find {target}"), "there is no such entry in the catalog")),
        [one] => catalog.entry(one)?.ok_or_else(|| not_found(one, "it was removed meanwhile")),
        several => {
            let ids: Vec<String> = several.iter().map(|key| format!("entry:{} ({key})", key.id())).collect();
            let reason = format!("several entries are called so: {}", ids.join(", "));
            Err(Error::new(ErrorKind::Invalid, format!("find {target}"), reason))
        }
    }
}

/// How many of several entries an error names.
const NAMED: usize = 5;

fn candidates(catalog: &dyn Catalog, target: &EntryTarget) -> Result<Vec<Key>> {
    match target {
        EntryTarget::Id(id) => catalog.keys_of_ids(id, NAMED),
        EntryTarget::Document(artifact) => {
            below(catalog, Key::prefix(crate::vocabulary::EntryKind::Document, &[artifact]))
        }
        EntryTarget::Model { provider, reference, version } => {
            let exact = Key::model(provider, reference, version.as_deref().unwrap_or_default())?;
            match (catalog.entry(&exact)?, version) {
                (Some(_), _) => Ok(vec![exact]),
                (None, Some(_)) => Ok(Vec::new()),
                (None, None) => {
                    below(catalog, Key::prefix(crate::vocabulary::EntryKind::Model, &[provider, reference]))
                }
            }
        }
    }
}

/// What is not in the trash goes before what is.
fn below(catalog: &dyn Catalog, prefix: Vec<u8>) -> Result<Vec<Key>> {
    let query = Query { prefix, ..Query::default() };
    let mut found = catalog.page(&query, None, NAMED)?;
    if found.is_empty() {
        found = catalog.page(&Query { trashed: true, ..query }, None, NAMED)?;
    }
    Ok(found.into_iter().map(|entry| entry.card.key).collect())
}

/// A page of the entries that meet `query`, behind `after`, in order of keys; at most [`catalog::PAGE_ENTRIES`].
pub fn page(ctx: &Context<'_>, query: &Query, after: Option<&Key>, limit: usize) -> Result<Vec<Entry>> {
    catalog(ctx)?.page(query, after, limit.min(catalog::PAGE_ENTRIES))
}

/// Gives every entry that meets `query` to `each`, in order of keys, a page at a time (R88, R100).
pub fn list(ctx: &Context<'_>, query: &Query, each: &mut dyn FnMut(Entry) -> Result<()>) -> Result<()> {
    catalog::every(catalog(ctx)?.as_ref(), query, each)
}

/// The entries that have a variant of this digest (R96), in order of keys, but those in the trash.
pub fn by_digest(ctx: &Context<'_>, digest: &Digest) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    let query = Query { digest: Some(*digest), ..Query::default() };
    list(ctx, &query, &mut |entry| {
        found.push(entry);
        Ok(())
    })?;
    Ok(found)
}

/// Counts and sums of the catalog (R99, R103).
pub fn totals(ctx: &Context<'_>) -> Result<Totals> {
    catalog(ctx)?.totals()
}
