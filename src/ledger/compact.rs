//! Compaction: a new base that stands for all frames up to a sequence, written from checked frames.
//!
//! The sequence is fixed and a new segment begun there in one hold of `lock`. The base is then written from base and
//! frames, never from the index, and gets its name when it is whole. The generation before stays until the next time.

use std::sync::Arc;

use super::fold::all_rows;
use super::{Ledger, Tables};
use crate::format::record::copies::{
    CarrierRecord, CarrierRow, SourceStampRecord, SourceStampRow, SourcesRecord, SourcesRow,
};
use crate::format::record::entry::{EntryRecord, TrashRow, TrashedRecord, UsedRecord, VariantRecord};
use crate::format::record::scrub::{FindingRecord, SuspectRecord, VerifiedRecord};
use crate::format::record::{
    self, BlobRecord, DamagedRecord, DepartedRecord, EndRecord, FenceRecord, Moment, NameFindingRecord, OrphanRecord,
    PayloadWriter, PinRecord, Record, RemovedRecord, SinceRecord,
};
use crate::format::table::{
    self, AliasRow, BlobRow, DamagedRow, DepartedRow, FenceRow, GoneRow, NameFindingRow, OrphanRow, PinRow, Table,
};
use crate::ledger::hold::nanos;
use crate::parts::index::{Index, Run, Source};
use crate::parts::journal::chain::Damage;
use crate::parts::journal::write::BaseWriter;
use crate::parts::journal::{Cursor, Journal};
use crate::vocabulary::limits::{COMPACT_MIN_BYTES, GONE_KEPT};
use crate::vocabulary::{Digest, EntryId, Error, ErrorKind, Name, Result};

/// Records in one frame of a base: large enough to be quick, small enough to be read in one piece.
const RECORDS_PER_FRAME: usize = 4096;

/// What a compaction came to.
#[derive(Clone, Copy, Debug)]
pub struct Compacted {
    /// Bytes that the journal needed before.
    pub bytes_before: u64,
    /// And after, without the generation before.
    pub bytes_after: u64,
    /// Live records in the base.
    pub records: u64,
}

impl Ledger {
    /// Compacts when the frames have outgrown the base several times. Failing is no harm.
    pub fn compact_if_due(&self) {
        let due = self.journal.sizes().is_ok_and(|(all, current)| {
            let base = self.journal.base_bytes().unwrap_or(0);
            current >= COMPACT_MIN_BYTES && current.saturating_sub(base) > base.saturating_mul(2) && all > 0
        });
        if due && let Ok(Some(_compaction)) = self.compaction(false) {
            let _ = self.compact_locked();
        }
    }

    /// Writes a new base and an index to go with it. Where nothing is new since the last base, that one stays.
    pub fn compact(&self) -> Result<Compacted> {
        let compaction = self.compaction(true)?;
        let done = self.compact_locked()?;
        drop(compaction);
        Ok(done)
    }

    fn compact_locked(&self) -> Result<Compacted> {
        let (_, bytes_before) = self.journal.sizes()?;
        let base = self.journal.base_through(self.snapshot()?.cursor.sequence)?;
        let fixed = self.hold(|hold| {
            hold.refuse_if_fenced()?;
            hold.sync_at_any_durability()?;
            let end = hold.snapshot.cursor;
            if base.is_some_and(|base| (base.through, base.through_hash) == (end.sequence, end.hash)) {
                return Ok(None);
            }
            // A segment that is still empty follows the same frame already.
            if end.last.is_some() {
                hold.begin_segment(end, &[])?;
            }
            hold.sync_at_any_durability()?;
            Ok(Some((end, hold.snapshot.cursor)))
        })?;
        let (records, written) = match (fixed, base) {
            (None, Some(base)) => {
                self.fold_locked()?;
                (base.records, None)
            }
            (Some((end, begun)), _) => {
                self.write_generation(&end, begun).map(|(records, name)| (records, Some(name)))?
            }
            (None, None) => unreachable!("nothing is new only where there is a base"),
        };
        self.hold(|_| {
            self.journal.remove_unfinished()?;
            self.journal.drop_old_generations(written.as_deref())
        })?;
        let (_, bytes_after) = self.journal.sizes()?;
        Ok(Compacted { bytes_before, bytes_after, records })
    }

    /// Writes a base that reaches `end`, and an index that goes on where `begun` is; how many live records there are, and
    /// the name of the base.
    fn write_generation(&self, end: &Cursor, begun: Cursor) -> Result<(u64, String)> {
        let (_, mut made) = self.runs_from_journal(end)?;
        self.follow_closely()?;
        self.hold(|hold| hold.refuse_if_fenced())?;
        let written = self.write_base(end, made.runs())?;
        let reach = Cursor { synced_through: end.sequence.max(end.synced_through), ..begun };
        let reach = self.catch_up(&mut made, reach)?;
        let now = Index::open(self.machine.as_ref(), &self.layout.index()).unwrap_or_default();
        let now = now.map(|(_, current)| current).filter(|c| c.store == self.policy.store);
        self.install(now.as_ref(), made, &reach)?;
        Ok(written)
    }

