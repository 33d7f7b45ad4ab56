//! TEMPORARY stand-in for the front: signatures only, so that the program compiles. It is replaced by the real file.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::machine::Machine;
use crate::vocabulary::{Digest, DigestPrefix, Error, ErrorKind, Name, Observer, Prefix, Result};
use crate::work::collect::{CollectOptions, CollectPlan, CollectReport};
use crate::work::find::{AliasInfo, BlobInfo, Stats, Why};
use crate::work::ingest::{AddOptions, AddReport, AliasKind, Source};
use crate::work::materialize::{MaterializeOptions, MaterializeReport};
use crate::work::names::{RemovePlan, RemoveReport, Target};
use crate::work::upkeep::{CompactReport, FrameInfo, RebuildReport, RunInfo};
use crate::work::verify::{VerifyOptions, VerifyReport};

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Threads; 0 is as many as cores.
    pub jobs: usize,
    /// How long to wait for the lock.
    pub lock_timeout: Duration,
    /// Only read.
    pub read_only: bool,
}

/// When what is acknowledged is synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Once for many files.
    #[default]
    Batch,
    /// Every file.
    Each,
    /// Never.
    None,
}

/// Who may read blobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shared {
    /// As the umask says.
    #[default]
    Umask,
    /// The owner.
    None,
    /// The group.
    Group,
    /// Everybody.
    World,
}

/// What is at a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// A store.
    Store,
    /// Nothing, or an empty directory.
    Empty,
    /// Something else.
    Other,
}

/// How a store is made.
#[derive(Clone, Debug)]
pub struct NewStore {
    /// When what is acknowledged is synced.
    pub durability: Durability,
    /// Who may read blobs.
    pub shared: Shared,
    /// How aliases are kept.
    pub alias: AliasKind,
    /// Whether it is a cache.
    pub cache: bool,
}

impl Default for NewStore {
    fn default() -> Self {
        NewStore { durability: Durability::Batch, shared: Shared::Umask, alias: AliasKind::Hardlinked, cache: false }
    }
}

/// What a store is.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// Its id.
    pub store_id: String,
    /// Its format version.
    pub format: u32,
    /// When what is acknowledged is synced.
    pub durability: Durability,
    /// How aliases are kept.
    pub alias: AliasKind,
    /// The mode of blob files.
    pub blob_mode: u32,
}

/// An open store.
pub struct Store {
    directory: PathBuf,
    settings: StoreSettings,
}

fn missing<T>() -> Result<T> {
    Err(Error::new(ErrorKind::Unsupported, "do this", "the front is not there yet"))
}

#[allow(missing_docs, unused_variables)]
impl Store {
    pub fn create(
        machine: Arc<dyn Machine>,
        directory: &Path,
        new: &NewStore,
        options: &OpenOptions,
    ) -> Result<(Store, bool)> {
        missing()
    }
    pub fn open(machine: Arc<dyn Machine>, directory: &Path, options: &OpenOptions) -> Result<Store> {
        missing()
    }
    pub fn exists(machine: &dyn Machine, directory: &Path) -> Result<Presence> {
        missing()
    }
    pub fn directory(&self) -> &Path {
        &self.directory
    }
    pub fn settings(&self) -> &StoreSettings {
        &self.settings
    }
    pub fn add(&self, sources: &[Source], options: &AddOptions, observer: &dyn Observer) -> Result<AddReport> {
        missing()
    }
    pub fn add_stream(
        &self,
        input: &mut (dyn Read + Send),
        name: &Name,
        options: &AddOptions,
        observer: &dyn Observer,
    ) -> Result<AddReport> {
        missing()
    }
    pub fn link(&self, target: &Target, new: &Name, replace: bool, alias: Option<AliasKind>) -> Result<bool> {
        missing()
    }
    pub fn rename(&self, from: &Name, to: &Name, replace: bool) -> Result<()> {
        missing()
    }
    pub fn unlink(&self, name: &Name) -> Result<()> {
        missing()
    }
    pub fn plan_remove(&self, what: &[Prefix]) -> Result<RemovePlan> {
        missing()
    }
    pub fn remove(&self, plan: &RemovePlan, observer: &dyn Observer) -> Result<RemoveReport> {
        missing()
    }
    pub fn pin(&self, target: &Target, note: &str) -> Result<Digest> {
        missing()
    }
    pub fn unpin(&self, target: &Target) -> Result<Digest> {
        missing()
    }
    pub fn get(
        &self,
        target: &Target,
        destination: &Path,
        options: &MaterializeOptions,
        observer: &dyn Observer,
    ) -> Result<MaterializeReport> {
        missing()
    }
    pub fn checkout(
        &self,
        prefix: &Prefix,
        directory: &Path,
        options: &MaterializeOptions,
        observer: &dyn Observer,
    ) -> Result<MaterializeReport> {
        missing()
    }
    pub fn cat(&self, target: &Target, out: &mut dyn Write) -> Result<u64> {
        missing()
    }
    pub fn path(&self, target: &Target) -> Result<PathBuf> {
        missing()
    }
    pub fn list(&self, prefix: &Prefix, each: &mut dyn FnMut(AliasInfo) -> Result<()>) -> Result<()> {
        missing()
    }
    pub fn show(&self, target: &Target) -> Result<BlobInfo> {
        missing()
    }
    pub fn locate(&self, prefix: &DigestPrefix) -> Result<Vec<BlobInfo>> {
        missing()
    }
    pub fn why(&self, digest: &Digest, grace: Duration) -> Result<Why> {
        missing()
    }
    pub fn reclaimable(&self, digest: &Digest) -> Result<u64> {
        missing()
    }
    pub fn stats(&self) -> Result<Stats> {
        missing()
    }
    pub fn verify(
        &self,
        what: &[Target],
        prefixes: &[Prefix],
        options: &VerifyOptions,
        observer: &dyn Observer,
    ) -> Result<VerifyReport> {
        missing()
    }
    pub fn plan_collect(&self, options: &CollectOptions) -> Result<CollectPlan> {
        missing()
    }
    pub fn collect(
        &self,
        plan: Option<&CollectPlan>,
        options: &CollectOptions,
        observer: &dyn Observer,
    ) -> Result<CollectReport> {
        missing()
    }
    pub fn rebuild(&self, observer: &dyn Observer) -> Result<RebuildReport> {
        missing()
    }
    pub fn compact(&self, observer: &dyn Observer) -> Result<CompactReport> {
        missing()
    }
    pub fn frames(&self, each: &mut dyn FnMut(FrameInfo) -> Result<()>) -> Result<()> {
        missing()
    }
    pub fn runs(&self) -> Result<Vec<RunInfo>> {
        missing()
    }
}
