//! Rows of the database as values, and back.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row};

use super::Reached;
use crate::format::current::Reach;
use crate::vocabulary::{Card, Digest, Entry, EntryId, Evidence, Key, Name, State, Trust, Usage, Variant};

/// A number as the 64 bits that SQLite keeps.
pub(super) fn bits(number: u64) -> i64 {
    number.cast_signed()
}

fn number(bits: i64) -> u64 {
    bits.cast_unsigned()
}

/// What is in a column is not what belongs there.
fn wrong(column: usize, kind: Type) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(column, "a value that larder does not write".into(), kind)
}

pub(super) fn array<const N: usize>(row: &Row<'_>, at: usize) -> rusqlite::Result<[u8; N]> {
    let bytes: Vec<u8> = row.get(at)?;
    bytes.try_into().map_err(|_| wrong(at, Type::Blob))
}

fn digest(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Digest>> {
    match row.get_ref(at)?.data_type() {
        Type::Null => Ok(None),
        _ => array(row, at).map(Digest::from_bytes).map(Some),
    }
}

pub(super) fn identity(row: &Row<'_>, at: usize) -> rusqlite::Result<EntryId> {
    array(row, at).map(EntryId::from_bytes)
}

pub(super) fn key(row: &Row<'_>, at: usize) -> rusqlite::Result<Key> {
    Key::from_bytes(row.get_ref(at)?.as_blob()?).ok_or_else(|| wrong(at, Type::Blob))
}

fn word<T>(row: &Row<'_>, at: usize, of: impl Fn(&str) -> Option<T>) -> rusqlite::Result<T> {
    of(row.get_ref(at)?.as_str()?).ok_or_else(|| wrong(at, Type::Text))
}

/// How far the database reaches.
pub(super) fn reached(connection: &Connection) -> rusqlite::Result<Option<Reached>> {
    let mut statement = connection.prepare_cached(
        "SELECT store, sequence, hash, segment_first, segment_salt, segment_offset, last_offset, synced_through, time_ns
         FROM reach",
    )?;
    let row = statement.query_row([], |row| {
        let reach = Reach {
            sequence: number(row.get(1)?),
            hash: array(row, 2)?,
            segment_first: number(row.get(3)?),
            segment_salt: array(row, 4)?,
            offset: number(row.get(5)?),
            last_offset: number(row.get(6)?),
            synced_through: number(row.get(7)?),
            time_ns: number(row.get(8)?),
        };
        Ok(Reached { store: array(row, 0)?, reach })
    });
    row.optional()
}

/// The columns of an entry, in the order in which [`entry`] reads them.
pub(super) const ENTRY: &str = "e.id, e.key, e.title, e.source, e.content_type, e.run, e.registered_ns, e.updated_ns, \
                                e.verified_ns, e.state, e.trust, e.evidence_expected, e.evidence_found, \
                                e.evidence_ns, e.evidence_by, e.notes, e.sbom, e.signature, e.used_count, e.used_ns, \
                                e.trashed_ns";

/// The entry of a row, with what other tables have of it.
pub(super) fn entry(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<Entry> {
    let id: i64 = row.get(0)?;
    let evidence = match row.get::<_, Option<i64>>(13)? {
        None => None,
        Some(when) => Some(Evidence {
            expected: digest(row, 11)?,
            found: digest(row, 12)?,
            when_ns: number(when),
            by: row.get(14)?,
        }),
    };
    let card = Card {
        key: key(row, 1)?,
        title: row.get(2)?,
        source: row.get(3)?,
        content_type: row.get(4)?,
        run: row.get(5)?,
        registered_ns: number(row.get(6)?),
        updated_ns: number(row.get(7)?),
        verified_ns: row.get::<_, Option<i64>>(8)?.map(number),
        state: word(row, 9, State::of_word)?,
        trust: word(row, 10, Trust::of_word)?,
        evidence,
        metadata: metadata(connection, id)?,
        tags: tags(connection, id)?,
        notes: row.get(15)?,
        sbom: row.get(16)?,
        signature: row.get(17)?,
    };
    let usage = Usage { count: number(row.get(18)?), last_ns: number(row.get(19)?) };
    let trashed_ns = row.get::<_, Option<i64>>(20)?.map(number);
    Ok(Entry { card, variants: variants(connection, id)?, usage, trashed_ns })
}

fn metadata(connection: &Connection, id: i64) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut statement = connection.prepare_cached("SELECT name, value FROM metadata WHERE entry = ?1")?;
    statement.query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn tags(connection: &Connection, id: i64) -> rusqlite::Result<BTreeSet<String>> {
    let mut statement = connection.prepare_cached("SELECT tag FROM tags WHERE entry = ?1")?;
    statement.query_map([id], |row| row.get(0))?.collect()
}

fn variants(connection: &Connection, id: i64) -> rusqlite::Result<Vec<Variant>> {
    let mut statement = connection.prepare_cached(
        "SELECT name, expected, digest, size_bytes, content_type, uri, alias, created_ns FROM variants
         WHERE entry = ?1 ORDER BY name",
    )?;
    let variants = statement.query_map([id], |row| {
        let alias: Option<Vec<u8>> = row.get(6)?;
        Ok(Variant {
            name: row.get(0)?,
            expected: digest(row, 1)?,
            digest: digest(row, 2)?,
            size_bytes: row.get::<_, Option<i64>>(3)?.map(number),
            content_type: row.get(4)?,
            uri: row.get(5)?,
            alias: alias.map(Name::new).transpose().map_err(|_| wrong(6, Type::Blob))?,
            created_ns: number(row.get(7)?),
        })
    })?;
    variants.collect()
}
