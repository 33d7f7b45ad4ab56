//! Real filesystems, mounted for the purpose: what they cannot do, what they refuse, and where they are full.
//!
//! Mounting takes root. Each test mounts in a namespace of its own, which ends with its thread: nothing is left mounted,
//! however the test ends. Where mounting is not allowed, where a tool is missing or the kernel lacks a filesystem, the
//! test is skipped, and that is counted and printed; root skips nothing else.

mod outside;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use outside::{Place, Ran, digest, noise, root};
use serde_json::Value;
use tempfile::TempDir;

/// How many tests were skipped, in whole or in part.
static SKIPPED: AtomicUsize = AtomicUsize::new(0);

/// Tells that something is not tried here. Not by a macro, whose output is only shown of tests that fail.
fn skip(what: &str, why: &str) {
    let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    let text = format!("filesystems: skipped ({count} so far): {what}: {why}\n");
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

/// Runs a test in a thread that has its mounts to itself.
fn with_mounts(what: &'static str, test: impl FnOnce() + Send + 'static) {
    let run = move || match own_namespace() {
        Ok(()) => test(),
        Err(why) => skip(what, &why),
    };
    if let Err(panic) = std::thread::spawn(run).join() {
        std::panic::resume_unwind(panic);
    }
}

/// A namespace of mounts for this thread and the processes that it starts; why not, where that is not allowed.
fn own_namespace() -> Result<(), String> {
    if !root() {
        return Err("mounting takes root".to_owned());
    }
    // SAFETY: it takes a number only, and concerns this thread alone.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        let error = std::io::Error::last_os_error();
        assert!(!may_mount(), "root may mount, and cannot have a namespace of its own: {error}");
        return Err(format!("mounting is not allowed here ({error})"));
    }
    system("mount", &["--make-rprivate", "/"]).map(drop).expect("mounts become private");
    Ok(())
}

/// Whether this process has CAP_SYS_ADMIN, which root in a container need not have.
fn may_mount() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let digits = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("capabilities are told").trim();
    u64::from_str_radix(digits, 16).unwrap() >> 21 & 1 == 1
}

/// Runs a program of the system; its standard output, or what it had to say.
fn system<S: AsRef<OsStr>>(program: &str, words: &[S]) -> Result<String, String> {
    let path = "/usr/sbin:/usr/bin:/sbin:/bin";
    let ran = Command::new(program).args(words).env("PATH", path).output().map_err(|e| e.to_string())?;
    if ran.status.success() {
        return Ok(String::from_utf8_lossy(&ran.stdout).into_owned());
    }
    Err(String::from_utf8_lossy(&ran.stderr).into_owned())
}

/// A kind of filesystem, and what is known of it.
#[derive(Clone, Copy, Debug)]
struct Kind {
    name: &'static str,
    /// Options for the program that makes it.
    make: &'static [&'static str],
    /// Size of an ordinary one: what xfs and btrfs demand at least, since the files are sparse.
    mebibytes: u64,
    reflinks: bool,
    /// The package with the program that makes it.
    package: &'static str,
}

const EXT4: Kind = Kind { name: "ext4", make: &["-q", "-F"], mebibytes: 96, reflinks: false, package: "e2fsprogs" };
const EXT2: Kind = Kind { name: "ext2", make: &["-q", "-F"], mebibytes: 96, reflinks: false, package: "e2fsprogs" };
const XFS: Kind = Kind { name: "xfs", make: &["-q", "-f"], mebibytes: 320, reflinks: true, package: "xfsprogs" };
const BTRFS: Kind = Kind { name: "btrfs", make: &["-q", "-f"], mebibytes: 256, reflinks: true, package: "btrfs-progs" };
const TMPFS: Kind = Kind { name: "tmpfs", make: &[], mebibytes: 96, reflinks: false, package: "" };
const ALL: [Kind; 5] = [EXT4, EXT2, XFS, BTRFS, TMPFS];

