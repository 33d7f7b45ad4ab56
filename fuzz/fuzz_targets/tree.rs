//! The file of a tree.
#![no_main]

use larder::format::tree;
use larder_fuzz::{choice, flipped, raw_and_sealed};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| raw_and_sealed(bytes, seal, look));

fn seal(bytes: &mut [u8]) {
    if let Some(end) = bytes.len().checked_sub(16) {
        let sum = blake3::derive_key("larder tree v1", &bytes[..end]);
        bytes[end..].copy_from_slice(&sum[..16]);
    }
}

fn look(bytes: &[u8]) {
    let Ok((digest, read)) = tree::decode(bytes) else { return };
    assert_eq!(tree::encode(&digest, &read), bytes, "there is one way to write it");
    assert_eq!(tree::file_bytes(read.groups()), bytes.len() as u64);
    assert_eq!(read.range(read.groups() - 1).end, read.size_bytes());
    let _ = read.root();
    assert!(tree::decode(&bytes[..bytes.len() - 1]).is_err());
    let other = flipped(bytes, choice(bytes)).expect("there are bytes");
    assert!(tree::decode(&other).is_err(), "a flipped bit is noticed");
}
