//! The part of the journal that is in no run yet, in memory: a sorted map whose copies share all that they can.

use std::cmp::Ordering;
use std::sync::Arc;

use super::source::Source;
use crate::vocabulary::Result;

/// Children of a node, at most: what a change copies when a snapshot still holds the node.
const NODE_CHILDREN: usize = 32;

/// A key that is looked for, with its first bytes as a number. Most keys differ in these, and comparing them needs no look
/// at memory elsewhere.
#[derive(Clone, Copy)]
struct Sought<'a> {
    head: u64,
    key: &'a [u8],
}

impl<'a> Sought<'a> {
    fn of(key: &'a [u8]) -> Self {
        let mut head = [0; 8];
        let bytes = key.len().min(head.len());
        head[..bytes].copy_from_slice(&key[..bytes]);
        Sought { head: u64::from_be_bytes(head), key }
    }
}

/// A key with its value or a tombstone, in one piece of memory.
#[derive(Clone, Debug)]
struct Row {
    /// As in [`Sought`].
    head: u64,
    bytes: Arc<[u8]>,
    key_bytes: u32,
    live: bool,
}

impl Row {
    fn sought(&self) -> Sought<'_> {
        Sought { head: self.head, key: self.key() }
    }

    /// How its key stands to another one, byte by byte. A key that ends within its head is as if zeros followed, so heads
    /// that are the same leave it to the whole keys.
    fn compare(&self, other: Sought<'_>) -> Ordering {
        self.head.cmp(&other.head).then_with(|| self.key().cmp(other.key))
    }

    fn key(&self) -> &[u8] {
        &self.bytes[..self.key_bytes as usize]
    }

    fn value(&self) -> Option<&[u8]> {
        self.live.then(|| &self.bytes[self.key_bytes as usize..])
    }
}

/// A child and a key that is not behind any of its own, and behind all of the child before it. The first child has what
/// is before its own, too.
#[derive(Clone)]
struct Child<T> {
    from: Row,
    node: Arc<T>,
}

type Leaf = Vec<Row>;
type Branch = Vec<Child<Leaf>>;

/// Keys with values or tombstones, newer than every run.
///
/// A clone is a snapshot and costs a counter; a change behind a snapshot copies one node of each level: rows, the list
/// of such nodes, and the list of those.
#[derive(Clone, Default)]
pub struct Overlay {
    /// None of the nodes is empty.
    branches: Arc<Vec<Child<Branch>>>,
    entries: usize,
    /// Where a row is put together; empty between two changes.
    scratch: Vec<u8>,
}

/// What takes one change back: [`Overlay::undo`].
#[derive(Debug)]
pub struct Undo {
    now: Row,
    before: Option<Row>,
}

impl Overlay {
    /// Number of entries, tombstones included.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// About how many bytes a run of them takes.
    pub fn about_bytes(&self) -> u64 {
        // A quarter is saved by what neighbouring keys have in common.
        let leaves = self.branches.iter().flat_map(|branch| branch.node.iter());
        leaves.flat_map(|leaf| leaf.node.iter()).map(|row| row.bytes.len() as u64).sum::<u64>() / 4 * 3
    }

