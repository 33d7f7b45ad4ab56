//! Lines of a file of any size, none held in memory that is longer than a bound.

use std::io::{self, BufRead};

use crate::vocabulary::limits::MANIFEST_LINE_BYTES;

/// What the next line is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read<'a> {
    /// A line that is not blank, without its line feed.
    Line(&'a [u8]),
    /// A line of so many bytes, of which none were kept.
    TooLong(u64),
}

/// Reads line by line.
pub(super) struct Lines<'a> {
    input: &'a mut dyn BufRead,
    line: Vec<u8>,
    number: u64,
}

impl<'a> Lines<'a> {
    pub(super) fn new(input: &'a mut dyn BufRead) -> Self {
        Lines { input, line: Vec::new(), number: 0 }
    }

    /// The number of the line that was read last, from 1 on.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next line that is not blank; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Read<'_>>> {
        loop {
            let length = self.fill()?;
            if length == 0 {
                return Ok(None);
            }
            self.number += 1;
            if length > MANIFEST_LINE_BYTES as u64 {
                return Ok(Some(Read::TooLong(length)));
            }
            if self.number == 1 && self.line.starts_with(BOM) {
                self.line.drain(..BOM.len());
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        Ok(Some(Read::Line(self.line.trim_ascii())))
    }

    /// Reads to behind the next line feed, and says how many bytes that was.
    fn fill(&mut self) -> io::Result<u64> {
        self.line.clear();
        let mut length = 0;
        loop {
            let found = match self.input.fill_buf() {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if found.is_empty() {
                return Ok(length);
            }
            let end = found.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(found.len(), |end| end + 1);
            length += taken as u64;
            if length <= MANIFEST_LINE_BYTES as u64 {
                self.line.extend_from_slice(&found[..taken]);
            } else {
                self.line = Vec::new();
            }
            self.input.consume(taken);
            if end.is_some() {
                return Ok(length);
            }
        }
    }
}

/// What some editors write in front of text.
const BOM: &[u8] = "\u{feff}".as_bytes();

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn read(text: &[u8], capacity: usize) -> Vec<(u64, Option<Vec<u8>>)> {
        let mut input = BufReader::with_capacity(capacity, text);
        let mut lines = Lines::new(&mut input);
        let mut found = Vec::new();
        loop {
            let text = match lines.next().unwrap() {
                None => return found,
                Some(Read::Line(line)) => Some(line.to_vec()),
                Some(Read::TooLong(_)) => None,
            };
            found.push((lines.number(), text));
        }
    }

    #[test]
    fn lines_are_told_with_their_numbers_however_they_arrive() {
        let text = b"\xef\xbb\xbf{}\r\n\n  \n{\"a\":1}\nlast";
        let wanted = vec![(1, Some(b"{}".to_vec())), (4, Some(b"{\"a\":1}".to_vec())), (5, Some(b"last".to_vec()))];
        for capacity in [1, 2, 7, 4096] {
            assert_eq!(read(text, capacity), wanted, "{capacity}");
        }
        assert_eq!(read(b"", 8), vec![]);
    }

    #[test]
    fn a_line_that_is_too_long_is_not_held_and_the_next_one_is_read() {
        let mut text = vec![b'x'; MANIFEST_LINE_BYTES + 1];
        text.extend_from_slice(b"\nnext\n");
        text.extend(vec![b'y'; MANIFEST_LINE_BYTES]);
        assert_eq!(read(&text, 1 << 16)[..2], [(1, None), (2, Some(b"next".to_vec()))]);
        assert_eq!(read(&text, 1 << 16)[2].1.as_ref().map(Vec::len), Some(MANIFEST_LINE_BYTES));
    }
}
