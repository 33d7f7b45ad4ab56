//! Opening and following: from the runs and the tail of the journal to a snapshot.

use super::{Policy, Snapshot};
use crate::format::frame::Frame;
use crate::format::layout::Layout;
use crate::format::record::Record;
use crate::format::table;
use crate::machine::Machine;
use crate::parts::index::{Index, Reach, View};
use crate::parts::journal::chain::{self, Damage, Place, Reading, TornTail};
use crate::parts::journal::{Cursor, Journal, SegmentId};
use crate::vocabulary::{Error, ErrorKind, Result};

/// How often a reader starts again when a generation is replaced under it.
const TRIES: usize = 16;

/// Opens the newest state: the runs that `CURRENT` names and the frames behind them. Runs that cannot be used are left
/// out, and everything comes from the journal.
pub(super) fn load(machine: &dyn Machine, layout: &Layout, journal: &Journal, policy: &Policy) -> Result<Snapshot> {
    let mut result = Err(Error::new(ErrorKind::Busy, "open the store", "its journal is replaced all the time"));
    for _ in 0..TRIES {
        result = load_once(machine, layout, journal, policy);
        match &result {
            Err(e) if chain::is_outgrown(e) || e.kind() == ErrorKind::NotFound => {}
            _ => return result,
        }
    }
    result
}

fn load_once(machine: &dyn Machine, layout: &Layout, journal: &Journal, policy: &Policy) -> Result<Snapshot> {
    match Index::open(machine, &layout.index()) {
        Ok(Some((index, current))) if current.store == policy.store => {
            let start = Snapshot {
                view: View::new(index.into()),
                cursor: cursor_of(&current.reach),
                tail_records: 0,
                damage: Vec::new(),
            };
            match read_on(journal, &start, 0) {
                // The runs end before the oldest frame kept, or on a branch that was dropped.
                Err(e) if chain::is_outgrown(&e) => from_journal(journal, current.reach.synced_through),
                other => other.map(|(snapshot, _)| snapshot),
            }
        }
        Ok(_) => from_journal(journal, 0),
        Err(e) if matches!(e.kind(), ErrorKind::Damaged | ErrorKind::Io) => from_journal(journal, 0),
        Err(e) => Err(e),
    }
}

/// Everything from base and frames, with nothing of the index.
pub(super) fn from_journal(journal: &Journal, synced: u64) -> Result<Snapshot> {
    let mut view = View::default();
    let mut records = 0;
    let reading = journal.read_all(synced, &mut |_: &Frame, frame: &[Record], _: Place<'_>| {
        records += frame.len();
        apply(&mut view, frame);
        Ok(())
    })?;
    Ok(snapshot(view, reading, records))
}

/// Follows the journal from `known` to its end. `synced` is the highest sequence otherwise known to be on disk; a
/// reader gives zero and so never judges an end.
pub(super) fn follow(
    machine: &dyn Machine,
    layout: &Layout,
    journal: &Journal,
    policy: &Policy,
    known: &Snapshot,
    synced: u64,
) -> Result<(Snapshot, Option<TornTail>)> {
    match read_on(journal, known, synced) {
        Err(e) if chain::is_outgrown(&e) => {
            let fresh = load(machine, layout, journal, policy)?;
            match read_on(journal, &fresh, synced) {
                Err(e) if chain::is_outgrown(&e) => Ok((without_segments(fresh, synced), None)),
                other => other,
            }
        }
        other => other,
    }
}

/// There is no later segment at all. Init makes one, and a base has one behind it before it gets its name: they are gone.
fn without_segments(mut base: Snapshot, synced: u64) -> Snapshot {
    let cursor = &mut base.cursor;
    cursor.synced_through = cursor.synced_through.max(synced).max(cursor.sequence + 1);
    let reason = format!("no segment is behind sequence {}", cursor.sequence);
    base.damage.push(Damage { from: cursor.sequence + 1, to: cursor.synced_through, reason });
    base.damage.dedup();
    base
}

fn read_on(journal: &Journal, known: &Snapshot, synced: u64) -> Result<(Snapshot, Option<TornTail>)> {
    let mut view = known.view.clone();
    let mut records = known.tail_records;
    let mut damage = known.damage.clone();
    let reading = journal.read_on(&known.cursor, synced, &mut |_: &Frame, frame: &[Record], _: Place<'_>| {
        records += frame.len();
        apply(&mut view, frame);
        Ok(())
    })?;
    damage.extend(reading.damage);
    damage.dedup();
    Ok((Snapshot { view, cursor: reading.cursor, tail_records: records, damage }, reading.torn))
}

/// Lets records take effect on a view.
pub(super) fn apply(view: &mut View, records: &[Record]) {
    for record in records {
        table::effects(record, |(key, value)| view.put(key, value));
    }
}

fn snapshot(view: View, reading: Reading, tail_records: usize) -> Snapshot {
    Snapshot { view, cursor: reading.cursor, tail_records, damage: reading.damage }
}

/// The cursor that `CURRENT` names.
pub(super) fn cursor_of(reach: &Reach) -> Cursor {
    Cursor {
        segment: SegmentId { number: reach.segment_first, salt: reach.segment_salt },
        offset: reach.offset,
        last: (reach.last_offset != 0).then_some(reach.last_offset),
        sequence: reach.sequence,
        hash: reach.hash,
        synced_through: reach.synced_through,
        time_ns: reach.time_ns,
    }
}

/// What `CURRENT` is to say for a cursor.
pub(super) fn reach_of(cursor: &Cursor) -> Reach {
    Reach {
        sequence: cursor.sequence,
        hash: cursor.hash,
        segment_first: cursor.segment.number,
        segment_salt: cursor.segment.salt,
        offset: cursor.offset,
        synced_through: cursor.synced_through,
        last_offset: cursor.last.unwrap_or(0),
        time_ns: cursor.time_ns,
    }
}
