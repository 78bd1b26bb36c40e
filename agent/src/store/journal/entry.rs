//! What the journal's records mean: one kind for each thing that can happen to the store.
//!
//! Owns the kinds and their encoding. Refuses to know what follows from a record; that is the
//! fold's (`fold`). Invariants: a kind never changes its meaning, a new shape gets a new version; an
//! unknown kind or version is an error, never skipped in silence. Version 2 is version 1 with extras
//! (`entry/extras.rs`) behind each event and attempt, version 3 has them behind a request, too. Either
//! is written only where there are some: what older releases can say costs nothing more, and they read it.

mod evidence;
mod extras;
mod upkeep;

use bytes::Bytes;
use hookplane_journal::Record;
use thiserror::Error;

use super::codec::{Decoder, Encoder, Malformed};
use crate::store::{AttemptRecord, EventHandler, EventRecord, EventStatus, Headers, RequestRecord};

/// How a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Plain = 1,
    /// With extras behind each event and attempt.
    Extended = 2,
    /// And behind the request of a head.
    Replayed = 3,
}

impl Version {
    const fn with(extras: bool) -> Self {
        if extras { Self::Extended } else { Self::Plain }
    }

    /// Whether this release reads a kind in this version.
    const fn read(kind: u8, number: u64) -> Option<Self> {
        match (number, kind) {
            (1, _) => Some(Self::Plain),
            (
                2,
                kind::REQUEST
                | kind::CARRIED
                | kind::REPEAT
                | kind::ATTEMPT
                | kind::CARRIED_ATTEMPT
                | kind::RETRY,
            ) => Some(Self::Extended),
            (3, kind::REQUEST | kind::CARRIED) => Some(Self::Replayed),
            _ => None,
        }
    }
}

/// SHA-256 of source and message id, cut: what makes a message the same one.
pub(super) type Key = [u8; 16];

/// How long a message counts as known, and to which request it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyEntry {
    pub(super) key: Key,
    pub(super) request_id: String,
    pub(super) expires_at: u64,
}

/// A request without its headers and body, and the branches it made.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Head {
    /// With when it expires.
    pub(super) key: Option<(Key, u64)>,
    /// Repeats so far; 0 but for a request that was carried forward.
    pub(super) repeats: u64,
    pub(super) request: RequestRecord,
    pub(super) events: Vec<EventRecord>,
}

/// An arrival of a known message that is worth a record of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Repeat {
    pub(super) request_id: String,
    pub(super) team_id: String,
    pub(super) source_id: String,
    pub(super) received_at: u64,
    pub(super) client_ip: String,
    /// Branches queued again.
    pub(super) requeued: Vec<EventRecord>,
}

/// What a handler came to, said by its report and not by its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HandlerNote {
    pub(super) request_id: String,
    pub(super) event_id: String,
    /// Number of the try that it is about.
    pub(super) attempt: u32,
    pub(super) at: u64,
    pub(super) handler: EventHandler,
}

/// Repeats that were counted only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Counted {
    pub(super) request_id: String,
    pub(super) team_id: String,
    pub(super) source_id: String,
    /// Start of the minute, Unix milliseconds.
    pub(super) minute: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    /// Headers and body of the request whose head is the next record.
    Payload {
        headers: Headers,
        body: Bytes,
    },
    /// A request was accepted or refused.
    Request(Box<Head>),
    /// The same again, moved out of a segment that is given up.
    Carried(Box<Head>),
    Repeat(Repeat),
    Tally(Vec<(Counted, u64)>),
    /// A try ended, with the event's new state.
    Attempt(Box<AttemptRecord>, EventStatus),
    /// A try of a carried request, moved with it.
    CarriedAttempt(Box<AttemptRecord>),
    /// A person wants an event again: the new one.
    Retry(Box<EventRecord>),
    /// What is pending on the connection stops.
    Cancel {
        connection_id: String,
        detail: String,
    },
    /// A pending event cannot be sent, because what was stored cannot be read.
    Broken {
        event_id: String,
        at: u64,
        reason: String,
    },
    /// A person stops one pending event.
    CancelEvent {
        event_id: String,
        at: u64,
        detail: String,
    },
    /// A handler said afterwards what its latest try came to.
    HandlerNote(Box<HandlerNote>),
    /// The number of the store.
    Number(u32),
    /// A report waits, new or replaced.
    Report {
        sequence: u64,
        payload: Bytes,
    },
    /// Reports up to this one need not wait any longer.
    Acknowledged(u64),
    /// Known messages of segments that are given up.
    Keys(Vec<KeyEntry>),
    /// Number of the store and the last report's, moved out of a segment that is given up.
    Facts {
        number: Option<u32>,
        last_report: u64,
    },
}

/// A record that is whole but makes no sense.
#[derive(Debug, Error)]
pub(super) enum Undecodable {
    #[error("the kind {0} is not known to this release")]
    Kind(u8),
    #[error("the version {version} of kind {kind} is not known to this release")]
    Version { kind: u8, version: u64 },
    #[error("a record of kind {kind} is malformed")]
    Malformed {
        kind: u8,
        #[source]
        source: Malformed,
    },
}