/// A filesystem of its own, mounted until this goes.
struct Disk {
    kind: Kind,
    directory: TempDir,
    mount: PathBuf,
}

impl Disk {
    fn new(kind: Kind) -> Option<Disk> {
        Disk::with(kind, kind.mebibytes << 20, &[])
    }

    /// A filesystem of `bytes`; `more` goes to the program that makes it, or to the mount of a tmpfs. `None` where the
    /// means are missing, which has been told.
    fn with(kind: Kind, bytes: u64, more: &[&str]) -> Option<Disk> {
        let directory = tempfile::tempdir().unwrap();
        let (image, mount) = (directory.path().join("image"), directory.path().join("mount"));
        fs::create_dir(&mount).unwrap();
        if kind.name == "tmpfs" {
            let options = [&[format!("size={bytes}").as_str()], more].concat().join(",");
            let words = [OsStr::new("-t"), "tmpfs".as_ref(), "-o".as_ref(), options.as_ref(), "none".as_ref()];
            system("mount", &[&words[..], &[mount.as_os_str()]].concat()).expect("a tmpfs is mounted");
            return Some(Disk { kind, directory, mount });
        }
        fs::File::create(&image).unwrap().set_len(bytes).unwrap();
        let maker = format!("mkfs.{}", kind.name);
        let words: Vec<&OsStr> = kind.make.iter().chain(more).map(OsStr::new).chain([image.as_os_str()]).collect();
        match system(&maker, &words) {
            Err(why) if why.contains("No such file or directory") && system("which", &[&maker]).is_err() => {
                skip(kind.name, &format!("there is no {maker}; it comes with the package {}", kind.package));
                return None;
            }
            made => made.unwrap_or_else(|why| panic!("{maker}: {why}")),
        };
        match system("mount", &[OsStr::new("-o"), "loop".as_ref(), image.as_os_str(), mount.as_os_str()]) {
            Err(why) if why.contains("unknown filesystem type") => {
                skip(kind.name, "this kernel does not know it");
                return None;
            }
            mounted => mounted.unwrap_or_else(|why| panic!("{} cannot be mounted: {why}", kind.name)),
        };
        Some(Disk { kind, directory, mount })
    }

    fn remount(&self, option: &str) {
        let how = format!("remount,{option}");
        system("mount", &[OsStr::new("-o"), how.as_ref(), self.mount.as_os_str()]).expect("it is mounted otherwise");
    }

    /// Unmounts it, which writes everything out, and mounts it again.
    fn again(&self) {
        let image = self.directory.path().join("image");
        unmount(&self.mount);
        let words = [OsStr::new("-o"), "loop".as_ref(), image.as_os_str(), self.mount.as_os_str()];
        system("mount", &words).expect("it is mounted again");
    }

    /// A place on it.
    fn place(&self) -> Place {
        Place::inside(&self.mount)
    }

    fn free(&self) -> (u64, u64) {
        let room = nix::sys::statvfs::statvfs(&self.mount).unwrap();
        (room.blocks_available() * room.fragment_size(), room.files_available())
    }

    /// Takes every last byte, and gives back the files that it did that with.
    fn take_all_bytes(&self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        for (i, piece) in [64 << 10, 512].into_iter().enumerate() {
            let path = self.mount.join(format!("filler-{i}"));
            let Ok(mut file) = fs::File::create(&path) else { continue };
            paths.push(path);
            let piece = vec![7; piece];
            while file.write_all(&piece).and_then(|()| file.sync_data()).is_ok() {}
        }
        paths
    }

    fn take_all_inodes(&self) -> Vec<PathBuf> {
        let path = |i: usize| self.mount.join(format!("filler-{i}"));
        (0..).map(path).take_while(|path| fs::File::create(path).is_ok()).collect()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if system("umount", &[&self.mount]).is_err() {
            // A process that a failed test left behind may use it yet: it goes with the last of them.
            let _gone = system("umount", &[OsStr::new("-l"), self.mount.as_os_str()]);
        }
    }
}

