//! Stage three: which connections get the request. Every connection of the
//! source is considered; ignored ones are results with their reasons, and so are
//! those that cannot be decided.
//!
//! Pure. A body that `verify` had no need to read is read when a rule first looks at it, and
//! no more of it is kept than the source's branches look at.

use hookplane_rules::{
    Deduplicate, Delay, Hints, Input, Looks, Projection, Verdict, headers_value, query_value,
};
use hookplane_signature::Challenge;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::config::{Configuration, Connection, Source};
use crate::ids::{IdMint, Kind};
use crate::ingest::Call;
use crate::store::{
    BranchKey, EventRecord, EventStatus, IgnoredReason, NewRequest, Replay, RequestRecord,
};
use crate::verify::{Body, Verified};

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

    /// Nobody sent it: it is made from one that was kept.
    #[must_use]
    pub fn replaying(mut self, replay: Replay) -> Self {
        for event in &mut self.new.events {
            event.operation_id.clone_from(&replay.operation_id);
        }
        self.new.request.replay = Some(replay);
        // It is wanted, whatever came before.
        self.new.branch_keys.clear();
        self
    }

    pub(crate) fn into_parts(self) -> (NewRequest, Option<Challenge>) {
        (self.new, self.challenge)
    }
}

/// Makes the request and its events, to be stored in one step.
#[must_use]
pub fn route(mut verified: Verified, configuration: &Configuration, ids: IdMint) -> Routed {
    let challenge = verified.challenge.take();
    let (verified_by, message_id) = (verified.verified_by.take(), verified.message_id.take());
    let event_type = verified.event_type.take();
    let (source, call, body) = verified.into_parts();
    let mut branch_keys = Vec::new();
    let fates: Vec<Fate> = match &challenge {
        // The sender asks whose address this is; that is no event of anybody's.
        Some(_) => Vec::new(),
        None => {
            let mut view = View::new(&call, &source, body);
            let hints = Hints {
                message_id: message_id.as_deref(),
                event_type: event_type.as_deref(),
            };
            let mut fates = Vec::with_capacity(source.connections.len());
            for (event, connection) in source.connections.iter().enumerate() {
                let fate = decide(connection, configuration, &mut view);
                if let (Fate::Routed(_), Some(rule)) = (&fate, &connection.deduplicate) {
                    branch_keys.extend(view.key(event, &connection.id, rule, hints));
                }
                fates.push(fate);
            }
            fates
        }
    };
    let request = RequestRecord {
        id: ids.mint(Kind::Request, call.received_at),
        team_id: source.team_id.clone(),
        source_id: source.id.clone(),
        rejection: None,
        verified_by,
        message_id,
        event_type,
        ingested_at: call.received_at,
        client_ip: call.client_ip.to_string(),
        config_revision: call.config_revision,
        method: call.method.as_str().to_owned(),
        path: call.path,
        query: call.query,
        headers: call.headers,
        body: call.body,
        body_size: call.body_size,
        replay: None,
    };
    let events = source
        .connections
        .iter()
        .zip(fates)
        .map(|(connection, fate)| branch(&request, connection, fate, ids))
        .collect();
    let window = source.dedupe_window.as_millis();
    let new = NewRequest {
        request,
        events,
        dedupe_window_millis: u64::try_from(window).unwrap_or(u64::MAX),
        branch_keys,
    };
    Routed { new, challenge }
}

/// What becomes of one branch.
enum Fate {
    /// With when it is due.
    Routed(u64),
    Ignored(IgnoredReason, String),
    /// With the code and why a rule cannot be evaluated.
    Undecidable(&'static str, String),
}

/// Given to filters in place of what they do not look at.
static NOT_LOOKED_AT: Value = Value::Null;

/// The request as filters see it, each part made when first looked at.
struct View<'a> {
    call: &'a Call,
    looked_at_in_body: &'a Projection,
    headers: Option<Value>,
    query: Option<Value>,
    body: Option<Body>,
}

impl<'a> View<'a> {
    fn new(call: &'a Call, source: &'a Source, body: Option<Body>) -> Self {
        Self {
            call,
            looked_at_in_body: source.connections.looked_at_in_body(),
            headers: None,
            query: None,
            body,
        }
    }

