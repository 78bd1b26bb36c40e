//! The index: an SQLite file behind the journal, to look things up, list them and find what is
//! due beyond memory.
//!
//! Owns the file, its schema and which position of the journal it reflects, which commits with
//! the rows. Refuses to hold anything that cannot be made again from the journal. Commits are not
//! flushed: in WAL mode with `synchronous = NORMAL` SQLite flushes at checkpoints only, so a power
//! cut takes the newest commits, never the file's integrity, and the position tells where to go on.
//! (`OFF` would save those few flushes on a background thread and could leave a broken file.)

pub(super) mod books;
pub(super) mod history;
pub(super) mod read;
mod rows;
mod schema;
pub(super) mod stop;
pub(super) mod upkeep;
pub(super) mod write;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hookplane_journal::Position;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use tokio::sync::Semaphore;

use super::doors::SpoolState;
use super::table::{Backlog, Facts, Kept};
use crate::store::StoreError;

const READERS: usize = 4;
/// Extension of the mark beside an index that is broken.
const BROKEN: &str = "broken";
const READ_DEADLINE: Duration = Duration::from_secs(10);

/// What the index said when it was opened.
pub(super) struct State {
    /// Where the journal is to be read on; `None` for an empty index.
    pub(super) resume: Option<Position>,
    pub(super) facts: Facts,
    pub(super) spool: SpoolState,
}

/// Read-only connections with a bound.
pub(super) struct Readers {
    connections: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

/// Opens the index, or makes an empty one when there is none of this version.
pub(super) fn open(path: &Path) -> Result<(Connection, State), StoreError> {
    if path.with_extension(BROKEN).exists() {
        tracing::warn!("the index was found broken and is made again");
        remove(path)?;
    }
    match try_open(path) {
        Ok(opened) => Ok(opened),
        Err(error) => {
            tracing::warn!(error = %error, "the index cannot be used and is made again");
            remove(path)?;
            try_open(path)
        }
    }
}

/// Has the next `open` make the index again. The file itself goes when there is no room for a mark.
pub(super) fn mark_broken(path: &Path) -> std::io::Result<()> {
    let marked = std::fs::write(path.with_extension(BROKEN), "");
    marked.or_else(|_| remove_files(path).map_err(std::io::Error::other))
}

/// Takes the file away, so that the next `open` makes it again. The mark goes last.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    let mark = path.with_extension(BROKEN);
    remove_files(path).and_then(|()| match std::fs::remove_file(mark) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    })
}

fn remove_files(path: &Path) -> Result<(), StoreError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(PathBuf::from(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn try_open(path: &Path) -> Result<(Connection, State), StoreError> {
    let connection = Connection::open(path).map_err(failed)?;
    schema::prepare_writer(&connection).map_err(failed)?;
    let state = state(&connection).map_err(failed)?;
    Ok((connection, state))
}

pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let reader = Connection::open_with_flags(path, flags)?;
        schema::prepare_reader(&reader)?;
        Ok(reader)
    };
    open().map_err(failed::<rusqlite::Error>)
}

fn state(db: &Connection) -> rusqlite::Result<State> {
    let count = |name| Ok::<_, rusqlite::Error>(fact(db, name)?.unwrap_or(0));
    let number = fact(db, "number")?;
    let facts = Facts {
        number: number.and_then(|number| u32::try_from(number).ok()),
        last_report: count("last_report")?,
        acknowledged: count("acknowledged")?,
        backlog: Backlog {
            scheduled: count("scheduled")?,
            queued: count("queued")?,
            hold: count("hold")?,
        },
        latest_expiry: count("latest_expiry")?,
        kept: Kept {
            bytes: count("bytes")?,
            rejected: count("rejected_bytes")?,
        },
        told_at: count("told_at")?,
    };
    let mut reports = db.prepare("SELECT sequence, position FROM report")?;
    let waiting = reports
        .query_map([], |row| {
            let position = Position::from_u64(rows::unsigned(row, 1)?);
            Ok((rows::unsigned(row, 0)?, position))
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(State {
        resume: fact(db, "resume")?.map(Position::from_u64),
        facts,
        spool: SpoolState {
            last: facts.last_report,
            waiting,
            acknowledged: facts.acknowledged,
            changing: 0,
        },
    })
}

fn fact(db: &Connection, name: &str) -> rusqlite::Result<Option<u64>> {
    db.prepare_cached("SELECT value FROM fact WHERE name = ?1")?
        .query_row([name], |row| rows::unsigned(row, 0))
        .optional()
}

impl Readers {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let connections = (0..READERS).map(|_| reader(path));
        Ok(Self {
            connections: Mutex::new(connections.collect::<Result<_, _>>()?),
            permits: Semaphore::new(READERS),
        })
    }

    /// Runs a question on a blocking thread.
    pub(super) async fn ask<T: Send + 'static>(
        self: &std::sync::Arc<Self>,
        question: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = tokio::time::timeout(READ_DEADLINE, self.permits.acquire())
            .await
            .map_err(|_| StoreError::Busy)?
            .map_err(|_| StoreError::Closed)?;
        let this = std::sync::Arc::clone(self);
        let answer = tokio::task::spawn_blocking(move || {
            let reader = this.lock().pop().ok_or(StoreError::Busy)?;
            let answer = question(&reader);
            this.lock().push(reader);
            answer
        });
        let answer = answer.await.map_err(failed)?;
        drop(permit);
        answer
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn failed<E: std::error::Error + Send + Sync + 'static>(error: E) -> StoreError {
    StoreError::Unavailable(Box::new(error))
}

/// SQLite integers are signed; times, sizes and positions stay below the sign bit.
pub(super) const fn signed(value: u64) -> i64 {
    value.cast_signed()
}
