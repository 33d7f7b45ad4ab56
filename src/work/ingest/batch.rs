//! One batch: synced, published, recorded under `lock`.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::claims::reaches_more;
use super::free::FreeNames;
use super::stage::{Any, Staged};
use crate::format::checkpoint::SourceStamp;
use crate::format::record::copies::{SourceFile, SourceStampRecord, SourcesRecord, remembered};
use crate::format::record::{AliasRecord, BlobRecord, HealedRecord, Record, Replaced};
use crate::format::settings::Durability;
use crate::format::table::{AliasRow, BlobRow};
use crate::hashing::{Digests, Workers};
use crate::ledger::{Ledger, Tables, Tx};
use crate::machine::{File, Meta, Open};
use crate::parts::blobs::{self, BlobDirs, Readers};
use crate::parts::carriers::CarrierDirs;
use crate::parts::sessions::Session;
use crate::vocabulary::events::AddStatus;
use crate::vocabulary::limits::STAMPED_NAME_BYTES;
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Digest, Error, ErrorKind, Name, Result, Stamp};
use crate::work::carrier;

/// What is asked, in the transaction that keeps a source, by whoever wants more of it than a name.
pub(in crate::work) trait Keeping: Send + Sync {
    /// The name that bytes of this digest are to have, if any, and whether they take it from others.
    fn name(&self, tx: &Tx<'_>, digest: &Digest) -> Result<Option<(Name, bool)>>;

    /// Bytes of this digest and length are kept, under this name: what else is to be on record with them. An error keeps
    /// nothing.
    fn kept(&self, tx: &mut Tx<'_>, digest: &Digest, size_bytes: u64, name: Option<Name>) -> Result<()>;
}

/// More staged files than this are synced with one `syncfs` where that can be trusted.
const FEW_FILES: usize = 2;

/// What became of one source of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Kept.
    Added(AddStatus),
    /// Not kept, and why.
    Refused(String),
    /// The stored copy that it rested on is no longer what it was: stage it and try again.
    Again,
}

/// Of which sources the stamps are put on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamps {
    None,
    /// Of those whose name is written down anyway.
    OfNewNames,
    /// Of all that were read.
    All,
}

/// What a commit needs to know besides the sources.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub replace: bool,
    pub hardlinked: bool,
    /// Whether the sources stay where they are, and may be asked for their bytes again.
    pub sources_stay: bool,
    /// Of which sources the stamps are put on record.
    pub stamps: Stamps,
    /// The sequence of the records that the look-ups for this batch rest on.
    pub seen: u64,
    /// The sequence of the records that the look-ups for a younger batch rest on, if there is one.
    pub rests_on: Option<u64>,
}

/// What a committed batch came to.
pub(super) struct Committed {
    /// One for each source, in order.
    pub outcomes: Vec<Outcome>,
    /// Things that the user should know.
    pub notices: Vec<String>,
}

/// The descriptor whose `syncfs` vouches for a batch: opened before its first byte is written.
pub(super) fn witness(ledger: &Ledger) -> Result<Option<Box<dyn File>>> {
    if ledger.policy.durability != Durability::Batch || !ledger.policy.syncfs {
        return Ok(None);
    }
    let staging = ledger.layout.staging();
    ledger.machine.open(&staging, Open::Directory).map(Some).map_err(|e| Error::io("open", &staging, e))
}

/// Syncs a staged file where each is synced by itself, whatever staged it.
pub(super) fn sync_if_each(ledger: &Ledger, staged: Staged) -> Result<Staged> {
    if let (Durability::Each, Some((path, _))) = (ledger.policy.durability, &staged.file) {
        sync_file(ledger, path)?;
    }
    Ok(staged)
}

