//! Applying the journal's records, in one transaction with how far they reach.

use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::rows::{self, bits};
use super::{Lent, Place, Reached, Sql};
use crate::format::record::Record;
use crate::format::record::entry::{TrashedRecord, UsedRecord, VariantRecord};
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Card, EntryId, Key, Result};

/// A change under way; dropped, nothing of it holds.
pub struct Write {
    lent: Lent,
    place: Arc<Place>,
}

impl Write {
    pub(super) fn begin(mut lent: Lent, place: Arc<Place>) -> Result<Self> {
        lent.get().execute_batch("BEGIN IMMEDIATE").at(&place)?;
        Ok(Write { lent, place })
    }

    /// How far it reaches: nobody else changes that before the end of this.
    pub fn reached(&mut self) -> Result<Option<Reached>> {
        rows::reached(self.lent.get()).at(&self.place)
    }

    /// Takes everything away.
    pub fn clear(&mut self) -> Result<()> {
        let all =
            "DELETE FROM reach; DELETE FROM tags; DELETE FROM metadata; DELETE FROM variants; DELETE FROM entries";
        self.lent.get().execute_batch(all).at(&self.place)
    }

    /// Lets a record take effect, if it is one of the catalog's.
    pub fn apply(&mut self, record: &Record) -> Result<()> {
        let connection = &*self.lent.get();
        let done = match record {
            Record::Entry(r) => put_card(connection, &r.card),
            Record::Variant(r) => put_variant(connection, r),
            Record::VariantRemoved(r) => drop_variant(connection, &r.entry, &r.name),
            Record::EntryRemoved(r) => drop_entry(connection, &r.key),
            Record::Used(r) => put_usage(connection, r),
            Record::Trashed(r) => put_into_trash(connection, r),
            Record::Untrashed(entry) => take_out_of_trash(connection, entry),
            _ => Ok(()),
        };
        done.at(&self.place)
    }

    /// Ends it: what was applied holds from now on, and with it how far it reaches.
    pub fn commit(mut self, reached: &Reached) -> Result<()> {
        let connection = &*self.lent.get();
        let done = if planted(Bug::ReachApart) {
            connection.execute_batch("COMMIT").and_then(|()| put_reached(connection, reached))
        } else {
            put_reached(connection, reached).and_then(|()| connection.execute_batch("COMMIT"))
        };
        done.at(&self.place)
    }
}

fn put_reached(connection: &Connection, reached: &Reached) -> rusqlite::Result<()> {
    let reach = &reached.reach;
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO reach (one, store, sequence, hash, segment_first, segment_salt, segment_offset,
             last_offset, synced_through, time_ns)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let changed = statement.execute(params![
        reached.store,
        bits(reach.sequence),
        reach.hash,
        bits(reach.segment_first),
        reach.segment_salt,
        bits(reach.offset),
        bits(reach.last_offset),
        bits(reach.synced_through),
        bits(reach.time_ns),
    ]);
    changed.map(drop)
}

fn row_of(connection: &Connection, entry: &EntryId) -> rusqlite::Result<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT id FROM entries WHERE identity = ?1")?;
    statement.query_row([entry.as_bytes()], |row| row.get(0)).optional()
}

/// The row of an entry. One that is not known is made without a key: what described it was lost, and what belongs to it
/// was not.
fn row_for(connection: &Connection, entry: &EntryId) -> rusqlite::Result<i64> {
    if let Some(id) = row_of(connection, entry)? {
        return Ok(id);
    }
    connection.prepare_cached("INSERT INTO entries (identity) VALUES (?1)")?.insert([entry.as_bytes()])
}

fn put_card(connection: &Connection, card: &Card) -> rusqlite::Result<()> {
    let identity = card.id();
    let key = card.key.to_bytes();
    let id = match row_of(connection, &identity)? {
        Some(id) => {
            bind_card(connection.prepare_cached(UPDATE_CARD)?, card, &key, &identity)?;
            if !planted(Bug::TagKept) {
                connection.prepare_cached("DELETE FROM tags WHERE entry = ?1")?.execute([id])?;
            }
            connection.prepare_cached("DELETE FROM metadata WHERE entry = ?1")?.execute([id])?;
            id
        }
        None => {
            bind_card(connection.prepare_cached(INSERT_CARD)?, card, &key, &identity)?;
            connection.last_insert_rowid()
        }
    };
    let mut tags = connection.prepare_cached("INSERT OR REPLACE INTO tags (tag, key, entry) VALUES (?1, ?2, ?3)")?;
    for tag in &card.tags {
        tags.execute(params![tag, key, id])?;
    }
    let mut metadata = connection.prepare_cached("INSERT INTO metadata (entry, name, value) VALUES (?1, ?2, ?3)")?;
    for (name, value) in &card.metadata {
        metadata.execute(params![id, name, value])?;
    }
    Ok(())
}

