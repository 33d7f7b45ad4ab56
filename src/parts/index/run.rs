//! An opened run: one lookup visits the filter and, if that does not say no, one page of every level.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cache::PageCache;
use super::merge::{Rows, Source};
use crate::format::current::RunMeta;
use crate::format::filter::{self, BLOCK_BYTES, KeyHash};
use crate::format::page::{BOUNDS_LEVEL, Page};
use crate::format::run::{Footer, PageRef, RUN_FOOTER_BYTES, RUN_HEADER_BYTES, RunKey, check_header};
use crate::machine::{File, FileKind, Machine, Open};
use crate::vocabulary::limits::{RUN_PAGE_BYTES, RUN_READ_AHEAD_BYTES};
use crate::vocabulary::{Error, ErrorKind, Result};

/// What is read from the end of a run at once: the footer, the bounds and, nearly always, the root.
const TAIL_BYTES: u64 = 2 * RUN_PAGE_BYTES as u64;
/// `EIO`, the same number on every Unix: the disk cannot read what it holds.
const EIO: i32 = 5;

/// An immutable sorted file of keys with values or tombstones. It stays readable when its name is gone.
pub struct Run {
    file: Box<dyn File>,
    path: PathBuf,
    meta: RunMeta,
    key: RunKey,
    footer: Footer,
    root: Option<Arc<Page>>,
    /// The smallest and the largest key.
    bounds: Option<(Vec<u8>, Vec<u8>)>,
    cache: Arc<PageCache>,
}

/// What a run has for a key: nothing, a tombstone (`Some(None)`) or a value.
pub type Found = Option<Option<Vec<u8>>>;

impl Run {
    /// Opens the run that `meta` describes in the index directory `dir`, reading the same few pages whatever its size.
    ///
    /// [`ErrorKind::NotFound`] if there is no such file; [`ErrorKind::Damaged`] if it is not that run.
    pub fn open(machine: &dyn Machine, dir: &Path, meta: &RunMeta) -> Result<Run> {
        Run::open_with(machine, dir, meta, Arc::default())
    }

    pub(super) fn open_with(machine: &dyn Machine, dir: &Path, meta: &RunMeta, cache: Arc<PageCache>) -> Result<Run> {
        let path = dir.join(meta.id.file_name());
        let file = machine.open(&path, Open::Read).map_err(|e| Error::io("open", &path, e))?;
        let found = file.meta().map_err(|e| Error::io("look at", &path, e))?;
        if found.kind != FileKind::File || found.size_bytes != meta.size_bytes {
            return Err(damaged(&path, "it is not a file of the recorded length"));
        }
        let footer = Footer {
            records: 0,
            tombstones: 0,
            leaves: 0,
            filter_offset: 0,
            filter_blocks: 0,
            filter_probes: 0,
            root: PageRef { offset: 0, length: 0 },
            root_level: 0,
            bounds: PageRef { offset: 0, length: 0 },
        };
        let key = RunKey::of(meta.id);
        let mut run = Run { file, path, meta: *meta, key, footer, root: None, bounds: None, cache };
        run.read_tail()?;
        Ok(run)
    }

    /// What describes the run in CURRENT.
    pub fn meta(&self) -> RunMeta {
        self.meta
    }

    /// Number of tombstones among its entries.
    pub fn tombstones(&self) -> u64 {
        self.footer.tombstones
    }

    /// What the run has for `key`.
    pub fn get(&self, key: &[u8]) -> Result<Found> {
        self.get_hashed(key, &KeyHash::of(key))
    }

    pub(super) fn get_hashed(&self, key: &[u8], hash: &KeyHash) -> Result<Found> {
        let within = self.bounds.as_ref().is_some_and(|(least, most)| **least <= *key && *key <= **most);
        if !within || !self.may_hold(hash)? {
            return Ok(None);
        }
        let Some(mut page) = self.root.clone() else { return Ok(None) };
        for level in (0..self.footer.root_level).rev() {
            let child = page.last_at_most(key).ok_or_else(|| self.damaged("a page lies under a wrong key"))?;
            page = self.child(&page, child, level)?;
        }
        Ok(page.search(key).ok().map(|index| page.value(index).map(<[u8]>::to_vec)))
    }

    /// Every entry whose key is not less than `from`, in ascending order, tombstones included.
    pub fn range(self: &Arc<Self>, from: &[u8]) -> Rows<RunCursor> {
        Rows::new(RunCursor::seek(self, from))
    }