/// Syncs every staged file. An error means that nothing of the batch is kept.
pub(super) fn sync_staged(
    ledger: &Ledger,
    workers: &Workers,
    witness: Option<&dyn File>,
    batch: &[Staged],
) -> Result<()> {
    let paths: Vec<&PathBuf> = batch.iter().filter_map(|staged| staged.file.as_ref().map(|(path, _)| path)).collect();
    match witness {
        Some(witness) if paths.len() > FEW_FILES && !planted(Bug::StagedSync) => {
            witness.sync_filesystem().map_err(|e| Error::io("sync", &ledger.layout.staging(), e))
        }
        // The others are at work on the next batch.
        _ => workers.map_apart(paths, |path| sync_file(ledger, path)).into_iter().collect(),
    }
}

/// Syncs one staged file.
fn sync_file(ledger: &Ledger, path: &Path) -> Result<()> {
    let file = ledger.machine.open(path, Open::Read).map_err(|e| Error::io("open", path, e))?;
    if planted(Bug::StagedSync) {
        return Ok(());
    }
    file.sync().map_err(|e| Error::io("sync", path, e))
}

/// Publishes what is staged and records it. Files that are there without a record are left for [`resolve_one`].
pub(super) fn commit(
    ledger: &Ledger,
    session: &Arc<Session>,
    batch: &[Staged],
    rules: Rules,
    keeping: Option<Arc<dyn Keeping>>,
) -> Result<Committed> {
    close_checkpoints(ledger, session, batch)?;
    let mut dirs = BlobDirs::default();
    let mut published = BTreeSet::new();
    let known = ledger.known();
    for staged in batch {
        let digest = staged.digests.digest;
        // A linked source is published when it is certain that it gets its name: until then it may go back to its owner.
        let own = staged.file.as_ref().filter(|_| !staged.linked);
        let Some((path, _)) = own.filter(|_| published.insert(digest)) else { continue };
        // A blob on record whose file is bad or gone is healed by its record, not by a link: its names follow then.
        if known.blob(&digest)?.is_none() {
            ledger.blobs.publish(session.entry(path), &digest, &mut dirs)?;
        }
    }
    if ledger.policy.durability != Durability::None {
        ledger.blobs.sync(&dirs)?;
    }
    let (batch, session) = (batch.to_vec(), Arc::clone(session));
    ledger.transact(move |tx| record(tx, &session, &batch, rules, keeping.as_deref()))
}

/// Nothing is gone on with that may be a blob: the checkpoints are gone for good before anything is published.
fn close_checkpoints(ledger: &Ledger, session: &Session, batch: &[Staged]) -> Result<()> {
    let mut closed = false;
    for (path, _) in batch.iter().filter_map(|staged| staged.file.as_ref()) {
        closed |= session.unsave(path)?;
    }
    if closed && ledger.policy.durability != Durability::None { session.sync_folders() } else { Ok(()) }
}

