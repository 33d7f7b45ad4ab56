//! A tree of inodes as it is at one moment: in the page cache, on the disk, or in an image of the disk.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::FileKind;
use super::content::Content;

/// What an inode is for good, whatever number it has: never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id(pub(super) u64);

/// The root directory.
pub(super) const ROOT: Id = Id(0);

/// An inode.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The number that callers see, which may have been another inode's before.
    pub(super) number: u64,
    pub(super) body: Body,
    pub(super) mode: u32,
    pub(super) owner: u32,
    pub(super) mtime_ns: i64,
    pub(super) ctime_ns: i64,
    /// How many names it has.
    pub(super) links: u64,
}

/// What an inode holds.
#[derive(Clone, Debug)]
pub(super) enum Body {
    File(Content),
    Directory(BTreeMap<OsString, Id>),
    Symlink(PathBuf),
    Special,
}

impl Node {
    /// What kind of thing it is.
    pub(super) fn kind(&self) -> FileKind {
        match self.body {
            Body::File(_) => FileKind::File,
            Body::Directory(_) => FileKind::Directory,
            Body::Symlink(_) => FileKind::Symlink,
            Body::Special => FileKind::Special,
        }
    }

    /// Its bytes, if it is a file.
    pub(super) fn content(&self) -> Option<&Content> {
        match &self.body {
            Body::File(content) => Some(content),
            _ => None,
        }
    }
}

/// Inodes by identity, which counts from zero, shared with other trees until one of them changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree(Arc<Vec<Option<Arc<Node>>>>);

impl Tree {
    /// The inode, if it is there.
    pub(super) fn get(&self, id: Id) -> Option<&Node> {
        self.0.get(id.0 as usize)?.as_deref()
    }

    /// The inode, to be changed.
    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut Node> {
        Arc::make_mut(&mut self.0).get_mut(id.0 as usize)?.as_mut().map(Arc::make_mut)
    }

    /// Puts an inode in.
    pub(super) fn insert(&mut self, id: Id, node: Node) {
        let (nodes, place) = (Arc::make_mut(&mut self.0), id.0 as usize);
        if nodes.len() <= place {
            nodes.resize(place + 1, None);
        }
        nodes[place] = Some(Arc::new(node));
    }

    /// Takes an inode out.
    pub(super) fn remove(&mut self, id: Id) -> Option<Arc<Node>> {
        Arc::make_mut(&mut self.0).get_mut(id.0 as usize)?.take()
    }