    /// Reads all of the file and compares it with what it says of itself.
    pub fn check(self: &Arc<Self>) -> Result<()> {
        let header = self.read(0, RUN_HEADER_BYTES)?;
        check_header(&header, self.meta.id).map_err(|reason| self.damaged(reason))?;
        self.check_filter()?;
        let (mut records, mut tombstones, mut last) = (0, 0, None);
        let mut cursor = RunCursor::all(self)?;
        while let Some(key) = cursor.key() {
            if last.as_deref().is_some_and(|last| last >= key) {
                return Err(self.damaged("its keys are not in order"));
            }
            last = Some(key.to_vec());
            records += 1;
            tombstones += u64::from(cursor.value().is_none());
            cursor.advance()?;
        }
        if (records, tombstones) != (self.footer.records, self.footer.tombstones) {
            return Err(self.damaged("it does not hold as many entries as it says"));
        }
        Ok(())
    }

    fn check_filter(&self) -> Result<()> {
        for block in 0..self.footer.filter_blocks {
            let offset = self.footer.filter_offset + block * BLOCK_BYTES as u64;
            let bytes = self.read(offset, BLOCK_BYTES)?;
            filter::check_block(&bytes, &self.key, offset).map_err(|reason| self.damaged(reason))?;
        }
        Ok(())
    }

    /// Reads the footer, the root and the bounds.
    fn read_tail(&mut self) -> Result<()> {
        let size = self.meta.size_bytes;
        let footer_at = size.checked_sub(RUN_FOOTER_BYTES as u64).ok_or_else(|| self.damaged("it is cut short"))?;
        let start = size.saturating_sub(TAIL_BYTES);
        let tail = self.read(start, (size - start) as usize)?;
        let footer = &tail[(footer_at - start) as usize..];
        self.footer = Footer::decode(footer, self.meta.id, footer_at).map_err(|reason| self.damaged(reason))?;
        if self.footer.records != self.meta.records {
            return Err(self.damaged("it does not hold the recorded number of entries"));
        }
        if self.footer.records > 0 {
            let in_tail = |page: PageRef| {
                let from = page.offset.checked_sub(start)? as usize;
                tail.get(from..from + page.length as usize)
            };
            let (root, bounds) = (self.footer.root, self.footer.bounds);
            self.root = Some(Arc::new(self.page(root, self.footer.root_level, in_tail(root))?));
            self.bounds = Some(self.bounds_of(&self.page(bounds, BOUNDS_LEVEL, in_tail(bounds))?)?);
        }
        Ok(())
    }

    fn bounds_of(&self, page: &Page) -> Result<(Vec<u8>, Vec<u8>)> {
        let last = page.len().checked_sub(1).ok_or_else(|| self.damaged("it has no bounds"))?;
        let (mut least, mut most) = (Vec::new(), Vec::new());
        page.key_into(0, &mut least);
        page.key_into(last, &mut most);
        Ok((least, most))
    }

    fn may_hold(&self, hash: &KeyHash) -> Result<bool> {
        let number = hash.block(self.footer.filter_blocks);
        let offset = self.footer.filter_offset + number * BLOCK_BYTES as u64;
        let mut block = [0; BLOCK_BYTES];
        self.read_into(offset, &mut block)?;
        filter::may_hold(&block, &self.key, offset, hash, self.footer.filter_probes)
            .map_err(|reason| self.damaged(reason))
    }

    fn child_ref(&self, page: &Page, index: usize) -> Result<PageRef> {
        let child = page.value(index).and_then(PageRef::decode);
        child
            .filter(|child| child.fits(self.meta.size_bytes))
            .ok_or_else(|| self.damaged("a page points outside the file"))
    }

    /// The child of an inner page by its index, from the cache or the disk.
    fn child(&self, page: &Page, index: usize, level: u8) -> Result<Arc<Page>> {
        let at = self.child_ref(page, index)?;
        if let Some(page) = self.cache.get(self.meta.id, at.offset) {
            if page.level() == level && page.size_bytes() == at.length as usize {
                return Ok(page);
            }
            return Err(self.damaged("a page is not of the level that it is found under"));
        }
        let page = Arc::new(self.page(at, level, None)?);
        self.cache.put(self.meta.id, at.offset, &page);
        Ok(page)
    }

    /// Verifies a page, whose bytes are read here unless they are given.
    fn page(&self, at: PageRef, level: u8, bytes: Option<&[u8]>) -> Result<Page> {
        let bytes = match bytes {
            Some(bytes) => bytes.to_vec(),
            None => self.read(at.offset, at.length as usize)?,
        };
        let page = Page::decode(bytes.into(), &self.key, at.offset).map_err(|reason| self.damaged(reason))?;
        if page.level() != level || page.is_empty() {
            return Err(self.damaged("a page is empty or not of the level that it is found under"));
        }
        Ok(page)
    }

    /// Reads `length` bytes, which the caller has bounded.
    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.read_into(offset, &mut bytes)?;
        Ok(bytes)
    }

    fn read_into(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        match self.file.read_at(bytes, offset) {
            Ok(read) if read == bytes.len() => Ok(()),
            Ok(_) => Err(self.damaged("it has become shorter than recorded")),
            Err(error) => Err(unreadable(&self.path, error)),
        }
    }

    fn damaged(&self, reason: &str) -> Error {
        damaged(&self.path, reason)
    }
}

