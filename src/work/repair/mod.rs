//! Repairing: good bytes in the place of bad or missing ones, from the best source that larder knows.
//!
//! Blobs are examined as `verify` does it. For what is wrong, candidates are tried in order (`candidates`, `offered`):
//! each is copied into the session's staging and hashed there, and only a staged copy with the right digest is used
//! (`stage`), or one that is put together from right parts of several (`assemble`). Healing then goes in the order of every heal: a frame names both inodes, and whoever holds `lock` carries
//! it out (`restore`).

mod assemble;
mod candidates;
mod carriers;
mod offered;
mod restore;
mod select;
mod stage;

use std::path::PathBuf;
use std::sync::Arc;

use self::candidates::candidates;
use self::offered::{Offered, Wanted};
use self::restore::{Ending, Mending};
use self::select::{Broken, Picked, Picker};
use self::stage::{Attempt, Bench};
use super::Context;
use super::carrier::open_session;
use super::links::StagedLinks;
use super::names::Target;
use super::seen::mended;
use super::spill::spill;
use super::trees;
use super::verify::examine::{Examiner, Reading};
use crate::ledger::{Snapshot, Tables};
use crate::machine::Meta;
use crate::parts::sessions::Session;
use crate::vocabulary::events::{Origin, Repair, RepairStatus, VerifyStatus};
use crate::vocabulary::limits::REPAIR_BATCH;
use crate::vocabulary::{Event, Observer, Prefix, Result};

/// Blobs that are examined before what was found wrong among them is mended: bounds memory, and how often a directory
/// that was offered is walked.
const PASS: usize = 65_536;
/// How often a blob is looked at again that others change meanwhile.
const ROUNDS: u32 = 3;

/// Which blobs are repaired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepairScope {
    /// Those that are marked damaged, of which `verify` or `scrub` put a finding on record, whose file is missing, or whose
    /// file is not the one on record any more. Bytes of no other blob are read.
    Known,
    /// Every blob: all are read.
    All,
    /// What is named: it is read, whatever is known of it.
    Named {
        /// Blobs, by name or digest.
        targets: Vec<Target>,
        /// Names with everything below them.
        prefixes: Vec<Prefix>,
    },
}

/// How blobs are repaired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairOptions {
    /// Where good bytes may be, beside what larder knows itself: files, directories, other stores.
    pub from: Vec<PathBuf>,
    /// Look, hash and tell, and change nothing.
    pub dry_run: bool,
}

/// What was repaired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Blobs whose bytes were read and found right.
    pub sound: u64,
    /// Blobs that were wrong and now are right; with a dry run, that would be.
    pub repaired: u64,
    /// Bytes of those.
    pub repaired_bytes: u64,
    /// Carriers that were wrong and now are right; with a dry run, that would be.
    pub carriers: u64,
    /// Blobs and carriers that are wrong still.
    pub unrepaired: u64,
    /// Links to bad files that larder does not know: they keep the bad bytes.
    pub outside_links: u64,
    /// Whether it was stopped before its end; what was told is done.
    pub interrupted: bool,
}

