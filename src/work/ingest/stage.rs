//! From a source to a staged file, or to the finding that its bytes are known.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::claims::{Claims, LinkClaim, reaches_more};
use super::walk::Item;
use super::{AddOptions, TakeIn};
use crate::format::checkpoint::SourceStamp;
use crate::format::table::BlobRow;
use crate::hashing::file::read_through;
use crate::hashing::{Absorb, Digests, Hasher, PartHasher, Sha256, Tree, beside, digest_file};
use crate::ledger::{Ledger, Snapshot, Tables};
use crate::machine::{File, FileKind, Meta, Open};
use crate::parts::blobs::{self, Readers};
use crate::parts::sessions::Session;
use crate::vocabulary::limits::{IO_CHUNK_BYTES, SMALL_FILE_BYTES, SOURCE_TRIES};
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Blake3, Digest, Error, ErrorKind, Observer, Result, Stamp};
use crate::work::blob::open_readable;
use crate::work::room::refuse_what_cannot_fit;
use crate::work::trees::Grove;

/// A source whose bytes are known or staged.
#[derive(Clone, Debug)]
pub(super) struct Staged {
    pub item: Item,
    pub digests: Digests,
    /// What the source was when it was read; `None` for a stream.
    pub source: Option<Meta>,
    /// The staged file, with the stamp it has under its final mode; `None` for a hit.
    pub file: Option<(PathBuf, Stamp)>,
    /// The stored file that was hashed, and whether it was good: what a disagreeing stamp asks for.
    pub hashed: Option<(Stamp, bool)>,
    /// Whether the source itself was taken in.
    pub linked: bool,
    /// Whether it was hashed through a link that is gone again, which changed its ctime.
    pub was_linked: bool,
    /// Whether it was read so soon after a change that a write since then might not show.
    pub racy: bool,
    /// Whether it was not read, since its stamp was trusted.
    pub trusted: bool,
    /// Whether its name meant these bytes already, in a stored copy that is as recorded.
    pub unchanged: bool,
    /// What was done otherwise than asked.
    pub note: Option<String>,
}

impl Staged {
    /// A source whose bytes are known and for which nothing is staged.
    fn known(item: &Item, source: Option<Meta>, digests: Digests, hashed: Option<(Stamp, bool)>) -> Self {
        let item = item.clone();
        Staged {
            item,
            digests,
            source,
            file: None,
            hashed,
            linked: false,
            was_linked: false,
            racy: false,
            trusted: false,
            unchanged: false,
            note: None,
        }
    }
}

/// What there is at all on record: most stores have none of it, and need not be asked for each file.
#[derive(Clone, Copy)]
pub(super) struct Any {
    /// Whether any blob is condemned.
    pub condemned: bool,
    /// Whether anything is wrong with any.
    pub wrong: bool,
}

impl Any {
    pub(super) fn of(tables: &impl Tables) -> Result<Self> {
        let condemned = tables.all_condemned().next().transpose()?.is_some();
        Ok(Any { condemned, wrong: tables.anything_wrong()? })
    }
}

/// What all sources of one batch are staged with.
pub(super) struct Stager<'a> {
    pub ledger: &'a Ledger,
    pub session: Arc<Session>,
    pub snapshot: Arc<Snapshot>,
    pub options: &'a AddOptions,
    pub observer: &'a dyn Observer,
    /// What there is at all in that snapshot.
    pub any: Any,
    /// What the sources of this batch have staged.
    pub claims: Mutex<Claims>,
    /// Stage even what is known: a stored copy went away meanwhile.
    pub always: bool,
    /// Threads that stage.
    pub jobs: usize,
    /// Threads that copy a large file just now.
    pub copying: AtomicUsize,
    /// Held while a source with several names is taken in: its names share one mode, and one inode at a time changes it.
    pub several_names: Mutex<()>,
    /// The trees of what is hashed.
    pub grove: Arc<Grove>,
}

/// Stored blobs that a large source of the same size is compared with, by a few of their bytes.
const SAMPLED_BLOBS: usize = 64;
/// How many bytes, in each of three places.
const SAMPLE_BYTES: usize = 4 << 10;

/// A staged file that can be gone on with.
pub(super) struct GoneOn {
    pub path: PathBuf,
    pub file: Box<dyn File>,
    pub hasher: PartHasher,
}

/// What is known of a digest before anything is staged.
pub(super) enum Known {
    /// Nothing, or nothing good: stage it.
    No(Option<(Stamp, bool)>),
    /// A good stored copy.
    Yes(Option<(Stamp, bool)>),
}

