//! A run: its pages, its filter, its header and its footer, and the names of its file.
//!
//! An input is the run's identity (8 bytes), an offset (8 bytes), and what stands there. The same bytes are tried as
//! each part, and as a list of entries for a page in the making.
#![no_main]

use std::collections::BTreeMap;

use larder::format::filter::{self, BLOCK_BYTES, FilterBuilder, KeyHash};
use larder::format::page::{PAGE_HEADER_BYTES, Page, PageBuilder};
use larder::format::run::{
    CHECKSUM_BYTES, Footer, PageRef, RUN_FOOTER_BYTES, RunId, RunKey, check_header, encode_header,
};
use larder::vocabulary::limits::{RUN_KEY_BYTES, RUN_PAGE_MAX_BYTES, RUN_VALUE_BYTES};
use larder_fuzz::{choice, flipped, raw_and_sealed};
use libfuzzer_sys::fuzz_target;

type Entries = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

fuzz_target!(|bytes: &[u8]| {
    let Some((id, rest)) = bytes.split_first_chunk::<8>() else { return };
    let Some((offset, rest)) = rest.split_first_chunk::<8>() else { return };
    let id = RunId::from_bytes(*id);
    let key = RunKey::of(id);
    // A file has no bytes beyond this: offsets may be added up.
    let offset = u64::from_le_bytes(*offset) >> 1;

    let seal_page = |page: &mut [u8]| {
        if let Some((sum, body)) = page.split_first_chunk_mut::<CHECKSUM_BYTES>() {
            *sum = key.checksum(offset, body);
        }
    };
    raw_and_sealed(rest, seal_page, |bytes| page(bytes, &key, offset));
    let seal_footer = |footer: &mut [u8]| {
        if let Some((body, sum)) = footer.split_last_chunk_mut::<CHECKSUM_BYTES>() {
            *sum = key.checksum(offset, body);
        }
    };
    raw_and_sealed(rest, seal_footer, |bytes| footer(bytes, id, offset));
    let seal_block = |block: &mut [u8]| {
        if let Some((sum, bits)) = block.split_first_chunk_mut::<8>() {
            *sum = key.checksum(offset, bits);
        }
    };
    raw_and_sealed(rest, seal_block, |bytes| filter_block(bytes, &key, offset));
    header(rest, id);
    file_name(rest, id);
    page_ref(rest);
    built(rest, &key, offset);
});

fn page(bytes: &[u8], key: &RunKey, offset: u64) {
    let Ok(page) = Page::decode(bytes.into(), key, offset) else { return };
    assert!(bytes.len() <= RUN_PAGE_MAX_BYTES);
    assert_eq!(page.size_bytes(), bytes.len());
    let entries = entries_of(&page);
    searched(&page, &entries, bytes);
    let other = flipped(bytes, choice(bytes)).expect("there are bytes");
    assert!(Page::decode(other.into(), key, offset).is_err(), "a flipped bit is noticed");
    assert!(Page::decode(bytes.into(), key, offset ^ 1).is_err(), "a page is one only where it was written");

    let fits = |(k, v): (&Vec<u8>, &Option<Vec<u8>>)| {
        k.len() <= RUN_KEY_BYTES && v.as_ref().is_none_or(|v| v.len() <= RUN_VALUE_BYTES)
    };
    if entries.iter().all(fits) {
        let mut builder = PageBuilder::new(page.level());
        for (k, v) in &entries {
            builder.push(k, v.as_deref()).expect("what stands in a page fits one");
        }
        let written = builder.finish(key, offset);
        assert!(written.len() <= bytes.len(), "nothing is written longer than it was read");
        let again = Page::decode(written.into(), key, offset).expect("what is written is read");
        assert_eq!((again.level(), entries_of(&again)), (page.level(), entries));
    }
}

fn entries_of(page: &Page) -> Entries {
    let mut entries = Entries::new();
    let mut key = b"left over".to_vec();
    for index in 0..page.len() {
        page.key_into(index, &mut key);
        assert!(entries.last_key_value().is_none_or(|(last, _)| *last < key), "keys ascend");
        entries.insert(key.clone(), page.value(index).map(<[u8]>::to_vec));
    }
    assert_eq!(page.is_empty(), entries.is_empty());
    entries
}

/// Every key is found where it is, and others, made from the bytes at hand, where they would be.
fn searched(page: &Page, entries: &Entries, bytes: &[u8]) {
    let probes = bytes.chunks(7).take(64).map(<[u8]>::to_vec);
    let near = entries.keys().flat_map(|key| {
        let mut longer = key.clone();
        longer.push(0);
        [key.clone(), longer, key[..key.len().saturating_sub(1)].to_vec()]
    });
    for probe in probes.chain(near.take(300)).chain([Vec::new()]) {
        let smaller = entries.range(..probe.clone()).count();
        let expected = if entries.contains_key(&probe) { Ok(smaller) } else { Err(smaller) };
        assert_eq!(page.search(&probe), expected);
        let at_most = entries.range(..=probe.clone()).count().checked_sub(1);
        assert_eq!(page.last_at_most(&probe), at_most);
    }
}

