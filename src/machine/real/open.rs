//! Opening files and directories: never through a symbolic link, never inherited, never waiting for a fifo.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::confine::Confined;
use super::uninterrupted;
use crate::machine::Open;

/// Opens `path`. Every way adds `O_CLOEXEC`.
pub(super) fn open(confined: &Confined, path: &Path, how: Open) -> io::Result<fs::File> {
    match how {
        Open::Read => read(confined, path),
        Open::ReadWrite => raw(confined, path, libc::O_RDWR | libc::O_NOCTTY, 0),
        Open::CreateNew { mode } => create(confined, path, mode),
        Open::Directory => raw(confined, path, libc::O_RDONLY | libc::O_DIRECTORY, 0),
    }
}

/// Opens without following a link in the last component, and below a confined directory in none.
pub(super) fn raw(confined: &Confined, path: &Path, flags: libc::c_int, mode: u32) -> io::Result<fs::File> {
    if let Some(done) = confined.open(path, flags, mode) {
        return done;
    }
    let flags = OFlag::from_bits_retain(flags | libc::O_NOFOLLOW | libc::O_CLOEXEC) | OFlag::O_LARGEFILE;
    let mode = Mode::from_bits_truncate(mode as libc::mode_t);
    uninterrupted(|| Ok(nix::fcntl::open(path, flags, mode)?.into()))
}

fn read(confined: &Confined, path: &Path) -> io::Result<fs::File> {
    match raw(confined, path, libc::O_RDONLY | libc::O_NOCTTY | libc::O_NONBLOCK, 0) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => after_lease(confined, path, error),
        done => done,
    }
}

/// `O_NONBLOCK` refuses a regular file on which a server (Samba, knfsd) holds a write lease, where a blocking open
/// waits until it is given back. What is opened here is what was seen to be regular, whatever the path means by then.
#[cfg(target_os = "linux")]
fn after_lease(confined: &Confined, path: &Path, refused: io::Error) -> io::Result<fs::File> {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;
    let seen = raw(confined, path, libc::O_PATH, 0)?;
    if !seen.metadata()?.is_file() {
        return Err(refused);
    }
    let again = format!("/proc/self/fd/{}", seen.as_raw_fd());
    fs::OpenOptions::new().read(true).custom_flags(libc::O_NOCTTY).open(again)
}

#[cfg(not(target_os = "linux"))]
fn after_lease(_: &Confined, _: &Path, refused: io::Error) -> io::Result<fs::File> {
    Err(refused)
}

/// The umask can only take bits away from what `open` creates, so the file never has more than `mode`, and then exactly
/// that. To look costs a fraction of what setting a mode does that is there already.
fn create(confined: &Confined, path: &Path, mode: u32) -> io::Result<fs::File> {
    let file = raw(confined, path, libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOCTTY, mode)?;
    let exact = |file: &fs::File| match file.metadata()?.permissions().mode() & 0o7777 {
        made if made == mode => Ok(()),
        _ => file.set_permissions(fs::Permissions::from_mode(mode)),
    };
    if let Err(error) = exact(&file) {
        // A failed call leaves nothing behind, as far as that is possible; the first error is the one that tells.
        let _ = confined.place(path).map(|place| unlinkat(&place, place.path, UnlinkatFlags::NoRemoveDir));
        return Err(error);
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::real::tests::alone;
    use std::io::ErrorKind;
    use std::os::unix::fs::{MetadataExt, symlink};

    const WAYS: [Open; 4] = [Open::Read, Open::ReadWrite, Open::CreateNew { mode: 0o600 }, Open::Directory];

    #[test]
    fn no_way_follows_a_symbolic_link() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), b"x").unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        symlink("file", dir.path().join("to_file")).unwrap();
        symlink("sub", dir.path().join("to_sub")).unwrap();
        symlink("nothing", dir.path().join("dangling")).unwrap();
        for how in WAYS {
            for name in ["to_file", "to_sub", "dangling"] {
                assert!(open(&Confined::default(), &dir.path().join(name), how).is_err(), "{how:?} {name}");
            }
        }
        assert!(!dir.path().join("nothing").exists());
    }

    #[test]
    fn no_descriptor_is_inherited() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), b"x").unwrap();
        for how in WAYS {
            let name = match how {
                Open::CreateNew { .. } => "new",
                Open::Directory => ".",
                _ => "file",
            };
            let file = open(&Confined::default(), &dir.path().join(name), how).unwrap();
            let flags = nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_GETFD).unwrap();
            assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC, "{how:?}");
        }
    }

    #[test]
    fn new_files_have_exactly_their_mode_and_are_new() {
        alone!(new_files_have_exactly_their_mode_and_are_new);
        let dir = tempfile::tempdir().unwrap();
        for umask in [0o777, 0o077, 0o022, 0] {
            nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(umask));
            for mode in [0o400, 0o444, 0o644, 0o666, 0o777] {
                let path = dir.path().join(format!("{umask:o}-{mode:o}"));
                let file = open(&Confined::default(), &path, Open::CreateNew { mode }).unwrap();
                assert_eq!(file.metadata().unwrap().mode() & 0o7777, mode, "umask {umask:o}");
                let again = open(&Confined::default(), &path, Open::CreateNew { mode }).unwrap_err();
                assert_eq!(again.kind(), ErrorKind::AlreadyExists);
            }
        }
    }

    #[test]
    fn a_fifo_does_not_keep_anybody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR).unwrap();
        let file = open(&Confined::default(), &fifo, Open::Read).unwrap();
        assert!(!file.metadata().unwrap().is_file());
        assert!(open(&Confined::default(), &fifo, Open::Directory).is_err());
    }

    #[test]
    fn a_directory_is_opened_as_one_only() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), b"x").unwrap();
        assert_eq!(
            open(&Confined::default(), &dir.path().join("file"), Open::Directory).unwrap_err().kind(),
            ErrorKind::NotADirectory
        );
        assert_eq!(
            open(&Confined::default(), dir.path(), Open::ReadWrite).unwrap_err().kind(),
            ErrorKind::IsADirectory
        );
        open(&Confined::default(), dir.path(), Open::Directory).unwrap().sync_all().unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_reader_waits_for_a_write_lease_to_be_given_back() {
        alone!(a_reader_waits_for_a_write_lease_to_be_given_back);
        use crate::machine::real::lease;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, b"leased").unwrap();
        let holder = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        lease::take(&holder, libc::F_WRLCK).unwrap();
        let reader = std::thread::spawn(move || open(&Confined::default(), &path, Open::Read));
        // The lease is asked for twice: by the open that does not wait, and by the one that does. Either tells.
        while lease::held(&holder) == Some(libc::F_WRLCK) {
            std::thread::yield_now();
        }
        lease::give_back(&holder);
        assert_eq!(io::read_to_string(reader.join().unwrap().unwrap()).unwrap(), "leased");
    }
}