fn record(
    tx: &mut Tx<'_>,
    session: &Session,
    batch: &[Staged],
    rules: Rules,
    keeping: Option<&dyn Keeping>,
) -> Result<Committed> {
    let mut resolving = Resolving::of(session, batch, Any::of(tx)?);
    let mut notices = Vec::new();
    let mut outcomes = Vec::with_capacity(batch.len());
    let mut free = FreeNames::default();
    // What was seen is as it was. Names that mean their bytes already keep them, since this batch replaces none.
    let as_seen = keeping.is_none() && !rules.replace && tx.is_as_of(rules.seen);
    for staged in batch {
        if as_seen && staged.unchanged {
            outcomes.push(Outcome::Added(AddStatus::Unchanged));
            continue;
        }
        let wanted = match keeping {
            Some(keeping) => keeping.name(tx, &staged.digests.digest)?,
            None => Some((staged.item.name.clone(), rules.replace)),
        };
        let wanted = wanted.as_ref().map(|(name, replace)| (name, *replace));
        let outcome = match claim(tx, staged, wanted, &mut free, &mut notices)? {
            Claim::Refused(reason) => Outcome::Refused(reason),
            Claim::Granted(before) => match resolving.resolve_for(tx, staged)? {
                Resolved::Again => Outcome::Again,
                Resolved::Refused(reason) => Outcome::Refused(reason.clone()),
                Resolved::Kept(status) => {
                    let wanted = wanted.map(|(name, _)| name);
                    wanted.into_iter().for_each(|name| free.gave(name));
                    name(tx, staged, status, wanted, rules, before)?
                }
            },
        };
        if let (Outcome::Added(_), Some(keeping)) = (&outcome, keeping) {
            let Digests { digest, size_bytes, .. } = &staged.digests;
            keeping.kept(tx, digest, *size_bytes, wanted.map(|(name, _)| name.clone()))?;
            tx.note_if_unrooted(digest)?;
        }
        outcomes.push(outcome);
    }
    resolving.record_published(tx)?;
    if rules.sources_stay {
        remember_sources(tx, &resolving.fresh, batch)?;
    }
    resolving.sync(tx)?;
    if resolving.kept_for_more > 0 {
        let count = resolving.kept_for_more;
        notices.push(format!("kept once more, in files that all may read who may read the source: {count}"));
    }
    // Nothing is rested on yet that this very frame says; and a younger batch rests on older records.
    let before = tx.moment().sequence - 1;
    session.restamp(rules.rests_on.map_or(before, |older| older.min(before)))?;
    Ok(Committed { outcomes, notices })
}

/// Puts on record where bytes came from that are new here, or good again: `repair` looks there for them. What was known
/// before stays, behind what was read just now.
fn remember_sources(tx: &mut Tx<'_>, kept: &BTreeMap<Digest, AddStatus>, batch: &[Staged]) -> Result<()> {
    let mut fresh: BTreeMap<Digest, Vec<SourceFile>> = BTreeMap::new();
    for staged in batch {
        let digest = staged.digests.digest;
        if kept.contains_key(&digest) && digest != Digest::EMPTY {
            fresh.entry(digest).or_default().extend(source_file(staged));
        }
    }
    for (digest, now) in fresh {
        let healed = kept.get(&digest) == Some(&AddStatus::Healed);
        let before = if healed { tx.sources(&digest)?.map_or(Vec::new(), |row| row.files) } else { Vec::new() };
        let files = remembered(now.into_iter().chain(before.iter().cloned()));
        if files != before {
            let since = tx.moment();
            tx.push(Record::Sources(SourcesRecord { digest, files, since }));
        }
    }
    Ok(())
}

fn source_file(staged: &Staged) -> Option<SourceFile> {
    let path = staged.item.path.as_os_str().as_bytes().to_vec();
    staged.source.map(|meta| SourceFile {
        path,
        size_bytes: meta.size_bytes,
        mtime_ns: meta.mtime_ns,
        ctime_ns: meta.ctime_ns,
        inode: meta.inode,
        device: meta.device,
    })
}

/// What became of one digest of a batch.
enum Resolved {
    /// It is on record; the status is that of the first name that it gets.
    Kept(AddStatus),
    Again,
    /// Something that is not larder's is in its way.
    Refused(String),
}

/// The digests of a batch, of which each is seen to be on record and in place once a source of it is granted its name.
struct Resolving<'a> {
    session: &'a Session,
    any: Any,
    sources: BTreeMap<Digest, Vec<&'a Staged>>,
    dirs: BlobDirs,
    carrier_dirs: CarrierDirs,
    /// Copies that are kept beside a blob that fewer people may read.
    kept_for_more: u64,
    done: BTreeMap<Digest, Resolved>,
    /// What is new or healed here.
    fresh: BTreeMap<Digest, AddStatus>,
}

impl<'a> Resolving<'a> {
    fn of(session: &'a Session, batch: &'a [Staged], any: Any) -> Self {
        let mut sources: BTreeMap<Digest, Vec<&Staged>> = BTreeMap::new();
        for staged in batch {
            sources.entry(staged.digests.digest).or_default().push(staged);
        }
        let (dirs, carrier_dirs) = (BlobDirs::default(), CarrierDirs::default());
        let (done, fresh) = (BTreeMap::new(), BTreeMap::new());
        Resolving { session, any, sources, dirs, carrier_dirs, kept_for_more: 0, done, fresh }
    }

