//! Between rows of the index and records.

use std::sync::Arc;

use hookplane_journal::Position;
use rusqlite::{Connection, Row, Statement, params};

use super::compact::{Names, maybe_unpack, pack, unpack};
use super::signed;
use crate::ids::Kind;
use crate::store::journal::entry::codes;
use crate::store::journal::horizon::{Place, due_of};
use crate::store::journal::table::is_pending;
use crate::store::{EventHandler, EventRecord, Lineage, RepeatRecord, StoreError};

/// To read an event by `event`; its table must have no other name in the statement.
pub(super) const EVENT: &str = "id, \
    (SELECT text FROM name WHERE number = event.team), request_id, \
    (SELECT text FROM name WHERE number = event.connection), \
    (SELECT text FROM name WHERE number = event.source), \
    (SELECT text FROM name WHERE number = event.destination), event_type, status, attempts, response_status, error_code, failure_message, \
    ignored_reason, ignored_detail, created_at, last_attempt_at, next_attempt_at, successful_at, \
    retry_kind, retry_parent, handler, handler_reason, operation";
pub(super) const EVENT_COLUMNS: usize = 23;

/// A row that our own code cannot have written is an error of its own, inside the answer.
pub(super) type Read<T> = Result<T, StoreError>;

/// Its columns in the order of the table.
pub(super) fn put_event(
    db: &Connection,
    statement: &mut Statement<'_>,
    names: &mut Names,
    event: &EventRecord,
) -> rusqlite::Result<()> {
    let due_at = is_pending(event.status).then(|| signed(due_of(event).0));
    let lineage = event.retry.as_ref();
    let handler = event.handler.as_ref();
    statement.execute(params![
        pack(Kind::Event, &event.id),
        names.of(db, &event.team_id)?,
        pack(Kind::Request, &event.request_id),
        names.of(db, &event.connection_id)?,
        names.of(db, &event.source_id)?,
        names.of(db, &event.destination_id)?,
        event.event_type,
        signed(codes::status_code(event.status)),
        event.attempts,
        event.response_status,
        event.error_code,
        event.failure_message,
        event
            .ignored_reason
            .map(|reason| signed(codes::ignored_code(reason))),
        event.ignored_detail,
        signed(event.created_at),
        event.last_attempt_at.map(signed),
        event.next_attempt_at.map(signed),
        event.successful_at.map(signed),
        lineage.map(|lineage| signed(codes::retry_code(lineage.kind))),
        lineage.map(|lineage| pack(Kind::Event, &lineage.parent_event_id)),
        due_at,
        handler.map(|handler| signed(codes::outcome_code(handler.outcome))),
        handler.and_then(|handler| handler.reason.as_deref()),
        event
            .operation_id
            .as_ref()
            .map(|id| pack(Kind::BulkOperation, id)),
    ])?;
    Ok(())
}

pub(super) fn event(row: &Row<'_>) -> rusqlite::Result<Read<EventRecord>> {
    let id = unpack(row, 0, Kind::Event)?;
    let broken = |fault: &dyn std::fmt::Display| {
        Ok(Err(StoreError::Corrupt {
            table: "event",
            id: id.clone(),
            fault: fault.to_string(),
        }))
    };
    let status = match codes::status_from(unsigned(row, 7)?) {
        Ok(status) => status,
        Err(error) => return broken(&error),
    };
    let ignored_reason = match maybe(row, 12)?.map(codes::ignored_from).transpose() {
        Ok(reason) => reason,
        Err(error) => return broken(&error),
    };
    let kind = match maybe(row, 18)?.map(codes::retry_from).transpose() {
        Ok(kind) => kind,
        Err(error) => return broken(&error),
    };
    let parent = maybe_unpack(row, 19, Kind::Event)?;
    let outcome = match maybe(row, 20)?.map(codes::outcome_from).transpose() {
        Ok(outcome) => outcome,
        Err(error) => return broken(&error),
    };
    let reason = row.get(21)?;
    // The index lost what a number stands for.
    let mut names: [Option<String>; 4] = [row.get(1)?, row.get(3)?, row.get(4)?, row.get(5)?];
    if names.iter().any(Option::is_none) {
        return broken(&"a name is missing");
    }
    let [team_id, connection_id, source_id, destination_id] =
        names.each_mut().map(|name| name.take().unwrap_or_default());
    let retry = kind.zip(parent).map(|(kind, parent_event_id)| Lineage {
        kind,
        parent_event_id,
    });
    Ok(Ok(EventRecord {
        team_id,
        request_id: unpack(row, 2, Kind::Request)?,
        connection_id,
        source_id,
        destination_id,
        event_type: row.get(6)?,
        status,
        attempts: row.get(8)?,
        response_status: row.get(9)?,
        error_code: row.get(10)?,
        failure_message: row.get(11)?,
        ignored_reason,
        ignored_detail: row.get(13)?,
        created_at: unsigned(row, 14)?,
        last_attempt_at: maybe(row, 15)?,
        next_attempt_at: maybe(row, 16)?,
        successful_at: maybe(row, 17)?,
        retry,
        operation_id: maybe_unpack(row, 22, Kind::BulkOperation)?,
        handler: outcome.map(|outcome| EventHandler { outcome, reason }),
        id,
    }))
}

pub(super) fn shared_event(row: &Row<'_>) -> rusqlite::Result<Read<Arc<EventRecord>>> {
    Ok(event(row)?.map(Arc::new))
}

/// Columns: request_id, received_at, client_ip, requeued.
pub(super) fn repeat(row: &Row<'_>) -> rusqlite::Result<RepeatRecord> {
    let requeued: String = row.get(3)?;
    Ok(RepeatRecord {
        request_id: unpack(row, 0, Kind::Request)?,
        received_at: unsigned(row, 1)?,
        client_ip: row.get(2)?,
        requeued_event_ids: requeued.split_whitespace().map(str::to_owned).collect(),
    })
}

/// Two columns: head and payload.
pub(super) fn place(row: &Row<'_>, column: usize) -> rusqlite::Result<Place> {
    let head = Position::from_u64(unsigned(row, column)?);
    Ok((head, maybe(row, column + 1)?.map(Position::from_u64)))
}

pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

pub(super) fn maybe(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    row.get::<_, Option<i64>>(column)
        .map(|value| value.map(i64::cast_unsigned))
}
