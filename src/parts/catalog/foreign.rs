//! Catalogs of other programs in SQLite: a table of models, or one of documents with their variants.

use std::path::Path;

use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};
use serde_json::{Map, Value};

use crate::vocabulary::limits::{ENTRY_VARIANTS, MANIFEST_LINE_BYTES};
use crate::vocabulary::{Error, ErrorKind, Result};

/// What takes a row: its number, and an object in JSON, or why there is none; `false` ends it.
pub type Each<'a> = dyn FnMut(u64, std::result::Result<&[u8], String>) -> Result<bool> + 'a;

/// Gives every row of the tables `models` and `documents`, whichever there are, to `each`, a document with its variants in
/// one object. The database is only read.
///
/// [`ErrorKind::Busy`] where another program writes to it, [`ErrorKind::Io`] where it is damaged or no database, and
/// [`ErrorKind::Invalid`] where it has neither table.
pub fn read(path: &Path, each: &mut Each<'_>) -> Result<()> {
    let trouble = |e: rusqlite::Error| {
        let kind = match e.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => ErrorKind::Busy,
            _ => ErrorKind::Io,
        };
        Error::new(kind, format!("import {}", path.display()), e.to_string())
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(path, flags).map_err(trouble)?;
    // A row that is longer than any line may be is not read: memory is bounded whatever is in there.
    let most = i32::try_from(MANIFEST_LINE_BYTES).expect("it is a small number");
    database.set_limit(Limit::SQLITE_LIMIT_LENGTH, most).map_err(trouble)?;
    // What a stranger's schema would have run is not run.
    database.pragma_update(None, "trusted_schema", false).map_err(trouble)?;
    let (models, documents) =
        (has(&database, "models").map_err(trouble)?, has(&database, "documents").map_err(trouble)?);
    if !models && !documents {
        let reason = "it has neither a table `models` nor a table `documents`";
        return Err(Error::new(ErrorKind::Invalid, format!("import {}", path.display()), reason));
    }
    let variants = documents && has(&database, "variants").map_err(trouble)?;
    let mut taking = Taking { database: &database, each, number: 0, variants };
    let mut done = Ok(true);
    for (table, kind) in [("models", "model"), ("documents", "document")] {
        let there = if kind == "model" { models } else { documents };
        if there && matches!(done, Ok(true)) {
            done = taking.table(table, kind).map_err(trouble)?;
        }
    }
    done.map(drop)
}

fn has(database: &Connection, table: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1)";
    database.query_row(sql, [table], |row| row.get(0))
}

struct Taking<'a, 'b> {
    database: &'a Connection,
    each: &'a mut Each<'b>,
    number: u64,
    variants: bool,
}

impl Taking<'_, '_> {
    /// Takes the rows of a table; `false`: somebody wants to stop.
    fn table(&mut self, table: &str, kind: &str) -> rusqlite::Result<Result<bool>> {
        let mut numbers = self.database.prepare(&format!("SELECT rowid FROM {table} ORDER BY rowid"))?;
        let mut numbers = numbers.query([])?;
        let one = format!("SELECT * FROM {table} WHERE rowid = ?1");
        while let Some(number) = numbers.next()? {
            self.number += 1;
            let line = match self.line(&one, number.get(0)?, kind) {
                Err(e) if e.sqlite_error_code() == Some(rusqlite::ErrorCode::TooBig) => Err(too_long()),
                line => Ok(line?),
            };
            let line = line.and_then(|line| if line.len() > MANIFEST_LINE_BYTES { Err(too_long()) } else { Ok(line) });
            match (self.each)(self.number, line.as_ref().map(String::as_bytes).map_err(Clone::clone)) {
                Ok(true) => {}
                other => return Ok(other),
            }
        }
        Ok(Ok(true))
    }

    /// One row, with its variants, as one object.
    fn line(&self, sql: &str, number: i64, kind: &str) -> rusqlite::Result<String> {
        let mut object = self.database.prepare_cached(sql)?.query_row([number], object)?;
        object.insert("kind".into(), kind.into());
        if kind == "document"
            && let Some(id) = object.remove("id").filter(|_| self.variants)
        {
            object.insert("variants".into(), Value::Array(self.variants_of(&id)?));
        }
        Ok(Value::Object(object).to_string())
    }

    /// The variants of a document: one more than an entry may have, at most, so that it is refused for them.
    fn variants_of(&self, document: &Value) -> rusqlite::Result<Vec<Value>> {
        let sql = "SELECT * FROM variants WHERE document_id = ?1 ORDER BY variant LIMIT ?2";
        let mut statement = self.database.prepare_cached(sql)?;
        let most = ENTRY_VARIANTS as i64 + 1;
        let rows = statement.query_map((document.as_i64(), most), |row| {
            let mut variant = object(row)?;
            variant.remove("id");
            variant.remove("document_id");
            Ok(Value::Object(variant))
        })?;
        rows.collect()
    }
}

fn too_long() -> String {
    format!("it is too long: at most {MANIFEST_LINE_BYTES} bytes are read")
}

/// A row as an object. What is neither a number nor text is left out.
fn object(row: &Row<'_>) -> rusqlite::Result<Map<String, Value>> {
    let mut object = Map::new();
    for (index, name) in row.as_ref().column_names().enumerate() {
        let value = match row.get_ref(index)? {
            ValueRef::Integer(number) => number.into(),
            ValueRef::Real(number) => number.into(),
            ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
            ValueRef::Null | ValueRef::Blob(_) => continue,
        };
        object.insert(name.to_owned(), value);
    }
    Ok(object)
}
