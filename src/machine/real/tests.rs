//! The machine as its users see it, and how tests get a process of their own.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use super::*;
use crate::machine::{FileKind, Lock};

const CHILD: &str = "LARDER_TEST_CHILD";

/// The path of a test, as the harness knows it.
macro_rules! path_of {
    ($test:ident) => {
        concat!(module_path!(), "::", stringify!($test))
    };
}
pub(super) use path_of;

/// Goes on in a process of this test's own. For what concerns the whole process, such as its umask and its signals; and
/// for what rests on a descriptor being closed, since a command that another thread starts holds a copy of every
/// descriptor until it has become that command.
macro_rules! alone {
    ($test:ident) => {
        if !$crate::machine::real::tests::in_child($crate::machine::real::tests::path_of!($test)) {
            return;
        }
    };
}
pub(super) use alone;

/// Whether this is a process that was started for one test alone.
pub(super) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs one test in a process of its own: for what concerns the whole process, such as its umask and its signals.
pub(super) fn child_status(path: &str) -> ExitStatus {
    let (_, name) = path.split_once("::").expect("a test is in a module of the crate");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--test-threads=1"]).env(CHILD, "1");
    let output = command.output().unwrap();
    if output.status.success() {
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.contains("1 passed"), "{name} did not run: {told}");
    }
    output.status
}

/// `true` in a process that is this test's own; otherwise runs it in one, and `false`.
pub(super) fn in_child(path: &str) -> bool {
    if !is_child() {
        assert!(child_status(path).success(), "{path} failed in its own process");
    }
    is_child()
}

fn new_file(dir: &Path, name: &str) -> Box<dyn File> {
    Real::new().open(&dir.join(name), Open::CreateNew { mode: 0o600 }).unwrap()
}

#[test]
fn what_is_written_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = new_file(dir.path(), "file");
    file.write_at(b"world", 6).unwrap();
    file.write_at(b"hello ", 0).unwrap();
    file.write_at(b"", 100).unwrap();
    let mut buffer = [9; 16];
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 11);
    assert_eq!(&buffer[..12], b"hello world\x09");
    assert_eq!(file.read_at(&mut buffer[..4], 7).unwrap(), 4);
    assert_eq!(&buffer[..4], b"orld");
    assert_eq!(file.read_at(&mut buffer, 11).unwrap(), 0);
    assert_eq!(file.read_at(&mut buffer, 1 << 40).unwrap(), 0);
    assert_eq!(file.read_at(&mut [], 0).unwrap(), 0);
    file.set_len(5).unwrap();
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 5);
}

#[test]
fn syncs_and_hints_work_on_files_and_directories() {
    let dir = tempfile::tempdir().unwrap();
    let file = new_file(dir.path(), "file");
    file.write_at(&[1; 100_000], 0).unwrap();
    file.start_writeback(0, 100_000);
    file.start_writeback(0, 0);
    file.start_writeback(u64::MAX, u64::MAX);
    file.sync_data().unwrap();
    file.sync().unwrap();
    file.drop_cache();
    let directory = Real::new().open(dir.path(), Open::Directory).unwrap();
    directory.sync().unwrap();
    let whole = directory.sync_filesystem().map_err(|error| error.kind());
    assert_eq!(whole, if cfg!(target_os = "linux") { Ok(()) } else { Err(ErrorKind::Unsupported) });
    assert!(cfg!(target_os = "linux") || !Real::new().syncfs_reports_errors());
}

#[test]
fn meta_tells_what_was_set() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let file = new_file(dir.path(), "file");
    file.write_at(&[1; 5000], 0).unwrap();
    file.set_mode(0o444).unwrap();
    for mtime_ns in [1_234_567_890_123_456_789, 0, -1_500_000_000] {
        file.set_mtime(mtime_ns).unwrap();
        assert_eq!(file.meta().unwrap().mtime_ns, mtime_ns);
    }
    let meta = file.meta().unwrap();
    assert_eq!((meta.kind, meta.size_bytes, meta.mode, meta.links), (FileKind::File, 5000, 0o444, 1));
    assert_eq!(meta.uid, Real::new().user());
    assert!(meta.allocated_bytes >= 5000 && meta.inode != 0 && meta.ctime_ns > 0);
    Real::new().link(&path, &dir.path().join("second")).unwrap();
    symlink("file", dir.path().join("link")).unwrap();
    let now = file.meta().unwrap();
    assert_eq!(now.links, 2);
    assert_eq!(Real::new().lstat(&path).unwrap(), now);
    assert_eq!(Real::new().stat(&dir.path().join("link")).unwrap(), now);
    assert_eq!(Real::new().lstat(&dir.path().join("link")).unwrap().kind, FileKind::Symlink);
    assert_eq!(Real::new().lstat(dir.path()).unwrap().kind, FileKind::Directory);
    assert_eq!(Real::new().lstat(Path::new("/dev/null")).unwrap().kind, FileKind::Special);
}

