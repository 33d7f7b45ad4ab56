//! A large blob is put together from what is right of several files: only what is wrong of the bad one is read of others,
//! and each group is held against the blob's tree before it is used. The whole is hashed before it is put in place, as
//! any copy is: a tree is never believed against a digest.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::Candidate;
use super::select::Broken;
use super::stage::{Assembled, Attempt, Bench, Good};
use crate::hashing::Tree;
use crate::machine::{File, FileKind, Meta, Open};
use crate::vocabulary::events::{Origin, Taken};
use crate::vocabulary::limits::TREE_GROUP_BYTES;
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{ByteRanges, Error, Result};
use crate::work::blob::in_full;
use crate::work::room::refuse_what_cannot_fit;

/// So many of the groups that are wanted are looked at in a file before all are: a directory may have thousands of files
/// of the same length.
const SAMPLES: usize = 8;

/// A blob that is being put together.
struct Assembly<'a> {
    tree: &'a Tree,
    /// Groups that are not there yet.
    wanted: BTreeSet<u64>,
    /// Where it is put together; nowhere with a dry run.
    target: Option<&'a dyn File>,
    path: &'a Path,
    taken: Vec<Taken>,
    buffer: Vec<u8>,
}

impl Bench<'_> {
    /// Puts a blob together from its bad file, from those in quarantine, and from `candidates`, in this order.
    pub(super) fn assemble(
        &self,
        broken: &Broken,
        tree: &Tree,
        bad: &[Candidate],
        candidates: &[Candidate],
        attempt: &mut Attempt,
    ) -> Result<Assembled> {
        let sources: Vec<&Candidate> = bad.iter().chain(candidates).collect();
        let Some(session) = self.session else {
            let mut assembly = Assembly::new(tree, None, Path::new(""));
            if !self.gather(broken, &sources, &mut assembly, attempt)? {
                return Ok(Assembled::Ended);
            }
            let Some((origin, from)) = assembly.fetched() else { return Ok(Assembled::Incomplete) };
            let (taken, blake3) = (assembly.taken, tree.root());
            attempt.good = Some(Good { origin, from, blake3, staged: None, tree: None, taken });
            return Ok(Assembled::Ended);
        };
        let path = session.next_path();
        let assembled = self.assemble_at(broken, tree, &sources, &path, attempt);
        if attempt.good.is_none() {
            let _ = self.ledger.machine.unlink(&path);
        }
        assembled
    }

    fn assemble_at(
        &self,
        broken: &Broken,
        tree: &Tree,
        sources: &[&Candidate],
        path: &Path,
        attempt: &mut Attempt,
    ) -> Result<Assembled> {
        let machine = self.ledger.machine.as_ref();
        let Some((first, meta)) = sources.iter().find_map(|source| self.open_part(broken, &source.path).ok()) else {
            return Ok(Assembled::Incomplete);
        };
        let mode = self.mode_for(broken, &meta);
        let to = machine.open(path, Open::CreateNew { mode }).map_err(|e| Error::io("create", path, e))?;
        // What is right of the first one stays where it is on the disk, where the filesystem can share it.
        let shared = machine.reflink(first.as_ref(), to.as_ref()).is_ok();
        let (staging, what) = (self.ledger.layout.staging(), || format!("put {} together", broken.digest));
        let whole = Meta { size_bytes: tree.size_bytes(), allocated_bytes: tree.size_bytes(), ..meta };
        if let Err(e) = refuse_what_cannot_fit(machine, &staging, &whole, what)
            && !shared
        {
            attempt.no_room = true;
            attempt.tried.push((path.to_owned(), in_full(&e)));
            return Ok(Assembled::Ended);
        }
        let size_bytes = tree.size_bytes();
        to.set_len(size_bytes).map_err(|e| Error::io("write", path, e))?;
        let mut assembly = Assembly::new(tree, Some(to.as_ref()), path);
        if !self.gather_with(broken, sources, &mut assembly, attempt, shared.then_some(&meta))? {
            return Ok(Assembled::Ended);
        }
        let Some((origin, from)) = assembly.fetched() else { return Ok(Assembled::Incomplete) };
        let taken = assembly.taken;
        match self.hash(to.as_ref()) {
            Ok((found, tree)) if found.digest == broken.digest => {
                let staged = self.seal(broken, &meta, to.as_ref(), path)?;
                let staged = Some((path.to_owned(), staged));
                attempt.good = Some(Good { origin, from, blake3: found.blake3, staged, tree, taken });
                Ok(Assembled::Ended)
            }
            Ok(_) => Ok(Assembled::Misled),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {
                attempt.stopped = true;
                Ok(Assembled::Ended)
            }
            Err(e) => Err(Error::io("read", path, e)),
        }
    }

    fn gather(
        &self,
        broken: &Broken,
        sources: &[&Candidate],
        assembly: &mut Assembly<'_>,
        attempt: &mut Attempt,
    ) -> Result<bool> {
        self.gather_with(broken, sources, assembly, attempt, None)
    }

    /// Takes what is wanted from one source after the other. `shared`: the file whose bytes are there already. `false`:
    /// asked to stop.
    fn gather_with(
        &self,
        broken: &Broken,
        sources: &[&Candidate],
        assembly: &mut Assembly<'_>,
        attempt: &mut Attempt,
        shared: Option<&Meta>,
    ) -> Result<bool> {
        for source in sources {
            if assembly.wanted.is_empty() {
                break;
            }
            let own = matches!(source.origin, Origin::Blob | Origin::Quarantine);
            let opened = match own {
                true => self.open_part(broken, &source.path),
                false => self.open_other(broken, &source.path),
            };
            let Ok((file, meta)) = opened else { continue };
            let there = shared.is_some_and(|shared| (shared.device, shared.inode) == (meta.device, meta.inode));
            let avoid =
                if source.origin == Origin::Blob { broken.look.damage.unreadable.clone() } else { Default::default() };
            if !own && !assembly.is_worth_it(file.as_ref()) {
                continue;
            }
            let bytes = assembly.take_from(file.as_ref(), there, &avoid, &|| !self.observer.cancelled())?;
            let Some(bytes) = bytes else {
                attempt.stopped = true;
                return Ok(false);
            };
            if bytes > 0 {
                assembly.taken.push(Taken { origin: source.origin, path: source.path.clone(), bytes });
            }
        }
        Ok(true)
    }

    /// Opens any regular file, whole or not.
    fn open_part(&self, _: &Broken, path: &Path) -> Result<(Box<dyn File>, Meta), ()> {
        let file = self.ledger.machine.open(path, Open::Read).map_err(|_| ())?;
        let meta = file.meta().map_err(|_| ())?;
        if meta.kind == FileKind::File { Ok((file, meta)) } else { Err(()) }
    }

    /// As [`Bench::open_part`], unless it is the bad file itself.
    fn open_other(&self, broken: &Broken, path: &Path) -> Result<(Box<dyn File>, Meta), ()> {
        let (file, meta) = self.open_part(broken, path)?;
        let is_bad = |bad: Meta| (bad.device, bad.inode) == (meta.device, meta.inode);
        if broken.look.file.is_some_and(is_bad) { Err(()) } else { Ok((file, meta)) }
    }
}