const INSERT_CARD: &str = "INSERT INTO entries (identity, key, kind, provider, reference, version, source_url, title,
        source, content_type, run, registered_ns, updated_ns, verified_ns, state, trust, evidence_expected,
        evidence_found, evidence_ns, evidence_by, notes, sbom, signature)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23)";
const UPDATE_CARD: &str = "UPDATE entries SET key = ?2, kind = ?3, provider = ?4, reference = ?5, version = ?6,
        source_url = ?7, title = ?8, source = ?9, content_type = ?10, run = ?11, registered_ns = ?12, updated_ns = ?13,
        verified_ns = ?14, state = ?15, trust = ?16, evidence_expected = ?17, evidence_found = ?18, evidence_ns = ?19,
        evidence_by = ?20, notes = ?21, sbom = ?22, signature = ?23
    WHERE identity = ?1";

fn bind_card(mut statement: CachedStatement<'_>, card: &Card, key: &[u8], identity: &EntryId) -> rusqlite::Result<()> {
    let evidence = card.evidence.as_ref();
    let changed = statement.execute(params![
        identity.as_bytes(),
        key,
        card.key.kind().word(),
        card.key.provider(),
        card.key.reference(),
        card.key.version(),
        card.key.source_url(),
        card.title,
        card.source,
        card.content_type,
        card.run,
        bits(card.registered_ns),
        bits(card.updated_ns),
        card.verified_ns.map(bits),
        card.state.word(),
        card.trust.word(),
        evidence.and_then(|evidence| evidence.expected).map(|digest| *digest.as_bytes()),
        evidence.and_then(|evidence| evidence.found).map(|digest| *digest.as_bytes()),
        evidence.map(|evidence| bits(evidence.when_ns)),
        evidence.map(|evidence| evidence.by.as_str()),
        card.notes,
        card.sbom,
        card.signature,
    ]);
    changed.map(drop)
}

fn put_variant(connection: &Connection, r: &VariantRecord) -> rusqlite::Result<()> {
    let variant = &r.variant;
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO variants (entry, name, expected, digest, size_bytes, content_type, uri, alias, created_ns)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let changed = statement.execute(params![
        row_for(connection, &r.entry)?,
        variant.name,
        variant.expected.map(|digest| *digest.as_bytes()),
        variant.digest.map(|digest| *digest.as_bytes()),
        variant.size_bytes.map(bits),
        variant.content_type,
        variant.uri,
        variant.alias.as_ref().map(|name| name.as_bytes()),
        bits(variant.created_ns),
    ]);
    changed.map(drop)
}

fn drop_variant(connection: &Connection, entry: &EntryId, name: &str) -> rusqlite::Result<()> {
    let Some(id) = row_of(connection, entry)? else { return Ok(()) };
    let mut statement = connection.prepare_cached("DELETE FROM variants WHERE entry = ?1 AND name = ?2")?;
    statement.execute(params![id, name]).map(drop)
}

/// Variants have records of their own. Where one of those was lost, its variant stays.
fn drop_entry(connection: &Connection, key: &Key) -> rusqlite::Result<()> {
    let entry = key.id();
    let Some(id) = row_of(connection, &entry)? else { return Ok(()) };
    let mut left = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM variants WHERE entry = ?1)")?;
    let has_variants: bool = left.query_row([id], |row| row.get(0))?;
    if has_variants {
        let forget = "UPDATE variants SET entry = -1 WHERE entry = ?1";
        connection.execute_batch("PRAGMA defer_foreign_keys = ON")?;
        connection.execute(forget, [id])?;
        connection.execute("DELETE FROM entries WHERE id = ?1", [id])?;
        let bare = row_for(connection, &entry)?;
        return connection.execute("UPDATE variants SET entry = ?1 WHERE entry = -1", [bare]).map(drop);
    }
    connection.prepare_cached("DELETE FROM entries WHERE id = ?1")?.execute([id]).map(drop)
}

fn put_usage(connection: &Connection, r: &UsedRecord) -> rusqlite::Result<()> {
    let id = row_for(connection, &r.entry)?;
    let mut statement = connection.prepare_cached("UPDATE entries SET used_count = ?2, used_ns = ?3 WHERE id = ?1")?;
    statement.execute(params![id, bits(r.usage.count), bits(r.usage.last_ns)]).map(drop)
}

fn put_into_trash(connection: &Connection, r: &TrashedRecord) -> rusqlite::Result<()> {
    let id = row_for(connection, &r.entry)?;
    let mut statement =
        connection.prepare_cached("UPDATE entries SET trashed_ns = ?2, trashed_by = ?3 WHERE id = ?1")?;
    statement.execute(params![id, bits(r.since.time_ns), r.rule]).map(drop)
}

fn take_out_of_trash(connection: &Connection, entry: &EntryId) -> rusqlite::Result<()> {
    let sql = "UPDATE entries SET trashed_ns = NULL, trashed_by = NULL WHERE identity = ?1";
    connection.prepare_cached(sql)?.execute([entry.as_bytes()]).map(drop)
}
