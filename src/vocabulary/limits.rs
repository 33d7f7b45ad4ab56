//! Every bound of the program on one page, each with its reason.

use std::time::Duration;

/// Longest name, in bytes: what Linux accepts as a path (PATH_MAX, 4096), less room for the store directory.
pub const NAME_BYTES: usize = 3072;
/// Longest component of a name, in bytes: NAME_MAX of every filesystem the store runs on.
pub const NAME_COMPONENT_BYTES: usize = 255;
/// Longest note of a pin, in bytes: a paragraph, and well below what a record can hold.
pub const NOTE_BYTES: usize = 4096;
/// Longest key of an entry, all parts together with a byte between them: it stands in each row of the index that leads to
/// the entry.
pub const ENTRY_KEY_BYTES: usize = 3072;
/// Longest entry without its variants, in bytes: with what it replaces it still fits a record.
pub const ENTRY_BYTES: usize = 12 << 10;
/// Longest tags of one entry together: each is a row of the index.
pub const ENTRY_TAGS_BYTES: usize = 2 << 10;
/// Most variants of one entry: the largest models have some hundreds of shards, and all of them fit one frame.
pub const ENTRY_VARIANTS: usize = 1024;
/// Longest name of a variant, in bytes: a file's name.
pub const VARIANT_NAME_BYTES: usize = 255;
/// Longest line of a manifest that is read, in bytes: an entry of the most variants, with the longest names and places.
pub const MANIFEST_LINE_BYTES: usize = 16 << 20;
/// Most fields of one object in a manifest: bounds what a line of nothing else takes in memory.
pub const MANIFEST_FIELDS: usize = 1024;
/// Entries that are registered in one frame while a manifest is read.
pub const MANIFEST_BATCH: usize = 512;
/// About how many bytes of lines such a frame is made from, at most: bounds memory and the frame.
pub const MANIFEST_BATCH_BYTES: usize = 2 << 20;
/// Largest `catalog.json` that is read: some hundred thousand models, in one document.
pub const CATALOG_JSON_BYTES: u64 = 256 << 20;
/// Longest reference or source URL that is kept, in bytes: past this, servers refuse a URL and the system a path; and one
/// fits a record several times.
pub const REFERENCE_BYTES: usize = 4096;
/// Longest one that is read: signatures, which are left out of what is kept, may be much longer than the rest.
pub const REFERENCE_INPUT_BYTES: usize = 16 << 10;
/// Most bytes of uses that are not on record yet: 32,768 of them, a moment's work to put on record.
pub const USES_BYTES: u64 = 1 << 20;
/// Labels of one counter that are kept apart: a dashboard with more lines shows nothing, and a label may be any text.
pub const TOTALS_LABELS: usize = 48;
/// Longest label of a counter, in bytes: a resolver's name, with room.
pub const TOTALS_LABEL_BYTES: usize = 96;
/// Bytes of one of the two slots that totals are kept in: the most labels of the longest kind of all counters, with room.
pub const TOTALS_SLOT_BYTES: usize = 16 << 10;
/// Longest name of an organisation or repository at Hugging Face, in bytes: what the site allows.
pub const HUB_NAME_BYTES: usize = 96;
/// Longest URI of a place where a blob is kept, in bytes: a path of PATH_MAX, every byte of it percent-encoded.
pub const STORED_URI_BYTES: usize = 3 * 4096 + 16;
/// Deepest name: past this, walking directories costs more than any user gains.
pub const NAME_DEPTH: usize = 256;

/// Files in a batch, at most: a frame stays small enough to write again in one call.
pub const BATCH_FILES: usize = 2048;
/// Bytes staged before a batch is closed: bounds what an interruption has to read again.
pub const BATCH_BYTES: u64 = 256 << 20;
/// Time after which a batch is closed, so that acknowledgements flow.
pub const BATCH_TIME: Duration = Duration::from_secs(2);

/// Files that one thread takes from a walk at a time, at most: enough to hash several at once, few enough that threads
/// end together.
pub const GROUP_FILES: usize = 16;
/// Bytes of such files: with two threads they stay in the cache between being read, hashed and written.
pub const GROUP_BYTES: u64 = 512 << 10;

/// Most files that a blob was added from that are remembered: a second and third place to look for good bytes.
pub const SOURCES_MOST: usize = 4;
/// Bytes of all their paths together, for one blob: a batch of the longest names and paths still fits a frame.
pub const SOURCES_BYTES: usize = 1024;

