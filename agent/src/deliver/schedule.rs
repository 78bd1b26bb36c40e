//! Who is next: looks for due events per branch, starts those that may start, and
//! takes destinations and their branches in turn.
//!
//! Woken by news from the store, by an attempt that ended, and by the next time
//! something is due or a gate opens; a tick repairs what news could have been
//! missed. Asking the store again is always safe, because what is under way is
//! remembered here. Invariant: events in memory are bounded by the free places.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::attempt::{Attempted, Means, attempt};
use super::crew::{Crew, Turn};
use super::fair::{self, Turns};
use super::gates::Gates;
use super::tokens::Tokens;
use crate::chance::fraction;
use crate::clock::SharedClock;
use crate::config::{Configuration, Connection, CurrentConfiguration, Destination};
use crate::ids::IdMint;
use crate::meter::{Delivery, Meter};
use crate::store::{
    Completion, DueEvent, DueQuery, PendingLane, Store, StoreError, StoreEvent, UnderWay,
};

/// Deliveries at once over all destinations.
const IN_FLIGHT: usize = 1_024;
const TICK: Duration = Duration::from_secs(1);
const WRITE_RETRY: Duration = Duration::from_millis(500);
/// How long a look waits for the events of a deleted connection to be stopped.
const STOP_WAIT: Duration = Duration::from_millis(500);
/// Between requests to stop those of the same connection.
const STOP_AGAIN: Duration = Duration::from_secs(10);

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
    crew: Crew,
    tokens: Tokens,
    gates: Arc<Gates>,
    meter: Arc<Meter>,
    under_way: Mutex<HashMap<Lane, UnderWay>>,
    turns: Mutex<Turns>,
    /// Deleted connections whose events were asked to be stopped, and when.
    stopped: Mutex<HashMap<String, Instant>>,
    places: Arc<Semaphore>,
    ended: Notify,
}

/// Destination and connection.
type Lane = (String, String);

/// The configuration, with its connections by id.
struct Known {
    configuration: Arc<Configuration>,
    connections: HashMap<String, Arc<Connection>>,
}

/// A destination that may be delivered to now, with its due branches.
struct Ready<'a> {
    to: &'a Arc<Destination>,
    lanes: Vec<PendingLane>,
    room: usize,
}

/// An event that may start.
struct Candidate<'a> {
    due: DueEvent,
    connection: Arc<Connection>,
    to: &'a Arc<Destination>,
}

/// Whether a delivery was started.
enum Start {
    Made,
    /// Its destination may not; others may still.
    NotNow,
    /// The agent as a whole has no place left.
    NoPlace,
}

/// What one look at the store came to.
struct Look {
    /// Until something may be due or a gate may open.
    next: Duration,
    /// There is more that could start.
    again: bool,
}

impl Deliverer {
    #[must_use]
    pub fn new(
        config: CurrentConfiguration,
        store: Arc<dyn Store>,
        clock: SharedClock,
        ids: IdMint,
        crew: impl Into<Crew>,
        (gates, meter): (Arc<Gates>, Arc<Meter>),
    ) -> Self {
        let parts = Parts {
            config,
            store,
            clock,
            ids,
            crew: crew.into(),
            tokens: Tokens::default(),
            gates,
            meter,
            under_way: Mutex::default(),
            turns: Mutex::default(),
            stopped: Mutex::default(),
            places: Arc::new(Semaphore::new(IN_FLIGHT)),
            ended: Notify::new(),
        };
        Self {
            parts: Arc::new(parts),
        }
    }

