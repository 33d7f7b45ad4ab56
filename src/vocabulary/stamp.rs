//! What a blob file looked like when it was recorded.

use serde::{Deserialize, Serialize};

/// Size, mtime, inode and mode of a blob file when it was recorded, and its ctime as a hint.
///
/// Two stamps agree when everything but the ctime is equal: every new link to the file changes its ctime, so a
/// different one proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Length in bytes.
    pub size_bytes: u64,
    /// Modification time, in nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// Inode number on the store's filesystem.
    pub inode: u64,
    /// Permission bits (the low twelve bits of `st_mode`).
    pub mode: u32,
    /// Status change time, in nanoseconds since the epoch: a hint only.
    pub ctime_ns: i64,
}

impl Stamp {
    /// Whether the file is, as far as a stamp can tell, still the one that was recorded.
    pub fn agrees(&self, now: &Stamp) -> bool {
        (self.size_bytes, self.mtime_ns, self.inode, self.mode) == (now.size_bytes, now.mtime_ns, now.inode, now.mode)
    }
}
