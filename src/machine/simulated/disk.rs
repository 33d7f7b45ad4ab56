//! The filesystem: what the page cache shows, what the disk has, and what lies between them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::content::Content;
use super::path::{Place, resolve};
use super::pending::{Change, Class, Fate, Item, What};
use super::tree::{Body, Id, Node, ROOT, Tree};

/// A result as the system gives it.
pub(super) type Answer<T> = Result<T, i32>;

/// A filesystem in use.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    /// What callers see.
    pub(super) volatile: Tree,
    /// What a power cut leaves for certain.
    pub(super) durable: Tree,
    /// What came on top of it, in order.
    pub(super) pending: Vec<Item>,
    /// The time of changes.
    pub(super) now_ns: i64,
    /// Who owns new inodes.
    pub(super) user: u32,
    /// Whether a freed number goes to the next new inode.
    pub(super) reuse_numbers: bool,
    /// A metadata sync has failed: no more writes.
    pub(super) aborted: bool,
    /// How often write-back of an inode has failed.
    pub(super) failures: BTreeMap<Id, u64>,
    /// How often any write-back has failed.
    pub(super) all_failures: u64,
    /// Unreadable ranges.
    pub(super) bad: BTreeMap<Id, Vec<Range<u64>>>,
    pub(super) next_id: u64,
    pub(super) next_number: u64,
    freed_numbers: Vec<u64>,
    open: BTreeMap<Id, u64>,
}

impl Disk {
    /// An empty filesystem.
    pub(super) fn new(now_ns: i64, user: u32) -> Self {
        let mut tree = Tree::default();
        let body = Body::Directory(BTreeMap::new());
        let root = Node { number: 2, body, mode: 0o755, owner: user, mtime_ns: now_ns, ctime_ns: now_ns, links: 1 };
        tree.insert(ROOT, root);
        Disk::holding(tree, now_ns, user, 1, 11)
    }

    /// A filesystem that has just this on the disk.
    pub(super) fn holding(tree: Tree, now_ns: i64, user: u32, next_id: u64, next_number: u64) -> Self {
        Disk {
            volatile: tree.clone(),
            durable: tree,
            pending: Vec::new(),
            now_ns,
            user,
            reuse_numbers: true,
            aborted: false,
            failures: BTreeMap::new(),
            all_failures: 0,
            bad: BTreeMap::new(),
            next_id,
            next_number,
            freed_numbers: Vec::new(),
            open: BTreeMap::new(),
        }
    }

    /// The inode as callers see it.
    pub(super) fn node(&self, id: Id) -> Answer<&Node> {
        self.volatile.get(id).ok_or(libc::ENOENT)
    }

    /// The bytes of a file as callers see them.
    pub(super) fn content(&self, id: Id) -> Answer<&Content> {
        match &self.node(id)?.body {
            Body::File(content) => Ok(content),
            Body::Directory(_) => Err(libc::EISDIR),
            _ => Err(libc::EINVAL),
        }
    }

    /// Where a path leads.
    pub(super) fn resolve(&self, path: &Path, follow: bool) -> Answer<Place> {
        resolve(&self.volatile, path, follow)
    }

    /// Makes an inode with a first name.
    pub(super) fn create(&mut self, place: &Place, body: Body, mode: u32) -> Answer<Id> {
        place.free()?;
        self.still_there(place.directory)?;
        let id = Id(self.next_id);
        self.next_id += 1;
        let number = self.new_number();
        let (owner, now_ns) = (self.user, self.now_ns);
        let node = Node { number, body, mode, owner, mtime_ns: now_ns, ctime_ns: now_ns, links: 0 };
        self.durable.insert(id, node.clone());
        self.volatile.insert(id, node);
        self.change_entries(vec![change(place, Some(id))]);
        Ok(id)
    }

    fn new_number(&mut self) -> u64 {
        if let Some(number) = self.freed_numbers.pop().filter(|_| self.reuse_numbers) {
            return number;
        }
        self.next_number += 1;
        self.next_number - 1
    }

    /// A directory that was removed while it was open takes no new names.
    fn still_there(&self, directory: Id) -> Answer<()> {
        if self.node(directory)?.links > 0 { Ok(()) } else { Err(libc::ENOENT) }
    }

