//! One mapped window of a file.

use std::fs;
use std::io;

use memmap2::{Advice, Mmap, MmapOptions};

use super::guard::Guarded;
use super::read::{Look, why_lost};
use crate::machine::Window;

/// Shows one window through a map. `false` when it cannot be had: without the guard, past the end of the file, with a
/// bad sector, on a kernel before 5.14. Nothing was shown then, and reading tells what is wrong.
///
/// What `look` said counts only if all bytes were there to the end: otherwise it rests on zeros.
pub(super) fn show(file: &fs::File, offset: u64, length: usize, look: Look<'_>) -> io::Result<bool> {
    // The rest of the last page of a file is mapped too, as zeros, so the kernel alone does not refuse it.
    if !reaches(file, offset, length)? {
        return Ok(false);
    }
    let Some(window) = populated(file, offset, length) else { return Ok(false) };
    let said = look(window.bytes());
    was_whole(&window, file, offset)?;
    said.map(|()| true)
}

/// Whether all bytes of a window were there for as long as it was looked at.
fn was_whole(window: &Guarded, file: &fs::File, offset: u64) -> io::Result<()> {
    let length = window.bytes().len();
    if window.faulted() || !reaches(file, offset, length)? {
        return Err(why_lost(file, offset, length));
    }
    Ok(())
}

/// A window that is held while others are: see [`window`].
struct Held {
    window: Guarded,
    file: fs::File,
    offset: u64,
}

impl Window for Held {
    fn bytes(&self) -> &[u8] {
        self.window.bytes()
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        was_whole(&self.window, &self.file, self.offset)
    }
}

/// One window, to be held; `None` as with [`show`].
pub(super) fn window(file: &fs::File, offset: u64, length: usize) -> io::Result<Option<Box<dyn Window>>> {
    if !reaches(file, offset, length)? {
        return Ok(None);
    }
    // A descriptor of its own, so that the window can be asked how it ended whatever became of the first.
    let (Some(window), Ok(file)) = (populated(file, offset, length), file.try_clone()) else { return Ok(None) };
    Ok(Some(Box::new(Held { window, file, offset })))
}

fn reaches(file: &fs::File, offset: u64, length: usize) -> io::Result<bool> {
    Ok(file.metadata()?.len() >= offset + length as u64)
}

/// The window with all its pages in place: what cannot be read is refused here, by an error instead of a signal. Where they
/// are in the cache already, the faults of whoever looks bring them in by whole folios, which costs less than asking for each
/// page; should one of them be gone by then, there is the guard.
fn populated(file: &fs::File, offset: u64, length: usize) -> Option<Guarded> {
    let window = Guarded::new(map(file, offset, length).ok()?)?;
    if !seems_resident(window.map()) {
        window.map().advise(Advice::PopulateRead).ok()?;
    }
    Some(window)
}

/// How finely a window is asked about.
const SAMPLE_BYTES: usize = 256 << 10;

/// Whether the first page of each piece of a map, and one near its end, are in the cache.
fn seems_resident(map: &Mmap) -> bool {
    let last = map.len().saturating_sub(1) / PAGE_MAX_BYTES as usize * PAGE_MAX_BYTES as usize;
    (0..map.len()).step_by(SAMPLE_BYTES).chain([last]).all(|at| page_is_resident(map, at).unwrap_or(false))
}

/// Whether the page at `at`, where one begins, is in the cache.
fn page_is_resident(map: &Mmap, at: usize) -> io::Result<bool> {
    let mut page = 0_u8;
    // SAFETY: the address lies in the map, at the beginning of a page, and the map lives until after the call; one byte of
    // it is one page, for whose answer there is room.
    match unsafe { libc::mincore(map.as_ptr().wrapping_add(at).cast_mut().cast(), 1, &raw mut page) } {
        0 => Ok(page & 1 != 0),
        _ => Err(io::Error::last_os_error()),
    }
}

fn map(file: &fs::File, offset: u64, length: usize) -> io::Result<Mmap> {
    // SAFETY: only sealed files that the store owns are mapped, so their bytes do not change under the slice. Should
    // somebody change them all the same, they are bytes, of which every value is valid, and they go through a digest that
    // then does not match; should somebody cut the file short, the guard puts zeros there and the window is refused.
    unsafe { MmapOptions::new().offset(offset).len(length).map(file) }
}

/// How much of a file is asked for at once whether it is in the cache.
const RESIDENCY_BYTES: usize = 1 << 30;

