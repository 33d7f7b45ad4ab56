//! Leases: what a running command uses is kept until it ends.

use std::path::PathBuf;

use super::Context;
use super::blob::{missing, usable};
use super::names;
use crate::format::session::SessionKind;
use crate::ledger::{Snapshot, Tables};
use crate::parts::sessions::Session;
use crate::vocabulary::{Digest, Error, ErrorKind, Prefix, Result};
use crate::work::names::Target;

/// What is kept for one piece of running work, as long as this value lives, or a process that inherited it.
pub struct Lease {
    session: Session,
    blobs: Vec<(Digest, PathBuf)>,
}

impl Lease {
    /// The blobs that are kept, each with the absolute path of its file, in order of their digests.
    pub fn blobs(&self) -> &[(Digest, PathBuf)] {
        &self.blobs
    }

    /// Lets every command that this process starts from now on keep the lease too, for as long as it runs, whatever
    /// becomes of this process.
    pub fn let_children_inherit(&self) -> Result<()> {
        self.session.let_children_inherit()
    }
}

/// What a lease is for: everything below a prefix, or one blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leased {
    /// A name and every name below it.
    Names(Prefix),
    /// One blob.
    Blob(Digest),
}

/// Keeps blobs for running work: collection leaves them alone, whatever becomes of their names and pins.
///
/// [`ErrorKind::NotFound`] for a name, a prefix or a digest that means nothing; [`ErrorKind::Damaged`] for a blob whose
/// file is missing or known to be bad.
pub fn lease(ctx: &Context<'_>, what: &[Leased]) -> Result<Lease> {
    let ledger = ctx.ledger;
    let snapshot = ledger.snapshot()?;
    let mut digests = Vec::new();
    for leased in what {
        meant(&snapshot, leased, &mut digests)?;
    }
    digests.sort_unstable();
    digests.dedup();
    for digest in &digests {
        in_place(ctx, &snapshot, digest)?;
    }
    let session = ledger.hold(|hold| {
        // On record means there, for as long as `lock` is held: a blob's removal is recorded before its file goes.
        for digest in &digests {
            names::resolve(&hold.snapshot, &Target::Digest(*digest))?;
        }
        let sequence = hold.snapshot.cursor.sequence;
        hold.with_room(|| ledger.sessions.open(SessionKind::Lease, sequence, digests.clone()))
    })?;
    let blobs = digests.into_iter().map(|digest| (digest, ledger.blobs.path(&digest))).collect();
    Ok(Lease { session, blobs })
}

/// The blobs that are meant, added to `digests`.
fn meant(snapshot: &Snapshot, leased: &Leased, digests: &mut Vec<Digest>) -> Result<()> {
    match leased {
        Leased::Blob(digest) => digests.push(names::resolve(snapshot, &Target::Digest(*digest))?),
        Leased::Names(prefix) => {
            let before = digests.len();
            for row in snapshot.aliases(prefix) {
                digests.push(row?.1.digest);
            }
            if digests.len() == before {
                let attempt = format!("lease {:?}", prefix.to_string());
                return Err(Error::new(ErrorKind::NotFound, attempt, "there is no such name, and none below it"));
            }
        }
    }
    Ok(())
}

/// Refuses a blob that a command could not use.
fn in_place(ctx: &Context<'_>, snapshot: &Snapshot, digest: &Digest) -> Result<()> {
    usable(snapshot, digest)?;
    match ctx.ledger.blobs.meta(digest)? {
        Some(_) => Ok(()),
        None => Err(missing(ctx.ledger, digest)),
    }
}
