//! Encoding of requests, events and attempts.
//!
//! What an event shares with its request is not written twice: four texts and a time cost five
//! bytes then. Refuses to know kinds and versions.

use super::super::codec::{Decoder, Encoder, Malformed};
use super::{Entry, Head, Key, Version, extras};
use crate::store::{
    AttemptRecord, EventRecord, EventStatus, Headers, IgnoredReason, Lineage, Rejection,
    RequestRecord, RetryKind,
};

pub(super) fn payload(out: &mut Encoder, headers: &Headers, body: &[u8]) {
    out.headers(headers);
    out.bytes(body);
}

pub(super) fn read_payload(from: &mut Decoder) -> Result<Entry, Malformed> {
    let headers = from.headers()?;
    let body = from.bytes()?;
    Ok(Entry::Payload { headers, body })
}

pub(super) fn head_version(head: &Head) -> Version {
    if extras::request_has(&head.request) {
        return Version::Replayed;
    }
    Version::with(head.events.iter().any(extras::event_has))
}

pub(super) const fn event_version(event: &EventRecord) -> Version {
    Version::with(extras::event_has(event))
}

pub(super) const fn attempt_version(attempt: &AttemptRecord) -> Version {
    Version::with(extras::attempt_has(attempt))
}

pub(super) fn head(out: &mut Encoder, head: &Head, version: Version) {
    // First, so that it can be read alone.
    out.flag(head.key.is_some());
    if let Some((key, expires_at)) = &head.key {
        out.raw(key);
        out.number(*expires_at);
    }
    out.number(head.repeats);
    request(out, &head.request);
    if version == Version::Replayed {
        extras::request(out, &head.request);
    }
    out.number(head.events.len() as u64);
    for one in &head.events {
        event(out, one, &Shared::of(&head.request), version);
    }
}

pub(super) fn head_key(from: &mut Decoder) -> Result<Option<(Key, u64)>, Malformed> {
    if !from.flag()? {
        return Ok(None);
    }
    Ok(Some((key(from)?, from.number()?)))
}

pub(super) fn key(from: &mut Decoder) -> Result<Key, Malformed> {
    let mut key = Key::default();
    let length = key.len();
    key.copy_from_slice(&from.raw(length)?);
    Ok(key)
}

pub(super) fn read_head(from: &mut Decoder, version: Version) -> Result<Head, Malformed> {
    let key = head_key(from)?;
    let repeats = from.number()?;
    let mut request = read_request(from)?;
    if version == Version::Replayed {
        extras::read_request(from, &mut request)?;
    }
    let mut events = Vec::new();
    for _ in 0..from.number()? {
        events.push(read_event(from, &Shared::of(&request), version)?);
    }
    Ok(Head {
        key,
        repeats,
        request,
        events,
    })
}

fn request(out: &mut Encoder, request: &RequestRecord) {
    out.text(&request.id);
    out.text(&request.team_id);
    out.text(&request.source_id);
    out.flag(request.rejection.is_some());
    if let Some(rejection) = &request.rejection {
        out.text(&rejection.cause);
        out.text(&rejection.reason);
        out.text(&rejection.detail);
    }
    out.maybe_text(request.verified_by.as_deref());
    out.maybe_text(request.message_id.as_deref());
    out.maybe_text(request.event_type.as_deref());
    out.number(request.ingested_at);
    out.text(&request.client_ip);
    out.number(request.config_revision);
    out.text(&request.method);
    out.text(&request.path);
    out.text(&request.query);
    out.number(request.body_size);
}

fn read_request(from: &mut Decoder) -> Result<RequestRecord, Malformed> {
    let (id, team_id, source_id) = (from.text()?, from.text()?, from.text()?);
    let rejection = if from.flag()? {
        Some(Rejection {
            cause: from.text()?,
            reason: from.text()?,
            detail: from.text()?,
        })
    } else {
        None
    };
    Ok(RequestRecord {
        id,
        team_id,
        source_id,
        rejection,
        verified_by: from.maybe_text()?,
        message_id: from.maybe_text()?,
        event_type: from.maybe_text()?,
        ingested_at: from.number()?,
        client_ip: from.text()?,
        config_revision: from.number()?,
        method: from.text()?,
        path: from.text()?,
        query: from.text()?,
        body_size: from.number()?,
        headers: Headers::new(),
        body: bytes::Bytes::new(),
        replay: None,
    })
}