    /// Sets `key` to a value or (`None`) a tombstone, in place of what it had. What is returned takes that back.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: Option<impl AsRef<[u8]>>) -> Undo {
        let now = self.row(key.as_ref(), value.as_ref().map(AsRef::as_ref));
        let before = self.set(now.clone());
        Undo { now, before }
    }

    /// Sets many keys, as [`Overlay::put`] sets each in turn: of one key the last value stays. In the order of their keys
    /// they go to neighbouring nodes one after the other, so that many take less time than one by one.
    pub fn put_all<K: AsRef<[u8]>, V: AsRef<[u8]>>(&mut self, each: impl IntoIterator<Item = (K, Option<V>)>) {
        let row = |(key, value): (K, Option<V>)| self.row(key.as_ref(), value.as_ref().map(AsRef::as_ref));
        let mut rows: Vec<Row> = each.into_iter().map(row).collect();
        rows.sort_by(|a, b| a.compare(b.sought()));
        rows.into_iter().for_each(|row| _ = self.set(row));
    }

    /// Takes back a change. Those made since are taken back already, the last one first.
    pub fn undo(&mut self, undo: Undo) {
        match undo.before {
            Some(before) => _ = self.set(before),
            None => self.remove(undo.now.sought()),
        }
    }

    fn row(&mut self, key: &[u8], value: Option<&[u8]>) -> Row {
        self.scratch.extend_from_slice(key);
        self.scratch.extend_from_slice(value.unwrap_or_default());
        let key_bytes = u32::try_from(key.len()).expect("a key is no longer than RUN_KEY_BYTES");
        let row =
            Row { head: Sought::of(key).head, bytes: Arc::from(&*self.scratch), key_bytes, live: value.is_some() };
        self.scratch.clear();
        row
    }

    fn set(&mut self, row: Row) -> Option<Row> {
        let branches = Arc::make_mut(&mut self.branches);
        if branches.is_empty() {
            let leaf = Child { from: row.clone(), node: Arc::default() };
            branches.push(Child { from: row.clone(), node: Arc::new(vec![leaf]) });
        }
        let branch_at = place(branches, row.sought());
        let branch = Arc::make_mut(&mut branches[branch_at].node);
        let leaf_at = place(branch, row.sought());
        let leaf = Arc::make_mut(&mut branch[leaf_at].node);
        let index = match position(leaf, row.sought()) {
            Ok(index) => return Some(std::mem::replace(&mut leaf[index], row)),
            Err(index) => index,
        };
        self.entries += 1;
        // A node that had room has no upper part.
        let upper = insert(leaf, index, row)?;
        let upper = Child { from: upper[0].clone(), node: Arc::new(upper) };
        if let Some(upper) = insert(branch, leaf_at + 1, upper) {
            branches.insert(branch_at + 1, Child { from: upper[0].from.clone(), node: Arc::new(upper) });
        }
        None
    }

    fn remove(&mut self, key: Sought<'_>) {
        let branches = Arc::make_mut(&mut self.branches);
        let branch_at = place(branches, key);
        let Some(branch) = branches.get_mut(branch_at).map(|branch| Arc::make_mut(&mut branch.node)) else { return };
        let leaf_at = place(branch, key);
        let leaf = Arc::make_mut(&mut branch[leaf_at].node);
        let Ok(index) = position(leaf, key) else { return };
        leaf.remove(index);
        self.entries -= 1;
        if leaf.is_empty() {
            branch.remove(leaf_at);
        }
        if branch.is_empty() {
            branches.remove(branch_at);
        }
    }

    /// What the overlay has for `key`: nothing, a tombstone (`Some(None)`) or a value.
    pub fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        let key = Sought::of(key);
        let branch = &self.branches.get(place(&self.branches, key))?.node;
        let leaf = &branch[place(branch, key)].node;
        position(leaf, key).ok().map(|index| leaf[index].value())
    }

    /// A place at the first entry whose key is not less than `from`, in this state of the overlay.
    pub fn seek(&self, from: &[u8]) -> OverlayCursor {
        let from = Sought::of(from);
        let mut cursor = OverlayCursor { branches: Arc::clone(&self.branches), branch: 0, leaf: 0, index: 0 };
        cursor.branch = place(&self.branches, from);
        if let Some(branch) = self.branches.get(cursor.branch) {
            cursor.leaf = place(&branch.node, from);
            cursor.index = position(&branch.node[cursor.leaf].node, from).unwrap_or_else(|index| index);
        }
        cursor.settle();
        cursor
    }
}

/// Inserts into a node. A full one is split first, and its upper part given back: what comes in order fills each node before
/// it begins the next one. No node ever takes more memory than its children.
fn insert<T>(node: &mut Vec<T>, index: usize, child: T) -> Option<Vec<T>> {
    if node.len() < NODE_CHILDREN {
        node.reserve_exact(NODE_CHILDREN - node.len());
        node.insert(index, child);
        return None;
    }
    let middle = if index == node.len() { index } else { NODE_CHILDREN / 2 };
    let mut upper = Vec::with_capacity(NODE_CHILDREN);
    upper.extend(node.drain(middle..));
    match index.checked_sub(middle) {
        Some(index) => upper.insert(index, child),
        None => node.insert(index, child),
    }
    Some(upper)
}

/// The last child that does not begin behind `key`, or else the first.
fn place<T>(children: &[Child<T>], key: Sought<'_>) -> usize {
    children.partition_point(|child| child.from.compare(key).is_le()).saturating_sub(1)
}

fn position(leaf: &[Row], key: Sought<'_>) -> Result<usize, usize> {
    leaf.binary_search_by(|row| row.compare(key))
}

/// A place in a snapshot of an overlay.
pub struct OverlayCursor {
    branches: Arc<Vec<Child<Branch>>>,
    branch: usize,
    leaf: usize,
    index: usize,
}

impl OverlayCursor {
    fn row(&self) -> Option<&Row> {
        self.branches.get(self.branch).and_then(|branch| branch.node[self.leaf].node.get(self.index))
    }

    /// Behind the last row of a leaf, goes on to the next one.
    fn settle(&mut self) {
        let Some(branch) = self.branches.get(self.branch) else { return };
        if self.index < branch.node[self.leaf].node.len() {
            return;
        }
        (self.leaf, self.index) = (self.leaf + 1, 0);
        if self.leaf == branch.node.len() {
            (self.branch, self.leaf) = (self.branch + 1, 0);
        }
    }
}

