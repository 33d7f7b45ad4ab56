//! A view: the runs and, over them, what the journal has added since; what every reader reads.

use std::sync::{Arc, OnceLock};

use super::cursor::RunCursor;
use super::overlay::{Overlay, OverlayCursor, Undo};
use super::source::{Merged, Source};
use super::{Found, Index};
use crate::vocabulary::{Error, ErrorKind, Result};

/// Where the rows come from when the runs that should hold them cannot be read.
pub trait Spare: Send + Sync {
    /// Every row as it was after some frame between the last one that the runs reach and `through`. `why` is what is
    /// wrong with the runs, and is the error where the rows are not to be had from elsewhere.
    fn rows(&self, through: u64, why: Error) -> Result<Arc<View>>;

    /// Whether the runs were found to be bad and nobody has asked this since.
    fn take_wanted(&self) -> bool;
}

/// Rows that the journal has added, which are put in order only once somebody asks for much of them: whoever opens a store
/// to look one name up needs none of them.
pub trait Unsorted: Send + Sync {
    /// What they have for `key`, as [`Index::get`] has it; [`Asked::Sort`] where putting all in order costs less.
    fn get(&self, key: &[u8]) -> Asked;

    /// Whether the key of any of them may begin with `prefix`.
    fn may_begin(&self, prefix: &[u8]) -> bool;

    /// All of them in order.
    fn sorted(&self) -> Overlay;
}

/// An answer of [`Unsorted::get`].
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// What they have for the key.
    Row(Found),
    /// They should be put in order, and asked then.
    Sort,
}

/// Rows that may be in order by now.
struct Late {
    rows: Box<dyn Unsorted>,
    sorted: OnceLock<Overlay>,
}

impl Late {
    fn sorted(&self) -> &Overlay {
        self.sorted.get_or_init(|| self.rows.sorted())
    }
}

/// The whole index at one moment. A clone is a snapshot, costs some counters, and sees no later change.
#[derive(Clone, Default)]
pub struct View {
    index: Arc<Index>,
    overlay: Overlay,
    /// In place of `overlay`, which is empty then.
    late: Option<Arc<Late>>,
    /// The sequence up to which it has seen every frame, at least.
    through: u64,
    spare: Option<Arc<dyn Spare>>,
}

impl View {
    /// A view of `index` with nothing over it. `View::default()` is one of no runs at all.
    pub fn new(index: Arc<Index>) -> Self {
        View { index, ..View::default() }
    }

    /// The same with `spare` to read where the runs cannot be.
    pub fn with_spare(self, spare: Arc<dyn Spare>) -> Self {
        View { spare: Some(spare), ..self }
    }

    /// The same with `rows` over the runs, over which there was nothing.
    pub fn with_unsorted(self, rows: Box<dyn Unsorted>) -> Self {
        debug_assert!(self.is_runs_alone(), "what is there would be hidden");
        View { late: Some(Arc::new(Late { rows, sorted: OnceLock::new() })), ..self }
    }

    /// Whether nothing lies over the runs.
    pub fn is_runs_alone(&self) -> bool {
        self.late.is_none() && self.overlay.is_empty()
    }

    /// Says that every frame up to `sequence` has been put into it.
    pub fn reaches(&mut self, sequence: u64) {
        self.through = self.through.max(sequence);
    }

    /// Whether runs were found to be bad, and should be made anew; says so once.
    pub fn take_bad_runs(&self) -> bool {
        self.spare.as_ref().is_some_and(|spare| spare.take_wanted())
    }

    /// The runs.
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// What lies over the runs.
    pub fn overlay(&self) -> &Overlay {
        self.late.as_ref().map_or(&self.overlay, |late| late.sorted())
    }

    /// What lies over the runs, to be changed.
    fn overlay_mut(&mut self) -> &mut Overlay {
        if let Some(late) = self.late.take() {
            self.overlay = late.sorted().clone();
        }
        &mut self.overlay
    }

    /// The rows over the runs, where nobody has wanted them in order yet.
    fn unsorted(&self) -> Option<&dyn Unsorted> {
        self.late.as_ref().filter(|late| late.sorted.get().is_none()).map(|late| late.rows.as_ref())
    }

    /// What there is over the runs for `key`.
    fn over(&self, key: &[u8]) -> Found {
        match self.unsorted().map(|rows| rows.get(key)) {
            Some(Asked::Row(found)) => found,
            Some(Asked::Sort) | None => self.overlay().get(key).map(|value| value.map(<[u8]>::to_vec)),
        }
    }