impl<'a> Assembly<'a> {
    fn new(tree: &'a Tree, target: Option<&'a dyn File>, path: &'a Path) -> Self {
        let wanted = (0..tree.groups()).collect();
        Assembly { tree, wanted, target, path, taken: Vec::new(), buffer: vec![0; TREE_GROUP_BYTES] }
    }

    /// Where the first bytes are from that the bad files did not have; `None` while some are nowhere.
    fn fetched(&self) -> Option<(Origin, std::path::PathBuf)> {
        if !self.wanted.is_empty() {
            return None;
        }
        let other = |taken: &&Taken| !matches!(taken.origin, Origin::Blob | Origin::Quarantine);
        let first = self.taken.iter().find(other).or(self.taken.first())?;
        Some((first.origin, first.path.clone()))
    }

    /// Whether a file has any of the wanted groups, as far as some of them show.
    fn is_worth_it(&mut self, file: &dyn File) -> bool {
        if self.wanted.len() <= SAMPLES {
            return true;
        }
        let step = self.wanted.len().div_ceil(SAMPLES);
        let some: Vec<u64> = self.wanted.iter().step_by(step).chain(self.wanted.last()).copied().collect();
        some.into_iter().any(|group| self.read(file, group))
    }

    /// Reads a group into the buffer; whether it is right.
    fn read(&mut self, file: &dyn File, group: u64) -> bool {
        let range = self.tree.range(group);
        let piece = &mut self.buffer[..(range.end - range.start) as usize];
        let whole = file.read_at(piece, range.start).is_ok_and(|read| read == piece.len());
        whole && (self.tree.holds(group, piece) || planted(Bug::GroupUnchecked))
    }

    /// Takes every wanted group that is right there, and says how many bytes; `None`: asked to stop. What the target has
    /// already is not written again.
    fn take_from(
        &mut self,
        file: &dyn File,
        there: bool,
        avoid: &ByteRanges,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Option<u64>> {
        let mut bytes = 0;
        let wanted: Vec<u64> = self.wanted.iter().copied().collect();
        for group in wanted {
            if !goes_on() {
                return Ok(None);
            }
            let range = self.tree.range(group);
            let bad = |bad: &std::ops::Range<u64>| bad.start < range.end && range.start < bad.end;
            if avoid.all().iter().any(bad) || !self.read(file, group) {
                continue;
            }
            let piece = &self.buffer[..(range.end - range.start) as usize];
            if let Some(target) = self.target.filter(|_| !there)
                && (!is_zero(piece) || self.has_data(&range))
            {
                target.write_at(piece, range.start).map_err(|e| Error::io("write", self.path, e))?;
            }
            self.wanted.remove(&group);
            bytes += range.end - range.start;
        }
        Ok(Some(bytes))
    }

    /// Whether the target has something there that is no hole: bad bytes that it shares with the bad file.
    fn has_data(&self, range: &std::ops::Range<u64>) -> bool {
        let next = self.target.map(|target| target.next_data(range.start));
        !matches!(next, None | Some(Ok(None))) && !matches!(next, Some(Ok(Some((start, _)))) if start >= range.end)
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
