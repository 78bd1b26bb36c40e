//! Between rows and records. A row that cannot be read is named with table, id and fault.

use bytes::Bytes;
use rusqlite::Row;

use super::StoreError;
use crate::store::{
    AttemptRecord, EventRecord, EventStatus, Headers, IgnoredReason, Lineage, Rejection,
    RepeatRecord, RequestRecord, RetryKind,
};

pub(super) const REQUEST: &str = "id, team_id, source_id, ingested_at, rejection_cause, \
    rejection_reason, rejection_detail, verified_by, message_id, event_type, client_ip, \
    config_revision, method, path, query, body_size, headers, body";
pub(super) const EVENT: &str = "id, team_id, request_id, connection_id, source_id, \
    destination_id, event_type, status, attempts, response_status, error_code, failure_message, \
    ignored_reason, ignored_detail, created_at, last_attempt_at, next_attempt_at, successful_at, \
    retry_kind, retry_parent";
pub(super) const ATTEMPT: &str = "id, team_id, event_id, request_id, connection_id, source_id, \
    destination_id, number, trigger_kind, successful, response_status, error_code, error_message, \
    requested_url, http_method, request_headers, response_headers, response_body, \
    response_truncated, started_at, responded_at, latency_micros, decision, next_attempt_at";

/// A row of ours that does not read back.
type Read<T> = Result<T, StoreError>;

pub(super) fn request(row: &Row<'_>) -> rusqlite::Result<Read<RequestRecord>> {
    let id: String = row.get(0)?;
    let Some(headers) = decode_headers(row.get_ref(16)?.as_blob()?) else {
        return Ok(Err(corrupt("request", id, "headers are cut short")));
    };
    let rejection = match row.get::<_, Option<String>>(4)? {
        None => None,
        Some(cause) => Some(Rejection {
            cause,
            reason: text(row, 5)?,
            detail: text(row, 6)?,
        }),
    };
    Ok(Ok(RequestRecord {
        id,
        team_id: row.get(1)?,
        source_id: row.get(2)?,
        ingested_at: unsigned(row, 3)?,
        rejection,
        verified_by: row.get(7)?,
        message_id: row.get(8)?,
        event_type: row.get(9)?,
        client_ip: row.get(10)?,
        config_revision: unsigned(row, 11)?,
        method: row.get(12)?,
        path: row.get(13)?,
        query: row.get(14)?,
        body_size: unsigned(row, 15)?,
        headers,
        body: Bytes::from(row.get::<_, Vec<u8>>(17)?),
    }))
}

pub(super) fn event(row: &Row<'_>) -> rusqlite::Result<Read<EventRecord>> {
    let id: String = row.get(0)?;
    let Some(status) = status_from(row.get(7)?) else {
        return Ok(Err(corrupt("event", id, "unknown status")));
    };
    let ignored_reason = match row.get::<_, Option<i64>>(12)? {
        None => None,
        Some(code) => match ignored_from(code) {
            Some(reason) => Some(reason),
            None => return Ok(Err(corrupt("event", id, "unknown ignored_reason"))),
        },
    };
    let retry = match (
        row.get::<_, Option<i64>>(18)?,
        row.get::<_, Option<String>>(19)?,
    ) {
        (Some(code), Some(parent_event_id)) => match retry_from(code) {
            Some(kind) => Some(Lineage {
                kind,
                parent_event_id,
            }),
            None => return Ok(Err(corrupt("event", id, "unknown retry_kind"))),
        },
        _ => None,
    };
    Ok(Ok(EventRecord {
        id,
        team_id: row.get(1)?,
        request_id: row.get(2)?,
        connection_id: row.get(3)?,
        source_id: row.get(4)?,
        destination_id: row.get(5)?,
        event_type: row.get(6)?,
        status,
        attempts: row.get(8)?,
        response_status: row.get(9)?,
        error_code: row.get(10)?,
        failure_message: row.get(11)?,
        ignored_reason,
        ignored_detail: row.get(13)?,
        created_at: unsigned(row, 14)?,
        last_attempt_at: maybe_unsigned(row, 15)?,
        next_attempt_at: maybe_unsigned(row, 16)?,
        successful_at: maybe_unsigned(row, 17)?,
        retry,
    }))
}

