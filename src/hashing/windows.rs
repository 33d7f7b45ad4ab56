//! One file read by all cores, window by window: BLAKE3, its tree, and where a file is not what its tree says.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use blake3::hazmat::ChainingValue;

use super::file::{check, hash_zeros, read_range};
use super::sealed::Stopped;
use super::tree::{Tree, TreeHasher, groups_in, value_of};
use super::{Absorb, Workers};
use crate::machine::File;
use crate::vocabulary::limits::{MAP_WINDOW_BYTES, TREE_GROUP_BYTES, TREE_WINDOWS};
use crate::vocabulary::{Blake3, ByteRanges, Damage};

/// Whether to go on, asked between pieces by any thread, with the bytes that it has done since.
pub type GoOn<'a> = &'a (dyn Fn(u64) -> bool + Sync);

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// By mapped windows where that is safe: only sealed files that the store owns.
    Sealed,
    /// By reading: any file.
    Plain,
}

/// What all cores made of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grown {
    /// BLAKE3 of the whole.
    pub blake3: Blake3,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Its tree, if it was to be kept and there is more than one group.
    pub tree: Option<Tree>,
}

/// BLAKE3 of a file by all cores, with its tree if `keep`. Holes are not read. Memory is bounded by the number of windows
/// in flight and, for the tree, by 32 bytes for each MiB. `passed` is told each range, by any thread and in any order, once it
/// was read and is mapped no more.
pub fn grow(
    file: &dyn File,
    how: Reading,
    workers: &Workers,
    keep: bool,
    go_on: GoOn<'_>,
    passed: &(dyn Fn(Range<u64>) + Sync),
) -> Result<Grown, Stopped> {
    let size_bytes = file.meta().map_err(|error| Stopped { offset: 0, error })?.size_bytes;
    let mut hasher = TreeHasher::new(keep);
    let groups = groups_in(size_bytes);
    if groups <= 1 {
        let mut whole = Whole(hasher);
        let mut at = 0;
        read_window(file, how, 0..size_bytes, &mut whole, &mut at, go_on)
            .map_err(|error| Stopped { offset: at, error })?;
        passed(0..size_bytes);
        let (blake3, tree) = whole.0.finish();
        return Ok(Grown { blake3, size_bytes, tree });
    }
    let mut last = None;
    let look = |range: Range<u64>, stop: &AtomicBool| {
        let found = values(file, how, range.clone(), stop, go_on);
        passed(range);
        found
    };
    each_window(size_bytes, workers, &look, &mut |_, found| {
        for value in found? {
            last.replace(value).into_iter().for_each(|before| hasher.push(before));
        }
        Ok(())
    })?;
    let (blake3, tree) = hasher.finish_with(last.expect("there are two groups"), size_bytes);
    Ok(Grown { blake3, size_bytes, tree })
}

/// How finely the place of a read error is told, in bytes: the sector of most disks.
const SECTOR_BYTES: u64 = 4096;

/// Reads all of `size_bytes` of a file and says where it is wrong: against its tree, if there is one, and where it cannot be
/// read. An error only where it could not be looked at, or was told to stop.
pub fn locate(
    file: &dyn File,
    how: Reading,
    size_bytes: u64,
    tree: Option<&Tree>,
    workers: &Workers,
    go_on: GoOn<'_>,
) -> Result<Damage, Stopped> {
    let there = file.meta().map_err(|error| Stopped { offset: 0, error })?.size_bytes;
    let tree = tree.filter(|tree| tree.size_bytes() == size_bytes);
    let (mut wrong, mut unreadable) = (Vec::new(), Vec::new());
    let look = |range: Range<u64>, stop: &AtomicBool| match values(file, how, range.clone(), stop, go_on) {
        Ok(found) if range.end <= there => Ok(Damage {
            wrong: tree.map_or_else(ByteRanges::default, |tree| tree.wrong(range.start / GROUP, &found)),
            unreadable: ByteRanges::default(),
        }),
        Err(Stopped { error, offset }) if error.kind() == io::ErrorKind::Interrupted => Err(Stopped { error, offset }),
        _ => one_by_one(file, range, tree),
    };
    each_window(size_bytes, workers, &look, &mut |_, located: Result<Damage, Stopped>| {
        let located = located?;
        wrong.extend_from_slice(located.wrong.all());
        unreadable.extend_from_slice(located.unreadable.all());
        Ok(())
    })?;
    Ok(Damage { wrong: ByteRanges::of(wrong), unreadable: ByteRanges::of(unreadable) })
}

