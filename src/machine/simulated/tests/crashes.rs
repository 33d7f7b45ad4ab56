//! What is durable, what hangs in the balance, and the images.

use std::time::Duration;

use super::*;

#[test]
fn a_synced_file_whose_directory_was_not_synced_may_be_gone() {
    let (world, p) = start();
    write(&p, "/a", b"x").sync().unwrap();
    assert_eq!(contents(&world.power_cut(), "/a"), either([None, Some(b"x")]));
}

#[test]
fn a_file_that_was_synced_with_its_name_is_there() {
    let (world, p) = start();
    write(&p, "/a", b"x").sync().unwrap();
    directory(&p, "/").sync().unwrap();
    assert_eq!(contents(&world.power_cut(), "/a"), either([Some(b"x")]));
    assert!(world.power_cut().items().is_empty());
}

#[test]
fn a_durable_name_without_a_sync_of_the_data_may_be_empty() {
    let (world, p) = start();
    write(&p, "/a", b"x");
    directory(&p, "/").sync().unwrap();
    assert_eq!(contents(&world.power_cut(), "/a"), either([Some(b""), Some(b"\0"), Some(b"x")]));
}

#[test]
fn syncfs_makes_everything_durable() {
    let (world, p) = start();
    let root = directory(&p, "/");
    p.create_dir(at("/d"), 0o700).unwrap();
    write(&p, "/d/a", b"x").set_mode(0o400).unwrap();
    root.sync_filesystem().unwrap();
    let crash = world.power_cut();
    assert!(crash.items().is_empty());
    let image = crash.images(Images::Basic).next().unwrap().world(1);
    assert_eq!(image.look("/d").unwrap().mode, 0o700);
    assert_eq!(image.look("/d/a").unwrap().mode, 0o400);
}

#[test]
fn fdatasync_leaves_mode_and_mtime_in_the_balance() {
    let (world, p) = start();
    world.put("/a", b"");
    let file = p.open(at("/a"), Open::ReadWrite).unwrap();
    file.write_at(b"x", 0).unwrap();
    file.set_mode(0o400).unwrap();
    file.set_mtime(7).unwrap();
    file.sync_data().unwrap();
    let crash = world.balance();
    let modes: BTreeSet<_> = crash.images(Images::Exhaustive).map(|i| i.world(1).look("/a").unwrap().mode).collect();
    assert_eq!(modes, BTreeSet::from([0o400, 0o644]));
    assert_eq!(contents(&crash, "/a"), either([Some(b"x")]));
    file.sync().unwrap();
    let seen = world.power_cut().images(Images::Basic).next().unwrap().world(1).look("/a").unwrap();
    assert_eq!((seen.mode, seen.mtime_ns), (0o400, 7));
}

#[test]
fn rename_over_is_atomic_in_every_image() {
    let (world, p) = start();
    world.put("/a", b"old");
    write(&p, "/new", b"new").sync().unwrap();
    p.rename(at("/new"), at("/a")).unwrap();
    assert_eq!(contents(&world.power_cut(), "/a"), either([Some(b"old"), Some(b"new")]));
}

#[test]
fn a_rename_across_directories_is_durable_when_either_is_synced() {
    for synced in ["/one", "/other"] {
        let (world, p) = start();
        world.put("/one/a", b"x");
        world.put_dir("/other");
        let directory = directory(&p, synced);
        p.rename(at("/one/a"), at("/other/b")).unwrap();
        let count = |world: &World| {
            let images: Vec<_> = world.balance().images(Images::Exhaustive).map(|image| image.world(1)).collect();
            images.iter().filter(|world| world.read("/one/a").is_some() != world.read("/other/b").is_some()).count()
                == images.len()
        };
        assert!(count(&world));
        directory.sync().unwrap();
        assert_eq!(contents(&world.balance(), "/one/a"), either([None]));
        assert_eq!(contents(&world.power_cut(), "/other/b"), either([Some(b"x")]));
    }
}

#[test]
fn an_exchange_is_one_item() {
    let (world, p) = start();
    world.put("/a/x", b"1");
    world.put("/b/y", b"2");
    p.exchange(at("/a/x"), at("/b/y")).unwrap();
    for image in world.power_cut().images(Images::Exhaustive) {
        let world = image.world(1);
        let both = (world.read("/a/x").unwrap(), world.read("/b/y").unwrap());
        assert!(both == (b"1".to_vec(), b"2".to_vec()) || both == (b"2".to_vec(), b"1".to_vec()));
    }
}

