//! Floors: the system calls that a piece of work cannot do without, and nothing else. Each says what it took as a line of
//! JSON.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use larder::vocabulary::limits::BATCH_FILES;
use larder_peers::log::SharedLog;
use larder_peers::{Words, cores, data, each, settle, tell, timed};

fn main() {
    // The words of other programs are not to be taken for options of this one.
    let all: Vec<String> = std::env::args().skip(1).collect();
    if all.first().is_some_and(|word| word == "spawn") {
        return spawn(all[1].parse().expect("a number"), &all[2..]);
    }
    let words = Words::read();
    let threads = words.option("threads", cores());
    match words.at(0) {
        "add" => add(&words.path(1), &words.path(2), threads, words.option("reading", 0) != 0),
        "read" => read(&words.path(1), threads),
        "write" => write(&words.path(1), &words.path(2), threads),
        "statx" => statx(&words.path(1), threads),
        "walk" => walk(&words.path(1)),
        "link" => link(&words.path(1), &words.path(2), threads),
        "collect" => collect(&words.path(1), &words.path(2)),
        "append" => {
            let option = |name| words.option(name, 0) != 0;
            append(&words.path(1), words.number(2), threads, option("together"), option("ahead"));
        }
        "nothing" => {}
        other => panic!("{other}: there is no such floor"),
    }
}

/// A file of the tree that is added: where it is, its length, its blob, and whether it is the first with these bytes.
struct Added {
    from: PathBuf,
    name: PathBuf,
    blob: PathBuf,
    staged: PathBuf,
    length: u64,
    first: bool,
}

/// Of every distinct file: made, written, linked and its staging name unlinked; of every file: a link; of every batch: one
/// sync of the filesystem, and one of a journal. What is distinct is known before. With `--reading 1` each file is read as
/// well, which adding cannot do without either; otherwise as many bytes come from memory.
fn add(tree: &Path, to: &Path, threads: usize, reading: bool) {
    let files = plan(tree, to);
    let noise = data::noise(1, 1 << 20);
    let mut journal = File::create(to.join("journal")).expect("room for it");
    let (took, ()) = timed(|| {
        for batch in files.chunks(BATCH_FILES) {
            let firsts: Vec<&Added> = batch.iter().filter(|file| file.first).collect();
            let others: Vec<&Added> = batch.iter().filter(|file| !file.first).collect();
            each(&firsts, threads, |file| make(file, &noise, reading));
            each(&others, threads, |file| drop(reading.then(|| fs::read(&file.from).expect("it can be read"))));
            settle(to);
            journal.write_all(&vec![1; 200 * batch.len()]).expect("room for it");
            journal.sync_data().expect("it can be synced");
            each(batch, threads, |file| fs::hard_link(&file.blob, &file.name).expect("a new name"));
            settle(to);
        }
    });
    tell(took, files.len());
}

fn plan(tree: &Path, to: &Path) -> Vec<Added> {
    for directory in ["staging", "names"] {
        fs::create_dir_all(to.join(directory)).expect("a directory");
    }
    (0..=255).for_each(|first| fs::create_dir_all(to.join(format!("blobs/{first:02x}"))).expect("a directory"));
    let mut seen = HashSet::new();
    let mut plan = Vec::new();
    for (i, from) in data::files(tree).into_iter().enumerate() {
        let name = to.join("names").join(from.strip_prefix(tree).expect("below it"));
        fs::create_dir_all(name.parent().expect("below it")).expect("a directory");
        let bytes = fs::read(&from).expect("it can be read");
        let id = blake3::hash(&bytes).to_hex();
        let blob = to.join("blobs").join(&id[..2]).join(&id[2..]);
        let staged = to.join("staging").join(i.to_string());
        plan.push(Added { name, blob, staged, length: bytes.len() as u64, first: seen.insert(id), from });
    }
    plan
}

fn make(file: &Added, noise: &[u8], reading: bool) {
    let mut staged = File::create_new(&file.staged).expect("a new file");
    if reading {
        staged.write_all(&fs::read(&file.from).expect("it can be read")).expect("room for it");
    } else {
        staged.write_all(&noise[..file.length as usize]).expect("room for it");
    }
    fs::hard_link(&file.staged, &file.blob).expect("a new blob");
    fs::remove_file(&file.staged).expect("it was just made");
}

/// Walks, and reads every file once.
fn read(tree: &Path, threads: usize) {
    let bytes = AtomicU64::new(0);
    let (took, count) = timed(|| {
        let files = data::files(tree);
        each(&files, threads, |path| {
            let mut file = File::open(path).expect("it can be read");
            let mut buffer = vec![0; 1 << 18];
            loop {
                match file.read(&mut buffer).expect("it can be read") {
                    0 => break,
                    some => bytes.fetch_add(some as u64, Ordering::Relaxed),
                };
            }
        });
        files.len()
    });
    assert!(bytes.into_inner() > 0);
    tell(took, count);
}

/// Bytes that are handed to the disk at a time, so that it never waits for the end.
const WINDOW: u64 = 8 << 20;

/// As many files of as many bytes as the tree has, durable, with the disk kept busy from the beginning.
fn write(tree: &Path, to: &Path, threads: usize) {
    let files: Vec<(usize, u64)> = lengths(tree).into_iter().enumerate().collect();
    fs::create_dir_all(to).expect("a directory");
    let noise = data::noise(1, 1 << 20);
    let (took, ()) = timed(|| {
        each(&files, threads, |(i, length)| {
            let file = File::create_new(to.join(i.to_string())).expect("a new file");
            let mut at = 0;
            while at < *length {
                let part = (length - at).min(noise.len() as u64);
                file.write_all_at(&noise[..part as usize], at).expect("room for it");
                at += part;
                if at.is_multiple_of(WINDOW) {
                    start_writing(&file, at - WINDOW);
                }
            }
            file.sync_all().expect("it can be synced");
        });
        File::open(to).expect("it is there").sync_all().expect("it can be synced");
    });
    tell(took, files.len());
}

