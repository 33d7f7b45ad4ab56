//! What reading blobs has shown, put on record: when each was found right, and what is wrong and not mended.
//!
//! Whoever reads holds no lock meanwhile, so what was seen is compared with the newest records, and where they do not
//! explain it with the file, before it becomes one itself. What cannot be put on record is seen again next time.

use std::io;
use std::sync::{Mutex, PoisonError};

use super::Context;
use super::in_step::InStep;
use crate::format::record::scrub::{
    FindingMendedRecord, FindingRecord, FindingRow, VerifiedRecord, VerifiedRow, Wrong,
};
use crate::format::record::{BlobRecord, Record, SinceRecord};
use crate::format::table::{BlobRow, DamagedRow};
use crate::ledger::{Tables, Tx};
use crate::machine::{FileKind, Meta};
use crate::parts::blobs::stamp;
use crate::vocabulary::events::{CarrierSeen, VerifyStatus};
use crate::vocabulary::limits::{FINDINGS_BATCH, SEEN_BATCH};
use crate::vocabulary::{Blake3, Digest, Event, Observer, Result};

/// One blob that was read, and its carriers.
#[derive(Clone, Debug)]
pub(in crate::work) struct Seen {
    pub(in crate::work) digest: Digest,
    pub(in crate::work) status: VerifyStatus,
    pub(in crate::work) detail: String,
    /// The byte ranges that are wrong, where they are known.
    pub(in crate::work) ranges: Vec<(u64, u64)>,
    /// The record that it was compared with; `None` where a name means it and nothing is on record of its bytes.
    pub(in crate::work) row: Option<BlobRow>,
    /// Its file as it was read, if there is one that could be opened.
    pub(in crate::work) file: Option<Meta>,
    /// Whether it was compared with SHA-256.
    pub(in crate::work) sha256: bool,
    /// Only where the record has none.
    pub(in crate::work) blake3: Option<Blake3>,
    /// Wall clock when it had been read, nanoseconds since the epoch.
    pub(in crate::work) time_ns: u64,
    pub(in crate::work) carriers: Vec<CarrierSeen>,
}

impl Seen {
    /// How much is wrong: the blob's own file and carriers, each counted.
    pub(in crate::work) fn findings(&self) -> u64 {
        let bad = self.carriers.iter().filter(|carrier| carrier.status != VerifyStatus::Ok).count() as u64;
        bad + u64::from(self.status != VerifyStatus::Ok)
    }

    /// Puts it on record, as far as it is still so.
    fn record(&self, tx: &mut Tx<'_>, row: Option<BlobRow>, anything_wrong: bool) -> Result<()> {
        let Some(row) = row else { return Ok(()) };
        match wrong(self.status) {
            None => self.right(tx, &row, anything_wrong)?,
            Some(wrong) => self.wrong(tx, &row, wrong)?,
        }
        for carrier in &self.carriers {
            self.carrier(tx, carrier)?;
        }
        Ok(())
    }

    fn right(&self, tx: &mut Tx<'_>, row: &BlobRow, anything_wrong: bool) -> Result<()> {
        let Some(read) = self.file.as_ref().map(stamp) else { return Ok(()) };
        let digest = self.digest;
        let damaged = if anything_wrong { tx.damaged(&digest)? } else { None };
        let found = anything_wrong && tx.finding(&digest, 0)?.is_some();
        if damaged.as_ref().is_some_and(|damaged| damaged.quarantined) {
            // Its names were taken away: that its bytes are back is for a repair to put right.
            return Ok(());
        }
        let as_recorded = row.stamp.agrees(&read);
        let is_still =
            || Ok::<_, crate::Error>(tx.ledger().blobs.meta(&digest)?.is_some_and(|now| stamp(&now).agrees(&read)));
        let troubled = damaged.is_some() || found;
        if (!as_recorded || troubled || self.blake3.is_some()) && !is_still()? {
            return Ok(());
        }
        let same_file = row.stamp.inode == read.inode;
        if damaged.is_some() && !same_file {
            return Ok(());
        }
        let blake3 = self.blake3.filter(|_| !row.is_verified());
        if same_file && (blake3.is_some() || !as_recorded || damaged.is_some_and(is_marked)) {
            again(tx, BlobRecord { digest, blake3: blake3.unwrap_or(row.blake3), stamp: read, added: row.added })?;
        }
        if found {
            mended(tx, &digest, 0)?;
        }
        let before = || Ok::<_, crate::Error>(tx.verified(&digest)?.map_or(0, |before| before.sha256_ns));
        let sha256_ns = if self.sha256 { self.time_ns } else { before()? };
        let row = VerifiedRow { sequence: tx.moment().sequence, time_ns: self.time_ns, sha256_ns };
        tx.push(Record::Verified(VerifiedRecord { digest, row }));
        Ok(())
    }

