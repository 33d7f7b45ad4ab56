//! Trees of blobs that are no more go.

use super::Mender;
use crate::ledger::Tables;
use crate::vocabulary::{FindingCode, Result};

impl Mender<'_> {
    pub(super) fn trees(&mut self) -> Result<()> {
        let ledger = self.ctx.ledger;
        for finding in self.of(&[FindingCode::TreeOrphan]) {
            let Some(digest) = finding.digest else { continue };
            // Its blob may have been taken in meanwhile.
            let gone = match ledger.snapshot()?.blob(&digest)? {
                Some(_) => Ok(()),
                None => ledger.trees.remove(&digest),
            };
            self.told(finding, gone.map(Ok))?;
        }
        Ok(())
    }
}
