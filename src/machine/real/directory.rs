//! Making and listing directories.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::dir::{Dir, Entry, Type};
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::confine::{Confined, Place};
use super::{file, open, uninterrupted};
use crate::machine::{FileKind, Listed, Meta, Open};

/// `mkdir` with exactly this mode. Nothing is left behind when the mode cannot be set.
pub(super) fn create(confined: &Confined, path: &Path, mode: u32) -> io::Result<()> {
    let place = confined.place(path)?;
    mkdirat(&place, place.path, Mode::from_bits_truncate(mode as libc::mode_t))?;
    set_mode(&place, mode).inspect_err(|_| {
        let _ = unlinkat(&place, place.path, UnlinkatFlags::RemoveDir);
    })
}

/// Through a descriptor, so that nothing put in the directory's place is touched; by name, still following no link,
/// where the umask took away the owner's right to open what was just made.
fn set_mode(place: &Place<'_>, mode: u32) -> io::Result<()> {
    let bits = Mode::from_bits_truncate(mode as libc::mode_t);
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match uninterrupted(|| Ok(openat(place, place.path, flags, Mode::empty())?)) {
        Ok(directory) => Ok(fchmod(directory, bits)?),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM)) => {
            Ok(fchmodat(place, place.path, bits, FchmodatFlags::NoFollowSymlink)?)
        }
        Err(error) => Err(error),
    }
}

/// Everything in the directory but `.` and `..`; refused (`ENOTDIR`) where `path` itself is a symbolic link.
pub(super) fn list(confined: &Confined, path: &Path) -> io::Result<Vec<Listed>> {
    let mut directory = Dir::from_fd(open::open(confined, path, Open::Directory)?.into())?;
    let entries = directory.iter().collect::<nix::Result<Vec<Entry>>>()?;
    let mut listed = Vec::with_capacity(entries.len());
    for entry in entries.iter().filter(|e| !matches!(e.file_name().to_bytes(), b"." | b"..")) {
        if let Some(kind) = kind_of(&directory, entry)? {
            listed.push(Listed { name: name_of(entry), kind, inode: entry.ino() });
        }
    }
    Ok(listed)
}

/// `lstat` of an entry of a directory that is open.
pub(super) fn lstat_at(place: &Place<'_>) -> io::Result<Meta> {
    let stat = fstatat(place, place.path, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    Ok(file::meta_of_stat(&stat))
}

fn name_of(entry: &Entry) -> OsString {
    OsStr::from_bytes(entry.file_name().to_bytes()).to_owned()
}

/// What the entry is; `None` when it had to be looked at and is gone by now.
fn kind_of(directory: &Dir, entry: &Entry) -> io::Result<Option<FileKind>> {
    match entry.file_type() {
        Some(Type::File) => Ok(Some(FileKind::File)),
        Some(Type::Directory) => Ok(Some(FileKind::Directory)),
        Some(Type::Symlink) => Ok(Some(FileKind::Symlink)),
        Some(_) => Ok(Some(FileKind::Special)),
        None => looked_at(directory, entry),
    }
}

/// Some filesystems do not keep the kind in the directory.
fn looked_at(directory: &Dir, entry: &Entry) -> io::Result<Option<FileKind>> {
    match fstatat(directory, entry.file_name(), AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(file::kind_of(stat.st_mode))),
        Err(nix::errno::Errno::ENOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::real::tests::alone;
    use nix::fcntl::AT_FDCWD;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::os::unix::net::UnixListener;

    #[test]
    fn new_directories_have_exactly_their_mode() {
        alone!(new_directories_have_exactly_their_mode);
        let dir = tempfile::tempdir().unwrap();
        for umask in [0o777, 0o077, 0] {
            nix::sys::stat::umask(Mode::from_bits_truncate(umask));
            for mode in [0o700, 0o755, 0o777, 0o1777, 0o2775] {
                let path = dir.path().join(format!("{umask:o}-{mode:o}"));
                create(&Confined::default(), &path, mode).unwrap();
                assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, mode, "umask {umask:o}");
                assert_eq!(create(&Confined::default(), &path, mode).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            }
        }
    }

    #[test]
    fn the_mode_can_be_set_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub");
        fs::create_dir(&path).unwrap();
        fchmodat(AT_FDCWD, &path, Mode::from_bits_truncate(0o751), FchmodatFlags::NoFollowSymlink).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o751);
    }

    #[test]
    fn everything_is_listed_with_its_kind_and_inode() {
        let dir = tempfile::tempdir().unwrap();
        let odd = OsStr::from_bytes(b"odd \xff name");
        fs::write(dir.path().join(odd), b"").unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        symlink("sub", dir.path().join("link")).unwrap();
        let _listener = UnixListener::bind(dir.path().join("socket")).unwrap();
        let mut listed = list(&Confined::default(), dir.path()).unwrap();
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        let kinds: Vec<_> = listed.iter().map(|l| (l.name.as_os_str(), l.kind)).collect();
        let expected = [
            (OsStr::new("link"), FileKind::Symlink),
            (odd, FileKind::File),
            (OsStr::new("socket"), FileKind::Special),
            (OsStr::new("sub"), FileKind::Directory),
        ];
        assert_eq!(kinds, expected);
        for entry in &listed {
            assert_eq!(entry.inode, fs::symlink_metadata(dir.path().join(&entry.name)).unwrap().ino());
        }
    }

    #[test]
    fn an_entry_that_must_be_looked_at_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("gone"), b"").unwrap();
        symlink("sub", dir.path().join("link")).unwrap();
        let mut opened = Dir::open(dir.path(), OFlag::O_RDONLY, Mode::empty()).unwrap();
        let entries: Vec<Entry> = opened.iter().map(Result::unwrap).collect();
        fs::remove_file(dir.path().join("gone")).unwrap();
        for entry in entries {
            let expected = match entry.file_name().to_bytes() {
                b"gone" => None,
                b"link" => Some(FileKind::Symlink),
                _ => Some(FileKind::Directory),
            };
            assert_eq!(looked_at(&opened, &entry).unwrap(), expected);
        }
    }

    #[test]
    fn a_symbolic_link_to_a_directory_is_not_listed() {
        let dir = tempfile::tempdir().unwrap();
        symlink(".", dir.path().join("link")).unwrap();
        assert_eq!(
            list(&Confined::default(), &dir.path().join("link")).unwrap_err().kind(),
            io::ErrorKind::NotADirectory
        );
        assert_eq!(list(&Confined::default(), &dir.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
