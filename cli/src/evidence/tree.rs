//! A trace as a tree of lines: the request, its branches, their attempts, then the timeline.
//!
//! Pure: takes a trace and gives lines; refuses to know where they go.

use hookplane_client::v1::{
    Attempt, AttemptStatus, Event, EventTrace, Repeat, Request, RequestStatus, RequestTrace,
    RetryKind,
};

use super::names::Names;
use super::words::{answer, event_status, ignored, painted_event, request_status};
use crate::output::{Output, Tone, bytes, clock_time, day_time, millis, since};

/// The whole trace, line by line.
pub(crate) fn draw(
    trace: &RequestTrace,
    names: &Names,
    timeline: bool,
    output: &Output,
) -> Vec<String> {
    let request = trace.request.clone().unwrap_or_default();
    let mut lines = head(&request, names, output);
    let mut branches: Vec<Vec<String>> = Vec::new();
    branches.extend(
        trace
            .events
            .iter()
            .map(|branch| taken(branch, names, output)),
    );
    branches.extend(
        trace
            .ignored_events
            .iter()
            .map(|event| not_taken(event, names, output)),
    );
    branches.extend(trace.repeats.iter().map(repeat));
    if branches.is_empty() && request.status() != RequestStatus::Rejected {
        branches.push(vec![
            "no connection took it: the source has none".to_owned(),
        ]);
    }
    hang(&branches, &mut lines);
    if trace.truncated {
        lines.push(
            "only the newest attempts and repeats are shown; `attempts list` pages through all"
                .to_owned(),
        );
    }
    if timeline && !trace.timeline.is_empty() {
        lines.push(String::new());
        lines.push(output.paint(Tone::Strong, "timeline"));
        let start = trace.timeline.first().and_then(|entry| entry.at);
        for entry in &trace.timeline {
            lines.push(format!(
                "  {:>11}  {:<19} {}  {}",
                since(start.as_ref(), entry.at.as_ref()),
                entry.kind,
                entry.subject_id,
                entry.text
            ));
        }
    }
    lines
}

/// The request line and what is known of the request.
fn head(request: &Request, names: &Names, output: &Output) -> Vec<String> {
    let tone = match request.status() {
        RequestStatus::Rejected => Tone::Bad,
        _ => Tone::Good,
    };
    let call = request
        .data
        .as_ref()
        .map(|data| {
            let query = if data.query.is_empty() {
                String::new()
            } else {
                format!("?{}", data.query)
            };
            format!("  {} {}{query}", data.method, data.path)
        })
        .unwrap_or_default();
    let mut lines = vec![format!(
        "{}{call}  {}",
        output.paint(Tone::Strong, &request.id),
        output.paint(tone, &request_status(request)),
    )];
    let from = if request.client_ip.is_empty() {
        String::new()
    } else {
        format!(" from {}", request.client_ip)
    };
    let routed = if request.agent_id.is_empty() {
        String::new()
    } else {
        format!(
            "{} with revision {}",
            request.agent_id, request.config_revision
        )
    };
    for (name, value) in [
        (
            "received",
            format!(
                "{}, {}{from}",
                day_time(request.ingested_at.as_ref()),
                bytes(request.body_size)
            ),
        ),
        (
            "source",
            format!("{} ({})", names.of(&request.source_id), request.source_id),
        ),
        ("verified by", verified_by(request)),
        ("refused", request.rejection_detail.clone()),
        ("event type", request.event_type.clone()),
        ("message", request.message_id.clone()),
        ("routed by", routed),
    ] {
        if !value.is_empty() {
            lines.push(format!("│ {name:<12} {value}"));
        }
    }
    lines
}

fn verified_by(request: &Request) -> String {
    match (request.verified, request.verified_by.as_str()) {
        (true, "") => "its sender's scheme".to_owned(),
        (true, scheme) => scheme.to_owned(),
        (false, _) if request.status() == RequestStatus::Rejected => String::new(),
        (false, _) => "nothing: the source believes everybody".to_owned(),
    }
}

/// A branch with its attempts.
fn taken(branch: &EventTrace, names: &Names, output: &Output) -> Vec<String> {
    let event = branch.event.clone().unwrap_or_default();
    let lineage = match event.retry_kind() {
        RetryKind::Unspecified => String::new(),
        RetryKind::Resend => format!("  after the resend healed {}", event.retry_parent_event_id),
        _ => format!("  retry of {}", event.retry_parent_event_id),
    };
    let next = match event.next_attempt_at {
        Some(at) if event.successful_at.is_none() => {
            format!("  next try {}", clock_time(Some(&at)))
        }
        _ => String::new(),
    };
    let reason = ignored(&event);
    let reason = if reason.is_empty() {
        event.failure_message.clone()
    } else {
        reason
    };
    let reason = if reason.is_empty() {
        reason
    } else {
        format!("  {reason}")
    };
    let mut lines = vec![format!(
        "{}  {}  {}{reason}{next}{lineage}",
        painted_event(output, &event),
        event.id,
        names.branch(&event.connection_id, &event.destination_id),
    )];
    let attempts: Vec<Vec<String>> = branch
        .attempts
        .iter()
        .map(|attempt| vec![tried(attempt, output)])
        .collect();
    hang(&attempts, &mut lines);
    lines
}

fn tried(attempt: &Attempt, output: &Output) -> String {
    let tone = match attempt.status() {
        AttemptStatus::Successful => Tone::Good,
        _ => Tone::Bad,
    };
    let error = if attempt.error_message.is_empty() || attempt.response_status != 0 {
        String::new()
    } else {
        format!("  {}", attempt.error_message)
    };
    let decision = if attempt.decision.is_empty() {
        String::new()
    } else {
        format!("  {}", attempt.decision)
    };
    format!(
        "#{} {}  {}  {}  {}{error}{decision}",
        attempt.attempt_number,
        clock_time(attempt.started_at.as_ref()),
        output.paint(tone, &answer(attempt.response_status, &attempt.error_code)),
        millis(attempt.delivery_latency),
        attempt.trigger,
    )
}

fn not_taken(event: &Event, names: &Names, output: &Output) -> Vec<String> {
    let status = event_status(event.status());
    vec![format!(
        "{}  {}  {}  {}",
        output.paint(Tone::Quiet, status),
        event.id,
        names.branch(&event.connection_id, &event.destination_id),
        ignored(event),
    )]
}

fn repeat(repeat: &Repeat) -> Vec<String> {
    let healed = if repeat.requeued_event_ids.is_empty() {
        "answered with this request's id, delivered no second time".to_owned()
    } else {
        format!("made anew: {}", repeat.requeued_event_ids.join(", "))
    };
    let from = if repeat.client_ip.is_empty() {
        String::new()
    } else {
        format!(" from {}", repeat.client_ip)
    };
    vec![format!(
        "repeat  {}{from}  {healed}",
        day_time(repeat.received_at.as_ref())
    )]
}

/// Hangs blocks of lines under what stands above them.
fn hang(blocks: &[Vec<String>], lines: &mut Vec<String>) {
    for (place, block) in blocks.iter().enumerate() {
        let last = place + 1 == blocks.len();
        for (row, text) in block.iter().enumerate() {
            let rail = match (row, last) {
                (0, false) => "├─ ",
                (0, true) => "└─ ",
                (_, false) => "│  ",
                (_, true) => "   ",
            };
            lines.push(format!("{rail}{text}"));
        }
    }
}