/// What the reader of an event knows already.
struct Shared<'a> {
    team_id: &'a str,
    request_id: &'a str,
    source_id: &'a str,
    event_type: Option<&'a str>,
    at: u64,
}

impl<'a> Shared<'a> {
    fn of(request: &'a RequestRecord) -> Self {
        Self {
            team_id: &request.team_id,
            request_id: &request.id,
            source_id: &request.source_id,
            event_type: request.event_type.as_deref(),
            at: request.ingested_at,
        }
    }

    const fn nothing() -> Self {
        Self {
            team_id: "",
            request_id: "",
            source_id: "",
            event_type: None,
            at: 0,
        }
    }
}

pub(super) fn lone_event(out: &mut Encoder, one: &EventRecord, version: Version) {
    event(out, one, &Shared::nothing(), version);
}

pub(super) fn read_lone_event(
    from: &mut Decoder,
    version: Version,
) -> Result<EventRecord, Malformed> {
    read_event(from, &Shared::nothing(), version)
}

fn event(out: &mut Encoder, event: &EventRecord, shared: &Shared<'_>, version: Version) {
    out.text(&event.id);
    out.text_beside(&event.team_id, shared.team_id);
    out.text_beside(&event.request_id, shared.request_id);
    out.text(&event.connection_id);
    out.text_beside(&event.source_id, shared.source_id);
    out.text(&event.destination_id);
    let same_type = event.event_type.as_deref() == shared.event_type;
    out.flag(!same_type);
    if !same_type {
        out.maybe_text(event.event_type.as_deref());
    }
    out.number(status_code(event.status));
    out.number(event.attempts.into());
    out.maybe_number(event.response_status.map(u64::from));
    out.maybe_text(event.error_code.as_deref());
    out.maybe_text(event.failure_message.as_deref());
    out.maybe_number(event.ignored_reason.map(ignored_code));
    out.maybe_text(event.ignored_detail.as_deref());
    // Distances wrap, so that any two times come back.
    let since = |at: u64| at.wrapping_sub(shared.at);
    out.number(since(event.created_at));
    out.maybe_number(event.last_attempt_at.map(since));
    out.maybe_number(event.next_attempt_at.map(since));
    out.maybe_number(event.successful_at.map(since));
    out.maybe_number(event.retry.as_ref().map(|retry| retry_code(retry.kind)));
    if let Some(retry) = &event.retry {
        out.text(&retry.parent_event_id);
    }
    if version != Version::Plain {
        extras::event(out, event);
    }
}

fn read_event(
    from: &mut Decoder,
    shared: &Shared<'_>,
    version: Version,
) -> Result<EventRecord, Malformed> {
    let id = from.text()?;
    let team_id = from.text_beside(shared.team_id)?;
    let request_id = from.text_beside(shared.request_id)?;
    let connection_id = from.text()?;
    let source_id = from.text_beside(shared.source_id)?;
    let destination_id = from.text()?;
    let event_type = if from.flag()? {
        from.maybe_text()?
    } else {
        shared.event_type.map(str::to_owned)
    };
    let status = status_from(from.number()?)?;
    let attempts = from.small()?;
    let response_status = http_status(from)?;
    let (error_code, failure_message) = (from.maybe_text()?, from.maybe_text()?);
    let ignored_reason = from.maybe_number()?.map(ignored_from).transpose()?;
    let ignored_detail = from.maybe_text()?;
    let at = |since: u64| since.wrapping_add(shared.at);
    let mut event = EventRecord {
        id,
        team_id,
        request_id,
        connection_id,
        source_id,
        destination_id,
        event_type,
        status,
        attempts,
        response_status,
        error_code,
        failure_message,
        ignored_reason,
        ignored_detail,
        created_at: at(from.number()?),
        last_attempt_at: from.maybe_number()?.map(at),
        next_attempt_at: from.maybe_number()?.map(at),
        successful_at: from.maybe_number()?.map(at),
        retry: match from.maybe_number()? {
            None => None,
            Some(code) => Some(Lineage {
                kind: retry_from(code)?,
                parent_event_id: from.text()?,
            }),
        },
        handler: None,
        operation_id: None,
    };
    if version != Version::Plain {
        extras::read_event(from, &mut event)?;
    }
    Ok(event)
}

