//! SQLite as an engine of the catalog: the journal's records, as tables that other programs can ask.
//!
//! The file is a projection: each record up to a frame is applied in one transaction together with the number and hash of
//! that frame, so that a crash leaves an older and consistent one. Whoever has the journal brings it up to date, or makes
//! it anew. What it answers, every other engine answers.
//!
//! SQLite reads and writes its file by itself, past the machine: nothing else of the store rests on that file.

mod read;
mod rows;
mod schema;
#[cfg(test)]
mod tests;
mod write;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::format::current::Reach;
use crate::machine::{FileKind, Machine, Open};
use crate::vocabulary::{Error, ErrorKind, Result};

pub use read::View;
pub use write::Write;

/// Connections that are kept for the next who asks.
const IDLE: usize = 8;
/// Prepared statements that a connection keeps: every shape of a query.
const STATEMENTS: usize = 64;
/// How much of the file a connection holds in memory, in KiB.
const CACHE_KIB: i64 = 8 << 10;
/// Past this size, in bytes, what is left of a write-ahead log is cut off.
const LOG_KEPT_BYTES: i64 = 64 << 20;
/// What SQLite keeps beside the file.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Where a database is, and how it is kept.
#[derive(Clone, Debug)]
pub struct Place {
    /// The store directory, below which everything stays.
    pub root: PathBuf,
    /// The file.
    pub path: PathBuf,
    /// Mode of the file.
    pub mode: u32,
    /// Mode of directories that are made for it.
    pub directory_mode: u32,
    /// Whether it has a write-ahead log.
    pub wal: bool,
    /// How long to wait for somebody else's lock.
    pub wait: Duration,
}

impl Place {
    fn attempt(&self) -> String {
        format!("use the catalog {}", self.path.display())
    }

    /// The file and what SQLite keeps beside it.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let name = |suffix: &str| {
            let mut path = self.path.clone().into_os_string();
            path.push(suffix);
            PathBuf::from(path)
        };
        std::iter::once("").chain(BESIDE).map(name)
    }
}

/// How far a database reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The store whose records it has.
    pub store: [u8; 16],
    /// The last frame that is in it.
    pub reach: Reach,
}

/// A database, for all threads of this process.
pub struct Sqlite {
    machine: Arc<dyn Machine>,
    place: Arc<Place>,
    pool: Arc<Pool>,
}

/// Connections to one file that nobody uses at the moment.
#[derive(Default)]
struct Pool(Mutex<Idle>);

#[derive(Default)]
struct Idle {
    inode: u64,
    connections: Vec<Connection>,
}

impl Pool {
    /// One to the file with this inode; those to a file that was there before are closed.
    fn take(&self, inode: u64) -> Option<Connection> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.inode != inode {
            *idle = Idle { inode, connections: Vec::new() };
        }
        idle.connections.pop()
    }

    fn give_back(&self, inode: u64, connection: Connection) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.inode == inode && idle.connections.len() < IDLE {
            idle.connections.push(connection);
        }
    }
}

/// A connection that is in use, and goes back to the others when it is done with.
struct Lent {
    pool: Arc<Pool>,
    inode: u64,
    connection: Option<Connection>,
}

impl Lent {
    fn get(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("it is there until it is given back")
    }
}

impl Drop for Lent {
    /// One whose transaction cannot be ended is closed, which ends it.
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && (connection.is_autocommit() || connection.execute_batch("ROLLBACK").is_ok())
        {
            self.pool.give_back(self.inode, connection);
        }
    }
}

