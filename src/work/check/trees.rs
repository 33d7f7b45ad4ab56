//! Trees of blobs that are no more. One that is missing or not to be believed is no finding: whoever next reads its blob
//! makes it anew.

use super::Checker;
use crate::ledger::Tables;
use crate::vocabulary::{Finding, FindingCode, Result};

impl Checker<'_, '_> {
    pub(super) fn trees(&mut self) -> Result<()> {
        if !self.goes_on() {
            return Ok(());
        }
        let ledger = self.ctx.ledger;
        let files = match ledger.trees.list() {
            Ok(files) => files,
            Err(e) => return self.found(Finding::at(FindingCode::Unreadable, "trees", e.to_string())),
        };
        // A tree gets its place after its blob is on record, and loses it before that is taken off: so what was there
        // before these records were read, and still is, is of a blob in them or of none.
        let snapshot = self.fresh()?;
        for file in files.into_iter().filter(|file| !file.unfinished) {
            if snapshot.blob(&file.digest)?.is_none() && matches!(self.looker.look(&file.path), Ok(Some(_))) {
                let path = self.looker.short(&file.path);
                self.found(
                    Finding::at(FindingCode::TreeOrphan, path, "there is no record of its blob").of(&file.digest),
                )?;
            }
        }
        Ok(())
    }
}
