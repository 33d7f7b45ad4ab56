//! Large blobs from outside: damage is told to the MiB, mended by moving that MiB, and never comes out of `cat`.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use crate::outside::{Place, digest, noise};
use serde_json::{Value, json};

const MIB: usize = 1 << 20;
const SIZE: usize = 64 * MIB;

/// Changes bytes of a file in place; its times stay as they were.
fn flip(path: &Path, positions: &[usize]) {
    let before = fs::metadata(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    for at in positions {
        let mut byte = [0];
        file.read_exact_at(&mut byte, *at as u64).unwrap();
        file.write_all_at(&[byte[0] ^ 0x40], *at as u64).unwrap();
    }
    file.set_modified(before.modified().unwrap()).unwrap();
    fs::set_permissions(path, before.permissions()).unwrap();
}

fn mib(at: usize) -> Value {
    json!({"start": at / MIB * MIB, "end": (at / MIB + 1) * MIB})
}

fn tree(place: &Place, id: &str) -> std::path::PathBuf {
    let hex = id.strip_prefix("sha256:").unwrap();
    place.store().join("trees").join(&hex[..2]).join(&hex[2..])
}

#[test]
fn a_flipped_byte_is_found_and_mended_by_moving_its_mib() {
    let place = Place::new();
    let bytes = noise(1, SIZE);
    let (source, id) = (place.file("big", &bytes), digest(&bytes));
    place.json(&["add", "big"]).exits(0);
    assert_eq!(fs::metadata(tree(&place, &id)).unwrap().len(), 68 + 32 * 64);
    let mut at = 12_345;
    for round in 0..12 {
        at = (at * 48_271 + 7 * round) % SIZE;
        let at = [0, SIZE - 1, MIB - 1].get(round).copied().unwrap_or(at);
        flip(&place.blob(&id), &[at]);
        let found = place.json(&["verify", "big"]).exits(3).event("verified");
        assert_eq!((&found["status"], &found["ranges"]), (&json!("corrupt"), &json!([mib(at)])), "byte {at}");
        assert_eq!(found["wrong_bytes"], MIB);
        let told = place.json(&["repair", "big"]).exits(0).event("repair");
        assert_eq!((&told["status"], &told["ranges"]), (&json!("repaired"), &json!([mib(at)])), "byte {at}");
        // The source first; later, what an earlier repair has put into quarantine is as good for this MiB.
        if round == 0 {
            let source = source.canonicalize().unwrap();
            assert_eq!(told["taken"][1], json!({"origin": "source", "path": source, "bytes": MIB}));
        }
        assert_eq!(told["taken"][1]["bytes"], MIB);
        assert_eq!(told["taken"][0]["bytes"], SIZE - MIB);
        assert!(fs::read(place.blob(&id)).unwrap() == bytes, "byte {at}");
    }
    place.json(&["verify"]).exits(0);
    let words = {
        flip(&place.blob(&id), &[5 * MIB, 9 * MIB]);
        place.larder(&["repair", "big"]).exits(0)
    };
    let text = words.text();
    assert!(text.contains("wrong: bytes 5242880 to 6291456, 9437184 to 10485760"), "{text}");
    assert!(text.contains("2097152 bytes of "), "{text}");
    place.sound();
}

#[test]
fn parts_come_out_right_or_not_at_all() {
    let place = Place::new();
    let bytes = noise(2, 6 * MIB + 5);
    place.file("big", &bytes);
    place.file("small", "0123456789");
    place.json(&["add", "big", "small"]).exits(0);
    let id = digest(&bytes);
    let part = |args: &[&str]| place.larder(&[&["cat", "big"], args].concat());
    let all = [&["--offset", "0"][..], &["--length", "99999999"]];
    all.iter().for_each(|args| assert!(part(args).exits(0).out == bytes));
    let edge = part(&["--offset", "1048570", "--length", "20"]).exits(0);
    assert_eq!(edge.out, &bytes[1_048_570..1_048_590]);
    assert_eq!(part(&["--offset", &bytes.len().to_string()]).exits(0).out, b"");
    assert_eq!(part(&["--length", "0"]).exits(0).out, b"");
    part(&["--offset", &(bytes.len() + 1).to_string()]).exits(2);
    part(&["--offset", "x"]).exits(2);
    assert_eq!(place.larder(&["cat", "small", "--offset", "3", "--length", "4"]).exits(0).out, b"3456");
    flip(&place.blob(&id), &[3 * MIB + 17]);
    assert_eq!(part(&["--offset", "2097152", "--length", "1048576"]).exits(0).out, &bytes[2 * MIB..3 * MIB]);
    let wrong = part(&["--offset", "3145728", "--length", "5"]).exits(3);
    assert_eq!(wrong.out, b"");
    // Without a tree the whole is proved, and it is not right.
    fs::remove_file(tree(&place, &id)).unwrap();
    assert_eq!(part(&["--offset", "0", "--length", "5"]).exits(3).out, b"");
    flip(&place.blob(&id), &[3 * MIB + 17]);
    assert_eq!(part(&["--offset", "0", "--length", "5"]).exits(0).out, &bytes[..5]);
    assert!(tree(&place, &id).exists(), "and it has its tree back");
}
