//! Rows in SQLite, with the columns and indexes that larder has for them: blobs by digest, names by name and by digest,
//! sources by digest. WAL mode with `synchronous = FULL`, so that what is acknowledged is on the disk.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use larder_peers::data::Row;
use larder_peers::rows::{self, Rows};
use rusqlite::{Connection, OptionalExtension, params};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS blobs (digest BLOB PRIMARY KEY, blake3 BLOB NOT NULL, size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, mode INTEGER NOT NULL,
    added_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS names (name TEXT PRIMARY KEY, digest BLOB NOT NULL, size_bytes INTEGER NOT NULL,
    hardlinked INTEGER NOT NULL, executable INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, added_ns INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS names_by_digest ON names (digest);
CREATE TABLE IF NOT EXISTS sources (digest BLOB PRIMARY KEY, source TEXT NOT NULL) WITHOUT ROWID;";

/// A connection belongs to one thread at a time; each thread takes one of these, as programs with a pool do.
struct Sqlite {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Sqlite {
    fn connect(path: &Path) -> Connection {
        let connection = Connection::open(path).expect("a database");
        connection.busy_timeout(std::time::Duration::from_secs(60)).expect("a timeout");
        connection.pragma_update(None, "journal_mode", "wal").expect("it is set");
        connection.pragma_update(None, "synchronous", "full").expect("it is set");
        connection.set_prepared_statement_cache_capacity(16);
        connection
    }

    fn with<T>(&self, work: impl FnOnce(&Connection) -> T) -> T {
        let taken = self.idle.lock().expect("no thread panics").pop();
        let connection = taken.unwrap_or_else(|| Self::connect(&self.path));
        let done = work(&connection);
        self.idle.lock().expect("no thread panics").push(connection);
        done
    }
}

fn insert(connection: &Connection, row: &Row) -> rusqlite::Result<()> {
    let blob = "INSERT INTO blobs VALUES (?1, ?1, ?2, ?3, ?3, ?3, 292, ?3)";
    connection.prepare_cached(blob)?.execute(params![row.digest, row.size as i64, row.size as i64])?;
    let source = "INSERT INTO sources VALUES (?1, ?2)";
    connection.prepare_cached(source)?.execute(params![row.digest, row.source])?;
    insert_name(connection, row)
}

fn insert_name(connection: &Connection, row: &Row) -> rusqlite::Result<()> {
    let name = "INSERT INTO names VALUES (?1, ?2, ?3, 0, 0, ?3, ?3)";
    connection.prepare_cached(name)?.execute(params![row.name, row.digest, row.size as i64])?;
    Ok(())
}

impl Rows for Sqlite {
    fn open(directory: &Path) -> Self {
        std::fs::create_dir_all(directory).expect("a directory");
        let path = directory.join("rows.sqlite");
        let is_new = !path.exists();
        let connection = Self::connect(&path);
        if is_new {
            connection.execute_batch(SCHEMA).expect("a schema");
        }
        Sqlite { path, idle: Mutex::new(vec![connection]) }
    }

    fn load(&self, rows: &mut dyn Iterator<Item = Row>) {
        self.with(|connection| {
            connection.execute_batch("BEGIN IMMEDIATE").expect("a transaction");
            rows.for_each(|row| insert(connection, &row).expect("an insert"));
            connection.execute_batch("COMMIT").expect("a commit");
            connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("a checkpoint");
        });
    }

    /// A name alone, as a counted alias of larder is.
    fn put(&self, row: &Row) {
        self.with(|connection| insert_name(connection, row).expect("an insert"));
    }

    fn get(&self, name: &str) -> Option<[u8; 32]> {
        self.with(|connection| {
            let mut asking = connection.prepare_cached("SELECT digest FROM names WHERE name = ?1").expect("a query");
            asking.query_row([name], |found| found.get(0)).optional().expect("it can be read")
        })
    }

    fn settle(self) {
        self.with(|connection| {
            connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)").expect("it can be made smaller");
        });
    }
}

fn main() {
    rows::main::<Sqlite>();
}
