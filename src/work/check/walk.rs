//! The files under `names/`, in the order of their names as bytes: the order in which the records have them.

use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::machine::{FileKind, Listed, Machine};
use crate::vocabulary::limits::NAME_DEPTH;

/// What stands under `names/`, and is no directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Its path below `names/`, which need not be a name that larder would give.
    pub(crate) path: Vec<u8>,
    /// What it is.
    pub(crate) kind: FileKind,
    /// Its inode.
    pub(crate) inode: u64,
}

/// A walk; holds the listings of the directories that it is in.
pub(crate) struct Walk<'a> {
    machine: &'a dyn Machine,
    top: PathBuf,
    /// Entries that are still to come, of every directory from the top down, the next one last.
    stack: Vec<(Vec<u8>, Vec<Listed>)>,
}

impl<'a> Walk<'a> {
    /// Begins at `top`.
    pub(crate) fn new(machine: &'a dyn Machine, top: PathBuf) -> io::Result<Self> {
        let mut walk = Walk { machine, top, stack: Vec::new() };
        walk.enter(Vec::new())?;
        Ok(walk)
    }

    /// Directories that are gone meanwhile hold nothing.
    fn enter(&mut self, prefix: Vec<u8>) -> io::Result<()> {
        let path = self.top.join(std::ffi::OsStr::from_bytes(&prefix));
        let mut entries = match self.machine.list(&path) {
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
            other => other?,
        };
        // What is in a directory stands at its name and a slash.
        entries.sort_by_cached_key(|entry| {
            let mut key = entry.name.as_bytes().to_vec();
            if entry.kind == FileKind::Directory {
                key.push(b'/');
            }
            std::cmp::Reverse(key)
        });
        self.stack.push((prefix, entries));
        Ok(())
    }

    /// The next one; the error is of a directory that could not be read, behind which the walk goes on.
    pub(crate) fn next(&mut self) -> Option<Result<Seen, (PathBuf, io::Error)>> {
        loop {
            let (prefix, entries) = self.stack.last_mut()?;
            let Some(entry) = entries.pop() else {
                self.stack.pop();
                continue;
            };
            let mut path = prefix.clone();
            path.extend_from_slice(entry.name.as_bytes());
            if entry.kind != FileKind::Directory {
                return Some(Ok(Seen { path, kind: entry.kind, inode: entry.inode }));
            }
            path.push(b'/');
            let at = self.top.join(std::ffi::OsString::from_vec(path.clone()));
            // Deeper than any name: nothing of larder's, and nothing to get lost in.
            let entered = if self.stack.len() > NAME_DEPTH {
                Err(io::Error::other("it is deeper than any name"))
            } else {
                self.enter(path)
            };
            if let Err(e) = entered {
                return Some(Err((at, e)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::simulated::World;

    #[test]
    fn files_come_in_the_order_of_their_names() {
        let world = World::new(1);
        let mut names = ["a-b", "a/b", "a/b.c", "a.b", "aa", "a/c/d", "b", "Z", "a/c-d"];
        for name in names {
            let path = format!("/n/{name}");
            world.put_dir(path.rsplit_once('/').unwrap().0);
            world.put(path, b"x");
        }
        world.put_dir("/n/empty/directory");
        let machine = world.process("walk");
        let mut walk = Walk::new(machine.as_ref(), "/n".into()).unwrap();
        let mut seen = Vec::new();
        while let Some(next) = walk.next() {
            seen.push(String::from_utf8(next.unwrap().path).unwrap());
        }
        names.sort_unstable();
        assert_eq!(seen, names);
    }
}
