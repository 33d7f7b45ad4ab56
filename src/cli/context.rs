//! What every command gets: the output, the settings that hold for all commands, and the way to the store.

use std::env;
use std::path::{self, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use etcetera::BaseStrategy as _;
use larder::format::options::{CatalogBackend, OptionKey};
use larder::machine::Machine;
use larder::store::{Durability, OpenOptions, Presence, Store};
use larder::vocabulary::limits;
use larder::{Error, ErrorKind};

use super::choices::{self, Choices, Origin, Setting};
use super::fault::Fault;
use super::logs::Log;
use super::metrics::{self, Tally};
use super::otlp;
use super::output::{Output, Verbosity};
use super::signal::Interrupt;
use super::{text, words};

/// Options that every command takes, before or after its name.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Global {
    /// The store directory [env: LARDER_STORE] [default: $XDG_DATA_HOME/larder]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Everywhere")]
    pub(crate) store: Option<PathBuf>,
    /// Threads to work with; 0 is as many as there are cores, 1 is deterministic
    #[arg(long, global = true, value_name = "N", default_value_t = 0, help_heading = "Everywhere")]
    pub(crate) jobs: usize,
    /// Print one JSON object per line instead of words (docs/cli.md)
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) json: bool,
    /// Print results and trouble alone
    #[arg(long, short, global = true, conflicts_with = "verbose", help_heading = "Everywhere")]
    pub(crate) quiet: bool,
    /// Print every file, and exact bytes
    #[arg(long, short, global = true, help_heading = "Everywhere")]
    pub(crate) verbose: bool,
    /// How long to wait when another process writes: 500ms, 30s, 5m [default: 30s]
    #[arg(long, global = true, value_name = "TIME", value_parser = words::duration, help_heading = "Everywhere")]
    pub(crate) lock_timeout: Option<Duration>,
    /// Use a store directory that everybody may write to
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) trust_directory: bool,
    /// Use another value of an option of the store, as storage.layout=cas (docs/cli.md)
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = choices::setting(), help_heading = "Everywhere")]
    pub(crate) set: Vec<Setting>,
    /// Add what is counted to a file of Prometheus text, when the command is over (docs/cli.md)
    #[arg(long, global = true, value_name = "FILE", help_heading = "Everywhere")]
    pub(crate) metrics_file: Option<PathBuf>,
    /// Send what is counted to an OpenTelemetry collector, when the command is over
    #[arg(long, global = true, value_name = "URL", value_parser = otlp::endpoint, help_heading = "Everywhere")]
    pub(crate) otlp: Option<String>,
    /// What the names of metrics begin with
    #[arg(long, global = true, value_name = "NAME", default_value = "larder", value_parser = metrics::namespace, help_heading = "Everywhere")]
    pub(crate) metrics_namespace: String,
    /// Tell what is done on standard error, from this level on [env: LARDER_LOG] [default: off]
    #[arg(long, global = true, value_enum, value_name = "LEVEL", help_heading = "Everywhere")]
    pub(crate) log: Option<Log>,
    /// Draw no progress on the terminal
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) no_progress: bool,
}

impl Global {
    /// How much is said.
    pub(crate) fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        }
    }
}

/// What a command needs of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// It only looks.
    Read,
    /// It looks, for long, and says so in the store where it may write.
    Hold,
    /// It changes something.
    Write,
}

/// What every command gets.
pub(crate) struct Context {
    /// The name of the command.
    pub(crate) command: &'static str,
    /// Where words go.
    pub(crate) out: Output,
    /// The options for all commands.
    pub(crate) global: Global,
    /// Whether the user wants it to stop.
    pub(crate) interrupt: Interrupt,
    /// The gate to the operating system.
    pub(crate) machine: Arc<dyn Machine>,
    /// What is counted.
    pub(crate) tally: Tally,
}

impl Context {
    /// The store directory, absolute: `--store`, else `--set storage.root_dir`, else `$LARDER_STORE`, else
    /// `$LARDER_STORAGE_ROOT_DIR`, else the data home.
    pub(crate) fn directory(&self) -> Result<PathBuf> {
        match self.chosen_directory() {
            Some(chosen) => absolute(&chosen),
            None => Ok(homes()?.data_dir().join("larder")),
        }
    }

    /// The store directory that the user named, if any.
    pub(crate) fn chosen_directory(&self) -> Option<PathBuf> {
        self.choice_of_directory().map(|(directory, _, _)| directory)
    }

    /// The store directory that the user named, how, and by what.
    pub(crate) fn choice_of_directory(&self) -> Option<(PathBuf, Origin, String)> {
        if let Some(directory) = &self.global.store {
            return Some((directory.clone(), Origin::Flag, "--store".to_owned()));
        }
        let mut roots = self.global.set.iter().rev().filter(|(key, _)| *key == OptionKey::StorageRootDir);
        if let Some((_, directory)) = roots.next() {
            return Some((directory.into(), Origin::Flag, "--set".to_owned()));
        }
        let variables = ["LARDER_STORE".to_owned(), OptionKey::StorageRootDir.environment()];
        variables.into_iter().find_map(|name| {
            let value = env::var_os(&name).filter(|value| !value.is_empty())?;
            Some((PathBuf::from(value), Origin::Environment, name))
        })
    }