#[test]
fn a_later_change_of_a_slot_wins_whatever_became_of_the_earlier() {
    let (world, p) = start();
    write(&p, "/a", b"1").sync().unwrap();
    p.unlink(at("/a")).unwrap();
    write(&p, "/a", b"2").sync().unwrap();
    assert_eq!(contents(&world.power_cut(), "/a"), either([None, Some(b"1"), Some(b"2")]));
}

#[test]
fn what_is_durable_is_not_undone_by_an_older_item() {
    let (world, p) = start();
    for path in ["/1/x", "/3/z"] {
        world.put(path, path.as_bytes());
    }
    world.put_dir("/2");
    p.rename(at("/1/x"), at("/2/y")).unwrap();
    p.rename(at("/3/z"), at("/2/y")).unwrap();
    directory(&p, "/3").sync().unwrap();
    assert_eq!(contents(&world.power_cut(), "/2/y"), either([Some(b"/3/z")]));
}

#[test]
fn a_directory_whose_name_is_lost_takes_what_is_in_it_along() {
    let (world, p) = start();
    p.create_dir(at("/d"), 0o755).unwrap();
    write(&p, "/d/a", b"x").sync().unwrap();
    directory(&p, "/d").sync().unwrap();
    let images: Vec<_> = world.power_cut().images(Images::Exhaustive).map(|image| image.world(1)).collect();
    assert!(images.iter().any(|world| world.tree().is_empty()));
    assert!(images.iter().all(|world| world.look("/d").is_none() || world.read("/d/a").is_some()));
}

#[test]
fn a_moved_directory_has_one_name_in_every_image() {
    let (world, p) = start();
    world.put("/1/d/a", b"x");
    world.put_dir("/2");
    world.put_dir("/3");
    p.rename(at("/1/d"), at("/2/d")).unwrap();
    p.rename(at("/2/d"), at("/3/d")).unwrap();
    for image in world.power_cut().images(Images::Exhaustive) {
        let world = image.world(1);
        assert_eq!(["/1/d/a", "/2/d/a", "/3/d/a"].iter().filter(|path| world.read(path).is_some()).count(), 1);
    }
}

#[test]
fn dropped_writes_inside_the_size_read_as_zeros_or_as_before() {
    let (world, p) = start();
    world.put("/a", b"aaaa");
    let file = p.open(at("/a"), Open::ReadWrite).unwrap();
    file.write_at(b"bb", 0).unwrap();
    file.write_at(b"cc", 6).unwrap();
    let seen = contents(&world.power_cut(), "/a");
    assert!(seen.contains(&Some(b"aaaa\0\0cc".to_vec())));
    assert!(seen.contains(&Some(b"bbaa\0\0\0\0".to_vec())));
    assert!(seen.contains(&Some(b"bbaa".to_vec())));
}

#[test]
fn writes_are_torn_at_sectors() {
    let (world, p) = start();
    let bytes = [b'x'; 1200];
    let file = write(&p, "/a", &[b'-'; 1200]);
    directory(&p, "/").sync_filesystem().unwrap();
    file.write_at(&bytes, 0).unwrap();
    let seen = contents(&world.power_cut(), "/a");
    let torn = |cut: usize, before: u8, after: u8| {
        let mut all = vec![before; 1200];
        all[cut..].fill(after);
        seen.contains(&Some(all))
    };
    for cut in [512, 1024] {
        assert!(torn(cut, b'x', b'-') && torn(cut, b'-', b'x'));
    }
    assert!(!torn(100, b'x', b'-'));
    assert_eq!(seen.len(), 6);
}

#[test]
fn a_torn_append_ends_at_a_sector_or_is_zeros() {
    let (world, p) = start();
    write(&p, "/a", &[b'x'; 600]);
    directory(&p, "/").sync().unwrap();
    let seen = contents(&world.power_cut(), "/a");
    let mut late = vec![0; 600];
    late[512..].fill(b'x');
    for part in [vec![b'x'; 512], late, vec![0; 600], vec![]] {
        assert!(seen.contains(&Some(part)));
    }
}

