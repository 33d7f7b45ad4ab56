//! Looking: names, blobs, what keeps them, and what it all costs.

mod gone;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use super::Context;
use super::ingest::AliasKind;
use super::links::{Footprint, StagedLinks};
use super::names::{self, Target};
use crate::format::record::copies::CarrierRow;
use crate::format::record::scrub::{FindingRow, Wrong};
use crate::format::session::SessionKind;
use crate::format::table::{AliasRow, BlobRow};
use crate::format::uses::beginning;
use crate::ledger::{Entries, Ledger, Snapshot, Tables};
use crate::parts::blobs;
use crate::parts::sessions::Found;
use crate::vocabulary::{Blake3, Digest, DigestPrefix, Error, ErrorKind, Key, Name, Prefix, Result, Stamp};

pub use gone::{Departure, Removal, WhyGone, why_gone};

/// One alias, as `ls` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasInfo {
    /// The name.
    pub name: Name,
    /// What it means.
    pub digest: Digest,
    /// Length of the blob in bytes.
    pub size_bytes: u64,
    /// How it is kept.
    pub kind: AliasKind,
    /// Modification time of the source it came from, nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// Whether the source was executable.
    pub executable: bool,
    /// Journal time at which it was added, nanoseconds since the epoch.
    pub added_ns: u64,
}

/// One blob, as `show` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its digest.
    pub digest: Digest,
    /// Its BLAKE3.
    pub blake3: Blake3,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Where it is.
    pub path: PathBuf,
    /// What its file looked like when it was recorded.
    pub stamp: Stamp,
    /// What it looks like now; `None` if it is not there.
    pub now: Option<Stamp>,
    /// Names of the inode now.
    pub links: u64,
    /// Bytes on the disk now.
    pub allocated_bytes: u64,
    /// Journal time at which it was added, nanoseconds since the epoch.
    pub added_ns: u64,
    /// Every alias of it.
    pub aliases: Vec<AliasInfo>,
    /// The note of its pin, if it is pinned.
    pub pin: Option<String>,
    /// The entries that have it as a variant, each with the variant's name.
    pub entries: Vec<(Key, String)>,
    /// Whether its file is known to be damaged.
    pub damaged: bool,
    /// What reading it or a carrier of it has found wrong and nobody has mended, with the number of the carrier; zero is its
    /// own file.
    pub findings: Vec<(u32, FindingRow)>,
    /// When it was last read and found right, as far as is known; wall clock, nanoseconds since the epoch.
    pub verified_ns: Option<u64>,
    /// The further inodes of it that the store keeps.
    pub carriers: Vec<CarrierInfo>,
    /// The files that it was added from, as far as they are remembered: `repair` looks there for good bytes.
    pub sources: Vec<PathBuf>,
}

/// One further inode of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarrierInfo {
    /// Its number, from 1.
    pub number: u32,
    /// Where it is.
    pub path: PathBuf,
    /// What its file looked like when it was recorded.
    pub stamp: Stamp,
    /// What it looks like now; `None` if it is not there.
    pub now: Option<Stamp>,
}

/// Everything that keeps a blob alive, or that it is waiting for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// The blob.
    pub digest: Digest,
    /// Every alias.
    pub names: Vec<Name>,
    /// The note of its pin, if it is pinned.
    pub pin: Option<String>,
    /// The entries that have it as a variant, each with the variant's name.
    pub entries: Vec<(Key, String)>,
    /// Running work that holds it or might: its session.
    pub sessions: Vec<String>,
    /// Names of its inode that larder does not know: links outside the store.
    pub outside_links: u64,
    /// Journal time at which it lost its last root.
    pub unrooted_ns: Option<u64>,
    /// Whether it is condemned.
    pub condemned: bool,
    /// Whether collection may remove it now, with the given grace.
    pub collectable: bool,
    /// Whether a fence keeps everything.
    pub fenced: bool,
    /// What reading it or a carrier of it has found wrong and nobody has mended, as in [`BlobInfo::findings`].
    pub findings: Vec<(u32, FindingRow)>,
}

