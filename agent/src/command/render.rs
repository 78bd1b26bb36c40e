//! Records of the store in wire form.

use bytes::Bytes;
use hookplane_proto::id::Id;
use hookplane_proto::v1::{self, AttemptStatus, Header, RequestData, RequestStatus};

use crate::clock::timestamp;
use crate::ids::Kind;
use crate::store::{
    AttemptRecord, EventGroup, EventRecord, EventStatus, HandlerOutcome, HandlerVerdict, Headers,
    IgnoredReason, RequestCounts, RequestRecord, RetryKind, SentBody, StepState,
};

/// Bytes of a body that fit an answer beside everything else.
pub(super) const MAX_BODY: usize = 3 * 1_024 * 1_024;
/// Bytes of a receiver's headers.
const MAX_ANSWER_HEADERS: usize = 16 * 1_024;
/// A body up to here is given as text too.
const MAX_TEXT: usize = 768 * 1_024;

pub(super) fn request(
    record: &RequestRecord,
    counts: RequestCounts,
    agent_id: &str,
    with_data: bool,
) -> v1::Request {
    let rejection = record.rejection.clone();
    let status = match rejection {
        None => RequestStatus::Accepted,
        Some(_) => RequestStatus::Rejected,
    };
    let (cause, reason, detail) = rejection
        .map(|why| (why.cause, why.reason, why.detail))
        .unwrap_or_default();
    let replay = record.replay.as_ref();
    v1::Request {
        id: record.id.clone(),
        team_id: record.team_id.clone(),
        source_id: record.source_id.clone(),
        status: status.into(),
        verified: record.verified_by.is_some(),
        verified_by: record.verified_by.clone().unwrap_or_default(),
        rejection_cause: cause,
        rejection_reason: reason,
        rejection_detail: detail,
        message_id: record.message_id.clone().unwrap_or_default(),
        event_type: record.event_type.clone().unwrap_or_default(),
        ingested_at: Some(timestamp(record.ingested_at)),
        events_count: counts.events,
        ignored_count: counts.ignored,
        repeat_count: counts.repeats,
        body_size: record.body_size,
        client_ip: record.client_ip.clone(),
        agent_id: agent_id.to_owned(),
        config_revision: record.config_revision,
        is_retry: record.replay.is_some(),
        retry_kind: match replay.map(|replay| &replay.operation_id) {
            Some(Some(_)) => v1::RetryKind::Bulk,
            Some(None) => v1::RetryKind::Single,
            None => v1::RetryKind::Unspecified,
        }
        .into(),
        retry_parent_request_id: replay
            .map(|replay| replay.parent_request_id.clone())
            .unwrap_or_default(),
        modified: replay.is_some_and(|replay| replay.modified),
        batch_operation_id: replay
            .and_then(|replay| replay.operation_id.clone())
            .unwrap_or_default(),
        data: with_data.then(|| data(record)),
    }
}

/// What the control plane adds to it stays empty.
pub(super) fn dead_letters(all: u64, groups: &[EventGroup]) -> v1::ListDeadLettersResponse {
    let made_at = |id: &str| Some(timestamp(Id::parse(Kind::Event, id).ok()?.millis()));
    let models = groups.iter().map(|group| v1::DeadLetterGroup {
        connection_id: group.connection_id.clone(),
        error_code: group.error_code.clone().unwrap_or_default(),
        response_status: group.response_status.map_or(0, u32::from),
        handler_outcome: group
            .handler
            .map_or(v1::HandlerOutcome::Unspecified, outcome)
            .into(),
        count: group.count,
        oldest_at: made_at(&group.oldest_id),
        newest_at: made_at(&group.newest_id),
        oldest_event_id: group.oldest_id.clone(),
        newest_event_id: group.newest_id.clone(),
        ..v1::DeadLetterGroup::default()
    });
    v1::ListDeadLettersResponse {
        count: all,
        models: models.collect(),
        ..v1::ListDeadLettersResponse::default()
    }
}

