//! What follows from each record: the one place that says so, at run time and after a restart.

use std::sync::Arc;

use bytes::Bytes;
use hookplane_journal::Position;

use super::super::entry::{Counted, Entry, HandlerNote, Head, Repeat};
use super::super::horizon::{Place, Waiting};
use super::super::index::read;
use super::super::table::{AttemptRow, KeyRow, ReportChange, RequestRow, is_pending};
use super::{Follower, PAUSE};
use crate::store::{
    AttemptRecord, EventHandler, EventRecord, EventStatus, Headers, IgnoredReason, RequestRecord,
    StoreError, StoreEvent,
};

/// Written as the error of an event whose stored request cannot be read.
const UNREADABLE: &str = "store_unreadable";

impl Follower {
    pub(super) fn fold(&mut self, entry: Entry, at: Position, bytes: u64) {
        match entry {
            // Taken in before, with the record that follows it.
            Entry::Payload { .. } => {}
            Entry::Request(head) => self.request(*head, at, bytes),
            Entry::Carried(head) => self.carried(*head, at, bytes),
            Entry::Repeat(repeat) => self.repeat(repeat, at),
            Entry::Tally(counted) => self.tally(counted),
            Entry::Attempt(attempt, status) => {
                self.volume.try_bytes = (self.volume.try_bytes * 15 + bytes) / 16;
                self.attempt(attempt, status, at);
            }
            Entry::CarriedAttempt(attempt) => {
                let row = AttemptRow::new(&attempt, at);
                self.table.moved_attempts.push((attempt.id.clone(), at));
                self.table.attempts.insert(attempt.id, row);
            }
            Entry::Retry(event) => {
                let request_id = event.request_id.clone();
                self.requeued(*event, at);
                self.let_go(&request_id, at);
            }
            Entry::Cancel {
                connection_id,
                detail,
            } => self.stop(connection_id, detail, at),
            Entry::Broken {
                event_id,
                at: when,
                reason,
            } => {
                self.broken(&event_id, when, reason);
                self.parts.pending().settled(&event_id);
            }
            Entry::CancelEvent {
                event_id, detail, ..
            } => {
                self.cancelled(&event_id, detail);
                self.parts.pending().settled(&event_id);
            }
            Entry::HandlerNote(note) => self.noted(*note, at),
            Entry::Number(number) => {
                self.facts.number.get_or_insert(number);
            }
            Entry::Report { sequence, .. } => {
                self.facts.last_report = self.facts.last_report.max(sequence);
                if sequence > self.facts.acknowledged {
                    self.table.reports.push(ReportChange::Put(sequence, at));
                }
            }
            Entry::Acknowledged(up_to) => {
                self.facts.acknowledged = self.facts.acknowledged.max(up_to);
                self.table.reports.push(ReportChange::DropTo(up_to));
            }
            Entry::Keys(keys) => {
                for entry in keys {
                    let row = KeyRow {
                        request_id: entry.request_id,
                        expires_at: entry.expires_at,
                        position: at,
                    };
                    self.key(entry.key, row);
                }
            }
            Entry::Facts {
                number,
                last_report,
            } => {
                self.facts.told_at = at.to_u64();
                self.facts.number = self.facts.number.or(number);
                self.facts.last_report = self.facts.last_report.max(last_report);
            }
        }
    }

    fn request(&mut self, head: Head, at: Position, bytes: u64) {
        // As its head says it, without headers and body.
        let news = self.is_news(at).then(|| Arc::new(head.request.clone()));
        let (request, place, bytes) = self.whole(head.request, at, bytes);
        if let Some((key, expires_at)) = head.key {
            let row = KeyRow {
                request_id: request.id.clone(),
                expires_at,
                position: at,
            };
            self.key(key, row);
        }
        let row = RequestRow::new(&request, place, bytes, head.repeats);
        self.facts.kept.add(&row);
        self.table.requests.push(row);
        let pending = head.events.iter().any(|event| is_pending(event.status));
        if pending && place.1.is_some() {
            self.parts.pending().bodies.insert(Arc::new(request));
        }
        let events: Arc<[Arc<EventRecord>]> = head.events.into_iter().map(Arc::new).collect();
        for event in events.iter() {
            self.enter(Arc::clone(event), Some(place));
        }
        if let Some(request) = news {
            self.parts
                .feed
                .publish(StoreEvent::Stored { request, events });
        }
    }