/// What the store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Distinct blobs.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Bytes that they occupy on the disk.
    pub allocated_bytes: u64,
    /// Further inodes of blobs that the store keeps.
    pub carriers: u64,
    /// Bytes of those.
    pub carrier_bytes: u64,
    /// Aliases.
    pub names: u64,
    /// Bytes that the names stand for, each counted.
    pub logical_bytes: u64,
    /// Blobs without a root.
    pub unrooted_blobs: u64,
    /// Bytes that collecting those would really free.
    pub reclaimable_bytes: u64,
    /// Pins.
    pub pins: u64,
    /// Blobs known to be damaged.
    pub damaged_blobs: u64,
    /// Other findings on record: names not applied, fences, blobs that were missing or could not be read, carriers that are
    /// wrong.
    pub findings: u64,
    /// Whether collection is fenced.
    pub fenced: bool,
    /// Bytes of the journal and of the index.
    pub journal_bytes: u64,
    /// As above.
    pub index_bytes: u64,
    /// Sessions of running work.
    pub sessions: u64,
    /// Free bytes on the filesystem.
    pub free_bytes: u64,
    /// The filesystem's kind.
    pub filesystem: String,
}

/// How many blobs are looked at in one round of the workers.
const ROUND: usize = 4096;
const FIRST: Digest = Digest::from_bytes([0; 32]);

/// Gives every alias in `prefix` to `each`, in the order of their bytes, none held in memory. An error from `each` ends
/// it.
pub fn list(ctx: &Context<'_>, prefix: &Prefix, each: &mut dyn FnMut(AliasInfo) -> Result<()>) -> Result<()> {
    let snapshot = ctx.ledger.snapshot()?;
    for row in snapshot.aliases(prefix) {
        let (name, row) = row?;
        each(alias_info(name, &row))?;
    }
    Ok(())
}

/// The blob that a target means, as it is recorded and as it is now.
pub fn show(ctx: &Context<'_>, target: &Target) -> Result<BlobInfo> {
    let snapshot = ctx.ledger.snapshot()?;
    let digest = names::resolve(snapshot.as_ref(), target)?;
    let row = snapshot.blob(&digest)?.ok_or_else(|| not_on_record(&digest))?;
    blob_info(ctx.ledger, &snapshot, digest, &row)
}

/// Every blob whose digest begins with `prefix`, in order of digests; none if there is none.
pub fn locate(ctx: &Context<'_>, prefix: &DigestPrefix) -> Result<Vec<BlobInfo>> {
    let snapshot = ctx.ledger.snapshot()?;
    let mut found = Vec::new();
    for row in snapshot.blobs(&prefix.first()) {
        let (digest, row) = row?;
        if !prefix.matches(&digest) {
            break;
        }
        found.push(blob_info(ctx.ledger, &snapshot, digest, &row)?);
    }
    Ok(found)
}

/// Everything that keeps a blob, and whether collection with this grace may remove it now.
///
/// Sessions are probed without `lock`, and those that cannot be read are left out: for a report that is good enough, and
/// collection asks again under `lock`. A running ingest may rest on a blob that it does not list; it is told where
/// nothing else keeps the blob. Damage of the journal keeps everything, whether the fence is on record yet or not.
pub fn why(ctx: &Context<'_>, digest: &Digest, grace: Duration) -> Result<Why> {
    let snapshot = ctx.ledger.snapshot()?;
    names::resolve(snapshot.as_ref(), &Target::Digest(*digest))?;
    let names = snapshot.names_of(digest)?;
    let pin = snapshot.pin(digest)?.map(|pin| pin.note);
    let entries = entries(snapshot.as_ref(), digest)?;
    let rooted = pin.is_some() || !names.is_empty() || !entries.is_empty();
    let unrooted = snapshot.unrooted(digest)?;
    let condemned = snapshot.condemned(digest)?;
    let might = |session: &Found| holds(session, digest, rooted, condemned.map(|moment| moment.sequence));
    let sessions: Vec<String> = running(ctx.ledger).iter().filter(|s| might(s)).map(session_words).collect();
    let fenced = snapshot.is_fenced()? || !snapshot.damage.is_empty();
    let now_ns = snapshot.next_time_ns(ctx.ledger.machine.now_ns());
    let waited = Duration::from_nanos(unrooted.map_or(0, |since| now_ns.saturating_sub(since.time_ns)));
    Ok(Why {
        digest: *digest,
        names,
        pin,
        entries,
        outside_links: footprint(ctx.ledger, &snapshot, digest)?.map_or(0, |blob| blob.outside_links),
        unrooted_ns: unrooted.map(|since| since.time_ns),
        condemned: condemned.is_some(),
        collectable: !rooted && sessions.is_empty() && !fenced && waited >= grace,
        sessions,
        fenced,
        findings: snapshot.findings_of(digest)?,
    })
}

