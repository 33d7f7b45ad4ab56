//! Everything of a world behind its one lock: disk, processes, descriptors, clock, log and faults.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::super::{Lock, Meta};
use super::call::{Call, CallKind, Log, Request};
use super::content::BLOCK_BYTES;
use super::crash::{CrashState, Still};
use super::disk::{Answer, Disk};
use super::fault::{Effect, Fault, Strike};
use super::options::{FailedDirectorySync, Options};
use super::path::Place;
use super::rng::Rng;
use super::schedule::Turns;
use super::tree::{Body, Id, Node};

/// How many other calls a sync takes as long as.
const SYNC_CALLS: u64 = 1_000;

/// The state of a world, and the bell that rings when it is another process's turn.
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) turn: Condvar,
}

impl Shared {
    /// Shares a state.
    pub(super) fn new(state: State) -> Self {
        Shared { state: Mutex::new(state), turn: Condvar::new() }
    }

    /// The state, for as long as the guard lives.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state of a world.
pub(super) struct State {
    pub(super) seed: u64,
    pub(super) options: Options,
    pub(super) disk: Disk,
    pub(super) processes: Vec<Process>,
    pub(super) handles: BTreeMap<u64, Handle>,
    pub(super) faults: Vec<Fault>,
    pub(super) log: Log,
    pub(super) clock_ns: u64,
    pub(super) monotonic_ns: u64,
    pub(super) turns: Option<Turns>,
    pub(super) crash: Option<CrashState>,
    /// What a power cut would have left before each counted call, where somebody wants to know.
    pub(super) film: Option<Vec<Still>>,
    /// Inodes that somebody outside of the world may write.
    pub(super) writers: Vec<Id>,
    next_handle: u64,
}

/// A logical process.
pub(super) struct Process {
    pub(super) killed: bool,
    /// Whether a `run` is on the stack that catches the end of the process.
    pub(super) running: bool,
    pub(super) rng: Rng,
}

/// An open file description.
pub(super) struct Handle {
    pub(super) process: u32,
    pub(super) id: Id,
    pub(super) writes: bool,
    pub(super) device: u64,
    pub(super) lock: Option<Lock>,
    /// Failures of write-back that it has reported, or that came before it.
    pub(super) failures: u64,
    pub(super) all_failures: u64,
    pub(super) lease: Lease,
}

/// A read lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lease {
    None,
    Held,
    Broken,
}

/// What a call may do once it has begun.
pub(super) enum Begun {
    /// Go on, with what is to go wrong.
    Go(Option<Strike>),
    /// Its process is no more.
    Dead,
}

impl State {
    /// A world with this on its disk.
    pub(super) fn new(seed: u64, options: Options, disk: Disk, clock_ns: u64) -> Self {
        State {
            seed,
            options,
            disk,
            processes: Vec::new(),
            handles: BTreeMap::new(),
            faults: Vec::new(),
            log: Log::default(),
            clock_ns,
            monotonic_ns: 1_000_000_000,
            turns: None,
            crash: None,
            film: None,
            writers: Vec::new(),
            next_handle: 3,
        }
    }

    /// Starts a process; where the power is off, a dead one.
    pub(super) fn add_process(&mut self) -> u32 {
        let number = self.processes.len() as u32;
        let rng = Rng::new(self.seed, u64::from(number) + 1);
        self.processes.push(Process { killed: self.crash.is_some(), running: false, rng });
        number
    }

    /// The process with this number.
    pub(super) fn process(&mut self, number: u32) -> &mut Process {
        &mut self.processes[number as usize]
    }

    /// Ends a process: its descriptors are closed and its locks are free.
    pub(super) fn kill(&mut self, number: u32) {
        self.process(number).killed = true;
        let own: Vec<u64> = self.handles.iter().filter(|(_, h)| h.process == number).map(|(key, _)| *key).collect();
        own.into_iter().for_each(|handle| self.close(handle));
    }

