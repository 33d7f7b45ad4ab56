//! The tree of a blob goes with it, and what is left of others goes alone.

use super::Context;
use crate::ledger::{Ledger, Tables};
use crate::parts::trees::has_tree;
use crate::vocabulary::{Digest, Result};

/// Removes the trees of blobs that are about to be taken off the record: so none is seen without its blob, whoever dies
/// in between. What cannot be removed is left for the next collection.
pub(super) fn remove<'a>(ledger: &Ledger, going: impl Iterator<Item = (&'a Digest, u64)>) {
    for (digest, _) in going.filter(|(_, size_bytes)| has_tree(*size_bytes)) {
        let _ = ledger.trees.remove(digest);
    }
}

/// Removes the trees of blobs that no record knows, and what was to become a tree when its maker died; if that lives, its
/// blob does without. What cannot be looked at or removed waits.
pub(super) fn sweep(ctx: &Context<'_>) -> Result<()> {
    let files = ctx.ledger.trees.list().unwrap_or_default();
    if files.is_empty() {
        return Ok(());
    }
    let snapshot = ctx.ledger.snapshot()?;
    for file in files {
        if file.unfinished || snapshot.blob(&file.digest)?.is_none() {
            let _ = ctx.ledger.trees.remove_file(&file.path);
        }
    }
    Ok(())
}
