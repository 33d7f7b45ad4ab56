//! One blob on record: found by what the user points at, looked at, and its trouble put into words.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::names::Target;
use crate::format::table::{AliasRow, BlobRow};
use crate::hashing::digest_sealed;
use crate::ledger::{Ledger, Tables};
use crate::machine::{File, Meta};
use crate::parts::blobs::stamp;
use crate::vocabulary::{Digest, Error, ErrorKind, Name, Observer, Result};

/// What a target means: a blob, and the alias if it was named by one. An unknown one is [`ErrorKind::NotFound`].
pub(super) fn resolve(tables: &impl Tables, target: &Target) -> Result<(Digest, Option<AliasRow>)> {
    let unknown = |what: String| Error::new(ErrorKind::NotFound, format!("find {what}"), "it is not in the store");
    match target {
        Target::Name(name) => {
            let alias = tables.alias(name)?.ok_or_else(|| unknown(name.to_string()))?;
            Ok((alias.digest, Some(alias)))
        }
        Target::Digest(digest) => match tables.blob(digest)? {
            Some(_) => Ok((*digest, None)),
            None => Err(unknown(digest.to_string())),
        },
    }
}

/// The record of a blob whose bytes are wanted. [`ErrorKind::Damaged`] where it is known that they are not to be had.
pub(super) fn usable(tables: &impl Tables, digest: &Digest) -> Result<BlobRow> {
    if let Some(known) = tables.damaged(digest)? {
        return Err(damaged(tables, digest, &format!("it is on record as damaged: {}", known.reason)));
    }
    tables.blob(digest)?.ok_or_else(|| damaged(tables, digest, "there is no record of its bytes"))
}

/// The error of a blob whose bytes are not those of its digest, or are not there. It names every alias.
pub(super) fn damaged(tables: &impl Tables, digest: &Digest, reason: &str) -> Error {
    let reason = format!("{reason}; {}", called(tables, digest));
    Error::new(ErrorKind::Damaged, format!("use blob {digest}"), reason)
}

/// The error of a blob that could not be read: nothing is known about its bytes. It names every alias.
pub(super) fn unreadable(tables: &impl Tables, digest: &Digest, source: io::Error) -> Error {
    Error::system(format!("read blob {digest} ({})", called(tables, digest)), source)
}

/// The error of a blob whose file is not there: collected since the records were read, or missing.
pub(super) fn missing(ledger: &Ledger, digest: &Digest) -> Error {
    match ledger.snapshot() {
        Err(e) => e,
        Ok(now) => match now.blob(digest) {
            Err(e) => e,
            Ok(None) => Error::new(ErrorKind::NotFound, format!("use blob {digest}"), "it was collected meanwhile"),
            Ok(Some(_)) => damaged(&*now, digest, "its file is missing"),
        },
    }
}

fn called(tables: &impl Tables, digest: &Digest) -> String {
    match tables.names_of(digest) {
        Err(_) => "its names are not known".to_owned(),
        Ok(names) if names.is_empty() => "it has no names".to_owned(),
        Ok(names) => format!("names: {}", names.iter().map(Name::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// What the file of a blob looks like, once it is known to be good: its stamp is the one on record, or else its bytes
/// have been hashed.
pub(super) fn sound(
    ledger: &Ledger,
    tables: &impl Tables,
    digest: &Digest,
    row: &BlobRow,
    meter: &Meter<'_>,
) -> Result<Meta> {
    let meta = file_of(ledger, tables, digest)?;
    if !stamp(&meta).agrees(&row.stamp) {
        prove(ledger, tables, digest, meter)?;
    }
    Ok(meta)
}

/// What the file of a blob looks like now.
pub(super) fn file_of(ledger: &Ledger, tables: &impl Tables, digest: &Digest) -> Result<Meta> {
    match ledger.blobs.meta(digest) {
        Ok(Some(meta)) => Ok(meta),
        Ok(None) => Err(missing(ledger, digest)),
        Err(e) if e.kind() == ErrorKind::Damaged => Err(damaged(tables, digest, NOT_REGULAR)),
        Err(e) => Err(e),
    }
}

/// Opens a file with the bytes of a blob: its own, or, where this user may not read that, a carrier that is as it was
/// recorded. Says where it is.
pub(super) fn open_readable(
    ledger: &Ledger,
    tables: &impl Tables,
    digest: &Digest,
) -> Result<(PathBuf, Box<dyn File>)> {
    let denied = match ledger.blobs.open(digest) {
        Err(e) if e.kind() == ErrorKind::Permission => e,
        opened => return Ok((ledger.blobs.path(digest), opened?)),
    };
    for (number, row) in tables.carriers(digest)? {
        if let Ok(file) = ledger.carriers.open(digest, number)
            && file.meta().is_ok_and(|meta| row.stamp.agrees(&stamp(&meta)))
        {
            return Ok((ledger.carriers.path(digest, number), file));
        }
    }
    Err(denied)
}

/// What is wrong where a blob's place has something else in it.
pub(super) const NOT_REGULAR: &str = "something that is no regular file stands in its place";

fn prove(ledger: &Ledger, tables: &impl Tables, digest: &Digest, meter: &Meter<'_>) -> Result<()> {
    let file = ledger.blobs.open(digest)?;
    match digest_sealed(file.as_ref(), &|_| meter.goes_on()) {
        Ok((found, _)) if found == *digest => Ok(()),
        Ok((found, size)) => Err(damaged(tables, digest, &format!("its {size} bytes have the digest {found}"))),
        Err(stopped) => Err(stopped_reading(tables, digest, stopped.error)),
    }
}

/// What became of reading a blob that was not read to its end.
pub(super) fn stopped_reading(tables: &impl Tables, digest: &Digest, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::Interrupted => {
            Error::new(ErrorKind::Interrupted, format!("read blob {digest}"), "asked to stop")
        }
        io::ErrorKind::UnexpectedEof => damaged(tables, digest, "its file became shorter while it was read"),
        _ => unreadable(tables, digest, error),
    }
}

/// An error with what is behind it, in one line.
pub(super) fn in_full(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Tells an observer how far the work on one file has come, and in the end exactly what it was told to expect. Several
/// threads may tell it.
pub(super) struct Meter<'a> {
    observer: &'a dyn Observer,
    expected: u64,
    told: AtomicU64,
}

impl<'a> Meter<'a> {
    /// For a file of which `expected` bytes were announced.
    pub(super) fn new(observer: &'a dyn Observer, expected: u64) -> Self {
        Meter { observer, expected, told: AtomicU64::new(0) }
    }

    /// So many bytes more are done. Whether to go on.
    pub(super) fn advance(&self, bytes: u64) -> bool {
        let before = self.told.fetch_add(bytes, Ordering::Relaxed);
        let more = bytes.min(self.expected.saturating_sub(before));
        if more > 0 {
            self.observer.progress(0, more);
        }
        self.goes_on()
    }

    /// Whether nobody asked to stop.
    pub(super) fn goes_on(&self) -> bool {
        !self.observer.cancelled()
    }

    /// The file is done, however it went.
    pub(super) fn finish(&self) {
        self.observer.progress(1, self.expected.saturating_sub(self.told.load(Ordering::Relaxed)));
    }
}
