//! Verifying: named things against their digests, now.
//!
//! Every blob is read whole, whatever its stamp says; nothing recorded is trusted but its digest. What is found is an
//! event with the digest and all names, and never stops the rest. Bytes that are wrong and bytes that could not be read
//! are kept apart: only the first are corruption, and only they are moved away, when asked for. Where the store can be
//! written to, what was found is on record until it is mended (`seen.rs`).

pub(in crate::work) mod batch;
mod damage;
pub(in crate::work) mod examine;
mod quarantine;
pub(in crate::work) mod select;
#[cfg(test)]
mod tests;

use std::sync::Mutex;

use super::Context;
use super::names::Target;
use super::seen::Recorder;
use crate::ledger::Tables;
use crate::vocabulary::events::VerifyStatus;
use crate::vocabulary::{Digest, Event, Observer, Prefix, Result};
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
    let report = Mutex::new(VerifyReport::default());
    let sink = |examined: Examined| {
        report.lock().expect("no panic holds it").count(&examined);
        if let Examined::Found { seen, .. } = examined {
            recorder.saw(*seen);
        }
        Ok(())
    };
    let mut whole = true;
    selection.announce_all(observer)?;
    let carriers = snapshot.has_carriers()?;
    let mut chunks = Chunks { selection: &selection, observer, batch: Vec::new().into_iter(), last: None };
    let mut make = || {
        let chunk = chunks.next()?;
        chunk.map(|chunk| Batch::new(&examiner, &chunk, carriers, &sink)).transpose()
    };
    let mut next = make()?;
    while let Some(batch) = next {
        // What was seen before goes on record, and the next is looked up, while this is read.
        let (ran, following) = ctx.workers.both(
            || batch.run(),
            || {
                recorder.batch();
                make()
            },
        );
        whole &= ran?;
        if !whole || report.lock().expect("no panic holds it").interrupted {
            break;
        }
        next = following?;
    }
    recorder.finish(observer);
    let mut report = report.into_inner().expect("no panic holds it");
    report.interrupted |= !whole;
    Ok(report)
}

/// What is selected, some at a time.
struct Chunks<'a> {
    selection: &'a Selection<'a>,
    observer: &'a dyn Observer,
    batch: std::vec::IntoIter<(Digest, u64)>,
    last: Option<Digest>,
}

impl Chunks<'_> {
    fn next(&mut self) -> Result<Option<Vec<(Digest, u64)>>> {
        if self.batch.len() == 0 {
            let batch = self.selection.after(self.last.as_ref())?;
            self.selection.announce(&batch, self.observer);
            self.last = batch.last().map(|(digest, _)| *digest).or(self.last);
            self.batch = batch.into_iter();
        }
        let chunk: Vec<_> = self.batch.by_ref().take(CHUNK).collect();
        Ok((!chunk.is_empty()).then_some(chunk))
    }
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
