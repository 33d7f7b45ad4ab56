//! Staging: what dead work left there.

use std::path::Path;

use super::Checker;
use crate::machine::{FileKind, Listed};
use crate::vocabulary::{Error, Finding, FindingCode, Result};

impl Checker<'_, '_> {
    pub(super) fn staging(&mut self) -> Result<()> {
        if !self.goes_on() {
            return Ok(());
        }
        let ledger = self.ctx.ledger;
        let staging = ledger.layout.staging();
        let found = self.calmly(|calm| {
            let mut found = Vec::new();
            for session in ledger.sessions.list()?.into_iter().filter(|session| !session.alive) {
                // One that ends takes its file away last, and then its folder.
                let holds = |entries: Vec<Listed>| !entries.is_empty();
                if !ledger.machine.list(&staging.join(&session.id)).is_ok_and(holds) {
                    continue;
                }
                if ledger.sessions.only_waits(&session.id).unwrap_or(false) {
                    continue;
                }
                let detail = "the process that worked there is dead";
                found.push(Finding::at(FindingCode::StagingStale, Path::new("staging").join(session.id), detail));
            }
            let entries = ledger.machine.list(&staging).map_err(|e| Error::io("list", &staging, e))?;
            let aside = |name: &str| name.starts_with("aside-") && name.len() == 38;
            for entry in entries.iter().filter(|entry| entry.kind == FileKind::File && !calm.unfinished) {
                if entry.name.to_str().is_some_and(aside) {
                    let path = Path::new("staging").join(&entry.name);
                    let detail = "it was set aside for a name, and neither removed nor put back";
                    found.push(Finding::at(FindingCode::StagingAside, path, detail));
                }
            }
            Ok(found)
        })?;
        found.into_iter().try_for_each(|finding| self.found(finding))
    }
}