fn data(record: &RequestRecord) -> RequestData {
    let shown = record.body.slice(..record.body.len().min(MAX_BODY));
    let text = Some(&shown)
        .filter(|shown| shown.len() <= MAX_TEXT)
        .and_then(|shown| std::str::from_utf8(shown).ok());
    RequestData {
        method: record.method.clone(),
        path: record.path.clone(),
        query: record.query.clone(),
        headers: headers(&record.headers),
        body_text: text.unwrap_or_default().to_owned(),
        body_truncated: (shown.len() as u64) < record.body_size,
        body: shown.to_vec(),
    }
}

pub(super) fn event(record: &EventRecord) -> v1::Event {
    let status = match record.status {
        EventStatus::Scheduled => v1::EventStatus::Scheduled,
        EventStatus::Queued => v1::EventStatus::Queued,
        EventStatus::Hold => v1::EventStatus::Hold,
        EventStatus::Successful => v1::EventStatus::Successful,
        EventStatus::Failed => v1::EventStatus::Failed,
        EventStatus::Cancelled => v1::EventStatus::Cancelled,
    };
    let ignored = match record.ignored_reason {
        None => v1::IgnoredReason::Unspecified,
        Some(IgnoredReason::Filtered) => v1::IgnoredReason::Filtered,
        Some(IgnoredReason::Duplicate) => v1::IgnoredReason::Duplicate,
        Some(IgnoredReason::Disabled) => v1::IgnoredReason::Disabled,
        Some(IgnoredReason::Operator) => v1::IgnoredReason::Operator,
    };
    let kind = match record.retry.as_ref().map(|lineage| lineage.kind) {
        None => v1::RetryKind::Unspecified,
        Some(RetryKind::Single) => v1::RetryKind::Single,
        Some(RetryKind::Bulk) => v1::RetryKind::Bulk,
        Some(RetryKind::Resend) => v1::RetryKind::Resend,
    };
    let handler = record.handler.as_ref();
    v1::Event {
        id: record.id.clone(),
        team_id: record.team_id.clone(),
        request_id: record.request_id.clone(),
        connection_id: record.connection_id.clone(),
        webhook_id: record.connection_id.clone(),
        source_id: record.source_id.clone(),
        destination_id: record.destination_id.clone(),
        status: status.into(),
        attempts: record.attempts,
        response_status: record.response_status.map_or(0, u32::from),
        error_code: record.error_code.clone().unwrap_or_default(),
        failure_message: record.failure_message.clone().unwrap_or_default(),
        ignored_reason: ignored.into(),
        ignored_detail: record.ignored_detail.clone().unwrap_or_default(),
        created_at: Some(timestamp(record.created_at)),
        last_attempt_at: record.last_attempt_at.map(timestamp),
        next_attempt_at: record.next_attempt_at.map(timestamp),
        successful_at: record.successful_at.map(timestamp),
        is_retry: record.retry.is_some(),
        retry_kind: kind.into(),
        retry_parent_event_id: record
            .retry
            .as_ref()
            .map(|lineage| lineage.parent_event_id.clone())
            .unwrap_or_default(),
        event_type: record.event_type.clone().unwrap_or_default(),
        batch_operation_id: record.operation_id.clone().unwrap_or_default(),
        handler_outcome: handler
            .map_or(v1::HandlerOutcome::Unspecified, |one| outcome(one.outcome))
            .into(),
        handler_reason: handler
            .and_then(|one| one.reason.clone())
            .unwrap_or_default(),
    }
}

/// What a handler said; the token by which deferred work is ended is not shown.
pub(crate) fn verdict(verdict: &HandlerVerdict) -> v1::HandlerVerdict {
    let deferral = verdict.deferral.as_ref();
    let step = |(name, state): &(String, StepState)| v1::HandlerStep {
        name: name.clone(),
        state: match state {
            StepState::Done => v1::HandlerStepState::Done,
            StepState::Failed => v1::HandlerStepState::Failed,
            StepState::Missing => v1::HandlerStepState::Missing,
        }
        .into(),
    };
    v1::HandlerVerdict {
        outcome: outcome(verdict.outcome).into(),
        reason: verdict.reason.clone().unwrap_or_default(),
        retry: verdict.retry,
        steps: verdict.steps.iter().map(step).collect(),
        deadline_at: deferral.map(|deferral| timestamp(deferral.deadline_at)),
    }
}

