//! Collecting: condemn, wait, remove.
//!
//! What may go is proposed by the index and proved from the checked frames of the journal, from the base on; if any of
//! them cannot be read, nothing is removed at all. What is condemned waits until every session that might rest on it
//! has ended. It leaves `sha256/` only after the frame that says so is synced.

mod carriers;
mod chosen;
mod findings;
mod roots;
mod trees;

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Context;
use crate::format::checkpoint::Checkpoint;
use crate::format::record::entry::TrashedRecord;
use crate::format::record::{Moment, OrphanRecord, Record, RemovedRecord, SinceRecord};
use crate::format::session::SessionKind;
use crate::ledger::{Entries, Ledger, Snapshot, Tables};
use crate::machine::{Entry, Meta};
use crate::parts::sessions::{Found, Session};
use crate::vocabulary::limits::{JOURNAL_TIME_STEP, MOST_GUARD_BLOBS, REMOVE_BATCH, RESUME_TTL};
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Digest, Error, ErrorKind, Event, Observer, Result};

pub use chosen::collect_these;
use roots::roots_in_frames;

/// How garbage is collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CollectOptions {
    /// How long a blob stays after it lost its last root, in journal time.
    pub grace: Duration,
    /// How long a file under `sha256/` that no record knows stays after it was first seen, in journal time.
    pub orphan_ttl: Duration,
    /// Remove more than half of a store of over 100 blobs.
    pub yes_most: bool,
}

/// One blob that collection would remove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doomed {
    /// The blob.
    pub digest: Digest,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Bytes that removing it really frees: none while a link outside the store is left.
    pub frees_bytes: u64,
    /// Links outside the store.
    pub outside_links: u64,
    /// Why it may go.
    pub rule: Rule,
}

/// Why a blob may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// It lost its last root.
    Unrooted,
    /// A file under `sha256/` that no record knows.
    Orphan,
}

impl Rule {
    /// As it is written in plans and records: `unrooted` or `orphan`.
    pub fn word(self) -> &'static str {
        match self {
            Rule::Unrooted => "unrooted",
            Rule::Orphan => "orphan",
        }
    }
}

/// What one collection would do, and at which state of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectPlan {
    /// The store it was made for (its id in hexadecimal).
    pub store: String,
    /// The journal's sequence when it was made.
    pub sequence: u64,
    /// The grace it was made with, in seconds.
    pub grace_seconds: u64,
    /// What would be removed.
    pub doomed: Vec<Doomed>,
    /// Blobs without a root whose grace is not over.
    pub in_grace: u64,
    /// Blobs in the store.
    pub blobs: u64,
}

/// What was collected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CollectReport {
    /// Blobs removed, each of which was an [`Event::Removed`].
    pub removed_blobs: u64,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Bytes really freed.
    pub freed_bytes: u64,
    /// Blobs that running work holds, and which work.
    pub held: Vec<(Digest, String)>,
    /// Blobs without a root whose grace is not over.
    pub in_grace: u64,
    /// Sessions of dead processes that were emptied.
    pub dead_sessions: u64,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

/// Digests condemned in one transaction.
const CONDEMN_BATCH: usize = 4096;
/// Batches of blobs that are removed before the tail is folded: it is held in memory, and several rows of it for each blob.
const FOLD_BATCHES: usize = 4;
/// How far the clock is ahead of the last frame before a collection writes one for its sake.
const TICK: Duration = Duration::from_secs(3600);

