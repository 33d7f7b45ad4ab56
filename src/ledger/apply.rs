//! Making `names/` agree with a frame.

use super::Tables;
use super::hold::Hold;
use crate::format::record::{Record, Replaced};
use crate::parts::names::{Change, Syncs, Wanted};
use crate::vocabulary::{Digest, Name, Result};

/// What there is at all in the store: most have none of it, and need not be asked for each name.
#[derive(Clone, Copy)]
struct Any {
    carriers: bool,
    damaged: bool,
}

impl Hold<'_> {
    /// Makes the name of every record agree with what the journal says now, and syncs the directories; while a frame is
    /// finished, also those that agree already, since nobody vouches for what a dead process did.
    pub(super) fn apply_names(&mut self, records: &[Record]) -> Result<()> {
        let mut changes = Vec::new();
        let any = Any {
            carriers: self.snapshot.has_carriers()?,
            damaged: self.snapshot.all_damaged().next().transpose()?.is_some(),
        };
        for record in records {
            if let Some((name, was)) = touched(record) {
                changes.push(self.change(name, was, any)?);
            }
        }
        if !changes.is_empty() {
            let refusals = self.ledger.names.apply(&changes, self.names_synced())?;
            self.refusals.extend(refusals);
        }
        Ok(())
    }

    /// Which directories of names are synced: of a frame that is finished again, all.
    pub(super) fn names_synced(&self) -> Syncs {
        match (self.syncs(), self.finishing) {
            (false, _) => Syncs::None,
            (true, false) => Syncs::Changed,
            (true, true) => Syncs::All,
        }
    }

    /// What a name should be, and what may stand there.
    fn change(&self, name: &Name, was: Option<&Replaced>, any: Any) -> Result<Change> {
        let wanted = match self.snapshot.alias(name)? {
            Some(alias) if alias.hardlinked => self.wanted(&alias.digest, any)?,
            _ => None,
        };
        let mut ours: Vec<u64> = was.map(|was| was.inode).into_iter().collect();
        if let Some(was) = was.filter(|_| any.carriers) {
            ours.extend(self.carriers_of(&was.digest)?.into_iter().map(|(_, inode)| inode));
        }
        Ok(Change { name: name.clone(), wanted, ours, was: was.map(|was| was.digest) })
    }

    /// A blob whose file is in quarantine has no file under `names/`.
    fn wanted(&self, digest: &Digest, any: Any) -> Result<Option<Wanted>> {
        if any.damaged && self.snapshot.damaged(digest)?.is_some_and(|damaged| damaged.quarantined) {
            return Ok(None);
        }
        let carriers = if any.carriers { self.carriers_of(digest)? } else { Vec::new() };
        Ok(self.snapshot.blob(digest)?.map(|blob| Wanted { digest: *digest, inode: blob.stamp.inode, carriers }))
    }

    /// The carriers of a blob, to which its names may be links: number and recorded inode.
    pub(super) fn carriers_of(&self, digest: &Digest) -> Result<Vec<(u32, u64)>> {
        let rows = self.snapshot.carriers(digest)?;
        Ok(rows.into_iter().map(|(number, row)| (number, row.stamp.inode)).collect())
    }
}

/// The name that a record touches and what it was before. A counted name has no file before or after.
fn touched(record: &Record) -> Option<(&Name, Option<&Replaced>)> {
    let name = record.touches()?;
    let (was, hardlinked) = match record {
        Record::Alias(r) => (r.replaces.as_ref(), r.hardlinked),
        Record::Unalias(r) => (Some(&r.was), false),
        _ => (None, false),
    };
    (hardlinked || was.is_some_and(|was| was.hardlinked)).then_some((name, was))
}
