//! Finding what a path names.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use super::tree::{Body, Id, ROOT, Tree};

/// Most symbolic links on the way to a file, as in Linux.
const HOPS: u32 = 40;
/// Longest path and longest component, in bytes.
const PATH_BYTES: usize = 4095;
const NAME_BYTES: usize = 255;

/// Where a path leads: a slot in a directory, and what is there.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) directory: Id,
    pub(super) name: OsString,
    pub(super) node: Option<Id>,
    /// The path without symbolic links.
    pub(super) real: PathBuf,
}

impl Place {
    /// What is there, or `ENOENT`.
    pub(super) fn existing(&self) -> Result<Id, i32> {
        self.node.ok_or(libc::ENOENT)
    }

    /// `EEXIST` if something is there.
    pub(super) fn free(&self) -> Result<(), i32> {
        if self.node.is_some() { Err(libc::EEXIST) } else { Ok(()) }
    }
}

/// Walks `path` from the root. Links on the way are followed; one at its end only if `follow`.
pub(super) fn resolve(tree: &Tree, path: &Path, follow: bool) -> Result<Place, i32> {
    if path.as_os_str().is_empty() {
        return Err(libc::ENOENT);
    }
    if path.as_os_str().len() > PATH_BYTES {
        return Err(libc::ENAMETOOLONG);
    }
    let mut todo = parts(path);
    let mut trail: Vec<(OsString, Id)> = Vec::new();
    let mut hops = 0;
    while let Some(part) = todo.pop() {
        let name = match part {
            Part::Root => {
                trail.clear();
                continue;
            }
            Part::Parent => {
                trail.pop();
                continue;
            }
            Part::Name(name) if name.len() > NAME_BYTES => return Err(libc::ENAMETOOLONG),
            Part::Name(name) => name,
        };
        let directory = trail.last().map_or(ROOT, |(_, id)| *id);
        let Some(id) = tree.entries(directory)?.get(&name).copied() else {
            let real = real_path(&trail).join(&name);
            return if todo.is_empty() { Ok(Place { directory, name, node: None, real }) } else { Err(libc::ENOENT) };
        };
        match tree.get(id).map(|node| &node.body) {
            Some(Body::Symlink(target)) if follow || !todo.is_empty() => {
                hops += 1;
                if hops > HOPS {
                    return Err(libc::ELOOP);
                }
                todo.extend(parts(target));
            }
            _ => trail.push((name, id)),
        }
    }
    let real = real_path(&trail);
    let (name, node) = trail.pop().unwrap_or((OsString::new(), ROOT));
    Ok(Place { directory: trail.last().map_or(ROOT, |(_, id)| *id), name, node: Some(node), real })
}

/// A step of the walk.
enum Part {
    Root,
    Parent,
    Name(OsString),
}

/// The steps of a path, the first one last.
fn parts(path: &Path) -> Vec<Part> {
    let step = |component: Component<'_>| match component {
        Component::RootDir | Component::Prefix(_) => Some(Part::Root),
        Component::CurDir => None,
        Component::ParentDir => Some(Part::Parent),
        Component::Normal(name) => Some(Part::Name(name.to_os_string())),
    };
    path.components().filter_map(step).rev().collect()
}

fn real_path(trail: &[(OsString, Id)]) -> PathBuf {
    let mut path = PathBuf::from("/");
    path.extend(trail.iter().map(|(name, _)| name));
    path
}
