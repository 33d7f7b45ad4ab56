//! Which engine answers what is asked of the catalog. The journal is the truth whichever it is, and the tables of the
//! index are there in any store: they are what transactions read.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Ledger;
#[cfg(feature = "sqlite")]
use super::projection::Projection;
use crate::parts::catalog::Catalog;
use crate::vocabulary::{Error, ErrorKind, Result};

/// What answers for the catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// The tables of the index.
    #[default]
    Embedded,
    /// A SQLite database.
    Sqlite {
        /// Where it is, below the store directory.
        path: PathBuf,
        /// Whether it has a write-ahead log.
        wal: bool,
    },
}

impl Engine {
    /// The word for it in settings, in JSON and on the terminal.
    pub fn word(&self) -> &'static str {
        match self {
            Engine::Embedded => "embedded",
            Engine::Sqlite { .. } => "sqlite",
        }
    }

    /// [`ErrorKind::Unsupported`] for one that this program was built without.
    pub fn is_built_in(&self) -> Result<()> {
        match self {
            Engine::Sqlite { .. } if cfg!(not(feature = "sqlite")) => {
                let reason = "the store keeps it in SQLite, and this program was built without it (feature `sqlite`)";
                Err(Error::new(ErrorKind::Unsupported, "ask the catalog", reason))
            }
            _ => Ok(()),
        }
    }
}

impl Ledger {
    /// The engine of this store, as the journal is now.
    ///
    /// [`ErrorKind::Unsupported`] where this program was built without it. Where the store cannot be written to, or another
    /// engine than the index not be brought up to date since the disk is full or fails, the index answers in its place.
    pub fn catalog(&self) -> Result<Arc<dyn Catalog>> {
        self.policy.engine.is_built_in()?;
        #[cfg(feature = "sqlite")]
        if let Some(projection) = self.projection.as_ref().filter(|_| self.policy.writable) {
            match projection.catalog(self) {
                // Whoever makes room has none: what is removed is chosen without it.
                Err(e) if matches!(e.kind(), ErrorKind::NoSpace | ErrorKind::Io | ErrorKind::ReadOnly) => {}
                answered => return Ok(answered?.0),
            }
        }
        Ok(self.snapshot()?)
    }

    /// Any engine over this store, whether or not it is the store's, with the last sequence that it knows of.
    pub fn engine_at(&self, engine: &Engine) -> Result<(Arc<dyn Catalog>, u64)> {
        engine.is_built_in()?;
        #[cfg(feature = "sqlite")]
        if let Some(projection) = self.projection_of(engine).filter(|_| self.policy.writable) {
            return projection.catalog(self);
        }
        let snapshot = self.snapshot()?;
        let sequence = snapshot.cursor.sequence;
        Ok((snapshot, sequence))
    }

    /// Removes what an engine keeps of this store, which has another one now.
    pub fn remove_engine(&self, engine: &Engine) -> Result<()> {
        #[cfg(feature = "sqlite")]
        if let Some(projection) = self.projection_of(engine) {
            return projection.remove(self);
        }
        #[cfg(not(feature = "sqlite"))]
        engine.is_built_in()?;
        Ok(())
    }

    #[cfg(feature = "sqlite")]
    fn projection_of(&self, engine: &Engine) -> Option<Projection> {
        match engine {
            Engine::Embedded => None,
            Engine::Sqlite { path, wal } => {
                Some(Projection::new(&self.machine, &self.layout, &self.policy, path, *wal))
            }
        }
    }

    /// The tables of the index as an engine, whichever one the store has.
    pub fn embedded_catalog(&self) -> Result<Arc<dyn Catalog>> {
        Ok(self.snapshot()?)
    }

    /// Lets another engine than the index follow, where a commit has changed the catalog. That it cannot is no harm: it
    /// follows before its next answer.
    pub(super) fn follow_if_changed(&self) {
        if self.catalog_changed.swap(false, Ordering::Relaxed) {
            #[cfg(feature = "sqlite")]
            if let Some(projection) = &self.projection {
                let _ = projection.follow(self);
            }
        }
    }

    /// Makes another engine than the index anew.
    pub fn remake_catalog(&self) -> Result<()> {
        #[cfg(feature = "sqlite")]
        if let Some(projection) = &self.projection {
            return projection.remake(self);
        }
        Ok(())
    }
}
