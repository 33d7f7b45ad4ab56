//! The guard: signals that would end the process become errors.
//!
//! `SIGBUS` is what a map of a file raises when the file is cut short, or its disk fails, after the pages were
//! populated. `SIGXFSZ` is what a write past `RLIMIT_FSIZE` raises before it fails with `EFBIG`.

use std::sync::Once;

static INSTALLED: Once = Once::new();

/// Installs the guard for the whole process; calling it again changes nothing. It is for programs: a library should not
/// take over signals of its host by itself, and without the guard files are read instead of mapped.
///
/// A `SIGBUS` that is not about a window of this library goes to whoever handled it before.
pub fn install_guard() {
    INSTALLED.call_once(|| {
        pass_over_file_size_signal();
        #[cfg(target_os = "linux")]
        bus::install();
    });
}

/// By an empty handler, since "ignore" would be inherited by every command that the process runs. A handler or an
/// "ignore" that is there already is left alone: either does as well.
fn pass_over_file_size_signal() {
    extern "C" fn nothing(_: libc::c_int) {}
    let Some(before) = action(libc::SIGXFSZ) else { return };
    if before.sa_sigaction == libc::SIG_DFL {
        set_action(libc::SIGXFSZ, nothing as *const () as libc::sighandler_t, libc::SA_RESTART);
    }
}

/// What the process does on a signal.
fn action(signal: libc::c_int) -> Option<libc::sigaction> {
    let mut action = std::mem::MaybeUninit::uninit();
    // SAFETY: without a new action the call only writes the present one to where the pointer shows; it is read only when
    // the call says that it did.
    unsafe { (libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) == 0).then(|| action.assume_init()) }
}

/// Makes `handler` what the process does on a signal; `false` if the system refuses.
pub(super) fn set_action(signal: libc::c_int, handler: libc::sighandler_t, flags: libc::c_int) -> bool {
    // SAFETY: the structure is plain numbers, for all of which zero is a value: no flags and an empty mask. Every handler
    // that is given has the signature that its flags announce, and does nothing that is forbidden in a signal handler.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        libc::sigaction(signal, &raw const action, std::ptr::null_mut()) == 0
    }
}

#[cfg(target_os = "linux")]
pub(super) use bus::Guarded;

#[cfg(target_os = "linux")]
mod bus {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

    use memmap2::Mmap;

    use super::{action, set_action};

    /// Windows that can be mapped at the same time; whoever finds no place reads instead.
    const PLACES: usize = 256;

    static WINDOWS: [Place; PLACES] = [const { Place::free() }; PLACES];
    /// Bytes in a page. Set before the guard is armed, since the handler may not ask.
    static PAGE_BYTES: AtomicUsize = AtomicUsize::new(0);
    static ARMED: AtomicBool = AtomicBool::new(false);
    static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

    /// Where one window is registered. The handler reads it without a lock, so start and length are one word: the start
    /// is a multiple of the page size, and the number of pages fits into the bits that this leaves free.
    struct Place {
        pages: AtomicUsize,
        faulted: AtomicBool,
    }

    impl Place {
        const fn free() -> Self {
            Place { pages: AtomicUsize::new(0), faulted: AtomicBool::new(false) }
        }

        /// The first address from `address`'s page on, and the number of bytes up to the window's end.
        fn rest_from(&self, address: usize) -> Option<(usize, usize)> {
            let page_bytes = PAGE_BYTES.load(SeqCst);
            let word = self.pages.load(SeqCst);
            let start = word & !(page_bytes - 1);
            let end = start + (word & (page_bytes - 1)) * page_bytes;
            let page = address & !(page_bytes - 1);
            (start..end).contains(&page).then(|| (page, end - page))
        }
    }

    /// A map whose faults are caught for as long as it lives.
    pub(in super::super) struct Guarded {
        map: Mmap,
        place: &'static Place,
    }

    impl Guarded {
        /// `None` where the guard is not armed, all places are taken, or the map is too long or empty.
        pub(in super::super) fn new(map: Mmap) -> Option<Self> {
            if !ARMED.load(SeqCst) {
                return None;
            }
            let word = word_of(&map)?;
            let free = |place: &&Place| place.pages.compare_exchange(0, word, SeqCst, SeqCst).is_ok();
            WINDOWS.iter().find(free).map(|place| Guarded { map, place })
        }

