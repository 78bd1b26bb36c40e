//! From wire questions to the store's, with limits and every fault named.

use std::collections::HashSet;

use hookplane_proto::id::Id;
use hookplane_proto::v1::{
    self, AttemptStatus, EventStatus as WireStatus, HandlerOutcome as WireOutcome, RequestStatus,
};

use super::fault::Fault;
use super::when;
use crate::ids::Kind;
use crate::store::{AttemptQuery, EventQuery, EventStatus, HandlerOutcome, RequestQuery};

const DEFAULT_PAGE: u32 = 100;
const MAX_PAGE: u32 = 255;
const MAX_IDS: usize = 100;

pub(super) fn list_requests(
    team_id: &str,
    wire: &v1::ListRequestsRequest,
    now: u64,
) -> Result<RequestQuery, Fault> {
    Ok(RequestQuery {
        team_id: team_id.to_owned(),
        from: when::parse("from", &wire.from, now)?,
        to: when::parse("to", &wire.to, now)?,
        rejected: rejected(wire.status)?,
        source_id: given(&wire.source_id),
        verified: wire.verified,
        message_id: given(&wire.message_id),
        event_type: given(&wire.event_type),
        unreplayed: false,
        before_id: page_token(Kind::Request, &wire.page_token)?,
        limit: limit(wire.limit)?,
    })
}

pub(super) fn count_requests(
    team_id: &str,
    wire: &v1::CountRequestsRequest,
    now: u64,
) -> Result<RequestQuery, Fault> {
    Ok(RequestQuery {
        team_id: team_id.to_owned(),
        from: when::parse("from", &wire.from, now)?,
        to: when::parse("to", &wire.to, now)?,
        rejected: rejected(wire.status)?,
        source_id: given(&wire.source_id),
        verified: wire.verified,
        message_id: given(&wire.message_id),
        event_type: given(&wire.event_type),
        unreplayed: false,
        before_id: None,
        limit: MAX_PAGE,
    })
}

pub(super) fn list_events(
    team_id: &str,
    wire: &v1::ListEventsRequest,
    now: u64,
) -> Result<EventQuery, Fault> {
    Ok(EventQuery {
        team_id: team_id.to_owned(),
        from: when::parse("from", &wire.from, now)?,
        to: when::parse("to", &wire.to, now)?,
        status: event_status(wire.status)?,
        source_id: given(&wire.source_id),
        connection_ids: several("connection_id", &wire.connection_id)?,
        destination_ids: several("destination_id", &wire.destination_id)?,
        request_id: given(&wire.request_id),
        operation_id: given(&wire.batch_operation_id),
        handler: handler_outcome(wire.handler_outcome)?,
        unretried: false,
        paused: HashSet::new(),
        before_id: page_token(Kind::Event, &wire.page_token)?,
        limit: limit(wire.limit)?,
    })
}

pub(super) fn count_events(
    team_id: &str,
    wire: &v1::CountEventsRequest,
    now: u64,
) -> Result<EventQuery, Fault> {
    Ok(EventQuery {
        team_id: team_id.to_owned(),
        from: when::parse("from", &wire.from, now)?,
        to: when::parse("to", &wire.to, now)?,
        status: event_status(wire.status)?,
        source_id: given(&wire.source_id),
        connection_ids: several("connection_id", &wire.connection_id)?,
        destination_ids: several("destination_id", &wire.destination_id)?,
        request_id: None,
        operation_id: None,
        handler: handler_outcome(wire.handler_outcome)?,
        unretried: false,
        paused: HashSet::new(),
        before_id: None,
        limit: MAX_PAGE,
    })
}

/// What failed, and nobody has sent again.
pub(super) fn dead_letters(
    team_id: &str,
    wire: &v1::ListDeadLettersRequest,
    now: u64,
) -> Result<EventQuery, Fault> {
    Ok(EventQuery {
        team_id: team_id.to_owned(),
        from: when::parse("from", &wire.from, now)?,
        to: when::parse("to", &wire.to, now)?,
        status: Some(EventStatus::Failed),
        source_id: given(&wire.source_id),
        connection_ids: several("connection_id", &wire.connection_id)?,
        destination_ids: several("destination_id", &wire.destination_id)?,
        unretried: true,
        ..EventQuery::default()
    })
}