#[test]
fn long_writes_are_torn_at_both_ends_and_between() {
    let (world, p) = start();
    world.configure(|options| options.tears = 3);
    write(&p, "/a", &[b'x'; 512 * 9]);
    directory(&p, "/").sync().unwrap();
    let lengths: BTreeSet<_> =
        contents(&world.power_cut(), "/a").into_iter().flatten().map(|b| b.len() / 512).collect();
    assert_eq!(lengths, BTreeSet::from([0, 1, 4, 8, 9]));
}

#[test]
fn a_truncation_hangs_in_the_balance_too() {
    let (world, p) = start();
    world.put("/a", b"long");
    p.open(at("/a"), Open::ReadWrite).unwrap().set_len(1).unwrap();
    assert_eq!(contents(&world.power_cut(), "/a"), either([Some(b"l"), Some(b"long")]));
}

#[test]
fn the_unlinked_is_gone_even_if_it_was_open() {
    let (world, p) = start();
    let file = write(&p, "/a", b"x");
    let root = directory(&p, "/");
    root.sync_filesystem().unwrap();
    p.unlink(at("/a")).unwrap();
    root.sync().unwrap();
    file.write_at(b"y", 0).unwrap();
    let crash = world.power_cut();
    assert!(crash.items().is_empty());
    assert_eq!(contents(&crash, "/a"), either([None]));
}

#[test]
fn images_tell_which_names_share_an_inode() {
    let shared = World::new(1);
    shared.put("/a", b"x");
    shared.process("p").link(at("/a"), at("/b")).unwrap();
    let apart = World::new(1);
    apart.put("/a", b"x");
    apart.put("/b", b"x");
    assert_ne!(shared.fingerprint(), apart.fingerprint());
    assert_eq!(shared.fingerprint(), shared.snapshot().fingerprint());
    assert_eq!(shared.fingerprint(), shared.snapshot().world(9).fingerprint());
}

#[test]
fn no_two_inodes_of_an_image_share_a_number() {
    let (world, p) = start();
    world.put("/a", b"1");
    p.unlink(at("/a")).unwrap();
    write(&p, "/b", b"2").sync().unwrap();
    let crash = world.power_cut();
    let both = crash.images(Images::Exhaustive).map(|image| image.world(1)).find(|w| w.tree().len() == 2).unwrap();
    assert_ne!(both.look("/a").unwrap().inode, both.look("/b").unwrap().inode);
}

#[test]
fn samples_follow_from_their_seed_and_go_beyond_the_exhaustive_images() {
    let (world, p) = start();
    for name in ["/a", "/b", "/c", "/d", "/e"] {
        write(&p, name, name.as_bytes());
    }
    let crash = world.power_cut();
    let prints = |seed| crash.sample(seed, 100).map(|image| image.fingerprint()).collect::<Vec<_>>();
    assert_eq!(prints(1), prints(1));
    assert_ne!(prints(1), prints(2));
    let exhaustive: BTreeSet<_> = crash.images(Images::Exhaustive).map(|image| image.fingerprint()).collect();
    assert!(prints(1).iter().any(|print| !exhaustive.contains(print)));
}

#[test]
fn an_image_is_durable_and_goes_on() {
    let (world, p) = start();
    world.configure(|options| options.link_limit = 7);
    world.advance(Duration::from_secs(5));
    write(&p, "/a", b"x");
    let crash = world.power_cut();
    let image = crash.images(Images::Basic).next().unwrap();
    let after = image.world(2);
    assert!(after.balance().items().is_empty());
    assert!(after.clock_ns() > world.clock_ns());
    assert_eq!(after.fingerprint(), image.fingerprint());
    let p = after.process("recovery");
    write(&p, "/b", b"y");
    assert_eq!(after.read("/b").unwrap(), b"y");
    assert_eq!(image.fingerprint(), image.world(3).fingerprint());
}

#[test]
fn a_power_cut_kills_everybody_and_is_final() {
    let (world, p) = start();
    let file = write(&p, "/a", b"x");
    let items = world.power_cut().items();
    assert!(p.is_killed() && file.write_at(b"y", 0).is_err());
    assert!(world.process("late").lstat(at("/a")).is_err());
    assert_eq!(world.power_cut().items(), items);
    assert!(world.crashed().is_some());
}

