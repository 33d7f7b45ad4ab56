//! Parts of a blob, each right or an error: read group by group, and held against the blob's tree.

use std::io::{self, Write};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use blake3::hazmat::ChainingValue;

use super::Context;
use super::blob::{damaged, open_readable, resolve, stopped_reading, usable};
use super::names::Target;
use super::trees;
use crate::format::table::BlobRow;
use crate::hashing::file::read_through;
use crate::hashing::tree::{groups_in, value_of};
use crate::hashing::{Absorb, Hasher};
use crate::ledger::Snapshot;
use crate::machine::File;
use crate::vocabulary::limits::TREE_GROUP_BYTES;
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Digest, Error, ErrorKind, Observer, Result};

const GROUP: u64 = TREE_GROUP_BYTES as u64;

/// A blob opened to be read in parts. It stays readable when it is collected meanwhile.
pub struct VerifiedBlob {
    digest: Digest,
    file: Box<dyn File>,
    size_bytes: u64,
    values: Vec<ChainingValue>,
    /// Of each group, whether it was right when it was read.
    checked: Mutex<Vec<bool>>,
}

impl std::fmt::Debug for VerifiedBlob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifiedBlob").field("digest", &self.digest).field("size_bytes", &self.size_bytes).finish()
    }
}

/// Opens `target`. A blob without a tree that is to be believed is read whole, and gets one if it is large enough and the
/// store can be written to.
///
/// [`ErrorKind::Damaged`] where the blob is known to be damaged, or is found to be so when it is read whole;
/// [`ErrorKind::Interrupted`] where `observer` asks to stop.
pub fn open(ctx: &Context<'_>, target: &Target, observer: &dyn Observer) -> Result<VerifiedBlob> {
    let snapshot = ctx.ledger.snapshot()?;
    let (digest, _) = resolve(&*snapshot, target)?;
    let row = usable(&*snapshot, &digest)?;
    let (_, file) = open_readable(ctx.ledger, &*snapshot, &digest)?;
    let there = file.meta().map_err(|e| stopped_reading(&*snapshot, &digest, e))?.size_bytes;
    if there != row.stamp.size_bytes {
        return Err(damaged(&*snapshot, &digest, &format!("it has {there} bytes instead of {}", row.stamp.size_bytes)));
    }
    let goes_on = |_| !observer.cancelled();
    let tree = trees::believed(ctx.ledger, &digest, &row).or_else(|| {
        trees::lacks_tree(ctx.ledger, &digest, &row).then(|| trees::make(ctx, &digest, &row, false, &goes_on))?
    });
    let values = match tree {
        Some(tree) => tree.values().to_vec(),
        None => read_whole(&snapshot, &digest, &row, file.as_ref(), &goes_on)?,
    };
    let checked = Mutex::new(vec![false; values.len()]);
    Ok(VerifiedBlob { digest, file, size_bytes: row.stamp.size_bytes, values, checked })
}

