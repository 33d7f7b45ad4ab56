//! The answers of the database.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::rows::{self, ENTRY, bits};
use super::{Lent, Place, Reached, Sql, has_log};
use crate::parts::catalog::{Catalog, Totals};
use crate::vocabulary::{Digest, Entry, EntryId, EntryKind, Key, Query, Result, State};

/// What the database holds at one moment. With a write-ahead log every answer is of that moment; without one, each is of
/// its own, since whoever reads keeps everybody from writing.
pub struct View {
    lent: Mutex<Lent>,
    place: Arc<Place>,
    /// Whether one transaction spans all answers.
    held: bool,
}

impl View {
    pub(super) fn begin(mut lent: Lent, place: Arc<Place>) -> Result<Self> {
        let connection = lent.get();
        let held = has_log(connection).at(&place)?;
        if held {
            connection.execute_batch("BEGIN").at(&place)?;
            // It is the first look that fixes the moment.
            rows::reached(connection).at(&place)?;
        }
        Ok(View { lent: Mutex::new(lent), place, held })
    }

    /// How far it reaches.
    pub fn reached(&self) -> Result<Option<Reached>> {
        self.read(rows::reached)
    }

    fn read<R>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<R>) -> Result<R> {
        let mut lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = lent.get();
        if self.held {
            return read(connection).at(&self.place);
        }
        let transaction = connection.transaction().at(&self.place)?;
        read(&transaction).at(&self.place)
    }
}

impl Catalog for View {
    fn entry(&self, key: &Key) -> Result<Option<Entry>> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached(&format!("SELECT {ENTRY} FROM entries e WHERE e.key = ?1"))?;
            statement.query_row([key.to_bytes()], |row| rows::entry(connection, row)).optional()
        })
    }

    fn keys_of_ids(&self, first: &str, most: usize) -> Result<Vec<Key>> {
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if first.len() > 32 || !first.bytes().all(is_hex) {
            return Ok(Vec::new());
        }
        let bound = |with: &str| -> EntryId {
            let digits = format!("{first}{}", with.repeat(32 - first.len()));
            digits.parse().expect("these are 32 hexadecimal digits")
        };
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT key FROM entries WHERE identity BETWEEN ?1 AND ?2 AND key IS NOT NULL ORDER BY identity LIMIT ?3",
            )?;
            let (from, to) = (bound("0"), bound("f"));
            let bounds = params![from.as_bytes(), to.as_bytes(), limit_of(most)];
            statement.query_map(bounds, |row| rows::key(row, 0))?.collect()
        })
    }

    fn entries_of(&self, digest: &Digest) -> Result<Vec<(EntryId, String)>> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT e.identity, v.name FROM variants v CROSS JOIN entries e ON e.id = v.entry
                 WHERE v.digest = ?1 ORDER BY e.identity, v.name",
            )?;
            let found = statement.query_map([digest.as_bytes()], |row| Ok((rows::identity(row, 0)?, row.get(1)?)))?;
            found.collect()
        })
    }

    /// SQL leaves out most of what is not wanted; what is left is compared with the query itself.
    fn page(&self, query: &Query, after: Option<&Key>, limit: usize) -> Result<Vec<Entry>> {
        let search = Search::of(query, after);
        self.read(|connection| {
            let mut page = Vec::new();
            let mut statement = connection.prepare_cached(&search.sql())?;
            let mut found = statement.query(params_from_iter(&search.values))?;
            while page.len() < limit
                && let Some(row) = found.next()?
            {
                let entry = rows::entry(connection, row)?;
                if query.admits(&entry) {
                    page.push(entry);
                }
            }
            Ok(page)
        })
    }

    fn totals(&self) -> Result<Totals> {
        self.read(|connection| {
            let mut totals = Totals::default();
            count_entries(connection, &mut totals)?;
            let variants = "SELECT count(*) FROM variants v CROSS JOIN entries e ON e.id = v.entry
                            WHERE e.trashed_ns IS NULL";
            let variants: i64 = connection.prepare_cached(variants)?.query_row([], |row| row.get(0))?;
            totals.variants = variants.cast_unsigned();
            totals.bytes = bytes_of_blobs(connection)?;
            Ok(totals)
        })
    }
}