    pub(super) fn write_base(&self, end: &Cursor, runs: &[Arc<Run>]) -> Result<(u64, String)> {
        let mut base = Base::begin(&self.journal, end)?;
        base.all_rows(runs)?;
        base.finish(end)
    }

    /// Puts damage that was found while reading everything on record: from then on nothing is collected.
    pub(super) fn fence(&self, damage: Vec<Damage>) -> Result<()> {
        self.hold(|hold| hold.fence(damage))
    }
}

impl super::hold::Hold<'_> {
    /// While a stretch of the journal is damaged, its segments are kept.
    fn refuse_if_fenced(&self) -> Result<()> {
        match self.snapshot.all_fences().next().transpose()? {
            None => Ok(()),
            Some((from, fence)) => Err(Error::new(
                ErrorKind::Refused,
                "compact the journal",
                format!("it is damaged from sequence {from} to {}: {}", fence.to, fence.reason),
            )),
        }
    }
}

/// A base that is being written.
pub(super) struct Base {
    writer: BaseWriter,
    payload: PayloadWriter,
    records: u64,
    time_ns: u64,
}

impl Base {
    pub(super) fn begin(journal: &Journal, end: &Cursor) -> Result<Self> {
        let writer = journal.begin_base(end)?;
        Ok(Base { writer, payload: PayloadWriter::default(), records: 0, time_ns: end.time_ns })
    }

    /// What is gone comes first: it takes away whatever else was known of a digest.
    pub(super) fn all_rows(&mut self, runs: &[Arc<Run>]) -> Result<()> {
        self.rows(runs, &|table| table == Table::Gone as u8)?;
        self.rows(runs, &|table| table != Table::Gone as u8)
    }

    fn rows(&mut self, runs: &[Arc<Run>], wanted: &dyn Fn(u8) -> bool) -> Result<()> {
        let mut rows = all_rows(runs)?;
        while let Some(key) = rows.key() {
            if wanted(key[0])
                && let Some(value) = rows.value()
                && let Some(record) = live_record(key, value, self.time_ns)?
            {
                self.push(&record)?;
            }
            rows.advance()?;
        }
        Ok(())
    }

    pub(super) fn push(&mut self, record: &Record) -> Result<()> {
        if self.payload.len() >= RECORDS_PER_FRAME || !self.payload.push(record) {
            self.flush()?;
            assert!(self.payload.push(record), "an empty payload takes any record");
        }
        self.records += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.payload.is_empty() {
            return Ok(());
        }
        let payload = std::mem::take(&mut self.payload).finish();
        self.writer.frame(payload, self.time_ns)
    }

    pub(super) fn finish(mut self, end: &Cursor) -> Result<(u64, String)> {
        self.flush()?;
        let closing = Record::End(EndRecord {
            through: end.sequence,
            through_hash: end.hash,
            synced_through: end.synced_through.max(end.sequence),
            time_ns: end.time_ns,
            records: self.records,
        });
        self.writer.frame(record::encode(&[closing]), self.time_ns)?;
        Ok((self.records, self.writer.finish()?))
    }
}

