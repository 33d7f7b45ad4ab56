//! An open file of a simulated process.

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};

use super::super::{File, Lock, Meta};
use super::call::{CallKind, Request};
use super::disk::Answer;
use super::pending::What;
use super::process::Caller;
use super::state::{Lease, State};
use super::tree::Id;
use crate::vocabulary::limits::MAP_WINDOW_BYTES;

/// A descriptor, and the path that it was opened by.
pub(super) struct SimulatedFile {
    caller: Caller,
    handle: u64,
    path: PathBuf,
}

impl SimulatedFile {
    /// An open descriptor of the process.
    pub(super) fn new(caller: Caller, handle: u64, path: &Path) -> Self {
        SimulatedFile { caller, handle, path: path.to_path_buf() }
    }

    /// The descriptor and its path.
    pub(super) fn parts(&self) -> (u64, PathBuf) {
        (self.handle, self.path.clone())
    }

    fn request(&self, kind: CallKind) -> Request<'_> {
        Request::new(kind, &self.path)
    }

    /// A call that changes a file through a descriptor open for writing.
    fn change(&self, kind: CallKind, amount: u64, what: impl FnOnce(Id) -> What) -> io::Result<()> {
        self.caller.call(&self.request(kind).at(0, amount), |state| {
            let id = state.writable(self.handle)?;
            state.disk.change(what(id));
            Ok(())
        })
    }

    /// A call that changes what the inode says of itself, for which any descriptor will do.
    fn describe(&self, kind: CallKind, amount: u64, what: impl FnOnce(Id) -> What) -> io::Result<()> {
        self.caller.call(&self.request(kind).at(0, amount), |state| {
            let id = state.inode(self.handle)?;
            state.disk.change(what(id));
            Ok(())
        })
    }

    /// Both kinds of `fsync`.
    fn sync_inode(&self, kind: CallKind) -> io::Result<()> {
        self.caller.call_struck(&self.request(kind), |state, strike| {
            if let Some(strike) = strike {
                return state.fail_sync(self.handle, strike);
            }
            let id = state.inode(self.handle)?;
            state.disk.settle_inode(id, kind == CallKind::Sync);
            state.report_failures(self.handle)
        })
    }
}

impl File for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let request = self.request(CallKind::Read).at(offset, buffer.len() as u64);
        self.caller.call(&request, |state| read(state, self.handle, buffer, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let length = bytes.len() as u64;
        self.caller.call_struck(&self.request(CallKind::Write).at(offset, length), |state, strike| {
            let id = state.writable(self.handle)?;
            let fitting = state.fitting(id, offset, length)?;
            let written = strike.map_or(fitting, |strike| strike.written.min(fitting));
            state.disk.write(id, &bytes[..written as usize], offset);
            match strike {
                Some(strike) => Err(strike.errno),
                None if written < length => Err(libc::ENOSPC),
                None => Ok(()),
            }
        })
    }

    fn meta(&self) -> io::Result<Meta> {
        self.caller.call(&self.request(CallKind::Meta), |state| {
            let device = state.handle(self.handle)?.device;
            state.meta(state.inode(self.handle)?, device)
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_inode(CallKind::Sync)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync_inode(CallKind::SyncData)
    }

    fn sync_filesystem(&self) -> io::Result<()> {
        self.caller.call_struck(&self.request(CallKind::SyncFilesystem), |state, strike| {
            if let Some(strike) = strike {
                return state.fail_sync_filesystem(self.handle, strike);
            }
            state.inode(self.handle)?;
            state.disk.settle_all();
            state.report_all_failures(self.handle)
        })
    }

    fn start_writeback(&self, offset: u64, length: u64) {
        _ = self.caller.call(&self.request(CallKind::StartWriteback).at(offset, length), |_| Ok(()));
    }

    fn set_len(&self, size_bytes: u64) -> io::Result<()> {
        self.change(CallKind::SetLen, size_bytes, |id| What::SetLen { id, length: size_bytes })
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.describe(CallKind::SetMode, u64::from(mode), |id| What::Mode { id, mode: mode & 0o7777 })
    }

    fn set_mtime(&self, mtime_ns: i64) -> io::Result<()> {
        self.describe(CallKind::SetMtime, mtime_ns as u64, |id| What::Mtime { id, mtime_ns })
    }

    fn allocate(&self, size_bytes: u64) -> io::Result<()> {
        self.extend(0, size_bytes)
    }

    fn extend(&self, offset: u64, length: u64) -> io::Result<()> {
        self.caller.call(&self.request(CallKind::Allocate).at(offset, length), |state| {
            let id = state.writable(self.handle)?;
            if state.fitting(id, offset, length)? < length {
                return Err(libc::ENOSPC);
            }
            state.disk.change(What::Allocate { id, length: offset + length });
            Ok(())
        })
    }

    /// No program here starts another one.
    fn let_children_inherit(&self) -> io::Result<()> {
        Ok(())
    }

    fn try_lock(&self, how: Lock) -> io::Result<bool> {
        let request = self.request(CallKind::TryLock).at(0, u64::from(how == Lock::Exclusive));
        match self.caller.call(&request, |state| state.lock(self.handle, how)) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EWOULDBLOCK) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn unlock(&self) -> io::Result<()> {
        self.caller.call(&self.request(CallKind::Unlock), |state| {
            state.handle(self.handle)?.lock = None;
            Ok(())
        })
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<(u64, u64)>> {
        self.caller.call(&self.request(CallKind::NextData).at(offset, 0), |state| {
            let id = state.inode(self.handle)?;
            Ok(state.disk.content(id)?.next_data(offset))
        })
    }

    fn in_use(&self) -> bool {
        let asked = self.caller.call(&self.request(CallKind::InUse), |state| {
            let id = state.inode(self.handle)?;
            Ok(state.handles.iter().any(|(handle, other)| other.id == id && *handle != self.handle))
        });
        asked.unwrap_or(false)
    }

    fn read_lease(&self) -> io::Result<bool> {
        match self.caller.call(&self.request(CallKind::ReadLease), |state| state.take_lease(self.handle)) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn end_lease(&self) -> bool {
        let ended = self.caller.call(&self.request(CallKind::EndLease), |state| {
            let lease = &mut state.handle(self.handle)?.lease;
            Ok(std::mem::replace(lease, Lease::None) == Lease::Held)
        });
        ended.unwrap_or(false)
    }

    fn windows(&self, offset: u64, length: u64, look: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut buffer = vec![0; length.min(MAP_WINDOW_BYTES as u64) as usize];
        let (mut at, end) = (offset, offset + length);
        while at < end {
            let window = &mut buffer[..(end - at).min(MAP_WINDOW_BYTES as u64) as usize];
            if self.read_at(window, at)? < window.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            look(window)?;
            at += window.len() as u64;
        }
        Ok(())
    }

    fn drop_cache(&self) -> bool {
        let dropped = self.caller.call(&self.request(CallKind::DropCache), |state| {
            let id = state.inode(self.handle)?;
            state.disk.drop_cache(id);
            Ok(())
        });
        dropped.is_ok()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        self.caller.shared.lock().close(self.handle);
    }
}

/// Reads through a descriptor, where the disk can be read.
fn read(state: &mut State, handle: u64, buffer: &mut [u8], offset: u64) -> Answer<usize> {
    let id = state.inode(handle)?;
    let content = state.disk.content(id)?;
    let end = content.len().min(offset.saturating_add(buffer.len() as u64));
    if state.disk.is_bad(id, offset..end) {
        return Err(libc::EIO);
    }
    Ok(content.read(buffer, offset))
}
