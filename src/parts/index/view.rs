//! A view: the runs and, over them, what the journal has added since; what every reader reads.

use std::sync::Arc;

use super::Index;
use super::cursor::RunCursor;
use super::overlay::{Overlay, OverlayCursor};
use super::source::{Merged, Source};
use crate::vocabulary::{Error, Result};

/// The whole index at one moment. A clone is a snapshot, costs two counters, and sees no later change.
#[derive(Clone, Default)]
pub struct View {
    index: Arc<Index>,
    overlay: Overlay,
}

impl View {
    /// A view of `index` with nothing over it. `View::default()` is one of no runs at all.
    pub fn new(index: Arc<Index>) -> Self {
        View { index, overlay: Overlay::default() }
    }

    /// The runs.
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// What lies over the runs.
    pub fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    /// Sets `key` to a value or (`None`) removes it, in this view and its later clones.
    pub fn put(&mut self, key: impl Into<Arc<[u8]>>, value: Option<impl Into<Arc<[u8]>>>) {
        self.overlay.put(key, value);
    }

    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.overlay.get(key) {
            Some(value) => Ok(value.map(<[u8]>::to_vec)),
            None => Ok(self.index.get(key)?.flatten()),
        }
    }

    /// Every key from `from` on that is less than `to` (`None`: to the end) with its value, in ascending order.
    ///
    /// Holds a page of every level of each run; an error is yielded in place, and ends it.
    pub fn range(&self, from: &[u8], to: Option<&[u8]>) -> Scan {
        match self.cursors(from) {
            Ok(cursors) => Scan { merged: Some(Merged::new(cursors)), to: to.map(<[u8]>::to_vec), error: None },
            Err(error) => Scan { merged: None, to: None, error: Some(error) },
        }
    }

    /// Every key that begins with `prefix`, as [`View::range`] does it.
    pub fn prefix(&self, prefix: &[u8]) -> Scan {
        self.range(prefix, behind(prefix).as_deref())
    }

    fn cursors(&self, from: &[u8]) -> Result<Vec<Cursor>> {
        let runs = self.index.runs().iter().map(|run| RunCursor::seek(run, from).map(Cursor::Run));
        let mut cursors = runs.collect::<Result<Vec<_>>>()?;
        cursors.push(Cursor::Overlay(self.overlay.seek(from)));
        Ok(cursors)
    }
}

/// The least key behind all that begin with `prefix`; `None` where there is none.
fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut key = prefix[..=last].to_vec();
    key[last] += 1;
    Some(key)
}

enum Cursor {
    Run(RunCursor),
    Overlay(OverlayCursor),
}

impl Source for Cursor {
    fn key(&self) -> Option<&[u8]> {
        match self {
            Cursor::Run(cursor) => cursor.key(),
            Cursor::Overlay(cursor) => cursor.key(),
        }
    }

    fn value(&self) -> Option<&[u8]> {
        match self {
            Cursor::Run(cursor) => cursor.value(),
            Cursor::Overlay(cursor) => cursor.value(),
        }
    }

    fn advance(&mut self) -> Result<()> {
        match self {
            Cursor::Run(cursor) => cursor.advance(),
            Cursor::Overlay(cursor) => cursor.advance(),
        }
    }
}

/// Keys and values of a view in ascending order; keeps what it reads from alive, whatever becomes of the view.
pub struct Scan {
    merged: Option<Merged<Cursor>>,
    to: Option<Vec<u8>>,
    error: Option<Error>,
}

impl Iterator for Scan {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(error) = self.error.take() {
                self.merged = None;
                return Some(Err(error));
            }
            let merged = self.merged.as_mut()?;
            let key = merged.key().filter(|key| self.to.as_deref().is_none_or(|to| *key < to))?;
            let row = merged.value().map(|value| (key.to_vec(), value.to_vec()));
            self.error = merged.advance().err();
            if let Some(row) = row {
                return Some(Ok(row));
            }
        }
    }
}
