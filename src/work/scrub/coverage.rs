//! How much of the store was read and found right lately.

use std::time::Duration;

use crate::format::uses::beginning;
use crate::ledger::{Snapshot, Tables};
use crate::vocabulary::{Digest, Result};
use crate::work::Context;

/// What is known of when blobs were last read and found right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// The age in question; `None`: any.
    pub within: Option<Duration>,
    /// Blobs that were found right within it.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// All blobs.
    pub all_blobs: u64,
    /// Their bytes.
    pub all_bytes: u64,
    /// Blobs that were never read back, as far as is on record.
    pub never: u64,
    /// When the one was read that was read longest ago, of those that were; wall clock, nanoseconds since the epoch.
    pub oldest_ns: Option<u64>,
}

const FIRST: Digest = Digest::from_bytes([0; 32]);

/// Counts. What readers noted and nobody has put on record yet counts, too.
pub fn coverage(ctx: &Context<'_>, snapshot: &Snapshot, within: Option<Duration>) -> Result<Coverage> {
    let noted = ctx.ledger.pending_readings();
    let now_ns = ctx.ledger.machine.now_ns();
    let age_ns = within.map(|age| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX));
    let since_ns = age_ns.map_or(0, |age| now_ns.saturating_sub(age));
    let mut coverage = Coverage { within, ..Coverage::default() };
    for row in snapshot.blobs(&FIRST) {
        let (digest, blob) = row?;
        coverage.all_blobs += 1;
        coverage.all_bytes = coverage.all_bytes.saturating_add(blob.stamp.size_bytes);
        let recorded = snapshot.verified(&digest)?.map(|row| row.time_ns);
        let noted = if noted.is_empty() { None } else { noted.get(&beginning(&digest)).copied() };
        match recorded.max(noted).filter(|time_ns| *time_ns <= now_ns) {
            None => coverage.never += 1,
            Some(time_ns) => {
                coverage.oldest_ns = Some(coverage.oldest_ns.map_or(time_ns, |oldest| oldest.min(time_ns)));
                if time_ns >= since_ns {
                    coverage.blobs += 1;
                    coverage.bytes = coverage.bytes.saturating_add(blob.stamp.size_bytes);
                }
            }
        }
    }
    Ok(coverage)
}
