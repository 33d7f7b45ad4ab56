//! The bytes of one file into another, hashed on the way.

use std::io;
use std::path::Path;

use crate::hashing::file::read_through;
use crate::hashing::{Digests, Hasher, Tree};
use crate::machine::File;
use crate::vocabulary::{Error, Result};

/// Copies `from` to the empty file `to`, which is at `path`, holes left out. The outer error is one of writing, the inner
/// one of reading; `Interrupted` where `goes_on` said no. Says the digests, and the tree of what is large enough to have one.
pub(super) fn copy_hashed(
    from: &dyn File,
    to: &dyn File,
    path: &Path,
    goes_on: &dyn Fn() -> bool,
) -> Result<io::Result<(Digests, Option<Tree>)>> {
    let mut hasher = Hasher::default();
    let mut write_error = None;
    let read = read_through(from, &mut hasher, &|_| goes_on(), &mut |piece, at| {
        to.write_at(piece, at).map_err(|e| {
            let stop = io::Error::from(e.kind());
            write_error = Some(e);
            stop
        })
    });
    if let Some(e) = write_error {
        return Err(Error::io("write", path, e));
    }
    let size = match read {
        Ok(size) => size,
        Err(e) => return Ok(Err(e)),
    };
    // A hole at the end was not written, and is part of the file all the same.
    to.set_len(size).map_err(|e| Error::io("write", path, e))?;
    Ok(Ok(hasher.finish_with_tree()))
}
