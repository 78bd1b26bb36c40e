//! What the index does not know yet: the latest state of everything that changed.
//!
//! The fold writes here and the indexer takes a whole table at a time, so an event that is
//! accepted and delivered between two takings costs the index one row. Refuses to decide anything.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use hookplane_journal::Position;

use super::entry::{Counted, Key, Repeat};
use super::horizon::{Due, Lane, Place, due_of};
use crate::store::{AttemptRecord, EventRecord, EventStatus, EventTotals, RequestRecord};

/// A request as the index keeps it: what lists filter by, and where the rest stands.
#[derive(Clone, Debug)]
pub(super) struct RequestRow {
    pub(super) id: String,
    pub(super) team_id: String,
    pub(super) source_id: String,
    pub(super) ingested_at: u64,
    pub(super) rejected: bool,
    pub(super) verified: bool,
    pub(super) message_id: Option<String>,
    pub(super) event_type: Option<String>,
    pub(super) place: Place,
    /// Bytes in the journal, about.
    pub(super) bytes: u64,
    pub(super) repeats: u64,
    pub(super) replay_parent: Option<String>,
    /// The bulk operation that replayed it.
    pub(super) operation: Option<String>,
    /// It was there before, and stands elsewhere now.
    pub(super) moved: bool,
}

#[derive(Clone, Debug)]
pub(super) struct AttemptRow {
    pub(super) team_id: String,
    pub(super) event_id: String,
    pub(super) request_id: String,
    pub(super) destination_id: String,
    pub(super) successful: bool,
    pub(super) started_at: u64,
    pub(super) position: Position,
}

#[derive(Clone, Debug)]
pub(super) struct KeyRow {
    pub(super) request_id: String,
    pub(super) expires_at: u64,
    pub(super) position: Position,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum ReportChange {
    Put(u64, Position),
    DropTo(u64),
}

/// What is pending on a connection at a place in the journal stops.
#[derive(Clone, Debug)]
pub(super) struct StopRow {
    pub(super) detail: String,
    pub(super) position: Position,
}

/// What is not in the index while this is not.
#[derive(Default)]
pub(super) struct Table {
    /// New ones, and ones that moved.
    pub(super) requests: Vec<RequestRow>,
    /// Arrivals to add to a request's count.
    pub(super) repeated: HashMap<String, u64>,
    pub(super) events: HashMap<String, Arc<EventRecord>>,
    /// By id, so in the order in which the index keeps them.
    pub(super) attempts: BTreeMap<String, AttemptRow>,
    /// Attempts that moved: id and where to.
    pub(super) moved_attempts: Vec<(String, Position)>,
    pub(super) repeats: Vec<Repeat>,
    pub(super) counted: Vec<(Counted, u64)>,
    pub(super) keys: HashMap<Key, KeyRow>,
    pub(super) reports: Vec<ReportChange>,
    /// Connections whose pending events stop, by id.
    pub(super) stops: HashMap<String, StopRow>,
    /// Connection and event: what became pending on one of them since.
    pub(super) spared: Vec<(String, String)>,
    pub(super) facts: Facts,
    /// Where the journal is to be read on when all this is in the index.
    pub(super) resume: Option<Position>,
}

/// Single values, as of the table's position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) number: Option<u32>,
    pub(super) last_report: u64,
    pub(super) acknowledged: u64,
    /// Pending events by status, over all teams.
    pub(super) backlog: Backlog,
    /// Latest expiry of a known message.
    pub(super) latest_expiry: u64,
    pub(super) kept: Kept,
    /// Where number and last report were written for themselves last, as one number.
    pub(super) told_at: u64,
}

/// Bytes of requests in the journal, as far as they are not deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) bytes: u64,
    /// Of the rejected ones among them.
    pub(super) rejected: u64,
}

impl Kept {
    pub(super) fn add(&mut self, row: &RequestRow) {
        self.bytes += row.bytes;
        if row.rejected {
            self.rejected += row.bytes;
        }
    }

