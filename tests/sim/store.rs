//! The agent's store as steps of the simulation.
//!
//! The real store has threads of its own. Here every call blocks the simulation until the
//! store has done it and taken it in, so that a run does not depend on their pace; what the
//! disk takes in simulated time is slept before and after. When the power went during a call
//! the call never ends, and the world finds out.

use std::collections::HashSet;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use async_trait::async_trait;
use hookplane_agent::ids::IdMint;
use hookplane_agent::store::journal::JournalStore;
use hookplane_agent::store::{
    Appended, AttemptQuery, AttemptRecord, CancelError, Completion, DueEvent, DueQuery, EventGroup,
    EventQuery, EventRecord, EventTotals, HandlerReport, Look, NewRequest, Noted, PendingLane,
    RequestCounts, RequestGroup, RequestHistory, RequestQuery, RequestRecord, RequestTotals,
    RetryError, SpooledReport, Store, StoreError, StoreEvent, Target, TargetPage,
};
use hookplane_journal::io::simulated::SimulatedDisk;
use rand::Rng as _;
use rand::rngs::StdRng;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::broadcast;
use tokio::task::unconstrained;

const NEWS: usize = 4_096;
/// What a write may take on a healthy disk, before it is done and after.
const WRITE_MILLIS: u64 = 4;

/// A store whose calls are steps.
pub(crate) struct Stepped {
    inner: JournalStore,
    disk: SimulatedDisk,
    seen: Mutex<broadcast::Receiver<StoreEvent>>,
    news: broadcast::Sender<StoreEvent>,
    random: Mutex<StdRng>,
    /// Milliseconds that a write takes longer.
    slow: Arc<AtomicU64>,
    /// Calls to the disk by the end of the last write.
    calls: AtomicUsize,
}

/// Calls to the disk of a write that begins no segment.
const PLAIN_WRITE: usize = 2;

impl Stepped {
    pub(crate) fn new(
        inner: JournalStore,
        disk: SimulatedDisk,
        random: StdRng,
        slow: Arc<AtomicU64>,
    ) -> Arc<Self> {
        let seen = Mutex::new(inner.subscribe());
        // The journal's reserve is made by its writer in its own time.
        drop(blocking(inner.at_rest()));
        Arc::new(Self {
            inner,
            calls: AtomicUsize::new(disk.calls()),
            disk,
            seen,
            news: broadcast::channel(NEWS).0,
            random: Mutex::new(random),
            slow,
        })
    }

    /// The store itself, for who stands outside the simulation.
    pub(crate) fn inner(&self) -> &JournalStore {
        &self.inner
    }

    async fn write<T>(&self, write: impl Future<Output = T>) -> T {
        self.takes_time().await;
        let outcome = blocking(write);
        // What was written is taken in before anything else happens.
        drop(blocking(self.inner.pending_lanes()));
        self.come_to_rest();
        self.tell_news();
        self.unless_dead().await;
        self.takes_time().await;
        outcome
    }

    async fn read<T>(&self, read: impl Future<Output = T>) -> T {
        let outcome = blocking(read);
        self.unless_dead().await;
        outcome
    }

    /// A new segment has the store write something by itself.
    fn come_to_rest(&self) {
        let before = self.calls.load(Ordering::Relaxed);
        if self.disk.calls() > before + PLAIN_WRITE {
            drop(blocking(self.inner.at_rest()));
        }
        self.calls.store(self.disk.calls(), Ordering::Relaxed);
    }

    /// News come from the store's threads; they are told on this one.
    fn tell_news(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        while let Ok(news) = seen.try_recv() {
            // Nobody may listen.
            drop(self.news.send(news));
        }
    }

    async fn unless_dead(&self) {
        if self.disk.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    async fn takes_time(&self) {
        let drawn = {
            let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
            random.random_range(0..=WRITE_MILLIS)
        };
        let millis = drawn + self.slow.load(Ordering::Relaxed);
        if millis > 0 {
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
    }
}

/// Where the stores' own waits and blocking reads run, in real time.
fn stores() -> &'static Runtime {
    static STORES: OnceLock<Runtime> = OnceLock::new();
    STORES.get_or_init(|| {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).enable_time();
        builder.build().expect("a runtime for the stores")
    })
}

/// Runs to its end on this thread, whatever simulation the thread is in.
pub(crate) fn blocking<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let _inside = stores().enter();
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    // The simulated runtime's budget must not starve a call that it does not see.
    let mut future = pin!(unconstrained(future));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => return outcome,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[async_trait]
impl Store for Stepped {
    fn subscribe(&self) -> broadcast::Receiver<StoreEvent> {
        self.news.subscribe()
    }

    async fn append(&self, new: NewRequest, ids: IdMint) -> Result<Appended, StoreError> {
        self.write(self.inner.append(new, ids)).await
    }

    async fn complete(&self, completion: Completion) -> Result<(), StoreError> {
        self.write(self.inner.complete(completion)).await
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
        self.write(retry).await
    }

    async fn cancel_event(
        &self,
        team_id: &str,
        id: &str,
        detail: &str,
        now: u64,
    ) -> Result<EventRecord, CancelError> {
        self.write(self.inner.cancel_event(team_id, id, detail, now))
            .await
    }

    async fn note_handler(
        &self,
        team_id: &str,
        report: HandlerReport,
        now: u64,
    ) -> Result<Noted, StoreError> {
        self.write(self.inner.note_handler(team_id, report, now))
            .await
    }

