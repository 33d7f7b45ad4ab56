//! The real machine: Linux, and macOS as far as it has the same calls.
//!
//! What one system lacks is answered with [`io::ErrorKind::Unsupported`] or the answer that is always safe (no lease,
//! no reported write-back errors, no maps), so that everything above behaves the same and only does more work.

mod confine;
mod directory;
mod file;
mod filesystem;
mod guard;
mod lease;
#[cfg(target_os = "linux")]
mod map;
mod open;
mod polite;
mod read;
mod reflink;
mod relay;
mod rename;
mod system;
mod windows;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{AtFlags, readlinkat, renameat};
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};

use super::{File, Filesystem, Listed, Machine, Meta, Open};
use confine::Confined;
use file::OpenFile;

pub use guard::install_guard;
pub use relay::{end_relay, relay_signals, take_signals};

/// The operating system that this process runs on. Cheap to make and to clone: it holds no state but the directories
/// below which it follows no links, which clones share.
#[derive(Clone, Debug, Default)]
pub struct Real {
    without_maps: bool,
    confined: Confined,
}

impl Real {
    /// A machine that maps files where [`install_guard`] has been called, and reads them otherwise.
    pub fn new() -> Self {
        Real::default()
    }

    /// A machine that never maps a file, guard or not.
    pub fn without_maps() -> Self {
        Real { without_maps: true, ..Real::default() }
    }
}

impl Machine for Real {
    fn confine(&self, root: &Path) {
        self.confined.add(root);
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn File>> {
        Ok(Box::new(OpenFile::new(open::open(&self.confined, path, how)?, !self.without_maps)))
    }

    fn stream(&self, path: &Path) -> io::Result<Box<dyn io::Read + Send>> {
        Ok(Box::new(fs::File::open(path)?))
    }

    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        directory::create(&self.confined, path, mode)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        directory::list(&self.confined, path)
    }

    fn lstat(&self, path: &Path) -> io::Result<Meta> {
        fs::symlink_metadata(path).map(|m| file::meta_of(&m))
    }

    fn lstat_in(&self, directory: &dyn File, path: &Path) -> io::Result<Meta> {
        let Some(name) = path.file_name() else { return self.lstat(path) };
        directory::lstat_in(OpenFile::behind(directory)?, Path::new(name))
    }

    fn stat(&self, path: &Path) -> io::Result<Meta> {
        fs::metadata(path).map(|m| file::meta_of(&m))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.confined.place(from)?, self.confined.place(to)?);
        Ok(linkat(&from, from.path, &to, to.path, AtFlags::empty())?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.confined.place(from)?, self.confined.place(to)?);
        Ok(renameat(&from, from.path, &to, to.path)?)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        rename::rename_new(&self.confined.place(from)?, &self.confined.place(to)?)
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        rename::exchange(&self.confined.place(one)?, &self.confined.place(other)?)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let place = self.confined.place(path)?;
        Ok(unlinkat(&place, place.path, UnlinkatFlags::NoRemoveDir)?)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let place = self.confined.place(path)?;
        Ok(unlinkat(&place, place.path, UnlinkatFlags::RemoveDir)?)
    }

    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
        let place = self.confined.place(link)?;
        Ok(symlinkat(target, &place, place.path)?)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let place = self.confined.place(path)?;
        Ok(readlinkat(&place, place.path)?.into())
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }

    fn reflink(&self, from: &dyn File, to: &dyn File) -> io::Result<()> {
        reflink::reflink(OpenFile::behind(from)?, OpenFile::behind(to)?)
    }

    fn link_limit(&self, path: &Path) -> io::Result<Option<u64>> {
        filesystem::link_limit(path)
    }

    fn filesystem(&self, path: &Path) -> io::Result<Filesystem> {
        filesystem::filesystem(path)
    }

    fn now_ns(&self) -> u64 {
        system::now_ns()
    }

    fn monotonic_ns(&self) -> u64 {
        system::monotonic_ns()
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn random(&self, buffer: &mut [u8]) -> io::Result<()> {
        system::random(buffer)
    }

    fn umask(&self) -> u32 {
        system::umask()
    }

    fn user(&self) -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    fn idle_io(&self) -> Option<u32> {
        polite::idle_io()
    }

    fn restore_io(&self, before: u32) {
        polite::restore_io(before);
    }

    fn io_stalled_ns(&self) -> Option<u64> {
        polite::io_stalled_ns()
    }

    fn syncfs_reports_errors(&self) -> bool {
        system::syncfs_reports_errors()
    }
}

/// What this system or filesystem has no call for.
fn unsupported(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("{what} is not supported here"))
}

/// Calls again for as long as a signal interrupts the call.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests;
