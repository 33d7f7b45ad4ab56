//! A tree of inodes as it is at one moment: in the page cache, on the disk, or in an image of the disk.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
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

/// Inodes by identity, shared with other trees until one of them changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree(Arc<BTreeMap<Id, Arc<Node>>>);

impl Tree {
    /// The inode, if it is there.
    pub(super) fn get(&self, id: Id) -> Option<&Node> {
        self.0.get(&id).map(Arc::as_ref)
    }

    /// The inode, to be changed.
    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut Node> {
        Arc::make_mut(&mut self.0).get_mut(&id).map(Arc::make_mut)
    }

    /// Puts an inode in.
    pub(super) fn insert(&mut self, id: Id, node: Node) {
        Arc::make_mut(&mut self.0).insert(id, Arc::new(node));
    }

    /// Takes an inode out.
    pub(super) fn remove(&mut self, id: Id) -> Option<Arc<Node>> {
        Arc::make_mut(&mut self.0).remove(&id)
    }

    /// All inodes.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (Id, &Node)> {
        self.0.iter().map(|(id, node)| (*id, node.as_ref()))
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

    /// Drops what no name leads to, counts the names anew, and lets no two inodes share a number.
    pub(super) fn tidy(&mut self, next_number: &mut u64) {
        let links = self.count_names();
        let count = |id: Id| links.get(id.0 as usize).copied().unwrap_or(0);
        let nodes = Arc::make_mut(&mut self.0);
        nodes.retain(|id, _| count(*id) > 0);
        let mut numbers = HashSet::with_capacity(nodes.len());
        // The youngest keeps a number: an older inode that comes back was unlinked before the number was given again.
        for (id, node) in nodes.iter_mut().rev() {
            if node.links != count(*id) {
                Arc::make_mut(node).links = count(*id);
            }
            if !numbers.insert(node.number) {
                Arc::make_mut(node).number = *next_number;
                *next_number += 1;
            }
        }
    }

    /// How many names lead from the root to each inode, by identity.
    fn count_names(&self) -> Vec<u64> {
        let end = self.0.last_key_value().map_or(0, |(id, _)| id.0 as usize + 1);
        let mut links = vec![0; end.max(1)];
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

    /// A hash over names, kinds, contents, modes, and which names share an inode.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut hasher = blake3::Hasher::new();
        let mut order = HashMap::from([(ROOT, 0)]);
        self.hash_into(ROOT, &mut order, &mut hasher);
        Fingerprint(hasher.finalize().into())
    }

    fn hash_into(&self, directory: Id, order: &mut HashMap<Id, u64>, hasher: &mut blake3::Hasher) {
        for (name, id) in self.entries(directory).into_iter().flatten() {
            let next = order.len() as u64;
            let place = *order.entry(*id).or_insert(next);
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes()).update(&place.to_le_bytes());
            let Some(node) = self.get(*id) else { continue };
            if place != next {
                continue;
            }
            hasher.update(&[node.kind() as u8]).update(&node.mode.to_le_bytes());
            match &node.body {
                Body::File(content) => _ = hasher.update(&content.digest()),
                Body::Symlink(target) => _ = hasher.update(blake3::hash(target.as_os_str().as_bytes()).as_bytes()),
                Body::Directory(_) => self.hash_into(*id, order, hasher),
                Body::Special => {}
            }
            hasher.update(&[0xff]);
        }
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
