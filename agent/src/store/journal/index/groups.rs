//! What a question finds, by what it has in common: how many, the oldest and the newest.
//!
//! Walks along the same indexes as lists do (`pages`), within the deadline of questions. Owns the
//! bound on groups. Refuses to know what a group means to anybody.

use std::cmp::Reverse;

use rusqlite::{Connection, Row};

use super::compact::unpack;
use super::pages::event_walks;
use super::read::{collect, whole};
use super::rows::{self, Read};
use crate::ids::Kind;
use crate::store::journal::entry::codes;
use crate::store::{EventGroup, EventQuery, MOST_GROUPS, StoreError};

pub(in super::super) fn events(
    db: &Connection,
    query: &EventQuery,
) -> Result<Vec<EventGroup>, StoreError> {
    let mut groups = Vec::new();
    // Several walks are along several connections, so they find no group twice.
    for walk in event_walks(query, None, query.status.is_none()) {
        let sql = format!(
            "SELECT (SELECT text FROM name WHERE number = event.connection), status, error_code,
             response_status, handler, count(*), min(id), max(id) FROM {}
             GROUP BY connection, status, error_code, response_status, handler",
            walk.from()
        );
        groups.extend(whole(collect(db, &sql, &walk.filter.values, group)?)?);
    }
    groups.sort_by_key(|group| Reverse(group.count));
    groups.truncate(MOST_GROUPS);
    Ok(groups)
}

fn group(row: &Row<'_>) -> rusqlite::Result<Read<EventGroup>> {
    let (oldest_id, newest_id) = (unpack(row, 6, Kind::Event)?, unpack(row, 7, Kind::Event)?);
    let outcome = rows::maybe(row, 4)?.map(codes::outcome_from).transpose();
    let status = codes::status_from(rows::unsigned(row, 1)?);
    let (status, handler) = match (status, outcome) {
        (Ok(status), Ok(handler)) => (status, handler),
        (Err(fault), _) | (_, Err(fault)) => {
            return Ok(Err(StoreError::Corrupt {
                table: "event",
                id: newest_id,
                fault: fault.to_string(),
            }));
        }
    };
    Ok(Ok(EventGroup {
        connection_id: row.get::<_, Option<String>>(0)?.unwrap_or_default(),
        status,
        error_code: row.get(2)?,
        response_status: row.get(3)?,
        handler,
        count: rows::unsigned(row, 5)?,
        oldest_id,
        newest_id,
    }))
}
