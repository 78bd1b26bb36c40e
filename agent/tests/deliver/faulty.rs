//! A store with the faults that a test wants; everything else goes to the real one.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use hookplane_agent::ids::IdMint;
use hookplane_agent::store::journal::JournalStore;
use hookplane_agent::store::{
    Appended, AttemptQuery, AttemptRecord, CancelError, Completion, DueEvent, DueQuery, EventGroup,
    EventQuery, EventRecord, EventTotals, HandlerReport, Look, NewRequest, Noted, PendingLane,
    RequestCounts, RequestGroup, RequestHistory, RequestQuery, RequestRecord, RequestTotals,
    RetryError, SpooledReport, Store, StoreError, StoreEvent, Target, TargetPage,
};
use tokio::sync::broadcast;

/// Faults are chosen by its fields; `new` has none.
pub(crate) struct Faulty {
    pub(crate) inner: JournalStore,
    /// The next completion panics.
    pub(crate) panics: AtomicBool,
    /// Due events of this destination cannot be read.
    pub(crate) unreadable: String,
    /// Requests to cancel never end.
    pub(crate) cancels_hang: bool,
    pub(crate) cancels: AtomicUsize,
}

impl Faulty {
    pub(crate) fn new(inner: &JournalStore) -> Self {
        Self {
            inner: inner.clone(),
            panics: AtomicBool::new(false),
            unreadable: String::new(),
            cancels_hang: false,
            cancels: AtomicUsize::new(0),
        }
    }
}

#[async_trait]
impl Store for Faulty {
    fn subscribe(&self) -> broadcast::Receiver<StoreEvent> {
        self.inner.subscribe()
    }

    async fn append(&self, new: NewRequest, ids: IdMint) -> Result<Appended, StoreError> {
        self.inner.append(new, ids).await
    }

    async fn complete(&self, completion: Completion) -> Result<(), StoreError> {
        let panics = self.panics.swap(false, Ordering::Relaxed);
        assert!(!panics, "the store panics, as this test wants");
        self.inner.complete(completion).await
    }

    async fn retry_event(
        &self,
        team_id: &str,
        parent_event_id: &str,
        new_event_id: String,
        now: u64,
    ) -> Result<EventRecord, RetryError> {
        let retry = self
            .inner
            .retry_event(team_id, parent_event_id, new_event_id, now);
        retry.await
    }

    async fn cancel_event(
        &self,
        team_id: &str,
        id: &str,
        detail: &str,
        now: u64,
    ) -> Result<EventRecord, CancelError> {
        self.inner.cancel_event(team_id, id, detail, now).await
    }

    async fn note_handler(
        &self,
        team_id: &str,
        report: HandlerReport,
        now: u64,
    ) -> Result<Noted, StoreError> {
        self.inner.note_handler(team_id, report, now).await
    }

    async fn group_events(&self, query: EventQuery) -> Result<Vec<EventGroup>, StoreError> {
        self.inner.group_events(query).await
    }

    async fn retry_in_bulk(
        &self,
        team_id: &str,
        parent_event_id: &str,
        named: (String, &str),
        now: u64,
    ) -> Result<EventRecord, RetryError> {
        self.inner
            .retry_in_bulk(team_id, parent_event_id, named, now)
            .await
    }

    async fn group_requests(&self, query: RequestQuery) -> Result<Vec<RequestGroup>, StoreError> {
        self.inner.group_requests(query).await
    }

    async fn target_events(
        &self,
        query: EventQuery,
        page: TargetPage,
    ) -> Result<Vec<Target>, StoreError> {
        self.inner.target_events(query, page).await
    }

    async fn target_requests(
        &self,
        query: RequestQuery,
        page: TargetPage,
    ) -> Result<Vec<Target>, StoreError> {
        self.inner.target_requests(query, page).await
    }

    async fn count_operation(
        &self,
        operation_id: &str,
        with_successful: bool,
    ) -> Result<EventTotals, StoreError> {
        self.inner
            .count_operation(operation_id, with_successful)
            .await
    }

    async fn replays_of(&self, request_id: &str) -> Result<Vec<String>, StoreError> {
        self.inner.replays_of(request_id).await
    }

