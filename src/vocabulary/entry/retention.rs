//! Retention: the rules by which entries are let go, by number and age.

use std::time::Duration;

use super::super::error::{Error, ErrorKind, Result};
use super::{Entry, EntryKind, Key, Query};

/// Which entries are let go (R126): those that `select` chooses, unless one of the rules keeps them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// Which entries it is about; the others stay.
    pub select: Query,
    /// Of each model (provider and reference) or artifact, so many stay: those registered last among the selected.
    pub keep_last: Option<usize>,
    /// What was registered within this time stays.
    pub keep_within: Option<Duration>,
}

impl RetentionPolicy {
    /// Refuses, with [`ErrorKind::Invalid`], a policy that would take whatever it is about, however young, and one about
    /// the trash.
    pub fn check(&self) -> Result<()> {
        let select = &self.select;
        let ages = select.before_ns.is_some() || select.unused_since_ns.is_some();
        let reason = match self.keep_last.is_some() || self.keep_within.is_some() || ages {
            false => "it needs a number to keep, a time to keep, or an age",
            true if select.trashed => "what is in the trash has been let go already",
            true => return Ok(()),
        };
        Err(Error::new(ErrorKind::Invalid, "apply a retention policy", reason))
    }

    /// Whether an entry is young enough to stay.
    fn is_young(&self, registered_ns: u64, now_ns: u64) -> bool {
        self.keep_within.is_some_and(|within| registered_ns >= ago(now_ns, within))
    }
}

/// The moment so long before `now_ns`.
fn ago(now_ns: u64, age: Duration) -> u64 {
    now_ns.saturating_sub(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX))
}

/// The entries that were registered more than so many days ago (R123); none for 0 days, which keeps everything.
pub fn retention_filter(entries: impl IntoIterator<Item = Entry>, days: u32, now_ns: u64) -> Vec<Entry> {
    let before_ns = ago(now_ns, Duration::from_secs(u64::from(days) * 24 * 3600));
    entries.into_iter().filter(|entry| days > 0 && entry.card.registered_ns < before_ns).collect()
}

/// Sorts selected entries, given in order of their keys, into those that stay and those that go: the versions of one model stand
/// next to each other, and no more than those are held.
pub struct Retention<'a> {
    policy: &'a RetentionPolicy,
    now_ns: u64,
    group: Vec<Entry>,
}

impl<'a> Retention<'a> {
    /// By this policy, at this moment of the wall clock.
    pub fn new(policy: &'a RetentionPolicy, now_ns: u64) -> Self {
        Retention { policy, now_ns, group: Vec::new() }
    }

    /// Takes the next selected entry; gives those that are known to go by now.
    pub fn next(&mut self, entry: Entry) -> Vec<Entry> {
        let is_other = self.group.last().is_some_and(|last| subject(&last.card.key) != subject(&entry.card.key));
        let gone = if is_other { self.finish() } else { Vec::new() };
        self.group.push(entry);
        gone
    }

    /// Gives the rest of those that go.
    pub fn finish(&mut self) -> Vec<Entry> {
        let mut group = std::mem::take(&mut self.group);
        group.sort_by(|a, b| (b.card.registered_ns, &b.card.key).cmp(&(a.card.registered_ns, &a.card.key)));
        let kept = self.policy.keep_last.unwrap_or(0).min(group.len());
        let mut old: Vec<Entry> = group.split_off(kept);
        old.retain(|entry| !self.policy.is_young(entry.card.registered_ns, self.now_ns));
        old.sort_by(|a, b| a.card.key.cmp(&b.card.key));
        old
    }
}

