//! How the library speaks while it works: to an observer, never to a terminal.

use std::path::PathBuf;

use super::digest::Digest;
use super::entry::Key;
use super::finding::Finding;
use super::name::Name;
use super::ranges::Damage;

/// What became of one file that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddStatus {
    /// Its bytes were not in the store and now are.
    New,
    /// Its bytes were in the store already.
    Dedup,
    /// Its bytes were recorded but damaged, and have been put right from this source.
    Healed,
    /// The name already meant these bytes.
    Unchanged,
}

impl AddStatus {
    /// Whether its bytes were there and needed not be stored again.
    pub fn is_dedup(self) -> bool {
        matches!(self, AddStatus::Dedup | AddStatus::Unchanged)
    }

    /// The word for it in JSON and on the terminal.
    pub fn word(self) -> &'static str {
        match self {
            AddStatus::New => "new",
            AddStatus::Dedup => "dedup",
            AddStatus::Healed => "healed",
            AddStatus::Unchanged => "unchanged",
        }
    }
}

/// What was found about one blob by reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyStatus {
    /// The bytes are those that the digest names.
    Ok,
    /// They are not.
    Corrupt,
    /// The file is not there.
    Missing,
    /// It could not be read to its end; nothing is known about the bytes.
    Unreadable,
}

impl VerifyStatus {
    /// The word for it in JSON and on the terminal.
    pub fn word(self) -> &'static str {
        match self {
            VerifyStatus::Ok => "ok",
            VerifyStatus::Corrupt => "corrupt",
            VerifyStatus::Missing => "missing",
            VerifyStatus::Unreadable => "unreadable",
        }
    }
}

/// What became of one blob that was to be repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepairStatus {
    /// Its bytes are right as they are.
    Sound,
    /// Good bytes are in its place, and every name of it leads to them.
    Repaired,
    /// Good bytes were found, and nothing was changed since nobody wanted it to be.
    WouldRepair,
    /// No good bytes were found, or they could not be put in place.
    Unrepaired,
}

impl RepairStatus {
    /// The word for it in JSON and on the terminal.
    pub fn word(self) -> &'static str {
        match self {
            RepairStatus::Sound => "sound",
            RepairStatus::Repaired => "repaired",
            RepairStatus::WouldRepair => "would_repair",
            RepairStatus::Unrepaired => "unrepaired",
        }
    }
}

/// Where good bytes may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The store's own further inode of the blob.
    Carrier,
    /// A file under `names/` that is another inode than the bad one.
    Name,
    /// The file that the blob was added from.
    Source,
    /// What the caller offered.
    Offered,
    /// The blob's own file: for a carrier, or what is right of a file that is wrong in other places.
    Blob,
    /// A bad file of the blob that is in quarantine, as far as it is right.
    Quarantine,
}

impl Origin {
    /// The word for it in JSON and on the terminal.
    pub fn word(self) -> &'static str {
        match self {
            Origin::Carrier => "carrier",
            Origin::Name => "name",
            Origin::Source => "source",
            Origin::Offered => "offered",
            Origin::Blob => "blob",
            Origin::Quarantine => "quarantine",
        }
    }
}

/// Bytes that were put together with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What kind of place it was.
    pub origin: Origin,
    /// The file.
    pub path: PathBuf,
    /// How many bytes of it.
    pub bytes: u64,
}

/// One blob that was to be repaired, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The digest that names it.
    pub digest: Digest,
    /// The number of the carrier, where it is not the blob's own file that was repaired.
    pub carrier: Option<u32>,
    /// Every alias of it.
    pub names: Vec<Name>,
    /// Its recorded length in bytes.
    pub size_bytes: u64,
    /// What came of it.
    pub status: RepairStatus,
    /// What was wrong with it; empty when nothing was.
    pub found: String,
    /// Where it was wrong, as far as that can be told.
    pub damage: Damage,
    /// Where the good bytes were; of several files, the first.
    pub from: Option<(Origin, PathBuf)>,
    /// How many of them were taken from where, if not all are of one file.
    pub taken: Vec<Taken>,
    /// What was looked at in vain, and why it would not do.
    pub tried: Vec<(PathBuf, String)>,
    /// Links to the bad file that larder does not know: they keep the bad bytes.
    pub outside_links: u64,
    /// Those of them that it does know: files that were taken in by link.
    pub outside: Vec<PathBuf>,
    /// Files in quarantine that stood in this blob's place, now or before.
    pub evidence: Vec<PathBuf>,
}

/// What was found of one carrier by reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarrierSeen {
    /// Its number, from 1.
    pub number: u32,
    /// What was found.
    pub status: VerifyStatus,
    /// What exactly was wrong; empty when nothing was.
    pub detail: String,
    /// Where it is wrong, as far as that can be told.
    pub damage: Damage,
}

