//! The durable store, as the questions the agent asks it.
//!
//! Owns the trait and the records. Refuses to know HTTP, signatures and rules.
//! Invariants every implementation keeps, checked by `suite`:
//! - `append` and `complete` return only after the data is on stable storage (G1);
//! - a request and all its events become visible in one step or not at all;
//! - of two appends with one message id inside the window exactly one wins, the
//!   other is answered `Repeat` with the winner's id (G4), and that check happens
//!   in the same step as the write;
//! - an event is pending (scheduled, queued, hold) or final, and leaves pending once (G8);
//! - every list is paged and every queue into the store is bounded (G12).

pub mod feed;
pub mod handler;
pub mod journal;
pub mod record;
pub mod stage;
#[cfg(test)]
mod suite;
mod under_way;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;
use tokio::sync::broadcast;

use crate::ids::IdMint;

pub use feed::StoreEvent;
pub use handler::{
    Deferral, EventHandler, HandlerOutcome, HandlerReport, HandlerVerdict, Noted, StepState,
};
pub use record::{
    AttemptRecord, EventRecord, EventStatus, Headers, IgnoredReason, Lineage, Rejection,
    RepeatRecord, Replay, RequestCounts, RequestRecord, RetryKind, SentBody,
};
pub use under_way::UnderWay;

/// A request with the events it makes, to be written in one step.
#[derive(Clone, Debug)]
pub struct NewRequest {
    pub request: RequestRecord,
    /// Every connection of the source: routed ones queued, the others cancelled with their reason.
    pub events: Vec<EventRecord>,
    /// How long a repeat of `request.message_id` counts as one; ignored without a message id.
    pub dedupe_window_millis: u64,
    /// Of routed events that are no events when an earlier one of their connection has the same key.
    pub branch_keys: Vec<BranchKey>,
}

/// What makes one event the repeat of another one on its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchKey {
    /// Its place among the events of the request.
    pub event: usize,
    /// A hash of the connection and of what its rule looks at.
    pub key: [u8; 16],
    /// Until when others are repeats of it, Unix milliseconds.
    pub expires_at: u64,
}

/// What an append came to. All of it is on stable storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The request and its events are stored.
    New,
    /// The message was accepted before; this arrival is kept as evidence.
    Repeat {
        first_request_id: String,
        /// Branches that had failed for good and are queued again, as new events.
        requeued: Vec<EventRecord>,
    },
}

/// The end of one try: the attempt to keep and the event's new state.
#[derive(Clone, Debug)]
pub struct Completion {
    pub attempt: AttemptRecord,
    /// `Successful`, `Failed`, or `Scheduled` with `attempt.next_attempt_at`.
    pub status: EventStatus,
}

/// A pending event whose time has come, with what is needed to send it.
#[derive(Clone, Debug)]
pub struct DueEvent {
    pub event: Arc<EventRecord>,
    pub request: Arc<RequestRecord>,
}

/// A branch to a destination that has pending events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingLane {
    pub destination_id: String,
    pub connection_id: String,
    /// Earliest due time among them.
    pub next_attempt_at: u64,
}

/// Which due events to give.
#[derive(Clone, Debug, Default)]
pub struct DueQuery {
    pub destination_id: String,
    pub connection_id: String,
    pub now: u64,
    /// Not given again, and not read.
    pub except: UnderWay,
    pub limit: u32,
}

/// Which requests to list or count. Empty or `None` means any.
#[derive(Clone, Debug, Default)]
pub struct RequestQuery {
    pub team_id: String,
    /// Inclusive.
    pub from: Option<u64>,
    /// Exclusive.
    pub to: Option<u64>,
    pub rejected: Option<bool>,
    pub source_id: Option<String>,
    pub verified: Option<bool>,
    pub message_id: Option<String>,
    pub event_type: Option<String>,
    /// Only those that were not replayed yet.
    pub unreplayed: bool,
    /// Only ids below this one (pages run from newest to oldest).
    pub before_id: Option<String>,
    /// 1 to 255. Ignored by counts.
    pub limit: u32,
}

