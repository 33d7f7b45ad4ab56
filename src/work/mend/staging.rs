//! Staging: what dead work left goes, but for what holds somebody's bytes.

use std::path::Path;

use super::Mender;
use super::blobs::Done;
use crate::machine::Meta;
use crate::vocabulary::{Error, FindingCode, Result};
use crate::work::collect;

impl Mender<'_> {
    pub(super) fn staging(&mut self) -> Result<()> {
        let stale = self.of(&[FindingCode::StagingStale]);
        if !stale.is_empty() {
            collect::bury_behind_the_fence(&self.ctx)?;
            stale.into_iter().for_each(|finding| self.mended(finding));
        }
        for finding in self.of(&[FindingCode::StagingAside]) {
            let path = self.ctx.ledger.layout.root().join(&finding.path);
            let done = self.aside(&path);
            self.told(finding, done)?;
        }
        Ok(())
    }

    /// What was set aside for a name that was taken away goes with that name; anything else if its bytes are elsewhere.
    fn aside(&self, path: &Path) -> Done {
        let ledger = self.ctx.ledger;
        let look = || match ledger.machine.lstat(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some).map_err(|e| Error::io("look at", path, e)),
        };
        let Some(meta) = look()? else { return Ok(Ok(())) };
        if let Some((name, meant)) = self.set_aside_for(path)? {
            let mut done = Err(NOWHERE_ELSE.to_owned());
            for digest in meant {
                done = self.take_away(&name, &digest, path)?;
                if done.is_ok() {
                    return Ok(done);
                }
            }
            if has_no_other(&meta) {
                return Ok(done);
            }
        }
        ledger.hold(|_| {
            let Some(meta) = look()? else { return Ok(Ok(())) };
            if has_no_other(&meta) {
                return Ok(Err(NOWHERE_ELSE.to_owned()));
            }
            ledger.machine.unlink(path).map_err(|e| Error::io("remove", path, e))?;
            Ok(Ok(()))
        })
    }
}

const NOWHERE_ELSE: &str = "its bytes are nowhere else: move it where you want it";

fn has_no_other(meta: &Meta) -> bool {
    meta.links < 2 && meta.size_bytes > 0
}
