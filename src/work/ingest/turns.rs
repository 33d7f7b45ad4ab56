//! Batches in turns: one is filled while the one before it is synced, published, recorded and acknowledged.
//!
//! So a batch rests on the records as they were before the one before it was committed. The session says so: it is
//! stamped with what the younger batch rests on, and nothing that was on record then is removed. What the older one has
//! staged is no reason to stage it again: it is on record by the time that the younger one is committed, and what is not
//! is staged then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::batch::{self, Committed, Outcome, Rules, Stamps};
use super::settle::Vouched;
use super::stage::{Any, Staged, Stager};
use super::walk::{Item, Walk};
use super::{Adding, AliasKind, TakeIn, with_room};
use crate::format::settings::Durability;
use crate::machine::File;
use crate::vocabulary::events::AddStatus;
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Digest, Error, ErrorKind, Event, Result};
use crate::work::spill::spill;

/// How often a batch is staged again because stored copies that it rested on went away.
const BATCH_TRIES: usize = 8;

/// Files that were staged once more, and the witness of their own batch.
type Restaged = (Vec<Staged>, Option<Box<dyn File>>);

/// Sources that are synced, published and recorded as one.
pub(super) struct Batch<'a> {
    /// What they are staged with.
    pub stager: Stager<'a>,
    /// Its `syncfs` vouches for them: opened before their first byte.
    witness: Option<Box<dyn File>>,
    pub began_ns: u64,
    pub staged: Vec<Staged>,
    pub bytes: u64,
}

impl Batch<'_> {
    pub(super) fn put(&mut self, staged: Staged) {
        self.bytes += staged.digests.size_bytes;
        self.staged.push(staged);
    }
}