const fn outcome(outcome: HandlerOutcome) -> v1::HandlerOutcome {
    match outcome {
        HandlerOutcome::Completed => v1::HandlerOutcome::Completed,
        HandlerOutcome::Ignored => v1::HandlerOutcome::Ignored,
        HandlerOutcome::Failed => v1::HandlerOutcome::Failed,
        HandlerOutcome::Deferred => v1::HandlerOutcome::Deferred,
        HandlerOutcome::SilentDrop => v1::HandlerOutcome::SilentDrop,
        HandlerOutcome::Crashed => v1::HandlerOutcome::Crashed,
        HandlerOutcome::TimedOut => v1::HandlerOutcome::TimedOut,
        HandlerOutcome::Unreported => v1::HandlerOutcome::Unreported,
    }
}

/// How much of an attempt to give. What is left out of an answer counts as cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    Whole,
    WithoutAnswer,
    WithoutHeaders,
}

pub(super) fn attempt(record: &AttemptRecord, share: Share) -> v1::Attempt {
    let status = if record.successful {
        AttemptStatus::Successful
    } else {
        AttemptStatus::Failed
    };
    let (body, answered): (&[u8], _) = match share {
        Share::Whole => (
            &record.response_body,
            within(&record.response_headers, MAX_ANSWER_HEADERS),
        ),
        Share::WithoutAnswer | Share::WithoutHeaders => (&[], &[][..]),
    };
    let sent = match share {
        Share::Whole | Share::WithoutAnswer => record.request_headers.as_slice(),
        Share::WithoutHeaders => &[],
    };
    let left_out =
        body.len() < record.response_body.len() || answered.len() < record.response_headers.len();
    v1::Attempt {
        id: record.id.clone(),
        team_id: record.team_id.clone(),
        event_id: record.event_id.clone(),
        request_id: record.request_id.clone(),
        connection_id: record.connection_id.clone(),
        source_id: record.source_id.clone(),
        destination_id: record.destination_id.clone(),
        attempt_number: record.number,
        trigger: record.trigger.clone(),
        status: status.into(),
        response_status: record.response_status.map_or(0, u32::from),
        error_code: record.error_code.clone().unwrap_or_default(),
        error_message: record.error_message.clone().unwrap_or_default(),
        requested_url: record.requested_url.clone(),
        http_method: record.http_method.clone(),
        request_headers: headers(sent),
        response_headers: headers(answered),
        response_body: body.to_vec(),
        body: std::str::from_utf8(body).unwrap_or_default().to_owned(),
        response_truncated: record.response_truncated || left_out,
        started_at: Some(timestamp(record.started_at)),
        responded_at: record.responded_at.map(timestamp),
        delivery_latency: record.latency_micros as f64 / 1_000.0,
        decision: record.decision.clone(),
        next_attempt_at: record.next_attempt_at.map(timestamp),
        handler: record.handler.as_ref().map(verdict),
        sent_body: record
            .sent_body
            .as_ref()
            .filter(|_| matches!(share, Share::Whole))
            .map(sent_body),
    }
}

fn sent_body(body: &SentBody) -> v1::SentBody {
    v1::SentBody {
        body: body.kept.to_vec(),
        body_text: std::str::from_utf8(&body.kept)
            .unwrap_or_default()
            .to_owned(),
        size: body.size,
        truncated: body.size > body.kept.len() as u64,
    }
}

/// The headers that come first and have so many bytes.
fn within(all: &Headers, most: usize) -> &[(String, Bytes)] {
    let mut size = 0;
    let count = all
        .iter()
        .take_while(|(name, value)| {
            size += name.len() + value.len();
            size <= most
        })
        .count();
    &all[..count]
}

fn headers(kept: &[(String, Bytes)]) -> Vec<Header> {
    kept.iter()
        .map(|(name, value)| Header {
            name: name.clone(),
            value: value.to_vec(),
        })
        .collect()
}
