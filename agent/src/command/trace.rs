//! Everything about one request, as branches and as one timeline.

use hookplane_proto::v1::{EventTrace, Repeat, RequestTrace, TimelineEntry};
use prost::Message as _;

use super::render;
use crate::clock::timestamp;
use crate::store::{AttemptRecord, EventRecord, EventStatus, IgnoredReason, RequestHistory};

/// Bytes of attempts that a trace carries with their answers; later ones come without.
const MAX_ATTEMPTS: usize = 2 * 1_024 * 1_024;

pub(super) fn trace(history: &RequestHistory, agent_id: &str) -> RequestTrace {
    let mut size = 0;
    let mut rendered = |record: &AttemptRecord| {
        let whole = render::attempt(record, true);
        size += whole.encoded_len();
        if size <= MAX_ATTEMPTS {
            whole
        } else {
            render::attempt(record, false)
        }
    };
    let (ignored, routed): (Vec<_>, Vec<_>) = history.events.iter().partition(|e| is_ignored(e));
    let events = routed
        .iter()
        .map(|event| EventTrace {
            event: Some(render::event(event)),
            attempts: history
                .attempts
                .iter()
                .filter(|attempt| attempt.event_id == event.id)
                .map(&mut rendered)
                .collect(),
        })
        .collect();
    let repeats = history
        .repeats
        .iter()
        .map(|repeat| Repeat {
            received_at: Some(timestamp(repeat.received_at)),
            client_ip: repeat.client_ip.clone(),
            requeued_event_ids: repeat.requeued_event_ids.clone(),
        })
        .collect();
    RequestTrace {
        // Payloads are given on look-up only.
        request: Some(render::request(
            &history.request,
            history.counts,
            agent_id,
            false,
        )),
        events,
        ignored_events: ignored.into_iter().map(render::event).collect(),
        repeats,
        timeline: timeline(history),
        attempts_count: u32::try_from(history.attempts.len()).unwrap_or(u32::MAX),
        // The control plane says so when it could not ask.
        partial: false,
        unreachable: Vec::new(),
    }
}

/// Never routed; what a person stopped had been routed.
fn is_ignored(event: &EventRecord) -> bool {
    event.status == EventStatus::Cancelled && event.ignored_reason != Some(IgnoredReason::Operator)
}

/// Moments with kind, subject and text.
#[derive(Default)]
struct Timeline(Vec<(u64, &'static str, String, String)>);

impl Timeline {
    fn add(&mut self, at: u64, kind: &'static str, subject: &str, text: impl Into<String>) {
        self.0.push((at, kind, subject.to_owned(), text.into()));
    }
}

fn timeline(history: &RequestHistory) -> Vec<TimelineEntry> {
    let mut line = Timeline::default();
    let request = &history.request;
    match &request.rejection {
        None => {
            let by = request.verified_by.as_deref().unwrap_or("nothing demanded");
            line.add(
                request.ingested_at,
                "request.accepted",
                &request.id,
                format!("{} {} verified by {by}", request.method, request.path),
            );
        }
        Some(why) => {
            let text = [why.cause.as_str(), &why.reason, &why.detail]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join(": ");
            line.add(request.ingested_at, "request.rejected", &request.id, text);
        }
    }
    for event in &history.events {
        of_event(&mut line, event);
    }
    for attempt in &history.attempts {
        of_attempt(&mut line, attempt);
    }
    for event in &history.events {
        end_of_event(&mut line, event);
    }
    for repeat in &history.repeats {
        let text = match repeat.requeued_event_ids.len() {
            0 => "the same message again".to_owned(),
            count => format!("the same message again; {count} failed branches queued anew"),
        };
        line.add(repeat.received_at, "request.repeated", &request.id, text);
    }
    // Stable: entries of one moment stay in the order of their causes.
    line.0.sort_by_key(|(at, ..)| *at);
    line.0
        .into_iter()
        .map(|(at, kind, subject_id, text)| TimelineEntry {
            at: Some(timestamp(at)),
            kind: kind.to_owned(),
            subject_id,
            text,
        })
        .collect()
}

fn of_event(line: &mut Timeline, event: &EventRecord) {
    if is_ignored(event) {
        let reason = match event.ignored_reason {
            Some(IgnoredReason::Filtered) => "filtered",
            Some(IgnoredReason::Duplicate) => "duplicate",
            Some(IgnoredReason::Disabled) => "disabled",
            Some(IgnoredReason::Operator) | None => "stopped",
        };
        let detail = event.ignored_detail.as_deref().unwrap_or_default();
        let text = format!("{}: {reason}: {detail}", event.connection_id);
        line.add(event.created_at, "event.ignored", &event.id, text);
        return;
    }
    let text = match &event.retry {
        None => format!("{} to {}", event.connection_id, event.destination_id),
        Some(lineage) => format!(
            "{} to {}, again for {}",
            event.connection_id, event.destination_id, lineage.parent_event_id
        ),
    };
    line.add(event.created_at, "event.queued", &event.id, text);
}

fn of_attempt(line: &mut Timeline, attempt: &AttemptRecord) {
    let ended = attempt
        .responded_at
        .unwrap_or(attempt.started_at + attempt.latency_micros / 1_000);
    let answer = match (attempt.response_status, &attempt.error_code) {
        (Some(status), _) => format!("answered {status}"),
        (None, Some(code)) => code.clone(),
        (None, None) => "no answer".to_owned(),
    };
    let kind = if attempt.successful {
        "attempt.successful"
    } else {
        "attempt.failed"
    };
    let text = format!("attempt {}: {answer}; {}", attempt.number, attempt.decision);
    line.add(ended, kind, &attempt.id, text);
}

fn end_of_event(line: &mut Timeline, event: &EventRecord) {
    let last = event.last_attempt_at.unwrap_or(event.created_at);
    match event.status {
        EventStatus::Successful => {
            let at = event.successful_at.unwrap_or(last);
            line.add(at, "event.successful", &event.id, "delivered");
        }
        EventStatus::Failed => {
            let text = event
                .failure_message
                .as_deref()
                .unwrap_or("failed for good");
            line.add(last, "event.failed", &event.id, text);
        }
        EventStatus::Cancelled if !is_ignored(event) => {
            let text = event.ignored_detail.as_deref().unwrap_or("stopped");
            line.add(last, "event.cancelled", &event.id, text);
        }
        EventStatus::Scheduled => {
            if let Some(at) = event.next_attempt_at {
                line.add(at, "event.scheduled", &event.id, "the next try is due");
            }
        }
        EventStatus::Queued | EventStatus::Hold | EventStatus::Cancelled => {}
    }
}
