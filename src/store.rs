//! The front: an open store, with one short method for each verb.

#[cfg(feature = "async")]
pub mod aio;
mod dedup;
mod finalise;
mod locate;
mod manifests;
mod metrics;
mod options;
#[cfg(feature = "otel")]
pub mod otel;
mod scrub;
mod telling;
mod trash;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use self::metrics::{Metrics, Op};
use self::telling::Telling;
use crate::format::layout::Layout;
use crate::format::options::{Chosen, OptionKey, Options};
use crate::format::settings::{FORMAT, Settings};
use crate::hashing::Workers;
use crate::ledger::{Engine, Ledger, Policy, Tables};
use crate::machine::{FileKind, Filesystem, Machine, Open};
use crate::parts::catalog::Totals;
use crate::parts::totals::Kept;
use crate::vocabulary::limits::{LOCK_TIMEOUT, SETTINGS_BYTES};
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::recorder::Level;
use crate::vocabulary::{
    Digest, DigestPrefix, Entry, EntryTarget, Error, ErrorKind, Key, Name, Observer, Prefix, Query, Result, State,
};
use crate::work::Context;
use crate::work::catalog;
use crate::work::catalog::register::{IfThere, Registered, Registration};
use crate::work::catalog::uses;
use crate::work::catalog::verify::Verified;
use crate::work::check::{self, CheckReport};
use crate::work::collect::{self, CollectOptions, CollectPlan, CollectReport};
use crate::work::copies::{self, CopiesOptions, CopiesReport};
use crate::work::doctor::{self, Measured};
use crate::work::find::{self, AliasInfo, BlobInfo, Stats, Why, WhyGone};
use crate::work::from_disk::{self, FromDisk};
use crate::work::ingest::{self, AddOptions, AddReport, AliasKind, Source};
use crate::work::init::{self, NewStoreSpec};
use crate::work::lease::{self, Lease, Leased};
use crate::work::materialize::{self, MaterializeOptions, MaterializeReport, Mode, Unlocked};
use crate::work::mend::{self, MendPlan, MendReport};
use crate::work::names::{self, RemovePlan, RemoveReport, Target};
use crate::work::ranged::{self, VerifiedBlob};
use crate::work::repair::{self, RepairOptions, RepairReport, RepairScope};
use crate::work::resumable::{self, Ingests, Waiting};
use crate::work::upkeep::{self, CompactReport, FrameInfo, RebuildReport, RunInfo};
use crate::work::verify::{self, VerifyOptions, VerifyReport};

pub use crate::format::settings::Durability;
pub use crate::work::init::{Presence, Shared};

/// How a store is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// Files that are worked on at once; 0 is as many as the machine has cores, and 1 is deterministic.
    pub jobs: usize,
    /// How long to wait for another process that holds the lock.
    pub lock_timeout: Duration,
    /// Write nothing to the store, whether it could be or not.
    pub read_only: bool,
    /// Open, or make, a store in a directory that everybody may write to.
    pub trust_directory: bool,
    /// What goes before the options in the store's own file. A store that is made now is made with the fixed ones of it.
    pub options: Chosen,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions {
            jobs: 0,
            lock_timeout: LOCK_TIMEOUT,
            read_only: false,
            trust_directory: false,
            options: Chosen::default(),
        }
    }
}

/// How a store is set up when it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewStore {
    /// When what is acknowledged is synced.
    pub durability: Durability,
    /// Who may read what it keeps.
    pub shared: Shared,
    /// How aliases are kept unless a call says otherwise.
    pub alias: AliasKind,
    /// Whether its directory is marked as a cache, for backup programs to leave out.
    pub cache: bool,
    /// What its own file says of options.
    pub options: Chosen,
}

impl Default for NewStore {
    fn default() -> Self {
        let (durability, shared) = (Durability::default(), Shared::default());
        NewStore { durability, shared, alias: AliasKind::Hardlinked, cache: false, options: Chosen::default() }
    }
}

/// What a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// Its id: 32 hexadecimal digits.
    pub store_id: String,
    /// Its format version.
    pub format: u32,
    /// When what is acknowledged is synced.
    pub durability: Durability,
    /// How aliases are kept unless a call says otherwise.
    pub alias: AliasKind,
    /// Permission bits of blob files.
    pub blob_mode: u32,
}

