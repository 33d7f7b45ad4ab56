//! Files that are read from their start to their end.

use std::io::{self, Read};

use larder::machine::File;

/// Reads a file from its start to its end.
pub(crate) struct FromStart {
    file: Box<dyn File>,
    offset: u64,
}

impl FromStart {
    /// Reads `file`.
    pub(crate) fn new(file: Box<dyn File>) -> Self {
        FromStart { file, offset: 0 }
    }
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}
