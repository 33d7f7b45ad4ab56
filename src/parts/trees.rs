//! The trees of large blobs: `trees/ab/cdef…`.
//!
//! All of it is derived. A file there is put in its place by a rename and is never synced by itself: what a crash leaves
//! of one does not pass its checksum, and a tree is believed only where its root is the BLAKE3 on record.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::format::layout::Layout;
use crate::format::tree;
use crate::hashing::Tree;
use crate::hashing::tree::groups_in;
use crate::machine::{FileKind, Machine, Meta, Open};
use crate::vocabulary::limits::{TREE_FROM_BYTES, TREE_MOST_BYTES};
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Blake3, Digest, Error, Result};

/// The trees of one store.
#[derive(Clone)]
pub struct Trees {
    machine: Arc<dyn Machine>,
    layout: Layout,
    directory_mode: u32,
}

/// What is in the place of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing.
    Missing,
    /// The tree of the blob.
    Good(Tree),
    /// Something that is not to be believed, and why.
    Bad(String),
    /// What could not be read, and why.
    Unreadable(String),
}

/// A file below `trees/`, as it was found in its directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundTree {
    /// The digest that its name claims.
    pub digest: Digest,
    /// Its path.
    pub path: PathBuf,
    /// Whether it was about to become the tree of that digest when its maker died, unless that lives.
    pub unfinished: bool,
}

/// Whether a blob of this size has a tree.
pub fn has_tree(size_bytes: u64) -> bool {
    (TREE_FROM_BYTES..=TREE_MOST_BYTES).contains(&size_bytes)
}

/// Who may read a blob may read its tree, and nobody else: what it says of the bytes is enough to recognise them by.
fn mode_for(blob: &Meta, tree: &Meta) -> u32 {
    let everybody = blob.mode & 0o004 != 0;
    let group = if everybody || blob.gid == tree.gid { 0o040 } else { 0 };
    0o400 | blob.mode & (0o004 | group)
}

impl Trees {
    /// The trees of the store at `layout`.
    pub fn new(machine: Arc<dyn Machine>, layout: Layout, directory_mode: u32) -> Self {
        Trees { machine, layout, directory_mode }
    }