/// An open store. Shared between threads by reference; several processes may have it open.
pub struct Store {
    directory: PathBuf,
    settings: StoreSettings,
    options: Options,
    ledger: Ledger,
    workers: Workers,
    only_read: Option<OnlyRead>,
    metrics: Metrics,
}

/// Why a store is not written to.
#[derive(Clone, Debug)]
struct OnlyRead {
    kind: ErrorKind,
    reason: String,
}

impl Store {
    /// Makes a store in `directory`, unless there is one, and opens it; `true`: it was made now.
    pub fn create(
        machine: Arc<dyn Machine>,
        directory: &Path,
        new: &NewStore,
        options: &OpenOptions,
    ) -> Result<(Store, bool)> {
        let spec = NewStoreSpec {
            durability: new.durability,
            shared_mode: new.shared,
            hardlinked: new.alias == AliasKind::Hardlinked,
            cache: new.cache,
            options: options.options.clone().filtered(OptionKey::is_fixed).and(&new.options),
        };
        refuse_strangers(machine.as_ref(), directory, options)?;
        options::refuse_unbuilt(&Options::of(&spec.options))?;
        let made = init::create(&machine, directory, &spec)?;
        Ok((Store::open(machine, directory, options)?, made))
    }

    /// Opens the store in `directory`: takes no lock and makes nothing. [`ErrorKind::NotFound`] if there is none,
    /// [`ErrorKind::Unsupported`] if a later program made it.
    ///
    /// A store that this process cannot write to (mounted read-only, owned by somebody else, on a filesystem whose locks
    /// other machines do not see, with a feature that this program can only read) can be read all the same:
    /// [`Store::read_only_reason`] says why, and so does the error of every verb that would write.
    ///
    /// [`ErrorKind::Untrusted`] for a directory that everybody may write to, unless `options` trust it: a stranger could
    /// have put anything there.
    pub fn open(machine: Arc<dyn Machine>, directory: &Path, options: &OpenOptions) -> Result<Store> {
        let directory = machine.canonical(directory).map_err(|e| no_store(directory, e))?;
        refuse_strangers(machine.as_ref(), &directory, options)?;
        machine.confine(&directory);
        let layout = Layout::new(&directory);
        let settings = read_settings(machine.as_ref(), &layout)?;
        let resolved = options::resolve(&settings, &options.options)?;
        let filesystem = machine.filesystem(&directory);
        let filesystem = filesystem.map_err(|e| Error::io("look at the filesystem of", &directory, e))?;
        let only_read = only_read(machine.as_ref(), &layout, &settings, &filesystem, options)?;
        let engine = options::engine_of(&resolved);
        let policy = policy(machine.as_ref(), &settings, &filesystem, options, only_read.is_none(), engine);
        let settings = StoreSettings {
            store_id: settings.store_id,
            format: settings.format,
            durability: settings.durability,
            alias: if settings.hardlinked { AliasKind::Hardlinked } else { AliasKind::Counted },
            blob_mode: policy.blob_mode,
        };
        let workers = Workers::new(options.jobs)?;
        let metrics = Metrics::of(Kept::new(Arc::clone(&machine), layout.clone()), only_read.is_none());
        let ledger = Ledger::open(machine, layout, policy)?;
        Ok(Store { directory, settings, options: resolved, ledger, workers, only_read, metrics })
    }

    /// Makes the journal of the store in `directory` anew from what is on its disk, and `larder.toml` if it is gone, and
    /// opens it; see [`from_disk::rebuild`]. [`ErrorKind::Refused`] where the journal still says something, unless
    /// `discard`: then the old one is kept in `quarantine/`.
    pub fn rebuild_from_disk(
        machine: Arc<dyn Machine>,
        directory: &Path,
        discard: bool,
        options: &OpenOptions,
        observer: &dyn Observer,
    ) -> Result<(Store, FromDisk)> {
        let directory = machine.canonical(directory).map_err(|e| no_store(directory, e))?;
        refuse_strangers(machine.as_ref(), &directory, options)?;
        machine.confine(&directory);
        let workers = Workers::new(options.jobs)?;
        let mut report = from_disk::rebuild(&machine, &directory, discard, &workers, observer)?;
        drop(workers);
        let store = Store::open(machine, &directory, options)?;
        if !report.only_settings {
            store.rebuild(observer)?;
        }
        if !report.only_settings && !report.from_index {
            from_disk::take_copies(&store.writing()?, observer, &mut report)?;
        }
        Ok((store, report))
    }

