//! Ingests that were broken off and can go on: what there is, and giving them up.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use super::Context;
use crate::parts::sessions::resumable::{Resumable, Resumables};
use crate::vocabulary::limits::RESUME_TTL;
use crate::vocabulary::{Error, ErrorKind, Result};

/// An ingest that was broken off. Adding its source again goes on with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What it is called: its session and its file there.
    pub id: String,
    /// The path of the source; empty where it is too long.
    pub path: PathBuf,
    /// Length of the source in bytes.
    pub size_bytes: u64,
    /// Bytes of it that need not be read again.
    pub done_bytes: u64,
    /// Bytes that it occupies in the store.
    pub allocated_bytes: u64,
    /// When its state was saved last, journal time in nanoseconds since the epoch.
    pub saved_ns: u64,
    /// When a collection removes it, journal time in nanoseconds since the epoch.
    pub expires_ns: u64,
}

/// Ingests that were broken off, as far as they can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ingests {
    /// Those that can go on, in the order of their paths; of a removal, those that are gone.
    pub waiting: Vec<Waiting>,
    /// Those of which it cannot be told, and which are left alone.
    pub unreadable: Vec<Unreadable>,
}

/// A file of an ingest that could not be looked at: that ingest may be one that can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// What the ingest is called.
    pub id: String,
    /// Its staged file.
    pub path: PathBuf,
    /// What was attempted on what, and why it failed.
    pub reason: String,
}

/// Every ingest that was broken off and can go on, in the order of their paths. Takes no lock: a hint while others work.
pub fn waiting(ctx: &Context<'_>) -> Result<Ingests> {
    let all = ctx.ledger.sessions.resumable()?;
    Ok(Ingests { waiting: all.found.iter().map(describe).collect(), unreadable: unreadable(&all) })
}

fn unreadable(all: &Resumables) -> Vec<Unreadable> {
    let told = |(id, path, error): &(String, PathBuf, Error)| {
        let (id, path, reason) = (id.clone(), path.clone(), super::blob::in_full(error));
        Unreadable { id, path, reason }
    };
    all.unreadable.iter().map(told).collect()
}

fn describe(found: &Resumable) -> Waiting {
    let says = &found.says;
    Waiting {
        id: found.id(),
        path: PathBuf::from(OsStr::from_bytes(&says.path)),
        size_bytes: says.source.size_bytes,
        done_bytes: says.state.size_bytes,
        allocated_bytes: found.allocated_bytes,
        saved_ns: says.time_ns,
        expires_ns: says.time_ns.saturating_add(nanos(RESUME_TTL)),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Which ingests `ids` mean, each by the beginning of what it is called; all of them where there are none. What they
/// may mean and cannot be read is among [`Ingests::unreadable`]. [`ErrorKind::NotFound`], naming it, for one that means
/// nothing, [`ErrorKind::Invalid`] for one that means several.
pub fn plan_give_up(ctx: &Context<'_>, ids: &[String]) -> Result<Ingests> {
    let all = waiting(ctx)?;
    if ids.is_empty() {
        return Ok(all);
    }
    let mut chosen = Ingests::default();
    for id in ids {
        let meant = |called: &str| !id.is_empty() && called.starts_with(id);
        let those: Vec<&Waiting> = all.waiting.iter().filter(|waiting| meant(&waiting.id)).collect();
        let others: Vec<&Unreadable> = all.unreadable.iter().filter(|unreadable| meant(&unreadable.id)).collect();
        match (&those[..], &others[..]) {
            ([], []) => {
                let reason = "no ingest that was broken off is called so";
                return Err(Error::new(ErrorKind::NotFound, format!("find the ingest {id}"), reason));
            }
            ([one], []) if chosen.waiting.contains(one) => {}
            ([one], []) => chosen.waiting.push((*one).clone()),
            ([], [one]) if chosen.unreadable.contains(one) => {}
            ([], [one]) => chosen.unreadable.push((*one).clone()),
            _ => {
                let reason = format!("{} begin so", those.len() + others.len());
                return Err(Error::new(ErrorKind::Invalid, format!("find the ingest {id}"), reason));
            }
        }
    }
    Ok(chosen)
}

/// Removes the bytes that these ingests have staged: adding their sources begins anew. One that somebody goes on with
/// meanwhile is left alone. Gives back those that are gone, and those that cannot be read any more.
pub fn give_up(ctx: &Context<'_>, chosen: &[Waiting]) -> Result<Ingests> {
    let sessions = &ctx.ledger.sessions;
    ctx.ledger.hold(|_| {
        let all = sessions.resumable()?;
        let chosen = |id: &str| chosen.iter().find(|waiting| waiting.id == id);
        let mut gone = Ingests { waiting: Vec::new(), unreadable: unreadable(&all) };
        gone.unreadable.retain(|unreadable| chosen(&unreadable.id).is_some());
        for found in &all.found {
            if let Some(waiting) = chosen(&found.id()) {
                sessions.give_up(found)?;
                gone.waiting.push(waiting.clone());
            }
        }
        Ok(gone)
    })
}