fn footer(bytes: &[u8], id: RunId, offset: u64) {
    let Ok(footer) = Footer::decode(bytes, id, offset) else { return };
    assert_eq!(bytes.len(), RUN_FOOTER_BYTES);
    assert_eq!(footer.encode(id, offset), bytes, "there is one way to write it");
    assert!(footer.root.fits(offset) && footer.bounds.fits(offset));
    assert!(footer.filter_offset + footer.filter_blocks * BLOCK_BYTES as u64 <= offset);
    assert!(Footer::decode(bytes, id, offset ^ 1).is_err());
}

fn filter_block(bytes: &[u8], key: &RunKey, offset: u64) {
    let checked = filter::check_block(bytes, key, offset);
    let hash = KeyHash::of(bytes);
    for probes in [0, 1, 6, 64] {
        let may = filter::may_hold(bytes, key, offset, &hash, probes);
        assert_eq!(may.is_ok(), checked.is_ok());
        assert!(probes > 0 || may != Ok(false), "a filter that looks at no bit rules nothing out");
    }
    if checked.is_ok() {
        assert_eq!(bytes.len(), BLOCK_BYTES);
        let other = flipped(bytes, choice(bytes)).expect("there are bytes");
        assert!(filter::check_block(&other, key, offset).is_err(), "a flipped bit is noticed");
    }
}

fn header(bytes: &[u8], id: RunId) {
    assert_eq!(check_header(bytes, id).is_ok(), bytes == encode_header(id));
    check_header(&encode_header(id), id).expect("what is written is read");
}

fn file_name(bytes: &[u8], id: RunId) {
    assert_eq!(RunId::from_file_name(id.file_name().as_bytes()), Some(id));
    if let Some(named) = RunId::from_file_name(bytes) {
        assert_eq!(named.file_name().as_bytes(), bytes, "a run has one name");
    }
}

fn page_ref(bytes: &[u8]) {
    assert_eq!(PageRef::decode(bytes).is_some(), bytes.len() == 12);
    let Some(place) = bytes.get(..12).and_then(PageRef::decode) else { return };
    assert_eq!(place.encode(), bytes[..12]);
    let end = place.offset.saturating_add(place.length.into());
    assert_eq!(
        place.fits(end),
        place.length as usize <= RUN_PAGE_MAX_BYTES && end - place.offset == u64::from(place.length)
    );
    assert!(!place.fits(end.saturating_sub(1)) || place.offset == u64::MAX || end == 0);
}

/// Pages made of the entries that the bytes spell: a length, its top bit for a deletion, a key of that length, and
/// what is left of the byte behind it as the length of the value.
fn built(bytes: &[u8], key: &RunKey, offset: u64) {
    let entries = spelled(bytes);
    let mut filter = FilterBuilder::new(entries.len() as u64);
    let mut builder = PageBuilder::new(0);
    let mut page = Entries::new();
    for (k, v) in &entries {
        filter.insert(&KeyHash::of(k));
        if !builder.has_room(k, v.as_deref()) {
            finished(&mut builder, &std::mem::take(&mut page), key, offset);
        }
        builder.push(k, v.as_deref()).expect("a short entry fits a page with room");
        page.insert(k.clone(), v.clone());
    }
    finished(&mut builder, &page, key, offset);

    let (blocks, probes) = (filter.blocks(), filter.probes());
    let filter = filter.finish(key, offset);
    for k in entries.keys() {
        let hash = KeyHash::of(k);
        let at = hash.block(blocks) as usize * BLOCK_BYTES;
        let may = filter::may_hold(&filter[at..at + BLOCK_BYTES], key, offset + at as u64, &hash, probes);
        assert_eq!(may, Ok(true), "a filter never rules out what is there");
    }
}

fn spelled(mut bytes: &[u8]) -> Entries {
    let mut entries = Entries::new();
    while let [length, value, rest @ ..] = bytes {
        let (k, rest) = rest.split_at(rest.len().min(usize::from(length & 0x7f)));
        let (v, rest) = rest.split_at(rest.len().min(usize::from(*value)));
        let live = length & 0x80 == 0;
        entries.insert(k.to_vec(), live.then(|| v.to_vec()));
        bytes = if live { rest } else { &bytes[2 + k.len()..] };
    }
    entries
}

fn finished(builder: &mut PageBuilder, entries: &Entries, key: &RunKey, offset: u64) {
    assert_eq!(builder.len(), entries.len());
    assert_eq!(builder.first_key(), entries.first_key_value().map(|(k, _)| &k[..]));
    assert_eq!(builder.last_key(), entries.last_key_value().map(|(k, _)| &k[..]));
    let bytes = builder.finish(key, offset);
    assert!(builder.is_empty() && bytes.len() >= PAGE_HEADER_BYTES);
    let page = Page::decode(bytes.clone().into(), key, offset).expect("what is written is read");
    assert_eq!(entries_of(&page), *entries);
    searched(&page, entries, &bytes);
}
