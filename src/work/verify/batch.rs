//! Many blobs at once: their files, and those of their carriers, go through the engine together.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::examine::{Examined, Examiner, FirstLook, Looked, judge};
use crate::format::record::copies::CarrierRow;
use crate::format::table::BlobRow;
use crate::hashing::sealed::Stopped;
use crate::hashing::{Hashed, Source, Sources, hash_all};
use crate::ledger::Tables;
use crate::machine::{File, FileKind, Meta, Open};
use crate::vocabulary::{Digest, Error, Result};
use crate::work::blob::Meter;
use crate::work::cache::Cache;
use crate::work::in_step::InStep;

/// What is done with each blob once it was examined, by any thread.
pub(in crate::work) type Sink<'a> = &'a (dyn Fn(Examined) -> Result<()> + Sync);

/// Blobs that are verified together.
pub(in crate::work) struct Batch<'a> {
    examiner: &'a Examiner<'a>,
    blobs: Vec<Blob<'a>>,
    /// Of every file: which blob it is of, and which of its carriers it is, if it is one.
    files: Vec<(usize, Option<usize>)>,
    sizes: Vec<u64>,
    /// What is to be told in the order of the blobs: with one thread, so that it is the same every time.
    turns: Option<Mutex<Turns>>,
    sink: Sink<'a>,
    error: Mutex<Option<Error>>,
    failed: AtomicBool,
}

struct Blob<'a> {
    digest: Digest,
    size_bytes: u64,
    meter: Meter<'a>,
    seen: Mutex<Seen>,
}

/// What is known of a blob so far.
struct Seen {
    row: Option<BlobRow>,
    look: Option<FirstLook>,
    carriers: Vec<(u32, CarrierRow, Option<FirstLook>)>,
    /// Files that are still to be looked at.
    left: usize,
}

#[derive(Default)]
struct Turns {
    next: usize,
    ready: BTreeSet<usize>,
}

/// A file of a blob, open.
pub(in crate::work) struct Opened<'b, 'a> {
    batch: &'b Batch<'a>,
    blob: usize,
    carrier: Option<usize>,
    cache: Cache<Box<dyn File>>,
    meta: Meta,
    blake3: bool,
}

impl<'a> Batch<'a> {
    /// These blobs, each with its size on record; `carriers`: whether any may have one.
    pub(in crate::work) fn new(
        examiner: &'a Examiner<'a>,
        chosen: &[(Digest, u64)],
        carriers: bool,
        sink: Sink<'a>,
    ) -> Result<Self> {
        let (mut blobs, mut files, mut sizes) = (Vec::with_capacity(chosen.len()), Vec::new(), Vec::new());
        let first = chosen.first().map_or(Digest::from_bytes([0; 32]), |(digest, _)| *digest);
        let mut in_step = InStep::bounded(examiner.snapshot.blobs(&first), 2 * chosen.len());
        for (blob, (digest, size_bytes)) in chosen.iter().enumerate() {
            let rows = if carriers { examiner.snapshot.carriers(digest)? } else { Vec::new() };
            files.push((blob, None));
            files.extend((0..rows.len()).map(|carrier| (blob, Some(carrier))));
            sizes.resize(files.len(), *size_bytes);
            let carriers: Vec<_> = rows.into_iter().map(|(number, row)| (number, row, None)).collect();
            let (row, left) = (in_step.at_or(digest, || examiner.snapshot.blob(digest))?, 1 + carriers.len());
            let seen = Mutex::new(Seen { row, look: None, left, carriers });
            let meter = Meter::new(examiner.observer, *size_bytes);
            blobs.push(Blob { digest: *digest, size_bytes: *size_bytes, meter, seen });
        }
        let turns = (examiner.ctx.workers.count() == 1).then(Mutex::default);
        let (error, failed) = (Mutex::default(), AtomicBool::new(false));
        Ok(Batch { examiner, blobs, files, sizes, turns, sink, error, failed })
    }

    /// Verifies them all and tells what was found. Whether none was left out because it was asked to stop.
    pub(in crate::work) fn run(self) -> Result<bool> {
        let whole = hash_all(self.examiner.ctx.workers, &self.sizes, &&self);
        if let Some(turns) = &self.turns {
            let ready = std::mem::take(&mut turns.lock().expect("no panic holds it").ready);
            ready.into_iter().for_each(|blob| self.conclude(blob));
        }
        self.error.into_inner().expect("no panic holds it").map_or(Ok(whole), Err)
    }

