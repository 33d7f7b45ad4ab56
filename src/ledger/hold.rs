//! Holding `lock`: what everybody does first who takes it, in any process and after any crash.
//!
//! 1. Follow the journal to its end, found by listing.
//! 2. Cut a torn tail; fence damage that no fence covers yet.
//! 3. Finish the last frame: nobody vouches for bytes that a dead process wrote, so it is written again byte for byte
//!    and synced, and its names are made to agree.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Ledger, Snapshot, Tables, load, replay};
use crate::format::frame::Frame;
use crate::format::hint;
use crate::format::record::{self, DamagedRecord, FenceRecord, Moment, NameFindingRecord, Record};
use crate::format::settings::Durability;
use crate::machine::{File, Lock, Open};
use crate::parts::index::View;
use crate::parts::journal::chain::{Damage, TornTail};
use crate::parts::journal::write::Appender;
use crate::parts::journal::{Cursor, SegmentId};
use crate::parts::names::Refusal;
use crate::vocabulary::limits::{FRAME_RECORDS, RESERVE_BYTES, RESERVE_PIECE_BYTES, SEGMENT_BYTES, TAIL_FOLD_RECORDS};
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Error, ErrorKind, Result};

/// What this process keeps between two holds of `lock`.
#[derive(Default)]
pub struct Writer {
    lock: Option<Box<dyn File>>,
    appender: Option<Appender>,
    /// The last frame that is known to be synced and applied.
    finished: Option<(SegmentId, u64)>,
    /// A segment whose directory entry is known to be synced.
    entry_synced: Option<SegmentId>,
    /// Whether the entries of the store directory are: who made the store may have died before its last sync.
    root_synced: bool,
    /// After a failed sync nothing is retried: every later use gets this.
    poison: Option<Error>,
}

/// `lock`, held, with the journal followed to its end and its last frame finished.
pub struct Hold<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) writer: &'a mut Writer,
    /// The records as they are.
    pub snapshot: Snapshot,
    /// Names that could not be applied while the last frame was finished or a new one applied.
    pub refusals: Vec<Refusal>,
    /// Blobs whose healing could not be finished.
    pub(super) lost: Vec<DamagedRecord>,
    /// Whether a frame is finished that somebody else may have left half done.
    pub(super) finishing: bool,
}

