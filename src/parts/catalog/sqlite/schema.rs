//! Making the schema, and bringing an older one up to date.

use rusqlite::{Connection, TransactionBehavior};

use super::{Place, Sql};
use crate::vocabulary::{Error, ErrorKind, Result};

/// The schema as it is now.
const SCHEMA: &str = include_str!("schema.sql");
/// What the file says of itself: `lard`.
pub(super) const APPLICATION: i32 = 0x6c61_7264;
/// The version of [`SCHEMA`].
pub(super) const VERSION: i32 = 2;
/// What leads from each version to the next, from the first on.
const MIGRATIONS: [&str; VERSION as usize - 1] = [include_str!("to-2.sql")];

/// What the file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Nothing yet.
    Empty,
    /// A catalog of this version.
    Version(i32),
    /// A database of another program.
    Other,
}

/// Makes the schema where there is none, and brings an older one up to date, each in one transaction.
///
/// [`ErrorKind::Unsupported`] for one of a later program, [`ErrorKind::Refused`] for a database of another one, and
/// [`ErrorKind::Damaged`] for one that somebody gave triggers, which would change what is written.
pub(super) fn prepare(connection: &mut Connection, place: &Place) -> Result<()> {
    match found(connection).at(place)? {
        Found::Version(VERSION) => refuse_triggers(connection, place),
        Found::Version(later) if later > VERSION => {
            let reason = format!("a later larder made it (schema {later}, and this program knows {VERSION} at most)");
            Err(Error::new(ErrorKind::Unsupported, place.attempt(), reason))
        }
        Found::Other => {
            let reason = "it is a database of another program: move it away, or set another catalog.path";
            Err(Error::new(ErrorKind::Refused, place.attempt(), reason))
        }
        Found::Empty | Found::Version(_) => {
            migrate(connection).at(place)?;
            prepare(connection, place)
        }
    }
}

fn found(connection: &Connection) -> rusqlite::Result<Found> {
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let things: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match (application, version, things) {
        (0, 0, 0) => Found::Empty,
        (APPLICATION, 1.., _) => Found::Version(version),
        _ => Found::Other,
    })
}

/// Whoever waited for the lock looks again: somebody else may have done it.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match found(&transaction)? {
        Found::Empty => transaction.execute_batch(SCHEMA)?,
        Found::Version(version) => {
            for step in MIGRATIONS.iter().skip(version as usize - 1) {
                transaction.execute_batch(step)?;
            }
        }
        Found::Other => {}
    }
    transaction.commit()
}

fn refuse_triggers(connection: &Connection, place: &Place) -> Result<()> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'";
    let triggers: i64 = connection.query_row(sql, [], |row| row.get(0)).at(place)?;
    match triggers {
        0 => Ok(()),
        _ => Err(Error::new(ErrorKind::Damaged, place.attempt(), "it has triggers, which no larder makes")),
    }
}