    fn wrong(&self, tx: &mut Tx<'_>, row: &BlobRow, wrong: Wrong) -> Result<()> {
        if self.row.as_ref() != Some(row) || !self.is_still_wrong(tx, wrong) {
            return Ok(());
        }
        push(tx, &self.digest, 0, wrong, &self.detail, self.ranges.clone(), self.time_ns)
    }

    /// Whether what stands in the blob's place is what was read.
    fn is_still_wrong(&self, tx: &Tx<'_>, wrong: Wrong) -> bool {
        let there = tx.ledger().machine.lstat(&tx.ledger().blobs.path(&self.digest));
        match (wrong, there) {
            (Wrong::Missing, there) => there.is_err_and(|e| e.kind() == io::ErrorKind::NotFound),
            // What could not be read has no description.
            (Wrong::Unreadable, there) => !there.is_err_and(|e| e.kind() == io::ErrorKind::NotFound),
            (Wrong::Corrupt, Err(_)) => false,
            (Wrong::Corrupt, Ok(there)) => self.file.is_some_and(|read| {
                let what = |meta: &Meta| (meta.kind, meta.device, meta.inode, meta.size_bytes, meta.mtime_ns);
                there.kind != FileKind::File || what(&there) == what(&read)
            }),
        }
    }

    fn carrier(&self, tx: &mut Tx<'_>, seen: &CarrierSeen) -> Result<()> {
        let there = tx.carriers(&self.digest)?.iter().any(|(number, _)| *number == seen.number);
        match wrong(seen.status) {
            _ if !there => Ok(()),
            None => mended(tx, &self.digest, seen.number),
            Some(wrong) => push(tx, &self.digest, seen.number, wrong, &seen.detail, Vec::new(), self.time_ns),
        }
    }
}

/// A mark of its own, and not one that stands for a finding.
fn is_marked(damaged: DamagedRow) -> bool {
    damaged.since.sequence != 0
}

fn wrong(status: VerifyStatus) -> Option<Wrong> {
    match status {
        VerifyStatus::Ok => None,
        VerifyStatus::Corrupt => Some(Wrong::Corrupt),
        VerifyStatus::Missing => Some(Wrong::Missing),
        VerifyStatus::Unreadable => Some(Wrong::Unreadable),
    }
}

/// The word for a finding in JSON and on the terminal: that of a blob that is verified.
pub(in crate::work) fn status_of(wrong: Wrong) -> VerifyStatus {
    match wrong {
        Wrong::Corrupt => VerifyStatus::Corrupt,
        Wrong::Missing => VerifyStatus::Missing,
        Wrong::Unreadable => VerifyStatus::Unreadable,
    }
}

fn push(
    tx: &mut Tx<'_>,
    digest: &Digest,
    carrier: u32,
    wrong: Wrong,
    reason: &str,
    ranges: Vec<(u64, u64)>,
    seen_ns: u64,
) -> Result<()> {
    let first_ns = tx.finding(digest, carrier)?.map_or(seen_ns, |known| known.first_ns);
    let (reason, sequence) = (reason.to_owned(), tx.moment().sequence);
    let row = FindingRow { wrong, reason, ranges, first_ns, seen_ns, sequence }.bounded();
    tx.push(Record::Finding(FindingRecord { digest: *digest, carrier, row }));
    Ok(())
}

/// Whatever was found wrong with a blob's file, or a carrier, is over.
pub(in crate::work) fn mended(tx: &mut Tx<'_>, digest: &Digest, carrier: u32) -> Result<()> {
    if tx.finding(digest, carrier)?.is_some() {
        tx.push(Record::FindingMended(FindingMendedRecord { digest: *digest, carrier }));
    }
    Ok(())
}