pub(super) fn attempt(row: &Row<'_>) -> rusqlite::Result<Read<AttemptRecord>> {
    let id: String = row.get(0)?;
    let sent = decode_headers(row.get_ref(15)?.as_blob()?);
    let answered = decode_headers(row.get_ref(16)?.as_blob()?);
    let (Some(request_headers), Some(response_headers)) = (sent, answered) else {
        return Ok(Err(corrupt("attempt", id, "headers are cut short")));
    };
    Ok(Ok(AttemptRecord {
        id,
        team_id: row.get(1)?,
        event_id: row.get(2)?,
        request_id: row.get(3)?,
        connection_id: row.get(4)?,
        source_id: row.get(5)?,
        destination_id: row.get(6)?,
        number: row.get(7)?,
        trigger: row.get(8)?,
        successful: row.get(9)?,
        response_status: row.get(10)?,
        error_code: row.get(11)?,
        error_message: row.get(12)?,
        requested_url: row.get(13)?,
        http_method: row.get(14)?,
        request_headers,
        response_headers,
        response_body: Bytes::from(row.get::<_, Vec<u8>>(17)?),
        response_truncated: row.get(18)?,
        started_at: unsigned(row, 19)?,
        responded_at: maybe_unsigned(row, 20)?,
        latency_micros: unsigned(row, 21)?,
        decision: row.get(22)?,
        next_attempt_at: maybe_unsigned(row, 23)?,
    }))
}

/// Columns: request_id, received_at, client_ip, requeued.
pub(super) fn repeat(row: &Row<'_>) -> rusqlite::Result<RepeatRecord> {
    let requeued: String = row.get(3)?;
    Ok(RepeatRecord {
        request_id: row.get(0)?,
        received_at: unsigned(row, 1)?,
        client_ip: row.get(2)?,
        requeued_event_ids: requeued.split_whitespace().map(str::to_owned).collect(),
    })
}

pub(super) const fn status_code(status: EventStatus) -> i64 {
    match status {
        EventStatus::Scheduled => 1,
        EventStatus::Queued => 2,
        EventStatus::Hold => 3,
        EventStatus::Successful => 4,
        EventStatus::Failed => 5,
        EventStatus::Cancelled => 6,
    }
}

pub(super) const fn status_from(code: i64) -> Option<EventStatus> {
    Some(match code {
        1 => EventStatus::Scheduled,
        2 => EventStatus::Queued,
        3 => EventStatus::Hold,
        4 => EventStatus::Successful,
        5 => EventStatus::Failed,
        6 => EventStatus::Cancelled,
        _ => return None,
    })
}

pub(super) const fn ignored_code(reason: IgnoredReason) -> i64 {
    match reason {
        IgnoredReason::Filtered => 1,
        IgnoredReason::Duplicate => 2,
        IgnoredReason::Disabled => 3,
        IgnoredReason::Operator => 4,
    }
}

const fn ignored_from(code: i64) -> Option<IgnoredReason> {
    Some(match code {
        1 => IgnoredReason::Filtered,
        2 => IgnoredReason::Duplicate,
        3 => IgnoredReason::Disabled,
        4 => IgnoredReason::Operator,
        _ => return None,
    })
}

pub(super) const fn retry_code(kind: RetryKind) -> i64 {
    match kind {
        RetryKind::Single => 1,
        RetryKind::Bulk => 2,
        RetryKind::Resend => 3,
    }
}

const fn retry_from(code: i64) -> Option<RetryKind> {
    Some(match code {
        1 => RetryKind::Single,
        2 => RetryKind::Bulk,
        3 => RetryKind::Resend,
        _ => return None,
    })
}

/// Length-prefixed pairs: exact for any bytes, order and repeats kept.
pub(super) fn encode_headers(headers: &Headers) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in headers {
        for part in [name.as_bytes(), value.as_ref()] {
            // Header blocks are capped at 64 KiB, far below u32.
            out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            out.extend_from_slice(part);
        }
    }
    out
}

fn decode_headers(mut bytes: &[u8]) -> Option<Headers> {
    let mut take = || -> Option<Vec<u8>> {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
        bytes = rest;
        Some(part.to_vec())
    };
    let mut headers = Vec::new();
    loop {
        match take() {
            None => break,
            Some(name) => {
                let value = take()?;
                headers.push((String::from_utf8(name).ok()?, Bytes::from(value)));
            }
        }
    }
    bytes.is_empty().then_some(headers)
}

fn corrupt(table: &'static str, id: String, fault: &str) -> StoreError {
    StoreError::Corrupt {
        table,
        id,
        fault: fault.to_owned(),
    }
}

fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(row.get::<_, Option<String>>(column)?.unwrap_or_default())
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

fn maybe_unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    row.get::<_, Option<i64>>(column)
        .map(|value| value.map(i64::cast_unsigned))
}
