//! Failing calls, failed syncs, kills.

use super::*;

#[test]
fn a_failed_sync_is_told_once_and_loses_the_data_for_good() {
    let (world, p) = start();
    world.put("/a", b"old");
    let one = p.open(at("/a"), Open::ReadWrite).unwrap();
    let other = p.open(at("/a"), Open::Read).unwrap();
    one.write_at(b"new", 0).unwrap();
    world.fail(Fault::errno(errno::EIO).syncs());
    assert_eq!(errno_of(one.sync()), errno::EIO);
    let late = p.open(at("/a"), Open::Read).unwrap();
    one.sync().unwrap();
    assert_eq!(errno_of(other.sync_data()), errno::EIO);
    other.sync().unwrap();
    late.sync().unwrap();
    assert_eq!(world.read("/a").unwrap(), b"new");
    assert_eq!(contents(&world.balance(), "/a"), either([Some(b"old")]));
}

#[test]
fn bytes_written_after_a_failed_sync_become_durable_and_those_before_do_not() {
    let (world, p) = start();
    let file = write(&p, "/a", b"");
    directory(&p, "/").sync().unwrap();
    file.write_at(b"lost", 0).unwrap();
    world.fail(Fault::errno(errno::EIO).syncs());
    assert!(file.sync().is_err());
    file.write_at(b"kept", 4).unwrap();
    file.sync().unwrap();
    assert_eq!(contents(&world.power_cut(), "/a"), either([Some(b"\0\0\0\0kept")]));
}

#[test]
fn a_dropped_cache_shows_what_the_disk_has() {
    let (world, p) = start();
    let file = write(&p, "/a", b"lost");
    world.fail(Fault::errno(errno::EIO).syncs());
    assert!(file.sync().is_err());
    file.write_at(b"!", 5).unwrap();
    assert_eq!(world.read("/a").unwrap(), b"lost\0!");
    file.drop_cache();
    assert_eq!(world.read("/a").unwrap(), b"\0\0\0\0\0!");
}

#[test]
fn syncfs_reports_failures_since_its_descriptor_was_opened() {
    let (world, p) = start();
    let before = directory(&p, "/");
    write(&p, "/a", b"x");
    assert!(world.fail_writeback("/a"));
    let after = directory(&p, "/");
    after.sync_filesystem().unwrap();
    assert_eq!(errno_of(before.sync_filesystem()), errno::EIO);
    before.sync_filesystem().unwrap();
    assert_eq!(contents(&world.power_cut(), "/a"), either([Some(b"")]));
}

#[test]
fn a_failing_syncfs_loses_the_data_of_all_files() {
    let (world, p) = start();
    let (a, b) = (write(&p, "/a", b"1"), write(&p, "/b", b"2"));
    let root = directory(&p, "/");
    world.fail(Fault::errno(errno::EIO).syncs());
    assert_eq!(errno_of(root.sync_filesystem()), errno::EIO);
    assert_eq!((errno_of(a.sync()), errno_of(b.sync())), (errno::EIO, errno::EIO));
    root.sync_filesystem().unwrap();
    assert_eq!(contents(&world.power_cut(), "/b"), either([Some(b"")]));
}

#[test]
fn an_old_kernels_syncfs_reports_nothing() {
    let (world, p) = start();
    world.configure(|options| options.syncfs_reports_errors = false);
    assert!(!p.syncfs_reports_errors());
    let root = directory(&p, "/");
    write(&p, "/a", b"1");
    world.fail(Fault::errno(errno::EIO).syncs());
    root.sync_filesystem().unwrap();
    root.sync_filesystem().unwrap();
    assert_eq!(contents(&world.power_cut(), "/a"), either([Some(b"")]));
}

#[test]
fn a_failed_directory_sync_ends_all_writing() {
    let (world, p) = start();
    let root = directory(&p, "/");
    let file = write(&p, "/a", b"x");
    world.fail(Fault::errno(errno::EIO).kind(CallKind::Sync));
    assert_eq!(errno_of(root.sync()), errno::EIO);
    assert_eq!(errno_of(root.sync()), errno::EROFS);
    assert_eq!(errno_of(file.write_at(b"y", 0)), errno::EROFS);
    assert_eq!(errno_of(p.rename(at("/a"), at("/b"))), errno::EROFS);
    assert_eq!(errno_of(p.open(at("/a"), Open::ReadWrite)), errno::EROFS);
    assert!(p.open(at("/a"), Open::Read).is_ok());
    assert!(p.filesystem(at("/")).unwrap().read_only);
    assert_eq!(contents(&world.power_cut(), "/a").len(), 4);
}

