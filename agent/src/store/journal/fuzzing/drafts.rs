//! Entries of the fuzzer's choice.
//!
//! Owns which entries can be: texts, numbers and bytes are arbitrary, codes are those that exist,
//! and what an event may share with its request is shared or not.

use arbitrary::Arbitrary;
use bytes::Bytes;

use super::super::entry::{Counted, Entry, HandlerNote, Head, KeyEntry, Repeat};
use crate::store::{
    AttemptRecord, Deferral, EventHandler, EventRecord, EventStatus, HandlerOutcome,
    HandlerVerdict, Headers, IgnoredReason, Lineage, Rejection, Replay, RequestRecord, RetryKind,
    SentBody, StepState,
};

type Pairs = Vec<(String, Vec<u8>)>;

#[derive(Debug, Arbitrary)]
pub(super) enum Draft {
    Payload(Pairs, Vec<u8>),
    Head {
        carried: bool,
        key: Option<([u8; 16], u64)>,
        repeats: u64,
        request: Request,
        events: Vec<Event>,
    },
    Repeat([String; 4], u64, Vec<Event>),
    Tally(Vec<([String; 3], u64, u64)>),
    Attempt(Attempt, Status),
    CarriedAttempt(Attempt),
    Retry(Event),
    Cancel(String, String),
    Broken(String, u64, String),
    CancelEvent(String, u64, String),
    HandlerNote([String; 2], u32, u64, (u8, Option<String>)),
    Number(u32),
    Report(u64, Vec<u8>),
    Acknowledged(u64),
    Keys(Vec<([u8; 16], String, u64)>),
    Facts(Option<u32>, u64),
}

