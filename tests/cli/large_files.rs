//! Large sparse files: what is a hole goes in and out as a hole. The one test hashes several GiB, so it reads them all
//! in one place and measures itself against nothing but the disk.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};

use crate::outside::Place;

#[test]
fn eight_gibibytes_of_mostly_nothing() {
    let place = Place::with_store();
    let path = place.path("sparse");
    let file = fs::File::create(&path).unwrap();
    let size = 8 << 30;
    file.set_len(size).unwrap();
    for at in [0, 3 << 30, size - 5] {
        file.write_all_at(b"data!", at).unwrap();
    }
    drop(file);
    let allocated = |path: &std::path::Path| fs::metadata(path).unwrap().blocks() * 512;
    if allocated(&path) > 1 << 20 {
        return; // a filesystem without holes
    }
    place.json(&["add", "sparse"]).exits(0);
    let blob = place.store().join("names/sparse");
    assert_eq!(fs::metadata(&blob).unwrap().len(), size);
    assert!(allocated(&blob) < 1 << 20, "{} bytes allocated", allocated(&blob));
    place.json(&["get", "sparse", "out", "--mode", "copy"]).exits(0);
    let out = place.path("out");
    assert_eq!(fs::metadata(&out).unwrap().len(), size);
    assert!(allocated(&out) < 1 << 20, "{} bytes allocated", allocated(&out));
    let out = fs::File::open(out).unwrap();
    for at in [0, 3 << 30, size - 5] {
        let mut bytes = [0; 5];
        out.read_exact_at(&mut bytes, at).unwrap();
        assert_eq!(&bytes, b"data!");
    }
}
