//! Writes a run: one pass over sorted entries, in memory that does not grow with their number.

use std::path::{Path, PathBuf};

use crate::format::current::RunMeta;
use crate::format::filter::{BLOCK_BYTES, FilterBuilder, KeyHash};
use crate::format::page::{BOUNDS_LEVEL, PageBuilder, common_prefix};
use crate::format::run::{Footer, PageRef, RunId, RunKey, TablesHeld, encode_header};
use crate::format::table::group_bytes;
use crate::machine::{File, Machine, Open};
use crate::vocabulary::limits::{IO_CHUNK_BYTES, RUN_DEPTH, RUN_KEY_BYTES, RUN_VALUE_BYTES};
use crate::vocabulary::planted::{Bug, planted};
use crate::vocabulary::{Error, ErrorKind, Result};

/// A run in the making. Dropped before it is finished, it removes its file.
pub struct RunWriter<'m> {
    machine: &'m dyn Machine,
    directory: Box<dyn File>,
    out: Output,
    id: RunId,
    key: RunKey,
    filter: FilterBuilder,
    /// The page being filled at every level, leaves first.
    levels: Vec<PageBuilder>,
    /// What separates the leaf being filled from the one before.
    separator: Vec<u8>,
    first: Option<Vec<u8>>,
    last: Vec<u8>,
    records: u64,
    tombstones: u64,
    leaves: u64,
    tables: TablesHeld,
    /// What the rows before were asked for together by.
    group: Vec<u8>,
    finished: bool,
}

impl<'m> RunWriter<'m> {
    /// Makes a new file in the index directory `dir`, readable and writable by whom the directory is. `records` is an
    /// upper bound of what will be added, by which the filter is measured; going beyond it costs speed alone.
    pub fn create(machine: &'m dyn Machine, dir: &Path, records: u64) -> Result<Self> {
        // Opened before the file is made, so that its sync vouches for the new entry.
        let directory = machine.open(dir, Open::Directory).map_err(|e| Error::io("open", dir, e))?;
        let mut random = [0; 8];
        machine.random(&mut random).map_err(|e| Error::system("draw random bytes", e))?;
        let id = RunId::from_bytes(random);
        let mut out = Output::create(machine, dir.join(id.file_name()), &*directory)?;
        out.append(&encode_header(id))?;
        Ok(RunWriter {
            machine,
            directory,
            out,
            id,
            key: RunKey::of(id),
            filter: FilterBuilder::new(records),
            levels: vec![PageBuilder::new(0)],
            separator: Vec::new(),
            first: None,
            last: Vec::new(),
            records: 0,
            tombstones: 0,
            leaves: 0,
            tables: TablesHeld::default(),
            group: Vec::new(),
            finished: false,
        })
    }

    /// Adds an entry behind all others, with a value or (`None`) a tombstone.
    ///
    /// [`ErrorKind::Invalid`] if its key is not greater than the last one, or key or value are longer than
    /// [`RUN_KEY_BYTES`] and [`RUN_VALUE_BYTES`]; nothing was added then.
    pub fn add(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.admit(key, value)?;
        if !self.levels[0].push_if_room(key, value).map_err(|reason| self.invalid(reason))? {
            self.last.clear();
            self.last.extend_from_slice(self.levels[0].last_key().unwrap_or_default());
            self.flush(0)?;
            self.separator = separator(&self.last, key);
            self.push(0, key, value)?;
        }
        if self.first.is_none() {
            self.first = Some(key.to_vec());
        }
        self.filter.insert(&KeyHash::of(key));
        if let Some(bytes) = group_bytes(key)
            && self.group != key[..bytes]
        {
            self.group.clear();
            self.group.extend_from_slice(&key[..bytes]);
            self.filter.insert(&KeyHash::of(&self.group));
        }
        self.tables.note(key);
        self.records += 1;
        self.tombstones += u64::from(value.is_none());
        Ok(())
    }

    /// Writes what is left and syncs the file and then the directory. The run is durable, and part of the index once
    /// CURRENT names it.
    pub fn finish(mut self) -> Result<RunMeta> {
        let footer = self.write_end()?.encode(self.id, self.out.position());
        self.out.append(&footer)?;
        let size_bytes = self.out.finish()?;
        if !planted(Bug::IndexDirSync) {
            self.directory.sync().map_err(|e| Error::io("sync the directory of", &self.out.path, e))?;
        }
        self.finished = true;
        Ok(RunMeta { id: self.id, size_bytes, records: self.records })
    }

    /// Writes everything but the footer.
    fn write_end(&mut self) -> Result<Footer> {
        if let Some(last) = self.levels[0].last_key() {
            self.last = last.to_vec();
        }
        let top = self.flush_below_the_top()?;
        let filter = std::mem::replace(&mut self.filter, FilterBuilder::new(0));
        let (filter_blocks, filter_probes) = (filter.blocks(), filter.probes());
        self.out.pad(BLOCK_BYTES)?;
        let filter_offset = self.out.position();
        self.out.append(&filter.finish(&self.key, filter_offset))?;
        let none = PageRef { offset: 0, length: 0 };
        let (root, bounds) = if self.records == 0 { (none, none) } else { (self.write(top)?, self.write_bounds()?) };
        let (records, tombstones, leaves, root_level) = (self.records, self.tombstones, self.leaves, top as u8);
        Ok(Footer {
            records,
            tombstones,
            leaves,
            filter_offset,
            filter_blocks,
            filter_probes,
            root,
            root_level,
            bounds,
            tables: self.tables,
        })
    }

