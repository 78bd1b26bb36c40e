//! What was just written, on its way from the journal's writer to the follower.
//!
//! The follower would read from the journal what its caller had in memory a moment ago. So whoever
//! hands records in passes the decoded entry along, and when they are flushed the writer's thread
//! lays it down here. Refuses to know what follows from an entry. Nothing depends on it: what is
//! not here is read from the journal. Invariants: an entry is what decoding its records gives; what
//! lies here is on stable storage, in the order of the journal, and bounded.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hookplane_journal::{AppendError, Placed, Position, Record, Witness};

use super::entry::{self, Entry, Head};
use super::parts::Parts;
use crate::store::Headers;

/// What may lie here, and as much with the follower: of what comes beyond, nothing is kept.
const MOST: usize = 2_048;
const MOST_BYTES: usize = 4 << 20;
/// Memory for an entry or an event beside the bytes of its records, about.
const BESIDE: usize = 1_024;

/// What records say, as their caller has it: an entry, and of a request what stands in the record
/// before it.
pub(super) struct Said {
    payload: Option<(Headers, Bytes)>,
    entry: Entry,
}

impl Said {
    /// By the records of a request.
    pub(super) fn request(mut head: Head) -> Self {
        let headers = std::mem::take(&mut head.request.headers);
        let body = std::mem::take(&mut head.request.body);
        Self {
            payload: Some((headers, body)),
            entry: Entry::Request(Box::new(head)),
        }
    }

    /// By one record.
    pub(super) fn alone(entry: Entry) -> Self {
        Self {
            payload: None,
            entry,
        }
    }

    /// Whether it is what decoding the records gives.
    pub(super) fn is_said_by(&self, records: &[Record]) -> bool {
        let decoded =
            |record: &Record, same: &dyn Fn(Entry) -> bool| entry::read(record).is_ok_and(same);
        let entry = |record| decoded(record, &|read| read == self.entry);
        match (&self.payload, records) {
            (None, [record]) => entry(record),
            (Some((own_headers, own_body)), [payload, record]) => {
                let same = |read| match read {
                    Entry::Payload { headers, body } => {
                        headers == *own_headers && body == *own_body
                    }
                    _ => false,
                };
                decoded(payload, &same) && entry(record)
            }
            _ => false,
        }
    }
}

/// What records said, and where they stand.
pub(super) struct Handed {
    /// Where a scan stands that would find the first of them next.
    pub(super) from: Position,
    /// Where it stands behind the last one.
    pub(super) next: Position,
    pub(super) entry: Entry,
    /// Of the entry's record, which is the last one.
    pub(super) at: Position,
    pub(super) bytes: u64,
    pub(super) payload: Option<Payload>,
}

/// Headers and body of a request whose head comes next.
pub(super) struct Payload {
    pub(super) position: Position,
    pub(super) headers: Headers,
    pub(super) body: Bytes,
    /// Of its record.
    pub(super) bytes: u64,
}

#[derive(Default)]
pub(super) struct Handover(Mutex<Lying>);

#[derive(Default)]
struct Lying {
    all: VecDeque<Handed>,
    bytes: usize,
}

impl Handover {
    /// By the writer's thread, so in the order of the journal.
    fn lay_down(&self, handed: Handed) {
        let bytes = handed.weight();
        let mut lying = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = lying.all.len() < MOST && lying.bytes + bytes <= MOST_BYTES;
        if room {
            lying.bytes += bytes;
            lying.all.push_back(handed);
        }
    }

    /// All there is, into what is empty.
    pub(super) fn pick_up(&self, into: &mut VecDeque<Handed>) {
        let mut lying = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lying.bytes = 0;
        std::mem::swap(&mut lying.all, into);
    }
}

impl Handed {
    fn weight(&self) -> usize {
        let payload = self.payload.as_ref().map_or(0, |payload| payload.bytes);
        let events = match &self.entry {
            Entry::Request(head) => head.events.len(),
            Entry::Repeat(repeat) => repeat.requeued.len(),
            _ => 0,
        };
        let records = usize::try_from(self.bytes + payload).unwrap_or(usize::MAX);
        records.saturating_add(BESIDE * (1 + events))
    }
}

type Outcome = Result<Vec<Position>, AppendError>;

/// Sees records to the journal, and what they say to the follower.
pub(super) struct Courier<F> {
    pub(super) parts: Arc<Parts>,
    said: Option<Said>,
    /// Bytes of the last record, and of the one before if there is one.
    bytes: (u64, u64),
    told: F,
}

impl<F: FnOnce(&Outcome) + Send> Courier<F> {
    /// `said` is what the records say, if it is worth being handed over; `told` hears of the outcome.
    pub(super) fn of(parts: &Arc<Parts>, records: &[Record], said: Option<Said>, told: F) -> Self {
        debug_assert!(said.as_ref().is_none_or(|said| said.is_said_by(records)));
        let mut lengths = records
            .iter()
            .rev()
            .map(|record| record.payload.len() as u64);
        let last = lengths.next().unwrap_or_default();
        Self {
            parts: Arc::clone(parts),
            said,
            bytes: (last, lengths.next().unwrap_or_default()),
            told,
        }
    }
}

impl<F: FnOnce(&Outcome) + Send> Witness for Courier<F> {
    fn placed(&mut self, placed: Placed<'_>) {
        let (Some(said), Some(at)) = (self.said.take(), placed.positions.last()) else {
            return;
        };
        let payload = said.payload.zip(placed.positions.first());
        let payload = payload.map(|((headers, body), position)| Payload {
            position: *position,
            headers,
            body,
            bytes: self.bytes.1,
        });
        self.parts.handover.lay_down(Handed {
            from: placed.from,
            next: placed.next,
            entry: said.entry,
            at: *at,
            bytes: self.bytes.0,
            payload,
        });
    }

    fn decided(self: Box<Self>, outcome: &Outcome) {
        (self.told)(outcome);
        self.parts.progress.raise();
    }
}
