//! What cannot fit is not begun, where its size is known before: the disk is not filled with it, the answer says how much
//! is missing, and once there is room the same again does it.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::kit::{self, Opened, digest, world};
use larder::format::layout::Layout;
use larder::format::settings::Durability;
use larder::machine::Machine;
use larder::machine::simulated::{CallKind, World};
use larder::vocabulary::events::RepairStatus;
use larder::work::copies::{CopiesOptions, copies};
use larder::work::materialize::{MaterializeOptions, Mode, checkout, get, unlock};
use larder::work::names::Target;
use larder::work::repair::{RepairOptions, RepairScope, repair};
use larder::{Error, ErrorKind, Event, Name, Observer, Prefix, Silent};

const SMALL: &[u8] = b"it fits";
const FREE: u64 = 2 << 20;

fn large() -> Vec<u8> {
    (0..3_u32 << 20).map(|i| (i >> 3) as u8 ^ i as u8).collect()
}

fn target() -> Target {
    Target::Name(Name::new("large").unwrap())
}

fn blob() -> PathBuf {
    Layout::new(kit::STORE).blob(&digest(&large()))
}

/// A store that knows a large file and a small one, and a disk with less room than the large one takes.
fn tight(seed: u64, prepare: impl FnOnce(&World, &Opened)) -> World {
    let world = world(seed, Durability::Batch, &[("/src/large", &large()), ("/src/small", SMALL), ("/out/mine", b"")]);
    let opened = Opened::open(&world.process("before")).unwrap();
    opened.put("/src/large", "large", &large()).unwrap();
    opened.put("/src/small", "small", SMALL).unwrap();
    prepare(&world, &opened);
    drop(opened);
    world.set_free_bytes(FREE);
    world
}

fn roomy(world: &World) {
    world.configure(|options| options.capacity_bytes = None);
}

/// How much is missing is said, and no byte was written.
fn is_refused(world: &World, before: u64, words: &str) {
    let missing = (large().len() as u64 - FREE).to_string();
    assert!(words.contains("missing"), "{words}");
    let told: u64 =
        words.split(' ').filter_map(|word| word.parse().ok()).find(|n: &u64| *n < large().len() as u64).unwrap();
    assert!(told.abs_diff(missing.parse().unwrap()) < 1 << 16, "{words}: about {missing}");
    let written = |call: &&larder::machine::simulated::Call| {
        call.kind == CallKind::Write && !call.path.starts_with("/store/journal")
    };
    let log = world.log();
    let bytes = log.calls().iter().filter(written).filter(|call| call.number.is_some_and(|n| n > before)).count();
    assert!(bytes < 8, "it was begun: {bytes} writes");
}

fn fails<T: std::fmt::Debug>(world: &World, before: u64, done: Result<T, Error>) {
    let error = done.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    is_refused(world, before, &error.to_string());
}

#[derive(Default)]
struct Heard(Mutex<Vec<Event>>);

