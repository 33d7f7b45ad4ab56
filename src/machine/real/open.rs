//! Opening files and directories: never through a symbolic link, never inherited, never waiting for a fifo.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::machine::Open;

/// Opens `path`. The standard library adds `O_CLOEXEC` to every way.
pub(super) fn open(path: &Path, how: Open) -> io::Result<fs::File> {
    match how {
        Open::Read => read(path),
        Open::ReadWrite => options().read(true).write(true).open(path),
        Open::CreateNew { mode } => create(path, mode),
        Open::Directory => options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY).open(path),
    }
}

/// What all ways share. `custom_flags` replaces what was set before: whoever calls it again says these again.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NOCTTY);
    options
}

fn read(path: &Path) -> io::Result<fs::File> {
    let flags = libc::O_NOFOLLOW | libc::O_NOCTTY | libc::O_NONBLOCK;
    match options().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => after_lease(path, error),
        done => done,
    }
}

/// `O_NONBLOCK` refuses a regular file on which a server (Samba, knfsd) holds a write lease, where a blocking open
/// waits until it is given back. What is opened here is what was seen to be regular, whatever the path means by then.
#[cfg(target_os = "linux")]
fn after_lease(path: &Path, refused: io::Error) -> io::Result<fs::File> {
    use std::os::fd::AsRawFd;
    let seen = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_PATH).open(path)?;
    if !seen.metadata()?.is_file() {
        return Err(refused);
    }
    let again = format!("/proc/self/fd/{}", seen.as_raw_fd());
    OpenOptions::new().read(true).custom_flags(libc::O_NOCTTY).open(again)
}

#[cfg(not(target_os = "linux"))]
fn after_lease(_: &Path, refused: io::Error) -> io::Result<fs::File> {
    Err(refused)
}

/// The umask can only take bits away from what `open` creates, so the file never has more than `mode`, and then exactly
/// that.
fn create(path: &Path, mode: u32) -> io::Result<fs::File> {
    let file = options().read(true).write(true).create_new(true).mode(mode).open(path)?;
    if let Err(error) = file.set_permissions(fs::Permissions::from_mode(mode)) {
        // A failed call leaves nothing behind, as far as that is possible; the first error is the one that tells.
        let _ = fs::remove_file(path);
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
                assert!(open(&dir.path().join(name), how).is_err(), "{how:?} {name}");
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
            let file = open(&dir.path().join(name), how).unwrap();
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
                let file = open(&path, Open::CreateNew { mode }).unwrap();
                assert_eq!(file.metadata().unwrap().mode() & 0o7777, mode, "umask {umask:o}");
                let again = open(&path, Open::CreateNew { mode }).unwrap_err();
                assert_eq!(again.kind(), ErrorKind::AlreadyExists);
            }
        }
    }

    #[test]
    fn a_fifo_does_not_keep_anybody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR).unwrap();
        let file = open(&fifo, Open::Read).unwrap();
        assert!(!file.metadata().unwrap().is_file());
        assert!(open(&fifo, Open::Directory).is_err());
    }

    #[test]
    fn a_directory_is_opened_as_one_only() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), b"x").unwrap();
        assert_eq!(open(&dir.path().join("file"), Open::Directory).unwrap_err().kind(), ErrorKind::NotADirectory);
        assert_eq!(open(dir.path(), Open::ReadWrite).unwrap_err().kind(), ErrorKind::IsADirectory);
        open(dir.path(), Open::Directory).unwrap().sync_all().unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_reader_waits_for_a_write_lease_to_be_given_back() {
        alone!(a_reader_waits_for_a_write_lease_to_be_given_back);
        use crate::machine::real::lease;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, b"leased").unwrap();
        let holder = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        lease::take(&holder, libc::F_WRLCK).unwrap();
        let reader = std::thread::spawn(move || open(&path, Open::Read));
        // The lease is asked for twice: by the open that does not wait, and by the one that does. Either tells.
        while lease::held(&holder) == Some(libc::F_WRLCK) {
            std::thread::yield_now();
        }
        lease::give_back(&holder);
        assert_eq!(io::read_to_string(reader.join().unwrap().unwrap()).unwrap(), "leased");
    }
}
