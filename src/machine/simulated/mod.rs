//! The test kit: a machine in memory whose every call is a crash point and whose disk keeps apart what was written and
//! what was synced.
//!
//! A [`World`] is one machine with its disk. [`World::process`] starts a logical process, [`Simulated`], which is a
//! [`Machine`](super::Machine) like the real one. What its calls change is seen by all processes at once, and is durable
//! only once it was synced:
//!
//! * `fsync` of a file makes its bytes, mode and times durable, not its names; `fdatasync` its bytes alone.
//! * `fsync` of a directory makes the names in it durable, not what they stand for. A rename, an exchange, a link or an
//!   unlink is durable whole or not at all.
//! * `syncfs` makes everything durable.
//! * A sync of data that fails drops the bytes that it should have written: callers still see them, the disk never
//!   will, every descriptor that was open is told once, and the next sync succeeds. A sync of a directory that fails
//!   ends all writing ([`FailedDirectorySync`]).
//!
//! Calls that change, sync or lock something are *counted* and are in the [`Log`]; at any of them a [`Fault`] may let the
//! call fail, kill the process, or cut the power. A killed process unwinds its thread; [`run`] catches that. A power cut
//! leaves a [`CrashState`], from which [`Images`] of the disk are made, each of them a new world to recover in.
//!
//! # Every crash of a workload
//!
//! ```
//! use larder::machine::{File, Machine, Open};
//! use larder::machine::simulated::enumerate;
//! use std::path::Path;
//!
//! let coverage = enumerate(
//!     1,
//!     |machine| {
//!         let root = machine.open(Path::new("/"), Open::Directory).unwrap();
//!         let file = machine.open(Path::new("/new"), Open::CreateNew { mode: 0o644 }).unwrap();
//!         file.write_at(b"all or nothing", 0).unwrap();
//!         file.sync().unwrap();
//!         machine.rename(Path::new("/new"), Path::new("/name")).unwrap();
//!         root.sync().unwrap();
//!         machine.note("kept");
//!     },
//!     |_call, world, log| match world.read("/name") {
//!         Some(bytes) => assert_eq!(bytes, b"all or nothing"),
//!         None => assert!(!log.noted("kept")),
//!     },
//! );
//! assert!(coverage.distinct > 3);
//! ```
//!
//! `check` would usually start a process in `world`, run recovery there and look at what it says. [`Enumeration`] starts
//! from a prepared world, takes further images by chance, and also kills the process, or lets a call fail, at each call.
//!
//! # Several processes
//!
//! Under a [`Schedule`] each task is a process with a thread of its own, and only one of them runs at a time: at each
//! call, counted or not, the schedule says who goes on, by a seed, by a list of choices, or by going through all of them
//! ([`explore`]). The same choices give the same log. A `pause` moves the clock and lets the others go first. A process
//! must not make calls from several threads of its own.

mod call;
mod content;
mod crash;
mod disk;
mod enumerate;
mod fault;
mod file;
mod options;
mod path;
mod pending;
mod process;
mod rng;
mod schedule;
mod state;
#[cfg(test)]
mod tests;
mod tree;
mod world;

pub use call::{Call, CallKind, Log};
pub use content::Content;
pub use crash::{CrashState, Image, Images, Snapshot, Still};
pub use enumerate::{Coverage, Enumeration, enumerate};
pub use fault::Fault;
pub use options::{FailedDirectorySync, Mount, Options};
pub use process::{Outcome, Simulated, run};
pub use schedule::{Action, Decision, Explored, Report, Schedule, Task, explore, task};
pub use tree::{Fingerprint, Seen};
pub use world::World;

/// The errors that a [`Fault`] may be told to give, by their names in `errno.h`.
pub mod errno {
    pub use libc::{
        EACCES, EAGAIN, EBUSY, EDQUOT, EEXIST, EFBIG, EINTR, EINVAL, EIO, EISDIR, ELOOP, EMFILE, EMLINK, ENAMETOOLONG,
        ENFILE, ENOENT, ENOLCK, ENOMEM, ENOSPC, ENOTDIR, ENOTEMPTY, ENOTSUP, EOPNOTSUPP, EPERM, EROFS, ESTALE, EXDEV,
    };
}