pub(super) fn list_attempts(
    team_id: &str,
    wire: &v1::ListAttemptsRequest,
    now: u64,
) -> Result<AttemptQuery, Fault> {
    let successful = match AttemptStatus::try_from(wire.status) {
        Ok(AttemptStatus::Unspecified) => None,
        Ok(AttemptStatus::Successful) => Some(true),
        Ok(AttemptStatus::Failed) => Some(false),
        Err(_) => return Err(unknown_status()),
    };
    Ok(AttemptQuery {
        team_id: team_id.to_owned(),
        from: when::parse("from", &wire.from, now)?,
        to: when::parse("to", &wire.to, now)?,
        successful,
        event_ids: several("event_id", &wire.event_id)?,
        destination_ids: several("destination_id", &wire.destination_id)?,
        before_id: page_token(Kind::Attempt, &wire.page_token)?,
        limit: limit(wire.limit)?,
    })
}

/// `None` for any, true for the rejected ones.
pub(super) fn rejected(status: i32) -> Result<Option<bool>, Fault> {
    match RequestStatus::try_from(status) {
        Ok(RequestStatus::Unspecified) => Ok(None),
        Ok(RequestStatus::Accepted) => Ok(Some(false)),
        Ok(RequestStatus::Rejected) => Ok(Some(true)),
        Err(_) => Err(unknown_status()),
    }
}

/// Whether payloads are asked for.
pub(super) fn include_data(include: &str) -> Result<bool, Fault> {
    match include {
        "" => Ok(false),
        "data" => Ok(true),
        other => {
            let shown: String = other.chars().take(64).collect();
            let message = format!("`include`: {shown:?} is nothing to include");
            Err(Fault::invalid(message, "leave it out, or give `data`"))
        }
    }
}

fn event_status(status: i32) -> Result<Option<EventStatus>, Fault> {
    Ok(match WireStatus::try_from(status) {
        Ok(WireStatus::Unspecified) => None,
        Ok(WireStatus::Scheduled) => Some(EventStatus::Scheduled),
        Ok(WireStatus::Queued) => Some(EventStatus::Queued),
        Ok(WireStatus::Hold) => Some(EventStatus::Hold),
        Ok(WireStatus::Successful) => Some(EventStatus::Successful),
        Ok(WireStatus::Failed) => Some(EventStatus::Failed),
        Ok(WireStatus::Cancelled) => Some(EventStatus::Cancelled),
        Err(_) => return Err(unknown_status()),
    })
}

fn handler_outcome(outcome: i32) -> Result<Option<HandlerOutcome>, Fault> {
    Ok(Some(match WireOutcome::try_from(outcome) {
        Ok(WireOutcome::Unspecified) => return Ok(None),
        Ok(WireOutcome::Completed) => HandlerOutcome::Completed,
        Ok(WireOutcome::Ignored) => HandlerOutcome::Ignored,
        Ok(WireOutcome::Failed) => HandlerOutcome::Failed,
        Ok(WireOutcome::Deferred) => HandlerOutcome::Deferred,
        Ok(WireOutcome::SilentDrop) => HandlerOutcome::SilentDrop,
        Ok(WireOutcome::Crashed) => HandlerOutcome::Crashed,
        Ok(WireOutcome::TimedOut) => HandlerOutcome::TimedOut,
        Ok(WireOutcome::Unreported) => HandlerOutcome::Unreported,
        Err(_) => {
            let message = "`handler_outcome`: the value is not known here";
            return Err(Fault::invalid(message, "upgrade the agent"));
        }
    }))
}

fn unknown_status() -> Fault {
    Fault::invalid("`status`: the value is not known here", "upgrade the agent")
}

fn limit(wanted: u32) -> Result<u32, Fault> {
    match wanted {
        0 => Ok(DEFAULT_PAGE),
        1..=MAX_PAGE => Ok(wanted),
        _ => Err(Fault::invalid(
            format!("`limit`: {wanted} is more than a page can have"),
            "give 1 to 255",
        )),
    }
}

fn page_token(kind: Kind, token: &str) -> Result<Option<String>, Fault> {
    if token.is_empty() {
        return Ok(None);
    }
    match Id::parse(kind, token) {
        Ok(_) => Ok(Some(token.to_owned())),
        Err(error) => Err(Fault::invalid(
            format!("`page_token`: {error}"),
            "give `pagination.next` of the page before, unchanged",
        )),
    }
}

fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn several(field: &str, text: &str) -> Result<Vec<String>, Fault> {
    let ids: Vec<String> = text
        .split(',')
        .map(str::trim)
        .filter(|id| !id.is_empty())
        .map(str::to_owned)
        .collect();
    if ids.len() > MAX_IDS {
        let message = format!("`{field}`: {} ids are too many", ids.len());
        return Err(Fault::invalid(message, "give 100 at most"));
    }
    Ok(ids)
}
