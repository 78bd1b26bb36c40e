//! Questions to the index: look-ups and what is due.

use std::sync::Arc;

use hookplane_journal::Position;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use super::rows::{self, Read};
use super::{failed, signed};
use crate::store::journal::entry::{Key, codes};
use crate::store::journal::horizon::{Due, Lane, Place};
use crate::store::{EventRecord, EventStatus, RequestCounts, StoreError};

/// A request as the index knows it.
#[derive(Clone, Debug)]
pub(in super::super) struct Found {
    pub(in super::super) id: String,
    pub(in super::super) place: Place,
    pub(in super::super) counts: RequestCounts,
}

pub(in super::super) fn request(
    db: &Connection,
    team_id: &str,
    id: &str,
) -> Result<Option<Found>, StoreError> {
    let row = db
        .prepare_cached(
            "SELECT id, position, payload, repeats FROM request WHERE id = ?1 AND team_id = ?2",
        )
        .and_then(|mut find| find.query_row([id, team_id], found).optional())
        .map_err(failed)?;
    row.map(|row| counted(db, row)).transpose()
}

pub(super) fn found(row: &Row<'_>) -> rusqlite::Result<Found> {
    Ok(Found {
        id: row.get(0)?,
        place: rows::place(row, 1)?,
        counts: RequestCounts {
            repeats: row.get(3)?,
            ..RequestCounts::default()
        },
    })
}

pub(super) fn counted(db: &Connection, mut row: Found) -> Result<Found, StoreError> {
    let cancelled = signed(codes::status_code(EventStatus::Cancelled));
    (row.counts.events, row.counts.ignored) = db
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE status <> ?2), count(*) FILTER (WHERE status = ?2)
             FROM event WHERE request_id = ?1",
        )
        .and_then(|mut count| {
            count.query_row(params![row.id, cancelled], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
        })
        .map_err(failed)?;
    Ok(row)
}

/// Where a request stands, whoever's it is.
pub(in super::super) fn place(db: &Connection, id: &str) -> Result<Option<Place>, StoreError> {
    db.prepare_cached("SELECT position, payload FROM request WHERE id = ?1")
        .and_then(|mut find| find.query_row([id], |row| rows::place(row, 0)).optional())
        .map_err(failed)
}

/// Every event of a request, for moving it.
pub(in super::super) fn all_events_of(
    db: &Connection,
    request_id: &str,
) -> Result<Vec<EventRecord>, StoreError> {
    let sql = format!(
        "SELECT {} FROM event WHERE request_id = ? ORDER BY id",
        rows::EVENT
    );
    whole(collect(db, &sql, &[text(request_id)], rows::event)?)
}

/// Arrivals of a request's message, the counted ones included.
pub(in super::super) fn repeats_counted(
    db: &Connection,
    request_id: &str,
) -> Result<u64, StoreError> {
    let count = db
        .prepare_cached("SELECT repeats FROM request WHERE id = ?1")
        .and_then(|mut find| {
            find.query_row([request_id], |row| rows::unsigned(row, 0))
                .optional()
        });
    Ok(count.map_err(failed)?.unwrap_or(0))
}

pub(in super::super) fn kept_repeats(db: &Connection, request_id: &str) -> Result<u64, StoreError> {
    db.prepare_cached("SELECT count(*) FROM repeat WHERE request_id = ?1")
        .and_then(|mut count| count.query_row([request_id], |row| rows::unsigned(row, 0)))
        .map_err(failed)
}

/// Branches that failed for good and were not queued again since.
pub(in super::super) fn dead_branches(
    db: &Connection,
    request_id: &str,
) -> Result<Vec<EventRecord>, StoreError> {
    let sql = format!(
        "SELECT {} FROM event WHERE request_id = ?1 AND status = ?2 AND attempts > 0 AND NOT EXISTS
         (SELECT 1 FROM event child WHERE child.request_id = ?1 AND child.retry_parent = event.id)
         ORDER BY id",
        rows::EVENT
    );
    let failed = signed(codes::status_code(EventStatus::Failed));
    let values = [text(request_id), Value::Integer(failed)];
    whole(collect(db, &sql, &values, rows::event)?)
}

/// The request that a message belongs to, while it counts as known.
pub(in super::super) fn known(
    db: &Connection,
    key: &Key,
    now: u64,
) -> Result<Option<String>, StoreError> {
    db.prepare_cached("SELECT request_id FROM dedupe WHERE key = ?1 AND expires_at > ?2")
        .and_then(|mut find| {
            find.query_row(params![key.as_slice(), signed(now)], |row| row.get(0))
                .optional()
        })
        .map_err(failed)
}

pub(in super::super) fn event(
    db: &Connection,
    team_id: &str,
    id: &str,
) -> Result<Option<EventRecord>, StoreError> {
    Ok(any_event(db, id)?
        .filter(|event| event.team_id == team_id)
        .map(Arc::unwrap_or_clone))
}

