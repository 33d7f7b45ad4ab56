//! The index: every page of every run, and whether it says what the journal says.

use std::collections::HashMap;
use std::path::Path;

use super::agree::{self, Bounds};
use super::said::{is_old, rows_said};
use super::settle::hold_shared;
use super::{Checker, ROWS_BETWEEN};
use crate::format::table::Table;
use crate::ledger::Snapshot;
use crate::parts::index::Index;
use crate::parts::journal::chain::is_outgrown;
use crate::vocabulary::limits::CHECK_ROWS;
use crate::vocabulary::{ErrorKind, Finding, FindingCode, Result};

/// How often the two are compared before a difference is believed.
const TRIES: usize = 3;

/// The first sixteen bytes of a key: its table, and a hash of the rest.
type Short = [u8; 16];

impl Checker<'_, '_> {
    pub(super) fn index(&mut self) -> Result<()> {
        if !self.goes_on() {
            return Ok(());
        }
        if let Some(why) = self.bad_index()? {
            self.index_is_bad = true;
            self.found(Finding::at(FindingCode::IndexBad, "index", why))?;
        } else if !self.journal_is_damaged
            && let Some(detail) = self.disagreement()?
        {
            self.found(Finding::at(FindingCode::IndexDisagrees, "index", detail))?;
        }
        self.unnamed_runs()
    }

    /// Why the index cannot be used, after a look at every byte of it. Having none is fine.
    fn bad_index(&self) -> Result<Option<String>> {
        let ledger = self.ctx.ledger;
        for _ in 0..TRIES {
            let opened = match Index::open(ledger.machine.as_ref(), &ledger.layout.index()) {
                // It was replaced this moment.
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                opened => opened,
            };
            let checked = match opened {
                Ok(None) => return Ok(None),
                Ok(Some((_, current))) if current.store != ledger.policy.store => {
                    return Ok(Some("CURRENT is that of another store".to_owned()));
                }
                Ok(Some((index, _))) => {
                    index.runs().iter().try_for_each(|run| run.check_unless(&|| self.unless_stopped()))
                }
                Err(e) => Err(e),
            };
            return match checked {
                Ok(()) => Ok(None),
                Err(e) if matches!(e.kind(), ErrorKind::Damaged | ErrorKind::Io) => Ok(Some(e.to_string())),
                Err(e) => Err(e),
            };
        }
        Ok(None)
    }

    /// In what the index and the journal differ, if they still do with fresh records.
    fn disagreement(&self) -> Result<Option<String>> {
        let mut difference = None;
        for _ in 0..TRIES {
            let snapshot = self.ctx.ledger.snapshot()?;
            // That they agree is found with less work than in what they differ.
            let compared = match agree::agrees(self, &snapshot, Bounds::USUAL) {
                Ok(true) => Ok(None),
                Ok(false) => differs(self, &snapshot),
                Err(e) => Err(e),
            };
            difference = match compared {
                Err(e) if is_outgrown(&e) => continue,
                other => other?,
            };
            if difference.is_none() {
                break;
            }
        }
        Ok(difference)
    }

    /// Runs that nobody names and nobody is writing: those are written under `compaction`.
    fn unnamed_runs(&mut self) -> Result<()> {
        let ledger = self.ctx.ledger;
        if self.index_is_bad || unnamed(self)?.is_empty() {
            return Ok(());
        }
        let compaction = hold_shared(ledger, &ledger.layout.compaction())?;
        let left = if compaction.is_some() { unnamed(self)? } else { Vec::new() };
        drop(compaction);
        for name in left {
            let detail = "CURRENT does not name it: whoever wrote it died before it was used";
            self.found(Finding::at(FindingCode::RunUnnamed, Path::new("index").join(name), detail))?;
        }
        Ok(())
    }
}

fn unnamed(checker: &Checker<'_, '_>) -> Result<Vec<String>> {
    let ledger = checker.ctx.ledger;
    crate::parts::index::unnamed(ledger.machine.as_ref(), &ledger.layout.index())
}

/// Compares what the index says with what the frames say, in as many passes over both as memory asks for.
pub(super) fn differs(checker: &Checker<'_, '_>, snapshot: &Snapshot) -> Result<Option<String>> {
    let mut passes = 1;
    let mut pass = 0;
    while pass < passes {
        match compare_part(checker, snapshot, pass, passes)? {
            Compared::Same => pass += 1,
            Compared::Different(what) => return Ok(Some(what)),
            Compared::TooMany => (passes, pass) = (passes * 4, 0),
        }
    }
    Ok(None)
}

enum Compared {
    Same,
    Different(String),
    TooMany,
}

fn compare_part(checker: &Checker<'_, '_>, snapshot: &Snapshot, pass: u32, passes: u32) -> Result<Compared> {
    let Some(mut rows) = rows_of_frames(checker, snapshot, pass, passes)? else { return Ok(Compared::TooMany) };
    let (mut differ, mut first) = (0_u64, None);
    for (at, row) in snapshot.view.range(&[], None).enumerate() {
        if at % ROWS_BETWEEN == 0 {
            checker.unless_stopped()?;
        }
        let (key, value) = row?;
        let short = shorten(&key);
        if part(&short, passes) != pass {
            continue;
        }
        let said = rows.remove(&short);
        let is_fine = match said {
            Some(said) => said == hash(&value),
            None => is_forgotten(&key, &value, snapshot.cursor.time_ns),
        };
        if !is_fine {
            differ += 1;
            first.get_or_insert_with(|| describe(&key));
        }
    }
    let missing = rows.len() as u64;
    if differ + missing == 0 {
        return Ok(Compared::Same);
    }
    let first = first.unwrap_or_else(|| "a row that it has not".to_owned());
    Ok(Compared::Different(format!("{} rows are not as the journal says, among them {first}", differ + missing)))
}

