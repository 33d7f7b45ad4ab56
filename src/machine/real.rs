//! TEMPORARY stand-in: every call refuses. It is replaced by the real file.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{File, Filesystem, Listed, Machine, Meta, Open};

/// The machine that the process runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Real;

/// Puts the guard for mapped reads in place.
pub fn install_guard() -> io::Result<()> {
    Ok(())
}

#[allow(unused_variables)]
impl Machine for Real {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn File>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn lstat(&self, path: &Path) -> io::Result<Meta> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn stat(&self, path: &Path) -> io::Result<Meta> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn reflink(&self, from: &dyn File, to: &dyn File) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn filesystem(&self, path: &Path) -> io::Result<Filesystem> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn now_ns(&self) -> u64 {
        0
    }
    fn monotonic_ns(&self) -> u64 {
        0
    }
    fn pause(&self, time: Duration) {}
    fn random(&self, buffer: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn umask(&self) -> u32 {
        0
    }
    fn user(&self) -> u32 {
        0
    }
    fn syncfs_reports_errors(&self) -> bool {
        false
    }
}
