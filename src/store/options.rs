//! What options hold for an open store.

use std::path::Path;

use super::metrics::Op;
use super::{Store, no_store, read_settings};
use crate::format::layout::Layout;
use crate::format::options::{CatalogBackend, Chosen, OptionKey, Options, StorageBackend};
use crate::format::settings::Settings;
use crate::machine::Machine;
use crate::vocabulary::{Error, ErrorKind, Result};
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
    refuse_unbuilt(&options)?;
    Ok(options)
}

/// Refuses a backend that this program does not have.
pub(super) fn refuse_unbuilt(options: &Options) -> Result<()> {
    let missing = match (options.storage.backend, options.catalog.backend) {
        (StorageBackend::S3, _) => "storage.backend = s3",
        (_, CatalogBackend::Sqlite) => "catalog.backend = sqlite",
        (StorageBackend::Fs, CatalogBackend::Embedded) => return Ok(()),
    };
    Err(Error::new(ErrorKind::Unsupported, format!("use {missing}"), "it is not built into this program"))
}
