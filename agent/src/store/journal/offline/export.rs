//! Records as JSON. Bytes of senders and receivers are base64, so that they come out exactly.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::super::entry::{self, Entry, Head};
use super::name;
use crate::store::{AttemptRecord, EventRecord, EventStatus, Headers, IgnoredReason, RetryKind};

/// Also says whether the record reads back.
pub(super) fn line(found: &hookplane_journal::Entry) -> (Value, bool) {
    let mut line = Map::new();
    line.insert("position".to_owned(), found.position.to_string().into());
    line.insert("kind".to_owned(), name(found.record.kind).into());
    let (content, readable) = match entry::read(&found.record) {
        Ok(entry) => (content(&entry), true),
        Err(error) => {
            let bytes = bytes(&found.record.payload);
            let fault = json!({ "fault": crate::causes::chain(&error), "bytes": bytes });
            (fault, false)
        }
    };
    if let Value::Object(content) = content {
        line.extend(content);
    }
    (line.into(), readable)
}

pub(super) fn lost(fault: &str) -> Value {
    json!({ "kind": "lost", "fault": fault })
}

fn content(entry: &Entry) -> Value {
    match entry {
        Entry::Payload {
            headers: list,
            body,
        } => {
            json!({ "headers": headers(list), "body": bytes(body) })
        }
        Entry::Request(head) | Entry::Carried(head) => request(head),
        Entry::Repeat(repeat) => json!({
            "request_id": repeat.request_id,
            "team_id": repeat.team_id,
            "source_id": repeat.source_id,
            "received_at": repeat.received_at,
            "client_ip": repeat.client_ip,
            "requeued": repeat.requeued.iter().map(event).collect::<Vec<_>>(),
        }),
        Entry::Tally(counted) => {
            let rows = counted.iter().map(|(of, count)| {
                json!({
                    "request_id": of.request_id,
                    "team_id": of.team_id,
                    "source_id": of.source_id,
                    "minute": of.minute,
                    "count": count,
                })
            });
            json!({ "counts": rows.collect::<Vec<_>>() })
        }
        Entry::Attempt(one, status) => {
            let mut line = attempt(one);
            line["event_status"] = status_name(*status).into();
            line
        }
        Entry::CarriedAttempt(one) => attempt(one),
        Entry::Retry(one) => json!({ "event": event(one) }),
        Entry::Cancel {
            connection_id,
            detail,
        } => json!({ "connection_id": connection_id, "detail": detail }),
        Entry::Broken {
            event_id,
            at,
            reason,
        } => json!({ "event_id": event_id, "at": at, "reason": reason }),
        Entry::CancelEvent {
            event_id,
            at,
            detail,
        } => json!({ "event_id": event_id, "at": at, "detail": detail }),
        Entry::HandlerNote(note) => json!({
            "event_id": note.event_id,
            "attempt": note.attempt,
            "at": note.at,
            "outcome": note.handler.outcome.name(),
            "reason": note.handler.reason,
        }),
        Entry::Number(number) => json!({ "number": number }),
        Entry::Report { sequence, payload } => {
            json!({ "sequence": sequence, "payload": bytes(payload) })
        }
        Entry::Acknowledged(up_to) => json!({ "up_to": up_to }),
        Entry::Keys(keys) => {
            let rows = keys.iter().map(|one| {
                json!({
                    "key": bytes(&one.key),
                    "request_id": one.request_id,
                    "expires_at": one.expires_at,
                })
            });
            json!({ "keys": rows.collect::<Vec<_>>() })
        }
        Entry::Facts {
            number,
            last_report,
        } => json!({ "number": number, "last_report": last_report }),
    }
}

fn request(head: &Head) -> Value {
    let request = &head.request;
    let rejection = request.rejection.as_ref().map(|rejection| {
        json!({
            "cause": rejection.cause,
            "reason": rejection.reason,
            "detail": rejection.detail,
        })
    });
    let key = head.key.as_ref();
    json!({
        "id": request.id,
        "key": key.map(|(key, _)| bytes(key)),
        "key_expires_at": key.map(|(_, expires_at)| expires_at),
        "repeats": head.repeats,
        "team_id": request.team_id,
        "source_id": request.source_id,
        "rejection": rejection,
        "verified_by": request.verified_by,
        "message_id": request.message_id,
        "event_type": request.event_type,
        "ingested_at": request.ingested_at,
        "client_ip": request.client_ip,
        "config_revision": request.config_revision,
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "body_size": request.body_size,
        "events": head.events.iter().map(event).collect::<Vec<_>>(),
    })
}

fn event(event: &EventRecord) -> Value {
    json!({
        "id": event.id,
        "team_id": event.team_id,
        "request_id": event.request_id,
        "connection_id": event.connection_id,
        "source_id": event.source_id,
        "destination_id": event.destination_id,
        "event_type": event.event_type,
        "status": status_name(event.status),
        "attempts": event.attempts,
        "response_status": event.response_status,
        "error_code": event.error_code,
        "failure_message": event.failure_message,
        "ignored_reason": event.ignored_reason.map(reason_name),
        "ignored_detail": event.ignored_detail,
        "created_at": event.created_at,
        "last_attempt_at": event.last_attempt_at,
        "next_attempt_at": event.next_attempt_at,
        "successful_at": event.successful_at,
        "retry": event.retry.as_ref().map(|retry| json!({
            "kind": retry_name(retry.kind),
            "parent_event_id": retry.parent_event_id,
        })),
    })
}

fn attempt(attempt: &AttemptRecord) -> Value {
    json!({
        "id": attempt.id,
        "team_id": attempt.team_id,
        "event_id": attempt.event_id,
        "request_id": attempt.request_id,
        "connection_id": attempt.connection_id,
        "source_id": attempt.source_id,
        "destination_id": attempt.destination_id,
        "number": attempt.number,
        "trigger": attempt.trigger,
        "successful": attempt.successful,
        "response_status": attempt.response_status,
        "error_code": attempt.error_code,
        "error_message": attempt.error_message,
        "requested_url": attempt.requested_url,
        "http_method": attempt.http_method,
        "request_headers": headers(&attempt.request_headers),
        "response_headers": headers(&attempt.response_headers),
        "response_body": bytes(&attempt.response_body),
        "response_truncated": attempt.response_truncated,
        "latency_micros": attempt.latency_micros,
        "started_at": attempt.started_at,
        "responded_at": attempt.responded_at,
        "decision": attempt.decision,
        "next_attempt_at": attempt.next_attempt_at,
    })
}

const fn status_name(status: EventStatus) -> &'static str {
    match status {
        EventStatus::Scheduled => "SCHEDULED",
        EventStatus::Queued => "QUEUED",
        EventStatus::Hold => "HOLD",
        EventStatus::Successful => "SUCCESSFUL",
        EventStatus::Failed => "FAILED",
        EventStatus::Cancelled => "CANCELLED",
    }
}

const fn reason_name(reason: IgnoredReason) -> &'static str {
    match reason {
        IgnoredReason::Filtered => "FILTERED",
        IgnoredReason::Duplicate => "DUPLICATE",
        IgnoredReason::Disabled => "DISABLED",
        IgnoredReason::Operator => "OPERATOR",
    }
}

const fn retry_name(kind: RetryKind) -> &'static str {
    match kind {
        RetryKind::Single => "SINGLE",
        RetryKind::Bulk => "BULK",
        RetryKind::Resend => "RESEND",
    }
}

fn headers(headers: &Headers) -> Value {
    let pairs = headers
        .iter()
        .map(|(name, value)| json!([name, bytes(value)]));
    pairs.collect()
}

fn bytes(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