/// A file up to this size is read into memory whole and hashed before anything is written.
pub const SMALL_FILE_BYTES: u64 = 1 << 20;
/// How much is read, hashed and written at a time.
pub const IO_CHUNK_BYTES: usize = 1 << 20;
/// How much of a blob is mapped at a time.
pub const MAP_WINDOW_BYTES: usize = 8 << 20;
/// Longest name of which it is remembered what its source was, in bytes: a batch of the longest names still fits a frame.
pub const STAMPED_NAME_BYTES: usize = 512;
/// How much of each of several files is read at a time while they are hashed together: with one for each of 16 lanes, all
/// of it stays in the second level of the cache.
pub const READ_BYTES: usize = 64 << 10;
/// Files that a thread has opened and the disk is fetching, beside those that it hashes: enough requests for a disk to be
/// at its fastest, and few descriptors.
pub const READ_AHEAD_FILES: usize = 16;
/// How often a source that changes while it is read is tried before it is refused.
pub const SOURCE_TRIES: u32 = 3;

/// How finely damage is located: a tree has one chaining value of BLAKE3 for so many bytes of a blob. Part of the format.
pub const TREE_GROUP_BYTES: usize = 1 << 20;
/// Blobs at least this large have a tree: of smaller ones all is read as fast as a part.
pub const TREE_FROM_BYTES: u64 = 4 << 20;
/// Larger blobs have none: its values alone would take more than 64 MiB of memory.
pub const TREE_MOST_BYTES: u64 = 2 << 40;
/// Windows of one file that are handed to all cores at a time: bounds what waits for its place in the tree.
pub const TREE_WINDOWS: u64 = 256;
/// Ranges of bytes that a finding lists: more of them say no more to anybody, and a record has to hold them in words.
pub const RANGES_TOLD: usize = 16;

/// The state of an ingest can be saved at multiples of this: a whole subtree of BLAKE3, and enough bytes at a time for it
/// to be fast. Part of the format.
pub const PART_BYTES: usize = 64 << 10;
/// A source at least this large can be taken up again where an ingest of it was broken off: below it, beginning anew
/// takes about a second.
pub const RESUME_FROM_BYTES: u64 = 512 << 20;
/// How much of such a source is copied between two checkpoints: what is read twice, at most, against one more sync.
pub const RESUME_EVERY_BYTES: u64 = 256 << 20;
/// How long an ingest that was broken off is kept, in journal time.
pub const RESUME_TTL: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest tick of the clocks that give files their times: a kernel that ticks 100 times a second, twice. Two changes
/// within one cannot be told apart.
pub const FILE_TIME_TICK: Duration = Duration::from_millis(20);
/// The same where a filesystem keeps whole seconds (ext4 with small inodes) or two (FAT).
pub const COARSE_TIME_TICK: Duration = Duration::from_secs(2);

/// Longest payload of a frame, in bytes: bounds memory when a damaged length is read.
pub const FRAME_PAYLOAD_BYTES: usize = 16 << 20;
/// Most records in one frame.
pub const FRAME_RECORDS: usize = 65_536;
/// Longest body of one record, in bytes: the longest name and its fields, with room.
pub const RECORD_BYTES: usize = 16 << 10;
/// A segment that has grown to this size is followed by a new one.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// Room that a segment is given ahead of its frames by a process that appends many small ones.
pub const PREALLOCATED_BYTES: u64 = 64 << 10;
/// Frames after which a process is taken for one that appends many.
pub const PREALLOCATED_AFTER: u32 = 8;
/// Longest frame that counts as small, in bytes.
pub const PREALLOCATED_FRAME_BYTES: u64 = 4 << 10;

/// Records in the part of the journal that is not yet in a run, before it is folded into one: whoever opens the store reads
/// them first.
pub const TAIL_FOLD_RECORDS: usize = 256;
/// Records in that part beyond which opening folds it, and beyond which an index is made piece by piece.
pub const TAIL_MAX_RECORDS: usize = 512;
/// A journal smaller than this is not compacted by itself.
pub const COMPACT_MIN_BYTES: u64 = 32 << 20;
/// Rows that a rebuild holds in memory before it writes them as a run.
pub const REBUILD_RECORDS: usize = 50_000;
/// Rows of the journal that a check holds in memory, as hashes of 16 bytes, while it compares them with the index: with
/// more there are several passes.
pub const CHECK_ROWS: usize = 1_000_000;
/// Blobs whose roots a collection proves at once, with about 100 bytes for each and 30 for each name that they have at the
/// same time: with more it reads the journal several times.
pub const ROOTS_BLOBS: usize = 100_000;
/// Blobs that making a journal from the disk holds in memory: with more, it walks through the names several times.
pub const FROM_DISK_BLOBS: usize = 500_000;
/// Sorted runs that a lookup may have to visit.
pub const RUNS_MAX: usize = 8;
/// Target size of a page of a run.
pub const RUN_PAGE_BYTES: usize = 4 << 10;
/// Longest key in a run: table, the longest name in lower case (which may take half as many bytes again), a zero and the
/// name itself, with room.
pub const RUN_KEY_BYTES: usize = 3 * NAME_BYTES;
/// Longest value in a run.
pub const RUN_VALUE_BYTES: usize = RECORD_BYTES;
/// Longest page of a run, in bytes: the longest key and value in one page with its header, with room. Bounds what a
/// damaged length makes a reader allocate, and keeps offsets within a page in 16 bits.
pub const RUN_PAGE_MAX_BYTES: usize = 32 << 10;
/// Levels of a run's tree, at most: with two children to a page, the fewest there are, it has 8 million leaves. A walk
/// holds a page of every level.
pub const RUN_DEPTH: usize = 24;
/// Bits of a run's filter for each row: what rows are asked for together stands in it, too, so that about one visit in a
/// hundred is in vain.
pub const RUN_FILTER_BITS_PER_KEY: u64 = 12;
/// Largest filter of a run, which is made in memory: past 20 million keys it gets less sharp instead of larger.
pub const RUN_FILTER_BYTES: u64 = 32 << 20;
/// Verified pages of all runs of an opened index that are kept in memory.
pub const RUN_CACHE_BYTES: usize = 16 << 20;
/// How much of a run is read at a time when all of it is wanted.
pub const RUN_READ_AHEAD_BYTES: usize = 256 << 10;
/// Most runs that `CURRENT` may name: merging lags behind folding while somebody else holds the lock for it.
pub const RUNS_NAMED: usize = 64;

