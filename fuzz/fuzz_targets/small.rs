//! The small files: a hint in `lock`, a session's file, a checkpoint, and `larder.toml`.
#![no_main]

use larder::format::checkpoint::Checkpoint;
use larder::format::hint::{self, HINT_BYTES};
use larder::format::session::SessionFile;
use larder::format::settings::Settings;
use larder_fuzz::{choice, flipped, put_sum, raw_and_sealed};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    raw_and_sealed(bytes, seal_hint, look_at_hint);
    raw_and_sealed(bytes, seal_session, look_at_session);
    raw_and_sealed(bytes, seal_checkpoint, look_at_checkpoint);
    if let Ok(text) = std::str::from_utf8(bytes) {
        look_at_settings(text);
    }
});

fn seal_hint(bytes: &mut [u8]) {
    if let Some(number) = bytes.get(..8) {
        let sum = blake3::hash(number);
        put_sum(bytes, 8, &sum);
    }
}

fn look_at_hint(bytes: &[u8]) {
    let Ok(sequence) = hint::decode(bytes) else { return };
    let encoded = hint::encode(sequence);
    assert_eq!(hint::decode(&encoded), Ok(sequence));
    assert_eq!(bytes[..24], encoded[..24]);
    assert!(hint::decode(&bytes[..HINT_BYTES - 1]).is_err());
    let other = flipped(&bytes[..24], choice(bytes)).expect("there are bytes");
    assert!(hint::decode(&[&other[..], &[0; 8]].concat()).is_err(), "a flipped bit is noticed");
}

fn seal_session(bytes: &mut [u8]) {
    let Some(count) = bytes.get(17..21) else { return };
    let count = u32::from_le_bytes(count.try_into().expect("four bytes")) as usize;
    let end = count.saturating_mul(32).saturating_add(21);
    if let Some(covered) = bytes.get(..end) {
        let sum = blake3::hash(covered);
        put_sum(bytes, end, &sum);
    }
}

fn look_at_session(bytes: &[u8]) {
    let Ok(session) = SessionFile::decode(bytes) else { return };
    let encoded = session.encode();
    assert_eq!(SessionFile::decode(&encoded).as_ref(), Ok(&session), "what is written is read");
    assert!(bytes.starts_with(&encoded), "there is one way to write it");
    assert!(session.held.len() * 32 < bytes.len(), "memory is that of the file");
    assert!(SessionFile::decode(&encoded[..encoded.len() - 1]).is_err());
    let other = flipped(&encoded, choice(bytes)).expect("there are bytes");
    assert!(SessionFile::decode(&other).is_err(), "a flipped bit is noticed");
}

fn seal_checkpoint(bytes: &mut [u8]) {
    if let Some(end) = bytes.len().checked_sub(16) {
        let sum = blake3::hash(&bytes[..end]);
        put_sum(bytes, end, &sum);
    }
}

fn look_at_checkpoint(bytes: &[u8]) {
    let Ok(checkpoint) = Checkpoint::decode(bytes) else { return };
    let encoded = checkpoint.encode();
    assert_eq!(bytes, encoded, "there is one way to write it");
    assert!(Checkpoint::decode(&encoded[..encoded.len() - 1]).is_err());
    let other = flipped(&encoded, choice(bytes)).expect("there are bytes");
    assert!(Checkpoint::decode(&other).is_err(), "a flipped bit is noticed");
}

fn look_at_settings(text: &str) {
    let Ok(settings) = Settings::from_toml(text) else { return };
    assert_eq!(Settings::from_toml(&settings.to_toml()).as_ref(), Ok(&settings), "what is written is read");
    let id = settings.id().expect("settings have an id");
    assert_eq!(format!("{:032x}", u128::from_be_bytes(id)), settings.store_id);
    for mode in [&settings.blob_mode, &settings.directory_mode] {
        assert!(settings.mode(mode).expect("settings have modes") <= 0o7777);
    }
}