/// What a collection would do now (R125, R127). Changes nothing. Refuses ([`ErrorKind::Refused`]) while the journal is
/// fenced or cannot be read whole.
pub fn plan(ctx: &Context<'_>, options: &CollectOptions) -> Result<CollectPlan> {
    let snapshot = ctx.ledger.snapshot()?;
    refuse_if_fenced(snapshot.as_ref())?;
    // Whether a session lives is asked under `lock` alone: a probe might come between its making and its lock.
    let sessions = ctx.ledger.hold(|_| ctx.ledger.sessions.list());
    let own = own_inodes(ctx.ledger, &sessions.unwrap_or_default());
    let mut doomed = Vec::new();
    let in_grace = unrooted(ctx.ledger, &snapshot, options, &mut doomed)?;
    for (digest, inode) in unrecorded(ctx, &snapshot)? {
        let row = snapshot.orphan(&digest)?;
        let is_own = own.contains(&inode) || row.is_some_and(|row| row.own);
        let old = row.is_some_and(|row| elapsed(ctx.ledger, &snapshot, &row.since) >= nanos(options.orphan_ttl));
        if is_own || old {
            doomed.extend(doom(ctx.ledger, digest, Rule::Orphan)?);
        }
    }
    keep_rooted(ctx.ledger, &mut doomed)?;
    Ok(CollectPlan {
        store: store_id(ctx.ledger),
        sequence: snapshot.cursor.sequence,
        grace_seconds: options.grace.as_secs(),
        doomed,
        in_grace,
        blobs: count_blobs(snapshot.as_ref())?,
    })
}

/// Collects (R85): what `plan` says, or what a plan made now says. A plan that the store has outgrown is refused, and so is the
/// removal of more than half of a store of over 100 blobs, unless `options.yes_most`.
pub fn collect(
    ctx: &Context<'_>,
    given: Option<&CollectPlan>,
    options: &CollectOptions,
    observer: &dyn Observer,
) -> Result<CollectReport> {
    refuse_if_fenced(ctx.ledger.snapshot()?.as_ref())?;
    let mut report = CollectReport { dead_sessions: bury_the_dead(ctx)?, ..CollectReport::default() };
    let fresh = plan(ctx, options)?;
    let plan = match given {
        Some(given) => checked(ctx, given, &fresh)?,
        None => &fresh,
    };
    refuse_most(plan, &fresh, options)?;
    // Every frame was read by now: what no record knows, none knew.
    carriers::remove_unrecorded(ctx.ledger)?;
    trees::sweep(ctx)?;
    report.in_grace = fresh.in_grace;
    carry_out(ctx, &plan.doomed, options.grace, &mut report, observer)?;
    ctx.ledger.refill_reserve();
    ctx.ledger.compact_if_due();
    ctx.ledger.clear_unfinished_if_any();
    Ok(report)
}

/// Condemns and removes, as far as nothing keeps them by then and their grace is over still.
fn carry_out(
    ctx: &Context<'_>,
    doomed: &[Doomed],
    grace: Duration,
    report: &mut CollectReport,
    observer: &dyn Observer,
) -> Result<()> {
    observer.expect(doomed.len() as u64, doomed.iter().map(|d| d.size_bytes).sum());
    condemn(ctx.ledger, doomed, nanos(grace))?;
    let session = session(ctx.ledger)?;
    let session = session.as_ref();
    let mut out = Out::default();
    for (number, batch) in doomed.chunks(REMOVE_BATCH).enumerate() {
        if observer.cancelled() {
            report.interrupted = true;
            break;
        }
        // What is out of the way is unlinked while the next are brought there.
        let before = std::mem::take(&mut out);
        let (unlinked, taken) =
            ctx.workers.both(|| unlink(ctx, session, before), || take_out(ctx.ledger, session, batch));
        unlinked?.tell(report, observer);
        out = taken?;
        report.held.append(&mut out.held);
        if (number + 1) % FOLD_BATCHES == 0 {
            ctx.ledger.fold_if_due();
        }
        observer.progress(batch.len() as u64, batch.iter().map(|d| d.size_bytes).sum());
    }
    unlink(ctx, session, out)?.tell(report, observer);
    ctx.ledger.fold_if_due();
    ctx.tell_fold_trouble(observer);
    Ok(())
}

/// Blobs that are on record no more.
#[derive(Default)]
struct Out {
    /// Where their files are by now, to be unlinked.
    paths: Vec<PathBuf>,
    gone: Vec<Gone>,
    /// What was left, and why.
    held: Vec<(Digest, String)>,
}