/// Runs a test on each of `kinds` that can be had.
fn on(kinds: &[Kind], what: &'static str, test: impl Fn(&Disk) + Send + 'static) {
    let kinds = kinds.to_vec();
    with_mounts(what, move || kinds.into_iter().filter_map(Disk::new).for_each(|disk| test(&disk)));
}

/// A tree of `count` files with sizes of up to `most` bytes, and what it is to be in the store under `prefix`.
fn tree(place: &Place, prefix: &str, seed: u64, count: u64, most: usize) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for i in 0..count {
        let bytes = noise(seed * 1000 + i, (i as usize * 7919) % most + 1);
        let name = format!("{prefix}/{}/{i}", i % 5);
        names.insert(name.clone(), digest(&bytes));
        place.file(&name, bytes);
    }
    names
}

/// The names that were told as added, with their digests.
fn added(ran: &Ran) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    ran.events("added").iter().map(|line| (text(&line["name"]), text(&line["digest"]))).collect()
}

/// All the verbs, on each filesystem.
#[test]
fn the_whole_life_of_a_store() {
    on(&ALL, "the life of a store", |disk| {
        let place = disk.place();
        let mut names = tree(&place, "t", 1, 60, 40_000);
        assert_eq!(added(&place.json(&["add", "t"]).exits(0)), names, "{:?}", disk.kind);
        place.json(&["add", "t"]).exits(0);
        let made = place.json(&["checkout", "t", "out"]).exits(0).event("summary");
        assert_eq!(made["hardlinked"], 60);
        let got = place.json(&["get", "t/1/1", "got"]).exits(0).event("materialized");
        assert_eq!(got["mode"], if disk.kind.reflinks { "reflink" } else { "copy" }, "{:?}", disk.kind);
        place.json(&["mv", "t/1/1", "m"]).exits(0);
        place.json(&["link", "t/2/2", "l"]).exits(0);
        for (from, to) in [("t/1/1", "m"), ("t/2/2", "l")] {
            names.insert(to.to_owned(), names[from].clone());
        }
        names.remove("t/1/1");
        place.json(&["rm", "t/3", "t/4"]).exits(0);
        names.retain(|name, _| !name.starts_with("t/3/") && !name.starts_with("t/4/"));
        let inside = tree(&place, "moved", 2, 10, 9_000);
        let moved = place.json(&["add", "--move", "moved"]).exits(0);
        assert_eq!(added(&moved), inside);
        assert_eq!(outside::files(&place.path("moved")), Vec::<PathBuf>::new());
        names.extend(inside);
        for words in [&["compact"][..], &["rebuild"], &["gc", "--grace", "0s"], &["compact"], &["verify"]] {
            place.json(words).exits(0);
        }
        assert_eq!(place.names(), names, "{:?}", disk.kind);
        for name in names.keys() {
            let path = place.store().join("names").join(name);
            assert_eq!(digest(&fs::read(path).unwrap()), names[name], "{name} on {:?}", disk.kind);
        }
        place.sound();
    });
}

