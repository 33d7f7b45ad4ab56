//! A page of a run: sorted entries behind a fixed directory, searched without being decoded whole.
//!
//! The byte layout is in `docs/format.md`. [`Page::decode`] is total and checks the whole structure once, so
//! that every later look is plain indexing.

use std::cmp::Ordering;

use super::fields::Fields;
use super::run::{CHECKSUM_BYTES, RunKey};
use crate::vocabulary::limits::{RUN_KEY_BYTES, RUN_PAGE_BYTES, RUN_PAGE_MAX_BYTES, RUN_VALUE_BYTES};
use crate::vocabulary::planted::{Bug, planted};

/// Length of the fixed header of a page, in bytes, its checksum included.
pub const PAGE_HEADER_BYTES: usize = 28;
/// The level of the page that holds the smallest and the largest key of a run.
pub const BOUNDS_LEVEL: u8 = 0xff;

const MAGIC: [u8; 2] = *b"LP";
const TOMBSTONE: u16 = 0x8000;
/// What an entry takes beside its bytes: two in the directory, two for the length of its key.
const ENTRY_BYTES: usize = 4;

/// One page, verified: level, and entries in ascending order of their keys.
#[derive(Debug)]
pub struct Page {
    bytes: Box<[u8]>,
    level: u8,
    count: usize,
    prefix_bytes: usize,
}

impl Page {
    /// Takes the page at `offset` of the run that `key` belongs to; otherwise the reason why it cannot be.
    pub fn decode(bytes: Box<[u8]>, key: &RunKey, offset: u64) -> Result<Self, &'static str> {
        let (checksum, body) = bytes.split_first_chunk::<CHECKSUM_BYTES>().ok_or("a page is cut short")?;
        if bytes.len() > RUN_PAGE_MAX_BYTES {
            return Err("a page is too long");
        }
        if key.checksum(offset, body) != *checksum && !planted(Bug::PageChecksum) {
            return Err("the checksum of a page does not match");
        }
        let (level, count, prefix_bytes) = header(body).ok_or("the header of a page is not one")?;
        let page = Page { bytes, level, count, prefix_bytes };
        if page.well_formed() { Ok(page) } else { Err("the directory of a page is not in order") }
    }

    /// 0 for a leaf, else the height above the leaves; [`BOUNDS_LEVEL`] for the page of bounds.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes that the page takes on the disk and, nearly, in memory.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Puts the key of entry `index` in place of what `key` holds. `index` is less than [`Page::len`].
    pub fn key_into(&self, index: usize, key: &mut Vec<u8>) {
        key.clear();
        key.extend_from_slice(self.prefix());
        key.extend_from_slice(self.entry(index).suffix);
    }

    /// The value of entry `index`, `None` for a tombstone. `index` is less than [`Page::len`].
    pub fn value(&self, index: usize) -> Option<&[u8]> {
        self.entry(index).value
    }

    /// The entry with exactly `key`: its index, or the index that it would have.
    pub fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let prefix = self.prefix();
        let head = &key[..key.len().min(prefix.len())];
        match prefix.cmp(head) {
            Ordering::Less => Err(self.count),
            Ordering::Greater => Err(0),
            Ordering::Equal => self.search_suffix(&key[prefix.len()..]),
        }
    }

    /// The last entry whose key is not greater than `key`: in an inner page, the child that may hold `key`.
    pub fn last_at_most(&self, key: &[u8]) -> Option<usize> {
        self.search(key).map_or_else(|after| after.checked_sub(1), Some)
    }

    fn search_suffix(&self, suffix: &[u8]) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            match self.entry(middle).suffix.cmp(suffix) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    fn prefix(&self) -> &[u8] {
        let start = PAGE_HEADER_BYTES + 2 * self.count;
        &self.bytes[start..start + self.prefix_bytes]
    }

    /// The bytes of all entries, from where the directory counts.
    fn entries(&self) -> &[u8] {
        &self.bytes[PAGE_HEADER_BYTES + 2 * self.count + self.prefix_bytes..]
    }

    fn directory(&self, index: usize) -> usize {
        let at = PAGE_HEADER_BYTES + 2 * index;
        usize::from(u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]]))
    }

    fn entry(&self, index: usize) -> Entry<'_> {
        let entries = self.entries();
        let end = if index + 1 < self.count { self.directory(index + 1) } else { entries.len() };
        Entry::of(&entries[self.directory(index)..end]).expect("a page is checked before it is searched")
    }

    /// Whether the directory begins at 0, ascends and stays inside, every entry is whole and the keys ascend.
    fn well_formed(&self) -> bool {
        if PAGE_HEADER_BYTES + 2 * self.count + self.prefix_bytes > self.bytes.len() {
            return false;
        }
        let entries = self.entries();
        let mut before: Option<&[u8]> = None;
        let mut end = 0;
        for index in 0..self.count {
            let start = end;
            end = if index + 1 < self.count { self.directory(index + 1) } else { entries.len() };
            let entry = entries.get(start..end).and_then(Entry::of);
            match entry {
                Some(entry) if before.is_none_or(|b| b < entry.suffix) => before = Some(entry.suffix),
                _ => return false,
            }
        }
        end == entries.len() && (self.count == 0 || self.directory(0) == 0)
    }
}