#[test]
fn a_failed_directory_sync_may_instead_be_forgotten() {
    let (world, p) = start();
    world.configure(|options| options.failed_directory_sync = FailedDirectorySync::Forget);
    let root = directory(&p, "/");
    write(&p, "/a", b"x");
    world.fail(Fault::errno(errno::EIO).syncs());
    assert!(root.sync().is_err());
    root.sync_filesystem().unwrap_err();
    root.sync_filesystem().unwrap();
    assert!(world.look("/a").is_some());
    assert_eq!(contents(&world.power_cut(), "/a"), either([None]));
}

#[test]
fn metadata_can_fail_in_any_sync() {
    let (world, p) = start();
    let file = write(&p, "/a", b"x");
    world.fail(Fault::metadata_sync(errno::EIO));
    assert_eq!(errno_of(file.sync()), errno::EIO);
    assert_eq!(errno_of(file.sync()), errno::EROFS);
}

#[test]
fn faults_strike_where_they_are_told_to() {
    let (world, p) = start();
    world.put_dir("/d");
    let file = write(&p, "/a", b"");
    world.fail(Fault::errno(errno::EIO).syncs().nth(3));
    world.fail(Fault::errno(errno::EMLINK).kind(CallKind::Link).always());
    world.fail(Fault::errno(errno::ENOSPC).under("/d"));
    world.fail(Fault::errno(errno::EACCES).kind(CallKind::Open).process(p.number() + 1));
    assert_eq!([(); 4].map(|()| file.sync().is_ok()), [true, true, false, true]);
    assert_eq!(errno_of(p.link(at("/a"), at("/b"))), errno::EMLINK);
    assert_eq!(errno_of(p.link(at("/a"), at("/b"))), errno::EMLINK);
    assert_eq!(errno_of(p.rename(at("/a"), at("/d/a"))), errno::ENOSPC);
    p.rename(at("/a"), at("/d/a")).unwrap();
    p.open(at("/d/a"), Open::Read).unwrap();
    assert_eq!(errno_of(world.process("other").open(at("/d/a"), Open::Read)), errno::EACCES);
    world.clear_faults();
    p.link(at("/d/a"), at("/b")).unwrap();
}

#[test]
fn a_call_can_be_struck_by_its_number_once_or_from_there_on() {
    let (world, p) = start();
    world.fail(Fault::errno(errno::EIO).at_call(1));
    world.fail(Fault::errno(errno::ENOSPC).at_call(3).always());
    let makes = ["/0", "/1", "/2", "/3", "/4"].map(|path| errno_of(p.create_dir(at(path), 0o755)));
    assert_eq!(makes, [0, errno::EIO, 0, errno::ENOSPC, errno::ENOSPC]);
    assert_eq!(world.calls(), 5);
}

#[test]
fn a_full_disk_takes_the_part_of_a_write_that_fits() {
    let (world, p) = start();
    let file = write(&p, "/a", b"");
    world.set_free_bytes(8192);
    assert_eq!(p.filesystem(at("/")).unwrap().free_bytes, 8192);
    assert_eq!(errno_of(file.write_at(&[1; 10_000], 100)), errno::ENOSPC);
    assert_eq!(file.meta().unwrap().size_bytes, 8192);
    assert_eq!(errno_of(p.create_dir(at("/d"), 0o755)), errno::ENOSPC);
    assert_eq!(errno_of(p.link(at("/a"), at("/b"))), errno::ENOSPC);
    file.write_at(b"inside", 0).unwrap();
    file.set_len(10).unwrap();
    p.create_dir(at("/d"), 0o755).unwrap();
    assert_eq!(errno_of(file.allocate(8193)), errno::ENOSPC);
    file.allocate(8192).unwrap();
}

#[test]
fn inodes_run_out_and_come_back() {
    let (world, p) = start();
    world.set_free_inodes(1);
    write(&p, "/a", b"");
    assert_eq!(errno_of(p.create_dir(at("/d"), 0o755)), errno::ENOSPC);
    assert_eq!(p.filesystem(at("/")).unwrap().free_inodes, 0);
    p.link(at("/a"), at("/b")).unwrap();
    p.unlink(at("/a")).unwrap();
    p.unlink(at("/b")).unwrap();
    p.create_dir(at("/d"), 0o755).unwrap();
}