    /// The place of a tree.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.layout.tree(digest)
    }

    /// What is in the place of the tree of a blob of this size and BLAKE3.
    pub fn look(&self, digest: &Digest, size_bytes: u64, blake3: &Blake3) -> Seen {
        match self.read(digest, size_bytes) {
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Seen::Missing,
            Err(e) => Seen::Unreadable(e.to_string()),
            Ok(Err(reason)) => Seen::Bad(reason),
            Ok(Ok(bytes)) => match tree::decode(&bytes) {
                Err(malformed) => Seen::Bad(malformed.to_string()),
                Ok((of, tree)) if of != *digest || tree.size_bytes() != size_bytes => {
                    Seen::Bad(format!("it is the tree of {} bytes with the digest {of}", tree.size_bytes()))
                }
                Ok((_, tree)) if tree.root() != *blake3 && !planted(Bug::TreeOfOthers) => {
                    Seen::Bad("its root is not the BLAKE3 on record".to_owned())
                }
                Ok((_, tree)) => Seen::Good(tree),
            },
        }
    }

    /// The tree of a blob, if there is one that is to be believed.
    pub fn believed(&self, digest: &Digest, size_bytes: u64, blake3: &Blake3) -> Option<Tree> {
        if !has_tree(size_bytes) || *blake3 == Blake3::UNKNOWN {
            return None;
        }
        match self.look(digest, size_bytes, blake3) {
            Seen::Good(tree) => Some(tree),
            _ => None,
        }
    }

    /// The inner error is what is wrong with the file.
    fn read(&self, digest: &Digest, size_bytes: u64) -> io::Result<Result<Vec<u8>, String>> {
        let file = self.machine.open(&self.path(digest), Open::Read)?;
        let meta = file.meta()?;
        if meta.kind != FileKind::File {
            return Ok(Err("it is no regular file".to_owned()));
        }
        // Bounds what is read: a blob of this size has as many groups.
        let expected = tree::file_bytes(groups_in(size_bytes));
        if meta.size_bytes != expected {
            return Ok(Err(format!("it has {} bytes instead of {expected}", meta.size_bytes)));
        }
        let mut bytes = vec![0; usize::try_from(expected).map_err(|_| io::ErrorKind::FileTooLarge)?];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(Ok(bytes))
    }

    /// Puts a tree in its place, over what is there, readable to no more people than `blob` is, the blob's file. It is
    /// synced by nobody: it is no promise. What it is written to first has a name of its own, which a collection removes
    /// if its maker dies.
    pub fn put(&self, digest: &Digest, tree: &Tree, blob: &Meta) -> Result<()> {
        let path = self.path(digest);
        let through = self.unfinished(&path)?;
        let how = Open::CreateNew { mode: 0o400 };
        let file = match self.machine.open(&through, how) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.make_directory(digest)?;
                self.machine.open(&through, how)
            }
            opened => opened,
        };
        let file = file.map_err(|e| Error::io("create", &through, e))?;
        let write = || {
            file.write_at(&tree::encode(digest, tree), 0)?;
            file.set_mode(mode_for(blob, &file.meta()?))
        };
        let put = write()
            .map_err(|e| Error::io("write", &through, e))
            .and_then(|()| self.machine.rename(&through, &path).map_err(|e| Error::io("put in place", &path, e)));
        if put.is_err() {
            let _ = self.machine.unlink(&through);
        }
        put
    }

    /// A name beside the place that nobody else uses.
    fn unfinished(&self, path: &Path) -> Result<PathBuf> {
        let mut random = [0; 8];
        self.machine.random(&mut random).map_err(|e| Error::system("get random bytes", e))?;
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{:016x}", u64::from_le_bytes(random)));
        Ok(PathBuf::from(name))
    }

    fn make_directory(&self, digest: &Digest) -> Result<()> {
        for directory in [self.layout.trees(), self.layout.tree_dir(digest.as_bytes()[0])] {
            match self.machine.create_dir(&directory, self.directory_mode) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(Error::io("create", &directory, e)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the tree of a blob; one that is not there is none.
    pub fn remove(&self, digest: &Digest) -> Result<()> {
        self.remove_file(&self.path(digest))
    }

    /// Removes a file that was found below `trees/`.
    pub fn remove_file(&self, path: &Path) -> Result<()> {
        match self.machine.unlink(path) {
            Err(e) if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Err(Error::io("remove", path, e))
            }
            _ => Ok(()),
        }
    }

    /// Every tree's file there is, in order. Other things below `trees/` are left out. Where there are no trees, there are
    /// none.
    pub fn list(&self) -> Result<Vec<FoundTree>> {
        let top = self.layout.trees();
        let entries = match self.machine.list(&top) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|e| Error::io("list", &top, e))?,
        };
        let mut found = Vec::new();
        for first in 0..=u8::MAX {
            let directory = self.layout.tree_dir(first);
            let is_it = |name: &std::ffi::OsStr| directory.file_name() == Some(name);
            if !entries.iter().any(|entry| entry.kind == FileKind::Directory && is_it(&entry.name)) {
                continue;
            }
            let files = match self.machine.list(&directory) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                files => files.map_err(|e| Error::io("list", &directory, e))?,
            };
            found.extend(files.iter().filter(|entry| entry.kind == FileKind::File).filter_map(|entry| {
                let (digest, unfinished) = Layout::tree_of(first, entry.name.to_str()?)?;
                Some(FoundTree { digest, path: directory.join(&entry.name), unfinished })
            }));
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hashing::TreeHasher;
    use crate::machine::simulated::World;
    use crate::vocabulary::limits::TREE_GROUP_BYTES;

    fn tree_of(bytes: &[u8]) -> (Blake3, Tree) {
        let mut hasher = TreeHasher::default();
        hasher.update(bytes);
        let (blake3, tree) = hasher.finish();
        (blake3, tree.unwrap())
    }

    fn trees(world: &World) -> Trees {
        Trees::new(world.process("test"), Layout::new("/"), 0o755)
    }

    #[test]
    fn a_tree_is_believed_only_where_it_is_whole_and_that_of_the_bytes_on_record() {
        let world = World::new(1);
        let trees = trees(&world);
        let digest = Digest::from_bytes([0xab; 32]);
        let size = 4 * TREE_GROUP_BYTES as u64 + 3;
        let (blake3, tree) = tree_of(&vec![7; size as usize]);
        assert_eq!(trees.look(&digest, size, &blake3), Seen::Missing);
        world.put("/blob", b"");
        let blob = |mode| Meta { mode, ..world.process("look").lstat(Path::new("/blob")).unwrap() };
        trees.put(&digest, &tree, &blob(0o400)).unwrap();
        assert_eq!(trees.look(&digest, size, &blake3), Seen::Good(tree.clone()));
        assert_eq!(trees.believed(&digest, size, &blake3), Some(tree.clone()));
        assert_eq!(trees.believed(&digest, size, &Blake3::UNKNOWN), None);
        let meta = world.process("look").lstat(&trees.path(&digest)).unwrap();
        assert_eq!(meta.mode, 0o400);
        let strange = Meta { gid: meta.gid + 1, ..blob(0o440) };
        let modes = [strange, blob(0o440), blob(0o444), Meta { gid: meta.gid + 1, ..blob(0o444) }];
        assert_eq!(modes.map(|blob| mode_for(&blob, &meta)), [0o400, 0o440, 0o444, 0o444]);

        let (other_blake3, other) = tree_of(&vec![8; size as usize]);
        assert!(matches!(trees.look(&digest, size, &other_blake3), Seen::Bad(_)));
        assert!(matches!(trees.look(&digest, size + 1, &blake3), Seen::Bad(_)));
        trees.put(&digest, &other, &blob(0o444)).unwrap();
        assert!(matches!(trees.look(&digest, size, &blake3), Seen::Bad(_)));
        trees.put(&Digest::EMPTY, &tree, &blob(0o444)).unwrap();
        world.process("mover").rename(&trees.path(&Digest::EMPTY), &trees.path(&digest)).unwrap();
        assert!(matches!(trees.look(&digest, size, &blake3), Seen::Bad(_)), "it says whose it is");
        trees.put(&digest, &tree, &blob(0o444)).unwrap();
        assert_eq!(trees.list().unwrap().len(), 1, "nothing is left beside it");
        for at in [0, 20, 44, 60, 52 + 5 * 32] {
            let path = trees.path(&digest);
            world.corrupt(path.to_str().unwrap(), at);
            assert!(matches!(trees.look(&digest, size, &blake3), Seen::Bad(_)), "byte {at}");
            world.corrupt(path.to_str().unwrap(), at);
        }
        trees.remove(&digest).unwrap();
        trees.remove(&digest).unwrap();
        assert_eq!((trees.look(&digest, size, &blake3), trees.list().unwrap()), (Seen::Missing, Vec::new()));
    }
}