    /// A place at `from` in what lies over the runs; `None` if it has no key that begins with `prefix`.
    fn seek_over(&self, from: &[u8], prefix: &[u8]) -> Option<Cursor> {
        let may = self.unsorted().is_none_or(|rows| rows.may_begin(prefix));
        may.then(|| Cursor::Overlay(self.overlay().seek(from)))
    }

    /// Sets `key` to a value or (`None`) removes it, in this view and its later clones. What is returned takes that back.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: Option<impl AsRef<[u8]>>) -> Undo {
        self.overlay_mut().put(key, value)
    }

    /// Sets or removes many keys, as [`View::put`] does one after the other.
    pub fn put_all<K: AsRef<[u8]>, V: AsRef<[u8]>>(&mut self, each: impl IntoIterator<Item = (K, Option<V>)>) {
        self.overlay_mut().put_all(each);
    }

    /// Takes back a change. Those made since are taken back already, the last one first.
    pub fn undo(&mut self, undo: Undo) {
        self.overlay_mut().undo(undo);
    }

    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.over(key) {
            Some(value) => Ok(value),
            None => match self.index.get(key) {
                Err(why) => self.instead(why)?.get(key),
                found => Ok(found?.flatten()),
            },
        }
    }

    /// What is read in place of the runs; the error if they are not what is wrong.
    fn instead(&self, why: Error) -> Result<Arc<View>> {
        match &self.spare {
            Some(spare) if why.kind() == ErrorKind::Damaged => spare.rows(self.through, why),
            _ => Err(why),
        }
    }

    /// Every key from `from` on that is less than `to` (`None`: to the end) with its value, in ascending order.
    ///
    /// Holds a page of every level of each run; an error is yielded in place, and ends it.
    pub fn range(&self, from: &[u8], to: Option<&[u8]>) -> Scan {
        self.scan(from, to.map(<[u8]>::to_vec), &[])
    }

    /// Every key that begins with `prefix`, as [`View::range`] does it.
    pub fn prefix(&self, prefix: &[u8]) -> Scan {
        self.scan(prefix, behind(prefix), prefix)
    }

    /// Every key from `from` on that begins with `prefix`, as [`View::range`] does it.
    pub fn prefix_from(&self, prefix: &[u8], from: &[u8]) -> Scan {
        self.scan(from.max(prefix), behind(prefix), prefix)
    }

    /// All keys from `from` on and before `to` begin with `prefix`.
    fn scan(&self, from: &[u8], to: Option<Vec<u8>>, prefix: &[u8]) -> Scan {
        let (prefix, view) = (prefix.to_vec(), self.clone());
        let mut scan = Scan { merged: None, to, prefix, error: None, view, instead: false };
        scan.seek(self.cursors(from, &scan.prefix), from);
        scan
    }

    fn cursors(&self, from: &[u8], prefix: &[u8]) -> Result<Vec<Cursor>> {
        let runs = self.index.having(prefix)?.into_iter().map(|run| RunCursor::seek(run, from).map(Cursor::Run));
        let mut cursors = runs.collect::<Result<Vec<_>>>()?;
        cursors.extend(self.seek_over(from, prefix));
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

/// A place in a run or in an overlay.
pub(super) enum Cursor {
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
    prefix: Vec<u8>,
    error: Option<Error>,
    view: View,
    /// Whether it reads what stands in for the runs.
    instead: bool,
}

impl Scan {
    /// Goes on with these cursors, which stand at `from`; where the runs are bad, with what stands in for them.
    fn seek(&mut self, cursors: Result<Vec<Cursor>>, from: &[u8]) {
        let cursors = cursors.or_else(|why| {
            if std::mem::replace(&mut self.instead, true) {
                return Err(why);
            }
            let mut cursors = self.view.instead(why)?.cursors(from, &self.prefix)?;
            cursors.extend(self.view.seek_over(from, &self.prefix));
            Ok(cursors)
        });
        match cursors {
            Ok(cursors) => self.merged = Some(Merged::new(cursors)),
            Err(error) => (self.merged, self.error) = (None, Some(error)),
        }
    }
}

impl Iterator for Scan {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(error) = self.error.take() {
                return Some(Err(error));
            }
            let merged = self.merged.as_mut()?;
            let key = merged.key().filter(|key| self.to.as_deref().is_none_or(|to| *key < to))?.to_vec();
            let value = merged.value().map(<[u8]>::to_vec);
            if let Err(why) = merged.advance() {
                // The least key behind this one.
                self.seek(Err(why), &[&*key, &[0]].concat());
            }
            if let Some(value) = value {
                return Some(Ok((key, value)));
            }
        }
    }
}
