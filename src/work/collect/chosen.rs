//! Collecting what has just lost its last root on purpose: at once, and nothing else.

use std::time::Duration;

use super::{CollectReport, Rule, carriers, carry_out, doom, keep_rooted, refuse_if_fenced};
use crate::ledger::Tables;
use crate::vocabulary::{Digest, Observer, Result};
use crate::work::Context;

/// Collects those of `digests` that nothing keeps, without grace: for whoever has been told to free what they take up.
///
/// All else is as with [`super::collect`]: roots are proved from the frames, what running work holds stays, and nothing is
/// removed while the journal is damaged ([`crate::vocabulary::ErrorKind::Refused`]).
pub fn collect_these(ctx: &Context<'_>, digests: &[Digest], observer: &dyn Observer) -> Result<CollectReport> {
    let snapshot = ctx.ledger.snapshot()?;
    refuse_if_fenced(&snapshot)?;
    let mut doomed = Vec::new();
    for digest in digests {
        if snapshot.unrooted(digest)?.is_none() || snapshot.is_rooted(digest)? {
            continue;
        }
        if let Some(mut unrooted) = doom(ctx.ledger, *digest, Rule::Unrooted)? {
            unrooted.frees_bytes += carriers::frees_bytes(ctx.ledger, &snapshot, digest)?;
            doomed.push(unrooted);
        }
    }
    keep_rooted(ctx.ledger, &mut doomed)?;
    let mut report = CollectReport::default();
    if !doomed.is_empty() {
        carry_out(ctx, &doomed, Duration::ZERO, &mut report, observer)?;
        ctx.ledger.refill_reserve();
        ctx.ledger.compact_if_due();
    }
    Ok(report)
}