fn start_writing(file: &File, from: u64) {
    // SAFETY: the descriptor is open for as long as the call takes.
    let done =
        unsafe { libc::sync_file_range(file.as_raw_fd(), from as i64, WINDOW as i64, libc::SYNC_FILE_RANGE_WRITE) };
    assert_eq!(done, 0, "sync_file_range");
}

fn lengths(tree: &Path) -> Vec<u64> {
    data::files(tree).iter().map(|path| fs::metadata(path).expect("it is there").len()).collect()
}

/// One `statx` for each file below a directory, whose paths are known.
fn statx(tree: &Path, threads: usize) {
    let files = data::files(tree);
    let bytes = AtomicU64::new(0);
    let (took, ()) = timed(|| {
        each(&files, threads, |path| {
            bytes.fetch_add(fs::symlink_metadata(path).expect("it is there").len(), Ordering::Relaxed);
        });
    });
    assert!(bytes.into_inner() > 0);
    tell(took, files.len());
}

/// Walks, and asks for what is known of each file.
fn walk(tree: &Path) {
    let (took, count) = timed(|| lengths(tree).len());
    tell(took, count);
}

/// A link to each file of a tree in a new one, on so many threads: one directory after another for each of them.
fn link(tree: &Path, to: &Path, threads: usize) {
    let (took, count) = timed(|| {
        let files = data::files(tree);
        let groups: Vec<&[PathBuf]> = files.chunk_by(|a, b| a.parent() == b.parent()).collect();
        each(&groups, threads, |group| {
            let below = group[0].parent().expect("below it").strip_prefix(tree).expect("below it");
            let below = to.join(below);
            fs::create_dir_all(&below).expect("a directory");
            for path in *group {
                fs::hard_link(path, below.join(path.file_name().expect("a name"))).expect("a new name");
            }
        });
        files.len()
    });
    tell(took, count);
}

/// Files of the lengths in a list, in 256 directories: a journal is synced, they are renamed into a trash, the filesystem is
/// synced, and they are unlinked.
fn collect(list: &Path, to: &Path) {
    let noise = data::noise(1, 1 << 20);
    fs::create_dir_all(to.join("trash")).expect("a directory");
    let list = fs::read_to_string(list).expect("a list");
    let lengths: Vec<u64> = list.lines().map(|line| line.parse().expect("a length")).collect();
    let blob = |i: usize| to.join(format!("blobs/{:02x}/{i}", i % 256));
    let trash = |i: usize| to.join(format!("trash/{i}"));
    (0..=255).for_each(|first| fs::create_dir_all(to.join(format!("blobs/{first:02x}"))).expect("a directory"));
    for (i, length) in lengths.iter().enumerate() {
        fs::write(blob(i), &noise[..*length as usize]).expect("room for it");
    }
    settle(to);
    let mut journal = File::create(to.join("journal")).expect("room for it");
    let (took, ()) = timed(|| {
        journal.write_all(&vec![1; 50 * lengths.len()]).expect("room for it");
        journal.sync_data().expect("it can be synced");
        (0..lengths.len()).for_each(|i| fs::rename(blob(i), trash(i)).expect("a rename"));
        settle(to);
        (0..lengths.len()).for_each(|i| fs::remove_file(trash(i)).expect("it is there"));
    });
    tell(took, lengths.len());
}

/// About what a frame with one name takes.
const RECORD: [u8; 256] = [0x5a; 256];

/// Appends records and syncs, each by itself or together with those that wait. `ahead`: to a file that has room for all of
/// them, so that it does not grow.
fn append(to: &Path, count: usize, threads: usize, together: bool, ahead: bool) {
    let rounds: Vec<usize> = (0..count).collect();
    let file = File::create(to).expect("room for it");
    if ahead {
        let length = i64::try_from(count * RECORD.len()).expect("a length");
        nix::fcntl::fallocate(&file, nix::fcntl::FallocateFlags::empty(), 0, length).expect("room for it");
        file.sync_all().expect("it can be synced");
    }
    let (took, ()) = if together {
        let log = SharedLog::new(file);
        timed(|| each(&rounds, threads, |_| log.append(&RECORD)))
    } else {
        let file = Mutex::new(file);
        timed(|| {
            each(&rounds, threads, |_| {
                let mut file = file.lock().expect("no thread panics");
                file.write_all(&RECORD).expect("room for it");
                file.sync_data().expect("it can be synced");
            });
        })
    };
    tell(took, count);
}

/// Starts two programs in turns, so often each, and says the time of every single start: `spawn COUNT A… + B…`.
fn spawn(count: usize, words: &[String]) {
    let sides: Vec<&[String]> = words.split(|word| word == "+").collect();
    let mut times = vec![Vec::new(); sides.len()];
    for _ in 0..count {
        for (side, times) in sides.iter().zip(&mut times) {
            let began = Instant::now();
            let status = Command::new(&side[0]).args(&side[1..]).stdout(Stdio::null()).status();
            times.push(began.elapsed().as_secs_f64());
            assert!(status.expect("the program is there").success(), "{side:?}");
        }
    }
    println!("{{\"seconds\": {:.9}, \"count\": {count}, \"times\": {times:?}}}", times[0].iter().sum::<f64>());
}
