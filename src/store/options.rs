//! What options hold for an open store.

use std::path::Path;

use super::metrics::Op;
use super::{Store, no_store, read_settings};
use crate::format::layout::Layout;
use crate::format::options::{CatalogBackend, Chosen, OptionKey, Options, StorageBackend};
use crate::format::settings::Settings;
use crate::ledger::Engine;
use crate::machine::Machine;
use crate::vocabulary::{Error, ErrorKind, Observer, Result};
use crate::work::catalog::engine::{self, Compared, Migrated};
use crate::work::configure;

impl Store {
    /// What the file of settings of the store in `directory` says, whether or not this program could open that store.
    pub fn file_settings(machine: &dyn Machine, directory: &Path) -> Result<Settings> {
        let directory = machine.canonical(directory).map_err(|e| no_store(directory, e))?;
        read_settings(machine, &Layout::new(&directory))
    }

    /// The options that hold: those of the store's own file, and over them those that it was opened with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Compares what the store's engine of the catalog says with the journal; see [`engine::check`].
    pub fn check_catalog(&self, observer: &dyn Observer) -> Result<Compared> {
        engine::check(&self.reading(), observer)
    }

    /// Gives the store another engine of the catalog, for whoever opens it from then on; see [`engine::migrate`].
    pub fn migrate_catalog(&self, to: CatalogBackend, dry_run: bool, observer: &dyn Observer) -> Result<Migrated> {
        let ctx = if dry_run { self.reading() } else { self.writing()? };
        let mut options = self.options.clone();
        options.catalog.backend = to;
        engine::migrate(&ctx, &engine_of(&options), dry_run, observer)
    }

    /// Sets an option of the store's own file, or (`None`) takes it away, for whoever opens the store from then on;
    /// `false`: it was so already. See [`configure::configure`].
    pub fn configure(&self, key: OptionKey, value: Option<&str>) -> Result<bool> {
        self.did(Op("configure", "configure"), &key.name(), configure::configure(&self.writing()?, key, value))
    }
}

/// The options that hold for a store of these settings, opened with `over`.
///
/// [`ErrorKind::Refused`] where `over` would have it another store than it was made, [`ErrorKind::Unsupported`] for a
/// backend that is not built in, by its name.
pub(super) fn resolve(settings: &Settings, over: &Chosen) -> Result<Options> {
    refuse_unbuilt(&Options::of(over))?;
    for (key, wanted) in over.iter().filter(|(key, _)| key.is_fixed()) {
        let is = settings.options.value(key);
        if is != *wanted {
            let reason = format!("the store was made with {is}, and this cannot be changed from one call to the next");
            return Err(Error::new(
                ErrorKind::Refused,
                format!("use the store with {} = {wanted}", key.name()),
                reason,
            ));
        }
    }
    let options = Options::of(&settings.options.clone().and(over));
    refuse_unbuilt_storage(&options)?;
    Ok(options)
}

/// Refuses a backend that this program does not have. A store whose catalog is kept by one is opened all the same: its
/// blobs and its journal need none, and what is asked of the catalog is refused.
pub(super) fn refuse_unbuilt(options: &Options) -> Result<()> {
    refuse_unbuilt_storage(options)?;
    match engine_of(options).is_built_in() {
        Ok(()) => Ok(()),
        Err(_) => Err(unbuilt("catalog.backend = sqlite")),
    }
}

fn refuse_unbuilt_storage(options: &Options) -> Result<()> {
    match options.storage.backend {
        StorageBackend::S3 => Err(unbuilt("storage.backend = s3")),
        StorageBackend::Fs => Ok(()),
    }
}

fn unbuilt(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("use {what}"), "it is not built into this program")
}

/// What answers for the catalog of a store with these options.
pub(super) fn engine_of(options: &Options) -> Engine {
    let catalog = &options.catalog;
    match catalog.backend {
        CatalogBackend::Embedded => Engine::Embedded,
        CatalogBackend::Sqlite => Engine::Sqlite { path: catalog.path.clone().into(), wal: catalog.wal_mode },
    }
}
