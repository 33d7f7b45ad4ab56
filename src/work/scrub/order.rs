//! Which blobs a scrub reads, and in what order: what was seen changed, then what was never read back, then what was read
//! longest ago; of those of one day, what is worth most.
//!
//! The records are read in the order of digests, side by side, as often as it takes to put them in this order a bounded
//! number at a time.

use std::collections::BinaryHeap;

use crate::format::record::scrub::{SuspectRow, VerifiedRow};
use crate::format::table::Table;
use crate::ledger::{Snapshot, Tables};
use crate::vocabulary::limits::SCRUB_ORDERED;
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Digest, Error, ErrorKind, Result};
use crate::work::in_step::InStep;

/// A blob's file changed only as every new link changes it.
pub(in crate::work) const CTIME_ALONE: u8 = 32;
const DAY_NS: u64 = 24 * 3600 * 1_000_000_000;
const FIRST: Digest = Digest::from_bytes([0; 32]);

/// What belongs to a pass, and is not done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Blobs with a row of a later sequence are done.
    pub(super) begun: u64,
    /// Whether only a reading by SHA-256 counts.
    pub(super) sha256: bool,
    /// Blobs that were verified since then are left out, in wall-clock nanoseconds.
    pub(super) since_ns: Option<u64>,
    /// What time it is.
    pub(super) now_ns: u64,
    /// The number of the pass: samples of two passes are two samples.
    pub(super) pass: u64,
    /// Blobs whose hash is above this are left out.
    pub(super) sample_below: u64,
}

/// Where a blob stands in the order, the first the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// 0 seen changed; 1 never read back; 2 its status change time alone was seen changed; 3 the others.
    class: u8,
    /// The day on which it was last read.
    day: u64,
    /// 0 pinned; 1 of an entry; 2 named; 3 kept by nothing.
    worth: u8,
    digest: Digest,
}

/// The blobs of a pass that are not done, in order.
pub(super) struct Order<'a> {
    snapshot: &'a Snapshot,
    wanted: Wanted,
    last: Option<Rank>,
    over: bool,
}

