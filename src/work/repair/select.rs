//! Which blobs are looked at, and what is wrong with them.

use super::RepairScope;
use crate::format::table::{BlobRow, DamagedRow};
use crate::ledger::{Snapshot, Tables};
use crate::parts::blobs::stamp;
use crate::vocabulary::events::VerifyStatus;
use crate::vocabulary::{Digest, Observer, Prefix, Result};
use crate::work::Context;
use crate::work::blob::Meter;
use crate::work::verify::examine::{Examiner, Look, Settled};
use crate::work::verify::select::{Batch, Selection};

/// A blob that was looked at.
#[derive(Clone)]
pub(super) struct Broken {
    pub(super) digest: Digest,
    pub(super) size_bytes: u64,
    /// Its record; `None` where a name means it and nothing is on record of its bytes.
    pub(super) row: Option<BlobRow>,
    /// The mark that it is damaged, if it has one.
    pub(super) marked: Option<DamagedRow>,
    pub(super) look: Look,
}

/// What looking at a blob has led to.
pub(super) enum Picked {
    /// Its bytes are right.
    Sound(Box<Broken>),
    /// They are wrong, missing or unreadable.
    Broken(Box<Broken>),
    /// It was collected meanwhile.
    Gone,
    /// The observer asked to stop.
    Stopped,
}

/// Picks the blobs, in the order of their digests.
pub(super) struct Picker<'a> {
    ctx: &'a Context<'a>,
    snapshot: &'a Snapshot,
    selection: Selection<'a>,
    observer: &'a dyn Observer,
    known_only: bool,
    last: Option<Digest>,
}

const EVERYTHING: [Prefix; 0] = [];

impl<'a> Picker<'a> {
    pub(super) fn new(
        ctx: &'a Context<'a>,
        snapshot: &'a Snapshot,
        scope: &'a RepairScope,
        observer: &'a dyn Observer,
    ) -> Result<Self> {
        let selection = match scope {
            RepairScope::Known | RepairScope::All => Selection::new(snapshot, &[], &EVERYTHING)?,
            RepairScope::Named { targets, prefixes } => Selection::new(snapshot, targets, prefixes)?,
        };
        let known_only = *scope == RepairScope::Known;
        if !known_only {
            selection.announce_all(observer)?;
        }
        Ok(Picker { ctx, snapshot, selection, observer, known_only, last: None })
    }

    /// The next blobs to be examined, each with its size; none at the end.
    pub(super) fn next(&mut self) -> Result<Batch> {
        loop {
            let batch = self.selection.after(self.last.as_ref())?;
            let Some((digest, _)) = batch.last() else { return Ok(batch) };
            self.last = Some(*digest);
            if !self.known_only {
                self.selection.announce(&batch, self.observer);
                return Ok(batch);
            }
            let suspects = self.suspects(batch)?;
            if !suspects.is_empty() {
                let bytes = suspects.iter().fold(0, |sum, (_, size)| u64::saturating_add(sum, *size));
                self.observer.expect(suspects.len() as u64, bytes);
                return Ok(suspects);
            }
        }
    }

    /// Those that are marked or of which a finding is on record, and those whose file is not what is on record.
    fn suspects(&self, batch: Batch) -> Result<Batch> {
        let looked = self.ctx.workers.map(batch, |(digest, size)| {
            let (row, marked) = (self.snapshot.blob(&digest)?, self.snapshot.damaged(&digest)?);
            let path = self.ctx.ledger.blobs.path(&digest);
            let now = self.ctx.ledger.machine.lstat(&path).ok().as_ref().map(stamp);
            let as_recorded = row.is_some_and(|row| now.is_some_and(|now| row.stamp.agrees(&now)));
            let found = marked.is_some() || self.snapshot.finding(&digest, 0)?.is_some();
            Ok((found || !as_recorded).then_some((digest, size)))
        });
        looked.into_iter().filter_map(Result::transpose).collect()
    }
}

/// Looks at one blob.
pub(super) fn examine(examiner: &Examiner<'_>, digest: Digest, size_bytes: u64) -> Result<Picked> {
    let meter = Meter::new(examiner.observer, size_bytes);
    let settled = examiner.look_until_settled(&digest, &meter)?;
    let (row, look) = match settled {
        Settled::Looked(row, mut look) => {
            let path = examiner.ctx.ledger.blobs.path(&digest);
            examiner.locate_damage(&digest, row.as_ref(), &path, &mut look);
            (row, *look)
        }
        Settled::Gone => return Ok(Picked::Gone),
        Settled::Stopped => return Ok(Picked::Stopped),
    };
    meter.finish();
    let marked = examiner.snapshot.damaged(&digest)?;
    let found = Box::new(Broken { digest, size_bytes, row, marked, look });
    let sound = found.look.status == VerifyStatus::Ok && !found.is_unrecorded();
    Ok(if sound { Picked::Sound(found) } else { Picked::Broken(found) })
}

impl Broken {
    /// Whether its bytes are right, and nothing is on record of them: who put them there may never have synced them.
    pub(super) fn is_unrecorded(&self) -> bool {
        self.row.is_none() && self.look.status == VerifyStatus::Ok
    }

    /// Whether its bytes are right and its record says otherwise.
    pub(super) fn is_misrecorded(&self) -> bool {
        let now = self.look.file.as_ref().map(stamp);
        let agrees = self.row.as_ref().is_some_and(|row| now.is_some_and(|now| row.stamp.agrees(&now)));
        self.row.is_some() && self.look.status == VerifyStatus::Ok && (self.marked.is_some() || !agrees)
    }

    /// What is wrong with it, for people.
    pub(super) fn words(&self) -> String {
        match (&self.marked, self.look.status) {
            (Some(marked), VerifyStatus::Ok) => {
                format!("it was marked damaged ({}), and its bytes are right", marked.reason)
            }
            _ if self.is_unrecorded() => "there is no record of its bytes".to_owned(),
            _ => self.look.detail.clone(),
        }
    }
}