    fn resolve(&mut self, tx: &mut Tx<'_>, digest: Digest) -> Result<&mut Resolved> {
        if !self.done.contains_key(&digest) {
            let resolved = match resolve_one(tx, self.session, &self.sources[&digest], self.any, &mut self.dirs) {
                Err(e) if e.kind() == ErrorKind::Damaged => Resolved::Refused(e.to_string()),
                other => other?,
            };
            if let Resolved::Kept(status @ (AddStatus::New | AddStatus::Healed)) = resolved {
                self.fresh.insert(digest, status);
            }
            self.done.insert(digest, resolved);
        }
        Ok(self.done.get_mut(&digest).expect("it was just put there"))
    }

    /// As [`Resolving::resolve`], for a source that is granted its name.
    fn resolve_for(&mut self, tx: &mut Tx<'_>, staged: &Staged) -> Result<&mut Resolved> {
        if matches!(self.resolve(tx, staged.digests.digest)?, Resolved::Kept(_)) {
            self.keep_for_more(tx, staged)?;
        }
        self.resolve(tx, staged.digests.digest)
    }

    /// Where somebody may read a source who may not read the file that is kept, its staged copy is kept beside that.
    fn keep_for_more(&mut self, tx: &mut Tx<'_>, staged: &Staged) -> Result<()> {
        let digest = &staged.digests.digest;
        let Some((path, stamp)) = staged.file.as_ref().filter(|_| !staged.linked) else { return Ok(()) };
        let Some(row) = tx.blob(digest)?.filter(|row| row.stamp.inode != stamp.inode) else { return Ok(()) };
        let uid = tx.ledger().machine.user();
        // What is about to be healed is this user's from then on.
        let there = tx.ledger().blobs.meta(digest)?.filter(|there| there.inode == row.stamp.inode);
        let blob = there.map_or(Readers { mode: row.stamp.mode, uid }, |there| Readers::of(&there));
        if reaches_more(tx.ledger(), tx, digest, blob, Readers { mode: stamp.mode, uid })? {
            let last = tx.carriers(digest)?.last().map_or(0, |(number, _)| *number);
            carrier::record(tx, self.session, digest, last + 1, &(path.clone(), *stamp), &mut self.carrier_dirs)?;
            self.kept_for_more += 1;
        }
        Ok(())
    }

    /// What was published for names that were all refused is put on record without a root: so it is collected in its time.
    fn record_published(&mut self, tx: &mut Tx<'_>) -> Result<()> {
        let published = |sources: &Vec<&Staged>| sources.iter().any(|s| s.file.is_some() && !s.linked);
        let left: Vec<Digest> =
            self.sources.iter().filter(|(d, s)| !self.done.contains_key(d) && published(s)).map(|(d, _)| *d).collect();
        for digest in left {
            if matches!(self.resolve(tx, digest)?, Resolved::Kept(_)) {
                tx.note_if_unrooted(&digest)?;
            }
        }
        Ok(())
    }

    fn sync(&self, tx: &Tx<'_>) -> Result<()> {
        if tx.ledger().policy.durability == Durability::None {
            return Ok(());
        }
        tx.ledger().blobs.sync(&self.dirs)?;
        carrier::sync(tx, &self.carrier_dirs)?;
        // A heal is finished from the staged file, if need be by somebody else after a crash.
        let heals = self.fresh.values().any(|status| *status == AddStatus::Healed);
        if heals { self.session.sync_folders() } else { Ok(()) }
    }
}

