//! An opened run: one lookup visits the filter and, if that does not say no, one page of every level.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cache::PageCache;
use crate::format::current::RunMeta;
use crate::format::filter::{self, BLOCK_BYTES, KeyHash};
use crate::format::page::{BOUNDS_LEVEL, Page};
use crate::format::run::{Footer, PageRef, RUN_FOOTER_BYTES, RUN_HEADER_BYTES, RunKey, check_header};
use crate::machine::{File, FileKind, Machine, Open};
use crate::vocabulary::limits::RUN_PAGE_BYTES;
use crate::vocabulary::{Error, ErrorKind, Result};

/// What is read from the end of a run at once: the footer, the bounds and, nearly always, the root.
const TAIL_BYTES: u64 = 2 * RUN_PAGE_BYTES as u64;
/// Blocks of the filter that are read and kept together: a page of the disk.
const PIECE_BLOCKS: u64 = (RUN_PAGE_BYTES / BLOCK_BYTES) as u64;
/// `EIO`, the same number on every Unix: the disk cannot read what it holds.
const EIO: i32 = 5;

/// An immutable sorted file of keys with values or tombstones. It stays readable when its name is gone.
pub struct Run {
    pub(super) body: Body,
    pub(super) footer: Footer,
    /// What an empty run has not.
    top: Option<Top>,
    cache: Arc<PageCache>,
}

/// What every lookup needs of a run, read when it is opened.
struct Top {
    root: Arc<Page>,
    least: Vec<u8>,
    most: Vec<u8>,
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
        let body = Body::open(machine, dir, meta)?;
        let tail = Tail::read(&body)?;
        let footer = tail.footer(&body)?;
        let top = if footer.records > 0 { Some(tail.top(&body, &footer)?) } else { None };
        Ok(Run { body, footer, top, cache })
    }

    /// What describes the run in CURRENT.
    pub fn meta(&self) -> RunMeta {
        self.body.meta
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
        let Some(top) = &self.top else { return Ok(None) };
        if *key < *top.least || *key > *top.most || !self.may_hold(hash)? {
            return Ok(None);
        }
        let mut page = Arc::clone(&top.root);
        while page.level() > 0 {
            let child = page.last_at_most(key).ok_or_else(|| self.body.damaged("a page lies under a wrong key"))?;
            page = self.child(&page, child)?;
        }
        Ok(page.search(key).ok().map(|index| page.value(index).map(<[u8]>::to_vec)))
    }

    /// Compares the header with what the run is.
    pub(super) fn check_header(&self) -> Result<()> {
        let header = self.body.read(0, RUN_HEADER_BYTES)?;
        check_header(&header, self.body.meta.id).map_err(|reason| self.body.damaged(reason))
    }

    /// Verifies every block of the filter.
    pub(super) fn check_filter(&self) -> Result<()> {
        for block in 0..self.footer.filter_blocks {
            let offset = self.block_offset(block);
            let bytes = self.body.read(offset, BLOCK_BYTES)?;
            filter::check_block(&bytes, &self.body.key, offset).map_err(|reason| self.body.damaged(reason))?;
        }
        Ok(())
    }

    fn block_offset(&self, block: u64) -> u64 {
        self.footer.filter_offset + block * BLOCK_BYTES as u64
    }

    /// Whether there may be rows of the table of `key`; nothing is read for that.
    pub(super) fn may_have_table(&self, key: &[u8]) -> bool {
        self.footer.tables.may_hold(key)
    }

    /// Whether the filter knows of a key or group: `false` is certain.
    pub(super) fn may_hold(&self, hash: &KeyHash) -> Result<bool> {
        if self.footer.records == 0 {
            return Ok(false);
        }
        let number = hash.block(self.footer.filter_blocks);
        let blocks = self.filter_blocks(number / PIECE_BLOCKS)?;
        let at = (number % PIECE_BLOCKS) as usize * BLOCK_BYTES;
        let block = blocks[at..].first_chunk().expect("a piece has whole blocks");
        Ok(filter::knows(block, hash, self.footer.filter_probes))
    }

    /// A piece of the filter, every block of it checked, from the cache or the disk.
    fn filter_blocks(&self, piece: u64) -> Result<Arc<[u8]>> {
        let (first, id) = (piece * PIECE_BLOCKS, self.body.meta.id);
        let offset = self.block_offset(first);
        if let Some(blocks) = self.cache.filter(id, offset) {
            return Ok(blocks);
        }
        let count = PIECE_BLOCKS.min(self.footer.filter_blocks - first);
        let blocks: Arc<[u8]> = self.body.read(offset, count as usize * BLOCK_BYTES)?.into();
        for (block, at) in blocks.chunks(BLOCK_BYTES).zip((offset..).step_by(BLOCK_BYTES)) {
            filter::check_block(block, &self.body.key, at).map_err(|reason| self.body.damaged(reason))?;
        }
        self.cache.put_filter(id, offset, &blocks);
        Ok(blocks)
    }

    /// The page at the top; `None` in an empty run.
    pub(super) fn root(&self) -> Option<&Arc<Page>> {
        self.top.as_ref().map(|top| &top.root)
    }

    /// The child of an inner page by its index, from the cache or the disk.
    pub(super) fn child(&self, page: &Page, index: usize) -> Result<Arc<Page>> {
        let at = self.child_ref(page, index)?;
        let id = self.body.meta.id;
        let child = match self.cache.get(id, at.offset) {
            Some(child) => child,
            None => {
                let child = Arc::new(self.body.page(at)?);
                self.cache.put(id, at.offset, &child);
                child
            }
        };
        self.body.expect(&child, page.level() - 1)?;
        Ok(child)
    }

    /// The leaf under an inner page by its index, from bytes that `read` gives, past the cache.
    pub(super) fn leaf_from<'a>(
        &self,
        page: &Page,
        index: usize,
        read: impl FnOnce(&Body, PageRef) -> Result<&'a [u8]>,
    ) -> Result<Arc<Page>> {
        let at = self.child_ref(page, index)?;
        let leaf = self.body.verify(read(&self.body, at)?.into(), at)?;
        self.body.expect(&leaf, 0)?;
        Ok(Arc::new(leaf))
    }

    fn child_ref(&self, page: &Page, index: usize) -> Result<PageRef> {
        let child = page.value(index).and_then(PageRef::decode);
        child
            .filter(|child| child.fits(self.body.size_bytes()))
            .ok_or_else(|| self.body.damaged("a page points outside the file"))
    }
}