/// Sees whole requests one by one, on a thread that may block, until it breaks off.
pub type Look = Box<dyn FnMut(RequestRecord, RequestCounts) -> ControlFlow<()> + Send>;

/// Which events to list or count.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    pub team_id: String,
    pub from: Option<u64>,
    pub to: Option<u64>,
    /// `None` lists everything but ignored branches; counts count everything.
    pub status: Option<EventStatus>,
    pub source_id: Option<String>,
    pub connection_ids: Vec<String>,
    pub destination_ids: Vec<String>,
    pub request_id: Option<String>,
    /// What the handler came to, of the latest try.
    pub handler: Option<HandlerOutcome>,
    /// Only what this bulk operation made.
    pub operation_id: Option<String>,
    /// Only those that were not retried yet.
    pub unretried: bool,
    /// Paused connections: their pending events count as `Hold`, and as nothing else. Records
    /// keep the status that they were stored with.
    pub paused: HashSet<String>,
    pub before_id: Option<String>,
    pub limit: u32,
}

/// Events of a query that have all this in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventGroup {
    pub connection_id: String,
    pub status: EventStatus,
    pub error_code: Option<String>,
    pub response_status: Option<u16>,
    pub handler: Option<HandlerOutcome>,
    pub count: u64,
    pub oldest_id: String,
    pub newest_id: String,
}

/// What follows in the order of ids, as targets of a bulk operation.
#[derive(Clone, Debug, Default)]
pub struct TargetPage {
    pub operation_id: String,
    /// Only ids above this one.
    pub after_id: Option<String>,
    pub limit: u32,
}

/// An event or request that a bulk operation may send again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub id: String,
    pub sent_again: SentAgain,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentAgain {
    Never,
    /// By the operation that asks.
    ByIt,
    Otherwise,
}

/// Requests of a query that have all this in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestGroup {
    pub source_id: String,
    pub rejected: bool,
    pub count: u64,
    pub oldest_id: String,
    pub newest_id: String,
}

/// Which attempts to list.
#[derive(Clone, Debug, Default)]
pub struct AttemptQuery {
    pub team_id: String,
    pub from: Option<u64>,
    pub to: Option<u64>,
    pub successful: Option<bool>,
    pub event_ids: Vec<String>,
    pub destination_ids: Vec<String>,
    pub before_id: Option<String>,
    pub limit: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestTotals {
    pub accepted: u64,
    pub rejected: u64,
    /// Arrivals of messages already accepted.
    pub repeats: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventTotals {
    pub scheduled: u64,
    pub queued: u64,
    pub hold: u64,
    pub successful: u64,
    pub failed: u64,
    pub cancelled: u64,
}

/// What is kept about one request: of each list the newest so many, oldest first.
#[derive(Clone, Debug)]
pub struct RequestHistory {
    pub request: RequestRecord,
    /// Of all there are.
    pub counts: RequestCounts,
    /// At most [`Self::MOST_EVENTS`], ignored ones included.
    pub events: Vec<EventRecord>,
    /// At most [`Self::MOST_ATTEMPTS`].
    pub attempts: Vec<AttemptRecord>,
    /// How many attempts there are.
    pub attempts_total: u64,
    /// At most [`Self::MOST_REPEATS`].
    pub repeats: Vec<RepeatRecord>,
}

impl RequestHistory {
    pub const MOST_EVENTS: usize = 2_000;
    pub const MOST_ATTEMPTS: usize = 200;
    pub const MOST_REPEATS: usize = 200;
}

/// Groups of one answer.
pub const MOST_GROUPS: usize = 1_000;

/// A report waiting to be acknowledged, in its wire form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpooledReport {
    pub sequence: u64,
    pub payload: Vec<u8>,
}

/// Why the store did not do as asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The bounded queue into the store is full; nothing was written.
    #[error("the store's queue is full")]
    Busy,
    /// The disk refused; nothing of this call is promised.
    #[error("the store cannot write")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The question would have to read more than can be read in time; a narrower one is answered.
    #[error("too much would have to be read")]
    TooLong,
    /// The store was closed by shutdown.
    #[error("the store is closed")]
    Closed,
    /// A row that our own code cannot have written.
    #[error("{table} row {id} is broken: {fault}")]
    Corrupt {
        table: &'static str,
        id: String,
        fault: String,
    },
}

