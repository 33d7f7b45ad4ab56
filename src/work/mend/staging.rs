//! Staging: what dead work left goes, but for what holds somebody's bytes.

use super::Mender;
use crate::vocabulary::{Error, FindingCode, Result};
use crate::work::collect;

impl Mender<'_> {
    pub(super) fn staging(&mut self) -> Result<()> {
        let stale = self.of(&[FindingCode::StagingStale]);
        if !stale.is_empty() {
            collect::bury_behind_the_fence(&self.ctx)?;
            stale.into_iter().for_each(|finding| self.mended(finding));
        }
        let ledger = self.ctx.ledger;
        for finding in self.of(&[FindingCode::StagingAside]) {
            let path = ledger.layout.root().join(&finding.path);
            let done = ledger.hold(|_| {
                let meta = match ledger.machine.lstat(&path) {
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Ok(())),
                    other => other.map_err(|e| Error::io("look at", &path, e))?,
                };
                if meta.links < 2 && meta.size_bytes > 0 {
                    return Ok(Err("its bytes are nowhere else: move it where you want it".to_owned()));
                }
                ledger.machine.unlink(&path).map_err(|e| Error::io("remove", &path, e))?;
                Ok(Ok(()))
            });
            self.told(finding, done)?;
        }
        Ok(())
    }
}