/// Repairs what `scope` says. Tells one [`Event::Repaired`] for each blob that is or was wrong, and for each that was
/// named; the rest goes on whatever is found.
///
/// Good bytes are looked for, in this order: in a carrier; under the store's own names, where one is another file than
/// the bad one; in the files that the blob was added from; in what [`RepairOptions::from`] offers, a directory that is a
/// store being asked by digest, any other being walked for files of the right size. A candidate is copied and hashed
/// before it counts for anything. A large blob with a tree is put together from parts: what is right of the bad file, also
/// of one in quarantine, and of candidates only what is wrong there, each group held against the tree; the whole is hashed
/// all the same. The bad file goes to quarantine with the reason. A corrupt blob without any good copy
/// goes there too, so that nobody gets its bytes; its names stay on record. Carriers that are wrong are made anew from
/// the blob's own file, once that is good. What the disk could not read is replaced by
/// a good copy, and otherwise left alone; what this user may not read is left alone.
///
/// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) for a name or digest that is not in the store, or a path that is
/// not there.
pub fn repair(
    ctx: &Context<'_>,
    scope: &RepairScope,
    options: &RepairOptions,
    observer: &dyn Observer,
) -> Result<RepairReport> {
    let snapshot = ctx.ledger.snapshot()?;
    let mut repairing = Repairing {
        ctx,
        snapshot: Arc::clone(&snapshot),
        offered: Offered::new(ctx.ledger, &options.from)?,
        dry_run: options.dry_run,
        tell_sound: matches!(scope, RepairScope::Named { .. }),
        session: None,
        observer,
        report: RepairReport::default(),
    };
    let mut picker = Picker::new(ctx, &snapshot, scope, observer)?;
    loop {
        let (broken, ended) = repairing.examine(&mut picker)?;
        repairing.mend_all(broken)?;
        if ended || repairing.report.interrupted {
            break;
        }
    }
    if !repairing.report.interrupted {
        repairing.mend_carriers(scope)?;
    }
    if !options.dry_run && !repairing.report.interrupted {
        spill(ctx.ledger, &|_| true)?;
    }
    if !options.dry_run {
        ctx.ledger.compact_if_due();
    }
    Ok(repairing.report)
}

/// A repair under way.
struct Repairing<'a> {
    ctx: &'a Context<'a>,
    snapshot: Arc<Snapshot>,
    offered: Offered<'a>,
    dry_run: bool,
    /// Whether blobs that are sound are told one by one.
    tell_sound: bool,
    session: Option<Arc<Session>>,
    observer: &'a dyn Observer,
    report: RepairReport,
}

