//! Manifests in and out of the front.

use std::io::Write;

use super::Store;
use super::metrics::Op;
use super::telling::Telling;
use crate::vocabulary::{Observer, Query, Result};
use crate::work::export::{self, ExportReport};
use crate::work::import::{self, ImportOptions, ImportReport, Input};

impl Store {
    /// Registers what a manifest lists (R141); see [`import::import`].
    pub fn import(&self, input: Input<'_>, options: &ImportOptions, observer: &dyn Observer) -> Result<ImportReport> {
        let observer = &Telling::of(self, "import", observer);
        let done = match options.dry_run {
            true => import::import(&self.reading(), input, options, observer),
            false => self.within_limits(None, observer, || import::import(&self.writing()?, input, options, observer)),
        };
        if let Ok(report) = &done {
            for (result, entries) in
                [("ok", report.verified), ("hashed", report.hashed), ("mismatch", report.mismatched)]
            {
                self.judged(result, entries);
            }
        }
        let entries = |report: &ImportReport| if options.dry_run { 0 } else { report.registered + report.merged };
        self.did_many(Op("register", "import"), &"", done, entries)
    }

    /// Writes every entry that meets `query` as a line that [`Store::import`] reads; see [`export::export`].
    pub fn export(&self, query: &Query, out: &mut dyn Write, observer: &dyn Observer) -> Result<ExportReport> {
        export::export(&self.reading(), query, out, observer)
    }
}
