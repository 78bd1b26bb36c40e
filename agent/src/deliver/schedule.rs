//! Who is next: looks for due events per destination and keeps each within its bound.
//!
//! Woken by news from the store, by an attempt that ended, and by the next due
//! time; a tick repairs what news could have been missed. Asking the store again
//! is always safe, because what is under way is remembered here.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::attempt::attempt;
use super::send::Sender;
use crate::clock::SharedClock;
use crate::config::{Configuration, Connection, CurrentConfiguration, Destination};
use crate::ids::IdMint;
use crate::meter::Meter;
use crate::store::{Completion, DueEvent, EventRecord, Store, StoreError, StoreEvent};

/// Deliveries at once over all destinations.
const IN_FLIGHT: usize = 512;
/// Most due events asked for at once.
const PAGE: usize = 255;
const TICK: Duration = Duration::from_secs(1);
const WRITE_RETRY: Duration = Duration::from_millis(500);

/// Delivers what is due. Cheap to clone; `run` it once.
#[derive(Clone)]
pub struct Deliverer {
    parts: Arc<Parts>,
}

struct Parts {
    config: CurrentConfiguration,
    store: Arc<dyn Store>,
    clock: SharedClock,
    ids: IdMint,
    sender: Sender,
    meter: Arc<Meter>,
    /// Event ids under way, per destination.
    under_way: Mutex<HashMap<String, HashSet<String>>>,
    places: Arc<Semaphore>,
    ended: Notify,
}

impl Deliverer {
    #[must_use]
    pub fn new(
        config: CurrentConfiguration,
        store: Arc<dyn Store>,
        clock: SharedClock,
        ids: IdMint,
        sender: Sender,
        meter: Arc<Meter>,
    ) -> Self {
        let parts = Parts {
            config,
            store,
            clock,
            ids,
            sender,
            meter,
            under_way: Mutex::default(),
            places: Arc::new(Semaphore::new(IN_FLIGHT)),
            ended: Notify::new(),
        };
        Self {
            parts: Arc::new(parts),
        }
    }

