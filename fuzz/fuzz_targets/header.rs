//! The header of a segment: what is read is what was written, and any other bit is noticed.
#![no_main]

use larder::format::header::{HEADER_BYTES, Header};
use larder_fuzz::{choice, flipped, raw_and_sealed, seal_header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| raw_and_sealed(bytes, seal_header, look));

fn look(bytes: &[u8]) {
    let Ok(header) = Header::decode(bytes) else { return };
    let encoded = header.encode();
    assert_eq!(Header::decode(&encoded), Ok(header.clone()), "what is written is read");
    assert_eq!(header.key(), Header::decode(&encoded).expect("just read").key());
    // Bytes 9 to 15 and 96 to 143 are reserved: a reader does not look at them.
    assert_eq!(bytes[..9], encoded[..9]);
    assert_eq!(bytes[16..96], encoded[16..96]);
    let bytes = &bytes[..HEADER_BYTES];
    assert!(Header::decode(&bytes[..HEADER_BYTES - 1]).is_err());
    let other = flipped(bytes, choice(bytes)).expect("there are bytes");
    assert!(Header::decode(&other).is_err(), "a flipped bit is noticed");
}