    /// Cuts the power: what is not durable hangs in the balance, and every process is gone.
    pub(super) fn cut_power(&mut self) {
        if self.crash.is_none() {
            self.crash = Some(CrashState::of(self));
            (0..self.processes.len() as u32).for_each(|number| self.kill(number));
        }
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, time_ns: u64) {
        self.clock_ns = self.clock_ns.saturating_add(time_ns);
        self.monotonic_ns = self.monotonic_ns.saturating_add(time_ns);
    }

    /// What changes now gets the time that the clock of files shows.
    pub(super) fn tick(&mut self) {
        let grain = self.options.time_grain_ns.max(1);
        self.disk.now_ns = (self.clock_ns - self.clock_ns % grain) as i64;
    }

    /// A call begins: time passes, and what was to happen at it happens.
    pub(super) fn begin(&mut self, process: u32, request: &Request<'_>) -> Begun {
        let calls = 1 + if request.kind.syncs() { SYNC_CALLS } else { 0 };
        self.pass(self.options.call_time_ns * calls);
        self.tick();
        self.disk.user = self.options.user;
        self.disk.reuse_numbers = self.options.reuse_inodes;
        self.take_still(request);
        match self.strike(process, request) {
            Some(Effect::Kill) => self.kill(process),
            Some(Effect::PowerCut) => self.cut_power(),
            Some(Effect::Fails(strike)) => return Begun::Go(Some(strike)),
            None => {}
        }
        if self.process(process).killed { Begun::Dead } else { Begun::Go(None) }
    }

    /// Films a counted call.
    fn take_still(&mut self, request: &Request<'_>) {
        if self.film.is_some() && request.kind.counted() && self.crash.is_none() {
            let still = Still { call: self.log.counted, logged: self.log.calls.len(), crash: CrashState::of(self) };
            self.film.get_or_insert_default().push(still);
        }
    }

    fn strike(&mut self, process: u32, request: &Request<'_>) -> Option<Effect> {
        let number = request.kind.counted().then_some(self.log.counted);
        let strikes = self.faults.iter_mut().map(|fault| fault.strikes(process, number, request));
        strikes.fold(None, |first, next| first.or(next))
    }

    /// Whether the machine as a whole lets this call happen.
    pub(super) fn permit(&self, request: &Request<'_>) -> Answer<()> {
        if self.options.denied.iter().any(|denied| request.paths().any(|path| path.starts_with(denied))) {
            return Err(libc::EACCES);
        }
        let stopped = self.disk.aborted && (request.kind.mutates() || request.kind.syncs());
        if stopped || (self.options.read_only && request.kind.mutates()) {
            return Err(libc::EROFS);
        }
        Ok(())
    }

    /// A call ends: it is written down.
    pub(super) fn end(&mut self, process: u32, request: &Request<'_>, errno: Option<i32>) {
        let number = request.kind.counted().then_some(self.log.counted);
        self.log.counted += u64::from(number.is_some());
        if number.is_some() || request.kind == CallKind::Note || self.options.log_reads {
            let Request { kind, path, other, offset, amount } = *request;
            let (path, other) = (path.to_path_buf(), other.map(Path::to_path_buf));
            self.log.calls.push(Call { number, process, kind, path, other, offset, amount, errno });
        }
        let progress = number.is_some() && errno.is_none();
        if let Some(turns) = self.turns.as_mut().filter(|_| progress) {
            turns.progress();
        }
    }

    /// Opens a descriptor.
    pub(super) fn open(&mut self, process: u32, id: Id, writes: bool, device: u64) -> u64 {
        let key = self.next_handle;
        self.next_handle += 1;
        self.disk.opened(id);
        if writes {
            self.break_leases(id);
        }
        let failures = self.disk.failures.get(&id).copied().unwrap_or(0);
        let all_failures = self.disk.all_failures;
        let handle = Handle { process, id, writes, device, lock: None, failures, all_failures, lease: Lease::None };
        self.handles.insert(key, handle);
        key
    }

    /// Closes a descriptor; one that is closed already stays so.
    pub(super) fn close(&mut self, handle: u64) {
        if let Some(handle) = self.handles.remove(&handle) {
            self.disk.closed(handle.id);
            if let Some(turns) = self.turns.as_mut().filter(|_| handle.lock.is_some()) {
                turns.progress();
            }
        }
    }