impl Observer for Heard {
    fn event(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Heard {
    fn failed(&self) -> String {
        let heard = self.0.lock().unwrap();
        let mut failed = heard.iter().filter_map(|event| match event {
            Event::Failed { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        failed.next().expect("it was told")
    }
}

fn copy() -> MaterializeOptions {
    MaterializeOptions { mode: Some(Mode::Copy), replace: false }
}

#[test]
fn what_is_got_and_does_not_fit_is_not_begun() {
    let world = tight(1, |_, _| ());
    let opened = Opened::open(&world.process("get")).unwrap();
    let before = world.calls();
    fails(&world, before, get(&opened.ctx(), &target(), Path::new("/out/large"), &copy(), &Silent));
    assert_eq!(world.process("looking").list(Path::new("/out")).unwrap().len(), 1, "something is left");
    let link = MaterializeOptions { mode: Some(Mode::Hardlink), replace: false };
    get(&opened.ctx(), &target(), Path::new("/out/link"), &link, &Silent).expect("a link takes no room");
    roomy(&world);
    get(&opened.ctx(), &target(), Path::new("/out/large"), &copy(), &Silent).unwrap();
}

#[test]
fn what_is_checked_out_and_does_not_fit_is_left_out_and_the_rest_is_made() {
    let world = tight(2, |_, _| ());
    let opened = Opened::open(&world.process("checkout")).unwrap();
    let (before, heard) = (world.calls(), Heard::default());
    let report = checkout(&opened.ctx(), &Prefix::Everything, Path::new("/out/tree"), &copy(), &heard).unwrap();
    assert_eq!((report.files, report.failed), (1, 1), "{report:?}");
    is_refused(&world, before, &heard.failed());
    assert_eq!(world.read("/out/tree/small").as_deref(), Some(SMALL));
    roomy(&world);
    let report = checkout(&opened.ctx(), &Prefix::Everything, Path::new("/out/tree"), &copy(), &heard).unwrap();
    assert_eq!(report.failed, 0, "{report:?}");
    assert!(world.read("/out/tree/large") == Some(large()));
}

#[test]
fn what_is_unlocked_and_does_not_fit_stays_a_link() {
    let world = tight(3, |world, _| world.process("user").link(&blob(), Path::new("/out/large")).unwrap());
    let opened = Opened::open(&world.process("unlock")).unwrap();
    let before = world.calls();
    fails(&world, before, unlock(&opened.ctx(), Path::new("/out/large"), &Silent));
    let inode = |path: &Path| world.look(path).unwrap().inode;
    assert_eq!(inode(Path::new("/out/large")), inode(&blob()));
    roomy(&world);
    unlock(&opened.ctx(), Path::new("/out/large"), &Silent).unwrap();
    assert_ne!(inode(Path::new("/out/large")), inode(&blob()));
}

#[test]
fn copies_that_do_not_fit_are_not_begun_and_the_others_are_made() {
    let world = tight(4, |_, _| ());
    let opened = Opened::open(&world.process("copies")).unwrap();
    let (before, heard, options) = (world.calls(), Heard::default(), CopiesOptions { copies: 2, dry_run: false });
    let report = copies(&opened.ctx(), &[], &[Prefix::Everything], &options, &heard).unwrap();
    assert_eq!(report.failed, 1, "{report:?}");
    is_refused(&world, before, &heard.failed());
    roomy(&world);
    let report = copies(&opened.ctx(), &[], &[Prefix::Everything], &options, &heard).unwrap();
    assert_eq!(report.failed, 0, "{report:?}");
    kit::nothing_is_left_over(&world, &opened);
}

/// The bad bytes stay where they are: good ones may come as soon as there is room.
#[test]
fn what_is_repaired_and_does_not_fit_is_told_and_left_as_it_is() {
    let world = tight(5, |world, _| assert!(world.corrupt(blob(), 12_345)));
    let bad = world.read(blob());
    let opened = Opened::open(&world.process("repair")).unwrap();
    let (before, heard) = (world.calls(), Heard::default());
    let report = repair(&opened.ctx(), &RepairScope::All, &RepairOptions::default(), &heard).unwrap();
    assert_eq!((report.repaired, report.unrepaired), (0, 1), "{report:?}");
    let told = heard.0.lock().unwrap().iter().find_map(|event| match event {
        Event::Repaired(told) => Some(told.clone()),
        _ => None,
    });
    let told = told.unwrap();
    assert_eq!((told.status, told.tried[0].0.as_path()), (RepairStatus::Unrepaired, Path::new("/src/large")));
    is_refused(&world, before, &told.tried[0].1);
    assert!(world.read(blob()) == bad, "it was moved away");
    roomy(&world);
    let report = repair(&opened.ctx(), &RepairScope::All, &RepairOptions::default(), &heard).unwrap();
    assert_eq!((report.repaired, report.unrepaired), (1, 0), "{report:?}");
    assert!(world.read(blob()) == Some(large()));
}
