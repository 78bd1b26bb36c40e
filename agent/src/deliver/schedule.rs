//! Who is next: looks for due events per branch, starts those that may start, and
//! takes destinations and their branches in turn.
//!
//! Woken by news from the store, by an attempt that ended, and by the next time
//! something is due or a gate opens; a tick repairs what news could have been
//! missed. Asking the store again is always safe, because what is under way is
//! remembered here. Invariant: events in memory are bounded by the free places.

mod released;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::attempt::{Attempted, Means, attempt};
use super::crew::{Crew, Turn};
use super::drains::Drains;
use super::entries::{Entries, to_its_end};
use super::fair::{self, Turns};
use super::gates::{Gates, Passage};
use super::orphans::Orphans;
use super::tokens::Tokens;
use crate::chance::fraction;
use crate::clock::SharedClock;
use crate::config::{Configuration, Connection, CurrentConfiguration, Destination};
use crate::ids::IdMint;
use crate::meter::{Delivery, Meter};
use crate::store::{Completion, DueEvent, DueQuery, PendingLane, Store, StoreError, StoreEvent};

/// Deliveries at once over all destinations.
pub const MOST_DELIVERIES: usize = 1_024;
const TICK: Duration = Duration::from_secs(1);
/// Between two looks while a connection lets go what it held.
const SHORTEST_WAIT: Duration = Duration::from_millis(5);
const WRITE_RETRY: Duration = Duration::from_millis(500);
/// Until an event whose delivery panicked is tried again, so that one that always does is
/// no busy loop.
const PANIC_PAUSE: Duration = Duration::from_secs(5);

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
    drains: Drains,
    meter: Arc<Meter>,
    entries: Arc<Entries>,
    turns: Mutex<Turns>,
    orphans: Arc<Orphans>,
}

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
    /// There are branches that the store could not read; said once.
    unreadable: bool,
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
            orphans: Orphans::new(Arc::clone(&store)),
            store,
            clock,
            ids,
            crew: crew.into(),
            tokens: Tokens::default(),
            gates,
            drains: Drains::new(),
            entries: Entries::new(MOST_DELIVERIES, Arc::clone(&meter)),
            meter,
            turns: Mutex::default(),
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
                () = self.parts.entries.ended.notified() => {}
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
            unreadable: false,
        };
        let lanes = self.parts.store.pending_lanes().await?;
        let ready = self.ready(known, lanes, &mut look, (tasks, shutdown));
        let free = self.parts.entries.free();
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
            let candidates = self.candidates(known, one, &mut look).await;
            found += candidates.len();
            lists.push(candidates);
        }
        lists.push(self.released(known).await?);
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
    fn ready<'a>(
        &self,
        known: &'a Known,
        lanes: Vec<PendingLane>,
        look: &mut Look,
        (tasks, shutdown): (&TaskTracker, &CancellationToken),
    ) -> Vec<Ready<'a>> {
        let parts = &self.parts;
        let now = parts.clock.now_millis();
        let mut due: HashMap<String, Vec<PendingLane>> = HashMap::new();
        for lane in lanes {
            if lane.next_attempt_at > now {
                let wait = Duration::from_millis(lane.next_attempt_at - now);
                look.next = look.next.min(wait);
            } else if let Some(connection) = known.connections.get(&lane.connection_id) {
                // What is pending on a paused connection waits: it is held.
                if !connection.paused {
                    due.entry(lane.destination_id.clone())
                        .or_default()
                        .push(lane);
                }
            } else if known
                .configuration
                .deleted_connections
                .contains(&lane.connection_id)
            {
                // Events of a connection that is only unknown wait.
                parts.orphans.stop(&lane.connection_id, tasks, shutdown);
            }
        }
        let free = parts.entries.free();
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
            let room = room
                .free
                .min(fair::share(room.in_flight, free, MOST_DELIVERIES));
            if room > 0 {
                let lanes = turns.lanes(&id, lanes, |lane| &lane.connection_id);
                ready.push(Ready { to, lanes, room });
            }
        }
        ready
    }

    /// Due events of a destination, its branches in turn, no more than there is room for.
    async fn candidates<'a>(
        &self,
        known: &Known,
        ready: Ready<'a>,
        look: &mut Look,
    ) -> Vec<Candidate<'a>> {
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
                except: self.parts.entries.of(&(to_id.clone(), branch.clone())),
                limit: u32::try_from(each).unwrap_or(u32::MAX),
            };
            let due = match self.parts.store.due(query).await {
                Ok(due) => due,
                Err(error) => {
                    look.unreadable(&lane, &error);
                    continue;
                }
            };
            let full = due.len() == each;
            let mut budget = self.parts.drains.budget(connection);
            let found = due.len();
            let list: Vec<Candidate<'a>> = due
                .into_iter()
                .filter(|due| {
                    budget
                        .as_mut()
                        .is_none_or(|budget| budget.admits(due.event.created_at))
                })
                .map(|due| Candidate {
                    due,
                    connection: Arc::clone(connection),
                    to,
                })
                .collect();
            if let Some(budget) = budget.filter(|_| list.len() < found) {
                look.next = look.next.min(budget.more_in.max(SHORTEST_WAIT));
            }
            look.again |= full && list.len() == found;
            lists.push(list);
        }
        let mut mixed = fair::in_turn(lists);
        mixed.truncate(room);
        mixed
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
        let Some(place) = self.parts.entries.place() else {
            return Start::NoPlace;
        };
        // Asked again, because those started since the look took places too.
        let free = self.parts.entries.free() + 1;
        if fair::share(self.parts.gates.room(to).in_flight, free, MOST_DELIVERIES) == 0 {
            return Start::NotNow;
        }
        let Some(passage) = self.parts.gates.enter(to) else {
            return Start::NotNow;
        };
        self.parts.drains.started(&connection, due.event.created_at);
        self.parts.gates.released.forget(&due.event.id);
        let lane = (to.id.clone(), connection.id.clone());
        lock(&self.parts.turns).served(&lane.0, &lane.1);
        let entry = self.parts.entries.begin(lane, due.event.id.clone(), place);
        let (this, shutdown, to) = (self.clone(), shutdown.clone(), Arc::clone(to));
        let turn = self.parts.crew.next();
        let work = async move {
            let delivery = this.deliver(&due, (&to, &connection), (turn, passage), &shutdown);
            if to_its_end(delivery).await.is_err() {
                tracing::error!(
                    event.id = entry.event_id(),
                    destination.id = to.id,
                    "a delivery panicked; the event is tried again"
                );
                drop(tokio::time::timeout(PANIC_PAUSE, shutdown.cancelled()).await);
            }
            drop(entry);
        };
        self.parts.crew.spawn(turn, work, tasks);
        Start::Made
    }

    /// One delivery: the attempt, what it means for the gate, and its outcome in the store.
    async fn deliver(
        &self,
        due: &DueEvent,
        (to, connection): (&Destination, &Connection),
        (turn, passage): (Turn, Passage),
        shutdown: &CancellationToken,
    ) {
        let Attempted {
            completion,
            ending,
            disable_requested,
        } = self.attempt(due, to, connection, turn).await;
        let draw = fraction(self.parts.ids.draw());
        if let Some(circuit) = passage.leave(ending, disable_requested, draw) {
            tracing::info!(destination.id = to.id, circuit = ?circuit, "a circuit changed");
        }
        if disable_requested {
            tracing::warn!(
                destination.id = to.id,
                "the receiver asks to be disabled; it stays enabled until a person decides"
            );
        }
        self.write(completion, shutdown).await;
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
        let ended = attempt(due, to, connection, means).await;
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

    fn forget_missing(&self, configuration: &Configuration) {
        self.parts.gates.forget_missing(configuration);
        self.parts.tokens.forget_missing(configuration);
        self.parts.drains.forget_missing(configuration);
        self.parts.crew.forget_missing(configuration);
        self.parts.orphans.keep(&configuration.deleted_connections);
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
}

impl Look {
    /// One branch does not hold up the others. A broken store would say the same of each of them.
    fn unreadable(&mut self, lane: &PendingLane, error: &StoreError) {
        if !std::mem::replace(&mut self.unreadable, true) {
            tracing::warn!(error = %error, destination.id = lane.destination_id,
                connection.id = lane.connection_id, "due events of a branch cannot be read");
        }
    }
}

impl Known {
    fn of(configuration: Arc<Configuration>) -> Self {
        let all = configuration.sources.values();
        let all = all.flat_map(|source| source.connections.iter());
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
