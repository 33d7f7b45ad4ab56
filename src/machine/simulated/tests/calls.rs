//! The calls as Linux answers them.

use std::time::Duration;

use super::*;

#[test]
fn bytes_are_read_back() {
    let (_world, p) = start();
    let file = write(&p, "/a", b"hello");
    file.write_at(b"xyz", 10_000).unwrap();
    let mut buffer = [9; 8];
    assert_eq!(file.read_at(&mut buffer, 9_998).unwrap(), 5);
    assert_eq!(&buffer[..5], b"\0\0xyz");
    assert_eq!(file.read_at(&mut buffer, 10_003).unwrap(), 0);
    file.set_len(2).unwrap();
    file.set_len(8).unwrap();
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 8);
    assert_eq!(&buffer, b"he\0\0\0\0\0\0");
}

#[test]
fn a_hole_of_a_tebibyte_costs_nothing() {
    let (world, p) = start();
    let file = write(&p, "/a", b"x");
    file.set_len(1 << 40).unwrap();
    file.write_at(b"end", (1 << 40) - 3).unwrap();
    let meta = file.meta().unwrap();
    assert_eq!((meta.size_bytes, meta.allocated_bytes), (1 << 40, 8192));
    assert_eq!(file.next_data(0).unwrap(), Some((0, 4096)));
    assert_eq!(file.next_data(4096).unwrap(), Some(((1 << 40) - 4096, 1 << 40)));
    assert_eq!(file.next_data(1 << 40).unwrap(), None);
    assert_eq!(world.snapshot().fingerprint(), world.fingerprint());
}

#[test]
fn allocated_blocks_are_counted_and_read_as_zeros() {
    let (_world, p) = start();
    let file = write(&p, "/a", b"x");
    file.allocate(10_000).unwrap();
    let meta = file.meta().unwrap();
    assert_eq!((meta.size_bytes, meta.allocated_bytes), (10_000, 12_288));
    assert_eq!(file.next_data(1).unwrap(), Some((1, 4096)));
    assert_eq!(file.next_data(4096).unwrap(), None);
}

