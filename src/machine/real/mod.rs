//! The real machine: Linux, and macOS as far as it has the same calls.
//!
//! What one system lacks is answered with [`io::ErrorKind::Unsupported`] or the answer that is always safe (no lease,
//! no reported write-back errors, no maps), so that everything above behaves the same and only does more work.

mod directory;
mod file;
mod filesystem;
mod guard;
mod lease;
#[cfg(target_os = "linux")]
mod map;
mod open;
mod read;
mod reflink;
mod relay;
mod rename;
mod system;
mod windows;

use std::fs;
use std::io;
use std::os::unix::fs as unix;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{File, Filesystem, Listed, Machine, Meta, Open};
use file::OpenFile;

pub use guard::install_guard;
pub use relay::{end_relay, relay_signals, take_signals};

/// The operating system that this process runs on. Cheap to make and to clone: it holds no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Real {
    without_maps: bool,
}

impl Real {
    /// A machine that maps files where [`install_guard`] has been called, and reads them otherwise.
    pub fn new() -> Self {
        Real::default()
    }

    /// A machine that never maps a file, guard or not.
    pub fn without_maps() -> Self {
        Real { without_maps: true }
    }
}

impl Machine for Real {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn File>> {
        Ok(Box::new(OpenFile::new(open::open(path, how)?, !self.without_maps)))
    }

    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        directory::create(path, mode)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        directory::list(path)
    }

    fn lstat(&self, path: &Path) -> io::Result<Meta> {
        fs::symlink_metadata(path).map(|m| file::meta_of(&m))
    }

    fn stat(&self, path: &Path) -> io::Result<Meta> {
        fs::metadata(path).map(|m| file::meta_of(&m))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        rename::rename_new(from, to)
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        rename::exchange(one, other)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
        unix::symlink(target, link)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        fs::read_link(path)
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
