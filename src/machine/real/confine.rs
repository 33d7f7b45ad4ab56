//! Paths below a store, reached without following a symbolic link: `openat2` where the kernel has it.
//!
//! A store's directory is canonical, so no component of such a path is a link unless somebody put one there. What opens
//! takes the whole path in one call; what changes an entry goes through a descriptor of the directory that it is in. A
//! mere look (`lstat`) is cheap and frequent, and takes the path as it is: what follows from it is refused there.
//! Without `openat2` each directory is looked at first, which leaves a moment for whoever is fast.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;

use super::file::OpenFile;
use crate::machine::Entry;
use crate::vocabulary::planted::{Bug, planted};

/// Where sessions have their folders, below a root.
const STAGING: &str = "staging";

/// The directories below which no link is followed. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Confined {
    roots: Arc<RwLock<Vec<PathBuf>>>,
}

/// Where an entry is: its name and the directory that it is in, or its path as it was given.
pub(super) struct Place<'a> {
    directory: Directory<'a>,
    /// The name in the directory, or the whole path.
    pub(super) path: &'a Path,
}

enum Directory<'a> {
    Working,
    Own(OwnedFd),
    /// One that somebody keeps open.
    Kept(BorrowedFd<'a>),
}

impl AsFd for Place<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.directory {
            Directory::Working => AT_FDCWD,
            Directory::Own(directory) => directory.as_fd(),
            Directory::Kept(directory) => *directory,
        }
    }
}

impl Confined {
    /// No link is followed below `root`, which is canonical.
    pub(super) fn add(&self, root: &Path) {
        if planted(Bug::NotConfined) {
            return;
        }
        let mut roots = self.roots.write().expect("no panic holds it");
        if !roots.iter().any(|known| known == root) {
            roots.push(root.to_owned());
        }
    }

    /// The root that `path` is below.
    fn root_of(&self, path: &Path) -> Option<PathBuf> {
        let roots = self.roots.read().expect("no panic holds it");
        roots.iter().find(|root| is_below(path, root)).cloned()
    }

    /// Where the entry at `path` is. `NotADirectory` where a link stands above it.
    pub(super) fn place<'a>(&self, path: &'a Path) -> io::Result<Place<'a>> {
        let free = Place { directory: Directory::Working, path };
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(free) };
        let Some(root) = self.root_of(path) else { return Ok(free) };
        if is_of_a_session(parent, &root) {
            return Ok(free);
        }
        match open_below(parent, libc::O_DIRECTORY | PATH_ONLY, 0) {
            None => look_above(path, &root).map(|()| free),
            Some(Ok(directory)) => Ok(Place { directory: Directory::Own(directory.into()), path: Path::new(name) }),
            Some(Err(e)) if e.raw_os_error() == Some(libc::ELOOP) => Err(Errno::ENOTDIR.into()),
            Some(Err(e)) => Err(e),
        }
    }

    /// As [`Confined::place`], for an entry whose directory may be open already.
    pub(super) fn place_in<'a>(&self, entry: Entry<'a>) -> io::Result<Place<'a>> {
        match (entry.within.map(OpenFile::behind).transpose()?, entry.path.file_name()) {
            (Some(directory), Some(name)) => {
                Ok(Place { directory: Directory::Kept(directory.as_fd()), path: Path::new(name) })
            }
            _ => self.place(entry.path),
        }
    }

    /// Opens `path`, or `None` where it is to be opened as any other: it is below no root, or the kernel has no call for it
    /// and no link stands above.
    pub(super) fn open(&self, path: &Path, flags: libc::c_int, mode: u32) -> Option<io::Result<fs::File>> {
        let root = self.root_of(path)?;
        open_below(path, flags, mode).or_else(|| look_above(path, &root).err().map(Err))
    }
}

/// Whether this is the folder of a session. What is in it is opened and listed without following links as everything is;
/// but each staged file is linked from there and removed there, and another descriptor each time is what costs most.
fn is_of_a_session(directory: &Path, root: &Path) -> bool {
    directory.strip_prefix(root).is_ok_and(|below| below.starts_with(STAGING) && below.components().count() == 2)
}

fn is_below(path: &Path, root: &Path) -> bool {
    let (path, root) = (path.as_os_str().as_bytes(), root.as_os_str().as_bytes());
    path.len() > root.len() && path.starts_with(root) && path[root.len()] == b'/'
}

/// `NotADirectory` if anything between `root` and `path` is a symbolic link.
fn look_above(path: &Path, root: &Path) -> io::Result<()> {
    for directory in path.ancestors().skip(1).take_while(|above| *above != root) {
        if fs::symlink_metadata(directory).is_ok_and(|meta| meta.is_symlink()) {
            return Err(Errno::ENOTDIR.into());
        }
    }
    Ok(())
}

/// For a directory that is opened for nothing but to reach its entries.
#[cfg(target_os = "linux")]
pub(super) const PATH_ONLY: libc::c_int = libc::O_PATH;
#[cfg(not(target_os = "linux"))]
pub(super) const PATH_ONLY: libc::c_int = 0;