pub(super) mod kind {
    pub(in super::super) const PAYLOAD: u8 = 1;
    pub(in super::super) const REQUEST: u8 = 2;
    pub(in super::super) const CARRIED: u8 = 3;
    pub(in super::super) const REPEAT: u8 = 4;
    pub(in super::super) const TALLY: u8 = 5;
    pub(in super::super) const ATTEMPT: u8 = 6;
    pub(in super::super) const CARRIED_ATTEMPT: u8 = 7;
    pub(in super::super) const RETRY: u8 = 8;
    pub(in super::super) const CANCEL: u8 = 9;
    pub(in super::super) const BROKEN: u8 = 10;
    pub(in super::super) const NUMBER: u8 = 11;
    pub(in super::super) const REPORT: u8 = 12;
    pub(in super::super) const ACKNOWLEDGED: u8 = 13;
    pub(in super::super) const KEYS: u8 = 14;
    pub(in super::super) const FACTS: u8 = 15;
    pub(in super::super) const CANCEL_EVENT: u8 = 16;
    pub(in super::super) const HANDLER_NOTE: u8 = 17;
}

/// The records of a request: its payload, then its head.
pub(super) fn request_records(head: &Head, carried: bool) -> [Record; 2] {
    let kind = if carried {
        kind::CARRIED
    } else {
        kind::REQUEST
    };
    let request = &head.request;
    [
        record(kind::PAYLOAD, request.body.len() + 1_024, |out| {
            evidence::payload(out, &request.headers, &request.body);
        }),
        extended(kind, 512, evidence::head_version(head), |out, version| {
            evidence::head(out, head, version);
        }),
    ]
}

/// Where an entry stands alone in its record; a request's are made by `request_records`.
pub(super) fn attempt_record(attempt: &AttemptRecord, status: EventStatus) -> Record {
    let version = evidence::attempt_version(attempt);
    extended(kind::ATTEMPT, 1_024, version, |out, version| {
        out.number(evidence::status_code(status));
        evidence::attempt(out, attempt, version);
    })
}

pub(super) fn carried_attempt_record(attempt: &AttemptRecord) -> Record {
    let version = evidence::attempt_version(attempt);
    extended(kind::CARRIED_ATTEMPT, 1_024, version, |out, version| {
        evidence::attempt(out, attempt, version);
    })
}

pub(super) fn retry_record(event: &EventRecord) -> Record {
    let version = evidence::event_version(event);
    extended(kind::RETRY, 512, version, |out, version| {
        evidence::lone_event(out, event, version);
    })
}

/// Numbers that stand for values, in the journal and in the index.
pub(super) mod codes {
    pub(in super::super) use super::evidence::{
        ignored_code, ignored_from, retry_code, retry_from, status_code, status_from,
    };
    pub(in super::super) use super::extras::{outcome_code, outcome_from};
}

pub(super) use upkeep::{
    acknowledged_record, broken_record, cancel_event_record, cancel_record, facts_record,
    handler_note_record, keys_record, number_record, repeat_record, report_record, tally_record,
};

/// The key of a message and when it expires, without reading the rest of a request's head.
pub(super) fn key_of_head(record: &Record) -> Result<Option<(Key, u64)>, Undecodable> {
    decode(record, |from, _| evidence::head_key(from))
}

/// Whether this release knows kind and version.
pub(super) fn check(record: &Record) -> Result<(), Undecodable> {
    decode(record, |_, _| Ok(()))
}

pub(super) fn read(record: &Record) -> Result<Entry, Undecodable> {
    decode(record, |from, version| {
        let entry = match record.kind {
            kind::PAYLOAD => evidence::read_payload(from)?,
            kind::REQUEST => Entry::Request(Box::new(evidence::read_head(from, version)?)),
            kind::CARRIED => Entry::Carried(Box::new(evidence::read_head(from, version)?)),
            kind::ATTEMPT => {
                let status = evidence::status_from(from.number()?)?;
                Entry::Attempt(Box::new(evidence::read_attempt(from, version)?), status)
            }
            kind::CARRIED_ATTEMPT => {
                Entry::CarriedAttempt(Box::new(evidence::read_attempt(from, version)?))
            }
            kind::RETRY => Entry::Retry(Box::new(evidence::read_lone_event(from, version)?)),
            other => upkeep::read(other, from, version)?,
        };
        from.end().map(|()| entry)
    })
}

fn record(kind: u8, capacity: usize, fill: impl FnOnce(&mut Encoder)) -> Record {
    extended(kind, capacity, Version::Plain, |out, _| fill(out))
}

fn extended(
    kind: u8,
    capacity: usize,
    version: Version,
    fill: impl FnOnce(&mut Encoder, Version),
) -> Record {
    let mut out = Encoder::with_capacity(capacity);
    out.number(version as u64);
    fill(&mut out, version);
    Record::new(kind, out.finish())
}

fn decode<T>(
    record: &Record,
    read: impl FnOnce(&mut Decoder, Version) -> Result<T, Malformed>,
) -> Result<T, Undecodable> {
    let kind = record.kind;
    if !(kind::PAYLOAD..=kind::HANDLER_NOTE).contains(&kind) {
        return Err(Undecodable::Kind(kind));
    }
    let malformed = |source| Undecodable::Malformed { kind, source };
    let mut from = Decoder::new(record.payload.clone());
    let number = from.number().map_err(malformed)?;
    let Some(version) = Version::read(kind, number) else {
        return Err(Undecodable::Version {
            kind,
            version: number,
        });
    };
    read(&mut from, version).map_err(malformed)
}
