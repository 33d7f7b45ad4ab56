//! Lines of manifests: whatever is read of one is written, and read as the same entry.
#![no_main]

use larder::format::manifest::{self, Line, parse_line};
use larder::work::import::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    Format::of(line);
    // A moment that no line says, so that the end of time is tried, too.
    let now_ns = larder_fuzz::choice(line);
    let Ok(Line::Entry(listed)) = parse_line(line, now_ns) else { return };
    listed.entry.check().expect("what is read can be put on record");
    assert_eq!(listed.places.len(), listed.entry.variants.len());
    let told = manifest::line(&listed.entry);
    assert!(!told.contains('\n'));
    match parse_line(told.as_bytes(), now_ns.wrapping_add(1)) {
        Ok(Line::Entry(again)) => assert_eq!((again.entry, again.whole), (listed.entry, true)),
        other => panic!("{other:?}: {told}"),
    }
});