/// What a key is a version of.
fn subject(key: &Key) -> (EntryKind, &str, &str) {
    match key.kind() {
        EntryKind::Model => (EntryKind::Model, key.provider(), key.reference()),
        EntryKind::Document => (EntryKind::Document, "", key.reference()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::vocabulary::entry::{Card, Usage};

    const DAY: u64 = 24 * 3600 * 1_000_000_000;
    const NOW: u64 = 1000 * DAY;

    fn entry(key: Key, age_days: u64, tags: &[&str], unused_days: u64) -> Entry {
        let mut card = Card::new(key, NOW - age_days * DAY);
        card.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let usage = Usage { count: 1, last_ns: NOW - unused_days.min(age_days) * DAY };
        Entry { card, variants: Vec::new(), usage, trashed_ns: None }
    }

    fn goes(policy: &RetentionPolicy, entries: &BTreeMap<Key, Entry>) -> Vec<String> {
        let mut retention = Retention::new(policy, NOW);
        let selected = entries.values().filter(|entry| policy.select.admits(entry)).cloned();
        let mut gone: Vec<Entry> = selected.flat_map(|entry| retention.next(entry)).collect();
        gone.extend(retention.finish());
        gone.into_iter().map(|entry| entry.card.key.to_string()).collect()
    }

    fn versions() -> BTreeMap<Key, Entry> {
        let all = [("v1", 50), ("v2", 40), ("v3", 5), ("v4", 1)].map(|(version, age)| {
            let key = Key::model("hf", "a/b", version).unwrap();
            (key.clone(), entry(key, age, &[], 0))
        });
        BTreeMap::from(all)
    }

    #[test]
    fn the_last_ones_stay_and_the_young_ones() {
        let all = versions();
        let days = |days: u64| Some(Duration::from_secs(days * 24 * 3600));
        let policy = |keep_last, keep_within| RetentionPolicy { keep_last, keep_within, ..RetentionPolicy::default() };
        assert_eq!(goes(&policy(Some(3), None), &all), ["model:hf/a/b@v1"]);
        assert_eq!(goes(&policy(Some(9), None), &all), Vec::<String>::new());
        assert_eq!(goes(&policy(Some(1), days(30)), &all), ["model:hf/a/b@v1", "model:hf/a/b@v2"]);
        assert_eq!(goes(&policy(None, days(45)), &all), ["model:hf/a/b@v1"]);
        assert_eq!(goes(&policy(Some(0), None), &all).len(), 4);
    }

    #[test]
    fn a_policy_says_what_it_keeps() {
        let invalid = |policy: &RetentionPolicy| policy.check().unwrap_err().kind() == ErrorKind::Invalid;
        let mut policy = RetentionPolicy::default();
        policy.select.tags.push("t".into());
        assert!(invalid(&policy));
        policy.select.before_ns = Some(1);
        policy.check().unwrap();
        policy.select.trashed = true;
        assert!(invalid(&policy));
    }

    #[test]
    fn records_older_than_so_many_days() {
        let filter = |days| retention_filter(versions().into_values(), days, NOW).len();
        assert_eq!((filter(0), filter(4), filter(5), filter(45), filter(100)), (0, 3, 2, 1, 0));
    }

    /// One model or document of a few, of some age, with a tag or none.
    fn any_entry() -> impl Strategy<Value = Entry> {
        (0..2u8, 0..3u8, 0..5u8, 0..20u64, any::<bool>(), 0..20u64).prop_map(
            |(kind, of, version, age, tagged, used)| {
                let (of, version) = (format!("r{of}"), format!("v{version}"));
                let key = if kind == 0 { Key::model("hf", &of, &version) } else { Key::document(&of, &version, "x") };
                entry(key.unwrap(), age, if tagged { &["t"] } else { &[] }, used)
            },
        )
    }

    fn any_policy() -> impl Strategy<Value = RetentionPolicy> {
        let days = |days: u64| Duration::from_secs(days * 24 * 3600);
        let keep = (proptest::option::of(0..4usize), proptest::option::of((0..20u64).prop_map(days)));
        let ages = (proptest::option::of(0..20u64), proptest::option::of(0..20u64), any::<bool>());
        (keep, ages).prop_map(|((keep_last, keep_within), (older, unused, tagged))| {
            let select = Query {
                before_ns: older.map(|days| NOW - days * DAY),
                unused_since_ns: unused.map(|days| NOW - days * DAY),
                tags: if tagged { vec!["t".to_owned()] } else { Vec::new() },
                ..Query::default()
            };
            RetentionPolicy { select, keep_last, keep_within }
        })
    }

    proptest! {
        #[test]
        fn what_goes_is_what_a_slow_and_obvious_account_says(
            all in proptest::collection::vec(any_entry(), 0..24),
            policy in any_policy(),
        ) {
            let all: BTreeMap<Key, Entry> = all.into_iter().map(|entry| (entry.card.key.clone(), entry)).collect();
            let selected: Vec<&Entry> = all.values().filter(|entry| policy.select.admits(entry)).collect();
            let place = |entry: &Entry| (entry.card.registered_ns, entry.card.key.clone());
            let same = |a: &Entry, b: &Entry| {
                a.card.key.kind() == b.card.key.kind() && a.card.key.reference() == b.card.key.reference()
            };
            let is_kept = |entry: &Entry| {
                let younger = selected.iter().filter(|other| same(other, entry) && place(other) > place(entry)).count();
                let age = Duration::from_nanos(NOW - entry.card.registered_ns);
                policy.keep_last.is_some_and(|keep| younger < keep) || policy.keep_within.is_some_and(|keep| age <= keep)
            };
            let expected: Vec<String> =
                selected.iter().filter(|entry| !is_kept(entry)).map(|entry| entry.card.key.to_string()).collect();
            prop_assert_eq!(goes(&policy, &all), expected);
        }
    }
}
