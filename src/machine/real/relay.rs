//! Signals while a command runs that this process started: they are the command's.

use std::io;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};

use super::guard::set_action;

/// The process that gets what is sent to this one; zero while there is none.
static COMMAND: AtomicI32 = AtomicI32::new(0);
/// What was sent while there was none yet; zero if nothing was.
static EARLY: AtomicI32 = AtomicI32::new(0);

/// From now on this process does not end by SIGINT or SIGQUIT, which a terminal sends to the command as well, and keeps
/// SIGTERM and SIGHUP for the command that it is about to start. For programs alone: a library does not take a process's
/// signals. A command that is started later has the signals as they were.
pub fn take_signals() -> io::Result<()> {
    [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP].into_iter().try_for_each(handle)
}

/// Hands SIGTERM and SIGHUP on to the process `command`, which this one has started and not yet waited for, with what came
/// before.
pub fn relay_signals(command: u32) {
    let command = i32::try_from(command).expect("the number of a process is positive");
    COMMAND.store(command, SeqCst);
    let early = EARLY.swap(0, SeqCst);
    if early != 0 {
        relay(early);
    }
}

/// The command has ended and been waited for: its number may be somebody else's by now.
pub fn end_relay() {
    COMMAND.store(0, SeqCst);
}

extern "C" fn relay(signal: libc::c_int) {
    if signal != libc::SIGTERM && signal != libc::SIGHUP {
        return;
    }
    EARLY.store(signal, SeqCst);
    let command = COMMAND.load(SeqCst);
    // Whoever takes it hands it on: another thread may be at the same place.
    if command != 0 && EARLY.swap(0, SeqCst) != 0 {
        // SAFETY: kill may be called in a signal handler, and has no memory to get wrong.
        unsafe { libc::kill(command, signal) };
    }
}

fn handle(signal: libc::c_int) -> io::Result<()> {
    // It calls nothing but kill, which POSIX lists as safe in a handler.
    let taken = set_action(signal, relay as *const () as libc::sighandler_t, libc::SA_RESTART);
    if taken { Ok(()) } else { Err(io::Error::last_os_error()) }
}
