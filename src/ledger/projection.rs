//! SQLite brought up to the journal: read on from where it is while the journal reaches back so far, else made anew from
//! the tables of the index.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::compact::live_record;
use super::load::{cursor_of, reach_of};
use super::{Ledger, Policy};
use crate::format::layout::Layout;
use crate::format::record::Record;
use crate::format::table::Table;
use crate::machine::{Filesystem, Machine};
use crate::parts::catalog::Catalog;
use crate::parts::catalog::sqlite::{Place, Reached, Sqlite, Write};
use crate::parts::journal::{Cursor, chain};
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Error, ErrorKind, Result};

/// The tables whose rows are the catalog, in the order in which they are applied.
const TABLES: [Table; 4] = [Table::Entry, Table::Variant, Table::Use, Table::Trash];

/// A SQLite database that follows the journal.
pub struct Projection {
    sqlite: Sqlite,
    /// Whether its filesystem was looked at.
    looked: AtomicBool,
}

/// What failed: only where it is the database itself does making that anew help.
enum Failed {
    Database(Error),
    Store(Error),
}

impl Failed {
    fn error(self) -> Error {
        match self {
            Failed::Database(e) | Failed::Store(e) => e,
        }
    }
}

impl Projection {
    /// The database at `path` below the store directory; nothing is opened or made before the first use.
    pub(crate) fn new(machine: &Arc<dyn Machine>, layout: &Layout, policy: &Policy, path: &Path, wal: bool) -> Self {
        let place = Place {
            root: layout.root().to_owned(),
            path: layout.root().join(path),
            mode: 0o600 | (policy.directory_mode & 0o664),
            directory_mode: policy.directory_mode,
            wal,
            wait: policy.lock_timeout,
        };
        Projection { sqlite: Sqlite::new(Arc::clone(machine), place), looked: AtomicBool::default() }
    }

    /// What it answers, as the journal is now, and the last sequence that is in that.
    pub(crate) fn catalog(&self, ledger: &Ledger) -> Result<(Arc<dyn Catalog>, u64)> {
        self.follow(ledger)?;
        let view = self.sqlite.view()?;
        let sequence = view.reached()?.map_or(0, |reached| reached.reach.sequence);
        Ok((Arc::new(view), sequence))
    }

    /// Brings it up to the end of the journal. A database that cannot be read is kept in `quarantine/` and made anew.
    pub(crate) fn follow(&self, ledger: &Ledger) -> Result<()> {
        self.look(ledger)?;
        self.mended(ledger, |projection| projection.follow_once(ledger))
    }

    /// Makes it anew, whatever it holds.
    pub(crate) fn remake(&self, ledger: &Ledger) -> Result<()> {
        self.look(ledger)?;
        self.mended(ledger, |projection| {
            let write = projection.sqlite.write().map_err(Failed::Database)?;
            projection.fill(ledger, write)
        })
    }

    fn mended(&self, ledger: &Ledger, work: impl Fn(&Self) -> Result<(), Failed>) -> Result<()> {
        match work(self) {
            Err(Failed::Database(e)) if e.kind() == ErrorKind::Damaged => {
                self.set_aside(ledger)?;
                work(self).map_err(Failed::error)
            }
            done => done.map_err(Failed::error),
        }
    }