        pub(in super::super) fn map(&self) -> &Mmap {
            &self.map
        }

        pub(in super::super) fn bytes(&self) -> &[u8] {
            &self.map
        }

        /// Whether bytes were missing and zeros were put in their place.
        pub(in super::super) fn faulted(&self) -> bool {
            self.place.faulted.load(SeqCst)
        }
    }

    impl Drop for Guarded {
        /// Before the map itself goes, so that the handler never touches what others may have mapped there since. The
        /// mark goes first: the place may be taken the moment it is free.
        fn drop(&mut self) {
            self.place.faulted.store(false, SeqCst);
            self.place.pages.store(0, SeqCst);
        }
    }

    fn word_of(map: &Mmap) -> Option<usize> {
        let page_bytes = PAGE_BYTES.load(SeqCst);
        let first = map.as_ptr() as usize;
        let start = first & !(page_bytes - 1);
        let pages = (first + map.len() - start).div_ceil(page_bytes);
        (!map.is_empty() && pages < page_bytes).then_some(start | pages)
    }

    /// Arms the guard; where the system refuses, nothing is mapped.
    pub(super) fn install() {
        let page_bytes = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
        let (Some(page_bytes), Some(before)) = (page_bytes, action(libc::SIGBUS)) else { return };
        PAGE_BYTES.store(page_bytes as usize, SeqCst);
        let _ = BEFORE.set(before);
        let handler = on_bus_error as *const () as libc::sighandler_t;
        ARMED.store(set_action(libc::SIGBUS, handler, libc::SA_SIGINFO | libc::SA_ONSTACK), SeqCst);
    }

    /// Runs wherever the fault struck: it takes no lock, allocates nothing and leaves `errno` as it was.
    extern "C" fn on_bus_error(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: the kernel passes a valid structure to a handler installed with SA_SIGINFO, and the C library gives each
        // thread its own errno, at an address that stays valid while the thread runs.
        let (code, address, errno) = unsafe { ((*info).si_code, (*info).si_addr() as usize, libc::__errno_location()) };
        // SAFETY: as above.
        let saved = unsafe { *errno };
        // A code of zero or less is a signal that somebody sent: it has no address.
        if code <= 0 || !zeros_under(address) {
            step_aside(code);
        }
        // SAFETY: as above.
        unsafe { *errno = saved };
    }

    /// Puts zeros from the faulting page to the end of the window it is in, and marks the window; `false` if it is in
    /// none.
    fn zeros_under(address: usize) -> bool {
        for place in &WINDOWS {
            if let Some((start, length)) = place.rest_from(address) {
                place.faulted.store(true, SeqCst);
                return map_zeros(start, length);
            }
        }
        false
    }

    fn map_zeros(start: usize, length: usize) -> bool {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
        // SAFETY: the range lies within a map that a `Guarded` owns, and it cannot be unmapped now: the thread that faulted
        // does so while it borrows the map's bytes. Only the pages behind those bytes are exchanged, for zeros with the
        // same right to be read. The call is a bare system call, as a signal handler needs it.
        let mapped = unsafe { libc::mmap(start as *mut libc::c_void, length, libc::PROT_READ, flags, -1, 0) };
        mapped != libc::MAP_FAILED
    }

    /// Gives the signal back to whoever had it before, for good: no more windows are mapped. A fault strikes again when
    /// the handler returns, and then reaches them; what was sent, or concerns no instruction, is sent again.
    fn step_aside(code: libc::c_int) {
        ARMED.store(false, SeqCst);
        let before = BEFORE.get().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the action is the one that the process had, as the kernel told it. Both calls may be made in a handler.
        unsafe {
            libc::sigaction(libc::SIGBUS, before, std::ptr::null_mut());
            if !(libc::BUS_ADRALN..=libc::BUS_MCEERR_AR).contains(&code) {
                libc::raise(libc::SIGBUS);
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::machine::real::install_guard;
        use crate::machine::real::tests::{child_status, is_child, path_of};
        use memmap2::MmapOptions;
        use std::os::unix::process::ExitStatusExt;

        /// No core files from deaths that are wanted.
        fn without_core() {
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: the structure outlives the call that reads it.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) }, 0);
        }

