//! What kind of machine a world is.

use std::path::PathBuf;

/// The properties of a simulated machine that a test may choose. They hold for the images of its disk, too.
#[derive(Clone, Debug)]
pub struct Options {
    /// Mounted read-only: whatever would change something fails with `EROFS`.
    pub read_only: bool,
    /// Whatever concerns these paths or what is below them fails with `EACCES`.
    pub denied: Vec<PathBuf>,
    /// Most names of a file; one more fails with `EMLINK`.
    pub link_limit: u64,
    /// Whether there are hardlinks; without, `link` fails with `EPERM`.
    pub links: bool,
    /// Whether files can share extents; without, `reflink` fails with `EOPNOTSUPP`.
    pub reflinks: bool,
    /// Whether read leases can be had.
    pub leases: bool,
    /// What is mounted elsewhere than the root; links and renames across fail with `EXDEV`.
    pub mounts: Vec<Mount>,
    /// Kind of the filesystem.
    pub kind: String,
    /// Whether it is a local filesystem.
    pub local: bool,
    /// Bytes of blocks that all files may occupy; what needs more fails with `ENOSPC`.
    pub capacity_bytes: Option<u64>,
    /// Most inodes; what needs more fails with `ENOSPC`.
    pub capacity_inodes: Option<u64>,
    /// Whether the number of a removed inode goes to the next new one, as on ext4.
    pub reuse_inodes: bool,
    /// The granularity of file times, in nanoseconds; Linux has about 4 ms.
    pub time_grain_ns: u64,
    /// How far the clocks move at each call, in nanoseconds; at a sync, a thousand times as far. With 0 they stand still
    /// but where somebody waits.
    pub call_time_ns: u64,
    /// What becomes of the filesystem when the sync of a directory fails.
    pub failed_directory_sync: FailedDirectorySync,
    /// Whether calls that change nothing are in the log, too.
    pub log_reads: bool,
    /// Whether `syncfs` reports failures of write-back.
    pub syncfs_reports_errors: bool,
    /// The umask of all processes.
    pub umask: u32,
    /// The user of all processes.
    pub user: u32,
    /// Of a thousand nanoseconds, how many some task waits for the disk; `None` where the kernel does not tell.
    pub stalled_per_mille: Option<u64>,
    /// At how many sector boundaries a write is torn, at most, in the exhaustive images.
    pub tears: usize,
}

/// A path at which another filesystem begins, or the same one once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub at: PathBuf,
    /// Its device number; the root has 1. A bind mount has the number of what it shows, and `EXDEV` all the same.
    pub device: u64,
}

/// What becomes of the filesystem when the sync of a directory, or of other metadata, fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedDirectorySync {
    /// It takes no more writes (`EROFS`), and no sync succeeds any more; reads go on. As measured on ext4, xfs and btrfs.
    Abort,
    /// The changes count as clean and never reach the disk; the next sync succeeds.
    Forget,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            read_only: false,
            denied: Vec::new(),
            link_limit: 65_000,
            links: true,
            reflinks: false,
            leases: true,
            mounts: Vec::new(),
            kind: "ext4".into(),
            local: true,
            capacity_bytes: None,
            capacity_inodes: None,
            reuse_inodes: true,
            time_grain_ns: 1,
            call_time_ns: 1_000,
            failed_directory_sync: FailedDirectorySync::Abort,
            log_reads: false,
            syncfs_reports_errors: true,
            umask: 0o022,
            user: 1000,
            stalled_per_mille: None,
            tears: 32,
        }
    }
}
