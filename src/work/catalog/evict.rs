//! Evicting: what is still valid goes, to make room.
//!
//! To reach a goal, first goes what nothing keeps and whose grace is over, then the trash, the longest there first, then the
//! entries that were not used for longest. What is pinned, leased or open in a process stays, and so does what frees nothing. Names
//! that no entry has are never evicted: nobody has said that they can be had again.

mod choose;
mod limits;

use std::sync::Arc;

use super::going::{blobs, in_use, parts, refuse_kept, take_names};
use super::trash::{Deleted, drop_for_good, refuse_in_use, trash_one};
use crate::ledger::{Entries, Snapshot, Tx};
use crate::vocabulary::limits::MOST_GUARD_BLOBS;
use crate::vocabulary::{Digest, Entry, Error, ErrorKind, Key, Observer, Result};
use crate::work::Context;
use crate::work::collect::{CollectReport, collect_these};

pub use choose::plan;
pub use limits::{Limits, apply, make_room};

/// How far to evict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Until so many bytes more are free on the disk: bytes that a link outside the store holds do not count.
    Free(u64),
    /// Until the blobs of the store and their carriers are at most so many bytes together.
    MaxBytes(u64),
}

/// One entry that would be evicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The entry, with its usage as it was seen.
    pub entry: Entry,
    /// Bytes that are really freed with it and those before it, and not without it.
    pub frees_bytes: u64,
}

/// What evicting would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvictPlan {
    /// Bytes that are to go, by the measure of the goal; zero where it is reached already.
    pub wanted_bytes: u64,
    /// Bytes that go, by the same measure.
    pub gained_bytes: u64,
    /// Bytes that are really freed.
    pub frees_bytes: u64,
    /// Blobs that nothing keeps and whose grace is over.
    pub unrooted: Vec<Digest>,
    /// The entries, in the order in which they go.
    pub entries: Vec<Chosen>,
    /// Blobs that go, those included that nothing keeps.
    pub going_blobs: u64,
    /// Blobs in the store.
    pub blobs: u64,
    /// Entries that were passed over since one of their blobs is pinned.
    pub pinned: u64,
    /// The same, since running work holds one.
    pub held: u64,
    /// The same, since a process has one open.
    pub in_use: u64,
    /// Entries that were passed over since they came while the work was done that room is made after.
    pub new: u64,
}

/// What limits spare after some work: whatever it has added is kept, and so is all that came beside it.
pub struct Spared {
    /// The records before the work.
    before: Arc<Snapshot>,
    /// The entry that it was about, new or not.
    key: Option<Key>,
}

impl Spared {
    /// What there is now is not spared, but for the entry that the work to come is about, where that is known.
    pub fn from_now(ctx: &Context<'_>, key: Option<&Key>) -> Result<Spared> {
        Ok(Spared { before: ctx.ledger.snapshot()?, key: key.cloned() })
    }

    fn holds(&self, entry: &Entry) -> Result<bool> {
        let before = Entries::entry(self.before.as_ref(), &entry.card.key)?;
        let is_new = before.is_none_or(|before| blobs(&before) != blobs(entry));
        Ok(is_new || self.key.as_ref() == Some(&entry.card.key))
    }
}

impl EvictPlan {
    /// Whether it reaches its goal.
    pub fn is_enough(&self) -> bool {
        self.gained_bytes >= self.wanted_bytes
    }
}

/// What was evicted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EvictReport {
    /// The entries that are gone.
    pub entries: Vec<Chosen>,
    /// Entries that were used, changed, pinned or leased since they were chosen, and left alone.
    pub left: u64,
    /// What was collected.
    pub collected: CollectReport,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