    fn path(&self, blob: &Blob<'_>, carrier: Option<u32>) -> PathBuf {
        let ledger = self.examiner.ctx.ledger;
        match carrier {
            None => ledger.blobs.path(&blob.digest),
            Some(number) => ledger.carriers.path(&blob.digest, number),
        }
    }

    /// Opens a file of a blob, if it is one and can be opened; otherwise a second look tells what is wrong.
    fn try_open(&self, blob: usize, carrier: Option<usize>) -> Result<Option<Opened<'_, 'a>>> {
        let known = &self.blobs[blob];
        let (number, blake3) = match carrier {
            Some(carrier) => (Some(known.seen().carriers[carrier].0), false),
            None => (None, known.seen().row.as_ref().is_some_and(|row| !row.is_verified())),
        };
        let opened = self.examiner.ctx.ledger.machine.open(&self.path(known, number), Open::Read);
        let Ok((file, Ok(meta))) = opened.map(|file| {
            let meta = file.meta();
            (file, meta)
        }) else {
            return Ok(None);
        };
        let is_file = meta.kind == FileKind::File;
        let cached = |file| Cache::of(file, self.examiner.reading.spare_cache);
        Ok(is_file.then(|| Opened { batch: self, blob, carrier, cache: cached(file), meta, blake3 }))
    }

    /// One file of a blob was looked at; once all were, the blob is concluded.
    fn looked(&self, index: usize, carrier: Option<usize>, look: Option<FirstLook>) {
        let mut seen = self.blobs[index].seen();
        match carrier {
            None => seen.look = look,
            Some(carrier) => seen.carriers[carrier].2 = look,
        }
        seen.left -= 1;
        if seen.left > 0 {
            return;
        }
        drop(seen);
        let Some(turns) = &self.turns else { return self.conclude(index) };
        turns.lock().expect("no panic holds it").ready.insert(index);
        let whose = || {
            let mut turns = turns.lock().expect("no panic holds it");
            let next = turns.next;
            turns.ready.remove(&next).then(|| turns.next += 1).map(|()| next)
        };
        while let Some(next) = whose() {
            self.conclude(next);
        }
    }

    fn conclude(&self, index: usize) {
        let blob = &self.blobs[index];
        let (row, look, carriers) = {
            let mut seen = blob.seen();
            (seen.row.take(), seen.look.take(), std::mem::take(&mut seen.carriers))
        };
        let Blob { digest, size_bytes, meter, .. } = blob;
        let looked = Looked { digest, size_bytes: *size_bytes, row, look, carriers, meter };
        if let Err(error) = self.examiner.conclude(looked).and_then(self.sink) {
            self.fail(error);
        }
    }

    /// Everything is to stop.
    fn fail(&self, error: Error) {
        self.error.lock().expect("no panic holds it").get_or_insert(error);
        self.failed.store(true, Ordering::Relaxed);
    }
}

impl Blob<'_> {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no panic holds it")
    }
}

impl<'b, 'a> Sources for &'b Batch<'a> {
    type Source = Opened<'b, 'a>;

    fn open(&self, index: usize) -> Option<Opened<'b, 'a>> {
        let (blob, carrier) = self.files[index];
        match self.try_open(blob, carrier) {
            Ok(Some(opened)) => return Some(opened),
            Ok(None) => self.looked(blob, carrier, None),
            Err(error) => self.fail(error),
        }
        None
    }

    fn done(&self, source: Opened<'b, 'a>, outcome: Result<Hashed, Stopped>) {
        let blob = &self.blobs[source.blob];
        if matches!(&outcome, Err(stopped) if stopped.error.kind() == std::io::ErrorKind::Interrupted) {
            return;
        }
        let expected = match source.carrier {
            None => blob.seen().row.as_ref().map(|row| row.stamp.size_bytes),
            Some(_) => Some(blob.size_bytes),
        };
        let look = judge(source.cache.file(), source.meta, &blob.digest, expected, outcome);
        let (index, carrier) = (source.blob, source.carrier);
        drop(source);
        self.looked(index, carrier, Some(look));
    }

    fn goes_on(&self) -> bool {
        !self.failed.load(Ordering::Relaxed) && !self.examiner.observer.cancelled()
    }
}

impl Source for Opened<'_, '_> {
    fn file(&self) -> &dyn File {
        self.cache.file()
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn is_sealed(&self) -> bool {
        true
    }

    fn wants_blake3(&self) -> bool {
        self.blake3
    }

    fn advance(&self, bytes: u64) -> bool {
        self.cache.passed(bytes);
        self.batch.blobs[self.blob].meter.advance(bytes) && !self.batch.failed.load(Ordering::Relaxed)
    }
}
