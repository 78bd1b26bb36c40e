//! Stage three: which connections get the request. Every connection of the
//! source is considered; ignored ones are results with their reasons.
//!
//! Pure: the body is parsed at most once, and only when a filter looks at it.

use hookplane_rules::{FilterInput, Verdict, headers_value, query_value};
use hookplane_signature::Challenge;
use serde_json::Value;

use crate::config::{Configuration, Connection};
use crate::ids::{IdMint, Kind};
use crate::ingest::Call;
use crate::store::{EventRecord, EventStatus, IgnoredReason, NewRequest, RequestRecord};
use crate::verify::Verified;

/// Proof that every connection was considered: the request and all its branches.
#[derive(Debug)]
pub struct Routed {
    new: NewRequest,
    challenge: Option<Challenge>,
}

impl Routed {
    #[must_use]
    pub fn new_request(&self) -> &NewRequest {
        &self.new
    }

    pub(crate) fn into_parts(self) -> (NewRequest, Option<Challenge>) {
        (self.new, self.challenge)
    }
}

/// Makes the request and its events, to be stored in one step.
#[must_use]
pub fn route(verified: Verified, configuration: &Configuration, ids: IdMint) -> Routed {
    let source = verified.source();
    let call = verified.call();
    let request = RequestRecord {
        id: ids.mint(Kind::Request, call.received_at),
        team_id: source.team_id.clone(),
        source_id: source.id.clone(),
        rejection: None,
        verified_by: verified.verified_by.clone(),
        message_id: verified.message_id.clone(),
        event_type: verified.event_type.clone(),
        ingested_at: call.received_at,
        client_ip: call.client_ip.to_string(),
        config_revision: call.config_revision,
        method: call.method.to_string(),
        path: call.path.clone(),
        query: call.query.clone(),
        headers: call.headers.clone(),
        body: call.body.clone(),
        body_size: call.body_size,
    };
    let mut view = View::new(call);
    let events = source
        .connections
        .iter()
        .map(|connection| {
            let ignored = ignore(connection, configuration, &mut view);
            branch(&request, connection, ignored, ids)
        })
        .collect();
    let window = source.dedupe_window.as_millis();
    let new = NewRequest {
        request,
        events,
        dedupe_window_millis: u64::try_from(window).unwrap_or(u64::MAX),
    };
    Routed {
        new,
        challenge: verified.challenge,
    }
}

/// The request as filters see it, each part made when first looked at.
struct View<'a> {
    call: &'a Call,
    headers: Option<Value>,
    query: Option<Value>,
    /// The inner option is empty when the body is not JSON.
    body: Option<Option<Value>>,
}

impl<'a> View<'a> {
    fn new(call: &'a Call) -> Self {
        Self {
            call,
            headers: None,
            query: None,
            body: None,
        }
    }

    fn input(&mut self, with_body: bool) -> FilterInput<'_> {
        let call = self.call;
        let headers = self.headers.get_or_insert_with(|| {
            headers_value(
                call.headers
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_ref())),
            )
        });
        let query = self.query.get_or_insert_with(|| query_value(&call.query));
        let body = if with_body {
            self.body
                .get_or_insert_with(|| serde_json::from_slice(&call.body).ok())
                .as_ref()
        } else {
            None
        };
        FilterInput {
            headers,
            body,
            query,
            path: &call.path,
        }
    }
}

fn ignore(
    connection: &Connection,
    configuration: &Configuration,
    view: &mut View<'_>,
) -> Option<(IgnoredReason, String)> {
    if !connection.enabled {
        return Some((
            IgnoredReason::Disabled,
            "the connection is disabled".to_owned(),
        ));
    }
    let destination = configuration.destinations.get(&connection.destination_id);
    if destination.is_some_and(|destination| !destination.enabled) {
        return Some((
            IgnoredReason::Disabled,
            "the destination is disabled".to_owned(),
        ));
    }
    connection.filters.iter().find_map(|filter| {
        match filter.evaluate(&view.input(filter.needs_body())) {
            Verdict::Match => None,
            Verdict::NoMatch { detail } => Some((IgnoredReason::Filtered, detail)),
        }
    })
}

fn branch(
    request: &RequestRecord,
    connection: &Connection,
    ignored: Option<(IgnoredReason, String)>,
    ids: IdMint,
) -> EventRecord {
    let now = request.ingested_at;
    let (ignored_reason, ignored_detail) = ignored.unzip();
    let routed = ignored_reason.is_none();
    EventRecord {
        id: ids.mint(Kind::Event, now),
        team_id: request.team_id.clone(),
        request_id: request.id.clone(),
        connection_id: connection.id.clone(),
        source_id: request.source_id.clone(),
        destination_id: connection.destination_id.clone(),
        event_type: request.event_type.clone(),
        status: if routed {
            EventStatus::Queued
        } else {
            EventStatus::Cancelled
        },
        attempts: 0,
        response_status: None,
        error_code: None,
        failure_message: None,
        ignored_reason,
        ignored_detail,
        created_at: now,
        last_attempt_at: None,
        next_attempt_at: routed.then_some(now),
        successful_at: None,
        retry: None,
    }
}
