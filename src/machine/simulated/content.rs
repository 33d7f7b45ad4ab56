//! The bytes of a file: sparse, shared between copies until one of them is written.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The granularity of blocks and holes.
pub(super) const BLOCK_BYTES: u64 = 4096;

/// The contents of a simulated file. Cloning costs nothing; a hole of any size costs nothing either.
#[derive(Clone, Default)]
pub struct Content(Arc<Inner>);

/// Blocks by their number. A block may be shorter than it could be: what is missing are zeros, and a block without any
/// bytes is allocated and not written.
#[derive(Clone, Default)]
struct Inner {
    length: u64,
    blocks: BTreeMap<u64, Arc<Vec<u8>>>,
    digest: OnceLock<[u8; 32]>,
}

impl Content {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.0.length
    }

    /// Whether there is not one byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All bytes, holes as zeros.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len() as usize];
        self.read(&mut bytes, 0);
        bytes
    }

    /// Reads at `offset` and says how many bytes there were.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let count = self.len().saturating_sub(offset).min(buffer.len() as u64) as usize;
        let mut done = 0;
        while done < count {
            let at = offset + done as u64;
            let within = (at % BLOCK_BYTES) as usize;
            let piece = (BLOCK_BYTES as usize - within).min(count - done);
            let target = &mut buffer[done..done + piece];
            target.fill(0);
            if let Some(block) = self.0.blocks.get(&(at / BLOCK_BYTES)) {
                let stored = block.get(within..).unwrap_or(&[]);
                let stored = &stored[..stored.len().min(piece)];
                target[..stored.len()].copy_from_slice(stored);
            }
            done += piece;
        }
        count
    }

    /// Writes at `offset`, growing the file where it must.
    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        let inner = self.change();
        let mut done = 0;
        while done < bytes.len() {
            let at = offset + done as u64;
            let within = (at % BLOCK_BYTES) as usize;
            let piece = (BLOCK_BYTES as usize - within).min(bytes.len() - done);
            let block = Arc::make_mut(inner.blocks.entry(at / BLOCK_BYTES).or_default());
            if block.len() < within + piece {
                block.resize(within + piece, 0);
            }
            block[within..within + piece].copy_from_slice(&bytes[done..done + piece]);
            done += piece;
        }
        if !bytes.is_empty() {
            inner.length = inner.length.max(offset + bytes.len() as u64);
        }
    }

    /// Cuts the file, or lets it grow by a hole.
    pub(super) fn set_len(&mut self, length: u64) {
        let inner = self.change();
        inner.length = length;
        inner.blocks.split_off(&length.div_ceil(BLOCK_BYTES));
        let within = (length % BLOCK_BYTES) as usize;
        if let Some(block) = inner.blocks.get_mut(&(length / BLOCK_BYTES))
            && block.len() > within
        {
            Arc::make_mut(block).truncate(within);
        }
    }

    /// Gives every block up to `length` a place on the disk and lets the file reach there.
    pub(super) fn allocate(&mut self, length: u64) {
        let inner = self.change();
        let unwritten = Arc::new(Vec::new());
        for number in 0..length.div_ceil(BLOCK_BYTES) {
            inner.blocks.entry(number).or_insert_with(|| unwritten.clone());
        }
        inner.length = inner.length.max(length);
    }

    /// Bytes of the blocks that have a place on the disk.
    pub(super) fn allocated_bytes(&self) -> u64 {
        self.0.blocks.len() as u64 * BLOCK_BYTES
    }

    /// Bytes of new blocks that a write of `length` at `offset` needs.
    pub(super) fn new_bytes(&self, offset: u64, length: u64) -> u64 {
        let blocks = offset / BLOCK_BYTES..(offset + length).div_ceil(BLOCK_BYTES);
        let there = self.0.blocks.range(blocks.clone()).count() as u64;
        (blocks.end.saturating_sub(blocks.start) - there) * BLOCK_BYTES
    }

    /// The next written range at or after `offset`, as start and end.
    pub(super) fn next_data(&self, offset: u64) -> Option<(u64, u64)> {
        let mut written = self.0.blocks.range(offset / BLOCK_BYTES..).filter(|(_, block)| !block.is_empty());
        let first = *written.next()?.0;
        let mut last = first;
        for (number, _) in written.take_while(|(number, _)| **number <= self.len() / BLOCK_BYTES) {
            if *number != last + 1 {
                break;
            }
            last = *number;
        }
        let (start, end) = (offset.max(first * BLOCK_BYTES), self.len().min((last + 1) * BLOCK_BYTES));
        (start < end).then_some((start, end))
    }

    /// Changes one bit of a byte inside the file.
    pub(super) fn flip(&mut self, offset: u64) {
        let mut byte = [0];
        if self.read(&mut byte, offset) == 1 {
            self.write(&[byte[0] ^ 1], offset);
        }
    }

    /// A digest of length and bytes; holes and written zeros are the same.
    pub(super) fn digest(&self) -> [u8; 32] {
        *self.0.digest.get_or_init(|| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&self.0.length.to_le_bytes());
            for (number, block) in &self.0.blocks {
                let used = block.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                if used > 0 {
                    hasher.update(&number.to_le_bytes()).update(&(used as u64).to_le_bytes()).update(&block[..used]);
                }
            }
            hasher.finalize().into()
        })
    }

    /// The inner value for a change, which voids the remembered digest.
    fn change(&mut self) -> &mut Inner {
        let inner = Arc::make_mut(&mut self.0);
        inner.digest = OnceLock::new();
        inner
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        let mut content = Content::default();
        content.write(bytes, 0);
        content
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.digest() == other.digest()
    }
}

impl Eq for Content {}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut start = [0; 24];
        let count = self.read(&mut start, 0);
        write!(f, "{} bytes: {:?}", self.len(), String::from_utf8_lossy(&start[..count]))
    }
}