    /// Runs until `shutdown`. Attempts run on `tasks`: wait for it, with a deadline;
    /// what does not end in time stays pending and is sent again after the next start.
    pub async fn run(self, tasks: TaskTracker, shutdown: CancellationToken) {
        let mut news = self.parts.store.subscribe();
        loop {
            let wait = match self.dispatch(&tasks, &shutdown).await {
                Ok(next_due) => next_due.min(TICK),
                Err(error) => {
                    tracing::warn!(error = %error, "due events cannot be read");
                    TICK
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                () = self.parts.ended.notified() => {}
                // Lagging only means that there is a lot of news.
                () = woken(&mut news) => {}
            }
        }
    }

    /// Starts what is due and gives the time until the next event is.
    async fn dispatch(
        &self,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Result<Duration, StoreError> {
        let parts = &self.parts;
        let configuration = parts.config.load_full();
        let now = parts.clock.now_millis();
        let mut next = Duration::MAX;
        for waiting in parts.store.pending_destinations().await? {
            if waiting.next_attempt_at > now {
                next = next.min(Duration::from_millis(waiting.next_attempt_at - now));
                continue;
            }
            let id = &waiting.destination_id;
            let destination = configuration.destinations.get(id);
            // Without its destination, or with a disabled one, an event waits; but one
            // whose connection is gone has to be found and stopped.
            let bound = destination
                .filter(|to| to.enabled)
                .map_or(0, |to| to.max_in_flight);
            let busy = self.busy(id);
            let spare = bound.saturating_sub(busy.len());
            if destination.is_some() && spare == 0 {
                continue;
            }
            let page = (busy.len() + spare.max(1)).min(PAGE);
            let due = parts
                .store
                .due(id, now, u32::try_from(page).unwrap_or(u32::MAX))
                .await?;
            for event in due
                .into_iter()
                .filter(|due| !busy.contains(&due.event.id))
                .take(spare.max(1))
            {
                match (find(&configuration, &event.event), destination) {
                    (None, _) => self.stop(&configuration, &event.event).await?,
                    (Some(connection), Some(to))
                        if spare > 0 && !self.start(&event, &connection, to, tasks, shutdown) =>
                    {
                        return Ok(TICK);
                    }
                    _ => {}
                }
            }
        }
        Ok(next)
    }

    /// False when the agent as a whole has no place left.
    fn start(
        &self,
        due: &DueEvent,
        connection: &Arc<Connection>,
        destination: &Arc<Destination>,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> bool {
        let Ok(place) = Arc::clone(&self.parts.places).try_acquire_owned() else {
            return false;
        };
        let (key, id) = (destination.id.clone(), due.event.id.clone());
        self.lock()
            .entry(key.clone())
            .or_default()
            .insert(id.clone());
        let (this, due, shutdown) = (self.clone(), due.clone(), shutdown.clone());
        let (connection, destination) = (Arc::clone(connection), Arc::clone(destination));
        tasks.spawn(async move {
            let parts = &this.parts;
            let clock = parts.clock.as_ref();
            parts.meter.delivery_begins();
            let completion = attempt(
                &due,
                &destination,
                &connection.retry,
                &parts.sender,
                clock,
                parts.ids,
            )
            .await;
            let (ok, took) = (
                completion.attempt.successful,
                completion.attempt.latency_micros,
            );
            parts.meter.attempt(&destination, ok, took);
            this.write(completion, &shutdown).await;
            parts.meter.delivery_ends();
            if let Some(events) = this.lock().get_mut(&key) {
                events.remove(&id);
            }
            drop(place);
            parts.ended.notify_one();
        });
        true
    }

    /// Writes an outcome, again and again while the store cannot; gives up only at shutdown.
    async fn write(&self, completion: Completion, shutdown: &CancellationToken) {
        loop {
            match self.parts.store.complete(completion.clone()).await {
                Ok(()) => return,
                Err(error) if shutdown.is_cancelled() => {
                    tracing::warn!(error = %error, event.id = completion.attempt.event_id,
                        "an outcome is not written; the event will be sent again");
                    return;
                }
                Err(error) => {
                    tracing::warn!(error = %error, event.id = completion.attempt.event_id,
                        "an outcome is not written yet");
                    tokio::time::sleep(WRITE_RETRY).await;
                }
            }
        }
    }

    /// The connection was deleted: a person stopped its events.
    async fn stop(
        &self,
        configuration: &Configuration,
        event: &EventRecord,
    ) -> Result<(), StoreError> {
        if !configuration
            .deleted_connections
            .contains(&event.connection_id)
        {
            return Ok(());
        }
        let id = &event.connection_id;
        let stopped = self
            .parts
            .store
            .cancel_pending(id, "the connection was deleted")
            .await?;
        tracing::info!(
            connection.id = id,
            events = stopped,
            "events of a deleted connection stopped"
        );
        Ok(())
    }

    fn busy(&self, destination_id: &str) -> HashSet<String> {
        self.lock().get(destination_id).cloned().unwrap_or_default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, HashSet<String>>> {
        self.parts
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn find(configuration: &Configuration, event: &EventRecord) -> Option<Arc<Connection>> {
    let source = configuration.sources.get(&event.source_id)?;
    source
        .connections
        .iter()
        .find(|connection| connection.id == event.connection_id)
        .cloned()
}

/// Ends with news that can make something due; a closed feed never wakes.
async fn woken(news: &mut tokio::sync::broadcast::Receiver<StoreEvent>) {
    use tokio::sync::broadcast::error::RecvError;
    loop {
        match news.recv().await {
            Ok(StoreEvent::Completed { .. }) => {}
            Ok(StoreEvent::Stored { .. } | StoreEvent::Requeued(_)) | Err(RecvError::Lagged(_)) => {
                return;
            }
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
