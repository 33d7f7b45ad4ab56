//! The two renames that `rename` cannot do: one that replaces nothing, and one that exchanges.

use std::ffi::CStr;
use std::io;
use std::path::Path;

use nix::NixPath;
use nix::errno::Errno;

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
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    flagged(from, to, NEW).map_err(|error| explained(error, "a rename that replaces nothing"))
}

/// `Unsupported` where the filesystem or the kernel cannot do it.
pub(super) fn exchange(one: &Path, other: &Path) -> io::Result<()> {
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

fn flagged(from: &Path, to: &Path, flags: libc::c_uint) -> nix::Result<()> {
    let done = from.with_nix_path(|from| to.with_nix_path(|to| call(from, to, flags)))??;
    Errno::result(done).map(drop)
}

/// By number, since the C library may be older than the kernel, or another one, and not have a function for it.
#[cfg(target_os = "linux")]
fn call(from: &CStr, to: &CStr, flags: libc::c_uint) -> libc::c_long {
    let here = libc::AT_FDCWD;
    // SAFETY: both pointers are to strings that end with a zero byte and outlive the call, which only reads them.
    unsafe { libc::syscall(libc::SYS_renameat2, here, from.as_ptr(), here, to.as_ptr(), flags) }
}

#[cfg(target_os = "macos")]
fn call(from: &CStr, to: &CStr, flags: libc::c_uint) -> libc::c_int {
    // SAFETY: both pointers are to strings that end with a zero byte and outlive the call, which only reads them.
    unsafe { libc::renamex_np(from.as_ptr(), to.as_ptr(), flags) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_name_that_is_there_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        fs::write(&one, b"one").unwrap();
        rename_new(&one, &other).unwrap();
        assert!(!one.exists());
        fs::write(&one, b"newer").unwrap();
        assert_eq!(rename_new(&one, &other).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&other).unwrap(), b"one");
        assert_eq!(fs::read(&one).unwrap(), b"newer");
    }

    #[test]
    fn two_names_are_exchanged() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        fs::write(&one, b"one").unwrap();
        assert_eq!(exchange(&one, &other).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(&other, b"other").unwrap();
        exchange(&one, &other).unwrap();
        assert_eq!(fs::read(&one).unwrap(), b"other");
        assert_eq!(fs::read(&other).unwrap(), b"one");
    }

    #[test]
    fn what_a_filesystem_cannot_do_is_unsupported() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, b"").unwrap();
        let unknown_flag = flagged(&path, &dir.path().join("to"), 1 << 20).unwrap_err();
        assert_eq!(explained(unknown_flag, "it").kind(), io::ErrorKind::Unsupported);
        assert_eq!(explained(Errno::ENOSYS, "it").kind(), io::ErrorKind::Unsupported);
        assert_eq!(explained(Errno::EACCES, "it").kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_path_with_a_zero_byte_is_refused() {
        let bad = Path::new("a\0b");
        assert!(rename_new(bad, Path::new("/nowhere")).is_err());
    }
}
