//! The session of a long reader: what it lists is not collected while its process lives.

use crate::format::session::SessionKind;
use crate::ledger::Tables;
use crate::parts::sessions::Session;
use crate::vocabulary::{Digest, Result};
use crate::work::Context;

/// Most digests that a reader lists: looking each of them up takes well under a second, for which writers wait.
pub(super) const LISTED_MOST: usize = 65_536;

/// Opens a session that holds `digests`, as far as they are on record, if that can be had at once. Without one a reader
/// goes on all the same: a blob that is collected under it is an error of that one file. There is none where the store
/// can only be read, somebody holds `lock`, or there is no room for it.
pub(super) fn try_open(ctx: &Context<'_>, mut digests: Vec<Digest>) -> Option<Session> {
    if digests.is_empty() || !ctx.ledger.policy.writable {
        return None;
    }
    let opened = ctx.ledger.try_hold(|hold| {
        // On record means there, for as long as `lock` is held: a blob's removal is recorded before its file goes.
        let known = digests.iter().map(|digest| Ok(hold.snapshot.blob(digest)?.is_some()));
        let known = known.collect::<Result<Vec<bool>>>()?;
        let mut known = known.into_iter();
        digests.retain(|_| known.next().unwrap_or(false));
        ctx.ledger.sessions.open(SessionKind::Reader, hold.snapshot.cursor.sequence, std::mem::take(&mut digests))
    });
    opened.ok().flatten()
}
