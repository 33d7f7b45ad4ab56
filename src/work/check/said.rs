//! What the journal says of the rows.

use std::cell::Cell;

use super::Checker;
use crate::format::frame::Frame;
use crate::format::record::{Moment, Record};
use crate::format::table::{self, DepartedRow, GoneRow, Table};
use crate::ledger::Snapshot;
use crate::parts::journal::chain::Place;
use crate::vocabulary::limits::GONE_KEPT;
use crate::vocabulary::{Error, ErrorKind, Result};

/// Gives `take` what base and frames do to the rows, one change after the other, up to where the snapshot was taken, as
/// long as it says to go on.
pub(super) fn rows_said(
    checker: &Checker<'_, '_>,
    snapshot: &Snapshot,
    take: &mut dyn FnMut(Vec<u8>, Option<Vec<u8>>) -> bool,
) -> Result<()> {
    let goes_on = Cell::new(true);
    let end = snapshot.cursor.sequence;
    let reading = checker.ctx.ledger.journal.read_all(0, &mut |frame: &Frame, records: &[Record], place: Place<'_>| {
        checker.unless_stopped()?;
        if !place.base && frame.sequence > end {
            return Ok(());
        }
        for record in records {
            if matches!(record, Record::End(r) if r.through > end) {
                // A base that was made since: it knows more than this snapshot.
                return Err(Error::new(ErrorKind::OutcomeUnknown, "compare the index", "it was compacted meanwhile"));
            }
            table::effects(record, |(key, value)| {
                if goes_on.get() {
                    goes_on.set(take(key, value));
                }
            });
        }
        if goes_on.get() { Ok(()) } else { Err(Error::new(ErrorKind::Interrupted, "read on", "enough was seen")) }
    });
    match reading {
        Err(_) if !goes_on.get() => Ok(()),
        read => read.map(drop),
    }
}

/// Whether a row says of what went that it did so long ago.
pub(super) fn is_old(key: &[u8], value: &[u8], now_ns: u64) -> bool {
    let kept = u64::try_from(GONE_KEPT.as_nanos()).unwrap_or(u64::MAX);
    let is_old = |when: Moment| now_ns.saturating_sub(when.time_ns) > kept;
    match key.first() {
        Some(table) if *table == Table::Gone as u8 => table::decode(value).is_ok_and(|row: GoneRow| is_old(row.when)),
        Some(table) if *table == Table::Departed as u8 => {
            table::decode(value).is_ok_and(|row: DepartedRow| is_old(row.when))
        }
        _ => false,
    }
}
