//! What removed a blob or took a name away, as the journal remembers it.

use crate::format::table::DepartedRow;
use crate::ledger::{Snapshot, Tables};
use crate::vocabulary::{Digest, Error, ErrorKind, Name, Result};
use crate::work::Context;
use crate::work::names::Target;

/// A name that a blob had until something took it away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The name.
    pub name: Name,
    /// What it meant.
    pub digest: Digest,
    /// What took it away: `rm`, `unlink`, `mv to …`, `replaced`.
    pub rule: String,
    /// Journal time, nanoseconds since the epoch.
    pub when_ns: u64,
}

/// A blob that was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The blob.
    pub digest: Digest,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// What removed it: `gc: unrooted`, …
    pub rule: String,
    /// Journal time, nanoseconds since the epoch.
    pub when_ns: u64,
}

/// What became of a blob or a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WhyGone {
    /// What it means now: a name its blob, a digest itself while its blob is in the store.
    pub now: Option<Digest>,
    /// The names that were taken away, in the order in which they were.
    pub departures: Vec<Departure>,
    /// The blobs that were removed, in the order in which they were.
    pub removals: Vec<Removal>,
}

/// What removed a blob, or took a name away and what then became of the blob that it meant. What went longer ago than
/// [`crate::vocabulary::limits::GONE_KEPT`] may be forgotten. [`ErrorKind::NotFound`] for what is not in the store and
/// is not remembered either.
pub fn why_gone(ctx: &Context<'_>, target: &Target) -> Result<WhyGone> {
    let snapshot = ctx.ledger.snapshot()?;
    let mut found = match target {
        Target::Digest(digest) => of_digest(&snapshot, digest)?,
        Target::Name(name) => of_name(&snapshot, name)?,
    };
    if found == WhyGone::default() {
        let what = match target {
            Target::Digest(digest) => digest.to_string(),
            Target::Name(name) => format!("{name:?}"),
        };
        let reason = "the store does not have it, and remembers nothing that took it away";
        return Err(Error::new(ErrorKind::NotFound, format!("find what removed {what}"), reason));
    }
    found.departures.sort_by(|a, b| (a.when_ns, &a.name).cmp(&(b.when_ns, &b.name)));
    found.removals.sort_by_key(|removal| (removal.when_ns, removal.digest));
    Ok(found)
}

fn of_digest(snapshot: &Snapshot, digest: &Digest) -> Result<WhyGone> {
    let now = snapshot.blob(digest)?.map(|_| *digest);
    let has = snapshot.names_of(digest)?;
    let departures = departures(snapshot, digest)?.into_iter().filter(|gone| !has.contains(&gone.name)).collect();
    Ok(WhyGone { now, departures, removals: removal(snapshot, digest)?.into_iter().collect() })
}

fn of_name(snapshot: &Snapshot, name: &Name) -> Result<WhyGone> {
    let now = snapshot.alias(name)?.map(|alias| alias.digest);
    let mut found = WhyGone { now, ..WhyGone::default() };
    for digest in snapshot.meant(name)? {
        let of_this_name = departures(snapshot, &digest)?.into_iter().filter(|gone| gone.name == *name);
        found.departures.extend(of_this_name);
        found.removals.extend(removal(snapshot, &digest)?);
    }
    Ok(found)
}

fn departures(snapshot: &Snapshot, digest: &Digest) -> Result<Vec<Departure>> {
    let departure = |(name, row): (Name, DepartedRow)| {
        let DepartedRow { rule, when } = row;
        Departure { name, digest: *digest, rule, when_ns: when.time_ns }
    };
    Ok(snapshot.departed(digest)?.into_iter().map(departure).collect())
}

fn removal(snapshot: &Snapshot, digest: &Digest) -> Result<Option<Removal>> {
    let row = snapshot.gone(digest)?;
    Ok(row.map(|row| Removal {
        digest: *digest,
        size_bytes: row.size_bytes,
        rule: row.rule,
        when_ns: row.when.time_ns,
    }))
}
