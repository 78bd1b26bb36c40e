//! What the writer does inside a transaction: append, complete, retry, cancel, retain.

use rusqlite::{Connection, OptionalExtension as _, params};
use sha2::{Digest as _, Sha256};

use super::rows::{self, encode_headers, ignored_code, retry_code, status_code};
use super::{StoreError, failed};
use crate::ids::{IdMint, Kind};
use crate::store::{
    Appended, AttemptRecord, Completion, EventRecord, EventStatus, IgnoredReason, Lineage,
    NewRequest, RequestRecord, RetryError, RetryKind,
};

pub(super) fn append(
    db: &Connection,
    new: &NewRequest,
    ids: IdMint,
) -> Result<Appended, StoreError> {
    let request = &new.request;
    if let (None, Some(message_id)) = (&request.rejection, &request.message_id) {
        let hash = Sha256::digest(message_id.as_bytes());
        let hash = &hash[..16];
        let first: Option<String> = db
            .prepare_cached(
                "SELECT request_id FROM dedupe
                 WHERE source_id = ?1 AND message_hash = ?2 AND expires_at > ?3",
            )
            .and_then(|mut find| {
                find.query_row(
                    params![request.source_id, hash, time(request.ingested_at)],
                    |row| row.get(0),
                )
                .optional()
            })
            .map_err(failed)?;
        if let Some(first_request_id) = first {
            return repeat(db, request, first_request_id, ids);
        }
        let expires_at = request.ingested_at.saturating_add(new.dedupe_window_millis);
        db.prepare_cached("INSERT OR REPLACE INTO dedupe VALUES (?1, ?2, ?3, ?4)")
            .and_then(|mut keep| {
                keep.execute(params![
                    request.source_id,
                    hash,
                    request.id,
                    time(expires_at)
                ])
            })
            .map_err(failed)?;
    }
    insert_request(db, request).map_err(failed)?;
    for event in &new.events {
        insert_event(db, event).map_err(failed)?;
    }
    Ok(Appended::New)
}

/// Keeps the arrival and queues anew exactly the branches that failed for good (G4). One that
/// was never tried failed at a rule, and the same bytes would fail it again.
fn repeat(
    db: &Connection,
    arrival: &RequestRecord,
    first_request_id: String,
    ids: IdMint,
) -> Result<Appended, StoreError> {
    let dead = db
        .prepare_cached(&format!(
            "SELECT {} FROM event WHERE request_id = ?1 AND status = ?2 AND attempts > 0 AND NOT EXISTS
             (SELECT 1 FROM event child WHERE child.request_id = ?1 AND child.retry_parent = event.id)",
            rows::EVENT
        ))
        .and_then(|mut find| {
            find.query_map(
                params![first_request_id, status_code(EventStatus::Failed)],
                rows::event,
            )?
            .collect::<rusqlite::Result<Vec<_>>>()
        })
        .map_err(failed)?;
    let mut requeued = Vec::new();
    for parent in dead {
        let now = arrival.ingested_at;
        let event = child(&parent?, RetryKind::Resend, ids.mint(Kind::Event, now), now);
        insert_event(db, &event).map_err(failed)?;
        requeued.push(event);
    }
    let names: Vec<&str> = requeued.iter().map(|event| event.id.as_str()).collect();
    db.prepare_cached(
        "INSERT INTO repeat SELECT ?1, ?2, count(*), ?3, ?4, ?5, ?6 FROM repeat
         WHERE request_id = ?1 AND received_at = ?2",
    )
    .and_then(|mut keep| {
        keep.execute(params![
            first_request_id,
            time(arrival.ingested_at),
            arrival.team_id,
            arrival.source_id,
            arrival.client_ip,
            names.join(" "),
        ])
    })
    .map_err(failed)?;
    Ok(Appended::Repeat {
        first_request_id,
        requeued,
    })
}

