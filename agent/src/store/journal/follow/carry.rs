//! Moving what is needed out of a segment that is given up.
//!
//! A pending request is written again, with its branches in their present state and its tries.
//! Invariant: nothing that changes the request is between the journal and memory at that moment,
//! else the copy would bring an older state back; such a request is left for the next slice.

use std::sync::Arc;

use hookplane_journal::{Appending, Position, Record};

use super::super::entry::{self, Entry, Head};
use super::super::index::{failed, history, read, upkeep};
use super::super::payloads::Unreadable;
use super::Follower;
use crate::store::{EventRecord, RequestRecord, StoreError};

/// Keys in one record.
const KEYS: u32 = 4_096;
/// Tries that go with a request; older ones are evidence that ends with its segment.
const ATTEMPTS: usize = 100;
/// Bytes of one request's records, so that they fit a batch.
const MOST_BYTES: usize = 18 << 20;

impl Follower {
    /// Moves these requests, then the keys and reports below a position. False when something
    /// has to stay for now.
    pub(super) fn carry(&mut self, ids: Vec<String>, below: Position) -> Result<bool, StoreError> {
        if !self.reach_the_end() {
            return Err(StoreError::Closed);
        }
        if ids.is_empty() {
            return self.carry_rest(below);
        }
        let mut waiting = Vec::new();
        let mut moved_all = true;
        for id in &ids {
            match self.carry_request(id)? {
                Some(appending) => waiting.push(appending),
                None => moved_all = false,
            }
        }
        let moved = !waiting.is_empty();
        for appending in waiting {
            appending.wait().map_err(failed)?;
        }
        if !self.reach_the_end() {
            return Err(StoreError::Closed);
        }
        Ok(moved || moved_all)
    }

    /// `None` when it cannot be moved now.
    fn carry_request(&mut self, id: &str) -> Result<Option<Appending>, StoreError> {
        let events = read::all_events_of(&self.reader, id)?;
        let Some(place) = read::place(&self.reader, id)? else {
            return Ok(None);
        };
        let request = match self.parts.load(place) {
            Ok(request) => request,
            Err(Unreadable::Broken(_)) => return self.give_up_on(&events),
            Err(Unreadable::Moved | Unreadable::Later(_)) => return Ok(None),
        };
        let repeats = read::repeats_counted(&self.reader, id)?;
        let records = self.records(request, &events, repeats)?;
        let doors = self.parts.doors.lock();
        let pending = self.parts.pending();
        let unsettled = |event: &EventRecord| pending.is_unapplied(&event.id);
        if doors.is_held(id) || pending.cancelling > 0 || events.iter().any(unsettled) {
            return Ok(None);
        }
        // Urgent: it takes a little space and makes a whole segment free.
        let appending = self.parts.journal.append_urgent(records);
        appending.map(Some).map_err(failed)
    }

    fn records(
        &self,
        request: RequestRecord,
        events: &[EventRecord],
        repeats: u64,
    ) -> Result<Vec<Record>, StoreError> {
        let id = request.id.clone();
        let head = Head {
            // Keys are carried by themselves.
            key: None,
            repeats,
            request,
            events: events.to_vec(),
        };
        let mut records: Vec<Record> = entry::request_records(&head, true).into();
        let mut bytes: usize = records.iter().map(|record| record.payload.len()).sum();
        let attempts = history::attempts_of(&self.reader, &id)?;
        for (_, position) in attempts.iter().rev().take(ATTEMPTS) {
            // One that cannot be read is lost evidence and no reason to keep the segment.
            let Ok(attempt) = self.parts.attempt_at(*position) else {
                continue;
            };
            let record = entry::carried_attempt_record(&attempt);
            bytes += record.payload.len();
            if bytes > MOST_BYTES {
                break;
            }
            records.push(record);
        }
        Ok(records)
    }

    /// What was stored cannot be read, so it cannot be sent either.
    fn give_up_on(&mut self, events: &[EventRecord]) -> Result<Option<Appending>, StoreError> {
        let pending = events
            .iter()
            .filter(|event| super::super::table::is_pending(event.status));
        let records: Vec<Record> = pending
            .map(|event| {
                let reason = "what was stored of the request cannot be read";
                entry::broken_record(&event.id, event.created_at, reason)
            })
            .collect();
        let appending = self.parts.journal.append_urgent(records);
        appending.map(Some).map_err(failed)
    }

    /// Known messages and reports that wait.
    fn carry_rest(&mut self, below: Position) -> Result<bool, StoreError> {
        let keys = upkeep::keys_below(&self.reader, below, KEYS)?;
        if !keys.is_empty() {
            let now = self.volume.newest;
            let (needed, expired): (Vec<_>, Vec<_>) =
                keys.into_iter().partition(|key| key.expires_at > now);
            if !needed.is_empty() {
                self.write(entry::keys_record(&needed))?;
            }
            self.indexer
                .run(move |db| upkeep::forget_keys(db, &expired))?;
            return Ok(self.reach_the_end());
        }
        let report = {
            let doors = self.parts.doors.lock();
            let mut waiting = doors.spool.waiting.iter();
            let old = waiting.find(|(_, at)| **at < below);
            old.map(|(sequence, at)| (*sequence, *at))
        };
        match report {
            None => Ok(false),
            Some((sequence, at)) => self.carry_report(sequence, at),
        }
    }

    fn carry_report(&mut self, sequence: u64, at: Position) -> Result<bool, StoreError> {
        let record = match self.parts.journal.read(at).map(|found| entry::read(&found)) {
            Ok(Ok(Entry::Report { payload, .. })) => entry::report_record(sequence, &payload),
            // It is lost; an empty one says that the number was used.
            _ => entry::report_record(sequence, &[]),
        };
        let told = Arc::clone(&self.parts.doors);
        let appending = {
            let mut doors = self.parts.doors.lock();
            if doors.spool.changing > 0 || doors.spool.waiting.get(&sequence) != Some(&at) {
                return Ok(false);
            }
            doors.spool.changing += 1;
            self.parts
                .journal
                .append_telling(vec![record], true, move |outcome| {
                    told.lock().spool.put(sequence, outcome);
                })
        };
        match appending {
            Ok(appending) => {
                appending.wait().map_err(failed)?;
                Ok(true)
            }
            Err(error) => {
                self.parts.doors.lock().spool.changing -= 1;
                Err(failed(error))
            }
        }
    }

    fn write(&self, record: Record) -> Result<(), StoreError> {
        let appending = self.parts.journal.append_urgent(vec![record]);
        let written = appending.and_then(Appending::wait);
        written.map(drop).map_err(failed)
    }
}