    async fn cancel_pending(&self, connection_id: &str, detail: &str) -> Result<u64, StoreError> {
        if self.cancels_hang {
            self.cancels.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<()>().await;
        }
        self.inner.cancel_pending(connection_id, detail).await
    }

    async fn pending_connections(&self) -> Result<Vec<String>, StoreError> {
        self.inner.pending_connections().await
    }

    async fn pending_lanes(&self) -> Result<Vec<PendingLane>, StoreError> {
        self.inner.pending_lanes().await
    }

    async fn due(&self, query: DueQuery) -> Result<Vec<DueEvent>, StoreError> {
        if query.destination_id == self.unreadable {
            let broken = std::io::Error::other("a block cannot be read");
            return Err(StoreError::Unavailable(Box::new(broken)));
        }
        self.inner.due(query).await
    }

    async fn request(
        &self,
        team_id: &str,
        id: &str,
    ) -> Result<Option<(RequestRecord, RequestCounts)>, StoreError> {
        self.inner.request(team_id, id).await
    }

    async fn history(&self, team_id: &str, id: &str) -> Result<Option<RequestHistory>, StoreError> {
        self.inner.history(team_id, id).await
    }

    async fn event(&self, team_id: &str, id: &str) -> Result<Option<EventRecord>, StoreError> {
        self.inner.event(team_id, id).await
    }

    async fn attempt(&self, team_id: &str, id: &str) -> Result<Option<AttemptRecord>, StoreError> {
        self.inner.attempt(team_id, id).await
    }

    async fn requests(
        &self,
        query: RequestQuery,
        with_data: bool,
    ) -> Result<Vec<(RequestRecord, RequestCounts)>, StoreError> {
        self.inner.requests(query, with_data).await
    }

    async fn look_through(
        &self,
        query: RequestQuery,
        look: Look,
    ) -> Result<Option<String>, StoreError> {
        self.inner.look_through(query, look).await
    }

    async fn events(&self, query: EventQuery) -> Result<Vec<EventRecord>, StoreError> {
        self.inner.events(query).await
    }

    async fn attempts(&self, query: AttemptQuery) -> Result<Vec<AttemptRecord>, StoreError> {
        self.inner.attempts(query).await
    }

    async fn count_requests(&self, query: RequestQuery) -> Result<RequestTotals, StoreError> {
        self.inner.count_requests(query).await
    }

    async fn count_events(&self, query: EventQuery) -> Result<EventTotals, StoreError> {
        self.inner.count_events(query).await
    }

    async fn retain(&self, before: u64, now: u64, limit: u32) -> Result<u64, StoreError> {
        self.inner.retain(before, now, limit).await
    }

    async fn size_bytes(&self) -> Result<u64, StoreError> {
        self.inner.size_bytes().await
    }

    async fn store_number(&self) -> Result<Option<u32>, StoreError> {
        self.inner.store_number().await
    }

    async fn set_store_number(&self, number: u32) -> Result<(), StoreError> {
        self.inner.set_store_number(number).await
    }

    async fn spool_report(&self, payload: Vec<u8>) -> Result<u64, StoreError> {
        self.inner.spool_report(payload).await
    }

    async fn spooled_reports(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<SpooledReport>, StoreError> {
        self.inner.spooled_reports(after, limit).await
    }

    async fn acknowledge_reports(&self, up_to: u64) -> Result<(), StoreError> {
        self.inner.acknowledge_reports(up_to).await
    }

    async fn amend_report(&self, sequence: u64, payload: Vec<u8>) -> Result<bool, StoreError> {
        self.inner.amend_report(sequence, payload).await
    }

    async fn spool_length(&self) -> Result<u64, StoreError> {
        self.inner.spool_length().await
    }

    async fn probe(&self, now: u64) -> Result<(), StoreError> {
        self.inner.probe(now).await
    }

    async fn backlog(&self, paused: &HashSet<String>) -> Result<EventTotals, StoreError> {
        self.inner.backlog(paused).await
    }

    async fn imbalance(&self) -> Result<u64, StoreError> {
        self.inner.imbalance().await
    }
}