impl Repairing<'_> {
    fn examiner<'a>(&'a self, snapshot: &'a Snapshot) -> Examiner<'a> {
        let quarantine = !self.dry_run && self.ctx.ledger.policy.writable;
        Examiner { ctx: *self.ctx, snapshot, quarantine, reading: Reading::default(), observer: self.observer }
    }

    /// The next blobs that are wrong; whether there are no more behind them.
    fn examine(&mut self, picker: &mut Picker<'_>) -> Result<(Vec<Broken>, bool)> {
        let mut broken = Vec::new();
        while broken.len() < PASS {
            let batch = picker.next()?;
            if batch.is_empty() {
                return Ok((broken, true));
            }
            let snapshot = Arc::clone(&self.snapshot);
            let examiner = self.examiner(&snapshot);
            let found = self.ctx.workers.map(batch, |(digest, size)| select::examine(&examiner, digest, size));
            for picked in found {
                self.sort_out(picked?, &mut broken)?;
            }
            if self.report.interrupted {
                return Ok((broken, true));
            }
        }
        Ok((broken, false))
    }

    fn sort_out(&mut self, picked: Picked, broken: &mut Vec<Broken>) -> Result<()> {
        match picked {
            Picked::Gone => {}
            Picked::Stopped => self.report.interrupted = true,
            Picked::Broken(found) => broken.push(*found),
            Picked::Sound(found) => {
                self.put_right(&found)?;
                self.clear(&found)?;
                self.sound(&found)?;
            }
        }
        Ok(())
    }

    /// A blob whose bytes are right, and whose record says otherwise.
    fn put_right(&mut self, found: &Broken) -> Result<()> {
        if self.dry_run || !found.is_misrecorded() {
            return Ok(());
        }
        restore::confirm(self.ctx.ledger, found)
    }

    /// A finding about a blob whose bytes are right is over.
    fn clear(&self, found: &Broken) -> Result<()> {
        let digest = found.digest;
        if self.dry_run
            || !self.ctx.ledger.policy.writable
            || self.ctx.ledger.snapshot()?.finding(&digest, 0)?.is_none()
        {
            return Ok(());
        }
        self.ctx.ledger.transact(move |tx| mended(tx, &digest, 0))
    }

    fn sound(&mut self, found: &Broken) -> Result<()> {
        self.report.sound += 1;
        if self.tell_sound || found.marked.is_some() {
            let told = self.repair_of(found, RepairStatus::Sound)?;
            self.tell(told);
        }
        Ok(())
    }

    fn mend_all(&mut self, broken: Vec<Broken>) -> Result<()> {
        let by_parts = |broken: &Broken| {
            broken.row.as_ref().is_some_and(|row| trees::believed(self.ctx.ledger, &broken.digest, row).is_some())
        };
        let wanted: Vec<Wanted> = broken
            .iter()
            .map(|b| Wanted { digest: b.digest, size_bytes: b.size_bytes, by_parts: by_parts(b) })
            .collect();
        self.offered.look_for(&wanted, self.ctx.workers, self.observer)?;
        let mut rest = broken.into_iter().peekable();
        while rest.peek().is_some() && !self.report.interrupted {
            let mut batch: Vec<Broken> = rest.by_ref().take(REPAIR_BATCH).collect();
            for round in 1..=ROUNDS {
                batch = self.mend(batch, round == ROUNDS)?;
                if batch.is_empty() || self.report.interrupted {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Mends some blobs with one frame; gives back those that others changed meanwhile and that are still wrong.
    fn mend(&mut self, batch: Vec<Broken>, last_try: bool) -> Result<Vec<Broken>> {
        let links = StagedLinks::read(self.ctx.ledger);
        let attempts = self.attempts(&batch)?;
        let (mut mendings, mut hopeless) = (Vec::new(), Vec::new());
        for (broken, attempt) in batch.into_iter().zip(attempts) {
            let mut told = self.repair_of(&broken, RepairStatus::Unrepaired)?;
            self.count_outside(&mut told, &broken, &links);
            told.tried = attempt.tried;
            match (attempt.good, attempt.stopped) {
                (_, true) => self.report.interrupted = true,
                // Good bytes may be there: what is bad stays where it is until there is room.
                (None, _) if attempt.no_room => self.unrepaired(told),
                (None, _) => hopeless.push((broken, told)),
                (Some(good), _) => {
                    told.from = Some((good.origin, good.from.clone()));
                    told.taken.clone_from(&good.taken);
                    mendings.push(Mending { broken, good, told });
                }
            }
        }
        for (broken, told) in hopeless {
            self.give_up(&broken, told)?;
        }
        if self.dry_run {
            mendings.into_iter().for_each(|mending| self.mended(mending, RepairStatus::WouldRepair));
            return Ok(Vec::new());
        }
        self.put_in_place(mendings, last_try)
    }

    /// Looks for good bytes for each of them, and stages what it finds.
    fn attempts(&mut self, batch: &[Broken]) -> Result<Vec<Attempt>> {
        let session = if self.dry_run || batch.is_empty() { None } else { Some(self.session()?) };
        let bench = Bench { ledger: self.ctx.ledger, session: session.as_deref(), observer: self.observer };
        let (offered, snapshot, ledger) = (&self.offered, self.snapshot.as_ref(), self.ctx.ledger);
        let attempts = self.ctx.workers.map(batch.iter().collect(), |broken: &Broken| {
            let candidates = candidates(ledger, snapshot, broken)?;
            bench.attempt(
                broken,
                candidates.into_iter().chain(offered.candidates(&broken.digest, broken.size_bytes)).collect(),
            )
        });
        attempts.into_iter().collect()
    }

    fn session(&mut self) -> Result<Arc<Session>> {
        if let Some(session) = &self.session {
            return Ok(Arc::clone(session));
        }
        let session = open_session(self.ctx.ledger)?;
        self.session = Some(Arc::clone(&session));
        Ok(session)
    }

    fn put_in_place(&mut self, mendings: Vec<Mending>, last_try: bool) -> Result<Vec<Broken>> {
        let Some(session) = self.session.clone().filter(|_| !mendings.is_empty()) else { return Ok(Vec::new()) };
        let endings = restore::put_in_place(self.ctx.ledger, &session, &mendings)?;
        let mut again = Vec::new();
        for (mending, ending) in mendings.into_iter().zip(endings) {
            mending.good.unstage(self.ctx.ledger);
            match ending {
                Ending::Done => {
                    let tree = mending.good.tree.as_ref();
                    tree.iter().for_each(|tree| trees::put(self.ctx.ledger, &mending.broken.digest, tree));
                    self.mended(mending, RepairStatus::Repaired);
                }
                Ending::Changed if last_try => {
                    let mut told = mending.told;
                    told.found.push_str("; it was changed by others each time it was looked at");
                    self.unrepaired(told);
                }
                Ending::Changed => self.look_again(&mending.broken, &mut again)?,
            }
        }
        Ok(again)
    }

    fn look_again(&mut self, broken: &Broken, again: &mut Vec<Broken>) -> Result<()> {
        self.snapshot = self.ctx.ledger.snapshot()?;
        let snapshot = Arc::clone(&self.snapshot);
        let picked = select::examine(&self.examiner(&snapshot), broken.digest, broken.size_bytes)?;
        self.sort_out(picked, again)
    }

    fn mended(&mut self, mending: Mending, status: RepairStatus) {
        let mut told = mending.told;
        told.status = status;
        told.evidence = candidates::evidence(self.ctx.ledger, &told.digest);
        self.report.repaired += 1;
        self.report.repaired_bytes += told.size_bytes;
        self.report.outside_links += told.outside_links;
        self.tell(told);
    }

    /// Nothing good is to be had: bytes that are wrong are moved away, so that nobody takes them for right.
    fn give_up(&mut self, broken: &Broken, mut told: Repair) -> Result<()> {
        let snapshot = Arc::clone(&self.snapshot);
        let mut look = broken.look.clone();
        let moved = self.examiner(&snapshot).quarantine_if_asked(&broken.digest, broken.row.as_ref(), &mut look);
        told.found = look.detail;
        if moved {
            told.evidence = candidates::evidence(self.ctx.ledger, &told.digest);
        }
        self.unrepaired(told);
        Ok(())
    }

    fn unrepaired(&mut self, told: Repair) {
        self.report.unrepaired += 1;
        self.report.outside_links += told.outside_links;
        self.tell(told);
    }

    fn tell(&self, told: Repair) {
        self.observer.event(&Event::Repaired(Box::new(told)));
    }

    fn repair_of(&self, broken: &Broken, status: RepairStatus) -> Result<Repair> {
        Ok(Repair {
            digest: broken.digest,
            carrier: None,
            names: self.snapshot.names_of(&broken.digest)?,
            size_bytes: broken.size_bytes,
            status,
            found: broken.words(),
            damage: broken.look.damage.clone(),
            from: None,
            taken: Vec::new(),
            tried: Vec::new(),
            outside_links: 0,
            outside: Vec::new(),
            evidence: candidates::evidence(self.ctx.ledger, &broken.digest),
        })
    }

    /// Whose links the bad file has beside the store's own: of one that is in quarantine already, all others.
    fn count_outside(&self, told: &mut Repair, broken: &Broken, links: &StagedLinks) {
        let ledger = self.ctx.ledger;
        let bad: Vec<Meta> = match broken.look.file {
            Some(file) => vec![file],
            None => told.evidence.iter().filter_map(|path| ledger.machine.lstat(path).ok()).collect(),
        };
        told.outside_links = match broken.look.file {
            Some(_) => {
                let footprint = links.footprint(ledger, self.snapshot.as_ref(), &broken.digest);
                footprint.ok().flatten().map_or(0, |footprint| footprint.outside_links)
            }
            None => bad.iter().map(|meta| meta.links.saturating_sub(1)).sum(),
        };
        told.outside = candidates::sources_on(ledger, self.snapshot.as_ref(), &broken.digest, &bad);
    }
}

/// Whether a blob that looks like this is worth a good copy.
fn is_mendable(broken: &Broken) -> bool {
    match broken.look.status {
        VerifyStatus::Corrupt | VerifyStatus::Missing => true,
        VerifyStatus::Unreadable => broken.look.by_disk,
        VerifyStatus::Ok => broken.is_unrecorded(),
    }
}

/// A file that may have good bytes.
struct Candidate {
    origin: Origin,
    path: PathBuf,
    /// Whether nothing speaks for it but that it was offered and may have the right length.
    guessed: bool,
}