    /// SQLite makes its own calls, and with a write-ahead log its processes share memory, which no network carries.
    fn look(&self, ledger: &Ledger) -> Result<()> {
        if self.looked.load(Ordering::Relaxed) {
            return Ok(());
        }
        let place = self.sqlite.place();
        let filesystem = ledger.machine.filesystem(&place.root);
        let filesystem = filesystem.map_err(|e| Error::io("look at the filesystem of", &place.root, e))?;
        refuse_network(&filesystem, place)?;
        if !ledger.machine.is_real() {
            let reason = "SQLite makes its own calls to the system, and this machine is a simulated one";
            return Err(Error::new(ErrorKind::Unsupported, "ask the catalog", reason));
        }
        self.looked.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn follow_once(&self, ledger: &Ledger) -> Result<(), Failed> {
        let known = ledger.snapshot().map_err(Failed::Store)?.cursor;
        let reached = self.sqlite.reached().map_err(Failed::Database)?;
        if is_at(ledger, reached.as_ref(), &known).map_err(Failed::Store)? {
            return Ok(());
        }
        let mut write = self.sqlite.write().map_err(Failed::Database)?;
        // Somebody else may have done it while this one waited to be the only one.
        let reached = write.reached().map_err(Failed::Database)?;
        if is_at(ledger, reached.as_ref(), &known).map_err(Failed::Store)? {
            return Ok(());
        }
        match reached.filter(|reached| reached.store == ledger.policy.store) {
            Some(reached) if is_journal(ledger, &cursor_of(&reached.reach)).map_err(Failed::Store)? => {
                self.read_on(ledger, write, &reached)
            }
            _ => self.fill(ledger, write),
        }
    }

    /// Applies the frames behind the one that it reaches. What is damaged there was replayed otherwise by the index.
    fn read_on(&self, ledger: &Ledger, mut write: Write, reached: &Reached) -> Result<(), Failed> {
        let mut failed = None;
        let mut take = |record: &Record| write.apply(record).inspect_err(|e| failed = Some(e.duplicate()));
        let reading = ledger
            .journal
            .read_on(&cursor_of(&reached.reach), 0, &mut |_, records, _| records.iter().try_for_each(&mut take));
        match (reading, failed) {
            (_, Some(e)) => Err(Failed::Database(e)),
            (Ok(reading), None) if reading.damage.is_empty() => commit(ledger, write, &reading.cursor),
            (Err(e), None) if !chain::is_outgrown(&e) && e.kind() != ErrorKind::NotFound => Err(Failed::Store(e)),
            _ => self.fill(ledger, write),
        }
    }

    /// Puts everything that the tables of the index hold in the place of what there is.
    fn fill(&self, ledger: &Ledger, mut write: Write) -> Result<(), Failed> {
        write.clear().map_err(Failed::Database)?;
        let snapshot = ledger.snapshot().map_err(Failed::Store)?;
        for table in TABLES {
            for row in snapshot.view.prefix(&table.key(&[])) {
                let (key, value) = row.map_err(Failed::Store)?;
                if let Some(record) = live_record(&key, &value, 0).map_err(Failed::Store)? {
                    write.apply(&record).map_err(Failed::Database)?;
                }
            }
        }
        commit(ledger, write, &snapshot.cursor)
    }

    /// Moves the database to `quarantine/`: it may be somebody else's after all.
    fn set_aside(&self, ledger: &Ledger) -> Result<()> {
        let compaction = ledger.compaction(true)?;
        self.sqlite.close();
        let mut random = [0; 8];
        ledger.machine.random(&mut random).map_err(|e| Error::system("get random bytes", e))?;
        let directory = ledger.layout.quarantine();
        for file in self.sqlite.place().files() {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let kept = directory.join(format!("{name}-{:016x}", u64::from_le_bytes(random)));
            match ledger.machine.rename_new(&file, &kept) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("move", &file, e)),
                _ => {}
            }
        }
        drop(compaction);
        Ok(())
    }

    /// Removes the database, which this store no longer uses, if it is of this store.
    pub(crate) fn remove(&self, ledger: &Ledger) -> Result<()> {
        if self.sqlite.reached()?.is_none_or(|reached| reached.store != ledger.policy.store) {
            return Ok(());
        }
        self.sqlite.close();
        for file in self.sqlite.place().files() {
            match ledger.machine.unlink(&file) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("remove", &file, e)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// [`ErrorKind::Unsupported`] for a write-ahead log on a filesystem that other machines may share.
fn refuse_network(filesystem: &Filesystem, place: &Place) -> Result<()> {
    if filesystem.local || !place.wal {
        return Ok(());
    }
    let kind = &filesystem.kind;
    let reason =
        format!("its filesystem is {kind}, and a write-ahead log needs a local one: set catalog.wal_mode = false");
    Err(Error::new(ErrorKind::Unsupported, format!("use the catalog {}", place.path.display()), reason))
}

/// Whether a database holds what the journal says up to `known` or further.
fn is_at(ledger: &Ledger, reached: Option<&Reached>, known: &Cursor) -> Result<bool> {
    let Some(Reached { reach, .. }) = reached.filter(|reached| reached.store == ledger.policy.store) else {
        return Ok(false);
    };
    if (reach.sequence, reach.hash) == (known.sequence, known.hash) {
        return Ok(true);
    }
    Ok(reach.sequence > known.sequence && is_journal(ledger, &cursor_of(reach))?)
}

/// Whether the last frame that is in a database still is the journal's: a power cut may have taken it, and a failed sync
/// left it behind.
fn is_journal(ledger: &Ledger, cursor: &Cursor) -> Result<bool> {
    Ok(planted(Bug::ReachUnchecked) || ledger.journal.holds(cursor)?)
}

fn commit(ledger: &Ledger, write: Write, cursor: &Cursor) -> Result<(), Failed> {
    let reached = Reached { store: ledger.policy.store, reach: reach_of(cursor) };
    write.commit(&reached).map_err(Failed::Database)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Engine;
    use crate::machine::simulated::World;
    use crate::work::fixture::Fixture;

    #[test]
    fn a_log_is_refused_on_a_network_and_sqlite_on_a_simulated_machine() {
        let asked = |local: bool, wal: bool| {
            let world = World::new(1);
            world.configure(|options| (options.local, options.kind) = (local, "nfs".into()));
            let store = Fixture::new(world.process("asks"), Path::new("/store"));
            let engine = Engine::Sqlite { path: "catalog.sqlite".into(), wal };
            let error = store.ledger.engine_at(&engine).map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            error.to_string()
        };
        let refused = asked(false, true);
        assert!(refused.contains("nfs") && refused.contains("catalog.wal_mode = false"), "{refused}");
        for (local, wal) in [(false, false), (true, true)] {
            assert!(asked(local, wal).contains("simulated"), "{local} {wal}");
        }
    }
}