impl Stager<'_> {
    /// Stages bytes from a stream; what they are is known only at its end.
    pub(super) fn stage_stream(&self, item: &Item, input: &mut dyn Read) -> Result<Staged> {
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; IO_CHUNK_BYTES];
        let mut at = 0;
        let path = self.session.next_path();
        let file = self.create(&path, self.ledger.policy.blob_mode)?;
        loop {
            let read = fill(input, &mut buffer).map_err(|e| Error::system("read the input", e))?;
            if read == 0 {
                break;
            }
            self.go_on(read as u64)?;
            hasher.update(&buffer[..read]);
            file.write_at(&buffer[..read], at).map_err(|e| Error::io("write", &path, e))?;
            at += read as u64;
        }
        let digests = self.grown(hasher.finish_with_tree());
        self.check_expected(item, &digests)?;
        let known = self.known(&digests.digest, None)?;
        if let Known::Yes(hashed) = known {
            let _ = self.ledger.machine.unlink(&path);
            return Ok(Staged::known(item, None, digests, hashed));
        }
        let stamp = self.seal(file.as_ref(), &path, None)?;
        let (Known::No(hashed) | Known::Yes(hashed)) = known;
        Ok(Staged { file: Some((path, stamp)), ..Staged::known(item, None, digests, hashed) })
    }

    /// Copies, again if the source changes meanwhile, and refuses it if it goes on changing.
    pub(super) fn copy(&self, item: &Item, note: Option<String>) -> Result<Staged> {
        for _ in 0..SOURCE_TRIES {
            if let Some(mut staged) = self.copy_once(item)? {
                staged.note = note;
                return Ok(staged);
            }
        }
        Err(Error::new(
            ErrorKind::SourceChanged,
            format!("add {}", item.path.display()),
            "it changed each time while it was read",
        ))
    }

    fn copy_once(&self, item: &Item) -> Result<Option<Staged>> {
        let (source, mut before) = self.open_source(&item.path)?;
        let moved = self.options.take_in == TakeIn::Move;
        if (moved || self.is_large(before.size_bytes)) && self.settles(&before) {
            before = source.meta().map_err(|e| Error::io("look at", &item.path, e))?;
        }
        let racy = self.is_racy(&before);
        let read = if before.size_bytes <= SMALL_FILE_BYTES && !self.is_large(before.size_bytes) {
            self.copy_small(item, source.as_ref(), &before)?
        } else {
            self.copy_large(item, source.as_ref(), &before)?
        };
        let Some(staged) = read else { return Ok(None) };
        let after = source.meta().map_err(|e| Error::io("look at", &item.path, e))?;
        if unchanged(&before, &after) {
            return Ok(Some(Staged { racy, ..staged }));
        }
        self.unstage(&staged);
        Ok(None)
    }

    /// A small file is hashed in memory and, if it is known, never written.
    fn copy_small(&self, item: &Item, source: &dyn File, meta: &Meta) -> Result<Option<Staged>> {
        self.go_on(meta.size_bytes)?;
        // One that grows meanwhile shows it by its stamp.
        let mut bytes = vec![0; usize::try_from(meta.size_bytes).expect("a small file fits memory")];
        let read = source.read_at(&mut bytes, 0).map_err(|e| Error::io("read", &item.path, e))?;
        if read != bytes.len() {
            return Ok(None);
        }
        let mut hasher = Sha256::default();
        hasher.absorb(&bytes);
        self.staged(item, meta, hasher.finish(), &bytes).map(Some)
    }

    /// A large file is hashed first where a blob of its size is on record; else it is hashed as it is copied.
    fn copy_large(&self, item: &Item, source: &dyn File, meta: &Meta) -> Result<Option<Staged>> {
        let gone_on = self.go_on_with(meta)?;
        if gone_on.is_none() && self.may_be_known(source, meta.size_bytes)? {
            let Some(digests) = self.hash(item, source, meta)? else { return Ok(None) };
            if let Known::Yes(hashed) = self.known(&digests.digest, Some(meta))? {
                return Ok(Some(self.hit(item, meta, digests, hashed)));
            }
        }
        let (path, target, copied) = match gone_on {
            Some(GoneOn { path, file, hasher }) => {
                let copied = self.copy_with_checkpoints(item, source, meta, &path, file.as_ref(), hasher);
                (path, file, copied)
            }
            None => {
                let path = self.session.next_path();
                let target = self.create(&path, self.mode_for(meta))?;
                let copied = self.copy_bytes(item, source, meta, &path, target.as_ref());
                (path, target, copied)
            }
        };
        let digests = match copied {
            Ok(Some(digests)) => digests,
            // It can be gone on with.
            Err(e) if e.kind() == ErrorKind::Interrupted && self.session.is_saved(&path) => return Err(e),
            other => {
                self.discard(&path)?;
                return other.map(|_| None);
            }
        };
        let staged = self.large(item, meta, digests, &path, target.as_ref());
        if !matches!(&staged, Ok(staged) if staged.file.is_some()) {
            self.discard(&path)?;
        }
        staged.map(Some)
    }

    /// What becomes of a large file that is staged whole: it may be a hit after all.
    fn large(&self, item: &Item, meta: &Meta, digests: Digests, path: &Path, target: &dyn File) -> Result<Staged> {
        self.check_expected(item, &digests)?;
        let hashed = match self.known(&digests.digest, Some(meta))? {
            Known::Yes(hashed) | Known::No(hashed) => hashed,
        };
        if !self.claim(&digests.digest, self.mode_for(meta)) {
            return Ok(self.hit(item, meta, digests, None));
        }
        let stamp = self.seal(target, path, Some(meta))?;
        Ok(Staged { file: Some((path.to_owned(), stamp)), ..self.hit(item, meta, digests, hashed) })
    }

    /// A file that needs more room than there is, is not begun: the rest of the tree may fit.
    fn refuse_what_cannot_fit(&self, item: &Item, meta: &Meta) -> Result<()> {
        let staging = self.ledger.layout.staging();
        let attempt = || format!("add {}", item.path.display());
        refuse_what_cannot_fit(self.ledger.machine.as_ref(), &staging, meta, attempt)
    }

    fn copy_bytes(
        &self,
        item: &Item,
        source: &dyn File,
        meta: &Meta,
        path: &Path,
        target: &dyn File,
    ) -> Result<Option<Digests>> {
        if self.ledger.machine.reflink(source, target).is_ok() {
            let meta = target.meta().map_err(|e| Error::io("look at", path, e))?;
            return self.hash(item, target, &meta);
        }
        self.refuse_what_cannot_fit(item, meta)?;
        if self.is_large(meta.size_bytes) {
            return self.copy_with_checkpoints(item, source, meta, path, target, PartHasher::default());
        }
        let go_on = |bytes| self.ticks(bytes);
        let mut write_error = None;
        let (hasher, read) = self.hashed_by(Hasher::default(), |hasher| {
            read_through(source, hasher, &go_on, &mut |piece, at| self.write_piece(target, piece, at, &mut write_error))
        });
        if let Some(e) = write_error {
            return Err(Error::io("write", path, e));
        }
        let Some(size) = self.judge(item, read)? else { return Ok(None) };
        if size != meta.size_bytes {
            return Ok(None);
        }
        // A hole at the end was not written, and is part of the file all the same.
        target.set_len(size).map_err(|e| Error::io("write", path, e))?;
        Ok(Some(self.grown(hasher.finish_with_tree())))
    }

    /// Keeps the tree in mind, for when its bytes are kept.
    pub(super) fn grown(&self, (digests, tree): (Digests, Option<Tree>)) -> Digests {
        self.grove.keep(&digests.digest, tree);
        digests
    }

    /// Lets `copy` read and write while another thread hashes, unless every thread has a file of its own to copy.
    pub(super) fn hashed_by<H: Absorb + Send, R>(
        &self,
        mut hasher: H,
        copy: impl FnOnce(&mut dyn Absorb) -> R,
    ) -> (H, R) {
        let others = self.copying.fetch_add(1, Ordering::Relaxed);
        let done = if others + 1 < self.jobs {
            beside(hasher, copy)
        } else {
            let done = copy(&mut hasher);
            (hasher, done)
        };
        self.copying.fetch_sub(1, Ordering::Relaxed);
        done
    }

    /// Whether a large file may be one that is stored already, so that it is worth while to hash it before anything is
    /// written: a blob has its size, and the same bytes wherever a few are compared.
    fn may_be_known(&self, source: &dyn File, size_bytes: u64) -> Result<bool> {
        let alike = self.snapshot.of_size(size_bytes, SAMPLED_BLOBS + 1)?;
        if alike.is_empty() {
            return Ok(false);
        }
        let sample = |file: &dyn File| -> Option<Vec<u8>> {
            let mut bytes = vec![0; 3 * SAMPLE_BYTES];
            let last = size_bytes.saturating_sub(SAMPLE_BYTES as u64);
            for (piece, at) in bytes.chunks_mut(SAMPLE_BYTES).zip([0, last / 2, last]) {
                file.read_at(piece, at).ok()?;
            }
            Some(bytes)
        };
        let Some(own) = sample(source).filter(|_| alike.len() <= SAMPLED_BLOBS) else { return Ok(true) };
        // What cannot be read may be anything.
        let differs = |digest: &Digest| {
            let stored = self.ledger.blobs.open(digest).ok().and_then(|file| sample(file.as_ref()));
            stored.is_some_and(|stored| stored != own)
        };
        Ok(!alike.iter().all(differs))
    }

    /// Writes a piece of a copy and starts its write-back. What fails is kept apart from failures of reading.
    pub(super) fn write_piece(
        &self,
        target: &dyn File,
        piece: &[u8],
        at: u64,
        failed: &mut Option<io::Error>,
    ) -> io::Result<()> {
        let written = target.write_at(piece, at);
        target.start_writeback(at, piece.len() as u64);
        written.map_err(|e| {
            let again = io::Error::from(e.kind());
            *failed = Some(e);
            again
        })
    }

    /// `None`: it ended too early, so it changed.
    pub(super) fn hash(&self, item: &Item, file: &dyn File, meta: &Meta) -> Result<Option<Digests>> {
        let mut hasher = Hasher::default();
        let read = read_through(file, &mut hasher, &|bytes| self.ticks(bytes), &mut |_, _| Ok(()));
        Ok(self
            .judge(item, read)?
            .filter(|size| *size == meta.size_bytes)
            .map(|_| self.grown(hasher.finish_with_tree())))
    }

    pub(super) fn judge(&self, item: &Item, read: io::Result<u64>) -> Result<Option<u64>> {
        match read {
            Ok(size) => Ok(Some(size)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(interrupted()),
            Err(e) => Err(Error::io("read", &item.path, e)),
        }
    }

    /// What becomes of a small file that is in memory, and whose digest is known: a hit, or a staged file.
    pub(super) fn staged(&self, item: &Item, meta: &Meta, digest: Digest, bytes: &[u8]) -> Result<Staged> {
        let row = self.snapshot.blob(&digest)?;
        let known = self.known_by(row.as_ref(), &digest, Some(meta))?;
        let blake3 = match (&known, row.filter(BlobRow::is_verified)) {
            (Known::Yes(_), Some(row)) => row.blake3,
            _ => Blake3::from_bytes(*blake3::hash(bytes).as_bytes()),
        };
        let digests = Digests { digest, blake3, size_bytes: meta.size_bytes };
        self.check_expected(item, &digests)?;
        let hashed = match known {
            Known::Yes(hashed) => {
                let unchanged = hashed.is_none() && !self.options.trust_stamps && self.means_already(item, &digest)?;
                return Ok(Staged { unchanged, ..self.hit(item, meta, digests, hashed) });
            }
            Known::No(hashed) => hashed,
        };
        if !self.claim(&digest, self.mode_for(meta)) {
            return Ok(self.hit(item, meta, digests, None));
        }
        let path = self.session.next_path();
        let file = self.create(&path, self.mode_for(meta))?;
        file.write_at(bytes, 0).map_err(|e| Error::io("write", &path, e))?;
        let stamp = self.seal(file.as_ref(), &path, Some(meta))?;
        Ok(Staged { file: Some((path, stamp)), ..self.hit(item, meta, digests, hashed) })
    }

    /// A source that is what it was when it was read for its name, and whose bytes are stored; `None` where it is to be
    /// read.
    pub(super) fn trusted(&self, item: &Item) -> Result<Option<Staged>> {
        let asked = self.options.trust_stamps && !self.always && self.options.expect.is_none();
        let copied = self.options.take_in == TakeIn::Copy;
        let Some(meta) = item.seen.filter(|_| asked && copied) else { return Ok(None) };
        let Some(stamp) = self.snapshot.source_stamp(&item.name)? else { return Ok(None) };
        let same = stamp.source == SourceStamp::of(&meta) || planted(Bug::SourceStampIgnored);
        let Some(row) = self.snapshot.blob(&stamp.digest)?.filter(|row| same && row.is_verified()) else {
            return Ok(None);
        };
        let Known::Yes(hashed) = self.known_by(Some(&row), &stamp.digest, Some(&meta))? else { return Ok(None) };
        let digests = Digests { digest: stamp.digest, blake3: row.blake3, size_bytes: meta.size_bytes };
        let unchanged = hashed.is_none() && self.means_already(item, &stamp.digest)?;
        Ok(Some(Staged { unchanged, trusted: true, ..self.hit(item, &meta, digests, hashed) }))
    }

    fn means_already(&self, item: &Item, digest: &Digest) -> Result<bool> {
        Ok(self.snapshot.alias(&item.name)?.is_some_and(|alias| alias.digest == *digest))
    }

    /// Whether this source is the one of its batch that stages these bytes, for all who may read it.
    fn claim(&self, digest: &Digest, mode: u32) -> bool {
        self.claims.lock().expect("no panic holds it").claim(digest, mode) || self.always
    }

    /// As [`Stager::claim`], for a file that becomes the blob itself. Another of its names may have given it its old
    /// mode back meanwhile; from now on none does.
    pub(super) fn claim_linked(&self, digest: &Digest, file: &dyn File, meta: &Meta) -> io::Result<LinkClaim> {
        let mode = self.ledger.policy.blob_mode;
        let mut claims = self.claims.lock().expect("no panic holds it");
        match claims.digests.get(digest) {
            Some(claimed) if mode & !claimed != 0 => return Ok(LinkClaim::ForFewer),
            Some(_) if !self.always => return Ok(LinkClaim::ByAnother),
            _ => claims.claim(digest, mode),
        };
        file.set_mode(mode)?;
        claims.files.insert((meta.device, meta.inode));
        Ok(LinkClaim::Granted)
    }

    /// Gives a source that did not become a blob its mode back, unless one of its other names did.
    pub(super) fn give_back(&self, file: &dyn File, before: &Meta) -> io::Result<()> {
        let claims = self.claims.lock().expect("no panic holds it");
        if claims.files.contains(&(before.device, before.inode)) { Ok(()) } else { file.set_mode(before.mode) }
    }

    pub(super) fn hit(&self, item: &Item, meta: &Meta, digests: Digests, hashed: Option<(Stamp, bool)>) -> Staged {
        Staged::known(item, Some(*meta), digests, hashed)
    }

    /// Whether a good copy is stored already that everybody may read who may read this source. A stamp that disagrees is
    /// settled by hashing.
    pub(super) fn known(&self, digest: &Digest, source: Option<&Meta>) -> Result<Known> {
        self.known_by(self.snapshot.blob(digest)?.as_ref(), digest, source)
    }

    /// As [`Stager::known`], with what is on record.
    fn known_by(&self, row: Option<&BlobRow>, digest: &Digest, source: Option<&Meta>) -> Result<Known> {
        let Some(row) = row else { return Ok(Known::No(None)) };
        // A condemned blob may go at any time: no reason to skip staging.
        if self.any.condemned && self.snapshot.condemned(digest)?.is_some() {
            return Ok(Known::No(None));
        }
        // Gone is as bad as bad: it is healed, and every name of it with it.
        let Some(meta) = self.ledger.blobs.meta(digest)? else { return Ok(Known::No(Some((row.stamp, false)))) };
        let now = blobs::stamp(&meta);
        let damaged = self.any.wrong && self.snapshot.damaged(digest)?.is_some();
        let as_recorded = row.stamp.agrees(&now) || planted(Bug::StampIgnored);
        let doubtful = damaged || !row.is_verified() || !as_recorded || self.options.verify_existing;
        // A moved source is traded for the stored copy, so that is never believed for its stamp alone.
        let stage = self.always || self.is_for_more(digest, &meta, source)?;
        if !doubtful && self.options.take_in != TakeIn::Move {
            return Ok(if stage { Known::No(None) } else { Known::Yes(None) });
        }
        let file = match self.ledger.blobs.open(digest) {
            // What this user may not read is not for him to judge.
            Err(e) if e.kind() == ErrorKind::Permission => {
                let settled = damaged || row.is_verified() && as_recorded;
                return self.known_by_carrier(digest, stage, settled, e);
            }
            opened => opened?,
        };
        match digest_file(file.as_ref()) {
            Ok(found) if found.digest == *digest && stage => Ok(Known::No(Some((now, true)))),
            Ok(found) if found.digest == *digest => Ok(Known::Yes(Some((now, true)))),
            _ => Ok(Known::No(Some((now, false)))),
        }
    }

    /// Whether somebody may read this source who may read neither the blob's own file nor a carrier: then its bytes are
    /// kept once more, for him.
    pub(super) fn is_for_more(&self, digest: &Digest, blob: &Meta, source: Option<&Meta>) -> Result<bool> {
        let mode = source.map_or(self.ledger.policy.blob_mode, |source| self.mode_for(source));
        let readers = Readers { mode, uid: self.ledger.machine.user() };
        reaches_more(self.ledger, &*self.snapshot, digest, Readers::of(blob), readers)
    }

    /// Whether a carrier that this user may read is good. `settled`: whether the blob's own file is known to be good or
    /// known to be bad, without a look at its bytes, so that what is staged can be kept.
    fn known_by_carrier(&self, digest: &Digest, stage: bool, settled: bool, denied: Error) -> Result<Known> {
        if stage {
            return if settled { Ok(Known::No(None)) } else { Err(denied) };
        }
        let (_, file) = open_readable(self.ledger, &*self.snapshot, digest)?;
        let good = digest_file(file.as_ref()).is_ok_and(|found| found.digest == *digest);
        if good { Ok(Known::Yes(None)) } else { Err(denied) }
    }

    pub(super) fn check_expected(&self, item: &Item, digests: &Digests) -> Result<()> {
        match self.options.expect {
            Some(expected) if expected != digests.digest && !planted(Bug::ExpectIgnored) => Err(Error::new(
                ErrorKind::Mismatch,
                format!("add {}", item.path.display()),
                format!("its digest is {}, and {expected} was expected", digests.digest),
            )),
            _ => Ok(()),
        }
    }

    /// Opens a source; never waits for a fifo.
    pub(super) fn open_source(&self, path: &Path) -> Result<(Box<dyn File>, Meta)> {
        let file = self.ledger.machine.open(path, Open::Read).map_err(|e| Error::io("open", path, e))?;
        let meta = file.meta().map_err(|e| Error::io("look at", path, e))?;
        if meta.kind != FileKind::File {
            let reason = "it is no regular file any more";
            return Err(Error::new(ErrorKind::SourceChanged, format!("add {}", path.display()), reason));
        }
        Ok((file, meta))
    }

    fn create(&self, path: &Path, mode: u32) -> Result<Box<dyn File>> {
        self.ledger.machine.open(path, Open::CreateNew { mode }).map_err(|e| Error::io("create", path, e))
    }

    /// Gives a staged file the modification time of its first source, which a checkout by link then has as well, and
    /// takes its stamp.
    fn seal(&self, file: &dyn File, path: &Path, source: Option<&Meta>) -> Result<Stamp> {
        if let Some(source) = source {
            file.set_mtime(source.mtime_ns).map_err(|e| Error::io("set the time of", path, e))?;
        }
        let meta = file.meta().map_err(|e| Error::io("look at", path, e))?;
        Ok(blobs::stamp(&meta))
    }

    fn mode_for(&self, source: &Meta) -> u32 {
        blobs::mode_for(self.ledger.policy.blob_mode, source)
    }

    /// Removes a staged file that is not wanted after all.
    pub(super) fn unstage(&self, staged: &Staged) {
        if let Some((path, _)) = &staged.file {
            let _ = self.discard(path);
            self.claims.lock().expect("no panic holds it").digests.remove(&staged.digests.digest);
        }
    }

    pub(super) fn ticks(&self, bytes: u64) -> bool {
        self.observer.progress(0, bytes);
        !self.observer.cancelled()
    }

    fn go_on(&self, bytes: u64) -> Result<()> {
        if self.ticks(bytes) { Ok(()) } else { Err(interrupted()) }
    }
}

pub(super) fn interrupted() -> Error {
    Error::new(ErrorKind::Interrupted, "go on", "it was asked to stop")
}

/// Whether a file is still what it was: nobody can set a ctime.
pub(super) fn unchanged(before: &Meta, after: &Meta) -> bool {
    let key = |m: &Meta| (m.device, m.inode, m.size_bytes, m.mtime_ns, m.ctime_ns);
    key(before) == key(after) || planted(Bug::ChangeUnseen)
}

fn fill(input: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut have = 0;
    while have < buffer.len() {
        match input.read(&mut buffer[have..]) {
            Ok(0) => break,
            Ok(read) => have += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(have)
}
