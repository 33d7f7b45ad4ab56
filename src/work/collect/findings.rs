//! Findings about names that are over.

use std::io;
use std::path::Path;

use crate::format::record::Record;
use crate::ledger::{Ledger, Snapshot, Tables};
use crate::vocabulary::Result;

/// A name that was taken away while something failed, and has no file all the same, is no trouble any more.
pub(super) fn forget_what_is_over(ledger: &Ledger, snapshot: &Snapshot, records: &mut Vec<Record>) -> Result<()> {
    let is_gone = |path: &Path| matches!(ledger.machine.lstat(path), Err(e) if e.kind() == io::ErrorKind::NotFound);
    for row in snapshot.all_name_findings() {
        let (name, _) = row?;
        if snapshot.alias(&name)?.is_none()
            && is_gone(&ledger.layout.name(&name))
            && is_gone(&ledger.names.aside(&name))
        {
            records.push(Record::NameMended(name));
        }
    }
    Ok(())
}