    /// What is at `directory`.
    pub fn exists(machine: &dyn Machine, directory: &Path) -> Result<Presence> {
        init::presence(machine, directory)
    }

    /// The store directory, absolute and without symbolic links.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What the store is.
    pub fn settings(&self) -> &StoreSettings {
        &self.settings
    }

    /// Why nothing is written to this store; `None` if it can be written to.
    pub fn read_only_reason(&self) -> Option<&str> {
        self.only_read.as_ref().map(|only| only.reason.as_str())
    }

    /// Adds files and trees.
    pub fn add(&self, sources: &[Source], options: &AddOptions, observer: &dyn Observer) -> Result<AddReport> {
        let observer = &Telling::of(self, "add", observer);
        self.added(self.within_limits(None, observer, || ingest::add(&self.writing()?, sources, options, observer)))
    }

    /// Adds what `input` gives, as `name`.
    pub fn add_stream(
        &self,
        input: &mut (dyn Read + Send),
        name: &Name,
        options: &AddOptions,
        observer: &dyn Observer,
    ) -> Result<AddReport> {
        let observer = &Telling::of(self, "add", observer);
        self.added(
            self.within_limits(None, observer, || ingest::add_stream(&self.writing()?, input, name, options, observer)),
        )
    }

    /// Gives a blob one more name; see [`names::link`]. `false`: it already meant these bytes.
    pub fn link(&self, target: &Target, new: &Name, replace: bool, alias: Option<AliasKind>) -> Result<bool> {
        self.did(Op("name", "link"), new, names::link(&self.writing()?, target, new, replace, alias))
    }

    /// Renames a name; see [`names::rename`].
    pub fn rename(&self, from: &Name, to: &Name, replace: bool) -> Result<()> {
        self.did(Op("name", "rename"), from, names::rename(&self.writing()?, from, to, replace))
    }

    /// Takes one name away. [`ErrorKind::Refused`] when it is the last root of its blob.
    pub fn unlink(&self, name: &Name) -> Result<()> {
        self.did(Op("name", "unlink"), name, names::unlink(&self.writing()?, name))
    }

    /// Plans to take many names away. [`ErrorKind::NotFound`] for a prefix that matches no name.
    pub fn plan_remove(&self, what: &[Prefix]) -> Result<RemovePlan> {
        names::plan_remove(&self.reading(), what)
    }

    /// Takes the planned names away; see [`names::remove`].
    pub fn remove(&self, plan: &RemovePlan, observer: &dyn Observer) -> Result<RemoveReport> {
        self.did(Op("name", "remove"), &"", names::remove(&self.writing()?, plan, observer))
    }

    /// Keeps a blob by hand; says which.
    pub fn pin(&self, target: &Target, note: &str) -> Result<Digest> {
        self.did(Op("pin", "pin"), &note, names::pin(&self.writing()?, target, note))
    }

    /// Takes a pin away; says from which blob.
    pub fn unpin(&self, target: &Target) -> Result<Digest> {
        self.did(Op("pin", "unpin"), &"", names::unpin(&self.writing()?, target))
    }

    /// Keeps blobs for running work, as long as the lease lives; see [`lease::lease`].
    pub fn lease(&self, what: &[Leased]) -> Result<Lease> {
        let lease = lease::lease(&self.writing()?, what)?;
        uses::note(&self.reading(), what);
        Ok(lease)
    }