/// The record that a row stands for; `None` for what other records bring with them, or what is no longer remembered.
pub(super) fn live_record(key: &[u8], value: &[u8], now_ns: u64) -> Result<Option<Record>> {
    let [table, rest @ ..] = key else { return Err(undecodable()) };
    Ok(Some(match *table {
        t if t == Table::Blob as u8 => {
            let row: BlobRow = read(value)?;
            Record::Blob(BlobRecord { digest: digest(rest)?, blake3: row.blake3, stamp: row.stamp, added: row.added })
        }
        t if t == Table::Alias as u8 => Record::Alias(read::<AliasRow>(value)?.record(Name::new(rest)?, None)),
        t if t == Table::Pin as u8 => {
            let row: PinRow = read(value)?;
            Record::Pin(PinRecord { digest: digest(rest)?, note: row.note, since: row.since })
        }
        t if t == Table::Unrooted as u8 => Record::Unrooted(since(rest, value)?),
        t if t == Table::Condemned as u8 => Record::Condemned(since(rest, value)?),
        t if t == Table::Orphan as u8 => {
            let row: OrphanRow = read(value)?;
            Record::Orphan(OrphanRecord { digest: digest(rest)?, own: row.own, since: row.since })
        }
        t if t == Table::Gone as u8 => {
            let row: GoneRow = read(value)?;
            if is_forgotten(row.when, now_ns) {
                return Ok(None);
            }
            let (digest, size_bytes) = (digest(rest)?, row.size_bytes);
            Record::Removed(RemovedRecord { digest, size_bytes, rule: row.rule, when: row.when })
        }
        t if t == Table::Damaged as u8 => {
            let DamagedRow { inode, reason, quarantined, since } = read(value)?;
            Record::Damaged(DamagedRecord { digest: digest(rest)?, inode, reason, quarantined, since })
        }
        t if t == Table::Departed as u8 => {
            let DepartedRow { rule, when } = read(value)?;
            if is_forgotten(when, now_ns) {
                return Ok(None);
            }
            let (of, name) = rest.split_at_checked(32).ok_or_else(undecodable)?;
            Record::Departed(DepartedRecord { name: Name::new(name)?, digest: digest(of)?, rule, when })
        }
        t if t == Table::NameFinding as u8 => {
            let NameFindingRow { reason, since } = read(value)?;
            let name = Name::new(rest)?;
            Record::NameFinding(NameFindingRecord { name, reason, since })
        }
        t if t == Table::Fence as u8 => {
            let FenceRow { to, reason, since } = read(value)?;
            let from = rest.try_into().map(u64::from_be_bytes).map_err(|_| undecodable())?;
            Record::Fence(FenceRecord { from, to, reason, since })
        }
        t if t == Table::Sources as u8 => {
            let SourcesRow { files, since } = read(value)?;
            Record::Sources(SourcesRecord { digest: digest(rest)?, files, since })
        }
        t if t == Table::Carrier as u8 => {
            let CarrierRow { stamp, since } = read(value)?;
            let (blob, number) = rest.split_at_checked(32).ok_or_else(undecodable)?;
            let number = number.try_into().map(u32::from_be_bytes).map_err(|_| undecodable())?;
            Record::Carrier(CarrierRecord { digest: digest(blob)?, number, stamp, since })
        }
        t if t == Table::Entry as u8 => {
            Record::Entry(Box::new(EntryRecord { card: read(value)?, dropped: Vec::new() }))
        }
        t if t == Table::Variant as u8 => {
            let (entry, variant) = (entry_id(rest.get(..16).ok_or_else(undecodable)?)?, read(value)?);
            Record::Variant(Box::new(VariantRecord { entry, variant, was: None }))
        }
        t if t == Table::Use as u8 => Record::Used(UsedRecord { entry: entry_id(rest)?, usage: read(value)? }),
        t if t == Table::Trash as u8 => {
            let TrashRow { rule, since } = read(value)?;
            Record::Trashed(TrashedRecord { entry: entry_id(rest)?, rule, since })
        }
        t if t == Table::Verified as u8 => {
            Record::Verified(VerifiedRecord { digest: digest(rest)?, row: read(value)? })
        }
        t if t == Table::Finding as u8 => {
            let (blob, carrier) = rest.split_at_checked(32).ok_or_else(undecodable)?;
            let carrier = carrier.try_into().map(u32::from_be_bytes).map_err(|_| undecodable())?;
            Record::Finding(FindingRecord { digest: digest(blob)?, carrier, row: read(value)? })
        }
        t if t == Table::Suspect as u8 => Record::Suspect(SuspectRecord { digest: digest(rest)?, row: read(value)? }),
        t if t == Table::Scrub as u8 && rest == [table::SCRUB_PASS] => Record::Pass(read(value)?),
        t if t == Table::Scrub as u8 && rest == [table::SCRUB_WISH] => Record::Wish(read(value)?),
        t if t == Table::SourceStamp as u8 => {
            let SourceStampRow { digest, source } = read(value)?;
            Record::SourceStamp(SourceStampRecord { name: Name::new(rest)?, digest, source })
        }
        _ => return Ok(None),
    }))
}

fn entry_id(bytes: &[u8]) -> Result<EntryId> {
    bytes.try_into().map(EntryId::from_bytes).map_err(|_| undecodable())
}

/// Whether it is too long ago that something went for anybody to ask.
fn is_forgotten(when: Moment, now_ns: u64) -> bool {
    now_ns.saturating_sub(when.time_ns) > nanos(GONE_KEPT)
}

fn since(rest: &[u8], value: &[u8]) -> Result<SinceRecord> {
    let since: Moment = read(value)?;
    Ok(SinceRecord { digest: digest(rest)?, since })
}

fn digest(rest: &[u8]) -> Result<Digest> {
    rest.try_into().map(Digest::from_bytes).map_err(|_| undecodable())
}

fn read<T: serde::de::DeserializeOwned>(value: &[u8]) -> Result<T> {
    table::decode(value).map_err(|_| undecodable())
}

fn undecodable() -> Error {
    Error::new(ErrorKind::Damaged, "write a base", "a row made from checked frames cannot be decoded")
}
