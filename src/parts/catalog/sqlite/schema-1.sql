-- The catalog of a larder store, as SQLite keeps it (schema version 1; docs/format.md, "SQLite").
--
-- This file is the whole schema: `sqlite3 new.sqlite < schema.sql` makes an empty one. Everything in it follows from the
-- store's journal and can be made again; larder alone writes to it, and anybody may read.
--
-- Times are nanoseconds since the epoch. A number beyond 2^63 - 1, which no clock and no disk comes to, is kept as the
-- negative number of the same 64 bits.

PRAGMA application_id = 0x6c617264;
PRAGMA user_version = 1;

-- Whose projection this is, and the last frame of the journal that is in it: written in the same transaction as what
-- that frame says. No row: what is here was not finished.
CREATE TABLE reach (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    store BLOB NOT NULL CHECK (length(store) = 16),
    sequence INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    segment_first INTEGER NOT NULL,
    segment_salt BLOB NOT NULL CHECK (length(segment_salt) = 16),
    segment_offset INTEGER NOT NULL,
    last_offset INTEGER NOT NULL,
    synced_through INTEGER NOT NULL,
    time_ns INTEGER NOT NULL
) STRICT;

-- Models and documents. `key` is the natural key as bytes: kind, then each part and a zero byte; all orders are those of
-- its bytes. A row without a key is one whose description was lost with a damaged stretch of the journal.
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    identity BLOB NOT NULL CHECK (length(identity) = 16),
    key BLOB,
    kind TEXT CHECK (kind IN ('model', 'document')),
    provider TEXT,
    reference TEXT,
    version TEXT,
    source_url TEXT,
    title TEXT,
    source TEXT,
    content_type TEXT,
    run TEXT,
    registered_ns INTEGER,
    updated_ns INTEGER,
    verified_ns INTEGER,
    state TEXT CHECK (state IN ('pending', 'active', 'retired', 'failed')),
    trust TEXT CHECK (trust IN ('unverified', 'warned', 'verified')),
    evidence_expected BLOB,
    evidence_found BLOB,
    evidence_ns INTEGER,
    evidence_by TEXT,
    notes TEXT,
    sbom TEXT,
    signature TEXT,
    used_count INTEGER NOT NULL DEFAULT 0,
    used_ns INTEGER NOT NULL DEFAULT 0,
    trashed_ns INTEGER,
    trashed_by TEXT
) STRICT;
CREATE UNIQUE INDEX entries_by_identity ON entries (identity);
CREATE UNIQUE INDEX entries_by_key ON entries (key);
CREATE INDEX entries_by_state ON entries (state, key);
CREATE INDEX entries_by_provider ON entries (provider, key);
CREATE INDEX entries_by_run ON entries (run, key);
CREATE INDEX entries_by_content_type ON entries (content_type, key);

-- Words to find an entry by. The key stands here again, so that the entries of a tag come in order.
CREATE TABLE tags (
    tag TEXT NOT NULL,
    key BLOB NOT NULL,
    entry INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
    PRIMARY KEY (tag, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_by_entry ON tags (entry);

-- Whatever else is known of an entry.
CREATE TABLE metadata (
    entry INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (entry, name)
) STRICT, WITHOUT ROWID;

-- The files of an entry; the empty name is that of the one that stands for the whole.
CREATE TABLE variants (
    entry INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    expected BLOB CHECK (length(expected) = 32),
    digest BLOB CHECK (length(digest) = 32),
    size_bytes INTEGER,
    content_type TEXT NOT NULL,
    uri TEXT NOT NULL,
    alias BLOB,
    created_ns INTEGER NOT NULL,
    PRIMARY KEY (entry, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX variants_by_digest ON variants (digest, entry) WHERE digest IS NOT NULL;
