//! The trash of the front, and removing entries for good.

use std::time::Duration;

use super::Store;
use super::metrics::Op;
use crate::vocabulary::entry::RetentionPolicy;
use crate::vocabulary::{Entry, Key, Name, Observer, Result};
use crate::work::catalog::evict::{self, EvictPlan, EvictReport, Goal, Limits, Spared};
use crate::work::catalog::retention::{self, LetGo, RetentionPlan, RetentionReport};
use crate::work::catalog::trash::{self, Deleted, EmptyPlan, EmptyReport, InTrash, Undeleted};

impl Store {
    /// Puts an entry into the trash, where it keeps its blobs and can be taken back; see [`trash::trash`]. `rule` says what
    /// did it: `trash`, `delete`, …
    pub fn trash_entry(&self, key: &Key, rule: &str) -> Result<Deleted> {
        let done = trash::trash(&self.writing()?, key, rule);
        self.did(Op("remove", "trash"), key, done)
    }

    /// Takes an entry out of the trash; see [`trash::undelete`].
    pub fn undelete_entry(&self, key: &Key) -> Result<Undeleted> {
        self.did(Op("update", "undelete"), key, trash::undelete(&self.writing()?, key))
    }

    /// Gives every entry in the trash to `each`, in order of identities, none held in memory.
    pub fn trashed(&self, each: &mut dyn FnMut(InTrash) -> Result<()>) -> Result<()> {
        trash::trashed(&self.reading(), each)
    }

    /// What emptying the trash of all that has been there for `at_least` would remove.
    pub fn plan_empty_trash(&self, at_least: Duration) -> Result<EmptyPlan> {
        trash::plan_empty(&self.reading(), at_least)
    }

    /// Removes the planned entries for good; with `free`, what nothing else keeps at once; see [`trash::empty`].
    pub fn empty_trash(&self, plan: &EmptyPlan, free: bool, observer: &dyn Observer) -> Result<EmptyReport> {
        let done = trash::empty(&self.writing()?, plan, free, observer);
        self.collected(Op("collect", "empty-trash"), &"", done, |report| &report.collected)
    }

    /// What deleting an entry would take: the entry, the names that go with it, and the bytes that are freed for good.
    pub fn plan_delete_entry(&self, key: &Key) -> Result<(Entry, Vec<Name>, u64)> {
        trash::plan_delete(&self.reading(), key)
    }

    /// Refuses an entry that deleting it for good, or evicting it, would refuse now (R83): pinned, leased, open in a process.
    /// `attempt` is what the error calls it.
    pub fn may_delete_entry(&self, key: &Key, attempt: &str) -> Result<()> {
        trash::may_go(&self.reading(), key, attempt)
    }

    /// Deletes an entry with its names (R83, R131): into the trash or, with `now`, for good and with the bytes that nothing
    /// else keeps; see [`trash::delete`].
    pub fn delete_entry(&self, key: &Key, now: bool, observer: &dyn Observer) -> Result<Deleted> {
        match now {
            true => {
                let done = trash::delete(&self.writing()?, key, "delete", observer);
                self.collected(Op("remove", "delete"), key, done, |report| &report.collected)
            }
            false => self.trash_entry(key, "delete"),
        }
    }

    /// Puts an entry into the trash to make room (R84) or, with `now`, deletes it for good, unless somebody needs it; see
    /// [`evict::evict_one`] and [`trash::delete`].
    pub fn evict_entry(&self, key: &Key, now: bool, observer: &dyn Observer) -> Result<Deleted> {
        let done = match now {
            true => trash::delete(&self.writing()?, key, "evict", observer),
            false => evict::evict_one(&self.writing()?, key),
        };
        self.evicted(u64::from(done.is_ok()));
        self.collected(Op("remove", "evict"), key, done, |report| &report.collected)
    }

    /// What evicting to a goal would do; see [`evict::plan`].
    pub fn plan_evict(&self, goal: Goal) -> Result<EvictPlan> {
        evict::plan(&self.reading(), goal)
    }

    /// Evicts what was planned; see [`evict::evict`].
    pub fn evict(&self, plan: &EvictPlan, yes_most: bool, observer: &dyn Observer) -> Result<EvictReport> {
        self.has_evicted(evict::evict(&self.writing()?, plan, yes_most, observer))
    }

    fn has_evicted(&self, done: Result<EvictReport>) -> Result<EvictReport> {
        self.evicted(done.as_ref().map_or(0, |report| report.entries.len() as u64));
        self.collected(Op("remove", "evict"), &"", done, |report| &report.collected)
    }

    /// What a policy would let go (R126); see [`retention::plan`].
    pub fn plan_retention(&self, policy: &RetentionPolicy, how: LetGo) -> Result<RetentionPlan> {
        retention::plan(&self.reading(), policy, how)
    }

    /// Lets go what was planned; see [`retention::apply`].
    pub fn retain(&self, plan: &RetentionPlan, how: LetGo, observer: &dyn Observer) -> Result<RetentionReport> {
        let done = retention::apply(&self.writing()?, plan, how, observer);
        let op = if how == LetGo::Trash { "remove" } else { "update" };
        self.did_many(Op(op, "retention"), &"", done, |report| report.entries.len() as u64)
    }

    /// The limits that hold for this store, as its options say.
    fn limits(&self) -> Limits {
        let limits = self.options().limits;
        Limits { max_bytes: limits.max_bytes, min_free: limits.min_free }
    }

    /// Does what takes room, with room made before it and the limits kept after it, as far as that can be without what it
    /// has added, and without the entry of `key`.
    pub(super) fn within_limits<R>(
        &self,
        key: Option<&Key>,
        observer: &dyn Observer,
        work: impl FnOnce() -> Result<R>,
    ) -> Result<R> {
        let before = evict::make_room(&self.writing()?, self.limits(), observer);
        before.iter().for_each(|report| self.count_evicted(report));
        let spared = Spared::from_now(&self.writing()?, key)?;
        let done = work()?;
        let after = evict::apply(&self.writing()?, self.limits(), &spared, observer);
        after.iter().for_each(|report| self.count_evicted(report));
        Ok(done)
    }
}