/// The values of a blob whose bytes have its digest.
fn read_whole(
    snapshot: &Snapshot,
    digest: &Digest,
    row: &BlobRow,
    file: &dyn File,
    goes_on: &dyn Fn(u64) -> bool,
) -> Result<Vec<ChainingValue>> {
    /// Both digests, and the value of the first group, which is in no tree where there is no other.
    struct Whole(Hasher, Vec<u8>);
    impl Absorb for Whole {
        fn absorb(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
            let room = TREE_GROUP_BYTES - self.1.len();
            self.1.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }
    let mut whole = Whole(Hasher::default(), Vec::new());
    read_through(file, &mut whole, goes_on, &mut |_, _| Ok(())).map_err(|e| stopped_reading(snapshot, digest, e))?;
    let Whole(hasher, first) = whole;
    let (found, tree) = hasher.finish_with_tree();
    if found.digest != *digest {
        let reason = format!("its {} bytes have the digest {}", found.size_bytes, found.digest);
        return Err(damaged(snapshot, digest, &reason));
    }
    match tree {
        Some(tree) => Ok(tree.values().to_vec()),
        None if groups_in(row.stamp.size_bytes) <= 1 => {
            Ok(if first.is_empty() { Vec::new() } else { vec![value_of(0, &first)] })
        }
        None => Err(Error::new(
            ErrorKind::Unsupported,
            format!("read a part of blob {digest}"),
            "it is too large for its parts to be told apart",
        )),
    }
}

impl VerifiedBlob {
    /// The blob.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Its length in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Reads at `offset`; fewer bytes than asked for only at the end. Each group of `TREE_GROUP_BYTES` is held against the
    /// tree when bytes of it are first asked for.
    ///
    /// [`ErrorKind::Damaged`], naming the range, where it is wrong: then `buffer` has nothing of it.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let end = self.size_bytes.min(offset.saturating_add(buffer.len() as u64));
        let mut at = offset;
        while at < end {
            let group = self.range(at / GROUP);
            let upto = end.min(group.end);
            let into = &mut buffer[(at - offset) as usize..(upto - offset) as usize];
            self.read_of_group(at / GROUP, at, into)?;
            at = upto;
        }
        Ok((end.max(offset) - offset) as usize)
    }

    fn range(&self, group: u64) -> Range<u64> {
        group * GROUP..((group + 1) * GROUP).min(self.size_bytes)
    }

    /// What was right once is read again as it is asked for; what was not yet looked at is taken from what is looked at.
    fn read_of_group(&self, group: u64, at: u64, into: &mut [u8]) -> Result<()> {
        let range = self.range(group);
        if self.checked.lock().unwrap_or_else(PoisonError::into_inner)[group as usize] {
            return self.read_exactly(into, at, &range);
        }
        let mut whole = vec![0; (range.end - range.start) as usize];
        self.read_exactly(&mut whole, range.start, &range)?;
        if value_of(group, &whole) != self.values[group as usize] && !planted(Bug::GroupUnchecked) {
            return Err(self.wrong(&range, "they are not those of its tree"));
        }
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)[group as usize] = true;
        let start = (at - range.start) as usize;
        into.copy_from_slice(&whole[start..start + into.len()]);
        Ok(())
    }

    fn read_exactly(&self, into: &mut [u8], at: u64, range: &Range<u64>) -> Result<()> {
        match self.file.read_at(into, at) {
            Ok(read) if read == into.len() => Ok(()),
            Ok(_) => Err(self.wrong(range, "the file is too short")),
            Err(e) => Err(Error::system(self.attempt(range), e)),
        }
    }

    fn attempt(&self, range: &Range<u64>) -> String {
        format!("read bytes {} to {} of blob {}", range.start, range.end, self.digest)
    }

    fn wrong(&self, range: &Range<u64>, reason: &str) -> Error {
        Error::new(ErrorKind::Damaged, self.attempt(range), reason)
    }
}

/// Writes `length` bytes of `target` from `offset` on to `out`, or all to its end, and says how many. No byte comes out
/// that is not right.
///
/// [`ErrorKind::Invalid`] for an offset behind the end.
pub fn cat_range(
    ctx: &Context<'_>,
    target: &Target,
    offset: u64,
    length: Option<u64>,
    out: &mut dyn Write,
    observer: &dyn Observer,
) -> Result<u64> {
    let blob = open(ctx, target, observer)?;
    if offset > blob.size_bytes {
        let attempt = format!("read blob {} from byte {offset} on", blob.digest);
        return Err(Error::new(ErrorKind::Invalid, attempt, format!("it has {} bytes", blob.size_bytes)));
    }
    let end = blob.size_bytes.min(offset.saturating_add(length.unwrap_or(u64::MAX)));
    let mut buffer = vec![0; TREE_GROUP_BYTES];
    let mut at = offset;
    let write = |result: io::Result<()>| result.map_err(|e| Error::system("write what was read", e));
    while at < end {
        if observer.cancelled() {
            return Err(Error::new(ErrorKind::Interrupted, format!("read blob {}", blob.digest), "asked to stop"));
        }
        let upto = end.min((at / GROUP + 1) * GROUP);
        let piece = &mut buffer[..(upto - at) as usize];
        blob.read_at(piece, at)?;
        write(out.write_all(piece))?;
        at = upto;
    }
    write(out.flush())?;
    Ok(end - offset)
}