fn limit_of(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

fn count_entries(connection: &Connection, totals: &mut Totals) -> rusqlite::Result<()> {
    let mut states = [0; State::ALL.len()];
    let mut statement = connection.prepare_cached(
        "SELECT kind, state, trashed_ns IS NOT NULL, count(*) FROM entries WHERE key IS NOT NULL GROUP BY 1, 2, 3",
    )?;
    let mut groups = statement.query([])?;
    while let Some(row) = groups.next()? {
        let (kind, state, trashed): (String, String, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let count = row.get::<_, i64>(3)?.cast_unsigned();
        if trashed {
            totals.trashed += count;
            continue;
        }
        match EntryKind::of_word(&kind) {
            Some(EntryKind::Model) => totals.models += count,
            Some(EntryKind::Document) => totals.documents += count,
            None => {}
        }
        if let Some(at) = State::ALL.iter().position(|known| known.word() == state) {
            states[at] += count;
        }
    }
    totals.by_state = State::ALL.into_iter().zip(states).collect();
    Ok(())
}

/// The sizes of all blobs, each once. Where two variants say different things of one blob, the first one counts, in the
/// order of identities and names.
fn bytes_of_blobs(connection: &Connection) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(
        "SELECT v.digest, e.identity, v.name, v.size_bytes
         FROM variants v INDEXED BY variants_by_digest CROSS JOIN entries e ON e.id = v.entry
         WHERE v.digest IS NOT NULL AND v.size_bytes IS NOT NULL AND e.trashed_ns IS NULL
         ORDER BY v.digest",
    )?;
    let mut rows = statement.query([])?;
    let mut total = 0_u64;
    let mut group: Option<([u8; 32], EntryId, String, u64)> = None;
    while let Some(row) = rows.next()? {
        let next = (rows::array(row, 0)?, rows::identity(row, 1)?, row.get(2)?, row.get::<_, i64>(3)?.cast_unsigned());
        group = Some(match group.take() {
            Some(first) if first.0 == next.0 => first.min(next),
            before => {
                total += before.map_or(0, |(.., size)| size);
                next
            }
        });
    }
    Ok(total + group.map_or(0, |(.., size)| size))
}

/// What is asked of SQL: a table to go along in order of keys, and what rows must meet.
struct Search {
    from: &'static str,
    key: &'static str,
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Search {
    fn of(query: &Query, after: Option<&Key>) -> Self {
        let (from, key) = Search::along(query);
        let mut search = Search { from, key, conditions: Vec::new(), values: Vec::new() };
        if let Some(digest) = &query.digest {
            // It stands in the text before all conditions.
            search.values.push(Value::Blob(digest.as_bytes().to_vec()));
        }
        search.bounds(query, after);
        search.terms(query);
        search.rest(query);
        search
    }

    /// The way on which the fewest entries that are not wanted stand, as far as the query tells.
    fn along(query: &Query) -> (&'static str, &'static str) {
        if query.digest.is_some() {
            let of_digest = "(SELECT DISTINCT entry FROM variants WHERE digest = ?1) v CROSS JOIN entries e \
                             ON e.id = v.entry";
            (of_digest, "e.key")
        } else if !query.tags.is_empty() {
            ("tags t CROSS JOIN entries e ON e.id = t.entry", "t.key")
        } else if query.run.is_some() {
            ("entries e INDEXED BY entries_by_run", "e.key")
        } else if query.provider.is_some() {
            ("entries e INDEXED BY entries_by_provider", "e.key")
        } else if query.content_type.is_some() {
            ("entries e INDEXED BY entries_by_content_type", "e.key")
        } else if query.state.is_some() {
            ("entries e INDEXED BY entries_by_state", "e.key")
        } else {
            ("entries e INDEXED BY entries_by_key", "e.key")
        }
    }

    fn must(&mut self, condition: impl Into<String>, value: Value) {
        self.values.push(value);
        self.conditions.push(condition.into().replace("??", &format!("?{}", self.values.len())));
    }

    fn bounds(&mut self, query: &Query, after: Option<&Key>) {
        let key = self.key;
        let prefix = query.key_prefix();
        match after.map(Key::to_bytes).filter(|after| *after >= prefix) {
            Some(after) => self.must(format!("{key} > ??"), Value::Blob(after)),
            None => self.must(format!("{key} >= ??"), Value::Blob(prefix.clone())),
        }
        if let Some(end) = successor(prefix) {
            self.must(format!("{key} < ??"), Value::Blob(end));
        }
    }

    fn terms(&mut self, query: &Query) {
        let text = |text: &str| Value::Text(text.to_owned());
        if let (Some(tag), None) = (query.tags.first(), query.digest) {
            self.must("t.tag = ??", text(tag));
        }
        let columns = [
            ("e.run = ??", query.run.as_deref()),
            ("e.provider = ??", query.provider.as_deref()),
            ("e.content_type = ??", query.content_type.as_deref()),
            ("e.state = ??", query.state.map(State::word)),
            ("e.trust = ??", query.trust.map(|trust| trust.word())),
            ("e.kind = ??", query.kind.map(EntryKind::word)),
        ];
        for (condition, value) in columns {
            value.into_iter().for_each(|value| self.must(condition, text(value)));
        }
    }

    fn rest(&mut self, query: &Query) {
        let trashed = if query.trashed { "e.trashed_ns IS NOT NULL" } else { "e.trashed_ns IS NULL" };
        self.conditions.push(trashed.to_owned());
        // A time past what SQLite counts to is kept as a negative number: behind every bound that it does count to.
        let bound = |time: Option<u64>| time.map(bits).filter(|time| *time >= 0).map(Value::Integer);
        if let Some(before) = bound(query.before_ns) {
            self.must("e.registered_ns >= 0 AND e.registered_ns < ??", before);
        }
        if let Some(since) = bound(query.since_ns) {
            self.must("(e.registered_ns < 0 OR e.registered_ns >= ??)", since);
        }
    }

    fn sql(&self) -> String {
        let conditions = self.conditions.join(" AND ");
        format!("SELECT {ENTRY} FROM {} WHERE {conditions} ORDER BY {}", self.from, self.key)
    }
}

/// The least bytes behind all that begin with `prefix`; `None` where nothing is behind them.
fn successor(mut prefix: Vec<u8>) -> Option<Vec<u8>> {
    while let Some(last) = prefix.pop() {
        if last < u8::MAX {
            prefix.push(last + 1);
            return Some(prefix);
        }
    }
    None
}
