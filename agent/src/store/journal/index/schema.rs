//! Tables of the index and the pragmas of its connections.

use rusqlite::Connection;

/// Another version is not migrated: the index is made again from the journal.
const VERSION: i64 = 7;

/// Ids and names are written short (`compact`): `team`, `source`, `connection` and `destination` are
/// numbers in `name`. Ids sort by time, so newest-first lists walk indexes on ids (`pages`). A request's
/// row stands at its place in the journal, so the oldest live one is the first. What is pending has a due
/// time, and the partial indexes on it are as small as the backlog; those on what was refused, failed
/// or left undone by its handler are small, too, as long as that is rare. Every index costs each write, so there is none on what is
/// seldom asked for, and none but partial ones on what changes. Keys and message ids come in no order:
/// spread over all there are, each would write a page of its own, so they are kept by period and
/// looked up in each (`periods`); message ids by a few segments of the journal. `stopping` has the connections whose
/// pending events are being cancelled bit by bit, `spared` what became pending there meanwhile.
const TABLES: &str = "
CREATE TABLE name (number INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);

CREATE TABLE request (
    position INTEGER PRIMARY KEY,
    payload INTEGER,
    id BLOB NOT NULL,
    team INTEGER NOT NULL,
    source INTEGER NOT NULL,
    ingested_at INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    verified INTEGER NOT NULL,
    message_id TEXT,
    event_type TEXT,
    bytes INTEGER NOT NULL,
    repeats INTEGER NOT NULL,
    replay_parent BLOB,
    operation BLOB
);
CREATE UNIQUE INDEX request_by_id ON request (id);
CREATE INDEX request_by_team ON request (team, id);
CREATE INDEX request_rejected ON request (team, id) WHERE rejected <> 0;
CREATE INDEX request_by_source ON request (team, source, id);
CREATE INDEX request_by_message ON request (position >> 34, message_id, id)
WHERE message_id IS NOT NULL;

CREATE INDEX request_by_parent ON request (replay_parent, id) WHERE replay_parent IS NOT NULL;

CREATE TABLE event (
    id BLOB PRIMARY KEY,
    team INTEGER NOT NULL,
    request_id BLOB NOT NULL,
    connection INTEGER NOT NULL,
    source INTEGER NOT NULL,
    destination INTEGER NOT NULL,
    event_type TEXT,
    status INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    response_status INTEGER,
    error_code TEXT,
    failure_message TEXT,
    ignored_reason INTEGER,
    ignored_detail TEXT,
    created_at INTEGER NOT NULL,
    last_attempt_at INTEGER,
    next_attempt_at INTEGER,
    successful_at INTEGER,
    retry_kind INTEGER,
    retry_parent BLOB,
    due_at INTEGER,
    handler INTEGER,
    handler_reason TEXT,
    operation BLOB
) WITHOUT ROWID;
CREATE INDEX event_by_request ON event (request_id, id);
CREATE INDEX event_by_team ON event (team, id);
CREATE INDEX event_by_connection ON event (team, connection, id);
CREATE INDEX event_failed ON event (team, id) WHERE status = 5;
CREATE INDEX event_pending ON event (team, id) WHERE due_at IS NOT NULL;
CREATE INDEX event_by_operation ON event (operation, id) WHERE operation IS NOT NULL;
CREATE INDEX event_undone_by_operation ON event (operation, status)
WHERE operation IS NOT NULL AND status <> 4;
CREATE INDEX event_unfinished ON event (team, id) WHERE handler > 2;
-- With the status, so that what is held is counted without a look at the rows.
CREATE INDEX event_due ON event (connection, destination, due_at, id, status) WHERE due_at IS NOT NULL;

CREATE TABLE attempt (
    id BLOB PRIMARY KEY,
    position INTEGER NOT NULL,
    team INTEGER NOT NULL,
    event_id BLOB NOT NULL,
    destination INTEGER NOT NULL,
    successful INTEGER NOT NULL,
    started_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX attempt_by_team ON attempt (team, id);
CREATE INDEX attempt_failed ON attempt (team, id) WHERE successful = 0;
CREATE INDEX attempt_by_event ON attempt (event_id, id);

CREATE TABLE period (
    number INTEGER PRIMARY KEY,
    keys INTEGER NOT NULL,
    latest_expiry INTEGER NOT NULL
);
CREATE TABLE dedupe (
    period INTEGER NOT NULL,
    key BLOB NOT NULL,
    request_id BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (period, key)
) WITHOUT ROWID;
CREATE INDEX dedupe_by_position ON dedupe (position);

CREATE TABLE repeat (
    request_id BLOB NOT NULL,
    received_at INTEGER NOT NULL,
    place INTEGER NOT NULL,
    team_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    client_ip TEXT NOT NULL,
    requeued TEXT NOT NULL,
    PRIMARY KEY (request_id, received_at, place)
) WITHOUT ROWID;
CREATE INDEX repeat_by_time ON repeat (received_at);

CREATE TABLE counted (
    team_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    minute INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (team_id, source_id, minute)
) WITHOUT ROWID;

CREATE TABLE total (
    team_id TEXT NOT NULL,
    minute INTEGER NOT NULL,
    what INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (team_id, minute, what)
) WITHOUT ROWID;

CREATE TABLE stopping (
    connection_id TEXT PRIMARY KEY,
    detail TEXT NOT NULL,
    position INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE spared (
    connection_id TEXT NOT NULL,
    event_id BLOB NOT NULL,
    PRIMARY KEY (connection_id, event_id)
) WITHOUT ROWID;

CREATE TABLE report (sequence INTEGER PRIMARY KEY, position INTEGER NOT NULL);
CREATE TABLE fact (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
";

/// Pages in the log before it is folded into the file: 16 MiB. Later would write less, as pages change
/// more than once; but what is folded is flushed at once, and answers wait behind it for the disk.
const CHECKPOINT_PAGES: i64 = 4_000;
const CACHE_KIB: i64 = -8_192;
/// To which the log is cut after a moment in which it had to grow.
const LOG_BYTES: i64 = 64 << 20;

pub(super) fn prepare_writer(connection: &Connection) -> rusqlite::Result<()> {
    // Before anything else: a file keeps what it began with. Free pages are given back in slices.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "cache_size", CACHE_KIB)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match found {
        VERSION => Ok(()),
        0 => connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"
        )),
        _ => Err(rusqlite::Error::InvalidQuery),
    }
}

/// Whether this release reads it.
pub(in super::super) fn is_current(connection: &Connection) -> rusqlite::Result<bool> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(found == VERSION)
}

pub(super) fn prepare_reader(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "query_only", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.busy_timeout(std::time::Duration::from_secs(5))
}
