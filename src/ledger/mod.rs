//! Journal, index, names and lock as one transactional thing.
//!
//! A [`Ledger`] gives readers [`Snapshot`]s without any lock, and runs transactions under `lock`: each holder first
//! follows the journal to its end ([`hold`]), cuts or fences what it must, finishes the last frame, then checks and
//! records ([`commit`]), and makes `names/` agree ([`apply`]). [`fold`] keeps the part of the journal that is in no run
//! bounded; `replay` stands in for runs that cannot be read; `tail` holds what is in no run before it is put in order; [`compact`] writes a new base; [`engine`] says what answers for the
//! catalog; [`anew`] makes a journal where there is
//! none, and [`mend`] one where it is damaged.

pub mod anew;
pub mod apply;
pub mod catalog;
pub mod commit;
pub mod compact;
pub mod engine;
pub mod fold;
pub mod heal;
pub mod hold;
pub mod load;
pub mod mend;
#[cfg(feature = "sqlite")]
pub mod projection;
mod replay;
mod runs;
pub mod tables;
mod tail;
mod uses;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::time::Duration;

use crate::format::layout::Layout;
use crate::format::settings::Durability;
use crate::machine::Machine;
use crate::machine::kept::KeptOpen;
use crate::parts::blobs::Blobs;
use crate::parts::carriers::Carriers;
use crate::parts::index::{Index, View};
use crate::parts::journal::chain::Damage;
use crate::parts::journal::{Cursor, Journal};
use crate::parts::names::Names;
use crate::parts::sessions::Sessions;
use crate::parts::trees::Trees;
use crate::parts::uses::Uses;
use crate::vocabulary::limits::{JOURNAL_TIME_STEP, TAIL_MAX_RECORDS};
use crate::vocabulary::{Error, Result};

pub use catalog::Entries;
pub use commit::Tx;
pub use engine::Engine;
pub use tables::Tables;

/// What the ledger goes by.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The store's id.
    pub store: [u8; 16],
    /// When what is acknowledged is synced.
    pub durability: Durability,
    /// Mode of blob files.
    pub blob_mode: u32,
    /// Mode of directories.
    pub directory_mode: u32,
    /// Whether one `syncfs` may stand for many syncs: a local filesystem, and a kernel that reports its errors.
    pub syncfs: bool,
    /// How long to wait for a lock.
    pub lock_timeout: Duration,
    /// Whether this process may write to the store.
    pub writable: bool,
    /// What answers for the catalog.
    pub engine: Engine,
}

/// The store's records at one moment.
#[derive(Clone)]
pub struct Snapshot {
    /// The tables.
    pub view: View,
    /// How far the journal was read.
    pub cursor: Cursor,
    /// Records that are in no run yet.
    pub tail_records: usize,
    /// The sequence that the index reached when it was last looked at; zero where there was none.
    pub folded: u64,
    /// What was found damaged while reading.
    pub damage: Vec<Damage>,
}

impl Snapshot {
    /// The journal time of a frame that would be written next, when the wall clock says `now_ns`: the wall clock, never
    /// going back, one step at most a day.
    pub fn next_time_ns(&self, now_ns: u64) -> u64 {
        let step = u64::try_from(JOURNAL_TIME_STEP.as_nanos()).unwrap_or(u64::MAX);
        match self.cursor.time_ns {
            0 => now_ns,
            before => now_ns.clamp(before, before.saturating_add(step)),
        }
    }
}

/// The records of one store, for this process.
pub struct Ledger {
    /// The machine.
    pub machine: Arc<dyn Machine>,
    /// Where everything is.
    pub layout: Layout,
    /// What it goes by.
    pub policy: Policy,
    /// The journal.
    pub journal: Journal,
    /// The blob files.
    pub blobs: Blobs,
    /// Further inodes of blobs.
    pub carriers: Carriers,
    /// The trees of large blobs.
    pub trees: Trees,
    /// The directory view.
    pub names: Names,
    /// Running work.
    pub sessions: Sessions,
    /// Uses that readers noted.
    uses: Uses,
    current: RwLock<Arc<Snapshot>>,
    writer: Mutex<hold::Writer>,
    queue: Mutex<commit::Queue>,
    /// Told when a leader has done.
    led: Condvar,
    /// Why the tail could not be folded when it was last due.
    fold_trouble: Mutex<Option<Error>>,
    /// Whether a commit has changed the catalog since another engine than the index was last told to follow.
    catalog_changed: AtomicBool,
    /// The engine, where it is another one than the index.
    #[cfg(feature = "sqlite")]
    projection: Option<projection::Projection>,
}