/// The reserve file: room for the frames and directory blocks that deleting needs on a full disk.
pub const RESERVE_BYTES: u64 = 4 << 20;
/// How much of it is given up at a time: a frame that an addition cannot do without must not take all of it.
pub const RESERVE_PIECE_BYTES: u64 = 512 << 10;
/// Longest `larder.toml` that is read.
pub const SETTINGS_BYTES: u64 = 64 << 10;
/// Most copies of one blob that are kept on request: past this, another disk does more.
pub const COPIES_MOST: u32 = 16;
/// Most blobs that one frame heals: their files change places while `lock` is held.
pub const REPAIR_BATCH: usize = 64;
/// Longest words about one finding that are recorded, in bytes: a line of a report.
pub const FINDING_REASON_BYTES: usize = 1024;
/// Most wrong ranges of one blob that are recorded: with more, moving the whole blob is not much dearer. A record of them
/// stays below its bound.
pub const FINDING_RANGES: usize = 256;
/// Blobs of which a frame of a verification says that they are right, at most: nothing waits for it, and large frames are
/// folded less often.
pub const SEEN_BATCH: usize = 8192;
/// The same for findings, each of which may be a hundred times as long.
pub const FINDINGS_BATCH: usize = 512;
/// Blobs that were read, of which one frame says so, at most: bounds what a kill makes a scrub read again, and the frame.
pub const SCRUB_BATCH: usize = 1024;
/// The same in time: also how soon a scrub that somebody pauses or stops sees it, at the latest, within one large blob.
pub const SCRUB_BATCH_TIME: Duration = Duration::from_secs(2);
/// Blobs that a scrub puts in order at a time: with more there are several passes over the index, which are cheap beside
/// reading. Bounds memory (48 bytes for each).
pub const SCRUB_ORDERED: usize = 1 << 18;
/// Blobs that a scrub by SHA-256 hashes together: enough to keep every lane busy to the end, and no more are out of order.
pub const SCRUB_TOGETHER: usize = 256;
/// Most blobs that a sample by number takes: their hashes are held in memory to find the smallest.
pub const SCRUB_SAMPLE_MOST: u64 = 1 << 20;
/// Most suspects of one status that are recorded one by one: with more, everything is to be read anyway.
pub const SUSPECTS_MOST: u64 = 1 << 16;
/// Most blobs removed under one hold of the lock: a few tens of milliseconds, one sync for all of them.
pub const REMOVE_BATCH: usize = 1024;
/// Longest line of a plan that is read: bounds memory when it is something else.
pub const PLAN_LINE_BYTES: u64 = 4 << 10;
/// Most blobs that a plan that is read may name, for the same reason.
pub const PLAN_BLOBS: usize = 16 << 20;
/// A store with more blobs than this is not emptied by more than half without being told twice.
pub const MOST_GUARD_BLOBS: u64 = 100;

/// Default time that writers wait for the lock.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(30);
/// Default grace between the loss of the last root and collection, in journal time.
pub const GRACE: Duration = Duration::from_secs(24 * 3600);
/// Default age in journal time at which a file in `sha256/` that no record knows may be collected.
pub const ORPHAN_TTL: Duration = Duration::from_secs(7 * 24 * 3600);
/// The furthest that journal time moves with one frame.
pub const JOURNAL_TIME_STEP: Duration = Duration::from_secs(24 * 3600);
/// How long a base remembers what removed a digest, in journal time.
pub const GONE_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