fn resolve_one(
    tx: &mut Tx<'_>,
    session: &Session,
    sources: &[&Staged],
    any: Any,
    dirs: &mut BlobDirs,
) -> Result<Resolved> {
    let digest = sources[0].digests.digest;
    let row = tx.blob(&digest)?;
    let there = tx.ledger().blobs.meta(&digest)?.as_ref().map(blobs::stamp);
    let damaged = any.wrong && tx.damaged(&digest)?.is_some();
    let hashed = |good: bool| {
        let seen =
            |s: &&Staged| s.hashed.is_some_and(|(stamp, was)| was == good && there.is_some_and(|t| stamp.agrees(&t)));
        sources.iter().any(seen)
    };
    if let Some(row) = &row {
        let as_recorded = there.is_some_and(|there| row.stamp.agrees(&there) || planted(Bug::StampIgnored));
        if as_recorded && row.is_verified() && !damaged && !hashed(false) {
            return Ok(Resolved::Kept(AddStatus::Dedup));
        }
        if let Some(there) = there.filter(|_| hashed(true)) {
            match restamped(sources[0], there, row) {
                Record::Healed(heal) => tx.heal(heal)?,
                other => tx.push(other),
            }
            return Ok(Resolved::Kept(AddStatus::Dedup));
        }
    }
    let Some((source, path, stamp)) = sources.iter().find_map(|s| s.file.as_ref().map(|(p, stamp)| (*s, p, *stamp)))
    else {
        return Ok(Resolved::Again);
    };
    match (row, there) {
        // On record, and in its place something that nobody here has hashed: that happens outside the lock.
        (Some(_), Some(_)) if !damaged && !hashed(false) => Ok(Resolved::Again),
        (Some(row), _) => {
            tx.heal(healed(tx, source, path, stamp, &row))?;
            Ok(Resolved::Kept(AddStatus::Healed))
        }
        (None, there) => {
            publish_here(tx, session, path, &digest, stamp, there, dirs)?;
            let record = BlobRecord { digest, blake3: source.digests.blake3, stamp, added: tx.moment() };
            tx.push(Record::Blob(record));
            Ok(Resolved::Kept(AddStatus::New))
        }
    }
}

/// Makes sure that the file in place is our own synced one: one that is there without a record may be of a maker whose
/// sync failed.
fn publish_here(
    tx: &Tx<'_>,
    session: &Session,
    path: &Path,
    digest: &Digest,
    stamp: Stamp,
    there: Option<Stamp>,
    dirs: &mut BlobDirs,
) -> Result<()> {
    let blobs = &tx.ledger().blobs;
    match there {
        Some(there) if there.inode == stamp.inode || planted(Bug::UnrecordedTrusted) => Ok(()),
        Some(_) => blobs.replace(path, &session.next_path(), digest, dirs),
        // Somebody else, not under `lock`, may publish theirs this moment.
        None if blobs.publish(path, digest, dirs)? => Ok(()),
        None => blobs.replace(path, &session.next_path(), digest, dirs),
    }
}

/// Good bytes under another stamp than the recorded one. Where it is another file, the names have to follow: it is a heal
/// for which nothing is staged.
fn restamped(staged: &Staged, stamp: Stamp, row: &BlobRow) -> Record {
    let (Digests { digest, blake3, .. }, added) = (staged.digests, row.added);
    if stamp.inode == row.stamp.inode {
        return Record::Blob(BlobRecord { digest, blake3, stamp, added });
    }
    let staged = String::new();
    Record::Healed(HealedRecord { digest, blake3, bad: Some(row.stamp), good: stamp, staged, added })
}

fn healed(tx: &Tx<'_>, source: &Staged, path: &Path, good: Stamp, row: &BlobRow) -> HealedRecord {
    let root = tx.ledger().layout.root();
    let staged = path.strip_prefix(root).expect("staging is below the store").to_string_lossy().into_owned();
    let (Digests { digest, blake3, .. }, bad) = (source.digests, Some(row.stamp));
    HealedRecord { digest, blake3, bad, good, staged, added: row.added }
}

/// Whether a source may have its name.
enum Claim {
    /// It may; what the name meant before.
    Granted(Option<AliasRow>),
    Refused(String),
}