struct Gone {
    digest: Digest,
    size_bytes: u64,
    freed_bytes: u64,
    /// Its carriers.
    numbers: Vec<u32>,
}

impl Out {
    fn tell(self, report: &mut CollectReport, observer: &dyn Observer) {
        for Gone { digest, size_bytes, freed_bytes, .. } in self.gone {
            observer.event(&Event::Removed { digest, size_bytes, freed_bytes });
            report.removed_blobs += 1;
            report.removed_bytes += size_bytes;
            report.freed_bytes += freed_bytes;
        }
    }
}

/// Unlinks what was brought out of the way.
fn unlink(ctx: &Context<'_>, session: Option<&Session>, mut out: Out) -> Result<Out> {
    let unlink = |path: PathBuf| {
        let entry = session.map_or(Entry::from(&path), |session| session.entry(&path));
        ctx.ledger.machine.unlink_in(entry).map_err(|e| Error::io("remove", &path, e))
    };
    let paths = std::mem::take(&mut out.paths);
    ctx.workers.map(paths, unlink).into_iter().collect::<Result<()>>()?;
    Ok(out)
}

/// The session in whose folder files are put out of the way; none where not even one more inode is to be had, which no
/// reserve helps against: deleting works there, too.
fn session(ledger: &Ledger) -> Result<Option<Session>> {
    ledger.hold(|hold| {
        let sequence = hold.snapshot.cursor.sequence;
        match hold.with_room(|| ledger.sessions.open(SessionKind::Collect, sequence, Vec::new())) {
            Err(e) if e.kind() == ErrorKind::NoSpace => Ok(None),
            opened => opened.map(Some),
        }
    })
}

fn refuse_if_fenced(snapshot: &Snapshot) -> Result<()> {
    refuse_fences(snapshot)?;
    match snapshot.damage.first() {
        None => Ok(()),
        Some(damage) => Err(damaged(&damage.reason)),
    }
}

/// Asked anew under every hold of `lock` that condemns or removes: whoever holds it has put up a fence for all damage.
fn refuse_fences(tables: &impl Tables) -> Result<()> {
    match tables.all_fences().next().transpose()? {
        _ if planted(Bug::FenceIgnored) => Ok(()),
        None => Ok(()),
        Some((_, fence)) => Err(damaged(&fence.reason)),
    }
}

fn damaged(reason: &str) -> Error {
    refused(format!("the journal is damaged, and a root may be hidden there: {reason}"))
}

fn refused(reason: String) -> Error {
    Error::new(ErrorKind::Refused, "collect", reason)
}

