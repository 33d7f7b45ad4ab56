//! The trash of the front, and removing entries for good.

use std::time::Duration;

use super::Store;
use super::metrics::Op;
use crate::vocabulary::{Entry, Key, Name, Observer, Result};
use crate::work::catalog::trash::{self, Deleted, EmptyPlan, EmptyReport, InTrash, Undeleted};

impl Store {
    /// Puts an entry into the trash, where it keeps its blobs and can be taken back; see [`trash::trash`]. `rule` says what
    /// did it: `trash`, `delete`, …
    pub fn trash_entry(&self, key: &Key, rule: &str) -> Result<Deleted> {
        let done = trash::trash(&self.writing()?, key, rule);
        if done.is_ok() && matches!(rule, "evict" | "retention") {
            self.evicted(1);
        }
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
}
