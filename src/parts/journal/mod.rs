//! The journal: segments of frames that only ever grow, and the truth about the store.
//!
//! [`segment`] reads one file, `look` looks at them for checks, [`chain`] reads base and later segments as one sequence and says what is wrong with it,
//! `end` knows whether anything was appended since, [`mod@write`] appends, begins segments and cuts torn tails for whoever holds `lock`.

pub mod chain;
mod end;
mod look;
pub mod segment;
pub mod write;

use std::path::PathBuf;
use std::sync::Arc;

use crate::format::header::{Header, SegmentKind};
use crate::machine::Machine;
use crate::vocabulary::{Error, Result};

/// Which segment: its first sequence and its salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SegmentId {
    /// The sequence that its file name begins with.
    pub number: u64,
    /// Its salt.
    pub salt: [u8; 16],
}

/// The place after a frame, from where reading goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The segment.
    pub segment: SegmentId,
    /// Byte offset at which the next frame begins.
    pub offset: u64,
    /// Byte offset of the last frame in this segment; `None` if it has none before here.
    pub last: Option<u64>,
    /// Sequence of the last frame, wherever it is.
    pub sequence: u64,
    /// Its hash; zeros if it is not known.
    pub hash: [u8; 32],
    /// The highest synced-through seen.
    pub synced_through: u64,
    /// Journal time of the last frame, nanoseconds since the epoch.
    pub time_ns: u64,
}

/// The directory of segments of one store.
#[derive(Clone)]
pub struct Journal {
    machine: Arc<dyn Machine>,
    directory: PathBuf,
    store: [u8; 16],
    end: Arc<end::End>,
}

/// The file name of a segment.
pub(crate) fn file_name(header: &Header) -> String {
    let salt = u64::from_be_bytes(header.salt[..8].try_into().expect("eight bytes"));
    match header.kind {
        SegmentKind::Base => format!("{:016x}-{salt:016x}.base", header.follows),
        SegmentKind::Later => format!("{:016x}-{salt:016x}.log", header.first),
    }
}

/// What a file name in `journal/` says: the kind and its number.
fn parse_file_name(name: &str) -> Option<(SegmentKind, u64)> {
    let (stem, kind) = match name.strip_suffix(".base") {
        Some(stem) => (stem, SegmentKind::Base),
        None => (name.strip_suffix(".log")?, SegmentKind::Later),
    };
    let (number, salt) = stem.split_once('-')?;
    let hex = |text: &str| text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (hex(number) && hex(salt)).then(|| u64::from_str_radix(number, 16).ok()).flatten().map(|n| (kind, n))
}

/// Which of all segments a later one is, in the order of their making: the first four bytes of its salt.
fn ordinal(name: &str) -> u32 {
    let digits = name.split_once('-').and_then(|(_, salt)| salt.get(..8));
    digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0)
}

/// Whether the segment file `name` is the one with this salt.
fn file_name_has_salt(name: &str, salt: &[u8; 16]) -> bool {
    let half = u64::from_be_bytes(salt[..8].try_into().expect("eight bytes"));
    name.contains(&format!("-{half:016x}."))
}

impl Journal {
    /// The journal in `directory` of the store whose id is `store`.
    pub fn new(machine: Arc<dyn Machine>, directory: PathBuf, store: [u8; 16]) -> Self {
        Journal { machine, directory, store, end: Arc::default() }
    }

    /// The machine that it is read and written on.
    pub fn machine(&self) -> &Arc<dyn Machine> {
        &self.machine
    }

    /// The files that are there, oldest first: bases, then later segments.
    pub(crate) fn listing(&self) -> Result<Listing> {
        let entries = self.machine.list(&self.directory).map_err(|e| Error::io("list", &self.directory, e))?;
        let mut listing = Listing::default();
        for entry in entries {
            let Some(name) = entry.name.to_str() else { continue };
            match parse_file_name(name) {
                Some((SegmentKind::Base, number)) => listing.bases.push((number, name.to_owned())),
                Some((SegmentKind::Later, number)) => listing.later.push((number, name.to_owned())),
                None => {}
            }
        }
        listing.bases.sort();
        listing.later.sort();
        Ok(listing)
    }

    /// Bytes of the newest base; zero if there is none.
    pub fn base_bytes(&self) -> Result<u64> {
        let listing = self.listing()?;
        let newest = listing.bases.last().and_then(|(_, name)| self.machine.lstat(&self.directory.join(name)).ok());
        Ok(newest.map_or(0, |meta| meta.size_bytes))
    }

    /// Bytes of all segments, and of those that the current generation needs.
    pub fn sizes(&self) -> Result<(u64, u64)> {
        let listing = self.listing()?;
        let newest = listing.bases.last().map(|(number, _)| *number);
        let (mut all, mut current) = (0, 0);
        for (number, name) in listing.bases.iter().chain(&listing.later) {
            let Ok(meta) = self.machine.lstat(&self.directory.join(name)) else { continue };
            all += meta.size_bytes;
            let is_base = name.ends_with(".base");
            if (is_base && Some(*number) == newest) || (!is_base && newest.is_none_or(|through| *number > through)) {
                current += meta.size_bytes;
            }
        }
        Ok((all, current))
    }
}

/// The names in `journal/`, each with its number, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    pub(crate) bases: Vec<(u64, String)>,
    pub(crate) later: Vec<(u64, String)>,
}