/// Why an event cannot be retried.
#[derive(Debug, Error)]
pub enum RetryError {
    #[error("there is no such event")]
    NotFound,
    #[error("the event is still pending ({0:?})")]
    Pending(EventStatus),
    #[error("the event was ignored, so there is nothing to send again")]
    Ignored,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an event cannot be stopped.
#[derive(Debug, Error)]
pub enum CancelError {
    #[error("there is no such event")]
    NotFound,
    #[error("the event has ended ({0:?})")]
    Ended(EventStatus),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The questions. Safe to call from many tasks at once.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// News from now on. Bounded: a slow reader is told how many items it missed.
    fn subscribe(&self) -> broadcast::Receiver<StoreEvent>;

    /// Writes an accepted or rejected request with its events. `ids` names events
    /// that a repeat queues again.
    async fn append(&self, new: NewRequest, ids: IdMint) -> Result<Appended, StoreError>;
    /// Records the end of a try. Repeating it for an attempt id already kept changes nothing.
    async fn complete(&self, completion: Completion) -> Result<(), StoreError>;
    /// Makes a new queued event (given id and time) with the parent's bytes and branch.
    async fn retry_event(
        &self,
        team_id: &str,
        parent_event_id: &str,
        new_event_id: String,
        now: u64,
    ) -> Result<EventRecord, RetryError>;
    /// The same for a bulk operation, whose id the new event carries.
    async fn retry_in_bulk(
        &self,
        team_id: &str,
        parent_event_id: &str,
        (new_event_id, operation_id): (String, &str),
        now: u64,
    ) -> Result<EventRecord, RetryError>;
    /// Stops one pending event (reason OPERATOR). A try that is under way goes on, and is kept.
    async fn cancel_event(
        &self,
        team_id: &str,
        id: &str,
        detail: &str,
        now: u64,
    ) -> Result<EventRecord, CancelError>;
    /// Keeps what a handler reported of its event's latest try, unless that is known. Reported
    /// again it changes nothing.
    async fn note_handler(
        &self,
        team_id: &str,
        report: HandlerReport,
        now: u64,
    ) -> Result<Noted, StoreError>;
    /// Cancels pending events (reason OPERATOR) whose connection is gone. None of them is given as
    /// due any more; very many are changed bit by bit. Gives how many, as far as that is known.
    async fn cancel_pending(&self, connection_id: &str, detail: &str) -> Result<u64, StoreError>;

    /// Connections that have pending events.
    async fn pending_connections(&self) -> Result<Vec<String>, StoreError>;
    /// Branches that have pending events, each with its earliest due time. Its cost grows
    /// with the branches, not with the events.
    async fn pending_lanes(&self) -> Result<Vec<PendingLane>, StoreError>;
    /// Due events of one branch, earliest first. Does not claim them: one agent, one store.
    async fn due(&self, query: DueQuery) -> Result<Vec<DueEvent>, StoreError>;

