-- The schema of a Larder file, version 1. docs/formats/sqlite.md explains it.

-- Facts about the file: `store_id`, `term_key` (the key of the term hash).
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- A log. A dropped one has no name and waits to be swept; its successor has a number of its own.
CREATE TABLE log (
    log       INTEGER PRIMARY KEY,
    name      TEXT UNIQUE,
    head      INTEGER NOT NULL,            -- the last position ever given
    merged    INTEGER NOT NULL,            -- postings of events through here are in `posting`
    removals  INTEGER NOT NULL DEFAULT 0,  -- rises when postings are removed: other processes forget theirs
    trimmed   INTEGER NOT NULL DEFAULT 0,  -- positions through here are hidden
    compacted INTEGER NOT NULL DEFAULT 0,  -- the highest hidden position
    audits    INTEGER NOT NULL DEFAULT 0   -- whether conditions are kept
) STRICT;

-- A stream. Its head is the highest seq_nr of its events, or its mark if there are none.
CREATE TABLE stream (
    stream        INTEGER PRIMARY KEY,
    log           INTEGER NOT NULL,
    name          TEXT NOT NULL,
    mark          INTEGER NOT NULL DEFAULT 0,  -- seq_nr through here are hidden
    mark_position INTEGER NOT NULL DEFAULT 0,  -- the position of the event at the mark
    UNIQUE (log, name)
) STRICT;

-- An event, or the trace of a hidden one (payload NULL, outside of every stream).
CREATE TABLE event (
    place       INTEGER PRIMARY KEY,  -- log << 47 | position
    stream      INTEGER,
    seq_nr      INTEGER,
    recorded_at INTEGER NOT NULL,     -- microseconds since 1970-01-01 UTC
    checksum    INTEGER NOT NULL,     -- CRC-32C over everything here, and the names of log and stream
    event_type  TEXT NOT NULL,
    tags        TEXT,                 -- joined by newlines, which tags cannot contain
    id          BLOB,                 -- if given by the caller
    metadata    TEXT,
    payload     ANY                   -- TEXT: JSON; BLOB: bytes
) STRICT;

-- The one index of events, complete through `log.merged`; the newest entries are in memory, until they are
-- merged in sorted slices.
--   A tag or a type: term > 0, its hash; key = position; value = a hash of the event's type.
--   A stream:        term < 0, its number negated; key = seq_nr; value = position.
CREATE TABLE posting (
    term  INTEGER NOT NULL,
    key   INTEGER NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (term, key)
) STRICT, WITHOUT ROWID;

-- Event ids given by callers, and what the append that carried them answered.
CREATE TABLE append_id (
    log            INTEGER NOT NULL,
    id             BLOB NOT NULL,
    first_position INTEGER NOT NULL,
    first_seq_nr   INTEGER NOT NULL,
    count          INTEGER NOT NULL,
    digest         BLOB NOT NULL,
    checksum       INTEGER NOT NULL,
    PRIMARY KEY (log, id)
) STRICT, WITHOUT ROWID;