/// `None` where there is no such call, or a sandbox forbids it.
#[cfg(target_os = "linux")]
fn open_below(path: &Path, flags: libc::c_int, mode: u32) -> Option<io::Result<fs::File>> {
    use std::sync::LazyLock;
    // A file may be refused as the call itself may be (`EPERM`): only a directory that everybody may name tells.
    static THERE: LazyLock<bool> =
        LazyLock::new(|| openat2(Path::new("/"), libc::O_DIRECTORY | libc::O_PATH, 0).is_ok());
    THERE.then(|| super::uninterrupted(|| openat2(path, flags, mode)))
}

#[cfg(not(target_os = "linux"))]
fn open_below(_: &Path, _: libc::c_int, _: u32) -> Option<io::Result<fs::File>> {
    None
}

/// What `openat2` takes, of the first version of its structure.
#[cfg(target_os = "linux")]
#[repr(C)]
struct How {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// By number, since most C libraries have no function for it.
#[cfg(target_os = "linux")]
fn openat2(path: &Path, flags: libc::c_int, mode: u32) -> io::Result<fs::File> {
    use nix::NixPath;
    use std::os::fd::{FromRawFd, RawFd};
    let flags = flags | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    let how = How { flags: flags as u32 as u64, mode: mode.into(), resolve: libc::RESOLVE_NO_SYMLINKS };
    let opened = path.with_nix_path(|path| {
        // SAFETY: the path ends with a zero byte, the structure has the size that is passed, both outlive the call, which
        // only reads them.
        unsafe { libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, path.as_ptr(), &raw const how, size_of::<How>()) }
    })?;
    let descriptor = Errno::result(opened)? as RawFd;
    // SAFETY: the call has just made this descriptor, and nobody else knows of it.
    Ok(unsafe { fs::File::from_raw_fd(descriptor) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    use crate::machine::{Machine, Open, Real};

    /// What every call answers to a path with a link in it.
    fn answers(machine: &Real, root: &Path) -> Vec<io::Result<()>> {
        let (inside, through) = (root.join("file"), root.join("link"));
        let (old, new) = (through.join("old"), through.join("new"));
        vec![
            machine.open(&old, Open::Read).map(drop),
            machine.open(&old, Open::ReadWrite).map(drop),
            machine.open(&new, Open::CreateNew { mode: 0o600 }).map(drop),
            machine.open(&through.join("sub"), Open::Directory).map(drop),
            machine.create_dir(&new, 0o700),
            machine.list(&through.join("sub")).map(drop),
            machine.link(&inside, &new),
            machine.link(&old, &root.join("new")),
            machine.rename(&inside, &new),
            machine.rename(&old, &root.join("new")),
            machine.rename_new(&old, &root.join("new")),
            machine.exchange(&old, &inside),
            machine.unlink(&old),
            machine.remove_dir(&through.join("sub")),
            machine.symlink(Path::new("x"), &new),
            machine.read_link(&through.join("far")).map(drop),
        ]
    }

    #[test]
    fn nothing_is_reached_through_a_link_below_a_root() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let (root, outside) = (dir.join("root"), dir.join("outside"));
        fs::create_dir_all(&root).unwrap();
        fs::create_dir_all(outside.join("sub")).unwrap();
        fs::write(outside.join("old"), b"old").unwrap();
        symlink("x", outside.join("far")).unwrap();
        fs::write(root.join("file"), b"file").unwrap();
        symlink(&outside, root.join("link")).unwrap();
        let machine = Real::new();
        machine.confine(&root);
        for (call, answer) in answers(&machine, &root).into_iter().enumerate() {
            let errno = answer.expect_err(&format!("call {call} went through the link")).raw_os_error();
            assert!([Some(libc::ENOTDIR), Some(libc::ELOOP)].contains(&errno), "call {call}: {errno:?}");
        }
        assert_eq!(fs::read(outside.join("old")).unwrap(), b"old");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 3);
        assert_eq!(fs::read_dir(&root).unwrap().count(), 2);
        // Beside the root, links are what they were.
        let free = Real::new();
        assert!(free.open(&root.join("link/old"), Open::Read).is_ok());
        machine.link(&outside.join("old"), &root.join("in")).unwrap();
        assert_eq!(fs::read(root.join("in")).unwrap(), b"old");
    }

    #[test]
    fn without_the_call_each_directory_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        symlink("a", root.join("link")).unwrap();
        assert!(look_above(&root.join("a/b/c"), &root).is_ok());
        assert_eq!(look_above(&root.join("link/b/c"), &root).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        assert!(look_above(&root.join("link"), &root).is_ok());
    }

    #[test]
    fn a_root_is_a_whole_directory() {
        assert!(is_below(Path::new("/a/b/c"), Path::new("/a/b")));
        assert!(!is_below(Path::new("/a/bc"), Path::new("/a/b")));
        assert!(!is_below(Path::new("/a/b"), Path::new("/a/b")));
    }
}
