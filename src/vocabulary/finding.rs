//! What a check of the store's structure may find, each kind under a code that never changes.

use std::path::PathBuf;

use super::digest::Digest;
use super::name::Name;

/// The kind of a finding. Its [word](FindingCode::word) is a promise; docs/format.md says what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FindingCode {
    /// A stretch of the journal that cannot be read and that no fence covers yet.
    JournalDamage,
    /// A fence on record: a root may be hidden in a stretch that could not be read.
    JournalFenced,
    /// Bytes behind the last frame that are none.
    JournalTorn,
    /// A segment or base whose writer died before it had its name.
    JournalUnfinished,
    /// A base that cannot be relied on.
    BaseBad,
    /// `CURRENT` or a run that it names cannot be read whole.
    IndexBad,
    /// The index says something else than the journal.
    IndexDisagrees,
    /// A run that `CURRENT` does not name.
    RunUnnamed,
    /// A blob on record without its file.
    BlobMissing,
    /// A blob that is on record as damaged.
    BlobDamaged,
    /// Something that is no regular file in the place of a blob.
    BlobKind,
    /// A blob's file of another length than recorded.
    BlobSize,
    /// A blob's file with another inode or modification time than recorded.
    BlobStamp,
    /// A blob's file with another mode than it should have.
    BlobMode,
    /// A blob that nothing keeps and that would never be collected.
    BlobUnlisted,
    /// A file under `sha256/` that no record knows.
    Orphan,
    /// A carrier on record without its file.
    CarrierMissing,
    /// A carrier's file that is not the recorded one.
    CarrierStamp,
    /// A file under `carriers/` that no record knows.
    CarrierOrphan,
    /// The tree of a blob of which there is no record.
    TreeOrphan,
    /// A name or pin of a blob of which there is no record.
    AliasDangling,
    /// A hardlinked name without its file.
    NameMissing,
    /// A file in the place of a name that is not its blob's.
    NameWrongInode,
    /// A name that is on record as not applied.
    NameUnapplied,
    /// A file under `names/` that is a blob of this store, and no name on record.
    NameUnrecorded,
    /// The file of a name that the journal took away.
    NameDeparted,
    /// Something under `names/` that is nothing of this store's.
    NameForeign,
    /// The folder of a session whose process is dead.
    StagingStale,
    /// A file that was set aside for a name and never settled.
    StagingAside,
    /// A directory that every store has.
    DirectoryMissing,
    /// A file that every store has.
    FileMissing,
    /// A file or directory that could not be looked at: nothing is known about it.
    Unreadable,
}

/// What mends a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mend {
    /// `check --repair`.
    Repair,
    /// Good bytes from somewhere: adding them again heals the blob.
    GoodBytes,
    /// A person: larder cannot know what is right, or may not touch it.
    Hand,
}

impl Mend {
    /// The word for it in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Mend::Repair => "check --repair",
            Mend::GoodBytes => "good bytes",
            Mend::Hand => "by hand",
        }
    }
}

impl FindingCode {
    /// Every code.
    pub const ALL: [FindingCode; 32] = [
        FindingCode::JournalDamage,
        FindingCode::JournalFenced,
        FindingCode::JournalTorn,
        FindingCode::JournalUnfinished,
        FindingCode::BaseBad,
        FindingCode::IndexBad,
        FindingCode::IndexDisagrees,
        FindingCode::RunUnnamed,
        FindingCode::BlobMissing,
        FindingCode::BlobDamaged,
        FindingCode::BlobKind,
        FindingCode::BlobSize,
        FindingCode::BlobStamp,
        FindingCode::BlobMode,
        FindingCode::BlobUnlisted,
        FindingCode::Orphan,
        FindingCode::CarrierMissing,
        FindingCode::CarrierStamp,
        FindingCode::CarrierOrphan,
        FindingCode::TreeOrphan,
        FindingCode::AliasDangling,
        FindingCode::NameMissing,
        FindingCode::NameWrongInode,
        FindingCode::NameUnapplied,
        FindingCode::NameUnrecorded,
        FindingCode::NameDeparted,
        FindingCode::NameForeign,
        FindingCode::StagingStale,
        FindingCode::StagingAside,
        FindingCode::DirectoryMissing,
        FindingCode::FileMissing,
        FindingCode::Unreadable,
    ];