/// An inode of ext4 and ext2 has 65,000 names at most, one of btrfs 65,535 in one directory.
#[test]
fn links_run_out() {
    on(&[EXT4, EXT2, BTRFS], "as many links as there can be", |disk| {
        let place = disk.place();
        let bytes = noise(5, 30_000);
        place.file("one", &bytes);
        place.json(&["add", "one"]).exits(0);
        let blob = place.blob(&digest(&bytes));
        // btrfs counts in each directory, so the names are made where the next ones go.
        for directory in ["store/names/many", "out"] {
            fs::create_dir_all(place.path(directory)).unwrap();
            let link = |i: &u32| fs::hard_link(&blob, place.path(directory).join(format!("x{i:06}"))).is_ok();
            let made = (0..70_000u32).take_while(link).count();
            assert!(made == 0 || (64_000..66_000).contains(&made), "{made} links on {:?}", disk.kind);
        }
        let full = fs::metadata(&blob).unwrap().nlink();
        assert!(full >= 65_000, "{full} on {:?}", disk.kind);
        // One more name is kept all the same, and so is one more file with the same bytes.
        for (words, name) in
            [(["link", "one", "many/more"], "many/more"), (["add", "one", "--name=many/again"], "many/again")]
        {
            let code = place.json(&words).code;
            assert!([0, 3].contains(&code), "{words:?} ends with {code} on {:?}", disk.kind);
            assert_eq!(place.names()[name], digest(&bytes));
            assert_eq!(place.cat(name), bytes);
            // It is a file all the same: a link to one more inode of the blob.
            assert_eq!(fs::read(place.store().join("names").join(name)).unwrap(), bytes, "{name} on {:?}", disk.kind);
        }
        // A file outside is made some other way, and that is told.
        let made = place.json(&["checkout", "many", "out"]).exits(0);
        let summary = made.event("summary");
        assert_eq!((&summary["files"], &summary["failed"]), (&2.into(), &0.into()));
        assert_eq!(summary[if disk.kind.reflinks { "reflinked" } else { "copied" }], 2, "{}", made.text());
        assert!(made.text().contains("EMLINK"), "{}", made.text());
        assert_eq!(fs::read(place.path("out/more")).unwrap(), bytes);
        // So is one that was to be taken in.
        place.file("two", &bytes);
        place.json(&["add", "--move", "two", "--name", "many/two"]).exits(0);
        assert!(!place.path("two").exists());
        place.json(&["verify"]).exits(0);
        for directory in ["store/names/many", "out"] {
            outside::files(&place.path(directory))
                .iter()
                .filter(|path| path.file_name().unwrap().len() == 7)
                .for_each(|path| fs::remove_file(path).unwrap());
        }
        // With links to be had again, everything goes on.
        place.json(&["link", "one", "many/last"]).exits(0);
        assert_eq!(fs::read(place.store().join("names/many/last")).unwrap(), bytes);
        place.json(&["rm", "many", "one"]).exits(0);
        place.json(&["gc", "--grace", "0s", "--yes-most"]).exits(0);
        assert_eq!(outside::files(&place.store().join("sha256")), Vec::<PathBuf>::new());
        place.sound();
    });
}

/// No link leads through a bind mount, although the filesystem is the same.
#[test]
fn links_do_not_lead_through_a_bind_mount() {
    on(&[EXT4, XFS], "bind mounts", |disk| {
        let place = disk.place();
        let names = tree(&place, "tree", 3, 12, 50_000);
        let bound = place.path("bound");
        for directory in [&bound, &place.path("real")] {
            fs::create_dir(directory).unwrap();
        }
        system("mount", &[OsStr::new("--bind"), place.path("real").as_os_str(), bound.as_os_str()]).unwrap();
        for name in names.keys() {
            fs::create_dir_all(bound.join(name).parent().unwrap()).unwrap();
            fs::copy(place.path(name), bound.join(name)).unwrap();
        }
        let ran = place.json(&["add", "--move", "bound/tree"]).exits(0);
        assert_eq!(added(&ran), names);
        assert!(ran.text().contains("copied instead of linked"), "{}", ran.text());
        assert_eq!(outside::files(&bound), Vec::<PathBuf>::new(), "what was copied was moved all the same");
        let made = place.json(&["checkout", "tree", "bound/out"]).exits(0);
        let way = if disk.kind.reflinks { "reflinked" } else { "copied" };
        assert_eq!(made.event("summary")[way], 12, "{}", made.text());
        assert!(made.text().contains("EXDEV"), "{}", made.text());
        assert_eq!(place.json(&["checkout", "tree", "bound/out"]).exits(0).event("summary")["unchanged"], 12);
        // A file with other bytes stays, and nothing of an attempt to link is left beside it.
        fs::remove_file(place.path("bound/out/0/0")).unwrap();
        place.file("bound/out/0/0", "0");
        place.json(&["checkout", "tree", "bound/out"]).exits(3);
        assert_eq!(outside::files(&place.path("bound/out")).len(), 12);
        unmount(&bound);
        place.sound();
    });
}

