//! Which bytes of a file: for whoever says where it is wrong.

use std::fmt;
use std::ops::Range;

use super::limits::RANGES_TOLD;

/// Ranges of bytes, in order, none of which touches the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByteRanges(Vec<Range<u64>>);

impl ByteRanges {
    /// Adds a range that begins at or behind the end of all before it; an empty one is none.
    pub fn push(&mut self, range: Range<u64>) {
        match self.0.last_mut() {
            _ if range.is_empty() => {}
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => self.0.push(range),
        }
    }

    /// The same bytes, of ranges in any order.
    pub fn of(mut ranges: Vec<Range<u64>>) -> Self {
        ranges.sort_by_key(|range| range.start);
        let mut all = ByteRanges::default();
        ranges.into_iter().for_each(|range| all.push(range));
        all
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes they are.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// All of them.
    pub fn all(&self) -> &[Range<u64>] {
        &self.0
    }

    /// Those that are told: `RANGES_TOLD` at most.
    pub fn told(&self) -> &[Range<u64>] {
        &self.0[..self.0.len().min(RANGES_TOLD)]
    }
}

/// Where a file is not what it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Groups whose bytes are other ones, or that the file is too short to have.
    pub wrong: ByteRanges,
    /// What could not be read, to the sector.
    pub unreadable: ByteRanges,
}

/// `1048576 to 2097152`, the end not included; how many more there are where not all are told.
impl fmt::Display for ByteRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, range) in self.told().iter().enumerate() {
            let comma = if nth == 0 { "" } else { ", " };
            write!(f, "{comma}{} to {}", range.start, range.end)?;
        }
        match self.0.len() - self.told().len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_are_one_and_many_are_told_in_part() {
        let ranges = ByteRanges::of(vec![20..30, 0..5, 30..31, 5..5, 5..6, 40..40]);
        assert_eq!(ranges.all(), [0..6, 20..31]);
        assert_eq!((ranges.bytes(), ranges.to_string()), (17, "0 to 6, 20 to 31".to_owned()));
        assert!(ByteRanges::of(vec![7..7]).is_empty());
        let many = ByteRanges::of((0..RANGES_TOLD as u64 + 2).map(|i| 2 * i..2 * i + 1).collect());
        assert_eq!((many.told().len(), many.all().len()), (RANGES_TOLD, RANGES_TOLD + 2));
        assert!(many.to_string().ends_with(" and 2 more"), "{many}");
    }
}
