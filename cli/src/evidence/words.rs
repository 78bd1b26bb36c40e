//! Statuses as words, short and in colour, and names of statuses as flags.

use hookplane_client::v1::{
    AttemptStatus, Event, EventStatus, HandlerOutcome, IgnoredReason, Request, RequestStatus,
};

use crate::output::{Output, Tone};

/// `accepted`, or `rejected` with its cause.
pub(super) fn request_status(request: &Request) -> String {
    if request.status() == RequestStatus::Rejected {
        let cause = &request.rejection_cause;
        let reason = &request.rejection_reason;
        if reason.is_empty() {
            format!("rejected {cause}")
        } else {
            format!("rejected {cause} ({reason})")
        }
    } else {
        "accepted".to_owned()
    }
}

pub(super) fn event_status(status: EventStatus) -> &'static str {
    status.as_str_name().trim_start_matches("EVENT_STATUS_")
}

pub(super) fn attempt_status(status: AttemptStatus) -> &'static str {
    status.as_str_name().trim_start_matches("ATTEMPT_STATUS_")
}

/// `FILTERED: body.type`, for branches that were not taken.
pub(super) fn ignored(event: &Event) -> String {
    let reason = match event.ignored_reason() {
        IgnoredReason::Unspecified => String::new(),
        reason => reason
            .as_str_name()
            .trim_start_matches("IGNORED_REASON_")
            .to_owned(),
    };
    match (reason.is_empty(), event.ignored_detail.is_empty()) {
        (_, true) => reason,
        (true, false) => event.ignored_detail.clone(),
        (false, false) => format!("{reason}: {}", event.ignored_detail),
    }
}

/// `silent_drop`, or `failed: no plan`; empty when the handler said nothing.
pub(super) fn handler(event: &Event) -> String {
    let outcome = match event.handler_outcome() {
        HandlerOutcome::Unspecified => return String::new(),
        outcome => outcome.as_str_name(),
    };
    let outcome = outcome
        .trim_start_matches("HANDLER_OUTCOME_")
        .to_lowercase();
    if event.handler_reason.is_empty() {
        outcome
    } else {
        format!("{outcome}: {}", event.handler_reason)
    }
}

/// The answer of the receiver, or what went wrong instead.
pub(super) fn answer(response_status: u32, error_code: &str) -> String {
    match (response_status, error_code) {
        (0, "") => "-".to_owned(),
        (0, code) => code.to_owned(),
        (status, _) => status.to_string(),
    }
}

pub(super) fn event_tone(status: EventStatus) -> Tone {
    match status {
        EventStatus::Successful => Tone::Good,
        EventStatus::Failed => Tone::Bad,
        EventStatus::Cancelled => Tone::Quiet,
        _ => Tone::Waiting,
    }
}

pub(super) fn painted_event(output: &Output, event: &Event) -> String {
    output.paint(event_tone(event.status()), event_status(event.status()))
}

/// Event statuses as a flag.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum EventStatusArg {
    Scheduled,
    Queued,
    Hold,
    Successful,
    Failed,
    Cancelled,
}

impl From<EventStatusArg> for EventStatus {
    fn from(arg: EventStatusArg) -> Self {
        match arg {
            EventStatusArg::Scheduled => Self::Scheduled,
            EventStatusArg::Queued => Self::Queued,
            EventStatusArg::Hold => Self::Hold,
            EventStatusArg::Successful => Self::Successful,
            EventStatusArg::Failed => Self::Failed,
            EventStatusArg::Cancelled => Self::Cancelled,
        }
    }
}

/// What a handler came to, as a flag.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum HandlerOutcomeArg {
    Completed,
    Ignored,
    Failed,
    Deferred,
    SilentDrop,
    Crashed,
    TimedOut,
    Unreported,
}

impl From<HandlerOutcomeArg> for HandlerOutcome {
    fn from(arg: HandlerOutcomeArg) -> Self {
        match arg {
            HandlerOutcomeArg::Completed => Self::Completed,
            HandlerOutcomeArg::Ignored => Self::Ignored,
            HandlerOutcomeArg::Failed => Self::Failed,
            HandlerOutcomeArg::Deferred => Self::Deferred,
            HandlerOutcomeArg::SilentDrop => Self::SilentDrop,
            HandlerOutcomeArg::Crashed => Self::Crashed,
            HandlerOutcomeArg::TimedOut => Self::TimedOut,
            HandlerOutcomeArg::Unreported => Self::Unreported,
        }
    }
}

/// Request statuses as a flag.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum RequestStatusArg {
    Accepted,
    Rejected,
}

impl From<RequestStatusArg> for RequestStatus {
    fn from(arg: RequestStatusArg) -> Self {
        match arg {
            RequestStatusArg::Accepted => Self::Accepted,
            RequestStatusArg::Rejected => Self::Rejected,
        }
    }
}