/// Where there are reflinks, bytes are stored once however often they are copied.
#[test]
fn reflinks_share_what_they_copy() {
    on(&[XFS, BTRFS], "reflinks", |disk| {
        const SIZE: u64 = 24 << 20;
        let place = disk.place();
        place.file("big", noise(9, SIZE as usize));
        let free = || {
            system("sync", &[OsStr::new("-f"), disk.mount.as_os_str()]).unwrap();
            disk.free().0
        };
        // The store's own files take room, which is not what is looked for.
        place.json(&["init"]).exits(0);
        let before = free();
        place.json(&["add", "big"]).exits(0);
        let made = place.json(&["get", "big", "out"]).exits(0).event("materialized");
        assert_eq!(made["mode"], "reflink");
        place.json(&["checkout", ".", "dir", "--mode", "reflink"]).exits(0);
        let taken = before.saturating_sub(free());
        assert!(taken < SIZE / 4, "{taken} bytes for three files of {SIZE} with the same extents on {:?}", disk.kind);
        assert!(outside::same_bytes(&place.path("big"), &place.path("out")));
        // Writing to the one leaves the others as they are.
        fs::OpenOptions::new().write(true).open(place.path("out")).unwrap().write_all(b"changed").unwrap();
        fs::OpenOptions::new().write(true).open(place.path("big")).unwrap().write_all(b"changed").unwrap();
        assert!(outside::same_bytes(&place.path("dir/big"), &place.blob(&digest(&noise(9, SIZE as usize)))));
        place.sound();
    });
}

/// On a disk that is mounted for reading only the store can be read, and whatever would write says why it does not.
#[test]
fn a_disk_that_can_only_be_read() {
    on(&ALL, "a read-only mount", |disk| {
        let place = disk.place();
        let names = tree(&place, "tree", 4, 20, 30_000);
        place.json(&["add", "tree"]).exits(0);
        place.json(&["rm", "tree/0"]).exits(0);
        disk.remount("ro");
        let names: BTreeMap<_, _> = names.into_iter().filter(|(name, _)| !name.starts_with("tree/0/")).collect();
        assert_eq!(place.names(), names);
        let elsewhere = tempfile::tempdir().unwrap();
        let out = elsewhere.path().join("out");
        let made = place.json(&["checkout", "tree", out.to_str().unwrap()]).exits(0).event("summary");
        assert_eq!(made["files"], names.len());
        let first = names.keys().next().unwrap().as_str();
        for words in [
            &["verify"][..],
            &["stats"],
            &["show", first],
            &["why", first],
            &["path", first],
            &["gc", "--dry-run", "--grace", "0s"],
            &["rm", "--dry-run", first],
            &["debug", "frames"],
            &["debug", "runs"],
        ] {
            place.json(words).exits(0);
        }
        for words in [
            &["add", "tree"][..],
            &["rm", first],
            &["mv", first, "x"],
            &["link", first, "x"],
            &["pin", first],
            &["gc", "--grace", "0s"],
            &["compact"],
            &["rebuild"],
        ] {
            let error = place.json(words).exits(1).event("error");
            assert_eq!(error["kind"], "read_only", "{words:?} on {:?}: {error}", disk.kind);
        }
        disk.remount("rw");
        place.sound();
        assert_eq!(place.names(), names);
    });
}

/// Fills a store until nothing more fits; what is kept, and the answer to what did not fit.
fn fill(place: &Place, count: u64, most: usize) -> (BTreeMap<String, String>, Value) {
    let mut kept = BTreeMap::new();
    for round in 0..60 {
        let prefix = format!("p{round:02}");
        // The sources lie elsewhere.
        let sources = Place::new();
        tree(&sources, &prefix, 100 + round, count, most);
        let ran = place.json(&["add", sources.path(&prefix).to_str().unwrap()]);
        kept.extend(added(&ran));
        if ran.code != 0 {
            let error = ran.exits(1).event("error");
            return (kept, error);
        }
    }
    panic!("it never gets full");
}