    async fn group_events(&self, query: EventQuery) -> Result<Vec<EventGroup>, StoreError> {
        self.read(self.inner.group_events(query)).await
    }

    async fn retry_in_bulk(
        &self,
        team_id: &str,
        parent_event_id: &str,
        named: (String, &str),
        now: u64,
    ) -> Result<EventRecord, RetryError> {
        self.write(
            self.inner
                .retry_in_bulk(team_id, parent_event_id, named, now),
        )
        .await
    }

    async fn group_requests(&self, query: RequestQuery) -> Result<Vec<RequestGroup>, StoreError> {
        self.read(self.inner.group_requests(query)).await
    }

    async fn target_events(
        &self,
        query: EventQuery,
        page: TargetPage,
    ) -> Result<Vec<Target>, StoreError> {
        self.read(self.inner.target_events(query, page)).await
    }

    async fn target_requests(
        &self,
        query: RequestQuery,
        page: TargetPage,
    ) -> Result<Vec<Target>, StoreError> {
        self.read(self.inner.target_requests(query, page)).await
    }

    async fn count_operation(
        &self,
        operation_id: &str,
        with_successful: bool,
    ) -> Result<EventTotals, StoreError> {
        self.read(self.inner.count_operation(operation_id, with_successful))
            .await
    }

    async fn replays_of(&self, request_id: &str) -> Result<Vec<String>, StoreError> {
        self.read(self.inner.replays_of(request_id)).await
    }

    async fn cancel_pending(&self, connection_id: &str, detail: &str) -> Result<u64, StoreError> {
        self.write(self.inner.cancel_pending(connection_id, detail))
            .await
    }

    async fn pending_connections(&self) -> Result<Vec<String>, StoreError> {
        self.read(self.inner.pending_connections()).await
    }

    async fn pending_lanes(&self) -> Result<Vec<PendingLane>, StoreError> {
        self.read(self.inner.pending_lanes()).await
    }

    async fn due(&self, query: DueQuery) -> Result<Vec<DueEvent>, StoreError> {
        self.read(self.inner.due(query)).await
    }

    async fn request(
        &self,
        team_id: &str,
        id: &str,
    ) -> Result<Option<(RequestRecord, RequestCounts)>, StoreError> {
        self.read(self.inner.request(team_id, id)).await
    }

    async fn history(&self, team_id: &str, id: &str) -> Result<Option<RequestHistory>, StoreError> {
        self.read(self.inner.history(team_id, id)).await
    }

    async fn event(&self, team_id: &str, id: &str) -> Result<Option<EventRecord>, StoreError> {
        self.read(self.inner.event(team_id, id)).await
    }

    async fn attempt(&self, team_id: &str, id: &str) -> Result<Option<AttemptRecord>, StoreError> {
        self.read(self.inner.attempt(team_id, id)).await
    }

    async fn requests(
        &self,
        query: RequestQuery,
        with_data: bool,
    ) -> Result<Vec<(RequestRecord, RequestCounts)>, StoreError> {
        self.read(self.inner.requests(query, with_data)).await
    }

    async fn look_through(
        &self,
        query: RequestQuery,
        look: Look,
    ) -> Result<Option<String>, StoreError> {
        self.read(self.inner.look_through(query, look)).await
    }

    async fn events(&self, query: EventQuery) -> Result<Vec<EventRecord>, StoreError> {
        self.read(self.inner.events(query)).await
    }

    async fn attempts(&self, query: AttemptQuery) -> Result<Vec<AttemptRecord>, StoreError> {
        self.read(self.inner.attempts(query)).await
    }

    async fn count_requests(&self, query: RequestQuery) -> Result<RequestTotals, StoreError> {
        self.read(self.inner.count_requests(query)).await
    }

    async fn count_events(&self, query: EventQuery) -> Result<EventTotals, StoreError> {
        self.read(self.inner.count_events(query)).await
    }

    async fn retain(&self, before: u64, now: u64, limit: u32) -> Result<u64, StoreError> {
        self.write(self.inner.retain(before, now, limit)).await
    }

    /// Depends on when the index is written, so it is the same for all.
    async fn size_bytes(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn store_number(&self) -> Result<Option<u32>, StoreError> {
        self.read(self.inner.store_number()).await
    }

    async fn set_store_number(&self, number: u32) -> Result<(), StoreError> {
        self.write(self.inner.set_store_number(number)).await
    }

    async fn spool_report(&self, payload: Vec<u8>) -> Result<u64, StoreError> {
        self.write(self.inner.spool_report(payload)).await
    }

    async fn spooled_reports(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<SpooledReport>, StoreError> {
        self.read(self.inner.spooled_reports(after, limit)).await
    }

    async fn acknowledge_reports(&self, up_to: u64) -> Result<(), StoreError> {
        self.write(self.inner.acknowledge_reports(up_to)).await
    }

    async fn amend_report(&self, sequence: u64, payload: Vec<u8>) -> Result<bool, StoreError> {
        self.write(self.inner.amend_report(sequence, payload)).await
    }

    async fn spool_length(&self) -> Result<u64, StoreError> {
        self.read(self.inner.spool_length()).await
    }

    /// The probe's file is on a real disk, which takes real time.
    async fn probe(&self, _now: u64) -> Result<(), StoreError> {
        Ok(())
    }

    async fn backlog(&self, paused: &HashSet<String>) -> Result<EventTotals, StoreError> {
        self.read(self.inner.backlog(paused)).await
    }

    async fn imbalance(&self) -> Result<u64, StoreError> {
        self.read(self.inner.imbalance()).await
    }
}