/// The rows that base and frames make, up to where the snapshot was taken, as hashes; `None`: too many for one pass.
fn rows_of_frames(
    checker: &Checker<'_, '_>,
    snapshot: &Snapshot,
    pass: u32,
    passes: u32,
) -> Result<Option<HashMap<Short, Short>>> {
    let mut rows: HashMap<Short, Short> = HashMap::new();
    rows_said(checker, snapshot, &mut |key, value| {
        let short = shorten(&key);
        if part(&short, passes) == pass {
            match value {
                Some(value) => _ = rows.insert(short, hash(&value)),
                None => _ = rows.remove(&short),
            }
        }
        rows.len() <= CHECK_ROWS
    })?;
    Ok((rows.len() <= CHECK_ROWS).then_some(rows))
}

fn hash(bytes: &[u8]) -> Short {
    blake3::hash(bytes).as_bytes()[..16].try_into().expect("sixteen bytes")
}

fn shorten(key: &[u8]) -> Short {
    let mut short = hash(key);
    short[0] = key.first().copied().unwrap_or(0);
    short
}

/// In which of so many passes a key is looked at.
fn part(short: &Short, passes: u32) -> u32 {
    u32::from_le_bytes(short[1..5].try_into().expect("four bytes")) % passes
}

/// What went long ago: a base leaves it out, and the runs may still have it. A row that only leads to another one does
/// not say how long ago that was.
fn is_forgotten(key: &[u8], value: &[u8], now_ns: u64) -> bool {
    key.first() == Some(&(Table::Meant as u8)) || is_old(key, value, now_ns)
}

fn describe(key: &[u8]) -> String {
    let (number, rest) = key.split_first().map_or((0, key), |(number, rest)| (*number, rest));
    format!("{:?} of table {number}", String::from_utf8_lossy(&rest[..rest.len().min(64)]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::agree::agrees;
    use super::super::{CheckReport, Looker};
    use super::*;
    use crate::format::record::{DepartedRecord, PinRecord, Record, SinceRecord};
    use crate::machine::simulated::World;
    use crate::vocabulary::{Digest, Name, Silent};
    use crate::work::testing::{Fixture, counted};

    /// Bounds with which hardly anything fits one pass, and most bits are set by several keys.
    const TIGHT: Bounds = Bounds { bits: 64, followed: 6, rows: 40 };

    fn one((kind, number): (u8, u8)) -> impl Fn(&mut crate::ledger::Tx<'_>) {
        move |tx| {
            let (digest, since) = (Digest::from_bytes([number; 32]), tx.moment());
            tx.push(match kind {
                0 | 1 => Record::Pin(PinRecord { digest, note: kind.to_string(), since }),
                2 => Record::Unpin(digest),
                3 => Record::Unrooted(SinceRecord { digest, since }),
                4 => Record::Condemned(SinceRecord { digest, since }),
                5 => {
                    let name = Name::new(format!("gone-{number}")).unwrap();
                    Record::Departed(DepartedRecord { name, digest, rule: "rm".into(), when: since })
                }
                _ => counted(&Name::new(format!("name-{number}")).unwrap(), since),
            });
        }
    }

    /// Whether they agree, as is found in both ways and in any bounds.
    fn agreed(store: &Fixture, snapshot: &Snapshot) -> bool {
        let mut sink = |_| Ok(());
        let ctx = store.context();
        let (looker, report) = (Looker { ctx }, CheckReport::default());
        let observer = &Silent;
        let checker =
            Checker { ctx, looker, observer, index_is_bad: false, journal_is_damaged: false, report, sink: &mut sink };
        let same = differs(&checker, snapshot).unwrap().is_none();
        for bounds in [Bounds::USUAL, TIGHT] {
            assert_eq!(agrees(&checker, snapshot, Bounds { bits: bounds.bits.min(1 << 12), ..bounds }).unwrap(), same);
        }
        same
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
        #[test]
        fn it_is_found_as_by_comparing_row_by_row(
            changes in prop::collection::vec((0_u8..7, 0_u8..12), 1..60), fold in 0_usize..60, compact: bool, at: prop::sample::Index,
        ) {
            let store = Fixture::simulated(&World::new(7));
            for (i, change) in changes.iter().enumerate() {
                let change = one(*change);
                store.ledger.transact(move |tx| {
                    change(tx);
                    Ok(())
                }).unwrap();
                if i == fold {
                    store.ledger.fold(true).unwrap();
                    if compact {
                        store.ledger.compact().unwrap();
                    }
                }
            }
            let good = Snapshot::clone(&*store.ledger.snapshot().unwrap());
            prop_assert!(agreed(&store, &good));
            let rows: Vec<(Vec<u8>, Vec<u8>)> = good.view.range(&[], None).map(Result::unwrap).collect();
            prop_assume!(!rows.is_empty());
            let (key, value) = &rows[at.index(rows.len())];
            let other = [&**value, b"x"].concat();
            let mut lies = vec![(key.clone(), None), (key.clone(), Some(other))];
            if key[0] != Table::Meant as u8 {
                lies.push(([&**key, b"y"].concat(), Some(vec![])));
            }
            for (key, value) in lies {
                let mut lying = good.clone();
                lying.view.put(&key, value);
                prop_assert!(!agreed(&store, &lying), "{key:?}");
            }
            let mut longer = good;
            longer.view.put(Table::Meant.key(b"gone"), Some([]));
            prop_assert!(agreed(&store, &longer));
        }
    }
}
