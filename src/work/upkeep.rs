//! Upkeep of journal and index: rebuild, compaction, and a look at both for people.

/// What a rebuild of the index did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RebuildReport {
    /// Frames read.
    pub frames: u64,
    /// Records applied.
    pub records: u64,
    /// Bytes of the new runs.
    pub index_bytes: u64,
}

/// What a compaction of the journal did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactReport {
    /// Bytes of the journal before.
    pub bytes_before: u64,
    /// And after, the previous generation not counted.
    pub bytes_after: u64,
    /// Live records in the new base.
    pub records: u64,
}

/// One frame of the journal, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameInfo {
    /// The segment's file name.
    pub segment: String,
    /// Byte offset in it.
    pub offset: u64,
    /// Sequence number; zero for what is no frame.
    pub sequence: u64,
    /// Synced-through.
    pub synced_through: u64,
    /// Journal time, nanoseconds since the epoch.
    pub time_ns: u64,
    /// Its records, one line each; or what is wrong there.
    pub records: Vec<String>,
    /// `good`, `torn`, `bad` or `beyond` (not journal).
    pub state: &'static str,
}

/// One run of the index, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunInfo {
    /// Its file name.
    pub file: String,
    /// Its bytes.
    pub bytes: u64,
    /// Its records, deletions included.
    pub records: u64,
}