impl<'a> Order<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, wanted: Wanted) -> Self {
        Order { snapshot, wanted, last: None, over: false }
    }

    /// How many there are, and their bytes.
    pub(super) fn count(&self) -> Result<(u64, u64)> {
        let (mut blobs, mut bytes) = (0, 0u64);
        self.each(&mut |_, size| {
            blobs += 1;
            bytes = bytes.saturating_add(size);
        })?;
        Ok((blobs, bytes))
    }

    /// The hash below which, and at which, this many of the blobs are.
    pub(super) fn sample_of(&self, blobs: u64) -> Result<u64> {
        let mut smallest = BinaryHeap::new();
        self.each(&mut |rank, _| {
            smallest.push(sample(self.wanted.pass, &rank.digest));
            if smallest.len() as u64 > blobs {
                smallest.pop();
            }
        })?;
        Ok(smallest.pop().unwrap_or(0))
    }

    /// The next ones, each with its size; none at the end.
    pub(super) fn next(&mut self) -> Result<Vec<(Digest, u64)>> {
        if self.over {
            return Ok(Vec::new());
        }
        let last = self.last;
        let mut first: BinaryHeap<(Rank, u64)> = BinaryHeap::new();
        self.each(&mut |rank, size| {
            if last.is_none_or(|last| rank > last) {
                first.push((rank, size));
                if first.len() > SCRUB_ORDERED {
                    first.pop();
                }
            }
        })?;
        self.over = first.len() < SCRUB_ORDERED;
        let sorted = first.into_sorted_vec();
        self.last = sorted.last().map(|(rank, _)| *rank).or(last);
        Ok(sorted.into_iter().map(|(rank, size)| (rank.digest, size)).collect())
    }

    /// Every blob that is wanted, in the order of digests.
    fn each(&self, take: &mut dyn FnMut(Rank, u64)) -> Result<()> {
        let snapshot = self.snapshot;
        let mut verified = InStep::new(snapshot.by_digest::<VerifiedRow>(Table::Verified, &FIRST));
        let mut suspects = InStep::new(snapshot.by_digest::<SuspectRow>(Table::Suspect, &FIRST));
        let mut findings = InStep::new(own_findings(snapshot));
        let mut pins = marks(snapshot, Table::Pin);
        let mut entries = marks(snapshot, Table::Keeps);
        let mut names = marks(snapshot, Table::Reference);
        for row in snapshot.blobs(&FIRST) {
            let (digest, blob) = row?;
            let (verified, suspect) = (verified.at(&digest)?, suspects.at(&digest)?);
            let found = findings.at(&digest)?;
            let kept = [pins.at(&digest)?, entries.at(&digest)?, names.at(&digest)?];
            let worth = kept.iter().position(Option::is_some).unwrap_or(kept.len()) as u8;
            if let Some((class, day)) = self.class(&digest, verified, suspect, found) {
                take(Rank { class, day, worth, digest }, blob.stamp.size_bytes);
            }
        }
        Ok(())
    }

    /// Class and day of a blob; `None` for one that is not wanted.
    fn class(
        &self,
        digest: &Digest,
        verified: Option<VerifiedRow>,
        suspect: Option<SuspectRow>,
        found: Option<u64>,
    ) -> Option<(u8, u64)> {
        let Wanted { begun, sha256, since_ns, now_ns, pass, sample_below } = self.wanted;
        let counts = verified.filter(|row| !sha256 || row.sha256_ns == row.time_ns);
        let done = counts.is_some_and(|row| row.sequence > begun) || found.is_some_and(|sequence| sequence > begun);
        match suspect {
            // It was seen changed since then.
            Some(row) if row.changed & !CTIME_ALONE != 0 => return Some((0, 0)),
            _ if done => return None,
            _ => {}
        }
        if planted(Bug::ScrubSkips) && begun != 0 && digest.as_bytes()[0] & 7 == 1 {
            return None;
        }
        // By a clock that was wrong: nothing is known.
        let time_ns = verified.map(|row| if sha256 { row.sha256_ns } else { row.time_ns });
        let time_ns = time_ns.filter(|time_ns| *time_ns != 0 && *time_ns <= now_ns);
        let recent = time_ns.zip(since_ns).is_some_and(|(time_ns, since_ns)| time_ns >= since_ns);
        if recent && suspect.is_none() && found.is_none() {
            return None;
        }
        if sample_below != u64::MAX && sample(pass, digest) > sample_below {
            return None;
        }
        Some(match (time_ns, suspect) {
            (None, _) => (1, 0),
            (Some(_), Some(_)) => (2, 0),
            (Some(time_ns), None) => (3, time_ns / DAY_NS),
        })
    }
}

/// A number for each blob that is another one in each pass, and spread evenly.
fn sample(pass: u64, digest: &Digest) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&pass.to_le_bytes());
    hasher.update(digest.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}

/// The digests with which the keys of a table begin.
fn marks(snapshot: &Snapshot, table: Table) -> InStep<'_, ()> {
    InStep::new(Box::new(snapshot.view.prefix(&table.key(&[])).map(move |row| {
        let (key, _) = row?;
        let digest = key.get(1..33).and_then(|bytes| bytes.try_into().ok()).map(Digest::from_bytes);
        let damaged = || Error::new(ErrorKind::Damaged, "read a row of the index", "its key is too short");
        Ok((digest.ok_or_else(damaged)?, ()))
    })))
}

/// The sequence at which each blob's own file was last found wrong.
fn own_findings(snapshot: &Snapshot) -> Box<dyn Iterator<Item = Result<(Digest, u64)>> + '_> {
    Box::new(snapshot.all_findings().filter_map(|row| match row {
        Ok(((digest, 0), row)) => Some(Ok((digest, row.sequence))),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    }))
}
