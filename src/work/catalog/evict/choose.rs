//! Choosing what goes, in order, until it is enough.

use std::collections::{BinaryHeap, HashSet};

use super::super::find;
use super::super::going::{blobs, frees, in_use, is_left};
use super::{Chosen, EvictPlan, Goal, Spared};
use crate::ledger::{Entries, Snapshot, Tables};
use crate::parts::catalog::{Catalog, every};
use crate::parts::sessions::Found;
use crate::vocabulary::limits::{GRACE, ORPHAN_TTL};
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Digest, Entry, EntryId, Key, Query, Result};
use crate::work::Context;
use crate::work::collect::{self, CollectOptions, holder};
use crate::work::find::running;
use crate::work::links::StagedLinks;

/// Entries that are held in memory to find those that go first; for more there is another pass over the catalog.
const CANDIDATES: usize = 4096;

/// Where an entry stands in the order in which they go: the trash by its age, then the rest by their last use.
type Position = (bool, u64, Key);

/// What evicting to `goal` would do now. Changes nothing; memory is that of what goes.
pub fn plan(ctx: &Context<'_>, goal: Goal) -> Result<EvictPlan> {
    plan_but(ctx, goal, None)
}

/// As [`plan`], without what is spared.
pub(super) fn plan_but(ctx: &Context<'_>, goal: Goal, spared: Option<&Spared>) -> Result<EvictPlan> {
    let snapshot = ctx.ledger.snapshot()?;
    let (used_bytes, blobs) = sizes(&snapshot)?;
    let wanted_bytes = match goal {
        Goal::Free(bytes) => bytes,
        Goal::MaxBytes(most) => used_bytes.saturating_sub(most),
    };
    let plan = EvictPlan { wanted_bytes, blobs, ..EvictPlan::default() };
    if wanted_bytes == 0 {
        return Ok(plan);
    }
    // Whether a session lives is asked under `lock`; where it may not be taken, a plan is only looked at.
    let sessions = ctx.ledger.hold(|_| ctx.ledger.sessions.list()).unwrap_or_else(|_| running(ctx.ledger));
    let (catalog, staged) = (find::catalog(ctx)?, StagedLinks::read(ctx.ledger));
    let blocked = HashSet::new();
    let catalog = &*catalog;
    let mut chooser = Chooser { ctx, snapshot: &snapshot, catalog, staged, sessions, goal, plan, spared, blocked };
    chooser.take_unrooted()?;
    chooser.take_entries()?;
    Ok(chooser.plan)
}

/// Bytes of all blobs and carriers, and how many blobs there are.
fn sizes(snapshot: &Snapshot) -> Result<(u64, u64)> {
    let (mut bytes, mut count) = (0, 0);
    for blob in snapshot.blobs(&Digest::from_bytes([0; 32])) {
        bytes += blob?.1.stamp.size_bytes;
        count += 1;
    }
    for carrier in snapshot.all_carriers() {
        bytes += carrier?.1.stamp.size_bytes;
    }
    Ok((bytes, count))
}

struct Chooser<'a> {
    ctx: &'a Context<'a>,
    snapshot: &'a Snapshot,
    catalog: &'a dyn Catalog,
    staged: StagedLinks,
    sessions: Vec<Found>,
    goal: Goal,
    plan: EvictPlan,
    spared: Option<&'a Spared>,
    /// Entries that were passed over, since somebody needs what they keep.
    blocked: HashSet<EntryId>,
}