    pub(super) fn subtract(&mut self, gone: Self) {
        self.bytes = self.bytes.saturating_sub(gone.bytes);
        self.rejected = self.rejected.saturating_sub(gone.rejected);
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Backlog {
    pub(super) scheduled: u64,
    pub(super) queued: u64,
    pub(super) hold: u64,
}

impl Backlog {
    pub(super) fn enter(&mut self, status: EventStatus) {
        if let Some(slot) = self.slot(status) {
            *slot += 1;
        }
    }

    pub(super) fn leave(&mut self, status: EventStatus) {
        if let Some(slot) = self.slot(status) {
            *slot = slot.saturating_sub(1);
        }
    }

    fn slot(&mut self, status: EventStatus) -> Option<&mut u64> {
        match status {
            EventStatus::Scheduled => Some(&mut self.scheduled),
            EventStatus::Queued => Some(&mut self.queued),
            EventStatus::Hold => Some(&mut self.hold),
            EventStatus::Successful | EventStatus::Failed | EventStatus::Cancelled => None,
        }
    }

    pub(super) fn totals(self) -> EventTotals {
        EventTotals {
            scheduled: self.scheduled,
            queued: self.queued,
            hold: self.hold,
            ..EventTotals::default()
        }
    }
}

pub(super) const fn is_pending(status: EventStatus) -> bool {
    matches!(
        status,
        EventStatus::Scheduled | EventStatus::Queued | EventStatus::Hold
    )
}

impl RequestRow {
    pub(super) fn new(request: &RequestRecord, place: Place, bytes: u64, repeats: u64) -> Self {
        Self {
            id: request.id.clone(),
            team_id: request.team_id.clone(),
            source_id: request.source_id.clone(),
            ingested_at: request.ingested_at,
            rejected: request.rejection.is_some(),
            verified: request.verified_by.is_some(),
            message_id: request.message_id.clone(),
            event_type: request.event_type.clone(),
            place,
            bytes,
            repeats,
            replay_parent: request
                .replay
                .as_ref()
                .map(|replay| replay.parent_request_id.clone()),
            operation: request
                .replay
                .as_ref()
                .and_then(|replay| replay.operation_id.clone()),
            moved: false,
        }
    }
}

impl AttemptRow {
    pub(super) fn new(attempt: &AttemptRecord, position: Position) -> Self {
        Self {
            team_id: attempt.team_id.clone(),
            event_id: attempt.event_id.clone(),
            request_id: attempt.request_id.clone(),
            destination_id: attempt.destination_id.clone(),
            successful: attempt.successful,
            started_at: attempt.started_at,
            position,
        }
    }
}

impl Table {
    pub(super) fn after(facts: Facts) -> Self {
        Self {
            facts,
            ..Self::default()
        }
    }

    /// Rows, about, that taking it costs.
    pub(super) fn rows(&self) -> usize {
        self.requests.len()
            + self.events.len()
            + self.attempts.len()
            + self.repeats.len()
            + self.keys.len()
            + self.counted.len()
            + self.reports.len()
            + self.stops.len()
    }

    /// Whether anything of one of these requests is in it.
    pub(super) fn touched(&self, mut is_one: impl FnMut(&str) -> bool) -> HashSet<String> {
        let requests = self.requests.iter().map(|row| &row.id);
        let events = self.events.values().map(|event| &event.request_id);
        let attempts = self.attempts.values().map(|row| &row.request_id);
        let repeats = self.repeats.iter().map(|row| &row.request_id);
        requests
            .chain(events)
            .chain(attempts)
            .chain(repeats)
            .chain(self.repeated.keys())
            .filter(|id| is_one(id))
            .cloned()
            .collect()
    }

    /// Leaves out what belongs to requests that are gone.
    pub(super) fn forget(&mut self, gone: &HashSet<String>) {
        self.requests.retain(|row| !gone.contains(&row.id));
        self.events
            .retain(|_, event| !gone.contains(&event.request_id));
        self.attempts
            .retain(|_, row| !gone.contains(&row.request_id));
        self.repeats.retain(|row| !gone.contains(&row.request_id));
        self.repeated.retain(|id, _| !gone.contains(id));
    }

    pub(super) fn has_attempt(&self, id: &str) -> bool {
        self.attempts.contains_key(id)
    }

    /// Requests that the index has never heard of, and so of none of their events either.
    pub(super) fn new_requests(&self) -> HashSet<&str> {
        let new = self.requests.iter().filter(|row| !row.moved);
        new.map(|row| row.id.as_str()).collect()
    }

    /// Pending events of a lane due at or after a boundary.
    pub(super) fn pending_from<'a>(
        &'a self,
        lane: &'a Lane,
        from: &'a Due,
    ) -> impl Iterator<Item = &'a Arc<EventRecord>> {
        self.events.values().filter(move |event| {
            is_pending(event.status) && lane.has(event) && due_of(event) >= *from
        })
    }
}