/// The entries that have a blob as a variant, each with the variant's name.
fn entries(snapshot: &Snapshot, digest: &Digest) -> Result<Vec<(Key, String)>> {
    let mut found = Vec::new();
    for (id, variant) in snapshot.entries_of(digest)? {
        found.extend(snapshot.key_of(&id)?.map(|key| (key, variant)));
    }
    Ok(found)
}

/// Bytes that would be freed if all names of a blob went and it were collected: none while a pin or an entry keeps it or a link
/// outside the store is left.
pub fn reclaimable(ctx: &Context<'_>, digest: &Digest) -> Result<u64> {
    let snapshot = ctx.ledger.snapshot()?;
    names::resolve(snapshot.as_ref(), &Target::Digest(*digest))?;
    if snapshot.is_kept(digest)? {
        return Ok(0);
    }
    Ok(footprint(ctx.ledger, &snapshot, digest)?.map_or(0, |blob| blob.frees_bytes()))
}

/// What the store holds and what it costs (R103): one pass over names and blobs, with a look at every blob's file.
pub fn stats(ctx: &Context<'_>) -> Result<Stats> {
    let ledger = ctx.ledger;
    let snapshot = ledger.snapshot()?;
    let root = ledger.layout.root();
    let filesystem = ledger.machine.filesystem(root).map_err(|e| Error::io("look at the filesystem of", root, e))?;
    let fences = count(snapshot.all_fences())?;
    let (corrupt, others) = findings_of_reading(&snapshot)?;
    let mut stats = Stats {
        pins: count(snapshot.all_pins())?,
        damaged_blobs: count(snapshot.all_damaged())? + corrupt,
        findings: count(snapshot.all_name_findings())? + fences + others,
        fenced: fences > 0 || !snapshot.damage.is_empty(),
        journal_bytes: ledger.journal.sizes()?.0,
        index_bytes: index_bytes(ledger),
        sessions: running(ledger).len() as u64,
        free_bytes: filesystem.free_bytes,
        filesystem: filesystem.kind,
        ..Stats::default()
    };
    count_names(&snapshot, &mut stats)?;
    count_blobs(ctx, &snapshot, &mut stats)?;
    for row in snapshot.all_carriers() {
        stats.carriers += 1;
        stats.carrier_bytes += row?.1.stamp.size_bytes;
    }
    count_unrooted(ctx, &snapshot, &mut stats)?;
    Ok(stats)
}

/// Gives the path of every blob that a name or pin keeps to `each`, in order of digests (R124).
pub fn referenced_paths(ctx: &Context<'_>, each: &mut dyn FnMut(PathBuf) -> Result<()>) -> Result<()> {
    let snapshot = ctx.ledger.snapshot()?;
    for row in snapshot.blobs(&FIRST) {
        let (digest, _) = row?;
        if snapshot.is_rooted(&digest)? {
            each(ctx.ledger.layout.blob(&digest))?;
        }
    }
    Ok(())
}

/// The files under `sha256/` that no record knows (R122), in order. What running work has published and not recorded yet
/// is among them.
pub fn find_orphans(ctx: &Context<'_>) -> Result<Vec<PathBuf>> {
    let mut orphans = Vec::new();
    for first in 0..=u8::MAX {
        let mut files = ctx.ledger.blobs.list(first)?;
        files.sort();
        // Taken after the listing: what was recorded in between is no orphan.
        let snapshot = ctx.ledger.snapshot()?;
        for (digest, _) in files {
            if snapshot.blob(&digest)?.is_none() {
                orphans.push(ctx.ledger.layout.blob(&digest));
            }
        }
    }
    Ok(orphans)
}