    /// Moved: only its place is news, unless this index is being made again.
    fn carried(&mut self, head: Head, at: Position, bytes: u64) {
        let (request, place, bytes) = self.whole(head.request, at, bytes);
        let id = request.id.clone();
        let row = RequestRow {
            moved: true,
            ..RequestRow::new(&request, place, bytes, head.repeats)
        };
        let known = self.table.requests.iter().any(|row| row.id == id)
            || self
                .taken
                .as_ref()
                .is_some_and(|taken| taken.requests.iter().any(|row| row.id == id))
            || self.ask(|db| read::place(db, &id)).is_some();
        if !known {
            self.facts.kept.add(&row);
        }
        self.table.requests.push(row);
        if known {
            return;
        }
        // Those are in the count that was moved with it.
        self.table.repeated.remove(&id);
        for event in head.events {
            // Those made since by records of their own are there, in a newer state.
            if self.event(&event.id).is_none() {
                self.enter(Arc::new(event), Some(place));
            }
        }
    }

    /// A request with the payload that was read before its head.
    fn whole(
        &mut self,
        mut request: RequestRecord,
        at: Position,
        bytes: u64,
    ) -> (RequestRecord, Place, u64) {
        match self.payload.take() {
            Some(payload) => {
                request.headers = payload.headers;
                request.body = payload.body;
                let place = (at, Some(payload.position));
                (request, place, bytes + payload.bytes)
            }
            None => (request, (at, None), bytes),
        }
    }

    fn key(&mut self, key: super::super::entry::Key, row: KeyRow) {
        self.facts.latest_expiry = self.facts.latest_expiry.max(row.expires_at);
        let kept = self.table.keys.get(&key);
        if kept.is_none_or(|kept| kept.expires_at <= row.expires_at) {
            self.table.keys.insert(key, row);
        }
    }

    fn repeat(&mut self, repeat: Repeat, at: Position) {
        let count = self.table.repeated.entry(repeat.request_id.clone());
        *count.or_default() += 1;
        for event in repeat.requeued.clone() {
            self.requeued(event, at);
        }
        self.let_go(&repeat.request_id, at);
        self.table.repeats.push(repeat);
    }

    /// Ends the hold under which a record of this run was written.
    fn let_go(&self, request_id: &str, at: Position) {
        if self.is_news(at) {
            self.parts.doors.folded(request_id);
        }
    }

    fn tally(&mut self, counted: Vec<(Counted, u64)>) {
        for (of, count) in &counted {
            let sum = self.table.repeated.entry(of.request_id.clone());
            *sum.or_default() += count;
        }
        self.table.counted.extend(counted);
    }

    fn requeued(&mut self, event: EventRecord, at: Position) {
        let event = Arc::new(event);
        self.enter(Arc::clone(&event), None);
        if self.is_news(at) {
            self.parts.feed.publish(StoreEvent::Requeued(event));
        }
    }

    fn attempt(&mut self, mut attempt: Box<AttemptRecord>, status: EventStatus, at: Position) {
        let id = &attempt.event_id;
        let known = self.event(id).map(|event| self.as_stopped(event));
        if known.is_none() {
            tracing::debug!(event.id = id, "a try of an event that is gone");
        }
        let told = known.and_then(|event| self.tried(&event, &attempt, status, at));
        self.parts.pending().settled(id);
        if let Some(event) = told
            && self.is_news(at)
        {
            // What is left out is shown as truncated.
            attempt.response_truncated |= !attempt.response_body.is_empty();
            attempt.response_headers = Headers::new();
            attempt.response_body = Bytes::new();
            let attempt = Arc::from(attempt);
            self.parts
                .feed
                .publish(StoreEvent::Completed { attempt, event });
        }
    }

    /// The event in its new state; `None` when the attempt was kept before.
    fn tried(
        &mut self,
        event: &Arc<EventRecord>,
        attempt: &AttemptRecord,
        status: EventStatus,
        at: Position,
    ) -> Option<Arc<EventRecord>> {
        let again = attempt.number <= event.attempts;
        if again && self.knows_attempt(&attempt.id) {
            return None;
        }
        let row = AttemptRow::new(attempt, at);
        self.table.attempts.insert(attempt.id.clone(), row);
        if again {
            // Evidence of a try that something later has overtaken.
            return Some(Arc::clone(event));
        }
        let answered_at = attempt.responded_at.unwrap_or(attempt.started_at);
        let mut now = EventRecord::clone(event);
        now.attempts = attempt.number;
        now.last_attempt_at = Some(answered_at);
        // One that was stopped while the try was under way stays stopped.
        if is_pending(event.status) {
            now.status = status;
            now.response_status = attempt.response_status;
            now.handler = attempt.handler.as_ref().map(EventHandler::from);
            now.error_code = attempt.error_code.clone();
            now.failure_message = attempt.error_message.clone();
            now.next_attempt_at = attempt
                .next_attempt_at
                .filter(|_| status == EventStatus::Scheduled);
            now.successful_at = (status == EventStatus::Successful).then_some(answered_at);
        }
        Some(self.change(event, now))
    }