/// Something that happened, told when it is true: an [`Event::Added`] comes after its batch is durable.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A file and its name are kept as the store's durability promises.
    Added {
        /// The name it is kept under.
        name: Name,
        /// Its digest.
        digest: Digest,
        /// Its length in bytes.
        size_bytes: u64,
        /// What it took.
        status: AddStatus,
        /// What was done otherwise than asked, and why (a copy instead of a link, a counted name instead of a
        /// hardlinked one).
        note: Option<String>,
    },
    /// A source was left out, on purpose.
    Skipped {
        /// The source.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// One of several pieces of work failed; the rest goes on.
    Failed {
        /// The source or destination, or the name as a path.
        path: PathBuf,
        /// Why, in full.
        reason: String,
    },
    /// A blob was collected: it is on no record any more, and its file is gone from the store.
    Removed {
        /// The digest that named it.
        digest: Digest,
        /// Its length in bytes.
        size_bytes: u64,
        /// Bytes that this really freed: none while a link outside the store is left.
        freed_bytes: u64,
    },
    /// A blob was read and compared with its digest.
    Verified {
        /// The digest that names it.
        digest: Digest,
        /// Every alias of it.
        names: Vec<Name>,
        /// Its recorded length in bytes.
        size_bytes: u64,
        /// What was found.
        status: VerifyStatus,
        /// What exactly was wrong; empty when nothing was.
        detail: String,
        /// Where it is wrong, as far as that can be told.
        damage: Damage,
        /// Its carriers: further inodes that the store keeps.
        carriers: Vec<CarrierSeen>,
    },
    /// A file was made for a name outside the store.
    Materialized {
        /// The name or digest it came from.
        from: String,
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        size_bytes: u64,
        /// How: `hardlink`, `reflink`, `copy` or `symlink`.
        mode: &'static str,
        /// Why not the way that was asked for.
        note: Option<String>,
    },
    /// A blob was to be repaired: told after what became of it is durable.
    Repaired(Box<Repair>),
    /// A blob has as many copies as was asked for; told after that is durable.
    Copies {
        /// The digest that names it.
        digest: Digest,
        /// Every alias of it.
        names: Vec<Name>,
        /// Its length in bytes.
        size_bytes: u64,
        /// How many inodes of it there are, the first included.
        copies: u32,
        /// How many were made for that.
        made: u32,
        /// How many were removed.
        removed: u32,
    },
    /// Something is wrong with the structure of the store.
    Found(Finding),
    /// Something about a blob's file is other than it was, and is no finding by itself.
    Hint {
        /// The digest that names it.
        digest: Digest,
        /// Every alias of it.
        names: Vec<Name>,
        /// What.
        detail: String,
    },
    /// A finding is mended, or, where nothing is changed yet, would be.
    Mended {
        /// What was wrong.
        finding: Finding,
        /// What was done about it.
        how: &'static str,
        /// Whether it was only planned.
        planned: bool,
    },
    /// A line of a manifest is on record; told after that is durable.
    Imported {
        /// The line, from 1 on; the record, where the source has no lines.
        line: u64,
        /// The entry.
        key: Key,
        /// `new`; `kept`: it was registered already, and stays as it is; `merged`: it was, and was added to.
        status: &'static str,
    },
    /// A line of a manifest was left out on purpose.
    LineSkipped {
        /// The line.
        line: u64,
        /// Why.
        reason: String,
    },
    /// Something is wrong with a line of a manifest.
    BadLine {
        /// The line.
        line: u64,
        /// `line`: it cannot be used; `file`: its file cannot, and it is not registered; `mismatch`: the bytes of its file
        /// are other than it says, and it is registered as failed.
        kind: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Something the user should know that is no failure.
    Notice {
        /// In full sentences.
        text: String,
    },
}

/// Hears what happens and is asked whether to go on. Called from several threads at once.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn event(&self, event: &Event) {
        let _ = event;
    }

    /// So many files and bytes more are to be done.
    fn expect(&self, files: u64, bytes: u64) {
        let _ = (files, bytes);
    }

    /// So many files and bytes more are done.
    fn progress(&self, files: u64, bytes: u64) {
        let _ = (files, bytes);
    }

    /// Whether it is told of blobs that were verified and found right. Where it is not, what would be said of them need not be
    /// looked up: their names, for one.
    fn hears_of_good(&self) -> bool {
        true
    }

    /// Whether to stop as soon as what is done can be kept.
    fn cancelled(&self) -> bool {
        false
    }
}

/// The observer that hears nothing and never stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
