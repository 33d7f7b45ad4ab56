//! Retention: entries that a policy lets go are put into the trash, or retired.

use std::collections::HashSet;

use super::going::{blobs, frees, is_left, parts};
use super::trash::trash_one;
use super::{find, now_ns, put_card};
use crate::ledger::{Entries, Tables, Tx};
use crate::parts::catalog::every;
use crate::vocabulary::entry::{By, Retention, RetentionPolicy};
use crate::vocabulary::{Entry, EntryId, Observer, Result, State};
use crate::work::Context;
use crate::work::links::StagedLinks;

/// What becomes of what a policy lets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetGo {
    /// It goes into the trash, with its names.
    Trash,
    /// It is retired, and everything of it stays.
    Retire,
}

/// What a policy would let go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionPlan {
    /// The entries, in order of keys.
    pub entries: Vec<Entry>,
    /// Entries that the policy would let go, and that a pin keeps.
    pub pinned: u64,
    /// Bytes that are really freed once all of them are gone for good.
    pub frees_bytes: u64,
}

/// What was let go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionReport {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Entries that were changed, used, pinned or removed since, and left alone.
    pub left: u64,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

/// What `policy` would let go now. Changes nothing. What is pinned stays, and of what is to be retired, what is so already.
/// [`crate::vocabulary::ErrorKind::Invalid`] for a policy that keeps nothing.
pub fn plan(ctx: &Context<'_>, policy: &RetentionPolicy, how: LetGo) -> Result<RetentionPlan> {
    policy.check()?;
    let snapshot = ctx.ledger.snapshot()?;
    let mut plan = RetentionPlan::default();
    let mut retention = Retention::new(policy, ctx.ledger.machine.now_ns());
    let mut take = |gone: Vec<Entry>| -> Result<()> {
        for entry in gone {
            if how == LetGo::Retire && entry.card.state == State::Retired {
                continue;
            }
            match is_pinned(snapshot.as_ref(), &entry)? {
                true => plan.pinned += 1,
                false => plan.entries.push(entry),
            }
        }
        Ok(())
    };
    every(find::catalog(ctx)?.as_ref(), &policy.select, &mut |entry| take(retention.next(entry)))?;
    take(retention.finish())?;
    if how == LetGo::Trash {
        let going: HashSet<EntryId> = plan.entries.iter().map(Entry::id).collect();
        let (staged, mut seen) = (StagedLinks::read(ctx.ledger), HashSet::new());
        for digest in plan.entries.iter().flat_map(blobs) {
            if seen.insert(digest) && is_left(snapshot.as_ref(), &digest, &|other| Ok(going.contains(other)))? {
                plan.frees_bytes += frees(ctx.ledger, &snapshot, &staged, &digest)?;
            }
        }
    }
    Ok(plan)
}

fn is_pinned(tables: &impl Tables, entry: &Entry) -> Result<bool> {
    for digest in blobs(entry) {
        if tables.pin(&digest)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Lets go what was planned, but what was changed, used or pinned since.
pub fn apply(ctx: &Context<'_>, plan: &RetentionPlan, how: LetGo, observer: &dyn Observer) -> Result<RetentionReport> {
    let mut report = RetentionReport::default();
    observer.expect(plan.entries.len() as u64, 0);
    for part in parts(plan.entries.clone(), |entry| entry.variants.len()) {
        if observer.cancelled() {
            report.interrupted = true;
            break;
        }
        let planned = part.len() as u64;
        let gone = ctx.ledger.transact(move |tx| apply_part(tx, part, how))?;
        report.left += planned - gone.len() as u64;
        report.entries.extend(gone);
        observer.progress(planned, 0);
    }
    Ok(report)
}

fn apply_part(tx: &mut Tx<'_>, part: Vec<Entry>, how: LetGo) -> Result<Vec<Entry>> {
    let mut gone = Vec::new();
    for planned in part {
        let Some(entry) = Entries::entry(tx, &planned.card.key)? else { continue };
        let same = entry.card == planned.card && entry.variants == planned.variants && entry.trashed_ns.is_none();
        if !same || entry.usage.last_ns > planned.usage.last_ns || is_pinned(tx, &entry)? {
            continue;
        }
        match how {
            LetGo::Trash => _ = trash_one(tx, &entry.card.key, "retention".to_owned())?,
            LetGo::Retire => {
                let mut card = entry.card;
                card.state = card.state.transition(State::Retired, By::Rule)?;
                card.updated_ns = now_ns(tx);
                put_card(tx, card)?;
            }
        }
        gone.push(planned);
    }
    Ok(gone)
}

#[cfg(test)]
mod tests;