    /// What a rule looks at, or why it cannot.
    fn input(&mut self, looks: Looks) -> Result<Input<'_>, String> {
        let call = self.call;
        let headers = if looks.headers {
            self.headers.get_or_insert_with(|| {
                let pairs = call.headers.iter();
                headers_value(pairs.map(|(name, value)| (name.as_str(), value.as_ref())))
            })
        } else {
            &NOT_LOOKED_AT
        };
        let query = if looks.query {
            self.query.get_or_insert_with(|| query_value(&call.query))
        } else {
            &NOT_LOOKED_AT
        };
        let body = if looks.body {
            look(&mut self.body, call, self.looked_at_in_body)?
        } else {
            None
        };
        Ok(Input {
            headers,
            body,
            query,
            path: &call.path,
            raw_body: &call.body,
        })
    }

    /// What makes the event a repeat; nothing when it has no key, and when the body cannot be read:
    /// then it is delivered rather than taken for another one.
    fn key(
        &mut self,
        event: usize,
        connection_id: &str,
        rule: &Deduplicate,
        hints: Hints<'_>,
    ) -> Option<BranchKey> {
        let received_at = self.call.received_at;
        let input = self.input(rule.looks()).ok()?;
        let mut hash = Sha256::new();
        hash.update((connection_id.len() as u64).to_le_bytes());
        hash.update(connection_id);
        let has_one = rule.key(&input, hints, |piece| hash.update(piece));
        has_one.then(|| {
            let mut key = [0; 16];
            key.copy_from_slice(&hash.finalize()[..16]);
            BranchKey {
                event,
                key,
                expires_at: received_at.saturating_add(rule.window_ms()),
            }
        })
    }

    /// When the event is due, or why that cannot be told.
    fn due(&mut self, delay: &Delay) -> Result<u64, String> {
        let now = self.call.received_at;
        if !delay.needs_body() {
            return delay.due(now, None);
        }
        let body = look(&mut self.body, self.call, self.looked_at_in_body)?;
        delay.due(now, body)
    }
}

/// What is looked at of the body, read when that is asked for first; `None` when it is not JSON.
fn look<'b>(
    body: &'b mut Option<Body>,
    call: &Call,
    looked_at: &Projection,
) -> Result<Option<&'b Value>, String> {
    match body.get_or_insert_with(|| Body::read(&call.body, looked_at)) {
        Body::Json(value) => Ok(Some(value)),
        Body::NotJson => Ok(None),
        Body::Unreadable(why) => Err(why.clone()),
    }
}

fn decide(connection: &Connection, configuration: &Configuration, view: &mut View<'_>) -> Fate {
    let disabled = |what: &str| Fate::Ignored(IgnoredReason::Disabled, what.to_owned());
    if !connection.enabled {
        return disabled("the connection is disabled");
    }
    let destination = configuration.destinations.get(&connection.destination_id);
    if destination.is_some_and(|destination| !destination.enabled) {
        return disabled("the destination is disabled");
    }
    for filter in &connection.filters {
        let input = view.input(filter.looks());
        match input.map(|input| filter.evaluate(&input)) {
            Ok(Verdict::NoMatch { detail }) => {
                return Fate::Ignored(IgnoredReason::Filtered, detail);
            }
            Ok(Verdict::Match) => {}
            Ok(Verdict::Undecidable { detail: why }) | Err(why) => {
                return Fate::Undecidable("filter_failed", why);
            }
        }
    }
    match connection.delay.as_ref().map(|delay| view.due(delay)) {
        None => Fate::Routed(view.call.received_at),
        Some(Ok(due)) => Fate::Routed(due),
        Some(Err(why)) => Fate::Undecidable("delay_failed", why),
    }
}

fn branch(
    request: &RequestRecord,
    connection: &Connection,
    fate: Fate,
    ids: IdMint,
) -> EventRecord {
    let now = request.ingested_at;
    let unrouted = EventRecord {
        id: ids.mint(Kind::Event, now),
        team_id: request.team_id.clone(),
        request_id: request.id.clone(),
        connection_id: connection.id.clone(),
        source_id: request.source_id.clone(),
        destination_id: connection.destination_id.clone(),
        event_type: request.event_type.clone(),
        status: EventStatus::Cancelled,
        attempts: 0,
        response_status: None,
        error_code: None,
        failure_message: None,
        ignored_reason: None,
        ignored_detail: None,
        created_at: now,
        last_attempt_at: None,
        next_attempt_at: None,
        successful_at: None,
        retry: None,
        handler: None,
        operation_id: None,
    };
    match fate {
        Fate::Routed(due) => EventRecord {
            status: if due > now {
                EventStatus::Scheduled
            } else {
                EventStatus::Queued
            },
            next_attempt_at: Some(due),
            ..unrouted
        },
        Fate::Ignored(reason, detail) => EventRecord {
            ignored_reason: Some(reason),
            ignored_detail: Some(detail),
            ..unrouted
        },
        // Not ignored: a person must know of it, and can send it all the same.
        Fate::Undecidable(code, why) => EventRecord {
            status: EventStatus::Failed,
            error_code: Some(code.to_owned()),
            failure_message: Some(why),
            ..unrouted
        },
    }
}