#[test]
fn a_write_can_be_cut_short() {
    let (world, p) = start();
    let file = write(&p, "/a", b"");
    world.fail(Fault::short_write(errno::EDQUOT, 3));
    assert_eq!(errno_of(file.write_at(b"abcdef", 0)), errno::EDQUOT);
    assert_eq!(world.read("/a").unwrap(), b"abc");
}

#[test]
fn a_kill_unwinds_before_the_call_and_frees_what_was_held() {
    let (world, p) = start();
    world.put("/lock", b"");
    world.fail(Fault::kill().kind(CallKind::Unlink));
    struct OnDrop<'a>(&'a Simulated);
    impl Drop for OnDrop<'_> {
        fn drop(&mut self) {
            assert!(self.0.unlink(at("/lock")).is_err());
        }
    }
    let outcome = run(&p, || {
        let _drop = OnDrop(&p);
        let lock = p.open(at("/lock"), Open::Read).unwrap();
        assert!(lock.try_lock(Lock::Exclusive).unwrap());
        p.unlink(at("/lock")).unwrap();
        unreachable!("killed before");
    });
    assert!(outcome.is_killed() && p.is_killed());
    assert!(world.look("/lock").is_some());
    let other = world.process("other");
    assert!(other.open(at("/lock"), Open::Read).unwrap().try_lock(Lock::Exclusive).unwrap());
    assert!(p.lstat(at("/lock")).is_err());
    assert_eq!(run(&other, || 5), Outcome::Finished(5));
}

#[test]
fn a_killed_process_that_catches_its_end_dies_at_the_next_call() {
    let (world, p) = start();
    world.fail(Fault::kill().kind(CallKind::CreateDir));
    let outcome = run(&p, || {
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| p.create_dir(at("/a"), 0o755)));
        assert!(caught.is_err());
        p.create_dir(at("/b"), 0o755).unwrap();
    });
    assert!(outcome.is_killed() && world.tree().is_empty());
}

#[test]
fn other_panics_go_through() {
    let (_world, p) = start();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        run(&p, || std::panic::resume_unwind(Box::new("another")));
    }));
    assert_eq!(result.unwrap_err().downcast_ref::<&str>(), Some(&"another"));
}

#[test]
fn a_power_cut_strikes_at_a_call() {
    let (world, p) = start();
    world.fail(Fault::power_cut().at_call(1));
    let outcome = run(&p, || {
        p.create_dir(at("/a"), 0o755).unwrap();
        p.create_dir(at("/b"), 0o755).unwrap();
    });
    assert!(outcome.is_killed());
    assert_eq!(world.crashed().unwrap().items().len(), 1);
}

#[test]
fn bad_sectors_and_silent_damage() {
    let (world, p) = start();
    world.put("/a", &[7; 5000]);
    assert!(world.bad_sector("/a", 4096..4608) && world.corrupt("/a", 10));
    let file = p.open(at("/a"), Open::Read).unwrap();
    let mut buffer = [0; 4096];
    assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 4096);
    assert_eq!((buffer[9], buffer[10]), (7, 6));
    assert_eq!(errno_of(file.read_at(&mut buffer, 4000)), errno::EIO);
    let mut seen = 0;
    let look = &mut |window: &[u8]| {
        seen += window.len();
        Ok(())
    };
    assert_eq!(errno_of(file.windows(0, 5000, look)), errno::EIO);
    assert_eq!(seen, 0);
    let image = world.snapshot().world(1);
    let again = image.process("p").open(at("/a"), Open::Read).unwrap();
    assert_eq!(errno_of(again.read_at(&mut buffer, 4200)), errno::EIO);
    assert!(!world.corrupt("/none", 0));
}

#[test]
fn read_only_and_denied() {
    let (world, p) = start();
    world.put("/a", b"x");
    world.put("/secret/b", b"x");
    world.configure(|options| options.denied.push("/secret".into()));
    assert_eq!(errno_of(p.lstat(at("/secret/b"))), errno::EACCES);
    assert_eq!(errno_of(p.rename(at("/a"), at("/secret/a"))), errno::EACCES);
    world.configure(|options| options.read_only = true);
    assert_eq!(errno_of(p.unlink(at("/a"))), errno::EROFS);
    assert_eq!(errno_of(p.open(at("/a"), Open::ReadWrite)), errno::EROFS);
    assert_eq!(errno_of(p.open(at("/c"), Open::CreateNew { mode: 0o600 })), errno::EROFS);
    let file = p.open(at("/a"), Open::Read).unwrap();
    assert!(file.try_lock(Lock::Shared).unwrap() && p.filesystem(at("/")).unwrap().read_only);
}