fn alias_info(name: Name, row: &AliasRow) -> AliasInfo {
    AliasInfo {
        name,
        digest: row.digest,
        size_bytes: row.size_bytes,
        kind: if row.hardlinked { AliasKind::Hardlinked } else { AliasKind::Counted },
        mtime_ns: row.mtime_ns,
        executable: row.executable,
        added_ns: row.added.time_ns,
    }
}

fn blob_info(ledger: &Ledger, snapshot: &Snapshot, digest: Digest, row: &BlobRow) -> Result<BlobInfo> {
    let now = match ledger.blobs.meta(&digest) {
        // Something that is no file stands there: then the blob's file does not.
        Err(e) if e.kind() == ErrorKind::Damaged => None,
        other => other?,
    };
    let mut aliases = Vec::new();
    for name in snapshot.names_of(&digest)? {
        if let Some(row) = snapshot.alias(&name)? {
            aliases.push(alias_info(name, &row));
        }
    }
    Ok(BlobInfo {
        digest,
        blake3: row.blake3,
        size_bytes: row.stamp.size_bytes,
        path: ledger.layout.blob(&digest),
        stamp: row.stamp,
        now: now.as_ref().map(blobs::stamp),
        links: now.map_or(0, |meta| meta.links),
        allocated_bytes: now.map_or(0, |meta| meta.allocated_bytes),
        added_ns: row.added.time_ns,
        aliases,
        pin: snapshot.pin(&digest)?.map(|pin| pin.note),
        damaged: snapshot.damaged(&digest)?.is_some(),
        findings: snapshot.findings_of(&digest)?,
        verified_ns: verified_ns(ledger, snapshot, &digest)?,
        entries: entries(snapshot, &digest)?,
        carriers: carriers(ledger, snapshot, &digest)?,
        sources: sources(snapshot, &digest)?,
    })
}

/// When a blob was last read and found right: what is on record, or what a reader has noted since.
fn verified_ns(ledger: &Ledger, snapshot: &Snapshot, digest: &Digest) -> Result<Option<u64>> {
    let noted = ledger.pending_readings().get(&beginning(digest)).copied();
    Ok(snapshot.verified(digest)?.map(|row| row.time_ns).max(noted))
}

/// Findings on record of what was read: blobs whose bytes are others and that are not marked, and all the rest.
fn findings_of_reading(snapshot: &Snapshot) -> Result<(u64, u64)> {
    let (mut corrupt, mut others) = (0, 0);
    for row in snapshot.all_findings() {
        let ((digest, carrier), found) = row?;
        let marked = carrier == 0 && snapshot.damaged(&digest)?.is_some_and(|damaged| damaged.since.sequence != 0);
        match (carrier, found.wrong) {
            _ if marked => {}
            (0, Wrong::Corrupt) => corrupt += 1,
            _ => others += 1,
        }
    }
    Ok((corrupt, others))
}

fn carriers(ledger: &Ledger, snapshot: &Snapshot, digest: &Digest) -> Result<Vec<CarrierInfo>> {
    let info = |(number, row): (u32, CarrierRow)| {
        let now = ledger.carriers.meta(digest, number)?.as_ref().map(blobs::stamp);
        Ok(CarrierInfo { number, path: ledger.carriers.path(digest, number), stamp: row.stamp, now })
    };
    snapshot.carriers(digest)?.into_iter().map(info).collect()
}

fn sources(snapshot: &Snapshot, digest: &Digest) -> Result<Vec<PathBuf>> {
    let files = snapshot.sources(digest)?.map_or(Vec::new(), |row| row.files);
    Ok(files.into_iter().map(|file| PathBuf::from(OsStr::from_bytes(&file.path))).collect())
}

/// The footprint of one blob; none where something that is no file stands in its place.
fn footprint(ledger: &Ledger, snapshot: &Snapshot, digest: &Digest) -> Result<Option<Footprint>> {
    match StagedLinks::read(ledger).footprint(ledger, snapshot, digest) {
        Err(e) if e.kind() == ErrorKind::Damaged => Ok(None),
        other => other,
    }
}

