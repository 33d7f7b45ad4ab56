//! Opening and following: from the runs and the tail of the journal to a snapshot.

use super::replay::{Replay, from_journal};
use super::tail::Over;
use super::{Policy, Snapshot};
use crate::format::frame::Frame;
use crate::format::layout::Layout;
use crate::format::record::Record;
use crate::machine::Machine;
use crate::parts::index::{self, Index, Reach, View};
use crate::parts::journal::chain::{self, Damage, Place, TornTail};
use crate::parts::journal::{Cursor, Journal, SegmentId};
use crate::vocabulary::limits::TAIL_FOLD_RECORDS;
use crate::vocabulary::{Error, ErrorKind, Result};

/// How often a reader starts again when a generation is replaced under it.
const TRIES: usize = 16;

/// Opens the newest state: the runs that `CURRENT` names and the frames behind them. Runs that cannot be used are left
/// out, and everything comes from the journal. Of the runs in `open`, those that are named still are not opened again.
pub(super) fn load(
    machine: &dyn Machine,
    layout: &Layout,
    journal: &Journal,
    policy: &Policy,
    open: &Index,
) -> Result<Snapshot> {
    let mut result = Err(Error::new(ErrorKind::Busy, "open the store", "its journal is replaced all the time"));
    for _ in 0..TRIES {
        result = load_once(machine, layout, journal, policy, open);
        match &result {
            Err(e) if chain::is_outgrown(e) || e.kind() == ErrorKind::NotFound => {}
            _ => return result,
        }
    }
    result
}

fn load_once(
    machine: &dyn Machine,
    layout: &Layout,
    journal: &Journal,
    policy: &Policy,
    open: &Index,
) -> Result<Snapshot> {
    let without_index = |synced| from_journal(machine, layout, journal, policy, synced);
    let spare = |reach| Replay::of(layout, journal, policy, reach);
    match open.reopen(machine, &layout.index()) {
        Ok(Some((index, current))) if current.store == policy.store => {
            let start = Snapshot {
                view: View::new(index.into()).with_spare(spare(current.reach.sequence)),
                cursor: cursor_of(&current.reach),
                tail_records: 0,
                folded: current.reach.sequence,
                damage: Vec::new(),
            };
            match read_on(journal, &start, 0) {
                // The runs end before the oldest frame kept, or on a branch that was dropped.
                Err(e) if chain::is_outgrown(&e) => without_index(current.reach.synced_through),
                other => other.map(|(snapshot, _)| snapshot),
            }
        }
        Ok(_) => without_index(0),
        Err(e) if e.kind() == ErrorKind::Damaged => {
            let mut snapshot = without_index(0)?;
            let spare = spare(snapshot.cursor.sequence);
            spare.want();
            snapshot.view = snapshot.view.with_spare(spare);
            Ok(snapshot)
        }
        Err(e) if e.kind() == ErrorKind::Io => without_index(0),
        Err(e) => Err(e),
    }
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
        Ok((snapshot, _)) if let Some(reached) = newer_runs(machine, layout, policy, &snapshot) => {
            let mut fresh = load(machine, layout, journal, policy, known.view.index())?;
            let synced = synced.max(snapshot.cursor.synced_through);
            fresh.folded = fresh.folded.max(reached);
            fresh.damage.extend(snapshot.damage);
            read_on(journal, &fresh, synced)
        }
        Err(e) if chain::is_outgrown(&e) => {
            let fresh = load(machine, layout, journal, policy, known.view.index())?;
            match read_on(journal, &fresh, synced) {
                Err(e) if chain::is_outgrown(&e) => Ok((without_segments(fresh, synced), None)),
                other => other,
            }
        }
        other => other,
    }
}

/// The sequence that the index reaches by now, where much of `known` is held in memory and somebody has folded since.
fn newer_runs(machine: &dyn Machine, layout: &Layout, policy: &Policy, known: &Snapshot) -> Option<u64> {
    if known.tail_records < TAIL_FOLD_RECORDS {
        return None;
    }
    let current = index::current(machine, &layout.index()).ok().flatten()?;
    (current.store == policy.store && current.reach.sequence > known.folded).then_some(current.reach.sequence)
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
    let mut over = Over::of(known.view.clone());
    let mut records = known.tail_records;
    let mut damage = known.damage.clone();
    let reading = journal.read_on(&known.cursor, synced, &mut |frame: &Frame, of_frame: &[Record], _: Place<'_>| {
        records += of_frame.len();
        over.push(frame, of_frame);
        Ok(())
    })?;
    let mut view = over.view();
    view.reaches(reading.cursor.sequence);
    damage.extend(reading.damage);
    damage.dedup();
    let (cursor, tail_records) = (reading.cursor, records);
    Ok((Snapshot { view, cursor, tail_records, folded: known.folded, damage }, reading.torn))
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
