//! Moving what is needed out of a segment that is given up.
//!
//! A pending request is written again, with its branches in their present state and its tries.
//! Invariant: nothing that changes the request is between the journal and the index at that moment,
//! else the copy would bring an older state back; such a request is left for the next slice.

use std::collections::HashSet;
use std::sync::Arc;

use hookplane_journal::{Appending, Position, Record};

use super::super::changes::Settling;
use super::super::entry::{self, Entry, Head};
use super::super::index::upkeep::{self, KeyBelow, RequestBelow};
use super::super::index::{failed, history, read};
use super::super::payloads::Unreadable;
use super::super::table::is_pending;
use super::Follower;
use super::keep::Slice;
use super::upkeep::Upkeep;
use crate::store::{EventRecord, RequestRecord, StoreError};

/// Keys in one record.
const KEYS: u32 = 4_096;
/// Tries that go with a request; older ones are evidence that ends with its segment.
pub(super) const ATTEMPTS: usize = 100;
/// Bytes of one request's records, so that they fit a batch, and about of one slice.
const MOST_BYTES: usize = 18 << 20;

impl Follower {
    /// Moves these requests; without any, keys and reports below a position.
    pub(super) fn carry(
        &mut self,
        rows: Vec<RequestBelow>,
        below: Position,
    ) -> Result<Slice, StoreError> {
        if rows.is_empty() {
            let moved = self.carry_rest(below)?;
            return Ok(if moved { Slice::More } else { Slice::Done });
        }
        let ids: HashSet<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        let touched = self.touched(&ids);
        let mut waiting = Vec::new();
        let mut bytes = 0;
        for row in rows.iter().filter(|row| !touched.contains(&row.id)) {
            if bytes > MOST_BYTES {
                break;
            }
            if let Some((appending, more)) = self.carry_request(&row.id)? {
                waiting.push(appending);
                bytes += more;
            }
        }
        let moved = !waiting.is_empty();
        for appending in waiting {
            appending.wait().map_err(failed)?;
        }
        if moved {
            self.wait_for_index();
            return Ok(Slice::More);
        }
        // What was touched can be moved when the index knows of it.
        let later = !touched.is_empty();
        Ok(if later { Slice::Later } else { Slice::Done })
    }

    /// Nothing more is moved before the index reflects what there is now.
    fn wait_for_index(&mut self) {
        self.volume.after = self.parts.journal.end().unwrap_or(Position::START);
    }

    /// `None` when it cannot be moved now.
    fn carry_request(&mut self, id: &str) -> Result<Option<(Appending, usize)>, StoreError> {
        let events = read::all_events_of(&self.reader, id)?;
        // Its state is on the way: a slice that stops it, or repeats counted in a record.
        let stops = events.iter().any(|event| self.stops.has_stopped(event));
        if stops || self.scan.position() <= self.tallied {
            return Ok(None);
        }
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
        let bytes = records.iter().map(|record| record.payload.len()).sum();
        let borrows = self.may_borrow(bytes);
        let doors = self.parts.doors.lock();
        let pending = self.parts.pending();
        let unsettled = |event: &EventRecord| pending.is_unapplied(&event.id);
        if doors.is_held(id) || pending.cancelling > 0 || events.iter().any(unsettled) {
            return Ok(None);
        }
        let appending = if borrows {
            self.parts.journal.append_urgent(records)
        } else {
            self.parts.journal.append(records)
        };
        drop((pending, doors));
        let appending = appending.map_err(failed)?;
        self.volume.borrowed += bytes as u64;
        self.volume.pass.moved += bytes as u64;
        Ok(Some((appending, bytes)))
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
    fn give_up_on(
        &mut self,
        events: &[EventRecord],
    ) -> Result<Option<(Appending, usize)>, StoreError> {
        let pending = events.iter().filter(|event| is_pending(event.status));
        let (records, settling): (Vec<Record>, Vec<Settling>) = pending
            .map(|event| {
                let reason = "what was stored of the request cannot be read";
                let record = entry::broken_record(&event.id, event.created_at, reason);
                (record, Settling::of(&self.parts, event.id.clone()))
            })
            .unzip();
        let told = move |outcome: &_| Settling::all_told(settling, outcome);
        let appending = self.parts.journal.append_telling(records, true, told);
        let appending = appending.map_err(failed)?;
        Ok(Some((appending, 0)))
    }

    /// Known messages and reports that wait.
    fn carry_rest(&mut self, below: Position) -> Result<bool, StoreError> {
        // The index has them where they were moved to; here they are not needed any more.
        if let Some((moved, below)) = self.volume.moved_keys.take() {
            return Ok(self.forget(moved, below));
        }
        let keys = upkeep::keys_below(&self.reader, below, KEYS)?;
        if !keys.is_empty() {
            let now = self.volume.now;
            let (needed, expired): (Vec<_>, Vec<_>) =
                keys.into_iter().partition(|key| key.entry.expires_at > now);
            if !needed.is_empty() {
                let entries: Vec<_> = needed.iter().map(|key| key.entry.clone()).collect();
                self.write(entry::keys_record(&entries))?;
                self.wait_for_index();
                self.volume.moved_keys = Some((needed, below));
            }
            if !expired.is_empty() {
                self.forget(expired, below);
            }
            return Ok(true);
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

    /// Always true: there is something under way.
    fn forget(&mut self, keys: Vec<KeyBelow>, below: Position) -> bool {
        let running = self.begin(move |db| upkeep::forget_keys(db, &keys, below));
        self.upkeep = Some(Upkeep::Small(running));
        true
    }

    /// Whether what is moved may use the space kept for the ends of deliveries. It makes a whole
    /// segment free, which becomes that space again; until one is, it takes at most half of it.
    fn may_borrow(&self, bytes: usize) -> bool {
        let half = self.sealed().first().map_or(0, |oldest| oldest.bytes / 2);
        self.volume.borrowed.saturating_add(bytes as u64) <= half
    }

    fn carry_report(&mut self, sequence: u64, at: Position) -> Result<bool, StoreError> {
        let record = match self.parts.journal.read(at).map(|found| entry::read(&found)) {
            Ok(Ok(Entry::Report { payload, .. })) => entry::report_record(sequence, &payload),
            // It is lost; an empty one says that the number was used.
            _ => entry::report_record(sequence, &[]),
        };
        let told = Arc::clone(&self.parts.doors);
        let bytes = record.payload.len();
        let borrows = self.may_borrow(bytes);
        let appending = {
            let mut doors = self.parts.doors.lock();
            if doors.spool.changing > 0 || doors.spool.waiting.get(&sequence) != Some(&at) {
                return Ok(false);
            }
            doors.spool.changing += 1;
            self.parts
                .journal
                .append_telling(vec![record], borrows, move |outcome| {
                    told.lock().spool.put(sequence, outcome);
                })
        };
        match appending {
            Ok(appending) => {
                self.volume.borrowed += bytes as u64;
                appending.wait().map_err(failed)?;
                self.wait_for_index();
                Ok(true)
            }
            Err(error) => {
                self.parts.doors.lock().spool.changing -= 1;
                Err(failed(error))
            }
        }
    }

    fn write(&mut self, record: Record) -> Result<(), StoreError> {
        let bytes = record.payload.len();
        let appending = if self.may_borrow(bytes) {
            self.parts.journal.append_urgent(vec![record])
        } else {
            self.parts.journal.append(vec![record])
        };
        let written = appending.and_then(Appending::wait);
        if written.is_ok() {
            self.volume.borrowed += bytes as u64;
        }
        written.map(drop).map_err(failed)
    }
}
