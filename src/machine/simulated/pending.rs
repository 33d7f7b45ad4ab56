//! What was done and not yet synced: the items that a power cut may keep, drop or tear.

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

use super::content::Content;
use super::tree::{Body, Id, Tree};

/// One unsynced change.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// When it was made.
    pub(super) time_ns: i64,
    pub(super) what: What,
}

/// The change itself.
#[derive(Clone, Debug)]
pub(super) enum What {
    Write {
        id: Id,
        offset: u64,
        bytes: Arc<[u8]>,
    },
    SetLen {
        id: Id,
        length: u64,
    },
    Allocate {
        id: Id,
        length: u64,
    },
    Replace {
        id: Id,
        content: Content,
    },
    Mode {
        id: Id,
        mode: u32,
    },
    Mtime {
        id: Id,
        mtime_ns: i64,
    },
    /// Entries that change together or not at all.
    Entries(Vec<Change>),
}

/// A name in a directory gets another meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) directory: Id,
    pub(super) name: OsString,
    pub(super) target: Option<Id>,
}

/// The part of the disk that an item belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Data,
    Metadata,
    Entries,
}

/// What becomes of an item in a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    Kept,
    Dropped,
    /// Only the bytes of the write before this file offset; the file ends there.
    Before(u64),
    /// Only the bytes of the write from this file offset on.
    From(u64),
    /// The file has grown, the bytes never came.
    SizeOnly,
}

impl Item {
    /// What it belongs to.
    pub(super) fn class(&self) -> Class {
        match self.what {
            What::Write { .. } | What::SetLen { .. } | What::Allocate { .. } | What::Replace { .. } => Class::Data,
            What::Mode { .. } | What::Mtime { .. } => Class::Metadata,
            What::Entries(_) => Class::Entries,
        }
    }

    /// The inode that it changes, unless it changes entries.
    pub(super) fn inode(&self) -> Option<Id> {
        match &self.what {
            What::Write { id, .. }
            | What::SetLen { id, .. }
            | What::Allocate { id, .. }
            | What::Replace { id, .. }
            | What::Mode { id, .. }
            | What::Mtime { id, .. } => Some(*id),
            What::Entries(_) => None,
        }
    }

    /// Whether it is data of this file.
    pub(super) fn is_data_of(&self, id: Id) -> bool {
        self.class() == Class::Data && self.inode() == Some(id)
    }

    /// Whether it changes an entry of this directory.
    pub(super) fn is_in(&self, directory: Id) -> bool {
        self.changes().iter().any(|change| change.directory == directory)
    }

    /// The entries that it changes.
    pub(super) fn changes(&self) -> &[Change] {
        match &self.what {
            What::Entries(changes) => changes,
            _ => &[],
        }
    }

    /// Applies it, or what fate leaves of it.
    pub(super) fn apply(&self, tree: &mut Tree, fate: Fate) {
        if fate == Fate::Dropped {
            return;
        }
        match &self.what {
            What::Entries(changes) => changes.iter().for_each(|change| self.apply_change(tree, change)),
            What::Mode { id, mode } => self.touch(tree, *id, |node| node.mode = *mode),
            What::Mtime { id, mtime_ns } => self.touch(tree, *id, |node| node.mtime_ns = *mtime_ns),
            _ => self.apply_data(tree, fate),
        }
    }

    fn apply_data(&self, tree: &mut Tree, fate: Fate) {
        let Some(id) = self.inode() else { return };
        let mtime_ns = self.time_ns;
        self.touch(tree, id, |node| node.mtime_ns = mtime_ns);
        tree.change_content(id, |content| self.change_content(content, fate));
    }

    /// Applies a change of data to the bytes of a file.
    pub(super) fn change_content(&self, content: &mut Content, fate: Fate) {
        match &self.what {
            What::Write { offset, bytes, .. } => {
                let end = offset + bytes.len() as u64;
                match fate {
                    Fate::Dropped => {}
                    Fate::Kept => content.write(bytes, *offset),
                    Fate::Before(cut) => content.write(&bytes[..(cut - offset) as usize], *offset),
                    Fate::From(cut) => content.write(&bytes[(cut - offset) as usize..], cut),
                    Fate::SizeOnly => content.set_len(content.len().max(end)),
                }
            }
            What::SetLen { length, .. } => content.set_len(*length),
            What::Allocate { length, .. } => content.allocate(*length),
            What::Replace { content: new, .. } => *content = new.clone(),
            What::Mode { .. } | What::Mtime { .. } | What::Entries(_) => {}
        }
    }

    fn apply_change(&self, tree: &mut Tree, change: &Change) {
        tree.set_child(change.directory, &change.name, change.target);
        self.touch(tree, change.directory, |node| node.mtime_ns = self.time_ns);
        let Some(id) = change.target else { return };
        self.touch(tree, id, |_| ());
        if matches!(tree.get(id).map(|node| &node.body), Some(Body::Directory(_))) {
            tree.forget_other_names(id, change.directory, &change.name);
        }
    }

    fn touch(&self, tree: &mut Tree, id: Id, change: impl FnOnce(&mut super::tree::Node)) {
        if let Some(node) = tree.get_mut(id) {
            change(node);
            node.ctime_ns = self.time_ns;
        }
    }

    /// Later and durable already: what it said of the same slot or time is void here. Whether anything is left.
    pub(super) fn give_way_to(&mut self, durable: &Item) -> bool {
        match &mut self.what {
            What::Entries(changes) => {
                let over = durable.changes();
                changes.retain(|c| !over.iter().any(|o| o.directory == c.directory && o.name == c.name));
                !changes.is_empty()
            }
            What::Mtime { id, .. } => !durable.is_data_of(*id),
            _ => true,
        }
    }

    /// The file offsets at which a write may be torn: the sectors inside it, thinned out evenly to `most`.
    pub(super) fn tears(&self, most: usize) -> Vec<u64> {
        const SECTOR_BYTES: u64 = 512;
        let What::Write { offset, bytes, .. } = &self.what else { return Vec::new() };
        let (first, end) = (offset / SECTOR_BYTES + 1, (offset + bytes.len() as u64).div_ceil(SECTOR_BYTES));
        let count = end.saturating_sub(first);
        let taken = count.min(most as u64);
        (0..taken)
            .map(|i| (first + i * count.saturating_sub(1) / taken.saturating_sub(1).max(1)) * SECTOR_BYTES)
            .collect()
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Write { id, offset, bytes } => write!(f, "write #{} @{offset}+{}", id.0, bytes.len()),
            What::SetLen { id, length } => write!(f, "set_len #{} {length}", id.0),
            What::Allocate { id, length } => write!(f, "allocate #{} {length}", id.0),
            What::Replace { id, content } => write!(f, "reflink #{} {}", id.0, content.len()),
            What::Mode { id, mode } => write!(f, "mode #{} {mode:o}", id.0),
            What::Mtime { id, .. } => write!(f, "mtime #{}", id.0),
            What::Entries(changes) => changes.iter().try_for_each(|change| {
                let name = change.name.to_string_lossy();
                match change.target {
                    Some(id) => write!(f, "[#{}/{name} = #{}]", change.directory.0, id.0),
                    None => write!(f, "[#{}/{name} gone]", change.directory.0),
                }
            }),
        }
    }
}