    /// Registers models and documents in one transaction (R73, R89, R94); see [`catalog::register::register`].
    pub fn register(&self, all: Vec<Registration>, if_there: IfThere) -> Result<Vec<Registered>> {
        let subject = all.first().map(|first| first.key.to_string()).filter(|_| all.len() == 1).unwrap_or_default();
        let hashed: Vec<bool> = all.iter().map(|one| one.hashed_by.is_some()).collect();
        match catalog::register::register(&self.writing()?, all, if_there) {
            Ok(done) => {
                let done: Vec<_> = done.into_iter().map(Ok).collect();
                self.registered(done.iter().zip(hashed), if_there);
                done.into_iter().collect()
            }
            refused => self.did(Op("register", "register"), &subject, refused),
        }
    }

    /// Registers any number of models and documents, each for itself; see [`catalog::register::register_each`].
    pub fn register_each(&self, all: Vec<Registration>, if_there: IfThere) -> Result<Vec<Result<Registered>>> {
        let hashed: Vec<bool> = all.iter().map(|one| one.hashed_by.is_some()).collect();
        let done = catalog::register::register_each(&self.writing()?, all, if_there);
        match &done {
            Ok(each) => self.registered(each.iter().zip(hashed), if_there),
            Err(error) => self.tell(Level::Error, "register", &"", error),
        }
        done
    }

    /// The entry of a key (R74), but none in the trash.
    pub fn entry(&self, key: &Key) -> Result<Option<Entry>> {
        catalog::find::get(&self.reading(), key)
    }

    /// The one entry that is pointed at; see [`catalog::find::resolve`].
    pub fn find_entry(&self, target: &EntryTarget) -> Result<Entry> {
        catalog::find::resolve(&self.reading(), target)
    }

    /// A page of entries; see [`catalog::find::page`].
    pub fn entries(&self, query: &Query, after: Option<&Key>, limit: usize) -> Result<Vec<Entry>> {
        catalog::find::page(&self.reading(), query, after, limit)
    }

    /// Gives every entry that meets `query` to `each`, in order of keys, none but a page held in memory (R88, R100).
    pub fn list_entries(&self, query: &Query, each: &mut dyn FnMut(Entry) -> Result<()>) -> Result<()> {
        catalog::find::list(&self.reading(), query, each)
    }

    /// The entries that have a variant of this digest (R96).
    pub fn entries_by_digest(&self, digest: &Digest) -> Result<Vec<Entry>> {
        catalog::find::by_digest(&self.reading(), digest)
    }

    /// Counts and sums of the catalog (R99, R103).
    pub fn catalog_totals(&self) -> Result<Totals> {
        catalog::find::totals(&self.reading())
    }

    /// Moves an entry to another state by hand (R79).
    pub fn set_state(&self, key: &Key, to: State) -> Result<Entry> {
        self.did(Op("update", "set-state"), key, catalog::change::set_state(&self.writing()?, key, to))
    }

    /// Adds tags to an entry, and takes others away (R55).
    pub fn tag(&self, key: &Key, add: BTreeSet<String>, remove: BTreeSet<String>) -> Result<Entry> {
        self.did(Op("update", "tag"), key, catalog::change::tag(&self.writing()?, key, add, remove))
    }

    /// Puts other notes in the place of an entry's (R57).
    pub fn note(&self, key: &Key, notes: &str) -> Result<Entry> {
        self.did(Op("update", "note"), key, catalog::change::note(&self.writing()?, key, notes.to_owned()))
    }

    /// Sets metadata of an entry, and (`None`) takes it away (R54).
    pub fn describe(&self, key: &Key, metadata: BTreeMap<String, Option<String>>) -> Result<Entry> {
        self.did(Op("update", "meta"), key, catalog::change::describe(&self.writing()?, key, metadata))
    }

    /// Notes that an entry was used, without a sync: what `get`, `cat`, `checkout`, `path` and leases do by themselves for
    /// the entries whose blobs they read. A crash may lose it, and so does a store that is only read.
    pub fn note_use(&self, key: &Key) {
        uses::note_entry(&self.reading(), key);
    }

    /// Records that an entry was used once more, for good (R56).
    pub fn touch(&self, key: &Key) -> Result<Entry> {
        self.did(Op("update", "touch"), key, catalog::register::touch(&self.writing()?, key))
    }