    /// All inodes.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (Id, &Node)> {
        self.0.iter().enumerate().filter_map(|(id, node)| Some((Id(id as u64), node.as_deref()?)))
    }

    /// Whether nothing was changed in one of them since it was copied from the other.
    pub(super) fn is_same(&self, other: &Tree) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The entries of a directory, or `ENOTDIR`.
    pub(super) fn entries(&self, id: Id) -> Result<&BTreeMap<OsString, Id>, i32> {
        match self.get(id).map(|node| &node.body) {
            Some(Body::Directory(entries)) => Ok(entries),
            Some(_) => Err(libc::ENOTDIR),
            None => Err(libc::ENOENT),
        }
    }

    /// What a name in a directory stands for.
    pub(super) fn child(&self, directory: Id, name: &OsStr) -> Option<Id> {
        self.entries(directory).ok()?.get(name).copied()
    }

    /// Gives a name in a directory another meaning.
    pub(super) fn set_child(&mut self, directory: Id, name: &OsStr, target: Option<Id>) {
        let Some(Body::Directory(entries)) = self.get_mut(directory).map(|node| &mut node.body) else { return };
        match target {
            Some(id) => entries.insert(name.to_os_string(), id),
            None => entries.remove(name),
        };
    }

    /// Applies a change to the contents of a file.
    pub(super) fn change_content(&mut self, id: Id, change: impl FnOnce(&mut Content)) {
        if let Some(Node { body: Body::File(content), .. }) = self.get_mut(id) {
            change(content);
        }
    }

    /// A directory has one name: all but this one go.
    pub(super) fn forget_other_names(&mut self, id: Id, directory: Id, name: &OsStr) {
        let mut stale = Vec::new();
        for (parent, node) in self.nodes() {
            let Body::Directory(entries) = &node.body else { continue };
            let names = entries.iter().filter(|(_, target)| **target == id).map(|(name, _)| (parent, name.clone()));
            stale.extend(names.filter(|(parent, other)| (*parent, other.as_os_str()) != (directory, name)));
        }
        for (parent, other) in stale {
            self.set_child(parent, &other, None);
        }
    }

    /// Every path with what it names, parents before children, the root left out.
    pub(super) fn walk(&self) -> Vec<(PathBuf, Id)> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::from([ROOT]);
        self.walk_into(ROOT, Path::new("/"), &mut seen, &mut found);
        found
    }

    fn walk_into(&self, directory: Id, path: &Path, seen: &mut BTreeSet<Id>, found: &mut Vec<(PathBuf, Id)>) {
        for (name, id) in self.entries(directory).into_iter().flatten() {
            let path = path.join(name);
            let is_directory = self.entries(*id).is_ok();
            found.push((path.clone(), *id));
            if is_directory && seen.insert(*id) {
                self.walk_into(*id, &path, seen, found);
            }
        }
    }

    /// The regular files below a directory that `path` leads to.
    pub(super) fn files(&self, directory: Id, path: &Path) -> Vec<(PathBuf, Id)> {
        let mut found = Vec::new();
        for (name, id) in self.entries(directory).into_iter().flatten() {
            match self.get(*id).map(|node| &node.body) {
                Some(Body::File(_)) => found.push((path.join(name), *id)),
                Some(Body::Directory(inside)) if !inside.is_empty() => found.extend(self.files(*id, &path.join(name))),
                _ => {}
            }
        }
        found
    }

    /// Drops what no name leads to, counts the names anew, and lets no two inodes share a number.
    pub(super) fn tidy(&mut self, next_number: &mut u64) {
        let links = self.count_names();
        let count = |id: usize| links.get(id).copied().unwrap_or(0);
        let nodes = Arc::make_mut(&mut self.0);
        let mut numbers = HashSet::with_capacity(nodes.len());
        // The youngest keeps a number: an older inode that comes back was unlinked before the number was given again.
        for (id, slot) in nodes.iter_mut().enumerate().rev() {
            let count = count(id);
            if count == 0 {
                *slot = None;
            }
            let Some(node) = slot else { continue };
            if node.links != count {
                Arc::make_mut(node).links = count;
            }
            if !numbers.insert(node.number) {
                Arc::make_mut(node).number = *next_number;
                *next_number += 1;
            }
        }
    }

    /// How many names lead from the root to each inode, by identity.
    fn count_names(&self) -> Vec<u64> {
        let mut links = vec![0; self.0.len().max(1)];
        links[ROOT.0 as usize] = 1;
        let mut todo = vec![ROOT];
        while let Some(directory) = todo.pop() {
            for id in self.entries(directory).into_iter().flat_map(BTreeMap::values) {
                let Some(count) = links.get_mut(id.0 as usize) else { continue };
                *count += 1;
                if *count == 1 && self.entries(*id).is_ok() {
                    todo.push(*id);
                }
            }
        }
        links
    }

    /// Every inode that a name leads to.
    pub(super) fn named(&self) -> Vec<Id> {
        let counts = self.count_names().into_iter().enumerate();
        counts.filter(|(_, count)| *count > 0).map(|(id, _)| Id(id as u64)).collect()
    }

    /// A hash over names, kinds, contents, modes, and which names share an inode.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut account = Account { order: vec![0; self.0.len().max(1)], next: 1, bytes: Vec::with_capacity(16 << 10) };
        account.order[ROOT.0 as usize] = 1;
        self.account_of(ROOT, &mut account);
        Fingerprint(blake3::hash(&account.bytes).into())
    }

    fn account_of(&self, directory: Id, account: &mut Account) {
        for (name, id) in self.entries(directory).into_iter().flatten() {
            let is_new = account.name(name, *id);
            let Some(node) = self.get(*id).filter(|_| is_new) else { continue };
            let bytes = &mut account.bytes;
            bytes.push(node.kind() as u8);
            bytes.extend_from_slice(&node.mode.to_le_bytes());
            match &node.body {
                Body::File(content) => bytes.extend_from_slice(&content.digest()),
                Body::Symlink(target) => {
                    bytes.extend_from_slice(blake3::hash(target.as_os_str().as_bytes()).as_bytes());
                }
                Body::Directory(_) => self.account_of(*id, account),
                Body::Special => {}
            }
            account.bytes.push(0xff);
        }
    }
}

/// What is hashed of a tree, and which inodes it has come to, by the order in which it did.
struct Account {
    order: Vec<u32>,
    next: u32,
    bytes: Vec<u8>,
}

impl Account {
    /// Writes a name down. Whether nothing was said of its inode yet.
    fn name(&mut self, name: &OsStr, id: Id) -> bool {
        let next = self.next + 1;
        let mut none = 0;
        let place = self.order.get_mut(id.0 as usize).unwrap_or(&mut none);
        let is_new = *place == 0;
        if is_new {
            (*place, self.next) = (next, next);
        }
        self.bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(&place.to_le_bytes());
        is_new
    }
}

/// Tells images of the disk apart: equal for the same names, kinds, contents, modes and sharing of inodes. Times and
/// inode numbers do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

/// One path of a simulated filesystem, for tests to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What kind of thing it is.
    pub kind: FileKind,
    /// The bytes of a file; nothing for all else.
    pub content: Content,
    /// Where a symbolic link points.
    pub target: Option<PathBuf>,
    /// Permission bits.
    pub mode: u32,
    /// Inode number.
    pub inode: u64,
    /// Number of names.
    pub links: u64,
    /// Modification time, nanoseconds since the epoch.
    pub mtime_ns: i64,
}

impl Seen {
    /// What a tree holds at an inode.
    pub(super) fn of(node: &Node) -> Self {
        let target = match &node.body {
            Body::Symlink(target) => Some(target.clone()),
            _ => None,
        };
        Seen {
            kind: node.kind(),
            content: node.content().cloned().unwrap_or_default(),
            target,
            mode: node.mode,
            inode: node.number,
            links: node.links,
            mtime_ns: node.mtime_ns,
        }
    }
}