    /// Runs until `shutdown`. Attempts run on the crew's runtimes and count on `tasks`: wait for it, with a deadline;
    /// what does not end in time stays pending and is sent again after the next start.
    pub async fn run(self, tasks: TaskTracker, shutdown: CancellationToken) {
        let mut news = self.parts.store.subscribe();
        let mut known = Known::of(self.parts.config.load_full());
        loop {
            if let Some(changed) = known.outdated_by(&self.parts.config) {
                known = changed;
                self.forget_missing(&known.configuration);
            }
            let wait = match self.dispatch(&known, &tasks, &shutdown).await {
                Ok(Look { again: true, .. }) => Duration::ZERO,
                Ok(look) => look.next.min(TICK),
                Err(error) => {
                    tracing::warn!(error = %error, "due events cannot be read");
                    TICK
                }
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                // Lagging only means that there is a lot of news.
                () = woken(&mut news) => {}
                () = self.parts.ended.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Starts what is due and may start.
    async fn dispatch(
        &self,
        known: &Known,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Result<Look, StoreError> {
        let mut look = Look {
            next: Duration::MAX,
            again: false,
        };
        let lanes = self.parts.store.pending_lanes().await?;
        let ready = self.ready(known, lanes, &mut look).await?;
        let free = self.parts.places.available_permits();
        let each = (free / ready.len().max(1)).max(1);
        let (mut lists, mut found) = (Vec::new(), 0);
        for mut one in ready {
            if found >= free {
                look.again = true;
                break;
            }
            if one.room > each {
                (one.room, look.again) = (each, true);
            }
            let candidates = self.candidates(known, one, &mut look).await?;
            found += candidates.len();
            lists.push(candidates);
        }
        let mut started = 0;
        for candidate in fair::in_turn(lists) {
            match self.start(candidate, tasks, shutdown) {
                Start::Made => started += 1,
                Start::NotNow => {}
                Start::NoPlace => break,
            }
        }
        // Without a place nothing can start before a delivery ends, which wakes us.
        look.again &= started > 0;
        Ok(look)
    }

    /// Destinations with something due and room for it, in turn.
    async fn ready<'a>(
        &self,
        known: &'a Known,
        lanes: Vec<PendingLane>,
        look: &mut Look,
    ) -> Result<Vec<Ready<'a>>, StoreError> {
        let parts = &self.parts;
        let now = parts.clock.now_millis();
        let mut due: HashMap<String, Vec<PendingLane>> = HashMap::new();
        for lane in lanes {
            if lane.next_attempt_at > now {
                let wait = Duration::from_millis(lane.next_attempt_at - now);
                look.next = look.next.min(wait);
            } else if known.connections.contains_key(&lane.connection_id) {
                due.entry(lane.destination_id.clone())
                    .or_default()
                    .push(lane);
            } else {
                self.stop_orphans(&known.configuration, &lane).await;
            }
        }
        let free = parts.places.available_permits();
        let mut turns = lock(&parts.turns);
        turns.keep(&due.keys().map(String::as_str).collect::<BTreeSet<_>>());
        let mut ready = Vec::new();
        for (id, lanes) in turns.destinations(due.into_iter().collect(), |(id, _)| id) {
            // Without its destination, or with a disabled one, an event waits.
            let known = known.configuration.destinations.get(&id);
            let Some(to) = known.filter(|to| to.enabled) else {
                continue;
            };
            let room = parts.gates.room(to);
            if let Some(wait) = room.opens_in {
                look.next = look.next.min(wait);
            }
            let room = room.free.min(fair::share(room.in_flight, free, IN_FLIGHT));
            if room > 0 {
                let lanes = turns.lanes(&id, lanes, |lane| &lane.connection_id);
                ready.push(Ready { to, lanes, room });
            }
        }
        Ok(ready)
    }

    /// Due events of a destination, its branches in turn, no more than there is room for.
    async fn candidates<'a>(
        &self,
        known: &Known,
        ready: Ready<'a>,
        look: &mut Look,
    ) -> Result<Vec<Candidate<'a>>, StoreError> {
        let Ready { to, lanes, room } = ready;
        let now = self.parts.clock.now_millis();
        let served = lanes.len().min(room);
        let each = room.div_ceil(served.max(1));
        let mut lists = Vec::new();
        for lane in lanes.into_iter().take(served) {
            let (to_id, branch) = (&lane.destination_id, &lane.connection_id);
            let Some(connection) = known.connections.get(branch) else {
                continue;
            };
            let query = DueQuery {
                destination_id: to_id.clone(),
                connection_id: branch.clone(),
                now,
                except: self.busy(&(to_id.clone(), branch.clone())),
                limit: u32::try_from(each).unwrap_or(u32::MAX),
            };
            let due = self.parts.store.due(query).await?;
            let list: Vec<Candidate<'a>> = due
                .into_iter()
                .map(|due| Candidate {
                    due,
                    connection: Arc::clone(connection),
                    to,
                })
                .collect();
            look.again |= list.len() == each;
            lists.push(list);
        }
        let mut mixed = fair::in_turn(lists);
        mixed.truncate(room);
        Ok(mixed)
    }

    fn start(
        &self,
        candidate: Candidate<'_>,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
    ) -> Start {
        let Candidate {
            due,
            connection,
            to,
        } = candidate;
        let Ok(place) = Arc::clone(&self.parts.places).try_acquire_owned() else {
            return Start::NoPlace;
        };
        // Asked again, because those started since the look took places too.
        let free = self.parts.places.available_permits() + 1;
        if fair::share(self.parts.gates.room(to).in_flight, free, IN_FLIGHT) == 0 {
            return Start::NotNow;
        }
        let Some(passage) = self.parts.gates.enter(to) else {
            return Start::NotNow;
        };
        let lane = (to.id.clone(), connection.id.clone());
        lock(&self.parts.turns).served(&lane.0, &lane.1);
        lock(&self.parts.under_way)
            .entry(lane.clone())
            .or_default()
            .insert(due.event.id.clone());
        let (this, shutdown, to) = (self.clone(), shutdown.clone(), Arc::clone(to));
        let turn = self.parts.crew.next();
        let work = async move {
            this.parts.meter.delivery_begins();
            let Attempted {
                completion,
                ending,
                disable_requested,
            } = this.attempt(&due, &to, &connection, turn).await;
            let draw = fraction(this.parts.ids.draw());
            if let Some(circuit) = passage.leave(ending, disable_requested, draw) {
                tracing::info!(destination.id = to.id, circuit = ?circuit, "a circuit changed");
            }
            if disable_requested {
                tracing::warn!(
                    destination.id = to.id,
                    "the receiver asks to be disabled; it stays enabled until a person decides"
                );
            }
            this.write(completion, &shutdown).await;
            this.parts.meter.delivery_ends();
            this.left(&lane, &due.event.id);
            drop(place);
            this.parts.ended.notify_one();
        };
        self.parts.crew.spawn(turn, work, tasks);
        Start::Made
    }