    fn broken(&mut self, event_id: &str, at: u64, reason: String) {
        let event = self.event(event_id).map(|event| self.as_stopped(event));
        let Some(event) = event.filter(|event| is_pending(event.status)) else {
            return;
        };
        let mut now = EventRecord::clone(&event);
        now.status = EventStatus::Failed;
        now.error_code = Some(UNREADABLE.to_owned());
        now.failure_message = Some(reason);
        now.last_attempt_at = Some(at);
        now.next_attempt_at = None;
        self.change(&event, now);
    }

    /// One that ended meanwhile stays as it ended.
    fn cancelled(&mut self, event_id: &str, detail: String) {
        let event = self.event(event_id).map(|event| self.as_stopped(event));
        let Some(event) = event.filter(|event| is_pending(event.status)) else {
            return;
        };
        let mut now = EventRecord::clone(&event);
        now.status = EventStatus::Cancelled;
        now.ignored_reason = Some(IgnoredReason::Operator);
        now.ignored_detail = Some(detail);
        now.next_attempt_at = None;
        self.change(&event, now);
    }

    /// What the answer or an earlier report said stays, and so does what a later try came to.
    fn noted(&mut self, note: HandlerNote, at: Position) {
        if let Some(event) = self.event(&note.event_id)
            && event.attempts == note.attempt
            && event.awaits_word()
        {
            let mut now = EventRecord::clone(&self.as_stopped(event.clone()));
            now.handler = Some(note.handler);
            self.change(&event, now);
        }
        self.let_go(&note.request_id, at);
    }

    /// An event there was not before.
    fn enter(&mut self, event: Arc<EventRecord>, place: Option<Place>) {
        self.facts.backlog.enter(event.status);
        if is_pending(event.status) {
            self.spare(&event);
            let waiting = Waiting {
                event: Arc::clone(&event),
                place,
            };
            self.parts.pending().horizons.insert(waiting);
        }
        self.table.events.insert(event.id.clone(), event);
    }

    /// An event in another state.
    pub(super) fn change(&mut self, from: &EventRecord, to: EventRecord) -> Arc<EventRecord> {
        let to = Arc::new(to);
        self.facts.backlog.leave(from.status);
        self.facts.backlog.enter(to.status);
        let mut pending = self.parts.pending();
        let before = pending.horizons.remove(&to.id);
        if is_pending(to.status) {
            pending.horizons.insert(Waiting {
                event: Arc::clone(&to),
                place: before.and_then(|before| before.place),
            });
        }
        drop(pending);
        self.table.events.insert(to.id.clone(), Arc::clone(&to));
        to
    }

    /// The latest state of an event.
    pub(super) fn event(&self, id: &str) -> Option<Arc<EventRecord>> {
        if let Some(event) = self.in_tables(id) {
            return Some(event);
        }
        if let Some(waiting) = self.parts.pending().horizons.get(id) {
            return Some(waiting);
        }
        let event = self.ask(|db| read::any_event(db, id))?;
        self.stops.saw(&event);
        Some(event)
    }

    /// The same of what is not in the index yet.
    pub(super) fn in_tables(&self, id: &str) -> Option<Arc<EventRecord>> {
        let event = self.table.events.get(id);
        let event = event.or_else(|| self.taken.as_ref()?.events.get(id));
        event.map(Arc::clone)
    }

    fn knows_attempt(&self, id: &str) -> bool {
        self.table.has_attempt(id)
            || self
                .taken
                .as_ref()
                .is_some_and(|taken| taken.has_attempt(id))
            || self
                .ask(|db| read::has_attempt(db, id).map(|known| known.then_some(())))
                .is_some()
    }

    /// Asks the index until it answers; gives up when the store is closed.
    pub(super) fn ask<T>(
        &self,
        question: impl Fn(&rusqlite::Connection) -> Result<Option<T>, StoreError>,
    ) -> Option<T> {
        loop {
            match question(&self.reader) {
                Ok(answer) => return answer,
                Err(StoreError::Corrupt { table, id, fault }) => {
                    tracing::error!(table, id, fault, "the index holds a broken row");
                    return None;
                }
                Err(error) => {
                    tracing::error!(%error, "the index cannot be read; it is tried again");
                    self.parts.end_if_broken(&error);
                    if self.closing() {
                        self.stuck.set(true);
                        return None;
                    }
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }

    /// Whether anybody can be waiting to hear of a record.
    pub(super) fn is_news(&self, at: Position) -> bool {
        at >= self.parts.opened_at
    }
}