/// Level, number of entries and length of the common prefix, from everything behind the checksum.
fn header(body: &[u8]) -> Option<(u8, usize, usize)> {
    let mut fields = Fields::of(body);
    let magic: [u8; 2] = fields.array()?;
    let (level, reserved) = (fields.u8()?, fields.u8()?);
    let (count, prefix, payload) = (fields.u16()?, fields.u16()?, fields.u32()?);
    let whole = PAGE_HEADER_BYTES - CHECKSUM_BYTES + payload as usize == body.len();
    (magic == MAGIC && reserved == 0 && whole).then_some((level, count.into(), prefix.into()))
}

struct Entry<'a> {
    suffix: &'a [u8],
    value: Option<&'a [u8]>,
}

impl<'a> Entry<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let length = u16::from_le_bytes(*length);
        let (suffix, value) = rest.split_at_checked(usize::from(length & !TOMBSTONE))?;
        let live = length & TOMBSTONE == 0;
        (live || value.is_empty()).then_some(Entry { suffix, value: live.then_some(value) })
    }
}

/// Collects sorted entries until they are enough for a page.
pub struct PageBuilder {
    level: u8,
    /// Keys and values of all entries, one after the other.
    bytes: Vec<u8>,
    entries: Vec<Span>,
    prefix_bytes: usize,
}

/// Where an entry lies within [`PageBuilder::bytes`].
struct Span {
    key: usize,
    value: usize,
    end: usize,
    live: bool,
}

impl PageBuilder {
    /// An empty page of `level`.
    pub fn new(level: u8) -> Self {
        PageBuilder { level, bytes: Vec::new(), entries: Vec::new(), prefix_bytes: 0 }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The first key; `None` while there is none.
    pub fn first_key(&self) -> Option<&[u8]> {
        self.entries.first().map(|span| self.key(span))
    }

    /// The last key; `None` while there is none.
    pub fn last_key(&self) -> Option<&[u8]> {
        self.entries.last().map(|span| self.key(span))
    }

    /// Whether the page would stay within its target size with this entry. An inner page takes two whatever their
    /// size, so that every level has at most half as many pages as the one below.
    pub fn has_room(&self, key: &[u8], value: Option<&[u8]>) -> bool {
        self.is_sparse() || self.size_with(key, value, self.prefix_with(key)) <= RUN_PAGE_BYTES
    }

    fn is_sparse(&self) -> bool {
        self.len() < if self.level == 0 { 1 } else { 2 }
    }

    /// Adds an entry behind all others; refused with the reason when it is too long, or not behind them.
    pub fn push(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), &'static str> {
        if self.push_within(key, value, RUN_PAGE_MAX_BYTES)? { Ok(()) } else { Err("a page is full") }
    }

    /// As [`PageBuilder::push`], where [`PageBuilder::has_room`] for it; else `false`, and nothing was added.
    pub fn push_if_room(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<bool, &'static str> {
        if self.is_sparse() {
            return self.push(key, value).map(|()| true);
        }
        self.push_within(key, value, RUN_PAGE_BYTES)
    }

