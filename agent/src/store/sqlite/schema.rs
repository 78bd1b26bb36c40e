//! Tables of the SQLite store and the pragmas of its connections.

use rusqlite::Connection;

const VERSION: i64 = 1;

/// Ids sort by time, so newest-first lists walk primary keys. Pending events
/// stand in a table of their own: the due index stays as small as the backlog.
const TABLES: &str = "
CREATE TABLE request (
    id TEXT PRIMARY KEY,
    team_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    ingested_at INTEGER NOT NULL,
    rejection_cause TEXT,
    rejection_reason TEXT,
    rejection_detail TEXT,
    verified_by TEXT,
    message_id TEXT,
    event_type TEXT,
    client_ip TEXT NOT NULL,
    config_revision INTEGER NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    query TEXT NOT NULL,
    body_size INTEGER NOT NULL,
    headers BLOB NOT NULL,
    body BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX request_by_source ON request (team_id, source_id, id);
CREATE INDEX request_by_message ON request (message_id, id) WHERE message_id IS NOT NULL;

CREATE TABLE event (
    id TEXT PRIMARY KEY,
    team_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    connection_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    destination_id TEXT NOT NULL,
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
    retry_parent TEXT
) WITHOUT ROWID;
CREATE INDEX event_by_request ON event (request_id, id);
CREATE INDEX event_by_connection ON event (team_id, connection_id, status, id);

CREATE TABLE pending (
    event_id TEXT PRIMARY KEY,
    destination_id TEXT NOT NULL,
    connection_id TEXT NOT NULL,
    due_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX pending_by_lane ON pending (destination_id, connection_id, due_at, event_id);
CREATE INDEX pending_by_connection ON pending (connection_id);

CREATE TABLE attempt (
    id TEXT PRIMARY KEY,
    team_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    connection_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    destination_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    trigger_kind TEXT NOT NULL,
    successful INTEGER NOT NULL,
    response_status INTEGER,
    error_code TEXT,
    error_message TEXT,
    requested_url TEXT NOT NULL,
    http_method TEXT NOT NULL,
    request_headers BLOB NOT NULL,
    response_headers BLOB NOT NULL,
    response_body BLOB NOT NULL,
    response_truncated INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    responded_at INTEGER,
    latency_micros INTEGER NOT NULL,
    decision TEXT NOT NULL,
    next_attempt_at INTEGER
) WITHOUT ROWID;
CREATE INDEX attempt_by_event ON attempt (event_id, id);
CREATE INDEX attempt_by_request ON attempt (request_id, id);

CREATE TABLE dedupe (
    source_id TEXT NOT NULL,
    message_hash BLOB NOT NULL,
    request_id TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (source_id, message_hash)
) WITHOUT ROWID;
CREATE INDEX dedupe_by_request ON dedupe (request_id);

CREATE TABLE repeat (
    request_id TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    place INTEGER NOT NULL,
    team_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    client_ip TEXT NOT NULL,
    requeued TEXT NOT NULL,
    PRIMARY KEY (request_id, received_at, place)
) WITHOUT ROWID;

CREATE TABLE report (sequence INTEGER PRIMARY KEY AUTOINCREMENT, payload BLOB NOT NULL);
CREATE TABLE fact (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
";

/// For stores of the first release, which looked due events up by destination only.
const LANES: &str = "
DROP INDEX IF EXISTS pending_due;
CREATE INDEX IF NOT EXISTS pending_by_lane
    ON pending (destination_id, connection_id, due_at, event_id);
";

/// A database written by a newer release than this one.
#[derive(Debug, thiserror::Error)]
#[error("the store has schema {found}, this release knows {VERSION}; run the newer release")]
pub(super) struct NewerSchema {
    found: i64,
}

pub(super) fn prepare_writer(
    connection: &Connection,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: a commit is on stable storage before it is answered (G1).
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 1_000)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match found {
        0 => {
            connection.execute_batch(&format!(
                "BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"
            ))?;
            Ok(())
        }
        VERSION => {
            connection.execute_batch(LANES)?;
            Ok(())
        }
        newer => Err(Box::new(NewerSchema { found: newer })),
    }
}

pub(super) fn prepare_reader(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "query_only", true)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kill leaves what was written in the kernel's memory, so no test by SIGKILL would
    /// notice a weaker mode; this one reads it back from a connection on a real file.
    #[test]
    fn the_writer_flushes_every_commit_before_it_is_answered() {
        let dir = tempfile::tempdir().expect("a folder");
        let connection = Connection::open(dir.path().join("store.db")).expect("a file");
        prepare_writer(&connection).expect("it is prepared");
        let read = |pragma| connection.pragma_query_value(None, pragma, |row| row.get(0));
        let synchronous: i64 = read("synchronous").expect("it is known");
        assert_eq!(synchronous, 2, "2 is FULL: one flush of the log per commit");
        let journal: String = connection
            .pragma_query_value(None, "journal_mode", |row| row.get(0))
            .expect("it is known");
        assert_eq!(journal, "wal");
    }
}