    async fn request(
        &self,
        team_id: &str,
        id: &str,
    ) -> Result<Option<(RequestRecord, RequestCounts)>, StoreError>;
    async fn history(
        &self,
        team_id: &str,
        request_id: &str,
    ) -> Result<Option<RequestHistory>, StoreError>;
    async fn event(&self, team_id: &str, id: &str) -> Result<Option<EventRecord>, StoreError>;
    async fn attempt(&self, team_id: &str, id: &str) -> Result<Option<AttemptRecord>, StoreError>;
    /// Newest first. Bodies and headers are left empty unless `with_data`.
    async fn requests(
        &self,
        query: RequestQuery,
        with_data: bool,
    ) -> Result<Vec<(RequestRecord, RequestCounts)>, StoreError>;
    /// Shows a page of requests, newest first, with one of them in memory at a time; what cannot
    /// be read is jumped over. Gives the id of the last one it came to, and `None` only when there
    /// is nothing on the page.
    async fn look_through(
        &self,
        query: RequestQuery,
        look: Look,
    ) -> Result<Option<String>, StoreError>;
    async fn events(&self, query: EventQuery) -> Result<Vec<EventRecord>, StoreError>;
    async fn attempts(&self, query: AttemptQuery) -> Result<Vec<AttemptRecord>, StoreError>;
    async fn count_requests(&self, query: RequestQuery) -> Result<RequestTotals, StoreError>;
    async fn count_events(&self, query: EventQuery) -> Result<EventTotals, StoreError>;
    /// What the query finds, by what it has in common; at most [`MOST_GROUPS`], the largest first.
    async fn group_events(&self, query: EventQuery) -> Result<Vec<EventGroup>, StoreError>;
    /// The same of requests, by source and whether they were refused.
    async fn group_requests(&self, query: RequestQuery) -> Result<Vec<RequestGroup>, StoreError>;
    /// The oldest events of a query behind an id, with what was made of each.
    async fn target_events(
        &self,
        query: EventQuery,
        page: TargetPage,
    ) -> Result<Vec<Target>, StoreError>;
    /// The same of requests.
    async fn target_requests(
        &self,
        query: RequestQuery,
        page: TargetPage,
    ) -> Result<Vec<Target>, StoreError>;
    /// Where the events of a bulk operation stand, but for those that were delivered; they are
    /// counted `with_successful` only, which costs more.
    async fn count_operation(
        &self,
        operation_id: &str,
        with_successful: bool,
    ) -> Result<EventTotals, StoreError>;
    /// What a request was replayed as, the newest first; at most 100.
    async fn replays_of(&self, request_id: &str) -> Result<Vec<String>, StoreError>;

    /// Deletes accepted requests without pending events, and rejected ones, received before
    /// `before`, with all that belongs to them; at most `limit`. Gives how many requests went.
    /// Known messages that expired before `now`, a time that is trusted, may be forgotten.
    async fn retain(&self, before: u64, now: u64, limit: u32) -> Result<u64, StoreError>;
    /// Bytes on disk.
    async fn size_bytes(&self) -> Result<u64, StoreError>;

    /// Number of the store, once the control plane gave one.
    async fn store_number(&self) -> Result<Option<u32>, StoreError>;
    /// Keeps the number; a different one than before is refused as `Corrupt`.
    async fn set_store_number(&self, number: u32) -> Result<(), StoreError>;

    /// Adds a report to the spool and gives its sequence number (from 1, growing over restarts).
    /// Only appends: how many may wait is the caller's to bound.
    async fn spool_report(&self, payload: Vec<u8>) -> Result<u64, StoreError>;
    /// Unacknowledged reports after a sequence number, oldest first.
    async fn spooled_reports(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<SpooledReport>, StoreError>;
    /// Drops reports up to and including the number.
    async fn acknowledge_reports(&self, up_to: u64) -> Result<(), StoreError>;
    /// Replaces a spooled report; false when it was acknowledged meanwhile.
    async fn amend_report(&self, sequence: u64, payload: Vec<u8>) -> Result<bool, StoreError>;
    /// Reports that wait to be acknowledged.
    async fn spool_length(&self) -> Result<u64, StoreError>;

    /// Writes and flushes a mark, to learn whether the disk takes writes.
    async fn probe(&self, now: u64) -> Result<(), StoreError>;
    /// How many events are scheduled, queued and held, over all teams; the rest stays 0. What is
    /// pending on paused connections is held.
    async fn backlog(&self, paused: &HashSet<String>) -> Result<EventTotals, StoreError>;
    /// Events that stand in the books differently than among what is due (G8): pending ones
    /// that nobody would send and final ones that somebody would. 0 when the books balance. Of
    /// very many events each call looks at some, going on where the last one ended.
    async fn imbalance(&self) -> Result<u64, StoreError>;
}