#[test]
fn enumeration_finds_a_missing_sync() {
    let workload = |sync: bool| {
        move |p: &Arc<Simulated>| {
            let root = directory(p, "/");
            let file = write(p, "/new", b"good");
            if sync {
                file.sync().unwrap();
            }
            p.rename(at("/new"), at("/a")).unwrap();
            root.sync().unwrap();
            p.note("kept");
        }
    };
    let broken = |sync| {
        let mut broken = 0;
        let coverage = enumerate(1, workload(sync), |_, world, log| {
            let good = world.read("/a").is_some_and(|bytes| bytes == b"good");
            broken += u32::from(!good && (log.noted("kept") || world.look("/a").is_some()));
        });
        (broken, coverage)
    };
    let (none, coverage) = broken(true);
    assert_eq!(none, 0);
    assert_eq!(coverage.calls, 5);
    assert!(coverage.distinct >= 5 && coverage.images > coverage.distinct);
    assert!(broken(false).0 > 0);
}

#[test]
fn enumeration_starts_from_a_prepared_world_and_kills() {
    let world = World::new(3);
    world.put("/a", b"1");
    let enumeration = Enumeration::new(3, &world).images(Images::Basic).samples(5);
    let workload = |p: &Arc<Simulated>| {
        p.rename(at("/a"), at("/b")).unwrap();
        p.rename(at("/b"), at("/c")).unwrap();
    };
    let mut names = Vec::new();
    let coverage = enumeration.kills(workload, |_, world, _| names.extend(world.tree().into_keys()));
    assert_eq!(names, [at("/a"), at("/b")]);
    assert_eq!(coverage, Coverage { calls: 2, images: 2, distinct: 2 });
    assert_eq!(enumeration.power_cuts(workload, |_, world, _| assert!(!world.tree().is_empty())).calls, 2);
    let mut failed = 0;
    let rename = |p: &Arc<Simulated>| p.rename(at("/a"), at("/b"));
    enumeration.failures(errno::EIO, false, rename, |_, world, outcome| {
        failed += i32::from(outcome.finished().unwrap().is_err() && world.look("/a").is_some());
    });
    assert_eq!(failed, 1);
}

/// One run with a film shows what a run for each call shows.
#[test]
fn a_film_shows_every_crash() {
    let work = |p: &Arc<Simulated>| {
        let file = write(p, "/a", &[7; 1500]);
        p.note("written");
        file.sync().unwrap();
        p.rename(at("/a"), at("/b")).unwrap();
        directory(p, "/").sync().unwrap();
    };
    let prints = |crash: &CrashState| -> BTreeSet<Fingerprint> {
        crash.images(Images::Exhaustive).chain(crash.sample(3, 20)).map(|image| image.fingerprint()).collect()
    };
    let (world, p) = start();
    world.film();
    work(&p);
    let (film, calls) = (world.take_film(), world.calls());
    assert_eq!(film.len() as u64, calls);
    for (number, still) in film.iter().enumerate() {
        let (other, p) = start();
        other.fail(Fault::power_cut().at_call(number as u64));
        assert!(run(&p, || work(&p)).is_killed());
        assert_eq!((still.call, still.logged), (number as u64, other.log().calls().len()));
        assert_eq!(prints(&still.crash), prints(&other.power_cut()), "call {number}");
    }
    assert!(film[0].crash.is_same(&film[0].crash.clone()) && !film[0].crash.is_same(&film[1].crash));
    assert!(world.take_film().is_empty(), "it ended");
}

/// The same image is the same whether its tree was tidied or not, and a portion has no image twice for nothing.
#[test]
fn a_portion_leaves_out_what_comes_to_the_same() {
    let (world, p) = start();
    write(&p, "/a", b"x");
    let crash = world.balance();
    let images: Vec<Image> = crash.portion(1, 50).collect();
    assert!(images.len() <= 4, "{} images of two items", images.len());
    for image in images {
        assert_eq!(image.fingerprint(), image.snapshot().fingerprint());
        assert_eq!(image.fingerprint(), image.world(1).fingerprint());
    }
}

#[test]
fn files_are_found_below_a_directory_in_order() {
    let (world, _) = start();
    for path in ["/d/b", "/d/a/c", "/e", "/d/z"] {
        world.put(path, b"x");
    }
    world.put_dir("/d/empty");
    world.put_symlink("/e", "/d/link");
    let found: Vec<_> = world.files("/d").into_iter().map(|(path, seen)| (path, seen.content.to_vec())).collect();
    assert_eq!(found, ["/d/a/c", "/d/b", "/d/z"].map(|path| (path.into(), b"x".to_vec())));
    assert!(world.files("/none").is_empty());
}
