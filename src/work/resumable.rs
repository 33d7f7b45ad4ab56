//! Ingests that were broken off and can go on: what there is, and giving them up.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use super::Context;
use crate::parts::sessions::resumable::Resumable;
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

/// Every ingest that was broken off and can go on, in the order of their paths. Takes no lock: a hint while others work.
pub fn waiting(ctx: &Context<'_>) -> Result<Vec<Waiting>> {
    Ok(ctx.ledger.sessions.resumable()?.iter().map(describe).collect())
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

/// Which ingests `ids` mean, each by the beginning of what it is called; all of them where there are none.
/// [`ErrorKind::NotFound`], naming it, for one that means nothing, [`ErrorKind::Invalid`] for one that means several.
pub fn plan_give_up(ctx: &Context<'_>, ids: &[String]) -> Result<Vec<Waiting>> {
    let all = waiting(ctx)?;
    if ids.is_empty() {
        return Ok(all);
    }
    let mut chosen: Vec<Waiting> = Vec::new();
    for id in ids {
        let meant: Vec<&Waiting> = all.iter().filter(|waiting| !id.is_empty() && waiting.id.starts_with(id)).collect();
        match meant[..] {
            [] => {
                let reason = "no ingest that was broken off is called so";
                return Err(Error::new(ErrorKind::NotFound, format!("find the ingest {id}"), reason));
            }
            [one] if chosen.contains(one) => {}
            [one] => chosen.push(one.clone()),
            _ => {
                let reason = format!("{} begin so", meant.len());
                return Err(Error::new(ErrorKind::Invalid, format!("find the ingest {id}"), reason));
            }
        }
    }
    Ok(chosen)
}

/// Removes the bytes that these ingests have staged: adding their sources begins anew. One that somebody goes on with
/// meanwhile is left alone. Gives back those that are gone.
pub fn give_up(ctx: &Context<'_>, chosen: &[Waiting]) -> Result<Vec<Waiting>> {
    let sessions = &ctx.ledger.sessions;
    ctx.ledger.hold(|_| {
        let mut gone = Vec::new();
        for found in sessions.resumable()? {
            if let Some(waiting) = chosen.iter().find(|waiting| waiting.id == found.id()) {
                sessions.give_up(&found)?;
                gone.push(waiting.clone());
            }
        }
        Ok(gone)
    })
}
