//! The two renames that `rename` cannot do: one that replaces nothing, and one that exchanges.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::NixPath;
use nix::errno::Errno;

use super::confine::Place;
use super::unsupported;

#[cfg(target_os = "linux")]
const NEW: libc::c_uint = libc::RENAME_NOREPLACE;
#[cfg(target_os = "linux")]
const EXCHANGE: libc::c_uint = libc::RENAME_EXCHANGE;
#[cfg(target_os = "macos")]
const NEW: libc::c_uint = libc::RENAME_EXCL;
#[cfg(target_os = "macos")]
const EXCHANGE: libc::c_uint = libc::RENAME_SWAP;

/// `Unsupported` where the filesystem or the kernel cannot do it.
pub(super) fn rename_new(from: &Place<'_>, to: &Place<'_>) -> io::Result<()> {
    flagged(from, to, NEW).map_err(|error| explained(error, "a rename that replaces nothing"))
}

/// `Unsupported` where the filesystem or the kernel cannot do it.
pub(super) fn exchange(one: &Place<'_>, other: &Place<'_>) -> io::Result<()> {
    flagged(one, other, EXCHANGE).map_err(|error| explained(error, "an exchange of two names"))
}

/// `EINVAL` is how a filesystem says that it does not know the flag. (It also means a directory moved into itself, which
/// nothing here attempts.)
fn explained(error: Errno, what: &str) -> io::Error {
    // The last two are one number on Linux and two on macOS.
    if [Errno::EINVAL, Errno::ENOSYS, Errno::EOPNOTSUPP, Errno::ENOTSUP].contains(&error) {
        unsupported(what)
    } else {
        error.into()
    }
}

fn flagged(from: &Place<'_>, to: &Place<'_>, flags: libc::c_uint) -> nix::Result<()> {
    let (old, new) = (from.as_fd().as_raw_fd(), to.as_fd().as_raw_fd());
    let done = from.path.with_nix_path(|from| to.path.with_nix_path(|to| call(old, from, new, to, flags)))??;
    Errno::result(done).map(drop)
}

/// By number, since the C library may be older than the kernel, or another one, and not have a function for it.
#[cfg(target_os = "linux")]
fn call(old: RawFd, from: &CStr, new: RawFd, to: &CStr, flags: libc::c_uint) -> libc::c_long {
    // SAFETY: both pointers are to strings that end with a zero byte and outlive the call, which only reads them.
    unsafe { libc::syscall(libc::SYS_renameat2, old, from.as_ptr(), new, to.as_ptr(), flags) }
}

#[cfg(target_os = "macos")]
fn call(old: RawFd, from: &CStr, new: RawFd, to: &CStr, flags: libc::c_uint) -> libc::c_int {
    // SAFETY: both pointers are to strings that end with a zero byte and outlive the call, which only reads them.
    unsafe { libc::renameatx_np(old, from.as_ptr(), new, to.as_ptr(), flags) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    use crate::machine::real::confine::Confined;

    fn place(path: &Path) -> Place<'_> {
        Confined::default().place(path).unwrap()
    }

    #[test]
    fn a_name_that_is_there_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        fs::write(&one, b"one").unwrap();
        rename_new(&place(&one), &place(&other)).unwrap();
        assert!(!one.exists());
        fs::write(&one, b"newer").unwrap();
        assert_eq!(rename_new(&place(&one), &place(&other)).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&other).unwrap(), b"one");
        assert_eq!(fs::read(&one).unwrap(), b"newer");
    }

    #[test]
    fn two_names_are_exchanged() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        fs::write(&one, b"one").unwrap();
        assert_eq!(exchange(&place(&one), &place(&other)).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(&other, b"other").unwrap();
        exchange(&place(&one), &place(&other)).unwrap();
        assert_eq!(fs::read(&one).unwrap(), b"other");
        assert_eq!(fs::read(&other).unwrap(), b"one");
    }

    #[test]
    fn what_a_filesystem_cannot_do_is_unsupported() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, b"").unwrap();
        let unknown_flag = flagged(&place(&path), &place(&dir.path().join("to")), 1 << 20).unwrap_err();
        assert_eq!(explained(unknown_flag, "it").kind(), io::ErrorKind::Unsupported);
        assert_eq!(explained(Errno::ENOSYS, "it").kind(), io::ErrorKind::Unsupported);
        assert_eq!(explained(Errno::EACCES, "it").kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_path_with_a_zero_byte_is_refused() {
        let bad = Path::new("a\0b");
        assert!(rename_new(&place(bad), &place(Path::new("/nowhere"))).is_err());
    }
}