impl Sqlite {
    /// The database at `place`; nothing is opened or made before the first use.
    pub fn new(machine: Arc<dyn Machine>, place: Place) -> Self {
        Sqlite { machine, place: Arc::new(place), pool: Arc::default() }
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// How far it reaches; `None` where it holds nothing that is whole.
    pub fn reached(&self) -> Result<Option<Reached>> {
        let mut lent = self.connect()?;
        rows::reached(lent.get()).at(&self.place)
    }

    /// What it holds now.
    pub fn view(&self) -> Result<View> {
        View::begin(self.connect()?, Arc::clone(&self.place))
    }

    /// Begins to change it; nothing of that holds before [`Write::commit`].
    pub fn write(&self) -> Result<Write> {
        Write::begin(self.connect()?, Arc::clone(&self.place))
    }

    /// Closes what is open of it and nobody uses.
    pub fn close(&self) {
        self.pool.take(0);
    }

    fn connect(&self) -> Result<Lent> {
        let inode = self.file()?;
        let connection = match self.pool.take(inode) {
            Some(connection) => connection,
            None => open(&self.place)?,
        };
        Ok(Lent { pool: Arc::clone(&self.pool), inode, connection: Some(connection) })
    }

    /// The inode of the file, which is made if there is none, with its directories.
    fn file(&self) -> Result<u64> {
        let path = &self.place.path;
        match self.machine.lstat(path) {
            Ok(meta) if meta.kind == FileKind::File => return Ok(meta.inode),
            Ok(_) => return Err(Error::new(ErrorKind::Refused, self.place.attempt(), "it is no file")),
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("look at", path, e)),
            Err(_) => {}
        }
        self.make_directories(path)?;
        match self.machine.open(path, Open::CreateNew { mode: self.place.mode }) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(Error::io("create", path, e)),
            _ => self.machine.lstat(path).map(|meta| meta.inode).map_err(|e| Error::io("look at", path, e)),
        }
    }

    fn make_directories(&self, path: &Path) -> Result<()> {
        let below = path.parent().and_then(|parent| parent.strip_prefix(&self.place.root).ok());
        let mut directory = self.place.root.clone();
        for part in below.into_iter().flat_map(Path::components) {
            directory.push(part);
            match self.machine.create_dir(&directory, self.place.directory_mode) {
                Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(Error::io("create", &directory, e));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Opens the file, which is there, and follows no symbolic link on the way.
fn open(place: &Place) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection = Connection::open_with_flags(&place.path, flags).at(place)?;
    set_up(&connection, place).at(place)?;
    schema::prepare(&mut connection, place)?;
    keep_log(&connection, place).at(place)?;
    Ok(connection)
}

/// What is in the file is not trusted to run anything; nothing is mapped, so that a file cut short is an error; what a
/// query sorts stays in memory and out of other directories.
fn set_up(connection: &Connection, place: &Place) -> rusqlite::Result<()> {
    connection.busy_timeout(place.wait)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "journal_size_limit", LOG_KEPT_BYTES)
}

/// With a log, a power cut takes at most the last transactions; without one, each is synced, since else it might take the
/// file. Where somebody else uses it, it stays as it is.
fn keep_log(connection: &Connection, place: &Place) -> rusqlite::Result<()> {
    if has_log(connection)? != place.wal {
        let wanted = if place.wal { "wal" } else { "delete" };
        match connection.pragma_update(None, "journal_mode", wanted) {
            Err(e) if e.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {}
            other => other?,
        }
    }
    let sync = if has_log(connection)? { "NORMAL" } else { "FULL" };
    connection.pragma_update(None, "synchronous", sync)
}

fn has_log(connection: &Connection) -> rusqlite::Result<bool> {
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    Ok(mode.eq_ignore_ascii_case("wal"))
}

/// What went wrong with SQLite, as an error of the library.
trait Sql<T> {
    fn at(self, place: &Place) -> Result<T>;
}

impl<T> Sql<T> for rusqlite::Result<T> {
    fn at(self, place: &Place) -> Result<T> {
        self.map_err(|e| Error::new(kind_of(&e), place.attempt(), format!("SQLite: {e}")))
    }
}

fn kind_of(error: &rusqlite::Error) -> ErrorKind {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorKind::Busy,
        Some(ErrorCode::DiskFull) => ErrorKind::NoSpace,
        Some(ErrorCode::ReadOnly) => ErrorKind::ReadOnly,
        Some(ErrorCode::PermissionDenied) => ErrorKind::Permission,
        Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure | ErrorCode::FileLockingProtocolFailed) => {
            ErrorKind::Io
        }
        Some(ErrorCode::OutOfMemory | ErrorCode::OperationInterrupted | ErrorCode::OperationAborted) => ErrorKind::Io,
        // What is left says that the file is not what it should be.
        _ => ErrorKind::Damaged,
    }
}
