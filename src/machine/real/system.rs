//! The clocks, chance, the umask and the kernel's release.

use std::fs;
use std::io;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::Mode;

/// Nanoseconds since the epoch; zero before it.
pub(super) fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, whole_ns)
}

/// Nanoseconds since this was first asked in this process.
pub(super) fn monotonic_ns() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    whole_ns(START.elapsed())
}

fn whole_ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Fills `buffer` from the kernel's generator.
pub(super) fn random(buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        filled += super::uninterrupted(|| some_random(&mut buffer[filled..]))?;
    }
    Ok(())
}

/// Fills the beginning of `buffer`, and says how much of it.
#[cfg(target_os = "linux")]
fn some_random(buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the call writes at most the buffer's length to the buffer, which outlives it.
    let count = unsafe { libc::getrandom(buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Fills the beginning of `buffer`, and says how much of it: the call refuses more than 256 bytes.
#[cfg(not(target_os = "linux"))]
fn some_random(buffer: &mut [u8]) -> io::Result<usize> {
    let count = buffer.len().min(256);
    // SAFETY: the call writes that many bytes to the buffer, which is at least as long and outlives it.
    let done = unsafe { libc::getentropy(buffer.as_mut_ptr().cast(), count) };
    if done == 0 { Ok(count) } else { Err(io::Error::last_os_error()) }
}

/// The umask of the process. It can only be read without changing it where `/proc` tells it.
pub(super) fn umask() -> u32 {
    let told = fs::read_to_string("/proc/self/status").ok();
    told.as_deref().and_then(told_umask).unwrap_or_else(umask_by_setting)
}

fn told_umask(status: &str) -> Option<u32> {
    let digits = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(digits.trim(), 8).ok()
}

/// Sets it for a moment, to what gives nobody more rights on a file that another thread makes just then.
fn umask_by_setting() -> u32 {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let found = nix::sys::stat::umask(Mode::S_IRWXG | Mode::S_IRWXO);
    nix::sys::stat::umask(found);
    wide(found.bits())
}

/// A mode has 16 bits on macOS.
fn wide(bits: impl Into<u32>) -> u32 {
    bits.into()
}

/// How many descriptors this process may have.
pub(super) fn most_descriptors() -> u64 {
    static MOST: LazyLock<u64> = LazyLock::new(|| getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft));
    *MOST
}

/// Linux 5.8 and later: before, the error of a write-back went to whoever synced the file, and `syncfs` said nothing.
pub(super) fn syncfs_reports_errors() -> bool {
    cfg!(target_os = "linux")
        && nix::sys::utsname::uname()
            .is_ok_and(|names| release_of(&names.release().to_string_lossy()).is_some_and(|release| release >= (5, 8)))
}

/// The first two numbers of a kernel's release.
fn release_of(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::real::tests::alone;

    #[test]
    fn releases_are_compared_as_numbers() {
        for (release, expected) in [
            ("5.8.0", Some((5, 8))),
            ("5.10.0-26-amd64", Some((5, 10))),
            ("6.18-rc1", Some((6, 18))),
            ("4.4.0", Some((4, 4))),
            ("6", None),
            ("", None),
            ("x.y", None),
        ] {
            assert_eq!(release_of(release), expected, "{release}");
        }
        assert!(Some((5, 10)) >= Some((5, 8)) && Some((4, 19)) < Some((5, 8)));
    }

    #[test]
    fn both_ways_to_the_umask_agree_and_leave_it() {
        alone!(both_ways_to_the_umask_agree_and_leave_it);
        for mask in [0o027, 0o077, 0, 0o777] {
            nix::sys::stat::umask(Mode::from_bits_truncate(mask));
            let expected = wide(mask);
            assert_eq!((umask(), umask_by_setting(), umask()), (expected, expected, expected));
        }
    }

    #[test]
    fn the_umask_is_found_in_a_status() {
        assert_eq!(told_umask("Name:\tx\nUmask:\t0022\nState:\tR\n"), Some(0o022));
        assert_eq!(told_umask("Name:\tx\n"), None);
    }

    #[test]
    fn chance_fills_everything_and_does_not_repeat_itself() {
        let (mut one, mut other) = (vec![0; 100_000], vec![0; 100_000]);
        random(&mut one).unwrap();
        random(&mut other).unwrap();
        assert!(one != other);
        assert!(one.chunks(32).all(|chunk| chunk.iter().any(|&byte| byte != 0)));
        random(&mut []).unwrap();
    }

    #[test]
    fn the_clocks_go_forward() {
        let (before, start) = (monotonic_ns(), now_ns());
        std::thread::sleep(Duration::from_millis(1));
        assert!(monotonic_ns() >= before + 1_000_000);
        assert!(start > 1_700_000_000_000_000_000);
    }
}
