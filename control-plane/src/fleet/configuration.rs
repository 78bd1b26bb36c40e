//! The configuration streams: who is connected, and what a returning agent held.
//!
//! Owns the life of each stream around its conversation (`session`). Invariants:
//! one stream per agent; a stream that the control plane ends tells why.

mod aim;
mod deliver;
mod hello;
mod refusals;
mod session;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::Stream;
use hookplane_proto::agent::v1::ConfigurationStreamRequest;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;

use super::frame::Frame;
use super::held::Set;
use super::outbound::{self, Outgoing};
use super::recorder::Recorder;
use super::registry::Registry;
use super::view::Views;
use super::{Ending, Timings};
use crate::clock::SharedClock;
use crate::domain::Agent;
use crate::store::ConfigStore;
use session::Session;

/// Messages that wait for a slow agent. Few: a snapshot's chunks are large.
const QUEUE: usize = 4;

/// Everything that the streams share.
pub(super) struct Streams {
    pub(super) config: ConfigStore,
    pub(super) recorder: Arc<Recorder>,
    pub(super) views: Views,
    pub(super) clock: SharedClock,
    pub(super) timings: Timings,
    pub(super) open: Arc<Registry<Presence>>,
    /// What agents hold that refused something: no view ever had that set.
    apart: Mutex<HashMap<String, Apart>>,
    /// The newest revision, told at most so often: what comes meanwhile goes together.
    pulse: watch::Sender<u64>,
    /// Snapshots that may be under way at once.
    snapshots: Arc<Semaphore>,
    drifts: AtomicU64,
}

/// An open stream, as others see it.
#[derive(Default)]
pub(super) struct Presence {
    acknowledged: AtomicU64,
}

#[derive(Clone)]
struct Apart {
    epoch: String,
    set: Arc<Set>,
}

impl Streams {
    pub(super) fn new(
        config: ConfigStore,
        recorder: Arc<Recorder>,
        ingest_base: String,
        clock: SharedClock,
        timings: Timings,
    ) -> Arc<Self> {
        Arc::new(Self {
            views: Views::new(config.clone(), ingest_base),
            config,
            recorder,
            clock,
            timings,
            open: Registry::new(),
            apart: Mutex::new(HashMap::new()),
            pulse: watch::Sender::new(0),
            snapshots: Arc::new(Semaphore::new(timings.snapshots)),
            drifts: AtomicU64::new(0),
        })
    }

    /// Serves one stream until either side ends it.
    pub(super) fn serve(
        self: &Arc<Self>,
        agent: Agent,
        inbound: impl Stream<Item = Result<ConfigurationStreamRequest, Status>> + Send + Unpin + 'static,
        tasks: &TaskTracker,
        shutdown: CancellationToken,
    ) -> Outgoing<Frame> {
        let (out, outgoing) = outbound::channel(QUEUE);
        let streams = Arc::clone(self);
        tasks.spawn(async move {
            let presence = Arc::new(Presence::default());
            let place = streams.open.register(&agent.id, Arc::clone(&presence));
            let (id, name) = (agent.id.clone(), agent.name.clone());
            tracing::info!(agent.id = %id, agent.name = %name, "an agent opened its configuration stream");
            let talk = async {
                match Session::greet(&streams, &presence, agent, inbound, &out).await {
                    Ok(mut session) => session.run().await,
                    Err(ending) => ending,
                }
            };
            let ending = tokio::select! {
                biased;
                () = shutdown.cancelled() => Ending::Shutdown,
                () = place.replaced.cancelled() => Ending::Replaced,
                () = out.closed() => Ending::Gone,
                ending = talk => ending,
            };
            tracing::info!(agent.id = %id, agent.name = %name, reason = %ending, "a configuration stream ended");
            drop(place);
            streams.recorder.stream_ended(&id);
            out.end(ending);
        });
        outgoing
    }

    /// Passes changes on to the streams, several together when they come fast.
    pub(super) async fn pass_on(&self) {
        let mut changes = self.config.changes();
        while changes.changed().await.is_ok() {
            let newest = changes.borrow_and_update().revision;
            self.pulse.send_replace(newest);
            tokio::time::sleep(self.timings.gather).await;
        }
    }

    /// How long a stream lasts: the fleet spreads over the replicas again, and not at once.
    fn age(&self) -> Duration {
        let spread = 0.9 + 0.2 * rand::random::<f64>();
        self.timings.age.mul_f64(spread)
    }

    fn count_drift(&self) {
        self.drifts.fetch_add(1, Ordering::Relaxed);
    }

    /// Agents that did not hold what they acknowledged, since the start.
    pub(super) fn drifts(&self) -> u64 {
        self.drifts.load(Ordering::Relaxed)
    }

    /// The lowest revision that a connected agent acknowledged last.
    pub(super) fn lowest_acknowledged(&self) -> Option<u64> {
        let all = self.open.all();
        all.iter().map(|(_, agent)| agent.acknowledged()).min()
    }

    /// The set behind a digest that an agent of the pool named.
    fn known(&self, agent: &Agent, epoch: &str, digest: &str) -> Option<Arc<Set>> {
        let remembered = self.views.remembered(&agent.pool, epoch, digest);
        remembered.or_else(|| {
            let apart = self.apart.lock().unwrap_or_else(PoisonError::into_inner);
            let own = apart.get(&agent.id)?;
            (own.epoch == epoch && own.set.digest == digest).then(|| Arc::clone(&own.set))
        })
    }

    /// Remembers or forgets a set of one agent's own.
    fn set_apart(&self, agent_id: &str, own: Option<Apart>) {
        let mut apart = self.apart.lock().unwrap_or_else(PoisonError::into_inner);
        match own {
            Some(own) => drop(apart.insert(agent_id.to_owned(), own)),
            None => drop(apart.remove(agent_id)),
        }
    }
}

impl Presence {
    fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    fn acknowledge(&self, revision: u64) {
        self.acknowledged.store(revision, Ordering::Relaxed);
    }
}