/// Gives the event in its new state; `None` when the attempt was kept before.
pub(super) fn complete(
    db: &Connection,
    completion: &Completion,
) -> Result<Option<EventRecord>, StoreError> {
    let attempt = &completion.attempt;
    if insert_attempt(db, attempt).map_err(failed)? == 0 {
        return Ok(None);
    }
    let pending = db
        .execute(
            "DELETE FROM pending WHERE event_id = ?1",
            [&attempt.event_id],
        )
        .map_err(failed)?
        == 1;
    let answered_at = time(attempt.responded_at.unwrap_or(attempt.started_at));
    if pending {
        let successful = completion.status == EventStatus::Successful;
        let next = attempt
            .next_attempt_at
            .filter(|_| completion.status == EventStatus::Scheduled);
        db.execute(
            "UPDATE event SET status = ?2, attempts = ?3, response_status = ?4, error_code = ?5,
             failure_message = ?6, last_attempt_at = ?7, next_attempt_at = ?8, successful_at = ?9
             WHERE id = ?1",
            params![
                attempt.event_id,
                status_code(completion.status),
                attempt.number,
                attempt.response_status,
                attempt.error_code,
                attempt.error_message,
                answered_at,
                next.map(time),
                successful.then_some(answered_at),
            ],
        )
        .map_err(failed)?;
        if let Some(next) = next {
            db.execute(
                "INSERT INTO pending VALUES (?1, ?2, ?3, ?4)",
                params![
                    attempt.event_id,
                    attempt.destination_id,
                    attempt.connection_id,
                    time(next)
                ],
            )
            .map_err(failed)?;
        }
    } else {
        // Stopped while the try was under way: it stays stopped, the try is evidence.
        db.execute(
            "UPDATE event SET attempts = ?2, last_attempt_at = ?3 WHERE id = ?1",
            params![attempt.event_id, attempt.number, answered_at],
        )
        .map_err(failed)?;
    }
    find_event(db, &attempt.event_id)
}

pub(super) fn retry_event(
    db: &Connection,
    team_id: &str,
    parent_id: &str,
    new_id: String,
    now: u64,
) -> Result<EventRecord, RetryError> {
    let parent = find_event(db, parent_id)?
        .filter(|event| event.team_id == team_id)
        .ok_or(RetryError::NotFound)?;
    match parent.status {
        EventStatus::Successful | EventStatus::Failed => {}
        EventStatus::Cancelled if parent.ignored_reason == Some(IgnoredReason::Operator) => {}
        EventStatus::Cancelled => return Err(RetryError::Ignored),
        pending => return Err(RetryError::Pending(pending)),
    }
    let event = child(&parent, RetryKind::Single, new_id, now);
    insert_event(db, &event).map_err(failed)?;
    Ok(event)
}

pub(super) fn cancel_pending(
    db: &Connection,
    connection_id: &str,
    detail: &str,
) -> rusqlite::Result<u64> {
    let stopped = db.execute(
        "UPDATE event SET status = ?2, ignored_reason = ?3, ignored_detail = ?4,
         next_attempt_at = NULL
         WHERE id IN (SELECT event_id FROM pending WHERE connection_id = ?1)",
        params![
            connection_id,
            status_code(EventStatus::Cancelled),
            ignored_code(IgnoredReason::Operator),
            detail,
        ],
    )?;
    db.execute(
        "DELETE FROM pending WHERE connection_id = ?1",
        [connection_id],
    )?;
    Ok(stopped as u64)
}

