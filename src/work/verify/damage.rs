//! Where the bytes of a file are wrong that was found to be so as a whole.

use std::path::Path;

use super::examine::{Examiner, Look};
use crate::format::table::BlobRow;
use crate::hashing::{Reading, locate};
use crate::machine::Open;
use crate::vocabulary::events::VerifyStatus;
use crate::vocabulary::{Damage, Digest};
use crate::work::trees;

impl Examiner<'_> {
    /// Sees to the tree of a large blob whose bytes are right and that has none to be believed.
    pub(super) fn make_tree_if_missing(&self, digest: &Digest, row: Option<&BlobRow>, look: &Look) {
        let ctx = &self.ctx;
        if let Some(row) = row.filter(|_| look.status == VerifyStatus::Ok && ctx.ledger.policy.writable)
            && trees::lacks_tree(ctx.ledger, digest, row)
        {
            match &look.tree {
                Some(tree) => trees::put(ctx.ledger, digest, tree),
                None => _ = trees::make(ctx, digest, row, self.reading.spare_cache, &|_| !self.observer.cancelled()),
            }
        }
    }

    /// Says of what was found in the file at `path`, of the blob on record as `row`, where it is: by its tree, if the blob
    /// has one that is to be believed, and where the disk cannot read it. All of the file is read once more.
    pub(in crate::work) fn locate_damage(&self, digest: &Digest, row: Option<&BlobRow>, path: &Path, look: &mut Look) {
        let bad = match look.status {
            VerifyStatus::Corrupt => true,
            VerifyStatus::Unreadable => look.by_disk,
            VerifyStatus::Ok | VerifyStatus::Missing => false,
        };
        let Some(row) = row.filter(|_| bad) else { return };
        let ledger = self.ctx.ledger;
        let tree = trees::believed(ledger, digest, row);
        if tree.is_none() && look.status == VerifyStatus::Corrupt {
            return;
        }
        let Ok(file) = ledger.machine.open(path, Open::Read) else { return };
        let is_it = |file: &dyn crate::machine::File| {
            file.meta()
                .is_ok_and(|now| look.file.is_none_or(|seen| (seen.device, seen.inode) == (now.device, now.inode)))
        };
        if !is_it(file.as_ref()) {
            return;
        }
        let (size, go_on) = (row.stamp.size_bytes, |_| !self.observer.cancelled());
        let located = locate(file.as_ref(), Reading::Sealed, size, tree.as_ref(), self.ctx.workers, &go_on);
        look.damage = located.unwrap_or_default();
        look.detail.push_str(&in_words(&look.damage));
    }
}

/// What follows the words for what was found.
fn in_words(damage: &Damage) -> String {
    let kinds = [("wrong", &damage.wrong), ("unreadable", &damage.unreadable)];
    let words = kinds.iter().filter(|(_, ranges)| !ranges.is_empty());
    words.map(|(word, ranges)| format!("; {word}: bytes {ranges}")).collect()
}
