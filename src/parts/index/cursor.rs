//! A walk through a run, in the order of its keys.

use std::sync::Arc;

use super::run::{Body, Run};
use super::source::{Rows, Source};
use crate::format::page::Page;
use crate::format::run::PageRef;
use crate::vocabulary::Result;
use crate::vocabulary::limits::RUN_READ_AHEAD_BYTES;

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

impl Run {
    /// Every entry whose key is not less than `from`, in ascending order, tombstones included.
    pub fn range(self: &Arc<Self>, from: &[u8]) -> Rows<RunCursor> {
        Rows::new(RunCursor::seek(self, from))
    }
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
        if let Some(root) = run.root() {
            cursor.descend(Arc::clone(root), from)?;
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
        match &mut self.ahead {
            Some(ahead) if page.level() == 1 => self.run.leaf_from(page, index, |body, at| ahead.read(body, at)),
            _ => self.run.child(page, index),
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
    fn read(&mut self, body: &Body, at: PageRef) -> Result<&[u8]> {
        let length = at.length as usize;
        let inside = at.offset.checked_sub(self.start).is_some_and(|from| {
            usize::try_from(from).is_ok_and(|from| from.saturating_add(length) <= self.bytes.len())
        });
        if !inside {
            let left = body.size_bytes() - at.offset;
            self.bytes.resize(left.min(RUN_READ_AHEAD_BYTES as u64) as usize, 0);
            self.start = at.offset;
            body.read_into(at.offset, &mut self.bytes)?;
        }
        let from = (at.offset - self.start) as usize;
        Ok(&self.bytes[from..from + length])
    }
}
