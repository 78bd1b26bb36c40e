//! Stopping what is pending on a connection, slice by slice.
//!
//! Invariant: what became pending after the record that stops the connection is not touched.

use std::collections::HashMap;

use hookplane_journal::Position;
use rusqlite::{Connection, params};

use super::compact::{pack, unpack};
use super::totals::{self, Totals};
use super::{failed, rows, signed, write};
use crate::ids::Kind;
use crate::store::journal::entry::codes;
use crate::store::journal::table::StopRow;
use crate::store::{EventStatus, IgnoredReason, StoreError};

/// What a slice came to.
#[derive(Debug, Default)]
pub(in super::super) struct Stopped {
    /// Events with the state they had.
    pub(in super::super) events: Vec<(String, EventStatus)>,
    /// There are no more.
    pub(in super::super) ended: bool,
}

/// The connections whose events stop, and what became pending on them since.
pub(in super::super) type Stops = (HashMap<String, StopRow>, Vec<(String, String)>);

pub(in super::super) fn stops(db: &Connection) -> Result<Stops, StoreError> {
    let read = || {
        let mut find = db.prepare("SELECT connection_id, detail, position FROM stopping")?;
        let stops = find.query_map([], |row| {
            let stop = StopRow {
                detail: row.get(1)?,
                position: Position::from_u64(rows::unsigned(row, 2)?),
            };
            Ok((row.get(0)?, stop))
        })?;
        let stops = stops.collect::<rusqlite::Result<_>>()?;
        let mut find = db.prepare("SELECT connection_id, event_id FROM spared")?;
        let spared = find.query_map([], |row| Ok((row.get(0)?, unpack(row, 1, Kind::Event)?)))?;
        Ok((stops, spared.collect::<rusqlite::Result<_>>()?))
    };
    read().map_err(failed::<rusqlite::Error>)
}

/// Cancels at most so many pending events of a connection.
pub(in super::super) fn slice(
    db: &mut Connection,
    connection_id: &str,
    detail: &str,
    limit: u32,
) -> rusqlite::Result<Stopped> {
    let transaction = db.transaction()?;
    let mut found: Vec<(String, u64, String, u64)> = transaction
        .prepare_cached(
            "SELECT id, status, (SELECT text FROM name WHERE number = team), created_at FROM event
             WHERE connection = (SELECT number FROM name WHERE text = ?1) AND due_at IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM spared
                 WHERE spared.connection_id = ?1 AND event_id = event.id)
             LIMIT ?2",
        )?
        .query_map(params![connection_id, limit], |row| {
            let (status, created_at) = (rows::unsigned(row, 1)?, rows::unsigned(row, 3)?);
            Ok((
                unpack(row, 0, Kind::Event)?,
                status,
                row.get(2)?,
                created_at,
            ))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let ended = found.len() < limit as usize;
    let mut sums = Totals::default();
    let mut stopped = Stopped {
        ended,
        ..Stopped::default()
    };
    {
        let mut stop = transaction.prepare_cached(
            "UPDATE event SET status = ?2, ignored_reason = ?3, ignored_detail = ?4,
             next_attempt_at = NULL, due_at = NULL WHERE id = ?1",
        )?;
        let cancelled = codes::status_code(EventStatus::Cancelled);
        for (id, code, team, created_at) in found.drain(..) {
            sums.add(&team, created_at, code, -1);
            sums.add(&team, created_at, cancelled, 1);
            stop.execute(params![
                pack(Kind::Event, &id),
                signed(cancelled),
                signed(codes::ignored_code(IgnoredReason::Operator)),
                detail,
            ])?;
            // Any other one counts nowhere.
            let before = codes::status_from(code).unwrap_or(EventStatus::Cancelled);
            stopped.events.push((id, before));
        }
    }
    totals::put(&transaction, &sums)?;
    for (name, status) in [
        ("scheduled", EventStatus::Scheduled),
        ("queued", EventStatus::Queued),
        ("hold", EventStatus::Hold),
    ] {
        let were = stopped.events.iter().filter(|(_, was)| *was == status);
        write::lower_fact(&transaction, name, were.count() as u64)?;
    }
    if ended {
        for table in ["stopping", "spared"] {
            transaction
                .prepare_cached(&format!("DELETE FROM {table} WHERE connection_id = ?1"))?
                .execute([connection_id])?;
        }
    }
    transaction.commit()?;
    Ok(stopped)
}