    async fn attempt(
        &self,
        due: &DueEvent,
        to: &Destination,
        connection: &Connection,
        turn: Turn,
    ) -> Attempted {
        let parts = &self.parts;
        let means = Means {
            sender: parts.crew.sender(turn),
            tokens: &parts.tokens,
            clock: parts.clock.as_ref(),
            ids: parts.ids,
        };
        let ended = attempt(due, to, &connection.retry, means).await;
        let made = &ended.completion.attempt;
        let due_at = due.event.next_attempt_at.unwrap_or(due.event.created_at);
        let delivered = made.successful.then(|| parts.clock.now_millis());
        parts.meter.attempt(
            to,
            &Delivery {
                successful: made.successful,
                took_micros: made.latency_micros,
                waited_millis: made.started_at.saturating_sub(due_at),
                delivered_after_millis: delivered.map(|at| at.saturating_sub(due.event.created_at)),
            },
        );
        ended
    }

    fn left(&self, lane: &Lane, event_id: &str) {
        let mut under_way = lock(&self.parts.under_way);
        if under_way
            .get(lane)
            .is_some_and(|events| events.remove(event_id))
        {
            under_way.remove(lane);
        }
    }

    fn forget_missing(&self, configuration: &Configuration) {
        self.parts.gates.forget_missing(configuration);
        self.parts.tokens.forget_missing(configuration);
        self.parts.crew.forget_missing(configuration);
        let deleted = &configuration.deleted_connections;
        lock(&self.parts.stopped).retain(|id, _| deleted.contains(id));
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

    /// Stops the events of a connection that a person deleted; others wait. Neither a failure nor a
    /// long list holds up other deliveries, and what was asked is not asked again for a while.
    async fn stop_orphans(&self, configuration: &Configuration, lane: &PendingLane) {
        let id = &lane.connection_id;
        if !configuration.deleted_connections.contains(id) {
            return;
        }
        {
            let mut asked = lock(&self.parts.stopped);
            if asked.get(id).is_some_and(|at| at.elapsed() < STOP_AGAIN) {
                return;
            }
            asked.insert(id.clone(), Instant::now());
        }
        let stopping = self
            .parts
            .store
            .cancel_pending(id, "the connection was deleted");
        match tokio::time::timeout(STOP_WAIT, stopping).await {
            Ok(Ok(events)) => tracing::info!(
                connection.id = id,
                events,
                "events of a deleted connection stopped"
            ),
            Ok(Err(error)) => {
                tracing::warn!(error = %error, connection.id = id,
                    "events of a deleted connection are not stopped yet");
            }
            Err(_) => tracing::info!(
                connection.id = id,
                "many events of a deleted connection are being stopped"
            ),
        }
    }

    fn busy(&self, lane: &Lane) -> UnderWay {
        lock(&self.parts.under_way)
            .get(lane)
            .cloned()
            .unwrap_or_default()
    }
}

impl Known {
    fn of(configuration: Arc<Configuration>) -> Self {
        let all = configuration.sources.values();
        let all = all.flat_map(|source| &source.connections);
        let connections = all
            .map(|connection| (connection.id.clone(), Arc::clone(connection)))
            .collect();
        Self {
            configuration,
            connections,
        }
    }

    fn outdated_by(&self, current: &CurrentConfiguration) -> Option<Self> {
        let current = current.load_full();
        (!Arc::ptr_eq(&current, &self.configuration)).then(|| Self::of(current))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends with news that can make something due, and takes all news there is: one look answers
/// it. A closed feed never wakes.
async fn woken(news: &mut tokio::sync::broadcast::Receiver<StoreEvent>) {
    use tokio::sync::broadcast::error::RecvError;
    loop {
        match news.recv().await {
            Ok(StoreEvent::Completed { .. }) => {}
            Ok(StoreEvent::Stored { .. } | StoreEvent::Requeued(_)) | Err(RecvError::Lagged(_)) => {
                while news.try_recv().is_ok() {}
                return;
            }
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