    /// Opens the store, which must be there.
    pub(crate) fn open(&self, access: Access) -> Result<Store> {
        let directory = self.directory()?;
        match Store::exists(&*self.machine, &directory)? {
            Presence::Store => self.open_at(&directory, access),
            presence => Err(self.no_store(&directory, presence).into()),
        }
    }

    /// Opens the store at `directory`.
    pub(crate) fn open_at(&self, directory: &Path, access: Access) -> Result<Store> {
        let options = self.options(false)?;
        let open =
            |read_only| Store::open(self.machine.clone(), directory, &OpenOptions { read_only, ..options.clone() });
        let opened = match (access, open(access == Access::Read)) {
            (Access::Hold, Err(error)) if forbids_writing(&error) => open(true),
            // What answers for its catalog writes to a file of its own, to follow the journal.
            (Access::Read, Ok(store)) if store.options().catalog.backend != CatalogBackend::Embedded => open(false),
            (_, opened) => opened,
        };
        Ok(self.recorded(opened?))
    }

    /// A store that tells what it counts, where somebody wants to know.
    pub(crate) fn recorded(&self, store: Store) -> Store {
        match (&self.global.metrics_file, &self.global.otlp) {
            (None, None) => store,
            _ => store.recording_to(Arc::new(self.tally.clone())),
        }
    }

    /// Writes and sends what was counted, where that is wanted. What is not counted but measured is measured now.
    pub(crate) fn write_metrics(&self) -> Result<()> {
        let (file, otlp, namespace) = (&self.global.metrics_file, &self.global.otlp, &self.global.metrics_namespace);
        if file.is_none() && otlp.is_none() {
            return Ok(());
        }
        if let Ok(store) = self.open(Access::Read) {
            store.measure()?;
        }
        if let Some(path) = file {
            let wait = self.global.lock_timeout.unwrap_or(limits::LOCK_TIMEOUT);
            metrics::write(&*self.machine, path, namespace, &self.tally, wait)?;
        }
        otlp.as_deref().map_or(Ok(()), |endpoint| otlp::send(endpoint, namespace, &self.tally))
    }

    /// How a store is opened.
    pub(crate) fn options(&self, read_only: bool) -> Result<OpenOptions> {
        let lock_timeout = self.global.lock_timeout.unwrap_or(limits::LOCK_TIMEOUT);
        let trust_directory = self.global.trust_directory || self.command == "doctor";
        let options = Choices::of_process(&self.global.set)?.over_file();
        Ok(OpenOptions { jobs: self.global.jobs, lock_timeout, read_only, trust_directory, options })
    }

    /// A size for people, exact with `-v`.
    pub(crate) fn size(&self, bytes: u64) -> String {
        text::size(bytes, self.out.verbose())
    }

    /// How the user would call larder for this store again.
    pub(crate) fn again(&self) -> String {
        match self.global.store.as_deref().map(|dir| text::shell_word(dir.as_os_str().as_encoded_bytes())) {
            None => "larder".to_owned(),
            Some(Some(word)) => format!("larder --store {word}"),
            Some(None) => "larder --store DIR".to_owned(),
        }
    }

    /// Says what a store without syncs does not promise.
    pub(crate) fn warn_of_scratch(&self, store: &Store) {
        if store.settings().durability == Durability::None && !self.out.json() {
            self.out.note(SCRATCH);
        }
    }

    fn no_store(&self, directory: &Path, presence: Presence) -> Fault {
        let (reason, hint) = if presence == Presence::Empty {
            let again = self.again();
            let make = format!("`{again} add PATH` and `{again} init` make one there");
            ("there is no store", format!("{make}; --store or LARDER_STORE name another"))
        } else {
            ("what is there is no store", "--store or LARDER_STORE say where the store is".to_owned())
        };
        Fault::failed(ErrorKind::NotFound, &format!("open the store at {}", directory.display()), reason, hint)
    }
}

/// What every report of a scratch store says.
const SCRATCH: &str =
    "note: this store has durability none: nothing is synced, and a power cut may lose what was just done";

/// `path` from the root on, without touching the disk.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    path::absolute(path).map_err(|e| Error::io("find the way to", path, e).into())
}

/// The user's homes for data and caches.
pub(crate) fn homes() -> Result<impl etcetera::BaseStrategy> {
    etcetera::choose_base_strategy().map_err(|_| {
        let hint = "--store or LARDER_STORE say where the store is".to_owned();
        Fault::failed(ErrorKind::NotFound, "find the store", "this user has no home directory", hint).into()
    })
}

fn forbids_writing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ReadOnly | ErrorKind::Permission)
}
