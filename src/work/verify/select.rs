//! Which blobs: in the order of their digests, each once, in bounded memory.

use std::collections::BTreeMap;

use super::CHUNK;
use crate::ledger::{Snapshot, Tables};
use crate::vocabulary::{Digest, Error, ErrorKind, Observer, Prefix, Result};
use crate::work::blob::resolve;
use crate::work::names::Target;

/// Most blobs that are picked out of names in one pass over these. With more than that there are several passes, each of
/// which takes the next by digest: reading names is cheap beside reading blobs.
const PICKED_MOST: usize = 1 << 20;

/// Blobs to be verified, each with its size in bytes.
pub(in crate::work) type Batch = Vec<(Digest, u64)>;

/// What was asked for.
pub(in crate::work) enum Selection<'a> {
    /// Every blob on record.
    All(&'a Snapshot),
    /// What is named.
    Named { snapshot: &'a Snapshot, targets: Batch, prefixes: &'a [Prefix] },
}

impl<'a> Selection<'a> {
    /// Looks everything up; what is not in the store is [`ErrorKind::NotFound`].
    pub(in crate::work) fn new(snapshot: &'a Snapshot, targets: &[Target], prefixes: &'a [Prefix]) -> Result<Self> {
        let targets = targets.iter().map(|target| sized(snapshot, target)).collect::<Result<Batch>>()?;
        for prefix in prefixes {
            if *prefix != Prefix::Everything && snapshot.aliases(prefix).next().transpose()?.is_none() {
                let attempt = format!("find {prefix}");
                return Err(Error::new(ErrorKind::NotFound, attempt, "no name is or begins with it"));
            }
        }
        if prefixes.contains(&Prefix::Everything) || (targets.is_empty() && prefixes.is_empty()) {
            return Ok(Selection::All(snapshot));
        }
        Ok(Selection::Named { snapshot, targets, prefixes })
    }

    /// The next blobs behind `last`; none at the end.
    pub(in crate::work) fn after(&self, last: Option<&Digest>) -> Result<Batch> {
        match self {
            Selection::All(snapshot) => all_after(snapshot, last),
            Selection::Named { snapshot, targets, prefixes } => named_after(snapshot, targets, prefixes, last),
        }
    }

    /// Tells how much there is to do, where that is known at the beginning.
    pub(in crate::work) fn announce_all(&self, observer: &dyn Observer) -> Result<()> {
        if let Selection::All(snapshot) = self {
            let (mut blobs, mut bytes) = (0, 0u64);
            for row in snapshot.blobs(&FIRST) {
                blobs += 1;
                bytes = bytes.saturating_add(row?.1.stamp.size_bytes);
            }
            observer.expect(blobs, bytes);
        }
        Ok(())
    }

    /// Tells how much a batch is, where it was not told before.
    pub(in crate::work) fn announce(&self, batch: &Batch, observer: &dyn Observer) {
        if let Selection::Named { .. } = self {
            observer.expect(batch.len() as u64, batch.iter().fold(0, |sum, (_, size)| sum.saturating_add(*size)));
        }
    }
}

const FIRST: Digest = Digest::from_bytes([0; 32]);

fn sized(snapshot: &Snapshot, target: &Target) -> Result<(Digest, u64)> {
    let (digest, alias) = resolve(snapshot, target)?;
    match alias {
        Some(alias) => Ok((digest, alias.size_bytes)),
        None => Ok((digest, snapshot.blob(&digest)?.map_or(0, |blob| blob.stamp.size_bytes))),
    }
}

fn all_after(snapshot: &Snapshot, last: Option<&Digest>) -> Result<Batch> {
    let rows = snapshot.blobs(last.unwrap_or(&FIRST));
    let behind = rows.filter(|row| !matches!((row, last), (Ok((digest, _)), Some(last)) if digest == last));
    behind.take(CHUNK).map(|row| row.map(|(digest, blob)| (digest, blob.stamp.size_bytes))).collect()
}

fn named_after(snapshot: &Snapshot, targets: &Batch, prefixes: &[Prefix], last: Option<&Digest>) -> Result<Batch> {
    let mut picked = BTreeMap::new();
    let mut pick = |digest: Digest, size: u64| {
        if last.is_none_or(|last| digest > *last) {
            picked.insert(digest, size);
            if picked.len() > PICKED_MOST {
                picked.pop_last();
            }
        }
    };
    targets.iter().for_each(|(digest, size)| pick(*digest, *size));
    for prefix in prefixes {
        for row in snapshot.aliases(prefix) {
            let (_, alias) = row?;
            pick(alias.digest, alias.size_bytes);
        }
    }
    Ok(picked.into_iter().collect())
}