impl Source for OverlayCursor {
    fn key(&self) -> Option<&[u8]> {
        self.row().map(Row::key)
    }

    fn value(&self) -> Option<&[u8]> {
        self.row().and_then(Row::value)
    }

    fn advance(&mut self) -> Result<()> {
        self.index += 1;
        self.settle();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn all(overlay: &Overlay, from: &[u8]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let mut cursor = overlay.seek(from);
        let mut rows = Vec::new();
        while let Some(key) = cursor.key() {
            rows.push((key.to_vec(), cursor.value().map(<[u8]>::to_vec)));
            cursor.advance().unwrap();
        }
        rows
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn an_overlay_is_a_map_and_its_clones_do_not_change(
            puts in proptest::collection::vec((0u16..9000, proptest::option::of(any::<u8>())), 0..6000),
            undone in proptest::collection::vec((0usize..6000, 0usize..300), 0..20),
            from in 0u16..9000,
        ) {
            let (mut map, mut overlay, mut kept) = (BTreeMap::new(), Overlay::default(), Vec::new());
            let mut undo = Vec::new();
            for (n, (key, value)) in puts.into_iter().enumerate() {
                if n % 1000 == 0 {
                    kept.push((map.clone(), overlay.clone()));
                }
                let (key, value) = (key.to_be_bytes().to_vec(), value.map(|v| vec![v]));
                let taken_back = overlay.put(&key, value.as_ref());
                undo.push((taken_back, key.clone(), map.insert(key, value)));
                for _ in 0..undone.iter().find(|(at, _)| *at == n).map_or(0, |(_, count)| *count) {
                    let Some((taken_back, key, before)) = undo.pop() else { break };
                    overlay.undo(taken_back);
                    match before {
                        Some(value) => map.insert(key, value),
                        None => map.remove(&key),
                    };
                }
            }
            kept.push((map, overlay));
            for (map, overlay) in kept {
                prop_assert_eq!(overlay.len(), map.len());
                let from = from.to_be_bytes().to_vec();
                prop_assert_eq!(overlay.get(&from).map(|v| v.map(<[u8]>::to_vec)), map.get(&from).cloned());
                let rest = map.range(from.clone()..).map(|(k, v)| (k.clone(), v.clone())).collect::<Vec<_>>();
                prop_assert_eq!(all(&overlay, &from), rest);
            }
        }
    }

    proptest! {
        /// Keys of every length beside each other, many of them the beginning of another one, with zeros at their ends.
        #[test]
        fn keys_are_in_the_order_of_their_bytes(
            keys in proptest::collection::vec(proptest::collection::vec(0u8..3, 0..12), 0..400),
        ) {
            let mut overlay = Overlay::default();
            keys.iter().for_each(|key| _ = overlay.put(key, Some(key)));
            let sorted: BTreeMap<_, _> = keys.iter().map(|key| (key.clone(), Some(key.clone()))).collect();
            prop_assert_eq!(all(&overlay, &[]), sorted.into_iter().collect::<Vec<_>>());
            prop_assert!(keys.iter().all(|key| overlay.get(key) == Some(Some(key))));
        }

        /// Many at once are as many one by one, whatever was there: of one key the last value.
        #[test]
        fn many_at_once_are_as_many_one_by_one(
            before in proptest::collection::vec((0u16..300, proptest::option::of(any::<u8>())), 0..400),
            puts in proptest::collection::vec((0u16..300, proptest::option::of(any::<u8>())), 0..2000),
        ) {
            let rows = |all: &[(u16, Option<u8>)]| -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
                all.iter().map(|(key, value)| (key.to_be_bytes().to_vec(), value.map(|v| vec![v]))).collect()
            };
            let mut one_by_one = Overlay::default();
            rows(&before).into_iter().for_each(|(key, value)| _ = one_by_one.put(key, value));
            let mut at_once = one_by_one.clone();
            rows(&puts).into_iter().for_each(|(key, value)| _ = one_by_one.put(key, value));
            at_once.put_all(rows(&puts));
            prop_assert_eq!(all(&at_once, &[]), all(&one_by_one, &[]));
            prop_assert_eq!(at_once.len(), one_by_one.len());
        }
    }

    #[test]
    fn what_is_taken_back_whole_leaves_nothing() {
        let mut overlay = Overlay::default();
        let mut undo: Vec<Undo> =
            (0u32..10_000).map(|n| overlay.put(n.wrapping_mul(0x9e37_79b9).to_be_bytes(), Some([7]))).collect();
        assert_eq!(overlay.len(), 10_000);
        while let Some(last) = undo.pop() {
            overlay.undo(last);
        }
        assert!(overlay.is_empty() && all(&overlay, &[]).is_empty());
        overlay.put(b"a", Some(b"b"));
        assert_eq!(overlay.get(b"a"), Some(Some(&b"b"[..])));
    }
}