fn claim(
    tx: &Tx<'_>,
    staged: &Staged,
    wanted: Option<(&Name, bool)>,
    free: &mut FreeNames,
    notices: &mut Vec<String>,
) -> Result<Claim> {
    let Some((name, replace)) = wanted else { return Ok(Claim::Granted(None)) };
    match free.alias(tx, name)? {
        Some(alias) if alias.digest == staged.digests.digest || replace => Ok(Claim::Granted(Some(alias))),
        Some(alias) => Ok(Claim::Refused(format!("the name {name:?} already means other bytes ({})", alias.digest))),
        None => {
            if let Some(other) = free.clash(tx, name)? {
                let reason = format!("the name {name:?} cannot be beside {other:?}: one would be a directory");
                return Ok(Claim::Refused(reason));
            }
            for other in free.same_but_for_case(tx, name)? {
                notices.push(format!("the names {name:?} and {other:?} differ by case only"));
            }
            Ok(Claim::Granted(None))
        }
    }
}

/// Gives a source the name that it was granted.
fn name(
    tx: &mut Tx<'_>,
    staged: &Staged,
    status: &mut AddStatus,
    name: Option<&Name>,
    rules: Rules,
    before: Option<AliasRow>,
) -> Result<Outcome> {
    let Some(name) = name else { return Ok(Outcome::Added(std::mem::replace(status, AddStatus::Dedup))) };
    let healed = *status == AddStatus::Healed;
    if before.as_ref().is_some_and(|alias| alias.digest == staged.digests.digest) {
        *status = AddStatus::Dedup;
        if rules.stamps == Stamps::All {
            push_stamp(tx, staged, name);
        }
        return Ok(Outcome::Added(if healed { AddStatus::Healed } else { AddStatus::Unchanged }));
    }
    let replaces = before.map(|alias| replaced(tx, &alias)).transpose()?;
    tx.push(Record::Alias(alias_record(tx, staged, name, rules, replaces)));
    if rules.stamps != Stamps::None {
        push_stamp(tx, staged, name);
    }
    if let Some(replaced) = replaces {
        tx.note_if_unrooted(&replaced.digest)?;
    }
    Ok(Outcome::Added(std::mem::replace(status, AddStatus::Dedup)))
}

/// Puts on record what a source was, if any change of it since it was read must show.
fn push_stamp(tx: &mut Tx<'_>, staged: &Staged, name: &Name) {
    let (digest, name) = (staged.digests.digest, name.clone());
    if name.as_bytes().len() > STAMPED_NAME_BYTES {
        return;
    }
    if let Some(meta) = staged.source.filter(|_| (!staged.racy || planted(Bug::RacyStampRecorded)) && !staged.trusted) {
        tx.push(Record::SourceStamp(SourceStampRecord { name, digest, source: SourceStamp::of(&meta) }));
    }
}

fn replaced(tx: &Tx<'_>, alias: &AliasRow) -> Result<Replaced> {
    let inode = tx.blob(&alias.digest)?.map_or(0, |blob| blob.stamp.inode);
    Ok(Replaced { digest: alias.digest, hardlinked: alias.hardlinked, inode })
}

fn alias_record(tx: &Tx<'_>, staged: &Staged, name: &Name, rules: Rules, replaces: Option<Replaced>) -> AliasRecord {
    let mtime = |meta: Meta| meta.mtime_ns;
    let now = || i64::try_from(tx.ledger().machine.now_ns()).unwrap_or(i64::MAX);
    AliasRecord {
        name: name.clone(),
        digest: staged.digests.digest,
        size_bytes: staged.digests.size_bytes,
        hardlinked: rules.hardlinked,
        executable: staged.source.is_some_and(|meta| meta.mode & 0o111 != 0),
        mtime_ns: staged.source.map_or_else(now, mtime),
        replaces,
        added: tx.moment(),
    }
}