#[test]
fn the_access_time_stays_when_the_other_is_set() {
    let dir = tempfile::tempdir().unwrap();
    let file = new_file(dir.path(), "file");
    let before = fs::metadata(dir.path().join("file")).unwrap().accessed().unwrap();
    file.set_mtime(1).unwrap();
    assert_eq!(fs::metadata(dir.path().join("file")).unwrap().accessed().unwrap(), before);
}

#[test]
#[cfg(target_os = "linux")]
fn what_a_file_is_extended_by_reads_as_zeros() {
    let dir = tempfile::tempdir().unwrap();
    let file = new_file(dir.path(), "file");
    file.write_at(b"first", 0).unwrap();
    // Some filesystems cannot, and are not made to.
    if file.extend(3, 100).is_ok() {
        assert_eq!(file.meta().unwrap().size_bytes, 103);
        let mut bytes = [1; 103];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 103);
        assert!(bytes.starts_with(b"first") && bytes[5..].iter().all(|byte| *byte == 0));
    }
    assert!(file.extend(0, u64::MAX).is_err());
}

#[test]
fn allocated_is_really_there() {
    let dir = tempfile::tempdir().unwrap();
    let file = new_file(dir.path(), "file");
    file.allocate(0).unwrap();
    assert_eq!(file.meta().unwrap().size_bytes, 0);
    file.write_at(b"kept", 0).unwrap();
    file.allocate(1 << 20).unwrap();
    let meta = file.meta().unwrap();
    assert_eq!(meta.size_bytes, 1 << 20);
    assert!(meta.allocated_bytes >= 1 << 20);
    file.allocate(10).unwrap();
    assert_eq!(file.meta().unwrap().size_bytes, 1 << 20);
    let mut start = [0; 5];
    file.read_at(&mut start, 0).unwrap();
    assert_eq!(&start, b"kept\0");
    assert!(file.allocate(u64::MAX).is_err());
}

#[test]
fn a_lock_excludes_other_descriptors() {
    alone!(a_lock_excludes_other_descriptors);
    let dir = tempfile::tempdir().unwrap();
    let one = new_file(dir.path(), "lock");
    let open = || Real::new().open(&dir.path().join("lock"), Open::ReadWrite).unwrap();
    let (other, third) = (open(), open());
    assert!(one.try_lock(Lock::Exclusive).unwrap());
    assert!(!other.try_lock(Lock::Exclusive).unwrap());
    assert!(!other.try_lock(Lock::Shared).unwrap());
    one.unlock().unwrap();
    assert!(other.try_lock(Lock::Shared).unwrap());
    assert!(third.try_lock(Lock::Shared).unwrap());
    assert!(!one.try_lock(Lock::Exclusive).unwrap());
    drop((other, third));
    assert!(one.try_lock(Lock::Exclusive).unwrap(), "closing lets go");
}

#[test]
fn a_lock_outlives_the_name_and_is_told_apart_by_inode() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let first = new_file(dir.path(), "lock");
    assert!(first.try_lock(Lock::Exclusive).unwrap());
    Real::new().unlink(&path).unwrap();
    let second = new_file(dir.path(), "lock");
    assert!(second.try_lock(Lock::Exclusive).unwrap());
    assert_ne!(first.meta().unwrap().inode, Real::new().stat(&path).unwrap().inode);
}

#[test]
fn holes_are_found() {
    const MIB: u64 = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let file = new_file(dir.path(), "sparse");
    assert_eq!(file.next_data(0).unwrap(), None, "an empty file");
    file.write_at(&[1; MIB as usize], 2 * MIB).unwrap();
    file.write_at(&[1; MIB as usize], 5 * MIB).unwrap();
    file.set_len(8 * MIB).unwrap();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some((start, end)) = file.next_data(at).unwrap() {
        assert!(at <= start && start < end);
        found.push((start, end));
        at = end;
    }
    let holes_known = found != [(0, 8 * MIB)];
    assert!(!holes_known || found == [(2 * MIB, 3 * MIB), (5 * MIB, 6 * MIB)], "{found:?}");
    assert_eq!(file.next_data(2 * MIB + 7).unwrap().unwrap().0, 2 * MIB + 7);
    assert_eq!(file.next_data(8 * MIB).unwrap(), None);
    assert_eq!(file.next_data(u64::MAX).unwrap(), None);
}

