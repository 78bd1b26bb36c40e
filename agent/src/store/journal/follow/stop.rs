//! Stopping what is pending on a connection: at once in memory, bit by bit in the index.
//!
//! From its record on nothing of the connection is given out as due. Events on their way to the
//! index are changed there and then; the rows are changed in slices, between tables. Invariants:
//! rows are not changed before the index reflects the record, so that every completion before it
//! counts; what becomes pending after it is *spared*; the running counts go down once per event.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use hookplane_journal::Position;

use super::super::index::stop::{self, Stopped};
use super::super::table::{StopRow, is_pending};
use super::Follower;
use super::upkeep::Upkeep;
use crate::store::{EventRecord, EventStatus, IgnoredReason};

/// Events in one slice.
const SLICE: u32 = 2_000;

#[derive(Default)]
pub(super) struct Stops {
    of: HashMap<String, Stop>,
    /// Events that were read from the index as final while a slice was under way, so that it may
    /// have been the slice that made them so.
    seen_final: RefCell<HashSet<String>>,
}

struct Stop {
    row: StopRow,
    /// Became pending since.
    spared: HashSet<String>,
    /// Stopped so far.
    count: u64,
}

impl Stops {
    /// Those that an earlier run did not finish.
    pub(super) fn going_on((rows, spared): stop::Stops) -> Self {
        let mut stops = Self::default();
        for (connection_id, row) in rows {
            stops.of.insert(connection_id, Stop::new(row));
        }
        for (connection_id, event_id) in spared {
            if let Some(stop) = stops.of.get_mut(&connection_id) {
                stop.spared.insert(event_id);
            }
        }
        stops
    }

    /// Whether anything of the connection may be pending.
    pub(super) fn leaves_something(&self, connection_id: &str) -> bool {
        let stop = self.of.get(connection_id);
        stop.is_none_or(|stop| !stop.spared.is_empty())
    }

    /// Connections with the place of the record that stops them.
    pub(super) fn positions(&self) -> HashMap<String, Position> {
        let each = self.of.iter();
        each.map(|(id, stop)| (id.clone(), stop.row.position))
            .collect()
    }

    /// An event as the index has it is pending there only because its slice has not come yet.
    pub(super) fn has_stopped(&self, event: &EventRecord) -> bool {
        let stop = self.of.get(&event.connection_id);
        is_pending(event.status) && stop.is_some_and(|stop| !stop.spared.contains(&event.id))
    }

    /// An event was read from the index.
    pub(super) fn saw(&self, event: &EventRecord) {
        if !is_pending(event.status) && self.of.contains_key(&event.connection_id) {
            self.seen_final.borrow_mut().insert(event.id.clone());
        }
    }
}

impl Stop {
    fn new(row: StopRow) -> Self {
        Self {
            row,
            spared: HashSet::new(),
            count: 0,
        }
    }
}

impl Follower {
    /// The record at `at` stops what is pending on a connection.
    pub(super) fn stop(&mut self, connection_id: String, detail: String, at: Position) {
        let row = StopRow {
            detail,
            position: at,
        };
        self.table.spared.retain(|(id, _)| *id != connection_id);
        self.table.stops.insert(connection_id.clone(), row.clone());
        let mut stop = Stop::new(row);
        let tables = std::iter::once(&self.table).chain(self.taken.as_deref());
        let on_their_way: HashSet<String> = tables
            .flat_map(|table| table.events.values())
            .filter(|event| event.connection_id == connection_id)
            .map(|event| event.id.clone())
            .collect();
        for id in on_their_way {
            let latest = self.in_tables(&id).filter(|one| is_pending(one.status));
            if let Some(event) = latest {
                self.change(&event, stopped(&event, &stop.row.detail));
                stop.count += 1;
            }
        }
        let mut pending = self.parts.pending();
        pending.horizons.remove_connection(&connection_id);
        if self.is_news(at) {
            pending.cancel_seen();
        }
        pending.stopping.insert(connection_id.clone(), at);
        drop(pending);
        if let Some(earlier) = self.stops.of.insert(connection_id, stop) {
            self.tell_stopped(earlier.row.position, earlier.count);
        }
    }

    /// An event of the index in the state that it has by now.
    pub(super) fn as_stopped(&mut self, event: Arc<EventRecord>) -> Arc<EventRecord> {
        if self.in_tables(&event.id).is_some() || !self.stops.has_stopped(&event) {
            return event;
        }
        let Some(stop) = self.stops.of.get_mut(&event.connection_id) else {
            return event;
        };
        stop.count += 1;
        let now = stopped(&event, &stop.row.detail);
        self.change(&event, now)
    }

    /// An event became pending; if its connection is being stopped, this one stays.
    pub(super) fn spare(&mut self, event: &EventRecord) {
        if let Some(stop) = self.stops.of.get_mut(&event.connection_id) {
            stop.spared.insert(event.id.clone());
            let both = (event.connection_id.clone(), event.id.clone());
            self.table.spared.push(both);
            self.parts.pending().stopping.remove(&event.connection_id);
        }
    }

    /// Begins the next slice. False when there is none, or not yet.
    pub(super) fn stop_slice(&mut self) -> bool {
        let indexed = *self.parts.progress.indexed.borrow();
        let mut stops = self.stops.of.iter();
        let ready = stops.find(|(_, stop)| stop.row.position.to_u64() < indexed);
        let Some((connection_id, stop)) = ready else {
            self.hurry |= !self.stops.of.is_empty();
            return false;
        };
        let (id, row) = (connection_id.clone(), stop.row.clone());
        self.stops.seen_final.borrow_mut().clear();
        let (of, why) = (id.clone(), row.detail);
        let running = self.begin(move |db| stop::slice(db, &of, &why, SLICE));
        self.upkeep = Some(Upkeep::Stop(running, id, row.position));
        true
    }

    pub(super) fn slice_stopped(&mut self, connection_id: &str, at: Position, slice: &Stopped) {
        let mut count = 0;
        let seen_final = std::mem::take(&mut *self.stops.seen_final.borrow_mut());
        for (id, before) in &slice.events {
            // One that the fold has changed meanwhile is counted already.
            if self.table.events.contains_key(id) && !seen_final.contains(id) {
                continue;
            }
            self.facts.backlog.leave(*before);
            count += 1;
        }
        self.parts.pending().backlog = self.facts.backlog;
        let Some(stop) = self.stops.of.get_mut(connection_id) else {
            return;
        };
        stop.count += count;
        // Another record may stop it again since.
        if !slice.ended || stop.row.position != at {
            return;
        }
        let count = stop.count;
        self.stops.of.remove(connection_id);
        self.table.spared.retain(|(id, _)| id != connection_id);
        self.parts.pending().stopping.remove(connection_id);
        self.tell_stopped(at, count);
    }

    fn tell_stopped(&self, at: Position, count: u64) {
        self.parts.pending().note_cancelled(at, count);
        let stopped = &self.parts.progress.stopped;
        stopped.send_modify(|times| *times = times.wrapping_add(1));
    }
}

fn stopped(event: &EventRecord, detail: &str) -> EventRecord {
    let mut now = event.clone();
    now.status = EventStatus::Cancelled;
    now.ignored_reason = Some(IgnoredReason::Operator);
    now.ignored_detail = Some(detail.to_owned());
    now.next_attempt_at = None;
    now
}