pub(super) fn retain(db: &Connection, before: u64, limit: u32) -> rusqlite::Result<u64> {
    let newest_id = IdMint::lower_bound(Kind::Request, before);
    let old: Vec<String> = db
        .prepare_cached(
            "SELECT id FROM request WHERE id < ?1 AND NOT EXISTS
             (SELECT 1 FROM event JOIN pending ON pending.event_id = event.id
              WHERE event.request_id = request.id)
             ORDER BY id LIMIT ?2",
        )?
        .query_map(params![newest_id, limit], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for id in &old {
        for table in ["attempt", "event", "repeat", "dedupe"] {
            db.prepare_cached(&format!("DELETE FROM {table} WHERE request_id = ?1"))?
                .execute([id])?;
        }
        db.prepare_cached("DELETE FROM request WHERE id = ?1")?
            .execute([id])?;
    }
    Ok(old.len() as u64)
}

fn child(parent: &EventRecord, kind: RetryKind, id: String, now: u64) -> EventRecord {
    EventRecord {
        id,
        status: EventStatus::Queued,
        attempts: 0,
        response_status: None,
        error_code: None,
        failure_message: None,
        ignored_reason: None,
        ignored_detail: None,
        created_at: now,
        last_attempt_at: None,
        next_attempt_at: Some(now),
        successful_at: None,
        retry: Some(Lineage {
            kind,
            parent_event_id: parent.id.clone(),
        }),
        ..parent.clone()
    }
}

fn find_event(db: &Connection, id: &str) -> Result<Option<EventRecord>, StoreError> {
    db.prepare_cached(&format!("SELECT {} FROM event WHERE id = ?1", rows::EVENT))
        .and_then(|mut find| find.query_row([id], rows::event).optional())
        .map_err(failed)?
        .transpose()
}

fn insert_request(db: &Connection, request: &RequestRecord) -> rusqlite::Result<usize> {
    let rejection = request.rejection.as_ref();
    db.prepare_cached(&format!(
        "INSERT INTO request ({}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,
         ?14, ?15, ?16, ?17, ?18)",
        rows::REQUEST
    ))?
    .execute(params![
        request.id,
        request.team_id,
        request.source_id,
        time(request.ingested_at),
        rejection.map(|rejection| &rejection.cause),
        rejection.map(|rejection| &rejection.reason),
        rejection.map(|rejection| &rejection.detail),
        request.verified_by,
        request.message_id,
        request.event_type,
        request.client_ip,
        time(request.config_revision),
        request.method,
        request.path,
        request.query,
        time(request.body_size),
        encode_headers(&request.headers),
        request.body.as_ref(),
    ])
}

fn insert_event(db: &Connection, event: &EventRecord) -> rusqlite::Result<()> {
    db.prepare_cached(&format!(
        "INSERT INTO event ({}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,
         ?14, ?15, ?16, ?17, ?18, ?19, ?20)",
        rows::EVENT
    ))?
    .execute(params![
        event.id,
        event.team_id,
        event.request_id,
        event.connection_id,
        event.source_id,
        event.destination_id,
        event.event_type,
        status_code(event.status),
        event.attempts,
        event.response_status,
        event.error_code,
        event.failure_message,
        event.ignored_reason.map(ignored_code),
        event.ignored_detail,
        time(event.created_at),
        event.last_attempt_at.map(time),
        event.next_attempt_at.map(time),
        event.successful_at.map(time),
        event.retry.as_ref().map(|lineage| retry_code(lineage.kind)),
        event.retry.as_ref().map(|lineage| &lineage.parent_event_id),
    ])?;
    let pending = matches!(
        event.status,
        EventStatus::Scheduled | EventStatus::Queued | EventStatus::Hold
    );
    if pending {
        db.prepare_cached("INSERT INTO pending VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![
                event.id,
                event.destination_id,
                event.connection_id,
                time(event.next_attempt_at.unwrap_or(event.created_at)),
            ])?;
    }
    Ok(())
}

fn insert_attempt(db: &Connection, attempt: &AttemptRecord) -> rusqlite::Result<usize> {
    db.prepare_cached(&format!(
        "INSERT OR IGNORE INTO attempt ({}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11,
         ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24)",
        rows::ATTEMPT
    ))?
    .execute(params![
        attempt.id,
        attempt.team_id,
        attempt.event_id,
        attempt.request_id,
        attempt.connection_id,
        attempt.source_id,
        attempt.destination_id,
        attempt.number,
        attempt.trigger,
        attempt.successful,
        attempt.response_status,
        attempt.error_code,
        attempt.error_message,
        attempt.requested_url,
        attempt.http_method,
        encode_headers(&attempt.request_headers),
        encode_headers(&attempt.response_headers),
        attempt.response_body.as_ref(),
        attempt.response_truncated,
        time(attempt.started_at),
        attempt.responded_at.map(time),
        time(attempt.latency_micros),
        attempt.decision,
        attempt.next_attempt_at.map(time),
    ])
}

/// SQLite integers are signed; times and sizes stay far below the sign bit.
pub(super) const fn time(value: u64) -> i64 {
    value.cast_signed()
}