const GROUP: u64 = TREE_GROUP_BYTES as u64;

/// The groups of a window where something is amiss, each read by itself.
fn one_by_one(file: &dyn File, range: Range<u64>, tree: Option<&Tree>) -> Result<Damage, Stopped> {
    let (mut wrong, mut unreadable) = (Vec::new(), Vec::new());
    let mut buffer = vec![0; TREE_GROUP_BYTES];
    for start in range.clone().step_by(TREE_GROUP_BYTES) {
        let group = start..range.end.min(start + GROUP);
        let piece = &mut buffer[..(group.end - group.start) as usize];
        match file.read_at(piece, start) {
            Ok(read) if tree.is_some_and(|tree| !tree.holds(start / GROUP, &piece[..read])) => wrong.push(group),
            Ok(read) if read < piece.len() => wrong.push(start + read as u64..group.end),
            Ok(_) => {}
            Err(_) => unreadable.extend(sectors(file, group, piece)),
        }
    }
    Ok(Damage { wrong: ByteRanges::of(wrong), unreadable: ByteRanges::of(unreadable) })
}

/// The sectors of a group that cannot be read; all of it, where each can by now.
fn sectors(file: &dyn File, group: Range<u64>, buffer: &mut [u8]) -> Vec<Range<u64>> {
    let mut bad = Vec::new();
    for start in group.clone().step_by(SECTOR_BYTES as usize) {
        let sector = start..group.end.min(start + SECTOR_BYTES);
        if file.read_at(&mut buffer[..(sector.end - sector.start) as usize], start).is_err() {
            bad.push(sector);
        }
    }
    if bad.is_empty() { vec![group] } else { bad }
}

/// What is done with one window, which others may want stopped.
type Work<'a, R> = dyn Fn(Range<u64>, &AtomicBool) -> Result<R, Stopped> + Sync + 'a;

/// Has every window worked on, several at once, and what came of each told in order. What `told` makes an error ends it.
fn each_window<R: Send>(
    size_bytes: u64,
    workers: &Workers,
    work: &Work<'_, R>,
    told: &mut dyn FnMut(Range<u64>, Result<R, Stopped>) -> Result<(), Stopped>,
) -> Result<(), Stopped> {
    let stop = AtomicBool::new(false);
    let window = MAP_WINDOW_BYTES as u64;
    let windows = size_bytes.div_ceil(window);
    for first in (0..windows).step_by(TREE_WINDOWS as usize) {
        let some: Vec<u64> = (first..windows.min(first + TREE_WINDOWS)).collect();
        let done = workers.map(some, |nth| {
            let range = nth * window..size_bytes.min((nth + 1) * window);
            let result = if stop.load(Relaxed) { Err(told_to_stop(range.start)) } else { work(range.clone(), &stop) };
            if result.is_err() {
                stop.store(true, Relaxed);
            }
            (range, result)
        });
        // What stopped the others is the error, and not that they were stopped.
        let own = |(_, result): &(_, Result<R, Stopped>)| matches!(result, Err(stopped) if stopped.error.kind() != io::ErrorKind::Interrupted);
        let cause = done.iter().position(own);
        for (nth, (range, result)) in done.into_iter().enumerate() {
            if cause.is_none_or(|cause| nth == cause || result.is_ok()) {
                told(range, result)?;
            }
        }
    }
    Ok(())
}

fn told_to_stop(offset: u64) -> Stopped {
    Stopped { offset, error: io::ErrorKind::Interrupted.into() }
}

/// The chaining values of the groups of a range that begins at one and ends at one or with the file.
fn values(
    file: &dyn File,
    how: Reading,
    range: Range<u64>,
    stop: &AtomicBool,
    go_on: GoOn<'_>,
) -> Result<Vec<ChainingValue>, Stopped> {
    let mut groups = Groups::new(range.start / GROUP);
    let mut at = range.start;
    let go_on = |bytes| go_on(bytes) && !stop.load(Relaxed);
    match read_window(file, how, range, &mut groups, &mut at, &go_on) {
        Ok(()) => Ok(groups.finish()),
        Err(error) => Err(Stopped { offset: at, error }),
    }
}