/// The file of a run and what its bytes are checked against.
pub(super) struct Body {
    file: Box<dyn File>,
    path: PathBuf,
    meta: RunMeta,
    key: RunKey,
}

impl Body {
    fn open(machine: &dyn Machine, dir: &Path, meta: &RunMeta) -> Result<Body> {
        let path = dir.join(meta.id.file_name());
        let file = machine.open(&path, Open::Read).map_err(|e| Error::io("open", &path, e))?;
        let found = file.meta().map_err(|e| Error::io("look at", &path, e))?;
        if found.kind != FileKind::File || found.size_bytes != meta.size_bytes {
            return Err(damaged(&path, "it is not a file of the recorded length"));
        }
        Ok(Body { file, path, meta: *meta, key: RunKey::of(meta.id) })
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.meta.size_bytes
    }

    /// Reads and verifies a page that lies within the file.
    fn page(&self, at: PageRef) -> Result<Page> {
        self.verify(self.read(at.offset, at.length as usize)?.into(), at)
    }

    fn verify(&self, bytes: Box<[u8]>, at: PageRef) -> Result<Page> {
        Page::decode(bytes, &self.key, at.offset).map_err(|reason| self.damaged(reason))
    }

    /// A walk goes down by one level with every page, and finds something there.
    fn expect(&self, page: &Page, level: u8) -> Result<()> {
        let fits = page.level() == level && !page.is_empty();
        if fits { Ok(()) } else { Err(self.damaged("a page is empty or not of the level that it is found under")) }
    }

    /// Reads `length` bytes, which the caller has bounded.
    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.read_into(offset, &mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn read_into(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        match self.file.read_at(bytes, offset) {
            Ok(read) if read == bytes.len() => Ok(()),
            Ok(_) => Err(self.damaged("it has become shorter than recorded")),
            Err(error) => Err(unreadable(&self.path, error)),
        }
    }

    pub(super) fn damaged(&self, reason: &str) -> Error {
        damaged(&self.path, reason)
    }
}

/// The end of the file, read at once when it is opened.
struct Tail {
    start: u64,
    bytes: Vec<u8>,
}

impl Tail {
    fn read(body: &Body) -> Result<Tail> {
        let start = body.size_bytes().saturating_sub(TAIL_BYTES);
        Ok(Tail { start, bytes: body.read(start, (body.size_bytes() - start) as usize)? })
    }

    fn footer(&self, body: &Body) -> Result<Footer> {
        let at = self.bytes.len().checked_sub(RUN_FOOTER_BYTES).ok_or_else(|| body.damaged("it is cut short"))?;
        let footer = Footer::decode(&self.bytes[at..], body.meta.id, self.start + at as u64);
        let footer = footer.map_err(|reason| body.damaged(reason))?;
        let recorded = footer.records == body.meta.records;
        if recorded { Ok(footer) } else { Err(body.damaged("it does not hold the recorded number of entries")) }
    }

    fn top(&self, body: &Body, footer: &Footer) -> Result<Top> {
        let root = self.page(body, footer.root, footer.root_level)?;
        let bounds = self.page(body, footer.bounds, BOUNDS_LEVEL)?;
        let (mut least, mut most) = (Vec::new(), Vec::new());
        bounds.key_into(0, &mut least);
        bounds.key_into(bounds.len() - 1, &mut most);
        Ok(Top { root: Arc::new(root), least, most })
    }

    fn page(&self, body: &Body, at: PageRef, level: u8) -> Result<Page> {
        let inside = at.offset.checked_sub(self.start).and_then(|from| {
            let from = from as usize;
            self.bytes.get(from..from + at.length as usize)
        });
        let page = match inside {
            Some(bytes) => body.verify(bytes.into(), at)?,
            None => body.page(at)?,
        };
        body.expect(&page, level)?;
        Ok(page)
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
