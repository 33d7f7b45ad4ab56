//! Moving a corrupt blob away, if it is still the one that was read.

use std::io;

use super::examine::{Examiner, Look};
use crate::format::record::{DamagedRecord, Record};
use crate::format::table::BlobRow;
use crate::ledger::Tables;
use crate::machine::Meta;
use crate::vocabulary::events::VerifyStatus;
use crate::vocabulary::{Digest, Error, Result};
use crate::work::blob::in_full;

impl Examiner<'_> {
    /// Moves the file of a corrupt blob to quarantine, where that was asked for. Whether it did; why not is added to what
    /// was found, which stands all the same.
    ///
    /// There is nothing to move of a missing blob, and nothing is put on record about it: its file may be back the next
    /// moment, as with a directory that was not mounted, and the store's own names of it may be the last good copy.
    pub(in crate::work) fn quarantine_if_asked(&self, digest: &Digest, row: Option<&BlobRow>, look: &mut Look) -> bool {
        let (VerifyStatus::Corrupt, Some(row), Some(file), true) = (look.status, row, look.file, self.quarantine)
        else {
            return false;
        };
        match self.quarantine(*digest, row.clone(), file, look.detail.clone()) {
            Ok(true) => true,
            Ok(false) => {
                look.detail.push_str("; not moved to quarantine: it was changed meanwhile");
                false
            }
            Err(e) => {
                look.detail.push_str(&format!("; not moved to quarantine: {}", in_full(&e)));
                false
            }
        }
    }

    fn quarantine(&self, digest: Digest, row: BlobRow, file: Meta, reason: String) -> Result<bool> {
        self.ctx.ledger.transact(move |tx| {
            let path = tx.ledger().blobs.path(&digest);
            let there = match tx.ledger().machine.lstat(&path) {
                Ok(there) => there,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(e) => return Err(Error::io("look at", &path, e)),
            };
            if tx.blob(&digest)?.as_ref() != Some(&row) || !is_still(&there, &file) {
                return Ok(false);
            }
            let (inode, since) = (there.inode, tx.moment());
            tx.push(Record::Damaged(DamagedRecord { digest, inode, reason, quarantined: true, since }));
            Ok(true)
        })
    }
}

/// Whether a file is the one that was read, with the same bytes as far as its times tell.
fn is_still(there: &Meta, read: &Meta) -> bool {
    let what = |meta: &Meta| (meta.kind, meta.device, meta.inode, meta.size_bytes, meta.mtime_ns);
    what(there) == what(read)
}