/// Whoever's it is.
pub(in super::super) fn any_event(
    db: &Connection,
    id: &str,
) -> Result<Option<Arc<EventRecord>>, StoreError> {
    db.prepare_cached(&format!("SELECT {} FROM event WHERE id = ?1", rows::EVENT))
        .and_then(|mut find| find.query_row([id], rows::shared_event).optional())
        .map_err(failed)?
        .transpose()
}

pub(in super::super) fn attempt(
    db: &Connection,
    team_id: &str,
    id: &str,
) -> Result<Option<(String, Position)>, StoreError> {
    db.prepare_cached("SELECT id, position FROM attempt WHERE id = ?1 AND team_id = ?2")
        .and_then(|mut find| find.query_row([id, team_id], named_position).optional())
        .map_err(failed)
}

/// Whoever's it is.
pub(in super::super) fn has_attempt(db: &Connection, id: &str) -> Result<bool, StoreError> {
    db.prepare_cached("SELECT 1 FROM attempt WHERE id = ?1")
        .and_then(|mut find| find.exists([id]))
        .map_err(failed)
}

/// Walks from one connection to the next, not over their events.
pub(in super::super) fn pending_connections(db: &Connection) -> Result<Vec<String>, StoreError> {
    let mut found: Vec<String> = Vec::new();
    let mut next = db
        .prepare_cached(
            "SELECT connection_id FROM event WHERE due_at IS NOT NULL AND connection_id > ?1
             ORDER BY connection_id LIMIT 1",
        )
        .map_err(failed)?;
    loop {
        let after = found.last().map_or("", String::as_str);
        let one = next.query_row([after], |row| row.get(0)).optional();
        match one.map_err(failed)? {
            Some(id) => found.push(id),
            None => return Ok(found),
        }
    }
}

/// Lanes with what is due first. Walks from one to the next, not over their events.
pub(in super::super) fn pending_lanes(db: &Connection) -> Result<Vec<(Lane, Due)>, StoreError> {
    let mut found: Vec<(Lane, Due)> = Vec::new();
    let mut next = db
        .prepare_cached(
            "SELECT connection_id, destination_id, due_at, id FROM event
             WHERE due_at IS NOT NULL AND (connection_id, destination_id) > (?1, ?2)
             ORDER BY connection_id, destination_id, due_at, id LIMIT 1",
        )
        .map_err(failed)?;
    loop {
        let after = found.last().map_or(("", ""), |(lane, _)| {
            (lane.connection_id.as_str(), lane.destination_id.as_str())
        });
        let one = next.query_row([after.0, after.1], |row| {
            let lane = Lane {
                connection_id: row.get(0)?,
                destination_id: row.get(1)?,
            };
            Ok((lane, (rows::unsigned(row, 2)?, row.get(3)?)))
        });
        match one.optional().map_err(failed)? {
            Some(lane) => found.push(lane),
            None => return Ok(found),
        }
    }
}

/// Where it stands among what is due, and the event, if its row reads back.
pub(in super::super) type PendingRow = (Due, Read<Arc<EventRecord>>);

/// Pending events of a lane from a boundary on. A row that does not read back is an item, too:
/// where it stands is known.
pub(in super::super) fn pending_from(
    db: &Connection,
    lane: &Lane,
    from: &Due,
    limit: usize,
) -> Result<Vec<PendingRow>, StoreError> {
    let sql = format!(
        "SELECT {}, due_at FROM event WHERE destination_id = ? AND connection_id = ?
         AND due_at IS NOT NULL AND (due_at, id) >= (?, ?) ORDER BY due_at, id LIMIT ?",
        rows::EVENT
    );
    let values = [
        text(&lane.destination_id),
        text(&lane.connection_id),
        Value::Integer(signed(from.0)),
        text(&from.1),
        Value::Integer(signed(limit as u64)),
    ];
    collect(db, &sql, &values, |row| {
        let due = (rows::unsigned(row, rows::EVENT_COLUMNS)?, row.get(0)?);
        Ok((due, rows::shared_event(row)?))
    })
}

pub(super) fn named_position(row: &Row<'_>) -> rusqlite::Result<(String, Position)> {
    Ok((row.get(0)?, Position::from_u64(rows::unsigned(row, 1)?)))
}

pub(super) fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

pub(super) fn collect<T>(
    db: &Connection,
    sql: &str,
    values: &[Value],
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    db.prepare_cached(sql)
        .and_then(|mut find| {
            find.query_map(params_from_iter(values), read)?
                .collect::<rusqlite::Result<Vec<_>>>()
        })
        .map_err(failed)
}

pub(super) fn whole<T>(rows: Vec<Read<T>>) -> Result<Vec<T>, StoreError> {
    rows.into_iter().collect()
}