/// The error that names a file of the index that cannot be used.
pub(super) fn damaged(path: &Path, reason: &str) -> Error {
    Error::new(ErrorKind::Damaged, format!("use {}", path.display()), reason)
}

/// The failure to read a file of the index: a sector that the disk cannot read is damage, anything else is trouble.
pub(super) fn unreadable(path: &Path, error: io::Error) -> Error {
    let bad_sector = error.raw_os_error() == Some(EIO);
    let error = Error::io("read", path, error);
    if bad_sector { error.as_kind(ErrorKind::Damaged) } else { error }
}

/// A place in a run that moves forward; holds a page of every level.
pub struct RunCursor {
    run: Arc<Run>,
    /// From the root downwards: inner pages, each with the index of the child that the walk is in.
    path: Vec<(Arc<Page>, usize)>,
    leaf: Option<(Arc<Page>, usize)>,
    key: Vec<u8>,
    ahead: Option<Ahead>,
}

/// Bytes of the run read ahead of the leaf that was wanted.
struct Ahead {
    start: u64,
    bytes: Vec<u8>,
}

impl RunCursor {
    /// At the first entry whose key is not less than `from`.
    pub fn seek(run: &Arc<Run>, from: &[u8]) -> Result<Self> {
        Self::start(run, from, None)
    }

    /// At the first entry; for reading all of the run in large pieces, past the cache.
    pub fn all(run: &Arc<Run>) -> Result<Self> {
        Self::start(run, &[], Some(Ahead { start: 0, bytes: Vec::new() }))
    }

    fn start(run: &Arc<Run>, from: &[u8], ahead: Option<Ahead>) -> Result<Self> {
        let mut cursor = RunCursor { run: Arc::clone(run), path: Vec::new(), leaf: None, key: Vec::new(), ahead };
        if let Some(root) = run.root.clone() {
            cursor.descend(root, from)?;
            cursor.settle()?;
        }
        Ok(cursor)
    }

    /// Goes down from `page` to the leaf that may hold `from`.
    fn descend(&mut self, mut page: Arc<Page>, from: &[u8]) -> Result<()> {
        while page.level() > 0 {
            // Everything below a page is at or behind its first separator.
            let index = page.last_at_most(from).unwrap_or(0);
            let child = self.load(&page, index)?;
            self.path.push((page, index));
            page = child;
        }
        let index = page.search(from).unwrap_or_else(|index| index);
        self.leaf = Some((page, index));
        Ok(())
    }

    /// If the leaf is used up, goes on to the next one; then takes the key.
    fn settle(&mut self) -> Result<()> {
        while self.leaf.as_ref().is_some_and(|(leaf, index)| *index >= leaf.len()) {
            self.leaf = None;
            self.next_leaf()?;
        }
        if let Some((leaf, index)) = &self.leaf {
            leaf.key_into(*index, &mut self.key);
        }
        Ok(())
    }

    fn next_leaf(&mut self) -> Result<()> {
        while let Some((page, index)) = self.path.pop() {
            if index + 1 < page.len() {
                let child = self.load(&page, index + 1)?;
                self.path.push((page, index + 1));
                return self.descend(child, &[]);
            }
        }
        Ok(())
    }

    fn load(&mut self, page: &Page, index: usize) -> Result<Arc<Page>> {
        let level = page.level() - 1;
        match &mut self.ahead {
            Some(ahead) if level == 0 => {
                let at = self.run.child_ref(page, index)?;
                let bytes = ahead.read(&self.run, at)?;
                self.run.page(at, level, Some(bytes)).map(Arc::new)
            }
            _ => self.run.child(page, index, level),
        }
    }
}

impl Source for RunCursor {
    fn key(&self) -> Option<&[u8]> {
        self.leaf.as_ref().map(|_| &*self.key)
    }

    fn value(&self) -> Option<&[u8]> {
        self.leaf.as_ref().and_then(|(leaf, index)| leaf.value(*index))
    }

    fn advance(&mut self) -> Result<()> {
        if let Some((_, index)) = &mut self.leaf {
            *index += 1;
        }
        self.settle()
    }
}

impl Ahead {
    /// The bytes of a page that lies within the file.
    fn read(&mut self, run: &Run, at: PageRef) -> Result<&[u8]> {
        let length = at.length as usize;
        let inside = at.offset.checked_sub(self.start).is_some_and(|from| {
            usize::try_from(from).is_ok_and(|from| from.saturating_add(length) <= self.bytes.len())
        });
        if !inside {
            let left = run.meta.size_bytes - at.offset;
            self.bytes.resize(left.min(RUN_READ_AHEAD_BYTES as u64) as usize, 0);
            self.start = at.offset;
            run.read_into(at.offset, &mut self.bytes)?;
        }
        let from = (at.offset - self.start) as usize;
        Ok(&self.bytes[from..from + length])
    }
}
