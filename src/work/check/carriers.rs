//! Carriers: what is on record of them, beside the files under `carriers/`.

use std::collections::BTreeSet;

use super::{CHUNK, Checker, Looker};
use crate::format::record::copies::CarrierRow;
use crate::ledger::Tables;
use crate::parts::blobs::stamp;
use crate::vocabulary::{Digest, ErrorKind, Finding, FindingCode, Result};

impl Checker<'_, '_> {
    pub(super) fn carriers(&mut self) -> Result<()> {
        if !self.goes_on() {
            return Ok(());
        }
        let snapshot = self.fresh()?;
        let mut all: BTreeSet<(Digest, u32)> = match self.ctx.ledger.carriers.list() {
            Ok(files) => files.iter().map(|file| (file.digest, file.number)).collect(),
            // That it is missing has been told.
            Err(e) if e.kind() == ErrorKind::NotFound => BTreeSet::new(),
            Err(e) => return self.found(Finding::at(FindingCode::Unreadable, "carriers", e.to_string())),
        };
        for row in snapshot.all_carriers() {
            all.insert(row?.0);
        }
        let mut suspects = Vec::new();
        for (digest, number) in all {
            let row = snapshot.carriers(&digest)?.into_iter().find(|(of, _)| *of == number).map(|(_, row)| row);
            if self.looker.judge_carrier(&digest, number, row.as_ref()).is_some() {
                suspects.push((digest, number));
            }
        }
        for chunk in suspects.chunks(CHUNK) {
            self.settle_carriers(chunk)?;
        }
        Ok(())
    }

    fn settle_carriers(&mut self, suspects: &[(Digest, u32)]) -> Result<()> {
        let found = self.calmly(|calm| {
            let staged = self.staged_by_the_living()?;
            let mut found = Vec::new();
            for (digest, number) in suspects.iter().filter(|(digest, _)| !calm.touches_blob(digest)) {
                let row = calm.snapshot.carriers(digest)?.into_iter().find(|(of, _)| of == number).map(|(_, row)| row);
                let Some(finding) = self.looker.judge_carrier(digest, *number, row.as_ref()) else { continue };
                let file = self.ctx.ledger.carriers.meta(digest, *number)?;
                // What running work has just linked there is about to be recorded.
                if row.is_some() || file.is_none_or(|file| !staged.contains(&file.inode)) {
                    found.push(finding.named(calm.snapshot.names_of(digest)?));
                }
            }
            Ok(found)
        })?;
        found.into_iter().try_for_each(|finding| self.found(finding))
    }
}

impl Looker<'_> {
    fn judge_carrier(&self, digest: &Digest, number: u32, row: Option<&CarrierRow>) -> Option<Finding> {
        let path = self.ctx.ledger.carriers.path(digest, number);
        let finding = |code, detail: &str| Some(Finding::at(code, self.short(&path), detail).of(digest));
        match (row, self.look(&path)) {
            (_, Err(unreadable)) => Some(unreadable.of(digest)),
            (None, Ok(None)) => None,
            (Some(_), Ok(None)) => finding(FindingCode::CarrierMissing, "its file is not there"),
            (None, Ok(Some(_))) => finding(FindingCode::CarrierOrphan, "no record knows it"),
            (Some(row), Ok(Some(meta))) if row.stamp.agrees(&stamp(&meta)) => None,
            (Some(_), Ok(Some(_))) => finding(FindingCode::CarrierStamp, "it is not the file that was recorded"),
        }
    }
}