    fn admit(&self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        if key.len() > RUN_KEY_BYTES || value.is_some_and(|v| v.len() > RUN_VALUE_BYTES) {
            return Err(self.invalid("its key or value is too long"));
        }
        Ok(())
    }

    /// Writes the last page of every level but the highest, which has one page only: the root.
    fn flush_below_the_top(&mut self) -> Result<usize> {
        let mut level = 0;
        while level + 1 < self.levels.len() {
            self.flush(level)?;
            level += 1;
        }
        Ok(level)
    }

    /// Writes the page being filled at `level` and enters it into the level above.
    fn flush(&mut self, level: usize) -> Result<()> {
        let separator = match level {
            0 => std::mem::take(&mut self.separator),
            _ => self.levels[level].first_key().unwrap_or_default().to_vec(),
        };
        let child = self.write(level)?.encode();
        if self.levels.len() == level + 1 {
            self.raise()?;
        }
        if !self.levels[level + 1].has_room(&separator, Some(&child)) {
            self.flush(level + 1)?;
        }
        self.push(level + 1, &separator, Some(&child))
    }

    fn raise(&mut self) -> Result<()> {
        let level = self.levels.len();
        if level >= RUN_DEPTH {
            return Err(Error::new(ErrorKind::Unsupported, self.attempt(), "a run cannot be that large"));
        }
        self.levels.push(PageBuilder::new(level as u8));
        Ok(())
    }

    fn push(&mut self, level: usize, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        let pushed = self.levels[level].push(key, value);
        pushed.map_err(|reason| self.invalid(reason))
    }

    fn write(&mut self, level: usize) -> Result<PageRef> {
        self.leaves += u64::from(level == 0);
        let page = self.levels[level].finish(&self.key, self.out.position());
        self.out.append_page(&page)
    }

    fn write_bounds(&mut self) -> Result<PageRef> {
        let mut page = PageBuilder::new(BOUNDS_LEVEL);
        let first = self.first.take().unwrap_or_default();
        let last = (self.last != first).then_some(&*self.last);
        for key in std::iter::once(&*first).chain(last) {
            page.push(key, None).map_err(|reason| self.invalid(reason))?;
        }
        let page = page.finish(&self.key, self.out.position());
        self.out.append_page(&page)
    }

    fn attempt(&self) -> String {
        format!("write {}", self.out.path.display())
    }

    fn invalid(&self, reason: &str) -> Error {
        Error::new(ErrorKind::Invalid, self.attempt(), reason)
    }
}

impl Drop for RunWriter<'_> {
    fn drop(&mut self) {
        if !self.finished {
            // What stays is named by nothing and goes with the next cleaning.
            let _ = self.machine.unlink(&self.out.path);
        }
    }
}

/// The shortest key that is greater than `last` and not greater than `next`.
fn separator(last: &[u8], next: &[u8]) -> Vec<u8> {
    next[..next.len().min(common_prefix(last, next) + 1)].to_vec()
}

/// The file, written in large pieces from the start to the end.
struct Output {
    file: Box<dyn File>,
    path: PathBuf,
    buffer: Vec<u8>,
    written: u64,
    failed: bool,
}

impl Output {
    fn create(machine: &dyn Machine, path: PathBuf, directory: &dyn File) -> Result<Self> {
        let mode = file_mode(directory).map_err(|e| Error::io("look at the directory of", &path, e))?;
        let file = machine.open(&path, Open::CreateNew { mode }).map_err(|e| Error::io("create", &path, e))?;
        Ok(Output { file, path, buffer: Vec::new(), written: 0, failed: false })
    }

    fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= IO_CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    fn append_page(&mut self, page: &[u8]) -> Result<PageRef> {
        let at = PageRef { offset: self.position(), length: page.len() as u32 };
        self.append(page)?;
        Ok(at)
    }

    /// Zeros up to the next multiple of `unit`.
    fn pad(&mut self, unit: usize) -> Result<()> {
        let missing = self.position().next_multiple_of(unit as u64) - self.position();
        self.append(&vec![0; missing as usize])
    }

    fn flush(&mut self) -> Result<()> {
        if self.failed {
            let reason = "an earlier write of it failed";
            return Err(Error::new(ErrorKind::Io, format!("write {}", self.path.display()), reason));
        }
        let written = self.file.write_at(&self.buffer, self.written);
        self.failed = written.is_err();
        written.map_err(|e| Error::io("write", &self.path, e))?;
        self.file.start_writeback(self.written, self.buffer.len() as u64);
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(&mut self) -> Result<u64> {
        self.flush()?;
        self.file.sync().map_err(|e| Error::io("sync", &self.path, e))?;
        Ok(self.written)
    }
}

/// The mode of a new file of the index: who may read or write the directory may read or write the file.
pub(super) fn file_mode(directory: &dyn File) -> std::io::Result<u32> {
    Ok(directory.meta()?.mode & 0o666)
}