#[test]
fn names_are_made_moved_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let machine = Real::new();
    fs::write(at("a"), b"a").unwrap();
    machine.link(&at("a"), &at("b")).unwrap();
    assert_eq!(machine.link(&at("a"), &at("b")).unwrap_err().kind(), ErrorKind::AlreadyExists);
    fs::write(at("c"), b"c").unwrap();
    machine.rename(&at("c"), &at("b")).unwrap();
    assert_eq!(fs::read(at("b")).unwrap(), b"c");
    machine.rename_new(&at("b"), &at("d")).unwrap();
    machine.exchange(&at("a"), &at("d")).unwrap();
    assert_eq!(fs::read(at("a")).unwrap(), b"c");
    machine.symlink(Path::new("a"), &at("link")).unwrap();
    assert_eq!(machine.read_link(&at("link")).unwrap(), Path::new("a"));
    assert_eq!(machine.canonical(&at("link")).unwrap(), fs::canonicalize(dir.path()).unwrap().join("a"));
    machine.create_dir(&at("sub"), 0o700).unwrap();
    assert!(machine.unlink(&at("sub")).is_err());
    machine.remove_dir(&at("sub")).unwrap();
    machine.unlink(&at("link")).unwrap();
    let mut left: Vec<_> = machine.list(dir.path()).unwrap().into_iter().map(|listed| listed.name).collect();
    left.sort();
    assert_eq!(left, ["a", "d"]);
    assert_eq!(machine.unlink(&at("none")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_hardlink_of_a_symbolic_link_is_one_of_the_link_itself() {
    let dir = tempfile::tempdir().unwrap();
    symlink("nowhere", dir.path().join("link")).unwrap();
    Real::new().link(&dir.path().join("link"), &dir.path().join("second")).unwrap();
    assert_eq!(Real::new().lstat(&dir.path().join("second")).unwrap().kind, FileKind::Symlink);
}

#[test]
fn windows_are_the_same_with_and_without_maps() {
    install_guard();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, vec![3; 9 << 20]).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    for machine in [Real::new(), Real::without_maps(), Real::default()] {
        let mut length = 0;
        let file = machine.open(&path, Open::Read).unwrap();
        let mut look = |window: &[u8]| {
            assert!(window.iter().all(|&byte| byte == 3));
            length += window.len();
            Ok(())
        };
        file.windows(0, 9 << 20, &mut look).unwrap();
        assert_eq!(file.windows(1, 9 << 20, &mut look).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert!(length >= 9 << 20);
    }
}

#[test]
fn a_lease_is_taken_and_given_back_through_the_trait() {
    alone!(a_lease_is_taken_and_given_back_through_the_trait);
    let dir = tempfile::tempdir().unwrap();
    let writer = new_file(dir.path(), "file");
    let reader = Real::new().open(&dir.path().join("file"), Open::Read).unwrap();
    assert!(!reader.read_lease().unwrap());
    drop(writer);
    let leased = reader.read_lease().unwrap();
    assert_eq!(leased, cfg!(target_os = "linux"));
    assert_eq!(reader.end_lease(), leased);
}

#[test]
fn a_file_of_another_machine_is_refused() {
    struct Other;
    assert!((&Other as &dyn std::any::Any).downcast_ref::<OpenFile>().is_none());
    let dir = tempfile::tempdir().unwrap();
    let file = new_file(dir.path(), "file");
    assert!(OpenFile::behind(&*file).is_ok());
}

#[test]
fn interruptions_are_not_errors() {
    let mut left = 3;
    let done = uninterrupted(|| {
        left -= 1;
        if left == 0 { Ok("done") } else { Err(io::Error::from(ErrorKind::Interrupted)) }
    });
    assert_eq!(done.unwrap(), "done");
}

#[test]
fn a_pause_lasts() {
    let before = Real::new().monotonic_ns();
    Real::new().pause(Duration::from_millis(2));
    assert!(Real::new().monotonic_ns() >= before + 2_000_000);
    assert!(Real::new().now_ns() > 0);
}

#[test]
fn reading_goes_on_after_short_counts() {
    // A read at one call returns at most 0x7fff_f000 bytes, which is too much to try; a file that ends does the rest.
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&[5; 10_000], 0).unwrap();
    let mut buffer = vec![0; 20_000];
    assert_eq!(super::read::read_at(&file, &mut buffer, 1).unwrap(), 9_999);
}
