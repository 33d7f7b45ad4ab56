//! Files in a `cacache`: `cacache add TREE CACHE`, `cacache verify CACHE`, `cacache checkout CACHE DIR`, each with
//! `--threads N`.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use larder_peers::{Words, cores, data, each, tell, timed};

fn main() {
    let words = Words::read();
    let threads = words.option("threads", cores());
    match words.at(0) {
        "add" => add(&words.path(1), &words.path(2), threads),
        "verify" => verify(&words.path(1), threads),
        "checkout" => checkout(&words.path(1), &words.path(2), threads),
        other => panic!("{other}: not one of add, verify, checkout"),
    }
}

fn add(tree: &Path, cache: &Path, threads: usize) {
    let (took, count) = timed(|| {
        let files = data::files(tree);
        each(&files, threads, |file| {
            let key = file.strip_prefix(tree).expect("below it").to_str().expect("text");
            let mut writer = cacache::WriteOpts::new().open_sync(cache, key).expect("a writer");
            std::io::copy(&mut fs::File::open(file).expect("it can be read"), &mut writer).expect("room for it");
            writer.commit().expect("it is kept");
        });
        files.len()
    });
    tell(took, count);
}

/// Every entry of the index, and the distinct contents.
fn entries(cache: &Path) -> Vec<cacache::Metadata> {
    cacache::list_sync(cache).map(|entry| entry.expect("an entry")).collect()
}

fn verify(cache: &Path, threads: usize) {
    let bytes = AtomicUsize::new(0);
    let (took, count) = timed(|| {
        let mut contents: Vec<_> = entries(cache).into_iter().map(|entry| entry.integrity).collect();
        contents.sort_by_key(ToString::to_string);
        contents.dedup();
        each(&contents, threads, |content| {
            let read = cacache::read_hash_sync(cache, content).expect("it is as it should be");
            bytes.fetch_add(read.len(), Ordering::Relaxed);
        });
        contents.len()
    });
    assert!(bytes.into_inner() > 0);
    tell(took, count);
}

fn checkout(cache: &Path, to: &Path, threads: usize) {
    let (took, count) = timed(|| {
        let entries = entries(cache);
        each(&entries, threads, |entry| {
            let path = to.join(&entry.key);
            fs::create_dir_all(path.parent().expect("below it")).expect("a directory");
            cacache::hard_link_hash_unchecked_sync(cache, &entry.integrity, path).expect("a link");
        });
        entries.len()
    });
    tell(took, count);
}