    /// The code itself.
    pub fn word(self) -> &'static str {
        match self {
            FindingCode::JournalDamage => "journal-damage",
            FindingCode::JournalFenced => "journal-fenced",
            FindingCode::JournalTorn => "journal-torn",
            FindingCode::JournalUnfinished => "journal-unfinished",
            FindingCode::BaseBad => "base-bad",
            FindingCode::IndexBad => "index-bad",
            FindingCode::IndexDisagrees => "index-disagrees",
            FindingCode::RunUnnamed => "run-unnamed",
            FindingCode::BlobMissing => "blob-missing",
            FindingCode::BlobDamaged => "blob-damaged",
            FindingCode::BlobKind => "blob-kind",
            FindingCode::BlobSize => "blob-size",
            FindingCode::BlobStamp => "blob-stamp",
            FindingCode::BlobMode => "blob-mode",
            FindingCode::BlobUnlisted => "blob-unlisted",
            FindingCode::Orphan => "orphan",
            FindingCode::CarrierMissing => "carrier-missing",
            FindingCode::CarrierStamp => "carrier-stamp",
            FindingCode::CarrierOrphan => "carrier-orphan",
            FindingCode::TreeOrphan => "tree-orphan",
            FindingCode::AliasDangling => "alias-dangling",
            FindingCode::NameMissing => "name-missing",
            FindingCode::NameWrongInode => "name-wrong-inode",
            FindingCode::NameUnapplied => "name-unapplied",
            FindingCode::NameUnrecorded => "name-unrecorded",
            FindingCode::NameDeparted => "name-departed",
            FindingCode::NameForeign => "name-foreign",
            FindingCode::StagingStale => "staging-stale",
            FindingCode::StagingAside => "staging-aside",
            FindingCode::DirectoryMissing => "directory-missing",
            FindingCode::FileMissing => "file-missing",
            FindingCode::Unreadable => "unreadable",
        }
    }

    /// What mends it.
    pub fn mend(self) -> Mend {
        match self {
            FindingCode::BlobDamaged => Mend::GoodBytes,
            FindingCode::BlobKind | FindingCode::NameForeign | FindingCode::FileMissing | FindingCode::Unreadable => {
                Mend::Hand
            }
            _ => Mend::Repair,
        }
    }
}

/// One thing that is wrong: data, not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its kind.
    pub code: FindingCode,
    /// The blob that it is about, if it is about one.
    pub digest: Option<Digest>,
    /// The names that it is about: of a blob, all.
    pub names: Vec<Name>,
    /// Where, below the store directory or absolute; empty if it is nowhere on the disk.
    pub path: PathBuf,
    /// What exactly.
    pub detail: String,
}

impl Finding {
    /// A finding at a path.
    pub fn at(code: FindingCode, path: impl Into<PathBuf>, detail: impl Into<String>) -> Self {
        Finding { code, digest: None, names: Vec::new(), path: path.into(), detail: detail.into() }
    }

    /// The same, about a blob.
    #[must_use]
    pub fn of(self, digest: &Digest) -> Self {
        Finding { digest: Some(*digest), ..self }
    }

    /// The same, about these names.
    #[must_use]
    pub fn named(self, names: Vec<Name>) -> Self {
        Finding { names, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_there_once() {
        let words: std::collections::BTreeSet<_> = FindingCode::ALL.iter().map(|code| code.word()).collect();
        assert_eq!(words.len(), FindingCode::ALL.len());
        assert_eq!(FindingCode::ALL.last(), Some(&FindingCode::Unreadable));
        assert_eq!(FindingCode::Unreadable as usize + 1, FindingCode::ALL.len(), "a code is not listed");
    }
}