    /// Hashes the bytes of an entry and records what they show (R78, R81, R98); see [`catalog::verify::verify`].
    pub fn verify_entry(
        &self,
        key: &Key,
        path: Option<&Path>,
        expected: Option<Digest>,
        by: &str,
        observer: &dyn Observer,
    ) -> Result<Verified> {
        self.verified_entry(key, catalog::verify::verify(&self.writing()?, key, path, expected, by, observer))
    }

    /// Removes the record of an entry and nothing else (R90).
    pub fn remove_entry(&self, key: &Key) -> Result<Entry> {
        self.did(Op("remove", "forget"), key, catalog::remove::remove(&self.writing()?, key))
    }

    /// Makes a file outside the store.
    pub fn get(
        &self,
        target: &Target,
        destination: &Path,
        options: &MaterializeOptions,
        observer: &dyn Observer,
    ) -> Result<MaterializeReport> {
        let used = uses::of_target(&self.reading(), target);
        let made = materialize::get(&self.reading(), target, destination, options, observer)?;
        uses::note(&self.reading(), &used);
        Ok(made)
    }

    /// Makes a file outside the store: a hardlink where there can be one, and a copy where not (R11).
    pub fn hardlink_or_copy(
        &self,
        target: &Target,
        destination: &Path,
        observer: &dyn Observer,
    ) -> Result<MaterializeReport> {
        let options = MaterializeOptions { mode: Some(Mode::Hardlink), ..MaterializeOptions::default() };
        self.get(target, destination, &options, observer)
    }

    /// Puts a private copy in the place of a link to a blob; see [`materialize::unlock`].
    pub fn unlock(&self, path: &Path, observer: &dyn Observer) -> Result<Unlocked> {
        materialize::unlock(&self.reading(), path, observer)
    }

    /// Recreates below `directory` what is below `prefix`.
    pub fn checkout(
        &self,
        prefix: &Prefix,
        directory: &Path,
        options: &MaterializeOptions,
        observer: &dyn Observer,
    ) -> Result<MaterializeReport> {
        let made = materialize::checkout(&self.reading(), prefix, directory, options, observer)?;
        uses::note(&self.reading(), &uses::of_prefix(prefix));
        Ok(made)
    }

    /// Writes a blob's bytes to `out`; says how many.
    pub fn cat(&self, target: &Target, out: &mut dyn Write) -> Result<u64> {
        let used = uses::of_target(&self.reading(), target);
        let read = materialize::cat(&self.reading(), target, out)?;
        uses::note(&self.reading(), &used);
        Ok(read)
    }

    /// Writes `length` bytes of a blob from `offset` on to `out`, or all to its end; says how many. Each MiB is held against
    /// the blob's tree before it is written; see [`ranged::cat_range`].
    pub fn cat_range(
        &self,
        target: &Target,
        offset: u64,
        length: Option<u64>,
        out: &mut dyn Write,
        observer: &dyn Observer,
    ) -> Result<u64> {
        let used = uses::of_target(&self.reading(), target);
        let read = ranged::cat_range(&self.reading(), target, offset, length, out, observer)?;
        uses::note(&self.reading(), &used);
        Ok(read)
    }

    /// Opens a blob to be read in parts, each of which is right or an error (R130); see [`ranged::open`].
    pub fn open_verified(&self, target: &Target, observer: &dyn Observer) -> Result<VerifiedBlob> {
        let used = uses::of_target(&self.reading(), target);
        let opened = ranged::open(&self.reading(), target, observer)?;
        uses::note(&self.reading(), &used);
        Ok(opened)
    }

    /// The file of a blob that the store has.
    pub fn path(&self, target: &Target) -> Result<PathBuf> {
        let path = materialize::path(&self.reading(), target)?;
        uses::note(&self.reading(), &uses::of_target(&self.reading(), target));
        Ok(path)
    }