/// Records a blob once more. Being looked at keeps nothing: it is listed to go as before.
fn again(tx: &mut Tx<'_>, blob: BlobRecord) -> Result<()> {
    let digest = blob.digest;
    let (unrooted, condemned) = (tx.unrooted(&digest)?, tx.condemned(&digest)?);
    tx.push(Record::Blob(blob));
    unrooted.map(|since| Record::Unrooted(SinceRecord { digest, since })).into_iter().for_each(|r| tx.push(r));
    condemned.map(|since| Record::Condemned(SinceRecord { digest, since })).into_iter().for_each(|r| tx.push(r));
    Ok(())
}

/// How many of these go into one frame: a finding takes as much as many blobs that are right.
fn fits(seen: &[Seen]) -> usize {
    let mut room = SEEN_BATCH;
    let fits = seen.iter().take_while(|seen| {
        let takes = if seen.findings() == 0 { 1 } else { SEEN_BATCH / FINDINGS_BATCH * (1 + seen.carriers.len()) };
        let first = room == SEEN_BATCH;
        let does = first || takes <= room;
        room = room.saturating_sub(takes);
        does
    });
    fits.count()
}

/// Collects what was seen, and puts it on record a batch at a time where nobody is kept waiting by that.
pub(in crate::work) struct Recorder<'a> {
    ctx: Context<'a>,
    pending: Mutex<Vec<Seen>>,
}

impl<'a> Recorder<'a> {
    pub(in crate::work) fn new(ctx: &Context<'a>) -> Self {
        Recorder { ctx: *ctx, pending: Mutex::default() }
    }

    pub(in crate::work) fn saw(&self, seen: Seen) {
        if self.ctx.ledger.policy.writable {
            self.pending().push(seen);
        }
    }

    /// Puts a batch on record if there is one and nobody holds `lock`. With several batches waiting, the oldest is let go.
    /// Others may go on seeing meanwhile.
    pub(in crate::work) fn batch(&self) {
        loop {
            let batch = {
                let mut pending = self.pending();
                let most = fits(&pending);
                if most < SEEN_BATCH && most == pending.len() {
                    return;
                }
                pending.drain(..most).collect::<Vec<Seen>>()
            };
            let recorded = self.ctx.ledger.transact_if_free(|tx| record_all(tx, &batch));
            if !matches!(recorded, Ok(Some(()))) {
                let mut pending = self.pending();
                if pending.len() < 2 * SEEN_BATCH {
                    pending.splice(..0, batch);
                    return;
                }
            }
        }
    }

    /// Puts the rest on record, waiting for `lock`. What keeps it from that is told, and is no failure of reading.
    pub(in crate::work) fn finish(self, observer: &dyn Observer) {
        let mut rest = self.pending.into_inner().unwrap_or_else(PoisonError::into_inner);
        while !rest.is_empty() {
            let batch: Vec<Seen> = rest.drain(..fits(&rest)).collect();
            if let Err(error) = self.ctx.ledger.transact(move |tx| record_all(tx, &batch)) {
                let text = format!("What was found is not on record: {}.", super::blob::in_full(&error));
                observer.event(&Event::Notice { text });
                return;
            }
        }
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, Vec<Seen>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts what was seen on record.
pub(in crate::work) fn record_all(tx: &mut Tx<'_>, all: &[Seen]) -> Result<()> {
    // Most stores have nothing wrong, and need not be asked for each blob.
    let mut anything_wrong = tx.anything_wrong()?;
    let mut all: Vec<&Seen> = all.iter().collect();
    all.sort_by_key(|seen| seen.digest);
    let Some(first) = all.first() else { return Ok(()) };
    let rows = {
        let mut in_step = InStep::bounded(tx.blobs(&first.digest), 2 * all.len());
        let rows = all.iter().map(|seen| in_step.at_or(&seen.digest, || tx.blob(&seen.digest)));
        rows.collect::<Result<Vec<_>>>()?
    };
    let mut before = None;
    for (seen, row) in all.into_iter().zip(rows) {
        // What was seen twice may have another record since the first time.
        let row = if before == Some(seen.digest) { tx.blob(&seen.digest)? } else { row };
        anything_wrong |= seen.findings() > 0;
        seen.record(tx, row, anything_wrong)?;
        before = Some(seen.digest);
    }
    Ok(())
}
