//! Showing a file's bytes in windows: mapped where a guard stands behind the map, read otherwise.

use std::fs;
use std::io;

use super::read::{Look, read};
use crate::machine::Window;
use crate::vocabulary::limits::{IO_CHUNK_BYTES, MAP_WINDOW_BYTES};

/// Shows `length` bytes from `offset` on, in order, and never more than `MAP_WINDOW_BYTES` at a time.
pub(super) fn windows(file: &fs::File, maps: bool, offset: u64, length: u64, look: Look<'_>) -> io::Result<()> {
    let end = offset.checked_add(length).ok_or(io::ErrorKind::InvalidInput)?;
    let mut buffer = Vec::new();
    let mut at = offset;
    while at < end {
        let length = (end - at).min(MAP_WINDOW_BYTES as u64) as usize;
        // What one read can bring is read: making and taking down a map costs more than the copy that it saves.
        let maps = maps && length > IO_CHUNK_BYTES;
        if !(maps && mapped(file, at, length, look)?) {
            read(file, at, length, &mut buffer, look)?;
        }
        at += length as u64;
    }
    Ok(())
}

/// `false` when the window cannot be mapped: nothing was shown then.
#[cfg(target_os = "linux")]
fn mapped(file: &fs::File, offset: u64, length: usize, look: Look<'_>) -> io::Result<bool> {
    super::map::show(file, offset, length, look)
}

#[cfg(not(target_os = "linux"))]
fn mapped(_: &fs::File, _: u64, _: usize, _: Look<'_>) -> io::Result<bool> {
    Ok(false)
}

/// One window, to be held; `None` when it cannot be mapped.
pub(super) fn window(file: &fs::File, maps: bool, offset: u64, length: usize) -> io::Result<Option<Box<dyn Window>>> {
    if maps && length <= MAP_WINDOW_BYTES { held(file, offset, length) } else { Ok(None) }
}

#[cfg(target_os = "linux")]
fn held(file: &fs::File, offset: u64, length: usize) -> io::Result<Option<Box<dyn Window>>> {
    super::map::window(file, offset, length)
}

#[cfg(not(target_os = "linux"))]
fn held(_: &fs::File, _: u64, _: usize) -> io::Result<Option<Box<dyn Window>>> {
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::real::install_guard;
    use proptest::prelude::*;

    const BIG: usize = 2 * MAP_WINDOW_BYTES + 12_345;

    fn patterned(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
    }

    fn file_of(bytes: &[u8]) -> fs::File {
        use std::io::Write;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    /// What was shown, and how it ended.
    fn shown(file: &fs::File, maps: bool, offset: u64, length: u64) -> (Vec<u8>, io::Result<()>) {
        let mut bytes = Vec::new();
        let end = windows(file, maps, offset, length, &mut |window| {
            assert!(!window.is_empty() && window.len() <= MAP_WINDOW_BYTES);
            bytes.extend_from_slice(window);
            Ok(())
        });
        (bytes, end)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn mapped_and_read_are_the_same(size in 0..BIG, offset in 0..BIG, length in 0..BIG) {
            install_guard();
            let bytes = patterned(size);
            let file = file_of(&bytes);
            let (mapped, mapped_end) = shown(&file, true, offset as u64, length as u64);
            let (read, read_end) = shown(&file, false, offset as u64, length as u64);
            let whole = length == 0 || offset + length <= size;
            prop_assert_eq!(mapped_end.is_ok(), whole);
            prop_assert_eq!(mapped_end.map_err(|e| e.kind()), read_end.map_err(|e| e.kind()));
            prop_assert!(mapped == read);
            let expected = bytes.get(offset..(offset + length).min(size)).unwrap_or_default();
            let as_expected = if whole { read == expected } else { expected.starts_with(&read) };
            prop_assert!(as_expected);
        }
    }

    #[test]
    fn the_edges_of_windows_are_right() {
        install_guard();
        let bytes = patterned(BIG);
        let file = file_of(&bytes);
        let window = MAP_WINDOW_BYTES;
        for maps in [false, true] {
            for (from, to) in [(0, BIG), (0, window), (1, window + 1), (window, 2 * window), (4095, 4097), (BIG, BIG)] {
                let (seen, end) = shown(&file, maps, from as u64, (to - from) as u64);
                end.unwrap();
                assert!(seen == bytes[from..to], "{from}..{to}, maps {maps}");
            }
            assert_eq!(shown(&file, maps, u64::MAX, 1).1.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn a_look_can_stop_it() {
        install_guard();
        let file = file_of(&patterned(BIG));
        for maps in [false, true] {
            let mut looks = 0;
            let stopped = windows(&file, maps, 0, BIG as u64, &mut |_| {
                looks += 1;
                Err(io::ErrorKind::Other.into())
            });
            assert_eq!(stopped.unwrap_err().kind(), io::ErrorKind::Other);
            assert_eq!(looks, 1);
        }
    }

    #[test]
    fn a_file_cut_short_between_two_looks_is_an_error() {
        install_guard();
        for maps in [false, true] {
            let file = file_of(&patterned(BIG));
            let mut first = true;
            let end = windows(&file, maps, 0, BIG as u64, &mut |_| {
                if std::mem::take(&mut first) {
                    file.set_len(MAP_WINDOW_BYTES as u64)?;
                }
                Ok(())
            });
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "maps {maps}");
        }
    }
}