#[test]
fn windows_show_all_of_a_range_and_report_a_short_file() {
    let (_world, p) = start();
    let file = write(&p, "/a", b"0123456789");
    let mut seen = Vec::new();
    file.windows(2, 5, &mut |window| {
        seen.extend_from_slice(window);
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, b"23456");
    let error = file.windows(8, 5, &mut |_| Ok(())).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[test]
fn opening_as_linux_does() {
    let (world, p) = start();
    world.put("/d/a", b"x");
    world.put_symlink("a", "/d/link");
    world.put_fifo("/fifo");
    let new = Open::CreateNew { mode: 0o640 };
    assert_eq!(errno_of(p.open(at("/none"), Open::Read)), errno::ENOENT);
    assert_eq!(errno_of(p.open(at("/none/x"), new)), errno::ENOENT);
    assert_eq!(errno_of(p.open(at("/d/a/x"), Open::Read)), errno::ENOTDIR);
    assert_eq!(errno_of(p.open(at("/d/a"), new)), errno::EEXIST);
    assert_eq!(errno_of(p.open(at("/d/link"), new)), errno::EEXIST);
    assert_eq!(errno_of(p.open(at("/d/link"), Open::Read)), errno::ELOOP);
    assert_eq!(errno_of(p.open(at("/d"), Open::ReadWrite)), errno::EISDIR);
    assert_eq!(errno_of(p.open(at("/d/a"), Open::Directory)), errno::ENOTDIR);
    assert_eq!(errno_of(p.open(&at("/").join("n".repeat(256)), new)), errno::ENAMETOOLONG);
    assert!(p.open(at("/fifo"), Open::Read).is_ok());
    assert_eq!(errno_of(p.open(at("/d"), Open::Read).unwrap().read_at(&mut [0], 0)), errno::EISDIR);
    assert_eq!(p.open(at("/d/new"), new).unwrap().meta().unwrap().mode, 0o640);
    assert_ne!(errno_of(p.open(at("/d/a"), Open::Read).unwrap().write_at(b"y", 0)), 0);
}

#[test]
fn symbolic_links_are_followed_on_the_way() {
    let (world, p) = start();
    world.put("/real/dir/a", b"x");
    world.put_symlink("/real", "/abs");
    world.put_symlink("../abs/dir", "/real/rel");
    world.put_symlink("loop", "/loop");
    assert_eq!(p.canonical(at("/abs/rel/a")).unwrap(), at("/real/dir/a"));
    assert_eq!(p.canonical(at("/abs/dir/../rel")).unwrap(), at("/real/dir"));
    assert_eq!(errno_of(p.stat(at("/loop"))), errno::ELOOP);
    assert_eq!(p.stat(at("/abs")).unwrap().kind, FileKind::Directory);
    assert_eq!(p.lstat(at("/abs")).unwrap().kind, FileKind::Symlink);
    assert_eq!(p.read_link(at("/abs")).unwrap(), at("/real"));
    assert_eq!(errno_of(p.read_link(at("/real"))), errno::EINVAL);
    assert_eq!(p.list(at("/abs")).unwrap().len(), 2);
    p.symlink(at("nowhere"), at("/dangling")).unwrap();
    assert_eq!(errno_of(p.stat(at("/dangling"))), errno::ENOENT);
    assert_eq!(p.canonical(at("real/dir")).unwrap(), at("/real/dir"));
}

#[test]
fn links_and_their_limits() {
    let (world, p) = start();
    world.put("/a", b"x");
    world.put_dir("/d");
    world.configure(|options| options.link_limit = 2);
    p.link(at("/a"), at("/b")).unwrap();
    assert_eq!(p.lstat(at("/a")).unwrap().links, 2);
    assert_eq!(p.lstat(at("/a")).unwrap().inode, p.lstat(at("/b")).unwrap().inode);
    assert_eq!(errno_of(p.link(at("/a"), at("/b"))), errno::EEXIST);
    assert_eq!(errno_of(p.link(at("/a"), at("/c"))), errno::EMLINK);
    assert_eq!(errno_of(p.link(at("/d"), at("/c"))), errno::EPERM);
    world.configure(|options| (options.link_limit, options.links) = (9, false));
    assert_eq!(errno_of(p.link(at("/a"), at("/c"))), errno::EPERM);
}

#[test]
fn other_mounts_and_bind_mounts() {
    let (world, p) = start();
    world.put("/a", b"x");
    world.put_dir("/other");
    world.put_dir("/bind");
    world.configure(|options| {
        options.mounts = vec![Mount { at: "/other".into(), device: 2 }, Mount { at: "/bind".into(), device: 1 }];
    });
    for to in ["/other/a", "/bind/a"] {
        assert_eq!(errno_of(p.link(at("/a"), at(to))), errno::EXDEV);
        assert_eq!(errno_of(p.rename(at("/a"), at(to))), errno::EXDEV);
    }
    write(&p, "/other/x", b"");
    assert_eq!(p.lstat(at("/other/x")).unwrap().device, 2);
    assert_eq!(p.lstat(at("/bind")).unwrap().device, p.lstat(at("/a")).unwrap().device);
}

#[test]
fn renaming_as_linux_does() {
    let (world, p) = start();
    world.put("/a", b"1");
    world.put("/b", b"2");
    world.put("/d/x", b"3");
    world.put_dir("/e");
    assert_eq!(errno_of(p.rename_new(at("/a"), at("/b"))), errno::EEXIST);
    assert_eq!(errno_of(p.rename(at("/a"), at("/d"))), errno::EISDIR);
    assert_eq!(errno_of(p.rename(at("/d"), at("/a"))), errno::ENOTDIR);
    assert_eq!(errno_of(p.rename(at("/e"), at("/d"))), errno::ENOTEMPTY);
    assert_eq!(errno_of(p.rename(at("/d"), at("/d/y"))), errno::EINVAL);
    assert_eq!(errno_of(p.exchange(at("/a"), at("/none"))), errno::ENOENT);
    p.exchange(at("/a"), at("/b")).unwrap();
    assert_eq!((world.read("/a").unwrap(), world.read("/b").unwrap()), (b"2".to_vec(), b"1".to_vec()));
    p.rename(at("/d"), at("/e")).unwrap();
    assert_eq!(world.read("/e/x").unwrap(), b"3");
    p.rename_new(at("/a"), at("/c")).unwrap();
    p.rename(at("/c"), at("/b")).unwrap();
    assert_eq!(world.read("/b").unwrap(), b"2");
    p.link(at("/b"), at("/same")).unwrap();
    p.rename(at("/b"), at("/same")).unwrap();
    assert!(world.look("/b").is_some(), "a rename between two names of one file does nothing");
}

#[test]
fn removing_as_linux_does() {
    let (world, p) = start();
    world.put("/d/a", b"x");
    assert_eq!(errno_of(p.unlink(at("/d"))), errno::EISDIR);
    assert_eq!(errno_of(p.remove_dir(at("/d"))), errno::ENOTEMPTY);
    assert_eq!(errno_of(p.remove_dir(at("/d/a"))), errno::ENOTDIR);
    let file = p.open(at("/d/a"), Open::Read).unwrap();
    p.unlink(at("/d/a")).unwrap();
    let mut byte = [0];
    assert_eq!(file.read_at(&mut byte, 0).unwrap(), 1);
    assert_eq!(file.meta().unwrap().links, 0);
    p.remove_dir(at("/d")).unwrap();
    assert!(world.tree().is_empty());
}

#[test]
fn a_removed_directory_takes_no_names() {
    let (world, p) = start();
    world.put_dir("/d");
    let _open = directory(&p, "/d");
    p.remove_dir(at("/d")).unwrap();
    assert_eq!(errno_of(p.create_dir(at("/d/x"), 0o755)), errno::ENOENT);
}

#[test]
fn inode_numbers_come_back_at_once_unless_told_otherwise() {
    let (world, p) = start();
    let number = write(&p, "/a", b"").meta().unwrap().inode;
    p.unlink(at("/a")).unwrap();
    let file = write(&p, "/b", b"");
    assert_eq!(file.meta().unwrap().inode, number);
    p.unlink(at("/b")).unwrap();
    assert_ne!(write(&p, "/c", b"").meta().unwrap().inode, number, "still open");
    drop(file);
    world.configure(|options| options.reuse_inodes = false);
    assert_ne!(write(&p, "/d", b"").meta().unwrap().inode, number);
}

#[test]
fn locks_belong_to_open_files() {
    let (world, p) = start();
    world.put("/lock", b"");
    let open = || p.open(at("/lock"), Open::Read).unwrap();
    let (one, other) = (open(), open());
    assert!(one.try_lock(Lock::Shared).unwrap() && other.try_lock(Lock::Shared).unwrap());
    assert!(!one.try_lock(Lock::Exclusive).unwrap());
    other.unlock().unwrap();
    assert!(other.try_lock(Lock::Exclusive).unwrap(), "a failed conversion has lost the shared lock");
    assert!(!one.try_lock(Lock::Shared).unwrap());
    p.rename(at("/lock"), at("/moved")).unwrap();
    world.put("/lock", b"");
    assert!(open().try_lock(Lock::Exclusive).unwrap(), "another inode");
    let moved = p.open(at("/moved"), Open::Read).unwrap();
    assert!(!moved.try_lock(Lock::Exclusive).unwrap());
    drop(other);
    assert!(moved.try_lock(Lock::Exclusive).unwrap());
}

#[test]
fn leases_are_refused_while_somebody_writes_and_broken_when_somebody_comes() {
    let (world, p) = start();
    world.put("/a", b"x");
    let file = p.open(at("/a"), Open::Read).unwrap();
    assert!(file.read_lease().unwrap() && file.end_lease());
    assert!(!file.end_lease());
    assert!(file.read_lease().unwrap());
    let other = world.process("other");
    let writer = other.open(at("/a"), Open::ReadWrite).unwrap();
    assert!(!file.end_lease());
    assert!(!file.read_lease().unwrap());
    drop(writer);
    assert!(world.declare_writer("/a"));
    assert!(!file.read_lease().unwrap());
    world.clear_writers();
    assert!(file.read_lease().unwrap() && file.end_lease());
    world.configure(|options| options.leases = false);
    assert!(!file.read_lease().unwrap());
}

#[test]
fn reflinks_where_there_are_any() {
    let (world, p) = start();
    let (from, to) = (write(&p, "/a", b"shared"), write(&p, "/b", b"?"));
    assert_eq!(errno_of(p.reflink(&*from, &*to)), errno::EOPNOTSUPP);
    world.configure(|options| options.reflinks = true);
    p.reflink(&*from, &*to).unwrap();
    from.write_at(b"S", 0).unwrap();
    assert_eq!(world.read("/b").unwrap(), b"shared");
}

#[test]
fn clocks_move_and_can_be_moved() {
    let (world, p) = start();
    let (wall, steady) = (p.now_ns(), p.monotonic_ns());
    p.pause(Duration::from_secs(1));
    assert!(p.now_ns() > wall + 1_000_000_000 && p.monotonic_ns() > steady + 1_000_000_000);
    world.set_clock_ns(5);
    assert!(p.now_ns() < wall && p.monotonic_ns() > steady + 1_000_000_000);
}

#[test]
fn times_change_as_they_should() {
    let (world, p) = start();
    let file = write(&p, "/a", b"");
    let meta = || p.lstat(at("/a")).unwrap();
    let first = meta();
    file.write_at(b"x", 0).unwrap();
    let written = meta();
    assert!(written.mtime_ns > first.mtime_ns && written.ctime_ns > first.ctime_ns);
    p.link(at("/a"), at("/b")).unwrap();
    let linked = meta();
    assert!(linked.mtime_ns == written.mtime_ns && linked.ctime_ns > written.ctime_ns);
    file.set_mtime(-3).unwrap();
    assert!(meta().mtime_ns == -3 && meta().ctime_ns > linked.ctime_ns);
    world.configure(|options| options.time_grain_ns = 4_000_000);
    file.write_at(b"y", 0).unwrap();
    assert_eq!(meta().mtime_ns % 4_000_000, 0);
}

#[test]
fn chance_follows_from_the_seed_and_the_process() {
    let bytes = |seed, which: usize| {
        let world = World::new(seed);
        let processes = [world.process("one"), world.process("other")];
        let mut bytes = [0; 13];
        processes[which].random(&mut bytes).unwrap();
        bytes
    };
    assert_eq!(bytes(1, 0), bytes(1, 0));
    assert_ne!(bytes(1, 0), bytes(1, 1));
    assert_ne!(bytes(1, 0), bytes(2, 0));
}

#[test]
fn the_log_tells_what_was_called() {
    let (world, p) = start();
    let file = write(&p, "/a", b"xy");
    _ = p.lstat(at("/a"));
    p.note("half way");
    assert!(p.unlink(at("/none")).is_err());
    assert!(file.try_lock(Lock::Exclusive).unwrap());
    let log = world.log();
    let kinds: Vec<_> = log.calls().iter().map(|call| call.kind).collect();
    assert_eq!(kinds, [CallKind::Create, CallKind::Write, CallKind::Note, CallKind::Unlink, CallKind::TryLock]);
    assert_eq!(log.calls()[3].errno, Some(errno::ENOENT));
    assert_eq!((log.counted(), log.count(CallKind::Write), log.calls()[4].number), (4, 1, Some(3)));
    assert!(log.noted("half way") && !log.noted("done"));
    assert!(log.to_string().contains("Write /a @0+2"));
    world.configure(|options| options.log_reads = true);
    _ = p.lstat(at("/a"));
    assert_eq!(world.log().calls().last().unwrap().kind, CallKind::Lstat);
}

#[test]
fn trees_are_put_and_seen() {
    let (world, p) = start();
    world.put("/d/e/a", b"x");
    world.put("/d/e/a", b"longer");
    world.put_symlink("e", "/d/link");
    let tree = world.tree();
    let paths: Vec<_> = tree.keys().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(paths, ["/d", "/d/e", "/d/e/a", "/d/link"]);
    assert_eq!(tree[at("/d/e/a")].content, Content::from(&b"longer"[..]));
    assert_eq!(tree[at("/d/link")].target.as_deref(), Some(at("e")));
    assert!(world.balance().items().is_empty());
    assert_eq!(p.list(at("/d")).unwrap().len(), 2);
    assert!(world.set_owner("/d/e/a", 7));
    assert_eq!(p.lstat(at("/d/e/a")).unwrap().uid, 7);
    assert_eq!((p.umask(), p.user()), (0o022, 1000));
}
