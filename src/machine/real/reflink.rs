//! Sharing extents between files.

use std::io;

use super::file::OpenFile;

/// Makes `to` share all of `from`'s extents. `Unsupported` where the filesystem cannot; `EXDEV` across filesystems.
#[cfg(target_os = "linux")]
pub(super) fn reflink(from: &OpenFile, to: &OpenFile) -> io::Result<()> {
    use nix::errno::Errno;
    use std::os::fd::AsRawFd;
    let source = from.file().as_raw_fd() as nix::sys::ioctl::ioctl_param_type;
    // SAFETY: the call takes two descriptors, both open while they are borrowed, and touches no memory of ours.
    match unsafe { call::ficlone(to.file().as_raw_fd(), source) } {
        Ok(_) => Ok(()),
        // Which of these a filesystem without shared extents answers depends on how old its driver is.
        Err(Errno::EOPNOTSUPP | Errno::ENOTTY | Errno::EINVAL | Errno::ENOSYS) => Err(super::unsupported("a reflink")),
        Err(error) => Err(error.into()),
    }
}

/// macOS clones a path to a new path only, not an open file into another.
#[cfg(not(target_os = "linux"))]
pub(super) fn reflink(_: &OpenFile, _: &OpenFile) -> io::Result<()> {
    Err(super::unsupported("a reflink"))
}

/// `FICLONE`, `_IOW(0x94, 9, int)` of `linux/fs.h`: the argument is the source's descriptor itself, not a pointer.
#[cfg(target_os = "linux")]
#[allow(missing_docs, clippy::undocumented_unsafe_blocks, unreachable_pub)]
mod call {
    nix::ioctl_write_int!(ficlone, 0x94, 9);
}

#[cfg(test)]
mod tests {
    use crate::machine::{Machine, Open, Real};
    use std::fs;
    use std::io::ErrorKind;

    #[test]
    fn a_reflink_shares_the_bytes_or_is_unsupported() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::write(&from, vec![7; 100_000]).unwrap();
        let machine = Real::new();
        let source = machine.open(&from, Open::Read).unwrap();
        let target = machine.open(&to, Open::CreateNew { mode: 0o600 }).unwrap();
        match machine.reflink(&*source, &*target) {
            Ok(()) => assert_eq!(fs::read(&to).unwrap(), vec![7; 100_000]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}"),
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_reflink_onto_a_descriptor_that_cannot_write_fails() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, b"x").unwrap();
        let machine = Real::new();
        let read_only = machine.open(&path, Open::Read).unwrap();
        assert!(machine.reflink(&*read_only, &*read_only).is_err());
    }
}
