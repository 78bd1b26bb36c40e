//! Questions to the index: look-ups and what is due.

use std::sync::Arc;

use hookplane_journal::Position;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};

use super::compact::{pack, unpack};
use super::rows::{self, Read};
use super::{failed, signed};
use crate::ids::Kind;
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
            "SELECT id, position, payload, repeats FROM request
             WHERE id = ?1 AND team = (SELECT number FROM name WHERE text = ?2)",
        )
        .and_then(|mut find| {
            let values = params![pack(Kind::Request, id), team_id];
            find.query_row(values, found).optional()
        })
        .map_err(failed)?;
    row.map(|row| counted(db, row)).transpose()
}

pub(super) fn found(row: &Row<'_>) -> rusqlite::Result<Found> {
    Ok(Found {
        id: unpack(row, 0, Kind::Request)?,
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
            count.query_row(params![pack(Kind::Request, &row.id), cancelled], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
        })
        .map_err(failed)?;
    Ok(row)
}

/// Where a request stands, whoever's it is.
pub(in super::super) fn place(db: &Connection, id: &str) -> Result<Option<Place>, StoreError> {
    db.prepare_cached("SELECT position, payload FROM request WHERE id = ?1")
        .and_then(|mut find| {
            let id = [pack(Kind::Request, id)];
            find.query_row(id, |row| rows::place(row, 0)).optional()
        })
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
    whole(collect(
        db,
        &sql,
        &[packed(Kind::Request, request_id)],
        rows::event,
    )?)
}

/// Arrivals of a request's message, the counted ones included.
pub(in super::super) fn repeats_counted(
    db: &Connection,
    request_id: &str,
) -> Result<u64, StoreError> {
    let count = db
        .prepare_cached("SELECT repeats FROM request WHERE id = ?1")
        .and_then(|mut find| {
            find.query_row([pack(Kind::Request, request_id)], |row| {
                rows::unsigned(row, 0)
            })
            .optional()
        });
    Ok(count.map_err(failed)?.unwrap_or(0))
}

pub(in super::super) fn kept_repeats(db: &Connection, request_id: &str) -> Result<u64, StoreError> {
    db.prepare_cached("SELECT count(*) FROM repeat WHERE request_id = ?1")
        .and_then(|mut count| {
            let id = [pack(Kind::Request, request_id)];
            count.query_row(id, |row| rows::unsigned(row, 0))
        })
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
    let values = [packed(Kind::Request, request_id), Value::Integer(failed)];
    whole(collect(db, &sql, &values, rows::event)?)
}

/// How the newest event of a request on a connection stands.
pub(in super::super) fn branch(
    db: &Connection,
    request_id: &str,
    connection_id: &str,
) -> Result<Option<EventStatus>, StoreError> {
    let sql = "SELECT status FROM event INDEXED BY event_by_request WHERE request_id = ?1
        AND connection = (SELECT number FROM name WHERE text = ?2) ORDER BY id DESC LIMIT 1";
    let values = [
        packed(Kind::Request, request_id),
        Value::Text(connection_id.to_owned()),
    ];
    let found = collect(db, sql, &values, |row| rows::unsigned(row, 0))?;
    let status = found.first().map(|code| codes::status_from(*code));
    status.transpose().map_err(failed)
}

/// Of several the one that is known for longest: it was accepted last.
pub(super) const KNOWN: &str = "SELECT request_id FROM dedupe
    WHERE period IN (SELECT number FROM period WHERE latest_expiry > ?2)
    AND key = ?1 AND expires_at > ?2 ORDER BY expires_at DESC LIMIT 1";

/// The request that a message belongs to, while it counts as known.
pub(in super::super) fn known(
    db: &Connection,
    key: &Key,
    now: u64,
) -> Result<Option<String>, StoreError> {
    db.prepare_cached(KNOWN)
        .and_then(|mut find| {
            let request_id = |row: &Row<'_>| unpack(row, 0, Kind::Request);
            find.query_row(params![key.as_slice(), signed(now)], request_id)
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
        .and_then(|mut find| {
            let id = [pack(Kind::Event, id)];
            find.query_row(id, rows::shared_event).optional()
        })
        .map_err(failed)?
        .transpose()
}

/// What a request was replayed as, the newest first.
pub(in super::super) fn replays_of(
    db: &Connection,
    request_id: &str,
) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT id FROM request WHERE replay_parent = ? ORDER BY id DESC LIMIT 100";
    let values = [packed(Kind::Request, request_id)];
    collect(db, sql, &values, |row| unpack(row, 0, Kind::Request))
}

pub(in super::super) fn attempt(
    db: &Connection,
    team_id: &str,
    id: &str,
) -> Result<Option<(String, Position)>, StoreError> {
    db.prepare_cached(
        "SELECT id, position FROM attempt
         WHERE id = ?1 AND team = (SELECT number FROM name WHERE text = ?2)",
    )
    .and_then(|mut find| {
        let values = params![pack(Kind::Attempt, id), team_id];
        find.query_row(values, named_attempt).optional()
    })
    .map_err(failed)
}

/// Whoever's it is.
pub(in super::super) fn has_attempt(db: &Connection, id: &str) -> Result<bool, StoreError> {
    db.prepare_cached("SELECT 1 FROM attempt WHERE id = ?1")
        .and_then(|mut find| find.exists([pack(Kind::Attempt, id)]))
        .map_err(failed)
}

/// Walks from one connection to the next, not over their events.
pub(in super::super) fn pending_connections(db: &Connection) -> Result<Vec<String>, StoreError> {
    let lanes = pending_lanes(db)?;
    let mut connections: Vec<String> = lanes
        .into_iter()
        .map(|(lane, _)| lane.connection_id)
        .collect();
    connections.dedup();
    Ok(connections)
}

/// Lanes with what is due first, by their names. Walks from one to the next, not over their events.
pub(in super::super) fn pending_lanes(db: &Connection) -> Result<Vec<(Lane, Due)>, StoreError> {
    let mut found: Vec<(Lane, Due)> = Vec::new();
    let mut walk = || {
        let mut next = db.prepare_cached(
            "SELECT connection, destination, due_at, id,
             (SELECT text FROM name WHERE number = connection),
             (SELECT text FROM name WHERE number = destination) FROM event
             WHERE due_at IS NOT NULL AND (connection, destination) > (?1, ?2)
             ORDER BY connection, destination, due_at, id LIMIT 1",
        )?;
        // Numbers of names begin with 1.
        let mut after = (0, 0);
        loop {
            let one = next.query_row([after.0, after.1], |row| {
                let lane = Lane {
                    connection_id: row.get(4)?,
                    destination_id: row.get(5)?,
                };
                let due = (rows::unsigned(row, 2)?, unpack(row, 3, Kind::Event)?);
                Ok(((row.get(0)?, row.get(1)?), (lane, due)))
            });
            let Some((numbers, lane)) = one.optional()? else {
                return Ok(());
            };
            after = numbers;
            found.push(lane);
        }
    };
    walk().map_err(failed::<rusqlite::Error>)?;
    found.sort_by(|(left, _), (right, _)| {
        (&left.connection_id, &left.destination_id)
            .cmp(&(&right.connection_id, &right.destination_id))
    });
    Ok(found)
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
        "SELECT {}, due_at FROM event
         WHERE destination = (SELECT number FROM name WHERE text = ?)
         AND connection = (SELECT number FROM name WHERE text = ?) AND due_at IS NOT NULL AND (due_at, id) >= (?, ?) ORDER BY due_at, id LIMIT ?",
        rows::EVENT
    );
    let values = [
        text(&lane.destination_id),
        text(&lane.connection_id),
        Value::Integer(signed(from.0)),
        packed(Kind::Event, &from.1),
        Value::Integer(signed(limit as u64)),
    ];
    collect(db, &sql, &values, |row| {
        let id = unpack(row, 0, Kind::Event)?;
        let due = (rows::unsigned(row, rows::EVENT_COLUMNS)?, id);
        Ok((due, rows::shared_event(row)?))
    })
}

pub(super) fn named_attempt(row: &Row<'_>) -> rusqlite::Result<(String, Position)> {
    let id = unpack(row, 0, Kind::Attempt)?;
    Ok((id, Position::from_u64(rows::unsigned(row, 1)?)))
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

pub(super) fn packed(kind: Kind, id: &str) -> Value {
    pack(kind, id).value()
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