/// Puts an entry into the trash to make room, as [`super::trash::trash`] does it, but refuses what somebody needs:
/// [`ErrorKind::Pinned`], [`ErrorKind::Busy`] as [`super::trash::delete`] says it.
pub fn evict_one(ctx: &Context<'_>, key: &Key) -> Result<Deleted> {
    if let Some(entry) = Entries::entry(ctx.ledger.snapshot()?.as_ref(), key)? {
        refuse_in_use(ctx, &entry, EVICT)?;
    }
    let key = key.clone();
    ctx.ledger.transact(move |tx| {
        if let Some(entry) = Entries::entry(tx, &key)? {
            refuse_kept(tx, &entry, EVICT)?;
        }
        trash_one(tx, &key, EVICT.to_owned())
    })
}

/// What evicts, as `why-gone` tells it.
const EVICT: &str = "evict";

/// Evicts what was planned, entries for good, and collects exactly what they leave, without grace.
///
/// [`ErrorKind::Refused`] while the journal is damaged, and for more than half of the blobs of a store of over 100, unless
/// `yes_most`.
pub fn evict(ctx: &Context<'_>, plan: &EvictPlan, yes_most: bool, observer: &dyn Observer) -> Result<EvictReport> {
    if !yes_most && plan.blobs > MOST_GUARD_BLOBS && plan.going_blobs * 2 > plan.blobs {
        let reason = format!(
            "it would remove {} of {} blobs, more than half of the store; --yes-most does it",
            plan.going_blobs, plan.blobs
        );
        return Err(Error::new(ErrorKind::Refused, EVICT, reason));
    }
    let mut report = EvictReport { collected: collect_these(ctx, &plan.unrooted, observer)?, ..EvictReport::default() };
    report.interrupted = report.collected.interrupted;
    for part in parts(plan.entries.clone(), |one| one.entry.variants.len()) {
        if report.interrupted || observer.cancelled() {
            report.interrupted = true;
            break;
        }
        let planned = part.len() as u64;
        let part = part.into_iter().filter(|one| in_use(ctx.ledger, &one.entry).is_none()).collect();
        let (gone, unrooted) = ctx.ledger.transact(move |tx| evict_part(tx, part))?;
        report.left += planned - gone.len() as u64;
        report.entries.extend(gone);
        add(&mut report.collected, collect_these(ctx, &unrooted, observer)?);
        report.interrupted |= report.collected.interrupted;
    }
    Ok(report)
}

fn add(sum: &mut CollectReport, more: CollectReport) {
    sum.removed_blobs += more.removed_blobs;
    sum.removed_bytes += more.removed_bytes;
    sum.freed_bytes += more.freed_bytes;
    sum.held.extend(more.held);
    sum.interrupted |= more.interrupted;
}

fn evict_part(tx: &mut Tx<'_>, part: Vec<Chosen>) -> Result<(Vec<Chosen>, Vec<Digest>)> {
    let (mut gone, mut unrooted) = (Vec::new(), Vec::new());
    for one in part {
        let Some(entry) = Entries::entry(tx, &one.entry.card.key)? else { continue };
        if !is_as_planned(&entry, &one.entry) || !may_go(tx, &entry)? {
            continue;
        }
        if entry.trashed_ns.is_none() {
            take_names(tx, &entry, EVICT)?;
        }
        unrooted.extend(drop_for_good(tx, &entry, EVICT)?);
        gone.push(one);
    }
    Ok((gone, unrooted))
}

/// Whether nobody has used it since, nor given it other bytes, nor put it into the trash or taken it out.
fn is_as_planned(entry: &Entry, planned: &Entry) -> bool {
    entry.usage.last_ns <= planned.usage.last_ns
        && entry.trashed_ns == planned.trashed_ns
        && blobs(entry) == blobs(planned)
}

fn may_go(tx: &Tx<'_>, entry: &Entry) -> Result<bool> {
    match refuse_kept(tx, entry, EVICT) {
        Ok(()) => Ok(true),
        Err(e) if matches!(e.kind(), ErrorKind::Pinned | ErrorKind::Busy) => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests;