impl<'a> Adding<'a> {
    /// Begins a batch. It looks things up in the records as they are now. `after`: the full one that is committed
    /// meanwhile; `always`: it stages even what is known.
    pub(super) fn batch(&self, after: Option<&Batch<'_>>, always: bool) -> Result<Batch<'a>> {
        let ledger = self.ledger();
        let witness = batch::witness(ledger)?;
        let mut claims = super::claims::Claims::default();
        for staged in after.map_or(&[][..], |after| &after.staged) {
            if let Some((_, stamp)) = &staged.file {
                claims.claim(&staged.digests.digest, stamp.mode);
            }
        }
        let snapshot = ledger.snapshot()?;
        let stager = Stager {
            ledger,
            session: Arc::clone(&self.session),
            any: Any::of(&*snapshot)?,
            snapshot,
            options: self.options,
            observer: self.observer,
            claims: claims.into(),
            always,
            jobs: self.ctx.workers.count(),
            copying: Default::default(),
            several_names: Default::default(),
            grove: Arc::clone(&self.grove),
        };
        let began_ns = ledger.machine.monotonic_ns();
        Ok(Batch { stager, witness, began_ns, staged: Vec::new(), bytes: 0 })
    }

    /// Takes everything that a walk finds; `more` begins it with the next path, and says whether there was one.
    pub(super) fn take(&self, mut walk: Walk<'a>, more: &mut (dyn FnMut(&mut Walk<'a>) -> bool + Send)) -> Result<()> {
        // What is taken in by link shares inodes and modes between batches: there, one follows the other.
        let overlap = self.ctx.workers.overlap() && self.options.take_in == TakeIn::Copy;
        let mut full: Option<Batch<'a>> = None;
        let mut goes_on = true;
        while goes_on {
            if let Some(full) = full.take_if(|_| !overlap) {
                self.flush(full, None)?;
            }
            let mut next = match self.batch(full.as_ref(), false) {
                Ok(next) => next,
                Err(e) => {
                    full.map_or(Ok(()), |full| self.flush(full, None))?;
                    return Err(e);
                }
            };
            let rests_on = next.stager.snapshot.cursor.sequence;
            let (committed, filled) = match full.take() {
                None => (Ok(()), self.fill(&mut walk, more, &mut next)),
                Some(full) => {
                    let commit = || self.flush(full, Some(rests_on));
                    self.ctx.workers.both(commit, || self.fill(&mut walk, more, &mut next))
                }
            };
            if let Err(e) = committed {
                self.abandon(next.staged, &e);
                return Err(e);
            }
            goes_on = match filled {
                Ok(goes_on) => goes_on,
                Err(e) => return Err(self.lose(next.staged, e)),
            };
            full = Some(next);
        }
        full.map_or(Ok(()), |full| self.flush(full, None))?;
        let mut tally = self.tally();
        tally.report.skipped += walk.skipped;
        tally.report.failed += walk.failed;
        Ok(())
    }

    /// Commits a batch; what rested on a stored copy that went away is staged and committed again. `rests_on`: the
    /// sequence of the records that a younger batch rests on.
    pub(super) fn flush(&self, batch: Batch<'a>, rests_on: Option<u64>) -> Result<()> {
        let Batch { stager, mut witness, mut staged, .. } = batch;
        let seen = stager.snapshot.cursor.sequence;
        for _ in 0..BATCH_TRIES {
            if staged.is_empty() {
                break;
            }
            let committed = match self.commit(&staged, witness.as_deref(), seen, rests_on) {
                Ok(committed) => committed,
                Err(e) => return Err(self.lose(staged, e)),
            };
            let digests: BTreeSet<Digest> = staged.iter().map(|staged| staged.digests.digest).collect();
            let again = self.acknowledge(staged, committed);
            (staged, witness) = self.restage(again)?;
            self.spill(&digests);
        }
        let busy = Error::new(ErrorKind::Busy, "add it", "its stored copy went away each time it was looked at");
        for staged in staged {
            self.failed(&staged.item.path, &busy);
        }
        Ok(())
    }

    /// Names that found no room for one more link get one. What is kept is kept without it: trouble is only told.
    fn spill(&self, digests: &BTreeSet<Digest>) {
        if let Err(e) = spill(self.ledger(), &|digest| digests.contains(digest)) {
            let text = format!("Some names could not be applied, and are counted meanwhile: {}", e.in_one_line());
            self.observer.event(&Event::Notice { text });
        }
    }

    fn commit(
        &self,
        batch: &[Staged],
        witness: Option<&dyn File>,
        seen: u64,
        rests_on: Option<u64>,
    ) -> Result<Committed> {
        if planted(Bug::MoveTooEarly) {
            batch.iter().for_each(|staged| _ = self.take_name(staged));
        }
        if self.ledger().policy.durability == Durability::Batch {
            batch::sync_staged(self.ledger(), self.ctx.workers, witness, batch)?;
        }
        let hardlinked = self.options.alias.map_or(self.ctx.hardlinked, |kind| kind == AliasKind::Hardlinked);
        let (replace, sources_stay) = (self.options.replace, self.options.take_in != TakeIn::Move);
        let stamps = match self.options.take_in {
            TakeIn::Copy if self.options.trust_stamps => Stamps::All,
            TakeIn::Copy => Stamps::OfNewNames,
            TakeIn::Link | TakeIn::Move => Stamps::None,
        };
        let rules = Rules { replace, hardlinked, sources_stay, stamps, seen, rests_on };
        batch::commit(self.ledger(), &self.session, batch, rules, self.keeping.clone())
    }

    /// Nothing of the batch is kept: every source of it failed, and what went wrong is the error of it all.
    fn lose(&self, batch: Vec<Staged>, error: Error) -> Error {
        let error = with_room(self.ledger(), error);
        if error.kind() == ErrorKind::OutcomeUnknown {
            self.session.keep();
        }
        for staged in batch {
            if error.kind() != ErrorKind::OutcomeUnknown {
                self.give_back(&staged);
                self.unstage(&staged);
            }
            self.failed(&staged.item.path, &error);
        }
        error
    }

    /// What was staged behind a batch that could not be committed is not kept either.
    fn abandon(&self, batch: Vec<Staged>, why: &Error) {
        let why = why.duplicate().as_kind(ErrorKind::NotKept);
        for staged in batch {
            self.unstage(&staged);
            self.failed(&staged.item.path, &why);
        }
    }

    /// Tells what is kept, lets go of what was staged for it, and says what is to be tried again.
    fn acknowledge(&self, batch: Vec<Staged>, committed: Committed) -> Vec<Item> {
        for text in committed.notices {
            self.observer.event(&Event::Notice { text });
        }
        let mut again = Vec::new();
        let mut vouched = Vouched::by(&batch);
        let mut settled = BTreeMap::new();
        for (staged, outcome) in batch.into_iter().zip(committed.outcomes) {
            match outcome {
                Outcome::Added(status) if self.may_be_traded(&staged, &mut vouched) => {
                    settled.insert(staged.digests.digest, true);
                    self.added(&staged, status);
                }
                Outcome::Refused(reason) => {
                    self.tally().report.failed += 1;
                    self.observer.event(&Event::Failed { path: staged.item.path.clone(), reason });
                }
                Outcome::Added(_) | Outcome::Again => again.push(staged.item.clone()),
            }
            settled.entry(staged.digests.digest).or_insert(false);
            self.give_back(&staged);
            self.unstage(&staged);
        }
        self.grove.settle(self.ledger(), settled.into_iter());
        again
    }

    fn restage(&self, items: Vec<Item>) -> Result<Restaged> {
        if items.is_empty() {
            return Ok((Vec::new(), None));
        }
        let mut batch = self.batch(None, true)?;
        for item in items {
            let staged = batch.stager.stage(&item);
            match staged.and_then(|staged| batch::sync_if_each(self.ledger(), staged)) {
                Ok(again) => batch.put(again),
                Err(e) => self.failed(&item.path, &e),
            }
        }
        Ok((batch.staged, batch.witness))
    }

    fn added(&self, staged: &Staged, status: AddStatus) {
        let size_bytes = staged.digests.size_bytes;
        let note = self.take_name(staged);
        let mut tally = self.tally();
        let report = &mut tally.report;
        let (files, bytes) = match status {
            AddStatus::New => (&mut report.new_files, &mut report.new_bytes),
            AddStatus::Dedup => (&mut report.dedup_files, &mut report.dedup_bytes),
            AddStatus::Unchanged => (&mut report.unchanged_files, &mut report.unchanged_bytes),
            AddStatus::Healed => (&mut report.healed_files, &mut report.healed_bytes),
        };
        *files += 1;
        *bytes += size_bytes;
        report.trusted_files += u64::from(staged.trusted);
        drop(tally);
        self.observer.progress(1, 0);
        self.observer.event(&Event::Added {
            name: staged.item.name.clone(),
            digest: staged.digests.digest,
            size_bytes,
            status,
            note,
        });
    }

    fn unstage(&self, staged: &Staged) {
        if let Some((path, _)) = &staged.file
            && self.session.unsave(path).is_ok()
        {
            let _ = self.ledger().machine.unlink_in(self.session.entry(path));
        }
    }
}
