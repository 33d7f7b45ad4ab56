//! Where else the bytes of a blob are: the files that it was added from, and further inodes that the store keeps.

use serde::{Deserialize, Serialize};

use super::Moment;
use crate::format::checkpoint::SourceStamp;
use crate::vocabulary::limits::{SOURCES_BYTES, SOURCES_MOST};
use crate::vocabulary::{Digest, Name, Stamp};

/// A file that a blob was added from, as it was then. Nothing is believed about it but that it is worth a look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Its absolute path, as bytes.
    pub path: Vec<u8>,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Modification time, nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// Status change time, nanoseconds since the epoch.
    pub ctime_ns: i64,
    /// Inode number.
    pub inode: u64,
    /// Device number.
    pub device: u64,
}

/// The files that a blob was added from: all that are remembered from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcesRecord {
    /// The blob.
    pub digest: Digest,
    /// The files, the one that was read first.
    pub files: Vec<SourceFile>,
    /// When they were read.
    pub since: Moment,
}

/// The row of the files that a blob was added from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcesRow {
    /// The files.
    pub files: Vec<SourceFile>,
    /// When they were read.
    pub since: Moment,
}

/// The file that a name was given to was this when its bytes were read, and nobody can have changed it since without its
/// being another one by its stamp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStampRecord {
    /// The name.
    pub name: Name,
    /// The digest of its bytes.
    pub digest: Digest,
    /// What it was.
    pub source: SourceStamp,
}

/// The row of the file that a name was given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStampRow {
    /// The digest of its bytes.
    pub digest: Digest,
    /// What it was.
    pub source: SourceStamp,
}

/// The store keeps one more inode of a blob: `carriers/ab/cdef….N` is in place and synced, and looked like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarrierRecord {
    /// The blob.
    pub digest: Digest,
    /// Its N, from 1.
    pub number: u32,
    /// What its file looked like.
    pub stamp: Stamp,
    /// When it was made.
    pub since: Moment,
}

/// The store keeps that inode no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarrierRemovedRecord {
    /// The blob.
    pub digest: Digest,
    /// Its N.
    pub number: u32,
}

/// The row of a carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarrierRow {
    /// What its file looked like.
    pub stamp: Stamp,
    /// When it was made.
    pub since: Moment,
}

/// Of these files, the first that may be remembered for one blob: few, their paths short, each path once.
pub fn remembered(files: impl IntoIterator<Item = SourceFile>) -> Vec<SourceFile> {
    let mut kept: Vec<SourceFile> = Vec::new();
    let mut room = SOURCES_BYTES;
    for file in files {
        let fits = kept.len() < SOURCES_MOST && file.path.len() <= room;
        if fits && file.path.starts_with(b"/") && kept.iter().all(|other| other.path != file.path) {
            room -= file.path.len();
            kept.push(file);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> SourceFile {
        SourceFile { path: path.into(), size_bytes: 1, mtime_ns: 2, ctime_ns: 3, inode: 4, device: 5 }
    }

    #[test]
    fn few_sources_are_remembered_each_once() {
        let paths = |files: &[&str]| {
            let kept = remembered(files.iter().map(|path| file(path)));
            kept.into_iter().map(|file| String::from_utf8(file.path).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(paths(&["/a", "/b", "/a", "c"]), ["/a", "/b"]);
        assert_eq!(paths(&["/1", "/2", "/3", "/4", "/5"]), ["/1", "/2", "/3", "/4"]);
        let long = format!("/{}", "x".repeat(SOURCES_BYTES - 1));
        assert_eq!(paths(&[&long, "/b"]), [long.as_str()]);
        assert_eq!(paths(&["/b", &long, "/c"]), ["/b", "/c"]);
    }
}
