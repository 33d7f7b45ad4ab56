//! What keeps long reading out of the way of others: the priority of its input and output, and how long others wait.

/// Puts the calling thread into the idle class, and gives what it was in. A thread of this program alone has it then; the
/// kernel honours it with schedulers that know priorities (BFQ, mq-deadline).
#[cfg(target_os = "linux")]
pub(super) fn idle_io() -> Option<u32> {
    let before = get()?;
    set(IDLE).then_some(before)
}

/// Gives a class back.
#[cfg(target_os = "linux")]
pub(super) fn restore_io(before: u32) {
    let _stays_idle = set(before);
}

/// `IOPRIO_CLASS_IDLE` in the place of the class, as `linux/ioprio.h` has it.
#[cfg(target_os = "linux")]
const IDLE: u32 = 3 << 13;
/// `IOPRIO_WHO_PROCESS`; with number zero, the calling thread.
#[cfg(target_os = "linux")]
const A_THREAD: libc::c_int = 1;

#[cfg(target_os = "linux")]
fn get() -> Option<u32> {
    // SAFETY: the call takes numbers, and touches no memory of ours.
    let got = unsafe { libc::syscall(libc::SYS_ioprio_get, A_THREAD, 0) };
    u32::try_from(got).ok()
}

#[cfg(target_os = "linux")]
fn set(priority: u32) -> bool {
    // SAFETY: the call takes numbers, and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_ioprio_set, A_THREAD, 0, priority) == 0 }
}

/// The total of `some` of `/proc/pressure/io` (Documentation/accounting/psi.rst), which is in microseconds.
#[cfg(target_os = "linux")]
pub(super) fn io_stalled_ns() -> Option<u64> {
    told(&std::fs::read_to_string("/proc/pressure/io").ok()?)
}

#[cfg(any(target_os = "linux", test))]
fn told(text: &str) -> Option<u64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let total = some.split(' ').find_map(|field| field.strip_prefix("total="))?;
    total.parse::<u64>().ok().map(|microseconds| microseconds.saturating_mul(1000))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn idle_io() -> Option<u32> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(super) fn restore_io(_: u32) {}

#[cfg(not(target_os = "linux"))]
pub(super) fn io_stalled_ns() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_some_is_found() {
        let text =
            "some avg10=1.20 avg60=0.00 avg300=0.00 total=4242\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(told(text), Some(4_242_000));
        for other in ["", "full avg10=0 total=7\n", "some avg10=1 total=x\n", "some\n"] {
            assert_eq!(told(other), None, "{other}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_is_idle_until_it_is_not() {
        let done = std::thread::spawn(|| {
            let before = get();
            // A sandbox may forbid it; then nothing has changed.
            let Some(taken) = idle_io() else { return get() == before };
            let idle = get() == Some(IDLE);
            restore_io(taken);
            // What was never set may be told as the class that follows from the niceness, before and after.
            idle && Some(taken) == before && get().is_some_and(|now| now >> 13 != 3)
        });
        assert!(done.join().unwrap());
    }
}
