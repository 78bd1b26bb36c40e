//! What belongs to one request, for its history: of each list the newest so many.
//!
//! Owns the bounds: a request that is tried or repeated for ever must not make an answer, or the
//! memory it takes, grow for ever.

use hookplane_journal::Position;
use rusqlite::Connection;

use super::compact::pack;
use super::read::{collect, named_attempt, packed, whole};
use super::{failed, rows};
use crate::ids::Kind;
use crate::store::{EventRecord, RepeatRecord, RequestHistory, StoreError};

/// The newest events of a request, oldest first.
pub(in super::super) fn events_of(
    db: &Connection,
    request_id: &str,
) -> Result<Vec<EventRecord>, StoreError> {
    let sql = format!(
        "SELECT {} FROM event WHERE request_id = ? ORDER BY id DESC LIMIT {}",
        rows::EVENT,
        RequestHistory::MOST_EVENTS
    );
    let mut events = whole(collect(
        db,
        &sql,
        &[packed(Kind::Request, request_id)],
        rows::event,
    )?)?;
    events.reverse();
    Ok(events)
}

/// Ids with positions of the newest attempts, oldest first.
pub(in super::super) fn attempts_of(
    db: &Connection,
    request_id: &str,
) -> Result<Vec<(String, Position)>, StoreError> {
    let sql = format!(
        "SELECT attempt.id, position FROM event JOIN attempt ON event_id = event.id
         WHERE request_id = ? ORDER BY attempt.id DESC LIMIT {}",
        RequestHistory::MOST_ATTEMPTS
    );
    let mut attempts = collect(
        db,
        &sql,
        &[packed(Kind::Request, request_id)],
        named_attempt,
    )?;
    attempts.reverse();
    Ok(attempts)
}

pub(in super::super) fn count_attempts_of(
    db: &Connection,
    request_id: &str,
) -> Result<u64, StoreError> {
    db.prepare_cached(
        "SELECT count(*) FROM event JOIN attempt ON event_id = event.id WHERE request_id = ?1",
    )
    .and_then(|mut count| {
        let id = [pack(Kind::Request, request_id)];
        count.query_row(id, |row| rows::unsigned(row, 0))
    })
    .map_err(failed)
}

/// The newest kept arrivals, oldest first.
pub(in super::super) fn repeats_of(
    db: &Connection,
    request_id: &str,
) -> Result<Vec<RepeatRecord>, StoreError> {
    let sql = format!(
        "SELECT request_id, received_at, client_ip, requeued FROM repeat
         WHERE request_id = ? ORDER BY received_at DESC, place DESC LIMIT {}",
        RequestHistory::MOST_REPEATS
    );
    let mut repeats = collect(db, &sql, &[packed(Kind::Request, request_id)], rows::repeat)?;
    repeats.reverse();
    Ok(repeats)
}