fn store_id(ledger: &Ledger) -> String {
    ledger.policy.store.iter().map(|b| format!("{b:02x}")).collect()
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Journal time since `since`: the wall clock may have moved at most one step beyond the last frame.
fn elapsed(ledger: &Ledger, snapshot: &Snapshot, since: &Moment) -> u64 {
    let last = snapshot.cursor.time_ns;
    let now = ledger.machine.now_ns().clamp(last, last.saturating_add(nanos(JOURNAL_TIME_STEP)));
    now.saturating_sub(since.time_ns)
}

fn count_blobs(snapshot: &Snapshot) -> Result<u64> {
    let mut count = 0;
    for blob in snapshot.blobs(&Digest::from_bytes([0; 32])) {
        blob?;
        count += 1;
    }
    Ok(count)
}

/// Blobs without a root whose grace is over; how many are still in it.
fn unrooted(ledger: &Ledger, snapshot: &Snapshot, options: &CollectOptions, doomed: &mut Vec<Doomed>) -> Result<u64> {
    let mut in_grace = 0;
    for row in snapshot.all_unrooted() {
        let (digest, since) = row?;
        if snapshot.is_rooted(&digest)? {
            continue;
        }
        if elapsed(ledger, snapshot, &since) < nanos(options.grace) {
            in_grace += 1;
        } else {
            if let Some(mut unrooted) = doom(ledger, digest, Rule::Unrooted)? {
                unrooted.frees_bytes += carriers::frees_bytes(ledger, snapshot, &digest)?;
                doomed.push(unrooted);
            }
        }
    }
    Ok(in_grace)
}

/// Leaves out what the frames show a root for.
fn keep_rooted(ledger: &Ledger, doomed: &mut Vec<Doomed>) -> Result<()> {
    let digests: Vec<Digest> = doomed.iter().map(|doomed| doomed.digest).collect();
    let rooted = roots_in_frames(ledger, &digests)?;
    doomed.retain(|doomed| !rooted.contains(&doomed.digest));
    Ok(())
}

/// `None` where something else stands in the blob's place: that is not larder's to remove.
fn doom(ledger: &Ledger, digest: Digest, rule: Rule) -> Result<Option<Doomed>> {
    let Some(meta) = of_blob(ledger.blobs.meta(&digest))? else { return Ok(None) };
    Ok(Some(Doomed {
        digest,
        size_bytes: meta.map_or(0, |m| m.size_bytes),
        frees_bytes: meta.map_or(0, |m| frees(&m)),
        outside_links: meta.map_or(0, |m| m.links.saturating_sub(1)),
        rule,
    }))
}

fn of_blob(meta: Result<Option<Meta>>) -> Result<Option<Option<Meta>>> {
    match meta {
        Err(e) if e.kind() == ErrorKind::Damaged => Ok(None),
        other => other.map(Some),
    }
}

/// Removing the last name frees the blocks; any other frees nothing.
fn frees(meta: &Meta) -> u64 {
    if meta.links <= 1 { meta.allocated_bytes } else { 0 }
}

/// The files under `sha256/` that no record knows, each with its inode (R122).
pub fn unrecorded(ctx: &Context<'_>, snapshot: &Snapshot) -> Result<Vec<(Digest, u64)>> {
    let find = |first: u8| -> Result<Vec<(Digest, u64)>> {
        let mut found = Vec::new();
        for (digest, inode) in ctx.ledger.blobs.list(first)? {
            if snapshot.blob(&digest)?.is_none() {
                found.push((digest, inode));
            }
        }
        Ok(found)
    };
    let found = ctx.workers.map((0..=255).collect(), find).into_iter().collect::<Result<Vec<_>>>()?;
    Ok(found.into_iter().flatten().collect())
}

/// Inodes that dead sessions have staged: whatever has one of them under `sha256/` was their own.
fn own_inodes(ledger: &Ledger, sessions: &[Found]) -> BTreeSet<u64> {
    let dead = sessions.iter().filter(|session| !session.alive);
    dead.flat_map(|session| ledger.sessions.staged_inodes(&session.id).unwrap_or_default()).collect()
}

/// Puts every unrecorded file on record, with whether it was a dead session's own, and only then empties the dead
/// sessions, whose staging shows it.
fn bury_the_dead(ctx: &Context<'_>) -> Result<u64> {
    bury(ctx, refuse_fences)
}

/// As [`bury_the_dead`], for a repair, which has put the records right by then and takes the fence away at its end.
pub(super) fn bury_behind_the_fence(ctx: &Context<'_>) -> Result<u64> {
    bury(ctx, |_| Ok(()))
}

fn bury(ctx: &Context<'_>, check: impl Fn(&Snapshot) -> Result<()>) -> Result<u64> {
    let ledger = ctx.ledger;
    // Only who was dead before the files were listed has published nothing since: of anybody else the listing may not have
    // what the staging shows.
    let dead = ledger.hold(|_| ledger.sessions.list())?.into_iter().filter(|session| !session.alive);
    let dead: HashSet<String> = dead.map(|session| session.id).collect();
    let candidates = unrecorded(ctx, ledger.snapshot()?.as_ref())?;
    ledger.hold(|hold| {
        check(&hold.snapshot)?;
        let seen = |session: &Found| dead.contains(&session.id) || planted(Bug::BuriedUnseen);
        let still = |session: &Found| !session.alive && seen(session);
        let dead: Vec<Found> = ledger.sessions.list()?.into_iter().filter(still).collect();
        let own = own_inodes(ledger, &dead);
        let since = hold.moment()?;
        let mut records = Vec::new();
        for (digest, inode) in &candidates {
            let there = ledger.blobs.meta(digest)?.is_some_and(|meta| meta.inode == *inode);
            let own = own.contains(inode);
            let known = hold.snapshot.orphan(digest)?;
            if there && hold.snapshot.blob(digest)?.is_none() && known.is_none_or(|row| own && !row.own) {
                let since = known.map_or(since, |row| row.since);
                records.push(Record::Orphan(OrphanRecord { digest: *digest, own, since }));
            }
        }
        findings::forget_what_is_over(ledger, &hold.snapshot, &mut records)?;
        if records.is_empty() {
            records.extend(tick(&hold.snapshot, &since)?);
        }
        for batch in records.chunks(CONDEMN_BATCH) {
            hold.commit(batch)?;
        }
        let keep = |says: &Checkpoint| {
            let since = Moment { sequence: 0, time_ns: says.time_ns };
            elapsed(ledger, &hold.snapshot, &since) < nanos(RESUME_TTL)
        };
        let mut buried = 0;
        for session in &dead {
            buried += u64::from(ledger.sessions.bury(&session.id, &keep)?);
        }
        Ok(buried)
    })
}

/// Journal time is that of the last frame, and in a store that nobody writes to it would stand still: while something
/// waits for its time, a collection says again what is on record of it.
fn tick(snapshot: &Snapshot, now: &Moment) -> Result<Option<Record>> {
    if now.time_ns.saturating_sub(snapshot.cursor.time_ns) < nanos(TICK) {
        return Ok(None);
    }
    if let Some((digest, since)) = snapshot.all_unrooted().next().transpose()? {
        return Ok(Some(Record::Unrooted(SinceRecord { digest, since })));
    }
    if let Some((entry, row)) = snapshot.all_trashed().next().transpose()? {
        return Ok(Some(Record::Trashed(TrashedRecord { entry, rule: row.rule, since: row.since })));
    }
    let orphan = snapshot.all_orphans().next().transpose()?;
    Ok(orphan.map(|(digest, row)| Record::Orphan(OrphanRecord { digest, own: row.own, since: row.since })))
}

/// A printed plan is executed exactly, or not at all.
fn checked<'a>(ctx: &Context<'_>, given: &'a CollectPlan, fresh: &CollectPlan) -> Result<&'a CollectPlan> {
    if given.store != store_id(ctx.ledger) {
        return Err(refused("the plan was made for another store".to_owned()));
    }
    let now: HashSet<Digest> = fresh.doomed.iter().map(|doomed| doomed.digest).collect();
    match given.doomed.iter().find(|doomed| !now.contains(&doomed.digest)) {
        None => Ok(given),
        Some(doomed) => Err(refused(format!(
            "the store has outgrown the plan: {} may not go any more; make a new one",
            doomed.digest
        ))),
    }
}

/// What a printed plan says of itself does not count: only what was found now does.
fn refuse_most(plan: &CollectPlan, fresh: &CollectPlan, options: &CollectOptions) -> Result<()> {
    let chosen: HashSet<Digest> = plan.doomed.iter().map(|doomed| doomed.digest).collect();
    let goes = |doomed: &&Doomed| doomed.rule == Rule::Unrooted && chosen.contains(&doomed.digest);
    let (going, blobs) = (fresh.doomed.iter().filter(goes).count() as u64, fresh.blobs);
    if options.yes_most || blobs <= MOST_GUARD_BLOBS || going * 2 <= blobs {
        return Ok(());
    }
    Err(refused(format!("it would remove {going} of {blobs} blobs, more than half of the store")))
}

/// Takes down in the journal what is to go. What gained a root meanwhile is left alone, and so is what has lost it again
/// since: its grace has begun anew.
fn condemn(ledger: &Ledger, doomed: &[Doomed], grace: u64) -> Result<()> {
    for batch in doomed.chunks(CONDEMN_BATCH) {
        let digests: Vec<Digest> = batch.iter().map(|doomed| doomed.digest).collect();
        ledger.transact(move |tx| {
            refuse_fences(tx)?;
            for digest in digests {
                let over = |since: Moment| tx.moment().time_ns.saturating_sub(since.time_ns) >= grace;
                let going = match tx.unrooted(&digest)? {
                    Some(since) => over(since) || planted(Bug::GraceNotAskedAgain),
                    None => tx.orphan(&digest)?.is_some() && tx.blob(&digest)?.is_none(),
                };
                if going && !tx.is_rooted(&digest)? && tx.condemned(&digest)?.is_none() {
                    let since = tx.moment();
                    tx.push(Record::Condemned(SinceRecord { digest, since }));
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Removes what is still condemned and what no running work might rest on: a frame, synced, then the files out of the
/// way under the same hold of `lock`; they are unlinked outside of it. Without a session they are unlinked where they are.
fn take_out(ledger: &Ledger, session: Option<&Session>, batch: &[Doomed]) -> Result<Out> {
    let mut out = Out::default();
    ledger.hold(|hold| {
        refuse_fences(&hold.snapshot)?;
        let sessions = ledger.sessions.list()?;
        let when = hold.moment()?;
        let mut records = Vec::new();
        for doomed in batch {
            let digest = doomed.digest;
            let condemned = match hold.snapshot.condemned(&digest)? {
                Some(condemned) => condemned,
                None if planted(Bug::RootsOutsideLock) => when,
                None => continue,
            };
            if hold.snapshot.is_rooted(&digest)? && !planted(Bug::RootsOutsideLock) {
                continue;
            }
            if let Some(holder) = holder(&sessions, &digest, condemned.sequence) {
                out.held.push((digest, holder));
                continue;
            }
            let Some(meta) = of_blob(ledger.blobs.meta(&digest))? else { continue };
            let size_bytes = match hold.snapshot.blob(&digest)? {
                Some(row) => row.stamp.size_bytes,
                None => doomed.size_bytes,
            };
            let rule = format!("gc: {}", doomed.rule.word());
            let numbers = carriers::unrecord(&hold.snapshot, &digest, &mut records)?;
            records.push(Record::Removed(RemovedRecord { digest, size_bytes, rule, when }));
            out.gone.push(Gone { digest, size_bytes, freed_bytes: meta.map_or(0, |meta| frees(&meta)), numbers });
        }
        trees::remove(ledger, out.gone.iter().map(|gone| (&gone.digest, gone.size_bytes)));
        hold.commit(&records)?;
        for Gone { digest, freed_bytes, numbers, .. } in &mut out.gone {
            *freed_bytes += carriers::take_out(ledger, session, digest, numbers, &mut out.paths)?;
            match session.map(|session| (session, session.next_path())) {
                Some((session, aside)) if ledger.blobs.take_out(digest, session.entry(&aside))? => {
                    out.paths.push(aside)
                }
                Some(_) => {}
                None => _ = ledger.blobs.remove(digest)?,
            }
        }
        Ok(())
    })?;
    Ok(out)
}

/// The running work that holds a condemned blob, or might rest on it: an ingest whose look-ups are older than the
/// condemnation, or a session that lists it or cannot be read.
pub(super) fn holder(sessions: &[Found], digest: &Digest, condemned: u64) -> Option<String> {
    let live = sessions.iter().filter(|session| session.alive);
    let mut holding = live.filter_map(|session| match &session.says {
        None => Some(format!("session {} (unreadable)", session.id)),
        Some(says) if says.kind == SessionKind::Ingest && says.stamp < condemned && !planted(Bug::OlderSessions) => {
            Some(format!("{} session {}", says.kind.word(), session.id))
        }
        Some(says) if says.held.contains(digest) && !planted(Bug::ListedBlobs) => {
            Some(format!("{} session {}", says.kind.word(), session.id))
        }
        Some(_) => None,
    });
    holding.next()
}