pub(super) fn attempt(out: &mut Encoder, attempt: &AttemptRecord, version: Version) {
    out.text(&attempt.id);
    out.text(&attempt.team_id);
    out.text(&attempt.event_id);
    out.text(&attempt.request_id);
    out.text(&attempt.connection_id);
    out.text(&attempt.source_id);
    out.text(&attempt.destination_id);
    out.number(attempt.number.into());
    out.text(&attempt.trigger);
    out.flag(attempt.successful);
    out.maybe_number(attempt.response_status.map(u64::from));
    out.maybe_text(attempt.error_code.as_deref());
    out.maybe_text(attempt.error_message.as_deref());
    out.text(&attempt.requested_url);
    out.text(&attempt.http_method);
    out.headers(&attempt.request_headers);
    out.headers(&attempt.response_headers);
    out.bytes(&attempt.response_body);
    out.flag(attempt.response_truncated);
    out.number(attempt.started_at);
    out.maybe_number(attempt.responded_at);
    out.number(attempt.latency_micros);
    out.text(&attempt.decision);
    out.maybe_number(attempt.next_attempt_at);
    if version == Version::Extended {
        extras::attempt(out, attempt);
    }
}

pub(super) fn read_attempt(
    from: &mut Decoder,
    version: Version,
) -> Result<AttemptRecord, Malformed> {
    let mut attempt = AttemptRecord {
        id: from.text()?,
        team_id: from.text()?,
        event_id: from.text()?,
        request_id: from.text()?,
        connection_id: from.text()?,
        source_id: from.text()?,
        destination_id: from.text()?,
        number: from.small()?,
        trigger: from.text()?,
        successful: from.flag()?,
        response_status: http_status(from)?,
        error_code: from.maybe_text()?,
        error_message: from.maybe_text()?,
        requested_url: from.text()?,
        http_method: from.text()?,
        request_headers: from.headers()?,
        response_headers: from.headers()?,
        response_body: from.bytes()?,
        response_truncated: from.flag()?,
        started_at: from.number()?,
        responded_at: from.maybe_number()?,
        latency_micros: from.number()?,
        decision: from.text()?,
        next_attempt_at: from.maybe_number()?,
        handler: None,
        sent_body: None,
    };
    if version == Version::Extended {
        extras::read_attempt(from, &mut attempt)?;
    }
    Ok(attempt)
}

fn http_status(from: &mut Decoder) -> Result<Option<u16>, Malformed> {
    let narrow = |wide| u16::try_from(wide).map_err(|_| Malformed::Number);
    from.maybe_number()?.map(narrow).transpose()
}

pub(in super::super) const fn status_code(status: EventStatus) -> u64 {
    match status {
        EventStatus::Scheduled => 1,
        EventStatus::Queued => 2,
        EventStatus::Hold => 3,
        EventStatus::Successful => 4,
        EventStatus::Failed => 5,
        EventStatus::Cancelled => 6,
    }
}

pub(in super::super) const fn status_from(value: u64) -> Result<EventStatus, Malformed> {
    Ok(match value {
        1 => EventStatus::Scheduled,
        2 => EventStatus::Queued,
        3 => EventStatus::Hold,
        4 => EventStatus::Successful,
        5 => EventStatus::Failed,
        6 => EventStatus::Cancelled,
        _ => {
            let what = "the status of an event";
            return Err(Malformed::Unknown { what, value });
        }
    })
}

pub(in super::super) const fn ignored_code(reason: IgnoredReason) -> u64 {
    match reason {
        IgnoredReason::Filtered => 1,
        IgnoredReason::Duplicate => 2,
        IgnoredReason::Disabled => 3,
        IgnoredReason::Operator => 4,
    }
}

pub(in super::super) const fn ignored_from(value: u64) -> Result<IgnoredReason, Malformed> {
    Ok(match value {
        1 => IgnoredReason::Filtered,
        2 => IgnoredReason::Duplicate,
        3 => IgnoredReason::Disabled,
        4 => IgnoredReason::Operator,
        _ => {
            let what = "the reason of an ignored event";
            return Err(Malformed::Unknown { what, value });
        }
    })
}

pub(in super::super) const fn retry_code(kind: RetryKind) -> u64 {
    match kind {
        RetryKind::Single => 1,
        RetryKind::Bulk => 2,
        RetryKind::Resend => 3,
    }
}

pub(in super::super) const fn retry_from(value: u64) -> Result<RetryKind, Malformed> {
    Ok(match value {
        1 => RetryKind::Single,
        2 => RetryKind::Bulk,
        3 => RetryKind::Resend,
        _ => {
            let what = "the kind of a retry";
            return Err(Malformed::Unknown { what, value });
        }
    })
}