    /// Where the blob of a digest is, if the store has it: `sha256/ab/cdef…` below the store directory (R6).
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.ledger.layout.blob(digest)
    }

    /// The path to show for a blob: that of its name under `names/` if it has this name as a hardlink, else its own (R8).
    pub fn final_path(&self, digest: &Digest, name: &Name) -> Result<PathBuf> {
        let alias = self.ledger.snapshot()?.alias(name)?;
        let named = alias.is_some_and(|alias| alias.hardlinked && alias.digest == *digest);
        Ok(if named { self.ledger.layout.name(name) } else { self.blob_path(digest) })
    }

    /// Whether a name or digest means something in this store (R86).
    pub fn contains(&self, target: &Target) -> Result<bool> {
        names::exists(&self.reading(), target)
    }

    /// The names that differ from `name` by case alone, and would be the same file elsewhere.
    pub fn same_but_for_case(&self, name: &Name) -> Result<Vec<Name>> {
        self.ledger.snapshot()?.same_but_for_case(name)
    }

    /// Gives every alias in `prefix` to `each`, in order of names, none held in memory.
    pub fn list(&self, prefix: &Prefix, each: &mut dyn FnMut(AliasInfo) -> Result<()>) -> Result<()> {
        find::list(&self.reading(), prefix, each)
    }

    /// The blob that a target means.
    pub fn show(&self, target: &Target) -> Result<BlobInfo> {
        find::show(&self.reading(), target)
    }

    /// Every blob whose digest begins so.
    pub fn locate(&self, prefix: &DigestPrefix) -> Result<Vec<BlobInfo>> {
        find::locate(&self.reading(), prefix)
    }

    /// Everything that keeps a blob alive.
    pub fn why(&self, digest: &Digest, grace: Duration) -> Result<Why> {
        find::why(&self.reading(), digest, grace)
    }

    /// Measures this machine and this store; see [`doctor::examine`].
    pub fn examine(&self, destinations: &[PathBuf]) -> Result<Vec<Measured>> {
        doctor::examine(&self.reading(), destinations)
    }

    /// What removed a blob, or took a name away; see [`find::why_gone`].
    pub fn why_gone(&self, target: &Target) -> Result<WhyGone> {
        find::why_gone(&self.reading(), target)
    }

    /// Bytes that would be freed if all names of a blob went.
    pub fn reclaimable(&self, digest: &Digest) -> Result<u64> {
        find::reclaimable(&self.reading(), digest)
    }

    /// What the store holds, and what it takes up on the disk (R103).
    pub fn stats(&self) -> Result<Stats> {
        find::stats(&self.reading())
    }

    /// Gives the path of every blob that a name or pin keeps to `each` (R124).
    pub fn referenced_paths(&self, each: &mut dyn FnMut(PathBuf) -> Result<()>) -> Result<()> {
        find::referenced_paths(&self.reading(), each)
    }

    /// The files under `sha256/` that no record knows (R122); those that running work is about to record are among them.
    pub fn find_orphans(&self) -> Result<Vec<PathBuf>> {
        find::find_orphans(&self.reading())
    }

    /// Compares blobs with their digests: of the targets and prefixes, or of everything if both are empty.
    pub fn verify(
        &self,
        what: &[Target],
        prefixes: &[Prefix],
        options: &VerifyOptions,
        observer: &dyn Observer,
    ) -> Result<VerifyReport> {
        let ctx = if options.quarantine { self.writing()? } else { self.reading() };
        self.verified_blobs(verify::verify(&ctx, what, prefixes, options, observer))
    }

    /// The ingests that were broken off and can go on: adding their sources again does so. Those that cannot be read are
    /// told beside them.
    pub fn ingests(&self) -> Result<Ingests> {
        resumable::waiting(&self.reading())
    }

    /// Which of them `ids` mean, by the beginnings of what they are called; all where there are none.
    pub fn plan_remove_ingests(&self, ids: &[String]) -> Result<Ingests> {
        resumable::plan_give_up(&self.reading(), ids)
    }

    /// Removes what these have staged. Gives back those that are gone; one that went on meanwhile is left alone.
    pub fn remove_ingests(&self, ingests: &[Waiting]) -> Result<Ingests> {
        resumable::give_up(&self.writing()?, ingests)
    }

    /// Puts good bytes in the place of bad or missing ones; see [`repair::repair`].
    pub fn repair(
        &self,
        scope: &RepairScope,
        options: &RepairOptions,
        observer: &dyn Observer,
    ) -> Result<RepairReport> {
        let ctx = if options.dry_run { self.reading() } else { self.writing()? };
        self.did(Op("repair", "repair"), &"", repair::repair(&ctx, scope, options, observer))
    }

    /// Keeps so many copies of what is named; see [`copies::copies`].
    pub fn copies(
        &self,
        what: &[Target],
        prefixes: &[Prefix],
        options: &CopiesOptions,
        observer: &dyn Observer,
    ) -> Result<CopiesReport> {
        let ctx = if options.dry_run { self.reading() } else { self.writing()? };
        self.did(Op("repair", "copies"), &"", copies::copies(&ctx, what, prefixes, options, observer))
    }

    /// Compares the records with what is on the disk, reading no blob; see [`check::check`].
    pub fn check(&self, observer: &dyn Observer) -> Result<CheckReport> {
        check::check(&self.reading(), observer)
    }

    /// What [`Store::mend`] would do now. Changes nothing.
    pub fn plan_mend(&self, observer: &dyn Observer) -> Result<MendPlan> {
        mend::plan(&self.reading(), observer)
    }

    /// Mends what a check of the structure finds; see [`mend::mend`].
    pub fn mend(&self, observer: &dyn Observer) -> Result<MendReport> {
        self.did(Op("repair", "mend"), &"", mend::mend(&self.writing()?, observer))
    }

    /// What a collection would remove.
    pub fn plan_collect(&self, options: &CollectOptions) -> Result<CollectPlan> {
        collect::plan(&self.reading(), options)
    }

    /// Collects: `None` plans and executes at once; a plan is executed as it is, or [`ErrorKind::Refused`] when the
    /// store has outgrown it.
    pub fn collect(
        &self,
        plan: Option<&CollectPlan>,
        options: &CollectOptions,
        observer: &dyn Observer,
    ) -> Result<CollectReport> {
        let observer = &Telling::of(self, "collect", observer);
        let done = collect::collect(&self.writing()?, plan, options, observer);
        self.collected(Op("collect", "collect"), &"", done, |report| report)
    }

    /// Makes the index anew from the journal.
    pub fn rebuild(&self, observer: &dyn Observer) -> Result<RebuildReport> {
        self.did(Op("upkeep", "rebuild"), &"", upkeep::rebuild(&self.writing()?, observer))
    }

    /// Compacts the journal.
    pub fn compact(&self, _observer: &dyn Observer) -> Result<CompactReport> {
        self.did(Op("upkeep", "compact"), &"", upkeep::compact(&self.writing()?))
    }

    /// Gives everything that stands in the journal to `each`.
    pub fn frames(&self, each: &mut dyn FnMut(FrameInfo) -> Result<()>) -> Result<()> {
        upkeep::frames(&self.reading(), each)
    }

    /// The runs of the index.
    pub fn runs(&self) -> Result<Vec<RunInfo>> {
        upkeep::runs(&self.reading())
    }

    fn reading(&self) -> Context<'_> {
        let hardlinked = self.settings.alias == AliasKind::Hardlinked && self.options.storage.hardlink_dedup;
        Context { ledger: &self.ledger, workers: &self.workers, hardlinked }
    }

    fn writing(&self) -> Result<Context<'_>> {
        match &self.only_read {
            None => Ok(self.reading()),
            Some(OnlyRead { kind, reason }) => {
                Err(Error::new(*kind, format!("change the store {}", self.directory.display()), reason))
            }
        }
    }
}