/// The disk is full: that is said, what is kept is whole, and removing and collecting make room.
fn full(disk: &Disk, take_all: impl Fn(&Disk) -> Vec<PathBuf>, count: u64, most: usize) {
    let kind = disk.kind;
    let place = disk.place();
    place.json(&["init"]).exits(0);
    let (kept, error) = fill(&place, count, most);
    assert_eq!(error["kind"], "no_space", "{kind:?}: {error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("No space left") && message.contains(" free"), "{kind:?}: {message}");
    assert!(!kept.is_empty(), "{kind:?}");
    assert_eq!(place.names(), kept, "{kind:?}: all that was told is there, and nothing else");
    assert_eq!(place.staged(), Vec::<PathBuf>::new(), "{kind:?}");
    place.json(&["verify"]).exits(0);
    let fillers = take_all(disk);
    assert_eq!(place.names(), kept);
    // What goes needs no room, not even when nothing at all is left.
    let reserve = fs::metadata(place.store().join("reserve")).unwrap().blocks() * 512;
    let ran = place.json(&["rm", "p00"]);
    assert_eq!(ran.code, 0, "{kind:?}, {reserve} bytes in reserve: {}", ran.text());
    let rest: BTreeMap<_, _> = kept.into_iter().filter(|(name, _)| !name.starts_with("p00/")).collect();
    assert_eq!(place.names(), rest, "{kind:?}");
    let (bytes, inodes) = disk.free();
    let ran = place.json(&["gc", "--grace", "0s", "--yes-most"]);
    assert_eq!(ran.code, 0, "{kind:?}: {}", ran.text());
    assert_eq!(ran.event("summary")["removed_blobs"], count, "{kind:?}");
    let (bytes_now, inodes_now) = disk.free();
    assert!(bytes_now > bytes || inodes_now > inodes, "{kind:?}: nothing was freed");
    place.json(&["verify"]).exits(0);
    fillers.iter().for_each(|path| fs::remove_file(path).unwrap());
    // With room again, everything goes on.
    let again = tree(&place, "again", 900, 5, 3000);
    assert_eq!(added(&place.json(&["add", "again"]).exits(0)), again, "{kind:?}");
    place.sound();
    if kind.name != "tmpfs" {
        disk.again();
    }
    let names: BTreeMap<_, _> = rest.into_iter().chain(again).collect();
    assert_eq!(place.names(), names, "{kind:?}");
    place.json(&["verify"]).exits(0);
}

#[test]
fn a_disk_with_no_byte_left() {
    with_mounts("a disk with no byte left", || {
        let small = [(EXT4, 24), (EXT2, 24), (TMPFS, 16), (TMPFS, 40), (BTRFS, 128), (XFS, 320)];
        for (kind, mebibytes) in small {
            // What xfs and btrfs demand is much; it is filled with less work.
            let most = if mebibytes > 100 { 2_000_000 } else { 90_000 };
            if let Some(disk) = Disk::with(kind, mebibytes << 20, &[]) {
                full(&disk, Disk::take_all_bytes, 40, most);
            }
        }
    });
}

#[test]
fn a_disk_with_no_inode_left() {
    with_mounts("a disk with no inode left", || {
        for (kind, more) in [(EXT4, &["-N", "600"][..]), (EXT2, &["-N", "600"]), (TMPFS, &["nr_inodes=600"])] {
            if let Some(disk) = Disk::with(kind, 48 << 20, more) {
                full(&disk, Disk::take_all_inodes, 40, 3_000);
            }
        }
    });
}

/// A store that does not fit is not made, and is made once there is room.
#[test]
fn too_small_for_a_store() {
    with_mounts("a disk that is too small", || {
        let mut made = 0;
        for kibibytes in (256..=6400).step_by(512) {
            let disk = Disk::with(TMPFS, kibibytes << 10, &[]).unwrap();
            let place = disk.place();
            let ran = place.json(&["init"]);
            if ran.code == 0 {
                made += 1;
            } else {
                assert_eq!(ran.exits(1).event("error")["kind"], "no_space", "{kibibytes} KiB");
                place.json(&["ls"]).exits(1);
                disk.remount("size=16m");
                place.json(&["init"]).exits(0);
            }
            let source = Place::new();
            source.file("a", "bytes");
            let ran = place.json(&["add", source.path("a").to_str().unwrap()]);
            assert!([0, 1].contains(&ran.code), "{}", ran.text());
            assert_eq!(place.names(), added(&ran));
            place.sound();
        }
        assert!((1..12).contains(&made), "{made}");
    });
}

/// A disk whose writes fail: an image on a filesystem that is full has nowhere to put them, and every sync says so.
#[test]
fn a_disk_whose_syncs_fail() {
    with_mounts("a disk whose syncs fail", || {
        for kind in [EXT4, XFS, BTRFS] {
            syncs_fail(kind);
        }
    });
}

fn syncs_fail(kind: Kind) {
    let below = Disk::with(TMPFS, 1 << 30, &[]).unwrap();
    let image = below.mount.join("image");
    fs::File::create(&image).unwrap().set_len(512 << 20).unwrap();
    let words: Vec<&OsStr> = kind.make.iter().map(OsStr::new).chain([image.as_os_str()]).collect();
    if system(&format!("mkfs.{}", kind.name), &words).is_err() {
        return skip(kind.name, &format!("it cannot be made; its program comes with the package {}", kind.package));
    }
    let directory = tempfile::tempdir().unwrap();
    let mount = directory.path().to_owned();
    let on = || {
        system("mount", &[OsStr::new("-o"), "loop".as_ref(), image.as_os_str(), mount.as_os_str()])
            .unwrap_or_else(|why| panic!("{}: {why}", kind.name));
    };
    on();
    let place = Place::inside(&mount);
    place.json(&["init"]).exits(0);
    system("sync", &[OsStr::new("-f"), mount.as_os_str()]).unwrap();
    let used = fs::metadata(&image).unwrap().blocks() * 512;
    // Room for some more, and then no more.
    below.remount(&format!("size={}", used + (9 << 20)));
    let mut kept = BTreeMap::new();
    let mut failed = 0;
    for round in 0..40 {
        let sources = Place::new();
        let prefix = format!("p{round:02}");
        tree(&sources, &prefix, 500 + round, 12, 90_000);
        let ran = place.json(&["add", sources.path(&prefix).to_str().unwrap()]);
        kept.extend(added(&ran));
        if ran.code != 0 {
            assert!([1, 3].contains(&ran.code), "{}: {}", kind.name, ran.text());
            failed += 1;
            if failed == 3 {
                break;
            }
        }
    }
    assert_eq!(failed, 3, "{}: its syncs never failed", kind.name);
    assert!(!kept.is_empty(), "{}: nothing was ever kept", kind.name);
    let store = place.store();
    // The disk is mended: everything that was ever told is on it.
    unmount(&mount);
    below.remount("size=1g");
    on();
    let names = place.names();
    for (name, digest) in &kept {
        assert_eq!(names.get(name), Some(digest), "{name} was told on {}", kind.name);
    }
    assert!(Path::new(&store).exists());
    place.json(&["verify"]).exits(0);
    let again = tree(&place, "again", 900, 5, 3000);
    assert_eq!(added(&place.json(&["add", "again"]).exits(0)), again, "{}", kind.name);
    place.sound();
    drop(place);
    unmount(&mount);
}

/// Unmounts. A child that another thread is just starting has everything open that this process has, until it executes
/// its program; then the disk is busy for that moment.
fn unmount(mount: &Path) {
    let mut outcome = Ok(String::new());
    for _ in 0..1000 {
        outcome = system("umount", &[mount]);
        match &outcome {
            Err(why) if why.contains("busy") => {}
            _ => break,
        }
    }
    outcome.unwrap_or_else(|why| panic!("{}: {why}", mount.display()));
}
