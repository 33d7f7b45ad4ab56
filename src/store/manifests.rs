//! The front: manifests in and out, and entries with all that belongs to them away.

use std::io::Write;

use super::Store;
use crate::vocabulary::{Key, Observer, Query, Result};
use crate::work::catalog::delete::{self, DeletePlan, DeleteReport};
use crate::work::export::{self, ExportReport};
use crate::work::import::{self, ImportOptions, ImportReport, Input};

impl Store {
    /// Registers what a manifest lists (R141); see [`import::import`].
    pub fn import(&self, input: Input<'_>, options: &ImportOptions, observer: &dyn Observer) -> Result<ImportReport> {
        let ctx = if options.dry_run { self.reading() } else { self.writing()? };
        import::import(&ctx, input, options, observer)
    }

    /// Writes every entry that meets `query` as a line that [`Store::import`] reads; see [`export::export`].
    pub fn export(&self, query: &Query, out: &mut dyn Write, observer: &dyn Observer) -> Result<ExportReport> {
        export::export(&self.reading(), query, out, observer)
    }

    /// What deleting these entries would take away.
    pub fn plan_delete_entries(&self, keys: &[Key]) -> Result<DeletePlan> {
        delete::plan(&self.reading(), keys)
    }

    /// Deletes entries with their names, and the bytes that nothing else keeps; see [`delete::delete`].
    pub fn delete_entries(&self, keys: &[Key], observer: &dyn Observer) -> Result<DeleteReport> {
        delete::delete(&self.writing()?, keys, observer)
    }
}
