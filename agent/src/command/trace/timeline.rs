//! A trace as one list: what happened, sorted by time.

use hookplane_proto::v1::TimelineEntry;

use super::{Kept, is_ignored, newest};
use crate::clock::timestamp;
use crate::store::{AttemptRecord, EventRecord, EventStatus, HandlerVerdict, IgnoredReason};

/// Of the trace's bytes, and of one text.
const BYTES: usize = 768 * 1_024;
const TEXT: usize = 1_024;

/// The entries that fit, and how many do not. The first one, how the request came in, always does.
pub(super) fn timeline(kept: &Kept<'_>) -> (Vec<TimelineEntry>, usize) {
    let mut line = Timeline::default();
    let request = &kept.history.request;
    for event in kept.routed.iter().chain(&kept.ignored) {
        of_event(&mut line, event);
    }
    for attempt in &kept.attempts {
        of_attempt(&mut line, attempt);
    }
    for event in &kept.routed {
        end_of_event(&mut line, event);
    }
    for repeat in &kept.repeats {
        let text = match repeat.requeued_event_ids.len() {
            0 => "the same message again".to_owned(),
            count => format!("the same message again; {count} failed branches queued anew"),
        };
        line.add(repeat.received_at, "request.repeated", &request.id, text);
    }
    // Stable: entries of one moment stay in the order of their causes.
    line.0.sort_by_key(|(at, ..)| *at);
    let mut first = Timeline::default();
    arrival(&mut first, kept);
    let (mut rest, left_out) = newest(&line.0, usize::MAX, BYTES, entry);
    let mut all: Vec<TimelineEntry> = first.0.iter().map(entry).collect();
    all.append(&mut rest);
    (all, left_out)
}

/// When, what kind, about what, in words.
type Moment = (u64, &'static str, String, String);

#[derive(Default)]
struct Timeline(Vec<Moment>);

impl Timeline {
    fn add(&mut self, at: u64, kind: &'static str, subject: &str, text: impl Into<String>) {
        let mut text: String = text.into();
        if text.len() > TEXT {
            text.truncate(text.floor_char_boundary(TEXT));
            text.push('…');
        }
        self.0.push((at, kind, subject.to_owned(), text));
    }
}

fn entry((at, kind, subject_id, text): &Moment) -> TimelineEntry {
    TimelineEntry {
        at: Some(timestamp(*at)),
        kind: (*kind).to_owned(),
        subject_id: subject_id.clone(),
        text: text.clone(),
    }
}

fn arrival(line: &mut Timeline, kept: &Kept<'_>) {
    let request = &kept.history.request;
    match &request.rejection {
        None => {
            let by = match (&request.verified_by, &request.replay) {
                (Some(by), _) => format!("verified by {by}"),
                (None, Some(replay)) if replay.modified => "not verified".to_owned(),
                (None, _) => "nothing demanded".to_owned(),
            };
            let origin = match &request.replay {
                None => String::new(),
                Some(replay) => {
                    let how = if replay.modified {
                        "changed"
                    } else {
                        "as it was"
                    };
                    format!(", made from {} {how}", replay.parent_request_id)
                }
            };
            let text = format!("{} {} {by}{origin}", request.method, request.path);
            line.add(request.ingested_at, "request.accepted", &request.id, text);
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
    if let Some(verdict) = &attempt.handler {
        line.add(ended, "handler.reported", &attempt.id, told(verdict));
    }
}

/// What the handler said, with its steps.
fn told(verdict: &HandlerVerdict) -> String {
    let mut text = format!("handler: {}", verdict.outcome.name());
    if let Some(reason) = &verdict.reason {
        text.push_str(": ");
        text.push_str(reason);
    }
    for (at, (name, state)) in verdict.steps.iter().enumerate() {
        text.push_str(if at == 0 { "; steps " } else { ", " });
        text.push_str(name);
        text.push(' ');
        text.push_str(state.name());
    }
    text
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
                let text = match event.attempts {
                    0 => "the first try is due",
                    _ => "the next try is due",
                };
                line.add(at, "event.scheduled", &event.id, text);
            }
        }
        EventStatus::Hold => {
            let at = event.next_attempt_at.unwrap_or(last);
            line.add(
                at,
                "event.held",
                &event.id,
                "waits: the connection is paused",
            );
        }
        EventStatus::Queued | EventStatus::Cancelled => {}
    }
}
