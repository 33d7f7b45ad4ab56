//! A segment: its header, and the frames behind it, each of which verifies alone and only where it stands.
#![no_main]

use larder::format::frame::{FRAME_ALIGN, FRAME_HEADER_BYTES, Frame};
use larder::format::header::{HEADER_BYTES, Header};
use larder::format::record;
use larder::vocabulary::limits::FRAME_PAYLOAD_BYTES;
use larder_fuzz::{choice, flipped, put_sum, seal_header};
use libfuzzer_sys::fuzz_target;

/// More frames than this in one input only make it slow.
const MOST_FRAMES: usize = 16;

fuzz_target!(|bytes: &[u8]| {
    walk(&mut bytes.to_vec(), false);
    let mut sealed = bytes.to_vec();
    seal_header(&mut sealed);
    walk(&mut sealed, true);
});

/// Goes from frame to frame; `seal` puts the right checksum on each before it is read.
fn walk(segment: &mut [u8], seal: bool) {
    let Ok(header) = Header::decode(segment) else { return };
    let key = header.key();
    let mut at = HEADER_BYTES;
    for _ in 0..MOST_FRAMES {
        let Some(rest) = segment.get_mut(at..) else { return };
        let Ok(claim) = Frame::claim(rest) else {
            assert!(Frame::decode(rest, &key, at as u64).is_err(), "no frame without a claim");
            return;
        };
        assert!(claim.frame_bytes as u64 % FRAME_ALIGN == 0);
        assert!(claim.frame_bytes < FRAME_HEADER_BYTES + FRAME_PAYLOAD_BYTES + FRAME_ALIGN as usize);
        if seal {
            seal_frame(rest, claim.frame_bytes, &key, at as u64);
        }
        let Ok(end) = look(rest, claim.frame_bytes, &key, at as u64) else { return };
        at += end;
    }
}

fn seal_frame(rest: &mut [u8], length: usize, key: &[u8; 32], offset: u64) {
    let Some(frame) = rest.get_mut(..length) else { return };
    let sum = checksum(frame, key, offset);
    put_sum(frame, 80, &sum);
}

fn checksum(frame: &[u8], key: &[u8; 32], offset: u64) -> blake3::Hash {
    let mut covered = offset.to_le_bytes().to_vec();
    covered.extend_from_slice(&frame[..80]);
    covered.extend_from_slice(&frame[FRAME_HEADER_BYTES..]);
    blake3::keyed_hash(key, &covered)
}

/// Checks the frame at the beginning of `rest`; its length, if it is one.
fn look(rest: &[u8], claimed: usize, key: &[u8; 32], offset: u64) -> Result<usize, ()> {
    let Ok((frame, hash)) = Frame::decode(rest, key, offset) else { return Err(()) };
    let bytes = &rest[..claimed];
    assert_eq!(hash, *checksum(bytes, key, offset).as_bytes(), "the hash is the one that the format describes");
    let (encoded, encoded_hash) = frame.encode(key, offset);
    assert_eq!(encoded.len(), bytes.len());
    assert_eq!(Frame::decode(&encoded, key, offset), Ok((frame.clone(), encoded_hash)), "what is written is read");
    // Bytes 64 to 79 and the padding are reserved, and hashed as they are.
    let payload = FRAME_HEADER_BYTES + frame.payload.len();
    assert_eq!(bytes[..64], encoded[..64]);
    assert_eq!(bytes[FRAME_HEADER_BYTES..payload], encoded[FRAME_HEADER_BYTES..payload]);
    assert_eq!(bytes == encoded, hash == encoded_hash);

    let elsewhere = offset + FRAME_ALIGN;
    assert!(Frame::decode(rest, key, elsewhere).is_err(), "a frame is one only where it was written");
    let mut other_key = *key;
    other_key[choice(bytes) as usize % 32] ^= 1;
    assert!(Frame::decode(rest, &other_key, offset).is_err(), "and only in its segment");
    assert!(Frame::decode(&bytes[..claimed - 1], key, offset).is_err(), "and only whole");
    let other = flipped(bytes, choice(bytes)).expect("there are bytes");
    assert!(Frame::decode(&other, key, offset).is_err(), "a flipped bit is noticed");
    let _ = record::decode(&frame.payload);
    Ok(claimed)
}
