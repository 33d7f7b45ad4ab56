//! `uses`: where whoever reads says what it used, and which bytes it found right, without a lock that anybody waits for
//! and without a sync.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::format::layout::Layout;
use crate::format::uses::{self, Reading, USE_BYTES, Use};
use crate::machine::{FileKind, Lock, Machine, Meta, Open};
use crate::vocabulary::limits::USES_BYTES;
use crate::vocabulary::{EntryId, Usage};

/// How often the file is tried while somebody else appends to it, and how long in between.
const TRIES: u32 = 50;
const WAIT: Duration = Duration::from_micros(100);

/// When each entry was used, in wall-clock nanoseconds since the epoch.
pub type Pending = BTreeMap<EntryId, Vec<u64>>;

/// When each blob was last found right, by the beginning of its digest, in wall-clock nanoseconds since the epoch.
pub type Readings = BTreeMap<[u8; 16], u64>;

/// All that was noted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Uses of entries.
    pub uses: Pending,
    /// Readings of blobs.
    pub readings: Readings,
}

/// What became of uses that were to be noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// They are in the file.
    Yes,
    /// There is no room for them before those that are there are put on record.
    Full,
    /// Somebody else was always at it.
    Lost,
}

/// The uses of one store that are not on record.
#[derive(Clone)]
pub struct Uses {
    machine: Arc<dyn Machine>,
    layout: Layout,
}

impl Uses {
    /// Those of the store at `layout`.
    pub fn new(machine: Arc<dyn Machine>, layout: Layout) -> Self {
        Uses { machine, layout }
    }

    /// Appends uses. The file is locked for a moment, so that two do not write to the same place.
    pub fn append(&self, all: &[Use]) -> io::Result<Noted> {
        self.append_bytes(&all.iter().flat_map(uses::encode).collect::<Vec<u8>>())
    }

    /// Appends readings, likewise.
    pub fn append_readings(&self, all: &[Reading]) -> io::Result<Noted> {
        self.append_bytes(&all.iter().flat_map(uses::encode_reading).collect::<Vec<u8>>())
    }

    fn append_bytes(&self, bytes: &[u8]) -> io::Result<Noted> {
        for _ in 0..TRIES {
            let file = match self.machine.open(&self.layout.uses(), Open::ReadWrite) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    match self.machine.open(&self.layout.uses(), Open::CreateNew { mode: self.mode()? }) {
                        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                        made => made?,
                    }
                }
                opened => opened?,
            };
            if !file.try_lock(Lock::Exclusive)? {
                self.machine.pause(WAIT);
                continue;
            }
            let meta = file.meta()?;
            // It was set aside between being opened and being locked.
            if !self.machine.lstat(&self.layout.uses()).is_ok_and(|there| is_same(&there, &meta)) {
                continue;
            }
            // What a torn write left of one is written over.
            let end = meta.size_bytes - meta.size_bytes % USE_BYTES as u64;
            if end + bytes.len() as u64 > USES_BYTES {
                return Ok(Noted::Full);
            }
            return file.write_at(bytes, end).map(|()| Noted::Yes);
        }
        Ok(Noted::Lost)
    }

    /// Who may write to `lock` may write here.
    fn mode(&self) -> io::Result<u32> {
        Ok(self.machine.lstat(&self.layout.lock())?.mode & 0o666)
    }

    /// Whether there are any, as far as a glance shows.
    pub fn any(&self) -> bool {
        [self.layout.uses(), self.layout.uses_aside()].iter().any(|path| self.machine.lstat(path).is_ok())
    }

    /// All that are not on record, or may not be. What cannot be read is left out.
    pub fn pending(&self) -> Pending {
        let mut pending = Pending::new();
        for path in [self.layout.uses_aside(), self.layout.uses()] {
            for (entry, when_ns) in self.read(path).map(|bytes| uses::decode(&bytes)).unwrap_or_default() {
                pending.entry(entry).or_default().push(when_ns);
            }
        }
        pending
    }

    /// All readings that are not on record, or may not be, likewise.
    pub fn pending_readings(&self) -> Readings {
        let mut readings = Readings::new();
        for path in [self.layout.uses_aside(), self.layout.uses()] {
            take_readings(&self.read(path).unwrap_or_default(), &mut readings);
        }
        readings
    }

    /// Sets the file aside, where nobody appends to it, and gives what is in there. Only by whoever holds `lock`.
    pub fn take_aside(&self) -> io::Result<Notes> {
        let aside = self.layout.uses_aside();
        // One that is still there was not put on record, or was, and its holder died: the times tell.
        if self.machine.lstat(&aside).is_err() {
            self.machine.rename(&self.layout.uses(), &aside)?;
        }
        let mut notes = Notes::default();
        let bytes = self.read(aside)?;
        for (entry, when_ns) in uses::decode(&bytes) {
            notes.uses.entry(entry).or_default().push(when_ns);
        }
        take_readings(&bytes, &mut notes.readings);
        Ok(notes)
    }

    /// Removes what was set aside. Only by whoever holds `lock`, once it is on record.
    pub fn forget_aside(&self) -> io::Result<()> {
        self.machine.unlink(&self.layout.uses_aside())
    }

    fn read(&self, path: PathBuf) -> io::Result<Vec<u8>> {
        let file = self.machine.open(&path, Open::Read)?;
        let meta = file.meta()?;
        if meta.kind != FileKind::File {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; meta.size_bytes.min(USES_BYTES) as usize];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    }
}

fn take_readings(bytes: &[u8], readings: &mut Readings) {
    for (beginning, when_ns) in uses::decode_readings(bytes) {
        let known = readings.entry(beginning).or_default();
        *known = when_ns.max(*known);
    }
}

fn is_same(one: &Meta, other: &Meta) -> bool {
    (one.device, one.inode) == (other.device, other.inode)
}

/// What usage on record becomes with uses beside it, of an entry that was registered at `registered_ns`.
///
/// A use counts if it is younger than the last one on record, so that one that is found again after a crash counts once. If that
/// one lies in the future, by a clock that was wrong, it says nothing.
pub fn with(usage: Usage, registered_ns: u64, times: &[u64], now_ns: u64) -> Usage {
    let known_ns = if usage.last_ns > now_ns { 0 } else { usage.last_ns };
    let new = || times.iter().copied().filter(|time| *time > known_ns && *time >= registered_ns);
    match new().max() {
        None => usage,
        Some(last_ns) => Usage { count: usage.count.saturating_add(new().count() as u64), last_ns },
    }
}
