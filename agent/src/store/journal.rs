//! # The store on a journal
//!
//! The journal (`hookplane-journal`) is the only source of truth. Everything else is a fold over
//! it: what is in memory, and an SQLite index that can be thrown away at any time. Owns what the
//! records mean and what follows from them. Refuses to know HTTP, signatures, rules and the clock.
//!
//! ## Records
//!
//! Every record begins with a version (1). Numbers are LEB128; `entry` has the encoding.
//!
//! | Kind | Says | Batch |
//! | --- | --- | --- |
//! | 1 payload, 2 request | a request was accepted or refused, with all its branches | both, whole or not at all |
//! | 4 repeat | a known message came again; the branches it queued again | alone |
//! | 5 tally | repeats that were only counted | alone |
//! | 6 attempt | a try ended, with the event's new state | alone, urgent |
//! | 8 retry | a person wants an event again: the new event | alone |
//! | 9 cancel | what is pending on a connection stops | alone, urgent |
//! | 10 broken | a pending event cannot be read back, so it failed | alone, urgent |
//! | 16 cancelled event | a person stops one pending event | alone, urgent |
//! | 11 number, 15 facts | the store's number, the last report's number (once for each segment) | alone |
//! | 12 report, 13 acknowledged | the spool of reports | alone |
//! | 3 carried, 7 carried attempt, 14 keys | what is still needed of a segment that is given up | a request with its tries |
//!
//! Payload and head are two records, so that lists read what they show and no bodies.
//!
//! ## A request comes in
//!
//! `append` makes the records on the caller's thread, claims the message (below) and hands both
//! records to the journal's writer, which flushes them with what else waits and answers the callers,
//! those of one runtime together. Nothing else stands between the sender and its 2xx. Completions go the same way, as
//! urgent batches: a full disk does not stop them.
//!
//! **One of two wins.** The claim on a message is taken under one lock before its records are
//! handed in and given back by the writer when their fate is known, whether or not the caller
//! still waits. Who comes meanwhile waits for that and looks again. Known messages are in a
//! bounded filter (`filter`): a key that is not in it was never seen, so a new message costs no
//! look-up; one that is in it is looked up in the index once that has caught up. Keys beyond the
//! filter's bound are in the index only; while any of those has not expired every message is
//! looked up. The window does not depend on retention: the keys of a segment that is given up are
//! written forward until they expire.
//!
//! A request that is repeated or retried is *held* until the follower has seen the record, so that
//! it is neither deleted nor moved before. Once a record is flushed its caller is answered with
//! success, even if its effect is not to be seen yet.
//!
//! **Repeats.** A repeat holds the claim, waits for the index, and queues anew exactly the
//! branches that failed for good. The first hundred arrivals of a message are kept one by one;
//! later ones that queue nothing are counted in memory and written as sums every half minute, so
//! a message replayed for ever costs no disk. A crash loses at most those counts.
//!
//! ## The follower and the indexer
//!
//! One thread, the *follower* (`follow`), goes through the journal behind the writer and folds every
//! record into memory. What was just written it need not read: with its records a caller passes on
//! what they say, and the writer lays that down for the follower (`handover`) when they are flushed.
//! It keeps in memory what is due (`horizon`), bodies to send soon (`bodies`), and a *table* of
//! what the index does not know yet (`table`). Another, the *indexer*, takes a whole table into
//! SQLite in one transaction, with the position in the journal that the index reflects then. A
//! table is handed over after a second, after 32,768 rows, or as soon as somebody waits for it; an
//! event that is accepted and delivered in between costs the index one row. Completions carry no
//! condition: whether they still change the event is decided by the fold, so their order in the
//! journal is all that counts.
//!
//! **A read sees what was just written.** It notes the journal's end, waits until the index
//! reflects it (at most ten seconds, then `Busy`), and asks SQLite. A look at what is due waits for
//! memory only. An event whose completion was handed in is never given out again, even before the
//! follower has seen that completion. A page is a walk along an index in the order of ids
//! (`index::pages`); counts are sums kept by minute (`index::totals`); what has to read more ends at a
//! deadline with an error that says so. Each kind of asker has connections of its own, so that lists
//! hold up neither accepts nor deliveries (`index::readers`).
//!
//! **What is due.** Memory holds, for each lane (a branch to a destination), the next events up to
//! a boundary; the rest is in the index, from which the follower fills up. Room is bounded, for one
//! lane (16 MiB) and together (32 MiB), half of it is guaranteed in equal shares, and `horizon` says how the other
//! half is given out and taken back. So five million pending events cost memory what some
//! thousands do, lanes are found without walking the backlog, and one that nobody can deliver to
//! takes nothing that others need. A look at what is due waits for a filling only if there will be one.
//!
//! **What cannot be read** (damage in a pending request's records) fails its own events with the
//! reason, and nothing else. Lists leave such a record out and say so in the log.
//!
//! ## Restart
//!
//! The index names the position it reflects. The records behind it (after a kill: of the last
//! moments) are read once at opening for messages, number and reports, at the speed of the disk;
//! then requests are accepted. The follower folds the same records meanwhile. What is due is
//! answered when it has passed the end that the journal had at opening, because a record there
//! may say that an event is delivered already. An index that is missing, of another version,
//! broken, or beyond the journal is made again from all records there are. Damage that is met later,
//! by whichever connection, is marked beside the file and ends the process, so that the next start
//! does that.
//!
//! ## Retention and bounds
//!
//! `follow::age` and `follow::keep` have the rules. Age and volume (80 % of the file system, or as
//! set) take requests without pending events; segments go whole, the oldest first, and what is
//! pending in them is moved forward. What is pending is never deleted: when it takes more than
//! three quarters of the room (an estimate, exact while there are few requests), or deleting falls
//! an eighth of the volume behind, new requests are refused as `Busy` until there is room. Refused
//! requests may take a tenth of the volume. The journal bounds what waits for its writer, and
//! `handover` what waits for the follower in memory. A table of 98,304 rows bounds what waits for
//! the indexer; when it has had one for ten seconds, requests are
//! refused from there on, and ends of deliveries are folded up to three times as many. Appends are
//! refused when the follower is more than eight segments behind. Both hold once it has come through
//! what there was at opening. Until then, so while an index is made again, requests are accepted
//! and messages that may be known wait for the index.
//!
//! Between tables the indexer does *upkeep* in slices: deleting, stopping a connection, giving free
//! pages back. The follower never waits for any of it, so an index that cannot be written stops
//! upkeep and look-ups, and deliveries only when that third table's worth of rows is full, too. A reserve beside the index goes when the disk is full; then
//! evidence goes early and new requests are refused until the index is written again.
//!
//! **A connection that is stopped** has nothing due from its record on. Its rows in the index are
//! changed bit by bit afterwards; which connections that concerns, and what became pending on them
//! since, is kept in the index, so that the next start goes on. Meanwhile lists still show the rest
//! as pending.
//!
//! **Closing** takes in what is left for three seconds; the next start does the rest.
//!
//! ## What a crash leaves
//!
//! | Crash | Leaves |
//! | --- | --- |
//! | before the flush | nothing, or the request whole: the sender was not answered and comes again |
//! | after the flush, before the index | the tail, folded at the next start |
//! | in a transaction of the index | the index as it was before |
//! | power cut | the journal's last acknowledged group; an index some seconds behind it |
//! | while a segment is emptied | copies of what it holds, which change nothing |
//! | while a connection is stopped | some rows changed; the next start changes the others |

