//! `index/CURRENT`: one value has one encoding, and no other bytes are read as it.
#![no_main]

use std::collections::HashSet;

use larder::format::current::{CURRENT_BYTES, Current};
use larder::vocabulary::limits::RUNS_NAMED;
use larder_fuzz::{choice, flipped, raw_and_sealed};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| raw_and_sealed(bytes, seal, look));

fn seal(bytes: &mut [u8]) {
    let Some(end) = bytes.len().checked_sub(16) else { return };
    let sum = blake3::derive_key("larder 2026 index CURRENT v1", &bytes[..end]);
    bytes[end..].copy_from_slice(&sum[..16]);
}

fn look(bytes: &[u8]) {
    let Ok((_, current)) = Current::decode_any(bytes) else { return };
    assert!(bytes.len() <= CURRENT_BYTES);
    assert!(current.runs.len() <= RUNS_NAMED);
    let ids: HashSet<_> = current.runs.iter().map(|run| run.id).collect();
    assert_eq!(ids.len(), current.runs.len(), "no run is named twice");
    if Current::decode(bytes) != Ok(None) {
        assert_eq!(current.encode().as_deref(), Ok(bytes), "there is one way to write it");
    }
    let other = flipped(bytes, choice(bytes)).expect("there are bytes");
    assert!(Current::decode(&other).is_err(), "a flipped bit is noticed");
}