        #[test]
        fn a_fault_in_a_foreign_map_still_ends_the_process() {
            if is_child() {
                without_core();
                install_guard();
                let file = tempfile::tempfile().unwrap();
                file.set_len(4096).unwrap();
                // SAFETY: that it faults is what is tested.
                let map = unsafe { MmapOptions::new().len(4096).map(&file) }.unwrap();
                file.set_len(0).unwrap();
                std::process::exit(i32::from(std::hint::black_box(&map)[0]));
            }
            let status = child_status(path_of!(a_fault_in_a_foreign_map_still_ends_the_process));
            assert_eq!(status.signal(), Some(libc::SIGBUS));
        }

        #[test]
        fn a_signal_that_somebody_sent_goes_where_it_went_before() {
            if is_child() {
                without_core();
                install_guard();
                // The standard library's own handler takes the first for its own, and makes the second fatal.
                for _ in 0..2 {
                    // SAFETY: the call touches no memory.
                    unsafe { libc::raise(libc::SIGBUS) };
                    assert!(!ARMED.load(SeqCst));
                }
                std::process::exit(0);
            }
            let status = child_status(path_of!(a_signal_that_somebody_sent_goes_where_it_went_before));
            assert_eq!(status.signal(), Some(libc::SIGBUS));
        }

        #[test]
        fn a_full_register_means_no_map() {
            if is_child() {
                install_guard();
                let file = tempfile::tempfile().unwrap();
                file.set_len(4096).unwrap();
                // SAFETY: nobody cuts the file short.
                let guarded = || Guarded::new(unsafe { MmapOptions::new().len(4096).map(&file) }.unwrap());
                let all: Vec<_> = std::iter::from_fn(guarded).collect();
                assert_eq!(all.len(), PLACES);
                drop(all);
                assert!(guarded().is_some());
                return;
            }
            assert!(child_status(path_of!(a_full_register_means_no_map)).success());
        }

        #[test]
        fn a_window_too_long_for_the_register_is_refused() {
            install_guard();
            let page_bytes = PAGE_BYTES.load(SeqCst);
            let map = |pages: usize| MmapOptions::new().len(pages * page_bytes).map_anon().unwrap().make_read_only();
            assert!(word_of(&map(page_bytes).unwrap()).is_none());
            let longest = map(page_bytes - 1).unwrap();
            let place = Place::free();
            place.pages.store(word_of(&longest).unwrap(), SeqCst);
            let (first, length) = (longest.as_ptr() as usize, longest.len());
            assert_eq!(place.rest_from(first + 5), Some((first, length)));
            assert_eq!(place.rest_from(first + length - 1), Some((first + length - page_bytes, page_bytes)));
            assert_eq!(place.rest_from(first + length), None);
            assert_eq!(place.rest_from(first - 1), None);
            assert_eq!(Place::free().rest_from(0), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::real::tests::{child_status, is_child, path_of};
    use std::os::unix::fs::FileExt;
    use std::os::unix::process::ExitStatusExt;

    fn write_past_the_limit() -> std::io::Error {
        let limit = libc::rlimit { rlim_cur: 4096, rlim_max: 4096 };
        // SAFETY: the structure outlives the call that reads it.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) }, 0);
        tempfile::tempfile().unwrap().write_all_at(&[1; 8192], 0).unwrap_err()
    }

    #[test]
    fn a_file_past_its_limit_is_an_error() {
        if is_child() {
            install_guard();
            assert_eq!(write_past_the_limit().kind(), std::io::ErrorKind::FileTooLarge);
            return;
        }
        assert!(child_status(path_of!(a_file_past_its_limit_is_an_error)).success());
    }

    #[test]
    fn commands_do_not_inherit_the_guard() {
        if is_child() {
            install_guard();
            let status = std::process::Command::new("sh").args(["-c", "kill -XFSZ $$"]).status().unwrap();
            assert_eq!(status.signal(), Some(libc::SIGXFSZ));
            return;
        }
        assert!(child_status(path_of!(commands_do_not_inherit_the_guard)).success());
    }
}