-- Batch ids given by callers, and what the batch answered.
CREATE TABLE batch (
    id           BLOB PRIMARY KEY,
    committed_at INTEGER NOT NULL,  -- microseconds since 1970-01-01 UTC
    outcomes     BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX batch_by_age ON batch (committed_at);

-- Conditions of appends, where a log audits them; the place is that of the append's first event.
CREATE TABLE condition (
    place     INTEGER PRIMARY KEY,
    condition TEXT NOT NULL
) STRICT;

-- Hidden events that still are to be turned into traces, or removed.
CREATE TABLE sweep (
    sweep   INTEGER PRIMARY KEY,
    log     INTEGER NOT NULL,
    stream  INTEGER,           -- NULL: the whole log
    through INTEGER NOT NULL,  -- a seq_nr of the stream, or a position of the log
    done    INTEGER NOT NULL DEFAULT 0  -- the position through which it is done
) STRICT;

-- A snapshot of a stream or of a named query. docs/formats/snapshot.md says what `state` holds.
CREATE TABLE snapshot (
    snapshot    INTEGER PRIMARY KEY,
    log         TEXT NOT NULL,
    kind        TEXT NOT NULL,     -- `stream` or `query`
    subject     TEXT NOT NULL,     -- the stream's id, or the query's name
    at          INTEGER NOT NULL,  -- a seq_nr of the stream, or a position of the log
    schema      TEXT,
    recorded_at INTEGER NOT NULL,  -- microseconds since 1970-01-01 UTC
    checksum    INTEGER NOT NULL,  -- CRC-32C over everything here
    state       BLOB NOT NULL,
    UNIQUE (log, kind, subject, at)
) STRICT;

-- A QueryDb. Its items are in a table of their own, made when it comes to be:
--   CREATE TABLE qdb_<name> (
--       partition_key TEXT NOT NULL,
--       sub_key       ANY NOT NULL,      -- a number or a text; '' if there is none
--       item          TEXT NOT NULL,     -- JSON, byte for byte as it was saved
--       expires_at    INTEGER,           -- seconds since 1970-01-01 UTC
--       version       INTEGER NOT NULL,
--       checksum      INTEGER NOT NULL,
--       k1 ANY, k2 ANY, …                -- values of fields that are in indexes
--       PRIMARY KEY (partition_key, sub_key)
--   ) STRICT
CREATE TABLE query_db (
    query_db   INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    table_name TEXT UNIQUE COLLATE NOCASE,  -- NULL: dropped; the version goes on if it comes to be again
    version    INTEGER NOT NULL,            -- the highest that was given
    spec       TEXT NOT NULL,               -- its definition, as JSON
    layout     TEXT NOT NULL,               -- which field is in which column, as JSON
    owner      TEXT,                        -- the projection that alone writes it
    checksum   INTEGER NOT NULL
) STRICT;

-- Changes of QueryDbs that keep them.
CREATE TABLE query_db_change (
    query_db      INTEGER NOT NULL,
    version       INTEGER NOT NULL,
    kind          INTEGER NOT NULL,  -- 1 added, 2 updated, 3 deleted, 4 expired, 5 replaced
    partition_key TEXT,
    sub_key       ANY,
    checksum      INTEGER NOT NULL,
    PRIMARY KEY (query_db, version)
) STRICT, WITHOUT ROWID;

-- A projection: how far it has read which log, and the rest as JSON (its query, the QueryDbs it owns, why it has stopped,
-- whether a rebuild is asked for or under way).
CREATE TABLE projection (
    name       TEXT PRIMARY KEY,
    log        TEXT,
    checkpoint INTEGER NOT NULL,
    rest       TEXT NOT NULL,
    checksum   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Events that projections have passed over.
CREATE TABLE dead_letter (
    projection TEXT NOT NULL,
    position   INTEGER NOT NULL,
    letter     TEXT NOT NULL,
    checksum   INTEGER NOT NULL,
    PRIMARY KEY (projection, position)
) STRICT, WITHOUT ROWID;

-- A task bucket. Object versions and trigger numbers are taken from its counter.
CREATE TABLE task_bucket (
    name     TEXT PRIMARY KEY,
    counter  INTEGER NOT NULL,  -- the last number that was given
    checksum INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- An object of a task bucket. The bytes are last, so that a listing does not read them.
CREATE TABLE task_object (
    object         INTEGER PRIMARY KEY,
    bucket         TEXT NOT NULL,
    key            TEXT NOT NULL,
    version        INTEGER NOT NULL,
    content_type   TEXT,
    recorded_at    INTEGER NOT NULL,  -- microseconds since 1970-01-01 UTC
    length         INTEGER NOT NULL,
    bytes_checksum INTEGER NOT NULL,  -- CRC-32C of the bytes
    checksum       INTEGER NOT NULL,  -- CRC-32C over everything else here
    bytes          BLOB NOT NULL,
    UNIQUE (bucket, key)
) STRICT;

-- What is to be done about an object: the first of its key can be claimed when it is due.
CREATE TABLE task_trigger (
    bucket   TEXT NOT NULL,
    trigger  INTEGER NOT NULL,
    kind     INTEGER NOT NULL,  -- 1 the object was created, 2 it was removed
    key      TEXT NOT NULL,
    version  INTEGER NOT NULL,  -- the object's
    state    INTEGER NOT NULL,  -- 0 behind another one of its key, 1 the first of its key, 2 a dead letter
    due_at   INTEGER NOT NULL,  -- microseconds since 1970-01-01 UTC; under a lease, when that runs out
    attempts INTEGER NOT NULL,
    claims   INTEGER NOT NULL,  -- how often it was claimed, ever
    holder   INTEGER NOT NULL,  -- the claim that holds it, or 0
    error    TEXT,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (bucket, trigger)
) STRICT, WITHOUT ROWID;

CREATE INDEX task_trigger_due ON task_trigger (bucket, due_at, trigger) WHERE state = 1;
CREATE INDEX task_trigger_key ON task_trigger (bucket, key, trigger) WHERE state < 2;
CREATE INDEX task_trigger_dead ON task_trigger (bucket, trigger) WHERE state = 2;

-- For the sqlite3 shell.
CREATE VIEW event_log AS
SELECT log.name AS log_name,
       stream.name AS aggregate_id,
       event.seq_nr,
       CASE WHEN typeof(event.payload) = 'blob' THEN 'x''' || hex(event.payload) || '''' ELSE event.payload END AS payload,
       event.place & 0x7fffffffffff AS position,
       event.event_type,
       replace(event.tags, char(10), ' | ') AS tags,
       event.metadata,
       strftime('%Y-%m-%dT%H:%M:%f', event.recorded_at / 1000000.0, 'unixepoch') || 'Z' AS recorded_at
FROM event
JOIN log ON log.log = event.place >> 47 AND log.name IS NOT NULL
LEFT JOIN stream ON stream.stream = event.stream
WHERE event.payload IS NOT NULL
  AND (event.place & 0x7fffffffffff) > log.trimmed
  AND (stream.stream IS NULL OR event.seq_nr > stream.mark);