fn no_store(directory: &Path, error: io::Error) -> Error {
    if error.kind() != io::ErrorKind::NotFound {
        return Error::io("open the store", directory, error);
    }
    Error::new(ErrorKind::NotFound, format!("open the store {}", directory.display()), "there is no store")
}

fn read_settings(machine: &dyn Machine, layout: &Layout) -> Result<Settings> {
    let path = layout.settings();
    let attempt = format!("read {}", path.display());
    let file = machine.open(&path, Open::Read).map_err(|e| no_store(layout.root(), e))?;
    let meta = file.meta().map_err(|e| Error::io("look at", &path, e))?;
    if meta.kind != FileKind::File || meta.size_bytes > SETTINGS_BYTES {
        return Err(Error::new(ErrorKind::Damaged, attempt, "it is no file, or far too long for one of settings"));
    }
    let mut bytes = vec![0; meta.size_bytes as usize];
    let read = file.read_at(&mut bytes, 0).map_err(|e| Error::io("read", &path, e))?;
    let text = std::str::from_utf8(&bytes[..read]);
    let text = text.map_err(|e| Error::new(ErrorKind::Damaged, attempt.as_str(), e.to_string()))?;
    // A later format may have keys that this program does not know: its number comes first.
    if let Some(format) = Settings::format_of(text).filter(|format| *format != FORMAT) {
        let reason = format!("it has format {format}, and this program knows {FORMAT} alone");
        return Err(Error::new(ErrorKind::Unsupported, attempt, reason));
    }
    let settings = Settings::from_toml(text).map_err(|why| Error::new(ErrorKind::Damaged, attempt.as_str(), why))?;
    match settings.features.incompatible.first() {
        Some(feature) => {
            let reason = format!("it uses {feature:?}, which this program does not know");
            Err(Error::new(ErrorKind::Unsupported, attempt, reason))
        }
        None => Ok(settings),
    }
}

