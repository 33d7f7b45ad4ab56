//! Exporting: the catalog as a manifest.

use std::io::Write;

use super::Context;
use crate::format::manifest;
use crate::vocabulary::{Error, Observer, Query, Result};
use crate::work::catalog::find;

/// What was exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportReport {
    /// Entries, one line each.
    pub entries: u64,
    /// Bytes of those lines.
    pub bytes: u64,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

/// Writes every entry that meets `query` as a line of JSON that [`super::import`] reads, in order of keys, as they all are at
/// one moment. None but a page of them is held in memory.
pub fn export(ctx: &Context<'_>, query: &Query, out: &mut dyn Write, observer: &dyn Observer) -> Result<ExportReport> {
    let mut report = ExportReport::default();
    let listed = find::list(ctx, query, &mut |entry| {
        if observer.cancelled() {
            report.interrupted = true;
            return Err(Error::new(crate::vocabulary::ErrorKind::Interrupted, "export", "somebody asked to stop"));
        }
        let mut line = manifest::line(&entry).into_bytes();
        line.push(b'\n');
        out.write_all(&line).map_err(|e| Error::system("write the manifest", e))?;
        report.entries += 1;
        report.bytes += line.len() as u64;
        observer.progress(1, line.len() as u64);
        Ok(())
    });
    match listed {
        Err(_) if report.interrupted => Ok(report),
        other => other.map(|()| report),
    }
}