    /// Gives a file another name.
    pub(super) fn link(&mut self, from: &Place, to: &Place) -> Answer<()> {
        let id = from.existing()?;
        to.free()?;
        if self.volatile.entries(id).is_ok() {
            return Err(libc::EPERM);
        }
        self.still_there(to.directory)?;
        self.change_entries(vec![change(to, Some(id))]);
        Ok(())
    }

    /// Renames, over what is there.
    pub(super) fn rename(&mut self, from: &Place, to: &Place) -> Answer<()> {
        let id = from.existing()?;
        self.may_move(id, to)?;
        if let Some(old) = to.node {
            if old == id {
                return Ok(());
            }
            match (self.volatile.entries(id), self.volatile.entries(old)) {
                (Ok(_), Ok(inside)) if !inside.is_empty() => return Err(libc::ENOTEMPTY),
                (Ok(_), Err(_)) => return Err(libc::ENOTDIR),
                (Err(_), Ok(_)) => return Err(libc::EISDIR),
                _ => {}
            }
        }
        self.change_entries(vec![change(from, None), change(to, Some(id))]);
        Ok(())
    }

    /// Two names change what they mean.
    pub(super) fn exchange(&mut self, one: &Place, other: &Place) -> Answer<()> {
        let (first, second) = (one.existing()?, other.existing()?);
        self.may_move(first, other)?;
        self.may_move(second, one)?;
        if first != second {
            self.change_entries(vec![change(one, Some(second)), change(other, Some(first))]);
        }
        Ok(())
    }

    /// A directory cannot move below itself, the root not at all.
    fn may_move(&self, id: Id, to: &Place) -> Answer<()> {
        if id == ROOT || to.node == Some(ROOT) {
            return Err(libc::EBUSY);
        }
        self.still_there(to.directory)?;
        let mut below = vec![id];
        while let Some(directory) = below.pop() {
            if directory == to.directory {
                return Err(libc::EINVAL);
            }
            let inside = self.volatile.entries(directory).into_iter().flat_map(BTreeMap::values).copied();
            below.extend(inside.filter(|id| self.volatile.entries(*id).is_ok()));
        }
        Ok(())
    }

    /// Takes a name away.
    pub(super) fn unlink(&mut self, place: &Place) -> Answer<()> {
        if self.volatile.entries(place.existing()?).is_ok() {
            return Err(libc::EISDIR);
        }
        self.change_entries(vec![change(place, None)]);
        Ok(())
    }

    /// Removes an empty directory.
    pub(super) fn remove_dir(&mut self, place: &Place) -> Answer<()> {
        let id = place.existing()?;
        if id == ROOT {
            return Err(libc::EBUSY);
        }
        if !self.volatile.entries(id)?.is_empty() {
            return Err(libc::ENOTEMPTY);
        }
        self.change_entries(vec![change(place, None)]);
        Ok(())
    }

    /// Changes entries together: seen at once, pending as one item.
    fn change_entries(&mut self, changes: Vec<Change>) {
        let now_ns = self.now_ns;
        let mut lost = Vec::new();
        for change in &changes {
            lost.extend(self.volatile.child(change.directory, &change.name));
            self.volatile.set_child(change.directory, &change.name, change.target);
            if let Some(directory) = self.volatile.get_mut(change.directory) {
                (directory.mtime_ns, directory.ctime_ns) = (now_ns, now_ns);
            }
            if let Some(node) = change.target.and_then(|id| self.volatile.get_mut(id)) {
                node.links += 1;
                node.ctime_ns = now_ns;
            }
        }
        for id in lost {
            if let Some(node) = self.volatile.get_mut(id) {
                node.links -= 1;
                node.ctime_ns = now_ns;
            }
            self.free(id);
        }
        self.pending.push(Item { time_ns: now_ns, what: What::Entries(changes) });
    }

    /// Frees an inode that has neither a name nor anybody who has it open.
    fn free(&mut self, id: Id) {
        let nameless = self.volatile.get(id).is_some_and(|node| node.links == 0);
        if nameless && !self.open.contains_key(&id) {
            let node = self.volatile.remove(id);
            self.freed_numbers.extend(node.map(|node| node.number));
        }
    }

