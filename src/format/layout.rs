//! Where everything is in a store directory (format.md, "Directory").

use std::path::{Path, PathBuf};

use crate::vocabulary::{Digest, Name, StoredUri};

/// The directory entries that `init` makes, besides the 256 below `sha256/`.
pub const DIRECTORIES: [&str; 9] =
    ["sha256", "carriers", "trees", "names", "journal", "index", "staging", "quarantine", "trash"];

/// The files beside those directories: what a store is, its locks, and what it keeps for itself.
const FILES: [&str; 10] = [
    "larder.toml",
    "larder.toml.new",
    "lock",
    "compaction",
    "scrub",
    "reserve",
    "uses",
    "uses.aside",
    "totals",
    "CACHEDIR.TAG",
];

/// The paths of one store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout of the store at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Layout { root: root.into() }
    }

    /// The store directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `sha256/ab/cdef…`, the one place of a blob.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.to_hex();
        let mut path = self.root.join("sha256");
        path.push(&hex[..2]);
        path.push(&hex[2..]);
        path
    }

    /// The file that a URI of this store means; `None` where it means an object.
    pub fn stored(&self, uri: &StoredUri) -> Option<PathBuf> {
        match uri.digest() {
            Some(digest) => Some(self.blob(digest)),
            None => uri.path().map(Path::to_owned),
        }
    }

    /// `carriers/ab/cdef….N`, one more inode of a blob.
    pub fn carrier(&self, digest: &Digest, number: u32) -> PathBuf {
        let hex = digest.to_hex();
        self.carrier_dir(digest.as_bytes()[0]).join(format!("{}.{number}", &hex[2..]))
    }

    /// The directory of all carriers of blobs whose digest begins with `first`; made when there is a first one.
    pub fn carrier_dir(&self, first: u8) -> PathBuf {
        self.carriers().join(format!("{first:02x}"))
    }

    /// Where carriers are.
    pub fn carriers(&self) -> PathBuf {
        self.root.join("carriers")
    }

    /// The digest and number of the carrier file `file` in the directory of `first`; `None` if it is no carrier's name.
    pub fn carrier_of(first: u8, file: &str) -> Option<(Digest, u32)> {
        let (digest, number) = file.split_once('.')?;
        let read = number.parse().ok().filter(|n: &u32| *n > 0 && n.to_string() == number)?;
        Some((Layout::digest_of(first, digest)?, read))
    }

    /// `trees/ab/cdef…`, the tree of a large blob.
    pub fn tree(&self, digest: &Digest) -> PathBuf {
        self.tree_dir(digest.as_bytes()[0]).join(&digest.to_hex()[2..])
    }

    /// The directory of all trees of blobs whose digest begins with `first`; made when there is a first one.
    pub fn tree_dir(&self, first: u8) -> PathBuf {
        self.trees().join(format!("{first:02x}"))
    }

    /// Where trees are.
    pub fn trees(&self) -> PathBuf {
        self.root.join("trees")
    }

    /// The digest of the tree file `file` in the directory of `first`, and whether it is not yet in its place: `cdef…`, or,
    /// while it is written, with `.` and 16 hexadecimal digits behind it. `None` if it is no tree's name.
    pub fn tree_of(first: u8, file: &str) -> Option<(Digest, bool)> {
        let Some((digest, random)) = file.split_once('.') else {
            return Some((Layout::digest_of(first, file)?, false));
        };
        let is_random = random.len() == 16 && random.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        Some((Layout::digest_of(first, digest).filter(|_| is_random)?, true))
    }

    /// The directory of all blobs whose digest begins with `first`.
    pub fn blob_dir(&self, first: u8) -> PathBuf {
        self.root.join(format!("sha256/{first:02x}"))
    }

    /// The digest of the blob file `file` in the directory of `first`; `None` if it is no blob's name.
    pub fn digest_of(first: u8, file: &str) -> Option<Digest> {
        (file.len() == 62).then(|| Digest::from_hex(&format!("{first:02x}{file}"))).flatten()
    }

    /// Where hardlinked aliases are.
    pub fn names(&self) -> PathBuf {
        self.root.join("names")
    }

    /// The file of a hardlinked alias.
    pub fn name(&self, name: &Name) -> PathBuf {
        self.names().join(name.as_path())
    }

    /// The journal's segments.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// The index's runs and `CURRENT`.
    pub fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    /// The folders of sessions.
    pub fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// Bad bytes, with the reason.
    pub fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// The lock that writers hold.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// The lock of whoever merges runs or compacts the journal.
    pub fn compaction(&self) -> PathBuf {
        self.root.join("compaction")
    }

    /// The lock of whoever reads the blobs one after the other.
    pub fn scrub(&self) -> PathBuf {
        self.root.join("scrub")
    }

    /// The file that is given up when the disk is full.
    pub fn reserve(&self) -> PathBuf {
        self.root.join("reserve")
    }

    /// Uses of entries that are not on record yet.
    pub fn uses(&self) -> PathBuf {
        self.root.join("uses")
    }

    /// The same, set aside while they are put on record.
    pub fn uses_aside(&self) -> PathBuf {
        self.root.join("uses.aside")
    }

    /// What was counted.
    pub fn totals(&self) -> PathBuf {
        self.root.join("totals")
    }

    /// The settings; a directory with this file in it is a store.
    pub fn settings(&self) -> PathBuf {
        self.root.join("larder.toml")
    }

    /// Whether a path below the store directory is one of the store's own files and directories, or is in one, on any
    /// filesystem: some take `LOCK` for `lock`.
    pub fn is_own(path: &str) -> bool {
        let first = path.split('/').next().unwrap_or_default();
        DIRECTORIES.iter().chain(&FILES).any(|own| own.eq_ignore_ascii_case(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_path_and_its_digest_are_each_other() {
        let layout = Layout::new("/s");
        let path = layout.blob(&Digest::EMPTY);
        assert_eq!(path, Path::new("/s/sha256/e3/b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
        let file = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(Layout::digest_of(0xe3, file), Some(Digest::EMPTY));
        assert_eq!(Layout::digest_of(0xe3, &file.to_uppercase()), None);
        assert_eq!(Layout::digest_of(0xe3, "x"), None);
        let stored = |uri: &str| layout.stored(&uri.parse().unwrap());
        assert_eq!(stored(&format!("larder:{}", Digest::EMPTY)), Some(path.clone()));
        assert_eq!(stored("file:///a"), Some(PathBuf::from("/a")));
        assert_eq!(stored("s3://b/k"), None);
        let carrier = layout.carrier(&Digest::EMPTY, 12);
        assert_eq!(carrier, PathBuf::from(path.to_str().unwrap().replace("sha256", "carriers") + ".12"));
        let file = carrier.file_name().unwrap().to_str().unwrap();
        assert_eq!(Layout::carrier_of(0xe3, file), Some((Digest::EMPTY, 12)));
        for other in ["", "12", &file.replace(".12", ""), &file.replace(".12", ".012"), &file.replace(".12", ".0")] {
            assert_eq!(Layout::carrier_of(0xe3, other), None, "{other}");
        }
        let tree = layout.tree(&Digest::EMPTY);
        assert_eq!(tree, PathBuf::from(path.to_str().unwrap().replace("sha256", "trees")));
        let file = tree.file_name().unwrap().to_str().unwrap();
        assert_eq!(Layout::tree_of(0xe3, file), Some((Digest::EMPTY, false)));
        assert_eq!(Layout::tree_of(0xe3, &format!("{file}.0123456789abcdef")), Some((Digest::EMPTY, true)));
        for other in ["", "x", &format!("{file}.1"), &format!("{file}.0123456789ABCDEF"), &file[1..]] {
            assert_eq!(Layout::tree_of(0xe3, other), None, "{other}");
        }
    }
}
