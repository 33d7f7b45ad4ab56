//! A run: the names, checksums, header and footer of one immutable sorted file of the index.
//!
//! The byte layout is in `docs/format.md`. Every function here is total: bytes of any content and length give
//! a value or a reason.

use std::fmt;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::fields::Fields;
use crate::vocabulary::limits::{RUN_DEPTH, RUN_PAGE_MAX_BYTES};

/// Length of the header at the start of a run, in bytes.
pub const RUN_HEADER_BYTES: usize = 40;
/// Length of the footer at the end of a run, in bytes.
pub const RUN_FOOTER_BYTES: usize = 112;
/// Length of a checksum, in bytes.
pub const CHECKSUM_BYTES: usize = 16;

const HEADER_MAGIC: [u8; 8] = *b"larder R";
const FOOTER_MAGIC: [u8; 8] = *b"R redral";
const VERSION: u32 = 2;

/// The random identity of a run; its file is named by the sixteen lower-case hexadecimal digits of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunId([u8; 8]);

impl RunId {
    /// Takes eight random bytes as an identity.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        RunId(bytes)
    }

    /// The eight bytes.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// The name of the run's file within `index/`.
    pub fn file_name(&self) -> String {
        format!("{self}.run")
    }

    /// The identity in the name of a run's file; `None` for every other name.
    pub fn from_file_name(name: &[u8]) -> Option<Self> {
        let hex = std::str::from_utf8(name.strip_suffix(b".run")?).ok()?;
        let id = RunId(u64::from_str_radix(hex, 16).ok()?.to_be_bytes());
        (id.to_string() == hex).then_some(id)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// The key of all checksums within one run.
///
/// A checksum covers the bytes, the run they belong to and the offset they belong at, so that a page of another run,
/// or of another place in this one, does not pass.
#[derive(Clone)]
pub struct RunKey(u64);

impl RunKey {
    /// The key of the run `id`.
    pub fn of(id: RunId) -> Self {
        RunKey(u64::from_le_bytes(id.0))
    }

    /// The first `N` bytes (at most 16) of the checksum of `bytes` at `offset` of the run's file: XXH3 with 128 bits (the
    /// xxHash specification), seeded with run and offset. It is there for accidents, and read and written with every page.
    pub fn checksum<const N: usize>(&self, offset: u64, bytes: &[u8]) -> [u8; N] {
        let sum = xxh3_128_with_seed(bytes, self.0 ^ offset).to_le_bytes();
        let mut checksum = [0; N];
        checksum.copy_from_slice(&sum[..N]);
        checksum
    }
}

/// Which tables a run has rows of, as far as a glance tells: a bit for each, for a table and the one 56 behind it the
/// same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TablesHeld(u64);

const TABLE_BITS: u8 = 56;

impl TablesHeld {
    /// Notes the table of a key, which is its first byte.
    pub fn note(&mut self, key: &[u8]) {
        self.0 |= Self::bit(key);
    }

    /// Whether there may be rows of the table of a key.
    pub fn may_hold(self, key: &[u8]) -> bool {
        self.0 & Self::bit(key) != 0
    }

    fn bit(key: &[u8]) -> u64 {
        1 << (key.first().copied().unwrap_or_default() % TABLE_BITS)
    }

    fn encode(self) -> [u8; 7] {
        self.0.to_le_bytes()[..7].try_into().expect("seven of eight")
    }

    fn decode(bytes: [u8; 7]) -> Self {
        let mut whole = [0; 8];
        whole[..7].copy_from_slice(&bytes);
        TablesHeld(u64::from_le_bytes(whole))
    }
}

/// Where a page lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageRef {
    /// Offset of its first byte.
    pub offset: u64,
    /// Length in bytes; 0 where there is no page.
    pub length: u32,
}

impl PageRef {
    /// The twelve bytes that stand for it as the value of an inner page's entry.
    pub fn encode(&self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    /// Reads the twelve bytes of [`PageRef::encode`]; `None` for any other length.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::of(bytes);
        let page = PageRef { offset: fields.u64()?, length: fields.u32()? };
        fields.is_empty().then_some(page)
    }

    /// Whether it lies whole before `end` and is no longer than a page may be.
    pub fn fits(&self, end: u64) -> bool {
        self.length as usize <= RUN_PAGE_MAX_BYTES
            && self.offset.checked_add(u64::from(self.length)).is_some_and(|e| e <= end)
    }
}

/// The header of the run `id`: what tells a person or a tool what the file is.
pub fn encode_header(id: RunId) -> [u8; RUN_HEADER_BYTES] {
    let mut bytes = [0; RUN_HEADER_BYTES];
    bytes[..8].copy_from_slice(&HEADER_MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&id.0);
    let checksum = RunKey::of(id).checksum::<CHECKSUM_BYTES>(0, &bytes[..24]);
    bytes[24..].copy_from_slice(&checksum);
    bytes
}

/// Whether `bytes` are the header of the run `id`, or why not.
pub fn check_header(bytes: &[u8], id: RunId) -> Result<(), &'static str> {
    if bytes == encode_header(id) { Ok(()) } else { Err("its header is not that of this run") }
}

/// The end of a run: what it holds, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// Number of entries, tombstones included.
    pub records: u64,
    /// Number of tombstones.
    pub tombstones: u64,
    /// Number of leaf pages.
    pub leaves: u64,
    /// Offset of the filter's first block.
    pub filter_offset: u64,
    /// Number of the filter's blocks.
    pub filter_blocks: u64,
    /// Bits that the filter has for each key.
    pub filter_probes: u32,
    /// The page at the top of the tree; none (length 0) in an empty run.
    pub root: PageRef,
    /// Its level: 0 when it is a leaf.
    pub root_level: u8,
    /// The page that holds the smallest and the largest key.
    pub bounds: PageRef,
    /// Which tables it has rows of.
    pub tables: TablesHeld,
}

