//! Sorted entries to walk through, and several of them seen as one: the newest entry of every key.

use crate::vocabulary::{Error, Result};

/// A place in sorted entries that moves forward.
pub trait Source {
    /// The key at this place; `None` behind the last entry.
    fn key(&self) -> Option<&[u8]>;
    /// The value at this place; `None` for a tombstone, and behind the last entry.
    fn value(&self) -> Option<&[u8]>;
    /// Moves on by one entry. After an error the source is of no more use.
    fn advance(&mut self) -> Result<()>;
}

/// Several sources as one: of equal keys the entry of the newest source. Holds one place of each.
pub struct Merged<S> {
    /// Oldest first.
    sources: Vec<S>,
    /// The sources at the smallest key, oldest first: the last one has the word.
    least: Vec<usize>,
}

impl<S: Source> Merged<S> {
    /// Merges sources given oldest first.
    pub fn new(sources: Vec<S>) -> Self {
        let mut merged = Merged { sources, least: Vec::new() };
        merged.find_least();
        merged
    }

    fn find_least(&mut self) {
        self.least.clear();
        let mut least: Option<&[u8]> = None;
        for (index, source) in self.sources.iter().enumerate() {
            let Some(key) = source.key() else { continue };
            if least.is_none_or(|least| key < least) {
                least = Some(key);
                self.least.clear();
            }
            if least == Some(key) {
                self.least.push(index);
            }
        }
    }

    fn newest(&self) -> Option<&S> {
        self.least.last().map(|index| &self.sources[*index])
    }
}

impl<S: Source> Source for Merged<S> {
    fn key(&self) -> Option<&[u8]> {
        self.newest().and_then(S::key)
    }

    fn value(&self) -> Option<&[u8]> {
        self.newest().and_then(S::value)
    }

    fn advance(&mut self) -> Result<()> {
        for index in &self.least {
            self.sources[*index].advance()?;
        }
        self.find_least();
        Ok(())
    }
}

/// An entry of a run or of several: a key with a value or (`None`) a tombstone.
pub type Row = (Vec<u8>, Option<Vec<u8>>);

/// The entries of a source as an iterator, tombstones included. Ends behind the first error.
pub struct Rows<S> {
    source: Option<S>,
    error: Option<Error>,
}

impl<S: Source> Rows<S> {
    /// Iterates over `source`, or yields the error why there is none.
    pub fn new(source: Result<S>) -> Self {
        match source {
            Ok(source) => Rows { source: Some(source), error: None },
            Err(error) => Rows { source: None, error: Some(error) },
        }
    }
}

impl<S: Source> Iterator for Rows<S> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.error.take() {
            self.source = None;
            return Some(Err(error));
        }
        let source = self.source.as_mut()?;
        let row = (source.key()?.to_vec(), source.value().map(<[u8]>::to_vec));
        self.error = source.advance().err();
        Some(Ok(row))
    }
}