    /// Somebody opens an inode.
    pub(super) fn opened(&mut self, id: Id) {
        *self.open.entry(id).or_default() += 1;
    }

    /// Somebody closes an inode.
    pub(super) fn closed(&mut self, id: Id) {
        if let Some(count) = self.open.get_mut(&id) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&id);
                self.free(id);
            }
        }
    }

    /// Makes a change of data or metadata: seen at once, pending.
    pub(super) fn change(&mut self, what: What) {
        let item = Item { time_ns: self.now_ns, what };
        item.apply(&mut self.volatile, Fate::Kept);
        self.pending.push(item);
    }

    /// Writes bytes.
    pub(super) fn write(&mut self, id: Id, bytes: &[u8], offset: u64) {
        if !bytes.is_empty() {
            self.change(What::Write { id, offset, bytes: Arc::from(bytes) });
        }
    }

    /// Makes the pending items durable that are chosen.
    fn settle(&mut self, chosen: impl Fn(&Item) -> bool) {
        let items = std::mem::take(&mut self.pending).into_iter().enumerate();
        let (now, mut later): (Vec<_>, Vec<_>) = items.partition(|(_, item)| chosen(item));
        for (place, item) in now {
            item.apply(&mut self.durable, Fate::Kept);
            later.retain_mut(|(other, older)| *other > place || older.give_way_to(&item));
        }
        self.pending = later.into_iter().map(|(_, item)| item).collect();
    }

    /// Makes everything durable.
    pub(super) fn settle_all(&mut self) {
        self.settle(|_| true);
    }

    /// `fsync` of a file or directory, or `fdatasync`.
    pub(super) fn settle_inode(&mut self, id: Id, metadata: bool) {
        self.settle(|item| {
            let class = item.class();
            let own = item.inode() == Some(id) && (metadata || class == Class::Data);
            own || (class == Class::Entries && item.is_in(id))
        });
    }

    /// Write-back of the data of some files fails: it counts as clean from now on and never reaches the disk.
    pub(super) fn lose_data(&mut self, only: Option<Id>) {
        let lost = |item: &Item| item.class() == Class::Data && (only.is_none() || only == item.inode());
        let mut files: BTreeSet<Id> = self.pending.iter().filter(|item| lost(item)).filter_map(Item::inode).collect();
        files.extend(only);
        self.pending.retain(|item| !lost(item));
        for id in files {
            *self.failures.entry(id).or_default() += 1;
        }
        self.all_failures += 1;
    }

    /// The entries of a directory that are pending count as clean and never reach the disk.
    pub(super) fn lose_entries(&mut self, directory: Id) {
        self.pending.retain(|item| !item.is_in(directory));
        *self.failures.entry(directory).or_default() += 1;
        self.all_failures += 1;
    }

    /// Drops the clean pages of a file: what the disk has shows again, with what is still dirty on top.
    pub(super) fn drop_cache(&mut self, id: Id) {
        let Ok(length) = self.content(id).map(Content::len) else { return };
        let Some(mut content) = self.durable.get(id).and_then(Node::content).cloned() else { return };
        for item in self.pending.iter().filter(|item| item.is_data_of(id)) {
            item.change_content(&mut content, Fate::Kept);
        }
        content.set_len(length);
        self.volatile.change_content(id, |shown| *shown = content);
    }

    /// Bytes that files occupy.
    pub(super) fn used_bytes(&self) -> u64 {
        self.volatile.nodes().filter_map(|(_, node)| node.content()).map(Content::allocated_bytes).sum()
    }

    /// How many inodes there are, without the root.
    pub(super) fn used_inodes(&self) -> u64 {
        self.volatile.nodes().count() as u64 - 1
    }

    /// Whether a range of a file cannot be read.
    pub(super) fn is_bad(&self, id: Id, range: Range<u64>) -> bool {
        let bad = self.bad.get(&id).into_iter().flatten();
        bad.into_iter().any(|bad| bad.start < range.end && range.start < bad.end)
    }
}

/// A change of the slot that a place is.
fn change(place: &Place, target: Option<Id>) -> Change {
    Change { directory: place.directory, name: OsString::from(&place.name), target }
}