#[derive(Clone, Copy, Debug, Arbitrary)]
pub(super) enum Status {
    Scheduled,
    Queued,
    Hold,
    Successful,
    Failed,
    Cancelled,
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum Ignored {
    Filtered,
    Duplicate,
    Disabled,
    Operator,
}

#[derive(Clone, Copy, Debug, Arbitrary)]
enum Kind {
    Single,
    Bulk,
    Resend,
}

#[derive(Debug, Arbitrary)]
pub(super) struct Request {
    ids: [String; 3],
    rejection: Option<[String; 3]>,
    told: [Option<String>; 3],
    call: [String; 4],
    numbers: [u64; 3],
    replay: Option<(String, bool)>,
    replayed_by: Option<String>,
}

#[derive(Debug, Arbitrary)]
pub(super) struct Event {
    ids: [String; 3],
    /// `None`: as the request has it.
    shared: [Option<String>; 3],
    event_type: Option<Option<String>>,
    status: Status,
    attempts: u32,
    response_status: Option<u16>,
    told: [Option<String>; 3],
    ignored: Option<Ignored>,
    created_at: u64,
    times: [Option<u64>; 3],
    retry: Option<(Kind, String)>,
    handler: Option<(u8, Option<String>)>,
    operation: Option<String>,
}

#[derive(Debug, Arbitrary)]
struct Verdict {
    outcome: u8,
    reason: Option<String>,
    retry: bool,
    steps: Vec<(String, u8)>,
    deferral: Option<(String, u64)>,
}

#[derive(Debug, Arbitrary)]
pub(super) struct Attempt {
    ids: [String; 7],
    number: u32,
    texts: [String; 4],
    flags: [bool; 2],
    response_status: Option<u16>,
    told: [Option<String>; 2],
    headers: [Pairs; 2],
    body: Vec<u8>,
    times: [u64; 2],
    later: [Option<u64>; 2],
    handler: Option<Verdict>,
    sent: Option<(Vec<u8>, u64)>,
}

impl Draft {
    pub(super) fn entry(self) -> Entry {
        match self {
            Self::Payload(pairs, body) => Entry::Payload {
                headers: headers(pairs),
                body: body.into(),
            },
            Self::Head {
                carried,
                key,
                repeats,
                request,
                events,
            } => {
                let request = request.record();
                let events = events.into_iter().map(|event| event.record(&request));
                let head = Box::new(Head {
                    key,
                    repeats,
                    events: events.collect(),
                    request,
                });
                if carried {
                    Entry::Carried(head)
                } else {
                    Entry::Request(head)
                }
            }
            Self::Repeat([request_id, team_id, source_id, client_ip], received_at, events) => {
                let lone = |event: Event| event.record(&nothing());
                Entry::Repeat(Repeat {
                    request_id,
                    team_id,
                    source_id,
                    received_at,
                    client_ip,
                    requeued: events.into_iter().map(lone).collect(),
                })
            }
            Self::Tally(counts) => Entry::Tally(counts.into_iter().map(counted).collect()),
            Self::Attempt(attempt, status) => {
                Entry::Attempt(Box::new(attempt.record()), status.value())
            }
            Self::CarriedAttempt(attempt) => Entry::CarriedAttempt(Box::new(attempt.record())),
            Self::Retry(event) => Entry::Retry(Box::new(event.record(&nothing()))),
            Self::Cancel(connection_id, detail) => Entry::Cancel {
                connection_id,
                detail,
            },
            Self::Broken(event_id, at, reason) => Entry::Broken {
                event_id,
                at,
                reason,
            },
            Self::CancelEvent(event_id, at, detail) => Entry::CancelEvent {
                event_id,
                at,
                detail,
            },
            Self::HandlerNote([request_id, event_id], attempt, at, (code, reason)) => {
                Entry::HandlerNote(Box::new(HandlerNote {
                    request_id,
                    event_id,
                    attempt,
                    at,
                    handler: EventHandler {
                        outcome: outcome(code),
                        reason,
                    },
                }))
            }
            Self::Number(number) => Entry::Number(number),
            Self::Report(sequence, payload) => Entry::Report {
                sequence,
                payload: payload.into(),
            },
            Self::Acknowledged(up_to) => Entry::Acknowledged(up_to),
            Self::Keys(keys) => Entry::Keys(keys.into_iter().map(known).collect()),
            Self::Facts(number, last_report) => Entry::Facts {
                number,
                last_report,
            },
        }
    }
}

/// A head of which only the payload's record is wanted.
pub(super) fn bare(headers: &Headers, body: &Bytes) -> Head {
    Head {
        key: None,
        repeats: 0,
        request: RequestRecord {
            headers: headers.clone(),
            body: body.clone(),
            ..nothing()
        },
        events: Vec::new(),
    }
}

fn nothing() -> RequestRecord {
    let request = Request {
        ids: Default::default(),
        rejection: None,
        told: Default::default(),
        call: Default::default(),
        numbers: [0; 3],
        replay: None,
        replayed_by: None,
    };
    request.record()
}

fn headers(pairs: Pairs) -> Headers {
    let pairs = pairs.into_iter();
    pairs.map(|(name, value)| (name, value.into())).collect()
}

fn counted((ids, minute, count): ([String; 3], u64, u64)) -> (Counted, u64) {
    let [request_id, team_id, source_id] = ids;
    let of = Counted {
        request_id,
        team_id,
        source_id,
        minute,
    };
    (of, count)
}

fn known((key, request_id, expires_at): ([u8; 16], String, u64)) -> KeyEntry {
    KeyEntry {
        key,
        request_id,
        expires_at,
    }
}

impl Status {
    const fn value(self) -> EventStatus {
        match self {
            Self::Scheduled => EventStatus::Scheduled,
            Self::Queued => EventStatus::Queued,
            Self::Hold => EventStatus::Hold,
            Self::Successful => EventStatus::Successful,
            Self::Failed => EventStatus::Failed,
            Self::Cancelled => EventStatus::Cancelled,
        }
    }
}

impl Ignored {
    const fn value(self) -> IgnoredReason {
        match self {
            Self::Filtered => IgnoredReason::Filtered,
            Self::Duplicate => IgnoredReason::Duplicate,
            Self::Disabled => IgnoredReason::Disabled,
            Self::Operator => IgnoredReason::Operator,
        }
    }
}

impl Request {
    /// Headers and body stand in another record.
    fn record(self) -> RequestRecord {
        let [id, team_id, source_id] = self.ids;
        let [verified_by, message_id, event_type] = self.told;
        let [client_ip, method, path, query] = self.call;
        let [ingested_at, config_revision, body_size] = self.numbers;
        let rejection = self.rejection.map(|[cause, reason, detail]| Rejection {
            cause,
            reason,
            detail,
        });
        RequestRecord {
            id,
            team_id,
            source_id,
            rejection,
            verified_by,
            message_id,
            event_type,
            ingested_at,
            client_ip,
            config_revision,
            method,
            path,
            query,
            headers: Headers::new(),
            body: Bytes::new(),
            body_size,
            replay: self.replay.map(|(parent_request_id, modified)| Replay {
                parent_request_id,
                modified,
                operation_id: self.replayed_by,
            }),
        }
    }
}

impl Event {
    fn record(self, of: &RequestRecord) -> EventRecord {
        let [id, connection_id, destination_id] = self.ids;
        let [team_id, request_id, source_id] = self.shared;
        let [error_code, failure_message, ignored_detail] = self.told;
        let [last_attempt_at, next_attempt_at, successful_at] = self.times;
        let retry = self.retry.map(|(kind, parent_event_id)| Lineage {
            kind: match kind {
                Kind::Single => RetryKind::Single,
                Kind::Bulk => RetryKind::Bulk,
                Kind::Resend => RetryKind::Resend,
            },
            parent_event_id,
        });
        EventRecord {
            id,
            team_id: team_id.unwrap_or_else(|| of.team_id.clone()),
            request_id: request_id.unwrap_or_else(|| of.id.clone()),
            connection_id,
            source_id: source_id.unwrap_or_else(|| of.source_id.clone()),
            destination_id,
            event_type: self.event_type.unwrap_or_else(|| of.event_type.clone()),
            status: self.status.value(),
            attempts: self.attempts,
            response_status: self.response_status,
            error_code,
            failure_message,
            ignored_reason: self.ignored.map(Ignored::value),
            ignored_detail,
            created_at: self.created_at,
            last_attempt_at,
            next_attempt_at,
            successful_at,
            retry,
            handler: self.handler.map(|(code, reason)| EventHandler {
                outcome: outcome(code),
                reason,
            }),
            operation_id: self.operation,
        }
    }
}

impl Attempt {
    fn record(self) -> AttemptRecord {
        let ids = self.ids;
        let [
            id,
            team_id,
            event_id,
            request_id,
            connection_id,
            source_id,
            destination_id,
        ] = ids;
        let [trigger, requested_url, http_method, decision] = self.texts;
        let [error_code, error_message] = self.told;
        let [sent, heard] = self.headers.map(headers);
        AttemptRecord {
            id,
            team_id,
            event_id,
            request_id,
            connection_id,
            source_id,
            destination_id,
            number: self.number,
            trigger,
            successful: self.flags[0],
            response_status: self.response_status,
            error_code,
            error_message,
            requested_url,
            http_method,
            request_headers: sent,
            response_headers: heard,
            response_body: self.body.into(),
            response_truncated: self.flags[1],
            started_at: self.times[0],
            responded_at: self.later[0],
            latency_micros: self.times[1],
            decision,
            next_attempt_at: self.later[1],
            handler: self.handler.map(Verdict::record),
            sent_body: self.sent.map(|(kept, size)| SentBody {
                kept: kept.into(),
                size,
            }),
        }
    }
}

impl Verdict {
    fn record(self) -> HandlerVerdict {
        let state = |code: u8| StepState::ALL[usize::from(code) % StepState::ALL.len()];
        let steps = self.steps.into_iter();
        HandlerVerdict {
            outcome: outcome(self.outcome),
            reason: self.reason,
            retry: self.retry,
            steps: steps.map(|(name, code)| (name, state(code))).collect(),
            deferral: self
                .deferral
                .map(|(token, deadline_at)| Deferral { token, deadline_at }),
        }
    }
}

fn outcome(code: u8) -> HandlerOutcome {
    HandlerOutcome::ALL[usize::from(code) % HandlerOutcome::ALL.len()]
}
