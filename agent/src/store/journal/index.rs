//! The index: an SQLite file behind the journal, to look things up, list them and find what is
//! due beyond memory.
//!
//! Owns the file, its schema and which position of the journal it reflects, which commits with
//! the rows. Refuses to hold anything that cannot be made again from the journal. Commits are not
//! flushed: in WAL mode with `synchronous = NORMAL` SQLite flushes at checkpoints only, so a power
//! cut takes the newest commits, never the file's integrity, and the position tells where to go on.
//! (`OFF` would save those few flushes on a background thread and could leave a broken file.)

pub(super) mod books;
pub(super) mod compact;
pub(super) mod counts;
pub(super) mod groups;
pub(super) mod history;
pub(super) mod pages;
mod periods;
pub(super) mod read;
mod readers;
mod rows;
pub(super) mod schema;
pub(super) mod stop;
pub(super) mod targets;
pub(super) mod totals;
pub(super) mod upkeep;
pub(super) mod write;

use std::path::{Path, PathBuf};

use hookplane_journal::Position;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::doors::SpoolState;
use super::horizon::{Due, Lane};
use super::table::{Backlog, Facts, Kept};
use crate::store::StoreError;

pub(super) use readers::{Pool, Readers};

/// Extension of the mark beside an index that is broken.
const BROKEN: &str = "broken";

/// What the index said when it was opened.
pub(super) struct State {
    /// Where the journal is to be read on; `None` for an empty index.
    pub(super) resume: Option<Position>,
    pub(super) facts: Facts,
    pub(super) spool: SpoolState,
    /// Branches with pending events, and what is due first of each.
    pub(super) lanes: Vec<(Lane, Due)>,
    pub(super) stops: stop::Stops,
}

/// Opens the index, or makes an empty one when there is none of this version.
pub(super) fn open(path: &Path) -> Result<(Connection, State), StoreError> {
    if is_marked_broken(path) {
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

pub(super) fn is_marked_broken(path: &Path) -> bool {
    path.with_extension(BROKEN).exists()
}

/// Has the next `open` make the index again. The file itself goes when there is no room for a mark.
pub(super) fn mark_broken(path: &Path) -> std::io::Result<()> {
    let marked = std::fs::write(path.with_extension(BROKEN), "");
    marked.or_else(|_| remove_files(path).map_err(std::io::Error::other))
}

/// A broken file does not mend itself while it is in use: the process ends, and the next start makes
/// it again. To be told every failure, whoever's connection met it.
pub(super) fn end_if_broken(path: &Path, error: &StoreError) {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    let code = cause(error).and_then(rusqlite::Error::sqlite_error_code);
    if !matches!(code, Some(DatabaseCorrupt | NotADatabase)) {
        return;
    }
    tracing::error!(%error, "the index is broken; the process ends so that it is made again");
    match mark_broken(path) {
        Ok(()) => end_process(),
        // Ended without a mark it would end again and again.
        Err(error) => {
            tracing::error!(%error, "the index could not be marked as broken; it stays as it is");
        }
    }
}

/// A test looks at the mark instead.
fn end_process() {
    #[cfg(not(test))]
    std::process::abort();
}

/// What SQLite said.
fn cause(error: &StoreError) -> Option<&rusqlite::Error> {
    match error {
        StoreError::Unavailable(cause) => cause.downcast_ref(),
        _ => None,
    }
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
    // All that opening needs is read here, so that damage in it has the index made again.
    let mut state = state(&connection).map_err(failed)?;
    state.lanes = read::pending_lanes(&connection)?;
    state.stops = stop::stops(&connection)?;
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
        lanes: Vec::new(),
        stops: stop::Stops::default(),
    })
}

/// Where the journal is to be read on.
pub(super) fn resume(db: &Connection) -> Result<Option<Position>, StoreError> {
    let at = fact(db, "resume").map_err(failed)?;
    Ok(at.map(Position::from_u64))
}

fn fact(db: &Connection, name: &str) -> rusqlite::Result<Option<u64>> {
    db.prepare_cached("SELECT value FROM fact WHERE name = ?1")?
        .query_row([name], |row| rows::unsigned(row, 0))
        .optional()
}

pub(super) fn failed<E: std::error::Error + Send + Sync + 'static>(error: E) -> StoreError {
    StoreError::Unavailable(Box::new(error))
}

/// SQLite integers are signed; times, sizes and positions stay below the sign bit.
pub(super) const fn signed(value: u64) -> i64 {
    value.cast_signed()
}
