//! Limits that a store keeps by itself: what is not used for longest goes when they are passed.

use super::choose::plan_but;
use super::{EvictPlan, EvictReport, Goal, Spared, evict};
use crate::vocabulary::{Error, Event, Observer, Result};
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
/// added something has it kept, whether there is room for more or not.
/// Gives back what was evicted.
pub fn apply(ctx: &Context<'_>, limits: Limits, spared: &Spared, observer: &dyn Observer) -> Vec<EvictReport> {
    let mut done = Vec::new();
    if limits.max_bytes > 0 {
        let goal = Ok(Some(Goal::MaxBytes(limits.max_bytes)));
        done.extend(keep(ctx, "limits.max_bytes", goal, Some(spared), observer));
    }
    done.extend(keep_free(ctx, limits, Some(spared), observer));
    done
}

/// As [`apply`], of what is to stay free alone: for whoever is about to write.
pub fn make_room(ctx: &Context<'_>, limits: Limits, observer: &dyn Observer) -> Option<EvictReport> {
    keep_free(ctx, limits, None, observer)
}

fn keep_free(
    ctx: &Context<'_>,
    limits: Limits,
    spared: Option<&Spared>,
    observer: &dyn Observer,
) -> Option<EvictReport> {
    match limits.min_free {
        0 => None,
        least => keep(ctx, "limits.min_free", missing(ctx, least), spared, observer),
    }
}

/// What is missing on the filesystem.
fn missing(ctx: &Context<'_>, min_free: u64) -> Result<Option<Goal>> {
    let root = ctx.ledger.layout.root();
    let filesystem = ctx.ledger.machine.filesystem(root);
    let there = filesystem.map_err(|e| Error::io("look at the filesystem of", root, e))?;
    Ok(min_free.checked_sub(there.free_bytes).filter(|bytes| *bytes > 0).map(Goal::Free))
}

fn keep(
    ctx: &Context<'_>,
    option: &str,
    goal: Result<Option<Goal>>,
    spared: Option<&Spared>,
    observer: &dyn Observer,
) -> Option<EvictReport> {
    let done = match goal {
        Ok(None) => return None,
        Ok(Some(goal)) => go(ctx, goal, spared, observer),
        Err(e) => Err(e),
    };
    let (text, report) = match done {
        Ok(None) => return None,
        Ok(Some((plan, report))) => (told(option, &plan, &report), Some(report)),
        Err(e) => (format!("{option} could not be kept: {e}."), None),
    };
    observer.event(&Event::Notice { text });
    report
}

fn go(
    ctx: &Context<'_>,
    goal: Goal,
    spared: Option<&Spared>,
    observer: &dyn Observer,
) -> Result<Option<(EvictPlan, EvictReport)>> {
    let plan = plan_but(ctx, goal, spared)?;
    if plan.wanted_bytes == 0 {
        return Ok(None);
    }
    let report = evict(ctx, &plan, false, observer)?;
    Ok(Some((plan, report)))
}

fn told(option: &str, plan: &EvictPlan, report: &EvictReport) -> String {
    let freed = report.collected.freed_bytes;
    let entries = match report.entries.len() {
        1 => "1 entry".to_owned(),
        count => format!("{count} entries"),
    };
    let mut text = format!("Evicted {entries} and freed {freed} bytes, to keep {option}.");
    if !plan.is_enough() {
        let missing = plan.wanted_bytes - plan.gained_bytes;
        text.push_str(&format!(
            " It is still passed by {missing} bytes: nothing more can go ({} pinned, {} leased, {} open, {} new).",
            plan.pinned, plan.held, plan.in_use, plan.new
        ));
    }
    text
}
