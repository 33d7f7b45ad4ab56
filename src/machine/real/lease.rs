//! Leases: the kernel's word that nobody has a file open for writing.

use std::fs;

#[cfg(target_os = "linux")]
pub(super) use linux::*;

#[cfg(target_os = "linux")]
mod linux {
    use super::fs;
    use std::io;
    use std::os::fd::AsRawFd;

    use nix::errno::Errno;

    /// Which signal tells of a lease that somebody wants broken; `fcntl.h` has it, the `libc` crate does not.
    const F_SETSIG: libc::c_int = 10;

    /// Takes a read lease; `false` where somebody has the file open for writing (this process included), where it is not
    /// ours, or where the filesystem has no leases.
    pub(in super::super) fn read_lease(file: &fs::File) -> io::Result<bool> {
        match take(file, libc::F_RDLCK) {
            Ok(()) => Ok(true),
            Err(
                Errno::EAGAIN
                | Errno::EACCES
                | Errno::EPERM
                | Errno::EINVAL
                | Errno::ENOLCK
                | Errno::ENOSYS
                | Errno::EOPNOTSUPP,
            ) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether somebody else has the file open: then no write lease is to be had. Where there are no leases, or the file is
    /// not ours, nobody knows.
    pub(in super::super) fn in_use(file: &fs::File) -> bool {
        match take(file, libc::F_WRLCK) {
            Ok(()) => {
                give_back(file);
                false
            }
            Err(error) => error == Errno::EAGAIN,
        }
    }

    /// Takes a lease of a kind (`F_RDLCK`, `F_WRLCK`).
    ///
    /// The kernel announces a break with a signal, by default `SIGIO`, whose default action ends the process.
    /// `SIGURG` is discarded by default, so it neither harms anybody nor interrupts a call, and it is set for this
    /// descriptor alone: the process's signal actions stay as they are. The break is seen by asking.
    pub(in super::super) fn take(file: &fs::File, kind: libc::c_int) -> nix::Result<()> {
        fcntl(file, F_SETSIG, libc::SIGURG)?;
        fcntl(file, libc::F_SETLEASE, kind).map(drop)
    }

    /// Gives a read lease back; `true` if nobody had asked to break it by then. Whoever asks after that was looked at
    /// still waits until it is given back.
    pub(in super::super) fn end_lease(file: &fs::File) -> bool {
        let kept = held(file) == Some(libc::F_RDLCK);
        give_back(file);
        kept
    }

    /// The lease as it will be once pending breaks are granted: `F_UNLCK` for a read lease that somebody wants broken, or
    /// that the kernel has taken away after `/proc/sys/fs/lease-break-time` seconds.
    pub(in super::super) fn held(file: &fs::File) -> Option<libc::c_int> {
        fcntl(file, libc::F_GETLEASE, 0).ok()
    }

    /// Lets whoever waits go on. Fails only where there is no lease (any more), which is what is wanted.
    pub(in super::super) fn give_back(file: &fs::File) {
        let _ = fcntl(file, libc::F_SETLEASE, libc::F_UNLCK);
    }

    fn fcntl(file: &fs::File, command: libc::c_int, argument: libc::c_int) -> nix::Result<libc::c_int> {
        // SAFETY: the descriptor is open while it is borrowed, and these commands take an integer and touch no memory.
        Errno::result(unsafe { libc::fcntl(file.as_raw_fd(), command, argument) })
    }
}

/// No leases here: nobody can be sure.
#[cfg(not(target_os = "linux"))]
pub(super) fn read_lease(_: &fs::File) -> std::io::Result<bool> {
    Ok(false)
}

/// No leases here: nobody can be sure.
#[cfg(not(target_os = "linux"))]
pub(super) fn in_use(_: &fs::File) -> bool {
    false
}

/// No leases here: nobody can be sure.
#[cfg(not(target_os = "linux"))]
pub(super) fn end_lease(_: &fs::File) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::machine::real::tests::alone;
    use std::fs::OpenOptions;
    use std::io::{ErrorKind, Write};
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::PathBuf;
    use std::process::Command;

    fn leased() -> (tempfile::TempDir, PathBuf, fs::File) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, b"bytes").unwrap();
        let file = fs::File::open(&path).unwrap();
        assert!(read_lease(&file).unwrap());
        (dir, path, file)
    }

    fn until_wanted(file: &fs::File) {
        while held(file) == Some(libc::F_RDLCK) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn readers_leave_a_lease_alone() {
        alone!(readers_leave_a_lease_alone);
        let (_dir, path, file) = leased();
        assert_eq!(fs::read(&path).unwrap(), b"bytes");
        assert!(end_lease(&file));
        assert!(!end_lease(&file), "it was given back already");
        assert!(read_lease(&file).unwrap(), "and can be taken again");
    }

    #[test]
    fn a_writer_in_the_same_process_prevents_it() {
        alone!(a_writer_in_the_same_process_prevents_it);
        let (_dir, path, file) = leased();
        assert!(end_lease(&file));
        let writer = OpenOptions::new().append(true).open(&path).unwrap();
        assert!(!read_lease(&file).unwrap());
        drop(writer);
        let writable = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        assert!(!read_lease(&writable).unwrap(), "the descriptor itself is a writer");
        drop(writable);
        assert!(read_lease(&file).unwrap());
    }

    #[test]
    fn a_writable_shared_map_prevents_it() {
        alone!(a_writable_shared_map_prevents_it);
        let (_dir, path, file) = leased();
        assert!(end_lease(&file));
        let writable = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        // SAFETY: the file is this test's own and nobody cuts it short; the map is never looked at.
        let map = unsafe { memmap2::MmapMut::map_mut(&writable) }.unwrap();
        drop(writable);
        assert!(!read_lease(&file).unwrap());
        drop(map);
        assert!(read_lease(&file).unwrap());
    }

    #[test]
    fn whoever_has_a_file_open_or_mapped_uses_it() {
        alone!(whoever_has_a_file_open_or_mapped_uses_it);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, b"bytes").unwrap();
        let file = fs::File::open(&path).unwrap();
        assert!(!in_use(&file), "nobody but whoever asks");
        let reader = fs::File::open(&path).unwrap();
        assert!(in_use(&file));
        // SAFETY: nobody writes to the file while it is mapped.
        let map = unsafe { memmap2::Mmap::map(&reader) }.unwrap();
        drop(reader);
        assert!(in_use(&file), "a mapping keeps it open");
        drop(map);
        assert!(!in_use(&file));
        assert!(read_lease(&file).unwrap(), "nothing is left of the question");
    }

    #[test]
    fn what_cannot_be_leased_is_not() {
        alone!(what_cannot_be_leased_is_not);
        let dir = tempfile::tempdir().unwrap();
        assert!(!read_lease(&fs::File::open(dir.path()).unwrap()).unwrap());
        assert!(!read_lease(&fs::File::open("/dev/null").unwrap()).unwrap());
    }

    #[test]
    fn a_writer_that_does_not_wait_is_noticed() {
        alone!(a_writer_that_does_not_wait_is_noticed);
        let (_dir, path, file) = leased();
        let refused = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::WouldBlock);
        assert!(!end_lease(&file));
    }

    #[test]
    fn a_writer_that_waits_gets_in_only_afterwards() {
        alone!(a_writer_that_waits_gets_in_only_afterwards);
        let (_dir, path, file) = leased();
        let writer = std::thread::spawn(move || OpenOptions::new().append(true).open(path)?.write_all(b" more"));
        until_wanted(&file);
        assert_eq!(file.metadata().unwrap().len(), 5);
        assert!(!end_lease(&file));
        writer.join().unwrap().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 10);
    }

    #[test]
    fn a_writer_in_another_process_is_noticed() {
        alone!(a_writer_in_another_process_is_noticed);
        let (_dir, path, file) = leased();
        let mut writer = Command::new("sh").args(["-c", "printf more >> \"$0\""]).arg(&path).spawn().unwrap();
        until_wanted(&file);
        assert_eq!(file.metadata().unwrap().len(), 5);
        assert!(!end_lease(&file));
        assert!(writer.wait().unwrap().success());
        assert_eq!(file.metadata().unwrap().len(), 9);
    }

    #[test]
    fn cutting_it_short_by_name_is_noticed() {
        alone!(cutting_it_short_by_name_is_noticed);
        let (_dir, path, file) = leased();
        let cutter = std::thread::spawn(move || nix::unistd::truncate(&path, 0));
        until_wanted(&file);
        assert!(!end_lease(&file));
        cutter.join().unwrap().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
    }
}