/// Whether no page of the file is in the cache. The kernel answers truly to the owner of a file and says that all are to
/// anybody else.
pub(super) fn is_uncached(file: &fs::File) -> io::Result<bool> {
    let length = file.metadata()?.len();
    // Every page is at least this large, so there is room for an answer for each.
    let mut resident = vec![0_u8; usize::try_from(length).unwrap_or(usize::MAX).min(RESIDENCY_BYTES).div_ceil(4096)];
    let mut at = 0;
    while at < length {
        let part = usize::try_from(length - at).unwrap_or(usize::MAX).min(RESIDENCY_BYTES);
        // SAFETY: nothing of the map is read or written; it is asked about and dropped.
        let map = unsafe { MmapOptions::new().offset(at).len(part).map(file)? };
        // SAFETY: the range is that of the map, which lives until after the call, and the answer takes one byte for each
        // of its pages, for which there is room.
        if unsafe { libc::mincore(map.as_ptr().cast_mut().cast(), part, resident.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        if resident[..part.div_ceil(4096)].iter().any(|page| page & 1 != 0) {
            return Ok(false);
        }
        at += part as u64;
    }
    Ok(true)
}

/// For each piece of so many bytes, whether its first page is in the cache. The kernel looks at every page that it is asked
/// about, which for all of them would take a tenth of the time that hashing takes.
pub(super) fn resident(file: &fs::File, piece_bytes: u64) -> io::Result<Vec<bool>> {
    if piece_bytes == 0 || !piece_bytes.is_multiple_of(PAGE_MAX_BYTES) || piece_bytes > RESIDENCY_BYTES as u64 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let (length, whole) = (file.metadata()?.len(), RESIDENCY_BYTES as u64 / piece_bytes * piece_bytes);
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < length {
        let part = (length - at).min(whole) as usize;
        // SAFETY: nothing of the map is read or written; it is asked about and dropped.
        let map = unsafe { MmapOptions::new().offset(at).len(part).map(file)? };
        for start in (0..part).step_by(piece_bytes as usize) {
            pieces.push(page_is_resident(&map, start)?);
        }
        at += part as u64;
    }
    Ok(pieces)
}

/// No page is larger than this on any machine; a piece is made of whole pages.
const PAGE_MAX_BYTES: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::real::install_guard;
    use crate::machine::real::tests::alone;
    use std::io::Write;

    const LENGTH: usize = 3 << 20;

    fn file_of_ones() -> fs::File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![1; LENGTH]).unwrap();
        file
    }

    #[test]
    fn without_the_guard_nothing_is_mapped() {
        alone!(without_the_guard_nothing_is_mapped);
        let file = file_of_ones();
        assert!(!show(&file, 0, LENGTH, &mut |_| panic!("shown")).unwrap());
        install_guard();
        assert!(show(&file, 0, LENGTH, &mut |_| Ok(())).unwrap());
    }

    #[test]
    fn cut_short_under_the_look_is_an_error_and_not_a_signal() {
        install_guard();
        for kept in [0, 4096, LENGTH / 2 + 17] {
            let file = file_of_ones();
            let end = show(&file, 0, LENGTH, &mut |window| {
                assert!(window.iter().all(|&byte| byte == 1));
                file.set_len(kept as u64)?;
                // Only the guard's zero pages can be read here: without it this is a fatal signal.
                assert!(window[kept.next_multiple_of(65_536)..].iter().all(|&byte| byte == 0));
                assert!(window[..kept].iter().all(|&byte| byte == 1));
                Ok(())
            });
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn many_threads_may_fault_in_one_window() {
        install_guard();
        let file = file_of_ones();
        let end = show(&file, 0, LENGTH, &mut |window| {
            file.set_len(0)?;
            std::thread::scope(|scope| {
                for part in window.chunks(LENGTH / 8) {
                    scope.spawn(move || assert!(part.iter().rev().all(|&byte| byte == 0)));
                }
            });
            Ok(())
        });
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_fault_counts_more_than_what_the_look_said_or_a_file_that_is_whole_again() {
        install_guard();
        let file = file_of_ones();
        let end = show(&file, 0, LENGTH, &mut |window| {
            file.set_len(0)?;
            assert_eq!(window[LENGTH - 1], 0);
            file.set_len(LENGTH as u64)?;
            Err(io::Error::other("the digest does not match"))
        });
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn cut_short_within_the_last_page_is_an_error() {
        install_guard();
        let file = file_of_ones();
        let end = show(&file, 0, LENGTH, &mut |window| {
            file.set_len(LENGTH as u64 - 1)?;
            assert_eq!(window[0], 1);
            Ok(())
        });
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_window_that_is_held_tells_in_the_end_whether_it_was_whole() {
        install_guard();
        let file = file_of_ones();
        let good = window(&file, 4096, LENGTH - 4096).unwrap().unwrap();
        let cut = window(&file, 0, LENGTH).unwrap().unwrap();
        assert!(window(&file, 1 << 20, LENGTH).unwrap().is_none());
        assert!(good.bytes().iter().all(|&byte| byte == 1));
        good.close().unwrap();
        file.set_len(4096).unwrap();
        assert_eq!((cut.bytes()[4095], cut.bytes()[LENGTH - 1]), (1, 0));
        file.set_len(LENGTH as u64).unwrap();
        assert_eq!(cut.close().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_window_past_the_end_is_not_mapped() {
        install_guard();
        let file = file_of_ones();
        assert!(!show(&file, 0, LENGTH + 1, &mut |_| panic!("shown")).unwrap());
        assert!(populated(&file, LENGTH as u64, 2 << 20).is_none(), "the kernel refuses it by itself");
    }

    #[test]
    fn a_look_that_panics_lets_go_of_its_window() {
        install_guard();
        let file = file_of_ones();
        for _ in 0..2_000 {
            let looked =
                std::panic::catch_unwind(|| show(&file, 0, 4096, &mut |_| std::panic::resume_unwind(Box::new(0))));
            assert!(looked.is_err());
        }
        assert!(show(&file, 0, LENGTH, &mut |_| Ok(())).unwrap());
    }
}
