//! Limits that a store keeps by itself: what is not used for longest goes when they are passed.

use super::{EvictReport, Goal, evict, plan};
use crate::vocabulary::{Event, Observer, Result};
use crate::work::Context;

/// How much a store may take up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of blobs; zero for no limit.
    pub max_bytes: u64,
    /// Bytes that are to stay free on the filesystem; zero for no limit.
    pub min_free: u64,
}

/// Evicts until the limits are kept, as far as that can be. What was done, and what stands in the way, is told as a notice: whoever
/// added something has it kept, whether there is room for more or not. `did` is told each time entries went.
pub fn apply(ctx: &Context<'_>, limits: Limits, observer: &dyn Observer, did: &dyn Fn(&EvictReport)) {
    if limits.max_bytes > 0 {
        keep(ctx, "limits.max_bytes", Ok(Some(Goal::MaxBytes(limits.max_bytes))), observer, did);
    }
    make_room(ctx, limits, observer, did);
}

/// As [`apply`], of what is to stay free alone: for whoever is about to write.
pub fn make_room(ctx: &Context<'_>, limits: Limits, observer: &dyn Observer, did: &dyn Fn(&EvictReport)) {
    if limits.min_free > 0 {
        keep(ctx, "limits.min_free", missing(ctx, limits.min_free), observer, did);
    }
}

/// What is missing on the filesystem.
fn missing(ctx: &Context<'_>, min_free: u64) -> Result<Option<Goal>> {
    let root = ctx.ledger.layout.root();
    let filesystem = ctx.ledger.machine.filesystem(root);
    let there = filesystem.map_err(|e| crate::vocabulary::Error::io("look at the filesystem of", root, e))?;
    Ok(min_free.checked_sub(there.free_bytes).filter(|bytes| *bytes > 0).map(Goal::Free))
}

fn keep(
    ctx: &Context<'_>,
    option: &str,
    goal: Result<Option<Goal>>,
    observer: &dyn Observer,
    did: &dyn Fn(&EvictReport),
) {
    let told = match goal {
        Ok(None) => return,
        Ok(Some(goal)) => go(ctx, option, goal, observer, did),
        Err(e) => Err(e),
    };
    let text = match told {
        Ok(None) => return,
        Ok(Some(text)) => text,
        Err(e) => format!("{option} could not be kept: {e}."),
    };
    observer.event(&Event::Notice { text });
}

fn go(
    ctx: &Context<'_>,
    option: &str,
    goal: Goal,
    observer: &dyn Observer,
    did: &dyn Fn(&EvictReport),
) -> Result<Option<String>> {
    let plan = plan(ctx, goal)?;
    if plan.wanted_bytes == 0 {
        return Ok(None);
    }
    let done = evict(ctx, &plan, false, observer)?;
    did(&done);
    let freed = done.collected.freed_bytes;
    let entries = match done.entries.len() {
        1 => "1 entry".to_owned(),
        count => format!("{count} entries"),
    };
    let mut text = format!("Evicted {entries} and freed {freed} bytes, to keep {option}.");
    if !plan.is_enough() {
        let missing = plan.wanted_bytes - plan.gained_bytes;
        text.push_str(&format!(
            " It is still passed by {missing} bytes: nothing more can go ({} pinned, {} leased, {} open).",
            plan.pinned, plan.held, plan.in_use
        ));
    }
    Ok(Some(text))
}