/// The sessions whose process lives, as far as they can be read.
pub(super) fn running(ledger: &Ledger) -> Vec<Found> {
    ledger.sessions.list().unwrap_or_default().into_iter().filter(|session| session.alive).collect()
}

/// Whether a session holds a blob or, where nothing else keeps it, might.
fn holds(session: &Found, digest: &Digest, rooted: bool, condemned: Option<u64>) -> bool {
    match &session.says {
        None => !rooted,
        Some(says) if says.held.contains(digest) => true,
        Some(says) => {
            let saw_it = condemned.is_none_or(|sequence| says.stamp < sequence);
            says.kind == SessionKind::Ingest && !rooted && saw_it
        }
    }
}

fn session_words(session: &Found) -> String {
    let kind = session.says.as_ref().map_or("unreadable", |says| says.kind.word());
    format!("{kind} session {}", session.id)
}

fn not_on_record(digest: &Digest) -> Error {
    Error::new(ErrorKind::Damaged, format!("show {digest}"), "a name means it, but it is not on record")
}

fn count<T>(rows: impl Iterator<Item = Result<T>>) -> Result<u64> {
    let mut count = 0;
    for row in rows {
        row?;
        count += 1;
    }
    Ok(count)
}

/// Bytes of the files in `index/`, which may be gone or replaced at any time.
fn index_bytes(ledger: &Ledger) -> u64 {
    let directory = ledger.layout.index();
    let entries = ledger.machine.list(&directory).unwrap_or_default();
    let size = |name| ledger.machine.lstat(&directory.join(name)).map_or(0, |meta| meta.size_bytes);
    entries.iter().map(|entry| size(&entry.name)).sum()
}

fn count_names(snapshot: &Snapshot, stats: &mut Stats) -> Result<()> {
    for row in snapshot.aliases(&Prefix::Everything) {
        let (_, row) = row?;
        stats.names += 1;
        stats.logical_bytes += row.size_bytes;
    }
    Ok(())
}

fn count_blobs(ctx: &Context<'_>, snapshot: &Snapshot, stats: &mut Stats) -> Result<()> {
    let blobs = snapshot.blobs(&FIRST).map(|row| row.map(|(digest, row)| (digest, row.stamp.size_bytes)));
    in_rounds(
        ctx,
        blobs,
        |(digest, size_bytes)| {
            let meta = ctx.ledger.machine.lstat(&ctx.ledger.layout.blob(&digest));
            Ok((size_bytes, meta.map_or(0, |meta| meta.allocated_bytes)))
        },
        |(size_bytes, allocated_bytes)| {
            stats.blobs += 1;
            stats.blob_bytes += size_bytes;
            stats.allocated_bytes += allocated_bytes;
        },
    )
}

fn count_unrooted(ctx: &Context<'_>, snapshot: &Snapshot, stats: &mut Stats) -> Result<()> {
    let staged = StagedLinks::read(ctx.ledger);
    let unrooted = snapshot.all_unrooted().map(|row| row.map(|(digest, _)| digest));
    in_rounds(
        ctx,
        unrooted,
        |digest| {
            let blob = staged.footprint(ctx.ledger, snapshot, &digest);
            Ok(blob.ok().flatten().map_or(0, |blob| blob.frees_bytes()))
        },
        |frees_bytes| {
            stats.unrooted_blobs += 1;
            stats.reclaimable_bytes += frees_bytes;
        },
    )
}

/// Lets the workers look at many items, a bounded number in memory at a time, and gives what they found to `take`.
fn in_rounds<T: Send, R: Send>(
    ctx: &Context<'_>,
    mut items: impl Iterator<Item = Result<T>>,
    look: impl Fn(T) -> Result<R> + Sync + Send,
    mut take: impl FnMut(R),
) -> Result<()> {
    loop {
        let round = items.by_ref().take(ROUND).collect::<Result<Vec<T>>>()?;
        if round.is_empty() {
            return Ok(());
        }
        for found in ctx.workers.map(round, &look) {
            take(found?);
        }
    }
}

#[cfg(test)]
mod tests;
