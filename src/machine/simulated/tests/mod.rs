//! Tests of the simulated machine itself.

mod calls;
mod crashes;
mod faults;
mod schedules;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::super::{File, FileKind, Lock, Machine, Open};
use super::*;

/// A path.
fn at(path: &str) -> &Path {
    Path::new(path)
}

/// A new file with these bytes, not synced.
fn write(machine: &Simulated, path: &str, bytes: &[u8]) -> Box<dyn File> {
    let file = machine.open(at(path), Open::CreateNew { mode: 0o644 }).unwrap();
    file.write_at(bytes, 0).unwrap();
    file
}

/// A directory, opened.
fn directory(machine: &Simulated, path: &str) -> Box<dyn File> {
    machine.open(at(path), Open::Directory).unwrap()
}

/// A world and a process in it.
fn start() -> (World, Arc<Simulated>) {
    let world = World::new(1);
    let process = world.process("test");
    (world, process)
}

/// What a path holds in the images of a crash.
fn contents(crash: &CrashState, path: &str) -> BTreeSet<Option<Vec<u8>>> {
    crash.images(Images::Exhaustive).map(|image| image.world(1).read(path)).collect()
}

/// A set of what a path may hold.
fn either<const N: usize>(these: [Option<&[u8]>; N]) -> BTreeSet<Option<Vec<u8>>> {
    these.into_iter().map(|bytes| bytes.map(<[u8]>::to_vec)).collect()
}

/// The errno of a call that failed.
fn errno_of<T>(result: std::io::Result<T>) -> i32 {
    result.err().and_then(|error| error.raw_os_error()).unwrap_or(0)
}
