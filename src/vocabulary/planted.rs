//! Defects that a build for tests can be told to have, to see that a test catches each of them (`docs/testing.md`).
//!
//! Without the feature `planted` the question is a constant, and nothing of this is in a program.

#![cfg_attr(not(feature = "planted"), allow(unreachable_pub))]

macro_rules! bugs {
    ($($(#[$what:meta])* $bug:ident),* $(,)?) => {
        /// One defect, named after what is left out or done wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(not(feature = "sqlite"), allow(dead_code, reason = "some defects are SQLite's"))]
        pub enum Bug { $($(#[$what])* $bug),* }

        #[cfg(feature = "planted")]
        impl Bug {
            /// Every one.
            pub const ALL: &[Bug] = &[$(Bug::$bug),*];
        }
    };
}

bugs! {
    /// The frame is not synced.
    FrameSync,
    /// Staged files are not synced.
    StagedSync,
    /// Directories under `sha256/` are not synced.
    BlobDirSync,
    /// Directories under `names/` are not synced.
    NamesDirSync,
    /// `journal/` is not synced when a segment gets its name.
    JournalDirSync,
    /// `journal/` is not synced for a segment that somebody else has begun.
    SegmentEntrySync,
    /// `index/` is not synced behind runs.
    IndexDirSync,
    /// The session's directory and `staging/` are not synced before a frame names a heal.
    StagingDirSync,
    /// `quarantine/` is not synced before the other names of bad bytes go.
    QuarantineDirSync,
    /// `init` syncs no directory.
    StoreDirSync,
    /// The first holder of `lock` does not sync the store directory.
    StoreDirVouch,
    /// The checksum of a frame is not compared.
    FrameChecksum,
    /// The key of a frame does not depend on its segment.
    FrameKey,
    /// A frame need not have the hash of the one before it.
    Chain,
    /// The checksum of a segment's header is not compared.
    HeaderChecksum,
    /// The checksum of a run's page is not compared.
    PageChecksum,
    /// The checksum of CURRENT is not compared.
    CurrentChecksum,
    /// The checksum of a session file is not compared.
    SessionChecksum,
    /// The checksum of a hint is not compared.
    HintChecksum,
    /// The count of a base is not compared.
    BaseCount,
    /// Nobody locks `lock`.
    Lock,
    /// Collection does not look again at roots under `lock`.
    RootsOutsideLock,
    /// Collection does not look again at the grace under `lock`.
    GraceNotAskedAgain,
    /// Collection does not wait for older sessions.
    OlderSessions,
    /// `--trust-stamps` believes that a source is what it was whatever its stamp.
    SourceStampIgnored,
    /// The stamp of a source is put on record however fresh its last change is.
    RacyStampRecorded,
    /// Collection does not look at what sessions list.
    ListedBlobs,
    /// Collection takes no notice of a fence.
    FenceIgnored,
    /// No fence is put up for damage.
    FenceForgotten,
    /// A file that no record knows is used as found.
    UnrecordedTrusted,
    /// A hit need not look as it is recorded.
    StampIgnored,
    /// Names are applied before the frame is written.
    NamesFirst,
    /// The last frame is neither written again nor synced.
    LastFrameBelieved,
    /// The last frame is synced and not written again.
    LastFrameNotWritten,
    /// The names of the last frame are not finished.
    LastNamesLeft,
    /// The journal is followed in the segments that are known, without a listing.
    SegmentsNotListed,
    /// What the journal's directory had once is taken for what it has, whatever its time.
    ListedForever,
    /// A directory that has just changed is taken for one that will not change again within the same tick.
    JustListed,
    /// Whoever waits for a commit is told before it is done.
    EarlyAck,
    /// A heal does not link the names anew.
    HealWithoutRelink,
    /// A moved source is unlinked before the commit.
    MoveTooEarly,
    /// What is set aside is removed without a look at its inode.
    AsideUnchecked,
    /// CURRENT names frames that were not synced.
    CurrentBeforeSync,
    /// CURRENT is replaced although its last frame is journal no more.
    CurrentUnchecked,
    /// A base gets its name before it is synced.
    BaseBeforeSync,
    /// The torn end of the journal is not cut.
    TornLeft,
    /// A frame whose sync failed is not left behind by a new segment.
    FailedFrameLeft,
    /// After a failed sync the process goes on.
    PoisonIgnored,
    /// Other bytes than expected are taken.
    ExpectIgnored,
    /// A source that changes while it is read is taken.
    ChangeUnseen,
    /// A source that is taken in by link is not read back from the disk.
    LinkedNotReadBack,
    /// A source that is taken in by link may have holes.
    HolesBelieved,
    /// The reserve is not given up when the disk is full.
    ReserveKept,
    /// How far SQLite reaches is written behind the transaction with what it reaches.
    ReachApart,
    /// SQLite keeps the tags that an entry had before.
    TagKept,
    /// What SQLite holds is believed although its last frame is journal no more.
    ReachUnchecked,
    /// Other settings are put in place before they are synced.
    SettingsSync,
    /// What is put into the trash keeps its blobs no more.
    TrashDropsRoot,
    /// Evicting takes no notice of pins.
    EvictsPinned,
    /// What cannot fit is begun all the same.
    NoPreflight,
    /// A store directory that strangers may write to is used.
    StrangersTrusted,
    /// No directory is confined: symbolic links below the store are followed.
    NotConfined,
    /// The command under a lease does not inherit it.
    LeaseNotInherited,
    /// A collection empties the staging of who died since it looked what is there.
    BuriedUnseen,
    /// The checksum of a tree is not compared.
    TreeUnchecked,
    /// A tree is believed whatever its root.
    TreeOfOthers,
    /// A part of a file is taken without a look at the tree.
    GroupUnchecked,
    /// A scrub leaves some blobs out.
    ScrubSkips,
    /// A blob is on record as read before it was read to its end.
    VerifiedEarly,
    /// A status takes no notice of another modification time.
    StatusBlind,
    /// What goes in one lane is taken for what goes in the next.
    LanesMixed,
    /// A mapped window is believed without asking whether all of it was there.
    WindowBelieved,
}

#[cfg(feature = "planted")]
mod switch {
    use super::Bug;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Zero for none, else one more than its place among all.
    static PLANTED: AtomicUsize = AtomicUsize::new(0);

    /// Gives this process the defect of this name; whether there is one.
    pub fn plant(name: &str) -> bool {
        let at = Bug::ALL.iter().position(|bug| format!("{bug:?}") == name);
        PLANTED.store(at.map_or(0, |at| at + 1), Ordering::Relaxed);
        at.is_some()
    }

    /// Whether this process has a defect.
    pub fn planted(bug: Bug) -> bool {
        PLANTED.load(Ordering::Relaxed) == bug as usize + 1
    }
}

#[cfg(feature = "planted")]
pub use switch::{plant, planted};

/// Whether this process has a defect: never.
#[cfg(not(feature = "planted"))]
pub(crate) const fn planted(_: Bug) -> bool {
    false
}