    fn push_within(&mut self, key: &[u8], value: Option<&[u8]>, most: usize) -> Result<bool, &'static str> {
        if key.len() > RUN_KEY_BYTES || value.is_some_and(|v| v.len() > RUN_VALUE_BYTES) {
            return Err("a key or value is too long for the index");
        }
        if self.last_key().is_some_and(|last| last >= key) {
            return Err("keys are not in ascending order");
        }
        let prefix_bytes = self.prefix_with(key);
        if self.size_with(key, value, prefix_bytes) > most {
            return Ok(false);
        }
        self.prefix_bytes = prefix_bytes;
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value.unwrap_or_default());
        let span = Span { key: start, value: start + key.len(), end: self.bytes.len(), live: value.is_some() };
        self.entries.push(span);
        Ok(true)
    }

    /// The bytes of the page at `offset` of the run that `key` belongs to; the builder is empty again.
    pub fn finish(&mut self, key: &RunKey, offset: u64) -> Vec<u8> {
        let mut page = vec![0; CHECKSUM_BYTES];
        page.extend(MAGIC);
        page.extend([self.level, 0]);
        page.extend(short(self.len()));
        page.extend(short(self.prefix_bytes));
        page.extend([0; 4]);
        self.payload_into(&mut page);
        let payload = (page.len() - PAGE_HEADER_BYTES) as u32;
        page[PAGE_HEADER_BYTES - 4..PAGE_HEADER_BYTES].copy_from_slice(&payload.to_le_bytes());
        let checksum = key.checksum::<CHECKSUM_BYTES>(offset, &page[CHECKSUM_BYTES..]);
        page[..CHECKSUM_BYTES].copy_from_slice(&checksum);
        self.clear();
        page
    }

    fn payload_into(&self, page: &mut Vec<u8>) {
        let mut start = 0;
        for span in &self.entries {
            page.extend(short(start));
            start += 2 + span.end - span.key - self.prefix_bytes;
        }
        page.extend_from_slice(&self.first_key().unwrap_or_default()[..self.prefix_bytes]);
        for span in &self.entries {
            let suffix = &self.bytes[span.key + self.prefix_bytes..span.value];
            let [low, high] = short(suffix.len());
            page.extend([low, high | if span.live { 0 } else { (TOMBSTONE >> 8) as u8 }]);
            page.extend_from_slice(suffix);
            page.extend_from_slice(&self.bytes[span.value..span.end]);
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.prefix_bytes = 0;
    }

    fn key(&self, span: &Span) -> &[u8] {
        &self.bytes[span.key..span.value]
    }

    fn prefix_with(&self, key: &[u8]) -> usize {
        match self.first_key() {
            None => key.len(),
            Some(first) => common_prefix(&first[..self.prefix_bytes], key),
        }
    }

    fn size_with(&self, key: &[u8], value: Option<&[u8]>, prefix: usize) -> usize {
        let count = self.len() + 1;
        let bytes = self.bytes.len() + key.len() + value.map_or(0, <[u8]>::len);
        PAGE_HEADER_BYTES + ENTRY_BYTES * count + bytes - count * prefix + prefix
    }
}

/// Length of what both begin with.
pub fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    let (one, other) = (&one[..one.len().min(other.len())], &other[..other.len().min(one.len())]);
    let (words, others) = (one.as_chunks::<8>().0, other.as_chunks::<8>().0);
    let same = words.iter().zip(others).take_while(|(a, b)| a == b).count() * 8;
    same + one[same..].iter().zip(&other[same..]).take_while(|(a, b)| a == b).count()
}

/// Everything within a page is counted in 16 bits, which `RUN_PAGE_MAX_BYTES` allows.
fn short(number: usize) -> [u8; 2] {
    (number as u16).to_le_bytes()
}

const _: () = assert!(RUN_PAGE_MAX_BYTES <= 1 << 15, "offsets and key lengths within a page have 15 bits");
const _: () = assert!(PAGE_HEADER_BYTES + ENTRY_BYTES + RUN_KEY_BYTES + RUN_VALUE_BYTES <= RUN_PAGE_MAX_BYTES);

#[cfg(test)]
mod tests {
    use super::super::run::RunId;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn key() -> RunKey {
        RunKey::of(RunId::from_bytes([7; 8]))
    }

    fn build(level: u8, entries: &BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> Vec<u8> {
        let mut builder = PageBuilder::new(level);
        for (k, v) in entries {
            let expected = builder.size_with(k, v.as_deref(), builder.prefix_with(k));
            builder.push(k, v.as_deref()).unwrap();
            let mut copy = PageBuilder::new(level);
            for span in &builder.entries {
                let value = span.live.then(|| &builder.bytes[span.value..span.end]);
                copy.push(builder.key(span), value).unwrap();
            }
            assert_eq!(copy.finish(&key(), 0).len(), expected);
        }
        builder.finish(&key(), 4096)
    }

    fn decode(bytes: &[u8]) -> Result<Page, &'static str> {
        Page::decode(bytes.into(), &key(), 4096)
    }