    /// The open descriptor.
    pub(super) fn handle(&mut self, handle: u64) -> Answer<&mut Handle> {
        self.handles.get_mut(&handle).ok_or(libc::EBADF)
    }

    /// The inode of an open descriptor.
    pub(super) fn inode(&self, handle: u64) -> Answer<Id> {
        self.handles.get(&handle).map(|handle| handle.id).ok_or(libc::EBADF)
    }

    /// The inode of a descriptor that is open for writing.
    pub(super) fn writable(&self, handle: u64) -> Answer<Id> {
        self.handles.get(&handle).filter(|handle| handle.writes).map(|handle| handle.id).ok_or(libc::EBADF)
    }

    /// Takes or converts a lock; in a conversion that fails the old lock is gone, as in Linux.
    pub(super) fn lock(&mut self, handle: u64, how: Lock) -> Answer<()> {
        let id = self.inode(handle)?;
        self.handle(handle)?.lock = None;
        let conflict = |other: &Handle| match (how, other.lock) {
            (_, None) | (Lock::Shared, Some(Lock::Shared)) => false,
            _ => other.id == id,
        };
        if self.handles.values().any(conflict) {
            return Err(libc::EWOULDBLOCK);
        }
        self.handle(handle)?.lock = Some(how);
        Ok(())
    }

    /// Takes a read lease, where nobody can write.
    pub(super) fn take_lease(&mut self, handle: u64) -> Answer<()> {
        let id = self.inode(handle)?;
        let writers = self.handles.values().any(|other| other.id == id && other.writes);
        if writers || self.writers.contains(&id) || !self.options.leases || self.disk.content(id).is_err() {
            return Err(libc::EAGAIN);
        }
        self.handle(handle)?.lease = Lease::Held;
        Ok(())
    }

    /// Whoever holds a lease on the inode will see that somebody came.
    pub(super) fn break_leases(&mut self, id: Id) {
        let held = self.handles.values_mut().filter(|handle| handle.id == id && handle.lease == Lease::Held);
        held.for_each(|handle| handle.lease = Lease::Broken);
    }

    /// `ENOSPC` where no new entry and no new inode fits any more.
    pub(super) fn room_for_entry(&self, inodes: u64) -> Answer<()> {
        let full = self.options.capacity_inodes.is_some_and(|most| self.disk.used_inodes() + inodes > most);
        if full || self.free_bytes() == 0 { Err(libc::ENOSPC) } else { Ok(()) }
    }

    /// Bytes that can still be written.
    pub(super) fn free_bytes(&self) -> u64 {
        self.options.capacity_bytes.map_or(u64::MAX >> 1, |most| most.saturating_sub(self.disk.used_bytes()))
    }

    /// How many bytes of a write fit on the disk.
    pub(super) fn fitting(&self, id: Id, offset: u64, length: u64) -> Answer<u64> {
        let content = self.disk.content(id)?;
        let free = match self.options.capacity_bytes {
            None => return Ok(length),
            Some(_) => self.free_bytes(),
        };
        if content.new_bytes(offset, length) <= free {
            return Ok(length);
        }
        let ends =
            (offset / BLOCK_BYTES + 1..).map(|block| block * BLOCK_BYTES).take_while(|end| *end < offset + length);
        Ok(ends.map(|end| end - offset).take_while(|part| content.new_bytes(offset, *part) <= free).last().unwrap_or(0))
    }

    /// The mount that a place is on, by its index, 0 for the root; and its device number.
    pub(super) fn mount(&self, place: &Place) -> (usize, u64) {
        let mounts = self.options.mounts.iter().enumerate();
        let longest = mounts
            .filter(|(_, mount)| place.real.starts_with(&mount.at))
            .max_by_key(|(_, mount)| mount.at.as_os_str().len());
        longest.map_or((0, 1), |(index, mount)| (index + 1, mount.device))
    }

    /// `EXDEV` for places on different mounts.
    pub(super) fn same_mount(&self, one: &Place, other: &Place) -> Answer<()> {
        if self.mount(one).0 == self.mount(other).0 { Ok(()) } else { Err(libc::EXDEV) }
    }