impl Ledger {
    /// Runs `work` while `lock` is held. Nothing is hashed or copied in there.
    pub fn hold<R>(&self, work: impl FnOnce(&mut Hold<'_>) -> Result<R>) -> Result<R> {
        let mut writer = self.writer.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        self.hold_with(&mut writer, work)
    }

    /// As [`Ledger::hold`], but without waiting: `None` where somebody else holds `lock`, in this process or another.
    pub fn try_hold<R>(&self, work: impl FnOnce(&mut Hold<'_>) -> Result<R>) -> Result<Option<R>> {
        let Ok(mut writer) = self.writer.try_lock() else { return Ok(None) };
        match self.hold_within(&mut writer, Duration::ZERO, work) {
            Err(e) if e.kind() == ErrorKind::Busy => Ok(None),
            done => done.map(Some),
        }
    }

    pub(super) fn hold_with<R>(&self, writer: &mut Writer, work: impl FnOnce(&mut Hold<'_>) -> Result<R>) -> Result<R> {
        self.hold_within(writer, self.policy.lock_timeout, work)
    }

    fn hold_within<R>(
        &self,
        writer: &mut Writer,
        timeout: Duration,
        work: impl FnOnce(&mut Hold<'_>) -> Result<R>,
    ) -> Result<R> {
        if let Some(poison) = writer.poison.as_ref().filter(|_| !planted(Bug::PoisonIgnored)) {
            return Err(poison.duplicate());
        }
        if !self.policy.writable {
            return Err(Error::new(ErrorKind::ReadOnly, "change the store", "it was opened for reading only"));
        }
        self.take_lock(writer, timeout)?;
        let result = self.locked(writer, work);
        let let_go = writer.lock.as_ref().map_or(Ok(()), |lock| lock.unlock());
        if let Err(e) = let_go {
            // Closing lets go of it as well.
            writer.lock = None;
            result.as_ref().map_err(Error::duplicate).map(drop)?;
            return Err(Error::io("unlock", &self.layout.lock(), e));
        }
        result
    }

    pub(super) fn read_journal(&self, synced: u64) -> Result<Snapshot> {
        replay::from_journal(self.machine.as_ref(), &self.layout, &self.journal, &self.policy, synced)
    }

    /// Whether following the journal would read nothing, and judge nothing: it ends where what is known ends.
    fn is_newest(&self, known: &Snapshot, synced: u64, appender: Option<&Appender>) -> Result<bool> {
        let known_end = known.cursor.sequence >= synced.max(known.cursor.synced_through);
        Ok(known_end && known.tail_records < TAIL_FOLD_RECORDS && self.ends_with(known, appender)?)
    }

    /// Whether the journal ends with `known`. What a crash left behind that is only seen by following it, as it is done
    /// before a segment is appended to: until then its file must end there.
    fn ends_with(&self, known: &Snapshot, appender: Option<&Appender>) -> Result<bool> {
        let appender = appender.filter(|appender| appender.id() == known.cursor.segment);
        let is_last = self.journal.is_last(&known.cursor, appender.is_none())?;
        Ok(is_last && appender.map_or(Ok(true), |appender| appender.ends_at(&known.cursor))?)
    }

    /// Gives back the room that this process made in the journal, if it did, and nobody holds `lock` or has appended since.
    pub(super) fn give_room_back(&self) {
        let Ok(mut writer) = self.writer.try_lock() else { return };
        let known = self.known();
        let has_room = |writer: &Writer| writer.appender.as_ref().is_some_and(|a| a.has_room(&known.cursor));
        if writer.poison.is_some() || !has_room(&writer) || self.take_lock(&mut writer, Duration::ZERO).is_err() {
            return;
        }
        if let Some(appender) = &writer.appender
            && self.ends_with(&known, Some(appender)).is_ok_and(|ends| ends)
        {
            appender.give_room_back(&known.cursor);
        }
        // Closing it lets go of it.
        writer.lock = None;
    }

    fn locked<R>(&self, writer: &mut Writer, work: impl FnOnce(&mut Hold<'_>) -> Result<R>) -> Result<R> {
        let lock = writer.lock.as_deref().expect("it was just taken");
        let synced = read_hint(lock, hint::SYNCED_AT);
        let known = self.known();
        let follow = |known: &Snapshot| {
            load::follow(self.machine.as_ref(), &self.layout, &self.journal, &self.policy, known, synced)
        };
        let (snapshot, torn) = if self.is_newest(&known, synced, writer.appender.as_ref())? {
            (Snapshot::clone(&known), None)
        } else {
            follow(&known)?
        };
        let mut hold =
            Hold { ledger: self, writer, snapshot, refusals: Vec::new(), lost: Vec::new(), finishing: false };
        let settled = hold.settle(torn).or_else(|e| {
            if e.kind() != ErrorKind::Damaged {
                return Err(e);
            }
            // It may be the index that is damaged, and that can be lost, always.
            let (snapshot, torn) = follow(&self.read_journal(synced)?)?;
            hold.snapshot = snapshot;
            hold.settle(torn)
        });
        let result = settled.and_then(|()| work(&mut hold));
        let fresh = Arc::new(hold.snapshot.clone());
        self.publish(&fresh);
        result
    }

    /// Sets the reserve aside again, if it was given up and there is room again with as much to spare. Failing is no
    /// harm: the store works, until the disk is full.
    pub fn refill_reserve(&self) {
        let path = self.layout.reserve();
        let room = self.machine.filesystem(&path).is_ok_and(|there| there.free_bytes > 2 * RESERVE_BYTES);
        if let Ok(file) = self.machine.open(&path, Open::ReadWrite)
            && room
            && file.meta().is_ok_and(|meta| meta.size_bytes < RESERVE_BYTES)
        {
            let _ = file.allocate(RESERVE_BYTES);
        }
    }

    fn take_lock(&self, writer: &mut Writer, timeout: Duration) -> Result<()> {
        let path = self.layout.lock();
        let deadline = self.machine.monotonic_ns().saturating_add(nanos(timeout));
        loop {
            let lock = match writer.lock.take() {
                Some(lock) => lock,
                None => self.machine.open(&path, Open::ReadWrite).map_err(|e| Error::io("open", &path, e))?,
            };
            self.wait_for(lock.as_ref(), &path, deadline)?;
            // A lock on an unlinked inode protects nothing.
            let same = match (lock.meta(), self.machine.lstat(&path)) {
                (Ok(held), Ok(there)) => (held.device, held.inode) == (there.device, there.inode),
                (Err(e), _) | (_, Err(e)) => return Err(Error::io("look at", &path, e)),
            };
            if same {
                writer.lock = Some(lock);
                return Ok(());
            }
        }
    }

    /// Takes an exclusive lock, waiting for it up to `deadline` of the monotonic clock.
    pub(super) fn wait_for(&self, file: &dyn File, path: &std::path::Path, deadline: u64) -> Result<()> {
        let mut wait = Duration::from_micros(50);
        while !planted(Bug::Lock) && !file.try_lock(Lock::Exclusive).map_err(|e| Error::io("lock", path, e))? {
            if self.machine.monotonic_ns() >= deadline {
                return Err(Error::new(
                    ErrorKind::Busy,
                    format!("lock {}", path.display()),
                    "another process holds it, longer than the lock timeout",
                ));
            }
            self.machine.pause(wait);
            wait = (wait * 2).min(Duration::from_millis(5));
        }
        Ok(())
    }
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A hint that is not there or torn is zero: it only ever adds knowledge.
fn read_hint(lock: &dyn File, at: u64) -> u64 {
    let mut bytes = [0; hint::HINT_BYTES];
    match lock.read_at(&mut bytes, at) {
        Ok(read) => hint::decode(&bytes[..read]).unwrap_or(0),
        Err(_) => 0,
    }
}

impl Hold<'_> {
    fn settle(&mut self, torn: Option<TornTail>) -> Result<()> {
        self.vouch_for_root()?;
        if let Some(torn) = torn.filter(|_| !planted(Bug::TornLeft)) {
            self.cut(&torn)?;
        }
        // Before a fence begins a new segment, while the frame is still the last.
        if self.snapshot.cursor.last.is_some() {
            self.finish_last()?;
        }
        self.fence_what_is_not_fenced()?;
        if self.snapshot.cursor.offset == 0 {
            self.begin_segment(self.snapshot.cursor, &[])?;
        }
        self.finish_last()?;
        self.record_refusals()
    }

    fn vouch_for_root(&mut self) -> Result<()> {
        if self.syncs() && !self.writer.root_synced && !planted(Bug::StoreDirVouch) {
            let root = self.ledger.layout.root();
            let handle = self.ledger.machine.open(root, Open::Directory).map_err(|e| Error::io("open", root, e))?;
            handle.sync().map_err(|e| Error::io("sync", root, e))?;
            self.writer.root_synced = true;
        }
        Ok(())
    }

    fn cut(&mut self, torn: &TornTail) -> Result<()> {
        let mut random = [0; 8];
        self.ledger.machine.random(&mut random).map_err(|e| Error::system("get random bytes", e))?;
        let name = format!("torn-{}-{}-{:016x}", torn.segment, torn.offset, u64::from_le_bytes(random));
        let keep = self.ledger.layout.quarantine().join(name);
        self.ledger.journal.cut(torn, &keep, self.ledger.policy.blob_mode & 0o440).map(drop)
    }

    /// Takes note of damage that somebody found by reading everything.
    pub(super) fn fence(&mut self, damage: Vec<Damage>) -> Result<()> {
        self.snapshot.damage.extend(damage);
        self.fence_what_is_not_fenced()?;
        self.finish_last()?;
        self.record_refusals()
    }

    /// Puts up a fence for damage that none covers: a new segment that follows what is known to have been synced.
    fn fence_what_is_not_fenced(&mut self) -> Result<()> {
        if self.snapshot.damage.is_empty() || planted(Bug::FenceForgotten) {
            return Ok(());
        }
        // What a later base has left behind is read no more; this process may have seen it before that.
        let base = self.ledger.journal.newest_base()?;
        self.snapshot.damage.retain(|damage| damage.to >= base);
        let fences = self.snapshot.all_fences().collect::<Result<Vec<_>>>()?;
        let covered = |d: &Damage| fences.iter().any(|(from, fence)| *from <= d.from && d.to <= fence.to);
        let open: Vec<Damage> = self.snapshot.damage.iter().filter(|d| !covered(d)).cloned().collect();
        if open.is_empty() {
            return Ok(());
        }
        let mut cursor = self.snapshot.cursor;
        if cursor.sequence < cursor.synced_through {
            (cursor.sequence, cursor.hash) = (cursor.synced_through, [0; 32]);
        }
        let first = self.highest_used()?.max(cursor.sequence) + 1;
        let since = Moment { sequence: first, time_ns: self.next_time() };
        let fence = |d: Damage| Record::Fence(FenceRecord { from: d.from, to: d.to, reason: short(&d.reason), since });
        let records: Vec<Record> = open.into_iter().take(FRAME_RECORDS).map(fence).collect();
        let frame = Frame {
            sequence: first,
            synced_through: cursor.synced_through,
            time_ns: since.time_ns,
            previous: cursor.hash,
            payload: record::encode(&records),
        };
        self.write_hint(hint::USED_AT, first);
        self.begin_segment(cursor, &[frame])?;
        replay::apply(&mut self.snapshot.view, &records);
        self.snapshot.tail_records += records.len();
        Ok(())
    }

    /// Begins a segment behind `cursor` with `frames` at its head.
    pub(super) fn begin_segment(&mut self, cursor: Cursor, frames: &[Frame]) -> Result<()> {
        let first = match frames.first() {
            Some(frame) => frame.sequence,
            None => self.highest_used()?.max(cursor.sequence) + 1,
        };
        let sync = self.syncs();
        let (appender, cursor) = self.ledger.journal.begin_segment(&cursor, first, frames, sync)?;
        self.writer.entry_synced = sync.then_some(cursor.segment);
        self.writer.appender = Some(appender);
        self.snapshot.cursor = cursor;
        Ok(())
    }

    /// Makes sure that the last frame is on the disk, whoever wrote it, and that its names agree.
    fn finish_last(&mut self) -> Result<()> {
        let cursor = self.snapshot.cursor;
        if self.writer.finished == Some((cursor.segment, cursor.sequence)) || cursor.offset == 0 {
            return Ok(());
        }
        self.open_appender()?;
        self.sync_entry(&cursor)?;
        if cursor.last.is_some() {
            self.sync_last(&cursor)?;
            let frame = self.appender().last_frame(&self.snapshot.cursor)?.ok_or_else(|| {
                Error::new(ErrorKind::Damaged, "read the last frame of the journal", "it is not what was read before")
            })?;
            let records = record::decode(&frame.payload).map_err(|why| {
                Error::new(ErrorKind::Unsupported, "read the last frame of the journal", why.to_string())
            })?;
            self.finishing = true;
            let records = if planted(Bug::LastNamesLeft) { Vec::new() } else { records };
            let finished = self.finish_heals(&records).and_then(|()| self.apply_names(&records));
            self.finishing = false;
            finished?;
        }
        self.mark_finished();
        Ok(())
    }

    /// The segment's entry may be of a process that died before it synced it; what is appended would go with it.
    fn sync_entry(&mut self, cursor: &Cursor) -> Result<()> {
        if self.syncs() && self.writer.entry_synced != Some(cursor.segment) && !planted(Bug::SegmentEntrySync) {
            let directory = self.ledger.journal.directory_handle()?;
            directory.sync().map_err(|e| Error::io("sync", &self.ledger.layout.journal(), e))?;
            self.writer.entry_synced = Some(cursor.segment);
        }
        Ok(())
    }

    fn sync_last(&mut self, cursor: &Cursor) -> Result<()> {
        if !self.syncs() || planted(Bug::LastFrameBelieved) {
            return Ok(());
        }
        // Where bytes are never overwritten in place (btrfs), even this takes room: whoever only removes must get past it.
        match self.with_room(|| self.appender().write_again(cursor)) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == ErrorKind::Damaged => Err(e),
            Err(e) => self.copy_last(cursor, e),
        }
    }

    /// A good frame of somebody else that cannot be synced again goes, with its number, to a new segment. If that
    /// fails too, the store is read-only for this process.
    fn copy_last(&mut self, cursor: &Cursor, why: Error) -> Result<()> {
        let copied = self.appender().last_frame(cursor).and_then(|frame| {
            let frame = frame.ok_or_else(|| why.duplicate())?;
            let before = self.appender().before_last(cursor, &frame);
            self.begin_segment(before, &[frame])
        });
        // Its remedy is another one where it is room that is missing.
        let kind = if why.kind() == ErrorKind::NoSpace { ErrorKind::NoSpace } else { ErrorKind::ReadOnly };
        copied.map_err(|_| self.poison(why.as_kind(kind)))
    }

    pub(super) fn open_appender(&mut self) -> Result<()> {
        let segment = self.snapshot.cursor.segment;
        if self.writer.appender.as_ref().is_none_or(|appender| appender.id() != segment) {
            self.writer.appender = Some(self.ledger.journal.appender(&self.snapshot.cursor)?);
        }
        Ok(())
    }

    pub(super) fn appender(&self) -> &Appender {
        self.writer.appender.as_ref().expect("it is opened before the first use")
    }

    fn mark_finished(&mut self) {
        let cursor = &mut self.snapshot.cursor;
        self.writer.finished = Some((cursor.segment, cursor.sequence));
        if self.ledger.policy.durability != Durability::None {
            cursor.synced_through = cursor.synced_through.max(cursor.sequence);
            let synced = cursor.synced_through;
            self.write_hint(hint::SYNCED_AT, synced);
        }
    }

    /// Appends one frame with `records` and syncs it: the commit point. Then its names are applied.
    pub fn commit(&mut self, records: &[Record]) -> Result<()> {
        let mut seen = self.snapshot.view.clone();
        replay::apply(&mut seen, records);
        self.commit_seen(records, seen)
    }

    /// As [`Hold::commit`]; `seen` is the view of what is on record now with all effects of `records`.
    pub(super) fn commit_seen(&mut self, records: &[Record], seen: View) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        if self.snapshot.cursor.offset >= SEGMENT_BYTES {
            self.open_appender()?;
            self.appender().give_room_back(&self.snapshot.cursor);
            self.begin_segment(self.snapshot.cursor, &[])?;
        }
        self.open_appender()?;
        let before = self.snapshot.cursor;
        let moment = self.moment()?;
        let frame = Frame {
            sequence: moment.sequence,
            synced_through: before.synced_through,
            time_ns: moment.time_ns,
            previous: before.hash,
            payload: record::encode(records),
        };
        self.write_hint(hint::USED_AT, moment.sequence);
        if planted(Bug::NamesFirst) {
            self.snapshot.view = seen.clone();
            self.apply_names(records)?;
        }
        let after = self.append(&before, &frame, is_removal(records))?;
        if self.syncs()
            && !planted(Bug::FrameSync)
            && let Err(e) = self.appender().sync()
        {
            return Err(self.drop_own_frame(&before, moment.sequence, e));
        }
        self.snapshot.cursor = after;
        self.snapshot.tail_records += records.len();
        self.snapshot.view = seen;
        if records.iter().any(Record::is_of_catalog) {
            self.ledger.catalog_changed.store(true, Ordering::Relaxed);
        }
        self.snapshot.view.reaches(after.sequence);
        // The frame is on the disk from here on: what fails now is not undone, and must not look as if it were.
        let applied = self.finish_heals(records).and_then(|()| self.apply_names(records));
        if let Err(e) = applied {
            return Err(self.poison(on_record(e)));
        }
        self.mark_finished();
        self.record_refusals().map_err(on_record)
    }

    /// Nothing is retried by this process, in none of its threads.
    fn poison(&mut self, error: Error) -> Error {
        self.writer.poison = Some(error.duplicate());
        error
    }

    /// A write that fails leaves, at most, a torn tail of our own, which is taken back at once. Only a removal may have
    /// the room of the reserve: an addition would fill it, and then nothing could be removed any more.
    fn append(&mut self, before: &Cursor, frame: &Frame, removal: bool) -> Result<Cursor> {
        // Over a network, room ahead is written, and not only promised.
        let ahead = self.syncs() && self.ledger.policy.syncfs;
        let append = || self.appender().append(before, frame, ahead);
        let result = if removal { self.with_room(append) } else { append() };
        result.map_err(|e| match self.appender().take_back(before) {
            Ok(()) => e.as_kind_not_kept(),
            Err(_) => self.drop_own_frame(before, frame.sequence, e),
        })
    }

    /// After a failed sync: the frame that this holder appended is left behind by a new segment that follows the one
    /// before it. Once that is synced, nothing of it is kept; if it cannot be, nobody knows.
    fn drop_own_frame(&mut self, before: &Cursor, used: u64, why: Error) -> Error {
        let first = used.max(before.sequence) + 1;
        if planted(Bug::FailedFrameLeft) {
            return self.poison(why.as_kind(ErrorKind::NotKept));
        }
        if why.kind() == ErrorKind::NoSpace {
            self.make_room();
        }
        let dropped = self.ledger.journal.begin_segment(before, first, &[], true);
        self.poison(match dropped {
            Ok(_) => why.as_kind(ErrorKind::NotKept),
            Err(_) => why.as_kind(ErrorKind::OutcomeUnknown),
        })
    }

    /// Gives up a piece of the reserve; whether there was one to give up.
    fn make_room(&self) -> bool {
        let path = self.ledger.layout.reserve();
        let Ok(file) = self.ledger.machine.open(&path, Open::ReadWrite) else { return false };
        let given_up = |size: u64| size > 0 && file.set_len(size.saturating_sub(RESERVE_PIECE_BYTES)).is_ok();
        if planted(Bug::ReserveKept) || !file.meta().is_ok_and(|meta| given_up(meta.size_bytes)) {
            return false;
        }
        // It may be free only once the filesystem has written down that it is (btrfs). What this sync fails to write was
        // vouched for by nobody, and whoever is to vouch for it is told by a descriptor of his own.
        let _ = file.sync_filesystem();
        true
    }

    /// Does `work`, and again with the room of the reserve, piece by piece, while the disk is full: deleting always works.
    pub fn with_room<R>(&self, work: impl Fn() -> Result<R>) -> Result<R> {
        loop {
            match work() {
                Err(e) if e.kind() == ErrorKind::NoSpace && self.make_room() => {}
                other => return other,
            }
        }
    }

    /// Number and journal time of the next frame.
    pub fn moment(&self) -> Result<Moment> {
        let cursor = &self.snapshot.cursor;
        let sequence = match cursor.last {
            Some(_) => cursor.sequence + 1,
            // The first frame of a segment has the number that its header says.
            None => cursor.segment.number.max(cursor.sequence + 1),
        };
        Ok(Moment { sequence, time_ns: self.next_time() })
    }

    fn next_time(&self) -> u64 {
        self.snapshot.next_time_ns(self.ledger.machine.now_ns())
    }

    /// The highest sequence number that was ever used, as far as the hint and the journal tell.
    fn highest_used(&self) -> Result<u64> {
        let hint = self.writer.lock.as_deref().map_or(0, |lock| read_hint(lock, hint::USED_AT));
        Ok(hint.max(self.snapshot.cursor.sequence).max(self.snapshot.cursor.segment.number))
    }

    /// A hint that cannot be written is none.
    fn write_hint(&self, at: u64, sequence: u64) {
        if let Some(lock) = &self.writer.lock {
            let _: io::Result<()> = lock.write_at(&hint::encode(sequence), at);
        }
    }

    /// Whether this store syncs at all.
    pub fn syncs(&self) -> bool {
        self.ledger.policy.durability != Durability::None
    }

    /// Names that could not be applied are findings on record, and counted meanwhile; so are heals that were lost.
    fn record_refusals(&mut self) -> Result<()> {
        let moment = self.moment()?;
        let mut seen = BTreeSet::new();
        let mut records = Vec::new();
        for refusal in &self.refusals {
            if seen.insert(refusal.name.clone()) && self.snapshot.name_finding(&refusal.name)?.is_none() {
                let (name, reason) = (refusal.name.clone(), short(&refusal.reason));
                records.push(Record::NameFinding(NameFindingRecord { name, reason, since: moment }));
            }
        }
        records.extend(self.lost.drain(..).map(Record::Damaged));
        self.commit(&records)
    }
}

/// Whether a frame with these records takes nothing more in: it is what makes room, or upkeep.
fn is_removal(records: &[Record]) -> bool {
    let adds = |record: &Record| {
        matches!(
            record,
            Record::Blob(_)
                | Record::Alias(_)
                | Record::Pin(_)
                | Record::Healed(_)
                | Record::Carrier(_)
                | Record::Entry(_)
                | Record::Variant(_)
        )
    };
    !records.iter().any(adds)
}

/// What failed behind the commit point: the frame is on the disk, and only the directory view may be behind it.
fn on_record(error: Error) -> Error {
    let reason = "the change is on record and is kept; whoever uses the store next makes names/ agree with it";
    error.as_kind(ErrorKind::OutcomeUnknown).because(reason)
}

/// A reason that fits a record.
pub(super) fn short(reason: &str) -> String {
    reason.chars().take(1000).collect()
}