/// A whole small file.
struct Whole(TreeHasher);

impl Absorb for Whole {
    fn absorb(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

/// The values of groups of which the first is not that of the file.
struct Groups {
    next: u64,
    /// A group of which there are only some bytes yet.
    part: Vec<u8>,
    values: Vec<ChainingValue>,
}

impl Groups {
    fn new(first: u64) -> Self {
        Groups { next: first, part: Vec::new(), values: Vec::new() }
    }

    fn take(&mut self, group: &[u8]) {
        self.values.push(value_of(self.next, group));
        self.next += 1;
    }

    fn finish(mut self) -> Vec<ChainingValue> {
        let part = std::mem::take(&mut self.part);
        if !part.is_empty() {
            self.take(&part);
        }
        self.values
    }
}

impl Absorb for Groups {
    fn absorb(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(TREE_GROUP_BYTES - self.part.len()));
            bytes = later;
            match self.part.is_empty() && now.len() == TREE_GROUP_BYTES {
                true => self.take(now),
                false => {
                    self.part.extend_from_slice(now);
                    if self.part.len() == TREE_GROUP_BYTES {
                        let part = std::mem::take(&mut self.part);
                        self.take(&part);
                    }
                }
            }
        }
    }
}

/// Shows a range of the file to `to`, holes as the zeros that they are; `at` is how far it has come.
fn read_window(
    file: &dyn File,
    how: Reading,
    range: Range<u64>,
    to: &mut dyn Absorb,
    at: &mut u64,
    go_on: &dyn Fn(u64) -> bool,
) -> io::Result<()> {
    *at = range.start;
    if how == Reading::Plain {
        return read_range(file, range, to, go_on, &mut |piece, offset| {
            *at = offset + piece.len() as u64;
            Ok(())
        });
    }
    while *at < range.end {
        let (start, end) = file.next_data(*at)?.unwrap_or((range.end, range.end));
        let (start, end) = (start.min(range.end), end.min(range.end));
        hash_zeros(to, start - *at, go_on)?;
        *at = start;
        file.windows(start, end - start, &mut |window| {
            to.absorb(window);
            *at += window.len() as u64;
            check(go_on, window.len() as u64)
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tree::tests::{bytes, lengths};
    use super::*;
    use crate::machine::simulated::World;
    use crate::machine::{Machine, Open, Real};
    use std::path::Path;
    use std::sync::atomic::AtomicU64;

    const HOWS: [Reading; 2] = [Reading::Sealed, Reading::Plain];
    const EIO: i32 = 5;

    fn opened(world: &World) -> Box<dyn File> {
        world.process("test").open(Path::new("/file"), Open::Read).unwrap()
    }

    fn tree_of(bytes: &[u8]) -> Tree {
        let mut hasher = TreeHasher::default();
        hasher.update(bytes);
        hasher.finish().1.unwrap()
    }

    #[test]
    fn all_cores_make_the_same_hash_and_tree_as_one() {
        let world = World::new(1);
        let window = MAP_WINDOW_BYTES;
        let more = [window - 1, window, window + 1, 2 * window, 3 * window + 12_345];
        for length in lengths().into_iter().chain(more) {
            let bytes = bytes(length);
            world.put("/file", &bytes);
            let mut hasher = TreeHasher::default();
            hasher.update(&bytes);
            let (blake3, tree) = hasher.finish();
            for (how, jobs) in [(HOWS[0], 1), (HOWS[0], 3), (HOWS[1], 3)] {
                let (told, passed) = (AtomicU64::new(0), std::sync::Mutex::new(Vec::new()));
                let go_on = |bytes| told.fetch_add(bytes, Relaxed) < u64::MAX;
                let workers = Workers::new(jobs).unwrap();
                let tell = |range: Range<u64>| passed.lock().unwrap().push((range.start, range.end));
                let grown = grow(opened(&world).as_ref(), how, &workers, true, &go_on, &tell).unwrap();
                let mut passed = passed.into_inner().unwrap();
                passed.sort_unstable();
                let end = passed.iter().try_fold(0, |at, (start, end)| (*start == at).then_some(*end));
                assert_eq!(end, Some(length as u64), "{passed:?}");
                assert_eq!(grown.blake3.as_bytes(), blake3::hash(&bytes).as_bytes(), "{length} bytes, {how:?}");
                assert_eq!((grown.blake3, &grown.tree, grown.size_bytes), (blake3, &tree, length as u64));
                assert_eq!(told.into_inner(), length as u64);
                let alone = grow(opened(&world).as_ref(), how, &Workers::new(jobs).unwrap(), false, &|_| true, &|_| ())
                    .unwrap();
                assert_eq!((alone.blake3, alone.tree), (blake3, None));
            }
        }
    }

    #[test]
    fn a_mapped_file_with_holes_is_what_it_reads_as() {
        crate::machine::real::install_guard();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let file = Real::new().open(&path, Open::CreateNew { mode: 0o600 }).unwrap();
        let size = 3 * MAP_WINDOW_BYTES + 100_001;
        for (at, length) in [(5 << 20, 3 << 20), ((9 << 20) + 17, 4097), (2 * MAP_WINDOW_BYTES, 1 << 20)] {
            file.write_at(&bytes(length), at as u64).unwrap();
        }
        file.set_len(size as u64).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for how in HOWS {
            let grown = grow(file.as_ref(), how, &Workers::new(2).unwrap(), true, &|_| true, &|_| ()).unwrap();
            assert_eq!(grown.blake3.as_bytes(), blake3::hash(&whole).as_bytes());
            assert_eq!(grown.tree, Some(tree_of(&whole)));
        }
    }

    #[test]
    fn it_stops_when_told_to_and_says_what_stopped_it() {
        let world = World::new(1);
        world.put("/file", &bytes(3 * MAP_WINDOW_BYTES));
        for jobs in [1, 2] {
            let workers = Workers::new(jobs).unwrap();
            for how in HOWS {
                let asked = AtomicU64::new(0);
                let stopped =
                    grow(opened(&world).as_ref(), how, &workers, true, &|_| asked.fetch_add(1, Relaxed) < 2, &|_| ());
                assert_eq!(stopped.unwrap_err().error.kind(), io::ErrorKind::Interrupted);
            }
        }
        world.bad_sector("/file", MAP_WINDOW_BYTES as u64 + 4096..MAP_WINDOW_BYTES as u64 + 4097);
        for how in HOWS {
            let stopped =
                grow(opened(&world).as_ref(), how, &Workers::new(3).unwrap(), true, &|_| true, &|_| ()).unwrap_err();
            assert_eq!((stopped.error.raw_os_error(), stopped.offset), (Some(EIO), MAP_WINDOW_BYTES as u64));
        }
    }

    #[test]
    fn what_is_wrong_short_or_unreadable_is_located() {
        const MIB: u64 = 1 << 20;
        let size = 20 * MIB + 77;
        let good = bytes(size as usize);
        let tree = tree_of(&good);
        let workers = Workers::new(2).unwrap();
        for how in HOWS {
            let world = World::new(1);
            let located = |how| locate(opened(&world).as_ref(), how, size, Some(&tree), &workers, &|_| true).unwrap();
            world.put("/file", &good);
            assert_eq!(located(how), Damage::default());
            for at in [3 * MIB, 4 * MIB + 5, 9 * MIB, 20 * MIB + 76] {
                world.corrupt("/file", at);
            }
            let wrong = [3 * MIB..5 * MIB, 9 * MIB..10 * MIB, 20 * MIB..size];
            assert_eq!((located(how).wrong.all(), located(how).unreadable.is_empty()), (&wrong[..], true));
            world.bad_sector("/file", 12 * MIB + 5000..12 * MIB + 5001);
            assert_eq!(located(how).wrong.all(), wrong);
            assert_eq!(located(how).unreadable.all(), [12 * MIB + 4096..12 * MIB + 8192]);
            let blind = locate(opened(&world).as_ref(), how, size, None, &workers, &|_| true).unwrap();
            assert_eq!((blind.wrong.is_empty(), blind.unreadable.bytes()), (true, 4096));
            world.put("/file", &good[..(17 * MIB + 9) as usize]);
            assert_eq!(located(how).wrong.all(), [17 * MIB..size]);
            world.put("/file", &[&good[..], &[1]].concat());
            assert!(located(how).wrong.is_empty());
        }
    }
}