    /// A sync of this descriptor has found its file clean: whether an earlier failure is still to be told.
    pub(super) fn report_failures(&mut self, handle: u64) -> Answer<()> {
        let id = self.inode(handle)?;
        let failures = self.disk.failures.get(&id).copied().unwrap_or(0);
        let told = std::mem::replace(&mut self.handle(handle)?.failures, failures);
        if told < failures { Err(libc::EIO) } else { Ok(()) }
    }

    /// The same for `syncfs`, for any file.
    pub(super) fn report_all_failures(&mut self, handle: u64) -> Answer<()> {
        let failures = self.disk.all_failures;
        let told = std::mem::replace(&mut self.handle(handle)?.all_failures, failures);
        if told < failures && self.options.syncfs_reports_errors { Err(libc::EIO) } else { Ok(()) }
    }

    /// The sync of an inode fails.
    pub(super) fn fail_sync(&mut self, handle: u64, strike: Strike) -> Answer<()> {
        let id = self.inode(handle)?;
        let is_directory = self.disk.volatile.entries(id).is_ok();
        if strike.metadata || is_directory {
            self.fail_metadata(is_directory.then_some(id));
        } else {
            self.disk.lose_data(Some(id));
        }
        _ = self.report_failures(handle);
        Err(strike.errno)
    }

    /// `syncfs` fails: at the data where some is dirty, else at the metadata.
    pub(super) fn fail_sync_filesystem(&mut self, handle: u64, strike: Strike) -> Answer<()> {
        use super::pending::Class;
        let dirty = self.disk.pending.iter().any(|item| item.class() == Class::Data);
        if strike.metadata || !dirty {
            self.fail_metadata(None);
        } else {
            self.disk.lose_data(None);
        }
        let told = self.report_all_failures(handle);
        if told.is_err() || strike.metadata || !dirty { Err(strike.errno) } else { Ok(()) }
    }

    /// Metadata cannot be written, that of one directory or of the filesystem.
    fn fail_metadata(&mut self, directory: Option<Id>) {
        match (self.options.failed_directory_sync, directory) {
            (FailedDirectorySync::Abort, _) => self.disk.aborted = true,
            (FailedDirectorySync::Forget, Some(directory)) => self.disk.lose_entries(directory),
            (FailedDirectorySync::Forget, None) => {
                let all: Vec<Id> = self.disk.volatile.nodes().map(|(id, _)| id).collect();
                all.into_iter().for_each(|id| self.disk.lose_entries(id));
            }
        }
    }

    /// What `stat` tells of an inode.
    pub(super) fn meta(&self, id: Id, device: u64) -> Answer<Meta> {
        let node = self.disk.node(id)?;
        Ok(Meta {
            kind: node.kind(),
            size_bytes: size_bytes(node),
            mode: node.mode,
            uid: node.owner,
            gid: node.owner,
            device,
            inode: node.number,
            links: if self.disk.volatile.entries(id).is_ok() { 2 } else { node.links },
            mtime_ns: node.mtime_ns,
            ctime_ns: node.ctime_ns,
            allocated_bytes: node.content().map_or(0, |content| content.allocated_bytes()),
        })
    }

    /// Where a path leads and what is there.
    pub(super) fn find(&self, path: &Path, follow: bool) -> Answer<(Place, Id)> {
        let place = self.disk.resolve(path, follow)?;
        let id = place.existing()?;
        Ok((place, id))
    }

    /// Where a symbolic link points.
    pub(super) fn target(&self, path: &Path) -> Answer<PathBuf> {
        let (_, id) = self.find(path, false)?;
        match &self.disk.node(id)?.body {
            Body::Symlink(target) => Ok(target.clone()),
            _ => Err(libc::EINVAL),
        }
    }
}

fn size_bytes(node: &Node) -> u64 {
    match &node.body {
        Body::File(content) => content.len(),
        Body::Directory(_) => BLOCK_BYTES,
        Body::Symlink(target) => target.as_os_str().len() as u64,
        Body::Special => 0,
    }
}
