//! What keeping bytes once saves, and what it could save (R97, R136): blobs that are wanted more than once, and files elsewhere that have
//! the bytes of a blob and are no links to it.

mod scan;

use std::collections::BTreeSet;

use super::Context;
use crate::ledger::{Entries, Snapshot, Tables};
use crate::vocabulary::{Digest, Key, Name, Result};

pub use scan::{Copy, Scanned, scan};

/// Names and variants of one group that are told one by one; the rest are counted.
pub const GROUP_TOLD: usize = 1000;

/// One blob that is wanted more than once, or kept more than once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The blob.
    pub digest: Digest,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Its names, the first [`GROUP_TOLD`] of them.
    pub names: Vec<Name>,
    /// The entries that have it as a variant, each with the variant's name, the first [`GROUP_TOLD`] of them.
    pub entries: Vec<(Key, String)>,
    /// How often it is wanted: by each name, and by each variant that has none.
    pub wanted: u64,
    /// How many files of it the store keeps: its own, carriers, and names that are no links.
    pub files: u64,
    /// Bytes that a file for each of those who want it would take besides.
    pub saved_bytes: u64,
    /// Bytes of names that are copies and could be links.
    pub could_save_bytes: u64,
}

/// All groups together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DedupTotals {
    /// Blobs in the store.
    pub blobs: u64,
    /// Blobs that are wanted, or kept, more than once.
    pub groups: u64,
    /// How often all blobs are wanted.
    pub wanted: u64,
    /// Bytes that they would take if each who wants one had its own.
    pub wanted_bytes: u64,
    /// Bytes that the store keeps for that.
    pub kept_bytes: u64,
    /// Bytes that are saved.
    pub saved_bytes: u64,
    /// Bytes that could be saved besides.
    pub could_save_bytes: u64,
}

/// Gives every group to `each`, in order of digests, none but one held in memory. Empty files are left out: they take nothing.
pub fn groups(ctx: &Context<'_>, each: &mut dyn FnMut(Group) -> Result<()>) -> Result<DedupTotals> {
    let snapshot = ctx.ledger.snapshot()?;
    let mut totals = DedupTotals::default();
    for row in snapshot.blobs(&Digest::from_bytes([0; 32])) {
        let (digest, row) = row?;
        let size_bytes = row.stamp.size_bytes;
        if size_bytes == 0 {
            continue;
        }
        let group = group(ctx, &snapshot, digest, size_bytes)?;
        totals.blobs += 1;
        totals.wanted += group.wanted;
        totals.wanted_bytes += group.wanted * size_bytes;
        totals.kept_bytes += group.files * size_bytes;
        totals.saved_bytes += group.saved_bytes;
        totals.could_save_bytes += group.could_save_bytes;
        if group.wanted > 1 || group.files > 1 {
            totals.groups += 1;
            each(group)?;
        }
    }
    Ok(totals)
}

fn group(ctx: &Context<'_>, snapshot: &Snapshot, digest: Digest, size_bytes: u64) -> Result<Group> {
    let own = inodes(ctx, snapshot, &digest)?;
    let (mut names, mut wanted, mut copies) = (Vec::new(), 0, 0);
    for name in snapshot.names_of(&digest)? {
        wanted += 1;
        if let Some(alias) = snapshot.alias(&name)?.filter(|alias| alias.hardlinked && alias.digest == digest) {
            let there = ctx.ledger.machine.lstat(&ctx.ledger.layout.name(&name));
            let is_copy = |inode| !own.contains(&inode) && alias.size_bytes == size_bytes;
            copies += u64::from(there.is_ok_and(|meta| meta.size_bytes == size_bytes && is_copy(meta.inode)));
        }
        if names.len() < GROUP_TOLD {
            names.push(name);
        }
    }
    let mut entries = Vec::new();
    for (entry, variant) in Entries::entries_of(snapshot, &digest)? {
        let alias = snapshot.variant(&entry, &variant)?.and_then(|variant| variant.alias);
        let is_named = match &alias {
            Some(alias) => snapshot.alias(alias)?.is_some_and(|row| row.digest == digest),
            None => false,
        };
        wanted += u64::from(!is_named);
        if entries.len() < GROUP_TOLD {
            entries.extend(snapshot.key_of(&entry)?.map(|key| (key, variant)));
        }
    }
    let files = own.len().max(1) as u64 + copies;
    let saved_bytes = wanted.saturating_sub(files) * size_bytes;
    Ok(Group { digest, size_bytes, names, entries, wanted, files, saved_bytes, could_save_bytes: copies * size_bytes })
}

/// The inodes of a blob that the store keeps on purpose: its own file and its carriers.
fn inodes(ctx: &Context<'_>, snapshot: &Snapshot, digest: &Digest) -> Result<BTreeSet<u64>> {
    let mut inodes = BTreeSet::new();
    inodes.extend(ctx.ledger.blobs.meta(digest).ok().flatten().map(|meta| meta.inode));
    for (number, _) in snapshot.carriers(digest)? {
        inodes.extend(ctx.ledger.carriers.meta(digest, number)?.map(|meta| meta.inode));
    }
    Ok(inodes)
}

#[cfg(test)]
mod tests;
