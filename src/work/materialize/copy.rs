//! The bytes and attributes of a private file.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::place::{Item, Maker};
use super::{Mode, compare, open};
use crate::hashing::Sha256;
use crate::hashing::file::read_through;
use crate::machine::{File, Meta, Open, trouble};
use crate::vocabulary::{Error, Result};
use crate::work::blob::{Meter, stopped_reading};
use crate::work::room::refuse_what_cannot_fit;

impl Maker<'_> {
    /// Makes a file at `path` with the blob's bytes, shared or copied, and the attributes of the name. Says how, and
    /// whether all attributes could be set. Until its bytes are there nobody else may read it.
    pub(super) fn fill(
        &self,
        item: &Item,
        path: &Path,
        reasons: &mut Vec<String>,
        meter: &Meter<'_>,
    ) -> Result<(Mode, bool)> {
        let (path_of_blob, from) = open(&self.ctx, &self.snapshot, &item.digest)?;
        let to = self.machine().open(path, Open::CreateNew { mode: 0o600 });
        let to = to.map_err(|e| Error::io("make", &item.destination, e))?;
        let mode = if self.shares(item, from.as_ref(), to.as_ref(), reasons)? {
            Mode::Reflink
        } else {
            self.copy(item, from.as_ref(), to.as_ref(), meter)?;
            if path_of_blob == self.ctx.ledger.blobs.path(&item.digest) {
                self.was_read(&item.digest);
            }
            Mode::Copy
        };
        self.restore(item, from.as_ref(), to.as_ref()).map(|restored| (mode, restored))
    }

    /// Lets the file share the blob's extents, if that was asked for and can be.
    fn shares(&self, item: &Item, from: &dyn File, to: &dyn File, reasons: &mut Vec<String>) -> Result<bool> {
        if !self.ways.contains(&Mode::Reflink) || item.size_bytes == 0 {
            return Ok(false);
        }
        if self.no_reflinks.load(Ordering::Relaxed) {
            reasons.push(NO_REFLINKS.to_owned());
            return Ok(false);
        }
        let Err(e) = self.machine().reflink(from, to) else { return Ok(true) };
        if matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return Err(Error::io("make", &item.destination, e));
        }
        if trouble::is_unsupported(&e) {
            self.no_reflinks.store(true, Ordering::Relaxed);
        }
        reasons.push(why_no_reflink(&e));
        Ok(false)
    }

    /// Copies the bytes, holes left out, and compares them with the digest on the way.
    fn copy(&self, item: &Item, from: &dyn File, to: &dyn File, meter: &Meter<'_>) -> Result<()> {
        let blob = from.meta().map_err(|e| Error::io("look at", &self.ctx.ledger.blobs.path(&item.digest), e))?;
        let directory = item.destination.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let attempt = || format!("make {}", item.destination.display());
        refuse_what_cannot_fit(self.machine(), directory, &blob, attempt)?;
        let mut hasher = Sha256::default();
        let mut failed = None;
        let read = read_through(from, &mut hasher, &|bytes| meter.advance(bytes), &mut |piece, at| {
            to.write_at(piece, at).map_err(|e| {
                let stop = io::Error::from(e.kind());
                failed = Some(e);
                stop
            })
        });
        if let Some(e) = failed {
            return Err(Error::io("write", &item.destination, e));
        }
        let size = read.map_err(|e| stopped_reading(&*self.snapshot, &item.digest, e))?;
        compare(&self.snapshot, &item.digest, hasher.finish(), size)?;
        // A hole at the end was not written, and is part of the file all the same.
        to.set_len(size).map_err(|e| Error::io("write", &item.destination, e))
    }

    /// Gives the file its mode and, if it is made for a name, the mtime that this remembers. Whether it could: some
    /// filesystems keep no such times, which is no reason to be without the file.
    fn restore(&self, item: &Item, from: &dyn File, to: &dyn File) -> Result<bool> {
        let of = |file: &dyn File| file.meta().map_err(|e| Error::io("look at", &item.destination, e));
        let executable = item.alias.as_ref().is_some_and(|alias| alias.executable);
        let mode = permitted(executable, self.umask, &of(from)?, &of(to)?);
        to.set_mode(mode).map_err(|e| Error::io("set the mode of", &item.destination, e))?;
        Ok(item.alias.as_ref().is_none_or(|alias| to.set_mtime(alias.mtime_ns).is_ok()))
    }
}

/// The mode of a private file: what the umask leaves of 0644 or 0755, less whatever would let somebody read it who may
/// not read the blob. Its group may be another one than the blob's.
fn permitted(executable: bool, umask: u32, blob: &Meta, file: &Meta) -> u32 {
    let mut mode = if executable { 0o755 } else { 0o644 } & !umask;
    let others = blob.mode & 0o004 != 0;
    let group = blob.mode & 0o040 != 0 && (others || blob.gid == file.gid);
    if !others {
        mode &= !0o007;
    }
    if !group {
        mode &= !0o070;
    }
    mode
}

const NO_REFLINKS: &str = "the filesystem has no reflinks";

fn why_no_reflink(e: &io::Error) -> String {
    match e.kind() {
        _ if trouble::is_unsupported(e) => NO_REFLINKS.to_owned(),
        io::ErrorKind::CrossesDevices => "a reflink cannot lead to another filesystem (EXDEV)".to_owned(),
        _ => format!("a reflink could not be made ({e})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::FileKind;

    fn meta(mode: u32, gid: u32) -> Meta {
        let kind = FileKind::File;
        let (size_bytes, uid, device, inode, links, mtime_ns, ctime_ns, allocated_bytes) = (0, 0, 1, 1, 1, 0, 0, 0);
        Meta { kind, size_bytes, mode, uid, gid, device, inode, links, mtime_ns, ctime_ns, allocated_bytes }
    }

    #[test]
    fn a_private_file_is_readable_to_nobody_who_may_not_read_the_blob() {
        let file = meta(0o600, 100);
        let cases = [
            (false, 0o022, meta(0o444, 7), 0o644),
            (true, 0o022, meta(0o444, 7), 0o755),
            (true, 0o077, meta(0o444, 7), 0o700),
            (false, 0o022, meta(0o400, 100), 0o600),
            (true, 0o022, meta(0o400, 100), 0o700),
            (false, 0o022, meta(0o440, 100), 0o640),
            (true, 0o022, meta(0o440, 100), 0o750),
            (false, 0o022, meta(0o440, 7), 0o600),
            (false, 0o002, meta(0o444, 100), 0o644),
        ];
        for (executable, umask, blob, expected) in cases {
            let got = permitted(executable, umask, &blob, &file);
            assert_eq!(got, expected, "{executable} {umask:o} {:o} {}", blob.mode, blob.gid);
        }
    }
}
