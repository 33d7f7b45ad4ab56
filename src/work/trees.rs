//! The trees of large blobs: made on the way by whoever hashes the bytes, and kept where the blob is on record.
//!
//! A tree is derived. It is put in its place only after its blob is on record, so nothing that is acknowledged rests on
//! it, and failing to keep one costs no more than making it again.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::Context;
use super::cache::Cache;
use crate::format::table::BlobRow;
use crate::hashing::windows::GoOn;
use crate::hashing::{Reading, Tree, grow};
use crate::ledger::{Ledger, Tables};
use crate::parts::trees::{Seen, has_tree};
use crate::vocabulary::{Digest, Result};

/// Trees of bytes of which it is not settled yet what becomes of them.
#[derive(Default)]
pub(super) struct Grove(Mutex<BTreeMap<Digest, Tree>>);

impl Grove {
    /// Keeps a tree in mind, if its bytes are enough to have one.
    pub(super) fn keep(&self, digest: &Digest, tree: Option<Tree>) {
        if let Some(tree) = tree.filter(|tree| has_tree(tree.size_bytes())) {
            self.0.lock().expect("no panic holds it").insert(*digest, tree);
        }
    }

    /// What is kept is on record now and gets its tree; whether it is kept stands beside each digest that is settled.
    pub(super) fn settle(&self, ledger: &Ledger, settled: impl Iterator<Item = (Digest, bool)>) {
        if self.0.lock().expect("no panic holds it").is_empty() {
            return;
        }
        for (digest, kept) in settled {
            let tree = self.0.lock().expect("no panic holds it").remove(&digest);
            tree.filter(|_| kept).iter().for_each(|tree| put(ledger, &digest, tree));
        }
    }
}

/// Puts a tree in its place if it is that of a blob on record, unless it is there. That it cannot be put there is no
/// trouble to anybody.
pub(super) fn put(ledger: &Ledger, digest: &Digest, tree: &Tree) {
    if ledger.policy.writable {
        let _ = try_put(ledger, digest, tree);
    }
}

fn try_put(ledger: &Ledger, digest: &Digest, tree: &Tree) -> Result<()> {
    let Some(row) = ledger.known().blob(digest)? else { return Ok(()) };
    let Some(blob) = ledger.blobs.meta(digest)? else { return Ok(()) };
    if row.stamp.size_bytes != tree.size_bytes() || row.blake3 != tree.root() {
        return Ok(());
    }
    let there = ledger.machine.lstat(&ledger.trees.path(digest));
    let for_more = |mode: u32| mode & !blob.mode != 0;
    if there.is_ok_and(|there| !for_more(there.mode)) && believed(ledger, digest, &row).is_some() {
        return Ok(());
    }
    ledger.trees.put(digest, tree, &blob)
}

/// Makes the tree of a blob that is on record so, from its file, by all cores, and puts it in its place where the store
/// can be written to. `None` where it cannot be read, is not what is on record, or nobody wants to go on. Where the page
/// cache is to be spared, what this brings in goes again.
pub(super) fn make(ctx: &Context<'_>, digest: &Digest, row: &BlobRow, spare: bool, go_on: GoOn<'_>) -> Option<Tree> {
    let file = Cache::of(ctx.ledger.blobs.open(digest).ok()?, spare);
    let passed = |range| file.passed_range(range);
    let grown = grow(file.file(), Reading::Sealed, ctx.workers, true, go_on, &passed).ok()?;
    let tree = grown.tree.filter(|_| grown.blake3 == row.blake3)?;
    put(ctx.ledger, digest, &tree);
    Some(tree)
}

/// Whether a blob that is on record so is to have a tree and has none that is to be believed.
pub(super) fn lacks_tree(ledger: &Ledger, digest: &Digest, row: &BlobRow) -> bool {
    let wanted = has_tree(row.stamp.size_bytes) && row.is_verified();
    wanted && !matches!(ledger.trees.look(digest, row.stamp.size_bytes, &row.blake3), Seen::Good(_))
}

/// The tree of a blob that is on record so, if there is one that is to be believed.
pub(super) fn believed(ledger: &Ledger, digest: &Digest, row: &BlobRow) -> Option<Tree> {
    ledger.trees.believed(digest, row.stamp.size_bytes, &row.blake3)
}