impl Chooser<'_> {
    /// What `gc` would remove without being asked for room.
    fn take_unrooted(&mut self) -> Result<()> {
        let options = CollectOptions { grace: GRACE, orphan_ttl: ORPHAN_TTL, yes_most: true };
        for doomed in collect::plan(self.ctx, &options)?.doomed {
            if self.plan.is_enough() {
                break;
            }
            if self.snapshot.unrooted(&doomed.digest)?.is_some() {
                self.plan.unrooted.push(doomed.digest);
                self.count(&doomed.digest)?;
            }
        }
        Ok(())
    }

    /// Goes through the entries in their order, those first that go first, a bounded number at a time.
    fn take_entries(&mut self) -> Result<()> {
        let mut chosen: HashSet<EntryId> = HashSet::new();
        let mut after: Option<Position> = None;
        while !self.plan.is_enough() {
            let candidates = self.candidates(after.as_ref())?;
            let Some(last) = candidates.last() else { return Ok(()) };
            after = Some(last.clone());
            for position in &candidates {
                if self.plan.is_enough() {
                    return Ok(());
                }
                if let Some(entry) = self.catalog.entry(&position.2)? {
                    self.consider(entry, position, &mut chosen)?;
                }
            }
        }
        Ok(())
    }

    /// The first positions behind `after`, in order.
    fn candidates(&self, after: Option<&Position>) -> Result<Vec<Position>> {
        let mut first: BinaryHeap<Position> = BinaryHeap::new();
        for trashed in [true, false] {
            let query = Query { trashed, ..Query::default() };
            every(self.catalog, &query, &mut |entry| {
                let position = position(&entry);
                if after.is_none_or(|after| position > *after) {
                    first.push(position);
                    if first.len() > CANDIDATES {
                        first.pop();
                    }
                }
                Ok(())
            })?;
        }
        Ok(first.into_sorted_vec())
    }

    /// Takes an entry, and those before it that share its blobs, if something is freed by that.
    fn consider(&mut self, entry: Entry, at: &Position, chosen: &mut HashSet<EntryId>) -> Result<()> {
        if self.is_needed(&entry)? {
            self.blocked.insert(entry.id());
            return Ok(());
        }
        let mut left = Vec::new();
        for digest in blobs(&entry) {
            if is_left(self.snapshot, &digest, &|other| self.has_passed(other, at))? && self.gain(&digest)? > 0 {
                left.push(digest);
            }
        }
        let before_bytes = self.plan.frees_bytes;
        for digest in &left {
            self.count(digest)?;
        }
        let frees_bytes = self.plan.frees_bytes - before_bytes;
        for digest in &left {
            self.take_keepers(digest, &entry, chosen)?;
        }
        if !left.is_empty() && chosen.insert(entry.id()) {
            self.plan.entries.push(Chosen { entry, frees_bytes });
        }
        Ok(())
    }

    /// All other entries that keep a blob go with the last one of them.
    fn take_keepers(&mut self, digest: &Digest, last: &Entry, chosen: &mut HashSet<EntryId>) -> Result<()> {
        for (other, _) in self.catalog.entries_of(digest)? {
            if other != last.id()
                && chosen.insert(other)
                && let Some(key) = self.snapshot.key_of(&other)?
            {
                let shared = self.catalog.entry(&key)?;
                self.plan.entries.extend(shared.map(|entry| Chosen { entry, frees_bytes: 0 }));
            }
        }
        Ok(())
    }

    /// Whether an entry stands no later than `at`, and may go.
    fn has_passed(&self, other: &EntryId, at: &Position) -> Result<bool> {
        let Some(key) = self.snapshot.key_of(other)? else { return Ok(false) };
        let entry = self.catalog.entry(&key)?;
        Ok(!self.blocked.contains(other) && entry.is_some_and(|entry| position(&entry) <= *at))
    }

    /// Whether somebody needs what an entry keeps; counts why.
    fn is_needed(&mut self, entry: &Entry) -> Result<bool> {
        for digest in blobs(entry) {
            if self.snapshot.pin(&digest)?.is_some() && !planted(Bug::EvictsPinned) {
                self.plan.pinned += 1;
                return Ok(true);
            }
            if holder(&self.sessions, &digest, 0).is_some() {
                self.plan.held += 1;
                return Ok(true);
            }
        }
        if let Some(spared) = self.spared
            && spared.holds(entry)?
        {
            self.plan.new += 1;
            return Ok(true);
        }
        let open = in_use(self.ctx.ledger, entry).is_some();
        self.plan.in_use += u64::from(open);
        Ok(open)
    }

    /// What removing a blob brings, by the measure of the goal.
    fn gain(&self, digest: &Digest) -> Result<u64> {
        match self.goal {
            Goal::Free(_) => self.frees(digest),
            Goal::MaxBytes(_) => {
                let blob = self.snapshot.blob(digest)?.map_or(0, |row| row.stamp.size_bytes);
                let carriers = self.snapshot.carriers(digest)?;
                Ok(blob + carriers.iter().map(|(_, row)| row.stamp.size_bytes).sum::<u64>())
            }
        }
    }

    fn frees(&self, digest: &Digest) -> Result<u64> {
        frees(self.ctx.ledger, self.snapshot, &self.staged, digest)
    }

    fn count(&mut self, digest: &Digest) -> Result<()> {
        self.plan.gained_bytes += self.gain(digest)?;
        self.plan.frees_bytes += self.frees(digest)?;
        self.plan.going_blobs += 1;
        Ok(())
    }
}

fn position(entry: &Entry) -> Position {
    match entry.trashed_ns {
        Some(since_ns) => (false, since_ns, entry.card.key.clone()),
        None => (true, entry.usage.last_ns.max(entry.card.registered_ns), entry.card.key.clone()),
    }
}
