//! Verifying: named things against their digests, now.
//!
//! Every blob is read whole, whatever its stamp says; nothing recorded is trusted but its digest. What is found is an
//! event with the digest and all names, and never stops the rest. Bytes that are wrong and bytes that could not be read
//! are kept apart: only the first are corruption, and only they are moved away, when asked for. Where the store can be
//! written to, what was found is on record until it is mended (`seen.rs`).

mod batch;
mod damage;
pub(in crate::work) mod examine;
mod quarantine;
pub(in crate::work) mod select;
#[cfg(test)]
mod tests;

use super::Context;
use super::names::Target;
use super::seen::Recorder;
use crate::ledger::Tables;
use crate::vocabulary::events::VerifyStatus;
use crate::vocabulary::{Event, Observer, Prefix, Result};
use batch::Batch;
use examine::{Examined, Examiner, Reading};
use select::Selection;

/// Blobs that are worked on at once: memory is bounded by this, however many there are, and at the end of each such part
/// the threads wait for one another.
const CHUNK: usize = 8192;

/// How blobs are verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyOptions {
    /// Move corrupt blobs to quarantine, unlink the store's own names of them and mark them damaged.
    pub quarantine: bool,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Blobs looked at.
    pub blobs: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Blobs whose bytes are right.
    pub ok: u64,
    /// Whose bytes are wrong.
    pub corrupt: u64,
    /// Whose file is missing.
    pub missing: u64,
    /// That could not be read.
    pub unreadable: u64,
    /// Carriers that are wrong, missing or unreadable.
    pub bad_carriers: u64,
    /// Moved to quarantine.
    pub quarantined: u64,
    /// Whether it was stopped before its end.
    pub interrupted: bool,
}

/// Verifies what `targets` and `prefixes` name, each blob once whatever number of names it has; every blob of the store
/// where both are empty or a prefix is everything. Blobs are taken in the order of their digests, several at once.
///
/// Tells one [`Event::Verified`] for each. A bad finding is compared with fresh records before it is told: a blob that
/// was collected meanwhile is none, one that was healed meanwhile is read again. Where the store can be written to, it is
/// put on record when each was verified and what is wrong until it is mended, and a large blob that is right and has no
/// tree to be believed gets one; otherwise it works all the same. With
/// [`quarantine`](VerifyOptions::quarantine) corrupt blobs are moved away. Missing and unreadable ones never are.
///
/// A name, digest or prefix that is not in the store is [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
pub fn verify(
    ctx: &Context<'_>,
    targets: &[Target],
    prefixes: &[Prefix],
    options: &VerifyOptions,
    observer: &dyn Observer,
) -> Result<VerifyReport> {
    let snapshot = ctx.ledger.snapshot()?;
    let selection = Selection::new(&snapshot, targets, prefixes)?;
    let quarantine = options.quarantine && can_quarantine(ctx, observer);
    let examiner = Examiner { ctx: *ctx, snapshot: &snapshot, quarantine, reading: Reading::default(), observer };
    let recorder = Recorder::new(ctx);
    let mut report = VerifyReport::default();
    selection.announce_all(observer)?;
    let carriers = snapshot.has_carriers()?;
    let mut last = None;
    'all: loop {
        let batch = selection.after(last.as_ref())?;
        let Some((digest, _)) = batch.last() else { break };
        last = Some(*digest);
        selection.announce(&batch, observer);
        for chunk in batch.chunks(CHUNK) {
            Batch::new(&examiner, chunk, carriers)?.run(&mut report)?.into_iter().for_each(|seen| recorder.saw(seen));
            recorder.batch();
            if report.interrupted {
                break 'all;
            }
        }
    }
    recorder.finish(observer);
    Ok(report)
}

fn can_quarantine(ctx: &Context<'_>, observer: &dyn Observer) -> bool {
    if !ctx.ledger.policy.writable {
        let text = "Nothing is moved to quarantine: this store can only be read.".to_owned();
        observer.event(&Event::Notice { text });
    }
    ctx.ledger.policy.writable
}

impl VerifyReport {
    fn count(&mut self, examined: &Examined) {
        match examined {
            Examined::Found { seen, read_bytes, quarantined } => {
                let status = match seen.status {
                    VerifyStatus::Ok => &mut self.ok,
                    VerifyStatus::Corrupt => &mut self.corrupt,
                    VerifyStatus::Missing => &mut self.missing,
                    VerifyStatus::Unreadable => &mut self.unreadable,
                };
                *status += 1;
                self.blobs += 1;
                self.bytes += read_bytes;
                self.quarantined += u64::from(*quarantined);
                self.bad_carriers += seen.findings() - u64::from(seen.status != VerifyStatus::Ok);
            }
            Examined::Gone => {}
            Examined::Stopped => self.interrupted = true,
        }
    }
}
