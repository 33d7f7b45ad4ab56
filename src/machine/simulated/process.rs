//! A logical process: the [`Machine`] that it calls, and its end.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::super::{File, Filesystem, Listed, Machine, Meta, Open};
use super::call::{CallKind, Request};
use super::content::Content;
use super::disk::Answer;
use super::fault::Strike;
use super::file::SimulatedFile;
use super::path::Place;
use super::pending::What;
use super::state::{Begun, Shared, State};
use super::tree::{Body, Id};

/// A process of a [`World`](super::World): its calls, its descriptors and its locks.
pub struct Simulated {
    caller: Caller,
    name: String,
}

/// How a piece of work in a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It came to its end.
    Finished(T),
    /// Its process was killed, or the power was cut.
    Killed,
}

impl<T> Outcome<T> {
    /// The value of work that came to its end.
    pub fn finished(self) -> Option<T> {
        match self {
            Outcome::Finished(value) => Some(value),
            Outcome::Killed => None,
        }
    }

    /// Whether its process was killed.
    pub fn is_killed(&self) -> bool {
        matches!(self, Outcome::Killed)
    }
}

/// What unwinds the thread of a killed process.
struct Killed;

/// Does a piece of work in a process and notices when it is killed meanwhile. Any other panic goes through.
pub fn run<T>(process: &Simulated, work: impl FnOnce() -> T) -> Outcome<T> {
    let running = process.caller.set_running(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    process.caller.set_running(running);
    match result {
        Err(payload) if !payload.is::<Killed>() => resume_unwind(payload),
        Ok(value) if !process.is_killed() => Outcome::Finished(value),
        _ => Outcome::Killed,
    }
}

impl Simulated {
    /// Starts a process in a world.
    pub(super) fn start(shared: Arc<Shared>, name: &str) -> Self {
        let process = shared.lock().add_process();
        Simulated { caller: Caller { shared, process }, name: name.into() }
    }

    /// The way into its world.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Its number in the world, from 0.
    pub fn number(&self) -> u32 {
        self.caller.process
    }

    /// Its name, which need not be its alone.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it was killed.
    pub fn is_killed(&self) -> bool {
        self.caller.shared.lock().process(self.number()).killed
    }

    /// Kills it: descriptors closed, locks free, every further call an error without effect.
    pub fn kill(&self) {
        self.caller.shared.lock().kill(self.number());
    }

    /// Writes into the log how far the work has come, as when something was acknowledged.
    pub fn note(&self, text: &str) {
        _ = self.caller.call(&Request::new(CallKind::Note, Path::new(text)), |_| Ok(()));
    }

    /// A call that gives one more name: what it leads from and to, on one filesystem that has room.
    fn entry_call(
        &self,
        kind: CallKind,
        from: &Path,
        to: &Path,
        effect: impl FnOnce(&mut State, &Place, &Place) -> Answer<()>,
    ) -> io::Result<()> {
        self.caller.call(&Request::two(kind, from, to), |state| {
            let (from, to) = (state.disk.resolve(from, false)?, state.disk.resolve(to, false)?);
            from.existing()?;
            state.same_mount(&from, &to)?;
            if to.node.is_none() {
                state.room_for_entry(0)?;
            }
            effect(state, &from, &to)
        })
    }

    /// A call that makes something new.
    fn create(&self, request: &Request<'_>, body: Body, mode: u32) -> io::Result<(Id, u64)> {
        self.caller.call(request, |state| {
            let place = state.disk.resolve(request.path, false)?;
            place.free()?;
            state.room_for_entry(1)?;
            let id = state.disk.create(&place, body, mode)?;
            Ok((id, state.mount(&place).1))
        })
    }

    /// Opens a file that is there.
    fn open_existing(&self, path: &Path, how: Open) -> io::Result<u64> {
        let process = self.number();
        self.caller.call(&Request::new(CallKind::Open, path), |state| {
            let (place, id) = state.find(path, false)?;
            let writes = how == Open::ReadWrite;
            match (&state.disk.node(id)?.body, how) {
                (Body::Symlink(_), _) => return Err(libc::ELOOP),
                (Body::Directory(_), Open::ReadWrite) => return Err(libc::EISDIR),
                (Body::File(_) | Body::Special, Open::Directory) => return Err(libc::ENOTDIR),
                _ if writes && (state.options.read_only || state.disk.aborted) => return Err(libc::EROFS),
                _ => {}
            }
            let device = state.mount(&place).1;
            Ok(state.open(process, id, writes, device))
        })
    }

    /// Makes and opens a file.
    fn open_new(&self, path: &Path, mode: u32) -> io::Result<u64> {
        let process = self.number();
        let request = Request::new(CallKind::Create, path).at(0, u64::from(mode));
        self.caller.call(&request, |state| {
            let place = state.disk.resolve(path, false)?;
            place.free()?;
            state.room_for_entry(1)?;
            let id = state.disk.create(&place, Body::File(Content::default()), mode & 0o7777)?;
            let device = state.mount(&place).1;
            Ok(state.open(process, id, true, device))
        })
    }
}

impl Machine for Simulated {
    fn is_real(&self) -> bool {
        false
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn File>> {
        let handle = match how {
            Open::CreateNew { mode } => self.open_new(path, mode)?,
            Open::Read | Open::ReadWrite | Open::Directory => self.open_existing(path, how)?,
        };
        Ok(Box::new(SimulatedFile::new(self.caller.clone(), handle, path)))
    }

    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        let request = Request::new(CallKind::CreateDir, path).at(0, u64::from(mode));
        self.create(&request, Body::Directory(Default::default()), mode & 0o7777).map(|_| ())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        self.caller.call(&Request::new(CallKind::List, path), |state| {
            let (_, id) = state.find(path, true)?;
            let listed = |(name, id): (&std::ffi::OsString, &Id)| {
                let node = state.disk.node(*id)?;
                Ok(Listed { name: name.clone(), kind: node.kind(), inode: node.number })
            };
            state.disk.volatile.entries(id)?.iter().map(listed).collect()
        })
    }

    fn lstat(&self, path: &Path) -> io::Result<Meta> {
        self.caller.call(&Request::new(CallKind::Lstat, path), |state| {
            let (place, id) = state.find(path, false)?;
            state.meta(id, state.mount(&place).1)
        })
    }

    fn stat(&self, path: &Path) -> io::Result<Meta> {
        self.caller.call(&Request::new(CallKind::Stat, path), |state| {
            let (place, id) = state.find(path, true)?;
            state.meta(id, state.mount(&place).1)
        })
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.entry_call(CallKind::Link, from, to, |state, from, to| {
            to.free()?;
            let links = state.disk.node(from.existing()?)?.links;
            if !state.options.links {
                return Err(libc::EPERM);
            }
            if links >= state.options.link_limit {
                return Err(libc::EMLINK);
            }
            state.disk.link(from, to)
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.entry_call(CallKind::Rename, from, to, |state, from, to| state.disk.rename(from, to))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.entry_call(CallKind::RenameNew, from, to, |state, from, to| {
            to.free()?;
            state.disk.rename(from, to)
        })
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        self.entry_call(CallKind::Exchange, one, other, |state, one, other| state.disk.exchange(one, other))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.caller.call(&Request::new(CallKind::Unlink, path), |state| {
            let place = state.disk.resolve(path, false)?;
            state.disk.unlink(&place)
        })
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.caller.call(&Request::new(CallKind::RemoveDir, path), |state| {
            let place = state.disk.resolve(path, false)?;
            state.disk.remove_dir(&place)
        })
    }

    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
        let request = Request { other: Some(target), ..Request::new(CallKind::Symlink, link) };
        self.create(&request, Body::Symlink(target.to_path_buf()), 0o777).map(|_| ())
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.caller.call(&Request::new(CallKind::ReadLink, path), |state| state.target(path))
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.caller.call(&Request::new(CallKind::Canonical, path), |state| Ok(state.find(path, true)?.0.real))
    }

    fn reflink(&self, from: &dyn File, to: &dyn File) -> io::Result<()> {
        let own = |file: &dyn File| file.as_any().downcast_ref::<SimulatedFile>().map(SimulatedFile::parts);
        let (Some((from, from_path)), Some((to, to_path))) = (own(from), own(to)) else {
            return Err(io::Error::from_raw_os_error(libc::EXDEV));
        };
        self.caller.call(&Request::two(CallKind::Reflink, &from_path, &to_path), |state| {
            let (source, id) = (state.inode(from)?, state.writable(to)?);
            if !state.options.reflinks {
                return Err(libc::EOPNOTSUPP);
            }
            if state.handle(from)?.device != state.handle(to)?.device {
                return Err(libc::EXDEV);
            }
            let content = state.disk.content(source)?.clone();
            state.disk.content(id)?;
            state.disk.change(What::Replace { id, content });
            Ok(())
        })
    }

    fn link_limit(&self, path: &Path) -> io::Result<Option<u64>> {
        self.caller.call(&Request::new(CallKind::Filesystem, path), |state| {
            state.find(path, true)?;
            Ok(Some(state.options.link_limit))
        })
    }

    fn filesystem(&self, path: &Path) -> io::Result<Filesystem> {
        self.caller.call(&Request::new(CallKind::Filesystem, path), |state| {
            state.find(path, true)?;
            let used = state.disk.used_inodes();
            Ok(Filesystem {
                kind: state.options.kind.clone(),
                local: state.options.local,
                read_only: state.options.read_only || state.disk.aborted,
                free_bytes: state.free_bytes(),
                free_inodes: state.options.capacity_inodes.map_or(u64::MAX, |most| most.saturating_sub(used)),
            })
        })
    }

    fn now_ns(&self) -> u64 {
        let mut state = self.caller.shared.lock();
        let step = state.options.call_time_ns;
        state.pass(step);
        state.clock_ns
    }

    fn monotonic_ns(&self) -> u64 {
        let mut state = self.caller.shared.lock();
        let step = state.options.call_time_ns;
        state.pass(step);
        state.monotonic_ns
    }

    fn pause(&self, time: Duration) {
        let time_ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        _ = self.caller.call(&Request::new(CallKind::Pause, Path::new("")).at(0, time_ns), |state| {
            state.pass(time_ns);
            Ok(())
        });
    }

    fn random(&self, buffer: &mut [u8]) -> io::Result<()> {
        let number = self.number();
        self.caller.call(&Request::new(CallKind::Random, Path::new("")), |state| {
            state.process(number).rng.fill(buffer);
            Ok(())
        })
    }

    fn umask(&self) -> u32 {
        self.caller.shared.lock().options.umask
    }

    fn user(&self) -> u32 {
        self.caller.shared.lock().options.user
    }

    fn io_stalled_ns(&self) -> Option<u64> {
        let state = self.caller.shared.lock();
        state.options.stalled_per_mille.map(|share| state.monotonic_ns / 1000 * share)
    }

    fn syncfs_reports_errors(&self) -> bool {
        self.caller.shared.lock().options.syncfs_reports_errors
    }
}

/// The way from a process, or a file that it has open, into its world.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) shared: Arc<Shared>,
    pub(super) process: u32,
}

impl Caller {
    /// Makes a call that has no effect when it is to fail.
    pub(super) fn call<T>(&self, request: &Request<'_>, effect: impl FnOnce(&mut State) -> Answer<T>) -> io::Result<T> {
        self.call_struck(request, |state, strike| match strike {
            Some(strike) => Err(strike.errno),
            None => effect(state),
        })
    }

    /// Makes a call that knows itself what failing does.
    pub(super) fn call_struck<T>(
        &self,
        request: &Request<'_>,
        effect: impl FnOnce(&mut State, Option<Strike>) -> Answer<T>,
    ) -> io::Result<T> {
        let mut state = self.enter(request.kind)?;
        let strike = match state.begin(self.process, request) {
            Begun::Go(strike) => strike,
            Begun::Dead => return Err(self.die(state)),
        };
        let answer = state.permit(request).and_then(|()| effect(&mut state, strike));
        state.end(self.process, request, answer.as_ref().err().copied());
        answer.map_err(io::Error::from_raw_os_error)
    }

    /// Waits for the process's turn, where turns are given; a dead process has none.
    fn enter(&self, kind: CallKind) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.shared.lock();
        if !state.process(self.process).killed {
            state = self.take_turn(state, kind);
        }
        if state.process(self.process).killed { Err(self.die(state)) } else { Ok(state) }
    }

    /// The end of a killed process: its thread unwinds, unless it does already or nobody would notice.
    fn die(&self, mut state: MutexGuard<'_, State>) -> io::Error {
        let running = state.process(self.process).running;
        drop(state);
        if running && !std::thread::panicking() {
            let payload: Box<dyn Any + Send> = Box::new(Killed);
            resume_unwind(payload);
        }
        io::Error::other("the simulated process was killed")
    }

    /// Says whether the end of the process will be caught, and gives what was said before.
    fn set_running(&self, running: bool) -> bool {
        std::mem::replace(&mut self.shared.lock().process(self.process).running, running)
    }
}