impl Footer {
    /// The bytes of the footer of the run `id`, which begins at `offset` of the file.
    pub fn encode(&self, id: RunId, offset: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(RUN_FOOTER_BYTES);
        bytes.extend(FOOTER_MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(self.filter_probes.to_le_bytes());
        bytes.extend(id.0);
        for count in [self.records, self.tombstones, self.leaves, self.filter_offset, self.filter_blocks] {
            bytes.extend(count.to_le_bytes());
        }
        bytes.extend(self.root.encode());
        bytes.extend(self.bounds.encode());
        bytes.push(self.root_level);
        bytes.extend(self.tables.encode());
        bytes.extend(RunKey::of(id).checksum::<CHECKSUM_BYTES>(offset, &bytes));
        bytes
    }

    /// Reads the footer of the run `id`, which begins at `offset` of the file; otherwise the reason why it cannot be.
    pub fn decode(bytes: &[u8], id: RunId, offset: u64) -> Result<Self, &'static str> {
        let (body, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or("its footer is cut short")?;
        if RunKey::of(id).checksum(offset, body) != *checksum {
            return Err("the checksum of its footer does not match");
        }
        let mut fields = Fields::of(body);
        if fields.array() != Some(FOOTER_MAGIC) {
            return Err("its footer does not begin as one");
        }
        if fields.u32() != Some(VERSION) {
            return Err("the format version of the run is unknown");
        }
        let footer = Self::fields(&mut fields, id).ok_or("its footer has the wrong length or is of another run")?;
        if footer.consistent(offset) { Ok(footer) } else { Err("its footer contradicts the length of the file") }
    }

    fn fields(fields: &mut Fields<'_>, id: RunId) -> Option<Self> {
        let filter_probes = fields.u32()?;
        if fields.array()? != id.0 {
            return None;
        }
        let footer = Footer {
            records: fields.u64()?,
            tombstones: fields.u64()?,
            leaves: fields.u64()?,
            filter_offset: fields.u64()?,
            filter_blocks: fields.u64()?,
            filter_probes,
            root: PageRef { offset: fields.u64()?, length: fields.u32()? },
            bounds: PageRef { offset: fields.u64()?, length: fields.u32()? },
            root_level: fields.u8()?,
            tables: TablesHeld::decode(fields.array()?),
        };
        fields.is_empty().then_some(footer)
    }

    fn consistent(&self, end: u64) -> bool {
        let filter_end = self.filter_blocks.checked_mul(64).and_then(|length| length.checked_add(self.filter_offset));
        filter_end.is_some_and(|filter_end| filter_end <= end)
            && self.filter_probes <= 64
            && self.root.fits(end)
            && self.bounds.fits(end)
            && usize::from(self.root_level) < RUN_DEPTH
            && self.tombstones <= self.records
            && (self.records == 0) == (self.root.length == 0)
            && (self.records == 0 || self.filter_blocks > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: RunId = RunId([1, 2, 3, 4, 5, 6, 7, 8]);

    fn footer() -> Footer {
        Footer {
            records: 5,
            tombstones: 1,
            leaves: 1,
            filter_offset: 128,
            filter_blocks: 1,
            filter_probes: 6,
            root: PageRef { offset: 192, length: 90 },
            root_level: 0,
            bounds: PageRef { offset: 282, length: 60 },
            tables: TablesHeld::default(),
        }
    }

    #[test]
    fn a_glance_tells_which_tables_there_are() {
        let mut held = TablesHeld::default();
        assert!((0..=255).all(|table| !held.may_hold(&[table])));
        for key in [&[20, 1][..], &[55], &[0]] {
            held.note(key);
            assert!(held.may_hold(key) && TablesHeld::decode(held.encode()) == held);
        }
        assert!(!held.may_hold(&[21]) && held.may_hold(&[76]) && held.may_hold(&[]));
    }

    #[test]
    fn a_footer_comes_back_and_every_flipped_bit_is_seen() {
        let bytes = footer().encode(ID, 342);
        assert_eq!(bytes.len(), RUN_FOOTER_BYTES);
        assert_eq!(Footer::decode(&bytes, ID, 342).unwrap(), footer());
        assert!(Footer::decode(&bytes, ID, 343).is_err());
        assert!(Footer::decode(&bytes, RunId([0; 8]), 342).is_err());
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Footer::decode(&bad, ID, 342).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_footer_that_points_outside_its_file_is_refused() {
        let outside = Footer { root: PageRef { offset: 340, length: 90 }, ..footer() };
        assert!(Footer::decode(&outside.encode(ID, 342), ID, 342).is_err());
        let wraps = Footer { filter_blocks: u64::MAX, ..footer() };
        assert!(Footer::decode(&wraps.encode(ID, 342), ID, 342).is_err());
    }

    #[test]
    fn only_sixteen_digits_and_the_suffix_name_a_run() {
        assert_eq!(ID.file_name(), "0102030405060708.run");
        assert_eq!(RunId::from_file_name(b"0102030405060708.run"), Some(ID));
        for bad in ["102030405060708.run", "+102030405060708.run", "010203040506070A.run", "CURRENT", "x.run"] {
            assert_eq!(RunId::from_file_name(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Footer::decode(&bytes, ID, 0).is_err());
            let _ = PageRef::decode(&bytes);
            let _ = check_header(&bytes, ID);
        }
    }
}