/// Refuses a directory in which everybody may put other files in the place of blobs, unless it is trusted. One that is
/// not there yet is nobody's; of one that cannot be looked at nothing is known, which is no reason to trust it.
fn refuse_strangers(machine: &dyn Machine, directory: &Path, options: &OpenOptions) -> Result<()> {
    if options.trust_directory || planted(Bug::StrangersTrusted) {
        return Ok(());
    }
    match machine.stat(directory) {
        Ok(meta) if meta.kind == FileKind::Directory && meta.mode & 0o002 != 0 => {
            let reason =
                format!("everybody may write to it (mode {:04o}), and could have put anything there", meta.mode);
            Err(Error::new(ErrorKind::Untrusted, format!("use the store directory {}", directory.display()), reason))
        }
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io("look at the store directory", directory, e)),
    }
}

/// Why the store is only to be read; `None` if it can be written to.
fn only_read(
    machine: &dyn Machine,
    layout: &Layout,
    settings: &Settings,
    filesystem: &Filesystem,
    options: &OpenOptions,
) -> Result<Option<OnlyRead>> {
    let because = |kind, reason: String| Ok(Some(OnlyRead { kind, reason }));
    if options.read_only {
        return because(ErrorKind::ReadOnly, "it was opened for reading only".into());
    }
    if let Some(feature) = settings.features.read_only_compatible.first() {
        return because(ErrorKind::Unsupported, format!("it uses {feature:?}, with which this program can only read"));
    }
    if !filesystem.local {
        let kind = &filesystem.kind;
        let reason = format!("its filesystem is {kind}, where a lock may not be seen by everybody who uses the store");
        return because(ErrorKind::Unsupported, reason);
    }
    if filesystem.read_only {
        return because(ErrorKind::ReadOnly, "its filesystem is mounted read-only".into());
    }
    let path = layout.lock();
    match machine.open(&path, Open::ReadWrite).map_err(|e| Error::io("open", &path, e)) {
        Ok(_) => Ok(None),
        Err(e) if e.kind() == ErrorKind::Permission => {
            because(e.kind(), format!("this user may not write to {}", path.display()))
        }
        Err(e) if e.kind() == ErrorKind::ReadOnly => because(e.kind(), "its filesystem is read-only".into()),
        Err(e) if e.kind() == ErrorKind::NotFound => {
            because(ErrorKind::Damaged, format!("{} is missing; an empty file of that name will do", path.display()))
        }
        Err(e) => Err(e),
    }
}

fn policy(
    machine: &dyn Machine,
    settings: &Settings,
    filesystem: &Filesystem,
    options: &OpenOptions,
    writable: bool,
    engine: Engine,
) -> Policy {
    let checked = "settings are checked when they are read";
    Policy {
        store: settings.id().expect(checked),
        durability: settings.durability,
        blob_mode: settings.mode(&settings.blob_mode).expect(checked),
        directory_mode: settings.mode(&settings.directory_mode).expect(checked),
        syncfs: filesystem.local && machine.syncfs_reports_errors(),
        lock_timeout: options.lock_timeout,
        writable,
        engine,
    }
}

#[cfg(test)]
mod tests;