mod answers;
mod bodies;
mod changes;
mod codec;
mod doors;
mod entry;
mod filter;
mod follow;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod handover;
mod horizon;
mod index;
mod indexer;
pub mod offline;
mod open;
mod parts;
mod payloads;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use tokio::sync::broadcast;

use super::{
    Appended, AttemptQuery, AttemptRecord, CancelError, Completion, DueEvent, DueQuery, EventGroup,
    EventQuery, EventRecord, EventTotals, HandlerReport, Look, NewRequest, Noted, PendingLane,
    RequestCounts, RequestGroup, RequestHistory, RequestQuery, RequestRecord, RequestTotals,
    RetryError, SpooledReport, Store, StoreError, StoreEvent, Target, TargetPage,
};
use crate::ids::IdMint;
use follow::Order;
use parts::Parts;

pub use open::Options;

/// A handle; clones share the journal, the index and their threads. The last one closes them.
#[derive(Clone)]
pub struct JournalStore {
    handle: Arc<Handle>,
}

struct Handle {
    parts: Arc<Parts>,
    orders: SyncSender<Order>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl JournalStore {
    /// Refuses new work, finishes what is under way and closes the files.
    pub async fn close(&self) {
        let handle = Arc::clone(&self.handle);
        let ended = tokio::task::spawn_blocking(move || handle.end());
        if ended.await.is_err() {
            tracing::error!("the store did not close in order");
        }
    }

    /// Bytes written to the journal since it was opened.
    #[cfg(test)]
    pub(super) fn written(&self) -> u64 {
        self.parts().journal.figures().written_bytes
    }

    fn parts(&self) -> &Arc<Parts> {
        &self.handle.parts
    }
}

impl Handle {
    fn end(&self) {
        self.parts.closed.store(true, Ordering::Release);
        self.parts.progress.raise();
        let threads = std::mem::take(&mut *self.threads());
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the store ended by a panic");
            }
        }
    }

    fn threads(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

#[async_trait]
impl Store for JournalStore {
    fn subscribe(&self) -> broadcast::Receiver<StoreEvent> {
        self.parts().feed.subscribe()
    }

    async fn append(&self, new: NewRequest, ids: IdMint) -> Result<Appended, StoreError> {
        self.take_request(new, ids).await
    }

    async fn complete(&self, completion: Completion) -> Result<(), StoreError> {
        self.take_completion(completion).await
    }

    async fn retry_event(
        &self,
        team_id: &str,
        parent_event_id: &str,
        new_event_id: String,
        now: u64,
    ) -> Result<EventRecord, RetryError> {
        self.take_retry(team_id, parent_event_id, (new_event_id, None), now)
            .await
    }

    async fn retry_in_bulk(
        &self,
        team_id: &str,
        parent_event_id: &str,
        (new_event_id, operation_id): (String, &str),
        now: u64,
    ) -> Result<EventRecord, RetryError> {
        let named = (new_event_id, Some(operation_id));
        self.take_retry(team_id, parent_event_id, named, now).await
    }

    async fn cancel_event(
        &self,
        team_id: &str,
        id: &str,
        detail: &str,
        now: u64,
    ) -> Result<EventRecord, CancelError> {
        self.take_event_cancel(team_id, id, detail, now).await
    }

    async fn note_handler(
        &self,
        team_id: &str,
        report: HandlerReport,
        now: u64,
    ) -> Result<Noted, StoreError> {
        self.take_handler_report(team_id, report, now).await
    }

    async fn cancel_pending(&self, connection_id: &str, detail: &str) -> Result<u64, StoreError> {
        self.take_cancel(connection_id, detail).await
    }

    async fn pending_connections(&self) -> Result<Vec<String>, StoreError> {
        self.ask(|db, _| index::read::pending_connections(db)).await
    }

    async fn pending_lanes(&self) -> Result<Vec<PendingLane>, StoreError> {
        self.parts().fresh().await?;
        Ok(self.parts().pending().horizons.lanes())
    }

    async fn due(&self, query: DueQuery) -> Result<Vec<DueEvent>, StoreError> {
        self.find_due(query).await
    }

    async fn request(
        &self,
        team_id: &str,
        id: &str,
    ) -> Result<Option<(RequestRecord, RequestCounts)>, StoreError> {
        self.find_request(team_id, id).await
    }

    async fn history(&self, team_id: &str, id: &str) -> Result<Option<RequestHistory>, StoreError> {
        self.find_history(team_id, id).await
    }

    async fn event(&self, team_id: &str, id: &str) -> Result<Option<EventRecord>, StoreError> {
        let (team, id) = (team_id.to_owned(), id.to_owned());
        self.ask(move |db, _| index::read::event(db, &team, &id))
            .await
    }

    async fn attempt(&self, team_id: &str, id: &str) -> Result<Option<AttemptRecord>, StoreError> {
        self.find_attempt(team_id, id).await
    }

    async fn requests(
        &self,
        query: RequestQuery,
        with_data: bool,
    ) -> Result<Vec<(RequestRecord, RequestCounts)>, StoreError> {
        self.list_requests(query, with_data).await
    }

    async fn look_through(
        &self,
        query: RequestQuery,
        look: Look,
    ) -> Result<Option<String>, StoreError> {
        self.show_requests(query, look).await
    }

    async fn events(&self, query: EventQuery) -> Result<Vec<EventRecord>, StoreError> {
        self.ask(move |db, _| index::pages::events(db, &query))
            .await
    }

    async fn attempts(&self, query: AttemptQuery) -> Result<Vec<AttemptRecord>, StoreError> {
        self.list_attempts(query).await
    }

    async fn count_requests(&self, query: RequestQuery) -> Result<RequestTotals, StoreError> {
        self.ask(move |db, _| index::counts::count_requests(db, &query))
            .await
    }

    async fn count_events(&self, query: EventQuery) -> Result<EventTotals, StoreError> {
        self.ask(move |db, _| index::counts::count_events(db, &query))
            .await
    }

    async fn group_events(&self, query: EventQuery) -> Result<Vec<EventGroup>, StoreError> {
        self.ask(move |db, _| index::groups::events(db, &query))
            .await
    }

    async fn group_requests(&self, query: RequestQuery) -> Result<Vec<RequestGroup>, StoreError> {
        self.ask(move |db, _| index::targets::request_groups(db, &query))
            .await
    }

    async fn target_events(
        &self,
        query: EventQuery,
        page: TargetPage,
    ) -> Result<Vec<Target>, StoreError> {
        self.ask(move |db, _| index::targets::events(db, &query, &page))
            .await
    }

    async fn target_requests(
        &self,
        query: RequestQuery,
        page: TargetPage,
    ) -> Result<Vec<Target>, StoreError> {
        self.ask(move |db, _| index::targets::requests(db, &query, &page))
            .await
    }

    async fn count_operation(
        &self,
        operation_id: &str,
        with_successful: bool,
    ) -> Result<EventTotals, StoreError> {
        let id = operation_id.to_owned();
        self.ask(move |db, _| index::targets::operation(db, &id, with_successful))
            .await
    }

    async fn replays_of(&self, request_id: &str) -> Result<Vec<String>, StoreError> {
        let id = request_id.to_owned();
        self.ask(move |db, _| index::read::replays_of(db, &id))
            .await
    }

    async fn retain(&self, before: u64, now: u64, limit: u32) -> Result<u64, StoreError> {
        self.order_retention(before, now, limit).await
    }

    async fn size_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.parts().bytes_on_disk())
    }

    async fn store_number(&self) -> Result<Option<u32>, StoreError> {
        Ok(self.parts().doors.lock().number)
    }

    async fn set_store_number(&self, number: u32) -> Result<(), StoreError> {
        self.take_number(number).await
    }

    async fn spool_report(&self, payload: Vec<u8>) -> Result<u64, StoreError> {
        self.take_report(payload).await
    }

    async fn spooled_reports(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<SpooledReport>, StoreError> {
        self.list_reports(after, limit).await
    }

    async fn acknowledge_reports(&self, up_to: u64) -> Result<(), StoreError> {
        self.take_acknowledgement(up_to).await
    }

    async fn amend_report(&self, sequence: u64, payload: Vec<u8>) -> Result<bool, StoreError> {
        self.take_amendment(sequence, payload).await
    }

    async fn spool_length(&self) -> Result<u64, StoreError> {
        Ok(self.parts().doors.lock().spool.waiting.len() as u64)
    }

    async fn probe(&self, _now: u64) -> Result<(), StoreError> {
        self.try_disk().await
    }

    async fn backlog(&self, paused: &HashSet<String>) -> Result<EventTotals, StoreError> {
        self.parts().fresh().await?;
        let totals = self.parts().pending().backlog.totals();
        if paused.is_empty() {
            return Ok(totals);
        }
        let paused = paused.clone();
        self.ask(move |db, _| index::counts::held(db, &paused, totals))
            .await
    }

    async fn imbalance(&self) -> Result<u64, StoreError> {
        self.look_at_books().await
    }
}