    /// Puts the right checksum on a page whose structure was tampered with.
    fn reseal(bytes: &mut [u8]) {
        let checksum = key().checksum::<CHECKSUM_BYTES>(4096, &bytes[CHECKSUM_BYTES..]);
        bytes[..CHECKSUM_BYTES].copy_from_slice(&checksum);
    }

    fn small() -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        let entry = |k: &str, v: Option<&str>| (k.as_bytes().to_vec(), v.map(|v| v.as_bytes().to_vec()));
        [entry("na/b", Some("1")), entry("na/c", None), entry("na/cd", Some("")), entry("na/e", Some("four"))].into()
    }

    #[test]
    fn every_flipped_bit_every_other_place_and_every_other_run_is_seen() {
        let bytes = build(0, &small());
        assert_eq!(decode(&bytes).unwrap().len(), 4);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bad).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err());
        }
        assert!(Page::decode(bytes.clone().into(), &key(), 8192).is_err());
        assert!(Page::decode(bytes.into(), &RunKey::of(RunId::from_bytes([8; 8])), 4096).is_err());
    }

    #[test]
    fn what_does_not_belong_in_a_page_is_refused() {
        let mut builder = PageBuilder::new(0);
        builder.push(b"b", Some(b"")).unwrap();
        assert!(builder.push(b"b", None).is_err());
        assert!(builder.push(b"a", None).is_err());
        assert!(builder.push(&[b'c'; RUN_KEY_BYTES + 1], None).is_err());
        assert!(builder.push(b"c", Some(&[0; RUN_VALUE_BYTES + 1])).is_err());
        builder.push(b"c", Some(&[0; RUN_VALUE_BYTES])).unwrap();
        assert!(builder.push(b"d", Some(&[0; RUN_VALUE_BYTES])).is_err());
    }

    #[test]
    fn one_entry_at_the_limits_makes_a_page() {
        let (longest_key, longest_value) = (vec![b'k'; RUN_KEY_BYTES], vec![b'v'; RUN_VALUE_BYTES]);
        let bytes = build(0, &[(longest_key.clone(), Some(longest_value.clone()))].into());
        let page = decode(&bytes).unwrap();
        assert_eq!(page.search(&longest_key), Ok(0));
        assert_eq!(page.value(0), Some(&*longest_value));
    }

    fn entries() -> impl Strategy<Value = BTreeMap<Vec<u8>, Option<Vec<u8>>>> {
        let key = proptest::collection::vec(0u8..4, 0..6);
        let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20));
        proptest::collection::btree_map(key, value, 0..40)
    }

    proptest! {
        #[test]
        fn a_page_answers_as_a_map(map in entries(), probes in proptest::collection::vec(proptest::collection::vec(0u8..5, 0..7), 20)) {
            let bytes = build(3, &map);
            let page = decode(&bytes).unwrap();
            prop_assert_eq!((page.level(), page.len(), page.size_bytes()), (3, map.len(), bytes.len()));
            for probe in probes.iter().chain(map.keys()) {
                let found = page.search(probe).ok().map(|i| page.value(i).map(<[u8]>::to_vec));
                prop_assert_eq!(found, map.get(probe).cloned());
                let mut at_most = Vec::new();
                let index = page.last_at_most(probe);
                if let Some(index) = index {
                    page.key_into(index, &mut at_most);
                }
                let expected = map.range(..=probe.clone()).next_back().map(|(k, _)| k.clone());
                prop_assert_eq!(index.map(|_| at_most), expected);
            }
        }

        #[test]
        fn any_bytes_are_decoded_without_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if bytes.len() >= CHECKSUM_BYTES {
                reseal(&mut bytes);
            }
            let _ = decode(&bytes);
        }

        /// The checksum guards against accidents; behind it, no structure may make a look-up panic either.
        #[test]
        fn a_tampered_page_is_refused_or_can_be_walked(at in 16usize..80, to in any::<u8>()) {
            let mut bytes = build(0, &small());
            let at = at.min(bytes.len() - 1);
            bytes[at] = to;
            reseal(&mut bytes);
            if let Ok(page) = decode(&bytes) {
                let mut key = Vec::new();
                for index in 0..page.len() {
                    page.key_into(index, &mut key);
                    prop_assert_eq!(page.search(&key), Ok(index));
                    let _ = page.value(index);
                }
            }
        }
    }
}
