//! Catalogs of other programs in SQLite: a table of models, or one of documents with their variants.

use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};
use serde_json::{Map, Value};

use crate::vocabulary::{Error, ErrorKind, Result};

/// What takes a row: its number, and an object in JSON; `false` ends it.
pub type Each<'a> = dyn FnMut(u64, &[u8]) -> Result<bool> + 'a;

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
        let mut statement = self.database.prepare(&format!("SELECT * FROM {table} ORDER BY rowid"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            self.number += 1;
            let mut object = object(row)?;
            object.insert("kind".into(), kind.into());
            if kind == "document"
                && let Some(id) = object.remove("id").filter(|_| self.variants)
            {
                object.insert("variants".into(), Value::Array(self.variants_of(&id)?));
            }
            let line = Value::Object(object).to_string();
            match (self.each)(self.number, line.as_bytes()) {
                Ok(true) => {}
                other => return Ok(other),
            }
        }
        Ok(Ok(true))
    }

    fn variants_of(&self, document: &Value) -> rusqlite::Result<Vec<Value>> {
        let mut statement =
            self.database.prepare_cached("SELECT * FROM variants WHERE document_id = ?1 ORDER BY variant")?;
        let rows = statement.query_map([document.as_i64()], |row| {
            let mut variant = object(row)?;
            variant.remove("id");
            variant.remove("document_id");
            Ok(Value::Object(variant))
        })?;
        rows.collect()
    }
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