impl Ledger {
    /// Opens the records of the store at `layout`. Takes no lock and writes nothing, unless more is in no run than should
    /// be, the store can be written to and nobody holds a lock: then the index is made, or brought up to date.
    pub fn open(machine: Arc<dyn Machine>, layout: Layout, policy: Policy) -> Result<Self> {
        let journal = Journal::new(Arc::clone(&machine), layout.journal(), policy.store);
        let shards = Arc::new(KeptOpen::new(Arc::clone(&machine), 256));
        let names = Names::new(&machine, &layout, &shards, (policy.directory_mode, policy.blob_mode), policy.syncfs);
        let sessions = Sessions::new(Arc::clone(&machine), layout.clone(), policy.directory_mode);
        let blobs = Blobs::new(Arc::clone(&machine), layout.clone(), shards, policy.syncfs);
        let carriers = Carriers::new(Arc::clone(&machine), layout.clone(), policy.directory_mode);
        let trees = Trees::new(Arc::clone(&machine), layout.clone(), policy.directory_mode);
        let uses = Uses::new(Arc::clone(&machine), layout.clone());
        let snapshot = load::load(machine.as_ref(), &layout, &journal, &policy, &Index::default())?;
        #[cfg(feature = "sqlite")]
        let projection = match &policy.engine {
            Engine::Embedded => None,
            Engine::Sqlite { path, wal } => Some(projection::Projection::new(&machine, &layout, &policy, path, *wal)),
        };
        let ledger = Ledger {
            machine,
            layout,
            policy,
            journal,
            blobs,
            carriers,
            trees,
            names,
            sessions,
            uses,
            current: RwLock::new(Arc::new(snapshot)),
            writer: Mutex::default(),
            queue: Mutex::default(),
            led: Condvar::default(),
            fold_trouble: Mutex::default(),
            catalog_changed: AtomicBool::default(),
            #[cfg(feature = "sqlite")]
            projection,
        };
        if ledger.policy.writable
            && ledger.known().tail_records > TAIL_MAX_RECORDS
            && matches!(ledger.try_hold(|_| Ok(())), Ok(Some(())))
        {
            ledger.fold_if_due();
        }
        Ok(ledger)
    }

    /// The records as they are now: the journal is followed to its last good frame.
    pub fn snapshot(&self) -> Result<Arc<Snapshot>> {
        let known = self.known();
        // What a network tells of the time of a directory may be old.
        let newest = if self.policy.syncfs { Journal::still_ends_at } else { Journal::is_at_end };
        if newest(&self.journal, &known.cursor)? {
            return Ok(known);
        }
        let (fresh, _) = load::follow(self.machine.as_ref(), &self.layout, &self.journal, &self.policy, &known, 0)?;
        let fresh = Arc::new(fresh);
        self.publish(&fresh);
        Ok(fresh)
    }

    /// The records as they are now, from base and frames alone: for when the index cannot be used.
    pub fn snapshot_from_journal(&self) -> Result<Snapshot> {
        self.read_journal(0)
    }

    /// The records as this process last saw them.
    pub fn known(&self) -> Arc<Snapshot> {
        Arc::clone(&self.current.read().expect("no panic holds it"))
    }

    fn publish(&self, fresh: &Arc<Snapshot>) {
        *self.current.write().expect("no panic holds it") = Arc::clone(fresh);
    }
}

impl Drop for Ledger {
    /// A process that is broken off leaves the room to the next one: it reads as nothing.
    fn drop(&mut self) {
        self.give_room_back();
    }
}
